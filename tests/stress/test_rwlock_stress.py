"""Conservation under load: whoever reads sees no writer at work, whoever writes is alone, and nobody is forgotten."""

import asyncio
import collections
import contextlib
import gc
import random
import threading
import time
import warnings

import pytest

from ferrule import RWLock, Timeout
from ferrule.debug import deadlocks
from tests.support.driver import LoopThread
from tests.support.loops import LOOPS
from tests.support.race import HANG, eventually, run_together, spawn, storm
from tests.support.rwlocks import FREE

pytestmark = pytest.mark.stress


@pytest.fixture
def seconds(seconds):
    """A quarter of what others take: there are many of these."""
    return seconds / 4


class Pair:
    """What the lock protects: two numbers that differ only while somebody writes."""

    def __init__(self):
        self.left = self.right = 0
        self.added = collections.Counter()

    def check(self):
        left = self.left
        pause()
        assert left == self.right, "a reader met a writer"

    def add(self, who):
        self.check()
        self.left += 1
        pause()
        self.right += 1
        self.added[who] += 1
        self.check()


def pause():
    """Now and then another thread's turn, in the middle of things."""
    if random.random() < 0.02:
        time.sleep(0)


def settled(lock):
    """The lock is free and intact, and nobody's work on its value is lost."""
    assert lock._state() == FREE
    with lock.write(timeout=HANG) as guard:
        assert guard.value.left == guard.value.right == sum(guard.value.added.values())
        return guard.value


def visit(lock, who, rng):
    """One visit by any of the ways in and through; how often it wrote."""
    wrote = 0

    def write(guard):
        nonlocal wrote
        guard.value.add(who)
        wrote += 1

    patience = {"timeout": rng.choice([None, None, 1.0, 1e-3, 1e-4])}
    try:
        match rng.randrange(11):
            case 0 | 1:
                with lock.read(**patience) as guard:
                    guard.value.check()
                    if rng.random() < 0.2:
                        with lock.read_recursive() as again:
                            again.value.check()
                    if rng.random() < 0.2:
                        guard.release(fair=True)
            case 2:
                with lock.write(**patience) as guard:
                    write(guard)
                    if rng.random() < 0.3:
                        guard.release(fair=True)
            case 3:
                with lock.write(**patience) as guard:
                    write(guard)
                    reader = guard.downgrade()
                    reader.value.check()
            case 4:
                with lock.write(**patience) as guard:
                    write(guard)
                    guard = guard.downgrade_to_upgradable()
                    guard.value.check()
                    with contextlib.suppress(Timeout):
                        write(guard.upgrade(timeout=rng.choice([0, 1e-4, 1e-2])))
            case 5:
                with lock.upgradable_read(**patience) as guard:
                    guard.value.check()
                    with guard.upgraded() as writer:
                        write(writer)
                    guard.value.check()
            case 6:
                with lock.upgradable_read(**patience) as guard:
                    seen = guard.value.left
                    if (writer := guard.try_upgrade()) is not None:
                        assert writer.value.left == seen, "a writer came between"
                        write(writer)
                    else:
                        guard.downgrade().value.check()
            case 7:
                with lock.upgradable_read(**patience) as guard:
                    seen = guard.value.left
                    writer = guard.upgrade()
                    assert writer.value.left == seen, "a writer came between"
                    write(writer)
            case 8:
                for attempt in (lock.try_read, lock.try_read_recursive, lock.try_upgradable_read):
                    if (guard := attempt()) is not None:
                        guard.value.check()
                        guard.release()
                if (guard := lock.try_write()) is not None:
                    write(guard)
                    guard.release()
            case 9:
                with lock.read(**patience) as guard, guard.unlocked():
                    pause()
            case 10:
                with lock.write(**patience) as guard:
                    write(guard)
                    with guard.unlocked():
                        pause()
                    write(guard)
    except Timeout:
        pass
    return wrote


@pytest.mark.parametrize("threads", [2, 8])
def test_every_way_in_from_threads(threads, rng, seconds):
    lock = RWLock(Pair())
    rngs = [random.Random(rng.random()) for _ in range(threads)]
    wrote = [0] * threads

    def work(number):
        wrote[number] += visit(lock, number, rngs[number])

    storm(threads, work, seconds * 2)
    assert settled(lock).added == {n: count for n, count in enumerate(wrote) if count}


