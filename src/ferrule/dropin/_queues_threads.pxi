"""The queues of threads; part of _queues.pyx."""
import functools

from ferrule.dropin._conditions import QueueCondition

cdef enum Event:
    NOT_EMPTY
    NOT_FULL
    ALL_TASKS_DONE

cdef tuple _THREAD_METHODS = ("_init", "_qsize", "_put", "_get")


cdef inline int64_t _patience(object block, object timeout) except -1:
    """How long a call may wait, in nanoseconds."""
    if not block:
        return 0
    return NEVER if timeout is None else parse_seconds(timeout)


cdef int _wait_to_put(_Queue queue, object item, int64_t patience) except -1:
    if patience == 0:
        raise queue._error(BUSY, False)
    wait_in_thread(&PUT, queue, <PyObject*>item, 0, patience)
    return 0


cdef inline object _get(_Queue queue, object block, object timeout):
    cdef PyObject* item = NULL
    cdef int64_t patience
    if timeout is not None:
        _patience(block, timeout)       # refuses a wrong one, also where there is an item
    if _try_get(queue, &item, NULL, TRY) != DONE:
        patience = _patience(block, timeout)
        if patience == 0:
            raise queue._error(BUSY, True)
        wait_in_thread(&GET, queue, <PyObject*>&item, 0, patience)
    return move(item)


