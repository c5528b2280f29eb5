"""Signals that arrive while the main thread waits in a select: it takes no arm, or one, and stays queued nowhere."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import signal, threading, time
from ferrule import Timeout, after, bounded, never, select, tick, unbounded
from tests.support.channels import channel, waiting
from tests.support.processes import interrupt, interrupted, interrupted_ahead_of, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}

def filled(capacity):
    tx, rx = bounded(capacity)
    for n in range(capacity):
        tx.send(("filled", n))
    return tx, rx

"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


WAITS = {
    "for ever": "select(rx, full.sending('item'), rx)",
    "with a timeout": "select(rx, full.sending('item'), rx, timeout=HANG)",
    "with timers": "select(rx, full.sending('item'), rx, after(HANG), never())",
}


@pytest.mark.parametrize("capacity", [0, 1, 3])
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_interrupts_it_and_changes_nothing(wait, capacity):
    run(f"""
tx, rx = channel({capacity})
full, of_full = filled({capacity})
for n in range(20):
    with interrupted(lambda: waiting(rx)["receivers"] == 2 and waiting(full)["senders"] == 1):
        {WAITS[wait]}
    assert waiting(rx) == waiting(full) == QUIET
    assert (len(rx), len(of_full)) == (0, {capacity})
thread = spawn(lambda: tx.send("item", timeout=HANG))
assert select(rx, full.sending("other"), timeout=HANG) == (0, "item", False)
thread.result()
""")


def test_one_behind_the_interrupted_one_gets_its_turn():
    run("""
(tx, rx), (_, other) = bounded(1), bounded(1)
with interrupted_ahead_of(lambda: rx.recv(timeout=HANG), lambda: waiting(rx)["receivers"]) as behind:
    select(other, rx)
assert waiting(rx) == QUIET | {"receivers": 1}
assert waiting(other) == QUIET
tx.send("item")
assert behind[0].result() == "item"
""")


def test_a_handler_may_select_on_the_same_channels():
    """It runs while the select is in no queue, so what comes is the handler's."""
    run("""
(tx, rx), (_, other) = bounded(1), bounded(1)
taken = []

def handler(signum, frame):
    assert waiting(rx) == QUIET
    taken.append(select(rx, other, timeout=HANG))

signal.signal(signal.SIGUSR1, handler)
def direct():
    eventually(lambda: waiting(rx)["receivers"] == 1)
    interrupt(signal.SIGUSR1)
    eventually(lambda: waiting(rx)["receivers"] == 1 or taken)
    tx.send("first", timeout=HANG)
    tx.send("second", timeout=HANG)

thread = spawn(direct)
after_it = select(rx, other, timeout=HANG)
thread.result()
assert sorted([after_it, *taken]) in ([(0, "first", False), (0, "second", False)], [(0, "first", False)])
assert waiting(rx) == waiting(other) == QUIET
""")


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_storm_of_interrupts_loses_and_doubles_nothing(capacity):
    run(f"""
(tx, rx), (tx_too, rx_too) = channel({capacity}), channel({capacity})
COUNT = 400
received = []

def produce():
    for n in range(COUNT):
        select(tx.sending(n), tx_too.sending(n), timeout=HANG)

def attempt():
    taken = select(rx, rx_too, timeout=HANG)
    received.append(taken.value)

thread = spawn(produce)
# An interrupt between the call and the note of what it gave loses that: one that is counted, and no more.
calls, interrupts = storm_of_interrupts(attempt, lambda: not thread.alive and len(rx) + len(rx_too) == 0)
thread.result()
assert len(set(received)) == len(received)
assert len(received) >= COUNT - interrupts
assert rx.stats()["received"] + rx_too.stats()["received"] == COUNT
assert waiting(rx) == waiting(rx_too) == QUIET
""")


def test_an_interrupted_wait_for_a_timer_leaves_it_as_it_was():
    run("""
timer = after(0.3)
with interrupted(lambda: waiting(timer)["receivers"] == 1):
    timer.recv()
assert waiting(timer) == QUIET
assert isinstance(select(timer, timeout=HANG).value, float)
""")
