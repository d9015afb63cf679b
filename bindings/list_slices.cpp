// l[i:j:k], and assigning to it and deleting it: user code first, then one atomic native step.
#include "bindings/list.hpp"

namespace pyrsistence::bindings::list {

namespace {

/// Below this many items, releasing the GIL costs more than it gives.
constexpr std::uint64_t kBulk = 64;
/// Up to this step, reading the items between is cheaper than finding each.
constexpr std::uint64_t kDenseStep = 8;

/// The numbers of a slice object, before they are fitted to a list.
struct Bounds {
    Py_ssize_t start, stop, step;

    /// May run the __index__ of the slice's parts.
    explicit Bounds(PyObject* slice) { checked(PySlice_Unpack(slice, &start, &stop, &step)); }

    /// Fits them to a list of `length` items; returns how many these are.
    std::uint64_t fit(std::uint64_t length) {
        return static_cast<std::uint64_t>(
            PySlice_AdjustIndices(static_cast<Py_ssize_t>(length), &start, &stop, step));
    }
};

SliceRange ascending(const Bounds& bounds, std::uint64_t count) {
    const auto first = static_cast<std::uint64_t>(bounds.start);
    if (bounds.step > 0) return {first, static_cast<std::uint64_t>(bounds.step), count};
    const auto step = std::uint64_t{0} - static_cast<std::uint64_t>(bounds.step);
    return {count == 0 ? first : first - (count - 1) * step, step, count};
}

void append(const nb::object& result, const nb::object& item) {
    checked(PyList_Append(result.ptr(), item.ptr()));
}

void read_dense(PyObject* self, const SliceRange& range, const nb::object& result) {
    Cursor cursor(range.first, range.first + (range.count - 1) * range.step + 1, Cursor::Direction::forward,
                  range.count);
    Bytes item;
    Buffer copy;
    SignalPoll poll;
    for (std::uint64_t i = 0; cursor.next(collection_of(self), item); ++i) {
        poll.step();
        if (i % range.step != 0) continue;
        copy.assign(item);
        append(result, decode(self, copy));
    }
}

void read_sparse(PyObject* self, const SliceRange& range, const nb::object& result) {
    Buffer item;
    SignalPoll poll;
    for (std::uint64_t i = 0; i < range.count; ++i) {
        poll.step();
        if (!ListUse(collection_of(self))->get(range.first + i * range.step, item)) return;
        append(result, decode(self, item));
    }
}

void encode_all(PyObject* self, PyObject* values, const char* complaint, ItemPool& pool) {
    PyObject* iterator = PyObject_GetIter(values);
    if (iterator == nullptr && PyErr_ExceptionMatches(PyExc_TypeError)) raise(PyExc_TypeError, complaint);
    const nb::object owner = own(iterator);
    SignalPoll poll;
    while (PyObject* value = PyIter_Next(iterator)) {
        const nb::object holder = nb::steal(value);
        pool.encode(collection_of(self).serializer(), value);
        poll.step();
    }
    if (PyErr_Occurred()) raise_pending();
}

/// Fits the bounds to the list and calls action(list, fitted, count, size) until it returns true: other threads
/// may change the size in between, even if this one keeps the GIL. Returns how many items the slice has.
template <class Action>
std::uint64_t on_slice(PyObject* self, const Bounds& bounds, std::size_t others, Action action) {
    const ListUse use(collection_of(self));
    for (;;) {
        Bounds fitted = bounds;
        const std::uint64_t size = use->size(), count = fitted.fit(size);
        const auto act = [&](RawList& list) { return action(list, fitted, count, size); };
        if (count + others > kBulk ? use.without_gil(act) : act(*use)) return count;
    }
}

void replace(PyObject* self, const Bounds& bounds, const ItemPool& pool) {
    const std::vector<Bytes> items = pool.views();
    on_slice(self, bounds, items.size(), [&](RawList& list, const Bounds& fitted, std::uint64_t count, std::uint64_t size) {
        return list.replace_slice(static_cast<std::uint64_t>(fitted.start), count, items, size);
    });
}

/// Returns how many items the slice has; nothing is set unless there are as many in the pool.
std::uint64_t set_extended(PyObject* self, const Bounds& bounds, const ItemPool& pool) {
    const std::vector<Bytes> items = pool.views();
    return on_slice(self, bounds, 0, [&](RawList& list, const Bounds& fitted, std::uint64_t count, std::uint64_t size) {
        return count != items.size() || count == 0 ||
               list.set_slice(static_cast<std::uint64_t>(fitted.start), fitted.step, items, size);
    });
}

}  // namespace

nb::object get_slice(PyObject* self, PyObject* slice) {
    Bounds bounds(slice);
    const SliceRange range = ascending(bounds, bounds.fit(size(self)));
    nb::object result = own(PyList_New(0));
    if (range.count == 0) return result;
    if (range.step <= kDenseStep) read_dense(self, range, result);
    else read_sparse(self, range, result);
    if (bounds.step < 0) checked(PyList_Reverse(result.ptr()));
    return result;
}

void set_slice(PyObject* self, PyObject* slice, PyObject* values) {
    const Bounds bounds(slice);
    const bool plain = bounds.step == 1;
    ItemPool pool;
    const char* complaint = plain ? "can only assign an iterable" : "must assign iterable to extended slice";
    encode_all(self, values, complaint, pool);
    if (plain) return replace(self, bounds, pool);
    const std::uint64_t count = set_extended(self, bounds, pool);
    if (count == pool.size()) return;
    raise(PyExc_ValueError, "attempt to assign sequence of size " + std::to_string(pool.size()) +
                                " to extended slice of size " + std::to_string(count));
}

void delete_slice(PyObject* self, PyObject* slice) {
    const Bounds bounds(slice);
    on_slice(self, bounds, 0, [](RawList& list, const Bounds& fitted, std::uint64_t count, std::uint64_t size) {
        const SliceRange range = ascending(fitted, count);
        return list.erase_slice(range.first, range.step, range.count, size);
    });
}

}  // namespace pyrsistence::bindings::list
