"""A collector that writes in batches: full ones at once, others when a tick comes, the rest when it is told to stop.

A task collects what threads send. It waits at three channels at once: readings, a tick, and a channel on which nothing
is ever sent; that it is closed tells everybody who listens. Then sensors hand over to whichever of two lines has room.

Prints:
    batches: [0, 1, 2] [3, 4, 5] [6]
    each line got one: ['near', 'far']
    too late: 3
"""

import asyncio
import threading

from ferrule import Receiver, Sender, Timeout, after, aio, bounded, select, tick

BATCH = 3


def measure(readings: Sender[int], stop: Sender[None]) -> None:
    readings.send_many(range(7))
    while not readings.is_empty:  # all of them shall be collected
        select(after(0.001))
    stop.close()


async def collect(readings: Receiver[int], stop: Receiver[None]) -> list[list[int]]:
    batches: list[list[int]] = []
    batch: list[int] = []
    every = tick(3600)  # readings come fast here; where they do not, none waits longer than this
    while True:
        taken = await aio.select(readings, every, stop, biased=True)
        if taken.index == 0:
            batch.append(taken.value)
        if batch and (taken.index != 0 or len(batch) == BATCH):
            batches.append(batch)
            batch = []
        if taken.index == 2:
            return batches


def hand_over(number: int, lines: list[Sender[int]]) -> str:
    taken = select(*(line.sending(number) for line in lines), timeout=0.001, biased=True)
    return ["near", "far"][taken.index]


def main() -> None:
    readings, unread = bounded[int](8)
    stop, stopped = bounded[None](0)
    sensor = threading.Thread(target=measure, args=(readings, stop))
    sensor.start()
    batches = asyncio.run(collect(unread, stopped))
    sensor.join()
    print("batches:", *batches)

    ends = [bounded[int](1) for _ in range(2)]
    lines = [tx for tx, _ in ends]
    print("each line got one:", [hand_over(number, lines) for number in (1, 2)])
    try:
        hand_over(3, lines)
    except Timeout as late:
        print("too late:", late.item[0])  # an arm for each line had it


if __name__ == "__main__":
    main()
