"""A token that a claim sends is consumed by the wait that it was sent to, also by one that has run out of time."""

import time

import pytest

from ferrule import Timeout
from tests.support.race import eventually, outcome, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")


def test_a_thread_that_times_out_while_it_is_claimed_waits_for_its_token():
    gate = probe.Gate()
    while True:
        waiting = spawn(outcome(lambda: gate.wait(timeout=0.05), Timeout))
        eventually(lambda: gate.waiting or not waiting.alive)  # noqa: B023 (called at once)
        claimed = gate.claim()
        time.sleep(0.2)
        if waiting.alive:
            break
        assert waiting.result() is Timeout, "the claiming thread has not woken it"
        assert gate.try_wait(), "it was gone before the claim, which left a permit"
    claimed.wake()
    assert waiting.result() is True
    assert (gate.permits, gate.waiting) == (0, 0)
