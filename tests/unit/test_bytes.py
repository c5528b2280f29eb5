"""Bytes: slices that share memory, owners, what is kept alive, and a Bytes as a value beside bytes."""

import array
import copy
import gc
import hashlib
import mmap
import os
import pickle
import re
import socket
import struct
import sys
import weakref
import zlib

import pytest

from ferrule import Bytes, BytesMut, Reader
from tests.support.hostile import raising, unraisable
from tests.support.names import shown

TEXT = b"hello, world"


class Exports(bytearray):
    """Memory whose exports can be counted: what is exported cannot grow."""

    @property
    def exported(self):
        try:
            self.append(0)
        except BufferError:
            return True
        self.pop()
        return False


class TestMaking:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            TEXT,
            bytearray(TEXT),
            memoryview(TEXT),
            memoryview(TEXT)[::-2],
            array.array("i", [1, 2, 3]),
            [1, 2, 255],
            range(5),
            (n for n in (4, 5)),
            Bytes(TEXT),
            BytesMut(TEXT),
        ],
        ids=shown,
    )
    def test_has_what_bytes_would_have(self, data):
        data = list(data) if hasattr(data, "send") else data
        assert Bytes(data) == bytes(data)
        assert bytes(Bytes(data)) == bytes(data)

    @pytest.mark.parametrize("data", ["text", 5, None, 5.0, [256], [-1], ["a"], object()], ids=shown)
    def test_of_what_is_not_bytes_is_refused(self, data):
        with pytest.raises((TypeError, ValueError)):
            Bytes(data)

    def test_without_data_it_is_empty(self):
        assert Bytes() == b""
        assert len(Bytes()) == 0
        assert not Bytes()

    def test_copies(self):
        data = bytearray(TEXT)
        made = Bytes(data)
        data[0] = 0
        data.append(1)
        assert made == TEXT

    def test_cannot_be_derived_from(self):
        with pytest.raises(TypeError):
            type("Derived", (Bytes,), {})


class TestSlices:
    @pytest.mark.parametrize("start", [None, *range(-14, 15), sys.maxsize, -sys.maxsize - 1, 2**70])
    def test_every_boundary_is_as_that_of_bytes(self, start):
        whole = Bytes(TEXT)
        for stop in [None, *range(-14, 15), sys.maxsize, -sys.maxsize - 1, 2**70]:
            assert whole[start:stop] == TEXT[start:stop]
            assert whole.slice(0 if start is None else start, stop) == TEXT[start:stop]
            for step in (1, 2, -1, -3, sys.maxsize):
                assert whole[start:stop:step] == TEXT[start:stop:step]

    def test_every_index_is_as_that_of_bytes(self):
        whole = Bytes(TEXT)
        for index in range(-12, 12):
            assert whole[index] == TEXT[index]
        for index in (12, -13, sys.maxsize, 2**70):
            with pytest.raises(IndexError):
                whole[index]
        for index in ("a", 1.0, None, b"a"):
            with pytest.raises(TypeError):
                whole[index]

    def test_shares_the_memory(self):
        data = bytearray(TEXT)
        part = Bytes.from_owner(data)[2:9][1:5].slice(1, 3)
        assert part == TEXT[4:6]
        data[4] = ord("X")
        assert part == b"X" + TEXT[5:6]

    def test_a_step_copies(self):
        data = bytearray(TEXT)
        part = Bytes.from_owner(data)[::2]
        assert part.retained == len(part)
        data[0] = 0
        assert part == TEXT[::2]

    def test_of_everything_is_the_same(self):
        whole = Bytes(TEXT)
        assert whole[:] is whole
        assert whole.slice() is whole

    def test_split_at(self):
        whole = Bytes(TEXT)
        for index in range(13):
            assert whole.split_at(index) == (TEXT[:index], TEXT[index:])
        for index in (-1, 13):
            with pytest.raises(IndexError):
                whole.split_at(index)

    def test_slice_ref_finds_the_part_that_a_view_shows(self):
        whole = Bytes(TEXT)
        view = memoryview(whole)
        assert whole.slice_ref(view[3:7]) == TEXT[3:7]
        assert whole.slice_ref(view[3:7]).retained == 12
        assert whole.slice_ref(view) == TEXT
        assert whole.slice_ref(view[3:3]).retained == 0
        assert whole[2:10].slice_ref(view[2:10]) == TEXT[2:10]

    def test_slice_ref_refuses_what_lies_elsewhere(self):
        whole = Bytes(TEXT)
        for elsewhere in (Bytes(TEXT), TEXT, memoryview(whole)[:5]):
            with pytest.raises(ValueError, match="inside"):
                whole[1:].slice_ref(elsewhere)

    def test_iterates_over_integers(self):
        assert list(Bytes(TEXT)) == list(TEXT)
        assert list(reversed(Bytes(TEXT))) == list(reversed(TEXT))

    def test_a_slice_is_an_object_of_56_bytes(self):
        assert sys.getsizeof(Bytes(TEXT)[2:5]) == 56
        assert sys.getsizeof(Bytes.from_owner(TEXT)[2:5]) == 56


