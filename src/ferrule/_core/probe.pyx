"""The smallest things that can be waited for, so that the floor is tested without a primitive on top of it.

Built with FERRULE_PROBE=1 only; no wheel has it.

Gate        a count of permits and one queue; its calls make every transition of a waiter's claim word happen on demand
Several     one waiter registered with many gates, as a select does
Claimed     the stop point between a claim and its wake: the claiming thread holds the wake list until wake() is called
Cell        one reference that is read without a latch, and a stop point within a read
Stop        a stop point within a locked section that allocates memory, and so in the middle of a write
"""
import os

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.object cimport PyObject

from ferrule._core.atomics cimport acq_rel, publish, relaxed, seen
from ferrule._core.coroutine cimport Alarms, Coroutine, expire, new_coroutine
from ferrule._core.deadline cimport NEVER, parse_timeout
from ferrule._core.epoch cimport (
    Limbo,
    Readers,
    Record,
    Retired,
    RetiredObject,
    all_left,
    count_records,
    enter,
    forget_other_threads,
    leave,
    release_all,
    retire,
    retired_object,
    ripe,
    wait_for_readers,
)
from ferrule._core.gc cimport (
    clear_slot,
    inquiry,
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.latch cimport Latch
from ferrule._core.owned cimport drop, move, swap, take
from ferrule._core.parking cimport (
    BUSY,
    CLAIMED,
    DONE,
    HANDED,
    LINKED,
    PARKED,
    SPENT,
    TRY,
    Node,
    Mailbox,
    Operation,
    Outcome,
    Place,
    Waiter,
    WaitQueue,
    WakeList,
    claim_first,
    generation,
    give_up,
    link,
    linked,
    new_operation,
    refresh,
    unlink,
    wait_in_thread,
    wake,
)
from ferrule._core.raised cimport set_raised

from ferrule.errors import Timeout

cdef extern from "Python.h":
    PyObject* Py_True


@cython.final
cdef class Gate:
    """Gate(permits=0): wait() takes one permit, release() gives some."""
    cdef Latch _latch
    cdef WaitQueue _queue
    cdef Py_ssize_t _permits        # under the latch, as the queue
    cdef object _gc                 # makes the class one that the collector visits
    cdef object __weakref__

    def __cinit__(self, Py_ssize_t permits=0):
        self._permits = permits

    @property
    def permits(self):
        return self._count_locked(NULL)

    @property
    def waiting(self):
        cdef Py_ssize_t waiting = 0
        self._count_locked(&waiting)
        return waiting

    def release(self, Py_ssize_t n=1):
        """Adds permits and gives as many waiters leave to take one."""
        self.claim(n).wake()

    def claim(self, Py_ssize_t n=1):
        """As release(), but who was claimed is woken only by wake() of the result, or at its end."""
        cdef Claimed claimed = Claimed.__new__(Claimed)
        self._release_locked(n, &claimed._list)
        return claimed

    def hand(self):
        """Hands a permit to the first waiter; False, and nothing done, if nobody waits."""
        cdef WakeList woken
        woken.head = woken.tail = NULL
        cdef bint handed = self._hand_locked(&woken)
        wake(&woken)
        return handed

    def try_wait(self):
        return self._take_or_link_locked(NULL, TRY) == DONE

    def wait(self, *, timeout=None, bint spinning=False, bint insists=False):
        cdef const Operation* operation = &SPINNING if spinning else &INSISTING if insists else &PLAIN
        return wait_in_thread(operation, self, NULL, 0, parse_timeout(timeout))

    def wait_async(self, *, timeout=None, bint insists=False):
        return new_coroutine(&INSISTING if insists else &PLAIN, self, NULL, parse_timeout(timeout))

    def give_async(self, item):
        """As wait_async(), but the result is `item`."""
        return new_coroutine(&GIVING, self, take(<PyObject*>item), NEVER)

    cdef Py_ssize_t _count_locked(self, Py_ssize_t* waiting) noexcept nogil:
        cdef Node* node
        cdef Py_ssize_t permits
        self._latch.lock()
        refresh(&self._queue)
        permits = self._permits
        if waiting != NULL:
            node = self._queue.head
            while node != NULL:
                waiting[0] += 1
                node = node.next
        self._latch.unlock()
        return permits

    cdef void _release_locked(self, Py_ssize_t n, WakeList* woken) noexcept nogil:
        self._latch.lock()
        refresh(&self._queue)
        self._permits += n
        while n > 0 and claim_first(&self._queue, CLAIMED, woken):
            n -= 1
        self._latch.unlock()

    cdef bint _hand_locked(self, WakeList* woken) noexcept nogil:
        cdef bint handed
        self._latch.lock()
        refresh(&self._queue)
        handed = claim_first(&self._queue, HANDED, woken)
        self._latch.unlock()
        return handed

    cdef Outcome _take_or_link_locked(self, Node* node, Place place) noexcept nogil:
        cdef Outcome outcome = BUSY
        self._latch.lock()
        refresh(&self._queue)
        if self._permits > 0:
            self._permits -= 1
            outcome = DONE
        elif place != TRY:
            link(&self._queue, node, place)
            outcome = LINKED
        self._latch.unlock()
        return outcome

    cdef void _link_locked(self, Node* node, Place place) noexcept nogil:
        self._latch.lock()
        refresh(&self._queue)
        link(&self._queue, node, place)
        self._latch.unlock()

    cdef void _unlink_locked(self, Node* node) noexcept nogil:
        self._latch.lock()
        refresh(&self._queue)
        if linked(node):
            unlink(node)
        node.queue = NULL
        self._latch.unlock()

    cdef bint _abandon_locked(self, Waiter* waiter) noexcept nogil:
        cdef bint gave_up
        self._latch.lock()
        refresh(&self._queue)
        gave_up = give_up(waiter)
        self._latch.unlock()
        return gave_up

    cdef void _pass_on_locked(self, bint handed, WakeList* woken) noexcept nogil:
        """One rule from the state alone: a permit and a waiter together mean a claim."""
        self._latch.lock()
        refresh(&self._queue)
        if handed:
            self._permits += 1
        if self._permits > 0:
            claim_first(&self._queue, CLAIMED, woken)
        self._latch.unlock()


@cython.final
cdef class Claimed:
    """A wake list that its thread has not woken yet."""
    cdef WakeList _list

    def wake(self):
        cdef WakeList woken = self._list
        self._list.head = self._list.tail = NULL
        wake(&woken)

    def __dealloc__(self):
        wake(&self._list)


@cython.final
@cython.no_gc_clear     # a coroutine that is collected with it leaves the gates' queues; every cycle passes that
cdef class Several:
    """Several(*gates): one waiter on all of them; wait() takes one permit from one gate. One wait at a time."""
    cdef readonly tuple gates
    cdef Node* _nodes

    def __cinit__(self, *gates):
        if not all(isinstance(gate, Gate) for gate in gates):
            raise TypeError("only gates can be waited for")
        self.gates = gates
        self._nodes = <Node*>PyMem_RawCalloc(len(gates), sizeof(Node))
        if self._nodes == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self._nodes)

    def wait(self, *, timeout=None):
        return wait_in_thread(&SEVERAL, self, NULL, 0, parse_timeout(timeout))

    def wait_async(self, *, timeout=None):
        return new_coroutine(&SEVERAL, self, NULL, parse_timeout(timeout))

    cdef Outcome _try(self) noexcept:
        cdef Gate gate
        for gate in self.gates:
            if gate._take_or_link_locked(NULL, TRY) == DONE:
                return DONE
        return BUSY

    cdef void _link_all(self, Waiter* waiter, Place place) noexcept:
        cdef Py_ssize_t index
        for index in range(len(self.gates)):
            self._nodes[index].waiter = waiter
            (<Gate>self.gates[index])._link_locked(&self._nodes[index], place)

    cdef void _unlink_all(self) noexcept:
        cdef Py_ssize_t index
        for index in range(len(self.gates)):
            (<Gate>self.gates[index])._unlink_locked(&self._nodes[index])

    cdef void _pass_on(self, bint handed, WakeList* woken) noexcept:
        """To whoever waits at a gate that has a permit; one that was handed goes to the first gate."""
        cdef Gate gate
        for gate in self.gates:
            gate._pass_on_locked(handed, woken)
            handed = False


