// Steps: what becomes of a change that is committed, of one that is not, and of one within a transaction; and
// the records that they write.
#include "storage/step.hpp"

#include <thread>

#include "codec/bytes.hpp"
#include "containers/models.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::storage {
namespace {

namespace fs = std::filesystem;
using test::content;
using test::TempDir;
using test::TestFileSystem;

constexpr std::uint64_t kWindow = 256 << 10;

TEST(RecordHeaderTest, BytesAreGolden) {
    EXPECT_EQ(codec_test::hex(RecordHeader(Op::create, 5).u8(2).view()), "010502");
    EXPECT_EQ(codec_test::hex(RecordHeader(Op::remove, 300).view()), "03ac02");
    EXPECT_EQ(codec_test::hex(RecordHeader(Op::batch, 0).view()), "0200");
    EXPECT_EQ(codec_test::hex(RecordHeader(Op::rename, UINT32_MAX).view()), "04ffffffff0f");
    const ExtentRef extent{0x0a, 0x0b, 0x0c};
    EXPECT_EQ(codec_test::hex(RecordHeader(Op::first_of_container, 1, &extent).u48(2).u64(3).view()),
              "9001" "0a0000000000" "0b0000000000" "0c00000000000000" "020000000000" "0300000000000000");
    EXPECT_LE(RecordHeader(Op::first_of_container, UINT32_MAX, &extent).u48(0).u48(0).u48(0).u64(0).view().size(),
              RecordHeader::kMaxSize);
}

class StepTest : public ::testing::Test {
protected:
    StepTest() : open_(path_, &files_, kWindow), list_(*open_, "list") { list_.append(as_bytes("first")); }

    storage::Store& engine() { return open_.store(); }
    std::string item(std::uint64_t rank) const {
        Buffer out;
        return list_.get(rank, out) ? std::string(as_text(out)) : "nothing";
    }
    std::vector<std::string> names() {
        std::vector<std::string> all;
        for (const ContainerEntry& one : engine().containers()) all.push_back(one.name);
        return all;
    }
    /// As after a kill.
    void expect_copy(const std::function<void(pyrsistence::Store&)>& look) {
        const fs::path copy = dir_.next();
        test::copy_as_killed(*open_, copy);
        pyrsistence::Store store(copy);
        store.check();
        look(store);
    }

