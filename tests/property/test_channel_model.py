"""Whatever is sent, received, promised, closed, waits or is disturbed, in any order: a channel is as the model's.

Nothing runs by itself here: what waits are coroutines driven by hand, in loops that turn when they are told to. So a
leave can be met at each place on its way to the waiter: in a mailbox, in a resolved future, at an end that was closed.
"""

import asyncio
import itertools
import sys
import warnings
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, rule

from ferrule import MISSING, Disconnected, Empty, Full, Permit, Timeout
from tests.support.channels import channel, waiting
from tests.support.driver import Stepper, complete
from tests.support.models import ChannelModel
from tests.support.race import EXAMPLES
from tests.support.waits import LONG, WITHIN, Wait, WaitsMachine, if_any, one_of, within

MOST_ENDS = 4
"""Of each side; those that were closed count too."""

ERRORS = (
    Disconnected,
    Empty,
    Full,
    Timeout,
    RuntimeError,
    ValueError,
    StopAsyncIteration,
    KeyError,
    asyncio.CancelledError,
)
SENDING = ("send", "send_many", "reserve")
KINDS = ("send", "send", "send_many", "reserve", "recv", "recv", "recv_many", "next")

SEND_AT_ONCE = ["try_send", "try_send", "force_send", "now", "soon", "in a task", "many"]
RECEIVE_AT_ONCE = ["try_recv", "try_recv", "default", "now", "soon", "in a task", "many", "drain", "try_iter"]

RARELY = st.sampled_from([False] * 7 + [True])

WAIT = st.tuples(
    st.sampled_from(KINDS), st.integers(0, MOST_ENDS - 1), st.sampled_from([0, 1]), st.booleans(), st.integers(1, 3)
)
"""A wait: its kind, the number of its end, its loop, whether it has a timeout, how many items it is for."""


class EndWait(Wait):
    """A wait at an end of the channel."""

    def __init__(self, name, kind, end, loop, *, timed, items, limit):
        super().__init__(name, loop, timed=timed)
        self.kind = kind
        self.end = end
        self.left = items  # to be sent
        self.limit = limit  # how many may be received
        self.sent = 0

    @property
    def sends(self):
        return self.kind in SENDING

    @property
    def item(self):
        return self.left[0]

    def has_sent(self):
        """The item that came next."""
        self.sent += 1
        self.left.pop(0)


def answer_of(function, item=MISSING, sent=0):
    """What it gives, or the type of its error, which carries this item."""
    try:
        answer = function()
    except ERRORS as raised:
        error = raised
    else:
        return tuple(answer) if type(answer) is list else answer
    if isinstance(error, Disconnected | Full | Timeout):
        assert (error.item, error.sent) == (item, sent)
    return type(error)


