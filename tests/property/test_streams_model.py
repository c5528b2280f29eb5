"""Any split of the input and any sequence of reads answers as asyncio's StreamReader; the codecs as plain models."""

import asyncio
import json

import hypothesis.strategies as st
from hypothesis import given, settings

from ferrule import Bytes
from ferrule.aio.streams import FrameTooLarge, JsonLinesCodec, LengthDelimitedCodec, LinesCodec, StreamReader
from tests.support.driver import HandLoop, Stepper
from tests.support.framing import decoded, pieces
from tests.support.race import EXAMPLES

# --- StreamReader ---


class Side:
    """A reader, and the one read that may be waiting in it."""

    def __init__(self, kind, limit):
        self.reader = kind(limit=limit, loop=HandLoop())
        self.pending = None

    def rest(self):
        """Lets the read go on as far as it can; what it answers if that was its end."""
        while self.pending is not None and (self.pending.future is None or self.pending.future.done()):
            if self.pending.step():
                answer = answer_of(self.pending.result)
                self.pending = None
                return answer
        return "nothing" if self.pending is None else "waits"

    def begin(self, call):
        """Begins a read, beside one that waits if there is one; what it answers."""
        if self.pending is None:
            self.pending = Stepper(call(self.reader))
            return self.rest()
        second = Stepper(call(self.reader))
        assert second.step()
        return answer_of(second.result)

    def cancel(self):
        if self.pending is not None:
            self.pending.cancel()

    def close(self):
        if self.pending is not None:
            self.pending.close()


def answer_of(result):
    """What a read has given or raised, in values that can be compared."""
    try:
        return bytes(result())
    except (Exception, asyncio.CancelledError) as error:
        told = [getattr(error, name, None) for name in ("partial", "expected", "consumed")]
        return type(error), [bytes(one) if isinstance(one, Bytes) else one for one in told]


READ_ALL = ("read", -1)
data = st.one_of(st.text("ab\n", min_size=1, max_size=12).map(str.encode), st.binary(min_size=1, max_size=30))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.lists(data, min_size=1, max_size=3)),
        st.tuples(st.just("read"), st.integers(-1, 12)),
        st.tuples(st.just("readexactly"), st.integers(-1, 25)),
        st.tuples(st.just("readuntil"), st.text("ab\n", max_size=3).map(str.encode)),
        st.just(("readline",)),
        st.just(("__anext__",)),
        st.sampled_from([("eof",), ("error",), ("cancel",)]),
    ),
    max_size=20,
)


def do(side, step):
    """One step on one side, and what there is to see of it."""
    what, *arguments = step
    match what:
        case "feed":
            for part in arguments[0]:
                side.reader.feed_data(part)
        case "eof":
            side.reader.feed_eof()
        case "error":
            side.reader.set_exception(OSError("gone"))
        case "cancel":
            side.cancel()
        case _:
            return side.begin(lambda reader: getattr(reader, what)(*arguments)), side.reader.at_eof()
    return side.rest(), side.reader.at_eof(), type(side.reader.exception())


@settings(max_examples=160 * EXAMPLES, deadline=None)
@given(limit=st.sampled_from([1, 3, 8, 65536]), steps=steps)
def test_any_sequence_of_calls_answers_as_asyncios_reader(limit, steps):
    """But what asyncio's read() of all has taken so far is lost when it fails, and hidden from other reads."""
    ours, theirs = Side(StreamReader, limit), Side(asyncio.StreamReader, limit)
    takes_all = ended = False
    for step in [*steps, ("cancel",), ("eof",), ("read", 100)]:
        takes_all = takes_all and theirs.pending is not None
        if step == READ_ALL and theirs.pending is not None:
            continue  # it loses what it has read when it finds that another read waits
        if (takes_all and step[0] not in ("feed", "eof", "error")) or (ended and step[0] == "feed"):
            continue
        takes_all = takes_all or (step == READ_ALL and theirs.pending is None)
        ended = ended or step[0] == "eof"
        answer, expected = do(ours, step), do(theirs, step)
        if not takes_all:
            assert answer == expected, step
        else:  # at_eof() of asyncio's is true as soon as it has hidden all
            assert answer[0] == expected[0], step
    ours.close()
    theirs.close()


def first_end(stream, separators):
    """What comes up to and with the separator that ends first; None: there is none."""
    return next((stream[:end] for end in range(len(stream) + 1) if stream[:end].endswith(separators)), None)


@settings(max_examples=250 * EXAMPLES, deadline=None)
@given(
    stream=st.text("abc", max_size=25).map(str.encode),
    cuts=st.lists(st.integers(0, 25), max_size=6),
    separators=st.lists(st.text("abc", min_size=1, max_size=4).map(str.encode), min_size=1, max_size=4).map(tuple),
)
def test_of_several_separators_the_first_end_is_found_in_any_split(stream, cuts, separators):
    side, got, rest = Side(StreamReader, 65536), [], stream
    for part in pieces(stream, [min(cut, len(stream)) for cut in cuts]):
        if part:
            side.reader.feed_data(part)
        answer = side.rest()
        while answer != "waits":
            got += [answer] if answer != "nothing" else []
            answer = side.begin(lambda reader: reader.readuntil(separators))
    side.close()
    while (one := first_end(rest, separators)) is not None:
        assert got.pop(0) == one
        rest = rest[len(one) :]
    assert got == []


