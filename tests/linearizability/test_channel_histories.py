"""Recorded histories of threads on one channel can all be explained one call at a time."""

import itertools
import random
import sys
import time

import pytest

from ferrule import Disconnected, Empty, Full, Timeout, bounded
from tests.support.channels import channel, waiting
from tests.support.history import History, call
from tests.support.linearizability import check
from tests.support.models import ChannelModel
from tests.support.race import run_together

ERRORS = (Disconnected, Empty, Full, Timeout, RuntimeError)
CALLS = 8
"""Random calls of each thread; one more at most gives up the permit that it may still have."""
SHORT = 1e-5
METHODS = [
    *("send", "send", "send_within", "try_send", "try_send", "force_send"),
    *("recv", "recv", "recv_within", "try_recv", "try_recv"),
    *("reserve", "reserve_within", "permit_send", "permit_release"),
    "length",
]
ENDINGS = ["close", "close_channel"]
"""What is called once in a while, instead of one of METHODS."""

CAPACITIES = [1, 2, None]


@pytest.fixture(autouse=True)
def in_short_turns(switch_interval):
    """With the GIL, calls as short as these overlap only where threads take turns often."""
    sys.setswitchinterval(1e-5)


class Actor:
    """One thread's random calls on the ends, which all threads share, recorded as the model names them."""

    def __init__(self, name, ends, history, rng):
        self.name = name
        self.ends = ends
        self.log = history.recorder(name)
        self.rng = rng
        self.items = (f"{name}-{n}" for n in itertools.count())
        self.permit = self.permit_name = None
        self.ended = False

    def run(self):
        try:
            for _ in range(CALLS):
                methods = ENDINGS if self.rng.random() < 0.05 else METHODS
                getattr(self, self.rng.choice(methods))()
            if self.permit:
                self.permit_release()
        finally:
            self.ended = True

    def end(self, side):
        name = self.rng.choice([name for name in self.ends if name.startswith(side)])
        return name, self.ends[name]

    def sends(self, name, **how):
        end, tx = self.end("tx")
        item = next(self.items)
        method = getattr(tx, "send" if name == "send_within" else name)
        self.log(lambda: method(item, **how), name, end, item, errors=ERRORS)

    def send(self):
        self.sends("send")

    def send_within(self):
        self.sends("send_within", timeout=SHORT)

    def try_send(self):
        self.sends("try_send")

    def force_send(self):
        self.sends("force_send")

    def reserves(self, name, **how):
        if self.permit:
            self.permit_send()
            return
        end, tx = self.end("tx")

        def reserve():
            self.permit = tx.reserve(**how)

        self.permit_name = next(self.items)
        self.log(reserve, name, end, self.permit_name, errors=ERRORS)

    def reserve(self):
        self.reserves("reserve")

    def reserve_within(self):
        self.reserves("reserve_within", timeout=SHORT)

    def permit_send(self):
        permit, self.permit = self.permit, None
        if permit:
            item = next(self.items)
            self.log(lambda: permit.send(item), "permit_send", self.permit_name, item, errors=ERRORS)

    def permit_release(self):
        permit, self.permit = self.permit, None
        if permit:
            self.log(permit.release, "permit_release", self.permit_name, errors=ERRORS)

    def recv(self):
        end, rx = self.end("rx")
        self.log(rx.recv, "recv", end, errors=ERRORS)

    def recv_within(self):
        end, rx = self.end("rx")
        self.log(lambda: rx.recv(timeout=SHORT), "recv_within", end, errors=ERRORS)

    def try_recv(self):
        end, rx = self.end("rx")
        self.log(rx.try_recv, "try_recv", end, errors=ERRORS)

    def length(self):
        _, end = self.end(self.rng.choice(["tx", "rx"]))
        self.log(lambda: len(end), "length")

    def close(self):
        name, end = self.end(self.rng.choice(["tx", "rx"]))
        self.log(end.close, "close", name)

    def close_channel(self):
        _, end = self.end(self.rng.choice(["tx", "rx"]))
        self.log(end.close_channel, "close_channel")


def look(end):
    """What changes with whatever anybody does."""
    return waiting(end), end.stats(), len(end)


