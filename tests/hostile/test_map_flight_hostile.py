"""Factories, keys and values of get_or_compute() that do the worst; signals, forks, the end of the interpreter."""

import asyncio
import contextvars
import gc
import os
import threading
import weakref

import pytest

from ferrule import ConcurrentMap, WouldDeadlock
from tests.support.flights import Factory, assert_landed, computing
from tests.support.hostile import calling, hostile, raising, unraisable
from tests.support.leaks import in_subprocess
from tests.support.maps import Key, assert_at_rest
from tests.support.race import HANG, eventually, outcome, spawn


class Fault(Exception):
    pass


class TestFactories:
    @pytest.mark.parametrize(
        "does",
        [
            lambda m: m.clear(),
            lambda m: m.pop("k", None),
            lambda m: m.update((n, n) for n in range(1000)),
            lambda m: m.shrink(),
            lambda m: m.reserve(10000),
            lambda m: m.snapshot(),
            lambda m: m.entry("k").release(),
            lambda m: list(m.items()),
            lambda m: m.get_or_compute("other", lambda: m.clear()),
            lambda m: gc.collect(),
        ],
    )
    def test_that_use_the_map(self, does):
        m = ConcurrentMap({"there": 1})
        assert m.get_or_compute("k", lambda: (does(m), "value")[1]) == "value"
        assert m["k"] == "value"
        assert_landed(m)

    def test_that_drop_the_map(self):
        box = [ConcurrentMap()]
        gone = weakref.ref(box[0])

        def factory():
            box.clear()
            gc.collect()
            return gone() is not None

        assert box[0].get_or_compute("k", factory) is True
        gc.collect()
        assert gone() is None

    def test_that_raise_from_far_below(self):
        m = ConcurrentMap()

        def deep(n):
            if n == 0:
                raise Fault
            return m.get_or_compute(n, lambda: deep(n - 1))

        with pytest.raises(Fault):
            deep(100)
        assert_landed(m, {})

    def test_that_recurse_without_end(self):
        m = ConcurrentMap()

        def endless(n):
            return m.get_or_compute(n, lambda: endless(n + 1))

        with pytest.raises(RecursionError):
            endless(0)
        assert_landed(m, {})

    def test_that_leave_a_value_whose_destructor_asks_again(self):
        """The value that was computed but lost to one that was put in dies after all is over."""
        m = ConcurrentMap()
        seen = []

        def factory():
            m["k"] = "theirs"
            return hostile(__del__=calling(lambda: seen.append(m.get_or_compute("k", Factory("never")))))

        assert m.get_or_compute("k", factory) == "theirs"
        gc.collect()
        assert seen == ["theirs"]
        assert_landed(m, {"k": "theirs"})

    def test_whose_own_destructor_uses_the_map(self):
        m = ConcurrentMap()
        seen = []

        class Callable:
            def __call__(self):
                raise Fault

            def __del__(self):
                seen.append(m.get_or_compute("k", Factory("destructor's")))

        with pytest.raises(Fault) as raised:
            m.get_or_compute("k", Callable())
        del raised
        gc.collect()
        assert seen == ["destructor's"]
        assert_landed(m, {"k": "destructor's"})


