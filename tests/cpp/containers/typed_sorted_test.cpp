// SortedDict, SortedSet, PriorityQueue and MultiDict beside std::map, std::set, std::priority_queue and std::multimap.
#include <algorithm>
#include <atomic>
#include <map>
#include <queue>
#include <set>
#include <thread>

#include "pyrsistence/pyrsistence.hpp"
#include "support.hpp"

namespace pyrsistence {
namespace {

using test::Random;
using test::scaled;
using Symbols = SortedDict<std::int64_t, std::string>;

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

TEST_F(TypedSortedTest, AMultiDictIsAMultimap) {
    PYRSISTENCE_TRACE_SEED;
    Random random(404);
    std::multimap<std::int64_t, std::string> model;
    MultiDict<std::int64_t, std::string> dict(dir_ / "store");
    const auto same = [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; };
    for (std::size_t i = 0; i < scaled(20'000); ++i) {
        const auto key = static_cast<std::int64_t>(random.chance(30) ? random.below(3) : random.below(500)) - 100;
        const std::string value = std::to_string(random.below(40)) + std::string(random.chance(5) ? 500 : 0, 'v');
        const auto [first, last] = model.equal_range(key);
        auto values = std::ranges::subrange(first, last) | std::views::values;
        switch (random.below(10)) {
            case 0: {
                const auto found = std::find_if(first, last, [&](const auto& entry) { return entry.second == value; });
                ASSERT_EQ(dict.discard(key, value), found != last);
                if (found != last) model.erase(found);
                break;
            }
            case 1:
                if (random.chance(90)) break;
                if (random.chance(50)) {
                    ASSERT_TRUE(std::ranges::equal(dict.popall(key), values));
                } else {
                    ASSERT_EQ(dict.erase(key), static_cast<std::uint64_t>(std::distance(first, last)));
                }
                model.erase(first, last);
                break;
            case 2: {
                if (random.chance(80)) break;
                const auto behind = model.lower_bound(key + 3);
                ASSERT_EQ(dict.erase_range(key, key + 3), static_cast<std::uint64_t>(std::distance(first, behind)));
                model.erase(first, behind);
                break;
            }
            case 3: {
                ASSERT_EQ(dict.count(key), model.count(key));
                ASSERT_EQ(dict.contains(key), model.contains(key));
                ASSERT_TRUE(std::ranges::equal(dict.equal_range(key), std::ranges::subrange(first, last), same));
                ASSERT_TRUE(std::ranges::equal(dict.getall(key), values));
                const auto rank = static_cast<std::uint64_t>(std::distance(model.begin(), first));
                ASSERT_EQ(dict.rank(key), rank);
                ASSERT_EQ(dict.find(key) == dict.end(), first == last);
                ASSERT_EQ(dict.lower_bound(key) == dict.end(), first == model.end());
                ASSERT_EQ(dict.upper_bound(key) == dict.end(), last == model.end());
                if (first != model.end()) {
                    ASSERT_TRUE(same(*dict.lower_bound(key), *first));
                    ASSERT_TRUE(same(dict.nth(rank), *first));
                }
                if (last != model.end()) {
                    ASSERT_TRUE(same(*dict.upper_bound(key), *last));
                }
                break;
            }
            default:
                dict.add(key, value);
                model.emplace(key, value);
        }
        ASSERT_EQ(dict.size(), model.size());
    }
    EXPECT_TRUE(std::ranges::equal(dict, model, same));
    dict.check();
    const auto before = dict.snapshot();
    dict.clear();
    EXPECT_TRUE(dict.empty());
    EXPECT_EQ(before.size(), model.size());
    EXPECT_EQ(before.count(0), model.count(0));
}

/// Each value has its key as that was written when the value was added.
TEST_F(TypedSortedTest, ValuesRememberTheirKeys) {
    { MultiDict<double, int>(dir_ / "store").add(1.0, 1); }
    { MultiDict<bool, int>(dir_ / "store").add(true, 2); }
    { MultiDict<int, int>(dir_ / "store").add(1, 3); }
    MultiDict<double, int> dict(dir_ / "store");
    EXPECT_EQ(dict.count(1), 3u);
    EXPECT_TRUE(std::ranges::equal(dict.getall(1), std::vector{1, 2, 3}));
    std::vector<std::uint8_t> tags;
    const RawSorted raw(dir_ / "store", {}, SortedType::multi_dict);
    Chunk chunk;
    raw.read(0, 3, chunk);
    for (std::size_t i = 0; i < 3; ++i) {
        const Bytes key = split_sorted_entry(chunk.entry(i)).key;
        tags.push_back(key.empty() ? 0 : static_cast<std::uint8_t>(key[0]));
    }
    EXPECT_EQ(tags, (std::vector<std::uint8_t>{Tag::kFloat, Tag::kTrue, 0}));
    EXPECT_THROW((MultiDict<std::string, int>(dir_ / "store").add("a", 1)), OrderError);
}

/// Of equal keys as many are passed over as have been met, whatever becomes of others.
TEST_F(TypedSortedTest, IterationFollowsEqualKeys) {
    MultiDict<int, int> dict(dir_ / "store");
    for (int i = 0; i < 200; ++i) dict.add(i / 10, i);
    std::vector<int> visited;
    for (const auto& [key, value] : dict) {
        visited.push_back(value);
        ASSERT_LT(visited.size(), 1000u);
        if (value % 10 == 0) dict.erase(key - 1);
        if (value % 10 == 9 && key != 5) dict.erase(key);
        if (value == 55) dict.add(-1, 0);
        if (value == 56) dict.add(5, 7);
        if (visited.size() == 58) dict.erase_range(7, 9);
    }
    std::vector<int> expected;
    for (int i = 0; i < 200; ++i) {
        if (i == 60) expected.push_back(7);
        if (i < 70 || i >= 90) expected.push_back(i);
    }
    EXPECT_EQ(visited, expected);
    EXPECT_EQ(dict.size(), 1u);

    PriorityQueue<int, int> queue(dir_ / "queue");
    for (int i = 0; i < 30; ++i) queue.push(i, i / 10);
    visited.clear();
    for (const auto& [priority, item] : queue) {
        visited.push_back(item);
        if (priority > 0) queue.pop();
    }
    EXPECT_EQ(visited.size(), 30u);
    EXPECT_TRUE(std::ranges::is_sorted(visited));
}

/// A value that is equal to the one looked for is not taken from another key, and a value that goes meanwhile is not
/// waited for.
TEST_F(TypedSortedTest, DiscardingFindsItsKeyAgain) {
    RawSorted raw(dir_ / "store", {}, SortedType::multi_dict);
    for (const int key : {1, 2}) {
        for (int value = 0; value < 3000; ++value) {
            detail::NewSortedEntry<int> entry(key);
            raw.push(entry.with_value<int>(value));
        }
    }
    const detail::SortKey<int> one(1), two(2);
    const auto container = [&raw] { return &raw; };
    unsigned calls = 0;
    const auto last_value = [&](Bytes found) {
        if (++calls == 10) raw.erase_slice(0, 2500);  // what comes next is of the other key
        return detail::decode_item<int>(split_sorted_entry(found).value) == 2999;
    };
    EXPECT_TRUE(detail::erase_first_match(container, one, last_value));
    EXPECT_EQ(raw.equal_range(one).size(), 499u);
    EXPECT_EQ(raw.equal_range(two).size(), 3000u);
    const auto take_all = [&](Bytes) {
        raw.erase_all(one);
        return true;
    };
    EXPECT_FALSE(detail::erase_first_match(container, one, take_all));
    EXPECT_FALSE(detail::erase_first_match(container, two, [](Bytes) { return false; }));
    EXPECT_EQ(raw.size(), 3000u);
}

/// Whatever happens between its steps: a value was missed when ranks moved while it was looked for.
TEST_F(TypedSortedTest, DiscardingMissesNoValueThatWasThere) {
    const detail::SortKey<int> two(2);
    for (const int values : {1, 5, 3000}) {
        for (const int wanted : {0, values / 2, std::min(1030, values - 1), values - 1}) {
            for (unsigned when = 1; when < 8; ++when) {
                SCOPED_TRACE(testing::Message() << "value " << wanted << " of " << values << ", before step " << when);
                RawSorted raw(dir_ / "store", {.mode = Mode::truncate}, SortedType::multi_dict);
                const auto add = [&raw](int key, int value) {
                    detail::NewSortedEntry<int> entry(key);
                    raw.push(entry.with_value<int>(value));
                };
                for (int i = 0; i < 3; ++i) add(1, i);
                for (int i = 0; i < values; ++i) add(2, i);
                unsigned steps = 0;
                const auto disturbed = [&] {
                    if (++steps == when) {
                        raw.erase_slice(0, 2);
                        raw.erase_slice(1, static_cast<std::uint64_t>(std::min(100, wanted)));  // equal keys before it
                        for (int i = 0; i < 2; ++i) add(2, -1);
                    }
                    return &raw;
                };
                EXPECT_TRUE(detail::erase_first_match(disturbed, two, [&](Bytes found) {
                    return detail::decode_item<int>(split_sorted_entry(found).value) == wanted;
                }));
            }
        }
    }
}

/// A place was looked for in one step and used in another, when it could be another key's.
TEST_F(TypedSortedTest, PlacesAreThoseOfTheirKeysBesideOtherThreads) {
    Store store(dir_ / "store");
    auto dict = store.sorted_dict<int, int>("dict");
    auto set = store.sorted_set<int>("set");
    auto multi = store.multi_dict<int, int>("multi");
    for (int i = 0; i < 200; ++i) {
        dict.insert(i, i);
        set.insert(i);
        multi.add(i, i);
        multi.add(i, -i);
    }
    std::atomic<bool> stop = false;
    std::thread others([&] {
        while (!stop) {
            dict.erase(0);
            set.erase(0);
            multi.erase(0);
            dict.insert(0, 0);
            set.insert(0);
            multi.add(0, 0);
        }
    });
    for (unsigned i = 0; i < scaled(3000); ++i) {
        const auto found = dict.find(100), below = dict.lower_bound(100), above = dict.upper_bound(100);
        ASSERT_TRUE(found != dict.end() && below != dict.end() && above != dict.end());
        ASSERT_EQ(std::tuple(found->first, below->first, above->first), std::tuple(100, 100, 101));
        ASSERT_EQ(*set.find(100), 100);
        ASSERT_EQ(*set.upper_bound(100), 101);
        ASSERT_EQ(multi.find(100)->first, 100);
        ASSERT_EQ(std::ranges::distance(multi.equal_range(100)), 2);
        ASSERT_EQ(dict.pop_last(), std::pair(199, 199));
        dict.insert(199, 199);
        ASSERT_EQ(dict.erase_range(150, 152), 2u);
        ASSERT_TRUE(dict.contains(149) && !dict.contains(150) && !dict.contains(151) && dict.contains(152));
        dict.insert(150, 150);
        dict.insert(151, 151);
    }
    stop = true;
    others.join();
    EXPECT_EQ(dict.find(1000), dict.end());
    EXPECT_EQ(dict.upper_bound(199), dict.end());
    EXPECT_EQ(dict.lower_bound(-5), dict.begin());
}

TEST_F(TypedSortedTest, OneStoreHoldsThemAll) {
    Store store(dir_ / "store");
    auto symbols = store.sorted_dict<std::uint64_t, std::string>("symbols");
    auto seen = store.sorted_set<std::uint64_t>("seen");
    auto tasks = store.priority_queue<std::uint64_t>("tasks");
    auto callers = store.multi_dict<std::uint64_t, std::uint64_t>("callers");
    {
        const Transaction transaction(store);
        symbols.insert_or_assign(1, "x");
        seen.insert(1);
        tasks.push(1);
        callers.add(1, 2);
    }
    EXPECT_TRUE(symbols.empty() && seen.empty() && tasks.empty() && callers.empty()) << "rolled back";
    Transaction transaction(store);
    for (const std::uint64_t n : {3, 1, 2}) {
        tasks.push(n);
        seen.insert(n);
    }
    transaction.commit();
    EXPECT_EQ(tasks.pop(), std::optional<std::uint64_t>(1));
    EXPECT_EQ(seen.nth(1), 2u);
    EXPECT_EQ(store.type_of("symbols"), "sorted dict");
    EXPECT_EQ(store.type_of("callers"), "multi-dict");
    EXPECT_THROW((store.dict<int, int>("symbols")), FormatError);
}

/// As those of std::multimap: a loop from one to another ends there.
TEST_F(TypedSortedTest, IteratorsAreEqualWhereTheyAreAtTheSameEntry) {
    Store store(dir_ / "store");
    auto dict = store.dict<int, int>("dict");
    auto sorted = store.sorted_dict<int, int>("sorted");
    auto multi = store.multi_dict<int, int>("multi");
    auto set = store.sorted_set<int>("set");
    for (int i = 0; i < 1000; i += 10) {
        dict.insert_or_assign(i, i);
        sorted.insert_or_assign(i, i);
        set.insert(i);
        for (int k = 0; k < 3; ++k) multi.add(i, k);
    }
    std::vector<int> found;
    for (auto i = sorted.lower_bound(95); i != sorted.upper_bound(130); ++i) found.push_back(i->first);
    EXPECT_EQ(found, (std::vector<int>{100, 110, 120, 130}));
    EXPECT_EQ(std::ranges::distance(std::ranges::subrange(set.lower_bound(10), set.lower_bound(200))), 19);
    EXPECT_EQ(std::ranges::distance(std::ranges::subrange(multi.lower_bound(10), multi.upper_bound(20))), 6);
    EXPECT_EQ(std::ranges::distance(std::ranges::subrange(dict.find(10), dict.find(500))), 49);
    EXPECT_TRUE(dict.begin() == dict.begin());
    EXPECT_TRUE(sorted.begin() == sorted.find(0));
    EXPECT_TRUE(sorted.begin() != sorted.end());
    auto second = multi.find(0), third = multi.find(0);
    ++second;
    EXPECT_TRUE(second != multi.find(0)) << "another value of the same key";
    ++third;
    EXPECT_TRUE(third == second);
    multi.add(-5, 0);  // ranks change
    EXPECT_TRUE(third == second);
    EXPECT_TRUE(sorted.lower_bound(5000) == sorted.end());
}

}  // namespace
}  // namespace pyrsistence
