"""The coroutine object that every async method returns: one class for all operations.

It does nothing until its first step. That step tries the operation, and if it takes effect at once the coroutine is
done without ever suspending. Otherwise the waiter inside it is queued and the driver gets a Future of its loop to wait
for; the loop's mailbox resolves that when the waiter has been claimed, and the next step retries or finishes.

    NEW        no step yet
    RUNNING    a step, throw() or close() is in progress; whoever moved the state here owns the object
    SUSPENDED  the waiter was queued; the future is not resolved
    DELIVERED  the future is about to be resolved: the next step looks at the claim word; or there is none, and it tries
    CONTINUED  the operation has taken effect; steps go to the coroutine that does what is left
    FINISHED   for ever

    NEW, SUSPENDED, DELIVERED, CONTINUED -> RUNNING     step, throw, close
    RUNNING -> SUSPENDED                    after the waiter was linked. Deliveries are made in the loop's thread, which
                                            is the one that suspends; one that comes before is made again, see _missed
    SUSPENDED -> DELIVERED                  the loop's thread: mailbox, own-loop wake, timer
    RUNNING -> CONTINUED, FINISHED

The fast slots are what the interpreter calls: am_send up to 3.11, tp_iternext from 3.12 on.
"""
import collections.abc
import types

cimport cython
from cpython.exc cimport PyErr_WarnEx, PyErr_WriteUnraisable
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t

