"""Signals that arrive while the main thread waits at a channel: nothing is lost or doubled, nothing stays queued."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import itertools, signal, threading, time
from collections import Counter
from functools import partial
from itertools import chain, islice, starmap
from operator import itemgetter
from ferrule import Disconnected, Empty, Full, Timeout, bounded, unbounded
from tests.support.channels import channel, waiting
from tests.support.processes import interrupt, interrupted, interrupted_ahead_of, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, outcome, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}

def filled(capacity):
    tx, rx = bounded(capacity)
    for n in range(capacity):
        tx.send(("filled", n))
    return tx, rx

"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


def pairs(waits, capacities):
    """Every wait at every capacity; but a rendezvous has no slots to be reserved."""
    return [(wait, capacity) for wait in waits for capacity in capacities if capacity or "reserve" not in wait]


SENDS = {
    "send": "tx.send('new')",
    "send with a timeout": "tx.send('new', timeout=HANG)",
    "send_many": "tx.send_many(['new', 'newer'])",
    "send_many with a timeout": "tx.send_many(['new', 'newer'], timeout=HANG)",
    "reserve": "tx.reserve()",
    "reserve with a timeout": "tx.reserve(timeout=HANG)",
}

RECEIVES = {
    "recv": "rx.recv()",
    "recv with a timeout": "rx.recv(timeout=HANG)",
    "recv_many": "rx.recv_many(5)",
    "recv_many with a timeout": "rx.recv_many(5, timeout=HANG)",
    "next": "next(rx)",
    "iteration": "[item for item in rx]",
}


@pytest.mark.parametrize(("wait", "capacity"), pairs(SENDS, [0, 1, 3]))
def test_ctrl_c_interrupts_every_wait_for_room_and_changes_nothing(wait, capacity):
    run(f"""
tx, rx = filled({capacity})
before = tx.stats()
for n in range(20):
    with interrupted(lambda: waiting(tx)["senders"] == 1):
        {SENDS[wait]}
    assert waiting(tx) == QUIET
    assert tx.stats() == before | {{"waits": n + 1}}
    assert len(rx) == {capacity}
assert rx.drain() == [("filled", n) for n in range({capacity})]
receiving = spawn(lambda: [rx.recv(timeout=HANG), rx.recv(timeout=HANG)])
tx.send("first", timeout=HANG)
tx.send("second", timeout=HANG)
assert receiving.result() == ["first", "second"]
assert waiting(tx) == QUIET
""")


@pytest.mark.parametrize("capacity", [0, 1, None])
@pytest.mark.parametrize("wait", RECEIVES)
def test_ctrl_c_interrupts_every_wait_for_an_item_and_changes_nothing(wait, capacity):
    run(f"""
tx, rx = channel({capacity})
before = tx.stats()
for n in range(20):
    with interrupted(lambda: waiting(rx)["receivers"] == 1):
        {RECEIVES[wait]}
    assert waiting(rx) == QUIET
    assert rx.stats() == before | {{"waits": n + 1}}
    assert len(rx) == 0
assert outcome(tx.try_send, Full)("item") is (Full if {capacity} == 0 else None), "nobody waits"
rx.drain()
sending = spawn(lambda: [tx.send(n, timeout=HANG) for n in range(2)])
assert [rx.recv(timeout=HANG), rx.recv(timeout=HANG)] == [0, 1]
sending.result()
assert waiting(rx) == QUIET
""")


@pytest.mark.parametrize("capacity", [0, 1])
def test_what_send_many_had_sent_when_it_was_interrupted_stays_sent(capacity):
    run(f"""
tx, rx = bounded({capacity})
items = iter(range(10))
received = []

