"""Entries: the exclusive right to a key, and the one place where the map waits; part of concurrent_map.pyx."""

cdef str _NOT_IN_FORCE = "the entry does not hold its key: it was released"


@cython.final
@cython.no_gc_clear     # __dealloc__ needs the map; every cycle passes the map or the key, which can be cleared
cdef class Entry:
    """The exclusive right to one key of a ConcurrentMap: what entry(), try_entry() and entries() give.

    Complexity  Every method: O(1) expected.
    Threads     Every method is safe; whoever has the entry may use and release it, from any thread or task.
    Blocks      never: what others would wait for is held already.
    Calls you   == of keys, and the function given to or_insert_with(), never while an internal lock is held.
    Errors      RuntimeError once the entry has been released; KeyError by `value` where the key is absent.

    Others wait to write the key until the entry is released; they read it without waiting, and see each change at once.
    An exception in the body rolls nothing back. An entry that is collected while it holds its key releases it and gives
    a ResourceWarning.

    >>> m = ConcurrentMap({"a": 1})
    >>> with m.entry("a") as e:
    ...     e.value += 1
    >>> m["a"]
    2
    """

    @property
    def key(self):
        """The key, as it was given."""
        return self._key

    @property
    def value(self):
        """The value; KeyError if the key is absent. Setting it publishes it at once."""
        cdef PyObject* value = _entry_get(self)
        if value == NULL:
            raise KeyError(self._key)
        return move(value)

    @value.setter
    def value(self, value):
        cdef Change change
        _check_value(value)
        change.value = <PyObject*>value
        _entry_change(self, &change, PUT)
        drop(change.old)        # last: its destructor may call back

    @value.deleter
    def value(self):
        raise AttributeError("the value of an entry is removed by remove()")

    @property
    def present(self):
        """Whether the map has the key."""
        cdef PyObject* value = _entry_get(self)
        drop(value)
        return value != NULL

    def get(self, default=None):
        """The value, or `default` if the key is absent."""
        cdef PyObject* value = _entry_get(self)
        return move(value) if value != NULL else default

    def or_insert(self, value, /):
        """The value; if the key is absent, `value`, which is inserted."""
        cdef Change change
        _check_value(value)
        change.value = <PyObject*>value
        return move(change.old) if _entry_change(self, &change, ADD) == PRESENT else value

    def or_insert_with(self, factory, /):
        """The value; if the key is absent, what `factory()` gives, which is inserted. Its error changes nothing."""
        cdef PyObject* value = _entry_get(self)
        if value != NULL:
            return move(value)
        return self.or_insert(factory())

    def insert(self, value, /, default=None):
        """Sets the value and returns the old one, or `default` if the key was absent."""
        cdef Change change
        _check_value(value)
        change.value = <PyObject*>value
        return move(change.old) if _entry_change(self, &change, PUT) == PRESENT else default

    def remove(self, default=None):
        """Removes the key and returns its value, or `default` if it was absent. The key stays held."""
        cdef Change change
        cdef int outcome = _entry_change(self, &change, TAKE)
        drop(change.old_key)
        return move(change.old) if outcome == PRESENT else default

    def release(self):
        """Ends the hold; RuntimeError if it has ended. Of two threads that race exactly one succeeds. O(1)."""
        if not _leave(self):
            raise RuntimeError(_NOT_IN_FORCE)

    def __enter__(self):
        if not _in_force_locked(self):
            raise RuntimeError(_NOT_IN_FORCE)
        return self

    def __exit__(self, kind, error, traceback, /):
        _leave(self)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Entry[K, V]: an entry of a map from K to V."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return f"<ferrule.Entry of {self._key!r}, {'held' if _in_force_locked(self) else 'released'}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy an entry")

    def __dealloc__(self):
        if self._hold != NULL:
            _leave_forgotten(self)
        drop(self._stored)


@cython.final
cdef class Entries:
    """The entries of several keys, in the order in which the keys were given: what entries() gives.

    Complexity  Every method: O(1), but release() and leaving a `with` block: O(number of keys).
    Threads     Every method is safe.
    Blocks      never.
    Calls you   never.
    Errors      IndexError; RuntimeError by release() if all of them have been released.
    """
    cdef list _entries

    def release(self):
        """Ends every hold that has not ended; RuntimeError if all have."""
        if not _leave_all(self._entries) and self._entries:
            raise RuntimeError(_NOT_IN_FORCE)

    def __getitem__(self, index, /):
        return self._entries[index]

    def __len__(self):
        return len(self._entries)

    def __iter__(self):
        return iter(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback, /):
        _leave_all(self._entries)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Entries[K, V]: entries of a map from K to V."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        return f"<ferrule.Entries of {', '.join([repr(entry.key) for entry in self._entries])}>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy entries")


