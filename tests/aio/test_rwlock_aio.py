"""What api.md promises of RWLock's async face: the same lock, its holds and guards, cancellation, loops and threads."""

import asyncio
import contextvars
import copy
import gc
import math
import pickle
import warnings

import pytest

import ferrule.aio
from ferrule import (
    AsyncReadGuard,
    AsyncUpgradableGuard,
    AsyncWriteGuard,
    ReadGuard,
    RWLock,
    Timeout,
    UpgradableGuard,
    WouldDeadlock,
    WriteGuard,
)
from tests.support.driver import LoopThread, Stepper, complete, run, turns
from tests.support.race import HANG, eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, TAKE_ASYNC, kinds, state
from tests.support.waits import LONG

GUARDS = {
    "read": AsyncReadGuard,
    "read_recursive": AsyncReadGuard,
    "upgradable": AsyncUpgradableGuard,
    "write": AsyncWriteGuard,
}
TRY_ASYNC = {
    "read": lambda lock: lock.aio.try_read(),
    "read_recursive": lambda lock: lock.aio.try_read_recursive(),
    "upgradable": lambda lock: lock.aio.try_upgradable_read(),
    "write": lambda lock: lock.aio.try_write(),
}
# who waits behind what, with one hold that keeps both out
KEPT_OUT = [("write", way) for way in TAKE] + [("read", "write"), ("upgradable", "upgradable"), ("upgradable", "write")]

each_way = pytest.mark.parametrize("way", TAKE_ASYNC)
each_kept_out = pytest.mark.parametrize(("held", "way"), KEPT_OUT)


def in_other_context(function, *args):
    """Called as another task would: in a context of its own."""
    return contextvars.copy_context().run(function, *args)


