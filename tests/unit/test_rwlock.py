"""What api.md promises of RWLock itself, on the sync face: the kinds of hold, who keeps whom out, phases, owners."""

import contextlib
import copy
import math
import pickle
import threading
import weakref

import pytest

import ferrule
from ferrule import ReadGuard, RWLock, Timeout, UpgradableGuard, WouldDeadlock, WriteGuard
from tests.support.race import eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, TRY, holding, kinds, state

GUARDS = {"read": ReadGuard, "read_recursive": ReadGuard, "upgradable": UpgradableGuard, "write": WriteGuard}

FOR_EVER_OR_LONG = [None, math.inf, 1e308, 10**30, 5, 5.0, True]
BAD_TIMEOUTS = [(-1, ValueError), (math.nan, ValueError), (-math.inf, ValueError), ("1", TypeError), (1j, TypeError)]

# what can be had by a newcomer beside each set of holds, with nobody waiting
TRUTH = {
    (): {"read", "read_recursive", "upgradable", "write"},
    ("read",): {"read", "read_recursive", "upgradable"},
    ("read", "read"): {"read", "read_recursive", "upgradable"},
    ("upgradable",): {"read", "read_recursive"},
    ("read", "upgradable"): {"read", "read_recursive"},
    ("write",): set(),
}

each_way = pytest.mark.parametrize("way", TAKE)


@contextlib.contextmanager
def waiting(lock, *ways):
    """Somebody waits for each of these inside the block, queued in this order, or gets in where nothing keeps him out.

    They have ended when the block has.

    Gives the list of those that got in, in order. Each leaves again at once.
    """
    got_in = []

    def wait(way):
        with TAKE[way](lock):
            got_in.append(way)

    before = len(kinds(lock))
    threads = []
    for count, way in enumerate(ways, before + 1):
        threads.append(spawn(wait, way))
        eventually(lambda count=count: len(kinds(lock)) == count or len(got_in) == count - before)
    try:
        yield got_in
    finally:
        for thread in threads:
            thread.result()


class TestMaking:
    def test_protects_none_unless_given_a_value(self):
        with RWLock().read() as guard:
            assert guard.value is None

    @each_way
    def test_protects_the_value_it_was_given(self, way):
        value = object()
        with TAKE[way](RWLock(value)) as guard:
            assert guard.value is value

    def test_is_free_when_made(self):
        lock = RWLock([])
        assert (lock.locked(), lock.locked_exclusive(), lock.readers) == (False, False, 0)
        assert lock._state() == FREE

    @pytest.mark.parametrize(
        ("args", "named"), [((1, 2), {}), ((), {"value": 1}), ((), {"fair": True}), ((1, True), {})]
    )
    def test_takes_one_positional_value(self, args, named):
        with pytest.raises(TypeError):
            RWLock(*args, **named)

    def test_is_generic_at_run_time(self):
        alias = RWLock[int]
        assert alias.__origin__ is RWLock
        assert alias.__args__ == (int,)
        assert type(alias(3)) is RWLock
        for guard in GUARDS.values():
            assert guard[int].__origin__ is guard

    def test_nothing_of_it_can_be_subclassed_or_made_by_hand(self):
        for final in (RWLock, *GUARDS.values()):
            with pytest.raises(TypeError):
                type("Sub", (final,), {})
        for guard in GUARDS.values():
            for cls in (guard, *guard.__mro__[1:-1]):
                for args in ((), (RWLock(),)):
                    with pytest.raises(TypeError):
                        cls(*args)

    def test_takes_no_foreign_attributes(self):
        lock = RWLock()
        with pytest.raises(AttributeError):
            lock.colour = "red"
        with lock.read() as guard, pytest.raises(AttributeError):
            guard.colour = "red"


