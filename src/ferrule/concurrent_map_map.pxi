"""ConcurrentMap; part of concurrent_map.pyx."""

cdef object _NO_DEFAULT = object()


@cython.final
@cython.collection_type("mapping")
cdef class ConcurrentMap(_Sharded):
    """ConcurrentMap(mapping_or_pairs=(), /, *, shards=None, capacity=0)
    --

    A hash map that many threads read and write at once, with the interface of dict.

    Complexity  get, set, pop: O(1) expected; growth is spread over calls, each of which moves a few slots.
    Threads     Every method is safe. Calls on one key are linearizable; len() and iteration are weakly consistent.
    Blocks      Single-key reads never. A write waits for an entry held on the same key.
    Calls you   hash() and == of keys, and the functions you give, never while an internal lock is held.
    Errors      KeyError for an absent key, TypeError for an unhashable one, WouldDeadlock for a write of a key whose
                entry the caller holds.

    Keys are in no order. `shards` (a power of two) is how many parts can be written at once: by default one with the
    GIL, and without it a number that follows the CPUs. `capacity` makes room for so many keys.

    >>> m = ConcurrentMap({"a": 1})
    >>> m.increment("a")
    2
    >>> m.compute("b", lambda old: 10 if old is MISSING else old + 1)
    10
    >>> sorted(m.items())
    [('a', 2), ('b', 10)]
    """

    def __cinit__(self, mapping_or_pairs=(), /, *, shards=None, capacity=0):
        _make_shards(self, shards, capacity)
        _update(self, mapping_or_pairs)

    # --- as dict ---

    def __getitem__(self, key, /):
        cdef Probe probe
        cdef PyObject* value = _get(_aim(self, &probe, key), &probe)
        if value == NULL:
            raise KeyError(key)
        return move(value)

    def __setitem__(self, key, value, /):
        cdef Probe probe
        cdef PyObject* old
        cdef Shard* shard
        _check_value(value)
        shard = _aim(self, &probe, key)
        if _put_at_home_locked(shard, &probe, <PyObject*>value, &old):
            _own(shard, old, NULL)
        else:
            _put(self, shard, &probe, <PyObject*>value, &old)
        drop(old)       # last: its destructor may call back

    def __delitem__(self, key, /):
        cdef PyObject* old
        cdef PyObject* old_key
        if _remove(self, key, &old, &old_key) == ABSENT:
            raise KeyError(key)
        drop(old_key)
        drop(old)

    def __contains__(self, key, /):
        return _contains(self, key)

    def __iter__(self):
        return _iterate(self, KEYS)

    __reversed__ = None     # there is no order

    def get(self, key, default=None, /):
        """The value of the key, or `default` if it is absent. Never waits. O(1)."""
        cdef Probe probe
        cdef PyObject* value = _get(_aim(self, &probe, key), &probe)
        return move(value) if value != NULL else default

    def setdefault(self, key, default=None, /):
        """The value of the key; if it is absent, `default`, which is inserted. Waits only where it inserts. O(1)."""
        cdef PyObject* old
        _check_value(default)
        return move(old) if _store(self, key, <PyObject*>default, ADD, &old) == PRESENT else default

    def pop(self, key, default=_NO_DEFAULT, /):
        """Removes the key and returns its value; if it is absent, `default`, or KeyError without one. O(1)."""
        cdef PyObject* old
        cdef PyObject* old_key
        if _remove(self, key, &old, &old_key) == PRESENT:
            drop(old_key)
            return move(old)
        if default is _NO_DEFAULT:
            raise KeyError(key)
        return default

    def popitem(self):
        """Removes any key that no entry holds and returns it with its value; KeyError if there is none."""
        cdef PyObject* key
        cdef PyObject* value
        if not _pop_any(self, &key, &value):
            raise KeyError("popitem(): map is empty" if not self else "popitem(): entries hold all keys")
        return (move(key), move(value))

    def update(self, other=(), /, **kwargs):
        """Sets what the mapping or the pairs have, then the keyword arguments, key by key. O(len(other))."""
        _update(self, other)
        if kwargs:
            _update(self, kwargs)

    def clear(self):
        """Removes all keys, shard by shard; waits for those that entries hold. O(n)."""
        _remove_all(self)

    def copy(self):
        """A new map with the same keys and values, in as many shards. O(n)."""
        cdef ConcurrentMap new = ConcurrentMap.__new__(ConcurrentMap, shards=self.shards)
        _copy_into(self, new)
        return new

    def keys(self):
        """A live view of the keys."""
        cdef _Keys view = _Keys.__new__(_Keys)
        view.mapping = self
        return view

    def values(self):
        """A live view of the values."""
        cdef _Values view = _Values.__new__(_Values)
        view.mapping = self
        return view

    def items(self):
        """A live view of the (key, value) pairs."""
        cdef _Items view = _Items.__new__(_Items)
        view.mapping = self
        return view

    @classmethod
    def fromkeys(cls, iterable, value=None, /):
        """A new map with the keys of the iterable, all with the same value."""
        new = ConcurrentMap()
        for key in iterable:
            new[key] = value
        return new

    def __eq__(self, other):
        if not isinstance(other, collections.abc.Mapping):
            return NotImplemented
        return _to_dict(self) == _dict_of(other)

    def __or__(self, other):
        if not isinstance(other, collections.abc.Mapping):
            return NotImplemented
        new = self.copy()
        _update(new, other)
        return new

    def __ror__(self, other):
        if not isinstance(other, collections.abc.Mapping):
            return NotImplemented
        new = ConcurrentMap(other)
        _update(new, self)
        return new

    def __ior__(self, other):
        _update(self, other)
        return self

    # --- in one step ---

    def insert(self, key, value, /, default=None):
        """Sets the value of the key and returns the old one, or `default` if it was absent. O(1)."""
        cdef PyObject* old
        _check_value(value)
        return move(old) if _store(self, key, <PyObject*>value, PUT, &old) == PRESENT else default

    def compare_and_set(self, key, expected, new, /):
        """Sets `new` if the value is (or equals) `expected`; whether it did. MISSING stands for absent on either side.

        O(1); again for each write of another thread that comes between the comparison and the change.
        """
        cdef Probe probe
        cdef Change change
        cdef Shard* shard
        cdef PyObject* value
        cdef Entry entry = None
        cdef int outcome = CHANGED
        cdef int rounds = 0
        if new is not _MISSING:
            _check_value(new)
        shard = _aim(self, &probe, key)
        if _is_held_locked(shard, probe.hash):
            entry = _enter(self, shard, key, probe.hash, NEVER, &ENTER)
        try:
            while outcome == CHANGED:
                probe.asked = probe.candidate = NULL
                if rounds == RESTARTS and entry is None:
                    # The value changes all the time, perhaps by the comparisons themselves: hold the key.
                    entry = _enter(self, shard, key, probe.hash, NEVER, &ENTER)
                rounds += 1
                value = _get(shard, &probe)
                present = move(value) if value != NULL else _MISSING
                if present is not expected and (
                    present is _MISSING or expected is _MISSING or not present == expected
                ):
                    return False
                change.entry = <PyObject*>NULL if entry is None else <PyObject*>entry
                change.expected = <PyObject*>NULL if present is _MISSING else <PyObject*>present
                change.value = <PyObject*>NULL if new is _MISSING else <PyObject*>new
                outcome = _change(self, shard, &probe, &change, REPLACE)
                drop(change.old_key)
                drop(change.old)
            return True
        finally:
            if entry is not None:
                _leave(entry)

    def remove_if(self, key, predicate, /):
        """Removes the key if it is there and `predicate(value)` is true; whether it did. The key is entered."""
        return _remove_if(self, key, predicate, False)

    def increment(self, key, /, n=1, default=0):
        """Adds n to the value, or to `default` if the key is absent, and returns the sum. O(1).

        One step for ints and floats. Other values are added with the key entered.
        """
        cdef Probe probe
        cdef Shard* shard = _aim(self, &probe, key)
        cdef PyObject* old
        cdef PyObject* sum = _add_at_home_locked(shard, &probe, <PyObject*>n, &old)
        if sum != NULL:
            _own(shard, old, NULL)
            drop(old)
            return move(sum)
        return _increment(self, shard, &probe, n, default)

    def compute(self, key, f, /):
        """Calls `f(value or MISSING)` once, with the key entered, and sets what it gives; returns the value then.

        f may answer REMOVE, or ABORT to leave everything as it is. MISSING is returned where the key is absent at the
        end. What f raises changes nothing.
        """
        cdef Entry entry = _enter_key(self, key, NEVER, &ENTER)
        cdef PyObject* value
        try:
            value = _entry_get(entry)
            old = move(value) if value != NULL else _MISSING
            return _conclude(entry, old, f(old))
        finally:
            _leave(entry)

    def get_or_compute(self, key, factory, /, *, timeout=None):
        """The value of the key; if it is absent what `factory()` gives, which is put in.

        One factory runs for a key at a time, however many threads and tasks ask; the others wait for its value, at most
        `timeout` seconds (None: for ever, 0: not at all), then Timeout. A factory that raises gives the turn to the
        next who waits. It holds no entry: a value that somebody else puts in meanwhile wins, and all get it.

        WouldDeadlock if the value can only be computed after this thread, or a task of its event loop, goes on: a
        factory that asks for its own key, or for one whose factory waits for it. BlockingInEventLoop where another's
        factory runs and a loop runs in this thread. O(1).
        """
        cdef int64_t patience = NEVER if timeout is None else parse_timeout(timeout)
        cdef Probe probe
        cdef Shard* shard = _aim(self, &probe, key)
        cdef PyObject* value = _get(shard, &probe)
        if value != NULL:
            return move(value)
        return _compute_once(self, key, shard, probe.hash, factory, patience)

    def retain(self, predicate, /):
        """Removes each key where `predicate(key, value)` is false; how many. Each is entered meanwhile."""
        return _retain(self, predicate, True)

    # --- entries ---

    def entry(self, key, /, *, timeout=None):
        """The Entry of the key: until it is released nobody else writes the key, or enters it.

        Waits at most `timeout` seconds (None: for ever, 0: not at all), behind those who wait already; then Timeout.
        WouldDeadlock if this thread has entered the key, or a task of this thread's event loop has. O(1).
        """
        return _enter_key(self, key, NEVER if timeout is None else parse_timeout(timeout), &ENTER)

    def try_entry(self, key, /):
        """The Entry of the key, or None if the keys of its hash are held. Never waits. O(1)."""
        return _enter_key(self, key, 0, &TRY_ENTER)

    def entries(self, *keys, timeout=None):
        """The Entries of several keys, taken in one order that all threads follow: opposite orders never deadlock.

        Waits at most `timeout` seconds for all of them; then Timeout, and none is held. ValueError for equal keys.
        """
        cdef Entries entries = Entries.__new__(Entries)
        entries._entries = _enter_all(self, list(keys), parse_timeout(timeout))
        return entries

    # --- many keys in one instant ---

    def get_many(self, keys, /, default=None):
        """The values of the keys, `default` where one is absent, all of one instant. May wait for writers. O(n)."""
        return _get_many(self, list(keys), default)

    def set_many(self, mapping_or_pairs, /):
        """Sets all values in one instant: get_many() and snapshot() see all of them or none. Waits for entries."""
        _set_many(self, _dict_of(mapping_or_pairs))

    def snapshot(self):
        """A dict of all that there is in one instant. May wait for writers. O(n)."""
        return _to_dict(self)

    def freeze(self):
        """A FrozenMap of all that there is in one instant. O(n)."""
        return _frozen(_to_dict(self))

    # --- the rest ---

    @property
    def aio(self):
        """The async face of this map, a ferrule.aio.ConcurrentMap: what can wait long, for tasks."""
        return _face_of(self)

    @classmethod
    def __class_getitem__(cls, item, /):
        """ConcurrentMap[K, V]: a map from K to V."""
        return types.GenericAlias(cls, item)

    def __repr__(self):
        if _repr_enter(self):
            return "ConcurrentMap({...})"
        try:
            return f"ConcurrentMap({_to_dict(self)!r})"
        finally:
            _repr_leave(self)

    def _state(self):
        """For tests: a dict of the keys that are being computed, with a list of ("thread" | "task", claim) who wait."""
        return _flights_now(self)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo, /):
        new = ConcurrentMap(shards=self.shards)
        memo[id(self)] = new
        for key, value in self.items():
            new[copy.deepcopy(key, memo)] = copy.deepcopy(value, memo)
        return new

    def __reduce__(self):
        return ConcurrentMap, (), None, None, iter(_to_dict(self).items())


