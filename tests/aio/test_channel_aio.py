"""The async faces of channels: what completes at once never suspends, what waits loses nothing when it is cancelled."""

import asyncio
import contextlib
import random

import pytest

from ferrule import BlockingInEventLoop, Disconnected, Full, Timeout, aio, allow_blocking, bounded, unbounded
from tests.support.channels import BUFFERED, CAPACITIES, LIMITED, waiting
from tests.support.driver import LoopThread, cancel_at_every_step, cancel_everywhere, complete, run, turns
from tests.support.race import HANG, eventually, spawn


def channel(capacity):
    return aio.unbounded() if capacity is None else aio.bounded(capacity)


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, HANG)


@pytest.mark.parametrize("capacity", BUFFERED)
def test_what_can_be_done_at_once_never_suspends(capacity):
    tx, rx = channel(capacity)
    assert complete(tx.send("item")) is None
    assert complete(rx.recv()) == "item"
    assert complete(tx.send_many(["item"])) == 1
    assert complete(rx.recv_many(5)) == ["item"]
    permit = complete(tx.reserve())
    permit.send("permitted")
    assert complete(rx.__anext__()) == "permitted"


def test_nothing_happens_before_the_first_step():
    tx, rx = aio.bounded(1)
    sending, receiving = tx.send(1), rx.recv()
    assert len(tx) == 0
    sending.close()
    receiving.close()
    reserving = tx.reserve()
    assert waiting(tx)["reserved"] == 0
    reserving.close()


@pytest.mark.parametrize("capacity", CAPACITIES)
class TestTasks:
    def test_items_arrive_in_order(self, capacity, loop_name):
        async def main():
            tx, rx = channel(capacity)

            async def produce():
                async with tx:
                    for n in range(500):
                        await tx.send(n)

            producing = asyncio.create_task(produce())
            received = [item async for item in rx]
            await producing
            return received

        assert run(main(), loop_name) == list(range(500))

    def test_send_many_and_recv_many(self, capacity, loop_name):
        async def main():
            tx, rx = channel(capacity)
            sending = asyncio.create_task(tx.send_many(range(1000)))
            received = []
            while len(received) < 1000:
                batch = await soon(rx.recv_many(7))
                assert 1 <= len(batch) <= 7
                received += batch
            return received, await sending

        assert run(main(), loop_name) == (list(range(1000)), 1000)

    def test_timeouts_carry_the_item(self, capacity, loop_name):
        async def main():
            tx, rx = channel(0 if capacity is None else capacity)
            for n in range(tx.capacity):
                await tx.send(n)
            item = object()
            for timeout in (0, 0.005):
                with pytest.raises(Timeout) as caught:
                    await tx.send(item, timeout=timeout)
                assert caught.value.item is item
                with pytest.raises(Timeout) as caught:
                    await tx.send_many([item], timeout=timeout)
                assert (caught.value.item, caught.value.sent) == (item, 0)
            assert rx.drain() == list(range(tx.capacity))
            for timeout in (0, 0.005):
                with pytest.raises(Timeout):
                    await rx.recv(timeout=timeout)
                with pytest.raises(Timeout):
                    await rx.recv_many(5, timeout=timeout)
            assert waiting(tx) == {"senders": 0, "receivers": 0, "reserved": 0}

        run(main(), loop_name)

    def test_a_receiver_cancelled_at_every_step_loses_nothing(self, capacity, loop_name):
        async def main():
            ends = []

            def begin():
                ends[:] = channel(capacity)
                tx, rx = ends

                def wake():
                    with contextlib.suppress(Full):
                        tx.try_send("item")

                return rx.recv(), wake

            def check():
                tx, rx = ends
                stats = rx.stats()
                assert stats["sent"] == stats["received"] + len(rx)
                assert waiting(rx)["receivers"] == 0
                assert rx.drain() == ["item"] * (stats["sent"] - stats["received"])
                assert not tx.is_closed

            assert await cancel_at_every_step(begin, check) == 1

        run(main(), loop_name)


