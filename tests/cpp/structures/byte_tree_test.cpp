// ByteTree beside a vector: growth at the end over several levels, writing and reading across pages, seals and ways back.
#include "structures/byte_tree.hpp"

#include "structures/pager_harness.hpp"
#include "structures/verify.hpp"

namespace pyrsistence::structures {
namespace {

using test::PagerHarness;
using test::Random;
using test::scaled;

class ByteTreeTest : public ::testing::Test {
protected:
    static constexpr std::size_t kLeaf = ByteTree::leaf_bytes(1000);

    ByteTree tree() {
        harness_.pager().reserve();
        return {harness_.pager(), root_.data(), kLeaf};
    }
    std::vector<std::byte> bytes(Random& random, std::size_t count) {
        std::vector<std::byte> all(count);
        for (std::byte& one : all) one = std::byte(random.below(256));
        return all;
    }
    void expect_same() {
        ASSERT_EQ(tree().size(), model_.size());
        std::vector<std::byte> found(model_.size());
        tree().read(0, found);
        ASSERT_TRUE(found == model_);
        PagerHarness::Account account(harness_.pager());
        storage::Verification::Options options;
        options.throw_first = true;
        options.on_reach = [&](PageId first, std::uint64_t pages) { account.run(first, pages); };
        storage::Verification out(harness_.pager().page_count(), std::move(options));
        verify_bytes(harness_.pager(), root_.data(), kLeaf, out);
        account.finish();
    }
    void truncate(std::size_t size) {
        while (tree().size() > size) tree().truncate_some(size);
        model_.resize(size);
    }

    PagerHarness harness_;
    std::array<std::byte, RootField::kSize> root_{};
    std::vector<std::byte> model_;
};

TEST_F(ByteTreeTest, HoldsWholeItemsInItsLeaves) {
    EXPECT_EQ(ByteTree::leaf_bytes(1), 4080u);
    EXPECT_EQ(ByteTree::leaf_bytes(8), 4080u);
    EXPECT_EQ(ByteTree::leaf_bytes(1000), 4000u);
    EXPECT_EQ(ByteTree::leaf_bytes(2041), 2041u);
    EXPECT_EQ(ByteTree::leaf_bytes(4080), 4080u);
    EXPECT_EQ(ByteTree::leaf_bytes(1'000'000), 4080u);
}

TEST_F(ByteTreeTest, GrowsOverSeveralLevelsAndShrinksAgain) {
    Random random(5);
    constexpr std::size_t kMost = 203 * 203 * kLeaf + 5 * kLeaf;
    while (tree().size() < kMost) tree().append_zeros(ByteTree::kStepLeaves * kLeaf);
    model_.resize(tree().size());
    EXPECT_EQ(RootField::height(root_.data()), 3u);
    for (int i = 0; i < 100; ++i) {
        const auto some = bytes(random, 1 + random.below(9000));
        const std::size_t at = random.below(model_.size() - some.size());
        tree().write(at, some);
        std::ranges::copy(some, model_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    expect_same();
    for (const std::size_t size : {203 * 203 * kLeaf + 1, 203 * 203 * kLeaf, 203 * kLeaf + 7, 203 * kLeaf, kLeaf, std::size_t{1}, std::size_t{0}}) {
        truncate(size);
        expect_same();
    }
    EXPECT_EQ(RootField::page(root_.data()), 0u);
}

TEST_F(ByteTreeTest, IsAsAVectorOverSealsAndWaysBack) {
    PYRSISTENCE_TRACE_SEED;
    Random random(test::seed());
    for (std::uint64_t i = 0; i < scaled(3000); ++i) {
        const unsigned dice = static_cast<unsigned>(random.below(100));
        const std::size_t at = random.below(model_.size() + 1);
        const bool undone = dice >= 90;
        const auto root = root_;
        const auto before = model_;
        if (undone) harness_.begin();
        if (dice % 10 < 4) {
            const auto some = bytes(random, random.below(random.chance(20) ? 20'000 : 50));
            tree().append(some);
            model_.insert(model_.end(), some.begin(), some.end());
        } else if (dice % 10 < 6) {
            const auto some = bytes(random, std::min<std::size_t>(model_.size() - at, random.below(9000)));
            tree().write(at, some);
            std::ranges::copy(some, model_.begin() + static_cast<std::ptrdiff_t>(at));
        } else if (dice % 10 < 7) {
            truncate(random.chance(10) ? at : model_.size() - std::min<std::size_t>(model_.size(), random.below(9000)));
        } else if (at < model_.size()) {
            const Bytes leaf = tree().at(at);
            ASSERT_TRUE(std::ranges::equal(leaf, std::span(model_).subspan(at, leaf.size())));
            ASSERT_EQ(leaf.size(), std::min(kLeaf - at % kLeaf, model_.size() - at));
        }
        if (undone) {
            harness_.undo();
            root_ = root;
            model_ = before;
        }
        if (i % 40 == 0) harness_.seal(random.chance(30));
        if (i % 200 == 0) {
            harness_.drop_older();
            std::vector<std::byte> found(model_.size());
            tree().read(0, found);
            ASSERT_TRUE(found == model_);
        }
    }
}

TEST_F(ByteTreeTest, SaysWhereItIsShorterThanItsRootSays) {
    tree().append_zeros(3 * kLeaf);
    RootField::add_entries(root_.data(), kLeaf * 300);
    EXPECT_THROW((void)tree().at(kLeaf * 203), CorruptionError);
    EXPECT_THROW((void)tree().at(kLeaf * 3), CorruptionError);
    std::vector<std::byte> all(4 * kLeaf);
    EXPECT_THROW(tree().read(0, all), CorruptionError);
    EXPECT_THROW(tree().append_zeros(1), CorruptionError);
}

}  // namespace
}  // namespace pyrsistence::structures
