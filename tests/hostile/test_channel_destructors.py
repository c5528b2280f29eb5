"""Items, permits and ends that use the channel at the worst moment, or take it with them into the garbage."""

import asyncio
import gc
import warnings
import weakref

import pytest

from ferrule import Disconnected, Empty, Full, Sender, Timeout, bounded, unbounded
from tests.support.channels import BUFFERED, channel, waiting
from tests.support.driver import Stepper, complete, run, turns
from tests.support.hostile import calling, dropping, hostile, raising, resurrecting, unraisable, yielding
from tests.support.leaks import in_subprocess
from tests.support.race import HANG, eventually, outcome, run_together, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}


def close(tx, rx):
    """The last receiver is closed."""
    rx.close()


def leave(tx, rx):
    """The last receiver's block ends."""
    with rx:
        pass


def leave_async(tx, rx):
    complete(rx.aio.__aexit__(None, None, None))


def take(tx, rx):
    """Each item is received and dropped."""
    while len(rx):
        rx.recv()


def drain(tx, rx):
    rx.drain()


def receive_many(tx, rx):
    rx.recv_many(1000)


def displace(tx, rx):
    """Each item is displaced and dropped; where there is always room, received."""
    if tx.capacity is None:
        return drain(tx, rx)
    for _ in range(len(rx)):
        tx.force_send("displacing")
    return rx.drain()


DROPS = [close, leave, leave_async]
"""Ways of an item to die inside the channel, by what is called on it."""

ENDS = [*DROPS, take, drain, receive_many, displace]