@pytest.mark.parametrize("capacity", LIMITED)
def test_a_sender_cancelled_at_every_step_loses_nothing(capacity, loop_name):
    async def main():
        ends = []

        def begin():
            ends[:] = channel(capacity)
            tx, rx = ends
            for n in range(capacity):
                tx.try_send(n)

            return tx.send("item"), lambda: rx.try_recv(None)

        def check():
            tx, rx = ends
            stats = rx.stats()
            assert stats["sent"] == stats["received"] + len(rx)
            assert waiting(tx)["senders"] == 0
            rx.drain()
            for n in range(capacity):  # there is all the room that there was
                tx.try_send(n)

        assert await cancel_at_every_step(begin, check) == 1

    run(main(), loop_name)


def test_a_cancelled_receivers_item_goes_to_the_next_before_any_waiting_sender(loop_name):
    async def main():
        tx, rx = aio.bounded(0)
        first = asyncio.create_task(rx.recv())
        await turns(2)
        tx.try_send("paired")
        first.cancel()
        waiting_sender = asyncio.create_task(tx.send("later"))
        await turns(3)
        assert first.cancelled()
        assert len(rx) == 1
        assert await soon(rx.recv()) == "paired"
        assert len(rx) == 0
        assert await soon(rx.recv()) == "later"
        await soon(waiting_sender)

    run(main(), loop_name)


def test_a_claimed_receiver_that_is_cancelled_passes_its_leave_on(loop_name):
    async def main():
        tx, rx = aio.bounded(5)
        tasks = [asyncio.create_task(rx.recv()) for _ in range(3)]
        await turns(2)
        spawn(tx.sync.send, "item").result()
        tasks[0].cancel()
        done, _ = await asyncio.wait(tasks[1:], timeout=HANG, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == ["item"]
        assert waiting(rx)["receivers"] == 1
        tx.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main(), loop_name)


def test_cancelled_everywhere_in_a_pipeline(loop_name):
    async def main():
        ends = []

        async def pipeline():
            ends[:] = aio.bounded(1)
            tx, rx = ends

            async def produce():
                await tx.send_many(range(4))

            producing = asyncio.create_task(produce())
            try:
                return [await rx.recv() for _ in range(4)]
            finally:
                producing.cancel()
                await asyncio.gather(producing, return_exceptions=True)

        def check():
            stats = ends[1].stats() if ends else {"sent": 0, "received": 0}
            assert stats["sent"] == stats["received"] + (len(ends[1]) if ends else 0)

        await cancel_everywhere(pipeline, check)

    run(main(), loop_name)


class TestLetsTheLoopRun:
    """A consumer that never has to wait leaves its loop alive."""

    @staticmethod
    async def ticks_during(consume):
        ticks = 0

        async def ticker():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(ticker())
        await asyncio.sleep(0)
        before = ticks
        await consume
        ticking.cancel()
        return ticks - before

    def test_async_for(self, loop_name):
        async def main():
            tx, rx = aio.unbounded()
            await tx.send_many(range(12_800))
            tx.close()

            async def consume():
                assert [item async for item in rx] == list(range(12_800))

            return await self.ticks_during(consume())

        assert 90 <= run(main(), loop_name) <= 110

    def test_recv_many(self, loop_name):
        async def main():
            tx, rx = aio.unbounded()
            await tx.send_many(range(12_800))

            async def consume():
                received = []
                while len(received) < 12_800:
                    received += await rx.recv_many(64)
                assert received == list(range(12_800))

            return await self.ticks_during(consume())

        assert 90 <= run(main(), loop_name) <= 110

    def test_a_pause_may_be_cancelled(self, loop_name):
        async def main():
            tx, rx = aio.unbounded()
            await tx.send_many(range(300))
            received = []

            async def consume():
                async for item in rx:
                    received.append(item)

            consuming = asyncio.create_task(consume())
            await asyncio.sleep(0)
            assert len(received) == 128
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
            assert consuming.cancelled()
            assert rx.drain() == list(range(128, 300))

        run(main(), loop_name)


