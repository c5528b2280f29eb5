"""A task that waits for a Mutex is cancelled, at every step and from every side: its turn goes to the next waiter."""

import asyncio
import itertools

import pytest

from ferrule import Mutex, Timeout
from tests.support.driver import (
    Followed,
    LoopThread,
    Moment,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    run,
    turns,
)
from tests.support.mutexes import FREE, TAKE, TAKEN
from tests.support.race import HANG, eventually, spawn

TAKE_SOMEHOW = TAKE | {"lock-timed": lambda face: face.lock(timeout=HANG)}


@pytest.fixture(params=TAKE_SOMEHOW)
def take(request):
    return TAKE_SOMEHOW[request.param]


class Stage:
    """A taken mutex, a coroutine that waits for it, and behind that one another waiter, who must get it."""

    def __init__(self, take, fair, successor):
        self.mutex = Mutex(fair=fair)
        self.mutex.acquire()
        self.end_of_successor = None
        self.coroutine = Followed(take(self.mutex.aio), lambda: self.follow(successor))

    def follow(self, successor):
        before = len(self.mutex._state()["waiters"])
        self.end_of_successor = successor(self.mutex)
        eventually(lambda: len(self.mutex._state()["waiters"]) == before + 1)

    async def check(self):
        if self.end_of_successor is None:
            assert self.mutex._state() == TAKEN, "cancelled before its first step, it did nothing"
            return
        await self.successor_gets_it()

    async def successor_gets_it(self):
        await self.end_of_successor()
        assert self.mutex._state() == TAKEN
        self.mutex.release()
        assert self.mutex._state() == FREE


def thread_successor(there):
    def wait(mutex):
        waiting = spawn(lambda: mutex.acquire(timeout=HANG))

        async def end():
            while waiting.alive:
                await asyncio.sleep(0.0005)
            assert waiting.result() is True

        return end

    return wait


def own_loop_successor(there):
    def wait(mutex):
        stepper = Stepper(mutex.aio.acquire(timeout=HANG))
        stepper.step()
        return stepper.finish

    return wait


def other_loop_successor(there):
    def wait(mutex):
        future = there.spawn(mutex.aio.acquire(timeout=HANG))

        async def end():
            assert await asyncio.wrap_future(future) is True

        return end

    return wait


@pytest.mark.parametrize("successor", [thread_successor, own_loop_successor, other_loop_successor])
def test_a_cancelled_waiter_passes_its_turn_on_at_every_step(take, fair, successor, loop_name):
    async def main(there):
        stage = None

        def begin():
            nonlocal stage
            stage = Stage(take, fair, successor(there))
            return stage.coroutine, stage.mutex.release

        assert await cancel_at_every_step(begin, lambda: stage.check()) == 1
        assert stage.coroutine.taken
        stage.mutex.release()
        await stage.successor_gets_it()

    with LoopThread(loop_name) as there:
        run(main(there), loop_name)


def test_a_cancelled_waiter_with_nobody_behind_leaves_it_free(take, fair, loop_name):
    async def main():
        mutex = coroutine = None
        released = False

        def begin():
            nonlocal mutex, coroutine, released
            mutex, released = Mutex(fair=fair), False
            mutex.acquire()
            coroutine = Followed(take(mutex.aio))
            return coroutine, release

        def release():
            nonlocal released
            mutex.release()
            released = True

        def check():
            assert mutex._state() == (FREE if released else TAKEN)

        assert await cancel_at_every_step(begin, check) == 1
        assert coroutine.taken
        mutex.release()

    run(main(), loop_name)


@pytest.mark.parametrize("moment", Moment)
def test_it_is_free_after_the_holder_and_every_waiter_are_cancelled(moment, take, fair, loop_name):
    async def main():
        mutex = Mutex(fair=fair)
        mutex.acquire()
        steppers = [Stepper(take(mutex.aio)) for _ in range(5)]
        for stepper in steppers:
            stepper.step()
        if moment in (Moment.DELIVERED, Moment.POSTED):
            spawn(mutex.release).result()
        if moment is Moment.DELIVERED:
            await steppers[0].woken()
        for stepper in steppers:
            stepper.cancel()
        if moment is Moment.TIE:
            mutex.release()
        for stepper in steppers:
            await stepper.woken()
            stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
        if moment is Moment.BEFORE:
            mutex.release()
        await turns()
        assert mutex._state() == FREE

    run(main(), loop_name)


def test_the_chain_of_cancelled_waiters_ends_at_the_first_that_lives(take, fair, loop_name):
    """Each in turn is claimed, cancelled before it runs, and hands its turn to the next."""

    async def main():
        mutex = Mutex(fair=fair)
        mutex.acquire()
        steppers = [Stepper(take(mutex.aio)) for _ in range(20)]
        for stepper in steppers:
            stepper.step()
        mutex.release()
        for stepper in steppers[:-1]:
            await stepper.woken()
            stepper.cancel()
            stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
        assert await steppers[-1].finish()
        assert mutex._state() == TAKEN
        mutex.release()
        assert mutex._state() == FREE

    run(main(), loop_name)


