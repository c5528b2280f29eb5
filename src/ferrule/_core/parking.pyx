"""Parking: how a thread sleeps, how claimed waiters are woken, and the mailbox of each event loop.

The states and invariants are in parking.pxd. Eventual fairness and the two-step "claim under the latch, wake after it"
follow parking_lot (Rust); the mailbox is this library's own: however many tasks of a loop are claimed by other threads,
at most one call_soon_threadsafe() is outstanding for it.
"""
import os
import threading

cimport cython
from cpython.exc cimport PyErr_NoMemory, PyErr_Occurred, PyErr_WriteUnraisable
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from cpython.pythread cimport (
    WAIT_LOCK,
    PyLockStatus,
    PyThread_acquire_lock,
    PyThread_get_thread_ident,
    PyThread_release_lock,
    PyThread_type_lock,
)
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ferrule._core.atomics cimport Shared, acq_rel, acquire, relaxed, release
from ferrule._core.deadline cimport NEVER, deadline_after, now
from ferrule._core.gc cimport (
    clear_slot,
    inquiry,
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.latch cimport WITH_GIL, Latch, spin_pause, yield_cpu
from ferrule._core.owned cimport take
from ferrule._core.raised cimport KeepRaised, reraise, set_raised

from ferrule.errors import BlockingInEventLoop, _blocking_allowed

cdef extern from "Python.h":
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock, long long, int) noexcept nogil
    int PyErr_CheckSignals() noexcept       # cpython.exc declares it `except -1`, which a noexcept caller swallows
    int Py_AddPendingCall(int (*)(void*) noexcept, void*) noexcept
    void* PyInterpreterState_Get() noexcept
    void* PyInterpreterState_Main() noexcept

cdef extern from *:
    """
    #ifdef __linux__
    #include <sched.h>
    #endif
    namespace ferrule {
    // The parked locks of one thread, each in the locked state. A wait takes one and gives it back, so a signal handler
    // that runs in a waiting thread and waits too has its own.
    class ParkedLocks {
        static constexpr int KEPT = 4;
        PyThread_type_lock free_[KEPT];
        int count_ = 0;
    public:
        PyThread_type_lock take() {
            if (count_ > 0) return free_[--count_];
            PyThread_type_lock lock = PyThread_allocate_lock();
            if (lock != nullptr) PyThread_acquire_lock(lock, WAIT_LOCK);
            return lock;
        }
        void give_back(PyThread_type_lock lock) {
            if (count_ < KEPT) { free_[count_++] = lock; return; }
            PyThread_release_lock(lock);
            PyThread_free_lock(lock);
        }
        ~ParkedLocks() {
            while (count_ > 0) {
                PyThread_release_lock(free_[--count_]);
                PyThread_free_lock(free_[count_]);
            }
        }
    };
    thread_local ParkedLocks parked_locks;

    // The last wait of this thread was so short that spinning may be worth it.
    thread_local bool waits_briefly = true;

    // Whether others can make progress while this thread spins: it may use more than one CPU, or might when it first
    // asked.
    inline bool has_several_cpus() noexcept {
    #ifdef __linux__
        thread_local const bool several = [] {
            cpu_set_t cpus;     // too small for the largest machines, where the call fails
            return sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) > 1;
        }();
    #else
        static const bool several = std::thread::hardware_concurrency() != 1;
    #endif
        return several;
    }

    // Whether a loop of asyncio's kind may be running in this thread; without an import.
    inline bool has_running_loop() noexcept {
    #if PY_VERSION_HEX < 0x030D0000
        // Its C half keeps the loop in the thread's own dict; from late releases of 3.13 on it does not.
        PyObject* dict = PyThreadState_GetDict();
        return dict != nullptr && PyDict_GetItemString(dict, "__asyncio_running_event_loop__") != nullptr;
    #else
        if (Py_IsFinalizing()) return false;
        PyObject* name = PyUnicode_FromString("asyncio.events");
        PyObject* module = name == nullptr ? nullptr : PyImport_GetModule(name);
        bool imported = module != nullptr;
        Py_XDECREF(name);
        Py_XDECREF(module);
        PyErr_Clear();
        return imported;
    #endif
    }
    }
    """
    bint has_running_loop "ferrule::has_running_loop"() noexcept
    bint waits_briefly "ferrule::waits_briefly"
    bint has_several_cpus "ferrule::has_several_cpus"() noexcept
    PyThread_type_lock take_parked_lock "ferrule::parked_locks.take"() noexcept
    void give_back_parked_lock "ferrule::parked_locks.give_back"(PyThread_type_lock) noexcept

