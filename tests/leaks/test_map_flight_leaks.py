"""References, objects and memory come back to the start after get_or_compute() and every call of the async face."""

import pytest

from tests.support.leaks import assert_no_leak

SETUP = """
import asyncio, contextvars, gc, warnings
from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, Timeout, WouldDeadlock, aio
from tests.support.driver import Stepper, complete, new_loop, turns
from tests.support.maps import Key
from tests.support.race import raises, spawn

warnings.simplefilter("ignore")
value, other, key, clash, absent = object(), object(), Key("key", 5), Key("clash", 5), Key("absent", 5)
m = ConcurrentMap({key: value, clash: value})
face = m.aio
error = ZeroDivisionError("mine")
loop = new_loop("asyncio")

def gives():
    return value

def fails():
    raise error

async def gives_later():
    await asyncio.sleep(0)
    return value

async def fails_later():
    await asyncio.sleep(0)
    raise error

def forget():
    error.__traceback__ = None
    error.__context__ = None

class Raising(Key):
    def __eq__(self, other):
        raise error
    __hash__ = Key.__hash__

raising = Raising("raising", 5)

def deep(n):
    return n and m.get_or_compute(n, lambda: deep(n - 1))

deep(50)    # fills the free lists: what they keep is no leak
for n in range(1, 51):
    del m[n]
"""

WATCH = ["value", "other", "key", "clash", "absent", "raising", "m", "face", "error", "gives", "gives_later"]

CALLS = {
    "get_or_compute": "m.get_or_compute(key, gives); m.get_or_compute(absent, gives); m.pop(absent)",
    "a new map": "n = ConcurrentMap(shards=2); n.get_or_compute(absent, gives); n.get_or_compute(Key('x', 5), gives)",
    "factories that fail": """
        raises(ZeroDivisionError, m.get_or_compute, absent, fails); forget()
        raises(ValueError, m.get_or_compute, absent, lambda: MISSING)
        raises(TypeError, m.get_or_compute, absent, gives_later)
        raises(TypeError, m.get_or_compute, absent, None)
        raises(TypeError, m.get_or_compute, [], gives)
        raises(ValueError, m.get_or_compute, key, gives, timeout=-1)
        raises(ZeroDivisionError, m.get_or_compute, raising, gives); forget()
    """,
    "deadlocks": """
        raises(WouldDeadlock, m.get_or_compute, absent, lambda: m.get_or_compute(absent, gives))
        raises(Timeout, m.get_or_compute, absent, lambda: m.get_or_compute(absent, gives, timeout=0))
        with m.entry(absent):
            raises(WouldDeadlock, m.get_or_compute, absent, gives)
    """,
    "a value that loses": """
        assert m.get_or_compute(absent, lambda: m.insert(absent, other) or value) is other; m.pop(absent)
    """,
    "faces": """
        f = aio.ConcurrentMap({key: value}); f.sync; f == m.aio; hash(f); repr(f); aio.ConcurrentMap[int, int]
        raises(ValueError, aio.ConcurrentMap, shards=3)
    """,
    "coroutines that never began": """
        face.get_or_compute(absent, gives); face.entry(key); face.entries(key, absent); face.compute(key, gives)
        face.set(absent, value); face.pop(absent); face.entry(key).close()
        raises(ValueError, face.set, absent, MISSING); raises(TypeError, complete, face.entry([]))
    """,
}

