"""Streams under all that an interpreter can be told to check."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import SETTINGS, run_under

CHOSEN = "conversation or read_ahead or given_up or shares or cancelled_at_any or slow_peer or over_the_limit_is_not"
TESTS = [*(f"tests/aio/test_{name}.py" for name in ("framed_aio", "streams_tls", "streams_cancel")), "-k", CHOSEN]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, TESTS)


WORKLOAD = """
import asyncio, contextlib
from ferrule.aio.streams import *
from tests.support.driver import run, turns
from tests.support.streams import HOST, against_raw, contexts, drive, pair, reset, serving

async def conversation(tls):
    async with pair(tls, limit=1000) as ends:
        here, there = (Framed(*end, JsonLinesCodec()) for end in ends)
        sending = asyncio.ensure_future(here.send_many({"n": n, "text": "x" * n * 20} for n in range(200)))
        for n in range(200):
            doomed = asyncio.ensure_future(there.recv())
            await turns(n % 3)
            frame = await there.recv() if doomed.cancel() and (await asyncio.wait([doomed])) else await doomed
            assert frame["n"] == n
        assert await sending == 200

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
    assert asyncio.get_running_loop().get_debug()
    await conversation(False)
    await conversation(True)
    await over_to_tls()
    await failures()
"""


@pytest.mark.parametrize("options", [[], ["-W", "error", "-X", "dev"]], ids=["alone", "in development mode"])
def test_asyncios_debug_mode(options):
    env = {"PYTHONASYNCIODEBUG": "1"}
    in_subprocess(WORKLOAD + "drive(main(), 'asyncio')", env=env, options=options)


def test_uvloops_debug_mode():
    pytest.importorskip("uvloop", reason="uvloop is not installed here")
    in_subprocess(
        WORKLOAD + "drive(main(), 'uvloop')", env={"PYTHONASYNCIODEBUG": "1"}, options=["-W", "error", "-X", "dev"]
    )
