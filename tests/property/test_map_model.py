"""Any sequence of calls on a ConcurrentMap answers as the plain model does, whatever its keys are."""

import copy
import sys
from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, WouldDeadlock
from tests.support.map_model import MapModel
from tests.support.maps import CLASH, Key, entered
from tests.support.models import Blocked
from tests.support.race import EXAMPLES, outcome

ERRORS = (KeyError, ValueError, WouldDeadlock)


class Text(str):
    """A str that is not exactly one."""

    __slots__ = ()


NAN = float("nan")
"""One NaN: it equals itself by identity alone."""

ONE_HASH = [Key((1, n), 1) for n in range(12)]
FEW_HASHES = [Key((n % 3, n), n % 3) for n in range(12)]
MAXIMAL_HASH = [Key((sys.maxsize, n), sys.maxsize) for n in range(6)] + [Key("least", -sys.maxsize - 1)]
NUMBERS = [*range(-3, 12), True, False, 1.0, 0.0, -0.0, 2.5, NAN, 2**70, -(2**70), *(n * CLASH + 5 for n in range(5))]
TEXTS = ["", "a", "b", "key", "ä", "\U0001f600", "\ud800", Text("a"), Text("other"), b"", b"a", b"key"]
OTHERS = [None, (), (1, "a"), (1.0, "a"), ("a", (2, 3)), frozenset({1, 2}), Ellipsis, int]

keys = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(OTHERS),
    st.sampled_from(ONE_HASH),
    st.sampled_from(FEW_HASHES),
    st.sampled_from(MAXIMAL_HASH),
    st.integers(),
    st.text(max_size=3),
    st.binary(max_size=3),
)
values = st.one_of(st.integers(-3, 3), st.sampled_from([None, "a", "b", 1.0]))
items = st.dictionaries(keys, values, max_size=12)
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([2**62, -(2**64), 0.5]))
predicates = st.sampled_from(
    [lambda *_: True, lambda *_: False, lambda *args: args[-1] is None, lambda *args: args[-1]]
)


class Progress:
    """An iteration that goes on between other calls."""

    def __init__(self, view, keys, part):
        self.iterator = iter(view)
        self.part = part
        self.all_the_time = set(keys)  # those that have been there since it began
        self.seen = Counter()


