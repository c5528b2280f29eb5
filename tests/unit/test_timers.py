"""Timers: when their messages come, what a late one brings, what they are as receivers, and what waits for them."""

import threading
import time

import pytest

import ferrule
from ferrule import Disconnected, Empty, Receiver, Timeout, after, aio, at, bounded, never, select, tick, try_select
from tests.support.channels import waiting
from tests.support.driver import complete
from tests.support.race import HANG, eventually, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}
TIMERS = [lambda: after(HANG), lambda: at(time.monotonic() + HANG), lambda: tick(HANG), never]


class TestAfter:
    def test_the_message_is_its_instant_and_comes_then(self):
        begin = time.monotonic()
        timer = after(0.02)
        made = time.monotonic()
        assert len(timer) == 0
        message = timer.recv(timeout=HANG)
        assert begin + 0.02 <= message <= made + 0.0201
        assert time.monotonic() >= message

    def test_it_comes_once_and_never_disconnects(self):
        timer = after(0)
        assert timer.is_full
        assert len(timer) == 1
        timer.recv()
        assert len(timer) == 0
        assert timer.try_recv(None) is None
        with pytest.raises(Empty):
            timer.try_recv()
        with pytest.raises(Timeout):
            timer.recv(timeout=0.01)
        assert not timer.is_disconnected

    @pytest.mark.parametrize("seconds", [float("inf"), 10**12, 9e18])
    def test_a_long_one_never_comes(self, seconds):
        assert after(seconds).try_recv(None) is None

    @pytest.mark.parametrize(("seconds", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
    def test_what_is_no_time_is_refused(self, seconds, error):
        for timer in (after, tick, aio.after, aio.tick):
            with pytest.raises(error, match=r"seconds|period"):
                timer(seconds)

    def test_none_is_no_time(self):
        for timer in (after, at, tick):
            with pytest.raises(TypeError, match="int or float"):
                timer(None)


class TestAt:
    def test_the_message_is_what_was_given(self):
        instant = time.monotonic() + 0.02
        timer = at(instant)
        assert timer.try_recv(None) is None
        assert timer.recv(timeout=HANG) == instant
        assert time.monotonic() >= instant

    @pytest.mark.parametrize("instant", [-1, 0, -1e300, float("-inf"), True])
    def test_an_instant_that_has_passed_is_there(self, instant):
        message = at(instant).try_recv()
        assert message == instant
        assert type(message) is float

    def test_one_that_is_far_away_never_comes(self):
        for instant in (float("inf"), 10**400):
            assert at(instant).try_recv(None) is None

    def test_what_is_no_instant_is_refused(self):
        with pytest.raises(ValueError):
            at(float("nan"))
        with pytest.raises(TypeError):
            at("now")


class TestTick:
    PERIOD = 0.05

    def test_the_first_comes_after_a_period_and_a_late_one_once(self):
        begin = time.monotonic()
        timer = tick(self.PERIOD)
        first = timer.recv(timeout=HANG)
        assert first >= begin + self.PERIOD
        time.sleep(6 * self.PERIOD)
        before = time.monotonic()
        late = timer.try_recv()
        assert late == pytest.approx(first + self.PERIOD, abs=1e-6) or late < before - self.PERIOD
        assert timer.try_recv(None) is None or time.monotonic() > before + self.PERIOD
        following = timer.recv(timeout=HANG)
        assert following >= before + self.PERIOD

    def test_those_that_are_received_in_time_do_not_drift(self):
        for _ in range(20):
            timer = tick(self.PERIOD)
            messages, late = [], []
            for _ in range(4):
                messages.append(timer.recv(timeout=HANG))
                late.append(time.monotonic() - messages[-1])
            if max(late) < self.PERIOD:
                assert [m - messages[0] for m in messages] == pytest.approx([n * self.PERIOD for n in range(4)])
                return
        pytest.skip("this machine is too busy: no four messages were received in time")

    def test_a_period_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="period"):
            tick(0)

    def test_it_goes_on_for_ever(self):
        timer = tick(0.001)
        messages = [timer.recv(timeout=HANG) for _ in range(20)]
        assert messages == sorted(set(messages))
        assert timer.stats()["received"] == timer.stats()["sent"] == 20


@pytest.mark.parametrize("make", TIMERS)
class TestAsReceivers:
    def test_what_they_are(self, make):
        timer = make()
        assert type(timer) is Receiver
        assert (timer.capacity, timer.sender_count, timer.receiver_count) == (1, 0, 1)
        assert timer.is_empty
        assert not timer.is_full
        assert not timer.is_disconnected
        assert repr(timer).startswith("<ferrule.Receiver open, 0 of 1 items")
        with pytest.raises(Disconnected):
            timer.new_sender()
        assert timer.drain() == []
        assert list(timer.try_iter()) == []
        assert timer.clone().same_channel(timer)
        assert timer.receiver_count == 1  # the clone is gone

    def test_their_end(self, make):
        timer = make()
        thread = spawn(lambda: list(timer))
        eventually(lambda: waiting(timer)["receivers"] == 1)
        timer.close_channel()
        assert thread.result() == []
        with pytest.raises(Disconnected):
            timer.recv()
        assert timer.is_disconnected
        timer = make()
        timer.close()
        with pytest.raises(Disconnected):
            timer.recv()
        assert select(timer).closed

    def test_a_wait_ends_in_time(self, make):
        timer = make()
        with pytest.raises(Timeout):
            timer.recv(timeout=0.005)
        with pytest.raises(Timeout):
            timer.recv_many(3, timeout=0.005)
        with pytest.raises(Timeout):
            select(timer, timeout=0.005)
        assert waiting(timer) == QUIET

    def test_no_thread_runs_for_them(self, make):
        before = threading.active_count()
        timers = [make() for _ in range(5000)]
        assert threading.active_count() == before
        assert try_select(*timers) is None


def test_what_is_ripe_is_received_by_every_call():
    for receive in (
        Receiver.recv,
        Receiver.try_recv,
        next,
        lambda timer: timer.recv_many(5)[0],
        lambda timer: timer.drain()[0],
        lambda timer: next(timer.try_iter()),
        lambda timer: select(timer).value,
        lambda timer: try_select(timer).value,
        lambda timer: complete(timer.aio.recv()),
        lambda timer: complete(timer.aio.recv_many(2))[0],
        lambda timer: complete(timer.aio.__anext__()),
        lambda timer: complete(aio.select(timer)).value,
    ):
        timer = at(0.5)
        assert receive(timer) == 0.5
        assert len(timer) == 0


def test_what_is_ripe_beats_a_deadline_that_has_passed():
    assert at(0).recv(timeout=0) == 0
    assert select(at(0), timeout=0).value == 0
    timer = after(0.005)
    assert isinstance(timer.recv(timeout=0.005), float)  # both at once


def test_a_closed_timer_brings_nothing_more():
    timer = at(0)
    timer.close_channel()
    assert timer.drain() == []
    assert select(timer).closed


def test_of_several_that_wait_one_receives():
    timer = after(0.02)
    threads = [spawn(lambda: timer.recv(timeout=0.2)) for _ in range(3)]
    for thread in threads:
        thread.join()
    assert sorted(type(thread.error).__name__ for thread in threads) == ["NoneType", "Timeout", "Timeout"]


def test_a_select_takes_what_comes_first():
    _, rx = bounded(1)
    assert select(rx, after(HANG), after(0.01), never(), timeout=HANG).index == 2
    assert select(rx, after(0.01), after(0.03), timeout=HANG).index == 1
    timer = tick(0.005)
    assert [select(rx, timer, timeout=HANG).index for _ in range(5)] == [1] * 5
    assert waiting(rx) == waiting(timer) == QUIET


def test_an_item_that_comes_before_the_timer():
    tx, rx = bounded(0)
    timer = after(HANG)
    thread = spawn(lambda: select(timer, rx, timeout=2 * HANG))
    eventually(lambda: waiting(timer)["receivers"] == 1)
    tx.send("item", timeout=HANG)
    assert thread.result() == (1, "item", False)
    assert waiting(timer) == QUIET


def test_who_lost_the_message_waits_on():
    """Two wait for one message of a timer that has only one, in a select with a channel each."""
    timer = after(0.01)
    ends = [bounded(1) for _ in range(2)]
    threads = [spawn(lambda rx=rx: select(timer, rx, timeout=HANG)) for _, rx in ends]
    eventually(lambda: sum(not thread.alive for thread in threads) == 1)
    for tx, _ in ends:
        tx.send("item")
    assert sorted(thread.result().index for thread in threads) == [0, 1]


def test_the_async_functions_give_async_faces():
    for timer in (aio.after(0), aio.at(0), aio.tick(1), aio.never()):
        assert type(timer) is aio.Receiver
        assert type(timer.sync) is ferrule.Receiver
