"""Many threads add lines to a batch; whoever fills it writes it out, and does not hold the others up meanwhile.

`unlocked()` releases the lock while the batch is written, so that the others go on filling the next one. `lock()` with
a timeout bounds how long the last flush may wait.

Prints:
    1000 lines in batches of at most 64; the first is 'thread 0, line 0'
"""

import threading

from ferrule import Mutex

LIMIT = 64
THREADS = 4
LINES = 250

written: Mutex[list[list[str]]] = Mutex([])  # stands for a slow device, with a lock of its own


def write(batch: list[str]) -> None:
    with written as guard:
        guard.value.append(batch)


def add(batch: Mutex[list[str]], line: str) -> None:
    with batch as guard:
        guard.value.append(line)
        if len(guard.value) == LIMIT:
            full, guard.value = guard.value, []
            with guard.unlocked():
                write(full)


def work(batch: Mutex[list[str]], number: int) -> None:
    for line in range(LINES):
        add(batch, f"thread {number}, line {line}")


def main() -> None:
    batch: Mutex[list[str]] = Mutex([])
    threads = [threading.Thread(target=work, args=(batch, number)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with batch.lock(timeout=1.0) as guard:
        write(guard.value)
    with written as guard:
        lines = sorted(line for full in guard.value for line in full)
        longest = max(map(len, guard.value))
        print(f"{len(lines)} lines in batches of at most {longest}; the first is {lines[0]!r}")


if __name__ == "__main__":
    main()
