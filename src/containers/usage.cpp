// How much room a container takes, and how well it uses it.
#include <algorithm>

#include "containers/layout.hpp"
#include "pyrsistence/container.hpp"

namespace pyrsistence {

namespace {

using storage::PageKind;
using structures::InnerNode;
using structures::KeyNode;
using structures::RootField;
using structures::SlottedPage;

constexpr std::uint64_t kMostLeaves = 1000;

/// The part of a leaf's room that is in use.
double fill_of(const std::byte* leaf) {
    if (storage::page_kind(leaf) == PageKind::leaf) return static_cast<double>(SlottedPage::used(leaf)) / SlottedPage::kRoom;
    constexpr double room = storage::kPageSize - sizeof(storage::PageHeader);
    return storage::page_count(leaf) / room;  // bytes of an array
}

std::uint64_t extent_pages_of(const std::byte* leaf) {
    std::uint64_t pages = 0;
    if (storage::page_kind(leaf) != PageKind::leaf) return pages;
    for (unsigned i = 0; i < SlottedPage::slots(leaf); ++i) {
        if (SlottedPage::external(leaf, i)) pages += storage::ExtentRef::decode(SlottedPage::record(leaf, i).stored.data()).pages();
    }
    return pages;
}

template <class Node>
std::vector<PageId> leaves_of(storage::Pager& pager, const std::byte* root, PageKind leaf_kind, std::uint64_t& inner_pages) {
    std::vector<PageId> leaves;
    structures::Spine<Node>(pager, const_cast<std::byte*>(root), leaf_kind)
        .walk([&](PageId, const std::byte*, unsigned) { ++inner_pages; }, [&](PageId id) { leaves.push_back(id); });
    return leaves;
}

/// Of the index of a dict, whose leaves say nothing that is asked for.
std::uint64_t index_pages(storage::Pager& pager, const std::byte* root) {
    const structures::HashIndex::Roots roots = containers::DictRoot::index_roots(root);
    std::uint64_t pages = 0;
    for (const auto& [field, kind] : {std::pair(roots.base, PageKind::bucket), std::pair(roots.delta, PageKind::bucket), std::pair(roots.filter, PageKind::filter)}) {
        pages += leaves_of<InnerNode<false>>(pager, field, kind, pages).size();
    }
    return pages;
}

}  // namespace

Usage Container::usage() const {
    const storage::ReadStep step = reading();
    const std::byte* root = step.root(id_);
    const std::byte* entries = root + containers::kEntriesField;
    const auto order = containers::order_of(storage::RootPage::type(root));
    std::uint64_t pages = 1;
    const PageKind kind = order ? PageKind::leaf : PageKind::bytes;
    const std::vector<PageId> leaves = order == structures::TreeOrder::key ? leaves_of<KeyNode>(step.pager(), entries, kind, pages)
                                                                           : leaves_of<InnerNode<true>>(step.pager(), entries, kind, pages);
    if (order == structures::TreeOrder::id) pages += index_pages(step.pager(), root);
    const std::uint64_t looked_at = std::min<std::uint64_t>(leaves.size(), kMostLeaves);
    double fill = 0, extent_pages = 0;
    for (std::uint64_t i = 0; i < looked_at; ++i) {
        const std::byte* leaf = step.pager().read(leaves[i * leaves.size() / looked_at]);
        fill += fill_of(leaf);
        if (RootField::extents(entries) > 0) extent_pages += static_cast<double>(extent_pages_of(leaf));
    }
    if (looked_at > 0) {
        fill /= static_cast<double>(looked_at);
        extent_pages *= static_cast<double>(leaves.size()) / static_cast<double>(looked_at);
    }
    pages += leaves.size() + static_cast<std::uint64_t>(extent_pages);
    const unsigned depth = leaves.empty() ? 0 : RootField::height(entries) + 1;
    Usage usage{containers::entries_in(step.pager(), root), pages * storage::kPageSize, depth, fill};
    step.finish();
    return usage;
}

}  // namespace pyrsistence
