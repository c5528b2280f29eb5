"""The key-value servers of examples/services, by redis-py: they answer what Redis answers, which is asked too."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.driver import run
from tests.support.race import HANG, eventually, outcome, run_together
from tests.support.servers import Redis

redis = pytest.importorskip("redis", reason="redis-py is not installed here")

pytestmark = pytest.mark.services


@pytest.fixture
def client(any_server: Redis) -> Iterator["redis.Redis"]:
    with connected(any_server) as client:
        client.flushall()
        yield client


def connected(server):
    return redis.Redis(port=server.port, protocol=2, socket_timeout=HANG)


def refused(client, *words):
    with pytest.raises(redis.ResponseError) as error:
        client.execute_command(*words)
    return str(error.value)


def test_a_value_is_what_was_set(client):
    for value in [b"", b"x", b"a\r\nb\0\xff", b"x" * 100_000]:
        assert client.set("k", value) is True
        assert client.get("k") == value
    assert client.get("absent") is None
    assert client.exists("k", "k", "absent") == 2
    assert client.delete("k", "absent") == 1
    assert client.get("k") is None


def test_a_key_is_any_bytes(client):
    keys = [b"", b"\r\n", b"\xff\0", b"k" * 5000]
    for number, key in enumerate(keys):
        client.set(key, number)
    assert client.mget(keys) == [b"0", b"1", b"2", b"3"]


def test_many_at_once(client):
    assert client.mset({f"k{n}": n for n in range(100)}) is True
    assert client.mget("k0", "absent", "k99") == [b"0", None, b"99"]
    assert client.delete(*(f"k{n}" for n in range(100))) == 100
    assert refused(client, "MSET", "a") == "wrong number of arguments for 'mset' command"
    assert refused(client, "MSET", "a", 1, "b") == "wrong number of arguments for 'mset' command"
    assert client.get("a") is None


def test_set_only_if_absent_or_present(client):
    assert client.set("k", "1", xx=True) is None
    assert client.set("k", "", nx=True) is True
    assert client.set("k", "", nx=True) is None
    assert client.set("k", "2", xx=True) is True
    assert client.get("k") == b"2"
    assert refused(client, "SET", "k", "3", "NX", "XX") == "syntax error"
    assert refused(client, "SET", "k", "3", "EX") == "syntax error"
    assert refused(client, "SET", "k", "3", "EX", 1, "PX", 1) == "syntax error"
    assert refused(client, "SET", "k", "3", "KEPT") == "syntax error"
    assert client.get("k") == b"2"


def test_numbers(client):
    assert client.incr("n") == 1
    assert client.execute_command("INCR", "n") == 2
    assert client.execute_command("DECR", "n") == 1
    assert client.incrby("n", 41) == 42
    assert client.decrby("n", 50) == -8
    assert client.get("n") == b"-8"


@pytest.mark.parametrize("value", ["", "x", "1.0", " 1", "1 ", "+1", "01", "-0", "1_0", "0x1", str(2**63), "9" * 5000])
def test_what_is_no_number_stays(client, value):
    client.set("n", value)
    assert refused(client, "INCR", "n") == "value is not an integer or out of range"
    assert refused(client, "INCRBY", "absent", value) == "value is not an integer or out of range"
    assert client.get("n") == value.encode()


def test_a_number_does_not_overflow(client):
    for limit, command in [(2**63 - 1, "INCR"), (-(2**63), "DECR")]:
        client.set("n", limit)
        assert refused(client, command, "n") == "increment or decrement would overflow"
        assert client.get("n") == b"%d" % limit


def test_a_value_ends(client):
    client.set("k", "v", px=30)
    client.set("kept", "v", ex=100)
    assert client.ttl("kept") == 100
    assert eventually(lambda: client.get("k") is None)
    assert client.exists("k") == 0
    assert client.ttl("k") == -2
    assert client.delete("k") == 0
    client.set("kept", "w")
    assert client.ttl("kept") == -1
    assert client.expire("kept", 50) == 1
    assert client.ttl("kept") == 50
    assert client.expire("absent", 50) == 0
    assert client.expire("kept", 0) == 1
    assert client.get("kept") is None


def test_what_has_ended_is_set_only_if_absent(client):
    client.set("k", "v", px=1)
    assert eventually(lambda: client.set("k", "w", nx=True))
    assert client.get("k") == b"w"
    client.set("k", "v", px=1)
    assert eventually(lambda: client.get("k") is None)
    assert client.set("k", "w", xx=True) is None


def test_a_number_keeps_its_deadline(client):
    client.set("n", "1", ex=100)
    client.incr("n")
    assert client.ttl("n") == 100
    client.set("n", "41", px=1)
    assert eventually(lambda: client.incr("n") == 1)
    assert client.ttl("n") == -1


@pytest.mark.parametrize("seconds", [0, -1, 2**62])
def test_a_deadline_that_cannot_be(client, seconds):
    assert refused(client, "SET", "k", "v", "EX", seconds) == "invalid expire time in 'set' command"
    assert client.get("k") is None


def test_the_sweeper_gives_back_what_has_ended(client):
    """Nobody asks for the keys; some were set again, some got another deadline."""
    with client.pipeline(transaction=False) as pipe:
        for n in range(20):
            pipe.set(f"k{n}", "v", ex=1)
            if n < 10:
                pipe.set(f"k{n}", "kept")
            else:
                pipe.expire(f"k{n}", 100)
        for n in range(20, 3000):
            pipe.set(f"k{n}", "v", px=1 + n % 50)
        pipe.execute()

    def kept():
        found = client.info("keyspace")["db0"]
        return found["keys"], found["expires"]

    assert eventually(lambda: kept() == (20, 10))
    assert client.mget("k0", "k9", "k10", "k19", "k20") == [b"kept", b"kept", b"v", b"v", None]


def test_a_pipeline_is_answered_in_order(client):
    with client.pipeline(transaction=False) as pipe:
        for n in range(5000):
            pipe.set(f"k{n % 7}", n)
            pipe.get(f"k{n % 7}")
            if n % 1000 == 0:
                pipe.execute_command("NONSENSE")
        answers = pipe.execute(raise_on_error=False)
    values = [answer for answer in answers if isinstance(answer, bytes)]
    assert values == [b"%d" % n for n in range(5000)]
    assert sum(isinstance(answer, redis.ResponseError) for answer in answers) == 5


def test_errors_name_what_was_asked(client):
    assert refused(client, "nonsense", "a", "b\r\nc") == (
        "unknown command 'nonsense', with args beginning with: 'a' 'b  c' "
    )
    assert refused(client, "GET") == "wrong number of arguments for 'get' command"
    assert refused(client, "GET", "a", "b") == "wrong number of arguments for 'get' command"
    assert refused(client, "FLUSHALL", "now") == "syntax error"
    assert client.ping() is True


def test_threads_count_without_losing(client):
    """Each request is one step, whichever connection it comes by."""
    assert client.set("n", 0)
    sets = []

    def count():
        for _ in range(200):
            client.incr("n")
        sets.append(client.set("first", "x", nx=True))

    run_together(*[count] * 8, timeout=2 * HANG)
    assert client.get("n") == b"1600"
    assert sets.count(True) == 1


def test_asyncio_clients_by_the_hundred(any_server, loop_name):
    """200 connections that are all open at once; nobody gets another's answer."""

    async def use(here, number, everyone):
        async with here.client() as single:
            await single.ping()
            await everyone.wait()
            for step in range(10):
                value = f"{number}.{step}".encode()
                assert await single.set(f"own{number}", value)
                assert await single.get(f"own{number}") == value
                await single.incr("all")
            assert (await single.info("clients"))["connected_clients"] >= 200
            await everyone.wait()

    async def main():
        everyone = asyncio.Barrier(200)
        async with redis.asyncio.Redis(
            port=any_server.port, protocol=2, max_connections=200, socket_timeout=HANG
        ) as here:
            await here.flushall()
            await asyncio.gather(*(use(here, number, everyone) for number in range(200)))
            assert await here.get("all") == b"2000"

    run(asyncio.wait_for(main(), 2 * HANG), loop_name)


