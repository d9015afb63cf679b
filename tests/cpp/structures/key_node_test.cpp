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

/// A leaf of keys that are as hard to tell apart as its shape says.
class KeyLeaf {
public:
    KeyLeaf(Random& random, unsigned shape) {
        const std::string common = test::content(random(), shape % 2 == 0 ? 0 : random.below(30));
        std::vector<std::string> keys(1 + random.below(80));
        for (std::string& key : keys) {
            if (shape < 4) key = common + test::content(random(), random.below(12));
            else if (shape < 6) key = common + "01234567" + std::string(random.below(4), '\0') + test::content(random.below(9), random.below(3));
            else key = common + std::to_string(random() >> random.below(64));
            if (key.empty()) key = "k";
        }
        std::sort(keys.begin(), keys.end());
        for (const std::string& key : keys) {
            std::byte length[2];
            const std::string record = std::string(as_text(KeyedRecord::put_length(length, key.size()))) + key;
            if (SlottedPage::room(page_.data()) < SlottedPage::kSlot + record.size()) break;
            const auto slot = static_cast<unsigned>(keys_.size());
            SlottedPage::open(page_.data(), slot);
            SlottedPage::fill(page_.data(), slot, {as_bytes(record), false});
            keys_.push_back(key);
        }
    }
    const std::vector<std::string>& keys() const { return keys_; }
    std::vector<std::byte>& page() { return page_; }
    /// Counts the reads.
    template <bool kOrEqual>
    unsigned count_below(SoughtKey& key) {
        const unsigned n = SlottedPage::slots(page_.data());
        return key.count_below<kOrEqual>(n, [&](unsigned i) {
            EXPECT_LT(i, n);
            ++reads_;
            return KeyedRecord::key_of(SlottedPage::record(page_.data(), i));
        });
    }
    std::size_t reads() const { return reads_; }

private:
    std::vector<std::byte> page_ = std::vector<std::byte>(storage::kPageSize);
    std::vector<std::string> keys_;
    std::size_t reads_ = 0;
};

TEST(SoughtKeyTest, CountsAsBoundsOfASortedVectorDo) {
    PYRSISTENCE_TRACE_SEED;
    Random random(645);
    for (std::size_t round = 0; round < test::scaled(4'000); ++round) {
        KeyLeaf leaf(random, static_cast<unsigned>(random.below(8)));
        const auto& keys = leaf.keys();
        for (int i = 0; i < 10; ++i) {
            std::string wanted = keys[random.below(keys.size())];
            if (random.chance(20)) wanted += test::content(random(), random.below(3));
            if (random.chance(20)) wanted.resize(random.below(wanted.size() + 1));
            SoughtKey lower(as_bytes(wanted)), upper(as_bytes(wanted));
            const bool between = keys.front() <= wanted && wanted <= keys.back();
            if (between && random.chance(70)) {  // as separators tell: the first key or less, the last or more
                const auto at = [&](unsigned slot) { return KeyedRecord::key_of(SlottedPage::record(leaf.page().data(), slot)); };
                for (SoughtKey* key : {&lower, &upper}) key->narrow(at(0), at(static_cast<unsigned>(keys.size() - 1)));
            }
            ASSERT_EQ(leaf.count_below<false>(lower), std::lower_bound(keys.begin(), keys.end(), wanted) - keys.begin());
            ASSERT_EQ(leaf.count_below<true>(upper), std::upper_bound(keys.begin(), keys.end(), wanted) - keys.begin());
        }
    }
}

TEST(SoughtKeyTest, ReadsFewKeysOfEvenDataAndNotManyOfOthers) {
    PYRSISTENCE_TRACE_SEED;
    Random random(646);
    for (const unsigned shape : {2u, 4u, 6u}) {
        std::size_t reads = 0, searches = 0;
        for (int round = 0; round < 200; ++round) {
            KeyLeaf leaf(random, shape);
            for (const std::string& wanted : leaf.keys()) {
                SoughtKey key(as_bytes(wanted));
                leaf.count_below<false>(key);
                ++searches;
            }
            reads += leaf.reads();
        }
        EXPECT_LE(reads, (shape == 2 ? 14 : 26) * searches) << shape;
    }
}

/// What the bounds or the page say may be wrong.
TEST(SoughtKeyTest, StaysWithinThePageWhateverItHolds) {
    PYRSISTENCE_TRACE_SEED;
    Random random(647);
    std::size_t searches = 0;
    for (std::size_t round = 0; round < test::scaled(3'000); ++round) {
        KeyLeaf leaf(random, static_cast<unsigned>(random.below(8))), other(random, static_cast<unsigned>(random.below(8)));
        for (std::uint64_t i = 1 + random.below(60); i > 0; --i) {
            const std::size_t at = random.chance(2) ? SlottedPage::kEnds : storage::kPageSize / 4;
            leaf.page()[at + random.below(storage::kPageSize - at)] = std::byte(random());
        }
        try {
            SlottedPage::validate(leaf.page().data(), 7, 100);
        } catch (const CorruptionError&) {
            continue;
        }
        const std::string wanted = test::content(random(), random.below(30));
        SoughtKey key(as_bytes(wanted));
        const auto bound = [&] {
            const auto slot = static_cast<unsigned>(random.below(other.keys().size()));
            return KeyedRecord::key_of(SlottedPage::record(other.page().data(), slot));
        };
        if (random.chance(50)) key.narrow(bound(), bound());
        if (random.chance(50)) key.narrow(bound(), bound());
        const unsigned n = SlottedPage::slots(leaf.page().data());
        ASSERT_LE(leaf.count_below<false>(key), n);
        ASSERT_LE(leaf.count_below<true>(key), n);
        ++searches;
    }
    EXPECT_GT(searches, 0u);
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
