"""Condition and its async face; part of mutex.pyx.

A condition has a queue of its own, under the latch of its mutex, so giving up the lock and queueing is one step for
everybody else. So is the way back of a thread: notify() moves it from the one queue to the other, as parking_lot (Rust)
does, because it would wake up to find that the notifier still has the lock. A task is claimed and tries: its loop turns
later, when the lock is mostly free, and one turn then serves all that were notified.
"""
from ferrule._core.parking cimport AHEAD, BACK, FRONT, PARKED as ASLEEP, SPIN, draw_patience, length, unlink

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t PyNumber_AsSsize_t(object, PyObject*) except? -1

cdef enum Stage:    # of a wait
    BEGINS          # not looked at yet
    HOLDS           # has the lock; its next step is to give it up
    WAITS           # in the condition's queue, or on its way out of it
    RETURNS         # wants the lock back: in the mutex's queue, or about to try
    RETURNED        # has the lock again

cdef struct Progress:       # of a wait; under the mutex's latch while the waiter is queued, else by its owner
    Stage stage
    bint notified   # and has not used it
    bint queued     # has a place in the mutex's queue, to which it goes back: the first
    bint expired    # the time is up
    bint listens    # has run signal handlers since it was queued: while its claim word says SPIN it still does
    bint over       # an exception ends it, once it has the lock again

# Invariants
#   A node is in the condition's queue only in the stage WAITS; who takes it out for a notification moves it to RETURNS
#   in the same section.
#   A notification that a wait will not use goes to the next in the queue, by whoever finds that out: `notified` is
#   taken back under the latch, so once.


