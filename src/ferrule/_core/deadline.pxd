"""Timeouts: the only parser of `timeout=` arguments, and the monotonic clock that deadlines are read from.

A timeout is parsed to nanoseconds: 0 = do not wait, NEVER = for ever. It becomes a deadline, an instant of now(),
only when a wait begins, so that a call which need not wait reads no clock.
"""
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.number cimport PyIndex_Check, PyNumber_Index
from libc.math cimport ceil
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #ifndef FERRULE_DEADLINE
    #define FERRULE_DEADLINE
    #include <chrono>
    #include <cstdint>
    namespace ferrule {
    constexpr int64_t NEVER = INT64_MAX;
    inline int64_t now() noexcept {
        using namespace std::chrono;
        return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
    }
    }
    #endif
    """
    # Nanoseconds of the monotonic clock: the clock of time.monotonic() and of asyncio.
    int64_t now "ferrule::now"() noexcept nogil
    const int64_t NEVER "ferrule::NEVER"

cdef enum:
    SECOND = 1_000_000_000
    MILLISECOND = 1_000_000


cdef inline int64_t parse_span(object span, str name) except -1:
    """The nanoseconds of an argument in seconds, rounded up; NEVER from 292 years on. `name` is for messages."""
    cdef double seconds
    if PyFloat_Check(span):
        seconds = PyFloat_AS_DOUBLE(span)
    elif PyIndex_Check(span):
        span = PyNumber_Index(span)
        if span > 9_000_000_000:
            return NEVER
        seconds = -1.0 if span < 0 else span
    else:
        what = "None or seconds" if name == "timeout" else "seconds"
        raise TypeError(f"{name} must be {what} as int or float, not {type(span).__name__}")
    if seconds != seconds:
        raise ValueError(f"{name} must not be NaN")
    if seconds < 0:
        raise ValueError(f"{name} must not be negative: {span}")
    seconds = ceil(seconds * SECOND)
    return <int64_t>seconds if seconds < 9.2e18 else NEVER


cdef inline int64_t parse_seconds(object timeout) except -1:
    """The nanoseconds of a timeout in seconds."""
    return parse_span(timeout, "timeout")


cdef inline int64_t parse_instant(object instant) except -1:
    """An instant of time.monotonic() as one of now(), rounded up; what lies before its beginning is that."""
    if (PyFloat_Check(instant) or PyIndex_Check(instant)) and instant < 0:
        return 0
    return parse_span(instant, "instant")


cdef inline int64_t parse_timeout(object timeout) except -1:
    """The nanoseconds of a `timeout=` argument: None = NEVER."""
    return NEVER if timeout is None else parse_seconds(timeout)


cdef inline int64_t deadline_after(int64_t timeout) noexcept nogil:
    """The instant at which a wait of `timeout` nanoseconds that begins now is over."""
    if timeout == NEVER:
        return NEVER
    cdef int64_t begin = now()
    return begin + timeout if timeout < NEVER - begin else NEVER
