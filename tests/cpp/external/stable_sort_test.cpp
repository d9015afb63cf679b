#include "pyrsistence/stable_sort.hpp"

#include "support.hpp"

namespace pyrsistence::test {
namespace {

struct Numbered {
    std::uint64_t key, number;
    friend bool operator==(const Numbered&, const Numbered&) = default;
};
struct ByKey {
    bool operator()(const Numbered& a, const Numbered& b) const { return a.key < b.key; }
};

TEST(StableSortTest, SortsAsTheStandardLibrary) {
    PYRSISTENCE_TRACE_SEED;
    Random random(12);
    for (std::size_t size = 0; size < 3000; size = size < 200 ? size + 1 : size + 97) {
        for (const std::uint64_t keys : {1, 2, 20, 1 << 30}) {
            for (unsigned shape = 0; shape < 4; ++shape) {
                std::vector<Numbered> expected(size);
                for (std::size_t i = 0; i < size; ++i) expected[i] = {random.below(keys), i};
                if (shape == 1) std::ranges::sort(expected, {}, &Numbered::key);
                if (shape == 2) std::ranges::sort(expected, std::greater(), &Numbered::key);
                if (shape == 3) std::ranges::sort(expected.begin(), expected.begin() + std::ptrdiff_t(size / 3), {}, &Numbered::key);
                std::vector<Numbered> sorted = expected;
                detail::stable_sort(std::span(sorted), ByKey());
                std::ranges::stable_sort(expected, ByKey());
                ASSERT_EQ(sorted, expected) << size << " " << keys << " " << shape;
            }
        }
    }
}

/// Nothing beyond the items is touched, which AddressSanitizer proves.
TEST(StableSortTest, SurvivesComparisonsWithoutAnyOrder) {
    PYRSISTENCE_TRACE_SEED;
    Random random(13);
    for (std::size_t size = 0; size < 500; ++size) {
        std::vector<std::uint64_t> items(size);
        for (unsigned percent : {0, 50, 100}) {
            detail::stable_sort(std::span(items), [&](std::uint64_t, std::uint64_t) { return random.chance(percent); });
        }
    }
}

}  // namespace
}  // namespace pyrsistence::test
