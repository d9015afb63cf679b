#include "storage/pager.hpp"

#include <chrono>
#include <thread>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/pager_fixture.hpp"

namespace pyrsistence::storage {
namespace {

/// Pages of the file as they are, behind the pager's back.
class PagerFileTest : public PagerTest {
protected:
    /// The page as the file has it; its checksum is checked.
    std::vector<std::byte> on_disk(PageId id) {
        std::vector<std::byte> page(kPageSize);
        EXPECT_EQ(file_->read(page, id * kPageSize), kPageSize);
        const std::uint64_t hash = XXH3_64bits_withSeed(page.data() + 4, kPageSize - 4, id);
        EXPECT_EQ(codec::load<std::uint32_t>(page.data()), static_cast<std::uint32_t>(hash)) << "page " << id;
        return page;
    }
    void corrupt(PageId id, std::size_t offset) {
        std::vector<std::byte> byte(1);
        file_->read(byte, id * kPageSize + offset);
        byte[0] ^= std::byte{1};
        file_->write(Bytes(byte), id * kPageSize + offset);
    }
};

TEST_F(PagerTest, NewPagesAreZeroedAndHaveAHeader) {
    auto pager = open({});
    PageId id = 0;
    for (int round = 0; round < 3; ++round) {
        pager->reserve();
        std::byte* page = pager->allocate(PageKind::inner, 3, id);
        EXPECT_EQ(page_kind(page), PageKind::inner);
        EXPECT_EQ(page_level(page), 3U);
        EXPECT_EQ(page_epoch(page), pager->epoch());
        EXPECT_TRUE(std::all_of(page + 16, page + kPageSize, [](std::byte b) { return b == std::byte{0}; }));
        fill(page, 99);
        EXPECT_EQ(pager->read(id), page);
        pager->release(id);
    }
    EXPECT_EQ(id, 2U);  // reused at once: no seal is held
    EXPECT_EQ(pager->live_pages(), 2U);
    EXPECT_EQ(pager->frames_in_use(), 0U);
}

TEST_F(PagerTest, ASealedPageMovesWhenWritten) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    EXPECT_EQ(change(*pager, id, 2), id);
    const PagerState first = pager->seal();
    EXPECT_EQ(pager->epoch(), first.epoch + 1);
    const PageId moved = change(*pager, id, 3);
    EXPECT_NE(moved, id);
    EXPECT_EQ(change(*pager, moved, 4), moved);
    EXPECT_TRUE(filled(pager->read(id), 2));
    EXPECT_TRUE(filled(pager->read(moved), 4));
    EXPECT_TRUE(pager->space().busy(id));
    EXPECT_FALSE(pager->space().live(id));
    pager->seal();
    pager->drop(first.epoch);
    EXPECT_FALSE(pager->space().busy(id));
}

/// What was read once is expected in memory, unless the file is larger than what stays there.
TEST_F(PagerTest, PeekingNeverWaits) {
    PagerState state;
    PageId id = 0;
    {
        auto pager = open({});
        id = add(*pager, 5);
        EXPECT_EQ(pager->peek(id), pager->read(id)) << "a frame";
        state = pager->seal();
        pager->write_all();
    }
    for (const bool large : {false, true}) {
        Pager pager(*file_, state, {.access = Access::read, .cache_memory = large ? 0 : UINT64_MAX});
        EXPECT_EQ(pager.peek(id), nullptr) << "not yet verified";
        const std::byte* page = pager.read(id);
        EXPECT_EQ(pager.peek(id), large ? nullptr : page);
        EXPECT_EQ(pager.peek(PageId{1} << 40), nullptr) << "no page at all";
        EXPECT_TRUE(filled(pager.read(id), 5));
    }
}

/// The kernel is told of pages in use where it may have to choose which to keep.
TEST_F(PagerTest, TouchesPagesOfFilesLargerThanMemory) {
    PagerState state;
    PageId id = 0;
    {
        auto pager = open({});
        id = add(*pager, 5);
        state = pager->seal();
        pager->write_all();
    }
    for (const bool large : {false, true}) {
        Pager pager(*file_, state, {.access = Access::read, .cache_memory = large ? 0 : UINT64_MAX});
        const unsigned before = file_->used;
        pager.touch(id);
        EXPECT_EQ(file_->used, before) << "not read: it may not be there";
        (void)pager.read(id);
        pager.touch(id, kPageSize - 1);
        pager.touch(PageId{1} << 40);
        EXPECT_EQ(file_->used - before, large ? 1u : 0u);
    }
    Pager pager(*file_, state, {.cache_memory = 0});
    const PageId moved = change(pager, id, 7);
    const unsigned before = file_->used;
    pager.touch(moved);
    EXPECT_EQ(file_->used, before) << "a frame";
}

TEST_F(PagerTest, PagesBornAfterTheLastHeldSealComeBackAtOnce) {
    auto pager = open({});
    PageId id = add(*pager, 0);
    checkpoint(*pager);
    const PageId before = pager->page_count();
    const std::uint64_t written = file_->written;
    for (Seed i = 0; i < 3000; ++i) {  // like small transactions: a seal each, dropped at its end
        const std::uint64_t savepoint = pager->mark();
        id = change(*pager, id, i);
        pager->drop(savepoint);
    }
    EXPECT_EQ(file_->written, written);
    EXPECT_TRUE(filled(pager->read(id), 2999));
    EXPECT_LT(pager->page_count(), before + 10);
    EXPECT_LT(pager->frames_in_use(), 10U);
}

TEST_F(PagerTest, CheckpointsSurviveReopening) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 1000; ++i) ids.push_back(add(*pager, i));
    const auto value = extent_content(100'000, 5);
    const ExtentRef extent = pager->write_extent(value);
    EXPECT_TRUE(pager->extents_outstanding());
    EXPECT_EQ(pager->extent_bytes_since_seal(), 100'000U);
    const PagerState state = checkpoint(*pager);
    EXPECT_FALSE(pager->extents_outstanding());
    EXPECT_EQ(pager->extent_bytes_since_seal(), 0U);
    EXPECT_EQ(pager->frames_in_use(), 0U);
    change(*pager, ids[5], 77);  // lost: no later checkpoint
    const std::uint64_t live = pager->live_pages();
    pager = open(state);
    for (Seed i = 0; i < 1000; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i));
    EXPECT_TRUE(same(pager->read_extent(extent), value));
    EXPECT_EQ(pager->live_pages(), live);
    EXPECT_EQ(pager->epoch(), state.epoch + 1);
}

