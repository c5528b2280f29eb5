"""Racing calls on one channel: every result that is allowed, and why; anything else fails."""

import asyncio
import random

import pytest

from ferrule import Disconnected, Empty, Full, Permit, Receiver, Sender, Timeout, bounded, unbounded
from tests.support.channels import channel, waiting
from tests.support.driver import LoopThread, complete
from tests.support.hostile import hostile
from tests.support.race import RACES, eventually, outcome, raced, refused, run_together, soon, spawn

AT_REST = {"senders": 0, "receivers": 0, "reserved": 0}


def sends(send, item, **keywords):
    """The call, with an error as its type if that has the item."""

    def sent():
        try:
            return send(item, **keywords)
        except (Disconnected, Full, Timeout) as error:
            refusal = error
        assert refusal.item is item
        return type(refusal)

    return sent


def receives(receive, **keywords):
    return outcome(lambda: receive(**keywords), Disconnected, Empty, Timeout)


def short():
    """A timeout of up to 0.3 ms."""
    return random.random() * 0.0003


def mortal(died):
    """An item that says when it dies."""
    return hostile(__del__=lambda _: died.append(1))


def closing(what, tx, rx):
    """What ends the channel for a sender."""
    return {"close_channel": rx.close_channel, "the end": tx.close, "the receivers": rx.close}[what]


def parked(function, end, side):
    """A thread that waits in the call, for as long as it takes."""
    before = waiting(end)[side]
    thread = spawn(function)
    eventually(lambda: waiting(end)[side] == before + 1)
    return thread


