"""What ConcurrentMap does in one step and dict does not: insert to freeze, room, and when references are dropped."""

import gc
import sys
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, FrozenMap, WouldDeadlock
from tests.support.hostile import calling, hostile, raising, returning
from tests.support.maps import Key, Pairs, assert_at_rest, entered

ANSWERS = [MISSING, REMOVE, ABORT]
"""What stands for an answer, so that it is no value."""


class Broken(Exception):
    """What a test's own function raises."""


class TestInsert:
    def test_gives_the_old_value_or_the_default(self):
        m = ConcurrentMap()
        assert m.insert("a", 1) is None
        assert m.insert("a", 2) == 1
        assert m.insert("b", 3, "absent") == "absent"
        assert m.insert("b", 4, default="absent") == 3
        assert_at_rest(m, {"a": 2, "b": 4})

    def test_can_tell_none_from_absent(self):
        m = ConcurrentMap({"a": None})
        assert m.insert("a", 1, MISSING) is None
        assert m.insert("b", 1, MISSING) is MISSING


class TestCompareAndSet:
    def test_sets_what_is_as_expected(self):
        m = ConcurrentMap({"a": 1})
        assert m.compare_and_set("a", 1, 2) is True
        assert m.compare_and_set("a", 1, 3) is False
        assert_at_rest(m, {"a": 2})

    def test_identity_is_looked_at_before_equality(self):
        value = hostile(__eq__=raising(Broken))
        m = ConcurrentMap({"a": value})
        assert m.compare_and_set("a", value, 2)
        nan = float("nan")
        m["b"] = nan
        assert m.compare_and_set("b", nan, 2)
        m["c"] = float("nan")
        assert not m.compare_and_set("c", float("nan"), 2)

    def test_equality_is_enough(self):
        m = ConcurrentMap({"a": [1], "b": 1})
        assert m.compare_and_set("a", [1], [2])
        assert m.compare_and_set("b", True, 2.0)
        assert_at_rest(m, {"a": [2], "b": 2.0})

    def test_missing_stands_for_absent(self):
        m = ConcurrentMap()
        assert m.compare_and_set("a", MISSING, 1) is True
        assert m.compare_and_set("a", MISSING, 2) is False
        assert m.compare_and_set("a", 2, MISSING) is False
        assert m.compare_and_set("a", 1, MISSING) is True
        assert m.compare_and_set("a", MISSING, MISSING) is True
        assert m.compare_and_set("a", None, 1) is False
        assert_at_rest(m, {})

    def test_what_equals_everything_is_not_absent(self):
        anything = hostile(__eq__=returning(True), __hash__=returning(1))
        m = ConcurrentMap({"a": anything})
        assert not m.compare_and_set("a", MISSING, 1)
        assert not ConcurrentMap().compare_and_set("a", anything, 1)

    def test_what_eq_raises_propagates(self):
        m = ConcurrentMap({"a": hostile(__eq__=raising(Broken))})
        before = m["a"]
        with pytest.raises(Broken):
            m.compare_and_set("a", 1, 2)
        assert m["a"] is before
        m._check()

    def test_a_value_that_changes_while_it_is_compared_is_compared_again(self):
        m = ConcurrentMap()
        m["a"] = hostile(__eq__=calling(lambda: m.__setitem__("a", "new"), then=True))
        assert m.compare_and_set("a", "old", "mine") is False
        assert_at_rest(m, {"a": "new"})


class TestRemoveIf:
    def test_asks_about_the_value(self):
        m = ConcurrentMap({"a": 1, "b": 2})
        asked = []
        assert m.remove_if("a", lambda value: asked.append(value) or True) is True
        assert m.remove_if("b", lambda value: asked.append(value)) is False
        assert m.remove_if("c", lambda value: asked.append(value) or True) is False
        assert asked == [1, 2]
        assert_at_rest(m, {"b": 2})

    def test_what_the_predicate_raises_propagates(self):
        m = ConcurrentMap({"a": 1})
        with pytest.raises(Broken):
            m.remove_if("a", raising(Broken))
        with pytest.raises(Broken):
            m.remove_if("a", lambda _: hostile(__bool__=raising(Broken)))
        assert_at_rest(m, {"a": 1})

    def test_the_key_is_entered_meanwhile(self):
        m = ConcurrentMap({"a": 1})

        def predicate(value):
            assert m["a"] == value
            assert m.try_entry("a") is None
            with pytest.raises(WouldDeadlock):
                m["a"] = 2
            m["b"] = 3
            return True

        assert m.remove_if("a", predicate)
        assert_at_rest(m, {"b": 3})


