"""Maps at work: single operations, whole maps, mixes of reads and writes over many keys, and growth.

Keys are met in an order of each thread's own. "Equal keys" are other objects than the ones in the map, as after parsing
input, so that `==` has to be asked. Each key has a value of its own where the title says nothing else.
"""

from __future__ import annotations

import asyncio
import random
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice, repeat
from time import perf_counter_ns
from typing import Any

from benchmarks.peers import map as peers
from benchmarks.peers.map import BY_CALL, BY_CELL, BY_SYNTAX, Cache, Map
from benchmarks.scenarios import Loop, Scenario, Tail

KEYS = 1000
"""In a map of which single operations are measured: all of it stays in the cache."""
WHOLE = 10_000
"""In a map that is iterated or copied."""
NEW = 100_000
"""Inserted before the map is dropped and the next one begins."""
MIX_KEYS = 100_000
MIX_STEPS = 50_000
AT_FIRST = 100
"""Inserts before the mix begins, where it begins with an empty map: no read, update or removal finds nothing."""
GROWTH_INSERTS = 1_000_000

CALLERS = 100
"""Tasks that ask for the same absent key at once."""

INT, STR = "int", "str"
Key = int | str


def keys(kind: str, numbers: Iterable[int]) -> list[Key]:
    """One key for each number, never an object that any other call gives or that the interpreter shares."""
    if kind == INT:
        return [number + (1 << 40) for number in numbers]
    return [f"key-{number}" for number in numbers]


def in_turn(seen: Sequence[Key], n: int) -> Iterator[Key]:
    """n keys, over and over the same."""
    rounds, rest = divmod(n, len(seen))
    return chain(chain.from_iterable(repeat(seen, rounds)), islice(seen, rest))


def shuffled(seen: Sequence[Key], thread: int) -> list[Key]:
    return random.Random(thread).sample(seen, len(seen))


def filled(contender: Map, pairs: Iterable[tuple[Any, Any]]) -> Any:
    m = contender.make()
    for key, value in pairs:
        m[key] = value
    return m


# Single operations.

Body = Callable[[Any, Iterator[Key]], None]
"""body(m, keys) does the operation for each of the keys."""


def each_key(
    contender: Map, threads: int, body: Body, *, kind: str = INT, equal: bool = False, one: bool = False
) -> list[Loop]:
    """The operation for the keys of a map of numbers; `one`: for a single one of them."""
    stored = keys(kind, range(KEYS))
    m = filled(contender, zip(stored, keys(INT, range(KEYS)), strict=True))

    def loop_of(thread: int) -> Loop:
        asked = shuffled(keys(kind, range(KEYS)) if equal else stored, thread)
        asked = stored[:1] if one else asked
        return lambda n: body(m, in_turn(asked, n))

    return [loop_of(thread) for thread in range(threads)]


def get(m: Any, asked: Iterator[Key]) -> None:
    held = m.get
    for key in asked:
        held(key)


def subscript(m: Any, asked: Iterator[Key]) -> None:
    for key in asked:
        m[key]


def set_existing(m: Any, asked: Iterator[Key]) -> None:
    for key in asked:
        m[key] = key


def get_miss(contender: Map, threads: int) -> list[Loop]:
    m = filled(contender, zip(keys(INT, range(KEYS)), keys(INT, range(KEYS)), strict=True))
    absent = keys(INT, range(KEYS, 2 * KEYS))
    return [lambda n: get(m, in_turn(absent, n))] * threads


def get_shared_value(contender: Map, threads: int) -> list[Loop]:
    stored, value = keys(INT, range(KEYS)), object()
    m = filled(contender, zip(stored, repeat(value)))

    def loop_of(thread: int) -> Loop:
        asked = shuffled(stored, thread)
        return lambda n: get(m, in_turn(asked, n))

    return [loop_of(thread) for thread in range(threads)]


def increment(contender: Map, threads: int, *, one: bool = False) -> list[Loop]:
    def by_syntax(m: Any, asked: Iterator[Key]) -> None:
        for key in asked:
            m[key] += 1

    def by_call(m: Any, asked: Iterator[Key]) -> None:
        held = m.increment
        for key in asked:
            held(key)

    def by_cell(m: Any, asked: Iterator[Key]) -> None:
        for key in asked:
            m[key].incr()

    body = {BY_SYNTAX: by_syntax, BY_CALL: by_call, BY_CELL: by_cell}[contender.increments or BY_SYNTAX]
    return each_key(contender, threads, body, one=one)


