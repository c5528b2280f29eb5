"""Forked children and signals, for code that runs in an interpreter of its own (leaks.in_subprocess).

in_child(work)                              forks; the child must end well and in time
signal_when(lambda: gate.waiting == 1)      Ctrl-C for the main thread as soon as it waits
with interrupted(lambda: gate.waiting):     the same for what the block waits for, and the block must end with it
storm_of_interrupts(attempt)                Ctrl-C over and over, for attempt() only
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

from .race import HANG, Running, eventually, spawn

__all__ = ["in_child", "interrupt", "interrupted", "interrupted_ahead_of", "signal_when", "storm_of_interrupts"]


def in_child(work: Callable[[], Any], timeout: float = 2 * HANG) -> None:
    """Forks, runs the work in the child, and fails unless that ends well and in time; the child prints its error."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def ended() -> tuple[int, ...]:
        done, status = os.waitpid(pid, os.WNOHANG)
        return (status,) if done else ()

    try:
        (status,) = eventually(ended, timeout)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    assert status == 0, f"the child ended with status {os.waitstatus_to_exitcode(status)}"


def _sleeps(native_id: int | None) -> bool:
    """Whether the kernel has nothing to do for that thread of this process; False where it does not tell."""
    stat = Path(f"/proc/self/task/{native_id}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "S"


def interrupt(signum: int = signal.SIGINT) -> None:
    """Sends the signal to the main thread.

    One that comes between the last look at signals and the sleep ends no sleep: of the interpreter's own locks neither.
    So the main thread is given 100 ms to fall asleep, if that is what it is about to do.
    """
    for _ in range(100):
        if _sleeps(threading.main_thread().native_id):
            break
        time.sleep(0.001)
    signal.pthread_kill(threading.main_thread().ident, signum)  # type: ignore[arg-type]


def signal_when(condition: Callable[[], Any], signum: int = signal.SIGINT) -> Running:
    """Sends the signal to the main thread as soon as the condition is true; returns the thread that does so."""

    def send() -> None:
        eventually(condition)
        interrupt(signum)

    return spawn(send)


@contextlib.contextmanager
def interrupted(condition: Callable[[], Any] | None = None) -> Iterator[None]:
    """The block must end with Ctrl-C: as soon as the condition is true, or by whatever it has started itself."""
    interrupter = None if condition is None else signal_when(condition)
    try:
        yield
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    if interrupter is not None:
        interrupter.result()


@contextlib.contextmanager
def interrupted_ahead_of(other: Callable[[], Any], queued: Callable[[], int]) -> Iterator[list[Running]]:
    """The block waits; other() queues behind it, in a thread that is then in the list; and the block is interrupted."""
    running: list[Running] = []

    def both_are_queued() -> bool:
        if queued() == 1 and not running:
            running.append(spawn(other))
        return queued() == 2

    with interrupted(both_are_queued):
        yield running


def storm_of_interrupts(
    attempt: FunctionType, done: Callable[[], bool] | None = None, *, seconds: float = 0.5
) -> tuple[int, int]:
    """Calls attempt() until done(); every half millisecond KeyboardInterrupt is raised if that is where it is.

    Not in what it calls in Python: there a test counts. Without done() for so many seconds, and until one was
    interrupted. Gives how many calls there were, and how many were interrupted.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is attempt.__code__:
            raise KeyboardInterrupt

    calls = interrupted = 0
    deadline = time.monotonic() + seconds
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    while not done() if done is not None else time.monotonic() < deadline or not interrupted:
        calls += 1
        try:
            attempt()
        except KeyboardInterrupt:
            interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return calls, interrupted
