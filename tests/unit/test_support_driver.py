"""The kit's loops and its stepping of coroutines."""

import asyncio
import contextvars
import threading

import pytest

from tests.support.driver import (
    HandLoop,
    LoopThread,
    Moment,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    complete,
    run,
    turns,
)
from tests.support.race import Hung, eventually


def test_run_uses_the_named_kind_of_loop(loop_name):
    async def main():
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert run(main(), loop_name) == loop_name


class TestLoopThread:
    def test_it_runs_coroutines_and_functions_in_its_own_thread(self, loop_name):
        async def here():
            return threading.get_ident()

        with LoopThread(loop_name) as there:
            assert there.run(here()) == there.call(threading.get_ident) == there.ident
            assert there.ident != threading.get_ident()

    def test_closing_cancels_what_is_left_and_ends_the_thread(self, loop_name):
        with LoopThread(loop_name) as there:
            forever = there.spawn(asyncio.sleep(3600))
            eventually(lambda: there.call(lambda: len(asyncio.all_tasks()) == 3))  # these two and the loop's main
        assert forever.cancelled()
        assert there.loop.is_closed()
        assert there.ident not in {thread.ident for thread in threading.enumerate()}

    def test_errors_come_back(self, loop_name):
        with LoopThread(loop_name) as there, pytest.raises(ZeroDivisionError):
            there.call(lambda: 1 // 0)

    def test_a_hang_is_told(self):
        with LoopThread() as there, pytest.raises(Hung):
            there.run(asyncio.sleep(3600), timeout=0.02)

    def test_two_loops_at_once(self, loop_name):
        async def fetch(there, value):
            return await asyncio.wrap_future(there.spawn(asyncio.sleep(0, value)))

        with LoopThread("asyncio") as a, LoopThread(loop_name) as b:
            assert (a.run(fetch(b, 1)), b.run(fetch(a, 2))) == (1, 2)


class TestHandLoop:
    def test_it_runs_only_within_the_block(self):
        outer, inner = HandLoop(), HandLoop()
        with outer.running():
            with inner.running():
                assert asyncio.get_running_loop() is inner
            assert asyncio.get_running_loop() is outer
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    def test_a_turn_makes_the_calls_that_were_due_in_order_within_the_loop(self):
        loop, calls = HandLoop(), []
        loop.call_soon(lambda: loop.call_soon(calls.append, "of the next turn"))
        loop.call_soon_threadsafe(lambda: calls.append(asyncio.get_running_loop()))
        assert (len(loop.due), calls) == (2, [])
        loop.turn()
        assert calls == [loop]
        loop.turn()
        assert calls == [loop, "of the next turn"]
        assert loop.due == []

    def test_a_cancelled_call_is_not_made(self):
        loop, calls = HandLoop(), []
        loop.call_soon(calls.append, 1).cancel()
        loop.call_later(0, calls.append, 2).cancel()
        loop.turn()
        assert (calls, loop.timers) == ([], [])

    def test_a_timer_calls_when_it_is_fired(self):
        loop, calls = HandLoop(), []
        first, second = loop.call_later(0, calls.append, 1), loop.call_later(0, calls.append, 2)
        loop.turn()
        assert calls == []
        loop.fire(second)
        assert (calls, loop.timers) == ([2], [first])

    def test_what_a_call_raises_comes_out(self):
        loop = HandLoop()
        loop.call_soon(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            loop.turn()
        with pytest.raises(ZeroDivisionError):
            loop.fire(loop.call_later(0, lambda: 1 // 0))

    def test_a_stepper_waits_in_it(self):
        loop = HandLoop()

        async def waits():
            return await asyncio.get_running_loop().create_future() + 1

        stepper = Stepper(waits())
        with loop.running():
            stepper.step()
        stepper.future.set_result(41)
        assert stepper.step()
        assert stepper.result() == 42

    def test_a_closed_one_refuses_everything_and_forgets_what_there_was_to_do(self):
        loop = HandLoop()
        loop.call_soon(print)
        loop.call_later(0, print)
        loop.close()
        assert loop.is_closed()
        assert (loop.due, loop.timers) == ([], [])
        for refused in (
            lambda: loop.call_soon(print),
            lambda: loop.call_soon_threadsafe(print),
            lambda: loop.call_later(0, print),
            loop.turn,
        ):
            with pytest.raises(RuntimeError, match="closed"):
                refused()


class TestComplete:
    def test_it_gives_the_result(self):
        async def gives():
            return 42

        assert complete(gives()) == 42

    def test_errors_come_out(self):
        async def fails():
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            complete(fails())

    def test_one_that_suspends_is_refused_and_closed(self):
        closed = []

        async def suspends():
            try:
                await asyncio.sleep(0)
            finally:
                closed.append(True)

        with pytest.raises(AssertionError, match="suspended"):
            complete(suspends())
        assert closed == [True]


class TestStepper:
    def test_a_step_ends_where_the_coroutine_waits(self, loop_name):
        async def main():
            future = asyncio.get_running_loop().create_future()

            async def waits():
                return await future + 1

            stepper = Stepper(waits())
            assert not stepper.suspended
            assert not stepper.step()
            assert stepper.suspended
            assert stepper.future is future
            with pytest.raises(asyncio.InvalidStateError):
                stepper.step()
            future.set_result(41)
            await stepper.woken()
            assert not stepper.done
            assert stepper.step()
            assert stepper.result() == 42

        run(main(), loop_name)

    def test_an_exception_of_the_future_is_thrown_in(self):
        async def main():
            future = asyncio.get_running_loop().create_future()

            async def waits():
                with pytest.raises(KeyError):
                    await future
                return "caught"

            stepper = Stepper(waits())
            stepper.step()
            future.set_exception(KeyError())
            assert await stepper.finish() == "caught"

        run(main())

    def test_it_finishes_through_bare_yields(self):
        async def main():
            return await Stepper(asyncio.sleep(0, "slept")).finish()

        assert run(main()) == "slept"

    def test_a_coroutine_runs_in_a_context_of_its_own(self):
        name = contextvars.ContextVar("name", default="outside")

        async def main():
            async def sets():
                name.set("inside")
                await asyncio.sleep(0)
                return name.get()

            assert await Stepper(sets()).finish() == "inside"
            assert name.get() == "outside"

        run(main())

    def test_cancel_throws_when_the_coroutine_runs_next(self):
        async def main():
            future = asyncio.get_running_loop().create_future()
            stepper = Stepper(asyncio.wait_for(future, None))
            stepper.step()
            stepper.cancel()
            assert future.cancelled()
            assert stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()

        run(main())

    def test_closing_ends_it(self):
        async def main():
            closed = []

            async def waits():
                try:
                    await asyncio.sleep(3600)
                finally:
                    closed.append(True)

            stepper = Stepper(waits())
            stepper.step()
            stepper.future.cancel()
            stepper.close()
            assert closed
            assert stepper.done

        run(main())


class Box:
    """Passes one permission on: correct, or with a planted fault that a cancellation at one moment shows."""

    def __init__(self, fault=None):
        self.fault = fault
        self.free = False
        self.waiter = None

    async def take(self):
        if not self.free:
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            except asyncio.CancelledError:
                if self.fault == "swallow":
                    return
                if self.fault == "lose" and self.waiter.done() and not self.waiter.cancelled():
                    self.free = False
                raise
        self.free = False

    def give(self):
        self.free = True
        if self.waiter and not self.waiter.done():
            loop = self.waiter.get_loop()
            loop.call_soon_threadsafe(lambda: self.waiter.done() or self.waiter.set_result(None))


def cancel_box(fault, loop_name):
    async def main():
        box = None

        def begin():
            nonlocal box
            box = Box(fault)
            return box.take(), box.give

        checks = []

        def check():
            checks.append(box.free)
            assert box.waiter is None or box.free

        assert await cancel_at_every_step(begin, check) == 1
        return len(checks)

    return run(main(), loop_name)


def test_cancelling_at_every_step_visits_every_moment(loop_name):
    assert cancel_box(None, loop_name) == 1 + len(Moment)


@pytest.mark.parametrize("fault", ["lose", "swallow"])
def test_cancelling_at_every_step_finds_a_fault(fault, loop_name):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        cancel_box(fault, loop_name)


def test_cancelling_everywhere_stops_when_the_task_completes(loop_name):
    reached = []

    async def three_turns():
        for turn in range(3):
            reached.append(turn)
            await asyncio.sleep(0)

    async def main():
        checks = []
        assert await cancel_everywhere(three_turns, lambda: checks.append(True)) == 4
        assert len(checks) == 5

    run(main(), loop_name)
    assert reached == [0, *range(2), *range(3), *range(3)]


def test_cancelling_everywhere_accepts_coroutine_checks_and_refuses_swallowing(loop_name):
    async def swallows():
        try:
            await turns(3)
        except asyncio.CancelledError:
            return

    async def check():
        await asyncio.sleep(0)

    async def main():
        with pytest.raises(AssertionError, match="completed all the same"):
            await cancel_everywhere(swallows, check)

    run(main(), loop_name)
