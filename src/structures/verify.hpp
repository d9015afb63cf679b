// Verification of trees and indexes: one walk that reports every broken invariant, goes on behind damage,
// and visits what can be read. Tree::check and HashIndex::check throw at the first fault of the same walk.
//
// Called like any reading function of the structures. Each ends in time proportional to the pages that
// exist, whatever they say: no page is walked twice, and no walk goes deeper than kMaxHeight.
#pragma once

#include <vector>

#include "storage/verification.hpp"
#include "structures/byte_tree.hpp"
#include "structures/hash_index.hpp"
#include "structures/tree.hpp"

namespace pyrsistence::structures {

/// What a walk over a tree found.
struct Verified {
    std::uint64_t entries = 0;  ///< in leaves that can be read
    std::vector<Bounds> lost;   ///< of the ids in all other leaves: low <= id < high, ascending; by key, 0 to kNoBound

    bool complete() const { return lost.empty(); }
    /// Whether a key may lie in a leaf that cannot be read.
    bool may_have_lost(std::uint64_t key) const;
};

/// Pages, counts, order and extents of a Tree. visit(key, bytes) is called in order for every entry that can
/// be read, with its id or with its rank among those; what it throws as CorruptionError is a fault of that entry.
Verified verify_tree(storage::Pager& pager, const std::byte* root, TreeOrder order, storage::Verification& out,
                     const VisitEntry& visit);

/// Pages and counts of a ByteTree. The entries that were found are bytes.
Verified verify_bytes(storage::Pager& pager, const std::byte* root, std::size_t leaf_bytes, storage::Verification& out);

/// Pages, counts and order of the parts of a HashIndex. visit(part, bucket, tag, id) is called for every slot of the
/// base, in order, then for those of the delta.
enum class IndexPart : bool { base, delta };
using VisitSlot = std::function<void(IndexPart part, PageId bucket, std::uint64_t tag, EntryId id)>;
Verified verify_index(storage::Pager& pager, const HashIndex::Roots& roots, storage::Verification& out,
                      const VisitSlot& visit);

}  // namespace pyrsistence::structures
