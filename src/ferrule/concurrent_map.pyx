"""ConcurrentMap, ConcurrentSet and FrozenMap: hash tables that many threads read and write at once.

The hashes are divided among shards, each a table of raw_table.pxd with a latch: one shard with the GIL, where a latch
is nothing, more without it. Every write is one locked section, and a read one without the latch; or several where keys
must be compared in Python: a section that meets a key of equal hash which only Python can compare ends there, the
comparison runs with nothing held, and the next section goes on behind that key if it is still where it was.

An entry holds all keys of one hash against writers. Who wants to write a key that is held takes an entry as well, in
line behind those who wait already, and writes under it. So there is one place where anybody waits: _enter().
"""
import collections.abc
import copy
import os
import types

cimport cython
from cpython.dict cimport PyDict_SetItem
from cpython.exc cimport PyErr_Occurred, PyErr_WarnEx, PyErr_WriteUnraisable
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.number cimport PyNumber_Index
from cpython.object cimport Py_EQ, PyObject, PyObject_Hash, PyObject_RichCompareBool
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ferrule._core.bound cimport quicken_with
from ferrule._core.atomics cimport seen, publish
from ferrule._core.deadline cimport NEVER, SECOND, deadline_after, now, parse_timeout
from ferrule._core.epoch cimport (
    Record,
    Retired,
    RetiredObject,
    all_left,
    enter,
    forget_other_threads,
    leave,
    release_all,
    release_object,
    retire,
    retired_object,
    ripe,
    wait_for_readers,
)
from ferrule._core.freelist cimport recycle
from ferrule._core.gc cimport (
    clear_slot,
    inherit_dealloc,
    inquiry,
    replace_gc_slots,
    traverse_slot,
    traverseproc,
    visit_raw,
    visitproc,
)
from ferrule._core.latch cimport WITH_GIL
from ferrule._core.owned cimport drop, move, retain, take
from ferrule._core.parking cimport (
    BUSY,
    CLAIMED,
    DONE,
    FAILED,
    HANDED,
    LINKED,
    TRY,
    Apart,
    Operation,
    Place,
    Waiter,
    WakeList,
    apart_depth,
    claim,
    claim_first,
    give_up,
    link,
    new_operation,
    owner_thread,
    refresh,
    visit_waiters,
    wait_in_thread,
    wake,
)
from ferrule._core.raised cimport KeepRaised, set_raised
from ferrule._core.sealed cimport seal
from ferrule.raw_table cimport (
    ABSENT,
    ASK,
    OTHER_KEY,
    PRESENT,
    WORN,
    Item,
    Probe,
    Slot,
    Table,
    Tables,
    fill,
    find,
    find_hash,
    find_same,
    free_index,
    free_table,
    hash_at_hand,
    home_of,
    insert,
    leave_table,
    is_left_over,
    kind_of,
    live_of,
    look_up,
    put_at_home,
    remove_slot,
    replace_table,
    scan,
    slots_for,
    spread,
    step,
    table_of,
    visit_slot,
)

from ferrule.errors import MISSING, Timeout, WouldDeadlock

