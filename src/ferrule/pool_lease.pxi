"""The leases of a Pool; part of pool.pyx."""


@cython.no_gc_clear     # its end needs the pool; every cycle passes the pool or the object, which can be cleared
cdef class _Lease:
    """What both kinds of lease are: an object of a pool, for as long as it is leased."""

    @property
    def value(self):
        """The object; RuntimeError once the lease has ended."""
        cdef PyObject* value = self._pool._value_locked(self)
        if value == NULL:
            raise _ended()
        return move(value)

    def detach(self):
        """Ends the lease and gives the object, which leaves the pool; no hook is called. O(1)."""
        cdef WakeList woken
        cdef PyObject* value
        woken.head = woken.tail = NULL
        value = self._pool._detach_locked(self, &woken)
        wake(&woken)
        if value == NULL:
            raise _ended()
        return move(value)

    @classmethod
    def __class_getitem__(cls, item, /):
        """The lease of a pool of Ts."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        state = ("being taken", "held", "ending", "ended")[self._pool._stage_locked(self)]
        return f"<ferrule.{type(self).__name__} of {self._pool!r}, {state}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a lease")


@cython.final
cdef class Lease(_Lease):
    """One lease of an object of a ferrule.Pool: what acquire(), try_acquire() and acquire_or() give.

    Complexity  Every method: O(1) besides the hooks.
    Threads     Every method is safe; whoever has the lease may end it, from any thread or task, once.
    Blocks      never.
    Calls you   the pool's hooks, never while an internal lock is held.
    Errors      RuntimeError once the lease has ended.

    `with` gives the object, and ends the lease if it has not ended by then. A body that ends by force (a cancellation,
    an interrupt) may leave the object in any state: it is destroyed, unless there is a `validate` that accepts it.
    A lease that is collected gives its object back, and a ResourceWarning.
    """

    def release(self):
        """Gives the object back; `reset` is called on it first."""
        if not _end(self, False):
            raise _ended()

    def discard(self):
        """Destroys the object; its slot goes to whoever waits."""
        if not _begin_end(self, False):
            raise _ended()
        try:
            _run(_discard(self))
        finally:
            _vacate(self)

    def __enter__(self):
        return self.value

    def __exit__(self, kind, error, traceback, /):
        _end(self, kind is not None and ends_by_force(kind))


@cython.final
cdef class AsyncLease(_Lease):
    """One lease of an object of a ferrule.Pool, taken through its async face.

    Complexity  Every method: O(1) besides the hooks.
    Threads     Every method is safe; whoever has the lease may end it, from any thread or task, once.
    Blocks      never the loop; release and discard suspend the task for async hooks.
    Calls you   the pool's hooks, never while an internal lock is held.
    Errors      RuntimeError once the lease has ended.

    A lease that is collected gives its object back if no async hook is needed for that, else it is destroyed; and a
    ResourceWarning.
    """

    def release(self):
        """Awaitable; gives the object back; `reset` is called on it first."""
        Py_INCREF(self)
        return new_coroutine(&ASYNC_RELEASE, self._pool, <PyObject*>self, 0)

    def discard(self):
        """Awaitable; destroys the object; its slot goes to whoever waits."""
        Py_INCREF(self)
        return new_coroutine(&ASYNC_DISCARD, self._pool, <PyObject*>self, 0)


cdef inline _Lease _new_lease(Pool pool):
    cdef Lease lease = Lease.__new__(Lease)
    lease._pool = pool
    return lease


cdef inline _Lease _new_async_lease(Pool pool):
    cdef AsyncLease lease = AsyncLease.__new__(AsyncLease)
    lease._pool = pool
    return lease


cdef _Lease _new_of_kind(_Lease lease):
    """A lease of the same pool and face, with no slot yet."""
    return _new_async_lease(lease._pool) if isinstance(lease, AsyncLease) else _new_lease(lease._pool)


cdef object _ended():
    return RuntimeError("the lease has ended: its object is back in the pool, or has left it")


cdef inline bint _begin_end(_Lease lease, bint gives_back) noexcept:
    """Whether this call ends the lease. It is ENDED if that was all, else ENDING."""
    cdef WakeList woken
    cdef int answer
    woken.head = woken.tail = NULL
    answer = lease._pool._end_locked(lease, gives_back, &woken)
    wake(&woken)
    return answer != NOT_HELD


cdef bint _end(_Lease lease, bint by_force) except -1:
    """The end of a lease for the sync face; False if it has ended already."""
    if not _begin_end(lease, not by_force):
        return False
    if lease._state != ENDED:
        try:
            begun = None if by_force else _reset_quickly(lease)
            if begun is not True:
                _run(_give_back(lease, begun, by_force))
        finally:
            if lease._slot != NULL:     # there was no memory for the coroutine
                _vacate(lease)
    return True


# --- leases that nobody ends -----------------------------------------------------------------------------------------

@cython.final
cdef class _Ending:
    """What the pool's loop calls to end a lease that nobody waits for."""
    cdef AsyncLease _lease

    def __cinit__(self, AsyncLease lease not None):
        self._lease = lease

    def __call__(self):
        cdef Pool pool = self._lease._pool
        task = loop_of_task().create_task(_discard(self._lease))
        pool._tasks.add(task)
        task.add_done_callback(pool._tasks.discard)


