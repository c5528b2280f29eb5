"""Channels of every capacity, sync: what each call does at once, what it waits for, and what its errors carry."""

import pytest

from ferrule import (
    MISSING,
    Disconnected,
    Empty,
    Full,
    Permit,
    Receiver,
    Sender,
    Timeout,
    WeakSender,
    bounded,
    unbounded,
)
from tests.support.channels import BUFFERED, CAPACITIES, LIMITED, channel, waiting
from tests.support.race import HANG, eventually, spawn


def filled(capacity):
    """A channel without room, which has the items 0, 1, ..."""
    tx, rx = channel(capacity)
    for item in range(capacity):
        tx.try_send(item)
    return tx, rx


class TestMaking:
    @pytest.mark.parametrize("capacity", [0, 1, 5, 10**9, 2**70])
    def test_bounded_gives_both_ends(self, capacity):
        tx, rx = bounded(capacity)
        assert type(tx) is Sender
        assert type(rx) is Receiver
        assert tx.capacity == rx.capacity == min(capacity, tx.capacity)
        assert tx.capacity >= min(capacity, 2**62)

    def test_unbounded_has_no_capacity(self):
        tx, rx = unbounded()
        assert tx.capacity is rx.capacity is None
        assert not tx.is_full

    def test_the_item_type_is_for_type_checkers(self):
        tx, rx = bounded[int](3)
        assert tx.capacity == 3
        tx, rx = unbounded[str]()
        assert rx.capacity is None
        for cls in (Sender, Receiver, WeakSender, Permit):
            assert cls[int].__origin__ is cls

    @pytest.mark.parametrize("capacity", [-1, "1", 1.5, None])
    def test_bad_capacities_are_refused(self, capacity):
        with pytest.raises(ValueError if capacity == -1 else TypeError):
            bounded(capacity)

    @pytest.mark.parametrize("args", [(), (1, 2)])
    def test_bad_numbers_of_arguments_are_refused(self, args):
        with pytest.raises(TypeError):
            bounded(*args)
        with pytest.raises(TypeError):
            unbounded(1)
        with pytest.raises(TypeError):
            bounded(capacity=1)

    @pytest.mark.parametrize("cls", [Sender, Receiver, WeakSender, Permit])
    def test_ends_come_from_the_library_only(self, cls):
        with pytest.raises(TypeError):
            cls()


@pytest.mark.parametrize("capacity", BUFFERED)
class TestBuffered:
    def test_items_come_in_the_order_they_were_sent(self, capacity):
        tx, rx = channel(capacity)
        count = 1000 if capacity is None else capacity
        for item in range(count):
            tx.send(item)
        assert len(tx) == len(rx) == count
        assert [rx.recv() for _ in range(count)] == list(range(count))
        assert len(rx) == 0
        assert rx.is_empty
        assert tx.is_empty

    def test_any_length_comes_and_goes(self, capacity, rng):
        tx, rx = channel(capacity)
        sent = received = 0
        for _ in range(3000):
            if rng.random() < 0.52:
                try:
                    tx.try_send(sent)
                    sent += 1
                except Full:
                    assert sent - received == capacity
            elif sent > received:
                assert rx.try_recv() == received
                received += 1
            assert len(rx) == sent - received
        assert rx.drain() == list(range(received, sent))

    def test_a_receiver_waits_for_an_item(self, capacity):
        tx, rx = channel(capacity)
        receiving = spawn(rx.recv)
        eventually(lambda: waiting(rx)["receivers"] == 1)
        tx.send("item")
        assert receiving.result() == "item"
        assert waiting(rx) == {"senders": 0, "receivers": 0, "reserved": 0}

    def test_an_item_beats_an_expired_deadline(self, capacity):
        tx, rx = channel(capacity)
        tx.send(1, timeout=0)
        assert rx.recv(timeout=0) == 1
        tx.send(2)
        assert rx.recv_many(5, timeout=0) == [2]


