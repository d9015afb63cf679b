// Chains of power failures of every kind for as long as one likes: `make crash-long`, or set
// PYRSISTENCE_CRASH_IMAGES to the number of images, and PYRSISTENCE_CRASH_CHAIN to the first seed.
#include "crash/chains.hpp"
#include "crash/store_workload.hpp"

namespace pyrsistence::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const Profile* kOneContainer[] = {&kEqualRecords, &kFullLogs, &kMixed,
                                            &kExtents,      &kBatches,  &kCreation};
constexpr const Profile* kStores[] = {&kSmallChanges, &kMixedStore, &kLongOnes, &kBigValues, &kManyNames};

class LongRun : public PowerFailureTest {
protected:
    /// Chains of all kinds in turn until so many images have been verified.
    void run(std::uint64_t wanted) {
        for (std::uint64_t seed = first_seed(); total_.images < wanted && !HasFailure(); ++seed) {
            for (const Profile* one : kOneContainer) {
                run<ListModel>(*one, seed);
                run<DictModel>(*one, seed);
            }
            for (const Profile* one : kStores) run<StoreModel>(*one, seed);
            if (seed % 5 != 0) continue;  // those that follow are slow
            run<ListModel>(kManyPages, seed);
            run<DictModel>(kManyPages, seed);
            run<StoreModel>(kMuchStore, seed);
        }
        report();
    }

private:
    static std::uint64_t first_seed() {
        const char* text = std::getenv("PYRSISTENCE_CRASH_CHAIN");
        return text ? std::strtoull(text, nullptr, 10) : 1'000'000;
    }
    template <class Model>
    void run(const Profile& profile, std::uint64_t seed) {
        if (HasFailure()) return;
        chain<Model>(profile, seed, total_);
        if (Clock::now() - told_ > std::chrono::seconds(10)) report();
    }
    void report() {
        told_ = Clock::now();
        const std::chrono::duration<double> seconds = told_ - begin_;
        std::printf("%9.0f s  %s\n", seconds.count(), describe(total_).c_str());
        std::fflush(stdout);
    }

    const Clock::time_point begin_ = Clock::now();
    Clock::time_point told_ = begin_;
    PowerCounts total_;
};

TEST_F(LongRun, OfEveryKind) {
    PYRSISTENCE_TRACE_SEED;
    const char* images = std::getenv("PYRSISTENCE_CRASH_IMAGES");
    if (!images) GTEST_SKIP() << "PYRSISTENCE_CRASH_IMAGES is not set";
    run(std::strtoull(images, nullptr, 10));
}

}  // namespace
}  // namespace pyrsistence::test
