"""The engine of the drop-in queues: one class for all orders, of threads and of tasks.

A queue is its items, three queues of waiters (for an item, for room, for the end of all tasks) and a few numbers, under
one latch. As in a channel nobody is handed an item: one put in gives a waiting getter leave to take one, one taken out
gives a waiting putter leave to put one in, and who cannot use its leave passes it on.

What must run user code to put or get an item cannot do so under a latch. It does so under the queue's mutex, and goes
to the latch for what follows:

    FIFO, LIFO  no user code; no mutex
    HEAP        the least first. Comparisons run under the mutex and say where the item goes; it goes there under the
                latch
    HOOKS       under the mutex the Python methods of the class are called, `_put`, `_get` and so on, on whatever they
                keep the items in. A class that overrides one begins so; any other queue changes to it, for good, when
                somebody looks behind the interface: at `queue`, `mutex`, or one of the conditions.

Latch and mutex are always taken in this order: the mutex, then the latch.

The interfaces and what they promise are those of CPython's queue and asyncio.
"""
import math
import sys
import types
from collections import deque

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ferrule._core.atomics cimport Shared, relaxed
from ferrule._core.coroutine cimport new_coroutine
from ferrule._core.deadline cimport NEVER, parse_seconds
from ferrule._core.gc cimport replace_gc_slots, traverse_slot, traverseproc, visit_raw, visitproc
from ferrule._core.latch cimport Latch
from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc
from ferrule._core.owned cimport drop, move, retain, swap, take
from ferrule._core.parking cimport (
    BUSY,
    CLAIMED,
    DONE,
    FAILED,
    HANDED,
    LINKED,
    TRY,
    Attempt,
    Expire,
    Node,
    Operation,
    Place,
    Result,
    Waiter,
    WaitQueue,
    WakeList,
    claim_all,
    claim_first,
    claims_of,
    copy_claims,
    generation,
    give_up,
    link,
    new_operation,
    owner_thread,
    refresh,
    visit_waiters,
    wait_in_thread,
    wake,
)
from ferrule._core.raised cimport set_raised
from ferrule._core.sealed cimport seal
from ferrule.mutex cimport Mutex
from ferrule.raw_queue cimport Block, Items, free_blocks, make_room, pop, push
from ferrule.raw_stack cimport (
    DEPTH,
    Stack,
    free_stack,
    insert,
    make_place,
    path_for_last,
    place_for,
    pop_last,
    push_last,
    take_root,
)

from ferrule.dropin._errors import Empty, Full, ShutDown

cdef extern from "Python.h":
    PyObject* Py_None

cdef enum Order:
    FIFO
    LIFO
    HEAP
    MOVING                  # to HOOKS, by whoever has the mutex
    HOOKS

cdef enum Answer:           # of a locked section, besides the outcomes of an attempt
    SHUT = 3                # the queue was shut down, and has nothing more to give
    GUARDED                 # it is done under the mutex
    TOO_MANY                # more tasks were said to be done than there were
    NO_MEMORY


# --- the engine ------------------------------------------------------------------------------------------------------

