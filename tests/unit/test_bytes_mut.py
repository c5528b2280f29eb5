"""BytesMut: the crate's capacity arithmetic, splitting and joining, exports, content, and growth."""

import copy
import gc
import pickle
import sys
import weakref

import pytest

from ferrule import Bytes, BytesMut, NotEnoughBytes

TEXT = b"hello, world"


def filled(capacity, content=b""):
    buffer = BytesMut(capacity)
    buffer.put(content)
    return buffer


def where(buffer):
    """The address of the memory at the front of a buffer that is not empty."""
    ctypes = pytest.importorskip("ctypes")
    view = memoryview(buffer)
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


class TestCapacity:
    """The numbers of the crate's own tests."""

    def test_growth_where_the_front_has_gone(self):
        buffer = filled(64, b"hello world")
        buffer.split()
        buffer.reserve(65)
        assert buffer.capacity == 117

    def test_new_memory_has_at_least_the_first_capacity(self):
        buffer = filled(1024, bytes(1020))
        kept = buffer.split()
        buffer.reserve(16)
        assert buffer.capacity == 1024
        assert len(kept) == 1020

    def test_but_at_most_64_kib(self):
        buffer = filled(128 * 1024, bytes(128 * 1024))
        kept = buffer.split()
        buffer.reserve(16)
        assert buffer.capacity == 64 * 1024
        assert len(kept) == 128 * 1024

    @pytest.mark.parametrize(
        ("first", "later"), [(1023, 16), (1024, 1024), (2047, 1024), (2048, 2048), (65535, 32768), (65536, 65536)]
    )
    def test_the_first_capacity_counts_by_its_power_of_two(self, first, later):
        buffer = filled(first, bytes(first))
        kept = buffer.split()
        buffer.reserve(16)
        assert buffer.capacity == later
        assert len(kept) == first

    def test_what_has_been_read_is_used_again(self):
        buffer = filled(16, b"0123456789abcdef")
        front = where(buffer)
        buffer.advance(10)
        buffer.reserve(8)
        assert buffer.capacity == 16
        assert where(buffer) == front
        assert buffer == b"abcdef"

    def test_but_not_where_that_would_move_more_than_was_read(self):
        buffer = filled(16, b"0123456789abcdef")
        buffer.advance(7)
        buffer.reserve(7)
        assert buffer.capacity == 32 - 7
        assert buffer == b"789abcdef"

    @pytest.mark.parametrize(("additional", "capacity"), [(1000, 1000), (1001, 2000), (2001, 2001)])
    def test_alone_again_it_doubles_and_no_more(self, additional, capacity):
        buffer = BytesMut(1000)
        buffer.split()
        buffer.reserve(additional)
        assert buffer.capacity == capacity

    @pytest.mark.parametrize(("additional", "capacity"), [(1001, 1001), (2001, 2001)])
    def test_with_another_half_it_gets_what_it_asks_for(self, additional, capacity):
        buffer = BytesMut(1000)
        other = buffer.split()
        buffer.reserve(additional)
        assert buffer.capacity == capacity
        assert other.capacity == 0

    def test_the_memory_of_a_half_that_has_gone_is_had_again_in_place(self):
        buffer = BytesMut(b"x" * 100)
        for _ in range(10):
            buffer.split_off(50)
            assert buffer.capacity == 50
            buffer.reserve(100 - len(buffer))
            assert buffer.capacity == 100

    def test_try_reclaim_of_one_alone(self):
        buffer = filled(6, b"abc")
        assert not buffer.try_reclaim(sys.maxsize)
        assert not buffer.try_reclaim(2**70)
        assert not buffer.try_reclaim(6)
        buffer.advance(2)
        assert buffer.capacity == 4
        assert not buffer.try_reclaim(6)
        assert buffer.try_reclaim(5)
        buffer.advance(1)
        assert buffer.try_reclaim(6)
        assert buffer.capacity == 6

    def test_try_reclaim_waits_for_every_frozen_part(self):
        buffer = filled(6, b"abc")
        one = buffer.split().freeze()
        buffer.put(b"def")
        assert not buffer.try_reclaim(sys.maxsize)
        two = buffer.split().freeze()
        three = two[1:]
        assert not buffer.try_reclaim(6)
        del one
        assert not buffer.try_reclaim(6)
        del three
        assert not buffer.try_reclaim(6)
        del two
        assert buffer.try_reclaim(6)
        assert (buffer.capacity, len(buffer)) == (6, 0)
        buffer.put(b"abcdef")
        assert buffer.capacity == 6

    def test_a_failed_reclaim_changes_nothing(self):
        buffer = filled(6, b"abc")
        kept = buffer.split_to(1)
        assert not buffer.try_reclaim(6)
        assert (buffer, buffer.capacity, kept) == (b"bc", 5, b"a")

    def test_advance_takes_from_both(self):
        for capacity in range(0, 257, 16):
            for length in range(0, capacity + 1, 5):
                for n in range(0, length + 1, 7):
                    buffer = filled(capacity, bytes(length))
                    buffer.advance(n)
                    assert (len(buffer), buffer.capacity) == (length - n, capacity - n)

    def test_of_data_is_exact_and_of_nothing_is_none(self):
        assert BytesMut(TEXT).capacity == 12
        assert BytesMut().capacity == 0
        assert BytesMut(b"").capacity == 0
        buffer = BytesMut()
        buffer.append(1)
        assert buffer.capacity == 8
        buffer.put(bytes(8))
        assert buffer.capacity == 16

    def test_reserve_of_what_there_is_does_nothing(self):
        buffer = filled(10, b"abc")
        buffer.reserve(7)
        assert buffer.capacity == 10
        buffer.reserve(0)
        assert buffer.capacity == 10

    @pytest.mark.parametrize("size", [sys.maxsize, sys.maxsize - 20, 2**70])
    def test_what_is_too_large_is_a_memory_error_and_changes_nothing(self, size):
        buffer = filled(20, TEXT)
        with pytest.raises(MemoryError):
            buffer.reserve(size)
        with pytest.raises(MemoryError):
            buffer.spare(size)
        assert (buffer, buffer.capacity) == (TEXT, 20)
        with pytest.raises((MemoryError, OverflowError)):
            BytesMut(size)

    def test_negative_sizes_are_refused(self):
        buffer = filled(20, TEXT)
        for call in (
            lambda: BytesMut(-1),
            lambda: buffer.reserve(-1),
            lambda: buffer.try_reclaim(-1),
            lambda: buffer.spare(-1),
            lambda: buffer.commit(-1),
            lambda: buffer.resize(-1),
            lambda: buffer.truncate(-1),
            lambda: buffer.advance(-1),
            lambda: buffer.get_bytes(-1),
            lambda: buffer.put_bytes(0, -1),
        ):
            with pytest.raises(ValueError):
                call()
        assert (buffer, buffer.capacity) == (TEXT, 20)


