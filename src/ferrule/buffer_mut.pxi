"""BytesMut; part of buffer.pyx."""


@cython.final
cdef class BytesMut(_Source):
    """BytesMut(capacity_or_data=0, /)
    --

    Bytes that grow at the end, are read at the front, and split and rejoin without copying.

    Complexity  Appending: O(1) a byte, amortised. split, freeze and the reading methods: O(1), but for what they copy.
    Threads     Every method is safe and one step, but for memoryview(): who writes through one is not ordered.
    Blocks      never.
    Calls you   the buffer export of an argument.
    Errors      BufferError for what would move or share the memory while memoryview() has it; NotEnoughBytes.

    An int is a capacity, bytes or an iterable of integers are the content. The capacity follows the arithmetic of the
    Rust crate `bytes`: a buffer whose front has been read uses that memory again once all parts that were split off and
    frozen have gone, and moves on to new memory otherwise.

    >>> buffer = BytesMut(1024)
    >>> buffer.put_u16(5)
    >>> buffer.extend(b"hello, world")
    >>> frame = buffer.get_bytes(buffer.get_u16())
    >>> frame, buffer
    (Bytes(b'hello'), BytesMut(b', world'))
    """

    def __cinit__(self, capacity_or_data=0, /):
        cdef Argument given
        cdef Py_ssize_t capacity
        if _is_number(capacity_or_data):
            capacity = PyNumber_AsSsize_t(capacity_or_data, <PyObject*>OverflowError)
            if capacity < 0:
                raise ValueError("a capacity cannot be negative")
            _allocate(self, capacity)
            return
        given.get_content(capacity_or_data, isinstance(capacity_or_data, BytesMut))
        _allocate(self, given.size)
        memcpy(self._at, given.data, given.size)
        self._end += given.size

    def __dealloc__(self):
        let_go_own(self._storage)

    # --- capacity ---

    def __len__(self):
        return _left_locked(self)

    @property
    def capacity(self):
        """How many bytes there is room for, those that are there included."""
        return _capacity_locked(self)

    def reserve(self, additional, /):
        """Makes room for so many more bytes; the memory moves only if it must. O(1), or O(len)."""
        cdef size_t more = _to_size(additional)
        while _is_away(_reserve_locked(self, more, True)):
            pass

    def try_reclaim(self, additional, /):
        """Makes room for so many more bytes in the memory that it has; False if that does not do. O(1), or O(len)."""
        return _reserve_locked(self, _to_size(additional), False) == ROOM

    def spare(self, n=None, /):
        """A writable memoryview of the room behind the last byte, at least n bytes of it; commit() takes them in.

        It is the memory's own export and keeps nothing from happening: if the buffer grows while the view is there, it
        moves on to new memory. What the view shows before it is written is undefined. What is written through it after
        its bytes were taken in changes them. Without n: what there is, but 64 bytes if there is none.
        """
        cdef _Spare spare = _Spare.__new__(_Spare)
        cdef bint any = n is None
        cdef size_t least = 0 if any else _to_size(n)
        view = PyMemoryView_FromObject(spare)   # first, of nothing: if there is no memory for it nothing has changed
        while _is_away(_spare_locked(self, least, any, spare, PyMemoryView_GET_BUFFER(view))):
            pass
        return view

    def commit(self, Py_ssize_t n, /):
        """Takes in the first n bytes of what spare() gave, once they are written; the next call takes those behind.

        ValueError for more than spare() gave, and if the end of the buffer has changed since.
        """
        if n < 0 or not _commit_locked(self, n):
            raise ValueError(f"cannot commit {n} bytes: spare() has not given so many since the end last changed")

    # --- content ---

    def __getitem__(self, index, /):
        cdef Py_ssize_t start, stop, step
        cdef int byte
        if not PySlice_Check(index):
            byte = _get_locked(self, PyNumber_AsSsize_t(index, <PyObject*>IndexError))
            if byte < 0:
                raise IndexError("index out of range")
            return byte
        unpack(index, &start, &stop, &step)
        return _copied_part(self, start, stop, step)

    def __setitem__(self, index, value, /):
        cdef Argument given
        cdef Py_ssize_t start, stop, step
        if not PySlice_Check(index):
            start = PyNumber_AsSsize_t(index, <PyObject*>IndexError)
            if not _set_locked(self, start, _to_byte(value)):
                raise IndexError("index out of range")
            return
        unpack(index, &start, &stop, &step)
        # In steps, a view of the same bytes would be read where it has been written: copied as well.
        given.get_content(value, isinstance(value, BytesMut) or (step != 1 and PyObject_CheckBuffer(value)))
        if not _set_slice_locked(self, start, stop, step, given.data, given.size):
            raise ValueError("a part can only be replaced by as many bytes")

    def __delitem__(self, index, /):
        raise TypeError("a BytesMut gives up bytes at its ends: advance(), truncate(), split_to(), split_off()")

    def __iter__(self):
        return PySeqIter_New(self)

    def __contains__(self, sub, /):
        cdef Argument given
        given.get_or_byte(sub)
        return _find_locked(self, given.data, given.size, 0, PY_SSIZE_T_MAX) >= 0

    def find(self, sub, start=None, end=None, /):
        """The lowest index in [start:end] where `sub`, bytes or one byte as an integer, begins, or -1."""
        cdef Argument given
        cdef Py_ssize_t first, last
        get_bound(start, 0, &first)
        get_bound(end, PY_SSIZE_T_MAX, &last)
        given.get_or_byte(sub)
        return _find_locked(self, given.data, given.size, first, last)

    def __bytes__(self):
        cdef Py_ssize_t length
        while True:
            length = _left_locked(self)
            made = PyBytes_FromStringAndSize(NULL, length)
            if _copy_locked(self, PyBytes_AS_STRING(made), length):
                return made

    def __richcmp__(self, other, int how):
        cdef Argument given
        if isinstance(other, BytesMut):
            other = bytes(other)
        if not given.compare(other):
            return NotImplemented
        return _order_answers(_compare_locked(<BytesMut>self, given.data, given.size), how)

    __hash__ = None

    def __getbuffer__(self, Py_buffer* view, int flags):
        _show(view, self, NOTHING, 0, False, flags)     # first: what these flags are refused must not be counted
        _export_locked(self, view)

    def __releasebuffer__(self, Py_buffer* view):
        _unexport_locked(self)

    def __repr__(self):
        return f"BytesMut({bytes(self)!r})"

    def __reduce__(self):
        return BytesMut, (bytes(self),)

    # --- growing and shrinking ---

    def extend(self, data, /):
        """Appends bytes, or an iterable of integers. O(their length), amortised."""
        cdef Argument given
        given.get_content(data, isinstance(data, BytesMut))
        _append(self, given.data, given.size)

    def __iadd__(self, data, /):
        _put(self, data)
        return self

    def append(self, byte, /):
        """Appends one byte, given as an integer. O(1), amortised."""
        cdef char value = <char>_to_byte(byte)
        _append(self, &value, 1)

    def extend_from_within(self, start=0, stop=None, /):
        """Appends a copy of the slice [start:stop]. O(its length), amortised."""
        cdef Py_ssize_t first, last
        get_bound(start, 0, &first)
        get_bound(stop, PY_SSIZE_T_MAX, &last)
        while _is_away(_repeat_locked(self, first, last)):
            pass

    def resize(self, Py_ssize_t length, value=0, /):
        """Truncates to this length, or appends the byte `value` up to it. O(bytes appended)."""
        if length < 0:
            raise ValueError("a length cannot be negative")
        _resize(self, length, False, value)

    def truncate(self, Py_ssize_t length, /):
        """Drops the bytes from index `length` on, if there are any; the capacity stays. O(1)."""
        if length < 0:
            raise ValueError("a length cannot be negative")
        _truncate_locked(self, length)

    def clear(self):
        """Drops all bytes; the capacity stays. O(1)."""
        _truncate_locked(self, 0)

    # --- splitting and joining ---

    def split_off(self, Py_ssize_t at, /):
        """Keeps the bytes and the capacity before the index, and gives what is behind as a BytesMut. O(1).

        IndexError unless 0 <= at <= capacity.
        """
        return _split(self, at, OFF)

    def split_to(self, Py_ssize_t at, /):
        """Gives the bytes before the index as a BytesMut, and keeps those behind and the rest of the capacity. O(1).

        IndexError unless 0 <= at <= len().
        """
        return _split(self, at, TO)

    def split(self):
        """Gives all bytes as a BytesMut, and keeps the rest of the capacity. O(1)."""
        return _split(self, 0, WHOLE)

    def unsplit(self, BytesMut other not None, /):
        """Appends the other's bytes and leaves it empty. O(1) if its memory follows this one's, or this is empty."""
        _rejoin(self, other, True)

    def try_unsplit(self, BytesMut other not None, /):
        """As unsplit(), but False, and nothing has changed, if the other's memory does not follow this one's. O(1)."""
        if self is not other and not _follows(self, other):
            return False
        _rejoin(self, other, False)
        return True

    def freeze(self):
        """The content as a Bytes that has the memory; this is empty afterwards, without any capacity. O(1)."""
        cdef Span span
        made = move(_blank(False))
        if not _leave_locked(self, &span, False):
            raise BufferError(_EXPORTED)
        if span.end == span.at:
            let_go_own(span.storage)
        else:
            (<Bytes>made)._storage = span.storage
            (<Bytes>made)._data = span.at
            (<Bytes>made)._length = span.end - span.at
        return made

    # --- writing ---

    def put(self, data, /):
        """Appends bytes. O(their length), amortised."""
        _put(self, data)

    def put_bytes(self, value, Py_ssize_t n, /):
        """Appends n times the byte `value`. O(n), amortised."""
        if n < 0:
            raise ValueError(_NEGATIVE)
        _resize(self, n, True, value)

    def writer(self):
        """A binary file that appends to this buffer, for what writes to files."""
        return Writer.__new__(Writer, self)

    def put_u8(self, number, /):
        """Appends an unsigned integer as one byte. OverflowError if it does not fit."""
        cdef uint8_t value = PyNumber_Index(number)
        _append(self, &value, 1)

    def put_i8(self, number, /):
        """Appends a signed integer as one byte. OverflowError if it does not fit."""
        cdef int8_t value = PyNumber_Index(number)
        _append(self, &value, 1)

    def put_u16(self, number, /):
        """Appends an unsigned integer as 2 bytes, big-endian. OverflowError if it does not fit."""
        cdef uint16_t value = PyNumber_Index(number)
        value = big(value)
        _append(self, &value, 2)

    def put_i16(self, number, /):
        """Appends a signed integer as 2 bytes, big-endian. OverflowError if it does not fit."""
        cdef int16_t value = PyNumber_Index(number)
        value = big(value)
        _append(self, &value, 2)

    def put_u32(self, number, /):
        """Appends an unsigned integer as 4 bytes, big-endian. OverflowError if it does not fit."""
        cdef uint32_t value = PyNumber_Index(number)
        value = big(value)
        _append(self, &value, 4)

    def put_i32(self, number, /):
        """Appends a signed integer as 4 bytes, big-endian. OverflowError if it does not fit."""
        cdef int32_t value = PyNumber_Index(number)
        value = big(value)
        _append(self, &value, 4)

    def put_u64(self, number, /):
        """Appends an unsigned integer as 8 bytes, big-endian. OverflowError if it does not fit."""
        cdef uint64_t value = PyNumber_Index(number)
        value = big(value)
        _append(self, &value, 8)

    def put_i64(self, number, /):
        """Appends a signed integer as 8 bytes, big-endian. OverflowError if it does not fit."""
        cdef int64_t value = PyNumber_Index(number)
        value = big(value)
        _append(self, &value, 8)

    def put_f32(self, number, /):
        """Appends a float as 4 bytes, big-endian. OverflowError if it does not fit."""
        cdef float value = _to_float(number)
        value = big(value)
        _append(self, &value, 4)

    def put_f64(self, number, /):
        """Appends a float as 8 bytes, big-endian."""
        cdef double value = PyFloat_AsDouble(number)
        value = big(value)
        _append(self, &value, 8)

    def put_u16_le(self, number, /):
        """Appends an unsigned integer as 2 bytes, little-endian. OverflowError if it does not fit."""
        cdef uint16_t value = PyNumber_Index(number)
        value = little(value)
        _append(self, &value, 2)

    def put_i16_le(self, number, /):
        """Appends a signed integer as 2 bytes, little-endian. OverflowError if it does not fit."""
        cdef int16_t value = PyNumber_Index(number)
        value = little(value)
        _append(self, &value, 2)

    def put_u32_le(self, number, /):
        """Appends an unsigned integer as 4 bytes, little-endian. OverflowError if it does not fit."""
        cdef uint32_t value = PyNumber_Index(number)
        value = little(value)
        _append(self, &value, 4)

    def put_i32_le(self, number, /):
        """Appends a signed integer as 4 bytes, little-endian. OverflowError if it does not fit."""
        cdef int32_t value = PyNumber_Index(number)
        value = little(value)
        _append(self, &value, 4)

    def put_u64_le(self, number, /):
        """Appends an unsigned integer as 8 bytes, little-endian. OverflowError if it does not fit."""
        cdef uint64_t value = PyNumber_Index(number)
        value = little(value)
        _append(self, &value, 8)

    def put_i64_le(self, number, /):
        """Appends a signed integer as 8 bytes, little-endian. OverflowError if it does not fit."""
        cdef int64_t value = PyNumber_Index(number)
        value = little(value)
        _append(self, &value, 8)

    def put_f32_le(self, number, /):
        """Appends a float as 4 bytes, little-endian. OverflowError if it does not fit."""
        cdef float value = _to_float(number)
        value = little(value)
        _append(self, &value, 4)

    def put_f64_le(self, number, /):
        """Appends a float as 8 bytes, little-endian."""
        cdef double value = PyFloat_AsDouble(number)
        value = little(value)
        _append(self, &value, 8)

    def put_uint(self, number, Py_ssize_t n, /):
        """Appends an unsigned integer as n bytes, 1 to 16, big-endian. OverflowError if it does not fit."""
        _put_wide(self, number, n, True, False)

    def put_int(self, number, Py_ssize_t n, /):
        """Appends a signed integer as n bytes, 1 to 16, big-endian. OverflowError if it does not fit."""
        _put_wide(self, number, n, True, True)

    def put_uint_le(self, number, Py_ssize_t n, /):
        """Appends an unsigned integer as n bytes, 1 to 16, little-endian. OverflowError if it does not fit."""
        _put_wide(self, number, n, False, False)

    def put_int_le(self, number, Py_ssize_t n, /):
        """Appends a signed integer as n bytes, 1 to 16, little-endian. OverflowError if it does not fit."""
        _put_wide(self, number, n, False, True)

    def put_varint(self, number, /):
        """Appends an unsigned integer of at most 64 bits in LEB128. OverflowError if it does not fit."""
        cdef uint8_t data[MOST_VARINT]
        cdef uint64_t value = PyNumber_Index(number)
        _append(self, data, write_varint(data, value))

    # --- what reading does; under the latch ---

    cdef Cutting _cut(self, size_t n, Cut* cut) noexcept nogil:
        if n > <size_t>(self._end - self._at):
            return SHORT
        if self._exports:
            return PINNED
        cut.storage = NULL
        cut.data = NOTHING
        cut.length = n
        if n:
            hold(self._storage)
            cut.storage = self._storage
            cut.data = self._at
            self._at += n
        cut.after = self._at
        return TAKEN


