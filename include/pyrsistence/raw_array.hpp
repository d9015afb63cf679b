// An array of items of one size, as bytes: what Array<T> and Python's EMArray are made of. It grows and shrinks at its
// end; reading and replacing items anywhere takes time in proportion to their bytes, and O(log n) to find the first.
//
// Whatever spans more bytes than kAtOnce happens in parts of that size, each at one moment and atomic, from front to
// back; a transaction makes one change of them, a snapshot one state.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "pyrsistence/container.hpp"
#include "pyrsistence/rank.hpp"

namespace pyrsistence {

class RawArray : public Container {
public:
    /// Bytes that are read or changed at one moment, about; at least one item.
    static constexpr std::size_t kAtOnce = std::size_t{256} << 10;

    /// A new array gets Options::item_type; without it, nothing is created. Throws FormatError if it is given and the
    /// array has another one, NotFoundError.
    explicit RawArray(const std::filesystem::path& path, const Options& options = {});
    /// In a store that is open, or in a snapshot of it.
    RawArray(const Handle& where, std::string_view name, const std::optional<ItemType>& type = {});
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    RawArray snapshot() const { return RawArray(*this, Time::now); }

    const ItemType& type() const noexcept { return type_; }
    /// Of an item, in bytes.
    std::size_t item_size() const noexcept { return static_cast<std::size_t>(type_.size); }

    /// Copies one item. False if there is none. REQUIRES: out.size() == item_size().
    bool get(Rank rank, MutableBytes out) const;
    /// Copies items from `first` on, until there are none or `out` is full. Returns how many.
    std::uint64_t read(std::uint64_t first, MutableBytes out) const;
    /// Copies the items of these indices, fastest if they ascend. False if one of them does not exist.
    bool gather(std::span<const std::uint64_t> indices, MutableBytes out) const;

    /// Full pages that lie side by side, where the data file is mapped: items without copying them. Row i begins at
    /// `bytes` + i * kRowBytes and holds row_items() items; only the last may hold fewer.
    struct Rows {
        std::shared_ptr<const void> pin;  ///< the bytes stay as they are while it exists
        const std::byte* bytes = nullptr;
        std::uint64_t items = 0;
    };
    static constexpr std::size_t kRowBytes = 4096;
    /// In each page; 0 if an item takes more than a page.
    std::uint64_t row_items() const noexcept;
    /// The longest row of pages, up to 16 MiB, from the one on that holds item `first`, which begins it. Nothing if the
    /// page was written since the last checkpoint and is only in memory. REQUIRES: this is a snapshot; row_items() > 0
    /// divides `first`, which exists.
    std::optional<Rows> rows(std::uint64_t first) const;

    /// Replaces one item. False if there is none.
    bool set(Rank rank, Bytes item);
    /// Replaces items from `first` on. False, with those before it replaced, if one does not exist.
    bool write(std::uint64_t first, Bytes items);
    /// Replaces the items of these indices. False likewise. REQUIRES: they ascend and are distinct.
    bool scatter(std::span<const std::uint64_t> indices, Bytes items);

    void append(Bytes items);
    /// Copies the last item and removes it. False if there is none.
    bool pop(MutableBytes out);
    /// Removes items at the end, which is atomic, or appends such whose bytes are 0. O(bytes appended), or O(pages removed).
    void resize(std::uint64_t size);
    /// Atomic. O(pages).
    void clear() { resize(0); }

protected:
    RawArray(const RawArray& live, Time time) : Container(live, time), type_(live.type_) {}

private:
    void find_type(const std::optional<ItemType>& expected);
    /// Bytes of whole items.
    std::size_t part_size() const noexcept;

    ItemType type_;
};

}  // namespace pyrsistence