class TestSplitting:
    def test_split_to_shares_the_memory_between_two(self):
        buffer = filled(20, TEXT)
        front = where(buffer)
        head = buffer.split_to(5)
        assert (head, head.capacity) == (TEXT[:5], 5)
        assert (buffer, buffer.capacity) == (TEXT[5:], 15)
        assert (where(head), where(buffer)) == (front, front + 5)
        head[0] = ord("j")
        head.put(b"!!")  # moves on rather than into the other's part
        assert (head, buffer) == (b"jello!!", TEXT[5:])

    def test_split_off_goes_up_to_the_capacity(self):
        for at in range(21):
            buffer = filled(20, TEXT)
            tail = buffer.split_off(at)
            assert (buffer, buffer.capacity) == (TEXT[:at], at)
            assert (tail, tail.capacity) == (TEXT[at:], 20 - at)

    def test_split_takes_all_and_leaves_the_room(self):
        buffer = filled(20, TEXT)
        taken = buffer.split()
        assert (taken, taken.capacity) == (TEXT, 12)
        assert (buffer, buffer.capacity) == (b"", 8)

    @pytest.mark.parametrize("at", [-1, -sys.maxsize - 1, 13, 21, sys.maxsize])
    def test_elsewhere_is_an_index_error(self, at):
        buffer = filled(20, TEXT)
        with pytest.raises(IndexError):
            buffer.split_to(at)
        if at != 13:
            with pytest.raises(IndexError):
                buffer.split_off(at)
        assert (buffer, buffer.capacity) == (TEXT, 20)

    def test_of_an_empty_one(self):
        buffer = BytesMut()
        assert buffer.split() == buffer.split_to(0) == buffer.split_off(0) == b""

    def test_unsplit_of_what_follows_copies_nothing(self):
        buffer = filled(64, TEXT)
        front = where(buffer)
        tail = buffer.split_off(len(buffer))
        tail.put(b"abcdef")
        buffer.unsplit(tail)
        assert (buffer, buffer.capacity) == (TEXT + b"abcdef", 64)
        assert where(buffer) == front
        assert (tail, tail.capacity) == (b"", 0)
        buffer.reserve(64)  # it is alone again, so it grows in place
        assert buffer.capacity == 128

    def test_unsplit_into_an_empty_one_takes_the_others_memory(self):
        buffer, other = BytesMut(10), filled(30, TEXT)
        front = where(other)
        buffer.unsplit(other)
        assert (buffer, buffer.capacity) == (TEXT, 30)
        assert where(buffer) == front
        assert (other, other.capacity) == (b"", 0)

    def test_unsplit_of_what_does_not_follow_copies(self):
        buffer, other = filled(20, b"abc"), filled(30, TEXT)
        buffer.unsplit(other)
        assert (buffer, buffer.capacity) == (b"abc" + TEXT, 20)
        assert (other, other.capacity) == (b"", 0)

    def test_unsplit_with_nothing(self):
        buffer = filled(20, TEXT)
        buffer.unsplit(BytesMut())
        assert (buffer, buffer.capacity) == (TEXT, 20)

    def test_unsplit_in_the_wrong_order_copies(self):
        buffer = filled(20, TEXT)
        head = buffer.split_to(5)
        buffer.unsplit(head)
        assert buffer == TEXT[5:] + TEXT[:5]

    def test_try_unsplit_joins_or_changes_nothing(self):
        buffer = filled(20, TEXT)
        tail = buffer.split_off(5)
        other = filled(10, b"abc")
        assert not buffer.try_unsplit(other)
        assert not tail.try_unsplit(buffer)
        assert (buffer, tail, other, other.capacity) == (TEXT[:5], TEXT[5:], b"abc", 10)
        assert buffer.try_unsplit(tail)
        assert (buffer, buffer.capacity, tail) == (TEXT, 20, b"")
        assert buffer.try_unsplit(BytesMut())
        assert buffer.try_unsplit(tail)
        buffer.advance(2)
        buffer.truncate(3)
        assert not buffer.try_unsplit(filled(1, b""))

    def test_joining_to_itself_is_refused(self):
        buffer = filled(20, TEXT)
        for call in (buffer.unsplit, buffer.try_unsplit):
            with pytest.raises(ValueError, match="itself"):
                call(buffer)
            with pytest.raises(TypeError):
                call(None)
            with pytest.raises(TypeError):
                call(TEXT)
        assert buffer == TEXT

    def test_many_parts_join_again(self):
        buffer = BytesMut(bytes(range(100)))
        parts = [buffer.split_to(10) for _ in range(10)]
        first, *rest = parts
        for part in rest:
            assert first.try_unsplit(part)
        assert (first, first.capacity) == (bytes(range(100)), 100)

    def test_freeze_moves_the_memory(self):
        buffer = filled(20, TEXT)
        front = where(buffer)
        frozen = buffer.freeze()
        assert (type(frozen), frozen, frozen.retained) == (Bytes, TEXT, 20)
        assert (buffer, buffer.capacity) == (b"", 0)
        assert hash(frozen) == hash(TEXT)
        buffer.put(b"new")
        assert (buffer, frozen) == (b"new", TEXT)
        assert front

    def test_freeze_of_nothing_holds_nothing(self):
        buffer = BytesMut(100)
        assert buffer.freeze().retained == 0
        assert BytesMut().freeze() == b""
        rest = BytesMut(TEXT)
        rest.split().freeze()
        assert rest.try_reclaim(12)

    def test_a_frozen_part_never_changes(self):
        buffer = filled(20, TEXT)
        frozen = buffer.split_to(5).freeze()
        buffer[0] = 0
        buffer.put(bytes(100))
        buffer.clear()
        buffer.put(b"x" * 50)
        assert frozen == TEXT[:5]