cdef class SyncQueue(_Queue):
    """What queue.Queue is built on."""
    cdef bint _overrides        # constant: put() or get() is the subclass's own

    def __cinit__(self):
        self._mutex = Mutex.__new__(Mutex)

    def __init__(self, maxsize=0):
        cdef type cls = type(self)
        self._overrides = cls.put is not SyncQueue.put or cls.get is not SyncQueue.get
        _begin(self, maxsize, _order_of(cls))

    def put(self, item, block=True, timeout=None):
        """Puts an item into the queue. Waits for room, at most `timeout` seconds, and not at all if not `block`.

        Full if there was none in time, ShutDown if the queue was shut down. O(1), in a PriorityQueue O(log items).
        """
        if timeout is not None and block and self._limit.load(relaxed):
            parse_seconds(timeout)      # refuses a wrong one, also where there is room
        if _try_put(self, <PyObject*>item, NULL, TRY) != DONE:
            _wait_to_put(self, item, _patience(block, timeout))

    def get(self, block=True, timeout=None):
        """Takes an item out of the queue. Waits for one, at most `timeout` seconds, and not at all if not `block`.

        Empty if none came in time, ShutDown if none is left in a queue that was shut down. Cost as for put().
        """
        return _get(self, block, timeout)

    def put_nowait(self, item):
        """put(item, block=False)."""
        if self._overrides:
            self.put(item, block=False)
        elif _try_put(self, <PyObject*>item, NULL, TRY) != DONE:
            raise Full

    def get_nowait(self):
        """get(block=False)."""
        return self.get(block=False) if self._overrides else _get(self, False, None)

    def qsize(self):
        """How many items there are now."""
        cdef Py_ssize_t size = self._size_locked()
        if size >= 0:
            return size
        guard = _enter(self)
        try:
            return self._qsize()
        finally:
            _leave(self, guard)

    def empty(self):
        """Whether there is no item now."""
        cdef Py_ssize_t size = self._size_locked()
        return size == 0 if size >= 0 else not self.qsize()

    def full(self):
        """Whether there is no room now. Never, without a maxsize."""
        cdef Py_ssize_t limit = self._limit.load(relaxed)
        cdef Py_ssize_t size = self._size_locked()
        return limit != 0 and (size if size >= 0 else self.qsize()) >= limit

    def task_done(self):
        """Says that the work on an item that was taken is done; ValueError if there is none left to say it of."""
        if _task_done(self, False) != GUARDED:
            return
        guard = _enter(self)
        try:
            if _task_done(self, True) == DONE:
                _tell(self, ALL_TASKS_DONE, True)
        finally:
            _leave(self, guard)

    def join(self):
        """Waits until task_done() was called for every item that was put in."""
        wait_in_thread(&JOIN, self, NULL, 0, NEVER)

    def shutdown(self, immediate=False):
        """Ends the queue: puts raise ShutDown, and so do gets once it is empty. Whoever waits does so at once.

        With `immediate` the items are dropped and count as done. O(waiters), and O(items) if immediate.
        """
        cdef Items items
        cdef Stack stack
        cdef list dropped = []
        if not _shut_down(self, immediate, False, &items, &stack):
            guard = _enter(self)
            try:
                if self._order.load(relaxed) == HOOKS:
                    self._shut_down_by_hooks(immediate, dropped)
                _shut_down(self, immediate, True, &items, &stack)
            finally:
                _leave(self, guard)
        _drop(&items, &stack)

    @property
    def is_shutdown(self):
        """Whether shutdown() was called."""
        return self._is_shut_locked()

    @property
    def maxsize(self):
        """How many items the queue takes; 0 or less: any number. May be changed."""
        return _maxsize_of(self)

    @maxsize.setter
    def maxsize(self, value):
        _set_maxsize(self, value)

    @property
    def unfinished_tasks(self):
        """How many of the items put in were not said to be done."""
        return self._unfinished_locked()

    @unfinished_tasks.setter
    def unfinished_tasks(self, value):
        _set_unfinished(self, value)

    @property
    def queue(self):
        """The container of the items, to be used with the mutex held. Whoever asks for it slows the queue down."""
        return _container_of(self, "queue")

    @queue.setter
    def queue(self, value):
        _set_container(self, value)

    @property
    def mutex(self):
        """The lock of the queue, a ferrule.Mutex. Whoever asks for it slows the queue down."""
        _open(self)
        return self._mutex

    @property
    def not_empty(self):
        """The condition that is notified when an item was put in."""
        return _condition_of(self, NOT_EMPTY)

    @property
    def not_full(self):
        """The condition that is notified when an item was taken out."""
        return _condition_of(self, NOT_FULL)

    @property
    def all_tasks_done(self):
        """The condition that is notified when all tasks are done."""
        return _condition_of(self, ALL_TASKS_DONE)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Queue[T]: a queue of Ts."""
        return types.GenericAlias(cls, item)

    cdef int _put_by_hooks(self, object item, Node* node, Place place, WakeList* woken) except -1:
        cdef Py_ssize_t limit = self._limit.load(relaxed)
        if self._is_shut_locked():
            return SHUT
        if limit and self._qsize() >= limit:
            return self._wait_locked(False, node, place)
        self._put(item)
        self._has_put_locked(woken)
        _tell(self, NOT_EMPTY, False)
        return DONE

    cdef object _get_by_hooks(self, int* answer, Node* node, Place place, WakeList* woken):
        if not self._qsize():
            answer[0] = self._wait_locked(True, node, place)
            return None
        item = self._get()
        self._wake_locked(False, 1, woken)
        _tell(self, NOT_FULL, False)
        return item

    cdef int _shut_down_by_hooks(self, bint immediate, list dropped) except -1:
        """All but waking waiters of the engine. What is taken out goes to `dropped`, which outlives the mutex."""
        cdef WakeList woken
        woken.head = woken.tail = NULL
        _set_shut(self)
        while immediate and self._qsize():
            dropped.append(self._get())
            self._task_done_locked(True, &woken)
        wake(&woken)
        _tell(self, ALL_TASKS_DONE, True)
        _tell(self, NOT_EMPTY, True)
        _tell(self, NOT_FULL, True)
        return 0


cdef object _condition_of(SyncQueue queue, Event event):
    cdef PyObject* conditions
    _open(queue)
    conditions = queue._read_locked(&queue._conditions)
    if conditions == NULL:
        made = (
            QueueCondition(queue._mutex, functools.partial(_wake_getters, queue)),
            QueueCondition(queue._mutex, functools.partial(_wake_putters, queue)),
            QueueCondition(queue._mutex, _wake_nobody),
        )
        drop(queue._write_locked(&queue._conditions, take(<PyObject*>made), True))
        conditions = queue._read_locked(&queue._conditions)
    return move(conditions)[event]


cdef int _tell(SyncQueue queue, Event event, bint all_of_them) except -1:
    """Those who wait at the condition itself; with the mutex held."""
    cdef PyObject* conditions = queue._read_locked(&queue._conditions)
    if conditions != NULL:
        move(conditions)[event].tell(sys.maxsize if all_of_them else 1)
    return 0


def _wake_getters(_Queue queue not None, Py_ssize_t most, /):
    _wake(queue, True, most)


def _wake_putters(_Queue queue not None, Py_ssize_t most, /):
    _wake(queue, False, most)


def _wake_nobody(most, /):
    """Who joins has been woken when the number of unfinished tasks was set."""


cdef int _wake(_Queue queue, bint gets, Py_ssize_t most) except -1:
    cdef WakeList woken
    woken.head = woken.tail = NULL
    queue._wake_locked(gets, most, &woken)
    wake(&woken)
    return 0


cdef class SimpleQueue(_Queue):
    """SimpleQueue()
    --

    An unbounded FIFO queue for threads; its put() never waits, and may be called anywhere.

    Complexity  Every method: O(1).
    Threads     Every method is safe, also in destructors, weak-reference callbacks and signal handlers that interrupt
                another one of the same queue.
    Blocks      get while the queue is empty; Ctrl-C interrupts it.
    Calls you   never.
    Errors      Empty.

    >>> q = SimpleQueue()
    >>> q.put("item")
    >>> q.get(timeout=1.0)
    'item'
    """
    cdef object __weakref__

    def __init__(self):
        pass

    def put(self, item, block=True, timeout=None):
        """Puts an item into the queue. `block` and `timeout` are there for likeness with Queue: it never waits."""
        _try_put(self, <PyObject*>item, NULL, TRY)

    def put_nowait(self, item):
        """The same as put(item)."""
        _try_put(self, <PyObject*>item, NULL, TRY)

    def get(self, block=True, timeout=None):
        """Takes the oldest item out. Waits for one, at most `timeout` seconds, and not at all if not `block`.

        Empty if none came in time.
        """
        return _get(self, block, timeout)

    def get_nowait(self):
        """get(block=False)."""
        return _get(self, False, None)

    def qsize(self):
        """How many items there are now."""
        return self._size_locked()

    def empty(self):
        """Whether there is no item now."""
        return self._size_locked() == 0

    @classmethod
    def __class_getitem__(cls, item, /):
        """SimpleQueue[T]: a queue of Ts."""
        return types.GenericAlias(cls, item)
