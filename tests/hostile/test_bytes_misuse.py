"""Arguments that are huge, of the wrong type, that raise, or use the Bytes, BytesMut or Reader they are given to."""

import copy
import ctypes
import gc
import mmap
import pickle
import sys
import weakref
from typing import ClassVar

import pytest

from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.hostile import calling, hostile, raising
from tests.support.leaks import in_subprocess
from tests.support.race import outcome

TEXT = b"hello, world"
ERRORS = (ValueError, TypeError, IndexError, OverflowError, MemoryError, BufferError, NotEnoughBytes, LookupError)
written_in_python = pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ is written in Python since 3.12")


def check(buffer):
    """The buffer is whole, and still does what it should."""
    content = bytes(buffer)
    assert len(buffer) == len(content) <= buffer.capacity
    assert buffer.find(content) == 0
    kept = buffer.split().freeze()
    buffer.put(TEXT)
    assert (buffer.freeze(), kept) == (TEXT, content)


# --- every method with everything ---

EVERYTHING = """
import gc, itertools, random, sys
from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader

rng = random.Random({seed})
HUGE = [2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 2**62, 10**30, -1]
SMALL = [0, 1, 2, 3, 7, 17, 255, 256]
NAMES = "__getitem__ __setitem__ __delitem__ __add__ __mul__ __rmul__ __contains__ __eq__ __lt__ __iadd__ __iter__ " \\
    "__hash__ __repr__ __reduce__ __bytes__ __len__ __enter__ __next__ __init__ __buffer__".split()
ERRORS = (ValueError, TypeError, IndexError, OverflowError, MemoryError, EOFError, BufferError, LookupError, OSError,
          ZeroDivisionError, StopIteration, SystemError)

class Uses:
    # Each special method uses the object that the call is made on, or raises, and then answers more or less well.
    def __init__(self, use, answer):
        self.use, self.answer = use, answer
    def __index__(self):
        self.use()
        return self.answer
    def __float__(self):
        self.use()
        return float(self.answer)
    def __bool__(self):
        self.use()
        return True
    def __len__(self):
        self.use()
        return 2**40
    def __iter__(self):
        self.use()
        yield 1
        self.use()
        yield b"2"
    def __eq__(self, other):
        self.use()
        return True
    def __hash__(self):
        self.use()
        return 1
    def __fspath__(self):
        self.use()
        return "x"
    def __bytes__(self):
        self.use()
        return b"bytes"
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags):
            self.use()
            return memoryview(bytearray(b"its bytes"))
        def __release_buffer__(self, view):
            self.use()

class Number(int):
    def to_bytes(self, *args, **named):
        return b""
    def __index__(self):
        return "no number"
    def __float__(self):
        return 1.5

class Round:
    def __init__(self):
        self.buffer = BytesMut(b"hello, world " * rng.randrange(6))
        self.whole = Bytes(b"abc def\\n" * 30)
        self.owner = bytearray(b"owned " * 9)
        parts = self.whole, Bytes.from_owner(self.owner), self.buffer.split_to(len(self.buffer) // 2).freeze()
        self.objects = [self.buffer, *parts, Reader(*parts), self.buffer.writer(), self.whole[3:9]]
        self.views = []
        self.constant = []

    def use(self):
        buffer = self.buffer
        what = rng.randrange(9)
        if what == 0: buffer.clear()
        elif what == 1: buffer.put(b"z" * 500)
        elif what == 2: self.constant.append((part := buffer.split().freeze(), bytes(part)))
        elif what == 3: self.views = [memoryview(buffer)]
        elif what == 4: self.views = []
        elif what == 5: self.views = [buffer.spare(rng.randrange(50))]
        elif what == 6: gc.collect(0)
        elif what == 7: self.objects[4].close()
        else: raise ZeroDivisionError

    def argument(self):
        what = rng.randrange(14)
        if what < 2: return rng.choice(HUGE)
        if what < 5: return rng.choice(SMALL)
        if what < 7: return Uses(self.use, rng.choice([0, 3, 2**62, -5]))
        return rng.choice([
            None, "text", "utf-8\\0", 2.5, float("nan"), slice(None, None, -1), slice(Uses(self.use, 1), 2**70, 2),
            slice(5, 1), b"", b"o", b"hello", bytearray(b"l"), memoryview(b"xy")[::-1], [1, 2, 300], (b"h", (b"h",)),
            self.buffer, self.whole, Number(5), object(), 1j, (Uses(self.use, 7) for _ in range(3)), True,
            memoryview(self.owner), Uses(self.use, 3), iter(self.buffer),
        ])

    def call(self):
        target = rng.choice(self.objects)
        names = [name for name in dir(target) if not name.startswith("_")] + [n for n in NAMES if hasattr(target, n)]
        name = rng.choice(names)
        called[type(target).__name__, name] = called.get((type(target).__name__, name), 0) + 1
        found = getattr(target, name)
        if not callable(found):
            return
        answer = found(*(self.argument() for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3]))))
        if isinstance(answer, Bytes) and not self.is_owned(answer):
            self.constant.append((answer, bytes(answer)))
        if isinstance(answer, (Bytes, BytesMut, Reader)) and len(answer if type(answer) is not Reader else b"") < 10**5:
            self.objects[rng.randrange(5, 7)] = answer

    def is_owned(self, part):
        try:
            hash(part)
        except ValueError:
            return True     # the owner's memory is written by others

    def check(self):
        for part, content in self.constant:
            assert part == content and part.tobytes() == content
        self.views = []
        if len(self.buffer) > 10**5:
            self.buffer.clear()
        content = bytes(self.buffer)
        assert len(self.buffer) == len(content) <= self.buffer.capacity
        room = self.buffer.capacity - len(content)
        try:
            self.buffer.put(b"end")
        except BufferError:
            assert room < 3     # an answer, a slice of the buffer, pins it
        else:
            assert self.buffer == content + b"end"
            self.buffer.truncate(len(content))

called, calls = {{}}, 0
for _ in range({rounds}):
    round = Round()
    for _ in range(50):
        try:
            round.call()
        except ERRORS as error:
            if isinstance(error, SystemError):
                assert "bad argument to internal function" in str(error), error     # flags that no buffer has
            del error
        calls += 1
    round.check()
    del round
gc.collect()
missed = {{(cls.__name__, name) for cls in (Bytes, BytesMut, Reader) for name in dir(cls) if name[0] != "_"}}
missed -= set(called)
assert not missed or {rounds} < 400, missed
print(calls, "calls")
"""


