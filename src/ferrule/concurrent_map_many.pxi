"""What concerns many keys at once: snapshots, many reads and writes in one instant, copies; part of concurrent_map.pyx.

The latches of several shards are held together here and nowhere else, always taken in the order of the shards.
"""

cdef struct Wanted:         # one key of get_many() or set_many(); its references are owned
    Shard* shard
    uint64_t hash
    PyObject* stored        # the key object in the map; NULL: the key was absent
    uint64_t inserts        # of the shard when it was
    PyObject* key           # set_many(): what is inserted where it is absent
    PyObject* value         # the new value; then the value that was there, or NULL


cdef class _Many:
    """The keys of one get_many() or set_many(), and which shards they are in."""
    cdef _Sharded _map
    cdef Wanted* _wanted
    cdef size_t _count
    cdef size_t* _new       # for each shard, 1 + the number of absent keys in it; 0: none of the keys is

    def __dealloc__(self):
        cdef size_t index
        if self._wanted != NULL:
            for index in range(self._count):
                drop(self._wanted[index].stored)
                drop(self._wanted[index].key)
                drop(self._wanted[index].value)
        PyMem_RawFree(self._wanted)
        PyMem_RawFree(self._new)


cdef _Many _many(_Sharded map, size_t count):
    cdef _Many many = _Many.__new__(_Many)
    many._map = map
    many._wanted = <Wanted*>PyMem_RawCalloc(count, sizeof(Wanted))
    many._new = <size_t*>PyMem_RawCalloc(1 << map._bits, sizeof(size_t))
    if many._wanted == NULL or many._new == NULL:
        raise MemoryError
    many._count = count
    return many


cdef int _resolve_locked(Shard* shard, Probe* probe, Wanted* wanted) noexcept nogil:
    cdef int look
    shard.latch.lock()
    look = find(&shard.tables, probe)
    wanted.inserts = shard.tables.inserts
    if look == PRESENT:
        wanted.stored = take(probe.table.slots[probe.index].key)
    shard.latch.unlock()
    return look


cdef int _resolve(_Many self, size_t index, object key) except -1:
    """Finds the key object that the map has for the key, so that it can be found by identity from now on."""
    cdef Probe probe
    cdef Shard* shard = _aim(self._map, &probe, key)
    return _resolve_at(&self._wanted[index], shard, &probe)


cdef int _resolve_at(Wanted* wanted, Shard* shard, Probe* probe) except -1:
    cdef PyObject* before = wanted.stored
    wanted.stored = NULL
    drop(before)
    wanted.shard = shard
    wanted.hash = probe.hash
    try:
        while _resolve_locked(shard, probe, wanted) == ASK:
            _compare(probe)
    finally:
        _forget(probe)
    return 0


cdef void _count_new(_Many self) noexcept:
    """Fills in `_new`."""
    cdef size_t index
    cdef size_t shard
    for index in range(<size_t>1 << self._map._bits):
        self._new[index] = 0
    for index in range(self._count):
        shard = (<char*>self._wanted[index].shard - self._map._shards) // _stride()
        self._new[shard] += (self._new[shard] == 0) + (self._wanted[index].stored == NULL)


cdef inline void _all_locked(_Many self, bint lock) noexcept nogil:
    """Locks, or unlocks, the latches of the shards that the keys are in."""
    cdef size_t index
    for index in range(<size_t>1 << self._map._bits):
        if self._new[index]:
            if lock:
                _shard(self._map, index).latch.lock()
            else:
                _shard(self._map, index).latch.unlock()


cdef bint _get_many_locked(_Many self) noexcept nogil:
    """Takes references to all values in one instant; False if keys have come or gone: they must be resolved again."""
    cdef size_t index
    cdef bint good = True
    cdef Wanted* wanted
    cdef Slot* slot
    _all_locked(self, True)
    for index in range(self._count):
        wanted = &self._wanted[index]
        if wanted.stored != NULL:
            slot = find_same(&wanted.shard.tables, wanted.hash, wanted.stored)
            good = slot != NULL
            if good:
                wanted.value = take(slot.value)
        elif wanted.inserts != wanted.shard.tables.inserts:
            good = find_hash(&wanted.shard.tables, wanted.hash) == NULL
        if not good:
            break
    _all_locked(self, False)
    return good