@cython.final
@cython.no_gc_clear     # a wait that gives up needs the mutex; every cycle passes the mutex or a coroutine
cdef class Condition:
    """Condition(mutex=None)
    --

    A place to wait, with a Mutex given up meanwhile, until another thread or task notifies.

    Complexity  notify: O(n notified); every other method: O(1).
    Threads     Every method is safe. Threads and tasks wait in one queue and are notified in order of arrival.
    Blocks      wait and wait_for; lock, acquire and `with` as those of the mutex. Ctrl-C interrupts them.
    Calls you   the predicate of wait_for, with the mutex held.
    Errors      RuntimeError without the mutex held; Timeout; BlockingInEventLoop.

    `mutex` is a Mutex, of either face; without one the condition has its own. Several conditions may share one. `with`,
    acquire, release and locked are the mutex's.

    >>> ready = Condition(Mutex([]))
    >>> with ready as guard:
    ...     guard.value.append("item")
    ...     ready.notify()
    >>> with ready as guard:
    ...     ready.wait_for(lambda: guard.value, timeout=1.0)
    ['item']
    """
    cdef Mutex _mutex           # constant
    cdef WaitQueue _queue       # under the mutex's latch
    cdef object __weakref__

    def __cinit__(self, mutex=None):
        if mutex is None:
            self._mutex = Mutex()
        elif isinstance(mutex, Mutex):
            self._mutex = mutex
        elif isinstance(mutex, AsyncMutex):
            self._mutex = (<AsyncMutex>mutex)._mutex
        else:
            raise TypeError(f"mutex must be a ferrule.Mutex, not {type(mutex).__name__}")

    def wait(self, *, timeout=None):
        """Gives the mutex up, waits until it is notified, and takes the mutex again.

        Gives up the hold that the caller has, however it was taken, and takes it again for the same guard, which cannot
        be used meanwhile. Waits at most `timeout` seconds for the notification (None: for ever, 0: not at all), then
        Timeout. The mutex is held again whatever is raised; what interrupts the wait is raised then, and a notification
        that it had goes to the next waiter. O(1).
        """
        _wait(self, &WAIT, _new_wait(None), timeout)

    def wait_for(self, predicate, *, timeout=None):
        """Waits until predicate() is true, and returns what it gave.

        It is called with the mutex held: at once, after each notification, and when `timeout` seconds are over, which
        is Timeout if it is still false. Otherwise as wait().
        """
        cdef _Wait wait = _new_wait(_checked(predicate))
        _wait(self, &WAIT_FOR, wait, timeout)
        return wait._value

    def notify(self, n=1):
        """Notifies at most `n` of those who wait, in the order in which they came. RuntimeError without the mutex held.

        They go on once the mutex is released. O(n).
        """
        _notify(self, PyNumber_AsSsize_t(n, NULL))

    def notify_all(self):
        """Notifies everybody who waits. RuntimeError without the mutex held. O(waiters)."""
        _notify(self, PY_SSIZE_T_MAX)

    def acquire(self, blocking=True, timeout=-1):
        """acquire() of the mutex: without a guard or an owner, as threading.Lock's."""
        return self._mutex.acquire(blocking, timeout)

    def release(self):
        """release() of the mutex: ends the hold in force. RuntimeError if there is none."""
        self._mutex.release()

    def locked(self):
        """Whether somebody holds the mutex."""
        return self._mutex.locked()

    @property
    def aio(self):
        """The async face of this condition, a ferrule.aio.Condition."""
        return _face_of_condition(self)

    def __enter__(self):
        return self._mutex.__enter__()

    def __exit__(self, kind, error, traceback, /):
        _leave(self._mutex, owner_thread(), NULL)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Condition[T]: a condition of a mutex around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe_condition("ferrule.Condition", self)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.Condition")

    def _wanted(self, _Wait item not None, /):
        """What that wait is for, as ferrule.debug asks for it: the mutex, or None as long as it was not notified."""
        return self._mutex if self._wants_back_locked(item) else None

    def _state(self):
        """For tests: each waiter for a notification as ("thread" | "task", claim)."""
        return claims_of(self, _copy_claims_of_condition)

    cdef bint _find_hold_locked(self, uint64_t thread, PyObject** guard) noexcept nogil:
        """Whether the mutex is held by this thread; a new reference to the guard of the hold, or NULL."""
        cdef uintptr_t word
        cdef bint found
        self._mutex._latch.lock()
        word = _pin(self._mutex)
        found = _is_held_by(word, thread)
        if found and _guard_in(word) != NULL:
            guard[0] = take(_guard_in(word))
        _unpin(self._mutex)
        self._mutex._latch.unlock()
        return found

    cdef bint _queue_locked(self, Waiter* waiter, WakeList* woken) noexcept nogil:
        """Gives up the hold and queues for a notification; False if the hold is not in force."""
        cdef uintptr_t word
        cdef bint holds = True
        self._mutex._latch.lock()
        refresh(&self._queue)
        _progress(waiter).listens = False
        if _progress(waiter).stage == WAITS:    # queued before a fork()
            link(&self._queue, &waiter.node, FRONT)
        else:
            word = _pin(self._mutex)
            holds = (word ^ waiter.token) & ~<uintptr_t>(PARKED | ENTERED) == 0
            if holds:
                _progress(waiter).stage = WAITS
                _progress(waiter).notified = False
                link(&self._queue, &waiter.node, BACK)
                if word & ENTERED:
                    _push_open(self._mutex, _guard_in(word))
                self._mutex._let_go(False, woken)
            else:
                _unpin(self._mutex)
        self._mutex._latch.unlock()
        return holds

    cdef bint _notify_locked(self, Py_ssize_t count, uint64_t thread, WakeList* woken) noexcept nogil:
        """Notifies so many waiters; False if the mutex is not held by this thread."""
        cdef bint holds
        self._mutex._latch.lock()
        holds = _is_held_by(_pin(self._mutex), thread)
        if holds:
            _notify_first(self._mutex, &self._queue, count, woken)
        _unpin(self._mutex)
        self._mutex._latch.unlock()
        return holds

    cdef void _forgo_locked(self, Waiter* waiter, WakeList* woken) noexcept nogil:
        """An exception ends the wait: it only wants the lock back, and a notification that it had goes to the next."""
        self._mutex._latch.lock()
        _progress(waiter).over = True
        if _progress(waiter).stage == WAITS:
            _progress(waiter).stage = RETURNS
        if _progress(waiter).notified:
            _progress(waiter).notified = False
            _notify_first(self._mutex, &self._queue, 1, woken)
            _unpin(self._mutex)
        self._mutex._latch.unlock()

    cdef bint _stay_locked(self, Waiter* waiter) noexcept nogil:
        """PARKED -> SPIN, if it waits for a notification."""
        cdef int seen = ASLEEP
        cdef bint stays
        self._mutex._latch.lock()
        stays = _progress(waiter).stage == WAITS
        if stays:
            stays = waiter.claim.compare_exchange_strong(seen, SPIN, acq_rel, relaxed)
            _progress(waiter).listens = stays
        self._mutex._latch.unlock()
        return stays

    cdef bint _wants_back_locked(self, _Wait wait) noexcept nogil:
        cdef bint wants
        self._mutex._latch.lock()
        wants = wait._progress.stage == RETURNS
        self._mutex._latch.unlock()
        return wants

    cdef Py_ssize_t _length_locked(self) noexcept nogil:
        cdef Py_ssize_t count
        self._mutex._latch.lock()
        refresh(&self._queue)
        count = length(&self._queue)
        self._mutex._latch.unlock()
        return count