cdef extern from "Python.h":
    void* PyMem_RawCalloc(size_t, size_t) noexcept nogil
    PyObject* Py_None

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FERRULE_MAP_LINE 128
    #else
    #define FERRULE_MAP_LINE 1
    #endif

    namespace ferrule {
    // number + n, a new reference, if both are exact ints of less than 63 bits or exact floats; else NULL, with nothing
    // set but where there was no memory. Allocates nothing that the collector tracks and calls nothing in Python.
    Py_NO_INLINE static PyObject* uncommon_sum(PyObject* number, PyObject* n) noexcept {
        if (PyLong_CheckExact(number) && PyLong_CheckExact(n)) {
            int overflow, overflow_n;
            long long a = PyLong_AsLongLongAndOverflow(number, &overflow);
            long long b = PyLong_AsLongLongAndOverflow(n, &overflow_n);
            constexpr long long most = (1LL << 62) - 1;
            if (overflow || overflow_n || a > most || a < -most || b > most || b < -most) return nullptr;
            return PyLong_FromLongLong(a + b);
        }
        if (PyFloat_CheckExact(number) && PyFloat_CheckExact(n))
            return PyFloat_FromDouble(PyFloat_AS_DOUBLE(number) + PyFloat_AS_DOUBLE(n));
        return nullptr;
    }

    inline PyObject* plain_sum(PyObject* number, PyObject* n) noexcept {
        int64_t x, y;
        if (PyLong_CheckExact(number) && PyLong_CheckExact(n) && short_int(number, &x) && short_int(n, &y))
            return PyLong_FromLongLong(x + y);
        return uncommon_sum(number, n);
    }
    }
    """
    const size_t LINE "FERRULE_MAP_LINE"    # what a shard has for itself, in bytes
    PyObject* plain_sum "ferrule::plain_sum"(PyObject*, PyObject*) noexcept nogil

cdef enum:
    RESTARTS = 64               # of one call, through its own thread's comparisons
    MOST_SHARDS_BY_DEFAULT = 64
    AT_A_TIME = 4096            # slots that are moved under the latch where a caller pays for all of them

cdef enum How:                  # what a change does to a key that is there, and to one that is not
    PUT                         # replaces its value; inserts
    ADD                         # leaves it, and does not wait; inserts
    TAKE                        # removes it; nothing
    REPLACE                     # replaces it (value NULL: removes it) if its value is `expected`; inserts if NULL
    INCREMENT                   # adds `value` to its value; inserts `start`

cdef enum Outcome:              # of a change, besides those of a look
    ENTERED = 3                 # an entry holds the key: wait
    NO_MEMORY
    CHANGED                     # REPLACE: the value is no longer the expected one
    NOT_PLAIN                   # INCREMENT: only Python can add
    NOT_IN_FORCE                # the entry that the change is made through has been released

cdef struct Change:
    # in: borrowed references
    PyObject* entry             # an Entry through which it is made, or NULL
    PyObject* value             # see How
    PyObject* expected          # REPLACE
    PyObject* start             # INCREMENT: what an absent key gets
    # out: references for the caller to drop, or NULL
    PyObject* old               # the value that was there
    PyObject* old_key           # the key that was removed
    PyObject* sum               # INCREMENT: the new value of a key that was there


@cython.final
cdef class _Answer:
    """The type of REMOVE and ABORT, what a function given to compute() may answer in place of a value."""
    cdef str _name

    def __repr__(self):
        return f"ferrule.{self._name}"

    def __reduce__(self):
        return self._name


cdef _Answer _answer(str name):
    cdef _Answer answer = _Answer.__new__(_Answer)
    answer._name = name
    return answer


REMOVE = _answer("REMOVE")
ABORT = _answer("ABORT")
cdef object _REMOVE = REMOVE
cdef object _ABORT = ABORT
cdef object _MISSING = MISSING

cdef Slot[2] _no_slots
cdef Table _placeholder         # of every shard that has never had a key; nothing is ever written to it
_placeholder.mask = 1
_placeholder.cleared = 2
_placeholder.shift = 63
_placeholder.slots = _no_slots


# --- the shards ------------------------------------------------------------------------------------------------------

@cython.trashcan(True)
cdef class _Sharded:
    """What ConcurrentMap and ConcurrentSet are: shards, and nothing else."""

    def __len__(self):
        cdef Py_ssize_t length = 0
        cdef Py_ssize_t index
        for index in range(1 << self._bits):
            length += _live_locked(_shard(self, index))
        return length

    @property
    def capacity(self):
        """How many keys fit before a table grows, if they are spread evenly over the shards."""
        cdef size_t capacity = 0
        cdef Py_ssize_t index
        for index in range(1 << self._bits):
            capacity += _capacity_locked(_shard(self, index))
        return capacity

    @property
    def shards(self):
        """The number of shards."""
        return 1 << self._bits

    def reserve(self, n, /):
        """Makes room for n more keys at once, and keeps it until shrink(). O(capacity)."""
        n = PyNumber_Index(n)
        if n < 0:
            raise ValueError(f"cannot reserve room for {n} keys")
        if n:
            _reserve(self, len(self) + n)

    def shrink(self):
        """Gives back the memory that the keys do not need. O(capacity)."""
        cdef Py_ssize_t index
        for index in range(1 << self._bits):
            while _shrink_locked(_shard(self, index), owner_thread()) > 0:
                pass        # without the memory for a smaller table it stays as it is
            _own(_shard(self, index), NULL, NULL)

    def stats(self):
        """A dict for each shard: items, capacity, longest_probe (slots), entered (hashes that entries hold). O(n)."""
        cdef Py_ssize_t index
        cdef size_t items, capacity, probe, entered
        found = []
        for index in range(1 << self._bits):
            _stats_locked(_shard(self, index), &items, &capacity, &probe, &entered)
            found.append({"items": items, "capacity": capacity, "longest_probe": probe, "entered": entered})
        return found

    def collect(self):
        """Releases what was replaced or removed while another thread was reading; waits for reads that are in progress.

        With the GIL there is nothing to do. O(what is released).
        """
        cdef Py_ssize_t index
        for index in range(1 << self._bits):
            _collect(_shard(self, index))

    def _holders(self, item, /):
        """Who has the hold that the entry waits for, or computes what the call does, as ferrule.debug asks for it."""
        return _turn_of(item) if isinstance(item, _Call) else _holders_of(<Entry?>item)

    def _check(self):
        """For tests: AssertionError if an invariant of the tables is broken. O(n)."""
        cdef Py_ssize_t index
        cdef const char* broken
        for index in range(1 << self._bits):
            broken = _check_locked(_shard(self, index))
            if broken != NULL:
                raise AssertionError(f"shard {index}: {broken.decode()}")

    def _inside(self, key, f, /):
        """For tests: f(), called as if in the middle of a read of the key's shard. It must not read itself."""
        cdef Probe probe
        return _call_inside(_aim(self, &probe, key), f)

    def __sizeof__(self):
        cdef size_t size = object.__sizeof__(self) + (_stride() << self._bits) + LINE
        cdef Py_ssize_t index
        for index in range(1 << self._bits):
            size += _size_locked(_shard(self, index))
        return size

    def __dealloc__(self):
        cdef Py_ssize_t index
        if self._shards == NULL:
            return
        _empty(self)
        for index in range(1 << self._bits):
            release_all(_shard(self, index).limbo.first)
            free_table(_shard(self, index).holds.table)
        PyMem_RawFree((<void**>self._shards - 1)[0])


