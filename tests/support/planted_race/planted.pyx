# cython: language_level=3, freethreading_compatible=True
"""Faults that a sanitizer must report, to show that it looks: built and run by sanitized.sh alone."""
from libc.stdlib cimport free, malloc

cdef int shared = 0


def race(int count):
    """Writes a plain field that another thread writes too."""
    global shared
    for _ in range(count):
        with nogil:
            shared += 1
    return shared


def overflow(int length):
    """Reads one element past the end of an array."""
    cdef int* array = <int*>malloc(length * sizeof(int))
    cdef int beyond = array[length]
    free(array)
    return beyond
