// How a C++ class becomes an iterator type of Python. It has next(), which returns null at the end, traverse() and
// clear(), and is made and used with the GIL held.
#pragma once

#include "bindings/collection.hpp"

namespace pyrsistence::bindings {

template <class Iterator>
class IteratorType {
    struct Object {
        PyObject_HEAD Iterator iterator;
        bool running;
    };

public:
    /// Lives as long as the process.
    void init(const char* full_name) {
        const auto slot = [](int id, auto* function) { return PyType_Slot{id, reinterpret_cast<void*>(function)}; };
        type_ = make_plain_type(full_name, sizeof(Object),
                                {slot(Py_tp_iter, &PyObject_SelfIter), slot(Py_tp_iternext, guarded<&next>),
                                 slot(Py_tp_traverse, &traverse), slot(Py_tp_clear, &clear), slot(Py_tp_dealloc, &destroy)});
    }
    template <class... Arguments>
    PyObject* make(Arguments&&... arguments) const {
        PyObject* self = own(type_->tp_alloc(type_, 0)).release().ptr();
        PyObject_GC_UnTrack(self);  // the collector must not see an object whose iterator is not there
        try {
            new (&of(self).iterator) Iterator(std::forward<Arguments>(arguments)...);
        } catch (...) {
            type_->tp_free(self);
            Py_DECREF(type_);
            throw;
        }
        of(self).running = false;
        PyObject_GC_Track(self);
        return self;
    }

private:
    static Object& of(PyObject* self) { return *reinterpret_cast<Object*>(self); }

    /// Unpicklers and destructors may come back here while the iterator reads, and other threads also while this one
    /// waits for the store.
    static PyObject* next(PyObject* self) {
        bool& running = of(self).running;
        if (running) {
            PyErr_SetString(PyExc_ValueError, "this iterator is already executing");
            nb::detail::raise_python_error();
        }
        struct Running {
            bool& flag;
            explicit Running(bool& flag) : flag(flag) { flag = true; }
            ~Running() { flag = false; }
        };
        const Running guard(running);
        return of(self).iterator.next();
    }
    static int traverse(PyObject* self, visitproc visit, void* arg) {
        Py_VISIT(Py_TYPE(self));
        return of(self).iterator.traverse(visit, arg);
    }
    static int clear(PyObject* self) {
        of(self).iterator.clear();
        return 0;
    }
    static void destroy(PyObject* self) {
        PyTypeObject* type = Py_TYPE(self);
        PyObject_GC_UnTrack(self);
        of(self).iterator.~Iterator();
        type->tp_free(self);
        Py_DECREF(type);
    }

    PyTypeObject* type_ = nullptr;
};

}  // namespace pyrsistence::bindings
