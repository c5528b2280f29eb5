"""Channels of every capacity, and one seen from outside: who waits, and what is promised."""

from typing import Any

from ferrule import bounded, unbounded

__all__ = ["BUFFERED", "CAPACITIES", "LIMITED", "channel", "waiting"]

CAPACITIES: list[int | None] = [0, 1, 3, None]
BUFFERED = [1, 3, 100, None]
LIMITED = [0, 1, 3]


def channel(capacity: int | None) -> Any:
    """Both ends of a new channel; None is unbounded."""
    return unbounded() if capacity is None else bounded(capacity)


def waiting(end: Any) -> dict[str, int]:
    """How many senders and receivers are queued, and how many slots are promised to permits."""
    return end._state()
