// Random steps of a space map against plain sets: several groups, pins held and dropped in any order, nested
// ways back, states stored and opened again.

#include "storage/space_map_model.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

constexpr PageId kGroup = SpaceMap::kGroupPages;

class SpaceMapRandomTest : public ::testing::Test {
protected:
    struct Shape {
        std::uint64_t longest;    ///< run
        PageId most;              ///< pages, more or less
        std::size_t most_pins;
    };

    PageRun some_run() {
        const std::uint64_t pages = random_.chance(60) ? 1 : 1 + random_.below(shape_.longest);
        if (!random_.chance(10)) return {0, pages};
        const PageId border = (1 + random_.below(4)) * kGroup;  // by claim()
        return {border - random_.below(std::min(2 * pages, kGroup - kMetaPages)), pages};
    }
    void grow() {
        const PageRun run = some_run();
        if (run.first != 0) return model_.claim(run.first, run.pages);
        const bool one = run.pages == 1 && random_.chance(5), long_run = run.pages >= 4096;
        const PageId lowest = one || long_run ? model_.busy().gap(run.pages) : 0;
        const PageId found = model_.allocate(run.pages);
        if (lowest != 0) {
            EXPECT_EQ(found, lowest);
        }
    }
    void shrink() {
        if (model_.now.runs.empty()) return;
        model_.recycle_at_once = random_.chance(70);
        model_.retire(model_.now.runs[random_.below(model_.now.runs.size())]);
        if (model_.recycle_at_once) return;
        const PageId page = random_.below(model_.pending.end());
        if (model_.pending.contains(page)) model_.recycle(page, 1);
    }
    /// Pages that were in use when a pin was made may be kept by any other.
    void keep() {
        if (model_.pins.empty()) return;
        const State& then = model_.pins[random_.below(model_.pins.size())].state;
        const auto& runs = random_.chance(50) ? model_.now.runs : then.runs;
        if (!runs.empty()) model_.keep(random_.below(model_.pins.size()), runs[random_.below(runs.size())]);
    }
    void unpin() {
        if (model_.pins.empty()) return;
        const std::size_t at = random_.below(model_.pins.size());
        model_.recycle_at_once = random_.chance(70);
        if (!model_.needed(at)) model_.unpin(at);
    }
    void rewind() {
        model_.recycle_at_once = random_.chance(70);
        if (!model_.pins.empty()) model_.rewind();
    }
    void reopen() {
        if (model_.stored.empty()) return;
        const std::size_t count = model_.stored.size();
        const std::size_t at = random_.chance(80) ? count - 1 : random_.below(count);
        std::vector<std::size_t> older;
        for (std::size_t i = 0; i < at; ++i) {
            if (random_.chance(60)) older.push_back(i);
        }
        std::optional<PageId> all;
        if (random_.chance(20)) all = random_.below(2 * model_.map->page_count());
        model_.open(at, older, all);
    }
    void event() {
        const std::uint64_t choice = random_.below(100);
        if (choice < 20 && model_.pins.size() < shape_.most_pins) model_.pin();
        if (choice >= 20 && choice < 45) unpin();
        if (choice >= 45 && choice < 55) keep();
        if (choice >= 55 && choice < 70) rewind();
        if (choice >= 70 && choice < 80) model_.recycle_all();
        if (choice >= 80 && choice < 88) model_.save();
        if (choice >= 88 && choice < 92) model_.trim();
        if (choice == 92) reopen();
        if (choice >= 93) model_.check();
    }
    void run(std::uint64_t salt, std::size_t steps, const Shape& shape) {
        PYRSISTENCE_TRACE_SEED;
        random_ = Random(salt);
        shape_ = shape;
        for (std::size_t step = 0; step < steps && !HasFailure(); ++step) {
            SCOPED_TRACE("step " + std::to_string(step));
            const bool full = model_.now.live.size() > shape_.most;
            const unsigned growth = full ? 20 : step / 2000 % 2 == 0 ? 60 : 35;
            if (random_.chance(growth)) grow();
            else shrink();
            if (random_.chance(15)) event();
            EXPECT_EQ(model_.map->live_pages(), model_.now.live.size());
        }
        model_.recycle_at_once = true;
        model_.recycle_all();
        model_.save();
        while (model_.pins.size() > 1) model_.unpin(random_.below(model_.pins.size() - 1));
        model_.check();
        model_.open(0, {}, {});
        model_.check();
    }

    Random random_{0};
    Shape shape_{};
    SpaceModel model_;
};

TEST_F(SpaceMapRandomTest, ShortRuns) { run(1, scaled(20'000), {8, 5'000, 12}); }
TEST_F(SpaceMapRandomTest, FewPins) { run(2, scaled(20'000), {30, 50'000, 2}); }
TEST_F(SpaceMapRandomTest, MiddleRuns) { run(3, scaled(10'000), {300, 100'000, 6}); }
TEST_F(SpaceMapRandomTest, LongRuns) { run(4, scaled(3'000), {9'000, 200'000, 5}); }
TEST_F(SpaceMapRandomTest, RunsLongerThanAGroup) { run(5, scaled(1'000), {80'000, 300'000, 4}); }

}  // namespace
}  // namespace pyrsistence::test
