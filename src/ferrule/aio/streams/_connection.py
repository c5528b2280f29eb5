"""asyncio's streams over memory that is handed out: reader, writer, and the protocol between them and the transport."""

from __future__ import annotations

import asyncio
import types
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast

from ...buffer import Bytes, BytesMut
from ._intake import LEAST_ROOM, MOST_ROOM, Intake

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer

__all__ = ["UNJOINED", "StreamReader", "StreamWriter", "open_connection", "start_server"]

LIMIT: Final = 64 << 10
"""asyncio's: the longest line, and half of what a reader keeps before it stops the peer. In bytes."""

UNJOINED: Final = 64 << 10
"""Bytes from which on a part is not copied even if that takes a system call more."""


class StreamReader(Intake):
    """asyncio.StreamReader whose results are Bytes: views of the memory that was read into.

    `limit` is in bytes: the longest line, not counting its end, and half of what is kept before the peer is stopped.

    Complexity  A read of n bytes that have come is O(1); a line is searched once.
    Threads     As asyncio's: the loop's thread only.
    Blocks      Each `read` waits for its bytes, in order; one at a time, a second one is RuntimeError. A cancelled read
                has taken nothing.
    Calls you   Never.
    Errors      As asyncio's: IncompleteReadError with `partial`, LimitOverrunError with `consumed`, ValueError; and
                what ended the connection.

    >>> import asyncio
    >>> async def main():
    ...     reader = StreamReader()
    ...     reader.feed_data(b"one\\ntwo")
    ...     reader.feed_eof()
    ...     return [line.tobytes() async for line in reader]
    >>> asyncio.run(main())
    [b'one\\n', b'two']
    """

    _source_traceback = None  # asyncio.StreamReaderProtocol, which may feed one of these from a pipe, asks for it

    def __init__(self, limit: int = LIMIT, loop: asyncio.AbstractEventLoop | None = None) -> None:
        if limit <= 0:
            raise ValueError("Limit cannot be <= 0")
        self._limit = limit
        self._loop = asyncio.get_event_loop() if loop is None else loop
        self._buffer = BytesMut()
        self._most = 2 * limit  # more stops the peer
        self._most_room = max(LEAST_ROOM, min(MOST_ROOM, 2 * limit))
        self._eof = False
        self._waiter: asyncio.Future[None] | None = None
        self._exception: BaseException | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._paused = False
        self._need = 0  # how many bytes the one who waits is lacking

    def __repr__(self) -> str:
        said = ["StreamReader"]
        if self._buffer:
            said.append(f"{len(self._buffer)} bytes")
        if self._eof:
            said.append("eof")
        if self._limit != LIMIT:
            said.append(f"limit={self._limit}")
        for name in ("waiter", "exception", "transport"):
            if (value := getattr(self, f"_{name}")) is not None:
                said.append(f"{name}={value!r}")
        if self._paused:
            said.append("paused")
        return f"<{' '.join(said)}>"

    # --- what the transport says ---

    def exception(self) -> BaseException | None:
        """What ended the connection, or None."""
        return self._exception

    def set_exception(self, exc: BaseException) -> None:
        """Reads raise this from now on; one that waits does so at once."""
        self._exception = exc
        if waiter := self._waiter:
            self._waiter = None
            if not waiter.done():
                waiter.set_exception(exc)

    def set_transport(self, transport: asyncio.BaseTransport) -> None:
        """The transport that is paused when too much waits here."""
        if self._transport is not None:
            raise RuntimeError("Transport already set")
        self._transport = cast(asyncio.ReadTransport, transport)

    def feed_eof(self) -> None:
        """Nothing more will come."""
        self._eof = True
        self._wake()

    def feed_data(self, data: Buffer) -> None:
        """Takes in a copy of data as if it had come from a transport."""
        if self._eof:
            raise RuntimeError("feed_data after feed_eof")
        had = len(self._buffer)
        self._buffer.put(data)
        self._received(len(self._buffer) - had)

    def _updated(self, nbytes: int) -> None:
        """The transport's: so many bytes have been read into the room."""
        self._buffer.commit(nbytes)
        if nbytes >= self._room or self._room > LEAST_ROOM:
            self._adapt(nbytes)
        self._received(nbytes)

    def _received(self, n: int) -> None:
        if not n:
            return
        if self._need:
            self._need -= n
            if self._need > 0:  # who waits could do nothing with it
                self._ask(self._need)
                return
            self._need = 0
            self._ask()
        over = len(self._buffer) - self._most
        if (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
                if 0 < over <= 3 * self._most:  # it may take much of it at once, and to pause and resume costs more
                    self._loop.call_soon(self._pause_if_over)
                    return
        if over > 0:
            self._pause_if_over()

    def _pause_if_over(self) -> None:
        """Stops the peer, unless somebody waits for more than there is."""
        if len(self._buffer) > self._most and self._waiter is None and not self._paused and self._transport is not None:
            try:
                self._transport.pause_reading()
            except NotImplementedError:
                self._transport = None  # all of it has to be kept then
            else:
                self._paused = True

    def _wake(self) -> None:
        if waiter := self._waiter:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # --- what the reads share ---

    async def _wait_for_data(self, called: str, need: int = 0) -> None:
        """Waits for need bytes, at least one, or the end. Raises what ended the connection."""
        if self._exception is not None:  # in the tick in which the last bytes came
            self._raise()
        if self._waiter is not None:
            raise RuntimeError(f"{called}() called while another coroutine is already waiting for incoming data")
        if need > LEAST_ROOM:
            self._need = need
            self._ask(need)
        if self._paused:  # or it would wait for ever
            self._resume()
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None
                self._need = 0
                self._ask()

    def _raise(self) -> NoReturn:
        raise cast(BaseException, self._exception).with_traceback(None)  # or each time would add to its traceback

    def _resume(self) -> None:
        self._paused = False
        cast(asyncio.ReadTransport, self._transport).resume_reading()

    def _taken(self) -> None:
        """Bytes have been taken: the peer may send more, and memory may go."""
        if self._paused and len(self._buffer) <= self._limit:
            self._resume()
        if self._has_large and not self._buffer:
            self._let_go()

    def _take(self, n: int) -> Bytes:
        data = self._buffer.get_bytes(n)
        self._taken()
        return data

    # --- reads ---

    def at_eof(self) -> bool:
        """Whether all that has come was read, and nothing more will come."""
        return self._eof and not self._buffer

    async def read(self, n: int = -1) -> Bytes:
        """Up to n bytes, as soon as there are any; empty at the end. Without n: all until the end."""
        if self._exception is not None:
            self._raise()
        if n == 0:
            return Bytes()
        if n < 0:
            while not self._eof:  # what was read stays here, so that no cancellation loses it
                await self._wait_for_data("read", max(self._room, len(self._buffer)))
            return self._take(len(self._buffer))
        if not self._buffer and not self._eof:
            await self._wait_for_data("read")
        return self._take(min(n, len(self._buffer)))

    async def readexactly(self, n: int) -> Bytes:
        """Exactly n bytes. IncompleteReadError, with what there was in `partial`, if the end comes before."""
        if n < 0:
            raise ValueError("readexactly size can not be less than zero")
        if self._exception is not None:
            self._raise()
        while (lacking := n - len(self._buffer)) > 0:
            if self._eof:
                raise asyncio.IncompleteReadError(cast(bytes, self._take(len(self._buffer))), n)
            await self._wait_for_data("readexactly", lacking)
        data = self._buffer.get_bytes(n)
        if self._paused or self._has_large:
            self._taken()
        return data

    async def readline(self) -> Bytes:
        r"""A line with its `\n`; without it if the end came before, empty if nothing did.

        ValueError for a line over the limit: it is dropped if its end has come, else all that has come is.
        """
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return cast(Bytes, error.partial)
        except asyncio.LimitOverrunError as error:
            if self._buffer.find(b"\n", error.consumed, error.consumed + 1) >= 0:
                self._buffer.advance(error.consumed + 1)
            else:
                self._buffer.clear()
            self._taken()
            raise ValueError(error.args[0]) from None

    async def readuntil(self, separator: Buffer | tuple[Buffer, ...] = b"\n") -> Bytes:
        """What comes up to and with the separator; of several, the one that ends first.

        LimitOverrunError for more than the limit before the separator; nothing is taken, and `consumed` bytes are known
        not to have the separator in them. IncompleteReadError, with all that there was in `partial`, if the end comes.
        """
        if isinstance(separator, tuple):
            if not separator:
                raise ValueError("Separator should contain at least one element")
            sizes = [memoryview(one).nbytes for one in separator]
            least, most = min(sizes), max(sizes)
        else:
            least = most = len(separator) if isinstance(separator, bytes) else memoryview(separator).nbytes
        if not least:
            raise ValueError("Separator should be at least one-byte string")
        if self._exception is not None:
            self._raise()
        offset = 0  # no separator begins before it
        while True:
            buffer = self._buffer
            if isinstance(separator, tuple):
                start, end = _first(buffer, separator, offset)
            else:
                start = buffer.find(separator, offset)
                end = start + most
            if start >= 0:
                if start > self._limit:
                    raise asyncio.LimitOverrunError("Separator is found, but chunk is longer than limit", start)
                return self._take(end)
            offset = max(0, len(buffer) + 1 - most)
            if offset > self._limit:
                raise asyncio.LimitOverrunError("Separator is not found, and chunk exceed the limit", offset)
            if self._eof:
                raise asyncio.IncompleteReadError(cast(bytes, self._take(len(buffer))), None)
            await self._wait_for_data("readuntil")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


def _first(buffer: BytesMut, separators: tuple[Buffer, ...], offset: int) -> tuple[int, int]:
    """Where the separator begins that ends first, and where it ends; of two, the shorter one. (-1, -1): nowhere."""
    found = [(start + memoryview(one).nbytes, -start) for one in separators if (start := buffer.find(one, offset)) >= 0]
    end, start = min(found, default=(-1, 1))
    return -start, end


class _StreamProtocol(asyncio.BufferedProtocol):
    """Between a transport, its reader and its writer."""

    def __init__(
        self,
        reader: StreamReader,
        connected: Callable[[StreamReader, StreamWriter], object] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._reader: StreamReader | None = reader
        self._client_connected_cb = connected
        self._loop = loop
        self._transport: asyncio.BaseTransport | None = None
        self._task: asyncio.Task[Any] | None = None
        self._over_tls = False
        self._paused = False
        self._connection_lost = False
        self._error: BaseException | None = None  # what ended the connection
        self._drains: deque[asyncio.Future[None]] = deque()
        self._closes: deque[asyncio.Future[None]] = deque()
        # The transport calls the reader itself.
        self.get_buffer = reader._get_buffer  # type: ignore[method-assign]
        self.buffer_updated = reader._updated  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        reader = cast(StreamReader, self._reader)
        reader.set_transport(transport)
        self._over_tls = reader._reads_from(transport)
        if self._client_connected_cb is not None:
            writer = StreamWriter(cast(asyncio.WriteTransport, transport), self, reader, self._loop)
            try:
                result = self._client_connected_cb(reader, writer)
            except BaseException:
                transport.close()
                raise
            if asyncio.iscoroutine(result):
                self._task = self._loop.create_task(result)
                self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[Any]) -> None:
        """The server's coroutine for this connection has ended. What it did not catch ends the connection."""
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler(
                {
                    "message": "Unhandled exception in client_connected_cb",
                    "exception": error,
                    "transport": self._transport,
                }
            )
        if (error is not None or task.cancelled()) and self._transport is not None:
            self._transport.close()

    def _replace_transport(self, transport: asyncio.BaseTransport) -> None:
        """The connection goes on over TLS."""
        self._transport = transport
        self._over_tls = True
        if (reader := self._reader) is not None:
            reader._reads_from(transport)
            reader._transport = cast(asyncio.ReadTransport, transport)
            reader._pause_if_over()

    def eof_received(self) -> bool:
        if self._reader is not None:
            self._reader.feed_eof()
        return not self._over_tls  # TLS has no half-closed connections

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._connection_lost:
            return
        self._connection_lost = True
        self._error = exc
        if (reader := self._reader) is not None:
            if exc is None:
                reader.feed_eof()
            else:
                reader.set_exception(exc)
            reader._transport = None
            reader._paused = False
        for waiters in (self._drains, self._closes):
            _wake_all(waiters, exc)
        # No ring may be left of what belonged together.
        self._reader = self._transport = None
        del self.get_buffer, self.buffer_updated

    # --- the writer's, under asyncio's names: the writers of both work with the protocols of both ---

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        _wake_all(self._drains, None)

    async def _drain_helper(self) -> None:
        if self._connection_lost:
            raise ConnectionResetError("Connection lost")
        if self._paused:
            await self._wait(self._drains)

    async def _get_close_waiter(self, stream: object) -> None:
        if not self._connection_lost:
            await self._wait(self._closes)
        elif self._error is not None:
            raise self._error.with_traceback(None)

    async def _wait(self, waiters: deque[asyncio.Future[None]]) -> None:
        waiter = self._loop.create_future()
        waiters.append(waiter)
        try:
            await waiter
        finally:
            waiters.remove(waiter)


def _wake_all(waiters: Iterable[asyncio.Future[None]], error: BaseException | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def _writable(data: Buffer) -> bytes | bytearray | memoryview:
    """The same bytes as one of the three kinds that every transport takes."""
    if isinstance(data, (bytes, bytearray)):
        return data
    view = memoryview(data)
    return view if view.itemsize == view.ndim == 1 and view.c_contiguous else view.cast("B")


class StreamWriter:
    """asyncio.StreamWriter that takes every kind of buffer, Bytes and views of any format among them.

    What is written is not copied, if it can be helped: it must not change before drain() says that it has gone.

    Complexity  As the transport's. Parts of 64 KiB and more are never joined.
    Threads     As asyncio's: the loop's thread only.
    Blocks      drain() while the peer is slow to read; wait_closed(). Cancelling one waiter leaves the others.
    Calls you   Never.
    Errors      drain(): what ended the connection, or ConnectionResetError. write(): TypeError for what is no buffer.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        reader: StreamReader | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._transport = transport
        self._protocol = cast(_StreamProtocol, protocol)
        self._reader = reader
        self._loop = loop

    def __repr__(self) -> str:
        reader = "" if self._reader is None else f" reader={self._reader!r}"
        return f"<StreamWriter transport={self._transport!r}{reader}>"

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The transport underneath: another one after start_tls()."""
        return self._transport

    def write(self, data: Buffer) -> None:
        """Writes data, or queues what cannot be written at once; drain() waits until there is room."""
        if type(data) is Bytes:
            plain: bytes | bytearray | memoryview = memoryview(data)
        else:
            plain = data if type(data) is bytes else _writable(data)
        try:
            self._transport.write(plain)
        except RuntimeError:
            self._dropped()

    def _dropped(self) -> None:
        """What is written to a connection that has ended is dropped, as by asyncio's transports; uvloop's raise."""
        if not self._transport.is_closing():
            raise

    def writelines(self, data: Iterable[Buffer]) -> None:
        """Writes all of them, in one system call where the transport can."""
        if type(data) is tuple and len(data) == 1:  # a small frame of most codecs
            self.write(data[0])
            return
        parts = [part for part in map(_writable, data) if part]  # asyncio's, since 3.12, keep an empty one for ever
        transport = self._transport
        try:
            if type(transport).writelines is asyncio.WriteTransport.writelines or transport.is_closing():
                self._write_apart(parts)
            else:
                transport.writelines(parts)
                if transport.get_write_buffer_size():
                    low, high = transport.get_write_buffer_limits()
                    transport.set_write_buffer_limits(high, low)  # which looks; writelines() of 3.12.1 does not
        except RuntimeError:
            self._dropped()

    def _write_apart(self, parts: list[bytes | bytearray | memoryview]) -> None:
        """By a transport whose writelines() would join all of them."""
        small: list[bytes | bytearray | memoryview] = []
        for part in parts:
            if len(part) < UNJOINED:
                small.append(part)
            else:
                self._write_joined(small)
                small.clear()
                self._transport.write(part)
        self._write_joined(small)

    def _write_joined(self, parts: list[bytes | bytearray | memoryview]) -> None:
        if parts:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def write_eof(self) -> None:
        """Says that nothing more will be written; reading goes on."""
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """Whether write_eof() works here: not over TLS."""
        return self._transport.can_write_eof()

    def close(self) -> None:
        """Closes the connection once all has been written."""
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it was closed, or lost."""
        return self._transport.is_closing()

    async def wait_closed(self) -> None:
        """Waits until the connection has ended; raises what ended it, if that was an error."""
        await self._protocol._get_close_waiter(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows: "peername", "socket", "sslcontext", ..."""
        return self._transport.get_extra_info(name, default)

    async def drain(self) -> None:
        """Waits while more is queued than the transport wants to keep. Raises what ended the connection."""
        if self._reader is not None and (error := self._reader._exception) is not None:
            raise error.with_traceback(None)
        if self._transport.is_closing():
            await asyncio.sleep(0)  # for connection_lost(), which may be on its way
        protocol = self._protocol
        if protocol._paused or protocol._connection_lost:
            await protocol._drain_helper()

    async def start_tls(
        self,
        sslcontext: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """Goes on over TLS. What was read ahead and not taken is the beginning of it, as in CPython since 3.14.3.

        If that fails, the connection has ended.
        """
        protocol = self._protocol
        reader = self._reader
        await self.drain()
        plain = self._transport
        if reader is not None:  # what comes during the handshake is not the plain transport's to hold back
            reader._transport = None
            reader._paused = False

        def hand_over() -> None:
            if reader is not None and reader._buffer:
                ahead = reader._buffer.split()
                below = cast(asyncio.BufferedProtocol, plain.get_protocol())
                while ahead:
                    room = memoryview(below.get_buffer(len(ahead)))
                    n = min(len(room), len(ahead))
                    room[:n] = ahead.get_bytes(n)
                    below.buffer_updated(n)

        try:
            self._transport = await _when_begun(
                self._loop.start_tls(
                    cast(asyncio.Transport, plain),
                    protocol,
                    sslcontext,
                    server_side=protocol._client_connected_cb is not None,
                    server_hostname=server_hostname,
                    ssl_handshake_timeout=ssl_handshake_timeout,
                    ssl_shutdown_timeout=ssl_shutdown_timeout,
                ),
                lambda: self._loop.call_soon(hand_over),
            )
        except BaseException as error:
            plain.abort()
            protocol.connection_lost(error if isinstance(error, Exception) else None)
            raise
        protocol._replace_transport(self._transport)

    def __del__(self) -> None:
        if not self._transport.is_closing():
            if self._loop.is_closed():
                warnings.warn("loop is closed", ResourceWarning, source=self, stacklevel=1)
            else:
                self.close()
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)


@types.coroutine
def _when_begun(awaitable: Awaitable[Any], then: Callable[[], object]) -> Generator[Any, Any, Any]:
    """Awaits it, and calls then() when it waits for the first time."""
    steps = awaitable.__await__()
    resume: Callable[[Any], Any] = steps.send
    value: Any = None
    begun = False
    while True:
        try:
            waits_for = resume(value)
        except StopIteration as end:
            return end.value
        if not begun:
            begun = True
            then()
        try:
            value = yield waits_for
            resume = steps.send
        except BaseException as error:
            value = error
            resume = steps.throw


async def open_connection(
    host: str | None = None, port: int | str | None = None, *, limit: int = LIMIT, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Connects, and gives a reader and a writer. All arguments but limit are those of `loop.create_connection()`."""
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit, loop)
    protocol = _StreamProtocol(reader, None, loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)  # type: ignore[arg-type]
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: Callable[[StreamReader, StreamWriter], object],
    host: str | Iterable[str] | None = None,
    port: int | str | None = None,
    *,
    limit: int = LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Calls back with a reader and a writer for each client; a coroutine is run as a task.

    All other arguments are those of `loop.create_server()`, as is the result.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: _StreamProtocol(StreamReader(limit, loop), client_connected_cb, loop),
        host,  # type: ignore[arg-type]
        port,  # type: ignore[arg-type]
        **kwds,
    )
