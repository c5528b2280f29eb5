"""What api.md promises of get_or_compute() among threads: one factory at a time for a key, once if it succeeds."""

import asyncio
import threading

import pytest

from ferrule import (
    ABORT,
    MISSING,
    REMOVE,
    BlockingInEventLoop,
    ConcurrentMap,
    Timeout,
    WouldDeadlock,
    allow_blocking,
)
from ferrule.debug import deadlocks
from tests.support.flights import Factory, assert_landed, computing, waiters
from tests.support.maps import CLASH, Key, in_thread, waiting
from tests.support.race import HANG, eventually, outcome, spawn


class Fault(Exception):
    pass


class TestValue:
    def test_a_present_key_calls_nobody(self):
        m = ConcurrentMap({"k": 1})
        factory = Factory(2)
        assert m.get_or_compute("k", factory) == 1
        assert factory.runs == 0
        assert_landed(m, {"k": 1})

    def test_an_absent_key_is_computed_and_put_in(self):
        m = ConcurrentMap()
        factory = Factory(1, 2)
        assert m.get_or_compute("k", factory) == 1
        assert m.get_or_compute("k", factory) == 1
        assert factory.runs == 1
        assert_landed(m, {"k": 1})

    @pytest.mark.parametrize("value", [None, False, 0, "", (), NotImplemented])
    def test_any_value_counts_as_one(self, value):
        m = ConcurrentMap()
        factory = Factory(value)
        assert m.get_or_compute("k", factory) is value
        assert m.get_or_compute("k", factory) is value
        assert factory.runs == 1

    def test_an_exception_can_be_a_value(self):
        error = Fault()
        m = ConcurrentMap()
        assert m.get_or_compute("k", lambda: error) is error

    @pytest.mark.parametrize("value", [MISSING, REMOVE, ABORT])
    def test_what_says_that_there_is_no_value_is_none(self, value):
        m = ConcurrentMap()
        with pytest.raises(ValueError, match="cannot be a value"):
            m.get_or_compute("k", lambda: value)
        assert_landed(m, {})

    def test_the_key_stays_the_one_that_was_computed(self):
        m = ConcurrentMap()
        m.get_or_compute(1, lambda: "one")
        assert m.get_or_compute(True, lambda: "true") == m.get_or_compute(1.0, lambda: "float") == "one"
        assert [type(key) for key in m] == [int]

    def test_again_once_it_is_removed(self):
        m = ConcurrentMap()
        factory = Factory(1, 2)
        assert m.get_or_compute("k", factory) == 1
        del m["k"]
        assert m.get_or_compute("k", factory) == 2

    @pytest.mark.parametrize("shards", [1, 2, 8])
    def test_many_keys(self, shards):
        m = ConcurrentMap(shards=shards)
        for n in range(500):
            assert m.get_or_compute(n, lambda n=n: -n) == -n
        assert_landed(m, {n: -n for n in range(500)})

    def test_keys_that_only_python_can_compare(self):
        m = ConcurrentMap({Key("other", 5): 0})
        assert m.get_or_compute(Key("k", 5), lambda: 1) == 1
        assert m.get_or_compute(Key("k", 5), lambda: 2) == 1
        assert_landed(m, {Key("other", 5): 0, Key("k", 5): 1})

    def test_a_coroutine_is_for_the_async_face(self):
        closed = []

        async def compute():
            pass

        def factory():
            closed.append(compute())
            return closed[0]

        m = ConcurrentMap()
        with pytest.raises(TypeError, match="async face"):
            m.get_or_compute("k", factory)
        assert closed[0].cr_frame is None
        assert_landed(m, {})

    def test_a_future_is_a_value(self):
        loop = asyncio.new_event_loop()
        try:
            future = loop.create_future()
            m = ConcurrentMap()
            assert m.get_or_compute("k", lambda: future) is future
        finally:
            loop.close()

    def test_the_key_is_hashed_once(self):
        hashed = []

        class Counting(Key):
            __eq__ = Key.__eq__

            def __hash__(self):
                hashed.append(self)
                return super().__hash__()

        ConcurrentMap(shards=4).get_or_compute(Counting("k"), lambda: 1)
        assert len(hashed) == 1


