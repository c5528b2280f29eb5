"""What api.md promises of Entry and Entries: an exclusive hold on a key, who waits for it, and how it ends."""

import asyncio
import copy
import gc
import pickle
import sys
import threading
import time
import warnings
import weakref
from fractions import Fraction
from typing import ClassVar

import pytest

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, Entries, Entry, Timeout, WouldDeadlock
from tests.support.maps import CLASH, Key, assert_at_rest, end, entered, in_thread, waiting
from tests.support.race import HANG, outcome, spawn

USES = {
    "value": lambda e: e.value,
    "set value": lambda e: setattr(e, "value", "written"),
    "present": lambda e: e.present,
    "get": lambda e: e.get(),
    "or_insert": lambda e: e.or_insert("written"),
    "or_insert_with": lambda e: e.or_insert_with(lambda: "written"),
    "insert": lambda e: e.insert("written"),
    "remove": lambda e: e.remove(),
    "release": lambda e: e.release(),
    "enter": lambda e: e.__enter__(),
}


def assert_spent(entry):
    for use in USES.values():
        with pytest.raises(RuntimeError):
            use(entry)


class TestValue:
    def test_of_a_present_key(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            assert (e.key, e.value, e.present, e.get(), e.get("default")) == ("k", 1, True, 1, 1)
        assert_at_rest(m, {"k": 1})

    def test_of_an_absent_key(self):
        m = ConcurrentMap()
        with m.entry("k") as e:
            assert (e.key, e.present, e.get(), e.get("default")) == ("k", False, None, "default")
            with pytest.raises(KeyError, match="k"):
                _ = e.value
        assert_at_rest(m, {})

    def test_set_publishes_at_once(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            e.value = 2
            assert in_thread(m.get, "k") == e.value == 2
            e.value = 3
            assert in_thread(m.__getitem__, "k") == e.value == 3
        assert_at_rest(m, {"k": 3})

    def test_set_makes_an_absent_key_present(self):
        m = ConcurrentMap()
        with m.entry("k") as e:
            e.value = None
            assert e.present
            assert in_thread(m.__contains__, "k")
            assert e.value is None
        assert_at_rest(m, {"k": None})

    def test_set_again_after_remove(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            assert e.remove() == 1
            assert not e.present
            e.value = 2
            assert e.present
        assert_at_rest(m, {"k": 2})

    def test_that_others_read_meanwhile_is_the_last_published(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            assert in_thread(m.get, "k") == 1
            e.remove()
            assert in_thread(m.get, "k", "gone") == "gone"

    @pytest.mark.parametrize("answer", [MISSING, REMOVE, ABORT], ids=repr)
    @pytest.mark.parametrize("present", [True, False])
    def test_cannot_be_what_stands_for_an_answer(self, answer, present):
        before = {"k": 1} if present else {}
        m = ConcurrentMap(before)
        with m.entry("k") as e:
            for store in (lambda: setattr(e, "value", answer), lambda: e.insert(answer)):
                with pytest.raises(ValueError, match=repr(answer)):
                    store()
            if not present:
                for store in (lambda: e.or_insert(answer), lambda: e.or_insert_with(lambda: answer)):
                    with pytest.raises(ValueError, match=repr(answer)):
                        store()
            assert e.present is present
        assert_at_rest(m, before)


class TestKey:
    def test_is_the_one_that_was_asked_for(self):
        m = ConcurrentMap({1: "one"})
        asked = 1.0
        with m.entry(asked) as e:
            assert e.key is asked
            e.value = "ein"
        [stored] = m
        assert type(stored) is int

    def test_can_be_read_after_the_hold(self):
        e = ConcurrentMap().entry("k")
        e.release()
        assert e.key == "k"

    def test_cannot_be_set(self):
        with ConcurrentMap().entry("k") as e:
            with pytest.raises((AttributeError, TypeError)):
                e.key = "other"
            with pytest.raises((AttributeError, TypeError)):
                e.present = True
            assert e.key == "k"

    @pytest.mark.parametrize("call", ["entry", "try_entry", "entries"])
    def test_must_be_hashable(self, call):
        m = ConcurrentMap()
        with pytest.raises(TypeError, match="unhashable"):
            getattr(m, call)([])
        assert_at_rest(m, {})


class TestMethods:
    def test_or_insert(self):
        m = ConcurrentMap()
        with m.entry("k") as e:
            assert e.or_insert(1) == 1
            assert e.or_insert(2) == 1
            assert in_thread(m.get, "k") == 1

    def test_or_insert_with(self):
        m, calls = ConcurrentMap(), []

        def make():
            calls.append(1)
            return len(calls)

        with m.entry("k") as e:
            assert e.or_insert_with(make) == 1
            assert e.or_insert_with(make) == 1
        assert calls == [1]
        assert_at_rest(m, {"k": 1})

    def test_or_insert_with_a_factory_that_raises_changes_nothing(self):
        m = ConcurrentMap()

        def make():
            raise LookupError("mine")

        with m.entry("k") as e:
            with pytest.raises(LookupError, match="mine"):
                e.or_insert_with(make)
            assert not e.present
            e.value = 1
        assert_at_rest(m, {"k": 1})

    def test_insert_gives_the_old_value_or_the_default(self):
        m = ConcurrentMap()
        with m.entry("k") as e:
            assert e.insert(1) is None
            assert e.insert(2) == 1
            e.remove()
            assert e.insert(3, "default") == "default"
            assert e.insert(4, default="default") == 3
        assert_at_rest(m, {"k": 4})

    def test_remove_gives_the_old_value_or_the_default(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            assert e.remove("default") == 1
            assert e.remove() is None
            assert e.remove("default") == "default"
            assert e.remove(default="default") == "default"
            with pytest.raises(KeyError):
                _ = e.value
        assert_at_rest(m, {})

    def test_the_stored_key_stays_the_first(self):
        m = ConcurrentMap({1: "one"})
        for change in (lambda e: e.insert(2), lambda e: setattr(e, "value", 3), lambda e: e.or_insert(4)):
            with m.entry(True) as e:
                change(e)
            assert [type(key) for key in m] == [int]

    def test_a_key_that_was_removed_comes_back_as_it_was_given(self):
        m = ConcurrentMap({1: "one"})
        with m.entry(True) as e:
            e.remove()
            e.insert(2)
            assert e.value == 2
            e.remove()
            assert e.or_insert(3) == 3
        assert [(type(key), value) for key, value in m.items()] == [(bool, 3)]

    def test_they_stand_on_the_table_after_it_grew(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e:
            for n in range(10_000):
                m[n] = n
            assert e.value == 1
            e.value = 2
            for n in range(10_000):
                del m[n]
            m.shrink()
            assert e.value == 2
        assert_at_rest(m, {"k": 2})


class TestRelease:
    @pytest.mark.parametrize("present", [True, False])
    def test_ends_the_hold(self, present):
        m = ConcurrentMap({"k": 1} if present else {})
        e = m.entry("k")
        assert entered(m) == 1
        e.release()
        assert entered(m) == 0
        m["k"] = 2
        m.entry("k", timeout=0).release()

    def test_hands_the_key_to_a_waiter_that_has_lost_its_patience(self):
        """Which lasts a millisecond at most: whoever comes then finds the key held, however fast."""
        m = ConcurrentMap()
        for _ in range(20):
            e = m.entry("k")
            waiter = waiting(lambda: m.entry("k"))
            time.sleep(0.002)
            e.release()
            assert m.try_entry("k") is None
            waiter.result().release()
        assert_at_rest(m, {})

    def test_every_use_after_it_is_refused(self):
        m = ConcurrentMap({"k": 1})
        e = m.entry("k")
        e.release()
        assert_spent(e)
        assert_at_rest(m, {"k": 1})

    def test_every_use_is_refused_while_another_hold_is_in_force(self):
        m = ConcurrentMap({"k": 1})
        old = m.entry("k")
        old.release()
        with m.entry("k") as new:
            assert_spent(old)
            assert new.value == 1
        assert_at_rest(m, {"k": 1})

    def test_from_another_thread(self):
        m = ConcurrentMap()
        e = m.entry("k")
        in_thread(e.release)
        with pytest.raises(RuntimeError):
            e.release()
        m.entry("k", timeout=0).release()

    def test_any_thread_may_use_what_another_took(self):
        m = ConcurrentMap({"k": 1})
        e = in_thread(m.entry, "k")
        assert e.insert(2) == 1
        e.release()
        assert_at_rest(m, {"k": 2})

    def test_lets_everybody_in_who_waits(self):
        m = ConcurrentMap({"k": 0})
        e = m.entry("k")
        waiters = [waiting(lambda: m.increment("k")) for _ in range(5)]
        waiters += [waiting(lambda: m.entry("k", timeout=HANG).release()) for _ in range(5)]
        e.release()
        assert sorted(one.result() or 0 for one in waiters) == [0] * 5 + [1, 2, 3, 4, 5]
        assert_at_rest(m, {"k": 5})

    def test_who_gives_up_passes_the_turn_on(self):
        m = ConcurrentMap()
        e = m.entry("k")
        hasty = waiting(lambda: outcome(lambda: m.entry("k", timeout=0.2), Timeout)())
        patient = waiting(lambda: m.entry("k", timeout=HANG).release())
        assert hasty.result() is Timeout
        e.release()
        patient.result()
        assert_at_rest(m, {})


class TestWith:
    def test_gives_the_entry_and_releases_it(self):
        m = ConcurrentMap()
        e = m.entry("k")
        with e as inside:
            assert inside is e
        assert_spent(e)
        assert entered(m) == 0

    def test_leaving_after_release_is_quiet(self):
        m = ConcurrentMap()
        with m.entry("k") as e:
            e.release()
            other = m.entry("k")
        assert not other.present
        other.release()
        assert_at_rest(m, {})

    def test_an_error_in_the_body_rolls_nothing_back(self):
        m = ConcurrentMap({"k": 1})
        with pytest.raises(LookupError, match="mine"), m.entry("k") as e:
            e.value = 2
            raise LookupError("mine")
        assert_at_rest(m, {"k": 2})

    def test_may_be_left_in_another_thread(self):
        m = ConcurrentMap()
        e = m.entry("k").__enter__()
        assert in_thread(e.__exit__, None, None, None) is None
        assert_at_rest(m, {})

    def test_of_a_released_entry_is_refused(self):
        m = ConcurrentMap()
        e = m.entry("k")
        e.release()
        with pytest.raises(RuntimeError), e:
            pytest.fail("entered by a spent entry")


class TestExclusion:
    def test_try_entry_is_refused_only_for_keys_of_the_same_hash(self):
        m = ConcurrentMap(shards=1)
        held = m.entry(5)
        with pytest.raises(Timeout):
            in_thread(lambda: m.entry(5, timeout=0))
        refused = in_thread(lambda: [n for n in (*range(1000), 5 + CLASH, 5.0) if end(m.try_entry(n)) is None])
        assert refused == [5, 5 + CLASH, 5.0]
        held.release()
        assert_at_rest(m, {})

    def test_try_entry_of_ones_own_key_is_none(self):
        m = ConcurrentMap()
        with m.entry("k"):
            assert m.try_entry("k") is None
        with m.try_entry("k") as e:
            assert m.try_entry("k") is None
            assert e.key == "k"

    def test_a_writer_of_another_key_never_waits(self):
        m = ConcurrentMap(shards=1)

        def write():
            for n in range(1, 3000):
                m[n] = n
            for n in range(1, 3000):
                assert m.pop(n) == n

        with m.entry(0):
            in_thread(write)
            write()

    def test_keys_of_equal_hash_share_one_hold(self):
        m = ConcurrentMap({Key("a"): 1, Key("b"): 2})
        a = m.entry(Key("a"))
        b = m.entry(Key("b"))
        assert (a.value, b.value) == (1, 2)
        other = waiting(lambda: m.entry(Key("a")))
        another = waiting(lambda: m.pop(Key("c"), "absent"))
        a.release()
        assert b.value == 2
        assert in_thread(m.try_entry, Key("a")) is None
        b.release()
        other.result().release()
        assert another.result() == "absent"
        assert_at_rest(m)

    def test_another_key_of_equal_hash_may_be_written_from_inside(self):
        m = ConcurrentMap({5: "five"})
        with m.entry(5) as e:
            m[5 + CLASH] = 1
            assert m.increment(5 + CLASH) == 2
            assert m.pop(5 + CLASH) == 2
            with m.entry(5 + CLASH) as other:
                other.value = 3
                with pytest.raises(WouldDeadlock):
                    m[5 + CLASH] = 4
            m[5 + CLASH] = 5
            assert e.value == "five"
        assert_at_rest(m, {5: "five", 5 + CLASH: 5})

    def test_maps_do_not_share_holds(self):
        one, other = ConcurrentMap(), ConcurrentMap()
        with one.entry("k"), other.entry("k") as e:
            e.value = 1
        assert_at_rest(one, {})
        assert_at_rest(other, {"k": 1})

    def test_an_entry_keeps_its_map(self):
        e = ConcurrentMap({"k": 1}).entry("k")
        gc.collect()
        assert e.value == 1
        e.release()


class TestOwner:
    ENTER: ClassVar = {
        "entry": lambda m: m.entry("k"),
        "entry, timeout": lambda m: m.entry("k", timeout=HANG),
        "entries": lambda m: m.entries("a", "k"),
        "entries, timeout": lambda m: m.entries("a", "k", timeout=HANG),
    }

    @pytest.mark.parametrize("enter", ENTER.values(), ids=ENTER)
    def test_who_enters_again_would_deadlock(self, enter):
        m = ConcurrentMap()
        with m.entry("k"):
            with pytest.raises(WouldDeadlock, match=r"this thread.* holds"):
                enter(m)
            assert entered(m) == 1
        assert_at_rest(m, {})

    @pytest.mark.parametrize("call", ["entry", "entries"])
    def test_without_waiting_it_is_a_timeout(self, call):
        m = ConcurrentMap()
        with m.entry("k"), pytest.raises(Timeout):
            getattr(m, call)("k", timeout=0)
        assert_at_rest(m, {})

    def test_a_hold_counts_as_its_takers_wherever_it_went(self):
        m = ConcurrentMap()
        e = in_thread(m.entry, "k")
        with pytest.raises(Timeout):
            m.entry("k", timeout=0.001)
        mine = m.entry("j")

        def use_mine():
            mine.value = 1
            with pytest.raises(Timeout):
                m.entry("j", timeout=0.001)

        in_thread(use_mine)
        with pytest.raises(WouldDeadlock):
            m.entry("j")
        mine.release()
        e.release()
        assert_at_rest(m, {"j": 1})

    def test_the_tasks_of_a_thread_are_one_owner_on_the_sync_face(self):
        async def main():
            m = ConcurrentMap()

            async def take():
                return m.entry("k")

            e = await asyncio.create_task(take())
            for enter in self.ENTER.values():
                with pytest.raises(WouldDeadlock):
                    enter(m)
            with pytest.raises(WouldDeadlock):
                m["k"] = 1
            other = await asyncio.to_thread(waiting, lambda: m.insert("k", 2))
            e.release()
            await asyncio.to_thread(other.result)
            assert_at_rest(m, {"k": 2})

        asyncio.run(main())

    def test_it_would_deadlock_also_while_others_wait(self):
        m = ConcurrentMap()
        e = m.entry("k")
        other = waiting(lambda: m.entry("k"))
        with pytest.raises(WouldDeadlock):
            m["k"] = 1
        e.release()
        other.result().release()
        assert_at_rest(m, {})


class TestTimeout:
    @pytest.mark.parametrize("call", ["entry", "entries"])
    @pytest.mark.parametrize("timeout", [0, 0.0, 1e-9, 0.01, True, False])
    def test_a_key_held_by_another(self, call, timeout):
        m = ConcurrentMap()
        held = in_thread(m.entry, "k")
        with pytest.raises(Timeout) as caught:
            getattr(m, call)("k", timeout=timeout and 0.001 if timeout is True else timeout)
        assert isinstance(caught.value, TimeoutError)
        held.release()
        assert_at_rest(m, {})

    @pytest.mark.parametrize("call", ["entry", "entries"])
    @pytest.mark.parametrize("timeout", [None, 0, 1e308, float("inf"), 5, True])
    def test_a_free_key_is_taken_with_any(self, call, timeout):
        m = ConcurrentMap()
        getattr(m, call)("k", timeout=timeout).release()
        assert_at_rest(m, {})

    @pytest.mark.parametrize("call", ["entry", "entries"])
    @pytest.mark.parametrize(
        ("timeout", "error"),
        [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (Fraction(1), TypeError)],
    )
    def test_nonsense_is_refused_also_where_nobody_waits(self, call, timeout, error):
        m = ConcurrentMap()
        with pytest.raises(error):
            getattr(m, call)("k", timeout=timeout)
        assert_at_rest(m, {})

    def test_is_a_keyword(self):
        m = ConcurrentMap()
        for wrong in (lambda: m.entry("k", 1), lambda: m.try_entry("k", timeout=1), lambda: m.entry(), m.try_entry):
            with pytest.raises(TypeError):
                wrong()
        assert_at_rest(m, {})


class TestEntries:
    def test_are_a_sequence_in_the_order_of_the_arguments(self):
        m = ConcurrentMap({"a": 1, "b": 2})
        with m.entries("b", "c", "a") as es:
            assert type(es) is Entries
            assert len(es) == 3
            assert [e.key for e in es] == ["b", "c", "a"]
            assert [e.get() for e in es] == [2, None, 1]
            assert all(type(e) is Entry for e in es)
            assert es[0] is es[-3]
            assert (es[2].key, es[-1].key) == ("a", "a")
            for outside in (3, -4, sys.maxsize, -sys.maxsize):
                with pytest.raises(IndexError):
                    es[outside]
            with pytest.raises(TypeError):
                es["a"]
            b, c, _ = es
            b.value, c.value = 20, 30
        assert_at_rest(m, {"a": 1, "b": 20, "c": 30})

    def test_of_no_keys(self):
        m = ConcurrentMap()
        with m.entries() as es:
            assert (len(es), list(es)) == (0, [])
        assert_at_rest(m, {})

    def test_hold_all_their_keys(self):
        m = ConcurrentMap()
        with m.entries("a", "b") as es:
            assert entered(m) == 2
            assert in_thread(lambda: [m.try_entry(key) for key in "ab"]) == [None, None]
            es[0].release()
            assert in_thread(lambda: [end(m.try_entry(key)) is None for key in "ab"]) == [False, True]
        assert_at_rest(m, {})

    def test_in_opposite_orders_by_many_threads_never_deadlock(self, rng):
        m = ConcurrentMap(dict.fromkeys(range(6), 0))
        orders = [rng.sample(range(6), rng.randrange(2, 7)) for _ in range(8)]

        def add(order):
            for _ in range(100):
                with m.entries(*order) as es:
                    for e in es:
                        e.value += 1

        for thread in [spawn(add, order) for order in orders]:
            thread.result()
        assert_at_rest(m, {n: 100 * sum(n in order for order in orders) for n in range(6)})

    @pytest.mark.parametrize("keys", [("a", "b", "a"), (1, 2, 1.0), (True, 1), (Key("a"), Key("b"), Key("a"))])
    def test_the_same_key_twice(self, keys):
        m = ConcurrentMap()
        with pytest.raises(ValueError, match=repr(keys[-1]).replace("(", r"\(").replace(")", r"\)") + "|" + "True"):
            m.entries(*keys)
        assert_at_rest(m, {})

    def test_keys_of_equal_hash_share_one_hold(self):
        m = ConcurrentMap()
        with m.entries(Key("a"), Key("b"), Key("c", 2)) as es:
            es[0].value = 1
            es[0].release()
            assert in_thread(m.try_entry, Key("a")) is None
            es[1].release()
            in_thread(m.try_entry, Key("a")).release()
            assert in_thread(m.try_entry, Key("c", 2)) is None
        assert_at_rest(m)

    def test_one_that_cannot_be_had_gives_all_the_others_back(self):
        m = ConcurrentMap()
        for key in "abc":
            held = in_thread(m.entry, key)
            for timeout in (0, 0.001):
                with pytest.raises(Timeout):
                    m.entries("a", "b", "c", timeout=timeout)
                assert entered(m) == 1
            held.release()
            with m.entry(key):
                with pytest.raises(WouldDeadlock):
                    m.entries("a", "b", "c")
                assert entered(m) == 1
        for keys in (("a", "b", []), ([], "a", "b")):
            with pytest.raises(TypeError):
                m.entries(*keys)
        assert_at_rest(m, {})

    def test_release_ends_all(self):
        m = ConcurrentMap()
        es = m.entries("a", "b")
        first, second = es
        es.release()
        assert entered(m) == 0
        assert_spent(first)
        assert_spent(second)
        with pytest.raises(RuntimeError):
            es.release()
        assert_at_rest(m, {})

    def test_leaving_after_release_is_quiet(self):
        m = ConcurrentMap()
        with m.entries("a", "b") as es:
            es.release()
        with m.entries("a", "b") as es:
            for e in es:
                e.release()
        with m.entries("a", "b") as es:
            es[1].release()
            mine = m.entry("b")
        assert not mine.present
        mine.release()
        assert_at_rest(m, {})

    def test_from_another_thread(self):
        m = ConcurrentMap()
        es = m.entries("a", "b")
        in_thread(es.release)
        assert_at_rest(m, {})

    def test_a_thread_that_waits_for_one_key_holds_others_meanwhile(self):
        """Exclusion holds while it waits: nobody sees the keys of a half-taken set free and then taken again."""
        m = ConcurrentMap()
        held = m.entries(*range(4))
        waiter = waiting(lambda: m.entries(*range(4)))
        held.release()
        es = waiter.result()
        assert [m.try_entry(n) for n in range(4)] == [None] * 4
        es.release()
        assert_at_rest(m, {})


class TestDropped:
    """Entries collected while they hold: the keys are free first, the warning comes last."""

    TAKE: ClassVar = {
        "entry": lambda m: m.entry("k"),
        "try_entry": lambda m: m.try_entry("k"),
        "entries": lambda m: m.entries("k"),
    }

    @pytest.mark.parametrize("take", TAKE.values(), ids=TAKE)
    def test_release_and_warn(self, take):
        m = ConcurrentMap()
        e = take(m)
        with pytest.warns(ResourceWarning, match="entr"):
            del e
        assert_at_rest(m, {})

    @pytest.mark.parametrize("take", TAKE.values(), ids=TAKE)
    def test_release_before_they_warn(self, take, monkeypatch):
        m, seen = ConcurrentMap(), []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            monkeypatch.setattr(warnings, "showwarning", lambda *args: seen.append((args[1], entered(m))))
            take(m)
        assert seen == [(ResourceWarning, 0)]

    def test_a_warning_made_an_error_is_reported_and_the_key_is_free(self, monkeypatch):
        m, reported = ConcurrentMap(), []
        monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append((args.exc_type, entered(m))))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            m.entry("k")
        assert reported == [(ResourceWarning, 0)]
        assert_at_rest(m, {})

    def test_lets_in_who_waits(self):
        m = ConcurrentMap()
        e = m.entry("k")
        waiter = waiting(lambda: m.insert("k", 1))
        with pytest.warns(ResourceWarning, match="entr"):
            del e
        assert waiter.result() is None
        assert_at_rest(m, {"k": 1})

    def test_spent_ones_say_nothing(self):
        m = ConcurrentMap()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            m.entry("k").release()
            m.entries("a", "b").release()
            with m.entry("k"), m.entries("a", "b"):
                pass
            with m.entries("a", "b") as es:
                es[0].release()
            del es
            gc.collect()
        assert seen == []

    def test_a_spent_one_leaves_the_next_hold_alone(self):
        m = ConcurrentMap()
        old = m.entry("k")
        old.release()
        with m.entry("k") as new:
            del old
            gc.collect()
            assert not new.present
            assert entered(m) == 1

    def test_one_entry_outlives_the_sequence_it_came_in(self):
        m = ConcurrentMap()
        e, other = m.entries("a", "b")
        gc.collect()
        e.value = 1
        other.release()
        e.release()
        assert_at_rest(m, {"a": 1})

    def test_in_a_cycle_with_its_own_value(self):
        m = ConcurrentMap()
        reference = weakref.ref(m)
        e = m.entry("k")
        e.value = [e, m]
        with pytest.warns(ResourceWarning, match="entr"):
            del e, m  # the collector may come at once
            gc.collect()
        assert reference() is None


class TestKinds:
    @pytest.mark.parametrize("kind", [Entry, Entries])
    def test_are_never_built_by_callers(self, kind):
        for build in (kind, lambda: kind("k"), lambda: kind.__new__(kind), lambda: object.__new__(kind)):
            with pytest.raises(TypeError):
                build()
        with pytest.raises(TypeError):
            type("Mine", (kind,), {})

    @pytest.mark.parametrize("take", ["entry", "entries"])
    def test_refuse_copies_pickles_and_weak_references(self, take):
        m = ConcurrentMap()
        with getattr(m, take)("k") as e:
            for wrong in (copy.copy, copy.deepcopy, pickle.dumps, weakref.ref):
                with pytest.raises(TypeError, match=r"Entr|entr"):
                    wrong(e)
        assert_at_rest(m, {})

    def test_an_entry_is_generic(self):
        assert Entry[str, int].__origin__ is Entry

    def test_show_their_state(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k") as e, m.entries("a", "b") as es:
            held = repr(e), repr(es)
            assert all(word in held[0] for word in ("Entry", "'k'"))
            assert "Entries" in held[1]
        assert repr(e) != held[0]
        assert "released" in repr(e)

    def test_the_collector_may_run_while_one_is_held(self):
        m = ConcurrentMap()
        with m.entry("k") as e:
            e.value = [m]
            gc.collect()
            assert e.value == [m]
            e.remove()
        assert_at_rest(m, {})

    def test_barriers_of_many_holds(self):
        """A thousand keys held at once by one thread, and given back by another."""
        m = ConcurrentMap()
        es = m.entries(*range(1000))
        assert entered(m) == 1000
        done = threading.Event()

        def give_back():
            for e in es:
                e.release()
            done.set()

        in_thread(give_back)
        assert done.is_set()
        assert_at_rest(m, {})