cdef str _EXPORTED = "the memory of this BytesMut is exported, by memoryview() or the like"


# --- capacity --------------------------------------------------------------------------------------------------------

cdef int _allocate(BytesMut self, Py_ssize_t capacity) except -1:
    """The memory of a new BytesMut."""
    self._at = self._end = self._limit = <char*>NOTHING
    if capacity:
        self._storage = new_storage(capacity, original_width(capacity))
        if self._storage == NULL:
            raise MemoryError
        self._at = self._end = self._storage.data
        self._limit = self._at + capacity
    return 0


cdef inline void _settle(BytesMut self, Storage* storage, size_t offset, size_t length, size_t capacity) noexcept nogil:
    """The content is there now; under the latch."""
    self._storage = storage
    self._at = storage.data + offset
    self._end = self._at + length
    self._limit = self._at + capacity
    self._spared = 0


cdef Room _grow(BytesMut self, size_t additional, bint allocates) noexcept nogil:
    """Makes room that there is not yet; under the latch. The crate's reserve_inner(), whose two kinds are one here."""
    cdef Storage* storage = self._storage
    cdef size_t length = self._end - self._at
    cdef size_t needed, offset
    if additional > <size_t>PY_SSIZE_T_MAX - length:
        return OUT_OF_MEMORY if allocates else NO_ROOM
    needed = length + additional
    if storage == NULL:
        if self._exports:
            return FIXED
        if self._away:
            return AWAY
        storage = new_storage(grown_capacity(0, needed), 0) if allocates else NULL
        if storage == NULL:
            return OUT_OF_MEMORY if allocates else NO_ROOM
        _settle(self, storage, 0, 0, storage.capacity)
        return ROOM
    if is_only_handle(storage):
        offset = self._at - storage.data
        if storage.capacity >= needed + offset:     # behind this part was another one, which has gone
            self._limit = self._at + needed
            return ROOM
        if self._exports:
            return FIXED
        if storage.capacity >= needed and offset >= length:     # so that moving is paid for by what has been read
            memcpy(storage.data, self._at, length)
            _settle(self, storage, 0, length, storage.capacity)
            return ROOM
        if not allocates:
            return NO_ROOM
        storage = resize_storage(storage, grown_capacity(storage.capacity, needed + offset))
        if storage == NULL:
            return OUT_OF_MEMORY
        _settle(self, storage, offset, length, storage.capacity - offset)
        return ROOM
    if self._exports:
        return FIXED
    if not allocates:
        return NO_ROOM
    storage = new_storage(max(needed, original_capacity(self._storage.width)), self._storage.width)
    if storage == NULL:
        return OUT_OF_MEMORY
    memcpy(storage.data, self._at, length)
    let_go_own(self._storage)
    _settle(self, storage, 0, length, storage.capacity)
    return ROOM


