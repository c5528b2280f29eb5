"""The wait queue: threads and tasks of any event loop in one FIFO, each claimed exactly once.

A *waiter* is one wait of one thread or task. It has one claim word and a node for each object it waits on. Whoever
takes a waiter out of a queue to wake it first moves the claim word from SPIN or PARKED to CLAIMED (leave to try again)
or HANDED (what it asked for is already its own); the waiter itself moves it to SPENT to give up. The word makes that
happen once, whatever races: a notifier, a timeout, a signal, a cancellation, another object of a select.

    IDLE, SPENT -> SPIN or PARKED    the owner, before it links
    SPIN -> PARKED                   the owning thread before it sleeps; failing means claimed, and no token comes
    PARKED -> SPIN                   the owning thread, interrupted, under the object's latch, if it stays queued
    SPIN -> CLAIMED or HANDED        a notifier under the object's latch; not put on the wake list
    PARKED -> CLAIMED or HANDED      a notifier under the object's latch; on the wake list, woken after the latch
    SPIN, PARKED -> SPENT            the owner gives up, under the object's latch, and unlinks
    CLAIMED, HANDED -> SPENT         the owner uses the permission or passes it on; an exchange, so once

I1  A thread that was claimed from PARKED consumes its token before its frame dies or its parked lock is used again.
I2  A node is linked if and only if its waiter's claim word is SPIN or PARKED. One of several nodes of a waiter may stay
    linked after that, until the waiter leaves its queues; a claim that meets it there unlinks it and marks it as lost.
I3  The queue holds one reference to a waiting coroutine. A claim moves it to the wake list, then the mailbox; it is
    dropped in the loop. Several queues that hold one waiter hold its `holder` instead, each of them, and that holds the
    coroutine.

What follows is inline, `noexcept nogil`, and called under the latch of the object that has the queue.
"""
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ferrule._core.atomics cimport Atomic, acq_rel, acquire, relaxed
from ferrule._core.deadline cimport MILLISECOND
from ferrule._core.gc cimport visit_raw, visitproc
from ferrule._core.latch cimport Latch

cdef enum Claim:
    IDLE        # not waiting yet
    SPIN        # linked; its thread is awake, and will look at this word before it sleeps
    PARKED      # linked; its thread sleeps, or its task is suspended
    CLAIMED     # has the permission to try again
    HANDED      # has what it asked for
    SPENT       # the wait is over, or between two rounds

cdef enum Place:
    TRY         # do not link
    BACK        # link behind all others
    FRONT       # link before all others: it has been here before
    AHEAD       # link before the first task of the waiter's own loop: that task cannot run while the thread sleeps

cdef enum Outcome:
    FAILED = -1     # a Python exception is set
    DONE            # the operation has taken effect
    BUSY            # it cannot take effect now
    LINKED          # it could not, and the waiter is queued

cdef struct Node:               # one registration of a waiter with one object; all fields under that object's latch
    Node* prev
    Node* next
    WaitQueue* queue            # where it is linked, or NULL
    Waiter* waiter
    PyObject* holder            # of one of several nodes of a task: what the queue refers to; else NULL
    bint lost                   # a claim by this node found its waiter claimed already, or giving up

cdef struct WaitQueue:          # embedded in the object that is waited for; all fields under its latch
    Node* head
    Node* tail
    uint64_t generation         # a queue of an older one is empty: its waiters did not survive fork()

ctypedef int (*Attempt)(Waiter*, Place) noexcept
ctypedef bint (*Abandon)(Waiter*) noexcept
ctypedef void (*PassOn)(Waiter*, int how, WakeList*) noexcept
ctypedef void (*Leave)(Waiter*) noexcept
ctypedef bint (*Handed)(Waiter*) noexcept
ctypedef bint (*Lets)(Waiter*) noexcept
ctypedef PyObject* (*Result)(Waiter*) noexcept
ctypedef int (*Continue)(Waiter*, PyObject** rest) noexcept
ctypedef void (*Expire)(Waiter*) noexcept
ctypedef void (*Forgo)(Waiter*) noexcept
ctypedef bint (*Stays)(Waiter*) noexcept nogil
# copy_claims() of a target's queues, under its latch
ctypedef Py_ssize_t (*CopyClaims)(PyObject* target, int* found, Py_ssize_t room) noexcept nogil

