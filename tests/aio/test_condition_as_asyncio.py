"""What CPython's documentation says of asyncio.Condition, a test for each sentence: it holds of both."""

import asyncio

import pytest

import ferrule.aio
from tests.support.driver import run, turns
from tests.support.race import HANG

CLASSES = {"ferrule": (ferrule.aio.Mutex, ferrule.aio.Condition), "asyncio": (asyncio.Lock, asyncio.Condition)}


@pytest.fixture(params=CLASSES)
def classes(request):
    return CLASSES[request.param]


@pytest.fixture
def lock(classes):
    return classes[0]()


@pytest.fixture
def condition(classes, lock):
    return classes[1](lock)


async def wait(condition, woken, number):
    async with condition:
        await condition.wait()
        woken.append(number)


async def waiting(condition, count, waits=wait):
    """So many tasks that wait, in order, and the list that has those that were woken."""
    woken = []
    tasks = [asyncio.create_task(waits(condition, woken, number)) for number in range(count)]
    await turns()
    assert not condition.locked()
    return tasks, woken


def test_one_lock_is_shared_by_several(classes, lock, loop_name):
    """Multiple Condition objects can share one Lock"""

    async def main():
        one, other = classes[1](lock), classes[1](lock)
        tasks, woken = await waiting(one, 1)
        async with other:
            other.notify_all()
        await turns()
        assert woken == []
        async with one:
            one.notify()
        await asyncio.gather(*tasks)

    run(main(), loop_name)


def test_async_with_holds_it_for_the_block(condition, lock, loop_name):
    """The preferred way to use a Condition is an async with statement"""

    async def main():
        async with condition:
            assert lock.locked()
            assert condition.locked()
        assert not lock.locked()
        assert await condition.acquire() is True
        assert condition.locked()
        condition.release()
        assert not condition.locked()
        with pytest.raises(RuntimeError):
            condition.release()

    run(main(), loop_name)


@pytest.mark.parametrize("call", ["notify", "notify_all", "wait"])
def test_the_lock_must_be_held(condition, call, loop_name):
    """If the lock is not acquired when this method is called, a RuntimeError error is raised."""

    async def main():
        with pytest.raises(RuntimeError):
            if (coroutine := getattr(condition, call)()) is not None:
                await coroutine

    run(main(), loop_name)


def test_wait_gives_the_lock_up_and_has_it_again(condition, loop_name):
    """This method releases the underlying lock, and then blocks until it is awakened [...]. Once awakened, the
    Condition re-acquires its lock"""

    async def main():
        tasks, woken = await waiting(condition, 3)
        async with condition:
            condition.notify_all()
            await turns()
            assert woken == [], "not before the notifier has released the lock"
        await asyncio.gather(*tasks)
        assert woken == [0, 1, 2]
        assert not condition.locked()

    run(main(), loop_name)


@pytest.mark.parametrize("notified", [False, True])
def test_a_cancelled_wait_holds_the_lock_again(condition, notified, loop_name):
    """What asyncio does, without promising it in so many words: a CancelledError leaves wait() with the lock held."""

    async def main():
        held = []

        async def waits(condition, woken, number):
            async with condition:
                try:
                    await condition.wait()
                finally:
                    held.append(condition.locked())

        (task,), _ = await waiting(condition, 1, waits)
        async with condition:
            if notified:
                condition.notify()
            task.cancel()
            await turns()
            assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert held == [True]
        assert not condition.locked()

    run(main(), loop_name)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
def test_notify_wakes_at_most_n_in_order(condition, n, loop_name):
    """Wake up n tasks (1 by default) waiting on this condition. If fewer than n tasks are waiting they are all
    awakened."""

    async def main():
        tasks, woken = await waiting(condition, 3)
        async with condition:
            condition.notify(n)
        await turns()
        assert woken == list(range(min(n, 3)))
        async with condition:
            condition.notify_all()
        await asyncio.wait_for(asyncio.gather(*tasks), HANG)
        assert woken == [0, 1, 2]

    run(main(), loop_name)


def test_wait_for_waits_until_the_predicate_is_true(condition, loop_name):
    """Wait until a predicate becomes true. The predicate must be a callable which result will be interpreted as a
    boolean value. [...] The final value is the return value."""

    async def main():
        answers = [[], 0, "yes"]

        async def waits(condition, woken, number):
            async with condition:
                woken.append(await condition.wait_for(lambda: answers.pop(0)))

        tasks, given = await waiting(condition, 1, waits)
        for left in (["yes"], []):
            assert given == []
            async with condition:
                condition.notify()
            await turns()
            assert answers == left
        await asyncio.gather(*tasks)
        assert given == ["yes"]

    run(main(), loop_name)
