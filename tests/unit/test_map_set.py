"""What api.md promises of ConcurrentSet, in one thread: set's operators and methods, and what set does not have."""

import copy
import gc
import operator
import pickle
import sys
import weakref
from collections.abc import Hashable, MutableSet, Set

import pytest

import ferrule
from ferrule import ConcurrentMap, ConcurrentSet, FrozenMap
from tests.support.hostile import calling, hostile, raising, returning
from tests.support.maps import Key, assert_at_rest, entered
from tests.support.names import shown


class Broken(Exception):
    """What a test's own object or function raises."""


def assert_is(s, items):
    """The set is at rest and has these items."""
    s._check()
    assert entered(s) == 0
    assert type(s) is ConcurrentSet
    assert s.snapshot() == set(items)
    assert len(s) == len(set(items))


class TestMaking:
    @pytest.mark.parametrize("make", [list, tuple, set, frozenset, iter, "".join, dict.fromkeys, ConcurrentSet])
    def test_takes_any_iterable(self, make):
        assert_is(ConcurrentSet(make(["a", "b", "c"])), "abc")

    def test_is_empty_without_arguments(self):
        assert_is(ConcurrentSet(), ())

    def test_keeps_the_first_of_equal_items(self):
        assert repr(ConcurrentSet([1, True, 1.0])) == "ConcurrentSet({1})"

    def test_refuses_what_cannot_be_iterated_or_hashed(self):
        for argument in (1, None, [[]]):
            with pytest.raises(TypeError):
                ConcurrentSet(argument)

    def test_passes_on_what_the_iterable_raises(self):
        def items():
            yield 1
            raise Broken

        with pytest.raises(Broken):
            ConcurrentSet(items())

    def test_the_iterable_is_positional_and_the_rest_keywords(self):
        for call in (lambda: ConcurrentSet(iterable=()), lambda: ConcurrentSet((), 1), lambda: ConcurrentSet("a", "b")):
            with pytest.raises(TypeError):
                call()

    def test_shards_and_capacity(self):
        s = ConcurrentSet(range(100), shards=8, capacity=1000)
        assert s.shards == len(s.stats()) == 8
        assert s.capacity >= 1000
        assert_is(s, range(100))
        for named in ({"shards": 3}, {"shards": 0}, {"capacity": -1}):
            with pytest.raises(ValueError):
                ConcurrentSet(**named)
        for named in ({"shards": 1.0}, {"capacity": "1"}):
            with pytest.raises(TypeError):
                ConcurrentSet(**named)

    def test_is_a_mutable_set_and_unhashable(self):
        s = ConcurrentSet()
        assert isinstance(s, MutableSet)
        assert isinstance(s, Set)
        assert not isinstance(s, (set, frozenset, Hashable))
        with pytest.raises(TypeError, match="unhashable"):
            hash(s)

    def test_cannot_be_subclassed_and_takes_no_attributes(self):
        with pytest.raises(TypeError):
            type("Sub", (ConcurrentSet,), {})
        with pytest.raises(AttributeError):
            ConcurrentSet().note = 1

    def test_is_generic_at_run_time(self):
        alias = ConcurrentSet[int]
        assert alias.__origin__ is ConcurrentSet
        assert alias.__args__ == (int,)
        assert_is(alias([1]), [1])

    def test_is_exported(self):
        assert ferrule.ConcurrentSet is ConcurrentSet


