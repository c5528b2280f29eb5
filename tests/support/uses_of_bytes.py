"""How two threads use Bytes, BytesMut and Reader."""

import random
from collections.abc import Callable
from typing import Any

import ferrule
from ferrule import NotEnoughBytes

from .two_threads import Run, Use

__all__ = ["BYTES_USES"]

BYTES = Use(
    make=lambda: ferrule.Bytes.from_owner(bytearray(b"hello, world\n" * 50)),
    calls={
        "from_owner": lambda b, _: b.from_owner(b),
        "slice": lambda b, _: b.slice(3, 9).slice(1, 2, copy_below=2),
        "slice_ref": lambda b, _: b.slice_ref(memoryview(b)[2:5]),
        "split_at": lambda b, _: b.split_at(7),
        "retained": lambda b, _: b[5:].retained,
        "compact": lambda b, _: b[2:6].compact(),
        "reader": lambda b, _: b.reader().read(),
        "find": lambda b, _: b.find(b"world", 7),
        "rfind": lambda b, _: b.rfind(b"hello"),
        "index": lambda b, _: b.index(111),
        "rindex": lambda b, _: b.rindex(b", "),
        "count": lambda b, _: b.count(b"l"),
        "startswith": lambda b, _: b.startswith((b"x", b"hello")),
        "endswith": lambda b, _: b.endswith(b"\n"),
        "split": lambda b, _: [part[1:] for part in b.split(b"l")],
        "rsplit": lambda b, _: b.rsplit(None, 5),
        "partition": lambda b, _: b.partition(b","),
        "rpartition": lambda b, _: b.rpartition(b","),
        "strip": lambda b, _: b.strip(b"h\n"),
        "lstrip": lambda b, _: b.lstrip(b"he"),
        "rstrip": lambda b, _: b.rstrip(),
        "splitlines": lambda b, _: b.splitlines(True),
        "join": lambda b, _: b[:2].join([b, b[:5]]),
        "replace": lambda b, _: b.replace(b"o", b"0"),
        "hex": lambda b, _: b.hex(":"),
        "decode": lambda b, _: b.decode(),
        "tobytes": lambda b, _: (b.tobytes(), bytes(b)),
        "isascii": lambda b, _: b.isascii(),
        "lower": lambda b, _: b.lower(),
        "upper": lambda b, _: b.upper(),
        "operators": lambda b, _: (
            b + b,
            b * 2,
            b == b[:],
            b < b[1:],
            b"o" in b,
            list(b[:9]),
            hash(b[:0]),
            repr(b[:3]),
        ),
    },
    errors=(),
    rest=lambda b: b[:5] == b"hello",
)

READS = [name for name in dir(ferrule.Reader) if name.startswith(("get_", "try_get_", "peek_"))]
READ_ARGS = {"uint": (3,), "int": (5,), "uint_le": (9,), "int_le": (2,), "bytes": (4,), "until": (b"o",)}


def reading(name: str) -> Callable[[Any, Run], Any]:
    """A call of one of the methods that Reader and BytesMut have in common."""
    args = READ_ARGS.get(name.removeprefix("try_").removeprefix("get_"), ())
    return lambda source, _: getattr(source, name)(*args)


READING = {name: reading(name) for name in READS} | {"advance": lambda source, _: source.advance(3)}
WRITES = [name for name in dir(ferrule.BytesMut) if name.startswith("put_")]
WRITE_ARGS = {"put_bytes": (7, 5), **{f"put_{kind}": (5, 3) for kind in ("uint", "int", "uint_le", "int_le")}}


def writing(name: str) -> Callable[[Any, Run], Any]:
    return lambda buffer, _: getattr(buffer, name)(*WRITE_ARGS.get(name, (7,)))


