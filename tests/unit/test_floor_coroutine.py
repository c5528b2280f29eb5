"""The coroutine object: acts at its first step, and answers in each state as a coroutine of Python's own does."""

import asyncio
import collections.abc
import copy
import gc
import inspect
import pickle
import sys
import types
import warnings
import weakref

import pytest

from ferrule import Timeout
from tests.support.driver import LoopThread, Stepper, run, turns
from tests.support.race import HANG, eventually, outcome, run_together

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

AGAIN = "cannot reuse already awaited coroutine"


async def native(gate):
    """What an async method of Python's own would be."""
    return await gate.wait_async()


def ours(gate):
    return gate.wait_async()


@pytest.fixture(params=[ours, native], ids=["ours", "native"])
def make(request):
    """Makes a coroutine that waits at a gate: ferrule's, and a native one around it, as the model to be like."""
    return request.param


def in_loop(test):
    """The test's coroutine function runs in asyncio's loop."""

    def runs(*args, **keywords):
        run(test(*args, **keywords))

    runs.__name__ = test.__name__
    runs.__signature__ = inspect.signature(test)
    return runs


class TestKind:
    def test_it_is_a_coroutine(self):
        coroutine = probe.Gate().wait_async()
        assert isinstance(coroutine, collections.abc.Coroutine)
        assert isinstance(coroutine, collections.abc.Awaitable)
        assert asyncio.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        coroutine.close()

    def test_names_and_attributes(self):
        coroutine = probe.Gate().wait_async()
        assert coroutine.__name__ == "wait"
        assert coroutine.__qualname__ == "Gate.wait"
        assert coroutine.cr_frame is None
        assert coroutine.cr_code is None
        assert coroutine.cr_await is None
        assert coroutine.cr_running is False
        coroutine.close()

    @in_loop
    async def test_repr_and_cr_await_in_each_state(self):
        gate = probe.Gate()
        coroutine = gate.wait_async()
        assert repr(coroutine) == "<coroutine Gate.wait of ferrule, created>"
        future = coroutine.send(None)
        assert repr(coroutine) == "<coroutine Gate.wait of ferrule, suspended>"
        assert coroutine.cr_await is future
        gate.release()
        assert repr(coroutine) == "<coroutine Gate.wait of ferrule, suspended>"
        assert coroutine.cr_await is future
        with pytest.raises(StopIteration):
            coroutine.send(None)
        assert repr(coroutine) == "<coroutine Gate.wait of ferrule, closed>"
        assert coroutine.cr_await is None
        assert coroutine.cr_running is False

    def test_nobody_can_make_copy_or_pickle_one(self):
        coroutine = probe.Gate().wait_async()
        for attempt in (
            type(coroutine),
            lambda: type(coroutine).__new__(type(coroutine)),
            lambda: object.__new__(type(coroutine)),
            lambda: copy.copy(coroutine),
            lambda: copy.deepcopy(coroutine),
            lambda: pickle.dumps(coroutine),
            lambda: type("Sub", (type(coroutine),), {}),
        ):
            with pytest.raises(TypeError):
                attempt()
        coroutine.close()

    def test_it_is_no_context_manager_where_the_operation_gives_no_guard(self):
        coroutine = probe.Gate().wait_async()
        with pytest.raises(TypeError, match=r"Gate\.wait"):
            coroutine.__aenter__()
        with pytest.raises(RuntimeError, match=r"Gate\.wait"):
            coroutine.__aexit__(None, None, None)
        coroutine.close()


class TestFirstStep:
    def test_the_call_does_nothing(self):
        gate = probe.Gate(1)
        coroutine = gate.wait_async()
        assert gate.permits == 1
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        assert stopped.value.value is True
        assert gate.permits == 0

    @pytest.mark.parametrize("arguments", [{"timeout": -1}, {"timeout": "1"}, {"timeout": float("nan")}, {"x": 1}])
    def test_argument_errors_come_from_the_call(self, arguments):
        with pytest.raises((TypeError, ValueError)):
            probe.Gate(1).wait_async(**arguments)

    @in_loop
    async def test_all_other_errors_come_from_the_first_step(self):
        coroutine = probe.Gate().wait_async(timeout=0)
        with pytest.raises(Timeout):
            await coroutine

    def test_ready_without_a_loop(self):
        async def take(gate):
            return await gate.wait_async()

        with pytest.raises(StopIteration) as stopped:
            take(probe.Gate(1)).send(None)
        assert stopped.value.value is True

    @in_loop
    async def test_ready_without_suspending(self):
        turned = []
        asyncio.get_running_loop().call_soon(turned.append, True)
        gate = probe.Gate(1000)
        for _ in range(1000):
            assert await gate.wait_async() is True
        assert not turned


