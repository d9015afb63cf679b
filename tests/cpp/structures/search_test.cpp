#include "structures/search.hpp"

#include "support.hpp"

namespace pyrsistence::structures {
namespace {

using test::Random;

TEST(SearchTest, CountsAsUpperBoundDoesWhateverTheBounds) {
    PYRSISTENCE_TRACE_SEED;
    Random random(601);
    constexpr std::uint64_t kMost = ~std::uint64_t{0};
    for (std::size_t round = 0; round < test::scaled(20'000); ++round) {
        std::vector<std::uint64_t> values(random.below(random.chance(50) ? 6 : 400));
        const unsigned shape = static_cast<unsigned>(random.below(4));
        for (auto& value : values) {
            value = shape == 0 ? random() : shape == 1 ? random.below(20) : shape == 2 ? kMost - random.below(3) : random() >> random.below(64);
        }
        std::sort(values.begin(), values.end());
        for (int i = 0; i < 10; ++i) {
            const std::uint64_t key = random.chance(50) && !values.empty() ? values[random.below(values.size())] + random.below(3) - 1 : random();
            const Bounds bounds{random.chance(30) ? 0 : random() >> random.below(64), random.chance(30) ? kMost : random() >> random.below(64)};
            const auto n = static_cast<unsigned>(values.size());
            const unsigned count = count_not_above(n, key, bounds, [&](unsigned at) {
                EXPECT_LT(at, n);
                return values[at];
            });
            ASSERT_EQ(count, std::upper_bound(values.begin(), values.end(), key) - values.begin());
        }
    }
}

TEST(SearchTest, GuessesAreInRangeAtTheExtremes) {
    for (const std::uint64_t high : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
        for (const std::uint64_t key : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0} - 1, ~std::uint64_t{0}}) {
            for (const unsigned n : {1u, 2u, 370u}) EXPECT_LT((Bounds{0, high}.guess(key, n)), n);
        }
    }
}

TEST(SearchTest, ReadsFewPlacesOfEvenData) {
    std::vector<std::uint64_t> values(370);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = i << 32;
    std::uint64_t reads = 0;
    for (std::uint64_t key = 0; key < values.size(); ++key) {
        count_not_above(370, key << 32, Bounds{0, std::uint64_t{370} << 32}, [&](unsigned at) {
            ++reads;
            return values[at];
        });
    }
    EXPECT_LE(reads, 4 * values.size());
}

}  // namespace
}  // namespace pyrsistence::structures
