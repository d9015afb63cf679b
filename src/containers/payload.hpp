// A value on its way into a tree: inline or in an extent, and how the log will tell of it.
#pragma once

#include <array>

#include "storage/store.hpp"
#include "structures/tree.hpp"

namespace pyrsistence::containers {

/// If it lies in an extent, its reference in the leaf is followed by what head_of() returns.
template <std::size_t kReferenceSize, Bytes (*head_of)(Bytes value)>
class BasicPayload {
public:
    /// Writes a large value to an extent now, before anything changes. Page pointers are void afterwards.
    BasicPayload(storage::WriteStep& step, Bytes value) : value_(value) {
        if (value.size() <= structures::SlottedPage::kMaxRecord) return;
        set_extent(step.extent(value), value);
        logged_as_extent_ = value.size() > storage::kLogInlineLimit;
    }
    /// Replay: the logged extent, or the logged bytes.
    BasicPayload(storage::WriteStep& step, const storage::LoggedOp& op, Bytes value) : BasicPayload(step, op.external ? Bytes{} : value) {
        if (!op.external) return;
        constexpr bool has_head = kReferenceSize > storage::ExtentRef::kEncodedSize;
        set_extent(op.extent, has_head ? step.pager().read_extent(op.extent) : Bytes{});
    }
    BasicPayload(const BasicPayload&) = delete;
    BasicPayload& operator=(const BasicPayload&) = delete;

    structures::Record record() const {
        if (external_) return {Bytes(reference_).first(reference_size_), true};
        return {value_, false};
    }
    /// For the record's header: the extent if the log is to name it instead of holding the bytes.
    const storage::ExtentRef* logged_extent() const { return logged_as_extent_ ? &extent_ : nullptr; }
    Bytes logged_bytes() const { return logged_as_extent_ ? Bytes{} : value_; }

private:
    void set_extent(const storage::ExtentRef& extent, Bytes value) {
        extent_ = extent;
        extent_.encode(reference_.data());
        const Bytes head = head_of(value);
        std::ranges::copy(head, reference_.data() + storage::ExtentRef::kEncodedSize);
        reference_size_ = storage::ExtentRef::kEncodedSize + head.size();
        external_ = true;
    }

    Bytes value_;
    storage::ExtentRef extent_;
    std::array<std::byte, kReferenceSize> reference_;
    std::size_t reference_size_ = 0;
    bool external_ = false;
    bool logged_as_extent_ = false;
};

inline Bytes no_head(Bytes) { return {}; }
using Payload = BasicPayload<storage::ExtentRef::kEncodedSize, &no_head>;
/// For trees by key.
using KeyedPayload = BasicPayload<storage::ExtentRef::kEncodedSize + structures::KeyedRecord::kMaxHead, &structures::KeyedRecord::head>;

/// Copies entries of one leaf into a chunk until it holds `count` of them or kChunkBytes.
inline constexpr std::size_t kChunkBytes = 64 * 1024;
/// Who asks for no more is not expected to go on through many leaves: asking the kernel for them would take longer.
inline constexpr std::size_t kFewEntries = 64;

template <class Tree, class Scan>
void fill_chunk(Chunk& chunk, std::uint64_t start, std::size_t count, const Tree& tree, Scan scan) {
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