@pytest.mark.parametrize("capacity", BUFFERED)
class TestItems:
    """An item that is dropped dies with no latch held, and with what dropped it in effect."""

    @pytest.mark.parametrize("end", ENDS)
    def test_a_destructor_that_uses_the_channel(self, end, capacity):
        tx, rx = channel(capacity)
        seen = []

        def use():
            sent = outcome(tx.try_send, Full, Disconnected)("its")
            seen.append((sent, outcome(rx.try_recv, Empty, Disconnected)(None)))
            outcome(lambda: tx.send("its", timeout=0), Timeout, Disconnected)()
            outcome(lambda: tx.force_send("its"), Disconnected)()
            outcome(lambda: tx.reserve(timeout=0).release(), Timeout, Disconnected)()
            outcome(rx.drain, Disconnected)()
            for look in (len, repr, hash, Sender.stats, Sender.is_full.__get__):
                look(tx)
            for make in (tx.clone, rx.clone, tx.new_receiver, rx.new_sender, tx.downgrade().upgrade):
                outcome(make, Disconnected)()
            complete(tx.aio.__aenter__())

        tx.send(hostile(__del__=calling(use)))
        end(tx, rx)
        gc.collect()
        if end in DROPS:
            assert seen == [(Disconnected, None)]
        elif end is displace and capacity == 1:
            assert seen == [(Full, "displacing")]
        else:
            assert seen == [(None, "its")]
        assert waiting(tx) == QUIET
        assert len(tx) == 0

    @pytest.mark.parametrize("end", DROPS)
    def test_a_destructor_that_sends_finds_the_receivers_gone(self, end, capacity):
        """Else an item could be sent to a channel from which nobody can ever take it."""
        tx, rx = channel(capacity)
        seen = []
        tx.send(hostile(__del__=calling(lambda: seen.append(outcome(tx.send, Disconnected)("its")))))
        end(tx, rx)
        gc.collect()
        assert seen == [Disconnected]
        assert len(tx) == 0

    @pytest.mark.parametrize("end", ENDS)
    @pytest.mark.parametrize("what", ["tx.close", "rx.close", "tx.close_channel", "rx.close_channel"])
    def test_a_destructor_that_closes(self, end, what, capacity):
        tx, rx = channel(capacity)
        closes = {
            "tx.close": tx.close,
            "rx.close": rx.close,
            "tx.close_channel": tx.close_channel,
            "rx.close_channel": rx.close_channel,
        }
        count = min(capacity or 20, 20)
        died = []

        def die():
            died.append(None)
            closes[what]()

        for _ in range(count):
            tx.send(hostile(__del__=calling(die)))
        outcome(end, Disconnected)(tx, rx)
        rx.close()
        gc.collect()
        assert len(died) == count
        assert waiting(tx) == QUIET
        assert outcome(tx.send, Disconnected)(1) is Disconnected

    @pytest.mark.parametrize("end", DROPS)
    def test_a_destructor_that_drops_the_channel(self, end, capacity):
        ends = [*channel(capacity)]
        died = []

        def die():
            died.append(len(ends))
            ends.clear()

        count = min(capacity or 20, 20)
        for _ in range(count):
            ends[0].send(hostile(__del__=calling(die)))
        gone = weakref.ref(ends[0])
        end(*ends)
        gc.collect()
        assert died == [2] + [0] * (count - 1)
        assert gone() is None

    def test_a_destructor_that_drops_the_ends_it_is_dropped_with(self, capacity):
        """The last receiver is not closed but collected."""
        tx, rx = channel(capacity)
        holder = [tx, rx]
        gone = weakref.ref(tx), weakref.ref(rx)
        tx.send(hostile(__del__=dropping(holder)))
        del tx, rx
        holder.pop()
        gc.collect()
        assert holder == []
        assert [reference() for reference in gone] == [None, None]

    @pytest.mark.parametrize("end", ENDS)
    def test_a_destructor_that_raises_is_reported_and_stops_nothing(self, end, capacity):
        tx, rx = channel(capacity)
        count = min(capacity or 20, 20)
        for _ in range(count):
            tx.send(hostile(__del__=raising(LookupError("mine"))))
        with unraisable() as reported:
            end(tx, rx)
            gc.collect()
        assert [type(error) for error in reported] == [LookupError] * count
        assert len(tx) == 0

    @pytest.mark.parametrize("end", [*ENDS, "collected"])
    def test_an_exception_that_is_being_handled_survives_destructors(self, end, capacity):
        tx, rx = channel(capacity)
        tx.send(hostile(__del__=raising(LookupError("mine"))))
        holder = [rx]
        with unraisable() as reported, pytest.raises(KeyError, match="ours") as caught:
            try:
                raise KeyError("ours")
            finally:
                if end == "collected":
                    del rx
                    holder.clear()
                else:
                    end(tx, rx)
        gc.collect()
        assert len(reported) == 1
        assert caught.value.__context__ is None

    @pytest.mark.parametrize("end", ENDS)
    def test_items_that_come_back_to_life(self, end, capacity):
        tx, rx = channel(capacity)
        grave = []
        count = min(capacity or 20, 20)
        for _ in range(count):
            tx.send(hostile(__del__=resurrecting(grave)))
        end(tx, rx)
        gc.collect()
        assert len(grave) == count
        tx, rx = channel(capacity)
        for item in grave:
            tx.send(item)
        del item
        received = rx.drain()
        assert all(a is b for a, b in zip(received, grave, strict=True))

    def test_an_item_that_brings_its_channel_back_to_life(self, capacity):
        grave = []

        class Item:
            def __del__(self):
                grave.append(self.ends)

        tx, rx = channel(capacity)
        item = Item()
        item.ends = tx, rx
        tx.send(item)
        del item, tx, rx
        gc.collect()
        [(tx, rx)] = grave
        assert waiting(tx) == QUIET
        assert not tx.is_closed
        assert [type(item) for item in rx.drain()] in ([], [Item])  # it is still queued, or already in the grave
        tx.send("new")
        assert rx.recv() == "new"

    def test_a_destructor_that_waits_for_a_thread_that_waits_at_the_channel(self, capacity):
        tx, rx = channel(capacity)
        other = rx.clone()

        def use():
            receiving = spawn(lambda: other.recv(timeout=HANG))
            eventually(lambda: waiting(tx)["receivers"] == 1)
            tx.send("its")
            seen.append(receiving.result())

        seen = []
        tx.send(hostile(__del__=calling(use)))
        rx.drain()
        assert seen == ["its"]
        assert waiting(tx) == QUIET

    def test_items_that_yield_to_other_threads_while_they_die(self, capacity):
        tx, rx = channel(capacity)

        def use():
            for _ in range(100):
                outcome(lambda: tx.try_send(hostile(__del__=yielding())), Full)()
                rx.try_recv(None)
                rx.drain()

        def come_and_go():
            for _ in range(100):
                with rx.clone() as mine, tx.clone():
                    mine.try_recv(None)

        def drop_whole_channels():
            for _ in range(100):
                ends = channel(capacity)
                ends[0].send(hostile(__del__=yielding()))
                ends[1].close()

        run_together(use, use, come_and_go, drop_whole_channels)
        rx.close()
        assert waiting(tx) == QUIET

    def test_every_item_dies_once(self, capacity):
        """However it leaves the channel, while others come and go."""
        died = []

        def send(tx, name):
            for n in range(300):
                item = hostile(__del__=calling(lambda n=n: died.append((name, n))))
                if n % 3 == 0:
                    tx.force_send(item)
                else:
                    outcome(tx.try_send, Full)(item)

        def receive(rx):
            for _ in range(300):
                rx.try_recv(None)
                rx.drain()

        def race(tx, rx):
            run_together(lambda: send(tx, 0), lambda: send(tx, 1), lambda: receive(rx))

        race(*channel(capacity))
        gc.collect()
        assert sorted(died) == [(name, n) for name in range(2) for n in range(300)]


