"""Free lists: the memory of small objects that live for one operation, kept for the next one of their class.

Each module has its own, of at most 8 classes and 32 dead objects each; without the GIL each thread has. They stand in
the class's tp_alloc and tp_free, so that Cython's constructors and destructors use them. (Cython's own `freelist` is
compiled out without the GIL and refused for classes with a base.)

A thread that ends cannot free objects: it has no thread state any more. It pushes its list, whole, onto one that all
threads share, and a thread whose own list is empty takes that, whole: two atomic instructions, and no ABA.

Without the GIL a collection takes each object that it knows for one of the thread whose memory it lies in. If another
thread drops it last, it is destroyed by that one, as soon as that runs Python code: never, if it waits. So for the
collector's objects a thread keeps only memory of its own; what an ended thread left of such is freed.
"""
from cpython.object cimport PyObject

from ferrule._core.atomics cimport Shared  # noqa: F401 (for the C++ below)

cdef extern from *:
    """
    #ifndef FERRULE_FREELIST
    #define FERRULE_FREELIST
    #include <cstring>
    namespace {     // of this module: the names must not be shared between extension modules
    namespace freelist {
    constexpr int CLASSES = 8;
    #ifdef __SANITIZE_ADDRESS__
    constexpr int KEPT = 0;     // so that it sees every use of a freed object
    #else
    constexpr int KEPT = 32;
    #endif

    struct Class {
        PyTypeObject* type;
        bool untracked;     // its objects in the lists, and those that tp_alloc gives
        ferrule::Shared<PyObject*> orphans;     // what ended threads left; see above
    };
    Class classes[CLASSES];

    inline int index_of(PyTypeObject* type) noexcept {
        int index = 0;
        while (classes[index].type != type) index++;
        return index;
    }

    // The word behind a dead object's head links it to the next one.
    inline PyObject*& next(PyObject* dead) noexcept { return *reinterpret_cast<PyObject**>(dead + 1); }

    // Without the GIL the collector counts what is made for it, tracked or not, and walks over all of that; so what it
    // need not know is made elsewhere. With the GIL an object of a class that it knows has a head for it anyway.
    inline bool is_for_collector(PyTypeObject* type, int index) noexcept {
    #ifdef Py_GIL_DISABLED
        if (classes[index].untracked) return false;
    #endif
        return PyType_IS_GC(type);
    }

    // Whether its memory may be kept here. What has been this thread's alone lies in this thread's memory, as long as
    // the lists keep nothing else.
    inline bool may_keep(PyObject* dead, int index) noexcept {
    #ifdef Py_GIL_DISABLED
        return !is_for_collector(Py_TYPE(dead), index) || _Py_IsOwnedByCurrentThread(dead);
    #else
        return true;
    #endif
    }

    struct Lists {
        PyObject* first[CLASSES] = {};
        int length[CLASSES] = {};

        void adopt(int index) noexcept {
            // Acquire pairs with the release in leave().
            PyObject* dead = classes[index].orphans.exchange(nullptr, std::memory_order_acquire);
            if (is_for_collector(classes[index].type, index)) {
                while (dead != nullptr) {
                    PyObject* following = next(dead);
                    PyObject_GC_Del(dead);
                    dead = following;
                }
                return;
            }
            first[index] = dead;
            for (; dead != nullptr; dead = next(dead)) length[index]++;
        }
    #ifdef Py_GIL_DISABLED
        void leave() noexcept {
            for (int index = 0; index < CLASSES; index++) {
                PyObject* last = first[index];
                if (last == nullptr) continue;
                while (next(last) != nullptr) last = next(last);
                ferrule::Shared<PyObject*>& orphans = classes[index].orphans;
                PyObject* head = orphans.load(std::memory_order_relaxed);
                do next(last) = head;
                while (!orphans.compare_exchange_strong(
                    head, first[index], std::memory_order_release, std::memory_order_relaxed));
                first[index] = nullptr;
                length[index] = KEPT;   // nothing more is kept
            }
        }
    #endif
    };
    #ifdef Py_GIL_DISABLED
    // A variable of a thread is found by a call, and if it has a destructor each use of it asks first whether that is
    // known. So the pointer has none, and lies where glibc finds it without a call, in the room that it keeps for such.
    #ifdef __GLIBC__
    __attribute__((tls_model("initial-exec")))
    #endif
    thread_local Lists* own = nullptr;

    [[gnu::noinline]] Lists& begin() noexcept {
        thread_local struct Kept {
            Lists lists;
            ~Kept() { lists.leave(); }
        } kept;
        own = &kept.lists;
        return kept.lists;
    }

    inline Lists& lists() noexcept { return own != nullptr ? *own : begin(); }
    #else
    Lists all;
    inline Lists& lists() noexcept { return all; }
    #endif

    // Initialised, untracked, and with fields that hold anything.
    PyObject* make(PyTypeObject* type) noexcept {
        int index = index_of(type);
        Lists& mine = lists();
        if (mine.first[index] == nullptr && classes[index].orphans.load(std::memory_order_relaxed) != nullptr)
            mine.adopt(index);
        PyObject* object = mine.first[index];
        if (object == nullptr)
            return is_for_collector(type, index) ? PyObject_GC_New(PyObject, type) : PyObject_New(PyObject, type);
        mine.first[index] = next(object);
        mine.length[index]--;
        return PyObject_Init(object, type);
    }

    PyObject* alloc(PyTypeObject* type, Py_ssize_t) noexcept {
        PyObject* object = make(type);
        if (object == nullptr) return nullptr;
        std::memset(static_cast<void*>(object + 1), 0, type->tp_basicsize - sizeof(PyObject));
        if (PyType_IS_GC(type) && !classes[index_of(type)].untracked) PyObject_GC_Track(object);
        return object;
    }

    void free(void* memory) noexcept {
        PyObject* object = static_cast<PyObject*>(memory);
        int index = index_of(Py_TYPE(object));
        Lists& mine = lists();
        if (mine.length[index] < KEPT && may_keep(object, index)) {
            next(object) = mine.first[index];
            mine.first[index] = object;
            mine.length[index]++;
        } else if (is_for_collector(Py_TYPE(object), index)) PyObject_GC_Del(object);
        else PyObject_Free(object);
    }

    inline void recycle(PyTypeObject* type, bool untracked) noexcept {
        Class& mine = classes[index_of(nullptr)];
        mine.type = type;
        mine.untracked = untracked;
        type->tp_alloc = alloc;
        type->tp_free = free;
        PyType_Modified(type);
    }
    }
    }
    #endif
    """
    ctypedef struct PyTypeObject
    void _recycle "freelist::recycle"(PyTypeObject* cls, bint untracked) noexcept
    PyObject* _make "freelist::make"(PyTypeObject* cls) noexcept
    PyObject* PyObject_GC_New "_PyObject_GC_New"(PyTypeObject* cls) noexcept


cdef inline void recycle(type cls) noexcept:
    """Keeps dead objects of the class for new ones; once for a class, when its module is initialised."""
    _recycle(<PyTypeObject*>cls, False)


cdef inline void recycle_untracked(type cls) noexcept:
    """The same for a class whose objects the collector need not know, but for those of new_tracked()."""
    _recycle(<PyTypeObject*>cls, True)


cdef inline PyObject* new_untracked(type cls) noexcept:
    """A new object of a recycled class, past its constructor, that the collector does not see. NULL without memory.

    Its fields hold anything: the caller sets each of them.
    """
    return _make(<PyTypeObject*>cls)


cdef inline PyObject* new_tracked(type cls) noexcept:
    """The same, but PyObject_GC_Track() may be called for it; then it ends by PyObject_GC_Del() and is not recycled."""
    return PyObject_GC_New(<PyTypeObject*>cls)
