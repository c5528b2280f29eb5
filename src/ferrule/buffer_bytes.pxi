"""Bytes; part of buffer.pyx."""


@cython.final
cdef class Bytes:
    """Bytes(data=b'', /)
    --

    Bytes that never change, whose slices share their memory.

    Complexity  A slice, and what gives slices: O(1) each. What makes new bytes: O(their length).
    Threads     Every method is safe; a Bytes and its slices can be shared freely.
    Blocks      never.
    Calls you   the buffer export of an owner or argument, and its release when the last slice has gone.
    Errors      those of bytes. BufferError for an owner whose memory is not contiguous.

    It has the methods of bytes, equals bytes of the same content, and hashes like them. What bytes gives as a copied
    part, a Bytes gives as a slice: a Bytes of 56 bytes that keeps the whole memory alive, see `retained`. An empty one
    keeps nothing.

    >>> frame = Bytes(b"\\x00\\x05hello, world")
    >>> frame[2:7], frame[2:7] == b"hello", frame[2:7].retained
    (Bytes(b'hello'), True, 14)
    """

    def __cinit__(self, data=b"", /):
        cdef Argument given
        cdef Storage* storage
        self._data = NOTHING
        given.get_content(data, isinstance(data, BytesMut))
        if given.size == 0:
            return
        storage = new_storage(given.size, 0)
        if storage == NULL:
            raise MemoryError
        memcpy(storage.data, given.data, given.size)
        self._storage = storage
        self._data = storage.data
        self._length = given.size

    @staticmethod
    def from_owner(owner, /):
        """A Bytes of the memory of `owner`, any object with a C-contiguous buffer: nothing is copied.

        The export is kept until the last slice has gone, and then released in that slice's thread. Who can write the
        owner's memory changes the Bytes. BufferError if the memory is not contiguous. O(1).
        """
        return _owned(owner)

    # --- parts ---

    def __len__(self):
        return self._length

    def __getitem__(self, index, /):
        cdef Py_ssize_t start, stop, step, length, n
        cdef char* to
        if not PySlice_Check(index):
            start = PyNumber_AsSsize_t(index, <PyObject*>IndexError)
            if start < 0:
                start += self._length
            if start < 0 or start >= self._length:
                raise IndexError("index out of range")
            return <unsigned char>self._data[start]
        unpack(index, &start, &stop, &step)
        if step == 1:
            clip(self._length, &start, &stop)
            length = stop - start
            return self if length == self._length else _part(self, start, length)
        length = PySlice_AdjustIndices(self._length, &start, &stop, step)
        made = _new(length, &to)
        for n in range(length):
            to[n] = self._data[start + n * step]
        return made

    def slice(self, start=0, stop=None, /, *, Py_ssize_t copy_below=0):
        """The slice [start:stop]; it shares the memory, but is copied if it has fewer than `copy_below` bytes. O(1)."""
        cdef Py_ssize_t first, last, length
        get_bound(start, 0, &first)
        get_bound(stop, PY_SSIZE_T_MAX, &last)
        clip(self._length, &first, &last)
        length = last - first
        if length < copy_below:
            return _copied(self._data + first, length)
        return self if length == self._length else _part(self, first, length)

    def split_at(self, Py_ssize_t index, /):
        """The bytes before the index and those from it on, which share the memory: (head, tail). O(1).

        IndexError unless 0 <= index <= len().
        """
        if index < 0 or index > self._length:
            raise IndexError(f"cannot split {self._length} bytes at {index}")
        return _part(self, 0, index), _part(self, index, self._length - index)

    def slice_ref(self, view, /):
        """The slice that `view`, a buffer inside the memory of this one, shows: what to keep of a parser's memoryview.

        ValueError if it lies elsewhere. O(1).
        """
        cdef Argument given
        given.get(view)
        if given.size == 0:
            return _part(self, 0, 0)
        if given.data < self._data or given.data + given.size > self._data + self._length:
            raise ValueError("the buffer does not lie inside the memory of this Bytes")
        return _part(self, given.data - self._data, given.size)

    @property
    def retained(self):
        """How many bytes of memory this slice keeps alive."""
        return self._storage.capacity if self._storage != NULL else 0

    def compact(self):
        """These bytes without others beside them: a copy if this is a slice of more memory, else the same. O(len)."""
        if self._storage == NULL or self._storage.capacity == <size_t>self._length:
            return self
        return _copied(self._data, self._length)

    def reader(self):
        """A Reader of these bytes."""
        return Reader(self)

    def __iter__(self):
        return iter(PyMemoryView_FromObject(self))

    # --- searching ---

    def find(self, sub, start=None, end=None, /):
        """The lowest index in [start:end] where `sub`, bytes or one byte as an integer, begins, or -1."""
        return _find(self, sub, start, end, False)

    def rfind(self, sub, start=None, end=None, /):
        """The highest index in [start:end] where `sub`, bytes or one byte as an integer, begins, or -1."""
        return _find(self, sub, start, end, True)

    def index(self, sub, start=None, end=None, /):
        """As find(), but ValueError if there is none."""
        return _found(_find(self, sub, start, end, False))

    def rindex(self, sub, start=None, end=None, /):
        """As rfind(), but ValueError if there is none."""
        return _found(_find(self, sub, start, end, True))

    def count(self, sub, start=None, end=None, /):
        """How often `sub`, bytes or one byte as an integer, is in [start:end], without overlaps."""
        cdef Argument given
        cdef Py_ssize_t begin, length
        given.get_or_byte(sub)
        _bounds(start, end, self._length, &begin, &length)
        return count_of(self._data + begin, length, given.data, given.size) if length >= 0 else 0

    def __contains__(self, sub, /):
        cdef Argument given
        given.get_or_byte(sub)
        return find_first(self._data, self._length, given.data, given.size) >= 0

    def startswith(self, prefix, start=None, end=None, /):
        """Whether [start:end] begins with the prefix, or with one of a tuple of them."""
        return _matches(self, prefix, start, end, False)

    def endswith(self, suffix, start=None, end=None, /):
        """Whether [start:end] ends with the suffix, or with one of a tuple of them."""
        return _matches(self, suffix, start, end, True)

    def isascii(self):
        """Whether all bytes are below 128."""
        return all_ascii(self._data, self._length)

    # --- cutting: all parts share the memory ---

    def split(self, sep=None, Py_ssize_t maxsplit=-1):
        """The parts between the separators, or between runs of white space; at most `maxsplit` cuts, from the left."""
        cdef Argument given
        cdef list parts = []
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t at
        if sep is None:
            return _split_space(self, maxsplit)
        _separator(&given, sep)
        while maxsplit != 0:
            at = find_first(self._data + start, self._length - start, given.data, given.size)
            if at < 0:
                break
            parts.append(_part(self, start, at))
            start += at + given.size
            maxsplit -= 1
        parts.append(_part(self, start, self._length - start))
        return parts

    def rsplit(self, sep=None, Py_ssize_t maxsplit=-1):
        """As split(), but with the cuts from the right."""
        cdef Argument given
        cdef list parts = []
        cdef Py_ssize_t end = self._length
        cdef Py_ssize_t at
        if sep is None:
            return _rsplit_space(self, maxsplit)
        _separator(&given, sep)
        while maxsplit != 0:
            at = find_last(self._data, end, given.data, given.size)
            if at < 0:
                break
            parts.append(_part(self, at + given.size, end - at - given.size))
            end = at
            maxsplit -= 1
        parts.append(_part(self, 0, end))
        parts.reverse()
        return parts

    def partition(self, sep, /):
        """The bytes before the first separator, the separator, and those behind; or all, and twice nothing."""
        cdef Argument given
        cdef Py_ssize_t at
        _separator(&given, sep)
        at = find_first(self._data, self._length, given.data, given.size)
        if at < 0:
            return self, _part(self, 0, 0), _part(self, 0, 0)
        return _cut_around(self, at, given.size)

    def rpartition(self, sep, /):
        """The bytes before the last separator, the separator, and those behind; or twice nothing, and all."""
        cdef Argument given
        cdef Py_ssize_t at
        _separator(&given, sep)
        at = find_last(self._data, self._length, given.data, given.size)
        if at < 0:
            return _part(self, 0, 0), _part(self, 0, 0), self
        return _cut_around(self, at, given.size)

    def strip(self, chars=None, /):
        """Without those of the given bytes, or white space, that are at both ends."""
        return _strip(self, chars, True, True)

    def lstrip(self, chars=None, /):
        """Without those of the given bytes, or white space, that are at the beginning."""
        return _strip(self, chars, True, False)

    def rstrip(self, chars=None, /):
        """Without those of the given bytes, or white space, that are at the end."""
        return _strip(self, chars, False, True)

    def splitlines(self, bint keepends=False):
        """The lines, which end with \\\\n, \\\\r or \\\\r\\\\n; with those ends if `keepends`."""
        cdef list lines = []
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t end
        while at < self._length:
            while at < self._length and self._data[at] != c"\n" and self._data[at] != c"\r":
                at += 1
            end = at
            if at < self._length:
                at += 2 if self._data[at] == c"\r" and at + 1 < self._length and self._data[at + 1] == c"\n" else 1
            lines.append(_part(self, start, (at if keepends else end) - start))
            start = at
        return lines

    # --- new bytes ---

    def tobytes(self):
        """A bytes object with the same content. O(len)."""
        return PyBytes_FromStringAndSize(self._data, self._length)

    def __bytes__(self):
        return PyBytes_FromStringAndSize(self._data, self._length)

    def hex(self, *args, **named):
        """hex(sep=..., bytes_per_sep=1): the bytes as hexadecimal digits, as bytes.hex() gives them."""
        return PyMemoryView_FromObject(self).hex(*args, **named)

    def decode(self, str encoding not None="utf-8", str errors not None="strict"):
        """The text that the bytes encode, without a copy of them."""
        return PyUnicode_Decode(self._data, self._length, _name(encoding), _name(errors))

    def join(self, parts, /):
        """The bytes-like parts as one Bytes, with these bytes between them."""
        return _owned(self.tobytes().join(parts))

    def replace(self, old, new, Py_ssize_t count=-1, /):
        """With `new` for each `old`, or for the first `count` of them. The same if there is none."""
        cdef Argument given
        given.get(old)
        if find_first(self._data, self._length, given.data, given.size) < 0:
            new = memoryview(new)   # so that what it must be does not depend on what is found
            return self
        return _owned(self.tobytes().replace(old, new, count))

    def lower(self):
        """With a-z for A-Z."""
        cdef Py_ssize_t n
        cdef char* to
        made = _new(self._length, &to)
        for n in range(self._length):
            to[n] = lowered(self._data[n])
        return made

    def upper(self):
        """With A-Z for a-z."""
        cdef Py_ssize_t n
        cdef char* to
        made = _new(self._length, &to)
        for n in range(self._length):
            to[n] = raised(self._data[n])
        return made

    def __add__(self, other, /):
        cdef Argument given
        cdef char* to
        if not PyObject_CheckBuffer(other):
            return NotImplemented
        given.get(other)
        if given.size > PY_SSIZE_T_MAX - self._length:
            raise MemoryError
        made = _new(self._length + given.size, &to)
        memcpy(to, self._data, self._length)
        memcpy(to + self._length, given.data, given.size)
        return made

    def __mul__(self, times, /):
        return _repeated(self, times)

    def __rmul__(self, times, /):
        return _repeated(self, times)

    # --- as a value ---

    def __richcmp__(self, other, int how):
        cdef Argument given
        if isinstance(other, BytesMut):
            other = bytes(other)
        if not given.compare(other):
            return NotImplemented
        if (how == Py_EQ or how == Py_NE) and given.size != (<Bytes>self)._length:
            return how == Py_NE
        return _order_answers(order_of((<Bytes>self)._data, (<Bytes>self)._length, given.data, given.size), how)

    def __hash__(self):
        if self._storage != NULL and self._storage.writable:
            raise ValueError("cannot hash a Bytes whose owner can be written")
        return hash_of(self._data, self._length)

    def __getbuffer__(self, Py_buffer* view, int flags):
        _show(view, self, self._data, self._length, True, flags)

    def __repr__(self):
        return f"Bytes({self.tobytes()!r})"

    def __reduce__(self):
        return Bytes, (self.tobytes(),)