class TestFaces:
    def test_are_one_object(self):
        lock = RWLock(1)
        face = lock.aio
        assert isinstance(face, ferrule.aio.RWLock)
        assert face.sync is lock
        assert lock.aio == face
        assert len({lock.aio, lock.aio}) == 1
        assert lock.aio != RWLock(1).aio
        assert face != lock

    def test_a_new_one_is_made_with_its_value(self):
        face = ferrule.aio.RWLock("value")
        assert type(face) is ferrule.aio.RWLock
        assert type(face.sync) is RWLock
        with face.sync.read() as guard:
            assert guard.value == "value"
        for args, named in [((1, 2), {}), ((), {"value": 1})]:
            with pytest.raises(TypeError):
                ferrule.aio.RWLock(*args, **named)

    @each_way
    def test_both_see_one_hold(self, way):
        lock = RWLock()
        guard = complete(TAKE_ASYNC[way](lock))
        assert type(guard) is GUARDS[way]
        assert lock._state() == FREE | KINDS[way]
        assert lock.locked() is lock.aio.locked() is True
        assert lock.locked_exclusive() is lock.aio.locked_exclusive() is (way == "write")
        assert lock.readers == lock.aio.readers == KINDS[way].get("readers", 0)
        assert lock.try_write() is None
        guard.release()
        assert lock._state() == FREE

    @each_way
    def test_try_is_a_plain_method_and_gives_an_async_guard(self, way):
        lock = RWLock(1)
        guard = TRY_ASYNC[way](lock)
        assert type(guard) is GUARDS[way]
        assert guard.value == 1
        guard.release()
        with lock.write():
            assert TRY_ASYNC[way](lock) is None
        assert lock._state() == FREE

    def test_what_a_guard_gives_is_of_its_face(self):
        lock = RWLock()
        for upgradable, kind_of_writer, kind_of_reader in [
            (lock.upgradable_read, WriteGuard, ReadGuard),
            (lock.aio.try_upgradable_read, AsyncWriteGuard, AsyncReadGuard),
        ]:
            writer = upgradable().try_upgrade()
            assert type(writer) is kind_of_writer
            second = writer.downgrade_to_upgradable()
            assert type(second) in (UpgradableGuard, AsyncUpgradableGuard)
            reader = second.downgrade()
            assert type(reader) is kind_of_reader
            reader.release()
        assert lock._state() == FREE

    def test_is_generic_at_run_time_and_final(self):
        assert ferrule.aio.RWLock[int].__origin__ is ferrule.aio.RWLock
        assert type(ferrule.aio.RWLock[int](3)) is ferrule.aio.RWLock
        for final in (ferrule.aio.RWLock, *GUARDS.values()):
            assert final[int].__origin__ is final
            with pytest.raises(TypeError):
                type("Sub", (final,), {})

    @pytest.mark.parametrize("refused", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_copying_and_pickling_are_refused(self, refused):
        lock = RWLock()
        with pytest.raises(TypeError):
            refused(lock.aio)
        for way in TRY_ASYNC:
            guard = TRY_ASYNC[way](lock)
            with pytest.raises(TypeError):
                refused(guard)
            guard.release()

    def test_repr_shows_the_state(self):
        face = RWLock().aio
        free = repr(face)
        guard = face.try_write()
        assert "ferrule.aio.RWLock" in free
        assert free != repr(face)
        assert "AsyncWriteGuard" in repr(guard)
        guard.release()

    def test_guards_and_faces_are_no_sync_context_managers(self):
        lock = RWLock()
        for thing in (lock.aio, *GUARDS.values()):
            assert not hasattr(thing, "__enter__")


class TestTaking:
    @each_way
    @pytest.mark.parametrize("timeout", [None, math.inf, 20, 5.0, True, 1e-9, 0, False])
    def test_a_free_lock_is_had_at_the_first_step_whatever_the_timeout(self, way, timeout):
        lock = RWLock()
        complete(TAKE_ASYNC[way](lock, timeout=timeout)).release()
        assert lock._state() == FREE

    @each_way
    @pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError)])
    def test_a_bad_timeout_is_refused_by_the_call(self, way, timeout, error):
        lock = RWLock()
        with pytest.raises(error):
            TAKE_ASYNC[way](lock, timeout=timeout)
        assert lock._state() == FREE

    @each_way
    def test_nothing_is_done_before_the_first_step(self, way):
        lock = RWLock()
        coroutine = TAKE_ASYNC[way](lock)
        assert lock._state() == FREE
        coroutine.close()
        assert lock._state() == FREE
        with pytest.warns(RuntimeWarning, match="never awaited"):
            TAKE_ASYNC[way](lock)
        assert lock._state() == FREE

    @each_way
    def test_async_with_on_what_the_call_gives(self, way, loop_name):
        lock = RWLock(1)

        async def main():
            async with TAKE_ASYNC[way](lock) as guard:
                assert type(guard) is GUARDS[way]
                assert guard.value == 1
                assert lock._state() == FREE | KINDS[way]
            assert lock._state() == FREE
            with pytest.raises(KeyError):
                async with TAKE_ASYNC[way](lock):
                    raise KeyError
            assert lock._state() == FREE
            async with TAKE_ASYNC[way](lock) as guard:
                guard.release()
                other = await lock.aio.read()
            assert lock._state() == state(readers=1)
            other.release()

        run(main(), loop_name)

    @each_kept_out
    def test_waits_until_the_holder_has_left(self, held, way, loop_name):
        lock = RWLock()

        async def main():
            holder = in_other_context(complete, TAKE_ASYNC[held](lock))
            task = asyncio.create_task(TAKE_ASYNC[way](lock))
            await turns()
            assert kinds(lock) == ["task"]
            assert not task.done()
            holder.release()
            (await task).release()
            assert lock._state() == FREE

        run(main(), loop_name)

    @each_kept_out
    @pytest.mark.parametrize("timeout", [0, 1e-3])
    def test_times_out_and_leaves_nothing(self, held, way, timeout, loop_name):
        lock = RWLock()

        async def main():
            holder = in_other_context(complete, TAKE_ASYNC[held](lock))
            before = lock._state()
            with pytest.raises(Timeout, match="RWLock"):
                await TAKE_ASYNC[way](lock, timeout=timeout)
            assert lock._state() == before
            holder.release()
            assert lock._state() == FREE

        run(main(), loop_name)

    def test_tasks_and_threads_wait_in_one_queue(self, loop_name):
        lock = RWLock()
        order = []

        def in_thread():
            with lock.write() as guard:
                order.append("thread")
                guard.release(fair=True)

        async def in_task(name):
            async with lock.aio.write() as guard:
                order.append(name)
                guard.release(fair=True)

        async def main():
            first = lock.aio.try_read()
            tasks = [asyncio.create_task(in_task("first task"))]
            await turns()
            thread = spawn(in_thread)
            eventually(lambda: len(kinds(lock)) == 2)
            tasks.append(asyncio.create_task(in_task("second task")))
            await turns()
            assert kinds(lock) == ["task", "thread", "task"]
            first.release(fair=True)
            await asyncio.wait_for(asyncio.gather(*tasks), HANG)
            thread.result()
            assert order == ["first task", "thread", "second task"]
            assert lock._state() == FREE

        run(main(), loop_name)

    def test_too_many_readers_is_an_error_and_changes_nothing(self, loop_name):
        async def main():
            lock = RWLock("value")
            lock._add_readers(2**28)
            before = lock._state()
            for way in ("read", "read_recursive"):
                with pytest.raises(OverflowError):
                    await TAKE_ASYNC[way](lock)
            for attempt in (lock.aio.try_read, lock.aio.try_read_recursive):
                with pytest.raises(OverflowError):
                    attempt()
            assert lock._state() == before
            async with lock.aio.upgradable_read() as guard:
                with pytest.raises(OverflowError):
                    guard.downgrade()
                assert guard.value == "value"
                with pytest.raises(Timeout):
                    await guard.upgrade(timeout=1e-3)
            assert lock._state() == before
            lock._add_readers(-(2**28))
            (await lock.aio.write()).release()
            assert lock._state() == FREE

        run(main(), loop_name)

    def test_a_hundred_tasks_read_at_once(self, loop_name):
        lock = RWLock()
        inside = 0

        async def read(everybody):
            nonlocal inside
            async with lock.aio.read():
                inside += 1
                if inside == 100:
                    everybody.set()
                await everybody.wait()

        async def main():
            everybody = asyncio.Event()
            writer = await lock.aio.write()
            tasks = [asyncio.create_task(read(everybody)) for _ in range(100)]
            await turns()
            assert len(kinds(lock)) == 100
            writer.release()
            await asyncio.wait_for(asyncio.gather(*tasks), HANG)
            assert lock._state() == FREE

        run(main(), loop_name)


