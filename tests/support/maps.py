"""A ConcurrentMap seen from outside: who waits for an entry of it, and that it is at rest; keys of chosen hashes."""

import ctypes
from collections.abc import Callable
from typing import Any

from ferrule._core.parking import sleepers

from .race import Running, eventually, spawn

__all__ = [
    "CLASH",
    "ENDS",
    "Key",
    "Pairs",
    "assert_at_rest",
    "end",
    "entered",
    "in_thread",
    "sleeps",
    "this_thread",
    "waiting",
]

CLASH = 2**61 - 1
"""Ints that differ by this have equal hashes, on 64-bit builds: hash(5) == hash(5 + CLASH)."""


class Key:
    """A key with a hash of its own choice; equal to every Key of the same name."""

    def __init__(self, name: Any, code: int = 1) -> None:
        self.name = name
        self.code = code

    def __hash__(self) -> int:
        return self.code

    def __eq__(self, other: object) -> Any:
        return self.name == other.name if isinstance(other, Key) else NotImplemented

    def __repr__(self) -> str:
        return f"Key({self.name!r}, {self.code})"


class Pairs:
    """Not a mapping by name, but with keys() and []."""

    def __init__(self, items: dict[Any, Any]) -> None:
        self._items = items

    def keys(self) -> Any:
        return self._items.keys()

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """What the function gives in another thread."""
    return spawn(function, *args).result()


def end(entry: Any) -> Any:
    """Releases the entry, if there is one."""
    if entry is not None:
        entry.release()
    return entry


def entered(m: Any) -> int:
    """How many holds of entries there are in the map."""
    return sum(shard["entered"] for shard in m.stats())


def assert_at_rest(m: Any, items: dict[Any, Any] | None = None) -> None:
    """No entry is held, the tables are whole, and the items are these."""
    m._check()
    assert entered(m) == 0
    if items is not None:
        assert dict(m.items()) == items
        assert len(m) == len(items)


_state = ctypes.pythonapi.PyThreadState_Get
_state.restype = ctypes.c_void_p
_state_id = ctypes.pythonapi.PyThreadState_GetID
_state_id.argtypes = [ctypes.c_void_p]
_state_id.restype = ctypes.c_uint64


def this_thread() -> int:
    """The calling thread's identity in the register of sleepers."""
    return _state_id(_state())


def sleeps(thread: int) -> bool:
    """Whether that thread sleeps in a wait of ferrule's."""
    return any(sleeper == thread for _, sleeper, _ in sleepers())


def waiting(function: Callable[[], Any]) -> Running:
    """`function()` in a thread of its own, which sleeps in it by now; fails if it ended without a wait."""
    thread: list[int] = []

    def identified() -> Any:
        thread.append(this_thread())
        return function()

    running = spawn(identified)
    eventually(lambda: (thread and sleeps(thread[0])) or not running.alive)
    assert running.alive, f"it did not wait, but gave {running.result()!r}"
    return running


ENDS: dict[str, Callable[[Any], Any]] = {
    "set": lambda m: m.__setitem__("k", "new"),
    "del": lambda m: m.__delitem__("k"),
    "insert": lambda m: m.insert("k", "new") and None,
    "pop": lambda m: m.pop("k") and None,
    "popitem": lambda m: m.popitem() and None,
    "compare_and_set": lambda m: m.compare_and_set("k", m["k"], "new"),
    "remove_if": lambda m: m.remove_if("k", lambda value: True),
    "compute": lambda m: m.compute("k", lambda old: "new"),
    "retain": lambda m: m.retain(lambda key, value: False),
    "clear": lambda m: m.clear(),
    "set_many": lambda m: m.set_many({"k": "new"}),
    "update": lambda m: m.update(k="new"),
}
"""What ends the value of the key "k", by name."""
