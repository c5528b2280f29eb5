"""What api.md promises of FrozenMap: an immutable, hashable mapping."""

import copy
import gc
import pickle
import weakref
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Hashable, ItemsView, KeysView, Mapping, MutableMapping, ValuesView
from types import MappingProxyType

import pytest

import ferrule
from ferrule import MISSING, ConcurrentMap, FrozenMap
from tests.support.hostile import hostile, raising, returning

ITEMS = {"a": 1, "b": None, (3,): "c"}
MAPPINGS = [dict, OrderedDict, UserDict, MappingProxyType, ChainMap, ConcurrentMap, FrozenMap]


class Broken(Exception):
    """What a test's own object raises."""


class TestMaking:
    @pytest.mark.parametrize("make", [*MAPPINGS, lambda items: list(items.items()), lambda items: iter(items.items())])
    def test_takes_mappings_and_pairs(self, make):
        frozen = FrozenMap(make(ITEMS))
        assert dict(frozen) == ITEMS
        assert len(frozen) == 3

    def test_is_empty_without_arguments(self):
        assert dict(FrozenMap()) == {}
        assert not FrozenMap()

    def test_is_of_its_own(self):
        for make in (dict, ConcurrentMap):
            source = make(ITEMS)
            frozen = FrozenMap(source)
            source["later"] = 1
            source.pop("a")
            assert dict(frozen) == ITEMS

    def test_is_what_freeze_gives(self):
        m = ConcurrentMap(ITEMS, shards=4)
        frozen = m.freeze()
        m.clear()
        assert type(frozen) is FrozenMap
        assert frozen == ITEMS

    def test_refuses_other_arguments(self):
        for call in (
            lambda: FrozenMap(a=1),
            lambda: FrozenMap({}, {}),
            lambda: FrozenMap(mapping_or_pairs={}),
            lambda: FrozenMap(1),
            lambda: FrozenMap(None),
            lambda: FrozenMap([([], 1)]),
        ):
            with pytest.raises(TypeError):
                call()
        with pytest.raises(ValueError):
            FrozenMap([(1, 2, 3)])

    def test_calling_init_again_changes_nothing(self):
        frozen = FrozenMap(ITEMS)
        frozen.__init__()
        assert frozen == ITEMS

    def test_is_a_mapping_and_no_dict(self):
        frozen = FrozenMap()
        assert isinstance(frozen, Mapping)
        assert isinstance(frozen, Hashable)
        assert not isinstance(frozen, (MutableMapping, dict))

    def test_cannot_be_subclassed(self):
        with pytest.raises(TypeError):
            type("Sub", (FrozenMap,), {})

    def test_is_generic_at_run_time(self):
        alias = FrozenMap[str, int]
        assert alias.__origin__ is FrozenMap
        assert alias.__args__ == (str, int)
        assert alias({"a": 1}) == {"a": 1}

    def test_is_exported(self):
        assert ferrule.FrozenMap is FrozenMap


class TestReading:
    def test_getitem(self):
        frozen = FrozenMap(ITEMS)
        assert frozen["a"] == 1
        with pytest.raises(KeyError) as error:
            frozen[1, 2]
        assert error.value.args == ((1, 2),)
        with pytest.raises(TypeError, match="unhashable"):
            frozen[[]]

    def test_get(self):
        frozen = FrozenMap(ITEMS)
        assert (frozen.get("a"), frozen.get("b", 2), frozen.get("x"), frozen.get("x", 2)) == (1, None, None, 2)
        assert frozen.get("x", MISSING) is MISSING

    def test_in_len_and_iteration(self):
        frozen = FrozenMap(ITEMS)
        assert "a" in frozen
        assert "x" not in frozen
        assert len(frozen) == 3
        assert set(frozen) == set(ITEMS)
        assert {**frozen} == ITEMS

    @pytest.mark.parametrize(("name", "kind"), [("keys", KeysView), ("values", ValuesView), ("items", ItemsView)])
    def test_views(self, name, kind):
        view = getattr(FrozenMap(ITEMS), name)()
        assert isinstance(view, kind)
        assert list(view) == list(getattr(FrozenMap(ITEMS), name)())
        assert sorted(map(repr, view)) == sorted(map(repr, getattr(ITEMS, name)()))
        assert len(view) == 3

    def test_views_are_sets_and_outlive_the_map(self):
        keys, items = FrozenMap(ITEMS).keys(), FrozenMap(ITEMS).items()
        gc.collect()
        assert keys & {"a", "x"} == {"a"}
        assert keys == ITEMS.keys()
        assert items - {("a", 1)} == {("b", None), ((3,), "c")}

    def test_through_its_views_nothing_can_be_changed(self):
        frozen = FrozenMap(ITEMS)
        for view in (frozen.keys(), frozen.values(), frozen.items()):
            mapping = view.mapping
            with pytest.raises(TypeError):
                mapping["a"] = 2
        assert frozen == ITEMS

    def test_nothing_changes_it(self):
        frozen = FrozenMap(ITEMS)
        with pytest.raises(TypeError):
            frozen["a"] = 2
        with pytest.raises(TypeError):
            del frozen["a"]
        with pytest.raises(AttributeError):
            frozen.note = 1
        for name in ("clear", "pop", "popitem", "setdefault", "update", "insert", "compute", "__ior__", "__setitem__"):
            assert not hasattr(frozen, name)
        assert frozen == ITEMS

    def test_in_place_or_makes_another(self):
        frozen = before = FrozenMap({"a": 1})
        frozen |= {"b": 2}
        assert type(frozen) is FrozenMap
        assert frozen == {"a": 1, "b": 2}
        assert before == {"a": 1}

    def test_matches_as_a_mapping(self):
        match FrozenMap({"a": 1, "b": 2}):
            case {"a": value, **rest}:
                assert (value, rest) == (1, {"b": 2})
            case _:
                pytest.fail("it is no mapping to match")


