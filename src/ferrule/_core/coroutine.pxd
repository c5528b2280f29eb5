"""The object that every async method returns; see coroutine.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from ferrule._core.atomics cimport Shared
from ferrule._core.parking cimport Mailbox, Operation, Waiter


cdef class Suspension:          # by whoever owns the coroutine (RUNNING)
    cdef object loop
    cdef Mailbox mailbox
    cdef object future          # the one the driver waits for; replaced at each round, in a critical section
    cdef object timer           # calls back at the deadline, or None
    cdef object raised          # thrown into an operation that insists; raised when it is done
    cdef object context         # the waiter's, where its item has none; constant


cdef class Coroutine:
    cdef Waiter _waiter
    cdef Shared[int] _state     # which transition is whose: coroutine.pyx
    cdef Shared[int] _expired   # the timer has called
    cdef Shared[int] _missed    # a delivery came while another thread had the object; see _resolve()
    cdef Shared[int] _keeps_item    # `async with` on this object: the item outlives the operation
    cdef Suspension _suspension     # replaced by the owner, in a critical section; read by others in one

    cdef str _name(self)


cdef Coroutine new_coroutine(const Operation* operation, object target, PyObject* item, int64_t timeout)
