"""What api.md promises of the guards of RWLock: capabilities, conversions, unlocked(), upgraded(), collection."""

import gc
import sys
import warnings

import pytest

from ferrule import ReadGuard, RWLock, Timeout, UpgradableGuard, WouldDeadlock, WriteGuard
from tests.support.race import eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, kinds, state

each_way = pytest.mark.parametrize("way", TAKE)

# each conversion that needs no waiting: the hold it begins with, the call, the guard and the state that it gives
CONVERSIONS = {
    "downgrade": ("write", WriteGuard.downgrade, ReadGuard, {"readers": 1}),
    "downgrade_to_upgradable": ("write", WriteGuard.downgrade_to_upgradable, UpgradableGuard, {"upgradable": True}),
    "upgrade": ("upgradable", UpgradableGuard.upgrade, WriteGuard, {"writer": True}),
    "try_upgrade": ("upgradable", UpgradableGuard.try_upgrade, WriteGuard, {"writer": True}),
    "downgrade of upgradable": ("upgradable", UpgradableGuard.downgrade, ReadGuard, {"readers": 1}),
}
each_conversion = pytest.mark.parametrize("conversion", CONVERSIONS)


def calls(guard):
    """Everything that a guard can be asked to do while it holds, by name."""
    return {
        name: getattr(guard, name)
        for name in ("release", "downgrade", "downgrade_to_upgradable", "upgrade", "try_upgrade")
        if hasattr(guard, name)
    }


def assert_spent(guard):
    """Nothing works any more, and nothing of the lock changes."""
    before = guard_lock_state(guard)
    with pytest.raises(RuntimeError):
        _ = guard.value
    for call in calls(guard).values():
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(RuntimeError), guard.unlocked():
        raise AssertionError("entered")
    if hasattr(guard, "upgraded"):
        with pytest.raises(RuntimeError), guard.upgraded():
            raise AssertionError("entered")
    if isinstance(guard, WriteGuard):
        with pytest.raises(RuntimeError):
            guard.value = "written"
    assert guard_lock_state(guard) == before
    assert "not held" in repr(guard)


def guard_lock_state(guard):
    """How its lock is; the collector knows which that is."""
    return next(thing._state() for thing in gc.get_referents(guard) if isinstance(thing, RWLock))


class TestValue:
    @each_way
    def test_is_read(self, way):
        value = object()
        with TAKE[way](RWLock(value)) as guard:
            assert guard.value is value

    @pytest.mark.parametrize("way", ["read", "upgradable"])
    def test_of_a_hold_that_reads_cannot_be_set(self, way):
        lock = RWLock(1)
        with TAKE[way](lock) as guard:
            with pytest.raises(AttributeError):
                guard.value = 2
            assert guard.value == 1

    def test_is_set_by_the_writer(self):
        lock = RWLock(1)
        with lock.write() as guard:
            guard.value += 1
            assert guard.value == 2
        with lock.read() as guard:
            assert guard.value == 2

    @each_way
    def test_cannot_be_deleted(self, way):
        with TAKE[way](RWLock(1)) as guard:
            with pytest.raises(AttributeError):
                del guard.value
            assert guard.value == 1

    @each_way
    def test_is_reached_from_another_thread_while_the_hold_is_in_force(self, way):
        with TAKE[way](RWLock(1)) as guard:
            assert spawn(lambda: guard.value).result() == 1

    @each_way
    def test_is_refused_after_the_hold_also_beside_another(self, way):
        lock = RWLock("kept")
        guard = TAKE[way](lock)
        guard.release()
        assert_spent(guard)
        for other in TAKE:
            with TAKE[other](lock) as holder:
                assert_spent(guard)
                assert holder.value == "kept"


