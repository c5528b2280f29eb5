"""Event loops and coroutines under a test's control.

`run` and `LoopThread` run asyncio's loop or uvloop's, here or in a thread of its own; a `HandLoop` turns only when told
to. `Stepper` drives one coroutine by hand exactly as a Task would, and the two cancellation helpers do so at every step
there is:

    cancel_at_every_step    one coroutine, at each of the moments around its wake-up
    cancel_everywhere       a real Task, after 0, 1, 2, ... turns of the loop until it completes undisturbed
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import enum
import inspect
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Self, TypeVarTuple

from .race import HANG, Hung, spawn, stacks

__all__ = [
    "Followed",
    "HandLoop",
    "LoopThread",
    "Moment",
    "Stepper",
    "cancel_at_every_step",
    "cancel_everywhere",
    "complete",
    "new_loop",
    "run",
    "turns",
]

Args = TypeVarTuple("Args")


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """A new event loop of the named kind."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def run(main: Coroutine[Any, Any, Any], loop: str = "asyncio", *, debug: bool | None = None) -> Any:
    """asyncio.run() on a loop of the named kind."""
    with asyncio.Runner(loop_factory=lambda: new_loop(loop), debug=debug) as runner:
        return runner.run(main)


async def turns(count: int = 3) -> None:
    """Lets the running loop turn; three are enough for a mailbox to drain and for those it woke to run."""
    for _ in range(count):
        await asyncio.sleep(0)


class LoopThread:
    """An event loop running in a thread of its own, until the `with` block ends.

    with LoopThread("uvloop") as there:
        guard = there.run(mutex.aio.lock())
    """

    def __init__(self, loop: str = "asyncio") -> None:
        self._loop_name = loop
        self._started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = spawn(self._serve, name=f"{loop}-thread")
        self.loop = self._started.result(HANG)

    def _serve(self) -> None:
        async def until_stopped() -> None:
            self._stop = asyncio.Event()
            self._started.set_result(asyncio.get_running_loop())
            await self._stop.wait()

        try:
            run(until_stopped(), self._loop_name)
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    @property
    def ident(self) -> int | None:
        """The identity of the loop's thread."""
        return self._thread.thread.ident

    def spawn(self, awaitable: Awaitable[Any]) -> concurrent.futures.Future[Any]:
        """Starts the awaitable as a task of this loop; cancelling the future cancels the task."""

        async def awaits() -> Any:
            return await awaitable

        main = awaitable if inspect.iscoroutine(awaitable) else awaits()
        return asyncio.run_coroutine_threadsafe(main, self.loop)

    def run(self, awaitable: Awaitable[Any], timeout: float = HANG) -> Any:
        """What the awaitable gives, run as a task of this loop."""
        return _result(self.spawn(awaitable), timeout)

    def call(self, function: Callable[..., Any], *args: Any, timeout: float = HANG) -> Any:
        """What a plain function gives, called in the loop's thread."""

        async def called() -> Any:
            return function(*args)

        return self.run(called(), timeout)

    def close(self) -> None:
        """Cancels what is left, closes the loop and ends the thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _result(future: concurrent.futures.Future[Any], timeout: float) -> Any:
    if future not in concurrent.futures.wait([future], timeout).done:
        raise Hung(f"the loop gave no result in {timeout:g} s\n{stacks()}")
    return future.result()


class HandLoop(asyncio.AbstractEventLoop):
    """An event loop that turns only when it is told to, so that a test has everything between two turns in its hand.

    loop = HandLoop()
    with loop.running():                    # as seen by those who ask for the running loop
        stepper.step()
    gate.release()                          # from outside: it is posted to the loop
    assert len(loop.due) == 1
    loop.turn()                             # now the stepper's future is resolved

    It has what a waiting coroutine needs of a loop: futures, calls, and timers, which know no clock but fire(). What a
    call or a timer raises comes out of turn() or fire().
    """

    def __init__(self) -> None:
        self.due: list[asyncio.Handle] = []
        self.timers: list[asyncio.TimerHandle] = []
        self._closed = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within the block this is the running loop of the calling thread."""
        self._check_open()
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def turn(self) -> None:
        """Makes the calls that are due now."""
        due, self.due = self.due, []
        with self.running():
            for handle in due:
                if not handle.cancelled():
                    handle._run()

    def fire(self, timer: asyncio.TimerHandle) -> None:
        """The timer calls, whatever the time."""
        self.timers.remove(timer)
        with self.running():
            timer._run()

    def close(self) -> None:
        """As asyncio's loops do: refuses what comes from now on, then forgets what there was to do."""
        self._closed = True
        self.due.clear()
        self.timers.clear()

    def is_closed(self) -> bool:
        return self._closed

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def call_soon(
        self, callback: Callable[[*Args], object], *args: *Args, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._check_open()
        self.due.append(handle := asyncio.Handle(callback, args, self, context))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Args], object], *args: *Args, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_open()
        self.timers.append(timer := asyncio.TimerHandle(delay, callback, args, self, context))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle in self.timers:
            self.timers.remove(handle)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise context["exception"]


