"""The kit's models: what they answer, who is claimed, in which order, who takes over from whom."""

import math
from typing import Any, NamedTuple

import pytest

from ferrule import Disconnected, Empty, Full, Timeout, WouldDeadlock
from tests.support.history import call
from tests.support.linearizability import check
from tests.support.models import Blocked, ChannelModel, GatesModel, MutexModel


class TestMutexModel:
    def test_a_hold_excludes_every_other(self):
        _, m = MutexModel().lock("T1", "g1")
        assert m.locked() == (True, m)
        assert m.try_lock("T2", "g2") == (False, m)
        assert m.lock_now("T2", "g2") == (Timeout, m)
        assert m.try_acquire() == (False, m)
        for waits in (lambda: m.lock("T2", "g2"), m.acquire):
            with pytest.raises(Blocked):
                waits()
        assert m.lock("T1", "g2") == (WouldDeadlock, m)

    def test_acquire_records_no_owner(self):
        taken, m = MutexModel().acquire()
        assert taken
        with pytest.raises(Blocked):
            m.lock(None, "g1")
        assert m.release() == (None, MutexModel())

    def test_only_the_guard_in_force_counts(self):
        _, m = MutexModel(1).lock("T1", "g1")
        assert m.get("g1") == (1, m)
        _, m = m.set("g1", 2)
        _, m = m.guard_release("g1")
        assert m == MutexModel(2)
        assert m.guard_release("g1") == m.release() == m.get("g1") == m.set("g1", 3) == (RuntimeError, m)

    def test_release_spends_the_guard(self):
        _, m = MutexModel().lock("T1", "g1")
        _, m = m.release()
        _, m = m.lock("T2", "g2")
        assert m.guard_release("g1") == (RuntimeError, m)

    def test_a_with_ends_its_own_hold_or_none(self):
        _, m = MutexModel().lock("T1", "g1")
        assert m.leave("T2", "g1") == (RuntimeError, m)
        assert m.leave("T1", "g1") == (None, MutexModel())
        _, m = MutexModel().lock("T2", "g2")
        assert m.leave("T1", "g1") == (None, m)


class Waiter(NamedTuple):
    name: str
    gates: tuple[int, ...] = (0,)


A, B, C = Waiter("a"), Waiter("b"), Waiter("c")
BOTH = Waiter("both", (0, 1))


def queue(*waiters, permits=(0, 0)):
    model = GatesModel.of(*permits)
    for waiter in waiters:
        model = model.links(waiter, first=False)
    return model


def test_a_permit_is_taken_where_there_is_one():
    claimed, model = GatesModel.of(0, 2).take((0, 1))
    assert (claimed, model) == ((), GatesModel.of(0, 1))
    assert GatesModel.of(0, 2).take((0,)) == (None, GatesModel.of(0, 2))


def test_release_gives_leave_to_the_first_and_the_permit_stays_till_it_is_taken():
    claimed, model = queue(A, B, C).release(0, 2)
    assert claimed == (A, B)
    assert (model.free, model.queues[0], model.waiting) == ((2, 0), (C,), {C})
    assert model.attempt(A) == ((), model.leaves(A).take((0,))[1])


def test_who_tries_in_vain_may_queue_before_all_others():
    _, model = queue(A, B).release(0)
    _, model = model.take((0,))
    claimed, model = model.attempt(A)
    assert claimed is None
    assert model.links(A, first=True).queues[0] == (A, B)


def test_what_is_handed_is_counted_nowhere_else():
    claimed, model = queue(A, B).hand(0)
    assert (claimed, model.free, model.handed) == ((A,), (0, 0), {A})
    assert model.leaves(A) == queue(B)
    assert GatesModel.of(1, 0).hand(0) == ((), GatesModel.of(1, 0))


def test_who_gives_up_passes_on_what_it_got():
    for how in ("release", "hand"):
        _, model = getattr(queue(A, B), how)(0)
        claimed, model = model.gives_up(A)
        assert (claimed, model.free, model.leave, model.handed) == ((B,), (1, 0), {B}, frozenset()), how
    assert queue(A, B).gives_up(A) == ((), queue(B))