class TestTaking:
    @each_way
    def test_gives_a_guard_of_its_kind_and_shows(self, way):
        lock = RWLock()
        guard = TAKE[way](lock)
        assert type(guard) is GUARDS[way]
        assert lock._state() == FREE | KINDS[way]
        assert lock.locked()
        assert lock.locked_exclusive() is (way == "write")
        assert lock.readers == KINDS[way].get("readers", 0)
        guard.release()
        assert lock._state() == FREE

    @each_way
    @pytest.mark.parametrize("timeout", [*FOR_EVER_OR_LONG, 0, 0.0, False, 1e-9], ids=repr)
    def test_a_free_lock_is_had_whatever_the_timeout(self, way, timeout):
        lock = RWLock()
        TAKE[way](lock, timeout=timeout).release()
        assert lock._state() == FREE

    @each_way
    @pytest.mark.parametrize(("timeout", "error"), BAD_TIMEOUTS, ids=repr)
    @pytest.mark.parametrize("held", [(), ("write",)], ids=["free", "held"])
    def test_a_bad_timeout_is_refused_also_by_a_free_lock(self, way, timeout, error, held):
        lock = RWLock()
        with holding(lock, *held):
            before = lock._state()
            with pytest.raises(error):
                TAKE[way](lock, timeout=timeout)
            assert lock._state() == before

    @each_way
    def test_the_timeout_is_a_keyword(self, way):
        with pytest.raises(TypeError):
            TAKE[way](RWLock(), 1)

    @pytest.mark.parametrize("held", TRUTH, ids="+".join)
    @each_way
    def test_truth_table(self, held, way):
        """try_ gives a guard if and only if the hold can be had; so does waiting, without waiting or with a timeout."""
        lock = RWLock()
        with holding(lock, *held):
            before = lock._state()

            def attempt():
                guard = TRY[way](lock)
                if guard is not None:
                    assert type(guard) is GUARDS[way]
                    guard.release()
                for timeout in (0, 1e-4):
                    try:
                        TAKE[way](lock, timeout=timeout).release()
                    except Timeout:
                        assert guard is None
                    else:
                        assert guard is not None
                return guard is not None

            # In a thread of its own, since the owner of a hold would be told that it waits for itself.
            assert spawn(attempt).result() is (way in TRUTH[held])
            assert lock._state() == before
        assert lock._state() == FREE

    def test_many_readers_at_once(self):
        lock = RWLock()
        guards = [lock.read() for _ in range(100)]
        assert lock.readers == 100
        for count, guard in enumerate(reversed(guards)):
            guard.release()
            assert lock.readers == 99 - count
        assert lock._state() == FREE

    def test_the_upgradable_hold_is_not_among_the_readers(self):
        lock = RWLock()
        with lock.upgradable_read(), lock.read():
            assert lock.readers == 1

    @each_way
    def test_an_exception_in_a_holder_releases(self, way):
        lock = RWLock()
        with pytest.raises(KeyError), TAKE[way](lock):
            raise KeyError
        assert lock._state() == FREE
        TAKE[way](lock, timeout=1).release()

    def test_what_the_writer_did_is_seen(self):
        lock = RWLock({})
        with lock.write() as guard:
            guard.value["key"] = 1
            guard.value = {**guard.value, "other": 2}
        with lock.read() as guard:
            assert guard.value == {"key": 1, "other": 2}

    def test_too_many_readers_is_an_error_and_changes_nothing(self):
        lock = RWLock()
        lock._add_readers(2**28)
        before = lock._state()
        for take in (lock.read, lock.try_read, lock.read_recursive, lock.try_read_recursive):
            with pytest.raises(OverflowError):
                take()
        assert lock._state() == before
        with lock.upgradable_read() as guard:
            with pytest.raises(OverflowError):
                guard.downgrade()
            assert guard.value is None
        assert lock._state() == before
        assert spawn(lock.try_write).result() is None
        lock._add_readers(-1)
        lock.read().release()
        lock._add_readers(1 - 2**28)
        assert lock._state() == FREE
        lock.write().release()