@cython.final
cdef class AsyncCondition:
    """Condition(mutex=None)
    --

    The async face of a ferrule.Condition; constructing one makes a new condition.

    Complexity  notify: O(n notified); every other method: O(1).
    Threads     Every method is safe. Threads and tasks wait in one queue and are notified in order of arrival.
    Blocks      never the loop: wait, wait_for, acquire and `async with` suspend the task.
    Calls you   the predicate of wait_for, with the mutex held.
    Errors      RuntimeError without the mutex held; Timeout.

    `mutex` is a Mutex, of either face; without one the condition has its own.

    >>> import asyncio
    >>> async def main():
    ...     ready = AsyncCondition()
    ...     async def consume(items):
    ...         async with ready:
    ...             return await ready.wait_for(lambda: items)
    ...     task = asyncio.create_task(consume(items := []))
    ...     await asyncio.sleep(0)
    ...     async with ready:
    ...         items.append("item")
    ...         ready.notify()
    ...     return await task
    >>> asyncio.run(main())
    ['item']
    """
    cdef Condition _condition

    def wait(self, *, timeout=None):
        """Awaitable; gives the mutex up, waits until it is notified, and takes the mutex again.

        Gives up the hold that the task has, however it was taken, and takes it again for the same guard, which cannot
        be used meanwhile. Waits at most `timeout` seconds for the notification (None: for ever, 0: not at all), then
        Timeout. The mutex is held again whatever is raised; a cancellation is raised then, and a notification that the
        task had goes to the next waiter. O(1).
        """
        return _wait_async(self._condition, &WAIT, None, timeout)

    def wait_for(self, predicate, *, timeout=None):
        """Awaitable; waits until predicate(), a plain function, is true, and gives what it gave.

        It is called with the mutex held: at once, after each notification, and when `timeout` seconds are over, which
        is Timeout if it is still false. True at once, it never suspends. Otherwise as wait().
        """
        return _wait_async(self._condition, &WAIT_FOR, _checked(predicate), timeout)

    def notify(self, n=1):
        """Notifies at most `n` of those who wait, in the order in which they came. RuntimeError without the mutex held.

        They go on once the mutex is released. O(n).
        """
        _notify(self._condition, PyNumber_AsSsize_t(n, NULL))

    def notify_all(self):
        """Notifies everybody who waits. RuntimeError without the mutex held. O(waiters)."""
        _notify(self._condition, PY_SSIZE_T_MAX)

    def acquire(self, *, timeout=None):
        """Awaitable; takes the mutex without a guard or an owner and gives True. Timeout as for wait(). O(1)."""
        return _face_of(self._condition._mutex).acquire(timeout=timeout)

    def release(self):
        """release() of the mutex: ends the hold in force. RuntimeError if there is none."""
        self._condition._mutex.release()

    def locked(self):
        """Whether somebody holds the mutex."""
        return self._condition._mutex.locked()

    @property
    def sync(self):
        """The ferrule.Condition that this is a face of."""
        return self._condition

    def __aenter__(self):
        return new_coroutine(&ASYNC_ENTER, self._condition._mutex, NULL, NEVER)

    def __aexit__(self, kind, error, traceback, /):
        return new_coroutine(&ASYNC_LEAVE, self._condition._mutex, NULL, NEVER)

    def __eq__(self, other, /):
        if isinstance(other, AsyncCondition):
            return (<AsyncCondition>other)._condition is self._condition
        return NotImplemented

    def __hash__(self):
        return hash(self._condition)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Condition[T]: a condition of a mutex around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe_condition("ferrule.aio.Condition", self._condition)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.aio.Condition")


