"""A task that waits at a Condition is cancelled, closed or dropped at every step: its notification goes to the next."""

import asyncio
import gc

import pytest

from ferrule import Condition, Mutex, Timeout
from tests.support.conditions import notify, notify_async, waiting, waiting_thread, waits
from tests.support.driver import HandLoop, LoopThread, Stepper, complete, run, turns
from tests.support.mutexes import FREE
from tests.support.race import HANG, eventually, spawn
from tests.support.waits import LONG


async def before(stepper, condition):
    """Cancelled and gone before anybody notifies."""
    stepper.cancel()
    stepper.step()
    assert stepper.done
    assert len(waiting(condition)) == 1, "only the next one"


async def before_while_it_is_locked(stepper, condition):
    """Cancelled, it waits for the lock; the notification comes then."""
    condition.acquire()
    stepper.cancel()
    assert not stepper.step()
    assert len(waiting(condition)) == 1, "only the next one"
    condition.notify()
    condition.release()


async def notified(stepper, condition):
    """Notified, and cancelled while the notifier has the lock."""
    condition.acquire()
    condition.notify()
    stepper.cancel()
    assert not stepper.step()
    condition.release()


async def twice(stepper, condition):
    """As before, and cancelled again while it waits for the lock."""
    condition.acquire()
    condition.notify()
    for _ in range(3):
        stepper.cancel()
        assert not stepper.step()
    condition.release()


async def tie(stepper, condition):
    """Cancelled first; notified, and the lock released, before the cancellation arrived."""
    stepper.cancel()
    notify(condition)
    stepper.step()


async def posted(stepper, condition):
    """Claimed by another thread; the loop has not yet heard of it."""
    spawn(notify, condition).result()
    stepper.cancel()
    stepper.step()


async def posted_then_twice(stepper, condition):
    spawn(notify, condition).result()
    for _ in range(2):
        stepper.cancel()
        stepper.step()


async def delivered(stepper, condition):
    """Its future is resolved, it has not yet run."""
    notify(condition)
    await stepper.woken()
    stepper.cancel()
    stepper.step()


async def delivered_then_locked(stepper, condition):
    """It has the permission to try, and finds the lock taken, unless it was handed over."""
    notify(condition)
    await stepper.woken()
    taken = condition.acquire(blocking=False)
    stepper.cancel()
    assert stepper.step() is not taken
    if taken:
        condition.release()


MOMENTS = [
    before,
    before_while_it_is_locked,
    notified,
    twice,
    tie,
    posted,
    posted_then_twice,
    delivered,
    delivered_then_locked,
]


def thread_successor(there, condition):
    waiter = waiting_thread(condition)

    async def end():
        while waiter.alive:
            await asyncio.sleep(0.0005)
        waiter.result()

    return end


def own_loop_successor(there, condition):
    complete(condition.aio.acquire())
    stepper = Stepper(condition.aio.wait())
    stepper.step()

    async def end():
        await stepper.finish()
        condition.release()

    return end


def other_loop_successor(there, condition):
    before = len(waiting(condition))
    future = there.spawn(waits(condition))
    eventually(lambda: len(waiting(condition)) > before)
    return lambda: asyncio.wrap_future(future)


@pytest.mark.parametrize("successor", [thread_successor, own_loop_successor, other_loop_successor])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("call", ["wait", "wait_for"])
def test_a_cancelled_wait_passes_its_notification_on_and_holds_the_lock(
    call, moment, successor, mutex, condition, loop_name
):
    async def main(there):
        guard = await mutex.aio.lock()
        stepper = Stepper(condition.aio.wait() if call == "wait" else condition.aio.wait_for(lambda: False))
        stepper.step()
        end = successor(there, condition)
        await moment(stepper, condition)
        with pytest.raises(asyncio.CancelledError):
            await stepper.finish()
        assert guard.value == "value", "it holds the lock again"
        guard.release()
        if moment is before:
            notify(condition)
        await asyncio.wait_for(end(), HANG)
        assert waiting(condition) == []
        assert mutex._state() == FREE

    with LoopThread(loop_name) as there:
        run(main(there), loop_name)


@pytest.mark.parametrize("end", ["close", "throw", "drop"])
@pytest.mark.parametrize("moment", ["waiting", "notified", "posted", "delivered"])
def test_closed_thrown_into_or_dropped_it_passes_its_notification_on(moment, end, mutex, condition, loop_name):
    async def main():
        guard = await mutex.aio.lock()
        steppers = [Stepper(condition.aio.wait())]
        steppers[0].step()
        successor = own_loop_successor(None, condition)
        match moment:
            case "notified":
                mutex.acquire()
                condition.notify()
            case "posted":
                spawn(notify, condition).result()
            case "delivered":
                notify(condition)
                await steppers[0].woken()
        match end:
            case "close":
                steppers[0].close()
            case "throw":
                steppers[0].throw(KeyError("mine"))
            case "drop":
                steppers.clear()
                gc.collect()
        if moment == "notified":
            mutex.release()
        if end == "throw":
            with pytest.raises(KeyError, match="mine"):
                await steppers[0].finish()
            guard.release()
        elif end == "close":
            with pytest.raises(RuntimeError):
                guard.release()
        if moment == "waiting":
            if end == "drop":
                assert len(waiting(condition)) == 2, "the queue keeps it alive"
                notify(condition)
            notify(condition)
        elif end == "drop" and moment == "notified":
            await turns()
        await asyncio.wait_for(successor(), HANG)
        await turns()
        assert waiting(condition) == []
        assert mutex._state() == FREE

    run(main(), loop_name)


