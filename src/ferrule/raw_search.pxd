"""Searching in bytes, at the speed of the C library. No Python code, and no locks."""

cdef extern from *:
    """
    #ifndef FERRULE_SEARCH
    #define FERRULE_SEARCH
    #include <algorithm>
    #include <cstdint>
    #include <cstring>
    namespace ferrule {
    // memmem(), which not every platform has: linear, whatever it searches.
    inline Py_ssize_t find_anywhere(const char* in, Py_ssize_t length, const char* needle, Py_ssize_t size) noexcept {
    #ifdef _WIN32
        const char* found = std::search(in, in + length, needle, needle + size);
        return found == in + length ? -1 : found - in;
    #else
        const void* found = memmem(in, length, needle, size);
        return found == nullptr ? -1 : static_cast<const char*>(found) - in;
    #endif
    }

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

    constexpr Py_ssize_t PATIENCE = 16;     // hits of a byte that lead nowhere; see search()

    // The first place of a needle of at least 2 bytes, or -1; or how often it is there, without overlaps.
    //
    // Its first byte is looked for, which is the fastest of all searches, until it turns out to be there too often;
    // then its last byte, likewise; then memmem() does the rest. Where needles lie close together, though, memmem()
    // pays for its beginning at each, so a count looks at each place first, as CPython does it: by the needle's last
    // byte, and where the byte behind the place is not in the needle, all places with it are left out. Should that
    // compare much in vain, memmem() does the rest.
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
                patience += skipped / 32 - 1;
                if (std::memcmp(in + at, needle, size) != 0) at++;
                else if (!counts) return at;
                else {
                    count++;
                    at += size;
                }
            }
        }
        uint64_t among = bit_of(needle[last]);
        Py_ssize_t gap = last, effort = 0;
        for (Py_ssize_t n = 0; n < last; n++) {
            among |= bit_of(needle[n]);
            if (needle[n] == needle[last]) gap = last - n - 1;
        }
        for (; counts && at < places; at++) {
            bool ends = at + size == length;
            if (in[at + last] == needle[last]) {
                Py_ssize_t same = 0;
                while (same < last && in[at + same] == needle[same]) same++;
                if (same == last) {
                    count++;
                    at += last;
                    continue;
                }
                effort += same;
                if (effort > 1000 + 8 * at) break;
                at += !ends && (among & bit_of(in[at + size])) == 0 ? size : gap;
            } else if (!ends && (among & bit_of(in[at + size])) == 0) at += size;
        }
        while (at < places) {
            Py_ssize_t further = find_anywhere(in + at, length - at, needle, size);
            if (further < 0) break;
            if (!counts) return at + further;
            count++;
            at += further + size;
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
