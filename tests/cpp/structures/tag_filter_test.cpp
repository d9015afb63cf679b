#include "structures/tag_filter.hpp"

#include <map>
#include <set>

#include "structures/pager_harness.hpp"

namespace pyrsistence::structures {
namespace {

using test::PagerHarness;
using test::Random;
using test::scaled;

constexpr std::uint64_t kEnd = BucketTree::kTags.high;

class TagFilterTest : public ::testing::Test {
protected:
    TagFilter filter() {
        harness_.pager().reserve();
        return {harness_.pager(), root_.data()};
    }
    std::vector<std::uint64_t> random_tags(Random& random, std::uint64_t first, std::uint64_t end, std::size_t count) {
        std::multiset<std::uint64_t> tags;
        while (tags.size() < count) tags.insert(first + random.below(end - first));
        return {tags.begin(), tags.end()};
    }
    double share_held(Random& random, std::uint64_t first, std::uint64_t end) {
        constexpr unsigned kTries = 50'000;
        unsigned held = 0;
        for (unsigned i = 0; i < kTries; ++i) held += filter().may_hold(first + random.below(end - first));
        return held / double(kTries);
    }

    PagerHarness harness_;
    std::array<std::byte, RootField::kSize> root_{};
};

TEST_F(TagFilterTest, HoldsEverythingUntilItIsDefined) {
    Random random(31);
    EXPECT_FALSE(filter().started());
    EXPECT_EQ(share_held(random, 0, kEnd), 1.0);
    filter().start();
    EXPECT_TRUE(filter().started());
    EXPECT_EQ(share_held(random, 0, kEnd), 1.0);
    EXPECT_TRUE(filter().add(5));
    filter().define(1000, 2000, {});
    EXPECT_EQ(share_held(random, 0, 1000), 1.0);
    EXPECT_EQ(share_held(random, 1000, 2000), 0.0);
    EXPECT_EQ(share_held(random, 2000, kEnd), 1.0);
    filter().clear();
    EXPECT_FALSE(filter().started());
}

TEST_F(TagFilterTest, FewTagsAreHeldThatAreNotThere) {
    Random random(32);
    for (const std::size_t count : {TagFilter::kMost - 1U, TagFilter::kMost + 1U, 3 * TagFilter::kMost - 1U}) {
        const auto tags = random_tags(random, 0, kEnd, count);
        filter().clear();
        filter().start();
        filter().define(0, kEnd, tags);
        for (const std::uint64_t tag : tags) ASSERT_TRUE(filter().may_hold(tag));
        EXPECT_LT(share_held(random, 0, kEnd), 0.02) << count;
    }
}

/// Neighbouring tags, as neighbouring integers have, are as good as any.
TEST_F(TagFilterTest, NeighboursAreSpreadOverThePage) {
    Random random(33);
    filter().start();
    std::vector<std::uint64_t> tags;
    for (std::uint64_t tag = 1 << 20; tags.size() < TagFilter::kMost; tag += 2) tags.push_back(tag);
    filter().define(0, kEnd, tags);
    unsigned held = 0;
    for (const std::uint64_t tag : tags) held += filter().may_hold(tag + 1);
    EXPECT_LT(held, tags.size() / 30);
}

TEST_F(TagFilterTest, SaysWhenAPageIsCrowded) {
    Random random(34);
    filter().start();
    filter().define(0, kEnd, {});
    unsigned added = 0;
    while (filter().add(random.below(kEnd))) ++added;
    EXPECT_GT(added, TagFilter::kMost);
    EXPECT_LT(added, 3 * TagFilter::kMost);
}

/// Whatever is defined, added and defined again, no tag is denied that is there, and all pages are accounted for.
TEST_F(TagFilterTest, NeverDeniesWhatItWasTold) {
    PYRSISTENCE_TRACE_SEED;
    Random random(35);
    filter().start();
    std::set<std::uint64_t> model;
    for (unsigned i = 0; i < scaled(1500) && !HasFatalFailure(); ++i) {
        if (harness_.pager().frames_scarce() || random.chance(2)) harness_.seal(false);
        if (random.chance(60)) {
            for (unsigned n = 0; n < 20; ++n) {
                const std::uint64_t tag = random.below(kEnd);
                (void)filter().add(tag);
                model.insert(tag);
            }
            continue;
        }
        // A part of what one page covers, with some of what is there and much that is new; sometimes nothing.
        const Bounds page = filter().range(random.below(kEnd)).tags;
        const std::uint64_t size = page.high - page.low;
        const std::uint64_t first = random.chance(50) ? page.low : page.low + random.below(size);
        const std::uint64_t end = random.chance(50) ? page.high : first + random.below(page.high - first) + 1;
        const auto tags = random_tags(random, first, end, random.chance(30) ? 0 : random.below(5000));
        model.erase(model.lower_bound(first), model.lower_bound(end));
        model.insert(tags.begin(), tags.end());
        filter().define(first, end, tags);
    }
    for (const std::uint64_t tag : model) ASSERT_TRUE(filter().may_hold(tag)) << tag;
    PagerHarness::Account pages(harness_.pager());
    Spine<InnerNode<false>>(harness_.pager(), root_.data(), storage::PageKind::filter)
        .walk([&](PageId id, const std::byte*, unsigned) { pages.page(id); }, [&](PageId id) { pages.page(id); });
    pages.finish();
    EXPECT_GT(RootField::entries(root_.data()), 10u);
    filter().clear();
    PagerHarness::Account none(harness_.pager());
    none.finish();
}

}  // namespace
}  // namespace pyrsistence::structures
