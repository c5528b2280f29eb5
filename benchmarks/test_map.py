"""Maps: one table for each scenario and number of threads, with all contenders in it; and that all do the same work.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter

import pytest

from benchmarks.groups import cases
from benchmarks.peers import map as peers
from benchmarks.scenarios import map as scenarios
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.map import INSERT, INT, MIXES, READ, REMOVE, SCENARIOS, STR, TAILS, UPDATE

N = 2000
"""Operations of each thread in one timed call; the figures are for a call, with the start of its threads."""
SIZE = 1000
"""Of a small plan: keys in the map, and steps of each thread."""

HERE = [contender for contender in peers.MAPS if contender.make is not None]
MIXED = [contender for contender in peers.MIXED if contender.make is not None]
by_name = {"ids": lambda contender: contender.name}


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: tail.name)
def test_every_call_is_timed(tail):
    for contender in tail.contenders:
        if contender.make is not None:
            assert len(tail.run(contender, N)) == N, contender.name


@pytest.mark.parametrize("contender", HERE, **by_name)
def test_the_verbs_of_every_contender_do_as_the_ones_of_dict(contender):
    m = contender.make()
    m["a"] = 1
    m["b"] = 2
    m["a"] = 3
    assert (m.get("a"), m.get("b"), m.get("c")) == (3, 2, None)
    assert m["a"] == 3
    del m["b"]
    assert m.get("b") is None
    assert sorted(contender.pairs(m)) == [("a", 3)]
    if contender.snapshot:
        assert contender.snapshot(m)() == {"a": 3}
    if contender.setdefault:
        setdefault = contender.setdefault(m)
        assert (setdefault("a", 4), setdefault("c", 5), m["c"]) == (3, 5, 5)


@pytest.mark.parametrize("contender", [*peers.CACHES, *peers.ASYNC_CACHES], **by_name)
def test_every_cache_computes_a_value_once(contender):
    calls = []

    async def later():
        return calls.append(1) or "value"

    async def asked():
        return [await m.get_or_compute("k", later) for _ in range(3)]

    m = contender.make()
    if contender.asynchronous:
        assert asyncio.run(asked()) == ["value"] * 3
    else:
        assert [m.get_or_compute("k", lambda: calls.append(1) or "value") for _ in range(3)] == ["value"] * 3
    assert calls == [1]


@pytest.mark.parametrize("contender", [c for c in peers.COUNTING if c.make and c is not peers.DICT], **by_name)
def test_no_increment_is_lost(contender):
    made = []
    kept = dataclasses.replace(contender, make=lambda: made.append(contender.make()) or made[-1])
    run_loops(scenarios.increment(kept, 2, one=True), N)
    (key,) = scenarios.keys(INT, [0])
    assert int(made[0][key]) == key + 2 * N


@pytest.mark.parametrize("kind", [INT, STR])
@pytest.mark.parametrize("equal", [False, True], ids=["identical", "equal"])
@pytest.mark.parametrize("name", MIXES)
def test_a_plan_has_its_shares_and_can_be_done_again(name, equal, kind):
    _, mix = MIXES[name]
    plan = mix.plan(2, kind, equal=equal, size=SIZE, steps=SIZE)
    stored = {key: key for key in plan.stored}
    assert len(stored) == len(plan.stored) == (0 if mix.grows else SIZE)
    for operations, asked in plan.steps:
        assert Counter(operations) == Counter(
            {READ: mix.read * 10, INSERT: mix.insert * 10, REMOVE: mix.remove * 10, UPDATE: mix.update * 10}
        )
        present = dict(stored)
        for operation, key in zip(operations, asked, strict=True):
            assert (key in present) == (operation != INSERT)
            assert operation == INSERT or (present[key] is key) != equal
            if operation == INSERT:
                present[key] = key
            elif operation == REMOVE:
                del present[key]
        assert mix.grows or present.keys() == stored.keys()


@pytest.mark.parametrize("contender", MIXED, **by_name)
@pytest.mark.parametrize("name", MIXES)
def test_every_contender_ends_a_mix_with_the_same_keys(name, contender):
    _, mix = MIXES[name]
    plan = mix.plan(2, INT, equal=True, size=SIZE, steps=SIZE)
    made = []
    kept = dataclasses.replace(contender, make=lambda: made.append(contender.make()) or made[-1])
    run_loops(scenarios.planned(kept, mix, plan), SIZE)
    expected = set(plan.stored)
    for operations, asked in plan.steps:
        for operation, key in zip(operations, asked, strict=True):
            if operation == INSERT:
                expected.add(key)
            elif operation == REMOVE:
                expected.discard(key)
    assert {key for key, _ in contender.pairs(made[0])} == expected
