"""BytesProtocol driven by hand, as a transport does: get_buffer(), buffer_updated()."""

import asyncio
import ctypes

import pytest

from ferrule import Bytes, BytesMut
from ferrule.aio.streams import BytesProtocol

KIB = 1024
IDLE = 4 * KIB


class Kept(BytesProtocol):
    """Takes nothing; what it was called with."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def bytes_received(self, buffer):
        self.calls.append(bytes(buffer))


class Taken(BytesProtocol):
    """Takes all of it."""

    def __init__(self):
        super().__init__()
        self.got = []

    def bytes_received(self, buffer):
        self.got.append(buffer.get_bytes(len(buffer)))


class Dropped(BytesProtocol):
    """Drops all of it."""

    def bytes_received(self, buffer):
        buffer.advance(len(buffer))


class Sized(BytesProtocol):
    """Takes messages of a size it knows beforehand, and says so if `hints`."""

    def __init__(self, size, hints=True):
        super().__init__()
        self.size, self.hints, self.count = size, hints, 0

    def bytes_received(self, buffer):
        while len(buffer) >= self.size:
            buffer.advance(self.size)
            self.count += 1
        if self.hints and buffer:
            self.need = self.size - len(buffer)


def read(protocol, data):
    """One read, of as much of data as the room has; how much that was."""
    room = protocol.get_buffer(-1)
    n = min(len(data), len(room))
    room[:n] = data[:n]
    del room
    protocol.buffer_updated(n)
    return n


def room_of(protocol):
    """How much room the next read gets."""
    return len(protocol.get_buffer(-1))


def fill(protocol):
    """One read that fills its room."""
    return read(protocol, bytes(4 << 20))


def deliver(protocol, data, size):
    """All of data, in reads of at most size bytes."""
    at = 0
    while at < len(data):
        at += read(protocol, data[at : at + size])


# --- what comes ---


def test_each_read_is_one_call_with_all_that_was_not_taken():
    protocol = Kept()
    for part in (b"ab", b"c", b"def"):
        read(protocol, part)
    assert protocol.calls == [b"ab", b"abc", b"abcdef"]


def test_the_buffer_is_a_bytesmut_with_what_was_not_taken():
    protocol = Kept()
    assert type(protocol.buffer) is BytesMut
    read(protocol, b"abc")
    protocol.buffer.advance(1)
    assert protocol.buffer == b"bc"


def test_what_was_left_is_there_next_time():
    class Pairs(BytesProtocol):
        got = b""

        def bytes_received(self, buffer):
            while (pair := buffer.try_get_bytes(2)) is not None:
                self.got += b"," + bytes(pair)

    protocol = Pairs()
    for n in range(1, 12):
        read(protocol, b"abcdefghijk"[n - 1 : n])
    assert protocol.got == b",ab,cd,ef,gh,ij"
    assert protocol.buffer == b"k"


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_nothing_is_lost_in_reads_of_any_size(size):
    protocol = Taken()
    data = bytes(range(256)) * (8 if size == 1 else 3000)
    deliver(protocol, data, size)
    assert b"".join(protocol.got) == data


def test_an_error_of_bytes_received_reaches_the_transport():
    class Fails(BytesProtocol):
        def bytes_received(self, buffer):
            raise ZeroDivisionError

    protocol = Fails()
    with pytest.raises(ZeroDivisionError):
        read(protocol, b"abc")
    assert protocol.buffer == b"abc"


def test_bytes_received_must_be_overridden():
    with pytest.raises(NotImplementedError):
        read(BytesProtocol(), b"a")


def test_it_is_a_buffered_protocol_with_the_defaults_of_one():
    protocol = Kept()
    assert isinstance(protocol, asyncio.BufferedProtocol)
    assert not protocol.eof_received()
    for call in (protocol.pause_writing, protocol.resume_writing):
        assert call() is None
    assert protocol.connection_lost(None) is None


def test_the_transport_is_there_after_connection_made():
    protocol = Kept()
    protocol.connection_made(transport := asyncio.Transport())
    assert protocol.transport is transport


# --- views stay valid ---


def test_what_was_taken_does_not_change_when_more_comes():
    protocol = Taken()
    parts = [bytes([n]) * (n * 331 % 9000 + 1) for n in range(0, 256, 5)]
    for part in parts:
        deliver(protocol, part, len(part))
    assert b"".join(protocol.got) == b"".join(parts)


def test_what_was_taken_is_not_copied():
    class Halves(Taken):
        def bytes_received(self, buffer):
            while buffer:
                self.got.append(buffer.get_bytes(min(len(buffer), 500)))

    protocol = Halves()
    read(protocol, b"x" * 1000)
    first, second = protocol.got
    assert first.retained == second.retained >= 1000


def test_a_part_outlives_the_protocol():
    protocol = Taken()
    read(protocol, b"abc")
    (part,) = protocol.got
    del protocol
    assert type(part) is Bytes
    assert part == b"abc"


def test_memory_is_used_again_once_nobody_has_a_part_of_it():
    protocol = Dropped()
    places = []
    for _ in range(50):
        places.append(address(room := protocol.get_buffer(-1)))
        del room
        protocol.buffer_updated(1000)
    assert max(places) - min(places) <= IDLE


def test_memory_is_not_used_again_while_somebody_has_a_part_of_it():
    protocol = Taken()
    places = set()
    for _ in range(50):
        places.add(address(room := protocol.get_buffer(-1)))
        del room
        protocol.buffer_updated(1000)
    assert len(places) == 50


def address(view):
    """Where a view that can be written begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


