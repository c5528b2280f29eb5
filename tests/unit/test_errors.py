"""What api.md promises of ferrule's exceptions, MISSING and allow_blocking."""

import copy
import pickle
import queue

import pytest

import ferrule
from ferrule import MISSING, errors

ERRORS = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (errors.Timeout, (errors.FerruleError, TimeoutError)),
        (errors.WouldDeadlock, (errors.FerruleError, RuntimeError)),
        (errors.BlockingInEventLoop, (errors.FerruleError, RuntimeError)),
        (errors.ChannelError, (errors.FerruleError,)),
        (errors.Disconnected, (errors.ChannelError,)),
        (errors.Full, (errors.ChannelError, queue.Full)),
        (errors.Empty, (errors.ChannelError, queue.Empty)),
        (errors.PoolError, (errors.FerruleError,)),
        (errors.PoolClosed, (errors.PoolError,)),
        (errors.PoolTimeout, (errors.PoolError, errors.Timeout)),
        (errors.NotEnoughBytes, (errors.FerruleError, EOFError)),
    ],
)
def test_the_hierarchy(error, bases):
    for base in bases:
        assert issubclass(error, base)


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_every_error_pickles_with_its_message_and_its_fields(error):
    raised = error("what happened")
    raised.extra = [1, 2]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(raised, protocol))
        assert type(back) is error
        assert back.args == ("what happened",)
        assert vars(back) == vars(raised)


@pytest.mark.parametrize("error", [errors.Timeout, errors.Disconnected, errors.Full])
def test_an_item_travels_with_the_error(error):
    raised = error("no room", item={"k": 1}, sent=3)
    assert (raised.item, raised.sent, str(raised)) == ({"k": 1}, 3, "no room")
    back = pickle.loads(pickle.dumps(raised))
    assert (back.item, back.sent) == ({"k": 1}, 3)
    assert error().item is MISSING


def test_an_item_that_cannot_pickle_becomes_missing():
    back = pickle.loads(pickle.dumps(errors.Full("no room", item=lambda: None)))
    assert back.item is MISSING
    assert str(back) == "no room"


def test_the_fields_of_a_pool_timeout():
    raised = errors.PoolTimeout("too slow", stage="create", size=4, in_use=3, waiting=2)
    back = pickle.loads(pickle.dumps(raised))
    for error in (raised, back):
        assert (error.stage, error.size, error.in_use, error.waiting) == ("create", 4, 3, 2)


def test_the_fields_of_not_enough_bytes():
    raised = pickle.loads(pickle.dumps(errors.NotEnoughBytes(requested=8, available=3)))
    assert (raised.requested, raised.available) == (8, 3)
    assert str(raised) == "8 bytes requested, 3 available"


def test_missing_is_falsy_clear_and_only_one():
    assert not MISSING
    assert repr(MISSING) == "ferrule.MISSING"
    assert copy.deepcopy(MISSING) is copy.copy(MISSING) is pickle.loads(pickle.dumps(MISSING)) is type(MISSING)()


def test_allow_blocking_ends_with_its_block_also_when_that_raises():
    allowed = errors._blocking_allowed
    assert not allowed.get()
    with ferrule.allow_blocking():
        assert allowed.get()
        with ferrule.allow_blocking():
            assert allowed.get()
        assert allowed.get()
    assert not allowed.get()
    with pytest.raises(KeyError), ferrule.allow_blocking():
        raise KeyError
    assert not allowed.get()
