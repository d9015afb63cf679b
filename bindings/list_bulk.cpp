// Operations on whole lists: extend, sort, copy, *, comparison.
#include <algorithm>

#include "bindings/list.hpp"
#include "bindings/value_codec.hpp"

namespace pyrsistence::bindings::list {

namespace {

constexpr std::size_t kChunkItems = 1024;

/// A new list in main memory with what iterating yields.
nb::object in_memory(PyObject* iterable) { return own(PySequence_List(iterable)); }

/// Calls `action(value)` for each element.
template <class Action>
void for_each(PyObject* iterable, Action action) {
    const nb::object iterator = own(PyObject_GetIter(iterable));
    SignalPoll poll;
    while (PyObject* value = PyIter_Next(iterator.ptr())) {
        const nb::object holder = nb::steal(value);
        action(value);
        poll.step();
    }
    if (PyErr_Occurred()) raise_pending();
}

/// True if a subclass has its own method of this name.
bool has_own(PyObject* self, const char* method) {
    if (Py_TYPE(self) == type()) return false;
    const nb::object theirs = own(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(self)), method));
    const nb::object ours = own(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type()), method));
    return !theirs.is(ours);
}

/// Appends `count` items of `from`, fewer if it has become shorter. Both have the same picklers.
void append_items(PyObject* from, std::uint64_t count, PyObject* to) {
    Chunk chunk;
    std::vector<Bytes> items;
    for (std::uint64_t at = 0; at < count; at += items.size()) {
        const std::size_t wanted = std::min<std::uint64_t>(count - at, kChunkItems);
        ListUse(collection_of(from))->read(at, wanted, chunk);
        if (chunk.items.empty()) return;
        items.clear();
        for (std::size_t i = 0; i < chunk.items.size(); ++i) items.push_back(chunk.entry(i));
        ListUse(collection_of(to)).without_gil([&](RawList& list) {
            list.replace_slice(UINT64_MAX, 0, items);
        });
        checked(PyErr_CheckSignals());
    }
}

// ---- extend ----

/// Appends values, several in one native step as long as nobody's code runs in between, which could look at the list.
class Appender {
public:
    /// `quiet`: no such code runs between two calls of append().
    Appender(PyObject* list, bool quiet)
        : list_(collection_of(list)), native_(!list_.serializer().custom_keys()), together_(quiet && native_ ? kTogether : 1) {}

    void append(PyObject* value) {
        const std::size_t begin = items_.bytes.size();
        Obstacle obstacle;
        if (!native_ || !encode_native(value, items_.bytes, obstacle)) {
            items_.bytes.truncate(begin);
            return append_foreign(value);
        }
        items_.items.push_back({0, begin, items_.bytes.size() - begin});
        if (items_.items.size() >= together_ || items_.bytes.size() > kTogetherBytes) flush();
    }
    void flush() {
        if (items_.items.empty()) return;
        if (items_.items.size() == 1) {
            ListUse(list_)->append(items_.entry(0));
        } else {
            std::vector<Bytes> items;
            for (std::size_t i = 0; i < items_.items.size(); ++i) items.push_back(items_.entry(i));
            ListUse(list_)->replace_slice(UINT64_MAX, 0, items);
        }
        items_.clear();
    }

private:
    static constexpr std::size_t kTogether = 256;
    static constexpr std::size_t kTogetherBytes = 64 * 1024;

    void append_foreign(PyObject* value) {
        flush();
        Buffer item;
        list_.serializer().encode_value(value, item);
        ListUse(list_)->append(item);
    }

    const Collection& list_;
    const bool native_;
    const std::size_t together_;
    Chunk items_;
};

// ---- sort ----

/// The items, the objects that they are compared by, and the session they were read in.
struct Snapshot {
    ItemPool items;
    nb::object keys;
    std::uint64_t serial;
};

void read_all(PyObject* self, PyObject* key, Snapshot& snapshot) {
    snapshot.serial = ListUse(collection_of(self)).serial();
    snapshot.keys = own(PyList_New(0));
    Cursor cursor(0, size(self), Cursor::Direction::forward, kChunkItems);
    Bytes item;
    Buffer copy;
    SignalPoll poll;
    while (cursor.next(collection_of(self), item)) {
        snapshot.items.add(item);
        copy.assign(item);
        nb::object object = decode(self, copy);
        if (key != Py_None) object = own(PyObject_CallOneArg(key, object.ptr()));
        checked(PyList_Append(snapshot.keys.ptr(), object.ptr()));
        poll.step();
    }
}

/// Calls the method sort() of a Python list.
void sort_in_memory(const nb::object& items, PyObject* key, bool reverse) {
    const nb::object method = own(PyObject_GetAttrString(items.ptr(), "sort"));
    const nb::object nothing = own(PyTuple_New(0));
    PyObject* descending = reverse ? Py_True : Py_False;
    const nb::object options = own(Py_BuildValue("{s:O,s:O}", "key", key, "reverse", descending));
    own(PyObject_Call(method.ptr(), nothing.ptr(), options.ptr()));
}

/// The ranks of the keys in sorted order, a Python list. Runs user code.
nb::object sorted_ranks(const nb::object& keys, bool reverse) {
    const Py_ssize_t count = PyList_GET_SIZE(keys.ptr());
    const auto range_type = reinterpret_cast<PyObject*>(&PyRange_Type);
    const nb::object range = own(PyObject_CallFunction(range_type, "n", count));
    nb::object ranks = in_memory(range.ptr());
    const nb::object key_of = own(PyObject_GetAttrString(keys.ptr(), "__getitem__"));
    sort_in_memory(ranks, key_of.ptr(), reverse);
    return ranks;
}

