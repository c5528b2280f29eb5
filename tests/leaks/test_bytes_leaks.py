"""References, objects and memory come back to the start after every kind of call on bytes, also one that raises."""

import sys

import pytest

from tests.support.leaks import assert_no_leak

SETUP = """
import copy, csv, gc, gzip, io, json, mmap, pickle, sys, threading
from array import array
from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.race import raises, spawn

class Odd:
    # Raises wherever it is used.
    def __index__(self):
        raise error
    __float__ = __bytes__ = __iter__ = __index__

error = KeyError("mine")
none = None
odd, text, owner, numbers = Odd(), b"hello, world", bytearray(b"hello, world" * 50), array("d", [1.0, 2.0])
whole, shared = Bytes(b"hello, world\\n" * 50), Bytes.from_owner(owner)
reader, buffer = Reader(whole, owner), BytesMut(1000)
"""

WATCH = ["odd", "text", "owner", "numbers", "whole", "shared", "reader", "buffer", "error"]
# Before 3.12 None is counted as any object, and an export that forgets it has no other effect.
WATCH_NONE = ["none"] if sys.version_info < (3, 12) else []

CALLS = {
    "new ones": """
        Bytes(); Bytes(text); Bytes(whole); Bytes(buffer); Bytes([1, 2]); Bytes.from_owner(text)
        Bytes.from_owner(whole)
        BytesMut(); BytesMut(9); BytesMut(text); BytesMut(buffer); BytesMut(range(9)); Reader()
        Reader(text, owner, whole)
        for wrong in ("text", None, odd, [300], memoryview(text)[::2], 1.5):
            raises((TypeError, ValueError, BufferError, KeyError), Bytes.from_owner, wrong)
            raises((TypeError, ValueError, BufferError, KeyError), Reader, text, owner, wrong)
            if type(wrong) is not memoryview:
                raises((TypeError, ValueError, BufferError, KeyError), Bytes, wrong)
                raises((TypeError, ValueError, BufferError, KeyError), BytesMut, wrong)
        raises((MemoryError, OverflowError), BytesMut, sys.maxsize); raises(ValueError, BytesMut, -1)
        error.__traceback__ = None
    """,
    "slices": """
        for b in (whole, shared):
            b[1]; b[1:5]; b[5:1]; b[::2]; b[2:9][1:3][:1]; b.slice(1, 5); b.slice(1, 5, copy_below=9); b.split_at(3)
            b.slice_ref(memoryview(b)[3:9]); b[3:9].compact(); b.retained; list(b[:9])
            raises(IndexError, b.split_at, -1)
            raises(ValueError, b.slice_ref, text); raises(KeyError, b.__getitem__, odd); raises(KeyError, b.slice, odd)
        error.__traceback__ = None
    """,
    "methods of bytes": """
        for b in (whole, shared, whole[3:40], shared[:1]):
            b.find(b"world"); b.rfind(b"l", 3); b.count(111); b.startswith((b"x", b"hello")); b.endswith(b"d")
            b"o" in b
            b.split(); b.split(b"o", 2); b.rsplit(None, 1); b.rsplit(b"l"); b.partition(b","); b.rpartition(b"x")
            b.strip(b"hd"); b.lstrip(); b.splitlines(True); b.tobytes(); bytes(b); b.hex(); b.decode(); b.lower()
            b.upper()
            b.replace(b"o", b"0"); b.replace(b"x", b"y"); b[:1].join([b, text]); b + text; text + b; b * 3; b == text
            b < text
            b != shared; repr(b); memoryview(b)[1:2]; b.isascii(); b == 5; b == memoryview(text); b.hex(":", 2)
            raises(ValueError, b.index, b"x"); raises(TypeError, b.find, "x"); raises(ValueError, b.split, b"")
            raises(TypeError, b.startswith, (b"x", (b"h",))); raises(TypeError, b.join, [5])
            b.__add__(5)
            raises(KeyError, b.find, b"x", odd); raises(KeyError, b.find, odd); raises(LookupError, b.decode, "none")
            raises(UnicodeError, (b + b"\\xff").decode)
        hash(whole); raises(ValueError, hash, shared); error.__traceback__ = None
    """,
    "values": """
        pickle.loads(pickle.dumps(whole)); copy.copy(shared); copy.deepcopy(whole[3:]); copy.copy(BytesMut(text))
        raises(TypeError, copy.copy, reader); raises(TypeError, pickle.dumps, reader); {whole: 1}[whole]
        raises(AttributeError, setattr, whole, "name", 1)
    """,
    "owners": """
        for one in (bytearray(text), array("i", [1, 2]), memoryview(text)[2:9], mmap.mmap(-1, 4096), BytesMut(text)):
            parts = [Bytes.from_owner(one)]
            parts += [parts[0][n:] for n in range(4)]
            parts += parts[0].slice(2, 5), parts[0][1:3][1:], Reader(one).get_bytes(2)
            while parts: parts.pop(len(parts) // 2)
        spawn(lambda part: None, Bytes.from_owner(bytearray(text))[2:]).result()
    """,
    "cycles": """
        class Owner(bytearray): pass
        one = Owner(text)
        one.parts = [Bytes.from_owner(one)[n:] for n in range(3)]
        one.parts += Reader(one), Reader(one).take(3), iter(Bytes.from_owner(one))
        del one, Owner
        gc.collect()
    """,
    "growth": """
        b = BytesMut()
        for n in range(50): b.append(n)
        b.put(text); b.extend(text); b += text; b.extend(b); b.extend([1, 2]); b.extend_from_within(3, 9)
        b.put_bytes(1, 9)
        b.resize(500); b.resize(20, 1); b.truncate(9); b.reserve(100); b.try_reclaim(1000); b.advance(3); b.clear()
        raises(MemoryError, b.reserve, sys.maxsize); raises(MemoryError, b.resize, sys.maxsize)
        raises(ValueError, b.append, 256)
        raises(TypeError, b.put, "text"); raises(TypeError, b.extend, odd); raises(KeyError, b.put_u8, odd)
        raises(KeyError, b.reserve, odd); raises(NotEnoughBytes, b.advance, 5); raises(ValueError, b.resize, -1)
        b[0:0] = b""; b.put(text); b[1]; b[0] = 7; b[1:3] = b"ab"; b[::2]; b[::-1] = memoryview(b); b.find(b"o")
        b == text
        raises(IndexError, b.__getitem__, 99); raises(ValueError, b.__setitem__, slice(0, 2), text); list(b); repr(b)
        raises(TypeError, b.__delitem__, 0); raises(TypeError, hash, b); bytes(b); b < whole; b != BytesMut(b)
        error.__traceback__ = None
    """,
    "splitting": """
        b = BytesMut(100)
        b.put(text); head = b.split_to(5); tail = b.split_off(3); b.unsplit(tail); head.unsplit(b)
        head.try_unsplit(tail)
        other = BytesMut(text); head.unsplit(other); other.unsplit(head); other.try_unsplit(BytesMut(b"x"))
        BytesMut().unsplit(other)
        c = BytesMut(text); c.split().freeze(); c.split_to(0); c.split_off(c.capacity); c.freeze(); c.put(text)
        c.freeze()[3:5]
        raises(IndexError, c.split_to, 99); raises(ValueError, c.unsplit, c); raises(TypeError, c.unsplit, None)
        view = memoryview(c); raises(BufferError, c.freeze); raises(BufferError, c.split)
        raises(BufferError, b.unsplit, c)
        raises(BufferError, c.unsplit, BytesMut(text)); view.release(); c.unsplit(BytesMut(text))
    """,
    "views": """
        b = BytesMut(50); view = b.spare(); view[:3] = b"abc"; b.commit(3); b.put(bytes(100)); view.release()
        b.spare(200)
        b.spare(0); raises(ValueError, b.commit, 500); raises(MemoryError, b.spare, sys.maxsize)
        raises(KeyError, b.spare, odd)
        memoryview(b)[3:9].tobytes(); memoryview(memoryview(b)); Bytes.from_owner(b)[3:]; memoryview(b.spare().obj)
        view = memoryview(b); raises(BufferError, b.put, bytes(1000)); raises(BufferError, b.spare, 1000); b.spare(0)
        del view
        error.__traceback__ = None
        memoryview(whole); memoryview(shared)[2:]; memoryview(BytesMut())
    """,
    "numbers": """
        b = BytesMut()
        b.put_u8(1); b.put_i64(-5); b.put_f32(1.5); b.put_f64_le(1e300); b.put_uint(2**100, 16); b.put_int_le(-3, 3)
        b.put_varint(2**60)
        raises(OverflowError, b.put_u8, 256); raises(OverflowError, b.put_f32, 1e300)
        raises(OverflowError, b.put_uint, -1, 3)
        raises(OverflowError, b.put_varint, -1); raises(ValueError, b.put_int, 1, 17); raises(TypeError, b.put_i16, 1.5)
        for r in (b, Reader(bytes(b)), Reader(*(bytes(b)[n:n + 1] for n in range(len(b))))):
            r.peek_u8(); r.get_u8(); r.get_i64(); r.get_f32(); r.try_get_f64_le(); r.get_uint(16); r.try_get_int_le(3)
            r.get_varint()
            raises(NotEnoughBytes, r.get_u64); raises(NotEnoughBytes, r.peek_u32)
            raises(NotEnoughBytes, r.get_int, 9); r.try_get_u16()
            raises(NotEnoughBytes, r.get_varint); raises(NotEnoughBytes, r.get_bytes, 1)
            raises(ValueError, r.get_uint, 0)
            r.try_get_bytes(1); r.try_get_until(b"x"); raises(NotEnoughBytes, r.get_until, b"x")
            raises(ValueError, r.get_until, b"")
        raises(ValueError, Reader(b"\\x80\\x00").get_varint)
    """,
    "reading": """
        for r in (Reader(whole), Reader(whole[:7], owner, text), BytesMut(whole)):
            r.get_bytes(3); r.get_bytes(9); r.get_until(b"w"); r.try_get_until(b"world"); r.try_get_bytes(10**6)
            r.advance(1)
        r = Reader(whole, owner, text)
        r.take(700).take(3); r.chunks(); r.copy_to(bytearray(9)); r.position; r.remaining; repr(r)
        raises(NotEnoughBytes, r.take, 10**6)
        r.seek(0); r.read(5); r.read1(3); r.readline(); r.readlines(50); r.readinto(bytearray(9)); list(r)
        r.seek(0, 2); r.tell()
        raises(ValueError, r.seek, -1); raises(io.UnsupportedOperation, r.write, text)
        raises(io.UnsupportedOperation, r.fileno)
        raises((TypeError, BufferError), r.copy_to, text)
        with r: pass
        raises(ValueError, r.read); raises(ValueError, r.get_u8); raises(ValueError, r.chunks); r.close()
        reader.seek(3); reader.get_bytes(5); reader.get_u64(); reader.seek(0); next(reader); whole.reader()
    """,
    "files": """
        b = BytesMut()
        with gzip.GzipFile(fileobj=b.writer(), mode="wb") as file: file.write(bytes(whole))
        gzip.GzipFile(fileobj=Reader(b.freeze())).read()
        pickle.dump([text, 1], b.writer()); pickle.load(Reader(b.freeze()))
        file = io.TextIOWrapper(b.writer(), "utf-8"); json.dump([1, 2], file); file.close()
        json.load(Reader(b.split().freeze()))
        w = b.writer(); w.writelines([text, whole, b]); raises(TypeError, w.writelines, [text, 5])
        raises(TypeError, w.write, "x"); w.close()
        raises(ValueError, w.write, text); raises(io.UnsupportedOperation, w.read); raises(KeyError, w.writelines, odd)
        error.__traceback__ = None
    """,
    "two that wait for nobody": """
        b = BytesMut()
        def put():
            for n in range(20): b.put(text)
        def get():
            for n in range(20): b.try_get_bytes(5); b.split().freeze()
        running = [spawn(put), spawn(get)]
        for one in running: one.result()
    """,
}


