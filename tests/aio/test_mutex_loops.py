"""Threads and tasks of several loops in the one queue of a Mutex; what closes or stops is in test_locks_loops.py."""

import asyncio

import pytest

from ferrule import AsyncMutexGuard, Mutex, WouldDeadlock
from tests.support.driver import LoopThread, Stepper, run, turns
from tests.support.locks import WAYS, loop_with_parked_tasks
from tests.support.loops import LOOPS
from tests.support.mutexes import FREE, kinds
from tests.support.race import HANG, eventually, spawn


def assert_still_works(mutex):
    assert mutex._state() == FREE
    mutex.lock(timeout=HANG).release()
    spawn(lambda: mutex.lock(timeout=HANG).release()).result()
    assert mutex._state() == FREE


class TestOneQueue:
    """Threads and tasks of several loops wait in one line."""

    @pytest.mark.parametrize("second_loop", LOOPS)
    def test_a_fair_mutex_serves_threads_and_tasks_of_two_loops_in_order(self, loop_name, second_loop):
        mutex = Mutex([], fair=True)
        mutex.acquire()

        def thread(name):
            with mutex.lock(timeout=HANG) as guard:
                guard.value.append(name)

        async def task(name):
            async with mutex.aio.lock(timeout=HANG) as guard:
                guard.value.append(name)

        with LoopThread(loop_name) as one, LoopThread(second_loop) as other:
            running = []
            for number in range(12):
                if number % 3 == 0:
                    running.append(spawn(thread, number))
                else:
                    running.append((one if number % 3 == 1 else other).spawn(task(number)))
                eventually(lambda: len(mutex._state()["waiters"]) == number + 1)  # noqa: B023 (called at once)
            assert kinds(mutex) == ["thread", "task", "task"] * 4
            mutex.release()
            for one_of_them in running:
                one_of_them.result(HANG)
        with mutex as guard:
            assert guard.value == list(range(12))
        assert_still_works(mutex)

    def test_a_fair_release_hands_it_to_the_first_in_line(self, loop_name):
        async def main():
            mutex = Mutex()
            guard = mutex.lock()
            tasks = [asyncio.create_task(mutex.aio.lock()) for _ in range(2)]
            await turns()
            guard.release(fair=True)
            assert mutex.try_lock() is None, "handed on, never free in between"
            first = await tasks[0]
            first.release(fair=True)
            assert mutex.try_lock() is None
            (await tasks[1]).release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_wait_of_a_loops_thread_gets_ahead_of_its_own_tasks(self, fair, loop_name):
        """While the thread is blocked its tasks cannot run: served in line, they would all wait for ever."""
        mutex = Mutex([], fair=fair)
        mutex.acquire()

        async def task(name):
            async with mutex.aio as guard:
                guard.value.append(name)

        async def main():
            tasks = [asyncio.create_task(task(number)) for number in range(3)]
            await turns()
            with mutex.lock(timeout=HANG) as guard:
                guard.value.append("thread")
            await asyncio.gather(*tasks)

        with LoopThread(loop_name) as there:
            running = there.spawn(main())
            eventually(lambda: sorted(kinds(mutex)) == ["task", "task", "task", "thread"])
            mutex.release()
            running.result(HANG)
        with mutex as guard:
            assert guard.value[0] == "thread"
            assert sorted(guard.value[1:]) == [0, 1, 2]
        assert_still_works(mutex)

    def test_a_wait_of_a_loops_thread_gets_ahead_of_tasks_that_another_thread_parked(self, fair, loop_name):
        """The loop has moved: whose tasks they are is told by the loop, not by the thread in which they parked."""
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, WAYS["Mutex.lock"], mutex, 2)

        async def main():
            mutex.lock(timeout=HANG).release()
            for task in tasks:
                (await task).release()

        running = spawn(loop.run_until_complete, main())
        eventually(lambda: len(kinds(mutex)) == 3)
        mutex.release()
        running.result()
        loop.close()
        assert_still_works(mutex)

    def test_a_wait_of_a_loops_thread_meets_a_turn_already_given_to_its_task(self, fair, loop_name):
        """A task was claimed and has not run when its thread locks too: that wait ends, by the lock or by an error."""
        mutex = Mutex(fair=fair)

        async def main():
            mutex.acquire()
            stepper = Stepper(mutex.aio.lock())
            stepper.step()
            spawn(mutex.release).result()
            try:
                guard = mutex.lock(timeout=HANG)
            except WouldDeadlock:
                pass
            else:
                guard.release()
            assert type(await stepper.finish()) is AsyncMutexGuard
            stepper.result().release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_thread_and_the_tasks_of_a_loop_pass_it_back_and_forth(self, fair, loop_name):
        mutex = Mutex(0, fair=fair)
        rounds = 300

        def thread():
            for _ in range(rounds):
                with mutex.lock(timeout=HANG) as guard:
                    guard.value += 1

        async def task():
            for _ in range(rounds):
                async with mutex.aio.lock(timeout=HANG) as guard:
                    value = guard.value
                    await asyncio.sleep(0)
                    guard.value = value + 1

        with LoopThread(loop_name) as there:
            running = [spawn(thread), there.spawn(task()), spawn(thread), there.spawn(task())]
            for one in running:
                one.result(HANG)
        with mutex as guard:
            assert guard.value == 4 * rounds
        assert_still_works(mutex)

    def test_a_guard_goes_from_loop_to_thread_to_loop(self, loop_name):
        mutex = Mutex("kept")
        with LoopThread(loop_name) as one, LoopThread(loop_name) as other:
            guard = one.run(mutex.aio.lock())
            assert spawn(lambda: guard.value).result() == "kept"
            future = one.spawn(mutex.aio.lock())
            eventually(lambda: kinds(mutex) == ["task"])
            other.call(guard.release)
            future.result(HANG).release()
        assert_still_works(mutex)

    def test_state_names_the_kind_and_the_claim_of_each_waiter(self, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            waiting = spawn(lambda: mutex.acquire(timeout=HANG))
            await asyncio.to_thread(eventually, lambda: kinds(mutex) == ["thread"])
            task = asyncio.create_task(mutex.aio.acquire())
            await turns()
            state = mutex._state()
            assert state["locked"]
            assert state["parked"]
            assert kinds(mutex) == ["thread", "task"]
            assert all(type(claim) is str for _, claim in state["waiters"])
            mutex.release()
            while waiting.alive:
                await asyncio.sleep(0.0005)
            mutex.release()
            assert await task is True
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)
