"""Jobs by urgency, from threads to the tasks of two event loops, over one asyncio queue.

asyncio's own PriorityQueue belongs to one loop, and a thread that puts must go through it. This one takes jobs from any
thread and gives them to the tasks of any loop. `shutdown()` ends the workers once nothing is left, on every version.

Prints:
    the urgent one first: (0, 'fire')
    9 jobs done by the workers of 2 loops; 0 unfinished
"""

import asyncio
import threading

from ferrule.dropin.asyncio import PriorityQueue, QueueShutDown

Job = tuple[int, str]


async def work(jobs: PriorityQueue[Job], done: list[Job]) -> None:
    while True:
        try:
            job = await jobs.get()
        except QueueShutDown:
            return
        await asyncio.sleep(0.001)
        done.append(job)
        jobs.task_done()


async def workers(jobs: PriorityQueue[Job], done: list[Job]) -> None:
    await asyncio.gather(*(work(jobs, done) for _ in range(2)))


def post(jobs: PriorityQueue[Job], name: str) -> None:
    for urgency in range(1, 4):
        jobs.put_nowait((urgency, name))


def main() -> None:
    jobs: PriorityQueue[Job] = PriorityQueue()
    done: list[Job] = []
    post(jobs, "clean")
    jobs.put_nowait((0, "fire"))
    first = jobs.get_nowait()
    jobs.task_done()
    print(f"the urgent one first: {first}")

    loops = [threading.Thread(target=lambda: asyncio.run(workers(jobs, done))) for _ in range(2)]
    posting = [threading.Thread(target=post, args=(jobs, name)) for name in ("build", "test")]
    for thread in [*loops, *posting]:
        thread.start()
    for thread in posting:
        thread.join()
    asyncio.run(jobs.join())
    jobs.shutdown()
    for thread in loops:
        thread.join()
    print(f"{len(done)} jobs done by the workers of {len(loops)} loops; {jobs._unfinished_tasks} unfinished")


if __name__ == "__main__":
    main()