@cython.final
@cython.no_gc_clear     # a wait that gives up needs its guard; every cycle passes the coroutine or the mutex
cdef class _Wait:
    """One call of wait() or wait_for(): the item of its waiter. The waiter's token is the word of the hold."""
    cdef _Guard _guard          # of the hold, or None: it is kept alive
    cdef object _predicate      # or None
    cdef object _value          # what the predicate gave
    cdef Progress _progress


# --- what both faces do ----------------------------------------------------------------------------------------------

cdef inline AsyncCondition _face_of_condition(Condition condition):
    cdef AsyncCondition face = AsyncCondition.__new__(AsyncCondition)
    face._condition = condition
    return face


cdef inline _Wait _new_wait(object predicate):
    cdef _Wait wait = _Wait.__new__(_Wait)
    wait._predicate = predicate
    return wait


cdef object _checked(object predicate):
    if not callable(predicate):
        raise TypeError(f"predicate must be callable, not {type(predicate).__name__}")
    return predicate


cdef int _wait(Condition condition, const Operation* operation, _Wait wait, object timeout) except -1:
    wait_in_thread(operation, condition, <PyObject*>wait, 0, parse_timeout(timeout))
    return 0


cdef object _wait_async(Condition condition, const Operation* operation, object predicate, object timeout):
    cdef int64_t patience = parse_timeout(timeout)
    cdef _Wait wait = _new_wait(predicate)
    Py_INCREF(wait)
    return new_coroutine(operation, condition, <PyObject*>wait, patience)


cdef int _notify(Condition condition, Py_ssize_t count) except -1:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    if not condition._notify_locked(count, owner_thread(), &woken):
        raise RuntimeError("cannot notify without the mutex held")
    wake(&woken)
    return 0


cdef Py_ssize_t _copy_claims_of_condition(PyObject* slot, int* found, Py_ssize_t room) noexcept nogil:
    return (<Condition>slot)._mutex._copy_claims_locked(&(<Condition>slot)._queue, found, room)


cdef str _describe_condition(str name, Condition condition):
    return f"<{name} of {condition._mutex!r}, {condition._length_locked()} waiting>"


# --- under the mutex's latch -----------------------------------------------------------------------------------------

cdef inline Progress* _progress(Waiter* waiter) noexcept nogil:
    return &(<_Wait>waiter.item)._progress


cdef uintptr_t _pin(Mutex mutex) noexcept nogil:
    """The word, with PARKED set, so that it stays as it is and its guard can be looked at; 0 if the lock is free."""
    cdef uintptr_t word
    refresh(&mutex._queue)
    # Acquire, here and where the compare-and-swap fails, pairs with the release in lock(): the guard is filled in.
    word = mutex._word.load(acquire)
    while word & LOCKED and not word & PARKED:
        # Acquire and release: as in _take_or_link_locked().
        if mutex._word.compare_exchange_strong(word, word | PARKED, acq_rel, acquire):
            word |= PARKED
    return word if word & LOCKED else 0


cdef void _unpin(Mutex mutex) noexcept nogil:
    """The end of what _pin() began: PARKED says again whether somebody is queued."""
    cdef uintptr_t word = mutex._word.load(relaxed)
    if mutex._queue.head == NULL and word & PARKED:
        mutex._word.store(word & ~<uintptr_t>PARKED, release)


cdef inline bint _is_held_by(uintptr_t word, uint64_t thread) noexcept nogil:
    """Whether the pinned word is of a hold that the thread, or a task in it, took; or of one without an owner.

    Which task is not asked: asyncio.wait_for() may run wait() in another one than the caller's.
    """
    cdef PyObject* guard = _guard_in(word)
    return word != 0 and (guard == NULL or (<_Guard>guard)._thread == thread)


cdef inline Place _enqueue(Waiter* waiter, int64_t begin) noexcept nogil:
    """Its wait for the lock begins: its place in the mutex's queue."""
    _progress(waiter).queued = True
    waiter.patience = draw_patience(begin)
    return AHEAD if waiter.task == NULL and waiter.mailbox != NULL else BACK


