#include "structures/hash_index.hpp"

#include <algorithm>
#include <vector>

namespace pyrsistence::structures {

namespace {

constexpr unsigned kUsualFill = BucketTree::kUsualFill;

// What one sweep writes must fit into Pager::kStepFrames, beside the pages of the entry: each of these buckets may
// be cut in two. An insertion makes one sweep at most.
constexpr unsigned kSweepBuckets = 24;
constexpr std::size_t kSweepSlots = 4096;  ///< that the delta gives

constexpr std::uint64_t kEndOfTags = BucketTree::kTags.high;

/// The fields behind the filter's root.
struct Sweep {
    static std::uint64_t cursor(const std::byte* p) { return codec::load48(p); }
    static void set_cursor(std::byte* p, std::uint64_t tag) { codec::store48(p, tag); }
    /// Whether all of the base has been swept once: the filter knows everything.
    static bool complete(const std::byte* p) { return codec::load<std::uint16_t>(p + 6) != 0; }
    static void set_complete(std::byte* p) { codec::store<std::uint16_t>(p + 6, 1); }
};

}  // namespace

bool HashIndex::sweep_is_possible(const Roots& roots) {
    return Sweep::cursor(roots.filter + RootField::kSize) < kEndOfTags;
}

/// Whether the pages of the base are too many to be changed in memory between two checkpoints.
bool HashIndex::outgrown() const { return pager_.writes() && base_.size() / kUsualFill >= pager_.index_pages(); }

/// A larger delta makes sweeps rarer; all of it should stay in memory.
std::uint64_t HashIndex::delta_limit() const {
    constexpr std::uint64_t kShare = 16;
    const std::uint64_t memory = pager_.index_pages() * kUsualFill / 2;
    return std::min(std::max<std::uint64_t>(base_.size() / kShare, BucketTree::kCapacity), memory);
}

void HashIndex::prefetch(std::span<const std::uint64_t> hashes) const {
    if (filter_.started()) {
        for (const std::uint64_t hash : hashes) filter_.prefetch(BucketTree::tag_of(hash));
    }
    for (const std::uint64_t hash : hashes) {
        if (filter_.may_hold(BucketTree::tag_of(hash))) base_.prefetch(hash);
        if (filter_.started()) delta_.prefetch(hash);
    }
}

void HashIndex::insert(std::uint64_t hash, EntryId id) {
    Place place;
    insert(place, hash, id);
}

void HashIndex::insert(Place& place, std::uint64_t hash, EntryId id) {
    if (filter_.started()) return insert_beside(place, hash, id);
    base_.insert(place, hash, id);
    if (outgrown()) [[unlikely]] filter_.start();
}

/// Where a range is being written anyway, its new slots go there at once. One for which the delta has a whole bucket
/// is swept out of turn, so that keys that come in hash order are soon written once.
void HashIndex::insert_beside(Place& place, std::uint64_t hash, EntryId id) {
    const std::uint64_t tag = BucketTree::tag_of(hash);
    TagFilter::Range range = filter_.range(tag);
    const bool full = !range.dirty && pager_.writes() && delta_.full_of(place, range.tags);
    if (full) {
        read_ahead(range.tags.low);
        sweep(range.tags.low);
        place.known = false;
        range = filter_.range(tag);
    }
    const bool direct = range.dirty && insert_into_base(hash, id);
    const bool crowded = direct && !filter_.add(tag);
    if (!direct) delta_.insert(place, hash, id);
    if (full || !pager_.writes()) return;
    if (crowded) sweep(range.tags.low);
    else if (delta_.size() > delta_limit() || !Sweep::complete(sweep_field())) sweep_on();
}

/// False if the bucket is damaged. Which ranges are being written differs between an operation and its replay: what
/// went to the delta the first time must not fail the second time.
bool HashIndex::insert_into_base(std::uint64_t hash, EntryId id) {
    try {
        base_.insert(hash, id);
        return true;
    } catch (const CorruptionError&) {
        return false;
    }
}

/// The first sweep visits all, to make the filter; later ones what the delta has something for.
std::uint64_t HashIndex::next_to_sweep() const {
    const std::uint64_t cursor = Sweep::cursor(sweep_field());
    if (!Sweep::complete(sweep_field())) return cursor;
    std::uint64_t next = kEndOfTags;
    try {
        delta_.scan(cursor, kEndOfTags, [&](std::uint64_t tag, EntryId) {
            next = std::max(cursor, filter_.range(tag).tags.low);
            return false;
        });
    } catch (const CorruptionError&) {
        return cursor;
    }
    return next;
}

void HashIndex::sweep_on() {
    const std::uint64_t next = next_to_sweep();
    const std::uint64_t end = next < kEndOfTags ? sweep(next) : kEndOfTags;
    Sweep::set_cursor(sweep_field(), end < kEndOfTags ? end : 0);
    if (end >= kEndOfTags) Sweep::set_complete(sweep_field());
    else read_ahead(end);
}

/// Of the next two ranges: a sweep that waits for the disk keeps everybody waiting.
void HashIndex::read_ahead(std::uint64_t first) const {
    try {
        std::uint64_t end = filter_.range(first).tags.high;
        if (end < kEndOfTags) end = filter_.range(end).tags.high;
        base_.read_ahead(first, end, 2 * kSweepBuckets);
    } catch (const CorruptionError&) {
        // Nothing depends on it.
    }
}

/// Brings the base up to date from the tag `first` on, as far as a page of the filter and one step reach. Returns
/// where to go on. What is damaged is left out: who needs it will be told. All pages that the changes need are
/// read before the first of them.
std::uint64_t HashIndex::sweep(std::uint64_t first) {
    std::uint64_t end = kEndOfTags;
    std::vector<BucketTree::Slot> slots;
    std::vector<std::uint64_t> tags;
    try {
        end = filter_.range(first).tags.high;
        (void)filter_.readable_to(first);
        // A bucket may hold the tag with which the next one begins.
        const std::uint64_t before = first - std::min<std::uint64_t>(first, 1);
        if (base_.readable(before, first, 1) < first) return std::min(end, base_.bucket_end(before) + 1);
        const std::uint64_t readable = base_.readable(first, end, kSweepBuckets);
        if (readable == first) return std::min(end, base_.bucket_end(first) + 1);
        end = readable;
        slots = slots_to_move(first, end);
        if (end == first) return first + 1;
        tags = tags_between(first, end, slots);
        delta_.require_heirs(first, end);
        if (end < kEndOfTags) (void)filter_.range(end);
    } catch (const CorruptionError&) {
        return end;
    }
    if (!slots.empty()) {
        base_.insert(slots);
        delta_.erase_range(first, end);
    }
    filter_.define(first, end, tags);
    return end;
}

/// Those of the base and of the slots that it will get, in order.
std::vector<std::uint64_t> HashIndex::tags_between(std::uint64_t first, std::uint64_t end,
                                                   std::span<const BucketTree::Slot> slots) const {
    std::vector<std::uint64_t> tags;
    auto next = slots.begin();
    base_.scan(first, end, [&](std::uint64_t tag, EntryId) {
        for (; next != slots.end() && next->tag < tag; ++next) tags.push_back(next->tag);
        tags.push_back(tag);
        return true;
    });
    for (; next != slots.end(); ++next) tags.push_back(next->tag);
    return tags;
}

/// All slots of the delta from `first` to before `end`, which becomes less if they are too many for a step.
std::vector<BucketTree::Slot> HashIndex::slots_to_move(std::uint64_t first, std::uint64_t& end) const {
    std::vector<BucketTree::Slot> slots;
    delta_.scan(first, end, [&](std::uint64_t tag, EntryId id) {
        if (slots.size() < kSweepSlots) {
            slots.push_back({tag, id});
            return true;
        }
        end = tag;
        return false;
    });
    while (!slots.empty() && slots.back().tag >= end) slots.pop_back();
    return slots;
}

bool HashIndex::erase(std::uint64_t hash, EntryId id) {
    if (!delta_.erase(hash, id) && !base_.erase(hash, id)) return false;
    if (size() == 0 && filter_.started()) clear();
    return true;
}

void HashIndex::clear() {
    base_.clear();
    delta_.clear();
    filter_.clear();
    std::memset(sweep_field(), 0, kFilterSize - RootField::kSize);
}

std::optional<std::uint64_t> HashIndex::relocate(std::uint64_t place, PageId limit) {
    const std::uint64_t tag = place % kEndOfTags;
    const std::uint64_t part = place / kEndOfTags;
    std::optional<std::uint64_t> next;
    switch (part) {
        case 0: next = base_.relocate(tag, limit); break;
        case 1: next = delta_.relocate(tag, limit); break;
        default: next = filter_.relocate(tag, limit); break;
    }
    if (next) return part * kEndOfTags + *next;
    if (part == 2) return std::nullopt;
    return (part + 1) * kEndOfTags;
}

}  // namespace pyrsistence::structures