TEST_F(PagerFileTest, CorruptionErrorsNameThePage) {
    auto pager = open({});
    const PageId id = add(*pager, 1), unhurt = add(*pager, 2);
    const ExtentRef extent = pager->write_extent(extent_content(20'000, 3));
    const PagerState state = checkpoint(*pager);
    corrupt(id, 2000);
    corrupt(extent.first + 4, 0);
    pager = open(state);
    try {
        pager->read(id);
        FAIL();
    } catch (const CorruptionError& error) {
        EXPECT_EQ(std::string(error.what()).find("page " + std::to_string(id) + " of data: checksum "), 0U);
    }
    EXPECT_THROW(pager->read_extent(extent), CorruptionError);
    EXPECT_TRUE(filled(pager->read(unhurt), 2));
    for (const PageId bad : {PageId{0}, PageId{1}, pager->page_count(), kMaxPages, ~PageId{0}}) {
        EXPECT_THROW(pager->read(bad), CorruptionError) << bad;
        PageId copy = bad;
        EXPECT_THROW(pager->write(copy), CorruptionError) << bad;
        EXPECT_THROW(pager->read_extent({bad, 5000, 0}), CorruptionError) << bad;
        EXPECT_THROW(pager->release(ExtentRef{bad, 5000, 0}), CorruptionError) << bad;
    }
    EXPECT_THROW(pager->read_extent({2, kMaxPages - 1, 0}), CorruptionError);
    corrupt(id, 2000);
    corrupt(id, 1);  // the checksum itself
    EXPECT_THROW(pager->read(id), CorruptionError);
}

TEST_F(PagerTest, APageIsNotAnExtent) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    const ExtentRef extent = pager->write_extent(extent_content(20'000, 3));
    EXPECT_THROW(pager->read(extent.first), CorruptionError);
    EXPECT_THROW(pager->read_extent({id, 100, 0}), CorruptionError);
    pager->release(id);
    EXPECT_THROW(pager->release(id), CorruptionError);
}

TEST_F(PagerTest, RefusesPagesFromTheFuture) {
    auto pager = open({});
    add(*pager, 1);
    PagerState early = checkpoint(*pager);
    const PageId id = add(*pager, 2);
    early.page_count = checkpoint(*pager).page_count;
    pager = open(early);
    EXPECT_THROW(pager->read(id), CorruptionError);
}

TEST_F(PagerTest, AsksTheValidatorOnce) {
    static int calls = 0;
    static PageId refused = 0;
    Pager::set_validator(PageKind::bucket, [](const std::byte*, PageId id, PageId count) {
        ++calls;
        if (id == refused || id >= count) throw CorruptionError("refused");
    });
    auto pager = open({});
    pager->reserve();
    PageId good = 0, bad = 0;
    pager->allocate(PageKind::bucket, 0, good);
    pager->allocate(PageKind::bucket, 0, bad);
    const PagerState state = checkpoint(*pager);
    pager = open(state);
    refused = bad;
    pager->read(good);
    pager->read(good);
    EXPECT_THROW(pager->read(bad), CorruptionError);
    EXPECT_THROW(pager->read(bad), CorruptionError);
    EXPECT_EQ(calls, 3);
    Pager::set_validator(PageKind::bucket, nullptr);
}

TEST_F(PagerFileTest, WritesOutOldFramesWhenTheArenaIsFull) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 5000; ++i) ids.push_back(add(*pager, i));
    EXPECT_LE(pager->frames_in_use(), pager->frame_capacity());
    EXPECT_GT(file_->written, 4000 * kPageSize);
    EXPECT_FALSE(pager->frames_scarce());
    for (Seed i = 0; i < 5000; ++i) {
        ASSERT_TRUE(filled(pager->read(ids[i]), i));
        ASSERT_EQ(change(*pager, ids[i], i + 1), ids[i]);  // still of this epoch
    }
    checkpoint(*pager);
    for (Seed i = 0; i < 5000; ++i) ASSERT_TRUE(filled(on_disk(ids[i]).data(), i + 1));
}

/// The largest number of pages that one call wrote, from the page `from` on; none crosses a multiple of `piece`.
std::size_t largest_write(TestFile& file, PageId from, std::size_t piece, const std::function<void()>& write) {
    std::size_t largest = 0;
    file.on_pieces = [&](std::uint64_t offset, std::size_t bytes) {
        const PageId first = offset / kPageSize;
        if (first < from) return;
        EXPECT_EQ(first / piece, (offset + bytes - 1) / kPageSize / piece);
        largest = std::max(largest, bytes / kPageSize);
    };
    write();
    file.on_pieces = nullptr;
    return largest;
}

TEST_F(PagerTest, PagesAreWrittenInAlignedPieces) {
    auto pager = open({}, 4096);
    for (Seed i = 0; i < 1500; ++i) add(*pager, i);
    EXPECT_EQ(largest_write(*file_, 0, 512, [&] { checkpoint(*pager); }), 512U);
}

TEST_F(PagerTest, PiecesAreSmallWhereFramesAreFew) {
    auto pager = open({});
    const PageId frames = pager->frame_capacity();
    const auto load = [&] {
        for (Seed i = 0; i < 4 * frames; ++i) add(*pager, i);
    };
    EXPECT_EQ(largest_write(*file_, frames, 16, load), 16U);
}

TEST_F(PagerTest, FramesOfAPendingCheckpointAreNotWrittenEarly) {
    auto pager = open({});
    for (Seed i = 0; i < 400; ++i) add(*pager, i);
    pager->seal();
    EXPECT_TRUE(pager->frames_scarce());
    const std::uint64_t before = file_->written;
    try {
        for (;;) {
            PageId id = 0;
            pager->reserve();
            for (int i = 0; i < 10; ++i) pager->allocate(PageKind::leaf, 0, id);
            if (file_->written > before + (1U << 20)) break;  // goes on with what it has
        }
    } catch (const StorageError& error) {
        EXPECT_EQ(error.code(), ENOMEM);
    }
    pager->write_sealed();
    pager->reserve();  // takes the written ones back
    EXPECT_LT(pager->frames_in_use(), 400U);
}

TEST_F(PagerTest, AFailedCheckpointCanBeRepeated) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 300; ++i) {
        ids.push_back(add(*pager, i));
        add(*pager, 0);
        pager->release(ids.back() + 1);  // leaves no gaps, but writes in pieces
    }
    pager->release(ids[100]);
    const PagerState state = pager->seal();
    file_->writes_until_failure = 1;
    EXPECT_THROW(pager->write_sealed(), StorageError);
    EXPECT_TRUE(pager->retire(1000));  // nothing was written for certain
    EXPECT_EQ(pager->frames_in_use(), 299U);
    const PageId moved = change(*pager, ids[0], 7);
    file_->writes_until_failure = -1;
    pager->write_sealed();
    EXPECT_FALSE(pager->retire(10));
    EXPECT_TRUE(pager->retire(1000));
    EXPECT_EQ(pager->frames_in_use(), 1U);
    EXPECT_TRUE(filled(pager->read(moved), 7));
    pager = open(state);
    for (Seed i = 0; i < 300; ++i) {
        if (i != 100) {
            ASSERT_TRUE(filled(pager->read(ids[i]), i)) << i;
        }
    }
}

