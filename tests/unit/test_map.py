"""What api.md promises of ConcurrentMap, call by call, in one thread: dict's interface, and what dict does not have."""

import os
import sys
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Hashable, Mapping, MutableMapping
from fractions import Fraction
from types import MappingProxyType

import pytest

import ferrule
from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, FrozenMap
from tests.support.hostile import hostile, raising, returning
from tests.support.maps import Key, Pairs, assert_at_rest, entered

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

ANSWERS = [MISSING, REMOVE, ABORT]
"""What stands for an answer, so that it is no value."""


class Broken(Exception):
    """What a test's own function raises."""


class CountedKey:
    """A key that counts how often it is hashed and compared; equal to all of its kind."""

    def __init__(self):
        self.hashed = 0
        self.compared = 0

    def __hash__(self):
        self.hashed += 1
        return 7

    def __eq__(self, other):
        self.compared += 1
        return isinstance(other, CountedKey)


class TestMaking:
    def test_is_empty_without_arguments(self):
        assert_at_rest(ConcurrentMap(), {})

    @pytest.mark.parametrize(
        "make",
        [
            dict,
            OrderedDict,
            UserDict,
            MappingProxyType,
            ChainMap,
            ConcurrentMap,
            FrozenMap,
            Pairs,
            lambda items: list(items.items()),
            lambda items: [list(item) for item in items.items()],
            lambda items: iter(items.items()),
            lambda items: items.items(),
            lambda items: ConcurrentMap(items).items(),
            lambda items: (item for item in items.items()),
        ],
    )
    def test_takes_mappings_and_pairs(self, make):
        items = {"a": 1, 2: None, (3,): "c"}
        assert_at_rest(ConcurrentMap(make(items)), items)

    def test_takes_pairs_that_are_not_tuples(self):
        assert_at_rest(ConcurrentMap(["ab", [1, 2], iter((3, 4))]), {"a": "b", 1: 2, 3: 4})

    def test_the_last_value_of_a_key_wins_and_the_first_key(self):
        m = ConcurrentMap([(1, "a"), (True, "b"), (1.0, "c")])
        assert repr(m) == "ConcurrentMap({1: 'c'})"

    @pytest.mark.parametrize("size", [0, 1, 2, 2**30 - 1, 2**30, 2**60 - 1, 2**60, 2**61 - 1, 2**61, 2**64, 10**30])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_an_int_of_any_size_is_found_by_what_equals_it(self, size, sign):
        class Int(int):
            """Hashed by a call, where an exact int need not be."""

        n = sign * size
        m = ConcurrentMap({n: "exact"})
        assert m[Int(n)] == m[Fraction(n)] == m[int(str(n))] == "exact"
        assert ConcurrentMap({Int(n): "a subclass"})[n] == "a subclass"

    def test_has_no_keyword_items(self):
        with pytest.raises(TypeError):
            ConcurrentMap(a=1)
        with pytest.raises(TypeError):
            ConcurrentMap(mapping_or_pairs={})
        with pytest.raises(TypeError):
            ConcurrentMap({}, {})

    @pytest.mark.parametrize("other", [1, None, [1], [None], [(1, 2), 3]])
    def test_of_what_is_no_pairs_is_refused(self, other):
        with pytest.raises(TypeError):
            ConcurrentMap(other)

    @pytest.mark.parametrize("other", [[(1,)], [(1, 2, 3)], ["a"], ["abc"], [()]])
    def test_of_pairs_of_another_length_is_refused(self, other):
        with pytest.raises(ValueError, match="length"):
            ConcurrentMap(other)

    def test_of_unhashable_keys_is_refused(self):
        with pytest.raises(TypeError, match="unhashable"):
            ConcurrentMap([([], 1)])

    @pytest.mark.parametrize("shards", [1, 2, 4, 64])
    def test_has_the_shards_that_were_asked_for(self, shards):
        m = ConcurrentMap({n: n for n in range(100)}, shards=shards)
        assert m.shards == len(m.stats()) == shards
        assert sum(shard["items"] for shard in m.stats()) == 100
        assert_at_rest(m, {n: n for n in range(100)})

    @pytest.mark.skipif(not GIL, reason="without the GIL the number follows the CPUs")
    def test_has_one_shard_with_the_gil(self):
        assert ConcurrentMap().shards == 1

    @pytest.mark.skipif(GIL, reason="with the GIL there is one shard")
    def test_has_shards_by_the_cpus_without_the_gil(self):
        shards = ConcurrentMap().shards
        assert min(os.cpu_count() or 1, 64) <= shards <= 64
        assert shards & (shards - 1) == 0

    @pytest.mark.parametrize("shards", [0, -1, 3, 6, 100])
    def test_shards_are_a_power_of_two(self, shards):
        with pytest.raises(ValueError, match="power of two"):
            ConcurrentMap(shards=shards)

    @pytest.mark.parametrize("number", [1.0, 2.5, "1", [], b"1"])
    @pytest.mark.parametrize("name", ["shards", "capacity"])
    def test_shards_and_capacity_are_indices(self, name, number):
        with pytest.raises(TypeError):
            ConcurrentMap(**{name: number})

    def test_shards_and_capacity_are_keywords(self):
        with pytest.raises(TypeError):
            ConcurrentMap((), 1)

    @pytest.mark.parametrize("capacity", [1, 2, 7, 8, 1000])
    def test_has_the_capacity_that_was_asked_for(self, capacity):
        m = ConcurrentMap(capacity=capacity)
        assert m.capacity >= capacity
        before = sys.getsizeof(m)
        m.update(dict.fromkeys(range(capacity)))
        if m.shards == 1:
            assert sys.getsizeof(m) == before
        assert_at_rest(m, dict.fromkeys(range(capacity)))

    def test_growth_is_spread_over_the_calls(self):
        """No single call moves a big table: while there are two, each of many calls moves a part."""
        m = ConcurrentMap(shards=1)
        sizes = []
        for n in range(20_000):
            m[n] = n
            sizes.append(sys.getsizeof(m))
        before = sizes.index(max(sizes)) - 1
        both = sizes.count(max(sizes))
        slots = (sizes[before] - sys.getsizeof(ConcurrentMap(shards=1))) // 24
        assert both > slots // 64
        assert min(sizes[before + both + 1 :]) < max(sizes)

    def test_capacity_is_not_negative(self):
        with pytest.raises(ValueError, match="negative"):
            ConcurrentMap(capacity=-1)

    def test_capacity_is_not_absurd(self):
        with pytest.raises((MemoryError, OverflowError)):
            ConcurrentMap(capacity=sys.maxsize)

    def test_calling_init_again_changes_nothing(self):
        m = ConcurrentMap({"a": 1})
        m.__init__()
        assert_at_rest(m, {"a": 1})

    def test_cannot_be_subclassed(self):
        with pytest.raises(TypeError):
            type("Sub", (ConcurrentMap,), {})

    def test_takes_no_attributes(self):
        with pytest.raises(AttributeError):
            ConcurrentMap().note = 1

    def test_is_a_mutable_mapping_and_unhashable(self):
        m = ConcurrentMap()
        assert isinstance(m, MutableMapping)
        assert isinstance(m, Mapping)
        assert not isinstance(m, Hashable)
        assert not isinstance(m, dict)
        with pytest.raises(TypeError, match="unhashable"):
            hash(m)

    def test_is_exported(self):
        assert ferrule.ConcurrentMap is ConcurrentMap
        assert ConcurrentMap.__module__.startswith("ferrule")


