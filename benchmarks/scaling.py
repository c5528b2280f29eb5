"""Threads x contenders, each (scenario, contender, threads) in a fresh process, interleaved.

    python -m benchmarks.scaling --scenario with --threads 1 --threads 2

A process warms its contender up, finds how many operations fill the time of a round, and times one round of them. The
rounds of all contenders take turns, so that a slow minute of the machine falls on all alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers import FREE_THREADED
from benchmarks.scenarios import Scenario, Tail, Waiting, empty_loop, run_loops

ROOMS = ["mutex", "map", "channel", "select", "queues", "rwlock", "bytes", "pool", "streams"]
ROUNDS = 5
SECONDS = 0.15
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.03
WARM_UP = 0.04
TIMEOUT = 120
EMPTY = "empty loop"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    room: str
    scenario: str
    contender: str
    threads: int
    pinned: bool = False


@dataclass
class Result:
    """The rounds of one case: ns per operation, or a summary of the round's waits or calls."""

    case: Case
    rounds: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def median_of(self, figure: str) -> float:
        """Of one figure of the summaries; "p99 of writers" is the p99 of the threads with that role."""
        name, _, role = figure.partition(" of ")
        return statistics.median((each["roles"][role] if role else each)[name] for each in self.rounds)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self.case), "rounds": self.rounds, "failures": self.failures}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Result:
        fields = dict(record)
        rounds, failures = fields.pop("rounds"), fields.pop("failures")
        return cls(Case(**fields), rounds, failures)


def scenarios(room: str) -> list[Scenario]:
    return _of_room(room, "SCENARIOS")


def waitings(room: str) -> list[Waiting]:
    return _of_room(room, "WAITINGS")


def tails(room: str) -> list[Tail]:
    return _of_room(room, "TAILS")


def _of_room(room: str, kind: str) -> list[Any]:
    """What the room has of a kind of scenario, if it has that kind."""
    found: list[Any] = getattr(importlib.import_module(f"benchmarks.scenarios.{room}"), kind, [])
    return found


def throughput_cases(*, pinned: bool = False) -> Iterator[Case]:
    yield Case("", EMPTY, EMPTY, 1, pinned)
    for room in ROOMS:
        for scenario in scenarios(room):
            for threads in scenario.threads:
                for contender in scenario.contenders:
                    if contender.make is not None:
                        yield Case(room, scenario.name, contender.name, threads, pinned)


def waiting_cases() -> Iterator[Case]:
    for room in ROOMS:
        for waiting in waitings(room):
            for contender in waiting.contenders:
                if contender.make is not None:
                    yield Case(room, waiting.name, contender.name, waiting.threads)


def tail_cases() -> Iterator[Case]:
    for room in ROOMS:
        for tail in tails(room):
            for contender in tail.contenders:
                if contender.make is not None:
                    yield Case(room, tail.name, contender.name, 1)


def missing() -> dict[str, str]:
    """The contenders that are not there, and why."""
    return {
        contender.name: contender.missing
        for room in ROOMS
        for group in [*scenarios(room), *waitings(room), *tails(room)]
        for contender in group.contenders
        if contender.make is None
    }


def measure(cases: Iterable[Case], rounds: int, seconds: float, note: Callable[[str], None]) -> list[Result]:
    """One process for each case and round. One that fails is noted in its result and stops nothing."""
    results = [Result(case) for case in cases]
    for number in range(1, rounds + 1):
        for place, result in enumerate(results, 1):
            note(f"round {number}/{rounds}, {place}/{len(results)}: {result.case.scenario}, {result.case.contender}")
            _one_round(result, seconds)
    return results


def _one_round(result: Result, seconds: float) -> None:
    request = json.dumps({"case": asdict(result.case), "seconds": seconds})
    command = [sys.executable, "-m", "benchmarks.scaling", "--process", request]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        result.failures.append(f"did not end within {TIMEOUT} s")
        return
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        result.failures.append(f"exit status {done.returncode}: {last[0]}")
        return
    result.rounds.append(json.loads(done.stdout))