if PyInterpreterState_Get() != PyInterpreterState_Main():
    raise ImportError("ferrule works in the main interpreter only")

cdef enum:
    SPIN_TIME = 50_000  # nanoseconds: what a wake-up by the system costs where a CPU with nothing to do is asleep
    BRIEF = 150_000     # nanoseconds: a wait that long may have been a short one and a wake-up
    GRACE = 3_000       # nanoseconds; see _let_go_first()

cdef enum Sleep:
    TOKEN           # claimed, and the token consumed if one was sent
    TIMED_OUT
    INTERRUPTED
    RECALLED        # by its own thread: it is to leave the queue, and to try again


# --- threads ---------------------------------------------------------------------------------------------------------

cdef bint wait_in_thread(
    const Operation* operation, object target, PyObject* item, uintptr_t token, int64_t timeout
) except -1:
    """Blocks the calling thread until the operation on the target has taken effect; False if it timed out quietly.

    The caller keeps target and item alive. Python's signal handlers run only while the waiter is in no queue, unless
    its operation says that it stays, so a handler may use the same object.
    """
    # Not in this frame: a daemon thread that wakes while the interpreter ends dies in its wait, and stays queued.
    cdef Waiter* waiter = <Waiter*>PyMem_RawCalloc(1, sizeof(Waiter))
    cdef int outcome
    if waiter == NULL:
        raise MemoryError
    waiter.operation = operation
    waiter.target = <PyObject*>target
    waiter.item = item
    waiter.token = token
    waiter.thread = owner_thread()
    waiter.timeout = timeout
    waiter.node.waiter = waiter
    outcome = operation.attempt(waiter, TRY)
    if outcome == BUSY:
        outcome = _wait(waiter)
    PyMem_RawFree(waiter)
    if outcome == FAILED and PyErr_Occurred():
        reraise()
    return outcome == DONE


cdef int _wait(Waiter* waiter) noexcept:
    """The slow path of wait_in_thread(): DONE or FAILED."""
    global waits_briefly
    cdef const Operation* operation = waiter.operation
    cdef int outcome = BUSY
    cdef int _attempt
    cdef int64_t begin
    if waiter.timeout == 0:
        operation.expire(waiter)
        return FAILED
    if operation.is_event and _refuse_to_freeze(operation):
        return FAILED
    for _attempt in range(operation.tries if has_several_cpus() else 0):
        spin_pause()
        outcome = operation.attempt(waiter, TRY)
        if outcome != BUSY:
            return outcome
    waiter.deadline = deadline_after(waiter.timeout)
    begin = now()
    waiter.patience = draw_patience(begin)
    waiter.spins = has_several_cpus() and waits_briefly and (operation.spins == NULL or operation.spins(waiter))
    waiter.parked = take_parked_lock()
    if waiter.parked == NULL:
        return _no_memory()
    outcome = _rounds(waiter)
    waits_briefly = now() - begin < BRIEF
    if outcome == FAILED:
        forgo(waiter)
    give_back_parked_lock(waiter.parked)
    return outcome


cdef bint _refuse_to_freeze(const Operation* operation) noexcept:
    """Whether the thread's event loop runs and would stand still, which nobody has allowed; then it is raised."""
    try:
        if loop_of_thread() is None or _blocking_allowed.get():
            return False
        raise BlockingInEventLoop(
            f"{operation.name.decode()}() would block the event loop that runs in this thread: use the async face, or"
            " ferrule.allow_blocking()"
        )
    except BaseException as error:
        set_raised(error)
    return True


