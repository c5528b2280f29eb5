"""Recorded histories of selects beside plain calls: to all others a select is the one call that its arm stands for.

So each select is written down again as what it did: a send, a receive or a reservation; where no arm was ready, a look
at each of them, at a moment of its own, that found it busy. What comes of that must have an order that plain channels
accept, and at the end what is left in them is counted: then exactly one arm had its effect, and nothing is lost.

A rendezvous is to the model a channel without a limit, since an item that was paired may go to another receiver than
the one it was paired with. That somebody received meanwhile is asked besides.
"""

import asyncio
import itertools
import math
import random
import sys
from dataclasses import dataclass, replace

import pytest

from ferrule import Disconnected, Empty, Full, Selected, Timeout, aio, select, try_select
from tests.support.channels import channel, waiting
from tests.support.driver import LoopThread
from tests.support.history import History, call
from tests.support.linearizability import MOST_CALLS, check
from tests.support.loops import LOOPS
from tests.support.models import ChannelModel
from tests.support.race import HANG, run_together

ERRORS = (Disconnected, Timeout)
CALLS = 6
CANCELLED = "cancelled"
CAPACITIES = [(0, 0), (0, 1), (1, 2), (1, None)]


@dataclass(frozen=True)
class ChannelsModel:
    """Several channels, which know nothing of each other."""

    channels: tuple[ChannelModel, ...]

    def on(self, place, name, *args):
        answer, after = getattr(self.channels[place], name)(*args)
        return answer, ChannelsModel((*self.channels[:place], after, *self.channels[place + 1 :]))


def model_of(capacities):
    return ChannelsModel(tuple(ChannelModel(capacity or None) for capacity in capacities))


