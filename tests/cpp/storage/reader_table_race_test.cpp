// Writers and readers at the same time, which die, stand still or go on at any moment.
#include <atomic>
#include <deque>
#include <map>
#include <thread>

#include "storage/reader_clients.hpp"

namespace pyrsistence::storage {
namespace {

class ReaderTableRaceTest : public ReaderTableFixture {};

/// Stops a writer after each of its instructions: there is always a whole seal, the older or the newer one.
TEST_F(ReaderTableRaceTest, AWriterMayDieAtAnyInstruction) {
    writer_->table.publish(seal(1));
    writer_->table.publish(seal(2));
    Traced process([&] { writer_->table.publish(seal(3)); });
    if (!process.begin()) GTEST_SKIP() << "no permission to trace processes";
    const auto reader = client(Role::reader);
    std::size_t steps = 0;
    bool newer = false;
    do {
        const auto found = reader->table.published();
        ASSERT_EQ(found, seal(newer || found == seal(3) ? 3 : 2)) << steps;
        newer = found == seal(3);
        ++steps;
    } while (process.step());
    EXPECT_TRUE(newer);
    EXPECT_GT(steps, 50u);
    process.kill();
    writer_->table.publish(seal(4));
    EXPECT_EQ(reader->table.published(), seal(4));
}

/// Lets the writer publish another seal between two instructions of a reader, be they any.
TEST_F(ReaderTableRaceTest, TheWriterMayGoOnAtAnyInstructionOfAReader) {
    PYRSISTENCE_TRACE_SEED;
    Random random(4);
    auto* const got = static_cast<std::atomic<std::uint64_t>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::size_t length = 0;
    std::uint64_t epoch = 0, kept = 0;
    for (std::size_t i = 0; i <= 1 + scaled(40); ++i) {
        writer_->table.publish(seal(++epoch));
        const auto reader = client(Role::reader);
        (void)reader->table.hold_published();  // so that the child need not resolve symbols
        Traced process([&] {
            const auto held = reader->table.hold_published();
            *got = held->first.epoch;
            ::raise(SIGSTOP);
        });
        if (!process.begin()) GTEST_SKIP() << "no permission to trace processes";
        if (length == 0) {
            while (process.step()) ++length;
            continue;
        }
        bool running = true;
        const std::size_t before = i == 1 ? length : random.below(length);
        for (std::size_t k = 0; running && k < before; ++k) running = process.step();
        writer_->table.publish(seal(++epoch));
        const Epochs used = writer_->table.epochs_in_use();
        if (running) process.run();
        ASSERT_EQ(writer_->table.epochs_in_use(), (Epochs{*got})) << "it tells of another state than it reads";
        if (*got == epoch) continue;
        ++kept;
        ASSERT_EQ(*got, epoch - 1);
        ASSERT_EQ(used, (Epochs{*got}));
    }
    EXPECT_GT(length, 500u);
    EXPECT_GT(kept, 0u);
    ::munmap(got, 4096);
}

TEST_F(ReaderTableRaceTest, AKilledWriterLeavesAWholeSeal) {
    PYRSISTENCE_TRACE_SEED;
    Random random(1);
    const auto reader = client(Role::reader);
    std::uint64_t least = 1;
    writer_->table.publish(seal(least));
    for (std::size_t round = 0; round < scaled(50); ++round) {
        Process process([&] {
            Client writer(path_, Role::writer);
            for (std::uint64_t epoch = least;; ++epoch) writer.table.publish(seal(epoch));
            return 0;
        });
        std::uint64_t seen = least;
        for (const std::uint64_t enough = least + 1 + random.below(2000); seen < enough;) {
            const auto found = reader->table.published();
            if (!found) continue;  // no real writer publishes too often for ten thousand copies in a row
            ASSERT_EQ(*found, seal(found->epoch));
            ASSERT_GE(found->epoch, seen);
            seen = found->epoch;
        }
        process.kill();
        const auto found = reader->table.published();
        ASSERT_TRUE(found);
        ASSERT_EQ(*found, seal(found->epoch));
        ASSERT_GE(found->epoch, seen);
        least = found->epoch;
    }
}

// --- readers that check what they hold, beside a writer that spoils what nobody holds

constexpr std::size_t kStates = 64;
constexpr std::size_t kWordsOfState = 32;
constexpr std::uint64_t kPoison = 0xdeadbeefdeadbeef;

/// The pages of a store that has nothing but whole states: each word of a state is its epoch. In memory that
/// all processes of the test share.
struct FakePages {
    static FakePages& make() {
        void* const place =
            ::mmap(nullptr, sizeof(FakePages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED) throw StorageError("mmap", errno);
        return *new (place) FakePages;
    }
    void fill(std::size_t state, std::uint64_t value) {
        for (auto& word : words[state]) word.store(value, std::memory_order_relaxed);
    }
    bool is(std::size_t state, std::uint64_t epoch) const {
        for (const auto& word : words[state]) {
            if (word.load(std::memory_order_relaxed) != epoch) return false;
        }
        return true;
    }

    std::array<std::array<std::atomic<std::uint64_t>, kWordsOfState>, kStates> words{};
    std::atomic<std::uint64_t> newest = 0, violations = 0, looks = 0, epochs_seen = 0;
    std::atomic<bool> stop = false;
};

class FakeWriter {
public:
    /// Takes the store over from a writer that died: what its readers use is left alone.
    FakeWriter(ReaderTable& table, FakePages& pages) : table_(table), pages_(pages) {
        table_.retract();
        const Epochs used = table_.epochs_in_use();
        for (std::size_t state = 0; state < kStates; ++state) {
            const std::uint64_t epoch = pages_.words[state][0];
            if (std::binary_search(used.begin(), used.end(), epoch)) states_[epoch] = state;
            else spoil(state);
        }
    }

