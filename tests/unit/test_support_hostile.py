"""The kit's hostile objects do what they are told, and its models answer as api.md says."""

import threading
import weakref

import pytest

from ferrule import Timeout, WouldDeadlock
from tests.support.hostile import (
    after,
    calling,
    dropping,
    hostile,
    nested,
    raising,
    resurrecting,
    returning,
    unraisable,
    yielding,
)
from tests.support.models import Blocked, MutexModel
from tests.support.race import spawn


def test_a_special_method_raises_or_answers():
    key = hostile(__hash__=returning(7), __eq__=raising(ValueError("rude")), __bool__=raising(KeyError("no")))
    assert hash(key) == 7
    with pytest.raises(ValueError, match="rude"):
        key == 1  # noqa: B015  the comparison itself is the test
    with pytest.raises(KeyError):
        bool(key)


def test_a_special_method_calls_back():
    called = []
    item = hostile(__repr__=calling(lambda: called.append(1), then="<item>"))
    assert repr(item) == "<item>"
    assert called == [1]


def test_yielding_lets_another_thread_run():
    ran = threading.Event()
    key = hostile(__hash__=yielding(1, seconds=0.01))
    other = spawn(ran.set)
    while not ran.is_set():
        assert hash(key) == 1
    other.join()


def test_dropping_takes_the_last_reference():
    holder = [type("Thing", (), {})()]
    gone = weakref.ref(holder[0])
    assert hostile(__len__=dropping(holder, then=3)).__len__() == 3
    assert gone() is None


def test_resurrecting():
    grave = []
    del [hostile(__del__=resurrecting(grave))][0]
    assert len(grave) == 1
    assert type(grave[0]).__name__ == "Hostile"


def test_the_action_changes_after_some_calls():
    key = hostile(__hash__=after(2, returning(1), raising(TypeError)))
    assert (hash(key), hash(key)) == (1, 1)
    with pytest.raises(TypeError):
        hash(key)


def test_what_destructors_raise_is_collected():
    with unraisable() as seen:
        hostile(__del__=raising(ZeroDivisionError("in __del__")))
    assert [str(error) for error in seen] == ["in __del__"]


def test_nesting():
    assert nested(3, lambda inner: [inner], "x") == [[["x"]]]


class TestMutexModel:
    def test_a_hold_excludes_every_other(self):
        _, m = MutexModel().lock("T1", "g1")
        assert m.locked() == (True, m)
        assert m.try_lock("T2", "g2") == (False, m)
        assert m.lock_now("T2", "g2") == (Timeout, m)
        assert m.try_acquire() == (False, m)
        for waits in (lambda: m.lock("T2", "g2"), m.acquire):
            with pytest.raises(Blocked):
                waits()
        assert m.lock("T1", "g2") == (WouldDeadlock, m)

    def test_acquire_records_no_owner(self):
        taken, m = MutexModel().acquire()
        assert taken
        with pytest.raises(Blocked):
            m.lock(None, "g1")
        assert m.release() == (None, MutexModel())

    def test_only_the_guard_in_force_counts(self):
        _, m = MutexModel(1).lock("T1", "g1")
        assert m.get("g1") == (1, m)
        _, m = m.set("g1", 2)
        _, m = m.guard_release("g1")
        assert m == MutexModel(2)
        assert m.guard_release("g1") == m.release() == m.get("g1") == m.set("g1", 3) == (RuntimeError, m)

    def test_release_spends_the_guard(self):
        _, m = MutexModel().lock("T1", "g1")
        _, m = m.release()
        _, m = m.lock("T2", "g2")
        assert m.guard_release("g1") == (RuntimeError, m)

    def test_a_with_ends_its_own_hold_or_none(self):
        _, m = MutexModel().lock("T1", "g1")
        assert m.leave("T2", "g1") == (RuntimeError, m)
        assert m.leave("T1", "g1") == (None, MutexModel())
        _, m = MutexModel().lock("T2", "g2")
        assert m.leave("T1", "g1") == (None, m)