def test_what_clients_ask_when_they_begin(own_server):
    client = connected(own_server)
    assert client.ping() is True
    assert client.echo("here") == b"here"
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("*")["appendonly"] == "no"
    assert "unknown subcommand" in refused(client, "CONFIG", "SET", "save", "")
    arities = {name: details["arity"] for name, details in client.command().items()}
    assert arities.items() >= {"get": 2, "set": -3, "mget": -2, "ping": -1}.items()
    assert client.command_count() == len(client.command())
    assert client.execute_command("HELLO", 2)[:2] == [b"server", b"ferrule"]
    assert refused(client, "HELLO", 3).startswith("NOPROTO")
    info = client.info()
    assert info["process_id"] == own_server.pid
    assert info["connected_clients"] >= 1
    assert info["total_commands_processed"] > 5
    assert "redis_version" not in client.info("clients")


def test_it_ends_well_with_clients_and_nothing_to_say(own_server):
    """An exception that nobody saw, a socket that nobody closed would be in its log."""
    with connected(own_server) as client:
        client.set("k", "v", ex=100)
        own_server.restart()
        assert eventually(lambda: outcome(client.ping, redis.ConnectionError)() is True)
        assert client.get("k") is None
    assert set(own_server.log.read_text().splitlines()) == {f"listening on 127.0.0.1:{own_server.port}"}
