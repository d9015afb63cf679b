// PriorityQueue<T, P>: a priority queue in a directory on disk, the smallest first; what Python's EMPriorityQueue writes,
// this reads, and the reverse, as long as Codec<T> and Codec<P> know the types.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its queue.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close()
// survive power loss.
#pragma once

#include "pyrsistence/sorted_dict.hpp"

namespace pyrsistence {

/// Items of type T with priorities of type P, by default the items themselves. Of equal priorities the first to come is
/// the first to go. Every operation takes O(log n) page touches. Errors are those of SortedDict.
///
///     pyrsistence::PriorityQueue<std::string, double> tasks("tasks.em");
///     tasks.push("read", 0.5);
///     while (auto task = tasks.pop()) ...
template <Storable T, Storable P = T>
class PriorityQueue : private RawSorted {
    using ItemParameter = typename detail::Parameter<T>::Type;
    using PriorityParameter = typename detail::Parameter<P>::Type;

    /// An item that is its own priority is stored once.
    static std::pair<P, T> decode(Bytes entry) {
        const SortedEntryView parts = split_sorted_entry(entry);
        if constexpr (std::is_same_v<T, P>) {
            if (parts.value.empty()) {
                P item = detail::decode_sorted_key<P>(parts);
                return {item, item};
            }
        } else {
            if (parts.value.empty()) throw FormatError("an item that is its own priority, in a queue that is read as one with priorities of their own");
        }
        return {detail::decode_sorted_key<P>(parts), detail::decode_item<T>(parts.value)};
    }

    PriorityQueue(const PriorityQueue& live, Handle::Time time) : RawSorted(live, time) {}

public:
    using value_type = std::pair<P, T>;
    using size_type = std::uint64_t;
    using iterator = detail::SortedIterator<value_type, &PriorityQueue::decode>;
    using const_iterator = iterator;

    /// Opens or creates the store in directory `path`.
    explicit PriorityQueue(const std::filesystem::path& path, const Options& options = {}) : RawSorted(path, options, SortedType::queue) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    PriorityQueue(const Handle& where, std::string_view name) : RawSorted(where, name, SortedType::queue) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    PriorityQueue snapshot() const { return PriorityQueue(*this, Handle::Time::now); }

    using Container::backup;
    using Container::check;
    using Container::checkpoint;
    using Container::close;
    using Container::closed;
    using Container::compact;
    using Container::delete_snapshot;
    using Container::empty;
    using Container::info;
    using Container::keep_snapshot;
    using Container::name;
    using Container::path;
    using Container::read_only;
    using Container::refresh;
    using Container::size;
    using Container::snapshots;
    using Container::sync;
    using Container::transaction;
    using Container::usage;
    using Container::verify;

    /// Adds an item behind those with the same priority.
    void push(ItemParameter item, PriorityParameter priority) {
        detail::NewSortedEntry<P> entry(priority);
        entry.template with_value<T>(item);
        RawSorted::push(entry);
    }
    void push(ItemParameter item)
        requires std::is_same_v<T, P>
    {
        RawSorted::push(detail::NewSortedEntry<P>(item));
    }
    /// The first item, which stays, if there is one.
    std::optional<T> top() const {
        auto first = top_with_priority();
        if (!first) return std::nullopt;
        return std::move(first->second);
    }
    std::optional<value_type> top_with_priority() const {
        Chunk chunk;
        RawSorted::read(0, 1, chunk);
        if (chunk.items.empty()) return std::nullopt;
        return decode(chunk.entry(0));
    }
    /// Removes and returns the first item, if there is one.
    std::optional<T> pop() {
        auto first = pop_with_priority();
        if (!first) return std::nullopt;
        return std::move(first->second);
    }
    std::optional<value_type> pop_with_priority() { return detail::take_entry<value_type, &PriorityQueue::decode>(*this, 0); }
    /// Atomic.
    void clear() { RawSorted::clear(); }

    // ---- Iteration over pairs of priority and item, in the order in which they will go ----
    // Changing the queue meanwhile is allowed: of the items with the present priority as many are passed over as were
    // visited, and what comes behind them is as it is then.

    iterator begin() const { return iterator(*this); }
    iterator end() const { return iterator(); }
};

}  // namespace pyrsistence
