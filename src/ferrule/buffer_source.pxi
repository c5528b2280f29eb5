"""What reads from the front of a Reader or a BytesMut; part of buffer.pyx."""


cdef class _Source:
    """What Reader and BytesMut have in common: a cursor in memory, and what it takes from there.

    A call is one locked section, so of two threads each takes bytes of its own. One that fails leaves the cursor.
    """

    def advance(self, Py_ssize_t n, /):
        """Goes on by n bytes. NotEnoughBytes if there are fewer. O(1)."""
        if n <= 0:
            _check_number(self, n)
        if not _skip_locked(self, n):
            _raise_short(self, n)

    def get_u8(self):
        """Takes the next byte: an unsigned integer. NotEnoughBytes if there are fewer."""
        cdef uint8_t number
        cdef const char* after = _take(self, &number, 1)
        return _given(self, PyLong_FromUnsignedLongLong(number), 1, after)

    def get_i8(self):
        """Takes the next byte: a signed integer. NotEnoughBytes if there are fewer."""
        cdef int8_t number
        cdef const char* after = _take(self, &number, 1)
        return _given(self, PyLong_FromLongLong(number), 1, after)

    def get_u16(self):
        """Takes the next 2 bytes: an unsigned integer, big-endian. NotEnoughBytes if there are fewer."""
        cdef uint16_t number
        cdef const char* after = _take(self, &number, 2)
        return _given(self, PyLong_FromUnsignedLongLong(big(number)), 2, after)

    def get_i16(self):
        """Takes the next 2 bytes: a signed integer, big-endian. NotEnoughBytes if there are fewer."""
        cdef int16_t number
        cdef const char* after = _take(self, &number, 2)
        return _given(self, PyLong_FromLongLong(big(number)), 2, after)

    def get_u32(self):
        """Takes the next 4 bytes: an unsigned integer, big-endian. NotEnoughBytes if there are fewer."""
        cdef uint32_t number
        cdef const char* after = _take(self, &number, 4)
        return _given(self, PyLong_FromUnsignedLongLong(big(number)), 4, after)

    def get_i32(self):
        """Takes the next 4 bytes: a signed integer, big-endian. NotEnoughBytes if there are fewer."""
        cdef int32_t number
        cdef const char* after = _take(self, &number, 4)
        return _given(self, PyLong_FromLongLong(big(number)), 4, after)

    def get_u64(self):
        """Takes the next 8 bytes: an unsigned integer, big-endian. NotEnoughBytes if there are fewer."""
        cdef uint64_t number
        cdef const char* after = _take(self, &number, 8)
        return _given(self, PyLong_FromUnsignedLongLong(big(number)), 8, after)

    def get_i64(self):
        """Takes the next 8 bytes: a signed integer, big-endian. NotEnoughBytes if there are fewer."""
        cdef int64_t number
        cdef const char* after = _take(self, &number, 8)
        return _given(self, PyLong_FromLongLong(big(number)), 8, after)

    def get_f32(self):
        """Takes the next 4 bytes: a float, big-endian. NotEnoughBytes if there are fewer."""
        cdef float number
        cdef const char* after = _take(self, &number, 4)
        return _given(self, PyFloat_FromDouble(big(number)), 4, after)

    def get_f64(self):
        """Takes the next 8 bytes: a float, big-endian. NotEnoughBytes if there are fewer."""
        cdef double number
        cdef const char* after = _take(self, &number, 8)
        return _given(self, PyFloat_FromDouble(big(number)), 8, after)

    def get_u16_le(self):
        """Takes the next 2 bytes: an unsigned integer, little-endian. NotEnoughBytes if there are fewer."""
        cdef uint16_t number
        cdef const char* after = _take(self, &number, 2)
        return _given(self, PyLong_FromUnsignedLongLong(little(number)), 2, after)

    def get_i16_le(self):
        """Takes the next 2 bytes: a signed integer, little-endian. NotEnoughBytes if there are fewer."""
        cdef int16_t number
        cdef const char* after = _take(self, &number, 2)
        return _given(self, PyLong_FromLongLong(little(number)), 2, after)

    def get_u32_le(self):
        """Takes the next 4 bytes: an unsigned integer, little-endian. NotEnoughBytes if there are fewer."""
        cdef uint32_t number
        cdef const char* after = _take(self, &number, 4)
        return _given(self, PyLong_FromUnsignedLongLong(little(number)), 4, after)

    def get_i32_le(self):
        """Takes the next 4 bytes: a signed integer, little-endian. NotEnoughBytes if there are fewer."""
        cdef int32_t number
        cdef const char* after = _take(self, &number, 4)
        return _given(self, PyLong_FromLongLong(little(number)), 4, after)

    def get_u64_le(self):
        """Takes the next 8 bytes: an unsigned integer, little-endian. NotEnoughBytes if there are fewer."""
        cdef uint64_t number
        cdef const char* after = _take(self, &number, 8)
        return _given(self, PyLong_FromUnsignedLongLong(little(number)), 8, after)

    def get_i64_le(self):
        """Takes the next 8 bytes: a signed integer, little-endian. NotEnoughBytes if there are fewer."""
        cdef int64_t number
        cdef const char* after = _take(self, &number, 8)
        return _given(self, PyLong_FromLongLong(little(number)), 8, after)

    def get_f32_le(self):
        """Takes the next 4 bytes: a float, little-endian. NotEnoughBytes if there are fewer."""
        cdef float number
        cdef const char* after = _take(self, &number, 4)
        return _given(self, PyFloat_FromDouble(little(number)), 4, after)

    def get_f64_le(self):
        """Takes the next 8 bytes: a float, little-endian. NotEnoughBytes if there are fewer."""
        cdef double number
        cdef const char* after = _take(self, &number, 8)
        return _given(self, PyFloat_FromDouble(little(number)), 8, after)

    def try_get_u8(self):
        """As get_u8(), but None if there are fewer bytes."""
        cdef uint8_t number
        cdef const char* after = _take_locked(self, &number, 1)
        return _given(self, PyLong_FromUnsignedLongLong(number), 1, after) if after != NULL else _nothing(self)

    def try_get_i8(self):
        """As get_i8(), but None if there are fewer bytes."""
        cdef int8_t number
        cdef const char* after = _take_locked(self, &number, 1)
        return _given(self, PyLong_FromLongLong(number), 1, after) if after != NULL else _nothing(self)

    def try_get_u16(self):
        """As get_u16(), but None if there are fewer bytes."""
        cdef uint16_t number
        cdef const char* after = _take_locked(self, &number, 2)
        return _given(self, PyLong_FromUnsignedLongLong(big(number)), 2, after) if after != NULL else _nothing(self)

    def try_get_i16(self):
        """As get_i16(), but None if there are fewer bytes."""
        cdef int16_t number
        cdef const char* after = _take_locked(self, &number, 2)
        return _given(self, PyLong_FromLongLong(big(number)), 2, after) if after != NULL else _nothing(self)

    def try_get_u32(self):
        """As get_u32(), but None if there are fewer bytes."""
        cdef uint32_t number
        cdef const char* after = _take_locked(self, &number, 4)
        return _given(self, PyLong_FromUnsignedLongLong(big(number)), 4, after) if after != NULL else _nothing(self)

    def try_get_i32(self):
        """As get_i32(), but None if there are fewer bytes."""
        cdef int32_t number
        cdef const char* after = _take_locked(self, &number, 4)
        return _given(self, PyLong_FromLongLong(big(number)), 4, after) if after != NULL else _nothing(self)

    def try_get_u64(self):
        """As get_u64(), but None if there are fewer bytes."""
        cdef uint64_t number
        cdef const char* after = _take_locked(self, &number, 8)
        return _given(self, PyLong_FromUnsignedLongLong(big(number)), 8, after) if after != NULL else _nothing(self)

    def try_get_i64(self):
        """As get_i64(), but None if there are fewer bytes."""
        cdef int64_t number
        cdef const char* after = _take_locked(self, &number, 8)
        return _given(self, PyLong_FromLongLong(big(number)), 8, after) if after != NULL else _nothing(self)

    def try_get_f32(self):
        """As get_f32(), but None if there are fewer bytes."""
        cdef float number
        cdef const char* after = _take_locked(self, &number, 4)
        return _given(self, PyFloat_FromDouble(big(number)), 4, after) if after != NULL else _nothing(self)

    def try_get_f64(self):
        """As get_f64(), but None if there are fewer bytes."""
        cdef double number
        cdef const char* after = _take_locked(self, &number, 8)
        return _given(self, PyFloat_FromDouble(big(number)), 8, after) if after != NULL else _nothing(self)

    def try_get_u16_le(self):
        """As get_u16_le(), but None if there are fewer bytes."""
        cdef uint16_t number
        cdef const char* after = _take_locked(self, &number, 2)
        return _given(self, PyLong_FromUnsignedLongLong(little(number)), 2, after) if after != NULL else _nothing(self)

    def try_get_i16_le(self):
        """As get_i16_le(), but None if there are fewer bytes."""
        cdef int16_t number
        cdef const char* after = _take_locked(self, &number, 2)
        return _given(self, PyLong_FromLongLong(little(number)), 2, after) if after != NULL else _nothing(self)

    def try_get_u32_le(self):
        """As get_u32_le(), but None if there are fewer bytes."""
        cdef uint32_t number
        cdef const char* after = _take_locked(self, &number, 4)
        return _given(self, PyLong_FromUnsignedLongLong(little(number)), 4, after) if after != NULL else _nothing(self)

    def try_get_i32_le(self):
        """As get_i32_le(), but None if there are fewer bytes."""
        cdef int32_t number
        cdef const char* after = _take_locked(self, &number, 4)
        return _given(self, PyLong_FromLongLong(little(number)), 4, after) if after != NULL else _nothing(self)

    def try_get_u64_le(self):
        """As get_u64_le(), but None if there are fewer bytes."""
        cdef uint64_t number
        cdef const char* after = _take_locked(self, &number, 8)
        return _given(self, PyLong_FromUnsignedLongLong(little(number)), 8, after) if after != NULL else _nothing(self)

    def try_get_i64_le(self):
        """As get_i64_le(), but None if there are fewer bytes."""
        cdef int64_t number
        cdef const char* after = _take_locked(self, &number, 8)
        return _given(self, PyLong_FromLongLong(little(number)), 8, after) if after != NULL else _nothing(self)

    def try_get_f32_le(self):
        """As get_f32_le(), but None if there are fewer bytes."""
        cdef float number
        cdef const char* after = _take_locked(self, &number, 4)
        return _given(self, PyFloat_FromDouble(little(number)), 4, after) if after != NULL else _nothing(self)

    def try_get_f64_le(self):
        """As get_f64_le(), but None if there are fewer bytes."""
        cdef double number
        cdef const char* after = _take_locked(self, &number, 8)
        return _given(self, PyFloat_FromDouble(little(number)), 8, after) if after != NULL else _nothing(self)

    def peek_u8(self):
        """As get_u8(), but takes nothing."""
        cdef uint8_t number
        _peek(self, &number, 1)
        return number

    def peek_u16(self):
        """As get_u16(), but takes nothing."""
        cdef uint16_t number
        _peek(self, &number, 2)
        return big(number)

    def peek_u32(self):
        """As get_u32(), but takes nothing."""
        cdef uint32_t number
        _peek(self, &number, 4)
        return big(number)

    def peek_u64(self):
        """As get_u64(), but takes nothing."""
        cdef uint64_t number
        _peek(self, &number, 8)
        return big(number)

    # --- integers of any width ---

    def get_uint(self, Py_ssize_t n, /):
        """Takes the next n bytes, 1 to 16: an unsigned integer, big-endian. NotEnoughBytes if there are fewer."""
        return _get_wide(self, n, True, False, False)

    def get_int(self, Py_ssize_t n, /):
        """Takes the next n bytes, 1 to 16: a signed integer, big-endian. NotEnoughBytes if there are fewer."""
        return _get_wide(self, n, True, True, False)

    def get_uint_le(self, Py_ssize_t n, /):
        """Takes the next n bytes, 1 to 16: an unsigned integer, little-endian. NotEnoughBytes if there are fewer."""
        return _get_wide(self, n, False, False, False)

    def get_int_le(self, Py_ssize_t n, /):
        """Takes the next n bytes, 1 to 16: a signed integer, little-endian. NotEnoughBytes if there are fewer."""
        return _get_wide(self, n, False, True, False)

    def try_get_uint(self, Py_ssize_t n, /):
        """As get_uint(), but None if there are fewer bytes."""
        return _get_wide(self, n, True, False, True)

    def try_get_int(self, Py_ssize_t n, /):
        """As get_int(), but None if there are fewer bytes."""
        return _get_wide(self, n, True, True, True)

    def try_get_uint_le(self, Py_ssize_t n, /):
        """As get_uint_le(), but None if there are fewer bytes."""
        return _get_wide(self, n, False, False, True)

    def try_get_int_le(self, Py_ssize_t n, /):
        """As get_int_le(), but None if there are fewer bytes."""
        return _get_wide(self, n, False, True, True)

    def get_varint(self):
        """Takes an unsigned integer of at most 64 bits in LEB128, 7 bits in a byte, the lowest first.

        NotEnoughBytes if it is truncated, ValueError if it has more bits or more bytes than it needs.
        """
        return _get_varint(self, False)

    def try_get_varint(self):
        """As get_varint(), but None if it is truncated."""
        return _get_varint(self, True)

    # --- bytes ---

    def get_bytes(self, Py_ssize_t n, /):
        """Takes the next n bytes, as a Bytes that shares the memory where one buffer holds them. O(1), or O(n)."""
        return _get_bytes(self, n, False)

    def try_get_bytes(self, Py_ssize_t n, /):
        """As get_bytes(), but None if there are fewer bytes."""
        return _get_bytes(self, n, True)

    def get_until(self, delimiter, /):
        """Takes the bytes up to the delimiter and the delimiter. NotEnoughBytes if it is not there.

        They come as a Bytes that shares the memory where one buffer holds them. O(bytes looked at).
        """
        return _get_until(self, delimiter, False)

    def try_get_until(self, delimiter, /):
        """As get_until(), but None if the delimiter is not there."""
        return _get_until(self, delimiter, True)

    # --- what the two do differently; under the latch ---

    cdef bint _straddle(self, char* to, size_t n, bint takes) noexcept nogil:
        """Copies n bytes that are not all at the cursor, unless `to` is NULL; False if there are fewer."""
        return False

    cdef void _give_back(self, size_t n) noexcept nogil:
        """Goes back by n bytes that were taken just now."""
        self._at -= n

    cdef Cutting _cut(self, size_t n, Cut* cut) noexcept nogil:
        """Takes n bytes, with a handle of their memory."""
        return SHORT

    cdef Py_ssize_t _find_end(self, const char* needle, Py_ssize_t size) noexcept nogil:
        """How many bytes there are up to the end of the needle; -1 if it is not there."""
        cdef Py_ssize_t at = find_first(self._at, self._end - self._at, needle, size)
        return at + size if at >= 0 else -1


