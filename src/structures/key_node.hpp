// What trees in the order of their keys have in place of ids: records that begin with their key, and
// inner nodes with separators of any length. Pure functions over one page; no allocation, no errors.
#pragma once

#include <string_view>

#include "structures/inner_node.hpp"
#include "structures/slotted_page.hpp"

namespace pyrsistence::structures {

/// A record in a tree by key: the length of the key as a varint, the key, then anything. If it lies in an extent, its
/// first part, up to the end of the key, stands in the leaf as well, behind the reference: no search reads extents.
struct KeyedRecord {
    /// Any inner node then splits into two that take one more separator, and any key fits behind a reference.
    static constexpr std::size_t kMaxKey = 1000;
    static constexpr std::size_t kMaxHead = 2 + kMaxKey;
    static_assert(storage::ExtentRef::kEncodedSize + kMaxHead <= SlottedPage::kMaxRecord);

    static std::size_t length_size(std::size_t key) { return key < 0x80 ? 1 : 2; }
    /// The length and the key at the beginning of a record's bytes. What a damaged page says is cut off at its end, and
    /// at kMaxKey, for which separators and references have room.
    static Bytes head(Bytes bytes) {
        const Bytes key = key_of(bytes);
        return bytes.first(static_cast<std::size_t>(key.data() - bytes.data()) + key.size());
    }
    static Bytes key_of(Bytes bytes) {
        if (bytes.empty()) return bytes;
        std::size_t size = std::to_integer<std::size_t>(bytes[0]), begin = 1;
        if (size >= 0x80 && bytes.size() > 1) size += (std::to_integer<std::size_t>(bytes[begin++]) - 1) << 7;
        return bytes.subspan(begin, std::min({size, kMaxKey, bytes.size() - begin}));
    }
    /// What stands in the leaf of the record itself.
    static Bytes bytes_of(const Record& record) {
        const std::size_t reference = record.external ? storage::ExtentRef::kEncodedSize : 0;
        return record.stored.subspan(std::min(reference, record.stored.size()));
    }
    static Bytes key_of(const Record& record) { return key_of(bytes_of(record)); }
    /// Whether the bytes begin with a length in its shortest form and a key of that length.
    static bool sound(Bytes bytes) {
        if (bytes.empty()) return false;
        const Bytes key = key_of(bytes);
        std::byte length[2];
        const Bytes expected = put_length(length, key.size());
        return key.size() <= kMaxKey && std::ranges::equal(bytes.first(std::min(bytes.size(), expected.size())), expected);
    }
    static Bytes put_length(std::byte (&place)[2], std::size_t size) {
        place[0] = static_cast<std::byte>(size < 0x80 ? size : size | 0x80);
        place[1] = static_cast<std::byte>(size >> 7);
        return Bytes(place, length_size(size));
    }
};

inline bool key_less(Bytes a, Bytes b) { return as_text(a) < as_text(b); }

/// How many of n keys in ascending order are below `key`, or not above it. O(log n).
template <bool kOrEqual, class Get>
unsigned count_below(unsigned n, Bytes key, const Get& get) {
    unsigned low = 0, high = n;
    while (low < high) {
        const unsigned middle = low + (high - low) / 2;
        const bool below = kOrEqual ? !key_less(key, get(middle)) : key_less(get(middle), key);
        if (below) low = middle + 1;
        else high = middle;
    }
    return low;
}

/// The shortest key that is above `left` and not above `right`; `right` itself if the two are equal.
inline Bytes separator_between(Bytes left, Bytes right) {
    const auto differ = std::ranges::mismatch(left, right).in2;
    const auto common = static_cast<std::size_t>(differ - right.begin());
    return right.first(std::min(right.size(), common + 1));
}

/// What is known of the keys below a node: low <= key, and key <= high if there is a high.
struct KeyBounds {
    Bytes low, high;
    bool unbounded = true;  ///< no high
};

/// Inner node in the order of keys, counted. A slot of the page holds u48 child, u48 total as in InnerNode, then the
/// separator: not above the smallest key below the child, and not below any key of the child before it. The first
/// separator says nothing.
struct KeyNode {
    using Key = Bytes;
    using Slots = SlottedPage;
    static constexpr storage::PageKind kKind = storage::PageKind::key_inner;
    static constexpr bool kCounted = true;
    static constexpr std::size_t kTotal = 6;
    static constexpr std::size_t kSeparator = 12;

    static Bytes separator(const std::byte* node, unsigned i) { return Slots::record(node, i).stored.subspan(kSeparator); }
    static PageId child(const std::byte* node, unsigned i) { return codec::load48(at(node, i)); }
    static void set_child(std::byte* node, unsigned i, PageId id) { codec::store48(at(node, i), id); }
    static std::uint64_t before(const std::byte* node, unsigned i) { return i == 0 ? 0 : total(node, i - 1); }
    static std::uint64_t total(const std::byte* node, unsigned i) { return codec::load48(at(node, i) + kTotal); }

