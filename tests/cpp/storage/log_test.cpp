#include "storage/log.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/memory_file.hpp"

namespace pyrsistence::storage {
namespace {

using testing::MemoryFile;
using Records = std::vector<std::pair<std::uint64_t, std::string>>;
using Random = std::mt19937_64;

constexpr std::uint64_t kFirstRecord = 2 * Log::kHeaderSize;  ///< in the file, window A

/// False if the window is full.
bool add(Log& log, std::string_view payload) {
    if (!log.reserve(payload.size())) return false;
    const Bytes parts[] = {as_bytes(payload.substr(0, payload.size() / 3)), {},
                           as_bytes(payload.substr(payload.size() / 3))};
    log.append(parts);
    return true;
}

std::string random_payload(Random& random) {
    const std::size_t most = random() % 8 == 0 ? 3000 : 120;
    std::string payload(1 + random() % most, ' ');
    for (char& c : payload) c = static_cast<char>(random() % 4 == 0 ? 0 : random());
    return payload;
}

Log::Replay replay(Log& log, const LogPosition& from, std::uint64_t checkpoint, Records& records) {
    records.clear();
    return log.replay(from, checkpoint, [&](std::uint64_t sequence, Bytes payload) {
        records.emplace_back(sequence, as_text(payload));
        return true;
    });
}

Records replayed(os::File& file, const LogPosition& from, std::uint64_t checkpoint = 0) {
    Log log(file, true);
    Records records;
    const Log::Replay result = replay(log, from, checkpoint, records);
    EXPECT_EQ(result.next_sequence, from.sequence + records.size());
    return records;
}

struct LogTest : ::testing::Test {
    LogTest() { Log::format(file); }

    void open(std::uint64_t capacity = 1 << 20) {
        log.emplace(file, false);
        from = log->start(1, 1, capacity, 0);
        log->sync(1);
    }
    void sync() { log->sync(log->next_sequence()); }
    std::string corruption(std::uint64_t checkpoint = 0) {
        try {
            replayed(file, from, checkpoint);
        } catch (const CorruptionError& error) {
            return error.what();
        }
        return "";
    }
    std::uint64_t size_of(std::size_t payload) { return Log::kRecordHeader + payload; }

