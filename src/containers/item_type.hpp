// How an ItemType is stored, in root pages and in the log (docs/format.md, "Root pages"). Pure functions.
#pragma once

#include <string>
#include <vector>

#include "pyrsistence/handle.hpp"

namespace pyrsistence::containers {

inline constexpr std::size_t kMostTypeBytes = 200;                    ///< of an encoded type
inline constexpr std::uint64_t kMostItemSize = std::uint64_t{1} << 31;  ///< bytes of an item

/// Throws FormatError if it cannot be stored.
std::vector<std::byte> encode(const ItemType& type);
/// Zeros may follow. Throws CorruptionError.
ItemType decode_item_type(Bytes bytes);
/// The size of an item, without the rest. Throws CorruptionError.
std::uint64_t decode_item_size(Bytes bytes);
/// For messages: "<f8", "<f8 of shape (2, 3)".
std::string describe(const ItemType& type);

}  // namespace pyrsistence::containers
