"""Commits the planted fault named on the command line."""

import sys
import threading

import planted

if sys.argv[1] == "race":
    threads = [threading.Thread(target=planted.race, args=(100_000,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
else:
    planted.overflow(4)
