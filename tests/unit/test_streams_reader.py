"""StreamReader: each read, its errors, its limit, back-pressure, cancellation; what comes is fed by hand."""

import asyncio

import pytest

from ferrule import Bytes, BytesMut
from ferrule.aio.streams import StreamReader
from tests.support.driver import HandLoop, Stepper, complete, run, turns
from tests.support.fake_transport import FakeTransport, connect
from tests.support.race import outcome


class Unpausable(FakeTransport):
    """A transport that cannot stop reading."""

    def pause_reading(self):
        self.reading.append("refused")
        raise NotImplementedError


def reader_of(*parts, eof=False, limit=65536):
    """A reader to which the parts have come."""
    reader = StreamReader(limit, HandLoop())
    for part in parts:
        reader.feed_data(part)
    if eof:
        reader.feed_eof()
    return reader


def waiting(reader, call):
    """A read that waits."""
    stepper = Stepper(call(reader))
    assert not stepper.step()
    assert stepper.suspended
    return stepper


READS = {
    "read": lambda reader: reader.read(10),
    "read all": lambda reader: reader.read(),
    "readexactly": lambda reader: reader.readexactly(5),
    "readline": lambda reader: reader.readline(),
    "readuntil": lambda reader: reader.readuntil(b"--"),
    "readuntil one of": lambda reader: reader.readuntil((b"--", b"\r\n")),
    "next line": lambda reader: anext(reader),
}


@pytest.fixture(params=READS)
def call(request):
    """Each kind of read."""
    return READS[request.param]


# --- what a read gives ---


def test_every_read_gives_bytes_of_ferrule(call):
    assert type(complete(call(reader_of(b"abcd\r\n--\n", eof=True)))) is Bytes


def test_what_was_read_does_not_change_when_more_comes():
    reader = reader_of(b"first")
    first = complete(reader.read(5))
    for n in range(200):
        reader.feed_data(bytes([n]) * 997)
        complete(reader.read(1000))
    assert first == b"first"


def test_what_was_read_is_not_copied():
    reader = reader_of(b"onetwothree" * 100)
    whole = complete(reader.read(600))
    rest = complete(reader.read(500))
    assert whole.retained >= 1100
    assert rest.retained == whole.retained


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, Bytes, BytesMut])
def test_every_kind_of_buffer_is_fed(kind):
    reader = reader_of(kind(b"abc"))
    assert complete(reader.read(10)) == b"abc"


def test_what_is_fed_is_copied():
    data = bytearray(b"abc")
    reader = reader_of(data)
    data[:] = b"xyz"
    assert complete(reader.read(10)) == b"abc"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 1000])
def test_read_gives_what_there_is_up_to_n(n):
    assert complete(reader_of(b"abc").read(n)) == b"abc"[:n]


def test_read_of_nothing_does_not_wait():
    assert complete(reader_of().read(0)) == b""


def test_read_waits_for_the_first_byte():
    reader = reader_of()
    read = waiting(reader, READS["read"])
    reader.feed_data(b"a")
    assert read.step()
    assert read.result() == b"a"


def test_nothing_fed_wakes_nobody():
    reader = reader_of()
    read = waiting(reader, READS["read"])
    reader.feed_data(b"")
    assert not read.future.done()
    read.close()


def test_read_is_empty_at_the_end():
    reader = reader_of(b"ab", eof=True)
    assert [complete(reader.read(5)) for _ in range(3)] == [b"ab", b"", b""]


@pytest.mark.parametrize("n", [-1, -5])
def test_read_of_all_waits_for_the_end(n):
    reader = reader_of(b"ab", limit=1)
    read = Stepper(reader.read(n))
    read.step()
    for part in (b"c", b"d" * 10_000):
        reader.feed_data(part)
        assert not read.future.done() or not read.step()
    reader.feed_eof()
    assert read.step()
    assert read.result() == b"abc" + b"d" * 10_000


def test_readexactly_waits_for_all_of_it():
    reader = reader_of(b"ab")
    read = waiting(reader, READS["readexactly"])
    reader.feed_data(b"cdef")
    assert read.step()
    assert read.result() == b"abcde"
    assert complete(reader.read(5)) == b"f"


def test_readexactly_of_nothing_does_not_wait():
    assert complete(reader_of().readexactly(0)) == b""


def test_readexactly_refuses_a_negative_size():
    with pytest.raises(ValueError, match="less than zero"):
        complete(reader_of(b"ab").readexactly(-1))