class TestArguments:
    def test_key_and_factory_are_positional_and_timeout_is_not(self):
        m = ConcurrentMap()
        for call in (
            lambda: m.get_or_compute("k"),
            lambda: m.get_or_compute("k", Factory(1), 1.0),
            lambda: m.get_or_compute(key="k", factory=Factory(1)),
        ):
            with pytest.raises(TypeError):
                call()
        assert_landed(m, {})

    def test_an_unhashable_key(self):
        with pytest.raises(TypeError, match="unhashable"):
            ConcurrentMap().get_or_compute([], Factory(1))

    @pytest.mark.parametrize("timeout", [-1, float("nan")])
    def test_a_bad_timeout_also_of_a_present_key(self, timeout):
        with pytest.raises(ValueError, match="timeout"):
            ConcurrentMap({"k": 1}).get_or_compute("k", Factory(1), timeout=timeout)

    def test_what_cannot_be_called_changes_nothing(self):
        m = ConcurrentMap({"there": 1})
        assert m.get_or_compute("there", None) == 1
        with pytest.raises(TypeError, match="callable"):
            m.get_or_compute("k", None)
        assert_landed(m, {"there": 1})

    @pytest.mark.parametrize("timeout", [0, 0.0, 1e-9, None, 1e308, True])
    def test_the_timeout_is_not_for_ones_own_factory(self, timeout):
        assert ConcurrentMap().get_or_compute("k", Factory(1), timeout=timeout) == 1


class TestWaiting:
    def test_all_who_wait_get_the_one_value(self):
        m = ConcurrentMap()
        value = object()
        factory = Factory(value, closed=True)
        first = computing(m, "k", factory)
        others = [spawn(m.get_or_compute, "k", factory) for _ in range(5)]
        assert waiters(m, "k", 5) == [("thread", "parked")] * 5
        assert "k" not in m
        factory.open()
        assert all(one.result() is value for one in [first, *others])
        assert factory.runs == 1
        assert_landed(m, {"k": value})

    def test_other_keys_do_not_wait(self):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, 5, factory)
        assert m.get_or_compute(6, Factory(2)) == 2
        assert m.get_or_compute(5 + CLASH, Factory(3)) == 3
        factory.open()
        assert running.result() == 1
        assert_landed(m, {5: 1, 6: 2, 5 + CLASH: 3})

    def test_other_maps_do_not_wait(self):
        m, other = ConcurrentMap(), ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)
        assert other.get_or_compute("k", Factory(2)) == 2
        factory.open()
        assert running.result() == 1

    @pytest.mark.parametrize("timeout", [0, 1e-9, 0.01])
    def test_timeout(self, timeout):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)
        with pytest.raises(Timeout, match="'k'"):
            m.get_or_compute("k", Factory(2), timeout=timeout)
        assert m._state() == {"k": []}
        factory.open()
        assert running.result() == 1
        assert_landed(m, {"k": 1})

    def test_the_turn_goes_to_the_first_who_waits(self):
        m = ConcurrentMap()
        first = Factory(Fault, closed=True)
        running = computing(m, "k", first)
        factories = [Factory(Fault("1")), Factory(Fault("2")), Factory("value"), Factory("never")]
        others = []
        for count, factory in enumerate(factories):
            others.append(spawn(outcome(m.get_or_compute, Fault), "k", factory))
            waiters(m, "k", count + 1)
        first.open()
        with pytest.raises(Fault):
            running.result()
        assert [one.result() for one in others] == [Fault, Fault, "value", "value"]
        assert [factory.runs for factory in factories] == [1, 1, 1, 0]
        assert_landed(m, {"k": "value"})

    @pytest.mark.parametrize("error", [Fault, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
    def test_whatever_is_raised_passes_the_turn_on(self, error):
        m = ConcurrentMap()
        first = Factory(error, closed=True)
        running = computing(m, "k", first)
        other = spawn(m.get_or_compute, "k", Factory(2))
        waiters(m, "k", 1)
        first.open()
        assert other.result() == 2
        with pytest.raises(error):
            running.result()
        assert_landed(m, {"k": 2})

    def test_one_that_raises_with_nobody_waiting_leaves_nothing(self):
        m = ConcurrentMap()
        with pytest.raises(Fault):
            m.get_or_compute("k", Factory(Fault))
        assert_landed(m, {})
        assert m.get_or_compute("k", Factory(1)) == 1

    def test_one_that_ran_out_of_time_is_passed_over(self):
        m = ConcurrentMap()
        first = Factory(Fault, closed=True)
        running = computing(m, "k", first)
        assert in_thread(outcome(lambda: m.get_or_compute("k", Factory(1), timeout=0.001), Timeout)) is Timeout
        other = spawn(m.get_or_compute, "k", Factory(2))
        waiters(m, "k", 1)
        first.open()
        assert other.result() == 2
        running.join()


class TestOthersWrite:
    @pytest.mark.parametrize("write", ["m['k'] = 'theirs'", "m.insert('k', 'theirs')", "m.setdefault('k', 'theirs')"])
    def test_an_existing_value_wins_and_all_get_it(self, write):
        m = ConcurrentMap()
        factory = Factory("ours", closed=True)
        running = computing(m, "k", factory)
        other = spawn(m.get_or_compute, "k", factory)
        waiters(m, "k", 1)
        exec(write, {"m": m})  # plain writers go on meanwhile
        assert m["k"] == "theirs"
        assert m.get_or_compute("k", Factory("newcomer's")) == "theirs"
        factory.open()
        assert running.result() == other.result() == "theirs"
        assert_landed(m, {"k": "theirs"})

    def test_the_factory_may_put_the_value_in_itself(self):
        m = ConcurrentMap()
        assert m.get_or_compute("k", lambda: m.setdefault("k", "inner") and "outer") == "inner"
        assert_landed(m, {"k": "inner"})

    def test_one_that_was_put_in_and_removed_does_not_count(self):
        m = ConcurrentMap()

        def factory():
            m["k"] = "gone"
            del m["k"]
            return "ours"

        assert m.get_or_compute("k", factory) == "ours"

    def test_publication_waits_for_the_entry_as_setdefault_does(self):
        m = ConcurrentMap()
        entry = in_thread(m.entry, "k")
        factory = Factory("ours")
        running = waiting(lambda: m.get_or_compute("k", factory))
        assert factory.runs == 1
        other = spawn(m.get_or_compute, "k", Factory("other's"))
        waiters(m, "k", 1)
        entry.release()
        assert running.result() == other.result() == "ours"
        assert_landed(m, {"k": "ours"})

    def test_what_the_entry_puts_in_wins(self):
        m = ConcurrentMap()
        entry = in_thread(m.entry, "k")
        running = waiting(lambda: m.get_or_compute("k", Factory("ours")))
        entry.value = "theirs"
        entry.release()
        assert running.result() == "theirs"

    def test_who_comes_while_a_value_is_published_waits_for_it(self):
        m = ConcurrentMap()
        entry = in_thread(m.entry, "k")
        running = waiting(lambda: m.get_or_compute("k", Factory("first")))
        late = spawn(m.get_or_compute, "k", Factory("second"))
        waiters(m, "k", 1)
        entry.release()
        assert running.result() == late.result() == "first"
        assert_landed(m, {"k": "first"})

    def test_within_ones_own_entry_it_would_deadlock(self):
        m = ConcurrentMap()
        with m.entry("k"):
            with pytest.raises(WouldDeadlock):
                m.get_or_compute("k", Factory(1))
            assert m._state() == {}
        assert_landed(m, {})

    def test_within_the_entry_of_another_key_of_the_hash(self):
        m = ConcurrentMap()
        with m.entry(5):
            assert m.get_or_compute(5 + CLASH, Factory(1)) == 1

    def test_who_holds_the_entry_cannot_wait_for_who_needs_it(self):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)
        with m.entry("k"):
            with pytest.raises(WouldDeadlock, match="entry of 'k'"):
                m.get_or_compute("k", Factory(2))
            with pytest.raises(Timeout):
                m.get_or_compute("k", Factory(2), timeout=0)
            factory.open()
        assert running.result() == 1
        assert_landed(m, {"k": 1})

    def test_an_entry_of_a_present_key_keeps_nobody_from_its_value(self):
        m = ConcurrentMap({"k": 1})
        with m.entry("k"):
            assert m.get_or_compute("k", Factory(2)) == 1

    def test_clear_and_copy_know_nothing_of_what_is_computed(self):
        m = ConcurrentMap({"a": 1})
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)
        copied = m.copy()
        m.clear()
        factory.open()
        assert running.result() == 1
        assert_landed(m, {"k": 1})
        assert_landed(copied, {"a": 1})


