"""Whether a concurrent history could have happened one call at a time.

Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with Lowe's memory of the states already seen:
take any call that began before every remaining one ended, let the model answer it, and go on if the answer is the one
recorded. A history is linearizable if some order takes every call that ended; one still pending may or may not have
taken effect. The search is exponential at worst, so histories are short: three threads of ten calls.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .history import Call
from .models import Blocked

__all__ = ["MOST_CALLS", "Verdict", "check"]

MOST_CALLS = 30


@dataclass(frozen=True)
class Verdict:
    """True if the history is linearizable; shows an order that explains it, or how far the best attempt came."""

    linearizable: bool
    order: tuple[Call, ...]
    stuck: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.linearizable

    def __repr__(self) -> str:
        order = [f"    {call}" for call in self.order] or ["    (nothing)"]
        if self.linearizable:
            return "\n".join(["linearizable:", *order])
        return "\n".join(
            ["not linearizable; the longest explanation:", *order, "after which none can be next:", *self.stuck]
        )


def check(history: Iterable[Call], model: Any) -> Verdict:
    """Searches an order of the calls in which the model gives every recorded answer.

    `model` is a value as in models.py: `model.name(*args)` returns the answer and the model after it or raises Blocked.
    """
    calls = sorted(history, key=lambda call: call.begin)
    if len(calls) > MOST_CALLS:
        raise ValueError(f"{len(calls)} calls are too many to search; {MOST_CALLS} are allowed")
    return _Search(calls).run(model)


class _Search:
    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._must = sum(1 << n for n, call in enumerate(calls) if not call.pending)
        self._failed: set[tuple[int, Any]] = set()
        self._order: list[int] = []
        self._best: tuple[list[int], int, Any] = ([], 0, None)

    def run(self, model: Any) -> Verdict:
        self._best = ([], 0, model)
        if self._explains(0, model):
            return Verdict(True, tuple(self._calls[n] for n in self._order))
        order, taken, state = self._best
        stuck = tuple(f"    {self._calls[n]}    but {self._answer(n, state)}" for n in self._candidates(taken))
        return Verdict(False, tuple(self._calls[n] for n in order), stuck)

    def _explains(self, taken: int, model: Any) -> bool:
        """Whether the calls not yet taken can follow in this state; `self._order` is then the whole order."""
        if taken & self._must == self._must:
            return True
        if (taken, model) in self._failed:
            return False
        if len(self._order) > len(self._best[0]):
            self._best = (list(self._order), taken, model)
        for n in self._candidates(taken):
            call = self._calls[n]
            try:
                answer, after = getattr(model, call.name)(*call.args)
            except Blocked:
                continue
            if call.pending or answer == call.result:
                self._order.append(n)
                if self._explains(taken | 1 << n, after):
                    return True
                self._order.pop()
        self._failed.add((taken, model))
        return False

    def _candidates(self, taken: int) -> list[int]:
        """The calls that may come next: not yet taken, and begun before any that is left had ended."""
        left = [n for n in range(len(self._calls)) if not taken >> n & 1]
        first_end = min((self._calls[n].end for n in left), default=math.inf)
        return [n for n in left if self._calls[n].begin <= first_end]

    def _answer(self, n: int, model: Any) -> str:
        call = self._calls[n]
        try:
            answer, _ = getattr(model, call.name)(*call.args)
        except Blocked:
            return "it would wait"
        return f"the model answers {getattr(answer, '__name__', None) or repr(answer)}"