cdef list _get_many(_Sharded map, list keys, object default):
    cdef _Many many = _many(map, len(keys))
    cdef size_t index
    cdef int rounds = 0
    cdef list entries = []
    cdef PyObject* value
    try:
        while True:
            if rounds == RESTARTS:
                # Keys come and go all the time, perhaps by the comparisons themselves: hold them.
                entries = _enter_all(map, list(dict.fromkeys(keys)), NEVER)
            for index in range(many._count):
                _resolve(many, index, keys[index])
            _count_new(many)
            if _get_many_locked(many):
                break
            for index in range(many._count):
                value = many._wanted[index].value
                many._wanted[index].value = NULL
                drop(value)
            rounds += 1
    finally:
        _leave_all(entries)
    values = []
    for index in range(many._count):
        value = many._wanted[index].value
        values.append(<object>value if value != NULL else default)
    return values


cdef bint _set_many_locked(_Many self, uint64_t thread) noexcept nogil:
    """Sets all values in one instant, under the entries of all keys; False if a shard has no room for its new ones."""
    cdef size_t index
    cdef bint good = True
    cdef Wanted* wanted
    cdef Tables* tables
    cdef Table* table
    cdef Slot* slot
    cdef PyObject* old
    _all_locked(self, True)
    for index in range(<size_t>1 << self._map._bits):
        if self._new[index] > 1:
            tables = &_shard(self._map, index).tables
            good = good and tables.table.next == NULL and tables.table.used + self._new[index] - 1 <= tables.table.limit
    if good:
        for index in range(self._count):
            wanted = &self._wanted[index]
            tables = &wanted.shard.tables
            if wanted.stored != NULL:
                slot = find_same(tables, wanted.hash, wanted.stored)
                old = slot.value
                publish(&slot.value, wanted.value)
                wanted.value = old
            else:
                table = tables.table
                fill(table, free_index(table, wanted.hash), wanted.hash, wanted.key, wanted.value)
                tables.inserts += 1
                wanted.key = wanted.value = NULL
    _all_locked(self, False)
    return good


