"""Keys and values that raise, call back, change the map they are in, or drop it: nothing breaks, nothing is lost."""

import contextlib
import gc

import pytest

from ferrule import MISSING, REMOVE, ConcurrentMap, ConcurrentSet, WouldDeadlock
from tests.support.hostile import calling, hostile, raising, returning
from tests.support.leaks import in_subprocess
from tests.support.maps import Key, assert_at_rest
from tests.support.race import outcome, spawn

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
    "inserts much": lambda m, n: m.update((f"new {n}", n) for n in range(200)),
    "clears": lambda m, n: m.clear(),
    "replaces every key": lambda m, n: replace_keys(m),
    "replaces every value": lambda m, n: [m.insert(key, -1) for key in m],
    "pops": lambda m, n: len(m) and m.popitem(),
    "iterates": lambda m, n: [list(m.items()), m.snapshot(), m.copy()],
    "shrinks": lambda m, n: (m.reserve(1000), m.shrink()),
    "collects": lambda m, n: n < 3 and gc.collect(),
}


def replace_keys(m):
    """Each key by an equal one, so that the map has the last reference to none of those it had."""
    for key in list(m):
        if isinstance(key, Key):
            value = m.pop(key)
            m[Hooked(key.name, key.code)] = value


CALLS = {
    "[]": lambda m, key: outcome(m.__getitem__, KeyError)(key),
    "get": lambda m, key: m.get(key),
    "in": lambda m, key: key in m,
    "set": lambda m, key: m.__setitem__(key, 1),
    "del": lambda m, key: outcome(m.__delitem__, KeyError)(key),
    "pop": lambda m, key: m.pop(key, None),
    "setdefault": lambda m, key: m.setdefault(key, 1),
    "insert": lambda m, key: m.insert(key, 1),
    "increment": lambda m, key: m.increment(key),
    "increment in Python": lambda m, key: m.increment(key, True),
    "compute": lambda m, key: m.compute(key, lambda old: 1),
    "compute that removes": lambda m, key: m.compute(key, lambda old: REMOVE),
    "compare_and_set": lambda m, key: m.compare_and_set(key, 1, 2),
    "compare_and_set of an absent key": lambda m, key: m.compare_and_set(key, MISSING, 2),
    "remove_if": lambda m, key: m.remove_if(key, lambda value: True),
    "entry": lambda m, key: in_entry(m, key, lambda e: e.get()),
    "entry.insert": lambda m, key: in_entry(m, key, lambda e: e.insert(1)),
    "entry.or_insert": lambda m, key: in_entry(m, key, lambda e: e.or_insert(1)),
    "entry.remove": lambda m, key: in_entry(m, key, lambda e: e.remove()),
    "get_many": lambda m, key: m.get_many([key, "other"]),
    "set_many": lambda m, key: m.set_many({key: 1, "other": 2}),
    "update": lambda m, key: m.update({key: 1}),
    "keys": lambda m, key: key in m.keys(),  # noqa: SIM118 the view is what is asked
    "items": lambda m, key: (key, 1) in m.items(),
}


ENTERING = {
    *("compute", "compute that removes", "remove_if", "set_many", "increment in Python"),
    *("entry", "entry.insert", "entry.or_insert", "entry.remove"),
}
"""Calls that have their key entered while they compare it."""

PLAIN = [call for call in CALLS if call not in ENTERING]


def in_entry(m, key, use):
    with m.entry(key) as e:
        return use(e)


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


@pytest.mark.parametrize("call", CALLS)
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


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit, StopIteration, RuntimeError])
@pytest.mark.parametrize("call", CALLS)
def test_what_a_comparison_raises_is_what_the_call_raises(call, error):
    mine = error("mine")
    key = hostile(__hash__=returning(5), __eq__=raising(mine))
    m = ConcurrentMap({Key("stored", 5): 1})
    with pytest.raises(error) as caught:
        {**CALLS, "[]": ConcurrentMap.__getitem__, "del": ConcurrentMap.__delitem__}[call](m, key)
    assert caught.value is mine
    assert_at_rest(m, {Key("stored", 5): 1})


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_whose_truth_value_raises(call):
    doubtful = hostile(__bool__=raising(LookupError("mine")))
    key = hostile(__hash__=returning(5), __eq__=returning(doubtful))
    m = ConcurrentMap({Key("stored", 5): 1})
    with pytest.raises(LookupError, match="mine"):
        CALLS[call](m, key)
    assert_at_rest(m, {Key("stored", 5): 1})


@pytest.mark.parametrize(
    ("answer", "equal"), [("yes", True), ([1], True), ([], False), (0, False), (None, False), (NotImplemented, False)]
)
def test_an_answer_is_true_or_false_as_in_python(answer, equal):
    key = hostile(__hash__=returning(5), __eq__=returning(answer))
    m = ConcurrentMap({Key("stored", 5): 1})
    assert (key in m) is equal
    m[key] = 2
    assert list(m.values()) == ([2] if equal else m.get_many([Key("stored", 5), key]))
    with m.entry(key) as e:
        assert e.value == 2
    assert_at_rest(m)


