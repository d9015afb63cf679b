// Real processes that are killed: at random moments, and before and after every kind of call that they make to the
// file system. Their successors recover what they left, and are killed in turn, also while they recover; readers
// look on. For longer: `make kill-long`.
#include "crash/killed_store.hpp"

namespace pyrsistence::test {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr unsigned kEndless = 1'000'000, kOperations = 45;  ///< the latter are enough for every kind of call

struct KillCounts {
    std::uint64_t lives = 0, operations = 0, in_flight = 0, in_recovery = 0, points = 0;
    std::uint64_t looks = 0, states = 0, held = 0, stops = 0, readers_killed = 0, largest = 0;

    std::string text() const {
        std::ostringstream text;
        text << lives << " lives, " << operations << " operations, " << in_flight << " deaths within an operation, "
             << in_recovery << " before the store was open, " << points << " at chosen calls, " << looks
             << " looks of readers at " << states << " states, " << held << " snapshots held, " << stops
             << " readers stopped, " << readers_killed << " killed, data of up to " << (largest >> 20) << " MiB";
        return text.str();
    }
};

/// Four readers: one that hardly rests, one that holds a snapshot for many lives of writers, one that is stopped for
/// whole lives, and one that is killed.
class Watchers {
public:
    Watchers(KilledStore& store, KillCounts& counts) : store_(store), counts_(counts) {
        for (std::size_t i = 0; i < kCount; ++i) begin(i);
    }
    ~Watchers() {
        for (const Sighting& one : *sightings_) {
            counts_.looks += one.looks;
            counts_.states += one.states;
            counts_.held += one.held;
        }
    }
    void stir(Random& random) {
        if (random.chance(25)) {
            stopped_ = !stopped_;
            (*sightings_)[2].stop = stopped_;
            if (!stopped_) children_[2]->signal(SIGCONT);
            counts_.stops += stopped_;
        }
        if (random.chance(15)) {
            children_[3]->kill();
            ++counts_.readers_killed;
            begin(3);
        }
    }
    /// Waits until all of them see what the one who works now has done; it rests.
    void settle() {
        const Board& board = store_.board();
        (*sightings_)[2].stop = false;
        for (const auto end = Clock::now() + 40s; !see_the_last_state();) {
            children_[2]->signal(SIGCONT);
            ASSERT_LT(Clock::now(), end) << "readers do not see the last state";
            ASSERT_FALSE(board.failed) << board.message;
            std::this_thread::sleep_for(1ms);
        }
    }
    void finish() {
        store_.board().finish = true;
        for (const auto end = Clock::now() + 40s; !children_[2]->ended() && Clock::now() < end;) {
            children_[2]->signal(SIGCONT);  // it may have been about to stop
        }
        for (auto& child : children_) {
            EXPECT_FALSE(child->wait()) << "a reader was killed";
        }
    }

private:
    static constexpr std::size_t kCount = 4;

    void begin(std::size_t i) {
        constexpr std::uint64_t kRounds[] = {50, 1000, 10, 5};
        constexpr std::chrono::microseconds kPauses[] = {100us, 2000us, 300us, 1000us};
        children_[i] = store_.watch((*sightings_)[i], kRounds[i], kPauses[i]);
    }
    bool see_the_last_state() const {
        const Board& board = store_.board();
        return board.idle && std::ranges::all_of(*sightings_, [&](const Sighting& one) {
            return board.states[one.state] == board.states[board.returned];
        });
    }

