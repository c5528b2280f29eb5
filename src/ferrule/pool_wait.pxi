"""How leases are taken and ended, by the sync face and as operations of both; part of pool.pyx."""


cdef int _make_good(_Lease lease) except -1:
    """For the sync face: makes the lease HELD."""
    begun = _look_quickly(lease)
    if begun is not True:
        _run(_obtain(lease, begun))
    return 0


cdef object _look_quickly(_Lease lease):
    """True: the lease is HELD now. Else what _obtain() needs to know of what has been done."""
    cdef Pool pool = lease._pool
    cdef object value = None
    cdef object error = None
    if lease._slot.object == NULL or _is_stale(lease):
        return None
    if pool._validate is not None:
        try:
            value = pool._validate(_object_of(lease))
        except BaseException as raised:
            error = raised
        if error is not None or value is False or is_awaitable(value) or pool._validate_timeout is not None:
            return value, error
    pool._hold_locked(lease)
    return True


cdef object _reset_quickly(_Lease lease):
    """True: the object is back. Else what _give_back() needs to know of what has been done."""
    cdef Pool pool = lease._pool
    cdef object value = None
    cdef object error = None
    if not _can_stay(lease):
        return None
    if pool._reset is not None:
        try:
            value = pool._reset(_object_of(lease))
        except BaseException as raised:
            error = raised
        if error is not None or value is False or is_awaitable(value):
            return value, error
    return _put_back(lease, True) or (value, None)


cdef _Lease _try_acquire(Pool pool, _Lease lease):
    """None where it would have to wait, also for a hook."""
    cdef int answer = pool._take_locked(lease, NULL, TRY)
    if answer == BUSY:
        return None
    if answer != DONE:
        raise _refusal(pool, answer)
    if lease._state != HELD:
        if isinstance(lease, AsyncLease):
            if _is_blank(lease):
                if pool._create_waits.load(relaxed):
                    _vacate(lease)
                    return None
            elif pool._validate_waits.load(relaxed) and not _is_stale(lease):
                _put_back(lease, False)
                return None
            lease._refuses_to_wait = True
        try:
            _make_good(lease)
        except _MustWait:
            return None
        lease._refuses_to_wait = False
    if pool._debug:
        lease._stack = _stack_here()
    return lease


cdef _Lease _acquire_or(Pool pool, _Lease lease, object fallback):
    cdef _Lease leased
    cdef int answer
    _check_callable("fallback", fallback)
    leased = _try_acquire(pool, lease)
    if leased is not None:
        return leased
    lease = _new_of_kind(lease)
    obj = fallback()
    if is_awaitable(obj):
        dispose(obj)
        raise TypeError("fallback gave an awaitable")
    answer = pool._take_surplus_locked(lease)
    if answer != DONE:
        raise _refusal(pool, answer)
    _fill(lease, obj, False)
    pool._hold_locked(lease)
    if pool._debug:
        lease._stack = _stack_here()
    return lease


cdef int _attach(Pool pool, _Lease kind, object obj) except -1:
    cdef WakeList woken
    cdef int answer
    if pool._reap_every is not None:
        _see_to_upkeep(kind)
    woken.head = woken.tail = NULL
    Py_INCREF(obj)
    answer = pool._attach_locked(kind, <PyObject*>obj, now() if pool._counts else 0, &woken)
    wake(&woken)
    if answer != DONE:
        drop(<PyObject*>obj)
        raise ValueError(f"{pool!r} is full") if answer == BUSY else _refusal(pool, answer)
    return 0


# --- operations -------------------------------------------------------------------------------------------------------

cdef int _attempt(Waiter* waiter, Place place) noexcept:
    cdef Pool pool = <Pool>waiter.target
    cdef int answer = pool._take_locked(<_Lease>waiter.item, &waiter.node, place)
    if answer > LINKED:
        try:
            raise _refusal(pool, answer)
        except BaseException as error:
            set_raised(error)
        return FAILED
    return answer


