"""select() in threads: which arm is taken, what it gives, what it leaves as it was, and what wakes it up."""

import collections
import random

import pytest

import ferrule
from ferrule import (
    MISSING,
    Permit,
    Selected,
    Timeout,
    aio,
    bounded,
    never,
    select,
    try_select,
    unbounded,
)
from tests.support.channels import BUFFERED, CAPACITIES, channel, waiting
from tests.support.driver import complete
from tests.support.race import HANG, eventually, spawn
from tests.support.timeouts import DO_NOT_WAIT, FINITE, FOR_EVER, NEGATIVE, OTHER_TYPES

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}


def filled(capacity):
    """A channel without room, which has the items 0, 1, ..."""
    tx, rx = channel(capacity)
    for item in range(capacity):
        tx.try_send(item)
    return tx, rx


def parked(function, *ends):
    """A thread that waits in the call, queued once more at each of the (end, side)."""
    before = [waiting(end)[side] for end, side in ends]
    thread = spawn(function)
    eventually(lambda: [waiting(end)[side] for end, side in ends] == [n + 1 for n in before])
    return thread


class TestReady:
    @pytest.mark.parametrize("capacity", BUFFERED)
    def test_the_arm_that_is_ready_is_taken(self, capacity):
        tx, rx = channel(capacity)
        _, other = channel(capacity)
        tx.send("item")
        assert select(other, rx, never()) == (1, "item", False)
        assert len(rx) == 0
        assert try_select(other, rx) is None

    @pytest.mark.parametrize("capacity", BUFFERED)
    def test_a_send_arm_sends(self, capacity):
        tx, rx = channel(capacity)
        assert select(tx.sending("item")) == (0, None, False)
        assert rx.recv() == "item"

    def test_a_reserve_arm_gives_a_permit(self):
        tx, rx = bounded(1)
        index, permit, closed = select(never(), tx.reserving())
        assert (index, type(permit), closed) == (1, Permit, False)
        assert waiting(tx) == QUIET | {"reserved": 1}
        assert try_select(tx.reserving(), tx.sending("no room")) is None
        permit.send("item")
        assert rx.recv() == "item"
        assert waiting(tx) == QUIET

    def test_making_an_arm_does_nothing(self):
        tx, _ = bounded(1)
        tx.sending("item")
        tx.reserving()
        assert len(tx) == 0
        assert waiting(tx) == QUIET

    def test_an_arm_may_be_used_again(self):
        tx, rx = unbounded()
        arm = tx.sending("item")
        for _ in range(3):
            select(arm)
        assert rx.drain() == ["item"] * 3

    def test_the_result_is_a_tuple_with_names(self):
        tx, rx = unbounded()
        tx.send("item")
        selected = select(rx)
        assert type(selected) is Selected
        assert (selected.index, selected.value, selected.closed) == tuple(selected)
        match selected:
            case Selected(0, value, False):
                assert value == "item"
        assert repr(selected) == "Selected(index=0, value='item', closed=False)"
        assert ferrule.Selected[int].__origin__ is Selected

    @pytest.mark.parametrize("take", [select, try_select])
    def test_only_one_arm_has_its_effect(self, take):
        ends = [unbounded() for _ in range(5)]
        for tx, _ in ends:
            tx.send("item")
        tx, rx = unbounded()
        taken = take(*(rx for _, rx in ends), tx.sending("sent"), tx.reserving())
        left = sum(len(rx) for _, rx in ends)
        if taken.index < 5:
            assert (left, len(rx), waiting(tx)["reserved"]) == (4, 0, 0)
        else:
            assert left == 5
            assert (len(rx), waiting(tx)["reserved"]) == ((1, 0) if taken.index == 5 else (0, 1))
        if taken.index == 6:
            taken.value.release()

    def test_arms_of_both_faces(self):
        tx, rx = unbounded()
        assert select(tx.aio.sending("item")).index == 0
        assert select(rx.aio) == (0, "item", False)
        permit = select(tx.aio.reserving()).value
        permit.send(2)
        assert rx.recv() == 2

    def test_hundreds_of_arms(self):
        ends = [unbounded() for _ in range(700)]
        ends[650][0].send("item")
        assert select(*(rx for _, rx in ends)) == (650, "item", False)
        for place in (0, 256, 300, 699):
            thread = parked(
                lambda: select(*(rx for _, rx in ends), timeout=HANG), *((rx, "receivers") for _, rx in ends)
            )
            ends[place][0].send(place)
            assert thread.result() == (place, place, False)
        assert all(waiting(rx) == QUIET for _, rx in ends)


