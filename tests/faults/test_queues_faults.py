"""The drop-in queues under all that an interpreter can be told to check, and with every allocation failing in turn."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.queues import TASKS, THREADS
from tests.support.settings import SETTINGS, run_under

TESTS = [f"tests/{name}.py" for name in ("unit/test_queues", "unit/test_queues_interface", "aio/test_queues_aio")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, TESTS)


SETUP = """
import asyncio, gc
from ferrule.dropin.asyncio import QueueEmpty, QueueFull, QueueShutDown
from ferrule.dropin.queue import Empty, Full, ShutDown
from tests.support.driver import complete
from tests.support.queues import TASKS, THREADS, waiting
from tests.support.without_memory import every_allocation_fails

OWN = (Empty, Full, ShutDown, QueueEmpty, QueueFull, QueueShutDown)
ITEMS = [5000 + n for n in range(40)]

class Case:
    def __init__(self, make, count):
        self.queue = make(50)
        for n in range(count):
            self.queue.put_nowait(ITEMS[n])

    def seen(self):
        return self.queue.qsize(), sum(waiting(self.queue).values())

    def rests(self):
        assert sum(waiting(self.queue).values()) == 0

    def check(self):
        q = self.queue
        q.put_nowait(1)
        left = [q.get_nowait() for _ in range(q.qsize())]
        assert 1 in left and len(set(left)) == len(left)
        assert q.empty()
"""

CALLS = {
    "put_nowait": "lambda case: case.queue.put_nowait(1234)",
    "get_nowait": "lambda case: case.queue.get_nowait()",
}


@pytest.mark.parametrize("face", ["THREADS", "TASKS"])
@pytest.mark.parametrize("kind", [kind for kind in THREADS if "," not in kind and "with" not in kind])
@pytest.mark.parametrize("count", [0, 8, 14])
@pytest.mark.parametrize("call", CALLS)
def test_every_allocation_failing_in_turn(call, count, kind, face):
    """The item is put, or the call raises and nothing has changed; likewise for a get."""
    in_subprocess(SETUP + f"every_allocation_fails(lambda: Case({face}[{kind!r}], {count}), {CALLS[call]}, OWN)")


@pytest.mark.parametrize("count", [0, 3, 40])
@pytest.mark.parametrize("kind", [kind for kind in TASKS if "," not in kind and "with" not in kind])
@pytest.mark.parametrize("face", ["THREADS", "TASKS"])
def test_opening_without_memory_keeps_the_items(face, kind, count):
    name = "queue" if face == "THREADS" else "_queue"
    in_subprocess(
        SETUP
        + f"""
failed = every_allocation_fails(lambda: Case({face}[{kind!r}], {count}), lambda case: len(case.queue.{name}), OWN)
assert failed
"""
    )