class TestRelease:
    @each_way
    @pytest.mark.parametrize("fair", [False, True])
    def test_ends_the_hold_once(self, way, fair):
        lock = RWLock()
        guard = TAKE[way](lock)
        assert guard.release(fair=fair) is None
        assert lock._state() == FREE
        with pytest.raises(RuntimeError):
            guard.release(fair=fair)
        assert lock._state() == FREE

    @each_way
    def test_fair_is_a_keyword(self, way):
        with TAKE[way](RWLock()) as guard, pytest.raises(TypeError):
            guard.release(True)

    @each_way
    def test_in_another_thread(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        spawn(guard.release).result()
        assert lock._state() == FREE

    def test_of_one_reader_leaves_the_others(self):
        lock = RWLock()
        one, other = lock.read(), lock.read()
        one.release()
        assert_spent(one)
        assert lock._state() == state(readers=1)
        other.release()
        assert lock._state() == FREE

    @each_way
    def test_the_lock_lives_as_long_as_its_guard(self, way):
        guard = TAKE[way](RWLock(["kept"]))
        gc.collect()
        assert guard.value == ["kept"]
        guard.release()


class TestWith:
    @each_way
    def test_enters_as_itself_and_releases(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        with guard as entered:
            assert entered is guard
            assert lock._state() == FREE | KINDS[way]
        assert lock._state() == FREE
        assert_spent(guard)

    @each_way
    @pytest.mark.parametrize("other", TAKE)
    def test_a_hold_released_within_leaves_the_next_one_alone(self, way, other):
        lock = RWLock()
        with TAKE[way](lock) as guard:
            guard.release()
            next_one = TAKE[other](lock)
        assert lock._state() == FREE | KINDS[other]
        next_one.release()

    @each_way
    def test_is_left_quietly_in_another_thread(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        guard.__enter__()
        spawn(guard.__exit__, None, None, None).result()
        assert lock._state() == FREE

    @each_conversion
    def test_ends_the_hold_also_if_it_was_converted_within(self, conversion):
        way, convert, kind, shown = CONVERSIONS[conversion]
        lock = RWLock()
        with TAKE[way](lock) as guard:
            successor = convert(guard)
            assert type(successor) is kind
            assert lock._state() == FREE | shown
        assert lock._state() == FREE
        assert_spent(successor)

    @each_conversion
    def test_ends_the_hold_also_if_its_new_guard_was_dropped_within(self, conversion):
        """The block's own guard keeps the hold: no warning, and it is in force until the block ends."""
        way, convert, _, shown = CONVERSIONS[conversion]
        lock = RWLock()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with TAKE[way](lock) as guard:
                convert(guard)
                gc.collect()
                assert lock._state() == FREE | shown
        assert lock._state() == FREE

    @each_conversion
    def test_of_a_successor_ends_the_hold_and_the_outer_one_ends_quietly(self, conversion):
        way, convert, _, _ = CONVERSIONS[conversion]
        lock = RWLock()
        with TAKE[way](lock) as guard:
            with convert(guard):
                pass
            assert lock._state() == FREE
            other = lock.read()
        assert lock._state() == state(readers=1)
        other.release()

    def test_ends_the_hold_after_any_number_of_conversions(self):
        lock = RWLock()
        with lock.write() as guard:
            for _ in range(1000):
                guard = guard.downgrade_to_upgradable().upgrade()
            assert lock._state() == state(writer=True)
            guard = guard.downgrade()
        assert lock._state() == FREE
        assert_spent(guard)

    def test_conversions_pile_nothing_up(self):
        """A thousand guards of one hold: only the first one and the one in force live."""
        lock = RWLock()
        with lock.write() as guard:
            for _ in range(10):
                guard = guard.downgrade_to_upgradable().upgrade()
            gc.collect()
            alive = sum(isinstance(thing, (WriteGuard, UpgradableGuard)) for thing in gc.get_objects())
            for _ in range(1000):
                guard = guard.downgrade_to_upgradable().upgrade()
            gc.collect()
            assert sum(isinstance(thing, (WriteGuard, UpgradableGuard)) for thing in gc.get_objects()) <= alive


class TestConversion:
    @each_conversion
    def test_spends_the_guard_and_gives_a_new_one(self, conversion):
        way, convert, kind, shown = CONVERSIONS[conversion]
        lock = RWLock("value")
        guard = TAKE[way](lock)
        successor = convert(guard)
        assert type(successor) is kind
        assert lock._state() == FREE | shown
        assert_spent(guard)
        assert successor.value == "value"
        successor.release()
        assert lock._state() == FREE
        assert_spent(successor)

    @each_conversion
    def test_in_another_thread(self, conversion):
        way, convert, _, shown = CONVERSIONS[conversion]
        lock = RWLock()
        successor = spawn(convert, TAKE[way](lock)).result()
        assert lock._state() == FREE | shown
        successor.release()

    def test_downgrade_lets_readers_in_and_no_writer(self):
        lock = RWLock()
        writer = lock.write()
        threads = [spawn(lock.read)]
        eventually(lambda: len(kinds(lock)) == 1)
        threads.append(spawn(lock.write))
        eventually(lambda: len(kinds(lock)) == 2)
        reader = writer.downgrade()
        second = threads[0].result()
        assert lock._state() == state(readers=2, parked=True, waiters=[("thread", "parked")])
        reader.release()
        second.release()
        threads[1].result().release()
        assert lock._state() == FREE

    def test_downgrade_to_upgradable_lets_readers_in_and_can_go_back(self):
        lock = RWLock(0)
        guard = lock.write()
        thread = spawn(lock.read)
        eventually(lambda: kinds(lock))
        upgradable = guard.downgrade_to_upgradable()
        reader = thread.result()
        assert lock._state() == state(readers=1, upgradable=True)
        assert upgradable.try_upgrade() is None
        assert upgradable.value == 0
        reader.release()
        upgradable.upgrade().release()
        assert lock._state() == FREE

    def test_upgrade_waits_for_the_readers_and_lets_no_writer_between(self):
        lock = RWLock(0)
        reader = lock.read()
        guard = lock.upgradable_read()
        writer = spawn(write_one, lock)
        eventually(lambda: len(kinds(lock)) == 1)
        upgrade = spawn(guard.upgrade)
        eventually(lambda: len(kinds(lock)) == 2)
        assert lock.try_read() is None
        reader.release()
        upgraded = upgrade.result()
        assert lock._state() == state(writer=True, parked=True, waiters=[("thread", "parked")])
        assert upgraded.value == 0
        upgraded.value = 10
        upgraded.release()
        writer.result()
        with lock.read() as reader:
            assert reader.value == 11

    def test_new_readers_wait_behind_a_waiting_upgrade(self):
        lock = RWLock()
        reader, guard = lock.read(), lock.upgradable_read()
        upgrade = spawn(guard.upgrade)
        eventually(lambda: kinds(lock))
        newcomer = lock.try_read()
        reader.release()
        assert newcomer is None
        upgrade.result().release()
        assert lock._state() == FREE

    def test_a_timed_out_upgrade_leaves_the_upgradable_hold_and_lets_readers_in(self):
        lock = RWLock(0)
        reader = lock.read()
        guard = lock.upgradable_read()
        for timeout in (0, 1e-3):
            with pytest.raises(Timeout):
                guard.upgrade(timeout=timeout)
        upgrade = spawn(lambda: guard.upgrade(timeout=1))
        eventually(lambda: len(kinds(lock)) == 1)
        waits = spawn(lock.read)
        with pytest.raises(Timeout):
            upgrade.result()
        waits.result().release()
        assert guard.value == 0
        assert lock._state() == state(readers=1, upgradable=True)
        reader.release()
        guard.upgrade(timeout=0).release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("how", ["release", "downgrade", "exit"])
    def test_who_ends_or_converts_a_guard_that_waits_to_be_upgraded_wins(self, how):
        lock = RWLock()
        reader = lock.read()
        guard = lock.upgradable_read()
        upgrade = spawn(guard.upgrade)
        eventually(lambda: kinds(lock))
        successor = None
        match how:
            case "release":
                guard.release()
            case "downgrade":
                successor = guard.downgrade()
            case "exit":
                guard.__exit__(None, None, None)
        with pytest.raises(RuntimeError):
            upgrade.result()
        assert lock._state() == state(readers=1 + (successor is not None))
        if successor is not None:
            successor.release()
        reader.release()
        assert lock._state() == FREE

    def test_of_two_upgrades_of_one_guard_one_wins(self):
        lock = RWLock()
        reader = lock.read()
        guard = lock.upgradable_read()

        def upgrade():
            try:
                return guard.upgrade()
            except RuntimeError:
                return None

        threads = [spawn(upgrade) for _ in range(2)]
        eventually(lambda: len(kinds(lock)) == 2)
        reader.release()
        won = [thread.result() for thread in threads]
        assert sum(writer is not None for writer in won) == 1
        assert lock._state() == state(writer=True)
        next(filter(None, won)).release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("timeout", [-1, "1"])
    def test_a_bad_timeout_of_upgrade_is_refused(self, timeout):
        with RWLock().upgradable_read() as guard:
            with pytest.raises((ValueError, TypeError)):
                guard.upgrade(timeout=timeout)
            with pytest.raises(TypeError):
                guard.upgrade(1)
            assert guard.value is None


def write_one(lock):
    with lock.write() as guard:
        guard.value += 1


class TestUnlocked:
    @each_way
    def test_is_free_within_and_held_after(self, way):
        lock = RWLock()
        with TAKE[way](lock) as guard:
            with guard.unlocked() as entered:
                assert entered is None
                assert lock._state() == FREE
                assert "unlocked for a while" in repr(guard)
                spawn(write_value, lock, 7).result()
            assert lock._state() == FREE | KINDS[way]
            assert guard.value == 7
        assert lock._state() == FREE

    @each_way
    def test_is_held_again_when_the_body_raises(self, way):
        lock = RWLock()
        with TAKE[way](lock) as guard:
            with pytest.raises(KeyError), guard.unlocked():
                raise KeyError
            assert lock._state() == FREE | KINDS[way]
            assert guard.value is None

    @each_way
    def test_the_guard_is_of_no_use_within(self, way):
        lock = RWLock()
        with TAKE[way](lock) as guard:
            with guard.unlocked():
                for call in calls(guard).values():
                    with pytest.raises(RuntimeError):
                        call()
                with pytest.raises(RuntimeError):
                    _ = guard.value
                with pytest.raises(RuntimeError), guard.unlocked():
                    raise AssertionError("entered")
                assert lock._state() == FREE
            assert lock._state() == FREE | KINDS[way]
        assert lock._state() == FREE

    @each_way
    def test_ends_once_and_only_if_it_was_entered(self, way):
        lock = RWLock()
        with TAKE[way](lock) as guard:
            block = guard.unlocked()
            with pytest.raises(RuntimeError):
                block.__exit__(None, None, None)
            with block:
                pass
            with pytest.raises(RuntimeError):
                block.__exit__(None, None, None)
            assert lock._state() == FREE | KINDS[way]
        assert lock._state() == FREE

    @pytest.mark.parametrize("way", ["upgradable", "write"])
    def test_a_hold_kept_at_the_end_would_deadlock(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        with pytest.raises(WouldDeadlock), guard.unlocked():
            kept = lock.write()
        kept.release()
        assert lock._state() == FREE

    @each_way
    def test_waits_for_whoever_came_within(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        other = None

        def leave():
            eventually(lambda: kinds(lock))
            other.release()

        with guard.unlocked():
            other = spawn(lock.write).result()
            thread = spawn(leave)
        thread.result()
        assert lock._state() == FREE | KINDS[way]
        guard.release()

    @each_conversion
    def test_of_a_converted_hold(self, conversion):
        way, convert, _, shown = CONVERSIONS[conversion]
        lock = RWLock()
        with TAKE[way](lock) as guard:
            successor = convert(guard)
            with successor.unlocked():
                assert lock._state() == FREE
                assert_refuses_release(guard)
            assert lock._state() == FREE | shown
            assert_refuses_release(guard)
            assert successor.value is None
        assert lock._state() == FREE


def assert_refuses_release(guard):
    with pytest.raises(RuntimeError):
        guard.release()


def write_value(lock, value):
    with lock.write() as guard:
        guard.value = value


class TestUpgraded:
    def test_writes_within_and_is_upgradable_again_after(self):
        lock = RWLock(0)
        with lock.upgradable_read() as guard:
            for count in range(1, 4):
                with guard.upgraded() as writer:
                    assert type(writer) is WriteGuard
                    assert lock._state() == state(writer=True)
                    assert "upgraded for a while" in repr(guard)
                    writer.value = count
                assert lock._state() == state(upgradable=True)
                assert guard.value == count
                assert_spent(writer)
        assert lock._state() == FREE

    def test_waits_for_the_readers(self):
        lock = RWLock(0)
        reader = lock.read()
        guard = lock.upgradable_read()

        def leave():
            eventually(lambda: kinds(lock))
            reader.release()

        thread = spawn(leave)
        with guard.upgraded() as writer:
            writer.value = 1
        thread.result()
        guard.release()
        assert lock._state() == FREE

    def test_an_exception_passes_and_the_hold_is_upgradable_again(self):
        lock = RWLock()
        with lock.upgradable_read() as guard:
            with pytest.raises(KeyError), guard.upgraded():
                raise KeyError
            assert lock._state() == state(upgradable=True)
            guard.upgrade().release()
        assert lock._state() == FREE

    def test_its_end_lets_waiting_readers_in(self):
        lock = RWLock()
        with lock.upgradable_read() as guard:
            with guard.upgraded():
                thread = spawn(lock.read)
                eventually(lambda: kinds(lock))
            reader = thread.result()
            assert lock._state() == state(readers=1, upgradable=True)
            reader.release()
        assert lock._state() == FREE

    def test_a_hold_released_within_stays_so(self):
        lock = RWLock()
        with lock.upgradable_read() as guard:
            with guard.upgraded() as writer:
                writer.release()
                other = spawn(lock.read).result()
            assert lock._state() == state(readers=1)
            assert_spent(guard)
        assert lock._state() == state(readers=1)
        other.release()

    def test_a_hold_made_one_to_read_within_stays_so_until_the_block_of_the_first_guard_ends(self):
        lock = RWLock(0)
        with lock.upgradable_read() as guard:
            with guard.upgraded() as writer:
                reader = writer.downgrade()
            assert lock._state() == state(readers=1)
            assert reader.value == 0
            assert_refuses_release(guard)
        assert lock._state() == FREE

    def test_a_hold_made_upgradable_within_comes_back_to_the_guard(self):
        lock = RWLock()
        with lock.upgradable_read() as guard:
            with guard.upgraded() as writer:
                inner = writer.downgrade_to_upgradable()
            assert lock._state() == state(upgradable=True)
            assert_spent(inner)
            assert guard.value is None
        assert lock._state() == FREE

    def test_ends_once_and_only_if_it_was_entered(self):
        lock = RWLock()
        guard = lock.upgradable_read()
        block = guard.upgraded()
        with pytest.raises(RuntimeError):
            block.__exit__(None, None, None)
        writer = guard.upgrade()
        with pytest.raises(RuntimeError):
            block.__exit__(None, None, None)
        assert lock._state() == state(writer=True)
        writer.release()


class TestDropped:
    """A hold whose guards have all been collected is released, and then a warning is given."""

    @each_way
    def test_releases_and_warns(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        with pytest.warns(ResourceWarning, match="guard"):
            del guard
        assert lock._state() == FREE

    @each_conversion
    def test_a_converted_hold_likewise_once_its_last_guard_is_gone(self, conversion):
        way, convert, _, shown = CONVERSIONS[conversion]
        lock = RWLock()
        guard = TAKE[way](lock)
        successor = convert(guard)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del guard
        assert lock._state() == FREE | shown
        with pytest.warns(ResourceWarning, match="guard"):
            del successor
        assert lock._state() == FREE

    @each_way
    def test_the_lock_is_free_when_the_warning_is_given(self, way):
        lock = RWLock()
        seen = []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda *args, **named: seen.append(lock._state())
            TAKE[way](lock)
        assert seen == [FREE]

    @each_way
    def test_no_warning_for_a_hold_that_ended(self, way):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            guard = TAKE[way](RWLock())
            guard.release()
            del guard
            with TAKE[way](RWLock()):
                pass
            gc.collect()

    @each_way
    def test_who_waits_goes_on(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        thread = spawn(lock.write)
        eventually(lambda: kinds(lock))
        with pytest.warns(ResourceWarning):
            del guard
        thread.result().release()
        assert lock._state() == FREE

    @each_way
    def test_in_a_cycle_through_the_value(self, way):
        lock = RWLock([])
        with lock.write() as writer:
            cell = writer.value
        cell.append(TAKE[way](lock))
        del writer, cell
        with pytest.warns(ResourceWarning):
            del lock
            gc.collect()

    @each_way
    def test_warnings_that_are_errors_are_reported_and_the_lock_is_free(self, way, monkeypatch):
        lock = RWLock()
        seen = []
        monkeypatch.setattr(sys, "unraisablehook", lambda report: seen.append(report.exc_type))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            TAKE[way](lock)
        assert seen == [ResourceWarning]
        assert lock._state() == FREE
