// From a 64-bit hash to candidate entry ids, for any size. While the index fits into the frames of its store it is
// one BucketTree, the base. From then on new hashes go to a second one, the delta, which stays small: a cursor sweeps
// the base in hash order and brings each range up to date with all that the delta has for it, so that the disk
// is read and written in runs and not once per insertion. A filter tells for most hashes that the base does not have them.
//
// A HashIndex is a view like Tree, with the same rules of use. It is derived data: the entries of its
// container determine it. Invariants: a slot is in the base or in the delta; the filter, once started, holds the tag of
// every slot of the base; without it there is no delta.
// Source: main and differential file, Severance and Lohman, ACM TODS 1976.
#pragma once

#include "structures/bucket_tree.hpp"
#include "structures/tag_filter.hpp"

namespace pyrsistence::structures {

class HashIndex {
public:
    /// Where its parts begin in the container's root page.
    struct Roots {
        std::byte* base;    ///< RootField
        std::byte* delta;   ///< RootField
        std::byte* filter;  ///< RootField, then u48: the tag from which the next sweep goes on, u16: what is swept
    };
    static constexpr std::size_t kFilterSize = RootField::kSize + 8;

    HashIndex(storage::Pager& pager, const Roots& roots)
        : base_(pager, roots.base), delta_(pager, roots.delta), filter_(pager, roots.filter), roots_(roots), pager_(pager) {}

    /// Whether the fields behind the root of the filter say something that they may say.
    static bool sweep_is_possible(const Roots& roots);

    std::uint64_t size() const { return base_.size() + delta_.size(); }

    /// Where a hash that was not found belongs; valid until the index changes.
    using Place = BucketTree::Place;

    /// Starts loading what find() will read for these hashes, from memory or from the disk.
    void prefetch(std::span<const std::uint64_t> hashes) const;
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
        if (!filter_.started()) [[likely]] return base_.find(hash, accept, place);
        if (filter_.may_hold(BucketTree::tag_of(hash))) {
            if (const auto id = base_.find(hash, accept)) return id;
        }
        return delta_.find(hash, accept, place);
    }
    /// Amortised O(log n); beyond the frames of the store a sweep of some buckets, once per so many insertions.
    void insert(std::uint64_t hash, EntryId id);
    /// Inserts where find() did not find the hash.
    void insert(Place& place, std::uint64_t hash, EntryId id);
    /// False if the pair is not there.
    bool erase(std::uint64_t hash, EntryId id);
    void clear();

    /// Moves the pages that lie at `limit` or above, some at a time, from `place` on, which is 0 in the beginning.
    /// Returns where to go on, nothing at the end.
    std::optional<std::uint64_t> relocate(std::uint64_t place, PageId limit);

    /// Throws CorruptionError unless every invariant holds; visits every (tag, id), in order within base and delta,
    /// and calls mark(first, pages) for every page.
    void check(const std::function<void(std::uint64_t tag, EntryId id)>& visit, const VisitRun& mark) const;

private:
    bool outgrown() const;
    std::uint64_t delta_limit() const;
    void insert_beside(Place& place, std::uint64_t hash, EntryId id);
    bool insert_into_base(std::uint64_t hash, EntryId id);
    std::byte* sweep_field() const { return roots_.filter + RootField::kSize; }
    std::uint64_t next_to_sweep() const;
    void sweep_on();
    void read_ahead(std::uint64_t first) const;
    std::uint64_t sweep(std::uint64_t first);
    std::vector<std::uint64_t> tags_between(std::uint64_t first, std::uint64_t end,
                                            std::span<const BucketTree::Slot> slots) const;
    std::vector<BucketTree::Slot> slots_to_move(std::uint64_t first, std::uint64_t& end) const;

    BucketTree base_;
    BucketTree delta_;
    TagFilter filter_;
    Roots roots_;
    storage::Pager& pager_;
};

}  // namespace pyrsistence::structures
