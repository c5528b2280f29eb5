"""select: one table for each scenario, with all contenders in it; and that all take what was put in.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.groups import cases
from benchmarks.peers import select as peers
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.select import COUNTS, SCENARIOS

N = 2000
"""Items in one timed call; the figures are for a call, with the start of its threads and loops."""


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_comes_to_its_end(scenario, n):
    for contender in scenario.contenders:
        if contender.make is not None:
            run_loops(scenario.loops(contender, scenario.threads[0]), n)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("contender", peers.THREADS, ids=lambda contender: contender.name)
def test_threads_take_what_was_put_in(contender, count):
    queues = contender.make(count)
    for place in range(count):
        contender.put(queues, place)(place)
    take = contender.take(queues)
    assert sorted(take() for _ in range(count)) == [*range(count)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("contender", peers.TASKS, ids=lambda contender: contender.name)
def test_tasks_take_what_was_put_in(contender, count):
    async def main():
        queues = contender.make(count)
        take = contender.async_take(queues)
        taking = asyncio.ensure_future(take())
        await asyncio.sleep(0)
        for place in range(count):
            await contender.async_put(queues, place)(place)
        taken = [await taking, *[await take() for _ in range(count - 1)]]
        contender.close(queues)
        return sorted(taken)

    assert asyncio.run(main()) == [*range(count)]


@pytest.mark.parametrize("contender", peers.EITHER, ids=lambda contender: contender.name)
def test_either_says_which_it_did(contender):
    queues = contender.make(2, 1)
    either = contender.either(queues)
    assert either("sent") is False
    contender.put(queues, 0)("put")
    assert either("no room") is True
    assert contender.take(queues[1:])() == "sent"