cdef inline Room _reserve(BytesMut self, size_t additional, bint allocates) noexcept nogil:
    """Under the latch."""
    return ROOM if additional <= <size_t>(self._limit - self._end) else _grow(self, additional, allocates)


cdef Room _reserve_locked(BytesMut self, size_t additional, bint allocates) noexcept nogil:
    cdef Room room
    self._latch.lock()
    room = _reserve(self, additional, allocates)
    self._latch.unlock()
    return room


cdef size_t _capacity_locked(BytesMut self) noexcept nogil:
    cdef size_t capacity
    self._latch.lock()
    capacity = self._limit - self._at
    self._latch.unlock()
    return capacity


cdef Room _spare_locked(BytesMut self, size_t n, bint any, _Spare spare, Py_buffer* view) noexcept nogil:
    """Gives the room behind the end, and a handle of its memory, to an empty _Spare and its view, which are new."""
    cdef Room room
    self._latch.lock()
    if any and self._limit == self._end:
        n = LEAST_SPARE
    room = _reserve(self, n, True)
    if room == ROOM:
        self._spared = self._limit - self._end
        spare._data = self._end
        spare._length = self._spared
        if self._spared:
            hold(self._storage)
            spare._storage = self._storage
        view.buf = spare._data
        view.len = view.shape[0] = spare._length
    self._latch.unlock()
    return room