class TestWaiting:
    @pytest.mark.parametrize(("held", "way"), [(h, w) for h in TRUTH for w in TAKE if w not in TRUTH[h]])
    def test_waits_until_the_holders_have_left(self, held, way):
        lock = RWLock()
        with holding(lock, *held) as guards, waiting(lock, way) as got_in:
            assert got_in == []
            for guard in guards:
                guard.release()
            eventually(lambda: got_in == [way])
        assert lock._state() == FREE

    @pytest.mark.parametrize("fair", [False, True])
    def test_readers_behind_a_writer_that_has_left_go_on_together(self, fair):
        lock = RWLock()
        meet = threading.Barrier(4, timeout=30)

        def read():
            with lock.read():
                meet.wait()

        with lock.write() as writer:
            threads = [spawn(read) for _ in range(3)]
            eventually(lambda: len(kinds(lock)) == 3)
            writer.release(fair=fair)
            meet.wait()
        for thread in threads:
            thread.result()
        assert lock._state() == FREE

    def test_new_readers_wait_behind_a_waiting_writer(self):
        lock = RWLock()
        reader = lock.read()
        with waiting(lock, "write", "read", "upgradable"):
            assert lock.try_read() is None
            assert lock.try_upgradable_read() is None
            with pytest.raises(Timeout):
                lock.read(timeout=1e-3)
            reader.release()
        assert lock._state() == FREE

    def test_phases_come_in_order_of_arrival(self):
        lock = RWLock()
        ways = ["write", "read", "write", "upgradable", "write"]
        order = []

        def hold(way):
            with TAKE[way](lock) as guard:
                order.append(way)
                guard.release(fair=True)

        threads = []
        with lock.read() as first:
            for count, way in enumerate(ways, 1):
                threads.append(spawn(hold, way))
                eventually(lambda count=count: len(kinds(lock)) == count)
            first.release(fair=True)
            for thread in threads:
                thread.result()
        assert order == ways
        assert lock._state() == FREE

    def test_a_phase_has_all_readers_up_to_the_next_writer_and_one_upgradable(self):
        """All that are let in meet inside, the others stay queued."""
        lock = RWLock()
        meet = threading.Barrier(5, timeout=30)

        def hold(way, meets):
            with TAKE[way](lock):
                if meets:
                    meet.wait()  # all are inside
                    meet.wait()  # and seen

        queue = [("read", True), ("upgradable", True), ("read", True), ("upgradable", False), ("read", True)]
        queue += [("write", False), ("read", False)]
        threads = []
        with lock.write() as writer:
            for count, (way, meets) in enumerate(queue, 1):
                threads.append(spawn(hold, way, meets))
                eventually(lambda count=count: len(kinds(lock)) == count)
            writer.release(fair=True)
            meet.wait()
            assert lock._state() == state(readers=3, upgradable=True, parked=True, waiters=[("thread", "parked")] * 3)
            meet.wait()
        for thread in threads:
            thread.result()
        assert lock._state() == FREE

    def test_a_second_upgradable_does_not_keep_readers_out(self):
        lock = RWLock()
        with lock.upgradable_read() as guard, waiting(lock, "upgradable") as got_in:
            for take in (lock.try_read, lock.read, lock.try_read_recursive):
                take().release()
            assert got_in == []
            guard.release()

    def test_read_recursive_passes_a_waiting_writer_where_readers_are_inside(self):
        lock = RWLock()
        with lock.read() as outer, waiting(lock, "write") as got_in:
            assert lock.try_read() is None
            for take in (lock.read_recursive, lock.try_read_recursive):
                inner = take()
                assert lock.readers == 2
                inner.release()
            assert got_in == []
            outer.release()
        assert lock._state() == FREE

    def test_read_recursive_passes_also_beside_the_upgradable_hold_and_a_waiting_upgrade(self):
        lock = RWLock()
        guard = lock.upgradable_read()
        with waiting(lock, "write"):
            lock.read_recursive().release()
            reader = lock.read_recursive()
            upgrade = spawn(guard.upgrade)
            eventually(lambda: len(kinds(lock)) == 2)
            assert lock.try_read() is None
            lock.try_read_recursive().release()
            reader.release()
            upgrade.result().release()
        assert lock._state() == FREE

    def test_read_recursive_waits_for_a_writer_at_work(self):
        lock = RWLock()
        with lock.write() as guard, waiting(lock, "read_recursive") as got_in:
            assert got_in == []
            guard.release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("ways", [["read"], ["read", "read"], ["upgradable"], ["read", "upgradable"]], ids="+".join)
    def test_who_waits_behind_a_writer_that_times_out_goes_on_at_once(self, ways):
        lock = RWLock()
        reader = lock.read()

        def write():
            with pytest.raises(Timeout):
                lock.write(timeout=1)

        writer = spawn(write)
        eventually(lambda: len(kinds(lock)) == 1)
        with waiting(lock, *ways) as got_in:
            writer.result()
            eventually(lambda: sorted(got_in) == sorted(ways))
        assert lock._state() == state(readers=1)
        reader.release()

    def test_a_thousand_time_outs_leave_nothing(self):
        lock = RWLock()
        with holding(lock, "read") as (reader,):
            for _ in range(1000):
                with pytest.raises(Timeout):
                    lock.write(timeout=1e-7)
            assert lock._state() == state(readers=1)
            reader.release()
            lock.write(timeout=0).release()

    def test_a_writer_that_has_given_up_holds_nobody_back_any_more(self):
        """Those who wait for the upgradable hold alone are passed by readers, as if no writer had ever come."""
        lock = RWLock()
        with lock.read(), pytest.raises(Timeout):
            lock.write(timeout=1e-3)
        upgradable = spawn(lock.upgradable_read).result()
        with waiting(lock, "upgradable"):
            reader = lock.try_read()
            upgradable.release()
        assert reader is not None
        reader.release()
        assert lock._state() == FREE

    def test_a_free_lock_goes_to_whoever_comes_first(self):
        """A writer that has just been woken is passed by one that did not sleep; the hold is not lost."""
        lock = RWLock()
        for _ in range(100):
            guard = lock.write()
            with waiting(lock, "write"):
                guard.release()
                if (again := lock.try_write()) is not None:
                    again.release()
            assert lock._state() == FREE

    def test_the_timeout_says_what_was_wanted(self):
        lock = RWLock()
        wanted = {"read": "read", "upgradable": "upgradable", "write": "write"}
        with lock.write():
            for way, word in wanted.items():
                with pytest.raises(Timeout, match=rf"RWLock.*{word}.* 0\.001 s"):
                    spawn(lambda way=way: TAKE[way](lock, timeout=1e-3)).result()