class TestExports:
    def test_a_view_pins_the_memory(self):
        buffer = filled(20, TEXT)
        other = filled(5, b"abc")
        view = memoryview(buffer)
        for call in (
            lambda: buffer.split(),
            lambda: buffer.split_to(1),
            lambda: buffer.split_off(1),
            lambda: buffer.freeze(),
            lambda: buffer.get_bytes(1),
            lambda: buffer.get_until(b"o"),
            lambda: buffer.reserve(9),
            lambda: buffer.put(bytes(9)),
            lambda: buffer.resize(21),
            lambda: buffer.spare(9),
            lambda: other.unsplit(buffer),
        ):
            with pytest.raises(BufferError):
                call()
        assert not buffer.try_reclaim(9)
        assert (buffer, buffer.capacity, view) == (TEXT, 20, TEXT)
        view.release()
        assert buffer.split_to(1) == TEXT[:1]

    def test_what_does_not_move_the_memory_is_allowed(self):
        buffer = filled(20, TEXT)
        with memoryview(buffer) as view:
            buffer.put(b"12345678")
            buffer[0] = ord("j")
            buffer[1:3] = b"ul"
            assert view == b"jullo, world"
            view[4] = ord("i")
            buffer.advance(1)
            assert buffer == b"ulli, world12345678"
            buffer.truncate(3)
            buffer.clear()
        assert buffer == b""

    def test_an_empty_one_is_pinned_as_well(self):
        buffer = BytesMut()
        with memoryview(buffer) as view:
            assert len(view) == 0
            with pytest.raises(BufferError):
                buffer.put(b"a")
            with pytest.raises(BufferError):
                buffer.unsplit(BytesMut(b"a"))
        buffer.put(b"a")
        assert buffer == b"a"

    def test_a_failed_unsplit_gives_the_other_back(self):
        buffer, other = filled(3, b"abc"), filled(5, b"de")
        with memoryview(buffer), pytest.raises(BufferError):
            buffer.unsplit(other)
        assert (buffer, other, other.capacity) == (b"abc", b"de", 5)

    def test_the_view_can_be_written(self):
        buffer = BytesMut(TEXT)
        view = memoryview(buffer)
        assert (view.readonly, view.format, view.nbytes) == (False, "B", 12)
        view[:5] = b"HELLO"
        assert buffer == b"HELLO, world"

    def test_as_an_owner_it_is_pinned(self):
        buffer = BytesMut(TEXT)
        shared = Bytes.from_owner(buffer)
        with pytest.raises(BufferError):
            buffer.reserve(1)
        with pytest.raises(ValueError, match="hash"):
            hash(shared)
        del shared
        buffer.reserve(1)