@pytest.mark.parametrize("n", [3, 2**40])
def test_readexactly_of_too_much_says_what_there_was(n):
    reader = reader_of(b"ab", eof=True)
    with pytest.raises(asyncio.IncompleteReadError) as error:
        complete(reader.readexactly(n))
    assert (error.value.partial, error.value.expected) == (b"ab", n)
    assert type(error.value.partial) is Bytes
    assert reader.at_eof()


def test_readexactly_is_not_bounded_by_the_limit():
    assert complete(reader_of(b"abcdef", limit=1).readexactly(6)) == b"abcdef"


def test_lines_keep_their_end():
    reader = reader_of(b"one\n\ntwo", eof=True)
    assert [complete(reader.readline()) for _ in range(4)] == [b"one\n", b"\n", b"two", b""]


def test_a_loop_over_a_reader_gives_its_lines():
    async def lines():
        return [line async for line in reader_of(b"one\n\ntwo", eof=True)]

    assert complete(lines()) == [b"one\n", b"\n", b"two"]


@pytest.mark.parametrize("at", range(1, 7))
def test_a_separator_that_comes_in_two_parts_is_found(at):
    reader = reader_of(b"ab<--->c"[:at])
    read = waiting(reader, lambda r: r.readuntil(b"<--->"))
    reader.feed_data(b"ab<--->c"[at:])
    assert read.step()
    assert read.result() == b"ab<--->"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, Bytes])
def test_a_separator_may_be_any_buffer(kind):
    assert complete(reader_of(b"abcd").readuntil(kind(b"bc"))) == b"abc"
    assert complete(reader_of(b"abcd").readuntil((kind(b"bc"), kind(b"d")))) == b"abc"


@pytest.mark.parametrize(
    ("data", "separators", "expected"),
    [
        (b"line 1\nline 2\r", (b"\r", b"\n"), b"line 1\n"),
        (b"ABCDEFG", (b"DEF", b"BCDE"), b"ABCDE"),  # the one that ends first, though it begins later
        (b"ab\r\n", (b"\r\n", b"\n"), b"ab\r\n"),
        (b"ab\r\n", (b"\r", b"\r\n"), b"ab\r"),
        (b"xaab", (b"b", b"aab", b"ab"), b"xaab"),
        (b"one;", (b";",), b"one;"),
    ],
)
def test_of_several_separators_the_one_that_ends_first_is_taken(data, separators, expected):
    assert complete(reader_of(data).readuntil(separators)) == expected


def test_a_short_separator_is_found_while_there_is_not_room_for_the_long_one():
    reader = reader_of(b"data")
    read = waiting(reader, lambda r: r.readuntil((b"A", b"long separator")))
    reader.feed_data(b"ZAaa")
    assert read.step()
    assert read.result() == b"dataZA"


@pytest.mark.parametrize("separator", [b"", (), (b"",), (b"a", b""), bytearray()])
def test_an_empty_separator_is_refused(separator):
    with pytest.raises(ValueError, match="Separator should"):
        complete(reader_of(b"abc").readuntil(separator))


@pytest.mark.parametrize("separator", ["\n", ("\n",), 10, None])
def test_a_separator_that_is_no_buffer_is_refused(separator):
    with pytest.raises(TypeError):
        complete(reader_of(b"abc\n").readuntil(separator))


@pytest.mark.parametrize("separator", [b"--", (b"--", b"\n")])
def test_an_end_before_the_separator_gives_all_there_was(separator):
    reader = reader_of(b"abc-", eof=True)
    with pytest.raises(asyncio.IncompleteReadError) as error:
        complete(reader.readuntil(separator))
    assert (error.value.partial, error.value.expected) == (b"abc-", None)
    assert reader.at_eof()


# --- the limit ---


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(limit):
    with pytest.raises(ValueError, match="imit"):
        StreamReader(limit, HandLoop())


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", (b"\r\n", b"==")])
def test_a_chunk_of_just_the_limit_is_given(separator):
    one = separator[0] if isinstance(separator, tuple) else separator
    assert complete(reader_of(b"12345" + one, limit=5).readuntil(separator)) == b"12345" + one


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", (b"\r\n", b"==")])
def test_a_chunk_over_the_limit_is_refused_and_left(separator):
    one = separator[0] if isinstance(separator, tuple) else separator
    reader = reader_of(b"123456" + one, limit=5)
    for _ in range(2):
        with pytest.raises(asyncio.LimitOverrunError, match="is found") as error:
            complete(reader.readuntil(separator))
        assert error.value.consumed == 6
    assert complete(reader.readexactly(6)) == b"123456"