class TestAsDict:
    def test_getitem(self):
        m = ConcurrentMap({"a": 1})
        assert m["a"] == 1
        with pytest.raises(KeyError) as error:
            m["b"]
        assert error.value.args == ("b",)

    def test_a_tuple_as_an_absent_key_is_named_whole(self):
        with pytest.raises(KeyError) as error:
            ConcurrentMap()[1, 2]
        assert error.value.args == ((1, 2),)

    def test_setitem(self):
        m = ConcurrentMap()
        m["a"] = 1
        m["a"] = 2
        m["b"] = None
        assert_at_rest(m, {"a": 2, "b": None})

    def test_delitem(self):
        m = ConcurrentMap({"a": 1, "b": 2})
        del m["a"]
        with pytest.raises(KeyError) as error:
            del m["a"]
        assert error.value.args == ("a",)
        assert_at_rest(m, {"b": 2})

    def test_in(self):
        m = ConcurrentMap({"a": None})
        assert "a" in m
        assert "b" not in m
        assert None not in m

    def test_len_and_truth(self):
        m = ConcurrentMap()
        assert len(m) == 0
        assert not m
        m["a"] = 1
        assert len(m) == 1
        assert m

    def test_get(self):
        m = ConcurrentMap({"a": 1})
        assert (m.get("a"), m.get("a", 2), m.get("b"), m.get("b", 2)) == (1, 1, None, 2)
        with pytest.raises(TypeError):
            m.get()
        with pytest.raises(TypeError):
            m.get("a", 1, 2)

    def test_setdefault(self):
        m = ConcurrentMap({"a": 1})
        assert (m.setdefault("a"), m.setdefault("a", 2), m.setdefault("b"), m.setdefault("c", 3)) == (1, 1, None, 3)
        assert_at_rest(m, {"a": 1, "b": None, "c": 3})

    def test_pop(self):
        m = ConcurrentMap({"a": 1, "b": 2})
        assert (m.pop("a"), m.pop("b", 3), m.pop("b", 3), m.pop("b", None)) == (1, 2, 3, None)
        with pytest.raises(KeyError) as error:
            m.pop("a")
        assert error.value.args == ("a",)
        assert_at_rest(m, {})

    def test_popitem_takes_every_item_once(self):
        items = {n: str(n) for n in range(100)}
        m = ConcurrentMap(items, shards=4)
        assert dict(m.popitem() for _ in range(100)) == items
        with pytest.raises(KeyError, match="map is empty"):
            m.popitem()
        assert_at_rest(m, {})

    @pytest.mark.parametrize(
        "other", [{"b": 2, "c": 3}, [("b", 2), ("c", 3)], Pairs({"b": 2, "c": 3}), ConcurrentMap({"b": 2, "c": 3})]
    )
    def test_update(self, other):
        m = ConcurrentMap({"a": 1, "b": 1})
        assert m.update(other) is None
        assert_at_rest(m, {"a": 1, "b": 2, "c": 3})

    def test_update_with_keywords(self):
        m = ConcurrentMap({"a": 1})
        m.update(a=2, b=3)
        m.update({"c": 4}, c=5, other=6, self=7)
        m.update()
        assert_at_rest(m, {"a": 2, "b": 3, "c": 5, "other": 6, "self": 7})

    def test_update_with_itself(self):
        m = ConcurrentMap({"a": 1})
        m.update(m)
        m.update(m.items())
        assert_at_rest(m, {"a": 1})

    def test_update_keeps_what_came_before_an_error(self):
        m = ConcurrentMap()
        with pytest.raises(TypeError):
            m.update([("a", 1), ("b", 2), 3, ("c", 4)])
        assert_at_rest(m, {"a": 1, "b": 2})

    def test_update_passes_on_what_the_other_raises(self):
        def items():
            yield "a", 1
            raise Broken

        m = ConcurrentMap()
        with pytest.raises(Broken):
            m.update(items())
        assert_at_rest(m, {"a": 1})

    def test_clear(self):
        m = ConcurrentMap({n: n for n in range(100)}, shards=4)
        assert m.clear() is None
        assert_at_rest(m, {})
        m.clear()
        m["a"] = 1
        assert_at_rest(m, {"a": 1})

    def test_fromkeys(self):
        assert_at_rest(ConcurrentMap.fromkeys("abc"), {"a": None, "b": None, "c": None})
        assert_at_rest(ConcurrentMap.fromkeys(iter([1, 2, 1]), "v"), {1: "v", 2: "v"})
        assert type(ConcurrentMap({1: 2}).fromkeys([3])) is ConcurrentMap
        with pytest.raises(TypeError):
            ConcurrentMap.fromkeys(3)

    def test_has_no_order_to_reverse(self):
        with pytest.raises(TypeError):
            reversed(ConcurrentMap({"a": 1}))

    def test_unpacks_as_a_mapping(self):
        m = ConcurrentMap({"a": 1, "b": 2})
        assert {**m} == dict(m) == (lambda **named: named)(**m) == {"a": 1, "b": 2}
        assert sorted([*m]) == ["a", "b"]

    @pytest.mark.parametrize("answer", ANSWERS, ids=repr)
    @pytest.mark.parametrize("present", [True, False])
    def test_what_stands_for_an_answer_cannot_be_a_value(self, answer, present):
        before = {"k": 1} if present else {}
        m = ConcurrentMap(before)
        stores = [
            lambda: m.__setitem__("k", answer),
            lambda: m.insert("k", answer),
            lambda: m.update({"k": answer}),
            lambda: m.update(k=answer),
            lambda: m.__ior__({"k": answer}),
            lambda: m.set_many({"k": answer}),
            lambda: m.fromkeys("k", answer),
            lambda: ConcurrentMap({"k": answer}),
        ]
        if not present:
            stores.append(lambda: m.setdefault("k", answer))
        if answer is not MISSING:
            stores.append(lambda: m.compare_and_set("k", 1 if present else MISSING, answer))
        for store in stores:
            with pytest.raises(ValueError, match=repr(answer)):
                store()
        assert_at_rest(m, before)

    @pytest.mark.parametrize("answer", ANSWERS, ids=repr)
    def test_what_stands_for_an_answer_can_be_a_key(self, answer):
        m = ConcurrentMap({answer: 1})
        assert m[answer] == 1
        assert m.compute(answer, lambda old: old + 1) == 2
        assert m.compare_and_set(answer, 2, 3)
        assert m.pop(answer) == 3


