#include "storage/space_map.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>

namespace pyrsistence::storage {
namespace {

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

/// A map and what it should say.
struct Model {
    Disk disk;
    std::unique_ptr<SpaceMap> map = std::make_unique<SpaceMap>(disk.reader());
    std::set<PageId> live{0, 1}, busy{0, 1};
    ExtentRef directory;

    void add(PageId first, std::uint64_t pages) {
        for (PageId p = first; p < first + pages; ++p) {
            ASSERT_TRUE(busy.insert(p).second) << "page " << p << " handed out twice";
            live.insert(p);
        }
    }
    void remove(std::set<PageId>& from, PageId first, std::uint64_t pages) {
        for (PageId p = first; p < first + pages; ++p) ASSERT_EQ(from.erase(p), 1U) << p;
    }
    PageId allocate(std::uint64_t pages) {
        const PageId first = map->allocate(pages);
        add(first, pages);
        return first;
    }
    void retire(PageId first, std::uint64_t pages) {
        map->retire(first, pages);
        remove(live, first, pages);
    }
    void recycle(PageId first, std::uint64_t pages) {
        map->recycle(first, pages);
        remove(busy, first, pages);
    }
    /// Saves; the map's own pages are found by asking the map. Returns the dead runs.
    std::vector<std::pair<PageId, std::uint64_t>> save() {
        std::vector<std::pair<PageId, std::uint64_t>> dead;
        std::map<PageId, std::uint64_t> written;
        const auto write = [&](PageId first, Bytes bytes) {
            disk.write(first, bytes);
            written[first] = (bytes.size() + kPageSize - 1) / kPageSize;
        };
        directory = map->save(write, [&](PageId first, std::uint64_t n) { dead.emplace_back(first, n); });
        for (const auto& [first, pages] : dead) remove(live, first, pages);
        for (const auto& [first, pages] : written) add(first, pages);
        return dead;
    }
    void reload() {
        const PageId count = map->page_count();
        map = std::make_unique<SpaceMap>(disk.reader(), directory, count);
        busy = live;
    }
    void check() {
        ASSERT_EQ(map->live_pages(), live.size());
        ASSERT_LE(*busy.rbegin(), map->page_count() - 1);
        for (PageId p = 0; p < map->page_count() + 5; ++p) {
            ASSERT_EQ(map->live(p), live.contains(p)) << p;
            ASSERT_EQ(map->busy(p), busy.contains(p)) << p;
        }
    }
};

TEST(SpaceMap, HandsOutTheLowestPage) {
    Model model;
    EXPECT_EQ(model.allocate(1), 2U);
    EXPECT_EQ(model.allocate(1), 3U);
    EXPECT_EQ(model.allocate(10), 4U);
    EXPECT_EQ(model.map->page_count(), 14U);
    model.retire(2, 1);
    EXPECT_EQ(model.allocate(1), 14U);  // dead, but busy
    model.recycle(2, 1);
    EXPECT_EQ(model.allocate(1), 2U);
    model.retire(5, 4);
    model.recycle(5, 4);
    EXPECT_EQ(model.allocate(5), 15U);
    EXPECT_EQ(model.allocate(3), 5U);
    EXPECT_EQ(model.allocate(2), 20U);
    EXPECT_EQ(model.allocate(1), 8U);
    model.check();
}

TEST(SpaceMap, RefusesToRetireTwice) {
    Model model;
    model.allocate(3);
    EXPECT_THROW(model.map->retire(4, 2), CorruptionError);
    EXPECT_THROW(model.map->retire(0, 1), CorruptionError);
    EXPECT_THROW(model.map->retire(4, kMaxPages), CorruptionError);
    model.retire(3, 1);
    EXPECT_THROW(model.map->retire(3, 1), CorruptionError);
    EXPECT_THROW(model.map->retire(2, 3), CorruptionError);
    model.check();
}

TEST(SpaceMap, ReusesRunsLongerThanAGroup) {
    Model model;
    const std::uint64_t pages = SpaceMap::kGroupPages + 1000;
    const PageId first = model.map->allocate(pages), second = model.map->allocate(pages);
    EXPECT_EQ(second, first + pages);
    model.map->retire(first, pages);
    model.map->recycle(first, pages);
    EXPECT_EQ(model.map->allocate(pages), first);
    EXPECT_EQ(model.map->page_count(), second + pages);
    EXPECT_EQ(model.map->live_pages(), 2 + 2 * pages);
}

TEST(SpaceMap, ClaimsExactRuns) {
    Model model;
    EXPECT_TRUE(model.map->claim(40000, 100));
    EXPECT_EQ(model.map->page_count(), 40100U);
    EXPECT_FALSE(model.map->claim(40099, 2));
    EXPECT_FALSE(model.map->claim(1, 2));
    EXPECT_FALSE(model.map->claim(kMaxPages, 1));
    EXPECT_FALSE(model.map->claim(5, kMaxPages));
    EXPECT_TRUE(model.map->claim(40100, 1));
    EXPECT_EQ(model.map->live_pages(), 2U + 101U);
}

TEST(SpaceMap, TrimsBehindTheLastBusyPage) {
    Model model;
    const PageId far = model.allocate(100'000);
    EXPECT_EQ(model.map->trim(), far + 100'000);
    model.map->retire(far + 5, 99'995);
    EXPECT_EQ(model.map->trim(), far + 100'000);  // dead pages count
    model.map->recycle(far + 5, 99'995);
    EXPECT_EQ(model.map->trim(), far + 5);
    model.map->retire(far, 5);
    model.map->recycle(far, 5);
    EXPECT_EQ(model.map->trim(), kMetaPages);
}

TEST(SpaceMap, KeepsTheMapSmallAfterTheTailIsGone) {
    Model model;
    model.allocate(200'000);
    auto dead = model.save();
    EXPECT_EQ(model.directory.bytes, 7 * 20U);
    model.retire(2, 200'000);
    model.recycle(2, 200'000);
    for (int round = 0; round < 3; ++round) {  // the map's own pages lie at the end and move down
        for (const auto& [first, pages] : dead) model.recycle(first, pages);
        dead = model.save();
        model.map->trim();
    }
    EXPECT_EQ(model.directory.bytes, 20U);
    EXPECT_LT(model.map->page_count(), 20U);
    model.check();
    model.reload();
    model.check();
}

TEST(SpaceMap, SaveWithoutChangesWritesNothing) {
    Model model;
    model.allocate(3);
    model.save();
    const ExtentRef before = model.directory;
    EXPECT_TRUE(model.save().empty());
    EXPECT_EQ(model.directory, before);
}

TEST(SpaceMap, NamesTheDamagedPage) {
    Model model;
    model.allocate(1000);
    model.save();
    const auto block = model.disk.pages.begin();
    for (auto& [page, bytes] : model.disk.pages) {
        const std::byte kept = std::exchange(bytes[3], bytes[3] ^ std::byte{4});
        try {
            SpaceMap damaged(model.disk.reader(), model.directory, model.map->page_count());
            damaged.allocate(1);
            FAIL() << "not noticed on page " << page;
        } catch (const CorruptionError& error) {
            EXPECT_NE(std::string(error.what()).find("page " + std::to_string(page)), std::string::npos)
                << error.what();
        }
        bytes[3] = kept;
    }
    EXPECT_NE(block, model.disk.pages.end());
    const auto open = [&](const ExtentRef& directory, PageId pages) {
        SpaceMap(model.disk.reader(), directory, pages).allocate(1);
    };
    const PageId count = model.map->page_count();
    EXPECT_NO_THROW(open(model.directory, count));
    EXPECT_THROW(open(model.directory, count - 1), CorruptionError);  // a page in use behind the end
    EXPECT_THROW(open(model.directory, count + SpaceMap::kGroupPages), CorruptionError);
    EXPECT_THROW(open({0, 20, 0}, count), CorruptionError);
    EXPECT_THROW(open({count, 20, model.directory.checksum}, count), CorruptionError);
    EXPECT_THROW(open({2, UINT64_MAX, 0}, count), CorruptionError);
}

/// Random steps against sets, with runs short and long, in files of several groups.
void random_steps(unsigned seed, int steps, std::uint64_t longest) {
    std::mt19937_64 random(seed);
    Model model;
    std::vector<std::pair<PageId, std::uint64_t>> runs, dead;
    const auto pick = [&](auto& from) {
        const std::size_t i = random() % from.size();
        const auto run = from[i];
        from[i] = from.back();
        from.pop_back();
        return run;
    };
    for (int step = 0; step < steps; ++step) {
        const bool grow = step / 4000 % 2 == 0;
        const unsigned choice = static_cast<unsigned>(random() % 100);
        if (choice < (grow ? 60 : 30)) {
            const std::uint64_t pages = random() % 3 != 0 ? 1 : 1 + random() % longest;
            runs.emplace_back(model.allocate(pages), pages);
        } else if (choice < 80 && !runs.empty()) {
            const auto run = pick(runs);
            model.retire(run.first, run.second);
            dead.push_back(run);
        } else if (choice < 98 && !dead.empty()) {
            const auto run = pick(dead);
            model.recycle(run.first, run.second);
        } else if (random() % 20 == 0) {
            for (const auto& run : model.save()) dead.push_back(run);
            if (random() % 4 == 0) {
                model.reload();
                dead.clear();
            }
        } else if (random() % 20 == 0) {
            model.map->trim();
        }
        ASSERT_EQ(model.map->live_pages(), model.live.size());
        if (::testing::Test::HasFatalFailure()) return;
    }
    model.save();
    model.check();
    model.reload();
    model.check();
}

TEST(SpaceMap, RandomStepsWithShortRuns) { random_steps(1, 150'000, 8); }
TEST(SpaceMap, RandomStepsWithMiddleRuns) { random_steps(2, 60'000, 100); }
TEST(SpaceMap, RandomStepsWithLongRuns) { random_steps(3, 4'000, 9'000); }

}  // namespace
}  // namespace pyrsistence::storage