# --- what the methods share ------------------------------------------------------------------------------------------

cdef Py_ssize_t _find(Bytes self, sub, start, end, bint last) except? -2:
    cdef Argument given
    cdef Py_ssize_t begin, length, at
    given.get_or_byte(sub)
    _bounds(start, end, self._length, &begin, &length)
    if length < 0:
        return -1
    if last:
        at = find_last(self._data + begin, length, given.data, given.size)
    else:
        at = find_first(self._data + begin, length, given.data, given.size)
    return at + begin if at >= 0 else -1


cdef const char* _name(str text) except NULL:
    """The name of an encoding as C takes it, as long as the text is there."""
    cdef Py_ssize_t length
    cdef const char* name = PyUnicode_AsUTF8AndSize(text, &length)
    if memchr(name, 0, length) != NULL:
        raise ValueError("embedded null character")
    return name


cdef object _found(Py_ssize_t at):
    if at < 0:
        raise ValueError("subsection not found")
    return at


cdef bint _matches(Bytes self, affix, start, end, bint at_end) except -1:
    cdef Py_ssize_t begin, length
    _bounds(start, end, self._length, &begin, &length)
    if not isinstance(affix, tuple):
        return _matches_one(self, affix, begin, length, at_end)
    for one in <tuple>affix:
        if _matches_one(self, one, begin, length, at_end):
            return True
    return False


