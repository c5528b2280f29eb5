"""What tells frames apart in a stream of bytes: the codecs of `ferrule.aio.streams.Framed`.

A codec cuts frames off the front of a BytesMut and makes bytes of frames. It does no input or output, so that it can be
tried on a buffer alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from ...buffer import Bytes, BytesMut
from ...errors import MISSING, FerruleError, _Missing

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Codec", "FrameTooLarge", "JsonLinesCodec", "LengthDelimitedCodec", "LinesCodec"]

Frame = TypeVar("Frame")
"""What decode() gives and encode() takes."""

_CR: Final = 13
_JOINED_BELOW: Final = 4096
"""Payloads under so many bytes are copied behind their header: that is cheaper than one part more to write."""


class FrameTooLarge(FerruleError, ValueError):
    """A frame is longer than its codec allows.

    `size` is how long it is, in bytes, or None where that is not known; `limit` is what the codec allows.
    """

    def __init__(self, message: str = "", /, *, size: int | None = None, limit: int = 0) -> None:
        super().__init__(
            message or f"a frame of {'unknown size' if size is None else f'{size} bytes'}, {limit} allowed"
        )
        self.size = size
        self.limit = limit


class Codec(Generic[Frame]):
    """What tells the frames of one connection apart. Derive from it for a protocol of your own.

    Framed works with a copy, made by copy.copy(), so what a codec keeps between two calls is of one connection, and one
    codec may serve as the pattern for many.

    Complexity  Yours to say. Called after each read until a frame is whole: it should remember where it has searched.
    Threads     What it keeps is for one thread at a time.
    Blocks      Never: it does no input or output.
    Calls you   decode(), decode_eof(), encode(); by Framed.
    Errors      What they raise reaches the caller of recv() and send().

    >>> class Bytewise(Codec[int]):
    ...     def decode(self, buffer):
    ...         return buffer.get_u8() if buffer else MISSING
    ...
    ...     def encode(self, frame):
    ...         return [bytes([frame])]
    """

    limit: int = 8 << 20
    """The bytes that may wait without being a frame yet. More is FrameTooLarge, at every later recv() too."""

    _beside = 0  # so many bytes may wait beside a frame: its length, its end

    need: int = 0
    """How many bytes are lacking at least, said by decode() before it gives MISSING; it is 0 when decode() is called.
    The next read gets room for them, and decode() may not be called before they are there."""

    searched: int = 0
    """How many bytes at the front decode() has searched before, if it cares to note that. Framed sets it to 0 when
    a recv() is cancelled, as somebody else may take bytes then."""

    def decode(self, buffer: BytesMut, /) -> Frame | _Missing:
        """Takes the first frame off the buffer; MISSING, with the buffer as it was, when it has not all come yet.

        What it raises reaches the caller of recv(). The next recv() calls it again, with what it left in the buffer.
        """
        raise NotImplementedError

    def decode_eof(self, buffer: BytesMut, /) -> Frame | _Missing:
        """Likewise, when nothing more will come. What is left after MISSING is a frame cut short."""
        return self.decode(buffer)

    def encode(self, frame: Frame, /) -> Iterable[Buffer]:
        """The frame's bytes, in parts. Large ones are handed on without a copy, so they must not change any more."""
        raise NotImplementedError


class _DelimitedCodec(Codec[Frame]):
    """Frames that end with a newline. A line over the limit is passed over as it arrives."""

    _beside = 2

    def __init__(self, limit: int) -> None:
        if limit <= 0:
            raise ValueError(f"limit must be at least 1, not {limit}")
        self.limit = limit
        self._passes_over = False

    def _line(self, buffer: BytesMut) -> Any:
        """The next line, without its end."""
        end = buffer.find(b"\n", self.searched)
        if end < 0:
            if self._passes_over:
                buffer.advance(len(buffer))
                return MISSING
            self.searched = len(buffer)
            if self.searched <= self.limit + 1:  # one more, which may be the \r of its end
                return MISSING
            self.searched = 0
            buffer.advance(len(buffer))
            self._passes_over = True
            raise self._too_large(None)
        self.searched = 0
        line = buffer.get_bytes(end)
        buffer.advance(1)
        if self._passes_over:
            self._passes_over = False
            return self._line(buffer)
        if end and line[end - 1] == _CR:
            line = line[: end - 1]
        if end > self.limit and len(line) > self.limit:
            raise self._too_large(len(line))
        return line

    def _last_line(self, buffer: BytesMut) -> Any:
        """What stands behind the last newline, once nothing more comes."""
        line = self._line(buffer)
        if line is MISSING and buffer:
            if len(buffer) > self.limit:
                size = len(buffer)
                buffer.advance(len(buffer))
                raise self._too_large(size)
            line = buffer.get_bytes(len(buffer))
        return line

    def _too_large(self, size: int | None) -> FrameTooLarge:
        length = f"over {self.limit}" if size is None else size
        return FrameTooLarge(f"a line of {length} bytes, {self.limit} allowed", size=size, limit=self.limit)


