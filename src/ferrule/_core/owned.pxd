"""Owned PyObject* slots: fields that hold one reference and are read and written under a latch.

Inside a locked section references are taken and moved, never dropped: what a section displaces it returns, and the
caller drops it with nothing held, because a destructor may call back.
"""
from cpython.object cimport PyObject

cdef extern from "Python.h":
    void retain "Py_INCREF"(PyObject*) noexcept nogil    # allowed under a latch
    void drop "Py_XDECREF"(PyObject*) noexcept           # never under a latch
    void release_shared "Py_DECREF"(PyObject*) noexcept nogil    # under a latch: another reference is sure to remain

cdef extern from *:
    """
    #define FERRULE_MOVE(reference) (reference)
    """
    # The reference becomes that of the object it gives.
    object move "FERRULE_MOVE"(PyObject* reference)


cdef inline PyObject* take(PyObject* slot) noexcept nogil:
    """A new reference to what the slot holds."""
    retain(slot)
    return slot


cdef inline PyObject* swap(PyObject** slot, PyObject* value) noexcept nogil:
    """Puts `value`, whose reference moves into the slot, and moves the displaced reference to the caller."""
    cdef PyObject* displaced = slot[0]
    slot[0] = value
    return displaced