cdef inline size_t _stride() noexcept nogil:
    return (sizeof(Shard) + LINE - 1) // LINE * LINE


cdef inline Shard* _shard(_Sharded self, Py_ssize_t index) noexcept nogil:
    return <Shard*>(self._shards + index * _stride())


cdef int _make_shards(_Sharded self, object shards, object capacity) except -1:
    cdef size_t count, index
    cdef char* memory
    cdef Shard* shard
    capacity = PyNumber_Index(capacity)
    shards = _default_shards if shards is None else PyNumber_Index(shards)
    if shards < 1 or shards & (shards - 1):
        raise ValueError(f"shards must be a power of two, not {shards}")
    if shards > 1 << 16:
        raise ValueError("more than 65536 shards")
    if capacity < 0:
        raise ValueError(f"capacity must not be negative: {capacity}")
    count = shards
    # In front of the first shard, which begins at a line of its own, stands the address of the memory.
    memory = <char*>PyMem_RawCalloc(1, sizeof(void*) + LINE + count * _stride())
    if memory == NULL:
        raise MemoryError
    self._shards = memory + sizeof(void*)
    if LINE > 1:
        self._shards += LINE - <uintptr_t>self._shards % LINE
    (<void**>self._shards - 1)[0] = memory
    while <size_t>1 << self._bits < count:
        self._bits += 1
    for index in range(count):
        shard = _shard(self, index)
        shard.tables.table = shard.holds.table = &_placeholder
        if not WITH_GIL:
            shard.tables.readers = &shard.readers
    if capacity:
        _reserve(self, capacity)
    return 0