@pytest.mark.parametrize("capacity", LIMITED)
class TestFull:
    def test_try_send_gives_the_item_back(self, capacity):
        tx, rx = filled(capacity)
        item = object()
        with pytest.raises(Full) as caught:
            tx.try_send(item)
        assert caught.value.item is item
        assert tx.is_full
        assert rx.is_full
        assert rx.drain() == list(range(capacity))

    @pytest.mark.parametrize("timeout", [0, 0.01])
    def test_a_send_that_runs_out_of_time_gives_the_item_back(self, capacity, timeout):
        tx, rx = filled(capacity)
        item = object()
        with pytest.raises(Timeout) as caught:
            tx.send(item, timeout=timeout)
        assert caught.value.item is item
        assert waiting(tx)["senders"] == 0
        assert rx.drain() == list(range(capacity))

    def test_a_sender_waits_for_room(self, capacity):
        tx, rx = filled(capacity)
        sending = spawn(tx.send, "last")
        eventually(lambda: waiting(tx)["senders"] == 1)
        assert [rx.recv() for _ in range(capacity + 1)] == [*range(capacity), "last"]
        sending.result()

    def test_senders_that_wait_get_in_in_their_order(self, capacity):
        tx, rx = filled(capacity)
        sending = []
        for n in range(5):
            sending.append(spawn(tx.send, ("waited", n)))
            eventually(lambda n=n: waiting(tx)["senders"] == n + 1)
        received = []
        for _ in range(capacity + 5):
            received.append(rx.recv(timeout=HANG))
            if capacity:
                eventually(lambda: tx.is_full or waiting(tx)["senders"] == 0)
        assert received == [*range(capacity), *(("waited", n) for n in range(5))]
        for one in sending:
            one.result()


@pytest.mark.parametrize("capacity", CAPACITIES)
class TestEmpty:
    def test_try_recv(self, capacity):
        tx, rx = channel(capacity)
        with pytest.raises(Empty):
            rx.try_recv()
        assert rx.try_recv(None) is None
        assert rx.try_recv(MISSING) is MISSING
        assert rx.drain() == []
        assert list(rx.try_iter()) == []
        del tx

    @pytest.mark.parametrize("timeout", [0, 0.01])
    def test_a_receive_that_runs_out_of_time(self, capacity, timeout):
        tx, rx = channel(capacity)
        with pytest.raises(Timeout):
            rx.recv(timeout=timeout)
        with pytest.raises(Timeout):
            rx.recv_many(3, timeout=timeout)
        assert waiting(rx)["receivers"] == 0
        assert not tx.is_closed

    @pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
    def test_bad_timeouts_are_refused_even_where_nothing_waits(self, capacity, timeout):
        tx, rx = channel(capacity)
        for call in (
            lambda: tx.send(1, timeout=timeout),
            lambda: tx.send_many([1], timeout=timeout),
            lambda: rx.recv(timeout=timeout),
            lambda: rx.recv_many(1, timeout=timeout),
            lambda: tx.reserve(timeout=timeout),
        ):
            with pytest.raises(TypeError if timeout == "1" else ValueError):
                call()
        assert len(rx) == 0


