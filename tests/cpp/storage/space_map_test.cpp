#include "storage/space_map.hpp"

#include <random>

#include "storage/space_map_model.hpp"

namespace pyrsistence::storage {
namespace {

using test::PageRun;
using Model = test::SpaceModel;

constexpr PageId kGroup = SpaceMap::kGroupPages;

void ignore(PageId, std::uint64_t) {}

TEST(SpaceMap, HandsOutTheLowestPage) {
    Model model;
    model.recycle_at_once = false;
    EXPECT_EQ(model.allocate(1), 2U);
    EXPECT_EQ(model.allocate(1), 3U);
    EXPECT_EQ(model.allocate(10), 4U);
    EXPECT_EQ(model.map->page_count(), 14U);
    model.retire({2, 1});
    EXPECT_EQ(model.allocate(1), 14U);  // dead, but busy
    model.recycle(2, 1);
    EXPECT_EQ(model.allocate(1), 2U);
    model.retire({5, 4});
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
    const auto refused = [&](PageId first, std::uint64_t pages) {
        EXPECT_THROW(model.map->retire(first, pages, ignore), CorruptionError) << first;
    };
    refused(4, 2);
    refused(0, 1);
    refused(4, kMaxPages);
    model.retire({3, 1});
    refused(3, 1);
    refused(2, 3);
    model.pin();
    model.retire({4, 1});
    refused(4, 1);  // held, but dead
    model.check();
}

TEST(SpaceMap, ReusesRunsLongerThanAGroup) {
    Model model;
    const std::uint64_t pages = kGroup + 1000;
    const PageId first = model.allocate(pages), second = model.allocate(pages);
    EXPECT_EQ(second, first + pages);
    model.retire({first, pages});
    EXPECT_EQ(model.allocate(pages), first);
    EXPECT_EQ(model.map->page_count(), second + pages);
    model.check();
}

TEST(SpaceMap, ClaimsExactRuns) {
    Model model;
    model.claim(40000, 100);
    EXPECT_EQ(model.map->page_count(), 40100U);
    model.claim(40099, 2);
    model.claim(1, 2);
    EXPECT_FALSE(model.map->claim(kMaxPages, 1));
    EXPECT_FALSE(model.map->claim(5, kMaxPages));
    model.claim(40100, 1);
    EXPECT_EQ(model.map->live_pages(), 2U + 101U);
}

TEST(SpaceMap, TrimsBehindTheLastBusyPage) {
    Model model;
    model.recycle_at_once = false;
    const PageId far = model.allocate(100'000);
    EXPECT_EQ(model.map->trim(), far + 100'000);
    model.retire({far + 5, 99'995});
    EXPECT_EQ(model.map->trim(), far + 100'000);  // dead pages count
    model.recycle(far + 5, 99'995);
    EXPECT_EQ(model.map->trim(), far + 5);
    model.retire({far, 5});
    model.recycle(far, 5);
    EXPECT_EQ(model.map->trim(), kMetaPages);
}

TEST(SpaceMap, KeepsTheMapSmallAfterTheTailIsGone) {
    Model model;
    model.allocate(200'000);
    model.save();
    EXPECT_EQ(model.stored.back().directory.bytes, 7 * 20U);
    model.retire({2, 200'000});
    for (int round = 0; round < 4; ++round) {  // the map's own pages lie at the end and move down
        model.save();
        while (model.pins.size() > 1) model.unpin(0);
        model.trim();
    }
    EXPECT_EQ(model.stored.back().directory.bytes, 20U);
    EXPECT_LT(model.map->page_count(), 20U);
    model.check();
    model.save();
    model.open(model.stored.size() - 1, {}, {});
    model.check();
}

TEST(SpaceMap, SaveWithoutChangesWritesNothing) {
    Model model;
    model.allocate(3);
    model.save();
    const std::size_t written = model.disk.pages.size();
    model.disk.pages.clear();
    model.save();
    EXPECT_TRUE(model.disk.pages.empty());
    EXPECT_GT(written, 0U);
    EXPECT_EQ(model.stored[0].directory, model.stored[1].directory);
}

TEST(SpaceMap, NamesTheDamagedPage) {
    Model model;
    model.allocate(1000);
    model.save();
    const ExtentRef directory = model.stored[0].directory;
    const auto open = [&](const ExtentRef& place, PageId pages) {
        SpaceMap(model.disk.reader(), place, pages).allocate(1);
    };
    const auto pin = [&](const ExtentRef& place, PageId pages) {
        SpaceMap(model.disk.reader()).pin_stored(7, place, pages);
    };
    const PageId count = model.map->page_count();
    for (auto& [page, bytes] : model.disk.pages) {
        const std::byte kept = std::exchange(bytes[3], bytes[3] ^ std::byte{4});
        for (const bool pinned : {false, true}) {
            try {
                if (pinned) pin(directory, count);
                else open(directory, count);
                FAIL() << "not noticed on page " << page;
            } catch (const CorruptionError& error) {
                EXPECT_NE(std::string(error.what()).find("page " + std::to_string(page)), std::string::npos)
                    << error.what();
            }
        }
        bytes[3] = kept;
    }
    EXPECT_NO_THROW(open(directory, count));
    EXPECT_NO_THROW(pin(directory, count));
    const std::pair<ExtentRef, PageId> wrong[] = {
        {directory, count - 1},  // a page in use behind the end
        {directory, count + kGroup},
        {{0, 20, 0}, count},
        {{count, 20, directory.checksum}, count},
        {{2, UINT64_MAX, 0}, count},
    };
    for (const auto& [place, pages] : wrong) {
        EXPECT_THROW(open(place, pages), CorruptionError);
        EXPECT_THROW(pin(place, pages), CorruptionError);
    }
}

// --- pins

TEST(SpaceMap, APinKeepsWhatWasLive) {
    Model model;
    const PageId first = model.allocate(10);
    model.pin();
    const PageId later = model.allocate(10);
    model.retire({first, 10});
    EXPECT_EQ(model.allocate(10), later + 10);
    model.retire({later, 10});  // nobody keeps it
    EXPECT_EQ(model.allocate(10), later);
    model.check();
    model.unpin(0);
    EXPECT_EQ(model.allocate(10), first);
    model.check();
}

TEST(SpaceMap, RewindsToInnerAndOuterPins) {
    Model model;
    model.allocate(kGroup + 10);
    model.pin();
    model.retire({kGroup - 5, 10});
    model.allocate(3);
    model.pin();
    model.retire({7, 4});
    model.allocate(2 * kGroup);
    model.retire({kGroup + 5, 2});
    model.rewind();
    model.check();
    model.allocate(100);
    model.rewind();
    model.check();
    model.unpin(1);
    model.check();
    model.allocate(5);
    model.rewind();
    model.check();
    model.rewind();  // to where it is
    model.unpin(0);
    model.check();
    EXPECT_EQ(model.held(), test::PageSet());
}

/// What a checkpoint kept for its log was taken for live when the map went back to it, and passed on to
/// the pins before it.
TEST(SpaceMap, KeptPagesAreNeitherLiveNorOfOtherPins) {
    Model model;
    model.allocate(5);
    model.pin();
    model.pin();
    const PageId extent = model.allocate(8);
    model.keep(1, {extent, 8});
    model.rewind();
    model.check();
    EXPECT_FALSE(model.map->live(extent));
    EXPECT_TRUE(model.map->busy(extent));
    model.unpin(1);
    model.check();
    EXPECT_FALSE(model.map->busy(extent));
}

/// A group that is empty in an older stored state and now, but not in between, counted as the older one's.
TEST(SpaceMap, StoredStatesDoNotInheritFromEachOther) {
    Model model;
    model.allocate(5);
    model.save();
    model.claim(2 * kGroup, 50);
    model.save();
    model.retire({2 * kGroup, 50});
    model.save();
    model.open(2, {0, 1}, {});
    model.check();
    model.unpin(1);
    model.check();
    EXPECT_FALSE(model.map->busy(2 * kGroup));
}

TEST(SpaceMap, KeepsEverythingOfUnknownOwners) {
    Model model;
    model.allocate(1000);
    model.save();
    model.open(0, {}, kGroup + 30);
    EXPECT_EQ(model.allocate(1), kGroup + 30);
    model.retire({2, 1000});
    model.check();
    model.unpin(1);
    model.check();
    model.pin();
    EXPECT_LT(model.allocate(2000), kGroup);
    model.check();
}

/// Its own pages are those of the later save, which an earlier state knows nothing of.
TEST(SpaceMap, RefusesToGoBackBehindASave) {
    Model model;
    model.allocate(1000);
    model.save();
    model.pin();
    model.allocate(1);
    model.save();
    model.unpin(2);
    model.rewind();  // throws
    model.check();
    model.open(0, {}, {});
    model.allocate(1);
    model.save();
    model.open(1, {0}, {});
    model.unpin(1);
    model.rewind();  // throws
    model.check();
}

/// Dropping a pin touched groups that the last save had cut off.
TEST(SpaceMap, DropsPinsThatRememberGroupsBehindTheEnd) {
    Model model;
    model.allocate(10);
    model.pin();
    model.claim(5 * kGroup, 10);
    model.pin();
    model.keep(1, {5 * kGroup + 3, 4});
    model.retire({5 * kGroup, 10});
    model.unpin(1);
    model.trim();
    model.save();
    EXPECT_LT(model.map->page_count(), 20U);
    model.unpin(0);
    model.check();
    model.claim(5 * kGroup, 10);
    model.check();
}

TEST(SpaceMap, CoversStoredStatesThatReachFurther) {
    Model model;
    model.allocate(10);
    model.save();
    model.allocate(2 * kGroup);
    model.save();
    SpaceMap map(model.disk.reader(), model.stored[0].directory, model.stored[0].page_count);
    map.pin_stored(7, model.stored[1].directory, model.stored[1].page_count);
    EXPECT_EQ(map.page_count(), model.stored[1].page_count);
    EXPECT_TRUE(map.busy(2 * kGroup));
    EXPECT_FALSE(map.live(2 * kGroup));
    EXPECT_GT(map.allocate(10), 2 * kGroup);
}

}  // namespace
}  // namespace pyrsistence::storage
