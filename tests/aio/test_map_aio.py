"""The async face of maps: entry, entries, try_entry, compute, set and pop, and cancellation at every step of each."""

import asyncio
import contextlib
import copy
import gc
import pickle
import weakref

import pytest

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, Entries, Entry, Timeout, WouldDeadlock, aio, allow_blocking
from ferrule.debug import deadlocks
from tests.support.driver import LoopThread, cancel_at_every_step, cancel_everywhere, complete, run, turns
from tests.support.hostile import unraisable
from tests.support.maps import CLASH, Key, assert_at_rest, entered, in_thread, waiting
from tests.support.race import HANG, outcome, spawn


class Fault(Exception):
    pass


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, HANG)


async def parked(coroutine):
    """A task that waits in it."""
    task = asyncio.ensure_future(coroutine)
    await turns()
    assert not task.done()
    return task


class TestFace:
    def test_constructing_one_makes_a_map(self):
        face = aio.ConcurrentMap({"a": 1}, shards=2, capacity=100)
        assert type(face.sync) is ConcurrentMap
        assert (dict(face.sync), face.sync.shards) == ({"a": 1}, 2)
        with pytest.raises(ValueError, match="power of two"):
            aio.ConcurrentMap(shards=3)

    def test_it_is_equal_by_the_map_and_leads_back(self):
        m = ConcurrentMap()
        assert m.aio == m.aio
        assert hash(m.aio) == hash(m.aio)
        assert m.aio != ConcurrentMap().aio
        assert m.aio != m
        assert m.aio.sync is m
        assert isinstance(m.aio, aio.ConcurrentMap)

    def test_it_is_generic_has_a_repr_and_is_not_copied(self):
        assert aio.ConcurrentMap[str, int].__origin__ is aio.ConcurrentMap
        assert repr(ConcurrentMap({"a": 1}).aio) == "<ferrule.aio.ConcurrentMap of ConcurrentMap({'a': 1})>"
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle or copy"):
                copied(aio.ConcurrentMap())

    def test_it_keeps_the_map(self):
        m = ConcurrentMap()
        face, gone = m.aio, weakref.ref(m)
        del m
        gc.collect()
        assert gone() is face.sync


