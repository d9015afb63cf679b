// List<T>::sort beside std::stable_sort, under memory limits that force several levels, and what it leaves of a list
// that cannot be sorted.
#include <algorithm>
#include <set>

#include "pyrsistence/pyrsistence.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

struct Call {
    std::uint64_t target;
    std::string site;
    bool operator==(const Call&) const = default;
};

}  // namespace
}  // namespace pyrsistence::test

template <>
struct pyrsistence::Codec<pyrsistence::test::Call> {
    using Fields = std::pair<std::uint64_t, std::string>;
    static void encode(Buffer& out, const test::Call& c) { Codec<Fields>::encode(out, {c.target, c.site}); }
    static test::Call decode(Reader& in) {
        auto [target, site] = Codec<Fields>::decode(in);
        return {target, std::move(site)};
    }
};

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kLimits[] = {1, 20'000, 64 << 20};

template <class T>
concept Sortable = requires(List<T>& list) { list.sort(); };
static_assert(Sortable<int> && Sortable<std::string> && !Sortable<Call>);

class ListSortTest : public ::testing::Test {
protected:
    /// Sorts a list and its model by the same order.
    template <class T, class Less, class Proj>
    void expect_sorted(std::vector<T> model, Less less, Proj proj, std::uint64_t memory) {
        const fs::path path = dir_.next(), copy = dir_.next();
        List<T> list(path);
        list.append_range(model);
        list.sort(less, proj, {.memory_limit = memory});
        std::ranges::stable_sort(model, less, proj);
        ASSERT_TRUE(std::ranges::equal(list, model)) << memory;
        list.check();
        copy_store(path, copy);
        ASSERT_TRUE(std::ranges::equal(List<T>(copy), model)) << "killed";
    }
    static std::vector<std::int64_t> numbers(std::size_t count, std::uint64_t salt) {
        Random random(salt);
        std::vector<std::int64_t> made(count);
        for (std::int64_t& n : made) n = static_cast<std::int64_t>(random.below(1000)) - 500;
        return made;
    }

    TempDir dir_{true};
};

TEST_F(ListSortTest, SortsAsStableSort) {
    PYRSISTENCE_TRACE_SEED;
    Random random(501);
    for (const std::uint64_t memory : kLimits) {
        for (const std::size_t count : {0, 1, 2, 100, 3000}) {
            if (memory == 1 && count > 100) continue;
            std::vector<std::string> texts;
            std::vector<Call> calls;
            for (std::size_t i = 0; i < count; ++i) {
                texts.push_back(std::to_string(random.below(300)) + std::string(random.below(50), 't'));
                calls.push_back({random.below(20), std::to_string(i)});
            }
            const std::vector<std::int64_t> some = numbers(count, count);
            expect_sorted(some, std::ranges::less{}, std::identity{}, memory);
            expect_sorted(some, std::less<>{}, [](std::int64_t n) { return n / 100; }, memory);
            expect_sorted(texts, std::ranges::greater{}, std::identity{}, memory);
            const auto by_rest = [&](std::size_t a, std::size_t b) { return a % memory > b % memory; };
            expect_sorted(texts, by_rest, &std::string::size, memory);
            expect_sorted(calls, std::ranges::less{}, &Call::target, memory);
        }
    }
}

/// More than fits into the memory of the sort, and into the log of the store.
TEST_F(ListSortTest, SortsMoreThanTheLimit) {
    List<std::int64_t> list(dir_ / "store", {.memory_limit = 8 << 20});
    std::vector<std::int64_t> model(scaled(200'000));
    Random random(502);
    for (std::int64_t& n : model) n = static_cast<std::int64_t>(random() >> 1);
    list.append_range(model);
    list.sort({}, {}, {.memory_limit = 300'000});
    std::ranges::sort(model);
    EXPECT_TRUE(std::ranges::equal(list, model));
    list.check();
    std::set<std::string> files;
    for (const auto& file : fs::directory_iterator(dir_ / "store")) files.insert(file.path().filename());
    EXPECT_EQ(files, (std::set<std::string>{"data", "lock", "log"}));
}

/// Whatever Python wrote there, it finds again: 2.0 stays a float where C++ reads integers, True a bool.
TEST_F(ListSortTest, ItemsStayAsTheyWereWritten) {
    for (const std::uint64_t memory : kLimits) {
        const fs::path path = dir_.next();
        List<std::int64_t>(path).append_range(std::vector{5, 1, 3});
        const auto bytes_of = [&] {
            RawList raw(path);
            std::vector<std::string> items;
            Buffer item;
            for (std::uint64_t i = 0; raw.get(i, item); ++i) items.emplace_back(as_text(item));
            return items;
        };
        Buffer two, one, none;
        put_float(two, 2.0);
        put_bool(one, true);
        put_none(none);
        for (const Bytes item : {two.view(), one.view(), none.view()}) RawList(path).append(item);
        std::vector<std::string> expected = bytes_of();
        List<std::int64_t> list(path);
        EXPECT_THROW(list.sort({}, {}, {.memory_limit = memory}), FormatError);
        EXPECT_EQ(bytes_of(), expected);
        list.erase(5);
        list.sort({}, {}, {.memory_limit = memory});
        std::vector<std::string> sorted;
        for (const std::size_t i : {1, 4, 3, 2, 0}) sorted.push_back(expected[i]);
        EXPECT_EQ(bytes_of(), sorted);
    }
}

/// Neither a comparison nor a projection runs under the store's lock.
TEST_F(ListSortTest, ProjectionsMayUseTheStore) {
    for (const std::uint64_t memory : kLimits) {
        Store store(dir_.next());
        auto weights = store.dict<std::int64_t, std::int64_t>("weights");
        auto names = store.list<std::int64_t>("names");
        std::vector<std::int64_t> model;
        for (std::int64_t i = 0; i < 100; ++i) {
            weights.insert_or_assign(i, i * 37 % 101);
            model.push_back(i);
        }
        names.append_range(model);
        const auto weight = [&](std::int64_t name) {
            weights.insert_or_assign(-1, name);  // a change of something else
            return weights.at(name);
        };
        names.sort({}, weight, {.memory_limit = memory});
        std::ranges::sort(model, {}, weight);
        EXPECT_TRUE(std::ranges::equal(names, model)) << memory;
        store.check();
    }
}

TEST_F(ListSortTest, WhatFailsChangesNothing) {
    for (const std::uint64_t memory : kLimits) {
        const std::vector<std::int64_t> model = numbers(60, 7);
        List<std::int64_t> list(dir_.next());
        list.append_range(model);
        const ExternalOptions options{.memory_limit = memory};
        unsigned all = 0;
        {
            Transaction undone = list.transaction();
            list.sort([&](std::int64_t a, std::int64_t b) { return ++all, a < b; }, {}, options);
            EXPECT_TRUE(std::ranges::is_sorted(list));
        }
        EXPECT_TRUE(std::ranges::equal(list, model)) << "rolled back";
        for (unsigned at = 1; at <= all; at += 1 + all / 20) {
            unsigned calls = 0;
            const auto fails = [&](std::int64_t a, std::int64_t b) {
                if (++calls == at) throw std::runtime_error("test");
                return a < b;
            };
            EXPECT_THROW(list.sort(fails, {}, options), std::runtime_error);
            ASSERT_TRUE(std::ranges::equal(list, model)) << at;
        }
        bool pushed = false;
        const auto push = [&](std::int64_t n) {
            if (!std::exchange(pushed, true)) list.push_back(1000);
            return n;
        };
        EXPECT_THROW(list.sort({}, push, options), Error);
        EXPECT_EQ(list.size(), model.size() + 1);
        EXPECT_TRUE(std::ranges::equal(std::views::take(list, 60), model));
        if (memory == 1) {
            EXPECT_THROW(list.sort({}, {}, {.memory_limit = memory, .directory = dir_ / "missing"}), StorageError);
        }
        list.check();
    }
}

TEST_F(ListSortTest, NeedsAListThatMayChange) {
    List<int> list(dir_ / "store");
    list.append_range(std::vector{2, 1});
    List<int> before = list.snapshot();
    EXPECT_THROW(before.sort(), ReadOnlyError);
    list.sort();
    EXPECT_EQ(list.front(), 1);
    EXPECT_EQ(before.front(), 2);
    list.close();
    EXPECT_THROW(list.sort(), ClosedError);
}

}  // namespace
}  // namespace pyrsistence::test
