// Failing disks, threads, and the space that a store takes.
#include "storage/store.hpp"

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

using Call = TestFileSystem::Call;
constexpr std::uint64_t kSmall = 64 << 10;

/// A few operations of every kind, with extents, batches, checkpoints and a close; one call to the
/// operating system fails, or all from one on until the operation has thrown.
class FaultyStoreTest : public ::testing::TestWithParam<int> {
protected:
    static constexpr int kOperations = 150;

    /// Returns how many calls there were.
    template <class Raw, class Driver>
    unsigned run(Driver driver, unsigned fail_at, bool lasting) {
        TempDir dir(true);
        TestFileSystem files;
        const fs::path path = dir / "store";
        std::atomic<unsigned> calls = 0;
        std::atomic<bool> failing = true;
        files.hook = [&](Call call, const fs::path&) {
            if (call == Call::read || call == Call::open || call == Call::list || call == Call::remove) return;
            const unsigned now = ++calls;
            if (failing && (now == fail_at || (lasting && now > fail_at))) {
                throw StorageError("test: call " + std::to_string(now), GetParam());
            }
        };
        std::optional<Driver> perhaps;  // with an operation that failed while the disk did
        try {
            OpenStore<Raw> open(path, &files, kSmall);
            const auto attempt = [&](const std::function<void()>& call) {
                try {
                    call();
                    return true;
                } catch (const Error&) {
                    failing = !lasting;  // there is room again
                    return false;
                }
            };
            for (int i = 0; i < kOperations; ++i) {
                Driver before = driver;
                if (!attempt([&] { driver.step(&*open); })) {
                    driver = before;
                    perhaps = before;
                    perhaps->step(nullptr);
                    bool poisoned = false;
                    try {
                        open->check();
                        EXPECT_EQ(driver.difference(*open), "") << "after a failed operation";
                        perhaps.reset();
                    } catch (const Error&) {
                        poisoned = true;
                    }
                    if (poisoned) break;
                } else {
                    perhaps.reset();
                }
                if (i % 20 == 19) attempt([&] { open->checkpoint(); });
                if (i % 20 == 9) attempt([&] { open->sync(); });
            }
            attempt([&] { open.close(); });
        } catch (const Error&) {
            // Creating or opening failed.
        }
        files.hook = nullptr;
        OpenStore<Raw> again(path, nullptr, kSmall);
        again->check();
        if (!perhaps || perhaps->difference(*again) != "") {
            EXPECT_EQ(driver.difference(*again), "");
        }
        for (int i = 0; i < 10; ++i) {
            if (perhaps && perhaps->difference(*again) == "") driver = *perhaps;
            perhaps.reset();
            driver.step(&*again);
        }
        EXPECT_EQ(driver.difference(*again), "");
        return calls;
    }
    template <class Raw, class Driver>
    void fail_each(const Driver& driver, bool lasting) {
        const unsigned calls = run<Raw>(driver, UINT32_MAX, false);
        ASSERT_GT(calls, 50u);
        const auto stride = std::max<unsigned>(1, static_cast<unsigned>(1 / std::min(1.0, test_scale())));
        for (unsigned at = 1; at <= calls && !HasFailure(); at += stride) {
            SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(calls));
            run<Raw>(driver, at, lasting);
        }
    }
};