STORED = "a key"


class TestIncrement:
    def test_starts_at_the_default(self):
        m = ConcurrentMap()
        assert m.increment("a") == 1
        assert m.increment("b", 5) == 5
        assert m.increment("c", 5, 10) == 15
        assert m.increment("d", default=10) == 11
        assert m.increment("e", n=-2) == -2
        assert_at_rest(m, {"a": 1, "b": 5, "c": 15, "d": 11, "e": -2})

    @pytest.mark.parametrize(
        ("value", "n"),
        [
            (1, 2),
            (-1, 1),
            (2**62, 2**62),
            (2**63 - 1, 1),
            (-(2**63), -1),
            (10**40, -(10**40)),
            (1, 0.5),
            (0.5, 1),
            (1.5, 2.25),
            (True, True),
            (False, 1),
            (float("inf"), 1),
            (Decimal("0.1"), Decimal("0.2")),
            (Fraction(1, 3), 1),
            (1, 1j),
            ("a", "b"),
            ((1,), (2,)),
            (Counter("a"), Counter("b")),
        ],
    )
    @pytest.mark.parametrize("asked", [STORED, "".join(STORED)], ids=["the same key", "an equal key"])
    def test_adds_as_python_does(self, asked, value, n):
        m = ConcurrentMap({STORED: value})
        total = m.increment(asked, n)
        assert total == m[STORED] == value + n
        assert type(total) is type(m[STORED]) is type(value + n)
        assert m.increment("b", n, value) == value + n
        assert m["b"] == value + n
        m._check()

    @pytest.mark.parametrize("asked", [STORED, "".join(STORED)], ids=["the same key", "an equal key"])
    def test_has_one_reference_to_the_sum_and_none_to_what_it_replaces(self, asked):
        old, other = int("1000000"), int("1000002")
        m = ConcurrentMap({STORED: old, "other": other})
        before = sys.getrefcount(old)
        total = m.increment(asked)
        assert sys.getrefcount(old) == before - 1
        assert sys.getrefcount(total) == sys.getrefcount(other)

    def test_passes_on_what_add_raises(self):
        m = ConcurrentMap({"a": "text", "b": hostile(__add__=raising(Broken)), "c": 1e308})
        before = m.snapshot()
        with pytest.raises(TypeError):
            m.increment("a")
        with pytest.raises(Broken):
            m.increment("b")
        with pytest.raises(TypeError):
            m.increment("new", "text")
        with pytest.raises(OverflowError):
            m.increment("c", 10**400)
        assert_at_rest(m, before)

    def test_add_sees_the_key_entered(self):
        seen = []

        class Reentrant:
            def __add__(self, n):
                seen.append(m.try_entry("a"))
                with pytest.raises(WouldDeadlock):
                    m.increment("a")
                m["b"] = "written"
                return n

        m = ConcurrentMap({"a": Reentrant()})
        assert m.increment("a", 3) == 3
        assert seen == [None]
        assert_at_rest(m, {"a": 3, "b": "written"})

    @pytest.mark.parametrize("answer", ANSWERS, ids=repr)
    def test_a_sum_that_stands_for_an_answer_is_refused(self, answer):
        value = hostile(__add__=returning(answer))
        m = ConcurrentMap({"a": value})
        with pytest.raises(ValueError, match=repr(answer)):
            m.increment("a")
        assert_at_rest(m, {"a": value})

    def test_of_a_subclass_calls_its_add(self):
        class Number(int):
            def __add__(self, n):
                return "added"

        m = ConcurrentMap({"a": Number(1)})
        assert m.increment("a") == "added"
        assert m.increment("b", 1, Number(1)) == "added"


