"""Hostile objects: each special method does what the test says, at the worst moment.

    key = hostile(__hash__=returning(1), __eq__=calling(lambda: m.clear(), then=False))
    item = hostile(__del__=calling(lambda: ch.close()))

An action is a function of the object and the special method's arguments; the makers here give the usual ones.
"""

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator, MutableSequence
from typing import Any

__all__ = [
    "after",
    "assert_destroyed",
    "calling",
    "dropping",
    "hostile",
    "nested",
    "raising",
    "resurrecting",
    "returning",
    "unraisable",
    "yielding",
]

Action = Callable[..., Any]


def hostile(**specials: Action) -> Any:
    """An object of a class of its own (it takes weak references and attributes) with these special methods."""

    def method(action: Action) -> Action:
        return lambda self, *args: action(self, *args)  # binds, which a builtin like list.append does not

    return type("Hostile", (), {name: method(action) for name, action in specials.items()})()


def returning(value: Any) -> Action:
    """Answers `value`."""
    return lambda *_: value


def raising(error: BaseException | type[BaseException]) -> Action:
    """Raises `error`."""

    def action(*_: Any) -> Any:
        raise error

    return action


def calling(function: Callable[[], Any], then: Any = None) -> Action:
    """Calls back, then answers `then`."""

    def action(*_: Any) -> Any:
        function()
        return then

    return action


def yielding(then: Any = None, seconds: float = 0) -> Action:
    """Releases the GIL (any other thread may run meanwhile), then answers `then`."""
    return calling(lambda: time.sleep(seconds), then)


def dropping(holder: MutableSequence[Any], then: Any = None) -> Action:
    """Empties `holder`, where the test keeps the last reference to what is being used, then answers `then`."""
    return calling(holder.clear, then)


def resurrecting(grave: list[Any]) -> Action:
    """For `__del__`: the object comes back to life in `grave`."""
    return grave.append


def after(count: int, before: Action, action: Action) -> Action:
    """`before` for the first `count` calls, `action` from then on."""
    calls = 0

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return (before if calls <= count else action)(*args)

    return counted


def nested(depth: int, wrap: Callable[[Any], Any], innermost: Any = None) -> Any:
    """`wrap(wrap(... wrap(innermost)))`: what only a work list or a trashcan can destroy without overflow."""
    for _ in range(depth):
        innermost = wrap(innermost)
    return innermost


def assert_destroyed(depth: int, wrap: Callable[[Any], Any]) -> None:
    """A nest of that depth goes with its outermost: the innermost dies, and once. For a fresh interpreter."""
    died: list[None] = []
    gc.disable()
    outermost = nested(depth, wrap, hostile(__del__=calling(lambda: died.append(None))))
    del outermost
    gc.collect()
    gc.enable()
    assert died == [None]


@contextlib.contextmanager
def unraisable() -> Iterator[list[BaseException]]:
    """The exceptions that destructors raised and nobody could catch, in a list; they are not reported elsewhere."""
    seen: list[BaseException] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda report: seen.append(report.exc_value)
    try:
        yield seen
    finally:
        sys.unraisablehook = before