class TestItems:
    def test_in(self):
        s = ConcurrentSet([1, "a", None])
        assert 1 in s
        assert 1.0 in s
        assert None in s
        assert "b" not in s
        with pytest.raises(TypeError, match="unhashable"):
            assert [] in s

    def test_add(self):
        s = ConcurrentSet()
        assert s.add(1) is None
        assert s.add(True) is None
        assert repr(s) == "ConcurrentSet({1})"
        assert_is(s, [1])

    def test_insert_tells_whether_it_is_new(self):
        s = ConcurrentSet()
        assert s.insert(1) is True
        assert s.insert(1.0) is False
        assert s.insert(2) is True
        assert_is(s, [1, 2])

    def test_discard(self):
        s = ConcurrentSet([1, 2])
        assert s.discard(1) is None
        assert s.discard(1) is None
        assert_is(s, [2])

    def test_remove(self):
        s = ConcurrentSet([1, 2, (3,)])
        assert s.remove(1) is None
        assert s.remove((3,)) is None
        for absent in (1, (3,)):
            with pytest.raises(KeyError) as error:
                s.remove(absent)
            assert error.value.args == (absent,)
        assert_is(s, [2])

    def test_pop_gives_every_item_once(self):
        s = ConcurrentSet(range(100), shards=4)
        assert {s.pop() for _ in range(100)} == set(range(100))
        with pytest.raises(KeyError, match="pop from an empty set"):
            s.pop()
        assert_is(s, ())

    def test_clear(self):
        s = ConcurrentSet(range(100), shards=4)
        assert s.clear() is None
        assert_is(s, ())

    CALLS = (
        lambda s, item: item in s,
        lambda s, item: s.add(item),
        lambda s, item: s.insert(item),
        lambda s, item: s.discard(item),
        lambda s, item: s.remove(item),
        lambda s, item: s.remove_if(item, lambda _: True),
        lambda s, item: s.update([item]),
        lambda s, item: s.isdisjoint([item]),
    )

    @pytest.mark.parametrize("call", CALLS)
    def test_what_hash_and_eq_raise_propagates(self, call):
        stored = Key("stored", 7)
        s = ConcurrentSet([stored])
        for item in (
            hostile(__hash__=raising(Broken)),
            hostile(__hash__=returning(7), __eq__=raising(Broken)),
        ):
            with pytest.raises(Broken):
                call(s, item)
            assert_is(s, [stored])

    @pytest.mark.parametrize("call", CALLS)
    def test_an_unhashable_item_is_a_type_error(self, call):
        s = ConcurrentSet([1])
        for item in ([], {}, ConcurrentSet(), ConcurrentMap()):
            with pytest.raises(TypeError, match="unhashable"):
                call(s, item)
        assert_is(s, [1])

    def test_a_set_does_not_stand_for_an_equal_frozenset(self):
        s = ConcurrentSet([frozenset({1})])
        assert frozenset({1}) in s
        for call in (lambda: {1} in s, lambda: s.discard({1}), lambda: s.remove({1})):
            with pytest.raises(TypeError, match="unhashable"):
                call()

    def test_nan_is_found_by_identity(self):
        nan = float("nan")
        s = ConcurrentSet([nan, float("nan"), nan])
        assert len(s) == 2
        assert nan in s
        assert float("nan") not in s


class TestRemoveIf:
    def test_asks_about_the_stored_item(self):
        s = ConcurrentSet([1, 2])
        asked = []
        assert s.remove_if(True, lambda item: asked.append(item) or True) is True
        assert s.remove_if(2.0, asked.append) is False
        assert s.remove_if(3, asked.append) is False
        assert list(map(type, asked)) == [int, int]
        assert asked == [1, 2]
        assert_is(s, [2])

    def test_what_the_predicate_raises_propagates(self):
        s = ConcurrentSet([1])
        with pytest.raises(Broken):
            s.remove_if(1, raising(Broken))
        assert_is(s, [1])

    def test_the_item_is_entered_meanwhile(self):
        s = ConcurrentSet([1])

        def predicate(_):
            assert 1 in s
            with pytest.raises(ferrule.WouldDeadlock):
                s.discard(1)
            s.add(2)
            return True

        assert s.remove_if(1, predicate)
        assert_is(s, [2])


