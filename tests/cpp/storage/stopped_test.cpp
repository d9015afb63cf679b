// Processes that stand still in the middle of anything: a stopped writer keeps no reader waiting, a stopped reader
// keeps no writer from going on nor its file from staying small, and who is slow is seen. (At each of its calls to
// the operating system a process is stopped in readers_test.cpp; here, between any two instructions.)
#include "storage/puppets.hpp"

namespace pyrsistence::test {
namespace {

using Clock = std::chrono::steady_clock;

class StoppedTest : public PuppetTest {
protected:
    /// Stops it after so many microseconds, in the middle of a command unless that has ended.
    static void stop_within(Puppet& puppet, const std::string& command, std::uint64_t microseconds) {
        puppet.start(command);
        std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
        puppet.stop();
    }
};

TEST_F(StoppedTest, AStoppedWriterLeavesItsLastPublishedState) {
    const auto writer = this->writer(), reader = this->reader();
    fine((*writer)("checkpoint"));
    catch_up(*reader, *writer);
    const std::uint64_t published = reader->number("count");
    fine((*writer)("step 2"));
    writer->stop();
    auto quickest = Clock::duration::max();
    for (int i = 0; i < 5; ++i) {
        const auto begin = Clock::now();
        fine((*reader)("refresh"));
        quickest = std::min(quickest, Clock::now() - begin);
        EXPECT_EQ(reader->number("count"), published);
    }
    EXPECT_LT(quickest, 5s);
    const auto late = this->reader();
    EXPECT_EQ(late->number("count"), published);
    fine((*late)("check"));
    writer->go_on();
    for (Puppet* one : {reader.get(), late.get()}) {
        catch_up(*one, *writer);
        EXPECT_EQ(one->number("count"), published + 2);
    }
}

TEST_F(StoppedTest, AWriterStopsAnywhere) {
    PYRSISTENCE_TRACE_SEED;
    Random random(11);
    const auto writer = this->writer(), reader = this->reader(), holder = this->reader();
    const char* const kCommands[] = {"step 40", "step 40", "checkpoint", "compact", "keep one", "publish"};
    std::uint64_t seen = 0;
    for (std::size_t round = 0; round < scaled(40) && !HasFailure(); ++round) {
        SCOPED_TRACE("round " + std::to_string(round));
        const std::string command = kCommands[random.below(std::size(kCommands))];
        if (round % 4 == 0) fine((*holder)("snapshot"));
        fine((*writer)("step 3"));
        stop_within(*writer, command, random.below(4000));
        fine((*reader)("refresh"));
        const std::uint64_t count = reader->number("count");
        EXPECT_GE(count, seen);
        seen = count;
        fine((*reader)("check"));
        const auto late = this->reader();
        EXPECT_GE(late->number("count"), seen);
        fine((*late)("check"));
        fine((*holder)("check-snapshots"));
        if (round % 4 == 3) fine((*holder)("drop"));
        writer->go_on();
        fine(writer->answer());
        if (command.starts_with("keep")) fine((*writer)("forget one"));
    }
    fine((*writer)("check"));
}

/// What the dead one before it had published is not to be had any more: it does not know who would read that.
TEST_F(StoppedTest, AWriterThatStopsInItsRecoveryHasPublishedNothing) {
    auto writer = this->writer();
    fine((*writer)("checkpoint"));
    fine((*writer)("step 4"));
    catch_up(*this->reader(), *writer);  // so that it is published; the reader has left again
    writer->kill();
    writer = puppet();
    fine((*writer)("at begins stop"));
    EXPECT_EQ((*writer)("write 65536"), "stopped");
    const auto late = puppet();
    late->start("read");
    for (int i = 0; i < 300 && !late->answered(); ++i) std::this_thread::sleep_for(1ms);
    EXPECT_FALSE(late->answered());
    writer->go_on();
    fine(writer->answer());
    fine(late->answer());
    const std::uint64_t count = late->number("count");
    EXPECT_EQ(count, writer->number("count"));
    churn(*writer);
    fine((*late)("check"));
    EXPECT_EQ(late->number("count"), count);
}

TEST_F(StoppedTest, AStoppedReaderLetsTheWriterGoOnAndTheFileStaySmall) {
    PYRSISTENCE_TRACE_SEED;
    Random random(12);
    const auto writer = this->writer();
    churn(*writer, 10);
    const std::uint64_t alone = figures(*writer).data_bytes;
    for (std::size_t round = 0; round < scaled(6) && !HasFailure(); ++round) {
        const auto reader = this->reader();
        fine((*reader)("snapshot"));
        stop_within(*reader, "refresh", round == 0 ? 0 : random.below(1500));
        std::uint64_t first = 0, most = 0;
        for (int i = 0; i < 12; ++i) {
            churn(*writer, 3);
            most = std::max(most, figures(*writer).data_bytes);
            if (i == 4) first = most;
        }
        const std::uint64_t held = figures(*writer).readers;
        EXPECT_TRUE(held == 1 || held == 2) << held << " states are read by one who has a snapshot and lives";
        EXPECT_LE(most, first + first / 4) << "the file grows as long as a reader is stopped";
        if (round % 2 == 0) {
            reader->go_on();
            fine(reader->answer());
            fine((*reader)("check"));
            fine((*reader)("check-snapshots"));
        }
        reader->kill();
        churn(*writer, 2);
        fine((*writer)("compact"));
        EXPECT_EQ(figures(*writer).readers, 0u);
        EXPECT_LE(figures(*writer).data_bytes, alone + alone / 2) << "the space of a dead reader has not come back";
        fine((*writer)("check"));
    }
}

TEST_F(StoppedTest, SlowReadersAreSeen) {
    const auto writer = this->writer();
    EXPECT_EQ(figures(*writer).readers, 0u);
    EXPECT_EQ(figures(*writer).oldest_reader, 0u);
    const auto first = this->reader();
    const std::uint64_t oldest = figures(*writer).oldest_reader;
    EXPECT_GT(oldest, 0u);
    churn(*writer);
    const auto second = this->reader();
    churn(*writer);
    const auto third = this->reader();
    EXPECT_EQ(figures(*writer).readers, 3u);
    first->stop();
    churn(*writer);
    fine((*second)("refresh"));
    EXPECT_EQ(figures(*writer).oldest_reader, oldest) << "the one that was stopped is the slowest";
    first->go_on();
    fine((*first)("refresh"));
    const std::uint64_t next = figures(*writer).oldest_reader;
    EXPECT_GT(next, oldest);
    third->kill();
    EXPECT_EQ(figures(*writer).readers, 2u);
    EXPECT_GT(figures(*writer).oldest_reader, next) << "it was the third one's";
    fine((*second)("close"));
    first->kill();
    EXPECT_EQ(figures(*writer).readers, 0u);
}

}  // namespace
}  // namespace pyrsistence::test
