#include "structures/key_node.hpp"

#include <set>

#include "support.hpp"

namespace pyrsistence::structures {
namespace {

using test::Random;

class KeyNodeTest : public ::testing::Test {
protected:
    struct Child {
        PageId id;
        std::string key;
        std::uint64_t entries;
    };
    using Page = std::vector<std::byte>;

    static Page new_node() {
        Page page(storage::kPageSize);
        page[5] = std::byte{1};  // level
        return page;
    }
    static std::string key(Random& random) {
        return test::content(random(), random.chance(3) ? random.below(KeyedRecord::kMaxKey + 1) : random.below(12));
    }
    static void expect_same(const Page& page, const std::vector<Child>& model) {
        const std::byte* node = page.data();
        ASSERT_EQ(storage::page_count(node), model.size());
        std::uint64_t before = 0;
        for (unsigned i = 0; i < model.size(); ++i) {
            ASSERT_EQ(KeyNode::child(node, i), model[i].id);
            ASSERT_EQ(as_text(KeyNode::separator(node, i)), model[i].key);
            ASSERT_EQ(KeyNode::before(node, i), before);
            before += model[i].entries;
            ASSERT_EQ(KeyNode::total(node, i), before);
        }
    }
};

TEST_F(KeyNodeTest, BehavesAsAVectorOfChildren) {
    PYRSISTENCE_TRACE_SEED;
    Random random(641);
    for (int round = 0; round < 50; ++round) {
        Page page = new_node();
        std::vector<Child> model{{7, "", 3}};
        KeyNode::insert(page.data(), 0, 7, {}, 3);
        for (int i = 0; i < 300 && !HasFatalFailure(); ++i) {
            const auto at = static_cast<unsigned>(random.below(model.size()));
            const Child next{2 + random.below(1000), key(random), random.below(100)};
            const auto place = model.begin() + static_cast<std::ptrdiff_t>(at);
            if (random.chance(60) && KeyNode::has_room(page.data(), as_bytes(next.key))) {
                KeyNode::insert(page.data(), at + 1, next.id, as_bytes(next.key), next.entries);
                model.insert(place + 1, next);
            } else if (random.chance(40) && at > 0) {
                KeyNode::erase(page.data(), at);  // its entries go to the one before
                model[at - 1].entries += place->entries;
                model.erase(place);
            } else if (random.chance(50)) {
                KeyNode::add(page.data(), at, next.entries);
                place->entries += next.entries;
            } else if (next.key.size() <= place->key.size()) {
                KeyNode::set_separator(page.data(), at, as_bytes(next.key));
                place->key = next.key;
            } else {
                KeyNode::set_child(page.data(), at, next.id);
                place->id = next.id;
            }
            expect_same(page, model);
        }
    }
}

TEST_F(KeyNodeTest, EitherHalfTakesOneMoreSeparator) {
    PYRSISTENCE_TRACE_SEED;
    Random random(642);
    for (int round = 0; round < 2000 && !HasFatalFailure(); ++round) {
        Page page = new_node(), right = new_node();
        std::vector<Child> model;
        for (;;) {
            const Child next{2 + random.below(1000), random.chance(50) ? std::string(KeyedRecord::kMaxKey, 'k') : key(random), 1};
            if (!KeyNode::has_room(page.data(), as_bytes(next.key))) break;
            KeyNode::insert(page.data(), static_cast<unsigned>(model.size()), next.id, as_bytes(next.key), 1);
            model.push_back(next);
        }
        const auto at = static_cast<unsigned>(1 + random.below(model.size() - 1));
        const unsigned keep = KeyNode::split_place(page.data(), at);
        ASSERT_TRUE(keep > 0 && keep < model.size());
        KeyNode::copy_tail(page.data(), keep, right.data());
        KeyNode::truncate(page.data(), keep);
        const std::string longest(KeyedRecord::kMaxKey, 'x');
        ASSERT_TRUE(KeyNode::has_room(page.data(), as_bytes(longest)));
        ASSERT_TRUE(KeyNode::has_room(right.data(), as_bytes(longest)));
        const auto middle = model.begin() + keep;
        expect_same(page, {model.begin(), middle});
        expect_same(right, {middle, model.end()});
    }
}

TEST_F(KeyNodeTest, FindsTheChildOfAKey) {
    PYRSISTENCE_TRACE_SEED;
    Random random(643);
    for (int round = 0; round < 200; ++round) {
        Page page = new_node();
        std::multiset<std::string> keys;
        while (keys.size() < 40) keys.insert(test::content(random(), 1 + random.below(2)));
        unsigned n = 0;
        for (const std::string& one : keys) KeyNode::insert(page.data(), n++, 2, as_bytes(one), 1);
        const std::vector<std::string> sorted(keys.begin(), keys.end());
        for (int i = 0; i < 50; ++i) {
            const std::string wanted = random.chance(50) ? sorted[random.below(sorted.size())] : test::content(random(), random.below(3));
            unsigned last = 0, first = 0;  // the first separator says nothing
            for (unsigned k = 1; k < n; ++k) {
                if (sorted[k] <= wanted) last = k;
                if (sorted[k] < wanted) first = k;
            }
            SoughtKey one(as_bytes(wanted)), other(as_bytes(wanted));
            ASSERT_EQ(KeyNode::find_key<true>(page.data(), n, one), last);
            ASSERT_EQ(KeyNode::find_key<false>(page.data(), n, other), first);
        }
    }
}

/// Whatever the bytes, validate() refuses them or every search stays within the page.
TEST_F(KeyNodeTest, ValidateGuardsTheSearches) {
    PYRSISTENCE_TRACE_SEED;
    Random random(644);
    std::size_t refused = 0;
    for (std::size_t round = 0; round < test::scaled(20'000); ++round) {
        Page page = new_node();
        for (unsigned i = 0; i < 20; ++i) {
            const std::string one = key(random);
            if (!KeyNode::has_room(page.data(), as_bytes(one))) break;
            KeyNode::insert(page.data(), i, 2 + random.below(90), as_bytes(one), 1);
        }
        for (std::uint64_t i = random.below(4); i > 0; --i) page[random.chance(80) ? 4 + random.below(80) : random.below(page.size())] = std::byte(random());
        try {
            KeyNode::validate(page.data(), 7, 100);
        } catch (const CorruptionError&) {
            ++refused;
            continue;
        }
        const unsigned n = storage::page_count(page.data());
        for (unsigned i = 0; i < n; ++i) {
            const Bytes separator = KeyNode::separator(page.data(), i);
            ASSERT_TRUE(separator.data() >= page.data() && separator.data() + separator.size() <= page.data() + page.size());
            ASSERT_TRUE(KeyNode::child(page.data(), i) >= storage::kMetaPages && KeyNode::child(page.data(), i) < 100);
        }
        SoughtKey sought(as_bytes("m"));
        ASSERT_LT(KeyNode::find_key<true>(page.data(), n, sought), n);
        std::uint64_t rank = random.below(100);
        Bounds bounds;
        ASSERT_LT(KeyNode::find_rank(page.data(), n, rank, bounds), n);
    }
    EXPECT_GT(refused, 0u);
}

}  // namespace
}  // namespace pyrsistence::structures
