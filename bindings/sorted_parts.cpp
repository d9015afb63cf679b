#include "bindings/sorted_parts.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "bindings/iterator_type.hpp"
#include "bindings/key_identity.hpp"
#include "codec/item.hpp"

namespace pyrsistence::bindings::sorted {

namespace {

constexpr std::size_t kFirstChunk = 16, kMaxChunk = 1024;
constexpr std::uint64_t kNoVersion = 0;  ///< that no state has

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

/// An end of a range of keys, as KeyBound.
struct Bound {
    std::string sort_key;
    bool behind;

    operator KeyBound() const noexcept { return {as_bytes(sort_key), behind}; }
};

/// Nothing for None.
std::optional<Bound> bound_of(PyObject* key, PyObject* behind) {
    if (key == Py_None) return std::nullopt;
    Buffer sort_key;
    encode_sort_key(key, sort_key);
    return Bound{std::string(as_text(sort_key)), checked(PyObject_IsTrue(behind)) != 0};
}

/// What an iterator goes through: what lies between two ranks if they are given, else between two keys, or all.
struct Range {
    std::optional<Bound> least, greatest;
    std::optional<RankRange> ranks;
};

/// Walks through a range by ranks. When the container changes it finds its place again by the key it returned last, and
/// the ends of its range by their keys: those it was given, or those that were there when it began.
class Iterator {
public:
    Iterator(PyObject* container, Part part, bool backwards, Range range, Repeats repeats)
        : container_(nb::borrow(container)), part_(part), backwards_(backwards), once_(repeats == Repeats::once),
          by_rank_(collection_of(container).kind().repeats_keys && !once_), least_(std::move(range.least)), greatest_(std::move(range.greatest)) {
        const Engine engine(collection_of(container));
        serial_ = engine.serial();
        size_ = engine->size();
        for (const std::optional<Bound>* bound : {&least_, &greatest_}) {
            if (*bound) engine->require_comparable(as_bytes((*bound)->sort_key));
        }
        while (range.ranks && !begin_at(engine, *range.ranks)) {
        }
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
    /// False if another thread came between its steps: then what it has found is of no use.
    bool begin_at(const Engine& engine, const RankRange& ranks) {
        chunk_.version = engine->version();
        placed_ = true;
        size_ = engine->size();
        first_ = ranks.first;
        end_ = std::min(ranks.end, size_);
        const bool bounded = first_ < end_ && !by_rank_;
        least_ = bounded && first_ > 0 ? bound_at(engine, first_, false) : std::nullopt;
        greatest_ = bounded && end_ < size_ ? bound_at(engine, end_ - 1, true) : std::nullopt;
        if (engine->version() != chunk_.version) return false;
        if (first_ >= end_ && size_ > 0) container_.reset();  // a range that is empty stays so
        return true;
    }
    /// Nothing if there is none any more.
    static std::optional<Bound> bound_at(const Engine& engine, std::uint64_t rank, bool behind) {
        Chunk chunk;
        if (!engine->read_at(rank, chunk)) return std::nullopt;
        return Bound{std::string(as_text(split_sorted_entry(chunk.entry(0)).sort_key)), behind};
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
            count_ = changed && started_ ? 1 : std::clamp<std::size_t>(2 * count_, kFirstChunk, kMaxChunk);
            const std::size_t count = std::min<std::uint64_t>(count_, end_ - std::min(first_, end_));
            if (backwards_) engine->read_back(end_, count, chunk_);
            else engine->read(first_, count, chunk_);
            at_ = 0;
            if (chunk_.version == version) return !chunk_.items.empty();
            chunk_.version = kNoVersion;  // another thread was between: the ranks may mean other entries now
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
        const char* name = collection_of(container_.ptr()).kind().name;
        if (size > size_ || (by_rank_ && size != size_)) raise_runtime_error(std::string(name) + " changed size during iteration");
        size_ = size;
        if (by_rank_ && std::exchange(placed_, true)) return;
        const auto rank_of = [&engine](const Bound& bound) {
            return bound.behind ? engine->upper_bound(as_bytes(bound.sort_key)) : engine->lower_bound(as_bytes(bound.sort_key));
        };
        first_ = least_ ? rank_of(*least_) : 0;
        end_ = greatest_ ? rank_of(*greatest_) : size;
        if (started_ && backwards_) end_ = engine->lower_bound(last_);
        else if (started_) first_ = engine->upper_bound(last_);
    }

    nb::object container_;  ///< null when there is nothing more to come
    Part part_;
    bool backwards_;
    bool once_;     ///< passes over entries whose key has been met
    bool by_rank_;  ///< keys do not tell the place
    bool placed_ = false;
    std::uint64_t first_ = 0, end_ = 0;  ///< ranks still to come
    std::uint64_t serial_ = 0;         ///< of the session that the ranks belong to
    std::uint64_t size_ = 0;
    std::optional<Bound> least_, greatest_;  ///< ends of the range that are not those of the container
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

Part part_of(PyObject* object) { return static_cast<Part>(std::min<std::uint64_t>(number(object), 2)); }

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
    return Engine(self)->read_at(rank_of(index), chunk);
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

PyObject* erase_between(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("_erase_between", count, 4, 4);
    const std::optional<Bound> first = bound_of(args[0], args[1]), end = bound_of(args[2], args[3]);
    return PyLong_FromUnsignedLongLong(Engine(collection_of(self)).without_gil([&](RawSorted& engine) {
        return engine.erase_between(first, end);
    }));
}

void init_iterator() { iterator_type.init("pyrsistence.emsorted_iterator"); }

PyObject* iterate_all(PyObject* self, Part part, bool backwards, Repeats repeats) {
    return iterator_type.make(self, part, backwards, Range{}, repeats);
}

PyObject* iterate_slice(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("_iterate", count, 4, 4);
    Range range;
    range.ranks = RankRange{number(args[2]), number(args[3])};
    return iterator_type.make(self, part_of(args[0]), checked(PyObject_IsTrue(args[1])) != 0, std::move(range), Repeats::all);
}

PyObject* iterate_between(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    expect_arguments("_iterate_between", count, 6, 7);
    const Repeats repeats = count == 7 && checked(PyObject_IsTrue(args[6])) != 0 ? Repeats::once : Repeats::all;
    Range range{bound_of(args[2], args[3]), bound_of(args[4], args[5]), {}};
    return iterator_type.make(self, part_of(args[0]), checked(PyObject_IsTrue(args[1])) != 0, std::move(range), repeats);
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
