// Processes in pid namespaces of their own, as containers have them: their pids mean nothing to the others, and all
// of them are number 1. Nobody who lives may be taken for dead, and nobody who is dead for alive.
#include "storage/puppets.hpp"

namespace pyrsistence::test {
namespace {

/// Who is in a namespace of its own.
struct Places {
    const char* name;
    bool writer, readers;
};
void PrintTo(const Places& places, std::ostream* out) { *out << places.name; }

class NamespacesTest : public PuppetTest, public ::testing::WithParamInterface<Places> {
protected:
    void SetUp() override {
        // An unprivileged process may need a user namespace around it.
        for (const unsigned long kind : {CLONE_NEWPID | 0ul, CLONE_NEWUSER | CLONE_NEWPID | 0ul}) {
            const pid_t child = fork_into(kind);
            if (child == 0) ::_exit(::getpid() == 1 ? 0 : 1);
            refusal_ = child < 0 ? std::strerror(errno) : "the new process is not number 1";
            int status = 1;
            if (child > 0 && ::waitpid(child, &status, 0) == child && status == 0) return void(kind_ = kind);
        }
        GTEST_SKIP() << "NOT TESTED: this system allows no pid namespaces: " << refusal_;
    }
    unsigned long of(bool apart) const { return apart ? kind_ : 0; }
    std::unique_ptr<Puppet> a_writer(std::uint64_t steps) { return writer(steps, of(GetParam().writer)); }
    std::unique_ptr<Puppet> a_reader() { return reader(of(GetParam().readers)); }

private:
    unsigned long kind_ = 0;
    std::string refusal_;
};

TEST_P(NamespacesTest, WhoLivesKeepsItsStateAndWhoIsKilledDoesNot) {
    const auto writer = a_writer(30);
    churn(*writer, 40);
    fine((*writer)("compact"));
    const std::uint64_t alone = figures(*writer).data_bytes, count = writer->number("count");
    const auto first = a_reader(), second = a_reader();
    for (auto* reader : {first.get(), second.get()}) catch_up(*reader, *writer);
    fine((*first)("snapshot"));
    churn(*writer, 30);
    EXPECT_EQ(figures(*writer).readers, 2u);
    for (auto* reader : {first.get(), second.get()}) {
        EXPECT_EQ(reader->number("count"), count);
        fine((*reader)("check"));
    }
    second->kill();
    churn(*writer, 10);
    EXPECT_EQ(figures(*writer).readers, 1u);
    fine((*first)("check-snapshots"));
    catch_up(*first, *writer);
    fine((*first)("check"));
    fine((*first)("check-snapshots"));
    first->kill();
    churn(*writer, 3);
    fine((*writer)("compact"));
    const Figures after = figures(*writer);
    EXPECT_EQ(after.readers, 0u);
    EXPECT_EQ(after.oldest_reader, 0u);
    EXPECT_LE(after.data_bytes, alone + alone / 4) << "the space of dead readers has not come back";
    fine((*writer)("check"));
}

TEST_P(NamespacesTest, OneWriterAndItsSuccessors) {
    auto writer = a_writer(30);
    const auto reader = a_reader(), other = puppet();
    fine((*reader)("snapshot"));
    for (int life = 0; life < 5; ++life) {
        EXPECT_TRUE((*other)("write 65536").starts_with("LockedError: ")) << "two writers";
        fine((*writer)("step 20"));
        const std::uint64_t count = writer->number("count");
        writer->kill();
        if (life % 2 == 0) fine((*reader)("refresh"));  // which recovers the store
        writer = life % 2 == 0 ? this->writer(0) : a_writer(0);
        EXPECT_EQ(writer->number("count"), count);
        churn(*writer);
        fine((*reader)("check"));
        fine((*reader)("check-snapshots"));
        catch_up(*reader, *writer);
    }
}

TEST_P(NamespacesTest, AStoppedReaderIsAlive) {
    const auto writer = a_writer(30), reader = a_reader();
    catch_up(*reader, *writer);
    fine((*reader)("snapshot"));
    reader->stop();
    churn(*writer, 10);
    EXPECT_EQ(figures(*writer).readers, 1u);
    reader->go_on();
    EXPECT_EQ(reader->number("count"), 30u);
    fine((*reader)("check"));
    fine((*reader)("check-snapshots"));
}

constexpr Places kPlaces[] = {{"readers_apart", false, true}, {"writer_apart", true, false}, {"all_apart", true, true}};

INSTANTIATE_TEST_SUITE_P(Places, NamespacesTest, ::testing::ValuesIn(kPlaces),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace pyrsistence::test
