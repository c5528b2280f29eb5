"""The smallest things that can be waited for, so that the floor is tested without a primitive on top of it.

Built with FERRULE_PROBE=1 only; no wheel has it.

Gate        a count of permits and one queue; its calls make every transition of a waiter's claim word happen on demand
Several     one waiter registered with many gates, as a select does
Claimed     the stop point between a claim and its wake: the claiming thread holds the wake list until wake() is called
"""
cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.object cimport PyObject

from ferrule._core.atomics cimport acq_rel, relaxed
from ferrule._core.coroutine cimport Alarms, Coroutine, expire, new_coroutine
from ferrule._core.deadline cimport NEVER, parse_timeout
from ferrule._core.gc cimport (
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.latch cimport Latch
from ferrule._core.owned cimport drop, take
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
    cdef int seen = PARKED
    woken.head = woken.tail = NULL
    if place != TRY and not waiter.claim.compare_exchange_strong(seen, SPENT, acq_rel, relaxed):
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
        if not waiter.claim.compare_exchange_strong(seen, SPENT, acq_rel, relaxed):
            return LINKED       # claimed already: its token comes
        several._unlink_all()


cdef bint _abandon_several(Waiter* waiter) noexcept nogil:
    cdef int seen = PARKED
    if not waiter.claim.compare_exchange_strong(seen, SPENT, acq_rel, relaxed):
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