class TestRetain:
    def test_keeps_where_the_predicate_is_true(self):
        s = ConcurrentSet(range(100), shards=4)
        assert s.retain(lambda item: item % 10 == 0) == 90
        assert_is(s, range(0, 100, 10))
        assert s.retain(lambda _: []) == 10
        assert s.retain(raising(Broken)) == 0

    def test_what_the_predicate_raises_ends_it(self):
        s = ConcurrentSet(range(10))
        removed = []

        def predicate(item):
            if len(removed) == 3:
                raise Broken
            removed.append(item)

        with pytest.raises(Broken):
            s.retain(predicate)
        assert_is(s, set(range(10)) - set(removed))


LEFT = {1, 2, 3, "a"}
RIGHTS = [set(), {1}, {2, 3, "b"}, {1, 2, 3, "a"}, {1, 2, 3, "a", 4}, {"x", "y"}]
OPERATORS = {
    "and": (operator.and_, operator.iand, "intersection"),
    "or": (operator.or_, operator.ior, "union"),
    "sub": (operator.sub, operator.isub, "difference"),
    "xor": (operator.xor, operator.ixor, "symmetric_difference"),
}
IN_PLACE = {
    "intersection": "intersection_update",
    "union": "update",
    "difference": "difference_update",
    "symmetric_difference": "symmetric_difference_update",
}
COMPARISONS = [operator.eq, operator.ne, operator.le, operator.lt, operator.ge, operator.gt]

SETS = {
    "set": set,
    "frozenset": frozenset,
    "ConcurrentSet": ConcurrentSet,
    "map's keys": lambda items: ConcurrentMap(dict.fromkeys(items)).keys(),
    "frozen map's keys": lambda items: FrozenMap(dict.fromkeys(items)).keys(),
    "dict's keys": lambda items: dict.fromkeys(items).keys(),
}
NO_SETS = [[1], (1,), "a", {1: 2}, 1, None, iter([1]), ConcurrentMap()]

sets = pytest.mark.parametrize("make", SETS.values(), ids=SETS)
rights = pytest.mark.parametrize("right", RIGHTS, ids=shown)
operators = pytest.mark.parametrize(("op", "in_place", "method"), OPERATORS.values(), ids=OPERATORS)


class TestOperators:
    @sets
    @rights
    @operators
    def test_give_a_new_set(self, op, in_place, method, make, right):
        left, other = ConcurrentSet(LEFT), make(right)
        assert_is(op(left, other), op(LEFT, right))
        assert_is(left, LEFT)
        assert set(other) == right

    @sets
    @rights
    @operators
    def test_with_the_operands_exchanged(self, op, in_place, method, make, right):
        result = op(make(right), ConcurrentSet(LEFT))
        assert result == op(right, LEFT)
        # A view is asked first, and answers with a plain set.
        assert type(result) is ConcurrentSet or make not in (set, frozenset, ConcurrentSet)

    @sets
    @rights
    @operators
    def test_in_place(self, op, in_place, method, make, right):
        left = same = ConcurrentSet(LEFT)
        left = in_place(left, make(right))
        assert left is same
        assert_is(left, op(LEFT, right))

    @operators
    def test_in_place_on_a_plain_set_make_it_another(self, op, in_place, method):
        left = before = {1, 2}
        left = in_place(left, ConcurrentSet({2, 3}))
        assert left == op({1, 2}, {2, 3})
        assert before == {1, 2}

    @operators
    def test_with_itself(self, op, in_place, method):
        s = same = ConcurrentSet(LEFT)
        assert_is(op(s, s), op(LEFT, LEFT))
        s = in_place(s, s)
        assert s is same
        assert_is(s, op(LEFT, LEFT))

    @operators
    @pytest.mark.parametrize("other", NO_SETS, ids=shown)
    def test_refuse_what_is_no_set(self, op, in_place, method, other):
        s = ConcurrentSet(LEFT)
        for call in (lambda: op(s, other), lambda: op(other, s), lambda: in_place(s, other)):
            with pytest.raises(TypeError):
                call()
        assert_is(s, LEFT)

    @sets
    @rights
    @pytest.mark.parametrize("op", COMPARISONS)
    def test_comparisons(self, op, make, right):
        assert op(ConcurrentSet(LEFT), make(right)) is op(LEFT, right)
        assert op(make(right), ConcurrentSet(LEFT)) is op(right, LEFT)

    @pytest.mark.parametrize("other", NO_SETS, ids=shown)
    def test_what_is_no_set_is_never_equal_and_has_no_order(self, other):
        s = ConcurrentSet([1])
        assert s != other
        assert not s == other  # noqa: SIM201
        for op in COMPARISONS[2:]:
            with pytest.raises(TypeError):
                op(s, other)


