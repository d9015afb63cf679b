#include "structures/verify.hpp"

#include "structures/pager_harness.hpp"

namespace pyrsistence::structures {
namespace {

using storage::PageKind;
using storage::Verification;
using test::PagerHarness;
using test::Random;

/// Trees put together by hand, in ways that no program would.
class VerifyTreesTest : public ::testing::Test {
protected:
    using Root = std::array<std::byte, RootField::kSize>;
    using Node = InnerNode<true>;

    storage::Pager& pager() {
        harness_.pager().reserve();
        return harness_.pager();
    }
    PageId leaf(EntryId base, unsigned entries) {
        PageId id = 0;
        std::byte* page = pager().allocate(PageKind::leaf, 0, id);
        SlottedPage::set_base(page, base);
        const std::array<std::byte, 2> record{std::byte{0x80}, std::byte{0x81}};
        for (unsigned i = 0; i < entries; ++i) {
            SlottedPage::open(page, i);
            SlottedPage::fill(page, i, {record, false});
        }
        return id;
    }
    PageId inner(unsigned level, const std::vector<std::tuple<PageId, std::uint64_t, std::uint64_t>>& children) {
        PageId id = 0;
        std::byte* page = pager().allocate(PageKind::inner, level, id);
        for (unsigned i = 0; i < children.size(); ++i) {
            const auto& [child, key, entries] = children[i];
            Node::insert(page, i, child, key, entries);
        }
        return id;
    }
    static Root root(PageId page, unsigned height, std::uint64_t entries) {
        Root root{};
        RootField::set_page(root.data(), page);
        RootField::set_height(root.data(), height);
        RootField::add_entries(root.data(), entries);
        return root;
    }
    Verified verify(const Root& root, Verification& out, TreeOrder key = TreeOrder::id) {
        return verify_tree(harness_.pager(), root.data(), key, out, [this](std::uint64_t at, Bytes) { visited_.push_back(at); });
    }
    static std::string text(const Verification& out) {
        std::string all;
        for (const auto& fault : out.faults()) all += fault.text + "\n";
        return all;
    }

