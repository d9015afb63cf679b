// Backups: a copy of one checkpoint, whatever the store does meanwhile; all of it or nothing.
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "containers/elsewhere.hpp"
#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

using Call = TestFileSystem::Call;
constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

class BackupTest : public ::testing::Test {
protected:
    static void fill(RawList& list, std::size_t items, std::uint64_t salt) {
        std::vector<std::string> texts;
        for (std::size_t i = 0; i < items; ++i) texts.push_back(content(salt + i, 500));
        std::vector<Bytes> views;
        for (const std::string& text : texts) views.push_back(as_bytes(text));
        list.replace_slice(0, list.size(), views);
    }
    static bool filled(const RawList& list, std::size_t items, std::uint64_t salt) {
        Buffer item;
        bool same = list.size() == items;
        for (std::size_t i = 0; i < items && same; ++i) same = list.get(i, item) && as_text(item) == content(salt + i, 500);
        return same;
    }
    /// Nothing that anybody could take for a store, and nothing in the way of the next attempt.
    static void expect_nothing(const fs::path& path) {
        EXPECT_THROW(Store(path, {.mode = Mode::read}), NotFoundError);
        if (fs::exists(path)) {
            EXPECT_TRUE(fs::is_empty(path));
        }
    }
    static std::uint64_t allocated(const fs::path& file) {
        struct stat status {};
        ::stat(file.c_str(), &status);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }

    TempDir dir_;
    TestFileSystem files_;
    const fs::path path_ = dir_ / "store", backup_ = dir_ / "backup";
};

TEST_F(BackupTest, RandomStoresAreCopiedWithTheirSnapshots) {
    PYRSISTENCE_TRACE_SEED;
    Random random(1);
    OpenStore<Store> open(path_, &files_, kSmall);
    Handles handles(*open);
    World world(random());
    std::map<std::string, World> named;
    for (std::size_t i = 0; i < scaled(60) && !HasFailure(); ++i) {
        for (std::size_t k = random.below(200); k > 0; --k) world.step(handles);
        if (random.chance(30) && named.size() < 5) {
            open->keep_snapshot(std::to_string(i));
            named.emplace(std::to_string(i), world);
        } else if (random.chance(20) && !named.empty()) {
            open->delete_snapshot(named.begin()->first);
            named.erase(named.begin());
        }
        const fs::path to = dir_.next();
        open->backup(to);
        ASSERT_EQ(world.difference(*open), "");
        {
            OpenStore<Store> copy(to, nullptr, kSmall);
            copy->check();
            ASSERT_EQ(world.difference(*copy), "");
            EXPECT_EQ(copy->info().log_bytes, 0u);
            World changed = world;
            Handles others(*copy);
            for (int k = 0; k < 300; ++k) changed.step(others);
            copy->checkpoint();
            ASSERT_EQ(copy->snapshots().size(), named.size());
            for (const auto& [name, then] : named) ASSERT_EQ(then.difference(Store(to, {.at = name})), "") << name;
            copy->check();
        }
        ASSERT_EQ(world.difference(*open), "");
        fs::remove_all(to);
    }
}

