"""Any call on Bytes, BytesMut and Reader answers as bytes, bytearray, io.BytesIO and the crate's arithmetic do."""

import io
import itertools
import struct

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.bytes_model import BytesMutModel
from tests.support.race import EXAMPLES, outcome

ERRORS = (ValueError, TypeError, IndexError, LookupError, NotEnoughBytes)

texts = st.one_of(
    st.binary(max_size=40),
    st.text("ab \n", max_size=40).map(str.encode),
    st.text("AbC\r\n\t", max_size=20).map(str.encode),
    st.builds(lambda part, n: part * n, st.binary(min_size=1, max_size=3), st.integers(0, 60)),
)
needles = st.one_of(st.binary(max_size=3), st.text("ab \n\r", max_size=4).map(str.encode))
places = st.one_of(st.none(), st.integers(-45, 45), st.integers())
kinds = st.sampled_from([bytes, bytearray, memoryview, Bytes, BytesMut])
arguments = st.builds(lambda kind, data: kind(data), kinds, needles)


def plain(answer):
    if isinstance(answer, (list, tuple)):
        return type(answer)(map(plain, answer))
    return bytes(answer) if isinstance(answer, (Bytes, memoryview)) else answer


CALLS = {
    "find": st.tuples(st.one_of(needles, st.integers(-1, 256)), places, places),
    "rfind": st.tuples(st.one_of(needles, st.integers(-1, 256)), places, places),
    "index": st.tuples(st.one_of(needles, st.integers(-1, 256)), places, places),
    "rindex": st.tuples(st.one_of(needles, st.integers(-1, 256)), places, places),
    "count": st.tuples(st.one_of(needles, st.integers(-1, 256)), places, places),
    "startswith": st.tuples(st.one_of(needles, st.tuples(needles, needles)), places, places),
    "endswith": st.tuples(st.one_of(needles, st.tuples(needles, needles)), places, places),
    "split": st.tuples(st.one_of(st.none(), needles), st.integers(-2, 5)),
    "rsplit": st.tuples(st.one_of(st.none(), needles), st.integers(-2, 5)),
    "partition": st.tuples(needles),
    "rpartition": st.tuples(needles),
    "strip": st.tuples(st.one_of(st.none(), needles)),
    "lstrip": st.tuples(st.one_of(st.none(), needles)),
    "rstrip": st.tuples(st.one_of(st.none(), needles)),
    "splitlines": st.tuples(st.booleans()),
    "replace": st.tuples(needles, needles, st.integers(-1, 5)),
    "join": st.tuples(st.lists(needles, max_size=4)),
    "hex": st.one_of(st.just(()), st.tuples(st.sampled_from([":", "-"]), st.integers(-4, 4))),
    "decode": st.tuples(st.sampled_from(["utf-8", "latin-1", "ascii"]), st.sampled_from(["replace", "ignore"])),
    "isascii": st.just(()),
    "lower": st.just(()),
    "upper": st.just(()),
    "__contains__": st.tuples(st.one_of(needles, st.integers(-1, 256))),
    "__getitem__": st.tuples(st.one_of(st.integers(-45, 45), st.slices(40))),
    "__add__": st.tuples(needles),
    "__mul__": st.tuples(st.integers(-1, 5)),
    "__len__": st.just(()),
    "__hash__": st.just(()),
    "__eq__": st.tuples(texts),
    "__lt__": st.tuples(texts),
    "__le__": st.tuples(texts),
    "__gt__": st.tuples(texts),
    "__ge__": st.tuples(texts),
    "__ne__": st.tuples(texts),
}
calls = st.one_of(*(st.tuples(st.just(name), args) for name, args in CALLS.items()))


@settings(max_examples=800 * EXAMPLES, deadline=None)
@given(text=texts, before=st.binary(max_size=3), after=st.binary(max_size=3), call=calls)
def test_every_method_of_bytes_answers_as_bytes(text, before, after, call):
    name, args = call
    whole = Bytes(before + text + after)
    part = whole[len(before) : len(before) + len(text)]
    expected = outcome(getattr(text, name), *ERRORS)(*args)
    assert plain(outcome(getattr(part, name), *ERRORS)(*args)) == expected
    assert whole == before + text + after


@settings(max_examples=500 * EXAMPLES, deadline=None)
@given(text=texts, cuts=st.lists(places, max_size=6), below=st.integers(0, 20))
def test_slices_of_slices(text, cuts, below):
    part, model = Bytes(text), text
    for cut in cuts:
        part, model = (part[cut:], model[cut:]) if below % 2 else (part.slice(0, cut, copy_below=below), model[:cut])
        below //= 2
    assert part == model
    assert part.compact() == model
    assert (part.retained == 0) is (model == b"")
    assert part.compact().retained == len(model)


# --- reading ---