cdef bint _commit_locked(BytesMut self, size_t n) noexcept nogil:
    cdef bint fits
    self._latch.lock()
    fits = n <= self._spared
    if fits:
        self._end += n
        self._spared -= n
    self._latch.unlock()
    return fits


cdef void _export_locked(BytesMut self, Py_buffer* view) noexcept nogil:
    self._latch.lock()
    self._exports += 1
    view.buf = self._at
    view.len = self._end - self._at
    self._latch.unlock()


cdef void _unexport_locked(BytesMut self) noexcept nogil:
    self._latch.lock()
    self._exports -= 1
    self._latch.unlock()


cdef inline bint _is_away(Room room) except -1:
    """False if there is room. True, after a pause, if another thread will have an answer: ask again."""
    return room != ROOM and _without_room(room)


cdef bint _without_room(Room room) except -1:
    if room == AWAY:
        give_way()
        return True
    if room == FIXED:
        raise BufferError(_EXPORTED)
    raise MemoryError


cdef size_t _to_size(number) except? <size_t>-1:
    """A number of bytes; one that is too large is the largest, and there is no memory for it."""
    cdef Py_ssize_t size = PyNumber_AsSsize_t(number, NULL)
    if size < 0:
        raise ValueError(_NEGATIVE)
    return size