# --- what is done ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A call: `plain`, of its only arm; `select`; `try_select`; or `close_channel`. An arm is such as ("recv", 0).

    What it sends has its name, and so has the permit that it may get.
    """

    kind: str
    arms: tuple[tuple[str, int], ...]
    item: str
    timeout: float
    biased: bool
    cancelled_after: int | None = None  # turns of the loop


class Actor:
    """One thread or task, and what it has recorded."""

    def __init__(self, name, ends, history, rng):
        self.ends = ends
        self.log = history.recorder(name)
        self.rng = rng
        self.items = (f"{name}-{n}" for n in itertools.count())

    def step(self, *, cancels=False):
        kind = self.rng.choice(["plain", "select", "select", "select", "try_select"])
        if self.rng.random() < 0.03:
            kind = "close_channel"
        count = 1 if kind in ("plain", "close_channel") else self.rng.randrange(1, 4)
        arms = tuple((self.rng.choice(["recv", "send"]), self.rng.randrange(len(self.ends))) for _ in range(count))
        turns = None
        if cancels and kind == "select" and [verb for verb, _ in arms].count("send") <= 1 and self.rng.random() < 0.3:
            turns = self.rng.randrange(3)
        elif kind == "select" and self.rng.random() < 0.3:
            arms = tuple(("reserve" if verb == "send" and self.has_slots(n) else verb, n) for verb, n in arms)
        timeout = self.rng.choice([0, 1e-5, 1e-3])
        return Step(kind, arms, next(self.items), timeout, self.rng.random() < 0.3, turns)

    def has_slots(self, place):
        return self.ends[place][0].capacity != 0

    def given(self, step):
        made = {
            "recv": lambda tx, rx: rx,
            "send": lambda tx, rx: tx.sending(step.item),
            "reserve": lambda tx, rx: tx.reserving(),
        }
        return [made[verb](*self.ends[place]) for verb, place in step.arms]

    def now(self, step):
        """The call of a step that never waits, or None."""
        tx, _ = self.ends[step.arms[0][1]]
        return {
            "try_select": lambda: try_select(*self.given(step), biased=step.biased),
            "close_channel": tx.close_channel,
        }.get(step.kind)

    def use_permit(self, step, taken):
        if isinstance(taken, Selected) and not taken.closed and step.arms[taken.index][0] == "reserve":
            place = step.arms[taken.index][1]
            self.log(lambda: taken.value.send(step.item), "on", place, "permit_send", step.item, step.item)

    def run(self):
        for _ in range(CALLS):
            step = self.step()
            self.use_permit(step, self.log(self.now(step) or (lambda step=step: self.wait(step)), step, errors=ERRORS))

    def wait(self, step):
        if step.kind == "select":
            return select(*self.given(step), timeout=step.timeout, biased=step.biased)
        ((verb, place),) = step.arms
        tx, rx = self.ends[place]
        return rx.recv(timeout=step.timeout) if verb == "recv" else tx.send(step.item, timeout=step.timeout)

    async def run_task(self):
        for _ in range(CALLS):
            step = self.step(cancels=True)
            if now := self.now(step):
                self.log(now, step, errors=ERRORS)
            else:
                self.use_permit(step, await self.log.awaited(self.wait_in_task(step), step, errors=ERRORS))
            if self.rng.random() < 0.5:
                await asyncio.sleep(0)

    async def wait_in_task(self, step):
        if step.kind == "select":
            waiting = aio.select(*self.given(step), timeout=step.timeout, biased=step.biased)
        else:
            ((verb, place),) = step.arms
            tx, rx = self.ends[place]
            if verb == "recv":
                waiting = rx.aio.recv(timeout=step.timeout)
            else:
                waiting = tx.aio.send(step.item, timeout=step.timeout)
        if step.cancelled_after is None:
            return await waiting
        task = asyncio.ensure_future(waiting)
        for _ in range(step.cancelled_after):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return CANCELLED


# --- what it was -----------------------------------------------------------------------------------------------------


def plain_call(arm, item):
    """How the model names what the arm stands for, and what it answers where that would wait."""
    verb, place = arm
    if verb == "recv":
        return (place, "recv", "rx"), (place, "try_recv", "rx"), Empty
    return (place, verb, "tx", item), (place, f"try_{verb}", "tx", item), Full


def as_plain_calls(call, capacities):
    """The calls of the model that one recorded call was."""
    if call.name == "on":
        return [call]
    step, result = call.name, call.result

    def was(args, result, **changes):
        return replace(call, name="on", args=args, result=result, **changes)

    if step.kind == "close_channel":
        return [was((step.arms[0][1], "close_channel"), None)]
    if result is CANCELLED:  # on a rendezvous its item may have been taken
        sends = [arm for arm in step.arms if arm[0] == "send" and capacities[arm[1]] == 0]
        return [was(plain_call(arm, step.item)[0], None, end=math.inf) for arm in sends]
    if result is Timeout or (result is None and step.kind == "try_select"):
        looks = [plain_call(arm, step.item)[1:] for arm in sorted(set(step.arms))]
        return [was(args, busy) for args, busy in looks if busy is Empty or capacities[args[0]] != 0]
    if step.kind == "plain":
        return [was(plain_call(step.arms[0], step.item)[0], result)]
    arm = step.arms[result.index]
    if result.closed:
        assert result.value == (step.item if arm[0] == "send" else None)
        return [was(plain_call(arm, step.item)[0], Disconnected)]
    return [was(plain_call(arm, step.item)[0], result.value if arm[0] == "recv" else None)]


def is_look(call):
    return call.result in (Empty, Full)


def rewritten(calls, capacities):
    """All of them. Where that is more than the checker takes, some of the looks, which change nothing, are left out."""
    plain = [one for call in calls for one in as_plain_calls(call, capacities)]
    looks = [call for call in plain if is_look(call)]
    effects = [call for call in plain if not is_look(call)]
    return effects + looks[: MOST_CALLS - len(effects)]


def nobody_received(call, calls):
    """Whether it has sent into a rendezvous at which no call that could receive was under way."""
    place = call.args[0]
    receiving = [other for other in calls if isinstance(other.name, Step) and ("recv", place) in other.name.arms]
    return not any(other.begin <= call.end and call.begin <= other.end for other in receiving)


def check_history(history, ends, capacities):
    log = history.recorder("main")
    for place, (_, rx) in enumerate(ends):
        log(lambda rx=rx: tuple(rx.drain()), "on", place, "drain", "rx")
    calls = history.calls()
    plain = rewritten(calls, capacities)
    verdict = check(plain, model_of(capacities))
    assert verdict, repr(verdict)
    for one in plain:
        if one.args[1] == "send" and capacities[one.args[0]] == 0 and not one.pending and one.result is None:
            assert not nobody_received(one, calls), one
    assert all(waiting(tx) == {"senders": 0, "receivers": 0, "reserved": 0} for tx, _ in ends)


@pytest.fixture(autouse=True)
def in_short_turns(switch_interval):
    """With the GIL, calls as short as these overlap only where threads take turns often."""
    sys.setswitchinterval(1e-5)


@pytest.mark.parametrize("capacities", CAPACITIES)
@pytest.mark.parametrize("threads", [2, 3])
def test_every_history_of_threads_is_linearizable(threads, capacities, rng, request):
    for _ in range(5_000 if request.config.option.long else 150):
        ends, history = [channel(capacity) for capacity in capacities], History()
        actors = [Actor(f"T{n}", ends, history, random.Random(rng.random())) for n in range(threads)]
        run_together(*(actor.run for actor in actors))
        check_history(history, ends, capacities)


@pytest.mark.parametrize("capacities", CAPACITIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_every_history_of_tasks_is_linearizable(loop, capacities, rng, request):
    """Two of one loop and one of another."""
    with LoopThread(loop) as here, LoopThread(loop) as there:
        for _ in range(5_000 if request.config.option.long else 100):
            ends, history = [channel(capacity) for capacity in capacities], History()
            actors = [Actor(f"T{n}", ends, history, random.Random(rng.random())) for n in range(3)]
            tasks = [where.spawn(actor.run_task()) for where, actor in zip((here, there, here), actors, strict=True)]
            for task in tasks:
                task.result(HANG)
            check_history(history, ends, capacities)


def selected(arms, result, item="s"):
    return Step("select", arms, item, 1.0, False), result


def plain(*args, result=None):
    return ("on", *args), result


BOTH = (("recv", 0), ("recv", 1))
SENDS = (("send", 0), ("send", 1))

IN_TURN = {
    "two arms have received": [
        plain(0, "send", "tx", "a"),
        plain(1, "send", "tx", "b"),
        selected(BOTH, Selected(0, "a", False)),
        plain(1, "drain", "rx", result=()),
    ],
    "two arms have sent": [
        selected(SENDS, Selected(0, None, False)),
        plain(0, "recv", "rx", result="s"),
        plain(1, "recv", "rx", result="s"),
    ],
    "no arm has sent": [selected(SENDS, Selected(1, None, False)), plain(1, "drain", "rx", result=())],
    "the wrong arm is named": [plain(0, "send", "tx", "a"), selected(BOTH, Selected(1, "a", False))],
    "the item was somebody else's": [
        plain(0, "send", "tx", "a"),
        plain(0, "recv", "rx", result="a"),
        selected(BOTH, Selected(0, "a", False)),
    ],
    "one was ready": [plain(1, "send", "tx", "a"), selected(BOTH, Timeout)],
    "one was open": [plain(0, "send", "tx", "a"), selected(BOTH, Selected(1, None, True))],
    "there was no room": [
        plain(0, "send", "tx", "a"),
        selected((("send", 0), ("recv", 1)), Selected(0, None, False)),
    ],
    "the slot was promised": [
        selected((("reserve", 0),), Selected(0, "permit", False)),
        plain(0, "try_send", "tx", "a"),
    ],
}


@pytest.mark.parametrize("calls", IN_TURN.values(), ids=IN_TURN)
def test_histories_that_must_be_rejected(calls):
    history = []
    for n, (what, result) in enumerate(calls):
        name, *args = what if isinstance(what, tuple) else (what,)
        history.append(call(2 * n, 2 * n + 1, name, *args, result=result))
    capacities = 1, 1
    assert check(rewritten(history[:-1], capacities), model_of(capacities))
    assert not check(rewritten(history, capacities), model_of(capacities))


def test_a_send_into_a_rendezvous_where_nobody_received_is_seen():
    receives = call(0, 1, Step("select", BOTH, "x", 1.0, False), result=Timeout)
    assert nobody_received(call(2, 3, "on", 0, "send", "tx", "a"), [receives])
    assert not nobody_received(call(1, 3, "on", 0, "send", "tx", "a"), [receives])