class TestKeys:
    def test_whose_comparison_raises(self):
        """Before the factory, or after it: then the turn passes on, and the error is the caller's."""
        m = ConcurrentMap()
        factory = Factory("value", closed=True)
        running = computing(m, Key("k", 5), factory)

        class Raising(Key):
            __hash__ = Key.__hash__

            def __eq__(self, other):
                raise Fault

        with pytest.raises(Fault):
            m.get_or_compute(Raising("raising", 5), Factory(1))
        assert len(m._state()) == 1
        factory.open()
        assert running.result() == "value"
        assert_landed(m, {Key("k", 5): "value"})

    def test_whose_comparison_raises_at_publication(self):
        m = ConcurrentMap()
        raises = []

        class Changing(Key):
            __hash__ = Key.__hash__

            def __eq__(self, other):
                if raises:
                    raise Fault
                return super().__eq__(other)

        def factory():
            m[Key("other", 5)] = 0
            raises.append(True)
            return "value"

        with pytest.raises(Fault):
            m.get_or_compute(Changing("k", 5), factory)
        assert_landed(m, {Key("other", 5): 0})

    def test_whose_comparison_asks_for_them(self):
        m = ConcurrentMap({Key("other", 5): 0})

        class Asking(Key):
            __hash__ = Key.__hash__
            depth = 0

            def __eq__(self, other):
                if Asking.depth < 3:
                    Asking.depth += 1
                    m.get_or_compute(Key("third", 5), Factory("third"))
                return super().__eq__(other)

        assert m.get_or_compute(Asking("k", 5), Factory("value")) == "value"
        assert_landed(m, {Key("other", 5): 0, Key("third", 5): "third", Key("k", 5): "value"})

    def test_that_are_put_in_between_the_look_and_the_turn(self):
        """By the comparison with another key that is being computed: so a look is needed once the turn is taken."""
        m = ConcurrentMap()
        other = Factory("other's", closed=True)
        running = computing(m, Key("other", 5), other)

        class Publishing(Key):
            __hash__ = Key.__hash__

            def __eq__(self, other):
                m.setdefault("k", "theirs") and m.setdefault(Key("k", 5), "theirs")
                return super().__eq__(other)

        factory = Factory("ours")
        assert m.get_or_compute(Publishing("k", 5), factory) == "theirs"
        assert factory.runs == 0
        other.open()
        running.result()
        assert_landed(m, {"k": "theirs", Key("k", 5): "theirs", Key("other", 5): "other's"})

    def test_whose_repr_raises(self):
        class Nameless(Key):
            __hash__ = Key.__hash__
            __eq__ = Key.__eq__

            def __repr__(self):
                raise Fault

        m = ConcurrentMap()
        key = Nameless("k")
        factory = Factory(1, closed=True)
        running = computing(m, key, factory)
        with pytest.raises(Fault):
            m.get_or_compute(key, Factory(2), timeout=0)
        factory.open()
        running.result()
        del m[key]
        with pytest.raises(Fault):
            m.get_or_compute(key, lambda: m.get_or_compute(key, Factory(2)))
        assert_landed(m, {})

    @pytest.mark.parametrize("key", [float("nan"), -1, -2, 2**61 - 1, (), "", b"", True, None])
    def test_odd_ones(self, key):
        m = ConcurrentMap()
        assert m.get_or_compute(key, Factory(1)) == 1
        assert m.get_or_compute(key, Factory(2)) == 1
        assert_landed(m, {key: 1})

    def test_whose_hash_changes(self):
        m = ConcurrentMap()
        key = Key("k", 1)

        def factory():
            key.code = 2
            return "value"

        assert m.get_or_compute(key, factory) == "value"
        key.code = 1
        assert m.get_or_compute(key, Factory("other")) == "value"
        assert_landed(m)


class TestGarbage:
    def test_a_call_that_waits_for_its_own_garbage(self):
        """A map, the coroutine of a call on it and the flight are garbage together."""

        async def main():
            m = ConcurrentMap()
            gone = weakref.ref(m)
            factory = Factory(1)

            async def forever():
                await asyncio.get_running_loop().create_future()

            first, second = m.aio.get_or_compute("k", forever), m.aio.get_or_compute("k", factory)
            first.send(None)
            contextvars.copy_context().run(second.send, None)  # as another task
            m["cycle"] = [first, second, m]
            assert len(m._state()["k"]) == 1
            del m, first, second
            return gone, factory

        with unraisable():
            gone, factory = asyncio.run(main())
            gc.collect()
        assert gone() is None
        assert factory.runs == 0

    def test_a_value_that_refers_to_its_map_and_to_a_call(self):
        m = ConcurrentMap()
        gone = weakref.ref(m)
        m.get_or_compute("k", lambda m=m: [m, m.aio.get_or_compute, lambda: m])
        del m
        gc.collect()
        assert gone() is None

    def test_nested_deep(self):
        m = ConcurrentMap()
        for _ in range(100_000):
            outer = ConcurrentMap()
            outer.get_or_compute("k", lambda m=m: m)
            m = outer
        del m, outer
        gc.collect()

    def test_errors_that_nobody_sees(self):
        m = ConcurrentMap()
        with unraisable() as seen:
            m.get_or_compute("k", lambda: hostile(__del__=raising(Fault)))
            del m["k"]
            gc.collect()
        assert [type(error) for error in seen] == [Fault]


