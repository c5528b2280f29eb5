"""A registry of sessions that several threads open, use and close, without a lock of its own.

Counting is one call, `increment`. Giving a name away exactly once is one call, `setdefault`. A change that takes
several steps holds the entry of its key: other keys go on meanwhile.

Prints:
    requests: {'ada': 200, 'bob': 200}
    ada's first owner is the owner that all threads saw: True
    closed: {'ada': [200, 200, 200, 200], 'bob': [200, 200, 200, 200]}
    still open: []
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from ferrule import ConcurrentMap

NAMES = ["ada", "bob"]
THREADS = 4
REQUESTS = 50


def use(requests: ConcurrentMap[str, int], owners: ConcurrentMap[str, str]) -> str:
    for name in NAMES * REQUESTS:
        requests.increment(name)
    return owners.setdefault(NAMES[0], threading.current_thread().name)


def close(requests: ConcurrentMap[str, int], closed: ConcurrentMap[str, list[int]]) -> None:
    """Whoever comes first removes the session; everybody notes how many requests it had."""
    for name in NAMES:
        with closed.entry(name) as entry:
            noted = entry.get([])
            had = noted[0] if noted else requests.pop(name)
            entry.value = [*noted, had]


def main() -> None:
    requests: ConcurrentMap[str, int] = ConcurrentMap()
    owners: ConcurrentMap[str, str] = ConcurrentMap()
    closed: ConcurrentMap[str, list[int]] = ConcurrentMap()
    with ThreadPoolExecutor(THREADS) as pool:
        seen = {future.result() for future in [pool.submit(use, requests, owners) for _ in range(THREADS)]}
        print(f"requests: {dict(sorted(requests.snapshot().items()))}")
        print(f"ada's first owner is the owner that all threads saw: {seen == {owners['ada']}}")
        for future in [pool.submit(close, requests, closed) for _ in range(THREADS)]:
            future.result()
    print(f"closed: {dict(sorted(closed.snapshot().items()))}")
    print(f"still open: {[*requests]}")


if __name__ == "__main__":
    main()