class TestOwners:
    @pytest.mark.parametrize(
        "owner",
        [TEXT, bytearray(TEXT), memoryview(TEXT)[2:7], array.array("d", [1.0, 2.0]), mmap.mmap(-1, 4096)],
        ids=lambda owner: type(owner).__name__,
    )
    def test_any_contiguous_buffer_is_shared(self, owner):
        shared = Bytes.from_owner(owner)
        assert shared == bytes(memoryview(owner).cast("B"))
        assert shared.retained == memoryview(owner).nbytes

    def test_memory_of_many_dimensions_is_its_bytes(self):
        view = memoryview(bytes(range(24))).cast("B", (2, 3, 4))
        assert Bytes.from_owner(view) == bytes(range(24))

    def test_what_is_written_is_seen(self):
        owner = bytearray(TEXT)
        shared = Bytes.from_owner(owner)
        owner[0:5] = b"HELLO"
        assert shared == b"HELLO, world"

    def test_memory_that_is_not_contiguous_is_refused_with_the_reason(self):
        with pytest.raises(BufferError, match="memoryview is not C-contiguous"):
            Bytes.from_owner(memoryview(TEXT)[::2])

    @pytest.mark.parametrize("owner", ["text", 5, None, [1]], ids=shown)
    def test_what_has_no_buffer_is_refused(self, owner):
        with pytest.raises(TypeError):
            Bytes.from_owner(owner)

    def test_a_bytes_is_its_own_owner(self):
        whole = Bytes(TEXT)
        assert Bytes.from_owner(whole) is whole

    def test_the_export_lasts_until_the_last_slice_has_gone(self):
        owner = Exports(TEXT)
        shared = Bytes.from_owner(owner)
        parts = [shared[1:4], shared[2:3][0:1], shared.split(b" ")[1]]
        del shared
        while parts:
            assert owner.exported
            parts.pop()
        assert not owner.exported

    def test_the_owner_dies_with_the_last_slice(self):
        owner = Exports(TEXT)
        ended = weakref.ref(owner)
        part = Bytes.from_owner(owner)[2:5][1:]
        del owner
        assert part == TEXT[3:5]
        assert ended() is not None
        del part
        assert ended() is None

    def test_an_empty_slice_holds_nothing(self):
        owner = Exports(TEXT)
        shared = Bytes.from_owner(owner)
        empty = [shared[3:3], shared.slice(5, 2), shared.split_at(0)[0], shared.strip(TEXT), shared[20:]]
        assert [part.retained for part in empty] == [0] * 5
        del shared
        assert not owner.exported
        assert Bytes.from_owner(Exports()).retained == 0

    def test_a_refused_owner_is_not_held(self):
        owner = Exports(TEXT)
        with pytest.raises(BufferError):
            Bytes.from_owner(memoryview(owner)[::2])
        assert not owner.exported

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ can be written in Python since 3.12")
    def test_an_export_that_raises_is_not_released_and_one_that_is_released_may_raise(self):
        class Owner:
            def __init__(self, fails):
                self.fails = fails
                self.calls = []

            def __buffer__(self, flags):
                self.calls.append("export")
                if self.fails:
                    raise ZeroDivisionError
                return memoryview(TEXT)

            def __release_buffer__(self, view):
                self.calls.append("release")
                raise ZeroDivisionError

        refused = Owner(True)
        with pytest.raises(ZeroDivisionError):
            Bytes.from_owner(refused)
        assert refused.calls == ["export"]
        taken = Owner(False)
        shared = Bytes.from_owner(taken)
        parts = [shared[1:], shared[2:]]
        del shared
        with unraisable() as errors:
            assert parts == [TEXT[1:], TEXT[2:]]
            assert taken.calls == ["export"]
            parts.clear()
        assert taken.calls == ["export", "release"]
        assert [type(error) for error in errors] == [ZeroDivisionError]

    def test_a_cycle_through_an_owner_is_collected(self):
        class Owner(bytearray):
            pass

        owner = Owner(TEXT)
        owner.parts = [Bytes.from_owner(owner), Bytes.from_owner(owner)[1:], Bytes.from_owner(owner)[2:][1:]]
        owner.parts += [owner.parts[0][n:] for n in range(3)]
        reader = Reader(b"abc", owner)
        owner.parts += [reader.get_bytes(2), reader.get_bytes(2), reader.get_bytes(2), reader.get_until(TEXT[4:5])]
        del reader
        ended = weakref.ref(owner)
        del owner
        gc.collect()
        assert ended() is None

    def test_the_collector_sees_only_memory_that_can_be_part_of_a_cycle(self):
        class Owner(bytearray):
            pass

        for untracked in (Bytes(TEXT), *map(Bytes.from_owner, [TEXT, bytearray(TEXT), memoryview(TEXT)])):
            assert not gc.is_tracked(untracked)
            assert not gc.is_tracked(untracked[1:3])
            assert not gc.is_tracked(Reader(untracked).get_bytes(2))
        for tracked in map(Bytes.from_owner, [Owner(TEXT), memoryview(Owner(TEXT))]):
            assert gc.is_tracked(tracked)
            assert gc.is_tracked(tracked[1:3])
            assert gc.is_tracked(Reader(TEXT, tracked).take(len(TEXT) + 2).chunks()[1])
            reader = Reader(TEXT, tracked)
            assert [gc.is_tracked(reader.get_bytes(n)) for n in (len(TEXT) - 1, 2, 2, 0)] == [False, False, True, False]

    def test_slices_of_all_kinds_are_made_of_the_memory_of_any(self):
        """Their dead objects are used again; those that the collector knew are not."""

        class Owner(bytearray):
            pass

        own, known = Bytes(TEXT), Bytes.from_owner(Owner(TEXT))
        for _ in range(3):
            kept = [whole[n % 7 : n % 7 + 2] for n in range(200) for whole in (own, known)]
            reader = Reader(*[own, known] * 100)
            kept += [reader.get_bytes(3) for _ in range(100)]
            assert {gc.is_tracked(part) for part in kept} == {False, True}
            gc.collect()
            assert kept[:400] == [TEXT[n % 7 : n % 7 + 2] for n in range(200) for _ in range(2)]
            del kept, reader


