#include "structures/spine.hpp"

#include "structures/pager_harness.hpp"

namespace pyrsistence::structures {
namespace {

using test::PagerHarness;
using test::Random;

/// A spine over leaves that are looked at only by it: a leaf of n slots without records counts n
/// holes, and the test keeps the entries itself.
class SpineTest : public ::testing::Test {
protected:
    struct Leaf {
        std::uint64_t key;
        std::uint64_t entries;
    };

    Spine<InnerNode<true>> spine() { return {harness_.pager(), root_.data(), storage::PageKind::leaf}; }
    PageId new_leaf(std::uint64_t key) {
        PageId id = 0;
        SlottedPage::set_base(harness_.pager().allocate(storage::PageKind::leaf, 0, id), key);
        return id;
    }
    void insert_after(std::size_t at, std::uint64_t entries) {
        harness_.pager().reserve();
        const std::uint64_t low = model_[at].key, next = at + 1 < model_.size() ? model_[at + 1].key : low + (1 << 20);
        Path path = spine().to_key(low);
        ASSERT_EQ(SlottedPage::base(spine().leaf(path.leaf)), low);
        const std::uint64_t key = low + (std::min(next, path.bounds.high) - low) / 2;
        if (key == low) return;
        spine().add_entries(path, entries);
        const PageId right = new_leaf(key);
        spine().insert_leaf(path, right, key, entries);
        model_.insert(model_.begin() + static_cast<std::ptrdiff_t>(at) + 1, {key, entries});
    }
    void remove(std::size_t at) {
        harness_.pager().reserve();
        Path path = spine().to_key(model_[at].key);
        spine().add_entries(path, 0 - model_[at].entries);
        harness_.pager().release(path.leaf);
        spine().remove_leaf(path);
        model_.erase(model_.begin() + static_cast<std::ptrdiff_t>(at));
        // The first separator of a subtree may be below its first leaf's key, never above.
    }
    void check() {
        PagerHarness::Account pages(harness_.pager());
        std::size_t at = 0;
        std::uint64_t entries = 0;
        spine().walk([&](PageId id, const std::byte*, unsigned) { pages.page(id); },
                     [&](PageId id) {
                         pages.page(id);
                         ASSERT_LT(at, model_.size());
                         ASSERT_EQ(SlottedPage::base(spine().leaf(id)), model_[at++].key);
                     });
        pages.finish();
        ASSERT_EQ(at, model_.size());
        if (model_.empty()) return;
        Path path = spine().to_first();
        at = 0;
        do {
            ASSERT_EQ(SlottedPage::base(spine().leaf(path.leaf)), model_[at].key);
            ASSERT_EQ(spine().entries_before(path), entries);
            entries += model_[at++].entries;
        } while (spine().next_leaf(path));
        ASSERT_EQ(at, model_.size());
        ASSERT_EQ(RootField::entries(root_.data()), entries);
    }
    void look_up(Random& random) {
        const std::size_t at = random.below(model_.size());
        const Path path = spine().to_key(model_[at].key);
        ASSERT_EQ(SlottedPage::base(spine().leaf(path.leaf)), model_[at].key);
        std::uint64_t rank = spine().entries_before(path), place = rank + random.below(model_[at].entries);
        const std::uint64_t wanted = place - rank;
        ASSERT_EQ(spine().to_rank(place).leaf, path.leaf);
        ASSERT_EQ(place, wanted);
    }

    PagerHarness harness_;
    std::array<std::byte, RootField::kSize> root_{};
    std::vector<Leaf> model_;
};

TEST_F(SpineTest, BehavesAsAVectorOfLeaves) {
    PYRSISTENCE_TRACE_SEED;
    Random random(631);
    unsigned height = 0;
    for (unsigned round = 0; round < 3; ++round) {
        harness_.pager().reserve();
        SlottedPage::set_base(spine().plant(), 0);
        model_ = {{0, 1}};
        Path first = spine().to_first();
        spine().add_entries(first, 1);
        for (std::size_t i = 0; i < test::scaled(60'000) && !HasFatalFailure(); ++i) {
            if (harness_.pager().frames_scarce() || random.below(300) == 0) harness_.seal(random.chance(50));
            if (random.chance(80)) insert_after(model_.size() - 1 - random.place(model_.size() - 1, round), 1 + random.below(50));
            else if (model_.size() > 1) remove(1 + random.place(model_.size() - 2, round + 1));
            if (i % 16 == 0) look_up(random);
            if (i % 10'000 == 0) check();
        }
        height = std::max(height, RootField::height(root_.data()));
        check();
        while (!model_.empty() && !HasFatalFailure()) {
            if (harness_.pager().frames_scarce() || random.below(300) == 0) harness_.seal(false);
            remove(random.place(model_.size() - 1, round + 2));
            if (random.below(5000) == 0) check();
        }
        check();
        EXPECT_TRUE(spine().empty());
        EXPECT_EQ(RootField::height(root_.data()), 0u);
    }
    EXPECT_GE(height, test::test_scale() < 1 ? 1u : 2u);
}

TEST_F(SpineTest, APageOfAnotherKindIsCorruption) {
    harness_.pager().reserve();
    PageId id = 0;
    harness_.pager().allocate(storage::PageKind::bucket, 0, id);
    RootField::set_page(root_.data(), id);
    std::uint64_t rank = 0;
    EXPECT_THROW((void)spine().leaf(spine().to_rank(rank).leaf), CorruptionError);
    RootField::set_height(root_.data(), 3);
    EXPECT_THROW((void)spine().to_rank(rank), CorruptionError);
    RootField::set_height(root_.data(), kMaxHeight + 1);
    EXPECT_THROW((void)spine().to_rank(rank), CorruptionError);
    RootField::set_page(root_.data(), 4711);
    RootField::set_height(root_.data(), 1);
    EXPECT_THROW((void)spine().to_rank(rank), CorruptionError);
}

}  // namespace
}  // namespace pyrsistence::structures
