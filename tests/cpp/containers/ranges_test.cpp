// Every container, and what the external-memory algorithms return, as ranges of the standard library.
#include <algorithm>
#include <array>
#include <map>
#include <ranges>

#include "pyrsistence/pyrsistence.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

namespace ranges = std::ranges;
namespace views = std::views;

struct Call {
    std::uint64_t target, site;
};

template <class Range>
concept Readable =
    ranges::input_range<const Range> && ranges::common_range<const Range> && ranges::sized_range<const Range>;
template <class Range>
concept Indexed = Readable<Range> && ranges::random_access_range<const Range>;
template <class Range>
concept Once = ranges::input_range<Range> && std::movable<Range> && ranges::viewable_range<Range>;

static_assert(Readable<Dict<std::string, int>> && Readable<Set<std::string>>);
static_assert(Readable<SortedDict<std::string, int>> && Readable<SortedSet<std::string>>);
static_assert(Readable<PriorityQueue<std::string>> && Readable<PriorityQueue<std::string, double>>);
static_assert(Readable<MultiDict<std::string, int>>);
static_assert(Indexed<List<std::string>> && Indexed<Deque<std::string>> && Indexed<Array<double>>);
static_assert(ranges::view<decltype(std::declval<const MultiDict<int, int>&>().getall(1))>);
static_assert(ranges::input_range<decltype(std::declval<const MultiDict<int, int>&>().equal_range(1))>);

using Numbers = std::vector<std::uint64_t>;
static_assert(Once<Sorted<std::string>> && Once<ExternalShuffler<Call>>);
static_assert(Once<decltype(merge(std::vector<Numbers>()))> && Once<decltype(unique(Numbers()))>);
static_assert(Once<decltype(group_by(Numbers()))>);
static_assert(ranges::input_range<ranges::range_value_t<decltype(group_by(Numbers()))>>);

/// With functions that have captures, which cannot be assigned, results can still be moved into views.
std::uint64_t offset = 0;
constexpr auto capturing = [](std::uint64_t& by) { return [&by](std::uint64_t n) { return n + by; }; };
constexpr auto comparing = [](std::uint64_t& by) {
    return [&by](std::uint64_t a, std::uint64_t b) { return a < b + by; };
};
static_assert(Once<decltype(external_sort(Numbers(), comparing(offset), capturing(offset)))>);
static_assert(Once<decltype(merge(std::vector<Numbers>(), comparing(offset), capturing(offset)))>);
static_assert(Once<decltype(unique(Numbers(), comparing(offset)))>);
static_assert(Once<decltype(group_by(Numbers(), capturing(offset)))>);

class RangesTest : public ::testing::Test {
protected:
    static auto vector_of(auto&& range) {
        std::vector<ranges::range_value_t<decltype(range)>> found;
        for (auto&& item : range) found.push_back(item);
        return found;
    }
    TempDir dir_{true};
};

template <class Container>
void expect_random_access(const Container& numbers) {
    ASSERT_EQ(numbers.size(), 1000u);
    EXPECT_EQ(ranges::lower_bound(numbers, 500) - numbers.begin(), 250);
    EXPECT_TRUE(ranges::binary_search(numbers, 998));
    EXPECT_FALSE(ranges::binary_search(numbers, 999));
    EXPECT_EQ(*ranges::max_element(numbers), 1998);
    EXPECT_TRUE(ranges::is_sorted(numbers));
    EXPECT_EQ(*ranges::begin(numbers | views::reverse | views::drop(3)), 1992);
    EXPECT_EQ(ranges::distance(numbers | views::drop(990)), 10);
    EXPECT_EQ(ranges::end(numbers)[-1], 1998);
    EXPECT_EQ(*std::find(numbers.begin(), numbers.end(), 20), 20);
}

TEST_F(RangesTest, SequencesAreRandomAccessRanges) {
    List<int> list(dir_ / "list");
    Deque<int> deque(dir_ / "deque");
    Array<int> array(dir_ / "array");
    const auto even = views::iota(0, 1000) | views::transform([](int i) { return 2 * i; });
    list.append_range(even);
    deque.append_range(even);
    array.append_range(even);
    expect_random_access(list);
    expect_random_access(deque);
    expect_random_access(array);
}