def test_who_waits_at_several_gates_is_claimed_once():
    claimed, model = queue(BOTH, Waiter("d", (1,))).release(0)
    assert claimed == (BOTH,)
    assert model.queues == ((), (BOTH, ("d", (1,)))), "it leaves the other queue when it runs, or is met there"
    claimed, model = model.release(1)
    assert claimed == (("d", (1,)),)
    assert model.queues == ((), ())


def test_who_takes_at_one_of_several_gates_lets_others_try_at_each():
    _, model = queue(BOTH, A).release(0, 1)
    _, model = model.release(0, 1)
    _, model = model.links(B, first=False).attempt(BOTH)
    assert model.free == (1, 0)
    assert model.leave == {A, B}


class EndWaiter(NamedTuple):
    end: str
    item: Any = None


S1, S2 = EndWaiter("tx", "s1"), EndWaiter("tx2", "s2")
R1, R2 = EndWaiter("rx", 1), EndWaiter("rx2", 2)

TX, RX = frozenset({"tx", "tx2"}), frozenset({"rx", "rx2"})
NOBODY: frozenset[Any] = frozenset()
PROMISED = frozenset({"p"})


def made(capacity, *items, **fields):
    """A channel with two ends of each side that has these items."""
    return ChannelModel(capacity, **{"senders": TX, "receivers": RX, "items": items, **fields})


def waits(capacity, *waiters, **fields):
    """One in which these wait for what it has not."""
    model = made(capacity, *(["x"] * (capacity or 0) if waiters[0].end in TX else []), **fields)
    for waiter in waiters:
        model = model.links(waiter, sends=waiter.end in TX, first=False)
    return model


def answers(model, *steps):
    """Makes the calls one after the other, each with the answer that is expected. Gives the model after them."""
    for name, *arguments, expected in steps:
        try:
            answer, model = getattr(model, name)(*arguments)
        except Blocked:
            answer = WAITS
        assert answer == expected, (name, *arguments)
    return model


WAITS = "it can only wait"
TRY_SEND, FORCE, RESERVE = ("try_send", "tx", "a"), ("force_send", "tx", "new"), ("reserve", "tx", "p")
TRY_RECV, TWO, DRAIN, LENGTH = ("try_recv", "rx"), ("try_recv_many", "rx", 2), ("drain", "rx"), ("length",)
KEEP, GIVE_UP = ("permit_send", "p", "a"), ("permit_release", "p")
LAST_SENDER, LAST_RECEIVER = (
    [("close", "tx", None), ("close", "tx2", None)],
    [("close", "rx", None), ("close", "rx2", None)],
)
END = ("close_channel", None)
AT_A_CLOSED_END = {
    "tx": [TRY_SEND, FORCE, RESERVE, ("send", "tx", "a"), ("send_within", "tx", "a"), ("clone", "tx", "tx3")],
    "rx": [TRY_RECV, TWO, DRAIN, ("recv", "rx"), ("recv_within", "rx"), ("clone", "rx", "rx3")],
}

