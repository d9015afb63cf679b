// What the operations of a dict do within a step: finding an entry by its key, and the changes with their log
// records. RawDict decides by what it finds; salvage brings entries with ids that they had before.
//
// Called within a WriteStep (find_entry also within a ReadStep), like everything of the structures.
#pragma once

#include "containers/layout.hpp"
#include "containers/payload.hpp"

namespace pyrsistence::containers {

struct FoundEntry {
    EntryId id = 0;  ///< 0: there is none
    Bytes entry;
    structures::HashIndex::Place place;  ///< in the index, if nothing was found
};

/// Throws CorruptionError if the index names an entry that does not exist.
FoundEntry find_entry(storage::Pager& pager, const std::byte* root, std::uint64_t hash, Bytes identity);

/// Starts loading what find_entry() will read for each of these hashes, all at once: from the cache's point of view
/// and from the disk's.
void prefetch_entries(storage::Pager& pager, const std::byte* root, std::span<const std::uint64_t> hashes);

/// What stands behind the key in an entry.
Bytes value_of(Bytes entry, std::size_t identity_size);

/// Puts the id of an entry that was not found into the index; `place` is FoundEntry's, or new if nobody has looked.
/// REQUIRES: id >= DictRoot::next_id().
void index_new(storage::WriteStep& step, ContainerId container, EntryId id, structures::HashIndex::Place& place,
               std::uint64_t hash);
/// Logs an entry that has been indexed and put into its tree, or, in a batch, will be.
void log_new(storage::WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash, const Payload& payload);
/// Adds an entry that was not found. REQUIRES: id >= DictRoot::next_id().
void commit_add(storage::WriteStep& step, ContainerId container, EntryId id, FoundEntry& found, std::uint64_t hash,
                Bytes entry);
void commit_replace(storage::WriteStep& step, ContainerId container, EntryId id, Bytes entry);
void commit_erase(storage::WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash);
/// Without a record.
void clear_dict(storage::WriteStep& step, ContainerId container);

}  // namespace pyrsistence::containers
