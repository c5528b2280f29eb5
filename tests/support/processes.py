"""Forked children and signals, for code that runs in an interpreter of its own (leaks.in_subprocess).

in_child(work)                              forks; the child must end well and in time
signal_when(lambda: gate.waiting == 1)      Ctrl-C for the main thread as soon as it waits
storm_of_interrupts(attempt)                Ctrl-C over and over, for attempt() only
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

from .race import HANG, Running, eventually, spawn

__all__ = ["in_child", "signal_when", "storm_of_interrupts"]


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


def signal_when(condition: Callable[[], Any], signum: int = signal.SIGINT) -> Running:
    """Sends the signal to the main thread as soon as the condition is true; returns the thread that does so."""

    def send() -> None:
        eventually(condition)
        signal.pthread_kill(threading.main_thread().ident, signum)  # type: ignore[arg-type]

    return spawn(send)


def storm_of_interrupts(attempt: FunctionType, seconds: float = 1.0) -> tuple[int, int]:
    """Calls attempt() over and over; every half millisecond KeyboardInterrupt is raised if that is where it is.

    Not in what it calls in Python: there a test counts. Gives how many calls there were, and how many were interrupted,
    which is one at least.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is attempt.__code__:
            raise KeyboardInterrupt

    calls = interrupted = 0
    deadline = time.monotonic() + seconds
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    while time.monotonic() < deadline or not interrupted:
        calls += 1
        try:
            attempt()
        except KeyboardInterrupt:
            interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return calls, interrupted