def end_the_wait_of_all(actors, ends, history):
    """Closes the channel once all who have not ended wait, if that comes to be; then the receivers, if it does again.

    Gives who waited in vain, or None.
    """
    log = history.recorder("main")
    end = ends["tx0"]
    closed = False
    while running := sum(not actor.ended for actor in actors):
        seen = look(end)
        queued, _, items = seen
        if queued["senders"] + queued["receivers"] == running and look(end) == seen:
            room = end.capacity is None or items + queued["reserved"] < end.capacity
            if closed:  # who waits may have a permit, for which receivers wait
                log(ends["rx0"].close, "close", "rx0")
                log(ends["rx1"].close, "close", "rx1")
            else:
                log(end.close_channel, "close_channel")
            if closed and not queued["reserved"]:
                return "somebody, though the channel is closed"
            closed = True
            if queued["receivers"] and items:
                return "a receiver, for one of the items that there are"
            if queued["senders"] and room:
                return "a sender, for a slot that is free"
        time.sleep(0)
    return None


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("threads", [2, 3])
def test_every_history_is_linearizable(threads, capacity, rng, request):
    for _ in range(5_000 if request.config.option.long else 150):
        tx, rx = channel(capacity)
        ends = {"tx0": tx, "tx1": tx.clone(), "rx0": rx, "rx1": rx.clone()}
        history = History()
        actors = [Actor(f"T{n}", ends, history, random.Random(rng.random())) for n in range(threads)]
        *_, in_vain = run_together(
            *(actor.run for actor in actors),
            lambda actors=actors, ends=ends, history=history: end_the_wait_of_all(actors, ends, history),
        )
        assert in_vain is None
        model = ChannelModel(capacity, frozenset({"tx0", "tx1"}), frozenset({"rx0", "rx1"}))
        verdict = check(history.calls(), model)
        assert verdict, repr(verdict)
        assert waiting(tx) == {"senders": 0, "receivers": 0, "reserved": 0}


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_histories_of_what_never_waits_are_linearizable(capacity, rng, request):
    """More of them, and closer together: nobody sleeps."""
    methods = ["try_send", "try_send", "force_send", "try_recv", "try_recv", "length"]
    for _ in range(5_000 if request.config.option.long else 300):
        tx, rx = channel(capacity)
        history = History()
        actors = [Actor(f"T{n}", {"tx": tx, "rx": rx}, history, random.Random(rng.random())) for n in range(3)]

        def run(actor):
            for _ in range(CALLS):
                getattr(actor, actor.rng.choice(methods))()

        run_together(*(lambda actor=actor: run(actor) for actor in actors))
        verdict = check(history.calls(), ChannelModel(capacity))
        assert verdict, repr(verdict)


def test_who_has_sent_an_item_finds_one():
    """Each of four takes one after each that it sends: there is one for everybody who looks."""
    tx, rx = bounded(4)

    def send_and_take():
        for n in range(500):
            tx.send(n)
            rx.try_recv()  # Empty would be raised

    run_together(*[send_and_take] * 4)
    assert len(rx) == 0


IN_TURN = {
    "an item is received twice": [
        ("try_send", "tx", "a", None),
        ("try_recv", "rx", "a"),
        ("try_recv", "rx", "a"),
    ],
    "an item is lost": [("try_send", "tx", "a", None), ("try_recv", "rx", Empty)],
    "one overtakes another": [
        ("try_send", "tx", "a", None),
        ("try_send", "tx", "b", None),
        ("try_recv", "rx", "b"),
    ],
    "there are too many": [("try_send", "tx", item, None) for item in "abc"],
    "there is room": [("try_send", "tx", "a", None), ("try_send", "tx", "b", Full)],
    "the newest is displaced": [
        ("try_send", "tx", "a", None),
        ("try_send", "tx", "b", None),
        ("force_send", "tx", "c", "b"),
    ],
    "a slot is promised twice": [
        ("reserve", "tx", "p", None),
        ("try_send", "tx", "a", None),
        ("try_send", "tx", "b", None),
    ],
    "sent after the end": [("close_channel", None), ("try_send", "tx", "a", None)],
    "gone before it was received": [
        ("try_send", "tx", "a", None),
        ("close", "tx", None),
        ("try_recv", "rx", Disconnected),
    ],
}


@pytest.mark.parametrize("calls", IN_TURN.values(), ids=IN_TURN)
def test_histories_that_must_be_rejected(calls):
    history = [call(2 * n, 2 * n + 1, name, *args, result=result) for n, (name, *args, result) in enumerate(calls)]
    assert check(history[:-1], ChannelModel(2))
    assert not check(history, ChannelModel(2))
