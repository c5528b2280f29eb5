"""A task that waits for a lock, of either kind, is cancelled at every step and from every side: its turn goes on."""

import asyncio
import itertools

import pytest

from ferrule import Timeout
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
from tests.support.each import each
from tests.support.locks import WAITS, WAYS, kinds
from tests.support.race import HANG, eventually, spawn

each_way = each(WAYS.values())
each_guarded = each(way for way in WAYS.values() if way.guarded)
each_writing = each(way for way in WAYS.values() if way.writes)
each_timed = each(way for way in WAYS.values() if way.one_call)
each_wait = pytest.mark.parametrize(("held", "way"), WAITS, ids=str)


class Stage:
    """A held lock, a coroutine that waits for it, and behind that one another waiter, who must get it."""

    def __init__(self, held, way, successor, timeout):
        self.held, self.way = held, way
        self.lock = way.make()
        self.hold = held.take(self.lock)
        self.end_of_successor = None
        self.coroutine = Followed(way.take_async(self.lock, **timeout), lambda: self.follow(successor))

    def follow(self, successor):
        before = len(kinds(self.lock))
        self.end_of_successor = successor(self.way.alone, self.lock)
        eventually(lambda: len(kinds(self.lock)) == before + 1)

    def wake(self):
        self.held.end(self.lock, self.hold)

    async def check(self):
        if self.end_of_successor is None:
            assert self.lock._state() == self.held.held, "cancelled before its first step, it did nothing"
            self.wake()
        else:
            await self.successor_gets_it()

    async def successor_gets_it(self):
        hold = await self.end_of_successor()
        assert self.lock._state() == self.way.alone.held
        self.way.alone.end(self.lock, hold)
        assert self.lock._state() == self.way.free


def in_a_thread(there):
    def wait(way, lock):
        waiting = spawn(lambda: way.take(lock, timeout=HANG))

        async def end():
            while waiting.alive:
                await asyncio.sleep(0.0005)
            return waiting.result()

        return end

    return wait


def in_the_same_loop(there):
    def wait(way, lock):
        stepper = Stepper(way.take_async(lock, timeout=HANG))
        stepper.step()
        return stepper.finish

    return wait


def in_another_loop(there):
    def wait(way, lock):
        future = there.spawn(way.take_async(lock, timeout=HANG))
        return lambda: asyncio.wrap_future(future)

    return wait


@pytest.mark.parametrize("successor", [in_a_thread, in_the_same_loop, in_another_loop])
@each_wait
def test_a_cancelled_waiter_passes_its_turn_on_at_every_step(held, way, successor, loop_name):
    async def main(there):
        stage = None
        for timeout in ({}, way.patience):

            def begin(timeout=timeout):
                nonlocal stage
                stage = Stage(held, way, successor(there), timeout)
                return stage.coroutine, stage.wake

            assert await cancel_at_every_step(begin, lambda: stage.check()) == 1
            way.end(stage.lock, stage.coroutine.taken)
            await stage.successor_gets_it()

    with LoopThread(loop_name) as there:
        run(main(there), loop_name)


@each_wait
def test_a_cancelled_waiter_with_nobody_behind_leaves_it_free(held, way, loop_name):
    async def main():
        lock = coroutine = hold = None
        released = False

        def begin():
            nonlocal lock, coroutine, hold, released
            lock, released = way.make(), False
            hold = held.take(lock)
            coroutine = Followed(way.take_async(lock))
            return coroutine, release

        def release():
            nonlocal released
            held.end(lock, hold)
            released = True

        def check():
            assert lock._state() == (way.free if released else held.held)
            if not released:
                release()

        assert await cancel_at_every_step(begin, check) == 1
        way.end(lock, coroutine.taken)
        assert lock._state() == way.free

    run(main(), loop_name)