cdef bint _matches_one(Bytes self, affix, Py_ssize_t begin, Py_ssize_t length, bint at_end) except -1:
    cdef Argument given
    given.get(affix)
    if length < given.size:
        return False
    if at_end:
        begin += length - given.size
    return memcmp(self._data + begin, given.data, given.size) == 0


cdef int _separator(Argument* given, sep) except -1:
    given.get(sep)
    if given.size == 0:
        raise ValueError("empty separator")
    return 0


cdef tuple _cut_around(Bytes self, Py_ssize_t at, Py_ssize_t size):
    return _part(self, 0, at), _part(self, at, size), _part(self, at + size, self._length - at - size)


cdef list _split_space(Bytes self, Py_ssize_t maxsplit):
    cdef list parts = []
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t start, end
    while True:
        while at < self._length and is_space(self._data[at]):
            at += 1
        if at == self._length:
            return parts
        start = at
        end = self._length
        if maxsplit == 0:
            at = self._length
        else:
            while at < self._length and not is_space(self._data[at]):
                at += 1
            end = at
        parts.append(_part(self, start, end - start))
        maxsplit -= 1


cdef list _rsplit_space(Bytes self, Py_ssize_t maxsplit):
    cdef list parts = []
    cdef Py_ssize_t at = self._length
    cdef Py_ssize_t start, end
    while True:
        while at > 0 and is_space(self._data[at - 1]):
            at -= 1
        if at == 0:
            parts.reverse()
            return parts
        end = at
        start = 0
        if maxsplit == 0:
            at = 0
        else:
            while at > 0 and not is_space(self._data[at - 1]):
                at -= 1
            start = at
        parts.append(_part(self, start, end - start))
        maxsplit -= 1


cdef object _strip(Bytes self, chars, bint left, bint right):
    cdef Argument given
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t end = self._length
    if chars is None:
        given.data = b" \t\n\r\x0b\f"
        given.size = 6
    else:
        given.get(chars)
    while left and start < end and find_first(given.data, given.size, self._data + start, 1) >= 0:
        start += 1
    while right and start < end and find_first(given.data, given.size, self._data + end - 1, 1) >= 0:
        end -= 1
    return self if end - start == self._length else _part(self, start, end - start)


cdef object _repeated(Bytes self, times):
    cdef Py_ssize_t count, length, filled
    cdef char* to
    if not PyIndex_Check(times):
        return NotImplemented
    count = max(PyNumber_AsSsize_t(times, <PyObject*>OverflowError), <Py_ssize_t>0)
    if self._length and count > PY_SSIZE_T_MAX // self._length:
        raise MemoryError
    length = self._length * count
    made = _new(length, &to)
    filled = min(self._length, length)
    memcpy(to, self._data, filled)
    while filled < length:      # twice as much each time
        count = min(filled, length - filled)
        memcpy(to + filled, to, count)
        filled += count
    return made
