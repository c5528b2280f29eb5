"""What the drop-in queues wait for, and what the collector sees of them; part of _queues.pyx."""

# item: what is put; where a thread gets, the address of where the item goes.


cdef int _failed(Waiter* waiter, object error) noexcept:
    """The leave that this one may have had goes on."""
    cdef WakeList woken
    woken.head = woken.tail = NULL
    waiter.operation.pass_on(waiter, CLAIMED, &woken)
    wake(&woken)
    set_raised(error)
    return FAILED


cdef int _attempt_put(Waiter* waiter, Place place) noexcept:
    try:
        return _try_put(<_Queue>waiter.target, waiter.item, &waiter.node, place)
    except BaseException as error:
        return _failed(waiter, error)


cdef int _attempt_get(Waiter* waiter, Place place) noexcept:
    """For a thread."""
    try:
        return _try_get(<_Queue>waiter.target, <PyObject**>waiter.item, &waiter.node, place)
    except BaseException as error:
        return _failed(waiter, error)


cdef int _attempt_async_get(Waiter* waiter, Place place) noexcept:
    try:
        return _try_get(<_Queue>waiter.target, &waiter.item, &waiter.node, place)
    except BaseException as error:
        return _failed(waiter, error)


cdef int _attempt_join(Waiter* waiter, Place place) noexcept:
    return (<_Queue>waiter.target)._join_locked(&waiter.node, place)


cdef bint _abandon(Waiter* waiter) noexcept:
    return (<_Queue>waiter.target)._abandon_locked(waiter)


cdef void _pass_on_put(Waiter* waiter, int how, WakeList* woken) noexcept:
    (<_Queue>waiter.target)._wake_locked(False, 1, woken)


cdef void _pass_on_get(Waiter* waiter, int how, WakeList* woken) noexcept:
    (<_Queue>waiter.target)._wake_locked(True, 1, woken)


cdef void _pass_on_nothing(Waiter* waiter, int how, WakeList* woken) noexcept:
    pass


cdef void _expire_put(Waiter* waiter) noexcept:
    set_raised((<_Queue>waiter.target)._error(BUSY, False))


cdef void _expire_get(Waiter* waiter) noexcept:
    set_raised((<_Queue>waiter.target)._error(BUSY, True))


cdef PyObject* _give_none(Waiter* waiter) noexcept:
    return take(Py_None)


cdef PyObject* _give_item(Waiter* waiter) noexcept:
    """What was got: it moves out."""
    cdef PyObject* item = waiter.item
    waiter.item = NULL
    return item


cdef Operation _operation(const char* name, Attempt attempt, bint gets, Expire expire, Result result):
    cdef Operation operation = new_operation(
        name, attempt, _abandon, _pass_on_get if gets else _pass_on_put, result, expire
    )
    operation.hides_item = True
    return operation


cdef Operation PUT = _operation(b"Queue.put", _attempt_put, False, _expire_put, _give_none)
cdef Operation GET = _operation(b"Queue.get", _attempt_get, True, _expire_get, NULL)
cdef Operation ASYNC_GET = _operation(b"Queue.get", _attempt_async_get, True, _expire_get, _give_item)
cdef Operation JOIN = new_operation(b"Queue.join", _attempt_join, _abandon, _pass_on_nothing, _give_none, NULL)


cdef Py_ssize_t _copy_getters(PyObject* queue, int* found, Py_ssize_t room) noexcept nogil:
    return (<_Queue>queue)._copy_claims_locked(&(<_Queue>queue)._getting, found, room)


cdef Py_ssize_t _copy_putters(PyObject* queue, int* found, Py_ssize_t room) noexcept nogil:
    return (<_Queue>queue)._copy_claims_locked(&(<_Queue>queue)._putting, found, room)


cdef Py_ssize_t _copy_joiners(PyObject* queue, int* found, Py_ssize_t room) noexcept nogil:
    return (<_Queue>queue)._copy_claims_locked(&(<_Queue>queue)._joining, found, room)


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse = traverse_slot(_Queue)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The items, and the coroutines that wait."""
    cdef _Queue self = <_Queue>slot
    cdef int stopped = _cython_traverse(slot, visit, arg)
    cdef Block* block = self._items.head
    cdef size_t place = self._items.first
    cdef size_t index
    for index in range(self._items.count):
        if stopped:
            return stopped
        if place == block.size:
            block = block.next
            place = 0
        stopped = visit(block.items[place], arg)
        place += 1
    for index in range(self._stack.count):
        if stopped:
            return stopped
        stopped = visit(self._stack.items[index], arg)
    if not stopped:
        stopped = visit_raw(self._bound, visit, arg)
    if not stopped:
        stopped = visit_raw(self._container, visit, arg)
    if not stopped:
        stopped = visit_raw(self._conditions, visit, arg)
    if not stopped:
        stopped = visit_waiters(&self._getting, visit, arg)
    if not stopped:
        stopped = visit_waiters(&self._putting, visit, arg)
    if not stopped:
        stopped = visit_waiters(&self._joining, visit, arg)
    return stopped


cdef int _clear(PyObject* slot) noexcept:
    """Of a garbage cycle: nobody will get the items any more. The mutex stays, for destructors that call the queue."""
    _drop_all(<_Queue>slot)
    drop((<_Queue>slot)._write_locked(&(<_Queue>slot)._bound, NULL, False))
    return 0
