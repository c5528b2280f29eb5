"""The key-value servers of examples/services beside Redis, as redis-benchmark sees them.

    python -m benchmarks.services                                   15 rounds, five minutes
    python -m benchmarks.services --rounds 1 --requests 2000        a first look
    python -m benchmarks.services --loops 2                         one more contender: ferrule with two event loops
    python -m benchmarks.services --json benchmarks/results/services/<date>-<interpreter>.json

All servers run all the time, each in a process of its own; in each round they take turns, and one is asked. 50 clients
ask for one of 10,000 keys, each with one request at a time (-P 1) or 16 (-P 16); a value has 3 bytes, and once more
64 KiB, of which there are ten keys and a twentieth of the requests. A figure is the median of the rounds, with the
least and the most beside it. redis-benchmark takes a CPU of its own: with one CPU alone it is measured, too.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.beside import Figures, machine, save, table
from tests.support.servers import KeyValue, Redis

PIPELINES = [1, 16]


@dataclass(frozen=True)
class Load:
    """What redis-benchmark asks for; `share` is the part of the requests that it makes."""

    size: int
    commands: str
    keys: int
    share: float


LOADS = [Load(3, "set,get,incr,mset", 10_000, 1.0), Load(64 << 10, "set,get", 10, 0.05)]


@dataclass
class Row:
    """What one run of redis-benchmark says of one command, with values of `size` bytes."""

    contender: str
    command: str
    size: int
    pipeline: int
    per_second: float
    p50_ms: float
    p99_ms: float


def contenders(loops: int = 1) -> dict[str, Redis]:
    found: dict[str, Redis] = {"ferrule": KeyValue("kv_server.py")}
    if loops > 1:
        found[f"ferrule, {loops} loops"] = KeyValue("kv_server.py", "--threads", str(loops))
    return found | {"streams": KeyValue("kv_server_streams.py"), "redis": Redis()}


def measure(servers: Mapping[str, Redis], rounds: int, requests: int) -> list[Row]:
    """The servers must run."""
    found: list[Row] = []
    for number in range(rounds):
        for pipeline in PIPELINES:
            for contender, server in servers.items():
                print(f"round {number + 1}: {contender}, -P {pipeline}", file=sys.stderr, flush=True)
                for load in LOADS:
                    found += ask(contender, server, pipeline, load, int(requests * load.share))
    return found


def ask(contender: str, server: Redis, pipeline: int, load: Load, requests: int) -> Iterable[Row]:
    options = [
        "-p",
        str(server.port),
        "-P",
        str(pipeline),
        "-n",
        str(requests),
        "-d",
        str(load.size),
        "-r",
        str(load.keys),
        "-t",
        load.commands,
    ]
    told = subprocess.run(
        ["redis-benchmark", "--csv", *options], capture_output=True, text=True, check=True, timeout=600
    )
    for line in csv.DictReader(told.stdout.splitlines()):
        yield Row(
            contender,
            line["test"].split()[0].lower(),
            load.size,
            pipeline,
            float(line["rps"]),
            float(line["p50_latency_ms"]),
            float(line["p99_latency_ms"]),
        )


def tables(rows: Iterable[Row]) -> str:
    """Requests a second and times faster, then the 99th percentile of the time that an answer takes."""
    rates, waits = Figures(), Figures()
    for row in rows:
        name = row.command.upper(), f"{row.size:,}", str(row.pipeline)
        rates.add(name, row.contender, row.per_second / 1000)
        waits.add(name, row.contender, row.p99_ms)
    heads = ["command", "bytes", "-P"]
    rate = ["Thousand requests a second:", "", *table(heads, rates, ratios=True)]
    wait = ["99 of 100 answers within so many milliseconds:", "", *table(heads, waits, ratios=False)]
    return "\n".join([*rate, "", *wait])


def main() -> None:
    options = argparse.ArgumentParser(description="The key-value servers of examples/services beside Redis.")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--requests", type=int, default=20_000, help="of each command")
    options.add_argument("--loops", type=int, default=1, help="also ferrule with so many event loops")
    options.add_argument("--json", type=Path, help="where the raw figures go")
    chosen = options.parse_args()
    if reason := Redis.missing():
        raise SystemExit(reason)
    where = machine("benchmarks.services")
    with contextlib.ExitStack() as running:
        servers = contenders(chosen.loops)
        for server in servers.values():
            running.enter_context(server)
        rows = measure(servers, chosen.rounds, chosen.requests)
    print(f"{where}\n\n{tables(rows)}")
    if chosen.json:
        save(chosen.json, where, map(asdict, rows))


if __name__ == "__main__":
    main()
