"""Selects and timers under all that an interpreter can be told to check, and with every allocation failing in turn."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import SETTINGS, run_under

TESTS = [f"tests/{name}.py" for name in ("unit/test_select", "unit/test_timers", "aio/test_select_aio")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, TESTS)


NO_MEMORY = """
import warnings
from ferrule import Empty, Timeout, after, aio, at, bounded, never, select, tick, try_select, unbounded
from tests.support.channels import waiting
from tests.support.driver import complete
from tests.support.without_memory import every_allocation_fails

warnings.simplefilter("ignore")     # a permit or a coroutine that is dropped because its call failed says so
one = object()

class Case:
    # A channel with as many items as fill its first block, so that the next one needs a new block; and a full one.
    def __init__(self):
        self.items = [object() for _ in range(14)]
        self.tx, self.rx = unbounded()
        self.full, self.of_full = bounded(14)
        for item in self.items:
            self.tx.send(item)
            self.full.send(item)
        self.empty, self.of_empty = bounded(3)
        self.meeting, self.of_meeting = bounded(0)
        self.closed, self.of_closed = bounded(1)
        self.of_closed.close()
        self.ripe = at(0)
        self.ends = [self.rx, self.of_full, self.of_empty, self.of_meeting, self.ripe]

    def seen(self):
        seen = []
        for end in self.ends:
            stats = end.stats()
            del stats["waits"]
            seen.append((stats, waiting(end), len(end), end.receiver_count, end.sender_count))
        return seen

    def rests(self):
        for state in self.seen():
            assert state[1]["senders"] == state[1]["receivers"] == 0, state

    def check(self):
        for end in self.ends[:2]:
            left = [item for item in end.drain() if item is not one]
            assert left == self.items[len(self.items) - len(left):], left
        assert select(self.empty.sending(one), timeout=0).index == 0
        assert try_select(self.of_empty, biased=True).value is one

OWN = Empty, Timeout

def call(c):
    return {call}

assert every_allocation_fails(Case, call, OWN, atomic={atomic}) >= {least}
"""

CALLS = {
    "a receive": "select(c.rx)",
    "a receive of the first": "select(c.rx, c.of_full, never(), biased=True)",
    "a send": "select(c.of_empty, c.tx.sending(one), biased=True)",
    "a reservation": "select(c.empty.reserving(), c.of_empty).value.release()",
    "a closed arm": "select(c.closed.sending(one))",
    "a timeout": "select(c.of_empty, c.full.sending(one), c.full.reserving(), timeout=0)",
    "a wait": "select(c.of_empty, c.full.sending(one), c.full.reserving(), after(9), timeout=0.0001)",
    "a wait with one item": "select(c.of_empty, c.full.sending(one), timeout=0.0001)",
    "a wait at a rendezvous": "select(c.meeting.sending(one), c.of_meeting, timeout=0.0001)",
    "a wait for nothing": "select(timeout=0.0001)",
    "many arms": "select(*[c.of_empty] * 300, c.tx.sending(one))",
    "try_select": "try_select(c.rx)",
    "try_select in vain": "try_select(c.of_empty, c.full.reserving())",
    "an arm": "(c.tx.sending(one), c.tx.reserving(), repr(c.tx.sending(one)))",
    "timers": "(after(5), at(5), tick(5), never(), aio.after(5), aio.at(5), aio.tick(5), aio.never())",
    "a timer's message": "c.ripe.recv(timeout=5)",
    "a timer's message by select": "select(c.ripe, c.of_empty, timeout=5)",
    "a timer's message by recv_many": "c.ripe.recv_many(3)",
    "a wait for a timer": "after(0.0001).recv()",
    "an async receive": "complete(aio.select(c.rx))",
    "an async send": "complete(aio.select(c.tx.sending(one)))",
    "an async timeout": "complete(aio.select(c.of_empty, c.full.sending(one), timeout=0))",
    "an async timer's message": "complete(aio.select(c.ripe))",
    "a coroutine never awaited": "aio.select(c.rx, c.tx.sending(one))",
}

NOT_ATOMIC = {"a reservation"} | {call for call in CALLS if call.startswith("an async")}
"""Calls that are several; and where there is no memory for the StopIteration of a coroutine, its effect stays."""


@pytest.mark.parametrize("call", CALLS)
def test_every_allocation_failing_in_turn(call):
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    program = NO_MEMORY.replace("{call}", CALLS[call]).replace("{atomic}", str(call not in NOT_ATOMIC))
    in_subprocess(program.replace("{least}", "0" if call == "a timer's message" else "1"), timeout=60)


def test_no_memory_for_a_timers_message():
    """Where it fails once the message is made at the second look; where it fails again the message stays."""
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess("""
        import _testcapi
        from ferrule import at

        timer, failed = at(0), 0
        receive = timer.recv
        for count in range(1, 4):
            try:
                _testcapi.set_nomemory(0, count)
                receive()
            except MemoryError:
                failed = count
            _testcapi.remove_mem_hooks()
            if failed:
                break
            timer = at(0)
            receive = timer.recv
        assert failed > 1, failed
        assert timer.recv() == 0
        """)