@cython.trashcan(True)
cdef class _Queue:
    """What all queues are."""
    cdef Mutex _mutex                   # constant; None in a SimpleQueue, which has nothing to do under it
    cdef Shared[int] _order             # changed under the latch, and under the mutex
    cdef Shared[Py_ssize_t] _limit      # full at so many items; 0: never. Changed under the latch
    cdef Shared[uint64_t] _inside       # the thread that has the mutex for a call of the queue, or 0
    cdef Shared[uint64_t] _generation   # of the process whose calls may have the mutex
    # all else: under the latch
    cdef Latch _latch
    cdef Items _items                   # FIFO; owned references
    cdef Stack _stack                   # LIFO and HEAP; a heap changes under the mutex, too
    cdef WaitQueue _getting             # who waits for an item
    cdef WaitQueue _putting             # for room
    cdef WaitQueue _joining             # for all tasks to be done
    cdef Py_ssize_t _unfinished
    cdef bint _shut
    cdef PyObject* _bound               # the maxsize as it was given; owned, as the next two
    cdef PyObject* _container           # HOOKS: the attribute `queue`
    cdef PyObject* _conditions          # a tuple of the three, once somebody has asked for one
    cdef object _gc                     # makes the class one that the collector visits

    def __reduce__(self):
        raise TypeError(f"cannot pickle or copy a {type(self).__name__} of ferrule.dropin")

    def _state(self):
        """For tests: who waits for an item, for room, and for all tasks, each as ("thread" | "task", claim)."""
        return {
            "getters": claims_of(self, _copy_getters),
            "putters": claims_of(self, _copy_putters),
            "joiners": claims_of(self, _copy_joiners),
            "order": ("fifo", "lifo", "heap", "moving", "hooks")[self._order.load(relaxed)],
        }

    def __dealloc__(self):
        _drop_all(self)
        drop(self._bound)

    # What a face says of itself.

    cdef bint _may_reenter(self) noexcept:
        """Whether hooks may call the queue again, in the same thread."""
        return False

    cdef object _error(self, int answer, bint gets):
        """The exception for an Answer, or for BUSY where nobody waits."""
        if answer == NO_MEMORY:
            return MemoryError()
        if answer == SHUT:
            return ShutDown()
        return Empty() if gets else Full()

    cdef int _put_by_hooks(self, object item, Node* node, Place place, WakeList* woken) except -1:
        raise NotImplementedError

    cdef object _get_by_hooks(self, int* answer, Node* node, Place place, WakeList* woken):
        raise NotImplementedError

    # Sections under the latch.

    @cython.final
    cdef inline int _put_locked(self, PyObject* item, Node* node, Place place, WakeList* woken) noexcept nogil:
        """Puts the item in: DONE, BUSY, LINKED, or an Answer."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        if self._order.load(relaxed) >= HEAP:
            answer = GUARDED
        elif self._shut:
            answer = SHUT
        elif self._is_full():
            answer = wait_in(&self._putting, node, place)
        elif self._order.load(relaxed) == FIFO:
            if make_room(&self._items):
                retain(item)
                push(&self._items, item)
                self._count_put(woken)
            else:
                answer = NO_MEMORY
        elif make_place(&self._stack):
            retain(item)
            push_last(&self._stack, item)
            self._count_put(woken)
        else:
            answer = NO_MEMORY
        self._latch.unlock()
        return answer

    @cython.final
    cdef inline int _get_locked(self, PyObject** item, Node* node, Place place, WakeList* woken) noexcept nogil:
        """Takes an item, a reference: DONE, BUSY, LINKED, or an Answer."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        if self._order.load(relaxed) >= HEAP:
            answer = GUARDED
        elif self._items.count:
            item[0] = pop(&self._items)
            claim_first(&self._putting, CLAIMED, woken)
        elif self._stack.count:
            item[0] = pop_last(&self._stack)
            claim_first(&self._putting, CLAIMED, woken)
        elif self._shut:
            answer = SHUT
        else:
            answer = wait_in(&self._getting, node, place)
        self._latch.unlock()
        return answer

    @cython.final
    cdef int _admit_locked(self, Node* node, Place place) noexcept nogil:
        """Under the mutex: whether a heap takes one more, DONE; else SHUT, BUSY, LINKED, NO_MEMORY."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        if self._shut:
            answer = SHUT
        elif self._is_full():
            answer = wait_in(&self._putting, node, place)
        elif not make_place(&self._stack):
            answer = NO_MEMORY
        self._latch.unlock()
        return answer

    @cython.final
    cdef int _offer_locked(self, Node* node, Place place) noexcept nogil:
        """Under the mutex: whether a heap has an item, DONE; else SHUT, BUSY, LINKED."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        if not self._stack.count:
            answer = SHUT if self._shut else wait_in(&self._getting, node, place)
        self._latch.unlock()
        return answer

    @cython.final
    cdef void _insert_locked(self, PyObject* item, size_t place, WakeList* woken) noexcept nogil:
        """Under the mutex: into the heap, where there is room."""
        self._latch.lock()
        self._refresh()
        retain(item)
        insert(&self._stack, item, place)
        self._count_put(woken)
        self._latch.unlock()

    @cython.final
    cdef PyObject* _take_root_locked(self, size_t* path, int depth, WakeList* woken) noexcept nogil:
        """Under the mutex: the least of the heap; there is one."""
        cdef PyObject* item
        self._latch.lock()
        self._refresh()
        item = take_root(&self._stack, path, depth)
        claim_first(&self._putting, CLAIMED, woken)
        self._latch.unlock()
        return item

    @cython.final
    cdef int _wait_locked(self, bint gets, Node* node, Place place) noexcept nogil:
        """Under the mutex, where hooks have found nothing, or no room: BUSY or LINKED, or SHUT."""
        cdef int answer
        self._latch.lock()
        self._refresh()
        if self._shut:
            answer = SHUT
        else:
            answer = wait_in(&self._getting if gets else &self._putting, node, place)
        self._latch.unlock()
        return answer

    @cython.final
    cdef void _has_put_locked(self, WakeList* woken) noexcept nogil:
        """A hook has put an item in."""
        self._latch.lock()
        self._refresh()
        self._count_put(woken)
        self._latch.unlock()

    @cython.final
    cdef void _wake_locked(self, bint gets, Py_ssize_t most, WakeList* woken) noexcept nogil:
        """Gives at most so many getters or putters leave to try."""
        cdef Py_ssize_t _one
        self._latch.lock()
        self._refresh()
        for _one in range(most):
            if not claim_first(&self._getting if gets else &self._putting, CLAIMED, woken):
                break
        self._latch.unlock()

    @cython.final
    cdef int _join_locked(self, Node* node, Place place) noexcept nogil:
        """DONE if all tasks are; else BUSY or LINKED."""
        cdef int answer = DONE
        self._latch.lock()
        refresh(&self._joining)
        if self._unfinished > 0:
            answer = wait_in(&self._joining, node, place)
        self._latch.unlock()
        return answer

    @cython.final
    cdef int _task_done_locked(self, bint has_mutex, WakeList* woken) noexcept nogil:
        """DONE, BUSY with others left, or TOO_MANY; or GUARDED, where callers may count under the mutex."""
        cdef int answer = BUSY
        self._latch.lock()
        refresh(&self._joining)
        if self._order.load(relaxed) > HEAP and not has_mutex:
            answer = GUARDED
        elif self._unfinished <= 0:
            answer = TOO_MANY
        else:
            self._unfinished -= 1
            if self._unfinished == 0:
                answer = DONE
                claim_all(&self._joining, HANDED, woken)
        self._latch.unlock()
        return answer

    @cython.final
    cdef void _set_unfinished_locked(self, Py_ssize_t tasks, WakeList* woken) noexcept nogil:
        self._latch.lock()
        refresh(&self._joining)
        self._unfinished = tasks
        if tasks <= 0:
            claim_all(&self._joining, HANDED, woken)
        self._latch.unlock()

    @cython.final
    cdef bint _shut_down_locked(
        self, bint immediate, bint has_mutex, Items* items, Stack* stack, WakeList* woken
    ) noexcept nogil:
        """Moves what there is out, if immediate, for the caller to drop; False if that is done under the mutex."""
        cdef Py_ssize_t dropped
        cdef bint may
        self._latch.lock()
        self._refresh()
        refresh(&self._joining)
        may = has_mutex or self._order.load(relaxed) < HEAP
        if may:
            self._shut = True
            if immediate:
                dropped = self._size()
                self._move_out(items, stack)
                if self._unfinished > 0:
                    self._unfinished -= min(dropped, self._unfinished)
                    if self._unfinished == 0:
                        claim_all(&self._joining, HANDED, woken)
            claim_all(&self._getting, CLAIMED, woken)
            claim_all(&self._putting, CLAIMED, woken)
        self._latch.unlock()
        return may

    @cython.final
    cdef PyObject* _begin_locked(self, int order, Items* items, Stack* stack, WakeList* woken) noexcept nogil:
        """Under the mutex: an empty queue of this order with no task to do; what it had is for the caller to drop.

        Who waits to put or for all tasks to be done need not wait any more. What hooks keep is theirs to replace.
        """
        cdef PyObject* container = NULL
        self._latch.lock()
        self._refresh()
        refresh(&self._joining)
        self._move_out(items, stack)
        if order != HOOKS:
            container = swap(&self._container, NULL)
        self._order.store(order, relaxed)
        self._unfinished = 0
        self._shut = False
        claim_all(&self._putting, CLAIMED, woken)
        claim_all(&self._joining, HANDED, woken)
        self._latch.unlock()
        return container

    @cython.final
    cdef void _set_order_locked(self, int order) noexcept nogil:
        """Under the mutex."""
        self._latch.lock()
        self._order.store(order, relaxed)
        self._latch.unlock()

    @cython.final
    cdef void _take_all_locked(self, Items* items, Stack* stack) noexcept nogil:
        self._latch.lock()
        self._move_out(items, stack)
        self._latch.unlock()

    @cython.final
    cdef PyObject* _set_limit_locked(self, Py_ssize_t limit, PyObject* maxsize, WakeList* woken) noexcept nogil:
        """Its reference moves in; what it displaces moves out."""
        cdef PyObject* before
        self._latch.lock()
        self._refresh()
        self._limit.store(limit, relaxed)
        before = swap(&self._bound, maxsize)
        claim_all(&self._putting, CLAIMED, woken)
        self._latch.unlock()
        return before

    @cython.final
    cdef PyObject* _read_locked(self, PyObject** slot) noexcept nogil:
        """What one of the owned slots holds, or NULL."""
        cdef PyObject* value
        self._latch.lock()
        value = slot[0]
        if value != NULL:
            retain(value)
        self._latch.unlock()
        return value

    @cython.final
    cdef PyObject* _container_locked(self, bint* by_hooks) noexcept nogil:
        """The container or NULL, and whether hooks keep the items."""
        cdef PyObject* container
        self._latch.lock()
        container = self._container
        if container != NULL:
            retain(container)
        by_hooks[0] = self._order.load(relaxed) == HOOKS
        self._latch.unlock()
        return container

    @cython.final
    cdef PyObject* _write_locked(self, PyObject** slot, PyObject* value, bint only_once) noexcept nogil:
        """Writes an owned slot, whose reference moves in, and moves out what it displaces, or what is not wanted."""
        self._latch.lock()
        if not only_once or slot[0] == NULL:
            value = swap(slot, value)
        self._latch.unlock()
        return value

    @cython.final
    cdef Py_ssize_t _size_locked(self) noexcept nogil:
        """How many items there are; -1 where hooks keep them."""
        cdef Py_ssize_t size
        self._latch.lock()
        size = self._size() if self._order.load(relaxed) <= HEAP else -1
        self._latch.unlock()
        return size

    @cython.final
    cdef Py_ssize_t _unfinished_locked(self) noexcept nogil:
        cdef Py_ssize_t unfinished
        self._latch.lock()
        unfinished = self._unfinished
        self._latch.unlock()
        return unfinished

    @cython.final
    cdef bint _is_shut_locked(self) noexcept nogil:
        cdef bint shut
        self._latch.lock()
        shut = self._shut
        self._latch.unlock()
        return shut

    @cython.final
    cdef PyObject** _copy_locked(self, size_t* count) noexcept nogil:
        """References to all items, oldest or least first, for the caller to drop and free; NULL without memory."""
        cdef PyObject** found
        cdef Block* block
        cdef size_t index, place
        self._latch.lock()
        count[0] = self._size()
        found = <PyObject**>PyMem_Malloc((count[0] + 1) * sizeof(PyObject*))
        if found != NULL:
            block = self._items.head
            place = self._items.first
            for index in range(self._items.count):
                if place == block.size:
                    block = block.next
                    place = 0
                found[index] = take(block.items[place])
                place += 1
            for index in range(self._stack.count):
                found[index] = take(self._stack.items[index])
        self._latch.unlock()
        return found

    @cython.final
    cdef bint _abandon_locked(self, Waiter* waiter) noexcept nogil:
        cdef bint gave_up
        self._latch.lock()
        self._refresh()
        refresh(&self._joining)
        gave_up = give_up(waiter)
        self._latch.unlock()
        return gave_up

    @cython.final
    cdef Py_ssize_t _copy_claims_locked(self, WaitQueue* queue, int* found, Py_ssize_t room) noexcept nogil:
        cdef Py_ssize_t count
        self._latch.lock()
        refresh(queue)
        count = copy_claims(queue, found, room)
        self._latch.unlock()
        return count

    # What follows is called under the latch.

    @cython.final
    cdef inline void _refresh(self) noexcept nogil:
        refresh(&self._getting)
        refresh(&self._putting)

    @cython.final
    cdef inline Py_ssize_t _size(self) noexcept nogil:
        return self._items.count + self._stack.count

    @cython.final
    cdef inline bint _is_full(self) noexcept nogil:
        cdef Py_ssize_t limit = self._limit.load(relaxed)
        return limit != 0 and self._size() >= limit

    @cython.final
    cdef inline void _count_put(self, WakeList* woken) noexcept nogil:
        self._unfinished += 1
        claim_first(&self._getting, CLAIMED, woken)

    @cython.final
    cdef inline void _move_out(self, Items* items, Stack* stack) noexcept nogil:
        items[0] = self._items
        self._items.head = self._items.tail = self._items.spare = NULL
        self._items.first = self._items.end = self._items.count = 0
        stack[0] = self._stack
        self._stack.items = NULL
        self._stack.count = self._stack.room = 0