    MemoryFile file;
    std::optional<Log> log;
    LogPosition from;
};

TEST_F(LogTest, ReplaysWhatWasAppended) {
    Random random(1);
    open(Log::kMaxCapacity);
    Records expected;
    for (std::uint64_t sequence = 1; sequence <= 3000; ++sequence) {
        expected.emplace_back(sequence, random_payload(random));
        ASSERT_EQ(log->next_sequence(), sequence);
        ASSERT_TRUE(add(*log, expected.back().second));
    }
    expected.emplace_back(3001, std::string(5 << 20, 'x'));
    ASSERT_TRUE(add(*log, expected.back().second));
    EXPECT_EQ(replayed(file, from), expected);
}

TEST_F(LogTest, ReplayStopsWhenTheVisitorHasEnough) {
    open();
    for (int i = 0; i < 10; ++i) add(*log, "record");
    unsigned calls = 0;
    const auto result = log->replay(from, 0, [&](std::uint64_t, Bytes) { return ++calls < 4; });
    EXPECT_EQ(calls, 4u);
    EXPECT_EQ(result.next_sequence, 4u);
}

TEST_F(LogTest, FullWindowRefuses) {
    constexpr std::uint64_t kCapacity = 10000;
    open(kCapacity);
    EXPECT_EQ(log->capacity(), kCapacity);
    EXPECT_FALSE(log->reserve(kCapacity - 2 * Log::kRecordHeader + 1));
    EXPECT_FALSE(log->reserve(std::size_t{1} << 40));
    ASSERT_TRUE(add(*log, std::string(kCapacity - 2 * Log::kRecordHeader, 'x')));
    EXPECT_EQ(log->used(), kCapacity - Log::kRecordHeader);
    EXPECT_FALSE(log->reserve(1));
    EXPECT_EQ(replayed(file, from).size(), 1u);
}

TEST_F(LogTest, FullDiskIsAnErrorAndGoesOnOnceThereIsRoom) {
    open();
    file.set_space(0);
    EXPECT_THROW(log->reserve(10), StorageError);
    EXPECT_THROW(log->start(2, 1, 1 << 20, 0), StorageError);
    file.set_space(UINT64_MAX);
    ASSERT_TRUE(add(*log, "after"));
    EXPECT_EQ(replayed(file, from), (Records{{1, "after"}}));
}

TEST_F(LogTest, SmallSyncWritesLittle) {
    open(Log::kMaxCapacity);
    const std::uint64_t before = file.bytes_synced();
    const unsigned syncs = file.syncs();
    for (int i = 0; i < 1000; ++i) {
        add(*log, std::string(100, 'x'));
        sync();
    }
    EXPECT_EQ(file.syncs() - syncs, 1000u);
    EXPECT_LT((file.bytes_synced() - before) / 1000, 5000u);
}

TEST_F(LogTest, FailedSyncClaimsNothing) {
    open();
    add(*log, "one");
    file.fail_sync(true);
    EXPECT_THROW(sync(), StorageError);
    add(*log, "two");
    Records records;
    EXPECT_EQ(replay(*log, from, 0, records).synced_sequence, 1u);
    file.fail_sync(false);
    sync();
    add(*log, "three");
    EXPECT_EQ(replay(*log, from, 0, records).synced_sequence, 3u);
}

TEST_F(LogTest, ReadOnlyLogIsNotWritten) {
    open();
    Log reader(file, true);
    EXPECT_THROW(reader.start(2, 1, 1 << 20, 0), ReadOnlyError);
    EXPECT_FALSE(reader.reserve(1));
    reader.confirm(9);
    reader.shrink();
    EXPECT_EQ(corruption(), "");
}

TEST_F(LogTest, ForeignOrNewerFileIsRefused) {
    file.damage(3, std::byte{1});
    EXPECT_THROW(Log(file, true), CorruptionError);
    file.damage(3, std::byte{1});
    std::vector<std::byte> header = file.bytes(0, 24);
    codec::store<std::uint32_t>(header.data() + 8, kFormatVersion + 1);
    EXPECT_TRUE((file.write(Bytes(header), 0), true));
    EXPECT_THROW(Log(file, true), CorruptionError);
    for (const std::uint32_t version : {kFormatVersion + 1, 0U, 1U}) {
        codec::store<std::uint32_t>(header.data() + 8, version);
        codec::store<std::uint64_t>(header.data() + 16, XXH3_64bits(header.data(), 16));
        file.write(Bytes(header), 0);
        if (version == 1) EXPECT_NO_THROW(Log(file, true));
        else EXPECT_THROW(Log(file, true), FormatError);
    }
    MemoryFile empty;
    EXPECT_THROW(Log(empty, true), CorruptionError);
}

// --- the process dies

TEST_F(LogTest, EveryPrefixOfARecordsStoresIsRecognised) {
    open();
    add(*log, "complete");
    const std::uint64_t at = kFirstRecord + size_of(8);
    add(*log, std::string(700, 'p'));
    const auto record = file.bytes(at, size_of(700));
    // Ascending addresses, and the order in which append() stores: payload, fields, checksum.
    std::vector<std::size_t> ascending(record.size()), stored;
    for (std::size_t i = 0; i < record.size(); ++i) ascending[i] = i;
    for (std::size_t i = 24; i < record.size(); ++i) stored.push_back(i);
    for (std::size_t i = 8; i < 24; ++i) stored.push_back(i);
    for (std::size_t i = 0; i < 8; ++i) stored.push_back(i);
    for (const auto& order : {ascending, stored}) {
        std::vector<std::byte> partial(record.size());
        for (const std::size_t place : order) {
            file.write(Bytes(partial), at);
            ASSERT_EQ(replayed(file, from).size(), partial == record ? 2u : 1u) << place;
            partial[place] = record[place];
        }
        file.write(Bytes(partial), at);
        ASSERT_EQ(replayed(file, from).size(), 2u);
    }
}

// --- the power fails

/// One store's life: operations, checkpoints, kills, power losses and recoveries, compared with a
/// model of what must have survived.
class Life {
public:
    explicit Life(std::uint64_t seed) : random_(seed) {
        Log::format(file_);
        log_.emplace(file_, false);
        begin_checkpoint(1);
        finish_checkpoint();
    }

