"""The guards of Mutex and what unlocked() gives; part of mutex.pyx."""


@cython.no_gc_clear     # __dealloc__ needs the mutex; every cycle passes the mutex or the context, which can be cleared
cdef class _Guard:
    """What both kinds of guard are: one hold of a mutex, and the capability to end it."""

    @property
    def value(self):
        """The object that the mutex protects; RuntimeError once the hold has ended."""
        cdef PyObject* value = self._mutex._get_value_locked(<PyObject*>self)
        if value == NULL:
            raise RuntimeError(_NOT_IN_FORCE)
        result = <object>value
        drop(value)
        return result

    @value.setter
    def value(self, value):
        cdef PyObject* old
        Py_INCREF(value)
        old = self._mutex._set_value_locked(<PyObject*>self, <PyObject*>value)
        if old == NULL:
            drop(<PyObject*>value)
            raise RuntimeError(_NOT_IN_FORCE)
        drop(old)       # last: its destructor may call back

    @value.deleter
    def value(self):
        raise AttributeError("the value of a mutex can be replaced, not deleted")

    def release(self, *, bint fair=False):
        """Ends the hold; RuntimeError if it has ended. `fair` hands the lock to the first waiter, if there is one.

        Any thread or task that has the guard may do it, once: of two that race exactly one succeeds. O(1).
        """
        cdef uintptr_t word = _token(self, 0)
        # Release pairs with the acquire of whoever takes the lock next.
        if not self._mutex._word.compare_exchange_strong(word, 0, release, relaxed):
            _release(self._mutex, self, fair)

    @classmethod
    def __class_getitem__(cls, item, /):
        """The guard of a mutex around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        state = "held" if self._in_force() else "given up for a while" if self._lent.load(relaxed) else "released"
        return f"<ferrule.{type(self).__name__} of {self._mutex!r}, {state}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a guard")

    cdef inline bint _in_force(self) noexcept:
        return _guard_in(self._mutex._word.load(relaxed)) == <PyObject*>self

    def __dealloc__(self):
        if self._mutex is not None and self._in_force():
            _release_forgotten(self)
        drop(self._context)     # last: what is in it may call back


@cython.final
cdef class MutexGuard(_Guard):
    """One hold of a ferrule.Mutex: what `with mutex`, lock() and try_lock() give.

    Complexity  Every method: O(1).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      only the end of an unlocked() block.
    Calls you   never.
    Errors      RuntimeError once the hold has ended.

    A guard that is collected while it holds the lock releases it and gives a ResourceWarning.
    """

    def unlocked(self):
        """A context manager: the lock is released inside, and taken again at the end, whatever the body raises.

        The guard stays the same, and cannot be used inside. The end waits as long as it takes: a signal handler's
        exception is raised when the lock is held again. WouldDeadlock if the thread has kept another hold from inside.
        """
        return Unlocked.__new__(Unlocked, self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _release_quietly(self)


@cython.final
cdef class AsyncMutexGuard(_Guard):
    """One hold of a ferrule.Mutex, taken through its async face.

    Complexity  Every method: O(1).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      never the loop; only the end of an unlocked() block suspends the task.
    Calls you   never.
    Errors      RuntimeError once the hold has ended.

    A guard that is collected while it holds the lock releases it and gives a ResourceWarning.
    """

    def unlocked(self):
        """An async context manager: the lock is released inside, and taken again at the end, whatever the body raises.

        The guard stays the same, and cannot be used inside. The end waits as long as it takes: a cancellation is
        raised when the lock is held again.
        """
        return AsyncUnlocked.__new__(AsyncUnlocked, self)


@cython.final
cdef class Unlocked:
    """The context manager that MutexGuard.unlocked() gives."""
    cdef _Guard _guard

    def __cinit__(self, _Guard guard not None):
        self._guard = guard

    def __enter__(self):
        _lend(self._guard)

    def __exit__(self, kind, error, traceback, /):
        _retake(self._guard)


@cython.final
cdef class AsyncUnlocked:
    """The async context manager that AsyncMutexGuard.unlocked() gives."""
    cdef _Guard _guard

    def __cinit__(self, _Guard guard not None):
        self._guard = guard

    def __aenter__(self):
        Py_INCREF(self._guard)
        return new_coroutine(&ASYNC_LEND, self._guard._mutex, <PyObject*>self._guard, NEVER)

    def __aexit__(self, kind, error, traceback, /):
        Py_INCREF(self._guard)
        return new_coroutine(&ASYNC_RETAKE, self._guard._mutex, <PyObject*>self._guard, NEVER)


# Blocks that are open although their guard is not in force: under the mutex's latch, latest first.

cdef void _push_open(Mutex mutex, PyObject* guard) noexcept nogil:
    """Under the latch: the word's reference to the guard moves to the list of open guards."""
    (<_Guard>guard)._next_open = mutex._open
    if mutex._open != NULL:
        (<_Guard>mutex._open)._prev_open = guard
    mutex._open = guard


