"""A ConcurrentMap as an object: copies, pickles, `|`, ==, match, generic aliases, weak references, repr, cycles."""

import copy
import gc
import pickle
import types
import weakref
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Mapping
from typing import get_args, get_origin

import pytest

import ferrule
from ferrule import ConcurrentMap, Entries, Entry, FrozenMap
from tests.support.hostile import calling, hostile, nested, raising, returning
from tests.support.maps import Key, assert_at_rest

ITEMS = {"a": 1, "b": [2], (3,): None}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

COPIES = {
    "copy": ConcurrentMap.copy,
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "ConcurrentMap": ConcurrentMap,
    "| nothing": lambda m: m | {},
    "nothing |": lambda m: {} | m,
    **{f"pickle {n}": lambda m, n=n: pickle.loads(pickle.dumps(m, n)) for n in PROTOCOLS},
}

copies = pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)


class Broken(Exception):
    """What a test's own object raises."""


class Node:
    """Refers to whatever it is told to, and can be pickled; equal to itself alone."""


class TestCopies:
    @copies
    @pytest.mark.parametrize("shards", [1, 8])
    def test_are_maps_of_their_own(self, make, shards):
        m = ConcurrentMap(ITEMS, shards=shards)
        made = make(m)
        assert type(made) is ConcurrentMap
        m["later"] = 1
        del m["a"]
        assert_at_rest(made, ITEMS)
        made["own"] = 1
        assert "own" not in m

    @copies
    def test_of_an_empty_map(self, make):
        made = make(ConcurrentMap())
        assert_at_rest(made, {})
        made["a"] = 1
        assert_at_rest(made, {"a": 1})

    @copies
    def test_of_a_large_map(self, make):
        items = {n: str(n) for n in range(3000)}
        assert_at_rest(make(ConcurrentMap(items)), items)

    @copies
    def test_are_taken_past_entries(self, make):
        m = ConcurrentMap(ITEMS)
        with m.entry("a") as entry:
            made = make(m)
            entry.value = "changed"
            made["a"] = 1  # the copy has no entry
        assert_at_rest(made, ITEMS)

    @pytest.mark.parametrize("make", [ConcurrentMap.copy, copy.copy, ConcurrentMap])
    def test_shallow_ones_share_keys_and_values(self, make):
        key, value = Key("k"), [1]
        [(key_of_copy, value_of_copy)] = make(ConcurrentMap({key: value})).items()
        assert key_of_copy is key
        assert value_of_copy is value

    def test_deep_ones_share_nothing(self):
        key, value = Key("k"), [1]
        [(key_of_copy, value_of_copy)] = copy.deepcopy(ConcurrentMap({key: value})).items()
        assert key_of_copy == key
        assert key_of_copy is not key
        assert value_of_copy == value
        assert value_of_copy is not value

    def test_deep_ones_keep_what_is_shared_shared(self):
        value = [1]
        copied = copy.deepcopy(ConcurrentMap({"a": value, "b": value}))
        assert copied["a"] is copied["b"]

    @pytest.mark.parametrize("make", [ConcurrentMap.copy, copy.copy])
    def test_shallow_ones_call_no_python(self, make):
        keys = [hostile(__hash__=returning(7), __eq__=returning(False)) for _ in range(20)]
        m = ConcurrentMap(dict.fromkeys(keys))
        for key in keys:
            type(key).__eq__ = type(key).__hash__ = raising(Broken)
        assert len(make(m)) == 20

    @pytest.mark.parametrize(
        "make", [copy.deepcopy, *(lambda m, n=n: pickle.loads(pickle.dumps(m, n)) for n in PROTOCOLS)]
    )
    def test_of_a_map_that_contains_itself(self, make):
        m = ConcurrentMap()
        m["self"] = m
        m["list"] = [m]
        made = make(m)
        assert made is not m
        assert made["self"] is made
        assert made["list"][0] is made
        assert len(made) == 2

    @pytest.mark.parametrize(
        "make", [copy.deepcopy, *(lambda m, n=n: pickle.loads(pickle.dumps(m, n)) for n in PROTOCOLS)]
    )
    def test_of_a_map_whose_key_refers_to_it(self, make):
        node = Node()
        node.map = ConcurrentMap({node: 1})
        made = make(node.map)
        [key] = made
        assert key is not node
        assert key.map is made
        assert made[key] == 1

    def test_what_cannot_be_copied_propagates(self):
        m = ConcurrentMap({"a": hostile(__deepcopy__=raising(Broken), __reduce_ex__=raising(Broken))})
        for make in (copy.deepcopy, pickle.dumps):
            with pytest.raises(Broken):
                make(m)
        assert len(m) == 1

    @pytest.mark.parametrize("name", ["MISSING", "REMOVE", "ABORT"])
    def test_of_what_stands_for_an_answer_are_itself(self, name):
        answer = getattr(ferrule, name)
        for make in (copy.copy, copy.deepcopy, *(lambda a, n=n: pickle.loads(pickle.dumps(a, n)) for n in PROTOCOLS)):
            assert make(answer) is answer
        assert bool(answer) is (name != "MISSING")
        assert repr(answer) == f"ferrule.{name}"