class TestCompute:
    def test_gives_and_stores_the_new_value(self):
        m = ConcurrentMap({"a": 1})
        assert m.compute("a", lambda old: old + 1) == 2
        assert m.compute("b", lambda old: [old]) == [MISSING]
        assert_at_rest(m, {"a": 2, "b": [MISSING]})

    def test_remove(self):
        m = ConcurrentMap({"a": 1})
        assert m.compute("a", lambda _: REMOVE) is MISSING
        assert m.compute("b", lambda _: REMOVE) is MISSING
        assert_at_rest(m, {})

    def test_abort(self):
        m = ConcurrentMap({"a": 1})
        assert m.compute("a", lambda _: ABORT) == 1
        assert m.compute("b", lambda _: ABORT) is MISSING
        assert_at_rest(m, {"a": 1})

    def test_calls_the_function_once(self):
        m = ConcurrentMap()
        calls = []
        m.compute("a", calls.append)
        assert calls == [MISSING]
        assert_at_rest(m, {"a": None})

    def test_missing_is_no_answer(self):
        m = ConcurrentMap({"a": 1})
        for key in "ab":
            with pytest.raises(ValueError, match="MISSING"):
                m.compute(key, lambda _: MISSING)
        assert_at_rest(m, {"a": 1})

    def test_what_the_function_raises_propagates(self):
        m = ConcurrentMap({"a": 1})
        for key in "ab":
            with pytest.raises(Broken):
                m.compute(key, raising(Broken))
        with pytest.raises(TypeError):
            m.compute("a", None)
        assert_at_rest(m, {"a": 1})

    def test_the_key_is_entered_meanwhile(self):
        m = ConcurrentMap({"a": 1})

        def function(old):
            assert entered(m) == 1
            assert m.try_entry("a") is None
            for write in (
                lambda: m.__setitem__("a", 2),
                lambda: m.__delitem__("a"),
                lambda: m.pop("a"),
                lambda: m.compute("a", lambda _: 2),
                m.clear,
            ):
                with pytest.raises(WouldDeadlock):
                    write()
            assert m.setdefault("a", 5) == m["a"] == old
            assert m.compute("b", lambda _: "other") == "other"
            return old + 1

        assert m.compute("a", function) == 2
        assert_at_rest(m, {"a": 2, "b": "other"})


class TestRetain:
    def test_keeps_where_the_predicate_is_true(self):
        m = ConcurrentMap({n: -n for n in range(10)})
        assert m.retain(lambda key, value: key % 2 and value > -6) == 7
        assert_at_rest(m, {1: -1, 3: -3, 5: -5})
        assert m.retain(lambda key, value: []) == 3
        assert m.retain(raising(Broken)) == 0

    def test_asks_about_each_key_once(self):
        items = {n: object() for n in range(300)}
        m = ConcurrentMap(items, shards=4)
        asked = []
        assert m.retain(lambda *item: asked.append(item)) == 300
        assert dict(asked) == items
        assert len(asked) == 300

    def test_what_the_predicate_raises_ends_it(self):
        m = ConcurrentMap({n: n for n in range(10)})
        removed = []

        def predicate(key, value):
            if len(removed) == 3:
                raise Broken
            removed.append(key)
            return False

        with pytest.raises(Broken):
            m.retain(predicate)
        assert_at_rest(m, {n: n for n in range(10) if n not in removed})

    def test_the_predicate_may_change_other_keys(self):
        m = ConcurrentMap({n: n for n in range(100)})

        def predicate(key, value):
            m.pop(99 - key, None)
            m[key + 1000] = key
            with pytest.raises(WouldDeadlock):
                m[key] = 1
            return True

        m.retain(lambda key, value: predicate(key, value) if key < 100 else True)
        kept = {key for key in m if key < 100}
        assert len(kept) == 50
        assert kept.isdisjoint(99 - key for key in kept)
        m._check()