cdef int _rounds(Waiter* waiter) noexcept:
    """Link, sleep and retry until the operation is DONE or FAILED; the waiter is in no queue afterwards."""
    cdef const Operation* operation = waiter.operation
    cdef PyObject* raised = NULL        # by a signal handler, while an operation that insists went on waiting
    cdef object mailbox = getattr(running_loop(), "_ferrule_mailbox", None)    # without one none of its tasks waits
    cdef Place place = BACK if mailbox is None else AHEAD
    cdef bint has_leave = False         # to try again, and has not been queued since
    cdef WakeList woken
    cdef int outcome
    cdef Sleep slept
    waiter.mailbox = <PyObject*>mailbox
    while True:
        if raised != NULL:
            forgo(waiter)
        waiter.claim.store(SPIN if waiter.spins else PARKED, relaxed)
        outcome = operation.attempt(waiter, place)
        if outcome != LINKED:
            break
        has_leave = False
        place = FRONT
        slept = _sleep(waiter, waiter.spins)
        while slept == INTERRUPTED and operation.stays != NULL and operation.stays(waiter):
            slept = _listen(waiter, &raised)
        if slept != TOKEN:
            if operation.abandon(waiter):
                if slept == TIMED_OUT and not outlasts(waiter):
                    outcome = FAILED
                    break
            else:
                # Claimed meanwhile: the token is on its way and is consumed before anything else (I1).
                with nogil:
                    PyThread_acquire_lock(waiter.parked, WAIT_LOCK)
                if spend(waiter) == HANDED:
                    outcome = DONE
                    break
                has_leave = True
                if raised != NULL:
                    forgo(waiter)
                outcome = operation.attempt(waiter, TRY)
                if outcome == BUSY and slept == TIMED_OUT and not outlasts(waiter):
                    outcome = FAILED
                if outcome != BUSY:
                    break
            if PyErr_CheckSignals() < 0 and not _go_on(operation, &raised):
                outcome = FAILED
                break
        elif spend(waiter) == HANDED:
            outcome = DONE
            break
        else:
            has_leave = True
    if has_leave and outcome == FAILED:
        woken.head = woken.tail = NULL
        operation.pass_on(waiter, CLAIMED, &woken)      # what it cannot use, others may
        wake(&woken)
    if raised != NULL:
        return _raise_at_end(raised, outcome)
    return outcome


cdef Sleep _listen(Waiter* waiter, PyObject** raised) noexcept:
    """Runs signal handlers while the waiter is in its queue, then sleeps on unless it was claimed meanwhile.

    RECALLED: a handler raised, or this is the child of a fork(), where it is in no queue.
    """
    cdef int seen = SPIN
    cdef bint recalled = PyErr_CheckSignals() < 0 and _go_on(waiter.operation, raised)
    # Acquire pairs with the release of the claim in claim(), for which no token comes.
    if not waiter.claim.compare_exchange_strong(seen, PARKED, acq_rel, acquire):
        return TOKEN
    return RECALLED if recalled or waiter.generation != generation else _sleep(waiter, False)


cdef bint outlasts(Waiter* waiter) noexcept:
    """The time is up: whether the wait goes on all the same, for as long as it takes. If not, it has failed."""
    waiter.operation.expire(waiter)
    if not waiter.operation.insists or PyErr_Occurred():
        return False
    waiter.deadline = NEVER
    return True


cdef bint _go_on(const Operation* operation, PyObject** raised) noexcept:
    """A handler raised: whether the wait goes on. If so the exception (the first one counts) is kept for its end."""
    cdef object error
    if not operation.insists:
        return False
    try:
        reraise()
    except BaseException as caught:
        error = caught
    if raised[0] == NULL:
        Py_INCREF(error)
        raised[0] = <PyObject*>error
    return True


cdef int _raise_at_end(PyObject* raised, int outcome) noexcept:
    """Raises what a handler raised, now that the wait is over; it takes the place of the wait's own failure."""
    cdef object error = <object>raised
    Py_DECREF(error)
    if outcome == FAILED:
        try:
            reraise()
        except BaseException as failure:
            error.__context__ = failure
    set_raised(error)
    return FAILED


