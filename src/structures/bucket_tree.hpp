// From a 64-bit hash to candidate entry ids: a B+tree in hash order whose leaves (buckets) hold
// slots of 11 bytes and no keys. Hashes are spread evenly, so that every search interpolates and
// touches one cache line per level; a split never looks at entries.
//
// A BucketTree is a view like Tree, with the same rules of use. HashIndex is made of two.
// Invariant: slots ascend by tag within and across buckets.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "structures/spine.hpp"

namespace pyrsistence::structures {

class BucketTree {
public:
    static constexpr std::size_t kRootSize = RootField::kSize;

    BucketTree(storage::Pager& pager, std::byte* root) : spine_(pager, root, storage::PageKind::bucket) {}
    /// For reading only.
    BucketTree(storage::Pager& pager, const std::byte* root) : BucketTree(pager, const_cast<std::byte*>(root)) {}

    std::uint64_t size() const { return RootField::entries(spine_.root()); }

    struct Slot {
        std::uint64_t tag;
        EntryId id;
    };

    /// Where a hash that was not found belongs; valid until the index changes.
    struct Place {
        Path path;
        unsigned slot = 0;
        bool known = false;
    };

    /// Starts loading what find() will read, from memory or from the disk.
    void prefetch(std::uint64_t hash) const {
        if (spine_.empty()) return;
        const std::uint64_t tag = tag_of(hash);
        const Path path = before_tag(tag);
        prefetch(spine_.pager().peek(path.leaf), path.bounds, tag);
    }
    /// The first id stored under the hash that `accept(id)` confirms. Expected O(log n), one page
    /// per level; ids of hashes that share their top 40 bits are offered too.
    template <class Accept>
    std::optional<EntryId> find(std::uint64_t hash, Accept&& accept) const {
        Place ignored;
        return find(hash, accept, ignored);
    }
    /// The same; `place` is where insert() may put the hash if it is not found.
    template <class Accept>
    std::optional<EntryId> find(std::uint64_t hash, Accept&& accept, Place& place) const {
        if (spine_.empty()) return std::nullopt;
        const std::uint64_t tag = tag_of(hash);
        Path& path = place.path;
        path = before_tag(tag);
        place.known = true;
        prefetch(spine_.pager().read(path.leaf), path.bounds, tag);
        spine_.pager().touch(path.leaf);
        for (std::uint64_t left = spine_.pager().page_count(); left-- > 0;) {
            const std::byte* bucket = spine_.leaf(path.leaf);
            const unsigned n = storage::page_count(bucket);
            unsigned& i = place.slot;
            for (i = first_not_below(bucket, n, tag, path.bounds); i < n; ++i) {
                if (tag_at(bucket, i) != tag) return std::nullopt;
                const EntryId id = id_at(bucket, i);
                if (accept(id)) return id;
            }
            if (tag < path.bounds.high) return std::nullopt;  // the next bucket begins above
            place.known = false;
            if (!spine_.next_leaf(path)) return std::nullopt;
            path.bounds = {};
        }
        reached_again(path.leaf);
    }
    void insert(std::uint64_t hash, EntryId id);
    /// Inserts where find() did not find the hash.
    void insert(Place& place, std::uint64_t hash, EntryId id);
    /// Inserts slots that ascend by tag, bucket by bucket.
    void insert(std::span<const Slot> slots);
    /// False if the pair is not there.
    bool erase(std::uint64_t hash, EntryId id);
    /// Erases every slot with first <= tag < end.
    void erase_range(std::uint64_t first, std::uint64_t end);
    /// Throws CorruptionError if erase_range() would empty a bucket beside a damaged one, which would get its tags.
    void require_heirs(std::uint64_t first, std::uint64_t end) const;
    void clear();

    /// Calls visit(tag, id) for the slots with first <= tag < end, in order, until it returns false.
    template <class Visit>
    void scan(std::uint64_t first, std::uint64_t end, Visit&& visit) const;
    /// Starts loading up to `most` buckets, from that of `first` on; none beyond the tag `end`. Those that lie side by
    /// side in the file, as a sweep writes them, are read together.
    void read_ahead(std::uint64_t first, std::uint64_t end, unsigned most) const;
    /// Where the tags of these buckets end, at most at `end`; before the first one that is damaged.
    std::uint64_t readable(std::uint64_t first, std::uint64_t end, unsigned most) const;
    /// Where the tags of its bucket end, damaged or not.
    std::uint64_t bucket_end(std::uint64_t tag) const { return to_tag(tag).bounds.high; }
    /// Whether the bucket at this place is full of tags from low to below high.
    bool full_of(const Place& place, const Bounds& tags) const;

