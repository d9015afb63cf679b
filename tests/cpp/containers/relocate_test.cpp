// compact(): pages move to the front of the file while everything reads as before.
#include <thread>

#include "containers/crash.hpp"
#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10;

class RelocateTest : public ::testing::Test {
protected:
    static void expect_compact(const Info& info) {
        EXPECT_LE(info.pages, info.live_pages + info.live_pages / 16 + 300);
    }

    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

template <class Raw, class Driver>
void compact_between_changes(const fs::path& path, Driver driver, const fs::path& copy) {
    OpenStore<Raw> open(path, nullptr, kSmall);
    for (int round = 0; round < 8; ++round) {
        for (int i = 0; i < 4000; ++i) driver.step(&*open);
        open->compact();
        open->check();
        ASSERT_EQ(driver.difference(*open), "");
        const Info info = open->info();
        EXPECT_LE(info.pages, 2 * info.live_pages + 300);
        for (int i = 0; i < 50; ++i) driver.step(&*open);
        open->sync();
    }
    copy_as_killed(*open, copy);
    expect_copy<Raw>(copy, driver, 0);
}

TEST_F(RelocateTest, CompactingChangesNothing) {
    compact_between_changes<RawDict>(path_, DictDriver(1, 3000, {100'000, 5}), dir_ / "copy");
    compact_between_changes<RawList>(dir_ / "list", ListDriver(2, 3000, {50'000, 3}), dir_ / "copy 2");
    constexpr SortedType kMulti = SortedType::multi_dict;
    compact_between_changes<RawSortedOf<kMulti>>(dir_ / "multi-dict", SortedDriver(3, 3000, kMulti, {50'000, 3}), dir_ / "copy 3");
}

/// An extent that began below the limit and ended far above it was left where it was.
TEST_F(RelocateTest, ALongExtentThatReachesPastTheLimitIsMoved) {
    RawList list(path_);
    const std::vector<std::byte> large(16 << 20, std::byte{1}), small(1000, std::byte{1});
    list.append(large);
    list.append(large);
    list.checkpoint();
    list.erase(0);
    list.append(small);
    list.compact();
    list.check();
    expect_compact(list.info());
    Buffer item;
    ASSERT_TRUE(list.get(0, item));
    EXPECT_EQ(item.size(), large.size());
}

TEST_F(RelocateTest, MayBeKilledAtAnyWrite) {
    for (unsigned at = 5; at < 400; at += 11) {
        TestFileSystem files;
        DictDriver driver(3, 500, {60'000, 10});
        const fs::path path = dir_.next(), copy = dir_.next();
        OpenStore<RawDict> open(path, &files, kSmall);
        for (int i = 0; i < 700; ++i) driver.step(&*open);
        open->checkpoint();
        std::atomic<unsigned> calls = 0;
        std::mutex one;
        files.hook = [&](TestFileSystem::Call call, const fs::path&) {
            const std::lock_guard guard(one);
            if (call == TestFileSystem::Call::write && ++calls == at) copy_store(path, copy);
        };
        open->compact();
        open->compact();
        files.hook = nullptr;
        if (calls < at) break;
        ASSERT_NO_FATAL_FAILURE((expect_copy<RawDict>(copy, driver, kSmall)));
    }
}

TEST_F(RelocateTest, AllContainersOfAStoreAreMoved) {
    PYRSISTENCE_TRACE_SEED;
    OpenStore<Store> open(path_, nullptr, kSmall);
    Handles handles(*open);
    World world(4, {20, 200, {60'000, 10}});
    for (int round = 0; round < 6 && !HasFailure(); ++round) {
        RawList ballast(*open, "ballast");
        for (int i = 0; i < 3000; ++i) ballast.append(as_bytes(content(1, 900)));
        for (int i = 0; i < 600; ++i) world.step(handles);
        ASSERT_TRUE(open->remove("ballast"));
        std::uint64_t told = 0;
        open->compact([&](std::uint64_t done, std::uint64_t total) {
            EXPECT_LE(done, total);
            ++told;
        });
        EXPECT_GT(told, world.containers() / 2);
        ASSERT_EQ(world.difference(*open), "");
        open->check();
        expect_compact(open->info());
    }
}

TEST_F(RelocateTest, StopsWhenItIsTold) {
    Store store(path_);
    List<std::string> list(store, "l");
    for (int i = 0; i < 5000; ++i) list.push_back(std::string(500, 'x'));
    store.checkpoint();
    struct Stop {};
    EXPECT_THROW(store.compact([](std::uint64_t, std::uint64_t) { throw Stop(); }), Stop);
    store.check();
    EXPECT_EQ(list.size(), 5000u);
    store.compact();
    store.check();
}

/// Threads write, remove containers and run transactions meanwhile.
TEST_F(RelocateTest, OtherThreadsGoOn) {
    PYRSISTENCE_TRACE_SEED;
    OpenStore<Store> open(path_, nullptr, kSmall);
    World world(6, {8, 300, {30'000, 10}});
    std::atomic<bool> stop = false;
    std::thread compacter([&] {
        while (!stop) open->compact();
    });
    std::thread checker([&] {
        while (!stop) open->check();
    });
    {
        Handles handles(*open);
        for (std::size_t i = 0; i < scaled(300) && !HasFailure(); ++i) {
            const World before = world;
            Transaction transaction(*open, false);
            for (int k = 0; k < 20; ++k) world.step(handles);
            if (i % 3 == 0) world = before;
            else transaction.commit();
        }
    }
    stop = true;
    compacter.join();
    checker.join();
    ASSERT_EQ(world.difference(*open), "");
    open->check();
    open.close();
    OpenStore<Store> again(path_, nullptr, kSmall);
    again->check();
    EXPECT_EQ(world.difference(*again), "");
}

}  // namespace
}  // namespace pyrsistence::test