# --- reads without a latch -------------------------------------------------------------------------------------------

@cython.final
cdef class Cell:
    """Cell(value): get() reads it without the latch, set() replaces it."""
    cdef Latch _latch
    cdef Readers _readers
    cdef Limbo _limbo
    cdef PyObject* _value           # written under the latch, by publish()
    cdef object _gc                 # makes the class one that the collector visits

    def __cinit__(self, value, /):
        self._value = take(<PyObject*>value)

    def get(self):
        cdef Record* record = enter(&self._readers)
        if record == NULL:
            raise MemoryError
        cdef PyObject* value = take(seen(&self._value))
        leave(record)
        return move(value)

    def set(self, value, /):
        """Replaces the value; what nobody can be looking at any more is released."""
        cdef PyObject* old = self._swap_locked(take(<PyObject*>value))
        cdef Retired* things = NULL
        if not all_left(&self._readers):
            things = retired_object(old, NULL)
            if things == NULL:
                wait_for_readers(&self._readers)
                drop(old)
        else:
            drop(old)
        release_all(self._retire_locked(things))

    def collect(self):
        """Waits for those who are inside, then releases what is kept."""
        with nogil:
            wait_for_readers(&self._readers)
        release_all(self._retire_locked(NULL))

    def inside(self, f, /):
        """f(), called in the middle of a read. It must not read a cell itself."""
        cdef Record* record = enter(&self._readers)
        if record == NULL:
            raise MemoryError
        try:
            return f()
        finally:
            leave(record)

    def kept(self):
        """How many values have been replaced and not been released."""
        return self._count_locked()

    cdef PyObject* _swap_locked(self, PyObject* value) noexcept nogil:
        self._latch.lock()
        cdef PyObject* old = self._value
        publish(&self._value, value)
        self._latch.unlock()
        return old

    cdef Retired* _retire_locked(self, Retired* things) noexcept nogil:
        self._latch.lock()
        retire(&self._readers, &self._limbo, things)
        things = ripe(&self._readers, &self._limbo)
        self._latch.unlock()
        return things

    cdef Py_ssize_t _count_locked(self) noexcept nogil:
        cdef Py_ssize_t count = 0
        self._latch.lock()
        cdef Retired* thing = self._limbo.first
        while thing != NULL:
            count += 1
            thing = thing.next
        self._latch.unlock()
        return count

    def __dealloc__(self):
        drop(swap(&self._value, NULL))
        release_all(self._limbo.first)