class TestEntry:
    def test_free_it_never_suspends(self):
        m = ConcurrentMap({"k": 1})
        entry = complete(m.aio.entry("k"))
        assert type(entry) is Entry
        assert (entry.key, entry.value, entered(m)) == ("k", 1, 1)
        entry.release()
        assert_at_rest(m, {"k": 1})

    def test_async_with(self, loop_name):
        m = ConcurrentMap({"k": 1})

        async def main():
            async with m.aio.entry("k") as entry:
                entry.value += 1
            assert entered(m) == 0
            async with m.aio.entry("k") as entry:
                entry.release()
            with pytest.raises(Fault):
                async with m.aio.entry("k") as entry:
                    entry.value = "stays"
                    raise Fault

        run(main(), loop_name)
        assert_at_rest(m, {"k": "stays"})

    def test_it_does_nothing_until_its_first_step(self):
        m = ConcurrentMap()
        coroutine = m.aio.entry("k")
        assert entered(m) == 0
        coroutine.close()
        with pytest.warns(RuntimeWarning, match=r"ConcurrentMap\.entry"):
            m.aio.entry("k")
        with pytest.raises(TypeError, match="unhashable"):
            complete(m.aio.entry([]))
        with pytest.raises(ValueError, match="timeout"):
            m.aio.entry("k", timeout=-1)
        assert_at_rest(m, {})

    def test_tasks_of_two_loops_and_threads_exclude_each_other(self, loop_name):
        m = ConcurrentMap({"k": 0})
        inside = []

        async def counts():
            for _ in range(50):
                async with m.aio.entry("k", timeout=HANG) as entry:
                    inside.append(1)
                    value = entry.value
                    await asyncio.sleep(0)
                    entry.value = value + 1
                    assert inside.pop() == 1
                    assert not inside

        def counts_too():
            for _ in range(50):
                with m.entry("k", timeout=HANG) as entry:
                    inside.append(1)
                    entry.value += 1
                    assert inside.pop() == 1
                    assert not inside

        with LoopThread(loop_name) as here, LoopThread() as there:
            tasks = [loop.spawn(counts()) for loop in (here, there) for _ in range(2)]
            threads = [spawn(counts_too) for _ in range(2)]
            for one in (*tasks, *threads):
                one.result(HANG)
        assert_at_rest(m, {"k": 300})

    def test_the_owner_is_the_task(self, loop_name):
        m = ConcurrentMap()

        async def main():
            async with m.aio.entry(5):
                with pytest.raises(WouldDeadlock):
                    await m.aio.entry(5)
                with pytest.raises(Timeout):
                    await m.aio.entry(5, timeout=0)
                assert m.aio.try_entry(5) is None
                async with m.aio.entry(5 + CLASH) as clashing:
                    clashing.value = "same hash"
                for write in (lambda: m.__setitem__(5, 1), lambda: m.pop(5, None), lambda: m.entry(5)):
                    with pytest.raises(WouldDeadlock):
                        write()
                other = await parked(m.aio.entry(5))
            (await soon(other)).release()

        run(main(), loop_name)
        assert_at_rest(m, {5 + CLASH: "same hash"})

    def test_the_owner_outlives_the_call(self):
        """The context that tells who has the entry is there as long as the entry."""
        m = ConcurrentMap()

        async def main():
            entry = await asyncio.create_task(_await(m.aio.entry("k")))
            gc.collect()
            for _ in range(50):
                with pytest.raises(Timeout):
                    await asyncio.create_task(_await(m.aio.entry("k", timeout=0)))
            entry.release()

        asyncio.run(main())
        assert_at_rest(m, {})

    @pytest.mark.parametrize("timeout", [0, 1e-9, 0.01])
    def test_timeout(self, timeout):
        m = ConcurrentMap()
        entry = in_thread(m.entry, "k")

        async def main():
            with pytest.raises(Timeout, match="'k'"):
                await m.aio.entry("k", timeout=timeout)

        asyncio.run(main())
        entry.release()
        assert_at_rest(m, {})

    def test_try_entry(self):
        m = ConcurrentMap()

        async def main():
            with m.aio.try_entry("k") as entry:
                entry.value = 1
                assert m.aio.try_entry("k") is None
                assert in_thread(m.try_entry, "k") is None
                with pytest.raises(WouldDeadlock):
                    await m.aio.entry("k")
            m.aio.try_entry("k").release()
            with pytest.raises(TypeError, match="unhashable"):
                m.aio.try_entry([])

        asyncio.run(main())
        assert_at_rest(m, {"k": 1})

    def test_cancelled_at_every_step(self, loop_name):
        m = entry = None

        def begin():
            nonlocal m, entry
            m = ConcurrentMap()
            entry = in_thread(m.entry, "k")
            return m.aio.entry("k"), entry.release

        async def check():
            with contextlib.suppress(RuntimeError):
                entry.release()
            assert_at_rest(m, {})
            (await soon(m.aio.entry("k"))).release()

        async def main():
            with pytest.warns(ResourceWarning):  # undisturbed it gives an entry that nobody takes
                assert await cancel_at_every_step(begin, check) == 1
                gc.collect()

        run(main(), loop_name)

    def test_deadlocks_names_the_tasks(self):
        m = ConcurrentMap()

        async def main():
            async def takes(first, second):
                async with m.aio.entry(first):
                    await turns()
                    await m.aio.entry(second)

            tasks = [asyncio.create_task(takes(*order)) for order in ("ab", "ba")]
            await turns(8)
            (cycle,) = deadlocks()
            assert [held.object for held in cycle] == [m, m]
            assert all("task" in held.holder for held in cycle)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            (await soon(asyncio.gather(*tasks[1:], return_exceptions=True)))

        with unraisable():
            asyncio.run(main())


async def _await(awaitable):
    return await awaitable