cdef inline int wait_in(WaitQueue* queue, Node* node, Place place) noexcept nogil:
    if place == TRY:
        return BUSY
    link(queue, node, place)
    return LINKED


cdef void _drop_all(_Queue queue) noexcept:
    """What a queue holds that is nobody's any more."""
    cdef Items items
    cdef Stack stack
    queue._take_all_locked(&items, &stack)
    _drop(&items, &stack)
    drop(queue._write_locked(&queue._container, NULL, False))
    drop(queue._write_locked(&queue._conditions, NULL, False))


cdef void _drop(Items* items, Stack* stack) noexcept:
    while items.count:
        drop(pop(items))
    free_blocks(items)
    while stack.count:
        drop(pop_last(stack))
    free_stack(stack)


cdef list _snapshot(_Queue queue):
    """All items, but for those that hooks keep."""
    cdef size_t count, index
    cdef PyObject** found = queue._copy_locked(&count)
    cdef list items = []
    if found == NULL:
        raise MemoryError
    try:
        for index in range(count):
            items.append(<object>found[index])
    finally:
        for index in range(count):
            drop(found[index])
        PyMem_Free(found)
    return items


# --- under the mutex -------------------------------------------------------------------------------------------------

cdef object _enter(_Queue queue):
    """Takes the mutex; returns its guard, or None where this thread has it and may enter again.

    WouldDeadlock where it has it and may not: a comparison, a hook or a signal handler in one calls the queue.
    """
    cdef uint64_t thread = owner_thread()
    if queue._generation.load(relaxed) != generation:
        _outlive_fork(queue)
    if queue._may_reenter() and queue._order.load(relaxed) == HOOKS and queue._inside.load(relaxed) == thread:
        return None
    guard = queue._mutex.lock()
    queue._inside.store(thread, relaxed)
    return guard