from ferrule._core.atomics cimport acq_rel, acquire, relaxed, release, seq_cst
from ferrule._core.bound cimport quicken_async_with
from ferrule._core.deadline cimport NEVER, SECOND, deadline_after, now
from ferrule._core.freelist cimport recycle
from ferrule._core.gc cimport (
    clear_slot,
    inquiry,
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.memory cimport PyMem_Free, PyMem_Realloc
from ferrule._core.owned cimport move, release_shared, retain, swap, take
from ferrule._core.parking cimport (
    BACK,
    BUSY,
    CLAIMED,
    DONE,
    FAILED,
    FRONT,
    HANDED,
    LINKED,
    PARKED,
    SPENT,
    TRY,
    Apart,
    Operation,
    Place,
    WakeList,
    Waiter,
    apart_depth,
    draw_patience,
    forgo,
    loop_of_task,
    mailbox_of,
    outlasts,
    owner_context,
    owner_thread,
    raise_later,
    register_sleeper,
    spend,
    unregister_sleeper,
    wake,
)
from ferrule._core.raised cimport KeepRaised, ends_by_force, reraise, set_raised
from ferrule._core.sealed cimport seal

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(PyObject*, PyObject*, PyObject**) noexcept
    ctypedef PySendResult (*sendfunc)(PyObject*, PyObject*, PyObject**) noexcept
    ctypedef PyObject* (*iternextfunc)(PyObject*) noexcept
    ctypedef struct PyAsyncMethods:
        sendfunc am_send
    ctypedef struct PyTypeObject:
        PyAsyncMethods* tp_as_async
        iternextfunc tp_iternext
    PyObject* Py_None

cdef extern from *:
    """
    namespace ferrule {
    // Raises StopIteration(value), whose reference moves in; for tp_iternext. The exception is put together by hand: a
    // call of its class costs as much as the rest of the step.
    inline void stop_with(PyObject* value) noexcept {
    #if PY_VERSION_HEX >= 0x030C0000
        PyTypeObject* cls = reinterpret_cast<PyTypeObject*>(PyExc_StopIteration);
        PyObject* none = PyTuple_New(0);
        PyObject* stop = none == nullptr ? nullptr : cls->tp_new(cls, none, nullptr);
        Py_XDECREF(none);
        if (stop == nullptr) { Py_DECREF(value); return; }
        reinterpret_cast<PyStopIterationObject*>(stop)->value = value;
        PyErr_SetRaisedException(stop);
    #else
        PyObject* stop = PyObject_CallOneArg(PyExc_StopIteration, value);
        Py_DECREF(value);
        if (stop == nullptr) return;
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    #endif
    }
    }
    """
    void stop_with "ferrule::stop_with"(PyObject* value) noexcept

cdef enum State:
    NEW
    RUNNING
    SUSPENDED
    DELIVERED
    CONTINUED
    FINISHED


@cython.final
@cython.no_gc_clear     # the waiter borrows the context; every cycle passes the coroutine, which gives up the wait
cdef class Suspension:
    """What a coroutine needs only once it has to wait."""


@cython.final
@cython.trashcan(True)      # what is sent may hold a coroutine that sends, and so on
cdef class Coroutine:
    """The result of an async method: awaited once, by any driver of coroutines."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef PyObject* result = NULL
        cdef PySendResult kind = _step(self, &result)
        return _outcome(kind, result)

    def send(self, value, /):
        """Takes the next step. Returns the Future to wait for; StopIteration carries the result."""
        cdef PyObject* result = NULL
        cdef PySendResult kind
        if value is not None and self._state.load(relaxed) == NEW:
            raise TypeError("can't send non-None value to a just-started coroutine")
        kind = _step(self, &result)
        return _outcome(kind, result)

    def throw(self, typ, value=None, traceback=None, /):
        """Raises an exception where the coroutine waits. What it waited for is given up, or passed to the next.

        An operation that insists (the end of `unlocked()`) goes on and raises it when it is done.
        """
        cdef PyObject* result = NULL
        cdef PySendResult kind = _throw(self, _exception(typ, value, traceback), &result)
        return _outcome(kind, result)

    def close(self):
        """Gives up the wait, if there is one. Nothing happens in a coroutine that was never started."""
        cdef int state = self._state.load(acquire)
        if state == FINISHED:
            return
        if state == RUNNING or not self._state.compare_exchange_strong(state, RUNNING, acq_rel, acquire):
            raise ValueError("coroutine already executing")
        try:
            if state == CONTINUED:
                self._rest.close()
            elif state != NEW:
                _undo(self)
        finally:
            _finish(self)

    def __aenter__(self):
        cdef int state = NEW
        if self._waiter.operation.leave == NULL:
            raise TypeError(f"'{self._name()}' does not give an asynchronous context manager")
        self._keeps_item.store(True, relaxed)
        # While it is RUNNING nobody else begins it or looks at which operation it is.
        if self._state.compare_exchange_strong(state, RUNNING, acq_rel, acquire):
            if self._waiter.operation.enter != NULL:
                self._waiter.operation = self._waiter.operation.enter
            self._state.store(NEW, release)
        return self

    def __aexit__(self, kind, value, traceback, /):
        cdef Coroutine coroutine
        # Acquire pairs with the release in _finish(), after which the item stays as it is.
        if self._state.load(acquire) != FINISHED or self._waiter.item == NULL:
            raise RuntimeError(f"'{self._name()}' was not entered")
        Py_INCREF(<object>self._waiter.item)
        coroutine = new_coroutine(self._waiter.operation.leave, <object>self._waiter.target, self._waiter.item, 0)
        coroutine._waiter.token = ends_by_force(kind)
        return coroutine

    @property
    def cr_running(self):
        """Whether a step is in progress."""
        return self._state.load(relaxed) == RUNNING

    @property
    def cr_await(self):
        """The Future that is waited for, or None."""
        return _future_of(self)

    @property
    def cr_frame(self):
        """None: there is no Python frame."""
        return None

    @property
    def cr_code(self):
        """None: there is no Python code."""
        return None

    @property
    def __name__(self):
        return self._name().rpartition(".")[2]

    @property
    def __qualname__(self):
        return self._name()

    def __repr__(self):
        state = ("created", "running", "suspended", "suspended", "suspended", "closed")[self._state.load(relaxed)]
        return f"<coroutine {self._name()} of ferrule, {state}>"

    def __reduce__(self):
        raise TypeError("cannot pickle a coroutine")

    cdef str _name(self):
        return self._waiter.operation.name.decode()

    def __dealloc__(self):
        cdef int state = self._state.load(relaxed)
        cdef Apart apart
        if state == NEW:
            _warn_never_awaited(self._waiter.operation.name)
        elif state == SUSPENDED or state == DELIVERED:
            apart.begin(apart_depth())
            _undo(self)
        Py_XDECREF(self._waiter.item)
        Py_XDECREF(self._waiter.target)


cdef Coroutine new_coroutine(const Operation* operation, object target, PyObject* item, int64_t timeout):
    """A coroutine for the operation on the target. `item` is a new reference, which moves in, or NULL."""
    cdef Coroutine self = Coroutine.__new__(Coroutine)
    cdef Waiter* waiter = &self._waiter
    waiter.operation = operation
    Py_INCREF(target)
    waiter.target = <PyObject*>target
    waiter.item = item
    waiter.timeout = timeout
    return self


# --- steps -----------------------------------------------------------------------------------------------------------

cdef PySendResult _step(Coroutine self, PyObject** result) noexcept:
    """One step; what am_send and tp_iternext come to."""
    cdef Waiter* waiter = &self._waiter
    cdef int state = NEW
    cdef int outcome
    if self._state.compare_exchange_strong(state, RUNNING, acq_rel, acquire):
        if waiter.operation.rests != NULL and waiter.operation.rests(waiter):
            return _let_loop_run(self, result)
        outcome = waiter.operation.attempt(waiter, TRY)
        if outcome == BUSY:
            if waiter.operation.pauses != NULL and waiter.timeout != 0 and waiter.operation.pauses(waiter):
                waiter.waited = True
                return _let_loop_run(self, result)
            return _suspend(self, BACK, result)
        return _end(self, outcome, result)
    return _resume(self, state, result)


cdef PySendResult _let_loop_run(Coroutine self, PyObject** result) noexcept:
    """A step without a future is one turn of the loop."""
    self._waiter.deadline = deadline_after(self._waiter.timeout)
    result[0] = take(Py_None)
    self._state.store(DELIVERED, release)
    return PYGEN_NEXT


cdef PySendResult _end(Coroutine self, int outcome, PyObject** result) noexcept:
    """The operation is DONE or FAILED."""
    cdef Waiter* waiter = &self._waiter
    cdef PyObject* rest = NULL
    if outcome == DONE and waiter.operation.continues != NULL:
        outcome = waiter.operation.continues(waiter, &rest)
        if outcome == BUSY:
            _end_suspension(self)
            self._rest = move(rest)
            return _continue(self, result)
    if outcome == DONE:
        result[0] = waiter.operation.result(waiter)
        if result[0] == NULL:
            outcome = FAILED
    if outcome == FAILED:
        forgo(waiter)
    if self._suspension is not None and self._suspension.raised is not None:
        outcome = _raise_at_end(self, outcome, result)
    _finish(self)
    return PYGEN_RETURN if outcome == DONE else PYGEN_ERROR


cdef PySendResult _resume(Coroutine self, int state, PyObject** result) noexcept:
    """A step that is not the first."""
    cdef Place place = FRONT
    cdef int outcome
    if state == SUSPENDED:
        # The driver did not wait for the future: it gets it again. The claim word is left alone.
        future = _future_of(self)
        if future is not None:
            return _yield_future(future, result)
        state = self._state.load(relaxed)
    if state not in (DELIVERED, CONTINUED) or not self._state.compare_exchange_strong(state, RUNNING, acq_rel, acquire):
        _refuse(state)
        return PYGEN_ERROR
    if state == CONTINUED:
        return _continue(self, result)
    if self._suspension is None:        # it has only let the loop run
        outcome = self._waiter.operation.attempt(&self._waiter, TRY)
        place = BACK
    else:
        outcome = _after_claim(self)
    if outcome == BUSY:
        return _suspend(self, place, result)
    return _end(self, outcome, result)


cdef PySendResult _continue(Coroutine self, PyObject** result) noexcept:
    """A step of the coroutine that does what is left."""
    return _after_rest(self, PyIter_Send(<PyObject*>self._rest, Py_None, result), result)


cdef PySendResult _after_rest(Coroutine self, PySendResult kind, PyObject** result) noexcept:
    """What came of a step of that coroutine."""
    cdef PyObject* item
    if kind == PYGEN_NEXT:
        self._state.store(CONTINUED, release)
        return kind
    if kind == PYGEN_RETURN:
        item = swap(&self._waiter.item, result[0])
        result[0] = self._waiter.operation.result(&self._waiter)
        Py_XDECREF(item)
        if result[0] == NULL:
            kind = PYGEN_ERROR
    _finish(self)
    return kind


cdef PySendResult _throw_into_rest(Coroutine self, object error, PyObject** result) noexcept:
    cdef PySendResult kind = PYGEN_ERROR
    cdef object given
    try:
        given = self._rest.throw(error)
        kind = PYGEN_NEXT
    except StopIteration as stop:
        given = stop.value
        kind = PYGEN_RETURN
    except BaseException as raised:
        set_raised(raised)
    if kind != PYGEN_ERROR:
        result[0] = take(<PyObject*>given)
    return _after_rest(self, kind, result)


cdef int _after_claim(Coroutine self) noexcept:
    """The waiter is in no queue: use what it got. BUSY: it has to queue again."""
    cdef Waiter* waiter = &self._waiter
    cdef int outcome
    cdef int how
    unregister_sleeper(waiter)
    how = spend(waiter)
    if how == HANDED:
        return DONE
    if how == CLAIMED or waiter.due != 0 or not self._expired.load(relaxed):
        waiter.waited = how == CLAIMED
        outcome = waiter.operation.attempt(waiter, TRY)
        if outcome != BUSY:
            return outcome
    # The timer calls once, and may call a little early.
    if self._expired.load(relaxed) or (waiter.deadline != NEVER and now() >= waiter.deadline):
        if not outlasts(waiter):
            if how == CLAIMED:
                _pass_on(self, how)
            return FAILED
        self._expired.store(False, relaxed)
        return waiter.operation.attempt(waiter, TRY)
    return BUSY


cdef PySendResult _suspend(Coroutine self, Place place, PyObject** result) noexcept:
    """Queues the waiter and yields a future; the state is RUNNING."""
    cdef Waiter* waiter = &self._waiter
    cdef int outcome
    if waiter.timeout == 0:
        waiter.operation.expire(waiter)
        return _end(self, FAILED, result)
    try:
        _prepare(self)
    except BaseException as error:
        set_raised(error)
        return _fail(self, place, result)
    future = self._suspension.future
    Py_INCREF(self)         # the queue's reference (I3)
    waiter.claim.store(PARKED, relaxed)
    outcome = waiter.operation.attempt(waiter, place)
    if outcome == LINKED:
        register_sleeper(waiter)
        self._state.store(SUSPENDED, release)
        # What the attempt woke may have run code, and a signal handler in it may have woken this coroutine.
        if self._missed.load(relaxed):
            self._missed.store(False, relaxed)
            _resolve(self)
        return _yield_future(future, result)
    waiter.claim.store(SPENT, relaxed)
    Py_DECREF(self)
    return _fail(self, place, result) if outcome == FAILED else _end(self, outcome, result)


cdef PySendResult _fail(Coroutine self, Place place, PyObject** result) noexcept:
    """It could not be queued. If it has been before, it may have been claimed, and what it cannot use others may."""
    if place == FRONT:
        _pass_on(self, CLAIMED)
    return _end(self, FAILED, result)


cdef int _prepare(Coroutine self) except -1:
    """All of a suspension that runs Python code or needs memory, before anything is linked."""
    cdef Waiter* waiter = &self._waiter
    cdef Suspension suspension = self._suspension
    cdef object loop = loop_of_task()
    if suspension is None:
        suspension = Suspension.__new__(Suspension)
        suspension.loop = loop
        suspension.mailbox = mailbox_of(loop)
        waiter.node.waiter = waiter
        waiter.task = <PyObject*>self
        waiter.mailbox = <PyObject*>suspension.mailbox
        waiter.deliver = _deliver
        waiter.thread = owner_thread()
        if waiter.context == NULL:
            _own_context(waiter, suspension)
        waiter.patience = draw_patience(now())
        if waiter.deadline == 0:
            waiter.deadline = deadline_after(waiter.timeout)
        with cython.critical_section(self):
            self._suspension = suspension
    elif loop is not suspension.loop:
        raise RuntimeError(f"'{self._name()}' waits in another event loop")
    if waiter.deadline != NEVER or waiter.due != 0:
        _set_alarm(self, suspension.mailbox)
    _set_future(self, loop.create_future())
    suspension.mailbox.thread.store(owner_thread(), relaxed)
    return 0


cdef int _own_context(Waiter* waiter, Suspension suspension) except -1:
    """The wait is the running task's."""
    cdef PyObject* context = owner_context()
    if context == NULL:
        raise MemoryError
    suspension.context = <object>context
    waiter.context = context
    return 0


cdef object _future_of(Coroutine self):
    """The future that is waited for, or None, for one who does not own the coroutine."""
    cdef object future = None
    with cython.critical_section(self):
        if self._suspension is not None:
            future = self._suspension.future
    return future


cdef void _set_future(Coroutine self, object future) noexcept:
    with cython.critical_section(self):
        self._suspension.future = future


cdef PySendResult _yield_future(object future, PyObject** result) noexcept:
    try:
        future._asyncio_future_blocking = True
    except BaseException as error:      # the future is the loop's own, and may be of any class
        set_raised(error)
        return PYGEN_ERROR
    Py_INCREF(future)
    result[0] = <PyObject*>future
    return PYGEN_NEXT


cdef PySendResult _throw(Coroutine self, object error, PyObject** result) noexcept:
    cdef Waiter* waiter = &self._waiter
    cdef int state = self._state.load(acquire)
    if state in (RUNNING, FINISHED) or not self._state.compare_exchange_strong(state, RUNNING, acq_rel, acquire):
        _refuse(state)
        return PYGEN_ERROR
    if state == CONTINUED:
        return _throw_into_rest(self, error, result)
    if state != NEW:
        if waiter.operation.insists and not isinstance(error, GeneratorExit):
            if self._suspension.raised is None:
                self._suspension.raised = error
            return _insist(self, state, result)
        _undo(self)
    _finish(self)
    set_raised(error)
    return PYGEN_ERROR


cdef PySendResult _insist(Coroutine self, int state, PyObject** result) noexcept:
    """Waits on after an exception was thrown in, with a new future: the driver may have cancelled the old one."""
    cdef int outcome
    cdef bint claimed = state == SUSPENDED and not _abandon(self)
    forgo(&self._waiter)
    if claimed:
        # On its way through the mailbox, which delivers to whatever future is there then.
        try:
            future = self._suspension.loop.create_future()
        except BaseException as error:
            _undo(self)
            set_raised(error)
            return _end(self, FAILED, result)
        _set_future(self, future)
        # Sequentially consistent, as the accesses in _resolve(): one of the two sides sees the other's store.
        self._state.store(SUSPENDED, seq_cst)
        if self._missed.exchange(False, seq_cst):
            _resolve(self)
        return _yield_future(future, result)
    outcome = _after_claim(self) if state == DELIVERED else BUSY
    if outcome == BUSY:
        return _suspend(self, FRONT, result)
    return _end(self, outcome, result)


cdef bint _abandon(Coroutine self) noexcept:
    """Leaves the queue; False if the waiter was claimed before."""
    cdef Waiter* waiter = &self._waiter
    unregister_sleeper(waiter)
    if not waiter.operation.abandon(waiter):
        return False
    Py_DECREF(self)         # the queue's reference; the caller has its own
    return True


cdef void _undo(Coroutine self) noexcept:
    """Gives up the wait: leaves the queue, or passes on what the waiter was given."""
    cdef int how
    if self._suspension is None:
        return
    if not _abandon(self):
        how = self._waiter.claim.exchange(SPENT, acq_rel)
        if how == CLAIMED or how == HANDED:
            _pass_on(self, how)
    forgo(&self._waiter)


cdef void _pass_on(Coroutine self, int how) noexcept:
    """To others what the waiter was given. Keeps the exception that is set."""
    cdef WakeList woken
    cdef KeepRaised keep
    keep.set_aside()
    woken.head = woken.tail = NULL
    self._waiter.operation.pass_on(&self._waiter, how, &woken)
    wake(&woken)


cdef void _finish(Coroutine self) noexcept:
    """FINISHED for ever; lets go of what only the operation needed. Keeps the exception that is set."""
    cdef PyObject* item = NULL
    cdef KeepRaised keep
    cdef object rest = self._rest
    if not self._keeps_item.load(relaxed):
        item = self._waiter.item
        self._waiter.item = NULL
    self._rest = None
    self._state.store(FINISHED, release)
    _end_suspension(self)
    if item != NULL or rest is not None:
        keep.set_aside()
        rest = None
        Py_XDECREF(item)


cdef void _end_suspension(Coroutine self) noexcept:
    """It waits no more. Keeps the exception that is set."""
    cdef KeepRaised keep
    cdef Suspension suspension = self._suspension
    if suspension is None:
        return
    keep.set_aside()
    with cython.critical_section(self):
        self._suspension = None
    if self._alarm_at != 0 and suspension.mailbox.alarms is not None:
        Py_XDECREF((<Alarms>suspension.mailbox.alarms)._remove_locked(<PyObject*>self))


# --- wake-ups, in the loop's thread ----------------------------------------------------------------------------------

cdef void _deliver(Waiter* waiter) noexcept:
    """Resolves the future of a claimed waiter, unless the coroutine has moved on; drops the queue's reference."""
    cdef Coroutine self = <Coroutine>waiter.task
    Py_DECREF(self)
    _resolve(self)


cdef void _resolve(Coroutine self) noexcept:
    cdef object future = _future_of(self)
    cdef object raised = None
    cdef int state = SUSPENDED
    cdef int _attempt
    if not self._state.compare_exchange_strong(state, DELIVERED, seq_cst, seq_cst):
        if state != RUNNING:
            return
        # Another thread is throwing something into the coroutine, which may go on waiting: it delivers then.
        self._missed.store(True, seq_cst)
        state = SUSPENDED
        if not self._state.compare_exchange_strong(state, DELIVERED, seq_cst, seq_cst):
            return
        self._missed.store(False, relaxed)
        future = _future_of(self)
    for _attempt in range(3):
        try:
            if not future.done():
                future.set_result(None)
            break
        except BaseException as error:
            raised = error
    if raised is not None:
        raise_later(raised)     # not before: it would be raised within the next call


cdef void expire(Coroutine self) noexcept:
    """The deadline has passed, or it is due before; in the loop's thread."""
    # If the waiter has been claimed, its retry comes first, and the time is up if that finds it BUSY.
    if self._waiter.deadline <= self._alarm_at:
        self._expired.store(True, relaxed)
    if self._state.load(acquire) == SUSPENDED and _abandon(self):
        _resolve(self)


# --- exceptions ------------------------------------------------------------------------------------------------------

cdef object _outcome(PySendResult kind, PyObject* result):
    """A step's outcome as Python sees it: a yielded value, StopIteration, or an exception."""
    cdef object value
    if kind == PYGEN_ERROR:
        reraise()
    value = <object>result
    Py_DECREF(value)
    if kind == PYGEN_RETURN:
        raise StopIteration(value)
    return value


cdef void _refuse(int state) noexcept:
    if state == FINISHED:
        set_raised(RuntimeError("cannot reuse already awaited coroutine"))
    else:
        set_raised(ValueError("coroutine already executing"))


cdef object _exception(object typ, object value, object traceback):
    """The exception that throw()'s arguments stand for."""
    if isinstance(typ, type) and issubclass(typ, BaseException):
        if value is None:
            value = typ()
        elif not isinstance(value, typ):
            value = typ(*value) if isinstance(value, tuple) else typ(value)
    elif isinstance(typ, BaseException):
        if value is not None:
            raise TypeError("instance exception may not have a separate value")
        value = typ
    else:
        raise TypeError(
            f"exceptions must be classes or instances deriving from BaseException, not {type(typ).__name__}"
        )
    if traceback is not None:
        if not isinstance(traceback, types.TracebackType):
            raise TypeError("throw() third argument must be a traceback object")
        value.__traceback__ = traceback
    return value


cdef int _raise_at_end(Coroutine self, int outcome, PyObject** result) noexcept:
    """Raises what was thrown into an operation that insisted, now that it is done or has failed."""
    cdef object error = self._suspension.raised
    if outcome == FAILED:
        try:
            reraise()
        except BaseException as failure:
            error.__context__ = failure
    else:
        Py_XDECREF(result[0])
        result[0] = NULL
    set_raised(error)
    return FAILED


cdef void _warn_never_awaited(const char* name) noexcept:
    """A RuntimeWarning, as Python gives for its own coroutines."""
    cdef KeepRaised keep
    cdef bytes message
    keep.set_aside()
    try:
        message = b"coroutine '" + name + b"' was never awaited"
        PyErr_WarnEx(RuntimeWarning, message, 1)
    except BaseException as error:
        set_raised(error)
        PyErr_WriteUnraisable(None)


# --- slots -----------------------------------------------------------------------------------------------------------

cdef PySendResult _am_send(PyObject* self, PyObject* value, PyObject** result) noexcept:
    if value != Py_None and (<Coroutine>self)._state.load(relaxed) == NEW:
        set_raised(TypeError("can't send non-None value to a just-started coroutine"))
        return PYGEN_ERROR
    return _step(<Coroutine>self, result)


cdef PyObject* _iternext(PyObject* self) noexcept:
    """tp_iternext: NULL without an exception is a return of None."""
    cdef PyObject* result = NULL
    cdef PySendResult kind = _step(<Coroutine>self, &result)
    if kind != PYGEN_RETURN:
        return result
    if result == Py_None:
        Py_XDECREF(result)
    else:
        stop_with(result)
    return NULL


cdef traverseproc _cython_traverse = traverse_slot(Coroutine)
cdef inquiry _cython_clear = clear_slot(Coroutine)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef Waiter* waiter = &(<Coroutine>slot)._waiter
    cdef int stopped = visit_raw(waiter.target, visit, arg)
    if not stopped:
        stopped = visit_raw(waiter.item, visit, arg)
    return stopped if stopped else _cython_traverse(slot, visit, arg)


cdef int _clear(PyObject* slot) noexcept:
    """Of a garbage cycle: gives up the wait first, while everything it needs is there."""
    cdef Coroutine self = <Coroutine>slot
    cdef int state = self._state.load(relaxed)
    cdef Apart apart
    if state == NEW:
        _warn_never_awaited(self._waiter.operation.name)
    elif state == SUSPENDED or state == DELIVERED:
        apart.begin(apart_depth())
        _undo(self)
    self._keeps_item.store(False, relaxed)
    _finish(self)
    return _cython_clear(slot)


include "coroutine_alarms.pxi"


recycle(Coroutine)
seal(Coroutine)
seal(Suspension)
replace_gc_slots(Coroutine, _traverse, _clear)
quicken_async_with(Coroutine)
(<PyTypeObject*>Coroutine).tp_as_async.am_send = _am_send
(<PyTypeObject*>Coroutine).tp_iternext = _iternext
collections.abc.Coroutine.register(Coroutine)
