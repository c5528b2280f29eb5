"""The hash table of ConcurrentMap: open addressing, stored hashes, growth in steps. No Python code, and no locks.

A slot holds (hash, key, value). The home of a hash is its top bits, so the slots are sorted by hash but for collisions,
which go to the next slot that is free (linear probing), and a table twice as large has the same order. Two things
follow, and the rest of the file rests on them:

- *Growth in steps.* A table that is to be replaced is moved a few clusters at a time, from the lowest hash upwards.
  One number, `moved`, says how far: a key whose home is below it is looked for in the next table, any other in this
  one, so each look reads one table. An insertion moves at least 16 slots, so the old table cannot fill up meanwhile.
- *Iteration by hash.* "All keys of hashes below h have been seen" is true or false whatever table they are in, so an
  iterator is a hash, and it survives growth between two of its steps.

A removed key leaves a DEAD slot, because keys never move within a table. If an EMPTY slot follows, no probe goes on
through the dead ones before it, and they become EMPTY as well. What remains dead counts as used, and a table with too
many used slots is replaced by one of the size that its live keys need.

A new key goes to the first free slot behind the last key of the same hash that its probe met, not to an earlier dead
one: so a probe that has stopped at a key, for a comparison in Python, meets all that is inserted meanwhile.

Writers have the latch of the shard that the table is in. *Readers without it*, which there are on free-threaded builds,
call table_of(), find() and scan() inside a read of `Tables.readers`, and what they may see is never freed meanwhile.
Why a look of theirs is right whatever a writer does meanwhile:

- A key never moves within a table, and no slot between its home and its own is EMPTY while it is there. So a look for
  a key that is there all the time meets it.
- While one reader is inside, a slot has one key at most: one that is emptied while somebody is inside is WORN, and is
  not used again in this table. So what a reader loads of a slot that has a key, it loads of this key.
- A slot gets its value and hash before its key, and loses them in that order too. So a key is there from the store of
  the key until the value is NULL; who has seen the key finds its hash, its value, or that it is being removed. Where
  there is no key a hash of 0 means EMPTY at any instant, because no key of hash 0 goes into a DEAD slot.
- Keys are copied to the next table before `moved` says so, in one section, and their old slots stay as they are. So a
  look that has read `moved` before the move reads what was true at the move, and one that reads it after goes on.
- A slot is cleared before the one in front of it is filled. So no probe gets to a slot that is not cleared.

Linear probing: Knuth, The Art of Computer Programming, volume 3, 6.4. The multiplicative hash is of the same section.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from ferrule._core.atomics cimport publish, seen
from ferrule._core.epoch cimport Readers, Retired, is_read
from ferrule._core.latch cimport WITH_GIL
from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc
from ferrule._core.owned cimport retain, take

cdef extern from *:
    """
    #ifndef FERRULE_RAW_TABLE
    #define FERRULE_RAW_TABLE
    #include <cstdint>
    #include <cstring>
    namespace ferrule {
    // Which keys are compared here, without Python.
    enum KeyKind { OTHER_KEY, STR_KEY, INT_KEY, BYTES_KEY };

    inline KeyKind kind_of(PyObject* key) noexcept {
        PyTypeObject* type = Py_TYPE(key);
        if (type == &PyUnicode_Type) return STR_KEY;
        if (type == &PyLong_Type) return INT_KEY;
        if (type == &PyBytes_Type) return BYTES_KEY;
        return OTHER_KEY;
    }

    inline bool same_int(PyObject* a, PyObject* b) noexcept {
        PyLongObject *x = reinterpret_cast<PyLongObject*>(a), *y = reinterpret_cast<PyLongObject*>(b);
    #if PY_VERSION_HEX >= 0x030C0000
        if (x->long_value.lv_tag != y->long_value.lv_tag) return false;
        return !std::memcmp(x->long_value.ob_digit, y->long_value.ob_digit,
                            (x->long_value.lv_tag >> 3) * sizeof(digit));
    #else
        if (Py_SIZE(x) != Py_SIZE(y)) return false;
        return !std::memcmp(x->ob_digit, y->ob_digit, Py_ABS(Py_SIZE(x)) * sizeof(digit));
    #endif
    }

    inline bool same_str(PyObject* a, PyObject* b) noexcept {
        Py_ssize_t length = PyUnicode_GET_LENGTH(a);
        if (length != PyUnicode_GET_LENGTH(b) || PyUnicode_KIND(a) != PyUnicode_KIND(b)) return false;
        return !std::memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), length * PyUnicode_KIND(a));
    }

    inline bool same_bytes(PyObject* a, PyObject* b) noexcept {
        Py_ssize_t size = PyBytes_GET_SIZE(a);
        return size == PyBytes_GET_SIZE(b) && !std::memcmp(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b), size);
    }

    // Whether two keys of equal hash are equal: 0 or 1; -1: only Python can tell. The first is of the kind given.
    inline int same_key(PyObject* a, PyObject* b, KeyKind kind) noexcept {
        KeyKind other = kind_of(b);
        if (kind == OTHER_KEY || other == OTHER_KEY) return -1;
        if (kind != other) return 0;
        return kind == STR_KEY ? same_str(a, b) : kind == INT_KEY ? same_int(a, b) : same_bytes(a, b);
    }

    // The value of an exact int of at most two digits, as nearly all are; false for a longer one.
    inline bool short_int(PyObject* number, int64_t* value) noexcept {
        PyLongObject* of = reinterpret_cast<PyLongObject*>(number);
    #if PY_VERSION_HEX >= 0x030C0000
        uintptr_t digits = of->long_value.lv_tag >> 3;
        bool negative = (of->long_value.lv_tag & 3) == 2;
        digit* parts = of->long_value.ob_digit;
    #else
        Py_ssize_t digits = Py_ABS(Py_SIZE(of));
        bool negative = Py_SIZE(of) < 0;
        digit* parts = of->ob_digit;
    #endif
        if (digits > 2) return false;
        int64_t size = digits ? parts[0] : 0;
        if (digits == 2) size |= static_cast<int64_t>(parts[1]) << PyLong_SHIFT;
        *value = negative ? -size : size;
        return true;
    }

    // The hash of a key that can tell it without a call: of a str that was hashed before, and of an int that is short,
    // which is its own hash, but for -1; else -1, which is the hash of nothing.
    inline Py_hash_t hash_at_hand(PyObject* key, KeyKind kind) noexcept {
        int64_t value;
        if (kind == STR_KEY) {
            Py_hash_t* hash = &reinterpret_cast<PyASCIIObject*>(key)->hash;
    #ifdef Py_GIL_DISABLED
            return _Py_atomic_load_ssize_relaxed(hash);
    #else
            return *hash;
    #endif
        }
        if (SIZEOF_VOID_P == 8 && kind == INT_KEY && short_int(key, &value))
            return value == -1 ? -2 : static_cast<Py_hash_t>(value);
        return -1;
    }

    // Asks the cache for what a visit or a count of references touches of an object, which may be NULL.
    inline void prefetch(PyObject* of) noexcept {
    #if defined(__GNUC__) || defined(__clang__)
        __builtin_prefetch(of, 1);
    #ifndef Py_GIL_DISABLED
        __builtin_prefetch(reinterpret_cast<char*>(of) - 16, 1);    // what the collector keeps in front
    #endif
    #endif
    }

    // Spreads a hash over all 64 bits; one to one, so that equality of the results is equality of hashes.
    inline uint64_t spread(Py_hash_t hash) noexcept {
        uint64_t bits = static_cast<uint64_t>(hash);
        return (bits ^ bits >> 32) * 0x9E3779B97F4A7C15u;
    }
    }
    #endif
    """
    ctypedef enum KeyKind "ferrule::KeyKind":
        OTHER_KEY "ferrule::OTHER_KEY"
        STR_KEY "ferrule::STR_KEY"
        INT_KEY "ferrule::INT_KEY"
        BYTES_KEY "ferrule::BYTES_KEY"
    KeyKind kind_of "ferrule::kind_of"(PyObject*) noexcept nogil
    int same_key "ferrule::same_key"(PyObject*, PyObject*, KeyKind) noexcept nogil
    bint short_int "ferrule::short_int"(PyObject*, int64_t*) noexcept nogil
    Py_hash_t hash_at_hand "ferrule::hash_at_hand"(PyObject*, KeyKind) noexcept nogil
    void prefetch "ferrule::prefetch"(PyObject*) noexcept nogil
    uint64_t spread "ferrule::spread"(Py_hash_t) noexcept nogil

cdef enum:
    DEAD = 1        # the hash of a slot without a key that was used; of one that is EMPTY it is 0
    WORN = 2        # the hash of one that cannot be used again, because a reader may have seen the key that it had
    STEP = 16       # slots that an insertion moves while a table is being replaced
    SMALLEST = 8    # slots
    AHEAD = 128     # slots that are cleared at a time
    VISITED = 16     # slots between one whose objects are visited and one whose objects the cache is asked for

cdef struct Slot:           # written under the latch, by publish()
    PyObject* key           # a reference, or NULL
    uint64_t hash           # in force if there is a key; DEAD, WORN or 0 if not
    PyObject* value         # a reference, or NULL if and only if key is, but for an instant

# A slot whose key's home is below `moved` is left over: it has no references, and its table no longer counts it.
cdef struct Table:
    Retired retired         # once it is in a list of what readers may still see
    size_t mask             # slots - 1; slots are a power of two
    int shift               # the home of a hash is hash >> shift
    Slot* slots
    Table* next             # what replaces it, or NULL; set before `moved` grows
    size_t moved            # homes, counted from 0, whose keys are in the next table; mask + 1 at last. By publish()
    uint64_t id             # never used again by the same Tables
    # for writers
    size_t limit            # slots that may be used before it is replaced; 0: the placeholder, of two EMPTY slots
    size_t used             # slots that are not EMPTY; always fewer than all of them
    size_t live             # slots with a key that is not left over
    size_t cleared          # of a table that is being filled: the slots from here on are not in use, nor EMPTY, yet.
    #                         The slot before is EMPTY, so that no probe gets there. All slots of any other table.

cdef struct Tables:         # all zero but for `table` is the beginning
    Table* table            # by publish()
    Readers* readers        # who looks without the latch; NULL: nobody
    uint64_t changed_by     # who last removed a key or replaced a table: a thread; 0: clear() by another. By publish()
    # for writers
    Retired* outgrown       # a list: tables without references that readers may still see. By publish()
    uint64_t ids            # the last id given to a table
    uint64_t inserts        # how many keys were ever inserted
    size_t least            # slots that shrinking leaves: as reserved

cdef enum Look:
    ABSENT      # no such key; `index` is where it would go
    PRESENT     # `index` has it
    ASK         # `index` has a key of equal hash that only Python can compare

cdef struct Probe:          # a look for one key; zero but for the first fields at its beginning
    uint64_t hash
    PyObject* key
    KeyKind kind
    uint64_t thread         # who looks; needed where it may have to ask, or removes or inserts
    # where find() ended
    Table* table
    uint64_t id             # of that table
    size_t index
    # after an ASK
    PyObject* candidate     # the key to be compared; a reference
    # at the next find()
    PyObject* asked         # the key that was compared; a reference
    bint equal              # with this result
    int restarts            # how often that key was gone then, through the very thread that asked


cdef inline Table* new_table(Tables* tables, size_t slots) noexcept nogil:
    """A table of so many slots, a power of two, of which the first are cleared; NULL without memory."""
    cdef Table* table = <Table*>PyMem_Malloc(sizeof(Table) + slots * sizeof(Slot))
    if table != NULL:
        tables.ids += 1
        table.id = tables.ids
        table.mask = slots - 1
        table.shift = 64
        while slots > 1:
            slots >>= 1
            table.shift -= 1
        table.limit = limit_of(table.mask + 1)
        table.used = table.live = table.cleared = table.moved = 0
        table.next = NULL
        table.slots = <Slot*>(table + 1)
        clear_to(table, 1)
    return table


cdef inline void clear_to(Table* table, size_t end) noexcept nogil:
    """Makes the slots before `end`, and some behind it, EMPTY if they are not cleared yet.

    Clearing a whole table when it is made would be the one call that pays for it, and reading memory that was never
    written, as calloc() gives it, costs a page fault more than writing it.
    """
    if end > table.cleared:
        end = min(end + AHEAD, table.mask + 1)
        memset(table.slots + table.cleared, 0, (end - table.cleared) * sizeof(Slot))
        table.cleared = end


cdef inline void free_table(Table* table) noexcept nogil:
    """Frees its memory; the references in it are gone."""
    if table.limit:
        PyMem_Free(table)


cdef inline void leave_table(Tables* tables, Table* table) noexcept nogil:
    """Frees a table that has been replaced, or keeps it for the caller to retire."""
    if tables.readers == NULL:
        free_table(table)
    elif table.limit:
        table.retired.release = _free_retired
        table.retired.next = tables.outgrown
        publish(&tables.outgrown, &table.retired)


cdef inline void _free_retired(Retired* retired) noexcept:
    PyMem_Free(retired)


cdef inline size_t limit_of(size_t slots) noexcept nogil:
    """Two thirds: an average probe for an absent key passes 4 keys in a full table, 1 or 2 in one just grown."""
    return slots * 2 // 3


cdef inline size_t slots_for(size_t keys) noexcept nogil:
    """The slots of a table with room for so many keys."""
    cdef size_t slots = SMALLEST
    while limit_of(slots) < keys:
        slots *= 2
    return slots


cdef inline size_t live_of(Tables* tables) noexcept nogil:
    return tables.table.live + (tables.table.next.live if tables.table.next != NULL else 0)


cdef inline Table* table_of(Tables* tables, uint64_t hash) noexcept nogil:
    """Where keys of that hash are."""
    cdef Table* table = seen(&tables.table)
    while hash >> table.shift < seen(&table.moved):
        table = table.next
    return table


cdef inline Slot* home_of(Table* table, uint64_t hash) noexcept nogil:
    return &table.slots[hash >> table.shift]


cdef inline bint is_empty(Slot* slot) noexcept nogil:
    return seen(&slot.key) == NULL and seen(&slot.hash) == 0


cdef inline bint is_left_over(Table* table, Slot* slot) noexcept nogil:
    """Of a slot with a key: its references are the next table's."""
    return slot.hash >> table.shift < table.moved


