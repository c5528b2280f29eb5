"""The latch: the short internal lock of one object, held for a few instructions.

Without the GIL a bounded spin, then a spin that gives the CPU away. With the GIL it compiles to nothing: a locked
section cannot lose the GIL, because it is a `noexcept nogil` function, so free of Python code, that is called with the
GIL held.

Whoever holds a latch, or waits for one, stays attached to the interpreter. So no thread is stopped, and none ends with
the interpreter, while it holds one: a latch is free in the child of a fork(), which stops all threads first, and at
exit. (PyMutex detaches a thread that waits for long and may hand it the lock while it is detached.)

Only functions named `*_locked` may lock a latch, and latches never nest.
"""
from ferrule._core.atomics cimport Atomic  # noqa: F401 (for the C++ below)


cdef extern from *:
    """
    #ifndef FERRULE_LATCH
    #define FERRULE_LATCH
    #include <thread>
    namespace ferrule {
    inline void spin_pause() noexcept {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }
    #ifdef Py_GIL_DISABLED
    constexpr bool WITH_GIL = false;
    class Latch {
        Atomic<bool> held_{false};
        // Whoever waits looks less and less often, so that the holder's next section finds the flag in its own cache.
        static constexpr int MOST_PAUSES = 32;

        void lock_slow() noexcept {
            for (int pauses = 1;;) {
                for (int pause = 0; pause < pauses; pause++) spin_pause();
                if (!held_.load(std::memory_order_relaxed) && !held_.exchange(true, std::memory_order_acquire)) return;
                if (pauses < MOST_PAUSES) pauses *= 2;
                else std::this_thread::yield();
            }
        }
    public:
        // Acquire pairs with the release in unlock().
        void lock() noexcept { if (held_.exchange(true, std::memory_order_acquire)) lock_slow(); }
        void unlock() noexcept { held_.store(false, std::memory_order_release); }
    };
    #else
    constexpr bool WITH_GIL = true;
    class Latch {
    public:
        void lock() noexcept {}
        void unlock() noexcept {}
    };
    #endif
    }
    #endif
    """
    cdef cppclass Latch "ferrule::Latch":
        void lock() noexcept nogil
        void unlock() noexcept nogil

    void spin_pause "ferrule::spin_pause"() noexcept nogil
    void yield_cpu "std::this_thread::yield"() noexcept nogil
    const bint WITH_GIL "ferrule::WITH_GIL"
