"""Random numbers and random bytes, written, cut into pieces anywhere, and read: as struct and a plain model do it.

With --long each runs for about a minute.
"""

import itertools
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.race import outcome

PLAIN = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q"}
FORMATS = {name: ">" + code for name, code in (PLAIN | {"f32": "f", "f64": "d"}).items()}
FORMATS |= {f"{name}_le": "<" + code[1] for name, code in FORMATS.items() if not name.endswith("8")}
WIDE = {"uint": ("big", False), "int": ("big", True), "uint_le": ("little", False), "int_le": ("little", True)}
PEEKED = ["u8", "u16", "u32", "u64"]


def leb128(number):
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def of_format(code):
    """What has that format, the least and the greatest of it among them."""
    if code[1] in "fd":
        return st.floats(width=32 if code[1] == "f" else 64, allow_nan=False)
    size = struct.calcsize(code)
    bits = 8 * size
    return st.integers(0, 2**bits - 1) if code[1].isupper() else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def wide(name, n):
    bits = 8 * n
    signed = WIDE[name][1]
    return st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)


# What is written: the name of the family, its arguments, and the bytes that it should make.
written = st.one_of(
    *(of_format(code).map(lambda v, n=name, c=code: (n, (v,), struct.pack(c, v))) for name, code in FORMATS.items()),
    *(
        wide(name, n).map(lambda v, name=name, n=n: (name, (v, n), v.to_bytes(n, WIDE[name][0], signed=WIDE[name][1])))
        for name in WIDE
        for n in range(1, 17)
    ),
    st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 64).map(lambda bits: max(2**bits - 1, 0))).map(
        lambda v: ("varint", (v,), leb128(v))
    ),
    st.binary(max_size=20).map(lambda data: ("bytes", (data,), data)),
)
cuts = st.lists(st.integers(0, 120), max_size=12)
kinds = st.sampled_from([bytes, bytearray, Bytes, lambda data: Bytes(b"<" + data + b">")[1:-1]])


def pieces_of(data, cuts, kind=bytes):
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [kind(data[start:end]) for start, end in itertools.pairwise(edges)]


def fuzzed(examples, *arguments, **strategies):
    """A test of random arguments: so many of them, and twenty times as many with --long."""

    def decorate(function):
        def test(request):
            more = 20 if request.config.option.long else 1
            limit = settings(
                max_examples=examples * more, deadline=None, suppress_health_check=list(HealthCheck), database=None
            )
            limit(given(*arguments, **strategies)(function))()

        test.__doc__ = function.__doc__
        return pytest.mark.timeout(3600)(test)

    return decorate


def test_every_family_is_fuzzed():
    names = {name for cls in (Reader, BytesMut) for name in dir(cls)}
    families = [*FORMATS, *WIDE, "varint", "bytes", "until"]
    assert {name for name in names if name.startswith("get_")} == {f"get_{family}" for family in families}
    assert {name for name in names if name.startswith("try_get_")} == {f"try_get_{family}" for family in families}
    assert {name for name in names if name.startswith("put_")} == {
        f"put_{family}" for family in families if family != "until"
    }
    assert {name for name in names if name.startswith("peek_")} == {f"peek_{name}" for name in PEEKED}


@fuzzed(
    600, items=st.lists(written, max_size=15), cuts=cuts, kind=kinds, tries=st.booleans(), capacity=st.integers(0, 40)
)
def test_what_is_written_is_read(items, cuts, kind, tries, capacity):
    """Every family in any order: as struct writes it, and read back from one buffer and from any pieces."""
    buffer = BytesMut(capacity)
    for name, args, _ in items:
        if name == "bytes":
            buffer.put(kind(*args))
        else:
            getattr(buffer, f"put_{name}")(*args)
    data = b"".join(part for _, _, part in items)
    assert buffer == data
    reader = Reader(*pieces_of(data, cuts, kind))
    at = 0
    for name, args, part in items:
        for source in (buffer, reader):
            read = getattr(source, f"try_get_{name}" if tries else f"get_{name}")
            if name in PEEKED:
                assert getattr(source, f"peek_{name}")() == args[0]
            if name == "bytes":
                taken = read(len(part))
                assert (type(taken), taken) == (Bytes, part)
            else:
                answer = read(*args[1:])
                assert (answer, type(answer)) == (args[0], type(args[0]))
        at += len(part)
        assert (reader.position, reader.remaining, len(buffer)) == (at, len(data) - at, len(data) - at)
    assert reader.read() == b""


