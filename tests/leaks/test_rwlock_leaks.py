"""References, objects and memory come back to the start after every kind of call on an RWLock, also one that raises."""

import pytest

from tests.support.leaks import assert_no_leak

SETUP = """
import asyncio, contextvars, gc, warnings, weakref
from ferrule import RWLock, Timeout, WouldDeadlock
from ferrule.aio import RWLock as AsyncRWLock
from tests.support.driver import Stepper, complete, new_loop, turns
from tests.support.race import eventually, raises, spawn
from tests.support.rwlocks import TAKE, TAKE_ASYNC, TRY

warnings.simplefilter("ignore")
value, other = object(), object()
lock = RWLock(value)
face = lock.aio
written = RWLock(value)
writer = spawn(written.write).result()
upgradable = RWLock(value)
guard = upgradable.upgradable_read()
taken = RWLock(value)
reader = spawn(taken.read).result()
context = contextvars.copy_context()
loop = new_loop("asyncio")
error = KeyError("mine")
"""

WATCH = [
    "value",
    "other",
    "lock",
    "face",
    "written",
    "writer",
    "upgradable",
    "guard",
    "taken",
    "reader",
    "context",
    "error",
]

CALLS = {
    "holds": """
        RWLock(value); AsyncRWLock(value)
        for take in TAKE.values():
            take(lock).release(); take(lock, timeout=1).release(fair=True); take(lock, timeout=0).release()
            with take(lock): pass
            with take(lock) as g: g.release()
            try:
                with take(lock): raise error
            except KeyError as caught:
                caught.__traceback__ = None
        for take in TRY.values():
            take(lock).release()
        with lock.read(), lock.read_recursive(), lock.upgradable_read(): pass
    """,
    "values": """
        with lock.write() as g:
            g.value = other; g.value = value; g.value
        with lock.read() as g: g.value
        guard.value; writer.value; reader.value
        raises(AttributeError, setattr, guard, "value", other); raises(AttributeError, setattr, reader, "value", other)
        raises(AttributeError, delattr, writer, "value")
    """,
    "conversions": """
        lock.write().downgrade().release(); lock.write().downgrade_to_upgradable().release()
        lock.upgradable_read().downgrade().release(); lock.upgradable_read().upgrade().release()
        lock.upgradable_read().try_upgrade().release()
        with lock.write() as g:
            g = g.downgrade_to_upgradable().upgrade().downgrade_to_upgradable().try_upgrade().downgrade()
        with lock.upgradable_read() as g:
            with g.upgraded() as w: w.value = value
            with g.upgraded() as w: w.release()
        with lock.upgradable_read() as g:
            with g.upgraded() as w: w.downgrade()
        lock.write().downgrade_to_upgradable().upgrade()    # dropped while held
        g = lock.upgradable_read()
        with lock.read():
            g.try_upgrade(); raises(Timeout, g.upgrade, timeout=0); raises(Timeout, g.upgrade, timeout=1e-6)
        d = g.downgrade()
        raises(RuntimeError, g.upgrade); raises(RuntimeError, g.try_upgrade); raises(RuntimeError, g.downgrade)
        raises(RuntimeError, g.upgraded().__enter__)
        d.release()
    """,
    "guards": """
        for take in TAKE.values():
            with take(lock) as g:
                with g.unlocked():
                    lock.write().release()
                    raises(RuntimeError, lambda: g.value)
                g.unlocked()
                try:
                    with g.unlocked(): raise error
                except KeyError as caught:
                    caught.__traceback__ = None
            take(lock)      # dropped while held
        face.try_read(); face.try_write(); face.try_upgradable_read(); complete(face.read())
    """,
    "refusals": """
        raises(TypeError, RWLock, value, other); raises(TypeError, AsyncRWLock, value=other)
        for take in TAKE.values():
            raises(Timeout, take, written, timeout=0); raises(Timeout, take, written, timeout=1e-6)
        raises(Timeout, taken.write, timeout=0); raises(Timeout, taken.write, timeout=1e-6)
        for take in TRY.values():
            take(written)
        taken.try_write(); taken.aio.try_write(); upgradable.try_upgradable_read()
        for bad in (-2, float("nan"), "x", object):
            for take in (*TAKE.values(), *TAKE_ASYNC.values()):
                raises((ValueError, TypeError), take, lock, timeout=bad)
            raises((ValueError, TypeError), guard.upgrade, timeout=bad)
        raises(WouldDeadlock, upgradable.write); raises(WouldDeadlock, upgradable.upgradable_read)
        g = lock.write()
        g.release()
        raises(RuntimeError, g.release); raises(RuntimeError, lambda: g.value); raises(RuntimeError, g.downgrade)
        raises(RuntimeError, setattr, g, "value", other); raises(RuntimeError, g.unlocked().__enter__)
        raises(RuntimeError, g.unlocked().__exit__, None, None, None)
    """,
    "cycles": """
        k = RWLock(); g = k.write(); g.value = [k, g, value]
        k = RWLock(); g = k.write(); g.value = [k, g]; g = g.downgrade(); g.value.append(g)
        k = RWLock(); g = k.aio.try_write(); g.value = [k, g, k.aio, other]; g = g.downgrade_to_upgradable()
        k = RWLock(); g = k.write(); g.value = [k, g]; g.release()
    """,
    "reading": """
        repr(lock); repr(guard); repr(face); hash(face); face == lock.aio; face.sync; weakref.ref(lock)
        lock.locked(); face.locked(); lock.readers; face.readers; lock.locked_exclusive(); RWLock[int]; taken._state()
        taken._holders(None); written._holders(None); upgradable._holders(None)
    """,
    "coroutines": """
        for take in TAKE_ASYNC.values():
            complete(take(lock)).release(); context.run(complete, take(lock)).release()
            take(lock); take(lock).close()
            raises(KeyError, take(lock).throw, error)
            error.__traceback__ = None
            c = take(lock); complete(c).release(); raises(RuntimeError, c.send, None)
            raises(Timeout, complete, take(written, timeout=0))
        g = complete(face.upgradable_read())
        g.upgrade(); g.upgrade().close(); g.upgraded(); g.unlocked()
        w = complete(g.upgrade()); g = w.downgrade_to_upgradable()
        b = g.upgraded(); complete(b.__aenter__()); complete(b.__aexit__(None, None, None))
        b = g.unlocked(); complete(b.__aenter__()); complete(b.__aexit__(None, None, None))
        g.downgrade().release()
    """,
    "threads that wait": """
        g = lock.write()
        waiting = [spawn(lambda take=take: take(lock, timeout=20).release()) for take in TAKE.values()]
        eventually(lambda: len(lock._state()["waiters"]) == 4)
        g.release()
        for one in waiting:
            one.result()
        g, r = lock.upgradable_read(), lock.read()
        waiting = spawn(lambda: g.upgrade().release())
        eventually(lambda: lock._state()["waiters"])
        r.release()
        waiting.result()
    """,
    "tasks that wait": """
        async def visit(take):
            async with take(lock, timeout=20) as g:
                await asyncio.sleep(0)
        async def main():
            await asyncio.gather(*(visit(take) for take in TAKE_ASYNC.values()))
            async with face.upgradable_read() as g:
                r = lock.read()
                upgrade = Stepper(g.upgrade())
                upgrade.step()
                r.release()
                (await upgrade.finish()).downgrade_to_upgradable().release()
            async with face.write() as g:
                async with g.unlocked():
                    await turns(1)
            g = lock.write()
            first, second = Stepper(face.write()), Stepper(face.read())
            first.step()
            second.step()
            g.release(fair=True)
            await first.woken()
            first.cancel()
            first.step()
            (await second.finish()).release()
        loop.run_until_complete(main())
    """,
    "tasks that give up": """
        async def main():
            g = await face.upgradable_read()
            r = lock.read()
            for wait in (
                written.aio.read(timeout=1e-6), asyncio.wait_for(taken.aio.write(), 0), g.upgrade(timeout=1e-6),
                asyncio.wait_for(g.upgrade(), 0),
            ):
                try:
                    await wait
                except TimeoutError:
                    pass
            tasks = [asyncio.create_task(take(written)) for take in TAKE_ASYNC.values()]
            tasks.append(asyncio.create_task(g.upgrade()))
            await turns()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            stepper = Stepper(taken.aio.write())
            stepper.step()
            stepper.close()
            r.release()
            g.release()
        loop.run_until_complete(main())
    """,
}


@pytest.mark.parametrize("calls", CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(CALLS[calls], setup=SETUP, watch=WATCH, repeats=1_000, timeout=120)


@pytest.mark.parametrize(
    "code",
    [
        "with lock.read(): pass",
        "lock.write().release()",
        "lock.upgradable_read().upgrade().downgrade().release()",
        "complete(face.write()).release()",
        "g = lock.write(); g.value = object(); g.release()",
        "taken.try_write()",
    ],
)
def test_memory_is_flat_over_a_hundred_thousand_calls(code):
    assert_no_leak(code, setup=SETUP, watch=WATCH, repeats=100_000)
