"""What both faces of RWLock do with a hold: take it at once, end it, convert it, read its value; part of rwlock.pyx."""

cdef str _NOT_IN_FORCE = "the guard does not hold the lock: it was released, or converted into another one"
cdef str _TOO_MANY = "too many holds to read: their number cannot be counted any further"

cdef enum:      # _Guard._away
    UNLOCKED = 1
    UPGRADED = 2


cdef inline uint32_t _keeping_out(uint32_t hold) noexcept nogil:
    """What in the word keeps a hold of that kind out."""
    if hold == ONE_READER:
        return WRITER | FULL
    return WRITER | UPGRADABLE if hold == UPGRADABLE else ~<uint32_t>PARKED


cdef inline PyObject* _first_of(PyObject* guard) noexcept nogil:
    """The guard that the hold began with, borrowed."""
    cdef PyObject* first = <PyObject*>(<_Guard>guard)._first
    return guard if first == Py_None else first


cdef inline _Guard _make(uint32_t hold):
    if hold == ONE_READER:
        return ReadGuard.__new__(ReadGuard)
    return WriteGuard.__new__(WriteGuard) if hold == WRITER else UpgradableGuard.__new__(UpgradableGuard)


cdef _Guard _make_async(uint32_t hold):
    if hold == ONE_READER:
        return AsyncReadGuard.__new__(AsyncReadGuard)
    return AsyncWriteGuard.__new__(AsyncWriteGuard) if hold == WRITER else AsyncUpgradableGuard.__new__(
        AsyncUpgradableGuard
    )


cdef inline _Guard _new_guard(RWLock lock, uint32_t hold):
    cdef _Guard guard = _make(hold)
    guard._hold = hold
    guard._thread = owner_thread()
    guard._lock = lock
    return guard


cdef _Guard _new_async_guard(RWLock lock, uint32_t hold):
    cdef _Guard guard = _make_async(hold)
    guard._hold = hold
    guard._thread = owner_thread()
    guard._context = owner_context()
    if guard._context == NULL:
        raise MemoryError
    retain(guard._context)
    guard._lock = lock
    return guard


cdef _Guard _new_successor(_Guard guard, uint32_t hold):
    """A guard that the hold can be converted to: of the same face, and the same owner."""
    cdef _Guard successor = _make(hold) if guard._context == NULL else _make_async(hold)
    successor._hold = hold
    successor._thread = guard._thread
    successor._context = guard._context
    if guard._context != NULL:
        retain(guard._context)
    successor._first = guard if guard._first is None else guard._first
    successor._lock = guard._lock
    return successor


cdef inline AsyncRWLock _face_of(RWLock lock):
    cdef AsyncRWLock face = AsyncRWLock.__new__(AsyncRWLock)
    face._lock = lock
    return face


cdef inline bint _take_uncontended(RWLock lock, PyObject* guard, uint32_t hold) noexcept:
    """Takes the hold if nobody keeps it out and nobody is queued."""
    cdef uint32_t word = lock._word.load(relaxed)
    while not word & (_keeping_out(hold) | PARKED):
        # Acquire pairs with the release in _let_go(), _end_reading() and _convert_locked(): what was done under former
        # holds is visible.
        if lock._word.compare_exchange_strong(word, word + hold, acquire, relaxed):
            if hold != ONE_READER:
                lock._own(guard)
            return True
    return False


cdef inline bint _kept_out(RWLock lock, uint32_t hold) noexcept:
    """Whether there is no need to try: the holders keep that kind out. Where readers are too many it must be told."""
    return lock._word.load(relaxed) & _keeping_out(hold) & ~<uint32_t>FULL != 0


cdef _Guard _try(RWLock lock, uint32_t hold, bint passes):
    """The guard of a hold that could be had at once, or None."""
    if _kept_out(lock, hold):
        return None
    return _try_for(lock, _new_guard(lock, hold), hold, passes)


cdef _Guard _try_async(RWLock lock, uint32_t hold, bint passes):
    if _kept_out(lock, hold):
        return None
    return _try_for(lock, _new_async_guard(lock, hold), hold, passes)


cdef _Guard _try_for(RWLock lock, _Guard guard, uint32_t hold, bint passes):
    if _take_uncontended(lock, <PyObject*>guard, hold):
        _begin_reading(guard)
        return guard
    if lock._take_now_locked(<PyObject*>guard, hold, passes):
        return _taken_under_latch(guard)
    if hold == ONE_READER and lock._word.load(relaxed) & FULL:
        raise OverflowError(_TOO_MANY)
    return None


