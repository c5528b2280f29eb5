"""Many items in one call: recv_many(), and the async send_many(); part of channel.pyx."""


@cython.final
cdef class _Batch:
    """What recv_many() and the async send_many() keep between two attempts."""
    cdef _End _end
    cdef list _found        # recv_many(): what was received
    cdef size_t _limit
    cdef object _iterator   # send_many(): what is left to be sent
    cdef Py_ssize_t _sent


cdef int _attempt_recv_many(Waiter* waiter, Place place) noexcept:
    cdef WakeList woken
    cdef _Batch batch = <_Batch>waiter.target
    cdef int answer
    woken.head = woken.tail = NULL
    waiter.token = <uintptr_t><PyObject*>batch._end
    try:
        answer = _fill(batch, &waiter.node, place, &woken)
    except BaseException as error:      # no memory for the list; the leave that this one may have had goes on
        batch._end._channel._pass_on_locked(&woken)
        wake(&woken)
        set_raised(error)
        return FAILED
    _count_taken(batch._end, answer, len(batch._found))
    return _end_attempt(waiter, answer, &woken, NULL, 0)


cdef int _fill(_Batch batch, Node* node, Place place, WakeList* woken) except -1:
    """Receives what there is, at most as much as is wanted, into the list, which has places for it before it comes."""
    cdef _Channel channel = batch._end._channel
    cdef size_t room = min(batch._limit, max(channel._available_locked(), <size_t>1))
    cdef size_t count
    cdef int answer
    batch._found = _places(room)
    answer = channel._recv_locked(batch._end, items_of(batch._found), room, &count, node, place, woken)
    _cut_off(batch._found, room, count)
    return answer


cdef list _places(size_t room):
    """A list of None, for so many items."""
    cdef list places = []
    cdef size_t _place
    for _place in range(room):      # one by one: see CPython's issue 118331
        places.append(None)
    return places


cdef void _cut_off(list places, size_t room, size_t count) noexcept:
    """The first places have items now; the others go. Without a call that could fail, which would lose the items."""
    cdef size_t _place
    for _place in range(room):
        drop(Py_None)
    set_size(places, count)


cdef PyObject* _give_found(Waiter* waiter) noexcept:
    return take(<PyObject*>(<_Batch>waiter.target)._found)


cdef bint _rests_many(Waiter* waiter) noexcept:
    return _has_taken_much((<_Batch>waiter.target)._end)


cdef int _attempt_send_many(Waiter* waiter, Place place) noexcept:
    """For a task. Its item is the one that comes next."""
    cdef WakeList woken
    cdef _Batch batch = <_Batch>waiter.target
    cdef _End end = batch._end
    cdef int answer
    waiter.token = <uintptr_t><PyObject*>end
    while True:
        if waiter.item == NULL:
            waiter.item = next_of(batch._iterator)
            if waiter.item == NULL:
                return FAILED if PyErr_Occurred() else DONE
        woken.head = woken.tail = NULL
        answer = end._channel._send_locked(end, waiter.item, &waiter.node, place, &woken)
        if answer != DONE:
            return _end_attempt(waiter, answer, &woken, waiter.item, batch._sent)
        wake(&woken)
        _was_worth_it(waiter)
        _sent_one(waiter)
        if batch._sent % AT_A_TIME == 0 and let_others_in() < 0:
            return FAILED


cdef bint _sent_one(Waiter* waiter) noexcept:
    """The item has been sent; False: there may be more."""
    cdef PyObject* item = waiter.item
    (<_Batch>waiter.target)._sent += 1
    waiter.item = NULL
    drop(item)
    return False


cdef PyObject* _give_sent(Waiter* waiter) noexcept:
    cdef object sent
    try:
        sent = (<_Batch>waiter.target)._sent
        return take(<PyObject*>sent)
    except BaseException as error:
        set_raised(error)
        return NULL