class TestOwners:
    """Read holds have no owner; the hold to write and the upgradable one have."""

    @pytest.mark.parametrize("held", ["write", "upgradable"])
    @each_way
    @pytest.mark.parametrize("timeout", [None, 1, math.inf])
    def test_waiting_for_oneself_would_deadlock_at_once(self, held, way, timeout):
        lock = RWLock()
        with holding(lock, held):
            if way in TRUTH[(held,)]:
                TAKE[way](lock, timeout=timeout).release()
                return
            before = lock._state()
            with pytest.raises(WouldDeadlock, match=r"this thread.* holds <ferrule\.RWLock"):
                TAKE[way](lock, timeout=timeout)
            assert lock._state() == before
        assert lock._state() == FREE

    @pytest.mark.parametrize("held", ["write", "upgradable"])
    @pytest.mark.parametrize("way", ["upgradable", "write"])
    def test_without_waiting_it_is_a_timeout_and_try_gives_none(self, held, way):
        lock = RWLock()
        with holding(lock, held):
            with pytest.raises(Timeout):
                TAKE[way](lock, timeout=0)
            assert TRY[way](lock) is None

    @pytest.mark.parametrize("take", TRY)
    def test_a_hold_that_was_tried_for_has_its_owner(self, take):
        lock = RWLock()
        with TRY[take](lock):
            if take in ("write", "upgradable"):
                with pytest.raises(WouldDeadlock):
                    lock.write()
            else:
                with pytest.raises(Timeout):
                    lock.write(timeout=1e-3)
        assert lock._state() == FREE

    def test_a_reader_behind_a_writer_that_waits_for_it_would_deadlock(self):
        """The thread has the upgradable hold, a writer waits for that, and reading would wait behind the writer."""
        lock = RWLock()
        with lock.upgradable_read() as guard, waiting(lock, "write"):
            with pytest.raises(WouldDeadlock):
                lock.read()
            lock.read_recursive().release()
            guard.release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("convert", ["upgrade", "try_upgrade", "downgrade_to_upgradable"])
    def test_a_converted_hold_is_its_takers(self, convert):
        lock = RWLock()
        guard = lock.write() if convert == "downgrade_to_upgradable" else lock.upgradable_read()
        successor = spawn(getattr(guard, convert)).result()
        with pytest.raises(WouldDeadlock):
            lock.write()
        successor.release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("held", ["write", "upgradable"])
    def test_a_hold_made_one_to_read_has_no_owner_any_more(self, held):
        lock = RWLock()
        reader = TAKE[held](lock).downgrade()
        with pytest.raises(Timeout):
            lock.write(timeout=1e-3)
        lock.upgradable_read().release()
        reader.release()

    @pytest.mark.parametrize("held", ["write", "upgradable"])
    def test_a_hold_is_its_takers_wherever_the_guard_went(self, held):
        lock = RWLock()
        guard = spawn(TAKE[held], lock).result()
        with pytest.raises(Timeout):
            lock.write(timeout=1e-3)
        mine = guard
        mine.release()
        lock.write().release()

    def test_an_owner_is_forgotten_with_its_hold(self):
        lock = RWLock()
        for way in ("write", "upgradable"):
            TAKE[way](lock).release()
            other = spawn(TAKE[way], lock).result()
            with pytest.raises(Timeout):
                lock.write(timeout=1e-3)
            assert len(lock._holders(None)) == 1
            other.release()
        assert lock._holders(None) == []

    def test_who_was_handed_the_lock_owns_it(self):
        lock = RWLock()
        first = lock.write()

        def work():
            with lock.write(), pytest.raises(WouldDeadlock):
                lock.read()

        thread = spawn(work)
        eventually(lambda: kinds(lock))
        first.release(fair=True)
        thread.result()
        assert lock._state() == FREE