SETUP = """
import asyncio, gc, os, signal, sys, threading, time, warnings
from ferrule import BlockingInEventLoop, ConcurrentMap, Timeout, WouldDeadlock
from tests.support.driver import HandLoop
from tests.support.flights import AsyncFactory, Factory, assert_landed, computing, waiters
from tests.support.maps import in_thread, sleeps, this_thread, waiting
from tests.support.processes import in_child, interrupt, interrupted, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
SLEEPER = this_thread()
m = ConcurrentMap()
"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


class TestSignals:
    def test_ctrl_c_ends_a_wait(self):
        run("""
factory = Factory(1, closed=True)
running = computing(m, "k", factory)
for timeout in (None, HANG):
    with interrupted(lambda: sleeps(SLEEPER)):
        m.get_or_compute("k", Factory(2), timeout=timeout)
    assert m._state() == {"k": []}
factory.open()
assert running.result() == 1
assert_landed(m, {"k": 1})
""")

    def test_ctrl_c_ends_a_factory_and_passes_the_turn_on(self):
        run("""
def factory():
    others.append(spawn(m.get_or_compute, "k", Factory("next")))
    waiters(m, "k", 1)
    signal_when(lambda: True)
    time.sleep(HANG)

others = []
with interrupted():
    m.get_or_compute("k", factory)
assert others[0].result() == "next"
assert_landed(m, {"k": "next"})
""")

    def test_a_handler_may_ask_for_the_key_that_its_thread_waits_for(self):
        """It waits in line; for what its own thread computes it would wait for ever, and is told."""
        run("""
seen = []

def handler(*_):
    seen.append(m.get_or_compute("other", Factory("other")))
    try:
        m.get_or_compute("k", Factory("never"), timeout=0.01)
    except Timeout:
        seen.append(Timeout)

signal.signal(signal.SIGUSR1, handler)
factory = Factory(1, closed=True)
running = computing(m, "k", factory)

def direct():
    eventually(lambda: sleeps(SLEEPER))
    interrupt(signal.SIGUSR1)
    eventually(lambda: len(seen) == 2 and sleeps(SLEEPER))
    factory.open()

directing = spawn(direct)
assert m.get_or_compute("k", Factory(2)) == 1
directing.result()
assert running.result() == 1    # who computed it takes the flight out after it has woken the others
assert seen == ["other", Timeout]
assert_landed(m, {"k": 1, "other": "other"})

def computes():
    os.kill(os.getpid(), signal.SIGUSR2)
    return "computed"

def asks(*_):
    try:
        m.get_or_compute("own", Factory("never"))
    except WouldDeadlock:
        seen.append(WouldDeadlock)

signal.signal(signal.SIGUSR2, asks)
assert m.get_or_compute("own", computes) == "computed"
assert seen[2:] == [WouldDeadlock]
""")

    def test_a_storm_of_them_loses_no_turn(self):
        run("""
def attempt():
    m.get_or_compute("k", fails)

def fails():
    time.sleep(0.0001)
    raise ZeroDivisionError

def guarded():
    try:
        attempt()
    except ZeroDivisionError:
        pass

stop = []

def beside():
    while not stop:
        try:
            m.get_or_compute("k", fails)
        except ZeroDivisionError:
            pass

others = [spawn(beside) for _ in range(2)]
storm_of_interrupts(guarded)
stop.append(True)
for other in others:
    other.result()