    /// False if the readers hold too much.
    bool step() {
        if (free_.empty()) return false;
        const std::size_t state = free_.front();
        free_.pop_front();
        const std::uint64_t epoch = pages_.newest += 1;
        pages_.fill(state, epoch);
        states_[epoch] = state;
        table_.publish({epoch, 1000, {2 + state, 0, 1}, epoch * 3, epoch / 2});
        const Epochs used = table_.epochs_in_use();
        for (auto it = states_.begin(); it != states_.end();) {
            if (it->first == epoch || std::binary_search(used.begin(), used.end(), it->first)) {
                ++it;
                continue;
            }
            spoil(it->second);
            it = states_.erase(it);
        }
        return true;
    }
    std::size_t held() const { return states_.size(); }

private:
    void spoil(std::size_t state) {
        pages_.fill(state, kPoison);
        free_.push_back(state);
    }

    ReaderTable& table_;
    FakePages& pages_;
    std::map<std::uint64_t, std::size_t> states_;  ///< by epoch
    std::deque<std::size_t> free_;
};

void look_once(ReaderTable& table, FakePages& pages, Random& random, std::uint64_t& last) {
    const auto held = table.hold_published();
    if (!held) return;
    const Published& found = held->first;
    const std::size_t state = found.catalog.page - 2;
    bool good = found.version == found.epoch * 3 && found.checkpoint == found.epoch / 2 && state < kStates &&
                found.epoch >= last;
    // What was not protected is spoilt before the writer has published twice more.
    const bool wait = random.chance(50);
    for (std::size_t i = random.below(2000); good && i > 0; --i) {
        good = pages.is(state, found.epoch);
        if (!wait || pages.newest > found.epoch + 2) break;
    }
    good = good && pages.is(state, found.epoch);
    if (!good) ++pages.violations;
    if (found.epoch != last) ++pages.epochs_seen;
    last = found.epoch;
    ++pages.looks;
}

void look_until_stopped(ReaderTable& table, FakePages& pages, std::uint64_t salt) {
    Random random(salt);
    std::uint64_t last = 0;
    while (!pages.stop) look_once(table, pages, random, last);
}

TEST_F(ReaderTableRaceTest, ReadersInThreadsNeverSeeReusedPages) {
    PYRSISTENCE_TRACE_SEED;
    FakePages& pages = FakePages::make();
    FakeWriter writer(writer_->table, pages);
    const auto shared = client(Role::reader);
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            const auto own = client(Role::reader);
            look_until_stopped(i < 2 ? shared->table : own->table, pages, i);
        });
    }
    std::size_t most = 0;
    for (std::size_t i = 0; i < scaled(30'000); ++i) {
        ASSERT_TRUE(writer.step());
        most = std::max(most, writer.held());
    }
    pages.stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(pages.violations, 0u);
    EXPECT_GT(pages.looks, 0u);
    EXPECT_GT(pages.epochs_seen, 0u);
    EXPECT_LE(most, 2 * threads.size() + 1);  // a reader may be on its way from one epoch to the next
    EXPECT_EQ(writer_->table.epochs_in_use(), Epochs{});
    ::munmap(&pages, sizeof pages);
}

TEST_F(ReaderTableRaceTest, ReadersInProcessesNeverSeeReusedPages) {
    PYRSISTENCE_TRACE_SEED;
    Random random(7);
    FakePages& pages = FakePages::make();
    constexpr std::size_t kReaders = 5;
    std::uint64_t salt = 100;
    const auto start = [&] {
        ++salt;
        return Process([&] {
            Client reader(path_, Role::reader);
            look_until_stopped(reader.table, pages, salt);
            return 0;
        });
    };
    {
        FakeWriter writer(writer_->table, pages);
        std::vector<Process> processes;
        for (std::size_t i = 0; i < kReaders; ++i) processes.push_back(start());
        for (std::size_t i = 0; i < scaled(30'000); ++i) {
            ASSERT_TRUE(writer.step());
            ASSERT_LE(writer.held(), 2 * kReaders + 1);
            if (i % 500 != 0) continue;
            const Process& victim = processes[random.below(kReaders)];
            switch (random.below(4)) {
                case 0: processes[random.below(kReaders)] = start(); break;  // kills the one before
                case 1: victim.signal(SIGSTOP); break;
                default: victim.signal(SIGCONT); break;
            }
        }
        pages.stop = true;
        for (Process& process : processes) {
            process.signal(SIGCONT);
            EXPECT_EQ(process.wait(), 0);
        }
    }
    EXPECT_EQ(pages.violations, 0u);
    EXPECT_GT(pages.looks, 100u);
    EXPECT_EQ(writer_->table.epochs_in_use(), Epochs{});
    ::munmap(&pages, sizeof pages);
}

TEST_F(ReaderTableRaceTest, WritersMayDieBesideReaders) {
    PYRSISTENCE_TRACE_SEED;
    Random random(8);
    FakePages& pages = FakePages::make();
    std::vector<Process> readers;
    for (std::uint64_t i = 0; i < 3; ++i) {
        readers.emplace_back([&, i] {
            Client reader(path_, Role::reader);
            look_until_stopped(reader.table, pages, 200 + i);
            return 0;
        });
    }
    writer_.reset();
    for (std::size_t round = 0; round < scaled(50); ++round) {
        const Gate started;
        Process process([&] {
            Client client(path_, Role::writer);
            if (!client.file->try_lock(0, os::Lock::exclusive)) return 1;
            FakeWriter writer(client.table, pages);
            started.open();
            while (writer.step()) {
            }
            return 2;
        });
        started.pass();
        ::usleep(static_cast<useconds_t>(random.below(3000)));
        process.signal(SIGKILL);
        ASSERT_EQ(process.wait(), -SIGKILL);
    }
    pages.stop = true;
    for (Process& reader : readers) EXPECT_EQ(reader.wait(), 0);
    EXPECT_EQ(pages.violations, 0u);
    EXPECT_GT(pages.looks, 100u);
    ::munmap(&pages, sizeof pages);
}

}  // namespace
}  // namespace pyrsistence::storage