    /// Moves the pages that lie at `limit` or above on the way to the first bucket whose last tag is
    /// not below `tag`. Returns where to go on, nothing at the end.
    std::optional<std::uint64_t> relocate(std::uint64_t tag, PageId limit);

    /// Throws CorruptionError unless every invariant holds; visits every (tag, id) in order and calls
    /// mark(first, pages) for every page.
    void check(const std::function<void(std::uint64_t tag, EntryId id)>& visit, const VisitRun& mark) const;

    /// What is stored of a hash: its top 40 bits.
    static std::uint64_t tag_of(std::uint64_t hash) { return hash >> 24; }

    static constexpr std::size_t kSlots = sizeof(storage::PageHeader);
    static constexpr std::size_t kSlot = 11;  ///< u40 tag, u48 id
    static constexpr unsigned kCapacity = (storage::kPageSize - kSlots) / kSlot;
    static constexpr unsigned kUsualFill = kCapacity / 10 * 7;  ///< of buckets that split at random
    static std::uint64_t tag_at(const std::byte* bucket, unsigned i) {
        return codec::load<std::uint64_t>(bucket + kSlots + kSlot * i) & ((std::uint64_t{1} << 40) - 1);
    }
    static EntryId id_at(const std::byte* bucket, unsigned i) {
        return codec::load48(bucket + kSlots + kSlot * i + 5);
    }
    static constexpr Bounds kTags{0, std::uint64_t{1} << 40};

private:
    static unsigned first_not_below(const std::byte* bucket, unsigned n, std::uint64_t tag, const Bounds& bounds) {
        if (tag == 0) return 0;
        return count_not_above(n, tag - 1, bounds, [bucket](unsigned i) { return tag_at(bucket, i); });
    }
    [[noreturn]] static void out_of_order(PageId id);
    static void validate(const std::byte* bucket, PageId id, PageId page_count);
    static bool register_validator();
    static const bool registered_;

    /// Where a tag probably is in its bucket, before the number of slots is known.
    static unsigned likely_slot(const Bounds& bounds, std::uint64_t tag) {
        const bool dense = bounds.high - bounds.low <= kCapacity;
        return dense ? static_cast<unsigned>(tag - std::min(tag, bounds.low)) : bounds.guess(tag, kUsualFill);
    }
    static void prefetch(const std::byte* bucket, const Bounds& bounds, std::uint64_t tag) {
        const std::size_t likely = kSlots + kSlot * likely_slot(bounds, tag);
        Spine<InnerNode<false>>::prefetch(bucket, {0, likely - std::min<std::size_t>(likely, 64), likely});
    }
    /// The way to the first bucket that may hold the tag.
    Path before_tag(std::uint64_t tag) const { return tag == 0 ? spine_.to_first() : to_tag(tag - 1); }
    /// The way to the last bucket that may hold the tag.
    Path to_tag(std::uint64_t tag) const { return spine_.to_key(tag, kTags); }
    static void set(std::byte* bucket, unsigned i, std::uint64_t tag, EntryId id);
    static void put(std::byte* bucket, unsigned i, std::uint64_t tag, EntryId id);
    static void assign(std::byte* bucket, std::span<const Slot> slots);
    static unsigned split_place(const std::byte* bucket, unsigned at, EntryId id);
    void insert_at(Path& path, unsigned at, std::uint64_t tag, EntryId id);
    void split(Path& path, unsigned at, std::uint64_t tag, EntryId id);
    std::size_t fill(Path& path, std::span<const Slot> slots);
    void erase_slots(Path& path, unsigned first, unsigned count);

    Spine<InnerNode<false>> spine_;
};

template <class Visit>
void BucketTree::scan(std::uint64_t first, std::uint64_t end, Visit&& visit) const {
    if (spine_.empty()) return;
    Path path = before_tag(first);
    bool behind = false;  // only the first bucket may have nothing from `first` on
    for (std::uint64_t left = spine_.pager().page_count(); left-- > 0;) {
        const std::byte* bucket = spine_.leaf(path.leaf);
        const unsigned n = storage::page_count(bucket);
        unsigned i = first_not_below(bucket, n, first, path.bounds);
        if (i == n && behind) out_of_order(path.leaf);
        for (; i < n; ++i) {
            const std::uint64_t tag = tag_at(bucket, i);
            if (tag >= end || !visit(tag, id_at(bucket, i))) return;
        }
        if (path.bounds.high >= end || !spine_.next_leaf(path)) return;
        path.bounds = {};
        behind = true;
    }
    reached_again(path.leaf);
}

}  // namespace pyrsistence::structures