class TestRetention:
    def test_retained_is_the_memory_that_is_kept_alive(self):
        whole = Bytes(bytes(1000))
        assert whole.retained == 1000
        assert whole[5:10].retained == 1000
        assert Bytes().retained == 0
        assert Bytes.from_owner(bytes(100))[:1].retained == 100

    def test_compact_copies_where_that_frees_memory(self):
        owner = Exports(TEXT)
        part = Bytes.from_owner(owner)[2:5]
        compact = part.compact()
        assert (compact, compact.retained) == (TEXT[2:5], 3)
        del part
        assert not owner.exported

    def test_compact_of_what_is_whole_is_the_same(self):
        whole = Bytes(TEXT)
        assert whole.compact() is whole
        shared = Bytes.from_owner(bytearray(TEXT))
        assert shared.compact() is shared
        assert Bytes().compact() == b""

    def test_compact_of_a_part_of_a_buffer_that_grew(self):
        buffer = BytesMut(1000)
        buffer.put(b"abc")
        frozen = buffer.freeze()
        assert frozen.retained == 1000
        assert frozen.compact().retained == 3

    @pytest.mark.parametrize(("below", "retained"), [(0, 12), (3, 12), (4, 3), (sys.maxsize, 3)])
    def test_copy_below_copies_slices_of_fewer_bytes(self, below, retained):
        part = Bytes(TEXT).slice(2, 5, copy_below=below)
        assert (part, part.retained) == (TEXT[2:5], retained)


