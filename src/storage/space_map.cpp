#include "storage/space_map.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

namespace pyrsistence::storage {

namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};
/// Runs from here on may span groups; below, searching group by group is cheaper and enough.
constexpr std::uint64_t kLongRun = 4096;

[[noreturn]] void corrupt(PageId page, const std::string& what) {
    throw CorruptionError("page " + std::to_string(page) + " of data: " + what +
                          "; restore a backup, or copy what can be read into a new store");
}

/// Calls visit(word, mask) for the words that hold bits [begin, end).
template <class Visit>
void for_words(std::size_t begin, std::size_t end, Visit&& visit) {
    while (begin < end) {
        const std::size_t bit = begin % 64;
        const std::size_t count = std::min(64 - bit, end - begin);
        visit(begin / 64, (count == 64 ? kAll : ((std::uint64_t{1} << count) - 1)) << bit);
        begin += count;
    }
}

/// Calls visit(group, begin, end) for the groups that hold pages [first, first + pages).
template <class Visit>
void for_groups(PageId first, std::uint64_t pages, Visit&& visit) {
    constexpr std::uint64_t kGroup = SpaceMap::kGroupPages;
    while (pages > 0) {
        const std::uint64_t begin = first % kGroup;
        const std::uint64_t count = std::min(kGroup - begin, pages);
        visit(first / kGroup, static_cast<std::size_t>(begin), static_cast<std::size_t>(begin + count));
        first += count;
        pages -= count;
    }
}

}  // namespace

/// A scan for a run of free pages, fed with the lengths of free and busy stretches in order.
struct SpaceMap::RunSearch {
    std::uint64_t needed;
    PageId position;            ///< where the next stretch begins
    std::uint64_t run = 0;      ///< free pages just before position
    std::uint64_t longest = 0;  ///< longest run seen in full or in part

    bool free(std::uint64_t count) {
        position += count;
        run += count;
        longest = std::max(longest, run);
        return run >= needed;
    }
    void busy(std::uint64_t count) {
        position += count;
        run = 0;
    }
    PageId found() const { return position - run; }
};

SpaceMap::SpaceMap(ReadPages read) : read_(std::move(read)), page_count_(kMetaPages) {
    cover(kMetaPages);
    take(0, kMetaPages);
}

SpaceMap::SpaceMap(ReadPages read, const ExtentRef& directory, PageId page_count)
    : read_(std::move(read)), directory_(directory), page_count_(page_count) {
    read_directory();
}

void SpaceMap::read_directory() {
    const std::uint64_t count = groups_for(page_count_);
    if (page_count_ <= kMetaPages || page_count_ > kMaxPages || directory_.bytes != count * kEntrySize ||
        directory_.first < kMetaPages || directory_.first >= page_count_ ||
        directory_.pages() > page_count_ - directory_.first) {
        corrupt(directory_.first, "the space map has " + std::to_string(directory_.bytes) + " bytes for " +
                                      std::to_string(page_count_) + " pages");
    }
    std::vector<std::byte> bytes(directory_.bytes);
    read_(directory_.first, bytes);
    if (XXH3_64bits(bytes.data(), bytes.size()) != directory_.checksum) {
        corrupt(directory_.first, "the checksum of the space map's directory differs");
    }
    groups_.resize(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::byte* entry = bytes.data() + i * kEntrySize;
        Group& group = groups_[i];
        group.page = codec::load48(entry);
        group.live = group.busy = codec::load<std::uint32_t>(entry + 8);
        group.checksum = codec::load<std::uint64_t>(entry + 12);
        const bool stored = group.page >= kMetaPages && group.page < page_count_;
        if (group.live > kGroupPages || (!stored && (group.page != 0 || group.live != 0))) {
            corrupt(directory_.first, "entry " + std::to_string(i) + " of the space map is impossible");
        }
        group.longest = static_cast<std::uint32_t>(kGroupPages) - group.live;
        live_ += group.live;
    }
}

void SpaceMap::cover(PageId end) {
    if (groups_for(end) > groups_.size()) groups_.resize(groups_for(end));
}

