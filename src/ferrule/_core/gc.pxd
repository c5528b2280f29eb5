"""Lets the collector see references that Cython does not know of: raw PyObject* fields, queues, tagged words.

A class whose references are partly raw replaces its type's tp_traverse and tp_clear at module initialisation and calls
the ones that Cython wrote from its own. It needs one `object` field, so that Cython writes them.
"""
from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef int (*inquiry)(PyObject*) noexcept
    ctypedef void (*destructor)(PyObject*) noexcept
    const unsigned long Py_TPFLAGS_HAVE_GC
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse
        inquiry tp_clear
        destructor tp_dealloc
        destructor tp_finalize
        void (*tp_free)(void*) noexcept
        unsigned long tp_flags
    void PyType_Modified(PyTypeObject*) noexcept
    void PyObject_GC_UnTrack(PyObject*) noexcept
    # At the beginning of a destructor: calls the finalizer. -1: that has brought the object back to life.
    int finalize_dying "PyObject_CallFinalizerFromDealloc"(PyObject*) noexcept
    PyTypeObject* Py_TYPE(PyObject*) noexcept
    void delete_object "PyObject_GC_Del"(void*) noexcept     # the end of a destructor, past every free list


cdef inline int visit_raw(PyObject* slot, visitproc visit, void* arg) noexcept:
    """Py_VISIT as a function: 0, or what stops the traversal."""
    return visit(slot, arg) if slot != NULL else 0


cdef inline traverseproc traverse_slot(type cls) noexcept:
    return (<PyTypeObject*>cls).tp_traverse


cdef inline inquiry clear_slot(type cls) noexcept:
    return (<PyTypeObject*>cls).tp_clear


cdef inline void replace_gc_slots(type cls, traverseproc traverse, inquiry clear) noexcept:
    """Makes the collector use `traverse` and `clear`; NULL leaves a slot as it is."""
    cdef PyTypeObject* slots = <PyTypeObject*>cls
    if traverse != NULL:
        slots.tp_traverse = traverse
    if clear != NULL:
        slots.tp_clear = clear
    PyType_Modified(slots)


cdef inline destructor dealloc_slot(type cls) noexcept:
    return (<PyTypeObject*>cls).tp_dealloc


cdef inline void replace_dealloc(type cls, destructor dealloc) noexcept:
    (<PyTypeObject*>cls).tp_dealloc = dealloc


cdef inline void inherit_dealloc(type cls, type base) noexcept:
    """For a class without fields or destructor of its own: its end is its base's, not a detour on the way there."""
    (<PyTypeObject*>cls).tp_dealloc = (<PyTypeObject*>base).tp_dealloc


cdef inline void set_finalizer(type cls, destructor finalize) noexcept:
    """What the collector calls before it takes any object of a garbage cycle apart (PEP 442)."""
    (<PyTypeObject*>cls).tp_finalize = finalize


cdef inline void make_collectable(type cls, traverseproc traverse, destructor dealloc) noexcept:
    """For a recycled class whose only references are raw: the collector sees what `traverse` visits.

    Before the class has its first object. `dealloc` has to begin with PyObject_GC_UnTrack() where the
    collector may know the object.
    """
    cdef PyTypeObject* slots = <PyTypeObject*>cls
    slots.tp_flags |= Py_TPFLAGS_HAVE_GC
    slots.tp_traverse = traverse
    slots.tp_dealloc = dealloc
    PyType_Modified(slots)


cdef inline void free_object(PyObject* dead) noexcept:
    """The end of a destructor."""
    Py_TYPE(dead).tp_free(dead)