cdef str _NEGATIVE = "a number of bytes cannot be negative"


cdef inline size_t _left(_Source self) noexcept nogil:
    """How many bytes there are; under the latch."""
    return <size_t>(self._end - self._at) + self._rest


cdef size_t _left_locked(_Source self) noexcept nogil:
    cdef size_t left
    self._latch.lock()
    left = _left(self)
    self._latch.unlock()
    return left


cdef inline const char* _take_locked(_Source self, void* to, size_t n) noexcept nogil:
    """Takes n bytes, at least one: where the cursor is now, or NULL if there are fewer."""
    cdef const char* after = NULL
    self._latch.lock()
    if n <= <size_t>(self._end - self._at):
        copy_few(to, self._at, n)
        self._at += n
        after = self._at
    elif self._straddle(<char*>to, n, True):
        after = self._at
    self._latch.unlock()
    return after


cdef inline bint _peek_locked(_Source self, void* to, size_t n) noexcept nogil:
    cdef bint there = True
    self._latch.lock()
    if n <= <size_t>(self._end - self._at):
        memcpy(to, self._at, n)
    else:
        there = self._straddle(<char*>to, n, False)
    self._latch.unlock()
    return there


cdef bint _skip_locked(_Source self, size_t n) noexcept nogil:
    cdef bint there = True
    self._latch.lock()
    if n <= <size_t>(self._end - self._at):
        self._at += n
    else:
        there = self._straddle(NULL, n, True)
    self._latch.unlock()
    return there


