// Transactions of one thread: what they hold together, what rolling back leaves, and what a kill or a power
// failure finds. Threads and failing disks have files of their own.
#include <fstream>
#include <thread>

#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

/// What another thread sees.
std::string seen_by_another_thread(const World& world, const Store& store) {
    std::string difference;
    std::thread([&] { difference = world.difference(store); }).join();
    return difference;
}

class TransactionTest : public ::testing::Test {
protected:
    static void put(RawDict& dict, std::uint64_t key, std::string_view value = "value") {
        Buffer out;
        put_uint(out, key);
        const std::size_t size = out.size();
        put_bytes(out, as_bytes(value));
        dict.set({out, size, size});
    }
    static bool has(const RawDict& dict, std::uint64_t key) {
        Buffer out;
        put_uint(out, key);
        return dict.contains(out);
    }

    TempDir dir_;
    TestFileSystem files_;
    const fs::path path_ = dir_ / "store";
};

/// Random worlds with nested savepoints, each of which ends either way; the store is checked and compared
/// with its model after every outermost end, and killed within and after transactions.
class RandomTransactions {
public:
    RandomTransactions(std::uint64_t salt, Population population, std::uint64_t log_window, std::size_t longest)
        : random_(salt), log_window_(log_window), longest_(longest), now_(random_(), population) {
        reopen();
    }

    void run(std::size_t transactions) {
        for (std::size_t i = 0; i < transactions && !::testing::Test::HasFailure(); ++i) {
            SCOPED_TRACE("transaction " + std::to_string(i));
            for (std::size_t k = random_.below(10); k > 0; --k) now_.step(*handles_);
            before_ = now_;
            transaction(random_.below(longest_));
            (*open_)->check();
            ASSERT_EQ(now_.difference(**open_), "");
            if (random_.chance(10)) (*open_)->checkpoint();
            if (random_.chance(10)) expect_killed(now_);
            if (random_.chance(5)) reopen();
        }
    }

private:
    void reopen() {
        handles_.reset();
        open_.reset();
        open_ = std::make_unique<OpenStore<Store>>(dir_ / "store", &files_, log_window_);
        handles_ = std::make_unique<Handles>(**open_);
        ASSERT_EQ(now_.difference(**open_), "");
    }
    void transaction(std::size_t operations, unsigned depth = 1) {
        const World before = now_;
        Transaction transaction(**open_, random_.chance(20));
        while (operations > 0) {
            now_.step(*handles_);
            --operations;
            if (depth < 6 && random_.below(40) == 0) {
                const std::size_t part = random_.below(operations + 1);
                this->transaction(part, depth + 1);
                operations -= part;
            }
            if (random_.below(200) == 0) look_around();
        }
        if (random_.chance(50)) return transaction.commit();
        if (random_.chance(70)) transaction.roll_back();
        now_ = before;  // else the destructor undoes it
    }
    /// In the middle of a transaction.
    void look_around() {
        ASSERT_EQ(now_.difference(**open_), "");
        ASSERT_EQ(seen_by_another_thread(before_, **open_), "");
        (*open_)->check();
        if (random_.chance(20)) (*open_)->sync();
        if (random_.chance(20)) expect_killed(before_);
        EXPECT_THROW((*open_)->checkpoint(), Error);
    }
    void expect_killed(const World& expected) {
        const fs::path copy = dir_.next();
        {
            const auto still = files_.stand_still();
            copy_store(dir_ / "store", copy);
        }
        OpenStore<Store> killed(copy, nullptr, log_window_);
        killed->check();
        ASSERT_EQ(expected.difference(*killed), "") << "after a kill";
        killed.close();
        fs::remove_all(copy);
    }

    TempDir dir_{true};
    TestFileSystem files_;
    Random random_;
    std::uint64_t log_window_;
    std::size_t longest_;
    World now_, before_ = now_;
    std::unique_ptr<OpenStore<Store>> open_;
    std::unique_ptr<Handles> handles_;
};

