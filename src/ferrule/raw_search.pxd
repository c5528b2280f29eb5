"""Searching in bytes: quick in what is usual, and linear whatever it searches, but for find_last().

No Python code, and no locks.
"""

cdef extern from *:
    """
    #ifndef FERRULE_SEARCH
    #define FERRULE_SEARCH
    #include <algorithm>
    #include <cstdint>
    #include <cstring>
    namespace ferrule {
    inline Py_ssize_t first_byte(const char* in, Py_ssize_t length, char byte) noexcept {
        const void* found = std::memchr(in, static_cast<unsigned char>(byte), length);
        return found == nullptr ? -1 : static_cast<const char*>(found) - in;
    }

    inline Py_ssize_t last_byte(const char* in, Py_ssize_t length, char byte) noexcept {
    #ifdef __linux__
        const void* found = memrchr(in, static_cast<unsigned char>(byte), length);
        return found == nullptr ? -1 : static_cast<const char*>(found) - in;
    #else
        while (--length >= 0 && in[length] != byte) {}
        return length;
    #endif
    }

    // A set of bytes that may say yes to others.
    inline uint64_t bit_of(char byte) noexcept { return uint64_t{1} << (byte & 63); }

    constexpr Py_ssize_t PATIENCE = 1;      // hits of a byte that lead nowhere; see search()
    constexpr Py_ssize_t LONG = 32;         // of a needle, and how many times longer what it is looked for in must be
    constexpr int LANES = 64;               // places that are looked at at once

    // Whether one of those from `in` on may be the needle's, by its first byte, its last, and one between them. A
    // compiler makes vectors of it.
    inline bool any_likely(const char* in, const char* needle, Py_ssize_t middle, Py_ssize_t last) noexcept {
        const char first = *needle, inside = needle[middle], end = needle[last];
        unsigned char any = 0;
        for (int n = 0; n < LANES; n++) any |= (in[n] == first) & (in[middle + n] == inside) & (in[last + n] == end);
        return any != 0;
    }

    // How many bytes are the same in both, from the beginning on.
    inline Py_ssize_t in_common(const char* one, const char* other, Py_ssize_t size) noexcept {
        Py_ssize_t same = 0;
        while (same < size && one[same] == other[same]) same++;
        return same;
    }

    // The two-way algorithm of Crochemore and Perrin ("Two-way string-matching", Journal of the ACM 38, 1991), and in
    // front of it a table like Horspool's, by the last two bytes of a place. Linear, and quick if the needle is long.
    class TwoWay {
        const char* needle_;
        Py_ssize_t size_;
        Py_ssize_t cut_;        // right of it a place is compared forwards, then left of it backwards
        Py_ssize_t period_;     // how far one may go on where all that is right of the cut is there
        bool periodic_;         // that is the needle's period: then so much of the next place is known to be there
        unsigned char shift_[256];      // by two bytes: how far the needle's last such two are from its end, or less
        Py_ssize_t gap_;        // how far those before its last two are from them

        static unsigned char two(const char* in) noexcept {
            return static_cast<unsigned char>(in[1] + 8 * static_cast<unsigned char>(in[0]));
        }

        // Where the largest of its suffixes begins, by the order of bytes or by the reverse, and the period of that.
        Py_ssize_t maximal_suffix(bool reverse, Py_ssize_t* period) const noexcept {
            Py_ssize_t begin = 0, other = 1, same = 0;      // two suffixes, and how many bytes they have in common
            *period = 1;
            while (other + same < size_) {
                unsigned char one = needle_[begin + same], byte = needle_[other + same];
                if (one == byte) {
                    if (++same == *period) {
                        other += same;
                        same = 0;
                    }
                } else if ((one < byte) == reverse) {
                    other += same + 1;
                    same = 0;
                    *period = other - begin;
                } else {
                    begin = other;
                    other = begin + 1;
                    same = 0;
                    *period = 1;
                }
            }
            return begin;
        }
    public:
        TwoWay(const char* needle, Py_ssize_t size) noexcept : needle_(needle), size_(size), gap_(size - 1) {
            Py_ssize_t other, second;
            cut_ = maximal_suffix(false, &period_);
            second = maximal_suffix(true, &other);
            if (second > cut_) {
                cut_ = second;
                period_ = other;
            }
            periodic_ = std::memcmp(needle, needle + period_, cut_) == 0;
            if (!periodic_) period_ = std::max(cut_, size - cut_) + 1;
            std::memset(shift_, static_cast<int>(std::min<Py_ssize_t>(size - 1, 255)), 256);
            for (Py_ssize_t n = std::max<Py_ssize_t>(size - 257, 0); n < size - 1; n++) {
                unsigned char& shift = shift_[two(needle + n)];
                if (n == size - 2) gap_ = shift;
                shift = static_cast<unsigned char>(size - 2 - n);
            }
        }

        // The first place from `at` on, or `places`, their number.
        Py_ssize_t find(const char* in, Py_ssize_t at, Py_ssize_t places) const noexcept {
            const char* ends = in + size_ - 2;
            Py_ssize_t known = 0;       // how many bytes of this place are known to be the needle's
            while (at < places) {
                if (Py_ssize_t further = shift_[two(ends + at)]) {
                    at += std::max(further, known - cut_ + 1);      // what is known does not suffice for less
                    known = 0;
                    continue;
                }
                Py_ssize_t n = std::max(cut_, known);
                while (n < size_ && needle_[n] == in[at + n]) n++;
                if (n < size_) {
                    at += std::max(n - cut_ + 1, gap_);
                    known = 0;
                    continue;
                }
                n = cut_;
                while (n > known && needle_[n - 1] == in[at + n - 1]) n--;
                if (n <= known) return at;
                at += period_;
                known = periodic_ ? size_ - period_ : 0;
            }
            return places;
        }
    };

    // The first place of a needle of at least 2 bytes, or -1; or how often it is there, without overlaps.
    //
    // Its first byte is looked for, which is the fastest of all searches, until it turns out to be there too often;
    // then its last byte, likewise; then both and one between them, at 64 places at once. Should that lead to many
    // comparisons in vain, as in data that repeats itself, the two-way algorithm does the rest; for a long needle in
    // much data it does so at once.
    template <bool counts>
    Py_ssize_t search(const char* in, Py_ssize_t length, const char* needle, Py_ssize_t size) noexcept {
        const Py_ssize_t places = length - size + 1, last = size - 1;
        Py_ssize_t at = 0, count = 0;
        for (Py_ssize_t offset : {Py_ssize_t{0}, last}) {
            Py_ssize_t patience = PATIENCE;
            while (at < places && patience >= 0) {
                Py_ssize_t skipped = first_byte(in + at + offset, places - at, needle[offset]);
                if (skipped < 0) return counts ? count : -1;
                at += skipped;
                Py_ssize_t same = in_common(in + at, needle, size);
                patience += skipped / 32 - 1;
                if (same < size) {
                    at++;
                    patience -= same / 32;
                } else if (!counts) return at;
                else {
                    count++;
                    at += size;
                }
            }
        }
        const Py_ssize_t middle = size / 2;
        Py_ssize_t effort = size >= LONG && length / LONG >= size ? PY_SSIZE_T_MAX : -64 - 2 * size;
        while (at < places && effort <= at) {
            if (at + LANES <= places && !any_likely(in + at, needle, middle, last)) {
                at += LANES;
                continue;
            }
            for (Py_ssize_t end = std::min(at + LANES, places); at < end;) {
                if (in[at] != *needle || in[at + last] != needle[last]) {
                    at++;
                    continue;
                }
                Py_ssize_t same = in_common(in + at, needle, size);
                if (same < size) {
                    at++;
                    effort += 4 + same;
                } else if (!counts) return at;
                else {
                    count++;
                    at += size;
                    end = std::min(at + LANES, places);
                }
            }
        }
        if (at < places) {
            TwoWay rest(needle, size);
            while ((at = rest.find(in, at, places)) < places) {
                if (!counts) return at;
                count++;
                at += size;
            }
        }
        return counts ? count : -1;
    }

    // The first place of the needle, or -1. An empty needle is at 0.
    inline Py_ssize_t find_first(const char* in, Py_ssize_t length, const char* needle, Py_ssize_t size) noexcept {
        if (size == 0) return 0;
        if (size > length) return -1;
        return size == 1 ? first_byte(in, length, *needle) : search<false>(in, length, needle, size);
    }

    // The last place of the needle, or -1. An empty needle is at the end. As search(), from the end.
    inline Py_ssize_t find_last(const char* in, Py_ssize_t length, const char* needle, Py_ssize_t size) noexcept {
        if (size == 0) return length;
        const Py_ssize_t last = size - 1;
        Py_ssize_t end = length - last;
        for (Py_ssize_t offset : {Py_ssize_t{0}, last}) {
            Py_ssize_t patience = PATIENCE;
            while (end > 0 && patience >= 0) {
                Py_ssize_t at = last_byte(in + offset, end, needle[offset]);
                if (at < 0) return -1;
                if (std::memcmp(in + at, needle, size) == 0) return at;
                patience += (end - at) / 32 - 1;
                end = at;
            }
        }
        uint64_t among = bit_of(*needle);
        Py_ssize_t gap = last;
        for (Py_ssize_t n = last; n > 0; n--) {
            among |= bit_of(needle[n]);
            if (needle[n] == *needle) gap = n - 1;
        }
        for (Py_ssize_t at = end - 1; at >= 0; at--) {
            if (in[at] == *needle) {
                Py_ssize_t n = last;
                while (n > 0 && in[at + n] == needle[n]) n--;
                if (n == 0) return at;
                at -= at > 0 && (among & bit_of(in[at - 1])) == 0 ? size : gap;
            } else if (at > 0 && (among & bit_of(in[at - 1])) == 0) at -= size;
        }
        return -1;
    }

    // Counts in 32 lanes of 8 bits, which a compiler makes one vector of.
    inline Py_ssize_t count_byte(const char* in, Py_ssize_t length, char byte) noexcept {
        Py_ssize_t count = 0;
        while (length >= 32) {
            unsigned char lanes[32] = {};
            Py_ssize_t rounds = std::min<Py_ssize_t>(length / 32, 255);
            length -= 32 * rounds;
            for (; rounds > 0; rounds--, in += 32)
                for (int n = 0; n < 32; n++) lanes[n] += in[n] == byte;
            for (unsigned char lane : lanes) count += lane;
        }
        return count + std::count(in, in + length, byte);
    }

    // How often the needle is there, without overlaps. An empty one is before each byte, and at the end.
    inline Py_ssize_t count_of(const char* in, Py_ssize_t length, const char* needle, Py_ssize_t size) noexcept {
        if (size == 0) return length + 1;
        if (size > length) return 0;
        return size == 1 ? count_byte(in, length, *needle) : search<true>(in, length, needle, size);
    }

    inline bool is_space(char byte) noexcept { return byte == ' ' || (byte >= '\\t' && byte <= '\\r'); }

    inline bool all_ascii(const char* in, Py_ssize_t length) noexcept {
        unsigned char all = 0;
        for (; length >= 64 && all < 0x80; in += 64, length -= 64)
            for (int n = 0; n < 64; n++) all |= in[n];
        while (--length >= 0) all |= in[length];
        return all < 0x80;
    }

    inline int order_of(const char* one, Py_ssize_t length, const char* other, Py_ssize_t size) noexcept {
        int order = std::memcmp(one, other, std::min(length, size));
        return order != 0 ? order : (length > size) - (length < size);
    }

    // Where [start:end] lies in so many bytes; start may be behind end, and then nothing is there, not even b"".
    inline void clip(Py_ssize_t length, Py_ssize_t* start, Py_ssize_t* end) noexcept {
        if (*end > length) *end = length;
        else if (*end < 0) *end = std::max<Py_ssize_t>(*end + length, 0);
        if (*start < 0) *start = std::max<Py_ssize_t>(*start + length, 0);
    }

    inline char lowered(char byte) noexcept { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }
    inline char raised(char byte) noexcept { return byte >= 'a' && byte <= 'z' ? byte & ~0x20 : byte; }
    }
    #endif
    """
    Py_ssize_t find_first "ferrule::find_first"(const char*, Py_ssize_t, const char*, Py_ssize_t) noexcept nogil
    Py_ssize_t find_last "ferrule::find_last"(const char*, Py_ssize_t, const char*, Py_ssize_t) noexcept nogil
    Py_ssize_t count_of "ferrule::count_of"(const char*, Py_ssize_t, const char*, Py_ssize_t) noexcept nogil
    bint is_space "ferrule::is_space"(char) noexcept nogil
    bint all_ascii "ferrule::all_ascii"(const char*, Py_ssize_t) noexcept nogil
    int order_of "ferrule::order_of"(const char*, Py_ssize_t, const char*, Py_ssize_t) noexcept nogil
    void clip "ferrule::clip"(Py_ssize_t, Py_ssize_t*, Py_ssize_t*) noexcept nogil
    char lowered "ferrule::lowered"(char) noexcept nogil
    char raised "ferrule::raised"(char) noexcept nogil