cdef inline bint _is_listening(Waiter* waiter) noexcept nogil:
    """Whether its thread runs signal handlers, which may want the lock."""
    return _progress(waiter).listens and waiter.claim.load(relaxed) == SPIN


cdef void _notify_first(Mutex mutex, WaitQueue* queue, Py_ssize_t count, WakeList* woken) noexcept nogil:
    """Notifies so many waiters of the condition that has the queue; the mutex is to be unpinned.

    A thread goes to the mutex's queue if there is a hold, whose end wakes who is there, or if others are queued, of
    whom one is on the way to the lock then. Else, or if it runs signal handlers, it is claimed, as tasks are.
    """
    cdef Waiter* waiter
    cdef bint held = _pin(mutex) != 0
    cdef int64_t begin = 0
    refresh(queue)
    while count > 0 and queue.head != NULL:
        count -= 1
        waiter = queue.head.waiter
        _progress(waiter).stage = RETURNS
        _progress(waiter).notified = True
        if waiter.task == NULL and not _is_listening(waiter) and (held or mutex._queue.head != NULL):
            begin = begin if begin else now()
            unlink(&waiter.node)
            link(&mutex._queue, &waiter.node, _enqueue(waiter, begin))
        else:
            claim(&waiter.node, CLAIMED, woken)


# --- operations of a condition ---------------------------------------------------------------------------------------

cdef int _attempt_wait(Waiter* waiter, Place place) noexcept:
    """One step of a wait; the stages follow one another as far as they can."""
    cdef Condition condition = <Condition>waiter.target
    cdef _Wait wait = <_Wait>waiter.item
    cdef Progress* progress = &wait._progress
    cdef int outcome = BUSY
    if progress.stage == RETURNS:
        outcome = _take_back(condition._mutex, waiter, place)
        if outcome != DONE:
            return outcome
        progress.stage = RETURNED
    if progress.stage == BEGINS:
        outcome = _begin_wait(condition, wait, waiter)
        progress.stage = HOLDS
    elif progress.stage == RETURNED:
        outcome = _end_round(wait, waiter)
        progress.stage = HOLDS
    elif progress.stage == HOLDS and progress.over:
        outcome = DONE
    if outcome == BUSY and place != TRY:
        outcome = _give_up(condition, wait, waiter)
    return outcome


cdef int _begin_wait(Condition condition, _Wait wait, Waiter* waiter) noexcept:
    """Finds the hold that is to be given up. DONE or FAILED: the predicate says that there is nothing to wait for."""
    cdef PyObject* guard = NULL
    if not condition._find_hold_locked(owner_thread(), &guard):
        return _raise_not_held()
    waiter.token = LOCKED
    if guard != NULL:
        wait._guard = <_Guard>guard
        drop(guard)
        waiter.token = _token(wait._guard, 0)
    return BUSY if wait._predicate is None else _look(wait)


cdef int _give_up(Condition condition, _Wait wait, Waiter* waiter) noexcept:
    """LINKED, or FAILED because the hold has ended: somebody else did, or the predicate."""
    cdef WakeList woken
    woken.head = woken.tail = NULL
    if wait._guard is not None:
        wait._guard._lent.store(WAITING, release)
    if condition._queue_locked(waiter, &woken):
        wake(&woken)
        return LINKED
    if wait._guard is not None:
        wait._guard._lent.store(HERE, release)
    return _raise_not_held()


cdef int _take_back(Mutex mutex, Waiter* waiter, Place place) noexcept:
    """Takes the lock for the hold that was given up."""
    cdef bint checks = waiter.task == NULL and waiter.token != LOCKED
    cdef int outcome
    if place == TRY and mutex._word.load(relaxed) & LOCKED:
        return BUSY
    if place != TRY and not _progress(waiter).queued:
        place = _enqueue(waiter, now())
    outcome = mutex._take_or_link_locked(waiter, place, checks)
    if outcome == FAILED:
        _raise_would_deadlock(waiter)
    return outcome


