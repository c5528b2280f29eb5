"""The guards of RWLock and what unlocked() and upgraded() give; part of rwlock.pyx."""


@cython.no_gc_clear     # __dealloc__ needs the lock; every cycle passes the lock or the context, which can be cleared
cdef class _Guard:
    """What all kinds of guard are: one hold of a lock, and the capability to end it."""

    @property
    def value(self):
        """The object that the lock protects; RuntimeError once the hold has ended or was converted."""
        return move(_value_of(self))

    def release(self, *, bint fair=False):
        """Ends the hold; RuntimeError if it has ended or was converted. `fair` hands the lock to those next in line.

        Any thread or task that has the guard may do it, once: of two that race exactly one succeeds. O(1).
        """
        if not _release(self, False, fair):
            raise RuntimeError(_NOT_IN_FORCE)

    @classmethod
    def __class_getitem__(cls, item, /):
        """The guard of a lock around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        away = self._away.load(relaxed)
        state = "held" if _is_in_force(self) else ("not held", "unlocked for a while", "upgraded for a while")[away]
        return f"<ferrule.{type(self).__name__} of {self._lock!r}, {state}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a guard")

    def __dealloc__(self):
        if self._lock is not None and self._first is None and _holds(self):
            _release_forgotten(self)
        drop(self._context)     # last: what is in it may call back


cdef class _WriteGuard(_Guard):
    """What both kinds of guard of a hold to write are."""

    @property
    def value(self):
        """The object that the lock protects, to get and set; RuntimeError once the hold has ended or was converted."""
        return move(_value_of(self))

    @value.setter
    def value(self, value):
        cdef PyObject* old
        Py_INCREF(value)
        old = self._lock._set_value_locked(<PyObject*>self, <PyObject*>value)
        if old == NULL:
            drop(<PyObject*>value)
            raise RuntimeError(_NOT_IN_FORCE)
        drop(old)       # last: its destructor may call back

    @value.deleter
    def value(self):
        raise AttributeError("the value of a lock can be replaced, not deleted")

    def downgrade(self):
        """Makes this a hold to read and returns the guard of that; this one is spent. No writer gets between. O(1).

        RuntimeError once the hold has ended or was converted.
        """
        return _convert(self, ONE_READER)

    def downgrade_to_upgradable(self):
        """Makes this the upgradable hold and returns the guard of that; this one is spent. No writer gets between."""
        return _convert(self, UPGRADABLE)


cdef class _UpgradableGuard(_Guard):
    """What both kinds of guard of the upgradable hold are."""

    def try_upgrade(self):
        """Makes this the hold to write if nobody reads, and returns the guard of that; this one is spent. Else None.

        RuntimeError once the hold has ended or was converted. Never waits. O(1).
        """
        return _try_upgrade(self)

    def downgrade(self):
        """Makes this a hold to read and returns the guard of that; this one is spent. No writer gets between. O(1).

        RuntimeError once the hold has ended or was converted.
        """
        return _convert(self, ONE_READER)


@cython.final
cdef class ReadGuard(_Guard):
    """One hold of a ferrule.RWLock to read.

    Complexity  Every method: O(1); the end of the hold: O(waiters that it lets go on).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      only the end of an unlocked() block.
    Calls you   never.
    Errors      RuntimeError once the hold has ended.

    A hold of which all guards are collected is released, with a ResourceWarning.
    """

    def unlocked(self):
        """A context manager: the hold is released inside, and taken again at the end, whatever the body raises.

        The guard stays the same, and cannot be used inside. The end waits as long as it takes: a signal handler's
        exception is raised when the lock is held again. WouldDeadlock if the thread has kept another hold from inside.
        """
        return Unlocked.__new__(Unlocked, self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _release(self, True, False)


@cython.final
cdef class WriteGuard(_WriteGuard):
    """The hold of a ferrule.RWLock to write.

    Complexity  Every method: O(1); the end of the hold, and its conversion: O(waiters that it lets go on).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      only the end of an unlocked() block.
    Calls you   never.
    Errors      RuntimeError once the hold has ended or was converted.

    A conversion spends the guard and gives another one of the same hold, which a `with` of the first one still ends.
    A hold of which all guards are collected is released, with a ResourceWarning.
    """

    def unlocked(self):
        """A context manager: the hold is released inside, and taken again at the end; as ReadGuard.unlocked()."""
        return Unlocked.__new__(Unlocked, self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _release(self, True, False)


@cython.final
cdef class UpgradableGuard(_UpgradableGuard):
    """The upgradable hold of a ferrule.RWLock: it reads beside others that read, and can become the hold to write.

    Complexity  Every method: O(1); the end of the hold, and its conversion: O(waiters that it lets go on).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      upgrade(), the beginning of an upgraded() block and the end of an unlocked() block.
    Calls you   never.
    Errors      RuntimeError once the hold has ended or was converted; Timeout.

    A conversion spends the guard and gives another one of the same hold, which a `with` of the first one still ends.
    A hold of which all guards are collected is released, with a ResourceWarning.

    >>> from ferrule import RWLock
    >>> cache = RWLock({})
    >>> with cache.upgradable_read() as guard:
    ...     if "answer" not in guard.value:
    ...         with guard.upgraded() as writer:
    ...             writer.value["answer"] = 42
    ...     guard.value["answer"]
    42
    """

    def upgrade(self, *, timeout=None):
        """Makes this the hold to write and returns the WriteGuard; this guard is spent. No writer gets between.

        Waits for the readers to leave, at most `timeout` seconds (None: for ever, 0: not at all), and no new ones come;
        then Timeout, and this guard holds as before. If another thread releases or converts it meanwhile: RuntimeError.
        O(1).
        """
        return _upgrade(self, NEVER if timeout is None else parse_timeout(timeout))

    def upgraded(self):
        """A context manager: the hold is the one to write inside, by the WriteGuard that it gives; then this one again.

        The beginning waits as upgrade() does. At the end nothing is left to do if the hold was released inside or made
        one to read.
        """
        return Upgraded.__new__(Upgraded, self)

    def unlocked(self):
        """A context manager: the hold is released inside, and taken again at the end; as ReadGuard.unlocked()."""
        return Unlocked.__new__(Unlocked, self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _release(self, True, False)


@cython.final
cdef class AsyncReadGuard(_Guard):
    """One hold of a ferrule.RWLock to read, taken through its async face.

    Complexity  Every method: O(1); the end of the hold: O(waiters that it lets go on).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      never the loop; only the end of an unlocked() block suspends the task.
    Calls you   never.
    Errors      RuntimeError once the hold has ended.

    A hold of which all guards are collected is released, with a ResourceWarning.
    """

    def unlocked(self):
        """An async context manager: the hold is released inside, and taken again at the end, whatever the body raises.

        The guard stays the same, and cannot be used inside. The end waits as long as it takes: a cancellation is
        raised when the lock is held again.
        """
        return AsyncUnlocked.__new__(AsyncUnlocked, self)


@cython.final
cdef class AsyncWriteGuard(_WriteGuard):
    """The hold of a ferrule.RWLock to write, taken through its async face.

    Complexity  Every method: O(1); the end of the hold, and its conversion: O(waiters that it lets go on).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      never the loop; only the end of an unlocked() block suspends the task.
    Calls you   never.
    Errors      RuntimeError once the hold has ended or was converted.

    A conversion spends the guard and gives another one of the same hold, which an `async with` of the first one still
    ends. A hold of which all guards are collected is released, with a ResourceWarning.
    """

    def unlocked(self):
        """An async context manager: the hold is released inside, and taken again at the end."""
        return AsyncUnlocked.__new__(AsyncUnlocked, self)


@cython.final
cdef class AsyncUpgradableGuard(_UpgradableGuard):
    """The upgradable hold of a ferrule.RWLock, taken through its async face.

    Complexity  Every method: O(1); the end of the hold, and its conversion: O(waiters that it lets go on).
    Threads     Every method is safe; whoever has the guard may release it, from any thread or task.
    Blocks      never the loop: upgrade(), upgraded() and the end of an unlocked() block suspend the task.
    Calls you   never.
    Errors      RuntimeError once the hold has ended or was converted; Timeout.

    A conversion spends the guard and gives another one of the same hold, which an `async with` of the first one still
    ends. A hold of which all guards are collected is released, with a ResourceWarning.
    """

    def upgrade(self, *, timeout=None):
        """Awaitable; makes this the hold to write and gives the AsyncWriteGuard; as UpgradableGuard.upgrade().

        However it is given up, this guard holds as before.
        """
        return _upgrade_coroutine(&ASYNC_UPGRADE, self, NEVER if timeout is None else parse_timeout(timeout))

    def upgraded(self):
        """An async context manager: the hold is the one to write inside, by the AsyncWriteGuard that it gives."""
        return AsyncUpgraded.__new__(AsyncUpgraded, self)

    def unlocked(self):
        """An async context manager: the hold is released inside, and taken again at the end."""
        return AsyncUnlocked.__new__(AsyncUnlocked, self)


@cython.final
cdef class Unlocked:
    """The context manager that unlocked() of a sync guard gives."""
    cdef _Guard _guard

    def __cinit__(self, _Guard guard not None):
        self._guard = guard

    def __enter__(self):
        _lend(self._guard)

    def __exit__(self, kind, error, traceback, /):
        _retake(self._guard)


@cython.final
cdef class AsyncUnlocked:
    """The async context manager that unlocked() of an async guard gives."""
    cdef _Guard _guard

    def __cinit__(self, _Guard guard not None):
        self._guard = guard

    def __aenter__(self):
        return _guard_coroutine(&ASYNC_LEND, self._guard, NEVER)

    def __aexit__(self, kind, error, traceback, /):
        return _guard_coroutine(&ASYNC_RETAKE, self._guard, NEVER)


@cython.final
cdef class Upgraded:
    """The context manager that UpgradableGuard.upgraded() gives."""
    cdef _Guard _guard

    def __cinit__(self, _Guard guard not None):
        self._guard = guard

    def __enter__(self):
        writer = _upgrade(self._guard, NEVER)
        self._guard._away.store(UPGRADED, release)
        return writer

    def __exit__(self, kind, error, traceback, /):
        _restore(self._guard)


@cython.final
cdef class AsyncUpgraded:
    """The async context manager that AsyncUpgradableGuard.upgraded() gives."""
    cdef _Guard _guard

    def __cinit__(self, _Guard guard not None):
        self._guard = guard

    def __aenter__(self):
        return _upgrade_coroutine(&ASYNC_UPGRADED, self._guard, NEVER)

    def __aexit__(self, kind, error, traceback, /):
        return _guard_coroutine(&ASYNC_RESTORE, self._guard, NEVER)
