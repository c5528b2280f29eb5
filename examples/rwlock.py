"""A routing table that threads and tasks read side by side, and that is reloaded while they do.

Each request holds the lock to read, so all that it looks up is of one version of the table. A cache takes the
upgradable hold: others read beside it, and who has to fill in a gap comes to write with nobody in between.

Prints:
    40 requests, each of one version of the table; at the end it has version 3
    user-7: asked for by 4 threads, looked up by 1
"""

import asyncio
import threading

from ferrule import RWLock

Table = dict[str, tuple[int, str]]
PATHS = ["/", "/about", "/users"]
REQUESTS = 20


def table(version: int) -> Table:
    return {path: (version, f"handler of {path}") for path in PATHS}


def in_thread(routes: RWLock[Table]) -> list[set[int]]:
    """The versions that each request saw."""
    seen = []
    for _ in range(REQUESTS):
        with routes.read() as guard:
            seen.append({guard.value[path][0] for path in PATHS})
    return seen


async def in_task(routes: RWLock[Table]) -> list[set[int]]:
    seen = []
    for _ in range(REQUESTS):
        async with routes.aio.read() as guard:
            versions = set()
            for path in PATHS:
                versions.add(guard.value[path][0])
                await asyncio.sleep(0)  # a reload waits for the end of the request, not the whole loop for the reload
            seen.append(versions)
    return seen


def reload(routes: RWLock[Table], versions: range) -> None:
    for version in versions:
        with routes.write(timeout=1.0) as guard:
            for path, route in table(version).items():
                guard.value[path] = route


class Names:
    def __init__(self) -> None:
        self.cache: RWLock[dict[int, str]] = RWLock({})
        self.looked_up = 0

    def get(self, user: int) -> str:
        with self.cache.upgradable_read() as guard:
            if user not in guard.value:
                with guard.upgraded() as writer:
                    self.looked_up += 1
                    writer.value[user] = f"user-{user}"
            return guard.value[user]


async def main() -> None:
    routes = RWLock(table(0))
    by_thread, by_task, _ = await asyncio.gather(
        asyncio.to_thread(in_thread, routes),
        in_task(routes),
        asyncio.to_thread(reload, routes, range(1, 4)),
    )
    requests = [*by_thread, *by_task]
    assert all(len(versions) == 1 for versions in requests)
    with routes.read() as guard:
        (version,) = {version for version, _ in guard.value.values()}
    print(f"{len(requests)} requests, each of one version of the table; at the end it has version {version}")

    names = Names()
    threads = [threading.Thread(target=names.get, args=(7,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{names.get(7)}: asked for by {len(threads)} threads, looked up by {names.looked_up}")


if __name__ == "__main__":
    asyncio.run(main())
