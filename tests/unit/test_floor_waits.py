"""What a wait promises: its timeout, its place in the queue, the register of sleepers, sleeping and spinning."""

import asyncio
import contextvars
import fractions
import sys
import threading
import time
from decimal import Decimal

import pytest

from ferrule import Timeout
from ferrule._core import parking
from tests.support.driver import LoopThread, Stepper, run, turns
from tests.support.hostile import hostile, raising, returning
from tests.support.names import shown
from tests.support.race import HANG, eventually, spawn

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

FACES = {"sync": lambda gate, timeout: gate.wait(timeout=timeout), "async": lambda gate, timeout: again(gate, timeout)}


def again(gate, timeout):
    """The async face, run to its end."""

    async def main():
        return await gate.wait_async(timeout=timeout)

    return run(main())


@pytest.fixture(params=FACES)
def wait(request):
    return FACES[request.param]


class TestTimeouts:
    @pytest.mark.parametrize("timeout", [0, 0.0, -0.0, False, hostile(__index__=returning(0))])
    def test_zero_does_not_wait(self, wait, timeout):
        with pytest.raises(Timeout, match="no permit in time"):
            wait(probe.Gate(), timeout)
        assert wait(probe.Gate(1), timeout) is True

    @pytest.mark.parametrize("timeout", [1e-9, 5e-324, 1e-4, 0.0015])
    def test_a_short_one_ends(self, wait, timeout):
        gate = probe.Gate()
        begin = time.monotonic()
        with pytest.raises(Timeout):
            wait(gate, timeout)
        assert time.monotonic() - begin < HANG
        assert gate.waiting == 0

    def test_it_is_not_early(self):
        gate = probe.Gate()
        for _ in range(10):
            begin = time.monotonic()
            with pytest.raises(Timeout):
                gate.wait(timeout=0.003)
            assert time.monotonic() - begin >= 0.003

    @pytest.mark.parametrize(
        "timeout",
        [
            None,
            True,
            3,
            30.5,
            hostile(__index__=returning(30)),
            float("inf"),
            1e308,
            sys.float_info.max,
            9.2e9,
            9_000_000_000,
            9_000_000_001,
            9_223_372_036,
            9_223_372_037,
            2**63,
            2**64,
            10**400,
            sys.maxsize,
        ],
        ids=shown,
    )
    def test_a_long_one_waits(self, timeout):
        gate = probe.Gate()
        waiting = spawn(lambda: gate.wait(timeout=timeout))
        eventually(lambda: gate.waiting == 1)
        gate.release()
        assert waiting.result() is True

    @pytest.mark.parametrize("timeout", [float("inf"), 1e308, 9.2e9, 9_000_000_001, 10**400])
    def test_a_long_one_waits_in_a_task(self, timeout, loop_name):
        async def main():
            gate = probe.Gate()
            task = asyncio.ensure_future(gate.wait_async(timeout=timeout))
            await turns()
            assert gate.waiting == 1
            gate.release()
            assert await task is True

        run(main(), loop_name)

    @pytest.mark.parametrize(
        "timeout",
        [
            -1,
            -0.001,
            -5e-324,
            float("-inf"),
            -(10**400),
            float("nan"),
            hostile(__index__=returning(-1)),
        ],
        ids=shown,
    )
    @pytest.mark.parametrize("permits", [0, 1])
    def test_a_value_that_makes_no_sense(self, wait, timeout, permits):
        gate = probe.Gate(permits)
        with pytest.raises(ValueError, match="timeout must not be"):
            wait(gate, timeout)
        assert gate.permits == permits

    @pytest.mark.parametrize(
        "timeout",
        ["1", b"1", 1j, fractions.Fraction(1, 2), Decimal(1), [], object(), hostile(__float__=returning(1.0))],
        ids=lambda timeout: type(timeout).__name__,
    )
    @pytest.mark.parametrize("permits", [0, 1])
    def test_a_type_that_makes_no_sense(self, wait, timeout, permits):
        gate = probe.Gate(permits)
        with pytest.raises(TypeError, match=f"timeout must be None or seconds.*{type(timeout).__name__}"):
            wait(gate, timeout)
        assert gate.permits == permits

    def test_an_index_that_raises(self, wait):
        with pytest.raises(KeyError, match="mine"):
            wait(probe.Gate(1), hostile(__index__=raising(KeyError("mine"))))

    @pytest.mark.parametrize("face", ["wait", "wait_async"])
    def test_by_keyword_only(self, face):
        with pytest.raises(TypeError):
            getattr(probe.Gate(1), face)(1)


class Queue:
    """Waiters of every kind at one gate, who enter their names in `order` when they are through."""

    def __init__(self, there):
        self.gate = probe.Gate()
        self.order = []
        self._there = there
        self._ends = []

    def add(self, kind, name):
        before = self.gate.waiting
        if kind == "task":
            end = self._there.spawn(self._wait_async(name)).result
        else:
            end = spawn(self._wait, name, kind == "spinning thread").result
        eventually(lambda: self.gate.waiting == before + 1)
        self._ends.append(end)

    def _wait(self, name, spinning):
        self.gate.wait(spinning=spinning)
        self.order.append(name)

    async def _wait_async(self, name):
        await self.gate.wait_async()
        self.order.append(name)

    def end(self):
        for end in self._ends:
            end(HANG)


