// A space map, the file in memory that it is stored in, and what it should say: plain sets of pages, one for
// the live ones and one per pin. Each operation is done on both, and compared. Belongs to one test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "storage/space_map.hpp"

namespace pyrsistence::test {

using storage::ExtentRef;
using storage::kMetaPages;
using storage::kPageSize;
using storage::SpaceMap;

/// A file in memory that a map is stored in.
struct Disk {
    std::map<PageId, std::vector<std::byte>> pages;

    void write(PageId first, Bytes bytes) {
        for (std::size_t done = 0; done < bytes.size(); done += kPageSize, ++first) {
            auto& page = pages[first];
            page.assign(kPageSize, std::byte{0xAA});
            std::memcpy(page.data(), bytes.data() + done, std::min(kPageSize, bytes.size() - done));
        }
    }
    void read(PageId first, MutableBytes bytes) {
        for (std::size_t done = 0; done < bytes.size(); done += kPageSize, ++first) {
            auto& page = pages[first];
            page.resize(kPageSize);
            std::memcpy(bytes.data() + done, page.data(), std::min(kPageSize, bytes.size() - done));
        }
    }
    SpaceMap::ReadPages reader() {
        return [this](PageId first, MutableBytes bytes) { read(first, bytes); };
    }
};

struct PageRun {
    PageId first;
    std::uint64_t pages;
};

class PageSet {
public:
    bool contains(PageId page) const {
        return page / 64 < words_.size() && (words_[page / 64] >> page % 64 & 1) != 0;
    }
    void add(PageId first, std::uint64_t pages = 1) {
        for (; pages > 0; ++first, --pages) word(first) |= std::uint64_t{1} << first % 64;
    }
    void add(const PageRun& run) { add(run.first, run.pages); }
    void remove(PageId first, std::uint64_t pages = 1) {
        for (; pages > 0; ++first, --pages) word(first) &= ~(std::uint64_t{1} << first % 64);
    }
    PageSet& operator|=(const PageSet& other) {
        words_.resize(std::max(words_.size(), other.words_.size()));
        for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
        return *this;
    }
    PageSet& operator-=(const PageSet& other) {
        const std::size_t common = std::min(words_.size(), other.words_.size());
        for (std::size_t i = 0; i < common; ++i) words_[i] &= ~other.words_[i];
        return *this;
    }
    std::uint64_t size() const {
        std::uint64_t count = 0;
        for (const std::uint64_t word : words_) count += static_cast<unsigned>(std::popcount(word));
        return count;
    }
    /// Just after the last one.
    PageId end() const {
        std::size_t i = words_.size();
        while (i > 0 && words_[i - 1] == 0) --i;
        return i == 0 ? 0 : 64 * i - static_cast<unsigned>(std::countl_zero(words_[i - 1]));
    }
    /// The lowest page from which on `pages` adjacent ones are missing.
    PageId gap(std::uint64_t pages) const {
        for (PageId first = 0, page = 0;; ++page) {
            if (contains(page)) first = page + 1;
            if (page + 1 - first == pages) return first;
        }
    }
    friend bool operator==(const PageSet& a, const PageSet& b) {
        PageSet left = a, right = b;
        return (left -= b).size() + (right -= a).size() == 0;
    }
    friend void PrintTo(const PageSet& set, std::ostream* out) {
        *out << set.size() << " pages:";
        for (PageId page = 0, shown = 0; page < set.end() && shown < 20; ++page) {
            if (!set.contains(page)) continue;
            *out << ' ' << page;
            ++shown;
        }
    }

private:
    std::uint64_t& word(PageId page) {
        if (page / 64 >= words_.size()) words_.resize(page / 64 + 1);
        return words_[page / 64];
    }
    std::vector<std::uint64_t> words_;
};

/// Which pages are in use, and the runs in which they were handed out, but for the map's own.
struct State {
    PageSet live;
    std::vector<PageRun> runs;
};

class SpaceModel {
public:
    struct Pin {
        std::uint64_t key;
        State state;
        PageSet kept;               ///< beside what was live
        bool saved_since = false;   ///< then there is no way back
    };
    struct Stored {
        std::uint64_t key;
        State state;
        ExtentRef directory;
        PageId page_count;
    };

    Disk disk;
    std::unique_ptr<SpaceMap> map = std::make_unique<SpaceMap>(disk.reader());
    State now;
    std::vector<Pin> pins;        ///< oldest first
    std::vector<Stored> stored;   ///< whose pages have been held ever since, oldest first
    PageSet pending;              ///< unheld, but not recycled yet
    std::uint64_t next_key = 1;
    bool recycle_at_once = true;

    SpaceModel() { now.live.add(0, kMetaPages); }

    PageSet held() const {
        PageSet all;
        for (const Pin& pin : pins) (all |= pin.state.live) |= pin.kept;
        return all;
    }
    PageSet busy() const {
        PageSet all = held();
        return (all |= now.live) |= pending;
    }

    PageId allocate(std::uint64_t pages) {
        const PageId first = map->allocate(pages);
        add({first, pages});
        EXPECT_GE(map->page_count(), first + pages);
        return first;
    }
    void claim(PageId first, std::uint64_t pages) {
        bool free = true;
        for (PageId page = first; page < first + pages; ++page) free = free && !is_busy(page);
        EXPECT_EQ(map->claim(first, pages), free) << first << " + " << pages;
        if (free) add({first, pages});
    }
    void retire(PageRun run) {
        std::erase_if(now.runs, [&](const PageRun& other) { return other.first == run.first; });
        now.live.remove(run.first, run.pages);
        PageSet expected;
        expected.add(run);
        expected -= held();
        expect_unheld(expected, [&](const auto& visit) { map->retire(run.first, run.pages, visit); });
    }
    void recycle(PageId first, std::uint64_t pages) {
        map->recycle(first, pages);
        pending.remove(first, pages);
    }
    void recycle_all() {
        for (PageId page = 0, end = pending.end(); page < end; ++page) {
            if (pending.contains(page)) recycle(page, 1);
        }
    }

