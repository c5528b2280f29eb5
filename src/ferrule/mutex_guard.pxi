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
        state = "held" if self._in_force() else "unlocked for a while" if self._lent.load(relaxed) else "released"
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
