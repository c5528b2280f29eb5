"""The ends' truth table: what every method does on an end that is open, whose peer or channel is gone, or is closed."""

import asyncio
import copy
import gc
import pickle
import weakref

import pytest

from ferrule import Disconnected, Empty, Receiver, Sender, aio, bounded, unbounded
from tests.support.channels import BUFFERED, CAPACITIES, channel, waiting
from tests.support.hostile import unraisable
from tests.support.race import HANG, eventually, spawn


def result(call):
    """What the call gives, or the kind of error that it raises."""
    try:
        return call()
    except Exception as error:
        return type(error)


# (what has happened to the channel of capacity 2 that has the item "queued", a closed end's side or None)
def peer_closed_for_sender(tx, rx):
    rx.close()


def peer_closed_for_receiver(tx, rx):
    tx.close()


def channel_closed(tx, rx):
    tx.close_channel()


def channel_closed_by_receiver(tx, rx):
    rx.close_channel()


def own_sender_closed(tx, rx):
    tx.close()


def own_receiver_closed(tx, rx):
    rx.close()


def open_(tx, rx):
    """Nothing."""


def reserve(tx):
    with tx.reserve(timeout=0) as permit:
        return type(permit).__name__


SENDS = {
    "send": lambda tx: tx.send("new", timeout=0),
    "try_send": lambda tx: tx.try_send("new"),
    "force_send": lambda tx: tx.force_send("new", "none"),
    "send_many": lambda tx: tx.send_many(["new"], timeout=0),
    "reserve": reserve,
    "clone": lambda tx: type(tx.clone()),
    "new_sender": lambda tx: type(tx.new_sender()),
    "new_receiver": lambda tx: type(tx.new_receiver()),
    "upgrade": lambda tx: type(tx.downgrade().upgrade()).__name__,
    "is_closed": lambda tx: tx.is_closed,
    "is_disconnected": lambda tx: tx.is_disconnected,
    "len": len,
}

SENDER_ROWS = {
    open_: {
        "send": None,
        "try_send": None,
        "force_send": "none",
        "send_many": 1,
        "reserve": "Permit",
        "clone": Sender,
        "new_sender": Sender,
        "new_receiver": Receiver,
        "upgrade": "Sender",
        "is_closed": False,
        "is_disconnected": False,
        "len": 1,
    },
    peer_closed_for_sender: {
        "send": Disconnected,
        "try_send": Disconnected,
        "force_send": Disconnected,
        "send_many": Disconnected,
        "reserve": Disconnected,
        "clone": Sender,
        "new_sender": Sender,
        "new_receiver": Disconnected,
        "upgrade": "Sender",
        "is_closed": False,
        "is_disconnected": True,
        "len": 0,
    },
    channel_closed: {
        "send": Disconnected,
        "try_send": Disconnected,
        "force_send": Disconnected,
        "send_many": Disconnected,
        "reserve": Disconnected,
        "clone": Sender,
        "new_sender": Disconnected,
        "new_receiver": Receiver,
        "upgrade": "NoneType",
        "is_closed": False,
        "is_disconnected": True,
        "len": 1,
    },
    own_sender_closed: {
        "send": Disconnected,
        "try_send": Disconnected,
        "force_send": Disconnected,
        "send_many": Disconnected,
        "reserve": Disconnected,
        "clone": Disconnected,
        "new_sender": Disconnected,
        "new_receiver": Receiver,
        "upgrade": "NoneType",
        "is_closed": True,
        "is_disconnected": False,
        "len": 1,
    },
}

RECEIVES = {
    "recv": lambda rx: rx.recv(timeout=0),
    "recv twice": lambda rx: (rx.recv(timeout=0), rx.recv(timeout=0)),
    "try_recv": lambda rx: rx.try_recv(),
    "try_recv twice": lambda rx: (rx.try_recv(), rx.try_recv()),
    "try_recv with a default": lambda rx: (rx.try_recv("none"), rx.try_recv("none")),
    "recv_many": lambda rx: rx.recv_many(5, timeout=0),
    "drain": lambda rx: rx.drain(),
    "try_iter": lambda rx: list(rx.try_iter()),
    "clone": lambda rx: type(rx.clone()),
    "new_sender": lambda rx: type(rx.new_sender()),
    "new_receiver": lambda rx: type(rx.new_receiver()),
    "is_closed": lambda rx: rx.is_closed,
    "is_disconnected": lambda rx: rx.is_disconnected,
    "len": len,
}

