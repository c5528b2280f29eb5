"""The fields of Mutex and its guards; what they mean is in mutex.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t, uintptr_t

from ferrule._core.atomics cimport Shared
from ferrule._core.latch cimport Latch
from ferrule._core.parking cimport Node, Outcome, Place, Waiter, WaitQueue, WakeList


cdef class Mutex:
    cdef Shared[uintptr_t] _word        # see mutex.pyx; with PARKED or ENTERED set it changes only under the latch
    cdef Latch _latch
    cdef WaitQueue _queue               # under the latch
    cdef PyObject* _open                # under the latch: a list of guards, linked by _next_open, one reference each
    cdef object _value                  # an owned slot under the latch
    cdef bint _fair                     # constant
    cdef object __weakref__

    cdef bint _try_to_take(self, uintptr_t token) noexcept
    cdef bint _take_if_free(self, uintptr_t token) noexcept nogil
    cdef Outcome _take_or_link_locked(self, Waiter* waiter, Place place, bint checks) noexcept nogil
    cdef void _let_go(self, bint fair, WakeList* woken) noexcept nogil
    cdef bint _release_locked(self, PyObject* guard, bint fair, WakeList* woken) noexcept nogil
    cdef bint _leave_locked(
        self, uint64_t thread, PyObject* context, WakeList* woken, PyObject** dropped
    ) noexcept nogil
    cdef bint _close_locked(self, PyObject* guard) noexcept nogil
    cdef bint _abandon_locked(self, Waiter* waiter) noexcept nogil
    cdef void _pass_on_locked(self, Waiter* waiter, int how, WakeList* woken) noexcept nogil
    cdef uint64_t _holder_locked(self, PyObject** context) noexcept nogil
    cdef PyObject* _entered_locked(self) noexcept nogil
    cdef PyObject* _get_value_locked(self, PyObject* guard) noexcept nogil
    cdef PyObject* _set_value_locked(self, PyObject* guard, PyObject* value) noexcept nogil
    cdef Py_ssize_t _copy_claims_locked(self, WaitQueue* queue, int* found, Py_ssize_t room) noexcept nogil


cdef class AsyncMutex:
    cdef Mutex _mutex


cdef class _Guard:
    cdef Mutex _mutex                   # constant
    cdef uint64_t _thread               # constant: the owner who took the hold
    cdef PyObject* _context             # constant while the guard is in the word or in the mutex's list of open guards
    cdef Shared[int] _lent              # between the two ends of unlocked(), or in wait() of a Condition
    cdef PyObject* _prev_open           # under the mutex's latch, as the next
    cdef PyObject* _next_open

    cdef bint _in_force(self) noexcept
