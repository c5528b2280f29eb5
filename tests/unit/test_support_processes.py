"""The kit's children and signals: a child that fails or hangs is told, a signal comes when its condition holds."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import os, signal, threading, time, warnings
from tests.support.processes import in_child, interrupted, interrupted_ahead_of, signal_when
from tests.support.race import HANG, Hung, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
parent = os.getpid()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
class TestInChild:
    def test_the_work_is_done_there_and_only_there(self):
        in_subprocess(
            SETUP
            + """
seen, written = os.pipe()
in_child(lambda: os.write(written, str(os.getpid()).encode()))
assert int(os.read(seen, 100)) != parent == os.getpid()
spawn(in_child, lambda: os.write(written, b"from a thread")).result()
assert os.read(seen, 100) == b"from a thread"
in_child(lambda: in_child(lambda: os.write(written, b"a grandchild")))
assert os.read(seen, 100) == b"a grandchild"
"""
        )

    @pytest.mark.parametrize("work", ["lambda: 1 / 0", "lambda: exit(3)", "lambda: os._exit(3)", "os.abort"])
    def test_a_child_that_does_not_end_well_is_a_failure(self, work):
        ended = in_subprocess(
            SETUP
            + f"""
try:
    in_child({work})
except AssertionError as error:
    print(error)
"""
        )
        assert ended.stdout.startswith("the child ended with status")
        assert ("ZeroDivisionError" in ended.stderr) == ("1 / 0" in work)

    def test_a_child_that_hangs_is_a_failure_and_is_killed(self):
        in_subprocess(
            SETUP
            + """
try:
    in_child(lambda: time.sleep(HANG), timeout=0.1)
except Hung:
    pass
else:
    raise SystemExit("not noticed")
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    raise SystemExit("the child is still there")
"""
        )


class TestSignalWhen:
    def test_it_waits_for_its_condition_and_interrupts_the_main_thread(self):
        in_subprocess(
            SETUP
            + """
asleep = threading.Event()
sender = signal_when(asleep.is_set)
time.sleep(0.01)
assert sender.alive
try:
    asleep.set()
    time.sleep(HANG)
except KeyboardInterrupt:
    sender.result()
else:
    raise SystemExit("not interrupted")
"""
        )

    def test_another_signal(self):
        in_subprocess(
            SETUP
            + """
seen = []
signal.signal(signal.SIGUSR1, lambda signum, frame: seen.append((signum, threading.current_thread())))
signal_when(lambda: True, signal.SIGUSR1).result()
while not seen:
    time.sleep(0.001)
assert seen == [(signal.SIGUSR1, threading.main_thread())]
"""
        )


class TestInterrupted:
    @pytest.mark.parametrize("condition", ["asleep.is_set", ""])
    def test_the_block_ends_with_ctrl_c(self, condition):
        in_subprocess(
            SETUP
            + f"""
asleep = threading.Event()
with interrupted({condition}):
    asleep.set()
    if not {bool(condition)}:
        signal.raise_signal(signal.SIGINT)
    time.sleep(HANG)
    asleep.clear()
assert asleep.is_set()
"""
        )

    def test_a_block_that_ends_otherwise_is_a_failure(self):
        ended = in_subprocess(
            SETUP
            + """
for end in ("pass", "1 / 0"):
    try:
        with interrupted():
            exec(end)
    except (AssertionError, ZeroDivisionError) as error:
        print(error)
"""
        )
        assert ended.stdout.splitlines() == ["not interrupted", "division by zero"]

    def test_another_one_queues_behind_the_block_before_it_is_interrupted(self):
        in_subprocess(
            SETUP
            + """
queue, go_on = [], threading.Event()

def wait(name):
    queue.append(name)
    return go_on.wait(HANG)

with interrupted_ahead_of(lambda: wait("other"), lambda: len(queue)) as behind:
    wait("block")
(other,) = behind
assert queue == ["block", "other"]
assert other.alive
go_on.set()
assert other.result() is True
"""
        )
