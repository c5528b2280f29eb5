"""What a type checker must reject: each line marked with an error code, and no other. Checked by mypy, never run."""

from ferrule import Mutex, aio


def values(mutex: Mutex[int]) -> None:
    with mutex as guard:
        guard.value = "text"  # error: assignment
    wrong: Mutex[str] = mutex  # error: assignment
    wrong.release()


def construction() -> None:
    Mutex(value=1)  # error: call-overload
    Mutex(1, True)  # error: call-overload


def arguments(mutex: Mutex[int]) -> None:
    mutex.lock(1.0)  # error: call-arg
    mutex.lock(timeout="1")  # error: arg-type
    mutex.try_lock(timeout=1)  # error: call-arg
    mutex.acquire(True, timeout=None)  # error: arg-type
    mutex.lock().release(True)  # error: call-arg


def optional(mutex: Mutex[int]) -> None:
    mutex.try_lock().release()  # error: union-attr


def faces(mutex: Mutex[int]) -> None:
    print(mutex.sync)  # error: attr-defined
    print(mutex.aio.aio)  # error: attr-defined
    mutex.aio = aio.Mutex(1)  # error: misc


async def the_wrong_kind_of_with(mutex: Mutex[int], face: aio.Mutex[int]) -> None:
    async with mutex:  # error: attr-defined
        pass
    with face:  # error: attr-defined
        pass
    with await face.lock():  # error: attr-defined
        pass
    with face.lock():  # error: attr-defined
        pass


async def awaiting(mutex: Mutex[int], face: aio.Mutex[int]) -> None:
    await mutex.lock()  # error: misc
    face.acquire()  # error: unused-coroutine
    await face.acquire(False)  # error: call-arg
    (await face.lock()).value = None  # error: assignment
    print(face.lock().value)  # error: attr-defined
