"""A cache before a slow source: whoever asks for a page at the same time waits for the one request that is under way.

The source is a server on loopback that takes its time, and counts how often it is asked. Sixty tasks ask for three
pages at once: without a cache; with a dict and an asyncio.Lock for each page, which is for the tasks of one loop; with
get_or_compute(), beside twenty threads that ask for the same pages. A page that the source fails to give is an error
for the one whose request it was, and the next one asks again.

Prints:
    no cache, 60 answers, the source was asked 60 times
    a lock for each page, 60 answers, the source was asked 3 times
    get_or_compute, 80 answers, the source was asked 3 times
    a source that fails once: 1 error, 9 answers, the source was asked 2 times
    a page that has changed: version 2
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

from ferrule import aio

PAGES = ["/news", "/weather", "/chess"]
DELAY = 0.02


class Source:
    """The slow server."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.version = 1

    async def __aenter__(self) -> "Source":
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).decode().strip()
        self.asked[path] += 1
        await asyncio.sleep(DELAY)
        if path != "/flaky" or self.asked[path] > 1:
            writer.write(f"version {self.version}\n".encode())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def fetch(self, path: str) -> str:
        """What a task does to get a page."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{path}\n".encode())
        page = (await reader.readline()).decode().strip()
        writer.close()
        await writer.wait_closed()
        return checked(page)

    def fetch_in_thread(self, path: str) -> str:
        """What a thread does."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(f"{path}\n".encode())
            return checked(connection.makefile().readline().strip())


def checked(page: str) -> str:
    if not page:
        raise ConnectionError("the source gave nothing")
    return page


class LockForEachPage:
    """What one would write by hand. Threads, or tasks of another loop, cannot share it, and the locks pile up."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.locks: dict[str, asyncio.Lock] = {}

    async def get(self, path: str, fetch: Callable[[], Awaitable[str]]) -> str:
        async with self.locks.setdefault(path, asyncio.Lock()):
            if path not in self.pages:
                self.pages[path] = await fetch()
            return self.pages[path]


async def main() -> None:
    async with Source() as source:

        def report(what: str, answers: int) -> None:
            print(f"{what}, {answers} answers, the source was asked {source.asked.total()} times")
            source.asked.clear()

        report("no cache", len(await asyncio.gather(*[source.fetch(path) for path in PAGES * 20])))

        by_hand = LockForEachPage()
        asks = [by_hand.get(path, lambda path=path: source.fetch(path)) for path in PAGES * 20]
        report("a lock for each page", len(await asyncio.gather(*asks)))

        pages: aio.ConcurrentMap[str, str] = aio.ConcurrentMap()
        tasks = [pages.get_or_compute(path, lambda path=path: source.fetch(path)) for path in PAGES * 20]
        threads = [
            asyncio.to_thread(pages.sync.get_or_compute, path, lambda path=path: source.fetch_in_thread(path))
            for path in (PAGES * 7)[:20]
        ]
        report("get_or_compute", len(await asyncio.gather(*tasks, *threads)))

        asks = [pages.get_or_compute("/flaky", lambda: source.fetch("/flaky")) for _ in range(10)]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        errors = sum(isinstance(answer, ConnectionError) for answer in answers)
        report(f"a source that fails once: {errors} error", len(answers) - errors)

        source.version = 2
        await pages.pop("/news")
        print(f"a page that has changed: {await pages.get_or_compute('/news', lambda: source.fetch('/news'))}")


if __name__ == "__main__":
    asyncio.run(main())