@pytest.mark.parametrize("call", CALLS)
def test_a_key_is_found_by_identity_without_a_comparison(call):
    key = hostile(__hash__=returning(5), __eq__=raising(AssertionError("compared with itself")))
    m = ConcurrentMap({key: 1})
    CALLS[call](m, key)
    assert_at_rest(m)
    assert m.pop(key, None) in (None, 1, 2)


@pytest.mark.parametrize("call", CALLS)
def test_only_keys_of_the_very_same_hash_are_compared(call):
    compared = []
    m = ConcurrentMap()
    for n in range(200):
        m[hostile(__hash__=returning(n << 40), __eq__=calling(lambda n=n: compared.append(n), then=False))] = n
    CALLS[call](m, Key("mine", 77 << 40))
    assert set(compared) <= {77}
    assert_at_rest(m)


@pytest.mark.parametrize("call", CALLS)
def test_each_call_hashes_its_key_once(call):
    hashed = []
    key = hostile(__hash__=calling(lambda: hashed.append(True), then=5))
    m = ConcurrentMap({Key("stored", 5): 1})
    CALLS[call](m, key)
    # The dict that is the argument hashes it first; set_many() makes a dict of its own.
    assert len(hashed) == {"update": 2}.get(call, 1) or call == "set_many"
    assert_at_rest(m)


@pytest.mark.parametrize("call", CALLS)
def test_a_hash_that_raises(call):
    m = ConcurrentMap({Key("stored", 5): 1})
    for key in (hostile(__hash__=raising(LookupError("mine"))), hostile(__hash__=returning("5")), [], {}):
        with pytest.raises((LookupError, TypeError)):
            CALLS[call](m, key)
    assert_at_rest(m, {Key("stored", 5): 1})


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", CALLS)
def test_a_hash_that_uses_the_map(call, action):
    m = ConcurrentMap({Key(n, 5): n for n in range(20)})
    key = hostile(__hash__=calling(lambda: ACTIONS[action](m, 0), then=5))
    CALLS[call](m, key)
    assert_at_rest(m)


def test_keys_whose_hash_changes_are_lost_and_nothing_else():
    m = ConcurrentMap()
    keys = [Key(n, n) for n in range(100)]
    for key in keys:
        m[key] = key.name
    for key in keys[::2]:
        key.code += 1000
    assert [key in m for key in keys] == [False, True] * 50
    assert len(m) == len(list(m)) == 100
    m.update((n, n) for n in range(1000))  # moved by the hashes they had
    m._check()
    m[keys[0]] = "again"
    assert len(m) == 1101
    assert m.pop(keys[0]) == "again"
    assert m.retain(lambda key, value: isinstance(key, int)) == 100
    assert_at_rest(m, {n: n for n in range(1000)})


def test_a_hash_that_changes_between_two_looks_of_one_call():
    """set_many() looks at each key several times; a comparison removes what it has found."""
    in_subprocess("""
        import itertools
        from ferrule import ConcurrentMap, WouldDeadlock
        from tests.support.maps import Key, assert_at_rest

        class Changing(Key):
            def __init__(self, name, hashes):
                super().__init__(name)
                self.hashes = itertools.cycle(hashes)
            def __hash__(self):
                return next(self.hashes)

        class Removing(Key):
            done = False
            def __eq__(self, other):
                if not self.done:
                    self.done = True
                    try:
                        m.pop(stored, None)
                    except WouldDeadlock:
                        pass    # it is entered
                return super().__eq__(other)
            __hash__ = Key.__hash__

        stored = Key("a", 7)
        for period in range(1, 6):
            for place in range(period):
                hashes = [100 + n for n in range(period)]
                hashes[place] = 7
                for call in (
                    lambda key: m.set_many([(key, 2), (Removing("b", 9), 2)]),
                    lambda key: m.get_many([key, Removing("b", 9)]),
                    lambda key: m.entries(key, Removing("b", 9)).release(),
                ):
                    m = ConcurrentMap({stored: 1, Key("b", 9): 1}, shards=1)
                    try:
                        call(Changing("a", hashes))
                    except KeyError:
                        pass    # of a dict in between
                    assert_at_rest(m)
    """)


