#include "pyrsistence/raw_dict.hpp"

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

TEST(RawDictTest, BehavesAsADictOfSmallValues) {
    PYRSISTENCE_TRACE_SEED;
    Random random(101);
    run_against_model<RawDict>(DictDriver(random(), 20'000, {2000, 0}), scaled(300'000), kMedium, random);
}

TEST(RawDictTest, BehavesAsADictOfLargeValues) {
    PYRSISTENCE_TRACE_SEED;
    Random random(102);
    run_against_model<RawDict>(DictDriver(random(), 1500, {2 << 20, 10}), scaled(30'000), kSmall, random);
}

TEST(RawDictTest, BehavesAsADictOfFewKeys) {
    PYRSISTENCE_TRACE_SEED;
    Random random(103);
    run_against_model<RawDict>(DictDriver(random(), 30, {40'000, 5}), scaled(100'000), kSmall, random);
}

TEST(RawDictTest, ThrowsNothingAwayWhenKilled) {
    PYRSISTENCE_TRACE_SEED;
    Random random(104);
    run_and_kill<RawDict>(DictDriver(random(), 1000, {300'000, 10}), scaled(60), kSmall, random);
    run_and_kill<RawDict>(DictDriver(random(), 30'000, {300, 0}), scaled(30), kMedium, random);
}

TEST(RawDictTest, IsAPrefixAfterAPowerFailure) {
    PYRSISTENCE_TRACE_SEED;
    Random random(105);
    run_and_lose_power<RawDict>(DictDriver(random(), 300, {100'000, 10}), scaled(80), kSmall, random);
}

TEST(RawDictTest, ErasesAKeyOnlyIfItsValueIsTheOneExpected) {
    TempDir dir;
    RawDict dict(dir / "store");
    Buffer identity, entry, value;
    put_uint(identity, 7);
    entry.append(identity);
    put_uint(entry, 42);
    dict.set({entry, identity.size(), identity.size()});
    ASSERT_TRUE(dict.get(identity, value));
    EXPECT_FALSE(dict.erase(identity, identity)) << "another value";
    EXPECT_EQ(dict.size(), 1u);
    EXPECT_TRUE(dict.erase(identity, value));
    EXPECT_FALSE(dict.erase(identity, value)) << "gone";
    EXPECT_TRUE(dict.empty());
    dict.check();
}

TEST(RawDictTest, LooksUpEveryKey) {
    Random random(106);
    TempDir dir;
    DictDriver driver(random(), 5000, {5000, 2});
    OpenStore<RawDict> open(dir / "store", nullptr, kSmall);
    for (int i = 0; i < 10'000; ++i) driver.step(&*open);
    driver.expect_lookups(*open);
    open.close();
    OpenStore<RawDict> again(dir / "store", nullptr, kSmall, Mode::read);
    driver.expect_lookups(*again);
}

class DictTest : public ::testing::Test {
protected:
    static DictEntry entry(Buffer& out, std::string_view key, std::string_view value) {
        out.clear();
        put_text(out, key, false);
        const std::size_t size = out.size();
        put_bytes(out, as_bytes(value));
        return {out, size, size};
    }
    static bool set(RawDict& dict, std::string_view key, std::string_view value) {
        Buffer out;
        return dict.set(entry(out, key, value));
    }
    TempDir dir_;
};

TEST_F(DictTest, NeverGivesAnIdTwice) {
    EntryId last = 0;
    for (int round = 0; round < 4; ++round) {
        RawDict dict(dir_ / "store");
        EXPECT_GT(dict.next_id(), last);
        for (int i = 0; i < 10; ++i) set(dict, std::to_string(i), "x");
        last = dict.next_id() - 1;
        Buffer entry;
        if (round % 2 == 0) dict.clear();
        else while (dict.pop_last(entry)) {
            }
        EXPECT_GT(dict.next_id(), last);
    }
}

TEST_F(DictTest, LongIdentitiesAreDigests) {
    RawDict dict(dir_ / "store");
    Buffer a, b;
    put_text(a, std::string(100'000, 'a'), false);
    put_text(b, std::string(100'000, 'a') + "b", false);
    RawDict::shorten_identity(a);
    RawDict::shorten_identity(b);
    EXPECT_EQ(a.size(), 17u);
    EXPECT_NE(as_text(a), as_text(b));
    Buffer out;
    out.append(a);
    put_none(out);
    EXPECT_TRUE(dict.set({out, a.size(), a.size()}));
    EXPECT_TRUE(dict.contains(a));
    EXPECT_FALSE(dict.contains(b));
    dict.check();
}

TEST_F(DictTest, SpaceComesBack) {
    PYRSISTENCE_TRACE_SEED;
    RawDict dict(dir_ / "store", {Mode::append, 4 << 20, false});
    const std::string large = content(1, 300'000);
    std::uint64_t most = 0;
    for (int i = 0; i < 400; ++i) {
        set(dict, std::to_string(i % 3), large);
        most = std::max(most, dict.info().data_bytes);
    }
    EXPECT_LT(most, 64u << 20) << "120 MB written over 900 KB";
    for (std::size_t i = 0; i < scaled(50'000); ++i) set(dict, "key " + std::to_string(i), "some value");
    Buffer entry;
    while (dict.pop_last(entry)) {
    }
    dict.checkpoint();
    dict.checkpoint();
    dict.check();
    EXPECT_LT(dict.info().live_pages, 10u);
    dict.compact();  // one page at the end may pin the file's length
    dict.close();
    EXPECT_LT(fs::file_size(dir_ / "store" / "data"), 200u << 10) << "the tail is cut off";
    EXPECT_EQ(fs::file_size(dir_ / "store" / "log"), 8192u);
}

}  // namespace
}  // namespace pyrsistence::test
