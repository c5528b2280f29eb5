"""The kit's model of gates: who is claimed, in which order, and who takes over from whom."""

from typing import NamedTuple

from tests.support.models import GatesModel


class Waiter(NamedTuple):
    name: str
    gates: tuple[int, ...] = (0,)


A, B, C = Waiter("a"), Waiter("b"), Waiter("c")
BOTH = Waiter("both", (0, 1))


def queue(*waiters, permits=(0, 0)):
    model = GatesModel.of(*permits)
    for waiter in waiters:
        model = model.links(waiter, first=False)
    return model


def test_a_permit_is_taken_where_there_is_one():
    claimed, model = GatesModel.of(0, 2).take((0, 1))
    assert (claimed, model) == ((), GatesModel.of(0, 1))
    assert GatesModel.of(0, 2).take((0,)) == (None, GatesModel.of(0, 2))


def test_release_gives_leave_to_the_first_and_the_permit_stays_till_it_is_taken():
    claimed, model = queue(A, B, C).release(0, 2)
    assert claimed == (A, B)
    assert (model.free, model.queues[0], model.waiting) == ((2, 0), (C,), {C})
    assert model.attempt(A) == ((), model.leaves(A).take((0,))[1])


def test_who_tries_in_vain_may_queue_before_all_others():
    _, model = queue(A, B).release(0)
    _, model = model.take((0,))
    claimed, model = model.attempt(A)
    assert claimed is None
    assert model.links(A, first=True).queues[0] == (A, B)


def test_what_is_handed_is_counted_nowhere_else():
    claimed, model = queue(A, B).hand(0)
    assert (claimed, model.free, model.handed) == ((A,), (0, 0), {A})
    assert model.leaves(A) == queue(B)
    assert GatesModel.of(1, 0).hand(0) == ((), GatesModel.of(1, 0))


def test_who_gives_up_passes_on_what_it_got():
    for how in ("release", "hand"):
        _, model = getattr(queue(A, B), how)(0)
        claimed, model = model.gives_up(A)
        assert (claimed, model.free, model.leave, model.handed) == ((B,), (1, 0), {B}, frozenset()), how
    assert queue(A, B).gives_up(A) == ((), queue(B))


def test_who_waits_at_several_gates_is_claimed_once():
    claimed, model = queue(BOTH, Waiter("d", (1,))).release(0)
    assert claimed == (BOTH,)
    assert model.queues == ((), (BOTH, ("d", (1,)))), "it leaves the other queue when it runs, or is met there"
    claimed, model = model.release(1)
    assert claimed == (("d", (1,)),)
    assert model.queues == ((), ())


def test_who_takes_at_one_of_several_gates_lets_others_try_at_each():
    _, model = queue(BOTH, A).release(0, 1)
    _, model = model.release(0, 1)
    _, model = model.links(B, first=False).attempt(BOTH)
    assert model.free == (1, 0)
    assert model.leave == {A, B}
