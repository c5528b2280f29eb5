"""What a type checker must accept of channels, with the types that it must infer. Never run."""

from collections.abc import Iterator
from typing import assert_type

from ferrule import MISSING, Permit, Receiver, Sender, WeakSender, aio, bounded, unbounded


def making() -> None:
    tx, rx = bounded[int](3)
    assert_type(tx, Sender[int])
    assert_type(rx, Receiver[int])
    text_tx, text_rx = unbounded[str]()
    assert_type(text_tx, Sender[str])
    assert_type(text_rx, Receiver[str])
    async_tx, async_rx = aio.bounded[int | None](0)
    assert_type(async_tx, aio.Sender[int | None])
    assert_type(async_rx, aio.Receiver[int | None])
    assert_type(async_tx.sync, Sender[int | None])
    assert_type(rx.aio, aio.Receiver[int])


def sending(tx: Sender[int]) -> None:
    tx.send(1)
    tx.send(1, timeout=1.5)
    tx.try_send(1)
    assert_type(tx.force_send(1), int | None)
    assert_type(tx.force_send(1, "none"), int | str)
    assert_type(tx.send_many(range(3), timeout=1), int)
    assert_type(tx.reserve(), Permit[int])
    with tx.reserve(timeout=1) as permit:
        permit.send(1)
    assert_type(tx.downgrade(), WeakSender[int])
    assert_type(tx.downgrade().upgrade(), Sender[int] | None)
    assert_type(tx.new_receiver(), Receiver[int])
    assert_type(tx.new_sender(), Sender[int])
    assert_type(tx.clone(), Sender[int])
    with tx as same:
        assert_type(same, Sender[int])


def receiving(rx: Receiver[int]) -> None:
    assert_type(rx.recv(timeout=1), int)
    assert_type(rx.try_recv(), int)
    assert_type(rx.try_recv(None), int | None)
    assert_type(rx.recv_many(5), list[int])
    assert_type(rx.drain(), list[int])
    assert_type(rx.try_iter(), Iterator[int])
    for item in rx:
        assert_type(item, int)
    print(rx.try_recv(MISSING))
    assert_type(rx.new_sender(), Sender[int])
    assert_type(rx.stats(), dict[str, int])
    assert_type(rx.capacity, int | None)
    assert_type(len(rx), int)


async def tasks(tx: aio.Sender[int], rx: aio.Receiver[int]) -> None:
    await tx.send(1, timeout=1)
    assert_type(await tx.send_many([1, 2]), int)
    assert_type(await tx.reserve(), Permit[int])
    assert_type(await rx.recv(), int)
    assert_type(await rx.recv_many(5, timeout=None), list[int])
    async for item in rx:
        assert_type(item, int)
    async with tx as same, rx:
        assert_type(same, aio.Sender[int])
    assert_type(rx.new_sender(), aio.Sender[int])
    assert_type(tx.new_receiver(), aio.Receiver[int])