class TestMethods:
    @pytest.mark.parametrize("make", [*SETS.values(), list, tuple, iter, dict.fromkeys])
    @rights
    @operators
    def test_take_any_iterable(self, op, in_place, method, make, right):
        s = ConcurrentSet(LEFT)
        assert_is(getattr(s, method)(make(right)), op(LEFT, right))
        assert_is(s, LEFT)
        assert getattr(s, IN_PLACE[method])(make(right)) is None
        assert_is(s, op(LEFT, right))

    @pytest.mark.parametrize("method", ["union", "intersection", "difference"])
    def test_take_several_or_none(self, method):
        others = ([1, 2, "b"], {2, "c"}, iter([2]))
        expected = getattr(LEFT, method)([1, 2, "b"], {2, "c"}, [2])
        s = ConcurrentSet(LEFT)
        assert_is(getattr(s, method)(*others), expected)
        alone = getattr(s, method)()
        assert_is(alone, LEFT)
        assert alone is not s
        getattr(s, IN_PLACE[method])()
        assert_is(s, LEFT)
        getattr(s, IN_PLACE[method])([1, 2, "b"], {2, "c"}, iter([2]))
        assert_is(s, expected)

    @pytest.mark.parametrize("method", ["symmetric_difference", "symmetric_difference_update"])
    def test_a_symmetric_difference_is_with_one(self, method):
        s = ConcurrentSet(LEFT)
        for others in ((), ([], [])):
            with pytest.raises(TypeError):
                getattr(s, method)(*others)
        assert_is(s, LEFT)

    def test_a_symmetric_difference_counts_an_item_once(self):
        s = ConcurrentSet([1])
        assert_is(s.symmetric_difference([1, 1, 2, 2]), [2])
        s.symmetric_difference_update([1, 1, 2, 2])
        assert_is(s, [2])

    @pytest.mark.parametrize("make", [*SETS.values(), list, iter])
    @rights
    def test_predicates(self, make, right):
        s = ConcurrentSet(LEFT)
        for name in ("isdisjoint", "issubset", "issuperset"):
            assert getattr(s, name)(make(right)) is getattr(LEFT, name)(right)

    @pytest.mark.parametrize(
        "name",
        [*IN_PLACE, *IN_PLACE.values(), "isdisjoint", "issubset", "issuperset"],
    )
    def test_refuse_what_cannot_be_iterated(self, name):
        s = ConcurrentSet(LEFT)
        with pytest.raises(TypeError):
            getattr(s, name)(1)
        assert_is(s, LEFT)

    @pytest.mark.parametrize("name", [*IN_PLACE, *IN_PLACE.values()])
    def test_with_itself(self, name):
        s, plain = ConcurrentSet(LEFT), set(LEFT)
        answer, expected = getattr(s, name)(s), getattr(plain, name)(plain)
        assert answer == expected
        assert_is(s, plain)

    def test_what_stays_is_what_was_stored(self):
        s = ConcurrentSet([1])
        s.intersection_update([True, 1.0])
        s.update([True])
        s &= {1.0}
        s |= {True}
        assert repr(s) == "ConcurrentSet({1})"

    def test_snapshot_is_a_set_of_its_own(self):
        s = ConcurrentSet([1])
        taken = s.snapshot()
        s.add(2)
        taken.add(3)
        assert type(taken) is set
        assert_is(s, [1, 2])