class TestCancellation:
    @each_kept_out
    @pytest.mark.parametrize("behind", TAKE)
    def test_a_cancelled_waiter_lets_who_is_behind_it_go(self, held, way, behind, loop_name):
        """The holder leaves in the same tick, or before, or after: who waits behind gets in in any case."""

        async def main():
            for moment in range(4):
                lock = RWLock()
                holder = in_other_context(complete, TAKE_ASYNC[held](lock))
                task = asyncio.create_task(TAKE_ASYNC[way](lock))
                await turns()
                second = asyncio.create_task(TAKE_ASYNC[behind](lock))
                await turns()
                if moment in (0, 1):
                    holder.release()
                if moment == 1:
                    await asyncio.sleep(0)
                if not task.cancel():
                    (await task).release()
                if moment == 2:
                    holder.release()
                if moment == 3:
                    await turns()
                    holder.release()
                (await asyncio.wait_for(second, HANG)).release()
                await asyncio.wait([task], timeout=HANG)
                assert task.done()
                assert lock._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("how", ["cancel", "time out", "close"])
    @pytest.mark.parametrize("behind", ["read", "upgradable"])
    def test_a_writer_that_gives_up_lets_the_readers_behind_it_go_at_once(self, how, behind, loop_name):
        lock = RWLock()
        if how == "time out":
            probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

        async def main():
            reader = await lock.aio.read()
            stepper = Stepper(lock.aio.write(timeout=LONG if how == "time out" else None))
            stepper.step()
            task = asyncio.create_task(taken_and_left(lock, behind))
            await turns()
            thread = spawn(lambda: TAKE[behind](lock).release())
            eventually(lambda: len(kinds(lock)) == 3)
            match how:
                case "cancel":
                    stepper.cancel()
                    stepper.step()
                case "time out":
                    probe.pass_deadline(stepper.coroutine)
                    stepper.step()
                    with pytest.raises(Timeout):
                        stepper.result()
                case "close":
                    stepper.close()
            await asyncio.wait_for(task, HANG)
            while thread.alive:
                await asyncio.sleep(0.001)
            assert lock._state() == state(readers=1)
            reader.release()
            assert lock._state() == FREE

        run(main(), loop_name)


