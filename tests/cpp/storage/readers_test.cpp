#include <gtest/gtest-spi.h>

#include "storage/puppets.hpp"

namespace pyrsistence::test {
namespace {

class ReadersTest : public PuppetTest {
protected:
    /// Calls `round(n)` for each call of a command, until it says that the command has made fewer.
    void each_call(const std::function<bool(std::uint64_t)>& round) {
        Random random(1);
        constexpr std::uint64_t kMost = 400;
        for (std::uint64_t n = 1; n < kMost && !HasFailure(); n += 1 + random.below(stride())) {
            SCOPED_TRACE("call " + std::to_string(n));
            fs::remove_all(std::exchange(path_, dir_.next()));
            if (!round(n)) return;
        }
    }
    static std::uint64_t stride() { return static_cast<std::uint64_t>(std::max(1.0, 1 / test_scale())); }
};

TEST_F(ReadersTest, AReaderSeesWhatTheWriterHasDoneAndKeepsIt) {
    const auto writer = this->writer(), reader = this->reader();
    catch_up(*reader, *writer);
    EXPECT_EQ(reader->number("count"), 100u);
    fine((*reader)("check"));
    for (int round = 0; round < 20; ++round) {
        fine((*reader)("snapshot"));
        fine((*writer)("step 40"));
        if (round % 3 == 0) fine((*writer)("checkpoint"));
        fine((*reader)("check"));
        EXPECT_EQ(reader->number("count"), 100u + 40u * round);
        catch_up(*reader, *writer);
        EXPECT_EQ(reader->number("count"), 140u + 40u * round);
        fine((*reader)("check"));
        fine((*reader)("check-snapshots"));
        if (round > 5) fine((*reader)("drop"));
    }
}

/// A writer that had published pages which compact() had moved died before its checkpoint; as nothing was in the log,
/// readers went back to the checkpoint before, and a snapshot of theirs was said to be newer than the store.
TEST_F(ReadersTest, ASnapshotOutlivesTheReturnToAnOlderSeal) {
    const auto writer = this->writer(100), reader = this->reader();
    fine((*writer)("keep one"));
    churn(*writer, 10);
    fine((*writer)("forget one"));  // leaves room in front
    fine((*writer)("at begins wait 2"));
    writer->start("compact");
    while (!writer->answered() && !fs::exists(dir_ / "waits")) std::this_thread::sleep_for(1ms);
    ASSERT_FALSE(writer->answered());
    std::uint64_t count = 0;
    for (int tries = 0; tries < 100 && count < 250; ++tries) {  // on a busy machine an answer may come too late
        fine((*reader)("refresh"));
        count = reader->number("count");
    }
    EXPECT_EQ(count, 250u);
    fine((*reader)("snapshot"));
    writer->kill();
    fine((*reader)("refresh"));
    fine((*reader)("check"));
    fine((*reader)("check-snapshots"));
    const auto successor = this->writer(1);
    churn(*successor, 3);
    fine((*reader)("check-snapshots"));
    catch_up(*reader, *successor);
    fine((*reader)("check"));
    fine((*reader)("check-snapshots"));
}

/// Each writer that died made the file an eighth longer, at least by 1 MiB, while somebody read a state of the first.
TEST_F(ReadersTest, DeadWritersDoNotMakeTheFileLonger) {
    auto writer = this->writer(100);
    const auto reader = this->reader();
    fine((*reader)("snapshot"));
    const std::uint64_t count = reader->number("count");
    std::uint64_t early = 0;
    for (int life = 0; life < 28; ++life) {
        fine((*writer)("step 5"));
        writer->kill();
        if (life == 3) early = fs::file_size(path_ / "data");
        writer = this->writer(0);
    }
    EXPECT_LE(fs::file_size(path_ / "data"), early + (4 << 20));
    churn(*writer, 10);
    EXPECT_EQ(reader->number("count"), count);
    fine((*reader)("check"));
    fine((*reader)("check-snapshots"));
    reader->kill();
    churn(*writer, 3);
    fine((*writer)("check"));
}

TEST_F(ReadersTest, AHangingProcessIsExplained) {
    const auto before = std::exchange(Puppet::patience, 1s);
    const auto writer = this->writer(1);
    writer->stop();
    EXPECT_NONFATAL_FAILURE((*writer)("count"), "no answer to 'count'");
    EXPECT_EQ((*writer)("count"), "dead");
    Puppet::patience = before;
}

/// A writer once stopped after the command in which it should, while its thread answered a reader: nobody woke it.
TEST_F(ReadersTest, AProcessStopsWithinACommandOnly) {
    const auto writer = this->writer(1), reader = this->reader();
    fine((*writer)("step 1"));
    const std::uint64_t quiet = writer->number("calls");
    fine((*writer)("stop-in 1"));
    EXPECT_EQ((*writer)("calls"), std::to_string(quiet));
    for (int i = 0; i < 5; ++i) fine((*reader)("refresh"));
    EXPECT_GT(writer->number("calls"), quiet);
}

// --- One process stands still at each of its calls to the operating system, while others go on

/// What happens to the writer meanwhile.
struct Event {
    const char* name;
    bool ends;    ///< the first writer
    bool follows; ///< another one
    void (*happen)(std::unique_ptr<Puppet>& writer, const std::function<std::unique_ptr<Puppet>()>& another);
};

constexpr Event kEvents[] = {
    {"nothing", false, false, [](auto&, auto&) {}},
    {"checkpoints", false, false, [](auto& writer, auto&) { churn(*writer); }},
    {"operations", false, false, [](auto& writer, auto&) { fine((*writer)("step 15")); }},
    {"closing", true, false, [](auto& writer, auto&) { fine((*writer)("close")); }},
    {"death", true, false, [](auto& writer, auto&) { writer->kill(); }},
    {"death and a successor", true, true,
     [](auto& writer, auto& another) {
         writer->kill();
         writer = another();
         fine((*writer)("write 65536"));
         churn(*writer);
     }},
    {"a successor that died", true, true,
     [](auto& writer, auto& another) {
         fine((*writer)("close"));
         writer = another();
         fine((*writer)("write 65536"));
         churn(*writer);
         fine((*writer)("step 3"));
         writer->kill();
     }},
    {"death and a successor that closed", true, true,
     [](auto& writer, auto& another) {
         writer->kill();
         writer = another();
         fine((*writer)("write 65536"));
         churn(*writer);
         fine((*writer)("close"));
     }},
    {"recovery by another reader", true, false,
     [](auto& writer, auto& another) {
         writer->kill();
         const auto reader = another();
         fine((*reader)("read"));
         fine((*reader)("check"));
     }},
};

class ReadersStepTest : public ReadersTest, public ::testing::WithParamInterface<Event> {
protected:
    /// Whoever writes now goes on and uses pages again; the reader must not mind, and then see it all.
    void expect_intact(Puppet& reader, std::unique_ptr<Puppet>& writer, std::uint64_t least) {
        fine(reader("check"));
        const std::uint64_t count = reader.number("count");
        EXPECT_GE(count, least);
        if (GetParam().ends) {
            writer = puppet();
            fine((*writer)("write 65536"));
        }
        churn(*writer);
        fine(reader("check"));
        fine(reader("check-snapshots"));
        EXPECT_EQ(reader.number("count"), count);
        catch_up(reader, *writer);
        fine(reader("check"));
        fine(reader("check-snapshots"));
        fine((*writer)("check"));
    }
};

TEST_P(ReadersStepTest, WhileAReaderOpens) {
    each_call([this](std::uint64_t n) {
        auto writer = this->writer(5);
        const std::uint64_t before = writer->number("count");
        const auto reader = puppet();
        (*reader)("stop-in " + std::to_string(n));
        const std::string answer = (*reader)("read");
        if (answer == "stopped") {
            GetParam().happen(writer, [this] { return puppet(); });
            reader->go_on();
            fine(reader->answer());
        }
        expect_intact(*reader, writer, before);
        return answer == "stopped";
    });
}

TEST_P(ReadersStepTest, WhileAReaderRefreshes) {
    each_call([this](std::uint64_t n) {
        auto writer = this->writer(5);
        const auto reader = this->reader();
        fine((*reader)("snapshot"));
        churn(*writer);
        const std::uint64_t before = writer->number("count");
        (*reader)("stop-in " + std::to_string(n));
        const std::string answer = (*reader)("refresh");
        if (answer == "stopped") {
            GetParam().happen(writer, [this] { return puppet(); });
            reader->go_on();
            fine(reader->answer());
        }
        fine((*reader)("snapshot"));
        expect_intact(*reader, writer, before);
        return answer == "stopped";
    });
}

INSTANTIATE_TEST_SUITE_P(Events, ReadersStepTest, ::testing::ValuesIn(kEvents), [](const auto& info) {
    std::string name = info.param.name;
    std::ranges::replace(name, ' ', '_');
    return name;
});

/// The writer stands still, or dies, at each of its calls, while readers come, go on and leave.
struct Scene {
    const char* command;
    bool dies;
};

class WriterStepTest : public ReadersTest, public ::testing::WithParamInterface<Scene> {
protected:
    /// Three readers that came at different times, so that states and slots are in use in another order.
    void gather(Puppet& writer) {
        leaver_ = reader();
        churn(writer);
        holder_ = reader();
        fine((*holder_)("snapshot"));
        fine(writer("step 5"));
    }
    /// A slot that was looked at already is taken for a state whose other slot is then given up.
    void shuffle() {
        fine((*leaver_)("close"));
        fine((*holder_)("snapshot"));
        holder_->start("refresh");
    }

