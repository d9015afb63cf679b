#include "bindings/list.hpp"
#include "bindings/list_docs.hpp"

namespace pyrsistence::bindings {

namespace list {

namespace {

PyTypeObject* list_type = nullptr;

constinit const Kind kList = kind_of<RawList>("EMList", nullptr, &list_type);

LazyAttribute mutable_sequence{"collections.abc", "MutableSequence"};
LazyAttribute describe{"pyrsistence._sequence", "describe"};

/// Calls the method of collections.abc.MutableSequence, which relies on [] and the like only.
nb::object generic(const char* method, PyObject* self, PyObject* const* args = nullptr,
                   Py_ssize_t count = 0) {
    const nb::object function = own(PyObject_GetAttrString(mutable_sequence.get(), method));
    PyObject* arguments[4] = {self};
    std::copy(args, args + count, arguments + 1);
    return own(PyObject_Vectorcall(function.ptr(), arguments, static_cast<std::size_t>(count + 1), nullptr));
}

// --- native operations on one item

[[noreturn]] void raise_not_an_index(PyObject* key) {
    PyErr_Format(PyExc_TypeError, "list indices must be integers or slices, not %.200s",
                 Py_TYPE(key)->tp_name);
    raise_pending();
}

constexpr const char* kRead = "list index out of range";
constexpr const char* kWritten = "list assignment index out of range";

// --- slots

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(size(self)); }

PyObject* item(PyObject* self, Py_ssize_t index) {
    // Negative indices have had the length added already.
    return get_item(self, index < 0 ? PY_SSIZE_T_MAX : index, kRead);
}

PyObject* subscript(PyObject* self, PyObject* key) {
    if (PyIndex_Check(key)) [[likely]] return get_item(self, index_from(key), kRead);
    if (!PySlice_Check(key)) raise_not_an_index(key);
    return get_slice(self, key).release().ptr();
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (PyIndex_Check(key)) [[likely]] {
        const Py_ssize_t index = index_from(key);
        if (value != nullptr) [[likely]] set_item(self, index, value, kWritten);
        else erase_item(self, index, kWritten);
        return 0;
    }
    if (!PySlice_Check(key)) raise_not_an_index(key);
    if (value != nullptr) set_slice(self, key, value);
    else delete_slice(self, key);
    return 0;
}

int contains(PyObject* self, PyObject* value) {
    if (!is_plain(self)) return PyObject_IsTrue(generic("__contains__", self, &value, 1).ptr());
    return Search(self, value).next().has_value() ? 1 : 0;
}

PyObject* iterator(PyObject* self) { return iterate(self, Cursor::Direction::forward, is_plain(self)).release().ptr(); }

bool is_operand(PyObject* object) { return is_list(object) || PyList_Check(object); }

PyObject* rich_compare(PyObject* self, PyObject* other, int operation) {
    if (!is_operand(other)) Py_RETURN_NOTIMPLEMENTED;
    return compare(self, other, operation).release().ptr();
}

/// Either side may be a list. An EMList on the left gives the result its picklers.
PyObject* add(PyObject* left, PyObject* right) {
    if (!is_operand(left) || !is_operand(right)) Py_RETURN_NOTIMPLEMENTED;
    nb::object sum = is_list(left) ? copy(left) : empty_like(right);
    if (!is_list(left)) extend(sum.ptr(), left);
    extend(sum.ptr(), right);
    return sum.release().ptr();
}

PyObject* concatenate(PyObject* self, PyObject* other) {
    if (is_operand(other)) return add(self, other);
    PyErr_Format(PyExc_TypeError, "can only concatenate list or EMList (not \"%.200s\") to EMList",
                 Py_TYPE(other)->tp_name);
    return nullptr;
}

PyObject* add_in_place(PyObject* self, PyObject* iterable) {
    extend(self, iterable);
    return Py_NewRef(self);
}

PyObject* multiply(PyObject* self, Py_ssize_t times) {
    nb::object product = times > 0 ? copy(self) : empty_like(self);
    repeat(product.ptr(), times);
    return product.release().ptr();
}

PyObject* multiply_in_place(PyObject* self, Py_ssize_t times) {
    repeat(self, times);
    return Py_NewRef(self);
}

PyObject* repr(PyObject* self) { return describe(nb::handle(self)).release().ptr(); }

// --- methods

PyObject* append(PyObject* self, PyObject* value) {
    const Collection& list = collection_of(self);
    Buffer item;
    list.serializer().encode_value(value, item);
    ListUse(list)->append(item);
    Py_RETURN_NONE;
}

PyObject* extend_method(PyObject* self, PyObject* iterable) {
    extend(self, iterable);
    Py_RETURN_NONE;
}

PyObject* insert(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("insert", count, 2, 2);
    insert_item(self, index_from(args[0], PyExc_OverflowError), args[1]);
    Py_RETURN_NONE;
}

PyObject* pop(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("pop", count, 0, 1);
    if (!is_plain(self)) return generic("pop", self, args, count).release().ptr();
    const Py_ssize_t index = count == 0 ? -1 : index_from(args[0], PyExc_OverflowError);
    return take_item(self, index, "pop from empty list", "pop index out of range").release().ptr();
}

PyObject* remove(PyObject* self, PyObject* value) {
    if (!is_plain(self)) return generic("remove", self, &value, 1).release().ptr();
    remove_equal(self, value, "list.remove(x): x not in list");
    Py_RETURN_NONE;
}

PyObject* index(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("index", count, 1, 3);
    if (!is_plain(self)) return generic("index", self, args, count).release().ptr();
    return index_of(self, args, count, "%R is not in list");
}

PyObject* count(PyObject* self, PyObject* value) {
    if (!is_plain(self)) return generic("count", self, &value, 1).release().ptr();
    return count_equal(self, value);
}

PyObject* reverse(PyObject* self, PyObject*) {
    if (!is_plain(self)) return generic("reverse", self).release().ptr();
    ListUse(collection_of(self)).without_gil([](RawList& list) { list.reverse(); });
    Py_RETURN_NONE;
}

PyObject* clear(PyObject* self, PyObject*) {
    if (!is_plain(self)) return generic("clear", self).release().ptr();
    ListUse(collection_of(self)).without_gil([](RawList& list) { list.clear(); });
    Py_RETURN_NONE;
}

PyObject* copy_method(PyObject* self, PyObject*) { return copy(self).release().ptr(); }

PyObject* sort_method(PyObject* self, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"key", "reverse", "memory_limit", "progress", nullptr};
    PyObject *key = Py_None, *memory_limit = Py_None, *progress = Py_None;
    int descending = 0;
    char** keywords = const_cast<char**>(names);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OpOO:sort", keywords, &key, &descending, &memory_limit, &progress)) {
        return nullptr;
    }
    sort(self, key, descending != 0, memory_limit, progress);
    Py_RETURN_NONE;
}

