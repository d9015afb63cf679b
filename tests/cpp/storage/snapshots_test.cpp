// Snapshots, in memory and named: whatever happens to the store, each reads exactly the state of its moment, and
// its space comes back when it goes.
#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

std::unique_ptr<Store> snapshot_of(const Store& store) { return std::unique_ptr<Store>(new Store(store.snapshot())); }

/// Has the store go back to its last checkpoint and replay its log, as after an operation that failed.
void fail_an_operation(storage::Store& engine) {
    storage::WriteStep step(engine);
    step.create(storage::ContainerType::dict, "never");
}

/// A store that changes while many snapshots of it are alive.
class Churn {
public:
    Churn(std::uint64_t salt, Population population, std::uint64_t log_window, std::size_t most,
          std::size_t operations = 100)
        : random_(salt), log_window_(log_window), most_(most), now_(random_(), population) {
        reopen();
        for (std::size_t i = 0; i < operations; ++i) now_.step(*handles_);
    }

    void run(std::size_t rounds) {
        for (std::size_t i = 0; i < rounds && !::testing::Test::HasFailure(); ++i) {
            SCOPED_TRACE("round " + std::to_string(i));
            round();
        }
        if (::testing::Test::HasFailure()) return;
        verify_all();
        expect_space_back();
    }

private:
    struct Held {
        std::unique_ptr<Store> state;
        World world;
    };

    Store& store() { return **open_; }
    void steps(std::size_t most) {
        for (std::size_t k = random_.below(most); k > 0; --k) now_.step(*handles_);
    }
    void round() {
        steps(60);
        const std::uint64_t dice = random_.below(100);
        if (dice < 40) take();
        else if (dice < 55) drop();
        else if (dice < 62) store().checkpoint();
        else if (dice < 72) transaction();
        else if (dice < 75) store().compact();
        else if (dice < 79) fail();
        else if (dice < 84) keep();
        else if (dice < 87) forget();
        else if (dice < 89) expect_killed();
        else if (dice < 90) reopen();
        else if (dice < 92) store().publish();
        else verify();
        if (random_.chance(5)) store().check();
    }
    void take() {
        if (held_.size() >= most_) drop();
        held_.push_back({snapshot_of(store()), now_});
    }
    void drop() {
        if (held_.empty()) return;
        std::swap(held_[random_.below(held_.size())], held_.back());
        held_.pop_back();
    }
    void transaction() {
        const World before = now_;
        Transaction transaction(store(), false);
        steps(100);
        const Store snapshot = store().snapshot();
        ASSERT_EQ(before.difference(snapshot), "") << "taken within a transaction";
        {
            const World outer = now_;
            Transaction savepoint(store());
            steps(30);
            take();
            held_.back().world = before;
            now_ = outer;
        }
        ASSERT_EQ(now_.difference(store()), "");
        if (random_.chance(50)) transaction.commit();
        else now_ = before;
        ASSERT_EQ(before.difference(snapshot), "");
    }
    /// In or beside a transaction.
    void fail() {
        const World before = now_;
        if (random_.chance(50)) {
            Transaction transaction(store());
            steps(50);
            fail_an_operation(open_->store());
            now_ = before;
        } else {
            fail_an_operation(open_->store());
        }
        ASSERT_EQ(now_.difference(store()), "");
        verify_all();
    }