class TestSpare:
    def test_what_is_written_to_it_is_taken_in(self):
        buffer = filled(20, b"abc")
        view = buffer.spare()
        assert (len(view), view.readonly) == (17, False)
        view[:3] = b"def"
        assert buffer == b"abc"
        buffer.commit(2)
        buffer.commit(1)
        assert (buffer, buffer.capacity) == (b"abcdef", 20)

    @pytest.mark.parametrize(("capacity", "n", "room"), [(10, None, 10), (0, None, 64), (10, 5, 10), (10, 11, 20)])
    def test_how_much_there_is(self, capacity, n, room):
        assert len(BytesMut(capacity).spare(n)) == room

    def test_of_nothing_there_is_nothing(self):
        buffer = BytesMut(TEXT)
        assert len(buffer.spare(0)) == 0
        buffer.commit(0)

    def test_it_pins_nothing(self):
        buffer = filled(20, TEXT)
        view = buffer.spare()
        view[:2] = b"!!"
        buffer.commit(2)
        head = buffer.get_bytes(5)
        rest = buffer.split().freeze()
        buffer.put(bytes(100))
        assert (head, rest, buffer) == (TEXT[:5], TEXT[5:] + b"!!", bytes(100))
        assert bytes(view[:2]) == b"!!"

    def test_growth_moves_on_and_leaves_the_memory_to_the_view(self):
        buffer = filled(20, TEXT)
        view = buffer.spare()
        buffer.put(bytes(100))
        view[:] = b"x" * 8
        assert buffer == TEXT + bytes(100)

    def test_a_view_that_is_alive_keeps_the_memory_from_being_used_again(self):
        buffer = filled(20, bytes(15))
        view = buffer.spare()
        buffer.advance(15)
        assert not buffer.try_reclaim(20)
        del view
        assert buffer.try_reclaim(20)

    def test_the_view_outlives_the_buffer(self):
        view = BytesMut(20).spare()
        view[:] = b"x" * 20
        assert bytes(view) == b"x" * 20

    def test_reading_the_front_does_not_end_it(self):
        buffer = filled(20, TEXT)
        view = buffer.spare()
        view[:2] = b"!!"
        buffer.advance(3)
        buffer.get_u8()
        buffer.split_to(2)
        buffer.commit(2)
        assert buffer == TEXT[6:] + b"!!"

    @pytest.mark.parametrize(
        "change",
        [
            lambda buffer: buffer.put(b"a"),
            lambda buffer: buffer.append(1),
            lambda buffer: buffer.clear(),
            lambda buffer: buffer.truncate(3),
            lambda buffer: buffer.resize(13),
            lambda buffer: buffer.reserve(100),
            lambda buffer: buffer.split_off(2),
            lambda buffer: buffer.freeze(),
            lambda buffer: buffer.extend_from_within(0, 1),
        ],
    )
    def test_what_changes_the_end_or_the_memory_ends_it(self, change):
        buffer = filled(20, TEXT)
        buffer.spare()
        change(buffer)
        before = bytes(buffer)
        with pytest.raises(ValueError, match="spare"):
            buffer.commit(1)
        assert buffer == before

    def test_more_than_it_gave_is_refused(self):
        buffer = filled(20, TEXT)
        with pytest.raises(ValueError, match="spare"):
            buffer.commit(1)
        buffer.spare()
        for n in (9, sys.maxsize):
            with pytest.raises(ValueError, match="spare"):
                buffer.commit(n)
        buffer.split_off(15)
        with pytest.raises(ValueError, match="spare"):
            buffer.commit(4)
        buffer.commit(3)
        assert len(buffer) == 15

    def test_what_is_committed_is_not_committed_again(self):
        buffer = filled(20, TEXT)
        buffer.spare()
        buffer.commit(5)
        with pytest.raises(ValueError, match="spare"):
            buffer.commit(4)
        buffer.commit(3)
        with pytest.raises(ValueError, match="spare"):
            buffer.commit(1)
        assert len(buffer) == buffer.capacity == 20

    def test_its_own_spare_memory_can_be_put(self):
        buffer = filled(20, TEXT)
        view = buffer.spare()
        view[:3] = b"abc"
        buffer.put(view[1:3])
        assert buffer == TEXT + b"bc"