class TestRealTasks:
    """Tasks on their loop, cancelled after every number of its turns."""

    @pytest.mark.parametrize("call", ["wait", "wait_for"])
    def test_among_waiters_each_notification_wakes_one(self, call, fair, loop_name):
        async def main():
            for count in range(60):
                mutex = Mutex("value", fair=fair)
                condition = Condition(mutex)
                returned = []

                async def work(condition=condition, returned=returned, n=0):
                    async with condition.aio as guard:
                        if call == "wait":
                            await condition.aio.wait()
                        else:
                            await condition.aio.wait_for(iter([False, True]).__next__)
                        assert guard.value == "value"
                        returned.append(n)
                        await asyncio.sleep(0)

                async def notifier(condition=condition):
                    for _ in range(2):
                        async with condition.aio:
                            await asyncio.sleep(0)
                            condition.aio.notify()
                            await asyncio.sleep(0)

                tasks = [asyncio.create_task(work(n=n)) for n in range(3)]
                await turns()
                assert len(waiting(condition)) == 3
                notifies = asyncio.create_task(notifier())
                await turns(count)
                undisturbed = not tasks[0].cancel()
                done, _ = await asyncio.wait([tasks[0]], timeout=HANG)
                assert done
                await notifies
                # Two notifications for three waiters, of which the first was cancelled or used one.
                await turns(20)
                assert mutex._state() == FREE
                if tasks[0].cancelled() and 0 not in returned:
                    assert sorted(returned) == [1, 2]
                else:
                    assert sorted(returned) == [0, 1]
                    assert waiting(condition) == ["task"]
                    await notify_async(condition)
                await asyncio.gather(*tasks[1:])
                if undisturbed:
                    return
            raise AssertionError("still not complete")

        run(main(), loop_name)

    def test_a_task_group_abort_leaves_nobody_and_no_hold(self, mutex, condition, loop_name):
        async def main():
            async def fail():
                await turns()
                raise KeyError("mine")

            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(waits(condition))
                    group.create_task(fail())
            assert waiting(condition) == []
            assert mutex._state() == FREE

        run(main(), loop_name)


class TestTimeouts:
    """The time is up at each moment around the notification: it is used, or it goes to the next waiter."""

    @pytest.mark.parametrize(
        ("call", "moment"),
        [
            ("wait", "before"),
            ("wait", "notified"),
            ("wait", "posted"),
            ("wait", "delivered"),
            ("wait", "locked"),
            ("wait_for", "before"),
            ("wait_for", "notified"),
            ("wait_for", "posted"),
            ("wait_for", "delivered"),
            ("wait_for", "locked"),
        ],
    )
    def test_a_notification_is_used_or_goes_to_the_next(self, call, moment, mutex, condition):
        loop = HandLoop()

        def settle():
            while loop.due or any(stepper.future and stepper.future.done() for stepper in steppers):
                loop.turn()
                with loop.running():
                    for stepper in steppers:
                        if stepper.future and stepper.future.done():
                            stepper.step()

        with loop.running():
            guard = complete(mutex.aio.lock())
            face, never = condition.aio, lambda: False
            impatient = Stepper(face.wait(timeout=LONG) if call == "wait" else face.wait_for(never, timeout=LONG))
            impatient.step()
            (timer,) = loop.timers
            complete(mutex.aio.acquire())
            patient = Stepper(face.wait())
            patient.step()
        steppers = [impatient, patient]
        assert waiting(condition) == ["task", "task"]
        match moment:
            case "notified":
                mutex.acquire()
                condition.notify()
            case "posted":
                spawn(notify, condition).result()
            case "delivered":
                spawn(notify, condition).result()
                loop.turn()
            case "locked":
                mutex.acquire()
                condition.notify()
                settle()  # it has tried for the lock, and waits for that
        loop.fire(timer)
        if moment in ("notified", "locked"):
            mutex.release()
        settle()
        assert impatient.done
        assert guard.value == "value", "it holds the lock again"
        guard.release()
        settle()
        if call == "wait" and moment != "before":
            assert impatient.result() is None, "it was notified in time"
        else:
            with pytest.raises(Timeout):
                impatient.result()
            assert patient.done is (moment != "before")
        if not patient.done:
            assert waiting(condition) == ["task"]
            spawn(notify, condition).result()
            settle()
        assert patient.result() is None
        mutex.release()
        assert waiting(condition) == []
        assert mutex._state() == FREE