std::vector<Bytes> reorder(const ItemPool& items, const nb::object& ranks) {
    std::vector<Bytes> sorted;
    sorted.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
        sorted.push_back(items[PyLong_AsSize_t(PyList_GET_ITEM(ranks.ptr(), static_cast<Py_ssize_t>(i)))]);
    }
    return sorted;
}

/// False if the list is not as it was.
bool store_sorted(PyObject* self, const Snapshot& snapshot, const std::vector<Bytes>& sorted) {
    const std::vector<Bytes> before = snapshot.items.views();
    const ListUse use(collection_of(self));
    if (use.serial() != snapshot.serial) return false;
    return use.without_gil([&](RawList& list) { return list.exchange(before, sorted); });
}

void sort_by_overrides(PyObject* self, PyObject* key, bool reverse) {
    const nb::object items = in_memory(self);
    sort_in_memory(items, key, reverse);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.ptr()); ++i) {
        checked(PyObject_SetItem(self, own(PyLong_FromSsize_t(i)).ptr(), PyList_GET_ITEM(items.ptr(), i)));
    }
}

// ---- comparison ----

nb::object next_of(const nb::object& iterator) {
    PyObject* item = PyIter_Next(iterator.ptr());
    if (item == nullptr && PyErr_Occurred()) raise_pending();
    return nb::steal(item);
}

nb::object truth(bool value) { return nb::borrow(value ? Py_True : Py_False); }

nb::object compare_lengths(Py_ssize_t left, Py_ssize_t right, int operation) {
    switch (operation) {
        case Py_EQ: return truth(left == right);
        case Py_NE: return truth(left != right);
        case Py_LT: return truth(left < right);
        case Py_LE: return truth(left <= right);
        case Py_GT: return truth(left > right);
        default: return truth(left >= right);
    }
}

}  // namespace

void extend(PyObject* self, PyObject* iterable) {
    if (has_own(self, "append")) {
        for_each(iterable, [self](PyObject* value) { own(PyObject_CallMethod(self, "append", "O", value)); });
        return;
    }
    append_all(self, iterable);
}

void append_all(PyObject* self, PyObject* iterable) {
    const bool known = PyList_CheckExact(iterable) || PyTuple_CheckExact(iterable) || Py_IS_TYPE(iterable, &PyRange_Type);
    Appender appender(self, known);
    try {
        for_each(iterable, [&](PyObject* value) { appender.append(value); });
    } catch (const nb::python_error&) {
        appender.flush();  // what came before stays
        throw;
    }
    appender.flush();
}

void sort(PyObject* self, PyObject* key, bool reverse) {
    if (!is_plain(self)) return sort_by_overrides(self, key, reverse);
    Snapshot snapshot;
    read_all(self, key, snapshot);
    const nb::object ranks = sorted_ranks(snapshot.keys, reverse);
    const std::vector<Bytes> sorted = reorder(snapshot.items, ranks);
    if (!store_sorted(self, snapshot, sorted)) raise(PyExc_ValueError, "list modified during sort");
}

void repeat(PyObject* self, Py_ssize_t times) {
    if (times <= 0) return ListUse(collection_of(self)).without_gil([](RawList& list) { list.clear(); });
    const std::uint64_t count = size(self);
    for (Py_ssize_t i = 1; i < times; ++i) append_items(self, count, self);
}

nb::object empty_like(PyObject* self) {
    const Serializer& serializer = collection_of(self).serializer();
    const nb::object arguments = nb::make_tuple(nb::none(), serializer.pickler(), serializer.unpickler());
    const nb::object options = own(
        Py_BuildValue("{s:O}", "allow_pickle", serializer.allow_pickle() ? Py_True : Py_False));
    return own(PyObject_Call(reinterpret_cast<PyObject*>(type()), arguments.ptr(), options.ptr()));
}

nb::object copy(PyObject* self) {
    nb::object result = empty_like(self);
    if (is_plain(self)) append_items(self, size(self), result.ptr());
    else extend(result.ptr(), self);
    return result;
}

nb::object compare(PyObject* left, PyObject* right, int operation) {
    if (left == right) return compare_lengths(0, 0, operation);
    if (operation == Py_EQ || operation == Py_NE) {
        const Py_ssize_t lengths[] = {checked(PyObject_Size(left)), checked(PyObject_Size(right))};
        if (lengths[0] != lengths[1]) return truth(operation == Py_NE);
    }
    const nb::object lefts = own(PyObject_GetIter(left));
    const nb::object rights = own(PyObject_GetIter(right));
    SignalPoll poll;
    for (;; poll.step()) {
        const nb::object a = next_of(lefts);
        const nb::object b = next_of(rights);
        if (!a.is_valid() || !b.is_valid()) return compare_lengths(a.is_valid(), b.is_valid(), operation);
        if (checked(PyObject_RichCompareBool(a.ptr(), b.ptr(), Py_EQ))) continue;
        if (operation == Py_EQ || operation == Py_NE) return truth(operation == Py_NE);
        return own(PyObject_RichCompare(a.ptr(), b.ptr(), operation));
    }
}

}  // namespace pyrsistence::bindings::list