cdef struct Operation:          # what is being waited for: a static table for each kind of wait
    const char* name            # as users know it, for messages
    # Tries once, with the GIL; unless place is TRY, links the waiter in the same locked section that found it BUSY.
    Attempt attempt
    # Gives up under the latch: SPIN or PARKED -> SPENT, unlinked; wakes whoever was kept out by nothing else. False: it
    # was claimed.
    Abandon abandon
    # A claimed (how = CLAIMED or HANDED) waiter will not use what it got: to the next one.
    PassOn pass_on
    # It was claimed by one of its nodes, and leaves the queues that the others are in. NULL: it has one node.
    Leave leave_queues
    # It was handed something; False: it wants more, and tries again. NULL: that is all it wanted.
    Handed handed
    # What the finished operation gives, a new reference; NULL: an exception is set and the effect is undone.
    Result result
    # Sets the exception of a wait that ran out of time. One that insists and has set none goes on, with no deadline.
    Expire expire
    # What is left to do once it has taken effect: DONE if nothing is; BUSY: what the coroutine `rest`, a new reference,
    # does, and what that returns takes the item's place; FAILED. For tasks; NULL: nothing.
    Continue continues
    # What `async with` on this operation's coroutine is at its beginning instead; NULL: the same.
    const Operation* enter
    # For what `async with` does at its end on this operation's coroutine, given its item, and as token whether the
    # block was ended by force; NULL: it does not take one.
    const Operation* leave
    # Whether a task lets its loop run once before it tries; NULL: never.
    Lets rests
    # Whether a task that found it BUSY lets its loop run once and tries again before it links; NULL: never.
    Lets pauses
    bint is_event               # what is waited for may never come: refused to a thread whose event loop runs
    bint hides_item             # the item is none, or another thread may take it out of the waiter's hands
    bint insists                # goes on waiting through exceptions, which it raises when it is done
    # An exception ends the wait, or will when one that insists is done: what it was given on the way, besides its last
    # claim, goes to the next. In no queue, and may be called again. NULL: it is given nothing on the way.
    Forgo forgo
    # Of one that insists. Under the latch, PARKED -> SPIN: it stays queued while its thread runs signal handlers, so it
    # misses nothing. False, or NULL: it leaves the queue, because a handler may need what it would be given meanwhile.
    Stays stays
    int tries                   # without the GIL: attempts before the first link
    # Whether a thread looks at its claim word for a while before it sleeps; NULL: always.
    Lets spins

cdef struct Waiter:
    # by the owner before linking, then constant
    const Operation* operation
    PyObject* target            # the object operated on
    PyObject* item              # what the operation is about: the guard it takes, the value it sends
    uintptr_t token             # the same as the target stores it
    uint64_t thread             # the identity of the waiting thread (owner_thread())
    PyObject* context           # the task's context, or NULL for a thread; kept alive by the item or the suspension
    int64_t timeout             # nanoseconds, 0 or NEVER
    int64_t deadline            # an instant of now(), or NEVER
    int64_t due                 # the instant at which what it waits for may come of itself, so that it looks; or 0
    bint spins                  # a thread's: looks at the claim word for a while before it sleeps
    int64_t patience            # the instant from which the object is handed over rather than released
    uint64_t generation         # of the process in which it was linked
    PyThread_type_lock parked   # a thread's: released by the waker, acquired by the sleeper
    PyObject* task              # a task's coroutine; the queue's reference
    PyObject* mailbox           # of the task's loop; of the loop that the waiting thread stops, or NULL
    void (*deliver)(Waiter*) noexcept    # a task's: called in its loop, drops the queue's reference
    # shared
    Atomic[int] claim
    Node node                   # the first registration
    bint waited                 # a task's, by the owner: it has paused or been claimed
    Waiter* next                # in a wake list, then in a mailbox; by whoever claimed it
    Waiter* register_prev       # in the register of sleepers, under its latch
    Waiter* register_next
    uint64_t serial             # of this entry in the register, under its latch
    uint64_t ident              # of the thread, as threading.get_ident() gives it; by the owner before it is registered

cdef struct WakeList:           # waiters claimed under a latch, to be woken after it; private to the claiming thread
    Waiter* head
    Waiter* tail

cdef uint64_t generation        # how many forks lie behind this process; written in the child, which has one thread


cdef inline Operation new_operation(
    const char* name, Attempt attempt, Abandon abandon, PassOn pass_on, Result result, Expire expire
) noexcept:
    """An operation with nothing special about it; what there is the caller sets."""
    cdef Operation operation
    operation.name = name
    operation.attempt = attempt
    operation.abandon = abandon
    operation.pass_on = pass_on
    operation.leave_queues = NULL
    operation.handed = NULL
    operation.result = result
    operation.expire = expire
    operation.continues = NULL
    operation.enter = NULL
    operation.leave = NULL
    operation.rests = NULL
    operation.pauses = NULL
    operation.is_event = False
    operation.hides_item = False
    operation.insists = False
    operation.forgo = NULL
    operation.stays = NULL
    operation.tries = 0
    operation.spins = NULL
    return operation


cdef inline bint linked(Node* node) noexcept nogil:
    return node.queue != NULL and node.waiter.generation == generation