cdef inline Look find_from_home(Tables* tables, Probe* probe) noexcept nogil:
    """find(), where the key is not at home."""
    cdef Table* table = table_of(tables, probe.hash)
    cdef size_t index = probe.hash >> table.shift
    cdef bint reusable = False      # probe.index is a dead slot where the key may go
    cdef Slot* slot
    cdef PyObject* key
    cdef uint64_t hash
    cdef int same
    if probe.asked != NULL:
        if table.id == probe.id and seen(&table.slots[probe.index].key) == probe.asked:
            if probe.equal:
                probe.table = table
                return PRESENT
            index = (probe.index + 1) & table.mask
        elif seen(&tables.changed_by) == probe.thread:
            probe.restarts += 1
    probe.table = table
    while True:
        slot = &table.slots[index]
        key = seen(&slot.key)
        hash = seen(&slot.hash)
        # The hash first: where a table is being replaced, the key of a slot that is left over may be gone.
        if hash == probe.hash and key != NULL:
            same = 1 if key == probe.key else same_key(probe.key, key, probe.kind)
            if same:
                probe.index = index
                probe.id = table.id
                if same > 0:
                    return PRESENT
                retain(key)
                probe.candidate = key
                return ASK
            reusable = False
        elif key == NULL:
            if hash == 0 or (hash == DEAD and not reusable and probe.hash != 0):
                if not reusable:
                    probe.index = index
                if hash == 0:
                    return ABSENT
                reusable = True
        index = (index + 1) & table.mask


