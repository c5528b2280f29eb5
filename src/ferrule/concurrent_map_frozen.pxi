"""FrozenMap; part of concurrent_map.pyx."""


@cython.final
@cython.trashcan(True)
@cython.collection_type("mapping")
cdef class FrozenMap:
    """FrozenMap(mapping_or_pairs=(), /)
    --

    An immutable mapping: what ConcurrentMap.freeze() gives.

    Complexity  get, `in`: O(1) expected; hash(): O(n).
    Threads     Safe to share: nothing ever changes.
    Blocks      never.
    Calls you   hash() and == of keys, and hash() of values by hash().
    Errors      KeyError for an absent key, TypeError by hash() if a value cannot be hashed.

    >>> ConcurrentMap({"a": 1}).freeze() == {"a": 1}
    True
    """
    cdef dict _items

    def __cinit__(self, mapping_or_pairs=(), /):
        self._items = _dict_of(mapping_or_pairs)

    def __getitem__(self, key, /):
        return self._items[key]

    def __contains__(self, key, /):
        return key in self._items

    def __len__(self):
        return len(self._items)

    def __iter__(self):
        return iter(self._items)

    def get(self, key, default=None, /):
        """The value of the key, or `default` if it is absent."""
        return self._items.get(key, default)

    def keys(self):
        """A view of the keys."""
        return self._items.keys()

    def values(self):
        """A view of the values."""
        return self._items.values()

    def items(self):
        """A view of the (key, value) pairs."""
        return self._items.items()

    def __hash__(self):
        return hash((FrozenMap, frozenset(self._items.items())))

    def __eq__(self, other):
        if isinstance(other, FrozenMap):
            return self._items == (<FrozenMap>other)._items
        return self._items == _dict_of(other) if isinstance(other, collections.abc.Mapping) else NotImplemented

    def __or__(self, other):
        if not isinstance(other, collections.abc.Mapping):
            return NotImplemented
        return _frozen(self._items | _dict_of(other))

    def __ror__(self, other):
        if not isinstance(other, collections.abc.Mapping):
            return NotImplemented
        return _frozen(_dict_of(other) | self._items)

    @classmethod
    def __class_getitem__(cls, item, /):
        """FrozenMap[K, V]: an immutable map from K to V."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        if _repr_enter(self):
            return "FrozenMap({...})"
        try:
            return f"FrozenMap({self._items!r})"
        finally:
            _repr_leave(self)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo, /):
        return _frozen(copy.deepcopy(self._items, memo))

    def __reduce__(self):
        return FrozenMap, (self._items.copy(),)


cdef FrozenMap _frozen(dict items):
    """A FrozenMap of a dict that nobody else has."""
    cdef FrozenMap frozen = FrozenMap.__new__(FrozenMap)
    frozen._items = items
    return frozen
