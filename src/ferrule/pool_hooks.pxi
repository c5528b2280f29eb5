"""What runs the hooks of a Pool, for both faces; part of pool.pyx.

Each of these coroutines has the slot it works on in a lease, and the kind of the lease says which face it works for.
Whatever ends it, the slot is idle, with who waits for it, with the caller's lease, or freed.
"""


class _MustWait(Exception):
    """A hook gave an awaitable where nobody can wait for it."""


cdef tuple _call(object hook, tuple args):
    """(what the hook gives, None), or (None, the Exception that it raises)."""
    try:
        return hook(*args), None
    except Exception as error:
        return None, error


cdef int _prepare_to_await(_Lease lease, object awaitable) except -1:
    """The pool belongs to the running loop from now on. If that cannot be, the awaitable is closed, and it raises."""
    cdef PyObject* bound
    cdef Pool pool = lease._pool
    try:
        if not isinstance(lease, AsyncLease):
            if lease._refuses_to_wait:
                raise _MustWait
            raise TypeError("a hook of a ferrule.Pool gave an awaitable; only a ferrule.aio.Pool can await it")
        try:
            loop = loop_of_task()
        except RuntimeError:
            if lease._refuses_to_wait:
                raise _MustWait from None
            raise
        Py_INCREF(loop)
        bound = pool._bind_locked(<PyObject*>loop)
        if bound != NULL:
            drop(<PyObject*>loop)
        if lease._refuses_to_wait:
            raise _MustWait
        if bound != NULL and bound != <PyObject*>loop:
            raise _bound_elsewhere(pool)
    except BaseException:
        dispose(awaitable)
        raise
    return 0


async def _settled(_Lease lease, tuple begun, seconds, str stage):
    """What _call() gave, waited for if it is an awaitable. Raises what is not the hook's own failure."""
    value, error = begun
    if error is not None and not isinstance(error, Exception):
        raise error
    if error is not None or not is_awaitable(value):
        if error is None and seconds is not None:
            raise ValueError(f"{stage}_timeout is for an async hook, and {stage} is none")
        return begun
    try:
        _prepare_to_await(lease, value)
    except _MustWait as refused:
        return None, refused
    limit = None
    try:
        if seconds is None:
            return await value, None
        from asyncio import timeout     # there is a loop, so it is imported
        limit = timeout(seconds)
        async with limit:
            return await value, None
    except TimeoutError as late:
        if limit is not None and limit.expired():
            return None, _timed_out(lease._pool, stage, seconds, late)
        return None, late
    except Exception as failure:
        return None, failure


async def _report(_Lease lease, str event, obj, error):
    """To on_event, whose own failure goes to sys.unraisablehook. That a hook could not be awaited is no news."""
    if lease._pool._on_event is None or isinstance(error, _MustWait):
        return
    _, failure = await _settled(lease, _call(lease._pool._on_event, (event, obj, error)), None, "on_event")
    if failure is not None and not isinstance(failure, _MustWait):
        _write_unraisable(failure)


async def _make(_Lease lease):
    """An object for the lease's blank slot. Raises what `create` raises."""
    if lease._pool._reap_every is not None:
        _see_to_upkeep(lease)
    begun = _call(lease._pool._create, ())
    if begun[1] is None and is_awaitable(begun[0]):
        lease._pool._create_waits.store(True, relaxed)
    elif begun[1] is None:
        _fill(lease, begun[0], True)
    value, error = await _settled(lease, begun, lease._pool._create_timeout, "create")
    if error is not None:
        raise error
    if _is_blank(lease):
        _fill(lease, value, True)


async def _destroy_object(_Lease lease):
    """The end of the object; its slot is blank from now on, and counts until `destroy` is done."""
    obj = _take_object(lease, True)
    if obj is not _NONE and lease._pool._destroy is not None:
        _, error = await _settled(lease, _call(lease._pool._destroy, (obj,)), None, "destroy")
        if isinstance(error, _MustWait):
            _restore(lease, obj)
            if not _end_in_loop(lease):     # which has the slot now, if there is one
                _take_object(lease, True)
        elif error is not None:
            await _report(lease, "destroy", obj, error)


