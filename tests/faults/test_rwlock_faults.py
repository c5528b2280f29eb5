"""An RWLock where every allocation fails in turn."""

import sys

import pytest

from tests.support.leaks import in_subprocess

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

# With debug a stack is formatted at each hold, by code of Python's own.
without_memory = pytest.mark.parametrize(
    "debug",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(not GIL, reason="3.13t breaks in Python code that finds no memory (gh-118331)"),
        ),
    ],
)


NO_MEMORY = """
import gc, warnings
from ferrule import RWLock, Timeout, WouldDeadlock, aio
from tests.support.driver import complete
from tests.support.race import spawn
from tests.support.rwlocks import FREE
from tests.support.without_memory import every_allocation_fails

warnings.simplefilter("ignore")     # a guard or a coroutine that is dropped because its call failed says so

class Case:
    # A lock that is free, one that another thread holds to write, one that another reads; and one upgradably held.
    def __init__(self):
        self.free = RWLock("value")
        self.written, self.read = RWLock("value"), RWLock("value")
        self.writer = spawn(self.written.write).result()
        self.reader = spawn(self.read.read).result()
        self.upgradable = RWLock("value")
        self.guard = self.upgradable.upgradable_read()
        self.task_guard = aio.RWLock("value").try_upgradable_read()
        self.mine = RWLock("value")
        self.writing = self.mine.write()
        self.kept = None
        self.others = [RWLock().read() for _ in range(40)]  # all that the free list of guards has: a call must allocate

    def seen(self):
        locks = [self.free, self.written, self.read, self.upgradable, self.mine]
        return [lock._state() for lock in locks] + [repr(self.task_guard).endswith(", held>")]

    def rests(self):
        pass

    def check(self):
        # What is held can be ended, and the locks work.
        self.kept = self.others = None
        gc.collect()
        for guard in (self.writer, self.reader, self.guard, self.task_guard, self.writing):
            guard.__exit__(None, None, None) if hasattr(guard, "__exit__") else None
        for lock in (self.free, self.written, self.read, self.upgradable, self.mine):
            assert lock._state() == FREE, lock
            with lock.write(timeout=0) as guard:
                assert guard.value in ("value", "new")

# Made here: an interpreter may crash where there is no memory for a function (3.12, 3.13), which is not what is tested.
def call(c):
    c.kept = {call}

OWN = Timeout, WouldDeadlock, RuntimeError      # failures of a call that are results
assert every_allocation_fails(Case, call, OWN, atomic={atomic}) >= {least}
"""

CALLS = {
    "read": "c.free.read()",
    "read with a timeout": "c.free.read(timeout=5)",
    "read_recursive": "c.free.read_recursive()",
    "upgradable_read": "c.free.upgradable_read()",
    "write": "c.free.write()",
    "try_read": "c.free.try_read()",
    "try_upgradable_read": "c.free.try_upgradable_read()",
    "try_write": "c.free.try_write()",
    "read without waiting": "c.written.read(timeout=0)",
    "read that waits": "c.written.read(timeout=0.0001)",
    "upgradable_read that waits": "c.written.upgradable_read(timeout=0.0001)",
    "write that waits": "c.read.write(timeout=0.0001)",
    "write that would wait for itself": "c.upgradable.write()",
    "try_write in vain": "c.read.try_write()",
    "value": "(c.writer.value, c.reader.value, c.guard.value, c.task_guard.value)",
    "set the value": "setattr(c.writing, 'value', 'new')",
    "upgrade": "c.guard.upgrade()",
    "try_upgrade": "c.guard.try_upgrade()",
    "downgrade": "c.writing.downgrade()",
    "downgrade_to_upgradable": "c.writing.downgrade_to_upgradable()",
    "downgrade of an upgradable one": "c.guard.downgrade()",
    "release": "c.writing.release()",
    "release of a reader": "c.reader.release()",
    "release again": "(c.writing.release(), c.writing.release())",
    "with": "c.writing.__exit__(None, None, None)",
    "unlocked": "c.writing.unlocked().__enter__()",
    "upgraded": "c.guard.upgraded().__enter__()",
    "looks": "(c.free.locked(), c.read.readers, c.mine.locked_exclusive())",
    "repr": "(repr(c.free), repr(c.written), repr(c.guard), repr(c.free.aio))",
    "faces": "(c.free.aio.sync, hash(c.free.aio), c.free.aio == c.free.aio)",
    "a new lock": "RWLock(c)",
    "a new lock's face": "aio.RWLock(c)",
    "an async try_write": "c.free.aio.try_write()",
    "an async read": "complete(c.free.aio.read())",
    "an async read_recursive": "complete(c.free.aio.read_recursive())",
    "an async upgradable_read": "complete(c.free.aio.upgradable_read())",
    "an async write": "complete(c.free.aio.write())",
    "an async write without waiting": "complete(c.read.aio.write(timeout=0))",
    "an async upgrade": "complete(c.task_guard.upgrade())",
    "an async upgraded block": "complete(c.task_guard.upgraded().__aenter__())",
    "an async unlocked block": "complete(c.task_guard.unlocked().__aenter__())",
    "a coroutine never awaited": "(c.free.aio.read(), c.free.aio.write(), c.task_guard.upgrade(), None)[3]",
}

