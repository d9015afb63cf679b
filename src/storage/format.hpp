// Every constant of the file format that more than one source file needs. docs/format.md explains
// each byte; change the two together, and kFormatVersion with them.
#pragma once

#include "codec/endian.hpp"
#include "pyrsistence/error.hpp"
#include "pyrsistence/types.hpp"

namespace pyrsistence::storage {

inline constexpr std::uint32_t kFormatVersion = 2;
inline constexpr std::size_t kPageSize = 4096;
inline constexpr PageId kMetaPages = 2;  ///< pages 0 and 1, written in turn
inline constexpr PageId kMaxPages = PageId{1} << 48;

enum class PageKind : std::uint8_t {
    free = 0,     ///< never valid on disk
    catalog = 2,  ///< container id -> root page
    root = 3,     ///< one container: its type, trees and name
    leaf = 4,     ///< Tree leaf: slotted records
    inner = 5,    ///< Tree inner node (counted)
    bucket = 6,   ///< BucketTree leaf
    hash_inner = 7,
    filter = 8,   ///< TagFilter leaf
    key_inner = 9,  ///< inner node of a Tree by key
    bytes = 10,   ///< ByteTree leaf
};

/// The first 16 bytes of every page but the meta pages, and of no extent.
/// 0: u32 checksum (low half of XXH3-64 of bytes 4..4095, seeded with the page id)
/// 4: u8 kind   5: u8 level (0 = leaf)   6: u16 entries in the page   8: u64 epoch of birth
struct PageHeader {
    std::byte checksum[4];
    std::byte kind;
    std::byte level;
    std::byte count[2];
    std::byte epoch[8];
};
static_assert(sizeof(PageHeader) == 16 && alignof(PageHeader) == 1);

inline PageKind page_kind(const std::byte* page) { return static_cast<PageKind>(page[4]); }
inline unsigned page_level(const std::byte* page) { return static_cast<unsigned>(page[5]); }
inline unsigned page_count(const std::byte* page) { return codec::load<std::uint16_t>(page + 6); }
inline std::uint64_t page_epoch(const std::byte* page) { return codec::load<std::uint64_t>(page + 8); }
inline void set_page_count(std::byte* page, std::size_t count) {
    codec::store<std::uint16_t>(page + 6, static_cast<std::uint16_t>(count));
}

/// A contiguous run of pages without headers that holds one large value. Whoever stores a
/// reference holds length and checksum. On disk: u48 first page, u48 bytes, u64 XXH3-64.
struct ExtentRef {
    PageId first = 0;
    std::uint64_t bytes = 0;
    std::uint64_t checksum = 0;

    static constexpr std::size_t kEncodedSize = 20;
    std::uint64_t pages() const { return (bytes + kPageSize - 1) / kPageSize; }
    void encode(std::byte* place) const {
        codec::store48(place, first);
        codec::store48(place + 6, bytes);
        codec::store<std::uint64_t>(place + 12, checksum);
    }
    static ExtentRef decode(const std::byte* place) {
        return {codec::load48(place), codec::load48(place + 6), codec::load<std::uint64_t>(place + 12)};
    }
    bool operator==(const ExtentRef&) const = default;
};

/// Values above this go to an extent before they are logged, and the log names the extent only.
inline constexpr std::size_t kLogInlineLimit = 16 * 1024;

}  // namespace pyrsistence::storage
