"""ferrule.debug.deadlocks(): cycles of threads and tasks that wait for each other, and none where there is none."""

import asyncio
import threading

import pytest

import ferrule
from ferrule import ConcurrentMap, Condition, Mutex, RWLock
from ferrule._core.parking import sleepers
from ferrule.debug import Held, deadlocks
from tests.support.conditions import waiting
from tests.support.driver import HandLoop, LoopThread, Stepper
from tests.support.locks import LOCKS, kinds
from tests.support.race import HANG, eventually, spawn


class Ring:
    """Threads that each hold one thing and want the next one, until one of the holds is taken from them.

    Each thing: (the object, a function that holds it, a function that wants it).
    """

    def __init__(self, *things):
        self.guards = []
        barrier = threading.Barrier(len(things))

        def run(hold, want):
            with hold() as guard:
                self.guards.append(guard)
                barrier.wait(HANG)
                with want():
                    pass

        self.threads = [
            spawn(run, thing[1], things[(n + 1) % len(things)][2], name=f"philosopher {n}")
            for n, thing in enumerate(things)
        ]

    def end(self):
        self.guards[0].release()
        for thread in self.threads:
            thread.result()


def mutex():
    lock = Mutex()
    return lock, lock.lock, lock.lock


def entry():
    table = ConcurrentMap()
    return table, lambda: table.entry("key"), lambda: table.entry("key")


def rwlock(hold, want, **named):
    lock = RWLock(**named)
    return lock, getattr(lock, hold), getattr(lock, want)


RINGS = {
    "two mutexes": lambda: [mutex(), mutex()],
    "three of all kinds": lambda: [mutex(), entry(), rwlock("write", "read")],
    "two entries": lambda: [entry(), entry()],
    "two locks to write": lambda: [rwlock("write", "write"), rwlock("write", "write")],
    "upgradable": lambda: [rwlock("upgradable_read", "upgradable_read"), mutex()],
    "readers that write, recorded": lambda: [rwlock("read", "write", debug=True), rwlock("read", "write", debug=True)],
}


@pytest.mark.parametrize("kind", RINGS)
def test_a_ring_of_threads_is_one_cycle(kind):
    things = RINGS[kind]()
    ring = Ring(*things)
    cycles = eventually(deadlocks)
    ring.end()
    assert len(cycles) == 1
    (cycle,) = cycles
    assert all(type(held) is Held for held in cycle)
    objects = [thing[0] for thing in things]
    assert {id(held.object) for held in cycle} == {id(thing) for thing in objects}
    for held, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        assert held.waits_for is following.object
        number = next(n for n, thing in enumerate(objects) if thing is held.object)
        assert held.holder == f"thread 'philosopher {number}'"
        assert held.waits_for is objects[(number + 1) % len(objects)]
        assert (held.stack is not None) is ("recorded" in kind)
        if held.stack is not None:
            assert "in run" in held.stack
    assert deadlocks() == []


def test_readers_that_are_not_recorded_are_not_seen():
    things = [rwlock("read", "write"), rwlock("read", "write")]
    ring = Ring(*things)
    eventually(lambda: all(len(lock._state()["waiters"]) == 1 for lock, _, _ in things))
    assert deadlocks() == []
    ring.end()


def test_nobody_waits_or_only_in_a_row():
    assert deadlocks() == []
    one, other = Mutex(), Mutex()
    with one:

        def hold_and_wait():
            with other:
                one.lock().release()

        first = spawn(hold_and_wait)
        eventually(lambda: one._state()["waiters"])
        second = spawn(lambda: other.lock().release())
        eventually(lambda: other._state()["waiters"])
        assert deadlocks() == []
    first.result()
    second.result()


def test_who_waits_for_a_cycle_from_outside_is_not_in_it():
    things = [mutex(), mutex()]
    ring = Ring(*things)
    eventually(deadlocks)
    outside = spawn(things[0][2])
    eventually(lambda: len(things[0][0]._state()["waiters"]) == 2)
    assert [len(cycle) for cycle in deadlocks()] == [2]
    ring.end()
    outside.result().release()


