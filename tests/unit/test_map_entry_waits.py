"""Who waits for an entered key, line by line of the table, and who does not."""

import pickle
from fractions import Fraction

import pytest

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, WouldDeadlock
from tests.support.maps import assert_at_rest, end, entered, in_thread, waiting

# Each line of the who-waits table: a call on "k", which is 1 at first and 10 once the holder lets go; what it answers,
# and what is there afterwards.
PRESENT = {
    "set": (lambda m: m.__setitem__("k", 2), None, {"k": 2}),
    "del": (lambda m: m.__delitem__("k"), None, {}),
    "pop": (lambda m: m.pop("k"), 10, {}),
    "pop with a default": (lambda m: m.pop("k", None), 10, {}),
    "insert": (lambda m: m.insert("k", 2), 10, {"k": 2}),
    "compare_and_set": (lambda m: m.compare_and_set("k", 10, 2), True, {"k": 2}),
    "compare_and_set that fails": (lambda m: m.compare_and_set("k", 1, 2), False, {"k": 10}),
    "compare_and_set that removes": (lambda m: m.compare_and_set("k", 10, MISSING), True, {}),
    "remove_if": (lambda m: m.remove_if("k", lambda value: value == 10), True, {}),
    "remove_if that refuses": (lambda m: m.remove_if("k", lambda value: value == 1), False, {"k": 10}),
    "increment": (lambda m: m.increment("k"), 11, {"k": 11}),
    "increment by a float": (lambda m: m.increment("k", 0.5), 10.5, {"k": 10.5}),
    "increment by a Fraction": (lambda m: m.increment("k", Fraction(1, 2)), Fraction(21, 2), {"k": Fraction(21, 2)}),
    "compute": (lambda m: m.compute("k", lambda old: old * 2), 20, {"k": 20}),
    "compute that removes": (lambda m: m.compute("k", lambda old: REMOVE), MISSING, {}),
    "compute that aborts": (lambda m: m.compute("k", lambda old: ABORT), 10, {"k": 10}),
    "entry": (lambda m: use(m.entry("k"), lambda e: e.insert(2)), 10, {"k": 2}),
    "entries": (lambda m: use(m.entries("j", "k"), lambda es: es[1].remove()), 10, {}),
    "set_many": (lambda m: m.set_many({"j": 1, "k": 2}), None, {"j": 1, "k": 2}),
    "update": (lambda m: m.update({"k": 2}), None, {"k": 2}),
    "update by keyword": (lambda m: m.update(k=2), None, {"k": 2}),
    "|=": (lambda m: m.__ior__({"k": 2}) is m, True, {"k": 2}),
    "clear": (lambda m: m.clear(), None, {}),
    "retain": (lambda m: m.retain(lambda key, value: value != 10), 1, {}),
    "retain that keeps": (lambda m: m.retain(lambda key, value: value == 10), 0, {"k": 10}),
}

# The same for "k" absent at first, and 10 once the holder lets go.
ABSENT = {
    "setdefault": (lambda m: m.setdefault("k", 2), 10, {"k": 10}),
    "set": (lambda m: m.__setitem__("k", 2), None, {"k": 2}),
    "del": (lambda m: m.__delitem__("k"), None, {}),
    "pop": (lambda m: m.pop("k"), 10, {}),
    "pop with a default": (lambda m: m.pop("k", "none"), 10, {}),
    "insert": (lambda m: m.insert("k", 2), 10, {"k": 2}),
    "compare_and_set": (lambda m: m.compare_and_set("k", MISSING, 2), False, {"k": 10}),
    "remove_if": (lambda m: m.remove_if("k", lambda value: True), True, {}),
    "increment": (lambda m: m.increment("k", default=5), 11, {"k": 11}),
    "compute": (lambda m: m.compute("k", lambda old: (old or 0) + 1), 11, {"k": 11}),
    "entry": (lambda m: use(m.entry("k"), lambda e: e.or_insert(2)), 10, {"k": 10}),
    "set_many": (lambda m: m.set_many([("k", 2)]), None, {"k": 2}),
}

READS = {
    "[]": lambda m: m["k"] == 1,
    "get": lambda m: m.get("k") == 1,
    "in": lambda m: "k" in m,
    "setdefault of a present key": lambda m: m.setdefault("k", 2) == 1,
    "len": lambda m: len(m) == 1,
    "iteration": lambda m: list(m) == ["k"],
    "keys": lambda m: list(m.keys()) == ["k"] and "k" in m.keys(),  # noqa: SIM118 the view is what is asked
    "values": lambda m: list(m.values()) == [1] and 1 in m.values(),
    "items": lambda m: list(m.items()) == [("k", 1)] and ("k", 1) in m.items(),
    "==": lambda m: m == {"k": 1},
    "copy": lambda m: m.copy() == {"k": 1},
    "|": lambda m: (m | {"j": 2}) == {"j": 2, "k": 1},
    "repr": lambda m: repr(m) == "ConcurrentMap({'k': 1})",
    "pickle": lambda m: pickle.loads(pickle.dumps(m)) == {"k": 1},
    "get_many": lambda m: m.get_many(["k", "j"]) == [1, None],
    "snapshot": lambda m: m.snapshot() == {"k": 1},
    "freeze": lambda m: dict(m.freeze()) == {"k": 1},
    "stats": lambda m: sum(shard["items"] for shard in m.stats()) == 1,
    "reserve": lambda m: m.reserve(10_000) is None and len(m) == 1,
    "_check": lambda m: m._check() is None,
}


