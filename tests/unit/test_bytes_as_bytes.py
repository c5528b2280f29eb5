"""The methods of bytes on a Bytes: the same answers and the same errors, and parts that share the memory."""

import itertools

import pytest

from ferrule import Bytes, BytesMut
from tests.support.race import outcome

TEXTS = [
    b"",
    b" ",
    b"a",
    b"abcabcab",
    b" a  b\t\nc\r\n",
    b"\n\r\n\ra\n",
    b"aaaaaaaaab",
    b"x" * 70 + b"ab" + b"x" * 70 + b"ab",
    bytes(range(256)),
]
NEEDLES = [b"", b"a", b"ab", b"abc", b"cab", b" ", b"\n", b"aab", b"\r\n", b"xxxxab", b"\xff", b"z", b"x" * 200]
PLACES = [None, 0, 1, -1, 3, -3, 200, -200, 10**30]
CALLS = {
    name: [(needle, *place) for needle in NEEDLES for place in [(), *itertools.product(PLACES, PLACES)]]
    for name in ("find", "rfind", "index", "rindex", "count", "startswith", "endswith")
} | {
    "split": [(), *((sep, n) for sep in [None, *NEEDLES] for n in (-1, 0, 1, 2, 100))],
    "rsplit": [(), *((sep, n) for sep in [None, *NEEDLES] for n in (-1, 0, 1, 2, 100))],
    "partition": [(needle,) for needle in NEEDLES],
    "rpartition": [(needle,) for needle in NEEDLES],
    "strip": [(), (None,), *((needle,) for needle in NEEDLES)],
    "lstrip": [(), (None,), *((needle,) for needle in NEEDLES)],
    "rstrip": [(), (None,), *((needle,) for needle in NEEDLES)],
    "splitlines": [(), (False,), (True,)],
    "replace": [(old, new, n) for old in NEEDLES for new in (b"", b"1", b"123") for n in (-1, 0, 1, 100)],
    "join": [([],), ([b"a"],), ([b"a", b"", b"bc"],), ((b"a" for _ in range(0)),)],
    "hex": [(), (":",), (":", 2), ("-", -3)],
    "decode": [("latin-1",), ("ascii", "replace"), ("utf-8", "surrogateescape")],
    "isascii": [()],
    "lower": [()],
    "upper": [()],
    "__contains__": [*((needle,) for needle in NEEDLES), (97,), (0,), (255,)],
    "__mul__": [(n,) for n in (-1, 0, 1, 2, 3, 7)],
    "__add__": [(needle,) for needle in NEEDLES],
    "__getitem__": [(slice(*args),) for args in itertools.product((None, 1, -2), (None, 3, -1), (None, 1, 2, -1))],
}
ERRORS = (ValueError, TypeError, IndexError, UnicodeError, LookupError, OverflowError)


def plain(answer):
    """The answer with bytes for each Bytes, and the types of what is in it."""
    if isinstance(answer, (list, tuple)):
        return type(answer)(map(plain, answer))
    return bytes(answer) if isinstance(answer, Bytes) else answer


@pytest.mark.parametrize("name", CALLS)
def test_answers_as_bytes_does(name):
    for text in TEXTS:
        whole = Bytes(b"<" + text + b">")[1:-1]
        for args in CALLS[name]:
            expected = outcome(getattr(text, name), *ERRORS)(*args)
            answered = outcome(getattr(whole, name), *ERRORS)(*args)
            assert plain(answered) == expected, (name, text, args)
            if isinstance(expected, bytes):
                assert type(answered) is Bytes


@pytest.mark.parametrize("kind", [bytearray, memoryview, Bytes, BytesMut])
def test_any_bytes_like_is_an_argument(kind):
    whole, text = Bytes(b"a,b,,c"), b"a,b,,c"
    for name in ("find", "rfind", "index", "rindex", "count", "startswith", "endswith", "split", "rsplit", "partition"):
        assert plain(getattr(whole, name)(kind(b","))) == getattr(text, name)(b",")
    assert whole.strip(kind(b"ac")) == text.strip(b"ac")
    assert whole.replace(kind(b","), kind(b"--")) == text.replace(b",", b"--")
    assert whole + kind(b"d") == text + b"d"
    assert kind(b",") in whole
    assert Bytes(b"-").join([kind(b"a"), b"b"]) == b"a-b"
    assert whole.startswith((kind(b"x"), kind(b"a")))


