"""The conditions of a thread queue, for code that waits at them or notifies them itself."""

import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["QueueCondition"]


class QueueCondition(threading.Condition):
    """A threading.Condition that stands for a queue of waiters of the engine, too.

    A notification wakes whoever waits here, and in a method of the queue.
    """

    def __init__(self, mutex: Any, wake: Callable[[int], None]) -> None:
        super().__init__(mutex)
        self._wake = wake

    def notify(self, n: int = 1) -> None:
        """Wakes n of those who wait here, and n of those who wait in the queue."""
        super().notify(n)
        self._wake(n)

    def notify_all(self) -> None:
        """Wakes all."""
        super().notify_all()
        self._wake(sys.maxsize)

    def tell(self, n: int) -> None:
        """Wakes n of those who wait here: what the queue says itself."""
        super().notify(n)
