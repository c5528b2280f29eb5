"""A run of the installed package, where nothing else of the project may be found. Silent if all is well."""

import asyncio
import importlib.metadata
import importlib.util
import sys
import sysconfig
from pathlib import Path

import ferrule

assert Path(ferrule.__file__).is_relative_to(sysconfig.get_path("platlib")), ferrule.__file__
assert ferrule.__version__ == importlib.metadata.version("ferrule")
for name in ("tests", "benchmarks", "examples", "ferrule._core.probe"):
    assert importlib.util.find_spec(name) is None, f"{name} can be imported"
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    assert not sys._is_gil_enabled(), "importing ferrule has turned the GIL on"


async def add(mutex: ferrule.Mutex[int]) -> None:
    async with mutex.aio as guard:
        guard.value += 1


mutex = ferrule.Mutex(1)
with mutex as guard:
    guard.value += 1
asyncio.run(add(mutex))
with mutex as guard:
    assert guard.value == 3

counts = ferrule.ConcurrentMap({"a": 1})
assert counts.increment("a") == 2
with counts.entry("a") as entry:
    entry.value *= 10
assert counts == {"a": 20}