cdef Py_ssize_t _count_default_shards() except -1:
    """One with the GIL; without it, enough that threads on all CPUs seldom meet in one."""
    cdef Py_ssize_t shards = 1
    while LINE > 1 and shards < min(4 * (os.cpu_count() or 1), MOST_SHARDS_BY_DEFAULT):
        shards *= 2
    return shards


cdef Py_ssize_t _default_shards = _count_default_shards()


cdef int _reserve(_Sharded self, object keys) except -1:
    """Room for so many keys in all."""
    cdef Py_ssize_t index
    cdef size_t each
    cdef int more
    if keys > 1 << 50:          # more slots than an address space has room for
        raise MemoryError
    each = (keys + (1 << self._bits) - 1) >> self._bits
    if self._bits:
        each += each // 8       # they are never spread quite evenly
    for index in range(1 << self._bits):
        more = 1
        while more > 0:
            more = _reserve_locked(_shard(self, index), each, owner_thread())
        _own(_shard(self, index), NULL, NULL)
        if more < 0:
            raise MemoryError
    return 0


cdef int _reserve_locked(Shard* shard, size_t keys, uint64_t thread) noexcept nogil:
    """Goes on with making room for so many keys; 1: more to do, 0: done, -1: no memory."""
    cdef Tables* tables = &shard.tables
    cdef int more = 0
    shard.latch.lock()
    if tables.table.next != NULL:
        step(tables, AT_A_TIME, thread)
        more = 1
    else:
        tables.least = max(tables.least, slots_for(keys))
        if tables.least > tables.table.mask + 1:
            more = 1 if replace_table(tables, tables.least, thread) else -1
    shard.latch.unlock()
    return more


cdef int _shrink_locked(Shard* shard, uint64_t thread) noexcept nogil:
    """Goes on with making the table as small as its keys allow; 1: more to do, 0: done, -1: no memory."""
    cdef Tables* tables = &shard.tables
    cdef int more = 0
    shard.latch.lock()
    tables.least = 0
    if tables.table.next != NULL:
        step(tables, AT_A_TIME, thread)
        more = 1
    elif tables.table.live == 0:
        leave_table(tables, tables.table)
        publish(&tables.table, &_placeholder)
        publish(&tables.changed_by, thread)
    elif slots_for(tables.table.live) <= tables.table.mask:
        more = 1 if replace_table(tables, slots_for(tables.table.live), thread) else -1
    shard.latch.unlock()
    return more


cdef size_t _live_locked(Shard* shard) noexcept nogil:
    cdef size_t live
    shard.latch.lock()
    live = live_of(&shard.tables)
    shard.latch.unlock()
    return live


cdef size_t _capacity_locked(Shard* shard) noexcept nogil:
    cdef size_t capacity
    shard.latch.lock()
    capacity = _newest(&shard.tables).limit
    shard.latch.unlock()
    return capacity


cdef inline Table* _newest(Tables* tables) noexcept nogil:
    return tables.table.next if tables.table.next != NULL else tables.table


cdef size_t _size_locked(Shard* shard) noexcept nogil:
    cdef size_t slots = 0
    shard.latch.lock()
    if shard.tables.table.limit:
        slots += shard.tables.table.mask + 1
    if shard.tables.table.next != NULL:
        slots += shard.tables.table.next.mask + 1
    shard.latch.unlock()
    return slots * sizeof(Slot)


cdef void _stats_locked(Shard* shard, size_t* items, size_t* capacity, size_t* probe, size_t* entered) noexcept nogil:
    shard.latch.lock()
    items[0] = live_of(&shard.tables)
    capacity[0] = _newest(&shard.tables).limit
    probe[0] = max(_longest_probe(shard.tables.table), _longest_probe(shard.tables.table.next))
    entered[0] = live_of(&shard.holds)
    shard.latch.unlock()


