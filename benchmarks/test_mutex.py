"""Locks: one group, and so one table, for each scenario and number of threads, with all contenders in it.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import pytest

from benchmarks.groups import cases
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.mutex import SCENARIOS, WAITINGS

N = 2000
"""Operations of each thread in one timed call; the figures are for a call, with the start of its threads or loop."""


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("waiting", WAITINGS, ids=lambda waiting: waiting.name)
def test_every_thread_notes_its_waits(waiting):
    for contender in waiting.contenders:
        all_waits = waiting.run(contender, waiting.threads, seconds=0.05)
        assert len(all_waits) == waiting.threads
        assert all(all_waits), contender.name
