"""Bytes, BytesMut and Reader: slices of shared memory, a buffer that splits and rejoins without copying, a cursor.

All of them have handles of one kind of storage, raw_storage.pxd. A Bytes never changes and is shared by any number of
threads; its memory is freed, or given back to its owner, by the last slice of it. The model is the Rust crate `bytes`.
"""
import io

cimport cython
from cpython.buffer cimport (
    PyBUF_FULL_RO,
    PyBuffer_FillInfo,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.number cimport PyIndex_Check, PyNumber_Index
from cpython.object cimport Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE, PyObject
from cpython.unicode cimport PyUnicode_Decode
from libc.math cimport isinf
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

from ferrule._core.atomics cimport relaxed
from ferrule._core.freelist cimport new_tracked, new_untracked, recycle, recycle_untracked
from ferrule._core.gc cimport PyObject_GC_UnTrack, free_object, make_collectable, visit_raw, visitproc
from ferrule._core.interrupt cimport AT_A_TIME, let_others_in
from ferrule._core.memory cimport PyMem_Free, PyMem_Malloc
from ferrule._core.owned cimport drop, move, release_shared, swap, take
from ferrule._core.raised cimport reraise
from ferrule._core.sealed cimport seal
from ferrule.raw_numbers cimport MOST_VARINT, big, copy_few, little, read_number, read_varint, write_varint
from ferrule.raw_search cimport (
    all_ascii,
    clip,
    count_of,
    find_first,
    find_last,
    is_space,
    lowered,
    order_of,
    raised,
)
from ferrule.raw_storage cimport (
    Storage,
    grown_capacity,
    hold,
    is_only_handle,
    let_go,
    let_go_own,
    new_storage,
    original_capacity,
    original_width,
    resize_storage,
)

from ferrule.errors import NotEnoughBytes

cdef extern from "Python.h":
    void PyObject_GC_Track(PyObject*) noexcept
    void PyObject_GC_Del(PyObject*) noexcept
    Py_ssize_t PyNumber_AsSsize_t(object, PyObject*) except? -1
    bint PySlice_Check(object) noexcept
    Py_ssize_t PySlice_AdjustIndices(Py_ssize_t, Py_ssize_t*, Py_ssize_t*, Py_ssize_t) noexcept nogil
    object PyMemoryView_FromObject(object)
    Py_buffer* PyMemoryView_GET_BUFFER(object) noexcept
    object PySeqIter_New(object)
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*) except NULL
    double PyFloat_AsDouble(object) except? -1
    PyObject* PyFloat_FromDouble(double) noexcept
    PyObject* PyLong_FromLongLong(long long) noexcept
    PyObject* PyLong_FromUnsignedLongLong(unsigned long long) noexcept
    PyObject* wide_integer "_PyLong_FromByteArray"(const unsigned char*, size_t, bint, bint) noexcept
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char*, Py_ssize_t) noexcept
    const Py_ssize_t PY_SSIZE_T_MAX

