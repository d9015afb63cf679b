// The iterators of EMList: their range is fixed when they are made.
#include <new>

#include "bindings/list.hpp"

namespace pyrsistence::bindings::list {

namespace {

struct IteratorObject {
    PyObject_HEAD
    PyObject* list;  ///< null once it is exhausted
    bool plain;      ///< false: items come from the subclass's own __getitem__
    const char* strict;  ///< null, or what to say where the size has changed
    std::uint64_t size;
    Cursor cursor;
};

PyTypeObject* iterator_type = nullptr;

IteratorObject& iterator_of(PyObject* self) noexcept { return *reinterpret_cast<IteratorObject*>(self); }

PyObject* exhausted(IteratorObject& iterator) {
    iterator.cursor.finish();
    Py_CLEAR(iterator.list);
    return nullptr;
}

PyObject* next_from_override(IteratorObject& iterator, const nb::object& list) {
    if (iterator.cursor.remaining() == 0) return exhausted(iterator);
    const nb::object index = own(PyLong_FromUnsignedLongLong(iterator.cursor.skip()));
    PyObject* item = PyObject_GetItem(list.ptr(), index.ptr());
    if (item != nullptr || !PyErr_ExceptionMatches(PyExc_IndexError)) return item;
    PyErr_Clear();
    return exhausted(iterator);
}

PyObject* next(PyObject* self) {
    IteratorObject& iterator = iterator_of(self);
    if (iterator.list == nullptr) return nullptr;
    const nb::object list = nb::borrow(iterator.list);  // user code may exhaust the iterator meanwhile
    if (!iterator.plain) return next_from_override(iterator, list);
    if (iterator.strict != nullptr && size(list.ptr()) != iterator.size) {
        const char* const message = iterator.strict;
        exhausted(iterator);
        raise_runtime_error(message);
    }
    Bytes item;
    if (!iterator.cursor.next(collection_of(list.ptr()), item)) return exhausted(iterator);
    Buffer copy;  // decoding may run user code, which may move the cursor
    copy.assign(item);
    return decode(list.ptr(), copy).release().ptr();
}

PyObject* length_hint(PyObject* self, PyObject*) {
    const IteratorObject& iterator = iterator_of(self);
    return PyLong_FromUnsignedLongLong(iterator.list == nullptr ? 0 : iterator.cursor.remaining());
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(iterator_of(self).list);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(iterator_of(self).list);
    return 0;
}

void destroy(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    iterator_of(self).cursor.~Cursor();
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"__length_hint__", guarded<&length_hint>, METH_NOARGS, "How many items are still to come, at most."},
    {nullptr, nullptr, 0, nullptr},
};

template <class Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

}  // namespace

void make_iterator_type() {
    iterator_type = make_plain_type("pyrsistence.EMListIterator", sizeof(IteratorObject),
                                    {{Py_tp_iter, slot(&PyObject_SelfIter)},
                                     {Py_tp_iternext, slot(guarded<&next>)},
                                     {Py_tp_dealloc, slot(&destroy)},
                                     {Py_tp_traverse, slot(&traverse)},
                                     {Py_tp_clear, slot(&clear)},
                                     {Py_tp_methods, methods}});
}

nb::object iterate(PyObject* self, Cursor::Direction direction, bool plain, const char* strict) {
    const std::uint64_t end = plain ? size(self) : static_cast<std::uint64_t>(checked(PyObject_Size(self)));
    nb::object iterator = own(iterator_type->tp_alloc(iterator_type, 0));
    IteratorObject& fresh = iterator_of(iterator.ptr());
    new (&fresh.cursor) Cursor(0, end, direction);
    fresh.plain = plain;
    fresh.strict = strict;
    fresh.size = end;
    fresh.list = Py_NewRef(self);
    return iterator;
}

}  // namespace pyrsistence::bindings::list