def records():
    """How many threads have records, and how many records there are, of those who read cells."""
    cdef int taken = 0
    cdef int all = count_records(&taken)
    return taken, all


cdef extern from *:
    """
    namespace stop {
    PyMemAllocatorEx original;
    ferrule::Atomic<unsigned long> thread{0};   // which thread stops; 0: none
    size_t least;                               // at an allocation of so many bytes or more
    ferrule::Atomic<bool> stopped{false};

    void* allocate(void* ctx, size_t size) {
        if (size >= least && thread.load(std::memory_order_acquire) == PyThread_get_thread_ident()) {
            stopped.store(true, std::memory_order_release);
            while (thread.load(std::memory_order_acquire)) std::this_thread::yield();
            stopped.store(false, std::memory_order_release);
        }
        return original.malloc(original.ctx, size);
    }

    // For the rest of the process: an allocator cannot be exchanged while other threads use it.
    void install() {
        if (original.malloc != nullptr) return;
        PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &original);
        PyMemAllocatorEx mine = original;
        mine.malloc = allocate;
        PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &mine);
    }

    void arm() { thread.store(PyThread_get_thread_ident(), std::memory_order_release); }
    void go_on() { thread.store(0, std::memory_order_release); }
    }
    """
    void _install "stop::install"()
    void _arm "stop::arm"()
    void _go_on "stop::go_on"()
    size_t _least "stop::least"
    cppclass Flag "ferrule::Atomic<bool>":
        bint load()
    Flag _stopped "stop::stopped"


