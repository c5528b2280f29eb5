"""Streams: one table for each scenario, asyncio's beside ours; and that all receive the same.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import copies
from benchmarks.groups import cases
from benchmarks.peers.streams import CONTENDERS
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.streams import SCENARIOS

N = 50
"""Messages in one timed call."""


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize(
    ("contender", "kind"),
    [(contender, kind) for contender in CONTENDERS for kind in (b"e", b"f") if kind in contender.works],
    ids=lambda value: value.decode() if isinstance(value, bytes) else value.name,
)
def test_each_takes_all_that_comes_and_finds_no_more(contender, kind):
    other = contender.make()

    async def work(n, told):
        await contender.work(other.connect(kind, 64, told), kind, 64, n)

    asyncio.run(work(10, 10))
    with pytest.raises(EOFError):  # IncompleteReadError is one
        asyncio.run(work(11, 10))


@pytest.mark.parametrize("kind", copies.KINDS)
def test_ours_copies_less(kind):
    theirs, ours = (asyncio.run(copies.copied(make, kind, 5000, 300)) for make in copies.READERS.values())
    assert ours < theirs / 2


def test_asyncio_s_is_beside_ours():
    assert [contender.ours for contender in CONTENDERS] == [False, True, True]