cdef extern from *:
    """
    namespace ferrule {
    // The bytes of an argument, exported while this local variable lives.
    class Argument {
        Py_buffer view_;
        bool held_ = false;
        char byte_ = 0;
        PyObject* copy_ = nullptr;
    public:
        const char* data = nullptr;
        Py_ssize_t size = 0;

        Argument() = default;
        ~Argument() {
            if (held_) PyBuffer_Release(&view_);
            Py_XDECREF(copy_);
        }
        Argument(const Argument&) = delete;
        Argument& operator=(const Argument&) = delete;

        // 0, or -1 with an exception set. Once only, as are the others.
        int get(PyObject* object) noexcept {
            if (PyBytes_CheckExact(object)) {
                data = PyBytes_AS_STRING(object);
                size = PyBytes_GET_SIZE(object);
                return 0;
            }
            if (!PyObject_CheckBuffer(object)) {
                const char* kind = Py_TYPE(object)->tp_name;
                PyErr_Format(PyExc_TypeError, "a bytes-like object is required, not '%.200s'", kind);
                return -1;
            }
            if (PyObject_GetBuffer(object, &view_, PyBUF_SIMPLE) < 0) return -1;
            held_ = true;
            data = static_cast<const char*>(view_.buf);
            size = view_.len;
            return 0;
        }
        // The same, and an integer is one byte.
        int get_or_byte(PyObject* object) noexcept {
            if (PyBytes_CheckExact(object) || PyObject_CheckBuffer(object) || !PyIndex_Check(object))
                return get(object);
            Py_ssize_t value = PyNumber_AsSsize_t(object, nullptr);
            if (value == -1 && PyErr_Occurred()) return -1;
            if (value < 0 || value > 255) {
                PyErr_SetString(PyExc_ValueError, "byte must be in range(0, 256)");
                return -1;
            }
            byte_ = static_cast<char>(value);
            data = &byte_;
            size = 1;
            return 0;
        }
        // The same for all that bytes() takes but lengths: also buffers that are not contiguous, and iterables. What
        // changes is copied.
        int get_content(PyObject* object, bool changes) noexcept {
            if (!changes && PyObject_CheckBuffer(object)) {
                if (get(object) == 0) return 0;
                if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
                PyErr_Clear();
            } else if (!changes && PyIndex_Check(object)) return get(object);
            copy_ = PyObject_Bytes(object);
            return copy_ == nullptr ? -1 : get(copy_);
        }
        // The bytes of something that is compared as bytes: 1; 0 if it is not; -1 with an exception set.
        int compare(PyObject* object) noexcept {
            if (PyBytes_Check(object)) {
                data = PyBytes_AS_STRING(object);
                size = PyBytes_GET_SIZE(object);
                return 1;
            }
            if (!PyObject_CheckBuffer(object)) return 0;
            if (PyObject_GetBuffer(object, &view_, PyBUF_CONTIG_RO | PyBUF_FORMAT) < 0) {
                if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
                PyErr_Clear();      // not contiguous, or a memoryview that was released
                return 0;
            }
            held_ = true;
            data = static_cast<const char*>(view_.buf);
            size = view_.len;
            return view_.ndim == 1 && (view_.format == nullptr || std::strcmp(view_.format, "B") == 0);
        }
    };

    // The value of a bound that is None, which stands for `missing`, or an int of one digit, as bounds usually are;
    // false if it is something else.
    inline bool is_plain_bound(PyObject* bound, Py_ssize_t missing, Py_ssize_t* value) noexcept {
        if (bound == Py_None) {
            *value = missing;
            return true;
        }
        if (!PyLong_CheckExact(bound)) return false;
        auto number = reinterpret_cast<PyLongObject*>(bound);
    #if PY_VERSION_HEX >= 0x030C0000
        if (!PyUnstable_Long_IsCompact(number)) return false;
        *value = PyUnstable_Long_CompactValue(number);
    #else
        Py_ssize_t digits = Py_SIZE(number);
        if (digits < -1 || digits > 1) return false;
        *value = digits * static_cast<Py_ssize_t>(number->ob_digit[0]);
    #endif
        return true;
    }

    // A bound that is given as an argument; it is cut to what fits.
    inline int get_bound(PyObject* bound, Py_ssize_t missing, Py_ssize_t* value) noexcept {
        if (is_plain_bound(bound, missing, value)) return 0;
        *value = PyNumber_AsSsize_t(bound, nullptr);
        return *value == -1 && PyErr_Occurred() ? -1 : 0;
    }

    // PySlice_Unpack().
    inline int unpack(PyObject* slice, Py_ssize_t* start, Py_ssize_t* stop, Py_ssize_t* step) noexcept {
        auto bounds = reinterpret_cast<PySliceObject*>(slice);
        *step = 1;
        if (bounds->step == Py_None && is_plain_bound(bounds->start, 0, start) &&
            is_plain_bound(bounds->stop, PY_SSIZE_T_MAX, stop))
            return 0;
        return PySlice_Unpack(slice, start, stop, step);
    }

    // What bytes of this content hash to.
    inline Py_hash_t hash_of(const char* data, Py_ssize_t length) noexcept {
        if (length == 0) return 0;
        Py_hash_t hash = PyHash_GetFuncDef()->hash(data, length);
        return hash == -1 ? -2 : hash;
    }

    // The object whose memory this is; a memoryview stands for the one that it is of. Or NULL.
    inline PyObject* base_of(PyObject* exporter) noexcept {
        return exporter != nullptr && PyMemoryView_Check(exporter) ? PyMemoryView_GET_BASE(exporter) : exporter;
    }

    inline bool has_no_hash(PyObject* exporter) noexcept {
        PyObject* base = base_of(exporter);
        return base != nullptr && Py_TYPE(base)->tp_hash == PyObject_HashNotImplemented;
    }

    // Whether it may be part of a cycle, as far as its type says.
    inline bool is_collected(PyObject* exporter) noexcept {
        PyObject* base = base_of(exporter);
        return base == nullptr || PyObject_IS_GC(base);
    }
    }
    """
    cdef cppclass Argument "ferrule::Argument":
        Argument() noexcept
        const char* data
        Py_ssize_t size
        int get(object) except -1
        int get_content(object, bint changes) except -1
        int get_or_byte(object) except -1
        int compare(object) except -1

    int get_bound "ferrule::get_bound"(object, Py_ssize_t missing, Py_ssize_t*) except -1
    int unpack "ferrule::unpack"(object, Py_ssize_t*, Py_ssize_t*, Py_ssize_t*) except -1
    Py_hash_t hash_of "ferrule::hash_of"(const char*, Py_ssize_t) noexcept
    bint has_no_hash "ferrule::has_no_hash"(PyObject*) noexcept
    bint is_collected "ferrule::is_collected"(PyObject*) noexcept

