"""A key-value server that redis-cli, redis-py and redis-benchmark can talk to, built from what ferrule has.

    python examples/services/kv_server.py --port 6380
    redis-benchmark -p 6380 -t get,set,incr,mset -P 16
    redis.Redis(port=6380, protocol=2)

- A BytesProtocol takes in what comes where it stays: the transport reads into its BytesMut, bytes_received() cuts the
  requests out of that as slices. The answers of all requests that came at once are one write. A client that has all its
  answers keeps 4 KiB at most, so that there may be thousands of them.
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

from ferrule import Bytes, BytesMut, ConcurrentMap, Timeout, aio, bounded, unbounded
from ferrule.aio.streams import BytesProtocol

LOOPS = ["uvloop", "asyncio"] if find_spec("uvloop") else ["asyncio"]

MOST_UNSENT = 64 << 10
"""Bytes of answers after which they are handed to the transport, although more requests wait."""


def requests(client: BytesProtocol) -> Generator[list[Bytes] | None]:
    """The requests in what has come, until nothing is left of it; None when the next one is not complete yet.

    What there is of that one is kept here, so that a request in many pieces is not begun again with each piece. The
    buffer is not: what comes next may be in another.
    """
    came = client.buffer
    while came:
        while (line := came.try_get_until(b"\n")) is None:
            if len(came) > MOST_LINE:
                raise too_long(came[0])
            yield None
            came = client.buffer
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
                came = client.buffer
            length = LENGTHS.get(line)
            if length is None:
                length = length_of(line)
            if (room := room - length) < 0:
                raise ProtocolError("invalid bulk length")
            while len(came) < length + 2:
                client.need = length + 2 - len(came)
                yield None
                came = client.buffer
            request.append(came.get_bytes(length))
            came.advance(2)  # the end of line, which nobody looks at: nor does Redis
        if request:
            yield request


class Connection(BytesProtocol):
    """One client. It is answered in the order of its requests, and read from only while it reads its answers."""

    def __init__(self, db: Database, open_ones: set["Connection"]) -> None:
        super().__init__()
        self.db = db
        self.open_ones = open_ones
        self.requests = requests(self)
        self.answers = BytesMut()
        self.reads_answers = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.open_ones.add(self)
        self.db.counts.increment("connections")
        self.db.counts.increment("clients")

    def connection_lost(self, error: Exception | None) -> None:
        self.open_ones.discard(self)
        self.db.counts.increment("clients", -1)
        self.requests.close()

    def bytes_received(self, buffer: BytesMut) -> None:
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
                self.requests = requests(self)
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
            self.proceed()


async def serve(db: Database, listening: socket.socket, stopped: aio.Receiver[None]) -> None:
    """Takes connections until the channel is closed, then cuts them."""
    open_ones: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(db, open_ones), sock=listening, backlog=512
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

    def listen(port: int) -> socket.socket:
        return socket.create_server((chosen.host, port), reuse_port=chosen.threads > 1)

    first = listen(chosen.port)
    port = first.getsockname()[1]
    others = [
        threading.Thread(target=lambda: in_a_loop(serve(db, listen(port), stopped.aio), chosen.loop))
        for _ in range(chosen.threads - 1)
    ]

    async def serve_first() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.close)
        sweeper = asyncio.create_task(sweep(db, heard.aio))
        print(f"listening on {chosen.host}:{port}", flush=True)
        await serve(db, first, stopped.aio)
        sweeper.cancel()

    for thread in others:
        thread.start()
    in_a_loop(serve_first(), chosen.loop)
    for thread in others:
        thread.join()


if __name__ == "__main__":
    main()
