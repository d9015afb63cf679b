// The meta page: everything needed to open a store as of one durable checkpoint. Pages 0 and 1 are
// written in turn; the valid one with the higher checkpoint number wins. Pure functions over bytes.
#pragma once

#include <array>
#include <optional>

#include "os/file.hpp"
#include "storage/log.hpp"
#include "storage/pager.hpp"

namespace pyrsistence::storage {

inline constexpr unsigned kMaxCatalogLevel = 3;  ///< more than 2^32 containers are impossible
/// Epochs, checkpoints, generations and sequence numbers are below this: a million a second for 140,000 years.
inline constexpr std::uint64_t kMostCounted = std::uint64_t{1} << 62;

/// Where the catalog of containers begins.
struct CatalogRoot {
    PageId page = 0;
    unsigned level = 0;       ///< 0: the page names root pages itself
    ContainerId containers = 0;  ///< ids handed out so far

    bool operator==(const CatalogRoot&) const = default;
};

struct Meta {
    std::uint64_t checkpoint = 0;
    PagerState pages;
    CatalogRoot catalog;
    LogPosition log;
    std::uint64_t hash_seed = 0;
    std::array<std::byte, 16> store_id{};
    ExtentRef snapshots;  ///< table of named snapshots; bytes == 0: there are none

    static constexpr std::size_t kSize = 160;  ///< below a sector: written whole or not at all

    void encode(MutableBytes page) const;
    /// Nothing if the page is no valid meta page. Throws FormatError for a newer format version.
    static std::optional<Meta> decode(Bytes page);

    /// The newest valid meta page of a data file. Throws FormatError (not a store, newer format) or
    /// CorruptionError (both meta pages are damaged); `path` is for the message.
    static Meta read(os::File& data, const std::string& path);
    /// Throws CorruptionError if a number in it is beyond what any store can have reached.
    void require_possible(const std::string& path) const;
    /// Writes the page whose turn it is; the caller syncs.
    void write(os::File& data) const;
};

}  // namespace pyrsistence::storage
