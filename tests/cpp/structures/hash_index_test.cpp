#include "structures/hash_index.hpp"

#include <set>

#include "codec/hash.hpp"
#include "structures/pager_harness.hpp"

namespace pyrsistence::structures {
namespace {

using test::PagerHarness;
using test::Random;
using test::scaled;

/// The harness has 512 frames, so that a base of more than 256 usual buckets has outgrown them.
constexpr std::size_t kOutgrown = 70'000;

class HashIndexTest : public ::testing::Test {
protected:
    using Pair = std::pair<std::uint64_t, EntryId>;  // tag, id
    struct Root {
        std::array<std::byte, RootField::kSize> base{}, delta{};
        std::array<std::byte, HashIndex::kFilterSize> filter{};
    };

    HashIndex::Roots roots() { return {root_.base.data(), root_.delta.data(), root_.filter.data()}; }
    HashIndex index() { return {harness_.pager(), roots()}; }
    BucketTree base() { return {harness_.pager(), root_.base.data()}; }
    BucketTree delta() { return {harness_.pager(), root_.delta.data()}; }
    TagFilter filter() { return {harness_.pager(), root_.filter.data()}; }

    /// As a dict does it: what find() found of the place is used.
    void insert(std::uint64_t hash, EntryId id) {
        harness_.pager().reserve();
        HashIndex::Place place;
        ASSERT_FALSE(index().find(hash, [](EntryId) { return false; }, place));
        index().insert(place, hash, id);
        model_.insert({BucketTree::tag_of(hash), id});
    }
    void erase(std::uint64_t hash, EntryId id) {
        harness_.pager().reserve();
        ASSERT_EQ(index().erase(hash, id), model_.erase({BucketTree::tag_of(hash), id}) == 1);
    }
    /// Refusing each, find() offers every id of the tag and no other.
    void look_up(std::uint64_t hash) {
        const std::uint64_t tag = BucketTree::tag_of(hash);
        std::set<EntryId> offered, expected;
        for (auto it = model_.lower_bound({tag, 0}); it != model_.end() && it->first == tag; ++it) expected.insert(it->second);
        const auto refused = index().find(hash, [&](EntryId id) {
            EXPECT_TRUE(offered.insert(id).second) << "offered twice: " << id;
            return false;
        });
        ASSERT_FALSE(refused);
        ASSERT_EQ(offered, expected);
    }
    void check() {
        PagerHarness::Account pages(harness_.pager());
        std::set<Pair> found;
        index().check([&](std::uint64_t tag, EntryId id) { EXPECT_TRUE(found.insert({tag, id}).second); },
                      [&](PageId first, std::uint64_t count) { pages.run(first, count); });
        pages.finish();
        ASSERT_EQ(index().size(), model_.size());
        ASSERT_EQ(found, model_);
    }
    void maybe_seal(Random& random) {
        if (attempt_.running()) return attempt_.count(harness_, root_, model_);
        if (!harness_.pager().frames_scarce() && random.below(4000) != 0) return;
        harness_.seal(random.chance(30));
        if (random.chance(20)) attempt_.begin(harness_, root_, model_, 1 + random.below(3000));
    }
    void fill(std::size_t count, const std::function<std::uint64_t()>& new_hash) {
        for (std::size_t i = 0; i < count && !HasFatalFailure(); ++i) {
            if (harness_.pager().frames_scarce()) harness_.seal(false);
            insert(new_hash(), ++last_id_);
        }
    }
    void run(Random& random, std::size_t operations, unsigned growth, const std::function<std::uint64_t()>& new_hash) {
        for (std::size_t i = 0; i < operations && !HasFatalFailure(); ++i) {
            maybe_seal(random);
            const auto dice = static_cast<unsigned>(random.below(100));
            if (dice < growth || model_.empty()) {
                insert(new_hash(), ++last_id_);
            } else {
                auto it = model_.lower_bound({BucketTree::tag_of(new_hash()), random.below(last_id_ + 1)});
                if (it == model_.end()) it = model_.begin();
                const auto [tag, id] = *it;
                const std::uint64_t hash = tag << 24 | random.below(1 << 24);
                if (dice < 85) erase(hash, random.chance(5) ? id + 1 : id);
                else look_up(random.chance(20) ? new_hash() : hash);
            }
        }
        check();
    }