class LinesCodec(_DelimitedCodec[Any]):
    r"""Lines: a frame is what comes before `\n` or `\r\n`; Bytes, or str where an encoding is given.

    `limit` is in bytes, of the line without its end. A longer line is FrameTooLarge and is passed over, as is one that
    cannot be decoded (UnicodeDecodeError): the next recv() gives the line behind it. Bytes behind the last line's end
    are a line too. `encoding` must be one in which the byte of `\n` is nothing else, as in UTF-8 and ISO 8859.

    Complexity  Each byte is searched once; a line is a view, or decoded from one.
    Threads     One at a time.
    Blocks      Never.
    Calls you   Never.
    Errors      FrameTooLarge, UnicodeDecodeError; ValueError for a line that is to be sent and has a newline in it.

    >>> codec = LinesCodec(encoding="utf-8")
    >>> codec.decode(BytesMut(b"one\r\ntwo"))
    'one'
    """

    def __init__(self, *, limit: int = 64 << 10, encoding: str | None = None, errors: str = "strict") -> None:
        super().__init__(limit)
        if encoding is not None and "\n".encode(encoding) != b"\n":
            raise ValueError(f"lines cannot be told apart in {encoding}")
        self.encoding = encoding
        self.errors = errors

    def decode(self, buffer: BytesMut, /) -> Any:
        """The next line, or MISSING."""
        line = self._line(buffer)
        return line if self.encoding is None or line is MISSING else line.decode(self.encoding, self.errors)

    def decode_eof(self, buffer: BytesMut, /) -> Any:
        """The next line, though it may lack its end, or MISSING."""
        line = self._last_line(buffer)
        return line if self.encoding is None or line is MISSING else line.decode(self.encoding, self.errors)

    def encode(self, frame: str | Buffer, /) -> Iterable[Buffer]:
        """The line and its end. ValueError for one with a newline in it."""
        line = frame.encode(self.encoding or "utf-8", self.errors) if isinstance(frame, str) else _plain(frame)
        if line.find(b"\n") >= 0:
            raise ValueError("a line cannot have a newline in it")
        if len(line) > self.limit:
            raise self._too_large(len(line))
        return (b"%b\n" % line,) if len(line) < _JOINED_BELOW else (line, b"\n")


class JsonLinesCodec(_DelimitedCodec[Any]):
    """JSON lines: a frame is any value that JSON has, on a line of its own; by orjson where that is installed.

    `limit` is in bytes, of a line. A longer one is FrameTooLarge and is passed over, as is one that is no JSON
    (json.JSONDecodeError): the next recv() gives the value behind it. Blank lines are nothing. What cannot be said in
    JSON raises TypeError or ValueError in send(), and nothing is written (a NaN: orjson says null, json ValueError).

    Complexity  Each byte is searched once, copied once, and parsed.
    Threads     One at a time.
    Blocks      Never.
    Calls you   What the parser calls.
    Errors      FrameTooLarge, json.JSONDecodeError; TypeError or ValueError for what JSON cannot say.

    >>> b"".join(JsonLinesCodec().encode({"a": [1, None]}))
    b'{"a":[1,null]}\\n'
    """

    def __init__(self, *, limit: int = 8 << 20) -> None:
        super().__init__(limit)

    def _value(self, next_line: Callable[[BytesMut], Any], buffer: BytesMut) -> Any:
        while (line := next_line(buffer)) is not MISSING:
            try:
                return _loads(line)
            except ValueError:
                if line.strip():
                    raise
        return MISSING

    def decode(self, buffer: BytesMut, /) -> Any:
        """The next value, or MISSING."""
        return self._value(self._line, buffer)

    def decode_eof(self, buffer: BytesMut, /) -> Any:
        """The next value, though its line may lack its end, or MISSING."""
        return self._value(self._last_line, buffer)

    def encode(self, frame: Any, /) -> Iterable[Buffer]:
        """The value's line."""
        line = _dumps(frame)
        if len(line) - 1 > self.limit:
            raise self._too_large(len(line) - 1)
        return (line,)


