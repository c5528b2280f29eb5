"""The table of the ways to hold a lock says what is so."""

import pytest

from ferrule import Timeout
from tests.support.driver import complete
from tests.support.each import each
from tests.support.locks import LOCKS, WAITS, WAYS, kinds
from tests.support.race import spawn

each_way = each(WAYS.values())


def test_every_way_to_wait_for_a_lock_is_there():
    for way in LOCKS:
        names = {other.name for other in way.siblings}
        ends = {"try_lock", "release", "locked", "locked_exclusive", "aio", "readers"}
        for name in dir(way.lock):
            if not name.startswith(("_", "try_")) and name not in ends:
                assert name in names or name == "upgradable_read", name


@each_way
@pytest.mark.parametrize("how", ["take", "attempt", "take_async"])
def test_a_hold_is_as_the_table_says_and_ends(way, how):
    lock = way.make("value")
    assert lock._state() == way.free
    hold = complete(way.take_async(lock)) if how == "take_async" else getattr(way, how)(lock)
    assert lock._state() == way.held
    assert (hold is not True) is way.guarded
    if way.guarded:
        assert hold.value == "value"
        assert hasattr(type(hold), "value")
        if way.writes:
            hold.value = "new"
        else:
            with pytest.raises(AttributeError):
                hold.value = "new"
    spawn(way.end, lock, hold).result()
    assert lock._state() == way.free


@pytest.mark.parametrize(("held", "way"), WAITS, ids=str)
def test_who_holds_it_keeps_out_who_waits(held, way):
    lock = way.make()
    hold = held.taken_by_another(lock)
    assert lock._state() == held.held
    assert not way.attempt(lock)
    if way.patience:
        with pytest.raises(Timeout):
            way.take(lock, timeout=0)
    assert lock._state() == held.held
    held.end(lock, hold)
    assert kinds(lock) == []


@each_way
def test_a_visit_adds_what_it_says(way):
    lock = way.make(0)
    added = way.visit(lock) + complete_with_turns(way.visit_async(lock))
    assert added == 2 * way.owned
    assert lock._state() == way.free
    with way.alone.within(lock) as guard:
        assert guard.value == added


def complete_with_turns(coroutine):
    """What it gives, where it only lets others run."""
    try:
        while True:
            assert coroutine.send(None) is None
    except StopIteration as stop:
        return stop.value