# --- how much room a read gets ---


def test_the_first_read_gets_4_kib():
    assert IDLE <= room_of(Dropped()) < 2 * IDLE


def test_the_room_is_four_times_as_large_after_a_read_that_filled_it_up_to_256_kib():
    protocol = Dropped()
    rooms = [fill(protocol) for _ in range(6)]
    assert rooms == [IDLE, 16 * KIB, 64 * KIB, 256 * KIB, 256 * KIB, 256 * KIB]


def test_the_room_is_half_as_large_after_each_small_read():
    protocol = Dropped()
    for _ in range(5):
        fill(protocol)
    rooms = []
    for _ in range(9):
        rooms.append(room_of(protocol))
        read(protocol, b"small")
    assert rooms[0] >= 256 * KIB
    assert rooms == sorted(rooms, reverse=True)
    assert IDLE <= rooms[-1] < 2 * IDLE


def test_the_room_stays_while_reads_fit_it():
    protocol = Dropped()
    fill(protocol)
    for _ in range(5):
        read(protocol, bytes(10 * KIB))
    assert 16 * KIB <= room_of(protocol) < 32 * KIB


def test_there_is_always_room_however_much_waits():
    protocol = Kept()
    for _ in range(20):
        assert room_of(protocol) >= IDLE
        read(protocol, bytes(3000))
    assert len(protocol.calls[-1]) == 60_000


@pytest.mark.parametrize("sizehint", [-1, 0, 1, 10**6])
def test_the_hint_of_the_transport_is_not_needed(sizehint):
    assert len(Dropped().get_buffer(sizehint)) >= IDLE


# --- need ---


def test_nothing_is_known_to_be_lacking_at_first():
    assert Dropped().need == 0


def test_the_rest_of_a_message_is_read_at_once():
    protocol = Sized(700 * KIB)
    read(protocol, b"x")
    assert protocol.need == 700 * KIB - 1
    assert room_of(protocol) >= 700 * KIB - 1
    assert read(protocol, bytes(700 * KIB - 1)) == 700 * KIB - 1
    assert protocol.count == 1


def test_need_is_of_one_read():
    protocol = Kept()
    protocol.need = 100
    read(protocol, b"x")
    assert protocol.need == 0


def test_an_announced_size_alone_allocates_little():
    protocol = Sized(1 << 40)
    read(protocol, b"x")
    assert room_of(protocol) <= 2 << 20
    assert protocol.buffer.capacity <= 4 << 20


@pytest.mark.parametrize("need", [0, 1, 100])
def test_a_small_need_takes_no_room_away(need):
    protocol = Kept()
    protocol.need = need
    assert room_of(protocol) >= IDLE


# --- letting go ---


def test_an_idle_connection_keeps_little_after_large_reads():
    protocol = Dropped()
    for _ in range(5):
        fill(protocol)
    assert len(protocol.buffer) == 0
    assert protocol.buffer.capacity <= IDLE


def test_an_idle_connection_keeps_little_after_a_large_message_that_was_foreseen():
    protocol = Sized(1 << 20)
    deliver(protocol, bytes(1 << 20), 1000)
    assert protocol.count == 1
    assert protocol.buffer.capacity <= IDLE


def test_an_idle_connection_keeps_little_after_a_large_message_in_small_reads():
    protocol = Sized(1 << 20, hints=False)
    deliver(protocol, bytes(1 << 20), 1000)
    assert protocol.count == 1
    assert protocol.buffer.capacity <= 2 * IDLE


def test_large_memory_goes_though_the_parts_stay():
    protocol = Taken()
    for n in range(5):
        read(protocol, bytes([n]) * (1 << 20))
    assert protocol.buffer.capacity <= IDLE
    assert [set(part) for part in protocol.got] == [{n} for n in range(5)]


def test_what_is_left_is_kept_when_memory_goes():
    protocol = Sized(100)
    deliver(protocol, b"x" * 300_000 + b"tail", 10**6)
    assert protocol.buffer == b"tail"


def test_proceed_goes_on_with_what_was_left_and_lets_its_memory_go():
    class Stops(BytesProtocol):
        stopped = True
        taken = 0

        def bytes_received(self, buffer):
            if not self.stopped:
                self.taken += len(buffer)
                buffer.advance(len(buffer))

    protocol = Stops()
    deliver(protocol, bytes(1 << 20), 50_000)
    protocol.stopped = False
    protocol.proceed()
    assert protocol.taken == 1 << 20
    assert not protocol.buffer.try_reclaim(5000)