cdef inline Look find(Tables* tables, Probe* probe) noexcept nogil:
    """Looks for the probe's key; after an ASK, goes on behind the key that was compared."""
    cdef Table* table = table_of(tables, probe.hash)
    cdef Slot* slot = home_of(table, probe.hash)
    cdef PyObject* key
    # The very key object, or nothing, at home, at the first look: where most looks end.
    if probe.asked == NULL:
        probe.table = table
        probe.index = slot - table.slots
        key = seen(&slot.key)
        if key == probe.key:
            return PRESENT
        if key == NULL and seen(&slot.hash) == 0:
            return ABSENT
    return find_from_home(tables, probe)


cdef inline Look look_up(Tables* tables, Probe* probe, PyObject** value) noexcept nogil:
    """find() without the latch; if the key is PRESENT, borrowed, its value."""
    cdef Look look = find(tables, probe)
    if look == PRESENT:
        value[0] = seen(&probe.table.slots[probe.index].value)
        if value[0] == NULL:
            return ABSENT       # it is being removed
    return look


cdef inline Slot* visit_slot(Table* table, size_t index) noexcept nogil:
    """The slot, for a walk that touches the objects of each: they lie anywhere, so those to come are asked for now."""
    if index + VISITED < table.cleared:
        prefetch(table.slots[index + VISITED].key)
        prefetch(table.slots[index + VISITED].value)
    return &table.slots[index]