cdef int _to_byte(value) except -1:
    cdef Py_ssize_t byte = PyNumber_AsSsize_t(value, NULL)
    if byte < 0 or byte > 255:
        raise ValueError("byte must be in range(0, 256)")
    return <int>byte


cdef bint _is_number(value) except -1:
    """Whether it is an integer and not memory: a NumPy scalar is both, and counts as the former."""
    return PyIndex_Check(value) and (not PyObject_CheckBuffer(value) or memoryview(value).ndim == 0)


cdef int _get_bytes_like(Argument* given, data) except -1:
    """What put() takes."""
    if PyObject_CheckBuffer(data):
        return given.get_content(data, isinstance(data, BytesMut))
    return given.get(data)     # TypeError


cdef int _put(BytesMut self, data) except -1:
    """Appends bytes."""
    cdef Argument given
    _get_bytes_like(&given, data)
    return _append(self, given.data, given.size)


# --- content ---------------------------------------------------------------------------------------------------------

cdef int _get_locked(BytesMut self, Py_ssize_t index) noexcept nogil:
    """The byte at the index; -1 if there is none."""
    cdef int byte = -1
    cdef Py_ssize_t length
    self._latch.lock()
    length = self._end - self._at
    if index < 0:
        index += length
    if 0 <= index < length:
        byte = <unsigned char>self._at[index]
    self._latch.unlock()
    return byte


