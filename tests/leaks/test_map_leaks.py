"""References, objects and memory come back to the start after every kind of call on a map, also one that raises."""

import pytest

from tests.support.leaks import assert_no_leak

SETUP = """
import copy, gc, pickle, warnings
from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, ConcurrentSet, FrozenMap, Timeout, WouldDeadlock
from tests.support.maps import Key
from tests.support.race import raises

warnings.simplefilter("ignore")
value, other, key, clash, absent = object(), object(), Key("key", 5), Key("clash", 5), Key("absent", 5)
m = ConcurrentMap({key: value, clash: value, "text": value, 1: 1, b"bytes": value})
s = ConcurrentSet([key, clash, "text", 1])

class Raising(Key):
    def __eq__(self, other):
        raise ZeroDivisionError
    __hash__ = Key.__hash__

raising = Raising("raising", 5)
"""

WATCH = ["value", "other", "key", "clash", "absent", "raising", "m", "s"]

CALLS = {
    "reads": """
        m[key]; m.get(absent, other); key in m; Key('key', 5) in m; len(m); raises(KeyError, m.__getitem__, absent)
    """,
    "writes": "m[absent] = value; m[absent] = other; del m[absent]; m[key] = value; m[Key('key', 5)] = value",
    "pops": "m[absent] = other; m.pop(Key('absent', 5)); m.pop(absent, other); raises(KeyError, m.pop, absent)",
    "popitem": "n = m.copy(); [n.popitem() for _ in range(len(n))]; raises(KeyError, n.popitem)",
    "setdefault": "m.setdefault(key, other); m.setdefault(absent, other); m.pop(absent)",
    "insert": "m.insert(absent, value); m.insert(absent, other, default=value); m.pop(absent)",
    "compare_and_set": """
        m.compare_and_set(key, value, other); m.compare_and_set(key, other, value)
        m.compare_and_set(absent, MISSING, value); m.compare_and_set(absent, value, MISSING)
        m.compare_and_set(key, other, value)
    """,
    "increment": """
        m.increment(1); m.increment(1, -1); m.increment(absent, 2.5, 1.5); m.increment(absent, 10**30); m.pop(absent)
        raises(TypeError, m.increment, key)
    """,
    "compute": """
        for answer in (other, ABORT, REMOVE):
            m.compute(absent, lambda old: answer)
        raises(ZeroDivisionError, m.compute, key, lambda old: 1 // 0)
        raises(ValueError, m.compute, key, lambda old: MISSING)
    """,
    "predicates": """
        m[absent] = other
        m.remove_if(absent, lambda held: False); m.remove_if(absent, lambda held: held is other)
        m.retain(lambda k, v: True); raises(ZeroDivisionError, m.retain, lambda k, v: 1 // 0)
    """,
    "entries": """
        with m.entry(key) as e:
            e.value; e.value = value; e.get(); e.present; e.or_insert(other); repr(e)
            raises(WouldDeadlock, m.__setitem__, key, other)
            with m.entry(clash) as f:
                f.insert(value)
        with m.entry(absent) as e:
            e.or_insert_with(lambda: other); e.remove(); e.remove(other)
        with m.entries(absent, "text", key) as es:
            es[0].insert(value); es[0].remove()
        m.try_entry(key).release()
        m.entry(key)
        raises(ValueError, m.entries, key, "text", key)
        raises(TypeError, m.entries, "text", [])
    """,
    "many": """
        m.get_many([key, absent, 1, "text"], other)
        m.set_many({key: value, absent: other}); m.pop(absent)
        m.snapshot(); m.freeze(); hash(FrozenMap({key: 1})); raises(ValueError, m.set_many, {key: MISSING})
    """,
    "views": """
        list(m); list(m.items()); list(m.values()); m.keys() & {key}; (key, value) in m.items(); value in m.values()
        iterator = iter(m.items()); next(iterator); del iterator
        m == dict(m); m | {absent: other}; {absent: other} | m
    """,
    "copies": """
        m.copy(); copy.deepcopy(ConcurrentMap({1: [2]})); pickle.loads(pickle.dumps(ConcurrentMap({1: [2]}))); repr(m)
    """,
    "sizes": """
        n = ConcurrentMap(capacity=100)
        n.update((i, value) for i in range(1000)); n.reserve(5000); n.shrink()
        for i in range(1000): del n[i]
        n[key] = n; n.clear()
    """,
    "a cycle": "n = ConcurrentMap(); n[key] = n; n['i'] = iter(n); n['v'] = n.items(); del n; gc.collect()",
    "comparisons that raise": """
        for call in (m.get, m.pop, m.setdefault, m.increment, m.insert):
            raises(ZeroDivisionError, call, raising, *([value] if call == m.insert else []))
        raises(ZeroDivisionError, m.get_many, [key, raising]); raises(ZeroDivisionError, m.set_many, {raising: 1})
        raises(ZeroDivisionError, m.compute, raising, lambda old: 1)
    """,
    "sets": """
        s.add(absent); s.insert(absent); s.discard(absent); s.discard(absent); raises(KeyError, s.remove, absent)
        s | {absent}; s & {key}; s - {key}; {absent} ^ s; s <= {key}; s.copy().pop(); s.snapshot(); s.union([1], [2])
        t = s.copy(); t &= {key}; t |= {absent}; t -= {key}; t ^= {clash}; t.clear()
        s.remove_if(key, lambda item: False); s.retain(lambda item: True)
        pickle.loads(pickle.dumps(ConcurrentSet([1])))
    """,
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(calls, setup=SETUP, watch=WATCH, repeats=1000)
