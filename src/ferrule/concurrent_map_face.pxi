"""The async face of ConcurrentMap; part of concurrent_map.pyx."""


@cython.final
cdef class AsyncConcurrentMap:
    """ConcurrentMap(mapping_or_pairs=(), /, *, shards=None, capacity=0)
    --

    The async face of a ferrule.ConcurrentMap: what can wait long. Constructing one makes a new map.

    Complexity  Every method: O(1) expected, entries(): O(number of keys).
    Threads     Every method is safe; tasks of several loops and threads wait in one queue.
    Blocks      never the loop: a task is suspended while others hold the key, or compute its value.
    Calls you   hash() and == of keys, and the functions you give, plain or async; never while an internal lock is held.
    Errors      Timeout; WouldDeadlock for a wait that only the same task could end; what your functions raise.

    A key that tasks enter is to be written through this face: a plain write in the loop's thread raises WouldDeadlock
    while a task of that loop holds the entry. All else is there on the map itself, which `sync` gives.

    >>> import asyncio
    >>> async def main():
    ...     async def fetch():
    ...         await asyncio.sleep(0)
    ...         return "page"
    ...     pages = AsyncConcurrentMap()
    ...     return await pages.get_or_compute("/", fetch), pages.sync["/"]
    >>> asyncio.run(main())
    ('page', 'page')
    """
    cdef ConcurrentMap _map

    def get_or_compute(self, key, factory, /, *, timeout=None):
        """Awaitable; the value of the key; if it is absent what `factory()`, plain or async, gives, which is put in.

        One factory runs for a key at a time, however many threads and tasks of any loops ask; the others wait for its
        value, at most `timeout` seconds (None: for ever, 0: not at all), then Timeout. A factory that raises, or whose
        task is cancelled or its loop closed, gives the turn to the next who waits. A value that somebody else puts in
        meanwhile wins, and all get it. WouldDeadlock if the value can only be computed after this task goes on.
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef _Call call = _new_call(self._map, key, factory)
        return new_coroutine(&ASYNC_GET_OR_COMPUTE, self._map, take(<PyObject*>call), patience)

    def entry(self, key, /, *, timeout=None):
        """Awaitable; the Entry of the key. `async with` works on it too. As on the map itself. O(1)."""
        return _entering(self._map, key, NULL, 0, NEVER if timeout is None else parse_timeout(timeout))

    def try_entry(self, key, /):
        """The Entry of the key for this task, or None if the keys of its hash are held. Never waits. O(1)."""
        cdef Entry entry = _new_entry(self._map, key, NULL, 0)
        return entry if wait_in_thread(&ASYNC_TRY_ENTER, self._map, <PyObject*>entry, 0, 0) else None

    def entries(self, *keys, timeout=None):
        """Awaitable; the Entries of several keys. `async with` works on it too. As on the map itself. O(keys)."""
        return _later(&ASYNC_ENTER_ALL, self._map, (_enter_each, self._map, list(keys), parse_timeout(timeout)))

    def compute(self, key, f, /):
        """Awaitable; calls `f(value or MISSING)`, plain or async, once, with the key entered, and sets what it gives.

        As on the map itself: f may answer REMOVE, or ABORT; the value then is given, or MISSING. O(1).
        """
        return _later(&ASYNC_COMPUTE, self._map, (_compute_in_task, self._map, key, f))

    def set(self, key, value, /):
        """Awaitable; sets the value of the key, once nobody else holds its entry. O(1)."""
        _check_value(value)
        return _later(&ASYNC_SET, self._map, (key, value))

    def pop(self, key, default=_NO_DEFAULT, /):
        """Awaitable; removes the key, once nobody else holds its entry, and gives its value; if it is absent,
        `default`, or KeyError without one. O(1)."""
        return _later(&ASYNC_POP, self._map, (key, default))

    @property
    def sync(self):
        """The ferrule.ConcurrentMap that this is a face of."""
        return self._map

    def __eq__(self, other, /):
        if not isinstance(other, AsyncConcurrentMap):
            return NotImplemented
        return (<AsyncConcurrentMap>other)._map is self._map

    def __hash__(self):
        return object.__hash__(self._map)

    @classmethod
    def __class_getitem__(cls, item, /):
        """ConcurrentMap[K, V]: a map from K to V."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return f"<ferrule.aio.ConcurrentMap of {self._map!r}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.aio.ConcurrentMap; its `sync` can be")


