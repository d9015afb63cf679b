// Array<T> and RawArray: random operations beside a vector, crashes, item sizes around that of a page, damage.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "containers/models.hpp"
#include "damage.hpp"
#include "pyrsistence/store.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

using Numbers = Array<std::uint64_t>;
static_assert(std::random_access_iterator<Numbers::const_iterator>);
static_assert(std::ranges::sized_range<const Numbers>);

struct Edge {
    std::uint32_t from, to;
    bool operator==(const Edge&) const = default;
};

class ArrayTest : public ::testing::Test {
protected:
    static std::vector<std::uint64_t> all(const Numbers& array) { return {array.begin(), array.end()}; }
    static ItemType bytes(std::uint64_t size) { return {size, "|V" + std::to_string(size), {}}; }
    TempDir dir_;
};

TEST_F(ArrayTest, IsASequenceOfValues) {
    Numbers array(dir_ / "store");
    EXPECT_TRUE(array.empty());
    EXPECT_THROW(array.pop_back(), std::out_of_range);
    EXPECT_THROW((void)array.at(0), std::out_of_range);
    for (std::uint64_t i = 0; i < 10'000; ++i) array.push_back(i);
    EXPECT_EQ(array.size(), 10'000u);
    EXPECT_EQ(array.front(), 0u);
    EXPECT_EQ(array.back(), 9999u);
    array[5000] += 7;
    EXPECT_EQ(array[5000], 5007u);
    array.write(509, std::vector<std::uint64_t>{1, 2, 3});
    std::vector<std::uint64_t> some(5);
    EXPECT_EQ(array.read(508, some), 5u);
    EXPECT_EQ(some, (std::vector<std::uint64_t>{508, 1, 2, 3, 512}));
    EXPECT_EQ(array.read(9998, some), 2u);
    EXPECT_EQ(array.pop_back(), 9999u);
    EXPECT_THROW(array.set(9999, 1), std::out_of_range);
    EXPECT_THROW(array.write(9998, some), std::out_of_range);
    array.resize(9000);
    array.resize(9002);
    EXPECT_EQ(array[8999], 8999u);
    EXPECT_EQ(array[9000], 0u);
    EXPECT_EQ(array.back(), 0u);
    array.check();
    array.clear();
    EXPECT_EQ(all(array), std::vector<std::uint64_t>{});
    array.check();
}

TEST_F(ArrayTest, WorksWithAlgorithms) {
    Numbers array(dir_ / "store");
    array.append_range(std::views::iota(std::uint64_t{0}, std::uint64_t{20'000}));
    EXPECT_EQ(std::accumulate(array.begin(), array.end(), std::uint64_t{0}), 20'000u * 19'999 / 2);
    EXPECT_EQ(*std::ranges::lower_bound(array, 777u), 777u);
    EXPECT_TRUE(std::ranges::equal(std::ranges::reverse_view(array), std::views::iota(0, 20'000) | std::views::reverse));
    auto at = array.begin() + 3;
    EXPECT_EQ(*at, 3u);
    EXPECT_EQ(*++at, 4u);
    array[5] = 50;  // an iterator that has read ahead reads anew
    EXPECT_EQ(*++at, 50u);
    EXPECT_EQ(at[-1], 4u);
}

TEST_F(ArrayTest, KnowsTheTypeOfItsItems) {
    Store store(dir_ / "store");
    const auto type = [&]<class T>(T*, const char* name) { return store.array<T>(name).type(); };
    EXPECT_EQ(type((double*)nullptr, "a"), (ItemType{8, "<f8", {}}));
    EXPECT_EQ(type((std::int8_t*)nullptr, "b"), (ItemType{1, "|i1", {}}));
    EXPECT_EQ(type((bool*)nullptr, "c"), (ItemType{1, "|b1", {}}));
    EXPECT_EQ(type((std::complex<float>*)nullptr, "d"), (ItemType{8, "<c8", {}}));
    EXPECT_EQ(type((Edge*)nullptr, "e"), (ItemType{8, "|V8", {}}));
    EXPECT_EQ(type((std::array<std::array<std::int16_t, 3>, 2>*)nullptr, "f"), (ItemType{12, "<i2", {2, 3}}));
    EXPECT_EQ(store.type_of("a"), "array");
    try {
        (void)store.array<float>("f");
        FAIL();
    } catch (const FormatError& error) {
        EXPECT_NE(std::string(error.what()).find("an array of <i2 of shape (2, 3), not of <f4;"), std::string::npos) << error.what();
    }
    EXPECT_THROW((void)store.list<int>("a"), FormatError);
    EXPECT_THROW(RawArray(store, "none"), NotFoundError);
    EXPECT_EQ(RawArray(store, "d").type().dtype, "<c8");
    EXPECT_THROW(RawArray(store, "none", ItemType{8, std::string(200, 'x'), {}}), FormatError);
    EXPECT_THROW(RawArray(store, "none", ItemType{0, "<f8", {}}), FormatError);
    EXPECT_FALSE(store.contains("none"));
    store.check();
}

TEST_F(ArrayTest, WithoutATypeNothingIsCreatedOrEmptied) {
    EXPECT_THROW(RawArray(dir_ / "new"), NotFoundError);
    EXPECT_FALSE(fs::exists(dir_ / "new"));
    Numbers(dir_ / "old").push_back(1);
    EXPECT_THROW(RawArray(dir_ / "old", {.mode = Mode::truncate}), FormatError);
    EXPECT_EQ(RawArray(dir_ / "old").size(), 1u);
    EXPECT_THROW(Array<int>(dir_ / "old"), FormatError);
}

/// The bytes of item number `number` in its so-manieth version.
std::vector<std::byte> item_bytes(std::uint64_t number, std::size_t size) {
    std::vector<std::byte> all(size);
    for (std::size_t i = 0; i < size; i += 8) {
        const std::uint64_t word = (number + i) * 0x9E3779B97F4A7C15;
        std::memcpy(all.data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return all;
}

/// Every size of items beside a model, with crashes: among them those that fill a page, leave some of it and need several.
TEST_F(ArrayTest, IsAsAVectorAfterRandomOperationsAndCrashes) {
    PYRSISTENCE_TRACE_SEED;
    Random random(911);
    for (const std::size_t item : {1, 8, 24, 2040, 2041, 4079, 4080, 4081, 10'000, 300'000}) {
        SCOPED_TRACE(item);
        const fs::path path = dir_.next();
        RawArray array(path, {.memory_limit = 8 << 20, .item_type = bytes(item)});
        std::vector<std::byte> model;
        const std::size_t most = std::max<std::size_t>(40 * 4096 / item, 6);  // items
        const auto count = [&] { return model.size() / item; };
        const auto fresh = [&](std::size_t items) {
            std::vector<std::byte> all;
            for (std::size_t i = 0; i < items; ++i) {
                const auto one = item_bytes(random(), item);
                all.insert(all.end(), one.begin(), one.end());
            }
            return all;
        };
        for (std::uint64_t i = 0; i < scaled(item > 4096 ? 300 : 1500); ++i) {
            const unsigned dice = static_cast<unsigned>(random.below(100));
            const std::size_t place = random.below(count() + 1);
            if (dice < 30) {
                const auto items = fresh(random.chance(10) ? random.below(most) : random.below(4));
                array.append(items);
                model.insert(model.end(), items.begin(), items.end());
            } else if (dice < 50) {
                const auto items = fresh(random.below(std::min<std::size_t>(count() - place, random.chance(20) ? most : 3) + 1));
                ASSERT_TRUE(array.write(place, items));
                std::ranges::copy(items, model.begin() + static_cast<std::ptrdiff_t>(place * item));
            } else if (dice < 58) {
                std::vector<std::uint64_t> indices;
                for (std::size_t at = random.below(most); at < count(); at += 1 + random.below(most / 4 + 1)) indices.push_back(at);
                const auto items = fresh(indices.size());
                ASSERT_TRUE(array.scatter(indices, items));
                for (std::size_t k = 0; k < indices.size(); ++k) {
                    std::memcpy(model.data() + indices[k] * item, items.data() + k * item, item);
                }
                std::vector<std::byte> found(items.size());
                ASSERT_TRUE(array.gather(indices, found));
                ASSERT_EQ(found, items);
            } else if (dice < 66) {
                const std::size_t size = random.chance(30) ? random.below(most) : place;
                array.resize(size);
                model.resize(size * item);
            } else if (dice < 70 && !model.empty()) {
                std::vector<std::byte> last(item);
                ASSERT_TRUE(array.pop(last));
                ASSERT_TRUE(std::ranges::equal(last, std::span(model).last(item)));
                model.resize(model.size() - item);
            } else if (dice < 85 && place < count()) {
                std::vector<std::byte> found(item);
                ASSERT_TRUE(array.get(random.chance(50) ? Rank(place) : Rank::end_minus(count() - place), found));
                ASSERT_TRUE(std::ranges::equal(found, std::span(model).subspan(place * item, item)));
            } else {
                std::vector<std::byte> found(random.below(most + 1) * item);
                const std::uint64_t there = array.read(place, found);
                ASSERT_EQ(there, std::min(found.size() / item, count() - place));
                ASSERT_TRUE(std::ranges::equal(std::span(found).first(there * item), std::span(model).subspan(place * item, there * item)));
            }
            if (count() > 2 * most) array.resize(most), model.resize(most * item);
            if (i % 150 == 3) {
                const fs::path copy = dir_.next();
                copy_store(path, copy);
                const RawArray killed(copy);
                killed.check();
                std::vector<std::byte> found((count() + 1) * item);
                ASSERT_EQ(killed.read(0, found), count());
                found.resize(count() * item);
                ASSERT_EQ(found, model);
                fs::remove_all(copy);
            }
            if (i % 400 == 7) array.checkpoint();
        }
        EXPECT_FALSE(array.write(count(), fresh(1)));
        std::vector<std::byte> one(item);
        EXPECT_FALSE(array.get(count(), one));
        EXPECT_FALSE(array.gather(std::vector<std::uint64_t>{count()}, one));
        EXPECT_FALSE(array.scatter(std::vector<std::uint64_t>{count()}, one));
        array.check();
    }
}

TEST_F(ArrayTest, TransactionsUndoEverything) {
    Numbers array(dir_ / "store");
    array.append_range(std::views::iota(0u, 5000u));
    const auto before = all(array);
    {
        const auto transaction = array.transaction();
        array.resize(100'000);
        array.write(0, std::vector<std::uint64_t>(90'000, 7));
        array.resize(10);
        array.push_back(3);
        EXPECT_EQ(array.size(), 11u);
    }
    EXPECT_EQ(all(array), before);
    const Numbers old = array.snapshot();
    array.clear();
    EXPECT_EQ(all(old), before);
    array.check();
}

TEST_F(ArrayTest, FillsItsPages) {
    Numbers array(dir_ / "store");
    const std::vector<std::uint64_t> some(1'000'000, 1);
    array.append(some);
    array.checkpoint();
    EXPECT_LT(array.info().live_pages, 1'000'000 / 510 * 102 / 100);
    array.resize(1000);
    array.checkpoint();
    array.compact();
    EXPECT_LT(array.info().data_bytes, 200'000u);
    EXPECT_EQ(array.size(), 1000u);
    array.check();
}

TEST_F(ArrayTest, CompactsWhatLiesBehindOthers) {
    Store store(dir_ / "store");
    auto list = store.list<std::string>("list");
    auto array = store.array<std::uint64_t>("array");
    for (std::uint64_t i = 0; i < 4000; ++i) list.push_back(std::string(1000, 'x'));
    store.checkpoint();
    array.append_range(std::views::iota(0u, 200'000u));
    store.checkpoint();
    ASSERT_GT(store.info().pages, 1000u);
    list.clear();
    store.compact();
    EXPECT_LT(store.info().pages, 600u) << store.info().live_pages << " of them live";
    EXPECT_EQ(std::accumulate(array.begin(), array.end(), std::uint64_t{0}), 200'000ull * 199'999 / 2);
    store.check();
}

/// What cannot be read becomes zeros: everything else keeps its place, and the log goes on from there.
TEST_F(ArrayTest, IsRepairedWithZerosForWhatIsLost) {
    const fs::path path = dir_ / "store";
    constexpr std::uint64_t kItems = 510 * 600;
    {
        Store store(path);
        auto array = store.array<std::uint64_t>("array");
        array.append_range(std::views::iota(std::uint64_t{1}, kItems + 1));
        store.checkpoint();
        array[kItems - 1] = 5;
        array.push_back(6);
        store.array<Edge>("fresh").push_back({1, 2});
        copy_store(path, dir_ / "copy");
    }
    {
        ClosedStore damaged(dir_ / "copy");
        damaged.flip(damaged.map().leaves.at(100));
    }
    const Report report = verify(dir_ / "copy", {}, dir_ / "repaired");
    ASSERT_GT(report.fault_count, 0u);
    ASSERT_EQ(report.left_out.size(), 1u);
    EXPECT_EQ(report.left_out[0], "510 items of container 'array' that cannot be read; they are zero");
    Store repaired(dir_ / "repaired");
    auto array = repaired.array<std::uint64_t>("array");
    ASSERT_EQ(array.size(), kItems + 1);
    std::uint64_t zeros = 0;
    for (std::uint64_t i = 0; i + 1 < kItems; ++i) {
        const std::uint64_t found = array[i];
        ASSERT_TRUE(found == i + 1 || found == 0) << i;
        zeros += found == 0;
    }
    EXPECT_EQ(zeros, 510u);
    EXPECT_EQ(array[kItems - 1], 5u);
    EXPECT_EQ(array.back(), 6u);
    EXPECT_EQ(repaired.array<Edge>("fresh")[0], (Edge{1, 2}));
    repaired.check();
}

}  // namespace
}  // namespace pyrsistence::test