# What follows runs in the fresh process.


def _process(request: str) -> None:
    fields = json.loads(request)
    case, seconds = Case(**fields["case"]), fields["seconds"]
    if case.pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    figures = _measured(case, seconds)
    if FREE_THREADED and sys._is_gil_enabled():
        raise RuntimeError("the GIL was turned on")
    print(json.dumps(figures))


def _measured(case: Case, seconds: float) -> Any:
    if case.scenario == EMPTY:
        return _ns_per_operation([empty_loop], seconds)
    for scenario in scenarios(case.room):
        if scenario.name == case.scenario:
            return _ns_per_operation(scenario.loops(_named(scenario.contenders, case.contender), case.threads), seconds)
    for waiting in waitings(case.room):
        if waiting.name == case.scenario:
            contender = _named(waiting.contenders, case.contender)
            seconds = waiting.seconds * min(1.0, seconds / SECONDS)
            all_waits = waiting.run(contender, case.threads, seconds=seconds)
            return {"seconds": seconds, **summary(all_waits), "roles": _by_role(waiting, all_waits)}
    for tail in tails(case.room):
        if tail.name == case.scenario:
            calls = max(1, int(tail.calls * min(1.0, seconds / SECONDS)))
            return summary([tail.run(_named(tail.contenders, case.contender), calls)])
    raise LookupError(f"no scenario {case.scenario!r} in {case.room}")


def _named(contenders: Sequence[Any], name: str) -> Any:
    return next(contender for contender in contenders if contender.name == name)


def _ns_per_operation(loops: list[Callable[[int], Any]], seconds: float) -> float:
    n, took = 1000, 0.0
    while (took := run_loops(loops, n)) < WARM_UP:
        n *= 2
    n = max(1, int(n * seconds / took))
    return run_loops(loops, n) / (n * len(loops)) * 1e9


def _by_role(waiting: Waiting, all_waits: list[array[int]]) -> dict[str, Any]:
    summaries, first = {}, 0
    for role, count in waiting.roles:
        summaries[role] = summary(all_waits[first : first + count])
        first += count
    return summaries


def summary(all_waits: Sequence[array[int]]) -> dict[str, Any]:
    """Turns of each thread, percentiles of all waits in ns, and how many lie below each power of two.

    spread: how many times more turns one thread had than another, at most.
    """
    turns = [len(waits) for waits in all_waits]
    waits = sorted(wait for waits in all_waits for wait in waits)
    below = Counter(1 << wait.bit_length() for wait in waits)
    return {
        "turns": turns,
        "spread": max(turns) / max(1, min(turns)),
        "p50": _percentile(waits, 0.5),
        "p99": _percentile(waits, 0.99),
        "p99.99": _percentile(waits, 0.9999),
        "max": waits[-1],
        "histogram": {str(bound): below[bound] for bound in sorted(below)},
    }


def _percentile(ordered: Sequence[int], part: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    names = [scenario.name for room in ROOMS for scenario in [*scenarios(room), *waitings(room), *tails(room)]]
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--contender", action="append", help="only this one; may be repeated")
    parser.add_argument("--threads", action="append", type=int, help="only with so many; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a round (default: %(default)s)")
    parser.add_argument("--pin", action="store_true", help="on one CPU, as taskset -c does")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        _process(options.process)
        return 0

    def chosen(case: Case) -> bool:
        return (
            (options.scenario is None or case.scenario in options.scenario)
            and (options.contender is None or case.contender in options.contender)
            and (options.threads is None or case.threads in options.threads)
        )

    cases = [*filter(chosen, [*throughput_cases(pinned=options.pin), *waiting_cases(), *tail_cases()])]
    results = measure(cases, options.rounds, options.seconds, lambda text: print(text, file=sys.stderr))
    for result in results:
        print(json.dumps(result.as_dict()))
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
