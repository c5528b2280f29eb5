"""The queue of a channel's items: blocks of references, linked. No Python code, and no locks.

An item stays where it was put until it is taken: nothing is ever moved. A block is given back when its last item has
been taken, but for one that is kept for the next to come, so a queue of steady length allocates nothing, and a burst
leaves nothing behind. The first block has room for a few items, each further one for twice as many, up to a limit.

Everything here is called under the latch of the channel that has the queue.
"""
from cpython.object cimport PyObject

from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc

cdef enum:
    FEWEST = 14     # items in the first block
    MOST = 510      # items in any block

cdef struct Block:
    Block* next
    size_t size             # how many items fit
    PyObject* items[1]      # of that size

cdef struct Items:          # all zero is an empty queue
    Block* head             # where the oldest item is; NULL before the first item
    Block* tail             # where the next one goes
    Block* spare            # an empty block, or NULL
    size_t first            # the oldest item's place in `head`
    size_t end              # the next item's place in `tail`
    size_t count


cdef inline bint make_room(Items* items) noexcept nogil:
    """Sees to it that one more item fits; False without memory."""
    cdef Block* block
    cdef size_t size
    if items.tail != NULL and items.end < items.tail.size:
        return True
    block = items.spare
    items.spare = NULL
    if block == NULL:
        size = FEWEST if items.tail == NULL else min(2 * items.tail.size + 2, <size_t>MOST)
        block = <Block*>PyMem_Malloc(sizeof(Block) + (size - 1) * sizeof(PyObject*))
        if block == NULL:
            return False
        block.size = size
    block.next = NULL
    if items.tail == NULL:
        items.head = block
        items.first = 0
    else:
        items.tail.next = block
    items.tail = block
    items.end = 0
    return True


cdef inline void push(Items* items, PyObject* item) noexcept nogil:
    """Puts an item behind the others, where there is room; the reference moves in."""
    items.tail.items[items.end] = item
    items.end += 1
    items.count += 1


cdef inline PyObject* pop(Items* items) noexcept nogil:
    """Takes the oldest item; there is one. The reference moves out."""
    cdef PyObject* item = items.head.items[items.first]
    items.first += 1
    items.count -= 1
    if items.first == items.head.size or items.count == 0:
        leave_block(items)
    return item


cdef inline void leave_block(Items* items) noexcept nogil:
    """The last item of the head block has been taken, or the last of all."""
    cdef Block* block = items.head
    if block == items.tail:             # empty: it is used again from its beginning
        items.first = items.end = 0
        if items.spare != NULL:
            # The older of the two stays: behind the newest block the allocator can give memory back to the system.
            items.head = items.tail = items.spare
            items.spare = NULL
            PyMem_Free(block)
        return
    items.head = block.next
    items.first = 0
    if items.spare == NULL or items.spare.size < block.size:
        items.spare, block = block, items.spare
    if block != NULL:
        PyMem_Free(block)


cdef inline void free_blocks(Items* items) noexcept nogil:
    """Of a queue without items."""
    PyMem_Free(items.head)
    PyMem_Free(items.spare)
    items.head = items.tail = items.spare = NULL