cdef int _outlive_fork(_Queue queue) except -1:
    """In a child: a thread of the parent that had the mutex does not exist any more.

    It has left a heap as it was or changed it as a whole. What hooks were doing nobody knows: for them it stays held.
    """
    if queue._generation.exchange(generation, relaxed) == generation or queue._order.load(relaxed) != HEAP:
        return 0
    if queue._inside.load(relaxed) != owner_thread() and queue._mutex.locked():
        queue._mutex.release()
    return 0


cdef int _leave(_Queue queue, object guard) except -1:
    if guard is not None:
        queue._inside.store(0, relaxed)
        guard.release()
    return 0


cdef int _put_guarded(_Queue queue, object item, Node* node, Place place) except -1:
    """DONE, BUSY or LINKED."""
    cdef WakeList woken
    cdef size_t hole
    cdef int answer
    woken.head = woken.tail = NULL
    guard = _enter(queue)
    try:
        if queue._order.load(relaxed) == HOOKS:
            answer = queue._put_by_hooks(item, node, place, &woken)
        else:
            answer = queue._admit_locked(node, place)
            if answer == DONE:
                hole = place_for(&queue._stack, <PyObject*>item)
                queue._insert_locked(<PyObject*>item, hole, &woken)
    finally:
        _leave(queue, guard)
        wake(&woken)
    if answer > LINKED:
        raise queue._error(answer, False)
    return answer


