"""Processes: what test_locks_fork.py cannot say of an RWLock, since a Mutex has no upgrades and no conversions."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import threading, warnings
from ferrule import RWLock, Timeout
from tests.support.locks import WAYS, kinds, passed_around
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, raises, spawn
from tests.support.rwlocks import FREE, TAKE, state

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
lock = RWLock(0)
write = WAYS["RWLock.write"]
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


class TestFork:
    @pytest.mark.parametrize("way", ["upgradable", "write"])
    def test_a_guard_of_the_forking_thread_is_converted_in_the_child_alone(self, way):
        run(f"""
guard = TAKE[{way!r}](lock)
before = lock._state()

def work():
    reader = guard.downgrade()
    assert reader.value == 0
    assert lock._state() == state(readers=1)
    reader.release()
    assert lock._state() == FREE

in_child(work)
assert lock._state() == before
assert guard.value == 0
guard.release()
""")

    def test_with_a_parked_upgrade_both_queues_of_the_child_are_empty(self):
        run("""
guard, reader = lock.upgradable_read(), lock.read()
waiting = [spawn(lambda: write.visit(lock, timeout=HANG)) for _ in range(10)]
eventually(lambda: len(kinds(lock)) == 10)
waiting += [spawn(lambda: lock.read(timeout=HANG).release()) for _ in range(10)]
upgrading = spawn(lambda: guard.upgrade(timeout=HANG))
eventually(lambda: len(kinds(lock)) == 21)

def release_first():
    assert lock._state() == state(readers=1, upgradable=True)
    reader.release()
    guard.release()

def read_first():
    # Nobody waits here: a newcomer is not kept out.
    lock.read(timeout=HANG).release()
    reader.release()
    guard.release()

def upgrade_first():
    reader.release()
    guard.upgrade(timeout=HANG).release()

def wait_first():
    # Somebody of this generation queues before anybody looked at the queue.
    counting = spawn(lambda: write.visit(lock, timeout=HANG))
    eventually(lambda: kinds(lock) == ["thread"])
    guard.release(fair=True)
    reader.release(fair=True)
    counting.result()

def give_up_first():
    raises(Timeout, spawn(lambda: lock.write(timeout=0.001)).result)
    assert kinds(lock) == []
    reader.release()
    guard.downgrade().release()

for first in (release_first, read_first, upgrade_first, wait_first, give_up_first):
    def work():
        first()
        passed_around(write, lock)
    in_child(work)
reader.release()
upgrading.result().release()
for one in waiting:
    one.result()
with lock.read() as after:
    assert after.value == 10
assert lock._state() == FREE
""")


class TestExit:
    def test_with_daemon_threads_in_both_queues(self):
        run("""
reader = lock.read()
guard = spawn(lock.upgradable_read).result()
waits = [guard.upgrade, lambda: guard.upgrade(timeout=HANG), lock.write, lock.upgradable_read, lambda: lock.read()]
for number, wait in enumerate(waits):
    for _ in range(4):
        threading.Thread(target=wait, daemon=True).start()
    eventually(lambda: len(kinds(lock)) == 4 * number + 4)
""")

    @pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-W", "error")], ids=["plain", "dev", "error"])
    def test_with_converted_guards_alive_in_module_globals(self, options):
        run(
            """
locks = [RWLock([n]) for n in range(3)]
guards = [locks[0].write().downgrade(), locks[1].aio.try_write().downgrade_to_upgradable()]
upgraded = locks[2].upgradable_read().upgraded()
writer = upgraded.__enter__()
""",
            options=options,
        )
