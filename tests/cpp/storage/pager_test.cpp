#include "storage/pager.hpp"

#define XXH_INLINE_ALL
#include <gtest/gtest.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <map>
#include <random>
#include <set>

namespace pyrsistence::storage {
namespace {

namespace fs = std::filesystem;

/// Passes everything on, but fails when told to, and counts bytes.
class TestFile final : public os::File {
public:
    explicit TestFile(std::unique_ptr<os::File> file) : file_(std::move(file)) {}

    std::atomic<int> writes_until_failure = -1;
    std::atomic<bool> full = false;
    std::atomic<std::uint64_t> written = 0;

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        return file_->read(buffer, offset);
    }
    void write(Bytes bytes, std::uint64_t offset) override {
        count(bytes.size());
        file_->write(bytes, offset);
    }
    void write(std::span<const Bytes> parts, std::uint64_t offset) override {
        for (const Bytes part : parts) count(part.size());
        file_->write(parts, offset);
    }
    void sync() override { file_->sync(); }
    void allocate(std::uint64_t offset, std::uint64_t length) override {
        if (full) throw StorageError("test: disk full", ENOSPC);
        file_->allocate(offset, length);
    }
    void truncate(std::uint64_t size) override { file_->truncate(size); }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        return file_->map(offset, length, access);
    }
    bool try_lock(std::uint64_t offset, os::Lock lock) override { return file_->try_lock(offset, lock); }
    void unlock(std::uint64_t offset) override { file_->unlock(offset); }
    Identity identity() const override { return file_->identity(); }
    void abandon() noexcept override { file_->abandon(); }

private:
    void count(std::size_t bytes) {
        written += bytes;
        if (writes_until_failure >= 0 && writes_until_failure-- == 0) throw StorageError("test: EIO", EIO);
    }
    std::unique_ptr<os::File> file_;
};

using Seed = std::uint32_t;

void fill(std::byte* page, Seed seed) {
    for (std::size_t i = sizeof(PageHeader); i < kPageSize; i += 4) {
        codec::store<std::uint32_t>(page + i, seed++);
    }
}
bool filled(const std::byte* page, Seed seed) {
    for (std::size_t i = sizeof(PageHeader); i < kPageSize; i += 4) {
        if (codec::load<std::uint32_t>(page + i) != seed++) return false;
    }
    return true;
}
std::vector<std::byte> extent_content(std::size_t size, Seed seed) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i * 7 + i / 256);
    return bytes;
}
bool same(Bytes a, Bytes b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0; }

class PagerTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "pyrsistence-pager-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
        file_ = std::make_unique<TestFile>(os::FileSystem::posix().create(directory_ / "data"));
        file_->truncate(kMetaPages * kPageSize);
    }
    void TearDown() override { fs::remove_all(directory_); }

    std::unique_ptr<Pager> open(const PagerState& state, std::size_t frames = 0, bool read_only = false) {
        return std::make_unique<Pager>(*file_, state, Pager::Options{frames * kPageSize, read_only});
    }
    static PageId add(Pager& pager, Seed seed) {
        pager.reserve();
        PageId id = 0;
        fill(pager.allocate(PageKind::leaf, 0, id), seed);
        return id;
    }
    static PageId change(Pager& pager, PageId id, Seed seed) {
        pager.reserve();
        fill(pager.write(id), seed);
        return id;
    }
    static PagerState checkpoint(Pager& pager) {
        const PagerState state = pager.seal();
        pager.write_sealed();
        pager.sync();
        while (!pager.retire(100)) {
        }
        pager.drop(0);  // the seal of a new file
        return state;
    }
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

    fs::path directory_;
    std::unique_ptr<TestFile> file_;
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