cdef _Guard _wait_for(const Operation* operation, _Guard guard, int64_t patience):
    """The guard, once this thread has its hold, which it could not have at once."""
    wait_in_thread(operation, guard._lock, <PyObject*>guard, guard._hold, patience)
    return _taken_under_latch(guard)


cdef _Guard _taken_under_latch(_Guard guard):
    """The guard, whose hold has just been taken, as every hold is that a lock records."""
    _begin_reading(guard)
    return guard if guard._lock._records is None else _recorded(guard)


cdef PyObject* _read_value_locked(PyObject* first) noexcept nogil:
    """A new reference to the value; NULL if the hold is not in force, or not one to read."""
    cdef PyObject* value = NULL
    (<_Guard>first)._latch.lock()
    if (<_Guard>first)._reading.load(relaxed):
        value = take(value_slot((<_Guard>first)._lock)[0])
    (<_Guard>first)._latch.unlock()
    return value


cdef inline bint _end_reading_locked(PyObject* first) noexcept nogil:
    """Whether the hold was in force and one to read, and ended by this call; who reads the value has read it."""
    cdef bint held
    (<_Guard>first)._latch.lock()
    held = (<_Guard>first)._reading.load(relaxed)
    if held:        # else the hold may begin just now, at the end of unlocked(), which does not ask for the latch
        (<_Guard>first)._reading.store(False, relaxed)
    (<_Guard>first)._latch.unlock()
    return held


cdef PyObject* _value_of(_Guard guard) except NULL:
    """A new reference to the value."""
    cdef PyObject* value
    if guard._hold == ONE_READER:
        value = _read_value_locked(_first_of(<PyObject*>guard))
    else:
        value = guard._lock._get_value_locked(<PyObject*>guard)
    if value == NULL:
        raise RuntimeError(_NOT_IN_FORCE)
    return value


cdef bint _is_in_force(_Guard guard) noexcept:
    if guard._hold == ONE_READER:
        return (<_Guard>_first_of(<PyObject*>guard))._reading.load(relaxed)
    return guard._lock._in_force_locked(<PyObject*>guard)


cdef inline bint _holds(_Guard first) noexcept:
    """Whether the hold that began with this guard has not ended."""
    return first._reading.load(relaxed) or first._lock._exclusive.load(relaxed) == <PyObject*>first


cdef inline bint _release(_Guard guard, bint whole, bint fair) noexcept:
    """Ends the hold that the guard has; False if it has none. `whole`: also if another guard of the hold is in force.

    A hold goes from one to write or upgradable to one to read and never back, so this order of looking misses nothing.
    """
    cdef PyObject* first = _first_of(<PyObject*>guard)
    if (<_Guard>first)._hold != ONE_READER and (whole or guard._hold != ONE_READER):
        return _end_exclusive(guard, whole, fair, False)
    return _end_reading(first, fair)


cdef bint _end_exclusive(_Guard guard, bint whole, bint fair, bint forgotten) noexcept:
    """_release() of a hold that was to write, or upgradable; whether it has been forgotten, if the lock records it."""
    cdef WakeList woken
    cdef int outcome
    woken.head = woken.tail = NULL
    outcome = guard._lock._release_locked(<PyObject*>guard, whole, fair, forgotten, &woken)
    if outcome == DONE:
        wake(&woken)
        return True
    if outcome == RECORDED:
        return _end_recorded(guard, whole, fair)
    return whole and _end_reading(_first_of(<PyObject*>guard), fair)


cdef inline bint _end_reading(PyObject* first, bint fair) noexcept:
    """_release() of a hold to read, which began with this guard."""
    cdef PyObject* lock = <PyObject*>(<_Guard>first)._lock
    cdef uint32_t word
    if not _end_reading_locked(first):
        return False
    word = (<RWLock>lock)._word.load(relaxed)
    while not word & PARKED:
        # Release pairs with the acquire of who takes the lock to write next: it changes what was read here.
        if (<RWLock>lock)._word.compare_exchange_strong(word, word - ONE_READER, release, relaxed):
            return True
    _end_reading_slow(<_Guard>first, fair)
    return True


cdef void _end_reading_slow(_Guard first, bint fair) noexcept:
    cdef WakeList woken
    if first._lock._records is not None:
        _forget(first)
    woken.head = woken.tail = NULL
    first._lock._stop_reading_locked(fair, &woken)
    wake(&woken)


cdef void _release_forgotten(_Guard guard) noexcept:
    """The last guard of a hold is being collected: releases it, and warns last."""
    cdef KeepRaised keep
    cdef Apart apart
    keep.set_aside()
    apart.begin(apart_depth())
    _release(guard, True, False)
    try:
        PyErr_WarnEx(ResourceWarning, b"a guard was collected while it held its lock, which is free of it again", 1)
    except BaseException as error:      # warnings may be errors, and a destructor cannot raise
        set_raised(error)
        PyErr_WriteUnraisable(None)