# --- what an entry does ----------------------------------------------------------------------------------------------

cdef inline PyObject* _stored_locked(Entry entry) noexcept nogil:
    """Borrowed: once known it stays."""
    cdef PyObject* stored
    entry._shard.latch.lock()
    stored = entry._stored
    entry._shard.latch.unlock()
    return stored


cdef inline Shard* _aim_entry(Entry entry, Probe* probe) noexcept:
    """Prepares a look for the entry's key, by the stored key object if it is known: that is found by identity."""
    probe.key = _stored_locked(entry)
    if probe.key == NULL:
        probe.key = <PyObject*>entry._key
    probe.kind = kind_of(probe.key)
    probe.hash = entry._hash
    probe.thread = owner_thread()
    probe.asked = probe.candidate = NULL
    probe.restarts = 0
    return entry._shard


cdef int _entry_get_locked(Entry entry, Shard* shard, Probe* probe, PyObject** value) noexcept nogil:
    cdef int look = NOT_IN_FORCE
    cdef Slot* slot
    shard.latch.lock()
    if entry._hold != NULL:
        look = find(&shard.tables, probe)
        if look == PRESENT:
            slot = &probe.table.slots[probe.index]
            value[0] = take(slot.value)
            if entry._stored == NULL:
                entry._stored = take(slot.key)
    shard.latch.unlock()
    return look


cdef PyObject* _entry_get(Entry entry) except? NULL:
    """A new reference to the value of the entry's key; NULL without an exception if it is absent."""
    cdef Probe probe
    cdef PyObject* value = NULL
    cdef Shard* shard = _aim_entry(entry, &probe)
    cdef int look = _entry_get_locked(entry, shard, &probe, &value)
    try:
        while look == ASK:
            _compare(&probe)
            look = _entry_get_locked(entry, shard, &probe, &value)
    finally:
        _forget(&probe)
    if look == NOT_IN_FORCE:
        raise RuntimeError(_NOT_IN_FORCE)
    return value


cdef int _entry_change(Entry entry, Change* change, How how) except -1:
    """A change of the entry's key; `change.value` has been filled in."""
    cdef Probe probe
    cdef Shard* shard = _aim_entry(entry, &probe)
    change.entry = <PyObject*>entry
    return _change(entry._map, shard, &probe, change, how)


cdef inline int _check_value(object value) except -1:
    """The answers that say that there is no value are not values."""
    if value is _MISSING or value is _REMOVE or value is _ABORT:
        return _refuse_value(value)
    return 0


cdef int _refuse_value(object value) except -1:
    raise ValueError(f"{value!r} cannot be a value")


# --- holds -----------------------------------------------------------------------------------------------------------
#
# A hold is in the table of its shard while there are entries of it or somebody waits for it. All entries of a hold are
# of one owner: the keys are different, only their hash is the same.

cdef enum:
    SAME_OWNER = 16     # an outcome of _enter_locked(): the waiter has the hold already, by an entry of some key


cdef Hold* _hold_of(Shard* shard, uint64_t hash) noexcept nogil:
    """Under the latch: the hold of that hash, or NULL."""
    cdef Slot* slot = find_hash(&shard.holds, hash)
    return <Hold*>slot.key if slot != NULL else NULL


cdef Hold* _new_hold(Shard* shard, uint64_t hash) noexcept nogil:
    """Under the latch: a hold of a hash that has none; NULL without memory."""
    cdef Probe probe
    cdef Hold* hold = <Hold*>PyMem_RawCalloc(1, sizeof(Hold))
    if hold == NULL:
        return NULL
    hold.hash = probe.hash = hash
    probe.key = <PyObject*>hold
    probe.kind = OTHER_KEY
    probe.asked = NULL
    probe.thread = 0
    find(&shard.holds, &probe)
    if not insert(&shard.holds, &probe, <PyObject*>hold, <PyObject*>hold):
        PyMem_RawFree(hold)
        return NULL
    return hold