class TestOrder:
    @pytest.mark.parametrize("give", ["release", "hand"])
    def test_first_come_first_served_over_threads_and_tasks(self, give, loop_name):
        with LoopThread(loop_name) as there:
            queue = Queue(there)
            kinds = ["thread", "task", "task", "spinning thread", "thread", "task", "thread", "spinning thread"]
            for number, kind in enumerate(kinds):
                queue.add(kind, number)
            for number in range(len(kinds)):
                getattr(queue.gate, give)()
                eventually(lambda number=number: len(queue.order) == number + 1)
            queue.end()
            assert queue.order == list(range(len(kinds)))
            assert (queue.gate.permits, queue.gate.waiting) == (0, 0)

    @pytest.mark.parametrize("kind", ["thread", "task"])
    def test_who_tried_in_vain_is_first_again(self, kind, loop_name):
        with LoopThread(loop_name) as there:
            queue = Queue(there)
            queue.add(kind, "first")
            queue.add("thread", "second")
            for _ in range(5):
                claimed = queue.gate.claim()
                assert queue.gate.waiting == 1
                assert queue.gate.try_wait()
                claimed.wake()
                eventually(lambda: queue.gate.waiting == 2)
            queue.gate.release()
            eventually(lambda: len(queue.order) == 1)
            queue.gate.release()
            queue.end()
            assert queue.order == ["first", "second"]

    def test_who_gives_up_in_the_middle_leaves_the_others_their_places(self, loop_name):
        async def main():
            gate = probe.Gate()
            steppers = [Stepper(gate.wait_async()) for _ in range(5)]
            for stepper in steppers:
                stepper.step()
            for number in (2, 0, 4):
                steppers[number].close()
            assert gate.waiting == 2
            gate.release()
            assert steppers[1].future.done()
            assert not steppers[3].future.done()
            gate.release()
            assert steppers[1].step()
            assert steppers[3].step()
            assert (gate.permits, gate.waiting) == (0, 0)

        run(main(), loop_name)

    def test_release_of_many_claims_as_many(self, loop_name):
        async def main():
            gate = probe.Gate()
            tasks = [asyncio.ensure_future(gate.wait_async()) for _ in range(5)]
            await turns()
            gate.release(3)
            assert gate.waiting == 2
            await turns()
            assert [task.done() for task in tasks] == [True, True, True, False, False]
            gate.release(3)
            assert await asyncio.gather(*tasks) == [True] * 5
            assert (gate.permits, gate.waiting) == (1, 0)

        run(main(), loop_name)


class TestSleeping:
    @pytest.mark.parametrize("spinning", [False, True], ids=["sleeping", "spinning"])
    def test_claimed_at_any_moment(self, spinning):
        """While it spins (no token comes then), as it falls asleep, and after."""
        gate = probe.Gate()
        done = []

        def waits():
            for _ in range(500):
                gate.wait(spinning=spinning)
                done.append(True)

        waiting = spawn(waits)
        for number in range(500):
            if number % 50 == 0:
                eventually(lambda: gate.waiting == 1)
                if number % 100 == 0:
                    time.sleep(0.001)
            while not gate.waiting and number % 2:
                time.sleep(0)
            gate.release() if number % 3 else gate.hand() or gate.release()
            if number % 5 == 0:
                eventually(lambda number=number: len(done) == number + 1)
        waiting.result()
        assert (gate.permits, gate.waiting) == (0, 0)

    def test_a_wait_after_a_claim_that_met_a_timeout_sleeps(self):
        """The token of each claim is consumed by the wait that it was for: the next one is not woken by it."""
        gate = probe.Gate()
        waits = []
        go_on = threading.Event()

        def work():
            for _ in range(50):
                try:
                    waits.append(gate.wait(timeout=0.0005))
                except Timeout:
                    waits.append(False)
            go_on.wait(HANG)
            return gate.wait()

        waiting = spawn(work)
        given = 0
        while len(waits) < 50:
            time.sleep(0.0005)
            given += gate.hand()
        assert waits.count(True) == given
        go_on.set()
        eventually(lambda: gate.waiting == 1)
        eventually(lambda: any(target is gate for target, _, _ in parking.sleepers()))
        gate.release()
        assert waiting.result() is True
        assert (gate.permits, gate.waiting) == (0, 0)

    def test_nested_waits_of_many_objects_in_one_thread(self):
        """Each wait has its own token: those of one do not wake another."""
        gates = [probe.Gate() for _ in range(20)]

        def work():
            for gate in gates:
                gate.wait()
            return True

        waiting = spawn(work)
        for gate in gates:
            eventually(lambda gate=gate: gate.waiting == 1)
            gate.release()
        assert waiting.result() is True