class TestContent:
    @pytest.mark.parametrize("data", [b"", TEXT, bytearray(TEXT), Bytes(TEXT), BytesMut(TEXT), memoryview(TEXT)[::2]])
    def test_of_bytes(self, data):
        assert BytesMut(data) == bytes(data)
        assert bytes(BytesMut(data)) == bytes(data)

    def test_of_integers(self):
        assert BytesMut([1, 2, 3]) == b"\1\2\3"
        assert BytesMut(5) == b""
        assert BytesMut(True).capacity == 1

    @pytest.mark.parametrize("data", ["text", None, 1.5, [256], object()])
    def test_of_anything_else_is_refused(self, data):
        with pytest.raises((TypeError, ValueError)):
            BytesMut(data)

    def test_items(self):
        buffer, model = BytesMut(TEXT), bytearray(TEXT)
        for index in range(-12, 12):
            assert buffer[index] == model[index]
            buffer[index] = model[index] = index & 255
        assert buffer == model
        for index in (12, -13, 2**70):
            with pytest.raises(IndexError):
                buffer[index]
            with pytest.raises(IndexError):
                buffer[index] = 1
        for value in (256, -1, 2**70):
            with pytest.raises(ValueError):
                buffer[0] = value
        for value in ("a", 1.0, b"a", None):
            with pytest.raises(TypeError):
                buffer[0] = value
        assert buffer == model

    def test_slices_are_copies(self):
        buffer = BytesMut(TEXT)
        for start in (None, 0, 2, -3, 50):
            for stop in (None, 0, 7, -1, 50):
                for step in (None, 1, 2, -1):
                    assert buffer[start:stop:step] == TEXT[start:stop:step]
        part = buffer[2:5]
        buffer[2] = 0
        assert (type(part), part, part.retained) == (Bytes, TEXT[2:5], 3)

    def test_parts_are_replaced_by_as_many_bytes(self):
        buffer, model = BytesMut(TEXT), bytearray(TEXT)
        for place in (slice(0, 5), slice(-3, None), slice(4, 4), slice(None, None, 2), slice(None, None, -3)):
            new = bytes(range(len(model[place])))
            buffer[place] = new
            model[place] = new
            assert buffer == model
        buffer[0:3] = [7, 8, 9]
        assert buffer[:3] == b"\7\x08\x09"
        before = bytes(buffer)
        for wrong in (b"", b"ab", bytes(13)):
            with pytest.raises(ValueError):
                buffer[0:3] = wrong
        with pytest.raises(TypeError):
            buffer[0:3] = 3
        with pytest.raises(TypeError):
            del buffer[0]
        assert buffer == before

    def test_a_part_can_be_replaced_by_the_buffer_itself(self):
        buffer = BytesMut(TEXT)
        buffer[::-1] = buffer
        assert buffer == TEXT[::-1]
        buffer[:] = memoryview(buffer)
        assert buffer == TEXT[::-1]

    def test_searching(self):
        buffer = BytesMut(TEXT)
        for sub in (b"o", b"wor", b"", b"x", b"hello, world!", 111):
            for args in ((), (5,), (5, 8), (-3,), (None, -3), (20,), (12,), (3, 1)):
                assert buffer.find(sub, *args) == TEXT.find(sub, *args)
            assert (sub in buffer) is (sub in TEXT)
        assert buffer.find(buffer) == 0
        assert buffer in buffer
        for wrong in ("a", 256, None):
            with pytest.raises((TypeError, ValueError)):
                buffer.find(wrong)

    @pytest.mark.parametrize("other", [bytes, bytearray, memoryview, Bytes, BytesMut])
    def test_compares_with_all_that_is_bytes(self, other):
        for one in (b"", b"a", b"ab", b"\xff"):
            for two in (b"", b"a", b"ab", b"\xff"):
                assert (BytesMut(one) == other(two)) is (other(two) == BytesMut(one)) is (one == two)
                assert (BytesMut(one) != other(two)) is (one != two)
                assert (BytesMut(one) < other(two)) is (one < two)
                assert (BytesMut(one) >= other(two)) is (one >= two)
        assert BytesMut(b"a") != "a"
        buffer = BytesMut(TEXT)
        assert buffer == buffer

    def test_is_unhashable(self):
        with pytest.raises(TypeError):
            hash(BytesMut())

    def test_iterates_as_a_bytearray_does(self):
        buffer, model = BytesMut(TEXT), bytearray(TEXT)
        assert list(buffer) == list(model)
        ours, theirs = iter(buffer), iter(model)
        assert next(ours) == next(theirs)
        buffer.truncate(2)
        del model[2:]
        assert list(ours) == list(theirs)

    def test_shows_its_bytes(self):
        assert repr(BytesMut(b"a\0")) == "BytesMut(b'a\\x00')"

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda buffer: pickle.loads(pickle.dumps(buffer))])
    def test_copies_and_pickles(self, again):
        buffer = filled(100, TEXT)
        made = again(buffer)
        assert (type(made), made) == (BytesMut, TEXT)
        made[0] = 0
        assert buffer == TEXT

    def test_has_weak_references(self):
        buffer = BytesMut()
        ended = weakref.ref(buffer)
        assert ended() is buffer
        del buffer
        gc.collect()
        assert ended() is None

    def test_its_parts_cannot_be_made_or_kept_apart(self):
        for made in (BytesMut(5).spare().obj, BytesMut().writer()):
            with pytest.raises(TypeError):
                type(made)()
            with pytest.raises(TypeError):
                copy.copy(made)
        with pytest.raises(TypeError):
            BytesMut.__base__()


