"""Owners whose end calls back, raises, or takes the bytes with it into the garbage; nests; what a collection does."""

import array
import gc
import sys
import weakref

import pytest

from ferrule import Bytes, BytesMut, Reader
from tests.support.hostile import unraisable
from tests.support.leaks import in_subprocess
from tests.support.race import spawn

TEXT = b"hello, world"
written_in_python = pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ is written in Python since 3.12")


class Owner(bytearray):
    """Memory whose end does what the test says."""

    def __del__(self):
        self.end(self)


def owner(end, data=TEXT):
    made = Owner(data)
    made.end = end
    return made


ENDS = {
    "del": lambda parts: parts.clear(),
    "replaced": lambda parts: parts.__setitem__(slice(None), [b""]),
    "in another thread": lambda parts: spawn(parts.clear).result(),
    "close": lambda parts: parts.pop().close(),
}


def held_by(end, end_of_owner):
    """A list with the last handle of an owner: a slice, or a Reader that can be closed."""
    part = Bytes.from_owner(owner(end_of_owner))[2:]
    return [Reader(part)] if end == "close" else [part]


@pytest.mark.parametrize("end", ENDS)
class TestOwners:
    def test_one_that_is_shared_again_at_its_end(self, end):
        again, died = [], []

        def live_on(dead):
            died.append(dead)
            again.append(Bytes.from_owner(dead)[1:3])

        parts = held_by(end, live_on)
        ENDS[end](parts)
        gc.collect()
        assert again == [TEXT[1:3]]
        (dead,) = died
        with pytest.raises(BufferError):
            dead.append(1)
        again.clear()
        dead.append(1)

    def test_one_that_raises_is_reported(self, end):
        def fail(dead):
            raise ZeroDivisionError

        parts = held_by(end, fail)
        with unraisable() as errors:
            ENDS[end](parts)
            gc.collect()
        assert [type(error) for error in errors] == [ZeroDivisionError]

    def test_one_that_uses_what_is_being_ended(self, end):
        seen = []

        def use(dead):
            seen.append(len(parts))
            dead.append(1)  # no export is left
            parts[:] = [Bytes.from_owner(bytearray(100))[n:] for n in range(10)]
            gc.collect()

        parts = held_by(end, use)
        ENDS[end](parts)
        gc.collect()
        assert len(seen) == 1


def test_a_reader_is_closed_before_its_buffers_end():
    seen = []

    def use(dead):
        for call in (reader.get_u8, reader.read, reader.chunks, lambda: reader.seek(0), reader.try_get_u16):
            try:
                seen.append(call())
            except ValueError:
                seen.append("closed")
        reader.close()

    reader = Reader(TEXT, owner(use))
    reader.get_u8()
    reader.close()
    gc.collect()
    assert seen == ["closed"] * 5


def test_a_weak_reference_that_uses_the_last_slice_at_its_owners_end():
    parts, seen = [], []

    def ended(_):
        seen.append([bytes(part) for part in parts])
        parts.append(Bytes(TEXT))

    one = Owner(TEXT)
    one.end = lambda dead: None
    watched = weakref.ref(one, ended)
    parts.append(Bytes.from_owner(one))
    del one
    parts.pop()
    gc.collect()
    assert seen == [[]]
    assert watched() is None


def test_the_owner_of_a_buffer_that_is_overwritten_while_it_is_compared():
    class Other:
        def __eq__(self, other):
            parts.clear()
            gc.collect()
            return "its"

        def __radd__(self, other):
            parts.clear()
            return "its"

    died = []
    for use in (lambda part: part == Other(), lambda part: part + Other()):
        parts = [Bytes.from_owner(owner(died.append))]
        assert use(parts[0]) == "its"
    gc.collect()
    assert len(died) == 2