assert_landed(m, {})
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
class TestForks:
    def test_a_child_computes_what_a_vanished_thread_was_computing(self):
        run("""
factory = Factory("parent's", closed=True)
running = computing(m, "k", factory)
others = [spawn(m.get_or_compute, "k", factory) for _ in range(3)]
waiters(m, "k", 3)

def work():
    assert m._state() == {"k": []}
    children = [spawn(m.get_or_compute, "k", Factory("child's")) for _ in range(3)]
    assert [child.result() for child in children] == ["child's"] * 3
    assert_landed(m, {"k": "child's"})

for _ in range(3):
    in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
factory.open()
assert {one.result() for one in (running, *others)} == {"parent's"}
assert_landed(m, {"k": "parent's"})
""")

    def test_a_child_that_first_gives_up_what_its_own_task_waited_for(self):
        run("""
factory = Factory("parent's", closed=True)
running = computing(m, "k", factory)
loop = HandLoop()
waits = m.aio.get_or_compute("k", Factory("never"))
with loop.running():
    waits.send(None)

def work():
    with loop.running():
        waits.close()
    assert in_thread(m.get_or_compute, "k", Factory("child's")) == "child's"
    assert_landed(m, {"k": "child's"})

in_child(work)
factory.open()
assert running.result() == "parent's"
waits.close()
assert_landed(m, {"k": "parent's"})
""")

    def test_within_a_factory_both_go_on(self):
        run("""
children = []

def factory():
    pid = os.fork()
    if pid == 0:
        try:
            m.get_or_compute("k", Factory("never"))
        except WouldDeadlock:
            other = spawn(m.get_or_compute, "k", Factory("never"))
            waiters(m, "k", 1)
            children.append(other)
            return "child's"
        os._exit(1)
    children.append(pid)
    return "parent's"

value = m.get_or_compute("k", factory)
if value == "child's":
    assert children[0].result() == "child's"
    assert_landed(m, {"k": "child's"})
    os._exit(0)
assert value == "parent's"
assert os.waitpid(children[0], 0)[1] == 0
assert_landed(m, {"k": "parent's"})
""")

    def test_while_threads_and_tasks_compute(self):
        run("""
import random
stop = []

def hammer(number):
    while not stop:
        key = random.randrange(5)
        m.get_or_compute(key, lambda: (time.sleep(0.0001), key)[1], timeout=HANG)
        m.pop(random.randrange(5), None)

async def tasks():
    async def one():
        while not stop:
            key = random.randrange(5)
            await m.aio.get_or_compute(key, lambda: asyncio.sleep(0.0001, key))
            await m.aio.pop(random.randrange(5), None)
    await asyncio.gather(*[one() for _ in range(5)])

def work():
    for key in range(5):
        assert m.get_or_compute(key, lambda: key, timeout=HANG) == key
    assert in_thread(m.get_or_compute, 9, Factory(9)) == 9
    for key in range(5):
        assert m.pop(key) == key

running = [spawn(hammer, n) for n in range(5)] + [spawn(lambda: asyncio.run(tasks()))]
for _ in range(5):
    in_child(work)
stop.append(True)
for one in running:
    one.result()
assert m._state() == {}
""")


def test_the_interpreter_ends_with_calls_alive():
    run("""
m = ConcurrentMap()
for _ in range(3):
    threading.Thread(target=m.get_or_compute, args=("k", lambda: time.sleep(HANG)), daemon=True).start()
waiters(m, "k", 2)
loop = asyncio.new_event_loop()
task = loop.create_task(m.aio.get_or_compute("t", lambda: asyncio.sleep(HANG)))
task._log_destroy_pending = False
loop.run_until_complete(asyncio.sleep(0.001))
""")


def test_a_thread_that_is_started_by_a_factory_and_asks_too():
    """Nobody can know that the factory waits for it. With a timeout it ends."""
    m = ConcurrentMap()

    def factory():
        inner = spawn(outcome(lambda: m.get_or_compute("k", Factory(2), timeout=0.005), Exception))
        return inner.result().__name__

    assert m.get_or_compute("k", factory) == "Timeout"
    assert_at_rest(m, {"k": "Timeout"})


def test_many_waiters_of_many_keys_are_all_served():
    m = ConcurrentMap()
    go = threading.Event()
    running = [spawn(m.get_or_compute, n, lambda n=n: go.wait(HANG) and n) for n in range(20)]
    eventually(lambda: len(m._state()) == 20)
    others = [spawn(outcome(m.get_or_compute, WouldDeadlock), n, Factory("never")) for n in range(20) for _ in range(2)]
    eventually(lambda: sum(map(len, m._state().values())) == 40)
    go.set()
    assert [one.result() for one in running] == list(range(20))
    assert sorted(one.result() for one in others) == sorted([*range(20)] * 2)
    assert_landed(m)
