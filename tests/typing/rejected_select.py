"""What a type checker must reject of select() and timers: each line marked with an error code. Never run."""

from ferrule import Receiver, Sender, after, aio, at, select, tick, try_select


def arms(tx: Sender[int], rx: Receiver[int]) -> None:
    select(tx)  # error: arg-type
    select(rx, 1)  # error: arg-type
    select([rx])  # error: arg-type
    select(tx.sending("text"))  # error: arg-type
    select(tx.reserving(1))  # error: call-arg
    select(rx, timeout="1")  # error: arg-type
    try_select(rx, timeout=1)  # error: call-arg
    print(select(rx).item)  # error: attr-defined
    print(try_select(rx).value)  # error: union-attr


async def faces(rx: aio.Receiver[int]) -> None:
    print(aio.select(rx).index)  # error: attr-defined


def timers() -> None:
    after()  # error: call-arg
    after("1")  # error: arg-type
    at(None)  # error: arg-type
    tick(period=1)  # error: call-arg
