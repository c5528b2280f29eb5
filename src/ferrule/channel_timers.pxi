"""Timers: channels whose messages come of themselves; part of channel.pyx.

A timer has no thread. Its message comes into being when somebody looks for it at its instant or later; who waits for
it sleeps until the timer's instant at the latest, and looks (Waiter.due). So a timer costs what a channel costs, and
one that nobody looks at costs nothing more.

To the engine it is a channel with no capacity, and the message that is there stands for a sender that waits. The
flavours follow crossbeam-channel (Rust).
"""

cdef extern from *:
    """
    namespace {
    // As PyFloat_FromDouble(), but without memory it raises nothing: for use under a latch.
    inline PyObject* new_float(double value) noexcept {
        PyObject* made = static_cast<PyObject*>(PyObject_Malloc(sizeof(PyFloatObject)));
        if (made == nullptr) return nullptr;
        PyObject_Init(made, &PyFloat_Type);
        reinterpret_cast<PyFloatObject*>(made)->ob_fval = value;
        return made;
    }
    }
    """
    PyObject* new_float(double value) noexcept nogil


cdef inline bint _is_ripe(_Channel timer) noexcept nogil:
    """Whether it is a timer whose message is there. Under the latch, as the next."""
    return timer._is_timer and not timer._closed and timer._due != NEVER and timer._due <= now()


cdef bint _take_message(_Channel timer, PyObject** message) noexcept nogil:
    """Takes the message that is there, and sets the instant of the next; False without memory."""
    cdef int64_t instant = now()
    message[0] = new_float(timer._time)
    if message[0] == NULL:
        return False
    if timer._period == NEVER:
        timer._due = NEVER
    else:
        if instant - timer._due < timer._period:
            instant = timer._due            # in time: the next comes when it would have come anyway
        timer._due = instant + timer._period if timer._period < NEVER - instant else NEVER
        timer._time = timer._due / <double>SECOND
    timer._sent += 1
    return True


cdef int _look_again(_Channel timer, PyObject** message, size_t* count) noexcept nogil:
    """Whether its message is there now that it has to be waited for: DONE, with it taken; BUSY; NO_MEMORY."""
    if not _is_ripe(timer):
        return BUSY
    if not _take_message(timer, message):
        return NO_MEMORY
    timer._received += 1
    count[0] = 1
    return DONE


cdef inline void _look_again_at(Waiter* waiter, int64_t due) noexcept:
    """Who waits for a message that comes of itself looks for it then."""
    waiter.due = 0 if due == NEVER else due


cdef _Face _new_timer(int64_t due, double time, int64_t period, bint is_async):
    cdef _Channel channel = _Channel.__new__(_Channel)
    cdef _End end = _End.__new__(_End)
    channel._is_timer = True
    channel._receiver_count = 1
    channel._due = due
    channel._time = time
    channel._period = period
    end._open = True
    end._channel = channel
    return _face_of(end, is_async)


cdef _Face _new_after(object seconds, bint is_async):
    cdef int64_t due = deadline_after(parse_span(seconds, "seconds"))
    return _new_timer(due, due / <double>SECOND, NEVER, is_async)


cdef _Face _new_at(object instant, bint is_async):
    cdef int64_t due = parse_instant(instant)
    return _new_timer(due, instant if due != NEVER else 0, NEVER, is_async)


cdef _Face _new_tick(object period, bint is_async):
    cdef int64_t span = parse_span(period, "period")
    cdef int64_t due = deadline_after(span)
    if span == 0:
        raise ValueError("period must not be 0")
    return _new_timer(due, due / <double>SECOND, span, is_async)


def after(seconds, /):
    """A Receiver of one message, which is there `seconds` from now: its instant, as time.monotonic() gives it. O(1).

    No thread runs for it. It never disconnects: once the message is received it waits for ever.

    >>> after(0).recv() <= after(0).recv()
    True
    """
    return _new_after(seconds, False)


def at(instant, /):
    """A Receiver of one message, which is there from `instant` of time.monotonic() on: `instant` as a float. O(1).

    As after(); an instant that has passed is one.
    """
    return _new_at(instant, False)


def tick(period, /):
    """A Receiver of a message every `period` seconds, its instant as time.monotonic() gives it. O(1).

    One message is there at a time: if it is received a whole period late or more, the next comes a period after that,
    so there is no burst. No thread runs for it, and it never disconnects. ValueError for a period of 0.
    """
    return _new_tick(period, False)


def never():
    """A Receiver that no message ever comes to, and that never disconnects: an arm that is never ready. O(1)."""
    return _new_timer(NEVER, 0, NEVER, False)


def async_after(seconds, /):
    """As ferrule.after(), but gives the async face. O(1)."""
    return _new_after(seconds, True)


def async_at(instant, /):
    """As ferrule.at(), but gives the async face. O(1)."""
    return _new_at(instant, True)


def async_tick(period, /):
    """As ferrule.tick(), but gives the async face. O(1)."""
    return _new_tick(period, True)


def async_never():
    """As ferrule.never(), but gives the async face. O(1)."""
    return _new_timer(NEVER, 0, NEVER, True)