cdef extern from "<thread>" nogil:
    void give_way "std::this_thread::yield"() noexcept

cdef enum:
    LEAST_SPARE = 64        # what spare() makes room for where there is none, as the crate's chunk_mut()

cdef const char* NOTHING = b""

# Invariants
#   A Bytes without bytes has no storage.
#   The parts of one storage that different BytesMut have do not overlap, and no Bytes sees what one of them has.
#   at <= end <= limit: the content and the spare room of a BytesMut, in its storage.
#   Memory that a Bytes can see is written by nobody, but where it is another object's.


# --- memory ----------------------------------------------------------------------------------------------------------

@cython.final
@cython.trashcan(True)
@cython.no_gc_clear     # the memory stays as long as there is a slice of it; a cycle can be cleared at the exporter
cdef class _Owner:
    """The storage of another object's memory: its export, released when the last slice of it has gone."""

    def __cinit__(self, exporter):
        PyObject_GetBuffer(exporter, &self.view, PyBUF_FULL_RO)
        if not PyBuffer_IsContiguous(&self.view, b"C"):
            PyBuffer_Release(&self.view)
            raise BufferError(f"the memory of this {type(exporter).__name__} is not C-contiguous: copy it first")
        self._exporter = exporter
        self.storage.data = <char*>self.view.buf
        self.storage.capacity = self.view.len
        self.storage.owner = <PyObject*>self
        self.storage.tracked = is_collected(<PyObject*>exporter) or is_collected(<PyObject*>self.view.obj)
        # As memoryview: what can be written has no hash, nor has what only looks read-only.
        self.storage.writable = not self.view.readonly or has_no_hash(<PyObject*>self.view.obj)

    def __reduce__(self):
        raise TypeError("cannot pickle or copy an export")

    def __dealloc__(self):
        if self.storage.owner != NULL:
            PyBuffer_Release(&self.view)


cdef inline object _made(Storage* storage, const char* data, Py_ssize_t length):
    """The Bytes of this memory. The handle moves in; without memory it is given back."""
    cdef bint tracked = storage != NULL and storage.tracked
    cdef PyObject* made = new_tracked(Bytes) if tracked else new_untracked(Bytes)
    if made == NULL:
        let_go(storage)
        reraise()
    (<Bytes>made)._storage = storage
    (<Bytes>made)._data = data
    (<Bytes>made)._length = length
    if tracked:
        PyObject_GC_Track(made)
    return move(made)