class ChannelMachine(WaitsMachine):
    closings = (*[False] * 7, True)

    def __init__(self):
        super().__init__()
        self.permits = {}  # by the name that the model has for them; the spent ones too
        self.names = itertools.count()

    @initialize(
        capacity=st.sampled_from([0, 1, 2, None]),
        senders=st.sampled_from([2, 2, 1]),
        receivers=st.sampled_from([2, 2, 1]),
        full=st.booleans(),
        waits=st.lists(WAIT, min_size=2, max_size=6),
    )
    def make(self, capacity, senders, receivers, full, waits):
        """A channel where many wait for one thing: for room if it is full, else for items."""
        self.capacity = capacity
        tx, rx = channel(capacity)
        self.senders = {f"tx{n}": tx.clone() if n else tx for n in range(senders)}
        self.receivers = {f"rx{n}": rx.clone() if n else rx for n in range(receivers)}
        self.model = ChannelModel(capacity, frozenset(self.senders), frozenset(self.receivers))
        for _ in range(capacity or 0 if full else 0):
            self.send("tx0", "try_send", None)
        for kind, *rest in waits:
            if capacity is None or (kind in SENDING) is full:
                self.begin((kind, *rest), stepped=True)

    def teardown(self):
        """Whoever can go on does; then all ends, the dropped waits too, and there is nothing left."""
        if sys.exception() is None:
            self.settle()
            self.holds()
        for wait in self.waits:
            wait.stepper.close()
        for permit in self.permits.values():
            permit.__exit__(None, None, None)
        self.end.close_channel()
        while self.called:
            self.called[0].turn()
        if sys.exception() is None:
            assert waiting(self.end) == {"senders": 0, "receivers": 0, "reserved": 0}

    @property
    def ends(self):
        return self.senders | self.receivers

    @property
    def end(self):
        """Any end."""
        return self.senders["tx0"]

    def is_open(self, end):
        return end in self.model.senders | self.model.receivers

    def number(self):
        """A new one, also to be sent."""
        return next(self.names)

    # --- calls that do not wait ---------------------------------------------------------------------------------------

    def agree(self, call, expected, where, item=MISSING, sent=0):
        """The call answers as the model does, which becomes what it would be after it."""
        with within(where):
            answer = answer_of(call, item, sent)
        assert answer == expected[0]
        self.becomes(expected[1], where)
        return answer

    @rule(end=one_of("senders"), how=st.sampled_from(SEND_AT_ONCE), where=WITHIN)
    def send(self, end, how, where):
        tx, item = self.senders[end], self.number()
        match how:
            case "try_send":
                self.agree(lambda: tx.try_send(item), self.model.try_send(end, item), where, item)
            case "force_send":
                self.agree(lambda: tx.force_send(item), self.model.force_send(end, item), where, item)
            case "now":
                self.agree(lambda: tx.send(item, timeout=0), self.model.send_within(end, item), where, item)
            case "soon":
                where, expected = None, self.model.send_within(end, item)
                self.soon(self.agree(lambda: tx.send(item, timeout=1e-6), expected, where, item))
            case "in a task":
                call = tx.aio.send
                self.agree(lambda: complete(call(item, timeout=0)), self.model.send_within(end, item), where, item)
            case "many":
                items = [item, self.number()]
                if self.capacity == 0 and any(wait.loop.is_closed() for wait in self.waits):
                    del items[1:]  # of two the first might go on from a receiver in a closed loop to the second's
                self.send_many(end, items, where)
        self.follow(end, where)

    def send_many(self, end, items, where):
        model, answer, sent = self.model, None, 0
        while sent < len(items) and answer is None:
            answer, model = model.send_within(end, items[sent])
            sent += answer is None
        expected = sent if answer is None else answer
        item = MISSING if answer is None else items[sent]
        self.agree(lambda: self.senders[end].send_many(items, timeout=0), (expected, model), where, item, sent)

    @rule(end=one_of("receivers"), how=st.sampled_from(RECEIVE_AT_ONCE), limit=st.integers(1, 3), where=WITHIN)
    def receive(self, end, how, limit, where):
        rx, model = self.receivers[end], self.model
        match how:
            case "try_recv":
                self.agree(rx.try_recv, model.try_recv(end), where)
            case "default":
                answer, model = model.try_recv(end)
                expected = "none" if answer in (Empty, Disconnected) else answer
                self.agree(lambda: rx.try_recv("none"), (expected, model), where)
            case "now":
                self.agree(lambda: rx.recv(timeout=0), model.recv_within(end), where)
            case "soon":
                where = None
                self.soon(self.agree(lambda: rx.recv(timeout=1e-6), model.recv_within(end), where))
            case "in a task":
                self.agree(lambda: complete(rx.aio.recv(timeout=0)), model.recv_within(end), where)
            case "many":
                answer, model = model.try_recv_many(end, limit)
                expected = Timeout if answer is Empty else answer
                self.agree(lambda: rx.recv_many(limit, timeout=0), (expected, model), where)
            case "drain":
                self.agree(rx.drain, model.drain(end), where)
            case "try_iter":
                answer, model = model.drain(end)
                self.agree(lambda: list(rx.try_iter()), (() if answer is Disconnected else answer, model), where)
        self.follow(end, where)

    def soon(self, answer):
        """A wait of this thread that is over before anything happens leaves only its count."""
        if answer is Timeout:
            self.model = replace(self.model, waits=self.model.waits + 1)

    @rule(end=one_of("senders"), how=st.sampled_from(["now", "in a task"]), where=WITHIN)
    def reserve(self, end, how, where):
        name, tx = self.number(), self.senders[end]
        expected = self.model.reserve_within(end, name) if self.capacity != 0 else (ValueError, self.model)
        call = (lambda: tx.reserve(timeout=0)) if how == "now" else lambda: complete(tx.aio.reserve(timeout=0))
        self.agree(lambda: self.keeps(name, call()), expected, where)
        self.follow(end, where)

    def keeps(self, name, permit):
        assert type(permit) is Permit
        self.permits[name] = permit

    @if_any("permits")
    @rule(name=one_of("permits"), how=st.sampled_from(["send", "send", "release", "with", "drop"]), where=WITHIN)
    def use(self, name, how, where):
        permit, item = self.permits[name], self.number()
        match how:
            case "send":
                self.agree(lambda: permit.send(item), self.model.permit_send(name, item), where, item)
                self.follow(None, where)
            case "release":
                self.agree(permit.release, self.model.permit_release(name), where)
            case "with":
                _, model = self.model.permit_release(name)
                self.agree(lambda: permit.__exit__(None, None, None), (None, model), where)
            case "drop":
                answer, model = self.model.permit_release(name)
                with warnings.catch_warnings(record=True) as seen, within(where):
                    warnings.simplefilter("always")
                    del permit, self.permits[name]
                assert [warning.category for warning in seen] == ([ResourceWarning] if answer is None else [])
                self.becomes(model, None)  # a destructor wakes nobody directly

    # --- ends ---------------------------------------------------------------------------------------------------------

    @rule(end=one_of("ends"), how=st.sampled_from(["clone", "new_sender", "new_receiver", "upgrade"]))
    def open(self, end, how):
        sends = how != "new_receiver" and (how != "clone" or end in self.senders)
        side = self.senders if sends else self.receivers
        if len(side) == MOST_ENDS or (how == "upgrade" and end in self.receivers):
            return
        name = f"{'tx' if sends else 'rx'}{len(side)}"
        match how:
            case "clone":
                expected = self.model.clone(end, name)
            case "new_receiver":
                expected = self.model.new_receiver(name)
            case _:
                expected = self.model.new_sender(name)

        def call():
            made = self.ends[end].downgrade().upgrade() if how == "upgrade" else getattr(self.ends[end], how)()
            if made is None:
                return Disconnected
            side[name] = made
            return None

        self.agree(call, expected, None)

    @property
    def ends_and_more_of_the_claimed(self):
        return [*self.ends, *(3 * [wait.end for wait in self.waits if wait in self.model.leave])]

    @rule(end=one_of("ends_and_more_of_the_claimed"), last=RARELY, where=WITHIN)
    def close(self, end, last, where):
        """The last one of its side is rarely closed: what follows is dull."""
        if last or {end} not in (self.model.senders, self.model.receivers):
            self.agree(self.ends[end].close, self.model.close(end), where)
            self.follow(end, where)

    @rule(end=one_of("ends"), sure=RARELY, where=WITHIN)
    def close_channel(self, end, sure, where):
        if sure:
            self.agree(self.ends[end].close_channel, self.model.close_channel(), where)

    # --- waits --------------------------------------------------------------------------------------------------------

    @rule(wait=WAIT, stepped=st.sampled_from([True, True, False]))
    def begin(self, wait, stepped):
        kind, number, loop, timed, count = wait
        side = self.senders if kind in SENDING else self.receivers
        end = f"{'tx' if kind in SENDING else 'rx'}{number % len(side)}"
        face = side[end].aio
        if kind == "reserve" and self.capacity == 0:
            return
        timed = timed and kind != "next"
        items = [self.number() for _ in range(count if kind == "send_many" else kind == "send")]
        wait = EndWait(f"wait{self.number()}", kind, end, self.loops[loop], timed=timed, items=items, limit=count)
        timeout = LONG if timed else None
        match kind:
            case "send":
                coroutine = face.send(items[0], timeout=timeout)
            case "send_many":
                coroutine = face.send_many(list(items), timeout=timeout)
            case "reserve":
                coroutine = face.reserve(timeout=timeout)
            case "recv":
                coroutine = face.recv(timeout=timeout)
            case "recv_many":
                coroutine = face.recv_many(count, timeout=timeout)
            case "next":
                coroutine = face.__anext__()
        wait.stepper = Stepper(coroutine)
        self.waits.append(wait)
        if stepped:
            self.step(wait)

    @rule()
    def settle(self):
        """Whoever can go on does. In a closed loop it cannot: its driver has what it was given, and may close it."""
        while self.called or self.can_step:
            for loop in self.called:
                self.turn(loop, closes=False)
            for wait in self.can_step:
                self.step(wait)
        assert all(wait.stranded for wait in self.model.claimed)

    # --- the model's view ---------------------------------------------------------------------------------------------

    def becomes(self, model, where):
        """The model after a call; who was claimed by it is woken."""
        before, self.model = self.model, model
        self.woken([wait for wait in before.waiting if wait in model.claimed], where)

    def follow(self, end, where):
        """A call that is refused as its end or the channel is closed may give leave to others: it may have had some.

        So may the closing, and a permit that is used. To whom, and how often, is left open: leave that nobody needed
        does no harm. That none is lost is checked below.
        """
        if self.is_open(end) and not self.model.closed:
            return
        seen = waiting(self.end)
        while len(self.model.sending) > seen["senders"]:
            self.becomes(self.model.claims_first(sends=True), where)
        while len(self.model.receiving) > seen["receivers"]:
            self.becomes(self.model.claims_first(sends=False), where)

    def gives_up(self, wait):
        """The wait wants nothing any more; who was claimed in its place."""
        before, self.model = self.model, self.model.gives_up(wait)
        if wait in self.dropped:
            self.dropped.remove(wait)
        return [other for other in before.waiting if other in self.model.claimed]

    def goes_on(self, wait):
        """It begins, uses its leave, or finds that its time is up or its item taken."""
        if wait in self.model.handed:
            wait.has_sent()
            if wait.kind == "send":
                self.model = self.model.leaves(wait)
                self.ends_with(wait, None)
                return
        elif wait.delivered and wait not in self.model.claimed:
            self.ends_with(wait, Timeout)
            return
        had_leave = wait in self.model.leave
        self.model = self.model.leaves(wait)
        answer = self.attempt(wait)
        if answer not in (Full, Empty):
            self.ends_with(wait, answer)
        elif wait.expired:
            if had_leave:  # which goes on, also where a part of send_many() has used it
                self.becomes(self.model.give_leave(), wait.loop)
            self.ends_with(wait, Timeout)
        elif not wait.stepper.suspended:
            self.pauses(wait)
        else:
            self.model = self.model.links(wait, sends=wait.sends, first=wait.begun)
            wait.begun = True
            wait.delivered = wait.cancelled = False

    def pauses(self, wait):
        """It lets its loop run before it queues: once, and not where it would be overtaken or waits for a meeting."""
        assert self.capacity != 0
        assert not (self.model.sending if wait.sends else self.model.receiving)
        assert not wait.paused
        assert not wait.begun
        wait.paused = True

    def attempt(self, wait):
        """What it gives now, Full or Empty if it has to wait."""
        match wait.kind:
            case "send" | "send_many":
                answer = None
                while wait.left and answer is None:
                    answer, model = self.model.try_send(wait.end, wait.item)
                    if answer is None:
                        wait.has_sent()
                    self.becomes(model, wait.loop)
                return wait.sent if answer is None and wait.kind == "send_many" else answer
            case "reserve":
                answer, model = self.model.try_reserve(wait.end, wait.name)
            case "recv_many":
                answer, model = self.model.try_recv_many(wait.end, wait.limit)
            case "recv" | "next":
                answer, model = self.model.try_recv(wait.end)
        self.becomes(model, wait.loop)
        return StopAsyncIteration if wait.kind == "next" and answer is Disconnected else answer

    def raised(self, wait, error, where):
        self.woken(self.gives_up(wait), where)
        self.ends_with(wait, error if isinstance(error, type) else type(error))

    def ends_with(self, wait, answer):
        self.waits.remove(wait)
        item = wait.item if wait.left else MISSING
        stepper, wait.stepper = wait.stepper, None  # which has the result; the wait may live on in a strategy
        ending = answer_of(stepper.result, item, wait.sent)
        del stepper
        if wait.kind == "reserve" and answer is None:
            ending = self.keeps(wait.name, ending)
        assert ending == answer
        self.follow(wait.end, wait.loop)

    # --- what must be so at any time ----------------------------------------------------------------------------------

    @invariant()
    def holds(self):
        self.agrees()
        for name, end in self.ends.items():
            self.looks(name, end)
        self.nobody_waits_beside_what_it_wants_unless_enough_have_leave_to_take_it()
        self.who_was_woken_knows()
        self.each_loop_is_called_once_and_only_if_there_is_something_for_it()

    def agrees(self):
        model = self.model
        assert waiting(self.end) == {
            "senders": len(model.sending),
            "receivers": len(model.receiving),
            "reserved": len(model.permits),
        }
        assert self.end.stats() == {
            "sent": model.sent,
            "received": model.received,
            "high_water": model.high_water,
            "waits": model.waits,
        }

    def looks(self, name, end):
        model = self.model
        assert len(end) == len(model.items)
        assert end.is_empty is (not model.items)
        assert end.is_full is (model.free <= 0)
        assert end.capacity == self.capacity
        assert (end.sender_count, end.receiver_count) == (len(model.senders), len(model.receivers))
        assert end.is_closed is not self.is_open(name)
        assert end.is_disconnected is model.is_disconnected(sends=name in self.senders)

    def nobody_waits_beside_what_it_wants_unless_enough_have_leave_to_take_it(self):
        model = self.model
        if model.receiving:
            assert sum(not wait.sends for wait in model.leave) >= len(model.items)
        if model.sending and self.capacity:
            assert sum(wait.sends for wait in model.leave) >= model.free
        if self.capacity == 0:
            assert not (model.sending and model.receiving), "they would have met"


TestChannelModel = ChannelMachine.TestCase
TestChannelModel.settings = settings(
    max_examples=100 * EXAMPLES, stateful_step_count=50, deadline=None, report_multiple_bugs=False
)