# --- codecs ---

cut_places = st.lists(st.integers(0, 80), max_size=12)


def parts_of(stream, cuts):
    return pieces(stream, [min(cut, len(stream)) for cut in cuts])


def lines_of(stream):
    """The lines of a whole stream, without their ends."""
    *lines, last = stream.split(b"\n")
    return [line.removesuffix(b"\r") for line in lines] + ([last] if last else [])


def outcome_of(function, *arguments):
    """What the function gives, or the type of the error."""
    try:
        return function(*arguments)
    except ValueError as error:
        return type(error)


garbage = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", "ü".encode(), b"\xc3", b"bcdef"]), max_size=30).map(
        b"".join
    ),
)


@settings(max_examples=300 * EXAMPLES, deadline=None)
@given(stream=garbage, cuts=cut_places, limit=st.integers(1, 12), encoding=st.sampled_from([None, "utf-8", "latin-1"]))
def test_lines_are_those_of_the_whole_stream_in_any_split(stream, cuts, limit, encoding):
    expected = [
        FrameTooLarge if len(line) > limit else line if encoding is None else outcome_of(line.decode, encoding)
        for line in lines_of(stream)
    ]
    assert decoded(LinesCodec(limit=limit, encoding=encoding), parts_of(stream, cuts)) == (expected, b"")


@settings(max_examples=200 * EXAMPLES, deadline=None)
@given(
    stream=st.lists(
        st.sampled_from(["\n", "\r\n", " ", "[", "]", "1", "null", '"', "a", ",", '{"a":', "}"]), max_size=40
    )
    .map("".join)
    .map(str.encode),
    cuts=cut_places,
    limit=st.integers(1, 12),
)
def test_json_lines_are_those_of_the_whole_stream_in_any_split(stream, cuts, limit):
    expected = [
        FrameTooLarge if len(line) > limit else outcome_of(json.loads, line)
        for line in lines_of(stream)
        if line.strip() or len(line) > limit
    ]
    found, left = decoded(JsonLinesCodec(limit=limit), parts_of(stream, cuts))
    errors = {kind: json.JSONDecodeError for kind in found if isinstance(kind, type) and kind is not FrameTooLarge}
    assert all(issubclass(kind, json.JSONDecodeError) for kind in errors)  # orjson has a class of its own
    assert ([errors.get(frame, frame) if isinstance(frame, type) else frame for frame in found], left) == (
        expected,
        b"",
    )


def delimited_frames(stream, size, order, counted, limit):
    """What a whole stream of frames behind their lengths gives, and what is left."""
    frames = []
    while len(stream) >= size:
        length = int.from_bytes(stream[:size], order) - counted
        if length < 0:
            return [*frames, ValueError], None
        if length > limit:
            frames.append(FrameTooLarge)
        elif len(stream) < size + length:
            return frames, stream
        else:
            frames.append(stream[size : size + length])
        stream = stream[size + length :]
    return frames, stream


@st.composite
def delimited_streams(draw):
    """Frames, most of them good, and then anything."""
    size, order, includes = draw(st.integers(1, 8)), draw(st.sampled_from(["big", "little"])), draw(st.booleans())
    payloads = draw(st.lists(st.binary(max_size=12), max_size=6))
    counted = size * includes
    good = b"".join((len(one) + counted).to_bytes(size, order) + one for one in payloads)
    return size, order, includes, good + draw(st.binary(max_size=20))


@settings(max_examples=220 * EXAMPLES, deadline=None)
@given(case=delimited_streams(), cuts=cut_places, limit=st.integers(0, 12))
def test_delimited_frames_are_those_of_the_whole_stream_in_any_split(case, cuts, limit):
    size, order, includes, stream = case
    expected, rest = delimited_frames(stream, size, order, size * includes, limit)
    codec = LengthDelimitedCodec(size, order, includes_length=includes, limit=limit)
    found, left = decoded(codec, parts_of(stream, cuts), most=len(expected) + 20)
    if rest is None:  # it is refused for good
        assert found[: len(expected)] == expected
        assert set(found[len(expected) :]) == {ValueError}
    else:
        assert (found, left) == (expected, rest)


@settings(max_examples=120 * EXAMPLES, deadline=None)
@given(
    frames=st.lists(st.one_of(st.binary(max_size=40), st.just(bytes(5000))), max_size=8),
    size=st.integers(2, 8),
    order=st.sampled_from(["big", "little"]),
    includes=st.booleans(),
    cuts=cut_places,
)
def test_what_is_encoded_is_decoded(frames, size, order, includes, cuts):
    delimited = LengthDelimitedCodec(size, order, includes_length=includes)
    stream = b"".join(part for frame in frames for part in delimited.encode(frame))
    assert decoded(delimited, parts_of(stream, cuts)) == (frames, b"")
    texts = [frame.hex() for frame in frames]
    for codec in (LinesCodec(encoding="ascii"), JsonLinesCodec()):
        stream = b"".join(part for text in texts for part in codec.encode(text))
        assert decoded(codec, parts_of(stream, cuts)) == (texts, b"")
