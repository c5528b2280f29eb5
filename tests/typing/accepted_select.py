"""What a type checker must accept of select() and timers, with the types that it must infer. Never run."""

import time
from typing import Any, assert_type

from ferrule import (
    Permit,
    Receiver,
    Selected,
    Sender,
    after,
    aio,
    at,
    bounded,
    never,
    select,
    tick,
    try_select,
)


def selecting(tx: Sender[int], rx: Receiver[str]) -> None:
    assert_type(select(rx, tx.sending(1), tx.reserving()), Selected[Any])
    index, value, closed = select(rx, timeout=1.5, biased=True)
    assert_type(index, int)
    assert_type(closed, bool)
    print(value)
    selected = try_select(rx, tx.aio.sending(1), rx.aio)
    assert_type(selected, Selected[Any] | None)
    if selected is not None:
        assert_type(selected.index, int)
        assert_type(selected.closed, bool)
    match select(rx, never()):
        case Selected(0, str(), False):
            pass
    arms = [rx, rx.clone()]
    select(*arms)
    select(timeout=0)


def one_kind(rx: Receiver[str], other: aio.Receiver[str], tx: Sender[int]) -> None:
    permits: Selected[Permit[int] | None] = select(tx.reserving())
    if permits.value is not None:
        assert_type(permits.value, Permit[int])
    print(rx, other)


def timers() -> None:
    assert_type(after(1), Receiver[float])
    assert_type(at(time.monotonic()), Receiver[float])
    assert_type(tick(0.5), Receiver[float])
    for instant in tick(1):
        assert_type(instant, float)
    assert_type(aio.after(1), aio.Receiver[float])
    assert_type(aio.at(1), aio.Receiver[float])
    assert_type(aio.tick(1), aio.Receiver[float])
    select(never(), aio.never(), bounded[int](1)[1])


async def tasks(tx: aio.Sender[int], rx: aio.Receiver[str], sync: Receiver[bytes]) -> None:
    assert_type(await aio.select(rx, sync, tx.sending(1), timeout=None), Selected[Any])
    assert_type(aio.try_select(rx), Selected[Any] | None)
    assert_type(await aio.after(1).recv(), float)