cdef inline AsyncConcurrentMap _face_of(ConcurrentMap map):
    cdef AsyncConcurrentMap face = AsyncConcurrentMap.__new__(AsyncConcurrentMap)
    face._map = map
    return face


cdef PyObject* _new_face(PyTypeObject* cls, PyObject* args, PyObject* kwargs) noexcept:
    """aio.ConcurrentMap(...): a new map, and its face."""
    cdef AsyncConcurrentMap face = None
    try:
        face = _face_of(ConcurrentMap(*<tuple>args, **(<dict>kwargs if kwargs != NULL else {})))
    except BaseException as error:
        set_raised(error)
    return take(<PyObject*>face) if face is not None else NULL


# --- entries of tasks ------------------------------------------------------------------------------------------------

cdef inline object _entering(_Sharded map, object key, Shard* shard, uint64_t hash, int64_t timeout):
    """A coroutine that gives the entry of the key. If `shard` is NULL the key is hashed at its first step."""
    cdef Entry entry = _new_entry(map, key, shard, hash)
    return new_coroutine(&ASYNC_ENTER, map, take(<PyObject*>entry), timeout)


cdef int _attempt_enter_async(Waiter* waiter, Place place) noexcept:
    if waiter.context == NULL:      # the first step
        try:
            _own_entry(waiter)
        except BaseException as error:
            set_raised(error)
            return FAILED
    return _attempt_enter(waiter, place)


cdef int _own_entry(Waiter* waiter) except -1:
    """The task that runs is the owner of the waiter's entry."""
    cdef Entry entry = <Entry>waiter.item
    cdef PyObject* context = owner_context()
    cdef Probe probe
    if context == NULL:
        raise MemoryError
    if entry._shard == NULL:
        entry._shard = _aim(entry._map, &probe, entry._key)
        entry._hash = probe.hash
    entry._context = <object>context
    waiter.token = <uintptr_t>entry._shard
    waiter.thread = owner_thread()
    waiter.context = context
    return 0


cdef int _attempt_leave(Waiter* waiter, Place place) noexcept:
    """The item is an Entry, or Entries; something else if a caller leaves what could not be entered."""
    item = <object>waiter.item
    if isinstance(item, Entry):
        _leave(item)
    elif isinstance(item, Entries):
        _leave_all((<Entries>item)._entries)
    return DONE


cdef PyObject* _give_none(Waiter* waiter) noexcept:
    return take(Py_None)


async def _enter_each(_Sharded map, list keys, int64_t timeout):
    """_enter_all() for a task."""
    cdef Entries entries = Entries.__new__(Entries)
    cdef Entry entry
    deadline = deadline_after(timeout)
    entries._entries = [None] * len(keys)
    taken = []
    try:
        for address, hash, index in _in_order(map, keys):
            entry = await _entering(
                map, keys[index], <Shard*><uintptr_t>address, hash, _time_left(timeout, deadline)
            )
            taken.append(entry)
            entries._entries[index] = entry
    except BaseException:
        _leave_all(taken)
        raise
    return entries


async def _compute_in_task(_Sharded map, key, f):
    cdef Entry entry = await _entering(map, key, NULL, 0, NEVER)
    try:
        old = entry.get(_MISSING)
        new = f(old)
        if is_awaitable(new):
            new = await new
        return _conclude(entry, old, new)
    finally:
        _leave(entry)


async def _set_in_task(_Sharded map, key, value, uintptr_t shard, uint64_t hash):
    cdef Entry entry = await _entering(map, key, <Shard*>shard, hash, NEVER)
    try:
        entry.value = value
    finally:
        _leave(entry)


async def _pop_in_task(_Sharded map, key, default, uintptr_t shard, uint64_t hash):
    cdef Entry entry = await _entering(map, key, <Shard*>shard, hash, NEVER)
    try:
        value = entry.remove(_NO_DEFAULT)
    finally:
        _leave(entry)
    return _popped(key, value, default)