ANSWERS = {
    "a bounded one refuses what is too much": (
        made(2),
        [(*TRY_SEND, None), ("send", "tx2", "b", None), (*TRY_SEND, Full), (*LENGTH, 2)],
    ),
    "items come in order, each once": (
        made(None, "a", "b"),
        [(*TRY_RECV, "a"), ("try_recv", "rx2", "b"), (*TRY_RECV, Empty), (*LENGTH, 0)],
    ),
    "an empty one": (
        made(1),
        [
            *((*TRY_RECV, Empty), ("recv", "rx", WAITS), ("recv_within", "rx", Timeout)),
            *((*TWO, Empty), (*DRAIN, ()), (*LENGTH, 0)),
        ],
    ),
    "a full one": (
        made(1, "x"),
        [
            *((*TRY_SEND, Full), ("send", "tx", "a", WAITS), ("send_within", "tx", "a", Timeout)),
            *((*RESERVE, WAITS), ("try_reserve", "tx", "p", Full), ("reserve_within", "tx", "p", Timeout)),
            *((*KEEP, RuntimeError), (*GIVE_UP, RuntimeError), (*DRAIN, ("x",))),
        ],
    ),
    "the oldest is displaced": (made(2, "a", "b"), [(*FORCE, "a"), (*DRAIN, ("b", "new"))]),
    "what is promised is not displaced": (made(1, permits=PROMISED), [(*FORCE, Full), (*LENGTH, 0)]),
    "there is room, so nothing is displaced": (made(2, "a"), [(*FORCE, None), (*DRAIN, ("a", "new"))]),
    "an unbounded one displaces nothing": (made(None, "a"), [(*FORCE, None), (*DRAIN, ("a", "new"))]),
    "a promised slot is taken": (
        made(2),
        [
            *((*RESERVE, None), ("send", "tx", "b", None), (*TRY_SEND, Full), (*LENGTH, 1)),
            *((*KEEP, None), (*KEEP, RuntimeError), (*GIVE_UP, RuntimeError), (*DRAIN, ("b", "a"))),
        ],
    ),
    "a promise that is given up is a free slot": (
        made(1),
        [(*RESERVE, None), (*TRY_SEND, Full), (*GIVE_UP, None), (*TRY_SEND, None), (*KEEP, RuntimeError)],
    ),
    "a promise outlives its sender, and the channel's end": (
        made(1, permits=PROMISED),
        [
            *(*LAST_SENDER, END, (*TRY_RECV, Empty), ("recv", "rx", WAITS), (*DRAIN, ()), (*KEEP, None)),
            *(("recv", "rx", "a"), (*TRY_RECV, Disconnected), ("recv", "rx", Disconnected)),
        ],
    ),
    "a promise is spent where nobody receives": (
        made(1, permits=PROMISED),
        [*LAST_RECEIVER, (*KEEP, Disconnected), (*KEEP, RuntimeError), (*LENGTH, 0)],
    ),
    "at most so many at once": (made(None, "a", "b", "c"), [(*TWO, ("a", "b")), (*DRAIN, ("c",)), (*TWO, Empty)]),
    "after the last sender what there is can be received": (
        made(2, "a", "b"),
        [
            *(*LAST_SENDER, (*TRY_SEND, Disconnected), (*TWO, ("a", "b")), (*TRY_RECV, Disconnected)),
            *(("recv", "rx", Disconnected), ("recv_within", "rx", Disconnected), (*TWO, Disconnected), (*DRAIN, ())),
        ],
    ),
    "after the last receiver there is nothing, and nothing can be sent": (
        made(2, "a", "b"),
        [
            *(*LAST_RECEIVER, (*LENGTH, 0), ("new_receiver", "rx3", Disconnected)),
            *((*call, Disconnected) for call in AT_A_CLOSED_END["tx"] if call[0] != "clone"),
        ],
    ),
    "a closed channel": (
        made(2, "a"),
        [
            *(END, (*TRY_SEND, Disconnected), (*RESERVE, Disconnected), ("new_sender", "tx3", Disconnected)),
            *(("new_receiver", "rx3", None), ("recv", "rx3", "a"), ("recv", "rx", Disconnected)),
        ],
    ),
    "a side that is gone has no new end": (
        made(1),
        [
            *(*LAST_SENDER, ("new_sender", "tx3", Disconnected), ("clone", "tx", "tx3", Disconnected)),
            *(("new_receiver", "rx3", None), ("clone", "rx", "rx4", None)),
        ],
    ),
    "a new end is an end": (
        made(2),
        [
            *(("clone", "tx", "tx3", None), ("new_sender", "tx4", None), *LAST_SENDER),
            *(("send", "tx3", "a", None), ("close", "tx3", None), ("send", "tx4", "b", None), ("close", "tx4", None)),
            *(("clone", "rx", "rx3", None), ("new_receiver", "rx4", None), *LAST_RECEIVER),
            *(("recv", "rx3", "a"), ("close", "rx3", None), ("recv", "rx4", "b"), ("recv", "rx4", Disconnected)),
        ],
    ),
    "what is closed is closed once": (made(1, "a"), [("close", "rx", None)] * 2 + [(*LENGTH, 1), (*TRY_SEND, Full)]),
    "nobody receives at a rendezvous": (
        made(0),
        [
            *((*TRY_SEND, Full), ("send", "tx", "a", WAITS), ("send_within", "tx", "a", Timeout), (*FORCE, Full)),
            *((*TRY_RECV, Empty), (*DRAIN, ()), (*LENGTH, 0)),
        ],
    ),
    "a rendezvous takes items out of their senders' hands": (
        waits(0, S1, S2),
        [(*TWO, ("s1", "s2")), (*TRY_RECV, Empty), (*LENGTH, 0)],
    ),
    "what was sent to a receiver comes before a sender who waits": (
        waits(0, S1, items=("left",)),
        [(*LENGTH, 1), (*DRAIN, ("left", "s1"))],
    ),
    "one receiver, one item": (
        waits(0, R1),
        [(*TRY_SEND, None), (*LENGTH, 1), ("try_send", "tx", "b", Full), (*TRY_RECV, "a")],
    ),
}