async def _discard(_Lease lease):
    """The end of the lease and of its object."""
    lease._pool._leave_locked(lease)
    try:
        if not _is_blank(lease):
            await _destroy_object(lease)
    finally:
        _vacate(lease)


async def _discard_after(_Lease lease, error):
    """_discard() where `error` ended what was done with the object. At a generator's end no hook can be awaited."""
    if isinstance(error, GeneratorExit):
        _let_go(lease)
    else:
        await _discard(lease)


async def _passes(_Lease lease, tuple begun, hook, seconds, str stage):
    """Whether the object passes `validate` or `reset`, which may have been called already."""
    if begun is None:
        begun = _call(hook, (_object_of(lease),))
    if stage == "validate" and begun[1] is None and is_awaitable(begun[0]):
        lease._pool._validate_waits.store(True, relaxed)
    value, error = await _settled(lease, begun, seconds, stage)
    if error is None and value is not False:
        return True
    if isinstance(error, _MustWait) and lease._state == TAKING:
        raise error
    await _report(lease, stage, _object_of(lease), error)
    return False


async def _validated(_Lease lease, tuple begun):
    """Whether the object may be leased."""
    cdef Pool pool = lease._pool
    if _is_stale(lease):
        return False
    if pool._validate is None:
        return True
    return await _passes(lease, begun, pool._validate, pool._validate_timeout, "validate")


async def _obtain(_Lease lease, tuple begun):
    """Makes the lease HELD: an object that passes, or a new one, in the slot that the lease has."""
    try:
        while not _is_blank(lease) and not await _validated(lease, begun):
            begun = None
            await _destroy_object(lease)
            if lease._slot != NULL:
                _exchange(lease)
            elif lease._pool._take_locked(lease, NULL, TRY) != DONE:    # the loop has it in hand, and its slot
                raise _MustWait
        if _is_blank(lease):
            await _make(lease)
    except _MustWait:
        _put_back(lease, False)
        _let_go(lease)
        raise
    except BaseException as error:
        await _discard_after(lease, error)
        raise
    lease._pool._hold_locked(lease)
    return lease


async def _give_back(_Lease lease, tuple begun, bint looks):
    """The end of a lease that is ENDING: its object idle again if it is good, else destroyed.

    `looks`: only if there is a `validate` and the object passes.
    """
    cdef Pool pool = lease._pool
    try:
        stays = _can_stay(lease) and (not looks or pool._validate is not None and await _validated(lease, None))
        if stays and pool._reset is not None:
            stays = await _passes(lease, begun, pool._reset, None, "reset")
    except BaseException as error:
        await _discard_after(lease, error)
        raise
    if not stays or not _put_back(lease, True):
        await _discard(lease)


async def _each_idle(_Lease kind, Py_ssize_t most, int64_t instant):
    """Destroys the idle objects that _take_idle_locked() gives; how many."""
    ended = 0
    while True:
        lease = _new_of_kind(kind)
        if not _take_idle(lease, most, instant):
            return ended
        await _discard(lease)
        ended += 1


async def _reap(Pool pool, _Lease kind):
    return await _each_idle(kind, pool._min_size, now()) if pool._counts else 0


async def _resize(Pool pool, _Lease kind, Py_ssize_t most):
    _set_max_size(pool, most)
    await _each_idle(kind, most, 0)


async def _retain(Pool pool, _Lease kind, predicate):
    ended = 0
    for _ in range(pool.idle):
        lease = _new_of_kind(kind)
        if not _take_idle(lease, 0, 0):
            break
        try:
            keeps = predicate(_object_of(lease))
        except BaseException:
            if not _put_back(lease, False):
                await _discard(lease)
            raise
        if not keeps or not _put_back(lease, False):
            await _discard(lease)
            ended += 1
    return ended


async def _warm_up(Pool pool, _Lease kind):
    while True:
        lease = _new_of_kind(kind)
        if not _take_room(lease, pool._min_size):
            return
        try:
            await _make(lease)
        except BaseException as error:
            await _discard_after(lease, error)
            raise
        if not _put_back(lease, True):
            await _discard(lease)


async def _close(Pool pool, _Lease kind, int64_t timeout):
    deadline = deadline_after(timeout)
    _begin_close(pool)
    await _each_idle(kind, 0, 0)
    left = timeout if timeout in (0, NEVER) else max(deadline - now(), 1)
    if isinstance(kind, AsyncLease):
        await new_coroutine(&ASYNC_AWAIT_END, pool, NULL, left)
    else:
        _await_end(pool, left)


