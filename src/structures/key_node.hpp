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
        if (size >= 0x80 && bytes.size() > 1) {
            size = std::min(size + ((std::to_integer<std::size_t>(bytes[begin++]) - 1) << 7), kMaxKey);
        }
        return bytes.subspan(begin, std::min(size, bytes.size() - begin));
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

/// How many bytes two keys have in common at their beginnings, of which at least `known` are known to be the same.
inline std::size_t common_bytes(Bytes a, Bytes b, std::size_t known = 0) {
    const std::size_t size = std::min(a.size(), b.size());
    std::size_t i = std::min(known, size);
    while (i + 8 <= size && codec::load<std::uint64_t>(a.data() + i) == codec::load<std::uint64_t>(b.data() + i)) i += 8;
    while (i < size && a[i] == b[i]) ++i;
    return i;
}

/// What is known of the keys below a node: low <= key, and key <= high if there is a high.
struct KeyBounds {
    Bytes low, high;
    bool unbounded = true;  ///< no high
};

/// A key on its way down a tree, and what the nodes above tell of the keys in the page that comes next. All of them begin
/// with the same bytes; the eight behind these are taken for a number, so that searches can interpolate. Different keys
/// may have equal numbers.
class SoughtKey {
public:
    explicit SoughtKey(Bytes key) : key_(key) {}

    Bytes key() const { return key_; }
    /// Whether both bounds are known; else guess() tells nothing.
    bool bounded() const { return !bounds_.low.empty() && !bounds_.unbounded; }
    /// Where the key probably is among `n` keys. REQUIRES: n > 0.
    unsigned guess(unsigned n) const { return numbers_.guess(number_, n); }

    /// How many of n keys in ascending order, all of them in the page, are below this one, or not above it. O(log n).
    template <bool kOrEqual, class Get>
    unsigned count_below(unsigned n, const Get& get) {
        if (n == 0) return 0;
        if (!bounded()) {
            if (!is_above<kOrEqual>(get(0))) return 0;
            if (is_above<kOrEqual>(get(n - 1))) return n;
            narrow(get(0), get(n - 1));
        }
        const auto number = [&](unsigned i) { return number_in_page(get(i)); };
        unsigned low = number_ == 0 ? 0 : count_not_above(n, number_ - 1, numbers_, number);
        // Those with the same number, which may be many, are compared.
        for (unsigned step = 1; low < n; step *= 2) {
            const unsigned at = std::min(n - 1, low + step - 1);
            if (number(at) > number_ || !is_above<kOrEqual>(get(at))) return bisect<kOrEqual>(low, at, get);
            low = at + 1;
        }
        return n;
    }
    /// What is known of the keys in the next page. REQUIRES: the bounds lie in pages.
    void narrow(Bytes low, Bytes high) {
        common_ = common_bytes(low, high, common_);
        bounds_ = {low, high, false};
        std::byte bytes[8]{};
        if (common_ < key_.size()) std::memcpy(bytes, key_.data() + common_, std::min<std::size_t>(8, key_.size() - common_));
        number_ = codec::load_big_endian(bytes);
        numbers_ = {number_in_page(low), number_in_page(high)};
    }
    void narrow_low(Bytes low) {
        bounds_.low = low;
        if (!bounds_.unbounded) narrow(low, bounds_.high);
    }
    void narrow_high(Bytes high) { narrow(bounds_.low, high); }

private:
    template <bool kOrEqual>
    bool is_above(Bytes other) const {
        return kOrEqual ? !key_less(key_, other) : key_less(other, key_);
    }
    template <bool kOrEqual, class Get>
    unsigned bisect(unsigned low, unsigned high, const Get& get) const {
        while (low < high) {
            const unsigned middle = low + (high - low) / 2;
            if (is_above<kOrEqual>(get(middle))) low = middle + 1;
            else high = middle;
        }
        return low;
    }
    /// Zeros stand for bytes that are missing. The eight bytes before the end of a key in a page are in the page, too.
    std::uint64_t number_in_page(Bytes key) const {
        if (key.size() <= common_) [[unlikely]] return 0;
        const std::size_t rest = key.size() - common_;
        if (rest >= 8) return codec::load_big_endian(key.data() + common_);
        return codec::load_big_endian(key.data() + key.size() - 8) << (64 - 8 * rest);
    }

    Bytes key_;
    KeyBounds bounds_;
    std::size_t common_ = 0;    ///< bytes with which all keys between the bounds begin
    std::uint64_t number_ = 0;  ///< of the key
    Bounds numbers_{};
};

/// The shortest key that is above `left` and not above `right`; `right` itself if the two are equal.
inline Bytes separator_between(Bytes left, Bytes right) {
    const auto differ = std::ranges::mismatch(left, right).in2;
    const auto common = static_cast<std::size_t>(differ - right.begin());
    return right.first(std::min(right.size(), common + 1));
}

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

    /// The last child whose separator is not above the key, else the first; without kOrEqual, the last whose separator is
    /// below it: where the first of several equal keys may be. The key learns what is known of those below the child.
    template <bool kOrEqual>
    static unsigned find_key(const std::byte* node, unsigned n, SoughtKey& key) {
        const unsigned i = key.count_below<kOrEqual>(n - 1, [node](unsigned at) { return separator(node, at + 1); });
        if (i > 0 && i + 1 < n) key.narrow(separator(node, i), separator(node, i + 1));
        else if (i > 0) key.narrow_low(separator(node, i));
        else if (n > 1) key.narrow_high(separator(node, 1));
        return i;
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
