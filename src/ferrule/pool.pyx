"""Pool: objects that are dear to make, leased to threads and to tasks of any event loop.

A pool is a number of *slots*, each with one object. A slot is idle, in the pool's list, or belongs to exactly one
*lease*: from when it is taken out of the list, or made, until it is back in the list, or freed. So whoever runs a hook
has the slot in a lease, `max_size` counts slots and so bounds the objects that exist, and whatever becomes of the hook,
with that lease ends the absence of its slot.

A slot given back is handed to the first waiter. That is so where it is a task, which can do nothing before its loop
comes round, and where it has waited for longer than 0-1 ms; a thread that has come just now gets leave to try again
instead, and whoever is first takes the slot (as with the Mutex, after parking_lot), so threads that hold objects for
an instant do not wake each other up for each. A slot that is freed is given on in the same way, blank: its next owner
makes the object.

What runs hooks is written once, as coroutines (pool_hooks.pxi): the async face awaits them, and the sync one takes
their only step, because where no hook gives an awaitable they have none to wait at. Where no hook is needed, or a sync
one does what it should, neither face comes there.

A lease is as cheap as in object-pool; the stages of a lease, recycling and figures follow deadpool (both Rust).
"""
import sys
import types
from weakref import ref as weakref

cimport cython
from cpython.exc cimport PyErr_WarnEx, PyErr_WriteUnraisable
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint64_t

from ferrule._core.atomics cimport acquire, relaxed, release
from ferrule._core.awaitable cimport dispose, is_awaitable
from ferrule._core.bound cimport quicken_with
from ferrule._core.coroutine cimport new_coroutine
from ferrule._core.deadline cimport NEVER, SECOND, deadline_after, now, parse_timeout
from ferrule._core.freelist cimport recycle
from ferrule._core.gc cimport (
    PyObject_GC_UnTrack,
    clear_slot,
    delete_object,
    finalize_dying,
    free_object,
    inherit_dealloc,
    inquiry,
    replace_dealloc,
    replace_gc_slots,
    set_finalizer,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc
from ferrule._core.owned cimport drop, move, take
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
    Continue,
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
    generation,
    give_up,
    is_closed,
    length,
    link,
    loop_of_task,
    new_operation,
    refresh,
    running_loop,
    visit_waiters,
    wait_in_thread,
    wake,
)
from ferrule._core.raised cimport KeepRaised, ends_by_force, reraise, set_raised
from ferrule._core.sealed cimport PyTypeObject, new_slot, newfunc, replace_new, seal

from ferrule.errors import PoolClosed, PoolTimeout