    PagerHarness harness_;
    std::vector<std::uint64_t> visited_;
};

TEST_F(VerifyTreesTest, ASoundTreeIsVisitedInOrder) {
    const PageId a = leaf(1, 3), b = leaf(10, 2), c = leaf(20, 1);
    const PageId top = inner(1, {{a, 0, 3}, {b, 10, 2}, {c, 15, 1}});
    Verification out(harness_.pager().page_count());
    const Verified found = verify(root(top, 1, 6), out);
    EXPECT_EQ(out.fault_count(), 0u) << text(out);
    EXPECT_TRUE(found.complete());
    EXPECT_EQ(found.entries, 6u);
    EXPECT_EQ(visited_, (std::vector<std::uint64_t>{1, 2, 3, 10, 11, 20}));
    EXPECT_EQ(out.pages_reached(), 4u);
}

TEST_F(VerifyTreesTest, GoesOnBehindWhatCannotBeReadAndKnowsWhereItWas) {
    const PageId a = leaf(1, 3), b = leaf(10, 2), c = leaf(20, 1), d = leaf(30, 4);
    PageId bucket = 0;
    pager().allocate(PageKind::bucket, 0, bucket);
    const PageId left = inner(1, {{a, 0, 3}, {bucket, 10, 2}});
    const PageId right = inner(1, {{PageId{1} << 40, 20, 1}, {d, 30, 4}});
    const PageId top = inner(2, {{left, 0, 5}, {right, 20, 5}});
    Verification out(harness_.pager().page_count());
    const Verified found = verify(root(top, 2, 10), out);
    EXPECT_EQ(out.fault_count(), 2u) << text(out);
    EXPECT_EQ(visited_, (std::vector<std::uint64_t>{1, 2, 3, 30, 31, 32, 33}));
    ASSERT_EQ(found.lost.size(), 1u);
    EXPECT_EQ(found.lost[0].low, 10u);
    EXPECT_EQ(found.lost[0].high, 30u);
    for (std::uint64_t key = 0; key < 40; ++key) EXPECT_EQ(found.may_have_lost(key), key >= 10 && key < 30) << key;
    EXPECT_FALSE(out.complete());
    EXPECT_FALSE(out.reached(bucket)) << "it belongs to an index";
    (void)b, (void)c;
}

TEST_F(VerifyTreesTest, AChildThatIsItsAncestor) {
    PageId top = inner(3, {{2, 0, 1}});
    PageId middle = inner(2, {{top, 0, 1}});
    harness_.pager().reserve();
    Node::set_child(harness_.pager().write(top), 0, middle);
    Verification out(harness_.pager().page_count());
    verify(root(top, 3, 1), out);
    EXPECT_EQ(out.fault_count(), 1u) << text(out);
    PageId self = inner(1, {{2, 0, 1}});
    Node::set_child(harness_.pager().write(self), 0, self);
    Verification again(harness_.pager().page_count());
    verify(root(self, 1, 1), again);
    EXPECT_EQ(again.fault_count(), 1u) << text(again);
}

/// Twelve levels whose children are all the same would be 203^12 walks.
TEST_F(VerifyTreesTest, SharedChildrenAreWalkedOnce) {
    PageId below = leaf(1, 5);
    for (unsigned level = 1; level <= kMaxHeight; ++level) {
        std::vector<std::tuple<PageId, std::uint64_t, std::uint64_t>> children;
        for (unsigned i = 0; i < Node::kCapacity; ++i) children.emplace_back(below, i, 5);
        below = inner(level, children);
    }
    Verification out(harness_.pager().page_count());
    verify(root(below, kMaxHeight, 5), out);
    EXPECT_EQ(out.pages_reached(), kMaxHeight + 1u);
    EXPECT_GE(out.fault_count(), kMaxHeight * (Node::kCapacity - 1u));
    EXPECT_EQ(visited_.size(), 5u);
    Verification higher(harness_.pager().page_count());
    verify(root(below, kMaxHeight + 1, 5), higher);
    EXPECT_EQ(higher.fault_count(), 1u) << text(higher);
}

TEST_F(VerifyTreesTest, AbsurdCountsAreNamedWhereTheyAre) {
    const PageId a = leaf(1, 3), b = leaf(10, 2);
    const PageId left = inner(1, {{a, 0, 3}, {b, 10, std::uint64_t{0} - 9}});
    const PageId c = leaf(20, 2);
    const PageId right = inner(1, {{c, 20, 2}});
    const PageId top = inner(2, {{left, 0, 5}, {right, 20, 2}});
    Verification out(harness_.pager().page_count());
    verify(root(top, 2, 7), out);
    EXPECT_EQ(out.fault_count(), 1u) << text(out);
    EXPECT_EQ(out.faults().at(0).page, left);
    Verification other(harness_.pager().page_count());
    verify(root(top, 2, UINT64_MAX), other);
    EXPECT_EQ(other.fault_count(), 2u) << text(other);
}

TEST_F(VerifyTreesTest, OneExtentOfTwoRecordsIsReadOnce) {
    const std::string value = test::content(1, 10'000);
    const storage::ExtentRef ref = harness_.extent(value);
    std::array<std::byte, storage::ExtentRef::kEncodedSize> encoded;
    ref.encode(encoded.data());
    PageId id = 0;
    std::byte* page = pager().allocate(PageKind::leaf, 0, id);
    SlottedPage::set_base(page, 1);
    for (unsigned i = 0; i < 3; ++i) {
        SlottedPage::open(page, i);
        SlottedPage::fill(page, i, {encoded, true});
    }
    Root both = root(id, 0, 3);
    RootField::add_extents(both.data(), 3);
    Verification out(harness_.pager().page_count());
    verify(both, out);
    EXPECT_EQ(visited_.size(), 1u);
    EXPECT_EQ(out.fault_count(), 2u) << text(out);
    EXPECT_EQ(out.pages_reached(), 4u);
}

/// Whatever a tree is made of, its verification ends, reads no page twice and visits no entry of a page that
/// it does not own.
TEST_F(VerifyTreesTest, RandomGraphs) {
    PYRSISTENCE_TRACE_SEED;
    Random random(907);
    for (std::size_t round = 0; round < test::scaled(300); ++round) {
        if (harness_.pager().frames_scarce()) harness_.seal(false);
        std::vector<PageId> pages;
        for (unsigned i = 0; i < 8; ++i) pages.push_back(leaf(1 + random.below(50), 1 + static_cast<unsigned>(random.below(20))));
        for (unsigned i = 0; i < 20; ++i) {
            std::vector<std::tuple<PageId, std::uint64_t, std::uint64_t>> children;
            for (std::uint64_t n = 1 + random.below(6); n > 0; --n) {
                const PageId child = random.chance(5) ? random.below(1000) : pages[random.below(pages.size())];
                children.emplace_back(child, random.below(60), random.chance(20) ? random() : random.below(20));
            }
            pages.push_back(inner(1 + static_cast<unsigned>(random.below(3)), children));
        }
        for (const auto key : {TreeOrder::id, TreeOrder::rank}) {
            visited_.clear();
            Verification out(harness_.pager().page_count());
            const Root top = root(pages.back(), storage::page_level(harness_.pager().read(pages.back())), random.below(100));
            const Verified found = verify(top, out, key);
            ASSERT_LE(visited_.size(), 8u * 20);
            ASSERT_EQ(visited_.size(), found.entries);
            ASSERT_LE(out.pages_reached(), pages.size() + 1000);
        }
    }
}

TEST_F(VerifyTreesTest, EqualHashesMaySpanBuckets) {
    Root root{}, delta{};
    std::array<std::byte, HashIndex::kFilterSize> filter{};
    const HashIndex::Roots roots{root.data(), delta.data(), filter.data()};
    for (EntryId id = 1; id <= 3000; ++id) {
        pager();
        BucketTree(harness_.pager(), root.data()).insert(std::uint64_t{id <= 2000 ? 77u : 77u + id % 3} << 24, id);
    }
    ASSERT_GT(RootField::height(root.data()), 0u);
    std::set<EntryId> ids;
    Verification out(harness_.pager().page_count());
    const Verified found = verify_index(harness_.pager(), roots, out, [&](IndexPart, PageId bucket, std::uint64_t tag, EntryId id) {
        EXPECT_TRUE(out.reached(bucket));
        EXPECT_TRUE(tag >= 77 && tag < 80);
        ids.insert(id);
    });
    EXPECT_EQ(out.fault_count(), 0u) << text(out);
    EXPECT_EQ(ids.size(), 3000u);
    EXPECT_EQ(found.entries, 3000u);
}

}  // namespace
}  // namespace pyrsistence::structures