TEST_P(FaultyStoreTest, ADictLosesNothing) {
    PYRSISTENCE_TRACE_SEED;
    fail_each<RawDict>(DictDriver(seed(), 20, {60'000, 200}), false);
}
TEST_P(FaultyStoreTest, ADictLosesNothingWhileTheDiskIsFull) {
    PYRSISTENCE_TRACE_SEED;
    fail_each<RawDict>(DictDriver(seed() + 1, 20, {60'000, 200}), true);
}
TEST_P(FaultyStoreTest, AListLosesNothing) {
    PYRSISTENCE_TRACE_SEED;
    fail_each<RawList>(ListDriver(seed() + 2, 500, {10'000, 50}), false);
}
TEST_P(FaultyStoreTest, AMultiDictLosesNothing) {
    PYRSISTENCE_TRACE_SEED;
    constexpr SortedType kMulti = SortedType::multi_dict;
    fail_each<RawSortedOf<kMulti>>(SortedDriver(seed() + 3, 100, kMulti, {20'000, 50}), false);
}
INSTANTIATE_TEST_SUITE_P(Errors, FaultyStoreTest, ::testing::Values(ENOSPC, EIO));

class StoreTest : public ::testing::Test {
protected:
    static DictEntry entry(Buffer& out, std::uint64_t key, std::string_view value) {
        out.clear();
        put_uint(out, key);
        const std::size_t size = out.size();
        put_bytes(out, as_bytes(value));
        return {out, size, size};
    }
    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(StoreTest, AFullDiskStopsWritersOnly) {
    TestFileSystem files;
    OpenStore<RawDict> open(path_, &files, kSmall);
    DictDriver driver(3, 500, {60'000, 10});
    for (int i = 0; i < 1000; ++i) driver.step(&*open);
    std::atomic<bool> full = true;
    files.hook = [&](Call call, const fs::path&) {
        if (full && (call == Call::write || call == Call::allocate)) throw StorageError("test: disk full", ENOSPC);
    };
    int refused = 0;
    for (int i = 0; i < 5000 && refused < 20; ++i) {
        DictDriver before = driver;
        try {
            driver.step(&*open);
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), ENOSPC) << error.what();
            driver = before;
            ++refused;
            ASSERT_EQ(driver.difference(*open), "");
        }
    }
    EXPECT_EQ(refused, 20);
    full = false;
    for (int i = 0; i < 1000; ++i) driver.step(&*open);
    open->check();
    open.close();
    OpenStore<RawDict> again(path_, nullptr, kSmall);
    EXPECT_EQ(driver.difference(*again), "");
}

/// What a failed fsync leaves on the disk is unknown: the handle is of no more use, but what it had
/// returned is in the kernel, and a new handle has it.
TEST_F(StoreTest, AFailedSyncPoisonsTheHandle) {
    TestFileSystem files;
    auto open = std::make_unique<OpenStore<RawDict>>(path_, &files, kSmall);
    DictDriver driver(4, 500, {60'000, 10});
    for (int i = 0; i < 500; ++i) driver.step(&**open);
    (*open)->checkpoint();
    unsigned syncs = 0;  // of this thread, beside which a checkpoint may begin
    files.hook = [&, here = std::this_thread::get_id()](Call call, const fs::path&) {
        if (call != Call::sync || std::this_thread::get_id() != here) return;
        if (++syncs == 1) throw StorageError("test: lost page", EIO);
    };
    for (int i = 0; i < 5; ++i) driver.step(&**open);
    EXPECT_THROW((*open)->sync(), StorageError);
    EXPECT_THROW((*open)->sync(), StorageError);
    EXPECT_THROW((*open)->checkpoint(), StorageError);
    EXPECT_THROW((void)(*open)->size(), StorageError);
    EXPECT_EQ(syncs, 1u) << "never retried";
    EXPECT_THROW((*open).close(), StorageError);
    open.reset();
    OpenStore<RawDict> again(path_, nullptr, kSmall);
    again->check();
    EXPECT_EQ(driver.difference(*again), "");
}

TEST_F(StoreTest, ReadersAndWritersOfOneStoreMayBeThreads) {
    constexpr std::uint64_t kKeys = 2000;
    RawDict writer(path_, {Mode::append, 4 << 20, false});
    RawDict reader(path_, {Mode::append, 4 << 20, false});
    Buffer out;
    for (std::uint64_t key = 0; key < kKeys; ++key) writer.set(entry(out, key, content(key, key % 3000)));
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            Random random(500 + t);
            Buffer key, value, expected;
            Chunk chunk;
            while (!stop) {
                const std::uint64_t number = random.below(kKeys);
                key.clear();
                put_uint(key, number);
                ASSERT_TRUE(reader.get(key, value));
                expected.clear();  // each value holds nothing but the content of its key, at some length
                put_bytes(expected, as_bytes(content(number, number % 3000)));
                ASSERT_EQ(as_text(value), as_text(expected));
                reader.read(random.below(kKeys), 10, chunk);
                if (random.below(200) == 0) (void)reader.info();
                if (random.below(500) == 0) reader.sync();
                if (t == 0 && random.below(1000) == 0) reader.check();
            }
        });
    }
    Random random(510);
    for (std::size_t i = 0; i < scaled(40'000); ++i) {
        const std::uint64_t key = random.below(kKeys);
        writer.set(entry(out, key, content(key, key % 3000)));
        if (random.below(2000) == 0) writer.checkpoint();
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    writer.check();
    EXPECT_EQ(writer.size(), kKeys);
}

/// A writer that waited for a checkpoint went on while another one stood in the middle of a batch,
/// because both were woken by its end.
TEST_F(StoreTest, WritersWaitForBatchesInTheMiddle) {
    OpenStore<RawList> open(path_, nullptr, kSmall);
    std::vector<std::thread> threads;
    constexpr std::size_t kThreads = 3, kBatch = 40;
    for (std::size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            RawList list(path_);
            std::vector<std::string> texts(kBatch, content(t, 1100));
            std::vector<Bytes> views;
            for (const auto& text : texts) views.push_back(as_bytes(text));
            for (std::size_t i = 0; i < scaled(150); ++i) {
                list.replace_slice(0, 0, views);
                if (i % 3 == t) list.checkpoint();
                if (list.size() > 50 * kBatch) list.erase_slice(20 * kBatch, 1, UINT32_MAX);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    open->check();
    ASSERT_EQ(open->size() % kBatch, 0u);
    Buffer first, item;
    for (std::uint64_t rank = 0; rank < open->size(); ++rank) {
        open->get(rank, item);
        if (rank % kBatch == 0) first.assign(item);
        ASSERT_EQ(as_text(item), as_text(first)) << "batches are mixed at " << rank;
    }
}

TEST_F(StoreTest, TwoThreadsThatOpenANewStoreGetOneContainer) {
    for (int round = 0; round < 20; ++round) {
        const fs::path path = dir_.next();
        std::vector<std::thread> threads;
        for (std::uint64_t t = 0; t < 3; ++t) {
            threads.emplace_back([&, t] {
                RawDict dict(path);
                Buffer out;
                dict.set(entry(out, t, "x"));
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(RawDict(path).size(), 3u);
    }
}

TEST_F(StoreTest, CheckpointsEmptyTheLogAndAreNumbered) {
    OpenStore<RawDict> open(path_, nullptr, 0);
    const std::uint64_t first = open->info().checkpoint;
    open->checkpoint();
    Buffer out;
    open->set(entry(out, 1, "x"));
    EXPECT_GT(open->info().log_bytes, 0u);
    open->checkpoint();
    EXPECT_EQ(open->info().log_bytes, 0u);
    const std::uint64_t second = open->info().checkpoint;
    EXPECT_GT(second, first);
    open->checkpoint();
    open->sync();
    EXPECT_EQ(open->info().checkpoint, second) << "nothing had changed";
    EXPECT_LE(open->info().frame_bytes, open->info().memory_limit);
}

}  // namespace
}  // namespace pyrsistence::test
