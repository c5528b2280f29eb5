"""Waits of every kind and every end, over and over: references, memory and locks come back to the start."""

import pytest

from tests.conftest import GIL
from tests.support.leaks import assert_no_leak, in_subprocess

pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

SETUP = """
import asyncio, gc, threading, weakref
from ferrule import Timeout
from ferrule._core.parking import sleepers
from ferrule._core.probe import Gate, Several
gate = Gate()
loop = asyncio.new_event_loop()
asyncio._set_running_loop(loop)     # for coroutines that are driven by hand
error = KeyError("mine")
marker = object()
"""

SYNC = {
    "ready": "gate.release(); gate.wait()",
    "timeout 0": """
        try:
            gate.wait(timeout=0)
        except Timeout:
            pass
    """,
    "timed out": """
        try:
            gate.wait(timeout=1e-6)
        except Timeout:
            pass
    """,
    "timed out while spinning": """
        try:
            gate.wait(timeout=1e-6, spinning=True)
        except Timeout:
            pass
    """,
    "several, timed out": """
        try:
            Several(gate, Gate(), gate).wait(timeout=1e-6)
        except Timeout:
            pass
    """,
    "claimed for nobody": "gate.claim().wake(); gate.wait(timeout=0); gate.claim(); gate.try_wait()",
    "the register": "sleepers()",
}

ASYNC = {
    "never awaited, closed": "gate.wait_async().close()",
    "ready": """
        gate.release()
        try:
            gate.wait_async().send(None)
        except StopIteration:
            pass
    """,
    "ready, with a result": """
        gate.release()
        for step in (lambda coroutine: coroutine.send(None), next):
            gate.release()
            try:
                step(gate.give_async(marker))
            except StopIteration:
                pass
        gate.try_wait()
    """,
    "timeout 0": """
        try:
            gate.wait_async(timeout=0).send(None)
        except Timeout:
            pass
    """,
    "closed while queued": """
        coroutine = gate.wait_async()
        coroutine.send(None)
        coroutine.close()
    """,
    "thrown into while queued": """
        coroutine = gate.give_async(marker)
        coroutine.send(None)
        try:
            coroutine.throw(error)
        except KeyError:
            error.__traceback__ = error.__context__ = None
    """,
    "claimed, finished": """
        coroutine = gate.give_async(marker)
        coroutine.send(None)
        gate.release()
        try:
            coroutine.send(None)
        except StopIteration:
            pass
    """,
    "claimed, dropped": """
        coroutine = gate.wait_async()
        coroutine.send(None)
        gate.release()
        del coroutine
        assert gate.try_wait()
    """,
    "claimed, dropped before the wake": """
        coroutine = gate.wait_async()
        coroutine.send(None)
        claimed = gate.claim()
        del coroutine
        claimed.wake()
        assert gate.try_wait()
    """,
    "handed, dropped": """
        coroutine = gate.wait_async()
        coroutine.send(None)
        gate.hand()
        del coroutine
        assert gate.try_wait()
    """,
    "insisting, cancelled": """
        coroutine = gate.wait_async(insists=True)
        coroutine.send(None)
        coroutine.throw(error)
        gate.release()
        try:
            coroutine.send(None)
        except KeyError:
            error.__traceback__ = error.__context__ = None
    """,
    "with a timer, closed": """
        coroutine = gate.wait_async(timeout=1000)
        coroutine.send(None)
        coroutine.close()
        loop.call_soon(loop.stop)
        asyncio._set_running_loop(None)
        loop.run_forever()
        asyncio._set_running_loop(loop)
    """,
    "from another thread, drained": """
        coroutine = gate.wait_async()
        coroutine.send(None)
        asyncio._set_running_loop(None)
        gate.release()
        loop.call_soon(loop.stop)
        loop.run_forever()
        asyncio._set_running_loop(loop)
        try:
            coroutine.send(None)
        except StopIteration:
            pass
    """,
    "several": """
        gates = [Gate() for _ in range(3)]
        coroutine = Several(*gates).wait_async()
        coroutine.send(None)
        gates[1].hand()
        try:
            coroutine.send(None)
        except StopIteration:
            pass
    """,
    "in a cycle with its gate": """
        own = Gate()
        own.wait_async().send(None)
        gone = weakref.ref(own)
        del own
        gc.collect()
        assert gone() is None
    """,
    "in a cycle with several gates": """
        own = Gate()
        Several(own, Gate(), own).wait_async().send(None)
        gone = weakref.ref(own)
        del own
        gc.collect()
        assert gone() is None
    """,
}


