"""What threads and tasks wait for in an RWLock, as operations of _core.parking; part of rwlock.pyx."""


cdef int _take_or_link(Waiter* waiter, Place place, bint passes) noexcept:
    cdef RWLock lock = <RWLock>waiter.target
    cdef WakeList woken
    cdef int outcome
    if place == TRY and _kept_out(lock, <uint32_t>waiter.token):
        return BUSY
    woken.head = woken.tail = NULL
    outcome = lock._take_or_link_locked(waiter, place, passes, &woken)
    wake(&woken)
    if outcome == LINKED:
        return _unless_stuck(waiter)
    return _raised(waiter, outcome)


cdef int _upgrade_or_link(Waiter* waiter, Place place) noexcept:
    cdef int outcome
    waiter.token = UPGRADE
    outcome = (<RWLock>waiter.target)._upgrade_or_link_locked(waiter, place)
    if outcome == LINKED:
        return _unless_stuck(waiter)
    return _raised(waiter, outcome)


cdef int _unless_stuck(Waiter* waiter) noexcept:
    """LINKED, unless it is known that the wait can only end by an act of the waiter; then it gives up."""
    if _waits_for_own_loop(waiter) or _waits_for_own_reading(waiter):
        return _raised(waiter, OWN_HOLD) if _abandon(waiter) else LINKED
    return LINKED


cdef inline bint _waits_for_own_loop(Waiter* waiter) noexcept:
    """Whether the waiter is the thread of an event loop, and a task there was handed a hold.

    The task cannot run while the thread sleeps. From now on none is handed any: the thread waits ahead of them.
    """
    return waiter.task == NULL and waiter.mailbox != NULL and is_handed_to_loop(waiter.target, waiter.mailbox)


cdef int _raised(Waiter* waiter, int outcome) noexcept:
    """The outcome as the operations know it; what is none of theirs has been raised."""
    try:
        if outcome == OWN_HOLD:
            raise WouldDeadlock(_explain(waiter))
        _check(outcome)
    except BaseException as error:      # or there is no memory for it
        set_raised(error)
        outcome = FAILED
    return outcome


cdef int _attempt(Waiter* waiter, Place place) noexcept:
    return _take_or_link(waiter, place, False)


cdef int _attempt_recursive(Waiter* waiter, Place place) noexcept:
    return _take_or_link(waiter, place, True)


cdef int _attempt_async(Waiter* waiter, Place place) noexcept:
    """At the first step of a task its guard is made, before anything is taken, and the task is the owner."""
    cdef _Guard guard = None
    if waiter.item == NULL:
        try:
            guard = _new_async_guard(<RWLock>waiter.target, _hold_of(waiter.operation))
        except BaseException as error:
            set_raised(error)
        if guard is None:
            return FAILED
        Py_INCREF(guard)
        waiter.item = <PyObject*>guard
        _own_wait(waiter)
    return _take_or_link(waiter, place, waiter.operation == &ASYNC_READ_RECURSIVE)


cdef inline uint32_t _hold_of(const Operation* operation) noexcept:
    if operation == &ASYNC_WRITE:
        return WRITER
    return UPGRADABLE if operation == &ASYNC_UPGRADABLE_READ else ONE_READER


cdef inline void _own_wait(Waiter* waiter) noexcept:
    """The waiter is the owner of its guard, and waits for that guard's kind of hold."""
    cdef _Guard guard = <_Guard>waiter.item
    waiter.token = guard._hold
    waiter.thread = guard._thread
    waiter.context = guard._context


cdef int _attempt_async_upgrade(Waiter* waiter, Place place) noexcept:
    if waiter.token == 0:       # the first step
        _own_wait(waiter)
    return _upgrade_or_link(waiter, place)


cdef int _attempt_async_restore(Waiter* waiter, Place place) noexcept:
    cdef int outcome = FAILED
    try:
        _restore(<_Guard>waiter.item)
        outcome = DONE
    except BaseException as error:
        set_raised(error)
    return outcome


cdef int _attempt_async_lend(Waiter* waiter, Place place) noexcept:
    cdef int outcome = FAILED
    try:
        _lend(<_Guard>waiter.item)
        outcome = DONE
    except BaseException as error:
        set_raised(error)
    return outcome


cdef int _attempt_async_retake(Waiter* waiter, Place place) noexcept:
    if waiter.token == 0:       # the first step
        try:
            _take_back(<_Guard>waiter.item, UNLOCKED)
            _own_wait(waiter)
        except BaseException as error:
            set_raised(error)
        if waiter.token == 0:
            return FAILED
    return _take_or_link(waiter, place, False)


cdef int _attempt_retake(Waiter* waiter, Place place) noexcept:
    """The hold is the guard's as soon as it is taken: what a signal handler raises meanwhile does not undo it."""
    cdef int outcome = _take_or_link(waiter, place, False)
    if outcome == DONE:
        _begin_reading(<_Guard>waiter.item)
    return outcome


