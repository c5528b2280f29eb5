"""Exceptions at the border between C slots, which set one and return, and Cython code, which raises."""

cdef extern from *:
    """
    #ifndef FERRULE_RAISED
    #define FERRULE_RAISED
    namespace ferrule {
    class KeepRaised {
        PyObject *type_, *value_, *traceback_;
    public:
        KeepRaised() { PyErr_Fetch(&type_, &value_, &traceback_); }
        ~KeepRaised() { PyErr_Restore(type_, value_, traceback_); }
        KeepRaised(const KeepRaised&) = delete;
        KeepRaised& operator=(const KeepRaised&) = delete;
    };
    }
    #endif
    """
    # As a local variable: puts the exception that is set aside, for as long as the function runs.
    cdef cppclass KeepRaised "ferrule::KeepRaised":
        KeepRaised() noexcept

cdef extern from "Python.h":
    void PyErr_SetObject(object, object) noexcept


cdef inline void set_raised(object error) noexcept:
    """Sets an exception instance as the one being raised, for a caller that is told by a return value."""
    PyErr_SetObject(type(error), error)


cdef inline int reraise() except -1:
    """Raises the exception that is set, in Cython's sense: `try: reraise() except ...` catches it."""
    return -1
