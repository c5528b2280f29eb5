"""What no client should send to a key-value server: it answers as Redis does, or closes, and serves the others."""

import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.race import HANG, spawn
from tests.support.resp import ANSWERED, SENT, bulk
from tests.support.servers import Redis

pytestmark = pytest.mark.services

PROTOCOL_ERRORS = {
    b"*x\r\n": b"invalid multibulk length",
    b"*\r\n": b"invalid multibulk length",
    b"*1_0\r\n": b"invalid multibulk length",
    b"*99999999999\r\n": b"invalid multibulk length",
    b"*1\r\n:4\r\n": b"expected '$', got ':'",
    b"*2\r\n$3\r\nGET\r\nkey\r\n": b"expected '$', got 'k'",
    b"*1\r\n$x\r\n": b"invalid bulk length",
    b"*1\r\n$-1\r\n": b"invalid bulk length",
    b"*1\r\n$99999999999\r\n": b"invalid bulk length",
    b"set 'k v\r\n": b"unbalanced quotes in request",
    b"x" * 65537: b"too big inline request",
    b"*" + b"1" * 65536: b"too big mbulk count string",
    b"*1\r\n$" + b"1" * 65536: b"too big bulk count string",
}


@contextlib.contextmanager
def connected(server: Redis) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), HANG) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read(connection: socket.socket, length: int) -> bytes:
    """So many bytes, or fewer if it is closed."""
    found = bytearray()
    while len(found) < length and (more := connection.recv(min(length - len(found), 1 << 20))):
        found += more
    return bytes(found)


def exchange(server: Redis, *parts: bytes) -> bytes:
    """All that is answered to these until both sides have ended."""
    with connected(server) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        return read(connection, 1 << 30)


def is_well(server: Redis) -> bool:
    return exchange(server, b"PING\r\n") == b"+PONG\r\n"


def memory(server: Redis) -> int:
    """Bytes that the process has in memory."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def test_a_stream_of_requests_is_answered(any_server):
    assert exchange(any_server, SENT) == ANSWERED


def test_a_stream_in_single_bytes_is_answered(any_server):
    assert exchange(any_server, *(SENT[i : i + 1] for i in range(len(SENT)))) == ANSWERED


def test_a_stream_that_breaks_off_is_answered_so_far(any_server):
    for end in range(len(SENT)):
        assert ANSWERED.startswith(exchange(any_server, SENT[:end]))
    assert is_well(any_server)


@pytest.mark.parametrize("sent", PROTOCOL_ERRORS, ids=lambda sent: repr(sent[:20])[2:-1])
def test_a_protocol_error_is_named_and_the_connection_closed(any_server, sent):
    with connected(any_server) as connection:
        connection.sendall(b"PING\r\n" + sent)
        assert read(connection, 1 << 20) == b"+PONG\r\n-ERR Protocol error: " + PROTOCOL_ERRORS[sent] + b"\r\n"
    assert is_well(any_server)


def test_after_quit_nothing_is_answered(any_server):
    with connected(any_server) as connection:
        connection.sendall(b"PING\r\nQUIT\r\nPING\r\n")
        assert read(connection, 100) == b"+PONG\r\n+OK\r\n"


def test_garbage_harms_nobody(any_server, rng: random.Random):
    for _ in range(200):
        garbage = bytearray(SENT * 3)
        for _ in range(rng.randrange(1, 10)):
            at = rng.randrange(len(garbage))
            garbage[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        with contextlib.suppress(ConnectionError):  # closed at once, what is on its way comes back as a reset
            exchange(any_server, bytes(garbage))
    assert is_well(any_server)


def test_a_client_that_leaves_in_mid_answer_harms_nobody(any_server):
    exchange(any_server, bulk(b"SET", b"large", b"x" * 1_000_000))
    for _ in range(20):
        with connected(any_server) as connection:
            connection.sendall(b"GET large\r\n" * 20)
            connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset at close()
    assert is_well(any_server)


def test_large_values_come_back(any_server):
    value = random.Random(1).randbytes(20_000_000)
    answer = b"+OK\r\n$%d\r\n%b\r\n" % (len(value), value)
    with connected(any_server) as connection:
        connection.sendall(bulk(b"SET", b"large", value) + bulk(b"GET", b"large"))
        assert read(connection, len(answer)) == answer


def test_a_request_may_have_so_many_bytes(own_server):
    """Each argument alone would be allowed."""
    with connected(own_server) as connection:
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$40000000\r\n" + b"x" * 40_000_000 + b"\r\n$30000000\r\n")
        assert read(connection, 1 << 20) == b"-ERR Protocol error: invalid bulk length\r\n"
    assert is_well(own_server)


def test_an_answer_may_have_so_many_bytes(own_server):
    """A request of 800 kB would be answered by 100 GB."""
    exchange(own_server, bulk(b"SET", b"k", b"x" * 1_000_000))
    with connected(own_server) as connection:
        connection.sendall(bulk(b"MGET", *[b"k"] * 100_000))
        answer = b"-ERR the values are too long for one answer\r\n"
        assert read(connection, len(answer)) == answer
        connection.sendall(bulk(b"MGET", *[b"k"] * 10))
        assert read(connection, 10_000_000).count(b"x") > 9_999_000


def test_what_is_announced_takes_no_memory(own_server):
    before = memory(own_server)
    with contextlib.ExitStack() as open_ones:
        for announced in [b"*1048576\r\n", b"*2\r\n$3\r\nGET\r\n$60000000\r\nx"] * 50:
            open_ones.enter_context(connected(own_server)).sendall(announced)
        assert is_well(own_server)
        assert memory(own_server) < before + (50 << 20)


def test_a_client_that_does_not_read_takes_no_memory(own_server):
    """It has asked for 400 MB; it gets them when it reads, and the others are served meanwhile."""
    value, count = b"x" * 10_000, 40_000
    exchange(own_server, bulk(b"SET", b"k", value))
    before = memory(own_server)
    with connected(own_server) as connection:
        sender = spawn(connection.sendall, b"GET k\r\n" * count)
        for _ in range(300):
            assert is_well(own_server)
        assert memory(own_server) < before + (50 << 20)
        answer = b"$%d\r\n%b\r\n" % (len(value), value)
        assert all(read(connection, len(answer)) == answer for _ in range(count))
        sender.result()
