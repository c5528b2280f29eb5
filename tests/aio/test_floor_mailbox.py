"""How a claimed task hears of it: its loop's mailbox, and loops that are closed, that move, or that refuse the call."""

import asyncio
import threading
import time

import pytest

from ferrule import Timeout
from tests.support.driver import LoopThread, Stepper, new_loop, run, turns
from tests.support.hostile import unraisable
from tests.support.race import HANG, eventually, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")


def park(loop, *gates_and_counts, **keywords):
    """Runs the loop, in this thread, until its new tasks wait at the gates; the tasks."""

    async def park_all():
        tasks = [
            asyncio.ensure_future(gate.wait_async(**keywords)) for gate, count in gates_and_counts for _ in range(count)
        ]
        await asyncio.sleep(0)
        return tasks

    return loop.run_until_complete(park_all())


def abandon(tasks):
    """Tasks whose loop was closed under them are what the test is about: no report of them is wanted."""
    for task in tasks:
        assert not task.done()
        task._log_destroy_pending = False


class Calls:
    """Counts the loop's calls of call_soon_threadsafe; made before the loop's first wait, whose mailbox keeps it."""

    def __init__(self, loop):
        self.count = 0
        self._call = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = self

    def __call__(self, *args):
        self.count += 1
        return self._call(*args)


class TestCalls:
    def test_one_call_for_any_number_of_tasks(self, loop_name):
        async def main():
            calls = Calls(asyncio.get_running_loop())
            gates = [probe.Gate() for _ in range(3)]
            tasks = [asyncio.ensure_future(gate.wait_async()) for gate in gates for _ in range(20)]
            await asyncio.sleep(0)
            for gate in gates:
                spawn(gate.release, 10).result()
                spawn(gate.hand).result()
            assert calls.count == 1, "the loop has not turned since the first"
            await turns()
            assert sum(task.done() for task in tasks) == 33
            for gate in gates:
                spawn(gate.release, 9).result()
            assert calls.count == 2
            assert await asyncio.gather(*tasks) == [True] * 60

        run(main(), loop_name)

    def test_none_in_the_loops_own_thread(self, loop_name):
        async def main():
            calls = Calls(asyncio.get_running_loop())
            gate = probe.Gate()
            tasks = [asyncio.ensure_future(gate.wait_async()) for _ in range(20)]
            await asyncio.sleep(0)
            gate.release(10)
            gate.claim(5).wake()
            for _ in range(5):
                assert gate.hand()
            assert await asyncio.gather(*tasks) == [True] * 20
            assert calls.count == 0

        run(main(), loop_name)

    def test_none_where_nobody_waits(self, loop_name):
        async def main():
            calls = Calls(asyncio.get_running_loop())
            gate = probe.Gate(1)
            assert await gate.wait_async() is True
            with pytest.raises(Timeout):
                await gate.wait_async(timeout=0)
            gate.release()
            spawn(gate.release).result()
            assert calls.count == 0

        run(main(), loop_name)

    def test_one_for_each_loop(self, loop_name):
        gate = probe.Gate()
        with LoopThread("asyncio") as one, LoopThread(loop_name) as two:
            calls = [there.call(Calls, there.loop) for there in (one, two)]
            ends = [there.spawn(gate.wait_async()) for there in (one, two, one, two)]
            eventually(lambda: gate.waiting == 4)
            entered = [threading.Event(), threading.Event()]
            go_on = threading.Event()

            def hold_up(number):
                entered[number].set()
                return go_on.wait(HANG)

            held_up = [spawn(there.call, hold_up, number) for number, there in enumerate((one, two))]
            assert all(event.wait(HANG) for event in entered)
            before = [each.count for each in calls]
            gate.release(4)
            assert [each.count for each in calls] == [count + 1 for count in before]
            go_on.set()
            assert [each.result() for each in held_up] == [True, True]
            assert [end.result(HANG) for end in ends] == [True] * 4

    def test_tasks_are_woken_in_their_order(self, loop_name):
        async def main():
            gate = probe.Gate()
            order = []

            async def wait(number):
                await gate.wait_async()
                order.append(number)

            tasks = [asyncio.ensure_future(wait(number)) for number in range(10)]
            await asyncio.sleep(0)
            for _ in range(10):
                spawn(gate.release).result()
            await asyncio.gather(*tasks)
            assert order == list(range(10))

        run(main(), loop_name)

    def test_a_wake_within_a_drain(self, loop_name):
        """A task woken from elsewhere wakes the next, from its own loop: no second call, no second drain."""

        async def main():
            calls = Calls(asyncio.get_running_loop())
            gates = [probe.Gate() for _ in range(50)]

            async def relay(number):
                await gates[number].wait_async()
                if number + 1 < len(gates):
                    gates[number + 1].release()

            tasks = [asyncio.ensure_future(relay(number)) for number in range(len(gates))]
            await asyncio.sleep(0)
            spawn(gates[0].release).result()
            await asyncio.gather(*tasks)
            assert calls.count == 1

        run(main(), loop_name)


