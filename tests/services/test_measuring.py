"""The commands that measure the services of examples/, once and untimed, so that they cannot rot."""

import contextlib

import pytest

from benchmarks import connections, services
from tests.support.servers import Postgres, Redis

pytestmark = pytest.mark.services


def test_each_server_answers_every_command_of_redis_benchmark():
    if reason := Redis.missing():
        pytest.skip(reason)
    with contextlib.ExitStack() as running:
        servers = services.contenders(loops=2)
        for server in servers.values():
            running.enter_context(server)
        rows = services.measure(servers, rounds=1, requests=500)
    found = {(row.contender, row.size, row.command, row.pipeline) for row in rows}
    assert found == {
        (name, load.size, command, p)
        for name in servers
        for load in services.LOADS
        for command in load.commands.split(",")
        for p in services.PIPELINES
    }
    assert all(row.per_second > 0 for row in rows)


def test_the_table_shows_medians_and_how_many_times_faster():
    rows = [
        services.Row(contender, "get", 65536, 1, per_second, 1.0, p99)
        for contender, figures in {"ferrule": [30_000, 10_000, 20_000], "redis": [40_000]}.items()
        for per_second, p99 in zip(figures, [1, 2, 3], strict=False)
    ]
    assert services.tables(rows).splitlines() == [
        "Thousand requests a second:",
        "",
        "| command | bytes | -P | ferrule | redis | ferrule / redis |",
        "| --- | --- | --- | --- | --- | --- |",
        "| GET | 65,536 | 1 | 20.00 (10.00-30.00) | 40.00 (40.00-40.00) | 0.50 |",
        "",
        "99 of 100 answers within so many milliseconds:",
        "",
        "| command | bytes | -P | ferrule | redis |",
        "| --- | --- | --- | --- | --- |",
        "| GET | 65,536 | 1 | 2.00 (1.00-3.00) | 1.00 (1.00-1.00) |",
    ]


def test_each_pool_answers_alone_and_in_a_crowd(redis_server: Redis, postgres_server: Postgres):
    servers = {"redis_server": redis_server, "postgres_server": postgres_server}
    rows = connections.measure(servers, rounds=1, queries=400)
    assert {row.callers for row in rows} == {"alone", "crowd"}
    assert {row.client for row in rows} >= {"RedisThreads", "RedisTasks", "PostgresThreads", "PostgresTasks"}
    assert {row.contender for row in rows} >= {"ferrule", "redis-py"}
    assert all(row.per_second > 0 for row in rows)
    assert connections.shown(rows).count("| ferrule |") == 1


def test_what_a_contender_was_not_asked_is_left_open():
    rows = [connections.Row("Some", "alone", "ferrule", 2000.0), connections.Row("Some", "alone", "its own", 500.0)]
    assert connections.shown([*rows, connections.Row("Other", "crowd", "ferrule", 3000.0)]).splitlines()[2:] == [
        "| Some | alone | 2.00 (2.00-2.00) | 0.50 (0.50-0.50) | 4.00 |",
        "| Other | crowd | 3.00 (3.00-3.00) |  |  |",
    ]
