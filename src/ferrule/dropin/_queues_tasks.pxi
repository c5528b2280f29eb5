"""The queues of tasks; part of _queues.pyx."""

cdef tuple _TASK_METHODS = ("_init", "_put", "_get", "qsize", "empty", "full", "put_nowait", "get_nowait")

# Of asyncio, which a program of threads need not import: from the first of these queues on.
cdef object QueueEmpty = None
cdef object QueueFull = None
cdef object QueueShutDown = None


cdef int _import_errors() except -1:
    global QueueEmpty, QueueFull, QueueShutDown
    if QueueShutDown is None:
        from ferrule.dropin import _async_errors
        QueueEmpty = _async_errors.QueueEmpty
        QueueFull = _async_errors.QueueFull
        QueueShutDown = _async_errors.QueueShutDown
    return 0


cdef class AsyncQueue(_Queue):
    """What asyncio.Queue is built on."""

    def __cinit__(self):
        self._mutex = Mutex.__new__(Mutex)
        _import_errors()

    def __init__(self, maxsize=0):
        _begin(self, maxsize, _order_of(type(self)))

    def put(self, item):
        """Awaitable; puts an item into the queue, and waits for room. QueueShutDown if the queue was shut down.

        O(1), in a PriorityQueue O(log items). With room it never suspends.
        """
        return new_coroutine(&PUT, self, take(<PyObject*>item), NEVER)

    def get(self):
        """Awaitable; takes an item out of the queue, and waits for one. Cost as for put().

        QueueShutDown if none is left in a queue that was shut down. With an item there it never suspends.
        """
        return new_coroutine(&ASYNC_GET, self, NULL, NEVER)

    def put_nowait(self, item):
        """Puts an item into the queue at once; QueueFull if there is no room, QueueShutDown after shutdown()."""
        if _try_put(self, <PyObject*>item, NULL, TRY) != DONE:
            raise QueueFull

    def get_nowait(self):
        """Takes an item out of the queue at once; QueueEmpty if there is none, QueueShutDown after shutdown()."""
        cdef PyObject* item = NULL
        if _try_get(self, &item, NULL, TRY) != DONE:
            raise QueueEmpty
        return move(item)

    def qsize(self):
        """How many items there are."""
        cdef Py_ssize_t size = self._size_locked()
        return size if size >= 0 else len(_container_of(self, "_queue"))

    def empty(self):
        """Whether there is no item."""
        cdef Py_ssize_t size = self._size_locked()
        return size == 0 if size >= 0 else not _container_of(self, "_queue")

    def full(self):
        """Whether there is no room. Never, without a maxsize."""
        cdef Py_ssize_t limit = self._limit.load(relaxed)
        cdef Py_ssize_t size = self._size_locked()
        return limit != 0 and (size if size >= 0 else self.qsize()) >= limit

    def task_done(self):
        """Says that the work on an item that was taken is done; ValueError if there is none left to say it of."""
        _task_done(self, True)

    def join(self):
        """Awaitable; waits until task_done() was called for every item that was put in."""
        return new_coroutine(&JOIN, self, NULL, NEVER)

    def shutdown(self, immediate=False):
        """Ends the queue: puts raise QueueShutDown, and so do gets once it is empty. Whoever waits does so at once.

        With `immediate` the items are dropped and count as done. O(waiters), and O(items) if immediate.
        """
        cdef Items items
        cdef Stack stack
        cdef list dropped = []
        if not _shut_down(self, immediate, False, &items, &stack):
            guard = _enter(self)
            try:
                if self._order.load(relaxed) == HOOKS:
                    self._drain_by_hooks(immediate, dropped)
                _shut_down(self, immediate, True, &items, &stack)
            finally:
                _leave(self, guard)
        _drop(&items, &stack)

    @property
    def maxsize(self):
        """How many items the queue takes; 0 or less: any number."""
        return _maxsize_of(self)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Queue[T]: a queue of Ts."""
        return types.GenericAlias(cls, item)

    # What asyncio has under these names, and subclasses and debugging tools look at.

    @property
    def _maxsize(self):
        return _maxsize_of(self)

    @_maxsize.setter
    def _maxsize(self, value):
        _set_maxsize(self, value)

    @property
    def _queue(self):
        return _container_of(self, "_queue")

    @_queue.setter
    def _queue(self, value):
        _set_container(self, value)

    @property
    def _unfinished_tasks(self):
        return self._unfinished_locked()

    @_unfinished_tasks.setter
    def _unfinished_tasks(self, value):
        _set_unfinished(self, value)

    @property
    def _is_shutdown(self):
        return self._is_shut_locked()

    @property
    def _getters(self):
        return claims_of(self, _copy_getters)

    @property
    def _putters(self):
        return claims_of(self, _copy_putters)

    def _format(self):
        text = f"maxsize={self.maxsize!r}"
        items = _snapshot(self) if self._size_locked() >= 0 else getattr(self, "_queue", None)
        if items:
            text += f" _queue={list(items)!r}"
        if getters := self._getters:
            text += f" _getters[{len(getters)}]"
        if putters := self._putters:
            text += f" _putters[{len(putters)}]"
        if tasks := self._unfinished_tasks:
            text += f" tasks={tasks}"
        return f"{text} shutdown" if self._is_shutdown else text

    def __repr__(self):
        return f"<{type(self).__name__} at {<uintptr_t><PyObject*>self:#x} {self._format()}>"

    def __str__(self):
        return f"<{type(self).__name__} {self._format()}>"

    cdef bint _may_reenter(self) noexcept:
        return True

    cdef object _error(self, int answer, bint gets):
        if answer == SHUT:
            return QueueShutDown()
        if answer == BUSY:
            return QueueEmpty() if gets else QueueFull()
        return MemoryError()

    cdef int _put_by_hooks(self, object item, Node* node, Place place, WakeList* woken) except -1:
        if node != NULL:        # `await put()`, which comes to put_nowait() where there is room, as asyncio's does
            if self.full():
                return self._wait_locked(False, node, place)
            self.put_nowait(item)
            return DONE
        if self._is_shut_locked():
            return SHUT
        if self.full():
            return BUSY
        self._put(item)
        self._has_put_locked(woken)
        return DONE

    cdef object _get_by_hooks(self, int* answer, Node* node, Place place, WakeList* woken):
        if node != NULL:        # as above
            if self.empty():
                answer[0] = self._wait_locked(True, node, place)
                return None
            return self.get_nowait()
        if self.empty():
            answer[0] = self._wait_locked(True, NULL, TRY)
            return None
        item = self._get()
        self._wake_locked(False, 1, woken)
        return item

    cdef int _drain_by_hooks(self, bint immediate, list dropped) except -1:
        cdef WakeList woken
        woken.head = woken.tail = NULL
        _set_shut(self)
        while immediate and not self.empty():
            dropped.append(self._get())
            self._task_done_locked(True, &woken)
        wake(&woken)
        return 0
