"""The latch: the short internal lock of one object, held for a few instructions.

Without the GIL a bounded spin, then PyMutex (whose own contended path costs microseconds of system time).
With the GIL it compiles to nothing: a locked section cannot lose the GIL, because it is a `noexcept nogil` function,
so free of Python code, that is called with the GIL held.

Only functions named `*_locked` may lock a latch, and latches never nest.

A latch needs no care after fork(): the interpreter stops all threads first, and none stops while it holds a latch.
"""

cdef extern from *:
    """
    #ifndef FERRULE_LATCH
    #define FERRULE_LATCH
    namespace ferrule {
    inline void spin_pause() noexcept {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }
    #ifdef Py_GIL_DISABLED
    class Latch {
        PyMutex mutex_{};
        static constexpr int SPINS = 100;

        bool try_lock() noexcept {
            uint8_t unlocked = 0;
            return _Py_atomic_compare_exchange_uint8(&mutex_._bits, &unlocked, 1);
        }
        void lock_slow() noexcept {
            for (int i = 0; i < SPINS; i++) {
                if (_Py_atomic_load_uint8_relaxed(&mutex_._bits) == 0 && try_lock()) return;
                spin_pause();
            }
            PyMutex_Lock(&mutex_);
        }
    public:
        void lock() noexcept { if (!try_lock()) lock_slow(); }
        void unlock() noexcept { PyMutex_Unlock(&mutex_); }
    };
    #else
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