    void run() {
        for (int round = 0; round < 4 && !::testing::Test::HasFatalFailure(); ++round) {
            for (std::uint64_t steps = random_() % 120; steps > 0; --steps) step();
            if (random_() % 4 == 0) close();
            die();
        }
    }

private:
    void step() {
        const auto dice = random_() % 100;
        if (dice < 75) {
            operate();
        } else if (dice < 83) {
            sync();
        } else if (dice < 92) {
            file_.write_back(random_, 0.3);
        } else if (pending_) {
            finish_checkpoint();
        } else {
            begin_checkpoint(generation_ + 1);
        }
    }
    void operate() {
        const std::string payload = random_payload(random_);
        const std::uint64_t sequence = log_->next_sequence();
        if (add(*log_, payload)) {
            model_[sequence] = payload;
        } else if (pending_) {
            finish_checkpoint();
        } else {
            begin_checkpoint(generation_ + 1);
        }
    }
    void sync() {
        log_->sync(log_->next_sequence());
        synced_ = log_->next_sequence();
    }
    void begin_checkpoint(std::uint64_t generation) {
        const std::uint64_t next = model_.empty() ? 1 : model_.rbegin()->first + 1;
        generation_ = generation;
        pending_ = log_->start(generation, next, 4096 + random_() % 20000, checkpoint_);
    }
    void finish_checkpoint() {
        sync();
        from_ = *pending_;
        pending_.reset();
        ++checkpoint_;
        log_->confirm(checkpoint_);
    }
    void close() {
        if (!pending_) begin_checkpoint(generation_ + 1);
        finish_checkpoint();
        if (log_->used() != 0) return;  // operations went on while the checkpoint was written
        log_->shrink();
        EXPECT_EQ(file_.size(), 2 * Log::kHeaderSize);
    }
    void die() {
        const bool power = random_() % 3 != 0;
        do {
            pending_.reset();
            log_.reset();
            if (power) file_.crash(random_, double(random_() % 11) / 10);
            recover(power);
            if (::testing::Test::HasFatalFailure()) return;
        } while (random_() % 4 == 0);  // dies before the checkpoint that ends the recovery is durable
        finish_checkpoint();
    }
    void recover(bool power) {
        log_.emplace(file_, false);
        Records records;
        const Log::Replay result = replay(*log_, from_, checkpoint_, records);
        const std::uint64_t end = model_.empty() ? 1 : model_.rbegin()->first + 1;
        ASSERT_GE(result.next_sequence, power ? synced_ : end);
        ASSERT_LE(result.next_sequence, end);
        ASSERT_LE(result.synced_sequence, synced_);
        ASSERT_EQ(records.size(), result.next_sequence - from_.sequence);
        for (const auto& [sequence, payload] : records) ASSERT_EQ(payload, model_[sequence]) << sequence;
        model_.erase(model_.lower_bound(result.next_sequence), model_.end());
        begin_checkpoint(result.highest_generation + 1);
    }

