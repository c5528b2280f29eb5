"""Both locks under load, whatever way they are held: nobody is forgotten, and nothing that was done is lost."""

import asyncio

import pytest

from tests.support.driver import run, turns
from tests.support.locks import LOCKS
from tests.support.race import HANG

pytestmark = pytest.mark.stress


@pytest.mark.parametrize("way", LOCKS, ids=str)
def test_ten_thousand_tasks_of_which_30_percent_are_cancelled_leave_it_free(way, rng, loop_name):
    async def main():
        lock = way.make(0)
        hold = way.take(lock)
        tasks = [
            asyncio.create_task(other.visit_async(lock, **rng.choice([{}, other.patience])))
            for other in rng.choices(way.siblings, k=10_000)
        ]
        doomed = rng.sample(tasks, 3_000)
        for task in doomed[:500]:
            task.cancel()  # before their first steps
        await turns(1)
        for task in doomed[500:1_000]:
            task.cancel()  # in the queue
        way.end(lock, hold)
        for number, task in enumerate(doomed[1_000:]):
            task.cancel()  # anywhere
            if number % 20 == 0:
                await turns(1)
        ended, left = await asyncio.wait(tasks, timeout=4 * HANG)
        assert not left
        assert 7_000 <= sum(not task.cancelled() for task in ended) <= 9_000
        assert lock._state() == way.free
        with way.within(lock) as guard:
            assert guard.value == sum(task.result() for task in ended if not task.cancelled())

    run(main(), loop_name)


IN_ORDER = {"Mutex": ["lock", "acquire", "enter"], "RWLock": ["read", "write", "read_recursive"]}
"""Ways that are let in by order of arrival; those that may be passed by readers are apart."""


@pytest.mark.parametrize("way", [way for way in LOCKS if way.fair], ids=str)
def test_ten_thousand_tasks_are_let_in_by_order_of_arrival(way, rng, loop_name):
    """Where every hold that ends is handed over; readers who are let in together are woken in order too."""

    async def main():
        lock = way.make()
        order = []

        async def visit(number, other):
            hold = await other.take_async(lock)
            order.append(number)
            if rng.random() < 0.1:
                await asyncio.sleep(0)
            other.end(lock, hold)

        hold = way.take(lock)
        ways = [way.sibling(name) for name in IN_ORDER[way.lock.__name__]]
        tasks = [asyncio.create_task(visit(number, rng.choice(ways))) for number in range(10_000)]
        await turns(1)
        way.end(lock, hold)
        await asyncio.wait_for(asyncio.gather(*tasks), 4 * HANG)
        assert order == list(range(10_000))
        assert lock._state() == way.free

    run(main(), loop_name)
