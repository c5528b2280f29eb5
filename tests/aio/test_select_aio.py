"""aio.select(): tasks and threads meet in it, and whatever ends it, exactly one arm has its effect or none has."""

import asyncio
import contextlib
import gc
import random
import sys
import weakref

import pytest

from ferrule import MISSING, Full, Permit, Timeout, aio, bounded, never, select, unbounded
from tests.support.channels import CAPACITIES, LIMITED, channel, waiting
from tests.support.driver import (
    HandLoop,
    LoopThread,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    complete,
    new_loop,
    run,
    turns,
)
from tests.support.race import HANG, eventually, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, HANG)


def filled(capacity):
    """A channel without room."""
    tx, rx = channel(capacity)
    for n in range(capacity):
        tx.try_send(n)
    return tx, rx


async def parked(coroutine):
    """A task that waits in it."""
    task = asyncio.ensure_future(coroutine)
    await turns()
    assert not task.done()
    return task


def test_what_is_ready_never_suspends():
    tx, rx = unbounded()
    assert complete(aio.select(never(), tx.sending("item"))) == (1, None, False)
    assert complete(aio.select(never(), rx)) == (1, "item", False)
    permit = complete(aio.select(tx.aio.reserving())).value
    assert type(permit) is Permit
    permit.send("permitted")
    assert complete(aio.select(rx.aio)).value == "permitted"
    tx.close()
    assert complete(aio.select(rx, aio.never())) == (0, None, True)
    assert aio.try_select(never()) is None


def test_nothing_happens_before_the_first_step():
    tx, rx = unbounded()
    tx.send("item")
    for arms in ((rx,), (tx.sending("other"),), (tx.reserving(),)):
        aio.select(*arms).close()
        assert (len(rx), waiting(tx)) == (1, QUIET)


def test_bad_arguments_are_refused_by_the_call():
    tx, _rx = bounded(1)
    with pytest.raises(TypeError):
        aio.select(tx)
    with pytest.raises(ValueError):
        aio.select()
    with pytest.raises(ValueError):
        aio.select(never(), timeout=-1)


