"""Streams at work over loopback: a figure is for one message, received, sent or both.

The kernel's part is in each figure: a blocking server in ten lines of Python needs 18 us for a message of 64 B there
and back, and 55 us for one of 64 KiB. Only what is above that can differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.peers.streams import CONTENDERS, Streams
from benchmarks.scenarios import Loop, Run, Scenario, kinds_of_loops

SIZES = {"64": 64, "64k": 64 << 10, "1m": 1 << 20}
WORKS = {
    "echo": (b"e", "echo by `readexactly(n)`, `write()`, `drain()`", ("64", "64k", "1m")),
    "frames": (b"f", "frames behind 4 bytes of length, one after the other", ("64", "64k", "1m")),
    "lines": (b"l", "lines, one after the other", ("64", "64k")),
    "json": (b"j", "JSON lines, one after the other", ("64", "64k")),
    "send": (b"d", "frames sent: header and payload", ("64", "1m")),
}


def through(contender: Streams, threads: int, kind: bytes, size: int, run: Run) -> list[Loop]:
    other = contender.make()

    async def work(n: int) -> None:
        await contender.work(other.connect(kind, size, n), kind, size, n)

    return [lambda n: run(work(n))]


def _scenarios(kind: str, run: Run, missing: str) -> Iterator[Scenario]:
    for name, (letter, what, sizes) in WORKS.items():
        for size in sizes:
            yield Scenario(
                f"{kind}_{name}_{size}",
                f"{kind}: {what}, {size.replace('k', ' KiB').replace('m', ' MiB') if size != '64' else '64 B'}",
                [] if missing else [contender for contender in CONTENDERS if letter in contender.works],
                (1,),
                partial(through, kind=letter, size=SIZES[size], run=run),
            )


SCENARIOS = [scenario for loop in kinds_of_loops() for scenario in _scenarios(*loop)]