NUMBERS = {
    "u8": ">B",
    "i8": ">b",
    "u16": ">H",
    "i16_le": "<h",
    "u32": ">I",
    "i32_le": "<i",
    "u64_le": "<Q",
    "f64": ">d",
}
steps = st.lists(
    st.one_of(
        st.tuples(st.just("number"), st.sampled_from(list(NUMBERS))),
        st.tuples(st.just("bytes"), st.integers(0, 12)),
        st.tuples(st.just("until"), needles.filter(bool)),
        st.tuples(st.just("advance"), st.integers(0, 12)),
        st.tuples(st.just("uint"), st.integers(1, 16)),
    ),
    max_size=12,
)


def pieces_of(data, cuts):
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def expected_of(step, data):
    """How many bytes the step takes, or None, and what it gives."""
    what, argument = step
    if what == "number":
        size = struct.calcsize(NUMBERS[argument])
        return (size, struct.unpack(NUMBERS[argument], data[:size])[0]) if len(data) >= size else (None, None)
    if what == "until":
        at = data.find(argument)
        return (at + len(argument), data[: at + len(argument)]) if at >= 0 else (None, None)
    if len(data) < argument:
        return None, None
    if what == "uint":
        return argument, int.from_bytes(data[:argument], "big")
    return argument, data[:argument] if what == "bytes" else None


@settings(max_examples=600 * EXAMPLES, deadline=None)
@given(data=texts, cuts=st.lists(st.integers(0, 40), max_size=6), steps=steps, tries=st.booleans())
def test_reading_does_not_depend_on_where_the_buffers_end(data, cuts, steps, tries):
    reader, buffer, at = Reader(*pieces_of(data, cuts)), BytesMut(data), 0
    for step in steps:
        what, argument = step
        size, expected = expected_of(step, data[at:])
        for source in (reader, buffer):
            verb = "try_get_" if tries and what != "advance" else "get_"
            name, args = (verb + argument, ()) if what == "number" else (verb + what, (argument,))
            call = source.advance if what == "advance" else getattr(source, name)
            answered = outcome(call, NotEnoughBytes)(*args)
            if size is None:
                assert answered is (None if verb == "try_get_" else NotEnoughBytes)
            else:
                assert answered == expected or answered != answered
        at += size or 0
        assert (reader.position, reader.remaining, buffer) == (at, len(data) - at, data[at:])
    assert b"".join(reader.chunks()) == data[at:]


@settings(max_examples=400 * EXAMPLES, deadline=None)
@given(
    data=texts,
    cuts=st.lists(st.integers(0, 40), max_size=6),
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.integers(-1, 15)),
            st.tuples(st.just("seek"), st.integers(0, 40)),
        ),
        max_size=10,
    ),
)
def test_a_reader_is_a_file_like_bytes_io(data, cuts, steps):
    ours, theirs = Reader(*pieces_of(data, cuts)), io.BytesIO(data)
    for name, argument in steps:
        argument = min(argument, len(data)) if name == "seek" else argument
        assert getattr(ours, name)(argument) == getattr(theirs, name)(argument)
        assert ours.tell() == theirs.tell()


