#include "pyrsistence/container.hpp"

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

class ContainerTest : public ::testing::Test {
protected:
    static constexpr std::uint64_t kSmall = 64 << 10;

    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(ContainerTest, InfoCountsWhatIsThere) {
    RawList list(path_, {Mode::append, 4 << 20, false});
    for (int i = 0; i < 5000; ++i) list.append(as_bytes("some item of a list"));
    const Info info = list.info();
    EXPECT_EQ(info.entries, 5000u);
    EXPECT_GT(info.log_bytes, 5000u * 19);
    EXPECT_GT(info.pages, info.entries * 19 / 4096);
    EXPECT_LE(info.live_pages, info.pages);
    EXPECT_LE(info.pages * 4096, info.data_bytes);
    EXPECT_GT(info.frame_bytes, 0u);
    EXPECT_EQ(info.memory_limit, 4u << 20);
    EXPECT_EQ(list.path(), path_);
}

TEST_F(ContainerTest, VersionsCountChanges) {
    RawList list(path_);
    const std::uint64_t before = list.version();
    list.append(as_bytes("x"));
    EXPECT_GT(list.version(), before);
    const std::uint64_t after = list.version();
    Buffer item;
    list.get(0, item);
    EXPECT_FALSE(list.erase(7));
    list.sync();
    EXPECT_EQ(list.version(), after);
}

TEST_F(ContainerTest, AClosedHandleSaysSo) {
    RawDict dict(path_);
    dict.close();
    dict.close();
    EXPECT_TRUE(dict.closed());
    EXPECT_THROW((void)dict.size(), ClosedError);
    EXPECT_THROW(dict.sync(), ClosedError);
    EXPECT_THROW(dict.checkpoint(), ClosedError);
    EXPECT_THROW((void)dict.info(), ClosedError);
    EXPECT_THROW(dict.check(), ClosedError);
    EXPECT_THROW((void)dict.version(), ClosedError);
}

template <class Raw, class Driver>
void compact_between_changes(const fs::path& path, Driver driver, const fs::path& copy) {
    OpenStore<Raw> open(path, nullptr, 64 << 10);
    for (int round = 0; round < 8; ++round) {
        for (int i = 0; i < 4000; ++i) driver.step(&*open);
        open->compact();
        open->check();
        ASSERT_EQ(driver.difference(*open), "");
        const Info info = open->info();
        EXPECT_LE(info.pages, 2 * info.live_pages + 300);
        for (int i = 0; i < 50; ++i) driver.step(&*open);
        open->sync();
    }
    copy_store(path, copy);
    expect_copy<Raw>(copy, driver, 0);
}

TEST_F(ContainerTest, CompactingChangesNothing) {
    compact_between_changes<RawDict>(path_, DictDriver(1, 3000, {100'000, 5}), dir_ / "copy");
    compact_between_changes<RawList>(dir_ / "list", ListDriver(2, 3000, {50'000, 3}), dir_ / "copy 2");
}

/// An extent that began below the limit and ended far above it was left where it was.
TEST_F(ContainerTest, CompactingMovesALongExtentThatReachesPastTheLimit) {
    RawList list(path_);
    const std::vector<std::byte> large(16 << 20, std::byte{1}), small(1000, std::byte{1});
    list.append(large);
    list.append(large);
    list.checkpoint();
    list.erase(0);
    list.append(small);
    list.compact();
    list.check();
    const Info info = list.info();
    EXPECT_LE(info.pages, info.live_pages + info.live_pages / 16 + 200);
    Buffer item;
    ASSERT_TRUE(list.get(0, item));
    EXPECT_EQ(item.size(), large.size());
}

TEST_F(ContainerTest, CompactingMayBeKilledAtAnyWrite) {
    for (unsigned at = 5; at < 400; at += 11) {
        TestFileSystem files;
        DictDriver driver(3, 500, {60'000, 10});
        const fs::path path = dir_.next(), copy = dir_.next();
        OpenStore<RawDict> open(path, &files, kSmall);
        for (int i = 0; i < 700; ++i) driver.step(&*open);
        open->checkpoint();
        std::atomic<unsigned> calls = 0;
        std::mutex one;
        files.hook = [&](TestFileSystem::Call call, const fs::path&) {
            const std::lock_guard guard(one);
            if (call == TestFileSystem::Call::write && ++calls == at) copy_store(path, copy);
        };
        open->compact();
        open->compact();
        files.hook = nullptr;
        if (calls < at) break;
        ASSERT_NO_FATAL_FAILURE((expect_copy<RawDict>(copy, driver, kSmall)));
    }
}

}  // namespace
}  // namespace pyrsistence::test
