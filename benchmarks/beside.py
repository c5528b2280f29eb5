"""What the measurements of whole services share: figures of contenders beside each other, as a table and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Figures", "machine", "save", "table"]


class Figures:
    """For each row of a table, and each contender in it, a figure of each round."""

    def __init__(self) -> None:
        self.rows: defaultdict[tuple[str, ...], defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: tuple[str, ...], contender: str, figure: float) -> None:
        self.rows[row][contender].append(figure)


def table(heads: Iterable[str], figures: Figures, *, ratios: bool) -> list[str]:
    """In Markdown: medians, the least and the most; with `ratios` the first contender's divided by each other's."""
    first, *others = dict.fromkeys(contender for row in figures.rows.values() for contender in row)
    head = [*heads, first, *others, *(f"{first} / {other}" for other in others if ratios)]
    lines = [head, ["---"] * len(head)]
    for names, row in figures.rows.items():
        middle = {contender: statistics.median(found) for contender, found in row.items()}
        cells = [
            f"{middle[name]:.2f} ({min(row[name]):.2f}-{max(row[name]):.2f})" if name in row else ""
            for name in (first, *others)
        ]
        times = [f"{middle[first] / middle[name]:.2f}" if name in row else "" for name in others if ratios]
        lines.append([*names, *cells, *times])
    return ["| " + " | ".join(line) + " |" for line in lines]


def machine(command: str) -> dict[str, Any]:
    return {
        "command": f"python -m {command} {' '.join(sys.argv[1:])}".strip(),
        "date": datetime.date.today().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def save(path: Path, machine: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    lines = ",\n".join(map(json.dumps, rows))
    path.write_text(f'{{"machine": {json.dumps(machine, indent=1)},\n"rows": [\n{lines}\n]}}\n')
