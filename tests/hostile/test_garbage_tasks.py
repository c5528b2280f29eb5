"""Garbage whose destruction wakes tasks that are part of it, in the thread where their loop runs."""

import pytest

from tests.support.leaks import in_subprocess

WAITS = {
    "Mutex": """
    lock = Mutex([])
    kept = lock.lock()
    kept.value.append(kept)
    waits = [lock.aio.lock() for _ in range(3)]
""",
    "RWLock": """
    lock = RWLock([])
    kept = lock.write()
    kept.value.append(kept)
    waits = [lock.aio.read(), lock.aio.write(), lock.aio.upgradable_read()]
""",
    "channel": """
    tx, rx = bounded(1)
    tx.send((tx, rx))
    waits = [tx.aio.send(n) for n in range(3)]
""",
    "permit": """
    tx, rx = bounded(2)
    kept = tx.reserve()
    tx.send((tx, rx, kept))
    waits = [tx.aio.send(n) for n in range(3)]
""",
}


@pytest.mark.parametrize("how", ["wait", "wait_for(wait)"])
@pytest.mark.parametrize("what", WAITS)
def test_tasks_that_wait_for_garbage_are_garbage(what, how, loop_name):
    """The end of a hold, or of an end, gives them what they wait for; they go all the same, and the loop goes on."""
    in_subprocess(f"""
import asyncio, gc, warnings, weakref
from ferrule import Mutex, RWLock, bounded
from tests.support.driver import run, turns
warnings.simplefilter("ignore")

async def wait_for(wait):
    await wait

async def begin():
    {WAITS[what].strip()}
    tasks = [asyncio.create_task({how}) for wait in waits]
    await turns()
    assert not any(task.done() for task in tasks)
    return [weakref.ref(task) for task in tasks]

async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    tasks = await begin()
    for _ in range(2):
        gc.collect()
        await turns(5)
    assert [task() for task in tasks] == [None, None, None]

run(main(), {loop_name!r})
""")
