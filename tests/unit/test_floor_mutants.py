"""Tokens, references and calls of the loop that a wait must account for: faults here are slow to show elsewhere."""

import asyncio
import sys
import time

import pytest

from ferrule import Timeout
from tests.support.driver import new_loop, run
from tests.support.race import HANG, eventually, outcome, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")


class TestTokens:
    def test_a_thread_that_times_out_while_it_is_claimed_waits_for_its_token(self):
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

    def test_a_thread_that_is_claimed_while_it_spins_does_not_sleep(self):
        gate = probe.Gate()
        for _ in range(500):
            waiting = spawn(lambda: gate.wait(spinning=True))
            while not gate.waiting:
                time.sleep(0)
            gate.release()
            assert waiting.result() is True


class TestReferences:
    """A coroutine has as many references after a wait as before it, however the wait ended."""

    @pytest.mark.parametrize("insists", [False, True], ids=["plain", "insists"])
    @pytest.mark.parametrize("end", ["release", "hand", "retry", "timeout", "throw", "throw when claimed", "close"])
    def test_come_back(self, end, insists, loop_name):
        async def main():
            gate = probe.Gate()
            coroutine = gate.wait_async(timeout=0.002 if end == "timeout" else None, insists=insists)
            kept = [coroutine] * 10  # so that one reference too few is counted, not missed
            count = sys.getrefcount(coroutine)
            future = coroutine.send(None)
            assert sys.getrefcount(coroutine) > count, "the queue has one"
            match end:
                case "release" | "hand":
                    getattr(gate, end)()
                    finish(coroutine.send, None, StopIteration)
                case "retry":
                    gate.release()
                    assert gate.try_wait()
                    coroutine.send(None)
                    gate.release()
                    finish(coroutine.send, None, StopIteration)
                case "timeout":
                    await asyncio.wait([future])
                    finish(coroutine.send, None, Timeout)
                case "throw" if not insists:
                    finish(coroutine.throw, KeyError, KeyError)
                case "throw":
                    coroutine.throw(KeyError)
                    gate.release()
                    finish(coroutine.send, None, KeyError)
                case "throw when claimed":
                    gate.release()
                    finish(coroutine.throw, KeyError, KeyError)
                case "close":
                    coroutine.close()
            await asyncio.sleep(0)
            assert sys.getrefcount(coroutine) == count
            assert gate.waiting == 0
            assert len(kept) == 10

        def finish(step, argument, error):
            with pytest.raises(error):
                step(argument)

        run(main(), loop_name)


class TestCalls:
    """A wake that does not come from the running loop itself calls that loop."""

    @pytest.mark.parametrize("where", ["nowhere", "elsewhere"])
    def test_a_loop_that_ran_in_this_thread_and_runs_no_more(self, where, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        calls = []
        call = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: calls.append(args) or call(*args)

        async def park():
            task = asyncio.ensure_future(gate.wait_async())
            await asyncio.sleep(0)
            return task

        task = loop.run_until_complete(park())
        assert gate.waiting == 1
        if where == "elsewhere":
            running = spawn(lambda: loop.run_until_complete(asyncio.wait_for(task, HANG)))
            eventually(loop.is_running)
        gate.release()
        assert len(calls) == 1
        if where == "nowhere":
            running = spawn(lambda: loop.run_until_complete(asyncio.wait_for(task, HANG)))
        assert running.result() is True
        loop.close()

    def test_a_loop_that_is_closed_while_it_is_called(self, loop_name):
        """close() empties the loop's list of things to do, and a call that passed its check comes after that."""
        gate = probe.Gate()
        loop = new_loop(loop_name)
        calls = []
        loop.call_soon_threadsafe = lambda *args: (loop.close(), calls.append(args))

        async def park():
            task = asyncio.ensure_future(gate.wait_async())
            await asyncio.sleep(0)
            return task

        task = loop.run_until_complete(park())
        assert gate.hand()
        assert len(calls) == 1
        assert gate.try_wait(), "passed on, though the loop has not refused the call"
        calls.clear()
        assert (gate.permits, gate.waiting) == (0, 0)
        task._log_destroy_pending = False  # a task that its loop left behind is what this is about
