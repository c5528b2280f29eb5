"""What ferrule is to beat: in each scenario, how many times faster than the best peer known when the target was set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A row of the page: `beat` has for each interpreter the contender and the factor, both taken in one run.

    `peer_threads`: with how many the contender runs, where not with as many; so one figure of ferrule's meets another.
    `figure`: which one of a summary is meant; without it, ns per operation. In the place of a contender AT_MOST may
    stand, and behind it what the figure must not be above.
    """

    title: str
    room: str
    scenario: str
    threads: int
    ours: str
    beat: dict[str, tuple[str, float]]
    peer_threads: int | None = None
    figure: str = ""

    def cells(self) -> Iterator[tuple[str, str, str, int]]:
        """Room, scenario, contender and threads of all that the row shows."""
        yield self.room, self.scenario, self.ours, self.threads
        for contender, _ in self.beat.values():
            yield self.room, self.scenario, contender, self.peer_threads or self.threads


AT_MOST = "at most"
MAP = "ferrule.ConcurrentMap"
BOTH = ("3.11", "3.13t")


def _map(title: str, scenario: str, threads: int, beat: dict[str, tuple[str, float]], figure: str = "") -> Target:
    return Target(title, "map", scenario, threads, MAP, beat, figure=figure)


def _than(contender: str, factor: float) -> dict[str, tuple[str, float]]:
    """The same on both interpreters."""
    return dict.fromkeys(BOTH, (contender, factor))


def _scales(title: str, scenario: str, factor: float, *interpreters: str) -> Target:
    """One operation with two threads beside one with one thread."""
    return Target(title, "map", scenario, 2, MAP, dict.fromkeys(interpreters, (MAP, factor)), peer_threads=1)


CHANNEL = "ferrule channel"


def _channel(title: str, scenario: str, threads: int, beat: dict[str, tuple[str, float]]) -> Target:
    return Target(title, "channel", scenario, threads, CHANNEL, beat)


STREAMS, FRAMED = "ferrule streams", "ferrule Framed"


def _streams(title: str, scenario: str, ours: str, factor: float) -> Target:
    """Messages a second beside asyncio's StreamReader."""
    return Target(title, "streams", scenario, 1, ours, _than("asyncio streams", factor))


def _queues(title: str, scenario: str, threads: int, face: str, name: str, factor: float) -> Target:
    """A drop-in beside its original, the same on both interpreters."""
    return Target(title, "queues", scenario, threads, f"ferrule.dropin.{face}.{name}", _than(f"{face}.{name}", factor))


RWLOCK = "ferrule.RWLock"


def _rwlock(title: str, scenario: str, threads: int, beat: dict[str, tuple[str, float]], figure: str = "") -> Target:
    return Target(title, "rwlock", scenario, threads, RWLOCK, beat, figure=figure)


BYTES = "ferrule.Bytes"
READER = "ferrule.Reader"
READER_LINES = "ferrule.Reader, try_get_until()"


def _bytes(title: str, scenario: str, ours: str, beat: dict[str, tuple[str, float]], threads: int = 1) -> Target:
    return Target(title, "bytes", scenario, threads, ours, beat)


POOL = "ferrule.Pool"


def _pool(title: str, scenario: str, threads: int, beat: dict[str, tuple[str, float]]) -> Target:
    return Target(title, "pool", scenario, threads, POOL, beat)


SIMPLE, THREAD, STD_CONCURRENT = "queue.SimpleQueue", "queue.Queue", "ft_utils.StdConcurrentQueue"
JANUS, CULSANS, AIOLOGIC_SIMPLE = "janus.Queue", "culsans.Queue", "aiologic.SimpleQueue"
ASYNCIO, ANYIO = "asyncio.Queue", "anyio memory stream"
CALL_SOON = "call_soon_threadsafe, SimpleQueue"
CACHEBOX, FT_UTILS, CEREGGII = "cachebox.Cache", "ft_utils.ConcurrentDict", "cereggii.AtomicDict"
LOCKED, DICT = "dict + threading.Lock", "dict"
LOCK, AIORWLOCK = "threading.Lock", "aiorwlock.RWLock"
MEMORYVIEW, BYTES_IO = "memoryview", "io.BytesIO"
LIMITED, DEQUE = "deque + threading.Semaphore", "collections.deque, never waits"