cdef Sleep _sleep(Waiter* waiter, bint spins) noexcept:
    """Sleeps, without the GIL, until the waiter is claimed or due, its deadline passes, or a signal arrives."""
    cdef bint looks_again = waiter.due != 0 and waiter.due <= waiter.deadline
    cdef int64_t end = waiter.due if looks_again else waiter.deadline
    cdef int64_t left
    cdef long long microseconds = -1
    cdef PyLockStatus status
    cdef int seen = SPIN
    if spins:
        with nogil:
            _spin(waiter, end)
        if not waiter.claim.compare_exchange_strong(seen, PARKED, acq_rel, acquire):
            return TOKEN    # claimed while it was spinning: no token comes
    if end != NEVER:
        left = end - now()
        microseconds = (left + 999) // 1000 if left > 0 else 0
    register_sleeper(waiter)
    with nogil:
        status = PyThread_acquire_lock_timed(waiter.parked, microseconds, 1)
    unregister_sleeper(waiter)
    if status == PyLockStatus.PY_LOCK_ACQUIRED:
        return TOKEN
    if status == PyLockStatus.PY_LOCK_INTR:
        return INTERRUPTED
    return RECALLED if looks_again else TIMED_OUT


cdef void _spin(Waiter* waiter, int64_t end) noexcept nogil:
    """Looks at the claim word for a while, at most until `end`, and lets threads with more to do have the CPU."""
    cdef int64_t begin = now()
    cdef int _look
    while True:
        for _look in range(8):
            # Acquire pairs with the release of the claim in claim().
            if waiter.claim.load(acquire) != SPIN:
                _let_go_first()
                return
            spin_pause()
        yield_cpu()
        if now() - begin >= SPIN_TIME or now() >= end:
            return


cdef inline void _let_go_first() noexcept nogil:
    """With the GIL: lets the claimer, who has it, go on to its own next wait.

    There it mostly gives the GIL back; who asks for it before sleeps, and has to be woken up by the system after all.
    """
    cdef int64_t begin
    if WITH_GIL:
        begin = now()
        while now() - begin < GRACE:
            spin_pause()


# --- waking ----------------------------------------------------------------------------------------------------------

cdef void wake_all(WakeList* woken) noexcept:
    """Wakes each claimed waiter; permissions that find their loop closed pass on to the next waiter, and so on.

    A loop, not a recursion: a closed loop may have left any number of tasks in the queue. Keeps the exception that is
    set, if one is.
    """
    cdef Waiter* waiter
    cdef KeepRaised keep
    keep.set_aside()
    while woken.head != NULL:
        waiter = woken.head
        woken.head = waiter.next    # before the wake: the waiter's frame may be gone after it
        if woken.head == NULL:
            woken.tail = NULL
        if waiter.task == NULL:
            PyThread_release_lock(waiter.parked)
        else:
            _post(<Mailbox>waiter.mailbox, waiter, woken)


cdef extern from *:
    """
    static thread_local int ferrule_apart = 0;
    """
    int _apart "ferrule_apart"


cdef int* apart_depth() noexcept:
    return &_apart


cdef void _post(Mailbox mailbox, Waiter* waiter, WakeList* more) noexcept:
    """Brings a claimed task to its loop: directly in the loop's own thread, through the mailbox from elsewhere."""
    if _apart == 0 and mailbox.thread.load(relaxed) == owner_thread() and running_loop() is mailbox.loop:
        waiter.deliver(waiter)
    elif mailbox._push_locked(waiter):
        _ring(mailbox, more)


cdef void _ring(Mailbox mailbox, WakeList* more) noexcept:
    """Asks the loop to empty the mailbox. If the loop is closed, everyone in the mailbox passes on."""
    cdef Witness witness = None
    cdef object raised = None
    cdef int _attempt
    for _attempt in range(3):
        try:
            witness = Witness()
            witness.mailbox = mailbox
            mailbox._call_soon_threadsafe(witness)
            # close() marks the loop before it forgets what there is to do, so a loop that is open now and closed later
            # destroys the witness; in one that is closed now it may stay for ever.
            if is_closed(mailbox.loop):
                witness.done = True
                _bury(mailbox, more)
            break
        except BaseException as error:
            if witness is not None:
                witness.done = True
            # RuntimeError by a closed loop; the others where the collector has taken the loop or the mailbox apart.
            if isinstance(error, (RuntimeError, AttributeError, TypeError)) and is_closed(mailbox.loop):
                _bury(mailbox, more)
                break
            # A signal handler raised inside the call, which may or may not have taken effect: call again, a witness
            # too many does no harm.
            raised = error
    else:
        _bury(mailbox, more)
    if raised is not None:
        raise_later(raised)     # not before: it would be raised within the next call


