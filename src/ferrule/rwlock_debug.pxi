"""What an RWLock records of its holders with debug=True or FERRULE_DEBUG=1; part of rwlock.pyx."""

# Whether every lock records its holders.
cdef bint _debug_all = os.environ.get("FERRULE_DEBUG") == "1"

cdef object _current_task = None    # of asyncio, and of traceback: imported with the first lock that records
cdef object _format_stack = None


cdef int _prepare_to_record() except -1:
    """Imports what recording needs; where a hold is taken there may be no memory for that."""
    global _current_task, _format_stack
    if _format_stack is None:
        from asyncio import current_task
        from traceback import format_stack
        _current_task, _format_stack = current_task, format_stack
    return 0


@cython.final
cdef class _Record:
    """Who took a hold, and where."""
    cdef object context
    cdef object holder
    cdef object stack
    cdef uint64_t thread


cdef int _record(_Guard guard) except -1:
    """Records who runs as the one who has just taken the guard's hold."""
    cdef _Record record = _Record.__new__(_Record)
    record.thread = guard._thread
    record.context = <object>guard._context if guard._context != NULL else None
    record.holder = _name_of(record.context is not None)
    record.stack = _stack_here()
    guard._lock._records[_key_of(guard)] = record
    _forget_if_ended(guard)     # by another thread that has the guard, which found nothing to forget
    return 0


cdef _Guard _recorded(_Guard guard):
    """The guard, whose hold has just been taken by who runs; if that cannot be recorded the hold ends."""
    try:
        _record(guard)
    except BaseException:
        _release(guard, True, False)
        raise
    return guard


cdef PyObject* _taken(PyObject* guard) noexcept:
    """A new reference to the guard whose hold a task has just taken; NULL with an exception: that was not recorded."""
    cdef PyObject* given = guard
    if (<_Guard>guard)._lock._records is not None:
        try:
            _recorded(<_Guard>guard)
        except BaseException as error:
            set_raised(error)
            given = NULL
    return take(given) if given != NULL else NULL


cdef int _record_again(_Guard guard) except -1:
    """Records a hold that is there again at the end of unlocked(), and stays so if that cannot be recorded."""
    if guard._lock._records is not None and _is_in_force(guard):
        _record(guard)
    return 0


cdef object _pop_record(_Guard guard):
    """What is recorded of the guard's hold, forgotten; or None."""
    try:
        return guard._lock._records.pop(_key_of(guard), None)
    except MemoryError:
        return None


cdef void _forget(_Guard guard) noexcept:
    """Forgets the guard's hold, which is about to end: who had it may wait for others from then on.

    Keeps the exception that is set: a destructor may call.
    """
    cdef KeepRaised keep
    keep.set_aside()
    _pop_record(guard)


cdef bint _end_recorded(_Guard guard, bint whole, bint fair) noexcept:
    """_release() of a hold to write, or an upgradable one, that is recorded. Keeps the exception that is set."""
    cdef object record
    cdef bint ended
    cdef KeepRaised keep
    keep.set_aside()
    record = _pop_record(guard)
    ended = _end_exclusive(guard, whole, fair, True)
    try:
        if not ended and record is not None:
            guard._lock._records[_key_of(guard)] = record
        _forget_if_ended(guard)
    except MemoryError:
        pass
    return ended


cdef int _forget_if_ended(_Guard guard) except -1:
    """What a release and a record at the same time have left behind: each looks, after what it did."""
    if not _holds(guard if guard._first is None else guard._first):
        guard._lock._records.pop(_key_of(guard), None)
    return 0


cdef inline object _key_of(_Guard guard):
    return <uintptr_t>_first_of(<PyObject*>guard)


cdef object _name_of(bint is_task):
    """Who runs, for people."""
    cdef object task = None
    if is_task:
        try:
            task = _current_task()
        except RuntimeError:
            pass
        if task is not None:
            return f"task {task.get_name()!r} of thread {threading.current_thread().name!r}"
    return f"thread {threading.current_thread().name!r}"


cdef object _stack_here():
    return "".join(_format_stack(sys._getframe()))


cdef bint _waits_for_own_reading(Waiter* waiter) noexcept:
    """Whether the waiter has a hold to read, as the records say, and waits for a writer or as one.

    Who waits for the upgradable hold gets it beside readers, unless somebody who waits for those is before it.
    """
    cdef RWLock lock = <RWLock>waiter.target
    cdef bint found = False
    if lock._records is None or (waiter.token == UPGRADABLE and not _waits_for_readers_locked(lock, waiter.item, True)):
        return False
    try:
        found = _own_record(waiter) is not None
    except MemoryError:     # then it waits, as without debug
        pass
    return found


cdef bint _waits_for_readers_locked(RWLock lock, PyObject* guard, bint upgrades) noexcept nogil:
    """Whether the guard's waiter is queued behind a writer; or, with `upgrades`, while an upgrade waits."""
    cdef Node* node
    cdef bint found
    lock._latch.lock()
    lock._refresh()
    found = upgrades and lock._upgrades.head != NULL
    node = lock._queue.head
    while node != NULL and node.waiter.item != guard:
        found = found or node.waiter.token == WRITER
        node = node.next
    lock._latch.unlock()
    return found and node != NULL


cdef _Record _own_record(Waiter* waiter):
    """The record of a hold of which the waiter is the owner, but for the one that it would upgrade; or None."""
    cdef RWLock lock = <RWLock>waiter.target
    cdef _Record record
    cdef object upgrading = _key_of(<_Guard>waiter.item) if waiter.token == UPGRADE else None
    if lock._records is not None:
        for key, record in lock._records.copy().items():    # in one step: what is collected on the way may be a guard
            if key != upgrading and must_act(
                waiter, record.thread, <PyObject*>record.context if record.context is not None else NULL
            ):
                return record
    return None


cdef object _explain(Waiter* waiter):
    """What WouldDeadlock says: who would wait for itself, and, as far as that is recorded, both places."""
    cdef _Record record = _own_record(waiter)
    if waiter.context != NULL:
        holder = "this task"
    else:
        holder = "this thread, or a task of its event loop,"
    text = f"{holder} holds {<object>waiter.target!r} already and would wait for itself"
    if record is None:
        return text
    return f"{text}\n{record.holder} took the hold here:\n{record.stack}and it would wait here:\n{_stack_here()}"


cdef list _holders_of(RWLock lock, object item):
    """See RWLock._holders()."""
    cdef _Record record
    cdef _Guard guard
    cdef object upgrading = None
    cdef object alone = None    # the only hold that is waited for
    cdef PyObject* context = NULL
    cdef uint64_t thread
    if isinstance(item, _Guard):
        guard = item
        if guard._before is not None:
            upgrading = _key_of(guard)
        elif guard._hold == UPGRADABLE and not _waits_for_readers_locked(lock, <PyObject*>guard, False):
            alone = <uintptr_t>lock._exclusive.load(relaxed)
    if lock._records is not None:
        return [
            (record.thread, record.context, record.holder, record.stack)
            for key, record in lock._records.copy().items() if key != upgrading and alone in (None, key)
        ]
    thread = lock._holder_locked(&context)
    if thread == 0 or upgrading is not None:
        drop(context)
        return []
    holders = [(thread, <object>context if context != NULL else None, None, None)]
    drop(context)
    return holders
