"""Long queues of a lock, of either kind: what they held comes back, whoever is cancelled and whatever loop closed."""

import pytest

from tests.support.each import each
from tests.support.leaks import assert_few_objects_left
from tests.support.locks import LOCKS

SETUP = """
import asyncio, warnings
from tests.support.driver import new_loop, turns
from tests.support.locks import WAYS, kinds, loop_with_parked_tasks
from tests.support.race import HANG

warnings.simplefilter("ignore")
way = WAYS["{}"]
lock = way.make(0)
loop = new_loop("asyncio")
"""

QUEUES = {
    "ten thousand tasks": """
async def main():
    hold = way.take(lock)
    ways = way.siblings * 10_000
    tasks = [asyncio.create_task(other.visit_async(lock)) for other in ways[:10_000]]
    await turns()
    assert len(kinds(lock)) == 10_000
    for task in tasks[::3]:
        task.cancel()
    await turns()
    way.end(lock, hold)
    await asyncio.wait(tasks)

def once():
    loop.run_until_complete(main())
    assert lock._state() == way.free
""",
    "closed loops": """
def once():
    hold = way.take(lock)
    left = [loop_with_parked_tasks("asyncio", other, lock, 15) for other in way.siblings]
    for there, _ in left:
        there.close()
    assert len(kinds(lock)) == 15 * len(way.siblings)
    way.end(lock, hold)
    way.end(lock, way.take(lock, timeout=HANG))
    left.clear()
""",
}


@pytest.mark.parametrize("queue", QUEUES)
@each(LOCKS)
def test_a_long_queue_leaves_nothing(way, queue):
    assert_few_objects_left(SETUP.format(way) + QUEUES[queue])