KEYED = {
    "getitem": lambda m, key: m[key],
    "get": lambda m, key: m.get(key),
    "in": lambda m, key: key in m,
    "in keys": lambda m, key: m.keys().__contains__(key),
    "in items": lambda m, key: (key, 1) in m.items(),
    "setitem": lambda m, key: m.__setitem__(key, 1),
    "delitem": lambda m, key: m.__delitem__(key),
    "setdefault": lambda m, key: m.setdefault(key, 1),
    "pop": lambda m, key: m.pop(key),
    "pop default": lambda m, key: m.pop(key, None),
    "insert": lambda m, key: m.insert(key, 1),
    "compare_and_set": lambda m, key: m.compare_and_set(key, 1, 2),
    "remove_if": lambda m, key: m.remove_if(key, lambda _: True),
    "increment": lambda m, key: m.increment(key),
    "increment by an object": lambda m, key: m.increment(key, Fraction(1, 2)),
    "compute": lambda m, key: m.compute(key, lambda _: 1),
    "entry": lambda m, key: m.entry(key).release(),
    "try_entry": lambda m, key: m.try_entry(key).release(),
    "entries": lambda m, key: m.entries(key).release(),
}
"""Each call with one key."""

COMPARING = [name for name in KEYED if name not in ("entry", "try_entry", "entries")]
"""Those that compare keys: an entry is found by its hash alone."""