PyObject* reversed(PyObject* self, PyObject*) {
    return iterate(self, Cursor::Direction::backward, is_plain(self)).release().ptr();
}

template <class Function>
PyCFunction method(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

std::vector<PyMethodDef> methods() {
    return {
        {"append", guarded<&append>, METH_O, docs::kAppend},
        {"_copy", guarded<&copy_method>, METH_NOARGS, nullptr},
        {"extend", guarded<&extend_method>, METH_O, docs::kExtend},
        {"insert", method(guarded<&insert>), METH_FASTCALL, docs::kInsert},
        {"pop", method(guarded<&pop>), METH_FASTCALL, docs::kPop},
        {"remove", guarded<&remove>, METH_O, docs::kRemove},
        {"index", method(guarded<&index>), METH_FASTCALL, docs::kIndex},
        {"count", guarded<&count>, METH_O, docs::kCount},
        {"reverse", guarded<&reverse>, METH_NOARGS, docs::kReverse},
        {"clear", guarded<&clear>, METH_NOARGS, docs::kClear},
        {"sort", method(guarded<&sort_method>), METH_VARARGS | METH_KEYWORDS, docs::kSort},
        {"__reversed__", guarded<&reversed>, METH_NOARGS, docs::kReversed},
    };
}

template <class Function>
PyType_Slot slot(int id, Function* function) {
    return {id, reinterpret_cast<void*>(function)};
}

std::vector<PyType_Slot> slots() {
    return {slot(Py_sq_length, guarded<&length>),
            slot(Py_mp_length, guarded<&length>),
            slot(Py_sq_item, guarded<&item>),
            slot(Py_mp_subscript, guarded<&subscript>),
            slot(Py_mp_ass_subscript, guarded<&assign_subscript>),
            slot(Py_sq_contains, guarded<&contains>),
            slot(Py_sq_concat, guarded<&concatenate>),
            slot(Py_sq_repeat, guarded<&multiply>),
            slot(Py_sq_inplace_repeat, guarded<&multiply_in_place>),
            slot(Py_nb_add, guarded<&add>),
            slot(Py_nb_inplace_add, guarded<&add_in_place>),
            slot(Py_tp_iter, guarded<&iterator>),
            slot(Py_tp_richcompare, guarded<&rich_compare>),
            slot(Py_tp_repr, guarded<&repr>)};
}

}  // namespace

PyTypeObject* type() { return list_type; }

bool is_plain(PyObject* self) {
    return Py_TYPE(self) == list_type || !(overrides(self, list_type, &PyMappingMethods::mp_subscript) ||
                                           overrides(self, list_type, &PyMappingMethods::mp_ass_subscript) ||
                                           overrides(self, list_type, &PyMappingMethods::mp_length));
}

}  // namespace list

void bind_list(nb::module_& module) {
    using namespace list;
    make_iterator_type();
    list_type = make_collection_type(module, {"pyrsistence.EMList", docs::kClass, Py_TPFLAGS_SEQUENCE,
                                              &new_collection<kList>, slots(), methods()});
}

}  // namespace pyrsistence::bindings
