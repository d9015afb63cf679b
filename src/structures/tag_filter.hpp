// Which tags an index surely does not hold: a Bloom filter whose pages each cover a range of tags, so that
// whoever rewrites a range of the index rewrites one page of the filter, and no other. Within its page a tag
// has one block of 64 bytes. False positives: about 1% at the most entries a page is made for.
//
// A view like BucketTree, with the same rules of use. Invariant: every tag that was added since its range was last
// defined, or is among those with which it was defined, is held. Pages of ranges of which nothing is known hold
// every tag. Source: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", JEA 2009.
#pragma once

#include <optional>
#include <span>

#include "structures/bucket_tree.hpp"

namespace pyrsistence::structures {

class TagFilter {
public:
    TagFilter(storage::Pager& pager, std::byte* root) : spine_(pager, root, storage::PageKind::filter) {}

    bool started() const { return !spine_.empty(); }
    /// Of no tag is anything known then. REQUIRES: !started()
    void start();
    void clear();

    /// False only if the tag is surely not there. O(log n), one page per level; true if not started().
    bool may_hold(std::uint64_t tag) const;
    /// Starts loading what may_hold() will read; from the disk, too, so that several looks wait for it together.
    void prefetch(std::uint64_t tag) const;
    /// What one page covers.
    struct Range {
        Bounds tags;  ///< low <= tag < high
        bool dirty;   ///< it was written since the last seal and is in memory
    };
    Range range(std::uint64_t tag) const {
        const Path path = to(tag);
        return {path.bounds, spine_.pager().dirty(path.leaf)};
    }

    /// Where the page of the tag ends. Throws CorruptionError if it is damaged.
    std::uint64_t readable_to(std::uint64_t tag) const {
        const Path path = to(tag);
        (void)spine_.leaf(path.leaf);
        return path.bounds.high;
    }

    /// False if the page of the tag holds more by now than it should: define() it.
    bool add(std::uint64_t tag);
    /// From now on the range first <= tag < end holds these tags, which ascend, and no other. REQUIRES: one page
    /// covers the range.
    void define(std::uint64_t first, std::uint64_t end, std::span<const std::uint64_t> tags);

    /// Moves the pages that lie at `limit` or above on the way to the tag. Returns where to go on, nothing at the end.
    std::optional<std::uint64_t> relocate(std::uint64_t tag, PageId limit);

    static constexpr unsigned kMost = 3200;     ///< tags with which a page is made
    static constexpr unsigned kUnknown = 65535; ///< in place of the number of tags: holds every one

private:
    static constexpr std::size_t kBlock = 64;
    static constexpr unsigned kBlocks = (storage::kPageSize - kBlock) / kBlock;  ///< the first holds the header

    static std::uint64_t mix(std::uint64_t tag);
    static std::size_t block_of(std::uint64_t hash);
    static void put(std::byte* page, std::uint64_t hash);
    static bool holds(const std::byte* page, std::uint64_t hash);
    Path to(std::uint64_t tag) const { return spine_.to_key(tag, BucketTree::kTags); }
    void cut(std::uint64_t tag);
    void fill(Path path, std::span<const std::uint64_t> tags);
    void merge_if_small(std::uint64_t tag);

    Spine<InnerNode<false>> spine_;
};

}  // namespace pyrsistence::structures