cdef size_t _longest_probe(Table* table) noexcept nogil:
    """The most slots that a look for a key that is there passes; 0 in an empty table."""
    cdef size_t longest = 0
    cdef size_t index
    if table != NULL:
        for index in range(table.cleared):
            if table.slots[index].key != NULL and not is_left_over(table, &table.slots[index]):
                longest = max(longest, ((index - (table.slots[index].hash >> table.shift)) & table.mask) + 1)
    return longest


cdef const char* _check_locked(Shard* shard) noexcept nogil:
    cdef const char* broken
    shard.latch.lock()
    broken = _check_table(&shard.tables, shard.tables.table)
    if broken == NULL and shard.tables.table.next != NULL:
        broken = _check_table(&shard.tables, shard.tables.table.next)
    if broken == NULL:
        broken = _check_table(&shard.holds, shard.holds.table)
    shard.latch.unlock()
    return broken


cdef const char* _check_table(Tables* tables, Table* table) noexcept nogil:
    """What is wrong with the table, or NULL."""
    cdef size_t index, home, used = 0, live = 0
    cdef Table* newer = tables.table.next
    cdef Slot* slot
    for index in range(table.cleared):
        slot = &table.slots[index]
        if slot.key == NULL:
            used += slot.hash != 0
            if slot.value != NULL:
                return b"a value without a key"
            if slot.hash > WORN:
                return b"a hash without a key"
            continue
        used += 1
        if is_left_over(table, slot):
            continue
        live += 1
        if table_of(tables, slot.hash) != table:
            return b"a key on the wrong side of the frontier"
        home = slot.hash >> table.shift
        while home != index:
            if table.slots[home].key == NULL and table.slots[home].hash == 0:
                return b"a key that cannot be reached from its home"
            if table.slots[home].key == slot.key and table.slots[home].hash == slot.hash:
                return b"a key that is there twice"
            home = (home + 1) & table.mask
    if table.cleared <= table.mask and (table != newer or table.slots[table.cleared - 1].hash != 0):
        return b"slots that are not cleared in reach"
    if table == newer and (
        tables.table.moved > tables.table.mask
        or table.cleared <= (<uint64_t>tables.table.moved << tables.table.shift) >> table.shift
    ):
        return b"homes of keys that have moved that are not cleared"
    if used != table.used or live != table.live:
        return b"wrong counts"
    if used > table.mask:
        return b"no EMPTY slot"
    return NULL


include "concurrent_map_reads.pxi"


# --- looks and changes -----------------------------------------------------------------------------------------------

cdef inline Shard* _aim(_Sharded self, Probe* probe, object key) except NULL:
    """Prepares a look for the key; gives the shard that it belongs to."""
    cdef Py_hash_t hash
    cdef uint64_t bits
    probe.key = <PyObject*>key
    probe.kind = kind_of(probe.key)
    hash = hash_at_hand(probe.key, probe.kind)
    if hash == -1:
        hash = PyObject_Hash(key)
    bits = spread(hash)
    probe.hash = bits << self._bits
    probe.asked = probe.candidate = NULL
    probe.restarts = 0
    return _shard(self, bits >> 1 >> (63 - self._bits))


cdef inline int _read(Shard* shard, Probe* probe, PyObject** value) noexcept nogil:
    """A look, in a read; if the key is PRESENT, a new reference to its value, unless `value` is NULL."""
    cdef PyObject* found
    cdef Record* record = _begin_read_locked(shard)
    cdef int look = look_up(&shard.tables, probe, &found)
    if look == PRESENT and value != NULL:
        value[0] = take(found)
    _end_read_locked(shard, record)
    return look


cdef inline PyObject* _get(Shard* shard, Probe* probe) except? NULL:
    """A new reference to the key's value; NULL without an exception if the key is ABSENT."""
    cdef PyObject* value = NULL
    if _read(shard, probe, &value) == ASK:
        _read_slow(shard, probe, &value)
    return value


