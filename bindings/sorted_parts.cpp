#include "bindings/sorted_parts.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "bindings/iterator_type.hpp"
#include "bindings/key_identity.hpp"
#include "codec/item.hpp"

namespace pyrsistence::bindings::sorted {

namespace {

constexpr std::size_t kFirstChunk = 16, kMaxChunk = 1024;

/// Of NumPy itself: its classes are static, which one made in Python never is.
bool is_numpys(PyTypeObject* type) noexcept {
    return (type->tp_flags & Py_TPFLAGS_HEAPTYPE) == 0 && std::strncmp(type->tp_name, "numpy.", 6) == 0;
}

/// Whether values of this class are compared as those of the built-in one that it is derived from. A numpy.float64 is a
/// float; that it compares itself with arrays, too, does not matter.
bool has_usual_order(PyTypeObject* type) noexcept {
    for (PyTypeObject* base : {&PyLong_Type, &PyUnicode_Type, &PyBytes_Type, &PyFloat_Type, &PyTuple_Type}) {
        if (PyType_IsSubtype(type, base)) return type->tp_richcompare == base->tp_richcompare || is_numpys(type);
    }
    return true;
}

/// Walks from one rank to another. When the container changes it finds its place again by the key it returned last, and
/// its ends by the keys that were there when it began.
class Iterator {
public:
    Iterator(PyObject* container, Part part, bool backwards, std::uint64_t first, std::uint64_t end, Repeats repeats)
        : container_(nb::borrow(container)), part_(part), backwards_(backwards), once_(repeats == Repeats::once), first_(first), end_(end) {
        const Engine engine(collection_of(container));
        serial_ = engine.serial();
        const std::uint64_t version = engine->version();  // before all that it is to tell of
        size_ = engine->size();
        end_ = std::min(end_, size_);
        chunk_.version = version;
        if (first_ >= end_) {
            if (size_ > 0) container_.reset();  // a range that is empty stays so
            return;
        }
        if (first_ > 0) least_ = key_at(engine, first_);
        if (end_ < size_) greatest_ = key_at(engine, end_ - 1);
    }

    PyObject* next() {
        if (!container_.is_valid()) return nullptr;
        if (!fetch()) {
            const nb::object container = std::move(container_);
            return nullptr;
        }
        const Bytes entry = chunk_.entry(at_++);
        last_.assign(split_sorted_entry(entry).sort_key);
        started_ = true;
        (backwards_ ? end_ : first_) += backwards_ ? ~std::uint64_t{0} : 1;
        return decode(collection_of(container_.ptr()).serializer(), entry, part_);
    }
    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(container_.ptr());
        return 0;
    }
    void clear() { const nb::object container = std::move(container_); }

private:
    /// The sort key at a rank; none if it has just gone.
    static std::optional<std::string> key_at(const Engine& engine, std::uint64_t rank) {
        Chunk chunk;
        engine->read(rank, 1, chunk);
        if (chunk.items.empty()) return std::nullopt;
        return std::string(as_text(split_sorted_entry(chunk.entry(0)).sort_key));
    }
    bool fetch() {
        const Engine engine(collection_of(container_.ptr()));
        if (engine.serial() != serial_) throw ClosedError("the container was closed during iteration");
        for (;;) {
            const std::uint64_t version = engine->version();
            const bool changed = version != chunk_.version;
            if (once_ && started_ && !changed) pass_over(engine);
            if (!changed && at_ < chunk_.items.size()) return true;
            if (changed) find_place(engine);
            if (first_ >= end_) return false;
            count_ = changed && started_ ? 1 : std::clamp<std::size_t>(2 * count_, kFirstChunk, kMaxChunk);
            const std::size_t count = std::min<std::uint64_t>(count_, end_ - first_);
            if (backwards_) engine->read_back(end_, count, chunk_);
            else engine->read(first_, count, chunk_);
            at_ = 0;
            if (chunk_.version == version) return !chunk_.items.empty();
            chunk_.version = version;  // another thread was between: the ranks may mean other entries now
        }
    }
    /// Goes behind the entries with the key returned last: those that were read, then all others.
    void pass_over(const Engine& engine) {
        const auto repeated = [this] { return std::ranges::equal(split_sorted_entry(chunk_.entry(at_)).sort_key, last_.view()); };
        while (at_ < chunk_.items.size() && repeated()) {
            ++at_;
            (backwards_ ? end_ : first_) += backwards_ ? ~std::uint64_t{0} : 1;
        }
        if (at_ < chunk_.items.size()) return;
        if (backwards_) end_ = engine->lower_bound(last_);
        else first_ = engine->upper_bound(last_);
    }
    void find_place(const Engine& engine) {
        const std::uint64_t size = engine->size();
        const Kind& kind = collection_of(container_.ptr()).kind();
        const bool by_rank = kind.repeats_keys && !once_;  // then keys do not tell the place
        if (size > size_ || (by_rank && size != size_)) raise_runtime_error(std::string(kind.name) + " changed size during iteration");
        size_ = size;
        if (by_rank) return;
        first_ = least_ ? engine->lower_bound(as_bytes(*least_)) : 0;
        end_ = greatest_ ? engine->upper_bound(as_bytes(*greatest_)) : size;
        if (started_ && backwards_) end_ = engine->lower_bound(last_);
        else if (started_) first_ = engine->upper_bound(last_);
    }