@pytest.mark.parametrize("code", SYNC.values(), ids=SYNC)
def test_waits_of_threads(code):
    assert_no_leak(code, setup=SETUP, watch=["gate"], repeats=500)


@pytest.mark.parametrize("code", ASYNC.values(), ids=ASYNC)
def test_waits_of_coroutines(code):
    assert_no_leak(code, setup=SETUP, watch=["gate", "loop", "error", "marker"], repeats=300)


def test_waits_of_threads_that_end():
    """Each thread has parked locks of its own, which go with it."""
    assert_no_leak(
        """
        waiting = spawn(nested)
        eventually(lambda: gate.waiting == 1)
        gate.release()
        waiting.result()
        """,
        setup=SETUP
        + """
from tests.support.race import eventually, spawn

def nested():
    try:
        gate.wait(timeout=1e-6)
    except Timeout:
        gate.wait()
""",
        watch=["gate"],
        repeats=1000,
        spare_bytes=16,  # a lock has 32
    )


@pytest.mark.skipif(not GIL, reason="without the GIL a thread costs a millisecond; the test above counts bytes there")
def test_ten_thousand_short_threads():
    in_subprocess(
        """
        import resource, threading
        from ferrule import Timeout
        from ferrule._core.probe import Gate

        gate = Gate()

        def work():
            try:
                gate.wait(timeout=1e-6)
            except Timeout:
                pass

        def rss():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        def threads(count):
            for _ in range(count):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()

        threads(1000)
        before = rss()
        threads(10_000)
        grown = rss() - before
        assert grown < 10_000 * 32, f"{grown} bytes for 10,000 threads that waited once"   # a lock is 32 bytes
        """
    )


def test_a_dropped_loop_with_a_claimed_waiter_is_collected_and_its_permission_passes_on():
    in_subprocess(
        """
        import asyncio, gc, logging, warnings, weakref
        from ferrule._core.probe import Gate
        from tests.support.race import eventually, spawn

        warnings.simplefilter("ignore", ResourceWarning)  # a loop that is dropped unclosed is what is tested
        logging.disable()
        gate = Gate()

        def drop_a_loop():
            loop = asyncio.SelectorEventLoop()
            loop.create_task(gate.wait_async())
            loop.run_until_complete(asyncio.sleep(0))
            gate.release()
            return weakref.ref(loop)

        gone = drop_a_loop()
        behind = spawn(gate.wait)
        gc.collect()
        assert gone() is None
        assert behind.result() is True
        assert (gate.permits, gate.waiting) == (0, 0)
        """
    )


def test_a_loop_that_the_collector_takes_apart_raises_nowhere():
    in_subprocess(
        """
        import asyncio, gc, logging, warnings
        from ferrule._core.probe import Gate

        warnings.simplefilter("ignore")  # a loop that is dropped unclosed is what is tested
        logging.disable()
        gc.disable()

        def drop_a_loop():
            loop, gate = asyncio.SelectorEventLoop(), Gate()
            first, second = gate.wait_async(), gate.wait_async()

            async def wait():
                first.send(None)
                second.send(None)
                gate.release()
                loop.kept = loop, gate, first, second

            loop.run_until_complete(wait())

        for _ in range(20):
            drop_a_loop()
            gc.collect()
            for _ in range(100):
                pass  # where an exception that was put off would be raised
        """
    )