class TestWaiting:
    @pytest.mark.parametrize("capacity", CAPACITIES)
    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("thread", [False, True])
    def test_an_item_wakes_it(self, capacity, place, thread, loop_name):
        async def main():
            ends = [channel(capacity) for _ in range(3)]
            task = await parked(aio.select(*(rx for _, rx in ends)))
            send = ends[place][0].try_send
            spawn(send, "item").result() if thread else send("item")
            assert await soon(task) == (place, "item", False)
            assert [waiting(rx) for _, rx in ends] == [QUIET] * 3

        run(main(), loop_name)

    @pytest.mark.parametrize("capacity", LIMITED)
    @pytest.mark.parametrize("thread", [False, True])
    def test_room_wakes_it(self, capacity, thread, loop_name):
        async def main():
            ends = [filled(capacity) for _ in range(2)]
            task = await parked(aio.select(*(tx.sending("new") for tx, _ in ends)))
            receive = ends[1][1].try_recv
            spawn(receive).result() if thread else receive()
            assert await soon(task) == (1, None, False)
            assert [waiting(rx) for _, rx in ends] == [QUIET] * 2

        run(main(), loop_name)

    def test_a_free_slot_gives_a_permit(self, loop_name):
        async def main():
            (tx, rx), (_, other) = filled(1), bounded(1)
            task = await parked(aio.select(other, tx.reserving()))
            rx.try_recv()
            index, permit, closed = await soon(task)
            assert (index, closed, waiting(tx)) == (1, False, QUIET | {"reserved": 1})
            permit.release()

        run(main(), loop_name)

    def test_two_tasks_of_one_loop_meet(self, loop_name):
        async def main():
            tx, rx = aio.bounded(0)
            one, other = (asyncio.create_task(aio.select(tx.sending(name), rx)) for name in "ab")
            taken = {await soon(one), await soon(other)}
            assert taken in ({(0, None, False), (1, "a", False)}, {(0, None, False), (1, "b", False)})
            assert waiting(tx) == QUIET

        run(main(), loop_name)

    def test_a_task_and_a_thread_meet(self, loop_name):
        tx, rx = bounded(0)
        with LoopThread(loop_name) as there:
            for _ in range(50):
                theirs = there.spawn(aio.select(tx.sending("theirs"), rx, timeout=HANG))
                ours = select(tx.sending("ours"), rx, timeout=HANG)
                assert {ours.index, theirs.result(HANG).index} == {0, 1}
        assert waiting(tx) == QUIET

    def test_one_select_does_not_meet_itself(self, loop_name):
        async def main():
            tx, rx = bounded(0)
            with pytest.raises(Timeout) as caught:
                await aio.select(tx.sending("item"), rx, rx, timeout=0.01)
            assert caught.value.item == "item"
            assert waiting(tx) == QUIET

        run(main(), loop_name)

    def test_closing_wakes_it(self, loop_name):
        async def main():
            (tx, rx), (tx_too, rx_too) = bounded(1), filled(1)
            task = await parked(aio.select(rx, tx_too.sending("item")))
            rx_too.close()
            assert await soon(task) == (1, "item", True)
            tx_too, rx_too = filled(1)
            task = await parked(aio.select(rx, tx_too.sending("item")))
            tx.close()
            assert await soon(task) == (0, None, True)
            assert waiting(rx) == waiting(tx_too) == QUIET

        run(main(), loop_name)

    def test_timeouts(self, loop_name):
        async def main():
            tx, rx = filled(1)
            _, other = bounded(1)
            for timeout in (0, 0.001):
                with pytest.raises(Timeout) as caught:
                    await aio.select(other, tx.sending("item"), timeout=timeout)
                assert caught.value.item == "item"
                with pytest.raises(Timeout) as caught:
                    await aio.select(other, timeout=timeout)
                assert caught.value.item is MISSING
            with pytest.raises(Timeout):
                await aio.select(timeout=0.001)
            assert waiting(tx) == waiting(other) == QUIET
            assert len(rx) == 1

        run(main(), loop_name)

    def test_one_channel_many_times(self, loop_name):
        async def main():
            tx, rx = bounded(1)
            task = await parked(aio.select(*[rx] * 300))
            assert waiting(rx)["receivers"] == 300
            tx.try_send("item")
            assert (await soon(task)).value == "item"
            assert waiting(rx) == QUIET

        run(main(), loop_name)


@pytest.mark.parametrize("arms", ["never rx", "rx rx other", "other rx send"])
def test_what_comes_between_the_look_and_the_queue_is_found(arms):
    """The loop makes a future there, and this one's sends."""

    class Sends(HandLoop):
        def create_future(self):
            tx.try_send("item")
            return super().create_future()

    (tx, rx), (other_tx, other) = bounded(1), bounded(0)
    made = {"rx": rx, "other": other, "never": never(), "send": other_tx.sending("x")}
    stepper = Stepper(aio.select(*map(made.get, arms.split())))
    with Sends().running():
        stepper.step()
    assert stepper.result().value == "item"
    assert waiting(rx) == waiting(other) == QUIET


def test_the_arm_that_it_was_claimed_by_comes_first(loop_name):
    """Whatever else has become ready until its task runs: the sender that met it is not left with nobody."""

    async def main():
        for _ in range(20):
            (tx, rx), (other_tx, other) = aio.bounded(0), aio.bounded(1)
            task = await parked(aio.select(other, rx, other))
            tx.try_send("paired")
            other_tx.try_send("later")
            assert await soon(task) == (1, "paired", False)
            assert (len(rx), len(other)) == (0, 1)

    run(main(), loop_name)