cdef int _make_room_locked(Shard* shard, size_t keys, uint64_t thread) noexcept nogil:
    """Goes on with making room for so many more keys; 1: more to do, 0: done, -1: no memory."""
    cdef Tables* tables = &shard.tables
    cdef int more = 0
    shard.latch.lock()
    if tables.table.next != NULL:
        step(tables, AT_A_TIME, thread)
        more = 1
    elif tables.table.used + keys > tables.table.limit:
        more = 1 if replace_table(tables, slots_for(tables.table.live * 3 // 2 + keys), thread) else -1
    shard.latch.unlock()
    return more


cdef int _set_many(_Sharded map, dict items) except -1:
    cdef _Many many = _many(map, len(items))
    cdef size_t index = 0
    cdef int more
    cdef list keys = list(items)
    cdef list entries
    cdef Entry entry
    cdef Probe probe
    cdef list values = list(items.values())
    for value in values:
        _check_value(value)
    entries = _enter_all(map, keys, NEVER)
    try:
        for entry in entries:
            # Under its entry a key stays the one that is found here, or absent. By the hash that is held: a key may
            # give another one now.
            key = keys[index]
            _resolve_at(&many._wanted[index], _aim_entry(entry, &probe), &probe)
            many._wanted[index].key = take(<PyObject*>key)
            value = values[index]
            many._wanted[index].value = take(<PyObject*>value)
            index += 1
        _count_new(many)
        while not _set_many_locked(many, owner_thread()):
            for index in range(<size_t>1 << map._bits):
                more = many._new[index] > 1
                while more > 0:
                    more = _make_room_locked(_shard(map, index), many._new[index] - 1, owner_thread())
                if more < 0:
                    raise MemoryError
        for index in range(many._count):
            _own(many._wanted[index].shard, many._wanted[index].value, NULL)
    finally:
        _leave_all(entries)
    return 0


# --- snapshots and copies --------------------------------------------------------------------------------------------

cdef extern from *:
    dict dict_for "__Pyx_PyDict_NewPresized"(Py_ssize_t keys)

cdef struct Snapshot:
    Item* items             # references to keys and values
    size_t room
    size_t count


cdef void _copy_table(Table* table, Snapshot* snapshot) noexcept nogil:
    """Under the latch."""
    cdef size_t index
    cdef Slot* slot
    if table == NULL or table.live == 0:
        return
    for index in range(table.cleared):
        slot = visit_slot(table, index)
        if slot.key != NULL and not is_left_over(table, slot):
            snapshot.items[snapshot.count].hash = slot.hash
            snapshot.items[snapshot.count].key = slot.key
            snapshot.items[snapshot.count].value = slot.value
            retain(slot.key)
            retain(slot.value)
            snapshot.count += 1


cdef size_t _snapshot_locked(_Sharded self, Py_ssize_t first, Py_ssize_t end, Snapshot* snapshot) noexcept nogil:
    """Copies all items of those shards in one instant, if there is room; how many there are."""
    cdef Py_ssize_t index
    cdef size_t live = 0
    for index in range(first, end):
        _shard(self, index).latch.lock()
        live += live_of(&_shard(self, index).tables)
    if live <= snapshot.room:
        for index in range(first, end):
            _copy_table(_shard(self, index).tables.table, snapshot)
            _copy_table(_shard(self, index).tables.table.next, snapshot)
    for index in range(first, end):
        _shard(self, index).latch.unlock()
    return live


cdef int _take_snapshot(_Sharded self, Py_ssize_t first, Py_ssize_t end, Snapshot* snapshot) except -1:
    """All items of those shards in one instant; the caller calls _free_snapshot()."""
    cdef size_t live
    snapshot.items = NULL
    snapshot.room = snapshot.count = 0
    while True:
        live = _snapshot_locked(self, first, end, snapshot)
        if live <= snapshot.room:
            return 0
        PyMem_RawFree(snapshot.items)
        snapshot.room = live + live // 8
        snapshot.items = <Item*>PyMem_RawMalloc(snapshot.room * sizeof(Item))
        if snapshot.items == NULL:
            raise MemoryError


cdef void _free_snapshot(Snapshot* snapshot) noexcept:
    cdef size_t index
    for index in range(snapshot.count):
        drop(snapshot.items[index].key)
        drop(snapshot.items[index].value)
    PyMem_RawFree(snapshot.items)


cdef dict _to_dict(_Sharded self):
    cdef Snapshot snapshot
    cdef size_t index
    cdef dict result
    _take_snapshot(self, 0, 1 << self._bits, &snapshot)
    try:
        result = dict_for(snapshot.count)
        for index in range(snapshot.count):
            PyDict_SetItem(result, <object>snapshot.items[index].key, <object>snapshot.items[index].value)
    finally:
        _free_snapshot(&snapshot)
    return result


cdef dict _dict_of(object mapping_or_pairs):
    """dict(), but of a ConcurrentMap in one instant: its keys may go while their values are looked up."""
    if isinstance(mapping_or_pairs, ConcurrentMap):
        return _to_dict(<_Sharded>mapping_or_pairs)
    return dict(mapping_or_pairs)


cdef set _to_set(_Sharded self):
    cdef Snapshot snapshot
    cdef size_t index
    cdef set result = set()
    _take_snapshot(self, 0, 1 << self._bits, &snapshot)
    try:
        for index in range(snapshot.count):
            result.add(<object>snapshot.items[index].key)
    finally:
        _free_snapshot(&snapshot)
    return result


cdef void _fill_locked(Shard* shard, Snapshot* snapshot) noexcept nogil:
    """Fills an empty shard that has room; the references move in."""
    cdef size_t index
    cdef Item* item
    cdef Table* table
    shard.latch.lock()
    table = shard.tables.table
    for index in range(snapshot.count):
        item = &snapshot.items[index]
        fill(table, free_index(table, item.hash), item.hash, item.key, item.value)
    shard.tables.inserts += snapshot.count
    snapshot.count = 0
    shard.latch.unlock()


cdef int _copy_into(_Sharded self, _Sharded new) except -1:
    """Fills a new map or set, of as many shards, without comparing keys; each shard is copied in one instant."""
    cdef Snapshot snapshot
    cdef Py_ssize_t index
    cdef int more
    for index in range(1 << self._bits):
        _take_snapshot(self, index, index + 1, &snapshot)
        more = 1
        while more > 0:
            more = _make_room_locked(_shard(new, index), snapshot.count, owner_thread())
        _own(_shard(new, index), NULL, NULL)
        if more == 0:
            _fill_locked(_shard(new, index), &snapshot)
        _free_snapshot(&snapshot)
        if more < 0:
            raise MemoryError
    return 0


# --- one key after the other -----------------------------------------------------------------------------------------

cdef Table* _detach_free_locked(Shard* shard, uint64_t thread) noexcept nogil:
    """Takes the table out if no entry holds a key; NULL if one does."""
    cdef Table* table = NULL
    shard.latch.lock()
    if live_of(&shard.holds) == 0:
        table = _detach(shard, thread)
    shard.latch.unlock()
    return table


cdef int _remove_all(_Sharded self) except -1:
    """clear(): waits for the keys that entries hold."""
    cdef Table* table
    cdef Py_ssize_t index
    cdef _Iterator keys
    cdef Item item
    cdef Shard* shard
    for index in range(1 << self._bits):
        table = _detach_free_locked(_shard(self, index), owner_thread())
        if table != NULL:
            _drop_detached(_shard(self, index), table)
            continue
        keys = _iterate(self, KEYS)
        keys._index = index
        while True:
            with cython.critical_section(keys):
                found = _pull(keys, &item, &shard)
            if found < 0:
                raise MemoryError
            if not found:
                break
            key = move(item.key)
            if shard != _shard(self, index):
                break
            _remove_item(self, shard, key, item.hash)
    return 0


cdef int _remove_item(_Sharded self, Shard* shard, object key, uint64_t hash) except -1:
    """Removes a key whose stored object is known."""
    cdef Probe probe
    cdef Change change
    probe.key = <PyObject*>key
    probe.kind = kind_of(probe.key)
    probe.hash = hash
    probe.asked = probe.candidate = NULL
    probe.restarts = 0
    change.entry = NULL
    _change(self, shard, &probe, &change, TAKE)
    drop(change.old_key)
    drop(change.old)
    return 0


cdef Py_ssize_t _retain(_Sharded self, object predicate, bint with_value) except -1:
    """Removes where the predicate says no; how many. Each key is entered while it is asked about."""
    cdef _Iterator keys = _iterate(self, KEYS)
    cdef Py_ssize_t removed = 0
    cdef Item item
    cdef Shard* shard
    cdef Entry entry
    cdef PyObject* value
    while True:
        with cython.critical_section(keys):
            found = _pull(keys, &item, &shard)
        if found < 0:
            raise MemoryError
        if not found:
            return removed
        key = move(item.key)
        if not _is_there(shard, &item, False):
            continue
        entry = _enter(self, shard, key, item.hash, NEVER, &ENTER)
        try:
            value = _entry_get(entry)
            if value != NULL:
                present = move(value)
                if not (predicate(key, present) if with_value else predicate(key)):
                    removed += _entry_remove(entry)
        finally:
            _leave(entry)


cdef bint _entry_remove(Entry entry) except -1:
    """Whether the key was there."""
    cdef Change change
    cdef int outcome = _entry_change(entry, &change, TAKE)
    drop(change.old_key)
    drop(change.old)
    return outcome == PRESENT


cdef bint _remove_if(_Sharded self, object key, object predicate, bint of_key) except -1:
    """Removes the key if it is there and the predicate accepts its value, or for a set the key as it is stored."""
    cdef Entry entry = _enter_key(self, key, NEVER, &ENTER)
    cdef PyObject* value
    try:
        value = _entry_get(entry)
        if value == NULL:
            return False
        present = move(value)
        return bool(predicate(<object>_stored_locked(entry) if of_key else present)) and _entry_remove(entry)
    finally:
        _leave(entry)


cdef bint _pop_locked(Shard* shard, uint64_t thread, PyObject** key, PyObject** value) noexcept nogil:
    """Takes out any key that no entry holds, with its references; False if there is none."""
    cdef Tables* tables = &shard.tables
    cdef Table* table
    cdef size_t passed, index
    cdef Slot* slot
    cdef bint found = False
    shard.latch.lock()
    table = tables.table if tables.table.live else tables.table.next
    if table != NULL and table.live:
        for passed in range(table.cleared):
            index = (shard.popped + passed) % table.cleared
            slot = &table.slots[index]
            if slot.key != NULL and not is_left_over(table, slot) and not _is_held(shard, slot.hash):
                key[0] = slot.key
                value[0] = slot.value
                shard.popped = index
                remove_slot(tables, table, index, thread)
                found = True
                break
    shard.latch.unlock()
    return found


cdef bint _pop_any(_Sharded self, PyObject** key, PyObject** value) noexcept:
    cdef Py_ssize_t index
    for index in range(1 << self._bits):
        if _pop_locked(_shard(self, index), owner_thread(), key, value):
            _own(_shard(self, index), value[0], key[0])
            return True
    return False
