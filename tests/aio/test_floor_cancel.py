"""A suspended wait is cancelled at each moment there is; one that insists goes on and raises when it is done."""

import asyncio
import contextlib
import enum
import random

import pytest

from ferrule import Timeout
from tests.support.driver import HandLoop, LoopThread, Stepper, cancel_everywhere, run, turns
from tests.support.race import HANG, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")


class Moment(enum.Enum):
    """How far the permission has come when the cancellation arrives; the rest of its way it goes after that."""

    QUEUED = "nobody has claimed the waiter"
    CLAIMED = "claimed, the claiming thread has not woken it"
    POSTED = "in the mailbox, the loop has not drained it"
    DRAINED = "its future resolved by the drain, no step since"
    DIRECT = "its future resolved by its own loop's thread, no step since"
    TIE = "its future cancelled, then woken in the same tick, no step since"
    HANDED = "handed, its future resolved, no step since"

    async def cancel(self, gate, stepper):
        """Cancels a suspended wait at this moment, steps it, and completes the wake; the gate has had one permit."""
        match self:
            case Moment.QUEUED:
                stepper.cancel()
                stepper.step()
                gate.release()
            case Moment.CLAIMED:
                claimed = gate.claim()
                stepper.cancel()
                stepper.step()
                claimed.wake()
            case Moment.POSTED:
                spawn(gate.release).result()
                stepper.cancel()
                stepper.step()
            case Moment.DRAINED:
                spawn(gate.release).result()
                await stepper.woken()
                stepper.cancel()
                stepper.step()
            case Moment.DIRECT:
                gate.release()
                assert stepper.future.done()
                stepper.cancel()
                stepper.step()
            case Moment.TIE:
                stepper.cancel()
                gate.release()
                stepper.step()
            case Moment.HANDED:
                assert gate.hand()
                stepper.cancel()
                stepper.step()


@pytest.fixture(params=Moment, ids=lambda moment: moment.name.lower())
def moment(request):
    return request.param


def but(*moments):
    """Every moment but these, as parameters."""
    return pytest.mark.parametrize(
        "moment", [moment for moment in Moment if moment not in moments], ids=lambda moment: moment.name.lower()
    )


def suspended(gate, **keywords):
    stepper = Stepper(gate.wait_async(**keywords))
    stepper.step()
    assert stepper.suspended
    return stepper


class TestPlain:
    def test_nobody_behind(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate)
            await moment.cancel(gate, stepper)
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
            await turns()
            assert (gate.permits, gate.waiting) == (1, 0)

        run(main(), loop_name)

    @pytest.mark.parametrize("more", [0, 1])
    @pytest.mark.parametrize("behind", ["thread", "own-loop", "other-loop"])
    def test_the_next_one_gets_it(self, moment, behind, more, loop_name):
        async def main(there):
            gate = probe.Gate()
            stepper = suspended(gate)
            match behind:
                case "thread":
                    end = asyncio.ensure_future(asyncio.to_thread(gate.wait, timeout=HANG))
                case "own-loop":
                    end = asyncio.ensure_future(gate.wait_async(timeout=HANG))
                case "other-loop":
                    end = asyncio.wrap_future(there.spawn(gate.wait_async(timeout=HANG)))
            while gate.waiting < 2:
                await asyncio.sleep(0.0005)
            await moment.cancel(gate, stepper)
            gate.release(more)
            assert await end is True
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
            assert (gate.permits, gate.waiting) == (more, 0)

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)

    def test_closed_instead(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate)
            stepper.cancel = stepper.close
            stepper.step = lambda: None
            await moment.cancel(gate, stepper)
            await turns()
            assert (gate.permits, gate.waiting) == (1, 0)

        run(main(), loop_name)

    @but(Moment.QUEUED)  # a queued coroutine is kept by the queue
    def test_dropped_instead(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            coroutine = gate.wait_async()
            future = coroutine.send(None)
            match moment:
                case Moment.CLAIMED:
                    claimed = gate.claim()
                    del coroutine
                    claimed.wake()
                case Moment.POSTED:
                    spawn(gate.release).result()
                    del coroutine
                case Moment.DRAINED:
                    spawn(gate.release).result()
                    await asyncio.wait([future])
                    del coroutine
                case Moment.DIRECT:
                    gate.release()
                    del coroutine
                case Moment.TIE:
                    future.cancel()
                    gate.release()
                    del coroutine
                case Moment.HANDED:
                    assert gate.hand()
                    del coroutine
            await turns()
            assert (gate.permits, gate.waiting) == (1, 0)
            assert await gate.wait_async() is True

        run(main(), loop_name)

    def test_a_timer_at_every_moment(self, moment, loop_name):
        """A timer that calls when the waiter has been claimed gives nothing up."""

        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, timeout=0.001)
            stepper.cancel = lambda: None
            stepper.step = lambda: None
            if moment is Moment.QUEUED:
                await asyncio.sleep(0.01)
            await moment.cancel(gate, stepper)
            await asyncio.sleep(0.01)
            del stepper.step
            stepper.step()
            assert stepper.done
            if moment is Moment.QUEUED:
                with pytest.raises(Timeout):
                    stepper.result()
            else:
                assert stepper.result() is True
            assert (gate.permits, gate.waiting) == (int(moment is Moment.QUEUED), 0)

        run(main(), loop_name)

    def test_real_tasks_after_any_number_of_turns(self, loop_name):
        async def main():
            gate = probe.Gate(1)

            async def work():
                others = [asyncio.create_task(wait_and_release()) for _ in range(3)]
                await asyncio.sleep(0)
                try:
                    await wait_and_release()
                finally:
                    await asyncio.gather(*others)

            async def wait_and_release():
                await gate.wait_async()
                try:
                    await asyncio.sleep(0)
                finally:
                    gate.release()

            def check():
                assert (gate.permits, gate.waiting) == (1, 0)

            assert await cancel_everywhere(work, check) > 3

        run(main(), loop_name)


