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
                          "; restore a backup, or save what can be read by verify(repair=True)");
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

/// Calls visit(begin, end) for the runs of bits that are 1 in words [from, to).
template <class Words, class Visit>
void for_runs(const Words& words, std::size_t from, std::size_t to, Visit&& visit) {
    std::size_t begin = 0, end = 0;  // of the run so far
    for (std::size_t i = from; i < to; ++i) {
        for (std::uint64_t word = words[i]; word != 0;) {
            const auto bit = static_cast<std::size_t>(std::countr_zero(word));
            const auto count = static_cast<std::size_t>(std::countr_one(word >> bit));
            if (begin == end || 64 * i + bit != end) {
                if (begin != end) visit(begin, end);
                begin = 64 * i + bit;
            }
            end = 64 * i + bit + count;
            word = count == 64 ? 0 : word & ~(((std::uint64_t{1} << count) - 1) << bit);
        }
    }
    if (begin != end) visit(begin, end);
}

template <class Words>
void add(Words& to, const Words& words) {
    for (std::size_t i = 0; i < words.size(); ++i) to[i] |= words[i];
}

template <class Words>
std::uint32_t count(const Words& words) {
    std::uint32_t ones = 0;
    for (const std::uint64_t word : words) ones += static_cast<std::uint32_t>(std::popcount(word));
    return ones;
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

SpaceMap::SpaceMap(ReadPages read, PageId page_count) : read_(std::move(read)), page_count_(page_count) {
    cover(kMetaPages);
    take(0, kMetaPages);
}

SpaceMap::SpaceMap(ReadPages read, const ExtentRef& directory, PageId page_count)
    : read_(std::move(read)), directory_(directory), page_count_(page_count) {
    groups_ = read_directory(directory, page_count);
    for (const Group& group : groups_) live_ += group.live;
}

std::vector<SpaceMap::Group> SpaceMap::read_directory(const ExtentRef& directory, PageId page_count) const {
    const std::uint64_t count = groups_for(page_count);
    if (page_count <= kMetaPages || page_count > kMaxPages || directory.bytes != count * kEntrySize ||
        directory.first < kMetaPages || directory.first >= page_count ||
        directory.pages() > page_count - directory.first) {
        corrupt(directory.first, "the space map has " + std::to_string(directory.bytes) + " bytes for " +
                                     std::to_string(page_count) + " pages");
    }
    std::vector<std::byte> bytes(directory.bytes);
    read_(directory.first, bytes);
    if (XXH3_64bits(bytes.data(), bytes.size()) != directory.checksum) {
        corrupt(directory.first, "the checksum of the space map's directory differs");
    }
    std::vector<Group> groups(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::byte* entry = bytes.data() + i * kEntrySize;
        Group& group = groups[i];
        group.page = codec::load48(entry);
        group.live = group.busy = codec::load<std::uint32_t>(entry + 8);
        group.checksum = codec::load<std::uint64_t>(entry + 12);
        const bool stored = group.page >= kMetaPages && group.page < page_count;
        if (group.live > kGroupPages || (i == 0 && !stored) || (!stored && (group.page != 0 || group.live != 0))) {
            corrupt(directory.first, "entry " + std::to_string(i) + " of the space map is impossible");
        }
        group.longest = static_cast<std::uint32_t>(kGroupPages) - group.live;
    }
    return groups;
}

void SpaceMap::cover(PageId end) {
    if (groups_for(end) > groups_.size()) groups_.resize(groups_for(end));
}

SpaceMap::Bits& SpaceMap::load(std::uint64_t index) const {
    Group& group = groups_[index];
    if (group.bits) return *group.bits;
    auto bits = std::make_unique<Bits>();
    bits->live = bits->busy = read_block(index, group, page_count_);
    group.bits = std::move(bits);
    return *group.bits;
}

/// The live bits of a group as they are stored.
SpaceMap::Words SpaceMap::read_block(std::uint64_t index, const Group& group, PageId page_count) const {
    Words words{};
    if (group.page == 0) return words;
    std::vector<std::byte> block(kPageSize);
    read_(group.page, block);
    if (XXH3_64bits(block.data(), block.size()) != group.checksum) {
        corrupt(group.page, "the checksum of a space map block differs");
    }
    for (std::size_t i = 0; i < kWords; ++i) words[i] = codec::load<std::uint64_t>(block.data() + 8 * i);
    const std::uint32_t live = count(words);
    std::uint64_t beyond = 0;
    const std::uint64_t end = std::min(page_count - std::min(page_count, index * kGroupPages), kGroupPages);
    for_words(end, kGroupPages, [&](auto word, auto mask) { beyond |= words[word] & mask; });
    if (live != group.live || beyond != 0 || (index == 0 && (words[0] & 3) != 3)) {
        corrupt(group.page, "block " + std::to_string(index) + " of the space map has " +
                                std::to_string(live) + " pages in use, expected " + std::to_string(group.live));
    }
    return words;
}

/// The group's bits, of which live ones are about to change.
SpaceMap::Bits& SpaceMap::change(std::uint64_t index) {
    Bits& bits = load(index);
    preserve(index);
    mark_dirty(index);
    return bits;
}

void SpaceMap::mark_dirty(std::uint64_t index) {
    if (groups_[index].dirty) return;
    dirty_.push_back(index);
    groups_[index].dirty = true;
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

/// Obtains what changing these pages takes.
void SpaceMap::prepare(PageId first, std::uint64_t pages) {
    cover(first + pages);
    for_groups(first, pages, [&](std::uint64_t index, std::size_t, std::size_t) { change(index); });
}

/// Marks free pages as live and busy.
void SpaceMap::take(PageId first, std::uint64_t pages) {
    prepare(first, pages);
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        Bits& bits = *groups_[index].bits;
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) {
            bits.live[word] |= mask;
            bits.busy[word] |= mask;
        });
        Group& group = groups_[index];
        group.live += static_cast<std::uint32_t>(end - begin);
        group.busy += static_cast<std::uint32_t>(end - begin);
        group.longest = std::min(group.longest, static_cast<std::uint32_t>(kGroupPages) - group.busy);
    });
    live_ += pages;
    page_count_ = std::max(page_count_, first + pages);
}

