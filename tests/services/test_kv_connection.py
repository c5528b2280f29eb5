"""kv_server.Connection driven by hand, with no socket and no clock: pieces of every size, readers of every speed."""

import asyncio
import itertools
import random
import weakref

import pytest
from kv_commands import Deadlines, Expiring
from kv_server import MOST_UNSENT, Connection, new_database

from tests.support.resp import ANSWERED, SENT, bulk

pytestmark = pytest.mark.services


class Transport(asyncio.Transport):
    """Keeps what is written until the client reads it, and says so from `most` bytes on; and what is sent meanwhile."""

    def __init__(self, most: int = 1 << 62) -> None:
        super().__init__()
        self.most = most
        self.unread, self.sent = bytearray(), bytearray()
        self.reading, self.closing = True, False
        self.connection = Connection(new_database(lambda deadline: None), set())
        self.connection.connection_made(self)

    def receive(self, data: bytes) -> None:
        """As the loop does: it holds the view until buffer_updated() has returned."""
        self.sent += data
        while self.sent and self.reading and not self.closing:
            with self.connection.get_buffer(-1) as view:
                n = min(len(view), len(self.sent))
                view[:n] = self.sent[:n]
                del self.sent[:n]
                self.connection.buffer_updated(n)

    def read(self) -> bytes:
        read, self.unread = bytes(self.unread), bytearray()
        if not self.reading:
            self.connection.resume_writing()
            self.receive(b"")
        return read

    def write(self, data) -> None:
        assert not self.closing
        self.unread += data
        if len(self.unread) > self.most and self.reading:
            self.connection.pause_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closing = True
        self.connection.connection_lost(None)

    def is_closing(self) -> bool:
        return self.closing


def test_a_stream_may_come_in_any_two_or_three_pieces():
    for i, j in itertools.combinations_with_replacement(range(len(SENT) + 1), 2):
        transport = Transport()
        for piece in (SENT[:i], SENT[i:j], SENT[j:]):
            transport.receive(piece)
        assert transport.unread == ANSWERED


def test_a_stream_may_come_in_pieces_of_any_size(rng: random.Random):
    for size in range(1, len(SENT)):
        transport, rest = Transport(), SENT * 3
        while rest:
            n = rng.randint(1, size)
            transport.receive(rest[:n])
            rest = rest[n:]
        assert transport.unread == ANSWERED * 3


def test_the_answers_of_what_came_at_once_are_one_write(monkeypatch):
    writes = []
    monkeypatch.setattr(Transport, "write", lambda self, data: writes.append(bytes(data)))
    Transport().receive(SENT * 3)
    assert writes == [ANSWERED * 3]


@pytest.mark.parametrize("length", [0, 1, 1000, 100_000])
def test_no_more_is_answered_than_the_client_reads(length):
    """A thousand values were asked for at once. What waits for the client is a bound, and one answer."""
    transport = Transport(most=MOST_UNSENT)
    transport.receive(bulk(b"SET", b"k", b"x" * length))
    answer = b"$%d\r\n%b\r\n" % (length, b"x" * length)
    assert transport.read() == b"+OK\r\n"
    transport.receive(bulk(b"GET", b"k") * 1000)
    read = []
    while transport.unread:
        assert len(transport.unread) <= 2 * MOST_UNSENT + len(answer)
        read.append(transport.read())
    assert b"".join(read) == answer * 1000
    assert transport.reading


def test_a_client_that_read_again_after_quit_gets_no_more():
    transport = Transport(most=0)
    transport.receive(b"PING\r\n" + b"QUIT\r\nPING\r\n")
    assert transport.read() == b"+PONG\r\n+OK\r\n"
    assert transport.closing
    assert transport.read() == b""


def test_what_is_stored_keeps_no_more_than_itself():
    """The arguments are slices of what came with them."""
    transport = Transport()
    transport.receive(
        bulk(b"MSET", b"a", b"1", b"b", b"2") + bulk(b"SET", b"c", b"3", b"EX", b"9") + bulk(b"PING") * 99
    )
    values = transport.connection.db.values
    assert [key.retained for key in values] == [1, 1, 1]
    assert values[b"a"].retained == values[b"c"].data.retained == 1


