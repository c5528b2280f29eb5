"""The object that every async method returns; see coroutine.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from ferrule._core.atomics cimport Shared
from ferrule._core.latch cimport Latch
from ferrule._core.parking cimport Mailbox, Operation, Waiter


cdef class Suspension:          # by whoever owns the coroutine (RUNNING)
    cdef object loop
    cdef Mailbox mailbox
    cdef object future          # the one the driver waits for; replaced at each round, in a critical section
    cdef object raised          # thrown into an operation that insists; raised when it is done
    cdef object context         # the waiter's, where its item has none; constant


cdef class Alarms:
    cdef object _loop
    cdef object _timer          # the loop's thread's, as the next; calls at _due
    cdef int64_t _due           # an instant of now(), or NEVER
    cdef Latch _latch
    cdef PyObject** _heap       # under the latch, as the next two: coroutines, a reference each; from 1 on
    cdef Py_ssize_t _count
    cdef Py_ssize_t _room

    cdef void _put(self, Py_ssize_t place, PyObject* coroutine) noexcept nogil
    cdef void _sift_up(self, Py_ssize_t place, PyObject* coroutine) noexcept nogil
    cdef void _sift_down(self, Py_ssize_t place, PyObject* coroutine) noexcept nogil
    cdef PyObject* _take(self, Py_ssize_t place) noexcept nogil
    cdef bint _set_locked(self, PyObject* coroutine, int64_t instant) noexcept nogil
    cdef PyObject* _remove_locked(self, PyObject* coroutine) noexcept nogil
    cdef PyObject* _pop_due_locked(self, int64_t instant) noexcept nogil
    cdef int64_t _earliest_locked(self) noexcept nogil
    cdef int _see_to_timer(self) except -1


cdef class Coroutine:
    cdef Waiter _waiter
    cdef Shared[int] _state     # which transition is whose: coroutine.pyx
    cdef Shared[int] _expired   # the deadline has passed
    cdef Py_ssize_t _alarm      # its place among the loop's Alarms, or 0; under their latch, as the next
    cdef int64_t _alarm_at      # the instant that was set last, or 0; by the owner
    cdef Shared[int] _missed    # a delivery came while another thread had the object; see _resolve()
    cdef Shared[int] _keeps_item    # `async with` on this object: the item outlives the operation
    cdef Suspension _suspension     # replaced by the owner, in a critical section; read by others in one
    cdef object _rest               # the owner's: the coroutine that does what is left

    cdef str _name(self)


cdef void expire(Coroutine self) noexcept
cdef Coroutine new_coroutine(const Operation* operation, object target, PyObject* item, int64_t timeout)
