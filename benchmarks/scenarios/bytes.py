"""Bytes at work: cut, searched, parsed as frames and lines, built from numbers, grown, and received from a socket.

What is cut is dropped before the next one is, but for splits, which give a list.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from functools import cache, partial
from itertools import repeat
from typing import Any

from benchmarks.peers import bytes as peers
from benchmarks.peers.bytes import LENGTH, Peer
from benchmarks.scenarios import Loop, Scenario

KIB, MIB = 1024, 1024 * 1024
NEEDLE = b"another"
"""Its letters are all frequent in the text."""
PERIOD = b"abababac"
PERIODIC_NEEDLE = PERIOD * 2 + b"abababad" + PERIOD * 2


@cache
def text(size: int) -> bytes:
    """Words of lower-case letters, as frequent as in English, with NEEDLE at the end only."""
    letters = random.Random(size)
    words, length = [], 0
    while length < size:
        word = "".join(letters.choices("etaoinshrdlucmfwypvbgk", (*range(44, 0, -2),), k=letters.randint(1, 10)))
        words.append(word)
        length += len(word) + 1
    made = " ".join(words).encode()[: size - len(NEEDLE)] + NEEDLE
    assert made.find(NEEDLE) == size - len(NEEDLE)
    return made


@cache
def periodic(size: int) -> bytes:
    """The same 8 bytes again and again, and PERIODIC_NEEDLE at the end only."""
    made = (PERIOD * (size // len(PERIOD)))[: size - len(PERIODIC_NEEDLE)] + PERIODIC_NEEDLE
    assert made.find(PERIODIC_NEEDLE) == size - len(PERIODIC_NEEDLE)
    return made


# Slices.


def slices(contender: Peer, threads: int, size: int, *, shared: bool = False) -> list[Loop]:
    """Of so many bytes, behind the first 4, out of twice as many."""
    made = [contender.make(bytes(2 * size)) for _ in range(1 if shared else threads)]

    def loop_of(data: Any) -> Loop:
        def by_syntax(n: int) -> None:
            end = 4 + size
            for _ in repeat(None, n):
                data[4:end]

        def by_call(n: int) -> None:
            end, cut = 4 + size, data.slice
            for _ in repeat(None, n):
                cut(4, end)

        return by_call if contender.by_call else by_syntax

    return [loop_of(made[thread % len(made)]) for thread in range(threads)]


# Splits and searches.

FIELDS = 100
"""Of a line that is split."""


def fields() -> bytes:
    return b",".join(b"%d" % (n * n) for n in range(FIELDS))


def each_part(n: int, parts: int, split: Callable[[], Any]) -> None:
    for _ in repeat(None, max(1, round(n / parts))):
        split()


def split(contender: Peer, threads: int) -> list[Loop]:
    data = contender.make(fields())
    return [lambda n: each_part(n, FIELDS, lambda: data.split(b","))] * threads


def partition(contender: Peer, threads: int) -> list[Loop]:
    data = contender.make(b"Content-Type: " + bytes(KIB))

    def loop(n: int) -> None:
        for _ in repeat(None, n):
            data.partition(b": ")

    return [loop] * threads


def search(contender: Peer, threads: int, content: Callable[[], bytes], needle: bytes, verb: str) -> list[Loop]:
    data = contender.make(content())

    def loop(n: int) -> None:
        look = getattr(data, verb)
        for _ in repeat(None, n):
            look(needle)

    return [loop] * threads


# Frames and lines.

FRAMES = 1000
LINES = 1000
CHUNK = 4096
"""What comes at once where lines come bit by bit."""


def bodies(count: int, seed: int = 0) -> list[bytes]:
    """Of 10 to 200 bytes, without line ends."""
    sizes = random.Random(seed)
    return [b"%d " % n + text(KIB)[: sizes.randint(10, 200)] for n in range(count)]


def framed(frames: list[bytes]) -> bytes:
    return b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)


def lined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def chunked(content: bytes, size: int = CHUNK) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def frames(contender: Peer, threads: int) -> list[Loop]:
    parse = contender.make(framed(bodies(FRAMES)))
    return [lambda n: each_part(n, FRAMES, parse)] * threads


def lines(contender: Peer, threads: int) -> list[Loop]:
    parse = contender.make(lined(bodies(LINES)))
    return [lambda n: each_part(n, LINES, parse)] * threads


def lines_as_they_come(contender: Peer, threads: int) -> list[Loop]:
    take = contender.make(chunked(lined(bodies(LINES))))
    return [lambda n: take(max(1, round(n / LINES)))] * threads


# Building and growing.

MESSAGE = (3, 70_000, 2.5, b"a body of some thirty bytes...")
PART = bytes(range(100))
PARTS = 1000
"""Appended before the next buffer is begun."""


def message(contender: Peer, threads: int) -> list[Loop]:
    build = contender.make()
    return [lambda n: build(n, *MESSAGE)] * threads


def grow(contender: Peer, threads: int) -> list[Loop]:
    append = contender.make()

    def loop(n: int) -> None:
        for size in [*repeat(PARTS, n // PARTS), n % PARTS]:
            append(repeat(PART, size))

    return [loop] * threads


# A socket.


def receive(contender: Peer, threads: int, size: int, batch: int) -> list[Loop]:
    """So many frames of so many bytes are sent at once, and received by the same thread."""
    sent = framed([text(max(size, KIB))[:size]] * batch)

    def loop(n: int) -> None:
        source, sink = socket.socketpair()
        with source, sink:
            send, take = source.sendall, contender.make(sink)
            for _ in repeat(None, max(1, round(n / batch))):
                send(sent)
                take(batch)

    return [loop] * threads


# The list.


def _scenarios() -> list[Scenario]:
    return [
        Scenario(
            "slice_16", "`data[i:j]`, or `data.slice(i, j)`, of 16 bytes", peers.SLICED, (1,), partial(slices, size=16)
        ),
        Scenario(
            "slice_64k",
            "`data[i:j]`, or `data.slice(i, j)`, of 64 KiB, each thread of an object of its own",
            peers.SLICED,
            (1, 2),
            partial(slices, size=64 * KIB),
        ),
        Scenario(
            "slice_shared_64k",
            "`data[i:j]`, or `data.slice(i, j)`, of 64 KiB, all threads of one object",
            peers.SLICED_TOGETHER,
            (2,),
            partial(slices, size=64 * KIB, shared=True),
        ),
        Scenario("split", "`data.split(b',')`, a part of 100", peers.SEARCHED, (1,), split),
        Scenario("partition", "`data.partition(b': ')`", peers.SEARCHED, (1,), partition),
        *[
            Scenario(
                f"{verb}_{kind}{name}",
                f"`data.{verb}(needle)`, {what} of {title}, the needle at the end",
                peers.SEARCHED,
                (1,),
                partial(search, content=partial(content, size), needle=needle, verb=verb),
            )
            for verb in ("find", "count")
            for kind, what, content, needle in [
                ("", "text", text, NEEDLE),
                ("periodic_", "periodic data", periodic, PERIODIC_NEEDLE),
            ]
            for name, title, size in [("1k", "1 KiB", KIB), ("1m", "1 MiB", MIB)]
        ],
        Scenario(
            "count_words",
            "`data.count(b'the')`, text of 1 MiB",
            peers.SEARCHED,
            (1,),
            partial(search, content=partial(text, MIB), needle=b"the", verb="count"),
        ),
        Scenario("frames", "frames of 10 to 200 bytes behind their length, a frame", peers.FRAMES, (1,), frames),
        Scenario("lines", "lines of 10 to 200 bytes, all of them there, a line", peers.LINES, (1,), lines),
        Scenario(
            "lines_as_they_come",
            "lines of 10 to 200 bytes, 4 KiB at a time, a line",
            peers.LINES_AS_THEY_COME,
            (1,),
            lines_as_they_come,
        ),
        Scenario("message", "a message of four numbers and 30 bytes", peers.BUILT, (1,), message),
        Scenario("grow", "100 bytes appended, a thousand times to one buffer", peers.GROWN, (1,), grow),
        *[
            Scenario(
                f"receive_{name}",
                f"frames of {title} through a pair of sockets, {batch} at a time, a frame",
                peers.SOCKETS,
                (1,),
                partial(receive, size=size, batch=batch),
            )
            for name, title, size, batch in [("100", "100 bytes", 100, 100), ("64k", "64 KiB", 64 * KIB, 1)]
        ],
    ]


SCENARIOS = _scenarios()
