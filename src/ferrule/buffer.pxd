"""The fields of Bytes, BytesMut and Reader; what they mean is in buffer.pyx."""
from cpython.object cimport PyObject

from ferrule._core.atomics cimport Shared
from ferrule._core.latch cimport Latch
from ferrule.raw_storage cimport Storage

cdef enum Cutting:
    TAKEN
    SHORT           # there are fewer bytes
    PINNED          # an export of the memory forbids it
    NO_MEMORY

cdef struct Cut:                # bytes that were taken, and the handle of their memory
    Storage* storage
    const char* data
    Py_ssize_t length
    const char* after           # where the cursor is now

cdef enum Room:
    ROOM
    NO_ROOM         # not without new memory
    FIXED           # an export forbids that the memory moves
    AWAY            # another thread is joining it to another one: a few instructions later there is an answer
    OUT_OF_MEMORY

cdef struct Span:               # what a BytesMut has of a storage
    Storage* storage            # its handle, or NULL
    char* at
    char* end
    char* limit


cdef struct Piece:              # the memory of one buffer of a Reader, which keeps it alive
    Storage* storage
    char* data
    size_t length


cdef class _Owner:
    cdef Storage storage            # constant; its owner is this object
    cdef Py_buffer view             # constant: the export of the object whose memory it is
    cdef object _exporter           # constant: that object


cdef class Bytes:                   # constant, all of it; no vtable, for its size
    cdef Storage* _storage          # one handle, or NULL for no bytes
    cdef const char* _data
    cdef Py_ssize_t _length


cdef class _Source:                 # under the latch
    cdef Latch _latch
    cdef char* _at                  # the memory at the cursor
    cdef char* _end                 # behind its last byte
    cdef size_t _rest               # how many bytes there are elsewhere
    cdef bint _tracked              # constant: the collector has to know who has some of them

    cdef bint _straddle(self, char* to, size_t n, bint takes) noexcept nogil
    cdef void _give_back(self, size_t n) noexcept nogil
    cdef Cutting _cut(self, size_t n, Cut* cut) noexcept nogil
    cdef Py_ssize_t _find_end(self, const char* needle, Py_ssize_t size) noexcept nogil


cdef class BytesMut(_Source):       # under the latch
    cdef Storage* _storage          # one handle of memory of our own, or NULL
    cdef char* _limit               # behind the last byte of the capacity
    cdef size_t _spared             # how many bytes behind the end commit() may take in
    cdef size_t _exports            # while there are any, the memory neither moves nor is shared
    cdef bint _away                 # what it had is being joined to another one: it gets no memory until that is done
    cdef object __weakref__


cdef class _Spare:                  # constant
    cdef Storage* _storage
    cdef char* _data
    cdef Py_ssize_t _length


cdef class Writer:
    cdef BytesMut _target           # constant
    cdef Shared[int] _closed


cdef class Reader(_Source):
    cdef tuple _buffers             # an owned slot under the latch: Bytes, none empty; empty when closed
    # under the latch
    cdef Piece* _pieces             # of each buffer
    cdef Py_ssize_t _count          # how many there are; 0 when closed
    cdef Py_ssize_t _index          # the one that the cursor is in
    cdef size_t _total              # the length of all
    cdef Shared[int] _closed