TEST_F(PagerTest, SealedFramesAreWrittenAndFreedInSlices) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 100; ++i) ids.push_back(add(*pager, i));
    const PagerState state = pager->seal();
    EXPECT_FALSE(pager->write_sealed(40));
    EXPECT_TRUE(pager->retire(1000));
    EXPECT_EQ(pager->frames_in_use(), 60U);
    for (Seed i = 0; i < 100; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i)) << i;
    add(*pager, 100);
    pager->seal();  // joins what is still to be written
    EXPECT_FALSE(pager->write_sealed(40));
    EXPECT_TRUE(pager->write_sealed(40));
    EXPECT_TRUE(pager->write_sealed(40));
    EXPECT_TRUE(pager->retire(1000));
    EXPECT_EQ(pager->frames_in_use(), 0U);
    pager = open(state);
    for (Seed i = 0; i < 100; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i)) << i;
}

TEST_F(PagerTest, APageThatMayBeBeingWrittenIsNotReused) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    const PagerState first = pager->seal();
    pager->write_sealed();  // its frame is handed over, but not retired yet
    const PageId moved = change(*pager, id, 2);
    pager->seal();
    pager->drop(first.epoch);  // nobody can reach the old page
    EXPECT_TRUE(pager->space().busy(id));
    EXPECT_EQ(pager->frames_in_use(), 2U);
    EXPECT_TRUE(pager->retire(10));
    EXPECT_FALSE(pager->space().busy(id));
    EXPECT_EQ(pager->frames_in_use(), 1U);
    EXPECT_THROW(pager->read(id), CorruptionError);
    EXPECT_EQ(add(*pager, 3), id);
    EXPECT_TRUE(filled(pager->read(moved), 2));
}