DRAINS = {
    "recv": "queued",
    "try_recv": "queued",
    "try_recv with a default": ("queued", "none"),
    "recv_many": ["queued"],
    "drain": ["queued"],
    "try_iter": ["queued"],
    "clone": Receiver,
    "new_receiver": Receiver,
    "is_closed": False,
    "len": 1,
}

RECEIVER_ROWS = {
    open_: {
        **DRAINS,
        "recv twice": TimeoutError,
        "try_recv twice": Empty,
        "new_sender": Sender,
        "is_disconnected": False,
    },
    peer_closed_for_receiver: {
        **DRAINS,
        "recv twice": Disconnected,
        "try_recv twice": Disconnected,
        "new_sender": Disconnected,
        "is_disconnected": True,
    },
    channel_closed_by_receiver: {
        **DRAINS,
        "recv twice": Disconnected,
        "try_recv twice": Disconnected,
        "new_sender": Disconnected,
        "is_disconnected": True,
    },
    own_receiver_closed: {
        "recv": Disconnected,
        "recv twice": Disconnected,
        "try_recv": Disconnected,
        "try_recv twice": Disconnected,
        "try_recv with a default": ("none", "none"),
        "recv_many": Disconnected,
        "drain": Disconnected,
        "try_iter": [],
        "clone": Disconnected,
        "new_sender": Sender,
        "new_receiver": Disconnected,
        "is_closed": True,
        "is_disconnected": False,
        "len": 0,
    },
}


def same(got, expected):
    return got == expected or (isinstance(got, type) and isinstance(expected, type) and issubclass(got, expected))


@pytest.mark.parametrize("method", SENDS)
@pytest.mark.parametrize("happened", SENDER_ROWS, ids=lambda happened: happened.__name__)
def test_senders(happened, method):
    tx, rx = bounded(2)
    tx.send("queued")
    happened(tx, rx)
    assert same(result(lambda: SENDS[method](tx)), SENDER_ROWS[happened][method])


@pytest.mark.parametrize("method", RECEIVES)
@pytest.mark.parametrize("happened", RECEIVER_ROWS, ids=lambda happened: happened.__name__)
def test_receivers(happened, method):
    tx, rx = bounded(2)
    tx.send("queued")
    happened(tx, rx)
    assert same(result(lambda: RECEIVES[method](rx)), RECEIVER_ROWS[happened][method])


@pytest.mark.parametrize("capacity", BUFFERED)
def test_what_is_queued_when_the_last_receiver_closes_is_dropped_at_once(capacity):
    class Item:
        pass

    tx, rx = channel(capacity)
    item = Item()
    gone = weakref.ref(item)
    tx.send(item)
    del item
    other = rx.clone()
    rx.close()
    assert gone() is not None
    other.close()
    gc.collect()
    assert gone() is None
    assert len(tx) == 0


@pytest.mark.parametrize("capacity", CAPACITIES)
class TestWaiting:
    @pytest.mark.parametrize("happens", ["close", "close_channel", "peer"])
    def test_a_receiver_that_waits_is_told(self, capacity, happens):
        tx, rx = channel(capacity)
        receiving = spawn(lambda: result(rx.recv))
        many = spawn(lambda: result(lambda: rx.recv_many(5)))
        eventually(lambda: waiting(rx)["receivers"] == 2)
        {"close": rx.close, "close_channel": tx.close_channel, "peer": tx.close}[happens]()
        assert receiving.result() is many.result() is Disconnected

    @pytest.mark.parametrize("happens", ["close", "close_channel", "peer"])
    def test_a_sender_that_waits_is_told_and_keeps_its_item(self, capacity, happens):
        if capacity is None:
            tx, rx = bounded(2)
            capacity = 2
        else:
            tx, rx = channel(capacity)
        for n in range(capacity):
            tx.send(n)
        item = object()

        def send():
            with pytest.raises(Disconnected) as caught:
                tx.send(item)
            return caught.value.item

        sending = spawn(send)
        eventually(lambda: waiting(tx)["senders"] == 1)
        {"close": tx.close, "close_channel": rx.close_channel, "peer": rx.close}[happens]()
        assert sending.result() is item

    def test_only_those_at_the_closed_end(self, capacity):
        tx, rx = channel(capacity)
        other = rx.clone()
        here, there = spawn(lambda: result(rx.recv)), spawn(lambda: result(other.recv))
        eventually(lambda: waiting(rx)["receivers"] == 2)
        rx.close()
        assert here.result() is Disconnected
        tx.send("item")
        assert there.result() == "item"