TEST_F(PagerTest, PagesBornAfterTheLastHeldSealComeBackAtOnce) {
    auto pager = open({});
    PageId id = add(*pager, 0);
    checkpoint(*pager);
    const PageId before = pager->page_count();
    for (Seed i = 0; i < 3000; ++i) {  // like small transactions: a seal each, dropped at its end
        const PagerState savepoint = pager->seal();
        id = change(*pager, id, i);
        pager->drop(savepoint.epoch);
    }
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

TEST_F(PagerTest, CorruptionErrorsNameThePage) {
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

TEST_F(PagerTest, WritesOutOldFramesWhenTheArenaIsFull) {
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
    EXPECT_EQ(add(*pager, 3), id);
    EXPECT_TRUE(filled(pager->read(moved), 2));
}

TEST_F(PagerTest, AFullDiskChangesNothing) {
    auto pager = open({});
    const PageId id = add(*pager, 1);
    file_->full = true;
    const std::uint64_t live = pager->live_pages();
    EXPECT_THROW(pager->write_extent(extent_content(10 << 20, 1)), StorageError);
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
    const PagerState snapshot = pager->seal();
    pager->drop(snapshot.epoch);
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
    pager = open(state, 0, true);
    pager->claim(extent);
    EXPECT_TRUE(same(pager->read_extent(extent), value));
}

TEST_F(PagerTest, ReadOnlyPagersWriteInMemoryOnly) {
    auto pager = open({});
    std::vector<PageId> ids;
    for (Seed i = 0; i < 200; ++i) ids.push_back(add(*pager, i));
    const PagerState state = checkpoint(*pager);
    const std::uint64_t size = file_->size(), written = file_->written;
    pager = open(state, 0, true);
    for (Seed i = 0; i < 200; ++i) ids[i] = change(*pager, ids[i], i + 1);
    for (Seed i = 200; i < 20'000; ++i) ids.push_back(add(*pager, i + 1));  // far beyond the file's end
    const auto value = extent_content(70'000, 9);
    const ExtentRef extent = pager->write_extent(value);
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

/// Pages and extents as they should be, and copies of them at each seal that is held.
struct World {
    struct PageSlot {
        PageId id;
        Seed seed;
    };
    struct ExtentSlot {
        ExtentRef ref;
        Seed seed;
    };
    std::vector<PageSlot> pages;
    std::vector<ExtentSlot> extents;

    template <class T>
    static T take(std::vector<T>& from, std::size_t i) {
        const T taken = from[i];
        from[i] = from.back();
        from.pop_back();
        return taken;
    }
    std::uint64_t size() const {
        std::uint64_t count = pages.size();
        for (const ExtentSlot& extent : extents) count += extent.ref.pages();
        return count;
    }
    void check(Pager& pager) const {
        for (const PageSlot& page : pages) ASSERT_TRUE(filled(pager.read(page.id), page.seed)) << page.id;
        for (const ExtentSlot& extent : extents) {
            ASSERT_TRUE(same(pager.read_extent(extent.ref), extent_content(extent.ref.bytes, extent.seed)));
        }
    }
};

class PagerModelTest : public PagerTest {
protected:
    struct Seal {
        PagerState state;
        World world;
        bool durable = false;
    };

    void one_change() {
        pager_->reserve();
        const std::uint64_t choice = random_() % 100;
        auto& [pages, extents] = world_;
        if (choice < 25 || pages.size() < 10) {
            pages.push_back({add(*pager_, ++seed_), seed_});
        } else if (choice < 75) {
            auto& slot = pages[random_() % pages.size()];
            slot = {change(*pager_, slot.id, ++seed_), seed_};
        } else if (choice < (pages.size() > 1500 ? 98U : 93U)) {
            pager_->release(World::take(pages, random_() % pages.size()).id);
        } else if (choice < 99 && !extents.empty() && (extents.size() > 20 || random_() % 2 == 0)) {
            pager_->release(World::take(extents, random_() % extents.size()).ref);
        } else {
            const auto bytes = extent_content(1 + random_() % 90'000, ++seed_);
            extents.push_back({pager_->write_extent(bytes), seed_});
        }
    }
    void seal() {
        const PagerState state = pager_->seal();
        seals_.push_back({state, world_});
        count_map_pages(state.space_map);
    }
    /// The space map's own pages, as its directory in the file has them.
    void count_map_pages(const ExtentRef& directory) {
        std::vector<std::byte> bytes(directory.bytes);
        file_->read(bytes, directory.first * kPageSize);
        map_pages_ = directory.pages();
        for (std::size_t i = 0; i < bytes.size(); i += 20) map_pages_ += codec::load48(bytes.data() + i) != 0;
    }
    void start_checkpoint() {
        if (thread_.valid()) return;
        seal();
        checkpoint_epoch_ = seals_.back().state.epoch;
        thread_ = std::async(std::launch::async, [this] {
            pager_->write_sealed();
            pager_->sync();
        });
    }
    void end_checkpoint() {
        if (!thread_.valid()) return;
        thread_.get();
        while (!pager_->retire(50)) {
        }
        for (Seal& seal : seals_) {
            if (seal.state.epoch <= checkpoint_epoch_) seal.durable = true;
            if (seal.state.epoch == checkpoint_epoch_) durable_ = seal;
        }
        std::erase_if(seals_, [&](const Seal& seal) {  // the last durable one is not needed any more
            const bool old = seal.state.epoch == kept_epoch_;
            if (old) pager_->drop(seal.state.epoch);
            return old;
        });
        pager_->drop(0);  // the seal of a new file
        kept_epoch_ = checkpoint_epoch_;
        pager_->trim(random_() % 2 == 0);
    }
    void drop_some_seal() {
        if (seals_.empty()) return;
        const std::size_t i = random_() % seals_.size();
        const std::uint64_t epoch = seals_[i].state.epoch;
        if (epoch == kept_epoch_ || epoch == checkpoint_epoch_) return;
        pager_->drop(epoch);
        seals_.erase(seals_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    /// Every held seal is as it was, in memory and, once written, in the file.
    void check() {
        world_.check(*pager_);
        ASSERT_EQ(pager_->live_pages(), kMetaPages + world_.size() + map_pages_);
        for (const Seal& seal : seals_) {
            seal.world.check(*pager_);
            if (!seal.durable) continue;
            for (const auto& page : seal.world.pages) {
                ASSERT_TRUE(filled(on_disk(page.id).data(), page.seed)) << page.id;
            }
        }
    }
    /// With one seal, just taken, nothing is dead: busy pages are the live ones, and those are known.
    void check_space() {
        end_checkpoint();
        start_checkpoint();
        end_checkpoint();
        while (seals_.size() > 1) {
            pager_->drop(seals_.front().state.epoch);
            seals_.erase(seals_.begin());
        }
        std::set<PageId> known;
        for (const auto& page : world_.pages) known.insert(page.id);
        for (const auto& extent : world_.extents) {
            for (PageId i = 0; i < extent.ref.pages(); ++i) known.insert(extent.ref.first + i);
        }
        std::uint64_t busy = 0;
        for (PageId id = 0; id < pager_->page_count(); ++id) {
            ASSERT_EQ(pager_->space().live(id), pager_->space().busy(id)) << id;
            if (known.contains(id)) {
                ASSERT_TRUE(pager_->space().live(id)) << id;
            }
            busy += pager_->space().busy(id);
        }
        ASSERT_EQ(busy, kMetaPages + known.size() + map_pages_);
        ASSERT_EQ(pager_->frames_in_use(), 0U);
    }
    void crash_and_reopen() {
        if (thread_.valid()) thread_.get();
        pager_.reset();
        pager_ = open(durable_.state);
        world_ = durable_.world;
        seals_ = {durable_};
        kept_epoch_ = checkpoint_epoch_ = durable_.state.epoch;
        count_map_pages(durable_.state.space_map);
    }
    void run(unsigned seed, int steps) {
        random_.seed(seed);
        pager_ = open({});
        start_checkpoint();
        end_checkpoint();
        for (int step = 0; step < steps && !HasFatalFailure(); ++step) {
            if (pager_->frames_scarce()) {
                start_checkpoint();
                end_checkpoint();
            }
            one_change();
            const std::uint64_t event = random_() % 4000;
            if (event < 10) start_checkpoint();
            if (event >= 10 && event < 20) end_checkpoint();
            if (event >= 20 && event < 30 && seals_.size() < 8) seal();
            if (event >= 30 && event < 45) drop_some_seal();
            if (event >= 45 && event < 50) check();
            if (event == 50) check_space();
            if (event == 51) crash_and_reopen();
        }
        check();
        check_space();
        crash_and_reopen();
        check();
    }

    std::mt19937_64 random_;
    std::unique_ptr<Pager> pager_;
    World world_;
    std::vector<Seal> seals_;
    Seal durable_;
    std::future<void> thread_;
    std::uint64_t checkpoint_epoch_ = 0, kept_epoch_ = 0, map_pages_ = 0;
    Seed seed_ = 0;
};

TEST_F(PagerModelTest, RandomChanges1) { run(1, 40'000); }
TEST_F(PagerModelTest, RandomChanges2) { run(2, 40'000); }
TEST_F(PagerModelTest, RandomChanges3) { run(3, 40'000); }

}  // namespace
}  // namespace pyrsistence::storage
