// A Tree leaf: records of any length, packed in slot order without gaps. Pure functions over one
// page; no allocation, no errors.
//
// Layout after the page header: u48 base (id of slot 0; 0 in trees without ids), u16 holes,
// u16 end[n] | 0x8000 if the record is an ExtentRef; records grow down from the page's end, so that
// record i lies at [4096 - end[i], 4096 - end[i - 1]). An empty record is a hole: its id was erased.
#pragma once

#include <cstring>

#include "storage/format.hpp"

namespace pyrsistence::structures {

/// A record as it is stored: its bytes, or the encoded reference to the extent that holds them.
struct Record {
    Bytes stored;
    bool external = false;
};

struct SlottedPage {
    static constexpr std::size_t kBase = sizeof(storage::PageHeader);
    static constexpr std::size_t kHoles = kBase + 6;
    static constexpr std::size_t kEnds = kBase + 8;
    static constexpr std::size_t kRoom = storage::kPageSize - kEnds;  ///< for slots and records
    static constexpr std::size_t kSlot = 2;
    static constexpr unsigned kExternal = 0x8000;
    /// Longer records go to extents. A third of the room: any leaf then splits into two that fit.
    static constexpr std::size_t kMaxRecord = 1352;
    static constexpr std::size_t kMostEntries = kRoom / (kSlot + 1);
    static_assert(3 * (kMaxRecord + kSlot) <= kRoom);

    static std::uint64_t base(const std::byte* leaf) { return codec::load48(leaf + kBase); }
    static void set_base(std::byte* leaf, std::uint64_t id) { codec::store48(leaf + kBase, id); }
    static unsigned holes(const std::byte* leaf) { return codec::load<std::uint16_t>(leaf + kHoles); }
    static void set_holes(std::byte* leaf, std::size_t n) {
        codec::store<std::uint16_t>(leaf + kHoles, static_cast<std::uint16_t>(n));
    }
    static unsigned slots(const std::byte* leaf) { return storage::page_count(leaf); }
    static unsigned entries(const std::byte* leaf) { return slots(leaf) - holes(leaf); }

    static unsigned raw_end(const std::byte* leaf, unsigned i) {
        return codec::load<std::uint16_t>(leaf + kEnds + kSlot * i);
    }
    static unsigned end(const std::byte* leaf, unsigned i) { return raw_end(leaf, i) & (kExternal - 1); }
    static unsigned begin(const std::byte* leaf, unsigned i) { return i == 0 ? 0 : end(leaf, i - 1); }
    static bool external(const std::byte* leaf, unsigned i) { return raw_end(leaf, i) & kExternal; }
    static unsigned length(const std::byte* leaf, unsigned i) { return end(leaf, i) - begin(leaf, i); }
    static bool hole(const std::byte* leaf, unsigned i) { return length(leaf, i) == 0; }
    static Record record(const std::byte* leaf, unsigned i) {
        const unsigned first = begin(leaf, i), raw = raw_end(leaf, i), last = raw & (kExternal - 1);
        return {{leaf + storage::kPageSize - last, last - first}, (raw & kExternal) != 0};
    }
    /// Where the record of slot i begins in a full leaf of `n` records that are all of one length.
    static std::size_t likely_place(std::uint64_t i, std::uint64_t n) {
        return storage::kPageSize - (i + 1) * (kRoom - kSlot * n) / n;
    }
    /// Bytes taken by slots and records.
    static std::size_t used(const std::byte* leaf) {
        const unsigned n = slots(leaf);
        return kSlot * n + begin(leaf, n);
    }
    static std::size_t room(const std::byte* leaf) { return kRoom - used(leaf); }

    /// The slot of the entry with this rank within the leaf. REQUIRES: rank < entries(leaf).
    static unsigned slot_of_rank(const std::byte* leaf, unsigned rank) {
        if (holes(leaf) == 0) return rank;
        unsigned i = 0;
        for (;; ++i) {
            if (!hole(leaf, i) && rank-- == 0) return i;
        }
    }
    /// Entries in slots 0..slot - 1.
    static unsigned entries_before(const std::byte* leaf, unsigned slot) {
        if (holes(leaf) == 0) return slot;
        unsigned count = 0;
        for (unsigned i = 0; i < slot; ++i) count += !hole(leaf, i);
        return count;
    }

