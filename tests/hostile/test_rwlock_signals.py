"""Signals that arrive during an upgrade, or keep others out: what test_locks_signals.py cannot say of an RWLock."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import signal
from ferrule import RWLock
from tests.support.processes import interrupted, interrupted_ahead_of, signal_when
from tests.support.race import HANG, raises, spawn
from tests.support.rwlocks import FREE, TAKE, kinds, state

lock = RWLock("kept")
reader = spawn(lock.read).result()
"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


@pytest.mark.parametrize("upgrade", ["guard.upgrade()", "guard.upgrade(timeout=HANG)", "guard.upgraded().__enter__()"])
def test_ctrl_c_interrupts_an_upgrade_and_the_guard_holds_as_before(upgrade):
    run(f"""
guard = lock.upgradable_read()
for _ in range(20):
    with interrupted(lambda: kinds(lock) == ["thread"]):
        {upgrade}
    assert lock._state() == state(readers=1, upgradable=True)
    assert guard.value == "kept"
    spawn(lambda: lock.read(timeout=HANG).release()).result()
reader.release()
with guard.upgrade(timeout=HANG) as writer:
    assert writer.value == "kept"
assert lock._state() == FREE
""")


@pytest.mark.parametrize("behind", ["read", "upgradable"])
def test_who_waits_behind_an_interrupted_writer_goes_on_at_once(behind):
    run(f"""
with interrupted_ahead_of(lambda: TAKE[{behind!r}](lock, timeout=HANG), lambda: len(kinds(lock))) as waiting:
    lock.write()
beside = waiting[0].result()
assert kinds(lock) == []
reader.release()
beside.release()
assert lock._state() == FREE
""")


def test_readers_that_an_interrupted_upgrade_kept_out_go_on_at_once():
    run("""
guard = lock.upgradable_read()
with interrupted_ahead_of(lambda: lock.read(timeout=HANG), lambda: len(kinds(lock))) as waiting:
    guard.upgrade()
waiting[0].result().release()
assert lock._state() == state(readers=1, upgradable=True)
reader.release()
guard.release()
assert lock._state() == FREE
""")


def test_a_handler_may_end_the_guard_that_its_thread_upgrades():
    run("""
guard = lock.upgradable_read()
signal.signal(signal.SIGUSR1, lambda *_: guard.release())
interrupter = signal_when(lambda: kinds(lock) == ["thread"], signal.SIGUSR1)
raises(RuntimeError, guard.upgrade, timeout=HANG)
interrupter.result()
assert lock._state() == state(readers=1)
reader.release()
""")