class TestOr:
    @pytest.mark.parametrize("make", [dict, OrderedDict, types.MappingProxyType, ConcurrentMap])
    def test_with_a_mapping_on_either_side(self, make):
        m, other = ConcurrentMap({"a": 1, "b": 1}), {"b": 2, "c": 2}
        for result, expected in (
            (m | make(other), {"a": 1, "b": 2, "c": 2}),
            (make(other) | m, {"a": 1, "b": 1, "c": 2}),
        ):
            assert type(result) is ConcurrentMap
            assert_at_rest(result, expected)
        assert_at_rest(m, {"a": 1, "b": 1})
        assert other == {"b": 2, "c": 2}

    @pytest.mark.parametrize("make", [UserDict, ChainMap])
    def test_with_a_mapping_that_answers_itself(self, make):
        m = ConcurrentMap({"a": 1, "b": 1})
        assert_at_rest(m | make({"b": 2}), {"a": 1, "b": 2})
        assert dict(make({"b": 2}) | m) == {"a": 1, "b": 1}

    def test_the_stored_key_is_the_left_one(self):
        assert repr(ConcurrentMap({1: "a"}) | {True: "b"}) == "ConcurrentMap({1: 'b'})"
        assert repr({True: "b"} | ConcurrentMap({1: "a"})) == "ConcurrentMap({True: 'a'})"

    @pytest.mark.parametrize("other", [None, 1, [("a", 1)], {"a"}, "ab"], ids=repr)
    def test_refuses_what_is_no_mapping(self, other):
        for call in (lambda: ConcurrentMap() | other, lambda: other | ConcurrentMap()):
            with pytest.raises(TypeError):
                call()

    @pytest.mark.parametrize(
        "other", [{"b": 2}, [("b", 2)], ["b2"], ConcurrentMap({"b": 2}), FrozenMap({"b": 2}), UserDict({"b": 2})]
    )
    def test_in_place_takes_mappings_and_pairs(self, other):
        m = same = ConcurrentMap({"a": 1, "b": 1})
        m |= other
        assert m is same
        assert m["a"] == 1
        assert m["b"] in (2, "2")
        m._check()

    @pytest.mark.parametrize(
        ("other", "error"), [(None, TypeError), (1, TypeError), ([1], TypeError), (["a"], ValueError)]
    )
    def test_in_place_refuses_what_update_refuses(self, other, error):
        m = ConcurrentMap({"a": 1})
        with pytest.raises(error):
            m |= other
        assert_at_rest(m, {"a": 1})

    def test_in_place_with_itself(self):
        m = ConcurrentMap({"a": 1})
        m |= m
        assert_at_rest(m, {"a": 1})

    def test_in_place_on_a_dict(self):
        plain = {"a": 1}
        plain |= ConcurrentMap({"b": 2})
        assert type(plain) is dict
        assert plain == {"a": 1, "b": 2}


class TestEquality:
    @pytest.mark.parametrize(
        "make", [dict, OrderedDict, UserDict, ChainMap, types.MappingProxyType, ConcurrentMap, FrozenMap]
    )
    def test_is_by_content_with_any_mapping(self, make):
        m = ConcurrentMap(ITEMS)
        assert m == make(ITEMS)
        assert make(ITEMS) == m
        for other in ({}, {"a": 1}, {**ITEMS, "a": 2}, {**ITEMS, "d": 1}):
            assert m != make(other)
            assert make(other) != m

    def test_does_not_depend_on_the_shards(self):
        assert ConcurrentMap(ITEMS, shards=1) == ConcurrentMap(ITEMS, shards=8)

    @pytest.mark.parametrize("other", [None, 1, [("a", 1)], {"a"}, "a", {"a": 1}.items()], ids=repr)
    def test_with_what_is_no_mapping(self, other):
        m = ConcurrentMap({"a": 1})
        assert m != other
        assert other != m

    def test_identical_values_are_equal(self):
        nan = float("nan")
        assert ConcurrentMap({"a": nan}) == {"a": nan}
        assert ConcurrentMap({"a": nan}) != {"a": float("nan")}
        m = ConcurrentMap({"a": hostile(__eq__=raising(Broken))})
        assert m == m

    def test_there_is_no_order(self):
        for call in (lambda: ConcurrentMap() < ConcurrentMap(), lambda: ConcurrentMap() <= {}):
            with pytest.raises(TypeError):
                call()

    def test_comparing_values_may_change_the_map(self):
        m = ConcurrentMap()
        m.update((n, hostile(__eq__=calling(m.clear, then=True))) for n in range(10))
        assert m == dict.fromkeys(range(10), 1)
        assert_at_rest(m, {})

    def test_what_comparing_values_raises_propagates(self):
        with pytest.raises(Broken):
            assert ConcurrentMap({"a": hostile(__eq__=raising(Broken))}) == {"a": 1}


