"""Items and arms whose destructors use the channels, reprs that raise, and what a failing select leaves behind."""

import gc
import weakref

import pytest

from ferrule import Disconnected, Timeout, aio, bounded, never, select, try_select, unbounded
from tests.support.channels import waiting
from tests.support.driver import HandLoop, Stepper, complete
from tests.support.hostile import calling, hostile
from tests.support.race import HANG, eventually, outcome, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}


def test_an_item_that_selects_as_it_dies():
    """The last receiver is closed while the item is queued; its destructor selects on what is left."""
    tx, rx = unbounded()
    other_tx, other_rx = unbounded()
    seen = []
    tx.send(
        hostile(
            __del__=calling(
                lambda: seen.append((select(tx.sending("its")), select(other_tx.sending("its")), try_select(other_rx)))
            )
        )
    )
    rx.close()
    gc.collect()
    assert seen == [((0, "its", True), (0, None, False), (0, "its", False))]


@pytest.mark.parametrize("end", ["timeout", "close", "cancel", "never awaited"])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_item_that_selects_on_its_own_rendezvous_as_it_dies(end):
    """The select that was to send it is in no queue any more."""
    tx, rx = bounded(0)
    seen = []

    def item():
        return hostile(__del__=calling(lambda: seen.append((try_select(tx.sending("its"), rx), waiting(tx)))))

    if end == "timeout":
        outcome(lambda: select(tx.sending(item()), rx, timeout=1e-4), Timeout)()
    elif end == "close":
        thread = spawn(lambda: select(tx.sending(item()), rx, timeout=HANG).index)
        eventually(lambda: waiting(tx)["senders"] == 1)
        rx.close_channel()
        thread.result()
    else:
        stepper, loop = Stepper(aio.select(tx.sending(item()), rx)), HandLoop()
        if end == "cancel":
            with loop.running():
                stepper.step()
                stepper.cancel()
                stepper.step()
        del stepper
    gc.collect()
    ((taken, queued),) = seen
    assert queued == QUIET
    assert taken is None if end != "close" else taken.closed


def test_a_callback_of_a_weak_reference_selects():
    """The item dies with the last receiver; the callback finds its channel gone and another one ready."""
    (tx, rx), (other_tx, other) = bounded(1), bounded(1)
    seen = []

    class Item:
        pass

    item = Item()
    reference = weakref.ref(item, lambda gone: seen.append((select(tx.sending(1)), select(other_tx.sending(gone)))))
    assert select(tx.sending(item)).index == 0
    del item
    rx.close()
    gc.collect()
    assert seen == [((0, 1, True), (0, None, False))]
    assert other.recv() is reference


def test_an_item_that_comes_back_to_life_is_sent_again():
    tx, rx = bounded(1)
    graves = []

    class Item:
        def __del__(self):
            graves.append(self)

    select(tx.sending(Item()))
    select(rx)
    gc.collect()
    (item,) = graves
    assert select(tx.sending(item)).index == 0
    assert select(rx).value is item


def test_an_arm_that_dies_while_its_item_is_on_the_way():
    """The select has the arm, whoever else had it."""
    tx, rx = bounded(0)

    class Item:
        pass

    thread = spawn(lambda: select(tx.sending(Item()), never(), timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == 1)
    gc.collect()
    item = rx.recv(timeout=HANG)
    assert type(item) is Item
    assert thread.result() == (0, None, False)
    died = weakref.ref(item)
    del item
    gc.collect()
    assert died() is None


def test_the_ends_of_a_select_that_waits_stay_open():
    """Its arms hold them."""
    tx, rx = bounded(1)
    arms = [rx.clone(), tx.clone()]
    rx.close()
    thread = spawn(lambda arm: select(arm, never(), timeout=HANG), arms.pop(0))
    eventually(lambda: waiting(tx)["receivers"] == 1)
    gc.collect()
    assert tx.receiver_count == 1
    tx.send("item")
    assert thread.result() == (0, "item", False)


def test_an_item_whose_end_wakes_the_select_that_receives_it():
    """The item is the last sender of another arm's channel."""
    (tx, rx), (other_tx, other_rx) = bounded(1), bounded(1)

    def twice():
        select(rx, other_rx, timeout=HANG)
        return select(rx, other_rx, timeout=HANG)

    thread = spawn(twice)
    eventually(lambda: waiting(rx)["receivers"] == 1)
    tx.send(other_tx)
    del other_tx
    gc.collect()
    assert thread.result() == (1, None, True)
    assert waiting(rx) == waiting(other_rx) == QUIET


def test_a_coroutine_that_dies_with_its_item():
    tx, rx = bounded(1)
    tx.send("old")
    loop = HandLoop()
    used = []
    item = hostile(__del__=calling(lambda: used.append((try_select(rx), waiting(tx)))))
    stepper = Stepper(aio.select(tx.sending(item), never()))
    with loop.running():
        stepper.step()
    del item, stepper
    assert waiting(tx)["senders"] == 1
    rx.close()
    loop.close()
    gc.collect()
    assert used == [((0, None, True), QUIET)]


def test_what_has_a_bad_repr_can_be_waited_for():
    from ferrule._core.parking import waits

    class Shy:
        def __repr__(self):
            raise KeyError("repr")

    tx, rx = bounded(0)
    thread = spawn(lambda: select(tx.sending(Shy()), timeout=HANG))
    eventually(lambda: waiting(tx)["senders"] == 1)
    targets = eventually(lambda: [target for *_, target, _ in waits() if type(target).__name__ == "_Select"])
    with pytest.raises(KeyError):
        repr(targets[0])
    assert type(rx.recv(timeout=HANG)) is Shy
    thread.join()
    del targets


def test_errors_leave_the_item_with_its_caller():
    tx, rx = bounded(1)
    tx.send("old")
    item = object()
    with pytest.raises(Timeout) as caught:
        select(tx.sending(item), never(), timeout=0)
    assert caught.value.item is item
    rx.close()
    assert select(tx.sending(item)).value is item
    with pytest.raises(Disconnected):
        tx.send(item)


def test_a_deep_nest_of_arms_dies_without_a_crash():
    """An arm whose item is an arm whose item is an arm, and channels in channels."""
    tx, rx = unbounded()
    arm = tx.sending("innermost")
    for _ in range(200_000):
        arm = tx.sending(arm)
    del arm
    gc.collect()
    arm = tx.sending("innermost")
    for _ in range(1000):
        tx, rx = bounded(1)
        complete(aio.select(tx.sending((arm, rx))))
        arm = tx.sending(rx)
    del arm, tx, rx
    gc.collect()
