#include "structures/slotted_page.hpp"

#include "support.hpp"

namespace pyrsistence::structures {
namespace {

using test::Random;
using Leaf = SlottedPage;

class SlottedPageTest : public ::testing::Test {
protected:
    struct Slot {
        std::string text;
        bool external = false;
        Record record() const { return {as_bytes(text), external}; }
    };
    static std::vector<std::byte> new_leaf() { return std::vector<std::byte>(storage::kPageSize); }

    static Slot random_slot(Random& random) {
        if (random.chance(10)) return {};
        if (random.chance(10)) return {test::content(random(), storage::ExtentRef::kEncodedSize), true};
        return {test::content(random(), 1 + random.below(random.chance(5) ? Leaf::kMaxRecord : 60)), false};
    }
    static void expect_same(const std::byte* leaf, const std::vector<Slot>& model) {
        ASSERT_EQ(Leaf::slots(leaf), model.size());
        std::size_t used = 0;
        unsigned holes = 0, entries = 0;
        for (unsigned i = 0; i < model.size(); ++i) {
            const Record record = Leaf::record(leaf, i);
            ASSERT_EQ(as_text(record.stored), model[i].text) << i;
            ASSERT_EQ(record.external, model[i].external) << i;
            ASSERT_EQ(Leaf::entries_before(leaf, i), entries);
            if (model[i].text.empty()) {
                ++holes;
            } else {
                ASSERT_EQ(Leaf::slot_of_rank(leaf, entries++), i);
            }
            used += Leaf::kSlot + model[i].text.size();
        }
        ASSERT_EQ(Leaf::holes(leaf), holes);
        ASSERT_EQ(Leaf::entries(leaf), entries);
        ASSERT_EQ(Leaf::used(leaf), used);
        ASSERT_EQ(Leaf::room(leaf), Leaf::kRoom - used);
        ASSERT_NO_THROW(Leaf::validate(leaf, 7, 100));
    }
};

TEST_F(SlottedPageTest, BehavesAsAVectorOfRecords) {
    PYRSISTENCE_TRACE_SEED;
    Random random(621);
    for (int round = 0; round < 20; ++round) {
        auto page = new_leaf();
        std::byte* leaf = page.data();
        std::vector<Slot> model;
        for (int i = 0; i < 1000; ++i) {
            const auto at = static_cast<unsigned>(random.below(model.size() + 1));
            const auto place = model.begin() + at;
            const Slot slot = random_slot(random);
            const unsigned dice = static_cast<unsigned>(random.below(100));
            if (dice < 50 && slot.text.size() + Leaf::kSlot <= Leaf::room(leaf)) {
                Leaf::open(leaf, at);
                Leaf::fill(leaf, at, slot.record());
                model.insert(place, slot);
            } else if (dice < 80 && at < model.size() && slot.text.size() <= Leaf::room(leaf) + place->text.size()) {
                Leaf::fill(leaf, at, slot.record());
                *place = slot;
            } else if (dice < 98 && at < model.size()) {
                const auto count = static_cast<unsigned>(1 + random.below(std::min<std::size_t>(5, model.size() - at)));
                Leaf::erase(leaf, at, count);
                model.erase(place, place + count);
            } else if (dice == 99) {
                Leaf::truncate(leaf, at);
                model.resize(at);
            }
            ASSERT_NO_FATAL_FAILURE(expect_same(leaf, model));
        }
    }
}

TEST_F(SlottedPageTest, CopyTailAppendsToAnotherLeaf) {
    Random random(622);
    for (int round = 0; round < 500; ++round) {
        auto pages = {new_leaf(), new_leaf()};
        std::vector<Slot> models[2];
        std::byte* leaves[2] = {const_cast<std::byte*>(pages.begin()[0].data()), const_cast<std::byte*>(pages.begin()[1].data())};
        for (int side = 0; side < 2; ++side) {
            for (std::uint64_t i = random.below(40); i > 0; --i) {
                const Slot slot = random_slot(random);
                if (Leaf::used(leaves[side]) + slot.text.size() + Leaf::kSlot > Leaf::kRoom / 2) break;
                Leaf::open(leaves[side], Leaf::slots(leaves[side]));
                Leaf::fill(leaves[side], Leaf::slots(leaves[side]) - 1, slot.record());
                models[side].push_back(slot);
            }
        }
        const auto first = static_cast<unsigned>(random.below(models[1].size() + 1));
        Leaf::copy_tail(leaves[1], first, leaves[0]);
        models[0].insert(models[0].end(), models[1].begin() + first, models[1].end());
        ASSERT_NO_FATAL_FAILURE(expect_same(leaves[0], models[0]));
        ASSERT_NO_FATAL_FAILURE(expect_same(leaves[1], models[1]));
    }
}

/// Whatever the bytes, validate() refuses them or every record lies within the page.
TEST_F(SlottedPageTest, ValidateGuardsEveryRecord) {
    PYRSISTENCE_TRACE_SEED;
    Random random(623);
    std::size_t refused = 0;
    for (std::size_t round = 0; round < test::scaled(30'000); ++round) {
        auto page = new_leaf();
        for (unsigned i = 0; i < 30; ++i) {
            const Slot slot = random_slot(random);
            if (slot.text.size() + Leaf::kSlot > Leaf::room(page.data())) break;
            Leaf::open(page.data(), i);
            Leaf::fill(page.data(), i, slot.record());
        }
        for (std::uint64_t i = random.below(4); i > 0; --i) page[random.chance(80) ? 4 + random.below(80) : random.below(page.size())] = std::byte(random());
        try {
            Leaf::validate(page.data(), 7, 100);
        } catch (const CorruptionError&) {
            ++refused;
            continue;
        }
        unsigned entries = 0;
        for (unsigned i = 0; i < Leaf::slots(page.data()); ++i) {
            const auto [stored, external] = Leaf::record(page.data(), i);
            ASSERT_TRUE(!external || stored.size() >= storage::ExtentRef::kEncodedSize) << "decoding would read beyond it";
            ASSERT_TRUE(stored.data() >= page.data() && stored.data() + stored.size() <= page.data() + page.size());
            ASSERT_LE(stored.size(), Leaf::kMaxRecord) << "splitting would write beyond the page";
            entries += !stored.empty();
        }
        ASSERT_EQ(Leaf::entries(page.data()), entries);
        for (unsigned rank = 0; rank < entries; ++rank) ASSERT_LT(Leaf::slot_of_rank(page.data(), rank), Leaf::slots(page.data()));
    }
    EXPECT_GT(refused, 0u);
}

}  // namespace
}  // namespace pyrsistence::structures