class TestMany:
    def test_get_many_in_order(self):
        m = ConcurrentMap({"a": 1, "b": 2})
        assert m.get_many(["b", "x", "a", "b"]) == [2, None, 1, 2]
        assert m.get_many(iter("xa"), 0) == [0, 1]
        assert m.get_many("ab", default=0) == [1, 2]
        assert m.get_many([]) == []
        with pytest.raises(TypeError):
            m.get_many(3)

    def test_get_many_of_keys_that_only_python_can_compare(self):
        m = ConcurrentMap({Key(n, n % 3): n for n in range(20)}, shards=4)
        assert m.get_many([Key(n, n % 3) for n in range(25)], -1) == [*range(20), *[-1] * 5]

    @pytest.mark.parametrize("make", [dict, lambda items: items.items(), Pairs, ConcurrentMap, FrozenMap])
    def test_set_many(self, make):
        m = ConcurrentMap({"a": 1, "b": 2})
        assert m.set_many(make({"b": 3, "c": 4})) is None
        assert_at_rest(m, {"a": 1, "b": 3, "c": 4})

    def test_set_many_grows_the_table(self):
        m = ConcurrentMap(shards=4)
        items = {n: str(n) for n in range(1000)}
        m.set_many(items)
        assert_at_rest(m, items)

    def test_set_many_the_last_value_of_a_key_wins(self):
        m = ConcurrentMap()
        m.set_many([("a", 1), ("b", 2), ("a", 3)])
        assert_at_rest(m, {"a": 3, "b": 2})

    def test_set_many_changes_all_or_nothing(self):
        m = ConcurrentMap({"a": 1})
        for items, error in (
            ([("a", 2), ("b", 3), ([], 4)], TypeError),
            ([("a", 2), ("b",)], ValueError),
            ([("a", 2), ("b", MISSING)], ValueError),
            ([("a", 2), 3], TypeError),
        ):
            with pytest.raises(error):
                m.set_many(items)
            assert_at_rest(m, {"a": 1})

    def test_set_many_from_inside_an_entry_of_a_key(self):
        m = ConcurrentMap({"a": 1})
        with m.entry("a"):
            with pytest.raises(WouldDeadlock):
                m.set_many({"b": 1, "a": 2, "c": 3})
            m.set_many({"b": 1})
        assert_at_rest(m, {"a": 1, "b": 1})

    def test_snapshot_is_a_dict_of_its_own(self):
        m = ConcurrentMap({"a": 1})
        taken = m.snapshot()
        m["b"] = 2
        assert type(taken) is dict
        assert taken == {"a": 1}
        taken["c"] = 3
        assert_at_rest(m, {"a": 1, "b": 2})

    def test_freeze(self):
        m = ConcurrentMap({"a": 1})
        frozen = m.freeze()
        m["b"] = 2
        assert type(frozen) is FrozenMap
        assert frozen == {"a": 1}
        assert hash(frozen) == hash(FrozenMap({"a": 1}))


class TestRoom:
    def test_grows_by_itself(self):
        m = ConcurrentMap()
        for n in range(3000):
            m[n] = n
            assert m.capacity >= len(m) == n + 1
        assert_at_rest(m, {n: n for n in range(3000)})

    def test_reserve_is_for_more_items(self):
        m = ConcurrentMap({n: n for n in range(100)}, shards=1)
        assert m.reserve(1000) is None
        capacity, size = m.capacity, sys.getsizeof(m)
        assert capacity >= 1100
        m.update((n, n) for n in range(1100))
        assert (m.capacity, sys.getsizeof(m)) == (capacity, size)
        assert_at_rest(m, {n: n for n in range(1100)})

    def test_reserve_never_shrinks(self):
        m = ConcurrentMap(capacity=1000)
        capacity = m.capacity
        m.reserve(1)
        m.reserve(0)
        assert m.capacity == capacity

    @pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError)])
    def test_reserve_refuses(self, n, error):
        m = ConcurrentMap({"a": 1})
        with pytest.raises(error):
            m.reserve(n)
        assert_at_rest(m, {"a": 1})

    def test_reserve_of_too_much_is_a_memory_error(self):
        m = ConcurrentMap({"a": 1})
        with pytest.raises((MemoryError, OverflowError)):
            m.reserve(sys.maxsize)
        assert_at_rest(m, {"a": 1})

    def test_shrink_gives_memory_back(self):
        m = ConcurrentMap({n: n for n in range(10_000)})
        for n in range(10, 10_000):
            del m[n]
        before = sys.getsizeof(m)
        assert m.shrink() is None
        assert sys.getsizeof(m) < before
        assert 10 <= m.capacity < 10_000
        assert_at_rest(m, {n: n for n in range(10)})

    def test_shrink_of_an_empty_map(self):
        m = ConcurrentMap(capacity=1000)
        m.shrink()
        assert m.capacity < 1000
        m["a"] = 1
        assert_at_rest(m, {"a": 1})

    def test_inserts_and_deletes_do_not_pile_up(self):
        m = ConcurrentMap({n: n for n in range(100)}, shards=1)
        for n in range(100, 300):
            m[n] = n
            del m[n - 100]
        capacity = m.capacity
        for n in range(300, 20_000):
            m[n] = n
            del m[n - 100]
            assert m.capacity <= 2 * capacity
        assert m.stats()[0]["longest_probe"] <= 100
        assert_at_rest(m, {n: n for n in range(19_900, 20_000)})

    def test_stats(self):
        m = ConcurrentMap({n: n for n in range(100)}, shards=4)
        entry = m.entry(3)
        stats = m.stats()
        assert [sorted(shard) for shard in stats] == [["capacity", "entered", "items", "longest_probe"]] * 4
        assert sum(shard["items"] for shard in stats) == 100
        assert sum(shard["capacity"] for shard in stats) == m.capacity
        assert sorted(shard["entered"] for shard in stats) == [0, 0, 0, 1]
        entry.release()
        assert entered(m) == 0

    def test_capacity_and_shards_are_read_only(self):
        m = ConcurrentMap()
        for name in ("capacity", "shards"):
            with pytest.raises(AttributeError):
                setattr(m, name, 1)


