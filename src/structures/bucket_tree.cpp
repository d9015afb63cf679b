#include "structures/bucket_tree.hpp"

#include <algorithm>
#include <vector>

namespace pyrsistence::structures {

const bool BucketTree::registered_ = BucketTree::register_validator();

bool BucketTree::register_validator() {
    storage::Pager::set_validator(storage::PageKind::bucket, &BucketTree::validate);
    return true;
}

void BucketTree::validate(const std::byte* bucket, PageId id, PageId) {
    const unsigned n = storage::page_count(bucket);
    bool ordered = n <= kCapacity;
    for (unsigned i = 1; ordered && i < n; ++i) ordered = tag_at(bucket, i - 1) <= tag_at(bucket, i);
    if (!ordered) out_of_order(id);
}

void BucketTree::out_of_order(PageId id) {
    throw CorruptionError("page " + std::to_string(id) +
                          " of data: a bucket out of order; verify(repair=True) makes a new store with a sound one");
}

void BucketTree::set(std::byte* bucket, unsigned i, std::uint64_t tag, EntryId id) {
    std::byte* place = bucket + kSlots + kSlot * i;
    codec::store<std::uint32_t>(place, static_cast<std::uint32_t>(tag));
    place[4] = std::byte(tag >> 32);
    codec::store48(place + 5, id);
}

void BucketTree::put(std::byte* bucket, unsigned i, std::uint64_t tag, EntryId id) {
    const unsigned n = storage::page_count(bucket);
    std::byte* place = bucket + kSlots + kSlot * i;
    std::memmove(place + kSlot, place, kSlot * (n - i));
    set(bucket, i, tag, id);
    storage::set_page_count(bucket, n + 1);
}

void BucketTree::insert(std::uint64_t hash, EntryId id) {
    if (spine_.empty()) spine_.plant();
    const std::uint64_t tag = tag_of(hash);
    Path path = to_tag(tag);
    const std::byte* bucket = spine_.leaf(path.leaf);
    insert_at(path, first_not_below(bucket, storage::page_count(bucket), tag + 1, path.bounds), tag, id);
}

void BucketTree::insert(Place& place, std::uint64_t hash, EntryId id) {
    if (!place.known) return insert(hash, id);
    insert_at(place.path, place.slot, tag_of(hash), id);
}

void BucketTree::insert_at(Path& path, unsigned at, std::uint64_t tag, EntryId id) {
    std::byte* bucket = spine_.writable_leaf(path);
    spine_.add_entries(path, 1);
    if (storage::page_count(bucket) == kCapacity) return split(path, at, tag, id);
    put(bucket, at, tag, id);
}

/// Where to cut a full bucket into which a slot goes at place `at`: behind a slot that was inserted just
/// before, so that keys that arrive in hash order fill their buckets; else in the middle.
unsigned BucketTree::split_place(const std::byte* bucket, unsigned at, EntryId id) {
    constexpr EntryId kRecent = 16;  // several sequences may be growing by turns
    const bool ascending = at > 0 && id - id_at(bucket, at - 1) <= kRecent;
    return ascending ? at : kCapacity / 2;
}

void BucketTree::split(Path& path, unsigned at, std::uint64_t tag, EntryId id) {
    std::byte* left = spine_.writable_leaf(path);
    const unsigned keep = split_place(left, at, id);
    PageId right_id;
    std::byte* right = spine_.pager().allocate(storage::PageKind::bucket, 0, right_id);
    std::memcpy(right + kSlots, left + kSlots + kSlot * keep, kSlot * (kCapacity - keep));
    storage::set_page_count(right, kCapacity - keep);
    storage::set_page_count(left, keep);
    if (at <= keep && keep < kCapacity) put(left, at, tag, id);
    else put(right, at - keep, tag, id);
    spine_.insert_leaf(path, right_id, tag_at(right, 0), 0);
}

void BucketTree::insert(std::span<const Slot> slots) {
    if (!slots.empty() && spine_.empty()) spine_.plant();
    while (!slots.empty()) {
        Path path = to_tag(slots.front().tag);
        slots = slots.subspan(fill(path, slots));
    }
}

/// Inserts the first slots, at most a bucket of them and as many as belong to the path's bucket, and returns how
/// many those were. If they do not fit, the bucket is cut in the middle.
std::size_t BucketTree::fill(Path& path, std::span<const Slot> slots) {
    const auto some = slots.first(std::min<std::size_t>(slots.size(), kCapacity));
    const auto end = std::ranges::lower_bound(some, path.bounds.high, {}, &Slot::tag);
    std::byte* bucket = spine_.writable_leaf(path);
    std::vector<Slot> all;
    all.reserve(storage::page_count(bucket) + some.size());
    auto next = some.begin();
    for (unsigned i = 0; i < storage::page_count(bucket); ++i) {
        const std::uint64_t tag = tag_at(bucket, i);
        while (next != end && next->tag < tag) all.push_back(*next++);
        all.push_back({tag, id_at(bucket, i)});
    }
    all.insert(all.end(), next, end);
    const auto count = static_cast<std::size_t>(end - some.begin());
    spine_.add_entries(path, count);
    const std::span<const Slot> left = std::span(all).first(all.size() <= kCapacity ? all.size() : all.size() / 2);
    assign(bucket, left);
    if (left.size() == all.size()) return count;
    PageId right;
    assign(spine_.pager().allocate(storage::PageKind::bucket, 0, right), std::span(all).subspan(left.size()));
    spine_.insert_leaf(path, right, all[left.size()].tag, 0);
    return count;
}

void BucketTree::assign(std::byte* bucket, std::span<const Slot> slots) {
    for (unsigned i = 0; i < slots.size(); ++i) set(bucket, i, slots[i].tag, slots[i].id);
    storage::set_page_count(bucket, slots.size());
}

bool BucketTree::full_of(const Place& place, const Bounds& tags) const {
    if (!place.known) return false;
    const std::byte* bucket = spine_.leaf(place.path.leaf);
    return storage::page_count(bucket) == kCapacity && tag_at(bucket, 0) >= tags.low &&
           tag_at(bucket, kCapacity - 1) < tags.high;
}

void BucketTree::read_ahead(std::uint64_t first, std::uint64_t end, unsigned most) const {
    if (spine_.empty()) return;
    PageId run = 0;
    std::uint64_t pages = 0;
    const auto read_run = [&] {
        if (pages > 0) spine_.pager().prefetch(run, pages);
    };
    for (; first < end && most > 0; --most) {
        const Path path = to_tag(first);
        if (path.leaf != run + pages) {
            read_run();
            run = path.leaf;
            pages = 0;
        }
        ++pages;
        first = path.bounds.high;
    }
    read_run();
}

std::uint64_t BucketTree::readable(std::uint64_t first, std::uint64_t end, unsigned most) const {
    if (spine_.empty()) return end;
    try {
        for (; first < end && most > 0; --most) {
            const Path path = to_tag(first);
            spine_.leaf(path.leaf);
            first = path.bounds.high;
        }
    } catch (const CorruptionError&) {
        // Who needs that bucket will be told.
    }
    return std::min(first, end);
}

bool BucketTree::erase(std::uint64_t hash, EntryId id) {
    if (spine_.empty()) return false;
    const std::uint64_t tag = tag_of(hash);
    Path path = before_tag(tag);
    std::uint64_t left = spine_.pager().page_count();
    do {
        if (left-- == 0) reached_again(path.leaf);
        const std::byte* bucket = spine_.leaf(path.leaf);
        const unsigned n = storage::page_count(bucket);
        for (unsigned i = first_not_below(bucket, n, tag, path.bounds); i < n; ++i) {
            if (tag_at(bucket, i) != tag) return false;
            if (id_at(bucket, i) != id) continue;
            erase_slots(path, i, 1);
            return true;
        }
    } while (spine_.next_leaf(path));
    return false;
}

void BucketTree::erase_range(std::uint64_t first, std::uint64_t end) {
    std::uint64_t left = spine_.pager().page_count();
    while (!spine_.empty()) {
        Path path = before_tag(first);
        const std::byte* bucket = spine_.leaf(path.leaf);
        unsigned i = first_not_below(bucket, storage::page_count(bucket), first, path.bounds);
        while (i == storage::page_count(bucket)) {
            if (left-- == 0) reached_again(path.leaf);
            if (path.bounds.high >= end || !spine_.next_leaf(path)) return;
            path.bounds = {};
            bucket = spine_.leaf(path.leaf);
            i = 0;
        }
        const unsigned n = storage::page_count(bucket);
        const unsigned behind = first_not_below(bucket, n, end, kTags);
        if (behind <= i) return;
        const bool last = behind < n || path.bounds.high >= end;
        erase_slots(path, i, behind - i);
        if (last) return;
    }
}

void BucketTree::require_heirs(std::uint64_t first, std::uint64_t end) const {
    if (spine_.empty()) return;
    std::uint64_t left = spine_.pager().page_count();
    for (Path path = before_tag(first);; path = to_tag(path.bounds.high)) {
        if (left-- == 0) reached_again(path.leaf);
        const auto [low, high] = path.bounds;
        const std::byte* bucket = spine_.leaf(path.leaf);
        const unsigned n = storage::page_count(bucket);
        const bool goes = n > 0 && tag_at(bucket, 0) >= first && tag_at(bucket, n - 1) < end;
        if (goes && low > 0) spine_.leaf(to_tag(low - 1).leaf);
        if (high >= kTags.high) return;
        if (goes) spine_.leaf(to_tag(high).leaf);
        if (high >= end) return;
    }
}

void BucketTree::erase_slots(Path& path, unsigned first, unsigned count) {
    std::byte* bucket = spine_.writable_leaf(path);
    const unsigned n = storage::page_count(bucket) - count;
    std::byte* place = bucket + kSlots + kSlot * first;
    std::memmove(place, place + kSlot * count, kSlot * (n - first));
    storage::set_page_count(bucket, n);
    spine_.add_entries(path, std::uint64_t{0} - count);
    if (n == 0) {
        spine_.pager().release(path.leaf);
        return spine_.remove_leaf(path);
    }
    if (n >= kCapacity / 4) return;
    const auto fits = [](const std::byte* left, const std::byte* right) {
        return storage::page_count(left) + storage::page_count(right) <= kCapacity / 4 * 3;
    };
    const auto merge = [](std::byte* left, const std::byte* right) {
        const unsigned at = storage::page_count(left), moved = storage::page_count(right);
        std::memcpy(left + kSlots + kSlot * at, right + kSlots, kSlot * moved);
        storage::set_page_count(left, at + moved);
    };
    spine_.merge_leaf(path, fits, merge);
}

std::optional<std::uint64_t> BucketTree::relocate(std::uint64_t tag, PageId limit) {
    if (spine_.empty()) return std::nullopt;
    Path path = to_tag(tag);
    spine_.relocate(path, limit);
    for (std::uint64_t left = spine_.pager().page_count(); spine_.next_leaf(path);) {
        if (left-- == 0) reached_again(path.leaf);
        const std::byte* bucket = spine_.leaf(path.leaf);
        const std::uint64_t next = tag_at(bucket, 0);
        if (next > tag) return next;
        spine_.relocate(path, limit);  // equal tags that span buckets
    }
    return std::nullopt;
}

void BucketTree::clear() { spine_.clear(); }

}  // namespace pyrsistence::structures