TEST_F(BackupTest, IsAStateBetweenItsBeginningAndItsEnd) {
    PYRSISTENCE_TRACE_SEED;
    OpenStore<RawDict> open(path_, &files_, kSmall);
    DictDriver driver(7, 500, {60'000, 10});
    for (int i = 0; i < 1000; ++i) driver.step(&*open);
    for (std::size_t i = 0; i < scaled(12) && !HasFailure(); ++i) {
        DictDriver expected = driver;  // done before the backup begins
        std::atomic<bool> ended = false;
        const fs::path to = dir_.next();
        std::thread copier([&] {
            open->backup(to, [&](std::uint64_t done, std::uint64_t total) {
                EXPECT_LE(done, total);
                std::this_thread::sleep_for(std::chrono::microseconds(200));
            });
            ended = true;
        });
        while (!ended) driver.step(&*open);
        copier.join();
        RawDict copy(to);
        copy.check();
        while (expected.difference(copy) != "" && expected.done() < driver.done()) expected.step(nullptr);
        EXPECT_EQ(expected.difference(copy), "");
    }
    open->check();
}

/// The pages of the meta data were copied as they were when copying began: a newer one would have named pages
/// that are not in the backup.
TEST_F(BackupTest, ACheckpointThatEndsMeanwhileIsNotInIt) {
    OpenStore<RawList> open(path_, &files_, kMedium);
    fill(*open, 1000, 1);
    files_.hook = [&](Call call, const fs::path& path) {
        if (call != Call::create || path != backup_ / "data.new") return;
        for (std::uint64_t i = 2; i < 5; ++i) {
            fill(*open, 1000, 1000 * i);
            open->checkpoint();
        }
    };
    open->backup(backup_);
    files_.hook = nullptr;
    EXPECT_TRUE(filled(*open, 1000, 4000));
    RawList copy(backup_);
    copy.check();
    EXPECT_TRUE(filled(copy, 1000, 1));
    copy.close();
    const auto data = os::FileSystem::posix().open(backup_ / "data", os::Access::read_only);
    EXPECT_GE(storage::Meta::read(*data, "the backup").checkpoint, 3u);
}

/// Pages of a named snapshot that was deleted after the backup began were used again before they had been copied.
TEST_F(BackupTest, ASnapshotThatIsDeletedMeanwhileIsInIt) {
    for (const bool by_reader : {false, true}) {
        OpenStore<Store> open(path_, &files_, kMedium);
        RawList list(*open, "l");
        fill(list, 1000, 1);
        open->keep_snapshot("s");
        fill(list, 1000, 1000);
        open->checkpoint();
        Elsewhere reader(path_);
        const auto delete_it = [&](Call call, const fs::path& path) {
            if (call != Call::create || path != backup_ / "data.new") return;
            open->delete_snapshot("s");
            for (std::uint64_t i = 2; i < 5; ++i) {
                fill(list, 1000, 1000 * i);
                open->checkpoint();
            }
        };
        (by_reader ? reader.files : files_).hook = delete_it;
        if (by_reader) reader.backup(backup_);
        else open->backup(backup_);
        files_.hook = nullptr;
        EXPECT_TRUE(open->snapshots().empty());
        {
            Store copy(backup_);
            EXPECT_EQ(copy.verify().fault_count, 0u);
            EXPECT_TRUE(filled(RawList(copy, "l"), 1000, 1000));
            EXPECT_TRUE(filled(RawList(backup_, {.name = "l", .at = "s"}), 1000, 1));
        }
        fs::remove_all(backup_);
        open->checkpoint();
        open->check();  // all of its pages are free again
    }
}

/// A writer whose operation went into a checkpoint waited for the backup to end, and whoever told the user of the
/// backup's progress waited for that writer.
TEST_F(BackupTest, ProgressMayUseTheStoreBesideAnyWriter) {
    OpenStore<RawList> open(path_, &files_, kSmall);
    fill(*open, 5000, 1);
    std::atomic<bool> ended = false;
    std::atomic<int> written = 0;
    std::thread writer([&] {
        RawList list(path_);
        for (std::uint64_t i = 0; !ended; ++i, ++written) {
            fill(list, 600, 1000 * i);  // outgrows the log
            storage::WriteStep step(open.store());
            step.create(storage::ContainerType::list, "never");  // has the store go back
        }
    });
    int calls = 0;
    open->backup(backup_, [&](std::uint64_t, std::uint64_t) {
        const int before = written;
        if (++calls < 4) {
            while (written < before + 2) std::this_thread::yield();
        }
        EXPECT_GE(open->size(), 600u);
    });
    ended = true;
    writer.join();
    EXPECT_GT(calls, 0);
    RawList copy(backup_);
    copy.check();
    EXPECT_TRUE(copy.size() == 600 || filled(copy, 5000, 1));
    open->check();
}

TEST_F(BackupTest, LeavesNothingWhenItIsCancelled) {
    Store store(path_);
    RawList list(store, "l");
    fill(list, 5000, 1);
    struct Cancelled {};
    for (const bool exists : {false, true}) {
        if (exists) fs::create_directory(backup_);
        for (int at = 1; at < 4; ++at) {
            int calls = 0;
            EXPECT_THROW(store.backup(backup_, [&](std::uint64_t, std::uint64_t) {
                if (++calls == at) throw Cancelled();
            }), Cancelled);
            expect_nothing(backup_);
            EXPECT_EQ(fs::exists(backup_), exists) << "a directory that was there stays";
        }
    }
    store.backup(backup_);
    store.check();
    EXPECT_TRUE(filled(RawList(backup_, {.name = "l"}), 5000, 1));
}

TEST_F(BackupTest, MayFailAtAnyCall) {
    OpenStore<RawList> open(path_, &files_, kMedium);
    fill(*open, 2000, 1);
    open->checkpoint();
    for (const int code : {ENOSPC, EIO}) {
        for (unsigned at = 1;; ++at) {
            SCOPED_TRACE("call " + std::to_string(at));
            std::atomic<unsigned> calls = 0;
            files_.hook = [&](Call call, const fs::path& path) {
                if (call == Call::read || call == Call::remove) return;
                const bool destination = path.string().starts_with(backup_.string());
                if (destination && ++calls == at) throw StorageError("test: call " + std::to_string(at), code);
            };
            try {
                open->backup(backup_);
            } catch (const StorageError& error) {
                EXPECT_EQ(error.code(), code);
            }
            files_.hook = nullptr;
            ASSERT_TRUE(filled(*open, 2000, 1)) << "the store is as before";
            if (calls < at) break;
            expect_nothing(backup_);
            ASSERT_LT(at, 100u);
        }
        open->check();
        EXPECT_TRUE(filled(RawList(backup_), 2000, 1));
        fs::remove_all(backup_);
    }
}

TEST_F(BackupTest, NeedsADirectoryOfItsOwn) {
    Store store(path_);
    RawList list(store, "l");
    fill(list, 10, 1);
    Store(backup_).close();
    EXPECT_THROW(store.backup(backup_), ExistsError);
    EXPECT_THROW(store.backup(path_), ExistsError);
    Store(backup_).check();
    std::ofstream(dir_ / "file") << "mine";
    EXPECT_THROW(store.backup(dir_ / "file"), ExistsError);
    fs::create_directory(dir_ / "full");
    std::ofstream(dir_ / "full" / "notes") << "mine";
    EXPECT_THROW(store.backup(dir_ / "full"), ExistsError);
    EXPECT_TRUE(fs::exists(dir_ / "full" / "notes"));
    EXPECT_THROW(store.backup(dir_ / "no" / "parent"), StorageError);
    EXPECT_FALSE(fs::exists(dir_ / "no"));
    fs::create_directory(dir_ / "empty");
    store.backup(dir_ / "empty");
    EXPECT_TRUE(filled(RawList(dir_ / "empty", {.name = "l"}), 10, 1));
    Transaction transaction(store);
    EXPECT_THROW(store.backup(dir_ / "other"), Error);
    expect_nothing(dir_ / "other");
}

/// The second one took the first one's files for its own, failed, and removed them.
TEST_F(BackupTest, TwoAtOnceDoNotMix) {
    Store store(path_);
    RawList list(store, "l");
    fill(list, 3000, 1);
    bool tried = false;
    store.backup(backup_, [&](std::uint64_t, std::uint64_t) {
        if (std::exchange(tried, true)) return;
        EXPECT_THROW(store.backup(backup_), ExistsError);
        EXPECT_THROW(Store{backup_}, LockedError) << "nobody may create a store there either";
        EXPECT_THROW(Store(backup_, {.mode = Mode::read}), NotFoundError);
    });
    EXPECT_TRUE(tried);
    EXPECT_TRUE(filled(RawList(backup_, {.name = "l"}), 3000, 1));
    std::atomic<int> refused = 0, done = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            try {
                store.backup(dir_ / "other");
                ++done;
            } catch (const ExistsError&) {
                ++refused;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(done, 1);
    EXPECT_EQ(refused, 3);
    EXPECT_TRUE(filled(RawList(dir_ / "other", {.name = "l"}), 3000, 1));
}

TEST_F(BackupTest, IsSparseWhereTheStoreIsFree) {
    Store store(path_, {.memory_limit = 16 << 20});
    RawList first(store, "first");
    fill(first, 40'000, 1);
    RawList second(store, "second");
    fill(second, 100, 1);
    store.checkpoint();
    store.remove("first");
    store.checkpoint();
    store.checkpoint();
    store.backup(backup_);
    const Info info = store.info();
    EXPECT_GT(info.pages, 4000u) << "the tail is in use";
    EXPECT_LT(info.live_pages, 200u);
    EXPECT_LT(allocated(backup_ / "data"), (info.live_pages + 64) * 4096);
    EXPECT_TRUE(filled(RawList(backup_, {.name = "second"}), 100, 1));
}

TEST_F(BackupTest, OfAnEmptyStoreAndOfOneOpenedForReading) {
    {
        Store store(path_);
        store.backup(backup_);
        Store copy(backup_);
        EXPECT_EQ(copy.size(), 0u);
        copy.check();
        RawList list(copy, "l");
        fill(list, 10, 5);
        copy.check();
        RawList own(store, "l");
        fill(own, 100, 3);
        store.keep_snapshot("s");
        fill(own, 100, 4);
    }
    const Store reader(path_, {.mode = Mode::read});
    reader.backup(dir_ / "second");
    EXPECT_TRUE(filled(RawList(dir_ / "second", {.name = "l"}), 100, 4));
    EXPECT_TRUE(filled(RawList(dir_ / "second", {.name = "l", .at = "s"}), 100, 3));
    EXPECT_TRUE(filled(RawList(backup_, {.name = "l"}), 10, 5));
}

}  // namespace
}  // namespace pyrsistence::test
