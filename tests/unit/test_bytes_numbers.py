"""Numbers of every width and order: get_, try_get_ and peek_ on every kind of source, put_, and what they refuse."""

import math
import struct

import pytest

from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader

FORMATS = {
    "u8": "B",
    "i8": "b",
    **{
        f"{kind}{8 * width}": code
        for width, codes in ((2, "Hh"), (4, "Ii"), (8, "Qq"))
        for kind, code in zip("ui", codes, strict=True)
    },
    "f32": "f",
    "f64": "d",
}
FORMATS = {name: ">" + code for name, code in FORMATS.items()} | {
    f"{name}_le": "<" + code for name, code in FORMATS.items() if name not in {"u8", "i8"}
}
EXAMPLES = [bytes(8), b"\xff" * 8, b"\x80" + bytes(7), bytes(range(1, 9)), bytes(range(255, 247, -1)), b"\x7f\xf0" * 4]


def in_pieces(data, size):
    """A Reader of as many buffers as it takes."""
    return Reader(*(data[start : start + size] for start in range(0, len(data), size)))


def in_the_middle(data):
    buffer = BytesMut(b"<<" + data + b">>")
    buffer.advance(2)
    buffer.truncate(len(data))
    return buffer


SOURCES = {
    "one buffer": Reader,
    "an owner": lambda data: Reader(bytearray(data)),
    "a slice": lambda data: Bytes(b"<" + data + b">")[1:-1].reader(),
    "pieces of 1": lambda data: in_pieces(data, 1),
    "pieces of 3": lambda data: in_pieces(data, 3),
    "pieces of 5": lambda data: in_pieces(data, 5),
    "a BytesMut": BytesMut,
    "the middle of a BytesMut": in_the_middle,
}
source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
number = pytest.mark.parametrize("name", FORMATS)


def left(source):
    return source.remaining if isinstance(source, Reader) else len(source)


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


@source
@number
def test_get_takes_a_number(name, make):
    size = struct.calcsize(FORMATS[name])
    for example in EXAMPLES:
        (expected,) = struct.unpack(FORMATS[name], example[:size])
        source = make(example[:size] * 3)
        assert same(getattr(source, f"get_{name}")(), expected)
        assert left(source) == 2 * size
        assert same(getattr(source, f"try_get_{name}")(), expected)
        assert left(source) == size
        if name in {"u8", "u16", "u32", "u64"}:
            assert getattr(source, f"peek_{name}")() == expected
            assert left(source) == size
        assert same(getattr(source, f"get_{name}")(), expected)
        assert left(source) == 0


@source
@number
def test_with_too_few_bytes_the_cursor_stays(name, make):
    size = struct.calcsize(FORMATS[name])
    for length in range(size):
        source = make(bytes(range(length)))
        for verb in ("get_", "peek_"):
            if hasattr(source, verb + name):
                with pytest.raises(NotEnoughBytes) as caught:
                    getattr(source, verb + name)()
                assert (caught.value.requested, caught.value.available) == (size, length)
        assert getattr(source, f"try_get_{name}")() is None
        assert source.get_bytes(length) == bytes(range(length))


@number
def test_put_appends_a_number(name):
    size = struct.calcsize(FORMATS[name])
    for example in EXAMPLES:
        (value,) = struct.unpack(FORMATS[name], example[:size])
        buffer = BytesMut(b"<")
        getattr(buffer, f"put_{name}")(value)
        assert buffer[1:] == struct.pack(FORMATS[name], value)
        assert same(getattr(BytesMut(buffer[1:]), f"get_{name}")(), value)