cdef inline Slot* find_same(Tables* tables, uint64_t hash, PyObject* key) noexcept nogil:
    """The slot of this very key object, or NULL."""
    cdef Table* table = table_of(tables, hash)
    cdef size_t index = hash >> table.shift
    cdef Slot* slot = &table.slots[index]
    # By the hash as well: the key of a slot that is left over may be gone, and this one be where it was.
    while seen(&slot.key) != key or seen(&slot.hash) != hash:
        if is_empty(slot):
            return NULL
        index = (index + 1) & table.mask
        slot = &table.slots[index]
    return slot


cdef inline Slot* find_hash(Tables* tables, uint64_t hash) noexcept nogil:
    """The first slot with a key of that hash, or NULL."""
    cdef Table* table = table_of(tables, hash)
    cdef size_t index = hash >> table.shift
    cdef Slot* slot = &table.slots[index]
    while slot.key == NULL or slot.hash != hash:
        if is_empty(slot):
            return NULL
        index = (index + 1) & table.mask
        slot = &table.slots[index]
    return slot


cdef inline void fill(Table* table, size_t index, uint64_t hash, PyObject* key, PyObject* value) noexcept nogil:
    """Puts a key into a slot that is EMPTY, or DEAD if its hash is not 0; the references move in."""
    cdef Slot* slot = &table.slots[index]
    if index + 1 == table.cleared and index < table.mask:
        clear_to(table, index + 2)
    if slot.hash == 0:
        table.used += 1
    table.live += 1
    publish(&slot.value, value)
    publish(&slot.hash, hash)
    publish(&slot.key, key)


