"""CPython's tests of asyncio's queues, against ferrule.dropin.asyncio."""

import asyncio

from ferrule.dropin import asyncio as ours
from tests.support.cpython import differs, load, put_in_place_of, test_cases

theirs = load("test_asyncio/test_queues.py")
theirs.asyncio = put_in_place_of(asyncio, ours)

cases = test_cases(theirs)
differs(cases, "QueueGetTests.test_get_with_putters", "it puts a future of its own among those who wait for room")
for name, case in cases.items():
    if hasattr(case, "q_class"):
        case.q_class = getattr(ours, case.q_class.__name__)
    globals()[name] = case


def test_they_are_there_and_test_ours():
    names = {"QueueBasicTests", "QueueGetTests", "QueuePutTests", "LifoQueueTests", "PriorityQueueTests"}
    assert names <= set(globals())
    assert theirs.asyncio.Queue is ours.Queue
    assert theirs.asyncio.sleep is asyncio.sleep
