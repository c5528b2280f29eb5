"""What a type checker must accept of maps, sets and entries, with the types that it must infer. Never run."""

import asyncio
from collections.abc import ItemsView, Iterable, KeysView, Mapping, MutableMapping, MutableSet, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any, assert_type

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, ConcurrentSet, Entries, Entry, FrozenMap, aio


def making_a_map(pairs: Iterable[tuple[str, int]], plain: dict[str, int]) -> None:
    assert_type(ConcurrentMap({"a": 1}), ConcurrentMap[str, int])
    assert_type(ConcurrentMap(pairs), ConcurrentMap[str, int])
    assert_type(ConcurrentMap(plain, shards=4, capacity=100), ConcurrentMap[str, int])
    empty: ConcurrentMap[str, int] = ConcurrentMap()
    again: ConcurrentMap[str, int] = ConcurrentMap(empty)
    named: ConcurrentMap[str, int] = ConcurrentMap[str, int](shards=None)
    mapping: Mapping[str, int] = again
    mutable: MutableMapping[str, int] = named
    print(mapping, mutable)
    assert_type(ConcurrentMap.fromkeys("ab", 1), ConcurrentMap[str, int])


def as_a_dict(m: ConcurrentMap[str, int]) -> None:
    assert_type(m["a"], int)
    m["a"] = 1
    del m["a"]
    assert_type("a" in m, bool)
    assert_type(len(m), int)
    for key in m:
        assert_type(key, str)
    assert_type(m.get("a"), int | None)
    assert_type(m.get("a", 0), int)
    assert_type(m.get("a", "absent"), int | str)
    assert_type(m.setdefault("a", 1), int)
    assert_type(m.pop("a"), int)
    assert_type(m.pop("a", None), int | None)
    assert_type(m.popitem(), tuple[str, int])
    assert_type(m.copy(), ConcurrentMap[str, int])
    assert_type(m.keys(), KeysView[str])
    assert_type(m.values(), ValuesView[int])
    assert_type(m.items(), ItemsView[str, int])
    m.update({"a": 1}, b=2)
    m.update([("a", 1)])
    m.clear()
    assert_type(m | {"b": 2}, ConcurrentMap[str, int])
    m |= {"b": 2}
    m |= [("b", 2)]
    assert_type(m == {"a": 1}, bool)


def in_one_step(m: ConcurrentMap[str, int]) -> None:
    assert_type(m.insert("a", 1), int | None)
    assert_type(m.insert("a", 1, "absent"), int | str)
    assert_type(m.insert("a", 1, default=0), int)
    assert_type(m.compare_and_set("a", 1, 2), bool)
    assert_type(m.compare_and_set("a", MISSING, 2), bool)
    assert_type(m.compare_and_set("a", 2, MISSING), bool)
    assert_type(m.remove_if("a", lambda value: value > 1), bool)
    assert_type(m.increment("a"), int)
    assert_type(m.increment("a", 2), int)
    assert_type(m.increment("a", n=2, default=10), int)
    m.compute("a", lambda old: 1 if old is MISSING else old + 1)
    m.compute("a", lambda old: REMOVE)
    m.compute("a", lambda old: ABORT)
    assert_type(m.retain(lambda key, value: key < "b" and value), int)
    assert_type(m.get_or_compute("a", lambda: 1), int)
    assert_type(m.get_or_compute("a", int, timeout=0.5), int)


def with_many_keys(m: ConcurrentMap[str, int]) -> None:
    assert_type(m.get_many(["a", "b"]), list[int | None])
    assert_type(m.get_many(iter("ab"), "absent"), list[int | str])
    assert_type(m.get_many("ab", default=0), list[int])
    m.set_many({"a": 1})
    m.set_many([("a", 1)])
    assert_type(m.snapshot(), dict[str, int])
    assert_type(m.freeze(), FrozenMap[str, int])


def room(m: ConcurrentMap[str, int]) -> None:
    m.reserve(10)
    m.shrink()
    assert_type((m.capacity, m.shards), tuple[int, int])
    assert_type(m.stats(), list[dict[str, int]])


