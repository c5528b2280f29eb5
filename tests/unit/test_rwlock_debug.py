"""RWLock with debug=True or FERRULE_DEBUG=1: who holds it and where it was taken, for WouldDeadlock."""

import asyncio
import gc
import threading
import warnings

import pytest

from ferrule import RWLock, Timeout, WouldDeadlock
from ferrule.aio import RWLock as AsyncRWLock
from tests.support.driver import HandLoop, Stepper, run, turns
from tests.support.leaks import in_subprocess
from tests.support.race import eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, TAKE_ASYNC, TRY, kinds, state


def take_here(lock, way):
    """The function's name is what a recorded stack must show."""
    return TAKE[way](lock)


def want_here(lock, way, timeout=None):
    return TAKE[way](lock, timeout=timeout)


class TestWouldDeadlock:
    @pytest.mark.parametrize(
        ("held", "wanted"),
        [
            ("read", "write"),
            ("read_recursive", "write"),
            ("write", "read"),
            ("write", "write"),
            ("write", "upgradable"),
            ("upgradable", "upgradable"),
            ("upgradable", "write"),
        ],
    )
    def test_shows_both_places(self, held, wanted):
        lock = RWLock(debug=True)
        guard = take_here(lock, held)
        with pytest.raises(WouldDeadlock) as caught:
            want_here(lock, wanted)
        message = str(caught.value)
        taken, asked = message.index("in take_here"), message.index("in want_here")
        assert taken < asked
        assert "thread 'MainThread' took the hold here" in message
        assert lock._state() == FREE | KINDS[held]
        guard.release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("gives_up", [False, True])
    @pytest.mark.parametrize("way", ["read", "upgradable"])
    def test_also_after_others_have_waited(self, way, gives_up):
        lock = RWLock(debug=True)
        with lock.write():
            if gives_up:
                with pytest.raises(Timeout):
                    spawn(lambda: lock.write(timeout=0.01)).result()
            else:
                other = spawn(lambda: lock.write().release())
                eventually(lambda: kinds(lock))
        if not gives_up:
            other.result()
        guard = take_here(lock, way)
        with pytest.raises(WouldDeadlock, match="in take_here"):
            want_here(lock, "write")
        guard.release()
        take_here(lock, "write").release()
        assert lock._holders(None) == []

    def test_without_debug_a_reader_that_writes_is_not_seen(self):
        lock = RWLock()
        with lock.read(), pytest.raises(Timeout):
            lock.write(timeout=1e-3)

    def test_an_upgrade_beside_ones_own_reader(self):
        lock = RWLock(debug=True)
        with lock.upgradable_read() as guard:
            reader = take_here(lock, "read")
            with pytest.raises(WouldDeadlock, match="in take_here"):
                guard.upgrade()
            with pytest.raises(Timeout):
                guard.upgrade(timeout=0)
            assert lock._state() == state(readers=1, upgradable=True)
            reader.release()
            guard.upgrade().release()
        assert lock._state() == FREE

    def test_reading_again_behind_a_writer_that_waits_for_the_first_hold(self):
        lock = RWLock(debug=True)
        guard = take_here(lock, "read")
        writer = spawn(lambda: lock.write().release())
        eventually(lambda: kinds(lock))
        for way in ("read", "upgradable"):
            with pytest.raises(WouldDeadlock, match="in take_here"):
                want_here(lock, way)
        lock.read_recursive().release()
        guard.release()
        writer.result()
        assert lock._state() == FREE

    @pytest.mark.parametrize("timeout", [None, 5])
    def test_two_upgraders(self, timeout):
        """One waits for the readers to leave, the other reads and wants to be the next upgrader."""
        lock = RWLock(debug=True)
        guard = spawn(lock.upgradable_read).result()
        reader = take_here(lock, "read")
        upgrade = spawn(guard.upgrade)
        eventually(lambda: kinds(lock))
        with pytest.raises(WouldDeadlock) as caught:
            want_here(lock, "upgradable", timeout=timeout)
        message = str(caught.value)
        assert message.index("in take_here") < message.index("in want_here")
        assert lock._state() == state(readers=1, upgradable=True, parked=True, waiters=[("thread", "parked")])
        reader.release()
        upgrade.result().release()
        assert lock._state() == FREE

    def test_two_upgraders_of_which_one_is_a_task(self, loop_name):
        lock = RWLock(debug=True)
        guard = spawn(lock.upgradable_read).result()

        async def main():
            async with lock.aio.read():
                upgrade = spawn(guard.upgrade)
                eventually(lambda: kinds(lock))
                with pytest.raises(WouldDeadlock, match="this task holds"):
                    await lock.aio.upgradable_read()
                with pytest.raises(WouldDeadlock, match="task of its event loop"):
                    lock.upgradable_read()
                other = asyncio.create_task(lock.aio.upgradable_read())
                await turns()
                assert kinds(lock) == ["thread", "task"], "another task may wait"
            upgrade.result().release()
            (await other).release()

        run(main(), loop_name)
        assert lock._state() == FREE

    def test_a_reader_behind_a_writer_and_the_upgradable_hold_of_another(self):
        """That one may leave, but the writer is next, and waits for the reader."""
        lock = RWLock(debug=True)
        other = spawn(lock.upgradable_read).result()
        reader = take_here(lock, "read")
        writer = spawn(lock.write)
        eventually(lambda: kinds(lock))
        with pytest.raises(WouldDeadlock, match="in take_here"):
            want_here(lock, "upgradable")
        other.release()
        reader.release()
        writer.result().release()
        assert lock._state() == FREE

    def test_a_reader_may_wait_for_the_upgradable_hold_of_another(self):
        lock = RWLock(debug=True)
        other = spawn(lock.upgradable_read).result()
        with lock.read():
            waits = spawn(lock.upgradable_read)
            with pytest.raises(Timeout):
                lock.upgradable_read(timeout=1e-3)
            eventually(lambda: kinds(lock))
            other.release()
            waits.result().release()
        assert lock._state() == FREE

    def test_without_waiting_it_is_a_timeout_and_try_gives_none(self):
        lock = RWLock(debug=True)
        with lock.read():
            with pytest.raises(Timeout):
                lock.write(timeout=0)
            assert lock.try_write() is None

    @pytest.mark.parametrize("way", TRY)
    def test_a_hold_that_was_tried_for_is_recorded(self, way):
        lock = RWLock(debug=True)
        with TRY[way](lock), pytest.raises(WouldDeadlock, match="in test_a_hold_that_was_tried_for_is_recorded"):
            lock.write()

    def test_a_task_is_named(self, loop_name):
        lock = AsyncRWLock(debug=True)

        async def main():
            asyncio.current_task().set_name("the reader")
            async with lock.read():
                with pytest.raises(WouldDeadlock, match=r"task 'the reader' of thread 'MainThread' took the hold"):
                    await lock.write()
                with pytest.raises(WouldDeadlock, match="the reader"):
                    lock.sync.write()
                other = asyncio.create_task(lock.write())
                await turns()
                assert kinds(lock.sync) == ["task"]
            (await other).release()

        run(main(), loop_name)
        assert lock.sync._state() == FREE