class TestEnds:
    def test_async_with_closes(self, loop_name):
        async def main():
            tx, rx = aio.bounded(1)
            async with tx as same:
                assert same is tx
                await tx.send(1)
            assert tx.is_closed
            async with rx:
                assert [item async for item in rx] == [1]
            assert rx.is_closed

        run(main(), loop_name)

    @pytest.mark.parametrize("happens", ["close", "close_channel", "peer"])
    def test_tasks_that_wait_are_told(self, happens, loop_name):
        async def main():
            tx, rx = aio.bounded(1)
            receiving = [asyncio.create_task(rx.recv()), asyncio.create_task(rx.recv_many(3))]
            await turns(2)
            {"close": rx.close, "close_channel": rx.close_channel, "peer": tx.close}[happens]()
            for task in receiving:
                with pytest.raises(Disconnected):
                    await soon(task)
            tx, rx = aio.bounded(1)
            await tx.send("queued")
            item = object()
            sending = [asyncio.create_task(tx.send(item)), asyncio.create_task(tx.send_many([item]))]
            reserving = asyncio.create_task(tx.reserve())
            await turns(2)
            {"close": tx.close, "close_channel": tx.close_channel, "peer": rx.close}[happens]()
            for task in sending:
                with pytest.raises(Disconnected) as caught:
                    await soon(task)
                assert caught.value.item is item
            with pytest.raises(Disconnected):
                await soon(reserving)

        run(main(), loop_name)

    def test_kinds(self):
        tx, rx = aio.bounded[int](2)
        assert type(tx.clone()) is type(rx.new_sender()) is aio.Sender
        assert type(rx.clone()) is type(tx.new_receiver()) is aio.Receiver
        assert tx.sync.aio == tx
        assert rx.sync.aio == rx
        assert tx != rx


class TestThreadsAndTasks:
    @pytest.mark.parametrize("capacity", CAPACITIES)
    def test_from_a_thread_to_a_task_and_back(self, capacity, loop_name):
        tx, rx = unbounded() if capacity is None else bounded(capacity)
        back_tx, back_rx = unbounded() if capacity is None else bounded(capacity)

        async def echo():
            async with back_tx.aio as out:
                async for item in rx.aio:
                    await out.send(item)

        with LoopThread(loop_name) as there:
            echoing = there.spawn(echo())

            def send():
                with tx:
                    tx.send_many(range(2000))

            sending = spawn(send)
            assert list(back_rx) == list(range(2000))
            sending.result()
            echoing.result(HANG)

    def test_between_two_loops(self, loop_name):
        tx, rx = bounded(3)

        async def produce():
            async with tx.aio as out:
                await out.send_many(range(2000))

        async def consume():
            return [item async for item in rx.aio]

        with LoopThread(loop_name) as here, LoopThread(loop_name) as there:
            consuming = there.spawn(consume())
            here.spawn(produce())
            assert consuming.result(HANG) == list(range(2000))