cdef int _get_guarded(_Queue queue, PyObject** item, Node* node, Place place) except -1:
    """DONE, BUSY or LINKED."""
    cdef WakeList woken
    cdef size_t path[DEPTH]
    cdef int answer = DONE
    cdef object got
    woken.head = woken.tail = NULL
    guard = _enter(queue)
    try:
        if queue._order.load(relaxed) == HOOKS:
            got = queue._get_by_hooks(&answer, node, place, &woken)
            if answer == DONE:
                item[0] = take(<PyObject*>got)
        else:
            answer = queue._offer_locked(node, place)
            if answer == DONE:
                item[0] = queue._take_root_locked(path, path_for_last(&queue._stack, path), &woken)
    finally:
        _leave(queue, guard)
        wake(&woken)
    if answer > LINKED:
        raise queue._error(answer, True)
    return answer


cdef int _open(_Queue queue) except -1:
    """From now on hooks keep the items, where callers can reach them."""
    cdef Items items
    cdef Stack stack
    cdef int order
    if queue._order.load(relaxed) == HOOKS:
        return 0
    guard = _enter(queue)
    try:
        order = queue._order.load(relaxed)
        if order != HOOKS:
            queue._set_order_locked(MOVING)     # who comes from now on waits for the mutex
            try:
                container = deque(_snapshot(queue)) if order == FIFO else _snapshot(queue)
                drop(queue._write_locked(&queue._container, take(<PyObject*>container), False))
                queue._take_all_locked(&items, &stack)
                order = HOOKS
            finally:
                queue._set_order_locked(order)
            _drop(&items, &stack)               # the container has them, too: no destructor runs
    finally:
        _leave(queue, guard)
    return 0


