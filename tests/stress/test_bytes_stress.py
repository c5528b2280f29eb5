"""Bytes and BytesMut under many threads: no byte lost, doubled or changed, each owner released once, nothing kept."""

import contextlib
import random
import threading
import time
from collections import Counter, deque

import pytest

from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.race import outcome, run_together

pytestmark = pytest.mark.stress

THREADS = 3


class Owner(bytearray):
    """Memory that says how often it has died, and cannot grow while it is exported."""

    def __init__(self, data, deaths):
        super().__init__(data)
        self.deaths = deaths

    def __del__(self):
        self.append(0)  # BufferError if there were an export left
        self.deaths.append(1)


def pattern(length, seed=0):
    return bytes((n * 7 + seed) & 255 for n in range(length))


def test_slices_of_one_memory_are_made_and_dropped_by_all_threads(rng, seconds):
    """Each slice shows what its place says; the owner dies once, after the last of them."""
    end = time.monotonic() + seconds / 2
    made = 0
    while time.monotonic() < end:
        deaths = []
        data = pattern(1000)
        whole = Bytes.from_owner(Owner(data, deaths))
        shared = [(0, whole)] * 20
        seeds = [rng.random() for _ in range(THREADS)]

        def cut(seed, shared=shared, data=data):
            rng = random.Random(seed)
            for _ in range(300):
                at, part = shared[rng.randrange(20)]
                start = rng.randrange(len(part) + 1)
                size = rng.randrange(len(part) - start + 1)
                part = part[start : start + size] if rng.random() < 0.5 else part.slice(start, start + size)
                at += start
                assert part == data[at : at + size]
                assert part.retained == (1000 if size else 0)
                if size:
                    shared[rng.randrange(1, 20)] = at, part  # the first stays the whole

        run_together(*(lambda seed=seed: cut(seed) for seed in seeds))
        assert not deaths
        del whole, cut
        shared.clear()
        assert deaths == [1]
        made += 1
    assert made