class TestEntries:
    def test_in_the_order_of_the_arguments(self, loop_name):
        m = ConcurrentMap({"a": 1})

        async def main():
            async with m.aio.entries("b", "a") as entries:
                assert type(entries) is Entries
                assert [entry.key for entry in entries] == ["b", "a"]
                entries[0].value = entries[1].remove()
                assert entered(m) == 2
            entries = await m.aio.entries("x", "y", timeout=1)
            entries.release()
            async with m.aio.entries() as none:
                assert len(none) == 0

        run(main(), loop_name)
        assert_at_rest(m, {"b": 1})

    def test_bad_arguments(self):
        m = ConcurrentMap()
        with pytest.raises(ValueError, match="twice"):
            complete(m.aio.entries(Key("k"), "other", Key("k")))
        with pytest.raises(TypeError, match="unhashable"):
            complete(m.aio.entries("k", []))
        with pytest.raises(ValueError, match="timeout"):
            m.aio.entries("k", timeout=-1)
        assert_at_rest(m, {})

    def test_opposite_orders_never_deadlock(self, loop_name):
        m = ConcurrentMap.fromkeys(range(4), 0)

        async def both(keys):
            for _ in range(30):
                async with m.aio.entries(*keys) as entries:
                    values = [entry.value for entry in entries]
                    await asyncio.sleep(0)
                    for entry, value in zip(entries, values, strict=True):
                        entry.value = value + 1

        async def main():
            await soon(asyncio.gather(*[both(keys) for keys in ((0, 1, 2), (2, 1, 0), (3, 0), (0, 3), (1, 3, 2))]))

        run(main(), loop_name)
        assert_at_rest(m, {0: 120, 1: 90, 2: 90, 3: 90})

    def test_a_timeout_is_for_all_and_leaves_none(self):
        m = ConcurrentMap()
        entry = in_thread(m.entry, 3)

        async def main():
            for timeout in (0, 0.01):
                with pytest.raises(Timeout):
                    await m.aio.entries(1, 2, 3, 4, timeout=timeout)
                assert entered(m) == 1

        asyncio.run(main())
        entry.release()
        assert_at_rest(m, {})

    def test_cancelled_at_every_turn(self, loop_name):
        m = None

        async def takes():
            async with m.aio.entries(1, 2, 3):
                await asyncio.sleep(0)

        async def hinders():
            for n in (3, 2, 1):
                async with m.aio.entry(n):
                    await turns(2)

        def make():
            nonlocal m
            m = ConcurrentMap()
            others.append(asyncio.create_task(hinders()))
            return takes()

        async def check():
            await soon(asyncio.gather(*others))
            others.clear()
            assert_at_rest(m, {})

        async def main():
            assert await cancel_everywhere(make, check) > 3

        others = []
        run(main(), loop_name)


