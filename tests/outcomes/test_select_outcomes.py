"""Races of selects with each other and with plain calls: every result that is allowed, and why; anything else fails."""

import asyncio
import random

import pytest

from ferrule import Disconnected, Empty, Full, Timeout, aio, at, bounded, never, select, try_select, unbounded
from tests.support.channels import channel, waiting
from tests.support.driver import LoopThread
from tests.support.race import HANG, RACES, eventually, outcome, raced, run_together, soon, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}


def ends_quiet(*ends):
    return all(waiting(end) == QUIET for end in ends)


def parked(function, *receivers):
    """A thread that waits in the call, queued at each of these."""
    before = [waiting(rx)["receivers"] for rx in receivers]
    thread = spawn(function)
    eventually(lambda: [waiting(rx)["receivers"] for rx in receivers] == [n + 1 for n in before])
    return thread


@pytest.fixture(scope="module")
def there():
    """A loop in a thread of its own."""
    with LoopThread() as loop:
        yield loop


def short():
    """A timeout of up to 0.3 ms."""
    return random.random() * 0.0003


# --- one item, several that want it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, None])
@raced(RACES // 8)
def test_of_racing_selects_of_one_item_exactly_one_gets_it(capacity):
    (tx, rx), (_, other) = channel(capacity), bounded(1)
    tx.send("item")
    taken = run_together(
        lambda: try_select(rx, other), lambda: try_select(other, rx), outcome(lambda: rx.try_recv(), Empty)
    )
    got = [(0, "item", False), (1, "item", False), "item"]
    assert sum(one == right for one, right in zip(taken, got, strict=True)) == 1
    assert all(one == right or one in (None, Empty) for one, right in zip(taken, got, strict=True))
    assert len(rx) == 0


@raced(RACES // 8)
def test_two_items_for_one_select_that_waits():
    """It takes one of them; the other stays."""
    (tx, rx), (tx_too, rx_too) = bounded(1), bounded(1)
    thread = parked(lambda: select(rx, rx_too, timeout=HANG), rx, rx_too)
    run_together(lambda: tx.send("a"), lambda: tx_too.send("b"))
    taken, left = thread.result(), rx.drain() + rx_too.drain()
    assert (taken, left) in (
        ((0, "a", False), ["b"]),  # that send came first
        ((1, "b", False), ["a"]),  # or this one
    )
    assert ends_quiet(rx, rx_too)


@raced(RACES // 8)
def test_two_senders_at_two_rendezvous_and_one_select():
    """Exactly one of them meets it: it has one claim word."""
    (tx, rx), (tx_too, rx_too) = bounded(0), bounded(0)
    thread = parked(lambda: select(rx, rx_too, timeout=HANG), rx, rx_too)
    sent = run_together(outcome(lambda: tx.try_send("a"), Full), outcome(lambda: tx_too.try_send("b"), Full))
    assert (*sent, thread.result()) in (
        (None, Full, (0, "a", False)),
        (Full, None, (1, "b", False)),
    )
    assert len(rx) == len(rx_too) == 0
    assert ends_quiet(rx, rx_too)


@raced(RACES // 8)
def test_two_receivers_at_two_rendezvous_and_one_select_that_sends():
    (tx, rx), (tx_too, rx_too) = bounded(0), bounded(0)
    thread = spawn(lambda: select(tx.sending("a"), tx_too.sending("b"), timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == waiting(tx_too)["senders"] == 1)
    received = run_together(lambda: rx.try_recv(None), lambda: rx_too.try_recv(None))
    assert (*received, thread.result()) in (
        ("a", None, (0, None, False)),
        (None, "b", (1, None, False)),
    )
    assert rx.stats()["sent"] + rx_too.stats()["sent"] == 1
    assert ends_quiet(tx, tx_too)


# --- selects that meet -----------------------------------------------------------------------------------------------


@raced(RACES // 4)
def test_two_selects_that_both_send_and_receive():
    tx, rx = bounded(0)
    one, other = run_together(
        lambda: select(tx.sending("one"), rx, timeout=HANG), lambda: select(tx.sending("other"), rx, timeout=HANG)
    )
    assert (one, other) in (
        ((0, None, False), (1, "one", False)),  # one sends
        ((1, "other", False), (0, None, False)),  # the other does
    )
    assert len(rx) == 0
    assert ends_quiet(tx)


@raced(RACES // 4)
def test_two_selects_that_could_meet_on_two_channels_in_opposite_orders():
    """They meet on exactly one of them, whichever links where first."""
    (tx, rx), (tx_too, rx_too) = bounded(0), bounded(0)
    one, other = run_together(
        lambda: select(tx.sending("a"), tx_too.sending("b"), timeout=HANG, biased=True),
        lambda: select(rx_too, rx, timeout=HANG, biased=True),
    )
    assert (one, other) in (
        ((0, None, False), (1, "a", False)),
        ((1, None, False), (0, "b", False)),
    )
    assert ends_quiet(tx, tx_too)


@raced(RACES // 8)
def test_three_selects_of_which_two_meet():
    tx, rx = bounded(0)
    taken = run_together(*(outcome(lambda n=n: select(tx.sending(n), rx, timeout=0.002), Timeout) for n in range(3)))
    met = [one for one in taken if one is not Timeout]
    assert sum(one == (0, None, False) for one in met) == sum(one.index for one in met) + len(rx.drain())
    assert ends_quiet(tx)


@raced(RACES // 8)
def test_a_task_and_a_thread_at_a_rendezvous(there):
    tx, rx = bounded(0)
    task = there.spawn(aio.select(tx.sending("task"), rx, timeout=HANG))
    mine = select(tx.sending("thread"), rx, timeout=HANG)
    assert (mine, task.result(HANG)) in (
        ((0, None, False), (1, "thread", False)),
        ((1, "task", False), (0, None, False)),
    )
    assert ends_quiet(tx)


# --- what ends a wait ------------------------------------------------------------------------------------------------


@raced(RACES // 8)
def test_a_timeout_against_an_item():
    (tx, rx), (_, other) = bounded(1), bounded(1)
    taken, _ = run_together(outcome(lambda: select(other, rx, timeout=short()), Timeout), soon(lambda: tx.send("item")))
    assert (taken, rx.drain()) in (
        ((1, "item", False), []),
        (Timeout, ["item"]),  # too late: it stays
    )
    assert ends_quiet(rx, other)


@raced(RACES // 8)
def test_a_timeout_against_a_rendezvous_on_the_other_arm():
    tx, rx = bounded(0)
    (_, other) = bounded(1)
    taken, sent = run_together(
        outcome(lambda: select(other, rx, timeout=short()), Timeout), outcome(soon(lambda: tx.try_send("item")), Full)
    )
    assert (taken, sent, rx.drain()) in (
        ((1, "item", False), None, []),
        (Timeout, Full, []),  # it had gone, or had not come
    )
    assert ends_quiet(rx, other)


@raced(RACES // 8)
def test_a_timeout_against_a_receiver():
    tx, rx = bounded(0)
    taken, received = run_together(
        outcome(lambda: select(never(), tx.sending("item"), timeout=short()), Timeout), soon(lambda: rx.try_recv(None))
    )
    assert (taken, received) in (
        ((1, None, False), "item"),
        (Timeout, None),
    )
    assert ends_quiet(tx)


@pytest.mark.parametrize("how", ["senders", "channel", "end"])
@raced(RACES // 8)
def test_an_end_that_closes_against_an_item(how):
    (tx, rx), (tx_too, rx_too) = bounded(1), bounded(1)
    mine = rx.clone()
    close = {"senders": tx.close, "channel": tx.close_channel, "end": mine.close}[how]
    thread = parked(lambda: select(mine, rx_too, timeout=HANG), rx, rx_too)
    run_together(close, lambda: tx_too.send("item"))
    assert (thread.result(), rx_too.drain()) in (
        ((0, None, True), ["item"]),
        ((1, "item", False), []),
    )
    assert ends_quiet(rx, rx_too)


@raced(RACES // 8)
def test_the_receivers_leave_against_a_send_arm():
    (tx, rx), (tx_too, rx_too) = bounded(1), bounded(1)
    for end in (tx, tx_too):
        end.send("old")
    thread = spawn(lambda: select(tx.sending("a"), tx_too.sending("b"), timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == waiting(tx_too)["senders"] == 1)
    _, received = run_together(rx.close, rx_too.recv)
    assert received == "old"
    assert (thread.result(), rx_too.drain()) in (
        ((0, "a", True), []),
        ((1, None, False), ["b"]),
    )
    assert ends_quiet(tx, tx_too)


@raced(RACES // 8)
def test_a_select_leaves_its_leave_to_a_receiver_behind_it():
    """Two items, a select that was claimed by both or one, and a plain receiver: nobody waits beside an item."""
    (tx, rx), (tx_too, rx_too) = bounded(1), bounded(1)
    thread = parked(lambda: select(rx, rx_too, timeout=HANG), rx, rx_too)
    behind = parked(lambda: rx.recv(timeout=HANG), rx)
    run_together(lambda: tx.send("a"), lambda: tx_too.send("b"))
    taken = thread.result()
    if taken == (0, "a", False):
        assert rx_too.drain() == ["b"]
        tx.send("c")
        assert behind.result() == "c"
    else:
        assert taken == (1, "b", False)
        assert behind.result() == "a"
    assert ends_quiet(rx, rx_too)


@raced(RACES // 20)
def test_a_cancelled_task_against_an_item(there):
    """Cancelled or done, never half: the item is with the task or in the channel."""
    (tx, rx), (_, other) = bounded(1), bounded(1)

    async def wait():
        task = asyncio.ensure_future(aio.select(other, rx))
        await asyncio.sleep(0)
        return task

    async def cancel(task):
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    task = there.run(wait())
    taken, _ = run_together(lambda: there.run(cancel(task)), soon(lambda: tx.send("item")))
    left = rx.drain()
    assert (taken == (1, "item", False) and left == []) or (
        isinstance(taken, asyncio.CancelledError) and left == ["item"]
    )
    assert ends_quiet(rx, other)


# --- timers and permits ----------------------------------------------------------------------------------------------


@raced(RACES // 8)
def test_of_those_that_look_at_a_timer_one_gets_its_message():
    timer = at(0)
    taken = run_together(
        lambda: try_select(timer), outcome(timer.try_recv, Empty), lambda: timer.drain(), lambda: list(timer.try_iter())
    )
    got = [(0, 0.0, False), 0.0, [0.0], [0.0]]
    assert sum(one == right for one, right in zip(taken, got, strict=True)) == 1
    assert len(timer) == 0


@raced(RACES // 8)
def test_a_reservation_a_send_and_a_plain_send_into_one_slot():
    tx, rx = bounded(1)
    by_select, plain = run_together(
        lambda: try_select(tx.reserving(), tx.sending("selected")), outcome(lambda: tx.try_send("sent"), Full)
    )
    if plain is None:
        assert by_select is None
        assert rx.drain() == ["sent"]
    else:
        assert plain is Full
        if by_select.index == 0:
            by_select.value.send("permitted")
        assert rx.drain() == [["permitted"], ["selected"]][by_select.index]
    assert ends_quiet(tx)


@raced(RACES // 8)
def test_the_last_sender_leaves_beside_a_select():
    tx, rx = unbounded()
    taken, _ = run_together(lambda: select(rx, timeout=HANG), lambda: (tx.send("item"), tx.close()))
    assert taken == (0, "item", False)
    assert outcome(rx.try_recv, Disconnected)() is Disconnected