def test_two_cycles_at_once():
    rings = [Ring(mutex(), mutex()), Ring(mutex(), entry(), mutex())]
    cycles = eventually(lambda: len(found := deadlocks()) == 2 and found)
    assert sorted(len(cycle) for cycle in cycles) == [2, 3]
    for ring in rings:
        ring.end()


@pytest.mark.parametrize("debug", [False, True])
def test_two_tasks(debug, loop_name):
    one, other = ferrule.aio.RWLock(debug=debug), ferrule.aio.RWLock(debug=debug)

    async def cross(mine, wanted, both):
        async with mine.write():
            await both.wait()
            async with wanted.write():
                pass

    async def main():
        both = asyncio.Barrier(2)
        tasks = [
            asyncio.create_task(cross(one, other, both), name="left"),
            asyncio.create_task(cross(other, one, both), name="right"),
        ]
        while not (cycles := deadlocks()):
            await asyncio.sleep(0.001)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        return cycles

    with LoopThread(loop_name) as there:
        (cycle,) = there.run(main())
    assert {id(held.object) for held in cycle} == {id(one.sync), id(other.sync)}
    for held in cycle:
        if debug:
            name = "left" if held.object is one.sync else "right"
            assert held.holder.startswith(f"task '{name}' of thread ")
            assert "in cross" in held.stack
        else:
            assert held.holder == f"a task of thread '{loop_name}-thread'"
            assert held.stack is None


def test_a_thread_that_stops_its_loop_and_a_task_there_that_holds(loop_name):
    """The task cannot act while its thread sleeps, so it is the holder in the cycle, and the thread's wait stops it."""
    held, wanted = Mutex(), Mutex()
    guard = None

    def other():
        nonlocal guard
        with wanted.lock() as guard, held.lock():
            pass

    async def main():
        async with held.aio:
            thread = spawn(other, name="other")
            eventually(lambda: held._state()["waiters"])
            wanted.lock().release()
        return thread

    with LoopThread(loop_name) as there:
        future = there.spawn(main())
        (cycle,) = eventually(deadlocks)
        guard.release()
        future.result(HANG).result()
    assert {one.holder for one in cycle} == {"thread 'other'", f"a task of thread '{loop_name}-thread'"}


def test_an_upgrade_that_waits_for_a_reader_that_waits_for_its_holder():
    lock, gate = RWLock(debug=True), Mutex()
    taken = []

    def read():
        with lock.read() as guard:
            taken.append(guard)
            gate.lock().release()

    def upgrade():
        with gate, lock.upgradable_read() as guard:
            readers.append(spawn(read, name="reader"))
            eventually(lambda: gate._state()["waiters"])
            guard.upgrade()

    readers = []
    upgrader = spawn(upgrade, name="upgrader")
    (cycle,) = eventually(deadlocks)
    assert {held.holder for held in cycle} == {"thread 'reader'", "thread 'upgrader'"}
    taken[0].release()
    upgrader.result()
    readers[0].result()
    assert deadlocks() == []


def test_a_ring_of_tasks_of_two_loops_and_of_threads(loop_name):
    objects = [Mutex(), RWLock(), Mutex(), ConcurrentMap()]
    takes = [objects[0].lock, objects[1].write, objects[2].lock, lambda: objects[3].entry("key")]
    takes_async = [objects[0].aio.lock, objects[1].aio.write, objects[2].aio.lock]
    inside = []

    async def hold_and_want_async(number):
        async with takes_async[number]():
            inside.append(number)
            while len(inside) < 4:
                await asyncio.sleep(0.001)
            async with takes_async[number + 1]():
                pass

    def hold_and_want(number):
        with takes[number]():
            inside.append(number)
            eventually(lambda: len(inside) == 4)
            with takes[(number + 1) % 4]():
                pass

    with LoopThread(loop_name) as here, LoopThread(loop_name) as there:
        futures = [here.spawn(hold_and_want_async(0)), there.spawn(hold_and_want_async(1))]
        threads = [spawn(hold_and_want, number, name=f"thread {number}") for number in (2, 3)]
        (cycle,) = eventually(deadlocks)
        futures[0].cancel()
        futures[1].result(HANG)
        for thread in threads:
            thread.result()
    task = f"a task of thread '{loop_name}-thread'"
    holders = [task, task, "thread 'thread 2'", "thread 'thread 3'"]
    assert {id(held.object) for held in cycle} == {id(thing) for thing in objects}
    for held in cycle:
        number = next(n for n, thing in enumerate(objects) if thing is held.object)
        assert held.waits_for is objects[(number + 1) % 4]
        assert held.holder == holders[number]
    assert deadlocks() == []