cdef bint _handed_back(Waiter* waiter) noexcept:
    _begin_reading(<_Guard>waiter.item)
    return True


cdef int _attempt_async_leave(Waiter* waiter, Place place) noexcept:
    _release(<_Guard>waiter.item, True, False)
    return DONE


cdef bint _abandon(Waiter* waiter) noexcept:
    cdef WakeList woken
    cdef bint gave_up
    woken.head = woken.tail = NULL
    gave_up = (<RWLock>waiter.target)._abandon_locked(waiter, &woken)
    wake(&woken)
    return gave_up


cdef void _pass_on(Waiter* waiter, int how, WakeList* woken) noexcept:
    (<RWLock>waiter.target)._pass_on_locked(waiter, how, woken)


cdef void _expire(Waiter* waiter) noexcept:
    try:
        raise Timeout(
            f"{<object>waiter.target!r} could not be had {_PURPOSES[<uint32_t>waiter.token]} within"
            f" {waiter.timeout / <double>SECOND:g} s"
        )
    except BaseException as error:      # or there is no memory for it
        set_raised(error)


cdef dict _PURPOSES = {
    ONE_READER: "to read",
    UPGRADABLE: "as upgradable",
    WRITER: "to write",
    UPGRADE: "to write, from upgradable,",
}


cdef PyObject* _give_guard(Waiter* waiter) noexcept:
    _begin_reading(<_Guard>waiter.item)
    return _taken(waiter.item)


cdef PyObject* _give_writer(Waiter* waiter) noexcept:
    """What an upgrade gives."""
    cdef _Guard writer = <_Guard>waiter.item
    if waiter.operation == &ASYNC_UPGRADED:
        writer._before._away.store(UPGRADED, release)
    writer._before = None
    return take(waiter.item)


cdef PyObject* _give_none(Waiter* waiter) noexcept:
    return take(Py_None)


cdef PyObject* _retaken(Waiter* waiter) noexcept:
    cdef PyObject* given = Py_None
    _begin_reading(<_Guard>waiter.item)
    try:
        _record_again(<_Guard>waiter.item)
    except BaseException as error:
        set_raised(error)
        given = NULL
    return take(given) if given != NULL else NULL


cdef Operation _operation(const char* name, Attempt attempt, Result result, const Operation* leave = NULL):
    cdef Operation operation = new_operation(name, attempt, _abandon, _pass_on, result, _expire)
    operation.tries = TRIES
    operation.leave = leave
    return operation


cdef Operation READ = _operation(b"RWLock.read", _attempt, _give_guard)
cdef Operation READ_RECURSIVE = _operation(b"RWLock.read_recursive", _attempt_recursive, _give_guard)
cdef Operation UPGRADABLE_READ = _operation(b"RWLock.upgradable_read", _attempt, _give_guard)
cdef Operation WRITE = _operation(b"RWLock.write", _attempt, _give_guard)
cdef Operation TO_WRITER = _operation(b"UpgradableGuard.upgrade", _upgrade_or_link, _give_writer)
cdef Operation RETAKE = _operation(b"unlocked", _attempt_retake, _give_none)
RETAKE.handed = _handed_back
RETAKE.insists = True
cdef Operation ASYNC_LEAVE = _operation(b"RWLock.__aexit__", _attempt_async_leave, _give_none)
cdef Operation ASYNC_READ = _operation(b"RWLock.read", _attempt_async, _give_guard, &ASYNC_LEAVE)
cdef Operation ASYNC_READ_RECURSIVE = _operation(
    b"RWLock.read_recursive", _attempt_async, _give_guard, &ASYNC_LEAVE
)
cdef Operation ASYNC_UPGRADABLE_READ = _operation(
    b"RWLock.upgradable_read", _attempt_async, _give_guard, &ASYNC_LEAVE
)
cdef Operation ASYNC_WRITE = _operation(b"RWLock.write", _attempt_async, _give_guard, &ASYNC_LEAVE)
cdef Operation ASYNC_UPGRADE = _operation(
    b"AsyncUpgradableGuard.upgrade", _attempt_async_upgrade, _give_writer, &ASYNC_LEAVE
)
cdef Operation ASYNC_UPGRADED = _operation(
    b"AsyncUpgradableGuard.upgraded.__aenter__", _attempt_async_upgrade, _give_writer
)
cdef Operation ASYNC_RESTORE = _operation(
    b"AsyncUpgradableGuard.upgraded.__aexit__", _attempt_async_restore, _give_none
)
cdef Operation ASYNC_LEND = _operation(b"unlocked.__aenter__", _attempt_async_lend, _give_none)
cdef Operation ASYNC_RETAKE = _operation(b"unlocked.__aexit__", _attempt_async_retake, _retaken)
ASYNC_RETAKE.insists = True