class TestClosedLoops:
    @pytest.mark.parametrize("closed", ["before the claim", "between the post and the drain"])
    @pytest.mark.parametrize("behind", ["nobody", "thread", "task of another loop"])
    @pytest.mark.parametrize("give", ["release", "hand"])
    def test_its_permission_passes_on(self, closed, behind, give, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        tasks = park(loop, (gate, 1))
        with LoopThread(loop_name) as there:
            match behind:
                case "thread":
                    end = spawn(gate.wait).result
                case "task of another loop":
                    end = there.spawn(gate.wait_async()).result
                case "nobody":
                    end = gate.try_wait
            eventually(lambda: gate.waiting == (1 if behind == "nobody" else 2))
            if closed == "before the claim":
                loop.close()
            getattr(gate, give)()
            loop.close()
            assert end() is True
        assert (gate.permits, gate.waiting) == (0, 0)
        abandon(tasks)

    @pytest.mark.parametrize("closed", ["before the claim", "between the post and the drain"])
    def test_one_permission_passes_ten_thousand_waiters(self, closed, loop_name):
        """Each finds its loop closed and passes on: in a loop, or the stack would overflow."""
        gate = probe.Gate()
        loop = new_loop(loop_name)
        tasks = park(loop, (gate, 10_000))
        behind = spawn(gate.wait)
        eventually(lambda: gate.waiting == 10_001)
        if closed == "before the claim":
            loop.close()
        gate.release()
        loop.close()
        assert behind.result() is True
        assert (gate.permits, gate.waiting) == (0, 0)
        abandon(tasks)

    def test_alternating_with_living_waiters(self, loop_name):
        """Permissions go on to the living only, and to each of them."""
        gate = probe.Gate()
        tasks, ends = [], []

        def everybody_waits():
            return gate.waiting == len(tasks) + len(ends)

        with LoopThread(loop_name) as there:
            for _ in range(10):
                loop = new_loop(loop_name)
                tasks += park(loop, (gate, 3))
                loop.close()
                ends.append(spawn(gate.wait).result)
                eventually(everybody_waits)
                ends.append(there.spawn(gate.wait_async()).result)
                eventually(everybody_waits)
            gate.release(20)
            assert [end() for end in ends] == [True] * 20
        assert (gate.permits, gate.waiting) == (0, 0)
        abandon(tasks)

    def test_on_three_gates(self, loop_name):
        gates = [probe.Gate() for _ in range(3)]
        loop = new_loop(loop_name)

        async def wait_at_all():
            task = asyncio.ensure_future(probe.Several(*gates).wait_async())
            await asyncio.sleep(0)
            return task

        tasks = [loop.run_until_complete(wait_at_all())]
        behind = [spawn(gate.wait) for gate in gates]
        eventually(lambda: [gate.waiting for gate in gates] == [2, 2, 2])
        gates[1].release()
        loop.close()
        assert behind[1].result() is True
        assert [gate.waiting for gate in gates] == [1, 0, 1]
        for gate in gates:
            gate.release()
        assert behind[0].result() is behind[2].result() is True
        assert [gate.permits for gate in gates] == [0, 1, 0]
        abandon(tasks)

    def test_a_stopped_loop_keeps_its_permission_until_it_runs(self, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        tasks = park(loop, (gate, 2))
        gate.release(2)
        assert (gate.permits, gate.waiting) == (2, 0)
        assert loop.run_until_complete(asyncio.gather(*tasks)) == [True, True]
        loop.close()
        assert (gate.permits, gate.waiting) == (0, 0)

    def test_one_gate_in_run_after_run(self, loop_name):
        gate = probe.Gate()

        async def main():
            left_behind = asyncio.ensure_future(gate.wait_async())
            waiting = asyncio.ensure_future(gate.wait_async())
            await turns()
            gate.release(2)
            assert await waiting is await left_behind is True
            cancelled_at_the_end = asyncio.ensure_future(gate.wait_async())
            await turns()
            return cancelled_at_the_end

        for _ in range(3):
            assert run(main(), loop_name).cancelled()
            assert (gate.permits, gate.waiting) == (0, 0)


class Refusing:
    """A method of a loop that raises, some times, before or after it took effect."""

    def __init__(self, loop, method, error, times, effect):
        self._call = getattr(loop, method)
        self._error = error
        self._times = times
        self._effect = effect
        setattr(loop, method, self)

    def __call__(self, *args):
        if self._times == 0:
            return self._call(*args)
        self._times -= 1
        if self._effect:
            self._call(*args)
        raise self._error


@pytest.mark.parametrize("effect", [False, True], ids=["without-effect", "with-effect"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("method", ["call_soon_threadsafe", "is_closed"])
class TestCallsThatRaise:
    """A signal handler may raise inside what a loop is asked and told, before or after that has done its work."""

    def test_in_the_main_thread_it_is_raised_later_and_nothing_is_lost(self, method, times, effect, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        Refusing(loop, method, KeyboardInterrupt("mine"), times, effect)
        tasks = park(loop, (gate, 3))
        with pytest.raises(KeyboardInterrupt, match="mine"):
            gate.release(3)
            time.sleep(0)
        delattr(loop, method)
        assert loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks), HANG)) == [True] * 3
        assert (gate.permits, gate.waiting) == (0, 0)
        tasks = park(loop, (gate, 1))
        spawn(gate.release).result()
        assert loop.run_until_complete(asyncio.wait_for(tasks[0], HANG)) is True
        loop.close()

    def test_in_another_thread_it_is_reported_and_nothing_is_lost(self, method, times, effect, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        Refusing(loop, method, MemoryError("mine"), times, effect)
        tasks = park(loop, (gate, 3))
        with unraisable() as reported:
            spawn(gate.release, 3).result()
        assert {str(error) for error in reported} == {"mine"}
        assert loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks), HANG)) == [True] * 3
        assert (gate.permits, gate.waiting) == (0, 0)
        loop.close()

    def test_the_permissions_that_come_after_it_arrive(self, method, times, effect, loop_name):
        """What is left of the calls that raised, dying late, takes nothing from those who come after."""
        gate = probe.Gate()
        loop = new_loop(loop_name)
        error = MemoryError("mine")
        Refusing(loop, method, error, times, effect)
        tasks = park(loop, (gate, 3))
        with unraisable():
            spawn(gate.release).result()
        assert loop.run_until_complete(asyncio.wait_for(tasks[0], HANG)) is True
        spawn(gate.release, 2).result()
        error.__traceback__ = None
        assert loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks), HANG)) == [True] * 3
        loop.close()


