"""Reads of maps and sets while a writer stands still in the middle of a write, and writes in the middle of a read."""

import gc
import itertools
import sys
import threading
import tracemalloc
import weakref

import pytest

from ferrule import ConcurrentMap, ConcurrentSet
from tests.support.hostile import calling, hostile
from tests.support.maps import ENDS, Key, assert_at_rest
from tests.support.race import GIL, HANG, eventually, run_together, spawn

pytestmark = pytest.mark.skipif(GIL, reason="with the GIL no section of another thread is in progress")


class Value:
    """One that can be referred to weakly."""


class MidRead:
    """A thread in the middle of a read of the key's shard, until the block or leave()."""

    def __init__(self, m, key):
        self._m, self._key = m, key
        self._entered, self._left = threading.Event(), threading.Event()

    def _inside(self):
        self._entered.set()
        assert self._left.wait(HANG)

    def leave(self):
        self._left.set()
        self._running.result()

    def __enter__(self):
        self._running = spawn(self._m._inside, self._key, self._inside)
        assert self._entered.wait(HANG)
        return self

    def __exit__(self, *error):
        self.leave()


@pytest.fixture
def big():
    """A map, and how many bytes a new table of it has at least: a thread that stops there holds the shard's latch."""
    m = ConcurrentMap(shards=1)
    for number in range(3000):
        m[number] = str(number)
    return m


class TestMidWrite:
    """A thread that is stopped in the middle of a write, within the shard's locked section, keeps no reader waiting."""

    @pytest.fixture
    def stopped(self, big):
        """The map, whose writer stands in the middle of an insertion, about to get the memory of a new table."""
        probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")
        go = threading.Event()

        def write():
            assert go.wait(HANG)
            stop.arm()
            number = 10**6
            while not done:
                big[number] = number
                number += 1

        done = []
        gc.disable()
        try:
            with probe.Stop(100_000) as stop:
                writing = spawn(write)
                go.set()
                eventually(lambda: stop.stopped)
                done.append(True)
                yield big
                assert stop.stopped
            writing.result()
        finally:
            gc.enable()
        big._check()

    def test_a_key_that_is_there_is_found(self, stopped):
        assert stopped[5] == "5"
        assert stopped.get(2999) == "2999"
        assert 7 in stopped
        assert stopped.get(10**5) == stopped.get("absent") is None
        assert all(stopped[int(f"{number}")] == f"{number}" for number in range(3000))  # by equal keys

    def test_iterators_and_views_go_on(self, stopped):
        assert {number for number in stopped if number < 10**6} == set(range(3000))
        assert {pair for pair in stopped.items() if pair[0] < 10**6} == {(n, str(n)) for n in range(3000)}
        assert "17" in stopped.values()
        assert 17 in stopped.keys()  # noqa: SIM118 - the view is what is tested
        assert (17, "17") in stopped.items()


def test_a_key_whose_comparison_needs_python_is_found_mid_write():
    probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")
    m = ConcurrentMap({Key(number, number % 50): number for number in range(300)}, shards=1)
    gc.disable()
    try:
        with probe.Stop(100_000) as stop:
            writing = spawn(lambda: (stop.arm(), m.reserve(10**5)))
            eventually(lambda: stop.stopped)
            assert [m[Key(number, number % 50)] for number in range(300)] == list(range(300))
            assert Key(0, 1) not in m
            assert stop.stopped
        writing.result()
    finally:
        gc.enable()
    assert_at_rest(m)


def test_a_set_is_read_mid_write():
    probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")
    s = ConcurrentSet(range(100), shards=1)
    gc.disable()
    try:
        with probe.Stop(100_000) as stop:
            writing = spawn(lambda: (stop.arm(), s.reserve(10**5)))
            eventually(lambda: stop.stopped)
            assert 5 in s
            assert 500 not in s
            assert set(s) == set(range(100))
            assert stop.stopped
        writing.result()
    finally:
        gc.enable()
    s._check()


RELEASES = {
    "the next write": lambda m: m.__setitem__("other", 1),
    "a write that finds nothing": lambda m: m.pop("absent", None),
    "increment": lambda m: m.increment("n"),
    "clear": lambda m: m.clear(),
    "reserve": lambda m: m.reserve(1000),
    "shrink": lambda m: m.shrink(),
    "collect": lambda m: m.collect(),
}