class TestFairness:
    PICKS = 10_000

    def test_two_that_are_ready_are_taken_about_as_often(self):
        ends = [unbounded(), unbounded()]
        for tx, _ in ends:
            tx.send_many(range(self.PICKS))
        taken = collections.Counter(select(*(rx for _, rx in ends)).index for _ in range(self.PICKS))
        assert min(taken[0], taken[1]) >= self.PICKS / 4

    def test_one_listed_five_times(self):
        tx, rx = unbounded()
        tx.send_many(range(self.PICKS))
        taken = collections.Counter(select(rx, rx, rx, rx, rx).index for _ in range(self.PICKS))
        assert min(taken[n] for n in range(5)) >= self.PICKS / 10

    def test_the_chance_does_not_depend_on_the_neighbours(self):
        """A random start alone would take the first of two neighbours nine times in ten."""
        txs, rxs = zip(*(unbounded() for _ in range(10)), strict=True)
        for tx in txs[4:6]:
            tx.send_many(range(self.PICKS))
        taken = collections.Counter(select(*rxs).index for _ in range(self.PICKS))
        assert min(taken[4], taken[5]) >= self.PICKS / 4

    def test_biased_takes_the_first(self):
        ends = [unbounded() for _ in range(3)]
        for tx, _ in ends[1:]:
            tx.send_many(range(1000))
        assert {select(*(rx for _, rx in ends), biased=True).index for _ in range(1000)} == {1}
        assert len(ends[2][1]) == 1000
        tx, rx = bounded(1)
        assert try_select(rx, tx.sending(1), tx.reserving(), biased=True).index == 1
        assert try_select(rx, tx.sending(1), biased=True) == (0, 1, False)


class TestNotReady:
    def test_try_select_gives_none(self):
        _, rx = bounded(1)
        tx, _rx = filled(1)
        assert try_select(rx, tx.sending("item"), tx.reserving(), never()) is None
        assert try_select() is None

    @pytest.mark.parametrize("timeout", [0, 0.001, 1e-9])
    def test_a_timeout_gives_the_item_back(self, timeout):
        _, rx = bounded(1)
        tx, _rx = filled(1)
        with pytest.raises(Timeout) as caught:
            select(rx, tx.sending("item"), timeout=timeout)
        assert caught.value.item == "item"
        with pytest.raises(Timeout) as caught:
            select(tx.sending("a"), rx, tx.sending("b"), tx.reserving(), timeout=timeout)
        assert caught.value.item == ("a", "b")
        with pytest.raises(Timeout) as caught:
            select(rx, timeout=timeout)
        assert caught.value.item is MISSING
        assert waiting(rx) == waiting(tx) == QUIET

    def test_no_arms(self):
        with pytest.raises(Timeout):
            select(timeout=0)
        with pytest.raises(Timeout):
            select(timeout=0.001)
        with pytest.raises(ValueError, match="for ever"):
            select()

    @pytest.mark.parametrize("arm", [None, 1, bounded(1)[0], bounded, bounded(1)])
    def test_what_is_no_arm_is_refused(self, arm):
        tx, rx = unbounded()
        tx.send("item")
        with pytest.raises(TypeError, match="sending"):
            select(rx, arm)
        with pytest.raises(TypeError, match="sending"):
            try_select(arm)
        assert len(rx) == 1

    @pytest.mark.parametrize(
        ("timeout", "error"), [*((n, ValueError) for n in NEGATIVE), *((n, TypeError) for n in OTHER_TYPES)]
    )
    def test_bad_timeouts_are_refused(self, timeout, error):
        tx, rx = unbounded()
        tx.send("item")
        with pytest.raises(error):
            select(rx, timeout=timeout)
        with pytest.raises(error):
            aio.select(rx, timeout=timeout)
        assert len(rx) == 1

    @pytest.mark.parametrize("timeout", [*FOR_EVER, *FINITE, *DO_NOT_WAIT])
    def test_any_timeout_lets_pass_what_is_ready(self, timeout):
        tx, rx = unbounded()
        tx.send_many("ab")
        assert select(rx, timeout=timeout).value == "a"
        assert complete(aio.select(rx, timeout=timeout)).value == "b"

    @pytest.mark.parametrize("timeout", DO_NOT_WAIT)
    def test_nothing_is_waited_for_with_no_time(self, timeout):
        with pytest.raises(Timeout):
            select(never(), timeout=timeout)
        with pytest.raises(Timeout):
            complete(aio.select(never(), timeout=timeout))

    def test_no_slots_are_reserved_at_a_rendezvous(self):
        tx, _rx = bounded(0)
        with pytest.raises(ValueError):
            tx.reserving()

    def test_send_and_receive_on_one_rendezvous_do_not_meet(self):
        tx, rx = bounded(0)
        assert try_select(tx.sending("item"), rx) is None
        with pytest.raises(Timeout):
            select(tx.sending("item"), rx, rx, tx.sending("item"), timeout=0.01)
        assert waiting(tx) == QUIET
        assert len(rx) == 0