@cython.final
cdef class Stop:
    """Stop(size): the thread that calls arm() stops where it next allocates so many bytes, until go_on().

    It stays attached to the interpreter, so nothing that stops all threads may run meanwhile: no collection. One at a
    time, and the first of a process is made while no other thread runs.
    """

    def __cinit__(self, size_t size):
        global _least
        _least = size
        _install()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        _go_on()

    def arm(self):
        _arm()

    def go_on(self):
        _go_on()

    @property
    def stopped(self):
        return _stopped.load()


# --- operations ------------------------------------------------------------------------------------------------------

cdef int _attempt(Waiter* waiter, Place place) noexcept:
    return (<Gate>waiter.target)._take_or_link_locked(&waiter.node, place)


cdef bint _abandon(Waiter* waiter) noexcept nogil:
    return (<Gate>waiter.target)._abandon_locked(waiter)


cdef void _pass_on(Waiter* waiter, int how, WakeList* woken) noexcept:
    (<Gate>waiter.target)._pass_on_locked(how == HANDED, woken)


cdef int _attempt_several(Waiter* waiter, Place place) noexcept:
    """Links first and looks again after: a permit that came in between is then seen by one of the two sides."""
    cdef Several several = <Several>waiter.target
    cdef WakeList woken
    cdef int expected = PARKED
    woken.head = woken.tail = NULL
    if place != TRY and not waiter.claim.compare_exchange_strong(expected, SPENT, acq_rel, relaxed):
        return LINKED           # claimed by a gate that still had it from the round before: its token comes
    several._unlink_all()
    while True:
        if several._try() == DONE:
            several._pass_on(False, &woken)     # it may have been claimed for another gate's permit
            wake(&woken)
            return DONE
        if place == TRY:
            return BUSY
        waiter.claim.store(PARKED, relaxed)
        several._link_all(waiter, place)
        for gate in several.gates:
            if (<Gate>gate)._count_locked(NULL) > 0:
                break
        else:
            return LINKED
        if not waiter.claim.compare_exchange_strong(expected, SPENT, acq_rel, relaxed):
            return LINKED       # claimed already: its token comes
        several._unlink_all()


cdef bint _abandon_several(Waiter* waiter) noexcept nogil:
    cdef int expected = PARKED
    if not waiter.claim.compare_exchange_strong(expected, SPENT, acq_rel, relaxed):
        return False
    with gil:
        (<Several>waiter.target)._unlink_all()
    return True


cdef void _pass_on_several(Waiter* waiter, int how, WakeList* woken) noexcept:
    cdef Several several = <Several>waiter.target
    several._unlink_all()
    several._pass_on(how == HANDED, woken)


cdef PyObject* _give_true(Waiter* waiter) noexcept:
    return take(Py_True)


cdef bint _handed_to_several(Waiter* waiter) noexcept:
    (<Several>waiter.target)._unlink_all()
    return True


cdef PyObject* _give_item(Waiter* waiter) noexcept:
    return take(waiter.item)


cdef void _expire(Waiter* waiter) noexcept:
    try:
        raise Timeout("the gate gave no permit in time")
    except BaseException as error:      # or what a signal handler raised meanwhile
        set_raised(error)


cdef bint _never(Waiter* waiter) noexcept:
    return False


