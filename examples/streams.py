"""A service that sums lists of numbers, and a client, over JSON lines on a socket.

Prints:

    {'sum': 6}
    {'error': 'not a list of numbers'}
    {'error': 'more than 1000 bytes'}
    {'sum': 0}
"""

import asyncio

from ferrule.aio.streams import (
    Framed,
    FrameTooLarge,
    JsonLinesCodec,
    StreamReader,
    StreamWriter,
    open_connection,
    start_server,
)

REQUESTS = JsonLinesCodec(limit=1000)
"""The pattern for all connections: each works with a copy."""


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    """Answers one client until it has sent its last request."""
    async with Framed(reader, writer, REQUESTS) as client:
        while True:
            try:
                reply = {"sum": sum(await client.recv())}
            except EOFError:
                return
            except FrameTooLarge as error:  # it was passed over as it came in, and the next request is read as always
                reply = {"error": f"more than {error.limit} bytes"}
            except (TypeError, ValueError):
                reply = {"error": "not a list of numbers"}
            await client.send(reply)


async def main() -> None:
    async with await start_server(serve, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        async with Framed(*await open_connection(*address), JsonLinesCodec()) as service:
            await service.send_many([[1, 2, 3], ["a"], [0] * 1000, []])
            for _ in range(4):
                print(await service.recv())


asyncio.run(main())
