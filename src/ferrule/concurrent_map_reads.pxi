"""Reads without the latch, and what becomes of what they may still see; part of concurrent_map.pyx.

A reference that a section took out of a table is not the writer's alone while a reader may have seen the pointer and
not yet have taken a reference of its own. So after each section _own() makes it so: at once if nobody is reading the
shard, or all leave in a moment, else by giving the writer a reference of its own and keeping the other one in the
shard's limbo.

With the GIL all of this compiles to nothing.
"""

cdef extern from *:
    """
    namespace ferrule {
    inline bool is_immortal(PyObject* object) noexcept {
    #ifdef Py_GIL_DISABLED
        return _Py_IsImmortal(object);
    #else
        return false;
    #endif
    }
    }
    """
    bint is_immortal "ferrule::is_immortal"(PyObject*) noexcept nogil


cdef inline Record* _begin_read_locked(Shard* shard) noexcept nogil:
    """Begins a read; without memory for the thread's first record it is one under the latch."""
    cdef Record* record = enter(&shard.readers)
    if record == NULL:
        shard.latch.lock()
    return record


cdef inline void _end_read_locked(Shard* shard, Record* record) noexcept nogil:
    if record == NULL:
        shard.latch.unlock()
    else:
        leave(record)


cdef inline bint _has_retired(Shard* shard) noexcept nogil:
    return seen(&shard.limbo.first) != NULL or seen(&shard.tables.outgrown) != NULL


cdef inline void _own(Shard* shard, PyObject* old, PyObject* old_key) noexcept:
    """After a section: what it displaced, or NULL, is the caller's alone; and what readers have left is released."""
    if WITH_GIL:
        return
    if old != NULL and is_immortal(old):
        old = NULL
    if old_key != NULL and is_immortal(old_key):
        old_key = NULL
    if (old != NULL or old_key != NULL) and not all_left(&shard.readers):
        _own_slow(shard, old, old_key)
    elif _has_retired(shard):
        release_all(_retire_locked(shard, NULL))


cdef void _own_slow(Shard* shard, PyObject* old, PyObject* old_key) noexcept:
    """A reader is suspended: it keeps what the table had."""
    cdef Retired* things = NULL
    if not _add_retired(&things, old) or not _add_retired(&things, old_key):
        # Without memory for the list, what was to be in it is the caller's when all have left.
        wait_for_readers(&shard.readers)
        release_all(things)
        things = NULL
    release_all(_retire_locked(shard, things))


cdef inline bint _add_retired(Retired** things, PyObject* object) noexcept nogil:
    """Adds to the list the reference that was the table's, and gives the caller one; False without memory."""
    cdef Retired* retired
    if object == NULL:
        return True
    retired = retired_object(object, things[0])
    if retired == NULL:
        return False
    retain(object)
    things[0] = retired
    return True


cdef Retired* _retire_locked(Shard* shard, Retired* things) noexcept nogil:
    """Keeps the things, and the tables that the shard has outgrown; gives what the caller is to release."""
    cdef Retired* outgrown
    shard.latch.lock()
    outgrown = shard.tables.outgrown
    publish(&shard.tables.outgrown, <Retired*>NULL)
    retire(&shard.readers, &shard.limbo, outgrown)
    retire(&shard.readers, &shard.limbo, things)
    things = ripe(&shard.readers, &shard.limbo)
    shard.latch.unlock()
    return things


cdef inline Table* _detach(Shard* shard, uint64_t thread) noexcept nogil:
    """Under the latch: takes the table out, with the one that replaces it; the shard is empty."""
    cdef Table* table = shard.tables.table
    publish(&shard.tables.table, &_placeholder)
    publish(&shard.tables.changed_by, thread)
    return table


cdef Table* _detach_locked(Shard* shard) noexcept nogil:
    cdef Table* table
    shard.latch.lock()
    table = _detach(shard, 0)
    shard.latch.unlock()
    return table


cdef void _drop_table(Table* table) noexcept:
    """Drops all references of a table that is nobody's any more, and frees it."""
    cdef size_t index
    cdef Slot* slot
    if table == NULL:
        return
    if table.live:
        for index in range(table.cleared):
            slot = visit_slot(table, index)
            if slot.key != NULL and not is_left_over(table, slot):
                drop(slot.key)
                drop(slot.value)
    free_table(table)


cdef void _drop_tables(Retired* retired) noexcept:
    """A table that was detached from its shard, and the one that was to replace it."""
    cdef Table* table = <Table*>retired
    cdef Table* next = table.next
    _drop_table(table)
    _drop_table(next)


cdef void _drop_detached(Shard* shard, Table* table) noexcept:
    """Drops all references of the table that was the shard's."""
    if not WITH_GIL and table.limit and not all_left(&shard.readers):
        table.retired.release = _drop_tables
        table.retired.next = NULL
        release_all(_retire_locked(shard, &table.retired))
    else:
        _drop_tables(&table.retired)
        _own(shard, NULL, NULL)


cdef void _empty(_Sharded self) noexcept:
    """Drops all that there is, entered or not."""
    cdef Py_ssize_t index
    for index in range(1 << self._bits):
        _drop_detached(_shard(self, index), _detach_locked(_shard(self, index)))


cdef int _collect(Shard* shard) except -1:
    """Releases all that is kept now."""
    if not WITH_GIL and _has_retired(shard):
        with nogil:
            wait_for_readers(&shard.readers)
        release_all(_retire_locked(shard, NULL))
    return 0


cdef object _call_inside(Shard* shard, object f):
    cdef Record* record = enter(&shard.readers)
    if record == NULL:
        raise MemoryError
    try:
        return f()
    finally:
        leave(record)


cdef int _traverse_limbo(Limbo* limbo, visitproc visit, void* arg) noexcept:
    cdef Retired* thing = limbo.first
    cdef int stopped = 0
    while thing != NULL and not stopped:
        if thing.release == release_object:
            stopped = visit((<RetiredObject*>thing).object, arg)
        elif thing.release == _drop_tables:
            stopped = _traverse_tables(<Table*>thing, visit, arg)
        thing = thing.next
    return stopped


def _in_child():
    forget_other_threads()


if not WITH_GIL and hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
