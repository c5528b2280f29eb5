"""Reader as a cursor over many buffers, and both files: Reader to read from, BytesMut.writer() to write to."""

import csv
import gc
import gzip
import io
import json
import pickle
import socket
import tarfile
import weakref

import pytest

from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader

TEXT = b"first line\nsecond\n\nlast, without an end"


def cut(data, *places):
    """A Reader of the parts between the places."""
    return Reader(*(data[start:end] for start, end in zip((0, *places), (*places, len(data)), strict=True)))


READERS = {
    "one": lambda: Reader(TEXT),
    "pieces": lambda: Reader(*(TEXT[n : n + 1] for n in range(len(TEXT)))),
    "two": lambda: cut(TEXT, 11),
    "with empty ones": lambda: cut(TEXT, 0, 0, 5, 5, 20, 20, len(TEXT)),
}
every_reader = pytest.mark.parametrize("make", READERS.values(), ids=READERS)


class TestCursor:
    def test_of_nothing(self):
        for reader in (Reader(), Reader(b"", Bytes())):
            assert (reader.remaining, reader.position, reader.chunks(), reader.read()) == (0, 0, [], b"")
            assert reader.try_get_u8() is None
            assert reader.get_bytes(0) == b""
            reader.advance(0)
            assert reader.take(0).remaining == 0

    def test_of_what_has_no_buffer_is_refused(self):
        for wrong in ("text", 5, None, [1]):
            with pytest.raises(TypeError):
                Reader(b"", wrong)

    @every_reader
    def test_position_and_remaining_count_every_byte(self, make):
        reader = make()
        for n in range(len(TEXT)):
            assert (reader.position, reader.remaining) == (n, len(TEXT) - n)
            assert reader.get_u8() == TEXT[n]
        with pytest.raises(NotEnoughBytes):
            reader.get_u8()

    @every_reader
    def test_advance(self, make):
        for n in range(len(TEXT) + 1):
            reader = make()
            reader.advance(n)
            assert (reader.position, reader.read()) == (n, TEXT[n:])
        with pytest.raises(NotEnoughBytes):
            make().advance(len(TEXT) + 1)

    @every_reader
    def test_copy_to_fills_all_or_nothing(self, make):
        reader = make()
        target = bytearray(15)
        assert reader.copy_to(target) == 15
        assert target == TEXT[:15]
        assert reader.copy_to(memoryview(target)[:3]) == 3
        assert target[:3] == TEXT[15:18]
        with pytest.raises(NotEnoughBytes):
            reader.copy_to(bytearray(100))
        assert reader.copy_to(bytearray()) == 0
        assert reader.position == 18
        with pytest.raises((TypeError, BufferError)):
            reader.copy_to(b"read-only")

    @every_reader
    def test_chunks_are_what_is_left(self, make):
        reader = make()
        for n in range(len(TEXT) + 1):
            chunks = reader.chunks()
            assert b"".join(chunks) == TEXT[n:]
            assert all(type(chunk) is Bytes and chunk for chunk in chunks)
            reader.try_get_u8()

    @every_reader
    def test_take_is_a_reader_of_its_own(self, make):
        reader = make()
        assert reader.get_u8() == TEXT[0]
        inner = reader.take(20)
        innermost = inner.take(7)
        assert (reader.position, inner.position, innermost.position) == (21, 7, 0)
        assert (innermost.read(), inner.read(), reader.read()) == (TEXT[1:8], TEXT[8:21], TEXT[21:])
        with pytest.raises(NotEnoughBytes):
            inner.take(1)
        with pytest.raises(ValueError):
            reader.take(-1)
        reader.seek(0)
        with pytest.raises(NotEnoughBytes) as caught:
            reader.take(100)
        assert (caught.value.requested, caught.value.available) == (100, len(TEXT))
        assert reader.position == 0

    def test_what_is_taken_shares_the_memory(self):
        owner = bytearray(TEXT)
        reader = Reader(owner)
        inner = reader.take(10)
        owner[0] = ord("F")
        assert inner.chunks() == [b"First line"]
        assert inner.chunks()[0].retained == len(TEXT)

    def test_chunks_are_for_sendmsg(self):
        reader = cut(TEXT, 5, 20)
        one, other = socket.socketpair()
        with one, other:
            sent = one.sendmsg(reader.chunks())
            reader.advance(sent)
            assert reader.remaining == 0
            assert other.recv(100) == TEXT

    def test_memory_that_overlaps(self):
        owner = bytearray(b"abcdefgh")
        reader = Reader(owner)
        assert reader.readinto(memoryview(owner)[2:]) == 6
        assert owner == b"ababcdef"

    def test_shows_where_it_is(self):
        reader = Reader(TEXT)
        reader.advance(3)
        assert repr(reader) == "<ferrule.Reader at 3, 36 bytes left>"
        reader.close()
        assert repr(reader) == "<ferrule.Reader, closed>"

    def test_a_bytes_mut_is_pinned_until_the_reader_is_closed(self):
        buffer = BytesMut(TEXT)
        with Reader(buffer) as reader:
            assert reader.read() == TEXT
            with pytest.raises(BufferError):
                buffer.reserve(1)
        buffer.reserve(1)

    def test_a_cycle_is_collected(self):
        class Owner(bytearray):
            pass

        owner = Owner(TEXT)
        owner.reader = Reader(owner)
        owner.rest = owner.reader.take(5)
        ended = weakref.ref(owner)
        del owner
        gc.collect()
        assert ended() is None

    def test_cannot_be_pickled(self):
        with pytest.raises(TypeError):
            pickle.dumps(Reader(TEXT))


