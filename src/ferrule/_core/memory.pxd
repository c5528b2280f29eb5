"""Memory from the interpreter's allocator, for what is taken and given back under a latch.

The caller has a thread state. "nogil" says only that nothing in Python is called, as the latches ask.
"""

cdef extern from "Python.h":
    void* PyMem_Malloc(size_t) noexcept nogil
    void* PyMem_Calloc(size_t, size_t) noexcept nogil
    void* PyMem_Realloc(void*, size_t) noexcept nogil
    void PyMem_Free(void*) noexcept nogil