async def taken_and_left(lock, way):
    async with TAKE_ASYNC[way](lock):
        pass


class TestGuards:
    @each_way
    def test_a_hold_is_released_in_another_thread_or_loop(self, way, loop_name):
        lock = RWLock()
        with LoopThread(loop_name) as there:
            spawn(there.run(TAKE_ASYNC[way](lock)).release).result()
            assert lock._state() == FREE
            there.call(complete(TAKE_ASYNC[way](lock)).release)
            assert lock._state() == FREE

    def test_a_converted_hold_ends_with_the_block_it_began_with(self, loop_name):
        lock = RWLock()

        async def main():
            async with lock.aio.write() as guard:
                assert lock._state() == state(writer=True)
                guard.downgrade()
                gc.collect()
                assert lock._state() == state(readers=1)
            assert lock._state() == FREE
            async with lock.aio.upgradable_read() as guard:
                await guard.upgrade()
                assert lock._state() == state(writer=True)
            assert lock._state() == FREE
            async with lock.aio.upgradable_read() as guard:
                async with guard.upgrade() as writer:
                    assert type(writer) is AsyncWriteGuard
                assert lock._state() == FREE

        run(main(), loop_name)

    def test_upgrade_waits_for_readers_and_no_writer_gets_between(self, loop_name):
        lock = RWLock(0)

        async def write():
            async with lock.aio.write() as guard:
                guard.value += 1

        async def main():
            reader = await lock.aio.read()
            guard = await lock.aio.upgradable_read()
            task = asyncio.create_task(write())
            await turns()
            upgrade = asyncio.create_task(guard.upgrade())
            await turns()
            assert len(kinds(lock)) == 2
            assert lock.aio.try_read() is None
            reader.release()
            writer = await upgrade
            assert writer.value == 0
            writer.value = 10
            with pytest.raises(RuntimeError):
                guard.release()
            writer.release()
            await task
            assert lock._state() == FREE

        run(main(), loop_name)
        with lock.read() as guard:
            assert guard.value == 11

    def test_a_timed_out_upgrade_leaves_the_upgradable_hold(self, loop_name):
        lock = RWLock(0)

        async def main():
            reader = await lock.aio.read()
            async with lock.aio.upgradable_read() as guard:
                for timeout in (0, 1e-3):
                    with pytest.raises(Timeout):
                        await guard.upgrade(timeout=timeout)
                assert guard.value == 0
                assert lock._state() == state(readers=1, upgradable=True)
                reader.release()
                (await guard.upgrade(timeout=0)).value = 1
            assert lock._state() == FREE

        run(main(), loop_name)

    def test_upgraded_gives_a_writer_and_the_guard_back(self, loop_name):
        lock = RWLock(0)

        async def main():
            async with lock.aio.upgradable_read() as guard:
                for count in range(1, 4):
                    async with guard.upgraded() as writer:
                        assert type(writer) is AsyncWriteGuard
                        writer.value = count
                    assert lock._state() == state(upgradable=True)
                    assert guard.value == count
                    with pytest.raises(RuntimeError):
                        writer.release()
                block = guard.upgraded()
                with pytest.raises(RuntimeError):
                    await block.__aexit__(None, None, None)
            assert lock._state() == FREE

        run(main(), loop_name)

    @each_way
    def test_unlocked_is_free_within_and_held_after(self, way, loop_name):
        lock = RWLock(0)

        async def write():
            async with lock.aio.write() as guard:
                guard.value += 1

        async def main():
            async with TAKE_ASYNC[way](lock) as guard:
                async with guard.unlocked() as entered:
                    assert entered is None
                    assert lock._state() == FREE
                    await asyncio.create_task(write())
                    with pytest.raises(RuntimeError):
                        _ = guard.value
                assert lock._state() == FREE | KINDS[way]
                assert guard.value == 1
                with pytest.raises(KeyError):
                    async with guard.unlocked():
                        raise KeyError
                assert guard.value == 1
            assert lock._state() == FREE

        run(main(), loop_name)

    @each_way
    def test_dropped_it_releases_and_warns(self, way, loop_name):
        lock = RWLock()

        async def main():
            with pytest.warns(ResourceWarning, match="guard"):
                await TAKE_ASYNC[way](lock)
            assert lock._state() == FREE

        run(main(), loop_name)

    def test_one_that_was_not_awaited_warns_and_does_nothing(self):
        lock = RWLock()
        guard = lock.aio.try_upgradable_read()
        with pytest.warns(RuntimeWarning, match=r"upgrade.*never awaited"):
            guard.upgrade()
        assert lock._state() == state(upgradable=True)
        guard.release()