class TestItemsInHands:
    """Items that die with the call that was to send them."""

    def test_a_sent_item_that_its_receiver_drops_while_the_send_returns(self):
        tx, rx = bounded(0)
        died = []

        def send():
            for n in range(200):
                tx.send(hostile(__del__=calling(lambda n=n: died.append(n))), timeout=HANG)

        def receive():
            for _ in range(200):
                rx.recv(timeout=HANG)

        run_together(send, receive)
        gc.collect()
        assert sorted(died) == list(range(200))
        assert waiting(tx) == QUIET

    def test_an_item_that_cannot_be_sent_dies_with_the_error(self):
        tx, rx = bounded(1)
        tx.send(1)
        seen = []

        def refuse(call, error):
            with pytest.raises(error) as caught:
                call(hostile(__del__=calling(lambda: seen.append((len(rx), outcome(tx.try_send, Full)(2))))))
            caught.value.item = None
            del caught
            gc.collect()

        refuse(tx.try_send, Full)
        refuse(lambda item: tx.send(item, timeout=0), Timeout)
        refuse(lambda item: tx.send(item, timeout=0.001), Timeout)
        refuse(lambda item: tx.send_many([item], timeout=0), Timeout)
        assert seen == [(1, Full)] * 4
        assert waiting(tx) == QUIET
        assert rx.drain() == [1]

    @pytest.mark.parametrize("end", ["cancelled", "closed", "forgotten", "sent"])
    @pytest.mark.parametrize("capacity", [0, 1])
    def test_the_item_of_a_task_that_waits(self, capacity, end, loop_name):
        """It dies where the coroutine does, or where it was received, and may use the channel."""

        async def main():
            tx, rx = channel(capacity)
            for n in range(capacity):
                tx.send(n)
            seen = []

            def use():
                sent = outcome(tx.try_send, Full, Disconnected)("its")
                seen.append((sent, outcome(rx.drain, Disconnected)()))

            stepper = Stepper(tx.aio.send(hostile(__del__=calling(use))))
            stepper.step()
            assert waiting(tx)["senders"] == 1
            match end:
                case "cancelled":
                    stepper.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await stepper.finish()
                case "closed":
                    stepper.close()
                case "sent":
                    assert rx.recv() is not None
                    await stepper.finish()
                    assert len(rx.drain()) == capacity
            del stepper
            gc.collect()
            if end == "forgotten":
                assert seen == [], "the queue keeps the coroutine, and the coroutine its item"
                rx.close()  # wakes the coroutine, which nobody drives
                await turns()
                gc.collect()
            if end == "forgotten":
                assert seen == [(Disconnected, Disconnected)]
            elif end == "sent" and capacity:
                assert seen == [(None, ["its"])]
            else:
                assert seen == [(Full, list(range(capacity)) if end != "sent" else [])]
            assert waiting(tx) == QUIET

        run(main(), loop_name)


