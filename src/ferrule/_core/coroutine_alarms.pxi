"""The instants at which coroutines that wait are to do something of themselves; part of coroutine.pyx."""


@cython.final
cdef class Alarms:
    """When to call the coroutines that wait in one event loop: a binary heap, and one timer of the loop for all.

    That is at the deadline, or when what is waited for may come of itself. A timer of the loop for each would cost more
    than the rest of its wait. The one that there is calls at the earliest instant or before: a wait that ends leaves it
    as it is, so the usual wait, which ends in time, costs two changes of the heap. O(log waits).
    """

    def __cinit__(self, loop):
        self._loop = loop
        self._due = NEVER

    def __call__(self):
        """What the timer calls."""
        cdef int64_t instant = max(now(), self._due)    # loops round, so the call may be early
        cdef PyObject* due
        self._timer = None
        self._due = NEVER
        while True:
            due = self._pop_due_locked(instant)
            if due == NULL:
                break
            expire(<Coroutine>due)
            Py_DECREF(<Coroutine>due)
        self._see_to_timer()

    cdef int _see_to_timer(self) except -1:
        """Has the timer call at the earliest instant, if it does not call before."""
        cdef int64_t earliest = self._earliest_locked()
        if earliest < self._due:
            timer = self._loop.call_later(<double>max(earliest - now(), 0) / SECOND, self)
            if self._timer is not None:
                self._timer.cancel()
            self._timer = timer
            self._due = earliest
        return 0

    cdef bint _set_locked(self, PyObject* coroutine, int64_t instant) noexcept nogil:
        """Has the coroutine called at the instant, and at no other. Takes a reference; False without memory."""
        cdef Py_ssize_t room
        cdef PyObject** heap
        cdef bint is_set
        self._latch.lock()
        if (<Coroutine>coroutine)._alarm != 0:
            coroutine = self._take((<Coroutine>coroutine)._alarm)
        else:
            retain(coroutine)
        if self._count + 1 >= self._room:
            room = 2 * self._room + 8
            heap = <PyObject**>PyMem_Realloc(self._heap, room * sizeof(PyObject*))
            if heap != NULL:
                self._heap = heap
                self._room = room
        is_set = self._count + 1 < self._room
        if is_set:
            self._count += 1
            (<Coroutine>coroutine)._alarm_at = instant
            self._sift_up(self._count, coroutine)
        else:
            release_shared(coroutine)       # its caller has another
        self._latch.unlock()
        return is_set

    cdef PyObject* _remove_locked(self, PyObject* coroutine) noexcept nogil:
        """The reference that the heap had, or NULL."""
        cdef PyObject* removed = NULL
        self._latch.lock()
        if (<Coroutine>coroutine)._alarm != 0:
            removed = self._take((<Coroutine>coroutine)._alarm)
        self._latch.unlock()
        return removed

    cdef PyObject* _pop_due_locked(self, int64_t instant) noexcept nogil:
        cdef PyObject* due = NULL
        self._latch.lock()
        if self._count != 0 and _instant_of(self._heap[1]) <= instant:
            due = self._take(1)
        self._latch.unlock()
        return due

    cdef int64_t _earliest_locked(self) noexcept nogil:
        cdef int64_t earliest = NEVER
        self._latch.lock()
        if self._count != 0:
            earliest = _instant_of(self._heap[1])
        self._latch.unlock()
        return earliest

    # What follows is called under the latch.

    cdef void _put(self, Py_ssize_t place, PyObject* coroutine) noexcept nogil:
        self._heap[place] = coroutine
        (<Coroutine>coroutine)._alarm = place

    cdef void _sift_up(self, Py_ssize_t place, PyObject* coroutine) noexcept nogil:
        while place > 1 and _instant_of(coroutine) < _instant_of(self._heap[place // 2]):
            self._put(place, self._heap[place // 2])
            place //= 2
        self._put(place, coroutine)

    cdef void _sift_down(self, Py_ssize_t place, PyObject* coroutine) noexcept nogil:
        cdef Py_ssize_t child
        while 2 * place <= self._count:
            child = 2 * place
            if child < self._count and _instant_of(self._heap[child + 1]) < _instant_of(self._heap[child]):
                child += 1
            if _instant_of(coroutine) <= _instant_of(self._heap[child]):
                break
            self._put(place, self._heap[child])
            place = child
        self._put(place, coroutine)

    cdef PyObject* _take(self, Py_ssize_t place) noexcept nogil:
        """Takes what is at the place out, with its reference; the last one fills the gap."""
        cdef PyObject* taken = self._heap[place]
        cdef PyObject* last = self._heap[self._count]
        self._count -= 1
        (<Coroutine>taken)._alarm = 0
        if taken != last:
            if place > 1 and _instant_of(last) < _instant_of(self._heap[place // 2]):
                self._sift_up(place, last)
            else:
                self._sift_down(place, last)
        return taken

    def __dealloc__(self):
        _clear_alarms(self)
        PyMem_Free(self._heap)


cdef inline int64_t _instant_of(PyObject* coroutine) noexcept nogil:
    return (<Coroutine>coroutine)._alarm_at


cdef int _set_alarm(Coroutine self, Mailbox mailbox) except -1:
    """Has expire() called at the deadline, or when it is due before."""
    cdef int64_t instant = self._waiter.deadline
    cdef Alarms alarms
    if self._waiter.due != 0:
        instant = min(instant, self._waiter.due)
    if mailbox.alarms is None:
        mailbox.alarms = Alarms.__new__(Alarms, mailbox.loop)
    alarms = mailbox.alarms
    if not alarms._set_locked(<PyObject*>self, instant):
        raise MemoryError
    try:
        alarms._see_to_timer()
    except BaseException:
        Py_XDECREF(alarms._remove_locked(<PyObject*>self))
        raise
    return 0


cdef void _clear_alarms(Alarms alarms) noexcept:
    """Of a loop that is destroyed."""
    cdef PyObject* left = alarms._pop_due_locked(NEVER)
    while left != NULL:
        Py_DECREF(<Coroutine>left)
        left = alarms._pop_due_locked(NEVER)


cdef traverseproc _cython_traverse_alarms = traverse_slot(Alarms)
cdef inquiry _cython_clear_alarms = clear_slot(Alarms)


cdef int _traverse_alarms(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef Alarms self = <Alarms>slot
    cdef Py_ssize_t place = 1
    cdef int stopped = _cython_traverse_alarms(slot, visit, arg)
    while place <= self._count and not stopped:
        stopped = visit_raw(self._heap[place], visit, arg)
        place += 1
    return stopped


cdef int _clear_slot_of_alarms(PyObject* slot) noexcept:
    _clear_alarms(<Alarms>slot)
    return _cython_clear_alarms(slot)


replace_gc_slots(Alarms, _traverse_alarms, _clear_slot_of_alarms)
seal(Alarms)