def setdefault_hit(contender: Map, threads: int) -> list[Loop]:
    def body(m: Any, asked: Iterator[Key]) -> None:
        held = contender.setdefault(m)
        for key in asked:
            held(key, None)

    return each_key(contender, threads, body)


def _new(contender: Map, threads: int, put: Callable[[Any, Sequence[Key]], None]) -> list[Loop]:
    fresh = keys(INT, range(NEW))

    def loop(n: int) -> None:
        for size in [*repeat(NEW, n // NEW), n % NEW]:
            put(contender.make(), fresh[:size])

    return [loop] * threads


def insert_new(contender: Map, threads: int) -> list[Loop]:
    def put(m: Any, fresh: Sequence[Key]) -> None:
        for key in fresh:
            m[key] = key

    return _new(contender, threads, put)


def get_or_create(contender: Map, threads: int) -> list[Loop]:
    def put(m: Any, fresh: Sequence[Key]) -> None:
        held = contender.setdefault(m)
        for key in fresh:
            held(key, [])

    return _new(contender, threads, put)


# What is computed where it is absent.


async def computed() -> int:
    return 1


def get_or_compute(contender: Cache, threads: int, size: int) -> list[Loop]:
    """n calls, on caches that begin empty and are given so many keys; with one key nearly all of them are hits."""
    fresh = keys(INT, range(size))

    def loop(n: int) -> None:
        for _ in range(-(-n // NEW) if size > 1 else 1):
            held = contender.make().get_or_compute
            for key in in_turn(fresh, min(n, NEW) if size > 1 else n):
                held(key, int)

    async def task(n: int) -> None:
        for _ in range(-(-n // NEW) if size > 1 else 1):
            held = contender.make().get_or_compute
            for key in in_turn(fresh, min(n, NEW) if size > 1 else n):
                await held(key, computed)

    return [(lambda n: asyncio.run(task(n))) if contender.asynchronous else loop] * threads


def stampede(contender: Cache, threads: int) -> list[Loop]:
    """Rounds in which as many tasks as there are ask for one absent key at once; n is the number of their calls."""

    async def slow() -> int:
        await asyncio.sleep(0)
        return 1

    async def rounds(n: int) -> None:
        m = contender.make()
        for number in range(max(1, n // CALLERS)):
            await asyncio.gather(*[m.get_or_compute(number, slow) for _ in range(CALLERS)])

    return [lambda n: asyncio.run(rounds(n))] * threads


# Whole maps.


def _whole(contender: Map, walk: Callable[[Any], None]) -> list[Loop]:
    m = filled(contender, zip(keys(INT, range(WHOLE)), keys(INT, range(WHOLE)), strict=True))

    def loop(n: int) -> None:
        for _ in repeat(None, max(1, round(n / WHOLE))):
            walk(m)

    return [loop]


def iterate(contender: Map, threads: int) -> list[Loop]:
    def walk(m: Any) -> None:
        for _key, _value in contender.pairs(m):
            pass

    return _whole(contender, walk) * threads


def snapshot(contender: Map, threads: int) -> list[Loop]:
    return _whole(contender, lambda m: contender.snapshot(m)()) * threads


# Mixes, with the shares of DashMap's own benchmark.

READ, INSERT, REMOVE, UPDATE = range(4)


@dataclass(frozen=True)
class Plan:
    """What the map holds at first, and the steps of each thread: after all of them they can be done again."""

    stored: list[Key]
    steps: list[tuple[list[int], list[Key]]]


@dataclass(frozen=True)
class Mix:
    """Shares in percent. One that inserts much more than it removes grows from nothing, again and again."""

    read: int
    insert: int
    remove: int
    update: int

    @property
    def grows(self) -> bool:
        return self.insert != self.remove

    def plan(self, threads: int, kind: str, *, equal: bool, size: int = MIX_KEYS, steps: int = MIX_STEPS) -> Plan:
        """Reads and updates hit; a key is inserted only while it is absent and removed only while it is present.

        The map of a mix that does not grow keeps `size` keys: those that stay, which all threads read and update, and
        of each thread's own the half that is present.
        """
        own = steps * self.insert // 100
        resident = [] if self.grows else range(size - threads * (own // 2))
        numbers = [range(size + thread * own, size + (thread + 1) * own) for thread in range(threads)]
        stored = [*resident, *([] if self.grows else chain(*(mine[: own // 2] for mine in numbers)))]
        objects = dict(zip(everything := [*stored, *chain(*numbers)], keys(kind, everything), strict=True))

        def of_thread(thread: int) -> tuple[list[int], list[Key]]:
            numbered = [*self._steps(random.Random(thread), resident, numbers[thread], steps)]
            others = {number: objects[number] for _, number in numbered}
            if equal:
                others = dict(zip(others, keys(kind, others), strict=True))
            asked = [(objects if operation == INSERT else others)[number] for operation, number in numbered]
            return [operation for operation, _ in numbered], asked

        return Plan([objects[number] for number in stored], [of_thread(thread) for thread in range(threads)])

    def _steps(
        self, chance: random.Random, resident: Sequence[int], own: Sequence[int], steps: int
    ) -> Iterator[tuple[int, int]]:
        at_first = [INSERT] * AT_FIRST if self.grows else []
        shares = {READ: self.read, INSERT: self.insert, REMOVE: self.remove, UPDATE: self.update}
        operations = [operation for operation, share in shares.items() for _ in range(steps * share // 100)]
        for operation in at_first:
            operations.remove(operation)
        chance.shuffle(operations)
        present = deque(own[: len(own) // 2] if resident else [])
        absent = deque(own[len(present) :])
        for operation in at_first + operations:
            if operation == INSERT:
                present.append(absent.popleft())
                yield operation, present[-1]
            elif operation == REMOVE:
                absent.append(present.popleft())
                yield operation, absent[-1]
            else:
                yield operation, chance.choice(resident or present)


@cache
def _plan(mix: Mix, threads: int, kind: str, equal: bool) -> Plan:
    return mix.plan(threads, kind, equal=equal)


def mixed(contender: Map, threads: int, mix: Mix, kind: str, equal: bool) -> list[Loop]:
    return planned(contender, mix, _plan(mix, threads, kind, equal))


def planned(contender: Map, mix: Mix, plan: Plan) -> list[Loop]:
    """A loop for each thread of the plan: all work on one map, or, if it grows, on a new one each time through.

    A thread that is ahead begins the next map; the others find it there when they come.
    """
    first = filled(contender, zip(plan.stored, plan.stored, strict=True))
    begun = {0: (first, len(plan.steps))}  # turn -> its map, and how many threads have not come to it yet
    beginning = threading.Lock()

    def map_of(turn: int) -> Any:
        if not mix.grows:
            return first
        with beginning:
            m, left = begun.pop(turn, None) or (contender.make(), len(plan.steps))
            if left > 1:
                begun[turn] = m, left - 1
            return m

    def loop_of(operations: list[int], asked: list[Key]) -> Loop:
        done, here, m = 0, -1, None

        def loop(n: int) -> None:
            nonlocal done, here, m
            end = done + n
            while done < end:
                turn, start = divmod(done, len(asked))
                if turn != here:
                    here, m = turn, map_of(turn)
                part = slice(start, start + end - done)
                _operate(m, zip(operations[part], asked[part], strict=True))
                done += len(asked[part])

        return loop

    return [loop_of(*steps) for steps in plan.steps]


def _operate(m: Any, steps: Iterable[tuple[int, Key]]) -> None:
    held = m.get
    for operation, key in steps:
        if operation == READ:
            held(key)
        elif operation == REMOVE:
            del m[key]
        else:
            m[key] = key


# Growth.


def growth(contender: Map, calls: int) -> array[int]:
    m, fresh = contender.make(), keys(INT, range(calls))
    took = array("Q")
    note = took.append
    for key in fresh:
        started = perf_counter_ns()
        m[key] = key
        note(perf_counter_ns() - started)
    return took


MIXES = {
    "read_heavy": ("98% reads, 1% inserts, 1% removals", Mix(98, 1, 1, 0)),
    "exchange": ("10% reads, 40% inserts, 40% removals, 10% updates", Mix(10, 40, 40, 10)),
    "rapid_grow": ("5% reads, 80% inserts, 5% removals, 10% updates from an empty map", Mix(5, 80, 5, 10)),
}


def _single() -> Iterator[Scenario]:
    yield Scenario("get_hit", "`get = m.get; get(k)`", peers.MAPS, (1, 2), partial(each_key, body=get))
    yield Scenario("get_hit_equal", "`get(k)`, equal keys", peers.MAPS, (1, 2), partial(each_key, body=get, equal=True))
    yield Scenario("get_hit_str", "`get(k)`, str", peers.MAPS, (1, 2), partial(each_key, body=get, kind=STR))
    yield Scenario(
        "get_hit_str_equal",
        "`get(k)`, str, equal keys",
        peers.MAPS,
        (1, 2),
        partial(each_key, body=get, kind=STR, equal=True),
    )
    yield Scenario("get_hot", "`get(k)`, one key alone", peers.MAPS, (1, 2), partial(each_key, body=get, one=True))
    yield Scenario("get_shared_value", "`get(k)`, one value for all keys", peers.MAPS, (1, 2), get_shared_value)
    yield Scenario("get_miss", "`get(k)`, absent keys", peers.MAPS, (1, 2), get_miss)
    yield Scenario("subscript", "`m[k]`", peers.BY_SUBSCRIPT, (1, 2), partial(each_key, body=subscript))
    yield Scenario("set_existing", "`m[k] = v`, present keys", peers.MAPS, (1, 2), partial(each_key, body=set_existing))
    yield Scenario("insert_new", f"`m[k] = v`, absent keys, up to {NEW:,} of them", peers.MAPS, (1,), insert_new)
    yield Scenario(
        "increment", "`m.increment(k)` (dict: `m[k] += 1`, which loses some)", peers.COUNTING, (1, 2), increment
    )
    yield Scenario(
        "increment_hot",
        "`m.increment(k)`, one key alone (dict: `m[k] += 1`, which loses some)",
        peers.COUNTING,
        (1, 2),
        partial(increment, one=True),
    )
    yield Scenario("get_or_create", "`m.setdefault(k, [])`, absent keys", peers.CREATING, (1,), get_or_create)
    yield Scenario("setdefault_hit", "`m.setdefault(k, None)`, present keys", peers.CREATING, (1,), setdefault_hit)
    for caches, prefix in ((peers.CACHES, ""), (peers.ASYNC_CACHES, "async_")):
        call = "`await m.get_or_compute(k, f)`" if prefix else "`m.get_or_compute(k, f)`"
        yield Scenario(f"{prefix}compute_hit", f"{call}, a present key", caches, (1,), partial(get_or_compute, size=1))
        yield Scenario(f"{prefix}compute_miss", f"{call}, absent keys", caches, (1,), partial(get_or_compute, size=NEW))
    yield Scenario(
        "stampede",
        f"`await m.get_or_compute(k, f)`, {CALLERS} tasks at once ask for one absent key, for each task",
        peers.ASYNC_CACHES,
        (1,),
        stampede,
    )
    yield Scenario("iterate", f"`for k, v in m.items()`, {WHOLE:,} items, for each", peers.ITERATED, (1,), iterate)
    yield Scenario("snapshot", f"`m.snapshot()`, {WHOLE:,} items, for each", peers.COPIED, (1,), snapshot)


def _mixed() -> Iterator[Scenario]:
    for name, (title, mix) in MIXES.items():
        for kind in (INT, STR):
            for equal in (False, True):
                yield Scenario(
                    f"{name}_{kind}{'_equal' if equal else ''}",
                    f"{title}; {kind}{', equal keys' if equal else ''}, {MIX_KEYS:,} of them",
                    peers.MIXED,
                    (1, 2),
                    partial(mixed, mix=mix, kind=kind, equal=equal),
                )


SCENARIOS = [*_single(), *_mixed()]
TAILS = [Tail("growth", f"one `m[k] = v` of {GROWTH_INSERTS:,} into an empty map", peers.MIXED, GROWTH_INSERTS, growth)]
