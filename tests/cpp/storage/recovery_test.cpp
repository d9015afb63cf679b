// Recovery from damage and from records that mean nothing. What kills and power failures leave is
// tested with each container (containers/crash.hpp).
#include <fstream>

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10;

class RecoveryTest : public ::testing::Test {
protected:
    static void flip(const fs::path& file, std::uint64_t offset) {
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        stream.seekg(static_cast<std::streamoff>(offset));
        const char byte = static_cast<char>(stream.get() ^ 0x20);
        stream.seekp(static_cast<std::streamoff>(offset));
        stream.put(byte);
    }
    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

/// A new store had no seal, so the first extents could be overwritten although its log named them.
TEST_F(RecoveryTest, ExtentsOfTheFirstGenerationAreNotReused) {
    OpenStore<RawList> open(path_, nullptr, 0);
    std::vector<std::string> expected;
    for (std::uint64_t i = 0; i < 100; ++i) {
        const std::string item = content(i, 30'000);
        if (i < 5) {
            open->append(as_bytes(item));
            expected.push_back(item);
        } else {
            open->set(i % 5, as_bytes(item));
            expected[i % 5] = item;
        }
    }
    copy_store(path_, dir_ / "copy");
    RawList killed(dir_ / "copy");
    ASSERT_EQ(killed.size(), 5u);
    Buffer item;
    for (std::uint64_t i = 0; i < 5; ++i) {
        ASSERT_TRUE(killed.get(i, item));
        EXPECT_TRUE(as_text(item) == expected[i]) << i;
    }
    killed.check();
}

/// One flipped byte anywhere: an error that says so, or the right content; never another content, a
/// crash or a hang. Only the record after the last sync may be taken for torn.
TEST_F(RecoveryTest, DamageIsNeverAWrongAnswer) {
    PYRSISTENCE_TRACE_SEED;
    Random random(401);
    DictDriver driver(7, 200, {60'000, 10}), synced = driver;
    {
        OpenStore<RawDict> open(path_, nullptr, 0);
        for (int i = 0; i < 1500; ++i) driver.step(&*open);
        open->checkpoint();
        for (int i = 0; i < 300; ++i) driver.step(&*open);
        open->sync();
        synced = driver;
        const std::uint64_t logged = open->info().log_bytes;
        while (open->info().log_bytes == logged) driver.step(&*open);
        copy_store(path_, dir_ / "killed");
    }
    const std::uint64_t data = fs::file_size(dir_ / "killed" / "data");
    std::size_t refused = 0;
    for (std::size_t i = 0; i < scaled(300); ++i) {
        const fs::path copy = dir_.next();
        copy_store(dir_ / "killed", copy);
        const bool log = i % 3 == 0;
        const std::uint64_t offset = log ? 4096 + (i % 2 << 28) + random.below(60'000) : random.below(data);
        if (offset >= fs::file_size(copy / (log ? "log" : "data"))) continue;
        flip(copy / (log ? "log" : "data"), offset);
        SCOPED_TRACE((log ? "log " : "data ") + std::to_string(offset));
        try {
            RawDict dict(copy, {i % 2 ? Mode::read : Mode::append, 4 << 20, false});
            dict.check();
            if (synced.difference(dict) != "") {
                ASSERT_EQ(driver.difference(dict), "");
            }
        } catch (const CorruptionError&) {
            ++refused;
        } catch (const FormatError&) {
            ++refused;
        }
        fs::remove_all(copy);
    }
    EXPECT_GT(refused, 0u);
}

TEST_F(RecoveryTest, AFileCutShortIsAnError) {
    DictDriver driver(8, 200, {60'000, 10});
    {
        OpenStore<RawDict> open(path_, nullptr, 0);
        for (int i = 0; i < 2000; ++i) driver.step(&*open);
    }
    const std::uint64_t size = fs::file_size(path_ / "data");
    for (const std::uint64_t cut : {size - 4096, size / 2, std::uint64_t{8192}, std::uint64_t{5000}, std::uint64_t{100}, std::uint64_t{0}}) {
        const fs::path copy = dir_.next();
        copy_store(path_, copy);
        fs::resize_file(copy / "data", cut);
        try {
            RawDict dict(copy, {Mode::append, 4 << 20, false});
            dict.check();
            ADD_FAILURE() << "opened with " << cut << " of " << size << " bytes";
        } catch (const CorruptionError&) {
        } catch (const FormatError&) {
        }
    }
    for (const std::uint64_t cut : {std::uint64_t{4096}, std::uint64_t{10}, std::uint64_t{0}}) {
        const fs::path copy = dir_.next();
        copy_store(path_, copy);
        fs::resize_file(copy / "log", cut);
        EXPECT_THROW(RawDict(copy, {Mode::append, 4 << 20, false}), CorruptionError);
    }
}

TEST_F(RecoveryTest, RecoveringTwiceTakesNothingAway) {
    PYRSISTENCE_TRACE_SEED;
    Random random(402);
    DictDriver driver(9, 500, {60'000, 10});
    fs::path from = path_;
    for (int round = 0; round < 20; ++round) {
        OpenStore<RawDict> open(from, nullptr, kSmall);
        open->check();
        ASSERT_EQ(driver.difference(*open), "");
        for (std::size_t i = random.below(400); i > 0; --i) driver.step(&*open);
        open.store().checkpoint();  // or a copy might see a checkpoint end between data and log
        for (std::size_t i = random.below(20); i > 0; --i) driver.step(&*open);
        from = dir_.next();
        open->info().log_bytes > kSmall / 2 ? open.store().checkpoint() : open.store().sync();
        copy_store(open.store().path(), from);
    }
}

}  // namespace
}  // namespace pyrsistence::test