class TestReading:
    def test_repr_shows_the_state(self):
        lock = RWLock()
        seen = {repr(lock)}
        for held in TRUTH:
            with holding(lock, *held):
                assert repr(lock).startswith("<ferrule.RWLock ")
                seen.add(repr(lock))
        assert len(seen) == len(TRUTH)

    def test_repr_of_a_lock_that_protects_itself_ends(self):
        lock = RWLock()
        with lock.write() as guard:
            guard.value = lock
            assert "RWLock" in repr(lock)
            guard.value = guard
            assert "WriteGuard" in repr(guard)
            guard.value = None

    def test_is_weakly_referable_and_its_guards_are_not(self):
        lock = RWLock()
        reference = weakref.ref(lock)
        for way in TAKE:
            with TAKE[way](lock) as guard, pytest.raises(TypeError):
                weakref.ref(guard)
        del guard
        assert reference() is lock
        del lock
        assert reference() is None

    def test_hash_and_equality_are_by_object(self):
        lock, other = RWLock(1), RWLock(1)
        assert lock == lock
        assert lock != other
        assert len({lock, other, lock}) == 2

    @pytest.mark.parametrize("refused", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_copying_and_pickling_are_refused(self, refused):
        lock = RWLock()
        with pytest.raises(TypeError, match="RWLock"):
            refused(lock)
        for way in TAKE:
            with TAKE[way](lock) as guard, pytest.raises(TypeError, match="guard"):
                refused(guard)
        assert lock._state() == FREE

    def test_the_front_door_has_it(self):
        names = {"RWLock", "ReadGuard", "WriteGuard", "UpgradableGuard"}
        names |= {"AsyncReadGuard", "AsyncWriteGuard", "AsyncUpgradableGuard"}
        assert names <= set(ferrule.__all__)
        assert "RWLock" in ferrule.aio.__all__