    void keep() {
        if (named_.size() >= most_ / 2) forget();
        const std::string name = "name " + std::to_string(++names_);
        store().keep_snapshot(name);
        named_.emplace(name, now_);
        EXPECT_THROW(store().keep_snapshot(name), ExistsError);
    }
    void forget() {
        if (named_.empty()) return;
        auto at = named_.begin();
        std::advance(at, random_.below(named_.size()));
        std::optional<Store> open;
        if (random_.chance(50)) open.emplace(path_, Options{.at = at->first});
        EXPECT_TRUE(store().delete_snapshot(at->first));
        EXPECT_FALSE(store().delete_snapshot(at->first));
        EXPECT_THROW(Store(path_, {.at = at->first}), NotFoundError);
        if (open) {
            steps(100);
            store().checkpoint();
            steps(100);
            EXPECT_EQ(at->second.difference(*open), "") << "deleted while it was open";
        }
        named_.erase(at);
    }
    void verify_named(const fs::path& path, const Store& at) {
        ASSERT_EQ(at.snapshots().size(), named_.size());
        for (const auto& [name, world] : named_) {
            ASSERT_EQ(world.difference(Store(path, {.at = name})), "") << name;
        }
    }
    void verify() {
        if (held_.empty()) return verify_named(path_, store());
        const Held& one = held_[random_.below(held_.size())];
        ASSERT_EQ(one.world.difference(*one.state), "");
    }
    void verify_all() {
        for (const Held& one : held_) ASSERT_EQ(one.world.difference(*one.state), "");
        verify_named(path_, store());
    }
    /// A copy of the files has the named ones, whatever is done to it next.
    void expect_killed() {
        const fs::path copy = dir_.next();
        {
            const auto still = files_.stand_still();
            copy_store(path_, copy);
        }
        {
            OpenStore<Store> killed(copy, nullptr, log_window_);
            ASSERT_EQ(now_.difference(*killed), "");
            Handles handles(*killed);
            World world = now_;
            for (int i = 0; i < 400; ++i) world.step(handles);
            killed->checkpoint();
            for (int i = 0; i < 400; ++i) world.step(handles);
            verify_named(copy, *killed);
            killed->check();
        }
        fs::remove_all(copy);
    }
    void reopen() {
        held_.clear();
        handles_.reset();
        open_.reset();
        open_ = std::make_unique<OpenStore<Store>>(path_, &files_, log_window_);
        handles_ = std::make_unique<Handles>(store());
        ASSERT_EQ(now_.difference(store()), "");
        if (random_.chance(50)) verify_named(path_, store());
    }
    void expect_space_back() {
        held_.clear();
        while (!named_.empty()) forget();
        store().checkpoint();
        store().compact();
        store().check();
        ASSERT_EQ(now_.difference(store()), "");
        const Info info = store().info();
        EXPECT_LE(info.pages, info.live_pages + info.live_pages / 16 + 300);
        EXPECT_EQ(info.snapshots, 0u);
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
    TestFileSystem files_;
    Random random_;
    std::uint64_t log_window_;
    std::size_t most_;
    World now_;
    std::uint64_t names_ = 0;
    std::unique_ptr<OpenStore<Store>> open_;
    std::unique_ptr<Handles> handles_;
    std::vector<Held> held_;
    std::map<std::string, World> named_;
};

class SnapshotsTest : public ::testing::Test {
protected:
    static void fill(Store& store, std::string_view name, std::size_t items, std::size_t size, std::uint64_t salt) {
        RawList list(store, name);
        for (std::size_t i = 0; i < items; ++i) {
            const std::string item = content(salt + i, size);
            if (i < list.size()) list.set(i, as_bytes(item));
            else list.append(as_bytes(item));
        }
    }
    static bool filled(const Store& store, std::string_view name, std::size_t items, std::size_t size,
                       std::uint64_t salt) {
        const RawList list(store, name);
        Buffer item;
        bool same = list.size() == items;
        for (std::size_t i = 0; i < items && same; ++i) {
            same = list.get(i, item) && as_text(item) == content(salt + i, size);
        }
        return same;
    }

