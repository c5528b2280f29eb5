"""Any sequence of calls on a Mutex, by threads and by tasks, answers as the plain model does."""

import contextvars
import gc
import warnings
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from ferrule import Mutex, Timeout, WouldDeadlock
from tests.conftest import GIL
from tests.support.driver import complete
from tests.support.models import Blocked, MutexModel
from tests.support.race import EXAMPLES, outcome

THREADS = ("T1", "T2")
TASKS = ("A1", "A2")
"""Two threads, and two tasks (contexts of one third thread)."""

ERRORS = (Timeout, WouldDeadlock, RuntimeError)


class MutexMachine(RuleBasedStateMachine):
    guards = Bundle("guards")
    unlocked_guards = Bundle("unlocked_guards")

    @initialize(fair=st.booleans(), value=st.integers())
    def make(self, fair, value):
        self.mutex = Mutex(value, fair=fair)
        self.model = MutexModel(value)
        self.held = {}  # name of a guard -> guard
        self.kept_by_mutex = set()  # names of the guards of `with mutex` blocks that are not yet left
        self.entered = {thread: [] for thread in THREADS}
        self.outside = {}  # name of a guard -> its unlocked() block
        self.count = 0

    def __init__(self):
        super().__init__()
        self.workers = {name: ThreadPoolExecutor(1) for name in (*THREADS, "A")}
        self.contexts = {name: contextvars.Context() for name in TASKS}

    def teardown(self):
        if self.mutex.locked():
            self.mutex.release()
        for worker in self.workers.values():
            worker.shutdown()

    def do(self, owner, function, *args):
        """`function(*args)` in the thread or task of that name; an error is its result."""
        call = outcome(function, *ERRORS)
        if owner in self.contexts:
            return self.workers["A"].submit(self.contexts[owner].run, call, *args).result()
        return self.workers[owner].submit(call, *args).result()

    def take(self, owner, function, expected):
        """A call that may give a guard: compares it with the model's answer, and names the guard."""
        name = f"g{self.count}"
        self.count += 1
        answer, model = expected(name)
        taken = self.do(owner, function)
        if answer in (None, True):
            self.held[name] = taken
            assert taken.value == model.value
        else:
            assert taken is (None if answer is False else answer)
        self.model = model
        return name

    def check(self, owner, function, answered):
        expected, self.model = answered
        assert self.do(owner, function) == expected

    def blocking(self, function):
        """The model's answer to a call that waits a little: Timeout if it could only wait."""
        try:
            return function()
        except Blocked:
            return Timeout, self.model

    @rule(target=guards, thread=st.sampled_from(THREADS))
    def lock(self, thread):
        return self.take(
            thread,
            lambda: self.mutex.lock(timeout=1e-5),
            lambda name: self.blocking(lambda: self.model.lock(thread, name)),
        )

    @rule(target=guards, owner=st.sampled_from(THREADS + TASKS))
    def lock_now(self, owner):
        face = self.mutex.aio
        return self.take(
            owner,
            lambda: complete(face.lock(timeout=0)) if owner in TASKS else self.mutex.lock(timeout=0),
            lambda name: self.model.lock_now(owner, name),
        )

    @rule(target=guards, owner=st.sampled_from(THREADS + TASKS))
    def try_lock(self, owner):
        face = self.mutex.aio if owner in TASKS else self.mutex
        return self.take(owner, face.try_lock, lambda name: self.model.try_lock(owner, name))

    @rule(target=guards, task=st.sampled_from(TASKS))
    @precondition(lambda self: not self.model.held)
    def lock_in_a_task(self, task):
        return self.take(task, lambda: complete(self.mutex.aio.lock()), lambda name: self.model.lock(task, name))

    @rule(owner=st.sampled_from(THREADS + TASKS))
    def acquire_now(self, owner):
        if owner in TASKS:
            answer, self.model = self.model.try_acquire()
            taken = self.do(owner, lambda: complete(self.mutex.aio.acquire(timeout=0)))
            assert taken is (True if answer else Timeout)
        else:
            self.check(owner, lambda: self.mutex.acquire(False), self.model.try_acquire())

    @rule(thread=st.sampled_from(THREADS))
    def acquire(self, thread):
        answer, self.model = self.blocking(self.model.acquire)
        assert self.do(thread, lambda: self.mutex.acquire(timeout=1e-5)) is (answer is True)

    @rule(owner=st.sampled_from(THREADS + TASKS))
    def release(self, owner):
        self.check(owner, (self.mutex.aio if owner in TASKS else self.mutex).release, self.model.release())

    @rule(name=guards, owner=st.sampled_from(THREADS + TASKS), fair=st.booleans())
    def release_guard(self, name, owner, fair):
        if guard := self.held.get(name):
            self.check(owner, lambda: guard.release(fair=fair), self.model.guard_release(name))

    @rule(name=guards, owner=st.sampled_from(THREADS + TASKS))
    def get(self, name, owner):
        if guard := self.held.get(name):
            self.check(owner, lambda: guard.value, self.model.get(name))

    @rule(name=guards, owner=st.sampled_from(THREADS + TASKS), value=st.integers())
    def set(self, name, owner, value):
        if guard := self.held.get(name):
            self.check(owner, lambda: setattr(guard, "value", value), self.model.set(name, value))

    @rule(name=consumes(guards))
    def drop(self, name):
        """The last reference to a guard dies: a hold that it stood for ends with a warning."""
        if name not in self.held or name in self.kept_by_mutex or name in self.outside:
            return  # or somebody else has a reference too
        answer, self.model = self.model.guard_release(name)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del self.held[name]
            if not GIL:  # what one thread made and another drops dies later
                for worker in self.workers.values():
                    worker.submit(lambda: None).result()
                gc.collect()
        assert [warning.category for warning in seen] == ([ResourceWarning] if answer is None else [])

    @rule(target=guards, thread=st.sampled_from(THREADS))
    @precondition(lambda self: not self.model.held or self.model.owner in THREADS)
    def enter(self, thread):
        if self.model.held and self.model.owner != thread:
            thread = self.model.owner  # entering for another's hold would wait for ever
        name = self.take(thread, self.mutex.__enter__, lambda name: self.model.lock(thread, name))
        if name in self.held:
            self.entered[thread].append(name)
            self.kept_by_mutex.add(name)
        return name

    @rule(thread=st.sampled_from(THREADS))
    def leave(self, thread):
        if self.entered[thread]:
            name = self.entered[thread].pop()
            self.kept_by_mutex.discard(name)
            answer, self.model = self.model.leave(thread, name)
            assert not self.do(thread, lambda: self.mutex.__exit__(None, None, None))
            assert answer is None

    @rule(thread=st.sampled_from(THREADS))
    def leave_in_another_thread(self, thread):
        other = THREADS[1 - THREADS.index(thread)]
        if self.entered[thread] and not self.entered[other] and self.model.guard == self.entered[thread][-1]:
            name = self.entered[thread][-1]
            self.check(other, lambda: self.mutex.__exit__(None, None, None), self.model.leave(other, name))

    @rule(target=unlocked_guards, name=guards)
    def unlock(self, name):
        guard = self.held.get(name)
        if guard is None or name in self.outside or self.model.owner not in THREADS:
            return name
        answer, model = self.model.guard_release(name)
        if answer is None:
            owner = self.model.owner
            block = guard.unlocked()
            assert self.do(owner, block.__enter__) is not RuntimeError
            self.outside[name] = owner, block
            self.model = model
        return name

    @rule(name=consumes(unlocked_guards))
    def lock_again(self, name):
        if name in self.outside and not self.model.held:
            owner, block = self.outside.pop(name)
            _, self.model = self.model.lock(owner, name)
            assert not self.do(owner, lambda: block.__exit__(None, None, None))

    @rule(owner=st.sampled_from(THREADS + TASKS))
    def locked(self, owner):
        self.check(owner, self.mutex.locked, self.model.locked())

    @invariant()
    def agrees(self):
        assert self.mutex._state() == {"locked": self.model.held, "parked": False, "waiters": []}


TestMutexModel = MutexMachine.TestCase
TestMutexModel.settings = settings(max_examples=50 * EXAMPLES, stateful_step_count=40, deadline=None)