@pytest.mark.parametrize("calls", CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(CALLS[calls], setup=SETUP, watch=WATCH + WATCH_NONE, repeats=300 if "two" in calls else 1000)


@pytest.mark.parametrize(
    "code",
    [
        "whole[3:9]; shared[3:9]",
        "Bytes.from_owner(owner)",
        "memoryview(whole); memoryview(shared); memoryview(buffer)",
        "buffer.put(text); buffer.split().freeze()",
        "buffer.spare(10).release(); buffer.try_reclaim(50)",
        "reader.seek(0); reader.get_bytes(5); reader.get_u32(); reader.get_bytes(700)",
        "BytesMut(text).get_bytes(3)",
    ],
)
def test_memory_is_flat_over_a_hundred_thousand_calls(code):
    assert_no_leak(code, setup=SETUP, watch=WATCH + WATCH_NONE, repeats=100_000)


def test_a_buffer_that_is_a_queue_needs_no_more_memory_than_it_holds():
    assert_no_leak(
        """
        for n in range(100):
            queue.put(text)
            queue.advance(12)
            other.put(text)
            other.get_bytes(12)
        assert queue.capacity <= 64 and other.capacity <= 64, (queue.capacity, other.capacity)
        """,
        setup=SETUP + "queue, other = BytesMut(32), BytesMut(32)",
        repeats=1000,
    )