class TestInsisting:
    def test_raises_only_when_it_has_its_permit(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, insists=True)
            await moment.cancel(gate, stepper)
            while not stepper.done:
                assert not gate.permits or not gate.waiting, "it sleeps beside a permit"
                await stepper.woken()
                stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
            await turns()
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    @pytest.mark.parametrize("times", [1, 2, 5])
    def test_cancelled_many_times(self, times, loop_name):
        async def main():
            gate = probe.Gate()
            task = asyncio.ensure_future(gate.wait_async(insists=True))
            await turns()
            for _ in range(times):
                task.cancel()
                await turns()
                assert not task.done()
                assert gate.waiting == 1
            gate.release()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    def test_cancelled_many_times_in_one_tick(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, insists=True)
            await moment.cancel(gate, stepper)
            for _ in range(3):
                if not stepper.done:
                    stepper.cancel()
                    stepper.step()
            while not stepper.done:
                await stepper.woken()
                stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    def test_the_first_exception_counts(self, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, insists=True)
            assert not stepper.throw(KeyError("first"))
            assert not stepper.throw(ValueError("second"))
            gate.release()
            stepper.step()
            with pytest.raises(KeyError, match="first"):
                stepper.result()

        run(main(), loop_name)

    def test_it_keeps_its_place(self, loop_name):
        async def main():
            gate = probe.Gate()
            insisting = suspended(gate, insists=True)
            behind = suspended(gate)
            insisting.cancel()
            insisting.step()
            gate.release()
            assert insisting.future.done()
            assert not behind.future.done()
            insisting.step()
            with pytest.raises(asyncio.CancelledError):
                insisting.result()
            behind.close()
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    @but(Moment.QUEUED, Moment.HANDED)  # there is no permit that somebody else could take
    def test_somebody_else_took_the_permit(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, insists=True)
            step, stepper.step = stepper.step, lambda: gate.try_wait() and step()
            await moment.cancel(gate, stepper)
            for _ in range(3):
                if stepper.future.done():
                    step()
                await turns()
            assert not stepper.done
            assert (gate.permits, gate.waiting) == (0, 1)
            gate.release()
            step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    def test_a_timeout_ends_it_with_the_cancellation(self, loop_name):
        async def main():
            gate = probe.Gate()
            task = asyncio.ensure_future(gate.wait_async(insists=True, timeout=0.005))
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await task
            assert isinstance(raised.value.__context__, Timeout)
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    def test_close_gives_up_and_passes_on(self, moment, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, insists=True)
            stepper.cancel = stepper.close
            stepper.step = lambda: None
            await moment.cancel(gate, stepper)
            await turns()
            assert (gate.permits, gate.waiting) == (1, 0)

        run(main(), loop_name)


@contextlib.contextmanager
def replaced(loop, name, function):
    """The loop's method is another one within the block."""
    setattr(loop, name, function)
    try:
        yield
    finally:
        delattr(loop, name)


@contextlib.contextmanager
def timers_of(loop):
    """A list of the timers that are set within the block."""
    timers = []
    call_later = loop.call_later
    with replaced(loop, "call_later", lambda *args: timers.append(call_later(*args)) or timers[-1]):
        yield timers


