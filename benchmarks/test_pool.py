"""Pools: one table for each scenario, with all contenders in it; and that all lend the same objects, and no more.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import sys
import threading
from collections import Counter

import pytest

from benchmarks.groups import cases
from benchmarks.peers import pool as peers
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.pool import SCENARIOS, WAITINGS

N = 2000
"""Operations of each thread in one timed call; the figures are for a call, with the start of its threads or loop."""
LONG = 30.0
"""Until a test gives up."""


def here(*groups: list) -> list:
    """The contenders of these groups that are there, each once."""
    every = {contender.name: contender for group in groups for contender in group if contender.make is not None}
    return [pytest.param(contender, id=name) for name, contender in every.items()]


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("waiting", WAITINGS, ids=lambda waiting: waiting.name)
def test_every_thread_notes_its_waits(waiting):
    for contender in waiting.contenders:
        if contender.make is not None:
            all_waits = waiting.run(contender, waiting.threads, seconds=0.02)
            assert len(all_waits) == waiting.threads
            assert all(all_waits), contender.name


class Counted:
    """A contender whose calls are counted, or, of ferrule, whose pools say how often they leased an object."""

    def __init__(self, contender) -> None:
        self.calls = Counter()
        self.pools = []
        self.lock = threading.Lock()
        verbs = {verb: getattr(contender, verb) for verb in ["take", "timed", "async_take", "give"]}
        counting = {verb: self._counting(verb, call_of) for verb, call_of in verbs.items() if call_of}
        self.contender = dataclasses.replace(
            contender, make=self._keeping(contender.make), **({} if contender.ours else counting)
        )

    def _keeping(self, make):
        def keeping(objects, **hooks):
            self.pools.append(make(objects, **hooks))
            return self.pools[-1]

        return keeping

    def _counting(self, verb, call_of):
        def counting(made):
            call = call_of(made)

            def counted(*item):
                with self.lock:
                    self.calls["give" if verb == "give" else "take"] += 1
                return call(*item)

            return counted

        return counting

    def taken_and_given(self):
        if not self.contender.ours:
            return self.calls["take"], self.calls["give"]
        stats = [pool.stats() for pool in self.pools]
        taken = sum(each["created"] + each["reused"] for each in stats)
        return taken, taken - sum(pool.in_use for pool in self.pools)


@pytest.mark.parametrize("n", [1, 7, N])
@pytest.mark.parametrize(
    ("scenario", "contender"),
    [
        pytest.param(scenario, contender, id=f"{scenario.name}-{contender.name}")
        for scenario in SCENARIOS
        for contender in scenario.contenders
        if contender.make is not None
    ],
)
def test_every_contender_lends_as_often_as_its_figure_says(scenario, contender, n):
    counted, threads = Counted(contender), scenario.threads[-1]
    loops = scenario.loops(counted.contender, threads)
    run_loops(loops, n)
    assert counted.taken_and_given() == (len(loops) * n, len(loops) * n)


# Every contender, by the calls of its scenarios: it has so many objects, and nobody gets one that is taken. Who is to
# wait is given a moment only: too short a moment could hide a fault, but never find one that is not there.

MOMENT = 0.05


def object_of(contender, taken):
    if contender is peers.SQLALCHEMY:
        return taken.dbapi_connection
    return taken.value if contender.form == "leases" else taken


def give(contender, made, taken):
    if contender.form == "leases":
        taken.release()
    else:
        contender.give(made)(taken)


async def async_give(contender, made, taken):
    if contender.form == "leases":
        await taken.release()
    else:
        contender.give(made)(taken)


@pytest.mark.parametrize("verb", ["take", "timed"])
@pytest.mark.parametrize("contender", here(peers.THREADS))
def test_a_thread_waits_until_an_object_comes_back(contender, verb):
    made, came = contender.make(2), threading.Event()
    take, got = getattr(contender, verb)(made), []
    first, second = take(), take()
    one, other = object_of(contender, first), object_of(contender, second)

    def third():
        got.append(contender.take(made)())
        came.set()

    thread = threading.Thread(target=third)
    thread.start()
    entered = came.wait(MOMENT)
    give(contender, made, first)
    assert came.wait(LONG)
    thread.join()
    assert not entered
    assert one is not other
    assert object_of(contender, got[0]) is one
    give(contender, made, got[0])
    give(contender, made, second)


@pytest.mark.parametrize("contender", here([one for one in peers.THREADS if one is not peers.SQLALCHEMY]))
def test_who_waits_with_a_timeout_gives_up(contender):
    made = contender.make(1)
    taken = contender.take(made)()
    with pytest.raises((TimeoutError, queue.Empty, getattr(sys.modules.get("aiologic"), "QueueEmpty", queue.Empty))):
        contender.timed(made)()
    give(contender, made, taken)
    give(contender, made, contender.timed(made)())


@pytest.mark.parametrize("contender", here(peers.TASKS, peers.BOTH))
def test_a_task_waits_until_an_object_comes_back(contender):
    async def tasks():
        made = contender.make(2)
        take = contender.async_take(made)
        first, second = await take(), await take()
        one, other = object_of(contender, first), object_of(contender, second)
        third = asyncio.ensure_future(take())
        await asyncio.wait([third], timeout=MOMENT)
        assert not third.done()
        assert one is not other
        await async_give(contender, made, first)
        got = await asyncio.wait_for(third, LONG)
        assert object_of(contender, got) is one
        await async_give(contender, made, got)
        await async_give(contender, made, second)

    asyncio.run(tasks())


@pytest.mark.parametrize("contender", here(peers.BOTH))
def test_a_task_gets_what_a_thread_gives_back(contender):
    async def tasks():
        made = contender.make(1)
        taken = contender.take(made)()
        given = object_of(contender, taken)
        waiting = asyncio.ensure_future(contender.async_take(made)())
        await asyncio.wait([waiting], timeout=MOMENT)
        assert not waiting.done()
        await asyncio.to_thread(give, contender, made, taken)
        got = await asyncio.wait_for(waiting, LONG)
        assert object_of(contender, got) is given
        await async_give(contender, made, got)

    asyncio.run(tasks())
