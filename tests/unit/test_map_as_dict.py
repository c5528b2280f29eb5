"""A ConcurrentMap beside a dict: the same calls, the same answers, wherever api.md does not say otherwise.

The behaviours are those that CPython's own tests ask of dict: odd keys, errors in the middle of a call, changes during
one. What the map does otherwise is in the guide ("Differences from dict").
"""

import os
import subprocess
import sys
import textwrap
from collections import Counter
from enum import IntEnum
from fractions import Fraction
from pathlib import Path

import pytest

from ferrule import ConcurrentMap
from tests.support.maps import CLASH, Key
from tests.support.race import outcome

SRC = Path(__file__).resolve().parents[2] / "src"

ERRORS = (KeyError, TypeError, ValueError)


class Broken(Exception):
    """What a test's own key raises."""


class Text(str):
    """A str that is not exactly one."""

    __slots__ = ()


class ShoutingText(str):
    """A str of another equality."""

    __slots__ = ()

    def __hash__(self):
        return hash(self.lower())

    def __eq__(self, other):
        return str.__eq__(self.lower(), other.lower())


class Number(int):
    """An int that is not exactly one."""


class Colour(IntEnum):
    RED = 1


def same(m, d):
    """The map is whole, and has what the dict has: the same key objects, the same values."""
    m._check()
    assert len(m) == len(d)
    assert {id(key): id(value) for key, value in m.items()} == {id(key): id(value) for key, value in d.items()}


class Both:
    """A map and a dict that get the same calls and must give the same answers."""

    def __init__(self, **named):
        self.map = ConcurrentMap(**named)
        self.dict = {}

    def __call__(self, name, *args):
        answer = outcome(getattr(self.map, name), *ERRORS)(*args)
        expected = outcome(getattr(self.dict, name), *ERRORS)(*args)
        assert answer is expected or (type(answer) is type(expected) and answer == expected), (name, args)


NAN = float("nan")