    Random random_;
    MemoryFile file_;
    std::optional<Log> log_;
    std::map<std::uint64_t, std::string> model_;
    std::optional<LogPosition> pending_;  ///< of a checkpoint that is not durable yet
    LogPosition from_;
    std::uint64_t generation_ = 0;
    std::uint64_t checkpoint_ = 0;
    std::uint64_t synced_ = 1;
};

TEST(LogCrash, ReplaysAnExactPrefixThatHoldsWhatWasSynced) {
    const char* given = std::getenv("PYRSISTENCE_SEED");
    const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    for (std::uint64_t trial = 0; trial < 2000; ++trial) {
        SCOPED_TRACE("PYRSISTENCE_SEED=" + std::to_string(seed + trial));
        ASSERT_NO_THROW(Life(seed + trial).run());
        if (::testing::Test::HasFatalFailure()) return;
    }
}

// Power loss kept sectors 1, 3 and 4 of four records; a new record filled the place of the second,
// and after a kill the third and fourth were replayed from a timeline that never was.
TEST_F(LogTest, GhostRecordsStayDead) {
    const std::string sector(512 - Log::kRecordHeader, 'g');
    open();
    for (int i = 0; i < 4; ++i) add(*log, sector);
    log.reset();
    const auto ghost = file.bytes(kFirstRecord + 512, 512);
    const std::vector<std::byte> zeroes(512);
    file.write(Bytes(zeroes), kFirstRecord + 512);

    log.emplace(file, false);
    Records records;
    const auto result = replay(*log, from, 0, records);
    ASSERT_EQ(result.next_sequence, 2u);
    const LogPosition old = from;
    from = log->start(result.highest_generation + 1, 2, 1 << 20, 0);
    log->sync(2);
    log->confirm(1);
    add(*log, std::string(sector.size(), 'n'));
    // The worst that can happen: the ghosts lie right behind the new record, in the same window.
    const auto ghosts = file.bytes(kFirstRecord + 1024, 1024);
    file.write(Bytes(ghosts), kFirstRecord + Log::kWindowCap + 512);
    EXPECT_EQ(replayed(file, from, 1), (Records{{2, std::string(sector.size(), 'n')}}));

    // Nor may the first record of a window verify in another generation of that window.
    file.write(Bytes(ghost), kFirstRecord + Log::kWindowCap);
    EXPECT_TRUE(replayed(file, from, 1).empty());
    EXPECT_NE(old.salt, from.salt);
}

// --- generations

TEST_F(LogTest, ReplayFollowsIntoTheNextGeneration) {
    open();
    add(*log, "a");
    add(*log, "b");
    const LogPosition second = log->start(2, 3, 1 << 16, 0);
    EXPECT_EQ(second.sequence, 3u);
    add(*log, "c");
    EXPECT_EQ(replayed(file, from), (Records{{1, "a"}, {2, "b"}, {3, "c"}}));
    EXPECT_EQ(replayed(file, second), (Records{{3, "c"}}));
}

TEST_F(LogTest, TornGenerationIsNotContinued) {
    open();
    add(*log, "a");
    add(*log, "b");
    log->start(2, 3, 1 << 16, 0);
    add(*log, "c");
    file.damage(kFirstRecord + size_of(1), std::byte{0xFF});
    EXPECT_EQ(replayed(file, from), (Records{{1, "a"}}));
}

TEST_F(LogTest, SyncedGenerationThatEndsEarlyIsCorrupt) {
    open();
    add(*log, "a");
    add(*log, "b");
    sync();
    log->start(2, 3, 1 << 16, 0);
    file.damage(kFirstRecord + size_of(1) + 30 - 6, std::byte{0xFF});
    EXPECT_NE(corruption(), "");
}

TEST_F(LogTest, HeaderOfADeadTimelineIsNotFollowed) {
    open();
    add(*log, "a");
    Log other(file, false);
    other.replay(from, 0, [](std::uint64_t, Bytes) { return true; });
    const auto stray = other.start(2, 2, 1 << 16, 0);  // continues `from`, until `from` dies
    EXPECT_EQ(stray.generation, 2u);
    const LogPosition again = log->start(1, 2, 1 << 16, 0);
    EXPECT_EQ(replayed(file, again), Records{});
    Log reader(file, true);
    Records records;
    EXPECT_EQ(replay(reader, again, 0, records).next_sequence, 2u);
}

TEST_F(LogTest, MissingGenerationIsCorrupt) {
    open();
    LogPosition wrong = from;
    wrong.salt ^= 1;
    EXPECT_THROW(replayed(file, wrong), CorruptionError);
    wrong = from;
    wrong.generation = 2;
    EXPECT_THROW(replayed(file, wrong), CorruptionError);
    wrong = from;
    wrong.sequence = 2;
    EXPECT_THROW(replayed(file, wrong), CorruptionError);
    MemoryFile fresh;
    Log::format(fresh);
    EXPECT_THROW(replayed(fresh, from), CorruptionError);
}

TEST_F(LogTest, WindowsOfAnUnfinishedCheckpointAreKept) {
    open();
    log->confirm(1);
    add(*log, "a");
    log->start(2, 2, 1 << 16, 1);
    add(*log, "b");
    // The checkpoint failed and is tried again: only the third window is left, and accepts nothing.
    const LogPosition third = log->start(3, 3, 1 << 16, 1);
    EXPECT_FALSE(log->reserve(1));
    const LogPosition again = log->start(4, 3, 1 << 16, 1);
    EXPECT_FALSE(log->reserve(1));
    EXPECT_THROW(replayed(file, third, 1), CorruptionError);
    EXPECT_EQ(replayed(file, from, 1), (Records{{1, "a"}, {2, "b"}}));
    log->sync(3);
    log->confirm(2);
    ASSERT_TRUE(add(*log, "c"));
    EXPECT_EQ(replayed(file, again, 2), (Records{{3, "c"}}));
}

TEST_F(LogTest, RecoveryKeepsBothWindowsUntilItIsDurable) {
    open();
    add(*log, "a");
    log->start(2, 2, 1 << 16, 0);
    add(*log, "b");
    for (int attempt = 0; attempt < 5; ++attempt) {
        log.emplace(file, false);
        Records records;
        const auto result = replay(*log, from, 0, records);
        ASSERT_EQ(records, (Records{{1, "a"}, {2, "b"}}));
        log->start(result.highest_generation + 1, result.next_sequence, 1 << 16, 0);
    }
}

// --- damage

TEST_F(LogTest, RotInWhatWasSyncedIsCorruptAndInTheTailATornEnd) {
    open();
    std::vector<std::uint64_t> ends{kFirstRecord};
    const auto append = [&](std::size_t size) {
        add(*log, std::string(size, 'r'));
        ends.push_back(ends.back() + size_of(size));
    };
    for (std::size_t i = 1; i <= 20; ++i) append(3 * i);
    sync();
    for (std::size_t i = 0; i < 3; ++i) append(40);
    std::size_t record = 0;
    for (std::uint64_t at = ends.front(); at < ends.back(); ++at) {
        if (at == ends[record + 1]) ++record;
        file.damage(at, std::byte{0x10});
        if (record < 20) {
            ASSERT_NE(corruption(), "") << at;
            ASSERT_EQ(corruption().find("log, offset " + std::to_string(ends[record])), 0u) << corruption();
        } else {
            ASSERT_EQ(replayed(file, from).size(), record) << at;
        }
        file.damage(at, std::byte{0x10});
    }
}

TEST_F(LogTest, SectorReadBackAsZeroesIsCorrupt) {
    open();
    for (int i = 0; i < 500; ++i) add(*log, "a record of some length");
    sync();
    for (int i = 0; i < 3; ++i) add(*log, "tail");
    const std::vector<std::byte> zeroes(4096);
    file.write(Bytes(zeroes), kFirstRecord + 4096);
    EXPECT_NE(corruption(), "");
}

TEST_F(LogTest, NewerCheckpointIsCorrupt) {
    open();
    log->start(2, 1, 1 << 16, 7);
    EXPECT_EQ(corruption(7), "");
    EXPECT_NE(corruption(6).find("checkpoint 7"), std::string::npos);
    log->confirm(8);
    EXPECT_NE(corruption(7).find("checkpoint 8"), std::string::npos);
    EXPECT_EQ(corruption(8), "");
    // Killed between the two stores of confirm(): the pair says nothing.
    file.damage(Log::kHeaderSize + Log::kWindowCap + 72, std::byte{0x40});
    EXPECT_EQ(corruption(7), "");
}

TEST_F(LogTest, DamagedWindowHeaderIsCorrupt) {
    open();
    for (std::uint64_t at = Log::kHeaderSize; at < Log::kHeaderSize + 72; ++at) {
        file.damage(at, std::byte{1});
        ASSERT_NE(corruption(), "") << at;
        file.damage(at, std::byte{1});
    }
    EXPECT_EQ(corruption(), "");
}

/// Behind a right checksum, too: whoever went on in such a window would map it.
TEST_F(LogTest, AWindowLongerThanAnyIsCorrupt) {
    open();
    std::array<std::byte, 72> header;
    for (const std::uint64_t capacity : {Log::kMaxCapacity + 1, std::uint64_t{1} << 62}) {
        file.read(header, Log::kHeaderSize);
        codec::store(header.data() + 40, capacity);
        codec::store<std::uint64_t>(header.data() + 64, XXH3_64bits(header.data(), 64));
        file.write(Bytes(header), Log::kHeaderSize);
        EXPECT_NE(corruption().find("the most is"), std::string::npos) << corruption();
    }
}

TEST_F(LogTest, RandomDamageNeitherCrashesNorInvents) {
    Random random(7);
    open(1 << 14);
    Records expected;
    while (add(*log, expected.emplace_back(log->next_sequence(), random_payload(random)).second)) {}
    for (int trial = 0; trial < 3000; ++trial) {
        std::vector<std::pair<std::uint64_t, std::byte>> changes(1 + random() % 4);
        for (auto& [at, mask] : changes) {
            at = random() % file.size();
            mask = std::byte(1u << random() % 8);
            file.damage(at, mask);
        }
        try {
            const Records found = replayed(file, from);
            ASSERT_LE(found.size(), expected.size());
            ASSERT_TRUE(std::equal(found.begin(), found.end(), expected.begin()));
        } catch (const CorruptionError&) {
        }
        for (const auto& [at, mask] : changes) file.damage(at, mask);
    }
}

// A file made to look like records everywhere must not cost more than a bounded amount of hashing.
TEST_F(LogTest, HostileWindowIsReadInBoundedTime) {
    constexpr std::uint64_t kSize = 8 << 20;
    open(kSize);
    std::vector<std::byte> window(kSize);
    const std::uint64_t half = kSize / 2;
    for (std::uint64_t at = 0; at + 24 < half; at += 24) {  // each names one huge neighbour
        codec::store<std::uint32_t>(window.data() + at + 8, static_cast<std::uint32_t>(half - at - 24));
        codec::store<std::uint64_t>(window.data() + at + 16, 5);
    }
    codec::store<std::uint32_t>(window.data() + half + 8, static_cast<std::uint32_t>(half - 24));
    codec::store<std::uint64_t>(window.data() + half + 16, 6);
    file.allocate(kFirstRecord, kSize);
    file.write(Bytes(window), kFirstRecord);
    EXPECT_NE(corruption().find("do not verify"), std::string::npos);
}

TEST_F(LogTest, TruncatedFileEndsTheReplay) {
    open();
    for (int i = 0; i < 100; ++i) add(*log, "a record");
    log.reset();
    for (std::uint64_t size = kFirstRecord + 100 * size_of(8); size >= kFirstRecord; size -= 7) {
        file.truncate(size);
        ASSERT_EQ(replayed(file, from).size(), (size - kFirstRecord) / size_of(8));
    }
    file.truncate(Log::kHeaderSize + 50);
    EXPECT_NE(corruption(), "");
}

// --- closing

TEST_F(LogTest, ShrinkLeavesOneEmptyWindow) {
    open();
    add(*log, "a");
    log->shrink();  // not empty: nothing happens
    EXPECT_GT(file.size(), kFirstRecord);
    from = log->start(2, 2, 1 << 16, 0);
    log->shrink();  // not confirmed: nothing happens
    EXPECT_GT(file.size(), kFirstRecord);
    log->sync(2);
    log->confirm(1);
    log->shrink();
    EXPECT_EQ(file.size(), kFirstRecord);
    EXPECT_FALSE(log->reserve(1));
    EXPECT_EQ(replayed(file, from, 1), Records{});
    EXPECT_NE(corruption(0), "");

    log.emplace(file, false);
    Records records;
    const auto result = replay(*log, from, 1, records);
    EXPECT_EQ(result.highest_generation, 2u);
    from = log->start(3, 2, 1 << 16, 1);
    ASSERT_TRUE(add(*log, "b"));
    EXPECT_EQ(replayed(file, from, 1), (Records{{2, "b"}}));
}

TEST_F(LogTest, ResumesOnlyWhereNoRecordCanLie) {
    open();
    log->sync(1);
    log->confirm(1);
    log->shrink();
    log.emplace(file, false);
    Records records;
    replay(*log, from, 1, records);
    ASSERT_TRUE(log->resume(from));
    ASSERT_TRUE(add(*log, "a"));
    ASSERT_TRUE(add(*log, "b"));
    EXPECT_EQ(replayed(file, from, 1), (Records{{1, "a"}, {2, "b"}}));

    log.emplace(file, false);
    replay(*log, from, 1, records);
    EXPECT_FALSE(log->resume(from));  // records may lie anywhere behind the header now
}

// --- a real file

TEST(LogOnDisk, SurvivesReopening) {
    const auto path = std::filesystem::temp_directory_path() / ("log_test." + std::to_string(::getpid()));
    LogPosition from;
    {
        auto file = os::FileSystem::posix().create(path);
        Log::format(*file);
        Log log(*file, false);
        from = log.start(1, 1, Log::kMaxCapacity, 0);
        for (int i = 0; i < 50000; ++i) ASSERT_TRUE(add(log, "record " + std::to_string(i)));
        log.sync(log.next_sequence());
    }
    const auto file = os::FileSystem::posix().open(path, os::Access::read_only);
    const Records records = replayed(*file, from);
    std::filesystem::remove(path);
    ASSERT_EQ(records.size(), 50000u);
    EXPECT_EQ(records.back().second, "record 49999");
}

}  // namespace
}  // namespace pyrsistence::storage
