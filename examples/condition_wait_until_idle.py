"""Threads and a loop's tasks do jobs; the main thread waits until none is under way, and others until a slot is free.

Two conditions over one mutex: "a slot is free" is for who wants to begin, "nobody works" for who waits for the end.

Prints:
    60 jobs, never more than 4 at once, 0 under way
"""

import asyncio
import threading

from ferrule import Condition, Mutex

SLOTS = 4


class Jobs:
    """How many are under way, were at most, and are done."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0

    def begin(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def end(self) -> None:
        self.now -= 1
        self.done += 1


mutex = Mutex(Jobs())
slot_free, idle = Condition(mutex), Condition(mutex)


def job_in_thread() -> None:
    with mutex as guard:
        jobs = guard.value
        slot_free.wait_for(lambda: jobs.now < SLOTS)
        jobs.begin()
    # here the work is done, without the mutex
    with mutex:
        jobs.end()
        slot_free.notify()
        idle.notify_all()


async def job_in_task() -> None:
    async with mutex.aio as guard:
        jobs = guard.value
        await slot_free.aio.wait_for(lambda: jobs.now < SLOTS)
        jobs.begin()
    await asyncio.sleep(0)
    async with mutex.aio:
        jobs.end()
        slot_free.notify()  # does not wait, so it is the same on both faces
        idle.notify_all()


async def jobs_in_tasks() -> None:
    await asyncio.gather(*(job_in_task() for _ in range(30)))


def main() -> None:
    threads = [threading.Thread(target=job_in_thread) for _ in range(30)]
    threads.append(threading.Thread(target=asyncio.run, args=[jobs_in_tasks()]))
    for thread in threads:
        thread.start()
    with mutex as guard:
        jobs = guard.value
        idle.wait_for(lambda: jobs.done == 60 and not jobs.now)
        at_most = SLOTS if jobs.most <= SLOTS else jobs.most
        print(f"{jobs.done} jobs, never more than {at_most} at once, {jobs.now} under way")
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