cdef int _attempt_async(Waiter* waiter, Place place) noexcept:
    cdef _Lease lease = None
    if waiter.item == NULL:
        try:
            _check_loop(<Pool>waiter.target)
            lease = _new_async_lease(<Pool>waiter.target)
        except BaseException as error:
            set_raised(error)
        if lease is None:
            return FAILED
        waiter.item = take(<PyObject*>lease)
    return _attempt(waiter, place)


cdef int _attempt_await_end(Waiter* waiter, Place place) noexcept:
    return (<Pool>waiter.target)._await_end_locked(waiter, place)


cdef int _ready(Waiter* waiter, Place place) noexcept:
    """All that there is to do comes after."""
    return DONE


cdef int _continue_acquire(Waiter* waiter, PyObject** rest) noexcept:
    cdef _Lease lease = <_Lease>waiter.item
    cdef int outcome = FAILED
    try:
        if lease._pool._debug:
            lease._stack = _stack_here()
        begun = True if lease._state == HELD else _look_quickly(lease)
        if begun is True:
            outcome = DONE
        else:
            coroutine = _obtain(lease, begun)
            rest[0] = take(<PyObject*>coroutine)
            outcome = BUSY
    except BaseException as error:
        set_raised(error)
    return outcome


cdef int _continue_release(Waiter* waiter, PyObject** rest) noexcept:
    return _continue_end(<_Lease>waiter.item, False, True, rest)


cdef int _continue_leave(Waiter* waiter, PyObject** rest) noexcept:
    return _continue_end(<_Lease>waiter.item, waiter.token != 0, False, rest)


cdef int _continue_end(_Lease lease, bint by_force, bint checks, PyObject** rest) noexcept:
    cdef int outcome = FAILED
    cdef bint ends = False
    try:
        _check_loop(lease._pool)
        ends = _begin_end(lease, not by_force)
        if not ends:
            if checks:
                raise _ended()
            outcome = DONE
        else:
            begun = True if lease._state == ENDED else None if by_force else _reset_quickly(lease)
            if begun is True:
                outcome = DONE
            else:
                coroutine = _give_back(lease, begun, by_force)
                rest[0] = take(<PyObject*>coroutine)
                outcome = BUSY
    except BaseException as error:
        if ends:        # and there was no memory for the coroutine
            _vacate(lease)
        set_raised(error)
    return outcome


cdef int _continue_discard(Waiter* waiter, PyObject** rest) noexcept:
    cdef _Lease lease = <_Lease>waiter.item
    cdef int outcome = FAILED
    cdef bint ends = False
    try:
        _check_loop(lease._pool)
        ends = _begin_end(lease, False)
        if not ends:
            raise _ended()
        coroutine = _discard(lease)
        rest[0] = take(<PyObject*>coroutine)
        outcome = BUSY
    except BaseException as error:
        if ends:
            _vacate(lease)
        set_raised(error)
    return outcome


cdef int _continue_call(Waiter* waiter, PyObject** rest) noexcept:
    """Of the methods that call hooks for many objects: the item is a function and its arguments."""
    cdef int outcome = FAILED
    try:
        _check_loop(<Pool>waiter.target)
        function, args = <tuple>waiter.item
        coroutine = function(*args)
        rest[0] = take(<PyObject*>coroutine)
        outcome = BUSY
    except BaseException as error:
        set_raised(error)
    return outcome


cdef bint _abandon(Waiter* waiter) noexcept nogil:
    return (<Pool>waiter.target)._abandon_locked(&(<Pool>waiter.target)._queue, waiter)


cdef bint _abandon_await(Waiter* waiter) noexcept nogil:
    return (<Pool>waiter.target)._abandon_locked(&(<Pool>waiter.target)._closers, waiter)


cdef void _pass_on(Waiter* waiter, int how, WakeList* woken) noexcept:
    (<Pool>waiter.target)._pass_on_locked(waiter, how, woken)


cdef void _pass_on_nothing(Waiter* waiter, int how, WakeList* woken) noexcept:
    """All who wait for the end are told of it."""


cdef void _expire(Waiter* waiter) noexcept:
    cdef Pool pool = <Pool>waiter.target
    pool._count_timeout_locked(<_Lease>waiter.item)
    _raise_timed_out(pool, "wait", waiter.timeout)