async def visit_async(lock, who, rng):
    """visit(), by a task that may be cancelled anywhere."""
    face = lock.aio
    patience = {"timeout": rng.choice([None, None, 1.0, 1e-3])}
    with contextlib.suppress(Timeout):
        match rng.randrange(7):
            case 0 | 1:
                async with face.read(**patience) as guard:
                    guard.value.check()
                    await asyncio.sleep(0)
                    guard.value.check()
                    if rng.random() < 0.2:
                        async with face.read_recursive() as again:
                            again.value.check()
            case 2:
                async with face.write(**patience) as guard:
                    guard.value.add(who)
                    await asyncio.sleep(0)
                    guard.value.add(who)
            case 3:
                async with face.write(**patience) as guard:
                    guard.value.add(who)
                    reader = guard.downgrade()
                    await asyncio.sleep(0)
                    reader.value.check()
            case 4:
                async with face.upgradable_read(**patience) as guard:
                    guard.value.check()
                    async with guard.upgraded() as writer:
                        writer.value.add(who)
                        await asyncio.sleep(0)
                    guard.value.check()
            case 5:
                async with face.upgradable_read(**patience) as guard:
                    seen = guard.value.left
                    writer = await guard.upgrade(timeout=rng.choice([None, 1e-3]))
                    assert writer.value.left == seen, "a writer came between"
                    writer.value.add(who)
            case 6:
                async with face.read(**patience) as guard, guard.unlocked():
                    await asyncio.sleep(0)