    using Names = std::vector<std::string>;
    TempDir dir_;
    const fs::path path_ = dir_ / "store";
    TestFileSystem files_;
    test::OpenStore<pyrsistence::Store> open_;
    RawList list_;
};

TEST_F(StepTest, AStepThatChangedNothingLeavesEverythingAsItIs) {
    const std::uint64_t version = engine().version(), logged = engine().info().log_bytes;
    const std::uint64_t live = engine().info().live_pages;
    {
        WriteStep step(engine());
        (void)step.extent(as_bytes(content(1, 50'000)));
    }
    { WriteStep step(engine(), 10, WriteStep::Kind::batch); step.commit_batch(); }
    EXPECT_EQ(engine().version(), version);
    EXPECT_EQ(engine().info().log_bytes, logged);
    EXPECT_EQ(engine().info().live_pages, live) << "the extent was given back";
    open_->check();
}

TEST_F(StepTest, AChangeWithoutCommitIsUndone) {
    const std::uint64_t version = engine().version();
    {
        WriteStep step(engine());
        step.create(ContainerType::list, "never");
        (void)step.extent(as_bytes(content(1, 50'000)));
    }
    EXPECT_EQ(names(), Names{"list"});
    EXPECT_EQ(item(0), "first") << "what was logged is still there";
    EXPECT_GT(engine().version(), version) << "what was cached is void";
    open_->check();
    list_.append(as_bytes("second"));
    EXPECT_EQ(item(1), "second");
    expect_copy([](pyrsistence::Store& store) { EXPECT_EQ(RawList(store, "list").size(), 2u); });
}

TEST_F(StepTest, ACommittedChangeIsInTheLog) {
    {
        WriteStep step(engine());
        const ContainerId id = step.create(ContainerType::dict, "made");
        step.commit(RecordHeader(Op::create, id).u8(1), as_bytes("made"));
    }
    EXPECT_EQ(names(), (Names{"list", "made"}));
    expect_copy([](pyrsistence::Store& store) { EXPECT_EQ(store.type_of("made"), "dict"); });
}

TEST_F(StepTest, AContainerThatIsGoneIsNoReasonToGoBack) {
    const ContainerEntry found = *engine().find_container("list");
    ASSERT_TRUE(engine().remove_container("list"));
    const std::uint64_t version = engine().version();
    {
        WriteStep step(engine());
        EXPECT_THROW((void)step.root(found.id), ClosedError);
        EXPECT_THROW((void)step.change(found.id), ClosedError);
    }
    EXPECT_EQ(engine().version(), version);
    const ReadStep step(engine());
    EXPECT_THROW((void)step.root(found.id), ClosedError);
    EXPECT_THROW((void)step.root(12345), ClosedError);
}

TEST_F(StepTest, WithinATransactionRecordsWaitForItsEnd) {
    const std::uint64_t logged = engine().info().log_bytes;
    const std::uint64_t begun = engine().begin();
    list_.append(as_bytes("second"));
    {
        WriteStep step(engine(), 1000, WriteStep::Kind::batch);
        const ContainerId id = step.create(ContainerType::dict, "made");
        step.commit(RecordHeader(Op::create, id).u8(1), as_bytes("made"));
        step.commit_batch();
    }
    EXPECT_EQ(engine().info().log_bytes, logged);
    expect_copy([](pyrsistence::Store& store) { EXPECT_EQ(RawList(store, "list").size(), 1u); });
    EXPECT_TRUE(engine().commit(begun));
    EXPECT_GT(engine().info().log_bytes, logged);
    expect_copy([](pyrsistence::Store& store) {
        EXPECT_EQ(RawList(store, "list").size(), 2u);
        EXPECT_TRUE(store.contains("made"));
    });
}

TEST_F(StepTest, AChangeWithoutCommitUndoesItsTransaction) {
    const std::uint64_t begun = engine().begin();
    const std::uint64_t inner = engine().begin();
    list_.append(as_bytes("second"));
    {
        WriteStep step(engine());
        step.create(ContainerType::list, "never");
    }
    EXPECT_EQ(item(1), "nothing");
    EXPECT_THROW(list_.append(as_bytes("third")), Error);
    EXPECT_THROW(engine().begin(), Error);
    EXPECT_THROW(engine().commit(begun), Error) << "not the innermost";
    EXPECT_THROW(engine().commit(inner), Error);
    EXPECT_THROW(engine().commit(begun), Error);
    EXPECT_EQ(storage::Store::open_transactions(), 0u);
    list_.append(as_bytes("fourth"));
    EXPECT_EQ(item(1), "fourth");
    open_->check();
}

TEST_F(StepTest, ABatchIsOneRecord) {
    const std::vector<std::string> texts(100, content(1, 500));
    std::vector<Bytes> items;
    for (const std::string& text : texts) items.push_back(as_bytes(text));
    list_.replace_slice(0, 1, items);
    const std::uint64_t logged = engine().info().log_bytes;
    EXPECT_GT(logged, 100u * 500);
    expect_copy([](pyrsistence::Store& store) { EXPECT_EQ(RawList(store, "list").size(), 100u); });
    for (int i = 0; i < 20; ++i) list_.replace_slice(0, 100, items);  // each fits into an empty window only
    EXPECT_EQ(list_.size(), 100u);
    open_->check();
    expect_copy([](pyrsistence::Store& store) { EXPECT_EQ(RawList(store, "list").size(), 100u); });
}

/// A second thread finds the store between two steps only, though a batch gives the lock up while it waits.
TEST_F(StepTest, ThreadsNeverSeeABatchInTheMiddle) {
    PYRSISTENCE_TRACE_SEED;
    constexpr std::size_t kBatch = 300;  // as extents, more than there are frames
    const std::string text = content(1, 3000);
    const std::vector<Bytes> items(kBatch, as_bytes(text));
    list_.clear();
    std::atomic<bool> stop = false;
    std::thread reader([&] {
        Chunk chunk;
        while (!stop) {
            ASSERT_EQ(list_.size() % kBatch, 0u);
            list_.read(0, 10, chunk);
            const pyrsistence::Store snapshot = open_->snapshot();
            ASSERT_EQ(RawList(snapshot, "list").size() % kBatch, 0u);
        }
    });
    std::thread other([&] {
        while (!stop) open_->checkpoint();
    });
    for (std::size_t i = 0; i < test::scaled(100); ++i) {
        list_.replace_slice(0, i % 5 == 0 ? list_.size() : 0, items);
        if (i % 7 == 0) list_.reverse();
    }
    stop = true;
    reader.join();
    other.join();
    open_->check();
}

}  // namespace
}  // namespace pyrsistence::storage
