"""Exceptions at the border between C slots, which set one and return, and Cython code, which raises."""

cdef extern from *:
    """
    #ifndef FERRULE_RAISED
    #define FERRULE_RAISED
    namespace ferrule {
    class KeepRaised {
        PyObject *type_ = nullptr, *value_ = nullptr, *traceback_ = nullptr;
        bool aside_ = false;
    public:
        KeepRaised() = default;
        ~KeepRaised() { if (aside_) PyErr_Restore(type_, value_, traceback_); }
        void set_aside() noexcept { PyErr_Fetch(&type_, &value_, &traceback_); aside_ = true; }
        KeepRaised(const KeepRaised&) = delete;
        KeepRaised& operator=(const KeepRaised&) = delete;
    };
    }
    #endif
    """
    # A local variable: set_aside() puts aside the exception that is set, until the function ends.
    cdef cppclass KeepRaised "ferrule::KeepRaised":
        KeepRaised() noexcept
        void set_aside() noexcept

cdef extern from "Python.h":
    void PyErr_SetObject(object, object) noexcept
    bint is_subclass "PyType_IsSubtype"(type, type) noexcept


cdef inline void set_raised(object error) noexcept:
    """Sets an exception instance as the one being raised, for a caller that is told by a return value."""
    PyErr_SetObject(type(error), error)


cdef inline int reraise() except -1:
    """Raises the exception that is set, in Cython's sense: `try: reraise() except ...` catches it."""
    return -1


cdef inline bint ends_by_force(object kind) noexcept:
    """Whether what ended a block, as `__exit__` is told, is no Exception: a cancellation, an interrupt."""
    return kind is not None and isinstance(kind, type) and not is_subclass(<type>kind, <type>Exception)