cdef bint _set_locked(BytesMut self, Py_ssize_t index, int byte) noexcept nogil:
    cdef bint there
    cdef Py_ssize_t length
    self._latch.lock()
    length = self._end - self._at
    if index < 0:
        index += length
    there = 0 <= index < length
    if there:
        self._at[index] = <char>byte
    self._latch.unlock()
    return there


cdef bint _set_slice_locked(
    BytesMut self, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step, const char* data, Py_ssize_t size
) noexcept nogil:
    """Replaces the part; False if it has another size."""
    cdef Py_ssize_t n, length
    self._latch.lock()
    length = PySlice_AdjustIndices(self._end - self._at, &start, &stop, step)
    if length == size and step == 1:
        memmove(self._at + start, data, size)
    elif length == size:
        for n in range(size):
            self._at[start + n * step] = data[n]
    self._latch.unlock()
    return length == size


cdef object _copied_part(BytesMut self, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step):
    """A copy of the part, as a Bytes."""
    cdef Cut cut
    made = move(_blank(False))
    if not _copy_part_locked(self, start, stop, step, &cut):
        raise MemoryError
    _fill(<PyObject*>made, &cut)
    return made


cdef bint _copy_part_locked(
    BytesMut self, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t step, Cut* cut
) noexcept nogil:
    cdef Py_ssize_t n
    cut.storage = NULL
    cut.data = NOTHING
    self._latch.lock()
    cut.length = PySlice_AdjustIndices(self._end - self._at, &start, &stop, step)
    if cut.length:
        cut.storage = new_storage(cut.length, 0)
        if cut.storage != NULL:
            cut.data = cut.storage.data
            if step == 1:
                memcpy(cut.storage.data, self._at + start, cut.length)
            else:
                for n in range(cut.length):
                    cut.storage.data[n] = self._at[start + n * step]
    self._latch.unlock()
    return cut.length == 0 or cut.storage != NULL


