#include "bindings/dict_iterator.hpp"

#include <algorithm>

#include "bindings/iterator_type.hpp"
#include "codec/item.hpp"
#include "pyrsistence/raw_dict.hpp"

namespace pyrsistence::bindings {

namespace {

constexpr std::size_t kMaxChunk = 1024;

class DictIterator {
public:
    /// Where the iteration begins, and in what state of the dict.
    struct Start {
        std::uint64_t serial, version;
        EntryId limit;
        const char* what;  ///< the dict is called
    };
    DictIterator(PyObject* dict, Part part, bool backwards, const Start& start) noexcept;

    /// Null at the end.
    PyObject* next();

    int traverse(visitproc visit, void* arg) const {
        Py_VISIT(dict_.ptr());
        return 0;
    }
    void clear() { const nb::object dict = std::move(dict_); }

private:
    using Dict = Use<RawDict>;

    /// False at the end.
    bool fetch();
    void load(const Dict& dict, EntryId begin, std::size_t count);
    PyObject* decode(const codec::EntryView& entry) const;
    /// Where to go on behind the current entry.
    EntryId position() const noexcept;

    nb::object dict_;  ///< null when there is nothing more to come
    Part part_;
    bool backwards_;
    const char* what_;
    std::uint64_t serial_;  ///< of the session that the ids belong to
    EntryId limit_;         ///< next id of the dict when the iteration began
    EntryId next_;          ///< where the chunk begins
    Chunk chunk_;
    std::size_t index_ = 0;  ///< of the next entry in the chunk
    std::size_t count_ = 0;  ///< entries asked for last time
};

DictIterator::DictIterator(PyObject* dict, Part part, bool backwards, const Start& start) noexcept
    : dict_(nb::borrow(dict)),
      part_(part),
      backwards_(backwards),
      what_(start.what),
      serial_(start.serial),
      limit_(start.limit),
      next_(backwards ? start.limit : 0) {
    chunk_.next = next_;
    chunk_.more = true;
    chunk_.version = start.version;
}

EntryId DictIterator::position() const noexcept {
    if (index_ == 0) return next_;
    const EntryId current = chunk_.items[index_ - 1].key;
    return backwards_ ? current : current + 1;
}

void DictIterator::load(const Dict& dict, EntryId begin, std::size_t count) {
    next_ = begin;
    index_ = 0;
    count_ = count;
    if (backwards_) dict->read_back(next_, count, chunk_);
    else dict->read(next_, count, chunk_);
    if (dict->next_id() != limit_) raise_runtime_error(std::string(what_) + " changed size during iteration");
}

bool DictIterator::fetch() {
    const Dict dict(collection_of(dict_.ptr()));
    if (dict.serial() != serial_) throw ClosedError("the " + std::string(what_) + " was closed during iteration");
    if (dict->version() != chunk_.version) load(dict, position(), 1);
    while (index_ == chunk_.items.size()) {
        if (!chunk_.more) return false;
        load(dict, chunk_.next, std::clamp<std::size_t>(2 * count_, 1, kMaxChunk));
    }
    return true;
}

PyObject* DictIterator::decode(const codec::EntryView& entry) const {
    const Serializer& serializer = collection_of(dict_.ptr()).serializer();
    if (part_ == Part::values) return serializer.decode_value(entry.value).release().ptr();
    nb::object key = serializer.decode_key(entry.identity, entry.key);
    if (part_ == Part::keys) return key.release().ptr();
    const nb::object value = serializer.decode_value(entry.value);
    return PyTuple_Pack(2, key.ptr(), value.ptr());
}

PyObject* DictIterator::next() {
    if (!dict_.is_valid()) return nullptr;
    if (!fetch()) {
        const nb::object dict = std::move(dict_);
        return nullptr;
    }
    const codec::EntryView entry = codec::split_entry(chunk_.entry(index_++));
    return decode(entry);
}

constinit IteratorType<DictIterator> iterator_type;

}  // namespace

void init_dict_iterator() { iterator_type.init("pyrsistence.emdict_iterator"); }

PyObject* make_dict_iterator(PyObject* dict, Part part, bool backwards, const char* what) {
    const Use<RawDict> engine(collection_of(dict));
    const DictIterator::Start start{engine.serial(), engine->version(), engine->next_id(), what};
    return iterator_type.make(dict, part, backwards, start);
}

}  // namespace pyrsistence::bindings
