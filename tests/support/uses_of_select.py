"""How two threads use what select() takes and gives."""

from typing import Any

import ferrule
from ferrule import ChannelError, Selected, Timeout, aio

from .two_threads import Run, Use

__all__ = ["SELECT_USES", "give_back"]

SHORT = 0.001


def give_back(taken: Selected[Any] | None) -> None:
    """Releases the permit that a select gave, if it did."""
    if taken is not None and taken.value is not None:
        taken.value.release()


class OneArm:
    """An arm that both use, of a channel that has few slots."""

    def __init__(self, reserves: bool) -> None:
        self.tx, self.rx = ferrule.bounded[int](2)
        self.arm: Any = self.tx.reserving() if reserves else self.tx.sending(1)

    def rest(self) -> None:
        self.rx.drain()
        give_back(ferrule.select(self.arm, timeout=0))
        assert len(self.rx) <= 1


def arm_use(reserves: bool) -> Use:
    def in_a_loop(has: OneArm, run: Run) -> None:
        give_back(run(aio.select(has.arm, timeout=SHORT)))

    return Use(
        make=lambda: OneArm(reserves),
        calls={
            "select": lambda has, _: give_back(ferrule.select(has.arm, ferrule.never(), has.arm, timeout=SHORT)),
            "try_select": lambda has, _: give_back(ferrule.try_select(has.arm)),
            "aio.select": in_a_loop,
            "receive": lambda has, _: has.rx.try_recv(None),
            "repr": lambda has, _: repr(has.arm),
        },
        errors=(ChannelError, Timeout),
        rest=OneArm.rest,
    )


def selected() -> Selected[Any]:
    return ferrule.select(ferrule.at(0))


SELECTED = Use(
    make=selected,
    calls={
        "index": lambda taken, _: taken.index,
        "value": lambda taken, _: taken.value,
        "closed": lambda taken, _: taken.closed,
        "count": lambda taken, _: taken.count(0),
        "repr": lambda taken, _: (repr(taken), hash(taken), taken == selected()),
    },
    errors=(),
    rest=lambda taken: taken[0],
)

SELECT_USES = {
    "ferrule.Selected": SELECTED,
    "what Sender.sending() gives": arm_use(reserves=False),
    "what Sender.reserving() gives": arm_use(reserves=True),
}
