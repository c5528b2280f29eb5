"""ConcurrentSet; part of concurrent_map.pyx."""


@cython.final
cdef class ConcurrentSet(_Sharded):
    """ConcurrentSet(iterable=(), /, *, shards=None, capacity=0)
    --

    A set that many threads read and write at once, with the interface of set.

    Complexity  add, discard, `in`: O(1) expected; growth is spread over calls, each of which moves a few slots.
    Threads     Every method is safe. Calls on one item are linearizable; len(), iteration and what concerns whole sets
                are weakly consistent.
    Blocks      `in` never. A write waits while remove_if() or retain() asks about the same item.
    Calls you   hash() and == of items, and the functions you give, never while an internal lock is held.
    Errors      KeyError for an absent item, TypeError for an unhashable one.

    >>> s = ConcurrentSet("ab")
    >>> s.insert("c"), s.insert("a")
    (True, False)
    >>> sorted(s & {"b", "c", "d"})
    ['b', 'c']
    """

    def __cinit__(self, iterable=(), /, *, shards=None, capacity=0):
        _make_shards(self, shards, capacity)
        _add_all(self, iterable)

    def __contains__(self, item, /):
        return _contains(self, item)

    def __iter__(self):
        return _iterate(self, KEYS)

    def insert(self, item, /):
        """Adds the item; whether it is new. O(1)."""
        return _add(self, item)

    def add(self, item, /):
        """Adds the item, unless an equal one is there. O(1)."""
        _add(self, item)

    def discard(self, item, /):
        """Removes the item if it is there. O(1)."""
        _discard(self, item)

    def remove(self, item, /):
        """Removes the item; KeyError if it is not there. O(1)."""
        if not _discard(self, item):
            raise KeyError(item)

    def pop(self):
        """Removes and returns any item that nobody is being asked about; KeyError if there is none."""
        cdef PyObject* item
        cdef PyObject* value
        if not _pop_any(self, &item, &value):
            raise KeyError("pop from an empty set")
        drop(value)
        return move(item)

    def remove_if(self, item, predicate, /):
        """Removes the item if it is there and `predicate(the stored item)` is true; whether it did."""
        return _remove_if(self, item, predicate, True)

    def retain(self, predicate, /):
        """Removes each item where `predicate(item)` is false; how many."""
        return _retain(self, predicate, False)

    def clear(self):
        """Removes all items, shard by shard. O(n)."""
        _remove_all(self)

    def copy(self):
        """A new set with the same items, in as many shards. O(n)."""
        cdef ConcurrentSet new = ConcurrentSet.__new__(ConcurrentSet, shards=self.shards)
        _copy_into(self, new)
        return new

    def snapshot(self):
        """A set of all that there is in one instant. May wait for writers. O(n)."""
        return _to_set(self)

    # --- whole sets: methods take any iterables, operators take sets ---

    def union(self, *others):
        """A new set with the items of this one and of the others."""
        new = self.copy()
        for other in others:
            _add_all(new, other)
        return new

    def intersection(self, *others):
        """A new set with the items that are in all of them."""
        return ConcurrentSet(_to_set(self).intersection(*others))

    def difference(self, *others):
        """A new set with the items that are in none of the others."""
        return ConcurrentSet(_to_set(self).difference(*others))

    def symmetric_difference(self, other, /):
        """A new set with the items that are in one of the two, but not in both."""
        return ConcurrentSet(_to_set(self).symmetric_difference(other))

    def update(self, *others):
        """Adds the items of the others, one by one."""
        for other in others:
            _add_all(self, other)

    def intersection_update(self, *others):
        """Removes, one by one, the items that one of the others does not have."""
        common = _to_set(self).intersection(*others)
        for item in self:
            if item not in common:
                _discard(self, item)

    def difference_update(self, *others):
        """Removes the items of the others, one by one."""
        for other in others:
            for item in _to_set(self) if other is self else other:
                _discard(self, item)

    def symmetric_difference_update(self, other, /):
        """Removes, one by one, the items of the other that are here, and adds those that are not."""
        for item in set(other):
            if not _discard(self, item):
                _add(self, item)

    def isdisjoint(self, other, /):
        """Whether no item of the other is here."""
        for item in other:
            if _contains(self, item):
                return False
        return True

    def issubset(self, other, /):
        """Whether all items are in the other."""
        return _to_set(self).issubset(other)

    def issuperset(self, other, /):
        """Whether all items of the other are here."""
        return _to_set(self).issuperset(other)

    def __or__(self, other):
        return self.union(other) if _is_set(other) else NotImplemented

    def __ror__(self, other):
        return ConcurrentSet(other).union(self) if _is_set(other) else NotImplemented

    def __and__(self, other):
        return self.intersection(other) if _is_set(other) else NotImplemented

    def __rand__(self, other):
        return self.intersection(other) if _is_set(other) else NotImplemented

    def __sub__(self, other):
        return self.difference(other) if _is_set(other) else NotImplemented

    def __rsub__(self, other):
        return ConcurrentSet(other).difference(self) if _is_set(other) else NotImplemented

    def __xor__(self, other):
        return self.symmetric_difference(other) if _is_set(other) else NotImplemented

    def __rxor__(self, other):
        return self.symmetric_difference(other) if _is_set(other) else NotImplemented

    def __ior__(self, other):
        if not _is_set(other):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other):
        if not _is_set(other):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __isub__(self, other):
        if not _is_set(other):
            return NotImplemented
        self.difference_update(other)
        return self

    def __ixor__(self, other):
        if not _is_set(other):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def __eq__(self, other):
        return _to_set(self) == set(other) if _is_set(other) else NotImplemented

    def __le__(self, other):
        return _to_set(self) <= set(other) if _is_set(other) else NotImplemented

    def __lt__(self, other):
        return _to_set(self) < set(other) if _is_set(other) else NotImplemented

    def __ge__(self, other):
        return _to_set(self) >= set(other) if _is_set(other) else NotImplemented

    def __gt__(self, other):
        return _to_set(self) > set(other) if _is_set(other) else NotImplemented

    @classmethod
    def __class_getitem__(cls, item, /):
        """ConcurrentSet[T]: a set of T."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        if _repr_enter(self):
            return "ConcurrentSet({...})"
        try:
            return f"ConcurrentSet({_to_set(self)!r})" if self else "ConcurrentSet()"
        finally:
            _repr_leave(self)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo, /):
        new = ConcurrentSet(shards=self.shards)
        memo[id(self)] = new
        for item in self:
            _add(new, copy.deepcopy(item, memo))
        return new

    def __reduce__(self):
        return ConcurrentSet, (list(_to_set(self)),)


cdef inline bint _is_set(object other) except -1:
    return isinstance(other, collections.abc.Set)


cdef inline bint _add(_Sharded self, object item) except -1:
    """Whether it is new."""
    cdef PyObject* old
    cdef int outcome = _store(self, item, Py_None, ADD, &old)
    drop(old)
    return outcome == ABSENT


cdef inline bint _discard(_Sharded self, object item) except -1:
    """Whether it was there."""
    cdef PyObject* old
    cdef PyObject* old_item
    cdef int outcome = _remove(self, item, &old, &old_item)
    drop(old)
    drop(old_item)
    return outcome == PRESENT


cdef int _add_all(_Sharded self, object items) except -1:
    for item in _to_set(<_Sharded>items) if items is self else items:
        _add(self, item)
    return 0
