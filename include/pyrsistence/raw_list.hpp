// A list of byte strings: what List<T> and Python's EMList are made of. Every operation at any
// place is O(log n). Items must not be empty.
#pragma once

#include "pyrsistence/container.hpp"

namespace pyrsistence {

class RawList : public Container {
public:
    explicit RawList(const std::filesystem::path& path, const Options& options = {});
    /// In a store that is open, or in a snapshot of it.
    RawList(const Handle& where, std::string_view name);
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    RawList snapshot() const { return RawList(*this, Time::now); }

    /// Copies the item at `rank`; false if rank >= size().
    bool get(std::uint64_t rank, Buffer& item) const;
    /// False if rank >= size().
    bool set(std::uint64_t rank, Bytes item);
    void append(Bytes item);
    /// Inserts before `rank`; ranks past the end append.
    void insert(std::uint64_t rank, Bytes item);
    /// False if rank >= size().
    bool erase(std::uint64_t rank);
    /// Removes the item and copies it; false if rank >= size().
    bool pop(std::uint64_t rank, Buffer& item);

    /// Removes `count` items at first, first + step, ... Atomic. REQUIRES: step > 0; ranks past the
    /// end are ignored. O(count log n), or O(count / 500 * log n) if step is 1.
    void erase_slice(std::uint64_t first, std::uint64_t step, std::uint64_t count);
    /// Puts `items` in the place of `removed` items from `first` on. Atomic.
    void replace_slice(std::uint64_t first, std::uint64_t removed, std::span<const Bytes> items);
    /// Sets the items at first, first + step, ... Atomic. False, and nothing is set, unless all of them exist.
    bool set_slice(std::uint64_t first, std::int64_t step, std::span<const Bytes> items);
    /// Atomic. O(n).
    void reverse();
    /// Atomic. O(pages).
    void clear();

    /// Copies up to `count` items (fewer if they are large) from `from` on.
    void read(std::uint64_t from, std::size_t count, Chunk& chunk) const;
    /// The same towards smaller ranks, from the last below `end`.
    void read_back(std::uint64_t end, std::size_t count, Chunk& chunk) const;

protected:
    RawList(const RawList& live, Time time);
};

}  // namespace pyrsistence