cdef inline void refresh(WaitQueue* queue) noexcept nogil:
    """Forgets waiters that did not survive a fork(): their frames are gone, so they are not touched."""
    if queue.generation != generation:
        queue.head = queue.tail = NULL
        queue.generation = generation


cdef inline void unlink(Node* node) noexcept nogil:
    cdef WaitQueue* queue = node.queue
    if node.prev != NULL:
        node.prev.next = node.next
    else:
        queue.head = node.next
    if node.next != NULL:
        node.next.prev = node.prev
    else:
        queue.tail = node.prev
    node.queue = NULL


cdef inline void link(WaitQueue* queue, Node* node, Place place) noexcept nogil:
    """Queues the node; the queue must be fresh. O(1), but for AHEAD: O(waiters before the place)."""
    cdef Node* behind = NULL
    if place == FRONT:
        behind = queue.head
        if node.waiter.task != NULL:
            node.waiter.patience = 1    # let go in vain it has lost a turn of its loop: next it is handed what it wants
    elif place == AHEAD:
        behind = queue.head
        while behind != NULL and (behind.waiter.task == NULL or behind.waiter.mailbox != node.waiter.mailbox):
            behind = behind.next
    node.next = behind
    if behind != NULL:
        node.prev = behind.prev
        behind.prev = node
    else:
        node.prev = queue.tail
        queue.tail = node
    if node.prev != NULL:
        node.prev.next = node
    else:
        queue.head = node
    if node.waiter.generation != generation:    # the owner's; who moves a node that is linked finds it right
        node.waiter.generation = generation
    node.queue = queue


cdef inline bint claim(Node* node, Claim how, WakeList* woken) noexcept nogil:
    """Unlinks the node and claims its waiter; False if that waiter was claimed elsewhere."""
    cdef Waiter* waiter = node.waiter
    cdef int seen = SPIN
    unlink(node)
    # Release pairs with the acquire in _spin(): the woken sees what was done before it was claimed. After this the
    # spinner's frame may be gone.
    if waiter.claim.compare_exchange_strong(seen, how, acq_rel, relaxed):
        return True
    seen = PARKED
    if not waiter.claim.compare_exchange_strong(seen, how, acq_rel, relaxed):
        node.lost = True
        return False
    waiter.next = NULL
    if woken.tail != NULL:
        woken.tail.next = waiter
    else:
        woken.head = waiter
    woken.tail = waiter
    return True


cdef inline bint claim_first(WaitQueue* queue, Claim how, WakeList* woken) noexcept nogil:
    """Claims the first waiter that can be claimed; False if there is none."""
    while queue.head != NULL:
        if claim(queue.head, how, woken):
            return True
    return False


cdef inline void claim_all(WaitQueue* queue, Claim how, WakeList* woken) noexcept nogil:
    """Claims every waiter that can be claimed. O(waiters)."""
    while queue.head != NULL:
        claim(queue.head, how, woken)


cdef inline Py_ssize_t length(WaitQueue* queue) noexcept nogil:
    """How many nodes are queued. O(waiters)."""
    cdef Py_ssize_t nodes = 0
    cdef Node* node = queue.head
    while node != NULL:
        nodes += 1
        node = node.next
    return nodes


cdef inline Py_ssize_t copy_claims(WaitQueue* queue, int* found, Py_ssize_t room) noexcept nogil:
    """Copies the claim words of at most `room` waiters, a task's with its sign changed; how many there are."""
    cdef Py_ssize_t count = 0
    cdef Node* node = queue.head
    while node != NULL:
        if count < room:
            found[count] = node.waiter.claim.load(relaxed)
            if node.waiter.task != NULL:
                found[count] = -found[count]
        count += 1
        node = node.next
    return count


cdef inline bint must_act(Waiter* waiter, uint64_t thread, PyObject* context) noexcept nogil:
    """Whether a hold that this owner took can only end by an act of the waiter.

    So it is if the same task took it; and for a waiting thread, if it took it itself or a task of its loop did.
    """
    return thread == waiter.thread and (waiter.context == NULL or context == waiter.context)


cdef inline int visit_waiters(WaitQueue* queue, visitproc visit, void* arg) noexcept:
    """For tp_traverse: the coroutines that wait, or what holds them."""
    cdef Node* node = queue.head if queue.generation == generation else NULL
    cdef int stopped = 0
    while node != NULL and not stopped:
        stopped = visit_raw(node.waiter.task if node.holder == NULL else node.holder, visit, arg)
        node = node.next
    return stopped


cdef inline bint withdraw(Waiter* waiter) noexcept nogil:
    """SPIN or PARKED -> SPENT; False if it was claimed."""
    cdef int seen = waiter.claim.load(relaxed)
    return (seen == SPIN or seen == PARKED) and waiter.claim.compare_exchange_strong(seen, SPENT, acq_rel, acquire)