class TestWouldDeadlock:
    def test_for_ones_own_key(self):
        m = ConcurrentMap()
        inner = Factory(2)
        with pytest.raises(WouldDeadlock, match="'k'"):
            m.get_or_compute("k", lambda: m.get_or_compute("k", inner))
        assert inner.runs == 0
        assert_landed(m, {})

    def test_a_factory_that_catches_it_goes_on(self):
        m = ConcurrentMap()

        def factory():
            with pytest.raises(WouldDeadlock):
                m.get_or_compute("k", Factory(2))
            return 1

        assert m.get_or_compute("k", factory) == 1

    def test_without_time_it_is_a_timeout(self):
        m = ConcurrentMap()
        with pytest.raises(Timeout):
            m.get_or_compute("k", lambda: m.get_or_compute("k", Factory(2), timeout=0))
        with pytest.raises(WouldDeadlock):
            m.get_or_compute("k", lambda: m.get_or_compute("k", Factory(2), timeout=0.001))
        assert_landed(m, {})

    def test_a_factory_may_ask_for_other_keys(self):
        m = ConcurrentMap()

        def fibonacci(n):
            return n if n < 2 else asked(n - 1) + asked(n - 2)

        def asked(n):
            return m.get_or_compute(n, lambda: fibonacci(n))

        assert asked(30) == 832040
        assert_landed(m)

    def test_over_several_keys_of_one_thread(self):
        m = ConcurrentMap()
        with pytest.raises(WouldDeadlock, match="'a'"):
            m.get_or_compute("a", lambda: m.get_or_compute("b", lambda: m.get_or_compute("a", Factory(1))))
        assert_landed(m, {})

    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_over_threads_that_wait_in_a_ring(self, count):
        """The last one that begins to wait is told; the others then get their values."""
        m = ConcurrentMap()
        begun = threading.Barrier(count)

        def ring(n):
            def factory():
                begun.wait(HANG)
                return (n, m.get_or_compute((n + 1) % count, lambda: "never"))

            return m.get_or_compute(n, factory)

        results = [one.result() for one in [spawn(outcome(ring, WouldDeadlock), n) for n in range(count)]]
        assert results.count(WouldDeadlock) == 1
        assert_landed(m)

    def test_over_two_maps(self):
        m, other = ConcurrentMap(), ConcurrentMap()
        factory = Factory(1, closed=True)
        running = spawn(m.get_or_compute, "k", lambda: (factory(), other.get_or_compute("k", Factory(2)))[1])
        assert factory.begun.wait(HANG)

        def mine():
            factory.open()
            waiters(other, "k", 1)
            with pytest.raises(WouldDeadlock):
                m.get_or_compute("k", Factory(3))
            return 4

        assert other.get_or_compute("k", mine) == 4
        assert running.result() == 4

    def test_one_who_waits_in_a_factory_for_who_waits_for_nobody(self):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "a", factory)
        other = spawn(m.get_or_compute, "b", lambda: m.get_or_compute("a", Factory(2)))
        waiters(m, "a", 1)
        last = spawn(m.get_or_compute, "b", Factory(3))
        waiters(m, "b", 1)
        factory.open()
        assert running.result() == other.result() == last.result() == 1

    def test_the_way_is_free_again_after_a_timeout(self):
        """Who has waited once and does not wait any more is in nobody's way."""
        m = ConcurrentMap()
        asked, go = threading.Event(), threading.Event()

        def factory():
            with pytest.raises(Timeout):
                m.get_or_compute("b", Factory("never"), timeout=0.001)
            asked.set()
            assert go.wait(HANG)
            return "a"

        def other():
            running.append(spawn(m.get_or_compute, "a", factory))
            assert asked.wait(HANG)
            go.set()
            return m.get_or_compute("a", Factory("never"))

        running = []
        assert m.get_or_compute("b", other) == "a"
        assert running[0].result() == "a"

    def test_deadlocks_sees_who_computes_for_whom(self):
        """A ring that is not found at once, because an entry is part of it."""
        m = ConcurrentMap()
        entries = []

        def holder():
            entries.append(m.entry("e"))
            running.append(waiting(lambda: m.get_or_compute("k", lambda: m.entry("e").release())))
            return m.get_or_compute("k", Factory("never"))

        running = []
        holding = spawn(holder)
        eventually(deadlocks)
        (cycle,) = deadlocks()
        assert [(held.object, held.waits_for) for held in cycle] == [(m, m), (m, m)]
        entries[0].release()
        assert running[0].result() is holding.result() is None
        assert deadlocks() == []
        assert_landed(m, {"k": None})