# --- one item, one slot ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, None])
@raced(RACES // 8)
def test_of_racing_receives_of_one_item_exactly_one_gets_it(capacity):
    tx, rx = channel(capacity)
    tx.send("item")
    taken = run_together(receives(rx.try_recv), receives(rx.clone().try_recv), receives(rx.aio.try_recv))
    assert sorted(taken, key=str) == [Empty, Empty, "item"]
    assert len(rx) == 0


@raced(RACES // 8)
def test_of_racing_receives_from_one_waiting_sender_exactly_one_gets_the_item():
    tx, rx = bounded(0)
    sender = parked(lambda: tx.send("item"), tx, "senders")
    taken = run_together(receives(rx.try_recv), receives(rx.try_recv), receives(rx.recv, timeout=0))
    assert sorted(taken, key=str) in (
        [Empty, Timeout, "item"],  # one of the first two took it
        [Empty, Empty, "item"],  # the third did
    )
    assert sender.result() is None
    assert waiting(tx) == AT_REST


@raced(RACES // 8)
def test_of_racing_sends_into_one_slot_exactly_one_succeeds():
    tx, rx = bounded(2)
    tx.send("first")
    sent = run_together(sends(tx.try_send, 0), sends(tx.clone().try_send, 1), sends(tx.aio.try_send, 2))
    assert sorted(sent, key=str) == [Full, Full, None]
    assert rx.drain() == ["first", sent.index(None)]


@raced(RACES // 8)
def test_of_racing_sends_to_one_waiting_receiver_exactly_one_succeeds():
    tx, rx = bounded(0)
    receiver = parked(rx.recv, rx, "receivers")
    sent = run_together(sends(tx.try_send, 0), sends(tx.try_send, 1), sends(tx.force_send, 2))
    assert sorted(sent, key=str) == [Full, Full, None]
    assert receiver.result() == sent.index(None)
    assert len(rx) == 0


@raced(RACES // 8)
def test_a_send_a_reservation_and_a_forced_send_into_one_slot():
    tx, rx = bounded(1)
    sent, permit, displaced = run_together(
        sends(tx.try_send, "sent"),
        outcome(lambda: tx.reserve(timeout=0), Timeout),
        sends(lambda item: tx.force_send(item, "none"), "forced"),
    )
    answers = sent, permit if permit is Timeout else "a permit", displaced
    assert (*answers, rx.drain()) in (
        (None, Timeout, "sent", ["forced"]),  # sent, then displaced
        (Full, Timeout, "none", ["forced"]),  # forced into the free slot
        (Full, "a permit", Full, []),  # promised first: there is nothing to be displaced
    )
    if permit is not Timeout:
        permit.release()


@raced(RACES // 8)
def test_a_forced_send_against_a_receive():
    tx, rx = bounded(1)
    tx.send("old")
    displaced, taken = run_together(lambda: tx.force_send("new", "none"), rx.try_recv)
    assert (displaced, taken, rx.drain()) in (
        ("none", "old", ["new"]),  # received first: there is room
        ("old", "new", []),  # displaced first
    )


@raced(RACES // 20)
def test_a_drain_takes_all_that_there_was_at_one_moment():
    """Many items, so that it takes its time."""
    tx, rx = unbounded()
    tx.send_many(range(20_000))

    def send_and_take():
        tx.send("last but one")
        tx.send("last")
        return rx.try_recv(None)

    drained, taken = run_together(rx.drain, send_and_take)
    assert (drained[0], drained[-1], taken, rx.drain()) in (
        (0, 19_999, "last but one", ["last"]),  # drained before the first was sent
        (0, "last but one", "last", []),  # between the two
        (0, "last", None, []),  # after both
        (1, "last", 0, []),  # after one was received, by when both had been sent
    )


@raced(RACES // 8)
def test_a_drain_against_a_receive_shares_all_items_out():
    tx, rx = unbounded()
    tx.send_many(range(3))
    drained, taken = run_together(rx.drain, receives(rx.try_recv))
    assert (drained, taken) in (
        ([0, 1, 2], Empty),
        ([1, 2], 0),
    )


# --- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("send", ["send", "try_send", "in a task"])
@raced(RACES // 8)
def test_a_send_against_close_channel(send):
    tx, rx = bounded(1)
    call = {"send": tx.send, "try_send": tx.try_send, "in a task": lambda item: complete(tx.aio.send(item))}[send]
    sent, _ = run_together(sends(call, "item"), rx.close_channel)
    assert (sent, rx.drain(), receives(rx.recv)()) in (
        (None, ["item"], Disconnected),  # sent, and received after the end
        (Disconnected, [], Disconnected),  # closed first
    )


@raced(RACES // 8)
def test_a_send_against_the_last_receivers_close():
    """The item is dropped with the queue, or comes back."""
    tx, rx = bounded(1)
    died, back = [], []
    items = [mortal(died)]

    def send():
        try:
            return tx.send(items.pop())
        except Disconnected as error:
            back.append(error.item)
            return Disconnected

    sent, _ = run_together(send, rx.close)
    assert (sent, len(back)) in {
        (None, 0),  # sent, and dropped when the receiver closed
        (Disconnected, 1),  # closed first
    }
    assert len(tx) == 0
    back.clear()
    eventually(lambda: died)  # without the GIL, what another thread made may die a little later
    assert len(died) == 1


@raced(RACES // 8)
def test_a_send_against_its_own_ends_close():
    tx, rx = bounded(1)
    sent, _ = run_together(sends(tx.send, "item"), tx.close)
    assert (sent, rx.drain()) in (
        (None, ["item"]),  # sent before
        (Disconnected, []),  # refused, and nothing was sent
    )
    assert receives(rx.recv)() is Disconnected


@pytest.mark.parametrize("what", ["close_channel", "the end"])
@raced(RACES // 8)
def test_a_waiting_send_against_a_receive_and_the_end_of_sending(what):
    tx, rx = bounded(1)
    tx.send("first")
    sender = parked(sends(tx.send, "second"), tx, "senders")
    taken, _ = run_together(rx.try_recv, closing(what, tx, rx))
    assert (taken, sender.result(), rx.drain()) in (
        ("first", None, ["second"]),  # there was room in time
        ("first", Disconnected, []),  # told first, or before it could use the room
    )
    assert waiting(tx) == AT_REST


@raced(RACES // 8)
def test_a_waiting_send_against_a_receive_and_the_last_receivers_close():
    tx, rx = bounded(1)
    tx.send("first")
    sender = parked(sends(tx.send, "second"), tx, "senders")
    taken, _ = run_together(receives(rx.try_recv), rx.close)
    assert (taken, sender.result()) in {
        ("first", None),  # there was room in time; what was sent then was dropped by the close
        ("first", Disconnected),  # the close came before it could use the room
        (Disconnected, Disconnected),  # the close came first
    }
    assert (len(tx), waiting(tx)) == (0, AT_REST)


@raced(RACES // 8)
def test_a_waiting_receive_against_a_send_and_close_channel():
    tx, rx = bounded(1)
    receiver = parked(receives(rx.recv), rx, "receivers")
    sent, _ = run_together(sends(tx.send, "item"), tx.close_channel)
    assert (sent, receiver.result(), len(rx)) in {
        (None, "item", 0),  # what was sent before the end is received
        (Disconnected, Disconnected, 0),
    }


@raced(RACES // 8)
def test_a_waiting_receive_against_the_last_senders_send_and_close():
    tx, rx = bounded(1)
    receiver = parked(receives(rx.recv), rx, "receivers")
    other = tx.clone()

    def send():
        with other:
            other.send("item")

    run_together(send, tx.close)
    assert receiver.result() == "item", "whoever closed last, the item was there by then"
    assert receives(rx.recv)() is Disconnected


@raced(RACES // 8)
def test_a_receive_against_its_own_ends_close():
    tx, rx = bounded(1)
    other = rx.clone()
    tx.send("item")
    taken, _ = run_together(receives(rx.recv), rx.close)
    assert (taken, other.drain()) in (
        ("item", []),  # received before
        (Disconnected, ["item"]),  # refused: it is there for the other
    )


@raced(RACES // 8)
def test_a_forced_send_against_close_channel():
    tx, rx = bounded(1)
    tx.send("old")
    displaced, _ = run_together(sends(tx.force_send, "new"), rx.close_channel)
    assert (displaced, rx.drain()) in (
        ("old", ["new"]),  # displaced before the end
        (Disconnected, ["old"]),  # refused: nothing was displaced
    )


@raced(RACES // 8)
def test_a_forced_send_against_the_last_receivers_close():
    tx, rx = bounded(1)
    tx.send("old")
    displaced, _ = run_together(sends(tx.force_send, "new"), rx.close)
    assert (displaced, len(tx)) in {
        ("old", 0),  # displaced, and the new one dropped when the receiver closed
        (Disconnected, 0),  # the old one was dropped
    }


@raced(RACES // 8)
def test_a_clone_against_the_last_close():
    tx, rx = unbounded()
    made, _ = run_together(outcome(rx.clone, Disconnected), rx.close)
    if made is Disconnected:
        assert (tx.receiver_count, sends(tx.send, "item")()) == (0, Disconnected), "closed first, and for ever"
    else:
        assert (tx.receiver_count, sends(tx.send, "item")(), made.recv()) == (1, None, "item")


@pytest.mark.parametrize("last", ["close", "close_channel"])
@raced(RACES // 8)
def test_an_upgrade_against_the_last_senders_close(last):
    tx, rx = unbounded()
    weak = tx.downgrade()
    upgraded, _ = run_together(weak.upgrade, getattr(tx, last))
    if upgraded is None:
        assert receives(rx.recv)() is Disconnected
    else:
        assert type(upgraded) is Sender
        assert rx.is_disconnected is (last == "close_channel")
    assert rx.sender_count == (upgraded is not None) + (last == "close_channel")


@raced(RACES // 8)
def test_new_ends_against_the_last_receivers_close():
    tx, rx = unbounded()
    made, _ = run_together(outcome(tx.new_receiver, Disconnected), rx.close)
    assert (type(made), tx.receiver_count) in {
        (Receiver, 1),  # made before: the side was never gone
        (type, 0),  # Disconnected
    }


@raced(RACES // 8)
def test_the_last_receivers_closing_at_once_drop_each_item_once():
    died = []
    tx, rx = bounded(2)
    others = rx.clone(), rx.clone()
    tx.send(mortal(died))
    tx.send(mortal(died))
    sender = parked(sends(tx.send, "waits"), tx, "senders")
    run_together(rx.close, others[0].close, others[1].close)
    assert sender.result() is Disconnected
    eventually(lambda: len(died) >= 2)
    assert len(died) == 2
    assert (len(tx), tx.receiver_count, waiting(tx)) == (0, 0, AT_REST)


@raced(RACES // 8)
def test_the_last_senders_closing_at_once_tell_each_receiver():
    tx, rx = bounded(1)
    others = tx.clone(), tx.clone()
    receivers = [parked(receives(receive), rx, "receivers") for receive in (rx.recv, rx.clone().recv)]
    run_together(tx.close, others[0].close, others[1].close)
    assert [receiver.result() for receiver in receivers] == [Disconnected, Disconnected]
    assert (rx.sender_count, waiting(rx)) == (0, AT_REST)


@raced(RACES // 8)
def test_one_end_closed_by_several_counts_once():
    tx, rx = bounded(1)
    other = rx.clone()
    run_together(rx.close, rx.close, rx.aio.close)
    assert tx.receiver_count == 1
    assert sends(tx.send, "item")() is None
    assert other.recv() == "item"


@raced(RACES // 8)
def test_a_send_against_the_close_of_one_of_two_ends_that_are_waited_at():
    """Leave that was given to who waits at the closed end goes to the other."""
    tx, rx = bounded(1)
    other = rx.clone()
    first = parked(receives(rx.recv), rx, "receivers")
    second = parked(receives(other.recv), rx, "receivers")
    run_together(lambda: tx.send("item"), rx.close)
    taken = first.result()
    if taken == "item":
        tx.send("another")  # it was received before the end; this one is for the second
    eventually(lambda: not second.alive or (waiting(other)["receivers"] and len(other)))
    waits_in_vain = second.alive and waiting(other)["receivers"] and len(other)
    tx.close()
    assert (taken, second.result()) in {("item", "another"), (Disconnected, "item")}
    assert not waits_in_vain, "an item is there, who waits has no leave to take it, and nobody else has"


@raced(RACES // 8)
def test_a_receive_against_the_close_of_one_of_two_ends_that_are_waited_at():
    tx, rx = bounded(1)
    other = tx.clone()
    tx.send("first")
    one = parked(sends(tx.send, "one"), tx, "senders")
    two = parked(sends(other.send, "two"), tx, "senders")
    run_together(rx.recv, tx.close)
    sent = one.result()
    if sent is None:
        assert rx.recv() == "one"
    eventually(lambda: not two.alive or (waiting(other)["senders"] and not len(other)))
    waits_in_vain = two.alive and waiting(other)["senders"] and not len(other)
    rx.close_channel()
    assert sent in (None, Disconnected)
    assert two.result() is (Disconnected if waits_in_vain else None)
    assert not waits_in_vain, "there is room, who waits has no leave to use it, and nobody else has"


# --- permits ---------------------------------------------------------------------------------------------------------


@raced(RACES // 8)
def test_a_permit_is_used_or_released_and_once():
    tx, rx = bounded(1)
    permit = tx.reserve()
    sent, released = run_together(refused(permit.send, "item"), refused(permit.release))
    assert (sent, released, rx.drain()) in (
        (None, RuntimeError, ["item"]),
        (RuntimeError, None, []),
    )
    assert waiting(tx) == AT_REST
    assert not tx.is_full


@raced(RACES // 8)
def test_a_permit_used_by_several_sends_one_item():
    tx, rx = bounded(2)
    permit = tx.reserve()
    sent = run_together(refused(permit.send, 0), refused(permit.send, 1), refused(permit.send, 2))
    assert sorted(sent, key=str) == [RuntimeError, RuntimeError, None]
    assert rx.drain() == [sent.index(None)]
    assert waiting(tx) == AT_REST


@raced(RACES // 8)
def test_the_end_of_a_with_block_against_a_permits_send():
    tx, rx = bounded(1)
    permit = tx.reserve()
    sent, _ = run_together(refused(permit.send, "item"), lambda: permit.__exit__(None, None, None))
    assert (sent, rx.drain()) in (
        (None, ["item"]),
        (RuntimeError, []),  # released first
    )
    assert waiting(tx) == AT_REST


@raced(RACES // 8)
def test_a_released_slot_against_a_send():
    tx, rx = bounded(1)
    permit = tx.reserve()
    sent, _ = run_together(sends(tx.try_send, "item"), permit.release)
    assert (sent, rx.drain()) in (
        (None, ["item"]),  # released first
        (Full, []),
    )
    assert waiting(tx) == AT_REST


@pytest.mark.parametrize("slot", ["released", "left"])
@raced(RACES // 8)
def test_each_slot_that_comes_free_goes_to_one_of_those_who_wait(slot):
    tx, rx = bounded(2)
    tx.send("first")
    permit = tx.reserve()
    senders = [parked(lambda item=item: tx.send(item), tx, "senders") for item in ("one", "two")]
    give_up = permit.release if slot == "released" else lambda: permit.__exit__(None, None, None)
    taken, _ = run_together(rx.recv, give_up)
    assert taken == "first"
    assert [sender.result() for sender in senders] == [None, None]
    assert sorted(rx.drain()) == ["one", "two"]
    assert waiting(tx) == AT_REST


@pytest.mark.parametrize("what", ["close_channel", "the end", "the receivers"])
@raced(RACES // 8)
def test_a_reservation_against_a_close(what):
    tx, rx = bounded(1)
    permit, _ = run_together(outcome(tx.reserve, Disconnected), closing(what, tx, rx))
    if permit is not Disconnected:
        assert type(permit) is Permit, "promised before the end"
        assert waiting(tx)["reserved"] == 1
        permit.release()
    assert waiting(tx) == AT_REST
    assert len(tx) == 0


@pytest.mark.parametrize("what", ["close_channel", "the end", "the receivers"])
@raced(RACES // 8)
def test_a_permits_send_against_a_close(what):
    tx, rx = bounded(1)
    permit = tx.reserve()
    sent, _ = run_together(sends(permit.send, "item"), closing(what, tx, rx))
    assert (sent, len(tx)) in (
        {
            (None, 0),  # sent first: the last receiver took it with it
            (Disconnected, 0),  # closed first: the item comes back
        }
        if what == "the receivers"
        else {(None, 1)}  # a permit is good until it is used
    )
    assert refused(permit.release)() is RuntimeError, "spent either way"
    assert waiting(tx) == AT_REST


def test_a_permit_outstanding_at_close_channel_still_delivers():
    tx, rx = bounded(2)
    permit = tx.reserve()
    rx.close_channel()
    with pytest.raises(Disconnected):
        tx.reserve()
    permit.send("item")
    assert rx.recv() == "item"
    assert receives(rx.recv)() is Disconnected


# --- cancellations ---------------------------------------------------------------------------------------------------


class TestTask:
    """A task waits in a loop of its own thread; what it waits for and its cancellation come from two others."""

    @pytest.fixture
    def there(self, loop_name):
        with LoopThread(loop_name) as there:
            yield there

    def park(self, there, make, end, side):
        """A task that waits, and how it ended: what it gave, or the class of what it raised."""

        async def start():
            return asyncio.ensure_future(make())

        async def ended():
            await asyncio.wait([task])
            if task.cancelled():
                return asyncio.CancelledError
            return type(task.exception()) if task.exception() else task.result()

        before = waiting(end)[side]
        task = there.run(start())
        eventually(lambda: waiting(end)[side] == before + 1)
        return lambda: there.loop.call_soon_threadsafe(task.cancel), lambda: there.run(ended())

    @pytest.mark.parametrize("capacity", [0, 1, None])
    def test_a_receiver_cancelled_against_a_send_with_another_behind_it(self, there, capacity):
        for _ in range(RACES // 20):
            tx, rx = channel(capacity)
            cancel, ended = self.park(there, rx.aio.recv, rx, "receivers")
            behind = parked(rx.recv, rx, "receivers")
            run_together(cancel, lambda tx=tx: tx.try_send("first"))
            result = ended()
            if result == "first":
                tx.send("second")  # it was done before the cancellation came; this one is for the next
            assert (result, behind.result()) in {
                ("first", "second"),
                (asyncio.CancelledError, "first"),  # out of the queue first, or it passed its leave on
            }
            assert (len(rx), waiting(rx)) == (0, AT_REST)

    def test_a_receiver_cancelled_against_another_that_never_waits(self, there):
        for _ in range(RACES // 20):
            tx, rx = bounded(1)
            cancel, ended = self.park(there, rx.aio.recv, rx, "receivers")
            tx.send("item")
            _, taken = run_together(cancel, receives(rx.try_recv))
            result = ended()
            assert (result, taken, rx.drain()) in (
                ("item", Empty, []),  # the task came first
                (asyncio.CancelledError, "item", []),  # the other did; the task queued again, or was cancelled before
            )
            assert waiting(rx) == AT_REST

    def test_a_sender_cancelled_against_a_receive_with_another_behind_it(self, there):
        for _ in range(RACES // 20):
            tx, rx = bounded(1)
            tx.send("zero")
            cancel, ended = self.park(there, lambda tx=tx: tx.aio.send("first"), tx, "senders")
            behind = parked(lambda tx=tx: tx.send("second"), tx, "senders")
            _, taken = run_together(cancel, rx.recv)
            assert taken == "zero"
            result = ended()
            received = [rx.recv()] if result is None else []
            behind.result()
            assert (result, received, rx.drain()) in (
                (None, ["first"], ["second"]),  # it had sent before the cancellation came
                (asyncio.CancelledError, [], ["second"]),  # and its leave went to the next
            )
            assert waiting(tx) == AT_REST

    def test_a_rendezvous_sender_cancelled_against_a_receive(self, there):
        for _ in range(RACES // 20):
            tx, rx = bounded(0)
            cancel, ended = self.park(there, lambda tx=tx: tx.aio.send("item"), tx, "senders")
            _, taken = run_together(cancel, receives(rx.try_recv))
            assert (ended(), taken) in {
                (None, "item"),  # it ran before the cancellation came
                (asyncio.CancelledError, "item"),  # taken out of its hands, and it was cancelled before it ran again
                (asyncio.CancelledError, Empty),  # out of the queue first
            }
            assert (len(rx), waiting(tx)) == (0, AT_REST)

    def test_a_reservation_cancelled_against_a_receive(self, there):
        for _ in range(RACES // 20):
            tx, rx = bounded(1)
            tx.send("item")
            cancel, ended = self.park(there, tx.aio.reserve, tx, "senders")
            run_together(cancel, rx.recv)
            result = ended()
            if result is not asyncio.CancelledError:
                assert waiting(tx) == {**AT_REST, "reserved": 1}, "promised before the cancellation came"
                result.release()
            assert waiting(tx) == AT_REST, "no slot is promised to who was cancelled"
            del result

    def test_a_rendezvous_send_that_may_time_out_against_a_receive(self, there):
        for _ in range(RACES // 20):
            tx, rx = bounded(0)
            sending = there.spawn(tx.aio.send("item", timeout=random.random() * 0.002))
            taken = soon(receives(rx.try_recv))()
            assert (outcome(sending.result, Timeout)(), taken) in {
                (None, "item"),  # both happened
                (Timeout, Empty),  # neither
            }
            assert (len(rx), waiting(tx)) == (0, AT_REST)


# --- timeouts --------------------------------------------------------------------------------------------------------


@raced(RACES // 4)
def test_a_rendezvous_send_that_may_time_out_against_a_receive():
    tx, rx = bounded(0)
    sent, taken = run_together(sends(tx.send, "item", timeout=short()), soon(receives(rx.try_recv)))
    assert (sent, taken, len(rx)) in {
        (None, "item", 0),  # both happened
        (Timeout, Empty, 0),  # neither
    }
    assert waiting(tx) == AT_REST


@raced(RACES // 4)
def test_a_rendezvous_where_both_sides_may_time_out():
    tx, rx = bounded(0)
    sent, taken = run_together(sends(tx.send, "item", timeout=short()), receives(rx.recv, timeout=short()))
    assert (sent, taken, len(rx)) in {
        (None, "item", 0),  # both happened
        (Timeout, Timeout, 0),  # neither
    }
    assert waiting(tx) == AT_REST


@raced(RACES // 4)
def test_a_rendezvous_receive_that_may_time_out_against_a_send():
    tx, rx = bounded(0)
    taken, sent = run_together(receives(rx.recv, timeout=short()), soon(sends(tx.try_send, "item")))
    assert (taken, sent, len(rx)) in {
        ("item", None, 0),  # met in time; the item beats the deadline
        (Timeout, Full, 0),  # not there yet or no longer
    }
    assert waiting(rx) == AT_REST


@raced(RACES // 8)
def test_a_receive_that_may_time_out_against_a_send():
    tx, rx = bounded(1)
    taken, _ = run_together(receives(rx.recv, timeout=short()), soon(tx.send, "item"))
    assert (taken, len(rx)) in {
        ("item", 0),
        (Timeout, 1),  # gave up first: the item stays
    }
    assert waiting(rx) == AT_REST


@raced(RACES // 8)
def test_a_send_that_may_time_out_against_a_receive():
    tx, rx = bounded(1)
    tx.send("old")
    sent, taken = run_together(sends(tx.send, "new", timeout=short()), soon(rx.recv))
    assert (sent, taken, rx.drain()) in (
        (None, "old", ["new"]),
        (Timeout, "old", []),  # gave up first: the slot stays free
    )
    assert waiting(tx) == AT_REST


@raced(RACES // 8)
def test_a_receive_that_times_out_leaves_the_item_to_the_second():
    tx, rx = bounded(1)
    impatient = spawn(receives(rx.recv, timeout=short()))
    patient = spawn(rx.recv)
    soon(tx.send, "first")()
    if impatient.result() == "first":
        tx.send("second")  # the first one took it; this one is for the other
    assert patient.result() in ("first", "second"), "whoever did not use the leave passed it on"
    assert (len(rx), waiting(rx)) == (0, AT_REST)


@raced(RACES // 8)
def test_what_was_written_before_a_send_is_seen_after_the_receive():
    tx, rx = bounded(1)
    data = {}

    def write():
        data["written"] = True
        tx.send("item")

    def read():
        rx.recv()
        return data.get("written")

    assert run_together(write, read) == (None, True)