def filled(**items):
    """A map of one shard with a value that can be referred to weakly, and the reference to it."""
    value = Value()
    return ConcurrentMap({"k": value, **items}, shards=1), weakref.ref(value)


def shard_of(key, shards):
    """The number of the shard of such a map that has the key."""
    return [shard["items"] for shard in ConcurrentMap({key: 1}, shards=shards).stats()].index(1)


def codes_at_home(home, count, slots=8):
    """So many numbers that, as hashes, have this home in a table of so many slots; the first of home 0 is 0."""
    spread = (((code ^ code >> 32) * 0x9E3779B97F4A7C15) % 2**64 for code in itertools.count())
    found = (code for code, bits in enumerate(spread) if bits * slots >> 64 == home)
    return list(itertools.islice(found, count))


class TestMidRead:
    """What is replaced or removed while a thread is in the middle of a read lives until that has left, not longer."""

    @pytest.mark.parametrize("end", ENDS)
    def test_with_nobody_inside_it_dies_before_the_call_returns(self, end):
        m, value = filled()
        ENDS[end](m)
        assert value() is None

    @pytest.mark.parametrize("end", ENDS)
    def test_with_a_reader_inside_it_is_kept(self, end):
        m, value = filled()
        with MidRead(m, "k"):
            ENDS[end](m)
            assert value() is not None
            assert m.get("k", "gone") in ("new", "gone")
        m.collect()
        assert value() is None
        assert_at_rest(m)

    @pytest.mark.parametrize("release", RELEASES)
    def test_what_releases_it(self, release):
        m, value = filled()
        with MidRead(m, "k"):
            m["k"] = 1
            m["j"] = 2
            del m["j"]
        assert value() is not None
        RELEASES[release](m)
        assert value() is None

    def test_a_key_is_kept_as_its_value_is(self):
        key = Value()
        m, kept = ConcurrentMap({key: 1}, shards=1), weakref.ref(key)
        with MidRead(m, "k"):
            assert m.pop(key) == 1
            del key
            assert kept() is not None
        m.collect()
        assert kept() is None

    def test_what_pop_gives_is_the_callers_whatever_the_reader_does(self):
        m, value = filled()
        with MidRead(m, "k"):
            given = m.pop("k")
        m.collect()
        assert given is value()
        del given
        assert value() is None

    def test_a_reader_of_another_shard_keeps_nothing(self):
        m = ConcurrentMap(shards=2)
        other = next(n for n in range(100) if shard_of(n, m.shards) != shard_of("k", m.shards))
        m["k"] = Value()
        value = weakref.ref(m["k"])
        with MidRead(m, other):
            del m["k"]
            assert value() is None

    def test_a_reader_that_came_later_keeps_nothing(self):
        m, value = filled()
        with MidRead(m, "k") as first:
            del m["k"]
            with MidRead(m, "k"):
                first.leave()
                m["j"] = 1
                assert value() is None

    def test_all_of_a_table_that_was_cleared_is_kept(self):
        values = [Value() for _ in range(100)]
        m = ConcurrentMap(enumerate(values), shards=1)
        kept = [weakref.ref(value) for value in values]
        del values
        with MidRead(m, "k"):
            m.clear()
            m.update((n, n) for n in range(1000))
            m.clear()
            assert all(value() is not None for value in kept)
        m.collect()
        assert all(value() is None for value in kept)
        assert_at_rest(m, {})

    def test_tables_that_were_replaced_are_right_and_their_values_die_once(self):
        values = {n: Value() for n in range(50)}
        kept = [weakref.ref(value) for value in values.values()]
        m = ConcurrentMap(values, shards=1)
        values.clear()
        with MidRead(m, "k"):
            for n in range(1000, 5000):
                m[n] = n
                if n % 500 == 0:
                    m._check()
            for n in range(1000, 5000):
                del m[n]
            m._check()
        m.collect()
        assert all(value() is not None for value in kept)
        m.clear()
        assert all(value() is None for value in kept)

    def test_a_table_that_was_replaced_is_kept_and_then_freed(self):
        keys = list(range(5000))
        tracemalloc.start()
        try:
            m = ConcurrentMap(dict.fromkeys(keys), shards=1)
            table = sys.getsizeof(m) - sys.getsizeof(ConcurrentMap(shards=1))
            with MidRead(m, "k"):
                m.reserve(10_000)
                kept = tracemalloc.get_traced_memory()[0]
            m.collect()
            left = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert kept - left >= table
        assert_at_rest(m, dict.fromkeys(keys))

    def test_a_destructor_that_uses_the_map_that_releases_its_value(self):
        m, seen = ConcurrentMap(shards=1), []

        def use():
            seen.append(m.get("k"))
            m["k"] = "its"
            m.update((n, n) for n in range(100))
            m.collect()
            m._check()

        m["k"] = hostile(__del__=calling(use))
        with MidRead(m, "k"):
            m["k"] = "new"
        m["j"] = 1
        gc.collect()
        assert seen == ["new"]
        assert (m["k"], m["j"], len(m)) == ("its", 1, 102)
        assert_at_rest(m)

    def test_a_cycle_through_what_is_kept_is_collected(self):
        m, value = filled()
        value().map = m
        with MidRead(m, "k"):
            m["k"] = 1
        gc.collect()
        assert value() is not None
        del m
        gc.collect()
        assert value() is None

    def test_a_cycle_through_a_cleared_table_is_collected(self):
        m, value = filled()
        value().map = m
        with MidRead(m, "k"):
            m.clear()
        gc.collect()
        assert value() is not None
        del m
        gc.collect()
        assert value() is None

    def test_what_is_kept_ends_with_the_map(self):
        m, value = filled()
        with MidRead(m, "k"):
            m["k"] = 1
        assert value() is not None
        del m
        gc.collect()  # merges what the reader's thread has counted of the map
        assert value() is None

    def test_a_slot_that_a_reader_may_have_seen_is_not_used_again(self):
        m = ConcurrentMap({Key("a"): 1}, shards=1)
        with MidRead(m, Key("a")):
            del m[Key("a")]
            m[Key("b")] = 2
        assert m.stats()[0]["longest_probe"] == 2
        assert_at_rest(m)
        del m[Key("b")]
        m[Key("b")] = 3
        assert m.stats()[0]["longest_probe"] == 2
        m.reserve(100)
        assert m.stats()[0]["longest_probe"] == 1
        assert_at_rest(m)

    def test_slots_that_are_worn_make_no_table_grow(self):
        m = ConcurrentMap(dict.fromkeys(range(20), 0), shards=1)
        capacity = m.capacity
        with MidRead(m, "k"):
            for n in range(100, 2000):
                m[n] = n
                assert m.pop(n) == n
            m._check()
        m.collect()
        assert m.capacity <= 2 * capacity
        assert_at_rest(m, dict.fromkeys(range(20), 0))

    def test_many_readers_and_writers_leave_nothing_behind(self):
        m = ConcurrentMap(shards=2)
        kept = []

        def write(first):
            for n in range(first, first + 300):
                value = Value()
                kept.append(weakref.ref(value))
                m[n % 50] = value
                del value
                if n % 7 == 0:
                    m.pop(n % 50, None)

        def read():
            for _ in range(20):
                for n in range(50):
                    m.get(n)
                list(m.items())

        run_together(lambda: write(0), lambda: write(25), read, read)
        m.collect()
        assert sum(value() is not None for value in kept) == len(m)
        m.clear()
        assert not any(value() is not None for value in kept)