class TestGrowth:
    @pytest.mark.parametrize("data", [b"", TEXT, bytearray(TEXT), Bytes(TEXT), memoryview(TEXT), BytesMut(TEXT)])
    def test_bytes_are_appended(self, data):
        buffer, model = BytesMut(b"<"), bytearray(b"<")
        for call in (buffer.extend, buffer.put):
            call(data)
            model.extend(data)
        same = buffer
        buffer += data
        model += data
        assert buffer is same
        assert buffer == model

    def test_integers_are_appended(self):
        buffer = BytesMut(b"<")
        buffer.extend([1, 2, 3])
        buffer.extend(range(4, 6))
        buffer.append(6)
        assert buffer == b"<\1\2\3\4\5\6"

    @pytest.mark.parametrize("data", ["text", None, 5, 1.5])
    def test_what_is_not_bytes_is_refused(self, data):
        buffer = BytesMut(TEXT)
        for call in (buffer.extend, buffer.put, buffer.__iadd__):
            with pytest.raises(TypeError):
                call(data)
        with pytest.raises(TypeError):
            buffer.put([1])
        with pytest.raises(TypeError):
            buffer += [1]
        with pytest.raises(ValueError):
            buffer.extend([1, 256])
        for byte in (256, -1):
            with pytest.raises(ValueError):
                buffer.append(byte)
        assert buffer == TEXT

    def test_from_itself(self):
        buffer = BytesMut(TEXT)
        buffer.extend(buffer)
        buffer += buffer
        buffer.put(buffer)
        assert buffer == TEXT * 8
        buffer = BytesMut(TEXT)
        with pytest.raises(BufferError):
            buffer.extend(memoryview(buffer))
        buffer.reserve(100)
        buffer.extend(memoryview(buffer)[2:5])
        assert buffer == TEXT + TEXT[2:5]

    def test_extend_from_within(self):
        for start in (0, 3, -4, 50):
            for stop in (None, 0, 7, -1, 50):
                buffer = BytesMut(TEXT)
                buffer.extend_from_within(start, stop)
                assert buffer == TEXT + TEXT[start:stop]
        buffer = BytesMut(TEXT)
        buffer.extend_from_within()
        assert buffer == TEXT * 2

    def test_resize(self):
        buffer = BytesMut(TEXT)
        buffer.resize(5)
        assert (buffer, buffer.capacity) == (TEXT[:5], 12)
        buffer.resize(8)
        assert buffer == TEXT[:5] + bytes(3)
        buffer.resize(20, 255)
        assert buffer == TEXT[:5] + bytes(3) + b"\xff" * 12
        with pytest.raises(ValueError):
            buffer.resize(30, 256)
        with pytest.raises(MemoryError):
            buffer.resize(sys.maxsize)
        assert len(buffer) == 20

    def test_truncate_and_clear_keep_the_capacity(self):
        buffer = filled(20, TEXT)
        buffer.truncate(100)
        assert buffer == TEXT
        buffer.truncate(5)
        assert (buffer, buffer.capacity) == (TEXT[:5], 20)
        buffer.clear()
        assert (buffer, buffer.capacity) == (b"", 20)

    def test_put_bytes(self):
        buffer = BytesMut()
        buffer.put_bytes(7, 5)
        buffer.put_bytes(8, 0)
        assert buffer == b"\7" * 5
        for value in (256, -1):
            with pytest.raises(ValueError):
                buffer.put_bytes(value, 1)

    def test_advance_beyond_the_end_is_refused(self):
        buffer = BytesMut(TEXT)
        with pytest.raises(NotEnoughBytes) as caught:
            buffer.advance(13)
        assert (caught.value.requested, caught.value.available) == (13, 12)
        assert buffer == TEXT

    def test_appending_costs_the_same_however_long_it_is(self):
        buffer = BytesMut()
        capacities = set()
        for n in range(100_000):
            buffer.append(n & 255)
            capacities.add(buffer.capacity)
        assert len(buffer) == 100_000
        assert len(capacities) < 20