cdef inline size_t free_index(Table* table, uint64_t hash) noexcept nogil:
    """Where a key of that hash goes that is not there: the first free slot behind the last key of the same hash."""
    cdef size_t index = hash >> table.shift
    cdef size_t reusable = index
    cdef bint found = False
    cdef Slot* slot = &table.slots[index]
    while not is_empty(slot):
        if slot.key == NULL:
            if not found and slot.hash == DEAD and hash != 0:
                reusable = index
                found = True
        elif slot.hash == hash:
            found = False
        index = (index + 1) & table.mask
        slot = &table.slots[index]
    return reusable if found else index


cdef inline bint replace_table(Tables* tables, size_t slots, uint64_t thread) noexcept nogil:
    """Begins to replace the table, which is not being replaced yet, by one of so many slots; False without memory."""
    cdef Table* next = new_table(tables, slots)
    if next == NULL:
        return False
    publish(&tables.changed_by, thread)
    if tables.table.limit == 0:     # the placeholder has nothing to move
        clear_to(next, next.mask + 1)
        publish(&tables.table, next)
    else:
        tables.table.next = next
    return True


cdef inline void step(Tables* tables, size_t slots, uint64_t thread) noexcept nogil:
    """Moves the clusters of at least so many slots on; the table is being replaced."""
    cdef Table* table = tables.table
    cdef Table* next = table.next
    cdef size_t index = table.moved
    cdef Slot* slot
    publish(&tables.changed_by, thread)
    while index <= table.mask:
        slot = &table.slots[index]
        # A key in a slot below its home came here around the end, and moves last.
        if slot.key != NULL and slot.hash >> table.shift <= index:
            copy_slot(table, next, slot)
        index += 1
        # Behind an EMPTY slot no key has a home before it: here the hashes can be divided.
        if is_empty(slot) and index - table.moved >= slots and index <= table.mask:
            # The homes of all hashes that are looked for there from now on.
            clear_to(next, ((<uint64_t>index << table.shift) >> next.shift) + 1)
            publish(&table.moved, index)
            return
    clear_to(next, next.mask + 1)
    index = 0
    while table.live:
        slot = &table.slots[index]
        if slot.key != NULL and slot.hash >> table.shift > index:
            copy_slot(table, next, slot)
        index += 1
    publish(&table.moved, table.mask + 1)
    publish(&tables.table, next)
    leave_table(tables, table)


