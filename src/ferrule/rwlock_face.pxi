"""The async face of RWLock; part of rwlock.pyx."""


@cython.final
cdef class AsyncRWLock:
    """RWLock(value=None, /, *, debug=False)
    --

    The async face of a ferrule.RWLock; constructing one makes a new lock.

    Complexity  Every method: O(1); the end of a hold: O(waiters that it lets go on).
    Threads     Every method is safe; tasks of several loops and threads wait in one queue.
    Blocks      never the loop: what would wait suspends the task.
    Calls you   never while an internal lock is held.
    Errors      Timeout; WouldDeadlock when the task that holds to write, or upgradably, would wait for itself.

    >>> import asyncio
    >>> async def visit():
    ...     visits = AsyncRWLock(10)
    ...     async with visits.write() as guard:
    ...         guard.value += 5
    ...     async with visits.read() as guard:
    ...         return guard.value
    >>> asyncio.run(visit())
    15
    """

    def read(self, *, timeout=None):
        """Awaitable; takes a hold to read, beside other readers, and gives its AsyncReadGuard. `async with` works too.

        Waits at most `timeout` seconds (None: for ever, 0: not at all) while somebody writes, and behind writers that
        wait already; then Timeout. WouldDeadlock if the end of that wait needs this task. O(1).
        """
        return new_coroutine(&ASYNC_READ, self._lock, NULL, NEVER if timeout is None else parse_timeout(timeout))

    def try_read(self):
        """Takes a hold to read if it can be had now and returns its AsyncReadGuard, else None. Never waits. O(1)."""
        return _try_async(self._lock, ONE_READER, False)

    def read_recursive(self, *, timeout=None):
        """Awaitable; read(), but where others read already it does not wait behind a writer. O(1)."""
        return new_coroutine(
            &ASYNC_READ_RECURSIVE, self._lock, NULL, NEVER if timeout is None else parse_timeout(timeout)
        )

    def try_read_recursive(self):
        """Takes a hold to read if nobody writes and returns its AsyncReadGuard, else None. Never waits. O(1)."""
        return _try_async(self._lock, ONE_READER, True)

    def upgradable_read(self, *, timeout=None):
        """Awaitable; takes the upgradable hold, which reads and can become the one to write: AsyncUpgradableGuard.

        There is one at most, beside any number of readers. Waits as read() does, and while another has it. O(1).
        """
        return new_coroutine(
            &ASYNC_UPGRADABLE_READ, self._lock, NULL, NEVER if timeout is None else parse_timeout(timeout)
        )

    def try_upgradable_read(self):
        """Takes the upgradable hold if it can be had now and returns its AsyncUpgradableGuard, else None. O(1)."""
        return _try_async(self._lock, UPGRADABLE, False)

    def write(self, *, timeout=None):
        """Awaitable; takes the hold to write, alone, and gives its AsyncWriteGuard. `async with` works on it too.

        Waits at most `timeout` seconds (None: for ever, 0: not at all) while anybody holds the lock; then Timeout.
        However it gives up, whoever it kept waiting goes on at once. WouldDeadlock as for read(). O(1).
        """
        return new_coroutine(&ASYNC_WRITE, self._lock, NULL, NEVER if timeout is None else parse_timeout(timeout))

    def try_write(self):
        """Takes the hold to write if nobody holds the lock: its AsyncWriteGuard, else None. Never waits. O(1)."""
        return _try_async(self._lock, WRITER, False)

    def locked(self):
        """Whether somebody holds the lock, in whatever way."""
        return self._lock.locked()

    def locked_exclusive(self):
        """Whether somebody holds the lock to write."""
        return self._lock.locked_exclusive()

    @property
    def readers(self):
        """How many holds to read there are; the upgradable one is not counted."""
        return self._lock.readers

    @property
    def sync(self):
        """The ferrule.RWLock that this is a face of."""
        return self._lock

    def __eq__(self, other, /):
        return (<AsyncRWLock>other)._lock is self._lock if isinstance(other, AsyncRWLock) else NotImplemented

    def __hash__(self):
        return hash(self._lock)

    @classmethod
    def __class_getitem__(cls, item, /):
        """RWLock[T]: a lock around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe("ferrule.aio.RWLock", self._lock, <uintptr_t><PyObject*>self._lock)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.aio.RWLock")