class TestOwners:
    @pytest.mark.parametrize("held", ["write", "upgradable"])
    @pytest.mark.parametrize("way", ["upgradable", "write"])
    def test_a_task_that_would_wait_for_itself_is_told_at_once(self, held, way, loop_name):
        lock = RWLock()

        async def main():
            async with TAKE_ASYNC[held](lock):
                before = lock._state()
                for timeout in (None, 1):
                    with pytest.raises(WouldDeadlock, match="this task"):
                        await TAKE_ASYNC[way](lock, timeout=timeout)
                with pytest.raises(Timeout):
                    await TAKE_ASYNC[way](lock, timeout=0)
                assert TRY_ASYNC[way](lock) is None
                assert lock._state() == before

        run(main(), loop_name)
        assert lock._state() == FREE

    @pytest.mark.parametrize("held", ["write", "upgradable"])
    def test_another_task_of_the_loop_waits(self, held, loop_name):
        lock = RWLock()

        async def main():
            guard = await TAKE_ASYNC[held](lock)
            task = asyncio.create_task(lock.aio.write())
            await turns()
            assert kinds(lock) == ["task"]
            guard.release()
            (await task).release()

        run(main(), loop_name)
        assert lock._state() == FREE

    @pytest.mark.parametrize("held", ["write", "upgradable"])
    @pytest.mark.parametrize("way", ["upgradable", "write"])
    def test_a_sync_wait_in_the_loops_thread_for_a_task_of_that_loop(self, held, way, loop_name):
        lock = RWLock()

        async def main():
            async with TAKE_ASYNC[held](lock):
                with pytest.raises(WouldDeadlock, match="task of its event loop"):
                    TAKE[way](lock)

                async def other():
                    with pytest.raises(WouldDeadlock):
                        TAKE[way](lock, timeout=5)

                await asyncio.create_task(other())

        run(main(), loop_name)
        assert lock._state() == FREE

    @pytest.mark.parametrize("way", ["write", "read", "upgradable"])
    def test_a_sync_wait_in_the_loops_thread_for_a_task_that_was_handed_it_and_has_not_run(self, way, loop_name):
        """A read hold has no owner; but the task cannot run, so the thread is told instead of waiting for ever."""
        lock = RWLock()

        async def main():
            other = spawn(lock.write).result()
            reader = asyncio.create_task(lock.aio.read())
            await turns()
            assert kinds(lock) == ["task"]
            writer = spawn(lambda: lock.write(timeout=HANG).release())
            eventually(lambda: len(kinds(lock)) == 2)
            spawn(lambda: other.release(fair=True)).result()
            assert lock.readers == 1
            with pytest.raises(WouldDeadlock, match="task of its event loop"):
                TAKE[way](lock)
            assert lock._state() == state(readers=1, parked=True, waiters=[("thread", "parked")])
            (await reader).release()
            while writer.alive:
                await asyncio.sleep(0.001)
            writer.result()

        run(main(), loop_name)
        assert lock._state() == FREE

    def test_a_sync_reader_in_the_loops_thread_goes_ahead_of_a_writer_of_that_loop(self, loop_name):
        """That writer cannot go on while the thread sleeps, and others that read are inside: it gets in at once."""
        lock = RWLock()

        async def main():
            reader = spawn(lock.read).result()
            task = asyncio.create_task(lock.aio.write())
            await turns()
            assert kinds(lock) == ["task"]
            mine = lock.read(timeout=HANG)
            assert lock._state() == state(readers=2, parked=True, waiters=[("task", "parked")])
            mine.release()
            reader.release()
            (await task).release()

        run(main(), loop_name)
        assert lock._state() == FREE

    def test_a_sync_writer_in_the_loops_thread_goes_ahead_of_tasks_of_that_loop(self, loop_name):
        lock = RWLock()

        async def main():
            other = spawn(lock.read).result()
            tasks = []
            for take in (lock.aio.write, lock.aio.read):
                tasks.append(asyncio.create_task(take()))
                await turns()

            def leave():
                eventually(lambda: len(kinds(lock)) == 3)
                assert kinds(lock) == ["thread", "task", "task"]
                other.release()

            thread = spawn(leave)
            lock.write(timeout=HANG).release()
            thread.result()
            for task in tasks:
                (await task).release()

        run(main(), loop_name)
        assert lock._state() == FREE