cdef object _container_of(_Queue queue, str name):
    cdef PyObject* container = NULL
    cdef bint by_hooks = False
    while container == NULL:        # another thread may call the constructor again, which closes it
        _open(queue)
        container = queue._container_locked(&by_hooks)
        if container == NULL and by_hooks:
            raise AttributeError(f"'{type(queue).__name__}' object has no attribute '{name}'")
    return move(container)


cdef int _set_container(_Queue queue, object container) except -1:
    _open(queue)
    drop(queue._write_locked(&queue._container, take(<PyObject*>container), False))
    return 0


# --- what both faces do alike ----------------------------------------------------------------------------------------

cdef inline int _try_put(_Queue queue, PyObject* item, Node* node, Place place) except -1:
    """DONE, BUSY or LINKED."""
    cdef WakeList woken
    cdef int answer
    woken.head = woken.tail = NULL
    answer = queue._put_locked(item, node, place, &woken)
    wake(&woken)
    if answer <= LINKED:
        return answer
    if answer == GUARDED:
        return _put_guarded(queue, <object>item, node, place)
    raise queue._error(answer, False)


cdef inline int _try_get(_Queue queue, PyObject** item, Node* node, Place place) except -1:
    """DONE, BUSY or LINKED."""
    cdef WakeList woken
    cdef int answer
    woken.head = woken.tail = NULL
    answer = queue._get_locked(item, node, place, &woken)
    wake(&woken)
    if answer <= LINKED:
        return answer
    if answer == GUARDED:
        return _get_guarded(queue, item, node, place)
    raise queue._error(answer, True)


