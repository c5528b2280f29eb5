"""Each allocation of a call fails in turn: it raises MemoryError and changes nothing, or it is done.

For programs of in_subprocess() on interpreters that have the module _testcapi.
"""

import gc
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Case", "every_allocation_fails"]

NEEDLESS = 20
"""So many allocations, one after the other, that a call may do without: then it makes no more of them."""


class Case(Protocol):
    """A fresh set of objects for a call."""

    def seen(self) -> Any:
        """All that can be seen of them."""

    def rests(self) -> None:
        """Asserts what must be so whatever a call has come to."""

    def check(self) -> None:
        """Asserts that they work; they are not used any more."""


def every_allocation_fails(
    make: Callable[[], Case],
    call: Callable[[Any], Any],
    own: tuple[type[BaseException], ...],
    *,
    atomic: bool = True,
    answer: Callable[[Any], Any] = type,
    most: int = 400,
) -> int:
    """How many allocations made the call fail.

    Failures of the types `own` are answers, as what `answer` makes of a result is. A call that is not `atomic` may have
    done a part, and is not made again.
    """
    done_well = make()
    expected = _tried(done_well, call, own, answer)
    after = done_well.seen()
    done_well.check()
    gc.collect()
    gc.freeze()  # a collection has no more to look at than what a call has made
    failed = done = 0
    for number in range(most):
        case = make()
        before = case.seen()
        result = _tried(case, call, own, answer, number)
        gc.collect()  # what a failed call has made
        case.rests()
        if result is not MemoryError:
            assert result == expected, (number, result, expected)
            assert case.seen() == after, (number, case.seen(), after)
            done += 1
        else:
            done = 0
            failed += 1
            if atomic:
                assert case.seen() == before, (number, before, case.seen())
                again = _tried(case, call, own, answer)
                assert again == expected, (number, again, expected)
                gc.collect()
                assert case.seen() == after, (number, case.seen(), after)
        del result
        case.check()
        if done > NEEDLESS:
            return failed
    raise AssertionError(f"an allocation failed in each of {most} calls")


def _tried(
    case: Case,
    call: Callable[[Any], Any],
    own: tuple[type[BaseException], ...],
    answer: Callable[[Any], Any],
    number: int | None = None,
) -> Any:
    """The answer of the call, or the type of what it raises; with a number, where that allocation fails."""
    from _testcapi import remove_mem_hooks, set_nomemory

    result = None
    try:
        if number is not None:
            set_nomemory(number, number + 1)
        result = call(case)
    except BaseException as error:
        result = error
    remove_mem_hooks()
    if not isinstance(result, BaseException):
        return answer(result)
    result = result.with_traceback(None)
    if repr(result) == "SystemError('error return without exception set')":
        return MemoryError  # which the interpreter has lost: it had no memory for a frame object
    assert isinstance(result, (*own, MemoryError)), (number, repr(result))
    return type(result)
