"""Free lists: the memory of small objects that live for one operation, kept for the next one of their class.

Each module has its own, of at most 6 classes and 32 dead objects each; without the GIL each thread has. They stand in
the class's tp_alloc and tp_free, so that Cython's constructors and destructors use them. (Cython's own `freelist` is
compiled out without the GIL and refused for classes with a base.)

A thread that ends cannot free objects: it has no thread state any more. It pushes its list, whole, onto one that all
threads share, and a thread whose own list is empty takes that, whole: two atomic instructions, and no ABA.
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
    constexpr int CLASSES = 6;
    #ifdef __SANITIZE_ADDRESS__
    constexpr int KEPT = 0;     // so that it sees every use of a freed object
    #else
    constexpr int KEPT = 32;
    #endif

    struct Class {
        PyTypeObject* type;
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

    struct Lists {
        PyObject* first[CLASSES] = {};
        int length[CLASSES] = {};

        void adopt(int index) noexcept {
            // Acquire pairs with the release in ~Lists().
            PyObject* dead = classes[index].orphans.exchange(nullptr, std::memory_order_acquire);
            first[index] = dead;
            for (; dead != nullptr; dead = next(dead)) length[index]++;
        }
    #ifdef Py_GIL_DISABLED
        ~Lists() {
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
    thread_local Lists lists;
    #else
    Lists lists;
    #endif

    // Zeroed and initialised, and unknown to the collector.
    PyObject* make(PyTypeObject* type) noexcept {
        int index = index_of(type);
        Lists& mine = lists;
        if (mine.first[index] == nullptr && classes[index].orphans.load(std::memory_order_relaxed) != nullptr)
            mine.adopt(index);
        PyObject* object = mine.first[index];
        if (object != nullptr) {
            mine.first[index] = next(object);
            mine.length[index]--;
            PyObject_Init(object, type);
        } else {
            object = PyType_IS_GC(type) ? PyObject_GC_New(PyObject, type) : PyObject_New(PyObject, type);
            if (object == nullptr) return nullptr;
        }
        std::memset(static_cast<void*>(object + 1), 0, type->tp_basicsize - sizeof(PyObject));
        return object;
    }

    PyObject* alloc(PyTypeObject* type, Py_ssize_t) noexcept {
        PyObject* object = make(type);
        if (object != nullptr && PyType_IS_GC(type)) PyObject_GC_Track(object);
        return object;
    }

    void free(void* memory) noexcept {
        PyObject* object = static_cast<PyObject*>(memory);
        int index = index_of(Py_TYPE(object));
        Lists& mine = lists;
        if (mine.length[index] < KEPT) {
            next(object) = mine.first[index];
            mine.first[index] = object;
            mine.length[index]++;
        } else if (PyType_IS_GC(Py_TYPE(object))) PyObject_GC_Del(object);
        else PyObject_Free(object);
    }

    inline void recycle(PyTypeObject* type) noexcept {
        classes[index_of(nullptr)].type = type;
        type->tp_alloc = alloc;
        type->tp_free = free;
        PyType_Modified(type);
    }
    }
    }
    #endif
    """
    ctypedef struct PyTypeObject
    void _recycle "freelist::recycle"(PyTypeObject* cls) noexcept
    PyObject* _make "freelist::make"(PyTypeObject* cls) noexcept


cdef inline void recycle(type cls) noexcept:
    """Keeps dead objects of the class for new ones; once for a class, when its module is initialised."""
    _recycle(<PyTypeObject*>cls)


cdef inline PyObject* new_untracked(type cls) noexcept:
    """A new object of a recycled class, past its constructor: its fields are zero, and the collector does not see it.

    NULL with an exception set without memory.
    """
    return _make(<PyTypeObject*>cls)