class TestPermits:
    @pytest.mark.parametrize("wait", ["send", "reserve"])
    def test_one_collected_where_another_thread_waits_for_its_slot(self, wait):
        tx, rx = bounded(1)

        def abandon():
            cycle = [tx.reserve()]
            cycle.append(cycle)

        gc.disable()
        try:
            abandon()
            waits = spawn(lambda: tx.send(1, timeout=HANG) if wait == "send" else tx.reserve(timeout=HANG).send(1))
            eventually(lambda: waiting(tx)["senders"])
            with pytest.warns(ResourceWarning, match="permit"):
                gc.collect()
        finally:
            gc.enable()
        waits.result()
        assert rx.recv() == 1
        assert waiting(tx) == QUIET

    def test_one_collected_where_warnings_are_errors(self):
        tx, _rx = bounded(1)
        with unraisable() as reported, warnings.catch_warnings():
            warnings.simplefilter("error")
            tx.reserve()
        assert [type(error) for error in reported] == [ResourceWarning]
        assert waiting(tx) == QUIET

    def test_one_that_is_an_item_of_its_own_channel(self):
        tx, rx = bounded(2)
        tx.send(tx.reserve())
        with pytest.warns(ResourceWarning, match="permit"):
            rx.close()
            gc.collect()
        assert waiting(tx) == QUIET
        tx, rx = bounded(1)
        permit = tx.reserve()
        permit.send(permit)
        assert rx.recv() is permit
        assert waiting(tx) == QUIET

    def test_a_destructor_of_what_it_sends_that_spends_it(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        rx.close()
        seen = []
        with pytest.raises(Disconnected) as caught:
            permit.send(hostile(__del__=calling(lambda: seen.append(outcome(permit.release, RuntimeError)()))))
        caught.value.item = None
        del caught
        gc.collect()
        assert seen == [RuntimeError]
        assert waiting(tx) == QUIET

    @pytest.mark.filterwarnings("ignore:a permit was collected unused")
    def test_one_that_outlives_its_ends(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        del tx
        gc.collect()
        assert not rx.is_disconnected, "it is an end's"
        permit.send(1)
        assert rx.recv() == 1
        del permit
        gc.collect()
        assert rx.is_disconnected


class TestCollector:
    @pytest.mark.parametrize("capacity", BUFFERED)
    def test_an_end_collected_with_a_cycle_is_closed(self, capacity):
        """And who waits for that is told, and what is queued is dropped."""

        def in_a_cycle(end):
            cycle = [end]
            cycle.append(cycle)

        def with_a_sender_in_a_cycle():
            tx, rx = channel(capacity)
            in_a_cycle(tx)
            return rx

        def with_a_receiver_in_a_cycle():
            tx, rx = channel(capacity)
            tx.send("dropped")
            in_a_cycle(rx)
            return tx

        gc.disable()
        try:
            rx = with_a_sender_in_a_cycle()
            receiving = spawn(lambda: outcome(rx.recv, Disconnected)())
            eventually(lambda: waiting(rx)["receivers"] == 1)
            tx = with_a_receiver_in_a_cycle()
            assert not tx.is_disconnected
            gc.collect()
        finally:
            gc.enable()
        assert receiving.result() is Disconnected
        assert tx.is_disconnected
        assert len(tx) == 0

    @pytest.mark.parametrize("capacity", BUFFERED)
    def test_items_in_a_cycle_with_destructors_that_use_the_channel(self, capacity):
        """The collector runs them before it clears anything, so they find the channel as it was."""
        seen = []

        class Item:
            def __del__(self):
                tx, rx = self.ends
                seen.append((len(tx), tx.is_closed, rx.is_closed))
                rx.drain()
                tx.send("its")

        tx, rx = channel(capacity)
        item = Item()
        item.ends = tx, rx
        gone = weakref.ref(tx)
        tx.send(item)
        del item, tx, rx
        gc.collect()
        gc.collect()
        assert seen == [(1, False, False)]
        assert gone() is None

    def test_destructors_of_weak_references_in_a_cycle(self):
        """A callback of something outside the cycle that has an end of it by way of a weak reference: it gets None."""
        seen = []
        tx, rx = unbounded()
        tx.send((tx, rx))
        reference = weakref.ref(tx, lambda dead: seen.append(dead()))
        del tx, rx
        gc.collect()
        assert seen == [None]
        assert reference() is None

    def test_a_channel_visited_while_its_blocks_come_and_go(self):
        tx, rx = unbounded()
        gone = weakref.ref(tx)
        for n in range(1500):
            tx.send([tx, rx])
            if n % 97 == 0:
                gc.collect()
        for n in range(1490):
            assert rx.recv() == [tx, rx]
            if n % 97 == 0:
                gc.collect()
        assert all(item == [tx, rx] for item in rx.try_iter())
        tx.send([tx, rx])
        del tx, rx
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("wait", ["receives", "sends", "reserves", "meets"])
    def test_a_task_parked_at_a_channel_that_nobody_else_knows(self, wait, loop_name):
        """With both ends in its own hands, so that none of them is closed by being dropped."""

        async def wait_for(tx, rx):
            match wait:
                case "receives":
                    await rx.aio.recv()
                case "sends":
                    await tx.aio.send(2)
                case "reserves":
                    await tx.aio.reserve()
                case "meets":
                    await tx.aio.send((tx, rx))

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            tx, rx = channel(0 if wait == "meets" else 1)
            if wait in ("sends", "reserves"):
                tx.send(1)
            gone = weakref.ref(tx)
            tasks = [asyncio.create_task(wait_for(tx, rx)) for _ in range(3)]
            await turns()
            assert sum(waiting(tx).values()) == 3
            del tx, rx
            tasks.clear()
            gc.collect()
            await turns()
            gc.collect()
            assert gone() is None

        run(main(), loop_name)

    def test_everything_with_a_collection_at_every_allocation(self):
        in_subprocess("""
            import asyncio, gc, itertools, warnings
            from ferrule import Full, Timeout, bounded, unbounded
            from tests.support.race import HANG, run_together
            warnings.simplefilter("ignore", ResourceWarning)
            tx, rx = bounded(3)
            other, _ = unbounded()

            def send(name):
                for n in range(60):
                    tx.send([name, n, tx, rx], timeout=HANG)
                    cycle = [tx.clone(), rx.clone(), unbounded()]
                    cycle[2][0].send(cycle)
                    other.send((other, cycle))
                    try:
                        with tx.reserve(timeout=0.0001) as permit:
                            pass
                    except Timeout:
                        pass
                tx.send(None, timeout=HANG)

            def receive():
                received = []
                while (item := rx.recv(timeout=HANG)) is not None:
                    received.append(item[:2])
                    assert item[2:] == [tx, rx]
                return received

            async def receive_too():
                received = []
                async for item in rx.aio:
                    if item is None:
                        return received
                    received.append(item[:2])

            gc.set_threshold(1, 1, 1)
            *_, first, second = run_together(
                lambda: send("a"), lambda: send("b"), receive, lambda: asyncio.run(receive_too()), timeout=100
            )
            assert sorted(first + second) == [[name, n] for name in "ab" for n in range(60)]
            assert rx._state() == {"senders": 0, "receivers": 0, "reserved": 0}
        """)


class TestWeakReferences:
    def test_a_callback_runs_after_the_last_user_is_gone(self):
        """Of a face: its own users are what was bound to it."""
        seen = []
        tx, rx = bounded(3)
        users = [rx.recv, rx.try_iter(), iter(rx)]
        reference = weakref.ref(rx, lambda dead: seen.append((dead(), tx.is_disconnected)))
        del rx
        while users:
            assert seen == [], f"{users[-1]!r} keeps it"
            users.pop()
        gc.collect()
        assert seen == [(None, False)], "the end is closed after its face is gone"
        assert reference() is None
        assert tx.is_disconnected

    def test_a_callback_that_uses_the_channel(self):
        tx, rx = bounded(1)
        other = rx.clone()
        seen = []
        reference = weakref.ref(rx, lambda dead: (tx.send("its"), seen.append(other.recv())))
        del rx
        gc.collect()
        assert seen == ["its"]
        assert reference() is None

    def test_dies_while_others_look(self):
        for _ in range(30):
            holder = [*unbounded()]
            references = [weakref.ref(end) for end in holder]

            def look(references=references):
                tx, rx = (reference() for reference in references)
                if tx is not None and rx is not None:
                    tx.send(1)
                    return rx.recv(timeout=HANG)
                return None

            looked = run_together(look, look, holder.clear)
            assert set(looked) <= {1, None}
            del look
            gc.collect()
            assert [reference() for reference in references] == [None, None]


NESTS = {
    "a receiver": "lambda inner: filled(inner)[1]",
    "an async receiver": "lambda inner: filled(inner)[1].aio",
    "both ends": "filled",
    "a receiver in a list": "lambda inner: [filled(inner)[1]]",
    "a bounded one": "lambda inner: filled(inner, bounded(1))[1]",
    "by its sender": "keeping",
    "an iterator": "lambda inner: filled(inner)[1].try_iter()",
    "a permit": "with_a_permit",
    "a coroutine that receives": "lambda inner: filled(inner)[1].aio.recv()",
    "a coroutine that receives many": "lambda inner: filled(inner)[1].aio.recv_many(3)",
    "a coroutine that sends": "lambda inner: unbounded()[0].aio.send(inner)",
    "a coroutine that sends many": "lambda inner: unbounded()[0].aio.send_many([inner])",
    "a coroutine of a block": "lambda inner: filled(inner)[1].aio.__aenter__()",
    "an error": "refused",
}


DEEP = 200_000
"""Deeper than any stack of C calls; some are a million deep."""


class TestNesting:
    @pytest.mark.parametrize("wrap", NESTS)
    def test_a_deep_nest_is_destroyed(self, wrap):
        depth = 1_000_000 if wrap in {"a receiver", "a coroutine that sends"} else DEEP
        in_subprocess(
            f"""
            import warnings
            from ferrule import Disconnected, bounded, unbounded
            from tests.support.hostile import assert_destroyed
            warnings.simplefilter("ignore")

            def filled(inner, ends=None):
                ends = ends or unbounded()
                ends[0].send(inner)
                return ends

            def keeping(inner):     # the sender has the item by a receiver that is in the channel too: a cycle each
                tx, rx = filled(inner)
                tx.send(rx)
                return tx

            def with_a_permit(inner):
                tx, rx = bounded(2)
                tx.send(inner)
                return tx.reserve(), rx

            def refused(inner):
                tx, rx = bounded(1)
                rx.close()
                try:
                    tx.send(inner)
                except Disconnected as error:
                    error.__traceback__ = None
                    return error

            assert_destroyed({depth}, {NESTS[wrap]})
            """,
            timeout=120,
        )

    @pytest.mark.parametrize("close", ["outermost.close()", "list(outermost.try_iter())", "outermost.drain()"])
    def test_a_deep_nest_is_destroyed_by_a_call(self, close):
        in_subprocess(
            f"""
            from ferrule import unbounded
            died = []

            class Innermost:
                def __del__(self):
                    died.append(1)

            outermost = Innermost()
            for _ in range({DEEP}):
                tx, rx = unbounded()
                tx.send(outermost)
                outermost = rx
            del tx, rx
            {close}
            assert died == [1]
            """,
            timeout=120,
        )

    def test_a_million_deep_cycle_is_collected(self):
        in_subprocess(
            """
            import gc
            from ferrule import unbounded
            gc.disable()
            tx, innermost = unbounded()
            outermost = innermost
            for _ in range(1_000_000):
                sender, receiver = unbounded()
                sender.send(outermost)
                outermost = receiver
            tx.send(outermost)
            del tx, innermost, outermost, sender, receiver
            assert gc.collect() >= 1_000_000
            """,
            timeout=120,
        )
