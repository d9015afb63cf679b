// The named snapshots of a store: sealed states that outlive the process. The table of them is one
// extent that the meta page names. Pure functions over bytes and plain values.
#pragma once

#include <string>
#include <vector>

#include "storage/meta.hpp"

namespace pyrsistence::storage {

struct NamedSnapshot {
    std::string name;               ///< UTF-8, not empty
    std::uint64_t created = 0;      ///< microseconds since 1970
    std::uint64_t checkpoint = 0;   ///< number of the checkpoint that it is
    PagerState pages;
    CatalogRoot catalog;
    ExtentRef table;                ///< of the snapshots that existed then

    static constexpr std::size_t kMaxName = 1024;
};

using SnapshotTable = std::vector<NamedSnapshot>;  ///< in ascending order of their epochs

std::vector<std::byte> encode_snapshots(const SnapshotTable& table);
/// Throws CorruptionError unless every epoch is below `epoch` and they ascend.
SnapshotTable decode_snapshots(Bytes bytes, std::uint64_t epoch);
/// The table that a meta page names. Throws CorruptionError.
SnapshotTable read_snapshots(os::File& data, const Meta& meta);

}  // namespace pyrsistence::storage