class TestAsAValue:
    def test_hashes_and_equals_as_bytes(self):
        for data in (b"", b"a", TEXT, bytes(1000)):
            assert hash(Bytes(data)) == hash(data)
            assert Bytes(data) == data
            assert data == Bytes(data)
            assert {data: 1}[Bytes(data)] == 1
            assert {Bytes(data): 1}[data] == 1

    def test_a_slice_is_a_key_like_any_other(self):
        table = {b"world": 1}
        assert table[Bytes(TEXT)[7:]] == 1
        assert Bytes(TEXT)[7:] in {b"world"}

    @pytest.mark.parametrize("other", [bytes, bytearray, memoryview, Bytes, BytesMut, Bytes.from_owner])
    def test_compares_with_all_that_is_bytes(self, other):
        for one in (b"", b"a", b"ab", b"b", b"\xff", TEXT):
            for two in (b"", b"a", b"ab", b"b", b"\xff", TEXT):
                assert (Bytes(one) == other(two)) is (one == two)
                assert (Bytes(one) != other(two)) is (one != two)
                assert (other(two) == Bytes(one)) is (one == two)
                assert (Bytes(one) < other(two)) is (one < two)
                assert (Bytes(one) <= other(two)) is (one <= two)
                assert (Bytes(one) > other(two)) is (one > two)
                assert (Bytes(one) >= other(two)) is (one >= two)

    @pytest.mark.parametrize("other", ["a", 97, None, [97], (97,), array.array("b", b"a")], ids=shown)
    def test_differs_from_what_is_not_bytes(self, other):
        assert Bytes(b"a") != other
        assert not Bytes(b"a") == other  # noqa: SIM201 (== is tested)
        with pytest.raises(TypeError):
            Bytes(b"a") < other  # noqa: B015 (it raises)

    def test_memory_of_other_items_than_bytes_compares_by_its_own_rules(self):
        numbers = memoryview(b"a\0\0\0").cast("i")
        for data in (b"a", b"a\0\0\0"):
            assert (Bytes(data) == numbers) is (data == numbers)
            assert (numbers == Bytes(data)) is (numbers == data)

    def test_what_its_owner_can_write_has_no_hash(self):
        for owner in (bytearray(TEXT), memoryview(bytearray(TEXT)).toreadonly(), array.array("b", [1])):
            with pytest.raises(ValueError, match="hash"):
                hash(Bytes.from_owner(owner))
            with pytest.raises(ValueError, match="hash"):
                hash(Bytes.from_owner(owner)[:1])
        assert hash(Bytes.from_owner(bytearray(TEXT)).slice(0, 3, copy_below=4)) == hash(TEXT[:3])
        assert hash(Bytes.from_owner(bytearray(TEXT))[:0]) == hash(b"")

    def test_what_its_owner_cannot_write_has(self):
        for owner in (TEXT, memoryview(TEXT)):
            assert hash(Bytes.from_owner(owner)[:3]) == hash(TEXT[:3])

    def test_shows_its_bytes(self):
        assert repr(Bytes(b"a\0'")) == 'Bytes(b"a\\x00\'")'
        assert eval(repr(Bytes(TEXT))) == TEXT

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda whole: pickle.loads(pickle.dumps(whole))])
    def test_copies_and_pickles_without_what_is_beside_it(self, again):
        made = again(Bytes(TEXT)[2:5])
        assert type(made) is Bytes
        assert (made, made.retained) == (TEXT[2:5], 3)

    def test_has_no_weak_references_and_no_attributes(self):
        with pytest.raises(TypeError):
            weakref.ref(Bytes(TEXT))
        with pytest.raises(AttributeError):
            Bytes(TEXT).name = 1


