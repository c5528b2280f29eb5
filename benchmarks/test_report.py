"""The tools that measure and show, on planted figures and on one real process."""

from __future__ import annotations

import json
from array import array

import pytest

from benchmarks import report, scaling
from benchmarks.report import BEGIN, END, Measurement
from benchmarks.scaling import EMPTY, Case, Result

MACHINE = {
    "command": "python -m benchmarks.report",
    "date": "2026-01-02",
    "interpreter": "3.11",
    "python": "CPython 3.11.7",
    "platform": "Linux",
    "processor": "one",
    "cpus": 2,
    "ferrule": "0.1.0",
    "peers": {"aiologic": "0.17.1"},
    "missing": {},
}


def measurement(*results: Result, **machine) -> Measurement:
    return Measurement({**MACHINE, **machine}, [Result(Case("", EMPTY, EMPTY, 1), [15.0]), *results], "planted.json")


def result(contender: str, threads: int, *rounds: float, pinned: bool = False) -> Result:
    return Result(Case("mutex", "with", contender, threads, pinned), list(rounds))


def of_map(scenario: str, contender: str, threads: int, *rounds, pinned: bool = False) -> Result:
    return Result(Case("map", scenario, contender, threads, pinned), list(rounds))


@pytest.mark.parametrize(
    ("ours", "times", "verdict"),
    [(100.0, "3.00x", "reached"), (200.0, "1.50x", "**missed**"), (120.0, "2.50x", "reached")],
)
def test_a_target_is_judged_by_the_medians_of_one_run(ours, times, verdict):
    page = report.render(
        [
            measurement(
                result("threading.Lock", 1, 290.0, 300.0, 1000.0),
                result("ferrule.Mutex", 1, ours - 1, ours, ours + 500),
                result("threading.Lock", 1, 400.0, pinned=True),
                result("ferrule.Mutex", 1, 100.0, pinned=True),
            )
        ]
    )
    row = f"| lock, `with`, 1 thread | threading.Lock | 300 | {ours:.0f} | {times} | 2.5x | {verdict} | 4.00x |"
    assert row in page.splitlines()


def test_costs_of_one_and_two_threads_and_their_ratio_stand_side_by_side():
    page = report.render(
        [
            measurement(
                result("threading.Lock", 1, 200.0),
                result("threading.Lock", 2, 400.0),
                result("ferrule.Mutex", 1, 100.0),
                result("ferrule.Mutex", 2, 50.0),
            )
        ]
    )
    lines = page.splitlines()
    assert "| threading.Lock | 200 (200 - 200) | 2.00x | 400 (400 - 400) | 8.00x | 0.50 |" in lines
    assert "| ferrule.Mutex | 100 (100 - 100) |  | 50 (50 - 50) |  | 2.00 |" in lines


def test_the_cost_of_two_threads_is_judged_beside_that_of_one():
    ours = "ferrule.ConcurrentMap"
    page = report.render(
        [measurement(of_map("get_hit", ours, 1, 100.0), of_map("get_hit", ours, 2, 50.0), interpreter="3.13t")]
    )
    row = f"| map get hit, 2 threads beside 1 | {ours} | 100 | 50 | 2.00x | 1.6x | reached |  |"
    assert row in page.splitlines()


def test_what_is_measured_again_takes_the_place_of_what_was_kept():
    kept = measurement(result("threading.Lock", 1, 200.0), of_map("get_hit", "dict", 1, 50.0))
    again = measurement(of_map("get_hit", "dict", 1, 40.0), date="2026-02-03")
    kept.replace(again)
    assert [(r.case.scenario, r.rounds) for r in kept.results] == [
        (EMPTY, [15.0]),
        ("with", [200.0]),
        ("get_hit", [40.0]),
    ]
    assert kept.machine["date"] == MACHINE["date"]
    assert "on 2026-01-02, 1 scenarios with `--again` up to 2026-02-03" in report.render([kept])


def test_the_slowest_calls_have_a_table_and_a_target():
    def calls(contender: str, *longest: int) -> Result:
        rounds = [{"p50": 100, "p99": 200, "p99.99": 3000, "max": most, "turns": [1]} for most in longest]
        return of_map("growth", contender, 1, *rounds)

    lines = report.render(
        [measurement(calls("dict", 5000, 9000), calls("ferrule.ConcurrentMap", 200, 300))]
    ).splitlines()
    assert "| dict | 100 ns | 200 ns | 3 us | 7 us |" in lines
    assert "| map growth, the longest insert of 1,000,000 | dict | 7000 | 250 | 28.00x | 20.0x | reached |  |" in lines
    assert "### map: how long the waits are" not in lines
    assert "### mutex: how long the waits are" not in lines


def test_the_slowest_calls_are_measured_in_a_process():
    (result,) = scaling.measure([Case("map", "growth", "dict", 1)], 1, scaling.SECONDS / 1000, lambda text: None)
    assert result.failures == []
    assert result.rounds[0]["turns"] == [1000]