@pytest.mark.parametrize(("model", "steps"), ANSWERS.values(), ids=ANSWERS)
def test_a_channel_answers(model, steps):
    answers(model, *steps)


@pytest.mark.parametrize("end", AT_A_CLOSED_END)
def test_a_closed_end_is_disconnected_and_the_other_one_is_not(end):
    for refused in AT_A_CLOSED_END[end]:
        model = answers(made(2, "x"), ("close", end, None), (*refused, Disconnected), (*LENGTH, 1))
        assert model.is_disconnected(sends=True) is model.is_disconnected(sends=False) is False


def test_a_side_is_disconnected_when_the_other_is_gone_or_the_channel_closed():
    for steps, of_senders, of_receivers in [
        (LAST_SENDER[:1], False, False),
        (LAST_SENDER, False, True),
        (LAST_RECEIVER, True, False),
        ([END], True, True),
    ]:
        model = answers(made(1), *steps)
        assert (model.is_disconnected(sends=True), model.is_disconnected(sends=False)) == (of_senders, of_receivers)


def test_free_slots_are_neither_taken_nor_promised():
    assert made(5, "a", "b", permits=PROMISED).free == 2
    assert made(None, "a").free == math.inf
    assert made(0).free == 0


def test_what_is_counted_makes_no_difference_between_channels():
    model = answers(made(2), (*TRY_SEND, None), (*FORCE, None), (*FORCE, "a"), (*TWO, ("new", "new")))
    model = answers(model, (*TRY_SEND, None), (*TRY_RECV, "a"))
    assert (model.sent, model.received, model.high_water) == (4, 3, 2)
    assert (model, hash(model)) == (made(2), hash(made(2)))
    model = answers(waits(0, S1), (*TRY_RECV, "s1"))
    assert (model.sent, model.received, model.high_water, model.waits) == (1, 1, 0, 1)


