"""Splitting and joining BytesMut, and the memory behind its end; part of buffer.pyx."""


cdef enum Splitting:
    OFF
    TO
    WHOLE


cdef object _split(BytesMut self, Py_ssize_t at, Splitting how):
    cdef BytesMut other = BytesMut.__new__(BytesMut)
    cdef Py_ssize_t most = -1
    if not _split_locked(self, at, how, other, &most):
        if most < 0:
            raise BufferError(_EXPORTED)
        raise IndexError(f"cannot split at {at}, only at 0 to {most}")
    return other


cdef bint _split_locked(BytesMut self, Py_ssize_t at, Splitting how, BytesMut other, Py_ssize_t* most) noexcept nogil:
    """Gives a part to an empty BytesMut that nobody else has; False if the memory is exported, or `at` above `most`."""
    cdef bint fits = False
    self._latch.lock()
    if not self._exports:
        most[0] = self._limit - self._at if how == OFF else self._end - self._at
        if how == WHOLE:
            at = most[0]
        fits = 0 <= at <= most[0]
    if fits and self._storage != NULL:
        hold(self._storage)
        other._storage = self._storage
        if how == OFF:
            other._at = self._at + at
            other._end = max(self._end, other._at)
            other._limit = self._limit
            self._limit = other._at
            if self._end > self._limit:
                self._end = self._limit
            self._spared = min(self._spared, <size_t>(self._limit - self._end))
        else:
            other._at = self._at
            self._at += at
            other._end = other._limit = self._at
    self._latch.unlock()
    return fits


cdef bint _leave_locked(BytesMut self, Span* span, bint joins) noexcept nogil:
    """Takes all that it has, and leaves it empty; False if its memory is exported. What is joined may come back."""
    cdef bint free
    self._latch.lock()
    free = self._exports == 0
    if free:
        span.storage = self._storage
        span.at = self._at
        span.end = self._end
        span.limit = self._limit
        if joins and self._storage != NULL:
            self._away = True
        self._storage = NULL
        self._at = self._end = self._limit = <char*>NOTHING
        self._spared = 0
    self._latch.unlock()
    return free


cdef void _look_locked(BytesMut self, Span* span) noexcept nogil:
    """What it has, not to be touched."""
    self._latch.lock()
    span.storage = self._storage
    span.at = self._at
    span.limit = self._limit
    self._latch.unlock()


cdef bint _is_followed_locked(BytesMut self, Span* span) noexcept nogil:
    cdef bint follows
    self._latch.lock()
    follows = span.limit == span.at or (span.storage == self._storage and span.at == self._end)
    self._latch.unlock()
    return follows


cdef bint _follows(BytesMut self, BytesMut other) except -1:
    """Whether what the other has can be taken without a copy, as far as one can see."""
    cdef Span span
    _look_locked(other, &span)
    return _is_followed_locked(self, &span)


cdef Room _join_locked(BytesMut self, Span* span, bint may_replace) noexcept nogil:
    """Appends what another one has left, or has it instead of nothing; its handle moves in, or ends."""
    cdef Storage* ended = span.storage
    cdef Room room = ROOM
    cdef size_t size = span.end - span.at
    self._latch.lock()
    if may_replace and self._end == self._at and not self._exports and not self._away:
        ended = self._storage
        self._storage = span.storage
        self._at = span.at
        self._end = span.end
        self._limit = span.limit
        self._spared = 0
    elif span.limit != span.at and span.storage == self._storage and span.at == self._end:
        self._end = span.end
        self._limit = span.limit
        self._spared = 0
    elif size:
        room = _reserve(self, size, True)
        if room == ROOM:
            memcpy(self._end, span.at, size)
            self._end += size
            self._spared = 0
    if room == ROOM:
        let_go_own(ended)
    self._latch.unlock()
    return room


cdef void _end_join_locked(BytesMut self, Span* span, bint joined) noexcept nogil:
    """What it has left, if anything, is another's now; or it has it again."""
    self._latch.lock()
    if span.storage != NULL:
        self._away = False
        if not joined:
            self._storage = span.storage
            self._at = span.at
            self._end = span.end
            self._limit = span.limit
    self._latch.unlock()


cdef int _rejoin(BytesMut self, BytesMut other, bint may_replace) except -1:
    """Latches do not nest, so the other gives up first what it has, and gets it back if there is no room for it.

    Between the two it is away: who would give it memory waits. So it has nothing then that would be in the way.
    """
    cdef Span span
    cdef Room room
    if self is other:
        raise ValueError("a BytesMut cannot be joined to itself")
    while True:
        if not _leave_locked(other, &span, True):
            raise BufferError(_EXPORTED)
        room = _join_locked(self, &span, may_replace)
        _end_join_locked(other, &span, room == ROOM)
        if not _is_away(room):      # it is if this one is being joined to the other at the same time
            return 0


# --- views and files -------------------------------------------------------------------------------------------------

@cython.final
cdef class _Spare:
    """What the memoryview of BytesMut.spare() is of: the room of a BytesMut, and a handle of its memory."""

    def __cinit__(self):
        self._data = <char*>NOTHING

    def __getbuffer__(self, Py_buffer* view, int flags):
        _show(view, self, self._data, self._length, False, flags)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy spare memory")

    def __dealloc__(self):
        let_go_own(self._storage)
