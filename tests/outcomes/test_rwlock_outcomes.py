"""Racing calls on one RWLock: every result that is allowed, and why; anything else fails."""

import asyncio
import itertools
import time

import pytest

from ferrule import ReadGuard, RWLock, Timeout, UpgradableGuard, WriteGuard
from tests.support.driver import LoopThread
from tests.support.hostile import unraisable
from tests.support.race import HANG, RACES, eventually, outcome, raced, refused, run_together
from tests.support.rwlocks import FREE, KINDS, TAKE, TAKE_ASYNC, TRY, state

EXCLUSIVE = ["upgradable", "write"]
READING, UPGRADABLE, WRITING = (state(**KINDS[way]) for way in ("read", "upgradable", "write"))


def ended(*guards):
    """Ends what is left."""
    for guard in guards:
        guard.release()


@pytest.mark.parametrize("way", EXCLUSIVE)
@raced(RACES // 4)
def test_of_racing_tries_for_an_exclusive_hold_exactly_one_wins(way):
    lock = RWLock()
    tries = [lambda: TRY[way](lock), lambda: TRY[way](lock), getattr(lock.aio, TRY[way].__name__)]
    [winner] = [guard for guard in run_together(*tries) if guard is not None]
    assert lock._state() == state(**KINDS[way])
    winner.release()
    assert lock._state() == FREE


@raced(RACES // 4)
def test_racing_tries_to_read_all_win():
    lock = RWLock()
    guards = run_together(lock.try_read, lock.try_read_recursive, lock.aio.try_read)
    assert None not in guards
    assert lock._state() == state(readers=3)
    ended(*guards)
    assert lock._state() == FREE


@raced(RACES // 4)
def test_a_try_to_read_against_one_to_write():
    lock = RWLock()
    read, write = run_together(lock.try_read, lock.try_write)
    assert (read is None) is not (write is None), "whoever came first keeps the other out"
    ended(read or write)
    assert lock._state() == FREE


@raced(RACES // 4)
def test_a_try_for_the_upgradable_hold_beside_one_to_read_never_fails():
    lock = RWLock()
    read, upgradable = run_together(lock.try_read, lock.try_upgradable_read)
    assert lock._state() == state(readers=1, upgradable=True)
    ended(read, upgradable)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("way", TAKE)
@raced(RACES // 4)
def test_of_racing_releases_of_one_guard_exactly_one_succeeds(way, debug):
    lock = RWLock(debug=debug)
    guard = TAKE[way](lock)
    answers = run_together(refused(guard.release), refused(guard.release), refused(guard.release))
    assert sorted(answers, key=str) == [RuntimeError, RuntimeError, None]
    assert lock._state() == FREE
    assert lock._holders(None) == []


@pytest.mark.parametrize("way", TAKE)
@pytest.mark.parametrize("held", TAKE)
@raced(RACES // 16)
def test_a_try_against_a_release(held, way):
    lock = RWLock()
    guard = TAKE[held](lock)
    _, taken = run_together(guard.release, lambda: TRY[way](lock))
    if taken is None:
        assert "write" in (held, way) or held == way == "upgradable", "it came before the release, and is kept out"
        assert lock._state() == FREE
    else:
        assert lock._state() == state(**KINDS[way])
        taken.release()


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("timeout", [1e-9, 1e-6, 5e-5, 1e-4])
@pytest.mark.parametrize("way", TAKE)
@raced(RACES // 16)
def test_a_wait_that_may_time_out_against_a_release(way, timeout, fair):
    """A hand-over is undone, or leave passed on, when its receiver gave up."""
    lock = RWLock()
    guard = lock.write()
    taken, _ = run_together(
        outcome(lambda: TAKE[way](lock, timeout=timeout), Timeout), lambda: guard.release(fair=fair)
    )
    if taken is Timeout:
        assert lock._state() == FREE
    else:
        assert lock._state() == state(**KINDS[way])
        taken.release()
    assert lock._state() == FREE


@pytest.mark.parametrize("timeout", [1e-6, 5e-5, 1e-4])
@raced(RACES // 8)
def test_a_reader_behind_a_writer_that_may_time_out_gets_in(timeout):
    """However the writer ends, and although the first reader stays."""
    lock = RWLock()
    guard = lock.read()
    written, read = run_together(outcome(lambda: lock.write(timeout=timeout), Timeout), lambda: lock.read(timeout=HANG))
    assert written is Timeout
    assert lock._state() == state(readers=2)
    ended(guard, read)
    assert lock._state() == FREE


@pytest.mark.parametrize("timeout", [1e-6, 5e-5, 1e-4])
@raced(RACES // 8)
def test_an_upgrade_that_may_time_out_against_the_last_reader(timeout):
    """The guard holds as before, or has been spent for the one to write."""
    lock = RWLock("value")
    guard, reader = lock.upgradable_read(), lock.read()
    upgraded, _ = run_together(outcome(lambda: guard.upgrade(timeout=timeout), Timeout), reader.release)
    if upgraded is Timeout:
        assert lock._state() == UPGRADABLE
        assert guard.value == "value"
        guard.release()
    else:
        assert lock._state() == WRITING
        assert refused(guard.release)() is RuntimeError
        upgraded.release()
    assert lock._state() == FREE


@raced(RACES // 4)
def test_a_try_to_upgrade_against_the_last_reader():
    lock = RWLock()
    guard, reader = lock.upgradable_read(), lock.read()
    upgraded, _ = run_together(guard.try_upgrade, reader.release)
    assert lock._state() == (UPGRADABLE if upgraded is None else WRITING)
    ended(upgraded or guard)
    assert lock._state() == FREE


@raced(RACES // 4)
def test_two_upgraders_write_one_after_the_other_and_never_between_read_and_write():
    lock = RWLock(0)

    def add():
        guard = lock.upgradable_read(timeout=HANG)
        before = guard.value
        with guard.upgrade(timeout=HANG) as writer:
            assert writer.value == before
            writer.value = before + 1
        return before

    assert sorted(run_together(add, add)) == [0, 1]
    with lock.read() as reader:
        assert reader.value == 2
    assert lock._state() == FREE


@raced(RACES // 4)
def test_of_two_upgrades_of_one_guard_one_succeeds():
    lock = RWLock()
    guard, reader = lock.upgradable_read(), lock.read()
    upgrade = refused(lambda: guard.upgrade(timeout=HANG))
    *answers, _ = run_together(upgrade, upgrade, reader.release)
    [writer] = [answer for answer in answers if answer is not RuntimeError]
    assert lock._state() == WRITING
    writer.release()
    assert lock._state() == FREE


CONVERSIONS = {
    "write": {
        "release": (lambda guard: guard.release(), FREE),
        "downgrade": (lambda guard: guard.downgrade(), READING),
        "downgrade_to_upgradable": (lambda guard: guard.downgrade_to_upgradable(), UPGRADABLE),
    },
    "upgradable": {
        "release": (lambda guard: guard.release(), FREE),
        "downgrade": (lambda guard: guard.downgrade(), READING),
        "upgrade": (lambda guard: guard.upgrade(timeout=HANG), WRITING),
        "try_upgrade": (lambda guard: guard.try_upgrade(), WRITING),
    },
}
PAIRS = [(way, *pair) for way, ends in CONVERSIONS.items() for pair in itertools.combinations_with_replacement(ends, 2)]
FACES = [("sync", *pair) for pair in PAIRS] + [("aio", *pair) for pair in PAIRS if "upgrade" not in pair]
"""An upgrade in a task needs a loop: below."""


@pytest.mark.parametrize(("face", "way", "one", "other"), FACES)
@raced(RACES // 32)
def test_of_two_ends_or_conversions_of_one_guard_exactly_one_succeeds(face, way, one, other):
    lock = RWLock()
    guard = getattr(lock if face == "sync" else lock.aio, TRY[way].__name__)()
    calls = CONVERSIONS[way][one], CONVERSIONS[way][other]
    answers = run_together(*(refused(call, guard) for call, _ in calls))
    won = [answer is not RuntimeError for answer in answers]
    assert sorted(won) == [False, True]
    assert lock._state() == calls[won.index(True)][1]
    if (result := answers[won.index(True)]) is not None:
        result.release()
    assert lock._state() == FREE


@pytest.mark.parametrize("end", ["release", "downgrade"])
@raced(RACES // 4)
def test_the_end_of_a_guard_whose_upgrade_waits(end):
    """It takes the guard from the upgrade, which says so; nobody waits for ever."""
    lock = RWLock()
    guard, reader = lock.upgradable_read(), lock.read()
    upgraded, ending, _ = run_together(
        refused(lambda: guard.upgrade(timeout=HANG)), refused(getattr(guard, end)), reader.release
    )
    assert (upgraded is RuntimeError) is not (ending is RuntimeError)
    if ending is RuntimeError:
        assert lock._state() == WRITING
        upgraded.release()
    elif end == "downgrade":
        assert lock._state() == READING
        ending.release()
    assert lock._state() == FREE


@raced(RACES // 4)
def test_a_downgrade_lets_readers_in_and_no_writer_between():
    lock = RWLock(0)
    guard = lock.write()

    def downgrade():
        guard.value = 1
        reader = guard.downgrade()
        value = reader.value
        reader.release()
        return value

    def read():
        with lock.read(timeout=HANG) as reader:
            return reader.value

    def write():
        with lock.write(timeout=HANG) as writer:
            writer.value += 1
            return writer.value

    downgraded, seen, written = run_together(downgrade, read, write)
    assert (downgraded, written) == (1, 2)
    assert seen in (1, 2), "before or after the other writer"
    assert lock._state() == FREE


@raced(RACES // 4)
def test_a_read_of_the_value_against_the_end_of_its_hold():
    lock = RWLock("old")
    guard = lock.read()
    release = guard.release

    def end_and_write():
        release()
        with lock.write(timeout=HANG) as writer:
            writer.value = "new"

    read, _ = run_together(refused(lambda: guard.value), end_and_write)
    assert read in ("old", RuntimeError), "never what was written after the hold"
    assert lock._state() == FREE


@raced(RACES // 4)
def test_a_write_that_was_accepted_is_seen_by_the_next_hold():
    allowed = {
        (None, "new"),  # written, then released
        (RuntimeError, "old"),  # released first: refused, and nothing was written
    }
    lock = RWLock("old")
    guard = lock.write()
    written, _ = run_together(refused(setattr, guard, "value", "new"), guard.release)
    with lock.read() as after:
        assert (written, after.value) in allowed


@pytest.mark.parametrize("conversion", ["downgrade", "downgrade_to_upgradable"])
@raced(RACES // 8)
def test_a_write_against_a_conversion_of_its_guard(conversion):
    lock = RWLock("old")
    guard = lock.write()
    written, after = run_together(refused(setattr, guard, "value", "new"), getattr(guard, conversion))
    assert (written, after.value) in {(None, "new"), (RuntimeError, "old")}
    after.release()
    assert lock._state() == FREE


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("way", TAKE)
@raced(RACES // 8)
def test_unlocked_against_a_release(way, debug):
    allowed = {
        ("unlocked", RuntimeError, True),  # tried to release within: refused
        ("unlocked", None, False),  # released after the block had taken the lock again
        (RuntimeError, None, False),  # released before
    }
    lock = RWLock(debug=debug)
    guard = TAKE[way](lock)

    def unlock():
        with guard.unlocked():
            return "unlocked"

    answers = (*run_together(refused(unlock), refused(guard.release)), lock.locked())
    assert answers in allowed
    if lock.locked():
        guard.release()
    assert lock._state() == FREE
    assert lock._holders(None) == []


@pytest.mark.parametrize("way", TAKE)
@raced(RACES)
def test_the_end_of_unlocked_against_a_guard_that_is_released_again_and_again(way):
    """A release that comes just before the hold is there again finds nothing, and leaves nothing behind."""
    lock = RWLock()
    guard = TAKE[way](lock)
    inside = []

    def unlock():
        with guard.unlocked():
            inside.append(None)
            for _ in range(100):
                pass

    def end():
        while not inside:
            pass
        for _ in range(1000):
            try:
                guard.release()
            except RuntimeError:
                continue
            return True
        return False

    _, ended = run_together(unlock, end)
    assert lock.locked() is not ended
    if not ended:
        guard.release()
    assert lock._state() == FREE


@raced(RACES // 8)
def test_the_end_of_upgraded_against_a_release_of_the_writer():
    allowed = {
        (None, True),  # released within: the block had nothing to do
        (RuntimeError, False),  # the block had given the hold back to its guard
    }
    lock = RWLock()
    guard = lock.upgradable_read()
    block = guard.upgraded()
    writer = block.__enter__()
    released, _ = run_together(refused(writer.release), lambda: block.__exit__(None, None, None))
    assert (released, lock._state() == FREE) in allowed
    if lock.locked():
        assert lock._state() == UPGRADABLE
        guard.release()
    assert lock._state() == FREE


@raced(RACES // 8)
def test_the_end_of_with_against_a_conversion():
    """The block ends the whole hold; a conversion came before it, or is refused."""
    lock = RWLock()
    guard = lock.write()
    converted, _ = run_together(refused(guard.downgrade), lambda: guard.__exit__(None, None, None))
    assert lock._state() == FREE
    if converted is not RuntimeError:
        assert refused(converted.release)() is RuntimeError


@pytest.mark.parametrize("way", TAKE)
@raced(RACES // 16)
def test_a_dropped_guard_against_a_wait(way):
    """It is released by its death, and whoever waits gets in."""
    lock = RWLock()
    ready = []

    def take_and_drop():  # by the thread that made it: without the GIL another's drop takes effect later
        guard = TAKE[way](lock)
        ready.append(guard.value)
        time.sleep(0)
        del guard

    def wait():
        while not ready:
            time.sleep(0)
        return lock.write(timeout=HANG)

    with unraisable() as complaints:
        _, writer = run_together(take_and_drop, wait)
    assert [type(complaint) for complaint in complaints] == [ResourceWarning]
    assert lock._state() == WRITING
    writer.release()


@pytest.mark.parametrize(
    ("ways", "allowed"),
    [
        (("write", "write", "write"), {1}),  # one is alone
        (("read", "read", "read"), {3}),  # nobody keeps another out
        (("upgradable", "upgradable", "read"), {2}),  # one of the two, and the reader
        (("upgradable", "read", "read"), {3}),
        (("write", "read", "read"), {1, 2}),  # the writer alone, or both readers
        (("write", "upgradable", "read"), {1, 2}),
    ],
)
@raced(RACES // 8)
def test_racing_attempts(ways, allowed):
    lock = RWLock()
    guards = run_together(*(lambda way=way: TRY[way](lock) for way in ways))
    held = [guard for guard in guards if guard is not None]
    assert len(held) in allowed
    ended(*held)
    assert lock._state() == FREE


@raced(RACES // 8)
def test_a_reader_that_leaves_a_writer_that_times_out_and_the_reader_behind_it():
    """Whoever gets what when, nobody stays behind."""
    lock = RWLock()
    first = lock.read()
    writer, second, _ = run_together(
        outcome(lambda: lock.write(timeout=1e-4).release(), Timeout), lambda: lock.read().release(), first.release
    )
    assert writer in {None, Timeout}
    assert second is None
    assert lock._state() == FREE


@raced(RACES // 16)
def test_the_end_of_an_unlocked_block_in_two_threads_takes_the_hold_once():
    lock = RWLock()
    guard = lock.read()
    block = guard.unlocked()
    block.__enter__()
    ends = run_together(*(refused(block.__exit__, None, None, None) for _ in range(2)))
    assert set(ends) == {None, RuntimeError}
    assert lock._state() == state(readers=1)
    guard.release()
    assert lock._state() == FREE


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def there(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed here")
    with LoopThread(request.param) as there:
        yield there


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("way", TAKE_ASYNC)
def test_a_cancellation_against_a_release(there, way, fair):
    """The task is let in or cancelled: what it was given is passed on where the cancellation came first."""
    seen = set()

    async def visit(lock, begun, ended):
        begun.append(True)
        try:
            async with TAKE_ASYNC[way](lock):
                ended.append("let in")
        except asyncio.CancelledError:
            ended.append("cancelled")

    for _ in range(RACES // 32):
        lock, begun, ended = RWLock(), [], []
        guard = lock.write()
        future = there.spawn(visit(lock, begun, ended))
        eventually(lambda begun=begun: begun)
        run_together(future.cancel, lambda guard=guard: guard.release(fair=fair))
        eventually(lambda ended=ended: ended)
        eventually(lambda lock=lock: lock._state() == FREE)
        seen.update(ended)
    assert seen <= {"let in", "cancelled"}
    assert "cancelled" in seen


@raced(RACES // 16)
def test_the_cancellation_of_an_upgrade_against_the_last_reader(there):
    """The task writes, or its guard holds as before; it ends the hold in both cases."""
    lock, begun, ended = RWLock("value"), [], []
    reader = lock.read()

    async def upgrade():
        guard = await lock.aio.upgradable_read()
        begun.append(True)
        try:
            (await guard.upgrade()).release()
            ended.append("wrote")
        except asyncio.CancelledError:
            assert guard.value == "value"
            guard.release()
            ended.append("cancelled")

    future = there.spawn(upgrade())
    eventually(lambda: begun)
    run_together(future.cancel, reader.release)
    eventually(lambda: ended)
    assert ended in (["wrote"], ["cancelled"])
    assert lock._state() == FREE


@pytest.mark.parametrize(("way", "kind"), [("read", ReadGuard), ("upgradable", UpgradableGuard), ("write", WriteGuard)])
@raced(RACES // 16)
def test_every_waiter_gets_its_turn(way, kind):
    lock = RWLock(0)

    def visit():
        with TAKE[way](lock, timeout=HANG) as guard:
            return type(guard)

    assert run_together(visit, visit, lambda: lock.write(timeout=HANG).release()) == (kind, kind, None)
    assert lock._state() == FREE
