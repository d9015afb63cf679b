// Set<K>: a Dict without values.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "pyrsistence/store.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

static_assert(std::input_iterator<Set<std::string>::iterator>);
static_assert(std::ranges::input_range<const Set<std::uint64_t>>);
static_assert(std::ranges::common_range<const Set<std::uint64_t>>);

class SetTest : public ::testing::Test {
protected:
    TempDir dir_;
};

TEST_F(SetTest, KeepsEachMemberOnceInTheOrderOfTheirComing) {
    const fs::path path = dir_ / "store";
    {
        Set<std::string> names(path);
        EXPECT_TRUE(names.insert("main"));
        EXPECT_TRUE(names.insert("exit"));
        EXPECT_FALSE(names.insert("main"));
        names.insert_range(std::vector<std::string>{"a", "exit", "b"});
    }
    Set<std::string> names(path, {.mode = Mode::read_write});
    EXPECT_EQ(std::vector<std::string>(names.begin(), names.end()), (std::vector<std::string>{"main", "exit", "a", "b"}));
    EXPECT_TRUE(names.contains("a"));
    EXPECT_EQ(names.erase("a"), 1u);
    EXPECT_EQ(names.erase("a"), 0u);
    EXPECT_EQ(names.pop_last(), "b");
    EXPECT_EQ(*names.find("exit"), "exit");
    EXPECT_TRUE(names.find("b") == names.end());
    const Set<std::string> before = names.snapshot();
    names.clear();
    EXPECT_TRUE(names.empty());
    EXPECT_EQ(names.pop_last(), std::nullopt);
    EXPECT_EQ(before.size(), 2u);
    names.check();
}

TEST_F(SetTest, IsAsStdSetAfterRandomOperations) {
    PYRSISTENCE_TRACE_SEED;
    Random random(811);
    const fs::path path = dir_ / "store";
    std::set<std::uint64_t> model;
    for (int round = 0; round < 4; ++round) {
        Set<std::uint64_t> members(path);
        for (int i = 0; i < 3000; ++i) {
            const std::uint64_t member = random.below(2000) << random.below(40);
            if (random.chance(60)) {
                ASSERT_EQ(members.insert(member), model.insert(member).second);
            } else {
                ASSERT_EQ(members.erase(member), model.erase(member));
            }
        }
        members.check();
        ASSERT_EQ(std::set<std::uint64_t>(members.begin(), members.end()), model);
        ASSERT_EQ(members.size(), model.size());
    }
}

TEST_F(SetTest, IsAnotherTypeThanADict) {
    Store store(dir_ / "store");
    store.set<std::uint64_t>("s").insert(1);
    EXPECT_THROW((void)(store.dict<std::uint64_t, std::uint64_t>("s")), FormatError);
    EXPECT_THROW(RawDict(store, "s"), FormatError);
    EXPECT_EQ(store.type_of("s"), "set");
    EXPECT_TRUE(store.remove("s"));
}

}  // namespace
}  // namespace pyrsistence::test
