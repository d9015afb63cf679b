// Power failures at any call, of stores of every shape. A failure names its chain; to run that one alone, set
// PYRSISTENCE_CRASH_CHAIN to its seed and filter for its test. PYRSISTENCE_CRASH_IMAGES=n runs the long test.
#include "crash/power_failure.hpp"

#include <chrono>
#include <sstream>

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
constexpr const Profile* kAll[] = {&kEqualRecords, &kFullLogs,  &kMixed,   &kExtents,
                                   &kBatches,      &kManyPages, &kCreation};

class PowerFailureTest : public ::testing::Test {
protected:
    /// Files in memory: a sync of the machine's disk would be slow and prove nothing.
    static fs::path memory() {
        const fs::path shared = "/dev/shm";
        return ::access(shared.c_str(), W_OK) == 0 ? shared : fs::temp_directory_path();
    }

    template <class Model>
    void chain(const Profile& profile, std::uint64_t seed, PowerCounts& total,
               std::uint64_t most = UINT64_MAX) {
        const std::string kind = std::string(Model::kName) + ", " + profile.name;
        SCOPED_TRACE(kind + ", PYRSISTENCE_CRASH_CHAIN=" + std::to_string(seed));
        PowerCounts counts;
        PowerFailures<Model>(directory_, profile, seed, counts).run(profile.operations < 10 ? 1 : 8, most);
        total.images += counts.images;
        total.in_recovery += counts.in_recovery;
        total.lost_operations += counts.lost_operations;
        total.beyond_sync += counts.beyond_sync;
        total.failed_checkpoints += counts.failed_checkpoints;
        total.deepest = std::max(total.deepest, counts.deepest);
    }
    /// Chains of all kinds in turn until so many images have been verified.
    void run_long(std::uint64_t wanted) {
        using Clock = std::chrono::steady_clock;
        const auto begin = Clock::now();
        auto told = begin;
        PowerCounts total;
        for (std::uint64_t seed = 1'000'000; total.images < wanted && !HasFailure(); ++seed) {
            for (const Profile* each : kAll) {
                const Profile& profile = *each;
                if (seed % 5 != 0 && each == &kManyPages) continue;  // slow
                chain<ListModel>(profile, seed, total);
                if (!HasFailure()) chain<DictModel>(profile, seed, total);
                if (HasFailure()) break;
            }
            if (Clock::now() - told < std::chrono::seconds(10)) continue;
            told = Clock::now();
            report(total, std::chrono::duration<double>(told - begin).count());
        }
        report(total, std::chrono::duration<double>(Clock::now() - begin).count());
    }
    static void report(const PowerCounts& counts, double seconds) {
        std::printf("%9.0f s  %s\n", seconds, describe(counts).c_str());
        std::fflush(stdout);
    }
    static std::string describe(const PowerCounts& counts) {
        std::ostringstream text;
        text << counts.images << " images, " << counts.in_recovery << " of them taken while opening, "
             << counts.lost_operations << " that lost operations, " << counts.beyond_sync
             << " that kept more than was synced, " << counts.failed_checkpoints
             << " checkpoints that ran out of space, " << counts.deepest << " recoveries deep";
        return text.str();
    }
    template <class Model>
    void chains(const Profile& profile) {
        PYRSISTENCE_TRACE_SEED;
        const auto wanted = static_cast<std::uint64_t>(double(scaled(6000)) * profile.share);
        PowerCounts total;
        if (const char* one = std::getenv("PYRSISTENCE_CRASH_CHAIN")) {
            return chain<Model>(profile, std::strtoull(one, nullptr, 10), total);
        }
        for (std::uint64_t seed = 1; total.images < wanted && !HasFailure(); ++seed) {
            chain<Model>(profile, seed, total, wanted - total.images);
        }
        RecordProperty("images", describe(total));
    }

    TempDir scratch_;
    const fs::path directory_ = memory() / scratch_.path().filename();
    ~PowerFailureTest() override {
        std::error_code ignored;
        fs::remove_all(directory_, ignored);
    }
};

TEST_F(PowerFailureTest, LongRun) {
    PYRSISTENCE_TRACE_SEED;
    const char* images = std::getenv("PYRSISTENCE_CRASH_IMAGES");
    if (!images) GTEST_SKIP() << "PYRSISTENCE_CRASH_IMAGES is not set";
    run_long(std::strtoull(images, nullptr, 10));
}

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

/// A generation is begun and has records, but its header is lost: recovery begins one with the same number,
/// place and first sequence number, and without a new salt the records of the first would follow its header.
TEST_F(PowerFailureTest, RecordsOfALostGenerationStayDead) {
    const auto is_second_header = [](const std::string& name, std::uint64_t offset) {
        return name == "log" && offset == 4096 + storage::Log::kWindowCap;
    };
    const auto all = [](const std::string&, std::uint64_t) { return true; };
    SimulatedDisk disk(directory_ / "first");
    PoweredStore<RawList> store(disk, kSmall);
    std::uint64_t items = 0;
    const auto append = [&] { store->append(as_bytes(content(items++, 1000))); };
    append();
    store.close();
    store.open();  // a small log window in place of a new store's, and nothing synced since
    for (bool begun = false; !begun;) {
        append();
        disk.power_cut_keeping([&](auto& name, auto at) { return begun |= is_second_header(name, at); });
    }
    const std::uint64_t before = items - 1;  // the last one is in the new generation
    while (items < before + 20) append();
    const DiskImage image =
        disk.power_cut_keeping([&](auto& name, auto offset) { return !is_second_header(name, offset); });
    disk.turn_off();

    SimulatedDisk second(directory_ / "second", image);
    std::vector<DiskImage> images;
    const auto take = [&] { images.push_back(second.power_cut_keeping(all)); };
    second.on_call = take;
    PoweredStore<RawList> recovered(second, kSmall);
    second.on_call = nullptr;
    take();
    ASSERT_EQ(recovered->size(), before);
    for (const DiskImage& again : images) {
        SimulatedDisk third(directory_ / "third", again);
        PoweredStore<RawList> store_again(third, kSmall);
        store_again->check();
        ASSERT_EQ(store_again->size(), before);
        third.turn_off();
    }
}

/// The old store's data must not come back beside the new one's log.
TEST_F(PowerFailureTest, EmptyingAStoreLeavesTheOldOneOrAnEmptyOne) {
    PYRSISTENCE_TRACE_SEED;
    Random random(301);
    for (std::size_t round = 0; round < scaled(20); ++round) {
        SimulatedDisk disk(directory_ / "first");
        {
            PoweredStore<RawList> store(disk, kSmall);
            for (std::uint64_t i = 0; i < 5; ++i) store->append(as_bytes(content(i, 3000)));
            store.close();
        }
        std::vector<DiskImage> images;
        disk.on_call = [&] { images.push_back(disk.power_cut(random)); };
        disk.checkpoint_thread().set_free(true);
        storage::StoreOptions options;
        options.mode = Mode::truncate;
        options.files = &disk;
        auto emptied = storage::Store::open(disk.path(), options);
        disk.on_call = nullptr;
        storage::Store::release(emptied);
        for (const DiskImage& image : images) {
            SimulatedDisk again(directory_ / "second", image);
            PoweredStore<RawList> store(again, kSmall);
            store->check();
            ASSERT_TRUE(store->size() == 5 || store->empty()) << store->size();
            again.turn_off();
        }
    }
}

}  // namespace
}  // namespace pyrsistence::test
