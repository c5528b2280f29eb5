"""A select and the waits of an asyncio queue in each way in which a loop runs a coroutine, and over the loop's ends."""

import asyncio
import contextlib

import pytest

from ferrule import aio, bounded, never
from ferrule.dropin.asyncio import Queue
from tests.support.channels import waiting
from tests.support.driver import LoopThread, Stepper, new_loop, run, turns
from tests.support.queues import waiting as waiting_at
from tests.support.race import HANG, eventually, spawn


class Receiving:
    """A select for which an item comes."""

    result = (1, "item", False)

    def __init__(self):
        self.tx, self.rx = bounded(5)

    def wait(self):
        return aio.select(never(), self.rx)

    def wake(self):
        self.tx.send("item")

    def count(self):
        """How many wait."""
        return waiting(self.rx)["receivers"]


class Sending(Receiving):
    """A select for whose item there is room."""

    result = (1, None, False)

    def __init__(self):
        super().__init__()
        self.tx.send_many(range(5))

    def wait(self):
        return aio.select(never(), self.tx.sending("item"))

    def wake(self):
        self.rx.recv()

    def count(self):
        return waiting(self.tx)["senders"]


class Getting:
    """A queue into which an item is put."""

    result = "item"
    side = "getters"

    def __init__(self):
        self.queue = Queue(5)

    def wait(self):
        return self.queue.get()

    def wake(self):
        self.queue.put_nowait("item")

    def count(self):
        return waiting_at(self.queue)[self.side]


class Putting(Getting):
    """A queue out of which an item is taken."""

    result = None
    side = "putters"

    def __init__(self):
        super().__init__()
        for n in range(5):
            self.queue.put_nowait(n)

    def wait(self):
        return self.queue.put("item")

    def wake(self):
        self.queue.get_nowait()


class Joining(Getting):
    """A queue whose one task is done, and has to be done again for the next who joins."""

    result = None
    side = "joiners"

    def wait(self):
        if not self.queue._unfinished_tasks:
            self.queue.put_nowait("item")
        return self.queue.join()

    def wake(self):
        self.queue.task_done()


@pytest.fixture(params=[Receiving, Sending, Getting, Putting, Joining], ids=lambda kind: kind.__name__.lower())
def case(request):
    return request.param()


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, HANG)


WAYS = {
    "await": lambda coroutine: coroutine,
    "create_task": asyncio.create_task,
    "gather": asyncio.gather,
    "shield": asyncio.shield,
    "wait_for": lambda coroutine: asyncio.wait_for(coroutine, HANG),
    "wait_for without a timeout": lambda coroutine: asyncio.wait_for(coroutine, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_in_every_way(way, case, loop_name):
    async def main():
        waits = WAYS[way](case.wait())
        asyncio.get_running_loop().call_later(0.001, case.wake)
        result = await soon(waits)
        assert result == ([case.result] if way == "gather" else case.result)
        assert case.count() == 0

    run(main(), loop_name)


def test_from_another_thread(case, loop_name):
    with LoopThread(loop_name) as there:
        future = asyncio.run_coroutine_threadsafe(case.wait(), there.loop)
        eventually(lambda: case.count() == 1)
        case.wake()
        assert future.result(HANG) == case.result
        future = asyncio.run_coroutine_threadsafe(case.wait(), there.loop)
        eventually(lambda: case.count() == 1)
        future.cancel()
        eventually(lambda: case.count() == 0)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="this Python has no eager tasks")
def test_in_an_eager_task(case):
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(case.wait())
        assert case.count() == 1
        case.wake()
        assert await soon(task) == case.result
        task = asyncio.create_task(case.wait())
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), case.count()) == (True, 0)

    run(main())


def test_within_no_time_at_all(case, loop_name):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await case.wait()
        assert case.count() == 0
        waits = case.wait()
        case.wake()
        async with asyncio.timeout(HANG):
            assert await waits == case.result

    run(main(), loop_name)


def test_a_group_of_tasks_that_fails(case, loop_name):
    async def main():
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(case.wait())
                await turns()
                assert case.count() == 3
                raise KeyError
        assert case.count() == 0
        task = asyncio.create_task(case.wait())
        await turns()
        case.wake()
        assert await soon(task) == case.result

    run(main(), loop_name)


def test_awaited_twice(case, loop_name):
    async def main():
        waits = case.wait()
        task = asyncio.create_task(waits)
        await turns()
        case.wake()
        assert await soon(task) == case.result
        with pytest.raises(RuntimeError):
            await waits

    run(main(), loop_name)


def test_in_debug_mode(case, loop_name):
    async def main():
        task = asyncio.create_task(case.wait())
        await turns()
        spawn(case.wake).result()
        return await soon(task)

    assert run(main(), loop_name, debug=True) == case.result


def test_in_two_loops_one_after_the_other(case, loop_name):
    async def main():
        task = asyncio.create_task(case.wait())
        await turns()
        case.wake()
        return await soon(task)

    for _ in range(2):
        assert run(main(), loop_name) == case.result


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
def test_what_a_stopped_loop_was_told_waits_for_it(case, loop_name):
    """As long as it is not closed it may go on; then it has what came meanwhile."""
    loop = new_loop(loop_name)
    with contextlib.closing(loop):
        task = loop.create_task(case.wait())
        loop.run_until_complete(turns())
        assert case.count() == 1
        case.wake()
        assert not task.done()
        assert loop.run_until_complete(soon(task)) == case.result


def test_a_loop_that_closes_while_it_is_waited_for_in_another(case, loop_name):
    """What comes is the other's."""
    loop = new_loop(loop_name)
    stranded = Stepper(case.wait())

    async def begin():
        stranded.step()

    loop.run_until_complete(begin())
    with LoopThread(loop_name) as there:
        future = there.spawn(case.wait())
        eventually(lambda: case.count() == 2)
        loop.close()
        case.wake()
        assert future.result(HANG) == case.result
    stranded.close()
    assert case.count() == 0
