"""What others make of Bytes, BytesMut and Reader: the standard library, NumPy, orjson."""

import array
import base64
import binascii
import bz2
import csv
import hashlib
import io
import json
import lzma
import marshal
import mmap
import os
import pickle
import shutil
import socket
import ssl
import struct
import zipfile
import zlib

import pytest

from ferrule import Bytes, BytesMut, Reader

TEXT = b"hello, world\n" * 30


def parts_of(data, size=7):
    return [Bytes(data)[n : n + size] for n in range(0, len(data), size)]


class TestSystem:
    def test_recv_into_the_room_of_a_buffer(self):
        one, other = socket.socketpair()
        buffer = BytesMut()
        with one, other:
            one.sendall(Bytes(TEXT)[:100])
            while len(buffer) < 100:
                buffer.commit(other.recv_into(buffer.spare(30)))
            one.sendmsg(Reader(*parts_of(TEXT)).chunks())
            while len(buffer) < 100 + len(TEXT):
                view = buffer.spare(50)
                count, *_ = other.recvmsg_into([view[:20], view[20:]])
                buffer.commit(count)
        assert buffer == TEXT[:100] + TEXT

    def test_files_of_the_system(self, tmp_path):
        path = tmp_path / "file"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            assert os.writev(descriptor, parts_of(TEXT)) == len(TEXT)
            assert os.pwrite(descriptor, Bytes(TEXT)[:5], 0) == 5
            os.lseek(descriptor, 0, os.SEEK_SET)
            buffer = BytesMut()
            view = buffer.spare(len(TEXT))
            count = os.readv(descriptor, [view[:9], view[9 : len(TEXT)]])
            buffer.commit(count)
            assert buffer == TEXT[:count]
            assert count == len(TEXT)
        finally:
            os.close(descriptor)
        with open(path, "rb") as file:
            view = buffer.spare(len(TEXT))
            buffer.commit(file.readinto(view[:100]))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                shared = Bytes.from_owner(mapped)
                assert shared.split(b"\n")[1] == b"hello, world"
                assert shared.retained == len(TEXT)
                with pytest.raises(BufferError):
                    mapped.close()
                del shared
        assert buffer == TEXT + TEXT[:100]
        with open(path, "wb") as file:
            file.writelines(parts_of(TEXT))
            file.write(BytesMut(TEXT))
        assert path.read_bytes() == TEXT * 2

    def test_tls_in_memory(self):
        incoming = ssl.MemoryBIO()
        assert incoming.write(Bytes(TEXT)[3:]) == len(TEXT) - 3
        assert incoming.read() == TEXT[3:]


class TestNumbers:
    def test_struct(self):
        buffer = BytesMut(bytes(16))
        struct.pack_into(">Hq", buffer, 3, 5, -7)
        assert struct.unpack_from(">Hq", buffer, 3) == (5, -7)
        frozen = buffer.freeze()
        assert struct.unpack_from(">Hq", frozen, 3) == (5, -7)
        assert list(struct.iter_unpack("<H", frozen)) == list(struct.iter_unpack("<H", bytes(frozen)))

    def test_array(self):
        numbers = array.array("i", range(100))
        shared = Bytes.from_owner(numbers)
        with pytest.raises(BufferError):
            numbers.append(1)
        again = array.array("i")
        again.frombytes(shared[40:80])
        assert list(again) == list(range(10, 20))
        assert memoryview(shared).cast("i")[5] == 5
        numbers[0] = 77
        assert Reader(shared).get_i32_le() == 77 or int.from_bytes(shared[:4], "big") == 77
        del shared
        numbers.append(1)

    def test_integers(self):
        assert int.from_bytes(Bytes(TEXT)[:5], "big") == int.from_bytes(TEXT[:5], "big")
        assert int(Bytes(b" 123 ")) == 123
        assert float(Bytes(b"1.5")) == 1.5