@pytest.mark.parametrize("number", range(3))
def test_every_method_with_everything(number, rng, request):
    """Whatever is passed: an answer or an error, no constant that changes, and a buffer that goes on."""
    rounds = 20_000 if request.config.option.long else 500
    in_subprocess(EVERYTHING.format(seed=rng.randrange(2**32), rounds=rounds), timeout=60 + rounds / 20)


# --- arguments that use the object ---

USES = {
    "clear": lambda buffer: buffer.clear(),
    "grow": lambda buffer: buffer.put(b"z" * 1000),
    "freeze": lambda buffer: buffer.freeze(),
    "split": lambda buffer: buffer.split(),
    "read": lambda buffer: buffer.get_bytes(len(buffer) // 2),
    "truncate": lambda buffer: buffer.truncate(1),
    "split_off": lambda buffer: buffer.split_off(2),
    "unsplit": lambda buffer: buffer.unsplit(BytesMut(b"other")),
    "collect": lambda buffer: gc.collect(),
}

TAKES_NUMBERS = {
    "index": lambda buffer, odd: buffer[odd],
    "slice": lambda buffer, odd: buffer[odd:9:odd],
    "set an item": lambda buffer, odd: buffer.__setitem__(odd, odd),
    "set a slice": lambda buffer, odd: buffer.__setitem__(slice(odd, 5), b"ab"),
    "find": lambda buffer, odd: buffer.find(odd, odd, odd),
    "contains": lambda buffer, odd: odd in buffer,
    "reserve": lambda buffer, odd: buffer.reserve(odd),
    "try_reclaim": lambda buffer, odd: buffer.try_reclaim(odd),
    "spare": lambda buffer, odd: buffer.spare(odd),
    "commit": lambda buffer, odd: buffer.commit(odd),
    "append": lambda buffer, odd: buffer.append(odd),
    "resize": lambda buffer, odd: buffer.resize(odd, odd),
    "truncate": lambda buffer, odd: buffer.truncate(odd),
    "extend_from_within": lambda buffer, odd: buffer.extend_from_within(odd, odd),
    "split_off": lambda buffer, odd: buffer.split_off(odd),
    "split_to": lambda buffer, odd: buffer.split_to(odd),
    "advance": lambda buffer, odd: buffer.advance(odd),
    "get_bytes": lambda buffer, odd: buffer.get_bytes(odd),
    "get_uint": lambda buffer, odd: buffer.get_uint(odd),
    "put_u16": lambda buffer, odd: buffer.put_u16(odd),
    "put_f32": lambda buffer, odd: buffer.put_f32(odd),
    "put_int": lambda buffer, odd: buffer.put_int(odd, odd),
    "put_varint": lambda buffer, odd: buffer.put_varint(odd),
    "put_bytes": lambda buffer, odd: buffer.put_bytes(odd, odd),
    "extend": lambda buffer, odd: buffer.extend([1, odd, 2]),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("call", TAKES_NUMBERS)
def test_a_number_that_uses_the_buffer_it_is_given_to(call, use):
    buffer = BytesMut(TEXT * 3)
    uses = []

    def number(*_):
        uses.append(USES[use](buffer))
        return 3

    odd = hostile(__index__=number, __float__=number)
    answer = outcome(TAKES_NUMBERS[call], *ERRORS)(buffer, odd)
    assert uses
    kept = [(part, bytes(part)) for part in [answer, *uses] if isinstance(part, Bytes)]
    check(buffer)
    assert all(part == content for part, content in kept)


@pytest.mark.parametrize("call", TAKES_NUMBERS)
def test_a_number_that_raises_changes_nothing(call):
    buffer = BytesMut(TEXT * 3)
    odd = hostile(__index__=raising(ZeroDivisionError), __float__=raising(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        TAKES_NUMBERS[call](buffer, odd)
    assert (buffer, buffer.capacity) == (TEXT * 3, 36)


@pytest.mark.parametrize("verb", ["put_uint", "put_int", "put_uint_le", "put_int_le"])
@pytest.mark.parametrize("answer", [b"", None, b"too many bytes"])
def test_an_integer_with_methods_of_its_own_is_an_integer(verb, answer):
    class Odd(int):
        def to_bytes(self, *args, **named):
            return answer

    buffer = BytesMut()
    getattr(buffer, verb)(Odd(5), 16)
    assert getattr(buffer, verb.replace("put", "get"))(16) == 5


@pytest.mark.parametrize("use", USES)
def test_an_iterator_that_uses_the_buffer_it_fills(use):
    def using(buffer, one, two):
        yield one
        USES[use](buffer)
        yield two

    for call in (
        lambda buffer: buffer.extend(using(buffer, 1, 2)),
        lambda buffer: buffer.__setitem__(slice(0, 2), using(buffer, 1, 2)),
        lambda buffer: buffer.__setitem__(slice(0, 4, 2), using(buffer, 1, 2)),
        lambda buffer: buffer.writer().writelines(using(buffer, b"one", b"two")),
        lambda buffer: buffer.put(Bytes(b"-").join(using(buffer, b"one", b"two"))),
    ):
        buffer = BytesMut(TEXT)
        outcome(call, *ERRORS)(buffer)
        check(buffer)


def test_an_iterator_of_a_buffer_that_gets_shorter_and_longer():
    buffer = BytesMut(TEXT)
    seen = []
    for byte in buffer:
        seen.append(byte)
        if len(seen) == 2:
            buffer.truncate(4)
            kept = buffer.split_to(1).freeze()
        if len(seen) == 3:
            buffer.put(b"!" * 100)
            buffer.advance(98)
    assert bytes(seen) == b"hel!!"
    assert kept == b"h"


def test_a_view_of_itself_is_put_in_steps_as_a_bytearray_does():
    for place in (slice(None, None, -1), slice(0, 12, 1), slice(11, None, -1)):
        buffer, model = BytesMut(TEXT), bytearray(TEXT)
        buffer[place] = memoryview(buffer)
        model[place] = memoryview(model)
        assert buffer == model
    buffer, model = BytesMut(TEXT), bytearray(TEXT)
    buffer[::2] = memoryview(buffer)[:6]
    model[::2] = memoryview(model)[:6]
    assert buffer == model
    for wrong in (6, None, "text"):
        with pytest.raises(TypeError):
            buffer[::2] = wrong
    assert buffer == model


@pytest.mark.parametrize("size", [100, 5000])
def test_what_a_reader_gives_may_go_into_its_own_memory(size):
    for call, start in (("copy_to", 0), ("copy_to", 3), ("readinto", 7)):
        owner = bytearray(n * 7 & 255 for n in range(size))
        expected = bytearray(owner)
        expected[start:] = expected[: size - start]
        assert getattr(Reader(owner), call)(memoryview(owner)[start:]) == size - start
        assert owner == expected


# --- buffers ---


@written_in_python
class TestExporters:
    """Buffers written in Python, whose export and release call back."""

    class Exporter:
        def __init__(self, data, export=lambda: None, release=lambda: None):
            self.data, self.export, self.release = data, export, release
            self.exports = 0

        def __buffer__(self, flags):
            self.export()
            self.exports += 1
            return memoryview(self.data)

        def __release_buffer__(self, view):
            self.exports -= 1
            self.release()

    CALLS: ClassVar = {
        "put": lambda buffer, data: buffer.put(data),
        "extend": lambda buffer, data: buffer.extend(data),
        "+=": lambda buffer, data: buffer.__iadd__(data),
        "find": lambda buffer, data: buffer.find(data),
        "in": lambda buffer, data: data in buffer,
        "==": lambda buffer, data: buffer == data,
        "<": lambda buffer, data: buffer < data,
        "set a slice": lambda buffer, data: buffer.__setitem__(slice(0, 5), data),
        "set in steps": lambda buffer, data: buffer.__setitem__(slice(9, None, -2), data),
        "get_until": lambda buffer, data: buffer.get_until(data),
        "write": lambda buffer, data: buffer.writer().write(data),
    }

    @pytest.mark.parametrize("use", USES)
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("when", ["export", "release"])
    def test_one_that_uses_the_buffer(self, call, use, when):
        buffer = BytesMut(TEXT * 3)
        data = self.Exporter(b"hello", **{when: lambda: USES[use](buffer)})
        answer = outcome(self.CALLS[call], *ERRORS)(buffer, data)
        assert data.exports == 0
        kept = bytes(answer) if isinstance(answer, Bytes) else None
        check(buffer)
        assert kept is None or answer == kept

    @pytest.mark.parametrize("call", CALLS)
    def test_one_that_raises(self, call):
        buffer = BytesMut(TEXT * 3)
        data = self.Exporter(b"hello", export=lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            self.CALLS[call](buffer, data)
        assert (buffer, data.exports) == (TEXT * 3, 0)

    def test_every_method_of_bytes_releases_it(self):
        whole = Bytes(TEXT)
        for name in ("find", "rfind", "index", "count", "startswith", "endswith", "split", "rsplit", "partition"):
            data = self.Exporter(b"o", release=gc.collect)
            outcome(getattr(whole, name), ValueError)(data)
            assert data.exports == 0, name
        for call in (
            lambda data: whole.strip(data),
            lambda data: whole + data,
            lambda data: whole == data,
            lambda data: whole.replace(data, data),
            lambda data: whole.join([data, data]),
            lambda data: whole.slice_ref(data),
            lambda data: Bytes(data),
            lambda data: BytesMut(data),
            lambda data: Reader(data).read(),
            lambda data: Reader(data).copy_to(data),
            lambda data: Bytes.from_owner(data)[1:],
            lambda data: Reader(TEXT).get_until(data),
        ):
            data = self.Exporter(bytearray(b"o"))
            outcome(call, *ERRORS)(data)
            gc.collect()
            assert data.exports == 0

    def test_one_that_closes_the_reader_it_is_read_into(self):
        reader = Reader(bytearray(TEXT), TEXT)
        target = self.Exporter(bytearray(20), export=reader.close)
        assert outcome(reader.readinto, ValueError)(target) in (0, ValueError)
        assert reader.closed
        reader = Reader(bytearray(TEXT), TEXT)
        with pytest.raises(ValueError, match="closed"):
            reader.copy_to(self.Exporter(bytearray(20), export=reader.close))


@written_in_python
@pytest.mark.parametrize("flags", [0x100, 0x200])
def test_flags_that_no_buffer_has_pin_nothing(flags):
    for exporter in (BytesMut(TEXT), Bytes(TEXT), BytesMut(TEXT).spare().obj):
        with pytest.raises(SystemError):
            exporter.__buffer__(flags)
    buffer = BytesMut(TEXT)
    with pytest.raises(SystemError):
        buffer.__buffer__(flags)
    buffer.put(b"not pinned")
    buffer.freeze()


@written_in_python
def test_a_release_that_was_not_asked_for_does_not_unpin():
    buffer = BytesMut(TEXT)
    one, other = memoryview(buffer), memoryview(buffer)
    buffer.__release_buffer__(one)
    outcome(buffer.__release_buffer__, ValueError)(one)
    for wrong in (memoryview(TEXT), TEXT, None):
        with pytest.raises((ValueError, TypeError)):
            buffer.__release_buffer__(wrong)
    del one
    gc.collect()
    with pytest.raises(BufferError):
        buffer.put(b"still pinned")
    del other
    buffer.put(b"no longer")


def test_what_can_only_be_read_cannot_be_written_through_a_buffer_that_asks_to():
    for exporter in (Bytes(TEXT), Bytes.from_owner(bytearray(TEXT))):
        with pytest.raises((TypeError, BufferError)):
            (ctypes.c_char * 12).from_buffer(exporter)
        assert exporter == TEXT


def test_a_memoryview_that_was_released_is_refused_and_equals_nothing():
    view = memoryview(TEXT)
    view.release()
    whole, buffer = Bytes(TEXT), BytesMut(TEXT)
    for call in (
        lambda: Bytes(view),
        lambda: Bytes.from_owner(view),
        lambda: BytesMut(view),
        lambda: Reader(TEXT, view),
        lambda: whole.find(view),
        lambda: whole + view,
        lambda: whole.slice_ref(view),
        lambda: buffer.put(view),
        lambda: buffer.extend(view),
        lambda: buffer.__setitem__(slice(0, 3), view),
        lambda: Reader(TEXT).readinto(view),
    ):
        with pytest.raises(ValueError, match="released"):
            call()
    assert whole != view
    assert buffer != view
    assert (whole, buffer) == (TEXT, TEXT)


def test_views_that_are_kept_across_what_is_refused():
    buffer = BytesMut(TEXT)
    views = [memoryview(buffer), memoryview(buffer)[2:], memoryview(memoryview(buffer))]
    while views:
        for call in (buffer.freeze, buffer.split, lambda: buffer.split_to(2), lambda: buffer.put(b"more")):
            with pytest.raises(BufferError):
                call()
        buffer.clear()
        assert views[0] == TEXT
        buffer.put(TEXT)  # fits
        views.pop()
    buffer.put(b"more")
    assert buffer.freeze() == TEXT + b"more"


# --- extremes ---


def test_a_nest_of_tuples_is_refused():
    nest = b"h"
    for _ in range(200_000):
        nest = (nest,)
    for call in (Bytes(TEXT).startswith, Bytes(TEXT).endswith):
        assert outcome(call, TypeError)(nest) is TypeError
        assert outcome(call, TypeError)((b"x", (b"h",))) is outcome(TEXT.startswith, TypeError)((b"x", (b"h",)))
        assert call(()) is False
        with pytest.raises(TypeError):
            call((), "x")
    while type(nest) is tuple:  # not by recursion
        (nest,) = nest


@pytest.mark.parametrize(("encoding", "errors"), [("utf-8\0", "strict"), ("utf-8", "strict\0"), ("\ud800", "strict")])
def test_names_of_codecs_that_are_none(encoding, errors):
    expected = outcome(TEXT.decode, ValueError)(encoding, errors)
    assert expected in (ValueError, UnicodeEncodeError)
    assert outcome(Bytes(TEXT).decode, ValueError)(encoding, errors) is expected


def test_more_bytes_than_can_be_counted():
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE, which has no name before 3.13
    try:
        whole = mmap.mmap(-1, 2**43, flags=flags, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        pytest.skip("this system gives nobody so many addresses")
    part = Bytes.from_owner(whole)
    assert len(part) == 2**43
    assert Reader(*[part] * (2**20 - 1)).remaining == 2**63 - 2**43
    with pytest.raises(OverflowError):
        Reader(*[part] * 2**20)
    with pytest.raises((MemoryError, OverflowError)):
        part * 2**20
    with pytest.raises((MemoryError, OverflowError)):
        Bytes(b"").join([part] * 2**20)
    del part
    gc.collect()
    whole.close()


def test_a_closed_reader_has_not_even_nothing():
    reader = Reader(bytearray(TEXT))
    reader.close()
    for call in (
        lambda: reader.get_bytes(0),
        lambda: reader.try_get_bytes(0),
        lambda: reader.advance(0),
        lambda: reader.take(0),
        lambda: reader.copy_to(bytearray()),
        lambda: reader.read(0),
        lambda: reader.readinto(bytearray()),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert (reader.remaining, reader.position) == (0, 0)


# --- what they are not ---

THINGS = {
    "Bytes": lambda: Bytes(TEXT),
    "BytesMut": lambda: BytesMut(TEXT),
    "Reader": lambda: Reader(TEXT),
    "writer": lambda: BytesMut(TEXT).writer(),
    "spare": lambda: BytesMut(9).spare().obj,
    "owner": lambda: next(thing for thing in gc.get_referents(Bytes.from_owner(bytearray(TEXT)))),
}


@pytest.mark.parametrize("make", THINGS.values(), ids=THINGS)
class TestClasses:
    def test_cannot_be_derived_from(self, make):
        with pytest.raises(TypeError):
            type("Derived", (type(make()),), {})

    def test_cannot_be_changed(self, make):
        thing = make()
        for change in (lambda: setattr(thing, "name", 1), lambda: setattr(type(thing), "name", 1)):
            with pytest.raises((AttributeError, TypeError)):
                change()
        with pytest.raises((AttributeError, TypeError)):
            thing.__class__ = bytes

    def test_cannot_be_made_by_the_way(self, make):
        cls = type(make())
        for way in (lambda: object.__new__(cls), lambda: cls.__base__.__new__(cls), lambda: cls.__new__(bytes)):
            with pytest.raises(TypeError):
                way()

    def test_initialising_again_changes_nothing(self, make):
        thing = make()
        before = repr(thing)
        outcome(thing.__init__, TypeError)(b"other")
        outcome(thing.__init__, TypeError)()
        assert repr(thing) == before


@pytest.mark.parametrize("name", ["Reader", "writer", "spare", "owner"])
def test_what_cannot_be_copied_says_so(name):
    thing = THINGS[name]()
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(thing)


@pytest.mark.parametrize("name", ["Bytes", "Reader", "writer", "spare", "owner"])
def test_what_has_no_weak_references_says_so(name):
    with pytest.raises(TypeError):
        weakref.ref(THINGS[name]())


def test_methods_refuse_what_is_not_theirs():
    base = BytesMut.__base__
    for method in (Bytes.find, BytesMut.put, Reader.read, base.get_u8, base.get_bytes, BytesMut.__len__):
        for wrong in (TEXT, 5, None, object()):
            with pytest.raises(TypeError):
                method(wrong, b"x")
    with pytest.raises(TypeError):
        BytesMut.put(Reader(TEXT), b"x")
    with pytest.raises(TypeError):
        Reader.read(BytesMut(TEXT))


def test_comparisons_that_call_back_and_raise():
    buffer = BytesMut(TEXT)
    odd = hostile(__eq__=calling(buffer.clear, then=7), __lt__=raising(ZeroDivisionError), __hash__=lambda *_: 1)
    assert (buffer == odd) == 7
    assert (Bytes(TEXT) == odd) == 7
    assert buffer == b""
    with pytest.raises(ZeroDivisionError):
        Bytes(TEXT) > odd  # noqa: B015 (it raises)
    assert {Bytes(TEXT): 1}.get(odd) is None


def test_what_only_looks_like_an_integer_is_none():
    """Whatever has __index__ goes; what has __int__ alone, as fractions and decimals, does not."""
    buffer, reader, whole = BytesMut(TEXT), Reader(TEXT), Bytes(TEXT)
    for wrong in (2.0, hostile(__int__=lambda *_: 2), "2", None, 2j):
        for call in (
            buffer.get_uint,
            buffer.get_bytes,
            buffer.advance,
            buffer.truncate,
            buffer.reserve,
            buffer.append,
            buffer.commit,
            buffer.split_to,
            reader.try_get_int_le,
            reader.take,
            lambda n: buffer.put_uint(1, n),
            lambda n: buffer.put_u8(n),
            lambda n: reader.seek(0, n),
            lambda n: reader.seek(n),
            lambda n: whole.slice("None is left out" if n is None else n),
            lambda n: whole[n],
        ):
            with pytest.raises(TypeError):
                call(wrong)
    two = hostile(__index__=lambda *_: 2)
    assert (buffer.get_uint(two), reader.get_int(two), reader.seek(two, two)) == (0x6865, 0x6865, 12)
    buffer.put_uint(1, two)
    assert (buffer, reader.position) == (TEXT[2:] + b"\0\1", 12)