@pytest.mark.parametrize("end", ["throw", "close"])
@pytest.mark.parametrize("claimed", [False, True])
def test_thrown_into_or_closed_a_waiter_passes_its_turn_on(end, claimed, take, fair, loop_name):
    async def main():
        mutex = Mutex(fair=fair)
        mutex.acquire()
        first, second = (Stepper(take(mutex.aio)) for _ in range(2))
        first.step()
        second.step()
        if claimed:
            mutex.release()
            await first.woken()
        if end == "close":
            first.close()
        else:
            assert first.throw(KeyError("mine"))
            with pytest.raises(KeyError, match="mine"):
                first.result()
        if not claimed:
            mutex.release()
        await second.finish()
        assert mutex._state() == TAKEN
        mutex.release()
        assert mutex._state() == FREE

    run(main(), loop_name)


class TestRealTasks:
    """Tasks on their loop, cancelled after every number of its turns."""

    def test_async_with_behind_a_holder(self, fair, loop_name):
        async def main():
            mutex = Mutex(0, fair=fair)
            counted = 0

            async def work():
                nonlocal counted
                holder = asyncio.create_task(hold())
                try:
                    async with mutex.aio as guard:
                        value = guard.value
                        await asyncio.sleep(0)
                        guard.value = value + 1
                        counted += 1
                finally:
                    await holder

            async def hold():
                async with mutex.aio as guard:
                    await asyncio.sleep(0)
                    assert guard.value == counted

            def check():
                assert mutex._state() == FREE
                with mutex as guard:
                    assert guard.value == counted

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)

    @pytest.mark.parametrize("queue", [1, 3])
    def test_a_waiter_among_waiters(self, queue, take, fair, loop_name):
        async def main():
            mutex = Mutex(fair=fair)
            others = []

            async def hold_a_turn():
                async with mutex.aio:
                    await asyncio.sleep(0)

            async def work():
                others[:] = [asyncio.create_task(hold_a_turn()) for _ in range(queue)]
                await asyncio.sleep(0)
                taken = await take(mutex.aio)
                try:
                    others.extend(asyncio.create_task(hold_a_turn()) for _ in range(queue))
                    await asyncio.sleep(0)
                    assert taken
                finally:
                    mutex.release()

            async def check():
                await asyncio.wait_for(asyncio.gather(*others), HANG)
                assert mutex._state() == FREE

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)

    def test_unlocked(self, fair, loop_name):
        """Cancelled anywhere in `async with guard.unlocked()`, the task holds the lock when the exception leaves it."""

        async def main():
            mutex = Mutex(fair=fair)

            async def hold_a_turn():
                async with mutex.aio:
                    await turns(2)

            async def work():
                async with mutex.aio as guard:
                    other = asyncio.create_task(hold_a_turn())
                    try:
                        async with guard.unlocked():
                            await asyncio.sleep(0)
                    finally:
                        assert mutex.locked()
                        assert guard.value is None
                        guard.release()
                        await other

            def check():
                assert mutex._state() == FREE

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)