class LengthDelimitedCodec(Codec[Any]):
    """Frames behind their length, an unsigned number of 1 to 8 bytes; a frame is a Bytes, the length not in it.

    `includes_length`: the number counts its own bytes as well. `limit` is in bytes, of what follows the number. A
    longer frame is FrameTooLarge and is passed over as it arrives. With `includes_length`, a number that is smaller
    than its own size is ValueError, at every later recv() too: nobody knows where the next frame begins.

    Complexity  O(1) for a frame that has come; it is a view.
    Threads     One at a time.
    Blocks      Never.
    Calls you   Never.
    Errors      FrameTooLarge, also for what is to be sent and whose length does not fit in length_size bytes;
                ValueError.

    >>> codec = LengthDelimitedCodec(2)
    >>> b"".join(codec.encode(b"abc"))
    b'\\x00\\x03abc'
    >>> codec.decode(BytesMut(b"\\x00\\x03abc\\x00")).tobytes()
    b'abc'
    """

    _beside = 8

    def __init__(
        self,
        length_size: int = 4,
        byteorder: Literal["big", "little"] = "big",
        *,
        includes_length: bool = False,
        limit: int = 8 << 20,
    ) -> None:
        if not 1 <= length_size <= 8:
            raise ValueError(f"length_size must be 1 to 8, not {length_size}")
        if byteorder not in ("big", "little"):
            raise ValueError(f"byteorder must be 'big' or 'little', not {byteorder!r}")
        if limit < 0:
            raise ValueError(f"limit must not be negative, not {limit}")
        self.length_size = length_size
        self.byteorder: Final = byteorder
        self.includes_length = includes_length
        self.limit = limit
        self._get = BytesMut.get_uint if byteorder == "big" else BytesMut.get_uint_le
        self._counted = length_size if includes_length else 0
        self._most = min(limit, (1 << 8 * length_size) - 1 - self._counted, sys.maxsize)
        self._size: int | None = None  # of the payload that comes next, once its number has been taken
        self._surplus = 0  # the bytes of a frame over the limit that have not come yet

    def decode(self, buffer: BytesMut, /) -> Any:
        """The next frame, or MISSING."""
        if self._surplus and not self._passed_over(buffer):
            return MISSING
        size = self._size
        if size is None:
            if len(buffer) < self.length_size:
                self.need = self.length_size - len(buffer)
                return MISSING
            size = self._get(buffer, self.length_size) - self._counted
            if size > self.limit:
                self._surplus = size
                self._passed_over(buffer)
                raise FrameTooLarge(size=size, limit=self.limit)
        if (lacking := size - len(buffer)) > 0:
            self._size = size
            self.need = lacking
            return MISSING
        if size < 0:
            self._size = size  # for good
            raise ValueError(f"a length of {size + self._counted} that is to count its own {self._counted} bytes")
        self._size = None
        return buffer.get_bytes(size)

    def decode_eof(self, buffer: BytesMut, /) -> Any:
        """The next frame, or MISSING; then a number without its frame is back in the buffer: it was cut as well."""
        frame = self.decode(buffer)
        if frame is MISSING and self._surplus:
            lacking, self._surplus = self._surplus, 0
            raise asyncio.IncompleteReadError(b"", lacking)
        if frame is MISSING and self._size is not None:
            came = buffer.split()
            buffer.put(self._number(self._size))
            buffer.put(came)
            self._size = None
        return frame

    def _passed_over(self, buffer: BytesMut) -> bool:
        """Drops what has come of a frame over the limit; whether that was all of it."""
        came = min(self._surplus, len(buffer))
        buffer.advance(came)
        self._surplus -= came
        self.need = 0
        return not self._surplus

    def _number(self, size: int) -> bytes:
        return (size + self._counted).to_bytes(self.length_size, self.byteorder)

    def encode(self, frame: Buffer, /) -> Iterable[Buffer]:
        """The length, and the frame."""
        payload = _plain(frame)
        size = len(payload)
        if size > self._most:
            raise FrameTooLarge(size=size, limit=self._most)
        number = self._number(size)
        return (number + payload,) if size < _JOINED_BELOW else (number, payload)


def _plain(data: Buffer) -> Any:
    """The same bytes as something that has len(), find(), and + behind bytes."""
    return data if isinstance(data, (bytes, Bytes)) else Bytes(data)


try:
    import orjson
except ImportError:

    def _no_json(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    # json.loads() and json.dumps() with options of their own would make these two anew for each value. Threads may use
    # them at once, as they use json's own: what a call remembers is under the GIL or, since 3.13, the call's.
    _PARSER: Final = json.JSONDecoder(parse_constant=_no_json)
    _WRITER: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))

    def _loads(line: Bytes) -> Any:
        try:
            return _PARSER.decode(line.decode())
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), line.decode(errors="replace"), 0) from None

    def _dumps(value: Any) -> bytes:
        try:
            return (_WRITER.encode(value) + "\n").encode()
        except RecursionError as error:
            raise ValueError(str(error)) from None

else:

    def _loads(line: Bytes) -> Any:
        return orjson.loads(line.tobytes())

    def _dumps(value: Any) -> bytes:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
