// What Container::usage() tells, beside what the store as a whole knows of its pages.
#include "pyrsistence/pyrsistence.hpp"
#include "storage/format.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

class UsageTest : public ::testing::Test {
protected:
    TempDir dir_;
    Store store_{dir_ / "store"};
};

TEST_F(UsageTest, TheContainersTakeWhatIsInUse) {
    auto calls = store_.dict<std::uint64_t, std::uint64_t>("calls");
    auto symbols = store_.sorted_dict<std::uint64_t, std::string>("symbols");
    auto trace = store_.list<std::string>("trace");
    auto samples = store_.array<double>("samples");
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        calls.insert_or_assign(i * 7919, i);
        symbols.insert_or_assign(i, "name " + std::to_string(i));
        samples.push_back(static_cast<double>(i));
    }
    for (int i = 0; i < 50; ++i) trace.push_back(std::string(30'000, 'x'));
    store_.checkpoint();
    std::uint64_t bytes = 0;
    for (const Usage& usage : {calls.usage(), symbols.usage(), trace.usage(), samples.usage()}) {
        bytes += usage.bytes;
        EXPECT_GT(usage.fill, 0.0);
        EXPECT_LE(usage.fill, 1.0);
    }
    const std::uint64_t live = store_.info().live_pages * storage::kPageSize;
    EXPECT_LE(bytes, live);
    EXPECT_GT(bytes, live * 97 / 100);
    EXPECT_EQ(calls.usage().entries, 20'000u);
    EXPECT_EQ(calls.usage().depth, 2u);
    EXPECT_EQ(samples.usage().depth, 2u);
    EXPECT_GT(samples.usage().fill, 0.95);
    EXPECT_EQ(trace.usage().depth, 1u);
    EXPECT_GT(trace.usage().bytes, 50u * 30'000);
}

TEST_F(UsageTest, AnEmptyContainerHasItsRootPage) {
    const Usage usage = store_.set<std::string>("seen").usage();
    EXPECT_EQ(usage.entries, 0u);
    EXPECT_EQ(usage.depth, 0u);
    EXPECT_EQ(usage.bytes, storage::kPageSize);
}

/// Erasing at random leaves room in the leaves, which are merged when three quarters are free.
TEST_F(UsageTest, FillTellsOfRoomWithinTheLeaves) {
    auto symbols = store_.sorted_dict<std::uint64_t, std::uint64_t>("symbols");
    for (std::uint64_t i = 0; i < 20'000; ++i) symbols.insert_or_assign(i, i);
    EXPECT_GT(symbols.usage().fill, 0.95);
    for (std::uint64_t i = 0; i < 20'000; i += 2) symbols.erase(i);
    EXPECT_NEAR(symbols.usage().fill, 0.5, 0.1);
}

}  // namespace
}  // namespace pyrsistence::test
