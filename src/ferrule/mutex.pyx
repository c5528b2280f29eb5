"""Mutex, a lock around a value, and Condition: for threads and for tasks of any event loop.

One word says everything: which guard holds the lock, whether somebody is queued, and whether a `with` block's guard is
kept by the mutex. The fast paths are one compare-and-swap on it; behind them stands the wait queue of _core.parking.
Barging with eventual fairness follows parking_lot (Rust): whoever comes first takes a free lock, but a waiter that has
waited for about half a millisecond is handed it by the next release.
"""
import types

cimport cython
from cpython.exc cimport PyErr_WarnEx, PyErr_WriteUnraisable
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ferrule._core.atomics cimport acq_rel, acquire, relaxed, release
from ferrule._core.bound cimport quicken_async_with, quicken_with
from ferrule._core.coroutine cimport new_coroutine
from ferrule._core.deadline cimport NEVER, SECOND, now, parse_seconds, parse_timeout
from ferrule._core.freelist cimport recycle
from ferrule._core.gc cimport (
    PyObject_GC_UnTrack,
    clear_slot,
    dealloc_slot,
    destructor,
    free_object,
    inherit_dealloc,
    inquiry,
    replace_dealloc,
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.owned cimport drop, retain, swap, take
from ferrule._core.parking cimport (
    BUSY,
    CLAIMED,
    DONE,
    FAILED,
    HANDED,
    LINKED,
    TRY,
    Apart,
    Attempt,
    Expire,
    Operation,
    Outcome,
    Place,
    Result,
    Waiter,
    WaitQueue,
    WakeList,
    apart_depth,
    claim,
    claim_first,
    claims_of,
    copy_claims,
    give_up,
    link,
    must_act,
    new_operation,
    owner_context,
    owner_thread,
    refresh,
    visit_waiters,
    wait_in_thread,
    wake,
)
from ferrule._core.raised cimport KeepRaised, set_raised
from ferrule._core.sealed cimport PyTypeObject, replace_new, seal

from ferrule.errors import Timeout, WouldDeadlock

cdef extern from *:
    """
    #define FERRULE_VALUE_SLOT(mutex) (&(mutex)->_value)
    """
    PyObject** value_slot "FERRULE_VALUE_SLOT"(Mutex) noexcept nogil

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FERRULE_MUTEX_TRIES 100
    #else
    #define FERRULE_MUTEX_TRIES 0
    #endif
    """
    # How often a thread looks again before it queues: with the GIL the holder cannot go on while it looks.
    const int TRIES "FERRULE_MUTEX_TRIES"

cdef extern from "Python.h":
    const long long PY_TIMEOUT_MAX
    PyObject* Py_None
    PyObject* Py_True

cdef enum:
    LOCKED = 0b001      # somebody holds the lock
    PARKED = 0b010      # at least one waiter is queued
    ENTERED = 0b100     # the guard in the word is of a `with mutex` block, and the word owns a reference to it
    FLAGS = 0b111       # above them: the address of the guard of the hold, or 0 (free, or held by acquire())

cdef enum Lent:         # of a guard that is not in force: whether its hold will be taken again for it
    HERE                # no
    UNLOCKED            # at the end of an unlocked() block
    WAITING             # by the wait() of a Condition

# Invariants
#   The queue is not empty if and only if PARKED is set.
#   While PARKED or ENTERED is set the word changes only under the latch, so the guard in it can be looked at there: it
#   cannot be released, and so not freed, meanwhile.
#   A guard whose address is in the word is alive: its end releases the hold. So the word alone says which guard is in
#   force, a release is one compare-and-swap, and of two racing ones exactly one succeeds.
#   The guard of a `with` block that is open is in the word with ENTERED, or in the list of open guards.
#   A waiter that was HANDED the lock finds the word with its own token in it.

cdef object _NO_TIMEOUT = -1        # acquire()'s default, told from an argument by identity


# --- the mutex -------------------------------------------------------------------------------------------------------

@cython.final
@cython.trashcan(True)
cdef class Mutex:
    """Mutex(value=None, /, *, fair=False)
    --

    A lock around a value, for threads and, through `aio`, for tasks of any number of event loops.

    Complexity  Every method: O(1).
    Threads     Every method is safe. Threads and tasks wait in one queue.
    Blocks      lock, acquire and `with` while somebody else holds the lock; Ctrl-C interrupts them.
    Calls you   never while an internal lock is held.
    Errors      Timeout; WouldDeadlock when the same owner locks again with lock() or `with`.

    The value is reached through the guard. A free lock goes to whoever comes first, but a release hands it to a waiter
    that has waited for longer than 0-1 ms (drawn at random for each wait), so nobody starves; with `fair` every release
    hands it to the first in the queue. An exception in the holder releases the lock: there is no poisoning.

    >>> balance = Mutex(10)
    >>> with balance as guard:
    ...     guard.value += 5
    >>> with balance.lock(timeout=1.0) as guard:
    ...     guard.value
    15
    """

    def __cinit__(self, value=None, /, *, bint fair=False):
        self._value = value
        self._fair = fair

    def lock(self, *, timeout=None):
        """Takes the lock and returns its MutexGuard.

        Waits at most `timeout` seconds (None: for ever, 0: not at all), behind those who wait already; then Timeout.
        WouldDeadlock if this thread has the lock by lock() or `with`, or a task of this thread's event loop has it.
        What former holders did to the value is visible. O(1).
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Guard guard = _new_guard(self)
        cdef uintptr_t word = 0
        # Acquire pairs with the release in _Guard.release(), _release_locked() and _let_go(); release publishes the
        # guard's fields to whoever finds it in the word.
        if not self._word.compare_exchange_strong(word, _token(guard, 0), acq_rel, relaxed):
            wait_in_thread(&LOCK, self, <PyObject*>guard, _token(guard, 0), patience)
        return guard

    def try_lock(self):
        """Takes the lock if it is free and returns its MutexGuard, else None. Never waits. O(1)."""
        cdef _Guard guard
        if self._word.load(relaxed) & LOCKED:
            return None
        guard = _new_guard(self)
        return guard if self._try_to_take(_token(guard, 0)) else None

    def acquire(self, blocking=True, timeout=-1):
        """acquire(blocking=True, timeout=-1) of threading.Lock: True, or False if the lock could not be had.

        The hold has no guard and no owner: any thread may end it with release(), and taking it twice waits. O(1).
        """
        cdef uintptr_t word = 0
        cdef int64_t patience = NEVER
        if timeout is not _NO_TIMEOUT or blocking is not True:
            patience = _parse_acquire(blocking, timeout)
        # Acquire: as in lock().
        if self._word.compare_exchange_strong(word, LOCKED, acquire, relaxed):
            return True
        if patience == 0:
            return self._try_to_take(LOCKED)
        return wait_in_thread(&ACQUIRE, self, NULL, LOCKED, patience)

    def release(self):
        """Ends the hold in force, whoever took it, and spends its guard. RuntimeError if there is none. O(1)."""
        cdef uintptr_t word = LOCKED
        # Release pairs with the acquire of whoever takes the lock next.
        if not self._word.compare_exchange_strong(word, 0, release, relaxed):
            _release(self, None, False)

    def locked(self):
        """Whether somebody holds the lock."""
        return self._word.load(relaxed) & LOCKED != 0

    @property
    def aio(self):
        """The async face of this mutex, a ferrule.aio.Mutex."""
        return _face_of(self)

    def __enter__(self):
        cdef _Guard guard = _new_guard(self)
        cdef uintptr_t token = _token(guard, ENTERED)
        cdef uintptr_t word = 0
        Py_INCREF(guard)        # the word's reference
        # Acquire and release: as in lock().
        if not self._word.compare_exchange_strong(word, token, acq_rel, relaxed):
            drop(<PyObject*>guard)
            wait_in_thread(&ENTER, self, <PyObject*>guard, token, NEVER)
        return guard

    def __exit__(self, kind, error, traceback, /):
        _leave(self, owner_thread(), NULL)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Mutex[T]: a mutex around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe("ferrule.Mutex", self, <uintptr_t><PyObject*>self)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.Mutex")

    # What threading.Condition asks of a lock: wait() gives up and retakes the hold of the `with` block it runs in.

    def _is_owned(self):
        return self.locked()

    def _release_save(self):
        """Ends the hold in force; gives the guard if it is of a `with` block, else None."""
        cdef PyObject* guard = self._entered_locked()
        if guard == NULL:
            self.release()
            return None
        saved = <_Guard>guard
        drop(guard)
        _lend(saved)
        return saved

    def _acquire_restore(self, _Guard saved, /):
        """Takes the lock again, for the guard that _release_save() gave."""
        if saved is None:
            self.acquire()
        else:
            _retake(saved)

    def _holder(self):
        """Who must act for the hold to end: (thread identity, task's context or None), the identities of sleepers().

        For a walk over who waits for whom: None unless the hold has an owner and somebody waits, or it is of a block.
        """
        cdef PyObject* context = NULL
        cdef uint64_t thread = self._holder_locked(&context)
        if thread == 0:
            return None
        holder = (thread, <object>context if context != NULL else None)
        drop(context)
        return holder

    def _holders(self, item, /):
        """_holder() as ferrule.debug asks for it: a list of (thread identity, context or None, None, None)."""
        holder = self._holder()
        return [] if holder is None else [(*holder, None, None)]

    def _state(self):
        """For tests: whether it is locked, the PARKED bit, and each waiter as ("thread" | "task", claim)."""
        cdef list waiters = claims_of(self, _copy_claims)
        cdef uintptr_t word = self._word.load(relaxed)
        return {"locked": word & LOCKED != 0, "parked": word & PARKED != 0, "waiters": waiters}

    cdef inline bint _try_to_take(self, uintptr_t token) noexcept:
        """Takes the lock if it is free; the token must not be ENTERED."""
        cdef uintptr_t word = self._word.load(relaxed)
        while not word & LOCKED:
            if word & PARKED:
                return self._take_if_free(token)
            # Acquire and release: as in lock().
            if self._word.compare_exchange_strong(word, token, acq_rel, relaxed):
                return True
        return False

    cdef bint _take_if_free(self, uintptr_t token) noexcept nogil:
        """Takes the lock if it is free, also where somebody is queued."""
        cdef Waiter passer
        passer.token = token
        return self._take_or_link_locked(&passer, TRY, False) == DONE

    cdef Outcome _take_or_link_locked(self, Waiter* waiter, Place place, bint checks) noexcept nogil:
        """DONE: taken. Else, unless place is TRY, LINKED; FAILED if `checks` and the waiter has the lock already."""
        cdef uintptr_t word
        cdef Outcome outcome = BUSY
        self._latch.lock()
        refresh(&self._queue)
        # Acquire, here and where a compare-and-swap fails, pairs with the release in lock(): the guard in the word was
        # filled in before it got there.
        word = self._word.load(acquire)
        while outcome == BUSY:
            if not word & LOCKED:
                # Acquire and release: as in lock().
                if self._word.compare_exchange_strong(word, _word_of(self, waiter) | word & PARKED, acq_rel, acquire):
                    _keep_entered(self, waiter)
                    outcome = DONE
            elif place == TRY:
                break
            elif word & PARKED or self._word.compare_exchange_strong(word, word | PARKED, acq_rel, acquire):
                word |= PARKED
                if checks and _same_owner(word, waiter):
                    outcome = FAILED
                    if self._queue.head == NULL:
                        self._word.store(word & ~<uintptr_t>PARKED, release)
                else:
                    link(&self._queue, &waiter.node, place)
                    outcome = LINKED
        self._latch.unlock()
        return outcome

    cdef void _let_go(self, bint fair, WakeList* woken) noexcept nogil:
        """Ends the hold in force: hands the lock to the first waiter, or frees it and gives that one leave to try.

        Called under the latch, with PARKED or ENTERED set.
        """
        cdef Waiter* first
        cdef uintptr_t parked
        refresh(&self._queue)
        if self._queue.head != NULL and (fair or self._fair or now() >= self._queue.head.waiter.patience):
            while self._queue.head != NULL:
                first = self._queue.head.waiter
                parked = PARKED if self._queue.head != self._queue.tail else 0
                # Before the claim, because the claimed looks at the word. Release: as in release().
                self._word.store(_word_of(self, first) | parked, release)
                _keep_entered(self, first)
                if claim(self._queue.head, HANDED, woken):
                    return
        else:
            claim_first(&self._queue, CLAIMED, woken)
        # Release: as in release().
        self._word.store(PARKED if self._queue.head != NULL else 0, release)

    cdef bint _release_locked(self, PyObject* guard, bint fair, WakeList* woken) noexcept nogil:
        """Ends the hold of the guard (NULL: the one in force); False if it is not in force.

        The guard of a `with` block that is still open goes to the list of open ones, for the block's end to find.
        """
        cdef uintptr_t word
        cdef bint held = False
        self._latch.lock()
        word = self._word.load(relaxed)
        while word & LOCKED and (guard == NULL or _guard_in(word) == guard):
            if word & (PARKED | ENTERED):
                held = True
                if word & ENTERED:
                    _push_open(self, _guard_in(word))
                self._let_go(fair, woken)
                break
            # Release: as in release().
            if self._word.compare_exchange_strong(word, 0, release, relaxed):
                held = True
                break
        self._latch.unlock()
        return held

    cdef bint _leave_locked(
        self, uint64_t thread, PyObject* context, WakeList* woken, PyObject** dropped
    ) noexcept nogil:
        """The end of a `with` block of this owner: ends the hold that the block began, if it is in force.

        False if the owner has no block open. `dropped` gets the reference that was kept for the block.
        """
        cdef PyObject* guard
        cdef uintptr_t word
        self._latch.lock()
        # Acquire: the guard in the word was filled in before it got there.
        word = self._word.load(acquire)
        guard = _guard_in(word)
        if word & ENTERED and _owned_by(guard, thread, context):
            self._let_go(False, woken)
        else:
            guard = _pop_open(self, thread, context)
        self._latch.unlock()
        dropped[0] = guard
        return guard != NULL

    cdef bint _close_locked(self, PyObject* guard) noexcept nogil:
        """Takes a guard off the list of open ones, if it is there; its reference is the caller's then."""
        cdef bint found
        self._latch.lock()
        found = _is_open(self, guard)
        if found:
            _take_off(self, guard)
        self._latch.unlock()
        return found

    cdef bint _abandon_locked(self, Waiter* waiter) noexcept nogil:
        cdef uintptr_t word
        cdef bint gave_up
        self._latch.lock()
        refresh(&self._queue)
        gave_up = give_up(waiter)
        word = self._word.load(relaxed)
        if gave_up and self._queue.head == NULL and word & PARKED:
            self._word.store(word & ~<uintptr_t>PARKED, release)
        self._latch.unlock()
        return gave_up

    cdef void _pass_on_locked(self, Waiter* waiter, int how, WakeList* woken) noexcept nogil:
        cdef uintptr_t word
        self._latch.lock()
        refresh(&self._queue)
        word = self._word.load(relaxed)
        if how == CLAIMED:
            if not word & LOCKED and claim_first(&self._queue, CLAIMED, woken) and self._queue.head == NULL:
                self._word.store(0, release)
        else:
            while word & ~<uintptr_t>PARKED == waiter.token:
                if word & (PARKED | ENTERED):
                    if word & ENTERED:
                        _push_open(self, _guard_in(word))
                    self._let_go(False, woken)
                    break
                if self._word.compare_exchange_strong(word, 0, release, relaxed):
                    break
        self._latch.unlock()

    cdef uint64_t _holder_locked(self, PyObject** context) noexcept nogil:
        """The owner's thread, and a new reference to its context; 0 if no guard can be looked at."""
        cdef PyObject* guard = NULL
        cdef uint64_t thread = 0
        cdef uintptr_t word
        self._latch.lock()
        # Acquire: the guard in the word was filled in before it got there.
        word = self._word.load(acquire)
        if word & (PARKED | ENTERED):
            guard = _guard_in(word)
        if guard != NULL:
            thread = (<_Guard>guard)._thread
            if (<_Guard>guard)._context != NULL:
                context[0] = take((<_Guard>guard)._context)
        self._latch.unlock()
        return thread

    cdef PyObject* _entered_locked(self) noexcept nogil:
        """A new reference to the guard of the `with` block that holds the lock; NULL if none does."""
        cdef PyObject* guard = NULL
        cdef uintptr_t word
        self._latch.lock()
        word = self._word.load(relaxed)
        if word & ENTERED:
            guard = take(_guard_in(word))
        self._latch.unlock()
        return guard

    cdef PyObject* _get_value_locked(self, PyObject* guard) noexcept nogil:
        """A new reference to the value; NULL if the guard is not in force."""
        cdef PyObject* value = NULL
        self._latch.lock()
        if _guard_in(self._word.load(relaxed)) == guard:
            value = take(value_slot(self)[0])
        self._latch.unlock()
        return value

    cdef PyObject* _set_value_locked(self, PyObject* guard, PyObject* value) noexcept nogil:
        """Moves the reference in and returns the old value's; NULL if the guard is not in force."""
        cdef PyObject* old = NULL
        self._latch.lock()
        if _guard_in(self._word.load(relaxed)) == guard:
            old = swap(value_slot(self), value)
        self._latch.unlock()
        return old

    cdef Py_ssize_t _copy_claims_locked(self, WaitQueue* queue, int* found, Py_ssize_t room) noexcept nogil:
        """copy_claims() of a queue that is under this latch."""
        cdef Py_ssize_t count
        self._latch.lock()
        refresh(queue)
        count = copy_claims(queue, found, room)
        self._latch.unlock()
        return count


include "mutex_face.pxi"
include "mutex_guard.pxi"


# --- what both faces do ----------------------------------------------------------------------------------------------

cdef str _NOT_IN_FORCE = "the guard does not hold the mutex: it was released"


cdef inline uintptr_t _token(_Guard guard, uintptr_t flags) noexcept:
    """The word of a mutex that this guard holds, while nobody waits."""
    return <uintptr_t><PyObject*>guard | LOCKED | flags


cdef inline PyObject* _guard_in(uintptr_t word) noexcept nogil:
    return <PyObject*>(word & ~<uintptr_t>FLAGS)


cdef inline _Guard _new_guard(Mutex mutex):
    cdef MutexGuard guard = MutexGuard.__new__(MutexGuard)
    guard._mutex = mutex
    guard._thread = owner_thread()
    return guard


cdef inline _Guard _new_async_guard(Mutex mutex):
    cdef AsyncMutexGuard guard = AsyncMutexGuard.__new__(AsyncMutexGuard)
    guard._mutex = mutex
    guard._thread = owner_thread()
    guard._context = owner_context()
    if guard._context == NULL:
        raise MemoryError
    retain(guard._context)
    return guard


cdef inline bint _owned_by(PyObject* guard, uint64_t thread, PyObject* context) noexcept nogil:
    """Whether the guard, which the latch keeps alive, was taken by exactly this owner."""
    return (<_Guard>guard)._thread == thread and (<_Guard>guard)._context == context


cdef inline bint _same_owner(uintptr_t word, Waiter* waiter) noexcept nogil:
    """Whether the hold in force can only end by an act of the waiter."""
    cdef PyObject* guard = _guard_in(word)
    return guard != NULL and must_act(waiter, (<_Guard>guard)._thread, (<_Guard>guard)._context)


cdef int _release(Mutex mutex, _Guard guard, bint fair) except -1:
    """release() of a guard, or with None of whatever hold is in force, where one compare-and-swap was not enough."""
    cdef WakeList woken
    woken.head = woken.tail = NULL
    if not mutex._release_locked(<PyObject*>NULL if guard is None else <PyObject*>guard, fair, &woken):
        raise RuntimeError("release unlocked lock" if guard is None else _NOT_IN_FORCE)
    wake(&woken)
    return 0


cdef bint _release_quietly(_Guard guard) noexcept:
    """Whether the guard was still in force."""
    cdef WakeList woken
    cdef uintptr_t word = _token(guard, 0)
    # Release: as in _Guard.release().
    if guard._mutex._word.compare_exchange_strong(word, 0, release, relaxed):
        return True
    woken.head = woken.tail = NULL
    if not guard._mutex._release_locked(<PyObject*>guard, False, &woken):
        return False
    wake(&woken)
    return True


cdef void _release_forgotten(_Guard guard) noexcept:
    """A guard is being collected while it holds the lock: releases it, and warns last."""
    cdef KeepRaised keep
    cdef Apart apart
    keep.set_aside()
    apart.begin(apart_depth())
    if not _release_quietly(guard):
        return      # by the mutex, meanwhile
    try:
        PyErr_WarnEx(ResourceWarning, b"a guard was collected while it held its mutex, which is free again", 1)
    except BaseException as error:      # warnings may be errors, and a destructor cannot raise
        set_raised(error)
        PyErr_WriteUnraisable(None)


cdef int _leave(Mutex mutex, uint64_t thread, PyObject* context) except -1:
    """The end of a `with` or `async with` block on the mutex."""
    cdef WakeList woken
    cdef PyObject* dropped = NULL
    woken.head = woken.tail = NULL
    if not mutex._leave_locked(thread, context, &woken, &dropped):
        raise RuntimeError("the block was entered in another thread or context, or not at all; the lock stays as it is")
    wake(&woken)
    drop(dropped)
    return 0


cdef int _lend(_Guard guard) except -1:
    """The beginning of an unlocked() block."""
    _release(guard._mutex, guard, False)
    guard._lent.store(UNLOCKED, release)
    return 0


cdef int _retake(_Guard guard) except -1:
    """The end of an unlocked() block: the lock again, for the same guard."""
    _claim_back(guard)
    wait_in_thread(&RETAKE, guard._mutex, <PyObject*>guard, _token(guard, 0), NEVER)
    return 0


cdef int _claim_back(_Guard guard) except -1:
    """The right to take the lock again for the guard: one unlocked() block gives it once."""
    cdef int lent = UNLOCKED
    if not guard._lent.compare_exchange_strong(lent, HERE, acq_rel, relaxed):
        raise RuntimeError("the unlocked() block was not entered, or has ended already")
    return 0


cdef int64_t _parse_acquire(object blocking, object timeout) except -1:
    """threading.Lock's rules for acquire(blocking, timeout), in nanoseconds."""
    cdef bint waits = PyNumber_Index(blocking) != 0
    if timeout is _NO_TIMEOUT or timeout == -1:
        return NEVER if waits else 0
    if not waits:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if isinstance(timeout, (int, float)) and abs(timeout) > PY_TIMEOUT_MAX // 1_000_000:
        raise OverflowError("timeout value is too large")
    return parse_seconds(timeout)


cdef str _describe(str name, Mutex mutex, uintptr_t address):
    return f"<{name} {'locked' if mutex.locked() else 'unlocked'}{', fair' if mutex._fair else ''} at {address:#x}>"


cdef Py_ssize_t _copy_claims(PyObject* mutex, int* found, Py_ssize_t room) noexcept nogil:
    return (<Mutex>mutex)._copy_claims_locked(&(<Mutex>mutex)._queue, found, room)


# --- operations ------------------------------------------------------------------------------------------------------

cdef int _take_or_link(Waiter* waiter, Place place, bint checks) noexcept:
    cdef Mutex mutex = <Mutex>waiter.target
    cdef int outcome
    if place == TRY and mutex._word.load(relaxed) & LOCKED:
        return BUSY
    outcome = mutex._take_or_link_locked(waiter, place, checks)
    if outcome == FAILED:
        _raise_would_deadlock(waiter)
    return outcome


cdef void _raise_would_deadlock(Waiter* waiter) noexcept:
    holder = "this thread, or a task of its event loop," if waiter.context == NULL else "this task"
    try:
        raise WouldDeadlock(f"{holder} holds {<object>waiter.target!r} already and would wait for itself")
    except BaseException as error:      # or there is no memory for it
        set_raised(error)


cdef int _attempt_lock(Waiter* waiter, Place place) noexcept:
    return _take_or_link(waiter, place, True)


cdef int _attempt_acquire(Waiter* waiter, Place place) noexcept:
    waiter.token = LOCKED
    return _take_or_link(waiter, place, False)


cdef int _begin_async(Waiter* waiter, uintptr_t flags) noexcept:
    """The first step of a task: it is the owner, and its guard is made before anything is taken."""
    cdef _Guard guard = None
    try:
        guard = _new_async_guard(<Mutex>waiter.target)
    except BaseException as error:
        set_raised(error)
    if guard is None:
        return FAILED
    Py_INCREF(guard)
    waiter.item = <PyObject*>guard
    waiter.token = _token(guard, flags)
    waiter.thread = guard._thread
    waiter.context = guard._context
    return DONE


cdef int _attempt_async_lock(Waiter* waiter, Place place) noexcept:
    if waiter.item == NULL and _begin_async(waiter, 0) == FAILED:
        return FAILED
    return _take_or_link(waiter, place, True)


cdef int _attempt_async_enter(Waiter* waiter, Place place) noexcept:
    if waiter.item == NULL and _begin_async(waiter, ENTERED) == FAILED:
        return FAILED
    return _take_or_link(waiter, place, True)


cdef int _attempt_async_retake(Waiter* waiter, Place place) noexcept:
    cdef _Guard guard = <_Guard>waiter.item
    cdef bint claimed = False
    if waiter.token == 0:       # the first step
        try:
            _claim_back(guard)
            claimed = True
        except BaseException as error:
            set_raised(error)
        if not claimed:
            return FAILED
        waiter.token = _token(guard, 0)
        waiter.thread = guard._thread
        waiter.context = guard._context
    return _take_or_link(waiter, place, True)


cdef int _attempt_async_lend(Waiter* waiter, Place place) noexcept:
    cdef int outcome = FAILED
    try:
        _lend(<_Guard>waiter.item)
        outcome = DONE
    except BaseException as error:
        set_raised(error)
    return outcome


cdef int _attempt_async_leave(Waiter* waiter, Place place) noexcept:
    cdef int outcome = FAILED
    try:
        _leave(<Mutex>waiter.target, owner_thread(), owner_context())
        outcome = DONE
    except BaseException as error:
        set_raised(error)
    return outcome


cdef int _attempt_async_leave_guard(Waiter* waiter, Place place) noexcept:
    _release_quietly(<_Guard>waiter.item)
    return DONE


cdef bint _abandon(Waiter* waiter) noexcept nogil:
    return (<Mutex>waiter.target)._abandon_locked(waiter)


cdef void _pass_on(Waiter* waiter, int how, WakeList* woken) noexcept:
    (<Mutex>waiter.target)._pass_on_locked(waiter, how, woken)


cdef void _pass_on_entered(Waiter* waiter, int how, WakeList* woken) noexcept:
    """Of a block that does not begin."""
    _pass_on(waiter, how, woken)
    if (<Mutex>waiter.target)._close_locked(waiter.item):
        drop(waiter.item)


cdef void _expire(Waiter* waiter) noexcept:
    try:
        raise Timeout(f"{<object>waiter.target!r} was not free within {waiter.timeout / <double>SECOND:g} s")
    except BaseException as error:      # or there is no memory for it
        set_raised(error)


cdef void _expire_quietly(Waiter* waiter) noexcept:
    """acquire() answers False."""


cdef PyObject* _give_item(Waiter* waiter) noexcept:
    return take(waiter.item)


cdef PyObject* _give_true(Waiter* waiter) noexcept:
    return take(Py_True)


cdef PyObject* _give_none(Waiter* waiter) noexcept:
    return take(Py_None)


cdef Operation _operation(const char* name, Attempt attempt, Result result, Expire expire = _expire):
    cdef Operation operation = new_operation(name, attempt, _abandon, _pass_on, result, expire)
    operation.tries = TRIES
    return operation


cdef Operation LOCK = _operation(b"Mutex.lock", _attempt_lock, _give_item)
cdef Operation ENTER = _operation(b"Mutex.__enter__", _attempt_lock, _give_item)
ENTER.pass_on = _pass_on_entered
cdef Operation ACQUIRE = _operation(b"Mutex.acquire", _attempt_acquire, _give_true, _expire_quietly)
cdef Operation RETAKE = _operation(b"MutexGuard.unlocked", _attempt_lock, _give_none)
RETAKE.insists = True
cdef Operation ASYNC_LEAVE_GUARD = _operation(b"Mutex.lock.__aexit__", _attempt_async_leave_guard, _give_none)
cdef Operation ASYNC_LOCK = _operation(b"Mutex.lock", _attempt_async_lock, _give_item)
ASYNC_LOCK.leave = &ASYNC_LEAVE_GUARD
cdef Operation ASYNC_ENTER = _operation(b"Mutex.__aenter__", _attempt_async_enter, _give_item)
ASYNC_ENTER.pass_on = _pass_on_entered
cdef Operation ASYNC_LEAVE = _operation(b"Mutex.__aexit__", _attempt_async_leave, _give_none)
cdef Operation ASYNC_ACQUIRE = _operation(b"Mutex.acquire", _attempt_acquire, _give_true)
cdef Operation ASYNC_LEND = _operation(b"AsyncMutexGuard.unlocked.__aenter__", _attempt_async_lend, _give_none)
cdef Operation ASYNC_RETAKE = _operation(b"AsyncMutexGuard.unlocked.__aexit__", _attempt_async_retake, _give_none)
ASYNC_RETAKE.insists = True


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse = traverse_slot(Mutex)
cdef inquiry _cython_clear = clear_slot(Mutex)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The value, the word's guard, the open guards, and the queue's coroutines."""
    cdef Mutex self = <Mutex>slot
    cdef uintptr_t word = self._word.load(relaxed)
    cdef PyObject* guard = self._open
    cdef int stopped = _cython_traverse(slot, visit, arg)
    if not stopped and word & ENTERED:
        stopped = visit_raw(_guard_in(word), visit, arg)
    while guard != NULL and not stopped:
        stopped = visit_raw(guard, visit, arg)
        guard = (<_Guard>guard)._next_open
    return stopped if stopped else visit_waiters(&self._queue, visit, arg)


cdef int _clear(PyObject* slot) noexcept:
    """Of a garbage cycle: nobody will leave its `with` blocks any more."""
    cdef Mutex self = <Mutex>slot
    cdef uintptr_t word = self._word.load(relaxed)
    cdef PyObject* guard = self._open
    cdef PyObject* following
    self._open = NULL
    if word & ENTERED:
        self._word.store(word & ~<uintptr_t>ENTERED, relaxed)
        drop(_guard_in(word))
    while guard != NULL:
        following = (<_Guard>guard)._next_open
        (<_Guard>guard)._prev_open = (<_Guard>guard)._next_open = NULL
        drop(guard)
        guard = following
    return _cython_clear(slot)


replace_gc_slots(Mutex, _traverse, _clear)
quicken_with(Mutex)


include "mutex_condition.pxi"
