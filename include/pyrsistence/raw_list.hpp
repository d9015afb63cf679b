// A list of byte strings: what List<T> and Deque<T>, and Python's EMList and EMDeque, are made of. Every operation at
// any place is O(log n). Items must not be empty.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "pyrsistence/container.hpp"
#include "pyrsistence/rank.hpp"

namespace pyrsistence {

/// What a RawList is in its store. A deque is a list that may have a limit: when it is full, a new item at one end
/// pushes out the item at the other.
enum class ListType : std::uint8_t { list = 2, deque = 4 };

/// What a list held when it was read from front to back: enough to tell whether it still does.
class Fingerprint {
public:
    /// Of no items yet. `version`: of the list before the first item is read.
    explicit Fingerprint(std::uint64_t version) : version_(version) {}
    void add(Bytes item);

    std::uint64_t items() const noexcept { return items_; }
    std::uint64_t bytes() const noexcept { return bytes_; }

private:
    friend class RawList;
    std::uint64_t version_;
    std::uint64_t items_ = 0, bytes_ = 0;
    std::uint64_t hash_ = 0;  ///< XXH3-64 of each item, seeded with that of the items before
};

/// Gives one item after the other, valid until the next call; false at the end.
using ItemSource = std::function<bool(Bytes& item)>;

class RawList : public Container {
public:
    /// For operations on places that were computed from the size: if it is another one meanwhile, nothing happens.
    using Size = std::optional<std::uint64_t>;

    /// A new deque gets Options::max_size. Throws FormatError if it is given and the deque has another one.
    explicit RawList(const std::filesystem::path& path, const Options& options = {}, ListType type = ListType::list);
    /// In a store that is open, or in a snapshot of it.
    RawList(const Handle& where, std::string_view name, ListType type = ListType::list,
            std::optional<std::uint64_t> max_size = {});
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    RawList snapshot() const { return RawList(*this, Time::now); }

    /// Copies the item at `rank`; false if there is none.
    bool get(Rank rank, Buffer& item) const;
    /// False if there is no such item.
    bool set(Rank rank, Bytes item);
    void append(Bytes item);
    void prepend(Bytes item);
    /// Inserts before `rank`; ranks past the end append. False if the deque is full.
    bool insert(Rank rank, Bytes item);
    /// False if there is no such item.
    bool erase(Rank rank);
    /// The same, but only if the item is still this one.
    bool erase(Rank rank, Bytes item);
    /// Removes the item and copies it; false if there is none.
    bool pop(Rank rank, Buffer& item);

    /// Removes `count` items at first, first + step, ... Atomic. REQUIRES: step > 0; ranks past the
    /// end are ignored. O(count log n), or O(count / 500 * log n) if step is 1. False if it has not the size expected.
    bool erase_slice(std::uint64_t first, std::uint64_t step, std::uint64_t count, Size expected = {});
    /// Puts `items` in the place of `removed` items from `first` on. Atomic. False if it has not the size expected.
    bool replace_slice(std::uint64_t first, std::uint64_t removed, std::span<const Bytes> items, Size expected = {});
    /// Sets the items at first, first + step, ... Atomic. False, and nothing is set, unless all of them exist and it
    /// has the size expected.
    bool set_slice(std::uint64_t first, std::int64_t step, std::span<const Bytes> items, Size expected = {});
    /// Puts the items of `next` in the place of all items, if these are still those `before`; else false, and nothing
    /// happens. Atomic: they are laid beside the old ones, and replace them in one step. `next` gives as many bytes as
    /// there were (it sorts them, for example), and runs under the store's lock. O(n), memory bounded.
    bool rearrange(const Fingerprint& before, const ItemSource& next);
    /// Moves `steps` items one by one from the end to the front; if negative, from the front to the end. Atomic.
    /// O(min(|steps|, n) log n).
    void rotate(std::int64_t steps);
    /// Atomic. O(n).
    void reverse();
    /// Atomic. O(pages).
    void clear();

    /// Copies up to `count` items (fewer if they are large) from `from` on.
    void read(std::uint64_t from, std::size_t count, Chunk& chunk) const;
    /// The same towards smaller ranks, from the last below `end`.
    void read_back(std::uint64_t end, std::size_t count, Chunk& chunk) const;

    /// Of a deque; nothing if there is no limit.
    std::optional<std::uint64_t> max_size() const noexcept { return max_size_; }

protected:
    RawList(const RawList& live, Time time);

private:
    void find_limit(std::optional<std::uint64_t> expected);
    void push(bool front, Bytes item);

    std::optional<std::uint64_t> max_size_;
};

}  // namespace pyrsistence