SpaceMap::Bits& SpaceMap::load(std::uint64_t index) const {
    Group& group = groups_[index];
    if (group.bits) return *group.bits;
    auto bits = std::make_unique<Bits>();
    if (group.page != 0) {
        std::vector<std::byte> block(kPageSize);
        read_(group.page, block);
        for (std::size_t i = 0; i < kWords; ++i) {
            bits->live[i] = codec::load<std::uint64_t>(block.data() + 8 * i);
        }
        if (XXH3_64bits(block.data(), block.size()) != group.checksum) {
            corrupt(group.page, "the checksum of a space map block differs");
        }
        check_block(index, *bits);
        std::copy(std::begin(bits->live), std::end(bits->live), bits->busy);
    }
    group.bits = std::move(bits);
    return *group.bits;
}

void SpaceMap::check_block(std::uint64_t index, const Bits& bits) const {
    std::uint32_t live = 0;
    for (const std::uint64_t word : bits.live) live += static_cast<std::uint32_t>(std::popcount(word));
    std::uint64_t beyond = 0;
    const std::uint64_t end = std::min(page_count_ - std::min(page_count_, index * kGroupPages), kGroupPages);
    for_words(end, kGroupPages,
              [&](std::size_t word, std::uint64_t mask) { beyond |= bits.live[word] & mask; });
    const Group& group = groups_[index];
    if (live != group.live || beyond != 0 || (index == 0 && (bits.live[0] & 3) != 3)) {
        corrupt(group.page, "block " + std::to_string(index) + " of the space map has " +
                                std::to_string(live) + " pages in use, expected " + std::to_string(group.live));
    }
}

void SpaceMap::mark_dirty(std::uint64_t index) {
    if (groups_[index].dirty) return;
    groups_[index].dirty = true;
    dirty_.push_back(index);
}

PageId SpaceMap::allocate(std::uint64_t pages) {
    if (pages == 1) return allocate_page();
    const PageId found = pages < kLongRun ? find_run(pages) : find_long_run(pages);
    const PageId first = found != 0 ? found : end_of_busy();
    take(first, pages);
    return first;
}

PageId SpaceMap::allocate_page() {
    for (;; ++hint_) {
        cover((hint_ + 1) * kGroupPages);
        if (groups_[hint_].busy == kGroupPages) continue;
        const Bits& bits = load(hint_);
        std::uint32_t& word = groups_[hint_].first_word;
        while (bits.busy[word] == kAll) ++word;
        const auto bit = static_cast<unsigned>(std::countr_one(bits.busy[word]));
        const PageId page = hint_ * kGroupPages + word * 64 + bit;
        take(page, 1);
        return page;
    }
}

/// The lowest run within one group, or 0.
PageId SpaceMap::find_run(std::uint64_t pages) const {
    for (std::uint64_t i = hint_; i < groups_.size(); ++i) {
        if (groups_[i].longest < pages) continue;
        RunSearch search{pages, i * kGroupPages};
        if (scan(i, search)) return search.found();
        groups_[i].longest = static_cast<std::uint32_t>(search.longest);
    }
    return 0;
}

/// The lowest run below the end of the last group, across groups, or 0.
PageId SpaceMap::find_long_run(std::uint64_t pages) const {
    RunSearch search{pages, hint_ * kGroupPages};
    for (std::uint64_t i = hint_; i < groups_.size(); ++i) {
        if (groups_[i].busy == kGroupPages) {
            search.busy(kGroupPages);
        } else if (groups_[i].busy == 0) {
            if (search.free(kGroupPages)) return search.found();
        } else if (scan(i, search)) {
            return search.found();
        }
    }
    return 0;
}

bool SpaceMap::scan(std::uint64_t index, RunSearch& search) const {
    const Bits& bits = load(index);
    for (const std::uint64_t word : bits.busy) {
        if (word == kAll) {
            search.busy(64);
            continue;
        }
        for (int bit = 0; bit < 64;) {
            const int zeros = std::min(std::countr_zero(word >> bit), 64 - bit);
            if (zeros > 0 && search.free(static_cast<unsigned>(zeros))) return true;
            bit += zeros;
            if (bit == 64) break;
            const int ones = std::countr_one(word >> bit);
            search.busy(static_cast<unsigned>(ones));
            bit += ones;
        }
    }
    return false;
}