class TestLikeANativeOne:
    """Each call in each state."""

    def test_new_send_of_a_value(self, make):
        coroutine = make(probe.Gate(1))
        with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
            coroutine.send(1)
        with pytest.raises(StopIteration):  # it is as new as before
            coroutine.send(None)

    def test_new_throw(self, make):
        gate = probe.Gate(1)
        coroutine = make(gate)
        error = KeyError("mine")
        with pytest.raises(KeyError) as raised:
            coroutine.throw(error)
        assert raised.value is error
        assert gate.permits == 1
        with pytest.raises(RuntimeError, match=AGAIN):
            coroutine.send(None)

    def test_new_close(self, make):
        gate = probe.Gate(1)
        coroutine = make(gate)
        assert coroutine.close() is None
        assert gate.permits == 1
        with pytest.raises(RuntimeError, match=AGAIN):
            coroutine.send(None)

    @in_loop
    async def test_suspended_throw(self, make):
        gate = probe.Gate()
        coroutine = make(gate)
        coroutine.send(None)
        assert gate.waiting == 1
        with pytest.raises(KeyError, match="mine"):
            coroutine.throw(KeyError("mine"))
        assert gate.waiting == 0
        with pytest.raises(RuntimeError, match=AGAIN):
            coroutine.send(None)

    @in_loop
    async def test_suspended_close(self, make):
        gate = probe.Gate()
        coroutine = make(gate)
        coroutine.send(None)
        assert coroutine.close() is None
        assert gate.waiting == 0
        with pytest.raises(RuntimeError, match=AGAIN):
            coroutine.send(None)

    @in_loop
    async def test_suspended_generator_exit(self, make):
        gate = probe.Gate()
        coroutine = make(gate)
        coroutine.send(None)
        with pytest.raises(GeneratorExit):
            coroutine.throw(GeneratorExit)
        assert gate.waiting == 0

    @in_loop
    async def test_suspended_send_of_a_value(self, make):
        """What an awaitable does with a value that was sent is its own affair: this one ignores it."""
        gate = probe.Gate()
        coroutine = make(gate)
        future = coroutine.send(None)
        assert coroutine.send(1) is future
        gate.release()
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(2)
        assert stopped.value.value is True

    @in_loop
    async def test_the_future_is_marked_for_the_task(self, make):
        coroutine = make(probe.Gate())
        future = coroutine.send(None)
        assert asyncio.isfuture(future)
        assert future._asyncio_future_blocking is True
        assert not future.done()
        coroutine.close()

    @pytest.mark.parametrize("end", ["returned", "raised", "closed"])
    def test_finished(self, make, end):
        coroutine = make(probe.Gate(1))
        match end:
            case "returned":
                with pytest.raises(StopIteration):
                    coroutine.send(None)
            case "raised":
                with pytest.raises(KeyError):
                    coroutine.throw(KeyError)
            case "closed":
                coroutine.close()
        for _ in range(2):
            with pytest.raises(RuntimeError, match=AGAIN):
                coroutine.send(None)
            with pytest.raises(RuntimeError, match=AGAIN):
                coroutine.send(1)
            with pytest.raises(RuntimeError, match=AGAIN):
                coroutine.throw(KeyError)
            assert coroutine.close() is None

    @in_loop
    async def test_awaited_twice(self, make):
        coroutine = make(probe.Gate(2))
        assert await coroutine is True
        with pytest.raises(RuntimeError, match=AGAIN):
            await coroutine

    @pytest.mark.filterwarnings("ignore:the .* signature of throw:DeprecationWarning")
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((KeyError,), KeyError, None),
            ((KeyError("mine"),), KeyError, "mine"),
            ((KeyError, "mine"), KeyError, "mine"),
            ((LookupError, ("or", "mine")), LookupError, "mine"),
            ((KeyError, KeyError("mine")), KeyError, "mine"),
            ((LookupError, KeyError("mine")), KeyError, "mine"),
            ((KeyError, None, None), KeyError, None),
            ((KeyError("mine"), None, None), KeyError, "mine"),
        ],
    )
    def test_what_throw_takes(self, make, arguments, error, message):
        with pytest.raises(error, match=message) as raised:
            make(probe.Gate()).throw(*arguments)
        assert type(raised.value) is error

    @pytest.mark.filterwarnings("ignore:the .* signature of throw:DeprecationWarning")
    @pytest.mark.parametrize(
        "arguments", [(), (1,), (int,), ("KeyError",), (KeyError("mine"), "more"), (KeyError, None, 1)]
    )
    def test_what_throw_refuses(self, make, arguments):
        gate = probe.Gate(1)
        coroutine = make(gate)
        with pytest.raises(TypeError):
            coroutine.throw(*arguments)
        with pytest.raises(StopIteration):  # it is as new as before
            coroutine.send(None)

    def test_a_traceback_that_is_thrown_in_is_in_the_traceback(self):
        try:
            raise KeyError("origin")
        except KeyError as error:
            origin = error.__traceback__
        with pytest.raises(KeyError) as raised:
            probe.Gate().wait_async().throw(KeyError, KeyError("mine"), origin)
        traceback = raised.value.__traceback__
        while traceback is not None and traceback is not origin:
            traceback = traceback.tb_next
        assert isinstance(origin, types.TracebackType)
        assert traceback is origin

    def test_never_awaited(self, make):
        with pytest.warns(RuntimeWarning, match=r"coroutine '.+' was never awaited"):
            make(probe.Gate(1))

    def test_never_awaited_names_the_method(self):
        with pytest.warns(RuntimeWarning, match=r"^coroutine 'Gate\.wait' was never awaited$"):
            probe.Gate(1).wait_async()

    @pytest.mark.parametrize("end", ["close", "throw", "finish"])
    def test_no_warning_after_anything_was_done_with_it(self, make, end):
        coroutine = make(probe.Gate(1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            match end:
                case "close":
                    coroutine.close()
                case "throw":
                    with pytest.raises(KeyError):
                        coroutine.throw(KeyError)
                case "finish":
                    with pytest.raises(StopIteration):
                        coroutine.send(None)
            del coroutine
            gc.collect()

    @in_loop
    async def test_driven_from_within_itself(self, make):
        """A step that comes while another one is in progress."""
        gate = probe.Gate()
        coroutine = make(gate)
        refused = []

        class Loop:
            """The running loop, but making a future drives the coroutine once more."""

            def __getattr__(self, name):
                return getattr(loop, name)

            def create_future(self):
                assert coroutine.cr_running
                for call in (
                    lambda: coroutine.send(None),
                    lambda: coroutine.throw(KeyError),
                    coroutine.close,
                ):
                    with pytest.raises(ValueError, match="coroutine already executing"):
                        call()
                    refused.append(True)
                return loop.create_future()

        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(Loop())
        try:
            coroutine.send(None)
        finally:
            asyncio._set_running_loop(loop)
        assert refused == [True] * 3
        gate.release()
        await turns()
        with pytest.raises(StopIteration):
            coroutine.send(None)


class Odd(Exception):
    """An exception instance as a result."""


RESULTS = [
    None,
    True,
    (),
    (1,),
    (1, 2),
    [],
    KeyError("mine"),
    KeyError,
    StopIteration(),
    StopIteration("mine"),
    StopIteration,
    Odd((1, 2)),
    NotImplemented,
]


@pytest.mark.parametrize("result", RESULTS, ids=repr)
@pytest.mark.parametrize("suspends", [False, True], ids=["at-once", "after-a-wait"])
class TestResults:
    """Whatever the result is, it arrives as it is, by every way there is to await."""

    async def give(self, result, suspends):
        gate = probe.Gate(0 if suspends else 1)
        if suspends:
            asyncio.get_running_loop().call_soon(gate.release)
        return gate.give_async(result)

    @in_loop
    async def test_await(self, result, suspends):
        assert await (await self.give(result, suspends)) is result

    @in_loop
    async def test_await_while_traced(self, result, suspends):
        """With a trace function the interpreter takes another path."""
        coroutine = await self.give(result, suspends)
        before = sys.gettrace()
        sys.settrace(lambda *_: None)
        try:
            got = await coroutine
        finally:
            sys.settrace(before)
        assert got is result

    @in_loop
    async def test_task(self, result, suspends):
        assert await asyncio.create_task(await self.give(result, suspends)) is result

    @in_loop
    async def test_send_and_next(self, result, suspends):
        for step in (lambda coroutine: coroutine.send(None), next):
            gate = probe.Gate(0 if suspends else 1)
            coroutine = gate.give_async(result)
            if suspends:
                step(coroutine)
                gate.release()
            with pytest.raises(StopIteration) as stopped:
                step(coroutine)
            assert stopped.value.value is result

    @in_loop
    async def test_yield_from(self, result, suspends):
        @types.coroutine
        def delegate(coroutine):
            return (yield from coroutine)

        assert await delegate(await self.give(result, suspends)) is result

    @in_loop
    async def test_through_a_generators_await(self, result, suspends):
        class Wrapped:
            def __init__(self, coroutine):
                self.coroutine = coroutine

            def __await__(self):
                return (yield from self.coroutine.__await__())

        assert await Wrapped(await self.give(result, suspends)) is result


class TestWays:
    """The ways by which asyncio takes a coroutine."""

    @in_loop
    async def test_gather_wait_shield_wait_for_task_group(self):
        gate = probe.Gate(3)
        assert await asyncio.gather(gate.wait_async(), gate.wait_async()) == [True, True]
        assert await asyncio.wait_for(gate.wait_async(), HANG) is True
        asyncio.get_running_loop().call_soon(gate.release, 3)
        assert await asyncio.shield(gate.wait_async()) is True
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gate.wait_async(), name="mine") for _ in range(2)]
        assert [task.result() for task in tasks] == [True, True]

    def test_run_and_run_coroutine_threadsafe(self):
        gate = probe.Gate(1)
        assert asyncio.run(gate.wait_async()) is True
        with LoopThread() as there:
            future = asyncio.run_coroutine_threadsafe(gate.wait_async(), there.loop)
            eventually(lambda: gate.waiting == 1)
            gate.release()
            assert future.result(HANG) is True

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
    @in_loop
    async def test_eager_tasks(self):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        gate = probe.Gate(1)
        ready = asyncio.create_task(gate.wait_async())
        assert ready.done()
        waiting = asyncio.create_task(gate.wait_async())
        assert not waiting.done()
        assert gate.waiting == 1
        gate.release()
        assert await waiting is True

    @in_loop
    async def test_debug_mode_shows_it(self):
        asyncio.get_running_loop().set_debug(True)
        gate = probe.Gate()
        task = asyncio.create_task(gate.wait_async())
        await turns()
        assert "Gate.wait" in repr(task)
        assert isinstance(task.get_stack(), list)
        gate.release()
        assert await task is True

    @in_loop
    async def test_two_tasks_await_one_coroutine(self):
        gate = probe.Gate()
        coroutine = gate.wait_async()
        tasks = [asyncio.create_task(coroutine) for _ in range(2)]
        await turns()
        gate.release()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), HANG)
        assert results[0] is True
        assert isinstance(results[1], RuntimeError)
        assert (gate.permits, gate.waiting) == (0, 0)