def test_a_key_of_hash_0_goes_into_no_slot_that_was_used():
    """While it is being put there, the slot would look as if no key came after it."""
    zero, first, second = codes_at_home(0, 3)
    assert zero == 0
    m = ConcurrentMap({Key("first", first): 1, Key("second", second): 2}, shards=1)
    del m[Key("first", first)]
    m[Key("zero", zero)] = 0
    assert m.stats()[0]["longest_probe"] == 3
    del m[Key("zero", zero)]
    m[Key("third", first)] = 3  # while any other does
    assert m.stats()[0]["longest_probe"] == 2
    assert_at_rest(m)


@pytest.mark.parametrize("end", ["clear", "del", "popitem"])
def test_a_map_whose_table_is_half_moved_drops_each_reference_once(end):
    values = [Value() for _ in range(10_000)]
    m, added = ConcurrentMap(shards=1), 0
    for number, value in enumerate(values):
        before = m.capacity
        m[number] = value
        added += 1
        if m.capacity > before > 1000:
            break  # it grows, and has moved a few of its clusters
    counts = [sys.getrefcount(value) for value in values]
    if end == "clear":
        m.clear()
    elif end == "popitem":
        while m:
            m.popitem()
    del m
    gc.collect()
    assert [sys.getrefcount(value) for value in values] == [count - (n < added) for n, count in enumerate(counts)]
