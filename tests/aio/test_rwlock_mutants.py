"""Who is let in, in which order, and who takes over from whom: what a fault in the queue of an RWLock would get wrong.

Each wait is driven by hand and either handed the lock or given leave to try, so nothing here is a matter of time.
"""

import asyncio

import pytest

from ferrule import RWLock, Timeout
from tests.support.driver import HandLoop, Stepper
from tests.support.rwlocks import FREE, KINDS, TAKE_ASYNC, TRY, state

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

HANDED, LEAVE = "handed", "leave to try"
each_kind = pytest.mark.parametrize("way", ["read", "upgradable", "write"])
each_given = pytest.mark.parametrize("given", [HANDED, LEAVE])


class Stage:
    """A lock, and waits for it in a loop that runs in this thread throughout."""

    def __init__(self):
        self.lock = RWLock("value")
        self.loop = HandLoop()

    def waits(self, coroutine, given=LEAVE):
        """The coroutine, queued, and what it will be given."""
        if isinstance(coroutine, str):
            coroutine = TAKE_ASYNC[coroutine](self.lock)
        stepper = Stepper(coroutine)
        assert not stepper.step(), "it should have to wait"
        probe.set_patience(stepper.coroutine, given is LEAVE)
        return stepper

    def gets_in(self, stepper):
        """Its guard, now."""
        assert stepper.future.done(), "nobody has let it in"
        assert stepper.step(), "it was let in, and has to wait again"
        return stepper.result()

    def give_up(self, stepper):
        assert stepper.throw(asyncio.CancelledError())
        with pytest.raises(asyncio.CancelledError):
            stepper.result()


@pytest.fixture
def stage():
    stage = Stage()
    with stage.loop.running():
        yield stage
    assert stage.lock._state() == FREE


class TestLettingIn:
    @each_kind
    def test_who_is_handed_the_lock_has_it(self, stage, way):
        guard = stage.lock.try_write()
        wait = stage.waits(way, HANDED)
        guard.release()
        assert stage.lock._state() == state(**KINDS[way])
        stage.gets_in(wait).release()

    @each_kind
    def test_who_has_leave_to_try_has_not(self, stage, way):
        guard = stage.lock.try_write()
        wait = stage.waits(way)
        guard.release()
        assert stage.lock._state() == FREE
        stage.gets_in(wait).release()

    @each_kind
    def test_a_fair_release_hands_it_to_the_patient_too(self, stage, way):
        guard = stage.lock.try_write()
        wait = stage.waits(way)
        guard.release(fair=True)
        assert stage.lock._state() == state(**KINDS[way])
        stage.gets_in(wait).release()

    @pytest.mark.parametrize("way", TRY)
    def test_a_free_lock_may_be_had_before_who_has_leave_to_try(self, stage, way):
        guard = stage.lock.try_write()
        first, second = stage.waits("write"), stage.waits("write")
        guard.release()
        barged = TRY[way](stage.lock)
        assert barged is not None
        assert not first.step()
        barged.release()
        stage.gets_in(first).release()
        stage.gets_in(second).release()

    def test_who_tried_in_vain_comes_back_to_its_place(self, stage):
        guard = stage.lock.try_write()
        first, second = stage.waits("write"), stage.waits("write")
        guard.release()
        barged = stage.lock.try_read()
        assert not first.step()
        barged.release(fair=True)
        assert not second.future.done()
        stage.gets_in(first).release()
        stage.gets_in(second).release()

    def test_who_has_leave_to_try_is_not_kept_out_by_who_waits_behind_it(self, stage):
        guard = stage.lock.try_write()
        readers, writer = [stage.waits("read"), stage.waits("read")], stage.waits("write")
        guard.release()
        guards = [stage.gets_in(reader) for reader in readers]
        assert not writer.future.done()
        for guard in guards:
            guard.release()
        stage.gets_in(writer).release()

    def test_a_phase_ends_before_the_next_writer(self, stage):
        guard = stage.lock.try_write()
        waits = [stage.waits(way, HANDED) for way in ("read", "upgradable", "upgradable", "read", "write", "read")]
        guard.release()
        assert [wait.future.done() for wait in waits] == [True, True, False, True, False, False]
        guards = [stage.gets_in(waits[place]) for place in (0, 1, 3)]
        guards[1].release()
        assert waits[2].future.done(), "another upgradable one goes in beside the readers"
        guards += [stage.gets_in(waits[2])]
        for place in (0, 2, 3):
            guards[place].release()
        stage.gets_in(waits[4]).release()
        stage.gets_in(waits[5]).release()


