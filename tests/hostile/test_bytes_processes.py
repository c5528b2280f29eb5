"""Forks while threads use Bytes, BytesMut and Reader, and signals that arrive in their calls."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import gc, itertools, os, random, signal, sys, threading, time, warnings
from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader
from tests.support.processes import in_child, interrupted, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

def workload(buffer):
    # Threads over one buffer: frames go in, and come out whole.
    buffer.clear()
    done, out = [], []

    def write(thread):
        for n in range(200):
            buffer.put(bytes([thread]) * 3 + n.to_bytes(2, "big"))
        done.append(thread)

    def read():
        while len(done) < 2 or buffer:
            frame = buffer.try_get_bytes(5)
            if frame is None:
                time.sleep(0)
            else:
                out.append(frame)

    running = [spawn(write, 1), spawn(write, 2), spawn(read)]
    for one in running:
        one.result()
    for thread in (1, 2):
        mine = [int.from_bytes(frame[3:], "big") for frame in out if frame[:3] == bytes([thread]) * 3]
        assert mine == list(range(200))
    assert len(out) == 400
"""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=60, **named)


@forks
def test_a_fork_from_any_thread():
    run("""
whole = Bytes.from_owner(bytearray(b"hello, world"))
buffer, reader = BytesMut(b"hello, world"), Reader(whole, b"rest")
pinned, spare = BytesMut(b"abc"), buffer.spare(20)
view = memoryview(pinned)
reader.advance(5)

def work():
    assert (whole[7:], buffer, reader.read()) == (b"world", b"hello, world", b", worldrest")
    spare[:1] = b"!"
    buffer.commit(1)
    assert buffer.split().freeze() == b"hello, world!"
    try:
        pinned.freeze()
    except BufferError:
        view.release()
    assert pinned.freeze() == b"abc"
    workload(buffer)
    workload(BytesMut())

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
assert (buffer, reader.remaining, view) == (b"hello, world", 11, b"abc")
""")


@forks
def test_a_fork_while_twenty_threads_hammer():
    run("""
shared, stop = BytesMut(), []
whole = Bytes.from_owner(bytearray(range(256)) * 4)
reader = Reader(whole, whole, whole)

def hammer(number):
    parts = []
    while not stop:
        shared.put(b"\\x01" * 50)
        parts.append(shared.split().freeze())
        shared.unsplit(BytesMut(parts[-1][:20]))
        shared.spare(30)
        parts.append(whole[number : number + 100][3:])
        assert parts[-1] == bytes(range(number + 3, number + 100))
        parts[:-20] = []
        reader.seek(number)
        reader.try_get_u32()
        shared.try_reclaim(100)

def work():
    # What was going on in other threads has happened or not; no call is half done.
    content = bytes(shared)
    assert content == b"\\x01" * len(content)
    assert whole[:4] == bytes(range(4))
    assert 0 <= reader.position <= 40 and reader.seek(0) == 0 and reader.get_u16() == 1
    workload(shared)
    workload(BytesMut())
    assert gc.collect() >= 0

hammering = [spawn(hammer, number) for number in range(20)]
for _ in range(4):
    in_child(work)
stop.append(True)
for one in hammering:
    one.result()
content = bytes(shared)
assert content == b"\\x01" * len(content)
""")


@forks
def test_the_exit_of_the_child_is_clean():
    run("""
class Owner(bytearray):
    def __del__(self):
        ends.append(os.getpid())
        self.append(1)

ends = []
whole = Bytes.from_owner(Owner(b"hello, world"))
parts, reader, buffer = [whole[1:], whole[2:]], Reader(whole), BytesMut(whole)
view, spare = memoryview(buffer), BytesMut(9).spare()
pid = os.fork()
if pid == 0:
    sys.exit(0)     # a whole finalisation
_, status = os.waitpid(pid, 0)
assert status == 0, status
del whole, parts, reader
gc.collect()
assert ends == [os.getpid()]
""")


@pytest.mark.parametrize("line", ['b""', 'b"x"', "Bytes(b'x')"])
def test_ctrl_c_ends_a_writelines_that_would_never_end(line):
    """Without it the interpreter could not be stopped, and without the GIL no collection could begin."""
    run(f"""
buffer = BytesMut()
file = buffer.writer()
begun = []

def lines():
    for _ in range(5000):
        yield {line}
    begun.append(None)
    yield from itertools.repeat({line})

with interrupted(lambda: begun):
    file.writelines(itertools.chain(lines(), ()))
with interrupted(lambda: len(begun) > 1):
    begun.append(None)
    file.writelines(itertools.repeat({line}))
content = bytes(buffer)
assert content == b"x" * len(content)
assert {line} == b"" or len(content) >= 5000
buffer.clear()
workload(buffer)
""")


def test_a_writelines_that_never_ends_lets_other_threads_in():
    run("""
class Enough(Exception):
    pass

buffer, stop = BytesMut(), []
seen = []

class Lines:
    # As itertools.repeat(), but the test has to end.
    def __iter__(self):
        return map(self.next, itertools.repeat(None))
    def next(self, _):
        if stop:
            raise Enough
        return b""

def write():
    try:
        buffer.writer().writelines(Lines())
    except Enough:
        return "ended"

writing = spawn(write)
for n in range(20):
    buffer.put(b"x")
    gc.collect()
stop.append(True)
assert writing.result() == "ended"
assert buffer == b"x" * 20
""")


def test_a_handler_may_use_what_its_thread_uses():
    run("""
buffer = BytesMut()
taken, calls = [], 0

def handler(signum, frame):
    global calls
    calls += 1
    buffer.put(b"<handler>")
    taken.append(buffer.split_to(len(buffer) // 2).freeze())
    buffer.try_reclaim(100)

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
put = 0
end = time.monotonic() + 1
while time.monotonic() < end or not calls:
    buffer.put(b"0123456789")
    put += 10
    taken.append(buffer.try_get_bytes(len(buffer) // 3) or b"")     # the handler may have been quicker
    buffer.unsplit(BytesMut(b"abc"))
    put += 3
signal.setitimer(signal.ITIMER_REAL, 0)
assert sum(map(len, taken)) + len(buffer) == put + 9 * calls
""")


def test_a_storm_of_interrupts_loses_no_byte():
    """KeyboardInterrupt between any two calls, and inside none: what went in is in the buffer or came out."""
    run("""
buffer = BytesMut()
state = {"next": 0, "seen": 0}
put, get = buffer.put_u32, buffer.get_u32

def attempt():
    for _ in range(50):
        put(7)
        put(8)
        get()
        get()

calls, interrupts = storm_of_interrupts(attempt)
assert interrupts
assert len(buffer) % 4 == 0
left = []
while buffer:
    left.append(buffer.get_u32())
assert set(left) <= {7, 8}
workload(buffer)
""")