TARGETS = [
    Target(
        "lock, `acquire()` and `release()`, 1 thread",
        "mutex",
        "acquire_release",
        1,
        "ferrule.Mutex",
        {"3.11": ("threading.RLock", 2.2), "3.13t": ("threading.Lock", 1.3)},
    ),
    Target(
        "lock, `with`, 1 thread",
        "mutex",
        "with",
        1,
        "ferrule.Mutex",
        {"3.11": ("threading.Lock", 2.5), "3.13t": ("threading.Lock", 1.6)},
    ),
    Target(
        "lock, `with`, 2 threads, every hold exclusive",
        "mutex",
        "with",
        2,
        "ferrule.Mutex",
        {"3.11": ("threading.Lock", 2.0), "3.13t": ("threading.Lock", 1.5)},
    ),
    Target(
        "async lock, `async with`, 1 task",
        "mutex",
        "async_with",
        1,
        "ferrule.aio.Mutex",
        {"3.11": ("asyncio.Lock", 3.5), "3.13t": ("asyncio.Lock", 3.5)},
    ),
    _map("map get hit, 1 thread", "get_hit", 1, {"3.11": (CACHEBOX, 1.15), "3.13t": (CACHEBOX, 1.3)}),
    _map("map get hit, 2 threads", "get_hit", 2, {"3.11": (CACHEBOX, 1.15), "3.13t": (CACHEBOX, 1.5)}),
    _map("map set existing, 1 thread", "set_existing", 1, {"3.11": (CACHEBOX, 1.5), "3.13t": (FT_UTILS, 1.2)}),
    _map("map insert new, 1 thread", "insert_new", 1, {"3.11": (CACHEBOX, 1.6), "3.13t": (FT_UTILS, 1.2)}),
    _map("map increment, 2 threads", "increment", 2, {"3.11": (DICT, 2.0), "3.13t": ("dict of AtomicInt64", 2.5)}),
    _map("map get or create, miss, 1 thread", "get_or_create", 1, {"3.11": (CACHEBOX, 1.8), "3.13t": (FT_UTILS, 2.0)}),
    # nimbuskv, the fastest known at this on 3.13t, turns the GIL on there: dict stands in its place.
    _map("map iterate 10,000", "iterate", 1, {"3.11": (CACHEBOX, 2.2), "3.13t": (DICT, 1.5)}),
    _map("map snapshot 10,000", "snapshot", 1, _than(LOCKED, 1.3)),
    _map("map ReadHeavy int, 2 threads", "read_heavy_int", 2, {"3.11": (CACHEBOX, 1.2), "3.13t": (FT_UTILS, 1.6)}),
    _map("map Exchange int, 2 threads", "exchange_int", 2, {"3.11": (CEREGGII, 1.9), "3.13t": (CEREGGII, 2.0)}),
    _map("map `m[k]`, hit, beside dict's", "subscript", 1, _than(DICT, 1.0)),
    _map("map get miss beside dict's", "get_miss", 1, _than(DICT, 1.0)),
    _map("map `m[k] = v`, present, beside dict's", "set_existing", 1, _than(DICT, 1.43)),
    _map("map `m[k] = v`, absent, beside dict's", "insert_new", 1, _than(DICT, 1.0)),
    _map("map increment beside dict's unlocked `+=`", "increment", 1, _than(DICT, 2.0)),
    _map("map setdefault hit beside dict's", "setdefault_hit", 1, _than(DICT, 0.91)),
    _map("map `m[k]` beside dict and a lock", "subscript", 1, _than(LOCKED, 8.0)),
    _map("map `m[k] = v` beside dict and a lock", "set_existing", 1, _than(LOCKED, 8.0)),
    _map("map increment beside dict and a lock", "increment", 1, _than(LOCKED, 10.0)),
    _map("map growth, one insert of 1,000,000, p99.99", "growth", 1, _than(DICT, 20.0), "p99.99"),
    _map("map growth, the longest insert of 1,000,000", "growth", 1, _than(DICT, 20.0), "max"),
    _scales("map get hit, 2 threads beside 1", "get_hit", 1.6, "3.13t"),
    _scales("map get hit, equal keys, 2 threads beside 1", "get_hit_equal", 0.77, "3.13t"),
    _scales("map ReadHeavy, equal int keys, 2 threads beside 1", "read_heavy_int_equal", 0.77, "3.13t"),
    _scales("map ReadHeavy, equal str keys, 2 threads beside 1", "read_heavy_str_equal", 0.77, "3.13t"),
    _scales("map Exchange, equal int keys, 2 threads beside 1", "exchange_int_equal", 0.77, "3.13t"),
    _scales("map Exchange, equal str keys, 2 threads beside 1", "exchange_str_equal", 0.77, "3.13t"),
    _scales("map RapidGrow, equal int keys, 2 threads beside 1", "rapid_grow_int_equal", 0.77, "3.13t"),
    _scales("map RapidGrow, equal str keys, 2 threads beside 1", "rapid_grow_str_equal", 0.77, "3.13t"),
    _channel("channel in one thread, capacity 100", "seq_bounded", 1, _than(JANUS, 22.0)),
    _channel("channel in one thread, unbounded", "seq_unbounded", 1, {"3.11": (SIMPLE, 1.4), "3.13t": (SIMPLE, 1.2)}),
    _channel("channel 1 to 1, capacity 1", "spsc_1", 2, {"3.11": (THREAD, 2.5), "3.13t": (STD_CONCURRENT, 10.0)}),
    _channel("channel 1 to 1, capacity 100", "spsc_100", 2, {"3.11": (JANUS, 15.0), "3.13t": (STD_CONCURRENT, 25.0)}),
    _channel("channel 2 to 2, capacity 100", "mpmc_100", 4, {"3.11": (THREAD, 10.0), "3.13t": (JANUS, 12.0)}),
    _channel("channel 1 to 1, unbounded", "spsc_unbounded", 2, {"3.11": (SIMPLE, 1.3), "3.13t": (SIMPLE, 1.8)}),
    _channel("channel ping-pong, 2 threads", "ping_pong", 2, {"3.11": (SIMPLE, 1.2), "3.13t": (SIMPLE, 3.0)}),
    _channel("channel in one task, capacity 100", "asyncio_seq", 1, {"3.11": (ASYNCIO, 7.0), "3.13t": (ASYNCIO, 8.0)}),
    _channel("channel task to task, capacity 1", "asyncio_spsc_1", 1, _than(ANYIO, 3.0)),
    _channel(
        "channel task to task, capacity 100", "asyncio_spsc_100", 1, {"3.11": (ASYNCIO, 6.0), "3.13t": (ASYNCIO, 8.0)}
    ),
    _channel("channel ping-pong, 2 tasks", "asyncio_ping_pong", 1, _than(ASYNCIO, 2.2)),
    _channel(
        "channel thread to task, capacity 100",
        "asyncio_from_thread_100",
        2,
        {"3.11": (CULSANS, 10.0), "3.13t": (JANUS, 10.0)},
    ),
    _channel(
        "channel thread to task, unbounded",
        "asyncio_from_thread_unbounded",
        2,
        {"3.11": (AIOLOGIC_SIMPLE, 5.0), "3.13t": (AIOLOGIC_SIMPLE, 8.0)},
    ),
    _channel(
        "channel thread to task and back",
        "asyncio_there_and_back",
        2,
        {"3.11": (CALL_SOON, 1.1), "3.13t": (AIOLOGIC_SIMPLE, 1.2)},
    ),
    _channel(
        "channel thread to task, capacity 100 beside unbounded",
        "asyncio_from_thread_100",
        2,
        _than("ferrule channel, unbounded", 0.5),
    ),
    _queues("drop-in Queue in one thread", "queue_seq", 1, "queue", "Queue", 10.0),
    _queues("drop-in SimpleQueue in one thread", "simplequeue_seq", 1, "queue", "SimpleQueue", 1.0),
    _queues("drop-in SimpleQueue 1 to 1", "simplequeue_spsc", 2, "queue", "SimpleQueue", 1.0),
    _queues("drop-in asyncio Queue in one task", "asyncio_queue_seq", 1, "asyncio", "Queue", 2.5),
    _queues("drop-in asyncio Queue task to task, maxsize 100", "asyncio_queue_spsc_100", 1, "asyncio", "Queue", 2.5),
    *[
        _streams(f"streams on {loop}, {what}, {size}", f"{loop}_{scenario}", ours, factor)
        for loop in ("asyncio", "uvloop")
        for what, scenario, size, ours, factor in [
            ("echo", "echo_64", "64 B", STREAMS, 1.0),
            ("echo", "echo_64k", "64 KiB", STREAMS, 2.0),
            ("echo", "echo_1m", "1 MiB", STREAMS, 2.0),
            ("frames", "frames_64", "64 B", FRAMED, 1.0),
            ("frames", "frames_64k", "64 KiB", FRAMED, 2.0),
            ("frames", "frames_1m", "1 MiB", FRAMED, 2.0),
            ("lines", "lines_64", "64 B", FRAMED, 1.0),
            ("lines", "lines_64k", "64 KiB", FRAMED, 2.0),
            ("JSON lines", "json_64", "64 B", FRAMED, 1.0),
            ("JSON lines", "json_64k", "64 KiB", FRAMED, 2.0),
        ]
    ],
    _rwlock(
        "RWLock, `read()` and `release()`, 1 thread",
        "read_release",
        1,
        {"3.11": ("rwlock.RWLock", 28.0), "3.13t": ("ft_utils.RWLock", 1.6)},
    ),
    _rwlock(
        "RWLock, `with lock.read()`, 1 thread, beside any lock's `with`",
        "with_read",
        1,
        {"3.11": (LOCK, 2.5), "3.13t": (LOCK, 1.6)},
    ),
    _rwlock(
        "RWLock, 99 in 100 read, 2 threads, beside any lock", "mixed_99", 2, {"3.11": (LOCK, 2.2), "3.13t": (LOCK, 3.0)}
    ),
    _rwlock(
        "RWLock, 1 writer among 8 readers that hold it 1 ms: p99 of its waits",
        "writer_among_readers",
        9,
        _than(AT_MOST, 20e6),
        "p99 of writers",
    ),
    _rwlock(
        "RWLock, 1 writer among 8 readers that hold it 1 ms: most holds of a thread / least",
        "writer_among_readers",
        9,
        _than(AT_MOST, 2.0),
        "spread",
    ),
    Target("aio.RWLock, read in 1 task", "rwlock", "async_read", 1, "ferrule.aio.RWLock", _than(AIORWLOCK, 20.0)),
    Target(
        "aio.RWLock, 10 tasks, 9 in 10 read", "rwlock", "async_mixed_90", 1, "ferrule.aio.RWLock", _than(AIORWLOCK, 2.0)
    ),
    Target(
        "aio.RWLock, 10 tasks, 9 in 10 read, with an await inside",
        "rwlock",
        "async_held_90",
        1,
        "ferrule.aio.RWLock",
        _than(AIORWLOCK, 2.0),
    ),
    _bytes(
        "bytes slice of 64 KiB beside a copy",
        "slice_64k",
        BYTES,
        {"3.11": ("bytes", 20.0), "3.13t": ("bytearray", 16.0)},
    ),
    _bytes("bytes slice of 64 KiB beside memoryview's", "slice_64k", BYTES, _than(MEMORYVIEW, 1.3)),
    _bytes("bytes 1000 frames", "frames", READER, {"3.11": (MEMORYVIEW, 2.2), "3.13t": (BYTES_IO, 3.0)}),
    _bytes(
        "bytes lines as they come",
        "lines_as_they_come",
        "ferrule.BytesMut",
        {"3.11": ("asyncio.StreamReader", 12.0), "3.13t": ("asyncio.StreamReader", 20.0)},
    ),
    _bytes(
        "bytes lines beside BytesIO's, which copies them", "lines", READER_LINES, _than("io.BytesIO, readline()", 0.83)
    ),
    *[
        _bytes(f"bytes {verb}, {what}, beside bytes' own", scenario, BYTES, _than("bytes", 0.91))
        for verb in ("find", "count")
        for scenario, what in [
            (f"{verb}_1k", "1 KiB"),
            (f"{verb}_1m", "1 MiB"),
            (f"{verb}_periodic_1k", "1 KiB, periodic"),
            (f"{verb}_periodic_1m", "1 MiB, periodic"),
        ]
    ],
    _pool("pool `acquire()` and `release()`, 1 thread", "alone", 1, {"3.11": (SIMPLE, 1.3), "3.13t": (SIMPLE, 1.2)}),
    _pool(
        "pool, the same, beside one with a size limit", "alone", 1, {"3.11": (LIMITED, 30.0), "3.13t": (LIMITED, 25.0)}
    ),
    _pool("pool, the same, beside `append()` and `pop()` of a deque", "alone", 1, _than(DEQUE, 0.4)),
    _pool("pool of 1 object, 2 threads", "objects_1", 2, {"3.11": (SIMPLE, 1.3), "3.13t": (LIMITED, 8.0)}),
    _pool("pool in 1 task", "asyncio_take_1", 1, {"3.11": (ASYNCIO, 5.0), "3.13t": (ASYNCIO, 15.0)}),
    _pool("pool, 10 tasks, 4 objects", "asyncio_tasks_4", 1, {"3.11": (ASYNCIO, 1.7), "3.13t": (ASYNCIO, 2.0)}),
]