class TestEquality:
    @pytest.mark.parametrize("make", MAPPINGS)
    def test_is_by_content_with_any_mapping(self, make):
        frozen = FrozenMap(ITEMS)
        assert frozen == make(ITEMS)
        assert make(ITEMS) == frozen
        for other in ({}, {"a": 1}, {**ITEMS, "a": 2}, {**ITEMS, "d": 1}):
            assert frozen != make(other)
            assert make(other) != frozen

    def test_with_what_is_no_mapping(self):
        frozen = FrozenMap(ITEMS)
        for other in (None, 1, list(ITEMS.items()), set(ITEMS.items()), "a"):
            assert frozen != other
        with pytest.raises(TypeError):
            assert frozen < frozen

    def test_of_unhashable_values(self):
        assert FrozenMap({"a": []}) == FrozenMap({"a": []})
        assert FrozenMap({"a": []}) != FrozenMap({"a": [1]})

    def test_passes_on_what_comparing_values_raises(self):
        with pytest.raises(Broken):
            assert FrozenMap({"a": hostile(__eq__=raising(Broken))}) == {"a": 1}


class TestHash:
    def test_equal_maps_have_equal_hashes_in_any_order(self):
        assert hash(FrozenMap(ITEMS)) == hash(FrozenMap(reversed(ITEMS.items())))
        assert hash(FrozenMap({1: 1})) == hash(FrozenMap({True: 1.0}))
        assert hash(FrozenMap()) == hash(FrozenMap([]))

    def test_other_maps_have_other_hashes(self):
        hashes = {hash(FrozenMap({key: value})) for key in range(10) for value in range(10)}
        assert len(hashes) > 90

    def test_serves_as_a_key(self):
        kept = {FrozenMap(ITEMS): 1}
        assert kept[FrozenMap(ITEMS)] == 1
        m = ConcurrentMap({FrozenMap({"a": FrozenMap()}): 2})
        assert m[FrozenMap({"a": FrozenMap()})] == 2

    @pytest.mark.parametrize("value", [[], {}, ConcurrentMap(), FrozenMap({"a": []})], ids=repr)
    def test_needs_hashable_values(self, value):
        with pytest.raises(TypeError, match="unhashable"):
            hash(FrozenMap({"a": value}))

    def test_passes_on_what_hashing_a_value_raises(self):
        with pytest.raises(Broken):
            hash(FrozenMap({"a": hostile(__hash__=raising(Broken))}))

    def test_asks_each_value(self):
        one = FrozenMap({"a": hostile(__hash__=returning(1))})
        two = FrozenMap({"a": hostile(__hash__=returning(2))})
        assert hash(one) != hash(two)


class TestOr:
    @pytest.mark.parametrize("make", [dict, OrderedDict, MappingProxyType, FrozenMap])
    def test_with_a_mapping_on_either_side(self, make):
        frozen = FrozenMap({"a": 1, "b": 1})
        for result, expected in (
            (frozen | make({"b": 2, "c": 2}), {"a": 1, "b": 2, "c": 2}),
            (make({"b": 2, "c": 2}) | frozen, {"a": 1, "b": 1, "c": 2}),
        ):
            assert result == expected
            assert isinstance(result, Mapping)
        assert type(frozen | make({})) is FrozenMap
        assert type({} | frozen) is FrozenMap
        assert frozen == {"a": 1, "b": 1}

    def test_refuses_what_is_no_mapping(self):
        for other in (None, 1, [("a", 1)], {"a"}):
            for call in (lambda other=other: FrozenMap() | other, lambda other=other: other | FrozenMap()):
                with pytest.raises(TypeError):
                    call()


class TestCopies:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickles(self, protocol):
        frozen = FrozenMap(ITEMS)
        loaded = pickle.loads(pickle.dumps(frozen, protocol))
        assert type(loaded) is FrozenMap
        assert loaded == frozen
        assert hash(loaded) == hash(frozen)

    def test_a_copy_is_itself(self):
        frozen = FrozenMap(ITEMS)
        assert copy.copy(frozen) is frozen

    def test_a_deep_copy_has_values_of_its_own(self):
        frozen = FrozenMap({"a": [1]})
        copied = copy.deepcopy(frozen)
        assert copied == frozen
        assert type(copied) is FrozenMap
        assert copied["a"] is not frozen["a"]

    def test_shows_its_items(self):
        assert repr(FrozenMap()) == "FrozenMap({})"
        assert repr(FrozenMap({"a": 1})) == "FrozenMap({'a': 1})"
        inner = []
        frozen = FrozenMap({"a": inner})
        inner.append(frozen)
        assert repr(frozen) == "FrozenMap({'a': [FrozenMap({...})]})"

    def test_a_cycle_through_a_value_is_collected(self):
        class Value:
            pass

        value = Value()
        value.map = FrozenMap({"a": value})
        dead = weakref.ref(value)
        del value
        gc.collect()
        assert dead() is None