class TestTwoThreads:
    """A coroutine is for one driver; two get a ValueError or a RuntimeError, and nothing is lost."""

    def test_two_first_steps(self):
        for _ in range(500):
            gate = probe.Gate(1)
            coroutine = gate.wait_async()
            step = outcome(coroutine.send, StopIteration, ValueError, RuntimeError)
            results = run_together(lambda step=step: step(None), lambda step=step: step(None))
            assert results.count(StopIteration) == 1
            assert set(results) <= {StopIteration, ValueError, RuntimeError}
            assert gate.permits == 0

    @pytest.mark.parametrize("end", ["close", "throw"])
    def test_a_first_step_and_an_end(self, end):
        for _ in range(500):
            gate = probe.Gate(1)
            coroutine = gate.wait_async()
            stepped, ended = run_together(
                lambda send=coroutine.send: outcome(send, StopIteration, ValueError, RuntimeError)(None),
                outcome(coroutine.close, ValueError)
                if end == "close"
                else lambda throw=coroutine.throw: outcome(throw, KeyError, ValueError, RuntimeError)(KeyError),
            )
            assert (stepped, ended, gate.permits) in {
                (StopIteration, None, 0),  # stepped, then found finished by close()
                (StopIteration, RuntimeError, 0),  # stepped, then found finished by throw()
                (StopIteration, ValueError, 0),  # ended while it was stepping
                (RuntimeError, None, 1),  # closed before
                (RuntimeError, KeyError, 1),  # thrown into before
                (ValueError, None, 1),  # stepped while it was being closed
                (ValueError, KeyError, 1),  # stepped while it was being thrown into
            }

    def test_steps_of_one_that_waits(self):
        with LoopThread() as there:
            for _ in range(200):
                gate = probe.Gate()
                coroutine = gate.wait_async()
                future = there.call(coroutine.send, None)
                again = outcome(coroutine.send, ValueError)
                results = run_together(lambda again=again: again(None), lambda again=again: again(None))
                assert set(results) <= {future, ValueError}
                there.call(coroutine.close)
                assert (gate.permits, gate.waiting) == (0, 0)