class TestClosed:
    @pytest.mark.parametrize("capacity", CAPACITIES)
    def test_a_disconnected_arm_is_ready(self, capacity):
        tx, rx = channel(capacity)
        tx.close()
        assert select(never(), rx) == (1, None, True)
        tx, rx = channel(capacity)
        rx.close()
        assert select(never(), tx.sending("item")) == (1, "item", True)
        if capacity != 0:
            assert select(never(), tx.reserving()) == (1, None, True)

    @pytest.mark.parametrize("capacity", CAPACITIES)
    def test_so_is_an_end_that_is_closed(self, capacity):
        tx, rx = channel(capacity)
        tx_too, rx_too = tx.clone(), rx.clone()
        rx.close()
        assert select(rx, rx_too, biased=True) == (0, None, True)
        tx.close()
        assert select(tx.sending("item"), biased=True) == (0, "item", True)
        assert not tx_too.is_closed
        assert not rx_too.is_closed

    def test_what_is_queued_comes_first(self):
        tx, rx = unbounded()
        tx.send("item")
        tx.close()
        assert select(rx) == (0, "item", False)
        assert select(rx) == (0, None, True)

    @pytest.mark.parametrize("capacity", CAPACITIES)
    @pytest.mark.parametrize("how", ["the senders", "the channel", "the end"])
    def test_closing_wakes_who_waits(self, capacity, how):
        tx, rx = channel(capacity)
        mine, (_, other) = rx.clone(), bounded(1)
        thread = parked(lambda: select(other, mine, timeout=HANG), (rx, "receivers"), (other, "receivers"))
        {"the senders": tx.close, "the channel": rx.close_channel, "the end": mine.close}[how]()
        assert thread.result() == (1, None, True)
        assert waiting(rx) == waiting(other) == QUIET

    @pytest.mark.parametrize("capacity", [0, 1])
    @pytest.mark.parametrize("how", ["the receivers", "the channel", "the end"])
    def test_closing_wakes_who_waits_for_room(self, capacity, how):
        tx, rx = filled(capacity)
        mine, (_, other) = tx.clone(), bounded(1)
        thread = parked(
            lambda: select(other, mine.sending("item"), timeout=HANG), (tx, "senders"), (other, "receivers")
        )
        {"the receivers": rx.close, "the channel": rx.close_channel, "the end": mine.close}[how]()
        assert thread.result() == (1, "item", True)
        assert waiting(tx) == waiting(other) == QUIET

    def test_closing_another_end_wakes_nobody(self):
        tx, rx = bounded(1)
        mine, other = rx.clone(), rx.clone()
        thread = spawn(lambda: select(mine, other, timeout=HANG))
        eventually(lambda: waiting(rx)["receivers"] == 2)
        rx.close()
        tx.clone().close()
        tx.send("item")
        assert thread.result().value == "item"