@pytest.mark.parametrize("loops", [["asyncio"], LOOPS[1:], ["asyncio", "asyncio"]], ids=["one", "uvloop", "two"])
def test_tasks_and_threads_with_cancellations(loops, rng, seconds):
    """A third of the tasks are cancelled somewhere; the threads go on all the while."""
    if any(not isinstance(name, str) for name in loops):
        pytest.importorskip("uvloop")
        loops = ["uvloop"]
    lock = RWLock(Pair())

    async def crowd(seed):
        rng = random.Random(seed)
        deadline = time.monotonic() + seconds * 2
        while time.monotonic() < deadline:
            tasks = [asyncio.create_task(visit_async(lock, "task", rng)) for _ in range(20)]
            for task in rng.sample(tasks, 7):
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
            done, _ = await asyncio.wait(tasks, timeout=HANG)
            assert len(done) == len(tasks), f"not all ended: {lock._state()}"
            for task in done:
                if not task.cancelled():
                    task.result()

    rngs = [random.Random(rng.random()) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        crowds = [stack.enter_context(LoopThread(name)).spawn(crowd(rng.random())) for name in loops]
        storm(2, lambda n: visit(lock, n, rngs[n]), seconds * 2)
        for one in crowds:
            one.result(HANG)
    settled(lock)


@pytest.mark.parametrize("debug", [False, True])
def test_no_deadlock_is_seen_where_there_is_none(debug, rng, seconds):
    """Of those who wait only upgraders hold something, and they wait for readers, who go on."""
    lock = RWLock(Pair(), debug=debug)
    rngs = [random.Random(rng.random()) for _ in range(3)]

    async def crowd():
        deadline = time.monotonic() + seconds * 2
        while time.monotonic() < deadline:
            await asyncio.gather(*(visit_async(lock, "task", rngs[0]) for _ in range(10)))

    def work(number):
        if number == 0:
            assert deadlocks() == []
        else:
            visit(lock, number, rngs[number])

    with LoopThread() as there:
        tasks = there.spawn(crowd())
        storm(3, work, seconds * 2)
        tasks.result(HANG)
    settled(lock)
    assert lock._holders(None) == []


def test_five_upgraders_writers_and_readers_never_see_what_is_half_done(seconds):
    """An upgrader writes in two steps, the second after a downgrade of the first; nobody sees the value between."""
    lock = RWLock([0, 0])

    def upgrade(_):
        with lock.upgradable_read() as guard:
            before = guard.value[0]
            with guard.upgraded() as writer:
                assert writer.value[0] == before
                writer.value[0] += 1
                time.sleep(0)
                writer.value[1] += 1
            assert guard.value[0] == before + 1

    def write(_):
        with lock.write() as guard:
            guard.value[0] += 1
            time.sleep(0)
            guard.value[1] += 1

    def read(_):
        with lock.read() as guard:
            assert guard.value[0] == guard.value[1]

    roles = [upgrade] * 5 + [write, read]
    calls = storm(7, lambda n: roles[n](n), seconds)
    assert lock._state() == FREE
    with lock.read() as guard:
        assert guard.value == [sum(calls[:6])] * 2


def test_the_value_is_stable_across_downgrades(seconds):
    """8 threads, each writes its own number, downgrades, and must go on finding it."""
    lock = RWLock(None)

    def work(number):
        with lock.write() as guard:
            guard.value = number
            reader = guard.downgrade()
            for _ in range(3):
                assert reader.value == number
                time.sleep(0)

    calls = storm(8, work, seconds)
    assert min(calls) >= 1
    assert lock._state() == FREE


def test_a_thousand_time_outs_of_writers_leave_the_readers_and_the_word_intact():
    lock = RWLock()
    reader = lock.read()
    for _ in range(1000):
        with pytest.raises(Timeout):
            lock.write(timeout=1e-6)
    assert lock._state() == FREE | {"readers": 1}
    second = lock.try_read()
    assert second is not None
    second.release()
    reader.release()
    guard = lock.write(timeout=1)
    guard.release()
    assert lock._state() == FREE


def test_readers_go_on_when_queued_writers_time_out_all_the_time(rng, seconds):
    """One reader is always inside, so no writer ever gets in: each time-out must let the others read."""
    lock = RWLock()
    kept = lock.read()

    def work(number):
        if number < 2:
            with pytest.raises(Timeout):
                lock.write(timeout=rng.choice([1e-5, 1e-4, 1e-3]))
        else:
            lock.read(timeout=HANG).release()

    storm(6, work, seconds)
    kept.release()
    assert lock._state() == FREE


@pytest.mark.parametrize(
    ("many", "one"), [("read", "write"), ("write", "read"), ("read", "upgradable"), ("write", "upgradable")]
)
def test_nobody_starves(many, one, seconds):
    """Eight hold it over and over in sleeps of a millisecond; the ninth gets in again and again."""
    lock = RWLock()
    takers = {"read": lock.read, "write": lock.write, "upgradable": lock.upgradable_read}
    stop = threading.Event()
    calls = collections.Counter()

    def hammer(number):
        while not stop.is_set():
            with takers[many]():
                time.sleep(0.001)
            calls[number] += 1

    hammers = [spawn(hammer, n) for n in range(8)]
    try:
        eventually(lambda: len(calls) == 8)
        for _ in range(10):
            takers[one](timeout=HANG).release()
    finally:
        stop.set()
        for thread in hammers:
            thread.result()
    assert lock._state() == FREE


def test_an_upgrader_among_both_does_not_starve(seconds):
    lock = RWLock(0)
    stop = threading.Event()

    def hammer(take):
        while not stop.is_set():
            with take():
                time.sleep(0.0005)

    hammers = [spawn(hammer, take) for take in [lock.read] * 4 + [lock.write] * 2]
    try:
        for _ in range(10):
            with lock.upgradable_read(timeout=HANG) as guard:
                writer = guard.upgrade(timeout=HANG)
                writer.value += 1
    finally:
        stop.set()
        for thread in hammers:
            thread.result()
    assert lock._state() == FREE


def test_guards_that_are_dropped_release(rng, seconds):
    """Half of the holds are forgotten instead of released."""
    lock = RWLock(Pair())

    def work(number):
        guard = rng.choice([lock.read, lock.write, lock.upgradable_read])(timeout=HANG)
        if rng.random() < 0.5:
            guard.release()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        storm(4, work, seconds)
        gc.collect()
    settled(lock)


def test_racing_ends_and_conversions_of_one_hold(seconds):
    """Of a release, a downgrade and an upgrade that race exactly one takes effect, and the lock ends free."""
    lock = RWLock()

    def attempt(call):
        try:
            return call()
        except RuntimeError:
            return RuntimeError

    def race(_):
        guard = lock.upgradable_read()
        outcomes = run_together(
            lambda: attempt(guard.release), lambda: attempt(guard.downgrade), lambda: attempt(guard.try_upgrade)
        )
        assert sum(result is not RuntimeError for result in outcomes) == 1
        for result in outcomes[1:]:
            if result is not RuntimeError:
                result.release()
        assert lock._state() == FREE

    storm(1, race, seconds)