cdef void _free_if_unused(Shard* shard, Hold* hold) noexcept nogil:
    """Under the latch: drops a hold that nobody has or waits for."""
    cdef Table* table
    cdef Slot* slot
    if hold.entries == NULL and hold.queue.head == NULL:
        slot = find_hash(&shard.holds, hold.hash)
        table = table_of(&shard.holds, hold.hash)
        remove_slot(&shard.holds, table, slot - table.slots, 0)
        PyMem_RawFree(hold)


cdef void _put_in_force(Shard* shard, Hold* hold, Waiter* waiter) noexcept nogil:
    """Under the latch: the waiter's entry is one of the hold's."""
    shard.taken += 1
    hold.taken = shard.taken
    hold.thread = waiter.thread
    hold.context = waiter.context
    (<Entry>waiter.item)._next = hold.entries
    (<Entry>waiter.item)._hold = hold
    hold.entries = waiter.item


cdef int _enter_locked(Shard* shard, Waiter* waiter, Place place, uint64_t known) noexcept nogil:
    """DONE: the waiter's entry is in force. `known`: until which of its numbers the owner's entries have other keys."""
    cdef uint64_t hash = (<Entry>waiter.item)._hash
    cdef int outcome = DONE
    cdef Hold* hold
    shard.latch.lock()
    hold = _hold_of(shard, hash)
    if hold == NULL:
        hold = _new_hold(shard, hash)
    if hold == NULL:
        outcome = NO_MEMORY
    else:
        refresh(&hold.queue)
        if hold.entries == NULL or (hold.taken == known and _is_owner(hold, waiter)):
            _put_in_force(shard, hold, waiter)
        elif _is_owner(hold, waiter):
            outcome = SAME_OWNER
        elif place == TRY:
            outcome = BUSY
        elif waiter.context == NULL and hold.thread == waiter.thread:
            outcome = FAILED        # a task of the event loop that this thread runs has it
        else:
            link(&hold.queue, &waiter.node, place)
            outcome = LINKED
    shard.latch.unlock()
    return outcome


cdef inline bint _is_owner(Hold* hold, Waiter* waiter) noexcept nogil:
    return hold.thread == waiter.thread and hold.context == waiter.context


cdef void _pass(Shard* shard, Hold* hold, WakeList* woken) noexcept nogil:
    """Under the latch: nobody has the hold any more; it goes to the first who waits, or that one has leave to try."""
    cdef Waiter* first
    refresh(&hold.queue)
    if hold.queue.head != NULL:
        first = hold.queue.head.waiter
        if now() >= first.patience:
            # Before the claim, because the claimed looks at its entry.
            _put_in_force(shard, hold, first)
            claim(hold.queue.head, HANDED, woken)      # one queue only, so nobody else can have claimed it
        else:
            claim_first(&hold.queue, CLAIMED, woken)
    _free_if_unused(shard, hold)


cdef bint _leave_locked(Shard* shard, Entry entry, WakeList* woken) noexcept nogil:
    """Takes the entry out of force; False if it was not."""
    cdef Hold* hold
    cdef PyObject** at
    shard.latch.lock()
    hold = entry._hold
    if hold != NULL:
        entry._hold = NULL
        at = &hold.entries
        while at[0] != <PyObject*>entry:
            at = &(<Entry>at[0])._next
        at[0] = entry._next
        if hold.entries == NULL:
            _pass(shard, hold, woken)
    shard.latch.unlock()
    return hold != NULL


cdef bint _abandon_locked(Shard* shard, Waiter* waiter) noexcept nogil:
    cdef Hold* hold
    cdef bint gave_up
    shard.latch.lock()
    hold = <Hold*>waiter.node.queue
    if hold != NULL:
        refresh(&hold.queue)
    gave_up = give_up(waiter)
    if gave_up and hold != NULL:
        _free_if_unused(shard, hold)
    shard.latch.unlock()
    return gave_up


cdef void _pass_on_locked(Shard* shard, uint64_t hash, WakeList* woken) noexcept nogil:
    """A waiter that had leave to try will not."""
    cdef Hold* hold
    shard.latch.lock()
    hold = _hold_of(shard, hash)
    if hold != NULL and hold.entries == NULL:
        _pass(shard, hold, woken)
    shard.latch.unlock()


cdef bint _in_force_locked(Entry entry) noexcept nogil:
    cdef bint in_force
    entry._shard.latch.lock()
    in_force = entry._hold != NULL
    entry._shard.latch.unlock()
    return in_force


