// A map of bytes to bytes in the order of its keys: what SortedDict, SortedSet, PriorityQueue and MultiDict, and their
// Python counterparts, are made of.
//
// Entries begin with their sort keys (sort_key.hpp). Each operation descends one tree: O(log n) page touches. Ranks
// are places in the order, from 0; finding an entry by its rank, or the rank of a key, is O(log n) too.
#pragma once

#include <optional>

#include "pyrsistence/container.hpp"
#include "pyrsistence/rank.hpp"

namespace pyrsistence {

/// What a RawSorted is in its store. A set is a dict whose values are all None; a queue and a multi-dict
/// may hold equal keys.
enum class SortedType : std::uint8_t { dict = 5, set = 6, queue = 7, multi_dict = 8 };

/// An entry to be stored.
struct SortedEntry {
    Bytes bytes;            ///< as SortedEntryView says
    Bytes sort_key;         ///< a part of them
    std::size_t key_size;   ///< bytes before the value
};

/// Places in the order, from `first` to before `end`.
struct RankRange {
    std::uint64_t first = 0, end = 0;

    std::uint64_t size() const noexcept { return end - first; }
    bool empty() const noexcept { return first == end; }
};

/// An end of a range of keys: before all entries with a key, or behind them.
struct KeyBound {
    Bytes sort_key;
    bool behind = false;
};

class RawSorted : public Container {
public:
    /// Whether a key must be one that Python could compare with those that are there.
    enum class Keys { any, comparable };

    explicit RawSorted(const std::filesystem::path& path, const Options& options = {}, SortedType type = SortedType::dict);
    /// In a store that is open, or in a snapshot of it.
    RawSorted(const Handle& where, std::string_view name, SortedType type = SortedType::dict);
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    RawSorted snapshot() const { return RawSorted(*this, Time::now); }

    /// Copies the entry with this sort key; false if there is none.
    bool get(Bytes sort_key, Buffer& entry) const;
    bool contains(Bytes sort_key) const;
    /// The number of entries with smaller keys.
    std::uint64_t lower_bound(Bytes sort_key) const;
    /// The number of entries whose keys are not greater.
    std::uint64_t upper_bound(Bytes sort_key) const;
    /// Both at once: where the entries with a key are, or would come. Throws OrderError if a key must be comparable and
    /// is not.
    RankRange equal_range(Bytes sort_key, Keys keys = Keys::any) const;

    /// Inserts, or replaces the value and keeps the key first inserted. True if the key is new. Throws OrderError if
    /// the key cannot be compared with its neighbours; so do the next two.
    bool set(const SortedEntry& entry);
    /// Inserts if the key is new; otherwise copies the existing entry and returns false.
    bool insert(const SortedEntry& entry, Buffer& existing);
    /// Inserts behind all entries with the same key. For queues and multi-dicts.
    void push(const SortedEntry& entry);
    /// False if there is no such key.
    bool erase(Bytes sort_key);
    /// Removes the first entry with this key, or the one behind so many of them, but only if its bytes are still these.
    bool erase(Bytes sort_key, Bytes entry, std::uint64_t passed = 0);
    /// Removes the entry at a rank, but only if its bytes are still these.
    bool erase_at(std::uint64_t rank, Bytes entry);
    /// False if there is none.
    bool erase_at(Rank rank);
    /// Removes the entries between two bounds, without one from the first or to the last, and returns their number.
    /// Atomic. Throws OrderError if a bound cannot be compared with the keys beside it.
    std::uint64_t erase_between(const std::optional<KeyBound>& first, const std::optional<KeyBound>& end);
    /// Removes all entries with this key and returns their number. Atomic.
    std::uint64_t erase_all(Bytes sort_key);
    /// The same, but only if they still are those that read_all() copied. Atomic.
    bool erase_if_same(Bytes sort_key, const Chunk& expected);
    /// Removes `count` entries from rank `first` on, as far as there are. Atomic.
    void erase_slice(std::uint64_t first, std::uint64_t count);
    /// Removes the first entry and inserts another, behind its equals; copies the one removed. False, and nothing
    /// changes, if there is none. Atomic. For queues.
    bool replace_first(const SortedEntry& entry, Bytes expected);
    /// Atomic. O(pages).
    void clear();

    /// Copies the entry at a rank. False if there is none.
    bool read_at(Rank rank, Chunk& chunk) const;
    /// Copies up to `count` entries (fewer if they are large) from rank `from` on.
    void read(std::uint64_t from, std::size_t count, Chunk& chunk) const;
    /// The same from behind the entries with a key; of these the first `passed` count, as far as there are.
    void read_behind(Bytes sort_key, std::uint64_t passed, std::size_t count, Chunk& chunk) const;
    /// Of those with the key only: these as read() does, without the first `passed`. `chunk.more` if some are left.
    void read_equals(Bytes sort_key, std::uint64_t passed, std::size_t count, Chunk& chunk) const;
    /// Copies all entries with a key, however many there are.
    void read_all(Bytes sort_key, Chunk& chunk) const;
    /// As read() towards smaller keys, from the last whose rank is below `end`.
    void read_back(std::uint64_t end, std::size_t count, Chunk& chunk) const;

    /// OrderError if Python could not compare this key with one that is there.
    void require_comparable(Bytes sort_key) const;

protected:
    RawSorted(const RawSorted& live, Time time);
};

}  // namespace pyrsistence
