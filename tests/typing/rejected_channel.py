"""What a type checker must reject of channels: each line marked with an error code. Never run."""

from ferrule import Receiver, Sender, aio, bounded, unbounded


def making() -> None:
    bounded[int]()  # error: call-arg
    bounded[int]("3")  # error: arg-type
    unbounded[int](3)  # error: call-arg


def items(tx: Sender[int], rx: Receiver[int]) -> None:
    tx.send("text")  # error: arg-type
    tx.send(1, 2)  # error: call-arg
    tx.send_many(["text"])  # error: list-item
    tx.reserve().send("text")  # error: arg-type
    rx.recv(1.0)  # error: call-arg
    rx.recv_many()  # error: call-arg
    wrong: Receiver[str] = rx  # error: assignment
    wrong.close()
    for _ in tx:  # error: attr-defined
        pass


async def faces(tx: aio.Sender[int], rx: aio.Receiver[int]) -> None:
    for _ in rx:  # error: attr-defined
        pass
    with tx:  # error: attr-defined
        pass
    print(tx.aio)  # error: attr-defined
    print(rx.sync.sync)  # error: attr-defined
