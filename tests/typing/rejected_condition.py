"""What a type checker must reject of Condition: each marked line, and no other. Checked by mypy, never run."""

import threading

from ferrule import Condition, Mutex, aio


def construction(lock: threading.Lock, mutex: Mutex[int]) -> None:
    Condition(lock)  # error: call-overload
    Condition(mutex, 1)  # error: call-overload
    aio.Condition(Condition())  # error: call-overload
    wrong: Condition[str] = Condition(mutex)  # error: arg-type
    wrong.release()


def arguments(condition: Condition[int]) -> None:
    condition.wait(1.0)  # error: call-arg
    condition.wait(timeout="1")  # error: arg-type
    condition.wait_for(True)  # error: arg-type
    condition.notify("all")  # error: arg-type
    condition.notify_all(2)  # error: call-arg


async def the_wrong_face(condition: Condition[int], face: aio.Condition[int]) -> None:
    async with condition:  # error: attr-defined
        pass
    with face:  # error: attr-defined
        pass
    face.wait()  # error: unused-coroutine
    await face.notify()  # error: func-returns-value, # error: misc
    print(condition.sync)  # error: attr-defined