    std::unique_ptr<Puppet> leaver_, holder_;
};

TEST_P(WriterStepTest, ReadersKeepTheirStates) {
    const std::string command = GetParam().command;
    each_call([&](std::uint64_t n) {
        auto writer = this->writer(5);
        gather(*writer);
        if (command == "forget one") fine((*writer)("keep one"));
        if (command == "write 65536") {  // with something to recover
            writer->kill();
            writer = puppet();
        }
        (*writer)("stop-in " + std::to_string(n));
        const bool stopped = (*writer)(command) == "stopped";
        const auto late = puppet();
        late->start("read");
        shuffle();
        if (stopped && GetParam().dies) {
            writer->kill();
            fine(holder_->answer());
            fine(late->answer());
            writer = puppet();
            fine((*writer)("write 65536"));
        } else {
            if (n % 2 == 0) std::this_thread::sleep_for(1ms * n);
            writer->go_on();
            if (stopped) fine(writer->answer());
            if (command == "close") fine((*writer)("write 65536"));
            fine(holder_->answer());
            fine(late->answer());
        }
        churn(*writer);
        for (auto* reader : {holder_.get(), late.get()}) {
            fine((*reader)("check-snapshots"));
            fine((*reader)("check"));
            catch_up(*reader, *writer);
            fine((*reader)("check"));
        }
        fine((*holder_)("check-snapshots"));
        fine((*writer)("check"));
        return stopped;
    });
}

constexpr Scene kScenes[] = {{"write 65536", false}, {"step 4", false}, {"checkpoint", false}, {"publish", false},
                             {"keep one", false},    {"forget one", false}, {"compact", false}, {"close", false},
                             {"write 65536", true},  {"step 4", true},  {"checkpoint", true},  {"publish", true},
                             {"keep one", true},     {"forget one", true},  {"compact", true},  {"close", true}};

INSTANTIATE_TEST_SUITE_P(Scenes, WriterStepTest, ::testing::ValuesIn(kScenes), [](const auto& info) {
    const std::string command = info.param.command;
    return command.substr(0, command.find(' ')) + (info.param.dies ? "_dies" : "_stands_still");
});

}  // namespace
}  // namespace pyrsistence::test