class Stepper:
    """Drives one coroutine step by step inside a running loop, as a Task would, in a context of its own.

    stepper = Stepper(mutex.aio.lock())
    stepper.step()                  # runs it to its first suspension
    assert stepper.suspended
    guard.release()
    await stepper.woken()           # until the future it waits for is resolved; the coroutine itself has not run
    stepper.step()
    assert stepper.result() ...
    """

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self.coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any] = (
            awaitable if hasattr(awaitable, "send") else awaitable.__await__()  # type: ignore[assignment]
        )
        self.context = contextvars.copy_context()
        self.future: asyncio.Future[Any] | None = None  # what it waits for; None before, between and after waits
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._must_cancel = False

    @property
    def suspended(self) -> bool:
        """Whether it waits for a future (resolved or not)."""
        return self.future is not None

    def step(self) -> bool:
        """One step as a Task makes it once the future is resolved; whether the coroutine has ended.

        A cancelled future, one with an exception, or a cancellation that is due is thrown into the coroutine.
        """
        error: BaseException | None = None
        if self.future is not None:
            try:
                error = self.future.exception()  # InvalidStateError while it is pending: no Task would step now
            except asyncio.CancelledError as cancelled:
                error = cancelled
        if self._must_cancel:
            error, self._must_cancel = asyncio.CancelledError(), False
        return self.send() if error is None else self.throw(error)

    def send(self) -> bool:
        """`send(None)`, also at a moment when a Task would not; whether the coroutine has ended."""
        return self._advance(self.coroutine.send, None)

    def throw(self, error: BaseException) -> bool:
        """Raises an error inside the coroutine, also when a Task would not; whether the coroutine has ended."""
        return self._advance(self.coroutine.throw, error)

    def _advance(self, how: Callable[[Any], Any], argument: Any) -> bool:
        self.future = None
        try:
            yielded = self.context.run(how, argument)
        except StopIteration as stop:
            self.done, self._value = True, stop.value
        except BaseException as error:  # shown by result()
            self.done, self._error = True, error
        else:
            if yielded is not None:  # a bare yield asks for one turn of the loop
                assert yielded._asyncio_future_blocking, f"a Task refuses {yielded!r}"
                yielded._asyncio_future_blocking = False
                self.future = yielded
        return self.done

    @property
    def cancelled(self) -> bool:
        """Whether it ended with CancelledError."""
        return isinstance(self._error, asyncio.CancelledError)

    def cancel(self) -> None:
        """What Task.cancel() does: cancels the future if it still waits for one, else has the next step throw."""
        if self.future is None or not self.future.cancel():
            self._must_cancel = True

    def close(self) -> None:
        """Closes the coroutine where it stands."""
        self.context.run(self.coroutine.close)
        self.done, self.future = True, None

    async def woken(self, timeout: float = HANG) -> None:
        """Waits until what it waits for is resolved; the coroutine does not run."""
        if self.future is not None and not (await asyncio.wait([self.future], timeout=timeout))[0]:
            raise Hung(f"nobody woke {self.coroutine!r} in {timeout:g} s\n{stacks()}")

    async def finish(self) -> Any:
        """Drives it to its end; its result."""
        while not self.done:
            await self.woken()
            if not self.step() and self.future is None:
                await asyncio.sleep(0)
        return self.result()

    def result(self) -> Any:
        """What it returned, or raises what it raised."""
        assert self.done, "it has not ended"
        if self._error is not None:
            raise self._error
        return self._value