class TestBuffer:
    def keeps_little(self, connection: Connection) -> bool:
        """As a client that has all its answers should: 4 KiB."""
        return not connection.buffer.try_reclaim((4 << 10) + 1) and connection.answers.capacity == 0

    @pytest.mark.parametrize("length", [1, 1000, 100_000, 10_000_000])
    def test_a_client_that_has_all_its_answers_keeps_little(self, length):
        transport = Transport()
        transport.receive(bulk(b"SET", b"k", b"x" * length))
        assert transport.unread == b"+OK\r\n"
        assert self.keeps_little(transport.connection)

    def test_also_one_that_had_to_read_first(self):
        transport = Transport(most=MOST_UNSENT)
        transport.receive(bulk(b"SET", b"k", b"x" * 100_000) + bulk(b"GET", b"k") * 100)
        assert not self.keeps_little(transport.connection)
        while transport.unread:
            transport.read()
        assert self.keeps_little(transport.connection)

    def test_a_request_may_go_on_in_another(self):
        """A long one has made the buffer large. If nothing is left of that, what comes next comes into a new one."""
        long = bulk(b"SET", b"k", b"x" * 10_000)
        goes_on_in_another = set()
        for end in range(len(SENT)):
            transport = Transport()
            transport.receive(long[:-1])
            large = transport.connection.buffer
            transport.receive(long[-1:] + SENT[:end])
            goes_on_in_another.add(transport.connection.buffer is not large)
            transport.receive(SENT[end:])
            assert transport.unread == b"+OK\r\n" + ANSWERED
        assert goes_on_in_another == {True, False}

    def test_the_rest_of_a_long_value_comes_in_one_read(self):
        transport = Transport()
        sent = bulk(b"SET", b"k", b"x" * 500_000)
        transport.receive(sent[:1000])
        with transport.connection.get_buffer(-1) as view:
            assert len(view) >= len(sent) - 1000

    def test_one_that_is_lost_in_mid_request_is_gone_at_once(self):
        transport = Transport()
        transport.receive(SENT[:5])
        lost = weakref.ref(transport.connection)
        transport.connection.connection_lost(None)
        del transport.connection
        assert lost() is None


class TestDeadlines:
    """Its clock is a number."""

    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        monkeypatch.setattr("kv_commands.now", lambda: self.now)
        self.db = new_database(lambda deadline: None)
        self.deadlines = Deadlines(self.db)

    def set(self, key: bytes, deadline: float) -> None:
        self.db.values[key] = Expiring(b"v", deadline)
        self.deadlines.add(deadline, key)

    def keys_at(self, now: float) -> list[bytes]:
        self.now = now
        self.deadlines.sweep()
        return sorted(self.db.values)

    def test_each_key_ends_at_its_deadline(self):
        for number in range(100):
            self.set(b"%02d" % number, number * 7 % 100)
        assert self.deadlines.seconds_left() == 0
        assert all(len(self.keys_at(now)) == 99 - now for now in range(100))
        assert self.deadlines.seconds_left() is None

    def test_a_deadline_may_be_moved(self):
        self.set(b"later", 1)
        self.set(b"later", 3)
        self.set(b"sooner", 3)
        self.set(b"sooner", 1)
        assert self.deadlines.seconds_left() == 1
        assert self.keys_at(1) == [b"later"]
        assert self.deadlines.seconds_left() == 2
        assert self.keys_at(2) == [b"later"]
        assert self.keys_at(3) == []
        assert len(self.deadlines) == 0

    def test_what_has_no_deadline_any_more_stays(self):
        self.set(b"k", 1)
        self.db.values[b"k"] = b"v"
        assert self.keys_at(2) == [b"k"]
        assert len(self.deadlines) == 0

    def test_a_key_that_is_moved_over_and_over_waits_few_times(self):
        for seconds in range(10_000):
            self.set(b"later", 1 + seconds)
            self.set(b"sooner", 1e6 - seconds)
        assert len(self.deadlines) <= 1002

    def test_keys_that_are_gone_are_not_kept_until_their_deadline(self):
        for number in range(10_000):
            self.set(b"%d" % number, 1e6)
            if number >= 100:
                del self.db.values[b"%d" % number]
        assert len(self.deadlines) <= 1200
        assert len(self.keys_at(1e6)) == 0

    def test_a_sweep_does_not_take_long(self):
        for number in range(1000):
            self.set(b"%d" % number, 1)
        self.now = 1
        self.deadlines.sweep(most=10)
        assert len(self.db.values) == 990
        assert self.deadlines.seconds_left() == 0
