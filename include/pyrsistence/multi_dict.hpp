// MultiDict<K, V>: a map with any number of values under each key in a directory on disk, in the order of its keys;
// what Python's EMMultiDict writes, this reads, and the reverse, as long as Codec<K> and Codec<V> know the types.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its MultiDict; others may
// change the dict meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close()
// survive power loss.
#pragma once

#include "pyrsistence/sorted_dict.hpp"

namespace pyrsistence {

/// A SortedDict whose keys may be there several times, as those of a std::multimap; what it says of keys and errors
/// holds here. The values of a key are in the order in which they were added, and adding one neither reads nor writes
/// the others, however many those are. size() counts values.
///
///     pyrsistence::MultiDict<std::uint64_t, std::uint64_t> callers("callers.em");
///     callers.add(0x401000, 0x402010);
///     for (const std::uint64_t site : callers.getall(0x401000)) ...
template <Storable K, Storable V>
class MultiDict : private SortedDict<K, V> {
    using Entries = SortedDict<K, V>;
    using KeyParameter = typename detail::Parameter<K>::Type;
    using ValueParameter = typename detail::Parameter<V>::Type;
    using SortKey = detail::SortKey<K>;

    static V decode_value(Bytes entry) { return detail::decode_item<V>(split_sorted_entry(entry).value); }

    MultiDict(const MultiDict& live, Handle::Time time) : Entries(live, time) {}

public:
    using key_type = K;
    using mapped_type = V;
    using value_type = std::pair<K, V>;
    using size_type = std::uint64_t;
    using iterator = typename Entries::iterator;
    using const_iterator = iterator;
    using value_iterator = detail::SortedIterator<V, &MultiDict::decode_value>;

    /// Opens or creates the store in directory `path`.
    explicit MultiDict(const std::filesystem::path& path, const Options& options = {})
        : Entries(path, options, SortedType::multi_dict) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    MultiDict(const Handle& where, std::string_view name) : Entries(where, name, SortedType::multi_dict) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    MultiDict snapshot() const { return MultiDict(*this, Handle::Time::now); }

    using Entries::backup;
    using Entries::check;
    using Entries::checkpoint;
    using Entries::close;
    using Entries::closed;
    using Entries::compact;
    using Entries::delete_snapshot;
    using Entries::empty;
    using Entries::info;
    using Entries::keep_snapshot;
    using Entries::name;
    using Entries::path;
    using Entries::read_only;
    using Entries::refresh;
    using Entries::size;
    using Entries::snapshots;
    using Entries::sync;
    using Entries::transaction;
    using Entries::usage;
    using Entries::verify;

    // ---- Lookup: O(log n) page touches each ----

    using Entries::contains;
    /// The number of values that a key has.
    size_type count(KeyParameter key) const { return RawSorted::equal_range(SortKey(key)).size(); }
    /// The values of a key, an input range that is read ahead in growing steps. Plus O(values).
    auto getall(KeyParameter key) const {
        return std::ranges::subrange(value_iterator(*this, SortKey(key)), value_iterator());
    }
    /// The number of values with smaller keys.
    using Entries::rank;
    /// The key and value at a place in the order. Throws std::out_of_range if there is none.
    using Entries::nth;

    // ---- Changes: O(log n) page touches each ----

    /// Adds a value behind those that the key has; it remembers how its key was written (1 or 1.0).
    void add(KeyParameter key, ValueParameter value) {
        detail::NewSortedEntry<K> entry(key);
        RawSorted::push(entry.template with_value<V>(value));
    }
    /// Adds pairs of a key and a value, one after the other.
    template <std::ranges::input_range Range>
    void insert_range(Range&& range) {
        for (auto&& [key, value] : range) add(key, value);
    }
    /// Removes the first value of the key that is equal to this one; false if there is none. Plus O(values of the key).
    bool discard(KeyParameter key, const V& value)
        requires std::equality_comparable<V>
    {
        const auto container = [this] { return static_cast<RawSorted*>(this); };
        const auto matches = [&value](Bytes entry) { return decode_value(entry) == value; };
        return detail::erase_first_match(container, SortKey(key), matches);
    }
    /// Removes a key and returns its values, none if it has none. Atomic. Plus O(values of the key).
    std::vector<V> popall(KeyParameter key) {
        const SortKey sort_key(key);
        for (Chunk chunk;;) {
            RawSorted::read_all(sort_key, chunk);
            std::vector<V> values;
            for (std::size_t i = 0; i < chunk.items.size(); ++i) values.push_back(decode_value(chunk.entry(i)));
            // False if another thread has changed them meanwhile.
            if (RawSorted::erase_if_same(sort_key, chunk)) return values;
        }
    }
    /// Removes a key with all its values, as one atomic operation; returns their number. Plus O(pages).
    size_type erase(KeyParameter key) { return RawSorted::erase_all(SortKey(key)); }
    /// Removes the keys from `low` on and below `high`, as one atomic operation; returns the number of their values.
    /// Plus O(pages).
    using Entries::erase_range;
    /// Atomic.
    using Entries::clear;

    // ---- Iteration over pairs of a key and a value, in the order of the keys ----
    // Changing the dict meanwhile is allowed: of the values of the present key as many are passed over as were visited,
    // and what comes behind them is as it is then. With group_by(dict, &std::pair<K, V>::first) each key comes once.

    using Entries::begin;
    using Entries::end;
    /// From the first value of this key on; end() if it has none.
    using Entries::find;
    /// From the first key that is not below this one on.
    using Entries::lower_bound;
    /// From the first key above this one on.
    using Entries::upper_bound;
    /// The key with each of its values, an input range.
    auto equal_range(KeyParameter key) const {
        return std::ranges::subrange(iterator(*this, SortKey(key)), iterator());
    }
};

}  // namespace pyrsistence