class TestSeveral:
    def test_ready_at_once_in_order(self):
        gates = [probe.Gate(), probe.Gate(1), probe.Gate(1)]
        assert probe.Several(*gates).wait() is True
        assert [gate.permits for gate in gates] == [0, 0, 1]

    def test_none(self):
        with pytest.raises(Timeout):
            probe.Several().wait(timeout=0.001)

    @pytest.mark.parametrize("which", [0, 1, 2])
    @pytest.mark.parametrize("give", ["release", "hand"])
    @pytest.mark.parametrize("face", ["thread", "task"])
    def test_each_gate_ends_the_wait_and_the_others_forget_it(self, which, give, face):
        gates = [probe.Gate() for _ in range(3)]
        several = probe.Several(*gates)
        with LoopThread() as there:
            end = spawn(several.wait).result if face == "thread" else there.spawn(several.wait_async()).result
            eventually(lambda: [gate.waiting for gate in gates] == [1, 1, 1])
            getattr(gates[which], give)()
            assert end(HANG) is True
        assert [(gate.permits, gate.waiting) for gate in gates] == [(0, 0)] * 3

    @pytest.mark.parametrize("face", ["thread", "task"])
    def test_a_timeout_leaves_every_queue(self, face):
        gates = [probe.Gate() for _ in range(3)]
        several = probe.Several(*gates)

        async def main():
            return await several.wait_async(timeout=0.001)

        with pytest.raises(Timeout):
            several.wait(timeout=0.001) if face == "thread" else run(main())
        assert [gate.waiting for gate in gates] == [0, 0, 0]

    def test_the_same_gate_three_times(self):
        gate = probe.Gate()
        waiting = spawn(probe.Several(gate, gate, gate).wait)
        eventually(lambda: gate.waiting == 3)
        gate.release()
        assert waiting.result() is True
        assert (gate.permits, gate.waiting) == (0, 0)


class TestSleepers:
    """The register of who sleeps, waiting for what."""

    def asleep(self, *gates):
        return [entry for entry in parking.sleepers() if entry[0] in gates]

    def test_a_thread(self):
        gate, other = probe.Gate(), probe.Gate()
        idents = []

        def work():
            for _ in range(2):
                idents.append(threading.get_ident())
                gate.wait()

        waiting = spawn(work)
        seen = []
        for _ in range(2):
            eventually(lambda: self.asleep(gate))
            ((target, thread, context),) = self.asleep(gate, other)
            assert target is gate
            assert context is None
            seen.append(thread)
            count = len(idents)
            gate.release()
            eventually(lambda count=count: len(idents) > count or not waiting.alive)
        waiting.result()
        assert seen[0] == seen[1], "one thread, one identity"
        assert self.asleep(gate) == []

    def test_threads_are_told_apart(self):
        gate = probe.Gate()
        waiting = [spawn(gate.wait) for _ in range(3)]
        eventually(lambda: len(self.asleep(gate)) == 3)
        assert len({thread for _, thread, _ in self.asleep(gate)}) == 3
        gate.release(3)
        assert [each.result() for each in waiting] == [True] * 3
        assert self.asleep(gate) == []

    @pytest.mark.parametrize("end", ["release", "hand", "cancel", "close", "timeout", "drop"])
    def test_a_task(self, end, loop_name):
        async def main():
            gate = probe.Gate()
            stepper = Stepper(gate.wait_async(timeout=0.005 if end == "timeout" else None))
            stepper.step()
            ((target, _, context),) = self.asleep(gate)
            assert target is gate
            assert context is stepper.context
            match end:
                case "release" | "hand":
                    getattr(gate, end)()
                    stepper.step()
                case "cancel":
                    stepper.cancel()
                    stepper.step()
                case "close":
                    stepper.close()
                case "timeout":
                    await stepper.woken()
                    stepper.step()
                case "drop":
                    gate.release()
                    del stepper
            assert self.asleep(gate) == []

        run(main(), loop_name)

    def test_many(self):
        """More than fit into the first piece of memory that is tried."""

        async def main():
            gate = probe.Gate()
            tasks = [asyncio.ensure_future(gate.wait_async()) for _ in range(100)]
            await turns()
            assert len(self.asleep(gate)) == 100
            gate.release(50)
            await turns()
            assert len(self.asleep(gate)) == 50
            gate.release(50)
            await asyncio.gather(*tasks)
            assert self.asleep(gate) == []

        run(main())

    def test_read_while_everybody_comes_and_goes(self):
        gate = probe.Gate()
        stop = threading.Event()

        def work():
            while not stop.is_set():
                try:
                    gate.wait(timeout=0.0005)
                except Timeout:
                    continue

        async def work_async():
            while not stop.is_set():
                try:
                    await gate.wait_async(timeout=0.0005)
                except Timeout:
                    continue

        working = [spawn(work) for _ in range(4)] + [spawn(lambda: run(work_async())) for _ in range(2)]
        for _ in range(500):
            for target, thread, context in self.asleep(gate):
                assert target is gate
                assert isinstance(thread, int)
                assert context is None or isinstance(context, contextvars.Context)
        stop.set()
        for each in working:
            each.result()
        assert self.asleep(gate) == []