bool SpaceMap::claim(PageId first, std::uint64_t pages) {
    if (first >= kMaxPages || pages > kMaxPages - first) return false;
    cover(first + pages);
    if (!all(first, pages, &Bits::busy, false)) return false;
    take(first, pages);
    return true;
}

/// Marks free pages as live and busy.
void SpaceMap::take(PageId first, std::uint64_t pages) {
    cover(first + pages);
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        Bits& bits = load(index);
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) {
            bits.live[word] |= mask;
            bits.busy[word] |= mask;
        });
        Group& group = groups_[index];
        group.live += static_cast<std::uint32_t>(end - begin);
        group.busy += static_cast<std::uint32_t>(end - begin);
        group.longest = std::min(group.longest, static_cast<std::uint32_t>(kGroupPages) - group.busy);
        mark_dirty(index);
    });
    live_ += pages;
    page_count_ = std::max(page_count_, first + pages);
}

void SpaceMap::retire(PageId first, std::uint64_t pages) {
    if (first < kMetaPages || first >= page_count_ || pages > page_count_ - first ||
        !all(first, pages, &Bits::live, true)) {
        corrupt(first, "a run of " + std::to_string(pages) + " pages is given back, but not all are in use");
    }
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        Bits& bits = load(index);
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) { bits.live[word] &= ~mask; });
        groups_[index].live -= static_cast<std::uint32_t>(end - begin);
        mark_dirty(index);
    });
    live_ -= pages;
}

void SpaceMap::recycle(PageId first, std::uint64_t pages) {
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        Bits& bits = load(index);
        Group& group = groups_[index];
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) {
            group.busy -= static_cast<std::uint32_t>(std::popcount(bits.busy[word] & mask));
            bits.busy[word] &= ~mask;
        });
        group.first_word = std::min(group.first_word, static_cast<std::uint32_t>(begin / 64));
        if (group.longest < kGroupPages - group.busy) {
            group.longest = std::max(group.longest, free_run_around(bits, begin, end));
        }
        hint_ = std::min(hint_, index);
    });
}

/// Length of the free run that contains the free pages [begin, end) of a group.
std::uint32_t SpaceMap::free_run_around(const Bits& bits, std::size_t begin, std::size_t end) {
    while (begin > 0) {
        const std::size_t bit = (begin - 1) % 64;
        const std::uint64_t word = bits.busy[(begin - 1) / 64] << (63 - bit);
        const auto zeros = static_cast<std::size_t>(std::countl_zero(word));
        begin -= std::min(zeros, bit + 1);
        if (zeros <= bit) break;
    }
    while (end < kGroupPages) {
        const std::size_t room = 64 - end % 64;
        const std::uint64_t word = bits.busy[end / 64] >> (end % 64);
        const auto zeros = static_cast<std::size_t>(std::countr_zero(word));
        end += std::min(zeros, room);
        if (zeros < room) break;
    }
    return static_cast<std::uint32_t>(end - begin);
}

bool SpaceMap::all(PageId first, std::uint64_t pages, std::uint64_t (Bits::*which)[kWords],
                   bool value) const {
    bool same = true;
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        if (!same) return;
        const Bits& bits = load(index);
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) {
            same = same && ((bits.*which)[word] & mask) == (value ? mask : 0);
        });
    });
    return same;
}

bool SpaceMap::live(PageId page) const { return page < page_count_ && all(page, 1, &Bits::live, true); }
bool SpaceMap::busy(PageId page) const { return page < page_count_ && all(page, 1, &Bits::busy, true); }

ExtentRef SpaceMap::save(const WritePages& write, const Retired& retired) {
    if (dirty_.empty() && directory_.bytes == groups_for(page_count_) * kEntrySize) return directory_;
    const std::uint64_t old_pages = directory_.pages();
    if (old_pages > 0) {
        retire(directory_.first, old_pages);
        retired(directory_.first, old_pages);
    }
    // Bitmaps of groups behind the end are of no more use.
    for (std::uint64_t i = groups_for(page_count_); i < groups_.size(); ++i) {
        if (groups_[i].page != 0) mark_dirty(i);
    }
    // Placing bitmaps may lengthen the directory, and placing the directory may dirty bitmaps.
    PageId first = 0;
    std::uint64_t pages = 0;
    place_bitmaps(retired);
    while (ExtentRef{0, groups_for(page_count_) * kEntrySize}.pages() != pages) {
        if (pages > 0) {
            retire(first, pages);
            recycle(first, pages);
        }
        pages = ExtentRef{0, groups_for(page_count_) * kEntrySize}.pages();
        first = allocate(pages);
        place_bitmaps(retired);
    }
    write_bitmaps(write);
    groups_.resize(groups_for(page_count_));
    hint_ = std::min<std::uint64_t>(hint_, groups_.size());
    directory_ = write_directory(first, write);
    return directory_;
}