MANY = {
    "get_many": lambda m, key: m.get_many([key]),
    "set_many": lambda m, key: m.set_many([(key, 1)]),
    "update": lambda m, key: m.update([(key, 1)]),
}
"""Calls with several keys, given one."""


class TestKeys:
    @pytest.mark.parametrize("call", [*KEYED.values(), *MANY.values()], ids=[*KEYED, *MANY])
    @pytest.mark.parametrize("key", [[], {}, set(), ConcurrentMap()], ids=["list", "dict", "set", "map"])
    def test_an_unhashable_key_is_a_type_error(self, call, key):
        m = ConcurrentMap({"a": 1})
        with pytest.raises(TypeError, match="unhashable"):
            call(m, key)
        assert_at_rest(m, {"a": 1})

    @pytest.mark.parametrize("call", [*KEYED.values(), *MANY.values()], ids=[*KEYED, *MANY])
    def test_what_hash_raises_propagates(self, call):
        m = ConcurrentMap({"a": 1})
        with pytest.raises(Broken):
            call(m, hostile(__hash__=raising(Broken)))
        assert_at_rest(m, {"a": 1})

    @pytest.mark.parametrize("call", [KEYED[name] for name in COMPARING] + [*MANY.values()], ids=[*COMPARING, *MANY])
    def test_what_eq_raises_propagates_and_changes_nothing(self, call):
        stored = Key("stored", 7)
        m = ConcurrentMap({stored: 1})
        with pytest.raises(Broken):
            call(m, hostile(__hash__=returning(7), __eq__=raising(Broken)))
        m._check()
        assert entered(m) == 0
        assert [*m.items()] == [(stored, 1)]

    @pytest.mark.parametrize("call", KEYED.values(), ids=KEYED)
    @pytest.mark.parametrize("where", ["identical", "equal", "absent"])
    def test_is_hashed_once_per_call(self, call, where):
        stored, other = CountedKey(), CountedKey()
        m = ConcurrentMap({stored: 1} if where != "absent" else {})
        key = stored if where == "identical" else other
        key.hashed = 0
        try:
            call(m, key)
        except KeyError:
            assert where == "absent"
        assert key.hashed == 1

    @pytest.mark.parametrize("call", KEYED.values(), ids=KEYED)
    def test_identity_is_looked_at_first(self, call):
        key = hostile(__hash__=returning(7), __eq__=raising(Broken))
        m = ConcurrentMap({key: 1})
        call(m, key)
        m._check()

    def test_of_another_hash_is_not_compared(self):
        keys = [hostile(__hash__=returning(code), __eq__=raising(Broken)) for code in range(200)]
        m = ConcurrentMap((key, code) for code, key in enumerate(keys))
        assert [m[key] for key in keys] == [*range(200)]
        m._check()

    def test_may_answer_eq_with_any_object(self):
        class Odd:
            def __init__(self, answer):
                self.answer = answer

            def __hash__(self):
                return 7

            def __eq__(self, other):
                return self.answer

        m = ConcurrentMap({Key("stored", 7): 1})
        assert m.get(Odd([1])) == 1
        assert m.get(Odd("")) is None
        with pytest.raises(Broken):
            m.get(Odd(hostile(__bool__=raising(Broken))))

    def test_stays_the_first_one_put_in(self):
        first, second = CountedKey(), CountedKey()
        m = ConcurrentMap({first: 1})
        m[second] = 2
        m.insert(second, 3)
        m.setdefault(second, 4)
        m.update([(second, 5)])
        m.increment(second)
        m.compute(second, lambda old: old + 1)
        m.compare_and_set(second, 7, 8)
        m.set_many([(second, 9)])
        with m.entry(second) as entry:
            entry.value = 10
        [(stored, value)] = m.items()
        assert stored is first
        assert value == 10
        assert m.popitem()[0] is first

    def test_is_the_new_one_after_a_removal(self):
        m = ConcurrentMap({1: "a"})
        del m[True]
        m[True] = "b"
        assert repr(m) == "ConcurrentMap({True: 'b'})"

    def test_comparing_that_changes_the_map_for_ever_is_an_error(self):
        m = ConcurrentMap()
        compared = []

        class Restless:
            """Puts another of its kind in the place of the one that it is compared with."""

            def __hash__(self):
                return 7

            def __eq__(self, other):
                compared.append(other)
                if len(compared) > 1000:
                    return False
                m.clear()
                m[Restless()] = 1
                return False

        m[Restless()] = 1
        with pytest.raises(RuntimeError, match="Restless"):
            m.get(Restless())
        assert 64 <= len(compared) <= 66
        assert len(m) == 1
        m._check()

    def test_comparing_may_change_the_map_now_and_then(self):
        m = ConcurrentMap()

        class Growing:
            times = 10

            def __hash__(self):
                return 7

            def __eq__(self, other):
                if Growing.times:
                    Growing.times -= 1
                    m.update((n, n) for n in range(Growing.times * 50))
                return self is other

        first, second = Growing(), Growing()
        m[first] = 1
        m[second] = 2
        assert (m[first], m[second]) == (1, 2)
        m._check()
