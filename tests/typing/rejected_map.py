"""What a type checker must reject of maps, sets and entries: each line marked with an error code. Never run."""

from ferrule import ConcurrentMap, ConcurrentSet, FrozenMap, aio


def construction() -> None:
    ConcurrentMap(a=1)  # error: call-overload
    ConcurrentMap({"a": 1}, 4)  # error: call-overload
    ConcurrentMap({"a": 1}, shards="4")  # error: call-overload
    ConcurrentSet([1], 4)  # error: call-arg
    FrozenMap(a=1)  # error: call-overload


def keys_and_values(m: ConcurrentMap[str, int]) -> None:
    m["a"] = "text"  # error: assignment
    m[1] = 1  # error: index
    print(m[1])  # error: index
    m.get(1)  # error: call-overload
    m.insert("a", "text")  # error: call-overload
    m.set_many({"a": "text"})  # error: arg-type
    wrong: ConcurrentMap[str, str] = m  # error: assignment
    wrong.clear()


def calls(m: ConcurrentMap[str, int]) -> None:
    m.compute("a")  # error: call-arg
    m.remove_if("a", lambda: True)  # error: arg-type  # error: misc
    m.retain(lambda value: value)  # error: arg-type  # error: misc
    m.entry("a", 1.0)  # error: call-arg
    m.try_entry("a", timeout=1)  # error: call-arg
    m.reserve("10")  # error: arg-type
    m.capacity = 10  # error: misc
    reversed(m)  # error: arg-type
    m.get_or_compute("a", lambda: "text")  # error: arg-type  # error: return-value
    m.get_or_compute("a", lambda: 1, 2.0)  # error: call-arg


async def the_async_face(m: aio.ConcurrentMap[str, int]) -> None:
    async def compute() -> str:
        return "text"

    await m.get_or_compute("a", compute)  # error: arg-type
    m.get("a")  # error: attr-defined
    with m.entry("a"):  # error: attr-defined
        pass
    await m.set("a", "text")  # error: arg-type
    print(await m.pop("a", None) + 1)  # error: operator


def optional(m: ConcurrentMap[str, int]) -> None:
    m.try_entry("a").release()  # error: union-attr
    print(m.get("a") + 1)  # error: operator


def entries(m: ConcurrentMap[str, int]) -> None:
    with m.entry("a") as entry:
        entry.value = "text"  # error: assignment
        entry.key = "b"  # error: misc
        entry.or_insert_with(lambda: "text")  # error: arg-type  # error: return-value


def sets(s: ConcurrentSet[int]) -> None:
    s.add("text")  # error: arg-type
    print(s | [1])  # error: operator
    print(s < [1])  # error: operator
    s.remove_if(1, lambda: True)  # error: arg-type  # error: misc


def frozen_maps(frozen: FrozenMap[str, int]) -> None:
    frozen["a"] = 1  # error: index
    del frozen["a"]  # error: attr-defined
    frozen.pop("a")  # error: attr-defined
