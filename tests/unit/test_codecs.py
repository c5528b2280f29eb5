"""The codecs on a buffer alone: every split of the input, limits to the byte, what is passed over, what is refused."""

import array
import copy
import importlib.util
import json
import pickle
import sys

import pytest

from ferrule import MISSING, Bytes, BytesMut, FerruleError
from ferrule.aio.streams import Codec, FrameTooLarge, JsonLinesCodec, LengthDelimitedCodec, LinesCodec
from tests.support.framing import decoded, splits
from tests.support.leaks import in_subprocess
from tests.support.race import spawn

SIZES = range(1, 9)
ORDERS = ["big", "little"]


def encoded(codec, frame):
    return b"".join(codec.encode(frame))


@pytest.fixture(params=["orjson", "json"])
def json_lines(request, monkeypatch):
    """The module of JsonLinesCodec as it is with orjson, and as it is without."""
    if request.param == "orjson":
        pytest.importorskip("orjson")
    else:
        monkeypatch.setitem(sys.modules, "orjson", None)
    found = importlib.util.find_spec(JsonLinesCodec.__module__)
    spec = importlib.util.spec_from_file_location(f"{found.name}_with_{request.param}", found.origin)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


ALL = {
    "lines": LinesCodec,
    "text": lambda: LinesCodec(encoding="utf-8"),
    "length-delimited": lambda: LengthDelimitedCodec(2),
    "json": JsonLinesCodec,
}


# --- lines ---


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\r\n", [b""]),
        (b"a\nbc\n", [b"a", b"bc"]),
        (b"a\r\nbc\r\n", [b"a", b"bc"]),
        (b"\n\n\r\n", [b"", b"", b""]),
        (b"a\rb\r\r\n", [b"a\rb\r"]),  # only the last \r is of the end
        (b"a\nlast", [b"a", b"last"]),
        (b"a\nlast\r", [b"a", b"last\r"]),
        (b"\r", [b"\r"]),
        (b"\0\xff\n", [b"\0\xff"]),
    ],
)
def test_lines_in_every_split(stream, lines):
    for parts in splits(stream):
        assert decoded(LinesCodec(), parts) == (lines, b"")


def test_a_line_is_a_view_of_the_buffer():
    buffer = BytesMut(b"one\n" * 1000)
    line = LinesCodec().decode(buffer)
    assert type(line) is Bytes
    assert line.retained > len(line)


@pytest.mark.parametrize("codec", [LinesCodec(), LinesCodec(encoding="utf-8"), JsonLinesCodec()])
def test_a_line_that_has_not_all_come_stays_in_the_buffer(codec):
    buffer = BytesMut(b"123")
    assert codec.decode(buffer) is MISSING
    assert buffer == b"123"


def test_text_in_every_split():
    for parts in splits("grün\nüber\r\n語".encode()):
        assert decoded(LinesCodec(encoding="utf-8"), parts) == (["grün", "über", "語"], b"")


def test_a_line_that_cannot_be_decoded_is_gone_and_the_next_follows():
    for parts in splits(b"ab\n\xffc\nd\n\xfe"):
        codec = LinesCodec(encoding="utf-8")
        assert decoded(codec, parts) == (["ab", UnicodeDecodeError, "d", UnicodeDecodeError], b"")


def test_errors_says_what_becomes_of_what_cannot_be_decoded():
    codec = LinesCodec(encoding="ascii", errors="replace")
    assert decoded(codec, [b"a\xff\n"]) == (["a\ufffd"], b"")
    assert encoded(codec, "aü") == b"a?\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037", "utf-8-sig"])
def test_an_encoding_whose_newline_is_another_is_refused(encoding):
    with pytest.raises(ValueError):
        LinesCodec(encoding=encoding)


def test_an_unknown_encoding_is_refused():
    with pytest.raises(LookupError):
        LinesCodec(encoding="no-such-encoding")


