// Set<K>: a set in a directory on disk, in insertion order; what Python's EMSet writes, this reads, and the reverse,
// as long as Codec<K> knows the type.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its Set; others may change
// the set meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close()
// survive power loss.
#pragma once

#include "pyrsistence/dict.hpp"

namespace pyrsistence {

/// A Dict without values. Members that Python calls equal are one member; each read decodes a fresh copy. Everything
/// that decodes throws FormatError if the stored type is another, and CorruptionError; every call throws ClosedError
/// after close(), and what changes the set throws ReadOnlyError and StorageError.
///
///     pyrsistence::Set<std::uint64_t> seen("seen.em");
///     if (seen.insert(0x401000)) std::cout << "for the first time\n";
template <Storable K>
class Set : private Dict<K, std::monostate> {
    using Members = Dict<K, std::monostate>;
    using Parameter = typename detail::Parameter<K>::Type;

    Set(const Set& live, Handle::Time time) : Members(live, time) {}

public:
    using key_type = K;
    using value_type = K;
    using size_type = std::uint64_t;
    class iterator;
    using const_iterator = iterator;

    /// Opens or creates the store in directory `path`.
    explicit Set(const std::filesystem::path& path, const Options& options = {}) : Members(path, options, DictType::set) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    Set(const Handle& where, std::string_view name) : Members(where, name, DictType::set) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    Set snapshot() const { return Set(*this, Handle::Time::now); }

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

    // ---- Membership: O(1) expected page touches per level ----

    using Members::contains;
    using Members::erase;
    /// True if the member is new; one that was there stays as it was first inserted.
    bool insert(Parameter member) { return Members::insert(member, {}); }
    /// Inserts the elements in their order; as Dict::update() for elements in a container or of a view.
    template <std::ranges::input_range Range>
    void insert_range(Range&& range) {
        Members::store_all(range, RawDict::Existing::keep, [](const auto& member) { return typename Members::Entry(member, {}); });
    }
    /// Removes and returns the member inserted last, if there is one.
    std::optional<K> pop_last() {
        auto last = Members::pop_last();
        if (!last) return std::nullopt;
        return std::move(last->first);
    }
    /// Atomic.
    using Members::clear;

    // ---- Iteration, in insertion order ----
    // Erasing meanwhile is allowed; members erased are not visited, new ones neither.

    iterator begin() const { return iterator(Members::begin()); }
    iterator end() const { return iterator(); }
    /// Iterates from this member on; end() if there is no such one.
    iterator find(Parameter member) const { return iterator(Members::find(member)); }
};

/// An input iterator: when it has been advanced, older copies of it must not be used any more, since they share its
/// position. It holds no page, and reads ahead in growing steps.
template <Storable K>
class Set<K>::iterator {
public:
    using iterator_concept = std::input_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = K;
    using difference_type = std::ptrdiff_t;
    using reference = const K&;
    using pointer = const K*;

    iterator() = default;

    reference operator*() const { return at_->first; }
    pointer operator->() const { return &at_->first; }
    iterator& operator++() {
        ++at_;
        return *this;
    }
    void operator++(int) { ++at_; }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_ == b.at_; }

private:
    friend class Set;
    explicit iterator(typename Members::iterator at) : at_(std::move(at)) {}

    typename Members::iterator at_;
};

}  // namespace pyrsistence
