"""Where atomics come from: the only file that knows.

Atomic[T]   atomic on every build, for what is read by a thread that has given up the GIL.
Shared[T]   atomic where there is no GIL; a plain field where the GIL makes each access atomic already.
            Never touch one inside `with nogil:`.
seen()      an acquire load of a plain field that is changed under a latch, by who looks without it; and publish(),
            the release store that it pairs with. Plain accesses with the GIL. Who has the latch may load plainly.
"""

cdef extern from *:
    """
    #ifndef FERRULE_ATOMICS
    #define FERRULE_ATOMICS
    #include <atomic>
    #include <utility>
    namespace ferrule {
    template <class T> using Atomic = std::atomic<T>;
    #ifdef Py_GIL_DISABLED
    template <class T> using Shared = std::atomic<T>;

    // What C++20 calls an atomic_ref.
    template <class T> inline std::atomic<T>& atomic_at(T* field) noexcept {
        static_assert(sizeof(std::atomic<T>) == sizeof(T) && std::atomic<T>::is_always_lock_free);
        return *reinterpret_cast<std::atomic<T>*>(field);
    }
    template <class T> inline T seen(T* field) noexcept { return atomic_at(field).load(std::memory_order_acquire); }
    template <class T> inline void publish(T* field, T value) noexcept {
        atomic_at(field).store(value, std::memory_order_release);
    }
    inline void full_fence() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }
    #else
    template <class T> inline T seen(T* field) noexcept { return *field; }
    template <class T> inline void publish(T* field, T value) noexcept { *field = value; }

    template <class T> class Shared {
        T value_;
    public:
        T load(std::memory_order) const noexcept { return value_; }
        void store(T value, std::memory_order) noexcept { value_ = value; }
        T exchange(T value, std::memory_order) noexcept { return std::exchange(value_, value); }
        T fetch_add(T n, std::memory_order) noexcept { T old = value_; value_ += n; return old; }
        bool compare_exchange_strong(T& expected, T value, std::memory_order, std::memory_order) noexcept {
            if (value_ == expected) { value_ = value; return true; }
            expected = value_;
            return false;
        }
    };
    #endif
    }
    #endif
    """
    cdef enum memory_order "std::memory_order":
        relaxed "std::memory_order_relaxed"
        acquire "std::memory_order_acquire"
        release "std::memory_order_release"
        acq_rel "std::memory_order_acq_rel"
        seq_cst "std::memory_order_seq_cst"

    cdef cppclass Atomic "ferrule::Atomic" [T]:
        T load(memory_order) noexcept nogil
        void store(T, memory_order) noexcept nogil
        T exchange(T, memory_order) noexcept nogil
        bint compare_exchange_strong(T&, T, memory_order, memory_order) noexcept nogil

    cdef cppclass Shared "ferrule::Shared" [T]:
        T load(memory_order) noexcept nogil
        void store(T, memory_order) noexcept nogil
        T exchange(T, memory_order) noexcept nogil
        T fetch_add(T, memory_order) noexcept nogil
        bint compare_exchange_strong(T&, T, memory_order, memory_order) noexcept nogil

    T seen "ferrule::seen"[T](T* field) noexcept nogil
    void publish "ferrule::publish"[T](T* field, T value) noexcept nogil