TEST_F(RangesTest, ContainersByKeyAreInputRanges) {
    Dict<std::string, int> dict(dir_ / "dict");
    SortedDict<std::string, int> sorted(dir_ / "sorted");
    MultiDict<std::string, int> multi(dir_ / "multi");
    for (const auto& [key, value] : std::map<std::string, int>{{"a", 1}, {"b", 2}, {"c", 3}}) {
        dict.insert_or_assign(key, value);
        sorted.insert_or_assign(key, value);
        multi.add(key, value);
    }
    const auto odd = [](const auto& entry) { return entry.second % 2 == 1; };
    const auto check = [&](const auto& container) {
        EXPECT_EQ(vector_of(container | views::filter(odd) | views::keys), (std::vector<std::string>{"a", "c"}));
        EXPECT_EQ(vector_of(container | views::values | views::take(2)), (std::vector<int>{1, 2}));
        EXPECT_EQ(ranges::count_if(container, odd), 2);
        EXPECT_EQ(ranges::find(container, std::pair<std::string, int>("b", 2))->second, 2);
    };
    check(dict);
    check(sorted);
    check(multi);
    Set<int> set(dir_ / "set");
    SortedSet<int> ordered(dir_ / "ordered");
    PriorityQueue<int> queue(dir_ / "queue");
    for (const int n : {3, 1, 2}) {
        set.insert(n);
        ordered.insert(n);
        queue.push(n);
    }
    EXPECT_EQ(vector_of(set | views::take(2)), (std::vector<int>{3, 1}));
    EXPECT_EQ(vector_of(ordered | views::transform([](int n) { return -n; })), (std::vector<int>{-1, -2, -3}));
    EXPECT_EQ(vector_of(queue | views::keys), (std::vector<int>{1, 2, 3}));
}

/// Containers go into the algorithms, and their results into views and each other.
TEST_F(RangesTest, AlgorithmsCompose) {
    List<std::uint64_t> list(dir_ / "list");
    list.append_range(Numbers{5, 3, 5, 1, 3, 5});
    const ExternalOptions options{.memory_limit = 1, .directory = dir_.path()};
    std::uint64_t by = 0;
    auto sorted = external_sort(list, comparing(by), capturing(by), options);
    EXPECT_EQ(vector_of(std::move(sorted) | views::take(3)), (Numbers{1, 3, 3}));
    EXPECT_EQ(vector_of(unique(external_sort(list, {}, {}, options)) | views::drop(1)), (Numbers{3, 5}));
    std::vector<std::pair<std::uint64_t, std::ptrdiff_t>> groups;
    for (auto group : group_by(external_sort(list, {}, {}, options), capturing(by))) {
        groups.emplace_back(group.key(), ranges::distance(group));
    }
    EXPECT_EQ(groups, (decltype(groups){{1, 1}, {3, 2}, {5, 3}}));
    SortedSet<std::uint64_t> even(dir_ / "even"), odd(dir_ / "odd");
    for (const std::uint64_t n : {2, 4}) even.insert(n);
    for (const std::uint64_t n : {1, 3, 5}) odd.insert(n);
    auto merged = merge(std::vector{views::all(even), views::all(odd)}, comparing(by));
    EXPECT_EQ(vector_of(merged), (Numbers{1, 2, 3, 4, 5}));
    const auto is_five = [](std::uint64_t n) { return n == 5; };
    EXPECT_EQ(ranges::distance(external_shuffle(list, 1, options) | views::filter(is_five)), 3);
    Numbers target;
    const auto tenfold = views::transform([](std::uint64_t n) { return 10 * n; });
    ranges::copy(external_sort(odd, ranges::greater{}, options) | tenfold, std::back_inserter(target));
    EXPECT_EQ(target, (Numbers{50, 30, 10}));
}

TEST_F(RangesTest, GroupsOfAMultiDict) {
    MultiDict<std::string, int> multi(dir_ / "multi");
    multi.insert_range(std::vector<std::pair<std::string, int>>{{"b", 1}, {"a", 2}, {"b", 3}});
    std::map<std::string, int> sums;
    for (auto group : group_by(multi, &std::pair<std::string, int>::first)) {
        for (const auto& [key, value] : group) sums[group.key()] += value;
    }
    EXPECT_EQ(sums, (std::map<std::string, int>{{"a", 2}, {"b", 4}}));
    const auto values = multi.getall("b");
    EXPECT_EQ(std::vector<int>(values.begin(), values.end()), (std::vector<int>{1, 3}));
}

}  // namespace
}  // namespace pyrsistence::test