void SpaceMap::retire(PageId first, std::uint64_t pages, const Visit& unheld) {
    if (first < kMetaPages || first >= page_count_ || pages > page_count_ - first ||
        !all(first, pages, &Bits::live, true)) {
        corrupt(first, "a run of " + std::to_string(pages) + " pages is given back, but not all are in use");
    }
    prepare(first, pages);
    live_ -= pages;
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        Bits& bits = *groups_[index].bits;
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) { bits.live[word] &= ~mask; });
        groups_[index].live -= static_cast<std::uint32_t>(end - begin);
        Words gone;
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) { gone[word] = mask; });
        visit_unheld(index, gone, begin / 64, (end + 63) / 64, unheld);
    });
}

/// Of a group's pages in words [from, to) of `gone`, which lost a holder: calls unheld(first, pages) for
/// the runs that have none left.
void SpaceMap::visit_unheld(std::uint64_t index, Words& gone, std::size_t from, std::size_t to,
                            const Visit& unheld) const {
    const auto take_out = [&](const Words& needed) {
        for (std::size_t word = from; word < to; ++word) gone[word] &= ~needed[word];
    };
    take_out(load(index).live);
    for_copies(index, take_out);
    for_runs(gone, from, to,
             [&](std::size_t first, std::size_t last) { unheld(index * kGroupPages + first, last - first); });
}

// --- pins

std::size_t SpaceMap::find_pin(std::uint64_t key) const {
    const auto found = std::ranges::find(pins_, key, &Pin::key);
    return static_cast<std::size_t>(found - pins_.begin());
}

/// Calls visit(words) with what each pin remembers of a group.
template <class Visitor>
void SpaceMap::for_copies(std::uint64_t index, Visitor&& visit) const {
    for (const Pin& pin : pins_) {
        for (const Copies* part : {&pin.live, &pin.kept}) {
            if (const auto copy = part->find(index); copy != part->end()) visit(*copy->second);
        }
    }
}

/// Has the newest pin remember a group's live bits, which are about to change.
void SpaceMap::preserve(std::uint64_t index) {
    if (pins_.empty() || groups_[index].preserved > pins_.back().key) return;
    Pin& newest = pins_.back();
    if (!newest.live.contains(index)) newest.live[index] = std::make_unique<Words>(load(index).live);
    groups_[index].preserved = newest.key + 1;
}

void SpaceMap::pin(std::uint64_t key) { pins_.push_back({key, {}, {}}); }

void SpaceMap::pin_stored(std::uint64_t key, const ExtentRef& directory, PageId page_count) {
    const std::vector<Group> stored = read_directory(directory, page_count);
    cover(page_count);
    page_count_ = std::max(page_count_, page_count);
    Pin pin{key, {}, {}};
    for (std::uint64_t i = 0; i < groups_.size(); ++i) {
        const Group none;
        const Group& then = i < stored.size() ? stored[i] : none;
        if (then.page == groups_[i].page && then.checksum == groups_[i].checksum) continue;
        preserve(i);  // older pins would take the new one's copy for their own
        auto copy = std::make_unique<Words>(read_block(i, then, page_count));
        hold_busy(i, *copy);
        pin.live[i] = std::move(copy);
    }
    pins_.push_back(std::move(pin));
    saved_ = key + 1;
}

void SpaceMap::pin_all(std::uint64_t key, PageId end) {
    cover(end);
    page_count_ = std::max(page_count_, end);
    pin(key);
    for_groups(0, end, [&](std::uint64_t index, std::size_t begin, std::size_t stop) {
        Words all{};
        for_words(begin, stop, [&](std::size_t word, std::uint64_t mask) { all[word] = mask; });
        hold_busy(index, all);
    });
    keep(key, 0, end);
}