@pytest.mark.parametrize("byte", [0, 44, 97, 255])
def test_a_byte_is_an_integer(byte):
    whole, text = Bytes(b"a,b,,c\0"), b"a,b,,c\0"
    for name in ("find", "rfind", "index", "rindex", "count", "__contains__"):
        assert outcome(getattr(whole, name), ValueError)(byte) == outcome(getattr(text, name), ValueError)(byte)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *((name, (wrong,)) for name in ("find", "index", "count") for wrong in ("a", None, 256, -1, 10**30, 1.0)),
        *((name, (wrong,)) for name in ("startswith", "endswith") for wrong in ("a", None, 97, [b"a"], (b"x", "a"))),
        *((name, (wrong,)) for name in ("split", "rsplit", "partition") for wrong in ("a", 97, b"")),
        *((name, (wrong,)) for name in ("strip", "lstrip", "rstrip") for wrong in ("a", 97)),
        ("find", (b"a", "b")),
        ("find", (b"a", 0, 1.0)),
        ("replace", ("a", b"b")),
        ("replace", (b"a", "b")),
        ("replace", (b"z", "b")),
        ("join", ([1],)),
        ("join", (["a"],)),
        ("join", (5,)),
        ("hex", ("ab",)),
        ("decode", ("no such",)),
        ("decode", ("ascii",)),
        ("__mul__", (10**30,)),
    ],
)
def test_refuses_what_bytes_refuses(name, args):
    text = b"a\xff"
    expected = outcome(getattr(text, name), *ERRORS)(*args)
    answered = outcome(getattr(Bytes(text), name), *ERRORS)(*args)
    assert isinstance(expected, type)
    assert answered is expected


def test_keywords_are_those_of_bytes():
    assert Bytes(b"a b c").split(sep=b" ", maxsplit=1) == [b"a", b"b c"]
    assert Bytes(b"a b c").rsplit(sep=b" ", maxsplit=1) == [b"a b", b"c"]
    assert Bytes(b"a\nb").splitlines(keepends=True) == [b"a\n", b"b"]
    assert Bytes(b"abcd").hex(sep=":", bytes_per_sep=2) == "6162:6364"
    assert Bytes(b"a\xff").decode(encoding="ascii", errors="ignore") == "a"


def test_operators():
    whole = Bytes(b"ab")
    assert whole + b"c" == b"abc"
    assert 2 * whole == whole * 2 == b"abab"
    assert type(b"c" + whole) is bytes
    with pytest.raises(TypeError):
        whole + "c"
    with pytest.raises(TypeError):
        whole * b"c"
    with pytest.raises(TypeError):
        whole * 1.5


def test_the_parts_share_the_memory():
    whole = Bytes(b" a,b, c\nd ")
    parts = [
        *whole.split(),
        *whole.rsplit(b","),
        *whole.partition(b","),
        *whole.rpartition(b","),
        *whole.splitlines(),
        whole.strip(),
        whole.lstrip(),
        whole.rstrip(),
    ]
    assert {part.retained for part in parts} == {10}
    assert whole.replace(b"z", b"y") is whole
    assert whole[1:2].strip() == b"a"


def test_searching_where_much_is_alike(rng):
    """Long texts of few letters: each way of searching gives up here, and the next goes on where it was."""
    for _ in range(3000):
        letters = rng.choice([b"ab", b"abc", b"aaab", b"abbbbbbbbbbb", b"a"])
        text = bytes(rng.choices(letters, k=rng.randrange(500)))
        if rng.random() < 0.5:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + bytes(rng.choices(b"xyz", k=rng.randrange(40))) + text[at:]
        needle = bytes(rng.choices(letters, k=rng.randrange(1, rng.choice([4, 9, 30]))))
        if rng.random() < 0.3:
            at = rng.randrange(len(text) + 1)
            needle = text[at : at + rng.randrange(1, 40)]
        whole = Bytes(b"a" + text + b"b" + needle)[1 : 1 + len(text)]
        for name in ("find", "rfind", "count"):
            assert getattr(whole, name)(needle) == getattr(text, name)(needle), (name, text, needle)


def test_searching_where_almost_everything_is_alike():
    """Many places that differ from what is looked for at their end, or at their beginning."""
    for size in (50, 3000, 20_000):
        text = b"a" * size
        for needle in (b"a" * 20 + b"b", b"b" + b"a" * 20, b"a" * 10 + b"b" + b"a" * 10, b"aa", b"a" * 40):
            for whole in (text, text + needle, needle + text, text + needle + text):
                for name in ("find", "rfind", "count"):
                    assert getattr(Bytes(whole), name)(needle) == getattr(whole, name)(needle)


def test_searching_behind_much_that_is_compared_in_vain(rng):
    """Places that begin and end as the needle does, and are not it, until only the last way of searching goes on."""
    for _ in range(1500):
        letters = rng.choice([b"ab", b"abc", b"aaab"])
        size = rng.choice([1, 2, 5, 12, 40, 300])
        inside = bytes(rng.choices(letters, k=size))
        if rng.random() < 0.5:  # with a period
            inside = (inside[: rng.randrange(1, 6)] * size)[:size]
        needle = b"a" + inside + b"a"
        text = [b"a" * 300 if b"b" in needle or b"c" in needle else b""]
        for _ in range(rng.randrange(6)):
            at = rng.randrange(len(needle))
            text.append(rng.choice([needle, needle[:at], needle[at:], bytes(rng.choices(letters, k=size))]))
        text.append(b"b")
        whole = b"".join(text)
        for name in ("find", "count"):
            assert getattr(Bytes(whole), name)(needle) == getattr(whole, name)(needle), (name, whole, needle)
