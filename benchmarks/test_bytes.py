"""Bytes: one table for each scenario, with all contenders in it; and that all cut, find and build the same.

With --benchmark-disable everything runs once, to show that it runs.
"""

from __future__ import annotations

import socket
import struct

import pytest

from benchmarks.groups import cases
from benchmarks.peers import bytes as peers
from benchmarks.scenarios import bytes as scenarios
from benchmarks.scenarios import run_loops
from benchmarks.scenarios.bytes import KIB, MIB, SCENARIOS

N = 2000
"""Operations of each thread in one timed call; the figures are for a call, with the start of its threads or loop."""
by_name = {"ids": lambda contender: contender.name}


@pytest.mark.parametrize(("scenario", "contender", "threads"), [*cases(SCENARIOS, N)])
def test_cost(benchmark, scenario, contender, threads):
    n = 1 if "1m" in scenario.name else 20 if "64k" in scenario.name else N
    benchmark(run_loops, scenario.loops(contender, threads), n)


@pytest.mark.parametrize("contender", peers.SLICED, **by_name)
def test_every_slice_is_the_part(contender):
    content = bytes(range(100))
    data = contender.make(content)
    assert (data.slice(4, 60) if contender.by_call else data[4:60]) == content[4:60]


@pytest.mark.parametrize("contender", peers.SEARCHED, **by_name)
def test_every_contender_finds_counts_and_splits_the_same(contender):
    for size in (KIB, MIB):
        for content, needle in [
            (scenarios.text(size), scenarios.NEEDLE),
            (scenarios.periodic(size), scenarios.PERIODIC_NEEDLE),
        ]:
            data = contender.make(content)
            assert len(data) == size
            assert (data.find(needle), data.count(needle)) == (size - len(needle), 1)
    assert contender.make(scenarios.fields()).split(b",") == [b"%d" % (n * n) for n in range(scenarios.FIELDS)]
    assert contender.make(b"a: b: c").partition(b": ") == (b"a", b": ", b"b: c")


# Who cuts frames or lines returns the last one: the n-th, if there are n.


@pytest.mark.parametrize("contender", peers.FRAMES, **by_name)
def test_every_contender_cuts_every_frame(contender):
    frames = scenarios.bodies(50)
    for n in range(1, len(frames) + 1):
        parse = contender.make(scenarios.framed(frames[:n]))
        assert [parse(), parse()] == [frames[n - 1]] * 2


@pytest.mark.parametrize("contender", peers.LINES, **by_name)
def test_every_contender_cuts_every_line(contender):
    lines = scenarios.bodies(50)
    for n in range(1, len(lines) + 1):
        parse = contender.make(scenarios.lined(lines[:n]))
        assert [parse(), parse()] == [lines[n - 1] + b"\n"] * 2


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("contender", peers.LINES_AS_THEY_COME, **by_name)
def test_every_contender_cuts_every_line_as_it_comes(contender, size):
    lines = scenarios.bodies(20)
    for n in range(1, len(lines) + 1):
        take = contender.make(scenarios.chunked(scenarios.lined(lines[:n]), size))
        assert [take(1), take(3)] == [lines[n - 1] + b"\n"] * 2


@pytest.mark.parametrize("contender", peers.BUILT, **by_name)
def test_every_contender_builds_the_same_message(contender):
    kind, number, value, body = scenarios.MESSAGE
    expected = struct.pack(">BIHd", kind, number, len(body), value) + body
    build = contender.make()
    assert [build(n, *scenarios.MESSAGE) for n in (1, 2, 5000)] == [expected] * 3


@pytest.mark.parametrize("contender", peers.GROWN, **by_name)
def test_every_contender_grows_by_every_part(contender):
    parts = scenarios.bodies(50)
    append = contender.make()
    for n in range(len(parts) + 1):
        assert bytes(append(parts[:n])) == b"".join(parts[:n])


@pytest.mark.parametrize("contender", peers.SOCKETS, **by_name)
def test_every_contender_receives_every_frame(contender):
    frames = [*scenarios.bodies(50), scenarios.text(64 * KIB), b"", *scenarios.bodies(1500, seed=1)]
    source, sink = socket.socketpair()
    with source, sink:
        receive = contender.make(sink)
        for batch in ([frame] for frame in frames):
            source.sendall(scenarios.framed(batch))
            assert receive(1) == batch[0]
        source.sendall(scenarios.framed(frames[:50]))  # one call leaves what the next one gives
        assert [receive(1) for _ in range(50)] == frames[:50]
