"""References, objects and memory come back to the start after each kind of call on a Condition, one that raises too."""

import pytest

from tests.support.leaks import assert_no_leak, in_subprocess

SETUP = """
import asyncio, contextvars, gc, warnings, weakref
from ferrule import BlockingInEventLoop, Condition, Mutex, Timeout
from ferrule.aio import Condition as AsyncCondition
from tests.support.conditions import notify, waiting, waiting_thread
from tests.support.driver import HandLoop, Stepper, complete, new_loop, turns
from tests.support.race import spawn

warnings.simplefilter("ignore")
value, answer = object(), object()
mutex = Mutex(value)
condition = Condition(mutex)
face = condition.aio
held = Condition(Mutex(value))
guard = held.__enter__()
loop = new_loop("asyncio")
error = KeyError("mine")

def raises(kind, function, *args, **named):
    try:
        function(*args, **named)
    except kind as caught:
        caught.__traceback__ = None
        return
    raise AssertionError("nothing was raised")

def raising():
    raise error

def late(answers=[False, answer]):
    answers.append(answers.pop(0))
    return answers[-1]
"""

WATCH = ["value", "answer", "mutex", "condition", "face", "held", "guard", "error"]

CALLS = {
    "without waiting": """
        Condition(); Condition(mutex); Condition(mutex.aio); AsyncCondition(); AsyncCondition(mutex)
        with condition: condition.notify(); condition.notify_all(); condition.notify(5)
        condition.acquire(); face.notify(2); condition.release(); condition.locked(); face.locked()
        assert held.wait_for(lambda: answer) is answer
        repr(condition); repr(face); hash(face); face == condition.aio; face.sync; weakref.ref(condition)
        Condition[int]; condition._state()
    """,
    "refusals": """
        raises(TypeError, Condition, value); raises(TypeError, AsyncCondition, answer)
        raises(TypeError, held.wait_for, value); raises(TypeError, held.notify, answer)
        for call in (condition.wait, condition.notify, condition.notify_all, condition.release):
            raises(RuntimeError, call)
        raises(RuntimeError, complete, face.wait()); raises(RuntimeError, condition.wait_for, late)
        for bad in (-2, float("nan"), "x", object):
            raises((ValueError, TypeError), held.wait, timeout=bad)
            raises((ValueError, TypeError), held.aio.wait, timeout=bad)
        raises(Timeout, held.wait, timeout=0); raises(Timeout, complete, held.aio.wait(timeout=0))
        raises(KeyError, held.wait_for, raising)
    """,
    "time-outs": """
        raises(Timeout, held.wait, timeout=1e-6)
        raises(Timeout, held.wait_for, lambda: False, timeout=1e-6)
        assert held.wait_for(late, timeout=1e-6) is answer
        condition.acquire(); raises(Timeout, condition.wait, timeout=1e-6); condition.release()
        with mutex.lock() as g: raises(Timeout, condition.wait, timeout=1e-6)
    """,
    "threads that wait": """
        waiter = waiting_thread(condition, lambda: condition.wait_for(late))
        other = waiting_thread(condition)
        notify(condition, 2)
        assert waiter.result() is answer
        other.result()
    """,
    "tasks that wait": """
        async def visit(wait):
            async with face as g:
                return await wait()
        async def main():
            tasks = [loop.create_task(visit(wait)) for wait in (face.wait, lambda: face.wait_for(late))]
            await turns()
            async with face:
                face.notify_all()
            assert await asyncio.gather(*tasks) == [None, answer]
            async with face:
                raises(BlockingInEventLoop, condition.wait)
        loop.run_until_complete(main())
    """,
    "tasks that give up": """
        async def main():
            async with face as g:
                for wait in (face.wait(timeout=1e-6), asyncio.wait_for(face.wait(), 0)):
                    try:
                        await wait
                    except TimeoutError:
                        pass
                assert await face.wait_for(late, timeout=1e-6) is answer
            for end in ("cancel", "close", "throw", "drop"):
                await face.acquire()
                first = Stepper(face.wait())
                first.step()
                await face.acquire()
                second = Stepper(face.wait())
                second.step()
                notify(condition)
                await first.woken()
                if end == "cancel":
                    first.cancel()
                    first.step()
                elif end == "throw":
                    first.throw(error)
                    error.__traceback__ = None
                elif end == "close":
                    first.close()
                    first = None
                else:
                    first = None
                if first:
                    raises((KeyError, asyncio.CancelledError), first.result)
                    condition.release()
                await second.finish()
                condition.release()
                first = second = None
        loop.run_until_complete(main())
    """,
    "cycles": """
        c = Condition(Mutex()); g = c.__enter__(); g.value = [c, g, c.aio, value]
        c = Condition(Mutex())
        with HandLoop().running():
            complete(c.aio.acquire())
            stepper = Stepper(c.aio.wait_for(lambda: c is None))
            stepper.step()
            with c as g: g.value = [c, stepper]
        del c, g, stepper
    """,
}


@pytest.mark.parametrize("calls", CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(CALLS[calls], setup=SETUP, watch=WATCH, repeats=2_000)


@pytest.mark.parametrize("code", ["held.notify_all()", "raises(Timeout, held.wait, timeout=1e-9)"])
def test_memory_is_flat_over_a_hundred_thousand_calls(code):
    assert_no_leak(code, setup=SETUP, watch=WATCH, repeats=100_000)


QUEUE = """
async def visit():
    async with face:
        await face.wait()

async def main():
    tasks = [asyncio.create_task(visit()) for _ in range(10_000)]
    while len(waiting(condition)) < 10_000:
        await turns()
    for task in tasks[::3]:
        task.cancel()
    await turns()
    async with face:
        face.notify_all()
    await asyncio.wait(tasks)

def once():
    loop.run_until_complete(main())
    assert waiting(condition) == []
    assert mutex._state() == {"locked": False, "parked": False, "waiters": []}
"""

CLOSED_LOOPS = """
def once():
    there = new_loop("asyncio")
    there.set_exception_handler(lambda loop, context: None)

    async def main():
        for _ in range(50):
            await face.acquire()
            there.create_task(face.wait())
            await turns(1)

    there.run_until_complete(main())
    assert len(waiting(condition)) == 50
    there.close()
    notify(condition)
    assert condition.acquire(timeout=20)
    condition.release()
"""


@pytest.mark.parametrize("what", [QUEUE, CLOSED_LOOPS], ids=["ten thousand tasks", "closed loops"])
def test_a_long_queue_leaves_nothing(what):
    in_subprocess(
        f"""{SETUP}
{what}
once()
gc.collect()
before = len(gc.get_objects())
for _ in range(3):
    once()
    gc.collect()
assert len(gc.get_objects()) - before < 50
"""
    )