TEST_F(PagerTest, AFullDiskChangesNothing) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    file_->full = true;
    const std::uint64_t live = pager->live_pages();
    EXPECT_THROW(pager->write_extent(extent_content(10 << 20, 1)), StorageError);
    EXPECT_THROW(pager->write_extent(extent_content(200 << 20, 1)), StorageError);  // more pages than have a state
    EXPECT_EQ(pager->live_pages(), live);
    int added = 0;
    EXPECT_THROW(
        for (;; ++added) {
            add(*pager, 5);
            ASSERT_LT(added, 100'000);
        },
        StorageError);
    EXPECT_TRUE(filled(pager->read(id), 1));
    file_->full = false;
    add(*pager, 6);
    EXPECT_EQ(pager->live_pages(), live + static_cast<unsigned>(added) + 1);
}

TEST_F(PagerTest, AFailedExtentGivesItsPagesBack) {
    auto pager = open({});
    file_->writes_until_failure = 0;
    EXPECT_THROW(pager->write_extent(extent_content(50'000, 1)), StorageError);
    file_->writes_until_failure = -1;
    EXPECT_EQ(pager->live_pages(), 2U);
    EXPECT_EQ(pager->write_extent(extent_content(50'000, 1)).first, 2U);
}

TEST_F(PagerTest, ExtentsOutliveTheNewestSeal) {
    auto pager = open({});
    const PagerState first = checkpoint(*pager);
    const auto value = extent_content(40'000, 1);
    const ExtentRef extent = pager->write_extent(value);
    pager->release(extent);  // written and released in one epoch: the log may name it
    EXPECT_TRUE(pager->space().busy(extent.first));
    pager->drop(pager->mark());
    EXPECT_TRUE(same(pager->read_extent(extent), value));
    const PagerState second = checkpoint(*pager);
    EXPECT_TRUE(pager->space().busy(extent.first));
    pager->drop(first.epoch);
    EXPECT_FALSE(pager->space().busy(extent.first));
    EXPECT_GT(second.epoch, first.epoch);
}

TEST_F(PagerTest, ExtentsMayBeCopiedFromTheMapping) {
    auto pager = open({});
    const auto value = extent_content(3 << 20, 1);
    ExtentRef extent = pager->write_extent(value);
    for (int i = 0; i < 40; ++i) extent = pager->write_extent(pager->read_extent(extent));  // outgrows it
    EXPECT_TRUE(same(pager->read_extent(extent), value));
    EXPECT_TRUE(pager->read_extent(pager->write_extent({})).empty());
}

TEST_F(PagerTest, ClaimsExtentsOfTheLog) {
    auto pager = open({});
    const PagerState state = checkpoint(*pager);
    const auto value = extent_content(40'000, 1);
    const ExtentRef extent = pager->write_extent(value);
    pager = open(state);
    pager->claim(extent);
    EXPECT_TRUE(same(pager->read_extent(extent), value));
    EXPECT_GE(pager->page_count(), extent.first + extent.pages());
    EXPECT_THROW(pager->claim(extent), CorruptionError);
    EXPECT_THROW(pager->claim({extent.first + 100'000, 10, 0}), CorruptionError);
    EXPECT_THROW(pager->claim({1, 10, 0}), CorruptionError);
    EXPECT_THROW(pager->claim({2, kMaxPages - 1, 0}), CorruptionError);
    pager = open(state, 0, Access::replay);
    pager->claim(extent);
    EXPECT_TRUE(same(pager->read_extent(extent), value));
}

TEST_F(PagerTest, ReplayWritesInMemoryOnly) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 200; ++i) ids.push_back(add(*pager, i));
    const PagerState state = checkpoint(*pager);
    const std::uint64_t size = file_->size(), written = file_->written;
    pager = open(state, 0, Access::replay);
    for (Seed i = 0; i < 200; ++i) ids[i] = change(*pager, ids[i], i + 1);
    for (Seed i = 200; i < 20'000; ++i) ids.push_back(add(*pager, i + 1));  // far beyond the file's end
    const auto value = extent_content(70'000, 9);
    const ExtentRef extent = pager->write_extent(value);
    pager->write_all();
    pager->seal();
    pager->write_sealed();
    EXPECT_TRUE(pager->retire(1));
    for (Seed i = 0; i < 20'000; ++i) ids[i] = change(*pager, ids[i], i + 2);
    for (Seed i = 0; i < 20'000; ++i) ASSERT_TRUE(filled(pager->read(ids[i]), i + 2));
    EXPECT_TRUE(same(pager->read_extent(extent), value));
    pager->release(extent);
    pager->trim();
    EXPECT_EQ(file_->size(), size);
    EXPECT_EQ(file_->written, written);
}

/// A pager whose file two seals have lengthened by as much each; the second one is still to be written.
class PagerRoomTest : public PagerTest {
protected:
    static constexpr Seed kGrowth = 5'000;  ///< in pages; more than any file of a few times as many grows by alone

    void SetUp() override {
        PagerTest::SetUp();
        pager_ = open({}, 4 * kGrowth);
        grow(kGrowth);
        checkpoint(*pager_);
        grow(kGrowth);
        pager_->seal();
    }
    void grow(Seed pages) {
        for (Seed i = 0; i < pages; ++i) add(*pager_, i);
    }
    std::uint64_t pages() const { return file_->size() / kPageSize; }

    std::unique_ptr<Pager> pager_;
};

TEST_F(PagerRoomTest, WhoWritesTheSealLengthensTheFile) {
    write_back(*pager_);
    const std::uint64_t ready = pages();
    EXPECT_GE(ready, pager_->page_count() + kGrowth);
    pager_->trim();
    EXPECT_EQ(pages(), ready);  // it is needed soon
    const unsigned before = file_->lengthened;
    grow(kGrowth - 2 * Pager::kStepFrames);
    EXPECT_EQ(file_->lengthened, before);
    grow(2 * kGrowth);
    EXPECT_GT(file_->lengthened, before);
    pager_->trim(true);
    EXPECT_EQ(pages(), pager_->page_count());
}

TEST_F(PagerRoomTest, ItIsMadeAgainWhileTheSealIsWritten) {
    pager_->write_sealed(kGrowth / 2);
    grow(kGrowth - 2 * Pager::kStepFrames);
    EXPECT_LT(pages(), pager_->page_count() + kGrowth / 2);
    while (!pager_->retire(100)) {
    }
    pager_->write_sealed();
    EXPECT_GE(pages(), pager_->page_count() + kGrowth);
}

TEST_F(PagerRoomTest, AFullDiskIsNoErrorBeforeSomebodyNeedsTheRoom) {
    file_->full = true;
    write_back(*pager_);
    const auto grow_beyond = [this] { grow(2 * kGrowth); };
    EXPECT_THROW(grow_beyond(), StorageError);
    file_->full = false;
    grow_beyond();
}

TEST_F(PagerRoomTest, NoneIsMadeBehindATailThatWasCutOff) {
    pager_->trim(true);
    const unsigned before = file_->lengthened;
    pager_->write_sealed();
    EXPECT_EQ(file_->lengthened, before);
    EXPECT_EQ(pages(), pager_->page_count());
}

TEST_F(PagerRoomTest, TheFileIsNotCutWhileItIsLengthened) {
    std::thread other;
    std::atomic<bool> done = false;
    file_->on_allocate = [&] {
        other = std::thread([&] {
            pager_->trim(true);
            done = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        EXPECT_FALSE(done);
    };
    pager_->write_sealed();
    other.join();
    EXPECT_EQ(pages(), pager_->page_count());
    const unsigned before = file_->lengthened;
    grow(2 * Pager::kStepFrames);
    EXPECT_GT(file_->lengthened, before);
}

TEST_F(PagerTest, TrimCutsTheFileAndTheOldStateStillOpens) {
    auto pager = open({});
    const PageId first = add(*pager, 1);
    std::vector<PageId> ids;
    for (Seed i = 0; i < 20'000; ++i) ids.push_back(add(*pager, i));
    const PagerState full = checkpoint(*pager);
    const PageId far = ids.back();
    for (const PageId id : ids) pager->release(id);
    const PagerState pinned = checkpoint(*pager);
    pager->drop(full.epoch);
    pager->trim();  // the space map itself lies at the end
    const PagerState state = checkpoint(*pager);
    pager->drop(pinned.epoch);
    pager->trim();
    EXPECT_LT(file_->size(), 8U << 20);
    EXPECT_GE(file_->size(), pager->page_count() * kPageSize);
    pager->trim(true);
    EXPECT_EQ(file_->size(), pager->page_count() * kPageSize);
    EXPECT_THROW(pager->read(far), CorruptionError);
    // The durable state was made before the tail was cut, so its page count is larger.
    EXPECT_GT(state.page_count, file_->size() / kPageSize);
    pager = open(state);
    EXPECT_TRUE(filled(pager->read(first), 1));
    for (Seed i = 0; i < 1000; ++i) add(*pager, i);
    EXPECT_LT(file_->size(), 8U << 20);
    file_->truncate(3 * kPageSize);
    EXPECT_THROW(open(state), CorruptionError);
}

}  // namespace
}  // namespace pyrsistence::storage
