#include "pyrsistence/scratch.hpp"

#include <bit>
#include <cmath>
#include <numeric>

#include "crash/failing_files.hpp"
#include "support.hpp"

namespace pyrsistence::test {
namespace {

using detail::LoserTree;
using detail::MemoryPlan;
using detail::RunReader;
using detail::RunWriter;
using detail::Scratch;
using detail::Shuffler;

class ScratchTest : public ::testing::Test {
protected:
    ExternalOptions options(std::uint64_t memory = 0) { return {.memory_limit = memory, .directory = dir_.path()}; }

    TempDir dir_{true};
};

/// Lengths around every border: nothing, one byte, a block, several blocks.
std::string record(std::uint64_t i, std::size_t block) {
    const std::size_t sizes[] = {0, 1, 5, 127, 128, 300, block - 1, block, block + 1, 3 * block + 7};
    return content(i, sizes[i % std::size(sizes)]);
}

TEST_F(ScratchTest, PlansKeepToTheLimit) {
    for (const std::uint64_t memory : {1ULL, 4096ULL, 100'000ULL, 1ULL << 20, 16ULL << 20, 64ULL << 20, 1ULL << 40}) {
        for (const std::size_t record : {1UL, 16UL, 24UL, 5000UL}) {
            const MemoryPlan plan(options(memory), record);
            EXPECT_GE(plan.fan, 2U);
            EXPECT_EQ(plan.block % record, 0U);
            EXPECT_LE(plan.block, std::max<std::size_t>(4 << 20, record));
            if (memory >= 64 << 10) {
                EXPECT_LE((plan.fan + 1) * plan.block, memory) << memory << " " << record;
            }
            if (memory >= 8 << 20) {
                EXPECT_GE(plan.block, (std::size_t{1} << 20) - record);
            }
        }
    }
    EXPECT_GT(MemoryPlan(options()).memory, 0U);
}

TEST_F(ScratchTest, RunsOfAnyRecordsComeBack) {
    constexpr std::size_t kBlock = 1000;
    Scratch scratch(options(), kBlock);
    std::vector<detail::Run> runs;
    constexpr std::uint64_t kRuns = 5, kRecords = 60;
    for (std::uint64_t r = 0; r < kRuns; ++r) {
        RunWriter writer(scratch);
        for (std::uint64_t i = 0; i < kRecords * r; ++i) writer.put(as_bytes(record(r * 1000 + i, kBlock)));
        runs.push_back(writer.finish());
        EXPECT_EQ(runs.back().records, kRecords * r);
    }
    std::vector<RunReader> readers;
    for (detail::Run& run : runs) readers.emplace_back(scratch, std::move(run));
    Bytes found;
    for (std::uint64_t i = 0; i < kRecords * kRuns; ++i) {
        for (std::uint64_t r = 0; r < kRuns; ++r) {
            ASSERT_EQ(readers[r].next(found), i < kRecords * r);
            if (i < kRecords * r) {
                ASSERT_EQ(as_text(found), record(r * 1000 + i, kBlock));
            }
        }
    }
    const std::uint64_t most = scratch.disk_bytes();
    RunWriter writer(scratch);  // in the blocks that the readers gave back
    for (std::uint64_t i = 0; i < kRecords; ++i) writer.put(as_bytes(record(i, kBlock)));
    RunReader again(scratch, writer.finish());
    for (std::uint64_t i = 0; i < kRecords; ++i) {
        ASSERT_TRUE(again.next(found));
        ASSERT_EQ(as_text(found), record(i, kBlock));
    }
    EXPECT_FALSE(again.next(found));
    EXPECT_EQ(scratch.disk_bytes(), most);
}

TEST_F(ScratchTest, FixedRecordsComeInBlocks) {
    Scratch scratch(options(), 64 * sizeof(std::uint64_t));
    std::vector<std::uint64_t> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 0);
    RunWriter writer(scratch);
    writer.put_fixed(std::as_bytes(std::span(numbers).first(3)), 3);
    writer.put_fixed(std::as_bytes(std::span(numbers).subspan(3)), 997);
    RunReader reader(scratch, writer.finish());
    std::vector<std::uint64_t> found;
    for (Bytes block; !(block = reader.next_block()).empty();) {
        ASSERT_EQ(block.size() % sizeof(std::uint64_t), 0U);
        const auto* first = reinterpret_cast<const std::uint64_t*>(block.data());
        found.insert(found.end(), first, first + block.size() / sizeof(std::uint64_t));
    }
    EXPECT_EQ(found, numbers);
    EXPECT_TRUE(reader.next_block().empty());
}

TEST_F(ScratchTest, NothingIsSeenInTheDirectory) {
    Scratch scratch(options(), 4096);
    RunWriter writer(scratch);
    for (int i = 0; i < 100; ++i) writer.put(as_bytes(content(1, 1000)));
    const detail::Run run = writer.finish();
    EXPECT_TRUE(fs::is_empty(dir_.path()));
}

TEST_F(ScratchTest, TheDirectoryMayBeALink) {
    const fs::path link = dir_ / "link";
    fs::create_directory(dir_ / "real");
    fs::create_directory_symlink(dir_ / "real", link);
    Scratch scratch({.directory = link}, 4096);
    EXPECT_EQ(scratch.write(as_bytes("x")), 0U);
}

TEST_F(ScratchTest, FailuresAreErrorsAndLeaveNothing) {
    for (std::uint64_t at = 1;; ++at) {
        Faults faults;
        FailingFiles files(faults);  // its create_temporary() is the one with a name
        faults.arm(at, ENOSPC, false);
        bool failed = false;
        try {
            Scratch scratch({.directory = dir_.path(), .files = &files}, 4096);
            RunWriter writer(scratch);
            for (std::uint64_t i = 0; i < 20; ++i) writer.put(as_bytes(content(i, 1000)));
            RunReader reader(scratch, writer.finish());
            Bytes record;
            std::uint64_t count = 0;
            while (reader.next(record)) ASSERT_EQ(as_text(record), content(count++, 1000));
            ASSERT_EQ(count, 20U);
        } catch (const StorageError& error) {
            failed = true;
            EXPECT_EQ(error.code(), ENOSPC) << error.what();
        }
        if (faults.failed().empty()) break;
        EXPECT_TRUE(failed);
        // Only a removal that failed can leave a name behind.
        if (!faults.failed({FileCall::remove})) {
            EXPECT_TRUE(fs::is_empty(dir_.path())) << at;
        }
        for (const fs::path& left : fs::directory_iterator(dir_.path())) fs::remove(left);
    }
}

TEST_F(ScratchTest, AFailedWriteCanBeRepeated) {
    Faults faults;
    FailingFiles files(faults);
    Scratch scratch({.directory = dir_.path(), .files = &files}, 10);
    EXPECT_EQ(scratch.write(as_bytes("first")), 0U);
    faults.arm(faults.calls() + 1, ENOSPC, false);
    EXPECT_THROW(scratch.write(as_bytes("second")), StorageError);
    EXPECT_EQ(scratch.write(as_bytes("third")), 1U);
    std::byte found[5];
    scratch.read(0, found);
    EXPECT_EQ(as_text(found), "first");
    scratch.read(1, found);
    EXPECT_EQ(as_text(found), "third");
    EXPECT_THROW(scratch.read(2, found), StorageError);
}

TEST(LoserTreeTest, FindsTheLeastStably) {
    PYRSISTENCE_TRACE_SEED;
    Random random(11);
    for (std::size_t players = 1; players < 40; ++players) {
        std::vector<std::vector<std::uint64_t>> rows(players);
        std::vector<std::pair<std::uint64_t, std::size_t>> expected, found;
        for (std::size_t p = 0; p < players; ++p) {
            rows[p].resize(random.below(20));
            for (std::uint64_t& number : rows[p]) number = random.below(10);
            std::ranges::sort(rows[p], std::greater<>());
            for (const std::uint64_t number : rows[p]) expected.emplace_back(number, p);
        }
        std::ranges::sort(expected);
        std::size_t matches = 0;
        const auto beats = [&](std::size_t a, std::size_t b) {
            ++matches;
            if (rows[a].empty()) return false;
            return rows[b].empty() || std::pair(rows[a].back(), a) < std::pair(rows[b].back(), b);
        };
        LoserTree tree;
        tree.build(players, beats);
        EXPECT_EQ(matches, players - 1);
        for (; !rows[tree.winner()].empty(); tree.replay(beats)) {
            found.emplace_back(rows[tree.winner()].back(), tree.winner());
            rows[tree.winner()].pop_back();
        }
        EXPECT_EQ(found, expected);
        EXPECT_LE(matches, players + expected.size() * static_cast<std::size_t>(std::bit_width(players)));
    }
}

TEST(MergeDownTest, KeepsTheOrderAndMergesNoMoreThanItMust) {
    for (std::size_t count = 0; count < 200; ++count) {
        MemoryPlan plan({.memory_limit = 1 << 20});
        plan.fan = 5;
        std::vector<detail::Run> runs(count);
        for (std::size_t i = 0; i < count; ++i) runs[i].blocks = {i}, runs[i].records = 1;
        std::uint64_t moved = 0;
        detail::merge_down(runs, plan, [&](std::vector<detail::Run> some) {
            EXPECT_LE(some.size(), plan.fan);
            EXPECT_GE(some.size(), 2U);
            detail::Run merged;
            for (const detail::Run& one : some) {
                merged.blocks.insert(merged.blocks.end(), one.blocks.begin(), one.blocks.end());
                merged.records += one.records;
                moved += one.records;
            }
            return merged;
        });
        EXPECT_EQ(runs.size(), std::min<std::size_t>(count, 5));
        std::vector<std::uint64_t> order;
        for (const detail::Run& run : runs) order.insert(order.end(), run.blocks.begin(), run.blocks.end());
        std::vector<std::uint64_t> expected(count);
        std::iota(expected.begin(), expected.end(), 0);
        EXPECT_EQ(order, expected);
        const double levels = count > 5 ? std::ceil(std::log(double(count)) / std::log(5.0) - 1e-9) - 1 : 0;
        EXPECT_LE(static_cast<double>(moved), levels * static_cast<double>(count)) << count;
        if (count == 6) {
            EXPECT_EQ(moved, 2U);
        }
    }
}

std::vector<std::string> shuffled(Shuffler shuffler) {
    shuffler.finish();
    std::vector<std::string> found;
    for (Bytes record; shuffler.next(record);) found.emplace_back(as_text(record));
    return found;
}

TEST_F(ScratchTest, ShufflingKeepsEveryRecordAndFollowsTheSeed) {
    for (const std::uint64_t memory : {2000ULL, 20'000ULL, 1ULL << 30}) {
        std::vector<std::string> expected, orders[3];
        for (std::uint64_t i = 0; i < 500; ++i) expected.push_back(std::to_string(i) + content(i, i % 100 == 0 ? 9000 : i % 50));
        for (std::uint64_t round = 0; round < 3; ++round) {
            Shuffler shuffler(options(memory), round / 2);
            for (const std::string& one : expected) shuffler.push(as_bytes(one));
            EXPECT_EQ(shuffler.size(), 500U);
            orders[round] = shuffled(std::move(shuffler));
        }
        EXPECT_EQ(orders[0], orders[1]);
        EXPECT_NE(orders[0], orders[2]);
        EXPECT_NE(orders[0], expected);
        std::ranges::sort(orders[0]);
        std::ranges::sort(expected);
        EXPECT_EQ(orders[0], expected);
    }
    EXPECT_TRUE(shuffled(Shuffler(options(), 1)).empty());
}

/// Each of the 24 orders of four records, and each place of one of 64, equally often; 23 and 63 degrees of freedom, 99.9 %.
TEST_F(ScratchTest, ShufflingIsUniform) {
    for (const std::uint64_t memory : {40ULL, 1ULL << 20}) {  // in buckets of a record or two, and in memory
        constexpr std::uint64_t kRounds = 4800;
        std::map<std::string, double> seen;
        for (std::uint64_t round = 0; round < kRounds; ++round) {
            Shuffler shuffler(options(memory), round);
            for (const char* one : {"a", "b", "c", "d"}) shuffler.push(as_bytes(one));
            const auto order = shuffled(std::move(shuffler));
            ++seen[std::accumulate(order.begin(), order.end(), std::string())];
        }
        double sum = 0;
        for (const auto& [order, count] : seen) sum += (count - kRounds / 24.0) * (count - kRounds / 24.0) / (kRounds / 24.0);
        EXPECT_EQ(seen.size(), 24U);
        EXPECT_LT(sum, 49.7) << memory;
    }
}

}  // namespace
}  // namespace pyrsistence::test
