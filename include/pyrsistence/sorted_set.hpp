// SortedSet<K>: a set in a directory on disk, in the order of its members; what Python's EMSortedSet writes, this reads,
// and the reverse, as long as Codec<K> knows the type.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its SortedSet; others may
// change the set meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close()
// survive power loss.
#pragma once

#include "pyrsistence/sorted_dict.hpp"

namespace pyrsistence {

/// A SortedDict without values; what it says of keys and errors holds for members.
///
///     pyrsistence::SortedSet<std::uint64_t> seen("seen.em");
///     seen.insert(0x401000);
///     for (const std::uint64_t address : seen) ...
template <Storable K>
class SortedSet : private SortedDict<K, std::monostate> {
    using Members = SortedDict<K, std::monostate>;
    using Parameter = typename detail::Parameter<K>::Type;

    static K decode(Bytes entry) { return detail::decode_sorted_key<K>(split_sorted_entry(entry)); }
    static std::optional<K> member(std::optional<std::pair<K, std::monostate>> entry) {
        if (!entry) return std::nullopt;
        return std::move(entry->first);
    }

    SortedSet(const SortedSet& live, Handle::Time time) : Members(live, time) {}

public:
    using key_type = K;
    using value_type = K;
    using size_type = std::uint64_t;
    using iterator = detail::SortedIterator<K, &SortedSet::decode>;
    using const_iterator = iterator;

    /// Opens or creates the store in directory `path`.
    explicit SortedSet(const std::filesystem::path& path, const Options& options = {}) : Members(path, options, SortedType::set) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    SortedSet(const Handle& where, std::string_view name) : Members(where, name, SortedType::set) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    SortedSet snapshot() const { return SortedSet(*this, Handle::Time::now); }

    using Members::backup;
    using Members::check;
    using Members::checkpoint;
    using Members::close;
    using Members::closed;
    using Members::compact;
    using Members::delete_snapshot;
    using Members::empty;
    using Members::info;
    using Members::keep_snapshot;
    using Members::name;
    using Members::path;
    using Members::read_only;
    using Members::refresh;
    using Members::size;
    using Members::snapshots;
    using Members::sync;
    using Members::transaction;
    using Members::usage;
    using Members::verify;

    // ---- Membership and places: O(log n) page touches each ----

    using Members::contains;
    using Members::erase;
    using Members::erase_range;
    using Members::rank;
    /// The member at a place in the order. Throws std::out_of_range if there is none.
    K nth(size_type rank) const { return Members::nth(rank).first; }
    /// True if the member is new; one that was there stays as it was first inserted.
    bool insert(Parameter member) { return Members::insert(member, {}); }
    /// Inserts the elements one after the other.
    template <std::ranges::input_range Range>
    void insert_range(Range&& range) {
        for (auto&& member : range) insert(member);
    }
    /// Removes and returns the smallest member, if there is one.
    std::optional<K> pop_first() { return member(Members::pop_first()); }
    /// The same with the greatest one.
    std::optional<K> pop_last() { return member(Members::pop_last()); }
    /// Atomic.
    using Members::clear;

    // ---- Iteration, in the order of the members; as of SortedDict ----

    iterator begin() const { return iterator(*this); }
    iterator end() const { return iterator(); }
    iterator find(Parameter member) const { return iterator::find(*this, detail::SortKey<K>(member)); }
    iterator lower_bound(Parameter member) const { return iterator(*this, KeyBound{detail::SortKey<K>(member)}); }
    iterator upper_bound(Parameter member) const { return iterator(*this, KeyBound{detail::SortKey<K>(member), true}); }
};

}  // namespace pyrsistence
