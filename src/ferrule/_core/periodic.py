"""Calls made every so many seconds, in one daemon thread for all of them."""

import heapq
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Periodic"]

_lock = threading.Condition()
_calls: list[tuple[float, int, "Periodic"]] = []  # a heap: when, a number that tells equals apart, what
_numbers = itertools.count()
_thread: threading.Thread | None = None


class Periodic:
    """Calls `function(target, self)` every `seconds` seconds, until it gives False or the target is gone.

    The target is not kept alive; nor is the process. O(log n) for each call of n.
    """

    def __init__(self, seconds: float, target: object, function: Callable[[Any, "Periodic"], object]) -> None:
        self.seconds = seconds
        self.target = weakref.ref(target)
        self.function = function
        self.pid = os.getpid()
        self.ended = True

    def start(self) -> None:
        """The first call comes after as many seconds."""
        global _thread
        with _lock:
            if _thread is None:
                thread = threading.Thread(target=_run, name="ferrule-periodic", daemon=True)
                thread.start()  # which may fail
                _thread = thread
            self.ended = False
            self.schedule()
            _lock.notify()

    def schedule(self) -> None:
        """Under the lock: the next call."""
        heapq.heappush(_calls, (time.monotonic() + self.seconds, next(_numbers), self))

    def runs(self) -> bool:
        """Whether it goes on; not so in the child of a fork(), where the thread is gone."""
        return not self.ended and self.pid == os.getpid()

    def call(self) -> None:
        """Calls once; its errors go to threading.excepthook."""
        target = self.target()
        try:
            self.ended = target is None or self.function(target, self) is False
        except BaseException:  # nobody else is there to see it, and the others are to go on
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def _run() -> None:
    global _thread
    while True:
        with _lock:
            while _calls and (left := _calls[0][0] - time.monotonic()) > 0:
                _lock.wait(min(left, threading.TIMEOUT_MAX))
            if not _calls:
                _thread = None
                return
            periodic = heapq.heappop(_calls)[2]
        periodic.call()
        if not periodic.ended:
            with _lock:
                periodic.schedule()
        del periodic


def _in_child() -> None:
    global _lock, _thread
    _lock = threading.Condition()
    _calls.clear()
    _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
