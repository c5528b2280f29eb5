"""Racing calls around get_or_compute(): every result that is allowed, and why; anything else fails."""

import asyncio

import pytest

from ferrule import ConcurrentMap, Timeout, WouldDeadlock
from tests.support.driver import LoopThread
from tests.support.flights import Factory, assert_landed
from tests.support.maps import Key
from tests.support.race import RACES, outcome, raced, run_together, soon


class Fault(Exception):
    pass


@raced(RACES // 4)
def test_two_callers():
    """Exactly one factory runs; both get its value."""
    m = ConcurrentMap()
    factories = Factory(1), Factory(2)
    results = run_together(*(lambda f=f: m.get_or_compute(Key("k"), f) for f in factories))
    assert (results, [f.runs for f in factories]) in [((1, 1), [1, 0]), ((2, 2), [0, 1])]
    assert_landed(m, {Key("k"): results[0]})


@raced(RACES // 4)
def test_one_of_two_fails():
    """The one whose factory fails gets the error, unless the other's value was there before it asked."""
    m = ConcurrentMap()
    fails, gives = Factory(Fault), Factory(1)
    results = run_together(outcome(lambda: m.get_or_compute("k", fails), Fault), lambda: m.get_or_compute("k", gives))
    # its factory ran, first; or it never ran, because the other's value was there, or came while it waited
    assert (*results, fails.runs, gives.runs) in {(Fault, 1, 1, 1), (1, 1, 0, 1)}
    assert_landed(m, {"k": 1})


@raced(RACES // 4)
def test_a_writer():
    """A value that is put in wins if it comes before the factory's end; a later one replaces what was computed."""
    m = ConcurrentMap()
    value, old = run_together(lambda: m.get_or_compute("k", Factory("computed")), lambda: m.insert("k", "written"))
    assert (value, old) in {
        ("written", None),  # before the call, or before its publication
        ("computed", "computed"),  # after it
    }
    assert_landed(m, {"k": "written"})


@raced(RACES // 4)
def test_a_remover():
    """Nobody is given a value that was removed before it asked."""
    m = ConcurrentMap({"k": "old"})
    factory = Factory("new")
    value, removed = run_together(lambda: m.get_or_compute("k", factory), lambda: m.pop("k", None))
    assert (value, removed, m.get("k")) in {
        ("old", "old", None),  # found, then removed
        ("new", "old", "new"),  # removed, then computed
    }
    assert_landed(m)


@raced(RACES // 4)
def test_a_timeout_races_the_value():
    m = ConcurrentMap()
    factory = Factory(1, closed=True)

    def waits():
        assert factory.begun.wait(10)
        return outcome(lambda: m.get_or_compute("k", Factory("never"), timeout=0.0001), Timeout)()

    first, second, _ = run_together(
        lambda: m.get_or_compute("k", factory), waits, lambda: factory.begun.wait(10) and soon(factory.open)()
    )
    assert (first, second) in {(1, 1), (1, Timeout)}
    assert_landed(m, {"k": 1})


@raced(RACES // 4)
def test_a_failure_races_a_timeout():
    """The turn goes to who waits, or it was passed over because its time was up; it is never lost."""
    m = ConcurrentMap()
    factory = Factory(Fault, closed=True)

    def waits():
        assert factory.begun.wait(10)
        return outcome(lambda: m.get_or_compute("k", Factory(2), timeout=0.0001), Timeout)()

    first, second, _ = run_together(
        outcome(lambda: m.get_or_compute("k", factory), Fault),
        waits,
        lambda: factory.begun.wait(10) and soon(factory.open)(),
    )
    assert first is Fault
    assert second in {2, Timeout}
    assert_landed(m, {} if second is Timeout else {"k": 2})


@raced(RACES // 8)
def test_a_ring_of_two():
    """At most one is refused: who closes the ring. Without a ring both get what the first one computes."""
    m = ConcurrentMap()

    def asks(mine, other):
        return m.get_or_compute(mine, lambda: (mine, m.get_or_compute(other, lambda: other)))

    results = run_together(*(outcome(lambda p=p: asks(*p), WouldDeadlock) for p in (("a", "b"), ("b", "a"))))
    assert results in {
        (("a", "b"), "b"),  # the second asked for what the first had computed on the way
        ("a", ("b", "a")),
        (("a", ("b", "a")), ("b", "a")),  # the first waited for the second, which found its key being computed
        (("a", "b"), ("b", ("a", "b"))),
        (WouldDeadlock, ("b", "a")),  # both waited; the last to begin was refused, and passed its turn on
        (("a", "b"), WouldDeadlock),
    }
    assert_landed(m)


@pytest.fixture(scope="module")
def there():
    with LoopThread() as thread:
        yield thread


@raced(RACES // 8)
def _cancellation(there):
    m = ConcurrentMap()

    async def factory():
        await asyncio.sleep(0)
        return "task's"

    async def asks():  # the task may be cancelled before its first step
        return await m.aio.get_or_compute("k", factory)

    task = there.spawn(asks())
    value, cancelled = run_together(lambda: m.get_or_compute("k", Factory("thread's")), soon(task.cancel))
    # cancelled before it had published, or done: the thread then computes, or gets the task's; or it came first
    assert value in {"task's", "thread's"}
    if not cancelled:
        assert task.result() == value
    there.run(asyncio.sleep(0))
    assert_landed(m, {"k": value})


def test_a_cancellation(there):
    _cancellation(there)