cdef inline bint give_up(Waiter* waiter) noexcept nogil:
    """SPIN or PARKED -> SPENT, for a waiter with one node, which is unlinked; False if it was claimed."""
    if not withdraw(waiter):
        return False
    if linked(&waiter.node):
        unlink(&waiter.node)
    waiter.node.queue = NULL
    return True


cdef inline int spend(Waiter* waiter) noexcept:
    """CLAIMED or HANDED -> SPENT, by the owner, to use what it got: which it was, and CLAIMED if it wants more."""
    cdef int how = waiter.claim.exchange(SPENT, acq_rel)
    if waiter.operation.leave_queues != NULL and (how == CLAIMED or how == HANDED):
        waiter.operation.leave_queues(waiter)
    if how == HANDED and waiter.operation.handed != NULL and not waiter.operation.handed(waiter):
        return CLAIMED
    return how


cdef inline void forgo(Waiter* waiter) noexcept:
    """What the waiter was given on the way goes to the next. Keeps the exception that is set, if one is."""
    if waiter.operation.forgo != NULL:
        waiter.operation.forgo(waiter)


cdef extern from *:
    """
    #ifndef FERRULE_APART
    #define FERRULE_APART
    namespace ferrule {
    class Apart {
        int* depth_ = nullptr;
    public:
        Apart() = default;
        ~Apart() { if (depth_ != nullptr) --*depth_; }
        void begin(int* depth) noexcept { depth_ = depth; ++*depth_; }
        Apart(const Apart&) = delete;
        Apart& operator=(const Apart&) = delete;
    };
    }
    #endif
    """
    # A local variable of a destructor: from begin(apart_depth()) until the function ends, this thread wakes every task
    # through its mailbox. The collector may be at work, and the task be part of the same garbage and half taken apart:
    # when the loop empties the mailbox, all of that has given up its waits.
    cdef cppclass Apart "ferrule::Apart":
        Apart() noexcept
        void begin(int* depth) noexcept


cdef int* apart_depth() noexcept
cdef void wake_all(WakeList* woken) noexcept


cdef inline void wake(WakeList* woken) noexcept:
    """Wakes what was claimed; with the GIL and no latch held. Runs Python code only where a task waits."""
    if woken.head != NULL:
        wake_all(woken)


cdef extern from *:
    """
    #ifndef FERRULE_OWNER
    #define FERRULE_OWNER
    namespace ferrule {
    inline uint64_t owner_thread() noexcept { return PyThreadState_Get()->id; }
    inline PyObject* owner_context() noexcept {
        PyThreadState* thread = PyThreadState_Get();
        if (thread->context == nullptr) {
            PyObject* copy = PyContext_CopyCurrent();   // makes one where there is none
            if (copy == nullptr && thread->context != nullptr) PyErr_Clear();   // only the copy failed
            Py_XDECREF(copy);
        }
        return thread->context;
    }
    }
    #endif
    """
    # Who is running: never reused in a process, unlike a thread's ident.
    uint64_t owner_thread "ferrule::owner_thread"() noexcept
    # The running context, borrowed: which task is running. NULL with an exception set: no memory.
    PyObject* owner_context "ferrule::owner_context"() noexcept


cdef inline int64_t draw_patience(int64_t begin) noexcept nogil:
    """The instant from which a waiter is handed what it waits for: 0-1 ms after `begin`, evenly distributed."""
    cdef uint64_t mixed = <uint64_t>begin * 0x9E3779B97F4A7C15ULL    # Fibonacci hashing of the clock's low bits
    return begin + <int64_t>((mixed >> 32) * MILLISECOND >> 32)


cdef bint wait_in_thread(
    const Operation* operation, object target, PyObject* item, uintptr_t token, int64_t timeout
) except -1
cdef bint outlasts(Waiter* waiter) noexcept
cdef void register_sleeper(Waiter* waiter) noexcept
cdef void unregister_sleeper(Waiter* waiter) noexcept
cdef bint is_handed_to_loop(PyObject* target, PyObject* mailbox) noexcept
cdef list claims_of(object target, CopyClaims copy)
cdef object running_loop()
cdef object loop_of_task()
cdef bint is_closed(object loop) noexcept
cdef void raise_later(object error) noexcept


cdef class Mailbox:
    cdef readonly object loop
    cdef object _call_soon_threadsafe
    cdef Latch _latch
    cdef Waiter* _head
    cdef Waiter* _tail
    cdef bint _outstanding
    cdef uint64_t _generation
    cdef Atomic[uint64_t] thread
    cdef object alarms          # the deadlines of those who wait in the loop, or None; by the loop's thread

    cdef bint _push_locked(self, Waiter* waiter) noexcept nogil
    cdef Waiter* _take_locked(self) noexcept nogil


cdef Mailbox mailbox_of(object loop)
