"""Any sequence of calls on a ConcurrentSet answers as the plain model and set itself do, whatever its items are."""

import copy
import operator
import sys
from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from ferrule import MISSING, ConcurrentSet
from tests.support.map_model import SetModel
from tests.support.maps import CLASH, Key, entered
from tests.support.race import EXAMPLES, outcome

ERRORS = (KeyError,)

NAN = float("nan")

POOL = [
    *(Key((1, n), 1) for n in range(8)),  # all one hash
    *(Key((n % 3, n), n % 3) for n in range(8)),  # few hashes
    *(Key((sys.maxsize, n), sys.maxsize) for n in range(4)),  # the maximal hash
    *range(-3, 8),
    *(True, False, 1.0, 0.0, 2.5, NAN, 2**70, 5 + CLASH, 5 + 2 * CLASH),
    *("", "a", "b", "\ud800", b"", b"a", None, (), (1, "a"), (1.0, "a"), frozenset({1})),
]

items = st.one_of(st.sampled_from(POOL), st.sampled_from(POOL), st.integers(), st.text(max_size=2))
collections = st.frozensets(items, max_size=12)
kinds = st.sampled_from([set, frozenset, ConcurrentSet])
"""What an operator takes; methods take any iterable."""
iterables = st.sampled_from([list, tuple, iter, set, frozenset, dict.fromkeys, ConcurrentSet])
predicates = st.sampled_from([lambda _: True, lambda _: False, lambda item: bool(item), lambda item: type(item) is int])

OPERATORS = [operator.and_, operator.or_, operator.sub, operator.xor]
COMPARISONS = [operator.eq, operator.ne, operator.le, operator.lt, operator.ge, operator.gt]
CHANGES = [
    (operator.ior, "update"),
    (operator.iand, "intersection_update"),
    (operator.isub, "difference_update"),
    (operator.ixor, "symmetric_difference_update"),
]


class Progress:
    """An iteration that goes on between other calls."""

    def __init__(self, iterable, items):
        self.iterator = iter(iterable)
        self.all_the_time = set(items)
        self.seen = Counter()


