"""What the asyncio queues raise: asyncio's own classes, and before CPython 3.13 one that it did not have yet."""

import sys
from asyncio import QueueEmpty, QueueFull

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown
else:

    class QueueShutDown(Exception):
        """Raised by put and get of a queue that was shut down."""


__all__ = ["QueueEmpty", "QueueFull", "QueueShutDown"]