class TestMany:
    @pytest.mark.parametrize("capacity", BUFFERED)
    def test_recv_many_takes_what_there_is(self, capacity):
        tx, rx = channel(capacity)
        count = min(capacity or 700, 700)
        for item in range(count):
            tx.send(item)
        assert rx.recv_many(1) == [0]
        tx.send("last")
        assert rx.recv_many(count + 5) == [*range(1, count), "last"]
        assert rx.is_empty

    @pytest.mark.parametrize("capacity", CAPACITIES)
    def test_recv_many_waits_for_the_first(self, capacity):
        tx, rx = channel(capacity)
        receiving = spawn(rx.recv_many, 10)
        eventually(lambda: waiting(rx)["receivers"] == 1)
        tx.send("item")
        assert receiving.result() == ["item"]

    @pytest.mark.parametrize("limit", [0, -1, "1", 1.5])
    def test_bad_limits_are_refused(self, limit):
        tx, rx = unbounded()
        tx.send(1)
        with pytest.raises(ValueError if limit in (0, -1) else TypeError):
            rx.recv_many(limit)
        assert rx.recv_many(2**70) == [1]

    def test_send_many_counts(self):
        tx, rx = unbounded()
        assert tx.send_many(range(1000)) == 1000
        assert tx.send_many([]) == 0
        assert rx.drain() == list(range(1000))

    def test_send_many_leaves_the_rest_in_the_iterable(self):
        tx, rx = bounded(3)
        items = iter(range(10))
        with pytest.raises(Timeout) as caught:
            tx.send_many(items, timeout=0.01)
        assert (caught.value.sent, caught.value.item) == (3, 3)
        assert list(items) == [4, 5, 6, 7, 8, 9]
        rx.close()
        with pytest.raises(Disconnected) as caught:
            tx.send_many(iter([1, 2]))
        assert (caught.value.sent, caught.value.item) == (0, 1)

    def test_send_many_passes_on_what_the_iterable_raises(self):
        def items():
            yield 1
            yield 2
            raise KeyError("mine")

        tx, rx = unbounded()
        with pytest.raises(KeyError, match="mine"):
            tx.send_many(items())
        assert rx.drain() == [1, 2]
        with pytest.raises(TypeError):
            tx.send_many(5)

    @pytest.mark.parametrize("capacity", CAPACITIES)
    def test_send_many_waits_for_room(self, capacity):
        tx, rx = channel(capacity)
        sending = spawn(tx.send_many, range(100))
        assert [rx.recv(timeout=HANG) for _ in range(100)] == list(range(100))
        assert sending.result() == 100

    @pytest.mark.parametrize("capacity", CAPACITIES)
    def test_iteration_ends_when_all_senders_are_closed(self, capacity):
        tx, rx = channel(capacity)

        def send():
            with tx:
                tx.send_many(range(20))

        sending = spawn(send)
        assert list(rx) == list(range(20))
        assert list(rx) == []
        sending.result()


