"""The kit's model of a lock to read and write: who keeps whom out, who is let in, and who takes over from whom."""

from dataclasses import dataclass
from itertools import product

import pytest

from ferrule import Timeout, WouldDeadlock
from tests.support.models import Blocked
from tests.support.rwlock_model import Guard, RWLockModel

KINDS = ("read", "upgradable", "write")


@dataclass(frozen=True)
class Waiter:
    guard: Guard
    before: Guard | None = None
    passes: bool = False


def guard(name, kind):
    return Guard.of(name, kind, name)


def wants(name, kind, **named):
    return Waiter(guard(name, kind), **named)


def holding(*kinds, queue=(), **named):
    """Held by h0, h1, ... in these ways."""
    return RWLockModel("v", frozenset(guard(f"h{n}", kind) for n, kind in enumerate(kinds)), queue, **named)


@pytest.mark.parametrize(("held", "kind"), list(product(KINDS, KINDS)))
def test_two_holds_go_together_unless_one_writes_or_both_are_upgradable(held, kind):
    together = "write" not in (held, kind) and (held, kind) != ("upgradable", "upgradable")
    answer, model = holding(held).try_take(guard("g", kind))
    assert answer is together
    assert len(model.holds) == 1 + together
    assert model.state()["waiters"] == 0


def test_newcomers_wait_behind_a_writer_and_who_passes_does_not():
    model = holding("read", queue=(wants("w", "write"),))
    assert model.try_take(guard("g", "read"))[0] is False
    assert model.take_now(guard("g", "upgradable"))[0] is Timeout
    assert model.try_take(guard("g", "read"), True)[0] is True
    with pytest.raises(Blocked):
        model.take(guard("g", "read"))


def test_newcomers_pass_one_that_waits_for_the_upgradable_hold_only():
    model = holding("upgradable", queue=(wants("u", "upgradable"),))
    assert model.try_take(guard("g", "read"))[0] is True


def test_a_free_lock_may_be_had_whoever_waits():
    model = RWLockModel(queue=(wants("w", "write"),))
    assert model.try_take(guard("g", "read"))[0] is True
    assert model.refuses("read")[0] is False


def test_who_would_wait_for_itself_is_told():
    model = holding("upgradable")
    assert model.take(Guard.of("g", "write", "h0"))[0] is WouldDeadlock
    assert model.links(Waiter(Guard.of("g", "write", "h0")), first=False)[0] is WouldDeadlock


def test_a_release_lets_in_a_writer_or_the_readers_before_the_next_and_one_upgradable():
    one, two, three = (wants(name, "read") for name in "abc")
    writer, first, second = wants("w", "write"), wants("u", "upgradable"), wants("x", "upgradable")
    _, model = holding("write", queue=(one, first, second, two, writer, three)).release(guard("h0", "write"))
    assert model.leave == {one, first, two}
    assert (model.queue, model.holds) == ((second, writer, three), frozenset())
    _, model = holding("write", queue=(writer, one)).release(guard("h0", "write"), True)
    assert (model.handed, model.queue, model.holds) == ({writer}, (one,), {writer.guard})


def test_who_has_lost_its_patience_is_handed_the_lock():
    one, two = wants("a", "read"), wants("b", "read")
    model = holding("write", queue=(one, two), hands=lambda waiter: waiter is one)
    _, model = model.release(guard("h0", "write"))
    assert (model.handed, model.leave, model.holds) == ({one}, {two}, {one.guard})
    assert model.claimed_since(holding("write", queue=(one, two))) == [one, two]


def test_an_upgrade_goes_before_all_others_when_the_last_reader_leaves():
    before, writer = guard("h0", "upgradable"), wants("w", "write")
    upgrade = Waiter(before.successor("g", "write"), before)
    model = holding("upgradable", "read", queue=(writer,), upgrades=(upgrade,))
    _, model = model.release(guard("h1", "read"))
    assert (model.handed, model.holds, model.queue) == ({upgrade}, {upgrade.guard}, (writer,))
    assert model.gives_up(upgrade).holds == {before}
    assert model.leave_block(before)[1].gives_up(upgrade).holds == frozenset()


def test_an_upgrade_of_a_spent_guard_finds_out():
    before = guard("h0", "upgradable")
    upgrade = Waiter(before.successor("g", "write"), before)
    model = holding("upgradable", "read", upgrades=(upgrade,))
    _, model = model.convert(before, before.successor("d", "read"))
    assert model.leave == {upgrade}
    assert model.attempt(upgrade, again=True)[0] is RuntimeError


def test_who_gives_up_lets_those_in_whom_it_kept_out():
    writer, one = wants("w", "write"), wants("a", "read")
    model = holding("read", queue=(writer, one))
    assert model.gives_up(writer).leave == {one}
    _, model = holding("write", queue=(writer, one)).release(guard("h0", "write"))
    assert model.gives_up(writer).leave == {one}
    _, model = holding("write", queue=(one, writer)).release(guard("h0", "write"), True)
    assert model.gives_up(one).leave == {writer}


def test_who_tries_in_vain_may_queue_before_all_others():
    one, two = wants("a", "write"), wants("b", "write")
    model = holding("write", queue=(two,), leave=frozenset({one}))
    answer, model = model.attempt(one, again=True)
    assert answer is Timeout
    assert model.links(one, first=True)[1].queue == (one, two)
    assert model.links(one, first=False)[1].queue == (two, one)


def test_conversions_spend_a_guard_and_leave_the_hold():
    writer = guard("h0", "write")
    upgradable = writer.successor("u", "upgradable")
    model = holding("write").convert(writer, upgradable)[1]
    assert model.holds == {upgradable}
    assert model.release(writer)[0] is RuntimeError
    assert model.get(writer)[0] is RuntimeError
    assert model.try_upgrade(upgradable, upgradable.successor("w", "write"))[0] is True
    assert model.leave_block(writer)[1].holds == frozenset()


def test_the_end_of_an_upgraded_block_does_nothing_if_the_hold_is_over_or_reads():
    before = guard("h0", "upgradable")
    writer = before.successor("w", "write")
    model = RWLockModel(holds=frozenset({writer}))
    assert model.restore(before)[1].holds == {before}
    reader = before.successor("r", "read")
    assert model.convert(writer, reader)[1].restore(before)[1].holds == {reader}
    assert model.release(writer)[1].restore(before)[1].holds == frozenset()