    std::uint64_t pin() {
        map->pin(next_key);
        pins.push_back({next_key, now, {}});
        return next_key++;
    }
    void keep(std::size_t at, const PageRun& run) {
        map->keep(pins[at].key, run.first, run.pages);
        pins[at].kept.add(run);
    }
    void unpin(std::size_t at) {
        const Pin gone = pins[at];
        pins.erase(pins.begin() + static_cast<std::ptrdiff_t>(at));
        std::erase_if(stored, [&](const Stored& state) { return state.key == gone.key; });
        PageSet expected = gone.state.live;
        ((expected |= gone.kept) -= now.live) -= held();
        expect_unheld(expected, [&](const auto& visit) { map->unpin(gone.key, visit); });
    }
    void rewind() {
        const Pin& newest = pins.back();
        if (newest.saved_since) {
            EXPECT_THROW(map->rewind(newest.key, [](PageId, std::uint64_t) { FAIL(); }), CorruptionError);
            return;
        }
        const PageSet before = std::exchange(now, newest.state).live;
        PageSet expected = before;
        (expected -= now.live) -= held();
        expect_unheld(expected, [&](const auto& visit) { map->rewind(newest.key, visit); });
    }

    /// The pages of the map itself must be new ones. The state is pinned, as the next save wants it.
    void save() {
        const PageSet old = own();
        PageSet others = now.live;
        ((others -= old) |= held()) |= pending;
        PageSet written;
        const ExtentRef directory = map->save([&](PageId first, Bytes bytes) {
            disk.write(first, bytes);
            written.add(first, (bytes.size() + kPageSize - 1) / kPageSize);
        });
        const PageSet fresh = own();
        PageSet overwritten = others, misplaced = written;
        EXPECT_EQ(overwritten -= written, others) << "a page in use was overwritten";
        EXPECT_EQ(misplaced -= fresh, PageSet());
        (now.live -= old) |= fresh;
        if (written.size() > 0) {
            for (Pin& pin : pins) pin.saved_since = true;
        }
        const std::uint64_t key = pin();
        stored.push_back({key, now, directory, map->page_count()});
    }
    /// Whether unpinning breaks what the next save requires.
    bool needed(std::size_t at) const { return !stored.empty() && stored.back().key == pins[at].key; }

    /// Opens a stored state, with older ones that are still held, and perhaps everything below `all`.
    void open(std::size_t at, const std::vector<std::size_t>& older, std::optional<PageId> all) {
        std::vector<Stored> left;
        pins.clear();
        pending = {};
        now = stored[at].state;
        map = std::make_unique<SpaceMap>(disk.reader(), stored[at].directory, stored[at].page_count);
        for (const std::size_t i : older) {
            const Stored& state = stored[i];
            map->pin_stored(state.key, state.directory, state.page_count);
            pins.push_back({state.key, state.state, {}, true});
            left.push_back(state);
        }
        map->pin(stored[at].key);
        pins.push_back({stored[at].key, now, {}});
        left.push_back(stored[at]);
        stored = std::move(left);
        if (!all) return;
        map->pin_all(next_key, *all);
        pins.push_back({next_key++, now, {}});
        pins.back().kept.add(0, *all);
    }
    void trim() { EXPECT_EQ(map->trim(), std::max(busy().end(), kMetaPages)); }

    void check() {
        const PageSet expected = busy();
        ASSERT_EQ(map->live_pages(), now.live.size());
        ASSERT_LE(expected.end(), map->page_count());
        for (PageId page = 0; page < map->page_count() + 70; ++page) {
            ASSERT_EQ(map->live(page), now.live.contains(page)) << page;
            ASSERT_EQ(map->busy(page), expected.contains(page)) << page;
        }
        PageSet reached, needed = held();
        needed |= now.live;
        PageId last = 0;
        map->for_each_busy([&](PageId first, std::uint64_t pages) {
            EXPECT_TRUE(pages > 0 && first >= last) << first;
            last = first + pages;
            reached.add(first, pages);
        });
        ASSERT_EQ(reached, needed);
    }

private:
    bool is_busy(PageId page) const {
        const auto holds = [page](const Pin& pin) {
            return pin.state.live.contains(page) || pin.kept.contains(page);
        };
        return now.live.contains(page) || pending.contains(page) || std::ranges::any_of(pins, holds);
    }
    void add(const PageRun& run) {
        for (PageId page = run.first; page < run.first + run.pages; ++page) {
            EXPECT_FALSE(is_busy(page)) << "page " << page << " was handed out, but is in use";
        }
        now.live.add(run);
        now.runs.push_back(run);
    }
    PageSet own() const {
        PageSet pages;
        map->own_pages([&](PageId first, std::uint64_t count) { pages.add(first, count); });
        return pages;
    }
    template <class Action>
    void expect_unheld(const PageSet& expected, Action&& action) {
        PageSet seen;
        action([&](PageId first, std::uint64_t pages) {
            for (PageId page = first; page < first + pages; ++page) {
                EXPECT_FALSE(seen.contains(page)) << "page " << page << " twice";
                seen.add(page);
            }
            pending.add(first, pages);
            if (recycle_at_once) recycle(first, pages);
        });
        EXPECT_EQ(seen, expected);
    }
};

}  // namespace pyrsistence::test
