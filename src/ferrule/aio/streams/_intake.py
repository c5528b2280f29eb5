"""The memory that a transport reads into, and how much of it a read gets; and the protocol that is just that."""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

from ...buffer import BytesMut

__all__ = ["BytesProtocol", "Intake"]

LEAST_ROOM: Final = 4 << 10
"""Bytes that a read gets at least, and that a connection keeps on which nothing is on its way."""

TLS_ROOM: Final = 16 << 10
"""What TLS gets instead, which asks for room before it knows whether there is anything: bytes of its largest record."""

MOST_ROOM: Final = 256 << 10
"""Bytes that a read gets at most, when nobody has said how much is lacking."""

_MOST_AHEAD: Final = 1 << 20
"""Bytes of room for what is said to be lacking; more only when as much has come. So a peer that announces a large
message makes nobody allocate it."""

_READS_AHEAD: Final = sys.platform == "win32"
"""Whether loops ask for room before there is something to read. Then a read into the buffer may go on at any time."""


class Intake:
    """What has come and has not been taken, and the room for what comes next."""

    _buffer: BytesMut
    _room = LEAST_ROOM  # what a read gets by what the last ones have filled: LEAST_ROOM times a power of two
    _most_room = MOST_ROOM
    _asked = LEAST_ROOM  # what the next read gets: _room, or more where that is known to be lacking
    _enough = LEAST_ROOM >> 2  # so much behind the end will do instead
    _has_large = False  # the buffer may have more memory than an idle connection keeps

    def _get_buffer(self, sizehint: int) -> memoryview:
        """Room for the next read."""
        asked, buffer = self._asked, self._buffer
        if asked > LEAST_ROOM:
            self._has_large = True
            if buffer.capacity - len(buffer) >= self._enough:
                return buffer.spare()
        elif len(buffer) > LEAST_ROOM:
            self._has_large = True
        return buffer.spare(asked)

    def _adapt(self, n: int) -> None:
        """The last read got n bytes."""
        room = self._room
        if n >= room:
            self._room = min(room << 2, self._most_room)
        elif n < room >> 2 and room > LEAST_ROOM:
            self._room = room >> 1
        elif self._enough == room >> 2:
            return  # nothing has changed
        self._ask()

    def _ask(self, need: int = 0) -> None:
        """Says how much the next read gets. need: what should be in one piece is lacking so many bytes."""
        room = self._room
        self._enough = min(need, max(_MOST_AHEAD, len(self._buffer))) if need else room >> 2
        self._asked = max(room, self._enough)

    def _reads_from(self, transport: asyncio.BaseTransport) -> bool:
        """What comes will come from it; whether it speaks TLS."""
        over_tls = transport.get_extra_info("sslcontext") is not None
        if over_tls:
            self._most_room = min(self._most_room, TLS_ROOM)
            self._room = min(self._room, self._most_room)
            self._ask()
        return over_tls

    def _let_go(self) -> None:
        """The buffer is empty: a connection on which nothing is on its way keeps no more than LEAST_ROOM."""
        if not _READS_AHEAD:
            self._has_large = False
            self._buffer = BytesMut()


class BytesProtocol(Intake, asyncio.BufferedProtocol):
    """A protocol whose transport reads straight into a BytesMut. Derive from it, and override `bytes_received()`.

    Complexity  A read costs two calls of the transport and one of bytes_received(); a message is not copied, unless it
                came in two reads and there was no room behind the first.
    Threads     As all protocols: the loop's thread only.
    Blocks      Never.
    Calls you   bytes_received(), and what else asyncio's BufferedProtocol has.
    Errors      What bytes_received() raises goes to the loop's exception handler, and the connection is closed.

    >>> class Echo(BytesProtocol):
    ...     def bytes_received(self, buffer):
    ...         while (line := buffer.try_get_until(b"\\n")) is not None:
    ...             self.transport.write(memoryview(line))
    """

    transport: asyncio.Transport
    """Set by connection_made()."""

    def __init__(self) -> None:
        self._buffer = BytesMut()
        self._need = 0

    @property
    def buffer(self) -> BytesMut:
        """What has come and has not been taken. May be another object after each read."""
        return self._buffer

    @property
    def need(self) -> int:
        """How many bytes the next message is lacking; 0: not known. A hint for the room of the next read."""
        return self._need

    @need.setter
    def need(self, n: int) -> None:
        self._need = n
        self._ask(n)

    def bytes_received(self, buffer: BytesMut, /) -> None:
        """Called after each read with all that has come and has not been taken. What it leaves is there next time."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there. An override calls this one."""
        self.transport = cast(asyncio.Transport, transport)
        self._reads_from(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The transport's: room for the next read."""
        return self._get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """The transport's: so many bytes have been read into the room."""
        self._buffer.commit(nbytes)
        self._adapt(nbytes)
        self._need = 0
        self.proceed()

    def proceed(self) -> None:
        """Calls bytes_received() with what there is, as after a read.

        For a protocol that has left messages in the buffer which are complete, say because the peer has to read first,
        and goes on with them now.
        """
        self.bytes_received(self._buffer)
        if self._has_large and not self._buffer:
            self._let_go()
