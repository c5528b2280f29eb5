"""What mypy must reject of the drop-in queues: each marked line, and no other."""

from ferrule.dropin import asyncio as tasks
from ferrule.dropin.queue import Queue, SimpleQueue

jobs: Queue[int] = Queue(maxsize=3)
jobs.put("1")  # error: arg-type
jobs.put(1, timeout="1")  # error: arg-type
name: str = jobs.get()  # error: assignment
jobs.is_shutdown = True  # error: misc
jobs.not_empty = 1  # error: misc  # error: assignment
Queue("3")  # error: arg-type
SimpleQueue(3)  # error: call-arg
SimpleQueue[int]().join()  # error: attr-defined


async def main() -> None:
    q: tasks.Queue[int] = tasks.Queue()
    await q.put("1")  # error: arg-type
    jobs.put(await tasks.Queue[str]().get())  # error: arg-type
    await q.get(timeout=1)  # error: call-arg
    q.maxsize = 3  # error: misc
