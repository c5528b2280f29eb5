"""The async face of Mutex; part of mutex.pyx."""


@cython.final
cdef class AsyncMutex:
    """Mutex(value=None, /, *, fair=False)
    --

    The async face of a ferrule.Mutex; constructing one makes a new mutex.

    Complexity  Every method: O(1).
    Threads     Every method is safe; tasks of several loops and threads wait in one queue.
    Blocks      never the loop: lock, acquire and `async with` suspend the task while somebody else holds the lock.
    Calls you   never while an internal lock is held.
    Errors      Timeout; WouldDeadlock when the same task locks again with lock() or `async with`.

    >>> import asyncio
    >>> async def deposit():
    ...     balance = AsyncMutex(10)
    ...     async with balance as guard:
    ...         guard.value += 5
    ...         return guard.value
    >>> asyncio.run(deposit())
    15
    """

    def lock(self, *, timeout=None):
        """Awaitable; takes the lock and gives its AsyncMutexGuard. `async with` works on it too.

        Waits at most `timeout` seconds (None: for ever, 0: not at all), behind those who wait already; then Timeout.
        WouldDeadlock if this task has the lock by lock() or `async with`. Free, it never suspends. O(1).
        """
        return new_coroutine(&ASYNC_LOCK, self._mutex, NULL, NEVER if timeout is None else parse_timeout(timeout))

    def try_lock(self):
        """Takes the lock if it is free and returns its AsyncMutexGuard, else None. Never waits. O(1)."""
        cdef _Guard guard
        if self._mutex._word.load(relaxed) & LOCKED:
            return None
        guard = _new_async_guard(self._mutex)
        return guard if self._mutex._try_to_take(_token(guard, 0)) else None

    def acquire(self, *, timeout=None):
        """Awaitable; takes the lock without a guard or an owner and gives True. Timeout as for lock(). O(1)."""
        return new_coroutine(&ASYNC_ACQUIRE, self._mutex, NULL, NEVER if timeout is None else parse_timeout(timeout))

    def release(self):
        """Ends the hold in force, whoever took it, and spends its guard. RuntimeError if there is none. O(1)."""
        self._mutex.release()

    def locked(self):
        """Whether somebody holds the lock."""
        return self._mutex.locked()

    @property
    def sync(self):
        """The ferrule.Mutex that this is a face of."""
        return self._mutex

    def __aenter__(self):
        return new_coroutine(&ASYNC_ENTER, self._mutex, NULL, NEVER)

    def __aexit__(self, kind, error, traceback, /):
        return new_coroutine(&ASYNC_LEAVE, self._mutex, NULL, NEVER)

    def __eq__(self, other, /):
        return (<AsyncMutex>other)._mutex is self._mutex if isinstance(other, AsyncMutex) else NotImplemented

    def __hash__(self):
        return hash(self._mutex)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Mutex[T]: a mutex around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe("ferrule.aio.Mutex", self._mutex, <uintptr_t><PyObject*>self._mutex)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.aio.Mutex")


cdef inline AsyncMutex _face_of(Mutex mutex):
    cdef AsyncMutex face = AsyncMutex.__new__(AsyncMutex)
    face._mutex = mutex
    return face


cdef PyObject* _new_face(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    """aio.Mutex(...): a new mutex, and its face."""
    cdef AsyncMutex face = None
    try:
        face = _face_of(Mutex(*<tuple>args, **(<dict>kwargs if kwargs != NULL else {})))
    except BaseException as error:
        set_raised(error)
    return take(<PyObject*>face) if face is not None else NULL


replace_new(AsyncMutex, _new_face)
quicken_async_with(AsyncMutex)