class SetMachine(RuleBasedStateMachine):
    iterations = Bundle("iterations")

    def __init__(self):
        super().__init__()
        self.set = ConcurrentSet()
        self.model = SetModel()
        self.running = []

    @initialize(items=collections, shards=st.sampled_from([None, 1, 2, 8]), capacity=st.sampled_from([0, 1, 100]))
    def make(self, items, shards, capacity):
        self.set = ConcurrentSet(items, shards=shards, capacity=capacity)
        self.model = SetModel.of(items)

    def check(self, function, answered):
        answer, after = answered
        actual = outcome(function, *ERRORS)()
        assert actual is answer or (type(actual) is type(answer) and actual == answer), (actual, answer)
        for iteration in self.running:
            iteration.all_the_time -= self.model.items - after.items
        self.model = after

    @rule(item=items)
    def contains(self, item):
        self.check(lambda: item in self.set, self.model.contains(item))

    @rule(item=items)
    def add(self, item):
        self.check(lambda: self.set.add(item), self.model.add(item))

    @rule(item=items)
    def insert(self, item):
        self.check(lambda: self.set.insert(item), self.model.insert(item))

    @rule(item=items)
    def discard(self, item):
        self.check(lambda: self.set.discard(item), self.model.discard(item))

    @rule(item=items)
    def remove(self, item):
        self.check(lambda: self.set.remove(item), self.model.remove(item))

    @rule(data=st.data(), how=st.sampled_from(["remove", "discard"]))
    def remove_what_is_there(self, data, how):
        if self.model.items:
            item = data.draw(st.sampled_from(sorted(self.model.items, key=repr)))
            getattr(self, how)(item)

    @rule()
    def pop(self):
        taken = outcome(self.set.pop, *ERRORS)()
        self.check(lambda: taken, self.model.pop(MISSING if taken is KeyError else taken))

    @rule(item=items, predicate=predicates)
    def remove_if(self, item, predicate):
        self.check(lambda: self.set.remove_if(item, predicate), self.model.remove_if(item, predicate))

    @rule(predicate=predicates)
    def retain(self, predicate):
        asked = Counter()

        def counted(item):
            asked[item] += 1
            return predicate(item)

        before = Counter(self.model.items)
        self.check(lambda: self.set.retain(counted), self.model.retain(predicate))
        assert asked == before

    @rule()
    def clear(self):
        self.check(self.set.clear, self.model.clear())

    @rule()
    def snapshot(self):
        self.check(self.set.snapshot, self.model.snapshot())

    @rule(how=st.sampled_from([ConcurrentSet.copy, copy.copy, ConcurrentSet, ConcurrentSet.union]))
    def copy(self, how):
        copied = how(self.set)
        assert copied == self.set == self.model.as_set
        assert sorted(map(repr, copied)) == sorted(map(repr, self.model.items))
        copied._check()
        copied.clear()

    @rule(others=st.lists(collections, max_size=3), kind=iterables)
    def methods(self, others, kind):
        for name in ("union", "intersection", "difference"):
            result = getattr(self.set, name)(*map(kind, others))
            assert type(result) is ConcurrentSet
            assert result == getattr(self.model.as_set, name)(*others)
            result._check()
        for other in others:
            assert self.set.symmetric_difference(kind(other)) == self.model.as_set ^ other
            for name in ("isdisjoint", "issubset", "issuperset"):
                assert getattr(self.set, name)(kind(other)) is getattr(self.model.as_set, name)(other)

    @rule(other=collections, kind=kinds)
    def operators(self, other, kind):
        for op in OPERATORS:
            for result, expected in (
                (op(self.set, kind(other)), op(self.model.as_set, other)),
                (op(kind(other), self.set), op(set(other), self.model.as_set)),
            ):
                assert type(result) is ConcurrentSet
                assert result == expected
                result._check()
        for op in COMPARISONS:
            assert op(self.set, kind(other)) is op(self.model.as_set, other)
            assert op(kind(other), self.set) is op(set(other), self.model.as_set)

    @rule(others=st.lists(collections, max_size=2), kind=iterables, change=st.sampled_from(CHANGES[:3]))
    def update(self, others, kind, change):
        name = change[1]
        self.check(lambda: getattr(self.set, name)(*map(kind, others)), getattr(self.model, name)(*others))

    @rule(other=collections, kind=iterables)
    def symmetric_difference_update(self, other, kind):
        self.check(
            lambda: self.set.symmetric_difference_update(kind(other)), self.model.symmetric_difference_update(other)
        )

    @rule(other=collections, kind=kinds, change=st.sampled_from(CHANGES))
    def update_in_place(self, other, kind, change):
        op, name = change
        answer, after = getattr(self.model, name)(other)
        same = self.set
        self.check(lambda: op(self.set, kind(other)) is same or None, (True, after))
        assert answer is None

    @rule(change=st.sampled_from(CHANGES))
    def update_with_itself(self, change):
        op, name = change
        same = self.set
        self.check(lambda: op(self.set, self.set) is same, (True, getattr(self.model, name)(self.model.items)[1]))

    @rule(first=st.integers(0, 300), count=st.integers(0, 300))
    def grow(self, first, count):
        self.check(lambda: self.set.update(range(first, first + count)), self.model.update(range(first, first + count)))

    @rule(first=st.integers(0, 300))
    def dwindle(self, first):
        self.check(
            lambda: self.set.difference_update(range(first, 600)), self.model.difference_update(range(first, 600))
        )

    @rule(n=st.integers(0, 500))
    def reserve(self, n):
        self.set.reserve(n)
        assert self.set.capacity >= len(self.set) + n

    @rule()
    def shrink(self):
        before = self.set.capacity
        self.set.shrink()
        assert len(self.set) <= self.set.capacity <= before

    @rule(target=iterations)
    def begin(self):
        iteration = Progress(self.set, self.model.items)
        self.running.append(iteration)
        return iteration

    @rule(iteration=iterations, count=st.integers(1, 20))
    def go_on(self, iteration, count):
        for _, item in zip(range(count), iteration.iterator, strict=False):
            assert item in self.model.items
            iteration.seen[item] += 1

    @rule(iteration=consumes(iterations))
    def end(self, iteration):
        for item in iteration.iterator:
            assert item in self.model.items
            iteration.seen[item] += 1
        assert next(iteration.iterator, MISSING) is MISSING
        assert {item: iteration.seen[item] for item in iteration.all_the_time} == dict.fromkeys(
            iteration.all_the_time, 1
        )
        self.running.remove(iteration)

    @invariant()
    def agrees(self):
        self.set._check()
        assert entered(self.set) == 0
        assert len(self.set) == len(self.model.items)
        assert self.set.snapshot() == self.model.as_set
        # The stored item stays the first: 1, True and 1.0 are equal, and differ here.
        assert sorted(map(repr, self.set)) == sorted(map(repr, self.model.items))


TestSetModel = SetMachine.TestCase
TestSetModel.settings = settings(max_examples=40 * EXAMPLES, stateful_step_count=40, deadline=None)