class TestWaiting:
    @pytest.mark.parametrize("capacity", CAPACITIES)
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_an_item_wakes_it(self, capacity, place):
        ends = [channel(capacity) for _ in range(3)]
        thread = parked(lambda: select(*(rx for _, rx in ends), timeout=HANG), *((rx, "receivers") for _, rx in ends))
        ends[place][0].send("item", timeout=HANG)
        assert thread.result() == (place, "item", False)
        assert [waiting(rx) for _, rx in ends] == [QUIET] * 3

    @pytest.mark.parametrize("capacity", [0, 1, 3])
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_room_wakes_it(self, capacity, place):
        ends = [filled(capacity) for _ in range(3)]
        thread = parked(
            lambda: select(*(tx.sending(n) for n, (tx, _) in enumerate(ends)), timeout=HANG),
            *((tx, "senders") for tx, _ in ends),
        )
        received = [ends[place][1].recv(timeout=HANG) for _ in range(capacity + 1)]
        assert received == [*range(capacity), place]
        assert thread.result() == (place, None, False)
        assert [waiting(tx) for tx, _ in ends] == [QUIET] * 3

    def test_a_free_slot_wakes_a_reserve_arm(self):
        tx, rx = filled(1)
        _, other = bounded(1)
        thread = parked(lambda: select(other, tx.reserving(), timeout=HANG), (tx, "senders"), (other, "receivers"))
        rx.recv()
        index, permit, closed = thread.result()
        assert (index, closed, waiting(tx)["reserved"]) == (1, False, 1)
        permit.release()
        assert waiting(tx) == waiting(other) == QUIET

    def test_who_waits_meets_whoever_comes(self):
        """On a rendezvous a select that waits counts as a sender and as a receiver that wait."""
        tx, rx = bounded(0)
        thread = parked(lambda: select(rx, tx.sending("its"), timeout=HANG), (tx, "senders"), (tx, "receivers"))
        assert rx.try_recv() == "its"
        assert thread.result() == (1, None, False)
        thread = parked(lambda: select(rx, tx.sending("its"), timeout=HANG), (tx, "senders"), (tx, "receivers"))
        tx.try_send("mine")
        assert thread.result() == (0, "mine", False)
        assert waiting(tx) == QUIET

    def test_two_selects_meet(self):
        for _ in range(100):
            tx, rx = bounded(0)
            other_tx, other_rx = bounded(0)
            arms = rx, other_tx.sending("its")
            thread = spawn(lambda arms=arms: select(*arms, timeout=HANG))
            mine = select(tx.sending("mine"), other_rx, timeout=HANG)
            its = thread.result()
            assert (mine, its) in (((0, None, False), (0, "mine", False)), ((1, "its", False), (1, None, False)))
            assert waiting(tx) == waiting(other_tx) == QUIET

    def test_one_channel_several_times(self):
        tx, rx = bounded(1)
        thread = spawn(lambda: select(rx, rx.clone(), rx.aio, timeout=HANG))
        eventually(lambda: waiting(rx)["receivers"] == 3)
        tx.send("item")
        assert thread.result().value == "item"
        assert waiting(rx) == QUIET
        assert rx.stats()["received"] == 1

    def test_its_leave_goes_to_the_next_one(self):
        """Two select on two channels; an item in each: each gets one."""
        ends = [bounded(1), bounded(1)]
        rxs = [rx for _, rx in ends]
        threads = [parked(lambda: select(*rxs, timeout=HANG), *((rx, "receivers") for rx in rxs)) for _ in range(2)]
        for n, (tx, _) in enumerate(ends):
            tx.send(n)
        assert sorted(thread.result().value for thread in threads) == [0, 1]
        assert [waiting(rx) for rx in rxs] == [QUIET] * 2

    def test_a_plain_receiver_behind_it_gets_what_it_leaves(self):
        (tx, rx), (tx_too, rx_too) = bounded(1), bounded(1)
        thread = parked(lambda: select(rx, rx_too, timeout=HANG), (rx, "receivers"), (rx_too, "receivers"))
        plain = parked(lambda: rx.recv(timeout=HANG), (rx, "receivers"))
        tx_too.send("for the select")
        assert thread.result() == (1, "for the select", False)
        tx.send("for the other")
        assert plain.result() == "for the other"

    def test_the_register_shows_it(self):
        from ferrule._core.parking import waits

        _, rx = bounded(1)
        thread = parked(lambda: select(rx, never(), timeout=HANG), (rx, "receivers"))
        (shown,) = eventually(lambda: [repr(target) for *_, target, _ in waits() if "select" in repr(target)])
        assert shown.startswith("<ferrule.select of <ferrule.Receiver open, 0 of 1 items")
        assert ferrule.debug.deadlocks() == []
        rx.close()
        thread.join()