async def _keep_up(Pool pool, _Lease kind):
    """What is done every reap_every seconds. Whose failure nobody awaits goes to on_event."""
    try:
        await _reap(pool, kind)
        await _warm_up(pool, kind)
    except PoolClosed:
        pass
    except Exception as error:
        await _report(kind, "create", None, error)


cdef object _run(object coroutine):
    """For the sync face: the only step of a coroutine that has nothing to wait for."""
    cdef PyObject* result = NULL
    cdef int kind = PyIter_Send(coroutine, None, &result)
    if kind == PYGEN_ERROR:
        reraise()
    if kind == PYGEN_RETURN:
        return move(result)
    drop(result)
    coroutine.close()
    raise RuntimeError("a hook of a ferrule.Pool suspended")


# --- what they do to a lease and its slot ----------------------------------------------------------------------------

cdef object _NONE = object()


cdef inline bint _is_blank(_Lease lease) noexcept:
    return lease._slot == NULL or lease._slot.object == NULL


cdef inline object _object_of(_Lease lease):
    return <object>lease._slot.object


cdef void _fill(_Lease lease, object obj, bint made) noexcept:
    """The lease's slot gets its object."""
    if lease._pool._counts:
        lease._slot.created = lease._slot.returned = now()
    Py_INCREF(obj)
    lease._pool._fill_locked(lease, <PyObject*>obj, made)


cdef void _restore(_Lease lease, object obj) noexcept:
    """Undoes _take_object()."""
    Py_INCREF(obj)
    lease._pool._restore_locked(lease, <PyObject*>obj)


cdef object _take_object(_Lease lease, bint discards):
    cdef PyObject* taken = lease._pool._take_object_locked(lease, discards)
    return _NONE if taken == NULL else move(taken)


cdef bint _is_stale(_Lease lease) noexcept:
    """Whether the object is too old to be leased."""
    cdef int64_t instant
    if not lease._pool._counts:
        return False
    instant = now()
    return (
        instant - lease._slot.created >= lease._pool._lifetime
        or (lease._state == TAKING and instant - lease._slot.returned >= lease._pool._idle_timeout)
    )


cdef bint _can_stay(_Lease lease) noexcept:
    """Whether the object could be leased again, if it is good."""
    cdef Pool pool = lease._pool
    if pool._max_uses != 0 and lease._slot.uses >= pool._max_uses:
        return False
    return pool._wants_locked(lease) and not _is_stale(lease)


cdef bint _put_back(_Lease lease, bint returns) noexcept:
    """False if it cannot stay."""
    cdef WakeList woken
    cdef bint stays
    if _is_blank(lease):
        return False
    woken.head = woken.tail = NULL
    stays = lease._pool._put_back_locked(lease, now() if returns and lease._pool._counts else 0, &woken)
    wake(&woken)
    return stays


cdef void _vacate(_Lease lease) noexcept:
    cdef WakeList woken
    cdef PyObject* object
    woken.head = woken.tail = NULL
    object = lease._pool._vacate_locked(lease, &woken)
    wake(&woken)
    drop(object)        # last: its destructor may call back


cdef void _exchange(_Lease lease) noexcept:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    lease._pool._exchange_locked(lease, &woken)
    wake(&woken)


cdef bint _take_idle(_Lease lease, Py_ssize_t most, int64_t instant) noexcept:
    return lease._pool._take_idle_locked(lease, most, instant)


cdef bint _take_room(_Lease lease, Py_ssize_t most) except -1:
    cdef int answer = lease._pool._take_room_locked(lease, most)
    if answer > BUSY:
        raise _refusal(lease._pool, answer)
    return answer == DONE


cdef void _begin_close(Pool pool) noexcept:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    pool._close_locked(&woken)
    wake(&woken)


cdef void _set_max_size(Pool pool, Py_ssize_t most) noexcept:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    pool._resize_locked(most, &woken)
    wake(&woken)


cdef int _await_end(Pool pool, int64_t timeout) except -1:
    wait_in_thread(&AWAIT_END, pool, NULL, 0, timeout)
    return 0
