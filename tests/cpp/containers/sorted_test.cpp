#include "pyrsistence/raw_sorted.hpp"

#include "containers/crash.hpp"
#include "pyrsistence/codec.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

TEST(RawSortedTest, BehavesAsAMapOfSmallEntries) {
    PYRSISTENCE_TRACE_SEED;
    Random random(301);
    for (const std::uint64_t kind : {0, 1}) {
        run_against_model<RawSorted>(SortedDriver(2 * random() + kind, 5'000, SortedType::dict, {2000, 0}), scaled(40'000), kMedium, random);
    }
}

TEST(RawSortedTest, BehavesAsAMapOfLargeEntries) {
    PYRSISTENCE_TRACE_SEED;
    Random random(302);
    for (const std::uint64_t kind : {0, 1}) {
        run_against_model<RawSorted>(SortedDriver(2 * random() + kind, 400, SortedType::dict, {2 << 20, 5}), scaled(8'000), kSmall, random);
    }
}

TEST(RawSortedTest, ThrowsNothingAwayWhenKilled) {
    PYRSISTENCE_TRACE_SEED;
    Random random(303);
    run_and_kill<RawSorted>(SortedDriver(random(), 500, SortedType::dict, {300'000, 5}), scaled(60), kSmall, random);
    run_and_kill<RawSorted>(SortedDriver(random(), 5'000, SortedType::dict, {300, 0}), scaled(30), kMedium, random);
}

TEST(RawSortedTest, IsAPrefixAfterAPowerFailure) {
    PYRSISTENCE_TRACE_SEED;
    Random random(304);
    run_and_lose_power<RawSorted>(SortedDriver(random(), 200, SortedType::dict, {100'000, 5}), scaled(80), kSmall, random);
}

class SortedTest : public ::testing::Test {
protected:
    struct Entry {
        std::string bytes, sort_key;
        std::size_t key_size;
        operator SortedEntry() const { return {as_bytes(bytes), as_bytes(sort_key), key_size}; }
    };
    template <class K>
    static Entry entry(const K& key, std::uint64_t value = 0) {
        Buffer identity, bytes;
        KeyCodec<K>::encode(identity, key);
        const std::string sort_key(as_text(put_sorted_entry_key(bytes, identity, {})));
        const std::size_t key_size = bytes.size();
        put_uint(bytes, value);
        return {std::string(as_text(bytes)), sort_key, key_size};
    }
    std::size_t faults(Handle& handle) {
        handle.checkpoint();
        return handle.verify({}, {}).fault_count;
    }

    TempDir dir_;
};

TEST_F(SortedTest, KeysOfOneContainerAreComparable) {
    RawSorted sorted(dir_ / "store");
    const auto small = entry(std::tuple<int, std::string>(1, "a")), other = entry(std::tuple(1, 2)), fine = entry(std::tuple(0, 2)), number = entry(1);
    sorted.set(small);
    EXPECT_THROW(sorted.set(other), OrderError);
    EXPECT_THROW(sorted.set(number), OrderError);
    Buffer existing;
    EXPECT_THROW(sorted.insert(other, existing), OrderError);
    EXPECT_THROW(sorted.require_comparable(as_bytes(number.sort_key)), OrderError);
    sorted.set(fine);
    EXPECT_EQ(sorted.size(), 2u);
    EXPECT_FALSE(sorted.contains(as_bytes(number.sort_key)));
    sorted.clear();
    EXPECT_TRUE(sorted.set(number));
    EXPECT_EQ(faults(sorted), 0u);
}

/// Kinds must be looked at across the borders of leaves, too.
TEST_F(SortedTest, NeighboursInOtherLeavesAreCompared) {
    RawSorted sorted(dir_ / "store");
    for (int i = 0; i < 3000; ++i) sorted.set(entry(std::tuple(2 * i, 1)));
    for (int i = 0; i < 3000; ++i) {
        ASSERT_THROW(sorted.set(entry(std::tuple<int, std::string>(2 * i, "x"))), OrderError) << i;
        ASSERT_THROW(sorted.set(entry(std::tuple<int, std::monostate>(2 * i, {}))), OrderError) << i;
    }
    EXPECT_EQ(sorted.size(), 3000u);
}

TEST_F(SortedTest, EqualKeysComeOutInTheOrderOfTheirComing) {
    RawSorted queue(dir_ / "store", {}, SortedType::queue);
    for (std::uint64_t i = 0; i < 3000; ++i) queue.push(entry(i % 3, i));
    Buffer expected;
    Chunk chunk;
    for (std::uint64_t i = 0; i < 3000; ++i) {
        queue.read(0, 1, chunk);
        const std::uint64_t priority = i / 1000, number = i % 1000 * 3 + priority;
        ASSERT_EQ(as_text(chunk.entry(0)), entry(priority, number).bytes);
        queue.erase_slice(0, 1);
    }
    EXPECT_EQ(queue.size(), 0u);
    EXPECT_EQ(faults(queue), 0u);
}

TEST_F(SortedTest, TypesAreKeptApart) {
    { RawSorted queue(dir_ / "store", {}, SortedType::queue); }
    EXPECT_THROW(RawSorted(dir_ / "store", {}, SortedType::dict), FormatError);
    EXPECT_THROW(RawSorted(dir_ / "store", {}, SortedType::set), FormatError);
    EXPECT_THROW(RawDict(dir_ / "store"), FormatError);
}

TEST_F(SortedTest, CompactMovesLargeEntries) {
    RawSorted sorted(dir_ / "store");
    const std::string text(100'000, 'v');
    for (int i = 0; i < 200; ++i) {
        Entry large = entry(i);
        Buffer bytes;
        bytes.append(as_bytes(large.bytes).first(large.key_size));
        put_bytes(bytes, as_bytes(text));
        large.bytes = std::string(as_text(bytes));
        sorted.set(large);
    }
    sorted.checkpoint();
    sorted.erase_slice(0, 190);
    sorted.compact();
    EXPECT_LT(sorted.info().data_bytes, 4'000'000u);
    Buffer found;
    for (int i = 190; i < 200; ++i) {
        ASSERT_TRUE(sorted.get(as_bytes(entry(i).sort_key), found));
        EXPECT_GT(found.size(), text.size());
    }
    EXPECT_EQ(faults(sorted), 0u);
}

}  // namespace
}  // namespace pyrsistence::test
