// A dict of bytes to bytes in insertion order: what Dict<K, V> and Python's EMDict are made of.
//
// Keys are identity items and values are items (docs/format.md). An entry is the identity, the key
// item if the identity alone does not give the key back, and the value. Lookup is O(1) expected
// page touches per level of index and tree: about four cache misses in practice.
#pragma once

#include <array>

#include "pyrsistence/container.hpp"

namespace pyrsistence {

/// A key and value to be stored, as one entry.
struct DictEntry {
    Bytes bytes;                ///< identity, key part if any, value
    std::size_t identity_size;  ///< bytes of the identity
    std::size_t key_size;       ///< bytes before the value

    Bytes identity() const { return bytes.first(identity_size); }
};

/// Entries that are to be stored side by side.
class DictBatch {
public:
    /// Entries at most: what finding so many keys touches fits into the first-level cache.
    static constexpr std::size_t kMost = 64;

    /// Whether it is small enough: copying a large one costs more than storing it alone.
    static bool takes(const DictEntry& entry) { return entry.bytes.size() < kFullBytes; }
    /// REQUIRES: not full().
    void add(const DictEntry& entry) {
        parts_[count_++] = {bytes_.size(), entry.bytes.size(), entry.identity_size, entry.key_size};
        bytes_.append(entry.bytes);
    }
    /// Whether it has to be stored and cleared before anything is added.
    bool full() const { return count_ == kMost || bytes_.size() >= kFullBytes; }
    std::size_t size() const { return count_; }
    DictEntry operator[](std::size_t i) const {
        const Part& part = parts_[i];
        return {bytes_.view().subspan(part.begin, part.size), part.identity_size, part.key_size};
    }
    void clear() {
        bytes_.clear();
        count_ = 0;
    }

private:
    static constexpr std::size_t kFullBytes = 64 * 1024;
    struct Part {
        std::size_t begin, size, identity_size, key_size;
    };

    Buffer bytes_;
    std::array<Part, kMost> parts_;
    std::size_t count_ = 0;
};

/// What a RawDict is in its store. A set is a dict whose values are all None.
enum class DictType : std::uint8_t { dict = 1, set = 3 };

class RawDict : public Container {
public:
    /// Keys that are looked up side by side.
    static constexpr std::size_t kTogether = DictBatch::kMost;
    /// What happens to a key that is there already.
    enum class Existing { replace, keep };

    explicit RawDict(const std::filesystem::path& path, const Options& options = {}, DictType type = DictType::dict);
    /// In a store that is open, or in a snapshot of it.
    RawDict(const Handle& where, std::string_view name, DictType type = DictType::dict);
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    RawDict snapshot() const { return RawDict(*this, Time::now); }

    /// Replaces a long identity by its digest, which is what is stored and looked up.
    static void shorten_identity(Buffer& identity);

    /// Copies the value into `value`; false if there is no such key.
    bool get(Bytes identity, Buffer& value) const;
    /// Looks up many keys: item i of `values` is the value of identity i, with the entry's id, or with 0 if there is
    /// no such key. What they need is loaded side by side, which saves time where get() would wait for memory.
    /// Every 64 keys see one moment.
    void get_many(const Chunk& identities, Chunk& values) const;
    bool contains(Bytes identity) const;
    /// The entry's id, its place in insertion order; 0 if there is no such key.
    EntryId find(Bytes identity) const;
    /// Copies the entry with this id; false if it is gone.
    bool read_entry(EntryId id, Buffer& entry) const;

    /// Inserts, or replaces the value and keeps the key first inserted. True if the key is new.
    bool set(const DictEntry& entry);
    /// set() or insert() of each in their order, as one operation: new entries are appended together, and in a store larger
    /// than memory what their keys need is read side by side. Those before a key that cannot be looked up for damage are
    /// stored. The batch is empty then, whatever happens.
    void set_many(DictBatch& batch, Existing existing);
    /// Inserts if the key is new; otherwise copies the existing value and returns false.
    bool insert(const DictEntry& entry, Buffer& existing);
    /// False if there is no such key.
    bool erase(Bytes identity);
    /// The same, but only if the value is still this one.
    bool erase(Bytes identity, Bytes value);
    /// Removes the key and copies its value; false if there is none.
    bool pop(Bytes identity, Buffer& value);
    /// Removes the last inserted entry and copies it; false if the dict is empty.
    bool pop_last(Buffer& entry);
    /// Atomic. O(pages).
    void clear();

    /// Copies up to `count` entries (fewer if they are large) with ids from `from` on.
    void read(EntryId from, std::size_t count, Chunk& chunk) const;
    /// The same towards older entries, from the last with an id below `end`.
    void read_back(EntryId end, std::size_t count, Chunk& chunk) const;
    /// The id that the next new key will get: it grows with every new key and never shrinks.
    EntryId next_id() const;

protected:
    RawDict(const RawDict& live, Time time);
};

}  // namespace pyrsistence