@pytest.mark.parametrize(("size", "fits"), [(4, True), (5, True), (6, False), (7, False), (50, False)])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_limit_is_of_the_line_without_its_end(size, fits, end):
    line = b"x" * size
    for parts in splits(line + end + b"ok\n"):
        assert decoded(LinesCodec(limit=5), parts) == ([line if fits else FrameTooLarge, b"ok"], b"")


@pytest.mark.parametrize(("size", "fits"), [(4, True), (5, True), (6, False), (7, False), (50, False)])
def test_the_limit_is_of_a_last_line_too(size, fits):
    line = b"x" * size
    for parts in splits(b"ok\n" + line):
        assert decoded(LinesCodec(limit=5), parts) == ([b"ok", line if fits else FrameTooLarge], b"")


def test_several_lines_over_the_limit_are_each_passed_over():
    for parts in splits(b"123456\n1234567\r\n12\n123456789"):
        found, left = decoded(LinesCodec(limit=5), parts)
        assert (found, left) == ([FrameTooLarge, FrameTooLarge, b"12", FrameTooLarge], b"")


@pytest.mark.parametrize("codec", [LinesCodec(limit=100), JsonLinesCodec(limit=100)])
def test_a_line_over_the_limit_is_passed_over_as_it_arrives(codec):
    codec, buffer = copy.copy(codec), BytesMut()
    with pytest.raises(FrameTooLarge):
        for _ in range(20):
            buffer.put(b"1" * 20)
            assert codec.decode(buffer) is MISSING
    for _ in range(1000):
        buffer.put(b"1" * 20)
        assert codec.decode(buffer) is MISSING
        assert len(buffer) == 0
    buffer.put(b"\n22\n")
    assert codec.decode(buffer) in (b"22", 22)


def test_the_error_says_the_size_where_it_is_known():
    with pytest.raises(FrameTooLarge) as error:
        LinesCodec(limit=5).decode(BytesMut(b"123456\r\n"))
    assert (error.value.size, error.value.limit) == (6, 5)
    with pytest.raises(FrameTooLarge) as error:
        LinesCodec(limit=5).decode(BytesMut(b"12345678"))
    assert (error.value.size, error.value.limit) == (None, 5)


def test_a_line_is_searched_once():
    """Bytes that were there at the last call are not looked at again: a newline that appears there is not seen."""
    codec, buffer = LinesCodec(limit=1 << 20), BytesMut(b"x" * 1000)
    assert codec.decode(buffer) is MISSING
    buffer[500] = ord("\n")
    assert codec.decode(buffer) is MISSING
    buffer.put(b"\n")
    assert len(codec.decode(buffer)) == 1000


@pytest.mark.parametrize("limit", [0, -1])
@pytest.mark.parametrize("kind", [LinesCodec, JsonLinesCodec])
def test_a_limit_of_lines_is_at_least_one(kind, limit):
    with pytest.raises(ValueError, match="limit"):
        kind(limit=limit)


KINDS = [bytes, bytearray, memoryview, Bytes, BytesMut, lambda data: array.array("b", data)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 60_000])
def test_a_line_is_encoded_with_its_end(kind, size):
    assert encoded(LinesCodec(), kind(b"x" * size)) == b"x" * size + b"\n"


@pytest.mark.parametrize("codec", [LinesCodec(), LinesCodec(encoding="utf-8")])
def test_text_is_encoded_with_its_end(codec):
    assert encoded(codec, "grün") == "grün\n".encode()


@pytest.mark.parametrize("frame", [b"\n", b"a\nb", b"ab\n", "a\nb", Bytes(b"x" * 5000 + b"\n")])
def test_a_line_with_a_newline_in_it_is_refused(frame):
    with pytest.raises(ValueError, match="newline"):
        encoded(LinesCodec(), frame)


def test_text_that_the_encoding_does_not_have_is_refused():
    with pytest.raises(UnicodeEncodeError):
        encoded(LinesCodec(encoding="ascii"), "ü")


