#include "pyrsistence/raw_sorted.hpp"

#include "containers/crash.hpp"
#include "damage.hpp"
#include "pyrsistence/codec.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

template <class Raw>
class RawSortedTest : public ::testing::Test {
protected:
    /// With keys that are numbers, if kind is 0, or byte strings.
    static SortedDriver driver(Random& random, std::uint64_t kind, std::uint64_t keys, Sizes sizes) {
        return SortedDriver(2 * random() + kind, keys, Raw::kType, sizes);
    }
};

struct SortedNames {
    template <class Raw>
    static std::string GetName(int) {
        constexpr const char* kNames[] = {"Dict", "Set", "Queue", "MultiDict"};
        return kNames[static_cast<unsigned>(Raw::kType) - static_cast<unsigned>(SortedType::dict)];
    }
};
using SortedTypes = ::testing::Types<RawSortedOf<SortedType::dict>, RawSortedOf<SortedType::set>, RawSortedOf<SortedType::queue>,
                                     RawSortedOf<SortedType::multi_dict>>;
TYPED_TEST_SUITE(RawSortedTest, SortedTypes, SortedNames);

TYPED_TEST(RawSortedTest, BehavesAsAMapOfSmallEntries) {
    PYRSISTENCE_TRACE_SEED;
    Random random(301);
    for (const std::uint64_t kind : {0, 1}) {
        run_against_model<TypeParam>(this->driver(random, kind, 5'000, {2000, 0}), scaled(20'000), kMedium, random);
    }
}