    nb::object container_;  ///< null when there is nothing more to come
    Part part_;
    bool backwards_;
    bool once_;                        ///< passes over entries whose key has been met
    std::uint64_t first_, end_;        ///< ranks still to come
    std::uint64_t serial_ = 0;         ///< of the session that the ranks belong to
    std::uint64_t size_ = 0;
    /// Sort keys at the ends of the range when it began, if they are not those of the container.
    std::optional<std::string> least_, greatest_;
    Buffer last_;                      ///< sort key returned last
    bool started_ = false;
    Chunk chunk_;
    std::size_t at_ = 0;     ///< of the next entry in the chunk
    std::size_t count_ = 0;  ///< entries asked for last time
};

constinit IteratorType<Iterator> iterator_type;

std::uint64_t number(PyObject* object) {
    const unsigned long long value = PyLong_AsUnsignedLongLong(object);
    if (value == static_cast<unsigned long long>(-1) && PyErr_Occurred()) raise_pending();
    return value;
}

/// The rank that is meant by a start or stop of a range, as in list.index().
std::uint64_t clamped(PyObject* object, std::uint64_t size) {
    const Py_ssize_t index = PyNumber_AsSsize_t(object, nullptr);
    if (index == -1 && PyErr_Occurred()) raise_pending();
    const auto length = static_cast<Py_ssize_t>(size);
    return static_cast<std::uint64_t>(std::clamp<Py_ssize_t>(index < 0 ? index + length : index, 0, length));
}

/// Throws what encode_sort_key() throws before it comes to sort keys.
void encode_ordered_identity(PyObject* key, Buffer& identity) {
    if (!has_usual_order(Py_TYPE(key))) {
        raise(PyExc_TypeError, std::string("the order of '") + Py_TYPE(key)->tp_name +
                                   "' is its own, which is not stored; use a number, str, bytes or tuple that sorts in this order as the key");
    }
    encode_identity(key, identity);
}

/// Where a key is, or would come.
RankRange places_of(PyObject* self, PyObject* key) {
    Buffer sort_key;
    encode_sort_key(key, sort_key);
    return Engine(collection_of(self))->equal_range(sort_key, RawSorted::Keys::comparable);
}

}  // namespace

void encode_sort_key(PyObject* key, Buffer& sort_key) {
    Buffer identity;
    encode_ordered_identity(key, identity);
    sort_key.clear();
    put_sort_key(sort_key, identity);
}

void Entry::encode_key(const Serializer& serializer, PyObject* key) {
    Buffer identity, digest, original;
    encode_ordered_identity(key, identity);
    serializer.encode_key(key, digest, original);
    sort_key.assign(put_sorted_entry_key(bytes, identity, original));
    key_size = bytes.size();
}

void Entry::encode_key(const NumberArray::Key& key) {
    Buffer identity, original;
    key.put_identity(identity);
    key.put_item(original);
    bytes.clear();
    sort_key.assign(put_sorted_entry_key(bytes, identity, original));
    key_size = bytes.size();
}

PyObject* decode(const Serializer& serializer, Bytes entry, Part part) {
    Buffer identity;
    const SortedEntryView parts = split_sorted_entry(entry);
    const auto key = [&] {
        if (parts.key_is_identity) return serializer.decode_key(parts.key, parts.key);
        if (!parts.key.empty()) return serializer.decode_value(parts.key);
        identity.clear();
        put_sort_key_identity(identity, parts.sort_key);
        return serializer.decode_key(identity, identity);
    };
    const auto value = [&] { return parts.value.empty() ? key() : serializer.decode_value(parts.value); };
    if (part == Part::keys) return key().release().ptr();
    if (part == Part::values) return value().release().ptr();
    const nb::object first = key(), second = value();
    return PyTuple_Pack(2, first.ptr(), second.ptr());
}

