"""References, objects and memory come back to the start after every kind of call on a Mutex, also one that raises."""

import pytest

from tests.support.leaks import assert_no_leak

SETUP = """
import asyncio, contextvars, gc, warnings, weakref
from ferrule import Mutex, Timeout, WouldDeadlock
from ferrule.aio import Mutex as AsyncMutex
from tests.support.driver import Stepper, complete, new_loop, turns
from tests.support.race import eventually, raises, spawn

warnings.simplefilter("ignore")
value, other = object(), object()
mutex = Mutex(value)
face = mutex.aio
held = Mutex(value)
guard = held.lock()
taken = Mutex(value)
taken.acquire()
context = contextvars.copy_context()
loop = new_loop("asyncio")
error = KeyError("mine")
"""

WATCH = ["value", "other", "mutex", "face", "held", "guard", "taken", "context", "error"]

CALLS = {
    "holds": """
        Mutex(value); AsyncMutex(value); Mutex(fair=True).lock().release()
        mutex.lock().release(); mutex.lock(timeout=1).release(fair=True); mutex.try_lock().release()
        mutex.acquire(); mutex.release(); mutex.acquire(True, 1); mutex.release()
        with mutex: pass
        with mutex.lock() as g: g.release()
        with mutex as g: g.release()
        try:
            with mutex: raise error
        except KeyError as caught:
            caught.__traceback__ = None
        with mutex as a:
            a.release()
            with mutex as b:
                b.release()
                mutex.acquire()
        mutex.release()
    """,
    "guards": """
        guard.value = other; guard.value = value; guard.value
        with guard.unlocked():
            held.lock().release()
            raises(RuntimeError, lambda: guard.value)
        guard.unlocked()
        try:
            with guard.unlocked(): raise error
        except KeyError as caught:
            caught.__traceback__ = None
        mutex.lock(); mutex.aio.try_lock(); complete(face.lock())  # dropped while held
    """,
    "refusals": """
        raises(TypeError, Mutex, value, other); raises(TypeError, AsyncMutex, value, unfair=other)
        raises(Timeout, taken.lock, timeout=0); raises(Timeout, taken.lock, timeout=1e-6)
        taken.try_lock(); taken.acquire(False); taken.acquire(timeout=1e-6); taken.aio.try_lock()
        for bad in (-2, float("nan"), "x", object):
            for call in (mutex.lock, mutex.acquire, face.lock, face.acquire):
                raises((ValueError, TypeError), call, timeout=bad)
        raises(WouldDeadlock, held.lock); raises(WouldDeadlock, held.__enter__)
        raises(RuntimeError, mutex.release); raises(RuntimeError, mutex.__exit__, None, None, None)
        g = mutex.lock()
        g.release()
        raises(RuntimeError, g.release); raises(RuntimeError, lambda: g.value)
        raises(RuntimeError, setattr, g, "value", other); raises(RuntimeError, g.unlocked().__enter__)
    """,
    "cycles": """
        m = Mutex(); g = m.lock(); g.value = [m, g, value]
        m = Mutex(); g = m.__enter__(); g.value = [m, g, m.aio, other]
        m = Mutex(); g = m.__enter__(); g.value = [m, g]; g.release()
    """,
    "reading": """
        repr(mutex); repr(guard); repr(face); hash(face); face == mutex.aio; face.sync; weakref.ref(mutex)
        mutex.locked(); face.locked(); Mutex[int]; taken._state()
    """,
    "coroutines": """
        complete(face.lock()).release(); complete(face.acquire()); face.release()
        complete(face.__aenter__()); complete(face.__aexit__(None, None, None))
        context.run(complete, face.lock()).release(); context.run(complete, face.acquire()); face.release()
        face.lock(); face.acquire(); face.lock().close()
        raises(KeyError, face.lock().throw, error)
        error.__traceback__ = None
        c = face.lock(); complete(c).release(); raises(RuntimeError, c.send, None)
        raises(Timeout, complete, taken.aio.lock(timeout=0)); raises(RuntimeError, complete, taken.aio.lock())
    """,
    "threads that wait": """
        mutex.acquire()
        waiting = spawn(lambda: mutex.lock(timeout=20).release())
        eventually(lambda: mutex._state()["waiters"])
        mutex.release()
        waiting.result()
        mutex.__enter__()
        raises(RuntimeError, spawn(mutex.__exit__, None, None, None).result)
        mutex.__exit__(None, None, None)
    """,
    "tasks that wait": """
        async def visit():
            async with face:
                await asyncio.sleep(0)
            async with face.lock(timeout=20) as g:
                await asyncio.sleep(0)
        async def main():
            await asyncio.gather(visit(), visit(), visit())
            async with face as g:
                async with g.unlocked():
                    await turns(1)
            mutex.acquire()
            first, second = Stepper(face.lock()), Stepper(face.lock())
            first.step()
            second.step()
            mutex.release()
            await first.woken()
            first.cancel()
            first.step()
            (await second.finish()).release()
        loop.run_until_complete(main())
    """,
    "tasks that give up": """
        async def main():
            for wait in (taken.aio.lock(timeout=1e-6), asyncio.wait_for(taken.aio.lock(), 0)):
                try:
                    await wait
                except TimeoutError:
                    pass
            task = asyncio.create_task(taken.aio.lock())
            await turns()
            task.cancel()
            await asyncio.wait([task])
            stepper = Stepper(taken.aio.acquire())
            stepper.step()
            stepper.close()
        loop.run_until_complete(main())
    """,
}


@pytest.mark.parametrize("calls", CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(CALLS[calls], setup=SETUP, watch=WATCH, repeats=5_000)


@pytest.mark.parametrize(
    "code",
    [
        "with mutex: pass",
        "mutex.lock().release()",
        "complete(face.lock()).release()",
        "guard.value = object()",
        "taken.acquire(timeout=0)",
    ],
)
def test_memory_is_flat_over_a_hundred_thousand_calls(code):
    assert_no_leak(code, setup=SETUP, watch=WATCH, repeats=100_000)
