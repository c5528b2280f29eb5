"""Iterators and the views that keys(), values() and items() give; part of concurrent_map.pyx."""

cdef enum Part:
    KEYS
    VALUES
    ITEMS

cdef extern from *:
    """
    namespace ferrule {
    // Whether nobody but its one owner, which is seen by this thread, has a reference: nobody can get one meanwhile.
    inline bool is_only_reference(PyObject* of) noexcept {
    #ifdef Py_GIL_DISABLED
        return _Py_IsOwnedByCurrentThread(of) && _Py_atomic_load_uint32_relaxed(&of->ob_ref_local) == 1 &&
               _Py_atomic_load_ssize_relaxed(&of->ob_ref_shared) == 0;
    #else
        return Py_REFCNT(of) == 1;
    #endif
    }

    // Fills an empty cache, which keeps what it has until its end.
    inline void keep(PyObject** cache, PyObject* pair) noexcept {
    #ifdef Py_GIL_DISABLED
        void* empty = nullptr;
        Py_INCREF(pair);
        if (!_Py_atomic_compare_exchange_ptr(cache, &empty, pair)) Py_DECREF(pair);
    #else
        Py_INCREF(pair);
        *cache = pair;
    #endif
    }

    // (key, value); both references move in. The tuple that `cache` has is used again if nobody else has it.
    inline PyObject* pair_of(PyObject** cache, PyObject* key, PyObject* value) noexcept {
    #ifdef Py_GIL_DISABLED
        PyObject* pair = static_cast<PyObject*>(_Py_atomic_load_ptr(cache));
    #else
        PyObject* pair = *cache;
    #endif
        bool is_first = pair == nullptr;
        if (!is_first && is_only_reference(pair)) {
            PyObject* old_key = PyTuple_GET_ITEM(pair, 0);
            PyObject* old_value = PyTuple_GET_ITEM(pair, 1);
            PyTuple_SET_ITEM(pair, 0, key);
            PyTuple_SET_ITEM(pair, 1, value);
            Py_INCREF(pair);
            if (!PyObject_GC_IsTracked(pair)) PyObject_GC_Track(pair);  // the collector may have found it uninteresting
            Py_DECREF(old_key);
            Py_DECREF(old_value);
            return pair;
        }
        pair = PyTuple_New(2);
        if (pair == nullptr) {
            Py_DECREF(key);
            Py_DECREF(value);
            return nullptr;
        }
        PyTuple_SET_ITEM(pair, 0, key);
        PyTuple_SET_ITEM(pair, 1, value);
        if (is_first) keep(cache, pair);
        return pair;
    }
    }
    """
    object pair_of "ferrule::pair_of"(PyObject** cache, PyObject* key, PyObject* value)

cdef enum:
    AT_ONCE = 32        # keys that an iterator takes from a shard, and more until the hashes can be divided


@cython.final
cdef class _Iterator:
    """Iterates over keys, values or items while others write.

    It takes the keys of some clusters at a time, in the order of their hashes, and looks each up again when its turn
    comes: so a key that is there all the time is seen once, one that has gone is not, and each value is current.
    """
    cdef _Sharded _map              # constant
    cdef Part _part                 # constant
    # what follows: in a critical section
    cdef Py_ssize_t _index          # the shard
    cdef uint64_t _since            # the hash in it from which keys have not been taken
    cdef bint _ended                # there are none
    cdef Item* _items               # the keys that have been taken, each a reference until its turn
    cdef size_t _room
    cdef size_t _count
    cdef size_t _at
    cdef PyObject* _pair            # for pair_of()

    def __iter__(self):
        return self

    def __next__(self):
        cdef Item item
        cdef Shard* shard
        cdef int found
        while True:
            with cython.critical_section(self):
                found = _pull(self, &item, &shard)
            if found <= 0:
                if found < 0:
                    raise MemoryError
                raise StopIteration
            if _is_there(shard, &item, self._part != KEYS):
                break
            drop(item.key)
        if self._part == KEYS:
            return move(item.key)
        if self._part == VALUES:
            drop(item.key)
            return move(item.value)
        return pair_of(&self._pair, item.key, item.value)

    def __length_hint__(self):
        cdef bint ended
        with cython.critical_section(self):
            ended = self._index >> self._map._bits != 0
        return 0 if ended else len(self._map)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy an iterator of a map or set")

    def __dealloc__(self):
        _end(self)
        PyMem_RawFree(self._items)


cdef void _end(_Iterator self) noexcept:
    """Drops all references: there is nothing more to give."""
    cdef PyObject* pair = self._pair
    cdef size_t index = self._at
    cdef size_t count = self._count
    self._pair = NULL
    self._at = self._count = 0
    self._ended = True
    self._index = 1 << self._map._bits if self._map is not None else 0
    for index in range(index, count):
        drop(self._items[index].key)
    drop(pair)


cdef inline _Iterator _iterate(_Sharded map, Part part):
    cdef _Iterator iterator = _Iterator.__new__(_Iterator)
    iterator._map = map
    iterator._part = part
    return iterator