    /// The last child whose separator is not above `key`, else the first.
    static unsigned find_key(const std::byte* node, unsigned n, Bytes key) {
        return count_below<true>(n - 1, key, [node](unsigned i) { return separator(node, i + 1); });
    }
    /// The last child whose separator is below `key`, else the first: where the first of several equal keys may be.
    static unsigned find_first(const std::byte* node, unsigned n, Bytes key) {
        return count_below<false>(n - 1, key, [node](unsigned i) { return separator(node, i + 1); });
    }
    /// As InnerNode::find_rank().
    static unsigned find_rank(const std::byte* node, unsigned n, std::uint64_t& rank, Bounds& bounds) {
        bounds = {0, total(node, n - 1)};
        const unsigned count = count_not_above(n, rank, bounds, [node](unsigned i) { return total(node, i); });
        const unsigned i = std::min(n - 1, count);
        rank -= before(node, i);
        bounds.high = total(node, i) - before(node, i);
        return i;
    }

    static bool has_room(const std::byte* node, Bytes key) { return Slots::room(node) >= slot_size(key); }
    /// How many children stay in a full node when the next one comes to place `i`.
    static unsigned split_place(const std::byte* node, unsigned i) {
        const unsigned n = Slots::slots(node);
        if (i == n) return n;
        const std::size_t half = Slots::used(node) / 2;
        unsigned keep = 1;
        while (keep + 1 < n && Slots::begin(node, keep) + Slots::kSlot * keep < half) ++keep;
        return keep;
    }
    static bool is_small(const std::byte* node) { return Slots::used(node) < Slots::kRoom / 4; }
    /// Whether the children of two neighbours fit into one, whose parent has this separator between them.
    static bool may_merge(const std::byte* left, const std::byte* right, Bytes key) {
        return Slots::used(left) + Slots::used(right) + slot_size(key) <= Slots::kRoom / 4 * 3;
    }

    static void add(std::byte* node, unsigned i, std::uint64_t delta) {
        const unsigned n = Slots::slots(node);
        for (; i < n; ++i) set_total(node, i, total(node, i) + delta);
    }
    /// Inserts a child with `entries` entries at place i. REQUIRES: room.
    static void insert(std::byte* node, unsigned i, PageId id, Bytes key, std::uint64_t entries) {
        std::byte slot[kSeparator + KeyedRecord::kMaxKey];
        codec::store48(slot, id);
        codec::store48(slot + kTotal, before(node, i));
        if (!key.empty()) std::memcpy(slot + kSeparator, key.data(), key.size());
        Slots::open(node, i);
        Slots::fill(node, i, {Bytes(slot, kSeparator + key.size()), false});
        add(node, i, entries);
    }
    /// As InnerNode::erase().
    static void erase(std::byte* node, unsigned i) {
        if (i > 0) set_total(node, i - 1, total(node, i));
        Slots::erase(node, i, 1);
    }
    static void set_separator(std::byte* node, unsigned i, Bytes key) {
        const PageId id = child(node, i);
        const std::uint64_t up_to_it = total(node, i);
        Slots::erase(node, i, 1);
        insert(node, i, id, key, 0);
        set_total(node, i, up_to_it);
    }
    static void copy_tail(const std::byte* node, unsigned first, std::byte* target) {
        const unsigned n = Slots::slots(node), at = Slots::slots(target);
        const std::uint64_t rebase = before(target, at) - before(node, first);
        Slots::copy_tail(node, first, target);
        for (unsigned i = first; i < n; ++i) set_total(target, at + i - first, total(node, i) + rebase);
    }
    static void truncate(std::byte* node, unsigned first) { Slots::truncate(node, first); }

    static void validate(const std::byte* node, PageId id, PageId page_count);

private:
    static std::size_t slot_size(Bytes key) { return Slots::kSlot + kSeparator + key.size(); }
    static const std::byte* at(const std::byte* node, unsigned i) { return Slots::record(node, i).stored.data(); }
    static std::byte* at(std::byte* node, unsigned i) { return const_cast<std::byte*>(at(static_cast<const std::byte*>(node), i)); }
    static void set_total(std::byte* node, unsigned i, std::uint64_t value) { codec::store48(at(node, i) + kTotal, value); }
};
/// The first half takes the new slot after a split by halves, and so does the second.
static_assert(SlottedPage::kRoom / 2 + 2 * (SlottedPage::kSlot + KeyNode::kSeparator + KeyedRecord::kMaxKey) <= SlottedPage::kRoom);

}  // namespace pyrsistence::structures
