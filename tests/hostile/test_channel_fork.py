"""Processes: forks while others wait at channels and use them, and interpreters that end while somebody does."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import asyncio, functools, gc, os, sys, threading, time, warnings
from ferrule import Disconnected, Empty, Full, Timeout, bounded, unbounded
from tests.support.channels import channel, waiting
from tests.support.hostile import calling, hostile
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, outcome, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
QUIET = {"senders": 0, "receivers": 0, "reserved": 0}

def filled(capacity):
    tx, rx = channel(capacity)
    for n in range(100 if capacity is None else capacity):
        tx.send(("filled", n))
    return tx, rx

def workload(tx, rx):
    # Threads and tasks over a channel in which nothing is and at which nobody waits; other ends of it may be open.
    assert (len(rx), waiting(rx)) == (0, QUIET)

    def send(name):
        with tx.clone() as mine:
            for n in range(60):
                mine.send((name, n), timeout=HANG)
            for n in range(60, 80):
                if rx.capacity == 0:
                    mine.send((name, n), timeout=HANG)
                else:
                    mine.reserve(timeout=HANG).send((name, n))

    async def send_too(name):
        async with tx.aio.clone() as mine:
            await mine.send_many(((name, n) for n in range(80)), timeout=HANG)

    def receive():
        with rx.clone() as mine:
            return list(iter(lambda: mine.recv(timeout=HANG), None))

    async def receive_too():
        received = []
        while (item := await rx.aio.recv(timeout=HANG)) is not None:
            received.append(item)
        return received

    sending = [spawn(send, "a"), spawn(send, "b"), spawn(lambda: asyncio.run(send_too("task")))]
    receiving = [spawn(receive), spawn(receive), spawn(lambda: asyncio.run(receive_too()))]
    for one in sending:
        one.result()
    for _ in receiving:
        tx.send(None, timeout=HANG)     # no more
    received = sum((one.result() for one in receiving), [])
    assert sorted(received) == [(name, n) for name in ("a", "b", "task") for n in range(80)]
    assert (len(rx), waiting(rx)) == (0, QUIET)

def use_and_close(tx, rx):
    workload(tx, rx)
    receiving = spawn(lambda: rx.recv(timeout=HANG))
    eventually(lambda: waiting(rx)["receivers"] == 1)
    tx.close_channel()
    assert outcome(receiving.result, Disconnected)() is Disconnected
    assert outcome(tx.send, Disconnected)("more") is Disconnected
    assert list(rx) == []
    tx.close()
    rx.close()
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


@pytest.mark.parametrize("capacity", [0, 1, 3, None])
def test_from_the_main_thread_and_from_another(capacity):
    run(f"""
tx, rx = filled({capacity})
items = [("filled", n) for n in range(len(rx))]
assert len(items) == {100 if capacity is None else capacity}

def work():
    assert rx.drain() == items
    use_and_close(tx, rx)
    use_and_close(*channel({capacity}))

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
assert rx.drain() == items
use_and_close(tx, rx)
""")


@pytest.mark.parametrize("capacity", [0, 1, 3, None])
def test_while_threads_hammer(capacity):
    """Of each producer the child has a run of items that follow one another: those sent and not yet received."""
    run(f"""
tx, rx = channel({capacity})
stop, produced = [], []

def produce(name):
    n = 0
    while not stop:
        with tx.clone() as mine:
            for send in (mine.try_send, mine.send, functools.partial(mine.send, timeout=0.0005)):
                try:
                    send((name, n))
                    n += 1
                except (Full, Timeout):
                    pass
            n += mine.send_many((name, n + more) for more in range(3))
        eventually(lambda: stop or len(rx) < 1000)     # of an unbounded channel
    return n

def consume(_):
    count = 0
    with rx.clone() as mine:
        while not produced:
            for receive in (mine.drain, functools.partial(mine.recv_many, 3, timeout=0.0005)):
                try:
                    count += len(receive())
                except Timeout:
                    pass
            if mine.try_recv(None) is not None:
                count += 1
    return count

