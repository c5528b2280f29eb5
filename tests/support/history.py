"""Records what several threads did to one object: which call, when it began, when it ended, what it answered.

    history = History()

    def worker(name):
        log = history.recorder(name)
        log(lambda: mutex.try_lock() is not None, "try_lock", name, "g1")     # the call, then how the model names it

    run_together(lambda: worker("T1"), lambda: worker("T2"))
    assert check(history.calls(), MutexModel())

The clock is the system's monotonic one, which all threads share. Recording takes no lock and touches nothing that two
threads write, so that it orders nothing that the object itself does not; equal readings count as overlapping.
"""

import math
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from .race import outcome

__all__ = ["Call", "History", "call"]


@dataclass(frozen=True)
class Call:
    """One call: `name(*args)` on the model, begun and ended at these times. One that never ended has `end` infinite."""

    thread: Hashable
    name: str
    args: tuple[Hashable, ...]
    result: Any
    begin: float
    end: float

    @property
    def pending(self) -> bool:
        return self.end == math.inf

    def __str__(self) -> str:
        result = "..." if self.pending else getattr(self.result, "__name__", None) or repr(self.result)
        return f"{self.thread}: {self.name}({', '.join(map(repr, self.args))}) -> {result}"


def call(
    begin: float, end: float | None, name: str, *args: Hashable, result: Any = None, thread: Hashable = "T"
) -> Call:
    """A call written down by hand; `end` None for one that never ended."""
    return Call(thread, name, args, result, begin, math.inf if end is None else end)


class History:
    """The calls of any number of threads, each of which writes to a recorder of its own."""

    def __init__(self) -> None:
        self._recorders: list[Recorder] = []

    def recorder(self, thread: Hashable) -> "Recorder":
        """Where the thread (or task) of that name records its calls, one after the other."""
        recorder = Recorder(thread)
        self._recorders.append(recorder)
        return recorder

    def calls(self) -> list[Call]:
        """All calls by the time of their beginning. To be read when the recording threads have ended, or hang."""
        return sorted((call for recorder in self._recorders for call in recorder.calls()), key=lambda call: call.begin)


class Recorder:
    """One thread's part of a history."""

    def __init__(self, thread: Hashable) -> None:
        self._thread = thread
        self._done: list[Call] = []
        self._open: tuple[str, tuple[Hashable, ...], int] | None = None

    def __call__(
        self, function: Callable[[], Any], name: str, *args: Hashable, errors: Iterable[type[BaseException]] = ()
    ) -> Any:
        """Calls `function()` and records it as `name(*args)`; one of these errors is recorded as its type.

        Returns what is recorded as the result.
        """
        caught = outcome(function, *errors)
        begin = self._begins(name, args)
        result = caught()
        return self._ended(begin, result)

    async def awaited(
        self, awaitable: Awaitable[Any], name: str, *args: Hashable, errors: tuple[type[BaseException], ...] = ()
    ) -> Any:
        """As a call, of what a task awaits."""
        begin = self._begins(name, args)
        try:
            result = await awaitable
        except errors as error:
            result = type(error)
        return self._ended(begin, result)

    def _begins(self, name: str, args: tuple[Hashable, ...]) -> int:
        begin = time.monotonic_ns()
        self._open = name, args, begin
        return begin

    def _ended(self, begin: int, result: Any) -> Any:
        end = time.monotonic_ns()
        assert self._open
        name, args, _ = self._open
        self._done.append(Call(self._thread, name, args, result, begin, end))
        self._open = None
        return result

    def calls(self) -> list[Call]:
        """What was recorded; a call that has not ended comes last, pending."""
        if self._open is None:
            return self._done
        name, args, begin = self._open
        return [*self._done, Call(self._thread, name, args, None, begin, math.inf)]
