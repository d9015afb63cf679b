// SortedDict, SortedSet and PriorityQueue beside std::map, std::set and std::priority_queue.
#include <algorithm>
#include <map>
#include <queue>
#include <set>

#include "pyrsistence/pyrsistence.hpp"
#include "support.hpp"

namespace pyrsistence {
namespace {

using test::Random;
using test::scaled;
using Symbols = SortedDict<std::int64_t, std::string>;
static_assert(std::input_iterator<Symbols::iterator>);
static_assert(std::ranges::input_range<const Symbols>);
static_assert(std::ranges::input_range<const SortedSet<std::string>>);
static_assert(std::ranges::input_range<const PriorityQueue<int>>);

class TypedSortedTest : public ::testing::Test {
protected:
    test::TempDir dir_;
};

TEST_F(TypedSortedTest, ADictIsAMap) {
    PYRSISTENCE_TRACE_SEED;
    Random random(401);
    std::map<std::int64_t, std::string> model;
    Symbols dict(dir_ / "store");
    for (std::size_t i = 0; i < scaled(20'000); ++i) {
        const auto key = static_cast<std::int64_t>(random.below(2000)) - 1000;
        const std::string value = std::to_string(random()) + std::string(random.below(60), 'v');
        switch (random.below(8)) {
            case 0: ASSERT_EQ(dict.insert(key, value), model.emplace(key, value).second); break;
            case 1: ASSERT_EQ(dict.erase(key), model.erase(key)); break;
            case 2: {
                const std::int64_t high = key + static_cast<std::int64_t>(random.below(5));
                const auto first = model.lower_bound(key), last = model.lower_bound(high);
                ASSERT_EQ(dict.erase_range(key, high), static_cast<std::uint64_t>(std::distance(first, last)));
                model.erase(first, last);
                break;
            }
            case 3: {
                const auto low = model.lower_bound(key), high = model.upper_bound(key);
                ASSERT_EQ(dict.rank(key), static_cast<std::uint64_t>(std::distance(model.begin(), low)));
                const auto at = dict.lower_bound(key), behind = dict.upper_bound(key);
                ASSERT_EQ(at == dict.end(), low == model.end());
                if (low != model.end()) {
                    ASSERT_EQ(at->first, low->first);
                    ASSERT_EQ(at->second, low->second);
                    ASSERT_EQ(dict.nth(dict.rank(key)).first, low->first);
                }
                ASSERT_EQ(behind == dict.end(), high == model.end());
                ASSERT_EQ(dict.get(key), low == high ? std::nullopt : std::optional(low->second));
                break;
            }
            case 4: {
                if (random.chance(80) || model.empty()) break;
                const bool front = random.chance(50);
                const auto end = front ? model.begin() : std::prev(model.end());
                ASSERT_EQ(front ? dict.pop_first() : dict.pop_last(), std::optional(std::pair(end->first, end->second)));
                model.erase(end);
                break;
            }
            default: ASSERT_EQ(dict.insert_or_assign(key, value), model.insert_or_assign(key, value).second);
        }
    }
    EXPECT_TRUE(std::ranges::equal(dict, model, [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; }));
    dict.check();
    EXPECT_THROW((void)dict.at(5000), std::out_of_range);
    EXPECT_THROW((void)dict.nth(5000), std::out_of_range);
    dict.insert_or_assign(5000, "a");
    dict.edit(5000, [](std::string& value) { value += "b"; });
    EXPECT_EQ(dict.at(5000), "ab");
    const Symbols before = dict.snapshot();
    dict.clear();
    EXPECT_EQ(before.at(5000), "ab");
    EXPECT_EQ(before.size(), model.size() + 1);
    EXPECT_FALSE(dict.pop_first());
}

TEST_F(TypedSortedTest, IterationFollowsTheKeys) {
    SortedSet<int> set(dir_ / "store");
    for (int i = 0; i < 1000; ++i) set.insert(2 * i);
    std::vector<int> visited;
    for (const int member : set) {
        visited.push_back(member);
        set.erase(member);
        set.erase(member + 6);
        set.insert(member - 1);
    }
    EXPECT_TRUE(std::ranges::is_sorted(visited));
    EXPECT_EQ(std::ranges::count(visited, 6), 0);
    EXPECT_EQ(visited.front(), 0);
}

TEST_F(TypedSortedTest, ASetIsASet) {
    PYRSISTENCE_TRACE_SEED;
    Random random(402);
    std::set<std::pair<std::string, double>> model;
    SortedSet<std::pair<std::string, double>> set(dir_ / "store");
    for (std::size_t i = 0; i < scaled(20'000); ++i) {
        const std::pair member(std::string(random.below(3), 'k'), static_cast<double>(random.below(500)) / 4 - 20);
        if (random.chance(60)) {
            ASSERT_EQ(set.insert(member), model.insert(member).second);
        } else {
            ASSERT_EQ(set.erase(member), model.erase(member));
        }
        ASSERT_EQ(set.contains(member), model.contains(member));
    }
    EXPECT_TRUE(std::ranges::equal(set, model));
    set.check();
}

TEST_F(TypedSortedTest, AQueueIsAStableQueue) {
    PYRSISTENCE_TRACE_SEED;
    Random random(403);
    std::multimap<double, std::string> model;  // stable
    PriorityQueue<std::string, double> queue(dir_ / "store");
    for (std::size_t i = 0; i < scaled(20'000); ++i) {
        if (random.chance(55)) {
            const double priority = static_cast<double>(random.below(20)) / 2;
            const std::string item = std::to_string(random());
            queue.push(item, priority);
            model.emplace(priority, item);
        } else if (model.empty()) {
            ASSERT_FALSE(queue.pop());
        } else {
            ASSERT_EQ(queue.top(), std::optional(model.begin()->second));
            ASSERT_EQ(queue.pop_with_priority(), std::optional(std::pair(model.begin()->first, model.begin()->second)));
            model.erase(model.begin());
        }
    }
    EXPECT_TRUE(std::ranges::equal(queue, model, [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; }));
    queue.check();
}

TEST_F(TypedSortedTest, OneStoreHoldsThemAll) {
    Store store(dir_ / "store");
    auto symbols = store.sorted_dict<std::uint64_t, std::string>("symbols");
    auto seen = store.sorted_set<std::uint64_t>("seen");
    auto tasks = store.priority_queue<std::uint64_t>("tasks");
    {
        const Transaction transaction(store);
        symbols.insert_or_assign(1, "x");
        seen.insert(1);
        tasks.push(1);
    }
    EXPECT_TRUE(symbols.empty() && seen.empty() && tasks.empty()) << "rolled back";
    Transaction transaction(store);
    for (const std::uint64_t n : {3, 1, 2}) {
        tasks.push(n);
        seen.insert(n);
    }
    transaction.commit();
    EXPECT_EQ(tasks.pop(), std::optional<std::uint64_t>(1));
    EXPECT_EQ(seen.nth(1), 2u);
    EXPECT_EQ(store.type_of("symbols"), "sorted dict");
    EXPECT_THROW((store.dict<int, int>("symbols")), FormatError);
}

}  // namespace
}  // namespace pyrsistence