class TestEnds:
    """A coroutine that nobody has any more gives back what it had, in each state."""

    @in_loop
    async def test_dropped_while_queued_it_lives_as_long_as_the_gate(self):
        gate = probe.Gate()
        gate.wait_async().send(None)
        assert gate.waiting == 1
        gone = weakref.ref(gate)
        del gate
        gc.collect()
        assert gone() is None

    @in_loop
    async def test_dropped_when_claimed(self):
        gate = probe.Gate()
        coroutine = gate.wait_async()
        coroutine.send(None)
        gate.release()
        assert (gate.permits, gate.waiting) == (1, 0)
        behind = Stepper(gate.wait_async())
        assert behind.step()
        gate.release()
        next_one = gate.wait_async()
        del coroutine
        with pytest.raises(StopIteration):
            next_one.send(None)

    @in_loop
    async def test_dropped_when_handed(self):
        gate = probe.Gate()
        coroutine = gate.wait_async()
        coroutine.send(None)
        assert gate.hand()
        assert gate.permits == 0
        del coroutine
        gc.collect()
        assert gate.permits == 1

    @in_loop
    async def test_a_cycle_of_one_that_is_queued(self):
        class Node:
            pass

        gate = probe.Gate()
        node = Node()
        node.coroutine = gate.wait_async()
        node.future = node.coroutine.send(None)
        node.future.node = node if hasattr(node.future, "__dict__") else None
        node.gate = gate
        gone = weakref.ref(gate), weakref.ref(node)
        del gate, node
        gc.collect()
        assert [reference() for reference in gone] == [None, None]

    @in_loop
    async def test_collected_while_it_is_alive_it_goes_on(self):
        """The collector visits one reference once, however many gates have it in their queues."""
        for make in (lambda: probe.Several(probe.Gate(), probe.Gate()), lambda: probe.Several(*[probe.Gate()] * 3)):
            several = make()
            coroutine = several.wait_async()
            coroutine.send(None)
            gate = several.gates[-1]
            reference = weakref.ref(gate)
            del several, gate
            gc.collect()
            reference().release()
            with pytest.raises(StopIteration):
                coroutine.send(None)

    @in_loop
    async def test_a_cycle_through_several_gates(self):
        gates = [probe.Gate() for _ in range(3)]
        gone = [weakref.ref(gate) for gate in gates]
        probe.Several(*gates).wait_async().send(None)
        assert [gate.waiting for gate in gates] == [1, 1, 1]
        gates.clear()
        gc.collect()
        assert [reference() for reference in gone] == [None] * 3