cdef void _give_back_locked(_Source self, size_t n, const char* after) noexcept nogil:
    """Goes back by n bytes, if nobody has taken any since."""
    self._latch.lock()
    if self._at == after:
        self._give_back(n)
    self._latch.unlock()


cdef int _varint_locked(_Source self, uint64_t* number, const char** after) noexcept nogil:
    """Takes a number: how many bytes it had; 0 if it is truncated, -1 if it is longer than it need be."""
    cdef char copy[MOST_VARINT]
    cdef size_t n
    cdef int size
    self._latch.lock()
    n = min(_left(self), <size_t>MOST_VARINT)
    if n <= <size_t>(self._end - self._at):
        size = read_varint(<const uint8_t*>self._at, n, number)
    else:
        self._straddle(copy, n, False)
        size = read_varint(<const uint8_t*>copy, n, number)
    if size > self._end - self._at:
        self._straddle(NULL, size, True)
    elif size > 0:
        self._at += size
    after[0] = self._at
    self._latch.unlock()
    return size


cdef Cutting _cut_locked(_Source self, size_t n, bint at_most, Cut* cut) noexcept nogil:
    cdef Cutting how
    self._latch.lock()
    how = self._cut(min(n, _left(self)) if at_most else n, cut)
    self._latch.unlock()
    return how