class TestForceSend:
    def test_takes_the_place_of_the_oldest(self):
        tx, rx = bounded(2)
        assert [tx.force_send(item, "none") for item in range(5)] == ["none", "none", 0, 1, 2]
        assert rx.drain() == [3, 4]
        assert tx.stats()["high_water"] == 2

    def test_overtakes_senders_that_wait(self):
        tx, rx = bounded(1)
        tx.send("oldest")
        sending = spawn(tx.send, "waits")
        eventually(lambda: waiting(tx)["senders"] == 1)
        assert tx.force_send("forced") == "oldest"
        assert rx.recv() == "forced"
        assert rx.recv(timeout=HANG) == "waits"
        sending.result()

    def test_of_an_unbounded_channel_is_a_send(self):
        tx, rx = unbounded()
        assert tx.force_send(1) is None
        assert rx.drain() == [1]

    def test_of_a_rendezvous_is_a_try_send(self):
        tx, rx = bounded(0)
        with pytest.raises(Full) as caught:
            tx.force_send(1)
        assert caught.value.item == 1
        receiving = spawn(rx.recv)
        eventually(lambda: waiting(rx)["receivers"] == 1)
        assert tx.force_send(2) is None
        assert receiving.result() == 2

    def test_does_not_take_what_is_promised(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        with pytest.raises(Full) as caught:
            tx.force_send(1)
        assert caught.value.item == 1
        permit.send(2)
        assert tx.force_send(3) == 2
        assert rx.recv() == 3


class TestPermits:
    @pytest.mark.parametrize("capacity", BUFFERED)
    def test_send_into_the_slot(self, capacity):
        tx, rx = channel(capacity)
        permit = tx.reserve()
        assert len(rx) == 0
        permit.send("item")
        assert rx.recv() == "item"
        for call in (lambda: permit.send(1), permit.release):
            with pytest.raises(RuntimeError):
                call()
        assert waiting(tx)["reserved"] == 0

    def test_take_room_from_others(self):
        tx, rx = bounded(2)
        permits = [tx.reserve(), tx.reserve()]
        assert tx.is_full
        with pytest.raises(Full):
            tx.try_send(1)
        with pytest.raises(Timeout):
            tx.reserve(timeout=0)
        sending = spawn(tx.send, "waits")
        eventually(lambda: waiting(tx)["senders"] == 1)
        permits[0].release()
        sending.result()
        permits[1].send("permitted")
        assert rx.drain() == ["waits", "permitted"]

    def test_wait_for_a_slot(self):
        tx, rx = bounded(1)
        tx.send(1)
        reserving = spawn(tx.reserve)
        eventually(lambda: waiting(tx)["senders"] == 1)
        assert rx.recv() == 1
        reserving.result().send(2)
        assert rx.recv() == 2

    def test_with_releases_one_that_was_not_used(self):
        tx, _rx = bounded(1)
        with tx.reserve() as permit:
            assert waiting(tx)["reserved"] == 1
        assert waiting(tx)["reserved"] == 0
        with pytest.raises(RuntimeError):
            permit.send(1)
        with tx.reserve() as permit:
            permit.send(1)
        assert len(tx) == 1

    def test_a_forgotten_one_gives_its_slot_back_and_warns(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        sending = spawn(tx.send, 1)
        eventually(lambda: waiting(tx)["senders"] == 1)
        with pytest.warns(ResourceWarning, match="permit"):
            del permit
        sending.result()
        assert rx.recv() == 1

    def test_there_are_none_of_a_rendezvous(self):
        tx, _rx = bounded(0)
        with pytest.raises(ValueError, match="slots"):
            tx.reserve()

    def test_give_the_item_back_where_nobody_can_receive_it(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        rx.close()
        with pytest.raises(Disconnected) as caught:
            permit.send("item")
        assert caught.value.item == "item"
        with pytest.raises(RuntimeError):
            permit.release()


class TestRendezvous:
    def test_a_send_returns_when_the_item_was_taken(self):
        tx, rx = bounded(0)
        order = []

        def send():
            tx.send("item")
            order.append("sent")

        sending = spawn(send)
        eventually(lambda: waiting(tx)["senders"] == 1)
        assert order == []
        assert len(rx) == 0
        assert rx.recv() == "item"
        sending.result()
        assert order == ["sent"]

    def test_try_recv_takes_from_a_sender_that_waits(self):
        tx, rx = bounded(0)
        sending = [spawn(tx.send, n) for n in range(3)]
        eventually(lambda: waiting(tx)["senders"] == 3)
        assert sorted([rx.try_recv(), *rx.drain()]) == [0, 1, 2]
        for one in sending:
            one.result()
        assert tx.stats()["sent"] == tx.stats()["received"] == 3

    def test_try_send_needs_a_receiver_that_waits_now(self):
        tx, rx = bounded(0)
        with pytest.raises(Full):
            tx.try_send(1)
        receiving = spawn(rx.recv)
        eventually(lambda: waiting(rx)["receivers"] == 1)
        tx.try_send(2)
        with pytest.raises(Full):
            tx.try_send(3)
        assert receiving.result() == 2

    def test_is_always_empty_and_full(self):
        tx, rx = bounded(0)
        assert tx.is_empty
        assert tx.is_full
        assert rx.is_empty
        assert rx.is_full


class TestLooks:
    def test_stats(self):
        tx, rx = bounded(5)
        for n in range(4):
            tx.send(n)
        rx.recv()
        assert tx.stats() == rx.stats() == {"sent": 4, "received": 1, "high_water": 4, "waits": 0}
        receiving = spawn(lambda: (rx.drain(), rx.recv()))
        eventually(lambda: waiting(rx)["receivers"] == 1)
        tx.send(5)
        receiving.result()
        assert tx.stats() == {"sent": 5, "received": 5, "high_water": 4, "waits": 1}

    def test_repr(self):
        tx, rx = bounded(3)
        tx.send(1)
        assert repr(tx).startswith("<ferrule.Sender open, 1 of 3 items at 0x")
        assert repr(rx).startswith("<ferrule.Receiver open, 1 of 3 items at 0x")
        assert repr(rx.aio).startswith("<ferrule.aio.Receiver open, 1 of 3 items at 0x")
        tx.close()
        assert repr(tx).startswith("<ferrule.Sender closed")
        assert repr(rx).startswith("<ferrule.Receiver disconnected")
        ends = unbounded()
        assert repr(ends[0]).startswith("<ferrule.Sender open, 0 items at 0x")

    def test_same_channel(self):
        tx, rx = bounded(1)
        other, _ = bounded(1)
        assert tx.same_channel(rx)
        assert rx.same_channel(tx.clone())
        assert rx.same_channel(tx.aio)
        assert not tx.same_channel(other)
        with pytest.raises(TypeError):
            tx.same_channel(1)

    def test_the_empty_channel_is_true(self):
        tx, rx = bounded(1)
        assert tx
        assert rx