cdef object _conclude(Entry entry, object old, object new):
    """The end of compute(), given what the function answered: the value of the key then."""
    if new is _ABORT:
        return old
    if new is _REMOVE:
        _entry_remove(entry)
        return _MISSING
    entry.value = new
    return new


cdef extern from "Python.h":
    int _repr_enter "Py_ReprEnter"(object) except -1
    void _repr_leave "Py_ReprLeave"(object)


cdef inline object _plain_sum(object number, object n):
    """The sum of two plain numbers, or None."""
    cdef PyObject* sum = plain_sum(<PyObject*>number, <PyObject*>n)
    if sum == NULL and PyErr_Occurred():
        raise MemoryError
    return move(sum) if sum != NULL else None


cdef object _increment(ConcurrentMap self, Shard* shard, Probe* probe, object n, object default):
    """increment() where the key is not at home, or the sum is not plain, or there was no memory for it."""
    cdef Change change
    cdef int outcome
    if PyErr_Occurred():
        raise MemoryError
    start = _plain_sum(default, n)
    if start is None:
        return _increment_slow(self, shard, probe, n, default)
    change.entry = change.sum = NULL
    change.value = <PyObject*>n
    change.start = <PyObject*>start
    outcome = _change(self, shard, probe, &change, INCREMENT)
    if outcome == ABSENT:
        return start
    if outcome == NOT_PLAIN:
        if PyErr_Occurred():
            raise MemoryError
        return _increment_slow(self, shard, probe, n, default)
    drop(change.old)
    return move(change.sum)