cdef int _read_slow(Shard* shard, Probe* probe, PyObject** value) except -1:
    """After an ASK: PRESENT or ABSENT."""
    cdef int look = ASK
    try:
        while look == ASK:
            _compare(probe)
            look = _read(shard, probe, value)
    finally:
        _forget(probe)
    return look


cdef int _compare(Probe* probe) except -1:
    """Compares the candidate of an ASK with the key, with nothing held."""
    drop(probe.asked)
    probe.asked = probe.candidate
    probe.candidate = NULL
    probe.thread = owner_thread()
    if probe.restarts > RESTARTS:
        raise RuntimeError(f"comparing {type(<object>probe.key).__name__} keys keeps changing the table they are in")
    probe.equal = PyObject_RichCompareBool(<object>probe.asked, <object>probe.key, Py_EQ)
    return 0


cdef inline void _forget(Probe* probe) noexcept:
    """Drops what the comparisons needed."""
    drop(probe.candidate)
    drop(probe.asked)
    probe.candidate = probe.asked = NULL


cdef inline bint _is_held(Shard* shard, uint64_t hash) noexcept nogil:
    """Whether an entry holds the keys of that hash; under the latch."""
    cdef Slot* slot
    if live_of(&shard.holds) == 0:
        return False
    slot = find_hash(&shard.holds, hash)
    return slot != NULL and (<Hold*>slot.key).entries != NULL


cdef inline int _change_locked(Shard* shard, Probe* probe, Change* change, How how) noexcept nogil:
    """Looks for the key and makes the change in one step. Who calls it drops old, old_key and sum."""
    cdef int outcome
    shard.latch.lock()
    if change.entry != NULL and (<Entry>change.entry)._hold == NULL:
        outcome = NOT_IN_FORCE
    elif change.entry == NULL and how != ADD and _is_held(shard, probe.hash):
        outcome = ENTERED
    else:
        outcome = find(&shard.tables, probe)
        if outcome == PRESENT:
            outcome = _change_present(shard, probe, change, how)
        elif outcome == ABSENT:
            outcome = _change_absent(shard, probe, change, how)
    shard.latch.unlock()
    return outcome


cdef inline int _change_present(Shard* shard, Probe* probe, Change* change, How how) noexcept nogil:
    cdef Slot* slot = &probe.table.slots[probe.index]
    if how == ADD:
        change.old = take(slot.value)
        return PRESENT
    if how == REPLACE and slot.value != change.expected:
        return CHANGED
    if how == INCREMENT:
        change.sum = plain_sum(slot.value, change.value)
        if change.sum == NULL:
            return NOT_PLAIN
    if change.entry != NULL and (<Entry>change.entry)._stored == NULL:
        (<Entry>change.entry)._stored = take(slot.key)
    change.old = slot.value
    if how == TAKE or (how == REPLACE and change.value == NULL):
        change.old_key = slot.key
        remove_slot(&shard.tables, probe.table, probe.index, probe.thread)
    else:
        publish(&slot.value, take(change.sum if how == INCREMENT else change.value))
    return PRESENT


cdef inline int _change_absent(Shard* shard, Probe* probe, Change* change, How how) noexcept nogil:
    cdef PyObject* value = change.value
    cdef PyObject* key = probe.key
    if how == TAKE:
        return ABSENT
    if how == REPLACE and change.expected != NULL:
        return CHANGED
    if how == REPLACE and change.value == NULL:
        return ABSENT
    if how == ADD and change.entry == NULL and _is_held(shard, probe.hash):
        return ENTERED
    if how == INCREMENT:
        value = change.start
    if change.entry != NULL:
        key = <PyObject*>(<Entry>change.entry)._key     # as it was given; the look may have been for one removed since
    if not insert(&shard.tables, probe, key, value):
        return NO_MEMORY
    retain(key)
    retain(value)
    return ABSENT


