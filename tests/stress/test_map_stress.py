"""Conservation laws of ConcurrentMap under many threads: owners of keys, transfers, counters, iterators; resizes."""

import random
import threading
import time

import pytest

from ferrule import ConcurrentMap
from tests.support.maps import Key, assert_at_rest
from tests.support.race import run_together

pytestmark = pytest.mark.stress

OWNERS = 3
KINDS = {"int": int, "str": str, "bytes": lambda n: b"%d" % n, "clashing": lambda n: Key(n, n % 7)}


@pytest.fixture(params=[1, 8])
def shards(request):
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_each_owner_finds_its_own_keys_as_it_left_them_while_tables_are_replaced(kind, shards, rng, seconds):
    make = KINDS[kind]
    m = ConcurrentMap(shards=shards)
    end = time.monotonic() + seconds / 4
    left = {}

    def own(owner, rng):
        mine = {}
        while time.monotonic() < end:
            for _ in range(100):
                number = rng.randrange(200) * OWNERS + owner
                key, call = make(number), rng.randrange(6)
                if call < 2:
                    m[key] = number
                    mine[number] = number
                elif call == 2:
                    assert m.pop(key, None) == mine.pop(number, None)
                elif call == 3:
                    assert m.get(key) == mine.get(number)
                elif call == 4:
                    assert m.setdefault(key, -1) == mine.setdefault(number, -1)
                else:
                    with m.entry(key) as entry:
                        assert entry.get() == mine.get(number)
                        entry.value = mine[number] = -number
        left.update(mine)

    def resize():
        first = 10**6
        while time.monotonic() < end:
            burst = [make(n) for n in range(first, first + 300)]
            m.update((key, 0) for key in burst)
            m.reserve(1000)
            m._check()
            for key in burst:
                del m[key]
            m.shrink()
            m.copy()._check()
            first += 300

    seeds = [random.Random(rng.random()) for _ in range(OWNERS)]
    run_together(*(lambda n=n: own(n, seeds[n]) for n in range(OWNERS)), resize)
    assert_at_rest(m, {make(number): value for number, value in left.items()})


def test_snapshots_see_no_transfer_half_done(shards, rng, seconds):
    m = ConcurrentMap(dict.fromkeys(range(50), 100), shards=shards)
    end = time.monotonic() + seconds / 2

    def transfer(rng):
        while time.monotonic() < end:
            source, target = rng.sample(range(50), 2)
            with m.entries(source, target) as (giver, taker):
                amount = rng.randrange(10)
                giver.value, taker.value = giver.value - amount, taker.value + amount

    def balance(rng):
        while time.monotonic() < end:
            amount = rng.randrange(1000)
            m.set_many({"left": amount, "right": -amount, f"more {amount % 50}": 0})

    def look():
        while time.monotonic() < end:
            seen = m.snapshot()
            assert seen.get("left", 0) + seen.get("right", 0) == 0
            left, right = m.get_many(["left", "right"], 0)
            assert left + right == 0

    seeds = [random.Random(rng.random()) for _ in range(4)]
    run_together(*(lambda s=s: transfer(s) for s in seeds[:2]), *(lambda s=s: balance(s) for s in seeds[2:]), look)
    assert sum(m[n] for n in range(50)) == 5000
    assert_at_rest(m)


def test_no_increment_is_lost(shards):
    m = ConcurrentMap(shards=shards)

    def count():
        for n in range(1000):
            m.increment(n % 10)
            m.increment("float", 0.5)
            m.increment("big", 10**30)
            m.compute("computed", lambda old: (old or 0) + 1)

    run_together(*[count] * 4)
    assert_at_rest(m, dict.fromkeys(range(10), 400) | {"float": 2000.0, "big": 4000 * 10**30, "computed": 4000})


def test_an_iterator_gives_each_untouched_key_once_while_writers_run(shards, seconds):
    untouched = range(0, 3000, 3)
    m = ConcurrentMap({n: n for n in untouched}, shards=shards)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for n in range(3000):
                if n % 3:
                    m[n] = n
            for n in range(3000):
                if n % 3:
                    m.pop(n, None)
            m.shrink()

    def iterate():
        try:
            end = time.monotonic() + seconds / 2
            while time.monotonic() < end:
                seen = [key for key in m if key % 3 == 0]
                assert sorted(seen) == list(untouched)
                assert all(key == value for key, value in m.items())
        finally:
            stop.set()

    run_together(write, write, iterate)
    assert_at_rest(m)


def test_inserts_and_deletes_over_the_same_live_keys_keep_the_table_as_it_is(request):
    live, rounds = 1000, 10_000_000 if request.config.option.long else 200_000
    m = ConcurrentMap({n: n for n in range(live)}, shards=1)
    capacities, probes = set(), set()
    for n in range(rounds):
        del m[n]
        m[n + live] = n
        if n % (rounds // 100) == 0:
            (stats,) = m.stats()
            capacities.add(stats["capacity"])
            probes.add(stats["longest_probe"])
    assert max(capacities) <= 2 * min(capacities)
    assert max(probes) < 40
    assert_at_rest(m, {n: n - live for n in range(rounds, rounds + live)})


def test_random_changes_of_size_keep_the_tables_whole(rng):
    """Memory is used again here by one table after the other, with whatever is in it."""
    for _ in range(300):
        m, d = ConcurrentMap(shards=rng.choice([1, 1, 8])), {}
        for _ in range(200):
            call, key = rng.randrange(12), rng.randrange(rng.choice([30, 3000]))
            if call < 6:
                m[key] = d[key] = key
            elif call < 9:
                assert m.pop(key, None) == d.pop(key, None)
            elif call == 9:
                m.shrink()
            elif call == 10:
                m.reserve(rng.randrange(600))
            else:
                burst = {n: n for n in rng.sample(range(3000), 50)}
                m.update(burst)
                d.update(burst)
            m._check()
        assert m == d