@pytest.mark.parametrize("name", [name for name in FORMATS if "f" not in name])
def test_put_refuses_what_does_not_fit(name):
    bits = 8 * struct.calcsize(FORMATS[name])
    least, most = (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    buffer = BytesMut()
    put = getattr(buffer, f"put_{name}")
    put(least)
    put(most)
    for value in (least - 1, most + 1, 2**200, -(2**200)):
        with pytest.raises(OverflowError):
            put(value)
    for value in (1.0, "1", None, b"1"):
        with pytest.raises(TypeError):
            put(value)
    assert len(buffer) == 2 * bits // 8
    put(True)


@pytest.mark.parametrize("name", [name for name in FORMATS if "f" in name])
def test_put_of_floats(name):
    buffer = BytesMut()
    put = getattr(buffer, f"put_{name}")
    for value in (0.0, -0.0, 1, 1.5, math.inf, -math.inf, 1e-50):
        put(value)
        assert buffer.split() == struct.pack(FORMATS[name], value)
    for value in ("1", None, b"1", 1j):
        with pytest.raises(TypeError):
            put(value)
    with pytest.raises(OverflowError):
        put(10**400)
    if "32" in name:
        for value in (1e39, -1e300, 3.4028235677973366e38):
            with pytest.raises(OverflowError):
                put(value)
        put(3.4028235677973362e38)
        assert buffer.split() == struct.pack(FORMATS[name], 3.4028235677973362e38)
    assert buffer == b""


@source
@pytest.mark.parametrize("n", range(1, 17))
def test_integers_of_any_width(n, make):
    for example in (bytes(n), b"\xff" * n, b"\x80" * n, bytes(range(1, n + 1)), bytes(range(255, 255 - n, -1))):
        for suffix, order in (("", "big"), ("_le", "little")):
            for kind, signed in (("uint", False), ("int", True)):
                source = make(example * 2)
                expected = int.from_bytes(example, order, signed=signed)
                assert getattr(source, f"get_{kind}{suffix}")(n) == expected
                assert getattr(source, f"try_get_{kind}{suffix}")(n) == expected
                assert getattr(source, f"try_get_{kind}{suffix}")(n) is None
                with pytest.raises(NotEnoughBytes):
                    getattr(source, f"get_{kind}{suffix}")(n)
                buffer = BytesMut()
                getattr(buffer, f"put_{kind}{suffix}")(expected, n)
                assert buffer == example


@pytest.mark.parametrize("kind", ["uint", "int", "uint_le", "int_le"])
def test_integers_of_no_such_width(kind):
    buffer = BytesMut(bytes(20))
    for n in (0, -1, 17, 1000):
        for verb in ("get_", "try_get_"):
            with pytest.raises(ValueError):
                getattr(buffer, verb + kind)(n)
        with pytest.raises(ValueError):
            getattr(buffer, f"put_{kind}")(0, n)
    for n in (1, 8, 16):
        for value in (2 ** (8 * n), -(2 ** (8 * n)), *([-1] if kind.startswith("u") else [2 ** (8 * n - 1)])):
            with pytest.raises(OverflowError):
                getattr(buffer, f"put_{kind}")(value, n)
    with pytest.raises(TypeError):
        getattr(buffer, f"put_{kind}")(1.0, 3)
    assert buffer == bytes(20)


VARINTS = [0, 1, 127, 128, 255, 300, 16383, 16384, 2**32 - 1, 2**32, 2**56 - 1, 2**63 - 1, 2**63, 2**64 - 1]


def leb128(value):
    data = bytearray()
    while value >= 128:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


class TestVarint:
    @source
    @pytest.mark.parametrize("value", VARINTS)
    def test_there_and_back(self, value, make):
        buffer = BytesMut()
        buffer.put_varint(value)
        assert buffer == leb128(value)
        source = make(bytes(buffer) + b"rest" * 4)
        assert source.get_varint() == value
        assert source.get_bytes(16) == b"rest" * 4
        source = make(bytes(buffer) * 2)
        assert source.try_get_varint() == source.get_varint() == value
        assert left(source) == 0

    @source
    @pytest.mark.parametrize("value", VARINTS)
    def test_truncated_leaves_the_cursor(self, value, make):
        data = leb128(value)
        for length in range(len(data)):
            source = make(data[:length])
            assert source.try_get_varint() is None
            with pytest.raises(NotEnoughBytes) as caught:
                source.get_varint()
            assert caught.value.available == length
            assert left(source) == length

    @source
    @pytest.mark.parametrize(
        "data",
        [
            b"\x80\x00",
            b"\xff\x80\x00",
            b"\x81\x80\x80\x00",
            b"\xff" * 9 + b"\x02",
            b"\xff" * 9 + b"\x80",
            b"\x80" * 10,
            b"\x80" * 9 + b"\x00",
            b"\xff" * 20,
        ],
    )
    def test_over_long_is_refused_and_leaves_the_cursor(self, data, make):
        source = make(data)
        for read in (source.get_varint, source.try_get_varint):
            with pytest.raises(ValueError, match="longer"):
                read()
        assert left(source) == len(data)

    def test_put_refuses_what_does_not_fit(self):
        buffer = BytesMut()
        for value in (-1, 2**64, 2**200):
            with pytest.raises(OverflowError):
                buffer.put_varint(value)
        with pytest.raises(TypeError):
            buffer.put_varint(1.0)
        assert buffer == b""


class TestBytes:
    @source
    def test_get_bytes(self, make):
        for n in range(13):
            source = make(b"hello, world")
            taken = source.get_bytes(n)
            assert (type(taken), taken) == (Bytes, b"hello, world"[:n])
            assert source.try_get_bytes(12 - n) == b"hello, world"[n:]
            assert source.get_bytes(0) == b""
            assert source.try_get_bytes(1) is None

    @source
    def test_too_few_leave_the_cursor(self, make):
        source = make(b"hello")
        with pytest.raises(NotEnoughBytes) as caught:
            source.get_bytes(6)
        assert (caught.value.requested, caught.value.available) == (6, 5)
        assert source.try_get_bytes(6) is None
        with pytest.raises(ValueError):
            source.get_bytes(-1)
        with pytest.raises(NotEnoughBytes):
            source.advance(6)
        source.advance(2)
        assert source.get_bytes(3) == b"llo"

    @source
    @pytest.mark.parametrize("delimiter", [b"\n", b"\r\n", b"--end--", b"aab", b"x" * 30])
    def test_get_until(self, delimiter, make):
        for before in (b"", b"a", b"aa", b"line of text", b"x" * 29, b"\r", b"--en", b"aaa"):
            data = before + delimiter + b"rest" + delimiter
            end = data.index(delimiter) + len(delimiter)
            source = make(data)
            taken = source.get_until(delimiter)
            assert (type(taken), taken) == (Bytes, data[:end])
            assert source.try_get_until(bytearray(delimiter)) == data[end:]
            assert source.try_get_until(delimiter) is None

    @source
    def test_without_the_delimiter_the_cursor_stays(self, make):
        source = make(b"hello, world\r")
        assert source.try_get_until(b"\r\n") is None
        with pytest.raises(NotEnoughBytes) as caught:
            source.get_until(b"\r\n")
        assert (caught.value.requested, caught.value.available) == (14, 13)
        assert left(source) == 13
        for wrong in (b"", "a", None, 10):
            with pytest.raises((TypeError, ValueError)):
                source.get_until(wrong)

    def test_what_one_buffer_holds_is_shared(self):
        owner = bytearray(b"hello, world")
        reader = Reader(owner, b"rest")
        parts = [reader.get_bytes(5), reader.get_until(b" "), reader.get_bytes(5)]
        owner[0] = ord("j")
        assert parts == [b"jello", b", ", b"world"]
        assert {part.retained for part in parts} == {12}
        assert reader.get_bytes(4).retained == 4

    def test_what_two_buffers_hold_is_copied(self):
        owner = bytearray(b"hello")
        reader = Reader(owner, b"rest")
        part = reader.get_bytes(7)
        owner[0] = 0
        assert (part, part.retained) == (b"hellore", 7)

    def test_of_a_bytes_mut_they_are_frozen(self):
        buffer = BytesMut(b"hello, world")
        head = buffer.get_bytes(5)
        buffer[0] = ord(";")
        buffer.put(b"!" * 100)
        assert (head, head.retained) == (b"hello", 12)
        assert hash(head) == hash(b"hello")
        assert buffer[:7] == b"; world"
