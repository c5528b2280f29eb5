"""Whatever takes, ends or converts a hold, waits or is disturbed, in any order: an RWLock is as the model.

Nothing runs by itself here: what waits are coroutines driven by hand, in loops that turn when they are told to. So who
was let in can be met at each place on its way: in a mailbox, in a resolved future, in a loop that was closed. Whether
it is handed the lock or has leave to try for it would be a matter of time; here each wait is of one kind.
"""

import asyncio
import contextvars
import gc
import itertools
import sys
import warnings

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, rule

from ferrule import RWLock, Timeout, WouldDeadlock
from tests.support.driver import Stepper, complete
from tests.support.race import EXAMPLES
from tests.support.rwlock_model import Guard, RWLockModel
from tests.support.rwlocks import FREE, TAKE, TAKE_ASYNC, TRY
from tests.support.waits import LONG, WITHIN, Wait, WaitsMachine, if_any, one_of, within

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

ERRORS = (Timeout, WouldDeadlock, RuntimeError, KeyError, asyncio.CancelledError)
WAYS = st.sampled_from(["read", "read", "read_recursive", "upgradable", "write", "write"])
AT_ONCE = st.sampled_from(["try", "try in a task", "now", "soon", "in a task"])
LESSER = {"write": ["read", "upgradable"], "upgradable": ["read"], "read": []}

HOW = st.tuples(st.sampled_from([0, 1]), st.booleans(), st.booleans(), st.sampled_from([True, True, False]))
"""A wait: its loop, whether it has a timeout, whether it is handed what it waits for, whether it has made a step."""


class LockWait(Wait):
    """A wait for a guard; `kind`: take, upgrade, upgraded or retake."""

    def __init__(self, name, kind, guard, loop, *, timed, hasty, before=None, passes=False):
        super().__init__(name, loop, timed=timed)
        self.kind = kind
        self.guard = guard
        self.hasty = hasty
        self.before = before
        self.passes = passes
        self.block = None  # the unlocked() or upgraded() block that it begins or ends
        self.insists = kind == "retake"


def end_of(stepper):
    """The type of the error that the coroutine raised and of the one before that, or None; and what it gave."""
    try:
        return (None, None), stepper.result()
    except ERRORS as error:
        before = error.__context__
        return (type(error), before and type(before)), None


def answer_of(function):
    """What it gives, or the type of its error."""
    try:
        return function()
    except ERRORS as error:
        return type(error)