class TestTimers:
    def test_they_come_of_themselves(self, loop_name):
        async def main():
            loop = asyncio.get_running_loop()
            begin = loop.time()
            assert begin + 0.01 <= await aio.after(0.01).recv()
            assert isinstance(await aio.after(0.001).recv(timeout=HANG), float)
            assert await aio.at(begin).recv() == begin
            timer = aio.tick(0.002)
            messages = [await timer.recv(timeout=HANG) for _ in range(5)]
            assert messages == sorted(set(messages))
            taken = 0
            async for _ in timer:
                taken += 1
                if taken == 3:
                    break

        run(main(), loop_name)

    def test_in_a_select(self, loop_name):
        async def main():
            tx, rx = aio.bounded(1)
            assert (await aio.select(rx, aio.after(0.01))).index == 1
            assert (await aio.select(rx, aio.after(HANG), aio.after(0.01), timeout=HANG)).index == 2
            timer = aio.tick(0.003)
            assert [(await aio.select(rx, timer)).index for _ in range(5)] == [1] * 5
            task = await parked(aio.select(aio.after(HANG), rx))
            tx.try_send("item")
            assert (await soon(task)).value == "item"
            with pytest.raises(Timeout):
                await aio.select(rx, aio.after(HANG), timeout=0.005)
            assert waiting(rx) == waiting(timer) == QUIET

        run(main(), loop_name)

    def test_many_thousands_that_wait_side_by_side(self, loop_name):
        async def main():
            timers = [aio.after(random.random() * 0.05) for _ in range(3000)]
            messages = await asyncio.gather(*(timer.recv(timeout=HANG) for timer in timers))
            assert len(messages) == 3000
            taken = await asyncio.gather(*(aio.select(aio.after(0.01), aio.never()) for _ in range(1000)))
            assert {one.index for one in taken} == {0}

        run(main(), loop_name)

    def test_who_lost_the_message_waits_on(self, loop_name):
        async def main():
            timer = aio.after(0.005)
            tasks = [asyncio.create_task(timer.recv(timeout=0.05)) for _ in range(3)]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["Timeout", "Timeout", "float"]
            assert waiting(timer) == QUIET

        run(main(), loop_name)

    def test_who_lost_one_tick_gets_another(self, loop_name):
        async def main():
            timer = aio.tick(0.003)
            waits = [timer.recv(), timer.recv(timeout=HANG), aio.select(timer, aio.never()), anext(timer)]
            messages = [getattr(one, "value", one) for one in await asyncio.gather(*waits)]
            assert len(set(messages)) == 4

        run(main(), loop_name)

    def test_a_wait_that_ends_leaves_no_alarm(self, loop_name):
        probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

        async def main():
            loop = asyncio.get_running_loop()
            tx, rx = aio.bounded(1)
            for _ in range(3):
                task = await parked(aio.select(rx, aio.after(HANG)))
                assert probe.deadlines(loop) == 1
                tx.try_send("item")
                await soon(task)
                assert probe.deadlines(loop) == 0
                task = await parked(aio.after(HANG).recv())
                task.cancel()
                await turns()
                assert probe.deadlines(loop) == 0
            task = await parked(aio.never().recv())
            assert probe.deadlines(loop) == 0
            task.cancel()
            await turns()

        run(main(), loop_name)


# --- cancellation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("place", [0, 1])
def test_one_that_receives_cancelled_at_every_step_loses_nothing(capacity, place, loop_name):
    async def main():
        ends = []

        def begin():
            ends[:] = [channel(capacity) for _ in range(2)]

            def wake():
                with contextlib.suppress(Full):  # at a rendezvous nobody may wait any more
                    ends[place][0].try_send("item")

            return aio.select(*(rx for _, rx in ends)), wake

        def check():
            for tx, rx in ends:
                stats = rx.stats()
                assert waiting(rx) == QUIET
                assert rx.drain() == ["item"] * (stats["sent"] - stats["received"])
                assert stats["received"] == 0
                assert not tx.is_closed

        assert await cancel_at_every_step(begin, check) == 1

    run(main(), loop_name)