class TestWhoWaitsForAChannel:
    def test_the_first_is_claimed_by_an_item_and_by_a_slot(self):
        _, model = waits(1, R1, R2).try_send("tx", "a")
        assert (model.leave, model.receiving, model.items) == ({R1}, (R2,), ("a",)), "it is there till it is taken"
        _, model = waits(1, S1, S2).try_recv("rx")
        assert (model.leave, model.sending, model.items) == ({S1}, (S2,), ())

    def test_a_promise_kept_gives_leave_to_receive_and_one_given_up_to_send(self):
        promised = waits(1, R1, permits=PROMISED)
        assert promised.permit_send("p", "a")[1].leave == {R1}
        assert promised.permit_release("p")[1].leave == NOBODY
        model = made(1, permits=PROMISED).links(S1, sends=True, first=False)
        assert model.permit_release("p")[1].leave == {S1}

    def test_the_displaced_gives_leave_to_nobody(self):
        _, model = waits(1, S1).force_send("tx", "new")
        assert (model.claimed, model.sending) == (NOBODY, (S1,))

    def test_who_has_been_there_queues_before_all_others_and_counts_once(self):
        model = waits(1, R1).links(R2, sends=False, first=True)
        assert (model.receiving, model.waits) == ((R2, R1), 1)
        model = waits(1, S1).links(S2, sends=True, first=False)
        assert (model.sending, model.waits, model.waiting) == ((S1, S2), 2, (S1, S2))

    def test_who_leaves_is_in_no_queue_and_not_claimed(self):
        assert waits(1, S1, S2).leaves(S1).sending == (S2,)
        assert waits(1, R1, R2).leaves(R2).receiving == (R1,)
        for claims in (lambda m: m.try_send("tx", "a"), lambda m: m.close("rx")):
            _, model = claims(waits(2, R1))
            assert (model.claimed, model.leaves(R1).claimed) == ({R1}, NOBODY)
        _, model = waits(0, S1).try_recv("rx")
        assert (model.claimed, model.leaves(S1).claimed) == ({S1}, NOBODY)

    def test_who_gives_up_passes_its_leave_on(self):
        _, model = waits(1, R1, R2).try_send("tx", "a")
        assert model.gives_up(R1).leave == {R2}
        _, model = waits(1, S1, S2).try_recv("rx")
        assert model.gives_up(S1).leave == {S2}

    def test_leave_is_passed_on_to_whom_it_is_of_use(self):
        _, model = waits(1, R1, R2).try_send("tx", "a")
        assert model.try_recv("rx2")[1].gives_up(R1).leave == NOBODY, "the item is gone"
        _, model = waits(1, S1, S2).try_recv("rx")
        assert model.try_send("tx", "a")[1].gives_up(S1).leave == NOBODY, "the slot is gone"

    def test_who_was_told_passes_on_what_it_may_have_had_and_who_was_claimed_by_nobody_does_not(self):
        model = waits(1, S1, S2, told=frozenset({R1}))
        assert model.try_recv("rx")[1].gives_up(R1).leave == {S1, S2}
        model = made(1).links(S1, sends=True, first=False).links(S2, sends=True, first=False)
        assert model.gives_up(S1) == model.leaves(S1)

    def test_whose_item_was_taken_has_no_leave_to_pass_on(self):
        answer, model = waits(0, S1, S2).try_recv("rx")
        assert (answer, model.handed, model.leave, model.sending) == ("s1", {S1}, NOBODY, (S2,))
        assert model.gives_up(S1) == waits(0, S2)
        model = waits(0, R1, items=("left",), handed=frozenset({S1}))
        assert model.gives_up(S1).leave == NOBODY

    def test_a_receiver_that_gives_up_leaves_its_item_to_the_next(self):
        _, model = waits(0, R1, R2).try_send("tx", "a")
        model = model.gives_up(R1)
        assert (model.leave, model.items) == ({R2}, ("a",))

    def test_a_closed_end_tells_those_who_wait_at_it(self):
        model = waits(1, S1, S2).close("tx")[1]
        assert (model.told, model.sending, model.senders) == ({S1}, (S2,), {"tx2"})
        model = waits(1, R1, R2).close("rx2")[1]
        assert (model.told, model.receiving, model.receivers) == ({R2}, (R1,), {"rx"})

    @pytest.mark.parametrize("permits", [NOBODY, PROMISED], ids=["nothing promised", "one slot promised"])
    def test_the_last_sender_tells_the_receivers(self, permits):
        model = answers(waits(1, R1, R2, permits=permits), *LAST_SENDER)
        assert (model.told, model.receiving) == ({R1, R2}, ())

    def test_the_last_promise_tells_the_receivers(self):
        over = waits(2, R1, R2, senders=NOBODY, permits=frozenset({"p", "q"}))
        _, model = over.permit_release("p")
        assert model.told == NOBODY
        assert model.permit_release("q")[1].told == {R1, R2}
        assert model.permit_send("q", "a")[1].claimed == {R1, R2}

    def test_the_last_receiver_tells_the_senders(self):
        model = answers(waits(1, S1, S2), LAST_RECEIVER[0])
        assert model.told == NOBODY
        _, model = model.close("rx2")
        assert (model.told, model.sending) == ({S1, S2}, ())

    def test_the_channels_end_tells_all(self):
        assert waits(1, S1, S2).close_channel()[1].told == {S1, S2}
        assert waits(1, R1, R2).close_channel()[1].told == {R1, R2}