    TempDir dir_;
    TestFileSystem files_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(SnapshotsTest, EachReadsItsOwnState) {
    PYRSISTENCE_TRACE_SEED;
    Churn(1, {}, kMedium, 12).run(scaled(500));
}
TEST_F(SnapshotsTest, EachReadsItsOwnStateOfManyContainers) {
    PYRSISTENCE_TRACE_SEED;
    Churn(2, {40, 20, {3000, 1}}, kSmall, 30).run(scaled(500));
}
TEST_F(SnapshotsTest, EachReadsItsOwnStateOfLargeValues) {
    PYRSISTENCE_TRACE_SEED;
    Churn(3, {4, 100, {300'000, 20}}, kSmall, 6).run(scaled(300));
}
TEST_F(SnapshotsTest, EachReadsItsOwnStateBeyondTheFrames) {
    PYRSISTENCE_TRACE_SEED;
    Churn(4, {2, 30'000, {1000, 0}}, kMedium, 4, scaled(30'000)).run(scaled(100));
}

TEST_F(SnapshotsTest, AnUnchangedStoreIsHeldOnce) {
    Store store(path_, {.memory_limit = 4 << 20});
    fill(store, "l", 1000, 100, 1);
    std::vector<std::unique_ptr<Store>> all;
    for (int i = 0; i < 1000; ++i) all.push_back(snapshot_of(store));
    EXPECT_EQ(all.front()->version(), all.back()->version());
    EXPECT_EQ(all.front()->version(), store.version());
    fill(store, "l", 1000, 100, 2);
    EXPECT_LT(all.front()->version(), store.version());
    EXPECT_TRUE(filled(*all[500], "l", 1000, 100, 1));
    const Store again = all[500]->snapshot();
    all.clear();
    EXPECT_TRUE(filled(again, "l", 1000, 100, 1)) << "a snapshot of a snapshot";
    EXPECT_TRUE(filled(store, "l", 1000, 100, 2));
}

TEST_F(SnapshotsTest, AreForReadingOnly) {
    Store store(path_);
    fill(store, "l", 10, 10, 1);
    Store snapshot = store.snapshot();
    EXPECT_TRUE(snapshot.read_only());
    RawList list(snapshot, "l");
    EXPECT_THROW(list.append(as_bytes("x")), ReadOnlyError);
    EXPECT_THROW(list.clear(), ReadOnlyError);
    EXPECT_THROW(snapshot.remove("l"), ReadOnlyError);
    EXPECT_THROW(snapshot.rename("l", "m"), ReadOnlyError);
    EXPECT_THROW(RawList(snapshot, "new"), NotFoundError);
    EXPECT_THROW(RawDict(snapshot, "l"), FormatError);
    EXPECT_THROW(snapshot.keep_snapshot("s"), ReadOnlyError);
    EXPECT_THROW(snapshot.delete_snapshot("s"), ReadOnlyError);
    EXPECT_THROW(snapshot.compact(), ReadOnlyError);
    store.remove("l");
    EXPECT_EQ(list.size(), 10u);
    EXPECT_TRUE(snapshot.contains("l"));
    store.check();
}

TEST_F(SnapshotsTest, OutliveTheHandleThatTheyWereMadeOf) {
    auto store = std::make_unique<Store>(path_);
    fill(*store, "l", 10, 10, 1);
    auto list = std::make_unique<RawList>(*store, "l");
    RawList snapshot = list->snapshot();
    list->clear();
    list.reset();
    store.reset();
    EXPECT_EQ(snapshot.size(), 10u);
    EXPECT_EQ(RawList(path_, {.name = "l"}).size(), 0u);
    snapshot.close();
    EXPECT_THROW((void)snapshot.size(), ClosedError);
    EXPECT_EQ(fs::file_size(path_ / "log"), 8192u) << "the store was closed";
}

TEST_F(SnapshotsTest, TheirSpaceComesBack) {
    Store store(path_, {.memory_limit = 4 << 20});
    fill(store, "l", 20'000, 100, 0);
    store.checkpoint();
    const std::uint64_t before = store.info().pages;
    for (std::uint64_t round = 1; round <= 5; ++round) {
        std::vector<std::unique_ptr<Store>> all;
        for (std::uint64_t i = 0; i < 3; ++i) {
            all.push_back(snapshot_of(store));
            fill(store, "l", 20'000, 100, 100 * round + i);
        }
        EXPECT_TRUE(filled(*all[1], "l", 20'000, 100, 100 * round));
        all.clear();
        store.checkpoint();
        EXPECT_LT(store.info().pages, 6 * before + 500) << "three snapshots, the state, and a checkpoint";
    }
    store.compact();
    EXPECT_LT(store.info().pages, before + 200);
    store.check();
}

// --- after an operation that failed

TEST_F(SnapshotsTest, SurviveAFailureAsOftenAsItHappens) {
    OpenStore<Store> open(path_, &files_, kMedium);
    std::vector<std::unique_ptr<Store>> all;
    for (std::uint64_t i = 0; i < 6; ++i) {
        fill(*open, "l", 2000, 1000, i);
        all.push_back(snapshot_of(*open));
        fail_an_operation(open.store());
        if (i == 2) all.erase(all.begin());
        if (i == 3) open->checkpoint();
        const std::uint64_t first = i < 2 ? 0 : 1;
        for (std::size_t k = 0; k < all.size(); ++k) EXPECT_TRUE(filled(*all[k], "l", 2000, 1000, first + k)) << i;
        open->check();
    }
    all.clear();
    open->checkpoint();
    open->compact();
    open->check();
    const Info info = open->info();
    EXPECT_LE(info.pages, info.live_pages + 200) << "nothing is held any more";
}

/// What a snapshot needs may exist in memory only when the store goes back to its checkpoint.
TEST_F(SnapshotsTest, SayWhenTheyWereLost) {
    OpenStore<Store> open(path_, &files_, std::uint64_t{16} << 20);
    fill(*open, "l", 1000, 100, 1);
    open->checkpoint();
    fill(*open, "l", 1000, 100, 2);
    const Store lost = open->snapshot();
    fill(*open, "l", 1000, 100, 3);
    files_.hook = [](TestFileSystem::Call call, const fs::path& path) {
        const bool hit = call == TestFileSystem::Call::write && path.filename() == "data";
        if (hit) throw StorageError("test: disk full", ENOSPC);
    };
    fail_an_operation(open.store());
    files_.hook = nullptr;
    const RawList list(*open, "l");
    EXPECT_TRUE(filled(*open, "l", 1000, 100, 3));
    try {
        (void)RawList(lost, "l");
        ADD_FAILURE() << "a lost snapshot can be read";
    } catch (const StorageError& error) {
        EXPECT_NE(std::string(error.what()).find("take a new one"), std::string::npos) << error.what();
    }
    const Store fresh = open->snapshot();
    fill(*open, "l", 1000, 100, 4);
    EXPECT_TRUE(filled(fresh, "l", 1000, 100, 3));
    fail_an_operation(open.store());
    EXPECT_TRUE(filled(fresh, "l", 1000, 100, 3));
    EXPECT_THROW((void)lost.containers(), StorageError);
    open->check();
}

// --- named ones

TEST_F(SnapshotsTest, NamesAreUniqueAndOfLimitedLength) {
    Store store(path_);
    fill(store, "l", 10, 10, 1);
    EXPECT_TRUE(store.snapshots().empty());
    EXPECT_THROW(store.keep_snapshot(""), FormatError);
    EXPECT_THROW(store.keep_snapshot(std::string(1025, 'n')), FormatError);
    EXPECT_THROW(Store(path_, {.at = "a"}), NotFoundError);
    EXPECT_FALSE(store.delete_snapshot("a"));
    const std::string longest(1024, 'n');
    store.keep_snapshot("a");
    store.keep_snapshot(longest);
    EXPECT_THROW(store.keep_snapshot("a"), ExistsError);
    EXPECT_THROW(Store(path_, {.at = "b"}), NotFoundError);
    const std::vector<NamedSnapshot> all = store.snapshots();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].name, "a");
    EXPECT_EQ(all[1].name, longest);
    EXPECT_LT(all[0].checkpoint, all[1].checkpoint);
    EXPECT_LE(all[0].created, all[1].created);
    EXPECT_GT(all[0].created, 1'600'000'000'000'000u) << "microseconds since 1970";
    EXPECT_EQ(store.info().snapshots, 2u);
    store.close();
    Store again(path_);
    EXPECT_EQ(again.snapshots().size(), 2u);
    EXPECT_TRUE(again.delete_snapshot("a"));
    EXPECT_FALSE(again.delete_snapshot("a"));
    again.check();
}

TEST_F(SnapshotsTest, NamedOnesAreDurableWhenTheyReturn) {
    PYRSISTENCE_TRACE_SEED;
    Random random(51);
    files_.track_power = true;
    OpenStore<Store> open(path_, &files_, kMedium);
    const auto after_power_failure = [&](const std::function<void(const fs::path&)>& look) {
        for (const unsigned kept : {0u, 50u, 100u}) {
            const fs::path disk = dir_.next();
            files_.lose_power(path_, disk, random, kept);
            look(disk);
            fs::remove_all(disk);
        }
    };
    for (std::uint64_t i = 0; i < 4; ++i) {
        fill(*open, "l", 50, 2000, i);
        open->keep_snapshot(std::to_string(i));
        fill(*open, "l", 50, 2000, 100);
        after_power_failure([&](const fs::path& disk) {
            for (std::uint64_t k = 0; k <= i; ++k) {
                EXPECT_TRUE(filled(Store(disk, {.at = std::to_string(k)}), "l", 50, 2000, k));
            }
            Store(disk).check();
        });
    }
    EXPECT_TRUE(open->delete_snapshot("1"));
    after_power_failure([&](const fs::path& disk) {
        Store store(disk);
        EXPECT_EQ(store.snapshots().size(), 3u);
        fill(store, "l", 50, 2000, 200);
        store.checkpoint();
        fill(store, "l", 50, 2000, 201);
        EXPECT_TRUE(filled(Store(disk, {.at = "0"}), "l", 50, 2000, 0));
        EXPECT_TRUE(filled(Store(disk, {.at = "2"}), "l", 50, 2000, 2));
        store.check();
    });
}

TEST_F(SnapshotsTest, PagesOfNamedOnesAreHeldAfterReopening) {
    constexpr std::size_t kItems = 20'000;
    {
        Store store(path_, {.memory_limit = 4 << 20});
        for (std::uint64_t i = 0; i < 3; ++i) {
            fill(store, "l", kItems, 100, i);
            fill(store, "large", 20, 50'000, i);
            store.keep_snapshot("s" + std::to_string(i));
        }
    }
    const auto expect = [&](std::uint64_t first) {
        for (std::uint64_t i = first; i < 3; ++i) {
            const Store at(path_, {.at = "s" + std::to_string(i)});
            EXPECT_TRUE(filled(at, "l", kItems, 100, i)) << i;
            EXPECT_TRUE(filled(at, "large", 20, 50'000, i)) << i;
        }
    };
    for (std::uint64_t round = 0; round < 4; ++round) {
        Store store(path_, {.memory_limit = 4 << 20});
        for (std::uint64_t i = 0; i < 3; ++i) {
            fill(store, "l", kItems, 100, 1000 * round + 10 * i + 5);
            fill(store, "large", 20, 50'000, 1000 * round + i);
            store.checkpoint();
        }
        expect(round == 3 ? 2 : 0);
        store.check();
        if (round == 2) {
            EXPECT_TRUE(store.delete_snapshot("s0"));
            EXPECT_TRUE(store.delete_snapshot("s1"));
        }
        if (round == 3) store.compact();
        expect(round >= 2 ? 2 : 0);
    }
    Store store(path_);
    EXPECT_TRUE(store.delete_snapshot("s2"));
    store.checkpoint();
    store.compact();
    const Info info = store.info();
    EXPECT_LE(info.pages, info.live_pages + info.live_pages / 16 + 200);
    store.check();
}

TEST_F(SnapshotsTest, ReadersOfANamedOneNeedNoWriter) {
    {
        Store store(path_);
        fill(store, "l", 100, 100, 1);
        store.keep_snapshot("s");
        fill(store, "l", 100, 100, 2);
    }
    const Store at(path_, {.at = "s"});
    const Store now(path_, {.mode = Mode::read});
    EXPECT_TRUE(filled(at, "l", 100, 100, 1));
    EXPECT_TRUE(filled(now, "l", 100, 100, 2));
    EXPECT_EQ(now.snapshots().size(), 1u);
    EXPECT_THROW(Store(path_, {.at = "t"}), NotFoundError);
    EXPECT_THROW(Store(dir_ / "nowhere", {.at = "t"}), NotFoundError);
    EXPECT_FALSE(fs::exists(dir_ / "nowhere"));
}

/// One call fails while a snapshot is named or forgotten: the table is as before or, if nothing failed but the
/// last sync, perhaps as after; what it names can be read.
TEST_F(SnapshotsTest, NamingMayFailAtAnyCall) {
    for (const int code : {ENOSPC, EIO}) {
        for (unsigned at = 1;; ++at) {
            SCOPED_TRACE("call " + std::to_string(at));
            const fs::path path = dir_.next();
            TestFileSystem files;
            auto open = std::make_unique<OpenStore<Store>>(path, &files, kMedium);
            fill(**open, "l", 300, 500, 1);
            (*open)->keep_snapshot("one");
            fill(**open, "l", 300, 500, 2);
            std::atomic<unsigned> calls = 0;
            files.hook = [&](TestFileSystem::Call call, const fs::path&) {
                using Call = TestFileSystem::Call;
                if (call == Call::read || call == Call::open || call == Call::list) return;
                if (++calls == at) throw StorageError("test: call " + std::to_string(at), code);
            };
            std::size_t expected = 1;
            bool failed = false;
            try {
                (*open)->keep_snapshot("two");
                ++expected;
                fill(**open, "l", 300, 500, 3);
                (*open)->delete_snapshot("one");
                --expected;
            } catch (const StorageError&) {
                failed = true;
            }
            files.hook = nullptr;
            bool poisoned = false;
            try {
                (*open)->check();
                EXPECT_EQ((*open)->snapshots().size(), expected);
                fill(**open, "l", 300, 500, 4);
                (*open)->keep_snapshot("three");
                ++expected;
            } catch (const StorageError&) {
                poisoned = true;
            }
            EXPECT_TRUE(failed || !poisoned);
            open.reset();
            Store store(path);
            store.check();
            const auto names = store.snapshots();
            EXPECT_TRUE(names.size() == expected || (poisoned && names.size() + 1 >= expected)) << names.size();
            for (const NamedSnapshot& one : names) {
                const std::uint64_t salt = one.name == "one" ? 1 : one.name == "two" ? 2 : 4;
                EXPECT_TRUE(filled(Store(path, {.at = one.name}), "l", 300, 500, salt)) << one.name;
            }
            store.close();
            fs::remove_all(path);
            if (calls < at || HasFailure()) break;
        }
    }
}

}  // namespace
}  // namespace pyrsistence::test