def work():
    assert waiting(rx) == QUIET
    count = len(rx)
    items = rx.drain()
    assert len(items) == count
    assert rx.stats()["sent"] == rx.stats()["received"]
    last = {{}}
    for name, n in items:
        assert last.get(name, n - 1) == n - 1, items
        last[name] = n
    use_and_close(tx, rx)

producing = [spawn(produce, name) for name in range(8)]
consuming = [spawn(consume, name) for name in range(6)]
for _ in range(8):
    in_child(work)
stop.append(True)
count = sum(one.result() for one in producing)
produced.append(True)
assert sum(one.result() for one in consuming) + len(rx.drain()) == count > 0
use_and_close(tx, rx)
""")


@pytest.mark.parametrize("capacity", [1, 3])
def test_while_threads_reserve(capacity):
    """What is promised to a thread that vanished stays promised; the rest of the room is there."""
    run(f"""
tx, rx = bounded({capacity})
stop, produced = [], []

def produce():
    while not stop:
        with tx.reserve() as permit:
            permit.send("item")
        with tx.reserve():
            pass

def consume():
    while not produced:
        rx.drain()

def work():
    reserved = waiting(rx)["reserved"]
    assert waiting(rx) == QUIET | {{"reserved": reserved}}
    assert len(rx) + reserved <= {capacity}
    rx.drain()
    for n in range({capacity} - reserved):
        tx.try_send(n)
    assert tx.is_full
    assert outcome(tx.try_send, Full)("more") is Full
    assert rx.drain() == list(range({capacity} - reserved))
    if not reserved:
        use_and_close(tx, rx)

producing, consuming = [spawn(produce) for _ in range(3)], [spawn(consume) for _ in range(2)]
for _ in range(10):
    in_child(work)
stop.append(True)
for one in producing:
    one.result()
produced.append(True)
for one in consuming:
    one.result()
rx.drain()
use_and_close(tx, rx)
""")


WAITING_SENDERS = {
    "send": "lambda n: tx.send(n, timeout=HANG)",
    "send_many": "lambda n: tx.send_many([n], timeout=HANG)",
    "reserve": "lambda n: tx.reserve(timeout=HANG).send(n)",
}


@pytest.mark.parametrize(
    ("wait", "capacity"),
    [(wait, n) for wait in WAITING_SENDERS for n in (0, 1, 3) if n or wait != "reserve"],  # a rendezvous has no slots
)
def test_with_senders_that_wait_the_childs_queue_is_empty(wait, capacity):
    run(f"""
tx, rx = filled({capacity})
items = [("filled", n) for n in range({capacity})]
sending = [spawn({WAITING_SENDERS[wait]}, n) for n in range(20)]
eventually(lambda: waiting(tx)["senders"] == 20)

def receive_first():
    assert rx.drain() == items
    use_and_close(tx, rx)

def look_first():
    assert waiting(rx) == QUIET
    assert rx.drain() == items
    use_and_close(tx, rx)