class TestAsABuffer:
    def test_is_a_buffer_that_cannot_be_written(self):
        view = memoryview(Bytes(TEXT)[2:5])
        assert (view.readonly, view.format, view.shape, view.nbytes) == (True, "B", (3,), 3)
        with pytest.raises(TypeError):
            view[0] = 1
        with pytest.raises(TypeError):
            struct.pack_into("B", Bytes(TEXT), 0, 1)

    def test_the_view_keeps_the_memory(self):
        owner = Exports(TEXT)
        view = memoryview(Bytes.from_owner(owner)[2:5])
        assert bytes(view) == TEXT[2:5]
        assert owner.exported
        del view
        assert not owner.exported

    def test_the_standard_library_takes_it(self):
        whole = Bytes(TEXT)
        assert struct.unpack_from(">H", whole, 2) == struct.unpack_from(">H", TEXT, 2)
        assert re.search(rb"w(.)r", whole)[1] == b"o"
        assert hashlib.sha256(whole).digest() == hashlib.sha256(TEXT).digest()
        assert zlib.decompress(Bytes(zlib.compress(whole))) == TEXT
        assert int.from_bytes(whole[:4], "big") == int.from_bytes(TEXT[:4], "big")
        assert b"".join([whole, whole[:2]]) == TEXT + TEXT[:2]
        assert bytearray(whole) == TEXT
        assert b"<" + whole == b"<" + TEXT

    def test_sockets_and_descriptors_take_it(self):
        one, other = socket.socketpair()
        with one, other:
            one.send(Bytes(TEXT)[:5])
            one.sendmsg([Bytes(TEXT)[5:7], Bytes(TEXT)[7:]])
            received = b""
            while len(received) < len(TEXT):
                received += other.recv(100)
            assert received == TEXT
        read, write = os.pipe()
        try:
            assert os.writev(write, [Bytes(TEXT)[:5], Bytes(TEXT)[5:]]) == len(TEXT)
            assert os.read(read, 100) == TEXT
        finally:
            os.close(read)
            os.close(write)

    def test_numpy_takes_it_without_a_copy(self):
        numpy = pytest.importorskip("numpy", reason="NumPy is not installed here")
        owner = bytearray(TEXT)
        seen = numpy.frombuffer(Bytes.from_owner(owner)[1:5], dtype="u1")
        owner[1] = 7
        assert seen[0] == 7
        with pytest.raises(BufferError):
            Bytes.from_owner(numpy.arange(10)[::2])
        assert Bytes.from_owner(numpy.arange(3, dtype="u1")) == b"\0\1\2"


class TestFailures:
    def test_what_an_argument_raises_passes_on(self):
        class Odd:
            __index__ = raising(ZeroDivisionError)

        for call in (
            lambda: Bytes(TEXT)[Odd()],
            lambda: Bytes(TEXT)[Odd() :],
            lambda: Bytes(TEXT).slice(Odd()),
            lambda: Bytes(TEXT).find(b"a", Odd()),
            lambda: Bytes(TEXT).find(Odd()),
            lambda: Bytes(TEXT) * Odd(),
        ):
            with pytest.raises(ZeroDivisionError):
                call()

    def test_what_is_too_large_is_a_memory_error(self):
        with pytest.raises((MemoryError, OverflowError)):
            Bytes(TEXT) * sys.maxsize
        with pytest.raises((MemoryError, OverflowError)):
            Bytes(b"a") * sys.maxsize
        assert Bytes() * sys.maxsize == b""