IN_A_LOOP = {
    "values": """
        await face.get_or_compute(key, gives); await face.get_or_compute(absent, gives); await face.pop(absent)
        await face.get_or_compute(absent, gives_later); m.pop(absent)
        for factory in (fails, fails_later):
            try: await face.get_or_compute(absent, factory)
            except ZeroDivisionError: forget()
    """,
    "tasks that wait": """
        tasks = [asyncio.create_task(face.get_or_compute(absent, gives_later)) for _ in range(5)]
        await asyncio.gather(*tasks); m.pop(absent)
        t = asyncio.create_task(face.get_or_compute(absent, fails_later))
        tasks = [asyncio.create_task(face.get_or_compute(absent, gives_later)) for _ in range(3)]
        await asyncio.wait([t]); t.exception(); await asyncio.gather(*tasks); m.pop(absent)
        del t, tasks; forget()
    """,
    "tasks that are cancelled": """
        for n in range(4):
            tasks = [asyncio.create_task(face.get_or_compute(absent, gives_later)) for _ in range(3)]
            await turns(n)
            for task in tasks[:2]: task.cancel()
            await asyncio.wait(tasks); m.pop(absent, None)
        del tasks, task
    """,
    "coroutines that are closed and dropped": """
        async def forever(): await asyncio.get_running_loop().create_future()
        for end in (Stepper.close, lambda s: s.throw(KeyError())):
            a, b = Stepper(face.get_or_compute(absent, forever)), Stepper(face.get_or_compute(absent, gives))
            a.step(); b.step(); end(b); end(a)
        a, b = Stepper(face.get_or_compute(absent, forever)), Stepper(face.get_or_compute(absent, forever))
        a.step(); b.step()
        del a, b, end; gc.collect()
        assert m._state() == {}
    """,
    "deadlocks": """
        async def again(): return await face.get_or_compute(absent, gives)
        try: await face.get_or_compute(absent, again)
        except WouldDeadlock: pass
        del again
    """,
    "entries": """
        async with face.entry(key) as e: e.value = value
        async with face.entries(key, absent) as es: es[1].insert(other); es[1].remove()
        with face.try_entry(absent) as e:
            try: await face.entry(absent)
            except WouldDeadlock: pass
            tasks = [asyncio.create_task(c) for c in (face.set(absent, value), face.pop(absent), face.entry(absent))]
            tasks += [asyncio.create_task(face.compute(absent, lambda old: REMOVE))]
            await turns()
            tasks[2].cancel()
        await asyncio.wait(tasks)
        del e, es, tasks; gc.collect()
    """,
    "compute": """
        async def later(old):
            await asyncio.sleep(0)
            return other
        await face.compute(absent, later); await face.compute(absent, lambda old: ABORT)
        await face.compute(absent, lambda old: REMOVE)
        try: await face.compute(key, lambda old: fails())
        except ZeroDivisionError: forget()
        await face.set(absent, other); await face.set(absent, value); await face.pop(absent); await face.pop(absent, 1)
        try: await face.pop(absent)
        except KeyError: pass
    """,
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_calls_leave_nothing(calls):
    assert_no_leak(calls, setup=SETUP, watch=WATCH, repeats=500)


@pytest.mark.parametrize("calls", IN_A_LOOP.values(), ids=IN_A_LOOP)
def test_tasks_leave_nothing(calls):
    indented = calls.replace("\n        ", "\n            ")
    assert_no_leak(
        f"""
        async def main():
{indented}
        loop.run_until_complete(main())
        """,
        setup=SETUP,
        watch=WATCH,
        repeats=200,
    )


def test_threads_that_wait_leave_nothing():
    assert_no_leak(
        """
        running = [spawn(m.get_or_compute, absent, gives) for _ in range(3)]
        for one in running: assert one.result() is value
        m.pop(absent)
        del running, one
        """,
        setup=SETUP,
        watch=WATCH,
        repeats=300,
        spare_bytes=200,
    )


def test_loops_that_are_closed_leave_nothing():
    assert_no_leak(
        """
        l = new_loop("asyncio")
        t = l.create_task(face.get_or_compute(absent, lambda: asyncio.sleep(100)))
        t._log_destroy_pending = False
        l.run_until_complete(turns()); l.close()
        assert m._state() == {}
        del l, t
        gc.collect()
        """,
        setup=SETUP,
        watch=WATCH,
        repeats=200,
        spare_bytes=200,
    )