cdef inline int _change(_Sharded self, Shard* shard, Probe* probe, Change* change, How how) except -1:
    """Makes the change, waiting where an entry holds the key: PRESENT or ABSENT (before), CHANGED, NOT_PLAIN."""
    cdef int outcome
    probe.thread = owner_thread()
    change.old = change.old_key = NULL
    outcome = _change_locked(shard, probe, change, how)
    if outcome == ASK or outcome >= ENTERED:
        outcome = _change_slow(self, shard, probe, change, how, outcome)
    _own(shard, change.old if how != ADD else NULL, change.old_key)
    return outcome


cdef int _change_slow(_Sharded self, Shard* shard, Probe* probe, Change* change, How how, int outcome) except -1:
    cdef Entry entry = None
    try:
        while True:
            if outcome == ASK:
                _compare(probe)
            elif outcome == ENTERED:
                entry = _enter(self, shard, <object>probe.key, probe.hash, NEVER, &ENTER)
                change.entry = <PyObject*>entry
            elif outcome == NO_MEMORY:
                raise MemoryError
            elif outcome == NOT_IN_FORCE:
                raise RuntimeError(_NOT_IN_FORCE)
            else:
                return outcome
            outcome = _change_locked(shard, probe, change, how)
    finally:
        _forget(probe)
        if entry is not None:
            change.entry = NULL
            _leave(entry)


cdef inline bint _put_at_home_locked(Shard* shard, Probe* probe, PyObject* value, PyObject** old) noexcept nogil:
    cdef bint done
    shard.latch.lock()
    done = not _is_held(shard, probe.hash) and put_at_home(&shard.tables, probe.hash, probe.key, value, old)
    shard.latch.unlock()
    return done


cdef inline PyObject* _add_at_home_locked(Shard* shard, Probe* probe, PyObject* n, PyObject** old) noexcept nogil:
    """Adds to the value of a key whose home has this very object: gives the sum, a new reference, and the old value's.

    NULL, and nothing has changed, if it is not so, or the sum is not plain.
    """
    cdef PyObject* sum = NULL
    cdef Slot* slot
    shard.latch.lock()
    slot = home_of(table_of(&shard.tables, probe.hash), probe.hash)
    if slot.key == probe.key and not _is_held(shard, probe.hash):
        sum = plain_sum(slot.value, n)
        if sum != NULL:
            old[0] = slot.value
            publish(&slot.value, take(sum))
    shard.latch.unlock()
    return sum


cdef int _put(_Sharded self, Shard* shard, Probe* probe, PyObject* value, PyObject** old) except -1:
    """PUT: PRESENT or ABSENT, and a new reference to what was there."""
    cdef Change change
    cdef int outcome
    change.entry = NULL
    change.value = value
    outcome = _change(self, shard, probe, &change, PUT)
    old[0] = change.old
    return outcome


cdef inline int _store(_Sharded self, object key, PyObject* value, How how, PyObject** old) except -1:
    """PUT or ADD: PRESENT or ABSENT, and a new reference to what was there."""
    cdef Probe probe
    cdef Change change
    cdef Shard* shard = _aim(self, &probe, key)
    cdef int outcome
    change.entry = NULL
    change.value = value
    outcome = _change(self, shard, &probe, &change, how)
    old[0] = change.old
    return outcome


cdef inline int _remove(_Sharded self, object key, PyObject** old, PyObject** old_key) except -1:
    """Takes the key out: PRESENT, and references to its value and to the stored key, or ABSENT."""
    cdef Probe probe
    cdef Change change
    cdef Shard* shard = _aim(self, &probe, key)
    cdef int outcome
    change.entry = NULL
    outcome = _change(self, shard, &probe, &change, TAKE)
    old[0] = change.old
    old_key[0] = change.old_key
    return outcome


cdef inline bint _contains(_Sharded self, object key) except -1:
    cdef Probe probe
    cdef Shard* shard = _aim(self, &probe, key)
    cdef int look = _read(shard, &probe, NULL)
    if look == ASK:
        look = _read_slow(shard, &probe, NULL)
    return look == PRESENT