NOT_ATOMIC = {"release again"} | {call for call in CALLS if call.startswith("an async") and "try" not in call}
"""Two calls; and where a coroutine has ended and there is no memory for the StopIteration, its effect stays."""

NEEDS_NONE = {
    "try_write in vain",
    "value",
    "set the value",
    "release",
    "release of a reader",
    "with",
    "looks",
    "faces",
    "try_read",
    "try_write",
    "try_upgradable_read",
    "read",
    "write",
    "read_recursive",
    "upgradable_read",
    "downgrade",
    "downgrade_to_upgradable",
    "downgrade of an upgradable one",
    "try_upgrade",
}
"""Calls that allocate nothing, or nothing where the memory of former guards is used again."""


@pytest.mark.parametrize("call", CALLS)
def test_every_allocation_failing_in_turn(call):
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    program = NO_MEMORY.replace("{call}", CALLS[call]).replace("{atomic}", str(call not in NOT_ATOMIC))
    in_subprocess(program.replace("{least}", "1" if call not in NEEDS_NONE else "0"), timeout=60)


PREAMBLE = """
    import _testcapi
    from ferrule import RWLock, Timeout, WouldDeadlock
    from tests.support.race import spawn
    from tests.support.rwlocks import FREE, state

    def failing(call, allowed=()):
        '''Calls it with the n-th allocation failing, n = 0, 1, ..., until it succeeds twice; the last result.'''
        succeeded = 0
        expected = (MemoryError, *allowed)
        for number in range(5000):
            result = None
            try:
                _testcapi.set_nomemory(number, number + 1)
                result = call()
            except expected as error:
                result = error
            _testcapi.remove_mem_hooks()
            yield result
            succeeded += not isinstance(result, MemoryError)
            if succeeded == 2:
                return
        raise AssertionError("it never succeeds")
"""


@without_memory
@pytest.mark.parametrize("take", ["read", "write", "upgradable_read", "read_recursive", "try_read", "try_write"])
def test_a_hold_that_cannot_be_given_for_want_of_memory_is_not_taken(take, debug):
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess(
        PREAMBLE
        + f"""
    lock = RWLock(debug={debug})
    # CPython 3.11 crashes where it cannot make a thread's first context.
    lock.aio.try_read().release()
    for way in (lock.{take}, lock.aio.try_write):
        for result in failing(way):
            if not isinstance(result, MemoryError):
                result.release()
            del result
            assert lock._state() == FREE
            assert lock._holders(None) == []
    """
    )


@without_memory
@pytest.mark.parametrize(
    "call",
    ["lock.read(timeout=0)", "lock.write(timeout=0.0001)", "held.write()", "upgradable.upgrade(timeout=0.0001)"],
)
def test_a_refusal_without_memory_is_still_one(call, debug):
    """What is raised is the refusal or MemoryError, and nothing of the lock changes."""
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess(
        PREAMBLE
        + f"""
    lock, held, shared = RWLock(debug={debug}), RWLock(debug={debug}), RWLock(debug={debug})
    other = spawn(lock.write).result()
    mine = held.write()
    reader = spawn(shared.read).result()
    upgradable = shared.upgradable_read()
    before = [each._state() for each in (lock, held, shared)]
    refused = (Timeout, WouldDeadlock)
    seen = set()
    for result in failing(lambda: {call}, refused):
        assert isinstance(result, (MemoryError, *refused)), result
        seen.add(type(result))
        assert [each._state() for each in (lock, held, shared)] == before
    assert len(seen) >= 2, seen
    for guard in (other, mine, reader, upgradable):
        guard.release()
    """
    )