EXPLAINED = {
    "a receive waits for its send": (made(1), [(0, 9, "recv", "rx", "a"), (1, 2, "send", "tx", "a", None)]),
    "a send waits for room": (
        made(1, "x"),
        [(0, 9, "send", "tx", "a", None), (1, 2, "try_recv", "rx", "x"), (10, 11, "try_recv", "rx", "a")],
    ),
    "a send that never ended did send": (made(1), [(0, None, "send", "tx", "a", None), (1, 2, "recv", "rx", "a")]),
    "it was empty at one moment": (
        made(1),
        [(0, 9, "recv_within", "rx", Timeout), (1, 2, "send", "tx", "a", None)],
    ),
    "the slot is free by the time it is wanted": (
        made(1, "x"),
        [(0, 9, "try_send", "tx", "a", None), (1, 8, "try_recv", "rx", "x")],
    ),
    "overlapping sends come in either order": (
        made(2),
        [(0, 5, "send", "tx", "a", None), (1, 4, "send", "tx2", "b", None), (6, 7, "drain", "rx", ("b", "a"))],
    ),
    "sent before the end came": (made(1), [(0, 9, "send", "tx", "a", None), (1, 2, "close_channel", None)]),
    "the end came before": (made(1), [(0, 9, "send", "tx", "a", Disconnected), (1, 2, "close_channel", None)]),
}

UNEXPLAINED = {
    "two receive one item": (made(1, "x"), [(0, 9, "recv", "rx", "x"), (1, 8, "recv", "rx2", "x")]),
    "two send into one slot": (made(1), [(0, 9, "send", "tx", "a", None), (1, 8, "send", "tx2", "b", None)]),
    "a slot is promised to two": (made(1), [(0, 9, "reserve", "tx", "p", None), (1, 8, "reserve", "tx2", "q", None)]),
    "one promise is kept twice": (
        made(2, permits=PROMISED),
        [(0, 9, "permit_send", "p", "a", None), (1, 8, "permit_send", "p", "b", None)],
    ),
    "a receive ended before its send began": (
        made(1),
        [(0, 1, "recv", "rx", "a"), (2, 3, "send", "tx", "a", None)],
    ),
    "a send ended though there never was room": (
        made(1, "x"),
        [(0, 3, "send", "tx", "a", None), (4, 5, "try_recv", "rx", "x")],
    ),
    "it ran out of time beside an item": (made(1, "x"), [(0, 9, "recv_within", "rx", Timeout)]),
    "it ran out of time beside a slot": (
        made(2, "x"),
        [(0, 9, "send_within", "tx", "a", Timeout), (1, 8, "try_recv", "rx", "x")],
    ),
    "one sender's items in the wrong order": (
        made(2),
        [(0, 1, "send", "tx", "a", None), (2, 5, "send", "tx", "b", None), (3, 9, "drain", "rx", ("b", "a"))],
    ),
    "an item was displaced and received": (
        made(1, "x"),
        [(0, 9, "force_send", "tx", "a", "x"), (1, 8, "try_recv", "rx", "x")],
    ),
    "dropped with the last receiver and received after": (
        made(1, "x"),
        [(0, 1, "close", "rx", None), (0, 1, "close", "rx2", None), (2, 9, "recv", "rx2", "x")],
    ),
    "the end was seen before an item": (
        made(1, "x"),
        [(0, 1, "close_channel", None), (2, 3, "recv", "rx", Disconnected), (4, 5, "recv", "rx", "x")],
    ),
    "an item was sent to nobody": (made(0), [(0, 9, "try_send", "tx", "a", None), (1, 8, "try_recv", "rx", "a")]),
}


def history_of(calls):
    return [call(begin, end, *named, result=result) for begin, end, *named, result in calls]


@pytest.mark.parametrize(("model", "calls"), EXPLAINED.values(), ids=EXPLAINED)
def test_a_channels_history_that_could_be(model, calls):
    assert check(history_of(calls), model)


@pytest.mark.parametrize(("model", "calls"), UNEXPLAINED.values(), ids=UNEXPLAINED)
def test_a_channels_history_that_could_not_be(model, calls):
    assert not check(history_of(calls), model)