cdef extern from "Python.h":
    PyObject* Py_None
    cdef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
    PySendResult PyIter_Send(object, object, PyObject**) noexcept

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030D0000
    #define Py_IsFinalizing _Py_IsFinalizing
    #endif
    """
    bint Py_IsFinalizing() noexcept

cdef enum Stage:            # of a lease
    TAKING                  # it has no slot yet, or one whose object is not good yet
    HELD                    # its holder has the object
    ENDING                  # hooks are run on the object
    ENDED

cdef enum Answer:           # of a locked section, besides the outcomes of an attempt
    CLOSED = 3
    NO_MEMORY
    NOT_HELD


# --- the pool --------------------------------------------------------------------------------------------------------

@cython.final
@cython.trashcan(True)
cdef class Pool:
    """Pool(create, *, max_size, min_size=0, reset=None, validate=None, destroy=None, order="lifo", idle_timeout=None, \
lifetime=None, max_uses=None, reap_every=None, wait_timeout=30.0, create_timeout=None, validate_timeout=None, \
on_event=None, debug=False)
    --

    At most `max_size` objects made by `create()`, leased to threads and, through `aio`, to tasks of event loops.

    Complexity  acquire, release, attach, detach: O(1) besides the hooks. retain, reap, resize, close: O(idle).
    Threads     Every method is safe. Threads and tasks wait in one queue.
    Blocks      acquire while all objects are leased, close until none is; Ctrl-C interrupts them.
    Calls you   the hooks, never while an internal lock is held: create, reset, validate, destroy, on_event.
    Errors      PoolTimeout, PoolClosed; what `create` raises; BlockingInEventLoop where acquire or close would wait.

    `reset(obj)` runs when an object comes back, `validate(obj)` before an idle one is leased; one that raises, or gives
    False, ends the object: its slot goes on to whoever waits, and the error to `on_event(event, obj, error)`, where
    event is "reset", "validate" or "destroy", "abandoned" for a lease that was collected, or "create" for an object
    that `reap_every` was to make. Errors of `destroy` go there too. What is not an Exception (KeyboardInterrupt,
    CancelledError) also reaches the caller whose call it was.

    An object ends, besides, when it has been leased `max_uses` times, `lifetime` seconds after it was made, or when it
    has been idle for `idle_timeout` seconds: that is seen when it is given back or asked for, by reap(), and every
    `reap_every` seconds, when the pool is also filled up to `min_size` again.

    Waiting for an object takes at most `wait_timeout` seconds (None: for ever) where a call does not say otherwise.
    order="lifo" leases the object that came back last, "fifo" the one that came back first.

    >>> buffers = Pool(bytearray, max_size=8, reset=bytearray.clear)
    >>> with buffers.acquire() as buffer:
    ...     buffer += b"hello"
    >>> buffers.idle, buffers.in_use
    (1, 0)
    """

    def __cinit__(
        self, create, *, max_size, min_size=0, reset=None, validate=None, destroy=None, str order="lifo",
        idle_timeout=None, lifetime=None, max_uses=None, reap_every=None, wait_timeout=30.0, create_timeout=None,
        validate_timeout=None, on_event=None, bint debug=False,
    ):
        for name, hook in (("reset", reset), ("validate", validate), ("destroy", destroy), ("on_event", on_event)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be callable or None, not {type(hook).__name__}")
        _check_callable("create", create)
        if order not in ("lifo", "fifo"):
            raise ValueError(f'order must be "lifo" or "fifo", not {order!r}')
        self._create, self._reset, self._validate, self._destroy = create, reset, validate, destroy
        self._on_event = on_event
        self._figures.max_size = _parse_size(max_size)
        self._min_size = PyNumber_Index(min_size)
        if not 0 <= self._min_size <= self._figures.max_size:
            raise ValueError(f"min_size must be from 0 to max_size, {self._figures.max_size}, not {min_size}")
        if max_uses is not None:
            if PyNumber_Index(max_uses) < 1:
                raise ValueError(f"max_uses must be at least 1, not {max_uses}")
            self._max_uses = max_uses
        self._idle_timeout = parse_timeout(idle_timeout)
        self._lifetime = parse_timeout(lifetime)
        self._wait_timeout = parse_timeout(wait_timeout)
        self._create_timeout = _parse_period(create_timeout)
        self._validate_timeout = _parse_period(validate_timeout)
        self._reap_every = _parse_period(reap_every)
        if self._reap_every == 0:
            raise ValueError("reap_every must be more than 0 seconds")
        if validate_timeout is not None and validate is None:
            raise ValueError("validate_timeout is for an async validate, and there is none")
        self._oldest_first = order == "fifo"
        self._counts = self._idle_timeout != NEVER or self._lifetime != NEVER
        self._looks = validate is not None or self._counts
        self._acts = reset is not None or self._max_uses != 0 or self._lifetime != NEVER
        self._debug = debug
        self._generation = generation
        self._tasks = set()

    def acquire(self, *, timeout=...):
        """Leases an object: `with pool.acquire() as obj`, or keep the Lease and end it with release().

        Waits at most `timeout` seconds (None: for ever, 0: not at all; the pool's own `wait_timeout` if not given)
        behind those who wait already, then PoolTimeout. That is for waiting alone: how long the hooks take is theirs.
        PoolClosed; what `create` raises. O(1).
        """
        cdef int64_t patience = self._wait_timeout if timeout is ... else parse_timeout(timeout)
        cdef _Lease lease = _new_lease(self)
        _check_sync(self)
        if self._take_locked(lease, NULL, TRY) != DONE:
            wait_in_thread(&ACQUIRE, self, <PyObject*>lease, 0, patience)
        if lease._state != HELD:
            _make_good(lease)
        if self._debug:
            lease._stack = _stack_here()
        return lease

    def try_acquire(self):
        """Leases an object if there is an idle one or room for a new one, else None. Never waits. PoolClosed. O(1)."""
        _check_sync(self)
        return _try_acquire(self, _new_lease(self))

    def acquire_or(self, fallback, /):
        """Leases an object, or where that would have to wait one that `fallback()` makes.

        Such an object is beside the pool's number, and is destroyed when its lease ends. PoolClosed. O(1).
        """
        _check_sync(self)
        return _acquire_or(self, _new_lease(self), fallback)

    def attach(self, obj, /):
        """Makes the object one of the pool's, idle. ValueError if the pool is full; PoolClosed. O(1)."""
        _attach(self, _new_lease(self), obj)

    @property
    def idle(self):
        """How many objects are there to be leased."""
        return _look(self).idle

    @property
    def in_use(self):
        """How many objects are leased, or in the hands of a hook."""
        cdef Figures seen = _look(self)
        return seen.size - seen.idle

    @property
    def size(self):
        """How many objects there are, those that are being made or destroyed included."""
        return _look(self).size

    @property
    def waiting(self):
        """How many threads and tasks wait for an object. O(waiting)."""
        cdef Figures seen
        return self._look_locked(&seen, True)

    @property
    def max_size(self):
        """How many objects there may be."""
        return _look(self).max_size

    @property
    def closed(self):
        """Whether close() has been called."""
        return _look(self).closed

    def stats(self):
        """A dict: created, reused, waits, wait_seconds (of all waits), timeouts, discarded (whatever the reason)."""
        cdef Figures seen = _look(self)
        return {
            "created": seen.created,
            "reused": seen.reused,
            "waits": seen.waits,
            "wait_seconds": seen.waited / <double>SECOND,
            "timeouts": seen.timeouts,
            "discarded": seen.discarded,
        }

    def resize(self, max_size, /):
        """Changes `max_size`. Idle objects over it are destroyed now, leased ones when they come back. O(idle)."""
        _run(_resize(self, _new_lease(self), _parse_size(max_size)))

    def retain(self, predicate, /):
        """Destroys the idle objects for which `predicate(obj)` is false; how many. Raises what that raises. O(idle)."""
        _check_callable("predicate", predicate)
        return _run(_retain(self, _new_lease(self), predicate))

    def reap(self):
        """Destroys idle objects that are past `lifetime`, or `idle_timeout` (down to `min_size`); how many. O(idle)."""
        return _run(_reap(self, _new_lease(self)))

    def warm_up(self):
        """Makes objects until there are `min_size`. Raises what `create` raises; PoolClosed. O(min_size)."""
        _run(_warm_up(self, _new_lease(self)))

    def close(self, *, timeout=None):
        """Ends the pool: who waits gets PoolClosed, every object is destroyed, those on lease when it ends.

        Waits for the last lease at most `timeout` seconds (None: for ever, 0: not at all), then PoolTimeout; the pool
        is closed all the same. May be called again.
        """
        _run(_close(self, _new_lease(self), parse_timeout(timeout)))

    @property
    def aio(self):
        """The async face of this pool, a ferrule.aio.Pool."""
        return _face_of(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _run(_close(self, _new_lease(self), self._wait_timeout))

    @classmethod
    def __class_getitem__(cls, item, /):
        """Pool[T]: a pool of Ts."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return _describe("ferrule.Pool", self)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.Pool")

    def __dealloc__(self):
        _drop_idle(self)
        drop(self._loop.load(relaxed) if self._generation == generation else NULL)

    # What follows is called under the latch.

    cdef inline void _refresh(self) noexcept nogil:
        """In the child of a fork() the pool is empty. What it had is the parent's, and is never touched again."""
        if self._generation != generation:
            self._generation = generation
            self._newest = self._oldest = NULL
            self._figures.idle = self._figures.size = self._figures.leaving = self._figures.surplus = 0
            self._loop.store(NULL, relaxed)
        refresh(&self._queue)
        refresh(&self._closers)

    cdef inline void _push_idle(self, Slot* slot) noexcept nogil:
        slot.newer = NULL
        slot.older = self._newest
        if self._newest != NULL:
            self._newest.newer = slot
        else:
            self._oldest = slot
        self._newest = slot
        self._figures.idle += 1

    cdef inline void _unlink_idle(self, Slot* slot) noexcept nogil:
        if slot.newer != NULL:
            slot.newer.older = slot.older
        else:
            self._newest = slot.older
        if slot.older != NULL:
            slot.older.newer = slot.newer
        else:
            self._oldest = slot.newer
        self._figures.idle -= 1

    cdef bint _hand(self, Slot* slot, WakeList* woken) noexcept nogil:
        """Gives the slot to the first waiter, if that is a task or has waited for long."""
        cdef Node* first = self._queue.head
        if first == NULL or (first.waiter.task == NULL and now() < first.waiter.patience):
            return False
        # Before the claim, because the claimed looks at it. Who waits for one object alone is claimed without fail.
        (<_Lease>first.waiter.item)._slot = slot
        claim(first, HANDED, woken)
        return True

    cdef inline void _put(self, Slot* slot, WakeList* woken) noexcept nogil:
        """A slot whose object may be leased."""
        if self._queue.head == NULL:
            self._push_idle(slot)
        elif not self._hand(slot, woken):
            self._push_idle(slot)
            claim_first(&self._queue, CLAIMED, woken)

    cdef void _vacate(self, Slot* slot, WakeList* woken) noexcept nogil:
        """A slot that is blank: is handed on, or freed."""
        if slot.surplus:
            self._figures.surplus -= 1
        elif self._wants(slot) and self._hand(slot, woken):
            return
        else:
            self._mark(slot, False)
            self._figures.size -= 1
            if self._figures.size < self._figures.max_size:
                claim_first(&self._queue, CLAIMED, woken)
        PyMem_Free(slot)
        if self._figures.size == 0 and self._figures.surplus == 0:
            claim_all(&self._closers, CLAIMED, woken)

    cdef inline void _mark(self, Slot* slot, bint leaves) noexcept nogil:
        """While its object is destroyed a slot leaves: it takes room, but no other has to leave in its place."""
        if slot.leaves != leaves and not slot.surplus:
            slot.leaves = leaves
            self._figures.leaving += 1 if leaves else -1

    cdef inline bint _wants(self, Slot* slot) noexcept nogil:
        """Whether a slot may stay; else it leaves."""
        self._mark(slot, False)
        self._mark(slot, self._figures.closed or self._staying() > self._figures.max_size)
        return not (slot.leaves or slot.surplus)

    cdef inline Py_ssize_t _staying(self) noexcept nogil:
        return self._figures.size - self._figures.leaving

    cdef int _new_slot(self, _Lease lease) noexcept nogil:
        cdef Slot* slot = <Slot*>PyMem_Malloc(sizeof(Slot))
        if slot == NULL:
            return NO_MEMORY
        slot.object = NULL
        slot.surplus = slot.leaves = False
        slot.uses = 0
        slot.created = slot.returned = 0
        slot.generation = generation
        lease._slot = slot
        return DONE

    cdef inline void _hold(self, _Lease lease) noexcept nogil:
        """The lease's object is good."""
        lease._state = HELD
        if lease._slot.uses != 0:
            self._figures.reused += 1
        lease._slot.uses += 1
        self._end_wait(lease)

    cdef inline void _end_wait(self, _Lease lease) noexcept nogil:
        """The lease's holder waits no more."""
        if lease._since != 0:
            self._figures.waited += now() - lease._since
            lease._since = 0

    cdef int _take_locked(self, _Lease lease, Node* node, Place place) noexcept nogil:
        """A slot for the lease: DONE, BUSY, LINKED, CLOSED, NO_MEMORY. With an object that is good it is HELD."""
        cdef int answer = BUSY
        cdef Slot* slot
        self._latch.lock()
        self._refresh()
        slot = self._oldest if self._oldest_first else self._newest
        if self._figures.closed:
            self._end_wait(lease)
            answer = CLOSED
        elif slot != NULL:
            self._unlink_idle(slot)
            lease._slot = slot
            if not self._looks:
                self._hold(lease)
            answer = DONE
        elif self._figures.size < self._figures.max_size:
            answer = self._new_slot(lease)
            if answer == DONE:
                self._figures.size += 1
        elif place != TRY:
            if place != FRONT:
                self._figures.waits += 1
                lease._since = now()
            link(&self._queue, node, place)
            answer = LINKED
        self._latch.unlock()
        return answer

    cdef int _take_room_locked(self, _Lease lease, Py_ssize_t most) noexcept nogil:
        """A new slot if fewer than `most` stay: DONE, BUSY, CLOSED, NO_MEMORY."""
        cdef int answer = BUSY
        self._latch.lock()
        self._refresh()
        if self._figures.closed:
            answer = CLOSED
        elif self._staying() < most and self._figures.size < self._figures.max_size:
            answer = self._new_slot(lease)
            if answer == DONE:
                self._figures.size += 1
        self._latch.unlock()
        return answer

    cdef int _take_surplus_locked(self, _Lease lease) noexcept nogil:
        """A slot beside the pool's: DONE, CLOSED, NO_MEMORY."""
        cdef int answer = CLOSED
        self._latch.lock()
        self._refresh()
        if not self._figures.closed:
            answer = self._new_slot(lease)
            if answer == DONE:
                lease._slot.surplus = True
                self._figures.surplus += 1
        self._latch.unlock()
        return answer

    cdef bint _take_idle_locked(self, _Lease lease, Py_ssize_t most, int64_t instant) noexcept nogil:
        """The oldest idle slot if more than `most` stay; or the oldest that is stale at `instant`, if not 0. It leaves.

        An idle timeout leaves `most` slots alone.
        """
        cdef Slot* slot
        self._latch.lock()
        self._refresh()
        slot = self._oldest
        if instant == 0:
            if self._staying() <= most:
                slot = NULL
        else:
            while slot != NULL and not (
                instant - slot.created >= self._lifetime
                or (instant - slot.returned >= self._idle_timeout and self._staying() > most)
            ):
                slot = slot.newer
        if slot != NULL:
            self._unlink_idle(slot)
            self._mark(slot, True)
            lease._slot = slot
        self._latch.unlock()
        return slot != NULL

    cdef void _exchange_locked(self, _Lease lease, WakeList* woken) noexcept nogil:
        """For the lease's blank slot an idle one, if there is one."""
        cdef Slot* blank = lease._slot
        cdef Slot* slot
        self._latch.lock()
        self._refresh()
        slot = self._oldest if self._oldest_first else self._newest
        if blank.generation == generation and slot != NULL:
            self._unlink_idle(slot)
            lease._slot = slot
            self._vacate(blank, woken)
        self._latch.unlock()

    cdef void _hold_locked(self, _Lease lease) noexcept nogil:
        self._latch.lock()
        self._hold(lease)
        self._latch.unlock()

    cdef int _stage_locked(self, _Lease lease) noexcept nogil:
        cdef int stage
        self._latch.lock()
        stage = lease._state
        self._latch.unlock()
        return stage

    cdef PyObject* _value_locked(self, _Lease lease) noexcept nogil:
        """A new reference to the object; NULL if the lease has ended."""
        cdef PyObject* value = NULL
        self._latch.lock()
        if lease._state == HELD:
            value = take(lease._slot.object)
        self._latch.unlock()
        return value

    cdef int _end_locked(self, _Lease lease, bint gives_back, WakeList* woken) noexcept nogil:
        """HELD -> ENDED with the slot given back, if that is asked for and needs nothing else: DONE.

        HELD -> ENDING: BUSY; the slot is the lease's still. NOT_HELD. A fork's child forgets a parent's slot.
        """
        cdef int answer = NOT_HELD
        cdef Slot* slot
        self._latch.lock()
        if lease._state == HELD:
            slot = lease._slot
            self._refresh()
            if slot.generation != generation:
                lease._slot = NULL
                lease._state = ENDED
                answer = DONE
            elif gives_back and not self._acts and self._wants(slot):
                if self._counts:
                    slot.returned = now()
                lease._slot = NULL
                lease._state = ENDED
                self._put(slot, woken)
                answer = DONE
            else:
                lease._state = ENDING
                answer = BUSY
        self._latch.unlock()
        return answer

    cdef PyObject* _detach_locked(self, _Lease lease, WakeList* woken) noexcept nogil:
        """HELD -> ENDED, and the object, which leaves the pool; NULL if it is not HELD.

        In a fork's child what is a parent's is forgotten, and so is the reference that the slot has.
        """
        cdef PyObject* object = NULL
        cdef Slot* slot
        self._latch.lock()
        if lease._state == HELD:
            self._refresh()
            slot = lease._slot
            lease._slot = NULL
            lease._state = ENDED
            if slot.generation == generation:
                object = slot.object
                slot.object = NULL
                slot.uses = 0
                self._vacate(slot, woken)
            else:
                object = take(slot.object)
        self._latch.unlock()
        return object

    cdef int _attach_locked(self, _Lease lease, PyObject* object, int64_t instant, WakeList* woken) noexcept nogil:
        """A slot with that object to the idle ones, or to who waits: DONE, BUSY, CLOSED, NO_MEMORY."""
        cdef int answer = BUSY
        cdef Slot* slot
        self._latch.lock()
        self._refresh()
        if self._figures.closed:
            answer = CLOSED
        elif self._figures.size < self._figures.max_size:
            answer = self._new_slot(lease)
            if answer == DONE:
                self._figures.size += 1
                slot = lease._slot
                lease._slot = NULL
                slot.object = object
                slot.created = slot.returned = instant
                self._put(slot, woken)
        self._latch.unlock()
        return answer

    cdef bint _put_back_locked(self, _Lease lease, int64_t instant, WakeList* woken) noexcept nogil:
        """The lease's slot to the idle ones, or to who waits; `instant` is when it became idle, or 0 if it was before.

        False if it cannot stay.
        """
        cdef Slot* slot = lease._slot
        cdef bint stays
        self._latch.lock()
        self._refresh()
        stays = slot.generation == generation and self._wants(slot)
        if stays:
            if instant != 0:
                slot.returned = instant
            lease._slot = NULL
            lease._state = ENDED
            self._put(slot, woken)
        self._latch.unlock()
        return stays

    cdef void _fill_locked(self, _Lease lease, PyObject* object, bint made) noexcept nogil:
        self._latch.lock()
        lease._slot.object = object
        if made:
            self._figures.created += 1
        self._latch.unlock()

    cdef void _restore_locked(self, _Lease lease, PyObject* object) noexcept nogil:
        self._latch.lock()
        lease._slot.object = object
        self._figures.discarded -= 1
        self._latch.unlock()

    cdef bint _wants_locked(self, _Lease lease) noexcept nogil:
        cdef bint wants
        self._latch.lock()
        self._refresh()
        wants = lease._slot.generation == generation and self._wants(lease._slot)
        self._latch.unlock()
        return wants

    cdef void _leave_locked(self, _Lease lease) noexcept nogil:
        self._latch.lock()
        self._refresh()
        if lease._slot != NULL and lease._slot.generation == generation:
            self._mark(lease._slot, True)
        self._latch.unlock()

    cdef PyObject* _take_object_locked(self, _Lease lease, bint discards) noexcept nogil:
        """Takes the object out of the slot, which is blank from now on; NULL in a fork's child: it is not ours."""
        cdef PyObject* object = NULL
        self._latch.lock()
        if lease._slot.generation == generation:
            object = lease._slot.object
        lease._slot.object = NULL
        lease._slot.uses = 0
        if discards and object != NULL:
            self._figures.discarded += 1
        self._latch.unlock()
        return object

    cdef PyObject* _vacate_locked(self, _Lease lease, WakeList* woken) noexcept nogil:
        """The end of the lease and of its slot's object, which the caller drops."""
        cdef PyObject* object = NULL
        cdef Slot* slot
        self._latch.lock()
        self._refresh()
        slot = lease._slot
        lease._slot = NULL
        lease._state = ENDED
        if slot != NULL and slot.generation == generation:
            object = slot.object
            slot.object = NULL
            slot.uses = 0
            self._vacate(slot, woken)
        self._latch.unlock()
        return object

    cdef bint _abandon_locked(self, WaitQueue* queue, Waiter* waiter) noexcept nogil:
        cdef bint gave_up
        self._latch.lock()
        refresh(queue)
        gave_up = give_up(waiter)
        if gave_up and waiter.item != NULL:
            self._end_wait(<_Lease>waiter.item)
        self._latch.unlock()
        return gave_up

    cdef void _pass_on_locked(self, Waiter* waiter, int how, WakeList* woken) noexcept nogil:
        """What cannot stay remains with the lease, whose end is near."""
        cdef Slot* slot = (<_Lease>waiter.item)._slot
        self._latch.lock()
        self._refresh()
        self._end_wait(<_Lease>waiter.item)
        if how == HANDED and slot != NULL:
            if slot.generation == generation and self._wants(slot):
                (<_Lease>waiter.item)._slot = NULL
                if slot.object != NULL:
                    self._put(slot, woken)
                else:
                    self._vacate(slot, woken)
        elif self._figures.idle != 0 or self._figures.size < self._figures.max_size:
            claim_first(&self._queue, CLAIMED, woken)
        self._latch.unlock()

    cdef int _await_end_locked(self, Waiter* waiter, Place place) noexcept nogil:
        """Whether the last lease has ended: DONE, BUSY, LINKED."""
        cdef int answer = DONE
        self._latch.lock()
        self._refresh()
        if self._figures.size != 0 or self._figures.surplus != 0:
            answer = BUSY
            if place != TRY:
                link(&self._closers, &waiter.node, place)
                answer = LINKED
        self._latch.unlock()
        return answer

    cdef void _close_locked(self, WakeList* woken) noexcept nogil:
        self._latch.lock()
        self._refresh()
        self._figures.closed = True
        claim_all(&self._queue, CLAIMED, woken)
        self._latch.unlock()

    cdef void _resize_locked(self, Py_ssize_t most, WakeList* woken) noexcept nogil:
        cdef Py_ssize_t room
        self._latch.lock()
        self._refresh()
        self._figures.max_size = most
        room = most - self._figures.size
        while room > 0 and claim_first(&self._queue, CLAIMED, woken):
            room -= 1
        self._latch.unlock()

    cdef Py_ssize_t _look_locked(self, Figures* found, bint counts) noexcept nogil:
        """Copies the figures; how many wait, if that is to be counted. O(1), or O(waiting)."""
        cdef Py_ssize_t waiting
        self._latch.lock()
        self._refresh()
        found[0] = self._figures
        waiting = length(&self._queue) if counts else 0
        self._latch.unlock()
        return waiting

    cdef void _count_timeout_locked(self, _Lease lease) noexcept nogil:
        self._latch.lock()
        self._figures.timeouts += 1
        self._end_wait(lease)
        self._latch.unlock()

    cdef PyObject* _bind_locked(self, PyObject* loop) noexcept nogil:
        """Binds the pool to the loop, whose reference moves in, if it is bound to none; to which it is, borrowed."""
        cdef PyObject* bound
        self._latch.lock()
        self._refresh()
        bound = self._loop.load(relaxed)
        if bound == NULL:
            self._loop.store(loop, release)
        self._latch.unlock()
        return bound


include "pool_hooks.pxi"
include "pool_lease.pxi"
include "pool_face.pxi"
include "pool_upkeep.pxi"


# --- what both faces do ----------------------------------------------------------------------------------------------

cdef Py_ssize_t _parse_size(object size) except -1:
    cdef Py_ssize_t parsed = PyNumber_Index(size)
    if parsed < 1:
        raise ValueError(f"max_size must be at least 1, not {size}")
    return parsed


cdef int _check_callable(str name, object function) except -1:
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {type(function).__name__}")
    return 0


cdef object _parse_period(object seconds):
    """None, or a timeout in seconds as a float."""
    cdef int64_t period = parse_timeout(seconds)
    return None if period == NEVER else period / <double>SECOND


cdef Figures _look(Pool pool) noexcept:
    cdef Figures seen
    pool._look_locked(&seen, False)
    return seen


cdef str _stack_here():
    from traceback import format_stack      # only with debug
    return "".join(format_stack(sys._getframe()))


cdef str _describe(str name, Pool pool):
    cdef Figures seen = _look(pool)
    state = "closed, " if seen.closed else ""
    return f"<{name} {state}{seen.size - seen.idle} in use, {seen.idle} idle, of {seen.max_size} at {id(pool):#x}>"


cdef void _write_unraisable(object error) noexcept:
    set_raised(error)
    PyErr_WriteUnraisable(None)


cdef void _drop_idle(Pool pool) noexcept:
    """Of a pool that is destroyed; no hook is called."""
    cdef Slot* slot
    cdef PyObject* object
    while pool._generation == generation and pool._newest != NULL:
        slot = pool._newest
        pool._newest = slot.older
        object = slot.object
        PyMem_Free(slot)
        drop(object)
    pool._oldest = NULL
    pool._figures.idle = 0


include "pool_wait.pxi"


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse = traverse_slot(Pool)
cdef inquiry _cython_clear = clear_slot(Pool)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The idle objects, the loop, and the queues' coroutines."""
    cdef Pool self = <Pool>slot
    cdef Slot* idle = self._newest if self._generation == generation else NULL
    cdef int stopped = _cython_traverse(slot, visit, arg)
    while idle != NULL and not stopped:
        stopped = visit_raw(idle.object, visit, arg)
        idle = idle.older
    if not stopped and self._generation == generation:
        stopped = visit_raw(self._loop.load(relaxed), visit, arg)
    if not stopped:
        stopped = visit_waiters(&self._queue, visit, arg)
    return stopped if stopped else visit_waiters(&self._closers, visit, arg)


cdef int _clear(PyObject* slot) noexcept:
    cdef Pool self = <Pool>slot
    _drop_idle(self)
    drop(self._loop.exchange(NULL, relaxed) if self._generation == generation else NULL)
    return _cython_clear(slot)


replace_gc_slots(Pool, _traverse, _clear)
replace_new(Pool, _new_pool)