class TestFile:
    """Beside io.BytesIO."""

    @every_reader
    @pytest.mark.parametrize("call", ["read", "read1", "readline"])
    @pytest.mark.parametrize("size", [-1, None, 0, 1, 7, 11, 1000])
    def test_reads_as_bytes_io_does(self, make, call, size):
        ours, theirs = make(), io.BytesIO(TEXT)
        if call == "read1" and make is not READERS["one"]:
            parts = []
            while part := ours.read1(size):
                assert size in (-1, None) or len(part) <= size
                parts.append(part)
            assert b"".join(parts) == (b"" if size == 0 else TEXT)
            return
        for _ in range(6):
            taken = getattr(ours, call)(size)
            assert type(taken) is bytes
            assert taken == getattr(theirs, call)(size)
            assert ours.tell() == theirs.tell()

    @every_reader
    def test_lines(self, make):
        assert list(make()) == list(io.BytesIO(TEXT))
        for hint in (-1, None, 0, 1, 11, 12, 1000):
            ours, theirs = make(), io.BytesIO(TEXT)
            assert ours.readlines(hint) == theirs.readlines(hint)
            assert ours.read() == theirs.read()

    @every_reader
    def test_readinto(self, make):
        for call in ("readinto", "readinto1"):
            reader, target, seen = make(), bytearray(7), b""
            while n := getattr(reader, call)(target):
                seen += target[:n]
            assert seen == TEXT
        with pytest.raises((TypeError, BufferError)):
            make().readinto(b"read-only")

    @every_reader
    def test_seek_and_tell(self, make):
        ours, theirs = make(), io.BytesIO(TEXT)
        size = len(TEXT)
        for offset, whence in [
            (0, 0),
            (5, 0),
            (size, 0),
            (3, 1),
            (-3, 1),
            (-7, 2),
            (0, 2),
            (-size, 2),
            (0, 1),
            (20, 0),
        ]:
            try:
                expected = theirs.seek(offset, whence)
            except ValueError:
                continue
            if expected <= size:
                assert ours.seek(offset, whence) == expected
                assert ours.tell() == expected
                assert ours.read(4) == theirs.read(4)
            else:
                theirs.seek(ours.tell())

    def test_seek_ends_at_the_end(self):
        reader = Reader(TEXT)
        assert reader.seek(1000) == len(TEXT)
        assert reader.read() == b""
        for offset, whence in ((-1, 0), (-1000, 1), (-1000, 2)):
            with pytest.raises(ValueError, match="before"):
                reader.seek(offset, whence)
        for whence in (-1, 3):
            with pytest.raises(ValueError, match="whence"):
                reader.seek(0, whence)
        assert reader.tell() == len(TEXT)

    def test_says_what_it_is(self):
        reader = Reader(TEXT)
        assert isinstance(reader, io.BufferedIOBase)
        assert (reader.readable(), reader.seekable(), reader.writable(), reader.isatty()) == (True, True, False, False)
        assert reader.flush() is None
        assert not reader.closed

    @pytest.mark.parametrize("make", [lambda: Reader(TEXT), lambda: BytesMut().writer()])
    def test_has_every_method_of_a_buffered_file(self, make):
        missing = {name for name in dir(io.BufferedIOBase) if not name.startswith("_")} - set(dir(make()))
        assert missing == set()

    @pytest.mark.parametrize(
        ("make", "calls"),
        [
            (
                lambda: Reader(TEXT),
                {"write": (b"a",), "writelines": ([b"a"],), "truncate": (), "detach": (), "fileno": ()},
            ),
            (
                lambda: BytesMut().writer(),
                dict.fromkeys(("read", "read1", "readline", "readlines", "tell", "truncate", "detach", "fileno"), ())
                | {
                    "readinto": (bytearray(1),),
                    "readinto1": (bytearray(1),),
                    "seek": (0,),
                    "__iter__": (),
                    "__next__": (),
                },
            ),
        ],
    )
    def test_what_it_cannot_do_is_unsupported(self, make, calls):
        for name, args in calls.items():
            with pytest.raises(io.UnsupportedOperation):
                getattr(make(), name)(*args)

    def test_closed(self):
        owner = bytearray(TEXT)
        reader = Reader(owner)
        reader.close()
        reader.close()
        assert reader.closed
        owner.append(1)  # the export is released
        for call in (
            reader.read,
            reader.read1,
            reader.readline,
            reader.readlines,
            lambda: reader.readinto(bytearray(1)),
            lambda: list(reader),
            lambda: next(reader),
            reader.tell,
            lambda: reader.seek(0),
            reader.readable,
            reader.seekable,
            reader.writable,
            reader.isatty,
            reader.flush,
            reader.__enter__,
            reader.get_u8,
            reader.try_get_u8,
            lambda: reader.try_get_uint(3),
            reader.try_get_varint,
            lambda: reader.try_get_bytes(1),
            lambda: reader.try_get_until(b"a"),
            reader.peek_u16,
            reader.get_varint,
            lambda: reader.get_bytes(1),
            lambda: reader.get_until(b"a"),
            lambda: reader.advance(1),
            lambda: reader.take(1),
            reader.chunks,
        ):
            with pytest.raises(ValueError, match="closed"):
                call()

    def test_with(self):
        with Reader(TEXT) as reader:
            assert reader.read(5) == TEXT[:5]
        assert reader.closed

    def test_a_slice_outlives_the_reader(self):
        reader = Reader(bytearray(TEXT))
        part = reader.get_bytes(5)
        reader.close()
        assert part == TEXT[:5]