def use(entry, function):
    with entry:
        return function(entry)


class TestWhoWaits:
    @pytest.mark.parametrize("call", PRESENT)
    def test_for_a_present_key(self, call):
        call, answer, left = PRESENT[call]
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            waiter = waiting(lambda: call(m))
            assert (m["k"], e.value) == (1, 1)
            e.value = 10
        assert waiter.result() == answer
        assert_at_rest(m, left)

    @pytest.mark.parametrize("call", ABSENT)
    def test_for_an_absent_key(self, call):
        call, answer, left = ABSENT[call]
        m = ConcurrentMap()
        with m.entry("k") as e:
            waiter = waiting(lambda: call(m))
            assert "k" not in m
            e.value = 10
        assert waiter.result() == answer
        assert_at_rest(m, left)

    @pytest.mark.parametrize("call", list(PRESENT))
    def test_from_inside_ones_own_entry_it_would_deadlock(self, call):
        call, _, _ = PRESENT[call]
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            with pytest.raises(WouldDeadlock):
                call(m)
            assert (e.value, entered(m)) == (1, 1)
        assert_at_rest(m, {"k": 1})

    @pytest.mark.parametrize("call", ABSENT)
    def test_from_inside_ones_own_entry_of_an_absent_key_it_would_deadlock(self, call):
        call, _, _ = ABSENT[call]
        m = ConcurrentMap()
        with m.entry("k") as e:
            with pytest.raises(WouldDeadlock):
                call(m)
            assert (e.present, entered(m)) == (False, 1)
        assert_at_rest(m, {})

    @pytest.mark.parametrize("call", READS)
    def test_reads_never_do(self, call):
        m = ConcurrentMap({"k": 1})
        with m.entry("k"):
            assert READS[call](m)
            assert in_thread(READS[call], m)
        assert_at_rest(m, {"k": 1})

    def test_popitem_skips_an_entered_key(self):
        m = ConcurrentMap({"k": 1, "j": 2})
        with m.entry("k"):
            assert m.popitem() == ("j", 2)
            for pop in (m.popitem, lambda: in_thread(m.popitem)):
                with pytest.raises(KeyError):
                    pop()
        assert m.popitem() == ("k", 1)
        assert_at_rest(m, {})

    def test_set_many_waits_for_every_one_of_its_keys(self):
        m = ConcurrentMap(dict.fromkeys(range(5), 0))
        held = [m.entry(n) for n in range(5)]
        writer = waiting(lambda: m.set_many({n: n for n in range(5)}))
        for e in held:
            assert m.snapshot() == dict.fromkeys(range(5), 0)
            e.release()
        writer.result()
        assert_at_rest(m, {n: n for n in range(5)})

    @pytest.mark.parametrize("call", ["clear", "retain"])
    def test_clear_and_retain_go_key_by_key_and_wait_for_each(self, call):
        m = ConcurrentMap({n: n for n in range(20)})
        held = [m.entry(n) for n in (3, 11, 17)]
        sweeper = waiting(m.clear if call == "clear" else lambda: m.retain(lambda key, value: False))
        for e in held:
            assert {3, 11, 17}.issuperset(held_key.key for held_key in held)
            assert e.value == e.key
            e.release()
        assert sweeper.result() == (None if call == "clear" else 20)
        assert_at_rest(m, {})

    def test_a_key_is_entered_while_its_function_runs(self):
        m = ConcurrentMap({"k": 1, "j": 2})
        seen = []

        def look(*args):
            seen.append((args[-1], m.try_entry("k"), end(in_thread(m.try_entry, "k")), m["k"]))
            with pytest.raises(WouldDeadlock):
                m["k"] = 5
            m["j"] = 3
            return True

        m.compute("k", lambda old: look(old) and ABORT)
        assert not m.remove_if("k", lambda value: not look(value))
        del m["j"]
        m.retain(lambda key, value: key != "k" or look(value))
        assert seen == [(1, None, None, 1)] * 3
        assert_at_rest(m)
        assert m["k"] == 1

    @pytest.mark.parametrize("call", ["compute", "remove_if", "retain", "or_insert_with"])
    def test_others_wait_while_the_function_runs(self, call):
        m = ConcurrentMap({} if call == "or_insert_with" else {"k": 1})
        waiters = []

        def run(*_):
            waiters.append(waiting(lambda: m.insert("k", 10)))
            return 5

        if call == "or_insert_with":
            with m.entry("k") as e:
                assert e.or_insert_with(run) == 5
        elif call == "retain":
            assert m.retain(run) == 0
        else:
            assert getattr(m, call)("k", run) == (True if call == "remove_if" else 5)
        [waiter] = waiters
        assert waiter.result() == {"compute": 5, "remove_if": None, "retain": 1, "or_insert_with": 5}[call]
        assert_at_rest(m, {"k": 10})