class TestMatch:
    def test_matches_as_a_mapping(self):
        match ConcurrentMap({"a": 1, "b": {"c": 2}, "d": 3}):
            case {"a": 1, "b": {"c": inner}, **rest}:
                assert inner == 2
                assert rest == {"d": 3}
            case _:
                pytest.fail("it is no mapping to match")

    def test_does_not_match_what_it_lacks(self):
        match ConcurrentMap({"a": 1}):
            case {"x": _}:
                pytest.fail("it has no such key")
            case [*_]:
                pytest.fail("it is no sequence")
            case {}:
                pass
            case _:
                pytest.fail("any mapping matches {}")

    def test_matches_as_a_class(self):
        match ConcurrentMap({"a": 1}):
            case Mapping() as found:
                assert found["a"] == 1
            case _:
                pytest.fail("it is a Mapping")


class TestGeneric:
    def test_map(self):
        alias = ConcurrentMap[str, int]
        assert isinstance(alias, types.GenericAlias)
        assert get_origin(alias) is ConcurrentMap
        assert get_args(alias) == (str, int)
        assert_at_rest(alias({"a": 1}), {"a": 1})
        assert "ConcurrentMap[str, int]" in repr(alias)

    def test_entry(self):
        assert get_args(Entry[str, int]) == (str, int)

    def test_what_is_given_and_never_made(self):
        for kind in (Entry, Entries):
            with pytest.raises(TypeError):
                kind()


class TestRepr:
    def test_shows_the_items(self):
        assert repr(ConcurrentMap()) == "ConcurrentMap({})"
        assert repr(ConcurrentMap({"a": [1]})) == "ConcurrentMap({'a': [1]})"

    def test_shows_itself_as_dots(self):
        m = ConcurrentMap()
        m["self"] = m
        assert repr(m) == "ConcurrentMap({'self': ConcurrentMap({...})})"
        assert str(m) == f"{m}" == repr(m)
        m["self"] = [{"m": m}]
        assert repr(m) == "ConcurrentMap({'self': [{'m': ConcurrentMap({...})}]})"

    def test_can_be_shown_again_after_an_error(self):
        m = ConcurrentMap({"a": hostile(__repr__=raising(Broken))})
        for _ in range(2):
            with pytest.raises(Broken):
                repr(m)
        m["a"] = 1
        assert repr(m) == "ConcurrentMap({'a': 1})"

    def test_of_a_value_that_changes_the_map(self):
        m = ConcurrentMap()
        m["a"] = hostile(__repr__=calling(m.clear, then="value"))
        assert repr(m) == "ConcurrentMap({'a': value})"
        assert repr(m) == "ConcurrentMap({})"


class TestCollector:
    def test_takes_weak_references(self):
        died = []
        m = ConcurrentMap({"a": 1})
        dead = weakref.ref(m, died.append)
        assert dead() is m
        del m
        gc.collect()
        assert died == [dead]

    def test_weak_references_to_entries_there_are_none(self):
        m = ConcurrentMap()
        with m.entry("a") as entry, m.entries("b") as entries:
            for given in (entry, entries):
                with pytest.raises(TypeError):
                    weakref.ref(given)

    @pytest.mark.parametrize(
        "tie",
        [
            lambda node, m: m.__setitem__("k", node),
            lambda node, m: m.__setitem__(node, 1),
            lambda node, m: m.__setitem__("k", [m, node]),
            lambda node, m: setattr(node, "iterator", iter(m)) or m.__setitem__("k", node),
            lambda node, m: setattr(node, "view", m.items()) or m.__setitem__("k", node),
            lambda node, m: m.update((n, node) for n in range(100)),
        ],
    )
    def test_a_cycle_is_collected(self, tie):
        node, m = Node(), ConcurrentMap(shards=4)
        node.map = m
        tie(node, m)
        dead, dead_map = weakref.ref(node), weakref.ref(m)
        del node, m
        gc.collect()
        assert dead() is None
        assert dead_map() is None

    def test_a_cycle_with_a_destructor_that_uses_the_map(self):
        seen = []
        m = ConcurrentMap()
        m["k"] = hostile(__del__=lambda item: seen.append(len(item.map)))
        m["k"].map = m
        del m
        gc.collect()
        assert len(seen) == 1

    def test_what_it_refers_to_is_seen(self):
        key, value = Key("k"), [1]
        m = ConcurrentMap({key: value}, shards=4)
        referents = gc.get_referents(m)
        assert any(each is key for each in referents)
        assert any(each is value for each in referents)

    def test_a_deep_nest_dies(self):
        m = nested(100_000, lambda inner: ConcurrentMap({"inner": inner}))
        dead = weakref.ref(m)
        del m
        gc.collect()
        assert dead() is None