class TestInAnEventLoop:
    def test_it_refuses_to_wait_there(self):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)

        async def main():
            with pytest.raises(BlockingInEventLoop):
                m.get_or_compute("k", Factory(2))
            with pytest.raises(Timeout):
                m.get_or_compute("k", Factory(2), timeout=0)
            with allow_blocking():
                asyncio.get_running_loop().call_later(0, lambda: None)
                threading.Timer(0.01, factory.open).start()
                assert m.get_or_compute("k", Factory(2)) == 1
            assert m.get_or_compute("other", Factory(3)) == 3  # nobody to wait for

        asyncio.run(main())
        assert running.result() == 1
        assert_landed(m, {"k": 1, "other": 3})

    def test_a_task_of_the_same_loop_would_never_end(self):
        m = ConcurrentMap()

        async def main():
            begun, go = asyncio.Event(), asyncio.Event()

            async def factory():
                begun.set()
                await go.wait()
                return 1

            task = asyncio.create_task(m.aio.get_or_compute("k", factory))
            await begun.wait()
            with pytest.raises(WouldDeadlock):
                m.get_or_compute("k", Factory(2))
            with allow_blocking(), pytest.raises(WouldDeadlock):
                m.get_or_compute("k", Factory(2))
            go.set()
            assert await task == 1

        asyncio.run(main())