cdef bint is_closed(object loop) noexcept:
    """Whether the loop will never call anybody again."""
    cdef object raised = None
    cdef bint closed = True     # where it cannot be asked: the collector has taken it apart
    cdef int _attempt
    for _attempt in range(3):
        try:
            closed = loop.is_closed()
            break
        except BaseException as error:
            raised = error
    else:
        if isinstance(raised, (AttributeError, TypeError)):
            return True
    if raised is not None:
        raise_later(raised)     # a signal handler's, and not before: it would be raised within the next call
    return closed


cdef void _bury(Mailbox mailbox, WakeList* more) noexcept:
    """Passes on the permissions in the mailbox of a loop that will never empty it."""
    cdef Waiter* waiter = mailbox._take_locked()
    cdef Waiter* following
    cdef PyObject* task
    cdef int how
    while waiter != NULL:
        following = waiter.next
        task = waiter.task
        how = waiter.claim.exchange(SPENT, acq_rel)
        if how == CLAIMED or how == HANDED:
            waiter.operation.pass_on(waiter, how, more)
        Py_XDECREF(task)        # the queue's reference (I3)
        waiter = following


cdef class Mailbox:
    """The claimed waiters of one event loop, on their way to it.

    Invariant: if the list is not empty, a call of drain() by the loop is outstanding.
    """

    def __cinit__(self, loop):
        self.loop = loop
        self._call_soon_threadsafe = loop.call_soon_threadsafe
        self._generation = generation

    cdef bint _push_locked(self, Waiter* waiter) noexcept nogil:
        """Whether the loop has to be called."""
        cdef bint first
        self._latch.lock()
        if self._generation != generation:
            self._generation = generation
            self._head = self._tail = NULL
            self._outstanding = False
        waiter.next = NULL
        if self._head == NULL:
            self._head = waiter
        else:
            self._tail.next = waiter
        self._tail = waiter
        first = not self._outstanding
        self._outstanding = True
        self._latch.unlock()
        return first

    cdef Waiter* _take_locked(self) noexcept nogil:
        cdef Waiter* first
        self._latch.lock()
        first = self._head if self._generation == generation else NULL
        self._head = self._tail = NULL
        self._outstanding = False
        self._latch.unlock()
        return first

    def drain(self):
        """Delivers all permissions; runs in the loop."""
        cdef Waiter* waiter = self._take_locked()
        cdef Waiter* following
        while waiter != NULL:
            following = waiter.next
            waiter.deliver(waiter)
            waiter = following


@cython.final
@cython.no_gc_clear     # __dealloc__ needs the mailbox; every cycle through it passes the loop, which can be cleared
cdef class Witness:
    """What is posted to the loop. If it dies uncalled, the loop was closed with it in its list of things to do."""
    cdef Mailbox mailbox
    cdef bint done

    def __call__(self):
        self.done = True
        self.mailbox.drain()

    def __dealloc__(self):
        cdef WakeList woken
        cdef Apart apart
        if not self.done and self.mailbox is not None:
            apart.begin(apart_depth())
            woken.head = woken.tail = NULL
            _bury(self.mailbox, &woken)
            wake(&woken)


cdef traverseproc _cython_traverse = traverse_slot(Mailbox)
cdef inquiry _cython_clear = clear_slot(Mailbox)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """The coroutines on their way, too."""
    cdef Mailbox self = <Mailbox>slot
    cdef Waiter* waiter = self._head if self._generation == generation else NULL
    cdef int stopped = _cython_traverse(slot, visit, arg)
    while waiter != NULL and not stopped:
        stopped = visit_raw(waiter.task, visit, arg)
        waiter = waiter.next
    return stopped


cdef int _clear(PyObject* slot) noexcept:
    """Of a garbage cycle: its loop will never empty it."""
    cdef WakeList woken
    cdef Apart apart
    apart.begin(apart_depth())
    woken.head = woken.tail = NULL
    _bury(<Mailbox>slot, &woken)
    wake(&woken)
    return _cython_clear(slot)