class TestBlockingInEventLoop:
    @pytest.mark.parametrize(
        "call",
        [
            lambda tx, rx: rx.recv(),
            lambda tx, rx: rx.recv(timeout=1),
            lambda tx, rx: rx.recv_many(5),
            lambda tx, rx: next(rx),
            lambda tx, rx: tx.send_many([1, 2]),
            lambda tx, rx: (tx.send(1), tx.send(2)),
            lambda tx, rx: (tx.send(1), tx.reserve()),
        ],
    )
    def test_a_sync_call_that_would_wait_raises_in_a_loops_thread(self, call, loop_name):
        async def main():
            tx, rx = bounded(1)
            with pytest.raises(BlockingInEventLoop):
                call(tx, rx)
            assert waiting(tx) == {"senders": 0, "receivers": 0, "reserved": 0}

        run(main(), loop_name)

    def test_what_need_not_wait_does_not(self, loop_name):
        async def main():
            tx, rx = bounded(1)
            tx.send(1)
            assert rx.recv() == 1
            with pytest.raises(Timeout):
                rx.recv(timeout=0)

        run(main(), loop_name)

    def test_may_be_allowed(self, loop_name):
        async def main():
            tx, rx = bounded(1)
            sending = spawn(lambda: (eventually(lambda: waiting(rx)["receivers"]), tx.send("item")))
            with allow_blocking():
                assert rx.recv(timeout=HANG) == "item"
            sending.result()

        run(main(), loop_name)

    def test_not_in_other_threads(self, loop_name):
        async def main():
            tx, rx = bounded(1)
            receiving = asyncio.create_task(asyncio.to_thread(rx.recv))
            while not waiting(rx)["receivers"]:
                await asyncio.sleep(0.001)
            tx.send("item")
            return await soon(receiving)

        assert run(main(), loop_name) == "item"


class TestWakeUps:
    @pytest.mark.parametrize("capacity", [100, None])
    def test_a_thread_wakes_the_loop_once_for_many_items(self, capacity):
        """Fewer than one write to the loop's self-pipe for every 50 items."""
        count = 200_000
        tx, rx = unbounded() if capacity is None else bounded(capacity)
        writes = 0

        async def main():
            nonlocal writes
            loop = asyncio.get_running_loop()
            waking = loop._csock

            class Counting:
                def send(self, data):
                    nonlocal writes
                    writes += 1
                    return waking.send(data)

                def __getattr__(self, name):
                    return getattr(waking, name)

            loop._csock = Counting()

            def send():
                with tx:
                    tx.send_many(range(count))

            sending = spawn(send)
            received = 0
            async for _ in rx.aio:
                received += 1
            loop._csock = waking
            sending.result()
            return received

        assert asyncio.run(main()) == count
        assert writes * 50 <= count, writes


def test_random_cancellations_lose_and_double_nothing(loop_name, rng):
    async def main():
        tx, rx = aio.bounded(2)
        chance = random.Random(rng.random())
        received, sent = [], []

        async def receive():
            received.append(await rx.recv())

        async def send(n):
            await tx.send(n)
            sent.append(n)

        for n in range(700):
            tasks = [asyncio.create_task(send(n)), asyncio.create_task(receive()), asyncio.create_task(receive())]
            await turns(chance.randrange(3))
            chance.choice(tasks).cancel()
            if chance.random() < 0.3:
                tasks[2].cancel()
            await turns(2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        received += rx.drain()
        assert len(received) == len(set(received))
        assert set(sent) <= set(received)
        stats = rx.stats()
        assert stats["sent"] == stats["received"]
        assert waiting(rx) == {"senders": 0, "receivers": 0, "reserved": 0}

    run(main(), loop_name)


@pytest.mark.parametrize("side", ["receivers", "senders"])
def test_who_has_leave_and_whose_end_is_closed_passes_it_on(side, loop_name):
    """The first of two is claimed, and its end is closed before it runs: the second must not wait for ever."""

    async def main():
        tx, rx = aio.bounded(1)
        if side == "receivers":
            first, second = rx.clone(), rx
            tasks = [asyncio.create_task(end.recv()) for end in (first, second)]
        else:
            first, second = tx.clone(), tx
            await tx.send("item")
            tasks = [asyncio.create_task(end.send("item")) for end in (first, second)]
        await turns(2)
        if side == "receivers":
            tx.try_send("item")
        else:
            rx.try_recv()
        first.close()
        with pytest.raises(Disconnected):
            await soon(tasks[0])
        assert await soon(tasks[1]) == ("item" if side == "receivers" else None)

    run(main(), loop_name)
