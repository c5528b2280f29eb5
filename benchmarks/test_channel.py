"""Channels: one table for each scenario, with all contenders in it; and that all move the same items.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections import Counter

import pytest

from benchmarks.groups import cases
from benchmarks.peers import channel as peers
from benchmarks.peers.channel import Pair
from benchmarks.scenarios import channel as scenarios
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.channel import SCENARIOS, TAILS, Meeting

N = 2000
"""Items in one timed call; the figures are for a call, with the start of its threads and loops."""
FEW = 300
"""More than fit into a queue of any capacity here."""


def here(*groups: list) -> list:
    """The contenders of these groups that are there, each once."""
    every = {contender.name: contender for group in groups for contender in group if contender.make is not None}
    return [pytest.param(contender, id=name) for name, contender in every.items()]


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    benchmark(run_loops, scenario.loops(contender, threads), N)


@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: tail.name)
def test_every_call_is_timed(tail):
    for contender in tail.contenders:
        if contender.make is not None:
            assert len(tail.run(contender, N)) == N, contender.name


class Counted:
    """A contender whose calls are counted: how many items went into its queues and came out again."""

    def __init__(self, contender) -> None:
        self.calls = Counter()
        self.lock = threading.Lock()
        verbs = {verb: getattr(contender, verb) for verb in ["send", "recv", "async_send", "async_recv"]}
        self.contender = dataclasses.replace(
            contender, **{verb: self._counting(verb, call_of) for verb, call_of in verbs.items() if call_of}
        )

    def _counting(self, verb, call_of):
        def counting(made):
            call = call_of(made)

            def counted(*item):
                with self.lock:
                    self.calls[verb.removeprefix("async_")] += 1
                return call(*item)

            return counted

        return counting


@pytest.mark.parametrize("n", [1, 7, N])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_sends_and_receives_what_its_figure_is_for(scenario, n):
    (ours, *_) = [contender for contender in scenario.contenders if contender.ours] or [None]
    if ours is None:
        pytest.skip(f"not there: {scenario.contenders[0].missing}")
    (threads,) = scenario.threads
    if isinstance(ours, Pair):
        there, back = Counted(ours.there), Counted(ours.back)
        counted, both = [there, back], dataclasses.replace(ours, there=there.contender, back=back.contender)
        trips = 1
    else:
        counted = [Counted(ours)]
        both = counted[0].contender
        trips = 2 if "ping_pong" in scenario.name else 1
    run_loops(scenario.loops(both, threads), n)
    for one in counted:
        assert one.calls == {"send": trips * n, "recv": trips * n}


@pytest.mark.parametrize("producers", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 5, 100])
def test_shares_are_the_whole(n, producers):
    parts = scenarios.shares(n, producers)
    assert (len(parts), sum(parts)) == (producers, n)
    assert max(parts) - min(parts) <= 1


# Every contender, by the calls that its scenarios use: no item is lost, none comes twice, none overtakes.


async def received(recv):
    return [await recv() for _ in range(FEW)]


async def sent(send):
    for item in range(FEW):
        await send(item)


def at_each_capacity(buffered, meeting):
    """Contenders with a capacity that they take, 0 for those of a meeting."""
    here_by = [(contender, capacity) for capacity in (1, 100, None) for contender in here(*buffered)]
    for contender, capacity in [*here_by, *((contender, 0) for contender in here(meeting))]:
        yield pytest.param(*contender.values, capacity, id=f"{capacity}-{contender.id}")


@pytest.mark.parametrize(
    ("contender", "capacity"), [*at_each_capacity([peers.THREADS, peers.THREADS_UNBOUNDED], peers.THREADS_MEETING)]
)
def test_items_come_in_order_from_thread_to_thread(contender, capacity):
    made = contender.make(capacity)
    send, recv = contender.send(made), contender.recv(made)
    came = []
    run_loops([lambda n: [*map(send, range(n))], lambda n: came.extend(recv() for _ in range(n))], FEW)
    assert came == [*range(FEW)]


@pytest.mark.parametrize(
    ("contender", "capacity"), [*at_each_capacity([peers.TASKS, peers.TASKS_UNBOUNDED], peers.TASKS_MEETING)]
)
def test_items_come_in_order_from_task_to_task(contender, capacity):
    async def tasks():
        made = contender.make(capacity)
        _, came = await asyncio.gather(sent(contender.async_send(made)), received(contender.async_recv(made)))
        contender.close(made)
        return came

    assert asyncio.run(tasks()) == [*range(FEW)]


@pytest.mark.parametrize(
    ("contender", "capacity"),
    [
        pytest.param(contender, capacity, id=f"{capacity}-{contender.name}")
        for group, capacity in [(peers.TO_LOOP, 100), (peers.TO_LOOP_UNBOUNDED, None)]
        for contender in group
        if contender.make is not None
    ],
)
def test_items_come_in_order_from_thread_to_task(contender, capacity):
    meeting, came = Meeting(), []

    async def receiving():
        async with meeting.open(contender.make(capacity)) as made:
            came.extend(await received(contender.async_recv(made)))

    def sending(n):
        with meeting.join() as made:
            for item in range(n):
                contender.send(made)(item)

    run_loops([sending, lambda n: asyncio.run(receiving())], FEW)
    assert came == [*range(FEW)]


@pytest.mark.parametrize("contender", here(peers.FROM_LOOP))
def test_items_come_in_order_from_task_to_thread(contender):
    meeting, came = Meeting(), []

    async def sending():
        async with meeting.open(contender.make(100)) as made:
            await sent(contender.async_send(made))

    def receiving(n):
        with meeting.join() as made:
            came.extend(contender.recv(made)() for _ in range(n))

    run_loops([receiving, lambda n: asyncio.run(sending())], FEW)
    assert came == [*range(FEW)]


@pytest.mark.parametrize("contender", here(peers.BETWEEN_LOOPS))
def test_items_come_in_order_from_loop_to_loop(contender):
    meeting, came = Meeting(), []

    async def receiving():
        async with meeting.open(contender.make(100)) as made:
            came.extend(await received(contender.async_recv(made)))

    async def sending():
        with meeting.join() as made:
            await sent(contender.async_send(made))

    run_loops([lambda n: asyncio.run(receiving()), lambda n: asyncio.run(sending())], FEW)
    assert came == [*range(FEW)]


@pytest.mark.parametrize("pair", here(peers.THERE_AND_BACK))
def test_a_task_answers_each_item(pair):
    meeting, came = Meeting(), []

    async def answering():
        async with meeting.open((pair.there.make(None), pair.back.make(None))) as (there, back):
            await scenarios.async_answer_each(pair.there.async_recv(there), pair.back.async_send(back), FEW)

    def asking(n):
        with meeting.join() as (there, back):
            for item in range(n):
                pair.there.send(there)(item)
                came.append(pair.back.recv(back)())

    run_loops([asking, lambda n: asyncio.run(answering())], FEW)
    assert came == [*range(FEW)]


# A queue of 2 holds up who sends a third item. What must not be done is waited for a moment only: too short a moment
# could hide a fault, but never find one that is not there.

MOMENT = 0.1
LIMITED = [contender for contender in peers.TO_LOOP if contender is not peers.OURS_UNBOUNDED]


@pytest.mark.parametrize("contender", here(peers.THREADS))
def test_a_full_queue_holds_up_a_thread(contender):
    made = contender.make(2)
    send, recv = contender.send(made), contender.recv(made)
    sending = threading.Thread(target=lambda: [*map(send, range(3))])
    sending.start()
    sending.join(MOMENT)
    assert sending.is_alive()
    assert [recv() for _ in range(3)] == [0, 1, 2]
    sending.join()


@pytest.mark.parametrize("contender", here(LIMITED))
def test_a_full_queue_of_a_loop_holds_up_a_thread(contender):
    async def receiving():
        made = contender.make(2)
        send, recv = contender.send(made), contender.async_recv(made)
        sending = asyncio.create_task(asyncio.to_thread(lambda: [*map(send, range(3))]))
        await asyncio.wait([sending], timeout=MOMENT)
        assert not sending.done()
        assert [await recv() for _ in range(3)] == [0, 1, 2]
        await sending

    asyncio.run(receiving())


@pytest.mark.parametrize("contender", here(peers.TASKS, peers.FROM_LOOP))
def test_a_full_queue_holds_up_a_task(contender):
    async def tasks():
        made = contender.make(2)
        send = contender.async_send(made)
        sending = asyncio.gather(*map(send, range(3)))
        await asyncio.wait([sending], timeout=MOMENT)
        assert not sending.done()
        for _ in range(3):
            await (contender.async_recv(made)() if contender.async_recv else asyncio.to_thread(contender.recv(made)))
        await sending
        contender.close(made)

    asyncio.run(tasks())