/// Gives every dirty group a new page, until that dirties no other group.
void SpaceMap::place_bitmaps(const Retired& retired) {
    for (bool again = true; again;) {
        again = false;
        for (std::size_t i = 0; i < dirty_.size(); ++i) {  // dirty_ and groups_ grow on the way
            const std::uint64_t index = dirty_[i];
            if (!std::exchange(groups_[index].moved, true) && groups_[index].page != 0) {
                const PageId old = std::exchange(groups_[index].page, 0);
                retire(old, 1);
                retired(old, 1);
                again = true;
            }
            if (groups_[index].live > 0 && groups_[index].page == 0) {
                const PageId page = allocate_page();
                groups_[index].page = page;
                again = true;
            }
        }
    }
}

void SpaceMap::write_bitmaps(const WritePages& write) {
    std::sort(dirty_.begin(), dirty_.end(),
              [&](std::uint64_t a, std::uint64_t b) { return groups_[a].page < groups_[b].page; });
    std::vector<std::byte> run;  // adjacent blocks are written together
    PageId first = 0;
    for (const std::uint64_t index : dirty_) {
        Group& group = groups_[index];
        group.dirty = group.moved = false;
        if (group.page == 0) continue;
        if (!run.empty() && group.page != first + run.size() / kPageSize) {
            write(first, run);
            run.clear();
        }
        if (run.empty()) first = group.page;
        run.resize(run.size() + kPageSize);
        std::byte* block = run.data() + run.size() - kPageSize;
        for (std::size_t i = 0; i < kWords; ++i) codec::store(block + 8 * i, group.bits->live[i]);
        group.checksum = XXH3_64bits(block, kPageSize);
    }
    if (!run.empty()) write(first, run);
    dirty_.clear();
}

ExtentRef SpaceMap::write_directory(PageId first, const WritePages& write) const {
    std::vector<std::byte> bytes(groups_.size() * kEntrySize);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
        std::byte* entry = bytes.data() + i * kEntrySize;
        codec::store48(entry, groups_[i].page);
        codec::store<std::uint32_t>(entry + 8, groups_[i].live);
        codec::store<std::uint64_t>(entry + 12, groups_[i].page == 0 ? 0 : groups_[i].checksum);
    }
    write(first, bytes);
    return {first, bytes.size(), XXH3_64bits(bytes.data(), bytes.size())};
}

/// Just after the last busy page.
PageId SpaceMap::end_of_busy() const {
    for (std::uint64_t index = groups_.size(); index-- > 0;) {
        if (groups_[index].busy == 0) continue;
        const Bits& bits = load(index);
        std::size_t word = kWords;
        while (bits.busy[word - 1] == 0) --word;
        return index * kGroupPages + word * 64 - static_cast<unsigned>(std::countl_zero(bits.busy[word - 1]));
    }
    return kMetaPages;
}

PageId SpaceMap::trim() {
    page_count_ = end_of_busy();
    if (live_ < page_count_) loosen_tail();
    return page_count_;
}

/// Has the next save move those of the map's own pages that may be all that keeps the file long.
void SpaceMap::loosen_tail() {
    const std::uint64_t own = groups_.size() + directory_.pages();
    const PageId tail = page_count_ - std::min(page_count_, 2 * own);
    for (std::uint64_t i = 0; i < groups_.size(); ++i) {
        const bool directory = i == 0 && directory_.bytes > 0 && directory_.first >= tail;
        if (!directory && (groups_[i].page == 0 || groups_[i].page < tail)) continue;
        load(i);
        mark_dirty(i);
    }
}

}  // namespace pyrsistence::storage