cdef object _increment_slow(ConcurrentMap self, Shard* shard, Probe* probe, object n, object default):
    """increment() where Python must add."""
    cdef Entry entry = _enter(self, shard, <object>probe.key, probe.hash, NEVER, &ENTER)
    cdef PyObject* value
    try:
        value = _entry_get(entry)
        sum = (move(value) if value != NULL else default) + n
        entry.value = sum
        return sum
    finally:
        _leave(entry)


cdef int _update(_Sharded self, object other) except -1:
    """Sets, key by key, what a mapping or an iterable of pairs has."""
    cdef PyObject* old
    if other is self or (type(other) is tuple and not other):
        return 0
    if isinstance(other, (dict, ConcurrentMap, FrozenMap)):
        other = other.items()
    elif hasattr(other, "keys"):
        other = [(key, other[key]) for key in other.keys()]
    for number, pair in enumerate(other):
        if type(pair) is not tuple:
            try:
                pair = tuple(pair)
            except TypeError:
                raise TypeError(f"cannot convert element #{number} of the pairs to a sequence") from None
        if len(<tuple>pair) != 2:
            raise ValueError(f"element #{number} of the pairs has length {len(<tuple>pair)}; 2 is required")
        key, value = pair
        _check_value(value)
        _store(self, key, <PyObject*>value, PUT, &old)
        drop(old)
    return 0
