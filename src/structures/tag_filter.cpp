#include "structures/tag_filter.hpp"

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <algorithm>

namespace pyrsistence::structures {

namespace {

constexpr unsigned kProbes = 6;      ///< bits of a tag, each told by 9 bits of its hash
constexpr unsigned kProbeBits = 9;
static_assert(kProbes * kProbeBits == 54);

/// The bits of a tag in its block.
template <class Use>
void for_each_bit(std::uint64_t hash, Use&& use) {
    for (unsigned i = 0; i < kProbes; ++i, hash >>= kProbeBits) use(hash & ((1U << kProbeBits) - 1));
}

}  // namespace

/// Neighbouring tags, as neighbouring integers have, are spread over all blocks.
std::uint64_t TagFilter::mix(std::uint64_t tag) {
    std::byte bytes[8];
    codec::store<std::uint64_t>(bytes, tag);
    return XXH3_64bits(bytes, sizeof bytes);
}

/// Where the block of a tag begins in its page.
std::size_t TagFilter::block_of(std::uint64_t hash) { return kBlock + kBlock * ((hash >> 54) * kBlocks >> 10); }

void TagFilter::put(std::byte* page, std::uint64_t hash) {
    std::byte* block = page + block_of(hash);
    for_each_bit(hash, [block](std::uint64_t bit) { block[bit / 8] |= std::byte(1U << bit % 8); });
}

bool TagFilter::holds(const std::byte* page, std::uint64_t hash) {
    const std::byte* block = page + block_of(hash);
    bool all = true;
    for_each_bit(hash, [&](std::uint64_t bit) { all &= (block[bit / 8] >> bit % 8 & std::byte{1}) != std::byte{0}; });
    return all;
}

bool TagFilter::may_hold(std::uint64_t tag) const {
    if (!started()) return true;
    const PageId id = to(tag).leaf;
    const std::byte* page = spine_.leaf(id);
    const std::uint64_t hash = mix(tag);
    spine_.pager().touch(id, block_of(hash));
    return holds(page, hash);
}

/// Asking for what is in memory takes time, too.
void TagFilter::prefetch(std::uint64_t tag) const {
    const PageId id = to(tag).leaf;
    storage::Pager& pager = spine_.pager();
    const std::uint64_t pages = RootField::entries(spine_.root());
    if (pager.crowds_memory(pages)) pager.prefetch(id);
    else Spine<InnerNode<false>>::prefetch(pager.read(id), {0, block_of(mix(tag))});
}

void TagFilter::start() {
    std::byte* page = spine_.plant();
    std::memset(page + kBlock, 0xff, kBlock * kBlocks);
    storage::set_page_count(page, kUnknown);
    RootField::add_entries(spine_.root(), 1);
}

void TagFilter::clear() { spine_.clear(); }

bool TagFilter::add(std::uint64_t tag) {
    Path path = to(tag);
    std::byte* page = spine_.writable_leaf(path);
    put(page, mix(tag));
    const unsigned count = storage::page_count(page);
    if (count == kUnknown) return true;
    storage::set_page_count(page, std::min(count + 1, kUnknown - 1));
    return count < 2 * kMost;
}

void TagFilter::define(std::uint64_t first, std::uint64_t end, std::span<const std::uint64_t> tags) {
    cut(end);
    cut(first);
    const std::size_t pages = std::max<std::size_t>(1, (tags.size() + kMost - 1) / kMost);
    std::size_t filled = 0;
    for (std::size_t part = 0; part < pages; ++part) {
        // Equal tags belong to one page.
        std::size_t next = std::max(filled, tags.size() * (part + 1) / pages);
        while (next > 0 && next < tags.size() && tags[next - 1] == tags[next]) ++next;
        if (part > 0 && next == filled) continue;
        if (part > 0) cut(tags[filled]);
        fill(to(part == 0 ? first : tags[filled]), tags.subspan(filled, next - filled));
        filled = next;
    }
    merge_if_small(first);
}

/// Lets a page begin at this tag. It knows what the one knew that covered it.
void TagFilter::cut(std::uint64_t tag) {
    if (tag >= BucketTree::kTags.high) return;
    Path path = to(tag);
    if (path.bounds.low == tag) return;
    const std::byte* old = spine_.leaf(path.leaf);
    PageId id;
    std::byte* page = spine_.pager().allocate(storage::PageKind::filter, 0, id);
    std::memcpy(page + kBlock, old + kBlock, kBlock * kBlocks);
    storage::set_page_count(page, storage::page_count(old));
    RootField::add_entries(spine_.root(), 1);
    spine_.insert_leaf(path, id, tag, 0);
}

void TagFilter::fill(Path path, std::span<const std::uint64_t> tags) {
    std::byte* page = spine_.writable_leaf(path);
    std::memset(page + kBlock, 0, kBlock * kBlocks);
    for (const std::uint64_t tag : tags) put(page, mix(tag));
    storage::set_page_count(page, std::min<std::size_t>(tags.size(), kUnknown - 1));
}

/// Two filters of one geometry hold together what their bitwise or holds.
void TagFilter::merge_if_small(std::uint64_t tag) {
    const Path path = to(tag);
    if (storage::page_count(spine_.leaf(path.leaf)) > kMost / 4) return;
    const auto fits = [](const std::byte* left, const std::byte* right) {
        return storage::page_count(left) + storage::page_count(right) <= kMost / 4 * 3;
    };
    const auto merge = [this](std::byte* left, const std::byte* right) {
        for (std::size_t i = kBlock; i < storage::kPageSize; ++i) left[i] |= right[i];
        storage::set_page_count(left, storage::page_count(left) + storage::page_count(right));
        RootField::add_entries(spine_.root(), std::uint64_t{0} - 1);
    };
    spine_.merge_leaf(path, fits, merge);
}

std::optional<std::uint64_t> TagFilter::relocate(std::uint64_t tag, PageId limit) {
    if (spine_.empty()) return std::nullopt;
    Path path = to(tag);
    const std::uint64_t next = path.bounds.high;
    spine_.relocate(path, limit);
    if (next >= BucketTree::kTags.high) return std::nullopt;
    return next;
}

}  // namespace pyrsistence::structures
