"""Any sequence of calls on a Pool, by either face, answers as a plain model does."""

import gc
import warnings

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferrule import Pool, PoolClosed, PoolTimeout
from tests.support.driver import complete
from tests.support.pool_model import PoolModel
from tests.support.pools import figures
from tests.support.race import EXAMPLES, outcome

ERRORS = PoolClosed, PoolTimeout, RuntimeError, ValueError


class PoolMachine(RuleBasedStateMachine):
    """Leases by name; their objects are named after the lease for which they were made, or numbered by warm_up()."""

    def __init__(self):
        super().__init__()
        self.leases = {}
        self.ended = {}
        self.count = 0
        self.making = []
        self.destroyed = []
        self.reset = []

    @initialize(size=st.integers(1, 4), least=st.integers(0, 1), fifo=st.booleans(), hooked=st.booleans())
    def make(self, size, least, fifo, hooked):
        hooks = {"reset": self.reset.append, "validate": id, "destroy": self.destroyed.append} if hooked else {}
        self.pool = Pool(
            lambda: self.making.pop(0), max_size=size, min_size=least, order="fifo" if fifo else "lifo", **hooks
        )
        self.hooked = hooked
        self.model = PoolModel(size, fifo=fifo, min_size=least)

    def does(self, function, name, *args):
        """The call, and the model's, which must give the same."""
        expected, self.model = getattr(self.model, name)(*args)
        assert outcome(function, *ERRORS)() == expected

    def takes(self, take, name):
        self.count += 1
        lease_name = f"lease {self.count}"
        self.making = [lease_name]

        def taken():
            lease = take()
            if lease is None:
                return None
            self.leases[lease_name] = lease
            return lease.value

        self.does(taken, name, lease_name)

    @rule(aio=st.booleans())
    def try_acquire(self, aio):
        self.takes((self.pool.aio if aio else self.pool).try_acquire, "try_acquire")

    @rule(aio=st.booleans())
    def acquire(self, aio):
        def take():
            return complete(self.pool.aio.acquire(timeout=0)) if aio else self.pool.acquire(timeout=0)

        self.takes(take, "acquire_within")

    def end(self, data, method):
        names = list(self.leases) + list(self.ended)[-3:]
        name = data.draw(st.sampled_from(names))
        lease = self.leases.pop(name, None) or self.ended[name]
        self.ended[name] = lease

        def ends():
            ended = getattr(lease, method)()
            return complete(ended) if hasattr(ended, "send") else ended

        self.does(ends, method, name)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data):
        before = len(self.reset)
        self.end(data, "release")
        assert len(self.reset) - before in (0, 1)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def detach(self, data):
        self.end(data, "detach")

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def discard(self, data):
        self.end(data, "discard")

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def forget(self, data):
        """A lease that is collected is released."""
        name = data.draw(st.sampled_from(list(self.leases)))
        _, self.model = self.model.release(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del self.leases[name]
            gc.collect(0)

    @rule()
    def attach(self):
        self.count += 1
        self.does(lambda: self.pool.attach(f"mine {self.count}"), "attach", f"mine {self.count}")

    @rule()
    def overflow(self):
        self.count += 1
        self.making = [name := f"lease {self.count}"]
        expected, model = self.model.try_acquire(name)
        lease = outcome(lambda: self.pool.acquire_or(lambda: "over"), *ERRORS)()
        if lease is PoolClosed:
            assert expected is PoolClosed
        elif expected is None:
            assert lease.value == "over"
            lease.release()
        else:
            assert lease.value == expected
            self.model = model
            self.leases[name] = lease

    @rule(size=st.integers(1, 4), aio=st.booleans())
    def resize(self, size, aio):
        self.does(lambda: complete(self.pool.aio.resize(size)) if aio else self.pool.resize(size), "resize", size)

    @rule(data=st.data())
    def retain(self, data):
        kept = data.draw(st.frozensets(st.sampled_from(self.model.idle))) if self.model.idle else frozenset()
        self.does(lambda: self.pool.retain(kept.__contains__), "retain", kept)

    @rule()
    def warm_up(self):
        self.making = [self.model.made + number for number in range(4)]
        self.does(self.pool.warm_up, "warm_up")

    @precondition(lambda self: self.count > 15)
    @rule()
    def close(self):
        self.does(lambda: self.pool.close(timeout=0), "close")

    @invariant()
    def figures_agree(self):
        if not hasattr(self, "pool"):
            return
        assert figures(self.pool) == (len(self.model.idle), len(self.model.leased), self.model.size, 0)
        assert (self.pool.max_size, self.pool.closed) == (self.model.max_size, self.model.closed)
        for name, lease in self.leases.items():
            assert lease.value == dict(self.model.leased)[name]

    @invariant()
    def nothing_is_destroyed_twice_or_while_it_is_there(self):
        named = [obj for obj in self.destroyed if obj != "over"]
        assert len(named) == len(set(named))
        if hasattr(self, "model"):
            assert not set(named) & ({*self.model.idle} | {obj for _, obj in self.model.leased})

    def teardown(self):
        for lease in self.leases.values():
            lease.detach()


PoolMachine.TestCase.settings = settings(max_examples=40 * EXAMPLES, stateful_step_count=40, deadline=None)
TestPool = PoolMachine.TestCase
