"""Reads without a latch: what a writer has taken out is kept until nobody can still be looking at it.

Readers     those who look at one structure without its latch: a shard of a map
enter()     a thread says in its own record where it reads, and begins; leave() ends it
all_left()  whether nobody is inside any more, after a moment's wait; is_read() without it
Limbo       what was taken out while somebody was: under the latch of the structure

The idea is that of epochs (Fraser, Practical lock-freedom, 2004), with an era for each structure, which only a writer
that found a reader inside moves on. Each thread has a record, a cache line of its own, and all records can be walked.

Who enters stores the era, then the structure's address, into its record, and passes a full fence before it looks. Who
takes something out unlinks it and passes a full fence before looking at the records. So of the two one sees the other:
a reader that the writer does not find inside finds the thing unlinked. If nobody is inside, or those who are leave in a
moment, it is the writer's alone at once. Else a reader is suspended: the writer moves the era on and keeps the thing
with the number of the new one. A reader that has read that number, or a later one, came after the thing was unlinked.

Invariant: a thing of era E is released when all who are inside have entered in an era of E or later.

A read is a `noexcept nogil` function, called attached and with nothing in it that detaches, as a locked section is. So
it ends soon, and no thread is stopped or forked within one.

With the GIL all of this is nothing: nobody can look while another thread writes. Each module has records of its own.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from ferrule._core.atomics cimport publish
from ferrule._core.latch cimport yield_cpu
from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc
from ferrule._core.owned cimport drop

cdef extern from *:
    """
    #ifndef FERRULE_EPOCH
    #define FERRULE_EPOCH
    #include <cstdint>
    #include <new>
    namespace {     // of this module: the names must not be shared between extension modules
    namespace epoch {
    constexpr uint64_t NOBODY = UINT64_MAX;
    constexpr int PATIENCE = 20;        // pauses: a microsecond or less
    #ifdef Py_GIL_DISABLED
    struct Readers { ferrule::Atomic<uint64_t> era; };     // zero is the beginning

    struct alignas(128) Record {
        ferrule::Atomic<Readers*> where{nullptr};   // what its thread reads; NULL: nothing
        ferrule::Atomic<uint64_t> since{0};         // the era in which it entered there
        ferrule::Atomic<uint64_t> reads{0};         // how often it entered anywhere
        ferrule::Atomic<bool> taken{false};         // it is a thread's
    };

    // Records are never freed. A thread that ends gives its own back, so there are as many as threads at one time.
    constexpr int IN_A_BLOCK = 16;
    struct Block {
        Record records[IN_A_BLOCK];
        ferrule::Atomic<Block*> next{nullptr};
    };
    Block blocks;
    ferrule::Atomic<int> peak{0};       // the records before this one are or were taken

    // As the free lists find theirs: a pointer without a destructor, beside an object that has one.
    #ifdef __GLIBC__
    __attribute__((tls_model("initial-exec")))
    #endif
    thread_local Record* own = nullptr;

    // One block more; NULL without memory.
    inline Block* following(Block* block) noexcept {
        Block* next = block->next.load(std::memory_order_acquire);
        if (next != nullptr) return next;
        char* memory = static_cast<char*>(PyMem_RawMalloc(sizeof(Block) + alignof(Block)));
        if (memory == nullptr) return nullptr;
        char* aligned = memory + alignof(Block) - reinterpret_cast<uintptr_t>(memory) % alignof(Block);
        Block* fresh = new (aligned) Block;
        // Release pairs with the acquire of who walks: it sees the records as they begin.
        if (block->next.compare_exchange_strong(next, fresh, std::memory_order_acq_rel, std::memory_order_acquire))
            return fresh;
        PyMem_RawFree(memory);
        return next;
    }

    // This thread's record, from its first read on; NULL without memory.
    [[gnu::noinline]] Record* begin() noexcept {
        thread_local struct Kept {
            Record* record = nullptr;
            // Release pairs with the acquire of the thread that takes it next.
            ~Kept() { if (record != nullptr) record->taken.store(false, std::memory_order_release); }
        } kept;
        Block* block = &blocks;
        for (int index = 0;; index++) {
            if (index && index % IN_A_BLOCK == 0) block = following(block);
            if (block == nullptr) return nullptr;
            Record& record = block->records[index % IN_A_BLOCK];
            bool taken = false;
            if (!record.taken.compare_exchange_strong(
                    taken, true, std::memory_order_acquire, std::memory_order_relaxed)) continue;
            int before = peak.load(std::memory_order_relaxed);
            // Before the fence of enter(), so that who walks sees it or is seen.
            while (before <= index && !peak.compare_exchange_strong(
                before, index + 1, std::memory_order_release, std::memory_order_relaxed)) {}
            own = kept.record = &record;
            return &record;
        }
    }

    inline Record* enter(Readers* readers) noexcept {
        Record* record = own;
        if (record == nullptr && (record = begin()) == nullptr) return nullptr;
        // Acquire pairs with the release in advance(): who has read the era finds unlinked what was unlinked before.
        record->since.store(readers->era.load(std::memory_order_acquire), std::memory_order_relaxed);
        // Release pairs with the acquire in all_left(), as that of `where`.
        record->reads.store(record->reads.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        // Release pairs with the acquire in oldest(): who sees that this read has begun sees that the last has ended.
        record->where.store(readers, std::memory_order_release);
        ferrule::full_fence();          // with the one in oldest(); see above
        return record;
    }

    inline void leave(Record* record) noexcept { record->where.store(nullptr, std::memory_order_release); }

    // The era of whoever has been inside for longest; NOBODY.
    inline uint64_t oldest(Readers* readers) noexcept {
        uint64_t found = NOBODY;
        ferrule::full_fence();
        int left = peak.load(std::memory_order_acquire);
        for (Block* block = &blocks; left > 0; block = block->next.load(std::memory_order_acquire))
            for (Record* record = block->records; record != block->records + IN_A_BLOCK && left-- > 0; record++)
                if (record->where.load(std::memory_order_acquire) == readers) {
                    // If this is of a later read than `where`, the one that was seen has ended.
                    uint64_t since = record->since.load(std::memory_order_relaxed);
                    if (since < found) found = since;
                }
        return found;
    }

    // Whether all who were inside have left. One in the middle of a read is waited for; one that is suspended is not.
    inline bool all_left(Readers* readers) noexcept {
        int patience = PATIENCE;
        ferrule::full_fence();
        int left = peak.load(std::memory_order_acquire);
        for (Block* block = &blocks; left > 0; block = block->next.load(std::memory_order_acquire))
            for (Record* record = block->records; record != block->records + IN_A_BLOCK && left-- > 0; record++) {
                if (record->where.load(std::memory_order_acquire) != readers) continue;
                uint64_t read = record->reads.load(std::memory_order_acquire);
                while (record->where.load(std::memory_order_acquire) == readers &&
                       record->reads.load(std::memory_order_acquire) == read) {
                    if (patience-- == 0) return false;
                    ferrule::spin_pause();
                }
            }
        return true;
    }

    // The number of a new era.
    inline uint64_t advance(Readers* readers) noexcept {
        return readers->era.fetch_add(1, std::memory_order_acq_rel) + 1;
    }

    // In the child of a fork(): the threads of the other records are gone. None was inside.
    inline void reset() noexcept {
        int left = peak.load(std::memory_order_relaxed);
        for (Block* block = &blocks; left > 0; block = block->next.load(std::memory_order_relaxed))
            for (Record* record = block->records; record != block->records + IN_A_BLOCK && left-- > 0; record++)
                if (record != own) record->taken.store(false, std::memory_order_relaxed);
    }

    // For tests: how many records there are, and how many of them threads have.
    inline int count(int* taken) noexcept {
        int all = peak.load(std::memory_order_acquire), left = all;
        for (Block* block = &blocks; left > 0; block = block->next.load(std::memory_order_acquire))
            for (Record* record = block->records; record != block->records + IN_A_BLOCK && left-- > 0; record++)
                *taken += record->taken.load(std::memory_order_relaxed);
        return all;
    }
    #else
    struct Readers {};
    struct Record {} only;
    inline Record* enter(Readers*) noexcept { return &only; }
    inline void leave(Record*) noexcept {}
    inline uint64_t oldest(Readers*) noexcept { return NOBODY; }
    inline bool all_left(Readers*) noexcept { return true; }
    inline uint64_t advance(Readers*) noexcept { return 0; }
    inline void reset() noexcept {}
    inline int count(int*) noexcept { return 0; }
    #endif
    }
    }
    #endif
    """
    cdef cppclass Readers "epoch::Readers":
        pass
    cdef cppclass Record "epoch::Record":
        pass
    const uint64_t NOBODY "epoch::NOBODY"
    Record* enter "epoch::enter"(Readers*) noexcept nogil       # NULL without memory: read under the latch
    void leave "epoch::leave"(Record*) noexcept nogil
    uint64_t oldest "epoch::oldest"(Readers*) noexcept nogil
    bint all_left "epoch::all_left"(Readers*) noexcept nogil
    uint64_t advance "epoch::advance"(Readers*) noexcept nogil
    int count_records "epoch::count"(int* taken) noexcept nogil
    void forget_other_threads "epoch::reset"() noexcept nogil


cdef struct Retired         # something that was taken out while somebody might be looking at it

ctypedef void (*release_t)(Retired*) noexcept

cdef struct Retired:        # the first field of the thing, or of what leads to it
    Retired* next
    uint64_t era
    release_t release       # what becomes of it, and of the memory that this is in; may run Python

cdef struct RetiredObject:
    Retired retired
    PyObject* object        # a reference

cdef struct Limbo:          # under the latch, in the order of the eras; all zero is empty
    Retired* first          # by publish(), so that anybody may look whether there is one
    Retired* last


cdef inline bint is_read(Readers* readers) noexcept nogil:
    """Whether anybody is inside, who may see what was unlinked before this call."""
    return oldest(readers) != NOBODY


cdef inline void release_object(Retired* retired) noexcept:
    cdef PyObject* object = (<RetiredObject*>retired).object
    PyMem_Free(retired)
    drop(object)


cdef inline Retired* retired_object(PyObject* object, Retired* next) noexcept nogil:
    """A list with one more reference, which moves in; NULL without memory."""
    cdef RetiredObject* retired = <RetiredObject*>PyMem_Malloc(sizeof(RetiredObject))
    if retired == NULL:
        return NULL
    retired.retired.next = next
    retired.retired.release = release_object
    retired.object = object
    return &retired.retired


cdef inline void retire(Readers* readers, Limbo* limbo, Retired* things) noexcept nogil:
    """Under the latch, after they were unlinked: keeps the things, a list that may be empty, in a new era."""
    cdef uint64_t era
    if things == NULL:
        return
    era = advance(readers)
    if limbo.last == NULL:
        publish(&limbo.first, things)
    else:
        limbo.last.next = things
    while things != NULL:
        things.era = era
        limbo.last = things
        things = things.next


cdef inline Retired* ripe(Readers* readers, Limbo* limbo) noexcept nogil:
    """Under the latch: takes out, as a list, what nobody can be looking at any more. The caller releases it after."""
    cdef Retired* first = limbo.first
    cdef Retired* last = NULL
    cdef Retired* rest = first
    cdef uint64_t era
    if first == NULL:
        return NULL
    era = oldest(readers)
    while rest != NULL and rest.era <= era:
        last = rest
        rest = rest.next
    if last == NULL:
        return NULL
    last.next = NULL
    publish(&limbo.first, rest)
    if rest == NULL:
        limbo.last = NULL
    return first


cdef inline void release_all(Retired* things) noexcept:
    """With nothing held: destructors may call back."""
    cdef Retired* thing
    while things != NULL:
        thing = things
        things = thing.next
        thing.release(thing)


cdef inline void wait_for_readers(Readers* readers) noexcept nogil:
    """Returns when all have left who were inside when it was called: a few instructions, unless one is suspended."""
    cdef uint64_t era = advance(readers)
    while oldest(readers) < era:
        yield_cpu()