    PagerHarness harness_;
    Root root_{};
    std::set<Pair> model_;
    test::Attempt<Root, std::set<Pair>> attempt_;
    EntryId last_id_ = 0;
};

TEST_F(HashIndexTest, IsOneTreeWhileItFitsIntoFrames) {
    Random random(21);
    fill(20'000, [&] { return random(); });
    EXPECT_FALSE(filter().started());
    EXPECT_EQ(base().size(), 20'000u);
    EXPECT_EQ(delta().size(), 0u);
    check();
}

TEST_F(HashIndexTest, BehavesAsAMultimapBeyondTheFrames) {
    PYRSISTENCE_TRACE_SEED;
    Random random(22);
    const auto any = [&] { return random(); };
    fill(kOutgrown, any);
    ASSERT_TRUE(filter().started());
    for (unsigned phase = 0; phase < 6 && !HasFatalFailure(); ++phase) {
        run(random, scaled(40'000), phase % 3 == 2 ? 10 : 70, any);
    }
    EXPECT_GT(base().size(), 10 * delta().size());
}

TEST_F(HashIndexTest, TakesIntegersInOrderBeyondTheFrames) {
    PYRSISTENCE_TRACE_SEED;
    Random random(23);
    std::uint64_t next = 0;
    const auto ascending = [&] { return codec::integer_hash(next++, 5); };
    fill(2 * kOutgrown, ascending);
    ASSERT_TRUE(filter().started());
    check();
    run(random, scaled(60'000), 80, ascending);
    // Runs go to the base almost at once.
    EXPECT_LT(delta().size(), base().size() / 10);
}

TEST_F(HashIndexTest, EqualTagsSpanBaseAndDelta) {
    PYRSISTENCE_TRACE_SEED;
    Random random(24);
    fill(kOutgrown, [&] { return random(); });
    ASSERT_TRUE(filter().started());
    const std::array<std::uint64_t, 5> tags{0, 1, (1ull << 40) - 1, 1ull << 39, 77777};
    run(random, scaled(40'000), 75, [&] {
        const std::uint64_t tag = tags[random.below(tags.size())];
        return (random.chance(10) ? tag ^ random.below(4) : tag) << 24 | random.below(1 << 24);
    });
    run(random, scaled(40'000), 60, [&] { return random(); });
    for (const std::uint64_t tag : tags) look_up(tag << 24);
}

TEST_F(HashIndexTest, TheFilterSparesMostLooksIntoTheBase) {
    Random random(25);
    const auto any = [&] { return random(); };
    fill(kOutgrown, any);
    fill(30'000, any);
    unsigned held = 0;
    constexpr unsigned kTries = 20'000;
    for (unsigned i = 0; i < kTries; ++i) held += filter().may_hold(BucketTree::tag_of(random()));
    EXPECT_LT(held, kTries / 50);
}

TEST_F(HashIndexTest, TheDeltaStaysSmallAndEverythingIsSweptInTurn) {
    Random random(26);
    fill(kOutgrown, [&] { return random(); });
    std::size_t most = 0;
    for (unsigned i = 0; i < 20; ++i) {
        fill(2'000, [&] { return random(); });
        most = std::max<std::size_t>(most, delta().size());
    }
    EXPECT_LT(most, base().size() / 8);
    EXPECT_GT(base().size(), kOutgrown + 30'000);
}

/// A sweep of a small part costs as much as it finds, not as much as there is.
TEST_F(HashIndexTest, AChangeWritesFewPages) {
    Random random(27);
    fill(kOutgrown + 30'000, [&] { return random(); });
    for (unsigned i = 0; i < 3'000; ++i) {
        harness_.seal(false);
        const std::size_t before = harness_.pager().frames_in_use();
        insert(random(), ++last_id_);
        ASSERT_LT(harness_.pager().frames_in_use() - before, storage::Pager::kStepFrames * 3 / 4);
    }
}

/// Whether a range is being written differs between an operation and its replay: a slot that had gone to the delta was
/// meant for a damaged bucket when the log was replayed, and the store did not open any more.
TEST_F(HashIndexTest, ASlotForADamagedBucketGoesToTheDelta) {
    Random random(30);
    fill(kOutgrown, [&] { return random(); });
    harness_.seal(false);
    harness_.pager().reserve();
    std::uint64_t tag = random.below(BucketTree::kTags.high);
    while (filter().may_hold(tag)) tag = random.below(BucketTree::kTags.high);
    Spine<InnerNode<false>> spine(harness_.pager(), root_.base.data(), storage::PageKind::bucket);
    Path path = spine.to_key(tag, BucketTree::kTags);
    std::byte* bucket = spine.writable_leaf(path);
    bucket[4] = std::byte(storage::PageKind::leaf);
    (void)filter().add(filter().range(tag).tags.low);
    ASSERT_TRUE(filter().range(tag).dirty);
    const std::uint64_t before = delta().size();
    index().insert(tag << 24, ++last_id_);
    EXPECT_EQ(delta().size(), before + 1);
    EXPECT_EQ(index().find(tag << 24, [](EntryId) { return true; }), last_id_);
    bucket[4] = std::byte(storage::PageKind::bucket);
    model_.insert({tag, last_id_});
    check();
}

TEST_F(HashIndexTest, IsOneTreeAgainOnceItWasEmpty) {
    Random random(28);
    fill(kOutgrown, [&] { return random(); });
    ASSERT_TRUE(filter().started());
    while (!model_.empty()) {
        if (harness_.pager().frames_scarce()) harness_.seal(false);
        const auto [tag, id] = random.chance(50) ? *model_.begin() : *model_.rbegin();
        erase(tag << 24, id);
    }
    EXPECT_FALSE(filter().started());
    check();
    fill(kOutgrown, [&] { return random(); });
    EXPECT_TRUE(filter().started());
    harness_.seal(false);
    harness_.pager().reserve();
    index().clear();
    model_.clear();
    EXPECT_EQ(root_.filter, Root{}.filter);
    check();
}

TEST_F(HashIndexTest, EveryPartCanBeMovedToTheFront) {
    Random random(29);
    fill(kOutgrown + 20'000, [&] { return random(); });
    const auto keep = model_;
    fill(kOutgrown, [&] { return random(); });
    while (model_.size() > keep.size() / 2) {
        if (harness_.pager().frames_scarce()) harness_.seal(false);
        erase(model_.begin()->first << 24, model_.begin()->second);
    }
    const auto seal = [&] {
        harness_.seal(false);
        harness_.drop_older();
    };
    seal();
    seal();
    const PageId limit = harness_.pager().live_pages() * 5 / 4;
    ASSERT_GT(harness_.pager().page_count(), limit);
    for (std::optional<std::uint64_t> place = 0; place;) {
        if (harness_.pager().frames_scarce()) seal();
        harness_.pager().reserve();
        place = index().relocate(*place, limit);
    }
    PageId last = 0;
    index().check([](std::uint64_t, EntryId) {},
                  [&](PageId first, std::uint64_t count) { last = std::max(last, first + count - 1); });
    EXPECT_LT(last, limit);
    check();
}

}  // namespace
}  // namespace pyrsistence::structures