class TestWays:
    """The ways by which asyncio cancels."""

    @pytest.mark.parametrize("delay", [0, 0.001])
    def test_wait_for(self, delay, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(take(mutex.aio), delay)
            assert mutex._state() == TAKEN
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_wait_for_with_no_time_takes_a_free_lock_or_nothing(self, loop_name):
        async def main():
            mutex = Mutex()
            try:
                guard = await asyncio.wait_for(mutex.aio.lock(), 0)
            except TimeoutError:
                assert mutex._state() == FREE
            else:
                guard.release()
                assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("delay", [0, -1, 0.001])
    def test_timeout(self, delay, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            with pytest.raises(TimeoutError) as raised:
                async with asyncio.timeout(delay):
                    await take(mutex.aio)
            assert not isinstance(raised.value, Timeout)
            assert mutex._state() == TAKEN
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_task_group_abort(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()

            async def fail():
                await asyncio.sleep(0.001)
                raise KeyError("mine")

            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(take(mutex.aio))
                    group.create_task(fail())
            assert raised.group_contains(KeyError)
            assert mutex._state() == TAKEN
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_holder_cancelled_within_async_with_releases(self, loop_name):
        async def main():
            mutex = Mutex()

            async def hold():
                async with mutex.aio:
                    await asyncio.sleep(HANG)

            holder = asyncio.create_task(hold())
            await turns()
            waiter = asyncio.create_task(mutex.aio.lock())
            await turns()
            holder.cancel()
            guard = await waiter
            with pytest.raises(asyncio.CancelledError):
                await holder
            guard.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_shielded_wait_goes_on(self, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            inner = asyncio.ensure_future(mutex.aio.lock())
            outer = asyncio.ensure_future(asyncio.shield(inner))
            await turns()
            outer.cancel()
            await turns()
            assert outer.cancelled()
            assert len(mutex._state()["waiters"]) == 1
            mutex.release()
            (await inner).release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_swallowed_cancellation_while_waiting_has_left_the_queue(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()

            async def stubborn():
                try:
                    await take(mutex.aio)
                except asyncio.CancelledError:
                    return mutex._state()

            task = asyncio.create_task(stubborn())
            await turns()
            task.cancel()
            assert await task == TAKEN
            mutex.release()

        run(main(), loop_name)

    def test_cancelled_twice(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            task = asyncio.create_task(take(mutex.aio))
            await turns()
            task.cancel()
            task.cancel()
            mutex.release()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_cancelled_by_another_threads_future(self, take, loop_name):
        mutex = Mutex()
        mutex.acquire()
        with LoopThread(loop_name) as there:
            for _ in range(20):
                future = there.spawn(take(mutex.aio))
                eventually(lambda: len(mutex._state()["waiters"]) == 1)
                future.cancel()
                eventually(lambda: not mutex._state()["waiters"])
        mutex.release()
        assert mutex._state() == FREE


class TestTimeouts:
    """Timing out is giving up too: it meets the claim as a cancellation does."""

    def test_the_next_waiter_gets_in_behind_one_that_timed_out(self, take, fair, loop_name):
        async def main():
            mutex = Mutex(fair=fair)
            mutex.acquire()
            impatient = asyncio.create_task(mutex.aio.lock(timeout=0.001))
            await turns()
            patient = asyncio.create_task(take(mutex.aio))
            await turns()
            with pytest.raises(Timeout):
                await impatient
            assert len(mutex._state()["waiters"]) == 1
            mutex.release()
            assert await patient
            assert mutex._state() == TAKEN
            mutex.release()

        run(main(), loop_name)

    def test_a_timeout_and_a_release_at_once_leave_a_hold_or_none(self, fair, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            for attempt in range(60):
                mutex = Mutex(fair=fair)
                mutex.acquire()
                task = asyncio.create_task(mutex.aio.lock(timeout=0.001))
                loop.call_later(0.0008 + 0.00001 * (attempt % 40), mutex.release)
                try:
                    guard = await task
                except Timeout:
                    await asyncio.sleep(0.002)
                else:
                    assert mutex._state() == TAKEN
                    guard.release()
                assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_timer_and_a_cancellation_at_once(self, fair, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            for attempt in range(40):
                mutex = Mutex(fair=fair)
                mutex.acquire()
                task = asyncio.create_task(mutex.aio.lock(timeout=0.001))
                loop.call_later(0.0008 + 0.00001 * attempt, task.cancel)
                await asyncio.wait([task])
                assert task.cancelled() or isinstance(task.exception(), Timeout)
                assert mutex._state() == TAKEN
                mutex.release()
                assert mutex._state() == FREE

        run(main(), loop_name)


class TestUnlocked:
    """Leaving `async with guard.unlocked()` takes the lock again, whatever happens to the task meanwhile."""

    @pytest.mark.parametrize("cancellations", [1, 2])
    def test_cancelled_while_it_takes_the_lock_again(self, cancellations, fair, loop_name):
        async def main():
            mutex = Mutex("kept", fair=fair)
            inside = asyncio.Event()
            go_on = asyncio.Event()

            async def work():
                guard = await mutex.aio.lock()
                try:
                    async with guard.unlocked():
                        inside.set()
                        await go_on.wait()
                finally:
                    assert guard.value == "kept", "held again when the exception leaves the block"
                    guard.release()

            task = asyncio.create_task(work())
            await inside.wait()
            mutex.acquire()
            go_on.set()
            await turns()
            assert len(mutex._state()["waiters"]) == 1
            for _ in range(cancellations):
                task.cancel()
                await turns()
                assert not task.done(), "it waits for the lock before it ends"
            mutex.release()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_cancelled_within_the_block(self, fair, loop_name):
        async def main():
            mutex = Mutex("kept", fair=fair)

            async def work():
                async with mutex.aio as guard:
                    try:
                        async with guard.unlocked():
                            await asyncio.sleep(HANG)
                    finally:
                        assert guard.value == "kept"

            task = asyncio.create_task(work())
            await turns()
            assert mutex._state() == FREE
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert mutex._state() == FREE

        run(main(), loop_name)


def test_cancellations_of_a_whole_queue_in_every_order(fair, loop_name):
    """Three waiters; each subset of them is cancelled before and after the release: the rest get in one by one."""

    async def main():
        for before, after in itertools.product(range(8), range(8)):
            if before & after:
                continue
            mutex = Mutex(fair=fair)
            mutex.acquire()
            tasks = [asyncio.create_task(release_after(mutex)) for _ in range(3)]
            await turns()
            cancel(tasks, before)
            mutex.release()
            cancel(tasks, after)
            results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), HANG)
            for number, result in enumerate(results):
                expected = asyncio.CancelledError if (before | after) >> number & 1 else int
                assert type(result) is expected
            await turns()
            assert mutex._state() == FREE

    async def release_after(mutex):
        async with mutex.aio:
            return 1

    def cancel(tasks, subset):
        for number, task in enumerate(tasks):
            if subset >> number & 1:
                task.cancel()

    run(main(), loop_name)