cdef Cutting _cut_until_locked(_Source self, const char* needle, Py_ssize_t size, Cut* cut) noexcept nogil:
    cdef Cutting how = SHORT
    cdef Py_ssize_t length
    self._latch.lock()
    length = self._find_end(needle, size)
    if length >= 0:
        how = self._cut(length, cut)
    self._latch.unlock()
    return how


cdef inline const char* _take(_Source self, void* to, size_t n) except NULL:
    cdef const char* after = _take_locked(self, to, n)
    if after == NULL:
        _raise_short(self, n)
    return after


cdef inline int _peek(_Source self, void* to, size_t n) except -1:
    if not _peek_locked(self, to, n):
        _raise_short(self, n)
    return 0


cdef inline object _given(_Source self, PyObject* made, size_t n, const char* after):
    """What was made of n bytes; if that failed, they are given back."""
    if made == NULL:
        _give_back_locked(self, n, after)
        reraise()
    return move(made)


cdef object _nothing(_Source self):
    """What a try_ method gives where there are too few bytes."""
    if isinstance(self, Reader):
        _check_open(<Reader>self)
    return None


cdef int _check_number(_Source self, Py_ssize_t n) except -1:
    """For a number of bytes that is not positive: a closed Reader has not even none."""
    if n < 0:
        raise ValueError(_NEGATIVE)
    _nothing(self)
    return 0


