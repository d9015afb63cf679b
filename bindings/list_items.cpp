// Operations on one item by its index, as a Python index counts.
#include "bindings/list.hpp"

namespace pyrsistence::bindings::list {

Py_ssize_t index_from(PyObject* object, PyObject* overflow) {
    const Py_ssize_t index = PyNumber_AsSsize_t(object, overflow);
    if (index == -1 && PyErr_Occurred()) raise_pending();
    return index;
}

Py_ssize_t search_bound(PyObject* bound) {
    if (!PyIndex_Check(bound)) {
        raise(PyExc_TypeError, "slice indices must be integers or have an __index__ method");
    }
    return index_from(bound, nullptr);
}

std::uint64_t clamped_rank(PyObject* self, Py_ssize_t index) {
    return rank_of(index).in(index < 0 ? size(self) : 0, 0);
}

PyObject* get_item(PyObject* self, Py_ssize_t index, const char* out_of_range) {
    const Collection& list = collection_of(self);
    Buffer item;
    if (!ListUse(list)->get(rank_of(index), item)) [[unlikely]] raise(PyExc_IndexError, out_of_range);
    return list.serializer().decode_value(item).release().ptr();
}

void set_item(PyObject* self, Py_ssize_t index, PyObject* value, const char* out_of_range) {
    const Collection& list = collection_of(self);
    Buffer item;
    list.serializer().encode_value(value, item);
    if (ListUse(list)->set(rank_of(index), item)) [[likely]] return;
    raise(PyExc_IndexError, out_of_range);
}

void erase_item(PyObject* self, Py_ssize_t index, const char* out_of_range) {
    if (!ListUse(collection_of(self))->erase(rank_of(index))) raise(PyExc_IndexError, out_of_range);
}

bool insert_item(PyObject* self, Py_ssize_t index, PyObject* value) {
    const Collection& list = collection_of(self);
    Buffer item;
    list.serializer().encode_value(value, item);
    return ListUse(list)->insert(rank_of(index), item);
}

nb::object take_item(PyObject* self, Py_ssize_t index, const char* empty, const char* out_of_range) {
    const Collection& list = collection_of(self);
    for (Buffer item;; checked(PyErr_CheckSignals())) {
        if (!ListUse(list)->get(rank_of(index), item)) raise(PyExc_IndexError, size(self) == 0 ? empty : out_of_range);
        nb::object taken = list.serializer().decode_value(item);
        // False if another thread, or the unpickler, took or replaced it meanwhile.
        if (ListUse(list)->erase(rank_of(index), item)) return taken;
    }
}

void remove_equal(PyObject* self, PyObject* value, const char* not_there) {
    // Another thread, or the __eq__ of an item, may change the list between the search and the end.
    for (Buffer item;; checked(PyErr_CheckSignals())) {
        const std::optional<std::uint64_t> rank = Search(self, value).next(&item);
        if (!rank) raise(PyExc_ValueError, not_there);
        if (ListUse(collection_of(self))->erase(*rank, item)) return;
    }
}

PyObject* index_of(PyObject* self, PyObject* const* args, Py_ssize_t count, const char* not_there) {
    const Py_ssize_t start = count > 1 ? search_bound(args[1]) : 0;
    const Py_ssize_t stop = count > 2 ? search_bound(args[2]) : PY_SSIZE_T_MAX;
    Search search(self, args[0], clamped_rank(self, start), clamped_rank(self, stop));
    if (const std::optional<std::uint64_t> rank = search.next()) return PyLong_FromUnsignedLongLong(*rank);
    PyErr_Format(PyExc_ValueError, not_there, args[0]);
    return nullptr;
}

PyObject* count_equal(PyObject* self, PyObject* value) {
    Search search(self, value, 0, size(self));
    unsigned long long found = 0;
    while (search.next()) ++found;
    return PyLong_FromUnsignedLongLong(found);
}

}  // namespace pyrsistence::bindings::list
