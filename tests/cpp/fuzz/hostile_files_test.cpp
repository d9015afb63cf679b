// The fuzz targets over their corpus and over changes of it that follow from a seed: without clang, in every
// test run. `make fuzz` goes on from there by coverage.
#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <iterator>

#include "fuzz/samples.hpp"
#include "fuzz/targets.hpp"
#include "support.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define PYRSISTENCE_SLOW 1
#else
#define PYRSISTENCE_SLOW 0
#endif

namespace pyrsistence::test {
namespace {

using fuzz::Target;

constexpr double kMostSeconds = PYRSISTENCE_SLOW ? 30 : 5;  ///< of processor time, for one input
constexpr unsigned kStandsStill = 300;                      ///< seconds until an input ends the process
/// What inputs may add to the memory of the process. A sanitizer keeps what was freed for a while.
constexpr std::uint64_t kMostMemory = std::uint64_t{PYRSISTENCE_SLOW ? 1024 : 256} << 20;

double cpu_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// The most that the process has ever had in memory, in bytes.
std::uint64_t peak_memory() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_maxrss) << 10;
}

std::vector<std::vector<std::byte>> corpus_of(const std::string& target) {
    std::vector<fs::path> files;
    for (const auto& file : fs::directory_iterator(fs::path(PYRSISTENCE_FUZZ_CORPUS) / target)) files.push_back(file);
    std::sort(files.begin(), files.end());
    std::vector<std::vector<std::byte>> inputs;
    for (const fs::path& file : files) inputs.push_back(fuzz::read_bytes(file));
    return inputs;
}

/// What a hostile size asks for is refused by the system before it harms the machine.
class MemoryLimit {
public:
    MemoryLimit() {
        if (PYRSISTENCE_SLOW) return;  // a sanitizer reserves terabytes
        ::getrlimit(RLIMIT_DATA, &before_);
        rlimit limit = before_;
        limit.rlim_cur = std::min<rlim_t>(before_.rlim_max, rlim_t{2} << 30);
        ::setrlimit(RLIMIT_DATA, &limit);
    }
    ~MemoryLimit() {
        if (!PYRSISTENCE_SLOW) ::setrlimit(RLIMIT_DATA, &before_);
    }
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;

private:
    rlimit before_{};
};

class HostileFilesTest : public testing::TestWithParam<Target> {
protected:
    HostileFilesTest() : memory_(peak_memory()) {}

    /// The input is there for whoever looks for it if it ends the process.
    void run(Bytes input, const std::string& what) {
        const fs::path kept = fuzz::scratch_directory() / "input";
        fuzz::write_bytes(kept, input);
        const double begin = cpu_seconds();
        ::alarm(kStandsStill);
        try {
            GetParam().run(input);
        } catch (const std::exception& error) {
            fail(input, what, error.what());
        }
        ::alarm(0);
        const double seconds = cpu_seconds() - begin;
        if (seconds > kMostSeconds) fail(input, what, "it took " + std::to_string(seconds) + " s");
        const std::uint64_t memory = peak_memory();
        if (memory > memory_ + kMostMemory) fail(input, what, "memory rose to " + std::to_string(memory >> 20) + " MiB");
        memory_ = std::max(memory_, memory);
    }

private:
    const MemoryLimit limit_;

    void fail(Bytes input, const std::string& what, const std::string& why) {
        const fs::path kept = fs::temp_directory_path() /
                              ("hostile-" + std::string(GetParam().name) + "-" + std::to_string(::getpid()) + "-" +
                               std::to_string(++failures_));
        fuzz::write_bytes(kept, input);
        ADD_FAILURE() << what << ": " << why << "\nagain: PYRSISTENCE_FUZZ_INPUT=" << kept.string()
                      << " and --gtest_filter='*HostileFilesTest.OneInput/" << GetParam().name << "'";
    }

    std::uint64_t memory_;
    unsigned failures_ = 0;
};

TEST_P(HostileFilesTest, Corpus) {
    const auto inputs = corpus_of(GetParam().name);
    ASSERT_GT(inputs.size(), 2u);
    for (std::size_t i = 0; i < inputs.size(); ++i) run(inputs[i], "corpus file " + std::to_string(i));
}

/// Changes are changed again, up to eight times.
TEST_P(HostileFilesTest, Mutations) {
    const auto inputs = corpus_of(GetParam().name);
    const bool whole_store = GetParam().run != fuzz::run_codec;
    const std::size_t count = scaled(whole_store ? 300 : 5000);
    for (std::size_t i = 0; i < count && !HasFailure(); ++i) {
        fuzz::Random random(seed() + i);
        auto input = inputs[random.below(inputs.size())];
        for (std::uint64_t times = random.below(8) + 1; times > 0; times /= 2) input = GetParam().mutate(input, random);
        run(input, "PYRSISTENCE_TEST_SEED=" + std::to_string(seed()) + ", mutation " + std::to_string(i));
    }
}

TEST_P(HostileFilesTest, OneInput) {
    const char* path = std::getenv("PYRSISTENCE_FUZZ_INPUT");
    if (path == nullptr) GTEST_SKIP() << "PYRSISTENCE_FUZZ_INPUT names no file";
    run(fuzz::read_bytes(path), path);
}

INSTANTIATE_TEST_SUITE_P(Targets, HostileFilesTest, testing::ValuesIn(fuzz::kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

/// What the mutations rest on: a store comes back from its packed form unchanged, and mending changes nothing in it.
TEST(FuzzImageTest, PackedStoresComeBack) {
    const TempDir dir;
    for (const auto& input : corpus_of("store")) {
        fuzz::Image image = fuzz::Image::unpack(input);
        EXPECT_EQ(image.pack(), input);
        const auto pages = fuzz::sound_pages(image);
        fuzz::mend_checksums(image, pages);
        EXPECT_EQ(image.pack(), input);
        image.write(dir / "store");
        EXPECT_EQ(fuzz::Image::read(dir / "store").pack(), input);
    }
}

}  // namespace
}  // namespace pyrsistence::test
