// Operations on whole lists: extend, sort, copy, *, comparison.
#include <algorithm>
#include <cerrno>

#include "bindings/list.hpp"
#include "bindings/number_array.hpp"
#include "bindings/sorter.hpp"
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
        if (!native_ || !encode_native(value, items_.bytes, obstacle, Numpy::known)) {
            items_.bytes.truncate(begin);
            return append_foreign(value);
        }
        added(begin);
    }
    /// REQUIRES: quiet, and no picklers.
    void append_numbers(const NumberArray& numbers) {
        SignalPoll poll;
        for (std::size_t i = 0; i < numbers.rows(); ++i, poll.step()) {
            const std::size_t begin = items_.bytes.size();
            numbers.put_item(items_.bytes, i);
            added(begin);
        }
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

    void added(std::size_t begin) {
        items_.items.push_back({0, begin, items_.bytes.size() - begin});
        if (items_.items.size() >= together_ || items_.bytes.size() > kTogetherBytes) flush();
    }
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

/// progress(done, total) for each item that is read, and again for each that is stored.
class SortProgress {
public:
    SortProgress(PyObject* callable, std::uint64_t items) : progress_(progress_to(callable)), total_(2 * items) {}

    void step() {
        if (++done_ % kOften == 0) tell();
    }
    void reach(std::uint64_t done) {
        done_ = done;
        tell();
    }

private:
    static constexpr std::uint64_t kOften = 16 * 1024;
    void tell() {
        if (progress_) progress_(std::min(done_, total_), total_);
    }
    Progress progress_;
    std::uint64_t done_ = 0;
    const std::uint64_t total_;
};

ExternalOptions sort_options(PyObject* self, PyObject* memory_limit) {
    ExternalOptions options = external_options(memory_limit, Py_None);
    const ListUse use(collection_of(self));
    options.directory = use->path();
    if (options.memory_limit == 0) options.memory_limit = use->info().memory_limit;
    if (use->read_only()) use->rearrange(Fingerprint(0), {});  // raises what every change does
    return options;
}

/// In memory what the limit allows, the rest in a temporary file in the list's directory.
void sort_natively(PyObject* self, PyObject* key, bool reverse, PyObject* memory_limit, PyObject* progress) {
    const Collection& list = collection_of(self);
    const std::uint64_t serial = ListUse(list).serial();
    Sorter sorter(sort_options(self, memory_limit), key, reverse, list.serializer());
    Fingerprint before(ListUse(list)->version());
    SortProgress told(progress, size(self));
    SignalPoll poll;
    Cursor cursor(0, size(self), Cursor::Direction::forward, kChunkItems);
    for (Bytes item; cursor.next(list, item);) {
        before.add(item);
        sorter.add(item);
        poll.step();
        told.step();
    }
    sorter.finish();
    told.reach(before.items());
    sorter.make_native([&] { told.step(); });
    const ListUse use(list);
    const bool done = use.serial() == serial && use.without_gil([&](RawList& raw) {
        return raw.rearrange(before, [&](Bytes& item) {
            const bool more = sorter.next();
            if (more) item = sorter.item();
            return more;
        });
    });
    if (!done) raise(PyExc_ValueError, "list modified during sort");
    told.reach(2 * before.items());
}

void sort_by_overrides(PyObject* self, PyObject* key, bool reverse) {
    const nb::object items = in_memory(self);
    sort_list(items, key, reverse);
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

/// Rather than fill the disk with what cannot have been meant. An estimate that errs on the small side.
void require_room_for(PyObject* self, Py_ssize_t times) {
    const ListUse list(collection_of(self));
    const Usage usage = list->usage();
    const double bytes = static_cast<double>(usage.bytes) * usage.fill * static_cast<double>(times - 1);
    std::error_code unknown;  // if the directory has been moved, say
    const auto available = static_cast<double>(std::filesystem::space(list->path(), unknown).available);
    if (unknown || bytes <= available) return;
    throw StorageError("repeating " + std::to_string(usage.entries) + " items " + std::to_string(times) + " times takes about " +
                           std::to_string(static_cast<std::uint64_t>(bytes / 1e9)) + " GB, and the disk of " + list->path().string() +
                           " has room for " + std::to_string(static_cast<std::uint64_t>(available / 1e9)) + " GB",
                       ENOSPC);
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
    const auto numbers = NumberArray::of(iterable, NumberArray::Use::values, collection_of(self).serializer());
    const bool known = PyList_CheckExact(iterable) || PyTuple_CheckExact(iterable) || Py_IS_TYPE(iterable, &PyRange_Type);
    Appender appender(self, known || numbers);
    try {
        if (numbers) appender.append_numbers(*numbers);
        else for_each(iterable, [&](PyObject* value) { appender.append(value); });
    } catch (const nb::python_error&) {
        appender.flush();  // what came before stays
        throw;
    }
    appender.flush();
}

void sort(PyObject* self, PyObject* key, bool reverse, PyObject* memory_limit, PyObject* progress) {
    if (is_plain(self)) sort_natively(self, key, reverse, memory_limit, progress);
    else sort_by_overrides(self, key, reverse);
}

void repeat(PyObject* self, Py_ssize_t times) {
    if (times <= 0) return ListUse(collection_of(self)).without_gil([](RawList& list) { list.clear(); });
    const std::uint64_t count = size(self);
    if (count == 0 || times == 1) return;
    require_room_for(self, times);
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
