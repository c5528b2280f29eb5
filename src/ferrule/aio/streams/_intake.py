"""The memory that a transport reads into, and how much of it a read gets; and the protocol that is just that."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from ...buffer import BytesMut

__all__ = ["BytesProtocol", "Intake"]

LEAST_ROOM: Final = 4 << 10
"""Bytes that a read gets at least, and that a connection keeps on which nothing is on its way."""

MOST_ROOM: Final = 256 << 10
"""Bytes that a read gets at most, when nobody has said how much is lacking."""

_MOST_AHEAD: Final = 1 << 20
"""Bytes of room for what is said to be lacking; more only when as much has come. So a peer that announces a large
message makes nobody allocate it."""


class Intake:
    """What has come and has not been taken, and the room for what comes next."""

    _buffer: BytesMut
    _need = 0  # how many bytes are lacking at least; 0: unknown
    _room = LEAST_ROOM  # what a read gets; a power of two times LEAST_ROOM
    _most_room = MOST_ROOM
    _offered = 0  # what the read got that is going on
    _has_large = False  # the buffer may have more memory than an idle connection keeps

    def _get_buffer(self, sizehint: int) -> memoryview:
        """Room for the next read."""
        room = self._room
        if self._need > room:
            room = min(self._need, max(_MOST_AHEAD, len(self._buffer)))
        if room > LEAST_ROOM:
            self._has_large = True
        view = self._buffer.spare(room)
        self._offered = len(view)
        return view

    def _took_in(self, n: int) -> None:
        """The transport has read n bytes into the room."""
        self._buffer.commit(n)
        room = self._room
        if n == self._offered:
            if room < self._most_room:
                self._room = min(room << 2, self._most_room)
        elif n < room >> 2 and room > LEAST_ROOM:
            self._room = room >> 1
        self._offered = 0

    def _let_go(self) -> None:
        """The buffer is empty: a connection on which nothing is on its way keeps no more than LEAST_ROOM."""
        if not self._offered:  # no read goes on, as it may in loops that do not wait until there is something to read
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

    def bytes_received(self, buffer: BytesMut, /) -> None:
        """Called after each read with all that has come and has not been taken. What it leaves is there next time."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there. An override calls this one."""
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The transport's: room for the next read."""
        return self._get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """The transport's: so many bytes have been read into the room."""
        self._took_in(nbytes)
        self._need = 0
        self.bytes_received(self._buffer)
        if self._has_large and not self._buffer:
            self._let_go()