class Followed:
    """A coroutine; `follow()` is called as soon as it has suspended for the first time, and `taken` is what it gave."""

    def __init__(self, coroutine: Any, follow: Callable[[], Any] = lambda: None) -> None:
        self._coroutine = coroutine
        self._follow = follow
        self.taken: Any = None

    def send(self, value: Any) -> Any:
        try:
            yielded = self._coroutine.send(value)
        except StopIteration as stop:
            self.taken = stop.value
            raise
        follow, self._follow = self._follow, lambda: None
        follow()
        return yielded

    def throw(self, error: BaseException) -> Any:
        return self._coroutine.throw(error)

    def close(self) -> None:
        self._coroutine.close()


def complete(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives that completes at its first step; it needs no loop for that."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError(f"{coroutine!r} suspended")


class Moment(enum.Enum):
    """When a suspended coroutine is cancelled, seen from its wake-up."""

    BEFORE = "cancelled and gone before anybody wakes it"
    TIE = "cancelled first, woken in the same tick, before the cancellation arrived"
    POSTED = "claimed by another thread, the loop has not yet heard of it"
    DELIVERED = "its future is resolved, it has not yet run"


async def cancel_at_every_step(
    begin: Callable[[], tuple[Awaitable[Any], Callable[[], Any]]], check: Callable[[], Any]
) -> int:
    """Cancels one coroutine at step 0, 1, 2, ... until it completes, at every Moment of each; how often it suspended.

    `begin()` sets the stage afresh and returns the awaitable and `wake`, a plain function that lets a suspended
    coroutine go on. `check()`, plain or a coroutine function, looks at what is left when everything came to rest.
    """
    for suspensions in itertools.count():
        for moment in Moment:
            awaitable, wake = begin()
            stepper = Stepper(awaitable)
            if suspensions == 0:
                stepper.cancel()
                stepper.step()
            else:
                for _ in range(suspensions - 1):
                    stepper.step()
                    wake()
                    await stepper.woken()
                if stepper.step():
                    stepper.result()
                    return suspensions - 1
                await _cancel_at(moment, stepper, wake)
            assert stepper.done, f"{moment}: a cancelled coroutine went on waiting"
            assert stepper.cancelled, f"{moment}: it ended in another way"
            await _settled(check)
            if suspensions == 0:
                break
    raise AssertionError


async def _cancel_at(moment: Moment, stepper: Stepper, wake: Callable[[], Any]) -> None:
    match moment:
        case Moment.BEFORE:
            stepper.cancel()
            stepper.step()
            wake()
        case Moment.TIE:
            stepper.cancel()
            wake()
            stepper.step()
        case Moment.POSTED:
            spawn(wake).result()
            stepper.cancel()
            stepper.step()
        case Moment.DELIVERED:
            wake()
            await stepper.woken()
            stepper.cancel()
            stepper.step()


async def _settled(check: Callable[[], Any]) -> None:
    await turns()
    if inspect.isawaitable(verdict := check()):
        await verdict


async def cancel_everywhere(
    make: Callable[[], Coroutine[Any, Any, Any]], check: Callable[[], Any], *, limit: int = 1000
) -> int:
    """Cancels a real Task after 0, 1, 2, ... turns of the loop until it completes undisturbed; how many were cancelled.

    `make()` sets the stage afresh and returns the coroutine, which must be able to complete. `check()`, plain or a
    coroutine function, looks at what is left each time.
    """
    for count in range(limit):
        task = asyncio.create_task(make())
        await turns(count)
        undisturbed = not task.cancel()
        done, _ = await asyncio.wait([task], timeout=HANG)
        if not done:
            raise Hung(f"{task!r}, cancelled after {count} turns, did not end\n{stacks()}")
        if not task.cancelled():
            task.result()
            assert undisturbed, f"a task cancelled after {count} turns completed all the same"
        await _settled(check)
        if undisturbed:
            return count
    raise Hung(f"still not complete after {limit} turns of the loop")