class TestRecords:
    """What is recorded goes with the hold."""

    def holders(self, lock):
        return [(holder, stack is not None) for _, _, holder, stack in lock._holders(None)]

    @pytest.mark.parametrize("way", TAKE)
    def test_from_the_taking_to_the_end(self, way):
        lock = RWLock(debug=True)
        assert self.holders(lock) == []
        guard = TAKE[way](lock)
        assert self.holders(lock) == [("thread 'MainThread'", True)]
        with guard.unlocked():
            assert self.holders(lock) == []
        assert len(self.holders(lock)) == 1
        guard.release()
        assert self.holders(lock) == []
        with pytest.raises(RuntimeError):
            guard.release()
        with TAKE[way](lock):
            assert len(self.holders(lock)) == 1
        assert self.holders(lock) == []

    @pytest.mark.parametrize("way", TAKE_ASYNC)
    def test_in_a_task(self, way):
        lock = RWLock(debug=True)

        async def main():
            async with TAKE_ASYNC[way](lock) as guard:
                assert len(self.holders(lock)) == 1
                async with guard.unlocked():
                    assert self.holders(lock) == []
                assert len(self.holders(lock)) == 1
            assert self.holders(lock) == []
            other = await TAKE_ASYNC[way](lock)
            task = asyncio.create_task(lock.aio.write())
            await turns()
            other.release()
            guard = await task
            assert len(self.holders(lock)) == 1
            guard.release()
            assert self.holders(lock) == []

        run(main())

    def test_through_conversions(self):
        lock = RWLock(debug=True)
        with lock.write() as guard:
            guard = guard.downgrade_to_upgradable()
            with guard.upgraded():
                assert len(self.holders(lock)) == 1
            guard = guard.upgrade().downgrade()
            assert len(self.holders(lock)) == 1
            with pytest.raises(WouldDeadlock):
                lock.write()
        assert self.holders(lock) == []

    def test_a_dropped_hold_is_forgotten(self):
        lock = RWLock(debug=True)
        with pytest.warns(ResourceWarning):
            lock.read()
        assert self.holders(lock) == []
        lock.write().release()

    def test_several_readers(self):
        lock = RWLock(debug=True)
        guards = [lock.read() for _ in range(3)] + [spawn(lock.read).result()]
        assert len(self.holders(lock)) == 4
        for guard in guards:
            guard.release()
        assert self.holders(lock) == []

    @pytest.mark.parametrize("way", ["write", "upgradable"])
    def test_without_debug_the_exclusive_hold_is_known_alone(self, way):
        lock = RWLock()
        with lock.read():
            assert self.holders(lock) == []
        with TAKE[way](lock):
            assert self.holders(lock) == [(None, False)]
        assert self.holders(lock) == []


