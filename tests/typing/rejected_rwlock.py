"""What a type checker must reject of RWLock: each line marked with an error code. Checked by mypy, never run."""

from ferrule import RWLock, aio


def values(lock: RWLock[int]) -> None:
    with lock.write() as writer:
        writer.value = "text"  # error: assignment
    with lock.read() as reader:
        reader.value = 1  # error: misc
    with lock.upgradable_read() as guard:
        guard.value = 1  # error: misc
    wrong: RWLock[str] = lock  # error: assignment
    wrong.read()


def construction() -> None:
    RWLock(value=1)  # error: call-overload
    RWLock(1, True)  # error: call-overload
    RWLock(1, fair=True)  # error: call-overload


def arguments(lock: RWLock[int]) -> None:
    lock.read(1.0)  # error: call-arg
    lock.write(timeout="1")  # error: arg-type
    lock.try_read(timeout=1)  # error: call-arg
    lock.read().release(True)  # error: call-arg


def what_a_hold_cannot_become(lock: RWLock[int]) -> None:
    lock.read().upgrade()  # error: attr-defined
    lock.read().downgrade()  # error: attr-defined
    lock.write().upgrade()  # error: attr-defined
    lock.try_write().release()  # error: union-attr


async def the_wrong_kind_of_with(lock: RWLock[int], face: aio.RWLock[int]) -> None:
    async with lock.read():  # error: attr-defined
        pass
    with face.read():  # error: attr-defined
        pass
    with lock:  # error: attr-defined
        pass
