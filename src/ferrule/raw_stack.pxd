"""The references of a LIFO or priority queue: one array, used as a stack or as a binary heap. No locks.

The heap is laid out as that of heapq: the children of place n are at 2n + 1 and 2n + 2, and the least is at 0. Unlike
heapq it compares first and moves afterwards: a comparison that raises leaves it as it was, and what moves is moved at
once, where no Python code runs.

What compares is called with the right to change the heap, and no latch held; everything else under the latch of the
queue that has the array.
"""
from cpython.object cimport Py_LT, PyObject, PyObject_RichCompareBool

from ferrule._core.memory cimport PyMem_Free, PyMem_Realloc

cdef enum:
    LEAST = 8       # the room of the smallest array
    DEPTH = 64      # a path through a heap is shorter than that

cdef struct Stack:              # all zero is an empty one
    PyObject** items
    size_t count
    size_t room


cdef inline bint make_place(Stack* stack) noexcept nogil:
    """Sees to it that one more item fits; False without memory."""
    cdef size_t room
    cdef PyObject** items
    if stack.count < stack.room:
        return True
    room = max(2 * stack.room, <size_t>LEAST)
    items = <PyObject**>PyMem_Realloc(stack.items, room * sizeof(PyObject*))
    if items == NULL:
        return False
    stack.items = items
    stack.room = room
    return True


cdef inline void push_last(Stack* stack, PyObject* item) noexcept nogil:
    """Puts an item on the top, where there is a place; the reference moves in."""
    stack.items[stack.count] = item
    stack.count += 1


cdef inline PyObject* pop_last(Stack* stack) noexcept nogil:
    """Takes the item on the top; there is one. The reference moves out. A burst leaves no memory behind."""
    cdef PyObject** items
    stack.count -= 1
    cdef PyObject* item = stack.items[stack.count]
    if stack.room > LEAST and stack.count < stack.room // 4:
        items = <PyObject**>PyMem_Realloc(stack.items, stack.room // 2 * sizeof(PyObject*))
        if items != NULL:
            stack.items = items
            stack.room //= 2
    return item


cdef inline void free_stack(Stack* stack) noexcept nogil:
    """Of a stack without items."""
    PyMem_Free(stack.items)
    stack.items = NULL
    stack.room = 0


# --- the heap --------------------------------------------------------------------------------------------------------

cdef inline int is_less(PyObject* one, PyObject* other) except -1:
    """one < other, with references to both for as long as user code runs."""
    cdef object first = <object>one
    cdef object second = <object>other
    return PyObject_RichCompareBool(first, second, Py_LT)


cdef inline Py_ssize_t place_for(Stack* heap, PyObject* item) except -1:
    """Where a new item belongs on the way from the end to the root. Compares."""
    cdef size_t place = heap.count
    while place > 0 and is_less(item, heap.items[(place - 1) // 2]):
        place = (place - 1) // 2
    return place


cdef inline void insert(Stack* heap, PyObject* item, size_t place) noexcept nogil:
    """Puts an item where place_for() has said, and where there is room; the reference moves in."""
    cdef size_t hole = heap.count
    heap.count += 1
    while hole > place:
        heap.items[hole] = heap.items[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap.items[place] = item


cdef inline int path_for_last(Stack* heap, size_t* path) except -1:
    """The way that the last item will go when the root is taken: to path[n], with n returned. Compares.

    First down along the smaller children to the end, then up: the last item is mostly large.
    """
    cdef size_t left = heap.count - 1
    cdef size_t child
    cdef int depth = 0
    path[0] = 0
    while 2 * path[depth] + 1 < left:
        child = 2 * path[depth] + 1
        if child + 1 < left and not is_less(heap.items[child], heap.items[child + 1]):
            child += 1
        depth += 1
        path[depth] = child
    while depth > 0 and is_less(heap.items[left], heap.items[path[depth]]):
        depth -= 1
    return depth


cdef inline PyObject* take_root(Stack* heap, size_t* path, int depth) noexcept nogil:
    """Takes the least item, and puts the last one where path_for_last() has said. The reference moves out."""
    cdef PyObject* least = heap.items[0]
    cdef PyObject* last = pop_last(heap)
    cdef int step
    if heap.count:
        for step in range(depth):
            heap.items[path[step]] = heap.items[path[step + 1]]
        heap.items[path[depth]] = last
    return least
