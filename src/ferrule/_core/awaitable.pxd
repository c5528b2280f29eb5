"""What a user's function gave: a value, or something to await. For those who call functions that may be async."""
from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef struct PyAsyncMethods:
        void* am_await
    ctypedef struct _Type "PyTypeObject":
        PyAsyncMethods* tp_as_async
    _Type* type_of "Py_TYPE"(PyObject*) noexcept
    bint is_generator "PyGen_CheckExact"(object) noexcept
    const int CO_ITERABLE_COROUTINE


cdef inline bint is_awaitable(object value) noexcept:
    cdef PyAsyncMethods* methods = type_of(<PyObject*>value).tp_as_async
    return (methods != NULL and methods.am_await != NULL) or (is_generator(value) and _is_for_await(value))


cdef inline bint _is_for_await(object generator) noexcept:
    """Whether a generator is a coroutine by types.coroutine()."""
    try:
        return generator.gi_code.co_flags & CO_ITERABLE_COROUTINE != 0
    except AttributeError:
        return False


cdef inline bint is_coroutine(object awaitable) except -1:
    """Whether an awaitable is one that is stepped: what is awaited once, and warns if it never is."""
    cls = type(awaitable)
    return hasattr(cls, "send") and hasattr(cls, "throw") and hasattr(cls, "close")


cdef inline int dispose(object awaitable) except -1:
    """Of what will not be awaited: a coroutine is closed, a future cancelled."""
    if is_coroutine(awaitable):
        awaitable.close()
    elif hasattr(awaitable, "_asyncio_future_blocking"):
        awaitable.cancel()
    return 0
