"""Section streams: packets behind their lengths, over a socket from a thread to a task that takes them one by one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import threading
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any

from ..aio import streams
from .bytes import LENGTH, Stream, framed
from .job import Job, Table

TIMES = 5
"""So often are the packets sent in a round."""

Packets = list[Any]


async def read_exactly(reader: Any, _: Any) -> Packets:
    """By readexactly(), twice a packet."""
    packets: Packets = []
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            (length,) = LENGTH.unpack(await reader.readexactly(4))
            packets.append(await reader.readexactly(length))
    return packets


async def receive(reader: Any, writer: Any) -> Packets:
    """By Framed and a codec."""
    return [packet async for packet in streams.Framed(reader, writer, streams.LengthDelimitedCodec(limit=1 << 30))]


CONTENDERS: dict[str, tuple[Callable[..., Awaitable[Any]], Callable[[Any, Any], Awaitable[Packets]]]] = {
    "asyncio.StreamReader": (asyncio.open_connection, read_exactly),
    "ferrule StreamReader": (streams.open_connection, read_exactly),
    "ferrule Framed": (streams.open_connection, receive),
}


def receive_packets(job: Job) -> Iterator[Table]:
    packets = [" ".join(words).encode(errors="surrogatepass") for words in job.sample.files] * TIMES
    stream = Stream(b"".join(map(framed, packets)), packets)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with job.bar("receiving packets", job.rounds * len(CONTENDERS)) as step:
        for _ in job.turns():
            for name, took in seconds.items():
                took.append(_run(name, stream))
                step()

    medians = {name: statistics.median(took) for name, took in seconds.items()}
    first, *_ = medians
    yield Table(
        f"{len(packets):,} packets, {len(stream.content):,} bytes, over loopback from a thread to a task",
        ["", "packets/s", "bytes/s", "/ asyncio"],
        [
            [
                name,
                f"{len(packets) / took / 1e3:.1f} k",
                f"{len(stream.content) / took / 1e6:.0f} M",
                f"{medians[first] / took:.2f}x",
            ]
            for name, took in medians.items()
        ],
        [
            "Much of the time is the kernel's, for all three: it copies each byte in and out of the socket.",
            f"Medians of interleaved rounds: {len(seconds[first])}. All packets are equal, byte by byte.",
        ],
    )


def _run(name: str, stream: Stream) -> float:
    """The seconds until all packets are there; raises Failure unless they are right."""
    connect, take = CONTENDERS[name]
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs, contextlib.suppress(OSError):  # whoever is interrupted closes the other end
            theirs.sendall(stream.content)

    async def run() -> tuple[float, Packets]:
        reader, writer = await connect(sock=ours)
        sending = threading.Thread(target=send)
        started = perf_counter()
        sending.start()
        try:
            came = await take(reader, writer)
            return perf_counter() - started, came
        finally:
            writer.transport.abort()
            sending.join()

    seconds, came = asyncio.run(run())
    stream.check(name, came)
    return seconds