    KilledStore& store_;
    KillCounts& counts_;
    Shared<std::array<Sighting, kCount>> sightings_;
    std::array<std::unique_ptr<Child>, kCount> children_;
    bool stopped_ = false;
};

/// One store that is killed over and over.
class Deaths {
public:
    Deaths(const fs::path& path, const Profile& profile, std::uint64_t seed, KillCounts& counts)
        : random_(seed), store_(path, profile, seed), counts_(counts) {}
    ~Deaths() {
        counts_.lives += store_.lives();
        counts_.operations += store_.done();
        counts_.in_flight += store_.in_flight;
        counts_.in_recovery += store_.in_recovery;
        if (!failed()) fs::remove_all(store_.path());
    }

protected:
    static bool failed() { return ::testing::Test::HasFailure(); }
    void let_readers_watch() { watchers_.emplace(store_, counts_); }
    /// While the store is being opened, or when some operations more have returned.
    void wait_for_a_moment(Child& child) {
        if (random_.chance(25)) return std::this_thread::sleep_for(random_.below(6000) * 1us);
        const std::uint64_t goal = store_.done() + random_.below(60);
        while (store_.board().resolved == 0 || store_.board().returned < goal) {
            if (child.ended()) return;
        }
        std::this_thread::sleep_for(random_.below(1000) * 1us);
    }
    void conclude() {
        ASSERT_FALSE(store_.board().failed) << store_.board().message;
        store_.conclude();
        std::error_code missing;
        const std::uint64_t size = fs::file_size(store_.path() / "data", missing);
        if (!missing) counts_.largest = std::max(counts_.largest, size);
    }
    /// A life that ends as it should.
    void live_well(unsigned operations) {
        EXPECT_FALSE(store_.begin({.operations = operations})->wait());
        conclude();
    }
    /// A last life that all readers see, and one that finds what it left.
    void end() {
        if (failed() || !watchers_) return;
        const auto child = store_.begin({.operations = 20, .waits = true});
        watchers_->settle();
        watchers_->finish();
        EXPECT_FALSE(child->wait());
        conclude();
        live_well(0);
    }

    Random random_;
    KilledStore store_;
    KillCounts& counts_;
    std::optional<Watchers> watchers_;
};

class DeathsAtRandomMoments : Deaths {
public:
    using Deaths::Deaths;

    void run(std::size_t kills) {
        let_readers_watch();
        for (std::size_t i = 0; i < kills && !failed(); ++i) {
            const auto child = store_.begin({.operations = kEndless});
            wait_for_a_moment(*child);
            watchers_->stir(random_);
            ASSERT_TRUE(child->kill()) << store_.board().message;
            conclude();
        }
        end();
    }
};

/// How a life begins at whose calls the process dies.
struct Script {
    const char* name;
    bool creates;  ///< the directory does not exist
    Mode mode;
};
constexpr Script kGoingOn{"going on", false, Mode::append}, kCreating{"creating", true, Mode::append},
    kEmptying{"emptying", false, Mode::truncate};

/// At each kind of call, before it and after it. What kinds there are turns out on the way.
class DeathsAtCalls : Deaths {
public:
    DeathsAtCalls(const Script& script, const fs::path& path, const Profile& profile, std::uint64_t seed,
                  KillCounts& counts)
        : Deaths(path, profile, seed, counts), script_(script) {}

    void run(std::size_t times) {
        live_well(10);
        for (int i = 0; i < 2; ++i) live({});
        const auto always = calls_;  // others may be rare
        if (goes_on()) let_readers_watch();
        std::set<std::string> done;
        while (done.size() < calls_.size() && !failed()) {
            const auto next = std::ranges::find_if(calls_, [&](const auto& one) { return !done.contains(one.first); });
            const std::string kind = *done.insert(next->first).first;
            for (const bool after : {false, true}) {
                const std::size_t deaths = die({kind, 1, after}, times);
                EXPECT_TRUE(deaths > 0 || !always.contains(kind)) << "no process comes to " << kind;
            }
        }
        end();
        std::printf("%s, calls in a life:", script_.name);
        for (const auto& [kind, calls] : calls_) std::printf(" %s (%lu),", kind.c_str(), static_cast<unsigned long>(calls));
        std::puts("");
    }

private:
    bool goes_on() const { return !script_.creates && script_.mode == Mode::append; }
    /// So many times, if it can. Returns how often it did.
    std::size_t die(CrashPoint point, std::size_t times) {
        constexpr std::size_t kMostTries = 12;
        std::size_t deaths = 0;
        for (std::size_t tries = 0; deaths < times && tries < kMostTries * times && !failed(); ++tries) {
            point.call = tries % 2 == 0 ? 1 + random_.below(calls_[point.kind]) : 1;
            SCOPED_TRACE(point.text());
            deaths += live(point);
        }
        counts_.points += deaths;
        return deaths;
    }
    /// True if the process died where it should.
    bool live(const CrashPoint& point) {
        if (script_.creates) store_.begin_anew();
        const auto child = store_.begin({.operations = kOperations, .point = point, .mode = script_.mode});
        if (watchers_) {
            wait_for_a_moment(*child);
            watchers_->stir(random_);
        }
        const bool died = child->wait();
        conclude();
        for (const auto& [kind, calls] : store_.board().calls.all()) {
            if (calls > 0) calls_[kind] = std::max(calls_[kind], calls);
        }
        if (!goes_on()) find_again();
        return died;
    }
    /// By a reader, then by a writer.
    void find_again() {
        if (failed()) return;
        if (random_.chance(30)) {
            const Shared<Sighting> sighting;
            EXPECT_FALSE(store_.watch_once(*sighting)->wait());
        }
        live_well(3);
    }

