"""What a loop in C does now and then that may go on for ever without running Python code."""

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept

cdef enum:
    AT_A_TIME = 1024        # rounds of such a loop before it lets others in


cdef inline int let_others_in() noexcept:
    """Other threads, and signal handlers: -1 with the exception set that one has raised. With nothing held."""
    with nogil:
        pass
    return PyErr_CheckSignals()