TYPED_TEST(RawSortedTest, BehavesAsAMapOfLargeEntries) {
    PYRSISTENCE_TRACE_SEED;
    Random random(302);
    for (const std::uint64_t kind : {0, 1}) {
        run_against_model<TypeParam>(this->driver(random, kind, 400, {2 << 20, 5}), scaled(4'000), kSmall, random);
    }
}

TYPED_TEST(RawSortedTest, ThrowsNothingAwayWhenKilled) {
    PYRSISTENCE_TRACE_SEED;
    Random random(303);
    run_and_kill<TypeParam>(this->driver(random, 1, 500, {300'000, 5}), scaled(20), kSmall, random);
    run_and_kill<TypeParam>(this->driver(random, 0, 5'000, {300, 0}), scaled(10), kMedium, random);
}

TYPED_TEST(RawSortedTest, IsAPrefixAfterAPowerFailure) {
    PYRSISTENCE_TRACE_SEED;
    Random random(304);
    run_and_lose_power<TypeParam>(this->driver(random, 0, 200, {100'000, 5}), scaled(40), kSmall, random);
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
    EXPECT_THROW(sorted.equal_range(as_bytes(number.sort_key), RawSorted::Keys::comparable), OrderError);
    EXPECT_THROW(sorted.equal_range(as_bytes(other.sort_key), RawSorted::Keys::comparable), OrderError);
    EXPECT_TRUE(sorted.equal_range(as_bytes(other.sort_key)).empty());
    EXPECT_EQ(sorted.equal_range(as_bytes(small.sort_key), RawSorted::Keys::comparable).size(), 1u);
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

/// A separator may outlive the key that it was made of; then a neighbour on the other side of it is the only one that
/// tells.
TEST_F(SortedTest, NeighboursBeyondOldSeparatorsAreCompared) {
    RawSorted sorted(dir_ / "store");
    for (int i = 0; i < 600; ++i) {
        for (int j = 0; j < 10; ++j) sorted.set(entry(std::tuple(i, j)));
    }
    for (int i = 0; i < 600; ++i) {
        for (int j = i % 10; j < 9; ++j) sorted.erase(as_bytes(entry(std::tuple(i, j + 1)).sort_key));
    }
    for (int i = 0; i < 600; ++i) {
        ASSERT_THROW(sorted.set(entry(std::tuple<int, std::string>(i, "x"))), OrderError) << i;
        ASSERT_THROW(sorted.set(entry(std::tuple<int, std::monostate>(i, {}))), OrderError) << i;
    }
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

TEST_F(SortedTest, EqualKeysGoTogetherIfTheyAreAsTheyWere) {
    RawSorted sorted(dir_ / "store", {}, SortedType::multi_dict);
    for (std::uint64_t i = 0; i < 3000; ++i) sorted.push(entry(i % 3, i));
    const std::string key = entry(1u).sort_key;
    Chunk before;
    sorted.read_all(as_bytes(key), before);
    ASSERT_EQ(before.items.size(), 1000u);
    for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(as_text(before.entry(i)), entry(1u, 3 * i + 1).bytes);
    ASSERT_TRUE(sorted.erase_at(1999, as_bytes(entry(1u, 2998).bytes)));
    EXPECT_FALSE(sorted.erase_if_same(as_bytes(key), before)) << "fewer";
    sorted.push(entry(1u, 0));
    EXPECT_FALSE(sorted.erase_if_same(as_bytes(key), before)) << "others";
    EXPECT_EQ(sorted.size(), 3000u);
    sorted.read_all(as_bytes(key), before);
    sorted.push(entry(0u, 0));
    EXPECT_TRUE(sorted.erase_if_same(as_bytes(key), before)) << "others changed, but not these";
    EXPECT_FALSE(sorted.contains(as_bytes(key)));
    EXPECT_FALSE(sorted.erase_if_same(as_bytes(key), before)) << "gone: two who pop a key would both get its values";
    EXPECT_EQ(sorted.size(), 2001u);
    sorted.read_all(as_bytes(entry(2u).sort_key), before);
    EXPECT_TRUE(sorted.erase_if_same(as_bytes(entry(2u).sort_key), before)) << "nothing changed";
    EXPECT_EQ(sorted.size(), 1001u);
    EXPECT_EQ(faults(sorted), 0u);
}

/// What a repair finds it puts where it belongs; equal keys stay equal keys.
TEST_F(SortedTest, RepairsKeepTheOrder) {
    for (const SortedType type : {SortedType::dict, SortedType::queue}) {
        const fs::path path = dir_.next(), to = dir_.next();
        {
            RawSorted sorted(path, {}, type);
            for (std::uint64_t i = 0; i < 5000; ++i) {
                if (type == SortedType::queue) sorted.push(entry(i % 7, i));
                else sorted.set(entry(i, i));
            }
            sorted.checkpoint();
            sorted.erase_slice(0, 10);
            sorted.close();
        }
        ClosedStore store(path);
        store.flip(store.map().leaves.at(4));
        const Report report = verify(path, {}, to);
        ASSERT_FALSE(report.left_out.empty());
        RawSorted repaired(to, {}, type);
        EXPECT_GT(repaired.size(), 4000u);
        EXPECT_LT(repaired.size(), 4990u);
        EXPECT_EQ(report.saved, repaired.size());
        EXPECT_EQ(faults(repaired), 0u);
        Chunk chunk;
        repaired.read(0, 1, chunk);
        const std::uint64_t first = type == SortedType::queue ? 70 : 10;
        EXPECT_EQ(as_text(chunk.entry(0)), entry(type == SortedType::queue ? 0 : first, first).bytes);
    }
}

/// Entries in the wrong order, keys that are there twice and heads that differ from their extents are found.
TEST_F(SortedTest, VerificationKnowsTheOrder) {
    using Leaf = ClosedStore::Leaf;
    const auto damaged = [&](SortedType type, const std::function<void(RawSorted&)>& fill, const std::function<void(std::byte*)>& change) {
        const fs::path path = dir_.next();
        {
            RawSorted sorted(path, {}, type);
            fill(sorted);
            sorted.close();
        }
        ClosedStore store(path);
        EXPECT_EQ(store.verify().fault_count(), 0u);
        store.change(store.map().leaves.at(0), change);
        return store.verify();
    };
    const auto byte_of = [](std::byte* leaf, unsigned slot, std::size_t at) {
        return const_cast<std::byte*>(Leaf::record(leaf, slot).stored.data() + at);
    };
    const auto numbers = [](RawSorted& sorted) {
        for (std::uint64_t i = 1; i < 50; ++i) sorted.set(entry(2 * i, i));
    };
    const auto set_key = [&](unsigned slot, std::uint8_t key) {
        return [=](std::byte* leaf) { *byte_of(leaf, slot, 2) = std::byte{key}; };
    };
    EXPECT_GE(faults_with(damaged(SortedType::dict, numbers, set_key(5, 100)), "keys out of order"), 1u);
    EXPECT_GE(faults_with(damaged(SortedType::dict, numbers, set_key(5, 10)), "there twice"), 1u);
    EXPECT_EQ(damaged(SortedType::dict, numbers, set_key(5, 11)).fault_count(), 0u) << "another key";
    EXPECT_GE(faults_with(damaged(SortedType::dict, numbers, [&](std::byte* leaf) { *byte_of(leaf, 5, 0) = std::byte{200}; }), "impossible length"), 1u);
    EXPECT_GE(faults_with(damaged(SortedType::dict, numbers, [&](std::byte* leaf) { *byte_of(leaf, 5, 1) = std::byte{0x50}; }), "page"), 1u);
    const auto large = [](RawSorted& sorted) {
        Entry one = entry(std::uint64_t{7});
        Buffer bytes;
        bytes.append(as_bytes(one.bytes).first(one.key_size));
        put_bytes(bytes, as_bytes(std::string(50'000, 'v')));
        one.bytes = std::string(as_text(bytes));
        sorted.set(one);
    };
    const auto other_head = [&](std::byte* leaf) { *byte_of(leaf, 0, storage::ExtentRef::kEncodedSize + 2) = std::byte{8}; };
    EXPECT_GE(faults_with(damaged(SortedType::dict, large, other_head), "begins with another key"), 1u);
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
