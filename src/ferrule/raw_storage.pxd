"""Storage: the counted memory under Bytes, BytesMut and the views of both. No Python code, and no locks.

A storage is memory of our own, counted by `handles`, or memory of another object. The latter is counted by the
references to its `owner`, so that the collector can see who has it: each handle is then one of those.

Memory of our own follows the storage in one block. Whoever has the only handle may write all of it and move it; others
write only where they have been given a part that is nobody else's.
"""
from cpython.object cimport PyObject

from ferrule._core.atomics cimport Shared, acq_rel, acquire, relaxed
from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from ferrule._core.owned cimport drop, retain

cdef extern from "Python.h":
    const size_t PY_SSIZE_T_MAX

cdef enum:
    HEAD = 48               # a storage, rounded up so that the memory behind it is aligned for any type
    LEAST_WIDTH = 10        # see original_width()
    MOST_WIDTH = 17

cdef struct Storage:
    Shared[Py_ssize_t] handles  # of memory of our own: slices, halves, views of spare memory
    char* data              # constant but for who has the only handle, as is the next
    size_t capacity
    PyObject* owner         # constant: NULL for memory of our own
    int width               # constant: of the first capacity, original_width()
    bint writable           # constant: it is somebody else's, who may write it
    bint tracked            # constant: the owner may be part of a cycle, so the collector must know the handles


cdef inline Storage* new_storage(size_t capacity, int width) noexcept nogil:
    """Memory of our own with one handle; NULL without memory."""
    cdef Storage* storage
    if capacity > PY_SSIZE_T_MAX - HEAD:
        return NULL
    storage = <Storage*>PyMem_Malloc(HEAD + capacity)
    if storage == NULL:
        return NULL
    storage.handles.store(1, relaxed)
    storage.data = <char*>storage + HEAD
    storage.capacity = capacity
    storage.owner = NULL
    storage.width = width
    storage.writable = False
    storage.tracked = False
    return storage


cdef inline Storage* resize_storage(Storage* storage, size_t capacity) noexcept nogil:
    """The same with another capacity, for who has the only handle; NULL without memory, and nothing has changed."""
    if capacity > PY_SSIZE_T_MAX - HEAD:
        return NULL
    storage = <Storage*>PyMem_Realloc(storage, HEAD + capacity)
    if storage != NULL:
        storage.data = <char*>storage + HEAD
        storage.capacity = capacity
    return storage


cdef inline void hold(Storage* storage) noexcept nogil:
    """One handle more, for who has one."""
    if storage.owner != NULL:
        retain(storage.owner)
    else:
        # Relaxed: whoever passes the handle on to another thread orders that.
        storage.handles.fetch_add(1, relaxed)


cdef inline void let_go_own(Storage* storage) noexcept nogil:
    """One handle less, of memory of our own or NULL."""
    # Release: what was done with this handle comes before the memory is free or another's alone. Acquire: after it.
    if storage != NULL and storage.handles.fetch_add(-1, acq_rel) == 1:
        PyMem_Free(storage)


cdef inline void let_go(Storage* storage) noexcept:
    """One handle less, of any storage or NULL; may end the owner, so with nothing held."""
    if storage != NULL and storage.owner != NULL:
        drop(storage.owner)
    else:
        let_go_own(storage)


cdef inline bint is_only_handle(Storage* storage) noexcept nogil:
    """Whether who asks, having a handle of memory of our own, has the only one. Then nobody can get another."""
    # Acquire pairs with the release in let_go_own().
    return storage.handles.load(acquire) == 1


# --- the capacity arithmetic of the Rust crate `bytes` ---------------------------------------------------------------

cdef inline int original_width(size_t capacity) noexcept nogil:
    """The class of a first capacity: 0 below 1 KiB, 1 below 2 KiB, ..., 7 from 64 KiB."""
    cdef int width = 0
    capacity >>= LEAST_WIDTH
    while capacity and width < MOST_WIDTH - LEAST_WIDTH:
        capacity >>= 1
        width += 1
    return width


cdef inline size_t original_capacity(int width) noexcept nogil:
    """What a handle that moves on to new memory gets at least: the first capacity, rounded down, if not small."""
    return <size_t>1 << (width + LEAST_WIDTH - 1) if width else 0


cdef inline size_t grown_capacity(size_t capacity, size_t needed) noexcept nogil:
    """The capacity of a storage that grows in place: Vec's, twice as much, or what is needed, or 8."""
    return max(max(2 * capacity, needed), <size_t>8)
