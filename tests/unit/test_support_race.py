"""The kit's races: what run_together, outcome, storm and eventually promise."""

import threading
import time

import pytest

from tests.support.race import Hung, eventually, outcome, raises, run_together, soon, spawn, storm


def test_results_come_in_the_order_of_the_functions():
    assert run_together(lambda: "a", lambda: "b", lambda: "c") == ("a", "b", "c")


def test_the_functions_run_at_the_same_time():
    meeting = threading.Barrier(3)
    assert sorted(run_together(*[lambda: meeting.wait(10)] * 3)) == [0, 1, 2]


def test_either_function_may_come_first():
    def race():
        order = []
        run_together(lambda: order.append("a"), lambda: order.append("b"))
        return order[0]

    seen = set()
    eventually(lambda: seen.add(race()) or seen == {"a", "b"})


def test_one_error_is_raised_after_all_have_ended():
    ended = []

    def slow():
        time.sleep(0.02)
        ended.append(True)

    with pytest.raises(ZeroDivisionError):
        run_together(lambda: 1 // 0, slow)
    assert ended


def test_several_errors_are_raised_as_a_group():
    with pytest.raises(ExceptionGroup) as raised:
        run_together(lambda: 1 // 0, lambda: {}["k"], lambda: None)
    assert [type(error) for error in raised.value.exceptions] == [ZeroDivisionError, KeyError]


def test_a_hang_shows_where_every_thread_was():
    release = threading.Event()

    def stuck_here():
        release.wait()

    with pytest.raises(Hung, match="stuck_here"):
        run_together(stuck_here, lambda: None, timeout=0.05)
    release.set()


def test_an_outcome_is_the_result_or_the_type_of_an_expected_error():
    assert outcome(lambda: 1, KeyError)() == 1
    assert outcome(lambda: {}["k"], KeyError, ValueError)() is KeyError
    with pytest.raises(KeyError):
        outcome(lambda: {}["k"], ValueError)()


def test_that_nothing_is_raised_or_something_else_is_a_failure():
    raises(KeyError, {}.pop, "k")
    with pytest.raises(AssertionError, match="nothing was raised"):
        raises(KeyError, {}.pop, "k", None)
    with pytest.raises(ZeroDivisionError):
        raises(KeyError, divmod, 1, 0)


def test_soon_makes_the_call():
    assert soon(divmod, 7, 2)() == (3, 1)


def test_a_spawned_function_gives_its_result_or_its_error():
    assert spawn(divmod, 7, 2).result() == (3, 1)
    failed = spawn(divmod, 7, 0)
    failed.join()
    with pytest.raises(ZeroDivisionError):
        failed.result()


def test_a_storm_counts_the_calls_of_each_thread():
    called = [0, 0, 0]

    def work(number):
        called[number] += 1

    assert storm(3, work, 0.02) == called
    assert all(called)


def test_the_first_error_stops_a_storm():
    def work(number):
        if number == 1:
            raise ValueError("enough")
        time.sleep(0.001)

    began = time.monotonic()
    with pytest.raises(ValueError, match="enough"):
        storm(2, work, 20)
    assert time.monotonic() - began < 20


def test_eventually_gives_up_with_the_stacks():
    values = iter([0, None, "ready"])
    assert eventually(lambda: next(values)) == "ready"
    with pytest.raises(Hung, match="most recent call first"):
        eventually(lambda: False, timeout=0.01)
