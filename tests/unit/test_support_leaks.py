"""The kit's subprocesses fail with what they said, and its leak counting finds a leak and only a leak."""

import pytest

from tests.support.leaks import assert_few_objects_left, assert_no_leak, in_subprocess


def test_a_subprocess_gives_its_output():
    ended = in_subprocess(
        """
        import os, sys
        print(os.environ["GREETING"], file=sys.stderr)
        print(sys.flags.dev_mode)
    """,
        env={"GREETING": "hello"},
        options=["-X", "dev"],
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "hello\n")


def test_a_subprocess_may_be_meant_to_fail():
    assert in_subprocess("raise SystemExit(3)", returncode=3).returncode == 3


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('before'); 1 // 0", "(?s)exit status 1.*before.*ZeroDivisionError"),
        ("import faulthandler; faulthandler._sigsegv()", "(?s)SIGSEGV.*Segmentation fault"),
    ],
)
def test_a_subprocess_that_fails_shows_all_it_said(code, message):
    with pytest.raises(pytest.fail.Exception, match=message):
        in_subprocess(code)


def test_a_subprocess_that_hangs_shows_its_stacks_and_takes_its_children_along():
    code = """
        import os, time
        def stuck_here():
            time.sleep(3600)
        os.fork()
        stuck_here()
    """
    with pytest.raises(pytest.fail.Exception, match=r"(?s)did not end in 1 s.*stuck_here"):
        in_subprocess(code, timeout=1)


def test_clean_code_does_not_leak():
    assert_no_leak(
        """
        cycle = [shared]
        cycle.append(cycle)
        """,
        setup="shared = object()",
        watch=["shared"],
        repeats=200,
    )


def test_what_grows_only_once_is_no_leak():
    assert_no_leak(
        """
        if next(runs) == 150:   # in the first of the windows that are counted
            kept.extend([] for _ in range(1000))
        """,
        setup="""
        import itertools
        kept, runs = [], itertools.count()
        """,
        repeats=200,
    )


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        ("kept.append([])", "objects"),
        ("kept.append(object())", "blocks"),
        ("ctypes.pythonapi.Py_IncRef(ctypes.py_object(shared))", "references to shared"),
        ("libc.malloc(64)", "bytes"),
    ],
)
def test_each_kind_of_leak_is_found(leak, found):
    setup = """
        import ctypes
        shared, kept, libc = object(), [], ctypes.CDLL(None)
    """
    with pytest.raises(pytest.fail.Exception, match=f"more, or fewer references: .*'{found}'.*of all"):
        assert_no_leak(leak, setup=setup, watch=["shared"], repeats=200)


def test_a_few_objects_may_be_left_and_thousands_may_not():
    assert_few_objects_left("kept = []\ndef once(): kept.append([[] for _ in range(1000)][0])")
    with pytest.raises(pytest.fail.Exception, match="AssertionError: 3"):
        assert_few_objects_left("kept = []\ndef once(): kept.append([[] for _ in range(1000)])")
