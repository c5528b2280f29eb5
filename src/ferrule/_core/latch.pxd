"""The latch: the short internal lock of one object, held for a few instructions.

Without the GIL it is a flag; who finds it set comes back a little later. With the GIL it compiles to nothing: a locked
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
    #include <chrono>
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
        // Who finds it held comes back after 32 ns, and each time that this happens after twice as long, up to 2 us:
        // meanwhile the other thread has many sections. If both came as soon as they could, each section would begin
        // by fetching the flag, and what it guards, from the other one's cache.
        static constexpr std::chrono::nanoseconds SHORTEST{32};
        static constexpr unsigned char MOST_DOUBLINGS = 6;

        Atomic<bool> held_{false};
        Atomic<unsigned char> doublings_{0};    // written by who holds it

        void lock_slow() noexcept {
            auto doublings = doublings_.load(std::memory_order_relaxed);
            for (bool again = false;; again = true) {
                auto end = std::chrono::steady_clock::now() + SHORTEST * (1 << doublings);
                do spin_pause(); while (std::chrono::steady_clock::now() < end);
                if (!held_.load(std::memory_order_relaxed) && !held_.exchange(true, std::memory_order_acquire)) break;
                if (again) std::this_thread::yield();
            }
            if (doublings < MOST_DOUBLINGS) doublings_.store(doublings + 1, std::memory_order_relaxed);
        }
    public:
        // Acquire pairs with the release in unlock().
        void lock() noexcept { if (held_.exchange(true, std::memory_order_acquire)) lock_slow(); }
        void unlock() noexcept { held_.store(false, std::memory_order_release); }
        // By who holds it, and is about to wait for somebody's section: let that one come back soon.
        void hurry() noexcept { doublings_.store(0, std::memory_order_relaxed); }
    };
    #else
    constexpr bool WITH_GIL = true;
    class Latch {
    public:
        void lock() noexcept {}
        void unlock() noexcept {}
        void hurry() noexcept {}
    };
    #endif
    }
    #endif
    """
    cdef cppclass Latch "ferrule::Latch":
        void lock() noexcept nogil
        void unlock() noexcept nogil
        void hurry() noexcept nogil

    void spin_pause "ferrule::spin_pause"() noexcept nogil
    void yield_cpu "std::this_thread::yield"() noexcept nogil
    const bint WITH_GIL "ferrule::WITH_GIL"
