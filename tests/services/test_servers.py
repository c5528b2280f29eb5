"""The kit that starts the servers: they answer, they restart, and nothing is left of them."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.leaks import ROOT
from tests.support.race import HANG, eventually
from tests.support.servers import Postgres, Redis, Server

pytestmark = pytest.mark.services

HELD = """
import os, sys
from tests.support.servers import Postgres, Redis

with {kind}() as server:
    print(server.pid, server.data, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=[Redis, Postgres], ids=lambda kind: kind.program)
def kind(request: pytest.FixtureRequest) -> type[Server]:
    if reason := request.param.missing():
        pytest.skip(reason)
    return request.param


GREETINGS = {Redis: b"PING\r\n", Postgres: b"\0\0\0\x08\x04\xd2\x16\x2f"}  # the latter asks for TLS


def is_gone(pid: int) -> bool:
    """Also where it has ended and nobody has asked how: its parent was killed."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_answers_and_leaves_nothing(kind):
    with kind() as server:
        assert server.answers()
        assert server.data.is_dir()
    assert is_gone(server.pid)
    assert not server.data.exists()


def test_a_restart_cuts_connections_and_keeps_the_port(kind):
    with kind() as server, socket.create_connection(("127.0.0.1", server.port), HANG) as connection:
        before, port = server.pid, server.port
        connection.sendall(GREETINGS[kind])
        assert connection.recv(100)
        server.restart()
        assert connection.recv(100) == b""
        assert server.answers()
        assert server.pid != before
        assert server.port == port


def test_an_error_in_the_block_stops_it(kind):
    with pytest.raises(ZeroDivisionError), kind() as server:
        raise ZeroDivisionError
    assert is_gone(server.pid)
    assert not server.data.exists()


def test_one_that_does_not_start_says_why(kind):
    server = kind()
    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(RuntimeError, match=r"does not start(?s:.)*in use"),
        server,
    ):
        pytest.fail("it started")
    assert not server.data.exists()


def test_it_ends_with_a_process_that_was_killed(kind):
    with subprocess.Popen(
        [sys.executable, "-c", HELD.format(kind=kind.__name__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as holder:
        assert holder.stdout
        pid, data = re.fullmatch(r"(\d+) (.+)\n", holder.stdout.readline()).groups()
        assert not is_gone(int(pid))
        holder.send_signal(signal.SIGKILL)
    eventually(lambda: is_gone(int(pid)))
    eventually(lambda: not os.path.exists(data))


def test_one_that_is_not_installed_is_missed(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert Redis.missing() == "redis-server is not installed here"
