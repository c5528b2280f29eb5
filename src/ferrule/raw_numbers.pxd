"""Numbers as bytes: both orders of every width, and LEB128. No Python code, and no locks."""
from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #ifndef FERRULE_NUMBERS
    #define FERRULE_NUMBERS
    #include <cstdint>
    #include <cstring>
    namespace ferrule {
    inline uint16_t reversed(uint16_t bits) noexcept { return static_cast<uint16_t>(bits >> 8 | bits << 8); }
    inline uint32_t reversed(uint32_t bits) noexcept {
        return static_cast<uint32_t>(reversed(static_cast<uint16_t>(bits))) << 16 |
               reversed(static_cast<uint16_t>(bits >> 16));
    }
    inline uint64_t reversed(uint64_t bits) noexcept {
        return static_cast<uint64_t>(reversed(static_cast<uint32_t>(bits))) << 32 |
               reversed(static_cast<uint32_t>(bits >> 32));
    }

    template <class Bits, class Number> Number reversed_as(Number number) noexcept {
        static_assert(sizeof(Bits) == sizeof(Number), "");
        Bits bits;
        std::memcpy(&bits, &number, sizeof bits);
        bits = reversed(bits);
        std::memcpy(&number, &bits, sizeof bits);
        return number;
    }

    template <class Number> Number reversed_number(Number number) noexcept {
        if constexpr (sizeof(Number) == 2) return reversed_as<uint16_t>(number);
        else if constexpr (sizeof(Number) == 4) return reversed_as<uint32_t>(number);
        else return reversed_as<uint64_t>(number);
    }

    inline bool is_little() noexcept {
        const uint16_t one = 1;
        unsigned char first;
        std::memcpy(&first, &one, 1);
        return first == 1;
    }

    // memcpy() that calls nothing for the sizes that numbers have.
    inline void copy_few(void* to, const void* from, size_t n) noexcept {
        if (n == 4) std::memcpy(to, from, 4);
        else if (n == 2) std::memcpy(to, from, 2);
        else if (n == 1) std::memcpy(to, from, 1);
        else if (n == 8) std::memcpy(to, from, 8);
        else std::memcpy(to, from, n);
    }

    // From the machine's order to that one, or back.
    template <class Number> Number big(Number number) noexcept {
        return is_little() ? reversed_number(number) : number;
    }
    template <class Number> Number little(Number number) noexcept {
        return is_little() ? number : reversed_number(number);
    }
    }
    #endif
    """
    void copy_few "ferrule::copy_few"(void*, const void*, size_t) noexcept nogil
    T big "ferrule::big" [T](T) noexcept nogil
    T little "ferrule::little" [T](T) noexcept nogil

cdef enum:
    MOST_VARINT = 10        # bytes of a number of 64 bits


cdef inline int read_varint(const uint8_t* data, size_t length, uint64_t* number) noexcept nogil:
    """How many bytes the number at the beginning has; 0 if it is truncated, -1 if it is longer than it need be."""
    cdef size_t n
    number[0] = 0
    for n in range(min(length, <size_t>MOST_VARINT)):
        if n == MOST_VARINT - 1 and data[n] > 1:
            return -1
        number[0] |= <uint64_t>(data[n] & 0x7F) << (7 * n)
        if data[n] < 0x80:
            return <int>n + 1 if data[n] or n == 0 else -1
    return 0


cdef inline int write_varint(uint8_t* data, uint64_t number) noexcept nogil:
    """How many bytes it took, at most MOST_VARINT."""
    cdef int n = 0
    while number >= 0x80:
        data[n] = <uint8_t>(number | 0x80)
        number >>= 7
        n += 1
    data[n] = <uint8_t>number
    return n + 1


cdef inline uint64_t read_number(const uint8_t* data, int size, bint is_big) noexcept nogil:
    """The number that so many bytes make, at most 8."""
    cdef uint64_t number = 0
    cdef int n
    for n in range(size):
        number = number << 8 | data[n if is_big else size - 1 - n]
    return number
