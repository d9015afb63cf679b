// The fields of the containers' root pages (docs/format.md, "Root pages").
#pragma once

#include "containers/item_type.hpp"
#include "storage/store.hpp"
#include "structures/byte_tree.hpp"
#include "structures/hash_index.hpp"
#include "structures/tree.hpp"

namespace pyrsistence::containers {

/// Every container keeps its entries in a tree whose RootField is the first field: a Tree, or that of an array, which
/// counts bytes, a ByteTree.
inline constexpr std::size_t kEntriesField = storage::RootPage::kFields;

/// How the tree of a type is ordered: by id it has the fields of DictRoot, by rank those of ListRoot, by key those of
/// SortedRoot. Nothing if there is no such type, or it has no Tree.
inline std::optional<structures::TreeOrder> order_of(storage::ContainerType type) {
    switch (type) {
        case storage::ContainerType::dict:
        case storage::ContainerType::set: return structures::TreeOrder::id;
        case storage::ContainerType::list:
        case storage::ContainerType::deque: return structures::TreeOrder::rank;
        case storage::ContainerType::sorted_dict:
        case storage::ContainerType::sorted_set:
        case storage::ContainerType::priority_queue:
        case storage::ContainerType::multi_dict: return structures::TreeOrder::key;
        case storage::ContainerType::array: break;
    }
    return std::nullopt;
}
/// Whether keys may be equal in a container in the order of keys.
inline bool repeats_keys(storage::ContainerType type) {
    return type == storage::ContainerType::priority_queue || type == storage::ContainerType::multi_dict;
}
/// Calls use(tree) with the entries of a container of any type. REQUIRES: order_of(type).
template <class Root, class Use>
auto with_entries(storage::Pager& pager, Root* root, Use&& use) {
    const structures::TreeOrder order = *order_of(storage::RootPage::type(root));
    if (order == structures::TreeOrder::key) return use(structures::KeyTree(pager, root + kEntriesField, order));
    return use(structures::Tree(pager, root + kEntriesField, order));
}

struct DictRoot {
    static constexpr std::size_t kEntries = kEntriesField;
    static constexpr std::size_t kIndex = kEntries + structures::RootField::kSize;
    static constexpr std::size_t kDelta = kIndex + structures::RootField::kSize;
    static constexpr std::size_t kNextId = kDelta + structures::RootField::kSize;  ///< u48: ids given out, first is 1
    static constexpr std::size_t kFilter = kNextId + 8;
    static_assert(kFilter + structures::HashIndex::kFilterSize <= storage::RootPage::kNameSize);

    static structures::Tree entries(storage::Pager& pager, const std::byte* root) {
        return {pager, root + kEntries, structures::TreeOrder::id};
    }
    static structures::Tree entries(storage::Pager& pager, std::byte* root) {
        return {pager, root + kEntries, structures::TreeOrder::id};
    }
    static structures::HashIndex index(storage::Pager& pager, const std::byte* root) { return {pager, index_roots(root)}; }
    /// They are written only in a root that the caller may write.
    static structures::HashIndex::Roots index_roots(const std::byte* root) {
        auto* fields = const_cast<std::byte*>(root);
        return {fields + kIndex, fields + kDelta, fields + kFilter};
    }
    static EntryId next_id(const std::byte* root) { return codec::load48(root + kNextId) + 1; }
    static void set_next_id(std::byte* root, EntryId next) { codec::store48(root + kNextId, next - 1); }
};

struct ListRoot {
    static constexpr std::size_t kItems = kEntriesField;
    static constexpr std::size_t kLimit = kItems + structures::RootField::kSize;  ///< u64: most items + 1; 0: no limit
    static structures::Tree items(storage::Pager& pager, const std::byte* root) {
        return {pager, root + kItems, structures::TreeOrder::rank};
    }
    static structures::Tree items(storage::Pager& pager, std::byte* root) {
        return {pager, root + kItems, structures::TreeOrder::rank};
    }
    static std::optional<std::uint64_t> limit(const std::byte* root) {
        const auto field = codec::load<std::uint64_t>(root + kLimit);
        if (field == 0) return std::nullopt;
        return field - 1;
    }
    static void set_limit(std::byte* root, std::uint64_t limit) { codec::store<std::uint64_t>(root + kLimit, limit + 1); }
};

struct SortedRoot {
    static structures::KeyTree entries(storage::Pager& pager, const std::byte* root) {
        return {pager, root + kEntriesField, structures::TreeOrder::key};
    }
    static structures::KeyTree entries(storage::Pager& pager, std::byte* root) {
        return {pager, root + kEntriesField, structures::TreeOrder::key};
    }
};

struct ArrayRoot {
    static constexpr std::size_t kItems = kEntriesField;
    static constexpr std::size_t kType = kItems + structures::RootField::kSize;  ///< an encoded ItemType
    static_assert(kType + kMostTypeBytes == storage::RootPage::kNameSize);

    static Bytes type(const std::byte* root) { return {root + kType, kMostTypeBytes}; }
    static void set_type(std::byte* root, Bytes type) {
        std::memset(root + kType, 0, kMostTypeBytes);
        std::memcpy(root + kType, type.data(), type.size());
    }
    /// Throws CorruptionError if the size of the items is damaged.
    template <class Root>
    static structures::ByteTree items(storage::Pager& pager, Root* root) {
        return {pager, root + kItems, structures::ByteTree::leaf_bytes(decode_item_size(type(root)))};
    }
};

/// Number of entries of a container of any type. Throws CorruptionError if there is no room for so many.
inline std::uint64_t entries_in(storage::Pager& pager, const std::byte* root) {
    if (storage::RootPage::type(root) != storage::ContainerType::array) {
        return structures::Tree(pager, root + kEntriesField, structures::TreeOrder::rank).size();
    }
    const std::uint64_t item_size = decode_item_size(ArrayRoot::type(root));
    return structures::ByteTree(pager, root + kEntriesField, structures::ByteTree::leaf_bytes(item_size)).size() / item_size;
}

/// Moves a container's pages and extents from `limit` on to places before it, in steps of its own.
void relocate(storage::Store& store, ContainerId id, PageId limit, const Progress& progress);

}  // namespace pyrsistence::containers
