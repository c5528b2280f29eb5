"""Threads read pages and a task counts their words; then a thread makes numbers until nobody wants any more.

A channel of 8 holds up the readers while the task is busy, and the loop of the task never blocks. Nobody sends a
sentinel: the loop over the words ends when the last reader has closed its end. The other way round, a sender learns
that the receiver has left, and gets back what it could not send.

Prints:
    3 readers, 12 words: {'the': 6, 'hammer': 3, 'anvil': 2, 'ferrule': 1}
    taken: [0, 1, 2, 3, 4]; came back: 5
"""

import asyncio
import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ferrule import Disconnected, Receiver, Sender, aio, bounded

PAGES = ["the hammer the anvil", "the hammer the ferrule", "the hammer the anvil"]


def read(tx: Sender[str], page: str) -> None:
    with tx:  # closed at the end, so that the task need not be told
        for word in page.split():
            tx.send(word)


async def count(rx: aio.Receiver[str]) -> Counter[str]:
    return Counter([word async for word in rx])


def make(tx: Sender[int]) -> int:
    """Numbers until the receiver is gone; gives the one that was not sent."""
    for number in itertools.count():
        try:
            tx.send(number)
        except Disconnected as gone:
            unsent: int = gone.item
            return unsent
    raise AssertionError("there is always a next number")


def take(rx: Receiver[int], limit: int) -> list[int]:
    with rx:
        return [*itertools.islice(rx, limit)]


def main() -> None:
    words, unread = bounded[str](8)
    with words:
        readers = [threading.Thread(target=read, args=(words.clone(), page)) for page in PAGES]
    for reader in readers:
        reader.start()
    counted = asyncio.run(count(unread.aio))
    for reader in readers:
        reader.join()
    print(f"{len(readers)} readers, {counted.total()} words: {dict(counted.most_common())}")

    numbers, wanted = bounded[int](0)  # without room: a number is sent when it is taken
    with ThreadPoolExecutor() as pool:
        made = pool.submit(make, numbers)
        print(f"taken: {take(wanted, 5)}; came back: {made.result()}")


if __name__ == "__main__":
    main()