class TestLibrary:
    def test_checksums(self):
        for data in (Bytes(TEXT)[5:], BytesMut(TEXT[5:])):
            assert zlib.crc32(data) == zlib.crc32(TEXT[5:])
            assert binascii.crc_hqx(data, 0) == binascii.crc_hqx(TEXT[5:], 0)
            assert hashlib.blake2b(data).digest() == hashlib.blake2b(TEXT[5:]).digest()
        assert hashlib.file_digest(Reader(*parts_of(TEXT)), "sha256").digest() == hashlib.sha256(TEXT).digest()

    @pytest.mark.parametrize("module", [zlib, bz2, lzma])
    def test_compression(self, module):
        packed = Bytes(module.compress(Bytes(TEXT)))
        assert module.decompress(packed) == TEXT
        if module is zlib:
            stream = zlib.decompressobj()
            assert b"".join(map(stream.decompress, parts_of(packed))) + stream.flush() == TEXT
        else:
            file = {bz2: bz2.BZ2File, lzma: lzma.LZMAFile}[module]
            with file(Reader(*parts_of(packed))) as reading:
                assert reading.readlines() == TEXT.splitlines(True)
            buffer = BytesMut()
            with file(buffer.writer(), "w") as writing:
                writing.write(Bytes(TEXT))
            assert module.decompress(buffer) == TEXT

    def test_encodings(self):
        assert base64.b64decode(Bytes(base64.b64encode(Bytes(TEXT)))) == TEXT
        assert binascii.unhexlify(Bytes(binascii.hexlify(Bytes(TEXT)))) == TEXT
        assert str(Bytes("ä".encode()), "utf-8") == "ä"
        assert b"".join(parts_of(TEXT)) == TEXT
        assert bytearray(TEXT).replace(Bytes(b"o"), Bytes(b"0")) == TEXT.replace(b"o", b"0")
        assert TEXT.startswith(bytes(Bytes(b"hello")))
        assert b"%b!" % Bytes(b"a") == b"a!"

    def test_zip_archives(self):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("name", Bytes(TEXT))
        with zipfile.ZipFile(Reader(*parts_of(archive.getvalue()))) as file:
            assert file.read("name") == TEXT
        buffer = BytesMut()
        with zipfile.ZipFile(buffer.writer(), "w") as file:
            file.writestr("name", TEXT)
        with zipfile.ZipFile(Reader(buffer)) as file:
            assert file.read("name") == TEXT

    def test_copies_of_files(self):
        buffer = BytesMut()
        shutil.copyfileobj(Reader(*parts_of(TEXT)), buffer.writer(), 10)
        assert buffer == TEXT
        marshal.dump([1, b"a"], buffer.writer())
        buffer.advance(len(TEXT))
        assert marshal.load(Reader(*parts_of(bytes(buffer), 3))) == [1, b"a"]

    def test_text(self):
        rows = [["ä", "1"], ["b,c", '"']]
        buffer = BytesMut()
        with io.TextIOWrapper(buffer.writer(), "utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        text = io.TextIOWrapper(Reader(*parts_of(bytes(buffer), 1)), "utf-8", newline="")
        assert list(csv.reader(text)) == rows
        assert json.loads(Bytes(b' {"a": 1} ').tobytes()) == {"a": 1}
        assert json.load(io.TextIOWrapper(Reader(*parts_of(b'{"\xc3\xa4": 1}', 2)), "utf-8")) == {"ä": 1}

    def test_pickle_of_buffers_apart(self):
        kept = []
        whole = Bytes(TEXT)
        packed = pickle.dumps([pickle.PickleBuffer(whole), 1], protocol=5, buffer_callback=kept.append)
        again = pickle.loads(packed, buffers=[Bytes.from_owner(view) for view in kept])
        assert again[0] == TEXT
        assert whole.slice_ref(again[0]).retained == len(TEXT)  # it is the same memory


class TestNumPy:
    @pytest.fixture
    def numpy(self):
        return pytest.importorskip("numpy", reason="NumPy is not installed here")

    def test_is_seen_without_a_copy(self, numpy):
        owner = bytearray(range(64))
        seen = numpy.frombuffer(Bytes.from_owner(owner)[8:40], dtype="<u4")
        assert seen[0] == int.from_bytes(owner[8:12], "little")
        owner[8] = 99
        assert seen[0] & 255 == 99
        assert not seen.flags.writeable
        with pytest.raises(BufferError):
            owner.append(1)

    def test_arrays_are_owners(self, numpy):
        one = numpy.arange(24, dtype="<i4").reshape(2, 3, 4)
        shared = Bytes.from_owner(one)
        assert shared == one.tobytes()
        assert Reader(shared[4:]).get_i32_le() == 1
        assert Bytes.from_owner(one[1]) == one[1].tobytes()
        one[0, 0, 0] = 7
        assert shared[0] == 7
        with pytest.raises(ValueError, match="hash"):
            hash(shared)
        for wrong in (one[:, ::2], one.T, numpy.asfortranarray(one)):
            with pytest.raises(BufferError, match="contiguous"):
                Bytes.from_owner(wrong)
        assert Bytes.from_owner(numpy.zeros(0)).retained == 0

    def test_arrays_are_arguments(self, numpy):
        numbers = numpy.arange(5, dtype="u1")
        buffer = BytesMut(numbers)
        buffer.put(numbers[::2])
        assert buffer == b"\0\1\2\3\4\0\2\4"
        buffer[2:4] = numbers[3:]
        assert Bytes(numbers[::-1]) == b"\4\3\2\1\0"
        assert buffer.find(numbers[3:5]) == 2
        assert Reader(buffer.freeze()).copy_to(numbers) == 5
        assert list(numbers) == [0, 1, 3, 4, 4]

    def test_its_numbers_are_numbers(self, numpy):
        two, whole = numpy.int64(2), Bytes(TEXT)
        assert whole[two] == TEXT[2]
        assert whole[two : numpy.uint8(5)] == TEXT[2:5]
        buffer = BytesMut(numpy.int32(100))
        assert (len(buffer), buffer.capacity) == (0, 100)
        buffer.put_u16(numpy.uint16(513))
        buffer.put_f64(numpy.float32(1.5))
        buffer.append(numpy.uint8(3))
        assert (buffer.get_u16(), buffer.get_f64(), buffer.get_uint(numpy.int8(1))) == (513, 1.5, 3)
        with pytest.raises(TypeError):
            buffer.put_u16(numpy.float64(1.0))

    def test_a_buffer_is_pinned_by_what_sees_it(self, numpy):
        buffer = BytesMut(bytes(8))
        seen = numpy.frombuffer(buffer, dtype="u1")
        seen[0] = 5
        assert buffer[0] == 5
        with pytest.raises(BufferError):
            buffer.put(b"more")
        del seen
        buffer.put(b"more")
        view = numpy.frombuffer(buffer.spare(16), dtype=">u2", count=2)
        view[:] = [1, 2]
        buffer.commit(4)
        assert buffer[-4:] == b"\0\1\0\2"


class TestOrjson:
    @pytest.fixture
    def orjson(self):
        return pytest.importorskip("orjson", reason="orjson is not installed here")

    def test_takes_a_copy(self, orjson):
        buffer = BytesMut(b'{"a": [1, 2.5, null]}\n{"b": "\xc3\xa4"}\n')
        lines = [orjson.loads(buffer.get_until(b"\n").tobytes()) for _ in range(2)]
        assert lines == [{"a": [1, 2.5, None]}, {"b": "ä"}]

    def test_takes_a_memoryview(self, orjson):
        assert orjson.loads(memoryview(Bytes(b'  {"a": 1}'))) == {"a": 1}

    def test_what_it_gives_is_put(self, orjson):
        buffer = BytesMut()
        buffer.put(orjson.dumps({"a": 1}))
        assert Bytes.from_owner(orjson.dumps([1]))[1:2] == b"1"
        assert buffer.freeze() == b'{"a":1}'