class TestCopies:
    @pytest.mark.parametrize(
        "make",
        [ConcurrentSet.copy, copy.copy, copy.deepcopy, ConcurrentSet]
        + [lambda s, protocol=protocol: pickle.loads(pickle.dumps(s, protocol)) for protocol in range(6)],
    )
    def test_are_sets_of_their_own(self, make):
        s = ConcurrentSet([1, "a", (2, 3), None])
        made = make(s)
        s.add("later")
        assert_is(made, [1, "a", (2, 3), None])

    def test_a_copy_has_the_same_items_and_a_deep_copy_others(self):
        key = Key("k")
        s = ConcurrentSet([key])
        assert next(iter(s.copy())) is key
        assert next(iter(copy.deepcopy(s))) is not key
        assert copy.deepcopy(s) == s

    def test_a_deep_copy_of_a_set_that_an_item_refers_to(self):
        class Item:
            """Equal to itself alone, so that it can be hashed before it is complete."""

        item = Item()
        item.set = ConcurrentSet([item])
        copied = copy.deepcopy(item.set)
        assert copied is not item.set
        [other] = copied
        assert other is not item
        assert other.set is copied

    def test_a_copy_compares_nothing(self):
        s = ConcurrentSet(hostile(__hash__=returning(7), __eq__=calling(lambda: None, then=False)) for _ in range(20))
        items = s.snapshot()
        for item in items:
            type(item).__eq__ = raising(Broken)
        assert {id(item) for item in s.copy()} == {id(item) for item in items}

    def test_shows_its_items(self):
        assert repr(ConcurrentSet()) == "ConcurrentSet()"
        assert repr(ConcurrentSet(["a"])) == "ConcurrentSet({'a'})"
        key = Key("k")
        s = ConcurrentSet([key])
        key.name = s
        assert repr(s) == "ConcurrentSet({Key(ConcurrentSet({...}), 1)})"

    def test_takes_weak_references(self):
        s = ConcurrentSet([1])
        dead = weakref.ref(s)
        assert dead() is s
        del s
        gc.collect()
        assert dead() is None

    def test_a_cycle_through_an_item_is_collected(self):
        key = Key("k")
        key.set = ConcurrentSet([key])
        dead = weakref.ref(key.set)
        del key
        gc.collect()
        assert dead() is None


class TestIteration:
    @pytest.mark.parametrize("shards", [1, 8])
    def test_growing_shows_what_was_there_once(self, shards):
        s = ConcurrentSet(range(300), shards=shards)
        seen = []
        for item in s:
            seen.append(item)
            s.update(range(300 + 3 * len(seen), 303 + 3 * len(seen)))
        assert sorted(item for item in seen if item < 300) == list(range(300))
        s._check()

    def test_shrinking_shows_what_stays(self):
        s = ConcurrentSet(range(300))
        seen = []
        for item in s:
            seen.append(item)
            s.discard(item)
        assert sorted(seen) == list(range(300))
        assert_is(s, ())

    def test_has_no_order_to_reverse(self):
        with pytest.raises(TypeError):
            reversed(ConcurrentSet([1]))

    def test_refuses_copies_of_an_iterator(self):
        for keep in (copy.copy, pickle.dumps):
            with pytest.raises(TypeError):
                keep(iter(ConcurrentSet([1])))


class TestRoom:
    def test_reserve_and_shrink(self):
        s = ConcurrentSet(range(10), shards=1)
        s.reserve(1000)
        capacity, size = s.capacity, sys.getsizeof(s)
        assert capacity >= 1010
        s.update(range(1010))
        assert (s.capacity, sys.getsizeof(s)) == (capacity, size)
        s.difference_update(range(5, 1010))
        s.shrink()
        assert s.capacity < capacity
        assert sys.getsizeof(s) < size
        assert_is(s, range(5))
        with pytest.raises(ValueError):
            s.reserve(-1)

    def test_a_map_of_sets_of_maps(self):
        inner = ConcurrentSet(["a"])
        m = ConcurrentMap({"s": inner})
        m["s"].add("b")
        assert_at_rest(m, {"s": ConcurrentSet("ab")})
