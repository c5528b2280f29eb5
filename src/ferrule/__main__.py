"""`python -m ferrule`: each primitive on a real job beside what a user would pick instead, on this machine.

The data is at hand wherever Python is: the source of the running interpreter's standard library, cut into tokens. A
section runs every contender on it in interleaved rounds with fresh state, checks that all came to the same result, and
gives one table for each question that it answers.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import __version__
from ._demo.bytes import cut_records
from ._demo.channel import send_to_task
from ._demo.job import Bar, Failure, Job, Table
from ._demo.map import count_into_map
from ._demo.mutex import count_words
from ._demo.pool import lease_connections
from ._demo.rwlock import route_requests
from ._demo.streams import receive_packets

SAMPLE_FILES = 150
ROUNDS = 3
SECTION_SECONDS = 15.0
"""A section on a slow machine makes do with fewer rounds, unless their number is asked for."""


@dataclass(frozen=True)
class Section:
    title: str
    run: Callable[[Job], Iterator[Table]]


SECTIONS = {
    "mutex": Section("Mutex: words counted into one shared dict under one lock, taken once a word", count_words),
    "map": Section("ConcurrentMap: words counted into one shared map, without a lock around it", count_into_map),
    "channel": Section("Channel: words sent one by one from threads to a task, which counts them", send_to_task),
    "rwlock": Section("RWLock: requests routed by one table, which is reloaded in place meanwhile", route_requests),
    "bytes": Section("Bytes: words cut as records out of a stream of packets, both behind their lengths", cut_records),
    "streams": Section("Streams: packets behind their lengths, from a socket to a task", receive_packets),
    "pool": Section("Pool: requests that ask a database, each by a connection leased for it", lease_connections),
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    rounds, seconds = (options.rounds, math.inf) if options.rounds else (ROUNDS, SECTION_SECONDS)
    job = Job(None if options.all else options.files, options.threads, rounds, seconds, _bar())
    try:
        print(f"ferrule {__version__}, {_interpreter()}, {os.cpu_count()} CPUs", flush=True)
        for name in options.section or SECTIONS:
            section = SECTIONS[name]
            print(f"\n{section.title}\n{job.sample}", flush=True)
            for table in section.run(job):
                print(f"\n{table}", flush=True)
    except Failure as failure:
        print(f"ferrule: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ferrule: interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ferrule",
        description="Runs each primitive on a real job, the source of this interpreter's standard library, beside what "
        "you would pick instead, compares the results, and shows a table for each.",
        epilog="Exit status: 0 done, 1 a contender's result was wrong or the job impossible, 2 wrong usage, "
        "130 interrupted.",
    )
    parser.add_argument("--section", choices=SECTIONS, action="append", help="only this section; may be repeated")
    parser.add_argument(
        "--threads",
        type=_positive,
        default=max(2, min(8, os.cpu_count() or 2)),
        metavar="N",
        help="threads (default: one for each CPU, at least 2 and at most 8)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--files",
        type=_positive,
        default=SAMPLE_FILES,
        metavar="N",
        help=f"how many modules of the standard library (default: {SAMPLE_FILES})",
    )
    size.add_argument("--all", action="store_true", help="all of the standard library, with its tests: minutes")
    parser.add_argument(
        "--rounds",
        type=_positive,
        metavar="N",
        help=f"rounds, of which the median is shown (default: {ROUNDS}, or fewer where the machine is slow)",
    )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _interpreter() -> str:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return f"{platform.python_implementation()} {platform.python_version()} with{'' if gil else 'out'} the GIL"


def _bar() -> Bar:
    """Bars of rich where it is installed and a terminal shows them, else plain text on stderr."""
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            progress = importlib.import_module("rich.progress")
            return lambda title, total: _rich_bar(progress, title, total)
    return _plain_bar


@contextlib.contextmanager
def _rich_bar(progress: Any, title: str, total: int) -> Iterator[Callable[[], None]]:
    with progress.Progress(transient=True) as display:
        bar = display.add_task(title, total=total)
        yield lambda: display.advance(bar)


@contextlib.contextmanager
def _plain_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """On a terminal one line that is written over; elsewhere a line for each tenth, so that a log stays short."""
    done, terminal = 0, sys.stderr.isatty()

    def step() -> None:
        nonlocal done
        done += 1
        tenth = done * 10 // total
        if terminal or tenth > (done - 1) * 10 // total:
            print(f"{title}: {done * 100 // total}%", end="\r" if terminal else "\n", file=sys.stderr, flush=True)

    try:
        yield step
    finally:
        if terminal:
            print("\033[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