BYTES_MUT = Use(
    make=lambda: ferrule.BytesMut(b"hello, world\n" * 100),
    calls=READING
    | {name: writing(name) for name in WRITES}
    | {
        "capacity": lambda b, _: (b.capacity, len(b)),
        "reserve": lambda b, _: b.reserve(100),
        "try_reclaim": lambda b, _: b.try_reclaim(100),
        "resize": lambda b, _: b.resize(900, 1),
        "truncate": lambda b, _: b.truncate(800),
        "clear": lambda b, _: (b.clear(), b.put(b"hello, world\n" * 90)),
        "extend": lambda b, _: (b.extend(b"hello"), b.extend([1, 2]), b.__iadd__(b"hello")),
        "append": lambda b, _: b.append(7),
        "extend_from_within": lambda b, _: b.extend_from_within(2, 20),
        "split_off": lambda b, _: b.unsplit(b.split_off(5)),
        "split_to": lambda b, _: b.split_to(5).freeze()[2:],
        "split": lambda b, _: b.unsplit(b.split()),
        "unsplit": lambda b, _: b.unsplit(ferrule.BytesMut(b"hello" * 20)),
        "try_unsplit": lambda b, _: b.try_unsplit(b.split_off(len(b) // 2)),
        "freeze": lambda b, _: b.put(b.freeze()),
        "spare": lambda b, _: b.spare(10).release(),
        "commit": lambda b, _: b.commit(2),
        "find": lambda b, _: (b.find(b"world", 3), b"o" in b),
        "put": lambda b, _: b.put(b"hello, world\n"),
        "writer": lambda b, _: b.writer().write(b"hello"),
        "items": lambda b, _: (b[0], b.__setitem__(0, 1), b[2:5], b.__setitem__(slice(1, 3), b"ab"), b[::-2]),
        "values": lambda b, _: (bytes(b), b == b"hello", b == ferrule.BytesMut(b), repr(b), list(b)),
        "view": lambda b, _: bytes(memoryview(b)[:3]),
    },
    errors=(NotEnoughBytes, BufferError, ValueError, IndexError),
    rest=lambda b: ferrule.BytesMut(b.freeze()[:]).reserve(1),
)

READER = Use(
    make=lambda: ferrule.Reader(b"hello, world\n" * 20, bytearray(b"hel"), b"", b"lo, world\n" * 20),
    calls=READING
    | {
        "remaining": lambda r, _: r.remaining,
        "position": lambda r, _: r.position,
        "copy_to": lambda r, _: r.copy_to(bytearray(5)),
        "take": lambda r, _: r.take(20).read(),
        "chunks": lambda r, _: r.chunks(),
        "read": lambda r, _: r.read(9),
        "read1": lambda r, _: r.read1(9),
        "readinto": lambda r, _: r.readinto(bytearray(4)),
        "readinto1": lambda r, _: r.readinto1(bytearray(4)),
        "readline": lambda r, _: r.readline(),
        "readlines": lambda r, _: r.readlines(20),
        "seek": lambda r, _: (r.seek(5), r.seek(-30, 2)),
        "tell": lambda r, _: r.tell(),
        "readable": lambda r, _: r.readable(),
        "writable": lambda r, _: r.writable(),
        "seekable": lambda r, _: r.seekable(),
        "isatty": lambda r, _: r.isatty(),
        "flush": lambda r, _: r.flush(),
        "closed": lambda r, _: r.closed,
        "close": lambda r, _: random.random() < 0.05 and r.close(),
        "detach": lambda r, _: r.detach(),
        "fileno": lambda r, _: r.fileno(),
        "write": lambda r, _: r.write(b"a"),
        "writelines": lambda r, _: r.writelines([b"a"]),
        "truncate": lambda r, _: r.truncate(),
        "next": lambda r, _: next(r, None),
        "repr": lambda r, _: repr(r),
    },
    errors=(NotEnoughBytes, ValueError),
    rest=lambda r: r.close(),
)

WRITER = Use(
    make=lambda: ferrule.BytesMut().writer(),
    calls={
        "write": lambda w, _: w.write(b"hello"),
        "writelines": lambda w, _: w.writelines([b"hello", b"world"]),
        "closed": lambda w, _: (w.closed, w.writable(), w.flush()),
    },
    errors=(ValueError,),
    rest=lambda w: w.close(),
)

BYTES_USES = {
    "ferrule.Bytes": BYTES,
    "ferrule.BytesMut": BYTES_MUT,
    "ferrule.Reader": READER,
    "what BytesMut.writer() gives": WRITER,
}