@pytest.mark.parametrize("capacity", LIMITED)
@pytest.mark.parametrize("reserves", [False, True])
def test_one_that_sends_cancelled_at_every_step_loses_nothing(capacity, reserves, loop_name):
    if reserves and capacity == 0:
        return  # a rendezvous has no slots

    async def main():
        ends = []

        def begin():
            ends[:] = filled(capacity)
            tx, rx = ends
            arm = tx.reserving() if reserves else tx.sending("item")
            return aio.select(never(), arm), lambda: rx.try_recv(None)

        def check():
            tx, rx = ends
            stats = rx.stats()
            assert stats["sent"] == stats["received"] + len(rx)
            assert waiting(tx) == QUIET
            rx.drain()
            for n in range(capacity):  # there is all the room that there was
                tx.try_send(n)

        # (The permit of the one that is not cancelled is collected unused.)
        with pytest.warns(ResourceWarning) if reserves else contextlib.nullcontext():
            assert await cancel_at_every_step(begin, check) == 1
            gc.collect()

    run(main(), loop_name)


def test_the_leave_of_one_that_is_cancelled_goes_to_the_next(loop_name):
    async def main():
        (tx, rx), (_, other) = aio.bounded(5), aio.bounded(5)
        tasks = [await parked(aio.select(other, rx)), await parked(rx.recv()), await parked(aio.select(rx, other))]
        spawn(tx.sync.send, "item").result()
        tasks[0].cancel()
        assert await soon(tasks[1]) == "item"
        assert tasks[0].cancelled()
        tx.try_send("another")
        assert (await soon(tasks[2])).value == "another"
        assert waiting(rx) == waiting(other) == QUIET

    run(main(), loop_name)


def test_room_of_one_that_is_cancelled_goes_to_the_next(loop_name):
    async def main():
        (tx, rx), (_, other) = filled(1), bounded(1)
        tasks = [await parked(aio.select(other, tx.sending("a"))), await parked(tx.aio.send("b"))]
        spawn(rx.recv).result()
        tasks[0].cancel()
        await soon(tasks[1])
        assert rx.drain() == ["b"]
        assert waiting(tx) == waiting(other) == QUIET

    run(main(), loop_name)


def test_an_item_paired_with_one_that_is_cancelled_stays_first(loop_name):
    async def main():
        tx, rx = aio.bounded(0)
        first = await parked(aio.select(aio.never(), rx))
        tx.try_send("paired")
        first.cancel()
        later = asyncio.create_task(tx.send("later"))
        await turns()
        assert first.cancelled()
        assert len(rx) == 1
        assert (await soon(aio.select(rx))).value == "paired"
        assert (await soon(aio.select(rx))).value == "later"
        await soon(later)

    run(main(), loop_name)


def test_what_was_taken_from_one_that_is_then_cancelled_is_sent_once(loop_name):
    async def main():
        tx, rx = aio.bounded(0)
        task = await parked(aio.select(aio.never(), tx.sending("item")))
        assert spawn(rx.sync.try_recv).result() == "item"
        task.cancel()
        await turns()
        assert task.cancelled()
        assert rx.stats()["sent"] == rx.stats()["received"] == 1
        assert waiting(tx) == QUIET

    run(main(), loop_name)


def test_a_receiver_that_comes_too_late_for_one_that_sends_keeps_nothing_of_it():
    """That one has been claimed by its other arm, and has not left the queue of those that send."""
    (tx, rx), item = bounded(0), object()
    before = sys.getrefcount(item)
    loop = HandLoop()
    steppers = [Stepper(aio.select(rx, tx.sending(item))), Stepper(rx.aio.recv(timeout=HANG))]
    with loop.running():
        steppers[0].step()
        tx.try_send("paired")
        assert rx.try_recv() == "paired"  # by another than the one it was paired with
        steppers[1].step()
        assert waiting(rx)["receivers"] == 1
        for stepper in steppers:
            stepper.close()
    del steppers, stepper
    assert sys.getrefcount(item) == before
    assert waiting(rx) == QUIET