cdef int _raise_short(_Source self, Py_ssize_t requested) except -1:
    _nothing(self)
    raise NotEnoughBytes(requested=requested, available=_left_locked(self))


cdef int _raise_uncut(_Source self, Cutting how, Py_ssize_t requested) except -1:
    if how == PINNED:
        raise BufferError(_EXPORTED)
    if how == NO_MEMORY:
        raise MemoryError
    return _raise_short(self, requested)


cdef object _get_wide(_Source self, Py_ssize_t n, bint is_big, bint signed, bint tries):
    cdef unsigned char data[16]
    cdef const char* after
    cdef uint64_t number
    if n < 1 or n > 16:
        raise ValueError("an integer has 1 to 16 bytes")
    after = _take_locked(self, data, n)
    if after == NULL:
        if tries:
            return _nothing(self)
        _raise_short(self, n)
    if n > 8:
        return _given(self, wide_integer(data, n, not is_big, signed), n, after)
    number = read_number(data, n, is_big)
    if not signed:
        return _given(self, PyLong_FromUnsignedLongLong(number), n, after)
    return _given(self, PyLong_FromLongLong(<int64_t>(number << (64 - 8 * n)) >> (64 - 8 * n)), n, after)


cdef object _get_varint(_Source self, bint tries):
    cdef uint64_t number
    cdef const char* after
    cdef int size = _varint_locked(self, &number, &after)
    if size > 0:
        return _given(self, PyLong_FromUnsignedLongLong(number), size, after)
    if size < 0:
        raise ValueError("a variable-length integer is longer than its value needs, or than 64 bits")
    if tries:
        return _nothing(self)
    _raise_short(self, _left_locked(self) + 1)


cdef inline void _fill(PyObject* made, Cut* cut) noexcept:
    """Gives an empty Bytes that nobody else has what was taken."""
    (<Bytes>made)._storage = cut.storage
    (<Bytes>made)._data = cut.data
    (<Bytes>made)._length = cut.length
    if cut.storage != NULL and cut.storage.tracked:
        PyObject_GC_Track(made)


cdef object _get_bytes(_Source self, Py_ssize_t n, bint tries):
    cdef Cut cut
    cdef Cutting how
    cdef PyObject* made
    if n <= 0:
        _check_number(self, n)
    made = _blank(self._tracked)    # first: what has been taken must not be lost for want of memory
    how = _cut_locked(self, n, False, &cut)
    if how == TAKEN:
        _fill(made, &cut)
        return move(made)
    drop(made)
    if how == SHORT and tries:
        return _nothing(self)
    _raise_uncut(self, how, n)


cdef object _get_until(_Source self, delimiter, bint tries):
    cdef Argument given
    cdef Cut cut
    cdef Cutting how
    cdef PyObject* made
    given.get(delimiter)
    if given.size == 0:
        raise ValueError("empty delimiter")
    made = _blank(self._tracked)
    how = _cut_until_locked(self, given.data, given.size, &cut)
    if how == TAKEN:
        _fill(made, &cut)
        return move(made)
    drop(made)
    if how == SHORT and tries:
        return _nothing(self)
    _raise_uncut(self, how, _left_locked(self) + 1)
