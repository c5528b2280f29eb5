"""`python -m ferrule`: a line for each contender, results that are really compared, exit statuses with a meaning."""

import contextlib
import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest

from ferrule import __main__ as command
from ferrule._demo import bytes as cut_bytes
from ferrule._demo import channel, mutex, pool, rwlock, streams
from ferrule._demo import map as shared_map
from ferrule._demo.job import Failure, Sample, Table

TINY = ["--files", "8", "--rounds", "1"]
CELLS = {
    **dict.fromkeys([*mutex.BY_THREADS, *mutex.BY_THREADS_AND_TASKS], r" +\d+\.\d\d M +\d+% +\d+\.\d\dx"),
    **dict.fromkeys(shared_map.CONTENDERS, r"( +\d+\.\d\d M +\d+\.\d\dx){2}$"),
    **dict.fromkeys(channel.CONTENDERS, r" +\d+\.\d\d M +\d+\.\d\dx +\d+\.\d ms$"),
    **{
        name: r" +not installed: [\w, ]+ *$"
        if rwlock._missing(kind)
        else r" +\d+\.\d\d M +\d+\.\d\dx +\d+ +\d+\.\d ms$"
        for name, kind in rwlock.CONTENDERS.items()
    },
    **dict.fromkeys([*cut_bytes.WHOLE, *cut_bytes.BIT_BY_BIT], r" +\d+\.\d\d M +\d+\.\d\dx +\d+$"),
    **dict.fromkeys(streams.CONTENDERS, r" +\d+\.\d k +\d+ M +\d+\.\d\dx$"),
    **dict.fromkeys([*pool.BY_THREADS], r" +\d+\.\d\d M +\d+\.\d\dx +\d+$"),
    **dict.fromkeys([*pool.BY_THREADS_AND_TASKS], r" +\d+\.\d\d M +\d+\.\d\dx +\d+ +\d+\.\d ms$"),
}
"""What stands behind the name of each contender."""
RUN = "runpy.run_module('ferrule', run_name='__main__')"
WITHOUT_RICH = "import runpy, sys; sys.modules['rich'] = None; " + RUN


def run(*program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *program], capture_output=True, text=True, timeout=60, check=False)