def meanwhile(monkeypatch, call):
    """The call happens once, in the middle of what is recorded next."""

    def current_thread():
        monkeypatch.undo()
        call()
        return threading.current_thread()

    monkeypatch.setattr(threading, "current_thread", current_thread)


class TestRecordsAndOthers:
    """What others do while a hold is recorded or forgotten."""

    @pytest.mark.parametrize("way", TAKE)
    def test_released_elsewhere_while_it_is_recorded_again(self, way, monkeypatch):
        lock = RWLock(debug=True)
        guard = TAKE[way](lock)
        with guard.unlocked():
            meanwhile(monkeypatch, lambda: spawn(guard.release).result())
        assert lock._state() == FREE
        assert lock._holders(None) == []

    @pytest.mark.parametrize("way", TAKE)
    def test_interrupted_while_it_is_recorded_again_it_is_held(self, way, monkeypatch):
        lock = RWLock("value", debug=True)
        guard = TAKE[way](lock)
        with pytest.raises(KeyboardInterrupt), guard.unlocked():
            meanwhile(monkeypatch, interrupt)
        assert guard.value == "value"
        guard.release()
        assert lock._state() == FREE

    @pytest.mark.parametrize("way", TAKE_ASYNC)
    def test_so_it_is_in_a_task(self, way, monkeypatch):
        lock = RWLock("value", debug=True)

        async def main():
            guard = await TAKE_ASYNC[way](lock)
            with pytest.raises(KeyboardInterrupt):
                async with guard.unlocked():
                    meanwhile(monkeypatch, interrupt)
            assert guard.value == "value"
            guard.release()

        run(main())
        assert lock._state() == FREE

    @pytest.mark.parametrize("way", TAKE)
    def test_interrupted_while_it_is_recorded_first_it_is_not_held(self, way, monkeypatch):
        lock = RWLock(debug=True)
        meanwhile(monkeypatch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            TAKE[way](lock)
        assert lock._state() == FREE
        assert lock._holders(None) == []

    @pytest.mark.parametrize("way", TAKE)
    def test_it_is_forgotten_before_others_are_told(self, way):
        """Who is let in may make this thread wait, which holds nothing any more."""
        lock = RWLock(debug=True)
        guard = TAKE[way](lock)
        holders = []
        loop = HandLoop()

        def call_soon_threadsafe(*args, **named):
            holders.append(lock._holders(None))
            return HandLoop.call_soon_threadsafe(loop, *args, **named)

        loop.call_soon_threadsafe = call_soon_threadsafe
        with loop.running():
            stepper = Stepper(lock.aio.write())
            stepper.step()
        spawn(guard.release).result()
        assert holders == [[]]
        loop.turn()
        with loop.running():
            stepper.step()
            stepper.result().release()
        assert lock._state() == FREE

    def test_a_refused_release_forgets_nothing(self):
        lock = RWLock(debug=True)
        guard = lock.write()
        successor = guard.downgrade_to_upgradable()
        with pytest.raises(RuntimeError):
            guard.release()
        with pytest.raises(WouldDeadlock, match="in test_a_refused_release_forgets_nothing"):
            lock.write()
        successor.release()
        assert lock._holders(None) == []

    def test_guards_that_the_collector_drops_meanwhile_disturb_nobody(self):
        """CPython 3.11 collects wherever something is made, so also while the records are looked through."""
        lock = RWLock(debug=True)
        guards = [lock.read() for _ in range(30)]
        threshold = gc.get_threshold()
        seen = set()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for count in range(1, 60):
                gc.disable()
                gc.collect()
                cycle = [lock.read()]
                cycle.append(cycle)
                del cycle
                gc.set_threshold(count)
                gc.enable()
                try:
                    seen.add(len(lock._holders(None)))
                finally:
                    gc.set_threshold(*threshold)
            gc.collect()
        assert seen <= {30, 31}
        for guard in guards:
            guard.release()
        assert lock._holders(None) == []


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False), ("", False)])
def test_the_environment_turns_it_on_for_every_lock(value, on):
    ended = in_subprocess(
        """
        import ferrule
        lock = ferrule.RWLock()
        with lock.read():
            print(len(lock._holders(None)))
        """,
        env={"FERRULE_DEBUG": value},
    )
    assert ended.stdout.split() == [str(int(on))]