    const Script& script_;
    std::map<std::string, std::uint64_t> calls_;  ///< in one life, by kind
};

class KillTest : public ::testing::Test {
protected:
    ~KillTest() override {
        if (counts_.lives == 0) return;
        RecordProperty("counts", counts_.text());
        std::puts(counts_.text().c_str());
    }
    void at_random_moments(const Profile& profile, std::uint64_t seed, std::size_t kills) {
        SCOPED_TRACE(std::string(profile.name) + ", seed " + std::to_string(seed));
        DeathsAtRandomMoments(dir_.next(), profile, seed, counts_).run(kills);
    }
    void at_calls(const Script& script, const Profile& profile, std::uint64_t seed, std::size_t times) {
        SCOPED_TRACE(std::string(script.name) + ", " + profile.name + ", seed " + std::to_string(seed));
        DeathsAtCalls(script, dir_.next(), profile, seed, counts_).run(times);
    }

    TempDir dir_{true};
    KillCounts counts_;
};

TEST_F(KillTest, AtRandomMomentsWithSmallChanges) { at_random_moments(kSmallChanges, seed() + 1, scaled(60)); }
TEST_F(KillTest, AtRandomMomentsWithMixedSizes) { at_random_moments(kMixedStore, seed() + 2, scaled(60)); }
TEST_F(KillTest, AtRandomMomentsWithLongTransactions) { at_random_moments(kLongOnes, seed() + 3, scaled(40)); }
TEST_F(KillTest, AtRandomMomentsWithLargeValues) { at_random_moments(kBigValues, seed() + 4, scaled(40)); }
TEST_F(KillTest, AtRandomMomentsWithManyNames) { at_random_moments(kManyNames, seed() + 5, scaled(40)); }
TEST_F(KillTest, AtEachCall) { at_calls(kGoingOn, kMixedStore, seed() + 6, scaled(2)); }
TEST_F(KillTest, AtEachCallOfACreation) { at_calls(kCreating, kSmallChanges, seed() + 7, scaled(1)); }
TEST_F(KillTest, AtEachCallOfEmptying) { at_calls(kEmptying, kSmallChanges, seed() + 8, scaled(1)); }

/// Set PYRSISTENCE_KILL_SECONDS to how long it takes, and PYRSISTENCE_KILL_SEED to the first seed.
TEST_F(KillTest, LongRun) {
    const char* seconds = std::getenv("PYRSISTENCE_KILL_SECONDS");
    if (!seconds) GTEST_SKIP() << "PYRSISTENCE_KILL_SECONDS is not set";
    const char* first = std::getenv("PYRSISTENCE_KILL_SEED");
    const auto end = Clock::now() + std::chrono::seconds(std::strtoull(seconds, nullptr, 10));
    constexpr const Profile* kProfiles[] = {&kSmallChanges, &kMixedStore, &kLongOnes, &kBigValues, &kManyNames};
    for (std::uint64_t n = first ? std::strtoull(first, nullptr, 10) : 1000; Clock::now() < end && !HasFailure(); ++n) {
        const Profile& profile = *kProfiles[n % std::size(kProfiles)];
        at_random_moments(profile, n, 150);
        at_calls(kGoingOn, profile, n, 3);
        at_calls(kCreating, profile, n, 1);
        at_calls(kEmptying, profile, n, 1);
        std::printf("seed %lu: %s\n", static_cast<unsigned long>(n), counts_.text().c_str());
        std::fflush(stdout);
    }
}

}  // namespace
}  // namespace pyrsistence::test