bool read_at(const Collection& self, Py_ssize_t index, Chunk& chunk) {
    const Engine engine(self);
    const auto size = static_cast<Py_ssize_t>(engine->size());
    if (index < 0) index += size;
    if (index < 0 || index >= size) return false;
    engine->read(static_cast<std::uint64_t>(index), 1, chunk);
    return !chunk.items.empty();
}

PyObject* take_at(const Collection& self, Py_ssize_t index, Part part) {
    Chunk chunk;
    for (; read_at(self, index, chunk); checked(PyErr_CheckSignals())) {
        nb::object taken = own(decode(self.serializer(), chunk.entry(0), part));
        // False if another thread took or replaced it meanwhile.
        if (Engine(self)->erase_at(chunk.items[0].key, chunk.entry(0))) return taken.release().ptr();
    }
    return nullptr;
}

PyObject* bisect_left(PyObject* self, PyObject* key) { return PyLong_FromUnsignedLongLong(places_of(self, key).first); }

PyObject* bisect_right(PyObject* self, PyObject* key) { return PyLong_FromUnsignedLongLong(places_of(self, key).end); }

PyObject* index_of(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("index", count, 1, 3);
    Buffer sort_key;
    encode_sort_key(args[0], sort_key);
    std::uint64_t size;
    RankRange found;
    {
        const Engine engine(collection_of(self));
        size = engine->size();
        found = engine->equal_range(sort_key);
    }
    const std::uint64_t start = count > 1 && args[1] != Py_None ? clamped(args[1], size) : 0;
    const std::uint64_t stop = count > 2 && args[2] != Py_None ? clamped(args[2], size) : size;
    if (!found.empty() && found.first >= start && found.first < stop) return PyLong_FromUnsignedLongLong(found.first);
    PyErr_Format(PyExc_ValueError, "%R is not in there", args[0]);
    return nullptr;
}

PyObject* clear(PyObject* self, PyObject*) {
    Engine(collection_of(self)).without_gil([](RawSorted& engine) { engine.clear(); });
    Py_RETURN_NONE;
}

PyObject* erase_slice(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("_erase_slice", count, 2, 2);
    const std::uint64_t first = number(args[0]), length = number(args[1]);
    Engine(collection_of(self)).without_gil([&](RawSorted& engine) { engine.erase_slice(first, length); });
    Py_RETURN_NONE;
}

void init_iterator() { iterator_type.init("pyrsistence.emsorted_iterator"); }

PyObject* iterate_all(PyObject* self, Part part, bool backwards, Repeats repeats) {
    return iterator_type.make(self, part, backwards, std::uint64_t{0}, UINT64_MAX, repeats);
}

PyObject* iterate_range(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("_iterate", count, 4, 5);
    const Repeats repeats = count == 5 && PyObject_IsTrue(args[4]) == 1 ? Repeats::once : Repeats::all;
    const auto part = static_cast<Part>(std::min<std::uint64_t>(number(args[0]), 2));
    return iterator_type.make(self, part, PyObject_IsTrue(args[1]) == 1, number(args[2]), number(args[3]), repeats);
}

const char* const kBisectLeftDoc = R"(bisect_left($self, key, /)
--

Return how many keys are smaller: the index of the key, or where it would come. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.update([10, 20, 30])
...     s.bisect_left(20), s.bisect_left(21)
(1, 2))";

const char* const kBisectRightDoc = R"(bisect_right($self, key, /)
--

Return how many keys are smaller or equal. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.update([10, 20, 30])
...     s.bisect_right(20), s.bisect_right(21)
(2, 2))";

const char* const kIndexDoc = R"(index($self, key, start=None, stop=None, /)
--

Return the place of the key in the order; ValueError if it is not there, or not within the range. O(log n).

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.update([10, 20, 30])
...     s.index(30)
2)";

const char* const kClearDoc = R"(clear($self, /)
--

Remove everything, as one atomic operation. Takes time in proportion to the pages in use.

>>> import pyrsistence
>>> with pyrsistence.EMSortedSet(None) as s:
...     s.add(1)
...     s.clear()
...     len(s)
0)";

}  // namespace pyrsistence::bindings::sorted