cdef inline bint _is_open(Mutex mutex, PyObject* guard) noexcept nogil:
    return mutex._open == guard or (<_Guard>guard)._prev_open != NULL


cdef void _take_off(Mutex mutex, PyObject* guard) noexcept nogil:
    """Under the latch: an open guard leaves the list, and its reference is the caller's."""
    cdef PyObject* before = (<_Guard>guard)._prev_open
    cdef PyObject* behind = (<_Guard>guard)._next_open
    if before != NULL:
        (<_Guard>before)._next_open = behind
    else:
        mutex._open = behind
    if behind != NULL:
        (<_Guard>behind)._prev_open = before
    (<_Guard>guard)._prev_open = (<_Guard>guard)._next_open = NULL


cdef PyObject* _pop_open(Mutex mutex, uint64_t thread, PyObject* context) noexcept nogil:
    """Under the latch: takes the owner's latest open guard, with its reference, off the list; NULL if there is none."""
    cdef PyObject* guard = mutex._open
    while guard != NULL and not _owned_by(guard, thread, context):
        guard = (<_Guard>guard)._next_open
    if guard != NULL:
        _take_off(mutex, guard)
    return guard


cdef inline uintptr_t _word_of(Mutex mutex, Waiter* waiter) noexcept nogil:
    """Under the latch: the word, but for PARKED, once the waiter has the lock. An open block is entered again."""
    cdef PyObject* guard = _guard_in(waiter.token)
    return waiter.token | (ENTERED if guard != NULL and _is_open(mutex, guard) else 0)


cdef inline void _keep_entered(Mutex mutex, Waiter* waiter) noexcept nogil:
    """Under the latch, when the waiter's word is in place: the word's reference to the guard of a block."""
    cdef PyObject* guard = _guard_in(waiter.token)
    if guard != NULL and _is_open(mutex, guard):
        waiter.token |= ENTERED
        _take_off(mutex, guard)     # its reference is the word's
    elif waiter.token & ENTERED:
        retain(guard)


cdef traverseproc _cython_guard_traverse = traverse_slot(_Guard)


cdef int _traverse_guard(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef int stopped = visit_raw((<_Guard>slot)._context, visit, arg)
    return stopped if stopped else _cython_guard_traverse(slot, visit, arg)


cdef destructor _cython_guard_dealloc = dealloc_slot(_Guard)


cdef void _dealloc_guard(PyObject* slot) noexcept:
    """Of most guards the hold has ended: then there is no need for what Cython does around __dealloc__."""
    cdef PyObject* mutex = <PyObject*>(<_Guard>slot)._mutex
    if mutex == Py_None or _guard_in((<Mutex>mutex)._word.load(relaxed)) == slot:
        _cython_guard_dealloc(slot)
        return
    PyObject_GC_UnTrack(slot)
    drop(mutex)
    drop((<_Guard>slot)._context)
    free_object(slot)


replace_dealloc(_Guard, _dealloc_guard)
replace_gc_slots(_Guard, _traverse_guard, NULL)
replace_gc_slots(MutexGuard, _traverse_guard, NULL)
replace_gc_slots(AsyncMutexGuard, _traverse_guard, NULL)
inherit_dealloc(MutexGuard, _Guard)
inherit_dealloc(AsyncMutexGuard, _Guard)
quicken_with(MutexGuard)
recycle(MutexGuard)
recycle(AsyncMutexGuard)
seal(_Guard)
seal(MutexGuard)
seal(AsyncMutexGuard)
seal(Unlocked)
seal(AsyncUnlocked)
