"""Threads and tasks move money between the same accounts, under one Mutex.

Threads lock it as it is, tasks lock its async face; none needs to know about the other. No transfer is lost or seen
half done, so the total stays what it was.

Prints:
    300 transfers, 400 in all: {'ada': 100, 'bob': 100, 'cy': 100, 'dan': 100}
"""

import asyncio
import itertools

from ferrule import Mutex

NAMES = ["ada", "bob", "cy", "dan"]
TRANSFERS = 100


def transfer(accounts: dict[str, int], source: str, target: str) -> None:
    accounts[source] -= 1
    accounts[target] += 1


def in_thread(accounts: Mutex[dict[str, int]]) -> int:
    for source, target in itertools.islice(itertools.cycle(itertools.pairwise([*NAMES, NAMES[0]])), TRANSFERS):
        with accounts as guard:
            transfer(guard.value, source, target)
    return TRANSFERS


async def in_task(accounts: Mutex[dict[str, int]]) -> int:
    face = accounts.aio
    for source, target in itertools.islice(itertools.cycle(itertools.pairwise([*NAMES, NAMES[0]])), TRANSFERS):
        async with face as guard:
            transfer(guard.value, source, target)
            await asyncio.sleep(0)  # other tasks run; whoever wants the lock waits, threads too
    return TRANSFERS


async def main() -> None:
    accounts = Mutex(dict.fromkeys(NAMES, 100))
    done = await asyncio.gather(asyncio.to_thread(in_thread, accounts), in_task(accounts), in_task(accounts))
    async with accounts.aio as guard:
        print(f"{sum(done)} transfers, {sum(guard.value.values())} in all: {guard.value}")


if __name__ == "__main__":
    asyncio.run(main())