class TestBlockingInEventLoop:
    def test_a_select_that_would_wait_is_refused(self):
        import asyncio

        async def main():
            tx, rx = unbounded()
            with pytest.raises(ferrule.BlockingInEventLoop, match="select"):
                select(rx)
            with pytest.raises(Timeout):
                select(rx, timeout=0)
            tx.send("item")
            assert select(rx).value == "item"
            assert try_select(rx) is None
            with ferrule.allow_blocking(), pytest.raises(Timeout):
                select(rx, timeout=0.001)
            return waiting(rx)

        assert asyncio.run(main()) == QUIET


class TestPrograms:
    """Go's and crossbeam's."""

    STAGES = 32

    def test_a_ring(self):
        """Each stage selects over what its neighbours send; a token goes round."""
        ends = [bounded(0) for _ in range(self.STAGES)]
        stop_tx, stop_rx = bounded(0)

        def stage(place):
            _, rx = ends[place]
            tx, _ = ends[(place + 1) % self.STAGES]
            with tx.clone() as mine:
                while True:
                    taken = select(rx, stop_rx, timeout=HANG)
                    if taken.index == 1 or taken.closed:
                        return
                    if taken.value == 20 * self.STAGES:
                        stop_tx.close()
                        return
                    if select(mine.sending(taken.value + 1), stop_rx, timeout=HANG).index == 1:
                        return

        threads = [spawn(stage, place) for place in range(self.STAGES)]
        ends[0][0].send(0, timeout=HANG)
        for thread in threads:
            thread.result()
        assert all(waiting(rx) == QUIET for _, rx in ends)

    def test_a_relay(self):
        """A hundred stages, each between two channels; what goes in comes out."""
        stages, items = 100, 5
        ends = [bounded(0) for _ in range(stages + 1)]

        def stage(place):
            for _ in range(items):
                taken = select(ends[place][1], timeout=HANG)
                select(ends[place + 1][0].sending(taken.value), timeout=HANG)

        threads = [spawn(stage, place) for place in range(stages)]
        sending = spawn(lambda: [ends[0][0].send(n, timeout=HANG) for n in range(items)])
        assert [ends[-1][1].recv(timeout=HANG) for _ in range(items)] == list(range(items))
        for thread in [*threads, sending]:
            thread.result()

    def test_primes_by_chained_filters(self):
        done_tx, done = bounded(0)

        def numbers(tx):
            number = 2
            while select(tx.sending(number), done, timeout=HANG).index == 0:
                number += 1

        def sieve(prime, rx, tx):
            while (taken := select(rx, done, timeout=HANG)).index == 0:
                if taken.value % prime and select(tx.sending(taken.value), done, timeout=HANG).index == 1:
                    return

        tx, rx = bounded(0)
        threads = [spawn(numbers, tx)]
        primes = []
        for _ in range(15):
            primes.append(rx.recv(timeout=HANG))
            tx, following = bounded(0)
            threads.append(spawn(sieve, primes[-1], rx, tx))
            rx = following
        done_tx.close()
        for thread in threads:
            thread.result()
        assert primes == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]


def test_a_model_of_what_is_ready():
    """Random channels, random arms: try_select takes one that is ready, if one is, and changes nothing else."""
    rng = random.Random(8)
    for _ in range(2000):
        ends = [bounded(rng.randrange(1, 3)) for _ in range(3)]
        for tx, rx in ends:
            for _ in range(rng.randrange(3)):
                if not tx.is_full:
                    tx.try_send("old")
            if rng.random() < 0.2:
                tx.close()
            elif rng.random() < 0.2:
                rx.close()
        arms, ready = [], []
        for _ in range(rng.randrange(5)):
            tx, rx = rng.choice(ends)
            if rng.random() < 0.5:
                ready.append(len(rx) > 0 or tx.is_closed or rx.is_closed)
                arms.append(rx)
            else:
                ready.append(not tx.is_full or tx.is_closed or rx.is_closed)
                arms.append(tx.sending("new"))
        before = [len(tx) for tx, _ in ends]
        taken = try_select(*arms)
        change = sum(len(tx) for tx, _ in ends) - sum(before)
        if taken is None:
            assert not any(ready)
            assert change == 0
        else:
            assert ready[taken.index]
            assert abs(change) == (not taken.closed)
