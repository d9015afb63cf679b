#include "pyrsistence/container.hpp"

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

class ContainerTest : public ::testing::Test {
protected:
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

/// Those that are needed, each once.
TEST_F(ContainerTest, InfoCountsPagesThatAreRead) {
    {
        RawList list(path_);
        for (int i = 0; i < 5000; ++i) list.append(as_bytes("some item of a list"));
        list.append(as_bytes(std::string(10'000, 'x')));
    }
    RawList list(path_);
    const auto pages_for = [&](std::uint64_t rank) {
        const std::uint64_t before = list.info().pages_read;
        Buffer item;
        EXPECT_TRUE(list.get(rank, item));
        return list.info().pages_read - before;
    };
    EXPECT_EQ(pages_for(0), 2u);
    EXPECT_EQ(pages_for(0), 0u);
    EXPECT_EQ(pages_for(2500), 1u);
    EXPECT_EQ(pages_for(5000), 1u + 3u);
    EXPECT_EQ(pages_for(5000), 0u);
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

TEST_F(ContainerTest, BelongsToAStoreUnderItsName) {
    RawList list(path_, {.name = "the list"});
    EXPECT_EQ(list.name(), "the list");
    list.append(as_bytes("x"));
    RawList same(list, "the list");
    RawList other(list, "another");
    EXPECT_EQ(same.size(), 1u);
    EXPECT_EQ(other.size(), 0u);
    const RawList snapshot = same.snapshot();
    EXPECT_EQ(snapshot.name(), "the list");
    EXPECT_TRUE(snapshot.read_only());
    same.append(as_bytes("y"));
    EXPECT_EQ(list.size(), 2u);
    EXPECT_EQ(snapshot.size(), 1u);
    EXPECT_EQ(snapshot.info().entries, 1u);
    EXPECT_THROW(RawDict(list, "the list"), FormatError);
}

}  // namespace
}  // namespace pyrsistence::test