cdef bint _is_held_locked(Shard* shard, uint64_t hash) noexcept nogil:
    cdef bint held
    shard.latch.lock()
    held = _is_held(shard, hash)
    shard.latch.unlock()
    return held


cdef uint64_t _keys_locked(Shard* shard, uint64_t hash, PyObject** keys, size_t room, size_t* count) noexcept nogil:
    """New references to the keys of at most `room` of the hold's entries; `taken` of the hold, 0 if there is none."""
    cdef uint64_t taken = 0
    cdef PyObject* entry
    cdef Hold* hold
    count[0] = 0
    shard.latch.lock()
    hold = _hold_of(shard, hash)
    if hold != NULL:
        taken = hold.taken
        entry = hold.entries
        while entry != NULL:
            if count[0] < room:
                keys[count[0]] = take(<PyObject*>(<Entry>entry)._key)
            count[0] += 1
            entry = (<Entry>entry)._next
    shard.latch.unlock()
    return taken


cdef uint64_t _holder_locked(Shard* shard, uint64_t hash, PyObject** context) noexcept nogil:
    """The thread of the hold of that hash, and a new reference to its context; 0: nobody has it."""
    cdef uint64_t thread = 0
    cdef Hold* hold
    shard.latch.lock()
    hold = _hold_of(shard, hash)
    if hold != NULL and hold.entries != NULL:
        thread = hold.thread
        if hold.context != NULL:
            context[0] = take(hold.context)
    shard.latch.unlock()
    return thread


cdef list _holders_of(Entry entry):
    """A list of (thread identity, task's context or None, None, None); the identities are those of waits()."""
    cdef PyObject* context = NULL
    cdef uint64_t thread = _holder_locked(entry._shard, entry._hash, &context)
    if thread == 0:
        return []
    return [(thread, move(context) if context != NULL else None, None, None)]


cdef inline Entry _new_entry(_Sharded map, object key, Shard* shard, uint64_t hash):
    cdef Entry entry = Entry.__new__(Entry)
    entry._map = map
    entry._key = key
    entry._hash = hash
    entry._shard = shard
    return entry


cdef Entry _enter(
    _Sharded map, Shard* shard, object key, uint64_t hash, int64_t timeout, const Operation* operation
):
    """The entry of the key, in force; None if the operation does not wait and the key is held."""
    cdef Entry entry = _new_entry(map, key, shard, hash)
    return entry if wait_in_thread(operation, map, <PyObject*>entry, <uintptr_t>shard, timeout) else None


cdef inline Entry _enter_key(_Sharded map, object key, int64_t timeout, const Operation* operation):
    cdef Probe probe
    cdef Shard* shard = _aim(map, &probe, key)
    return _enter(map, shard, key, probe.hash, timeout, operation)


cdef bint _leave(Entry entry) noexcept:
    """Releases the entry; False if it was released already."""
    cdef WakeList woken
    woken.head = woken.tail = NULL
    if not _leave_locked(entry._shard, entry, &woken):
        return False
    wake(&woken)
    return True


cdef bint _leave_all(list entries) noexcept:
    """Whether any of them was still in force."""
    cdef bint left = False
    cdef Entry entry
    for entry in entries:
        left |= _leave(entry)
    return left


cdef void _leave_forgotten(Entry entry) noexcept:
    """An entry is being collected while it holds its key: releases it, and warns last."""
    cdef KeepRaised keep
    cdef Apart apart
    keep.set_aside()
    apart.begin(apart_depth())
    _leave(entry)
    try:
        PyErr_WarnEx(ResourceWarning, b"an entry was collected while it held its key, which is free again", 1)
    except BaseException as error:      # warnings may be errors, and a destructor cannot raise
        set_raised(error)
        PyErr_WriteUnraisable(None)


cdef list _in_order(_Sharded map, list keys):
    """(address of the shard, hash, index) of each key, in the order in which all take their entries.

    ValueError if two of the keys are equal.
    """
    cdef Probe probe
    cdef Shard* shard
    cdef Py_ssize_t index
    cdef list order = []
    for index in range(len(keys)):
        shard = _aim(map, &probe, keys[index])
        order.append((<uintptr_t>shard, probe.hash, index))
    order.sort()
    for index in range(1, len(order)):
        _check_differs(keys, order, index)
    return order