cdef int _end_round(_Wait wait, Waiter* waiter) noexcept:
    """It has the lock again. BUSY: it waits for the next notification."""
    cdef Progress* progress = &wait._progress
    cdef int outcome = BUSY
    if wait._guard is not None:
        wait._guard._lent.store(HERE, release)
    if progress.over:
        return DONE
    progress.queued = False
    if wait._predicate is not None:
        outcome = _look(wait)
    elif progress.notified:
        outcome = DONE
    if outcome == BUSY and progress.expired:
        outcome = _raise_timeout(waiter)
    if outcome == DONE:         # else it is passed on, unless the wait goes on
        progress.notified = False
    return outcome


cdef int _look(_Wait wait) noexcept:
    """Asks the predicate: DONE, FAILED, or BUSY if it says no."""
    cdef int outcome = FAILED
    try:
        wait._value = wait._predicate()
        outcome = DONE if wait._value else BUSY
    except BaseException as error:
        set_raised(error)
    return outcome


cdef int _raise_not_held() noexcept:
    try:
        raise RuntimeError("cannot wait without the mutex held")
    except BaseException as error:      # or there is no memory for it
        set_raised(error)
    return FAILED


cdef int _raise_timeout(Waiter* waiter) noexcept:
    what = "was not notified" if (<_Wait>waiter.item)._predicate is None else "did not come to what was waited for"
    try:
        raise Timeout(f"{<object>waiter.target!r} {what} within {waiter.timeout / <double>SECOND:g} s")
    except BaseException as error:
        set_raised(error)
    return FAILED


cdef bint _abandon_wait(Waiter* waiter) noexcept nogil:
    return (<Condition>waiter.target)._mutex._abandon_locked(waiter)


cdef void _pass_on_wait(Waiter* waiter, int how, WakeList* woken) noexcept:
    cdef Condition condition = <Condition>waiter.target
    condition._mutex._pass_on_locked(waiter, how, woken)
    condition._forgo_locked(waiter, woken)


cdef bint _handed_back(Waiter* waiter) noexcept:
    """It has the lock, and something to do with it before it is done."""
    _progress(waiter).stage = RETURNED
    return False


cdef void _expire_wait(Waiter* waiter) noexcept:
    """Nothing was given up yet: Timeout. Else it wants the lock back first."""
    cdef Progress* progress = _progress(waiter)
    if progress.stage == HOLDS:
        _raise_timeout(waiter)
        return
    progress.expired = True
    if progress.stage == WAITS:
        progress.stage = RETURNS


cdef void _forgo_wait(Waiter* waiter) noexcept:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    (<Condition>waiter.target)._forgo_locked(waiter, &woken)
    wake(&woken)


cdef bint _stay_in_wait(Waiter* waiter) noexcept nogil:
    return (<Condition>waiter.target)._stay_locked(waiter)


cdef PyObject* _give_value(Waiter* waiter) noexcept:
    return take(<PyObject*>(<_Wait>waiter.item)._value)


cdef Operation _wait_operation(const char* name):
    cdef Operation operation = new_operation(
        name, _attempt_wait, _abandon_wait, _pass_on_wait, _give_value, _expire_wait
    )
    operation.handed = _handed_back
    operation.forgo = _forgo_wait
    operation.stays = _stay_in_wait
    operation.insists = True
    operation.is_event = True
    return operation


cdef Operation WAIT = _wait_operation(b"Condition.wait")
cdef Operation WAIT_FOR = _wait_operation(b"Condition.wait_for")


# --- slots of a condition --------------------------------------------------------------------------------------------

cdef traverseproc _cython_condition_traverse = traverse_slot(Condition)


cdef int _traverse_condition(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The queue's coroutines, too."""
    cdef Condition self = <Condition>slot
    cdef int stopped = _cython_condition_traverse(slot, visit, arg)
    return stopped if stopped else visit_waiters(&self._queue, visit, arg)


cdef PyObject* _new_condition_face(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    """aio.Condition(...): a new condition, and its face."""
    cdef AsyncCondition face = None
    try:
        face = _face_of_condition(Condition(*<tuple>args, **(<dict>kwargs if kwargs != NULL else {})))
    except BaseException as error:
        set_raised(error)
    return take(<PyObject*>face) if face is not None else NULL


replace_gc_slots(Condition, _traverse_condition, NULL)
quicken_with(Condition)
replace_new(AsyncCondition, _new_condition_face)
seal(_Wait)