cdef int _pull(_Iterator self, Item* item, Shard** shard) noexcept:
    """The next key, a reference, and its shard: 1; 0 at the end; -1 without memory."""
    cdef Item* items
    while self._at == self._count:
        if self._ended:
            self._index += 1
            self._since = 0
            self._ended = False
        if self._index >> self._map._bits:
            return 0
        if not _scan(_shard(self._map, self._index), self):
            items = <Item*>PyMem_RawMalloc(2 * (self._room + AT_ONCE) * sizeof(Item))
            if items == NULL:
                return -1
            PyMem_RawFree(self._items)
            self._items = items
            self._room = 2 * (self._room + AT_ONCE)
    item[0] = self._items[self._at]
    self._at += 1
    shard[0] = _shard(self._map, self._index)
    return 1


cdef bint _scan(Shard* shard, _Iterator self) noexcept nogil:
    """Takes references to some more keys, in a read; False if there is no room for them."""
    cdef size_t count = 0
    cdef size_t index
    cdef Record* record = _begin_read_locked(shard)
    cdef bint fits = scan(&shard.tables, &self._since, &self._ended, self._items, self._room, AT_ONCE, &count)
    if fits:
        for index in range(count):
            retain(self._items[index].key)
        self._at = 0
        self._count = count
    _end_read_locked(shard, record)
    return fits


cdef bint _is_there(Shard* shard, Item* item, bint wants_value) noexcept nogil:
    """Whether the key is still there; if so and wanted, a new reference to its value."""
    cdef PyObject* value = NULL
    cdef Record* record = _begin_read_locked(shard)
    cdef Slot* slot = find_same(&shard.tables, item.hash, item.key)
    if slot != NULL:
        value = seen(&slot.value)       # NULL: it is being removed
    if value != NULL and wants_value:
        item.value = take(value)
    _end_read_locked(shard, record)
    return value != NULL


cdef traverseproc _cython_traverse_iterator = traverse_slot(_Iterator)


cdef int _traverse_iterator(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef _Iterator self = <_Iterator>slot
    cdef size_t index
    cdef int stopped = visit_raw(self._pair, visit, arg)
    for index in range(self._at, self._count):
        if not stopped:
            stopped = visit(self._items[index].key, arg)
    return stopped if stopped else _cython_traverse_iterator(slot, visit, arg)


cdef inquiry _cython_clear_iterator = clear_slot(_Iterator)


cdef int _clear_iterator(PyObject* slot) noexcept:
    _end(<_Iterator>slot)
    return _cython_clear_iterator(slot)


replace_gc_slots(_Iterator, _traverse_iterator, _clear_iterator)


# --- views -----------------------------------------------------------------------------------------------------------

cdef class _SetView:
    """What keys() and items() share: the operators of a set, as dict's views have them. Results are plain sets."""
    cdef readonly _Sharded mapping

    def __len__(self):
        return len(self.mapping)

    def isdisjoint(self, other, /):
        """Whether nothing in `other`, any iterable, is in the view."""
        for each in other:
            if each in self:
                return False
        return True

    def __and__(self, other):
        return {each for each in other if each in self}

    def __rand__(self, other):
        return {each for each in other if each in self}

    def __or__(self, other):
        return set(self).union(other)

    def __ror__(self, other):
        return set(other).union(self)

    def __sub__(self, other):
        return set(self).difference(other)

    def __rsub__(self, other):
        return {each for each in other if each not in self}

    def __xor__(self, other):
        return set(self).symmetric_difference(other)

    def __rxor__(self, other):
        return set(self).symmetric_difference(other)

    # By looking items up, as dict's views compare: values need not be hashable.

    def __eq__(self, other):
        if not isinstance(other, collections.abc.Set):
            return NotImplemented
        return len(self) == len(other) and _all_in(self, other)

    def __le__(self, other):
        if not isinstance(other, collections.abc.Set):
            return NotImplemented
        return len(self) <= len(other) and _all_in(self, other)

    def __lt__(self, other):
        if not isinstance(other, collections.abc.Set):
            return NotImplemented
        return len(self) < len(other) and _all_in(self, other)

    def __ge__(self, other):
        if not isinstance(other, collections.abc.Set):
            return NotImplemented
        return len(self) >= len(other) and _all_in(other, self)

    def __gt__(self, other):
        if not isinstance(other, collections.abc.Set):
            return NotImplemented
        return len(self) > len(other) and _all_in(other, self)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a view of a map")


cdef bint _all_in(object items, object container) except -1:
    for each in items:
        if each not in container:
            return False
    return True


@cython.final
cdef class _Keys(_SetView):
    """A live view of a map's keys."""

    def __contains__(self, key, /):
        return _contains(self.mapping, key)

    def __iter__(self):
        return _iterate(self.mapping, KEYS)

    def __repr__(self):
        return f"ConcurrentMap.keys({list(self)!r})"


@cython.final
cdef class _Items(_SetView):
    """A live view of a map's (key, value) pairs."""

    def __contains__(self, item, /):
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        value = (<ConcurrentMap>self.mapping).get(item[0], _MISSING)
        return value is not _MISSING and (value is item[1] or value == item[1])

    def __iter__(self):
        return _iterate(self.mapping, ITEMS)

    def __repr__(self):
        return f"ConcurrentMap.items({list(self)!r})"


@cython.final
cdef class _Values:
    """A live view of a map's values."""
    cdef readonly _Sharded mapping

    def __len__(self):
        return len(self.mapping)

    def __contains__(self, value, /):
        for each in self:
            if each is value or each == value:
                return True
        return False

    def __iter__(self):
        return _iterate(self.mapping, VALUES)

    def __repr__(self):
        return f"ConcurrentMap.values({list(self)!r})"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a view of a map")