class TestRestarts:
    """A look begins again where the key that it compared has gone meanwhile: so often, and no more often."""

    @staticmethod
    def restless(changes, change):
        """A map of one key, and a key of the same hash whose first comparisons each make a change."""
        m = ConcurrentMap({Key("stored", 5): 1})
        calls = []

        class Restless(Key):
            def __eq__(self, other):
                calls.append(other)
                if len(calls) <= changes:
                    change(m)
                return self.name == other.name

            __hash__ = Key.__hash__

        return m, Restless("stored", 5), calls

    @staticmethod
    def replace_key(m):
        m.clear()
        m[Key("stored", 5)] = 1

    @pytest.mark.parametrize("call", PLAIN)
    def test_sixty_of_its_own_are_no_error(self, call):
        m, key, calls = self.restless(60, self.replace_key)
        CALLS[call](m, key)
        assert len(calls) >= 61
        assert_at_rest(m)

    @pytest.mark.parametrize("call", PLAIN)
    def test_more_of_its_own_are_an_error_and_change_nothing(self, call):
        m, key, calls = self.restless(100_000, self.replace_key)
        with pytest.raises(RuntimeError, match="keeps changing"):
            CALLS[call](m, key)
        assert 64 <= len(calls) <= 66
        assert_at_rest(m, {Key("stored", 5): 1})
        assert all(stored is not key for stored in m)

    @pytest.mark.parametrize("call", PLAIN)
    def test_any_number_by_another_thread_is_no_error(self, call):
        m, key, calls = self.restless(150, lambda m: spawn(self.replace_key, m).result())
        CALLS[call](m, key)
        assert len(calls) >= 151
        assert_at_rest(m)

    @pytest.mark.parametrize("change", [lambda m: m.insert("other", 1), lambda m: m.insert(Key("stored", 5), 2), list])
    def test_what_does_not_touch_the_key_restarts_nothing(self, change):
        m, key, calls = self.restless(100_000, change)
        m["other"] = 0
        m[key] = 5
        assert len(calls) == 1
        assert m[Key("stored", 5)] == 5
        assert_at_rest(m)

    def test_a_comparison_that_replaces_another_key_of_the_same_call(self):
        """Not within one look, but for one call: get_many() has found a key that the next look takes away."""
        in_subprocess(
            """
            from ferrule import ConcurrentMap
            from tests.support.maps import Key, assert_at_rest

            class Restless(Key):
                def __eq__(self, other):
                    m.pop(Key("a", 1))
                    m[Key("a", 1)] = 1
                    return super().__eq__(other)
                __hash__ = Key.__hash__

            m = ConcurrentMap({Key("a", 1): 1, Key("b", 2): 2})
            try:
                m.get_many([Key("a", 1), Restless("b", 2)])
            except RuntimeError:
                pass
            assert_at_rest(m, {Key("a", 1): 1, Key("b", 2): 2})
        """,
            timeout=20,
        )

    def test_a_value_that_sets_its_key_anew_whenever_it_is_compared(self):
        m = ConcurrentMap()
        calls = []

        class Restless:
            def __eq__(self, other):
                calls.append(True)
                assert len(calls) < 10_000
                m["k"] = Restless()
                return True

        m["k"] = Restless()
        assert outcome(m.compare_and_set, WouldDeadlock)("k", "expected", "new") is WouldDeadlock
        assert type(m["k"]) is Restless
        assert_at_rest(m)


@pytest.mark.parametrize("call", CALLS)
def test_a_comparison_that_waits_for_a_thread_that_uses_the_map(call):
    m = ConcurrentMap({Key("stored", 5): 1}, shards=1)
    used = []

    def use():
        m["theirs"] = len(m)
        m.reserve(1000)
        assert m.get(Key("stored", 5)) == 1
        assert m.snapshot() == {Key("stored", 5): 1, "theirs": 1}
        with m.entries("theirs", "another") as es:
            es[0].remove()
        m.shrink()
        m._check()
        if call not in ENTERING:
            m.insert(Key("stored", 5), 1)

    class Waiting(Key):
        def __eq__(self, other):
            if not used:  # each time it would replace the table, and the look would begin again for ever
                used.append(True)
                spawn(use).result()
            return self.name == other.name

        __hash__ = Key.__hash__

    CALLS[call](m, Waiting("stored", 5))
    assert "theirs" not in m
    assert_at_rest(m)


def test_an_entry_taken_while_another_of_the_same_hash_is_compared_is_seen():
    """Entries of one owner and one hash are told apart by ==, which may end one of them and take another."""
    m = ConcurrentMap()
    held, more = [m.entry(Key("a", 5))], []

    class Swapping(Key):
        def __eq__(self, other):
            if held:
                held.pop().release()
                more.append(m.entry(Key("b", 5)))
            return self.name == other.name

        __hash__ = Key.__hash__

    assert outcome(m.entry, WouldDeadlock)(Swapping("b", 5)) is WouldDeadlock
    more[0].release()
    assert_at_rest(m, {})


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


def test_a_set_of_hostile_items():
    s = ConcurrentSet(Hooked(n, 5) for n in range(10))
    Hooked.hook = s.clear
    assert s.insert(Hooked(100, 5))
    Hooked.hook = None
    assert_at_rest(s)
