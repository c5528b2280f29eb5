"""Iterables, timeouts and limits that use the channel or raise, and objects that are not what they should be."""

import contextlib
import gc
import weakref

import pytest

import ferrule.aio
from ferrule import Disconnected, Full, Permit, Receiver, Sender, Timeout, WeakSender, bounded, unbounded
from tests.support.channels import BUFFERED, channel, waiting
from tests.support.driver import Stepper, complete, run, turns
from tests.support.hostile import calling, hostile, raising
from tests.support.leaks import in_subprocess

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}


class TestIterables:
    @pytest.mark.parametrize("face", ["sync", "async"])
    def test_an_iterable_of_send_many_that_uses_the_channel(self, face):
        tx, rx = bounded(2)
        seen = []

        def items():
            yield 1
            seen.extend(rx.drain())
            tx.send("its")
            yield 2
            seen.extend(rx.drain())
            assert tx.send_many(iter([3, 4])) == 2
            seen.extend(rx.drain())
            yield 5
            rx.close()
            yield "last"

        with pytest.raises(Disconnected) as caught:
            complete(tx.aio.send_many(items())) if face == "async" else tx.send_many(items())
        assert (caught.value.item, caught.value.sent) == ("last", 3)
        assert seen == [1, "its", 2, 3, 4]
        assert waiting(tx) == QUIET

    @pytest.mark.parametrize("face", ["sync", "async"])
    def test_an_iterable_of_send_many_that_drops_the_channel(self, face):
        ends = [*unbounded()]
        gone = weakref.ref(ends[0]), weakref.ref(ends[1])

        def items():
            yield 1
            ends.clear()
            gc.collect()
            yield 2

        with pytest.raises(Disconnected) as caught:
            complete(ends[0].aio.send_many(items())) if face == "async" else ends[0].send_many(items())
        assert (caught.value.item, caught.value.sent) == (2, 1)
        gc.collect()
        assert [reference() for reference in gone] == [None, None]

    @pytest.mark.parametrize("error", [KeyError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_an_iterable_of_send_many_that_raises(self, error):
        class Items:
            def __init__(self):
                self.left = 3

            def __iter__(self):
                return self

            def __next__(self):
                self.left -= 1
                if self.left == 0:
                    raise error
                return self.left

        tx, rx = unbounded()
        for call in (lambda: tx.send_many(Items()), lambda: complete(tx.aio.send_many(Items()))):
            if error is StopIteration:
                assert call() == 2
            else:
                with pytest.raises(error):
                    call()
            assert rx.drain() == [2, 1]
        assert waiting(tx) == QUIET


class TestArguments:
    def test_a_timeout_that_sends(self):
        tx, rx = bounded(1)
        patience = hostile(__index__=calling(lambda: tx.send("its"), then=0))
        assert rx.recv(timeout=patience) == "its"
        with pytest.raises(Timeout) as caught:
            tx.send("mine", timeout=patience)
        assert caught.value.item == "mine"
        assert rx.recv_many(5, timeout=0) == ["its"]

    def test_a_timeout_that_closes(self):
        for call, closed in (
            (lambda tx, rx, patience: rx.recv(timeout=patience), 1),
            (lambda tx, rx, patience: rx.recv_many(1, timeout=patience), 1),
            (lambda tx, rx, patience: tx.send(1, timeout=patience), 0),
            (lambda tx, rx, patience: tx.send_many([1], timeout=patience), 0),
            (lambda tx, rx, patience: tx.reserve(timeout=patience), 0),
        ):
            ends = bounded(1)
            with pytest.raises(Disconnected, match="is closed"):
                call(*ends, hostile(__index__=calling(ends[closed].close, then=5)))
            assert waiting(ends[0]) == QUIET

    def test_a_timeout_that_drops_the_channel(self):
        holder = [*bounded(1)]
        patience = hostile(__index__=calling(holder.clear, then=0))
        with pytest.raises(Disconnected, match="all receivers"):
            holder[0].send(1, timeout=patience)
        holder.extend(bounded(1))
        with pytest.raises(Disconnected, match="all senders"):
            holder[1].recv(timeout=patience)
        assert holder == []

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
    def test_a_timeout_a_limit_or_a_capacity_that_raises(self, error):
        tx, rx = bounded(1)
        bad = hostile(__index__=raising(error))
        for call in (
            lambda: bounded(bad),
            lambda: ferrule.aio.bounded(bad),
            lambda: rx.recv_many(bad),
            lambda: rx.aio.recv_many(bad),
            lambda: rx.recv(timeout=bad),
            lambda: rx.aio.recv(timeout=bad),
            lambda: rx.recv_many(1, timeout=bad),
            lambda: tx.send(1, timeout=bad),
            lambda: tx.send_many([1], timeout=bad),
            lambda: tx.reserve(timeout=bad),
            lambda: tx.aio.send(1, timeout=bad),
            lambda: tx.aio.send_many([1], timeout=bad),
            lambda: tx.aio.reserve(timeout=bad),
            lambda: tx.send_many(hostile(__iter__=raising(error))),
            lambda: tx.aio.send_many(hostile(__iter__=raising(error))),
        ):
            with pytest.raises(error):
                call()
        assert waiting(tx) == QUIET
        assert len(rx) == 0

    def test_items_that_are_neither_hashed_nor_compared_nor_shown(self):
        never = raising(AssertionError("asked"))
        item = hostile(__hash__=never, __eq__=never, __bool__=never, __repr__=never, __len__=never, __iter__=never)
        for capacity in BUFFERED:
            tx, rx = channel(capacity)
            tx.send(item)
            repr(tx)
            assert rx.recv() is item
            assert tx.force_send(item, "none") == "none"
            if capacity == 1:
                with pytest.raises(Full):
                    tx.try_send(item)
            assert rx.recv_many(1)[0] is item


class TestWrongObjects:
    def test_methods_refuse_foreign_objects(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        weak = tx.downgrade()
        strangers = [None, object(), 1, Sender, Receiver, weak, permit, rx.try_iter(), bounded, (tx, rx)]
        for cls, call, others in (
            (Sender, Sender.send, [rx, tx.aio]),
            (Sender, Sender.try_send, [rx, rx.aio]),
            (Sender, Sender.force_send, [rx, rx.aio]),
            (Sender, Sender.send_many, [rx, tx.aio]),
            (ferrule.aio.Sender, ferrule.aio.Sender.send, [tx, rx, rx.aio]),
            (ferrule.aio.Sender, ferrule.aio.Sender.send_many, [tx, rx, rx.aio]),
            (Receiver, Receiver.recv_many, [tx, rx.aio]),
            (ferrule.aio.Receiver, ferrule.aio.Receiver.recv_many, [rx, tx, tx.aio]),
            (Permit, Permit.send, [tx, rx]),
        ):
            for foreign in (*strangers, *others):
                if not isinstance(foreign, cls):
                    with pytest.raises(TypeError):
                        call(foreign, 1)
        for cls, call, others in (
            (Sender, Sender.reserve, [rx, tx.aio]),
            (Sender, Sender.downgrade, [rx]),
            (Sender, Sender.clone, []),
            (Sender, Sender.close, []),
            (Sender, Sender.close_channel, []),
            (Sender, Sender.is_closed.__get__, []),
            (Sender, Sender.aio.__get__, [rx, tx.aio]),
            (Sender, Sender.__enter__, [rx, tx.aio]),
            (Sender, Sender.__len__, []),
            (Sender, Sender.__repr__, []),
            (Sender, Sender._state, []),
            (Receiver, Receiver.recv, [tx, rx.aio]),
            (Receiver, Receiver.try_recv, [tx, tx.aio]),
            (Receiver, Receiver.drain, [tx, tx.aio]),
            (Receiver, Receiver.__next__, [tx, rx.aio]),
            (Receiver, Receiver.try_iter, [tx]),
            (ferrule.aio.Receiver, ferrule.aio.Receiver.__anext__, [rx, tx.aio]),
            (WeakSender, WeakSender.upgrade, [tx]),
            (Permit, Permit.release, [tx]),
            (Permit, Permit.__enter__, [tx]),
        ):
            for foreign in (*strangers, *others):
                if not isinstance(foreign, cls):
                    with pytest.raises(TypeError):
                        call(foreign)
        for foreign in strangers:
            with pytest.raises(TypeError):
                tx.same_channel(foreign)
        assert not tx.is_closed
        assert waiting(tx) == QUIET | {"reserved": 1}
        permit.release()

    @pytest.mark.parametrize("kind", ["Sender", "Receiver", "aio.Sender", "aio.Receiver", "Permit", "WeakSender"])
    @pytest.mark.parametrize("how", ["it()", "it.__new__(it)", "object.__new__(it)", "type('X', (it,), {})"])
    def test_nothing_is_built_behind_the_constructors(self, kind, how):
        build(f"ferrule.{kind}", how)

    @pytest.mark.parametrize("kind", ["type(rx.try_iter())", "type(rx.aio.recv())"])
    @pytest.mark.parametrize("how", ["it()", "it.__new__(it)", "object.__new__(it)", "type('X', (it,), {})"])
    def test_nor_is_what_the_ends_give(self, kind, how):
        build(kind, how)

    @pytest.mark.parametrize("depth", [1, 2])
    @pytest.mark.parametrize("how", ["it()", "it.__new__(it)", "object.__new__(it)", "X()", "object.__new__(X)"])
    def test_nor_is_what_the_ends_have_in_common(self, depth, how):
        """A subclass of it can be written; an instance of one cannot be had."""
        build(f"ferrule.Sender.__mro__[{depth}]", how)

    @pytest.mark.parametrize("make", [bounded, unbounded, ferrule.aio.bounded, ferrule.aio.unbounded])
    def test_makers_give_pairs_and_nothing_else(self, make):
        with pytest.raises(TypeError):
            type("X", (make,), {})
        with pytest.raises(TypeError):
            object.__new__(make)
        args = () if "unbounded" in make.__name__ else (1,)
        assert type(make.__new__(make, *args)) is tuple
        for wrong in ((*args, 1, 2), (), (None,), ("1",), (1.0,)):
            if wrong != args:
                with pytest.raises(TypeError):
                    make(*wrong)
        with pytest.raises(TypeError):
            make(*args, capacity=1)

    def test_attributes_can_be_set_on_none_of_them(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        for thing in (tx, rx, tx.aio, rx.aio, tx.downgrade(), permit, rx.try_iter()):
            with pytest.raises(AttributeError):
                thing.attribute = 1
            with pytest.raises(TypeError):
                type(thing).send = None
        for end in (tx, rx):
            for name in ("capacity", "is_closed", "sender_count", "aio"):
                with pytest.raises(AttributeError):
                    setattr(end, name, 1)
                with pytest.raises(AttributeError):
                    delattr(end, name)
            for name in ("_end", "_channel"):
                assert not hasattr(end, name)
        permit.release()

    def test_initialising_one_again_changes_nothing(self):
        tx, rx = bounded(1)
        tx.send(1)
        for end in (tx, rx, tx.aio):
            with contextlib.suppress(TypeError):
                end.__init__(5)
        assert (tx.capacity, tx.is_closed, rx.drain()) == (1, False, [1])

    def test_exits_take_three_arguments(self):
        tx, rx = bounded(1)
        permit = tx.reserve()
        for leave in (tx.__exit__, rx.__exit__, permit.__exit__, tx.aio.__aexit__, rx.aio.__aexit__):
            for args in ((), (None,), (None, None), (None, None, None, None)):
                with pytest.raises(TypeError):
                    leave(*args)
        assert not tx.is_closed
        assert not rx.is_closed
        permit.release()

    def test_a_coroutine_driven_in_the_wrong_ways(self, loop_name):
        async def main():
            tx, rx = bounded(1)
            stepper = Stepper(rx.aio.recv())
            stepper.step()
            stepper.future.set_result("not yours")
            await turns()
            assert not stepper.send(), "woken by a stranger, it goes on waiting"
            tx.send("item")
            assert await stepper.finish() == "item"
            sending = tx.aio.send("new")
            complete(sending)
            with pytest.raises(RuntimeError):
                sending.send(None)
            assert rx.drain() == ["new"]
            assert waiting(tx) == QUIET

        run(main(), loop_name)


def build(kind, how):
    """What must be refused, in a process of its own: what came of it may have empty fields."""
    in_subprocess(f"""
        import warnings
        import ferrule, ferrule.aio
        warnings.simplefilter("ignore")
        tx, rx = ferrule.bounded(1)
        it = {kind}

        try:
            if "X" in {how!r} and not {how!r}.startswith("type"):
                class X(it):
                    def __new__(cls):
                        return object.__new__(cls)
                    def __init__(self):
                        pass
            made = {how}
        except TypeError:
            raise SystemExit
        for use in (repr, next, len):
            try:
                use(made)
            except Exception:
                pass
        raise SystemExit(f"made {{made!r}}")
    """)
