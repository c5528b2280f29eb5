"""The map under all that an interpreter can be told to check, and with every allocation failing in turn."""

import sys

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import FREE_THREADED, SETTINGS, run_under

TESTS = [
    "tests/unit/test_map.py",
    "tests/unit/test_map_entry.py",
    "tests/unit/test_map_entry_waits.py",
    "tests/unit/test_map_flight.py",
    "tests/aio/test_map_flight_aio.py",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, TESTS)


NO_MEMORY = """
import gc, itertools, sys, warnings
import _testcapi
from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, ConcurrentSet, FrozenMap, Timeout, WouldDeadlock
from tests.support.maps import Key, assert_at_rest, entered, in_thread

warnings.simplefilter("ignore")     # an entry that is dropped because its call failed says so
big = 10**30
present, absent, clash = Key("present", 5), Key("absent", 5), Key("clash", 5)
ITEMS = {present: 1000, "text": 2000, 7: 1.5, "big": big, Key("other", 5): None}

def make():
    m = ConcurrentMap(ITEMS, shards=2)
    m.reserve(100)      # so that there is something to shrink
    return m

def fails(call, most=400):
    '''Makes each allocation of the call fail in turn; it fails with MemoryError and changes nothing, or it is done.'''
    failed = done = 0
    gc.freeze()     # a collection has no more to look at than what a call has made
    for number in range(most):
        gc.collect()
        m = make()
        before, held = m.snapshot(), entered(m)
        error = None
        _testcapi.set_nomemory(number, number + 1)
        try:
            call(m)
        except BaseException as caught:
            error = caught
        _testcapi.remove_mem_hooks()
        m._check()
        assert (entered(m), m._state()) == (0, {}), number
        if error is None:
            done += 1
            if done > 20:   # more than it may do without: it makes no more of them
                return failed
            continue
        done = 0
        assert type(error) is MemoryError, (number, repr(error))
        failed += 1
        after = m.snapshot()
        assert after == before or not ATOMIC, (number, before, after)
        del error
        # It still does what it should.
        call(m)
        assert_at_rest(m)
    raise AssertionError("an allocation failed in each of %d calls" % most)

# Made here: an interpreter may crash where there is no memory for a function (3.12, 3.13), which is not what is tested.
yes, no, five, remove = (lambda *_: True), (lambda *_: False), (lambda old: 5), (lambda old: REMOVE)
seven, fault = (lambda: 7), [].pop      # a function in Python cannot raise safely where there is no memory

def nested(m):
    return lambda: m.get_or_compute('inner', seven)

def caught(call, *args):
    try:
        call(*args)
    except IndexError:
        pass

ATOMIC = {atomic}
print(fails(lambda m: {call}))
"""

CALLS = {
    "set": "m.__setitem__(absent, 1)",
    "set a new table": "[m.__setitem__(n, n) for n in range(300)]",
    "replace": "m.__setitem__(present, 3000)",
    "get": "(m.get(present), m.get(absent), m['text'], present in m)",
    "pop": "m.pop(present, None)",
    "popitem": "m.popitem()",
    "setdefault": "m.setdefault(absent, 5)",
    "insert": "m.insert(absent, 5)",
    "compare_and_set": "m.compare_and_set('text', 2000, 3000)",
    "compare_and_set of an absent key": "m.compare_and_set(absent, MISSING, 3000)",
    "remove_if": "m.remove_if(present, yes)",
    "increment an int": "m.increment(present)",
    "increment a float": "m.increment(7, 1.5)",
    "increment a big int": "m.increment('big')",
    "increment an absent key": "m.increment(absent, 1000)",
    "compute": "m.compute(present, five)",
    "compute that removes": "m.compute(present, remove)",
    "get_or_compute": "(m.get_or_compute(absent, seven), m.get_or_compute(present, seven))",
    "get_or_compute, nested": "m.get_or_compute(absent, nested(m))",
    "get_or_compute that raises": "caught(m.get_or_compute, absent, fault)",
    "retain": "m.retain(yes)",
    "retain that removes": "m.retain(no)",
    "entry": "m.entry(present).release()",
    "try_entry": "m.try_entry(absent).release()",
    "entries": "m.entries(present, absent, 'text', clash).release()",
    "get_many": "m.get_many((present, absent, 'text'))",
    "set_many": "m.set_many({present: 1, absent: 2, 'text': 3, **{n: n for n in range(50)}})",
    "snapshot": "m.snapshot()",
    "freeze": "m.freeze()",
    "copy": "m.copy()",
    "iteration": "(list(m), list(m.values()), list(m.items()))",
    "views": "(m.keys() & {'text'}, m.items() | set(), m == dict(m))",
    "|": "m | {'text': 1}",
    "clear": "m.clear()",
    "reserve": "m.reserve(1000)",
    "shrink": "m.shrink()",
    "pops that shrink": "[m.__setitem__(n, n) for n in range(300)] + [m.pop(n) for n in range(300)]",
    "stats": "(m.stats(), m.capacity, repr(m))",
    "a new map": "ConcurrentMap(ITEMS, shards=4)",
    "a set": "ConcurrentSet(ITEMS, capacity=100).insert(absent)",
    "a frozen map": "hash(FrozenMap({1: 2}))",
}

NOT_ATOMIC = {"set a new table", "pops that shrink", "retain that removes", "clear", "popitem"}
NOT_ATOMIC |= {"get_or_compute, nested"}
"""Calls that are several, one after the other, and one that chooses; a second call would take another key."""


LISTS = {"entries", "set_many"}
"""Calls that make a list of known length (so does a list display of the test's own); see CPython issue 118331."""


@pytest.mark.parametrize("call", CALLS)
def test_every_allocation_failing_in_turn(call):
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    if sys.version_info[:2] == (3, 12) and call in {"copy", "|"}:
        pytest.skip("where there is no memory for a frame object, 3.12 drops the frame's locals twice")
    if FREE_THREADED and call in LISTS:
        pytest.skip("PyList_New() of this interpreter crashes where its array cannot be allocated (gh-118331)")
    in_subprocess(NO_MEMORY.replace("{call}", CALLS[call]).replace("{atomic}", str(call not in NOT_ATOMIC)), timeout=60)