@pytest.mark.parametrize(("size", "refused"), [(4, False), (5, False), (6, False), (7, True)])
def test_a_separator_that_has_not_come_within_the_limit_is_refused(size, refused):
    """Of two bytes, the first may stand at the end of what has come."""
    reader = reader_of(b"x" * size, limit=5)
    if refused:
        with pytest.raises(asyncio.LimitOverrunError, match="not found") as error:
            complete(reader.readuntil(b"--"))
        assert error.value.consumed == size - 1
        assert complete(reader.readexactly(size)) == b"x" * size
    else:
        waiting(reader, lambda r: r.readuntil(b"--")).close()


def test_readline_drops_a_line_over_the_limit():
    reader = reader_of(b"123456\nnext\n", limit=5)
    with pytest.raises(ValueError, match="longer than limit"):
        complete(reader.readline())
    assert complete(reader.readline()) == b"next\n"


def test_readline_drops_what_has_come_of_a_line_without_end():
    reader = reader_of(b"123456", limit=5)
    with pytest.raises(ValueError, match="exceed"):
        complete(reader.readline())
    reader.feed_data(b"7\n")
    assert complete(reader.readline()) == b"7\n"


# --- the end, and errors ---


def test_at_eof_is_true_once_all_has_been_read():
    reader = reader_of(b"ab")
    seen = [reader.at_eof()]
    reader.feed_eof()
    seen.append(reader.at_eof())
    complete(reader.read(2))
    assert [*seen, reader.at_eof()] == [False, False, True]


def test_nothing_is_fed_after_the_end():
    with pytest.raises((AssertionError, RuntimeError), match="feed_data after feed_eof"):
        reader_of(eof=True).feed_data(b"a")


def test_an_error_ends_every_read(call):
    reader = reader_of(b"abcd\r\n--\n")
    reader.set_exception(error := OSError("gone"))
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            complete(call(reader))
    assert reader.exception() is error


def test_an_error_reaches_the_one_that_waits(call):
    reader = reader_of()
    read = waiting(reader, call)
    reader.set_exception(OSError("gone"))
    assert read.step()
    with pytest.raises(OSError, match="gone"):
        read.result()


def test_there_is_no_error_at_first():
    assert reader_of().exception() is None


def test_the_end_reaches_the_one_that_waits(call):
    reader = reader_of()
    read = waiting(reader, call)
    reader.feed_eof()
    assert read.step()
    ended = outcome(read.result, asyncio.IncompleteReadError, StopAsyncIteration)()
    assert ended in (b"", asyncio.IncompleteReadError, StopAsyncIteration)


@pytest.mark.parametrize("other", READS)
def test_two_cannot_wait_at_once(call, other):
    reader = reader_of()
    first = waiting(reader, call)
    with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
        complete(READS[other](reader))
    assert not first.future.done()
    first.close()


def test_a_read_that_ends_leaves_the_one_that_waits_now():
    reader = reader_of()
    first = waiting(reader, lambda reader: reader.read(1))
    reader.feed_data(b"a")
    second = waiting(reader, lambda reader: reader.readexactly(3))  # before the first has run
    assert first.step()
    reader.feed_data(b"bc")
    assert not second.step()
    reader.feed_data(b"d")
    assert second.step()
    assert first.result() + second.result() == b"abcd"


# --- cancellation ---


def test_what_a_cancelled_read_lacked_keeps_nobody_waiting():
    reader = reader_of()
    read = waiting(reader, lambda reader: reader.readexactly(100_000))
    read.cancel()
    assert read.step()
    read = waiting(reader, lambda reader: reader.read(10))
    reader.feed_data(b"little")
    assert read.step()
    assert read.result() == b"little"


def test_a_cancelled_read_has_taken_nothing(call):
    reader = reader_of(b"ab") if call is not READS["read"] else reader_of()
    read = waiting(reader, call)
    read.cancel()
    assert read.step()
    assert read.cancelled
    reader.feed_data(b"cd")
    reader.feed_eof()
    assert complete(reader.read()) in (b"abcd", b"cd")


def test_a_read_cancelled_after_its_bytes_came_leaves_them(call):
    reader = reader_of()
    read = waiting(reader, call)
    reader.feed_data(b"abcde\r\n--\n")
    read.cancel()
    assert read.step()
    assert read.cancelled
    assert complete(reader.readexactly(10)) == b"abcde\r\n--\n"


def test_an_error_after_a_cancellation_disturbs_nobody(call):
    reader = reader_of()
    read = waiting(reader, call)
    read.cancel()
    reader.set_exception(RuntimeError("late"))
    assert read.step()
    assert read.cancelled


def test_what_a_cancelled_readexactly_lacked_does_not_delay_the_next_read():
    reader = reader_of()
    read = waiting(reader, lambda r: r.readexactly(1000))
    read.cancel()
    read.step()
    read = waiting(reader, READS["read"])
    reader.feed_data(b"a")
    assert read.step()
    assert read.result() == b"a"


