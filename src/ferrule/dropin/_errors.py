"""What the queues raise: the classes of the standard library, and before CPython 3.13 one that it did not have yet."""

import sys
from queue import Empty, Full

if sys.version_info >= (3, 13):
    from queue import ShutDown
else:

    class ShutDown(Exception):
        """Raised by put and get of a queue that was shut down."""


__all__ = ["Empty", "Full", "ShutDown"]
