"""What a Pool with `reap_every` does by itself; part of pool.pyx.

In a daemon thread that all pools share, or, where the async face has made the objects, by a timer of its loop. Neither
keeps the pool, the loop or the process alive.
"""


@cython.final
cdef class _LoopUpkeep:
    """Calls itself again and again in an event loop until its pool is closed, gone, or looked after by another."""
    cdef object _loop
    cdef object _pool           # a weak reference
    cdef uint64_t _generation   # of the process in which it was made

    def __cinit__(self, loop, Pool pool not None):
        self._loop = loop
        self._pool = weakref(pool)
        self._generation = generation
        loop.call_later(pool._reap_every, self)

    def __call__(self):
        cdef Pool pool = self._pool()
        if pool is None or pool.closed or _upkeep_of(pool) is not self:
            return
        task = self._loop.create_task(_keep_up(pool, _new_async_lease(pool)))
        pool._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task):
        cdef Pool pool = self._pool()
        if pool is not None:
            pool._tasks.discard(task)
            self._loop.call_later(pool._reap_every, self)

    def runs(self):
        """Whether it goes on; not so where its loop is closed, or is another process's."""
        return self._generation == generation and not is_closed(self._loop)


def _keep_up_in_thread(Pool pool not None, upkeep):
    """False: it is over."""
    if pool.closed or _upkeep_of(pool) is not upkeep:
        return False
    _run(_keep_up(pool, _new_lease(pool)))
    return True


cdef object _upkeep_of(Pool pool):
    cdef object upkeep
    with cython.critical_section(pool):
        upkeep = pool._upkeep
    return upkeep


cdef int _see_to_upkeep(_Lease lease) except -1:
    """Begins it, again where its thread or its loop has ended. A loop, where async hooks can run, replaces a thread."""
    cdef Pool pool = lease._pool
    cdef object upkeep = _upkeep_of(pool)
    cdef bint in_loop = isinstance(lease, AsyncLease)
    cdef object loop = None
    if in_loop:
        try:
            loop = loop_of_task()
        except RuntimeError:
            return 0        # the first object that is made in a loop sees to it
    if upkeep is not None and upkeep.runs() and (not in_loop or isinstance(upkeep, _LoopUpkeep)):
        return 0
    if in_loop:
        upkeep = _LoopUpkeep.__new__(_LoopUpkeep, loop, pool)
    else:
        from ferrule._core.periodic import Periodic     # only for pools that ask for it
        upkeep = Periodic(pool._reap_every, pool, _keep_up_in_thread)
    with cython.critical_section(pool):
        pool._upkeep = upkeep
    if not in_loop:
        upkeep.start()
    return 0


seal(_LoopUpkeep)