class TestReferences:
    """What a map lets go of is released at once with the GIL, and before the call returns if nobody else reads."""

    class Item:
        def __init__(self, name, died):
            self.name = name
            self.died = died

        def __del__(self):
            self.died.append(self.name)

    @pytest.mark.parametrize(
        "call",
        [
            lambda m: m.__setitem__("k", None),
            lambda m: m.__delitem__("k"),
            lambda m: m.pop("k"),
            lambda m: m.popitem(),
            lambda m: m.insert("k", 1),
            lambda m: m.update(k=1),
            lambda m: m.clear(),
            lambda m: m.compare_and_set("k", m["k"], 1),
            lambda m: m.remove_if("k", lambda _: True),
            lambda m: m.retain(lambda *_: False),
            lambda m: m.compute("k", lambda _: REMOVE),
            lambda m: m.compute("k", lambda _: 1),
            lambda m: m.set_many({"k": 1}),
            lambda m: m.entry("k").__enter__().remove() and None,
        ],
    )
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_a_value_dies_when_it_is_replaced_or_removed(self, call):
        died = []
        m = ConcurrentMap({"k": self.Item("value", died)})
        call(m)
        gc.collect()
        assert died == ["value"]
        m._check()

    def test_keys_and_values_die_with_the_map(self):
        died = []
        m = ConcurrentMap({self.Item("key", died): self.Item("value", died)})
        assert died == []
        del m
        gc.collect()
        assert sorted(died) == ["key", "value"]

    def test_an_equal_key_is_not_kept(self):
        died = []

        class Named(self.Item):
            def __hash__(self):
                return 7

            def __eq__(self, other):
                return isinstance(other, Named)

        m = ConcurrentMap({Named("stored", died): 1})
        m[Named("other", died)] = 2
        m.insert(Named("other", died), 3)
        m.setdefault(Named("other", died), 4)
        m.get(Named("other", died))
        m.increment(Named("other", died))
        gc.collect()
        assert died == ["other"] * 5
        m.clear()
        gc.collect()
        assert died[5:] == ["stored"]

    def test_a_destructor_may_use_the_map(self):
        m = ConcurrentMap(shards=1)  # clear() goes shard by shard, and may meet what a destructor put into a later one

        def value(n):
            return hostile(__del__=calling(lambda: m.__setitem__("last", n)))

        m["k"] = value(1)
        m["k"] = value(2)
        gc.collect()
        assert m["last"] == 1
        del m["k"]
        gc.collect()
        assert_at_rest(m, {"last": 2})
        m["k"] = value(3)
        m.clear()
        gc.collect()
        assert_at_rest(m, {"last": 3})