cdef inline PyObject* _blank(bint tracked) except NULL:
    """An empty Bytes for _fill(); `tracked`: its memory may be such that the collector has to know it."""
    cdef PyObject* made = new_tracked(Bytes) if tracked else new_untracked(Bytes)
    if made == NULL:
        reraise()
    (<Bytes>made)._storage = NULL
    (<Bytes>made)._data = NOTHING
    (<Bytes>made)._length = 0
    return made


cdef inline object _part(Bytes whole, Py_ssize_t start, Py_ssize_t length):
    """A slice of it that shares its memory."""
    if length <= 0:
        return move(_blank(False))
    hold(whole._storage)
    return _made(whole._storage, whole._data + start, length)


cdef inline object _new(Py_ssize_t length, char** data):
    """A Bytes with memory of its own, for the caller to fill in before anybody else has it."""
    cdef Storage* storage
    if length <= 0:
        data[0] = NULL
        return move(_blank(False))
    storage = new_storage(length, 0)
    if storage == NULL:
        raise MemoryError
    data[0] = storage.data
    return _made(storage, storage.data, length)


cdef object _copied(const char* data, Py_ssize_t length):
    cdef char* to
    made = _new(length, &to)
    if length > 0:
        memcpy(to, data, length)
    return made


cdef object _owned(exporter):
    """A Bytes of the memory of that object."""
    cdef _Owner owner
    if isinstance(exporter, Bytes):
        return exporter
    owner = _Owner.__new__(_Owner, exporter)
    if owner.storage.capacity == 0:
        return move(_blank(False))
    hold(&owner.storage)
    return _made(&owner.storage, owner.storage.data, owner.storage.capacity)


cdef int _show(Py_buffer* view, exporter, const char* data, Py_ssize_t length, bint readonly, int flags) except -1:
    """Fills in the view that a __getbuffer__() has been given."""
    PyBuffer_FillInfo(view, exporter, <void*>data, length, readonly, flags)
    release_shared(<PyObject*>None)     # which Cython has put where the exporter is now
    return 0


cdef inline int _bounds(object start, object end, Py_ssize_t length, Py_ssize_t* begin, Py_ssize_t* size) except -1:
    """The part [start:end] as its beginning and its length, negative where bytes.find() finds nothing at all."""
    cdef Py_ssize_t last
    get_bound(end, PY_SSIZE_T_MAX, &last)
    get_bound(start, 0, begin)
    clip(length, begin, &last)
    size[0] = last - begin[0]
    return 0


cdef object _order_answers(int order, int how):
    if how == Py_EQ:
        return order == 0
    if how == Py_NE:
        return order != 0
    if how == Py_LT:
        return order < 0
    if how == Py_LE:
        return order <= 0
    if how == Py_GT:
        return order > 0
    return order >= 0


include "buffer_source.pxi"
include "buffer_bytes.pxi"
include "buffer_mut.pxi"
include "buffer_halves.pxi"
include "buffer_reader.pxi"


cdef int _traverse_bytes(PyObject* slot, visitproc visit, void* arg) noexcept:
    cdef Storage* storage = (<Bytes>slot)._storage
    return visit_raw(storage.owner, visit, arg) if storage != NULL else 0


cdef void _dealloc_bytes(PyObject* slot) noexcept:
    cdef Storage* storage = (<Bytes>slot)._storage
    if storage != NULL and storage.tracked:
        PyObject_GC_UnTrack(slot)
        PyObject_GC_Del(slot)
    else:
        free_object(slot)
    let_go(storage)     # last: the owner's end may call back


recycle_untracked(Bytes)
make_collectable(Bytes, _traverse_bytes, _dealloc_bytes)
recycle(BytesMut)
seal(_Owner)
seal(_Source)
seal(_Spare)
seal(Writer)
io.BufferedIOBase.register(Reader)
io.BufferedIOBase.register(Writer)