class MapMachine(RuleBasedStateMachine):
    iterations = Bundle("iterations")

    def __init__(self):
        super().__init__()
        self.map = ConcurrentMap()
        self.model = MapModel()
        self.running = []

    @initialize(items=items, shards=st.sampled_from([None, 1, 2, 8]), capacity=st.sampled_from([0, 1, 100]))
    def make(self, items, shards, capacity):
        self.map = ConcurrentMap(items, shards=shards, capacity=capacity)
        self.model = MapModel.of(items)

    def check(self, function, expected):
        """Compares the answers, and lets the iterations know what has gone."""
        before = self.model
        try:
            answer, self.model = expected()
        except Blocked:
            answer = WouldDeadlock
        actual = outcome(function, *ERRORS)()
        assert actual is answer or (type(actual) is type(answer) and actual == answer), (actual, answer)
        if before is not self.model:
            self.gone(before.as_dict.keys() - self.model.as_dict.keys())

    def gone(self, keys):
        for iteration in self.running:
            iteration.all_the_time -= keys

    # --- reads

    @rule(key=keys, default=values)
    def get(self, key, default):
        self.check(lambda: self.map.get(key, default), lambda: self.model.get(key, default))
        self.check(lambda: self.map.get(key), lambda: self.model.get(key))

    @rule(key=keys)
    def getitem(self, key):
        self.check(lambda: self.map[key], lambda: self.model.getitem(key))
        self.check(lambda: key in self.map, lambda: self.model.contains(key))

    @rule(keys=st.lists(keys, max_size=8), default=values)
    def get_many(self, keys, default):
        self.check(lambda: self.map.get_many(iter(keys), default), lambda: self.model.get_many(*keys, default=default))

    @rule()
    def snapshot(self):
        self.check(self.map.snapshot, self.model.snapshot)

    @rule(how=st.sampled_from([ConcurrentMap.copy, copy.copy, ConcurrentMap, ConcurrentMap.freeze]))
    def copy(self, how):
        copied = how(self.map)
        assert copied == self.map == self.model.as_dict
        assert sorted(map(repr, copied)) == sorted(map(repr, self.model.as_dict))
        if isinstance(copied, ConcurrentMap):
            copied._check()
            copied.clear()

    # --- writes of one key

    @rule(key=keys, value=values)
    def setitem(self, key, value):
        self.check(lambda: self.map.__setitem__(key, value), lambda: self.model.setitem(key, value))

    @rule(key=keys)
    def delitem(self, key):
        self.check(lambda: self.map.__delitem__(key), lambda: self.model.delitem(key))

    @rule(key=keys, value=values, default=values)
    def insert(self, key, value, default):
        self.check(lambda: self.map.insert(key, value, default), lambda: self.model.insert(key, value, default))

    @rule(key=keys, value=values)
    def setdefault(self, key, value):
        self.check(lambda: self.map.setdefault(key, value), lambda: self.model.setdefault(key, value))

    @rule(key=keys, value=values)
    def get_or_compute(self, key, value):
        """Alone it is a setdefault() that asks for its value only where there is none."""
        self.check(lambda: self.map.get_or_compute(key, lambda: value), lambda: self.model.setdefault(key, value))
        assert self.map._state() == {}

    @rule(key=keys, default=values)
    def pop(self, key, default):
        self.check(lambda: self.map.pop(key, default), lambda: self.model.pop(key, default))
        self.check(lambda: self.map.pop(key), lambda: self.model.pop(key))

    @rule(key=keys, expected=st.one_of(values, st.just(MISSING)), new=st.one_of(values, st.just(MISSING)))
    def compare_and_set(self, key, expected, new):
        self.check(
            lambda: self.map.compare_and_set(key, expected, new),
            lambda: self.model.compare_and_set(key, expected, new),
        )

    @rule(data=st.data(), new=st.one_of(values, st.just(MISSING)))
    def compare_and_set_what_is_there(self, data, new):
        if self.model.items:
            key, value = data.draw(st.sampled_from(sorted(self.model.items, key=repr)))
            self.compare_and_set(key, value, new)

    @rule(key=keys, predicate=predicates)
    def remove_if(self, key, predicate):
        self.check(lambda: self.map.remove_if(key, predicate), lambda: self.model.remove_if(key, predicate))

    @rule(key=keys, n=numbers, default=numbers)
    def increment(self, key, n, default):
        if isinstance(self.model.as_dict.get(key, default), (int, float)):
            self.check(
                lambda: self.map.increment(key, n, default=default), lambda: self.model.increment(key, n, default)
            )

    @rule(key=keys, answer=st.one_of(values, st.sampled_from([REMOVE, ABORT, MISSING])))
    def compute(self, key, answer):
        given = []

        def function(old):
            given.append(old)
            return answer

        expected = self.model.as_dict.get(key, MISSING)
        self.check(lambda: self.map.compute(key, function), lambda: self.model.compute(key, lambda _: answer))
        assert given == [expected]

    # --- writes of many keys

    @rule()
    def popitem(self):
        taken = outcome(self.map.popitem, *ERRORS)()
        key = MISSING if taken is KeyError else taken[0]
        self.check(lambda: taken, lambda: self.model.popitem(key))

    @rule(items=items, named=st.dictionaries(st.sampled_from(["a", "key", "z"]), values))
    def update(self, items, named):
        self.check(lambda: self.map.update(items, **named), lambda: self.model.update(items | named))

    @rule(items=items)
    def update_with_pairs(self, items):
        self.check(lambda: self.map.update(iter(items.items())), lambda: self.model.update(items))

    @rule(items=items)
    def or_(self, items):
        assert self.map | items == self.model.as_dict | items
        assert items | self.map == items | self.model.as_dict
        same = self.map
        self.map |= items
        assert self.map is same
        self.check(lambda: None, lambda: self.model.update(items))

    @rule(items=items)
    def set_many(self, items):
        self.check(lambda: self.map.set_many(items), lambda: self.model.set_many(items))

    @rule(first=st.integers(0, 300), count=st.integers(0, 300))
    def grow(self, first, count):
        many = dict.fromkeys(range(first, first + count), count)
        self.check(lambda: self.map.update(many), lambda: self.model.update(many))

    @rule(first=st.integers(0, 300))
    def dwindle(self, first):
        many = [key for key in self.model.as_dict if type(key) is int and key >= first]
        for key in many:
            self.check(lambda key=key: self.map.pop(key), lambda key=key: self.model.pop(key))

    @rule(predicate=predicates)
    def retain(self, predicate):
        asked = Counter()

        def counted(key, value):
            asked[key] += 1
            return predicate(key, value)

        before = Counter(self.model.as_dict.keys())
        self.check(lambda: self.map.retain(counted), lambda: self.model.retain(predicate))
        assert asked == before

    @rule()
    def clear(self):
        self.check(self.map.clear, self.model.clear)

    @rule(n=st.integers(0, 500))
    def reserve(self, n):
        self.map.reserve(n)
        assert self.map.capacity >= len(self.map) + n

    @rule()
    def shrink(self):
        before = self.map.capacity
        self.map.shrink()
        assert len(self.map) <= self.map.capacity <= before

    # --- entries: what is done under one, and what the owner cannot do meanwhile

    @rule(key=keys, steps=st.lists(st.sampled_from(["get", "insert", "or_insert", "remove"]), max_size=4), value=values)
    def entry(self, key, steps, value):
        self.check(lambda: None, lambda: self.model.enter("e", key))
        with self.map.entry(key) as entry:
            assert entered(self.map) == 1
            self.check(lambda: self.map.try_entry(key) is not None, lambda: self.model.try_enter("f", key))
            for step in steps:
                args = (value,) if "insert" in step else ()
                self.check(
                    lambda step=step, args=args: getattr(entry, step)(*args),
                    lambda step=step, args=args: getattr(self.model, f"entry_{step}")("e", *args),
                )
                self.check(lambda: self.map.get(key), lambda: self.model.get(key))
            self.check(lambda: self.map.insert(key, value), lambda: self.model.insert(key, value))
            self.check(lambda: self.map.setdefault(key, value), lambda: self.model.setdefault(key, value))
            self.popitem()
        self.check(lambda: None, lambda: self.model.leave("e"))

    @rule(some=st.lists(keys, max_size=4), value=values)
    def entries(self, some, value):
        some = list(dict.fromkeys(some))
        with self.map.entries(*some) as held:
            for key, entry in zip(some, held, strict=True):
                self.check(lambda entry=entry: entry.insert(value), lambda key=key: self.model.insert(key, value))

    # --- iterations

    @rule(target=iterations, part=st.sampled_from(["keys", "items"]))
    def begin(self, part):
        iteration = Progress(getattr(self.map, part)(), self.model.as_dict, part)
        self.running.append(iteration)
        return iteration

    @rule(iteration=iterations, count=st.integers(1, 20))
    def go_on(self, iteration, count):
        for _ in range(count):
            if (given := next(iteration.iterator, MISSING)) is MISSING:
                break
            key, value = given if iteration.part == "items" else (given, self.model.as_dict[given])
            assert self.model.as_dict[key] == value
            iteration.seen[key] += 1

    @rule(iteration=consumes(iterations))
    def end(self, iteration):
        while (given := next(iteration.iterator, MISSING)) is not MISSING:
            key, value = given if iteration.part == "items" else (given, self.model.as_dict[given])
            assert self.model.as_dict[key] == value
            iteration.seen[key] += 1
        assert next(iteration.iterator, MISSING) is MISSING
        assert {key: iteration.seen[key] for key in iteration.all_the_time} == dict.fromkeys(iteration.all_the_time, 1)
        self.running.remove(iteration)

    @invariant()
    def agrees(self):
        self.map._check()
        assert entered(self.map) == 0
        assert len(self.map) == len(self.model.items)
        assert dict(self.map.items()) == self.model.as_dict
        # The stored key stays the first: 1, True and 1.0 are equal, and differ here.
        assert sorted(map(repr, self.map)) == sorted(map(repr, self.model.as_dict))
        assert Counter(map(repr, self.map.values())) == Counter(map(repr, self.model.as_dict.values()))


TestMapModel = MapMachine.TestCase
TestMapModel.settings = settings(max_examples=40 * EXAMPLES, stateful_step_count=40, deadline=None)