void SpaceMap::hold_busy(std::uint64_t index, const Words& words) {
    Bits& bits = load(index);
    Group& group = groups_[index];
    add(bits.busy, words);
    group.busy = count(bits.busy);
    group.longest = std::min(group.longest, static_cast<std::uint32_t>(kGroupPages) - group.busy);
}

void SpaceMap::keep(std::uint64_t key, PageId first, std::uint64_t pages) {
    Pin& pin = pins_[find_pin(key)];
    for_groups(first, pages, [&](std::uint64_t index, std::size_t begin, std::size_t end) {
        auto kept = pin.kept.find(index);
        if (kept == pin.kept.end()) kept = pin.kept.emplace(index, std::make_unique<Words>()).first;
        for_words(begin, end, [&](std::size_t word, std::uint64_t mask) { (*kept->second)[word] |= mask; });
    });
}

void SpaceMap::unpin(std::uint64_t key, const Visit& unheld) {
    const std::size_t at = find_pin(key);
    if (at == pins_.size()) return;
    for (const Copies* part : {&pins_[at].live, &pins_[at].kept}) {  // all that can fail
        if (part->empty()) continue;
        cover((part->rbegin()->first + 1) * kGroupPages);  // a group behind the end may be gone
        for (const auto& [index, copy] : *part) load(index);
    }
    Pin gone = std::move(pins_[at]);
    pins_.erase(pins_.begin() + static_cast<std::ptrdiff_t>(at));
    // The next older pin saw the same, if nothing had changed in between.
    if (at > 0) pins_[at - 1].live.merge(gone.live);
    gone.kept.merge(gone.live);
    for (const auto& [index, copy] : gone.live) add(*gone.kept[index], *copy);
    for (const auto& [index, pages] : gone.kept) visit_unheld(index, *pages, 0, kWords, unheld);
}

void SpaceMap::rewind(std::uint64_t key, const Visit& unheld) {
    if (pins_.empty() || pins_.back().key != key || key < saved_) {
        corrupt(0, "the space map cannot go back to seal " + std::to_string(key));
    }
    const auto then = std::exchange(pins_.back().live, {});
    for (const auto& [index, copy] : then) {  // dirty groups, since they changed and were not saved
        Group& group = groups_[index];
        Words gone = std::exchange(load(index).live, *copy);
        const std::uint32_t live = count(*copy);
        live_ = live_ + live - group.live;
        group.live = live;
        group.preserved = 0;
        visit_unheld(index, gone, 0, kWords, unheld);
    }
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

bool SpaceMap::all(PageId first, std::uint64_t pages, Words Bits::*which, bool value) const {
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

/// Of the map's own pages, which no frame holds.
void SpaceMap::give_up(PageId first, std::uint64_t pages) {
    retire(first, pages, [this](PageId page, std::uint64_t count) { recycle(page, count); });
}

ExtentRef SpaceMap::save(const WritePages& write) {
    if (dirty_.empty() && directory_.bytes == groups_for(page_count_) * kEntrySize) return directory_;
    if (directory_.pages() > 0) give_up(directory_.first, directory_.pages());
    // Bitmaps of groups behind the end are of no more use.
    for (std::uint64_t i = groups_for(page_count_); i < groups_.size(); ++i) {
        if (groups_[i].page != 0) mark_dirty(i);
    }
    // Placing bitmaps may lengthen the directory, and placing the directory may dirty bitmaps.
    PageId first = 0;
    std::uint64_t pages = 0;
    place_bitmaps();
    while (ExtentRef{0, groups_for(page_count_) * kEntrySize}.pages() != pages) {
        if (pages > 0) give_up(first, pages);
        pages = ExtentRef{0, groups_for(page_count_) * kEntrySize}.pages();
        first = allocate(pages);
        place_bitmaps();
    }
    write_bitmaps(write);
    if (!pins_.empty()) saved_ = pins_.back().key + 1;
    groups_.resize(groups_for(page_count_));
    hint_ = std::min<std::uint64_t>(hint_, groups_.size());
    directory_ = write_directory(first, write);
    return directory_;
}

/// Gives every dirty group a new page, until that dirties no other group.
void SpaceMap::place_bitmaps() {
    for (bool again = true; again;) {
        again = false;
        for (std::size_t i = 0; i < dirty_.size(); ++i) {  // dirty_ and groups_ grow on the way
            const std::uint64_t index = dirty_[i];
            if (!std::exchange(groups_[index].moved, true) && groups_[index].page != 0) {
                give_up(std::exchange(groups_[index].page, 0), 1);
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

void SpaceMap::for_each_busy(const Visit& visit) const {
    for (std::uint64_t index = 0; index < groups_.size(); ++index) {
        const Group& group = groups_[index];
        Words words = group.bits ? group.bits->live : read_block(index, group, page_count_);
        for_copies(index, [&](const Words& copy) { add(words, copy); });
        for_runs(words, 0, kWords, [&](std::size_t begin, std::size_t end) {
            visit(index * kGroupPages + begin, end - begin);
        });
    }
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
