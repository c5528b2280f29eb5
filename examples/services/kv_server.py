"""A key-value server that redis-cli, redis-py and redis-benchmark can talk to, built from what ferrule has.

    python examples/services/kv_server.py --port 6380
    redis-benchmark -p 6380 -t get,set,incr,mset -P 16
    redis.Redis(port=6380, protocol=2)

- A BytesMut takes in what comes where it stays: the transport reads into its spare() memory, buffer_updated() cuts the
  requests out of it as slices. The answers of all requests that came at once are one write.
- A Pool lends these buffers to connections of which a request is on its way. A client that has all its answers costs no
  buffer, so that there may be thousands of them.
- A ConcurrentMap holds the values. With --threads, several event loops serve the same map, each in a thread of its own
  with a listening socket of its own; without the GIL they do so side by side.
- A channel tells the sweeper, one task, of each deadline, whichever loop heard of it. It waits for the next message or
  the next deadline, whatever is first. Another channel ends the loops: it carries nothing, and is closed.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Generator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

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

from ferrule import Bytes, BytesMut, ConcurrentMap, Lease, Pool, Timeout, aio, bounded, unbounded

LOOPS = ["uvloop", "asyncio"] if find_spec("uvloop") else ["asyncio"]

BUFFER = 64 << 10
"""Bytes that a new buffer has room for."""

MOST_UNSENT = 64 << 10
"""Bytes of answers after which they are handed to the transport, although more requests wait."""


def new_buffer() -> BytesMut:
    return BytesMut(BUFFER)


def requests(came: BytesMut) -> Generator[list[Bytes] | None]:
    """The requests in what has come, until nothing is left of it; None when the next one is not complete yet.

    What there is of that one is kept here, so that a request in many pieces is not begun again with each piece.
    """
    while came:
        while (line := came.try_get_until(b"\n")) is None:
            if len(came) > MOST_LINE:
                raise too_long(came[0])
            yield None
        count = COUNTS.get(line)
        if count is None:
            if not line.startswith(b"*"):
                if typed := words(line):
                    yield [*map(Bytes, typed)]
                continue
            count = count_of(line)
        request = []
        room = MOST_REQUEST
        for _ in range(count):
            while (line := came.try_get_until(b"\n")) is None:
                if len(came) > MOST_LINE:
                    raise too_long(came[0])
                yield None
            length = LENGTHS.get(line)
            if length is None:
                length = length_of(line)
            if (room := room - length) < 0:
                raise ProtocolError("invalid bulk length")
            while len(came) < length + 2:
                yield None
            request.append(came.get_bytes(length))
            came.advance(2)  # the end of line, which nobody looks at: nor does Redis
        if request:
            yield request


class Connection(asyncio.BufferedProtocol):
    """One client. It is answered in the order of its requests, and read from only while it reads its answers."""

    transport: asyncio.Transport

    def __init__(self, db: Database, buffers: Pool[BytesMut], open_ones: set["Connection"]) -> None:
        self.db = db
        self.buffers = buffers
        self.open_ones = open_ones
        self.came: Lease[BytesMut] | None = None  # while a request is on its way
        self.has_grown = False
        self.answers = BytesMut()
        self.reads_answers = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has its methods, not its class
        self.open_ones.add(self)
        self.db.counts.increment("connections")
        self.db.counts.increment("clients")

    def connection_lost(self, error: Exception | None) -> None:
        self.open_ones.discard(self)
        self.db.counts.increment("clients", -1)
        if self.came:
            self.came.discard()

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self.came:
            self.came = self.buffers.acquire_or(new_buffer)
            self.requests = requests(self.came.value)
        return self.came.value.spare(4096)

    def buffer_updated(self, n: int) -> None:
        assert self.came
        came = self.came.value
        came.commit(n)
        self.has_grown |= came.capacity > BUFFER
        self.answer()

    def give_buffer_back(self) -> None:
        """Nothing is left of what came. A buffer that a large value has made grow is not kept."""
        if self.came:
            self.came.discard() if self.has_grown else self.came.release()
            self.came, self.has_grown = None, False

    def answer(self) -> None:
        """Answers what is complete, until the client has to read first."""
        answered, ends = 0, False
        try:
            for request in self.requests:
                if request is None:
                    break
                answered += 1
                put_reply(self.answers.put, reply := run(self.db, request))
                ends = reply is BYE
                if ends or (len(self.answers) > MOST_UNSENT and not self.send()):
                    break
            else:
                self.give_buffer_back()
        except ProtocolError as error:
            put_reply(self.answers.put, error)
            ends = True
        self.send()
        self.db.counts.increment("commands", answered)
        if ends:
            self.transport.close()

    def send(self) -> bool:
        """Hands the answers to the transport; whether more may follow."""
        if self.answers:
            answers, self.answers = self.answers, BytesMut()
            self.transport.write(memoryview(answers.freeze()))  # it takes no other kind of buffer
        return self.reads_answers

    def pause_writing(self) -> None:
        self.reads_answers = False
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.reads_answers = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
            if self.came:
                self.answer()


async def serve(db: Database, buffers: Pool[BytesMut], listening: socket.socket, stopped: aio.Receiver[None]) -> None:
    """Takes connections until the channel is closed, then cuts them."""
    open_ones: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(db, buffers, open_ones), sock=listening, backlog=512
    )
    async for _ in stopped:
        pass
    server.close()
    for connection in open_ones:
        connection.transport.abort()
    while open_ones:
        await asyncio.sleep(0)


async def sweep(db: Database, heard: aio.Receiver[tuple[float, Data]]) -> None:
    """Removes what has ended."""
    deadlines = Deadlines(db)
    while True:
        with contextlib.suppress(Timeout):
            for deadline, key in await heard.recv_many(1000, timeout=deadlines.seconds_left()):
                deadlines.add(deadline, key)
        deadlines.sweep()
        await asyncio.sleep(0)


def new_database(watch: Callable[[tuple[float, Data]], object]) -> Database:
    return Database(ConcurrentMap(), ConcurrentMap(), Bytes.compact, watch)


def in_a_loop(main: Coroutine[Any, Any, None], loop: str = LOOPS[0]) -> None:
    """Runs it to its end; by uvloop where that is installed."""
    with asyncio.Runner(loop_factory=import_module(loop).new_event_loop) as runner:
        runner.run(main)


def main() -> None:
    options = argparse.ArgumentParser(description="A key-value server that speaks RESP2.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=6380, help="0: a free one")
    options.add_argument("--threads", type=int, default=1, help="event loops, each in a thread of its own")
    options.add_argument("--loop", choices=LOOPS, default=LOOPS[0])
    chosen = options.parse_args()

    watch, heard = unbounded[tuple[float, Data]]()
    stop, stopped = bounded[None](0)
    db = new_database(watch.try_send)
    buffers = Pool(new_buffer, max_size=256)

    def listen(port: int) -> socket.socket:
        return socket.create_server((chosen.host, port), reuse_port=chosen.threads > 1)

    first = listen(chosen.port)
    port = first.getsockname()[1]
    others = [
        threading.Thread(target=lambda: in_a_loop(serve(db, buffers, listen(port), stopped.aio), chosen.loop))
        for _ in range(chosen.threads - 1)
    ]

    async def serve_first() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.close)
        sweeper = asyncio.create_task(sweep(db, heard.aio))
        print(f"listening on {chosen.host}:{port}", flush=True)
        await serve(db, buffers, first, stopped.aio)
        sweeper.cancel()

    for thread in others:
        thread.start()
    in_a_loop(serve_first(), chosen.loop)
    for thread in others:
        thread.join()


if __name__ == "__main__":
    main()
