// The algorithms of external.hpp beside those of the standard library, under memory limits that force several levels.
#include "pyrsistence/external.hpp"

#include <deque>
#include <list>
#include <sstream>

#include "crash/failing_files.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

struct Edge {
    std::uint64_t target;
    std::uint64_t number;
    friend bool operator==(const Edge&, const Edge&) = default;
};
struct Point {
    int x, y;
    friend bool operator==(const Point&, const Point&) = default;
};
struct alignas(64) Wide {
    double value;
};

}  // namespace
}  // namespace pyrsistence::test

template <>
struct pyrsistence::Codec<pyrsistence::test::Point> {
    using Fields = std::pair<int, int>;
    static void encode(Buffer& out, const test::Point& p) { Codec<Fields>::encode(out, {p.x, p.y}); }
    static test::Point decode(Reader& in) {
        const Fields fields = Codec<Fields>::decode(in);
        return {fields.first, fields.second};
    }
};

namespace pyrsistence::test {
namespace {

static_assert(Spillable<Edge> && Spillable<int> && Spillable<std::string> && Spillable<Point>);
static_assert(Spillable<std::pair<std::string, std::vector<int>>>);
static_assert(!Spillable<std::string_view> && !Spillable<Bytes> && !Spillable<Wide> && !Spillable<std::unique_ptr<int>>);
static_assert(std::movable<ExternalSorter<Edge>> && !std::copyable<ExternalSorter<Edge>>);
static_assert(std::ranges::input_range<Sorted<std::string>> && !std::copyable<Sorted<std::string>>);
static_assert(std::ranges::input_range<ExternalShuffler<std::string>>);

constexpr std::uint64_t kLimits[] = {1, 10'000, 100'000, 1 << 20, 64 << 20};

class ExternalTest : public ::testing::Test {
protected:
    ExternalOptions options(std::uint64_t memory = 64 << 20) { return {.memory_limit = memory, .directory = dir_.path()}; }
    void TearDown() override { EXPECT_TRUE(fs::is_empty(dir_.path())); }