replace_gc_slots(Mailbox, _traverse, _clear)


cdef Mailbox mailbox_of(object loop):
    """The mailbox of a loop, made at its first use and kept as an attribute of the loop."""
    cdef object mailbox = getattr(loop, "_ferrule_mailbox", None)
    if mailbox is None:
        mailbox = loop._ferrule_mailbox = Mailbox(loop)
    return mailbox


# asyncio's _get_running_loop(), kept for ever, once a task has waited. Set once; release pairs with acquire.
cdef Shared[PyObject*] _get_running_loop


cdef object running_loop():
    """The event loop that runs in this thread, or None; also None as long as no task has ever waited for anything.

    So a program of threads looks for asyncio only where it waits for an event. (sys.modules is no place to look often:
    without the GIL a thread that waits for that dict's own lock when the interpreter ends may keep it for ever.)
    """
    cdef PyObject* function = _get_running_loop.load(acquire)
    return None if function == NULL else (<object>function)()


cdef object loop_of_thread():
    """The event loop that runs in this thread, or None, whether or not a task has ever waited for anything."""
    if _get_running_loop.load(acquire) == NULL and not has_running_loop():
        return None
    try:
        return loop_of_task()
    except RuntimeError:
        return None


cdef object loop_of_task():
    """The event loop that runs in this thread; RuntimeError if none does."""
    cdef object function
    if _get_running_loop.load(acquire) == NULL:
        from asyncio.events import _get_running_loop as function
        Py_INCREF(function)
        _get_running_loop.store(<PyObject*>function, release)
    cdef object loop = running_loop()
    if loop is None:
        raise RuntimeError("no running event loop")
    return loop


# --- exceptions that must wait ---------------------------------------------------------------------------------------

cdef void raise_later(object error) noexcept:
    """Raises a signal handler's exception in the main thread, where the interpreter next looks for signals.

    What another thread gets here (MemoryError) goes to sys.unraisablehook.
    """
    if threading.get_ident() == threading.main_thread().ident:
        Py_INCREF(error)
        if Py_AddPendingCall(&_raise_pending, <void*>error) == 0:
            return
        Py_DECREF(error)
    set_raised(error)
    PyErr_WriteUnraisable(None)


cdef int _raise_pending(void* pending) noexcept:
    cdef object error = <object>pending
    Py_DECREF(error)
    set_raised(error)
    return -1


cdef int _no_memory() noexcept:
    try:
        PyErr_NoMemory()
    except MemoryError as error:
        set_raised(error)
    return FAILED


# --- the register of sleepers ----------------------------------------------------------------------------------------

cdef Latch _register_latch
cdef Waiter* _register_head = NULL
cdef uint64_t _register_generation = 0
cdef uint64_t _registered = 0           # entries so far


cdef void register_sleeper(Waiter* waiter) noexcept:
    """Enters the waiter, whose owner keeps its target and context alive until unregister_sleeper().

    And its item, if it does not wait for an event.
    """
    waiter.ident = PyThread_get_thread_ident()
    _register_locked(waiter)


cdef void _register_locked(Waiter* waiter) noexcept nogil:
    global _register_head, _register_generation, _registered
    _register_latch.lock()
    _registered += 1
    waiter.serial = _registered
    if _register_generation != generation:
        _register_generation = generation
        _register_head = NULL
    if waiter.generation != generation:     # link() has written it, and may look at it under another latch now
        waiter.generation = generation
    waiter.register_prev = NULL
    waiter.register_next = _register_head
    if _register_head != NULL:
        _register_head.register_prev = waiter
    _register_head = waiter
    _register_latch.unlock()


cdef void unregister_sleeper(Waiter* waiter) noexcept:
    if waiter.generation == generation:
        _unregister_locked(waiter)


cdef void _unregister_locked(Waiter* waiter) noexcept nogil:
    global _register_head
    _register_latch.lock()
    if waiter.register_prev != NULL:
        waiter.register_prev.register_next = waiter.register_next
    elif _register_head == waiter:
        _register_head = waiter.register_next
    if waiter.register_next != NULL:
        waiter.register_next.register_prev = waiter.register_prev
    waiter.register_prev = waiter.register_next = NULL
    _register_latch.unlock()