class RWLockMachine(WaitsMachine):
    closings = (*[False] * 7, True)

    def __init__(self):
        super().__init__()
        self.lock = RWLock("first")
        self.model = RWLockModel("first", hands=lambda wait: wait.hasty)
        self.guards = {}  # by their names in the model; the spent ones too
        self.away = {}  # a guard's unlocked() block, while it is open and nobody waits at its end
        self.inside = {}  # a guard's upgraded() block, while it is open
        self.contexts = {"task": contextvars.copy_context()}  # of the tasks that have done something, by their names
        self.names = itertools.count()

    @initialize(
        first=st.sampled_from(["read", "upgradable", "write", None]),
        waits=st.lists(st.tuples(WAYS, HOW), max_size=6),
    )
    def make(self, first, waits):
        """A lock where many wait for one to leave."""
        if first is not None:
            self.take(first, "try", None)
        for way, how in waits:
            self.begin(way, how, None)

    def teardown(self):
        """Whoever can go on does; then all holds end, the dropped waits too, and there is nothing left."""
        if sys.exception() is None:
            self.settle()
            self.holds()
        for wait in self.waits:
            wait.stepper.close()
        for _ in range(1 + len(self.dropped)):
            for guard in self.guards.values():
                answer_of(guard.release)
            while self.called:
                self.called[0].turn()
        if sys.exception() is None:
            assert self.lock._state() == FREE

    # --- calls in this thread -----------------------------------------------------------------------------------------

    def agree(self, call, expected, where=None):
        """The call answers as the model does, which becomes what it would be after it."""
        with within(where):
            answer = answer_of(call)
        assert answer == expected[0]
        self.becomes(expected[1], where)
        return answer

    def number(self):
        return f"g{next(self.names)}"

    def keeps(self, guard, made):
        """Whether there is a guard; if so it is kept."""
        if made is None:
            return False
        assert type(made).__name__.removeprefix("Async") == f"{guard.kind.title()}Guard"
        self.guards[guard] = made
        return True

    @rule(way=WAYS, how=AT_ONCE, where=WITHIN)
    def take(self, way, how, where):
        kind, passes = ("read", True) if way == "read_recursive" else (way, False)
        guard = Guard.of(self.number(), kind, "thread" if how in ("try", "now", "soon") else "task")
        lock, model = self.lock, self.model
        match how:
            case "try":
                self.agree(lambda: self.keeps(guard, TRY[way](lock)), model.try_take(guard, passes), where)
            case "try in a task":
                call = getattr(lock.aio, TRY[way].__name__)
                self.agree(lambda: self.keeps(guard, self.in_task(call)), model.try_take(guard, passes), where)
            case "now":
                self.gives(guard, lambda: TAKE[way](lock, timeout=0), model.take_now(guard, passes), where)
            case "in a task":
                coroutine = TAKE_ASYNC[way](lock, timeout=0)
                self.gives(guard, lambda: self.in_task(complete, coroutine), model.take_now(guard, passes), where)
            case "soon":
                self.gives(guard, lambda: TAKE[way](lock, timeout=1e-6), self.soon(guard, passes), None)

    def in_task(self, call, *args):
        return self.contexts["task"].run(call, *args)

    def gives(self, guard, call, expected, where):
        """A call that gives the guard or raises."""
        return self.agree(lambda: None if self.keeps(guard, call()) else "no guard", expected, where)

    def soon(self, guard, passes):
        """A wait of this thread that is over before anything happens: it lets those go on whom it kept out.

        An exclusive hold is this thread's, or that of a task which this thread runs.
        """
        taken, model = self.model.try_take(guard, passes)
        if taken:
            return None, model
        return (WouldDeadlock, model) if model.exclusive is not None else (Timeout, model.admit())

    # --- guards -------------------------------------------------------------------------------------------------------

    @property
    def usable(self):
        """The guards of all holds but those that are being taken again: such a guard counts once its task has run."""
        returning = {wait.guard.first for wait in self.waits + self.dropped if wait.kind == "retake"}
        return [guard for guard in self.guards if guard.first not in returning]

    @property
    def usable_and_more_of_those_in_force(self):
        return self.usable + 3 * [guard for guard in self.usable if guard in self.model.holds]

    @property
    def upgradable(self):
        return [guard for guard in self.usable if guard.kind == "upgradable"]

    def is_async(self, guard):
        return not hasattr(self.guards[guard], "__exit__")

    @property
    def upgradable_in_tasks(self):
        return [guard for guard in self.upgradable if self.is_async(guard)]

    GUARD = one_of("usable_and_more_of_those_in_force")

    @if_any("usable")
    @rule(guard=GUARD, how=st.sampled_from(["release", "release", "fair", "with"]), where=WITHIN)
    def end(self, guard, how, where):
        made = self.guards[guard]
        if how == "with" and not self.is_async(guard):
            self.agree(lambda: made.__exit__(None, None, None), self.model.leave_block(guard), where)
        else:
            fair = how == "fair"
            self.agree(lambda: made.release(fair=fair), self.model.release(guard, fair), where)

    @if_any("usable")
    @rule(guard=GUARD, number=st.integers(0, 1), where=WITHIN)
    def downgrade(self, guard, number, where):
        if kinds := LESSER[guard.kind]:
            kind = kinds[number % len(kinds)]
            successor = guard.successor(self.number(), kind)
            convert = getattr(self.guards[guard], "downgrade" if kind == "read" else "downgrade_to_upgradable")
            self.gives(successor, convert, self.model.convert(guard, successor), where)

    @if_any("upgradable")
    @rule(guard=one_of("upgradable"), how=st.sampled_from(["try", "now", "soon", "block"]), where=WITHIN)
    def upgrade(self, guard, how, where):
        made, writer = self.guards[guard], guard.successor(self.number(), "write")
        answer, model = self.model.try_upgrade(guard, writer)
        if how == "try":
            self.agree(lambda: self.keeps(writer, made.try_upgrade()), (answer, model), where)
        elif how == "now":
            expected = {True: None, False: Timeout}.get(answer, answer), model
            call = (
                (lambda: complete(made.upgrade(timeout=0)))
                if self.is_async(guard)
                else (lambda: made.upgrade(timeout=0))
            )
            self.gives(writer, call, expected, where)
        elif how == "soon" and not self.is_async(guard):
            expected = (Timeout, model.admit()) if answer is False else (None if answer is True else answer, model)
            self.gives(writer, lambda: made.upgrade(timeout=1e-6), expected, None)
        elif how == "block" and not self.is_async(guard) and guard not in self.inside and answer is not False:
            block = made.upgraded()
            if self.gives(writer, block.__enter__, (None if answer is True else answer, model), where) is None:
                self.inside[guard] = block

    @if_any("inside")
    @rule(guard=one_of("inside"), where=WITHIN)
    def leave_upgraded(self, guard, where):
        if guard in self.usable:
            self.agree(lambda: self.leave(self.inside.pop(guard)), self.model.restore(guard), where)

    def leave(self, block):
        if hasattr(block, "__exit__"):
            return block.__exit__(None, None, None)
        return complete(block.__aexit__(None, None, None))

    @if_any("usable")
    @rule(guard=GUARD, where=WITHIN)
    def unlock(self, guard, where):
        if guard not in self.away and guard not in self.inside:
            block = self.guards[guard].unlocked()
            enter = (lambda: complete(block.__aenter__())) if self.is_async(guard) else block.__enter__
            if self.agree(enter, self.model.release(guard), where) is None:
                self.away[guard] = block

    @if_any("away")
    @rule(guard=one_of("away"), how=HOW, where=WITHIN)
    def lock_again(self, guard, how, where):
        """In a task, which may have to wait; or in this thread, if that need not."""
        if guard not in self.usable:
            return
        if self.is_async(guard):
            block = self.away.pop(guard)
            self.starts("retake", guard, block.__aexit__(None, None, None), how, block=block)
        elif self.model.admits(guard.kind) or self.model.exclusive is not None:
            self.agree(lambda: self.leave(self.away.pop(guard)), self.soon(guard, False), where)

    @if_any("usable")
    @rule(guard=GUARD, where=WITHIN)
    def set(self, guard, where):
        if guard.kind == "write":
            made, value = self.guards[guard], self.number()
            self.agree(lambda: setattr(made, "value", value), self.model.set(guard, value), where)

    @if_any("usable")
    @rule(guard=GUARD, where=WITHIN)
    def drop_hold(self, guard, where):
        """All references to the guards of a hold die: it ends, with a warning."""
        others = [*self.away, *self.inside, *(wait.guard for wait in self.waits + self.dropped)]
        if any(other.first == guard.first for other in others):
            return
        held = any(other.first == guard.first for other in self.model.holds)
        with warnings.catch_warnings(record=True) as seen, within(where):
            warnings.simplefilter("always")
            for other in [other for other in self.guards if other.first == guard.first]:
                del self.guards[other]
            if held and not seen:  # the frames of a traceback keep one
                gc.collect()
        assert [warning.category for warning in seen] == [ResourceWarning] * held
        self.becomes(self.model.leave_block(guard)[1], None)  # a destructor wakes nobody directly

    # --- waits --------------------------------------------------------------------------------------------------------

    @rule(way=WAYS, how=HOW, number=st.none() | st.integers(0, 99))
    def begin(self, way, how, number):
        """A wait for a hold, by a task of its own or by one that may have holds already."""
        tasks = [*self.contexts]
        name = self.number()
        owner = tasks[number % len(tasks)] if tasks and number is not None else f"task of {name}"
        kind, passes = ("read", True) if way == "read_recursive" else (way, False)
        coroutine = TAKE_ASYNC[way](self.lock, timeout=LONG if how[1] else None)
        self.starts("take", Guard.of(name, kind, owner), coroutine, how, passes=passes)

    @if_any("upgradable_in_tasks")
    @rule(guard=one_of("upgradable_in_tasks"), how=HOW, in_block=st.booleans())
    def begin_upgrade(self, guard, how, in_block):
        made, writer = self.guards[guard], guard.successor(self.number(), "write")
        if not in_block:
            self.starts("upgrade", writer, made.upgrade(timeout=LONG if how[1] else None), how, before=guard)
        elif guard not in self.inside:
            block = made.upgraded()
            self.starts("upgraded", writer, block.__aenter__(), how, before=guard, block=block)

    def starts(self, kind, guard, coroutine, how, *, block=None, **named):
        loop, timed, hasty, stepped = how
        timed = timed and kind in ("take", "upgrade")
        wait = LockWait(f"{kind} {guard.name}", kind, guard, self.loops[loop], timed=timed, hasty=hasty, **named)
        wait.block = block
        wait.stepper = Stepper(coroutine)
        wait.stepper.context = self.contexts.setdefault(guard.owner, wait.stepper.context)
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
        self.woken(model.claimed_since(before), where)

    def gives_up(self, wait):
        """The wait wants nothing any more; who was claimed in its place."""
        before, self.model = self.model, self.model.gives_up(wait)
        if wait in self.dropped:
            self.dropped.remove(wait)
        if wait.kind == "retake" and not wait.begun:
            self.away[wait.guard] = wait.block
        if not wait.insists or wait not in self.waits:
            wait.block = None
        return self.model.claimed_since(before)

    def goes_on(self, wait):
        """It begins, uses what it was given, or finds that its time is up."""
        if wait in self.model.handed:
            self.model = self.model.leaves(wait)
            self.ends(wait, None)
        elif wait.delivered and wait not in self.model.leave:
            self.ends(wait, Timeout)
        else:
            self.tries(wait, wait in self.model.leave)

    def tries(self, wait, had_leave):
        answer, model = self.model.attempt(wait, again=wait.begun)
        if answer is Timeout and not wait.expired:
            answer, model = model.links(wait, first=wait.begun)
        elif answer is Timeout and had_leave:
            model = model.admit()
        if answer == "waits":
            if not wait.begun:
                probe.set_patience(wait.stepper.coroutine, not wait.hasty)
            wait.hasty = wait.hasty or wait.begun  # let go in vain it is handed its hold
            wait.begun = True
            wait.delivered = wait.cancelled = False
        else:
            self.ends(wait, answer)
        self.becomes(model, wait.loop)

    def raised(self, wait, error, where):
        kind = error if isinstance(error, type) else type(error)
        if not wait.insists or not wait.begun:
            self.ends(wait, kind)
            self.woken(self.gives_up(wait), where)
            return
        wait.kept = wait.kept or kind
        if wait in self.model.waiting:  # it leaves the queue for a moment, and comes back to its front
            self.woken(self.gives_up(wait), where)
            self.tries(wait, False)
        elif wait.delivered:
            self.goes_on(wait)
        else:  # it was claimed, and gets to know of that by another future
            wait.cancelled = False

    def ends(self, wait, answer):
        self.waits.remove(wait)
        stepper, wait.stepper = wait.stepper, None  # which has the result; the wait may live on in a strategy
        ending, result = end_of(stepper)
        del stepper
        assert ending == ((wait.kept, answer) if wait.kept is not None else (answer, None))
        if answer is None and wait.kind != "retake":
            self.keeps(wait.guard, result)
        if answer is None and wait.kind == "upgraded":
            self.inside[wait.before] = wait.block
        if wait.begun or wait.kind != "retake":
            wait.block = None

    # --- what must be so at any time ----------------------------------------------------------------------------------

    @invariant()
    def holds(self):
        self.agrees()
        self.guards_know_whether_they_hold()
        self.who_is_first_could_not_have_the_lock_or_somebody_has_leave_to_try()
        self.readers_wait_only_for_writers()
        self.who_was_woken_knows()
        self.each_loop_is_called_once_and_only_if_there_is_something_for_it()

    def agrees(self):
        model, state = self.model, self.lock._state()
        assert state == model.state() | {"waiters": [("task", "parked")] * len(model.waiting)}
        assert self.lock.locked() is bool(model.holds)
        assert self.lock.locked_exclusive() is state["writer"]
        assert self.lock.readers == state["readers"]
        assert len(self.lock._holders(None)) == (model.exclusive is not None)

    def guards_know_whether_they_hold(self):
        for guard in self.usable:
            made = self.guards[guard]
            assert answer_of(lambda made=made: made.value) == self.model.get(guard)[0]
            assert repr(made).endswith(", held>") is (guard in self.model.holds)

    def who_is_first_could_not_have_the_lock_or_somebody_has_leave_to_try(self):
        assert self.model.leave or self.model.admit() == self.model

    def readers_wait_only_for_writers(self):
        for place, wait in enumerate(self.model.queue):
            if wait.guard.kind == "read" and not self.model.leave and "write" not in self.model.kinds:
                before = self.model.queue[:place]
                assert self.model.upgrades or any(other.guard.kind == "write" for other in before)


TestRWLockModel = RWLockMachine.TestCase
TestRWLockModel.settings = settings(
    max_examples=60 * EXAMPLES, stateful_step_count=50, deadline=None, report_multiple_bugs=False
)