def test_frozen_parts_never_change_while_the_buffer_goes_on(rng, seconds):
    """One thread fills, splits and freezes; the others hold the parts for a while, check them, and drop them."""
    end = time.monotonic() + seconds / 2
    parts = deque(maxlen=200)
    stop = threading.Event()

    def build():
        number = 0
        buffer = BytesMut(256)
        try:
            while time.monotonic() < end:
                size = 1 + number % 97
                data = pattern(size, number)
                if number % 3:
                    buffer.put(data)
                else:
                    view = buffer.spare(size)
                    view[:size] = data
                    buffer.commit(size)
                    view.release()
                parts.append((data, buffer.split().freeze() if number % 2 else buffer.get_bytes(size)))
                buffer.try_reclaim(64)
                number += 1
        finally:
            stop.set()
        return number

    def hold():
        held, seen = deque(maxlen=50), 0
        while not stop.is_set():
            try:
                held.append(parts.popleft())
            except IndexError:
                time.sleep(0)
                continue
            data, part = held[len(held) // 2]
            assert part == data
            assert hash(part[1:]) == hash(data[1:])
            seen += 1
        return seen

    numbers = run_together(build, hold, hold)
    assert all(numbers)


@pytest.mark.parametrize("make", [BytesMut, Reader], ids=["BytesMut", "Reader"])
def test_readers_of_one_source_take_each_byte_once(make, rng, seconds):
    """Numbers go in in order; every thread sees its own in order, and together they see all, none twice."""
    end = time.monotonic() + seconds / 2
    rounds = 0
    while time.monotonic() < end:
        count = 3000
        data = b"".join(n.to_bytes(4, "big") for n in range(count))
        source = make(data) if make is BytesMut else Reader(*(data[n : n + 30] for n in range(0, len(data), 30)))

        def read(source=source):
            seen = []
            how = [
                source.get_u32,
                lambda: int.from_bytes(source.get_bytes(4), "big"),
                lambda: source.get_uint(4),
                lambda: source.try_get_u32(),
            ]
            while True:
                try:
                    number = how[len(seen) % 4]()
                except NotEnoughBytes:
                    return seen
                if number is None:
                    return seen
                seen.append(number)

        seen = run_together(*(read for _ in range(THREADS)))
        assert all(part == sorted(part) for part in seen)
        assert Counter(n for part in seen for n in part) == Counter(range(count))
        rounds += 1
    assert rounds


def test_appends_of_all_threads_arrive_whole(rng, seconds):
    """Every call is one step: what one call appends lies together, and each thread's records are in order."""
    end = time.monotonic() + seconds / 2
    rounds = 0
    each = 700
    while time.monotonic() < end:
        buffer = BytesMut()

        def write(thread, buffer=buffer):
            for n in range(each):
                record = bytes([thread]) * 3 + n.to_bytes(3, "big")
                if n % 3 == 0:
                    buffer.put(record)
                elif n % 3 == 1:
                    buffer.extend(Bytes(record))
                else:
                    buffer.put_uint(int.from_bytes(record, "big"), 6)

        run_together(*(lambda t=t: write(t) for t in range(THREADS)))
        assert len(buffer) == THREADS * each * 6
        seen = {thread: [] for thread in range(THREADS)}
        while buffer:
            record = buffer.get_bytes(6)
            assert record[:3] == bytes([record[0]]) * 3
            seen[record[0]].append(int.from_bytes(record[3:], "big"))
        assert all(numbers == list(range(each)) for numbers in seen.values())
        rounds += 1
    assert rounds


def test_one_writes_and_one_reads(rng, seconds):
    """A stream of frames through one BytesMut, the two ends in threads of their own: all arrive, in order."""
    count = int(4000 * max(seconds, 1))
    buffer = BytesMut()

    def write():
        for n in range(count):
            frame = pattern(n % 60, n)
            buffer.put(len(frame).to_bytes(2, "big") + frame)
            while len(buffer) > 10_000:
                time.sleep(0)

    def read():
        for n in range(count):
            while (size := buffer.try_get_u16()) is None:
                time.sleep(0)
            assert size == n % 60
            while (frame := buffer.try_get_bytes(size)) is None:
                time.sleep(0)
            assert frame == pattern(size, n)
            if n % 50 == 0:
                buffer.try_reclaim(100)

    run_together(write, read, timeout=60 + 10 * seconds)
    assert buffer == b""


def test_halves_that_are_split_and_joined_by_all_threads_keep_every_byte(rng, seconds):
    """Parts of one memory wander between threads, are written, split, joined and copied: each keeps its own bytes."""
    end = time.monotonic() + seconds / 2
    shared = deque()
    for n in range(6):
        shared.append(BytesMut(bytes([n]) * 500))
    seeds = [rng.random() for _ in range(THREADS)]

    def work(seed):
        rng = random.Random(seed)
        while time.monotonic() < end:
            try:
                part = shared.popleft()
            except IndexError:
                time.sleep(0)
                continue
            choice = rng.randrange(5)
            if choice == 0 and len(part) > 1:
                shared.append(part.split_to(rng.randrange(len(part))))
            elif choice == 1 and len(part) > 1:
                shared.append(part.split_off(rng.randrange(len(part))))
            elif choice == 2:
                with contextlib.suppress(IndexError):
                    part.unsplit(shared.popleft())
            elif choice == 3:
                part[:] = bytes(part)[::-1]
            else:
                part.reserve(rng.randrange(100))
            shared.append(part)

    run_together(*(lambda seed=seed: work(seed) for seed in seeds))
    counts = Counter()
    for part in shared:
        counts.update(bytes(part))
    assert counts == dict.fromkeys(range(6), 500)


def test_one_buffer_written_in_every_way_at_once_raises_or_serialises(rng, seconds):
    """Whatever all threads do to it at once, each answer is a possible one and the buffer stays whole."""
    end = time.monotonic() + seconds / 2
    buffer = BytesMut(64)
    calls = [
        lambda rng: buffer.put(b"\x01" * rng.randrange(200)),
        lambda rng: buffer.extend_from_within(rng.randrange(50), rng.randrange(100)),
        lambda rng: buffer.get_bytes(rng.randrange(60)),
        lambda rng: buffer.split_off(rng.randrange(60)).freeze(),
        lambda rng: buffer.split_to(rng.randrange(60)),
        lambda rng: buffer.unsplit(BytesMut(b"\x01" * rng.randrange(60))),
        lambda rng: buffer.truncate(rng.randrange(300)),
        lambda rng: buffer.reserve(rng.randrange(300)),
        lambda rng: buffer.try_reclaim(rng.randrange(300)),
        lambda rng: buffer.put(memoryview(buffer)[:5]),
        lambda rng: buffer.freeze(),
        lambda rng: buffer.resize(rng.randrange(200), 1),
        lambda rng: buffer.__setitem__(slice(0, 1), b"\x01"),
        lambda rng: buffer.spare(rng.randrange(20)),
        lambda rng: bytes(buffer),
        lambda rng: buffer == BytesMut(buffer),
    ]
    seeds = [rng.random() for _ in range(THREADS)]

    def work(seed):
        rng = random.Random(seed)
        done = 0
        while time.monotonic() < end:
            answer = outcome(calls[rng.randrange(len(calls))], NotEnoughBytes, BufferError, IndexError, ValueError)(rng)
            if isinstance(answer, (bytes, Bytes, BytesMut)):
                assert answer.find(0) < 0
                assert bytes(answer).count(1) == len(answer)
            done += 1
        return done

    assert all(run_together(*(lambda seed=seed: work(seed) for seed in seeds)))
    content = bytes(buffer)
    assert content == b"\x01" * len(content)
    assert len(buffer) <= buffer.capacity