cdef Operation PLAIN, SPINNING, INSISTING, GIVING, SEVERAL
PLAIN = new_operation(b"Gate.wait", _attempt, _abandon, _pass_on, _give_true, _expire)
SPINNING = PLAIN
PLAIN.spins = _never
INSISTING = PLAIN
INSISTING.insists = True
GIVING = PLAIN
GIVING.name = b"Gate.give"
GIVING.result = _give_item
SEVERAL = PLAIN
SEVERAL.name = b"Several.wait"
SEVERAL.attempt = _attempt_several
SEVERAL.abandon = _abandon_several
SEVERAL.pass_on = _pass_on_several
SEVERAL.handed = _handed_to_several


def set_patience(Coroutine coroutine not None, bint endless, /):
    """The suspended coroutine has lost its patience, so that it is handed what it waits for; or it never will.

    Else that is a matter of time. O(1).
    """
    coroutine._waiter.patience = NEVER if endless else 1


def pass_deadline(Coroutine coroutine not None, /):
    """In the coroutine's loop: its deadline has passed, if it waits and has one. O(log waits)."""
    cdef PyObject* waits = NULL
    if coroutine._suspension is not None and coroutine._suspension.mailbox.alarms is not None:
        waits = (<Alarms>coroutine._suspension.mailbox.alarms)._remove_locked(<PyObject*>coroutine)
    if waits != NULL:
        expire(coroutine)
        drop(waits)


def has_deadline(Coroutine coroutine not None, /):
    """Whether it waits and its deadline is to come. O(1)."""
    return coroutine._alarm != 0


def deadlines(loop, /):
    """How many coroutines wait in the loop with a deadline to come. O(1)."""
    cdef Alarms alarms = getattr(loop, "_ferrule_mailbox", None) and (<Mailbox>loop._ferrule_mailbox).alarms
    return 0 if alarms is None else alarms._count


def next_to_expire(loop, /):
    """The coroutine that waits in the loop and has the earliest deadline, or None. In the loop's thread. O(1)."""
    cdef Alarms alarms = getattr(loop, "_ferrule_mailbox", None) and (<Mailbox>loop._ferrule_mailbox).alarms
    return <object>alarms._heap[1] if alarms is not None and alarms._count else None


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _traverse_gate_fields = traverse_slot(Gate)
cdef traverseproc _traverse_several_fields = traverse_slot(Several)
cdef traverseproc _traverse_cell_fields = traverse_slot(Cell)
cdef inquiry _clear_cell_fields = clear_slot(Cell)


cdef int _traverse_cell(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef Cell self = <Cell>slot
    cdef Retired* thing = self._limbo.first
    cdef int stopped = _traverse_cell_fields(slot, visit, arg)
    if not stopped:
        stopped = visit_raw(self._value, visit, arg)
    while thing != NULL and not stopped:
        stopped = visit_raw((<RetiredObject*>thing).object, visit, arg)
        thing = thing.next
    return stopped


cdef int _clear_cell(PyObject* slot) noexcept:
    (<Cell>slot).set(None)
    return _clear_cell_fields(slot)


cdef int _traverse_gate(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef Gate self = <Gate>slot
    cdef Node* node = self._queue.head if self._queue.generation == generation else NULL
    cdef int stopped = _traverse_gate_fields(slot, visit, arg)
    while node != NULL and not stopped:
        if node == &node.waiter.node:       # the one reference of a waiter on several gates is visited there
            stopped = visit_raw(node.waiter.task, visit, arg)
        node = node.next
    return stopped


cdef int _traverse_several(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef Several self = <Several>slot
    cdef Node* node = self._nodes
    cdef Node* end = node + (len(self.gates) if node != NULL else 0)
    cdef int stopped = _traverse_several_fields(slot, visit, arg)
    while node != end and not stopped:
        if linked(node) and node.waiter.claim.load(relaxed) == PARKED:
            return visit_raw(node.waiter.task, visit, arg)
        node += 1
    return stopped


replace_gc_slots(Gate, _traverse_gate, NULL)
replace_gc_slots(Several, _traverse_several, NULL)
replace_gc_slots(Cell, _traverse_cell, _clear_cell)


def _in_child():
    forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
