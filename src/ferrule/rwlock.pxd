"""The fields of RWLock and its guards; what they mean is in rwlock.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from ferrule._core.atomics cimport Shared
from ferrule._core.latch cimport Latch
from ferrule._core.parking cimport Place, Waiter, WaitQueue, WakeList


cdef class RWLock:
    cdef Shared[uint32_t] _word         # see rwlock.pyx; with PARKED set it changes only under the latch
    cdef Latch _latch
    cdef uint32_t _holding_back         # under the latch: waiters in _queue that newcomers must not pass
    cdef Shared[PyObject*] _exclusive   # borrowed: the first guard of the write or upgradable hold; see rwlock.pyx
    cdef WaitQueue _queue               # under the latch
    cdef WaitQueue _upgrades            # under the latch: who has the upgradable hold and waits for readers to leave
    # Constant: by the address of a hold's first guard, who took it; None: no debug.
    cdef dict _records
    cdef object _value                  # an owned slot: under the latch by writers, read beside a hold
    cdef object __weakref__

    cdef void _refresh(self) noexcept nogil
    cdef uint32_t _with_empty_queues(self) noexcept nogil
    cdef bint _admits(self, uint32_t word, uint32_t hold, bint passes) noexcept nogil
    cdef bint _waits_for_itself(self, Waiter* waiter) noexcept nogil
    cdef bint _take_now_locked(self, PyObject* guard, uint32_t hold, bint passes) noexcept nogil
    cdef int _take_or_link_locked(
        self, Waiter* waiter, Place place, bint passes, WakeList* woken
    ) noexcept nogil
    cdef int _upgrade_or_link_locked(self, Waiter* waiter, Place place) noexcept nogil
    cdef void _own(self, PyObject* guard) noexcept nogil
    cdef bint _in_force(self, PyObject* guard) noexcept nogil
    cdef bint _in_force_locked(self, PyObject* guard) noexcept nogil
    cdef void _let_go(self, uint32_t hold, bint fair, WakeList* woken) noexcept nogil
    cdef void _admit(self, bint fair, WakeList* woken) noexcept nogil
    cdef void _stop_reading_locked(self, bint fair, WakeList* woken) noexcept nogil
    cdef int _release_locked(
        self, PyObject* guard, bint whole, bint fair, bint forgotten, WakeList* woken
    ) noexcept nogil
    cdef int _convert_locked(self, PyObject* guard, PyObject* successor, WakeList* woken) noexcept nogil
    cdef void _restore_locked(self, PyObject* guard, WakeList* woken) noexcept nogil
    cdef bint _abandon_locked(self, Waiter* waiter, WakeList* woken) noexcept nogil
    cdef void _pass_on_locked(self, Waiter* waiter, int how, WakeList* woken) noexcept nogil
    cdef PyObject* _get_value_locked(self, PyObject* guard) noexcept nogil
    cdef PyObject* _set_value_locked(self, PyObject* guard, PyObject* value) noexcept nogil
    cdef uint64_t _holder_locked(self, PyObject** context) noexcept nogil
    cdef Py_ssize_t _copy_claims_locked(self, int* found, Py_ssize_t room) noexcept nogil


cdef class AsyncRWLock:
    cdef RWLock _lock


cdef class _Guard:
    cdef RWLock _lock                   # constant
    cdef _Guard _first                  # constant: the guard that the hold began with; None if it is this one
    cdef _Guard _before                 # of a guard that an upgrade is to give: the one to be spent
    cdef PyObject* _context             # constant: the task that took the hold, NULL for a thread
    cdef uint64_t _thread               # constant: the thread that took the hold
    cdef uint32_t _hold                 # constant: ONE_READER, UPGRADABLE or WRITER
    cdef Latch _latch                   # of a first guard: held while the value is read, so that the hold cannot end
    cdef Shared[int] _reading           # of a first guard: the hold is in force and to read; cleared under its latch
    cdef PyObject* _tip                 # of a first guard, under the lock's latch: the guard in force; see rwlock.pyx
    cdef Shared[int] _away              # between the two ends of unlocked() or upgraded()
