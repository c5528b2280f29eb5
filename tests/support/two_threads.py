"""How two threads use one object at once; tests/meta/test_two_threads.py does it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Run", "Use"]

Run = Callable[[Awaitable[Any]], Any]
"""Runs an awaitable in the calling thread's own event loop."""


@dataclass(frozen=True)
class Use:
    """How two threads use one object.

    `make` gives a fresh object for each round; `calls` uses each public name, and leaves nothing held that it took;
    `errors` are those that the documentation allows; `rest` brings the object to rest and checks it; `leave` is the
    last that each thread does, for the other one, which may wait for it.
    """

    make: Callable[[], Any]
    calls: dict[str, Callable[[Any, Run], Any]]
    errors: tuple[type[BaseException], ...]
    rest: Callable[[Any], Any]
    leave: Callable[[Any], Any] = lambda _: None
