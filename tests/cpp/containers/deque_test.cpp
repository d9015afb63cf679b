// Deque<T>: both ends, the limit, rotation. The operations that it shares with lists are tested there.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "damage.hpp"
#include "pyrsistence/store.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

using Numbers = Deque<std::uint64_t>;
static_assert(std::random_access_iterator<Numbers::const_iterator>);
static_assert(std::ranges::sized_range<const Numbers>);

class DequeTest : public ::testing::Test {
protected:
    static std::vector<std::uint64_t> all(const Numbers& deque) { return {deque.begin(), deque.end()}; }
    TempDir dir_;
};

TEST_F(DequeTest, GrowsAndShrinksAtBothEnds) {
    Numbers deque(dir_ / "store");
    EXPECT_THROW(deque.pop_front(), std::out_of_range);
    EXPECT_THROW(deque.pop_back(), std::out_of_range);
    for (std::uint64_t i = 0; i < 5; ++i) i % 2 ? deque.push_back(i) : deque.push_front(i);
    EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{4, 2, 0, 1, 3}));
    EXPECT_EQ(deque.pop_front(), 4u);
    EXPECT_EQ(deque.pop_back(), 3u);
    EXPECT_EQ(deque.front(), 2u);
    EXPECT_EQ(deque.back(), 1u);
    EXPECT_EQ(deque.max_size(), std::nullopt);
    deque.insert(1, 7);
    deque[0] += 1;
    EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{3, 7, 0, 1}));
    deque.rotate(1);
    EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{1, 3, 7, 0}));
    deque.rotate(-6);
    EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{7, 0, 1, 3}));
    deque.check();
}

TEST_F(DequeTest, RotatesByAnyNumber) {
    Numbers deque(dir_ / "store");
    deque.rotate(3);
    for (std::uint64_t i = 0; i < 7; ++i) deque.push_back(i);
    std::vector<std::uint64_t> model = all(deque);
    for (const std::int64_t steps : {std::int64_t{0}, std::int64_t{7}, std::int64_t{3}, std::int64_t{-3}, std::int64_t{5},
                                     std::int64_t{-20}, INT64_MAX, INT64_MIN}) {
        deque.rotate(steps);
        const auto last = (steps % 7 + 7) % 7;
        std::rotate(model.begin(), model.end() - last, model.end());
        EXPECT_EQ(all(deque), model) << steps;
    }
}

TEST_F(DequeTest, KeepsItsLimit) {
    const fs::path path = dir_ / "store";
    {
        Numbers deque(path, {.max_size = 3});
        for (std::uint64_t i = 0; i < 5; ++i) deque.push_back(i);
        EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{2, 3, 4}));
        deque.push_front(9);
        EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{9, 2, 3}));
        EXPECT_THROW(deque.insert(1, 5), std::length_error);
        EXPECT_EQ(deque.snapshot().max_size(), 3u);
    }
    EXPECT_THROW(Numbers(path, {.max_size = 4}), FormatError);
    EXPECT_EQ(Numbers(path, {.max_size = 3}).size(), 3u);
    Numbers deque(path);
    EXPECT_EQ(deque.max_size(), 3u);
    deque.push_back(1);
    EXPECT_EQ(all(deque), (std::vector<std::uint64_t>{2, 3, 1}));
    deque.check();
}

TEST_F(DequeTest, MayBeLimitedToNothing) {
    Store store(dir_ / "store");
    auto deque = store.deque<std::uint64_t>("none", 0);
    deque.push_back(1);
    deque.push_front(1);
    EXPECT_TRUE(deque.empty());
    EXPECT_EQ(store.deque<std::uint64_t>("none").max_size(), 0u);
    EXPECT_EQ(store.deque<std::uint64_t>("any").max_size(), std::nullopt);
    EXPECT_THROW((void)store.deque<std::uint64_t>("any", 5), FormatError);
}

/// Creation and limit are one record: a killed process never leaves a deque without the limit it asked for.
TEST_F(DequeTest, IsAsStdDequeAfterRandomOperationsAndCrashes) {
    PYRSISTENCE_TRACE_SEED;
    Random random(821);
    for (const std::uint64_t limit : {std::uint64_t{1}, std::uint64_t{60}, std::uint64_t{100'000}}) {
        const fs::path path = dir_.next();
        Deque<std::string> deque(path, {.max_size = limit});
        std::deque<std::string> model;
        for (int i = 0; i < 4000; ++i) {
            const std::string item(random.below(random.chance(3) ? 9000 : 30), static_cast<char>('a' + random.below(26)));
            const unsigned dice = static_cast<unsigned>(random.below(100));
            if (dice < 40) {
                deque.push_back(item);
                model.push_back(item);
                if (model.size() > limit) model.pop_front();
            } else if (dice < 75) {
                deque.push_front(item);
                model.push_front(item);
                if (model.size() > limit) model.pop_back();
            } else if (dice < 85 && !model.empty()) {
                ASSERT_EQ(deque.pop_front(), model.front());
                model.pop_front();
            } else if (dice < 95 && !model.empty()) {
                ASSERT_EQ(deque.pop_back(), model.back());
                model.pop_back();
            } else if (!model.empty()) {
                deque.rotate(5);
                std::rotate(model.begin(), model.end() - 5 % static_cast<long>(model.size()), model.end());
            }
            if (i % 500 == 3) {
                const fs::path copy = dir_.next();
                copy_store(path, copy);
                const Deque<std::string> killed(copy);
                killed.check();
                ASSERT_EQ(killed.max_size(), limit);
                ASSERT_TRUE(std::ranges::equal(killed, model));
            }
        }
        deque.check();
        ASSERT_TRUE(std::ranges::equal(deque, model));
    }
}

/// Inserting before everything leaves full leaves behind, as appending does.
TEST_F(DequeTest, TakesNoMoreSpaceIfItGrewToTheLeft) {
    std::uint64_t pages[2];
    for (const bool left : {false, true}) {
        Numbers deque(dir_.next());
        for (std::uint64_t i = 0; i < 100'000; ++i) left ? deque.push_front(i) : deque.push_back(i);
        deque.checkpoint();
        pages[left] = deque.info().live_pages;
    }
    EXPECT_LT(pages[1], pages[0] * 11 / 10);
}

TEST_F(DequeTest, IsRepairedWithItsLimit) {
    const fs::path path = dir_ / "store";
    {
        Store store(path);
        auto old = store.deque<std::uint64_t>("old", 1000);
        for (std::uint64_t i = 0; i < 1500; ++i) old.push_back(i);
        store.list<std::uint64_t>("lost").push_back(1);
        store.checkpoint();
        auto fresh = store.deque<std::uint64_t>("fresh", 2);
        for (std::uint64_t i = 0; i < 5; ++i) fresh.push_back(i);
        fresh.rotate(1);
        copy_store(path, dir_ / "copy");
    }
    {
        ClosedStore damaged(dir_ / "copy");
        damaged.flip(damaged.map().leaves.back());
    }
    const Report report = verify(dir_ / "copy", {}, dir_ / "repaired");
    ASSERT_GT(report.fault_count, 0u);
    Store repaired(dir_ / "repaired");
    const auto old = repaired.deque<std::uint64_t>("old");
    EXPECT_EQ(old.max_size(), 1000u);
    EXPECT_EQ(old.front(), 500u);
    const auto fresh = repaired.deque<std::uint64_t>("fresh");
    EXPECT_EQ(fresh.max_size(), 2u);
    EXPECT_EQ(all(fresh), (std::vector<std::uint64_t>{4, 3}));
    repaired.check();
}

}  // namespace
}  // namespace pyrsistence::test
