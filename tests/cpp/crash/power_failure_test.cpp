// Power failures at any call, of stores of every shape. A failure names its chain; to run that one alone, set
// PYRSISTENCE_CRASH_CHAIN to its seed and filter for its test. PYRSISTENCE_CRASH_IMAGES=n runs the long test.
#include "crash/power_failure.hpp"

#include <chrono>

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10;
constexpr Profile kEqualRecords{"equal records", 300, 24, 24, 0, true, 300, kSmall, 150, 0.3};
constexpr Profile kFullLogs{"full logs", 60, 1000, 1000, 0, true, 60, kSmall, 120, 0.3};
constexpr Profile kMixed{"mixed sizes", 150, 60, 20'000, 60, false, 200, kSmall, 200, 0.25};
constexpr Profile kExtents{"extents", 40, 3000, 200 << 10, 200, false, 20, 256 << 10, 80, 0.2};
constexpr Profile kBatches{"batches", 1000, 100, 4000, 10, false, 1500, kSmall, 60, 0.2};
constexpr Profile kManyPages{"more pages than frames", 9000, 700, 700, 0, false, 1500, 1 << 20, 300, 0.1};
constexpr Profile kCreation{"creation", 20, 100, 2000, 100, false, 20, kSmall, 3, 0.4};

class PowerFailureTest : public ::testing::Test {
protected:
    /// Files in memory: a sync of the machine's disk would be slow and prove nothing.
    static fs::path memory() {
        const fs::path shared = "/dev/shm";
        return ::access(shared.c_str(), W_OK) == 0 ? shared : fs::temp_directory_path();
    }

    template <class Model>
    void chain(const Profile& profile, std::uint64_t seed, PowerCounts& total) {
        SCOPED_TRACE(std::string(Model::kName) + ", " + profile.name + ", PYRSISTENCE_CRASH_CHAIN=" + std::to_string(seed));
        PowerCounts counts;
        PowerFailures<Model>(directory_, profile, seed, counts).run(profile.operations < 10 ? 1 : 8);
        total.images += counts.images;
        total.in_recovery += counts.in_recovery;
        total.lost_operations += counts.lost_operations;
        total.beyond_sync += counts.beyond_sync;
        total.failed_checkpoints += counts.failed_checkpoints;
        total.deepest = std::max(total.deepest, counts.deepest);
    }
    template <class Model>
    void chains(const Profile& profile) {
        PYRSISTENCE_TRACE_SEED;
        const auto wanted = static_cast<std::uint64_t>(double(scaled(6000)) * profile.share);
        PowerCounts total;
        if (const char* one = std::getenv("PYRSISTENCE_CRASH_CHAIN")) return chain<Model>(profile, std::strtoull(one, nullptr, 10), total);
        for (std::uint64_t seed = 1; total.images < wanted && !HasFailure(); ++seed) chain<Model>(profile, seed, total);
        RecordProperty("images", std::to_string(total.images));
        std::printf("%s %s: images %llu in_recovery %llu lost %llu beyond %llu failed %llu deepest %u\n", Model::kName, profile.name, (unsigned long long)total.images,
         (unsigned long long)total.in_recovery, (unsigned long long)total.lost_operations, (unsigned long long)total.beyond_sync, (unsigned long long)total.failed_checkpoints, total.deepest);
    }

    TempDir scratch_;
    const fs::path directory_ = memory() / scratch_.path().filename();
    ~PowerFailureTest() override {
        std::error_code ignored;
        fs::remove_all(directory_, ignored);
    }
};

TEST_F(PowerFailureTest, ListOfEqualRecords) { chains<ListModel>(kEqualRecords); }
TEST_F(PowerFailureTest, ListOfFullLogs) { chains<ListModel>(kFullLogs); }
TEST_F(PowerFailureTest, ListOfMixedSizes) { chains<ListModel>(kMixed); }
TEST_F(PowerFailureTest, ListOfExtents) { chains<ListModel>(kExtents); }
TEST_F(PowerFailureTest, ListOfBatches) { chains<ListModel>(kBatches); }
TEST_F(PowerFailureTest, ListOfManyPages) { chains<ListModel>(kManyPages); }
TEST_F(PowerFailureTest, DictOfEqualRecords) { chains<DictModel>(kEqualRecords); }
TEST_F(PowerFailureTest, DictOfFullLogs) { chains<DictModel>(kFullLogs); }
TEST_F(PowerFailureTest, DictOfMixedSizes) { chains<DictModel>(kMixed); }
TEST_F(PowerFailureTest, DictOfExtents) { chains<DictModel>(kExtents); }
TEST_F(PowerFailureTest, DictOfBatches) { chains<DictModel>(kBatches); }
TEST_F(PowerFailureTest, Creation) { chains<ListModel>(kCreation); }
TEST_F(PowerFailureTest, DictOfManyPages) { chains<DictModel>(kManyPages); }

/// A generation is begun and has records, but its header is lost: recovery begins one with the same number, place and
/// first sequence number, and without a new salt the records of the first would follow its header.
TEST_F(PowerFailureTest, RecordsOfALostGenerationStayDead) {
    const Profile& profile = kFullLogs;
    History<ListModel> history(ListModel(profile), 1);
    SimulatedDisk disk(directory_ / "first");
    PoweredStore<RawList> store(disk, profile.log_window);
    const std::uint64_t windows[] = {4096, 4096 + (1u << 28), 4096 + (2u << 28)};
    std::set<std::uint64_t> lost;  // headers written since the store was opened
    while (lost.empty()) {
        history.step(*store);
        disk.power_cut_keeping([&](const std::string& name, std::uint64_t offset) {
            for (const auto window : windows) {
                if (name == "log" && offset == window) lost.insert(window);
            }
            return true;
        });
    }
    const std::uint64_t first = history.done() - 1;  // the last operation began the generation
    for (int i = 0; i < 20; ++i) history.step(*store);
    const DiskImage image = disk.power_cut_keeping(
        [&](const std::string& name, std::uint64_t offset) { return name != "log" || !lost.contains(offset); });
    disk.turn_off();

    SimulatedDisk second(directory_ / "second", image);
    std::vector<DiskImage> images;
    second.on_call = [&] { images.push_back(second.power_cut_keeping([](auto&, auto) { return true; })); };
    PoweredStore<RawList> recovered(second, profile.log_window);
    ASSERT_EQ(history.find(ListModel::digest(*recovered), first, first), first);
    second.on_call = nullptr;
    images.push_back(second.power_cut_keeping([](auto&, auto) { return true; }));
    for (const DiskImage& again : images) {
        SimulatedDisk third(directory_ / "third", again);
        PoweredStore<RawList> store_again(third, profile.log_window);
        store_again->check();
        ASSERT_EQ(history.find(ListModel::digest(*store_again), first, first), first);
        third.turn_off();
    }
}

}  // namespace
}  // namespace pyrsistence::test
