// A long row of bytes, such as the items of an array: a B+tree whose leaves hold nothing but these bytes. All leaves but
// the last are full, so that it grows and shrinks at its end only, and appending fills every page.
//
// A ByteTree is a view like Tree, with the same rules of use. Positions are counted in bytes from the first one.
// Invariant: every leaf but the last holds `leaf_bytes` bytes, and that one at least one.
#pragma once

#include "structures/spine.hpp"

namespace pyrsistence::structures {

class ByteTree {
public:
    static constexpr std::size_t kData = sizeof(storage::PageHeader);
    static constexpr std::size_t kMostBytes = storage::kPageSize - kData;  ///< in a leaf
    /// Leaves that a step may append or write after Pager::reserve(), beside the nodes above them.
    static constexpr std::size_t kStepLeaves = 64;

    /// Bytes in a full leaf of items of one size: as many whole items as it has room for; larger ones are cut.
    static constexpr std::size_t leaf_bytes(std::uint64_t item_size) {
        return item_size > kMostBytes ? kMostBytes : static_cast<std::size_t>(kMostBytes / item_size * item_size);
    }

    ByteTree(storage::Pager& pager, std::byte* root, std::size_t leaf_bytes)
        : spine_(pager, root, storage::PageKind::bytes), leaf_bytes_(leaf_bytes) {}
    /// For reading only.
    ByteTree(storage::Pager& pager, const std::byte* root, std::size_t leaf_bytes)
        : ByteTree(pager, const_cast<std::byte*>(root), leaf_bytes) {}

    std::uint64_t size() const { return spine_.entries(kMostBytes); }
    std::size_t leaf_bytes() const { return leaf_bytes_; }

    /// From a position to the end of its leaf. O(log n). REQUIRES: position < size().
    Bytes at(std::uint64_t position) const;
    /// The page of the leaf of this number. Throws CorruptionError.
    PageId leaf_page(std::uint64_t number) const { return spine_.to_leaf(number).leaf; }
    /// Copies out.size() bytes. REQUIRES: they exist.
    void get(std::uint64_t position, MutableBytes out) const {
        const Bytes some = at(position);
        if (some.size() < out.size()) [[unlikely]] return read(position, out);
        std::memcpy(out.data(), some.data(), out.size());
    }
    /// The same, reading ahead.
    void read(std::uint64_t position, MutableBytes out) const;

    /// Calls visit(page id, bytes) for the leaf of this number and those behind it, until it returns false.
    template <class Visit>
    void visit_leaves(std::uint64_t number, Visit&& visit) const {
        Path path = spine_.to_leaf(number);
        do {
            spine_.read_ahead(path);
        } while (visit(path.leaf, rest(path.leaf, 0)) && spine_.next_leaf(path));
    }

    /// Replaces bytes. REQUIRES: they exist, in at most kStepLeaves + 1 leaves.
    void write(std::uint64_t position, Bytes bytes);
    /// REQUIRES: at most kStepLeaves * leaf_bytes() bytes.
    void append(Bytes bytes);
    void append_zeros(std::uint64_t count);
    /// Takes the bytes behind `size` away, at most those of one leaf. REQUIRES: size < this->size().
    void truncate_some(std::uint64_t size);
    /// Gives every page back. O(pages / fan-out) reads.
    void clear() { spine_.clear(); }

    /// Moves the pages that lie at `limit` or above on the way to a position. Returns where the next leaf begins.
    std::uint64_t relocate(std::uint64_t position, PageId limit);

private:
    static void validate(const std::byte* leaf, PageId id, PageId page_count);
    static bool register_validator();
    static const bool registered_;
    [[noreturn]] static void bad_count(PageId page);

    /// The way to the leaf of a position, which becomes the offset in it.
    Path to(std::uint64_t& position) const {
        const std::uint64_t number = position / leaf_bytes_;
        position -= number * leaf_bytes_;
        return spine_.to_leaf(number);
    }
    Bytes rest(PageId id, std::uint64_t offset) const;
    template <class Put>
    void extend(std::uint64_t count, Put&& put);

    Spine<InnerNode<true>> spine_;
    std::size_t leaf_bytes_;
};

}  // namespace pyrsistence::structures