cdef bint is_handed_to_loop(PyObject* target, PyObject* mailbox) noexcept:
    """Whether a task of that loop has been handed the target and has not run since. O(sleepers)."""
    return _is_handed_to_loop_locked(target, mailbox)


cdef bint _is_handed_to_loop_locked(PyObject* target, PyObject* mailbox) noexcept nogil:
    cdef Waiter* waiter
    _register_latch.lock()
    waiter = _register_head if _register_generation == generation else NULL
    while waiter != NULL and not (
        waiter.task != NULL
        and waiter.target == target
        and waiter.mailbox == mailbox
        and waiter.claim.load(relaxed) == HANDED
    ):
        waiter = waiter.register_next
    _register_latch.unlock()
    return waiter != NULL


cdef list claims_of(object target, CopyClaims copy):
    """Who waits for the target, for tests: ("thread" | "task", claim) for each. "parked" may be about to sleep."""
    cdef tuple names = ("idle", "parked", "parked", "claimed", "handed", "spent")
    cdef Py_ssize_t room = 16, count, index
    cdef list claims = []
    cdef int* found
    while True:
        found = <int*>PyMem_RawMalloc(room * sizeof(int))
        if found == NULL:
            raise MemoryError
        count = copy(<PyObject*>target, found, room)
        for index in range(min(count, room)):
            claims.append(("task" if found[index] < 0 else "thread", names[abs(found[index])]))
        PyMem_RawFree(found)
        if count <= room:
            return claims
        claims.clear()
        room = count + count // 2


cdef struct Sleeper:
    uint64_t serial
    uint64_t thread
    uint64_t ident
    PyObject* context
    PyObject* target
    PyObject* item


cdef Py_ssize_t _sleepers_locked(Sleeper* found, Py_ssize_t room) noexcept nogil:
    """Copies at most `room` entries, with references; how many there are in all.

    But for those that have been handed what they waited for: they need nobody any more.
    """
    cdef Py_ssize_t count = 0
    cdef Waiter* waiter
    _register_latch.lock()
    waiter = _register_head if _register_generation == generation else NULL
    while waiter != NULL:
        if waiter.claim.load(relaxed) != HANDED:
            if count < room:
                found[count].serial = waiter.serial
                found[count].thread = waiter.thread
                found[count].ident = waiter.ident
                found[count].context = take(waiter.context) if waiter.context != NULL else NULL
                found[count].target = take(waiter.target)
                found[count].item = NULL
                if waiter.item != NULL and not waiter.operation.hides_item:
                    found[count].item = take(waiter.item)
            count += 1
        waiter = waiter.register_next
    _register_latch.unlock()
    return count


def waits():
    """Who sleeps, waiting for what.

    A list of (serial of the wait, thread identity, threading's ident, task's context or None, target, item or None).
    The item is what a wait is about: the guard, the entry, the call of a condition's wait().
    """
    cdef Py_ssize_t room = 16, count, index
    cdef Sleeper* found
    cdef list result = []
    while True:
        found = <Sleeper*>PyMem_RawMalloc(room * sizeof(Sleeper))
        if found == NULL:
            raise MemoryError
        count = _sleepers_locked(found, room)
        for index in range(min(count, room)):
            result.append((
                found[index].serial,
                found[index].thread,
                found[index].ident,
                <object>found[index].context if found[index].context != NULL else None,
                <object>found[index].target,
                <object>found[index].item if found[index].item != NULL else None,
            ))
            Py_XDECREF(found[index].context)
            Py_XDECREF(found[index].target)
            Py_XDECREF(found[index].item)
        PyMem_RawFree(found)
        if count <= room:
            return result
        result.clear()
        room = count + count // 2


def sleepers():
    """Who sleeps, waiting for what: a list of (target, thread identity, task's context or None)."""
    return [(target, thread, context) for _, thread, _, context, target, _ in waits()]


# --- fork ------------------------------------------------------------------------------------------------------------

def _in_child():
    global generation
    generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