def direct():
    for n in range(3):
        received.append(rx.recv(timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == 1 and len(rx) == {capacity})
    interrupt()

directing = spawn(direct)
with interrupted():
    tx.send_many(items)
directing.result()
assert received + rx.drain() == list(range(3 + {capacity}))
assert next(items) == 4 + {capacity}, "the one that waited was not sent, the rest is where it was"
assert waiting(tx) == QUIET
""")


@pytest.mark.parametrize(("wait", "capacity"), pairs(["send", "send_many", "reserve"], [0, 1]))
def test_a_sender_behind_the_interrupted_one_gets_its_turn(wait, capacity):
    run(f"""
tx, rx = filled({capacity})
with interrupted_ahead_of(lambda: tx.send("other", timeout=HANG), lambda: waiting(tx)["senders"]) as behind:
    {SENDS[wait]}
(other,) = behind
assert other.alive
assert waiting(tx) == QUIET | {{"senders": 1}}
assert [rx.recv(timeout=HANG) for _ in range({capacity} + 1)][-1] == "other"
other.result()
assert waiting(tx) == QUIET
""")


@pytest.mark.parametrize("capacity", [0, 1, None])
@pytest.mark.parametrize("wait", ["recv", "recv_many", "next"])
def test_a_receiver_behind_the_interrupted_one_gets_its_turn(wait, capacity):
    run(f"""
tx, rx = channel({capacity})
with interrupted_ahead_of(lambda: rx.recv(timeout=HANG), lambda: waiting(rx)["receivers"]) as behind:
    {RECEIVES[wait]}
(other,) = behind
assert other.alive
assert waiting(rx) == QUIET | {{"receivers": 1}}
tx.try_send("item")
assert other.result() == "item"
assert waiting(rx) == QUIET
""")


class TestHandlers:
    """A handler runs while its thread's wait is in no queue, and may do to the channel what it likes."""

    def test_one_that_returns_lets_the_wait_go_on_in_its_place(self):
        run("""
tx, rx = unbounded()
seen, received = [], []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(waiting(rx)["receivers"]))

def direct():
    eventually(lambda: waiting(rx)["receivers"] == 1)
    other = spawn(lambda: received.append(("other", rx.recv(timeout=HANG))))
    for count in range(10):
        eventually(lambda: waiting(rx)["receivers"] == 2)
        interrupt(signal.SIGUSR1)
        eventually(lambda: len(seen) == count + 1)
    eventually(lambda: waiting(rx)["receivers"] == 2)
    tx.send("first")
    eventually(lambda: received)
    tx.send("second")
    other.result()

directing = spawn(direct)
received.append(("main", rx.recv(timeout=HANG)))
directing.result()
assert seen == [1] * 10, "only the other is queued while the handler runs"
assert received == [("main", "first"), ("other", "second")]
assert waiting(rx) == QUIET
""")

    @pytest.mark.parametrize("wait", ["tx.send('new', timeout=0.3)", "tx.reserve(timeout=0.3)", "rx.recv(timeout=0.3)"])
    def test_one_that_returns_keeps_the_deadline(self, wait):
        run(f"""
tx, rx = filled(1) if "tx" in {wait!r} else bounded(1)
handled = []
signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
begun = time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
try:
    {wait}
except Timeout:
    waited = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
assert 0.3 <= waited < 6, waited
assert len(handled) > 1
assert waiting(tx) == QUIET
""")

    @pytest.mark.parametrize("capacity", [1, 3, None])
    @pytest.mark.parametrize("wait", ["rx.recv()", "next(rx)", "rx.recv_many(1)[0]"])
    def test_one_that_sends_to_the_channel_at_which_its_thread_receives(self, wait, capacity):
        run(f"""
tx, rx = channel({capacity})
signal.signal(signal.SIGUSR1, lambda *_: tx.send("from the handler"))
interrupter = signal_when(lambda: waiting(rx)["receivers"] == 1, signal.SIGUSR1)
assert {wait} == "from the handler"
interrupter.result()
assert waiting(rx) == QUIET
""")

    @pytest.mark.parametrize("wait", ["tx.send('new')", "tx.send_many(['new'])", "tx.reserve().send('new')"])
    def test_one_that_receives_from_the_channel_at_which_its_thread_sends(self, wait):
        run(f"""
tx, rx = filled(1)
received = []
signal.signal(signal.SIGUSR1, lambda *_: received.append(rx.recv()))
interrupter = signal_when(lambda: waiting(tx)["senders"] == 1, signal.SIGUSR1)
{wait}
interrupter.result()
assert received == [("filled", 0)]
assert rx.drain() == ["new"]
assert waiting(tx) == QUIET
""")

    def test_one_that_meets_only_others_in_a_rendezvous(self):
        """Its own thread's wait is suspended: it neither receives from it nor sends to it."""
        run("""
tx, rx = bounded(0)
seen = []

def handler(*_):
    seen.append(outcome(tx.try_send, Full)("from the handler"))
    seen.append(outcome(lambda: tx.send("from the handler", timeout=0.001), Timeout)())
    seen.append(rx.try_recv("nothing"))

signal.signal(signal.SIGUSR1, handler)

def direct():
    eventually(lambda: waiting(rx)["receivers"] == 1)
    interrupt(signal.SIGUSR1)
    eventually(lambda: len(seen) == 3 and waiting(rx)["receivers"] == 1)
    tx.send("item")
    eventually(lambda: waiting(tx)["senders"] == 1)
    interrupt(signal.SIGUSR1)
    eventually(lambda: len(seen) == 6 and waiting(tx)["senders"] == 1)
    return rx.recv()

directing = spawn(direct)
assert rx.recv(timeout=HANG) == "item"
tx.send("back", timeout=HANG)
assert directing.result() == "back"
assert seen == [Full, Timeout, "nothing"] * 2
assert waiting(tx) == QUIET
""")

    @pytest.mark.parametrize("depth", [1, 10])
    @pytest.mark.parametrize("capacity", [0, 1, None])
    def test_one_that_waits_for_an_item_too(self, capacity, depth):
        """And one that interrupts that one, and so on."""
        run(f"""
DEPTH = {depth}
tx, rx = channel({capacity})
entered, received = [], []

def handler(*_):
    entered.append(None)
    mine = len(entered)
    received.append((mine, rx.recv(timeout=HANG)))

signal.signal(signal.SIGUSR1, handler)

def direct():
    for count in range(DEPTH):
        eventually(lambda: len(entered) == count and waiting(rx)["receivers"] == 1)
        interrupt(signal.SIGUSR1)
    eventually(lambda: len(entered) == DEPTH and waiting(rx)["receivers"] == 1)
    for n in range(DEPTH + 1):
        tx.send(n, timeout=HANG)

directing = spawn(direct)
received.append((0, rx.recv(timeout=HANG)))
directing.result()
assert received == [(DEPTH - n, n) for n in range(DEPTH + 1)], "the innermost comes first"
assert waiting(rx) == QUIET
""")

    @pytest.mark.parametrize("capacity", [0, 1])
    def test_one_that_waits_for_room_too(self, capacity):
        run(f"""
tx, rx = filled({capacity})
done = []

def handler(*_):
    done.append("entered")
    tx.send("handler's", timeout=HANG)
    done.append("sent")

signal.signal(signal.SIGUSR1, handler)

def direct():
    eventually(lambda: waiting(tx)["senders"] == 1)
    interrupt(signal.SIGUSR1)
    eventually(lambda: done and waiting(tx)["senders"] == 1)
    return [rx.recv(timeout=HANG) for _ in range({capacity} + 2)]

directing = spawn(direct)
tx.send("main's", timeout=HANG)
assert directing.result()[{capacity}:] == ["handler's", "main's"]
assert done == ["entered", "sent"]
assert waiting(tx) == QUIET
""")

    @pytest.mark.parametrize("close", ["rx.close()", "tx.close()", "tx.close_channel()", "ends.clear()"])
    @pytest.mark.parametrize("capacity", [0, 1, None])
    def test_one_that_closes_what_its_thread_receives_from(self, close, capacity):
        run(f"""
tx, rx = channel({capacity})
ends = [tx] if "ends" in {close!r} else []
if ends:
    del tx      # the handler has the last sender
signal.signal(signal.SIGUSR1, lambda *_: {close})
interrupter = signal_when(lambda: waiting(rx)["receivers"] == 1, signal.SIGUSR1)
try:
    rx.recv()
except Disconnected:
    pass
else:
    raise SystemExit("not disconnected")
interrupter.result()
assert list(rx) == []
assert waiting(rx) == QUIET
""")

    @pytest.mark.parametrize("close", ["tx.close()", "rx.close()", "rx.close_channel()"])
    @pytest.mark.parametrize("capacity", [0, 1])
    def test_one_that_closes_what_its_thread_sends_to(self, close, capacity):
        run(f"""
tx, rx = filled({capacity})
item = object()
signal.signal(signal.SIGUSR1, lambda *_: {close})
for wait in (lambda: tx.send(item), lambda: tx.send_many([item])):
    interrupter = signal_when(lambda: waiting(tx)["senders"] == 1 or tx.is_closed or tx.is_disconnected, signal.SIGUSR1)
    try:
        wait()
    except Disconnected as error:
        assert error.item is item
    else:
        raise SystemExit("not disconnected")
    interrupter.result()
assert waiting(tx) == QUIET
""")

    def test_an_exception_of_one_ends_the_wait(self):
        run("""
class Enough(Exception):
    pass

def handler(*_):
    raise Enough

signal.signal(signal.SIGUSR1, handler)
tx, rx = filled(1)
for wait in (lambda: tx.send("new"), lambda: tx.send_many(["new"]), tx.reserve):
    interrupter = signal_when(lambda: waiting(tx)["senders"] == 1, signal.SIGUSR1)
    assert outcome(wait, Enough)() is Enough
    interrupter.result()
assert rx.recv() == ("filled", 0)
for wait in (rx.recv, lambda: rx.recv_many(2), lambda: next(rx)):
    interrupter = signal_when(lambda: waiting(rx)["receivers"] == 1, signal.SIGUSR1)
    assert outcome(wait, Enough)() is Enough
    interrupter.result()
assert waiting(tx) == QUIET
assert tx.stats()["sent"] == 1
""")


def test_ctrl_c_inside_the_iterable_of_send_many():
    run("""
def items():
    yield 1
    yield 2
    signal.raise_signal(signal.SIGINT)
    yield 3

tx, rx = unbounded()
with interrupted():
    tx.send_many(items())
assert rx.drain() == [1, 2]
assert waiting(tx) == QUIET
""")


STORM = """
# Whether an item was sent or received is noted by the same call of a builtin that sends or receives it: no interrupt
# comes between.
numbers = itertools.count()
sent, received, stop = [], [], []
tx, rx = channel({capacity})

def produce(name):
    mine = []
    with tx.clone() as end:
        while not stop:
            item = name, len(mine)
            end.send(item, timeout=HANG)
            mine.append(item)
            time.sleep({pause_of_producers})
    return mine

def consume():
    mine = []
    with rx.clone() as end:
        for item in end:
            mine.append(item)
            time.sleep({pause_of_consumers})
    return mine

def finish():
    # Nothing is lost and nothing doubled: what was received is what was sent.
    stop.append(True)
    for one in producing:
        sent.extend(one.result())
    tx.close()
    for one in consuming:
        received.extend(one.result())
    received.extend(rx.try_iter())
    assert Counter(received) == Counter(sent), (Counter(received) - Counter(sent), Counter(sent) - Counter(received))
    assert waiting(rx) == QUIET
    assert rx.stats()["sent"] == rx.stats()["received"] == len(sent)
    assert len(sent) > 10

producing = [spawn(produce, name) for name in range({producers})]
consuming = [spawn(consume) for _ in range({consumers})]
"""

STORMY_RECEIVES = {
    "recv": "received.extend(starmap(rx.recv, [()]))",
    "recv with a timeout": "received.extend(starmap(partial(rx.recv, timeout=0.0005), [()]))",
    "recv_many": "received.extend(chain.from_iterable(map(rx.recv_many, [3])))",
    "next": "received.extend(islice(rx, 1))",
}

STORMY_SENDS = {
    "send": "sent.extend(second(zip(map(tx.send, [item]), [item])))",
    "send with a timeout": "sent.extend(second(zip(map(partial(tx.send, timeout=0.0005), [item]), [item])))",
    "reserve": "permits.extend(starmap(tx.reserve, [()]))",
    "reserve with a timeout": "permits.extend(starmap(partial(tx.reserve, timeout=0.0005), [()]))",
}


@pytest.mark.parametrize("capacity", [0, 1, None])
@pytest.mark.parametrize("wait", STORMY_RECEIVES)
def test_a_storm_of_interrupts_of_receives_while_items_are_passed_around(wait, capacity):
    setting = STORM.format(capacity=capacity, pause_of_producers=0.001, pause_of_consumers=0, producers=2, consumers=1)
    run(f"""{setting}
def attempt():
    try:
        {STORMY_RECEIVES[wait]}
    except Timeout:
        pass

storm_of_interrupts(attempt)
finish()
""")


@pytest.mark.parametrize(("wait", "capacity"), pairs(STORMY_SENDS, [0, 1, 3]))
def test_a_storm_of_interrupts_of_sends_while_items_are_passed_around(wait, capacity):
    setting = STORM.format(capacity=capacity, pause_of_producers=0, pause_of_consumers=0.001, producers=1, consumers=2)
    run(f"""{setting}
permits = []
second = partial(map, itemgetter(1))

def redeem():
    # Not interrupted: it is no code of attempt().
    while permits:
        item = "permit", next(numbers)
        permits.pop().send(item)
        sent.append(item)

def attempt():
    redeem()
    item = "main", next(numbers)
    try:
        {STORMY_SENDS[wait]}
    except Timeout:
        pass

storm_of_interrupts(attempt)
redeem()
finish()
""")


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_a_storm_of_interrupts_of_send_many(capacity):
    """Of each batch, what was sent is its beginning, each item once; all of it, if the call came back."""
    setting = STORM.format(capacity=capacity, pause_of_producers=0, pause_of_consumers=0.001, producers=0, consumers=2)
    run(f"""{setting}
whole = []

def attempt():
    batch = next(numbers)
    items = [(batch, place) for place in range(3)]
    whole.extend(zip([batch], map(tx.send_many, [items])))

storm_of_interrupts(attempt)
tx.close()
for one in consuming:
    received.extend(one.result())
assert waiting(rx) == QUIET
assert rx.stats()["sent"] == rx.stats()["received"] == len(received) > 10
batches = {{}}
for batch, place in sorted(received):
    batches.setdefault(batch, []).append(place)
assert all(places == list(range(len(places))) for places in batches.values()), batches
assert all(count == 3 == len(batches[batch]) for batch, count in whole)
""")


def test_ctrl_c_with_parked_tasks(loop_name):
    run(f"""
import asyncio
from tests.support.driver import run, turns
full, of_full = filled(2)
empty, of_empty = bounded(1)
meeting, of_meeting = bounded(0)

async def main():
    waits = [
        *(full.aio.send(n) for n in range(5)),
        full.aio.send_many([1, 2]),
        full.aio.reserve(),
        *(of_empty.aio.recv() for _ in range(5)),
        of_empty.aio.recv_many(3),
        anext(of_empty.aio),
        *(meeting.aio.send(n) for n in range(5)),
    ]
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await turns()
    assert (waiting(full)["senders"], waiting(empty)["receivers"], waiting(meeting)["senders"]) == (7, 7, 5)
    signal.raise_signal(signal.SIGINT)
    await asyncio.gather(*tasks)

with interrupted():
    run(main(), {loop_name!r})
assert waiting(full) == waiting(empty) == waiting(meeting) == QUIET
assert of_full.drain() == [("filled", 0), ("filled", 1)]
assert full.stats()["sent"] == 2
assert outcome(of_meeting.try_recv, Empty)() is Empty
assert meeting.stats()["sent"] == 0
empty.send("item", timeout=0)
full.send("item", timeout=0)
assert of_empty.recv(timeout=0) == of_full.recv(timeout=0) == "item"
""")


@pytest.mark.parametrize("other", ["thread", "loop"])
@pytest.mark.parametrize("side", ["receives", "sends"])
def test_ctrl_c_of_a_loop_over_and_over_while_items_pass(side, other, loop_name):
    """A Runner cancels its task at each Ctrl-C; the next one goes on where that one was, and no item is missing."""
    run(f"""
import asyncio
from random import random
from tests.support.driver import LoopThread, new_loop
tx, rx = bounded(10)
done = 0
wrong, running, stop = [], threading.Event(), threading.Event()

async def main():
    global done
    running.set()
    while True:
        if {side!r} == "sends":
            await tx.aio.send(done)
        elif (item := await rx.aio.recv()) != done:
            wrong.append(item)
        done += 1
        if done % 100 == 0:
            await asyncio.sleep(0)

def others():
    if {side!r} == "sends":
        return list(rx)
    with tx:
        for n in itertools.count():
            if stop.is_set():
                return n
            tx.send(n)

async def others_async():
    if {side!r} == "sends":
        return [item async for item in rx.aio]
    with tx:
        for n in itertools.count():
            if stop.is_set():
                return n
            await tx.aio.send(n)

def disturb():
    # Once for each run: at a second one a Runner raises where it stands, in the loop's own code, too.
    running.wait()
    running.clear()
    time.sleep(random() * 0.003)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

with LoopThread({loop_name!r}) as there:
    peer = there.spawn(others_async()) if {other!r} == "loop" else spawn(others)
    for _ in range(30):
        interrupting = spawn(disturb)
        try:
            with asyncio.Runner(loop_factory=lambda: new_loop({loop_name!r})) as runner:
                runner.run(main())
        except KeyboardInterrupt:
            interrupting.result()
    stop.set()
    if {side!r} == "sends":
        tx.close()
        assert peer.result(HANG) == list(range(done))
    else:
        wrong += [item for n, item in enumerate(rx, done) if item != n]
        assert not wrong, wrong
        assert peer.result(HANG) == rx.stats()["received"] == rx.stats()["sent"]
assert waiting(rx) == QUIET
""")


@pytest.mark.parametrize("wait", ["tx.send('new')", "rx.recv()"])
def test_ctrl_c_in_a_thread_that_stops_its_loop_for_it(wait):
    run(f"""
import asyncio
from ferrule import allow_blocking
tx, rx = filled(1) if "tx" in {wait!r} else bounded(1)
count = len(rx)

async def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with allow_blocking(), interrupted(lambda: sum(waiting(tx).values()) == 1):
        {wait}
    assert waiting(tx) == QUIET
    task = asyncio.create_task(rx.aio.recv())
    await tx.aio.send("item", timeout=HANG) if not count else None
    return await task

assert asyncio.run(main()) == (("filled", 0) if count else "item")
assert len(rx) == 0
""")


@pytest.mark.parametrize("send_many", ["tx.send_many(endless)", "tx.aio.send_many(endless).send(None)"])
def test_ctrl_c_ends_what_would_go_on_for_ever(send_many):
    """Neither the iterator nor the channel runs any Python, and nothing ever waits."""
    run(f"""
tx, rx = unbounded()
endless = itertools.repeat(None)
signal.signal(signal.SIGALRM, signal.default_int_handler)
with interrupted():
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    {send_many}
assert len(rx) > 0
""")


def test_other_threads_go_on_beside_what_would_go_on_for_ever():
    run("""
tx, rx = unbounded()
class Enough(Exception):
    pass
def enough(*_):
    raise Enough
signal.signal(signal.SIGALRM, enough)
collecting = spawn(lambda: (rx.recv(), signal.setitimer(signal.ITIMER_REAL, 0.01)))
try:
    tx.send_many(itertools.repeat(None))
except Enough:
    pass
collecting.result()
""")
