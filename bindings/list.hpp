// The parts of EMList and EMDeque: reading items in a row, searching, items encoded ahead of a bulk change, and the
// operations that its type slots and methods are made of. Every function REQUIRES the GIL, and every object
// belongs to one thread. Positions are ranks, counted from 0; the list may change between any two calls.
#pragma once

#include <optional>
#include <vector>

#include "bindings/collection.hpp"
#include "pyrsistence/raw_list.hpp"

namespace pyrsistence::bindings::list {

using ListUse = Use<RawList>;

/// The type object. REQUIRES: bind_list() has run.
PyTypeObject* type();
inline bool is_list(PyObject* object) { return PyObject_TypeCheck(object, type()) != 0; }
/// False for an instance of a subclass that overrides [], []=, del or len: the other methods then go through
/// these.
bool is_plain(PyObject* self);

inline std::uint64_t size(PyObject* self) { return ListUse(collection_of(self))->size(); }
nb::object decode(PyObject* self, Bytes item);

/// Reads the items between two ranks, which are fixed when it is made; ends early if the list has shrunk. It
/// holds copies of some items ahead and reads them anew when the list has changed.
class Cursor {
public:
    enum class Direction { forward, backward };

    Cursor(std::uint64_t first, std::uint64_t end, Direction direction = Direction::forward,
           std::size_t read_ahead = 0)
        : first_(first), end_(std::max(first, end)), direction_(direction), ahead_(read_ahead) {}

    /// The next item, valid until the next call; false at the end. Throws ClosedError.
    bool next(const Collection& list, Bytes& item) {
        if (first_ == end_) return false;
        const ListUse use(list);
        const bool fresh = chunk_.version == use->version() && serial_ == use.serial();
        if ((at_ == chunk_.items.size() || !fresh) && !refill(use, fresh)) return false;
        item = chunk_.entry(at_++);
        skip();
        return true;
    }
    std::uint64_t remaining() const noexcept { return end_ - first_; }
    /// The first rank not read yet, or when reading backwards the last plus one.
    std::uint64_t position() const noexcept { return direction_ == Direction::forward ? first_ : end_; }
    /// Passes over an item without reading it; returns its rank. REQUIRES: remaining() > 0.
    std::uint64_t skip() noexcept { return direction_ == Direction::forward ? first_++ : --end_; }
    void finish() noexcept { first_ = end_; }

private:
    bool refill(const ListUse& use, bool fresh);

    std::uint64_t first_, end_;
    Direction direction_;
    std::size_t ahead_;  ///< items read at once, growing
    std::size_t at_ = 0;
    std::uint64_t serial_ = 0;
    Chunk chunk_;
};

/// Finds the items that are equal to a value, in ascending order. Runs the __eq__ of items, unless the bytes
/// tell.
class Search {
public:
    Search(PyObject* self, PyObject* value, std::uint64_t first = 0, std::uint64_t end = UINT64_MAX);
    /// Copies the item found, if there is a place for it.
    std::optional<std::uint64_t> next(Buffer* found = nullptr);

private:
    bool matches(Bytes item) const;

    PyObject* self_;
    PyObject* value_;
    Cursor cursor_;
    Buffer needle_;          ///< the value's item if its type allows to compare bytes
    std::uint8_t family_ = 0;  ///< of the needle, 0 without one
    SignalPoll poll_;
};

/// Items laid side by side in private memory.
class ItemPool {
public:
    void add(Bytes item) {
        bytes_.append(item);
        ends_.push_back(bytes_.size());
    }
    void encode(const Serializer& serializer, PyObject* value) {
        serializer.encode_value(value, bytes_);
        ends_.push_back(bytes_.size());
    }
    std::size_t size() const noexcept { return ends_.size(); }
    Bytes operator[](std::size_t i) const {
        const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
        return bytes_.view().subspan(begin, ends_[i] - begin);
    }
    /// Void after the next item.
    std::vector<Bytes> views() const;

private:
    Buffer bytes_;
    std::vector<std::size_t> ends_;
};

// ---- list_items.cpp ----

/// May run __index__. As in list, `overflow` is OverflowError for the arguments of methods; null clips.
Py_ssize_t index_from(PyObject* object, PyObject* overflow = PyExc_IndexError);
/// IndexError with the message `out_of_range` if there is no such item.
PyObject* get_item(PyObject* self, Py_ssize_t index, const char* out_of_range);
void set_item(PyObject* self, Py_ssize_t index, PyObject* value, const char* out_of_range);
void erase_item(PyObject* self, Py_ssize_t index, const char* out_of_range);
/// False if a deque is full.
bool insert_item(PyObject* self, Py_ssize_t index, PyObject* value);
/// The item goes only when it has been decoded: an unpickler that fails loses nothing.
nb::object take_item(PyObject* self, Py_ssize_t index, const char* empty, const char* out_of_range);
/// Removes the first item that is equal to the value; ValueError if there is none.
void remove_equal(PyObject* self, PyObject* value, const char* not_there);
/// index(value, start, stop). `not_there` is a format with one %R.
PyObject* index_of(PyObject* self, PyObject* const* args, Py_ssize_t count, const char* not_there);
PyObject* count_equal(PyObject* self, PyObject* value);

// ---- list_slices.cpp ----

/// Where a slice of `size` items lies, its step made positive.
struct SliceRange {
    std::uint64_t first;
    std::uint64_t step;
    std::uint64_t count;
};

nb::object get_slice(PyObject* self, PyObject* slice);
void set_slice(PyObject* self, PyObject* slice, PyObject* values);
void delete_slice(PyObject* self, PyObject* slice);

// ---- list_bulk.cpp ----

/// Appends the elements of any iterable, one after the other. REQUIRES: `self` has no limit.
void append_all(PyObject* self, PyObject* iterable);
/// The same by way of a subclass's own append().
void extend(PyObject* self, PyObject* iterable);
/// `memory_limit` and `progress` may be None.
void sort(PyObject* self, PyObject* key, bool reverse, PyObject* memory_limit, PyObject* progress);
/// Lets `self` hold its items `times` times.
void repeat(PyObject* self, Py_ssize_t times);
/// A temporary store of the base class with the picklers of `self`.
nb::object empty_like(PyObject* self);
/// The same with the items of `self`.
nb::object copy(PyObject* self);
/// Result of comparing two lists, of which one is an EMList, item by item.
nb::object compare(PyObject* left, PyObject* right, int operation);

// ---- list_iterator.cpp ----

void make_iterator_type();
/// `plain`: not by way of a subclass's own __getitem__(). `strict` is null, or the message of a RuntimeError where the
/// number of items has changed meanwhile.
nb::object iterate(PyObject* self, Cursor::Direction direction, bool plain, const char* strict = nullptr);

}  // namespace pyrsistence::bindings::list
