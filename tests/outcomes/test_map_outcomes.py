"""Racing calls on one map: every result that is allowed, and why; anything else fails."""

import time

import pytest

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, ConcurrentSet, Timeout
from tests.support.hostile import unraisable
from tests.support.maps import Key, assert_at_rest, entered
from tests.support.race import RACES, outcome, raced, refused, run_together

KEYS = {"str": "k", "compared in Python": Key("k"), "clashing": Key("k", 5)}


@pytest.fixture(params=KEYS)
def key(request):
    """A key; where it clashes, each map has another key of its hash."""
    return KEYS[request.param]


def map_of(key, *value):
    """A map where that key has the value, or is absent."""
    m = ConcurrentMap({Key("other", 5): "other"})
    if value:
        m[key] = value[0]
    return m


def again(key):
    """An equal key, another object where there can be one."""
    return Key(key.name, key.code) if isinstance(key, Key) else key


def left(m, key):
    """What the map has for the key; everything else is as it was."""
    assert m.pop(Key("other", 5)) == "other"
    value = m.pop(key, "gone")
    assert_at_rest(m, {})
    return value


class TestOneWinner:
    @raced(RACES // 8)
    def test_compare_and_set(self, key):
        m = map_of(key, 0)
        won = run_together(
            lambda: m.compare_and_set(key, 0, 1),
            lambda: m.compare_and_set(again(key), 0, 2),
            lambda: m.compare_and_set(key, 0, MISSING),
        )
        assert sum(won) == 1
        assert left(m, key) == dict(zip(won, (1, 2, "gone"), strict=True))[True]

    @raced(RACES // 8)
    def test_compare_and_set_of_an_absent_key(self, key):
        m = map_of(key)
        won = run_together(*(lambda n=n: m.compare_and_set(again(key), MISSING, n) for n in range(3)))
        assert sum(won) == 1
        assert left(m, key) == won.index(True)

    @raced(RACES // 8)
    def test_setdefault(self, key):
        m = map_of(key)
        one, other, third = run_together(*(lambda n=n: m.setdefault(again(key), n) for n in range(3)))
        assert one == other == third == left(m, key)

    @raced(RACES // 8)
    def test_pop(self, key):
        m = map_of(key, "value")
        popped = run_together(
            lambda: m.pop(key, None), lambda: m.pop(again(key), None), lambda: m.remove_if(key, lambda value: True)
        )
        assert sorted(map(str, popped)) in [["False", "None", "value"], ["None", "None", "True"]]
        assert left(m, key) == "gone"

    @raced(RACES // 8)
    def test_del(self, key):
        m = map_of(key, "value")
        assert set(run_together(*[lambda: outcome(m.__delitem__, KeyError)(again(key))] * 2)) == {None, KeyError}
        assert left(m, key) == "gone"

    @raced(RACES // 8)
    def test_popitem(self):
        m = ConcurrentMap({1: 1, 2: 2})
        popped = run_together(*[lambda: outcome(m.popitem, KeyError)()] * 3)
        assert sorted(map(str, popped)) == ["(1, 1)", "(2, 2)", "<class 'KeyError'>"]
        assert_at_rest(m, {})

    @raced(RACES // 8)
    def test_insert_into_a_set(self):
        s = ConcurrentSet(["other"])
        assert sorted(run_together(*[lambda: s.insert("item")] * 3)) == [False, False, True]
        assert sorted(run_together(lambda: s.remove_if("item", bool), lambda: bool(s.discard("item")))) in [
            [False, True],
            [False, False],
        ]
        assert s == {"other"}

    @raced(RACES // 8)
    def test_try_entry(self, key):
        m = map_of(key)
        entries = run_together(*[lambda: m.try_entry(again(key))] * 3)
        [winner] = [entry for entry in entries if entry is not None]
        assert entered(m) == 1
        winner.release()
        assert left(m, key) == "gone"

    @raced(RACES // 8)
    def test_release(self, key):
        m = map_of(key)
        entry = m.entry(key)
        answers = run_together(*[refused(entry.release)] * 3)
        assert sorted(answers, key=str) == [RuntimeError, RuntimeError, None]
        assert left(m, key) == "gone"

    @raced(RACES // 8)
    def test_release_of_entries_and_of_one_of_them(self):
        m = ConcurrentMap()
        entries = m.entries("a", "b")
        answers = run_together(refused(entries.release), refused(entries[0].release), refused(entries[1].release))
        assert answers in {
            (None, RuntimeError, RuntimeError),  # all of them first
            (None, None, RuntimeError),  # what the others left
            (None, RuntimeError, None),
            (RuntimeError, None, None),  # nothing was left
        }
        assert_at_rest(m, {})


class TestChains:
    """Each call takes exactly what another one left."""

    @raced(RACES // 8)
    def test_inserts_exchange_values(self, key):
        m = map_of(key, 0)
        old = run_together(*(lambda n=n: m.insert(again(key), n) for n in (1, 2, 3)))
        assert sorted([*old, left(m, key)]) == [0, 1, 2, 3]

    @raced(RACES // 8)
    def test_an_insert_and_a_pop(self, key):
        m = map_of(key, "old")
        answers = (*run_together(lambda: m.insert(key, "new"), lambda: m.pop(again(key))), left(m, key))
        assert answers in {
            ("old", "new", "gone"),  # inserted, then popped
            (None, "old", "new"),  # popped, then inserted
        }

    @raced(RACES // 8)
    def test_a_set_and_a_compare_and_set(self, key):
        m = map_of(key, "old")
        answers = (*run_together(lambda: m.__setitem__(key, "set"), lambda: m.compare_and_set(key, "old", "new")),)
        assert (*answers, left(m, key)) in {
            (None, True, "set"),  # swapped, then set
            (None, False, "set"),  # set first
        }

    @raced(RACES // 8)
    def test_increments(self, key):
        m = map_of(key)
        sums = run_together(*[lambda: m.increment(again(key))] * 3)
        assert sorted(sums) == [1, 2, 3]
        assert left(m, key) == 3

    @raced(RACES // 8)
    def test_an_increment_and_a_pop(self, key):
        m = map_of(key, 10)
        answers = (*run_together(lambda: m.increment(key), lambda: m.pop(key)), left(m, key))
        assert answers in {(11, 11, "gone"), (1, 10, 1)}

    @raced(RACES // 8)
    def test_increments_of_several_kinds(self, key):
        """Some in one step, some with the key entered."""
        m = map_of(key, 2**62)
        run_together(
            lambda: m.increment(again(key), 2**62), lambda: m.increment(again(key), 1), lambda: m.increment(key, True)
        )
        assert left(m, key) == 2**63 + 2

    @raced(RACES // 16)
    def test_a_compute_is_called_once_for_each_success(self, key):
        m, calls = map_of(key), []

        def append(n):
            def compute(old):
                calls.append(n)
                return (*(old or ()), n)

            return m.compute(again(key), compute)

        answers = run_together(*(lambda n=n: append(n) for n in range(8)))
        assert sorted(calls) == list(range(8))
        assert sorted(answers, key=len) == [tuple(calls[:n]) for n in range(1, 9)]
        assert left(m, key) == tuple(calls)

    @raced(RACES // 8)
    def test_computes_that_set_remove_and_abort(self, key):
        m = map_of(key, 0)
        answers = run_together(
            lambda: m.compute(again(key), lambda old: 1 if old is MISSING else old + 1),
            lambda: m.compute(again(key), lambda old: REMOVE),
            lambda: m.compute(again(key), lambda old: ABORT),
        )
        assert (*answers, left(m, key)) in {
            (1, MISSING, 0, "gone"),  # aborted, set, removed
            (1, MISSING, 1, "gone"),  # set, aborted, removed
            (1, MISSING, MISSING, "gone"),  # set, removed, aborted
            (1, MISSING, 0, 1),  # aborted, removed, set
            (1, MISSING, MISSING, 1),  # removed, aborted, set
            (1, MISSING, 1, 1),  # removed, set, aborted
        }


class TestEntries:
    @raced(RACES // 8)
    def test_a_write_that_was_accepted_is_there(self, key):
        m = map_of(key, "old")
        entry = m.entry(key)
        written, _ = run_together(refused(setattr, entry, "value", "new"), entry.release)
        assert (written, left(m, key)) in {
            (None, "new"),  # written, then released
            (RuntimeError, "old"),  # released first: refused, and nothing was written
        }

    @raced(RACES // 8)
    def test_a_write_through_a_spent_entry_never_comes_into_the_next_hold(self, key):
        m = map_of(key, "old")
        entry = m.entry(key)

        def next_hold():
            entry.release()
            with m.entry(again(key)) as mine:
                mine.value = "mine"
                return mine.value

        stray, seen = run_together(refused(setattr, entry, "value", "stray"), next_hold)
        assert stray in (None, RuntimeError)
        assert seen == left(m, key) == "mine"

    @raced(RACES // 8)
    def test_two_uses_of_one_entry_are_in_some_order(self, key):
        m = map_of(key)
        with m.entry(key) as entry:
            answers = run_together(lambda: entry.insert(1), lambda: entry.insert(2), entry.remove)
            value = entry.get("gone")
        assert (*answers, value) in {
            (None, 1, 2, "gone"),  # 1, 2, removed
            (2, None, 1, "gone"),  # 2, 1, removed
            (None, None, 1, 2),  # 1, removed, 2
            (None, None, 2, 1),  # 2, removed, 1
            (None, 1, None, 2),  # removed, 1, 2
            (2, None, None, 1),  # removed, 2, 1
        }
        assert left(m, key) == value

    @pytest.mark.parametrize("timeout", [0, 1e-9, 1e-6, 5e-5, 1e-4])
    @raced(RACES // 8)
    def test_a_wait_that_may_time_out_against_a_release(self, timeout):
        m = ConcurrentMap()
        held = m.entry("k")
        taken, _ = run_together(lambda: outcome(lambda: m.entry("k", timeout=timeout), Timeout)(), held.release)
        if taken is Timeout:
            assert entered(m) == 0, "it gave up, and the key is nobody's"
        else:
            assert entered(m) == 1
            taken.release()
        assert_at_rest(m, {})

    @raced(RACES // 8)
    def test_entries_that_may_time_out_against_entries_in_the_opposite_order(self):
        m = ConcurrentMap()

        def take(*keys):
            try:
                entries = m.entries(*keys, timeout=1e-4)
            except Timeout:
                return 0
            time.sleep(0)
            entries.release()
            return 1

        won = run_together(lambda: take("a", "b", "c"), lambda: take("c", "b", "a"), lambda: take("b", "c"))
        assert sum(won) >= 1, "the one who has the first of them gets all"
        assert_at_rest(m, {})

    @raced(RACES // 8)
    def test_a_dropped_entry_and_a_writer_that_waits(self, key):
        m = map_of(key, 1)
        ready = []

        def take_and_drop():  # by the thread that made it: without the GIL another's drop takes effect later
            entry = m.entry(key)
            ready.append(entry.present)
            time.sleep(0)
            del entry

        def write():
            while not ready:
                time.sleep(0)
            return m.insert(again(key), 2)

        with unraisable() as complaints:
            assert run_together(take_and_drop, write) == (None, 1)
        assert list(map(type, complaints)) == [ResourceWarning]
        assert left(m, key) == 2

    @raced(RACES // 8)
    def test_or_insert_with_inserts_once(self, key):
        m, calls = map_of(key), []

        def take(n):
            with m.entry(again(key)) as entry:
                return entry.or_insert_with(lambda: calls.append(n) or n)

        answers = run_together(*(lambda n=n: take(n) for n in range(3)))
        assert set(answers) == set(calls) == {left(m, key)}
        assert len(calls) == 1


class TestManyKeys:
    @raced(RACES // 8)
    def test_set_many_is_seen_whole(self):
        m = ConcurrentMap({"a": 0, "b": 0})
        _, seen, many = run_together(
            lambda: m.set_many({"a": 1, "b": 1, "c": 1}), m.snapshot, lambda: m.get_many(["b", "c", "a"])
        )
        assert seen in ({"a": 0, "b": 0}, {"a": 1, "b": 1, "c": 1})
        assert many in ([0, None, 0], [1, 1, 1])
        assert_at_rest(m, {"a": 1, "b": 1, "c": 1})

    @raced(RACES // 8)
    def test_of_two_set_many_one_comes_last_for_all_keys(self):
        m = ConcurrentMap({"a": 0})
        one, other = dict.fromkeys("abc", 1), dict.fromkeys("cba", 2)
        run_together(lambda: m.set_many(one), lambda: m.set_many(other))
        assert m.snapshot() in (one, other)
        assert_at_rest(m)

    @raced(RACES // 8)
    def test_set_many_and_a_pop_of_one_of_its_keys(self):
        m = ConcurrentMap({"a": 0})
        _, popped = run_together(lambda: m.set_many({"a": 1, "b": 1}), lambda: m.pop("a"))
        assert (popped, m.snapshot() == {"b": 1}) in {
            (1, True),  # set, then popped
            (0, False),  # popped, then set
        }
        assert m["b"] == 1
        assert_at_rest(m)

    @raced(RACES // 8)
    def test_two_threads_that_retain_remove_each_key_once(self):
        m = ConcurrentMap((n, n) for n in range(20))
        removed = run_together(*[lambda: m.retain(lambda key, value: key % 2)] * 2)
        assert sum(removed) == 10
        assert_at_rest(m, {n: n for n in range(1, 20, 2)})

    @raced(RACES // 8)
    def test_clear_and_an_insert(self):
        m = ConcurrentMap({"k": 1})
        _, old = run_together(m.clear, lambda: m.insert("k", 2))
        assert (old, m.get("k")) in {
            (1, None),  # inserted, then cleared
            (None, 2),  # cleared, then inserted
        }
        assert_at_rest(m)

    @raced(RACES // 8)
    def test_an_iterator_that_two_threads_share_gives_each_key_once(self):
        m = ConcurrentMap((n, n) for n in range(40))
        iterator = iter(m)
        one, other = run_together(*[lambda: list(iterator)] * 2)
        assert sorted(one + other) == list(range(40))
        assert_at_rest(m)

    @raced(RACES // 8)
    def test_a_copy_and_a_writer(self):
        m = ConcurrentMap((n, 0) for n in range(20))
        copied, _, _ = run_together(m.copy, lambda: m.pop(5), lambda: m.__setitem__(20, 1))
        assert set(range(21)) - copied.keys() <= {5, 20}
        assert_at_rest(copied)
        assert_at_rest(m, {n: 0 for n in range(20) if n != 5} | {20: 1})
