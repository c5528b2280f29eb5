"""Commits the planted fault named on the command line."""

import sys
import threading

import planted


def race(start: threading.Barrier) -> None:
    start.wait()
    planted.race(100_000)


if sys.argv[1] == "race":
    for _ in range(20):  # one of two that the machine lets run one after the other may go unseen
        start = threading.Barrier(2)
        threads = [threading.Thread(target=race, args=[start]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
else:
    planted.overflow(4)
