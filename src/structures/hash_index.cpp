#include "structures/hash_index.hpp"

#include <vector>

namespace pyrsistence::structures {

const bool HashIndex::registered_ = HashIndex::register_validator();

bool HashIndex::register_validator() {
    storage::Pager::set_validator(storage::PageKind::bucket, &HashIndex::validate);
    return true;
}

void HashIndex::validate(const std::byte* bucket, PageId id, PageId) {
    const unsigned n = storage::page_count(bucket);
    bool ordered = n <= kCapacity;
    for (unsigned i = 1; ordered && i < n; ++i) ordered = tag_at(bucket, i - 1) <= tag_at(bucket, i);
    if (!ordered) {
        throw CorruptionError("page " + std::to_string(id) +
                              " of data: a bucket out of order; verify(repair=True) makes a new store with a sound one");
    }
}

void HashIndex::put(std::byte* bucket, unsigned i, std::uint64_t tag, EntryId id) {
    const unsigned n = storage::page_count(bucket);
    std::byte* place = bucket + kSlots + kSlot * i;
    std::memmove(place + kSlot, place, kSlot * (n - i));
    codec::store<std::uint32_t>(place, static_cast<std::uint32_t>(tag));
    place[4] = std::byte(tag >> 32);
    codec::store48(place + 5, id);
    storage::set_page_count(bucket, n + 1);
}

void HashIndex::insert(std::uint64_t hash, EntryId id) {
    if (spine_.empty()) spine_.plant();
    const std::uint64_t tag = tag_of(hash);
    Path path = to_tag(tag);
    const std::byte* bucket = spine_.leaf(path.leaf);
    insert_at(path, first_not_below(bucket, storage::page_count(bucket), tag + 1, path.bounds), tag, id);
}

void HashIndex::insert(Place& place, std::uint64_t hash, EntryId id) {
    if (!place.known) return insert(hash, id);
    insert_at(place.path, place.slot, tag_of(hash), id);
}

void HashIndex::insert_at(Path& path, unsigned at, std::uint64_t tag, EntryId id) {
    std::byte* bucket = spine_.writable_leaf(path);
    spine_.add_entries(path, 1);
    if (storage::page_count(bucket) == kCapacity) return split(path, at, tag, id);
    put(bucket, at, tag, id);
}

/// Where to cut a full bucket into which a slot goes at place `at`: behind a slot that was inserted just
/// before, so that keys that arrive in hash order fill their buckets; else in the middle.
unsigned HashIndex::split_place(const std::byte* bucket, unsigned at, EntryId id) {
    constexpr EntryId kRecent = 16;  // several sequences may be growing by turns
    const bool ascending = at > 0 && id - id_at(bucket, at - 1) <= kRecent;
    return ascending ? at : kCapacity / 2;
}

void HashIndex::split(Path& path, unsigned at, std::uint64_t tag, EntryId id) {
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

bool HashIndex::erase(std::uint64_t hash, EntryId id) {
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
            erase_slot(path, i);
            return true;
        }
    } while (spine_.next_leaf(path));
    return false;
}

void HashIndex::erase_slot(Path& path, unsigned i) {
    std::byte* bucket = spine_.writable_leaf(path);
    const unsigned n = storage::page_count(bucket) - 1;
    std::byte* place = bucket + kSlots + kSlot * i;
    std::memmove(place, place + kSlot, kSlot * (n - i));
    storage::set_page_count(bucket, n);
    spine_.add_entries(path, std::uint64_t{0} - 1);
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

std::optional<std::uint64_t> HashIndex::relocate(std::uint64_t tag, PageId limit) {
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

void HashIndex::clear() {
    std::vector<PageId> pages;
    spine_.walk([&](PageId id, const std::byte*, unsigned) { pages.push_back(id); },
                [&](PageId id) { pages.push_back(id); });
    for (const PageId id : pages) spine_.pager().release(id);
    std::memset(spine_.root(), 0, RootField::kSize);
}

}  // namespace pyrsistence::structures