cdef Py_ssize_t _limit_of(object maxsize) except -1:
    """The least number of items at which the queue is full; 0: never."""
    if not maxsize > 0:
        return 0
    try:
        return min(math.ceil(maxsize), sys.maxsize)
    except OverflowError:       # infinite
        return 0


cdef object _maxsize_of(_Queue queue):
    cdef PyObject* maxsize = queue._read_locked(&queue._bound)
    return 0 if maxsize == NULL else move(maxsize)


cdef int _set_maxsize(_Queue queue, object maxsize) except -1:
    cdef WakeList woken
    cdef Py_ssize_t limit = _limit_of(maxsize)
    woken.head = woken.tail = NULL
    drop(queue._set_limit_locked(limit, take(<PyObject*>maxsize), &woken))
    wake(&woken)
    return 0


cdef int _begin(_Queue queue, object maxsize, int order) except -1:
    """The constructor's work; again, it empties the queue."""
    cdef Items items
    cdef Stack stack
    cdef WakeList woken
    cdef PyObject* container
    woken.head = woken.tail = NULL
    _set_maxsize(queue, maxsize)
    guard = _enter(queue)
    try:
        container = queue._begin_locked(order, &items, &stack, &woken)
    finally:
        _leave(queue, guard)
    try:
        if order == HOOKS:
            queue._init(maxsize)
    finally:
        wake(&woken)        # only now: what they put would go into the container that was there before
        _drop(&items, &stack)
        drop(container)
    return 0


cdef int _set_unfinished(_Queue queue, Py_ssize_t tasks) except -1:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    queue._set_unfinished_locked(tasks, &woken)
    wake(&woken)
    return 0


cdef int _task_done(_Queue queue, bint has_mutex) except -1:
    """DONE if it was the last one, else BUSY, or GUARDED."""
    cdef WakeList woken
    cdef int answer
    woken.head = woken.tail = NULL
    answer = queue._task_done_locked(has_mutex, &woken)
    wake(&woken)
    if answer == TOO_MANY:
        raise ValueError("task_done() called too many times")
    return answer


cdef bint _shut_down(_Queue queue, bint immediate, bint has_mutex, Items* items, Stack* stack) noexcept:
    """Moves what there is out, if immediate, but for what hooks keep; False if it has to be done under the mutex."""
    cdef WakeList woken
    cdef bint did
    woken.head = woken.tail = NULL
    items.head = items.tail = items.spare = NULL
    items.first = items.end = items.count = 0
    stack.items = NULL
    stack.count = stack.room = 0
    did = queue._shut_down_locked(immediate, has_mutex, items, stack, &woken)
    wake(&woken)
    return did


cdef void _set_shut(_Queue queue) noexcept:
    """The first step of a shutdown by hooks, under the mutex."""
    cdef Items items
    cdef Stack stack
    _shut_down(queue, False, True, &items, &stack)


cdef dict _orders = {}      # of classes that do not override the methods that say how items are kept: by these methods


def adopt(cls, order, /):
    """Has the engine keep the items of `cls`, and of its subclasses that do not override how they are kept."""
    _orders[_methods_of(cls)] = ("fifo", "lifo", "heap").index(order)


cdef inline int _order_of(type cls) except -1:
    return _orders.get(_methods_of(cls), HOOKS)


cdef tuple _methods_of(type cls):
    names = _THREAD_METHODS if issubclass(cls, SyncQueue) else _TASK_METHODS
    return tuple([getattr(cls, name, None) for name in names])


include "_queues_operations.pxi"
include "_queues_threads.pxi"
include "_queues_tasks.pxi"


for _cls in (_Queue, SyncQueue, SimpleQueue, AsyncQueue):
    replace_gc_slots(_cls, _traverse, _clear)
seal(_Queue)
