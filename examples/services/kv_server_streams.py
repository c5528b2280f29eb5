"""The key-value server of kv_server.py as one writes it without ferrule: a dict, bytes, and asyncio's streams.

The commands are the same, so that the two can be measured beside each other. What differs is how requests are read, how
answers are written, and where the values are; and that this one has one event loop, for its dict belongs to one thread.
"""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable
from typing import Any

from kv_commands import Database, Deadlines, run
from kv_resp import (
    BYE,
    COUNTS,
    LENGTHS,
    MOST_LINE,
    MOST_REQUEST,
    Data,
    ProtocolError,
    count_of,
    length_of,
    put_reply,
    too_long,
    words,
)
from kv_server import in_a_loop

from ferrule import ABORT, MISSING


class Values(dict[Any, Any]):
    """A dict with those methods of ConcurrentMap's that the commands call."""

    set_many = dict.update

    def get_many(self, keys: Iterable[Any]) -> list[Any]:
        return [self.get(key) for key in keys]

    def increment(self, key: Any, n: int = 1) -> None:
        self[key] = self.get(key, 0) + n

    def compute(self, key: Any, f: Callable[[Any], Any]) -> None:
        new = f(self.get(key, MISSING))
        if new is not ABORT:
            self[key] = new

    def remove_if(self, key: Any, predicate: Callable[[Any], object]) -> bool:
        removed = key in self and bool(predicate(self[key]))
        if removed:
            del self[key]
        return removed


async def read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise too_long((await reader.readexactly(1))[0]) from None


async def read_request(reader: asyncio.StreamReader) -> list[bytes]:
    """The next one; IncompleteReadError when the client has left."""
    while True:
        line = await read_line(reader)
        count = COUNTS.get(line)
        if count is None:
            if not line.startswith(b"*"):
                if typed := words(line):
                    return typed
                continue
            count = count_of(line)
        request = []
        room = MOST_REQUEST
        for _ in range(count):
            line = await read_line(reader)
            length = LENGTHS.get(line)
            if length is None:
                length = length_of(line)
            if (room := room - length) < 0:
                raise ProtocolError("invalid bulk length")
            request.append((await reader.readexactly(length + 2))[:-2])
        if request:
            return request


async def answer(db: Database, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client's requests, in their order."""
    reply: object = None
    while reply is not BYE:
        parts: list[Data] = []
        try:
            put_reply(parts.append, reply := run(db, await read_request(reader)))
        except ProtocolError as error:
            put_reply(parts.append, error)
            reply = BYE
        writer.write(b"".join(parts))
        db.counts.increment("commands")
        await writer.drain()


async def sweep(db: Database, heard: asyncio.Queue[tuple[float, Data]]) -> None:
    """Removes what has ended."""
    deadlines = Deadlines(db)
    while True:
        with contextlib.suppress(TimeoutError):
            deadlines.add(*await asyncio.wait_for(heard.get(), deadlines.seconds_left()))
        deadlines.sweep()


async def serve(host: str, port: int) -> None:
    heard: asyncio.Queue[tuple[float, Data]] = asyncio.Queue()
    db = Database(Values(), Values(), bytes, heard.put_nowait)
    open_ones: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        db.counts.increment("connections")
        db.counts.increment("clients")
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # the client has left
                await answer(db, reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):  # which else, now and then, nobody has seen
                await writer.wait_closed()
            open_ones.discard(writer)
            db.counts.increment("clients", -1)

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await asyncio.start_server(connected, host, port, limit=MOST_LINE, backlog=512)
    sweeper = asyncio.create_task(sweep(db, heard))
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()
    sweeper.cancel()
    for writer in open_ones:
        writer.transport.abort()
    while open_ones:
        await asyncio.sleep(0)


def main() -> None:
    options = argparse.ArgumentParser(description="A key-value server that speaks RESP2, without ferrule.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=6381, help="0: a free one")
    chosen = options.parse_args()
    in_a_loop(serve(chosen.host, chosen.port))


if __name__ == "__main__":
    main()
