"""Factories for get_or_compute() that a test opens, and a map's flights seen from outside."""

import asyncio
import threading
from typing import Any

from .maps import assert_at_rest
from .race import HANG, Running, eventually, spawn

__all__ = ["AsyncFactory", "Factory", "assert_landed", "computing", "waiters"]


class _Counted:
    """Counts its runs, and fails if two run at once."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.runs = 0
        self._running = threading.Lock()

    def _begin(self) -> Any:
        assert self._running.acquire(blocking=False), "two factories ran at once"
        self.runs += 1
        return self.answers[min(self.runs, len(self.answers)) - 1]

    def _end(self, answer: Any) -> Any:
        self._running.release()
        if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
            raise answer
        return answer


class Factory(_Counted):
    """Gives its answers one after the other, the last for ever; raises those that are exceptions.

    With `closed` each run waits for `open()`, which opens it for all runs; `begun` tells that one is under way.
    """

    def __init__(self, *answers: Any, closed: bool = False) -> None:
        super().__init__(*answers)
        self.begun = threading.Event()
        self._gate = threading.Event()
        if not closed:
            self._gate.set()

    def open(self) -> None:
        self._gate.set()

    def __call__(self) -> Any:
        answer = self._begin()
        self.begun.set()
        opened = self._gate.wait(HANG)
        assert opened, "nobody opened the factory"
        return self._end(answer)


class AsyncFactory(_Counted):
    """The same for tasks. Each run suspends `turns` times; with `closed` it then awaits `open()`, from any thread."""

    def __init__(self, *answers: Any, closed: bool = False, turns: int = 1) -> None:
        super().__init__(*answers)
        self.closed = closed
        self.ended: list[type[BaseException] | None] = []
        self._turns = turns
        self._futures: list[asyncio.Future[None]] = []

    def open(self) -> None:
        self.closed = False
        for future in self._futures:
            future.get_loop().call_soon_threadsafe(lambda future=future: future.done() or future.set_result(None))

    async def __call__(self) -> Any:
        answer = self._begin()
        try:
            for _ in range(self._turns):
                await asyncio.sleep(0)
            if self.closed:
                self._futures.append(asyncio.get_running_loop().create_future())
                await self._futures[-1]
        except BaseException as error:
            self.ended.append(type(error))
            self._end(None)
            raise
        self.ended.append(None)
        return self._end(answer)


def computing(m: Any, key: Any, factory: Factory) -> Running:
    """A thread whose factory, a closed one, is under way."""
    running = spawn(m.get_or_compute, key, factory)
    assert factory.begun.wait(HANG)
    return running


def waiters(m: Any, key: Any, count: int) -> list[tuple[str, str]]:
    """Waits until so many calls wait for the key's flight; who they are."""
    eventually(lambda: len(m._state().get(key, [])) == count)
    return list(m._state().get(key, []))


def assert_landed(m: Any, items: dict[Any, Any] | None = None) -> None:
    """Nothing is computed any more; the map is at rest, with these items."""
    assert m._state() == {}
    assert_at_rest(m, items)