TEST_F(TransactionTest, RandomOnesEqualTheirModel) {
    PYRSISTENCE_TRACE_SEED;
    RandomTransactions(1, {}, kMedium, 200).run(scaled(250));
}
TEST_F(TransactionTest, RandomOnesWithManySmallContainers) {
    PYRSISTENCE_TRACE_SEED;
    RandomTransactions(2, {40, 20, {3000, 1}}, kSmall, 100).run(scaled(250));
}
TEST_F(TransactionTest, RandomOnesThatOutgrowTheLog) {
    PYRSISTENCE_TRACE_SEED;
    RandomTransactions(3, {4, 300, {200'000, 10}}, kSmall, 1500).run(scaled(60));
}
TEST_F(TransactionTest, RandomOnesThatOutgrowTheFrames) {
    PYRSISTENCE_TRACE_SEED;
    RandomTransactions(4, {3, 30'000, {20'000, 1}}, std::uint64_t{16} << 20, 40'000).run(scaled(12));
}

/// Committed transactions survive a power failure as wholes; a durable one that has returned survives.
TEST_F(TransactionTest, AfterAPowerFailureThereAreWholeOnesOnly) {
    PYRSISTENCE_TRACE_SEED;
    Random random(11);
    files_.track_power = true;
    OpenStore<Store> open(path_, &files_, kSmall);
    Handles handles(*open);
    World now(12, {4, 60, {60'000, 10}});
    std::vector<World> states;  // that a disk may hold
    open->sync();
    for (std::size_t i = 0; i < scaled(60) && !HasFailure(); ++i) {
        states = {now};
        for (std::size_t k = random.below(8); k > 0; --k) {
            const World before = now;
            const bool durable = random.chance(30);
            Transaction transaction(*open, durable);
            for (std::size_t op = random.below(random.chance(20) ? 300 : 20); op > 0; --op) now.step(handles);
            if (random.chance(20)) {
                transaction.roll_back();
                now = before;
                continue;
            }
            transaction.commit();
            if (durable) states.clear();
            states.push_back(now);
        }
        const fs::path disk = dir_.next();
        constexpr unsigned kKept[] = {0, 20, 50, 90, 100};
        files_.lose_power(path_, disk, random, kKept[random.below(5)]);
        OpenStore<Store> after(disk, nullptr, kSmall);
        after->check();
        const bool known = std::ranges::any_of(states, [&](const World& one) { return one.difference(*after).empty(); });
        EXPECT_TRUE(known) << "failure " << i << ": " << states.back().difference(*after);
        after.close();
        fs::remove_all(disk);
        open->sync();
    }
}

TEST_F(TransactionTest, ARollBackCrossesACheckpointThatBeganBefore) {
    for (const bool commit : {false, true}) {
        const fs::path path = dir_.next();
        OpenStore<Store> open(path, &files_, kMedium);
        Handles handles(*open);
        World world(21);
        for (int i = 0; i < 300; ++i) world.step(handles);
        std::atomic<bool> stopped = false, go = false;
        files_.hook = [&](TestFileSystem::Call call, const fs::path& file) {
            if (call != TestFileSystem::Call::sync || file.filename() != "data") return;
            stopped = true;
            while (!go) std::this_thread::yield();
        };
        std::thread checkpoint([&] { open->checkpoint(); });
        while (!stopped) std::this_thread::yield();
        World before = world;
        {
            Transaction transaction(*open);
            for (int i = 0; i < 100; ++i) world.step(handles);
            {
                Transaction savepoint(*open);
                World inner = world;
                for (int i = 0; i < 50; ++i) inner.step(handles);
            }
            ASSERT_EQ(world.difference(*open), "");
            go = true;
            checkpoint.join();
            files_.hook = nullptr;
            for (int i = 0; i < 100; ++i) world.step(handles);
            ASSERT_EQ(world.difference(*open), "");
            ASSERT_EQ(seen_by_another_thread(before, *open), "");
            if (commit) transaction.commit();
        }
        const World& expected = commit ? world : before;
        ASSERT_EQ(expected.difference(*open), "");
        open->check();
        copy_as_killed(*open, path.string() + " copy");
        OpenStore<Store> killed(path.string() + " copy", nullptr, kMedium);
        killed->check();
        EXPECT_EQ(expected.difference(*killed), "");
    }
}

// --- containers within transactions

TEST_F(TransactionTest, AHandleOnAContainerThatWasUndoneNeverReachesAnother) {
    Store store(path_);
    std::optional<RawDict> undone;
    {
        Transaction transaction(store);
        undone.emplace(store, "first");
        put(*undone, 1);
    }
    RawDict second(store, "second");
    put(second, 2);
    EXPECT_THROW((void)undone->size(), ClosedError);
    EXPECT_THROW(put(*undone, 3), ClosedError);
    EXPECT_EQ(store.size(), 1u);
    EXPECT_EQ(second.size(), 1u);
    store.check();
}

/// The store counted containers anew after it had gone back to its checkpoint, and gave an id out twice.
TEST_F(TransactionTest, IdsOfContainersAreNotReusedAfterAFailure) {
    OpenStore<Store> open(path_, &files_, kMedium);
    std::optional<RawList> undone;
    const std::string large = content(1, 50'000);
    {
        Transaction transaction(*open);
        undone.emplace(*open, "first");
        undone->append(as_bytes("x"));
        files_.hook = [](TestFileSystem::Call call, const fs::path&) {
            if (call == TestFileSystem::Call::write) throw StorageError("test: disk full", ENOSPC);
        };
        const std::vector<Bytes> items(3, as_bytes(large));
        EXPECT_THROW(undone->replace_slice(0, 1, items), StorageError);
        files_.hook = nullptr;
    }
    RawList second(*open, "second");
    second.append(as_bytes("y"));
    EXPECT_THROW((void)undone->size(), ClosedError);
    EXPECT_THROW(undone->append(as_bytes("z")), ClosedError);
    EXPECT_EQ(second.size(), 1u);
    open->check();
}

/// A catalog page without entries was made when the first container had an id that needs two levels.
TEST_F(TransactionTest, ManyContainersThatWereUndoneLeaveACatalogThatOpens) {
    {
        Store store(path_);
        {
            Transaction transaction(store);
            for (int i = 0; i < 700; ++i) RawDict(store, "undone " + std::to_string(i));
        }
        EXPECT_EQ(store.size(), 0u);
        RawDict dict(store, "kept");
        put(dict, 7);
        copy_store(path_, dir_ / "copy");
    }
    for (const fs::path& path : {path_, dir_ / "copy"}) {
        Store store(path);
        store.check();
        EXPECT_TRUE(has(RawDict(store, "kept"), 7));
        EXPECT_EQ(store.size(), 1u);
    }
}

TEST_F(TransactionTest, ARemovedContainerComesBackWithItsHandles) {
    Store store(path_);
    RawDict dict(store, "a");
    for (std::uint64_t i = 0; i < 5000; ++i) put(dict, i);
    {
        Transaction transaction(store);
        EXPECT_TRUE(store.remove("a"));
        EXPECT_THROW((void)dict.size(), ClosedError);
        RawList other(store, "a");
        other.append(as_bytes("x"));
        EXPECT_EQ(store.type_of("a"), "list");
    }
    EXPECT_EQ(store.type_of("a"), "dict");
    EXPECT_EQ(dict.size(), 5000u);
    put(dict, 5000);
    store.check();
}

// --- how they begin and end

TEST_F(TransactionTest, EndsInTheReverseOrderOnly) {
    Store store(path_);
    RawDict dict(store, "d");
    {
        Transaction outer(store);
        put(dict, 1);
        Transaction inner(store);
        put(dict, 2);
        EXPECT_THROW(outer.commit(), Error);
        EXPECT_EQ(dict.size(), 2u) << "nothing has happened";
        inner.commit();
        EXPECT_THROW(inner.commit(), Error);
        outer.commit();
        EXPECT_THROW(outer.commit(), Error);
        outer.roll_back();
    }
    EXPECT_EQ(dict.size(), 2u);
    auto outer = std::make_unique<Transaction>(store);
    put(dict, 3);
    auto inner = std::make_unique<Transaction>(store);
    put(dict, 4);
    outer.reset();  // undoes the inner one as well
    EXPECT_EQ(dict.size(), 2u);
    Transaction other(store);
    put(dict, 5);
    EXPECT_THROW(inner->commit(), Error);
    inner.reset();  // has ended: the new one is none of its business
    EXPECT_EQ(dict.size(), 3u);
    other.commit();
    EXPECT_EQ(dict.size(), 3u);
    EXPECT_EQ(storage::Store::open_transactions(), 0u);
}

TEST_F(TransactionTest, AnErrorWithoutAChangeDoesNotEndOne) {
    Store store(path_);
    RawDict dict(store, "d");
    Transaction transaction(store);
    put(dict, 1);
    EXPECT_THROW(RawList(store, "d"), FormatError);
    EXPECT_THROW(RawList(store, std::string(5000, 'x')), FormatError);
    EXPECT_THROW(store.checkpoint(), Error);
    EXPECT_THROW(store.compact(), Error);
    EXPECT_THROW(store.backup(dir_ / "backup"), Error);
    EXPECT_THROW(store.keep_snapshot("s"), Error);
    EXPECT_THROW(store.delete_snapshot("s"), Error);
    EXPECT_FALSE(fs::exists(dir_ / "backup"));
    store.sync();
    put(dict, 2);
    transaction.commit();
    EXPECT_EQ(dict.size(), 2u);
}

TEST_F(TransactionTest, OutlivesTheHandlesOfItsStore) {
    for (const bool commit : {true, false}) {
        {
            auto store = std::make_unique<Store>(path_);
            auto dict = std::make_unique<RawDict>(*store, "d");
            Transaction transaction(*store);
            put(*dict, commit ? 1 : 2);
            dict.reset();
            store.reset();
            if (commit) transaction.commit();
        }
        EXPECT_EQ(fs::file_size(path_ / "log"), 8192u) << "the store was closed";
        const RawDict dict(path_, {.mode = Mode::read, .name = "d"});
        EXPECT_TRUE(has(dict, 1));
        EXPECT_FALSE(has(dict, 2));
    }
}

/// The engine's own handle may go while a transaction is open.
TEST_F(TransactionTest, ClosingUndoesWhatIsOpen) {
    { put(*std::make_unique<RawDict>(path_), 1); }
    for (const bool temporary : {false, true}) {
        storage::StoreOptions options;
        options.temporary = temporary;
        const fs::path path = temporary ? dir_ / "temporary" : path_;
        auto engine = storage::Store::open(path, options);
        auto dict = std::make_unique<RawDict>(path);
        engine->begin();
        put(*dict, 2);
        engine->begin();
        put(*dict, 3);
        dict.reset();
        storage::Store::release(engine);
        EXPECT_EQ(storage::Store::open_transactions(), 0u);
    }
    RawDict dict(path_);
    EXPECT_EQ(dict.size(), 1u);
    dict.check();
}

TEST_F(TransactionTest, ReadOnlyHandlesBeginNone) {
    Store store(path_);
    Store reader(path_, {.mode = Mode::read});
    EXPECT_THROW(Transaction{reader}, ReadOnlyError);
    Store snapshot = store.snapshot();
    EXPECT_THROW(Transaction{snapshot}, ReadOnlyError);
    store.close();
    EXPECT_THROW(Transaction{store}, ClosedError);
}

TEST_F(TransactionTest, VersionsGrowWithEveryWayOut) {
    Store store(path_);
    RawDict dict(store, "d");
    std::uint64_t last = store.version();
    const auto grew = [&] { return store.version() > std::exchange(last, store.version()); };
    {
        Transaction transaction(store);
        put(dict, 1);
        EXPECT_TRUE(grew());
    }
    EXPECT_TRUE(grew()) << "what was cached within the transaction is void";
    Transaction transaction(store);
    put(dict, 1);
    EXPECT_TRUE(grew());
    std::uint64_t elsewhere = 0;
    std::thread([&] {
        Chunk chunk;
        dict.read(0, 10, chunk);
        elsewhere = chunk.version;
        EXPECT_EQ(chunk.items.size(), 0u);
    }).join();
    EXPECT_LT(elsewhere, last);
    transaction.commit();
}

/// The operations of a transaction were counted when they happened, its commit not: what others had read in between was
/// taken for what they saw afterwards.
TEST_F(TransactionTest, VersionsAreOfWhatTheCallerSees) {
    Store store(path_);
    RawDict dict(store, "d");
    const std::uint64_t before = store.version();
    const auto elsewhere = [&] {
        std::pair<std::uint64_t, std::uint64_t> seen;
        std::thread([&] { seen = {store.version(), dict.size()}; }).join();
        return seen;
    };
    {
        Transaction transaction(store);
        put(dict, 1);
        EXPECT_EQ(elsewhere(), std::pair(before, std::uint64_t{0}));
    }
    const auto undone = elsewhere();
    Transaction transaction(store);
    put(dict, 1);
    EXPECT_EQ(elsewhere(), undone);
    const std::uint64_t within = store.version();
    transaction.commit();
    EXPECT_GT(elsewhere().first, within) << "somebody may have seen this number when it was not yet true";
    EXPECT_EQ(elsewhere(), std::pair(store.version(), std::uint64_t{1}));
}

// --- space

/// A transaction copied every page that it changed to the end of the file, because the pages before it were
/// held until the next checkpoint.
TEST_F(TransactionTest, ManySmallOnesDoNotGrowTheFile) {
    Store store(path_, {.memory_limit = 64 << 20});
    RawDict dict(store, "d");
    RawList list(store, "l");
    for (std::uint64_t i = 0; i < 20'000; ++i) put(dict, i);
    store.checkpoint();
    const std::uint64_t before = store.info().pages;
    std::uint64_t most = 0;
    Random random(31);
    for (std::size_t i = 0; i < scaled(1'000'000); ++i) {
        Transaction transaction(store, false);
        put(dict, random.below(50) * 400, std::to_string(i));
        list.append(as_bytes("item"));
        list.erase(0);
        if (i % 10 != 0) transaction.commit();
        if (i % 1000 == 0) most = std::max(most, store.info().pages);
    }
    // Pages that were changed since the checkpoint exist twice; a checkpoint under way holds a third state.
    EXPECT_LT(most, before + 600);
    store.check();
}

std::uint64_t private_memory() {
    std::ifstream file("/proc/self/status");
    for (std::string word; file >> word;) {
        std::uint64_t kib = 0;
        if (word == "RssAnon:" && file >> kib) return kib << 10;
    }
    return 0;
}

TEST_F(TransactionTest, AHugeOneTakesBoundedMemory) {
    constexpr std::uint64_t kLimit = 8 << 20;
    Store store(path_, {.memory_limit = kLimit});
    RawDict dict(store, "d");
    RawList list(store, "l");
    put(dict, 0);
    [[maybe_unused]] const std::uint64_t memory = private_memory();
    std::uint64_t most = 0, frames = 0;
    const std::size_t count = scaled(400'000);
    for (const bool commit : {false, true}) {
        Transaction transaction(store);
        for (std::size_t i = 1; i <= count; ++i) {
            put(dict, i * 7919 % count, content(i, 100));
            if (i % 100 == 0) list.append(as_bytes(content(i, 5000)));
            if (i % 1000 != 0) continue;
            frames = std::max(frames, store.info().frame_bytes);
            most = std::max(most, private_memory());
        }
        if (commit) transaction.commit();
    }
    EXPECT_LE(frames, kLimit);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LE(most, memory + 3 * kLimit);
#endif
    EXPECT_EQ(dict.size(), count);
    store.check();
    store.close();
    EXPECT_EQ(RawDict(path_, {.name = "d"}).size(), count);
}

}  // namespace
}  // namespace pyrsistence::test
