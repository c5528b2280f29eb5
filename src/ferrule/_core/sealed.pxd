"""Classes whose instances come from the library only: what a caller could build would have empty fields."""
from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        PyObject* (*tp_new)(PyTypeObject*, PyObject*, PyObject*) noexcept
        void* tp_vectorcall
        const char* tp_name
    ctypedef PyObject* (*newfunc)(PyTypeObject*, PyObject*, PyObject*) noexcept
    void* PyErr_Format(object, const char*, ...) noexcept


cdef inline PyObject* _refuse(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    PyErr_Format(TypeError, "cannot create '%s' instances", cls.tp_name)
    return NULL


cdef inline void seal(type cls) noexcept:
    """Makes every construction from Python a TypeError."""
    replace_new(cls, _refuse)


cdef inline newfunc new_slot(type cls) noexcept:
    return (<PyTypeObject*>cls).tp_new


cdef inline void replace_new(type cls, newfunc new) noexcept:
    """Makes `new` what Python calls to construct; Cython's own `cls.__new__(cls)` goes on making empty instances."""
    (<PyTypeObject*>cls).tp_new = new
    (<PyTypeObject*>cls).tp_vectorcall = NULL       # Cython's own constructor, which would be called before tp_new
