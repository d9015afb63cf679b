// Vocabulary types shared by every layer: byte views and the ids that the store hands out.
// Plain values, safe to use from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pyrsistence {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

/// Index of a 4 KiB page in the data file; 48 bits on disk. 0 means "none" (page 0 is a meta page).
using PageId = std::uint64_t;
/// Insertion number of a dict entry; 48 bits, never reused within a container.
using EntryId = std::uint64_t;
/// Index of a container in the catalog of its store.
using ContainerId = std::uint32_t;

inline Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace pyrsistence
