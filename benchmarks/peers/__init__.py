"""Every contender behind the same few verbs, one module for each room; no work is done here."""

from __future__ import annotations

import asyncio
import importlib
import sysconfig
from collections.abc import Callable
from typing import Any

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def optional(
    module: str, build: Callable[[Any], Callable[[], Any]], *, turns_gil_on: bool = False
) -> tuple[Callable[[], Any] | None, str]:
    """What makes the contender, given its imported module, or None and the reason why it is not there."""
    if turns_gil_on and FREE_THREADED:
        return None, f"importing {module} turns the GIL on"
    try:
        return build(importlib.import_module(module)), ""
    except ImportError as error:
        return None, f"{module} cannot be imported: {error}"


def loop_factories() -> dict[str, tuple[Callable[[], Any] | None, str]]:
    """What makes each kind of event loop, or None and the reason why it is not there."""
    uvloop = optional("uvloop", lambda module: module.new_event_loop)
    return {"asyncio": (asyncio.new_event_loop, ""), "uvloop": uvloop}
