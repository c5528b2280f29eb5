"""Names of parameters that are the same in every process: tests, and their random numbers, go by their names."""

import re
from typing import Any

__all__ = ["shown"]


def shown(value: Any) -> str:
    """The value's repr, but sets in order, and nothing by its address (for `ids` of parametrize)."""
    if type(value) in (set, frozenset) and value:
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
