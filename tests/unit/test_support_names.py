"""Tests have the same names in every process."""

import threading

import pytest

from tests.support.names import shown


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.5, "0.5"),
        ({"b", "a", "d", "c", "e"}, "{'a', 'b', 'c', 'd', 'e'}"),
        (frozenset({"b", "a"}), "{'a', 'b'}"),
        (set(), "set()"),
        (object(), "<object object>"),
        (threading.Lock(), "<unlocked _thread.lock object>"),
    ],
    ids=["a number", "a set", "a frozenset", "an empty set", "an object", "a lock"],
)
def test_a_value_is_named_by_what_it_is(value, name):
    assert shown(value) == name


def test_no_test_is_named_by_an_address(request):
    assert [item.nodeid for item in request.session.items if " at 0x" in item.nodeid] == []