cdef int _check_differs(list keys, list order, Py_ssize_t index) except -1:
    """From those before it in the order that have the same hash."""
    address, hash, at = order[index]
    key = keys[at]
    while index > 0 and order[index - 1][:2] == (address, hash):
        index -= 1
        other = keys[order[index][2]]
        if other is key or other == key:
            raise ValueError(f"the key {key!r} is given twice")
    return 0


cdef inline int64_t _time_left(int64_t timeout, int64_t deadline) noexcept nogil:
    """Of a wait in several parts, in nanoseconds."""
    return timeout if timeout == 0 or timeout == NEVER else max(0, deadline - now())


cdef list _enter_all(_Sharded map, list keys, int64_t timeout):
    """The entries of all the keys, in their order; taken in the order of their hashes, or none of them."""
    cdef Entry entry
    cdef int64_t deadline = deadline_after(timeout)
    cdef list entries = [None] * len(keys)
    cdef list taken = []
    try:
        for address, hash, index in _in_order(map, keys):
            entry = _enter(
                map, <Shard*><uintptr_t>address, keys[index], hash, _time_left(timeout, deadline), &ENTER
            )
            entries[index] = entry
            taken.append(entry)
    except BaseException:
        _leave_all(taken)
        raise
    return entries


# --- operations ------------------------------------------------------------------------------------------------------

cdef int _attempt_enter(Waiter* waiter, Place place) noexcept:
    cdef Shard* shard = <Shard*>waiter.token
    cdef uint64_t known = 0
    cdef int outcome = _enter_locked(shard, waiter, place, known)
    try:
        while outcome == SAME_OWNER:
            if not _differs_from_all(<Entry>waiter.item, &known):
                if place == TRY and waiter.timeout == 0:
                    return BUSY
                raise WouldDeadlock(
                    f"this {'thread' if waiter.context == NULL else 'task'} holds the entry of"
                    f" {(<Entry>waiter.item)._key!r} already and would wait for itself"
                )
            outcome = _enter_locked(shard, waiter, place, known)
        if outcome == FAILED:
            raise WouldDeadlock(
                f"a task of this thread's event loop holds the entry of {(<Entry>waiter.item)._key!r},"
                " and could not release it meanwhile"
            )
        if outcome == NO_MEMORY:
            raise MemoryError
    except BaseException as error:
        set_raised(error)
        return FAILED
    return outcome


cdef bint _differs_from_all(Entry entry, uint64_t* taken) except -1:
    """Whether the keys of all entries of the same hold are other keys; and `taken` of the hold when they were read."""
    cdef size_t room = 4, count, index
    cdef PyObject** keys
    cdef list others
    while True:
        keys = <PyObject**>PyMem_RawMalloc(room * sizeof(PyObject*))
        if keys == NULL:
            raise MemoryError
        taken[0] = _keys_locked(entry._shard, entry._hash, keys, room, &count)
        others = []
        for index in range(min(count, room)):
            others.append(<object>keys[index])
            drop(keys[index])
        PyMem_RawFree(keys)
        if count <= room:
            break
        room = count * 2
    for other in others:
        if other is entry._key or other == entry._key:
            return False
    return True


cdef bint _abandon(Waiter* waiter) noexcept nogil:
    return _abandon_locked(<Shard*>waiter.token, waiter)


cdef void _pass_on(Waiter* waiter, int how, WakeList* woken) noexcept:
    if how == HANDED:
        _leave_locked(<Shard*>waiter.token, <Entry>waiter.item, woken)
    else:
        _pass_on_locked(<Shard*>waiter.token, (<Entry>waiter.item)._hash, woken)


cdef void _expire(Waiter* waiter) noexcept:
    try:
        raise Timeout(
            f"the key {(<Entry>waiter.item)._key!r} was not free within {waiter.timeout / <double>SECOND:g} s"
        )
    except BaseException as error:      # what the key's repr() raises, or there is no memory for it
        set_raised(error)


cdef void _expire_quietly(Waiter* waiter) noexcept:
    """try_entry() answers None."""


cdef PyObject* _give_item(Waiter* waiter) noexcept:
    return take(waiter.item)


cdef Operation ENTER = new_operation(
    b"ConcurrentMap.entry", _attempt_enter, _abandon, _pass_on, _give_item, _expire
)
cdef Operation TRY_ENTER = new_operation(
    b"ConcurrentMap.try_entry", _attempt_enter, _abandon, _pass_on, _give_item, _expire_quietly
)