class TestTimers:
    """The loop calls at a deadline; loops round, so the call may be early."""

    @pytest.mark.parametrize("delivered", [False, True], ids=["claimed", "delivered"])
    def test_a_timer_that_calls_early_while_the_waiter_is_claimed(self, delivered, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            call_later = loop.call_later
            gate = probe.Gate()
            with replaced(loop, "call_later", lambda delay, *args: call_later(delay / 1000, *args)):
                stepper = suspended(gate, timeout=HANG)
            claimed = gate.claim()
            assert gate.try_wait(), "somebody else was quicker"
            if delivered:
                claimed.wake()
            await asyncio.sleep(HANG / 1000 + 0.02)
            claimed.wake()
            stepper.step()
            assert stepper.done, "nothing would call it any more"
            with pytest.raises(Timeout):
                stepper.result()
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    @pytest.mark.parametrize("timeout", [0.0001, 0.0014, 0.0016, 0.01])
    def test_a_wait_that_nobody_ends_times_out(self, timeout, loop_name):
        async def main():
            gate = probe.Gate()
            for _ in range(10):
                with pytest.raises(Timeout):
                    await gate.wait_async(timeout=timeout)
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    def test_a_handed_permit_beats_the_timer(self, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = suspended(gate, timeout=0.001)
            assert gate.hand()
            await asyncio.sleep(0.01)
            assert stepper.step()
            assert stepper.result() is True

        run(main(), loop_name)

    def test_a_deadline_is_taken_back_at_the_end(self, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            gate = probe.Gate()
            stepper = suspended(gate, timeout=HANG)
            cancelled = suspended(gate, timeout=HANG)
            closed = suspended(gate, timeout=HANG)
            assert probe.deadlines(loop) == 3
            gate.release()
            assert stepper.step()
            cancelled.cancel()
            assert cancelled.step()
            closed.close()
            assert probe.deadlines(loop) == 0

        run(main(), loop_name)

    def test_waits_that_end_in_time_leave_the_timer_as_it_is(self, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            gate = probe.Gate()
            with timers_of(loop) as timers:
                for _ in range(100):
                    stepper = suspended(gate, timeout=HANG)
                    gate.release()
                    assert stepper.step()
                assert len(timers) == 1
                stepper = suspended(gate, timeout=HANG / 2)
                assert len(timers) == 2, "an earlier deadline"
                assert [timer.cancelled() for timer in timers] == [True, False]
                stepper.close()

        run(main(), loop_name)

    @pytest.mark.parametrize("seed", range(5))
    def test_each_of_many_is_called_at_its_own_deadline(self, seed, loop_name):
        """In their order, whatever ends in between, and none before its time or never."""
        rng = random.Random(seed)

        async def main():
            loop = asyncio.get_running_loop()
            gate = probe.Gate()
            ended = []

            async def wait(timeout, deadline):
                try:
                    await gate.wait_async(timeout=timeout)
                except Timeout:
                    ended.append((deadline, loop.time()))

            with timers_of(loop) as timers:
                begin = loop.time()
                timeouts = [rng.choice([0.05, 0.05, rng.uniform(0.02, 0.2)]) for _ in range(300)]
                tasks = [asyncio.create_task(wait(timeout, begin + timeout)) for timeout in timeouts]
                await asyncio.sleep(0)
                assert probe.deadlines(loop) == len(tasks)
                for task in rng.sample(tasks, 100):
                    task.cancel()
                for _ in range(50):
                    gate.release()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert len(ended) == 150
            assert [now for _, now in ended] == sorted(now for _, now in ended)
            assert all(now >= deadline - 0.002 for deadline, now in ended), "loops round to milliseconds"
            assert len(timers) < 300
            assert (probe.deadlines(loop), gate.waiting) == (0, 0)

        run(main(), loop_name)

    @pytest.mark.parametrize("seed", [1, 2, None])
    def test_the_earliest_is_next_whatever_comes_and_ends(self, seed, loop_name):
        if seed is None:  # what fills the first gap is earlier than what is above it there
            comes, ends = [6, 4, 3, 5, 1, 2, 0], [6, 1, 0, 5, 3, 4, 2]
        else:
            rng = random.Random(seed)
            comes, ends = rng.sample(range(200), 200), rng.sample(range(200), 200)

        async def main():
            loop, gate, waits = asyncio.get_running_loop(), probe.Gate(), {}
            for place in comes:
                waits[place] = suspended(gate, timeout=HANG * (1 + place))
                assert probe.next_to_expire(loop) is waits[min(waits)].coroutine
            for place in ends:
                waits.pop(place).close()
                assert probe.next_to_expire(loop) is (waits[min(waits)].coroutine if waits else None)

        run(main(), loop_name)

    def test_a_timer_that_cannot_be_set_leaves_nothing(self, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            gate = probe.Gate()
            with replaced(loop, "call_later", lambda *_: 1 // 0):
                stepper = Stepper(gate.wait_async(timeout=HANG))
                stepper.step()
            with pytest.raises(ZeroDivisionError):
                stepper.result()
            assert (probe.deadlines(loop), gate.waiting) == (0, 0)
            stepper = suspended(gate, timeout=0.001)
            await stepper.woken()
            stepper.step()
            with pytest.raises(Timeout):
                stepper.result()

        run(main(), loop_name)

    def test_whoever_waits_on_when_the_loop_closes_can_be_collected(self):
        loop = HandLoop()
        gate = probe.Gate()
        with loop.running():
            stepper = suspended(gate, timeout=HANG)
        loop.close()
        gate.release()
        assert (gate.permits, gate.waiting) == (1, 0)
        stepper.close()
        assert probe.deadlines(loop) == 0
