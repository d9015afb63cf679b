#include "pyrsistence/raw_list.hpp"

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

TEST(RawListTest, BehavesAsAListOfSmallItems) {
    PYRSISTENCE_TRACE_SEED;
    Random random(201);
    run_against_model<RawList>(ListDriver(random(), 20'000, {2000, 0}), scaled(200'000), kMedium, random);
}

TEST(RawListTest, BehavesAsAListOfLargeItems) {
    PYRSISTENCE_TRACE_SEED;
    Random random(202);
    run_against_model<RawList>(ListDriver(random(), 400, {2 << 20, 5}), scaled(15'000), kSmall, random);
}

TEST(RawListTest, ThrowsNothingAwayWhenKilled) {
    PYRSISTENCE_TRACE_SEED;
    Random random(203);
    run_and_kill<RawList>(ListDriver(random(), 500, {300'000, 5}), scaled(60), kSmall, random);
    run_and_kill<RawList>(ListDriver(random(), 20'000, {300, 0}), scaled(30), kMedium, random);
}

TEST(RawListTest, IsAPrefixAfterAPowerFailure) {
    PYRSISTENCE_TRACE_SEED;
    Random random(204);
    run_and_lose_power<RawList>(ListDriver(random(), 200, {100'000, 5}), scaled(80), kSmall, random);
}

class ListTest : public ::testing::Test {
protected:
    static std::vector<std::string> texts(std::size_t count, std::size_t size, std::uint64_t salt) {
        std::vector<std::string> result;
        for (std::size_t i = 0; i < count; ++i) result.push_back(content(salt + i, size));
        return result;
    }
    static std::vector<Bytes> views(const std::vector<std::string>& texts) {
        std::vector<Bytes> result;
        for (const std::string& text : texts) result.push_back(as_bytes(text));
        return result;
    }
    static std::vector<std::string> all(const RawList& list) {
        std::vector<std::string> result;
        Buffer item;
        for (std::uint64_t i = 0; i < list.size(); ++i) {
            list.get(i, item);
            result.emplace_back(as_text(item));
        }
        return result;
    }
    /// As if `before` had been read long ago.
    static bool rearrange(RawList& list, std::span<const Bytes> before, std::span<const Bytes> after) {
        Fingerprint fingerprint(UINT64_MAX);
        for (const Bytes item : before) fingerprint.add(item);
        return list.rearrange(fingerprint, [&](Bytes& item) {
            if (after.empty()) return false;
            item = after.front();
            after = after.subspan(1);
            return true;
        });
    }
    TempDir dir_;
    TestFileSystem files_;
};

TEST_F(ListTest, RanksCountFromEitherEnd) {
    RawList list(dir_ / "store");
    for (const char* text : {"a", "b", "c"}) list.append(as_bytes(text));
    Buffer item;
    ASSERT_TRUE(list.get(Rank::end_minus(1), item));
    EXPECT_EQ(as_text(item), "c");
    ASSERT_TRUE(list.pop(Rank::end_minus(3), item));
    EXPECT_EQ(as_text(item), "a");
    EXPECT_FALSE(list.get(Rank::end_minus(3), item));
    EXPECT_FALSE(list.pop(Rank::end_minus(3), item));
    EXPECT_FALSE(list.set(Rank::end_minus(3), as_bytes("x")));
    EXPECT_FALSE(list.get(Rank::end_minus(0), item));
    list.insert(Rank::end_minus(1), as_bytes("1"));
    list.insert(Rank::end_minus(9), as_bytes("2"));
    list.insert(Rank::end_minus(0), as_bytes("3"));
    ASSERT_TRUE(list.set(Rank::end_minus(2), as_bytes("4")));
    EXPECT_EQ(all(list), (std::vector<std::string>{"2", "b", "1", "4", "3"}));
}

TEST_F(ListTest, ChangesThatExpectSomethingElseDoNotHappen) {
    RawList list(dir_ / "store");
    const auto before = texts(40, 2000, 1), after = texts(40, 30, 100);
    const std::vector<Bytes> old = views(before), fresh = views(after);
    list.replace_slice(0, 0, old);
    const std::uint64_t version = list.version();
    EXPECT_FALSE(list.replace_slice(0, 1, fresh, 39));
    EXPECT_FALSE(list.erase_slice(0, 1, 1, 41));
    EXPECT_FALSE(list.set_slice(0, 1, fresh, 41));
    EXPECT_FALSE(list.erase(5, as_bytes(before[6])));
    EXPECT_FALSE(rearrange(list, fresh, old));
    EXPECT_FALSE(rearrange(list, std::span(old).first(39), fresh));
    EXPECT_EQ(list.version(), version);
    EXPECT_EQ(all(list), before);
    EXPECT_TRUE(rearrange(list, old, fresh));
    EXPECT_EQ(all(list), after);
    EXPECT_TRUE(list.erase_slice(0, 1, 38, 40));
    EXPECT_TRUE(list.erase(1, as_bytes(after[39])));
    EXPECT_TRUE(list.set_slice(0, 1, std::span(old).first(1), 1));
    EXPECT_TRUE(list.replace_slice(1, 0, std::span(old).last(1), 1));
    EXPECT_EQ(all(list), (std::vector<std::string>{before[0], before[39]}));
    list.check();
}

/// A batch larger than the log becomes a durable checkpoint, so a copy made at once has all of it.
TEST_F(ListTest, ABatchLargerThanTheLogIsDurableWhenItReturns) {
    const fs::path path = dir_ / "store";
    OpenStore<RawList> open(path, &files_, kSmall);
    std::vector<std::string> expected = texts(100, 20, 1);
    open->replace_slice(0, 0, views(expected));
    for (int round = 0; round < 5; ++round) {
        const auto more = texts(3000, 100, 1000 * static_cast<std::uint64_t>(round));
        open->replace_slice(10, 5, views(more));
        expected.erase(expected.begin() + 10, expected.begin() + 15);
        expected.insert(expected.begin() + 10, more.begin(), more.end());
        open->append(as_bytes("after"));
        expected.push_back("after");
        const fs::path copy = dir_.next();
        copy_as_killed(*open, copy);
        RawList killed(copy);
        killed.check();
        ASSERT_EQ(all(killed), expected);
        open->check();
    }
}

/// An operation that fails in the middle leaves nothing behind: the list is as before, and works.
TEST_F(ListTest, ABatchThatFailsInTheMiddleChangesNothing) {
    const fs::path path = dir_ / "store";
    OpenStore<RawList> open(path, &files_, kMedium);
    const auto before = texts(1000, 30, 1);
    open->replace_slice(0, 0, views(before));
    auto batch = texts(600, 2500, 2);  // extents: each is a write
    for (unsigned at = 1; at < 600; at += 97) {
        unsigned calls = 0;
        files_.hook = [&](TestFileSystem::Call call, const fs::path&) {
            if (call == TestFileSystem::Call::write && ++calls == at) throw StorageError("test: disk full", ENOSPC);
        };
        EXPECT_THROW(open->replace_slice(100, 50, views(batch)), StorageError);
        EXPECT_GE(calls, at);
        files_.hook = nullptr;
        ASSERT_EQ(all(*open), before);
        open->check();
        open->append(as_bytes("x"));
        open->erase(before.size());
    }
    open->replace_slice(0, before.size(), views(batch));
    open.close();
    RawList again(path);
    again.check();
    EXPECT_EQ(all(again), batch);
}

/// Another thread may shorten the list before the step begins: that was reported as corruption.
TEST_F(ListTest, ASliceThatIsNotThereIsNotSet) {
    RawList list(dir_ / "short");
    const std::vector<std::byte> item(3, std::byte{7});
    for (int i = 0; i < 10; ++i) list.append(item);
    const std::vector<Bytes> four(4, item);
    EXPECT_TRUE(list.set_slice(0, 3, four));
    EXPECT_TRUE(list.set_slice(9, -3, four));
    EXPECT_FALSE(list.set_slice(1, 3, four));
    EXPECT_FALSE(list.set_slice(8, -3, four));
    EXPECT_FALSE(list.set_slice(10, 1, four));
    EXPECT_TRUE(list.set_slice(100, 1, {}));
    list.check();
}

TEST_F(ListTest, SlicesAndReverseReachExtents) {
    RawList list(dir_ / "store", {Mode::append, 4 << 20, false});
    auto expected = texts(300, 5000, 1);
    list.replace_slice(0, 0, views(expected));
    list.reverse();
    std::reverse(expected.begin(), expected.end());
    ASSERT_EQ(all(list), expected);
    list.check();
    list.erase_slice(0, 2, 1000);
    std::vector<std::string> odd;
    for (std::size_t i = 1; i < expected.size(); i += 2) odd.push_back(expected[i]);
    ASSERT_EQ(all(list), odd);
    list.clear();
    list.checkpoint();
    list.checkpoint();
    list.check();
    EXPECT_LT(list.info().live_pages, 10u);
}

/// Sorted in place, in the log or, where that is too small, by a checkpoint: whole in any copy of the files.
TEST_F(ListTest, RearrangingIsDoneWhenItReturns) {
    for (const std::uint64_t window : {kSmall, kMedium}) {
        const fs::path path = dir_.next();
        OpenStore<RawList> open(path, &files_, window);
        for (const std::size_t size : {20UL, 1000UL, 3000UL}) {
            auto expected = texts(2000, size, 7);
            for (std::size_t i = 0; i < expected.size(); i += 50) expected[i] += content(i, 20'000);
            open->clear();
            open->replace_slice(0, 0, views(expected));
            std::vector<std::string> before = expected;
            std::ranges::sort(expected);
            ASSERT_TRUE(rearrange(*open, views(before), views(expected)));
            open->append(as_bytes("after"));
            expected.push_back("after");
            const fs::path copy = dir_.next();
            copy_as_killed(*open, copy);
            RawList killed(copy);
            killed.check();
            ASSERT_EQ(all(killed), expected);
            ASSERT_EQ(all(*open), expected);
            open->check();
        }
    }
}

TEST_F(ListTest, RearrangingThatFailsChangesNothing) {
    const fs::path path = dir_ / "store";
    OpenStore<RawList> open(path, &files_, kMedium);
    auto before = texts(600, 2500, 1);  // extents: each is a write
    open->replace_slice(0, 0, views(before));
    auto after = before;
    std::ranges::sort(after);
    for (unsigned at = 1; at < 600; at += 97) {
        unsigned calls = 0;
        files_.hook = [&](TestFileSystem::Call call, const fs::path&) {
            if (call == TestFileSystem::Call::write && ++calls == at) throw StorageError("test: disk full", ENOSPC);
        };
        EXPECT_THROW(rearrange(*open, views(before), views(after)), StorageError);
        files_.hook = nullptr;
        ASSERT_EQ(all(*open), before);
        open->check();
    }
    Fingerprint fingerprint(open->version());
    for (const std::string& text : before) fingerprint.add(as_bytes(text));
    unsigned calls = 0;
    EXPECT_THROW(open->rearrange(fingerprint, [&](Bytes& item) {
        if (++calls == 300) throw StorageError("test: the source", EIO);
        item = as_bytes("x");
        return true;
    }), StorageError);
    ASSERT_EQ(all(*open), before);
    open->check();
    EXPECT_TRUE(rearrange(*open, views(before), views(after)));
    EXPECT_EQ(all(*open), after);
    open->check();
}

/// In a transaction it is undone with the rest of it, whether its records fit into the batch or not.
TEST_F(ListTest, RearrangingInATransaction) {
    for (const std::size_t count : {100UL, 20'000UL}) {
        OpenStore<RawList> open(dir_.next(), &files_, kSmall);
        const auto before = texts(count, 30, 3);
        auto after = before;
        std::ranges::sort(after);
        open->replace_slice(0, 0, views(before));
        {
            Transaction undone(*open);
            ASSERT_TRUE(rearrange(*open, views(before), views(after)));
            EXPECT_EQ(all(*open), after);
        }
        EXPECT_EQ(all(*open), before);
        Transaction done(*open);
        ASSERT_TRUE(rearrange(*open, views(before), views(after)));
        done.commit();
        EXPECT_EQ(all(*open), after);
        open->check();
    }
}

}  // namespace
}  // namespace pyrsistence::test
