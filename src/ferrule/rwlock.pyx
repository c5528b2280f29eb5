"""RWLock: a lock around a value that many may read or one may write, for threads and for tasks of any event loop.

One word says who has the lock and whether somebody is queued; the uncontended paths are one compare-and-swap on it.
Behind it stands one FIFO of _core.parking, in phases: newcomers that would read queue behind a waiting writer, and when
the lock is free again either one writer goes on, or all readers up to the next writer and one upgradable among them.
The kinds of hold and the bits follow parking_lot (Rust), as does eventual fairness: whoever comes first takes a free
lock, but who has waited for about half a millisecond is handed it.
"""
import os
import sys
import threading
import types

cimport cython
from cpython.exc cimport PyErr_WarnEx, PyErr_WriteUnraisable
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t

from ferrule._core.atomics cimport acq_rel, acquire, relaxed, release
from ferrule._core.bound cimport quicken_with
from ferrule._core.coroutine cimport new_coroutine
from ferrule._core.deadline cimport NEVER, SECOND, now, parse_timeout
from ferrule._core.freelist cimport recycle
from ferrule._core.gc cimport (
    PyObject_GC_UnTrack,
    dealloc_slot,
    destructor,
    free_object,
    inherit_dealloc,
    replace_dealloc,
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.owned cimport drop, move, retain, swap, take
from ferrule._core.parking cimport (
    BUSY,
    CLAIMED,
    DONE,
    FAILED,
    FRONT,
    HANDED,
    LINKED,
    TRY,
    Apart,
    Attempt,
    Node,
    Operation,
    Place,
    Result,
    Waiter,
    WakeList,
    apart_depth,
    claim,
    claims_of,
    copy_claims,
    generation,
    give_up,
    is_handed_to_loop,
    link,
    linked,
    must_act,
    new_operation,
    owner_context,
    owner_thread,
    refresh,
    visit_waiters,
    wait_in_thread,
    wake,
)
from ferrule._core.raised cimport KeepRaised, set_raised
from ferrule._core.sealed cimport PyTypeObject, replace_new, seal

from ferrule.errors import Timeout, WouldDeadlock

cdef extern from *:
    """
    #define FERRULE_VALUE_SLOT(lock) (&(lock)->_value)
    """
    PyObject** value_slot "FERRULE_VALUE_SLOT"(RWLock) noexcept nogil

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FERRULE_RWLOCK_TRIES 100
    #else
    #define FERRULE_RWLOCK_TRIES 0
    #endif
    """
    # How often a thread looks again before it queues: with the GIL the holders cannot go on while it looks.
    const int TRIES "FERRULE_RWLOCK_TRIES"

cdef extern from "Python.h":
    PyObject* Py_None

cdef enum:
    WRITER = 0b001          # there is the hold to write
    UPGRADABLE = 0b010      # there is the upgradable hold, which reads
    PARKED = 0b100          # somebody is queued, or the lock records its holds: the way leads through the latch
    ONE_READER = 0b1000     # the other holds to read are counted above the three bits
    SHIFT = 3
    FULL = 0x80000000       # the count has come so far that no further one is given

    UPGRADE = WRITER | UPGRADABLE       # as a waiter's token: from the upgradable hold to the one to write

cdef enum:      # further outcomes of the locked sections; see parking.pxd
    OWN_HOLD = 16           # the waiter would wait for itself
    SPENT_GUARD             # the guard that was to be converted is not in force
    OVERFLOW                # FULL
    RECORDED                # the hold is to be forgotten before it ends

# Invariants
#   WRITER is set only where nothing else but PARKED is; UPGRADABLE is one bit, so there is at most one such hold.
#   A queue is not empty if and only if PARKED is set. While it is set the word changes only under the latch. But a lock
#   that records its holds has PARKED set always, so that what takes or ends one at once need not ask for records.
#   Who is first in the queue could not have the lock as it is; or it could, and somebody who has been claimed has not
#   tried again yet, and takes the lock or passes its leave on. So whatever may let the first one in ends with
#   _admit(): the end of a hold, a hold that becomes a lesser one, a waiter that gives up, a leave that is not used.
#   _holding_back counts the waiters in _queue that want to read or to write. While it is 0 only waiters for the
#   upgradable hold are queued there, who wait for another such hold to end: newcomers that read may pass them.
#
#   A hold is known by its first guard. What it is converted to has a guard of its own, which keeps the first one alive.
#   While the hold is to write or upgradable, _exclusive is its first guard, whose _tip is the guard in force: it ends
#   and is converted under the latch only, so both can be looked at there. While it is to read, _reading is set in the
#   first guard; only one guard of a hold is ever one to read. So of racing ends and conversions one succeeds.


# --- the lock --------------------------------------------------------------------------------------------------------

@cython.final
@cython.trashcan(True)
cdef class RWLock:
    """RWLock(value=None, /, *, debug=False)
    --

    A lock around a value that many may read or one may write: threads and, through `aio`, tasks of any event loops.

    Complexity  Every method: O(1); the end of a hold: O(waiters that it lets go on).
    Threads     Every method is safe. Threads and tasks wait in one queue.
    Blocks      read, write, upgradable_read and read_recursive while others keep them out; Ctrl-C interrupts them.
    Calls you   never while an internal lock is held.
    Errors      Timeout; WouldDeadlock when the owner of a hold to write or of the upgradable one would wait for itself.

    The value is reached through the guards. New readers wait behind a waiting writer, and a writer waits for those who
    came before it, so neither keeps the other out for long: a free lock goes to whoever comes first, but who has
    waited for longer than 0-1 ms (drawn at random for each wait) is handed it. An exception in a holder releases the
    lock: there is no poisoning.

    With `debug`, or with FERRULE_DEBUG=1 in the environment, the lock records who took each hold, and where: for
    WouldDeadlock, which then sees holds to read too, and for ferrule.debug.deadlocks(). That takes time.

    >>> routes = RWLock({"/": "index"})
    >>> with routes.read() as guard:
    ...     guard.value["/"]
    'index'
    >>> with routes.write(timeout=1.0) as guard:
    ...     guard.value = {**guard.value, "/about": "about"}
    """

    def __cinit__(self, value=None, /, *, bint debug=False):
        self._value = value
        if debug or _debug_all:
            _prepare_to_record()
            self._records = {}
            self._word.store(PARKED, relaxed)

    def read(self, *, timeout=None):
        """Takes a hold to read, beside other readers, and returns its ReadGuard.

        Waits at most `timeout` seconds (None: for ever, 0: not at all) while somebody writes, and behind writers that
        wait already; then Timeout. WouldDeadlock if the end of that wait needs this thread, by a hold of its own or of
        a task of its event loop. What former writers did to the value is visible. O(1).
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Guard guard = _new_guard(self, ONE_READER)
        if not _take_uncontended(self, <PyObject*>guard, ONE_READER):
            return _wait_for(&READ, guard, patience)
        guard._reading.store(True, relaxed)
        return guard

    def try_read(self):
        """Takes a hold to read if it can be had now and returns its ReadGuard, else None. Never waits. O(1)."""
        return _try(self, ONE_READER, False)

    def read_recursive(self, *, timeout=None):
        """read(), but where others read already it does not wait behind a writer.

        So a thread that reads can read again, whoever waits. Where somebody writes, it queues as read() does. O(1).
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Guard guard = _new_guard(self, ONE_READER)
        if not _take_uncontended(self, <PyObject*>guard, ONE_READER):
            return _wait_for(&READ_RECURSIVE, guard, patience)
        guard._reading.store(True, relaxed)
        return guard

    def try_read_recursive(self):
        """Takes a hold to read if nobody writes and returns its ReadGuard, else None. Never waits. O(1)."""
        return _try(self, ONE_READER, True)

    def upgradable_read(self, *, timeout=None):
        """Takes the upgradable hold, which reads and can become the one to write, and returns its UpgradableGuard.

        There is one at most, beside any number of readers. Waits as read() does, and while another has it. O(1).
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Guard guard = _new_guard(self, UPGRADABLE)
        if not _take_uncontended(self, <PyObject*>guard, UPGRADABLE):
            return _wait_for(&UPGRADABLE_READ, guard, patience)
        return guard

    def try_upgradable_read(self):
        """Takes the upgradable hold if it can be had now and returns its UpgradableGuard, else None. O(1)."""
        return _try(self, UPGRADABLE, False)

    def write(self, *, timeout=None):
        """Takes the hold to write, alone, and returns its WriteGuard.

        Waits at most `timeout` seconds (None: for ever, 0: not at all) while anybody holds the lock; then Timeout, and
        whoever it kept waiting goes on at once. WouldDeadlock as for read(). O(1).
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Guard guard = _new_guard(self, WRITER)
        if not _take_uncontended(self, <PyObject*>guard, WRITER):
            return _wait_for(&WRITE, guard, patience)
        return guard

    def try_write(self):
        """Takes the hold to write if nobody holds the lock and returns its WriteGuard, else None. Never waits. O(1)."""
        return _try(self, WRITER, False)

    def locked(self):
        """Whether somebody holds the lock, in whatever way."""
        return self._word.load(relaxed) & ~PARKED != 0

    def locked_exclusive(self):
        """Whether somebody holds the lock to write."""
        return self._word.load(relaxed) & WRITER != 0

    @property
    def readers(self):
        """How many holds to read there are; the upgradable one is not counted."""
        return self._word.load(relaxed) >> SHIFT

    @property
    def aio(self):
        """The async face of this lock, a ferrule.aio.RWLock."""
        return _face_of(self)

    @classmethod
    def __class_getitem__(cls, item, /):
        """RWLock[T]: a lock around a T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe("ferrule.RWLock", self, <uintptr_t><PyObject*>self)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.RWLock")

    def _holders(self, item, /):
        """Who has holds: a list of (thread identity, context or None, who that is or None, stack or None).

        For a walk over who waits for whom; the identities are those of waits(). Without debug: the hold to write, or
        the upgradable one, alone. Where `item` is the guard that is waited for, only holds that keep that wait going:
        not the one that waits to become one to write, nor those to read where the upgradable hold is waited for alone.
        """
        return _holders_of(self, item)

    def _state(self):
        """For tests: the holds, what PARKED says of the queue, and each waiter as ("thread" | "task", claim)."""
        return _state_of(self)

    def _add_readers(self, int count, /):
        """For tests: as if `count` more holds to read had been taken, or, below 0, ended; nobody may be queued."""
        self._word.fetch_add(<uint32_t>count << SHIFT, relaxed)

    cdef void _refresh(self) noexcept nogil:
        """Under the latch: forgets waiters that did not survive a fork()."""
        if self._queue.generation != generation:
            refresh(&self._queue)
            refresh(&self._upgrades)
            self._holding_back = 0
            self._word.store(self._word.load(relaxed) & ~<uint32_t>PARKED | self._with_empty_queues(), release)

    cdef inline uint32_t _with_empty_queues(self) noexcept nogil:
        return 0 if <PyObject*>self._records == Py_None else PARKED

    cdef inline bint _admits(self, uint32_t word, uint32_t hold, bint passes) noexcept nogil:
        """Under the latch: whether a newcomer, or one that `passes` those who wait, may have that hold.

        A free lock may be had by anybody.
        """
        if word & _keeping_out(hold):
            return False
        return passes or word & ~<uint32_t>PARKED == 0 or (self._holding_back == 0 and self._upgrades.head == NULL)

    cdef bint _take_now_locked(self, PyObject* guard, uint32_t hold, bint passes) noexcept nogil:
        """Takes the hold if it can be had now, also where somebody is queued."""
        cdef Waiter passer
        passer.item = guard
        passer.token = hold
        passer.patience = 0
        return self._take_or_link_locked(&passer, TRY, passes, NULL) == DONE

    cdef int _take_or_link_locked(self, Waiter* waiter, Place place, bint passes, WakeList* woken) noexcept nogil:
        """DONE: taken. Else, unless place is TRY, LINKED. OWN_HOLD and OVERFLOW: neither.

        Who was queued before comes back to its place: it is not kept out by those who wait.
        """
        cdef uint32_t hold = <uint32_t>waiter.token
        cdef uint32_t word
        cdef int outcome = BUSY
        passes = passes or place == FRONT or (place == TRY and waiter.patience != 0)
        self._latch.lock()
        self._refresh()
        # Acquire, here and where a compare-and-swap fails: as in _take_uncontended().
        word = self._word.load(acquire)
        while outcome == BUSY:
            if self._admits(word, hold, passes):
                if self._word.compare_exchange_strong(word, word + hold, acquire, acquire):
                    outcome = DONE
                    if hold != ONE_READER:
                        self._own(waiter.item)
            elif hold == ONE_READER and word & FULL:
                outcome = OVERFLOW
            elif place == TRY:
                break
            elif self._waits_for_itself(waiter):
                outcome = OWN_HOLD
            # Acquire: from the holds that have ended; who is handed the lock later has it through the latch.
            elif word & PARKED or self._word.compare_exchange_strong(word, word | PARKED, acq_rel, acquire):
                outcome = LINKED
                link(&self._queue, &waiter.node, place)
                if hold != UPGRADABLE:
                    self._holding_back += 1
                if place != FRONT and self._queue.tail != &waiter.node:
                    self._admit(False, woken)       # it went ahead of others, so perhaps of those who kept it out
        self._latch.unlock()
        return outcome

    cdef inline bint _waits_for_itself(self, Waiter* waiter) noexcept nogil:
        """Under the latch: whether the hold to write, or the upgradable one, can only end by an act of the waiter."""
        # Acquire pairs with the release in _own(): the guard's fields are filled in.
        cdef PyObject* first = self._exclusive.load(acquire)
        return first != NULL and must_act(waiter, (<_Guard>first)._thread, (<_Guard>first)._context)

    cdef int _upgrade_or_link_locked(self, Waiter* waiter, Place place) noexcept nogil:
        """DONE: the waiter's guard is in force. Else, unless place is TRY, LINKED; or SPENT_GUARD."""
        cdef PyObject* before = <PyObject*>(<_Guard>waiter.item)._before
        cdef uint32_t word
        cdef int outcome = BUSY
        self._latch.lock()
        self._refresh()
        # Acquire, here and below, pairs with the release in _end_reading(): the readers have read.
        word = self._word.load(acquire)
        if not self._in_force(before):
            outcome = SPENT_GUARD
        while outcome == BUSY:
            if word & ~<uint32_t>PARKED == UPGRADABLE:
                if self._word.compare_exchange_strong(word, word - UPGRADABLE + WRITER, acquire, acquire):
                    outcome = DONE
                    self._own(waiter.item)
            elif place == TRY:
                break
            elif word & PARKED or self._word.compare_exchange_strong(word, word | PARKED, acq_rel, acquire):
                outcome = LINKED
                link(&self._upgrades, &waiter.node, place)
        self._latch.unlock()
        return outcome

    cdef inline void _own(self, PyObject* guard) noexcept nogil:
        """Enters the guard as the one in force, of a hold to write or an upgradable one that has just been taken."""
        cdef PyObject* first = _first_of(guard)
        (<_Guard>first)._tip = guard
        # Release pairs with the acquire of who looks at the holder.
        self._exclusive.store(first, release)

    cdef inline bint _in_force(self, PyObject* guard) noexcept nogil:
        """Under the latch: whether the guard, which is not one to read, holds the lock."""
        cdef PyObject* first = _first_of(guard)
        return self._exclusive.load(relaxed) == first and (<_Guard>first)._tip == guard

    cdef bint _in_force_locked(self, PyObject* guard) noexcept nogil:
        cdef bint in_force
        self._latch.lock()
        in_force = self._in_force(guard)
        self._latch.unlock()
        return in_force

    cdef void _let_go(self, uint32_t hold, bint fair, WakeList* woken) noexcept nogil:
        """Under the latch: one hold of that kind ends."""
        cdef uint32_t word = self._word.load(relaxed)
        if hold != ONE_READER:
            # Before the word: from then on there may be another such hold.
            self._exclusive.store(NULL, relaxed)
        # Release pairs with the acquire of whoever takes the lock next; acquire with the release of the readers that
        # have left without the latch, for whoever is handed it here.
        while not self._word.compare_exchange_strong(word, word - hold, acq_rel, relaxed):
            pass
        self._admit(fair, woken)

    cdef void _admit(self, bint fair, WakeList* woken) noexcept nogil:
        """Under the latch: lets those who wait go on, as far as the holders do not keep them out.

        First an upgrade; then, from the head of the queue up to the first who must go on waiting for the others to
        leave, one writer or all readers and one upgradable. Who has lost its patience, or is to be treated with
        fairness, is handed its hold, the others have leave to try.
        """
        cdef uint32_t word = self._word.load(relaxed)
        cdef uint32_t granted       # the holds that there are, and those of who has leave to try
        cdef uint32_t hold
        cdef int64_t instant = 0
        cdef Waiter* waiter
        cdef Node* node
        cdef Node* following
        if not word & PARKED:
            return
        while self._upgrades.head != NULL:
            waiter = self._upgrades.head.waiter
            if not self._in_force(<PyObject*>(<_Guard>waiter.item)._before):
                claim(self._upgrades.head, CLAIMED, woken)      # released or converted meanwhile: it will find out
            elif word & ~<uint32_t>PARKED == UPGRADABLE:
                word = WRITER | PARKED
                self._own(waiter.item)
                claim(self._upgrades.head, HANDED, woken)
            else:
                return      # it waits for the readers, and everybody else for it
        granted = word & ~<uint32_t>PARKED
        node = self._queue.head
        while node != NULL and not granted & WRITER:
            following = node.next
            waiter = node.waiter
            hold = <uint32_t>waiter.token
            if not granted & _keeping_out(hold):
                granted += hold
                if not fair and instant == 0:
                    instant = now()
                if hold != UPGRADABLE:
                    self._holding_back -= 1
                if fair or instant >= waiter.patience:
                    word += hold
                    if hold != ONE_READER:
                        self._own(waiter.item)
                    claim(node, HANDED, woken)
                else:
                    claim(node, CLAIMED, woken)
            elif hold == WRITER:
                break
            node = following
        if self._queue.head == NULL and self._upgrades.head == NULL:
            word = word & ~<uint32_t>PARKED | self._with_empty_queues()
        # Release: as in _let_go(). Nobody else has changed the word: PARKED was set.
        self._word.store(word, release)

    cdef void _stop_reading_locked(self, bint fair, WakeList* woken) noexcept nogil:
        """One hold to read ends, where somebody may be queued."""
        self._latch.lock()
        self._refresh()
        self._let_go(ONE_READER, fair, woken)
        self._latch.unlock()

    cdef int _release_locked(
        self, PyObject* guard, bint whole, bint fair, bint forgotten, WakeList* woken
    ) noexcept nogil:
        """DONE: the hold to write, or the upgradable one, that the guard has is ended. BUSY: it has none.

        RECORDED: it is to be `forgotten` first. `whole`: also if another guard of the same hold is in force.
        """
        cdef PyObject* first = _first_of(guard)
        cdef uint32_t word
        cdef int outcome = BUSY
        self._latch.lock()
        self._refresh()
        if self._exclusive.load(relaxed) == first and (whole or (<_Guard>first)._tip == guard):
            word = self._word.load(relaxed)
            if word & PARKED and not forgotten and <PyObject*>self._records != Py_None:
                outcome = RECORDED
            else:
                outcome = DONE
                self._let_go(word & (WRITER | UPGRADABLE), fair, woken)
        self._latch.unlock()
        return outcome

    cdef int _convert_locked(self, PyObject* guard, PyObject* successor, WakeList* woken) noexcept nogil:
        """DONE: the guard's hold is the successor's, of a lesser kind. Else SPENT_GUARD or OVERFLOW."""
        cdef uint32_t change = (<_Guard>successor)._hold - (<_Guard>guard)._hold
        cdef PyObject* first = _first_of(guard)
        cdef uint32_t word
        cdef int outcome = DONE
        self._latch.lock()
        self._refresh()
        word = self._word.load(relaxed)
        if not self._in_force(guard):
            outcome = SPENT_GUARD
        elif (<_Guard>successor)._hold != ONE_READER:
            (<_Guard>first)._tip = successor
        elif word & FULL:
            outcome = OVERFLOW
        else:
            # Before the word: from then on there may be another such hold.
            self._exclusive.store(NULL, relaxed)
            (<_Guard>first)._reading.store(True, relaxed)
        if outcome == DONE:
            # Acquire and release: as in _let_go().
            while not self._word.compare_exchange_strong(word, word + change, acq_rel, relaxed):
                pass
            self._admit(False, woken)
        self._latch.unlock()
        return outcome

    cdef void _restore_locked(self, PyObject* guard, WakeList* woken) noexcept nogil:
        """The end of an upgraded() block: the guard is in force again, if its hold is not over or one to read."""
        cdef PyObject* first = _first_of(guard)
        cdef uint32_t word
        self._latch.lock()
        self._refresh()
        if self._exclusive.load(relaxed) == first:
            (<_Guard>first)._tip = guard
            word = self._word.load(relaxed)
            # Release: as in _let_go().
            while word & WRITER and not self._word.compare_exchange_strong(
                word, word - WRITER + UPGRADABLE, acq_rel, relaxed
            ):
                pass
            self._admit(False, woken)
        self._latch.unlock()

    cdef bint _abandon_locked(self, Waiter* waiter, WakeList* woken) noexcept nogil:
        """Gives up the wait; who was kept out by nothing else goes on at once."""
        cdef bint counted
        cdef bint gave_up
        self._latch.lock()
        self._refresh()
        counted = linked(&waiter.node) and (waiter.token == ONE_READER or waiter.token == WRITER)
        gave_up = give_up(waiter)
        if gave_up:
            self._holding_back -= counted
            self._admit(False, woken)
        self._latch.unlock()
        return gave_up

    cdef void _pass_on_locked(self, Waiter* waiter, int how, WakeList* woken) noexcept nogil:
        """Undoes what the waiter was handed, or gives the leave that it does not use to others."""
        cdef PyObject* first = _first_of(waiter.item)
        cdef uint32_t word
        self._latch.lock()
        self._refresh()
        if how != HANDED:
            self._admit(False, woken)
        elif waiter.token == ONE_READER:
            self._let_go(ONE_READER, False, woken)
        elif self._exclusive.load(relaxed) != first:
            pass        # the block that the hold began with has ended meanwhile
        elif waiter.token == UPGRADE:
            (<_Guard>first)._tip = <PyObject*>(<_Guard>waiter.item)._before
            word = self._word.load(relaxed)
            while not self._word.compare_exchange_strong(word, word - WRITER + UPGRADABLE, acq_rel, relaxed):
                pass
            self._admit(False, woken)
        else:
            self._let_go(<uint32_t>waiter.token, False, woken)
        self._latch.unlock()

    cdef PyObject* _get_value_locked(self, PyObject* guard) noexcept nogil:
        """A new reference to the value; NULL if the guard, which is not one to read, is not in force."""
        cdef PyObject* value = NULL
        self._latch.lock()
        if self._in_force(guard):
            value = take(value_slot(self)[0])
        self._latch.unlock()
        return value

    cdef PyObject* _set_value_locked(self, PyObject* guard, PyObject* value) noexcept nogil:
        """Moves the reference in and returns the old value's; NULL if the guard, one to write, is not in force."""
        cdef PyObject* old = NULL
        self._latch.lock()
        if self._in_force(guard):
            old = swap(value_slot(self), value)
        self._latch.unlock()
        return old

    cdef uint64_t _holder_locked(self, PyObject** context) noexcept nogil:
        """The thread of the hold to write or the upgradable one, and a new reference to its context; 0: none."""
        cdef PyObject* first
        cdef uint64_t thread = 0
        self._latch.lock()
        # Acquire: as in _waits_for_itself().
        first = self._exclusive.load(acquire)
        if first != NULL:
            thread = (<_Guard>first)._thread
            if (<_Guard>first)._context != NULL:
                context[0] = take((<_Guard>first)._context)
        self._latch.unlock()
        return thread

    cdef Py_ssize_t _copy_claims_locked(self, int* found, Py_ssize_t room) noexcept nogil:
        """Copies the claims of at most `room` waiters, upgrades first; how many there are."""
        cdef Py_ssize_t count
        self._latch.lock()
        self._refresh()
        count = copy_claims(&self._upgrades, found, room)
        count += copy_claims(&self._queue, found + min(count, room), room - min(count, room))
        self._latch.unlock()
        return count


include "rwlock_face.pxi"
include "rwlock_guard.pxi"
include "rwlock_hold.pxi"
include "rwlock_wait.pxi"
include "rwlock_debug.pxi"


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse = traverse_slot(RWLock)
cdef traverseproc _cython_guard_traverse = traverse_slot(_Guard)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The value and the coroutines that wait."""
    cdef RWLock self = <RWLock>slot
    cdef int stopped = _cython_traverse(slot, visit, arg)
    if not stopped:
        stopped = visit_waiters(&self._upgrades, visit, arg)
    return stopped if stopped else visit_waiters(&self._queue, visit, arg)


cdef int _traverse_guard(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef int stopped = visit_raw((<_Guard>slot)._context, visit, arg)
    return stopped if stopped else _cython_guard_traverse(slot, visit, arg)


cdef destructor _cython_guard_dealloc = dealloc_slot(_Guard)


cdef void _dealloc_guard(PyObject* slot) noexcept:
    """Of most guards the hold has ended: then there is no need for what Cython does around __dealloc__."""
    cdef PyObject* lock = <PyObject*>(<_Guard>slot)._lock
    if lock == Py_None or (<_Guard>slot)._first is None and _holds(<_Guard>slot):
        _cython_guard_dealloc(slot)
        return
    PyObject_GC_UnTrack(slot)
    drop(lock)
    drop(<PyObject*>(<_Guard>slot)._first)
    drop(<PyObject*>(<_Guard>slot)._before)
    drop((<_Guard>slot)._context)
    free_object(slot)


cdef PyObject* _new_face(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    """aio.RWLock(...): a new lock, and its face."""
    cdef AsyncRWLock face = None
    try:
        face = _face_of(RWLock(*<tuple>args, **(<dict>kwargs if kwargs != NULL else {})))
    except BaseException as error:
        set_raised(error)
    return take(<PyObject*>face) if face is not None else NULL


cdef int _finish_class(type cls) except -1:
    """A kind of guard: seen by the collector, made by the lock only, its memory used again."""
    replace_gc_slots(cls, _traverse_guard, NULL)
    inherit_dealloc(cls, _Guard)
    recycle(cls)
    seal(cls)
    if hasattr(cls, "__enter__"):
        quicken_with(cls)
    return 0


replace_gc_slots(RWLock, _traverse, NULL)
replace_new(AsyncRWLock, _new_face)
replace_gc_slots(_Guard, _traverse_guard, NULL)
replace_dealloc(_Guard, _dealloc_guard)
seal(_Guard)
seal(_WriteGuard)
seal(_UpgradableGuard)
_finish_class(ReadGuard)
_finish_class(WriteGuard)
_finish_class(UpgradableGuard)
_finish_class(AsyncReadGuard)
_finish_class(AsyncWriteGuard)
_finish_class(AsyncUpgradableGuard)
seal(Unlocked)
seal(AsyncUnlocked)
seal(Upgraded)
seal(AsyncUpgraded)