def test_a_failure_is_shown_and_costs_only_its_own_row():
    broken = Result(Case("mutex", "with", "threading.RLock", 1), [], ["exit status 1: boom"])
    page = report.render([measurement(broken, result("threading.Lock", 1, 200.0))])
    assert "Failed: with, threading.RLock, 1 threads: exit status 1: boom." in page
    assert "| threading.Lock | 200 (200 - 200) |  |" in page


def test_the_newest_run_of_each_interpreter_is_shown():
    old, new = measurement(), measurement(date="2026-01-03", python="CPython 3.11.8")
    other = measurement(interpreter="3.13t", python="CPython 3.13.1")
    page = report.render([new, old, other])
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## CPython 3.11.8, with the GIL",
        "## CPython 3.13.1, free-threaded",
    ]


def test_what_is_saved_is_what_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    kept = measurement(result("threading.Lock", 1, 1.5, 2.5), result("ferrule.Mutex", 1, 1.0, pinned=True))
    path = kept.save()
    assert path.name == "2026-01-02-3.11.json"
    loaded = Measurement.load(path)
    assert (loaded.machine, loaded.results) == (kept.machine, kept.results)


def test_only_what_lies_between_the_markers_is_written(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    report.write_page("new")
    assert page.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(SystemExit, match="must hold"):
        report.write_page("new")
    assert page.read_text() == "no markers"


def test_the_page_has_its_markers():
    text = report.PAGE.read_text()
    assert text.count(BEGIN) == text.count(END) == 1


def test_waits_are_summed_up_per_thread_and_by_percentile():
    figures = scaling.summary([array("Q", range(1, 9_000)), array("Q", range(9_000, 10_001))])
    assert figures["turns"] == [8_999, 1_001]
    assert (figures["p50"], figures["p99"], figures["p99.99"], figures["max"]) == (5_001, 9_901, 10_000, 10_000)
    assert sum(figures["histogram"].values()) == 10_000
    assert figures["histogram"]["2"] == 1
    assert figures["histogram"]["16384"] == 10_000 - 8_191


def test_a_process_measures_one_case_and_a_failing_one_stops_nothing():
    cases = [Case("mutex", "with", "none of this name", 1), Case("mutex", "with", "threading.Lock", 2, pinned=True)]
    notes: list[str] = []
    wrong, right = scaling.measure(cases, 1, 0.01, notes.append)
    assert (wrong.rounds, len(wrong.failures)) == ([], 1)
    assert "exit status 1" in wrong.failures[0]
    assert (len(right.rounds), right.failures) == (1, [])
    assert right.rounds[0] > 0
    assert len(notes) == 2
    assert Result.from_dict(json.loads(json.dumps(right.as_dict()))) == right


def test_a_bound_stands_in_the_place_of_a_contender():
    def turns(p99: int, *counts: int) -> Result:
        summaries = [{"p50": 1, "p99": p99, "p99.99": p99, "max": p99, "turns": [count]} for count in counts]
        rounds = [
            {
                "seconds": 1.0,
                **scaling.summary([array("Q", [5] * count) for count in counts]),
                "roles": dict(zip(["writers", "readers"], summaries, strict=True)),
            }
        ]
        return Result(Case("rwlock", "writer_among_readers", "ferrule.RWLock", 9), rounds)

    title = "RWLock, 1 writer among 8 readers that hold it 1 ms"
    for p99, counts, in_time, even in [(10**7, (3, 5), "2.00x", "1.20x"), (10**8, (9, 3), "0.20x", "0.67x")]:
        lines = report.render([measurement(turns(p99, *counts))]).splitlines()
        verdict = "reached" if p99 == 10**7 else "**missed**"
        most = max(counts) / min(counts)
        for row in [
            f"| {title}: p99 of its waits | at most | 20000000 | {p99} | {in_time} | 1.0x | {verdict} |  |",
            f"| {title}: most holds of a thread / least | at most | 2.00 | {most:.2f} | {even} | 1.0x | {verdict} |  |",
        ]:
            assert row in lines
        assert [line.split(" | ")[0] for line in lines if line.startswith(("| ferrule.RWLock |", "| - "))] == [
            "| ferrule.RWLock",
            "| - writers",
            "| - readers",
        ]


def test_the_waits_of_a_process_are_summed_up_by_role():
    (result,) = scaling.measure([Case("rwlock", "writer_among_readers", "ferrule.RWLock", 9)], 1, 0.005, lambda _: None)
    assert result.failures == []
    (figures,) = result.rounds
    roles = figures["roles"]
    assert [len(roles[role]["turns"]) for role in ("writers", "readers")] == [1, 8]
    assert figures["turns"] == [*roles["writers"]["turns"], *roles["readers"]["turns"]]
    assert result.median_of("p99 of writers") == roles["writers"]["p99"]
    assert result.median_of("spread") == max(figures["turns"]) / min(figures["turns"])
