"""Bytes under all that an interpreter can be told to check, and with every allocation failing in turn."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import SETTINGS, run_under

TESTS = [f"tests/unit/test_bytes{name}.py" for name in ("", "_mut", "_numbers", "_reader")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, TESTS)


NO_MEMORY = """
import gc, sys, warnings
from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.without_memory import every_allocation_fails

TEXT = b"hello, world\\n" * 40
number = 10**9      # too large for the interpreter to keep one
sparse, pairs, target = memoryview(TEXT)[::2], [TEXT, TEXT[:9]], bytearray(400)

class Exports(bytearray):
    pass

class Case:
    # Bytes of its own memory and of an owner's; a buffer that is full and one with room; readers of one and many.
    def __init__(self):
        self.owner = Exports(TEXT)
        self.whole, self.shared = Bytes(TEXT)[3:300], Bytes.from_owner(self.owner)[5:]
        self.full, self.roomy = BytesMut(TEXT), BytesMut(2000)
        self.roomy.put(TEXT)
        self.roomy.advance(7)
        self.half = BytesMut(TEXT)
        self.other = self.half.split_off(100)
        self.empty, self.file = BytesMut(), BytesMut(b"<")
        self.writer = self.file.writer()
        self.reader, self.pieces = Reader(TEXT), Reader(*(TEXT[n : n + 5] for n in range(0, len(TEXT), 5)))
        self.varints = BytesMut(b"\\xff\\xff\\xff\\x7f" * 9)
        self.varints_in_pieces = Reader(*(bytes(self.varints)[n : n + 3] for n in range(0, 36, 3)))
        self.buffers = [self.varints, self.full, self.roomy, self.half, self.other, self.empty, self.file]
        self.readers = [self.reader, self.pieces]
        self.all_readers = [*self.readers, self.varints_in_pieces]

    def seen(self):
        return [bytes(self.whole), bytes(self.shared), *((bytes(b), b.capacity) for b in self.buffers),
                *((r.position, r.remaining, r.closed) for r in self.all_readers)]

    def rests(self):
        pass

    def check(self):
        # All still work, and nothing is pinned, or shared with what the failed call has made.
        for b in self.buffers:
            content = bytes(b)
            b.put(b"more")
            assert b.split().freeze() == content + b"more"
        for r in self.readers:
            if not r.closed:
                position = r.position
                assert r.read() == TEXT[position:]
        del self.shared
        gc.collect()
        self.owner.append(1)    # no export is left

OWN = NotEnoughBytes, BufferError, ValueError, UnicodeError      # failures of a call that are results

# Made here: an interpreter may crash where there is no memory for a function (3.12, 3.13), which is not what is tested.
def call(c):
    return {call}

def answer(result):
    return bytes(result) if isinstance(result, (Bytes, BytesMut, memoryview)) and not {undefined} else type(result)

