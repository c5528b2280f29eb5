from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from ferrule._core.atomics cimport Shared
from ferrule._core.latch cimport Latch
from ferrule._core.parking cimport Node, Place, Waiter, WaitQueue, WakeList


cdef struct Slot:               # a place in a pool; see pool.pyx
    PyObject* object            # owned; NULL: blank, its object is being made or has been destroyed
    int64_t created             # an instant of now(); with _counts, as the next
    int64_t returned
    uint64_t uses               # how often the object has been leased
    bint surplus                # not one of the pool's: its object came from acquire_or()
    bint leaves                 # its object is being destroyed, or about to be, and it will be freed
    uint64_t generation         # of the process in which it was made
    Slot* newer                 # among the idle ones, by when they were given back
    Slot* older


cdef struct Figures:            # a pool at one moment
    Py_ssize_t idle
    Py_ssize_t size
    Py_ssize_t leaving          # of those
    Py_ssize_t surplus
    Py_ssize_t max_size
    bint closed
    uint64_t created
    uint64_t reused
    uint64_t waits
    int64_t waited              # nanoseconds
    uint64_t timeouts
    uint64_t discarded


cdef class Pool:
    # constant
    cdef object _create
    cdef object _reset
    cdef object _validate
    cdef object _destroy
    cdef object _on_event
    cdef object _create_timeout         # seconds or None, as the next two
    cdef object _validate_timeout
    cdef object _reap_every
    cdef int64_t _idle_timeout          # nanoseconds or NEVER, as the next two
    cdef int64_t _lifetime
    cdef int64_t _wait_timeout
    cdef uint64_t _max_uses             # 0: no limit
    cdef Py_ssize_t _min_size
    cdef bint _oldest_first
    cdef bint _looks                    # at an object before it is leased
    cdef bint _acts                     # on an object before it is idle again
    cdef bint _counts                   # how old objects are
    cdef bint _debug
    # what is known of hooks: whether they have given awaitables
    cdef Shared[int] _create_waits
    cdef Shared[int] _validate_waits
    # the event loop that an async hook has bound the pool to, or NULL; owned, set under the latch
    cdef Shared[PyObject*] _loop
    cdef object _upkeep                 # what looks after the pool every reap_every seconds
    cdef set _tasks                     # that end leases which nobody waits for; in the pool's loop
    # under the latch
    cdef Latch _latch
    cdef Slot* _newest                  # idle
    cdef Slot* _oldest
    cdef Figures _figures
    cdef WaitQueue _queue               # who waits for an object
    cdef WaitQueue _closers             # who waits for the last lease to end
    cdef uint64_t _generation           # what the pool had in an older one is the parent's
    cdef object __weakref__

    cdef void _refresh(self) noexcept nogil
    cdef void _push_idle(self, Slot* slot) noexcept nogil
    cdef void _unlink_idle(self, Slot* slot) noexcept nogil
    cdef bint _hand(self, Slot* slot, WakeList* woken) noexcept nogil
    cdef void _put(self, Slot* slot, WakeList* woken) noexcept nogil
    cdef void _vacate(self, Slot* slot, WakeList* woken) noexcept nogil
    cdef void _mark(self, Slot* slot, bint leaves) noexcept nogil
    cdef bint _wants(self, Slot* slot) noexcept nogil
    cdef Py_ssize_t _staying(self) noexcept nogil
    cdef int _new_slot(self, _Lease lease) noexcept nogil
    cdef void _hold(self, _Lease lease) noexcept nogil
    cdef void _end_wait(self, _Lease lease) noexcept nogil
    cdef int _take_locked(self, _Lease lease, Node* node, Place place) noexcept nogil
    cdef int _take_room_locked(self, _Lease lease, Py_ssize_t most) noexcept nogil
    cdef int _take_surplus_locked(self, _Lease lease) noexcept nogil
    cdef bint _take_idle_locked(self, _Lease lease, Py_ssize_t most, int64_t instant) noexcept nogil
    cdef void _exchange_locked(self, _Lease lease, WakeList* woken) noexcept nogil
    cdef void _hold_locked(self, _Lease lease) noexcept nogil
    cdef int _stage_locked(self, _Lease lease) noexcept nogil
    cdef PyObject* _value_locked(self, _Lease lease) noexcept nogil
    cdef int _end_locked(self, _Lease lease, bint gives_back, WakeList* woken) noexcept nogil
    cdef PyObject* _detach_locked(self, _Lease lease, WakeList* woken) noexcept nogil
    cdef int _attach_locked(self, _Lease lease, PyObject* object, int64_t instant, WakeList* woken) noexcept nogil
    cdef bint _put_back_locked(self, _Lease lease, int64_t instant, WakeList* woken) noexcept nogil
    cdef void _fill_locked(self, _Lease lease, PyObject* object, bint made) noexcept nogil
    cdef void _restore_locked(self, _Lease lease, PyObject* object) noexcept nogil
    cdef bint _wants_locked(self, _Lease lease) noexcept nogil
    cdef void _leave_locked(self, _Lease lease) noexcept nogil
    cdef PyObject* _take_object_locked(self, _Lease lease, bint discards) noexcept nogil
    cdef PyObject* _vacate_locked(self, _Lease lease, WakeList* woken) noexcept nogil
    cdef bint _abandon_locked(self, WaitQueue* queue, Waiter* waiter) noexcept nogil
    cdef void _pass_on_locked(self, Waiter* waiter, int how, WakeList* woken) noexcept nogil
    cdef int _await_end_locked(self, Waiter* waiter, Place place) noexcept nogil
    cdef void _close_locked(self, WakeList* woken) noexcept nogil
    cdef void _resize_locked(self, Py_ssize_t most, WakeList* woken) noexcept nogil
    cdef Py_ssize_t _look_locked(self, Figures* found, bint counts) noexcept nogil
    cdef void _count_timeout_locked(self, _Lease lease) noexcept nogil
    cdef PyObject* _bind_locked(self, PyObject* loop) noexcept nogil


cdef class AsyncPool:
    cdef Pool _pool


cdef class _Lease:
    cdef Pool _pool                     # constant
    cdef Slot* _slot                    # under the pool's latch once it is HELD; before, its maker's or the queue's
    cdef int _state                     # a Stage; likewise
    cdef int64_t _since                 # when it began to wait for an object, or 0
    cdef bint _refuses_to_wait          # for a hook that gives an awaitable
    cdef bint _finalized
    cdef object _stack                  # where it was taken, with debug
