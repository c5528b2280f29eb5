"""Channels: bounded, unbounded and rendezvous, for threads and for tasks of any event loop together.

A channel is a queue of items and two queues of waiters, under one latch. An item put in gives one waiting receiver
leave to take one; an item taken out gives one waiting sender leave to put one in. Nobody is handed anything: who comes
first takes it, and a waiter that was cancelled has nothing to lose but its leave, which it passes on.

With no capacity (a rendezvous) a sender puts its item in only while it can give a waiting receiver leave to take it, so
an item whose receiver was cancelled stays for the next one; and a receiver that finds no item takes the one of a
waiting sender out of that sender's hands.

Invariant: while there are items and receivers wait, at least as many receivers as there are items have leave that they
have not used yet; while there are free slots and senders wait, likewise. Each call that adds an item or a slot gives
one leave, and who has leave uses it or passes it on by the same rule.

The flavours and the rules of disconnection follow crossbeam-channel; one queue for two kinds of waiter follows flume
(both Rust).
"""
import collections
import types

cimport cython
from cpython.exc cimport PyErr_Occurred, PyErr_WarnEx, PyErr_WriteUnraisable
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ferrule._core.atomics cimport Shared, acq_rel, acquire, relaxed, release
from ferrule._core.coroutine cimport new_coroutine
from ferrule._core.deadline cimport (
    NEVER,
    SECOND,
    deadline_after,
    now,
    parse_instant,
    parse_span,
    parse_timeout,
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
from ferrule._core.interrupt cimport AT_A_TIME, let_others_in
from ferrule._core.latch cimport Latch, spin_pause
from ferrule._core.memory cimport PyMem_Calloc, PyMem_Free
from ferrule._core.owned cimport drop, move, release_shared, retain, take
from ferrule._core.parking cimport (
    BUSY,
    CLAIMED,
    DONE,
    FAILED,
    FRONT,
    HANDED,
    LINKED,
    PARKED,
    SPIN,
    TRY,
    Apart,
    Attempt,
    Expire,
    Node,
    Operation,
    Place,
    Result,
    Waiter,
    WaitQueue,
    WakeList,
    apart_depth,
    claim,
    claim_all,
    claim_first,
    give_up,
    length,
    link,
    linked,
    new_operation,
    refresh,
    unlink,
    visit_waiters,
    wait_in_thread,
    wake,
    withdraw,
)
from ferrule._core.raised cimport KeepRaised, reraise, set_raised
from ferrule._core.sealed cimport PyTypeObject, replace_new, seal
from ferrule.raw_queue cimport Block, Items, free_blocks, make_room, pop, push

from ferrule.errors import MISSING, Disconnected, Empty, Full, Timeout

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    PyObject* Py_None
    void PyErr_SetNone(object) noexcept
    PyObject** items_of "PySequence_Fast_ITEMS"(list) noexcept
    PyObject* next_of "PyIter_Next"(object) noexcept
    void set_size "Py_SET_SIZE"(list, Py_ssize_t) noexcept

cdef enum Answer:           # of a locked section, besides the outcomes of an attempt
    END_CLOSED = 3          # the end that the call was made on
    CHANNEL_CLOSED
    NO_SENDERS
    NO_RECEIVERS
    NO_MEMORY

cdef enum:
    UNINTERRUPTED = 128     # items that a task takes by `async for` or recv_many() before it lets its loop run once

cdef enum ArmKind:
    RECEIVES
    SENDS
    RESERVES

cdef struct Arm:                # of a select; see channel_select.pxi. While it is linked, constant but for its node
    Node node                   # the first field: whoever has the node has the arm
    PyObject* channel
    PyObject* end
    PyObject* item              # what it sends; or the permit that it gives, a reference
    PyObject* index             # its place among the arms, an int
    ArmKind kind

cdef struct Glance:             # a channel at one moment
    size_t count
    Py_ssize_t reserved
    bint is_open                # the end that was asked
    bint closed
    Py_ssize_t senders
    Py_ssize_t receivers
    uint64_t sent
    uint64_t received
    uint64_t waits
    size_t high_water


cdef object _NO_DEFAULT = object()

cdef class _End             # declared here, defined below


# --- the engine ------------------------------------------------------------------------------------------------------

@cython.final
@cython.trashcan(True)
cdef class _Channel:
    """What all ends share."""
    cdef Py_ssize_t _capacity           # constant; 0: a rendezvous, PY_SSIZE_T_MAX: unbounded
    cdef bint _is_timer                 # constant: its messages come of themselves; see channel_timers.pxi
    cdef int64_t _period                # constant: a timer's; NEVER: it has one message
    cdef Shared[int] _has_met_tasks     # set under the latch, for good; see _is_among_threads()
    # all else: under the latch
    cdef Latch _latch
    cdef Items _items                   # owned references
    cdef WaitQueue _senders
    cdef WaitQueue _receivers
    cdef Py_ssize_t _reserved           # slots that are promised to permits
    cdef Py_ssize_t _sender_count       # open ends
    cdef Py_ssize_t _receiver_count
    cdef bint _closed                   # by close_channel()
    cdef uint64_t _sent
    cdef uint64_t _received
    cdef uint64_t _waits                # how often anyone had to queue
    cdef size_t _high_water
    cdef int64_t _due                   # a timer's: the instant at which its next message is there
    cdef double _time                   # that message
    cdef object _gc                     # makes the class one that the collector visits

    def __dealloc__(self):
        _drop_items(&self._items)

    cdef int _send_locked(self, _End end, PyObject* item, Node* node, Place place, WakeList* woken) noexcept nogil:
        """Puts the item in: DONE, BUSY, LINKED, or an Answer."""
        cdef int answer
        self._latch.lock()
        self._refresh()
        answer = self._refuses(end)
        if answer == DONE:
            answer = self._put(item, woken) if self._capacity == 0 or self._has_room() else BUSY
            if answer == BUSY:
                answer = self._wait_in(&self._senders, node, place)
        if answer > LINKED:
            self._give_leave(woken)     # this one may have had it
        self._latch.unlock()
        return answer

    cdef int _reserve_locked(self, _End end, Node* node, Place place, WakeList* woken) noexcept nogil:
        """Promises a slot: DONE, BUSY, LINKED, or an Answer."""
        cdef int answer
        self._latch.lock()
        self._refresh()
        answer = self._refuses(end)
        if answer == DONE:
            if self._has_room():
                self._reserved += 1
            else:
                answer = self._wait_in(&self._senders, node, place)
        if answer > LINKED:
            self._give_leave(woken)     # this one may have had it
        self._latch.unlock()
        return answer

    cdef int _recv_locked(
        self, _End end, PyObject** items, size_t limit, size_t* count, Node* node, Place place, WakeList* woken
    ) noexcept nogil:
        """Takes the oldest items, at most `limit` references: DONE if there is one, BUSY, LINKED, or an Answer."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        count[0] = 0
        if not end._open:
            answer = END_CLOSED
        else:
            while count[0] < limit and self._take(items + count[0], woken):
                count[0] += 1
            if count[0] == 0:
                answer = self._is_over()
                if answer == DONE:
                    answer = _look_again(self, items, count) if self._is_timer else BUSY
                    if answer == BUSY:
                        answer = self._wait_in(&self._receivers, node, place)
        if answer > LINKED:
            self._give_leave(woken)     # this one may have had it
        self._latch.unlock()
        return answer

    cdef int _drain_locked(
        self, _End end, PyObject** items, size_t room, size_t* count, WakeList* woken
    ) noexcept nogil:
        """Takes all that there is: DONE, END_CLOSED, or BUSY, with nothing taken, if there is too little room."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        count[0] = 0
        if not end._open:
            answer = END_CLOSED
        elif self._available() > room:
            answer = BUSY
        else:
            while self._take(items + count[0], woken):
                count[0] += 1
        self._latch.unlock()
        return answer

    cdef int _force_send_locked(self, _End end, PyObject* item, PyObject** displaced, WakeList* woken) noexcept nogil:
        """Puts the item in, if need be in place of the oldest, `displaced`, a reference; BUSY where there is none."""
        cdef int answer
        displaced[0] = NULL
        self._latch.lock()
        self._refresh()
        answer = self._refuses(end)
        if answer == DONE:
            if self._capacity == 0 or self._has_room():
                answer = self._put(item, woken)
            elif self._items.count == 0:
                answer = BUSY
            elif not make_room(&self._items):
                answer = NO_MEMORY
            else:
                retain(item)
                push(&self._items, item)
                displaced[0] = pop(&self._items)
                self._sent += 1
        self._latch.unlock()
        return answer

    cdef int _redeem_locked(self, PyObject* item, WakeList* woken) noexcept nogil:
        """The end of a permit: the item goes into the slot that was promised, or (NULL) the slot is given up.

        Only with no receiver left is a permit in vain; while there is one, the receivers' end has not come.
        """
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        if item != NULL:
            if self._receiver_count == 0:
                answer = NO_RECEIVERS
            else:
                answer = self._put(item, woken)
        if answer != NO_MEMORY:
            self._reserved -= 1
            if answer != DONE or item == NULL:
                self._give_leave(woken)
            if self._reserved == 0 and (self._closed or self._sender_count == 0):
                claim_all(&self._receivers, CLAIMED, woken)
        self._latch.unlock()
        return answer

    cdef int _open_locked(self, _End end, _End source) noexcept nogil:
        """Counts a new end, a clone of `source` or (None) made from the other side: DONE, or an Answer."""
        cdef int answer = DONE
        self._latch.lock()
        if source is not None:
            if not source._open:
                answer = END_CLOSED
        elif end._sends and self._closed:
            answer = CHANNEL_CLOSED
        elif end._sends and self._sender_count == 0:
            answer = NO_SENDERS
        elif not end._sends and self._receiver_count == 0:
            answer = NO_RECEIVERS
        if answer == DONE:
            end._open = True
            if end._sends:
                self._sender_count += 1
            else:
                self._receiver_count += 1
        self._latch.unlock()
        return answer

    cdef void _close_end_locked(self, _End end, Items* doomed, WakeList* woken) noexcept nogil:
        """Closes an end, and wakes who waits at it. The last receiver takes all items with it, into `doomed`."""
        cdef Node* node
        cdef Node* following
        self._latch.lock()
        self._refresh()
        if end._open:
            end._open = False
            node = self._senders.head if end._sends else self._receivers.head
            while node != NULL:
                following = node.next
                if _end_at(node) == <PyObject*>end:
                    claim(node, CLAIMED, woken)
                node = following
            if end._sends:
                self._sender_count -= 1
                if self._sender_count == 0:
                    claim_all(&self._receivers, CLAIMED, woken)
            else:
                self._receiver_count -= 1
                if self._receiver_count == 0:
                    claim_all(&self._senders, CLAIMED, woken)
                    self._move_items(doomed)
        self._latch.unlock()

    cdef void _close_locked(self, WakeList* woken) noexcept nogil:
        self._latch.lock()
        self._refresh()
        self._closed = True
        claim_all(&self._senders, CLAIMED, woken)
        claim_all(&self._receivers, CLAIMED, woken)
        self._latch.unlock()

    cdef void _take_all_locked(self, Items* items) noexcept nogil:
        self._latch.lock()
        self._move_items(items)
        self._latch.unlock()

    cdef void _pass_on_locked(self, WakeList* woken) noexcept nogil:
        self._latch.lock()
        self._refresh()
        self._give_leave(woken)
        self._latch.unlock()

    cdef bint _abandon_locked(self, Waiter* waiter) noexcept nogil:
        cdef bint gave_up
        self._latch.lock()
        self._refresh()
        gave_up = give_up(waiter)
        self._latch.unlock()
        return gave_up

    cdef void _look_locked(self, _End end, Glance* seen) noexcept nogil:
        self._latch.lock()
        self._refresh()
        seen.count = self._items.count + _is_ripe(self)
        seen.reserved = self._reserved
        seen.is_open = end._open
        seen.closed = self._closed
        seen.senders = self._sender_count
        seen.receivers = self._receiver_count
        seen.sent = self._sent
        seen.received = self._received
        seen.waits = self._waits
        seen.high_water = self._high_water
        self._latch.unlock()

    cdef size_t _available_locked(self) noexcept nogil:
        cdef size_t available
        self._latch.lock()
        self._refresh()
        available = self._available()
        self._latch.unlock()
        return available

    cdef int64_t _due_locked(self) noexcept nogil:
        cdef int64_t due
        self._latch.lock()
        due = self._due
        self._latch.unlock()
        return due

    cdef bint _is_first_locked(self, _End end) noexcept nogil:
        """Whether nobody waits on this side, and a wait is not for a meeting."""
        cdef bint is_first
        self._latch.lock()
        self._refresh()
        is_first = self._capacity != 0 and (self._senders.head if end._sends else self._receivers.head) == NULL
        self._latch.unlock()
        return is_first

    cdef void _waiting_locked(self, Py_ssize_t* senders, Py_ssize_t* receivers) noexcept nogil:
        self._latch.lock()
        self._refresh()
        senders[0] = length(&self._senders)
        receivers[0] = length(&self._receivers)
        self._latch.unlock()

    # What follows is called under the latch.

    cdef inline void _refresh(self) noexcept nogil:
        refresh(&self._senders)
        refresh(&self._receivers)

    cdef inline int _refuses(self, _End end) noexcept nogil:
        """Why nothing can be sent, or DONE."""
        if not end._open:
            return END_CLOSED
        if self._closed:
            return CHANNEL_CLOSED
        if self._receiver_count == 0:
            return NO_RECEIVERS
        return DONE

    cdef inline int _is_over(self) noexcept nogil:
        """Why nothing will be received but what is there, or DONE."""
        if not self._closed and self._sender_count or self._reserved:
            return DONE
        if self._closed:
            return CHANNEL_CLOSED
        if self._is_timer:
            return DONE
        return NO_SENDERS

    cdef inline size_t _available(self) noexcept nogil:
        """How many items can be taken at once: with no capacity those of the senders that wait, too."""
        return self._items.count + (0 if self._capacity else <size_t>length(&self._senders) + _is_ripe(self))

    cdef inline bint _has_room(self) noexcept nogil:
        return <Py_ssize_t>self._items.count + self._reserved < self._capacity

    cdef inline int _put(self, PyObject* item, WakeList* woken) noexcept nogil:
        """Puts the item in and gives a receiver leave; with no capacity BUSY if there is none to be given it."""
        if not make_room(&self._items):
            return NO_MEMORY
        if not claim_first(&self._receivers, CLAIMED, woken) and self._capacity == 0:
            return BUSY
        retain(item)
        push(&self._items, item)
        self._sent += 1
        if self._items.count > self._high_water:
            self._high_water = self._items.count
        return DONE

    cdef inline bint _take(self, PyObject** item, WakeList* woken) noexcept nogil:
        """The oldest item, a reference, or with no capacity that of a waiting sender; False if there is neither."""
        if self._items.count:
            item[0] = pop(&self._items)
            if self._capacity:
                claim_first(&self._senders, CLAIMED, woken)
        elif self._capacity or not self._take_from_sender(item, woken):
            return False
        self._received += 1
        return True

    cdef bint _take_from_sender(self, PyObject** item, WakeList* woken) noexcept nogil:
        """The item of the first sender that can be claimed; it has sent it with that. Or a timer's message."""
        cdef Node* node = self._senders.head
        cdef PyObject* taken
        if _is_ripe(self):
            return _take_message(self, item)
        while node != NULL:
            taken = take(_item_at(node))        # before the claim: one that was spinning may be gone right after it
            if claim(node, HANDED, woken):
                item[0] = taken
                self._sent += 1
                return True
            release_shared(taken)               # its sender, claimed elsewhere, still has it
            node = self._senders.head
        return False

    cdef inline int _wait_in(self, WaitQueue* queue, Node* node, Place place) noexcept nogil:
        if place == TRY:
            return BUSY
        link(queue, node, place)
        self._latch.hurry()
        if node.waiter.task != NULL:
            self._has_met_tasks.store(True, relaxed)
        self._waits += place != FRONT
        return LINKED

    cdef void _give_leave(self, WakeList* woken) noexcept nogil:
        """The invariant, for a leave that was not used."""
        if self._items.count:
            claim_first(&self._receivers, CLAIMED, woken)
        if self._has_room():
            claim_first(&self._senders, CLAIMED, woken)

    cdef inline void _move_items(self, Items* items) noexcept nogil:
        items[0] = self._items
        self._items.head = self._items.tail = self._items.spare = NULL
        self._items.first = self._items.end = self._items.count = 0


cdef void _drop_items(Items* items) noexcept:
    """Drops what is nobody's any more. A destructor that raises is reported, and the others run."""
    while items.count:
        drop(pop(items))
    free_blocks(items)


@cython.final
@cython.no_gc_clear     # __dealloc__ needs the channel; every cycle passes the channel's items, which can be cleared
@cython.trashcan(True)
cdef class _End:
    """One end as the channel counts it: closed once, at the latest when nobody has a face of it any more."""
    cdef _Channel _channel      # constant
    cdef bint _sends            # constant
    cdef bint _open             # under the channel's latch
    cdef Shared[int] _taken     # items that tasks have received here since one of them last let its loop run
    cdef Shared[int] _lively    # the last wait or pause of a task here was not in vain

    def __dealloc__(self):
        cdef KeepRaised keep
        cdef Apart apart
        if self._channel is not None:
            keep.set_aside()
            apart.begin(apart_depth())
            _close_end(self)


cdef _End _new_end(_Channel channel, bint sends, _End source):
    """A new end, a clone of `source` or (None) made from the other side; Disconnected if that cannot be."""
    cdef _End end = _End.__new__(_End)
    cdef int answer
    end._sends = sends
    answer = channel._open_locked(end, source)
    if answer != DONE:
        raise _refusal(answer, source if source is not None else end, MISSING, 0)
    end._channel = channel
    return end


cdef void _close_end(_End end) noexcept:
    cdef WakeList woken
    cdef Items doomed
    doomed.head = doomed.tail = doomed.spare = NULL
    doomed.first = doomed.end = doomed.count = 0
    woken.head = woken.tail = NULL
    end._channel._close_end_locked(end, &doomed, &woken)
    wake(&woken)
    _drop_items(&doomed)


cdef object _refusal(int answer, _End end, object item, Py_ssize_t sent):
    """The exception for an Answer."""
    if answer == NO_MEMORY:
        return MemoryError()
    if answer == END_CLOSED:
        message = f"this {'sender' if end._sends else 'receiver'} is closed"
    elif answer == CHANNEL_CLOSED:
        message = "the channel is closed"
    else:
        message = f"all {'senders' if answer == NO_SENDERS else 'receivers'} are closed"
    return Disconnected(message, item=item, sent=sent)


include "channel_faces.pxi"
include "channel_timers.pxi"


# --- operations ------------------------------------------------------------------------------------------------------
#
# token: the end that is waited at. item: what is sent; where a thread receives, the address of where the item goes.

cdef int _end_attempt(Waiter* waiter, int answer, WakeList* woken, PyObject* item, Py_ssize_t sent) noexcept:
    wake(woken)
    if answer <= LINKED:
        if answer == DONE:
            _was_worth_it(waiter)
        elif (<_End><PyObject*>waiter.token)._channel._is_timer:
            _look_again_at(waiter, (<_End><PyObject*>waiter.token)._channel._due_locked())
        return answer
    try:
        raise _refusal(answer, <_End><PyObject*>waiter.token, <object>item if item != NULL else MISSING, sent)
    except BaseException as error:
        set_raised(error)
    return FAILED


cdef inline void _was_worth_it(Waiter* waiter) noexcept:
    """The wait, if there was one; see _pauses()."""
    if waiter.waited:
        (<_End><PyObject*>waiter.token)._lively.store(True, relaxed)


cdef inline _Channel _aim(Waiter* waiter, WakeList* woken):
    """The channel of an operation whose target is the end."""
    woken.head = woken.tail = NULL
    waiter.token = <uintptr_t>waiter.target
    return (<_End>waiter.target)._channel


cdef int _attempt_send(Waiter* waiter, Place place) noexcept:
    cdef WakeList woken
    cdef _Channel channel = _aim(waiter, &woken)
    cdef int answer = channel._send_locked(<_End>waiter.target, waiter.item, &waiter.node, place, &woken)
    return _end_attempt(waiter, answer, &woken, waiter.item, 0)


cdef int _attempt_reserve(Waiter* waiter, Place place) noexcept:
    cdef WakeList woken
    cdef _Channel channel = _aim(waiter, &woken)
    cdef int answer = channel._reserve_locked(<_End>waiter.target, &waiter.node, place, &woken)
    return _end_attempt(waiter, answer, &woken, NULL, 0)


cdef inline int _receive(Waiter* waiter, PyObject** item, Place place) noexcept:
    cdef WakeList woken
    cdef size_t count
    cdef _Channel channel = _aim(waiter, &woken)
    cdef int answer = channel._recv_locked(<_End>waiter.target, item, 1, &count, &waiter.node, place, &woken)
    return _end_attempt(waiter, answer, &woken, NULL, 0)


cdef int _attempt_recv(Waiter* waiter, Place place) noexcept:
    """For a thread."""
    return _receive(waiter, <PyObject**>waiter.item, place)


cdef int _attempt_async_recv(Waiter* waiter, Place place) noexcept:
    return _receive(waiter, &waiter.item, place)


cdef int _attempt_next(Waiter* waiter, Place place) noexcept:
    """A step of `async for`."""
    cdef WakeList woken
    cdef size_t count
    cdef _End end = <_End>waiter.target
    cdef _Channel channel = _aim(waiter, &woken)
    cdef int answer = channel._recv_locked(end, &waiter.item, 1, &count, &waiter.node, place, &woken)
    _count_taken(end, answer, 1)
    if answer > LINKED and answer != NO_MEMORY:
        wake(&woken)
        PyErr_SetNone(StopAsyncIteration)
        return FAILED
    return _end_attempt(waiter, answer, &woken, NULL, 0)


cdef inline void _count_taken(_End end, int answer, size_t count) noexcept:
    if answer == DONE:
        end._taken.store(end._taken.load(relaxed) + <int>count, relaxed)
    elif answer == LINKED:
        end._taken.store(0, relaxed)


cdef inline bint _has_taken_much(_End end) noexcept:
    """Whether so much was taken without a pause that a task lets its loop run first."""
    if end._taken.load(relaxed) < UNINTERRUPTED:
        return False
    end._taken.store(0, relaxed)
    return True


cdef bint _pauses(Waiter* waiter) noexcept:
    """Whether the other side seems to be at work, and nobody would be overtaken.

    What one turn of the loop brings costs half of what it costs to queue and be woken, or less. A pause in vain is the
    last one until a wait here has been worth it again.
    """
    cdef _End end = <_End><PyObject*>waiter.token
    return end._lively.exchange(False, relaxed) and end._channel._is_first_locked(end)


cdef bint _is_among_threads(Waiter* waiter) noexcept:
    """Whether a thread looks for its turn before it sleeps: where no task has ever waited.

    A task has to be woken by its loop, and that by the system. A thread that sleeps meanwhile finds many items, or room
    for many; one that is there at once finds one, and each costs a wake-up.
    """
    return not (<_End><PyObject*>waiter.token)._channel._has_met_tasks.load(relaxed)


cdef bint _rests(Waiter* waiter) noexcept:
    return _has_taken_much(<_End>waiter.target)


include "channel_many.pxi"


cdef bint _abandon(Waiter* waiter) noexcept nogil:
    return (<_End><PyObject*>waiter.token)._channel._abandon_locked(waiter)


cdef void _pass_on(Waiter* waiter, int how, WakeList* woken) noexcept:
    if how != HANDED:       # a sender whose item was taken has sent it
        (<_End><PyObject*>waiter.token)._channel._pass_on_locked(woken)


cdef void _expire(Waiter* waiter, str what, PyObject* item, Py_ssize_t sent) noexcept:
    try:
        raise Timeout(
            f"{what} within {waiter.timeout / <double>SECOND:g} s",
            item=<object>item if item != NULL else MISSING,
            sent=sent,
        )
    except BaseException as error:
        set_raised(error)


cdef void _expire_send(Waiter* waiter) noexcept:
    _expire(waiter, "the channel had no room for the item", waiter.item, 0)


cdef void _expire_send_many(Waiter* waiter) noexcept:
    _expire(waiter, "the channel had no room for all items", waiter.item, (<_Batch>waiter.target)._sent)


cdef void _expire_reserve(Waiter* waiter) noexcept:
    _expire(waiter, "the channel had no room", NULL, 0)


cdef void _expire_recv(Waiter* waiter) noexcept:
    _expire(waiter, "no item came", NULL, 0)


cdef PyObject* _give_none(Waiter* waiter) noexcept:
    return take(Py_None)


cdef PyObject* _give_item(Waiter* waiter) noexcept:
    """What was received: it moves out."""
    cdef PyObject* item = waiter.item
    waiter.item = NULL
    return item


cdef int _attempt_enter(Waiter* waiter, Place place) noexcept:
    return DONE


cdef int _attempt_leave(Waiter* waiter, Place place) noexcept:
    _close_end(<_End>waiter.target)
    return DONE


cdef PyObject* _give_permit(Waiter* waiter) noexcept:
    """The permit was made before the slot was promised."""
    cdef PyObject* permit = waiter.item
    waiter.item = NULL
    (<Permit>permit)._end = <_End>waiter.target
    return permit


cdef Operation _operation(const char* name, Attempt attempt, Expire expire, Result result):
    cdef Operation operation = new_operation(name, attempt, _abandon, _pass_on, result, expire)
    operation.is_event = True
    operation.hides_item = True
    operation.pauses = _pauses
    operation.spins = _is_among_threads
    return operation


cdef Operation SEND = _operation(b"Sender.send", _attempt_send, _expire_send, _give_none)
cdef Operation RESERVE = _operation(b"Sender.reserve", _attempt_reserve, _expire_reserve, _give_permit)
cdef Operation SEND_MANY = _operation(b"Sender.send_many", _attempt_send_many, _expire_send_many, _give_sent)
SEND_MANY.handed = _sent_one
cdef Operation ENTER = _operation(b"__aenter__", _attempt_enter, NULL, _give_item)
cdef Operation LEAVE = _operation(b"__aexit__", _attempt_leave, NULL, _give_none)
cdef Operation RECV = _operation(b"Receiver.recv", _attempt_recv, _expire_recv, NULL)
cdef Operation ASYNC_RECV = _operation(b"Receiver.recv", _attempt_async_recv, _expire_recv, _give_item)
cdef Operation NEXT = _operation(b"Receiver.__anext__", _attempt_next, _expire_recv, _give_item)
NEXT.rests = _rests
cdef Operation RECV_MANY = _operation(b"Receiver.recv_many", _attempt_recv_many, _expire_recv, _give_found)
RECV_MANY.rests = _rests_many


include "channel_select.pxi"


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse = traverse_slot(_Channel)
cdef inquiry _cython_clear = clear_slot(_Channel)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The items, and the coroutines that wait."""
    cdef _Channel self = <_Channel>slot
    cdef int stopped = _cython_traverse(slot, visit, arg)
    cdef Block* block = self._items.head
    cdef size_t index = self._items.first
    cdef size_t left = self._items.count
    while left and not stopped:
        if index == block.size:
            block = block.next
            index = 0
        stopped = visit(block.items[index], arg)
        index += 1
        left -= 1
    if not stopped:
        stopped = visit_waiters(&self._senders, visit, arg)
    return stopped if stopped else visit_waiters(&self._receivers, visit, arg)


cdef int _clear(PyObject* slot) noexcept:
    """Of a garbage cycle: nobody will receive the items any more."""
    cdef Items doomed
    (<_Channel>slot)._take_all_locked(&doomed)
    _drop_items(&doomed)
    return _cython_clear(slot)


replace_gc_slots(_Channel, _traverse, _clear)
seal(_Channel)
seal(_End)
seal(_Batch)
seal(_TryIterator)
seal(_Face)
seal(_SendFace)
seal(_RecvFace)
seal(Sender)
seal(AsyncSender)
seal(Receiver)
seal(AsyncReceiver)
seal(WeakSender)
seal(Permit)
seal(SendArm)
seal(_Select)
replace_new(bounded, _make_bounded)
replace_new(unbounded, _make_unbounded)
replace_new(async_bounded, _make_async_bounded)
replace_new(async_unbounded, _make_async_unbounded)