assert every_allocation_fails(Case, call, OWN, atomic={atomic}, answer=answer) >= {least}
"""

CALLS = {
    "Bytes": "Bytes(TEXT)",
    "Bytes of what is not contiguous": "Bytes(sparse)",
    "Bytes of a buffer": "Bytes(c.full)",
    "from_owner": "Bytes.from_owner(c.owner)",
    "slice": "c.whole[3:9]",
    "slice of an owner's": "c.shared.slice(3, 9)",
    "slice that copies": "c.whole.slice(3, 9, copy_below=10)",
    "slice in steps": "c.shared[::3]",
    "split_at": "c.shared.split_at(5)",
    "slice_ref": "c.whole.slice_ref(memoryview(c.whole)[2:4])",
    "compact": "c.shared.compact()",
    "split": "c.whole.split(b'o')",
    "split at white space": "c.shared.split()",
    "rsplit": "c.whole.rsplit(b'o', 5)",
    "rsplit at white space": "c.whole.rsplit(None, 5)",
    "partition": "c.shared.partition(b'o')",
    "rpartition": "c.whole.rpartition(b'none')",
    "strip": "c.whole.strip(b'lo')",
    "splitlines": "c.whole.splitlines()",
    "join": "c.whole.join(pairs)",
    "replace": "c.whole.replace(b'o', b'0000')",
    "lower and upper": "c.whole.lower().upper()",
    "+": "c.whole + TEXT",
    "*": "c.whole * 5",
    "tobytes and hex": "(c.whole.tobytes(), c.whole.hex(':'))",
    "decode": "c.whole.decode()",
    "searching": "(c.whole.find(b'world', 3), c.whole.count(b'o'), c.whole.rindex(b'l'), b'none' in c.whole)",
    "comparing": "(c.whole == TEXT, c.whole < c.shared, c.whole == c.full, hash(c.whole))",
    "a view": "memoryview(c.shared)[3:9]",
    "iteration": "max(c.whole)",
    "repr and pickle": "(repr(c.whole), repr(c.full), c.whole.__reduce__())",
    "BytesMut": "BytesMut(TEXT)",
    "BytesMut of room": "BytesMut(1000)",
    "BytesMut of a buffer": "BytesMut(c.roomy)",
    "reserve": "c.full.reserve(1000)",
    "reserve of a shared one": "c.half.reserve(1000)",
    "reserve of an empty one": "c.empty.reserve(10)",
    "try_reclaim": "c.full.try_reclaim(1000)",
    "put": "c.full.put(TEXT)",
    "put of itself": "c.full.put(c.full)",
    "put of what is not contiguous": "c.half.put(sparse)",
    "put to a shared one": "c.half.put(TEXT)",
    "extend by integers": "c.full.extend([1, 2, 3])",
    "append": "c.full.append(7)",
    "extend_from_within": "c.half.extend_from_within(3, 50)",
    "resize": "c.full.resize(5000)",
    "put_bytes": "c.half.put_bytes(1, 50)",
    "numbers": "c.full.put_u64(number)",
    "wide numbers": "c.full.put_uint(number, 16)",
    "floats": "c.half.put_f64(1.5)",
    "varints": "c.half.put_varint(number)",
    "spare": "c.full.spare(100)",
    "spare of what there is": "c.roomy.spare()",
    "spare of a shared one": "c.half.spare(1000)",
    "spare of nothing": "c.empty.spare()",
    "split_to": "c.roomy.split_to(5)",
    "split_off": "c.roomy.split_off(500)",
    "all of it": "c.roomy.split()",
    "freeze": "c.full.freeze()",
    "unsplit": "c.half.unsplit(c.full)",
    "unsplit of what follows": "c.half.unsplit(c.other)",
    "unsplit in the wrong order": "c.other.unsplit(c.half)",
    "unsplit of an empty one": "c.empty.unsplit(c.full)",
    "try_unsplit": "(c.half.try_unsplit(c.full), c.half.try_unsplit(c.other))",
    "item": "c.full[3]",
    "a copied part": "c.full[3:90]",
    "a copied part in steps": "c.full[::3]",
    "set a part": "c.full.__setitem__(slice(0, 9), TEXT[:9])",
    "set in steps": "c.full.__setitem__(slice(8, None, -1), memoryview(c.full)[:9])",
    "bytes": "(bytes(c.full), c.full == c.roomy, c.full < TEXT)",
    "a view that pins": "memoryview(c.full)[3:9].tobytes()",
    "Reader": "Reader(TEXT, c.owner, c.whole)",
    "get_u64": "c.reader.get_u64()",
    "get_i32 over buffers": "c.pieces.get_i32()",
    "get_f64": "c.pieces.get_f64_le()",
    "get_f32 of a buffer": "c.full.get_f32()",
    "get_u64 of a buffer": "c.full.get_u64()",
    "get_uint": "c.pieces.get_uint(7)",
    "get_int of 16 bytes": "c.full.get_int(16)",
    "try_get_u64": "c.pieces.try_get_u64_le()",
    "peek_u64": "c.pieces.peek_u64()",
    "get_varint": "c.varints.get_varint()",
    "get_varint over buffers": "c.varints_in_pieces.try_get_varint()",
    "get_bytes": "c.reader.get_bytes(5)",
    "get_bytes over buffers": "c.pieces.get_bytes(33)",
    "get_bytes of a buffer": "c.full.get_bytes(33)",
    "get_until": "c.pieces.get_until(b'world')",
    "get_until of a buffer": "c.roomy.try_get_until(b'world')",
    "too few": "c.reader.get_bytes(10**6)",
    "too few numbers": "c.empty.get_u64()",
    "take": "c.pieces.take(33)",
    "chunks": "c.pieces.chunks()",
    "copy_to": "c.pieces.copy_to(target)",
    "read": "c.pieces.read(300)",
    "read1": "c.pieces.read1()",
    "readline": "c.pieces.readline()",
    "next": "next(c.reader)",
    "readinto": "c.pieces.readinto(target)",
    "seek": "c.pieces.seek(-3, 2)",
    "seek and tell": "(c.pieces.seek(301), c.pieces.tell())",
    "readlines": "c.reader.readlines()",
    "a closed one": "(c.reader.close(), c.reader.get_u64())",
    "write": "c.writer.write(TEXT)",
    "writelines": "c.writer.writelines(pairs)",
}

NOT_ATOMIC = {"readlines", "writelines", "a closed one", "try_unsplit", "seek and tell"}
"""Calls that are several, one after the other."""

NEEDS_NONE = {"append", "item", "searching", "set a part", "unsplit of what follows", "unsplit of an empty one"}
NEEDS_NONE |= {"try_unsplit", "try_reclaim"}
"""Calls that allocate nothing, or nothing on some interpreters."""


@pytest.mark.parametrize("call", CALLS)
def test_every_allocation_failing_in_turn(call):
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    program = NO_MEMORY.replace("{call}", CALLS[call]).replace("{atomic}", str(call not in NOT_ATOMIC))
    program = program.replace("{least}", "0" if call in NEEDS_NONE else "1")
    in_subprocess(program.replace("{undefined}", str("spare" in call)), timeout=60)


JOINING = """
import resource, threading
from ferrule import BytesMut
from tests.support.race import HANG, run_together

