// What EMSortedDict, EMSortedSet and EMPriorityQueue share: keys and entries as they are stored, positions in the
// order, and iterators. Every function REQUIRES the GIL.
#pragma once

#include "bindings/collection.hpp"
#include "bindings/number_array.hpp"
#include "pyrsistence/raw_sorted.hpp"
#include "pyrsistence/sort_key.hpp"

namespace pyrsistence::bindings::sorted {

using Engine = Use<RawSorted>;

/// The kind of a container in which keys may be equal.
constexpr Kind with_repeats(Kind kind) {
    kind.repeats_keys = true;
    return kind;
}

/// Replaces `sort_key`. Throws TypeError if the key is of a class with an order of its own, OrderError if its type has
/// none here, and what hash(key) raises.
void encode_sort_key(PyObject* key, Buffer& sort_key);

/// What is stored for one key and value.
struct Entry {
    Buffer bytes, sort_key;
    std::size_t key_size = 0;

    void encode_key(const Serializer& serializer, PyObject* key);
    void encode_key(const NumberArray::Key& key);
    SortedEntry view() const noexcept { return {bytes, sort_key, key_size}; }
};

enum class Part { keys, values, items };
/// A new reference to a key, a value or a pair. REQUIRES: the entry is private memory. In a queue whose item is its own priority, both are the item.
PyObject* decode(const Serializer& serializer, Bytes entry, Part part);

/// Calls store(engine, entry) for each row of an array, one operation each.
template <class Store>
void store_rows(const Collection& container, const NumberArray& numbers, Store store) {
    Entry entry;
    SignalPoll poll;
    for (std::size_t i = 0; i < numbers.rows(); ++i, poll.step()) {
        entry.encode_key(numbers.key(i));
        numbers.put_value(entry.bytes, i);
        store(*Engine(container), entry.view());
    }
}

/// Copies the entry at an index, which counts from the end if it is negative; false if there is none.
bool read_at(const Collection& self, Py_ssize_t index, Chunk& chunk);
/// Removes the entry at an index and returns the part once it has been decoded: an unpickler that fails loses nothing.
/// Null without an error if there is none.
PyObject* take_at(const Collection& self, Py_ssize_t index, Part part);

// --- methods

PyObject* bisect_left(PyObject* self, PyObject* key);
PyObject* bisect_right(PyObject* self, PyObject* key);
PyObject* index_of(PyObject* self, PyObject* const* args, Py_ssize_t count);
PyObject* clear(PyObject* self, PyObject*);
/// _erase_slice(first, count)
PyObject* erase_slice(PyObject* self, PyObject* const* args, Py_ssize_t count);
/// _erase_between(minimum, behind_minimum, maximum, behind_maximum): None is no bound, behind_: whether keys equal to it
/// are before it
PyObject* erase_between(PyObject* self, PyObject* const* args, Py_ssize_t count);
/// _iterate(part, reverse, first, end) by ranks, with 0 for keys, 1 for values, 2 for items
PyObject* iterate_slice(PyObject* self, PyObject* const* args, Py_ssize_t count);
/// _iterate_between(part, reverse, minimum, behind_minimum, maximum, behind_maximum, once=False)
PyObject* iterate_between(PyObject* self, PyObject* const* args, Py_ssize_t count);
/// Over everything. With Repeats::once, of entries with equal keys the first one met stands for all.
enum class Repeats { all, once };
PyObject* iterate_all(PyObject* self, Part part, bool backwards, Repeats repeats = Repeats::all);

extern const char* const kBisectLeftDoc;
extern const char* const kBisectRightDoc;
extern const char* const kIndexDoc;
extern const char* const kClearDoc;

void init_iterator();

}  // namespace pyrsistence::bindings::sorted