def entries(m: ConcurrentMap[str, int]) -> None:
    with m.entry("a") as entry:
        assert_type(entry, Entry[str, int])
        assert_type(entry.key, str)
        assert_type(entry.value, int)
        entry.value += 1
        assert_type(entry.present, bool)
        assert_type(entry.get(), int | None)
        assert_type(entry.get("absent"), int | str)
        assert_type(entry.or_insert(1), int)
        assert_type(entry.or_insert_with(lambda: 1), int)
        assert_type(entry.insert(2), int | None)
        assert_type(entry.remove(0), int)
    m.entry("a", timeout=0.5).release()
    assert_type(m.try_entry("a"), Entry[str, int] | None)
    if tried := m.try_entry("a"):
        tried.release()
    with m.entries("a", "b", timeout=1) as (first, second):
        assert_type(first, Entry[str, int])
        second.value = first.value
    held = m.entries("a", "b")
    assert_type(held, Entries[str, int])
    assert_type(held[0], Entry[str, int])
    assert_type(len(held), int)
    held.release()


def sets(s: ConcurrentSet[int], plain: set[int], frozen: frozenset[int]) -> None:
    assert_type(ConcurrentSet([1, 2]), ConcurrentSet[int])
    assert_type(ConcurrentSet("ab", shards=2, capacity=10), ConcurrentSet[str])
    empty: ConcurrentSet[str] = ConcurrentSet()
    mutable: MutableSet[str] = empty
    abstract: AbstractSet[str] = empty
    print(mutable, abstract)
    assert_type(s.insert(1), bool)
    assert_type(s.add(1), None)
    assert_type(s.discard(1), None)
    assert_type(s.remove(1), None)
    assert_type(s.pop(), int)
    assert_type(s.remove_if(1, lambda item: item > 0), bool)
    assert_type(s.retain(lambda item: item > 0), int)
    assert_type(s.snapshot(), set[int])
    assert_type(s.copy(), ConcurrentSet[int])
    assert_type(s & plain, ConcurrentSet[int])
    assert_type(s | frozen, ConcurrentSet[int])
    assert_type(s - s, ConcurrentSet[int])
    assert_type(s ^ {"a"}, ConcurrentSet[int | str])
    assert_type(s.union("a", ["b"]), ConcurrentSet[int | str])
    assert_type(s.intersection("a", [1]), ConcurrentSet[int])
    s |= plain
    s &= frozen
    s -= {"a"}
    s ^= {1}
    s.update([1], iter([2]))
    assert_type(s <= plain, bool)
    assert_type(s.issubset([1]), bool)
    for item in s:
        assert_type(item, int)


def frozen_maps(frozen: FrozenMap[str, int]) -> None:
    assert_type(FrozenMap({"a": 1}), FrozenMap[str, int])
    assert_type(FrozenMap([("a", 1)]), FrozenMap[str, int])
    empty: FrozenMap[str, int] = FrozenMap()
    mapping: Mapping[str, int] = empty
    kept = {frozen: 1}
    assert_type(kept[frozen], int)
    assert_type(frozen["a"], int)
    assert_type(frozen.get("a"), int | None)
    assert_type(frozen.get("a", 0), int)
    assert_type(frozen | {"b": "text"}, FrozenMap[str, int | str])
    assert_type(hash(frozen), int)
    assert_type(dict(frozen.items()), dict[str, int])
    wider: FrozenMap[str, object] = frozen
    print(mapping, wider)


async def the_async_face(m: aio.ConcurrentMap[str, int]) -> None:
    async def compute() -> int:
        return 1

    async def more(old: Any) -> int:
        return 1

    made: aio.ConcurrentMap[str, int] = aio.ConcurrentMap({"a": 1}, shards=2)
    assert_type(made.sync.aio, aio.ConcurrentMap[str, int])
    assert_type(await m.get_or_compute("a", compute), int)
    assert_type(await m.get_or_compute("a", lambda: 1, timeout=1), int)
    task = asyncio.create_task(m.get_or_compute("a", compute))
    assert_type(await task, int)
    async with m.entry("a", timeout=1) as entry:
        assert_type(entry, Entry[str, int])
    assert_type(await m.entry("a"), Entry[str, int])
    assert_type(m.try_entry("a"), Entry[str, int] | None)
    async with m.entries("a", "b") as (first, second):
        first.value = second.value
    await m.compute("a", more)
    await m.compute("a", lambda old: REMOVE)
    await m.set("a", 1)
    assert_type(await m.pop("a"), int)
    assert_type(await m.pop("a", None), int | None)