cdef void _expire_await(Waiter* waiter) noexcept:
    _raise_timed_out(<Pool>waiter.target, "close", waiter.timeout)


cdef object _refusal(Pool pool, int answer):
    """The exception for an Answer."""
    return MemoryError() if answer == NO_MEMORY else PoolClosed(f"{pool!r} is closed")


cdef object _timed_out(Pool pool, str stage, object seconds, object cause):
    cdef Figures seen
    cdef Py_ssize_t waiting = pool._look_locked(&seen, True)
    cdef object error
    if stage == "wait":
        what = "no object of {0} came free within {1:.3g} s"
    elif stage == "close":
        what = "the leases of {0} did not all end within {1:.3g} s"
    else:
        what = f"{stage} of {{0}} took longer than {{1:.3g}} s"
    in_use = seen.size - seen.idle
    error = PoolTimeout(
        f"{what.format(repr(pool), seconds)}; {in_use} of at most {seen.max_size} in use, {waiting} waiting",
        stage=stage, size=seen.size, in_use=in_use, waiting=waiting,
    )
    error.__cause__ = cause
    return error


cdef void _raise_timed_out(Pool pool, str stage, int64_t timeout) noexcept:
    try:
        raise _timed_out(pool, stage, timeout / <double>SECOND, None)
    except BaseException as error:      # or there is no memory for it
        set_raised(error)


cdef PyObject* _give_item(Waiter* waiter) noexcept:
    return take(waiter.item)


cdef PyObject* _give_object(Waiter* waiter) noexcept:
    """For the body of `async with`."""
    cdef _Lease lease = <_Lease>waiter.item
    return lease._pool._value_locked(lease)


cdef PyObject* _give_none(Waiter* waiter) noexcept:
    return take(Py_None)


cdef Operation _call_operation(const char* name, Continue continues = _continue_call, Result result = _give_item):
    """An operation that takes effect by its rest alone."""
    cdef Operation operation = new_operation(name, _ready, _abandon, _pass_on_nothing, result, _expire_await)
    operation.continues = continues
    return operation


cdef Operation ACQUIRE = new_operation(b"Pool.acquire", _attempt, _abandon, _pass_on, _give_item, _expire)
ACQUIRE.is_event = ACQUIRE.hides_item = True
cdef Operation AWAIT_END = new_operation(
    b"Pool.close", _attempt_await_end, _abandon_await, _pass_on_nothing, _give_none, _expire_await
)
AWAIT_END.is_event = True
cdef Operation ASYNC_AWAIT_END = AWAIT_END
cdef Operation ASYNC_LEAVE = _call_operation(b"Pool.acquire.__aexit__", _continue_leave, _give_none)
cdef Operation ASYNC_ENTER = new_operation(
    b"Pool.acquire.__aenter__", _attempt_async, _abandon, _pass_on, _give_object, _expire
)
ASYNC_ENTER.hides_item = True
ASYNC_ENTER.continues = _continue_acquire
ASYNC_ENTER.leave = &ASYNC_LEAVE
cdef Operation ASYNC_ACQUIRE = new_operation(b"Pool.acquire", _attempt_async, _abandon, _pass_on, _give_item, _expire)
ASYNC_ACQUIRE.hides_item = True
ASYNC_ACQUIRE.continues = _continue_acquire
ASYNC_ACQUIRE.enter = &ASYNC_ENTER
ASYNC_ACQUIRE.leave = &ASYNC_LEAVE
cdef Operation ASYNC_RELEASE = _call_operation(b"AsyncLease.release", _continue_release, _give_none)
cdef Operation ASYNC_DISCARD = _call_operation(b"AsyncLease.discard", _continue_discard, _give_none)
cdef Operation ASYNC_RESIZE = _call_operation(b"Pool.resize")
cdef Operation ASYNC_RETAIN = _call_operation(b"Pool.retain")
cdef Operation ASYNC_REAP = _call_operation(b"Pool.reap")
cdef Operation ASYNC_WARM_UP = _call_operation(b"Pool.warm_up")
cdef Operation ASYNC_OPEN = _call_operation(b"Pool.__aenter__")
cdef Operation ASYNC_CLOSE = _call_operation(b"Pool.close")
