"""Permissions under load: threads and tasks of two loops on one gate, claimed, handed, cancelled, timed out, signalled.

The law: permits given = permits taken + permits left, nobody is left waiting, and nobody sleeps beside a permit.
"""

import asyncio
import contextlib
import functools
import itertools
import random
import signal
import threading
import time

import pytest

from ferrule import Timeout
from tests.support.driver import LoopThread, turns
from tests.support.race import HANG, Hung, eventually, spawn, stacks

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

pytestmark = pytest.mark.stress

WORKERS = 100
"""As many threads, and as many tasks over the two loops."""

PATIENCE = [None, None, None, 0, 0.0002, 0.001, 0.005]
"""The timeouts to choose from."""


class Interrupted(Exception):
    """What the signal handler raises in the main thread."""


def two_loops():
    """Two loops in threads of their own: asyncio's and uvloop's where that is installed, else two of asyncio's."""
    try:
        import uvloop
    except ImportError:
        return LoopThread("asyncio"), LoopThread("asyncio")
    assert uvloop
    return LoopThread("asyncio"), LoopThread("uvloop")


class Crowd:
    """Threads and tasks that wait over and over until told to stop; how many permits they took."""

    def __init__(self, rng, wait, wait_async):
        self._wait = wait
        self._wait_async = wait_async
        self._stop = threading.Event()
        self.taken = []  # one entry a permit; append is atomic, also against signal handlers
        self._loops = two_loops()
        seeds = [rng.random() for _ in range(2 * WORKERS)]
        self._threads = [spawn(self._work, random.Random(seed)) for seed in seeds[:WORKERS]]
        self._tasks = [
            self._loops[number % 2].spawn(self._work_async(random.Random(seed)))
            for number, seed in enumerate(seeds[WORKERS:])
        ]

    def _work(self, rng):
        while not self._stop.is_set():
            with contextlib.suppress(Timeout):
                self._wait(rng)
                self.taken.append(True)

    async def _work_async(self, rng):
        while not self._stop.is_set():
            task = asyncio.ensure_future(self._wait_async(rng))
            if rng.random() < 0.4:
                await (turns(rng.randrange(4)) if rng.random() < 0.5 else asyncio.sleep(rng.random() * 0.002))
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                self.taken.append(task.result())
            elif not task.cancelled():
                assert isinstance(task.exception(), Timeout)
            await asyncio.sleep(0)

    @property
    def busy(self):
        return sum(thread.alive for thread in self._threads) + sum(not task.done() for task in self._tasks)

    def end(self, feed):
        """Lets everybody end; `feed()` gives those who still wait something, one at a time."""
        self._stop.set()
        deadline = time.monotonic() + HANG
        while self.busy:
            feed()
            if time.monotonic() > deadline:
                raise Hung(f"{self.busy} workers still wait\n{stacks()}")
        for thread in self._threads:
            thread.result()
        for task in self._tasks:
            task.result()
        for loop in self._loops:
            loop.close()


class Giver:
    """Gives permits in every way there is; how many it gave."""

    def __init__(self, rng, gates):
        self._rng = rng
        self._gates = gates
        self._unwoken = []  # claimed, and not woken yet
        self.given = []

    def give(self):
        gate = self._rng.choice(self._gates)
        count = self._rng.choice([1, 1, 1, 2, 5])
        match self._rng.randrange(5):
            case 0 | 1:
                gate.release(count)
                self.given.extend([True] * count)
            case 2:
                self._unwoken.append(gate.claim(count))
                self.given.extend([True] * count)
            case 3:
                if gate.hand():
                    self.given.append(True)
            case 4 if self._unwoken:
                claimed = self._unwoken.pop(self._rng.randrange(len(self._unwoken)))
                if self._rng.random() < 0.5:
                    claimed.wake()
                del claimed  # its end wakes them, too

    def wake_all(self):
        self._rng.shuffle(self._unwoken)
        while self._unwoken:
            self._unwoken.pop().wake()

    def feed(self):
        """One more permit for each gate where somebody waits, once nobody sleeps beside a permit."""
        for gate in self._gates:
            eventually(lambda gate=gate: not (gate.permits and gate.waiting))
            if gate.waiting:
                gate.release()
                self.given.append(True)


def at_once(calls, function, **keywords):
    """Calls `function` so that no signal handler can run between its return and the entry of its result in `calls`."""
    calls.extend(itertools.starmap(functools.partial(function, **keywords), [()]))


