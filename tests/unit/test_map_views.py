"""What api.md promises of the views and iterators of a ConcurrentMap: live, set-like, never "changed size"."""

import copy
import gc
import operator
import pickle
from collections import Counter
from collections.abc import ItemsView, Iterator, KeysView, Set, ValuesView

import pytest

from ferrule import ConcurrentMap, ConcurrentSet
from tests.support.hostile import hostile, raising, returning
from tests.support.maps import Key

ITEMS = {"a": 1, "b": 2, 3: "c"}

PARTS = {
    "map": iter,
    "keys": lambda m: iter(m.keys()),
    "values": lambda m: iter(m.values()),
    "items": lambda m: iter(m.items()),
}

parts = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
views = pytest.mark.parametrize("name", ["keys", "values", "items"])
set_views = pytest.mark.parametrize("name", ["keys", "items"])


class Broken(Exception):
    """What a test's own object raises."""


def pair(name, items):
    """The view of a map with these items, and the view of a dict with the same."""
    return getattr(ConcurrentMap(items), name)(), getattr(dict(items), name)()


class TestViews:
    @views
    def test_have_what_the_dict_s_have(self, name):
        view, expected = pair(name, ITEMS)
        assert Counter(view) == Counter(expected)
        assert len(view) == len(expected) == 3

    @views
    def test_are_live(self, name):
        m = ConcurrentMap()
        view = getattr(m, name)()
        assert len(view) == 0
        assert list(view) == []
        m["a"] = 1
        assert list(view) == list(getattr({"a": 1}, name)())
        m["a"] = 2
        assert list(view) == list(getattr({"a": 2}, name)())
        m.clear()
        assert list(view) == []

    @views
    def test_keep_the_map_alive_and_give_it(self, name):
        m = ConcurrentMap({"a": 1})
        view = getattr(m, name)()
        assert view.mapping is m
        del m
        gc.collect()
        assert len(view) == 1
        assert view.mapping["a"] == 1
        with pytest.raises(AttributeError):
            view.mapping = {}

    @pytest.mark.parametrize(("name", "kind"), [("keys", KeysView), ("values", ValuesView), ("items", ItemsView)])
    def test_are_of_the_abstract_kind(self, name, kind):
        view = getattr(ConcurrentMap(), name)()
        assert isinstance(view, kind)
        assert isinstance(view, Set) is (name != "values")

    @views
    def test_are_not_made_by_callers(self, name):
        kind = type(getattr(ConcurrentMap(), name)())
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            type("Sub", (kind,), {})

    @views
    def test_show_what_they_have(self, name):
        view, expected = pair(name, {"a": 1})
        assert repr(list(expected)) in repr(view)

    @views
    @pytest.mark.parametrize("keep", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_refuse_copies(self, name, keep):
        with pytest.raises(TypeError, match="view"):
            keep(getattr(ConcurrentMap(), name)())

    @views
    def test_have_no_order_to_reverse(self, name):
        with pytest.raises(TypeError):
            reversed(getattr(ConcurrentMap(ITEMS), name)())

    def test_contain_keys(self):
        view = ConcurrentMap(ITEMS).keys()
        assert "a" in view
        assert 1 not in view
        with pytest.raises(TypeError, match="unhashable"):
            assert [] in view

    def test_contain_values(self):
        nan = float("nan")
        view = ConcurrentMap({**ITEMS, "list": [1], "nan": nan}).values()
        assert 1 in view
        assert [1] in view
        assert nan in view
        assert float("nan") not in view
        assert "a" not in view

    def test_contain_items(self):
        nan = float("nan")
        view = ConcurrentMap({**ITEMS, "list": [1], "nan": nan}).items()
        assert ("a", 1) in view
        assert ("a", 1.0) in view
        assert ("list", [1]) in view
        assert ("nan", nan) in view
        for absent in (("a", 2), ("x", 1), ("a",), ("a", 1, 1), "a1", ["a", 1], "a", 1, None, ("nan", float("nan"))):
            assert absent not in view
        with pytest.raises(TypeError, match="unhashable"):
            assert ([], 1) in view

    def test_of_items_pass_on_what_comparing_values_raises(self):
        view = ConcurrentMap({"a": hostile(__eq__=raising(Broken))}).items()
        with pytest.raises(Broken):
            assert ("a", 1) in view

    @views
    def test_values_have_no_equality_of_their_own(self, name):
        m = ConcurrentMap(ITEMS)
        assert (getattr(m, name)() == getattr(m, name)()) is (name != "values")


OPERATORS = [operator.and_, operator.or_, operator.sub, operator.xor]
COMPARISONS = [operator.eq, operator.ne, operator.le, operator.lt, operator.ge, operator.gt]

OTHERS = {
    "keys": [[], ["a"], ["a", "b", 3], ["a", "b", 3, 4], ["x", "a"], [4]],
    "items": [
        [],
        [("a", 1)],
        [("a", 1), ("b", 2), (3, "c")],
        [("a", 2), ("b", 2), (3, "c")],
        [("a", 2), "x"],
        [("x", 1)],
    ],
}
CASES = [(name, other) for name, others in OTHERS.items() for other in others]

cases = pytest.mark.parametrize(("name", "other"), CASES, ids=repr)


class TestAsSets:
    @cases
    @pytest.mark.parametrize("op", OPERATORS)
    def test_operators_take_any_iterable(self, name, other, op):
        view, expected = pair(name, ITEMS)
        for kind in (set, frozenset, list, tuple, dict.fromkeys, iter, ConcurrentSet):
            result = op(view, kind(other))
            assert result == op(expected, other)
            assert type(result) is set

    @cases
    @pytest.mark.parametrize("op", OPERATORS)
    def test_operators_with_the_view_on_the_right(self, name, other, op):
        view, expected = pair(name, ITEMS)
        for kind in (set, frozenset, lambda items: dict.fromkeys(items).keys()):
            result = op(kind(other), view)
            assert result == op(kind(other), expected)
            assert isinstance(result, set)
        for kind in (list, tuple):
            assert op(kind(other), view) == op(kind(other), expected)

    @cases
    @pytest.mark.parametrize("op", COMPARISONS)
    def test_comparisons_with_sets_and_views(self, name, other, op):
        view, expected = pair(name, ITEMS)
        for kind in (set, frozenset, ConcurrentSet, lambda items: dict.fromkeys(items).keys()):
            assert op(view, kind(other)) is op(expected, set(other))
            assert op(kind(other), view) is op(set(other), expected)

    @cases
    def test_isdisjoint(self, name, other):
        view, expected = pair(name, ITEMS)
        for kind in (set, list, iter, dict.fromkeys):
            assert view.isdisjoint(kind(other)) is expected.isdisjoint(kind(other))

    @set_views
    def test_with_another_of_the_kind(self, name):
        view, _ = pair(name, ITEMS)
        other, _ = pair(name, {"a": 1, "b": 5, "x": 6})
        for op in (*OPERATORS, *COMPARISONS):
            assert op(view, other) == op(set(view), set(other))
        assert view == pair(name, ITEMS)[0] == pair(name, ITEMS)[1]
        assert not view.isdisjoint(other)

    @set_views
    def test_with_itself(self, name):
        view, _ = pair(name, ITEMS)
        assert view & view == view | view == set(view)
        assert view - view == view ^ view == set()
        assert not view.isdisjoint(view)
        assert view == view
        assert not view < view

    @set_views
    @pytest.mark.parametrize("op", OPERATORS)
    def test_operators_refuse_what_cannot_be_iterated(self, name, op):
        view, expected = pair(name, ITEMS)
        for other in (1, None):
            for refuse in (lambda other=other: op(view, other), lambda other=other: op(expected, other)):
                with pytest.raises(TypeError):
                    refuse()

    @set_views
    @pytest.mark.parametrize("op", COMPARISONS[2:])
    def test_comparisons_refuse_what_is_no_set(self, name, op):
        view, expected = pair(name, ITEMS)
        for other in ([], dict(ITEMS), 1):
            for refuse in (lambda other=other: op(view, other), lambda other=other: op(expected, other)):
                with pytest.raises(TypeError):
                    refuse()
            assert view != other

    def test_a_set_view_is_unhashable(self):
        for name in ("keys", "items"):
            with pytest.raises(TypeError, match="unhashable"):
                hash(pair(name, ITEMS)[0])

    def test_items_with_unhashable_values(self):
        values = {"a": [1], "b": {}}
        view, expected = pair("items", values)
        for same in (pair("items", values)[0], expected):
            assert view == same
            assert view <= same
            assert not view < same
        assert expected == view
        assert view != pair("items", {"a": [1], "b": []})[0]
        assert view.isdisjoint([("a", [2]), ("x", 1)])
        assert not view.isdisjoint([("b", {})])
        with pytest.raises(TypeError, match="unhashable"):
            operator.and_(view, view)
        with pytest.raises(TypeError, match="unhashable"):
            operator.or_(view, [])

    def test_an_operator_keeps_no_operand_changed(self):
        m, other = ConcurrentMap(ITEMS), {"a", "x"}
        assert m.keys() & other == {"a"}
        assert m.keys() ^ other == {"b", 3, "x"}
        assert m == ITEMS
        assert other == {"a", "x"}


class TestIterators:
    @parts
    def test_are_iterators(self, part):
        iterator = part(ConcurrentMap(ITEMS))
        assert isinstance(iterator, Iterator)
        assert iter(iterator) is iterator
        assert len(list(iterator)) == 3
        assert list(iterator) == []

    @parts
    def test_stay_at_the_end(self, part):
        m = ConcurrentMap(ITEMS)
        iterator = part(m)
        assert len(list(iterator)) == 3
        m.update((n, n) for n in range(1000))
        assert next(iterator, "end") == "end"

    @parts
    @pytest.mark.parametrize("keep", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_refuse_copies(self, part, keep):
        with pytest.raises(TypeError, match="iterator"):
            keep(part(ConcurrentMap(ITEMS)))

    @parts
    def test_keep_the_map_alive(self, part):
        iterator = part(ConcurrentMap((n, n) for n in range(1000)))
        gc.collect()
        assert len(list(iterator)) == 1000

    @parts
    def test_tell_about_how_many_are_left(self, part):
        iterator = part(ConcurrentMap((n, n) for n in range(1000)))
        assert operator.length_hint(iterator) >= 0
        assert len(list(iterator)) == 1000
        assert operator.length_hint(iterator) == 0

    def test_give_each_pair_as_a_tuple_of_its_own(self):
        pairs = list(ConcurrentMap((n, [n]) for n in range(100)).items())
        assert len({id(item) for item in pairs}) == 100
        assert all(type(item) is tuple and item == (item[0], [item[0]]) for item in pairs)

    def test_give_a_pair_that_is_kept_unchanged(self):
        iterator = iter(ConcurrentMap((n, n) for n in range(100)).items())
        first = next(iterator)
        kept = list(first)
        rest = list(iterator)
        assert list(first) == kept
        assert first not in rest

    def test_give_pairs_that_the_collector_sees(self):
        m = ConcurrentMap((n, n) for n in range(10))
        iterator = iter(m.items())
        next(iterator)
        gc.collect()
        m.update((n, [n]) for n in range(10))
        for item in iterator:
            assert gc.is_tracked(item)
            assert type(item[1]) is list


class TestWhileChanging:
    """Each key that stays is seen once; one that has gone before its turn is not; values are the current ones."""

    COUNT = 500

    def map(self, shards=1, key=lambda n: n):
        return ConcurrentMap(((key(n), n) for n in range(self.COUNT)), shards=shards)

    @pytest.mark.parametrize("shards", [1, 8])
    @pytest.mark.parametrize("kind", ["ints", "one hash", "few hashes"])
    def test_growing_shows_what_was_there_once(self, shards, kind):
        if kind == "ints":
            keys = range(5 * self.COUNT)
        else:
            keys = [Key(n, 7 if kind == "one hash" else n % 5) for n in range(300)]
        old, new = keys[: len(keys) // 5], iter(keys[len(keys) // 5 :])
        m = ConcurrentMap(dict.fromkeys(old), shards=shards)
        seen = Counter()
        for key in m:
            seen[key] += 1
            for extra, _ in zip(new, range(3), strict=False):
                m[extra] = None
        assert {key: seen[key] for key in old} == dict.fromkeys(old, 1)
        m._check()

    @pytest.mark.parametrize("shards", [1, 8])
    def test_shrinking_shows_what_stays_once(self, shards):
        m = self.map(shards)
        seen = Counter()
        for key in m:
            seen[key] += 1
            if key % 10:
                del m[key]
                m.shrink()
        assert seen == Counter(range(self.COUNT))
        assert m == {n: n for n in range(0, self.COUNT, 10)}
        m._check()

    @pytest.mark.parametrize("shards", [1, 8])
    @parts
    def test_what_has_gone_before_its_turn_is_not_seen(self, part, shards):
        m = self.map(shards)
        iterator = part(m)
        next(iterator)
        m.clear()
        assert list(iterator) == []

    def test_each_removal_of_the_rest_is_seen(self):
        m = self.map()
        seen = []
        for key in m:
            seen.append(key)
            for other in range(self.COUNT):
                if other not in seen and other % 100 != 50:
                    m.pop(other, None)
        assert set(seen) == {seen[0], *range(50, self.COUNT, 100)}
        assert len(seen) == len(set(seen))

    @pytest.mark.parametrize("part", ["values", "items"])
    def test_values_are_those_of_the_moment(self, part):
        m = self.map()
        turn = 0
        for item in getattr(m, part)():
            assert (item if part == "values" else item[1]) in ((turn,) if turn else range(self.COUNT))
            turn += 1
            for key in m:
                m[key] = turn
        assert turn == self.COUNT

    def test_a_value_that_is_replaced_keeps_its_key_s_turn(self):
        m = self.map()
        seen = Counter()
        for key, value in m.items():
            assert value == key
            seen[key] += 1
            m[key] = -1
        assert seen == Counter(range(self.COUNT))

    def test_every_key_popped_and_put_back(self):
        m = self.map()
        seen = Counter()
        for key in m:
            seen[key] += 1
            m[key] = m.pop(key)
            if len(seen) == self.COUNT:
                break
        assert set(seen) <= set(range(self.COUNT))
        assert m == {n: n for n in range(self.COUNT)}
        m._check()

    def test_a_deep_nest_of_iterations(self):
        m = self.map()
        iterators = [iter(m) for _ in range(20)]
        seen = [Counter() for _ in iterators]
        for step in range(2 * self.COUNT):
            for iterator, counter in zip(iterators, seen, strict=True):
                if (key := next(iterator, None)) is not None:
                    counter[key] += 1
            m[self.COUNT + step + 5] = step
            m.pop(self.COUNT + step, None)
        for iterator, counter in zip(iterators, seen, strict=True):
            counter.update(iterator)
            assert {key: counter[key] for key in range(self.COUNT)} == dict.fromkeys(range(self.COUNT), 1)

    def test_keys_that_raise_when_compared_are_no_trouble(self):
        keys = [hostile(__hash__=returning(7), __eq__=raising(Broken))]
        m = ConcurrentMap(dict.fromkeys(keys, 1))
        assert list(m.items()) == [(keys[0], 1)]
        assert list(m) == keys

    def test_an_iterator_left_in_the_middle_drops_what_it_holds(self):
        died = []

        class Item:
            def __del__(self):
                died.append(1)

        m = ConcurrentMap((Item(), n) for n in range(10))
        iterator = iter(m)
        next(iterator)
        m.clear()
        del iterator
        gc.collect()
        assert len(died) == 10