def run_in_terminal(*program: str) -> tuple[int, str]:
    """Exit status and what a terminal would have been sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, *program], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while some := os.read(ours, 4096):
                sent += some
        os.close(ours)
    return process.returncode, sent.decode()


def assert_complete(out: str) -> None:
    assert "8 files of the standard library" in out
    for contender, cells in CELLS.items():
        assert re.search(rf"^{re.escape(contender)}{cells}", out, re.MULTILINE), contender


def test_every_contender_has_its_line():
    done = run("-m", "ferrule", *TINY)
    assert done.returncode == 0, done.stderr
    assert_complete(done.stdout)


def test_progress_is_plain_text_on_stderr_when_stdout_is_no_terminal():
    done = run("-m", "ferrule", *TINY)
    assert "counting words: 100%" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_terminal_without_rich_gets_plain_text():
    status, sent = run_in_terminal("-c", WITHOUT_RICH, *TINY)
    assert status == 0, sent
    assert_complete(sent.replace("\r\n", "\n"))
    assert "counting words: 100%\r" in sent


def test_a_terminal_with_rich_gets_a_bar():
    pytest.importorskip("rich", reason="rich comes with the bench extra only")
    status, sent = run_in_terminal("-m", "ferrule", *TINY)
    assert status == 0, sent
    assert_complete(sent.replace("\r\n", "\n"))
    assert "counting words: 100%\r" not in sent


@pytest.mark.parametrize(
    ("section", "contenders"),
    [
        ("mutex", mutex.BY_THREADS),
        ("mutex", mutex.BY_THREADS_AND_TASKS),
        ("map", shared_map.CONTENDERS),
        ("channel", channel.CONTENDERS),
        ("rwlock", rwlock.CONTENDERS),
        ("pool", pool.BY_THREADS),
        ("pool", pool.BY_THREADS_AND_TASKS),
    ],
)
def test_a_contender_that_miscounts_is_named_and_fails_the_run(section, contenders, monkeypatch, capsys):
    for contender, kind in [*contenders.items()]:
        if contenders is rwlock.CONTENDERS and rwlock._missing(kind):
            continue

        class Miscounts(kind):
            def in_thread(self, words):
                super().in_thread(words[1:])

        with monkeypatch.context() as planted:
            planted.setitem(contenders, contender, Miscounts)
            assert command.main([*TINY, "--section", section]) == 1
        assert f"ferrule: {contender} counted" in capsys.readouterr().err


CUT_WRONGLY = {
    "one too few": (lambda records: records[:-1], r"cut \d+ records instead of \d+"),
    "one too many": (lambda records: [*records, b""], r"cut \d+ records instead of \d+"),
    "a wrong one": (
        lambda records: [*records[:9], b"wrong", *records[10:]],
        "cut record 9 wrongly: b'wrong' instead of",
    ),
}


@pytest.mark.parametrize("contenders", [cut_bytes.WHOLE, cut_bytes.BIT_BY_BIT], ids=["whole", "bit by bit"])
def test_a_contender_that_cuts_wrongly_is_named_and_fails_the_run(contenders, monkeypatch, capsys):
    """Each of them in turn; in which way, too, since one and the same comparison finds it."""
    assert len(contenders) >= len(CUT_WRONGLY)
    for (contender, kind), (planted, said) in zip([*contenders.items()], itertools.cycle(CUT_WRONGLY.values())):

        class CutsWrongly(kind):
            def cut(self, content, planted=planted):
                return planted(super().cut(content))

        with monkeypatch.context() as patched:
            patched.setitem(contenders, contender, CutsWrongly)
            assert command.main([*TINY, "--section", "bytes"]) == 1
        assert re.search(f"^ferrule: {re.escape(contender)} {said}", capsys.readouterr().err, re.MULTILINE)


def test_a_contender_that_receives_wrongly_is_named_and_fails_the_run(monkeypatch, capsys):
    for contender, (connect, take) in [*streams.CONTENDERS.items()]:

        async def loses_the_last(reader, writer, take=take):
            return (await take(reader, writer))[:-1]

        with monkeypatch.context() as patched:
            patched.setitem(streams.CONTENDERS, contender, (connect, loses_the_last))
            assert command.main([*TINY, "--section", "streams"]) == 1
        assert re.search(
            rf"^ferrule: {contender} cut \d+ records instead of \d+", capsys.readouterr().err, re.MULTILINE
        )


@pytest.mark.parametrize("counts", [{"a": 2}, {"a": 2, "b": 2}, {"a": 2, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 0}, {}])
def test_the_comparison_is_key_by_key(counts):
    sample = Sample([["a", "b"], ["a"]])
    sample.check("right", {"a": 2, "b": 1})
    with pytest.raises(Failure, match="wrong counted"):
        sample.check("wrong", counts)


def test_who_sees_half_a_reload_miscounts():
    routes = rwlock.Routes(["a", "b", "c"])
    seen: dict[str, int] = {}
    routes.load(1)
    routes.handlers["b"] = 0
    routes.count(["a", "b", "a", "c"], seen)
    assert seen == {"a": 2, "c": 1}


def test_a_contender_that_is_not_installed_is_said_to_be_missing(monkeypatch, capsys):
    contender = next(reversed(rwlock.CONTENDERS))
    monkeypatch.setattr(rwlock.CONTENDERS[contender], "needs", ("no_such.module", "sys"))
    assert command.main([*TINY, "--section", "rwlock"]) == 0
    assert re.search(rf"^{re.escape(contender)} +not installed: no_such *$", capsys.readouterr().out, re.MULTILINE)


def test_a_python_without_sqlite3_is_told_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert command.main([*TINY, "--section", "pool"]) == 0
    assert "This Python has no sqlite3: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "kind", {**pool.BY_THREADS, **pool.BY_THREADS_AND_TASKS}.values(), ids=lambda kind: kind.__name__
)
def test_a_contender_makes_the_connections_that_its_name_says(kind):
    database = pool.Database(Sample([["a"]]))
    with database, contextlib.ExitStack() as taken:
        contender = kind(database, threading.Event())
        for _ in range(2):
            taken.enter_context(contender.connection())
        assert len(database.connections) == {pool.OfThread: 1, pool.MadeAnew: 2, pool.InPool: 2}.get(kind, 4)


def test_files_that_are_no_valid_source_are_skipped_and_counted(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text("x = (\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe4'\n")
    (tmp_path / "right.py").write_text("x = x + x\n")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert command.main(["--all", "--rounds", "1"]) == 0
    assert "1 files of the standard library (2 skipped: no valid source), 5 tokens, 3 different" in (
        capsys.readouterr().out
    )


def test_an_interpreter_without_its_source_is_a_clear_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert command.main(TINY) == 1
    assert "no source of the standard library" in capsys.readouterr().err


def test_a_table_aligns_its_columns():
    assert str(Table("title", ["", "figure"], [["long name", "1"], ["b", "22"]], ["note"])).splitlines() == [
        "title",
        "-----------------",
        "           figure",
        "-----------------",
        "long name       1",
        "b              22",
        "-----------------",
        "note",
    ]


def test_one_thread_has_one_pair_of_columns():
    done = run("-m", "ferrule", *TINY, "--section", "map", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tokens/s") == 1


def test_help_names_every_option():
    done = run("-m", "ferrule", "--help")
    assert done.returncode == 0
    for option in ["--section", "--threads", "--files", "--all", "--rounds", *command.SECTIONS]:
        assert option in done.stdout


@pytest.mark.parametrize(
    "args", [["--threads", "0"], ["--threads", "x"], ["--section", "none"], ["--files", "1", "--all"]]
)
def test_wrong_usage_is_status_2_and_does_nothing(args):
    done = run("-m", "ferrule", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr


def test_interrupted_it_ends_with_130():
    # A shell that starts jobs in the background has them ignore SIGINT: the handler is set anew.
    code = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); " + RUN
    program = [sys.executable, "-c", code, "--all", "--rounds", "100"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ferrule ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "ferrule: interrupted"