class Model:
    """Reading as it is promised: from plain bytes, by an index."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return self.data[self.at :]

    def take(self, n):
        if n > len(self.left()):
            raise NotEnoughBytes(requested=n, available=len(self.left()))
        self.at += n
        return self.data[self.at - n : self.at]

    def read(self, name, *args):
        if name in FORMATS:
            return struct.unpack(FORMATS[name], self.take(struct.calcsize(FORMATS[name])))[0]
        if name in WIDE:
            order, signed = WIDE[name]
            return int.from_bytes(self.take(*args), order, signed=signed)
        if name == "bytes":
            return self.take(*args)
        if name == "until":
            at = self.left().find(*args)
            return self.take(at + len(*args) if at >= 0 else len(self.left()) + 1)
        left = self.left()[:10]
        number = 0
        for n, byte in enumerate(left):
            number |= (byte & 127) << 7 * n
            if byte < 128:
                if number >= 2**64 or (n and not byte):
                    raise ValueError
                self.at += n + 1
                return number
        if len(left) == 10:
            raise ValueError
        return self.take(len(self.left()) + 1)

    def tried(self, name, *args):
        try:
            return self.read(name, *args)
        except NotEnoughBytes:
            return None

    def peek(self, name):
        at = self.at
        try:
            return self.read(name)
        finally:
            self.at = at


reads = st.one_of(
    st.sampled_from([*FORMATS, "varint"]).map(lambda name: (name,)),
    st.tuples(st.sampled_from(list(WIDE)), st.integers(1, 16)),
    st.tuples(st.just("bytes"), st.integers(0, 25)),
    st.tuples(st.just("until"), st.binary(min_size=1, max_size=4)),
)
random_bytes = st.one_of(
    st.binary(max_size=100),
    st.lists(st.sampled_from([b"\x80", b"\xff", b"\x00", b"\x01", b"\n", b"ab"]), max_size=60).map(b"".join),
)
verbs = st.sampled_from(["read", "tried", "peek"])


@fuzzed(800, data=random_bytes, cuts=cuts, kind=kinds, steps=st.lists(st.tuples(verbs, reads), max_size=25))
def test_any_reads_of_any_bytes(data, cuts, kind, steps):
    """Whatever the bytes are, each read answers as the model does, and an error leaves the cursor."""
    buffer, reader, model = BytesMut(data), Reader(*pieces_of(data, cuts, kind)), Model(data)
    for verb, (name, *args) in steps:
        if verb == "peek" and name not in PEEKED:
            verb = "read"
        expected = outcome(getattr(model, verb), NotEnoughBytes, ValueError)(name, *args)
        called = {"read": "get_", "tried": "try_get_", "peek": "peek_"}[verb] + name
        for source in (buffer, reader):
            answer = outcome(getattr(source, called), NotEnoughBytes, ValueError)(*args)
            assert answer == expected or (answer != answer and expected != expected), (called, args)
        assert (reader.position, bytes(buffer)) == (model.at, model.left())
    assert b"".join(reader.chunks()) == model.left()


jumps = st.one_of(
    st.tuples(st.just("seek"), st.integers(-5, 110), st.integers(0, 2)),
    st.tuples(st.just("advance"), st.integers(0, 30)),
    st.tuples(st.just("take"), st.integers(0, 40)),
    st.tuples(st.just("copy_to"), st.integers(0, 40)),
    st.tuples(st.just("readinto"), st.integers(0, 40)),
    st.tuples(st.sampled_from(["read", "readline"]), st.integers(-1, 30)),
)


@fuzzed(500, data=random_bytes, cuts=cuts, kind=kinds, steps=st.lists(jumps, max_size=20))
def test_any_walk_through_any_bytes(data, cuts, kind, steps):
    reader, at = Reader(*pieces_of(data, cuts, kind)), 0
    for name, *args in steps:
        left = data[at:]
        if name == "seek":
            offset, whence = args
            place = (0, at, len(data))[whence] + offset
            if place < 0:
                with pytest.raises(ValueError):
                    reader.seek(offset, whence)
            else:
                at = min(place, len(data))
                assert reader.seek(offset, whence) == at
        elif name in ("read", "readline"):
            size = args[0] if args[0] >= 0 else len(left)
            line = left.find(b"\n") + 1
            expected = left[: min(size, line) if name == "readline" and line else size]
            assert getattr(reader, name)(*args) == expected
            at += len(expected)
        else:
            (n,) = args
            target = bytearray(n)
            call = {
                "advance": lambda n=n: reader.advance(n),
                "take": lambda n=n: reader.take(n).read(),
                "copy_to": lambda target=target: reader.copy_to(target),
                "readinto": lambda target=target: reader.readinto(target),
            }[name]
            if n > len(left) and name != "readinto":
                with pytest.raises(NotEnoughBytes) as caught:
                    call()
                assert (caught.value.requested, caught.value.available) == (n, len(left))
                assert bytes(target) == bytes(n)
            else:
                n = min(n, len(left))
                answer = call()
                assert answer == {"advance": None, "take": left[:n]}.get(name, n)
                if name in ("copy_to", "readinto"):
                    assert target[:n] == left[:n]
                at += n
        assert (reader.position, reader.remaining) == (at, len(data) - at)
    assert reader.read() == data[at:]


# --- parsers ---


def lines_of(buffer):
    while (line := buffer.try_get_until(b"\r\n")) is not None:
        yield bytes(line[:-2])


def frames_of(buffer):
    while len(buffer) >= 2 and len(buffer) >= 2 + buffer.peek_u16():
        yield bytes(buffer.get_bytes(buffer.get_u16()))


def varint_frames_of(buffer):
    while True:
        looked = BytesMut(buffer[:11])
        size = looked.try_get_varint()
        if size is None or len(looked) + len(buffer) - len(buffer[:11]) < size:
            return
        assert buffer.get_varint() == size
        yield bytes(buffer.split_to(size).freeze())


PARSERS = {
    "lines": (lines_of, lambda frame: frame.replace(b"\r\n", b"") + b"\r\n"),
    "lengths": (frames_of, lambda frame: len(frame).to_bytes(2, "big") + frame),
    "varints": (varint_frames_of, lambda frame: leb128(len(frame)) + frame),
}


def fed(parser, stream, cuts, ways):
    """What the parser finds, where the stream comes in pieces, by put() or into spare()."""
    buffer, frames = BytesMut(), []
    for n, piece in enumerate(pieces_of(stream, cuts)):
        if ways >> n % 8 & 1:
            view = buffer.spare(len(piece))
            view[: len(piece)] = piece
            buffer.commit(len(piece))
        else:
            buffer.put(piece)
            view = None
        frames += PARSERS[parser][0](buffer)  # while the view is still there
        if ways >> n % 7 & 1:
            buffer.try_reclaim(50)
        del view
    return frames, bytes(buffer)


@fuzzed(
    400,
    parser=st.sampled_from(list(PARSERS)),
    frames=st.lists(st.binary(max_size=200), max_size=8),
    cuts=st.lists(st.integers(0, 1200), max_size=20),
    ways=st.integers(0, 255),
)
def test_a_parser_finds_the_frames_wherever_the_stream_is_cut(parser, frames, cuts, ways):
    stream = b"".join(map(PARSERS[parser][1], frames))
    if parser == "lines":
        frames = stream.split(b"\r\n")[:-1]
    assert fed(parser, stream, cuts, ways) == (frames, b"")


@fuzzed(
    400,
    parser=st.sampled_from(list(PARSERS)),
    stream=st.one_of(random_bytes, st.binary(max_size=300)),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    ways=st.integers(0, 255),
)
def test_a_parser_of_garbage_finds_the_same_however_it_is_cut(parser, stream, cuts, ways):
    """A varint that is too long is refused; all else is frames and a rest."""
    whole = outcome(fed, ValueError)(parser, stream, [], 0)
    assert outcome(fed, ValueError)(parser, stream, cuts, ways) == whole
    assert whole is not ValueError or parser == "varints"