def test_a_read_of_all_under_a_timeout_loses_nothing():
    async def main():
        reader = StreamReader()
        reader.feed_data(b"a")
        task = asyncio.create_task(reader.read())
        await turns()
        reader.feed_data(b"b")
        await turns()
        task.cancel()
        await turns()
        return await reader.read(10)

    assert run(main()) == b"ab"


# --- back-pressure ---


def piped(limit=10, transport=None):
    reader = reader_of(limit=limit)
    reader.set_transport(transport := transport or FakeTransport())
    return reader, transport


def test_reading_stops_above_twice_the_limit():
    reader, transport = piped()
    reader.feed_data(b"x" * 20)
    assert transport.reading == []
    reader.feed_data(b"x")
    reader.feed_data(b"x")
    assert transport.reading == ["pause"]


def test_reading_goes_on_at_the_limit():
    reader, transport = piped()
    reader.feed_data(b"x" * 21)
    complete(reader.read(10))
    assert transport.reading == ["pause"]
    complete(reader.read(1))
    assert transport.reading == ["pause", "resume"]


@pytest.mark.parametrize(
    "call", [lambda r: r.read(30), lambda r: r.readexactly(29), lambda r: r.readuntil(b"\n"), lambda r: r.readline()]
)
def test_every_read_lets_reading_go_on(call):
    reader, transport = piped(limit=28)
    reader.feed_data(b"x" * 28 + b"\n" + b"y" * 28)
    assert transport.reading == ["pause"]
    complete(call(reader))
    assert transport.reading == ["pause", "resume"]


def test_a_read_for_more_than_may_wait_lets_reading_go_on():
    reader, transport = piped()
    reader.feed_data(b"x" * 25)
    read = waiting(reader, lambda r: r.readexactly(50))
    assert transport.reading == ["pause", "resume"]
    reader.feed_data(b"x" * 25)
    assert read.step()
    assert len(read.result()) == 50


def test_a_line_dropped_for_its_length_lets_reading_go_on():
    reader, transport = piped()
    reader.feed_data(b"x" * 25)
    with pytest.raises(ValueError):
        complete(reader.readline())
    assert transport.reading == ["pause", "resume"]


def test_a_transport_that_cannot_stop_is_asked_once():
    reader, transport = piped(transport=Unpausable())
    reader.feed_data(b"x" * 25)
    reader.feed_data(b"x" * 25)
    assert transport.reading == ["refused"]
    assert complete(reader.read(100)) == b"x" * 50


def test_a_transport_is_set_once():
    reader, _ = piped()
    with pytest.raises((AssertionError, RuntimeError), match="Transport already set"):
        reader.set_transport(FakeTransport())


# --- memory ---


def kept_by_idle_reader(body):
    """The memory that a reader keeps, after body(reader, transport) has read all; `_buffer` as in CPython's tests."""

    async def main():
        reader, writer, transport = await connect(limit=1 << 21)
        await body(reader, transport)
        kept = reader._buffer.capacity
        writer.close()
        await writer.wait_closed()
        return kept

    return run(main())


def test_an_idle_reader_keeps_little_after_large_reads():
    async def body(reader, transport):
        transport.deliver(bytes(1 << 20))
        assert len(await reader.read(1 << 20)) == 1 << 20

    assert kept_by_idle_reader(body) <= 4096


def test_an_idle_reader_keeps_little_after_a_large_line_in_small_reads():
    async def body(reader, transport):
        for _ in range(1000):
            transport.deliver(bytes(1000))
        transport.deliver(b"\n")
        assert len(await reader.readline()) == 1_000_001

    assert kept_by_idle_reader(body) <= 4096


def test_an_idle_reader_keeps_little_after_a_read_that_came_to_nothing():
    """As TLS does for each part of a record, and uvloop after a read that filled its room: no buffer_updated()."""

    async def body(reader, transport):
        transport.deliver(bytes(1 << 20))
        transport.protocol.get_buffer(-1)
        assert len(await reader.read(1 << 20)) == 1 << 20

    assert kept_by_idle_reader(body) <= 4096


# --- making one ---


def test_without_a_loop_it_takes_the_one_that_runs():
    async def main():
        reader = StreamReader()
        asyncio.get_running_loop().call_soon(reader.feed_data, b"abc")
        return await reader.read(3)

    assert run(main()) == b"abc"


def test_repr_says_what_there_is():
    reader, _ = piped(limit=10)
    reader.feed_data(b"abc" * 10)
    reader.feed_eof()
    for word in ("30 bytes", "eof", "limit=10", "transport=", "paused"):
        assert word in repr(reader)