@pytest.mark.parametrize("moment", Moment)
@each_way
def test_it_is_free_after_the_holder_and_every_waiter_are_cancelled(moment, way, loop_name):
    async def main():
        lock = way.make()
        hold = way.alone.take(lock)
        steppers = [Stepper(way.take_async(lock)) for _ in range(2)]
        for other in way.siblings:
            steppers += [Stepper(other.take_async(lock)), Stepper(other.take_async(lock, **other.patience))]
        for stepper in steppers:
            stepper.step()
        if moment in (Moment.DELIVERED, Moment.POSTED):
            spawn(way.alone.end, lock, hold).result()
        if moment is Moment.DELIVERED:
            await steppers[0].woken()
        for stepper in steppers:
            stepper.cancel()
        if moment is Moment.TIE:
            way.alone.end(lock, hold)
        for stepper in steppers:
            await stepper.woken()
            stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
        if moment is Moment.BEFORE:
            way.alone.end(lock, hold)
        await turns()
        assert lock._state() == way.free

    run(main(), loop_name)


@each_way
def test_the_chain_of_cancelled_waiters_ends_at_the_first_that_lives(way, loop_name):
    """Each in turn is claimed, cancelled before it runs, and hands its turn to the next."""

    async def main():
        lock = way.make()
        hold = way.alone.take(lock)
        steppers = [Stepper(way.take_async(lock, **timeout)) for timeout in [{}, way.patience] * 10]
        for stepper in steppers:
            stepper.step()
        way.alone.end(lock, hold)
        for stepper in steppers[:-1]:
            await stepper.woken()
            stepper.cancel()
            stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
        hold = await steppers[-1].finish()
        assert lock._state() == way.held
        way.end(lock, hold)
        assert lock._state() == way.free

    run(main(), loop_name)


@pytest.mark.parametrize("end", ["throw", "close"])
@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("timed", [False, True])
@each_way
def test_thrown_into_or_closed_a_waiter_passes_its_turn_on(end, claimed, timed, way, loop_name):
    async def main():
        timeout = way.patience if timed else {}
        lock = way.make()
        hold = way.alone.take(lock)
        first, second = (Stepper(way.take_async(lock, **timeout)) for _ in range(2))
        first.step()
        second.step()
        if claimed:
            way.alone.end(lock, hold)
            await first.woken()
        if end == "close":
            first.close()
        else:
            assert first.throw(KeyError("mine"))
            with pytest.raises(KeyError, match="mine"):
                first.result()
        if not claimed:
            way.alone.end(lock, hold)
        hold = await second.finish()
        assert lock._state() == way.held
        way.end(lock, hold)
        assert lock._state() == way.free

    run(main(), loop_name)


class TestRealTasks:
    """Tasks on their loop, cancelled after every number of its turns."""

    @each_writing
    def test_async_with_behind_a_holder(self, way, loop_name):
        async def main():
            lock = way.make(0)
            counted = 0

            async def work():
                nonlocal counted
                holder = asyncio.create_task(hold())
                try:
                    async with way.within_async(lock) as guard:
                        value = guard.value
                        await asyncio.sleep(0)
                        guard.value = value + 1
                        counted += 1
                finally:
                    await holder

            async def hold():
                async with way.within_async(lock) as guard:
                    await asyncio.sleep(0)
                    assert guard.value == counted

            def check():
                assert lock._state() == way.free
                with way.within(lock) as guard:
                    assert guard.value == counted

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)

    @pytest.mark.parametrize("queue", [1, 3])
    @each_way
    def test_a_waiter_among_waiters(self, queue, way, loop_name):
        """Of every kind, before it and behind it."""

        async def main():
            lock = way.make(0)
            others = []

            def come():
                others.extend(asyncio.create_task(other.visit_async(lock)) for other in way.siblings * queue)

            async def work():
                come()
                await asyncio.sleep(0)
                async with way.within_async(lock, **(way.patience if queue > 1 else {})):
                    come()
                    await turns(2)

            async def check():
                added = sum(await asyncio.wait_for(asyncio.gather(*others), HANG))
                others.clear()
                assert lock._state() == way.free
                with way.alone.within(lock) as guard:
                    assert guard.value == added
                    guard.value = 0

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)

    @each_guarded
    def test_unlocked(self, way, loop_name):
        """Cancelled anywhere in `async with guard.unlocked()`, the task holds the lock when the exception leaves it."""

        async def main():
            lock = way.make("value")

            async def hold_a_turn():
                async with way.alone.within_async(lock):
                    await turns(2)

            async def work():
                async with way.within_async(lock) as guard:
                    other = asyncio.create_task(hold_a_turn())
                    try:
                        async with guard.unlocked():
                            await asyncio.sleep(0)
                    finally:
                        assert lock.locked()
                        assert guard.value == "value"
                        guard.release()
                        await other

            def check():
                assert lock._state() == way.free

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)


