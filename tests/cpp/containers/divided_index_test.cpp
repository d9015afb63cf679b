// Dicts whose index has a delta and a filter: what damage to one of their pages stops, and what it does not; what
// transactions, snapshots and readers see of them.
#include <deque>

#include "codec/hash.hpp"
#include "containers/elsewhere.hpp"
#include "containers/models.hpp"
#include "damage.hpp"

namespace pyrsistence::test {
namespace {

using containers::DictRoot;
using structures::BucketTree;
using structures::RootField;

constexpr PageId kIndexPages = 16;  ///< of a usual base that is not divided yet, so that a full delta has eight
constexpr PageId kUndivided = 1 << 20;
constexpr std::uint64_t kLarge = 64 << 20;  ///< no checkpoint but those that are asked for
constexpr std::uint64_t kOld = 60'000;

class DividedIndexTest : public ::testing::Test {
protected:
    struct Open : OpenStore<RawDict> {
        explicit Open(const fs::path& path, PageId index_pages = kIndexPages, std::uint64_t cache_memory = 0)
            : OpenStore(path, nullptr, kLarge, Mode::append, index_pages, cache_memory) {}
    };
    struct Sizes {
        std::uint64_t base, delta, filter;
    };

    static std::uint64_t key_of(std::uint64_t number) { return number * 7919; }
    static void put(RawDict& dict, std::uint64_t number) {
        Buffer out;
        put_uint(out, key_of(number));
        const std::size_t identity = out.size();
        put_bytes(out, as_bytes(content(number, 20)));
        dict.set({out, identity, identity});
    }
    static bool has(const RawDict& dict, std::uint64_t number) {
        Buffer identity;
        put_uint(identity, key_of(number));
        return dict.contains(identity);
    }
    /// False if damage keeps it out.
    static bool try_put(RawDict& dict, std::uint64_t number) {
        try {
            put(dict, number);
            return true;
        } catch (const CorruptionError&) {
            return false;
        }
    }
    /// How many keys damage keeps out. What was written since the last checkpoint takes slots without the delta.
    static std::uint64_t refused(RawDict& dict, std::uint64_t from, std::uint64_t count) {
        std::uint64_t sum = 0;
        for (std::uint64_t number = from; number < from + count; ++number) {
            sum += !try_put(dict, number);
            if (number % 500 == 0) dict.checkpoint();
        }
        return sum;
    }
    ClosedStore dict(std::uint64_t count = kOld, PageId index_pages = kIndexPages) {
        Open open(path_, index_pages);
        EXPECT_EQ(refused(*open, 0, count), 0u);
        open.close();
        return ClosedStore(path_);
    }
    /// Of the store as it is in the file.
    Sizes sizes() const {
        ClosedStore store(path_);
        const auto root = store.read(store.map().roots[0]);
        const auto entries = [&](std::size_t field) { return RootField::entries(root.data() + field); };
        return {entries(DictRoot::kIndex), entries(DictRoot::kDelta), entries(DictRoot::kFilter)};
    }
    static std::uint64_t tag_of(const ClosedStore& store, std::uint64_t number) {
        Buffer identity;
        put_uint(identity, key_of(number));
        return BucketTree::tag_of(codec::key_hash(identity, store.meta().hash_seed));
    }
    /// Numbers from `from` on of keys with low < tag < high.
    static std::vector<std::uint64_t> numbers_between(const ClosedStore& store, std::uint64_t low, std::uint64_t high,
                                                      std::uint64_t from, std::size_t count) {
        std::vector<std::uint64_t> found;
        for (; found.size() < count; ++from) {
            const std::uint64_t tag = tag_of(store, from);
            if (tag > low && tag < high) found.push_back(from);
        }
        return found;
    }
    static std::uint64_t first_tag(ClosedStore& store, PageId bucket) {
        return BucketTree::tag_at(store.read(bucket).data(), 0);
    }
    static std::uint64_t last_tag(ClosedStore& store, PageId bucket) {
        const auto page = store.read(bucket);
        return BucketTree::tag_at(page.data(), storage::page_count(page.data()) - 1);
    }
    template <class T>
    static const T& middle(const std::vector<T>& items) { return items.at(items.size() / 2); }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
};

TEST_F(DividedIndexTest, WhatTheDeltaTookIsReplayedBesideADamagedBucket) {
    ClosedStore store = dict();
    const auto buckets = store.map().buckets;
    const std::size_t at = buckets.size() / 2;
    const std::uint64_t low = last_tag(store, buckets[at - 1]), high = first_tag(store, buckets[at + 1]);
    const auto numbers = numbers_between(store, first_tag(store, buckets[at]), last_tag(store, buckets[at]), 1'000'000, 40);
    store.flip(buckets[at]);
    const fs::path copy = dir_ / "copy";
    std::set<std::uint64_t> kept;
    {
        Open open(path_);
        for (std::uint64_t number = kOld; number < kOld + 16'000; ++number) {  // so many that everything is swept
            const std::uint64_t tag = tag_of(store, number);
            if (tag > low && tag < high) continue;
            put(*open, number);
            kept.insert(number);
        }
        const RawDict ends_the_epoch = open->snapshot();
        for (const std::uint64_t number : numbers) {
            if (try_put(*open, number)) kept.insert(number);
        }
        copy_store(path_, copy);
    }
    EXPECT_GT(std::ranges::count_if(numbers, [&](std::uint64_t number) { return kept.contains(number); }), 30);
    Open recovered(copy);
    for (const std::uint64_t number : kept) ASSERT_TRUE(has(*recovered, number)) << number;
    recovered.close();
    ClosedStore(copy).flip(buckets[at]);
    Open mended(copy);
    mended->check();
    EXPECT_EQ(mended->size(), kOld + kept.size());
}

/// Sweeps that empty buckets beside a damaged one of the delta do not give it their tags.
TEST_F(DividedIndexTest, ADamagedBucketOfTheDeltaStopsNoMoreKeysAsTimeGoesBy) {
    ClosedStore store = dict();
    ASSERT_GT(sizes().delta, 3 * BucketTree::kCapacity);
    const PageId bucket = middle(store.map().delta);
    const std::uint64_t low = first_tag(store, bucket), high = last_tag(store, bucket);
    store.flip(bucket);
    Open open(path_);
    const std::uint64_t first = refused(*open, kOld, 3'000);
    EXPECT_GT(first, 0u);
    EXPECT_LT(first, 2'000u);
    // All that comes lies far away, so that nothing is left beside it.
    for (std::uint64_t number = 1'000'000; number < 1'030'000; ++number) {
        const std::uint64_t tag = tag_of(store, number), far = BucketTree::kTags.high / 5;
        if (tag + far < low || tag > high + far) (void)try_put(*open, number);
        if (number % 500 == 0) open->checkpoint();
    }
    EXPECT_LT(refused(*open, kOld + 3'000, 3'000), first * 3 / 2);
}

/// Behind a damaged page of the filter nothing was swept, and the delta grew for ever.
TEST_F(DividedIndexTest, SweepsGoOnBehindADamagedPageOfTheFilter) {
    ClosedStore store = dict();
    const auto filter = store.map().filter;
    const std::vector<PageId> pages(filter.begin() + 1, filter.begin() + 7);  // the delta has slots for one of them
    for (const PageId page : pages) store.flip(page);
    {
        Open open(path_);
        const std::uint64_t sum = refused(*open, kOld, 40'000);
        EXPECT_GT(sum, 0u);
        EXPECT_LT(sum, 24'000u);
        open.close();
    }
    store.look_again();
    for (const PageId page : pages) store.flip(page);
    EXPECT_LT(sizes().delta, 3'500u);
}

/// The first sweep ended at a bucket that was damaged already: the filter knew nothing of what lies behind, and the
/// delta grew for ever.
TEST_F(DividedIndexTest, TheFirstSweepGoesOnBehindADamagedBucket) {
    ClosedStore store = dict(kOld, kUndivided);
    ASSERT_EQ(sizes().filter, 0u);
    store.flip(store.map().buckets[3]);
    {
        Open open(path_);
        EXPECT_LT(refused(*open, kOld, 40'000), 2'000u);
        open.close();
    }
    EXPECT_LT(sizes().delta, 3'500u);
    EXPECT_GT(sizes().filter, 10u);
}

/// A sweep from behind all tags on made the last page of the filter deny everything.
TEST_F(DividedIndexTest, ASweepThatBeginsBehindAllTagsIsNamedAndLosesNothing) {
    ClosedStore store = dict();
    store.change(store.map().roots[0], [](std::byte* page) {
        codec::store48(page + DictRoot::kFilter + RootField::kSize, std::uint64_t{1} << 40);
        codec::store<std::uint16_t>(page + DictRoot::kFilter + RootField::kSize + 6, 0);
    });
    EXPECT_EQ(faults_with(store.verify(), "begins behind all hashes"), 1u);
    Open open(path_);
    for (std::uint64_t number = kOld; number < kOld + 5'000; ++number) put(*open, number);
    for (std::uint64_t number = 0; number < kOld + 5'000; ++number) ASSERT_TRUE(has(*open, number)) << number;
    open->check();
}

/// Looking ahead is no reason to fail: what comes before the key that needs a damaged page is stored.
TEST_F(DividedIndexTest, ABatchIsStoredUpToTheKeyThatNeedsADamagedPage) {
    ClosedStore store = dict(2 * kOld);  // in a small one nobody looks ahead
    const PageId filter = middle(store.map().filter), bucket = store.map().buckets[1];
    store.flip(filter);
    store.flip(bucket);
    Open open(path_, kIndexPages, 1);  // beyond memory, where batches look ahead
    Chunk identities, values;
    std::uint64_t refused = 0;
    for (std::uint64_t first = 0; first < 2048; first += DictBatch::kMost) {
        DictBatch batch;
        for (std::uint64_t number = first; number < first + DictBatch::kMost; ++number) {
            Buffer entry;
            put_uint(entry, key_of(number));
            const std::size_t identity = entry.size();
            identities.add(0, entry);
            put_uint(entry, number);
            batch.add({entry, identity, identity});
        }
        try {
            open->set_many(batch, RawDict::Existing::replace);
        } catch (const CorruptionError&) {
            ++refused;
            Buffer value, expected;
            for (std::uint64_t number = first;; ++number) {  // up to the one that is damaged
                try {
                    ASSERT_TRUE(open->get(identities.entry(number), value));
                } catch (const CorruptionError&) {
                    break;
                }
                expected.clear();
                put_uint(expected, number);
                ASSERT_EQ(as_text(value), as_text(expected)) << number;
            }
        }
    }
    EXPECT_GT(refused, 0u);
    EXPECT_LT(refused, 2048 / DictBatch::kMost);
    EXPECT_THROW(open->get_many(identities, values), CorruptionError);
}

/// Random operations with transactions that are rolled back, snapshots, and a reader that sees what was there when it
/// looked, over many sweeps.
TEST_F(DividedIndexTest, TransactionsSnapshotsAndReadersSeeTheirOwnState) {
    PYRSISTENCE_TRACE_SEED;
    Random random(911);
    DictDriver driver(random(), 30'000, {60, 0});
    auto open = std::make_unique<Open>(path_);
    struct Past {
        Past(const RawDict& dict, DictDriver now) : snapshot(dict.snapshot()), model(std::move(now)) {}
        const RawDict snapshot;
        const DictDriver model;
    };
    std::deque<Past> snapshots;
    const auto steps = [&](std::uint64_t most) {
        for (std::uint64_t n = random.below(most); n > 0 && !HasFatalFailure(); --n) driver.step(&**open);
    };
    for (unsigned round = 0; round < scaled(150) && !HasFatalFailure(); ++round) {
        steps(1500);
        if (random.chance(50)) {
            const DictDriver before = driver;
            Transaction transaction(**open);
            steps(2000);
            if (random.chance(50)) {
                transaction.commit();
            } else {
                transaction.roll_back();
                driver = before;
            }
        }
        if (random.chance(10)) snapshots.emplace_back(**open, driver);
        if (random.chance(20) && !snapshots.empty()) {
            const auto& [snapshot, model] = snapshots.at(random.below(snapshots.size()));
            ASSERT_EQ(model.difference(snapshot), "");
            model.expect_lookups(snapshot);
        }
        if (random.chance(5)) {
            Elsewhere reader(path_);
            RawDict seen(reader, "");
            ASSERT_EQ(driver.difference(seen), "");
            driver.expect_lookups(seen);
        }
        if (random.chance(5)) (*open)->checkpoint();
        if (snapshots.size() > 5) snapshots.pop_front();
        if (random.chance(10)) {
            const fs::path copy = dir_.next();
            copy_store(path_, copy);
            OpenStore<RawDict> replayed(copy, nullptr, kLarge, Mode::read);
            ASSERT_EQ(driver.difference(*replayed), "");
            driver.expect_lookups(*replayed);
        }
        if (random.chance(10)) {
            (*open)->check();
            ASSERT_EQ(driver.difference(**open), "");
        }
    }
    snapshots.clear();
    driver.expect_lookups(**open);
    open->close();
    const Sizes parts = sizes();
    EXPECT_GT(parts.filter, 0u);
    if (scaled(150) < 150) return;  // too few operations to fill a delta
    EXPECT_GT(parts.delta, 0u);
    EXPECT_GT(parts.base, 4 * parts.delta);
    EXPECT_GT(parts.filter, 2u);
}

}  // namespace
}  // namespace pyrsistence::test
