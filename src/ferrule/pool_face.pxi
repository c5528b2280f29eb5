"""The async face of Pool; part of pool.pyx."""


@cython.final
cdef class AsyncPool:
    """Pool(create, *, max_size, min_size=0, reset=None, validate=None, destroy=None, order="lifo", idle_timeout=None, \
lifetime=None, max_uses=None, reap_every=None, wait_timeout=30.0, create_timeout=None, validate_timeout=None, \
on_event=None, debug=False)
    --

    The async face of a ferrule.Pool; constructing one makes a new pool.

    Complexity  acquire, release, attach, detach: O(1) besides the hooks. retain, reap, resize, close: O(idle).
    Threads     Every method is safe; tasks of several loops and threads wait in one queue.
    Blocks      never the loop: acquire and close suspend the task, and so do async hooks.
    Calls you   create, reset, validate, destroy, on_event, sync or async; never while an internal lock is held.
    Errors      PoolTimeout, PoolClosed; what `create` raises; RuntimeError in another loop than the pool is bound to.

    The hooks are those of the sync face, and may be async, which what they give tells. An async hook binds the pool to
    the event loop that calls it: from then on it is for that loop alone, and has no sync face. An async `create`
    or `validate` that takes more than `create_timeout` or `validate_timeout` seconds is cancelled, with a PoolTimeout.

    What never waits never awaits a hook: where one would have to be awaited, try_acquire() gives None, and acquire_or()
    what its fallback makes.

    >>> import asyncio
    >>> async def main():
    ...     pool = AsyncPool(list, max_size=2)
    ...     async with pool.acquire() as items:
    ...         items.append(1)
    ...     return pool.idle, pool.in_use
    >>> asyncio.run(main())
    (1, 0)
    """

    def acquire(self, *, timeout=...):
        """Awaitable; leases an object and gives its AsyncLease. `async with` on it gives the object.

        Waits at most `timeout` seconds (None: for ever, 0: not at all; the pool's own `wait_timeout` if not given)
        behind those who wait already, then PoolTimeout. That is for waiting alone: how long the hooks take is theirs.
        PoolClosed; what `create` raises. With an idle object and no async hook it never suspends. O(1).
        """
        cdef int64_t patience = self._pool._wait_timeout if timeout is ... else parse_timeout(timeout)
        return new_coroutine(&ASYNC_ACQUIRE, self._pool, NULL, patience)

    def try_acquire(self):
        """Leases an object if that needs no waiting, also not for a hook, else None. PoolClosed. O(1)."""
        _check_loop(self._pool)
        return _try_acquire(self._pool, _new_async_lease(self._pool))

    def acquire_or(self, fallback, /):
        """Leases an object, or where that would have to wait one that `fallback()`, a plain function, makes.

        Such an object is beside the pool's number, and is destroyed when its lease ends. PoolClosed. O(1).
        """
        _check_loop(self._pool)
        return _acquire_or(self._pool, _new_async_lease(self._pool), fallback)

    def attach(self, obj, /):
        """Makes the object one of the pool's, idle. ValueError if the pool is full; PoolClosed. O(1)."""
        _check_loop(self._pool)
        _attach(self._pool, _new_async_lease(self._pool), obj)

    @property
    def idle(self):
        """How many objects are there to be leased."""
        return self._pool.idle

    @property
    def in_use(self):
        """How many objects are leased, or in the hands of a hook."""
        return self._pool.in_use

    @property
    def size(self):
        """How many objects there are, those that are being made or destroyed included."""
        return self._pool.size

    @property
    def waiting(self):
        """How many threads and tasks wait for an object. O(waiting)."""
        return self._pool.waiting

    @property
    def max_size(self):
        """How many objects there may be."""
        return self._pool.max_size

    @property
    def closed(self):
        """Whether close() has been called."""
        return self._pool.closed

    def stats(self):
        """A dict: created, reused, waits, wait_seconds (of all waits), timeouts, discarded (whatever the reason)."""
        return self._pool.stats()

    def resize(self, max_size, /):
        """Awaitable; changes `max_size`. Idle objects over it end now, leased ones when they come back. O(idle)."""
        return _later(self._pool, &ASYNC_RESIZE, _resize, (_parse_size(max_size),))

    def retain(self, predicate, /):
        """Awaitable; destroys idle objects of which `predicate(obj)`, a plain function, is false; how many. O(idle)."""
        _check_callable("predicate", predicate)
        return _later(self._pool, &ASYNC_RETAIN, _retain, (predicate,))

    def reap(self):
        """Awaitable; destroys idle objects past `lifetime`, or `idle_timeout` (to `min_size`); how many. O(idle)."""
        return _later(self._pool, &ASYNC_REAP, _reap, ())

    def warm_up(self):
        """Awaitable; makes objects until there are `min_size`. Raises what `create` raises; PoolClosed. O(min_size)."""
        return _later(self._pool, &ASYNC_WARM_UP, _warm_up, ())

    def close(self, *, timeout=None):
        """Awaitable; ends the pool: who waits gets PoolClosed, every object is destroyed, those on lease when it ends.

        Waits for the last lease at most `timeout` seconds (None: for ever, 0: not at all), then PoolTimeout; the pool
        is closed all the same. May be called again.
        """
        return _later(self._pool, &ASYNC_CLOSE, _close, (parse_timeout(timeout),))

    @property
    def sync(self):
        """The ferrule.Pool that this is a face of; TypeError once an async hook has bound it to a loop."""
        _check_unbound(self._pool)
        return self._pool

    def __aenter__(self):
        return _later(self._pool, &ASYNC_OPEN, _give, (self,))

    def __aexit__(self, kind, error, traceback, /):
        return _later(self._pool, &ASYNC_CLOSE, _close, (self._pool._wait_timeout,))

    def __eq__(self, other, /):
        return (<AsyncPool>other)._pool is self._pool if isinstance(other, AsyncPool) else NotImplemented

    def __hash__(self):
        return hash(self._pool)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Pool[T]: a pool of Ts."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe("ferrule.aio.Pool", self._pool)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.aio.Pool")


