"""Keys and values that raise, call back, change the map they are in, or drop it: nothing breaks, nothing is lost."""

import contextlib
import gc

import pytest

from ferrule import ConcurrentMap, ConcurrentSet, WouldDeadlock
from tests.support.maps import Key, assert_at_rest
from tests.support.race import spawn

HASHES = {"one": lambda n: 1, "maximal": lambda n: 2**61 - 2, "few": lambda n: n % 3, "minus one": lambda n: -1}


class Hooked(Key):
    """A key that calls a hook at each comparison with another key."""

    hook = None

    def __eq__(self, other):
        if Hooked.hook is not None and self is not other:
            Hooked.hook()
        return super().__eq__(other)

    __hash__ = Key.__hash__


@pytest.fixture(autouse=True)
def no_hook():
    yield
    Hooked.hook = None


@pytest.mark.parametrize("hashes", HASHES)
def test_bad_hashes_cost_time_and_nothing_else(hashes):
    m, d = ConcurrentMap(), {}
    for n in range(300):
        key = Key(n, HASHES[hashes](n))
        m[key] = d[key] = n
        if n % 3 == 0:
            gone = Key(n // 2, HASHES[hashes](n // 2))
            assert m.pop(gone, None) == d.pop(gone, None)
        m._check()
    assert_at_rest(m, d)
    assert sorted(map(id, m.copy())) == sorted(map(id, m))


ACTIONS = {
    "inserts": lambda m, n: m.__setitem__(f"new {n}", n),
    "clears": lambda m, n: m.clear(),
    "pops": lambda m, n: len(m) and m.popitem(),
    "iterates": lambda m, n: [list(m.items()), m.snapshot(), m.copy()],
    "shrinks": lambda m, n: (m.reserve(1000), m.shrink()),
    "collects": lambda m, n: gc.collect(),
}

CALLS = {
    "get": lambda m, key: m.get(key),
    "set": lambda m, key: m.__setitem__(key, 1),
    "pop": lambda m, key: m.pop(key, None),
    "setdefault": lambda m, key: m.setdefault(key, 1),
    "insert": lambda m, key: m.insert(key, 1),
    "increment": lambda m, key: m.increment(key),
    "compute": lambda m, key: m.compute(key, lambda old: 1),
    "compare_and_set": lambda m, key: m.compare_and_set(key, 1, 2),
    "get_many": lambda m, key: m.get_many([key, "other"]),
    "set_many": lambda m, key: m.set_many({key: 1, "other": 2}),
    "update": lambda m, key: m.update({key: 1}),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", CALLS)
def test_a_comparison_that_uses_the_map(call, action):
    m = ConcurrentMap({Hooked(n, 5): n for n in range(20)})
    count = 0

    def hook():
        nonlocal count
        Hooked.hook = None
        with contextlib.suppress(WouldDeadlock, KeyError):  # the call may have entered the key
            ACTIONS[action](m, count)
        count += 1
        if count < 10:
            Hooked.hook = hook

    for n in (0, 19, 100):
        Hooked.hook = hook
        count = 0
        CALLS[call](m, Hooked(n, 5))
        assert count
        Hooked.hook = None
        m._check()
        m.update({Hooked(n, 5): n for n in range(20)})
    assert_at_rest(m)


@pytest.mark.parametrize("call", ["get", "set", "pop", "setdefault", "insert"])
def test_a_comparison_that_always_changes_the_table_ends_in_an_error(call):
    m = ConcurrentMap({Hooked(n, 5): n for n in range(8)})

    def hook():
        Hooked.hook = None
        items = m.snapshot()
        m.clear()
        m.update(items)
        Hooked.hook = hook

    Hooked.hook = hook
    with pytest.raises(RuntimeError, match="keeps changing"):
        CALLS[call](m, Hooked(100, 5))
    Hooked.hook = None
    assert_at_rest(m, {Hooked(n, 5): n for n in range(8)})


@pytest.mark.parametrize("call", CALLS)
def test_a_comparison_that_raises(call):
    m = ConcurrentMap({Hooked(n, 5): n for n in range(3)})

    def hook():
        raise ZeroDivisionError

    Hooked.hook = hook
    with pytest.raises(ZeroDivisionError):
        CALLS[call](m, Hooked(100, 5))
    Hooked.hook = None
    assert_at_rest(m, {Hooked(n, 5): n for n in range(3)})


def test_a_comparison_that_drops_the_last_reference_to_the_map():
    holder = [ConcurrentMap({Hooked(n, 5): n for n in range(3)})]
    Hooked.hook = holder.clear
    assert holder[0].get(Hooked(100, 5)) is None
    assert not holder


def test_a_key_inserted_by_another_thread_during_a_comparison_is_found():
    m = ConcurrentMap({Hooked(n, 5): n for n in range(3)})
    del m[Hooked(0, 5)]  # an earlier slot that could be used again

    def hook():
        Hooked.hook = None
        spawn(m.__setitem__, Hooked(100, 5), "theirs").result()

    Hooked.hook = hook
    assert m.setdefault(Hooked(100, 5), "ours") == "theirs"
    assert_at_rest(m, {Hooked(1, 5): 1, Hooked(2, 5): 2, Hooked(100, 5): "theirs"})


class Adds:
    """A value whose `+` calls back."""

    def __init__(self, call):
        self.call = call

    def __add__(self, other):
        return self.call()


def test_an_addition_that_calls_back_for_the_same_key_would_deadlock():
    m = ConcurrentMap()
    value = Adds(lambda: m.increment("k"))
    m["k"] = value
    with pytest.raises(WouldDeadlock):
        m.increment("k")
    assert_at_rest(m, {"k": value})


def test_an_addition_that_raises_changes_nothing():
    m = ConcurrentMap({"k": "text"})
    with pytest.raises(TypeError):
        m.increment("k")
    assert_at_rest(m, {"k": "text"})


class Dying:
    """A value whose destructor uses the map."""

    def __init__(self, call):
        self.call = call

    def __del__(self):
        self.call()


@pytest.mark.parametrize("end", ["replaced", "removed", "cleared", "popped", "dropped"])
def test_a_destructor_that_uses_the_map(end):
    m, seen = ConcurrentMap(), []

    def call():
        seen.append(len(m))
        m["from the destructor"] = 1
        m.pop("from the destructor")

    m["k"] = Dying(call)
    {
        "replaced": lambda: m.__setitem__("k", 1),
        "removed": lambda: m.__delitem__("k"),
        "cleared": m.clear,
        "popped": lambda: m.popitem() and None,
        "dropped": lambda: m.retain(lambda key, value: False),
    }[end]()
    gc.collect()
    assert seen == [1 if end == "replaced" else 0]
    m._check()


def test_a_cycle_through_keys_values_and_iterators_is_collected():
    m = ConcurrentMap()
    died = []
    m["map"] = m
    m["iterator"] = iter(m.items())
    next(m["iterator"], None)
    m["view"] = m.keys()
    m["value"] = Dying(lambda: died.append(True))
    del m
    gc.collect()
    assert died == [True]


@pytest.mark.parametrize("wrap", [lambda inner: ConcurrentMap({1: inner}), lambda inner: ConcurrentMap({1: [inner]})])
def test_a_deep_nest_is_destroyed(wrap):
    nest = None
    for _ in range(1_000_000):
        nest = wrap(nest)
    del nest
    gc.collect()


def test_a_set_of_hostile_items():
    s = ConcurrentSet(Hooked(n, 5) for n in range(10))
    Hooked.hook = s.clear
    assert s.insert(Hooked(100, 5))
    Hooked.hook = None
    assert_at_rest(s)