def test_two_upgraders_wait_for_each_other():
    """One has the upgradable hold and waits for the readers; the other reads, and waits for that hold."""
    lock = RWLock(debug=True)
    taken, upgrades = threading.Event(), threading.Event()
    readers = []

    def upgrade():
        with lock.upgradable_read() as guard:
            taken.set()
            upgrades.wait(HANG)
            guard.upgrade()

    def read():
        with lock.read() as guard:
            readers.append(guard)
            lock.upgradable_read().release()

    threads = [spawn(upgrade, name="upgrader")]
    taken.wait(HANG)
    threads.append(spawn(read, name="reader"))
    eventually(lambda: len(lock._state()["waiters"]) == 1)
    assert deadlocks() == [], "the hold that is waited for may end"
    upgrades.set()
    (cycle,) = eventually(deadlocks)
    readers[0].release()
    for thread in threads:
        thread.result()
    assert sorted(held.holder for held in cycle) == ["thread 'reader'", "thread 'upgrader'"]
    for held in cycle:
        assert held.object is held.waits_for is lock
        assert "in read" in held.stack or "in upgrade" in held.stack
    assert deadlocks() == []


@pytest.mark.parametrize("is_behind", [False, True], ids=["alone", "behind a writer"])
def test_who_waits_for_the_upgradable_hold_waits_for_readers_only_behind_a_writer(is_behind):
    """A reader waits for a mutex whose holder waits for the upgradable hold of a third."""
    lock, gate = RWLock(debug=True), Mutex()
    readers = []

    def waiters():
        return len(lock._state()["waiters"])

    def read():
        with lock.read() as guard:
            readers.append(guard)
            gate.lock().release()

    def want(take, after):
        eventually(lambda: waiters() == after)
        take().release()

    def hold_gate_and_want():
        with gate:
            eventually(lambda: gate._state()["waiters"])
            want(lock.upgradable_read, int(is_behind))

    other = lock.upgradable_read()
    threads = [spawn(hold_gate_and_want, name="wants")]
    eventually(gate.locked)
    threads.append(spawn(read, name="reads"))
    if is_behind:
        threads.append(spawn(want, lock.write, 0))
    eventually(lambda: waiters() == 1 + is_behind)
    eventually(lambda: sum(target in (lock, gate) for target, _, _ in sleepers()) == 2 + is_behind)  # and look no more
    cycles = deadlocks()
    other.release()
    if is_behind:  # a ring: else the reader goes on by itself, and its guard with it
        readers[0].release()
    for thread in threads:
        thread.result()
    assert [{held.holder for held in cycle} for cycle in cycles] == is_behind * [{"thread 'reads'", "thread 'wants'"}]


@pytest.mark.parametrize("way", [way for way in LOCKS if way.fair], ids=str)
def test_a_task_that_was_handed_it_and_has_not_run_does_not_wait_for_itself(way):
    lock, loop = way.make(), HandLoop()
    hold = way.taken_by_another(lock)
    with loop.running():
        stepper = Stepper(way.take_async(lock))
        stepper.step()
    behind = spawn(way.take, lock)
    eventually(lambda: len(kinds(lock)) == 2)
    spawn(way.end, lock, hold).result()
    assert kinds(lock) == ["thread"], "it was handed over"
    assert deadlocks() == []
    loop.turn()
    with loop.running():
        stepper.step()
    way.end(lock, stepper.result())
    way.end(lock, behind.result())
    assert lock._state() == way.free