class TestCounts:
    def test_clones_count(self):
        tx, rx = bounded(1)
        assert (tx.sender_count, tx.receiver_count) == (1, 1)
        more = [tx.clone(), rx.new_sender(), tx.aio.clone()]
        assert (rx.sender_count, rx.receiver_count) == (4, 1)
        tx.close()
        tx.close()
        assert rx.sender_count == 3
        for one in more:
            assert not rx.is_disconnected
            one.close()
        assert rx.sender_count == 0
        assert rx.is_disconnected

    def test_faces_of_one_end_count_once(self):
        tx, rx = bounded(1)
        face = tx.aio
        assert face.sync == tx
        assert hash(face.sync) == hash(tx)
        assert tx.sender_count == 1
        del tx
        assert rx.sender_count == 1
        face.close()
        assert rx.sender_count == 0

    def test_an_end_that_nobody_has_is_closed(self):
        tx, rx = bounded(1)
        tx.send(1)
        del tx
        gc.collect()
        assert rx.is_disconnected
        assert list(rx) == [1]
        tx, rx = bounded(1)
        del rx
        gc.collect()
        with pytest.raises(Disconnected):
            tx.send(1)

    def test_a_weak_sender_does_not_keep_the_channel_open(self):
        tx, rx = unbounded()
        weak = tx.downgrade()
        other = weak.upgrade()
        other.send(1)
        other.close()
        tx.close()
        assert weak.upgrade() is None
        assert list(rx) == [1]

    def test_ends_can_be_weakly_referenced(self):
        tx, rx = unbounded()
        weak = [weakref.ref(end) for end in (tx, rx, tx.aio)]
        assert weak[0]() is tx
        assert weak[2]() is None

    def test_with_closes(self):
        tx, rx = unbounded()
        with tx as same_end:
            assert same_end is tx
        assert tx.is_closed
        with rx:
            pass
        assert rx.is_closed


@pytest.mark.parametrize("make", [lambda: bounded(1), unbounded, lambda: aio.bounded(1), aio.unbounded])
def test_ends_are_neither_pickled_nor_copied(make):
    for end in make():
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot pickle or copy a ferrule"):
                call(end)


class TestCycles:
    def test_a_channel_sent_through_itself(self):
        tx, rx = unbounded()
        tx.send(tx)
        tx.send(rx)
        assert rx.recv() is tx
        assert rx.recv() is rx
        tx.send((tx, rx))
        gone = weakref.ref(tx)
        del tx, rx
        gc.collect()
        assert gone() is None

    def test_an_item_that_holds_its_own_channel(self):
        class Item:
            pass

        tx, rx = bounded(3)
        item = Item()
        item.ends = tx, rx
        gone = weakref.ref(item)
        tx.send(item)
        del item, tx, rx
        gc.collect()
        assert gone() is None

    def test_channels_in_channels_in_channels(self):
        innermost = None
        for _ in range(100_000):
            tx, rx = unbounded()
            tx.send(innermost)
            innermost = rx
        del tx, rx, innermost
        gc.collect()

    def test_destructors_that_raise_stop_nothing(self):
        died = []

        class Item:
            def __del__(self):
                died.append(1)
                raise KeyError("mine")

        tx, rx = unbounded()
        tx.send_many(Item() for _ in range(100))
        with unraisable() as reported:
            rx.close()
        assert len(died) == len(reported) == 100

    def test_destructors_that_use_the_channel(self):
        tx, rx = unbounded()
        seen = []

        class Item:
            def __del__(self):
                seen.append((len(tx), result(lambda: tx.send(1)), result(rx.recv)))

        tx.send(Item())
        rx.close()
        assert seen == [(0, Disconnected, Disconnected)]


def test_a_task_that_waits_keeps_its_end():
    async def main():
        tx, rx = aio.bounded(1)
        receiving = asyncio.create_task(rx.recv())
        del rx
        await asyncio.sleep(0)
        gc.collect()
        await tx.send("item")
        return await asyncio.wait_for(receiving, HANG)

    assert asyncio.run(main()) == "item"
