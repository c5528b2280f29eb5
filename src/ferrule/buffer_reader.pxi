"""Reader, and the files over both; part of buffer.pyx."""


@cython.final
@cython.no_gc_clear     # its pieces are of the buffers, and an exporter's release may use it; as in _Owner
cdef class Reader(_Source):
    """Reader(*buffers)
    --

    A cursor over one or many buffers, without joining them; also a binary file to read from.

    Complexity  O(1) and O(bytes copied); what passes from one buffer to the next: O(buffers passed).
    Threads     Every method is safe and one step: each byte is taken once.
    Blocks      never.
    Calls you   the buffer export of a buffer or argument, and its release when the reader and all slices have gone.
    Errors      NotEnoughBytes, and the cursor stays; ValueError once closed; io.UnsupportedOperation for writing.

    The methods of io.BufferedIOBase give bytes and read what there is; get_bytes() and the like give Bytes, which share
    the memory, and read all or nothing.

    >>> reader = Reader(b"\\x00\\x05hel", b"lo, world")
    >>> reader.get_bytes(reader.get_u16()), reader.read()
    (Bytes(b'hello'), b', world')
    """

    def __cinit__(self, *buffers):
        cdef Piece* piece
        held = []
        for buffer in buffers:
            part = _owned(buffer)
            if part:
                held.append(part)
        self._pieces = <Piece*>PyMem_Malloc(len(held) * sizeof(Piece))
        if self._pieces == NULL:
            raise MemoryError
        for part in held:
            piece = &self._pieces[self._count]
            piece.storage = (<Bytes>part)._storage
            piece.data = <char*>(<Bytes>part)._data
            piece.length = (<Bytes>part)._length
            self._tracked |= piece.storage.tracked
            if piece.length > <size_t>PY_SSIZE_T_MAX - self._total:
                raise OverflowError("a Reader cannot have so many bytes")
            self._total += piece.length
            self._count += 1
        self._buffers = tuple(held)
        _seek(self, 0)

    def __dealloc__(self):
        PyMem_Free(self._pieces)

    @property
    def remaining(self):
        """How many bytes are left."""
        return _left_locked(self)

    @property
    def position(self):
        """How many bytes have been taken."""
        return _position_locked(self)

    def copy_to(self, view, /):
        """Fills the whole of a writable buffer with the next bytes: how many. NotEnoughBytes if there are fewer."""
        cdef Target target
        cdef object count
        _check_open(self)
        target.get(view)
        count = target.size     # first, as there may be no memory for it
        if not _take_all_locked(self, target.data, target.size):
            _raise_short(self, target.size)
        return count

    def take(self, Py_ssize_t n, /):
        """Takes the next n bytes as a Reader of their own, without copying. NotEnoughBytes if there are fewer."""
        cdef size_t position
        if n < 0:
            raise ValueError(_NEGATIVE)
        while True:
            position = _position_locked(self)
            parts = _parts(self, position, n)
            made = Reader(*parts)
            if (<Reader>made)._total != <size_t>n:
                _raise_short(self, n)
            if _skip_from_locked(self, position, n):
                return made

    def chunks(self):
        """What is left, as a list of Bytes that share the memory; for sendmsg() and writev(). Takes nothing."""
        return _parts(self, _position_locked(self), PY_SSIZE_T_MAX)

    # --- as a file ---

    def read(self, size=-1, /):
        """Takes at most `size` bytes, all if it is negative or None; b'' at the end."""
        _check_open(self)
        return _read(self, _file_size(size), MANY)

    def read1(self, size=-1, /):
        """Takes at most `size` bytes of one buffer, all of it if that is negative; b'' at the end."""
        _check_open(self)
        return _read(self, _file_size(size), ONE)

    def readinto(self, buffer, /):
        """Takes as many bytes as there are and fit into a writable buffer: how many."""
        cdef Target target
        cdef size_t size
        cdef const char* after
        _check_open(self)
        target.get(buffer)
        size = target.size
        after = _take_most_locked(self, target.data, &size)
        return _given(self, PyLong_FromUnsignedLongLong(size), size, after)

    def readinto1(self, buffer, /):
        """As readinto()."""
        return self.readinto(buffer)

    def readline(self, size=-1, /):
        """Takes a line with its end, b'\\\\n', or what is left, and at most `size` bytes; b'' at the end."""
        _check_open(self)
        return _read(self, _file_size(size), LINE)

    def readlines(self, hint=-1, /):
        """Takes the lines that are left, as a list; after `hint` bytes, if it is positive, no more."""
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t most = -1 if hint is None else PyNumber_AsSsize_t(hint, NULL)
        lines = []
        for line in self:
            lines.append(line)
            size += len(<bytes>line)
            if 0 < most <= size:
                break
        return lines

    def __iter__(self):
        _check_open(self)
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def seek(self, Py_ssize_t offset, Py_ssize_t whence=0, /):
        """Moves the cursor: from the beginning, with whence 1 from here, with 2 from the end; its position.

        Behind the end it stops there; ValueError before the beginning. O(buffers).
        """
        cdef Py_ssize_t before, position
        cdef PyObject* made
        _check_open(self)
        if whence < 0 or whence > 2:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        before = _position_locked(self)
        position = _seek_locked(self, offset, whence)
        if position < 0:
            raise ValueError("cannot seek to before the beginning")
        made = PyLong_FromLongLong(position)
        if made == NULL:
            _seek_locked(self, before, 0)
            reraise()
        return move(made)

    def tell(self):
        """How many bytes have been taken."""
        _check_open(self)
        return _position_locked(self)

    def readable(self):
        """True."""
        _check_open(self)
        return True

    def seekable(self):
        """True."""
        _check_open(self)
        return True

    def writable(self):
        """False."""
        _check_open(self)
        return False

    def isatty(self):
        """False."""
        _check_open(self)
        return False

    def flush(self):
        """Does nothing."""
        _check_open(self)

    def close(self):
        """Gives up the buffers; reading is a ValueError afterwards."""
        drop(_close_locked(self, take(<PyObject*>_NO_BUFFERS)))     # last: an owner's end may call back

    @property
    def closed(self):
        """Whether close() was called."""
        return self._closed.load(relaxed) != 0

    def __enter__(self):
        _check_open(self)
        return self

    def __exit__(self, kind, error, traceback, /):
        self.close()

    def detach(self):
        """io.UnsupportedOperation: there is no raw stream."""
        raise io.UnsupportedOperation("detach")

    def fileno(self):
        """io.UnsupportedOperation: there is no descriptor."""
        raise io.UnsupportedOperation("fileno")

    def write(self, data, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not writable")

    def writelines(self, lines, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not writable")

    def truncate(self, size=None, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not writable")

    def __repr__(self):
        if self._closed.load(relaxed):
            return "<ferrule.Reader, closed>"
        return f"<ferrule.Reader at {_position_locked(self)}, {_left_locked(self)} bytes left>"

    def __reduce__(self):
        raise TypeError("cannot pickle or copy a ferrule.Reader")

    # --- what reading does; under the latch ---

    cdef bint _straddle(self, char* to, size_t n, bint takes) noexcept nogil:
        cdef char* at = self._at
        cdef char* end = self._end
        cdef size_t rest = self._rest
        cdef Py_ssize_t index = self._index
        cdef size_t here
        if n > _left(self):
            return False
        while True:
            here = min(n, <size_t>(self._end - self._at))
            if to != NULL:
                memmove(to, self._at, here)
                to += here
            self._at += here
            n -= here
            if n == 0:
                break
            _enter_next(self)
        if not takes:
            self._at = at
            self._end = end
            self._rest = rest
            self._index = index
        return True

    cdef void _give_back(self, size_t n) noexcept nogil:
        _seek(self, self._total - _left(self) - n)

    cdef Cutting _cut(self, size_t n, Cut* cut) noexcept nogil:
        if n > _left(self):
            return SHORT
        cut.storage = NULL
        cut.data = NOTHING
        cut.length = n
        if n:
            if self._at == self._end:
                _enter_next(self)
            if n <= <size_t>(self._end - self._at):
                cut.storage = self._pieces[self._index].storage
                cut.data = self._at
                hold(cut.storage)
                self._at += n
            else:
                cut.storage = new_storage(n, 0)
                if cut.storage == NULL:
                    return NO_MEMORY
                cut.data = cut.storage.data
                self._straddle(cut.storage.data, n, True)
        cut.after = self._at
        return TAKEN

    cdef Py_ssize_t _find_end(self, const char* needle, Py_ssize_t size) noexcept nogil:
        cdef char* at = self._at
        cdef Py_ssize_t index = self._index
        cdef Py_ssize_t length = self._end - at
        cdef Py_ssize_t before = 0
        cdef Py_ssize_t found, start
        while self._count:
            found = find_first(at, length, needle, size)
            if found >= 0:
                return before + found + size
            for start in range(max(length - size + 1, <Py_ssize_t>0), length):     # where it goes on in the next buffer
                if _goes_on(self, index, at + start, length - start, needle, size):
                    return before + start + size
            before += length
            index += 1
            if index == self._count:
                break
            at = self._pieces[index].data
            length = self._pieces[index].length
        return -1


cdef enum Extent:
    MANY
    ONE         # of the buffer that the cursor is in
    LINE

cdef tuple _NO_BUFFERS = ()

cdef extern from *:
    """
    namespace ferrule {
    // The memory of a writable argument, exported while this local variable lives.
    class Target {
        Py_buffer view_;
        bool held_ = false;
    public:
        char* data = nullptr;
        Py_ssize_t size = 0;

        Target() = default;
        ~Target() { if (held_) PyBuffer_Release(&view_); }
        Target(const Target&) = delete;
        Target& operator=(const Target&) = delete;

        int get(PyObject* object) noexcept {
            if (PyObject_GetBuffer(object, &view_, PyBUF_WRITABLE) < 0) return -1;
            held_ = true;
            data = static_cast<char*>(view_.buf);
            size = view_.len;
            return 0;
        }
    };
    }
    #define FERRULE_BUFFERS_SLOT(reader) (&(reader)->_buffers)
    """
    cdef cppclass Target "ferrule::Target":
        Target() noexcept
        char* data
        Py_ssize_t size
        int get(object) except -1

    PyObject** buffers_slot "FERRULE_BUFFERS_SLOT"(Reader) noexcept nogil


# --- under the latch -------------------------------------------------------------------------------------------------

cdef inline void _enter_next(Reader self) noexcept nogil:
    """On to the beginning of the next buffer; there is one."""
    self._index += 1
    self._at = self._pieces[self._index].data
    self._end = self._at + self._pieces[self._index].length
    self._rest -= self._pieces[self._index].length


cdef void _seek(Reader self, size_t position) noexcept nogil:
    """The cursor goes to the position, which is not behind the end."""
    cdef Piece* piece
    self._at = self._end = <char*>NOTHING
    self._rest = self._total
    for self._index in range(self._count):
        piece = &self._pieces[self._index]
        self._rest -= piece.length
        self._end = piece.data + piece.length
        if position <= piece.length:
            self._at = piece.data + position
            return
        position -= piece.length


cdef bint _goes_on(
    Reader self, Py_ssize_t index, const char* at, size_t length, const char* needle, size_t size
) noexcept nogil:
    """Whether the needle is at this place of a buffer and goes on in the next ones."""
    while memcmp(at, needle, min(length, size)) == 0:
        if length >= size:
            return True
        needle += length
        size -= length
        index += 1
        if index == self._count:
            return False
        at = self._pieces[index].data
        length = self._pieces[index].length
    return False


cdef size_t _position_locked(Reader self) noexcept nogil:
    cdef size_t position
    self._latch.lock()
    position = self._total - _left(self)
    self._latch.unlock()
    return position


cdef bint _skip_from_locked(Reader self, size_t position, size_t n) noexcept nogil:
    """Goes on by n bytes, which there are, if the cursor is at this position."""
    cdef bint same
    self._latch.lock()
    same = self._total - _left(self) == position and self._straddle(NULL, n, True)
    self._latch.unlock()
    return same


cdef Py_ssize_t _seek_locked(Reader self, Py_ssize_t offset, int whence) noexcept nogil:
    """The new position; -1 if it would be before the beginning."""
    cdef Py_ssize_t position = 0
    self._latch.lock()
    if whence == 1:
        position = self._total - _left(self)
    elif whence == 2:
        position = self._total
    if offset > <Py_ssize_t>self._total - position:
        position = self._total
    else:
        position = max(position + offset, <Py_ssize_t>-1)
    if position >= 0:
        _seek(self, position)
    self._latch.unlock()
    return position


cdef bint _take_all_locked(Reader self, char* to, size_t size) noexcept nogil:
    """Takes so many bytes; False if there are fewer. As _take_locked(), but the target may be memory of the source."""
    cdef bint there
    self._latch.lock()
    there = self._straddle(to, size, True)
    self._latch.unlock()
    return there


cdef const char* _take_most_locked(Reader self, char* to, size_t* size) noexcept nogil:
    """Takes as many bytes as there are, at most that many, and says how many: where the cursor is now."""
    cdef const char* after
    self._latch.lock()
    size[0] = min(size[0], _left(self))
    self._straddle(to, size[0], True)
    after = self._at
    self._latch.unlock()
    return after


cdef Cutting _cut_file_locked(Reader self, size_t size, Extent extent, Cut* cut) noexcept nogil:
    """Takes at most so many bytes."""
    cdef Cutting how
    cdef Py_ssize_t line
    self._latch.lock()
    if extent == ONE:
        if self._at == self._end and self._rest:
            _enter_next(self)
        size = min(size, <size_t>(self._end - self._at))
    elif extent == LINE:
        line = self._find_end(b"\n", 1)
        if line >= 0:
            size = min(size, <size_t>line)
    how = self._cut(min(size, _left(self)), cut)
    self._latch.unlock()
    return how


cdef PyObject* _close_locked(Reader self, PyObject* nothing) noexcept nogil:
    """Gives up the buffers: the reference to them."""
    cdef PyObject* buffers
    self._latch.lock()
    buffers = swap(buffers_slot(self), nothing)
    self._count = 0
    self._total = 0
    self._closed.store(True, relaxed)
    _seek(self, 0)
    self._latch.unlock()
    return buffers


cdef PyObject* _buffers_locked(Reader self) noexcept nogil:
    """A new reference to the buffers."""
    cdef PyObject* buffers
    self._latch.lock()
    buffers = take(buffers_slot(self)[0])
    self._latch.unlock()
    return buffers


# --- with the latch free ---------------------------------------------------------------------------------------------

cdef inline int _check_open(Reader self) except -1:
    if self._closed.load(relaxed):
        raise ValueError("I/O operation on a closed Reader")
    return 0


cdef list _parts(Reader self, size_t position, size_t length):
    """What the buffers have from the position on, at most so many bytes."""
    cdef size_t here
    cdef list parts = []
    _check_open(self)
    buffers = move(_buffers_locked(self))
    for buffer in <tuple>buffers:
        here = (<Bytes>buffer)._length
        if position < here and length:
            here = min(here - position, length)
            parts.append(_part(<Bytes>buffer, position, here))
            length -= here
            position = 0
        else:
            position -= min(position, here)
    return parts


cdef Py_ssize_t _file_size(size) except -1:
    """The argument of read() and the like; all there can be if it is negative or None."""
    cdef Py_ssize_t most = -1 if size is None else PyNumber_AsSsize_t(size, NULL)
    return most if most >= 0 else PY_SSIZE_T_MAX


cdef object _read(Reader self, size_t size, Extent extent):
    """Takes at most so many bytes, as bytes."""
    cdef Cut cut
    cdef PyObject* made
    if _cut_file_locked(self, size, extent, &cut) == NO_MEMORY:
        raise MemoryError
    made = new_bytes(cut.data, cut.length)
    let_go(cut.storage)
    return _given(self, made, cut.length, cut.after)


@cython.final
cdef class Writer:
    """A binary file that appends to a BytesMut: what BytesMut.writer() gives."""

    def __cinit__(self, BytesMut target not None):
        self._target = target

    def write(self, data, /):
        """Appends the bytes: how many."""
        cdef Argument given
        cdef object count
        _check_writable(self)
        _get_bytes_like(&given, data)
        count = given.size      # first, as there may be no memory for it
        _append(self._target, given.data, given.size)
        return count

    def writelines(self, lines, /):
        """Appends the bytes of each of the lines."""
        cdef Py_ssize_t count = 0
        for line in lines:
            self.write(line)
            count += 1
            if count % AT_A_TIME == 0 and let_others_in() < 0:
                reraise()

    def writable(self):
        """True."""
        _check_writable(self)
        return True

    def readable(self):
        """False."""
        _check_writable(self)
        return False

    def seekable(self):
        """False."""
        _check_writable(self)
        return False

    def isatty(self):
        """False."""
        _check_writable(self)
        return False

    def flush(self):
        """Does nothing."""
        _check_writable(self)

    def close(self):
        """Ends the file; the buffer stays."""
        self._closed.store(True, relaxed)

    @property
    def closed(self):
        """Whether close() was called."""
        return self._closed.load(relaxed) != 0

    def __enter__(self):
        _check_writable(self)
        return self

    def __exit__(self, kind, error, traceback, /):
        self.close()

    def __iter__(self):
        raise io.UnsupportedOperation("not readable")

    def __next__(self):
        raise io.UnsupportedOperation("not readable")

    def detach(self):
        """io.UnsupportedOperation: there is no raw stream."""
        raise io.UnsupportedOperation("detach")

    def fileno(self):
        """io.UnsupportedOperation: there is no descriptor."""
        raise io.UnsupportedOperation("fileno")

    def read(self, size=-1, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not readable")

    def read1(self, size=-1, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not readable")

    def readinto(self, buffer, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not readable")

    def readinto1(self, buffer, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not readable")

    def readline(self, size=-1, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not readable")

    def readlines(self, hint=-1, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not readable")

    def seek(self, offset, whence=0, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not seekable")

    def tell(self):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not seekable")

    def truncate(self, size=None, /):
        """io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not seekable")

    def __reduce__(self):
        raise TypeError("cannot pickle or copy the writer of a BytesMut")


cdef inline int _check_writable(Writer self) except -1:
    if self._closed.load(relaxed):
        raise ValueError("I/O operation on a closed writer")
    return 0
