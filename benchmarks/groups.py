"""The cases of a room for pytest-benchmark: one group, and so one table, for each scenario and number of threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from benchmarks.scenarios import Scenario


def cases(scenarios: Iterable[Scenario], n: int) -> Iterator[Any]:
    """Parameters (scenario, contender, threads) with all contenders in each group; one that is not there is skipped."""
    for scenario in scenarios:
        for threads in scenario.threads:
            for contender in scenario.contenders:
                marks = [pytest.mark.benchmark(group=f"{scenario.title}, {threads} threads, {n} times each")]
                if contender.make is None:
                    marks.append(pytest.mark.skip(reason=contender.missing))
                yield pytest.param(
                    scenario, contender, threads, marks=marks, id=f"{scenario.name}-{threads}-{contender.name}"
                )
