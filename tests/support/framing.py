"""Codecs under a test's control: an input in every split, and what a codec makes of it."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

from ferrule import MISSING, Bytes, BytesMut

__all__ = ["decoded", "pieces", "splits"]


def pieces(data: bytes, cuts: Any) -> list[bytes]:
    """The data, cut at these places."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def splits(data: bytes) -> Iterator[list[bytes]]:
    """The data in one piece, in every two and every three, and byte by byte."""
    places = range(1, len(data))
    for count in range(3):
        for cuts in itertools.combinations(places, count):
            yield pieces(data, cuts)
    yield pieces(data, places)


def decoded(codec: Any, parts: list[bytes], *, eof: bool = True, most: int = 10_000) -> tuple[list[Any], bytes]:
    """The frames, with the type of each error that is a ValueError, and the bytes left; as Framed asks for them."""
    buffer = BytesMut()
    found: list[Any] = []

    def take(decode: Any) -> None:
        while len(found) < most:
            try:
                frame = decode(buffer)
            except asyncio.IncompleteReadError:
                return
            except ValueError as error:
                found.append(type(error))
            else:
                if frame is MISSING:
                    return
                found.append(bytes(frame) if isinstance(frame, Bytes) else frame)

    for part in parts:
        buffer.put(part)
        take(codec.decode)
    if eof:
        take(codec.decode_eof)
    return found, bytes(buffer)