cdef object _popped(object key, object value, object default):
    if value is not _NO_DEFAULT:
        return value
    if default is _NO_DEFAULT:
        raise KeyError(key)
    return default


# --- operations that take effect by what is left to do ---------------------------------------------------------------

cdef inline object _later(const Operation* operation, ConcurrentMap map, tuple item):
    Py_INCREF(item)
    return new_coroutine(operation, map, <PyObject*>item, 0)


cdef int _ready(Waiter* waiter, Place place) noexcept:
    return DONE


cdef int _continue_call(Waiter* waiter, PyObject** rest) noexcept:
    """The item is an async function and its arguments."""
    try:
        coroutine = (<tuple>waiter.item)[0](*(<tuple>waiter.item)[1:])
        rest[0] = take(<PyObject*>coroutine)
    except BaseException as error:
        set_raised(error)
        return FAILED
    return BUSY


cdef int _continue_set(Waiter* waiter, PyObject** rest) noexcept:
    cdef Probe probe
    cdef Change change
    cdef Shard* shard
    cdef _Sharded map = <_Sharded>waiter.target
    try:
        key, value = <tuple>waiter.item
        shard = _aim(map, &probe, key)
        change.value = <PyObject*>value
        if _change_at_once(shard, &probe, &change, PUT) == ENTERED:
            coroutine = _set_in_task(map, key, value, <uintptr_t>shard, probe.hash)
            rest[0] = take(<PyObject*>coroutine)
            return BUSY
    except BaseException as error:
        set_raised(error)
        return FAILED
    _replace_item(waiter, None)
    drop(change.old)        # last: its destructor may call back
    return DONE


cdef int _continue_pop(Waiter* waiter, PyObject** rest) noexcept:
    cdef Probe probe
    cdef Change change
    cdef Shard* shard
    cdef int outcome
    cdef _Sharded map = <_Sharded>waiter.target
    try:
        key, default = <tuple>waiter.item
        shard = _aim(map, &probe, key)
        outcome = _change_at_once(shard, &probe, &change, TAKE)
        if outcome == ENTERED:
            coroutine = _pop_in_task(map, key, default, <uintptr_t>shard, probe.hash)
            rest[0] = take(<PyObject*>coroutine)
            return BUSY
        _replace_item(waiter, _popped(key, move(change.old) if outcome == PRESENT else _NO_DEFAULT, default))
        drop(change.old_key)
    except BaseException as error:
        set_raised(error)
        return FAILED
    return DONE


cdef void _replace_item(Waiter* waiter, object item) noexcept:
    """What the operation gives takes the place of what it was given, as what is left to do would have it."""
    drop(swap(&waiter.item, take(<PyObject*>item)))


cdef Operation _later_operation(const char* name, Continue continues, const Operation* leave = NULL):
    cdef Operation operation = new_operation(name, _ready, _abandon, _pass_on, _give_item, _expire)
    operation.continues = continues
    operation.leave = leave
    return operation


cdef Operation ASYNC_LEAVE = new_operation(
    b"ConcurrentMap.entry.__aexit__", _attempt_leave, _abandon, _pass_on, _give_none, _expire
)
cdef Operation ASYNC_ENTER = new_operation(
    b"ConcurrentMap.entry", _attempt_enter_async, _abandon, _pass_on, _give_item, _expire
)
ASYNC_ENTER.leave = &ASYNC_LEAVE
cdef Operation ASYNC_TRY_ENTER = new_operation(
    b"ConcurrentMap.try_entry", _attempt_enter_async, _abandon, _pass_on, _give_item, _expire_quietly
)
cdef Operation ASYNC_ENTER_ALL = _later_operation(b"ConcurrentMap.entries", _continue_call, &ASYNC_LEAVE)
cdef Operation ASYNC_COMPUTE = _later_operation(b"ConcurrentMap.compute", _continue_call)
cdef Operation ASYNC_SET = _later_operation(b"ConcurrentMap.set", _continue_set)
cdef Operation ASYNC_POP = _later_operation(b"ConcurrentMap.pop", _continue_pop)
replace_new(AsyncConcurrentMap, _new_face)
