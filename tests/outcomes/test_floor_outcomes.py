"""Races between a claim and everything that can meet it: the allowed results, each with its reason, and no others."""

import asyncio
import random
import time
from functools import partial

import pytest

from ferrule import Timeout
from tests.support.driver import LoopThread, new_loop
from tests.support.loops import CALLED_WHILE_IT_CLOSES
from tests.support.race import RACES, eventually, outcome, run_together, soon, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")


def times_out(wait, **keywords):
    """A wait with a timeout of up to 0.3 ms; Timeout is a result."""
    return outcome(lambda: wait(timeout=random.random() * 0.0003, **keywords), Timeout)


def parked_thread(gate):
    """A thread that waits at the gate for as long as it takes."""
    before = gate.waiting
    thread = spawn(gate.wait)
    eventually(lambda: gate.waiting == before + 1)
    return thread


@pytest.mark.parametrize("spinning", [False, True], ids=["sleeping", "spinning"])
class TestTimeoutOfAThread:
    def test_against_a_release(self, spinning):
        for _ in range(RACES // 4):
            gate = probe.Gate()
            waited, _ = run_together(times_out(gate.wait, spinning=spinning), soon(gate.release))
            assert (waited, gate.permits, gate.waiting) in {
                (True, 0, 0),  # it took the permit: claimed in time, or its last try found it
                (Timeout, 1, 0),  # it gave up first: the permit stays
            }

    def test_against_a_hand(self, spinning):
        for _ in range(RACES // 4):
            gate = probe.Gate()
            waited, handed = run_together(times_out(gate.wait, spinning=spinning), soon(gate.hand))
            assert (waited, handed, gate.permits, gate.waiting) in {
                (True, True, 0, 0),  # what was handed is its own, however late it looks
                (Timeout, False, 0, 0),  # not queued yet or no longer: nothing was handed
            }

    def test_of_the_first_leaves_the_permit_to_the_second(self, spinning):
        for _ in range(RACES // 4):
            gate = probe.Gate()
            impatient = spawn(times_out(gate.wait, spinning=spinning))
            patient = spawn(gate.wait)
            time.sleep(random.random() * 0.0003)
            gate.release()
            if impatient.result() is True:
                gate.release()  # the first one took it; this one is for the second
            assert patient.result() is True, "whoever did not use the permission passed it on"
            assert (gate.permits, gate.waiting) == (0, 0)


@pytest.mark.parametrize("kind", ["thread", "task"])
class TestTwoGatesAndOneWaiter:
    @pytest.fixture
    def start(self, kind):
        """Lets something wait at both gates; the result says how to wait for its end."""
        if kind == "thread":
            yield lambda several: spawn(several.wait).result
        else:
            with LoopThread() as there:
                yield lambda several: there.spawn(several.wait_async()).result

    def stage(self, start):
        gates = probe.Gate(), probe.Gate()
        end = start(probe.Several(*gates))
        eventually(lambda: all(gate.waiting for gate in gates))
        return *gates, end

    def test_two_releases(self, start):
        for _ in range(RACES // 10):
            one, two, end = self.stage(start)
            run_together(one.release, two.release)
            assert end() is True
            assert (one.permits, two.permits, one.waiting, two.waiting) in {
                (0, 1, 0, 0),  # it took the first gate's permit, and the second's stays
                (1, 0, 0, 0),  # or the other way round
            }

    def test_two_hands(self, start):
        for _ in range(RACES // 10):
            one, two, end = self.stage(start)
            handed = run_together(one.hand, two.hand)
            assert end() is True
            assert sum(handed) == 1, "one waiter is claimed once"
            assert (one.permits, two.permits, one.waiting, two.waiting) == (0, 0, 0, 0)

    def test_a_release_and_a_hand(self, start):
        for _ in range(RACES // 10):
            one, two, end = self.stage(start)
            _, handed = run_together(one.release, two.hand)
            assert end() is True
            assert (handed, one.permits, two.permits, one.waiting, two.waiting) in {
                (True, 1, 0, 0, 0),  # handed by the second: the first gate's permit stays
                (False, 0, 0, 0, 0),  # claimed by the first before: nobody left to hand to
            }

    def test_others_behind_it_get_the_permit_that_it_left(self, start):
        for _ in range(RACES // 10):
            one, two, end = self.stage(start)
            behind = parked_thread(one), parked_thread(two)
            run_together(one.release, two.release)
            assert end() is True
            eventually(lambda behind=behind: sum(thread.alive for thread in behind) == 1)
            assert one.permits + two.permits == 0
            for gate, thread in zip((one, two), behind, strict=True):
                if thread.alive:
                    gate.release()
            assert [thread.result() for thread in behind] == [True, True]


class TestTask:
    """A task waits in a loop of its own thread; claims and what meets them come from two others."""

    @pytest.fixture
    def there(self, loop_name):
        with LoopThread(loop_name) as there:
            yield there

    def park(self, there, gate, **keywords):
        """A task that waits, and how it ended: True, or the class of what it raised."""

        async def start():
            return asyncio.ensure_future(gate.wait_async(**keywords))

        async def ended():
            await asyncio.wait([task])
            return asyncio.CancelledError if task.cancelled() else type(task.exception()) if task.exception() else True

        before = gate.waiting
        task = there.run(start())
        eventually(lambda: task.done() or gate.waiting > before)
        return task, lambda: there.run(ended())

    def test_cancelled_against_a_release(self, there):
        for _ in range(RACES // 10):
            gate = probe.Gate()
            task, ended = self.park(there, gate)
            behind = parked_thread(gate)
            run_together(lambda task=task: there.loop.call_soon_threadsafe(task.cancel), gate.release)
            result = ended()
            if result is True:
                gate.release()  # it was done before the cancellation came; this one is for the next
            assert result in {True, asyncio.CancelledError}
            assert behind.result() is True, "a cancelled task passes on what it was given"
            assert (gate.permits, gate.waiting) == (0, 0)

    def test_cancelled_against_a_hand(self, there):
        for _ in range(RACES // 10):
            gate = probe.Gate()
            task, ended = self.park(there, gate)
            _, handed = run_together(lambda task=task: there.loop.call_soon_threadsafe(task.cancel), gate.hand)
            assert (ended(), handed, gate.permits, gate.waiting) in {
                (True, True, 0, 0),  # handed, and done before the cancellation came
                (asyncio.CancelledError, True, 1, 0),  # handed, and given back
                (asyncio.CancelledError, False, 0, 0),  # out of the queue first
            }

    def test_timed_out_against_a_release(self, there):
        for _ in range(RACES // 10):
            gate = probe.Gate()
            _, ended = self.park(there, gate, timeout=random.random() * 0.002)
            soon(gate.release)()
            assert (ended(), gate.permits, gate.waiting) in {
                (True, 0, 0),  # claimed in time, or its last try found the permit
                (Timeout, 1, 0),  # out of the queue before the release
            }

    def test_timed_out_against_a_hand(self, there):
        for _ in range(RACES // 10):
            gate = probe.Gate()
            _, ended = self.park(there, gate, timeout=random.random() * 0.002)
            handed = soon(gate.hand)()
            assert (ended(), handed, gate.permits, gate.waiting) in {
                (True, True, 0, 0),  # what was handed is its own, however late it looks
                (Timeout, False, 0, 0),  # out of the queue before
            }

    @pytest.mark.parametrize("end", ["close", "throw"])
    def test_the_coroutine_ended_by_another_thread_against_a_release(self, there, end):
        """Nobody but its loop should drive a coroutine; who does so all the same loses no permission."""
        for _ in range(RACES // 10):
            gate = probe.Gate()
            coroutine = gate.wait_async()
            future = there.call(coroutine.send, None)
            behind = parked_thread(gate)
            ending = coroutine.close if end == "close" else outcome(lambda c=coroutine: c.throw(KeyError), KeyError)
            run_together(ending, gate.release)
            assert behind.result() is True, "the ended coroutine left the queue, or passed the permit on"
            there.call(future.cancel)
            assert (gate.permits, gate.waiting) == (0, 0)

    @pytest.mark.parametrize("ends", [("close", "close"), ("close", "throw"), ("throw", "throw")], ids="-".join)
    def test_two_threads_end_the_coroutine(self, there, ends):
        did = {"close": None, "throw": KeyError}
        for _ in range(RACES // 10):
            gate = probe.Gate()
            coroutine = gate.wait_async()
            there.call(coroutine.send, None)
            calls = {"close": coroutine.close, "throw": lambda c=coroutine: c.throw(KeyError)}
            first, second = run_together(
                *(outcome(calls[end], KeyError, RuntimeError, ValueError) for end in ends),
            )
            assert first is did[ends[0]] or second is did[ends[1]], "one of them ends it"
            for result in (first, second):
                assert result in {
                    None,  # closed it, or found it closed
                    KeyError,  # threw it in
                    RuntimeError,  # threw into what was finished
                    ValueError,  # met the other one while it was at it
                }
            assert (gate.permits, gate.waiting) == (0, 0)


def close(loop):
    """uvloop says so if a call from another thread comes while close() is at work; the loop is closed all the same."""
    try:
        loop.close()
    except RuntimeError as error:
        if "new callbacks were queued during loop closing" not in str(error):
            raise
    assert loop.is_closed()


@pytest.mark.parametrize("loop_name", CALLED_WHILE_IT_CLOSES)
def test_a_loop_closed_against_a_release(loop_name):
    for _ in range(RACES // 20):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        task = loop.create_task(gate.wait_async())
        loop.run_until_complete(asyncio.sleep(0))
        behind = parked_thread(gate)
        run_together(partial(close, loop), gate.release)
        assert behind.result() is True, "the closed loop's permission passed on"
        assert (gate.permits, gate.waiting) == (0, 0)
        assert not task.done()
        task._log_destroy_pending = False  # a task that its loop left behind is what this is about