full, small = BytesMut(1 << 24), BytesMut(64)
put, got, refused, written, limits = [], [], [], [], {}

def limit():
    # All threads have memory for small things by now. The full buffer gets no more: twice its size is not left.
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limits["before"] = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 23), limits["before"][1]))
    try:
        while True:
            full.resize(full.capacity + 1, 7)
    except MemoryError:
        full.resize(full.capacity, 7)
    limits["full"] = len(full)

all_are_there = threading.Barrier(4, limit)

def racing(work):
    def raced():
        warm = [bytes(n) for n in range(1000)]
        del warm
        all_are_there.wait(HANG)
        work()
    return raced

def join():
    try:
        full.unsplit(small)
    except MemoryError:
        refused.append(None)

def join_all_the_time():
    while len(written) < 2:
        join()

def write(byte):
    for _ in range(60_000):
        small.put(byte)
        put.append(byte)
    written.append(byte)

def read():
    while len(written) < 2:
        got.append(small.try_get_bytes(1))
        got.append(small.split().freeze())

run_together(*map(racing, (join_all_the_time, lambda: write(b"1"), lambda: write(b"2"), read)))
small.put(b"12")
put.append(b"12")
refused.clear()
join()
resource.setrlimit(resource.RLIMIT_AS, limits["before"])
assert len(full) == limits["full"] and full.find(b"1") < 0 and full.find(b"2") < 0
assert refused, "there was memory"
got.append(small.freeze())
assert sorted(b"".join(part for part in got if part)) == sorted(b"".join(put)), (len(got), len(put))
"""


def test_what_cannot_be_joined_for_want_of_memory_is_lost_to_nobody():
    """While one thread tries to join them, others put bytes into the smaller buffer and take some: all are there."""
    pytest.importorskip("resource", reason="this platform limits no memory")
    in_subprocess(JOINING, timeout=120)


def test_two_that_are_joined_to_each_other_at_once():
    in_subprocess(
        """
        from ferrule import BytesMut
        from tests.support.race import run_together

        for n in range(1000):
            one, other = BytesMut(b"1" * 20), BytesMut(b"2" * 30)
            run_together(lambda: one.unsplit(other), lambda: other.unsplit(one), lambda: other.put(b"3"))
            content = bytes(one) + bytes(other)
            assert sorted(content) == sorted(b"1" * 20 + b"2" * 30 + b"3"), content
        """,
        timeout=60,
    )