class TestCompute:
    def test_with_plain_and_async_functions(self, loop_name):
        m = ConcurrentMap({"k": 1})

        async def doubled(old):
            await asyncio.sleep(0)
            return old * 2

        async def removed(old):
            return REMOVE

        async def main():
            assert await m.aio.compute("k", lambda old: old + 1) == 2
            assert await m.aio.compute("k", doubled) == 4
            assert await m.aio.compute("k", lambda old: ABORT) == 4
            assert await m.aio.compute("new", lambda old: old is MISSING) is True
            assert await m.aio.compute("k", removed) is MISSING
            assert await m.aio.compute("absent", lambda old: ABORT) is MISSING
            with pytest.raises(ValueError, match="cannot be a value"):
                await m.aio.compute("k", lambda old: MISSING)
            with pytest.raises(ZeroDivisionError):
                await m.aio.compute("k", lambda old: 1 // 0)

        run(main(), loop_name)
        assert_at_rest(m, {"new": True})

    def test_the_key_is_entered_over_the_await(self, loop_name):
        m = ConcurrentMap({"k": 0})

        async def adds(old):
            await asyncio.sleep(0)
            return old + 1

        async def main():
            await soon(asyncio.gather(*[m.aio.compute("k", adds) for _ in range(50)]))

        run(main(), loop_name)
        assert_at_rest(m, {"k": 50})

    def test_cancelled_at_every_turn_it_changes_nothing(self, loop_name):
        m = None

        async def slowly(old):
            await turns(2)
            return "computed"

        def make():
            nonlocal m
            m = ConcurrentMap({"k": 1})
            return m.aio.compute("k", slowly)

        def check():
            assert_at_rest(m, {"k": m["k"]})
            seen.append(m["k"])

        seen = []

        async def main():
            await cancel_everywhere(make, check)

        run(main(), loop_name)
        assert seen == [1] * (len(seen) - 1) + ["computed"]
        assert len(seen) > 2


class TestSetAndPop:
    def test_free_they_never_suspend(self):
        m = ConcurrentMap()
        assert complete(m.aio.set("k", 1)) is None
        assert complete(m.aio.set("k", 2)) is None
        assert complete(m.aio.pop("k")) == 2
        assert complete(m.aio.pop("k", "default")) == "default"
        assert complete(m.aio.pop("k", None)) is None
        with pytest.raises(KeyError, match="k"):
            complete(m.aio.pop("k"))
        assert_at_rest(m, {})

    def test_bad_arguments(self):
        m = ConcurrentMap()
        with pytest.raises(ValueError, match="cannot be a value"):
            m.aio.set("k", MISSING)
        for coroutine in (m.aio.set([], 1), m.aio.pop([])):
            with pytest.raises(TypeError, match="unhashable"):
                complete(coroutine)
        assert_at_rest(m, {})

    def test_they_wait_for_the_entry_of_another_task(self, loop_name):
        m = ConcurrentMap({"k": 1})

        async def main():
            async with m.aio.entry("k") as entry:
                with pytest.raises(WouldDeadlock):
                    m["k"] = 2
                with pytest.raises(WouldDeadlock):
                    await m.aio.set("k", 2)
                with pytest.raises(WouldDeadlock):
                    await m.aio.pop("k")
                set_it = await parked(m.aio.set("k", "set"))
                pop_it = await parked(m.aio.pop("k"))
                pop_again = await parked(m.aio.pop("k", "gone"))
                pop_last = await parked(m.aio.pop("k"))
                entry.value = 3
            assert await soon(asyncio.gather(set_it, pop_it, pop_again)) == [None, "set", "gone"]
            with pytest.raises(KeyError, match="k"):
                await soon(pop_last)

        run(main(), loop_name)
        assert_at_rest(m, {})

    def test_keys_that_only_python_can_compare(self):
        m = ConcurrentMap({Key("other", 5): 0})
        complete(m.aio.set(Key("k", 5), 1))
        assert complete(m.aio.pop(Key("k", 5))) == 1
        assert_at_rest(m, {Key("other", 5): 0})

    @pytest.mark.parametrize("name", ["set", "pop"])
    def test_cancelled_at_every_step(self, name, loop_name):
        m = entry = None

        def begin():
            nonlocal m, entry
            m = ConcurrentMap({"k": "there"})
            entry = in_thread(m.entry, "k")
            return (m.aio.set("k", "set") if name == "set" else m.aio.pop("k")), entry.release

        def check():
            with contextlib.suppress(RuntimeError):
                entry.release()
            assert_at_rest(m, {"k": "there"})

        async def main():
            assert await cancel_at_every_step(begin, check) == 1

        run(main(), loop_name)

    def test_a_sync_write_that_may_block_waits_for_another_loop(self):
        m = ConcurrentMap()
        with LoopThread() as there:
            entry = there.run(m.aio.entry("k"))
            running = waiting(lambda: m.__setitem__("k", 1))

            async def main():
                with allow_blocking(), pytest.raises(Timeout):
                    m.entry("k", timeout=0.001)

            asyncio.run(main())
            there.call(entry.release)
            running.result()
        assert_at_rest(m, {"k": 1})


def test_leaving_what_was_never_entered_is_refused():
    m = ConcurrentMap()

    async def main():
        for coroutine in (m.aio.entry("k"), m.aio.entries("k")):
            with pytest.raises(RuntimeError, match="not entered"):
                await coroutine.__aexit__(None, None, None)
            coroutine.close()
        failed = m.aio.entries("k", [])
        with pytest.raises(TypeError):
            async with failed:
                pass
        await failed.__aexit__(None, None, None)  # there is nothing to leave
        for coroutine in (m.aio.set("k", 1), m.aio.get_or_compute("k", int)):
            with pytest.raises(TypeError, match="context manager"):
                async with coroutine:
                    pass
            coroutine.close()

    asyncio.run(main())
    assert_at_rest(m, {})
    assert outcome(m.entry("k").release, RuntimeError)() is None