cdef void _let_go(_Lease lease) noexcept:
    """The end of a lease where nobody can wait for a hook. Keeps the exception that is set.

    While the interpreter ends no hook is called: what it needs may be gone.
    """
    cdef Pool pool = lease._pool
    cdef KeepRaised keep
    cdef bint stays
    if lease._slot == NULL:
        return
    keep.set_aside()
    lease._refuses_to_wait = True
    try:
        if not Py_IsFinalizing():
            if lease._state == HELD and _begin_end(lease, True) and lease._state == ENDING:
                stays = _can_stay(lease)
                if stays and pool._reset is not None:
                    stays = _run(_passes(lease, None, pool._reset, None, "reset"))
                if stays:
                    _put_back(lease, True)
            if lease._slot != NULL and not _end_in_loop(lease):
                _run(_discard(lease))
    except BaseException as error:
        _write_unraisable(error)
    _vacate(lease)


cdef bint _end_in_loop(_Lease lease) except -1:
    """Has the loop that the pool is bound to destroy the object; False if there is none that would."""
    cdef PyObject* bound = lease._pool._loop.load(acquire)
    cdef AsyncLease later
    if bound == NULL or lease._pool._destroy is None or is_closed(<object>bound):
        return False
    later = _new_async_lease(lease._pool)
    ending = _Ending.__new__(_Ending, later)
    later._slot = lease._slot   # before the loop, in a thread of its own, looks
    lease._slot = NULL
    try:
        (<object>bound).call_soon_threadsafe(ending)
    except RuntimeError:        # closed meanwhile
        lease._slot = later._slot
        later._slot = NULL
        return False
    return True


cdef void _finalize(PyObject* self) noexcept:
    """A lease is collected."""
    cdef _Lease lease = <_Lease>self
    cdef KeepRaised keep
    cdef Apart apart
    cdef bint held = lease._state == HELD and lease._slot != NULL and lease._slot.generation == generation
    lease._finalized = True
    if lease._slot == NULL:
        return
    keep.set_aside()
    apart.begin(apart_depth())
    obj = _object_of(lease) if held else None
    _let_go(lease)
    if held:
        try:
            if not Py_IsFinalizing():
                _run(_report(lease, "abandoned", obj, None))
            message = "a lease was collected before it was released; its object was given back or destroyed"
            if lease._stack is not None:
                message += f"; it was taken here:\n{lease._stack}"
            PyErr_WarnEx(ResourceWarning, message.encode(errors="backslashreplace"), 1)
        except BaseException as error:
            _write_unraisable(error)


cdef int _traverse_lease(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef _Lease lease = <_Lease>slot
    cdef int stopped = 0
    if lease._slot != NULL and lease._slot.generation == generation:
        stopped = visit_raw(lease._slot.object, visit, arg)
    return stopped if stopped else _cython_lease_traverse(slot, visit, arg)


cdef traverseproc _cython_lease_traverse = traverse_slot(_Lease)


cdef void _dealloc_lease(PyObject* slot) noexcept:
    """Of most leases the object is back: then there is nothing to finalize."""
    cdef _Lease lease
    cdef PyObject* pool = <PyObject*>(<_Lease>slot)._pool
    cdef PyObject* stack = <PyObject*>(<_Lease>slot)._stack
    if (<_Lease>slot)._slot != NULL and finalize_dying(slot) < 0:
        return
    PyObject_GC_UnTrack(slot)
    drop(pool)
    drop(stack)
    if (<_Lease>slot)._finalized:
        delete_object(slot)     # the collector remembers that it is: it must not be recycled
    else:
        free_object(slot)


replace_dealloc(_Lease, _dealloc_lease)
replace_gc_slots(_Lease, _traverse_lease, NULL)
replace_gc_slots(Lease, _traverse_lease, NULL)
replace_gc_slots(AsyncLease, _traverse_lease, NULL)
inherit_dealloc(Lease, _Lease)
inherit_dealloc(AsyncLease, _Lease)
set_finalizer(Lease, _finalize)
set_finalizer(AsyncLease, _finalize)
quicken_with(Lease)
recycle(Lease)
recycle(AsyncLease)
seal(_Lease)
seal(Lease)
seal(AsyncLease)
seal(_Ending)