@each_way
class TestWays:
    """The ways by which asyncio cancels."""

    @pytest.fixture
    def lock(self, way):
        return way.make()

    @pytest.fixture
    def hold(self, lock, way):
        """A hold that keeps the task out, which the test ends."""
        return way.alone.take(lock)

    @pytest.mark.parametrize("delay", [0, 0.001])
    def test_wait_for(self, delay, way, lock, hold, loop_name):
        async def main():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(way.take_async(lock), delay)
            assert lock._state() == way.alone.held
            way.alone.end(lock, hold)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_wait_for_with_no_time_takes_a_free_lock_or_nothing(self, way, lock, loop_name):
        async def main():
            try:
                hold = await asyncio.wait_for(way.take_async(lock), 0)
            except TimeoutError:
                assert lock._state() == way.free
            else:
                assert lock._state() == way.held
                way.end(lock, hold)
                assert lock._state() == way.free

        run(main(), loop_name)

    @pytest.mark.parametrize("delay", [0, -1, 0.001])
    def test_timeout(self, delay, way, lock, hold, loop_name):
        async def main():
            with pytest.raises(TimeoutError) as raised:
                async with asyncio.timeout(delay):
                    await way.take_async(lock)
            assert not isinstance(raised.value, Timeout)
            assert lock._state() == way.alone.held
            way.alone.end(lock, hold)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_task_group_abort(self, way, lock, hold, loop_name):
        async def main():
            async def fail():
                await asyncio.sleep(0.001)
                raise KeyError("mine")

            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(way.take_async(lock))
                    group.create_task(fail())
            assert raised.group_contains(KeyError)
            assert lock._state() == way.alone.held
            way.alone.end(lock, hold)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_a_holder_cancelled_within_async_with_releases(self, way, lock, loop_name):
        async def main():
            async def hold():
                async with way.within_async(lock):
                    await asyncio.sleep(HANG)

            holder = asyncio.create_task(hold())
            await turns()
            waiter = asyncio.create_task(way.alone.take_async(lock))
            await turns()
            assert kinds(lock) == ["task"]
            holder.cancel()
            taken = await waiter
            with pytest.raises(asyncio.CancelledError):
                await holder
            way.alone.end(lock, taken)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_a_shielded_wait_goes_on(self, way, lock, hold, loop_name):
        async def main():
            inner = asyncio.ensure_future(way.take_async(lock))
            outer = asyncio.ensure_future(asyncio.shield(inner))
            await turns()
            outer.cancel()
            await turns()
            assert outer.cancelled()
            assert kinds(lock) == ["task"]
            way.alone.end(lock, hold)
            way.end(lock, await inner)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_a_swallowed_cancellation_while_waiting_has_left_the_queue(self, way, lock, hold, loop_name):
        async def main():
            async def stubborn():
                try:
                    await way.take_async(lock)
                except asyncio.CancelledError:
                    return lock._state()

            task = asyncio.create_task(stubborn())
            await turns()
            task.cancel()
            assert await task == way.alone.held
            way.alone.end(lock, hold)

        run(main(), loop_name)

    def test_cancelled_twice(self, way, lock, hold, loop_name):
        async def main():
            task = asyncio.create_task(way.take_async(lock))
            await turns()
            task.cancel()
            task.cancel()
            way.alone.end(lock, hold)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_cancelled_by_another_threads_future(self, way, lock, hold, loop_name):
        with LoopThread(loop_name) as there:
            for _ in range(20):
                future = there.spawn(way.take_async(lock))
                eventually(lambda: kinds(lock) == ["task"])
                future.cancel()
                eventually(lambda: not kinds(lock))
        way.alone.end(lock, hold)
        assert lock._state() == way.free