cdef bint _copy_locked(BytesMut self, char* to, Py_ssize_t length) noexcept nogil:
    """Copies the content; False if it has another length by now."""
    cdef bint same
    self._latch.lock()
    same = self._end - self._at == length
    if same:
        memcpy(to, self._at, length)
    self._latch.unlock()
    return same


cdef Py_ssize_t _find_locked(
    BytesMut self, const char* needle, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end
) noexcept nogil:
    cdef Py_ssize_t at
    self._latch.lock()
    clip(self._end - self._at, &start, &end)
    at = find_first(self._at + start, end - start, needle, size) if end >= start else -1
    self._latch.unlock()
    return at + start if at >= 0 else -1


cdef int _compare_locked(BytesMut self, const char* data, Py_ssize_t size) noexcept nogil:
    cdef int order
    self._latch.lock()
    order = order_of(self._at, self._end - self._at, data, size)
    self._latch.unlock()
    return order


# --- growing and shrinking -------------------------------------------------------------------------------------------

cdef Room _append_locked(BytesMut self, const void* data, size_t size) noexcept nogil:
    cdef Room room
    self._latch.lock()
    room = _reserve(self, size, True)
    if room == ROOM:
        memmove(self._end, data, size)      # a view of spare() may lie there
        self._end += size
        self._spared = 0
    self._latch.unlock()
    return room


cdef inline int _append(BytesMut self, const void* data, size_t size) except -1:
    while _is_away(_append_locked(self, data, size)):
        pass
    return 0


cdef Room _repeat_locked(BytesMut self, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Appends a part of the content."""
    cdef Room room
    cdef size_t size
    self._latch.lock()
    size = PySlice_AdjustIndices(self._end - self._at, &start, &stop, 1)
    room = _reserve(self, size, True)
    if room == ROOM:
        memcpy(self._end, self._at + start, size)
        self._end += size
        self._spared = 0
    self._latch.unlock()
    return room


cdef Room _resize_locked(BytesMut self, Py_ssize_t length, bint adds, int byte) noexcept nogil:
    """Truncates, or appends bytes up to this length; or so many of them."""
    cdef Room room = ROOM
    cdef Py_ssize_t more
    self._latch.lock()
    more = length if adds else length - (self._end - self._at)
    if more > 0:
        room = _reserve(self, more, True)
        if room == ROOM:
            memset(self._end, byte, more)
    if room == ROOM:
        self._end += more
        self._spared = 0
    self._latch.unlock()
    return room


cdef int _resize(BytesMut self, Py_ssize_t length, bint adds, value) except -1:
    cdef int byte = _to_byte(value)
    while _is_away(_resize_locked(self, length, adds, byte)):
        pass
    return 0


cdef void _truncate_locked(BytesMut self, Py_ssize_t length) noexcept nogil:
    self._latch.lock()
    if length < self._end - self._at:
        self._end = self._at + length
        self._spared = 0
    self._latch.unlock()


cdef float _to_float(number) except? -1:
    """As struct does: a double that is finite must be so as a float."""
    cdef double value = PyFloat_AsDouble(number)
    if isinf(<float>value) and not isinf(value):
        raise OverflowError("the number is too large for 32 bits")
    return <float>value


cdef int _put_wide(BytesMut self, number, Py_ssize_t n, bint is_big, bint signed) except -1:
    cdef unsigned char data[16]
    if n < 1 or n > 16:
        raise ValueError("an integer has 1 to 16 bytes")
    whole = PyNumber_Index(number).to_bytes(n, "big" if is_big else "little", signed=signed)
    memcpy(data, PyBytes_AS_STRING(whole), n)
    return _append(self, data, n)