# Which face may be used, and where.

cdef inline int _check_sync(Pool pool) except -1:
    """A pool with async hooks is not for the sync face."""
    if pool._loop.load(relaxed) != NULL:
        _check_unbound(pool)
    return 0


cdef int _check_unbound(Pool pool) except -1:
    _look(pool)     # in the child of a fork() it is bound no more
    if pool._loop.load(relaxed) != NULL:
        raise TypeError(f"{pool!r} has async hooks, and so no sync face")
    return 0


cdef object _bound_elsewhere(Pool pool):
    return RuntimeError(f"{pool!r} has async hooks and belongs to another event loop, the first that used it")


cdef int _check_loop(Pool pool) except -1:
    """A pool with async hooks is for one loop."""
    if pool._loop.load(relaxed) != NULL and not _is_in_loop(pool):
        raise _bound_elsewhere(pool)
    return 0


cdef bint _is_in_loop(Pool pool) except -1:
    cdef object running = running_loop()
    cdef PyObject* bound
    _look(pool)     # in the child of a fork() it is bound no more
    bound = pool._loop.load(acquire)
    return bound == NULL or bound == <PyObject*>running


async def _give(Pool pool, _Lease kind, value):
    return value


cdef object _later(Pool pool, const Operation* operation, object function, tuple args):
    """The coroutine of a method that calls hooks for many objects."""
    cdef tuple call = (function, (pool, _new_async_lease(pool)) + args)
    Py_INCREF(call)
    return new_coroutine(operation, pool, <PyObject*>call, 0)


cdef inline AsyncPool _face_of(Pool pool):
    cdef AsyncPool face = AsyncPool.__new__(AsyncPool)
    face._pool = pool
    return face


cdef newfunc _cython_new = new_slot(Pool)


cdef object _made(PyObject* args, PyObject* kwargs):
    """A new pool, of either face."""
    cdef PyObject* pool = _cython_new(<PyTypeObject*>Pool, args, kwargs)
    if pool == NULL:
        reraise()
    return move(pool)


cdef PyObject* _new_pool(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    """Pool(...)."""
    cdef Pool pool = None
    try:
        pool = _made(args, kwargs)
        if pool._create_timeout is not None or pool._validate_timeout is not None:
            raise ValueError("create_timeout and validate_timeout are for async hooks: use ferrule.aio.Pool")
    except BaseException as error:
        pool = None
        set_raised(error)
    return take(<PyObject*>pool) if pool is not None else NULL


cdef PyObject* _new_face(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    """aio.Pool(...): a new pool, and its face."""
    cdef AsyncPool face = None
    try:
        face = _face_of(_made(args, kwargs))
    except BaseException as error:
        set_raised(error)
    return take(<PyObject*>face) if face is not None else NULL


replace_new(AsyncPool, _new_face)
