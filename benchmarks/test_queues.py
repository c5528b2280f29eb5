"""The drop-in queues: one table for each scenario, the original beside ours; and that both move the same items.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.groups import cases
from benchmarks.peers import queues as peers
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.queues import SCENARIOS

N = 2000
"""Items in one timed call."""
FEW = 50


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("name", peers.THREADS)
def test_both_give_the_items_in_the_same_order(name):
    came = []
    for contender in peers.THREADS[name]:
        made = contender.make(None)
        for item in (3, 1, 2) * FEW:
            contender.send(made)(item)
        came.append([contender.recv(made)() for _ in range(3 * FEW)])
    assert came[0] == came[1]


@pytest.mark.parametrize("name", peers.TASKS)
def test_both_give_tasks_the_items_in_the_same_order(name):
    async def through(contender):
        made = contender.make(None)
        for item in (3, 1, 2) * FEW:
            await contender.async_send(made)(item)
        return [await contender.async_recv(made)() for _ in range(3 * FEW)]

    came = [asyncio.run(through(contender)) for contender in peers.TASKS[name]]
    assert came[0] == came[1]


def test_each_is_beside_what_it_takes_the_place_of():
    for group in (*peers.THREADS.values(), *peers.TASKS.values()):
        assert [contender.ours for contender in group] == [False, True]