class Signals:
    """A signal every now and then to the main thread, whose handler waits, gives, or raises Interrupted."""

    def __init__(self, rng, gate):
        self._gate = gate
        self._rng = random.Random(rng.random())
        self._armed = []
        self._stop = threading.Event()
        self.count = self.raised = 0
        self.taken = []
        self.given = []
        self._before = signal.signal(signal.SIGUSR1, self._handle)
        self._sender = spawn(self._send, random.Random(rng.random()))

    def _send(self, rng):
        while not self._stop.wait(rng.random() * 0.002):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def _handle(self, *_):
        self.count += 1
        if self._armed and self._rng.random() < 0.5:
            self._armed.clear()
            self.raised += 1
            raise Interrupted
        if self._rng.random() < 0.5:
            with contextlib.suppress(Timeout):
                at_once(self.taken, self._gate.wait, timeout=self._rng.choice([0, 0.0003]))
        else:
            self.given.append(True)
            self._gate.release()

    def wait_interruptibly(self):
        """A wait of the main thread, which a handler may end with Interrupted."""
        with contextlib.suppress(Interrupted):
            with contextlib.suppress(Timeout):
                self._armed.append(True)
                at_once(self.taken, self._gate.wait, timeout=0.002)
            self._armed.clear()

    def end(self):
        self._stop.set()
        self._sender.result()
        signal.signal(signal.SIGUSR1, self._before)


def test_each_permission_is_used_once_or_passed_on(rng, seconds):
    gate = probe.Gate()

    def wait(rng):
        gate.wait(timeout=rng.choice(PATIENCE), spinning=rng.random() < 0.3)

    async def insist():
        with contextlib.suppress(asyncio.CancelledError):  # it has taken a permit then, too
            await gate.wait_async(insists=True)
        return True

    def wait_async(rng):
        if rng.random() < 0.2:
            return insist()
        return gate.wait_async(timeout=rng.choice(PATIENCE))

    crowd = Crowd(rng, wait, wait_async)
    giver = Giver(rng, [gate])
    signals = Signals(rng, gate)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or not signals.raised:
        for _ in range(rng.randrange(20)):
            giver.give()
        signals.wait_interruptibly()
    signals.end()
    giver.wake_all()
    crowd.end(giver.feed)

    assert len(crowd.taken) > WORKERS
    assert len(giver.given) + len(signals.given) == len(crowd.taken) + len(signals.taken) + gate.permits
    assert gate.waiting == 0


def test_a_waiter_on_three_gates_is_claimed_by_exactly_one(rng, seconds):
    gates = [probe.Gate() for _ in range(3)]

    def some_of_them(rng):
        return probe.Several(*rng.sample(gates, rng.choice([1, 2, 3, 3, 3])))

    crowd = Crowd(
        rng,
        lambda rng: some_of_them(rng).wait(timeout=rng.choice(PATIENCE)),
        lambda rng: some_of_them(rng).wait_async(timeout=rng.choice(PATIENCE)),
    )
    giver = Giver(rng, gates)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(rng.randrange(20)):
            giver.give()
        time.sleep(rng.random() * 0.001)
    giver.wake_all()
    crowd.end(giver.feed)

    assert len(crowd.taken) > WORKERS
    assert len(giver.given) == len(crowd.taken) + sum(gate.permits for gate in gates)
    assert [gate.waiting for gate in gates] == [0, 0, 0]


def test_several_givers_at_once(rng, seconds):
    """Claims meet claims: four threads give while the crowd takes."""
    gate = probe.Gate()
    crowd = Crowd(
        rng,
        lambda rng: gate.wait(timeout=rng.choice(PATIENCE), spinning=rng.random() < 0.5),
        lambda rng: gate.wait_async(timeout=rng.choice(PATIENCE)),
    )
    givers = [Giver(random.Random(rng.random()), [gate]) for _ in range(4)]
    deadline = time.monotonic() + seconds

    def give(giver):
        while time.monotonic() < deadline:
            for _ in range(10):
                giver.give()
            time.sleep(0.0002)
        giver.wake_all()

    for giving in [spawn(give, giver) for giver in givers]:
        giving.result()
    crowd.end(givers[0].feed)

    assert len(crowd.taken) > WORKERS
    assert sum(len(giver.given) for giver in givers) == len(crowd.taken) + gate.permits
    assert gate.waiting == 0
