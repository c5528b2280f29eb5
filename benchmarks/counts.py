"""What limits two threads that read one map, without the GIL: the map, or the interpreter's counts of references.

    python -m benchmarks.counts

Each case runs with one thread and with two, as it is, and with the count of the map object out of the way: it is made
immortal, as the interpreter makes None, so that nobody counts references to it. ("All": the keys and values as well.)
An object that two threads count references to is a cache line that each takes from the other, whatever is done with it.

Each case runs in a fresh process, its threads on a CPU of their own; the best of many short rounds, in turns. With two
threads a figure is wall time divided by the calls of both: half of the figure of one thread is perfect.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

KEYS = 1000
PASSES = 4
"""Over the keys, in a round: a fraction of a millisecond."""
SECONDS = 0.5
ROUNDS = 2
LOCAL_COUNT = 12
"""Where an object of CPython 3.13t counts its owner's references: all ones make it immortal."""
FREE = ["", "map", "all"]

Body = Callable[[Any, Sequence[Any]], None]


def get(m: Any, asked: Sequence[Any]) -> None:
    held = m.get
    for key in asked:
        held(key)


def shared_get(held: Any, asked: Sequence[Any]) -> None:
    for key in asked:
        held(key)


def subscript(m: Any, asked: Sequence[Any]) -> None:
    for key in asked:
        m[key]


def put(m: Any, asked: Sequence[Any]) -> None:
    for key in asked:
        m[key] = key


def mix(m: Any, asked: Sequence[Any]) -> None:
    for at in range(0, len(asked), 10):
        get(m, asked[at + 1 : at + 10])
        m[asked[at]] = at


# name: what is done, which keys the threads ask for, whether the values are immortal
CASES: dict[str, tuple[Body, str, bool]] = {
    "get(), each thread its own keys": (get, "apart", False),
    "get(), the same key objects": (get, "same", False),
    "get(), equal keys": (get, "equal", False),
    "get(), equal keys, values that nobody counts": (get, "equal", True),
    "m[k], equal keys": (subscript, "equal", False),
    "one bound method for both, equal keys": (shared_get, "equal", False),
    "get(), one hot key": (get, "hot", False),
    "m[k] = v, each thread its own keys": (put, "apart", False),
    "nine get(), one m[k] = v, equal keys": (mix, "equal", False),
}


def make_immortal(thing: object) -> None:
    ctypes.c_uint32.from_address(id(thing) + LOCAL_COUNT).value = 2**32 - 1


def asked_for(kind: str, keys: list[int], thread: int, threads: int) -> list[int]:
    if kind == "hot":
        return keys[:1] * KEYS
    if kind == "apart":
        return keys[thread::threads] * threads
    return random.Random(thread).sample(keys if kind == "same" else [int(str(key)) for key in keys], KEYS)


def best_round(case: str, threads: int, free: str) -> float:
    """ns per call."""
    from ferrule import ConcurrentMap

    body, kind, counted_by_nobody = CASES[case]
    keys = [key + (1 << 40) for key in range(KEYS)]
    m: Any = ConcurrentMap((key, None if counted_by_nobody else key + (1 << 41)) for key in keys)
    target = m.get if body is shared_get else m
    asked = [asked_for(kind, keys, thread, threads) for thread in range(threads)]
    if free:
        make_immortal(m)
        make_immortal(target)
    if free == "all":
        for thing in [*keys, *(key for each in asked for key in each), *m.values()]:
            make_immortal(thing)
    start, finished, here = threading.Barrier(threads + 1), threading.Barrier(threads + 1), [0] * threads
    spans: list[tuple[float, float]] = [(0, 0)] * threads
    running = [True]

    def run(thread: int) -> None:
        os.sched_setaffinity(threading.get_native_id(), {sorted(os.sched_getaffinity(0))[thread]})
        while True:
            start.wait()
            if not running:
                return
            here[thread] += 1
            while min(here) < here[thread]:
                pass
            began = perf_counter()
            for _ in range(PASSES):
                body(target, asked[thread])
            spans[thread] = began, perf_counter()
            finished.wait()

    all_threads = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for thread in all_threads:
        thread.start()
    best, end = float("inf"), perf_counter() + SECONDS
    while perf_counter() < end:
        start.wait()
        finished.wait()
        best = min(best, max(ended for _, ended in spans) - min(began for began, _ in spans))
    running.clear()
    start.wait()
    for thread in all_threads:
        thread.join()
    return best / (PASSES * KEYS * threads) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    request = parser.parse_args().process
    if request:
        print(best_round(*json.loads(request)))
        return
    best: dict[tuple[str, int, str], float] = {}
    for _ in range(ROUNDS):
        for case in CASES:
            for free in FREE:
                for threads in (1, 2):
                    request = json.dumps([case, threads, free])
                    command = [sys.executable, "-m", "benchmarks.counts", "--process", request]
                    out = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, check=True).stdout
                    best[case, threads, free] = min(best.get((case, threads, free), float("inf")), float(out))
    print("| ns a call: 1 thread, 2 threads, how much more two do | as it is | the map not counted | nothing counted |")
    print("|---|---|---|---|")
    for case in CASES:
        cells = []
        for free in FREE:
            one, two = best[case, 1, free], best[case, 2, free]
            cells.append(f"{one:.0f}, {two:.0f}, {one / two:.2f}")
        print(f"| {case} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        sys.exit("this is about interpreters without the GIL")
    main()
