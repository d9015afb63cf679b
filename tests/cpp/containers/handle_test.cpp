// What every handle promises: who may do what with it, what it sees, and how it ends.
#include "pyrsistence/handle.hpp"

#include <thread>

#include "containers/models.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {
namespace {

class HandleTest : public ::testing::Test {
protected:
    using Counts = Dict<std::string, std::int64_t>;

    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(HandleTest, AClosedOneSaysSo) {
    Store store(path_);
    store.close();
    store.close();
    EXPECT_TRUE(store.closed());
    EXPECT_THROW(store.sync(), ClosedError);
    EXPECT_THROW(store.checkpoint(), ClosedError);
    EXPECT_THROW(store.compact(), ClosedError);
    EXPECT_THROW(store.check(), ClosedError);
    EXPECT_THROW(store.backup(dir_ / "backup"), ClosedError);
    EXPECT_THROW((void)store.info(), ClosedError);
    EXPECT_THROW((void)store.version(), ClosedError);
    EXPECT_THROW((void)store.snapshots(), ClosedError);
    EXPECT_THROW(store.keep_snapshot("s"), ClosedError);
    EXPECT_THROW(store.delete_snapshot("s"), ClosedError);
    EXPECT_THROW(store.refresh(), ClosedError);
    EXPECT_THROW(store.publish(), ClosedError);
    EXPECT_THROW((void)store.snapshot(), ClosedError);
    EXPECT_THROW((void)store.transaction(), ClosedError);
    EXPECT_THROW((void)store.containers(), ClosedError);
    EXPECT_THROW(RawDict(store, "d"), ClosedError);
    EXPECT_FALSE(fs::exists(dir_ / "backup"));
    EXPECT_EQ(store.path(), path_);
}

TEST_F(HandleTest, OtherHandlesKeepTheStoreOpen) {
    auto store = std::make_unique<Store>(path_);
    Counts counts = store->dict<std::string, std::int64_t>("counts");
    const Counts snapshot = counts.snapshot();
    store.reset();
    counts["a"] = 1;
    EXPECT_EQ(counts.at("a"), 1);
    EXPECT_TRUE(snapshot.empty());
    counts.close();
    EXPECT_TRUE(snapshot.empty());
}

/// A handle opened for reading created the container that it was asked for, if another handle wrote the store.
TEST_F(HandleTest, OneForReadingChangesNothing) {
    Store store(path_);
    store.dict<std::string, std::int64_t>("counts")["a"] = 1;
    Store reader(path_, {.mode = Mode::read});
    EXPECT_TRUE(reader.read_only());
    EXPECT_THROW(RawDict(reader, "new"), NotFoundError);
    EXPECT_THROW(RawDict(path_, {.mode = Mode::read, .name = "new"}), NotFoundError);
    EXPECT_THROW(RawList(reader, "counts"), FormatError);
    EXPECT_EQ(store.size(), 1u);
    Counts counts(reader, "counts");
    EXPECT_THROW(counts["b"] = 2, ReadOnlyError);
    EXPECT_THROW(counts.clear(), ReadOnlyError);
    EXPECT_THROW(reader.remove("counts"), ReadOnlyError);
    EXPECT_THROW(reader.rename("counts", "x"), ReadOnlyError);
    EXPECT_THROW(reader.checkpoint(), ReadOnlyError);
    EXPECT_THROW(reader.compact(), ReadOnlyError);
    EXPECT_THROW(reader.keep_snapshot("s"), ReadOnlyError);
    EXPECT_THROW((void)reader.transaction(), ReadOnlyError);
    store.dict<std::string, std::int64_t>("counts")["c"] = 3;
    EXPECT_EQ(counts.at("c"), 3) << "it sees what is written beside it";
    reader.sync();
    reader.check();
}

TEST_F(HandleTest, ASnapshotIsConstantInEveryRespect) {
    Store store(path_);
    Counts counts = store.dict<std::string, std::int64_t>("counts");
    for (int i = 0; i < 100; ++i) counts[std::to_string(i)] = i;
    const Store snapshot = store.snapshot();
    const Counts then = counts.snapshot();
    const std::uint64_t version = snapshot.version();
    EXPECT_EQ(version, store.version());
    counts.clear();
    store.list<int>("more").push_back(1);
    store.rename("counts", "renamed");
    EXPECT_EQ(then.size(), 100u);
    EXPECT_EQ(then.at("77"), 77);
    EXPECT_EQ(snapshot.version(), version);
    EXPECT_EQ(snapshot.size(), 1u);
    EXPECT_EQ(Counts(snapshot, "counts").size(), 100u);
    EXPECT_THROW(Counts(snapshot, "renamed"), NotFoundError);
    EXPECT_GT(store.version(), version);
}

TEST_F(HandleTest, ANamedSnapshotIsOpenedByItsName) {
    Store store(path_);
    Counts counts = store.dict<std::string, std::int64_t>("counts");
    counts["a"] = 1;
    store.keep_snapshot("before");
    counts["a"] = 2;
    const Counts before(path_, {.name = "counts", .at = "before"});
    EXPECT_EQ(before.at("a"), 1);
    EXPECT_TRUE(before.read_only());
    EXPECT_THROW(RawDict(path_, {.name = "counts", .at = "after"}), NotFoundError);
    EXPECT_THROW(RawDict(path_, {.name = "none", .at = "before"}), NotFoundError);
    const auto snapshots = store.snapshots();
    ASSERT_EQ(snapshots.size(), 1u);
    EXPECT_EQ(snapshots[0].name, "before");
    EXPECT_TRUE(store.delete_snapshot("before"));
    EXPECT_EQ(before.at("a"), 1) << "open ones stay";
    EXPECT_EQ(counts.at("a"), 2);
}

TEST_F(HandleTest, InfoCountsSnapshotsAndPages) {
    Store store(path_, {.memory_limit = 4 << 20});
    List<std::string> list = store.list<std::string>("l");
    for (int i = 0; i < 5000; ++i) list.push_back("some item of a list");
    store.keep_snapshot("s");
    const Info info = store.info();
    EXPECT_EQ(info.entries, 0u) << "of the whole store";
    EXPECT_EQ(list.info().entries, 5000u);
    EXPECT_EQ(info.snapshots, 1u);
    EXPECT_EQ(info.readers, 0u);
    EXPECT_LE(info.live_pages, info.pages);
    EXPECT_EQ(info.memory_limit, 4u << 20);
}

// --- Transaction

TEST_F(HandleTest, ATransactionEndsWithItsScope) {
    Store store(path_);
    Counts counts = store.dict<std::string, std::int64_t>("counts");
    {
        auto transaction = store.transaction();
        counts["a"] = 1;
    }
    EXPECT_TRUE(counts.empty());
    {
        auto transaction = counts.transaction(false);
        counts["a"] = 1;
        transaction.commit();
        EXPECT_THROW(transaction.commit(), Error);
        transaction.roll_back();
    }
    EXPECT_EQ(counts.at("a"), 1);
    try {
        auto transaction = store.transaction();
        counts["a"] = 2;
        throw std::runtime_error("something else");
    } catch (const std::runtime_error&) {
    }
    EXPECT_EQ(counts.at("a"), 1);
}

TEST_F(HandleTest, ADurableOneIsSyncedAtTheOutermostCommit) {
    TestFileSystem files;
    std::atomic<int> syncs = 0;
    OpenStore<Store> open(path_, &files, 0);
    Counts counts = open->dict<std::string, std::int64_t>("counts");
    files.hook = [&](TestFileSystem::Call call, const fs::path&) { syncs += call == TestFileSystem::Call::sync; };
    {
        Transaction outer(*open);
        counts["a"] = 1;
        Transaction inner(*open);
        counts["b"] = 1;
        inner.commit();
        EXPECT_EQ(syncs, 0);
        outer.commit();
        EXPECT_EQ(syncs, 1);
    }
    Transaction quick(*open, false);
    counts["c"] = 1;
    quick.commit();
    EXPECT_EQ(syncs, 1);
    files.hook = nullptr;
}

}  // namespace
}  // namespace pyrsistence::test