@settings(max_examples=400 * EXAMPLES, deadline=None)
@given(
    number=st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 300)), rest=st.binary(max_size=12), cut=st.integers(0, 9)
)
def test_varints_there_and_back(number, rest, cut):
    buffer = BytesMut()
    buffer.put_varint(number)
    data = bytes(buffer)
    assert len(data) == max((number.bit_length() + 6) // 7, 1)
    buffer.put(rest)
    reader = Reader(*pieces_of(bytes(buffer), [cut]))
    for source in (buffer, reader):
        assert source.get_varint() == number
        assert source.get_bytes(len(rest)) == rest
    assert BytesMut(data[:-1]).try_get_varint() is None


@settings(max_examples=600 * EXAMPLES, deadline=None)
@given(data=st.binary(max_size=12))
def test_what_is_read_as_a_varint_is_what_would_be_written(data):
    """Any bytes: a number with its only encoding, too few, or refused; the cursor says which."""
    source = BytesMut(data)
    number = outcome(source.try_get_varint, ValueError)()
    taken = data[: len(data) - len(source)]
    if isinstance(number, int):
        again = BytesMut()
        again.put_varint(number)
        assert again == taken
    else:
        assert taken == b""
        ends = [n for n, byte in enumerate(data) if byte < 128]
        assert (number is None) is ((not ends and len(data) < 10) or (not data))


# --- BytesMut beside the crate's arithmetic ---

sizes = st.one_of(st.integers(0, 40), st.sampled_from([64, 1000, 1024, 2048, 5000]))
contents = st.one_of(st.binary(max_size=30), st.integers(0, 3000).map(bytes))


class BytesMutMachine(RuleBasedStateMachine):
    """Many handles of shared memory; each answers as its model, after every step, and so does each frozen part."""

    buffers = Bundle("buffers")
    frozen = Bundle("frozen")

    def __init__(self):
        super().__init__()
        self.pairs = []
        self.parts = []

    def keep(self, ours, model):
        pair = [ours, model]
        self.pairs.append(pair)
        return pair

    @initialize(target=buffers, capacity=sizes)
    def first(self, capacity):
        return self.keep(BytesMut(capacity), BytesMutModel.with_capacity(capacity))

    @rule(target=buffers, data=contents)
    def make(self, data):
        return self.keep(BytesMut(data), BytesMutModel.of(data))

    @rule(pair=buffers, data=contents, kind=kinds)
    def extend(self, pair, data, kind):
        pair[0].put(kind(data))
        pair[1].extend(data)

    @rule(pair=buffers, number=st.integers(0, 2**32 - 1))
    def put_number(self, pair, number):
        pair[0].put_u32(number)
        pair[1].extend(struct.pack(">I", number))

    @rule(pair=buffers)
    def extend_from_itself(self, pair):
        if len(pair[0]) < 5000:
            pair[0].extend(pair[0])
            pair[1].extend(bytes(pair[1].content))

    @rule(pair=buffers, start=places, stop=places)
    def extend_from_within(self, pair, start, stop):
        if len(pair[0]) < 5000:
            pair[0].extend_from_within(start or 0, stop)
            pair[1].extend(bytes(pair[1].content[start:stop]))

    @rule(pair=buffers, additional=sizes)
    def reserve(self, pair, additional):
        pair[0].reserve(additional)
        pair[1].reserve(additional)

    @rule(pair=buffers, additional=sizes)
    def try_reclaim(self, pair, additional):
        assert pair[0].try_reclaim(additional) is pair[1].reserve(additional, allocate=False)

    @rule(pair=buffers, n=sizes)
    def advance(self, pair, n):
        n = min(n, len(pair[0]))
        pair[0].advance(n)
        pair[1].advance(n)

    @rule(pair=buffers, n=sizes)
    def truncate(self, pair, n):
        pair[0].truncate(n)
        del pair[1].content[n:]

    @rule(pair=buffers, n=sizes, value=st.integers(0, 255))
    def resize(self, pair, n, value):
        pair[0].resize(n, value)
        pair[1].resize(n, value)

    @rule(pair=buffers, index=st.slices(40), value=st.integers(0, 255))
    def replace(self, pair, index, value):
        new = bytes([value]) * len(pair[1].content[index])
        pair[0][index] = new
        pair[1].content[index] = new

    @rule(pair=buffers, data=st.binary(max_size=20))
    def fill_spare(self, pair, data):
        view = pair[0].spare(len(data))
        view[: len(data)] = data
        pair[0].commit(len(data))
        view.release()
        room = len(data)
        pair[1].extend(data)
        assert room <= pair[1].capacity

    @rule(target=buffers, pair=buffers, at=sizes)
    def split_to(self, pair, at):
        at = min(at, len(pair[0]))
        return self.keep(pair[0].split_to(at), pair[1].split_to(at))

    @rule(target=buffers, pair=buffers, at=sizes)
    def split_off(self, pair, at):
        at = min(at, pair[0].capacity)
        return self.keep(pair[0].split_off(at), pair[1].split_off(at))

    @rule(one=buffers, other=buffers)
    def unsplit(self, one, other):
        if one is not other:
            one[0].unsplit(other[0])
            one[1].unsplit(other[1])

    @rule(one=buffers, other=buffers)
    def try_unsplit(self, one, other):
        if one is not other:
            assert one[0].try_unsplit(other[0]) is one[1].try_unsplit(other[1])

    @rule(target=frozen, pair=buffers)
    def freeze(self, pair):
        part = [pair[0].freeze(), pair[1].freeze()]
        self.parts.append(part)
        return part

    @rule(target=frozen, pair=buffers, n=sizes)
    def get_bytes(self, pair, n):
        n = min(n, len(pair[0]))
        part = [pair[0].get_bytes(n), pair[1].split_to(n).freeze() if n else BytesMutModel().freeze()]
        self.parts.append(part)
        return part

    @rule(part=consumes(frozen))
    def drop_frozen(self, part):
        self.parts.remove(part)
        part[1].drop()
        part.clear()

    @rule(pair=consumes(buffers))
    def drop(self, pair):
        self.pairs.remove(pair)
        pair[1].drop()
        pair.clear()

    @rule(target=buffers)
    def nothing(self):
        return multiple()

    @invariant()
    def answers_as_the_model(self):
        for ours, model in self.pairs:
            assert ours == model.content
            assert (len(ours), ours.capacity) == (len(model.content), model.capacity)
        for ours, model in self.parts:
            assert (ours, ours.retained) == (model.content, model.retained)


TestBytesMut = BytesMutMachine.TestCase
TestBytesMut.settings = settings(max_examples=70 * EXAMPLES, stateful_step_count=40, deadline=None)