cdef inline void copy_slot(Table* table, Table* next, Slot* slot) noexcept nogil:
    """The references move on; the slot stays as it is."""
    clear_to(next, (slot.hash >> next.shift) + 1)
    fill(next, free_index(next, slot.hash), slot.hash, slot.key, slot.value)
    table.live -= 1


cdef inline bint insert(Tables* tables, Probe* probe, PyObject* key, PyObject* value) noexcept nogil:
    """Puts in a key that find() has just found ABSENT; the references move in. False without memory."""
    cdef Table* table = tables.table
    if table.next == NULL and (table.used < table.limit or table.slots[probe.index].hash == DEAD):
        fill(table, probe.index, probe.hash, key, value)
    else:
        if table.next == NULL:
            # Half as much again as there is: doubles a table full of live keys, and replaces one full of dead ones.
            if not replace_table(tables, slots_for(table.live + table.live // 2 + 1), probe.thread):
                return False
        # All at once where the new table has no room for what may come meanwhile: after a shrink() that made it small.
        while tables.table.next != NULL:
            step(tables, STEP, probe.thread)
            if tables.table.next == NULL or tables.table.next.used < tables.table.next.limit:
                break
        table = table_of(tables, probe.hash)
        fill(table, free_index(table, probe.hash), probe.hash, key, value)
    tables.inserts += 1
    return True


cdef inline bint put_at_home(
    Tables* tables, uint64_t hash, PyObject* key, PyObject* value, PyObject** old
) noexcept nogil:
    """Sets the value of a key whose home has this very object, or nothing, so that no key of the hash is anywhere.

    False, and nothing has changed, if it is not so, or a table is to be replaced. Takes references to what it stores,
    and gives that of the value that was there, or NULL. Where most writes end.
    """
    cdef Table* table = table_of(tables, hash)
    cdef Slot* slot = home_of(table, hash)
    if slot.key == key:
        old[0] = slot.value
        publish(&slot.value, take(value))
        return True
    if is_empty(slot) and table == tables.table and table.next == NULL and table.used < table.limit:
        old[0] = NULL
        fill(table, slot - table.slots, hash, take(key), take(value))
        tables.inserts += 1
        return True
    return False


cdef inline void remove_slot(Tables* tables, Table* table, size_t index, uint64_t thread) noexcept nogil:
    """Empties a slot, whose references the caller has taken; begins to shrink a table that has become very empty."""
    cdef Slot* slot = &table.slots[index]
    publish(&slot.value, <PyObject*>NULL)
    publish(&slot.hash, <uint64_t>WORN)
    publish(&slot.key, <PyObject*>NULL)
    table.live -= 1
    publish(&tables.changed_by, thread)
    if WITH_GIL or tables.readers == NULL or not is_read(tables.readers):
        publish(&slot.hash, <uint64_t>DEAD)
        if is_empty(&table.slots[(index + 1) & table.mask]):
            while slot.key == NULL and slot.hash == DEAD:
                publish(&slot.hash, <uint64_t>0)
                table.used -= 1
                if index == 0 and table.cleared <= table.mask:
                    break       # the slot before it, at the other end, is not cleared yet
                index = (index - 1) & table.mask
                slot = &table.slots[index]
    if tables.table.next != NULL:
        step(tables, STEP, thread)
    elif table.live * 8 <= table.mask and table.mask >= SMALLEST and table.mask >= tables.least:
        # Without the memory for a smaller one it stays as it is.
        replace_table(tables, max(slots_for(table.live * 2), tables.least), thread)


cdef struct Item:           # what a slot with a key had
    uint64_t hash
    PyObject* key
    PyObject* value


cdef inline size_t add_item(
    Slot* slot, uint64_t hash, PyObject* key, Item* items, size_t first, size_t found
) noexcept nogil:
    """Adds the item, unless it has been found since `first`: removed, and inserted again further on, meanwhile."""
    cdef size_t index
    if not WITH_GIL:
        for index in range(first, found):
            if items[index].key == key and items[index].hash == hash:
                return found
    items[found].hash = hash
    items[found].key = key
    items[found].value = seen(&slot.value)
    return found + 1


cdef inline bint scan(
    Tables* tables, uint64_t* since, bint* ended, Item* items, size_t room, size_t wanted, size_t* count
) noexcept nogil:
    """Copies the slots of the lowest hashes from `since` on, and moves `since` behind them; takes no references.

    At least `wanted` unless the end comes first, and whole clusters, so that `since` divides them from the rest.
    False, and nothing has changed, if `room` is too small for that.
    """
    cdef Table* table = seen(&tables.table)
    cdef uint64_t last = <uint64_t>-1       # the highest hash that this table has
    cdef size_t moved = seen(&table.moved)
    cdef size_t index
    cdef size_t found = 0
    cdef size_t first = 0                   # of the items of this cluster
    cdef size_t wrapped = 0
    cdef Slot* slot
    cdef PyObject* key
    cdef uint64_t hash
    ended[0] = False
    while since[0] >> table.shift < moved:
        if moved <= table.mask:
            last = min(last, (<uint64_t>moved << table.shift) - 1)
        table = table.next
        moved = seen(&table.moved)
    index = since[0] >> table.shift
    while index <= table.mask:
        slot = &table.slots[index]
        key = seen(&slot.key)
        hash = seen(&slot.hash)
        if key != NULL and since[0] <= hash <= last and hash >> table.shift <= index:
            if found == room:
                return False
            found = add_item(slot, hash, key, items, first, found)
        index += 1
        if key == NULL and hash == 0 and index <= table.mask:
            first = found
            if <uint64_t>index << table.shift > last:
                break
            if found >= wanted:
                since[0] = <uint64_t>index << table.shift
                count[0] = found
                return True
    if index > table.mask:
        while not is_empty(&table.slots[wrapped]):
            slot = &table.slots[wrapped]
            key = seen(&slot.key)
            hash = seen(&slot.hash)
            if key != NULL and since[0] <= hash <= last and hash >> table.shift > wrapped:
                if found == room:
                    return False
                found = add_item(slot, hash, key, items, first, found)
            wrapped += 1
    if last == <uint64_t>-1:
        ended[0] = True
    else:
        since[0] = last + 1
    count[0] = found
    return True
