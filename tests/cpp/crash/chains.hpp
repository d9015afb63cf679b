// Chains of power failures for whole workloads: the fixture of their tests. Counts images and says what they
// were.
#pragma once

#include <chrono>
#include <sstream>

#include "crash/power_failure.hpp"
#include "crash/profiles.hpp"
#include "crash/store_workload.hpp"

namespace pyrsistence::test {

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
        total += counts;
    }
    static std::string describe(const PowerCounts& counts) {
        std::ostringstream text;
        text << counts.images << " images, " << counts.in_recovery << " of them taken while opening, "
             << counts.lost_operations << " that lost operations, " << counts.beyond_sync
             << " that kept more than was synced, " << counts.failed_checkpoints
             << " checkpoints that ran out of space, " << counts.deepest << " recoveries deep, "
             << counts.read_first << " opened by a reader first, " << counts.spoilt_locks
             << " with a spoilt lock file, " << counts.snapshots << " named snapshots read";
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
        if (std::getenv("PYRSISTENCE_CRASH_COUNTS")) std::puts(describe(total).c_str());
    }

    TempDir scratch_;
    const fs::path directory_ = memory() / scratch_.path().filename();
    ~PowerFailureTest() override {
        std::error_code ignored;
        fs::remove_all(directory_, ignored);
    }
};

}  // namespace pyrsistence::test
