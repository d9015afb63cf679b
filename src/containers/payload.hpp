// A value on its way into a tree: inline or in an extent, and how the log will tell of it.
#pragma once

#include <array>

#include "storage/store.hpp"
#include "structures/tree.hpp"

namespace pyrsistence::containers {

class Payload {
public:
    /// Writes a large value to an extent now, before anything changes. Page pointers are void afterwards.
    Payload(storage::WriteStep& step, Bytes value) : value_(value) {
        if (value.size() <= structures::SlottedLeaf::kMaxRecord) return;
        set_extent(step.extent(value));
        logged_as_extent_ = value.size() > storage::kLogInlineLimit;
    }
    /// Replay: the logged extent, or the logged bytes.
    Payload(storage::WriteStep& step, const storage::LoggedOp& op, Bytes value) : Payload(step, op.external ? Bytes{} : value) {
        if (op.external) set_extent(op.extent);
    }
    Payload(const Payload&) = delete;
    Payload& operator=(const Payload&) = delete;

    structures::Record record() const {
        if (external_) return {reference_, true};
        return {value_, false};
    }
    /// For the record's header: the extent if the log is to name it instead of holding the bytes.
    const storage::ExtentRef* logged_extent() const { return logged_as_extent_ ? &extent_ : nullptr; }
    Bytes logged_bytes() const { return logged_as_extent_ ? Bytes{} : value_; }

private:
    void set_extent(const storage::ExtentRef& extent) {
        extent_ = extent;
        extent_.encode(reference_.data());
        external_ = true;
    }

    Bytes value_;
    storage::ExtentRef extent_;
    std::array<std::byte, storage::ExtentRef::kEncodedSize> reference_{};
    bool external_ = false;
    bool logged_as_extent_ = false;
};

/// Copies entries of one leaf into a chunk until it holds `count` of them or kChunkBytes.
inline constexpr std::size_t kChunkBytes = 64 * 1024;

template <class Scan>
void fill_chunk(Chunk& chunk, std::uint64_t start, std::size_t count, const structures::Tree& tree, Scan scan) {
    chunk.clear();
    std::optional<std::uint64_t> at = start;
    while (at && chunk.items.size() < count && chunk.bytes.size() < kChunkBytes) {
        at = scan(*at, [&](std::uint64_t key, const structures::Record& record) {
            const Bytes bytes = tree.resolve(record);
            chunk.add(key, bytes);
            return chunk.items.size() < count && chunk.bytes.size() < kChunkBytes;
        });
    }
    chunk.more = at.has_value();
    if (at) chunk.next = *at;
}

}  // namespace pyrsistence::containers