    TempDir dir_{true};
};

template <class Range>
auto all(Range&& range) {
    std::vector<std::ranges::range_value_t<Range>> found;
    for (auto&& item : range) found.push_back(std::move(item));
    return found;
}

std::vector<Edge> edges(std::uint64_t count, std::uint64_t targets, std::uint64_t salt) {
    Random random(salt);
    std::vector<Edge> made(count);
    for (std::uint64_t i = 0; i < count; ++i) made[i] = {random.below(targets), i};
    return made;
}

TEST_F(ExternalTest, SortsFixedRecordsStably) {
    PYRSISTENCE_TRACE_SEED;
    for (const std::uint64_t memory : kLimits) {
        for (const std::uint64_t count : {0, 1, 2, 255, 256, 257, 5000, 40'000}) {
            if (memory == 1 && count > 300) continue;
            for (const std::uint64_t targets : {1, 50, 1 << 30}) {
                std::vector<Edge> expected = edges(count, targets, count + targets);
                auto sorted = external_sort(expected, {}, &Edge::target, options(memory));
                EXPECT_EQ(sorted.size(), count);
                std::ranges::stable_sort(expected, {}, &Edge::target);
                ASSERT_EQ(all(sorted), expected) << memory << " " << count << " " << targets;
                EXPECT_TRUE(sorted.done());
            }
        }
    }
}

TEST_F(ExternalTest, SortsItemsWithACodec) {
    PYRSISTENCE_TRACE_SEED;
    Random random(4);
    for (const std::uint64_t memory : kLimits) {
        std::vector<std::string> expected;
        for (std::uint64_t i = 0; i < (memory == 1 ? 100 : 4000); ++i) expected.push_back(content(random.below(3000), random.below(60)));
        for (std::string& text : expected) std::ranges::replace_if(text, [](char c) { return c < 0; }, 'x');
        auto sorted = external_sort(expected, std::ranges::greater{}, options(memory));
        std::ranges::stable_sort(expected, std::ranges::greater{});
        ASSERT_EQ(all(std::move(sorted)), expected) << memory;

        using Pair = std::pair<int, std::vector<std::string>>;
        std::vector<Pair> pairs;
        for (int i = 0; i < 1000; ++i) pairs.emplace_back(int(random.below(20)), std::vector<std::string>(random.below(4), std::to_string(i)));
        auto by_first = external_sort(pairs, {}, &Pair::first, options(memory));
        std::ranges::stable_sort(pairs, {}, &Pair::first);
        ASSERT_EQ(all(std::move(by_first)), pairs) << memory;
    }
    std::list<Point> points = {{3, 1}, {1, 2}, {2, 3}};
    EXPECT_EQ(all(external_sort(points, {}, &Point::x, options())), (std::vector<Point>{{1, 2}, {2, 3}, {3, 1}}));
}

TEST_F(ExternalTest, AllComparisonsAtOnce) {
    for (const std::uint64_t memory : kLimits) {
        for (const std::uint64_t count : {0, 1, 300, 5000, 30'000}) {
            if (memory == 1 && count > 300) continue;
            std::vector<Edge> expected = edges(count, 50, count);
            bool over = false, late = false;
            const auto less = [&](std::uint64_t a, std::uint64_t b) { return late |= over, a < b; };
            using Sorter = ExternalSorter<Edge, std::reference_wrapper<decltype(less)>, std::uint64_t Edge::*>;
            Sorter sorter(options(memory), std::ref(less), &Edge::target);
            for (const Edge& edge : expected) sorter.push(edge);
            auto sorted = sorter.finish(Comparisons::at_once);
            over = true;
            EXPECT_EQ(sorted.size(), count);
            std::ranges::stable_sort(expected, {}, &Edge::target);
            EXPECT_EQ(all(std::move(sorted)), expected);
            EXPECT_FALSE(late) << memory << " " << count;
        }
    }
}

TEST_F(ExternalTest, ItemsLargerThanTheMemory) {
    std::vector<std::string> expected;
    for (std::uint64_t i = 0; i < 40; ++i) expected.push_back(std::string(i % 8 == 0 ? 300'000 : 10, char('a' + i * 7 % 26)));
    auto sorted = external_sort(expected, std::ranges::less{}, options(50'000));
    std::ranges::stable_sort(expected);
    EXPECT_EQ(all(std::move(sorted)), expected);
}

TEST_F(ExternalTest, SortsInputRangesAndMovesItems) {
    std::istringstream words("the quick brown fox jumps over the lazy dog");
    const auto sorted = all(external_sort(std::views::istream<std::string>(words)));
    EXPECT_EQ(sorted, (std::vector<std::string>{"brown", "dog", "fox", "jumps", "lazy", "over", "quick", "the", "the"}));
}

TEST_F(ExternalTest, ASorterCanBeMovedAndUsedAgain) {
    ExternalSorter<int> first(options(1000));
    for (int i = 3000; i > 0; --i) first.push(i);
    ExternalSorter<int> second = std::move(first);
    auto sorted = second.finish();
    EXPECT_EQ(second.size(), 0U);
    second.push(2);
    second.push(1);
    auto moved = std::move(sorted);
    int expected = 0;
    for (const int found : moved) ASSERT_EQ(found, ++expected);
    EXPECT_EQ(expected, 3000);
    EXPECT_EQ(all(second.finish()), (std::vector<int>{1, 2}));
    EXPECT_TRUE(all(second.finish()).empty());
}

TEST_F(ExternalTest, ComparisonsThatThrowEndIt) {
    struct Refused {};
    for (int allowed = 0; allowed < 4000; allowed += 97) {
        int left = allowed;
        const auto less = [&](int a, int b) {
            if (left-- == 0) throw Refused();
            return a < b;
        };
        ExternalSorter<int, decltype(less)> sorter(options(1000), less);
        try {
            for (int i = 0; i < 2000; ++i) sorter.push(i * 7919 % 2000);
            EXPECT_EQ(all(sorter.finish()).size(), 2000U);
            FAIL();
        } catch (const Refused&) {
        }
    }
}

TEST_F(ExternalTest, EveryFailureOfTheDiskIsAnError) {
    std::uint64_t failures = 0;
    for (std::uint64_t at = 1;; at += 1 + at / 8) {
        Faults faults;
        FailingFiles files(faults);
        faults.arm(at, ENOSPC, true);
        ExternalOptions failing = options(20'000);
        failing.files = &files;
        try {
            const std::vector<Edge> sorted = all(external_sort(edges(20'000, 100, 1), {}, &Edge::target, failing));
            ASSERT_TRUE(std::ranges::is_sorted(sorted, {}, &Edge::target));
            ASSERT_EQ(sorted.size(), 20'000U);
        } catch (const StorageError& error) {
            ++failures;
            EXPECT_TRUE(faults.made(error)) << error.what();
        }
        for (const fs::path& left : fs::directory_iterator(dir_.path())) fs::remove(left);  // its removal failed
        if (faults.failed().empty()) break;
    }
    EXPECT_GT(failures, 10U);
}

TEST_F(ExternalTest, MergesAnyNumberOfRanges) {
    PYRSISTENCE_TRACE_SEED;
    Random random(5);
    for (std::size_t count = 0; count < 20; ++count) {
        std::vector<std::vector<Edge>> rows(count);
        std::vector<Edge> expected;
        for (std::vector<Edge>& row : rows) {
            row = edges(random.below(30), 20, random());
            for (Edge& edge : row) edge.number += 1000 * static_cast<std::uint64_t>(&row - rows.data());
            std::ranges::stable_sort(row, {}, &Edge::target);
            expected.insert(expected.end(), row.begin(), row.end());
        }
        std::ranges::stable_sort(expected, {}, &Edge::target);
        EXPECT_EQ(all(merge(rows, {}, &Edge::target)), expected);
    }
    std::vector<Sorted<int>> sorted;
    sorted.push_back(external_sort(std::vector{5, 1, 3}));
    sorted.push_back(external_sort(std::vector{4, 2}));
    EXPECT_EQ(all(merge(std::move(sorted))), (std::vector{1, 2, 3, 4, 5}));
    std::vector<int> evens = {0, 2}, odds = {1, 3};
    EXPECT_EQ(all(merge(std::vector{std::views::all(evens), std::views::all(odds)})), (std::vector{0, 1, 2, 3}));
}

TEST_F(ExternalTest, UniqueKeepsTheFirstOfEqualNeighbours) {
    const auto same = [](const Edge& a, const Edge& b) { return a.target == b.target; };
    std::vector<Edge> expected, some = edges(1000, 100, 6);
    auto found = all(unique(external_sort(some, {}, &Edge::target, options(2000)), same));
    std::ranges::stable_sort(some, {}, &Edge::target);
    std::ranges::unique_copy(some, std::back_inserter(expected), same);
    EXPECT_EQ(found, expected);
    EXPECT_TRUE(all(unique(std::vector<int>())).empty());
    EXPECT_EQ(all(unique(std::vector{1, 1, 2, 1})), (std::vector{1, 2, 1}));
    EXPECT_EQ(all(unique(std::vector<std::string>{"a", "a", "b"})), (std::vector<std::string>{"a", "b"}));
}

TEST_F(ExternalTest, GroupsNeighbours) {
    std::vector<Edge> some = edges(1000, 100, 7);
    std::map<std::uint64_t, std::vector<Edge>> expected, found;
    for (const Edge& edge : some) expected[edge.target].push_back(edge);
    for (auto group : group_by(external_sort(some, {}, &Edge::target, options(2000)), &Edge::target)) {
        EXPECT_FALSE(found.contains(group.key()));
        auto& items = found[group.key()];
        for (const Edge& edge : group) items.push_back(edge);
    }
    EXPECT_EQ(found, expected);
    std::vector<int> keys;
    for (auto group : group_by(std::vector{1, 1, 2, 2, 1})) keys.push_back(group.key());  // none of them is looked at
    EXPECT_EQ(keys, (std::vector{1, 2, 1}));
    for (auto group : group_by(std::vector<int>())) FAIL() << group.key();
}

TEST_F(ExternalTest, ShufflesItems) {
    std::vector<std::string> texts;
    for (int i = 0; i < 3000; ++i) texts.push_back(std::to_string(i));
    for (const std::uint64_t memory : {4000ULL, 64ULL << 20}) {
        const auto one = all(external_shuffle(texts, 1, options(memory)));
        EXPECT_EQ(one, all(external_shuffle(texts, 1, options(memory))));
        EXPECT_NE(one, all(external_shuffle(texts, 2, options(memory))));
        auto sorted = one, expected = texts;
        std::ranges::sort(sorted);
        std::ranges::sort(expected);
        EXPECT_EQ(sorted, expected);
        EXPECT_NE(one, texts);
    }
    auto found = all(external_shuffle(edges(5000, 1 << 20, 8), 3, options(10'000)));
    std::ranges::sort(found, {}, &Edge::number);
    EXPECT_EQ(found, edges(5000, 1 << 20, 8));
}

}  // namespace
}  // namespace pyrsistence::test
