"""Streams under all that an interpreter can be told to check."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.loops import LOOPS
from tests.support.settings import SETTINGS, under

WORKLOAD = """
import asyncio, contextlib, gc
from ferrule.aio.streams import *
from tests.support.driver import run, turns
from tests.support.streams import HOST, against_raw, contexts, drive, pair, reset, serving

async def conversation(tls):
    async with pair(tls, limit=1000) as ends:
        here, there = (Framed(*end, JsonLinesCodec()) for end in ends)
        sending = asyncio.ensure_future(here.send_many({"n": n, "text": "x" * n * 60} for n in range(60)))
        for n in range(60):
            doomed = asyncio.ensure_future(there.recv())
            await turns(n % 3)
            frame = await there.recv() if doomed.cancel() and (await asyncio.wait([doomed])) else await doomed
            assert frame["n"] == n
        assert await sending == 60

async def over_to_tls():
    server_side, client_side = contexts()
    async with pair() as (here, there):
        await asyncio.gather(here.writer.start_tls(client_side), there.writer.start_tls(server_side))
        here.writer.writelines([b"line\\n"] * 100)
        for _ in range(100):
            assert await there.reader.readline() == b"line\\n"

async def failures():
    async def serve(reader, writer):
        raise asyncio.CancelledError
    async with serving(serve) as port:
        reader, writer = await open_connection(HOST, port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    async with against_raw() as (end, peer):
        reading = asyncio.ensure_future(end.reader.readexactly(10))
        await turns()
        reset(peer)
        with contextlib.suppress(OSError):
            await reading
    async with against_raw() as (end, peer):
        starting = asyncio.ensure_future(end.writer.start_tls(contexts()[1]))
        await turns()
        starting.cancel()
        await asyncio.wait([starting])
        await end.writer.wait_closed()

async def main():
    assert asyncio.get_running_loop().get_debug() is DEBUG
    await conversation(False)
    await conversation(True)
    await over_to_tls()
    await failures()
"""


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_conversation_under(setting, kind):
    begin, named = under(setting)
    begin += f"DEBUG = {'-X' in named.get('options', ())}\n"
    in_subprocess(WORKLOAD + begin + f"drive(main(), {kind!r})", **named)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_conversation_in_the_loops_debug_mode(kind):
    in_subprocess(WORKLOAD + f"DEBUG = True\ndrive(main(), {kind!r})", env={"PYTHONASYNCIODEBUG": "1"})