def test_a_pipeline_cancelled_everywhere(loop_name):
    async def main():
        ends = []

        async def pipeline():
            ends[:] = [aio.bounded(0), aio.bounded(1), aio.bounded(1)]
            (tx, rx), (mid_tx, mid_rx), (out_tx, out_rx) = ends

            async def produce():
                for n in range(3):
                    await aio.select(tx.sending(n), mid_tx.sending(n))

            async def pump():
                for _ in range(3):
                    taken = await aio.select(rx, mid_rx)
                    await aio.select(aio.never(), out_tx.sending(taken.value))

            async with asyncio.TaskGroup() as group:
                group.create_task(produce())
                group.create_task(pump())
                for _ in range(3):
                    await aio.select(out_rx, aio.never())

        def check():
            for tx, rx in ends:
                stats = rx.stats()
                assert stats["sent"] == stats["received"] + len(rx)
                assert waiting(tx) == QUIET

        await cancel_everywhere(pipeline, check)

    run(main(), loop_name)


# --- loops that end, and the collector -------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", [False, True])
def test_a_loop_that_is_closed_passes_on(claimed):
    """Its task waits, or has been claimed and has not been told."""
    (tx, rx), (_, other) = bounded(5), bounded(5)
    loop = HandLoop()
    stepper = Stepper(aio.select(other, rx))
    with loop.running():
        stepper.step()
    thread = spawn(lambda: rx.recv(timeout=HANG))
    eventually(lambda: waiting(rx)["receivers"] == 2)
    if claimed:
        tx.send("item")
    loop.close()
    if not claimed:
        tx.send("item")
    assert thread.result() == "item"
    del stepper
    gc.collect()
    assert waiting(rx) == waiting(other) == QUIET


@pytest.mark.parametrize("how", ["before it was told", "after"])
def test_a_claimed_task_that_is_forgotten_leaves_nothing_behind(how):
    """Only the queues of the arms that were not claimed still know of it."""
    (tx, rx), (_, other) = bounded(5), bounded(5)
    loop = HandLoop()
    stepper = Stepper(aio.select(other, rx))
    with loop.running():
        stepper.step()
    tx.send("item")
    if how == "after":
        loop.turn()
    loop.close()
    stepper = None
    gc.collect()
    assert stepper is None
    assert waiting(rx) == waiting(other) == QUIET
    assert rx.try_recv() == "item"


def test_a_select_that_only_its_own_channels_know_is_collected():
    class Item:
        pass

    loop = HandLoop()
    item = Item()
    tx, rx = bounded(1)
    full, receives = filled(1)
    item.keeps = tx, full, receives
    stepper = Stepper(aio.select(rx, full.sending(item), never(), rx, rx))
    with loop.running():
        stepper.step()
    item.coroutine = stepper.coroutine
    died = weakref.ref(item)
    del item, stepper, full, receives
    gc.collect()
    assert died() is not None, "an end of one of its channels is alive"
    assert waiting(tx)["receivers"] == 3
    del tx, rx
    gc.collect()
    assert died() is None


def test_a_select_is_kept_by_any_of_its_channels(loop_name):
    """The loop knows a waiting task weakly: what keeps it is what may wake it, whichever arm that is."""

    async def main():
        for place in range(3):
            ends = [bounded(1) for _ in range(3)]
            tx = ends[place][0]
            done = []

            async def wait(arms=tuple(rx for _, rx in ends), done=done):
                done.append(await aio.select(*arms))

            keeps = [end for n, (end, _) in enumerate(ends) if n != place]
            task = asyncio.create_task(wait())
            await turns()
            del task, ends, wait
            gc.collect()
            tx.try_send("item")
            await turns()
            assert done == [(place, "item", False)]
            assert all(not end.is_closed for end in keeps)

    run(main(), loop_name)


def test_a_dropped_select_leaves_its_queues():
    loop = new_loop("asyncio")
    tx, rx = bounded(1)

    async def main():
        stepper = Stepper(aio.select(rx, tx.sending("item"), rx) if tx.is_full else aio.select(rx, rx))
        stepper.step()
        assert waiting(rx)["receivers"] == 2
        stepper.close()
        assert waiting(rx) == QUIET

    loop.run_until_complete(main())
    loop.close()