class TestWriter:
    def test_appends(self):
        buffer = BytesMut(b"<")
        writer = buffer.writer()
        assert writer.write(b"abc") == 3
        assert writer.write(memoryview(b"de")) == 2
        writer.writelines([b"f", bytearray(b"g")])
        assert buffer == b"<abcdefg"
        with pytest.raises(TypeError):
            writer.write("text")
        assert (writer.writable(), writer.readable(), writer.seekable(), writer.isatty()) == (True, False, False, False)
        assert isinstance(writer, io.BufferedIOBase)
        assert writer.flush() is None

    def test_closed(self):
        buffer = BytesMut()
        with buffer.writer() as writer:
            writer.write(b"a")
        assert writer.closed
        for call in (lambda: writer.write(b"b"), writer.flush, writer.writable, writer.__enter__, writer.isatty):
            with pytest.raises(ValueError, match="closed"):
                call()
        assert buffer == b"a"
        buffer.put(b"b")

    def test_of_a_pinned_buffer(self):
        buffer = BytesMut()
        with memoryview(buffer), pytest.raises(BufferError):
            buffer.writer().write(b"a")


class TestWithTheStandardLibrary:
    @pytest.mark.parametrize("pieces", [1, 7, 10_000])
    def test_gzip(self, pieces):
        buffer = BytesMut()
        with gzip.GzipFile(fileobj=buffer.writer(), mode="wb") as file:
            file.write(TEXT * 100)
        packed = bytes(buffer.freeze())
        reader = Reader(*(packed[n : n + pieces] for n in range(0, len(packed), pieces)))
        with gzip.GzipFile(fileobj=reader) as file:
            assert file.read() == TEXT * 100

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, protocol):
        value = {"a": [1, 2.5, None], "b": b"bytes" * 50_000}
        buffer = BytesMut()
        pickle.dump(value, buffer.writer(), protocol)
        pickle.dump("next", buffer.writer(), protocol)
        head = buffer.split_to(1000).freeze()
        reader = Reader(head, buffer.freeze())
        assert pickle.load(reader) == value
        assert pickle.load(reader) == "next"

    def test_csv_and_json_through_text(self):
        buffer = BytesMut()
        with io.TextIOWrapper(buffer.writer(), encoding="utf-8", newline="") as text:
            csv.writer(text).writerows([["ä", "b"], [1, "c,d"]])
        rows = csv.reader(io.TextIOWrapper(Reader(buffer.split_to(1).freeze(), buffer.freeze()), "utf-8", newline=""))
        assert list(rows) == [["ä", "b"], ["1", "c,d"]]
        text = io.TextIOWrapper(buffer.writer(), encoding="utf-8")
        json.dump({"a": [1, 2]}, text)
        text.flush()
        assert json.load(Reader(buffer.freeze())) == {"a": [1, 2]}

    def test_tarfile(self):
        buffer = BytesMut()
        with tarfile.open(fileobj=buffer.writer(), mode="w|") as archive:
            info = tarfile.TarInfo("name")
            info.size = len(TEXT)
            archive.addfile(info, Reader(TEXT))
        with tarfile.open(fileobj=Reader(buffer.freeze())) as archive:
            assert archive.extractfile("name").read() == TEXT
