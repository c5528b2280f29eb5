"""Code in a fresh interpreter, where it may crash, fork, be signalled, or be counted to the last reference.

in_subprocess("import ferrule; ...")            must exit with 0 and in time, else fails with its output
assert_no_leak("m.lock().release()", setup=...) run over and over leaves as many objects and as much memory as before
assert_few_objects_left("def once(): ...")      the same for what is too big to be run more than a few times
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["assert_few_objects_left", "assert_no_leak", "in_subprocess"]

ROOT = Path(__file__).resolve().parents[2]


def in_subprocess(
    code: str,
    *,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    returncode: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Runs the code in a fresh interpreter and returns how it ended, with stdout and stderr as text.

    `env` is added to the environment, `options` goes to the interpreter (`-W error`, `-X dev`), `tests.support` can be
    imported. Fails with all the output if it does not end in time (with every stack) or not with `returncode`.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *options, "-c", textwrap.dedent(code)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, **(env or {})},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
        problem = None if process.returncode == returncode else f"ended with {_ending(process.returncode)}"
    except subprocess.TimeoutExpired:
        _abort(process)
        output, errors = process.communicate()
        problem = f"did not end in {timeout:g} s"
    if problem:
        pytest.fail(f"the subprocess {problem}\n--- stdout\n{output}\n--- stderr\n{errors}", pytrace=False)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def _abort(process: subprocess.Popen[str]) -> None:
    """Lets faulthandler show the stacks, then ends the children too, which hold the same pipes."""
    process.send_signal(signal.SIGABRT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ending(returncode: int) -> str:
    return signal.Signals(-returncode).name if returncode < 0 else f"exit status {returncode}"


_COUNT = """
import ctypes, gc, json, sys

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc's; Python does not count what malloc gave
if mallinfo:
    mallinfo.restype = Mallinfo

def count():
    for _ in range(3):
        gc.collect()
    counts = {{"objects": len(gc.get_objects()), "blocks": sys.getallocatedblocks()}}
    if mallinfo:
        info = mallinfo()
        counts["bytes"] = info.uordblks + info.hblkhd
    for name in {watch!r}:
        counts["references to " + name] = sys.getrefcount(globals()[name])
    return counts

{setup}

def once():
{code}

def grown():
    before = count()
    for _ in range({repeats}):
        once()
    after = count()
    return {{name: after[name] - before[name] for name in before}}

def is_leak(name, growth):
    if name.startswith("references"):
        return abs(growth) >= {repeats} / 10
    return growth >= (spare_bytes if name == "bytes" else {repeats} / 10)  # that it shrinks is the allocator's affair

spare_bytes = {repeats} * {spare_bytes}
for _ in range(max(10, {repeats} // 4)):
    once()
count()  # counting, too, allocates at its first time
for _ in range({windows}):
    growth = grown()
    leaks = {{name: n for name, n in growth.items() if is_leak(name, n)}}
    if not leaks:
        break
print(json.dumps([leaks, growth]))
"""

_WINDOWS = 6
"""A leak grows in each of them; a table of the interpreter or a pool of the allocator that is enlarged, in one."""

_NO_CACHE = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""Freed memory that glibc keeps in a thread's cache counts as in use."""


def assert_no_leak(
    code: str,
    *,
    setup: str = "",
    watch: Sequence[str] = (),
    repeats: int = 1000,
    timeout: float = 60.0,
    spare_bytes: int = 1,
) -> None:
    """Fails if running the code many times leaves objects, memory or references behind.

    `setup` runs once, `code` is the body of a function, `watch` names globals of the setup whose reference counts must
    come back. One object, block or reference in ten runs is a leak (so is a reference too few), or `spare_bytes` a run
    from the C library, whose own caches for threads grow by less. What grows once, and not when the same number of runs
    is made again, is no leak.
    """
    program = _COUNT.format(
        setup=textwrap.dedent(setup),
        code=textwrap.indent(textwrap.dedent(code).strip("\n"), "    "),
        watch=list(watch),
        repeats=repeats,
        spare_bytes=spare_bytes,
        windows=_WINDOWS,
    )
    output = in_subprocess(program, timeout=timeout, env=_NO_CACHE).stdout
    leaks, growth = json.loads(output.splitlines()[-1])
    if leaks:
        pytest.fail(
            f"after {repeats} runs there are more, or fewer references: {leaks} (of all counted: {growth})\n{code}",
            pytrace=False,
        )


_FEW = """
import gc
once()
gc.collect()
before = len(gc.get_objects())
for _ in range(3):
    once()
    gc.collect()
left = len(gc.get_objects()) - before
assert left < 50, left
"""


def assert_few_objects_left(code: str) -> None:
    """Fails if `once()`, which the code defines and which makes thousands of objects, leaves more than a few behind."""
    in_subprocess(code + _FEW)
