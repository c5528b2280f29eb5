"""Reads of a map under writers that do all they can to tables and slots: what was there all the time is found."""

import random
import time

import pytest

from ferrule import ConcurrentMap, ConcurrentSet
from tests.support.maps import Key, assert_at_rest
from tests.support.race import run_together

pytestmark = pytest.mark.stress

KINDS = {
    "int": int,
    "str": lambda n: f"key {n}",
    "clashing": lambda n: Key(n, n % 5),
    "of hash 0": lambda n: Key(n, 0 if n % 2 else n),
}


@pytest.fixture(params=KINDS)
def make(request):
    return KINDS[request.param]


class Alive:
    """Knows which key it belongs to, and whether it has been destroyed."""

    def __init__(self, number):
        self.number = number
        self.dead = False

    def __del__(self):
        self.dead = True


def until(end, body):
    """The body over and over until then, in a thread that may fail: then all end."""

    def loop():
        rounds = 0
        while time.monotonic() < end[0]:
            try:
                body(rounds)
            except BaseException:
                end[0] = 0
                raise
            rounds += 1

    return loop


def churn(m, make, rng, *, resize=True):
    """Inserts and removes keys of 1000 and more, so that tables grow, shrink and wear out."""

    def body(rounds):
        count = rng.choice([1, 5, 200])
        numbers = [1000 + rng.randrange(1000) for _ in range(count)]
        for number in numbers:
            m[make(number)] = Alive(number)
        for number in numbers:
            m.pop(make(number), None)
        if resize and rounds % 10 == 0:
            m.reserve(rng.randrange(2000))
            m.shrink()

    return body


def test_a_key_that_is_there_all_the_time_is_always_found(make, rng, seconds):
    m = ConcurrentMap({make(n): Alive(n) for n in range(30)}, shards=1)
    end = [time.monotonic() + seconds / 4]

    def read(_):
        for n in range(30):
            value = m[make(n)]
            assert (value.number, value.dead) == (n, False)
            assert make(n) in m

    def replace(_):
        for n in range(30):
            m[make(n)] = Alive(n)

    run_together(
        until(end, read),
        until(end, read),
        until(end, replace),
        until(end, churn(m, make, random.Random(rng.random()))),
    )
    assert {value.number for value in m.values()} >= set(range(30))
    assert_at_rest(m)


def test_a_value_is_of_the_key_that_was_asked_for_and_alive(make, rng, seconds):
    m = ConcurrentMap(shards=1)
    end = [time.monotonic() + seconds / 4]

    def read(_):
        for n in range(1000, 1100):
            value = m.get(make(n))
            assert value is None or (value.number, value.dead) == (n, False)
        for value in m.values():
            assert not value.dead

    def turn(rng):
        # Three keys that take turns, so that a slot has one after the other.
        def body(_):
            n = 1000 + rng.randrange(3)
            m[make(n)] = Alive(n)
            m.pop(make(n), None)  # the other writer may have been first

        return body

    run_together(
        until(end, read),
        until(end, churn(m, make, random.Random(rng.random()), resize=False)),
        until(end, turn(random.Random(rng.random()))),
    )
    m.clear()
    assert_at_rest(m, {})


def test_what_a_thread_has_written_it_reads(make, rng, seconds):
    """And what another has been told was written: a read is not older than what its thread knows."""
    m = ConcurrentMap({make(0): 0}, shards=1)
    end = [time.monotonic() + seconds / 4]
    published = [0]

    def write(rounds):
        m[make(0)] = rounds
        published[0] = rounds

    def read(_):
        known = published[0]
        assert m[make(0)] >= known

    run_together(
        until(end, write),
        until(end, read),
        until(end, churn(m, make, random.Random(rng.random()))),
    )


def test_a_removal_is_seen_by_all_once_it_is_seen_by_one(seconds):
    """Each key is inserted once and removed once: absent, there, absent, by whatever read and in this order."""
    m = ConcurrentMap(shards=1)
    end = [time.monotonic() + seconds / 4]
    newest = [0]
    held = {}

    def write(rounds):
        key = Key(rounds, rounds % 3)
        held[rounds % 8] = key
        newest[0] = rounds
        m[key] = rounds
        del m[key]

    def read(_):
        number = newest[0]
        key = held.get(number % 8)
        if key is None:
            return
        equal = Key(key.name, key.code)
        states = [key in m, equal in m, m.get(key) is not None, m.get(equal) is not None, key in m]
        first = states.index(True) if True in states else len(states)
        after = states[first:]
        assert after == sorted(after, reverse=True), states  # once it has gone it stays away

    run_together(until(end, write), until(end, read), until(end, read))


def test_clear_is_seen_whole(seconds):
    m = ConcurrentMap(shards=1)
    s = ConcurrentSet(shards=1)
    end = [time.monotonic() + seconds / 4]

    def fill(_):
        m.update((n, Alive(n)) for n in range(100))
        s.update(range(100))
        m.clear()
        s.clear()

    def read(_):
        for n, value in m.items():
            assert (value.number, value.dead) == (n, False)
        assert set(s) <= set(range(100))
        assert all(value is None or not value.dead for value in (m.get(n) for n in range(100)))

    run_together(until(end, fill), until(end, read), until(end, read))
    assert_at_rest(m, {})
