"""CPython's tests of `queue`, against ferrule.dropin.queue."""

from ferrule.dropin import queue
from tests.support.cpython import load, test_cases

theirs = load("test_queue.py")
if hasattr(theirs, "bigmemtest"):
    # Since 3.12 some of them ask for 5 GB, for 50 stacks of threads; next to nothing of that is touched.
    theirs.bigmemtest.__globals__["real_max_memuse"] = 8 * 2**30

# Each class of tests is there twice: for the module in Python, and for the one with `_queue` in C.
for name, case in test_cases(theirs).items():
    if name.startswith("C"):
        case.queue = queue
        globals()[name] = case


def test_they_are_there_and_test_ours():
    names = {"CQueueTest", "CLifoQueueTest", "CPriorityQueueTest", "CFailingQueueTest", "CSimpleQueueTest"}
    assert names <= set(globals())
    assert all(globals()[name].queue is queue for name in names)
