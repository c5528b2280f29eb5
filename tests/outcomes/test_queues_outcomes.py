"""Racing calls on one drop-in queue: every result that is allowed, and why; anything else fails."""

import random

import pytest

from ferrule.dropin.asyncio import QueueShutDown
from ferrule.dropin.queue import Empty, Full, ShutDown, SimpleQueue
from tests.support.driver import LoopThread, turns
from tests.support.queues import TASKS, THREADS, opened, waiting
from tests.support.race import eventually, outcome, raced, run_together, spawn

QUIET = {"getters": 0, "putters": 0, "joiners": 0}


def short():
    """A timeout of up to 0.3 ms."""
    return random.random() * 0.0003


@pytest.fixture(params=THREADS)
def make(request):
    return THREADS[request.param]


@raced(200)
def test_one_item_goes_to_one_of_two(make):
    q = make()
    q.put("item")
    get = outcome(q.get_nowait, Empty)
    assert set(run_together(get, get)) == {"item", Empty}


@raced(200)
def test_one_slot_goes_to_one_of_two(make):
    q = make(1)
    put = outcome(q.put_nowait, Full)
    assert set(run_together(lambda: put(1), lambda: put(2))) == {None, Full}
    assert q.qsize() == 1


@raced(200)
def test_who_has_put_finds_an_item(make):
    """Two put and then get: after its own put no call finds the queue empty, since each takes one only."""
    q = make()

    def put_and_get(item):
        q.put(item)
        return q.get_nowait()

    assert sorted(run_together(lambda: put_and_get(1), lambda: put_and_get(2))) == [1, 2]


@raced(200)
def test_a_put_against_the_end_of_a_wait(make):
    """The item is got, or stays; a get that ran out of time has taken nothing."""
    q = make()
    got, _ = run_together(lambda: outcome(lambda: q.get(timeout=short()), Empty)(), lambda: q.put("item"))
    assert (got, q.qsize()) in {("item", 0), (Empty, 1)}
    assert waiting(q) == QUIET


@raced(200)
def test_a_get_against_the_end_of_a_wait_for_room(make):
    q = make(1)
    q.put("old")
    put, got = run_together(lambda: outcome(lambda: q.put("new", timeout=short()), Full)(), q.get)
    assert (put, got, q.qsize()) in {(None, "old", 1), (Full, "old", 0)}
    assert waiting(q) == QUIET


@raced(200)
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_against_put_and_get(make, immediate):
    """What was put before the end is got, or dropped and counted as done; after it nothing is put."""
    q = make()
    put, got, _ = run_together(
        lambda: outcome(q.put, ShutDown)("item"), lambda: outcome(q.get, ShutDown)(), lambda: q.shutdown(immediate)
    )
    left = q.qsize()
    assert (put, got, left) in {(None, "item", 0), (None, ShutDown, 0), (ShutDown, ShutDown, 0)}
    if (put, got) == (None, ShutDown):
        assert immediate, "it was there, so get() had to give it"
    assert q.unfinished_tasks == (got == "item")
    assert waiting(q) == QUIET


@raced(200)
def test_of_two_last_task_done_one_is_too_many(make):
    q = make()
    q.put(1)
    joining = spawn(q.join)
    done = outcome(q.task_done, ValueError)
    assert set(run_together(done, done)) == {None, ValueError}
    joining.result()


@raced(200)
def test_join_against_the_last_task_done(make):
    q = make()
    q.put(1)
    run_together(q.join, q.task_done)
    assert waiting(q) == QUIET


@raced(200)
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_look_at_the_container_against_a_put_and_a_get(kind):
    """All three in some order: the container has what was put and not got, and so has the queue."""
    q = THREADS[kind]()
    q.put(1)
    container, got, _, size = run_together(lambda: q.queue, q.get_nowait, lambda: q.put(2), q.qsize)
    assert q.queue is container
    assert sorted([got, *container]) == [1, 2]
    assert q.qsize() == 1
    assert size in {0, 1, 2}
    opened(q)


@raced(200)
@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue"])
def test_a_look_at_the_container_never_makes_the_queue_seem_empty(kind):
    q = THREADS[kind]()
    for n in range(50):
        q.put(n)
    _, size, empty, got = run_together(lambda: q.queue, q.qsize, q.empty, lambda: outcome(q.get_nowait, Empty)())
    assert (size in {49, 50}, empty, got) == (True, False, 0)


@raced(200)
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_look_at_the_container_against_an_immediate_shutdown(kind):
    q = THREADS[kind]()
    for n in range(5):
        q.put(n)
    container, _ = run_together(lambda: q.queue, lambda: q.shutdown(immediate=True))
    assert (len(container), q.qsize(), q.unfinished_tasks) == (0, 0, 0)


@raced(200)
def test_two_look_at_the_container_at_once():
    q = THREADS["Queue"]()
    q.put(1)
    first, second, _ = run_together(lambda: q.queue, lambda: q.queue, lambda: q.not_empty)
    assert first is second
    assert q.not_empty is q.not_empty


@raced(200)
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_look_at_the_container_against_the_constructor_called_again(kind):
    """It sees one of the two queues, and what comes after is whole."""
    q = THREADS[kind](2)
    q.put(1)
    seen, _ = run_together(lambda: list(q.queue), lambda: q.__init__(1))
    assert seen in ([], [1])
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)
    q.put(2)
    assert q.get() == 2
    assert list(q.queue) == []


@raced(200)
def test_simple_queue_put_against_the_end_of_a_wait():
    q = SimpleQueue()
    got, _ = run_together(lambda: outcome(lambda: q.get(timeout=short()), Empty)(), lambda: q.put("item"))
    assert (got, q.qsize()) in {("item", 0), (Empty, 1)}


@pytest.mark.parametrize("kind", TASKS)
def test_a_put_of_a_thread_against_the_cancellation_of_a_get(kind, loop_name):
    """The task has the item, or the queue has."""
    with LoopThread(loop_name) as there:
        for _ in range(100):
            q, got = TASKS[kind](), []

            async def get(q=q, got=got):
                got.append(await q.get())

            getting = there.spawn(get())
            eventually(lambda q=q: waiting(q)["getters"] == 1)
            run_together(lambda q=q: q.put_nowait("item"), getting.cancel)
            there.run(turns())
            got += [q.get_nowait() for _ in range(q.qsize())]
            assert got == ["item"]
            assert waiting(q) == QUIET


@pytest.mark.parametrize("kind", TASKS)
def test_shutdown_of_a_thread_against_a_get_in_a_loop(kind, loop_name):
    with LoopThread(loop_name) as there:
        for _ in range(100):
            q = TASKS[kind]()
            q.put_nowait(1)

            async def get_all(q=q):
                got = []
                try:
                    while True:
                        got.append(await q.get())
                except QueueShutDown:
                    return got

            getting, _ = run_together(lambda g=get_all: there.run(g()), q.shutdown)
            assert getting == [1]