def wait_first():
    # Somebody of this generation queues before anybody looked at the queue.
    mine = spawn(lambda: tx.send("mine", timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == 1)
    assert [rx.recv(timeout=HANG) for _ in range({capacity} + 1)] == [*items, "mine"]
    mine.result()
    use_and_close(tx, rx)

def give_up_first():
    assert outcome(lambda: tx.send("mine", timeout=0.001), Timeout)() is Timeout
    assert waiting(rx) == QUIET
    assert rx.drain() == items
    use_and_close(tx, rx)

def close_first():
    tx.close()
    rx.close_channel()
    assert (waiting(rx), list(rx)) == (QUIET, items)

def drop_first():
    rx.close()
    assert (waiting(rx), len(tx)) == (QUIET, 0)

for work in (receive_first, look_first, wait_first, give_up_first, close_first, drop_first):
    in_child(work)
spawn(in_child, wait_first).result()
assert waiting(tx)["senders"] == 20
received = [rx.recv(timeout=HANG) for _ in range({capacity} + 20)]
assert received[:{capacity}] == items
assert sorted(received[{capacity}:]) == list(range(20))
for one in sending:
    one.result()
use_and_close(tx, rx)
""")


@pytest.mark.parametrize("capacity", [0, 1, 3, None])
@pytest.mark.parametrize("wait", ["[rx.recv(timeout=HANG)]", "rx.recv_many(1, timeout=HANG)", "[next(rx)]"])
def test_with_receivers_that_wait_the_childs_queue_is_empty(wait, capacity):
    run(f"""
tx, rx = channel({capacity})
receiving = [spawn(lambda: {wait}) for n in range(20)]
eventually(lambda: waiting(rx)["receivers"] == 20)

def send_first():
    if {capacity} == 0:
        assert outcome(tx.try_send, Full)("item") is Full, "nobody waits"
    else:
        tx.try_send("item")
        assert rx.drain() == ["item"]
    use_and_close(tx, rx)

def look_first():
    assert waiting(rx) == QUIET
    use_and_close(tx, rx)

def wait_first():
    mine = spawn(lambda: rx.recv(timeout=HANG))
    eventually(lambda: waiting(rx)["receivers"] == 1)
    tx.try_send("mine")
    assert mine.result() == "mine"
    use_and_close(tx, rx)

def give_up_first():
    assert outcome(lambda: rx.recv(timeout=0.001), Timeout)() is Timeout
    use_and_close(tx, rx)

def close_first():
    tx.close()
    assert (waiting(rx), list(rx)) == (QUIET, [])
    rx.close()

for work in (send_first, look_first, wait_first, give_up_first, close_first):
    in_child(work)
spawn(in_child, wait_first).result()
assert waiting(rx)["receivers"] == 20
tx.send_many(range(20), timeout=HANG)
assert sorted(one.result()[0] for one in receiving) == list(range(20))
use_and_close(tx, rx)
""")


def test_an_item_whose_receiver_was_on_its_way_is_in_the_child():
    """With the GIL held from the send to the fork the receiver that was woken has not run."""
    run("""
for capacity in (0, 1, None):
    tx, rx = channel(capacity)
    receiving = spawn(lambda: rx.recv(timeout=HANG))
    eventually(lambda: waiting(rx)["receivers"] == 1)

    def work():
        assert waiting(rx) == QUIET
        assert rx.drain() in ([], ["item"])     # without the GIL the receiver may have been quicker than the fork
        use_and_close(tx, rx)

    tx.try_send("item")
    in_child(work)
    assert receiving.result() == "item"
    use_and_close(tx, rx)
""")


@pytest.mark.parametrize("wait", ["tx.send('new', timeout=HANG)", "rx.recv(timeout=HANG)"])
@pytest.mark.parametrize("capacity", [0, 1])
def test_by_a_thread_while_the_main_thread_waits(wait, capacity):
    run(f"""
sends = "tx" in {wait!r}
tx, rx = filled({capacity}) if sends else channel({capacity})

def fork_and_release():
    eventually(lambda: sum(waiting(tx).values()) == 1)

    def work():
        assert waiting(tx) == QUIET
        rx.drain()
        use_and_close(tx, rx)

    in_child(work)
    if sends:
        return [rx.recv(timeout=HANG) for _ in range({capacity} + 1)][-1]
    return tx.send("new", timeout=HANG)

forking = spawn(fork_and_release)
assert {wait} == (None if sends else "new")
assert forking.result() == ("new" if sends else None)
use_and_close(tx, rx)
""")


def test_permits_and_ends_are_good_in_both():
    run("""
tx, rx = bounded(2)
permit, other = tx.reserve(), tx.reserve()
clone, weak = tx.clone(), tx.downgrade()
vanished = spawn(tx.clone).result()     # an end outlives the thread that made it, also over a fork

def work():
    assert waiting(tx) == QUIET | {"reserved": 2}
    assert rx.sender_count == 3
    assert outcome(tx.try_send, Full)("more") is Full
    mine = spawn(lambda: tx.send("mine", timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == 1)
    permit.send("promised")
    other.release()
    mine.result()
    assert rx.drain() == ["promised", "mine"]
    assert outcome(permit.release, RuntimeError)() is RuntimeError
    workload(tx, rx)
    for end in (tx, clone, vanished):
        end.close()
    assert weak.upgrade() is None
    assert list(rx) == []

in_child(work)
spawn(in_child, work).result()
assert waiting(tx) == QUIET | {"reserved": 2}
assert rx.sender_count == 3
permit.send("here")
with other:
    in_child(lambda: other.send("there"))
assert rx.drain() == ["here"]
with rx:
    in_child(rx.close)
    assert not rx.is_closed
    use_and_close(tx, rx)
""")


def test_a_vanished_threads_ends_stay_open_and_its_permits_promised():
    run("""
tx, rx = bounded(2)
there, done = [], threading.Event()

def hold():
    mine, permit = tx.clone(), tx.reserve()
    there.append(permit)
    done.wait()
    permit.release()
    mine.close()

holding = spawn(hold)
eventually(lambda: there)

def work():
    tx.send("item")
    tx.close()
    assert rx.recv() == "item"
    assert (rx.sender_count, waiting(rx)["reserved"]) == (1, 1)
    assert outcome(lambda: rx.recv(timeout=0.01), Timeout)() is Timeout, "not disconnected"
    rx.close_channel()
    assert outcome(lambda: rx.recv(timeout=0.01), Timeout)() is Timeout, "what is promised may still come"
    there[0].send("promised")   # anybody may
    assert list(rx) == ["promised"]

in_child(work)
done.set()
holding.result()
use_and_close(tx, rx)
""")


@pytest.mark.parametrize("how", ["in_child(work)", "await asyncio.to_thread(in_child, work)"])
def test_with_parked_tasks(how):
    run(f"""
tx, rx = filled(1)
empty, of_empty = bounded(1)
meeting, of_meeting = bounded(0)

async def main():
    sending = [asyncio.create_task(tx.aio.send(n, timeout=HANG)) for n in range(4)]
    receiving = [asyncio.create_task(of_empty.aio.recv(timeout=HANG)) for _ in range(4)]
    meeting_ = [asyncio.create_task(meeting.aio.send(n, timeout=HANG)) for n in range(4)]
    while waiting(tx)["senders"] + waiting(empty)["receivers"] + waiting(meeting)["senders"] < 12:
        await asyncio.sleep(0)

    def work():
        assert waiting(tx) == waiting(empty) == waiting(meeting) == QUIET
        assert rx.drain() == [("filled", 0)]
        assert of_empty.drain() == of_meeting.drain() == []
        for ends in ((tx, rx), (empty, of_empty), (meeting, of_meeting)):
            spawn(use_and_close, *ends).result()

    {how}
    assert [await rx.aio.recv(timeout=HANG) for _ in range(5)] == [("filled", 0), *range(4)]
    await empty.aio.send_many(range(4), timeout=HANG)
    assert sorted([await task for task in receiving]) == list(range(4))
    assert sorted([await of_meeting.aio.recv(timeout=HANG) for _ in range(4)]) == list(range(4))
    await asyncio.gather(*sending, *meeting_)

asyncio.run(main())
for ends in ((tx, rx), (empty, of_empty), (meeting, of_meeting)):
    use_and_close(*ends)
""")


def test_with_claims_on_their_way_to_a_loop():
    run("""
from tests.support.driver import turns
for capacity in (0, 1, None):
    tx, rx = channel(capacity)
    loop = asyncio.new_event_loop()

    async def park():
        task = loop.create_task(rx.aio.recv())
        await turns()
        return task

    task = loop.run_until_complete(park())
    spawn(tx.try_send, "item").result()     # claims the task, and posts that to a loop that does not run

    def work():
        assert waiting(rx) == QUIET
        assert rx.drain() == ["item"]
        use_and_close(tx, rx)

    in_child(work)
    assert len(rx) == 1
    assert loop.run_until_complete(task) == "item"
    loop.close()
    use_and_close(tx, rx)
""")


def test_inside_what_the_channel_calls():
    run("""
tx, rx = bounded(3)
inherited = channel(None)

def work():
    use_and_close(*inherited)
    rx.drain()
    workload(tx, rx)

def items():
    yield 1
    in_child(work)
    yield 2

assert tx.send_many(items()) == 2
tx.send(hostile(__del__=calling(lambda: in_child(lambda: use_and_close(*inherited)))))
assert rx.recv_many(2) == [1, 2]
rx.close()
use_and_close(*inherited)
""")


def test_the_exit_of_the_child_is_clean():
    run("""
tx, rx = filled(3)
permit_of, _rx = bounded(1)
permit = permit_of.reserve()
empty, of_empty = unbounded()
iterator = rx.try_iter()
waits = [spawn(lambda: tx.send("more", timeout=HANG)), spawn(lambda: of_empty.recv(timeout=HANG))]
eventually(lambda: waiting(tx)["senders"] + waiting(empty)["receivers"] == 2)
pid = os.fork()
if pid == 0:
    sys.exit(0)     # a whole finalisation, with ends, a permit, items and the channels of vanished waiters in globals
_, status = os.waitpid(pid, 0)
assert status == 0, status
rx.recv()
empty.send("item")
for one in waits:
    one.result()
permit.release()
""")


class TestExit:
    """An interpreter that ends: no crash, no hang, whatever is queued, promised or waited for."""

    @pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-W", "error")], ids=["plain", "dev", "error"])
    def test_with_ends_permits_iterators_and_coroutines_in_module_globals(self, options):
        in_subprocess(
            """
            import sys
            from ferrule import aio, bounded, unbounded
            tx, rx = bounded(5)
            permit, spent, weak, iterator = tx.reserve(), tx.reserve(), tx.downgrade(), rx.try_iter()
            spent.send((tx, rx, permit))
            faces = aio.bounded(0), aio.unbounded(), tx.aio, rx.aio
            tx.send(sys.modules[__name__])
            closed = tx.aio.send(1)
            closed.close()
            """,
            options=options,
        )

    def test_with_daemon_threads_that_wait_and_that_hammer(self):
        in_subprocess("""
            import threading, time
            from ferrule import Timeout, bounded, unbounded
            tx, rx = bounded(1)
            full, _rx = bounded(1)
            full.send(1)
            empty, of_empty = unbounded()
            rest = of_empty.clone()

            def send():
                while True:
                    tx.send(1)
                    try:
                        tx.send(2, timeout=0.0001)
                    except Timeout:
                        pass

            def receive():
                while True:
                    rx.recv()
                    rx.recv_many(3)

            hammering = [*[send] * 3, *[receive] * 3]
            parked = [lambda: full.send(2), full.reserve, of_empty.recv, lambda: of_empty.recv_many(3), lambda: [*rest]]
            for work in (*hammering, *parked * 2):
                threading.Thread(target=work, daemon=True).start()
            time.sleep(0.1)
        """)

    def test_with_a_send_in_atexit_for_daemon_threads_that_wait(self):
        in_subprocess("""
            import atexit, contextlib, threading
            from ferrule import Disconnected, bounded
            from tests.support.race import eventually
            tx, rx = bounded(0)

            def receive():      # quietly: threads that print while the interpreter ends may hang on its own locks
                with contextlib.suppress(Disconnected):
                    rx.recv()

            for _ in range(5):
                threading.Thread(target=receive, daemon=True).start()
            eventually(lambda: rx._state()["receivers"] == 5)
            atexit.register(tx.send, 1)
            atexit.register(tx.close_channel)
            atexit.register(tx.send, 2)
        """)

    def test_with_parked_tasks_in_a_loop_that_was_never_closed(self):
        in_subprocess("""
            import asyncio
            from ferrule import bounded
            from tests.support.driver import turns
            tx, rx = bounded(0)
            loop = asyncio.new_event_loop()

            async def park():
                global tasks
                tasks = [loop.create_task(rx.aio.recv()) for _ in range(5)]
                await turns()

            loop.run_until_complete(park())
            assert rx._state()["receivers"] == 5
            tx.try_send(1)
        """)

    def test_with_items_that_use_their_channel_while_the_interpreter_ends(self):
        in_subprocess("""
            from ferrule import bounded

            class Item:
                def __init__(self, tx, rx):
                    self.tx, self.rx = tx, rx
                def __del__(self):
                    self.rx.try_recv(None)
                    self.tx.clone().close()
                    self.tx.close_channel()
                    self.rx.close()

            tx, rx = bounded(3)
            tx.send(Item(tx, rx))
            tx.send(Item(tx, rx))
            other, of_other = bounded(3)
            other.send(Item(tx, of_other))
            promised = tx.reserve()
        """)
