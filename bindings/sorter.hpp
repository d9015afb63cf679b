// External sorting of items by Python's `<`: what external_sort() and EMList.sort() are made of. Every function
// REQUIRES the GIL where nothing else is said, runs user code (key, `<`, pickles), and throws what that raises, or
// StorageError; after an exception the sorter can only be destroyed. Belongs to one thread at a time.
//
// Keys that are all int (of 64 bits), all float (no NaN), all str or all bytes are compared as `<` does, but natively
// and without the GIL. Other keys, and mixtures, are compared as objects.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "bindings/collection.hpp"
#include "pyrsistence/scratch.hpp"

namespace pyrsistence::bindings {

/// None: the default. ValueError for a limit below 1.
ExternalOptions external_options(PyObject* memory_limit, PyObject* directory);

/// Calls the method sort() of a Python list.
void sort_list(const nb::object& list, PyObject* key, bool reverse);

class Sorter {
public:
    /// `key`: a callable or None. `serializer` outlives the sorter.
    Sorter(const ExternalOptions& options, PyObject* key, bool reverse, const Serializer& serializer);
    ~Sorter();
    Sorter(const Sorter&) = delete;
    Sorter& operator=(const Sorter&) = delete;

    /// `item` stands for the object `value`, which is decoded where it is needed if it is null.
    void add(Bytes item, PyObject* value = nullptr);
    std::uint64_t size() const noexcept { return count_; }
    /// Sorts; no add() may follow. Calls tick() now and then.
    void finish(const std::function<void()>& tick = {});

    /// Goes to the next item; false at the end.
    bool next();
    /// The present item, and the object that it stands for, and its key.
    Bytes item() const;
    nb::object value() const;
    nb::object key() const;

    /// From here on next() and item() run no Python and need no GIL.
    void make_native(const std::function<void()>& tick);

    int traverse(visitproc visit, void* arg) const;

private:
    enum class KeyKind : std::uint8_t { none, integer, real, text, binary, object };
    struct NativeKey;
    struct Entry {
        std::uint64_t prefix;  ///< in the order of the keys, as far as eight bytes tell
        std::uint64_t begin;   ///< of the record in bytes_
    };
    struct Source;
    struct SourceLess;

    static NativeKey native_key(Bytes key_item);
    bool precedes(std::uint64_t a_prefix, Bytes a, std::uint64_t b_prefix, Bytes b) const;
    Bytes record_at(const Entry& entry) const;
    Bytes key_item(Bytes record) const;
    Bytes value_item(Bytes record) const;
    nb::object decode_key(Bytes record) const;
    void read_key(Source& source) const;
    Bytes record() const;

    void become_objects();
    void sort_load();
    void spill();
    detail::Run merge_to_run(std::vector<detail::Run> runs, const std::function<void()>& tick);
    std::vector<Source> sources_of(std::vector<detail::Run> runs);

    const ExternalOptions options_;
    const detail::MemoryPlan plan_;
    const nb::object key_function_;  ///< null: items are their own keys
    const bool reverse_;
    const Serializer& serializer_;

    KeyKind kind_ = KeyKind::none;
    Buffer record_;                 ///< the one that is being added
    std::vector<std::byte> bytes_;  ///< records: varint length, key item or 00 if there is a key function, value item
    std::vector<Entry> entries_;
    nb::object keys_;          ///< of the entries, a list, while kind_ is object
    std::uint64_t used_ = 0;   ///< bytes of memory of the load
    std::uint64_t count_ = 0;
    std::uint64_t at_ = 0;     ///< items given out
    std::unique_ptr<detail::Scratch> scratch_;
    std::vector<detail::Run> runs_;
    std::unique_ptr<detail::Merge<Source, SourceLess>> merge_;
    std::optional<detail::RunReader> reader_;  ///< of the items alone, after make_native()
    Bytes read_;                               ///< by reader_
};

}  // namespace pyrsistence::bindings
