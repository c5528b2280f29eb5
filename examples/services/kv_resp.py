r"""RESP2, the protocol of Redis: what both key-value servers know of it. How they read it is what they differ in.

A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`), or a line of words for those who type.
"""

import shlex
from collections.abc import Callable
from typing import TypeAlias

from ferrule import Bytes, FrozenMap

__all__ = [
    "BYE",
    "COUNTS",
    "CRLF",
    "LENGTHS",
    "MOST_LINE",
    "MOST_REPLY",
    "MOST_REQUEST",
    "OK",
    "PONG",
    "Data",
    "ProtocolError",
    "Reply",
    "ReplyError",
    "Status",
    "count_of",
    "length_of",
    "put_reply",
    "too_long",
    "words",
]

Data: TypeAlias = bytes | Bytes
Reply: TypeAlias = "Data | int | list[Reply] | Status | Exception | None"

CRLF = b"\r\n"
MOST_LINE = 64 << 10
MOST_ARGUMENTS = 1 << 20
MOST_REQUEST = 64 << 20
"""The bytes of a request's arguments: what a client can make the server keep before it has asked for anything."""

MOST_REPLY = 64 << 20
"""The bytes of the values in one answer: MGET may name a long one over and over."""

COUNTS: FrozenMap[Data, int] = FrozenMap({b"*%d\r\n" % count: count for count in range(64)})
LENGTHS: FrozenMap[Data, int] = FrozenMap({b"$%d\r\n" % length: length for length in range(1024)})
"""The lines that are almost all lines: looked up, not parsed. A Bytes finds its equal bytes.

A dict would do as well, but for several threads without the GIL: in all but one of them it takes a hundred times longer
to find a key that is equal and not the same object (CPython 3.13).
"""


class ProtocolError(Exception):
    """Nobody knows where the next request would begin: the connection is closed."""

    def __str__(self) -> str:
        return f"ERR Protocol error: {self.args[0]}"


class ReplyError(Exception):
    """The answer to a request that cannot be done."""


class Status(bytes):
    """A word, as it goes over the wire."""


OK = Status(b"+OK\r\n")
PONG = Status(b"+PONG\r\n")
BYE = Status(b"+OK\r\n")
"""After this answer the connection is closed."""


ONE_LINE = str.maketrans("\r\n", "  ")
"""An error may quote what the client sent."""


def count_of(line: Data) -> int:
    """How many arguments the request has that begins with this line; none: it is to be passed over."""
    return max(0, _number(line, -MOST_ARGUMENTS, MOST_ARGUMENTS, "invalid multibulk length"))


def length_of(line: Data) -> int:
    """How long the argument is that follows this line."""
    if not line.startswith(b"$"):
        raise ProtocolError(f"expected '$', got '{chr(line[0])}'")
    return _number(line, 0, MOST_REQUEST, "invalid bulk length")


def too_long(first: int) -> ProtocolError:
    """Of a line that begins with this byte, and does not end."""
    kind = {b"*"[0]: "mbulk count string", b"$"[0]: "bulk count string"}.get(first, "inline request")
    return ProtocolError(f"too big {kind}")


def words(line: Data) -> list[bytes]:
    """The arguments of a request that somebody has typed."""
    try:
        return [word.encode("latin-1") for word in shlex.split(line.decode("latin-1"))]
    except ValueError:
        raise ProtocolError("unbalanced quotes in request") from None


def _number(line: Data, least: int, most: int, what_is_wrong: str) -> int:
    digits = bytes(line[1:]).removesuffix(CRLF)
    if len(digits) < 12 and digits.removeprefix(b"-").isdigit() and least <= int(digits) <= most:
        return int(digits)
    raise ProtocolError(what_is_wrong)


def put_reply(put: Callable[[Data], object], reply: Reply) -> None:
    """Puts it as it goes over the wire."""
    if isinstance(reply, Status):
        put(reply)
    elif reply is None:
        put(b"$-1\r\n")
    elif isinstance(reply, (bytes, Bytes)):
        put(b"$%d\r\n" % len(reply))
        put(reply)
        put(CRLF)
    elif isinstance(reply, int):
        put(b":%d\r\n" % reply)
    elif isinstance(reply, list):
        put(b"*%d\r\n" % len(reply))
        for part in reply:
            put_reply(put, part)
    else:
        put(b"-%b\r\n" % str(reply).translate(ONE_LINE).encode("latin-1"))
