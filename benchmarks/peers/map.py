"""Maps: what a user would pick in place of ferrule.ConcurrentMap.

All of them have `get`, `m[k] = v` and `del m[k]`; what some do otherwise or not at all stands beside their names.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import optional
from ferrule import ConcurrentMap, aio

BY_SYNTAX = "m[k] += 1"
BY_CALL = "m.increment(k)"
BY_CELL = "m[k].incr()"


def _pairs(m: Any) -> Iterable[tuple[Any, Any]]:
    pairs: Iterable[tuple[Any, Any]] = m.items()
    return pairs


@dataclass(frozen=True)
class Map:
    """A kind of map, and the verbs that are not the same for all: None where there is no such verb."""

    name: str
    make: Callable[[], Any] | None
    missing: str = ""
    increments: str | None = None
    setdefault: Callable[[Any], Callable[[Any, Any], Any]] | None = None
    pairs: Callable[[Any], Iterable[tuple[Any, Any]]] | None = _pairs
    snapshot: Callable[[Any], Callable[[], dict[Any, Any]]] | None = None
    ours: bool = False


class LockedDict:
    """A dict whose every operation takes one lock, as people write it."""

    def __init__(self) -> None:
        self._items: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        with self._lock:
            return self._items.get(key, default)

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            return self._items[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        with self._lock:
            self._items[key] = value

    def __delitem__(self, key: Any) -> None:
        with self._lock:
            del self._items[key]

    def increment(self, key: Any) -> None:
        with self._lock:
            self._items[key] += 1

    def setdefault(self, key: Any, default: Any) -> Any:
        with self._lock:
            return self._items.setdefault(key, default)

    def items(self) -> list[tuple[Any, Any]]:
        with self._lock:
            return list(self._items.items())

    def snapshot(self) -> dict[Any, Any]:
        with self._lock:
            return dict(self._items)


class _Cells(dict[Any, Any]):
    """A dict that keeps each number in an atomic cell, filled as the other maps are."""

    def __init__(self, cell: Callable[[int], Any]) -> None:
        super().__init__()
        self._cell = cell

    def __setitem__(self, key: Any, number: int) -> None:
        super().__setitem__(key, self._cell(number))


def _stores(module: Any) -> Callable[[], Any]:
    """The engine of NimbusKV, with dict's syntax instead of its own."""

    class Store(module.ReactiveStore):  # type: ignore[misc]
        __getitem__ = module.ReactiveStore.get
        __setitem__ = module.ReactiveStore.set
        __delitem__ = module.ReactiveStore.delete

    return Store


def _setdefault_by_cas(m: Any) -> Callable[[Any, Any], Any]:
    """cereggii has no setdefault: the value that is there, or a compare_and_set that loses to nobody."""
    module = importlib.import_module("cereggii")
    absent, failed = module.NOT_FOUND, module.ExpectationFailed
    get, compare_and_set = m.get, m.compare_and_set

    def setdefault(key: Any, default: Any) -> Any:
        while True:
            value = get(key, absent)
            if value is not absent:
                return value
            try:
                compare_and_set(key, absent, default)
            except failed:
                continue
            return default

    return setdefault


DICT = Map(
    "dict",
    dict,
    increments=BY_SYNTAX,
    setdefault=lambda m: m.setdefault,
    snapshot=lambda m: m.copy,
)
LOCKED = Map(
    "dict + threading.Lock",
    LockedDict,
    increments=BY_CALL,
    setdefault=lambda m: m.setdefault,
    snapshot=lambda m: m.snapshot,
)
CACHEBOX = Map(
    "cachebox.Cache",
    *optional("cachebox", lambda module: lambda: module.Cache(0)),
    setdefault=lambda m: m.setdefault,
)
FT_UTILS = Map(
    "ft_utils.ConcurrentDict",
    *optional("ft_utils.concurrency", lambda module: module.ConcurrentDict),
    setdefault=lambda m: m.setdefault,
    snapshot=lambda m: m.as_dict,
)
CEREGGII = Map(
    "cereggii.AtomicDict",
    *optional("cereggii", lambda module: module.AtomicDict),
    setdefault=_setdefault_by_cas,
    pairs=lambda m: m.fast_iter(),
)
NIMBUS = Map(
    "nimbuskv.ReactiveStore",
    *optional("nimbuskv.modules.reactive_core", _stores, turns_gil_on=True),
)
CELLS = Map(
    "dict of AtomicInt64",
    *optional("ft_utils.concurrency", lambda module: lambda: _Cells(module.AtomicInt64)),
    increments=BY_CELL,
)
OURS = Map(
    "ferrule.ConcurrentMap",
    ConcurrentMap,
    increments=BY_CALL,
    setdefault=lambda m: m.setdefault,
    snapshot=lambda m: m.snapshot,
    ours=True,
)


@dataclass(frozen=True)
class Cache:
    """What computes an absent value once: `m.get_or_compute(k, factory)`, which a task awaits if it is asynchronous."""

    name: str
    make: Callable[[], Any]
    asynchronous: bool
    missing: str = ""
    ours: bool = False


class LockForEachKey:
    """A dict, and a lock for each key that was ever asked for, as people write it."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}

    def get_or_compute(self, key: Any, factory: Callable[[], Any]) -> Any:
        if key in self._values:
            return self._values[key]
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._values:
                self._values[key] = factory()
            return self._values[key]


class AsyncLockForEachKey:
    """The same for the tasks of one event loop."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}
        self._locks: dict[Any, asyncio.Lock] = {}

    async def get_or_compute(self, key: Any, factory: Callable[[], Awaitable[Any]]) -> Any:
        if key in self._values:
            return self._values[key]
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._values:
                self._values[key] = await factory()
            return self._values[key]


CACHES = [
    Cache("dict + threading.Lock for each key", LockForEachKey, asynchronous=False),
    Cache("ferrule.ConcurrentMap", ConcurrentMap, asynchronous=False, ours=True),
]
ASYNC_CACHES = [
    Cache("dict + asyncio.Lock for each key", AsyncLockForEachKey, asynchronous=True),
    Cache("ferrule.aio.ConcurrentMap", aio.ConcurrentMap, asynchronous=True, ours=True),
]

MAPS = [DICT, LOCKED, CACHEBOX, FT_UTILS, CEREGGII, NIMBUS, OURS]
"""What all of them can: `get`, `m[k] = v`, `del m[k]`."""
MIXED = [contender for contender in MAPS if contender is not NIMBUS]
"""Without the one whose every write copies a path of its tree: it would take minutes over these maps."""
COUNTING = [contender for contender in [*MAPS, CELLS] if contender.increments]
CREATING = [contender for contender in MAPS if contender.setdefault]
ITERATED = [contender for contender in MAPS if contender.pairs]
COPIED = [contender for contender in MAPS if contender.snapshot]
BY_SUBSCRIPT = [contender for contender in MAPS if contender is not NIMBUS]
"""Those that raise KeyError from `m[k]`."""
