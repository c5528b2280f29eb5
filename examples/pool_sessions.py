"""Sessions that only a loop can open: made, looked at and closed by coroutines, and leased to its tasks.

The first coroutine binds the pool to the loop. A task that is cancelled while it has a session may have left it in the
middle of an answer, so that one is closed; while it waits for one, it has taken nothing.

Prints:
    20 answers by 2 sessions
    cancelled: 1 session closed, and nobody waits
    all closed
"""

import asyncio

from ferrule import aio
from ferrule.errors import PoolClosed


class Session:
    def __init__(self) -> None:
        self.is_open = True

    async def ask(self, question: int) -> int:
        await asyncio.sleep(0)
        return question * 2

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_open = False


opened: list[Session] = []


async def connect() -> Session:
    await asyncio.sleep(0)
    opened.append(Session())
    return opened[-1]


async def ask(sessions: aio.Pool[Session], question: int) -> int:
    async with sessions.acquire() as session:
        return await session.ask(question)


async def keep(sessions: aio.Pool[Session]) -> None:
    async with sessions.acquire():
        await asyncio.Event().wait()


async def main() -> None:
    async with aio.Pool(connect, max_size=2, destroy=Session.close, create_timeout=20.0) as sessions:
        answers = await asyncio.gather(*[ask(sessions, question) for question in range(20)])
        print(f"{len(answers)} answers by {len(opened)} sessions")

        lease = await sessions.acquire()
        keeping, waiting = asyncio.create_task(keep(sessions)), asyncio.create_task(keep(sessions))
        while sessions.waiting == 0:
            await asyncio.sleep(0)
        waiting.cancel()
        keeping.cancel()
        await asyncio.wait([keeping, waiting])
        closed = sum(not session.is_open for session in opened)
        print(f"cancelled: {closed} session closed, and {sessions.waiting or 'nobody'} waits")
        await lease.release()

    try:
        await sessions.acquire()
    except PoolClosed:
        print("all closed" if not any(session.is_open for session in opened) else "not all closed")


if __name__ == "__main__":
    asyncio.run(main())