POOLS = {
    "small ints": range(-5, 60),
    "many ints": range(2000),
    "ints of one hash": [n * CLASH + 3 for n in range(40)],
    "ints of every size": [
        sign * 2**bits + n for bits in (0, 30, 61, 62, 63, 64, 200) for sign in (1, -1) for n in (-1, 0, 1)
    ],
    "hashes -1 and -2": [-1, -2, Key("a", -1), Key("b", -2), -1 - CLASH, -2 - CLASH, -1.0, -2.0],
    "equal numbers": [0, False, 0.0, -0.0, 1, True, 1.0, 1 + 0j, Fraction(1), Number(1), Colour.RED, 2, 2.0, Number(2)],
    "floats": [NAN, float("nan"), float("inf"), -float("inf"), 0.5, 1e308, 2.0**61, 314159.0],
    "texts": ["", "a", "b", "ä", "日本", "\U0001f600", "\ud800", "\udfff", "x" * 1000, Text("a"), Text("c")],
    "other equalities": [ShoutingText("a"), ShoutingText("A"), "a", "A", "b", ShoutingText("B")],
    "bytes": [b"", b"a", b"b", b"a\0", bytes(1000), "a", "", bytes([97])],
    "tuples": [(), (1,), (1.0,), (1, 2), ((1, 2), 3), ("a", NAN), (None,), (True,)],
    "one hash": [Key(n, 7) for n in range(30)] + [Key(n, 7) for n in range(30)],
    "few hashes": [Key(n, n % 3) for n in range(60)],
    "the maximal hash": [Key(n, sys.maxsize) for n in range(20)] + [Key("least", -sys.maxsize - 1)],
    "hashes of equal low bits": [Key(n, n << 48) for n in range(60)],
    "hashes of equal high bits": [Key(n, n | 0x5A5A << 40) for n in range(60)],
    "everything": [None, Ellipsis, int, len, frozenset({1}), "a", b"a", 1, 1.0, (1,), Key(1, 1), NAN, "\ud800", 2**70],
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("shards", [1, 4])
def test_random_calls_answer_as_a_dict_s(pool, shards, rng):
    keys, both = list(pool), Both(shards=shards)
    for _ in range(3000):
        key, value = rng.choice(keys), rng.randrange(100)
        match rng.randrange(16):
            case 0 | 1 | 2 | 3:
                both("__setitem__", key, value)
            case 4:
                both("__delitem__", key)
            case 5:
                both("pop", key, value)
            case 6:
                both("pop", key)
            case 7:
                both("setdefault", key, value)
            case 8:
                both("get", key, value)
            case 9:
                both("__getitem__", key)
            case 10:
                both("__contains__", key)
            case 11:
                both("update", [(rng.choice(keys), rng.randrange(100)) for _ in range(rng.randrange(8))])
            case 12:
                if both.map:
                    taken, value = both.map.popitem()
                    assert both.dict.pop(taken) == value
            case 13:
                if rng.random() < 0.02:
                    both("clear")
            case 14:
                both("update", dict.fromkeys(rng.sample(keys, min(len(keys), 5)), value))
            case 15:
                both("__len__")
    same(both.map, both.dict)
    assert both.map == both.dict


def test_keys_come_and_go_in_waves(rng):
    both = Both()
    for _ in range(6):
        keys = rng.sample(range(100_000), 3000)
        for key in keys:
            both("__setitem__", key, key)
        rng.shuffle(keys)
        for key in keys[: rng.randrange(len(keys))]:
            both("pop", key)
        both.map._check()
        if rng.random() < 0.5:
            both.map.shrink()
    same(both.map, both.dict)


class TestKeys:
    def test_equal_numbers_are_one_key_and_the_first_stays(self):
        for first in (1, True, 1.0, Number(1), Fraction(1), Colour.RED):
            m, d = ConcurrentMap({first: "first"}), {first: "first"}
            for other in (1, True, 1.0, 1 + 0j, Number(1), Fraction(1), Colour.RED):
                m[other] = d[other] = other
            same(m, d)
            assert next(iter(m)) is first

    def test_a_nan_is_found_by_identity_alone(self):
        nan, other = float("nan"), float("nan")
        m = ConcurrentMap({nan: 1, other: 2})
        assert (m[nan], m[other]) == (1, 2)
        assert float("nan") not in m
        m[nan] = 3
        assert len(m) == 2
        del m[nan]
        assert list(m) == [other]
        assert (nan,) not in ConcurrentMap({(float("nan"),): 1})
        assert (nan,) in ConcurrentMap({(nan,): 1})

    def test_hashes_minus_one_and_minus_two(self):
        assert hash(-1) == hash(-2)
        m = ConcurrentMap({-1: "a", -2: "b"})
        assert (m[-1], m[-2], m[-1.0], m.get(-3)) == ("a", "b", "a", None)
        del m[-1]
        assert dict(m.items()) == {-2: "b"}

    def test_ints_of_equal_hash_are_told_apart(self):
        keys = [5, 5 + CLASH, 5 + 2 * CLASH, -CLASH * 3 + 5 - CLASH]
        assert len({hash(key) for key in keys[:3]}) == 1
        m = ConcurrentMap((key, key) for key in keys)
        assert all(m[key] == key for key in keys)
        assert m[float(5)] == 5

    def test_equal_texts_that_are_not_identical(self):
        for text in ("key", "schlüssel", "\U0001f600", "\ud800", "x" * 5000):
            other = "".join([text[:1], text[1:]]) if len(text) > 1 else (text + "!")[:-1]
            m = ConcurrentMap({text: 1})
            assert m[other] == m[Text(text)] == 1
            m[Text(text)] = 2
            assert [type(key) for key in m] == [str]
        assert "a" in ConcurrentMap({Text("a"): 1})

    def test_texts_that_differ_in_kind_alone_are_told_apart(self):
        texts = ["ab", "a\u0101", "a\u6162", "a\U00010162", "a\0", "a", "\0a", "\ud800", "\ud800\udc00", "\U00010000"]
        m = ConcurrentMap((text, n) for n, text in enumerate(texts))
        assert [m[text] for text in texts] == [*range(len(texts))]

    def test_a_subclass_of_str_keeps_its_own_equality(self):
        m = ConcurrentMap({"a": 1})
        assert m[ShoutingText("A")] == 1
        assert ShoutingText("B") not in m
        m = ConcurrentMap({ShoutingText("A"): 1})
        assert m["a"] == 1
        # hash("A") is not that of "a", so that dict does not find it either.
        assert "A" not in m

    def test_bytes_and_texts_are_no_equals(self):
        m = ConcurrentMap({b"a": 1, "a": 2})
        assert (m[b"a"], m["a"]) == (1, 2)
        assert bytes(bytearray(b"a")) in m

    def test_a_memoryview_finds_the_bytes_that_it_equals(self):
        m = ConcurrentMap({b"a": 1})
        assert m[memoryview(b"a")] == {b"a": 1}[memoryview(b"a")] == 1

    def test_a_key_whose_hash_changes_is_lost_and_does_no_harm(self):
        key, other = Key("k", 1), Key("other", 1)
        m = ConcurrentMap({key: 1, other: 2})
        d = {key: 1, other: 2}
        key.code = 2
        for both in (m, d):
            assert key not in both
            assert both.pop(key, None) is None
            both[key] = 3
            assert len(both) == 3
        assert sorted(value for each, value in m.items() if each is key) == [1, 3]
        m._check()
        m.update((n, n) for n in range(1000))  # moves it to other tables by the hash that it was put in with
        key.code = 1
        assert m[key] == 1
        m._check()
        m.clear()
        assert len(m) == 0

    def test_a_key_whose_equality_changes(self):
        one, two = Key("a", 1), Key("b", 1)
        m = ConcurrentMap({one: 1, two: 2})
        two.name = "a"
        assert m[Key("a", 1)] in (1, 2)
        assert Key("b", 1) not in m
        assert m[one] in (1, 2)  # whichever is met first, as in a dict
        assert m[two] in (1, 2)
        assert len(m) == len(list(m)) == 2
        m._check()

    def test_a_hash_that_is_no_int_or_too_big(self):
        class Odd:
            def __init__(self, answer):
                self.answer = answer

            def __hash__(self):
                return self.answer

        m = ConcurrentMap()
        for code in (2**63, 2**64 + 5, -(2**63) - 1, 10**40, True, -1):
            key = Odd(code)
            m[key] = code
            assert m[key] == code
        for answer in ("1", 1.0, None):
            with pytest.raises(TypeError):
                m[Odd(answer)] = 1
        m._check()

    def test_an_equality_of_one_side_alone(self):
        class Any:
            def __hash__(self):
                return hash("a")

            def __eq__(self, other):
                return True

        for kind in (dict, ConcurrentMap):
            assert kind({"a": 1})[Any()] == 1
            assert kind({Any(): 1})["a"] == 1

    def test_an_equality_that_is_not_implemented(self):
        class Silent:
            def __hash__(self):
                return 7

            def __eq__(self, other):
                return NotImplemented

        one, two = Silent(), Silent()
        m = ConcurrentMap({one: 1, two: 2})
        assert (m[one], m[two]) == (1, 2)
        assert Silent() not in m


class BrokenKey:
    """As those of CPython's test_dict: its equality raises while it is told to."""

    broken = False

    def __init__(self, code=7):
        self.code = code

    def __hash__(self):
        return self.code

    def __eq__(self, other):
        if BrokenKey.broken:
            raise Broken
        return self is other


class TestErrors:
    @pytest.fixture(autouse=True)
    def broken(self):
        BrokenKey.broken = True
        yield
        BrokenKey.broken = False

    def test_of_a_comparison_reach_the_caller(self):
        stored, other = BrokenKey(), BrokenKey()
        m = ConcurrentMap({stored: 1})
        for call in (
            lambda: m[other],
            lambda: m.__setitem__(other, 2),
            lambda: m.__delitem__(other),
            lambda: m.get(other),
            lambda: m.setdefault(other, 2),
            lambda: m.pop(other),
            lambda: m.pop(other, 2),
            lambda: other in m,
            lambda: m.update({other: 2}),
            lambda: m.update([(other, 2)]),
            lambda: ConcurrentMap([(stored, 1), (other, 2)]),
            lambda: ConcurrentMap.fromkeys([stored, other]),
        ):
            with pytest.raises(Broken):
                call()
            same(m, {stored: 1})

    def test_of_keys_that_are_not_iterable_in_update(self):
        class Fake:
            def __init__(self, keys):
                self.keys = keys

            def __getitem__(self, key):
                raise Broken

        def raises():
            raise Broken

        for keys, error in ((raises, Broken), (lambda: None, TypeError), (lambda: [1], Broken), (None, TypeError)):
            d, m = {}, ConcurrentMap()
            for each in (d, m):
                with pytest.raises(error):
                    each.update(Fake(keys))
            assert m == d == {}

    def test_of_pairs_that_are_none(self):
        for other in ([(1, 2, 3)], [(1,)], ["abc"], [1], 1, None, [None], "ab"):
            expected = outcome(dict.update, *ERRORS)({}, other)
            assert expected in ERRORS
            assert outcome(ConcurrentMap().update, *ERRORS)(other) is expected

    def test_of_an_unhashable_key(self):
        for call in (
            lambda d: d[[]],
            lambda d: d.get([]),
            lambda d: [] in d,
            lambda d: d.pop([], 1),
            lambda d: d.setdefault([], 1),
            lambda d: d.update([([], 1)]),
            lambda d: d.__delitem__([]),
        ):
            # Only an empty dict's pop() does not look at its argument.
            for any_ in (ConcurrentMap(), {1: 1}, ConcurrentMap({1: 1})):
                with pytest.raises(TypeError, match="unhashable"):
                    call(any_)

    def test_of_arguments(self):
        calls = [
            ("get", ()),
            ("get", (1, 2, 3)),
            ("setdefault", ()),
            ("setdefault", (1, 2, 3)),
            ("pop", ()),
            ("pop", (1, 2, 3)),
            ("popitem", (1,)),
            ("clear", (1,)),
            ("copy", (1,)),
            ("keys", (1,)),
            ("values", (1,)),
            ("items", (1,)),
            ("update", ({}, {})),
            ("fromkeys", ()),
            ("fromkeys", ([], 1, 2)),
        ]
        for name, args in calls:
            for empty in ({}, ConcurrentMap()):
                with pytest.raises(TypeError):
                    getattr(empty, name)(*args)

    @pytest.mark.parametrize(("name", "args"), [("get", {"key": 1}), ("setdefault", {"key": 1}), ("pop", {"key": 1})])
    def test_of_keywords_that_dict_does_not_take_either(self, name, args):
        for empty in ({}, ConcurrentMap()):
            with pytest.raises(TypeError):
                getattr(empty, name)(**args)


class TestChangesDuringACall:
    """What CPython's test_dict asks after: == and destructors that change the dict that calls them."""

    def test_setting_while_comparing_resizes(self):
        class Resizing:
            armed = False

            def __hash__(self):
                return 13

            def __eq__(self, other):
                if Resizing.armed:
                    Resizing.armed = False
                    m.update((n, n) for n in range(500))
                return self is other

        m = ConcurrentMap()
        keys = [Resizing() for _ in range(3)]
        for key in keys:
            m[key] = 0
        for key in (*keys, Resizing()):
            Resizing.armed = True
            m[key] = 1
            assert not Resizing.armed or key is keys[0]
            m._check()
        assert sum(type(key) is Resizing for key in m) == 4
        assert len(m) == 504

    def test_comparing_removes_the_key_that_it_is_compared_with(self):
        class Removing:
            def __hash__(self):
                return 13

            def __eq__(self, other):
                m.pop(stored, None)
                return True

        stored = Key("stored", 13)
        for call in (
            lambda m, key: m.get(key, "gone"),
            lambda m, key: m.pop(key, "gone"),
            lambda m, key: "gone" if key not in m else "there",
        ):
            m = ConcurrentMap({stored: 1})
            assert call(m, Removing()) == "gone"
            assert len(m) == 0
            m._check()

    def test_comparing_clears_the_map(self):
        class Clearing:
            def __hash__(self):
                return 13

            def __eq__(self, other):
                m.clear()
                return True

        m = ConcurrentMap({Key("stored", 13): 1})
        key = Clearing()
        m[key] = 2
        [(left, value)] = m.items()
        assert left is key
        assert value == 2
        m._check()

    def test_update_from_a_dict_that_changes_meanwhile(self):
        class Growing:
            def __hash__(self):
                return 13

            def __eq__(self, other):
                source["later"] = 1
                return False

        m = ConcurrentMap({Growing(): 1})
        source = {Growing(): 2}
        with pytest.raises(RuntimeError, match="changed size"):
            m.update(source)
        m._check()

    def test_a_destructor_that_writes_the_map_again(self):
        class Value:
            left = 5

            def __del__(self):
                if Value.left:
                    Value.left -= 1
                    m["k"] = Value()

        m = ConcurrentMap({"k": Value()})
        m["k"] = 1
        assert type(m.pop("k")) in (int, Value)
        m.clear()
        Value.left = 0
        m.clear()
        m._check()
        assert len(m) == 0


SCRIPT = textwrap.dedent(
    """
    import sys
    from ferrule import ConcurrentMap, ConcurrentSet, FrozenMap
    texts = [f"key {n}" for n in range(2000)] + ["", "ä", "\\ud800"]
    keys = [*texts, *map(str.encode, texts[:500]), *((text, 1) for text in texts[:500])]
    m, d = ConcurrentMap(shards=4), {}
    for n, key in enumerate(keys):
        m[key] = d[key] = n
        if n % 3 == 0:
            gone = keys[n // 2]
            assert m.pop(gone, None) == d.pop(gone, None)
    m._check()
    assert m == d and len(m) == len(d) and dict(m.items()) == d
    assert ConcurrentSet(m) == set(d) and m.freeze() == d and hash(m.freeze()) == hash(FrozenMap(d))
    probes = [shard["longest_probe"] for shard in m.stats()]
    assert max(probes) < 100, probes
    print(sys.flags.hash_randomization, hash("key 1"))
    """
)


def test_every_hash_seed():
    hashes = Counter()
    for seed in range(10):
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(SRC), "PYTHONHASHSEED": str(seed)},
        )
        assert ended.stderr == ""
        assert ended.returncode == 0
        hashes[ended.stdout] += 1
    assert len(hashes) == 10


def test_maps_of_random_items_equal_their_dicts(rng):
    for _ in range(1000):
        keys = [rng.choice([rng.random(), rng.randrange(20), str(rng.randrange(20))]) for _ in range(rng.randrange(20))]
        items = [(key, n) for n, key in enumerate(keys)]
        same(ConcurrentMap(items), dict(items))