@written_in_python
class TestRelease:
    """Exporters written in Python, whose release is called where the last handle goes."""

    class Exporter:
        def __init__(self, release=None):
            self.release, self.released = release or self.nothing, 0

        step = 1

        def __buffer__(self, flags):
            return memoryview(bytearray(TEXT))[:: self.step]

        def __release_buffer__(self, view):
            self.released = getattr(self, "released", 0) + 1  # the collector may have taken all attributes
            self.__dict__.get("release", self.nothing)(self)

        @staticmethod
        def nothing(exporter):
            pass

    def test_it_is_released_once_when_the_last_slice_has_gone(self):
        exporter = self.Exporter()
        parts = [Bytes.from_owner(exporter)]
        parts += [parts[0][n:] for n in range(5)] + [Reader(parts[0])]
        parts[-1].take(3)
        while parts:
            assert exporter.released == 0
            parts.pop(len(parts) // 2)
        gc.collect()
        assert exporter.released == 1

    def test_one_that_is_refused_is_released_once(self):
        exporter = self.Exporter()
        exporter.step = 2
        for share in (Bytes.from_owner, Reader):
            with pytest.raises(BufferError, match="contiguous"):
                share(exporter)
        assert exporter.released == 2

    def test_a_release_that_shares_it_again(self):
        again = []

        def share(exporter):
            if exporter.released < 50:
                again[:] = [Bytes.from_owner(exporter)[1:]]

        exporter = self.Exporter(share)
        Bytes.from_owner(exporter)
        for n in range(1, 50):
            assert exporter.released == n
            again.clear()
        assert exporter.released == 50

    @pytest.mark.parametrize("more", [0, 2, 8, 32])
    def test_a_reader_in_the_garbage_can_be_used_by_its_exporters_release(self, more):
        """The collector may clear the reader first; its memory must be there as long as anybody can read."""
        seen, released = [], []

        class Exporter:  # small and large, without a dict: it decides what the collector clears first
            __slots__ = ("reader", *(f"slot_{n}" for n in range(more)))

            def __buffer__(self, flags):
                return memoryview(bytearray(TEXT))

            def __release_buffer__(self, view):
                reader = getattr(self, "reader", None)
                if reader is not None:
                    seen.append((reader.get_u8(), reader.get_bytes(3), reader.chunks(), reader.read()))
                released.append(None)

        for n in range(50):
            exporter = Exporter()
            exporter.reader = Reader(exporter, exporter)
            del exporter
            gc.collect()
            assert len(released) == 2 * n + 2
        assert all(part == (TEXT[0], TEXT[1:4], [TEXT[4:], TEXT], TEXT[4:] + TEXT) for part in seen)

    def test_a_release_with_an_exception_on_its_way(self):
        exporter = self.Exporter(lambda exporter: gc.collect())
        with pytest.raises(ValueError, match="negative"):
            Reader(exporter).get_bytes(-1)
        with pytest.raises(ValueError, match="subsection"):
            Bytes(b"abc").index(exporter)
        gc.collect()
        assert exporter.released == 2


class TestCollector:
    @pytest.mark.parametrize("kind", [Owner, array.array])
    @pytest.mark.parametrize(
        "hold",
        [
            lambda one: Bytes.from_owner(one),
            lambda one: Bytes.from_owner(one)[2:4],
            lambda one: Bytes.from_owner(memoryview(one)[2:9])[1:],
            lambda one: [Bytes.from_owner(one)[n:] for n in range(4)],
            lambda one: Reader(one),
            lambda one: Reader(b"other", one).take(7),
            lambda one: memoryview(Bytes.from_owner(one)),
            lambda one: iter(Bytes.from_owner(one)),
            lambda one: Bytes.from_owner(one).find,
            lambda one: Reader(one).chunks(),
        ],
    )
    def test_a_cycle_is_collected(self, kind, hold):
        class Keeps(kind):
            end = staticmethod(lambda dead: None)

        one = Keeps(TEXT) if kind is Owner else Keeps("B", TEXT)
        one.held = hold(one)
        ended = weakref.ref(one)
        del one
        gc.collect()
        assert ended() is None

    def test_what_is_reached_from_outside_is_not(self):
        class Keeps(bytearray):
            pass

        one = Keeps(TEXT)
        one.held = [Bytes.from_owner(one)[n:] for n in range(5)]
        part = one.held[3]
        ended = weakref.ref(one)
        del one
        for _ in range(3):
            gc.collect()
        assert part == TEXT[3:]
        assert ended().held[4] == TEXT[4:]
        del part
        gc.collect()
        assert ended() is None

    def test_buffers_are_nothing_to_it(self):
        for thing in (BytesMut(TEXT), BytesMut(TEXT).get_bytes(3), BytesMut(TEXT).spare().obj):
            assert not gc.is_tracked(thing)
        for owner in (Bytes(TEXT), bytearray(TEXT)):
            assert not gc.is_tracked(Reader(owner).get_bytes(3))
        owner = type("Owner", (bytearray,), {})(TEXT)  # has attributes, so may be part of a cycle
        assert gc.is_tracked(Reader(owner).get_bytes(3))


@pytest.mark.parametrize("wrap", ["Bytes.from_owner(memoryview(inner))[:3]", "Bytes.from_owner(array(inner))"])
def test_owners_of_owners_a_hundred_thousand_deep(wrap):
    in_subprocess(f"""
        import gc
        from array import array as make_array
        from ferrule import Bytes

        class Last(bytearray):
            def __del__(self):
                died.append(1)

        class Keeps(make_array):
            pass

        def array(inner):
            made = Keeps("B", b"abc")
            made.inner = inner
            return made

        died = []
        inner = Last(b"abc")
        gc.disable()
        for _ in range(100_000):
            inner = {wrap}
        assert not died
        del inner
        gc.collect()
        assert died == [1]
        """)


class TestExit:
    """The interpreter ends with slices, buffers, views and readers in any state."""

    def test_with_everything_in_globals(self):
        in_subprocess("""
            import mmap, sys
            from array import array
            from ferrule import Bytes, BytesMut, Reader

            class Owner(bytearray):
                def __del__(self):
                    self.append(1)      # BufferError, and a message, if the export were still there

            whole = Bytes.from_owner(Owner(b"hello, world"))
            parts = [whole[n:] for n in range(10)]
            mapped = Bytes.from_owner(mmap.mmap(-1, 4096))[5:]
            numbers = Bytes.from_owner(array("d", [1.0, 2.0]))
            buffer = BytesMut(b"hello, world")
            pinned, spare = memoryview(buffer), BytesMut(100).spare()
            reader, file = Reader(whole, numbers, Owner(b"x")), BytesMut().writer()
            head = reader.get_bytes(3)
            cycle = Owner(b"cycle")
            cycle.parts = Bytes.from_owner(cycle)[1:], Reader(cycle)
            sys.modules["kept"] = parts
        """)

    def test_with_daemon_threads_that_go_on(self):
        in_subprocess("""
            import threading, time
            from ferrule import Bytes, BytesMut, NotEnoughBytes, Reader

            buffer = BytesMut()
            whole = Bytes.from_owner(bytearray(b"hello, world" * 100))
            started = threading.Barrier(5)

            def go_on(n):
                started.wait()
                while True:
                    buffer.put(whole[n : 10 * n])
                    part = buffer.split().freeze()
                    try:
                        Reader(part, whole).get_until(b"world")
                    except NotEnoughBytes:
                        pass

            for n in range(4):
                threading.Thread(target=go_on, args=(n,), daemon=True).start()
            started.wait()
            time.sleep(0.05)
        """)

    def test_with_a_slice_that_is_used_by_the_last_destructor(self):
        output = in_subprocess("""
            from ferrule import Bytes, BytesMut, Reader

            class Last:
                def __del__(self):
                    buffer = BytesMut(self.part)
                    buffer.put(self.reader.read())
                    print(buffer.freeze()[3:].tobytes().decode())

            last = Last()
            last.part, last.reader = Bytes.from_owner(bytearray(b"hello"))[1:], Reader(bytearray(b"world"))
            last.itself = last
        """).stdout
        assert output.strip() == "oworld"
