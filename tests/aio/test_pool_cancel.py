"""A task is cancelled or dropped at every step of what it does with a Pool of async hooks: no slot is lost."""

import asyncio
import contextlib
import gc
import itertools
import warnings

import pytest

from ferrule import AsyncLease, PoolClosed
from tests.support.driver import Stepper, cancel_everywhere, run
from tests.support.hostile import raising, returning, unraisable
from tests.support.pools import amade, arests, ause, figures, soon

pytestmark = pytest.mark.filterwarnings("error")


async def whole_life(pool):
    """Everything that a pool can be told, once; a KeyError of a hook stops nothing."""
    with contextlib.suppress(KeyError):
        await ause(pool)
    await life_without_blocks(pool)
    with contextlib.suppress(KeyError):
        await ause(pool)
    await pool.resize(1)
    await pool.resize(2)


async def life_without_blocks(pool):
    """What can be dropped: the end of an `async with` cannot, if it has to wait."""
    for end in (AsyncLease.release, AsyncLease.discard):
        with contextlib.suppress(KeyError):
            await end(await pool.acquire())
    with contextlib.suppress(KeyError):
        await pool.warm_up()
    await pool.retain(returning(False))
    await pool.reap()


FAULTS = {
    None: (None, None),
    "reset gives False": ("reset", returning(False)),
    "reset raises": ("reset", raising(KeyError)),
    "validate gives False": ("validate", returning(False)),
    "validate raises": ("validate", raising(KeyError)),
    "destroy raises": ("destroy", raising(KeyError)),
    "create raises": ("create", raising(KeyError)),
    "on_event raises": ("on_event", raising(ZeroDivisionError)),
}


@pytest.mark.parametrize("asynchronous", [True, ("reset", "destroy"), ("create", "validate", "on_event")], ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_cancelled_at_every_step_with_others_waiting(fault, asynchronous, loop_name):
    """A task that goes through everything is cancelled after 0, 1, 2, ... turns, while every other call of one hook
    fails: who waits is served, and no slot is lost."""
    name, fails = FAULTS[fault]

    async def main():
        pool = hooks = others = None

        def make():
            nonlocal pool, hooks, others
            pool, hooks = amade(2, min_size=2, asynchronous=asynchronous)
            calls = itertools.count()
            if name:
                hooks.does[name] = lambda *_: fails() if next(calls) % 2 else None
                if name == "on_event":
                    hooks.does["reset"] = returning(False)
            others = [asyncio.create_task(outcome_of(ause(pool))) for _ in range(4)]
            return whole_life(pool)

        async def check():
            results = await soon(asyncio.gather(*others))
            assert name == "create" or KeyError not in results
            await arests(pool, hooks)

        with unraisable():
            assert await cancel_everywhere(make, check) > 5

    run(main(), loop_name)


async def outcome_of(awaitable):
    try:
        return await awaitable
    except KeyError:
        return KeyError


@pytest.mark.parametrize("end", ["close", "async with"])
def test_a_close_cancelled_at_every_step_can_be_made_again(end, loop_name):
    async def main():
        pool = hooks = None

        async def close():
            for lease in [await pool.acquire() for _ in range(3)]:
                await lease.release()
            if end == "close":
                await pool.close()
            else:
                async with pool:
                    pass

        def make():
            nonlocal pool, hooks
            pool, hooks = amade(3)
            return close()

        async def check():
            await soon(pool.close())
            assert figures(pool) == (0, 0, 0, 0)
            hooks.check(0)
            with pytest.raises(PoolClosed):
                await pool.acquire()

        assert await cancel_everywhere(make, check) > 5

    with warnings_ignored():
        run(main(), loop_name)


@contextlib.contextmanager
def warnings_ignored():
    """A task that is cancelled drops the leases that it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.mark.parametrize("asynchronous", [True, ("destroy",), ("reset", "destroy")], ids=str)
def test_an_acquire_dropped_at_every_step_loses_no_slot(asynchronous, loop_name):
    """Its coroutine is closed where it stands, and nobody awaits what its hooks still need: the loop ends it."""

    async def main():
        for steps in range(1, 30):
            pool, hooks = amade(1, asynchronous=asynchronous)
            stepper = Stepper(life_without_blocks(pool))
            for _ in range(steps):
                if stepper.done or stepper.step():
                    break
            ended = stepper.done
            with warnings_ignored():
                stepper.close()
                del stepper
                gc.collect()
            for _ in range(6):
                await asyncio.sleep(0)
            await pool.resize(1)
            assert figures(pool)[1] == 0
            assert pool.size <= 1
            hooks.check(pool.size)
            await arests(pool, hooks)
            if ended:
                return

    run(main(), loop_name)
