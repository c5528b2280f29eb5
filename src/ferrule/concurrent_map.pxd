"""The shards of ConcurrentMap and ConcurrentSet, and the holds of entries; what they mean is in concurrent_map.pyx."""
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from ferrule._core.epoch cimport Limbo, Readers
from ferrule._core.latch cimport Latch
from ferrule._core.parking cimport WaitQueue
from ferrule.raw_table cimport Item, Slot, Tables


cdef struct Hold:           # the exclusive right to the keys of one hash; all fields under the latch of its shard
    WaitQueue queue         # who waits for it; the first field: a queue leads to its hold
    uint64_t hash
    uint64_t thread         # the owner, while there are entries
    PyObject* context       # of a task; NULL for a thread
    uint64_t taken          # a number of its own for the last time that an entry came into force
    PyObject* entries       # a list of Entry objects, linked by _next; NULL: the hold is free, and kept for who waits

cdef struct Shard:          # a part of the hashes; all fields under the latch, but for what readers look at
    # What readers look at, in a cache line that a writer who only replaces a value does not write to.
    Readers readers
    Tables tables
    Latch latch
    Limbo limbo             # what was replaced or removed while somebody was reading
    Tables holds            # by hash, in the same kind of table: a slot's key is a Hold*
    uint64_t taken          # how often an entry came into force
    size_t popped           # the slot behind the last one that popitem() took


cdef class _Sharded:
    cdef char* _shards              # constant: the first, each at its own cache lines
    cdef int _bits                  # constant: there are 1 << _bits shards
    cdef object __weakref__
    cdef object _flights            # of a map, once it needs them; set once, in a critical section


cdef class Entry:
    cdef _Sharded _map              # constant, as the next three
    cdef object _key                # as it was given
    cdef uint64_t _hash             # a task's entry: from its first step on, as the next two
    cdef Shard* _shard
    cdef object _context            # of the task that is the owner: the hold borrows it
    cdef Hold* _hold                # under the latch; NULL: not in force
    cdef PyObject* _next            # under the latch: the next entry of the same hold
    cdef PyObject* _stored          # under the latch, set once: a key object in the map that is equal to _key