class TestLoops:
    @pytest.mark.parametrize("behind", ["read", "write"])
    def test_closed_with_a_parked_writer_the_next_one_gets_it(self, behind, loop_name):
        lock = RWLock()
        reader = lock.read()

        async def park():
            task = asyncio.create_task(lock.aio.write())
            await turns()
            return task

        def closes():
            loop = asyncio.SelectorEventLoop()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                task = loop.run_until_complete(park())
            loop.close()
            return task

        kept = closes()
        assert kinds(lock) == ["task"]
        thread = spawn(lambda: TAKE[behind](lock, timeout=HANG).release())
        eventually(lambda: len(kinds(lock)) == 2)
        reader.release()
        thread.result()
        assert lock._state() == FREE
        kept._log_destroy_pending = False
        del kept
        gc.collect()
        assert lock._state() == FREE

    def test_two_loops_and_a_thread_share_it(self, loop_name):
        lock = RWLock(0)

        async def work():
            for _ in range(100):
                async with lock.aio.write() as guard:
                    before = guard.value
                    await asyncio.sleep(0)
                    guard.value = before + 1

        with LoopThread(loop_name) as one, LoopThread("asyncio") as other:
            futures = [there.spawn(work()) for there in (one, other)]
            for _ in range(100):
                with lock.write() as guard:
                    guard.value += 1
            for future in futures:
                future.result(HANG)
        with lock.read() as guard:
            assert guard.value == 300