class TestKeepingOut:
    """Newcomers wait behind those who want to read or write, as long as those wait and no longer."""

    @pytest.mark.parametrize("end", ["gives up", "gets in"])
    def test_a_writer_that_waits_no_longer_keeps_nobody_out(self, stage, end):
        guard = stage.lock.try_upgradable_read()
        writer, upgradable = stage.waits("write"), stage.waits("upgradable")
        assert stage.lock.try_read() is None
        if end == "gives up":
            stage.give_up(writer)
        else:
            guard.release()
            written = stage.gets_in(writer)
            guard = written.downgrade_to_upgradable()
        reader = stage.lock.try_read()
        assert reader is not None, "only an upgradable one waits"
        reader.release()
        guard.release()
        stage.gets_in(upgradable).release()

    def test_a_waiting_upgrade_keeps_newcomers_out(self, stage):
        one, two = stage.lock.try_read(), stage.lock.try_read()
        guard = stage.lock.aio.try_upgradable_read()
        upgrade, reader = stage.waits(guard.upgrade()), stage.waits("read")
        one.release()
        assert not reader.future.done()
        assert stage.lock.try_read() is None
        two.release()
        writer = stage.gets_in(upgrade)
        assert not reader.future.done()
        writer.release()
        stage.gets_in(reader).release()


class TestPassingOn:
    """Who was let in and does not want it any more lets the next one in."""

    @each_kind
    @each_given
    @pytest.mark.parametrize("behind", ["read", "upgradable", "write"])
    def test_a_cancelled_waiter_lets_the_next_one_in(self, stage, way, given, behind):
        guard = stage.lock.try_write()
        first, barrier, second = stage.waits(way, given), stage.waits("write"), stage.waits(behind)
        guard.release()
        assert first.future.done()
        stage.give_up(first)
        assert stage.lock._state()["waiters"] == [("task", "parked")]
        stage.give_up(barrier)
        stage.gets_in(second).release()

    @each_given
    def test_one_whose_time_is_up_lets_the_next_one_in(self, stage, given):
        guard = stage.lock.try_write()
        first, second = stage.waits(stage.lock.aio.write(timeout=9e9), given), stage.waits("write")
        timer = stage.loop.timers[-1]
        guard.release()
        barged = stage.lock.try_read() if given is LEAVE else None
        stage.loop.fire(timer)
        if given is HANDED:
            stage.gets_in(first).release()
        else:
            assert first.step()
            with pytest.raises(Timeout):
                first.result()
            barged.release()
        stage.gets_in(second).release()

    @pytest.mark.parametrize("behind", ["read", "upgradable"])
    def test_a_writer_that_gives_up_lets_those_behind_it_go(self, stage, behind):
        guard = stage.lock.try_read()
        writer, second = stage.waits("write"), stage.waits(behind)
        stage.give_up(writer)
        stage.gets_in(second).release()
        guard.release()

    def test_an_upgrade_that_gives_up_lets_readers_go(self, stage):
        reader, guard = stage.lock.try_read(), stage.lock.aio.try_upgradable_read()
        upgrade, second = stage.waits(guard.upgrade()), stage.waits("read")
        stage.give_up(upgrade)
        assert guard.value == "value"
        stage.gets_in(second).release()
        reader.release()
        guard.release()

    def test_an_upgrade_that_was_handed_the_lock_and_gives_up_is_undone(self, stage):
        reader, guard = stage.lock.try_read(), stage.lock.aio.try_upgradable_read()
        upgrade, second = stage.waits(guard.upgrade()), stage.waits("read")
        reader.release()
        assert stage.lock._state()["writer"]
        stage.give_up(upgrade)
        assert stage.lock._state() == state(upgradable=True)
        assert guard.value == "value"
        stage.gets_in(second).release()
        guard.release()

    def test_a_guard_is_spent_as_long_as_its_upgrade_is_not_undone(self, stage):
        reader, guard = stage.lock.try_read(), stage.lock.aio.try_upgradable_read()
        upgrade = stage.waits(guard.upgrade())
        reader.release()
        upgraded = guard.upgraded()
        with pytest.raises(RuntimeError):
            upgraded.__aenter__().send(None)
        stage.give_up(upgrade)
        guard.release()


class TestConversions:
    def test_a_downgrade_lets_readers_in(self, stage):
        guard = stage.lock.try_write()
        reader, writer = stage.waits("read"), stage.waits("write")
        guard = guard.downgrade()
        stage.gets_in(reader).release()
        assert not writer.future.done()
        guard.release()
        stage.gets_in(writer).release()

    def test_a_spent_guard_that_waits_to_be_upgraded_is_told_at_once(self, stage):
        reader, guard = stage.lock.try_read(), stage.lock.aio.try_upgradable_read()
        upgrade = stage.waits(guard.upgrade())
        guard.release()
        assert upgrade.step()
        with pytest.raises(RuntimeError):
            upgrade.result()
        reader.release()

    def test_the_end_of_an_upgraded_block_lets_readers_in(self, stage):
        guard = stage.lock.try_upgradable_read()
        with guard.upgraded():
            reader = stage.waits("read")
        stage.gets_in(reader).release()
        guard.release()
