"""Section bytes: records in packets, each behind its length, cut out of a stream: all of it there, or bit by bit."""

from __future__ import annotations

import io
import statistics
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from time import perf_counter
from typing import Any

from .. import Bytes, BytesMut, Reader
from .job import Failure, Job, Table, Words

LENGTH = Struct(">I")
CHUNK = 16_384
"""What comes at once where the stream comes bit by bit, in bytes."""
TIMES = 3
"""So often is the stream cut in a round."""


@dataclass(frozen=True)
class Stream:
    """The tokens of each file as records of one packet. Before each record and each packet stands its length."""

    content: bytes
    records: list[bytes]

    @classmethod
    def of(cls, files: Sequence[Words]) -> Stream:
        # Some tests of the standard library have half a surrogate pair in their source.
        records = [[word.encode(errors="surrogatepass") for word in words] for words in files]
        packets = [b"".join(map(framed, each)) for each in records]
        return cls(b"".join(map(framed, packets)), [record for each in records for record in each])

    def check(self, contender: str, cut: Sequence[Any]) -> None:
        """Raises Failure unless these are the records."""
        for number, (record, expected) in enumerate(zip(cut, self.records, strict=False)):
            if record != expected:
                raise Failure(f"{contender} cut record {number} wrongly: {bytes(record)!r} instead of {expected!r}")
        if len(cut) != len(self.records):
            raise Failure(f"{contender} cut {len(cut)} records instead of {len(self.records)}")


def framed(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


class Contender(ABC):
    """One way to cut a stream."""

    @abstractmethod
    def cut(self, content: bytes) -> list[Any]:
        """All records."""


# All of it is there.


class Slices(Contender):
    """Packets and records are slices; of bytes and bytearray each is a copy."""

    def open(self, content: bytes) -> Any:
        return content

    def cut(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        stream, length_at = self.open(content), LENGTH.unpack_from
        begin, end = 0, len(stream)
        while begin < end:
            (length,) = length_at(stream, begin)
            packet = stream[begin + 4 : begin + 4 + length]
            begin += 4 + length
            at = 0
            while at < length:
                (size,) = length_at(packet, at)
                at += 4
                records.append(packet[at : at + size])
                at += size
        return records


class SlicesOfBytearray(Slices):
    def open(self, content: bytes) -> Any:
        return bytearray(content)


class SlicesOfMemoryview(Slices):
    def open(self, content: bytes) -> Any:
        return memoryview(content)


class SlicesOfBytes(Slices):
    def open(self, content: bytes) -> Any:
        return Bytes.from_owner(content)


class Files(Contender):
    def cut(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        stream, length_of = io.BytesIO(content), LENGTH.unpack
        while head := stream.read(4):
            (length,) = length_of(head)
            packet = io.BytesIO(stream.read(length))
            read = packet.read
            while head := read(4):
                (size,) = length_of(head)
                records.append(read(size))
        return records


class Readers(Contender):
    def cut(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        stream = Reader(content)
        while (length := stream.try_get_u32()) is not None:
            packet = stream.take(length)
            get_size, get_bytes = packet.try_get_u32, packet.get_bytes
            while (size := get_size()) is not None:
                records.append(get_bytes(size))
        return records


# It comes bit by bit: a packet is cut when all of it is there.


def chunks(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), CHUNK):
        yield content[at : at + CHUNK]


class Appended(Contender):
    """To a bytearray, whose front is deleted."""

    def cut(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        buffer, length_at = bytearray(), LENGTH.unpack_from
        for chunk in chunks(content):
            buffer += chunk
            while len(buffer) >= 4 and len(buffer) >= 4 + (length := length_at(buffer)[0]):
                at, end = 4, 4 + length
                while at < end:
                    (size,) = length_at(buffer, at)
                    at += 4
                    records.append(bytes(buffer[at : at + size]))
                    at += size
                del buffer[:end]
        return records


class Viewed(Contender):
    """To a bytearray; each packet is copied once, and its records are parts of a memoryview."""

    def cut(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        buffer, length_at = bytearray(), LENGTH.unpack_from
        for chunk in chunks(content):
            buffer += chunk
            while len(buffer) >= 4 and len(buffer) >= 4 + (length := length_at(buffer)[0]):
                packet, at = memoryview(bytes(buffer[4 : 4 + length])), 0
                while at < length:
                    (size,) = length_at(packet, at)
                    at += 4
                    records.append(packet[at : at + size])
                    at += size
                del buffer[: 4 + length]
        return records


class Put(Contender):
    """To a BytesMut; each packet is split off."""

    def cut(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        buffer = BytesMut(4 * CHUNK)
        for chunk in chunks(content):
            buffer.put(chunk)
            while len(buffer) >= 4 and len(buffer) >= 4 + (length := buffer.peek_u32()):
                buffer.advance(4)
                packet = buffer.split_to(length)
                get_size, get_bytes = packet.try_get_u32, packet.get_bytes
                while (size := get_size()) is not None:
                    records.append(get_bytes(size))
        return records


WHOLE: dict[str, type[Contender]] = {
    "bytes, slices": Slices,
    "bytearray, slices": SlicesOfBytearray,
    "memoryview, slices": SlicesOfMemoryview,
    "io.BytesIO": Files,
    "ferrule.Bytes, slices": SlicesOfBytes,
    "ferrule.Reader": Readers,
}
BIT_BY_BIT: dict[str, type[Contender]] = {
    "bytearray, records copied": Appended,
    "bytearray, packets copied, memoryview": Viewed,
    "ferrule.BytesMut": Put,
}


def cut_records(job: Job) -> Iterator[Table]:
    stream = Stream.of(job.sample.files)
    total = len(stream.records)
    whole: dict[str, list[float]] = {name: [] for name in WHOLE}
    bit_by_bit: dict[str, list[float]] = {name: [] for name in BIT_BY_BIT}
    sizes: dict[str, float] = {}
    with job.bar("cutting records", job.rounds * (len(whole) + len(bit_by_bit))) as step:
        for _ in job.turns():
            for contenders, seconds in (WHOLE, whole), (BIT_BY_BIT, bit_by_bit):
                for name, took in seconds.items():
                    took.append(_run(name, contenders[name](), stream, sizes))
                    step()

    def table(title: str, seconds: dict[str, list[float]], notes: list[str]) -> Table:
        medians = {name: statistics.median(took) for name, took in seconds.items()}
        first, *_ = medians
        return Table(
            title,
            ["", "records/s", f"/ {first.partition(',')[0]}", "bytes a record"],
            [
                [name, f"{total / took / 1e6:.2f} M", f"{medians[first] / took:.2f}x", f"{sizes[name]:.0f}"]
                for name, took in medians.items()
            ],
            notes,
        )

    rounds = min(map(len, whole.values()))
    yield table(
        f"{total:,} records in {len(job.sample.files)} packets, {len(stream.content):,} bytes, all there",
        whole,
        [
            "bytes a record: the size of the object that it is cut as, on the average.",
            f"Medians of interleaved rounds: {rounds}. All records of all contenders are equal, byte by byte.",
        ],
    )
    yield table(f"The same, {CHUNK:,} bytes at a time", bit_by_bit, [])


def _run(name: str, contender: Contender, stream: Stream, sizes: dict[str, float]) -> float:
    """The seconds for the stream; raises Failure unless every record is right."""
    started = perf_counter()
    for _ in range(TIMES):
        records = contender.cut(stream.content)
    seconds = (perf_counter() - started) / TIMES
    stream.check(name, records)
    sizes[name] = statistics.fmean(map(sys.getsizeof, records))
    return seconds