    /// Inserts an empty slot before slot i; it counts as a hole until it is filled.
    static void open(std::byte* leaf, unsigned i) {
        const unsigned n = slots(leaf);
        std::byte* place = leaf + kEnds + kSlot * i;
        std::memmove(place + kSlot, place, kSlot * (n - i));
        codec::store<std::uint16_t>(place, static_cast<std::uint16_t>(begin(leaf, i)));
        storage::set_page_count(leaf, n + 1);
        set_holes(leaf, holes(leaf) + 1u);
    }
    /// Makes slot i hold the record; an empty one makes it a hole. REQUIRES: room.
    static void fill(std::byte* leaf, unsigned i, const Record& record) {
        const std::size_t before = length(leaf, i), after = record.stored.size();
        if (before != after) resize(leaf, i, after);
        const unsigned last = end(leaf, i);
        codec::store<std::uint16_t>(leaf + kEnds + kSlot * i,
                                    static_cast<std::uint16_t>(last | (record.external ? kExternal : 0)));
        if (after != 0) std::memcpy(leaf + storage::kPageSize - last, record.stored.data(), after);
        set_holes(leaf, holes(leaf) + (after == 0) - (before == 0));
    }
    /// Removes `count` slots from slot i on, with their records.
    static void erase(std::byte* leaf, unsigned i, unsigned count) {
        const unsigned n = slots(leaf), first = begin(leaf, i), last = end(leaf, i + count - 1);
        unsigned gone = 0;
        for (unsigned k = i; k < i + count; ++k) gone += hole(leaf, k);
        std::byte* top = leaf + storage::kPageSize;
        const unsigned bottom = begin(leaf, n);
        std::memmove(top - bottom + (last - first), top - bottom, bottom - last);
        add_to_ends(leaf, i + count, n, 0u - (last - first));
        std::byte* place = leaf + kEnds + kSlot * i;
        std::memmove(place, place + kSlot * count, kSlot * (n - i - count));
        storage::set_page_count(leaf, n - count);
        set_holes(leaf, holes(leaf) - gone);
    }
    /// Appends copies of the slots from `first` on to `target`. REQUIRES: room there.
    static void copy_tail(const std::byte* leaf, unsigned first, std::byte* target) {
        const unsigned n = slots(leaf), at = slots(target), from = begin(leaf, first), to = begin(target, at);
        const unsigned bytes = begin(leaf, n) - from;
        std::memcpy(target + storage::kPageSize - to - bytes, leaf + storage::kPageSize - from - bytes, bytes);
        std::memcpy(target + kEnds + kSlot * at, leaf + kEnds + kSlot * first, kSlot * (n - first));
        storage::set_page_count(target, at + n - first);
        add_to_ends(target, at, at + n - first, to - from);
        recount_holes(target);
    }
    /// Drops the slots from `first` on.
    static void truncate(std::byte* leaf, unsigned first) {
        storage::set_page_count(leaf, first);
        recount_holes(leaf);
    }

    /// Throws CorruptionError unless every slot lies within the page.
    static void validate(const std::byte* leaf, PageId id, PageId page_count);

private:
    static void recount_holes(std::byte* leaf) {
        unsigned count = 0;
        const unsigned n = slots(leaf);
        for (unsigned i = 0; i < n; ++i) count += hole(leaf, i);
        set_holes(leaf, count);
    }
    static void add_to_ends(std::byte* leaf, unsigned from, unsigned to, unsigned delta) {
        for (unsigned i = from; i < to; ++i) {
            std::byte* place = leaf + kEnds + kSlot * i;
            codec::store<std::uint16_t>(place, static_cast<std::uint16_t>(codec::load<std::uint16_t>(place) + delta));
        }
    }
    static void resize(std::byte* leaf, unsigned i, std::size_t size) {
        const unsigned n = slots(leaf), old_end = end(leaf, i), bottom = begin(leaf, n);
        const unsigned delta = static_cast<unsigned>(size) - length(leaf, i);
        std::byte* top = leaf + storage::kPageSize;
        std::memmove(top - (bottom + delta), top - bottom, bottom - old_end);
        add_to_ends(leaf, i, n, delta);
    }
};

}  // namespace pyrsistence::structures