@pytest.mark.parametrize(("size", "fits"), [(4, True), (5, True), (6, False)])
def test_a_line_over_the_limit_is_not_encoded(size, fits):
    codec = LinesCodec(limit=5)
    if fits:
        assert encoded(codec, b"x" * size) == b"x" * size + b"\n"
    else:
        with pytest.raises(FrameTooLarge) as error:
            encoded(codec, b"x" * size)
        assert (error.value.size, error.value.limit) == (size, 5)


# --- length-delimited ---


def delimited(payload, size, order, includes):
    return (len(payload) + size * includes).to_bytes(size, order) + payload


@pytest.mark.parametrize("includes", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", SIZES)
def test_lengths_of_every_size_and_order_in_every_split(size, order, includes):
    frames = [b"", b"a", b"bcdef"]
    stream = b"".join(delimited(frame, size, order, includes) for frame in frames)
    for parts in splits(stream):
        codec = LengthDelimitedCodec(size, order, includes_length=includes)
        assert decoded(codec, parts) == (frames, b"")


@pytest.mark.parametrize("includes", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", SIZES)
def test_lengths_of_every_size_and_order_are_encoded(size, order, includes):
    codec = LengthDelimitedCodec(size, order, includes_length=includes)
    for payload in (b"", b"abc", b"x" * 200):
        assert encoded(codec, payload) == delimited(payload, size, order, includes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 100_000])
def test_every_kind_of_buffer_is_a_payload(kind, size):
    assert encoded(LengthDelimitedCodec(), kind(b"x" * size)) == size.to_bytes(4, "big") + b"x" * size


def test_a_payload_of_numbers_is_counted_in_bytes():
    numbers = array.array("I", [1, 2, 3])
    assert encoded(LengthDelimitedCodec(1), numbers) == bytes([12]) + numbers.tobytes()


def test_a_large_payload_is_a_part_of_its_own():
    payload = Bytes(b"x" * 100_000)
    number, part = LengthDelimitedCodec().encode(payload)
    assert number == (100_000).to_bytes(4, "big")
    assert part is payload


def test_a_frame_is_a_view_of_the_buffer():
    frame = LengthDelimitedCodec(1).decode(BytesMut(b"\x03abc" * 100))
    assert type(frame) is Bytes
    assert frame.retained > len(frame)


@pytest.mark.parametrize(("size", "fits"), [(4, True), (5, True), (6, False), (60, False)])
@pytest.mark.parametrize("includes", [False, True])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_the_limit_is_of_the_payload(width, includes, size, fits):
    payload = b"x" * size
    stream = delimited(payload, width, "big", includes) + delimited(b"ok", width, "big", includes)
    for parts in splits(stream):
        codec = LengthDelimitedCodec(width, includes_length=includes, limit=5)
        assert decoded(codec, parts) == ([payload if fits else FrameTooLarge, b"ok"], b"")


def test_several_frames_over_the_limit_are_each_passed_over():
    stream = b"".join(delimited(b"x" * n, 1, "big", False) for n in (6, 0, 9, 5, 7, 7))
    for parts in splits(stream):
        found, left = decoded(LengthDelimitedCodec(1, limit=5), parts)
        assert (found, left) == ([FrameTooLarge, b"", FrameTooLarge, b"xxxxx", FrameTooLarge, FrameTooLarge], b"")


def test_a_limit_of_nothing_leaves_empty_frames():
    assert decoded(LengthDelimitedCodec(1, limit=0), [b"\0\x01x\0"]) == ([b"", FrameTooLarge, b""], b"")


@pytest.mark.parametrize("length", [2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("order", ORDERS)
def test_a_monstrous_length_is_refused_and_passed_over(length, order):
    codec, buffer = LengthDelimitedCodec(8, order, limit=100), BytesMut()
    buffer.put(length.to_bytes(8, order) + b"x")
    with pytest.raises(FrameTooLarge) as error:
        codec.decode(buffer)
    assert (error.value.size, error.value.limit) == (length, 100)
    for _ in range(100):
        buffer.put(b"x" * 1000)
        assert codec.decode(buffer) is MISSING
        assert len(buffer) == 0


@pytest.mark.parametrize("limit", [2**63 - 1, 2**63, 2**70])
def test_a_monstrous_limit_waits(limit):
    codec, buffer = LengthDelimitedCodec(8, limit=limit), BytesMut()
    buffer.put((2**63 - 1).to_bytes(8, "big") + b"x")
    assert codec.decode(buffer) is MISSING
    assert codec.need == 2**63 - 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_length_that_does_not_count_itself_is_refused_for_good(size, order):
    for length in {0, size - 1}:
        stream = length.to_bytes(size, order) + b"whatever comes" * 3
        for parts in ([stream], [bytes([byte]) for byte in stream]):
            found, _ = decoded(LengthDelimitedCodec(size, order, includes_length=True), parts, most=len(stream))
            assert found == [ValueError] * len(stream)


def test_a_length_that_counts_just_itself_is_an_empty_frame():
    assert decoded(LengthDelimitedCodec(2, includes_length=True), [b"\0\2"]) == ([b""], b"")


@pytest.mark.parametrize("includes", [False, True])
def test_a_frame_cut_short_is_left_whole_at_the_end(includes):
    stream = delimited(b"ok", 2, "little", includes)
    cut = delimited(b"abc", 2, "little", includes)
    for n in range(len(cut)):
        for parts in splits(stream + cut[:n]):
            codec = LengthDelimitedCodec(2, "little", includes_length=includes)
            assert decoded(codec, parts) == ([b"ok"], cut[:n])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("includes", [False, True])
def test_a_payload_whose_length_does_not_fit_is_not_encoded(size, includes):
    most = (1 << 8 * size) - 1 - size * includes
    codec = LengthDelimitedCodec(size, includes_length=includes, limit=1 << 20)
    if size <= 2:
        assert encoded(codec, bytes(most)) == delimited(bytes(most), size, "big", includes)
    else:
        most = 1 << 20
    with pytest.raises(FrameTooLarge) as error:
        codec.encode(bytes(most + 1))
    assert (error.value.size, error.value.limit) == (most + 1, most)


@pytest.mark.parametrize(
    "arguments",
    [{"length_size": 0}, {"length_size": 9}, {"length_size": -1}, {"byteorder": "middle"}, {"limit": -1}],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        LengthDelimitedCodec(**arguments)


@pytest.mark.parametrize("frame", ["text", 5, None, 1.5])
def test_a_payload_that_is_no_buffer_is_refused(frame):
    with pytest.raises(TypeError):
        LengthDelimitedCodec().encode(frame)


# --- need ---


@pytest.mark.parametrize("codec", [LengthDelimitedCodec(3), LengthDelimitedCodec(8, "little", includes_length=True)])
def test_what_is_lacking_is_never_overstated(codec):
    """A reader sleeps until so many bytes have come."""
    stream = encoded(codec, b"hello")
    for n in range(len(stream)):
        pattern, buffer = copy.copy(codec), BytesMut(stream[:n])
        assert pattern.decode(buffer) is MISSING
        assert 1 <= pattern.need <= len(stream) - n
        if n >= codec.length_size:
            assert pattern.need == len(stream) - n


def test_nothing_is_lacking_of_what_is_passed_over():
    """Nor what a frame before it had lacked."""
    codec, buffer = LengthDelimitedCodec(1, limit=100), BytesMut(b"\x64")
    assert codec.decode(buffer) is MISSING
    buffer.put(bytes(100) + b"\xff")
    assert codec.decode(buffer) == bytes(100)
    with pytest.raises(FrameTooLarge):
        codec.decode(buffer)
    assert codec.decode(buffer) is MISSING
    assert codec.need <= 1


# --- JSON lines ---

VALUES = [None, True, 0, -1.5, "grün \n 語", [], {}, [1, [2, {"a": None}]], {"": ""}, 2**53, ""]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_there_and_back(json_lines, value):
    line = encoded(json_lines.JsonLinesCodec(), value)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    for parts in splits(line):
        assert decoded(json_lines.JsonLinesCodec(), parts) == ([value], b"")


def test_lines_are_compact_utf_8(json_lines):
    assert encoded(json_lines.JsonLinesCodec(), {"ü": [1, 2]}) == '{"ü":[1,2]}\n'.encode()


def test_values_in_every_split(json_lines):
    for parts in splits(b'1\r\n{"a" : [2]}\n"\xc3\xbc"\nnull'):
        assert decoded(json_lines.JsonLinesCodec(), parts) == ([1, {"a": [2]}, "ü", None], b"")


@pytest.mark.parametrize("stream", [b"\n\n1\n \t\r\n\r\n2\n\n", b"\n1\n2", b"1\n2\n   "])
def test_blank_lines_are_nothing(json_lines, stream):
    for parts in splits(stream):
        assert decoded(json_lines.JsonLinesCodec(), parts) == ([1, 2], b"")


@pytest.mark.parametrize(
    "line",
    [b"{", b"nul", b"[1,]", b"{'a':1}", b"1 2", b'"', b"\x00"],
)
def test_what_is_no_json_is_gone_and_the_next_follows(json_lines, line):
    buffer, codec = BytesMut(line + b"\n7\n" + line), json_lines.JsonLinesCodec()
    with pytest.raises(json.JSONDecodeError):
        codec.decode(buffer)
    assert codec.decode(buffer) == 7
    with pytest.raises(json.JSONDecodeError):
        codec.decode_eof(buffer)
    assert codec.decode_eof(buffer) is MISSING
    assert buffer == b""


@pytest.mark.parametrize(
    "line",
    [b'"\xff"', b'"\xc3', b"[" * 100_000, b"NaN", b"1\0"],
    ids=["bad byte", "cut", "deep", "NaN", "UTF-16"],
)
def test_every_kind_of_no_json_is_the_same_error(json_lines, line):
    buffer, codec = BytesMut(line + b"\n7\n"), json_lines.JsonLinesCodec()
    with pytest.raises(json.JSONDecodeError):
        codec.decode(buffer)
    assert codec.decode(buffer) == 7


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", float], ids=["set", "object", "bytes", "type"])
def test_what_json_does_not_have_is_refused(json_lines, value):
    with pytest.raises((TypeError, ValueError)):
        json_lines.JsonLinesCodec().encode(value)


def test_threads_have_codecs_of_their_own_and_do_not_meet(json_lines):
    def there_and_back(name):
        codec = json_lines.JsonLinesCodec()
        values = [{f"{name}{n % 7}": [n, {f"{name}": "x" * n}]} for n in range(300)]
        return [codec.decode(BytesMut(encoded(codec, value))) for value in values] == values

    threads = [spawn(there_and_back, name) for name in "abcd"]
    assert [thread.result() for thread in threads] == [True] * 4


def test_a_ring_is_refused(json_lines):
    ring = []
    ring.append(ring)
    with pytest.raises((TypeError, ValueError)):
        json_lines.JsonLinesCodec().encode(ring)


def test_a_depth_that_cannot_be_encoded_is_refused(json_lines):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    try:
        with pytest.raises((TypeError, ValueError)):
            json_lines.JsonLinesCodec().encode(deep)
    finally:
        while deep:
            deep = deep.pop()


def test_half_a_surrogate_pair_is_refused(json_lines):
    with pytest.raises((TypeError, ValueError)):
        json_lines.JsonLinesCodec().encode("\ud800")


@pytest.mark.parametrize(("size", "fits"), [(4, True), (5, True), (6, False), (20, False)])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_limit_is_of_the_json_line(json_lines, size, fits, end):
    for parts in splits(b"1" * size + end + b"2\n"):
        expected = int("1" * size) if fits else json_lines.FrameTooLarge
        assert decoded(json_lines.JsonLinesCodec(limit=5), parts) == ([expected, 2], b"")


def test_a_value_over_the_limit_is_not_encoded(json_lines):
    codec = json_lines.JsonLinesCodec(limit=5)
    assert encoded(codec, "abc") == b'"abc"\n'
    with pytest.raises(json_lines.FrameTooLarge) as error:
        codec.encode("abcd")
    assert (error.value.size, error.value.limit) == (6, 5)


def test_it_works_where_orjson_is_not_installed():
    in_subprocess(
        """
        import sys
        sys.modules["orjson"] = None
        from ferrule import BytesMut
        from ferrule.aio.streams import JsonLinesCodec
        codec = JsonLinesCodec()
        (line,) = codec.encode({"a": [1, None]})
        assert line == b'{"a":[1,null]}\\n'
        assert codec.decode(BytesMut(line)) == {"a": [1, None]}
        assert "orjson" not in {name for name, module in sys.modules.items() if module}
        """
    )


# --- all of them ---


@pytest.mark.parametrize("kind", ALL)
def test_a_copy_goes_on_by_itself_from_where_the_codec_stood(kind):
    stream = b"\0\x0212\0\x0234" if kind == "length-delimited" else b"12\n34\n"
    frames, _ = decoded(ALL[kind](), [stream])
    for n in range(len(stream)):
        codec, buffer = ALL[kind](), BytesMut(stream[:n])
        seen = []
        while (frame := codec.decode(buffer)) is not MISSING:
            seen.append(frame)
        for each in (copy.copy(codec), copy.copy(codec), codec):
            found, left = decoded(each, [bytes(buffer) + stream[n:]])
            assert (seen + found, left) == (frames, b"")


@pytest.mark.parametrize("kind", ALL)
def test_a_codec_that_has_only_encoded_is_as_new(kind):
    codec = ALL[kind]()
    stream = b"".join(encoded(codec, frame) for frame in (["12", "34"] if kind != "length-delimited" else [b"1", b"2"]))
    assert len(decoded(codec, [stream[:2], stream[2:]])[0]) == 2


@pytest.mark.parametrize("kind", ALL)
def test_nothing_in_the_buffer_is_no_frame(kind):
    codec = ALL[kind]()
    assert codec.decode(BytesMut()) is MISSING
    assert codec.decode_eof(BytesMut()) is MISSING


@pytest.mark.parametrize("kind", ALL)
def test_every_codec_is_a_codec_with_a_limit(kind):
    codec = ALL[kind]()
    assert isinstance(codec, Codec)
    assert codec.limit == (8 << 20 if kind in ("json", "length-delimited") else 64 << 10)


def test_a_codec_of_ones_own_has_everything_to_say():
    codec = Codec()
    assert (codec.limit, codec.need) == (8 << 20, 0)
    for call in (codec.decode, codec.decode_eof):
        with pytest.raises(NotImplementedError):
            call(BytesMut(b"a"))
    with pytest.raises(NotImplementedError):
        codec.encode(b"a")


def test_the_end_of_ones_own_codec_is_decode_by_default():
    class Own(Codec):
        def decode(self, buffer):
            return buffer.get_u8()

    assert Own().decode_eof(BytesMut(b"a")) == 97


# --- the error ---


@pytest.mark.parametrize("size", [None, 0, 6, 2**64])
def test_the_error_comes_back_from_a_pickle(size):
    error = FrameTooLarge(size=size, limit=5)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert (type(back), str(back), back.size, back.limit) == (FrameTooLarge, str(error), size, 5)
    assert copy.copy(error).size == size


def test_the_error_is_one_of_ferrules_and_a_value_error():
    assert issubclass(FrameTooLarge, FerruleError)
    assert issubclass(FrameTooLarge, ValueError)


def test_the_error_says_both_numbers():
    assert "6" in str(FrameTooLarge(size=6, limit=5))
    assert "5" in str(FrameTooLarge(size=6, limit=5))
    assert str(FrameTooLarge("of my own")) == "of my own"
