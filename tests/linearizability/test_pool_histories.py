"""Recorded histories of threads on one pool can all be explained one call at a time."""

import itertools
import random
import re
import sys
import threading

import pytest

from ferrule import Pool, PoolClosed, PoolTimeout
from tests.support.history import History, call
from tests.support.linearizability import check
from tests.support.pool_model import PoolModel
from tests.support.pools import figures
from tests.support.race import outcome, run_together

ERRORS = (PoolTimeout, PoolClosed, ValueError, RuntimeError)
CALLS = 7
SHORT = 1e-5
METHODS = ["try_acquire", "try_acquire", "acquire_within", "release", "release", "detach", "attach", "figures"]


@pytest.fixture(autouse=True)
def in_short_turns(switch_interval):
    """With the GIL, calls as short as these overlap only where threads take turns often."""
    sys.setswitchinterval(1e-5)


class Names(threading.local):
    """Of the lease for which a thread makes an object."""

    name = None

    def create(self):
        return self.name


class Actor:
    """One thread's random calls, recorded as the model names them; leases are of all, and so end in any thread."""

    def __init__(self, name, pool, making, leases, history, rng):
        self.name = name
        self.pool = pool
        self.making = making
        self.leases = leases
        self.log = history.recorder(name)
        self.rng = rng
        self.names = (f"{name}-{n}" for n in itertools.count())

    def run(self):
        for _ in range(CALLS):
            getattr(self, self.rng.choice(METHODS))()

    def takes(self, method, take):
        name = next(self.names)

        def taken():
            self.making.name = name
            lease = take()
            if lease is None:
                return None
            value = lease.value
            self.leases.append((name, lease))
            return value

        self.log(taken, method, name, errors=ERRORS)

    def try_acquire(self):
        self.takes("try_acquire", self.pool.try_acquire)

    def acquire_within(self):
        self.takes("acquire_within", lambda: self.pool.acquire(timeout=SHORT))

    def ends(self, method):
        """Sometimes a lease that another thread ends too."""
        if self.leases:
            name, lease = self.rng.choice(list(self.leases))
            self.log(getattr(lease, method), method, name, errors=ERRORS)

    def release(self):
        self.ends("release")

    def detach(self):
        self.ends("detach")

    def attach(self):
        name = next(self.names)
        self.log(lambda: self.pool.attach(name), "attach", name, errors=ERRORS)

    def figures(self):
        """All in one call, that reads them under one lock."""
        self.log(lambda: numbers(repr(self.pool)), "figures")


def numbers(shown):
    """(idle, in use) of a pool's repr."""
    in_use, idle = re.search(r"(\d+) in use, (\d+) idle", shown).groups()
    return int(idle), int(in_use)


@pytest.mark.parametrize("order", ["lifo", "fifo"])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("threads", [2, 3])
def test_every_history_is_linearizable(threads, size, order, rng, request):
    for _ in range(1_500 if request.config.option.long else 100):
        making = Names()
        pool = Pool(making.create, max_size=size, order=order)
        history, leases = History(), []
        actors = [Actor(f"T{n}", pool, making, leases, history, random.Random(rng.random())) for n in range(threads)]
        run_together(*(actor.run for actor in actors))
        verdict = check(history.calls(), PoolModel(size, fifo=order == "fifo"))
        assert verdict, repr(verdict)
        for _, lease in leases:
            outcome(lease.release, RuntimeError)()
        assert figures(pool)[1] == 0


IN_TURN = {
    "an object is leased twice": [("try_acquire", "a", "a"), ("try_acquire", "b", "a")],
    "there are too many": [("try_acquire", "a", "a"), ("try_acquire", "b", "b"), ("try_acquire", "c", "c")],
    "there was an idle one": [("try_acquire", "a", "a"), ("release", "a", None), ("try_acquire", "b", "b")],
    "there was one": [("try_acquire", "a", "a"), ("try_acquire", "b", None)],
    "the wrong one comes first": [
        ("try_acquire", "a", "a"),
        ("try_acquire", "b", "b"),
        ("release", "a", None),
        ("release", "b", None),
        ("try_acquire", "c", "a"),
    ],
    "a lease ends twice": [("try_acquire", "a", "a"), ("release", "a", None), ("detach", "a", "a")],
    "what was detached is still there": [("try_acquire", "a", "a"), ("detach", "a", "a"), ("figures", (1, 0))],
    "there was room": [("try_acquire", "a", "a"), ("attach", "mine", ValueError)],
}


@pytest.mark.parametrize("calls", IN_TURN.values(), ids=IN_TURN)
def test_histories_that_must_be_rejected(calls):
    history = [call(2 * n, 2 * n + 1, name, *args, result=result) for n, (name, *args, result) in enumerate(calls)]
    assert check(history[:-1], PoolModel(2))
    assert not check(history, PoolModel(2))