class TestTimeouts:
    """Timing out is giving up too: it meets the claim as a cancellation does."""

    @each_way
    def test_the_next_waiter_gets_in_behind_one_that_timed_out(self, way, loop_name):
        async def main():
            lock = way.make()
            hold = way.alone.take(lock)
            impatient = asyncio.create_task(way.alone.take_async(lock, timeout=0.001))
            await turns()
            patient = asyncio.create_task(way.take_async(lock))
            await turns()
            with pytest.raises(Timeout):
                await impatient
            assert kinds(lock) == ["task"]
            way.alone.end(lock, hold)
            hold = await patient
            assert lock._state() == way.held
            way.end(lock, hold)
            assert lock._state() == way.free

        run(main(), loop_name)

    @each_timed
    def test_a_timeout_and_a_release_at_once_leave_a_hold_or_none(self, way, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            for attempt in range(60):
                lock = way.make()
                task = asyncio.create_task(way.take_async(lock, timeout=0.001))
                loop.call_later(0.0008 + 0.00001 * (attempt % 40), way.alone.end, lock, way.alone.take(lock))
                try:
                    hold = await task
                except Timeout:
                    await asyncio.sleep(0.002)
                else:
                    assert lock._state() == way.held
                    way.end(lock, hold)
                assert lock._state() == way.free

        run(main(), loop_name)

    @each_timed
    def test_a_timer_and_a_cancellation_at_once(self, way, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            for attempt in range(40):
                lock = way.make()
                hold = way.alone.take(lock)
                task = asyncio.create_task(way.take_async(lock, timeout=0.001))
                loop.call_later(0.0008 + 0.00001 * attempt, task.cancel)
                await asyncio.wait([task])
                assert task.cancelled() or isinstance(task.exception(), Timeout)
                assert lock._state() == way.alone.held
                way.alone.end(lock, hold)
                assert lock._state() == way.free

        run(main(), loop_name)


@each_guarded
class TestUnlocked:
    """Leaving `async with guard.unlocked()` takes the lock again, whatever happens to the task meanwhile."""

    @pytest.mark.parametrize("cancellations", [1, 2])
    def test_cancelled_while_it_takes_the_lock_again(self, cancellations, way, loop_name):
        async def main():
            lock = way.make("kept")
            inside = asyncio.Event()
            go_on = asyncio.Event()

            async def work():
                guard = await way.take_async(lock)
                try:
                    async with guard.unlocked():
                        inside.set()
                        await go_on.wait()
                finally:
                    assert guard.value == "kept", "held again when the exception leaves the block"
                    assert lock._state() == way.held
                    guard.release()

            task = asyncio.create_task(work())
            await inside.wait()
            hold = way.alone.take(lock)
            go_on.set()
            await turns()
            assert kinds(lock) == ["task"]
            for _ in range(cancellations):
                task.cancel()
                await turns()
                assert not task.done(), "it waits for the lock before it ends"
            way.alone.end(lock, hold)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_cancelled_within_the_block(self, way, loop_name):
        async def main():
            lock = way.make("kept")

            async def work():
                async with way.within_async(lock) as guard:
                    try:
                        async with guard.unlocked():
                            await asyncio.sleep(HANG)
                    finally:
                        assert guard.value == "kept"

            task = asyncio.create_task(work())
            await turns()
            assert lock._state() == way.free
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert lock._state() == way.free

        run(main(), loop_name)


@each_way
def test_cancellations_of_a_whole_queue_in_every_order(way, loop_name):
    """Three waiters; each subset of them is cancelled before and after the release: the rest get in one by one."""

    async def main():
        for before, after in itertools.product(range(8), range(8)):
            if before & after:
                continue
            lock = way.make(0)
            hold = way.alone.take(lock)
            tasks = [asyncio.create_task(way.visit_async(lock)) for _ in range(3)]
            await turns()
            cancel(tasks, before)
            way.alone.end(lock, hold)
            cancel(tasks, after)
            results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), HANG)
            for number, result in enumerate(results):
                expected = asyncio.CancelledError if (before | after) >> number & 1 else int
                assert type(result) is expected
            await turns()
            assert lock._state() == way.free

    def cancel(tasks, subset):
        for number, task in enumerate(tasks):
            if subset >> number & 1:
                task.cancel()

    run(main(), loop_name)