class TestThreads:
    def test_a_loop_that_moves_to_another_thread(self, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        tasks = spawn(park, loop, (gate, 4)).result()

        async def elsewhere():
            gate.release()  # this loop's own thread now, though the mailbox knows another one
            assert await asyncio.wait_for(tasks[0], HANG) is True
            spawn(gate.release).result()
            assert await asyncio.wait_for(tasks[1], HANG) is True
            more = asyncio.ensure_future(gate.wait_async())
            await asyncio.sleep(0)
            gate.release(2)
            assert await asyncio.wait_for(asyncio.gather(*tasks), HANG) == [True] * 4
            gate.release()
            assert await asyncio.wait_for(more, HANG) is True

        spawn(lambda: loop.run_until_complete(elsewhere())).result()
        assert (gate.permits, gate.waiting) == (0, 0)
        loop.close()

    def test_the_thread_where_a_loop_ran_before_is_not_its_own(self, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        tasks = park(loop, (gate, 1))
        running = spawn(lambda: loop.run_until_complete(asyncio.wait_for(tasks[0], HANG)))
        eventually(loop.is_running)
        gate.release()
        assert running.result() is True
        loop.close()

    def test_another_loop_in_the_thread_where_a_loop_ran_before(self, loop_name):
        gate = probe.Gate()
        loop = new_loop(loop_name)
        tasks = park(loop, (gate, 1))

        async def other():
            gate.release()

        run(other(), loop_name)
        assert not tasks[0].done()
        assert loop.run_until_complete(asyncio.wait_for(tasks[0], HANG)) is True
        loop.close()

    def test_a_sync_wait_in_a_loops_thread_gets_ahead_of_that_loops_tasks(self, loop_name):
        async def main(there):
            gate = probe.Gate()
            order = []

            def wait(name):
                gate.wait(timeout=HANG)
                order.append(name)

            async def wait_async(name):
                await gate.wait_async(timeout=HANG)
                order.append(name)

            async def joined(count):
                while gate.waiting < count:
                    await asyncio.sleep(0.0005)

            first = asyncio.to_thread(wait, "a thread before")
            waits = [asyncio.ensure_future(first)]
            await joined(1)
            waits.append(asyncio.wrap_future(there.spawn(wait_async("another loop's task"))))
            await joined(2)
            waits.append(asyncio.ensure_future(wait_async("own task 1")))
            waits.append(asyncio.ensure_future(wait_async("own task 2")))
            await joined(4)
            waits.append(asyncio.ensure_future(asyncio.to_thread(wait, "a thread behind")))
            await joined(5)

            def give():
                eventually(lambda: gate.waiting == 6)
                for count in range(1, 4):
                    gate.release()
                    eventually(lambda count=count: len(order) == count)

            giving = spawn(give)
            wait("this thread")
            giving.result()
            gate.release(3)
            await asyncio.gather(*waits)
            assert order[:3] == ["a thread before", "another loop's task", "this thread"]
            assert sorted(order[3:]) == ["a thread behind", "own task 1", "own task 2"]

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)


def test_without_a_running_loop_it_says_so():
    gate = probe.Gate()
    coroutine = gate.wait_async()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
    assert (gate.permits, gate.waiting) == (0, 0)
    gate.release()
    with pytest.raises(StopIteration) as stopped:
        gate.wait_async().send(None)
    assert stopped.value.value is True


def test_a_step_that_nobody_asked_for_leaves_the_wait_alone(loop_name):
    async def main():
        gate = probe.Gate()
        stepper = Stepper(gate.wait_async())
        stepper.step()
        future = stepper.future
        claimed = gate.claim()
        for _ in range(3):
            assert not stepper.send()
            assert stepper.future is future
        claimed.wake()
        assert stepper.step()
        assert stepper.result() is True
        assert (gate.permits, gate.waiting) == (0, 0)

    run(main(), loop_name)
