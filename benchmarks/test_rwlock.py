"""Locks around a value: one table for each scenario, with all contenders in it; and that all keep out whom they must.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections import Counter

import pytest

from benchmarks.groups import cases
from benchmarks.peers import rwlock as peers
from benchmarks.scenarios import run_loops
from benchmarks.scenarios import rwlock as scenarios
from benchmarks.scenarios.rwlock import SCENARIOS, WAITINGS

N = 2000
"""Operations of each thread in one timed call; the figures are for a call, with the start of its threads or loop."""


def here(contenders: list) -> list:
    return [pytest.param(one, id=one.name) for one in contenders if one.make is not None]


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("waiting", WAITINGS, ids=lambda waiting: waiting.name)
def test_every_thread_notes_its_waits(waiting):
    for contender in waiting.contenders:
        if contender.make is not None:
            all_waits = waiting.run(contender, waiting.threads, seconds=0.02)
            assert len(all_waits) == waiting.threads == sum(count for _, count in waiting.roles)
            assert all(all_waits), contender.name


class Counted:
    """A lock of ferrule's or of a peer's, of which every hold is counted, and every end of one."""

    def __init__(self, contender) -> None:
        self.calls = Counter()
        self.lock = threading.Lock()
        self.contender = dataclasses.replace(
            contender,
            make=lambda: CountedLock(contender.make(), self.count),
            reader=lambda lock: lock.kept("read", contender.reader(lock.lock)),
            writer=lambda lock: lock.kept("write", contender.writer(lock.lock)),
            read=lambda lock: lock.calls("read", contender.read_calls(lock.lock)),
            write=lambda lock: lock.calls("write", contender.write_calls(lock.lock)),
        )

    def count(self, call) -> None:
        with self.lock:
            self.calls[call] += 1


class CountedLock:
    """By the calls that a scenario makes of ferrule's locks, and by what it makes once of a peer's."""

    def __init__(self, lock, count) -> None:
        self.lock = lock
        self.count = count

    def read(self):
        return CountedGuard(self.lock.read(), "read", self.count)

    def write(self):
        return CountedGuard(self.lock.write(), "write", self.count)

    def try_read(self):
        return CountedGuard(self.lock.try_read(), "read", self.count)

    def kept(self, kind, reader):
        return CountedGuard(reader, kind, self.count)

    def calls(self, kind, calls):
        def acquire(**how):
            self.count(kind)
            return calls[0](**how)

        def release():
            self.count("release")
            calls[1]()

        return acquire, release


class CountedGuard:
    def __init__(self, guard, kind, count) -> None:
        self.guard, self.kind, self.count = guard, kind, count

    def __call__(self):
        return CountedGuard(self.guard(), self.kind, self.count)

    def __enter__(self):
        self.count(self.kind)
        self.entered = self.guard.__enter__()
        return self

    def __exit__(self, *error):
        self.count("release")
        return self.guard.__exit__(*error)

    async def __aenter__(self):
        self.count(self.kind)
        self.entered = await self.guard.__aenter__()
        return self

    async def __aexit__(self, *error):
        self.count("release")
        return await self.guard.__aexit__(*error)

    def release(self):
        self.count(self.kind)
        self.count("release")
        self.guard.release()

    @property
    def value(self):
        self.count(f"{self.kind}: get")
        return self.entered.value

    @value.setter
    def value(self, value):
        self.count(f"{self.kind}: set")
        self.entered.value = value


def writes_of(scenario, n):
    """How many of n operations write."""
    if scenario.name == "write_release":
        return n
    mix = scenario.name.rpartition("_")[2]
    return -(-n // scenarios.MIXES[int(mix)]) if mix.isdigit() else 0


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
def test_every_contender_takes_the_lock_as_often_as_its_figure_says(scenario, contender, n):
    counted, threads = Counted(contender), scenario.threads[-1]
    run_loops(scenario.loops(counted.contender, threads), n)
    if scenario.name.startswith(("async_mixed", "async_held")):
        writes = sum(writes_of(scenario, share) for share in scenarios.shares(n, scenarios.TASKS))
    else:
        writes = threads * writes_of(scenario, n)
    calls = counted.calls
    assert (calls["read"], calls["write"]) == (threads * n - writes, writes)
    if scenario.name == "try_read" and not contender.ours:
        assert 1 <= calls["release"] <= threads * n  # of readers that try at once a peer may turn one away
    else:
        assert calls["release"] == threads * n
    if contender.ours and ("with" in scenario.name or "async" in scenario.name or "mixed" in scenario.name):
        assert (calls["read: get"], calls["write: set"]) == (threads * n - writes, writes)


# Every contender, by what its scenarios use. Whoever is to be kept out is given a moment only: too short a moment could
# hide a fault, but never find one that is not there.

MOMENT = 0.05
LONG = 30.0
"""Until a test gives up."""


def block(contender, lock, *, writes):
    """What a scenario would enter."""
    entered = contender.writer(lock) if writes else contender.reader(lock)
    return entered if contender.form == "kept" else entered()


def held(contender, lock, *, writes):
    """The same by the calls."""
    if contender.form == "guards":
        guard = lock.write() if writes else lock.read()
        return contextlib.closing(Closing(guard.release))
    acquire, release = contender.write_calls(lock) if writes else contender.read_calls(lock)
    acquire()
    return contextlib.closing(Closing(release))


class Closing:
    def __init__(self, close) -> None:
        self.close = close


WAYS = pytest.mark.parametrize("way", [block, held])


def inside_beside(contender, way, first, second):
    """Whether a thread gets in within a moment while another is there, and that it does in the end."""
    lock, inside = contender.make(), threading.Event()

    def enter():
        with way(contender, lock, writes=second):
            inside.set()

    thread = threading.Thread(target=enter)
    with way(contender, lock, writes=first):
        thread.start()
        entered = inside.wait(LONG if contender.shared and not (first or second) else MOMENT)
    assert inside.wait(LONG)
    thread.join()
    return entered


@WAYS
@pytest.mark.parametrize("contender", here(peers.THREADS))
def test_threads_read_side_by_side_if_it_says_so(contender, way):
    assert inside_beside(contender, way, False, False) == contender.shared


@WAYS
@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("contender", here(peers.THREADS))
def test_who_writes_is_alone(contender, way, first, second):
    assert not inside_beside(contender, way, first, second)


@pytest.mark.parametrize("contender", here(peers.TRYING))
def test_a_try_fails_beside_a_writer(contender):
    lock, tried = contender.make(), []

    def try_once():
        if contender.form == "guards":
            tried.append(lock.try_read() is not None)
        else:
            acquire, _ = contender.read_calls(lock)
            tried.append(acquire(blocking=False))

    with block(contender, lock, writes=True):
        thread = threading.Thread(target=try_once)
        thread.start()
        thread.join()
    assert tried == [False]


@pytest.mark.parametrize(
    ("first", "second"), [(False, False), (True, True), (True, False), (False, True)], ids=["rr", "ww", "wr", "rw"]
)
@pytest.mark.parametrize("contender", here(peers.TASKS))
def test_tasks_read_side_by_side_and_write_alone(contender, first, second):
    async def tasks():
        lock, inside = contender.make(), asyncio.Event()

        async def enter():
            async with block(contender, lock, writes=second):
                inside.set()

        async with block(contender, lock, writes=first):
            task = asyncio.create_task(enter())
            for _ in range(10):
                await asyncio.sleep(0)
            entered = inside.is_set()
        await task
        return entered

    assert asyncio.run(tasks()) == (contender.shared and not (first or second))