cdef _Guard _convert(_Guard guard, uint32_t hold):
    """The successor of the guard, whose hold becomes one of a lesser kind."""
    cdef WakeList woken
    cdef _Guard successor = _new_successor(guard, hold)
    cdef int outcome
    woken.head = woken.tail = NULL
    outcome = guard._lock._convert_locked(<PyObject*>guard, <PyObject*>successor, &woken)
    wake(&woken)
    _check(outcome)
    return successor


cdef int _check(int outcome) except -1:
    if outcome == SPENT_GUARD:
        raise RuntimeError(_NOT_IN_FORCE)
    if outcome == OVERFLOW:
        raise OverflowError(_TOO_MANY)
    return 0


cdef _Guard _new_writer(_Guard guard):
    """The guard that an upgrade of this one is to give."""
    cdef _Guard writer = _new_successor(guard, WRITER)
    writer._before = guard
    return writer


cdef _Guard _try_upgrade(_Guard guard):
    cdef Waiter passer
    cdef _Guard writer = _new_writer(guard)
    cdef int outcome
    passer.item = <PyObject*>writer
    outcome = guard._lock._upgrade_or_link_locked(&passer, TRY)
    writer._before = None
    _check(outcome)
    return writer if outcome == DONE else None


cdef _Guard _upgrade(_Guard guard, int64_t timeout):
    cdef _Guard writer = _new_writer(guard)
    wait_in_thread(&TO_WRITER, guard._lock, <PyObject*>writer, UPGRADE, timeout)
    writer._before = None
    return writer


cdef object _upgrade_coroutine(const Operation* operation, _Guard guard, int64_t timeout):
    cdef _Guard writer = _new_writer(guard)
    return _guard_coroutine(operation, writer, timeout)


cdef inline object _guard_coroutine(const Operation* operation, _Guard guard, int64_t timeout):
    Py_INCREF(guard)
    return new_coroutine(operation, guard._lock, <PyObject*>guard, timeout)


cdef int _restore(_Guard guard) except -1:
    """The end of an upgraded() block."""
    cdef WakeList woken
    _take_back(guard, UPGRADED)
    woken.head = woken.tail = NULL
    guard._lock._restore_locked(<PyObject*>guard, &woken)
    wake(&woken)
    return 0


cdef int _lend(_Guard guard) except -1:
    """The beginning of an unlocked() block."""
    if not _release(guard, False, False):
        raise RuntimeError(_NOT_IN_FORCE)
    guard._away.store(UNLOCKED, release)
    return 0


cdef int _retake(_Guard guard) except -1:
    """The end of an unlocked() block: the hold again, for the same guard."""
    _take_back(guard, UNLOCKED)
    try:
        wait_in_thread(&RETAKE, guard._lock, <PyObject*>guard, guard._hold, NEVER)
    finally:        # a signal handler's exception is raised with the hold taken
        _record_again(guard)
    return 0


cdef int _take_back(_Guard guard, int away) except -1:
    """The right to end a block of that kind for the guard: each gives it once."""
    cdef int found = away
    if not guard._away.compare_exchange_strong(found, 0, acq_rel, relaxed):
        raise RuntimeError("the block was not entered, or has ended already")
    return 0


cdef inline void _begin_reading(_Guard guard) noexcept:
    """What is left to do when the guard's hold has been taken."""
    if guard._hold == ONE_READER:
        (<_Guard>_first_of(<PyObject*>guard))._reading.store(True, relaxed)


cdef str _describe(str name, RWLock lock, uintptr_t address):
    cdef uint32_t word = lock._word.load(relaxed)
    cdef uint32_t readers = word >> SHIFT
    cdef list holds = []
    if word & WRITER:
        holds.append("writing")
    if word & UPGRADABLE:
        holds.append("upgradable")
    if readers:
        holds.append(f"{readers} reading")
    return f"<{name} {', '.join(holds) if holds else 'unlocked'} at {address:#x}>"


cdef dict _state_of(RWLock lock):
    cdef list waiters = claims_of(lock, _copy_claims)
    cdef uint32_t word = lock._word.load(relaxed)
    return {
        "readers": word >> SHIFT,
        "upgradable": bool(word & UPGRADABLE),
        "writer": bool(word & WRITER),
        "parked": bool(word & PARKED if lock._records is None else waiters),
        "waiters": waiters,
    }


cdef Py_ssize_t _copy_claims(PyObject* lock, int* found, Py_ssize_t room) noexcept nogil:
    return (<RWLock>lock)._copy_claims_locked(found, room)
