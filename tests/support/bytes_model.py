"""The crate's BytesMut as a plain model: bytearrays, and the arithmetic of its capacity as bytes 1.10 has it.

The crate knows two kinds of handle: of a Vec of its own, and of one that is shared and counted. The model keeps both
apart, as the crate does, so that it shows that the one kind that ferrule has answers the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BytesMutModel", "FrozenModel"]


@dataclass(eq=False)
class Vec:
    """A Vec<u8>: what it holds matters to nobody here but its capacity."""

    capacity: int
    original: int  # the class of the first capacity
    handles: int = 1
    shared: bool = False  # the crate's KIND_ARC

    def grow(self, needed: int) -> None:
        """Vec::reserve, where there is not enough."""
        if needed > self.capacity:
            self.capacity = max(2 * self.capacity, needed, 8)


def original_class(capacity: int) -> int:
    return min((capacity >> 10).bit_length(), 7)


@dataclass(eq=False)
class FrozenModel:
    """A Bytes: its content, and its handle."""

    content: bytes
    vec: Vec | None

    def drop(self) -> None:
        if self.vec is not None:
            self.vec.handles -= 1
            self.vec = None

    @property
    def retained(self) -> int:
        return self.vec.capacity if self.vec is not None else 0


@dataclass(eq=False)
class BytesMutModel:
    """A BytesMut: its content, where it begins in its Vec, and its capacity."""

    content: bytearray = field(default_factory=bytearray)
    vec: Vec | None = None
    offset: int = 0
    capacity: int = 0

    @classmethod
    def with_capacity(cls, capacity: int) -> BytesMutModel:
        vec = Vec(capacity, original_class(capacity)) if capacity else None
        return cls(bytearray(), vec, 0, capacity)

    @classmethod
    def of(cls, data: bytes) -> BytesMutModel:
        made = cls.with_capacity(len(data))
        made.content += data
        return made

    def drop(self) -> None:
        if self.vec is not None:
            self.vec.handles -= 1
        self.content, self.vec, self.offset, self.capacity = bytearray(), None, 0, 0

    def reserve(self, additional: int, allocate: bool = True) -> bool:
        """reserve(), and with allocate=False try_reclaim(): the crate's reserve_inner(), kind by kind."""
        length = len(self.content)
        if additional <= self.capacity - length:
            return True
        if self.vec is None:
            if allocate:
                self.vec = Vec(max(additional, 8), 0)
                self.capacity = self.vec.capacity
            return allocate
        if not self.vec.shared:
            return self._reserve_of_its_own(length, additional, allocate)
        needed = length + additional
        if self.vec.handles == 1:
            if self.vec.capacity >= needed + self.offset:
                self.capacity = needed
            elif self.vec.capacity >= needed and self.offset >= length:
                self.offset = 0
                self.capacity = self.vec.capacity
            elif allocate:
                self.vec.grow(max(2 * self.vec.capacity, needed + self.offset))
                self.capacity = self.vec.capacity - self.offset
            else:
                return False
            return True
        if not allocate:
            return False
        original = self.vec.original
        self.vec.handles -= 1
        self.capacity = max(needed, 1 << (original + 9) if original else 0)
        self.vec = Vec(self.capacity, original)
        self.offset = 0
        return True

    def _reserve_of_its_own(self, length: int, additional: int, allocate: bool) -> bool:
        assert self.vec is not None
        if self.capacity - length + self.offset >= additional and self.offset >= length:
            self.capacity += self.offset
            self.offset = 0
        elif allocate:
            self.vec.grow(self.offset + length + additional)
            self.capacity = self.vec.capacity - self.offset
        else:
            return False
        return True

    def extend(self, data: bytes) -> None:
        self.reserve(len(data))
        self.content += data

    def resize(self, length: int, value: int) -> None:
        if length > len(self.content):
            self.extend(bytes([value]) * (length - len(self.content)))
        del self.content[length:]

    def advance(self, n: int) -> bytes:
        taken = bytes(self.content[:n])
        del self.content[:n]
        self.offset += n
        self.capacity -= n
        return taken

    def _shared(self) -> BytesMutModel:
        """Another handle of the same part."""
        if self.vec is not None:
            self.vec.shared = True
            self.vec.handles += 1
        return BytesMutModel(bytearray(self.content), self.vec, self.offset, self.capacity)

    def split_to(self, at: int) -> BytesMutModel:
        other = self._shared()
        del other.content[at:]
        other.capacity = at
        self.advance(at)
        return other

    def split_off(self, at: int) -> BytesMutModel:
        other = self._shared()
        other.offset += at
        other.capacity -= at
        del other.content[:at]
        del self.content[at:]
        self.capacity = at
        return other

    def follows(self, other: BytesMutModel) -> bool:
        """Whether the other's memory follows this one's, so that the two can be joined."""
        end = self.offset + len(self.content)
        return self.vec is not None and self.vec is other.vec and end == other.offset

    def try_unsplit(self, other: BytesMutModel) -> bool:
        if other.capacity and not self.follows(other):
            return False
        self._join(other)
        return True

    def _join(self, other: BytesMutModel) -> None:
        if other.capacity:
            self.content += other.content
            self.capacity += other.capacity
        other.drop()

    def unsplit(self, other: BytesMutModel) -> None:
        if not self.content:
            mine = BytesMutModel(other.content, other.vec, other.offset, other.capacity)
            other.content, other.vec, other.offset, other.capacity = bytearray(), None, 0, 0
            self.drop()
            self.content, self.vec, self.offset, self.capacity = mine.content, mine.vec, mine.offset, mine.capacity
        elif not self.try_unsplit(other):
            self.extend(bytes(other.content))
            other.drop()

    def freeze(self) -> FrozenModel:
        frozen = FrozenModel(bytes(self.content), self.vec)
        if not self.content:
            frozen.drop()
        self.content, self.vec, self.offset, self.capacity = bytearray(), None, 0, 0
        return frozen