include "concurrent_map_entry.pxi"
include "concurrent_map_views.pxi"
include "concurrent_map_many.pxi"
include "concurrent_map_map.pxi"
include "concurrent_map_set.pxi"
include "concurrent_map_frozen.pxi"
include "concurrent_map_flight.pxi"
include "concurrent_map_face.pxi"


# --- slots -----------------------------------------------------------------------------------------------------------

cdef traverseproc _cython_traverse = traverse_slot(_Sharded)
cdef inquiry _cython_clear = clear_slot(_Sharded)


cdef int _traverse(PyObject* slot, visitproc visit, void* arg) noexcept:
    """Keys and values, and the coroutines that wait for entries."""
    cdef _Sharded self = <_Sharded>slot
    cdef Py_ssize_t index
    cdef Shard* shard
    cdef int stopped = _cython_traverse(slot, visit, arg)
    if self._shards == NULL:
        return stopped
    for index in range(1 << self._bits):
        shard = _shard(self, index)
        if not stopped:
            stopped = _traverse_tables(shard.tables.table, visit, arg)
        if not stopped:
            stopped = _traverse_limbo(&shard.limbo, visit, arg)
        if not stopped:
            stopped = _traverse_holds(shard.holds.table, visit, arg)
        if not stopped and shard.holds.table.next != NULL:
            stopped = _traverse_holds(shard.holds.table.next, visit, arg)
    return stopped


cdef traverseproc _cython_traverse_entry = traverse_slot(Entry)


cdef int _traverse_entry(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef int stopped = visit_raw((<Entry>slot)._stored, visit, arg)
    return stopped if stopped else _cython_traverse_entry(slot, visit, arg)


cdef int _traverse_tables(Table* table, visitproc visit, void* arg) noexcept:
    """A table and the one that replaces it."""
    cdef int stopped = _traverse_table(table, visit, arg)
    return stopped if stopped else _traverse_table(table.next, visit, arg)


cdef int _traverse_table(Table* table, visitproc visit, void* arg) noexcept:
    cdef size_t index
    cdef int stopped = 0
    cdef Slot* slot
    if table != NULL and table.live:
        for index in range(table.cleared):
            slot = visit_slot(table, index)
            if slot.key != NULL and not is_left_over(table, slot):
                stopped = visit(slot.key, arg)
                if not stopped:
                    stopped = visit(slot.value, arg)
                if stopped:
                    return stopped
    return 0


cdef int _traverse_holds(Table* table, visitproc visit, void* arg) noexcept:
    cdef size_t index
    cdef int stopped = 0
    cdef Hold* hold
    if table.live:
        for index in range(table.cleared):
            hold = <Hold*>table.slots[index].key
            if hold != NULL and not stopped and not is_left_over(table, &table.slots[index]):
                stopped = visit_waiters(&hold.queue, visit, arg)
    return stopped


cdef int _clear(PyObject* slot) noexcept:
    if (<_Sharded>slot)._shards != NULL:
        _empty(<_Sharded>slot)
    return _cython_clear(slot)


replace_gc_slots(_Sharded, _traverse, _clear)
replace_gc_slots(ConcurrentMap, _traverse, _clear)
replace_gc_slots(Entry, _traverse_entry, NULL)
replace_gc_slots(ConcurrentSet, _traverse, _clear)
inherit_dealloc(ConcurrentMap, _Sharded)
inherit_dealloc(ConcurrentSet, _Sharded)
recycle(Entry)
quicken_with(Entry)
seal(_Sharded)
seal(_Answer)
seal(Entry)
seal(Entries)
seal(_Keys)
seal(_Values)
seal(_Items)
seal(_Iterator)
collections.abc.MutableMapping.register(ConcurrentMap)
collections.abc.Mapping.register(FrozenMap)
collections.abc.MutableSet.register(ConcurrentSet)
collections.abc.KeysView.register(_Keys)
collections.abc.ValuesView.register(_Values)
collections.abc.ItemsView.register(_Items)
