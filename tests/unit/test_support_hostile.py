"""The kit's hostile objects do what they are told."""

import threading
import weakref

import pytest

from tests.support.hostile import (
    after,
    assert_destroyed,
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


def test_what_of_a_nest_outlives_it_is_noticed():
    assert_destroyed(1000, lambda inner: [inner])
    kept = []
    with pytest.raises(AssertionError):
        assert_destroyed(3, lambda inner: kept.append(inner) or [inner])