@pytest.mark.parametrize("make", [mutex, lambda: rwlock("write", "write")], ids=["Mutex", "RWLock"])
def test_the_end_of_an_unlocked_block_is_a_wait_as_any_other(make):
    (one, hold_one, _), (other, hold_other, want_other) = make(), make()
    taken, threads = [], []

    def second():
        with hold_one() as guard:
            taken.append(guard)
            with want_other():
                pass

    def first():
        with hold_other(), hold_one() as guard, guard.unlocked():
            threads.append(spawn(second, name="second"))
            eventually(lambda: other._state()["waiters"])

    threads.append(spawn(first, name="first"))
    (cycle,) = eventually(deadlocks)
    assert {(held.holder, id(held.object)) for held in cycle} == {
        ("thread 'first'", id(other)),
        ("thread 'second'", id(one)),
    }
    taken[0].release()
    for thread in threads:
        thread.result()
    assert deadlocks() == []


@pytest.mark.parametrize("notified", [False, True])
def test_who_was_notified_wants_the_mutex_back(notified):
    """One waits at a condition and has another lock; the other has the mutex again and wants that lock."""
    mutex, other = Mutex(), Mutex()
    condition = Condition(mutex)
    wants = threading.Event()

    def waits():
        with other, condition:
            condition.wait()

    def notifies():
        with condition as guard:
            held.append(guard)
            if notified:
                condition.notify()
            wants.set()
            with other:
                pass

    held = []
    waiting = spawn(waits, name="waits")
    eventually(lambda: condition._state())
    notifying = spawn(notifies, name="notifies")
    wants.wait(HANG)
    eventually(lambda: other._state()["waiters"])
    if notified:
        eventually(deadlocks)
        [cycle] = deadlocks()
        assert {(hold.holder, hold.object, hold.waits_for) for hold in cycle} == {
            ("thread 'waits'", other, mutex),
            ("thread 'notifies'", mutex, other),
        }
    else:
        assert deadlocks() == []
    held[0].release()
    if not notified:
        with condition:
            condition.notify()
    waiting.result()
    notifying.result()


def test_a_task_that_was_notified_wants_the_mutex_back(loop_name):
    mutex, other = Mutex(), Mutex()
    condition = Condition(mutex)

    async def waits():
        async with other.aio, condition.aio:
            await condition.aio.wait()

    def notifies():
        with condition as guard:
            held.append(guard)
            condition.notify()
            with other:
                pass

    held = []
    with LoopThread(loop_name) as there:
        future = there.spawn(waits())
        eventually(lambda: waiting(condition))
        notifying = spawn(notifies, name="notifies")
        [cycle] = eventually(deadlocks)
        held[0].release()
        future.result(HANG)
        notifying.result()
    assert {(hold.holder, hold.object, hold.waits_for) for hold in cycle} == {
        (f"a task of thread '{loop_name}-thread'", other, mutex),
        ("thread 'notifies'", mutex, other),
    }


@pytest.mark.parametrize("wait", ["acquire", "wait"])
def test_a_task_that_waits_without_a_hold_does_not_stop_the_others_of_its_loop(wait, loop_name):
    """It wants a mutex whose holder wants what another task of the loop holds, which may go on."""
    mutex, other = Mutex(), Mutex()
    condition = Condition(mutex)
    held = []

    async def wants():
        await mutex.aio.acquire()
        if wait == "wait":
            await condition.aio.wait()
        mutex.release()

    async def holds(going_on):
        async with other.aio:
            await going_on.wait()

    def crosses():
        with mutex.lock() as guard:
            held.append(guard)
            condition.notify()
            other.lock().release()

    with LoopThread(loop_name) as there:
        going_on = there.call(asyncio.Event)
        futures = [there.spawn(holds(going_on))]
        eventually(other.locked)
        if wait == "wait":
            futures.append(there.spawn(wants()))
            eventually(lambda: waiting(condition))
        crossing = spawn(crosses)
        eventually(lambda: kinds(other))
        if wait == "acquire":
            futures.append(there.spawn(wants()))
        eventually(lambda: kinds(mutex) == ["task"])
        assert deadlocks() == []
        there.call(going_on.set)
        for future in futures:
            future.result(HANG)
        crossing.result()
    assert mutex._state() == other._state()
