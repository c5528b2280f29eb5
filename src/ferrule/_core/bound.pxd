"""Methods of `with` without the interpreter's bound methods.

Before CPython 3.14 a `with` statement binds `__enter__` and `__exit__` each to a new object of the general allocator,
which costs as much as what they do. A class whose blocks are short binds them here: to an object of a free list, which
calls the C function itself and in all else behaves as the bound method that it stands for.
"""
from cpython.object cimport PyObject

cimport ferrule._core.freelist  # noqa: F401 (for the C++ below)

cdef extern from *:
    """
    #ifndef FERRULE_BOUND
    #define FERRULE_BOUND
    namespace {     // of this module: the names must not be shared between extension modules
    namespace bound {
    #if PY_VERSION_HEX >= 0x030E0000
    int quicken_block(PyTypeObject*, const char*, const char*) { return 0; }
    #else
    // What stands in the class in the place of a method descriptor.
    struct Method {
        PyObject_HEAD
        PyMethodDescrObject* plain;
    };

    struct Bound {
        PyObject_HEAD
        vectorcallfunc call;
        PyMethodDescrObject* plain;     // borrowed: the class and so its methods are never freed
        PyObject* self;
    };

    PyTypeObject method_type = {PyVarObject_HEAD_INIT(nullptr, 0)};
    PyTypeObject bound_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

    inline PyObject* bind_plainly(PyMethodDescrObject* plain, PyObject* self) {
        return Py_TYPE(plain)->tp_descr_get(
            reinterpret_cast<PyObject*>(plain), self, reinterpret_cast<PyObject*>(Py_TYPE(self)));
    }

    // None of this is noexcept: a daemon thread that the interpreter ends unwinds its stack from where it waits.

    // Everything but a call is left to the method that it stands for.
    template <typename Result, typename Ask>
    Result ask(PyObject* slot, Result failed, Ask asked) {
        PyObject* method = bind_plainly(reinterpret_cast<Bound*>(slot)->plain, reinterpret_cast<Bound*>(slot)->self);
        if (method == nullptr) return failed;
        Result result = asked(method);
        Py_DECREF(method);
        return result;
    }

    PyObject* const NONE = nullptr;

    PyObject* call(PyObject* slot, PyObject* const* args, size_t count, PyObject* names) {
        Bound* bound = reinterpret_cast<Bound*>(slot);
        auto function = reinterpret_cast<PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*)>(
            reinterpret_cast<void (*)()>(bound->plain->d_method->ml_meth));
        return function(bound->self, args, PyVectorcall_NARGS(count), names);
    }

    PyObject* bind(PyObject* slot, PyObject* self, PyObject*) {
        PyMethodDescrObject* plain = reinterpret_cast<Method*>(slot)->plain;
        if (self == nullptr) return Py_NewRef(reinterpret_cast<PyObject*>(plain));
        if (!PyObject_TypeCheck(self, PyDescr_TYPE(plain))) return bind_plainly(plain, self);
        Bound* bound = reinterpret_cast<Bound*>(freelist::make(&bound_type));
        if (bound == nullptr) return nullptr;
        bound->call = call;
        bound->plain = plain;
        bound->self = Py_NewRef(self);
        PyObject_GC_Track(bound);
        return reinterpret_cast<PyObject*>(bound);
    }

    void dealloc(PyObject* slot) {
        PyObject_GC_UnTrack(slot);
        PyObject* self = reinterpret_cast<Bound*>(slot)->self;
        freelist::free(slot);
        Py_DECREF(self);
    }

    int traverse(PyObject* slot, visitproc visit, void* arg) {
        Py_VISIT(reinterpret_cast<Bound*>(slot)->self);
        return 0;
    }

    PyObject* getattr(PyObject* slot, PyObject* name) {
        return ask(slot, NONE, [=](PyObject* method) { return PyObject_GetAttr(method, name); });
    }

    PyObject* repr(PyObject* slot) { return ask(slot, NONE, PyObject_Repr); }

    Py_hash_t hash(PyObject* slot) { return ask<Py_hash_t>(slot, -1, PyObject_Hash); }

    PyObject* compare(PyObject* slot, PyObject* other, int how) {
        if (Py_IS_TYPE(other, &bound_type))     // a method, with this one bound plainly on its other side
            return ask(other, NONE, [=](PyObject* method) { return PyObject_RichCompare(slot, method, how); });
        return ask(slot, NONE, [=](PyObject* method) { return PyObject_RichCompare(method, other, how); });
    }

    PyObject* plain_of(PyObject* slot) {
        return reinterpret_cast<PyObject*>(reinterpret_cast<Method*>(slot)->plain);
    }

    PyObject* method_getattr(PyObject* slot, PyObject* name) { return PyObject_GetAttr(plain_of(slot), name); }

    PyObject* method_repr(PyObject* slot) { return PyObject_Repr(plain_of(slot)); }

    PyObject* method_call(PyObject* slot, PyObject* args, PyObject* names) {
        return PyObject_Call(plain_of(slot), args, names);
    }

    int prepare() {
        if (bound_type.tp_name != nullptr) return 0;
        method_type.tp_name = "ferrule.method";
        method_type.tp_basicsize = sizeof(Method);
        method_type.tp_flags = Py_TPFLAGS_DEFAULT;
        method_type.tp_descr_get = bind;
        method_type.tp_getattro = method_getattr;
        method_type.tp_repr = method_repr;
        method_type.tp_call = method_call;
        bound_type.tp_name = "ferrule.bound_method";
        bound_type.tp_basicsize = sizeof(Bound);
        bound_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL;
        bound_type.tp_vectorcall_offset = offsetof(Bound, call);
        bound_type.tp_call = PyVectorcall_Call;
        bound_type.tp_dealloc = dealloc;
        bound_type.tp_traverse = traverse;
        bound_type.tp_getattro = getattr;
        bound_type.tp_repr = repr;
        bound_type.tp_hash = hash;
        bound_type.tp_richcompare = compare;
        if (PyType_Ready(&method_type) < 0 || PyType_Ready(&bound_type) < 0) return -1;
        freelist::recycle(&bound_type, false);
        return 0;
    }

    int quicken(PyTypeObject* cls, const char* name) {
        PyObject* plain = PyDict_GetItemString(cls->tp_dict, name);     // borrowed
        int flags = reinterpret_cast<PyMethodDescrObject*>(plain)->d_method->ml_flags;
        if (flags != (METH_FASTCALL | METH_KEYWORDS)) return 0;     // not what call() calls: it stays as it is
        Method* method = PyObject_New(Method, &method_type);
        if (method == nullptr) return -1;
        method->plain = reinterpret_cast<PyMethodDescrObject*>(Py_NewRef(plain));
    #ifdef Py_GIL_DISABLED
        // Immortal, so that threads do not count references to it in each other's way.
        method->ob_base.ob_tid = _Py_UNOWNED_TID;
        method->ob_base.ob_ref_local = _Py_IMMORTAL_REFCNT_LOCAL;
        method->ob_base.ob_ref_shared = 0;
    #endif
        int failed = PyDict_SetItemString(cls->tp_dict, name, reinterpret_cast<PyObject*>(method));
        Py_DECREF(method);
        PyType_Modified(cls);
        return failed;
    }

    int quicken_block(PyTypeObject* cls, const char* enter, const char* exit) {
        if (prepare() < 0 || quicken(cls, enter) < 0) return -1;
        return quicken(cls, exit);
    }
    #endif
    }
    }
    #endif
    """
    ctypedef struct PyTypeObject
    int _quicken_block "bound::quicken_block"(PyTypeObject* cls, const char* enter, const char* exit) except -1


cdef inline int quicken_with(type cls) except -1:
    """Has the class's `__enter__` and `__exit__` bound as above; once, when its module is initialised."""
    return _quicken_block(<PyTypeObject*>cls, b"__enter__", b"__exit__")


cdef inline int quicken_async_with(type cls) except -1:
    """Has the class's `__aenter__` and `__aexit__` bound as above; once, when its module is initialised."""
    return _quicken_block(<PyTypeObject*>cls, b"__aenter__", b"__aexit__")
