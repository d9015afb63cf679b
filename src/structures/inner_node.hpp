// The inner node of both B+trees: parallel arrays of separators, children and, if counted,
// cumulated entry counts. Pure functions over one page; no allocation, no errors.
#pragma once

#include <cstring>
#include <type_traits>

#include "storage/format.hpp"
#include "structures/search.hpp"

namespace pyrsistence::structures {

/// Layout after the page header: u64 total[C] (counted nodes only), u48 separator[C], u48 child[C].
/// total[i] is the number of entries below children 0..i; separator[i] is at most the smallest key
/// below child i and above every key below child i - 1 (equal hashes excepted). The first says nothing: the node
/// may have taken the place of a sibling before it that was removed, and with it lower keys.
template <bool counted>
struct InnerNode {
    using Key = std::uint64_t;
    static constexpr storage::PageKind kKind = counted ? storage::PageKind::inner : storage::PageKind::hash_inner;
    static constexpr bool kCounted = counted;
    static constexpr unsigned kCapacity = kCounted ? 203 : 339;
    static constexpr std::size_t kTotals = sizeof(storage::PageHeader);
    static constexpr std::size_t kSeparators = kTotals + (kCounted ? 8 * kCapacity : 0);
    static constexpr std::size_t kChildren = kSeparators + 6 * kCapacity;
    static_assert(kChildren + 6 * kCapacity <= storage::kPageSize);

    static std::uint64_t separator(const std::byte* node, unsigned i) {
        return codec::load48(node + kSeparators + 6 * std::size_t{i});
    }
    static void set_separator(std::byte* node, unsigned i, std::uint64_t key) {
        codec::store48(node + kSeparators + 6 * std::size_t{i}, key);
    }
    static PageId child(const std::byte* node, unsigned i) {
        return codec::load48(node + kChildren + 6 * std::size_t{i});
    }
    static void set_child(std::byte* node, unsigned i, PageId id) {
        codec::store48(node + kChildren + 6 * std::size_t{i}, id);
    }
    /// Entries below children 0..i - 1. Only for counted nodes.
    static std::uint64_t before(const std::byte* node, unsigned i) { return i == 0 ? 0 : total(node, i - 1); }
    static std::uint64_t total(const std::byte* node, unsigned i) {
        if constexpr (kCounted) return codec::load<std::uint64_t>(node + kTotals + 8 * std::size_t{i});
        return 0;
    }

    /// The last child whose separator is not above `key`, else the first. `bounds` become the child's.
    static unsigned find_key(const std::byte* node, unsigned n, std::uint64_t key, Bounds& bounds) {
        const Bounds guide{bounds.low, bounds.high == kNoBound ? separator(node, n - 1) : bounds.high};
        const unsigned count = count_not_above(n, key, guide, [node](unsigned i) { return separator(node, i); });
        const unsigned i = count == 0 ? 0 : count - 1;
        if (i > 0) bounds.low = separator(node, i);
        if (i + 1 < n) bounds.high = separator(node, i + 1);
        return i;
    }
    /// The child that holds the entry of this rank, the last one for ranks past the end. `rank`
    /// becomes the rank below that child, and `bounds` those of ranks there.
    static unsigned find_rank(const std::byte* node, unsigned n, std::uint64_t& rank, Bounds& bounds) {
        bounds = {0, total(node, n - 1)};
        const unsigned count = count_not_above(n, rank, bounds, [node](unsigned i) { return total(node, i); });
        const unsigned i = std::min(n - 1, count);
        rank -= before(node, i);
        bounds.high = total(node, i) - before(node, i);
        return i;
    }
    static constexpr std::uint64_t kNoBound = ~std::uint64_t{0};  ///< of a tree whose greatest key is unknown

    static bool has_room(const std::byte* node, Key) { return storage::page_count(node) < kCapacity; }
    /// How many children stay in a full node when the next one comes to place `i`. Appending leaves it full.
    static unsigned split_place(const std::byte* node, unsigned i) {
        const unsigned n = storage::page_count(node);
        return i == n ? n : n / 2;
    }
    static bool is_small(const std::byte* node) { return storage::page_count(node) < kCapacity / 4; }
    /// Whether the children of two neighbours fit into one, whose parent has this separator between them.
    static bool may_merge(const std::byte* left, const std::byte* right, Key) {
        return storage::page_count(left) + storage::page_count(right) <= kCapacity / 4 * 3;
    }

    /// Adds `delta` to the number of entries below child i.
    static void add(std::byte* node, unsigned i, std::uint64_t delta) {
        if constexpr (kCounted) {
            const unsigned n = storage::page_count(node);
            for (; i < n; ++i) set_total(node, i, total(node, i) + delta);
        }
    }
    /// Inserts a child with `entries` entries at place i. REQUIRES: room.
    static void insert(std::byte* node, unsigned i, PageId id, std::uint64_t key, std::uint64_t entries) {
        const unsigned n = storage::page_count(node);
        shift(node, i, n, i + 1);
        storage::set_page_count(node, n + 1);
        set_child(node, i, id);
        set_separator(node, i, key);
        if (key < separator(node, 0)) set_separator(node, 0, key);
        if constexpr (kCounted) set_total(node, i, before(node, i));
        add(node, i, entries);
    }
    /// Removes child i, whose entries, if any, have moved to child i - 1. The first separator stays: keys
    /// from there on will still be led to this node.
    static void erase(std::byte* node, unsigned i) {
        const unsigned n = storage::page_count(node);
        if (i == 0 && n > 1) set_separator(node, 1, separator(node, 0));
        if constexpr (kCounted) {
            if (i > 0) set_total(node, i - 1, total(node, i));
        }
        shift(node, i + 1, n, i);
        storage::set_page_count(node, n - 1);
    }
    /// Appends copies of the children from `first` on to `target`.
    static void copy_tail(const std::byte* node, unsigned first, std::byte* target) {
        const unsigned n = storage::page_count(node), at = storage::page_count(target);
        const auto copy = [=](std::size_t array) {
            std::memcpy(target + array + 6 * std::size_t{at}, node + array + 6 * std::size_t{first},
                        6 * std::size_t{n - first});
        };
        copy(kSeparators);
        copy(kChildren);
        if constexpr (kCounted) {
            const std::uint64_t rebase = before(target, at) - before(node, first);
            for (unsigned i = first; i < n; ++i) set_total(target, at + i - first, total(node, i) + rebase);
        }
        storage::set_page_count(target, at + n - first);
    }

    static void truncate(std::byte* node, unsigned first) { storage::set_page_count(node, first); }

    /// Throws CorruptionError unless every array is in order and every child a possible page.
    static void validate(const std::byte* node, PageId id, PageId page_count);

private:
    static void set_total(std::byte* node, unsigned i, std::uint64_t value) {
        codec::store<std::uint64_t>(node + kTotals + 8 * std::size_t{i}, value);
    }
    static void shift(std::byte* node, unsigned from, unsigned n, unsigned to) {
        const auto move = [=](std::size_t array, std::size_t width) {
            std::memmove(node + array + width * to, node + array + width * from, width * (n - from));
        };
        if constexpr (kCounted) move(kTotals, 8);
        move(kSeparators, 6);
        move(kChildren, 6);
    }
};

}  // namespace pyrsistence::structures
