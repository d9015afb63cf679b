#include "structures/inner_node.hpp"

#include "support.hpp"

namespace pyrsistence::structures {
namespace {

using test::Random;

/// A page on the heap, so that the sanitizer sees a byte too many.
std::vector<std::byte> new_node() {
    std::vector<std::byte> page(storage::kPageSize);
    page[5] = std::byte{1};
    return page;
}

template <class Node>
class InnerNodeTest : public ::testing::Test {
protected:
    static constexpr bool kCounted = std::is_same_v<Node, InnerNode<true>>;
    struct Child {
        std::uint64_t key;
        PageId page;
        std::uint64_t entries;
    };

    void expect_same(const std::byte* node, const std::vector<Child>& model) {
        ASSERT_EQ(storage::page_count(node), model.size());
        std::uint64_t total = 0;
        for (unsigned i = 0; i < model.size(); ++i) {
            ASSERT_EQ(Node::separator(node, i), model[i].key);
            ASSERT_EQ(Node::child(node, i), model[i].page);
            total += model[i].entries;
            if constexpr (kCounted) {
                ASSERT_EQ(Node::total(node, i), total);
                ASSERT_EQ(Node::before(node, i), total - model[i].entries);
            }
        }
    }
    void expect_finds(const std::byte* node, const std::vector<Child>& model, Random& random) {
        const auto n = static_cast<unsigned>(model.size());
        const std::uint64_t key = model[random.below(n)].key + random.below(3);
        Bounds bounds{0, random.chance(50) ? Node::kNoBound : std::uint64_t{1} << 48};
        const unsigned found = Node::find_key(node, n, key, bounds);
        unsigned expected = 0;
        while (expected + 1 < n && model[expected + 1].key <= key) ++expected;
        ASSERT_EQ(found, expected);
        if constexpr (kCounted) {
            const std::uint64_t whole = Node::total(node, n - 1);
            const std::uint64_t wanted = random.below(whole + 2);
            std::uint64_t rank = wanted, before = 0;
            const unsigned at = Node::find_rank(node, n, rank, bounds);
            unsigned place = 0;
            for (; place + 1 < n && before + model[place].entries <= wanted; ++place) before += model[place].entries;
            ASSERT_EQ(at, place);
            ASSERT_EQ(rank, wanted - before);
            ASSERT_EQ(bounds.high, model[place].entries);
        }
    }
};

using Nodes = ::testing::Types<InnerNode<true>, InnerNode<false>>;
TYPED_TEST_SUITE(InnerNodeTest, Nodes);

TYPED_TEST(InnerNodeTest, BehavesAsAVectorOfChildren) {
    using Node = TypeParam;
    PYRSISTENCE_TRACE_SEED;
    Random random(611);
    for (int round = 0; round < 6; ++round) {
        auto page = new_node();
        std::byte* node = page.data();
        std::vector<typename TestFixture::Child> model;
        for (int i = 0; i < 3000; ++i) {
            const bool full = model.size() == Node::kCapacity;
            if (!full && (model.empty() || random.chance(i < 1500 ? 70 : 30))) {
                const std::uint64_t at = random.below(model.size() + 1);
                const std::uint64_t low = at == 0 ? 0 : model[at - 1].key;
                const std::uint64_t high = at == model.size() ? std::min(low + random.below(1 << 20), (std::uint64_t{1} << 48) - 1) : model[at].key;
                const typename TestFixture::Child child{low + random.below(high - low + 1), 2 + random.below(1u << 30), random.below(500)};
                Node::insert(node, static_cast<unsigned>(at), child.page, child.key, child.entries);
                model.insert(model.begin() + static_cast<std::ptrdiff_t>(at), child);
            } else if (random.chance(70)) {
                const auto at = static_cast<unsigned>(random.below(model.size()));
                // The entries of a child that goes have moved to its left neighbour, or are none.
                if (at == 0) Node::add(node, 0, 0 - model[0].entries);
                if (at == 0 && model.size() > 1) model[1].key = model[0].key;
                if (at > 0) model[at - 1].entries += model[at].entries;
                Node::erase(node, at);
                model.erase(model.begin() + at);
            } else {
                const auto at = static_cast<unsigned>(random.below(model.size()));
                Node::add(node, at, 3);
                model[at].entries += 3;
            }
            if (i % 20 == 0) {
                ASSERT_NO_FATAL_FAILURE(this->expect_same(node, model));
            }
            if (!model.empty()) {
                ASSERT_NO_FATAL_FAILURE(this->expect_finds(node, model, random));
            }
            if (!model.empty()) {
                EXPECT_NO_THROW(Node::validate(node, 7, PageId{1} << 31));
            }
        }
    }
}

TYPED_TEST(InnerNodeTest, CopyTailMovesChildrenToAnotherNode) {
    using Node = TypeParam;
    Random random(612);
    for (int round = 0; round < 300; ++round) {
        auto left = new_node(), right = new_node();
        std::vector<typename TestFixture::Child> model[2];
        const std::uint64_t n[2] = {random.below(Node::kCapacity / 2), 1 + random.below(Node::kCapacity / 2)};
        for (int side = 0; side < 2; ++side) {
            for (unsigned i = 0; i < n[side]; ++i) {
                model[side].push_back({i, 2 + i, random.below(9)});
                const auto& child = model[side].back();
                Node::insert(side == 0 ? left.data() : right.data(), i, child.page, child.key, child.entries);
            }
        }
        const auto first = static_cast<unsigned>(random.below(n[1]));
        Node::copy_tail(right.data(), first, left.data());
        model[0].insert(model[0].end(), model[1].begin() + first, model[1].end());
        ASSERT_NO_FATAL_FAILURE(this->expect_same(left.data(), model[0]));
        ASSERT_NO_FATAL_FAILURE(this->expect_same(right.data(), model[1]));
    }
}

/// What validate() accepts can be searched without leaving the page; the rest it refuses.
TYPED_TEST(InnerNodeTest, ValidateGuardsTheSearches) {
    using Node = TypeParam;
    PYRSISTENCE_TRACE_SEED;
    Random random(613);
    std::size_t refused = 0;
    for (std::size_t round = 0; round < test::scaled(20'000); ++round) {
        auto page = new_node();
        for (unsigned i = 0; i < 50; ++i) Node::insert(page.data(), i, 2 + i, 10 * i, 5);
        for (std::uint64_t i = random.below(4); i > 0; --i) page[random.chance(40) ? 4 + random.below(4) : random.below(page.size())] = std::byte(random());
        try {
            Node::validate(page.data(), 7, 100);
        } catch (const CorruptionError&) {
            ++refused;
            continue;
        }
        const unsigned n = storage::page_count(page.data());
        ASSERT_TRUE(n > 0 && n <= Node::kCapacity);
        Bounds bounds{0, Node::kNoBound};
        ASSERT_LT(Node::find_key(page.data(), n, random.below(600), bounds), n);
        std::uint64_t rank = random.below(300);
        if constexpr (TestFixture::kCounted) {
            ASSERT_LT(Node::find_rank(page.data(), n, rank, bounds), n);
        }
        for (unsigned i = 0; i < n; ++i) ASSERT_LT(Node::child(page.data(), i), 100u);
    }
    EXPECT_GT(refused, 0u);
}

/// One child too many lies where the next array begins, or behind it: whatever is there may pass for one.
TYPED_TEST(InnerNodeTest, ValidateRefusesMoreThanFit) {
    using Node = TypeParam;
    auto page = new_node();
    for (unsigned i = 0; i < Node::kCapacity; ++i) Node::insert(page.data(), i, 5000 + i, i, 5);
    EXPECT_NO_THROW(Node::validate(page.data(), 7, 10'000));
    storage::set_page_count(page.data(), Node::kCapacity + 1);
    Node::set_child(page.data(), Node::kCapacity, 5000);
    EXPECT_THROW(Node::validate(page.data(), 7, 10'000), CorruptionError);
}

}  // namespace
}  // namespace pyrsistence::structures
