// Checkpoints: when they happen, what goes on beside them, and what a failed one leaves.
#include <thread>

#include "containers/world.hpp"
#include "structures/tree.hpp"

namespace pyrsistence::test {
namespace {

using Call = TestFileSystem::Call;
using storage::StoreOptions;
constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

/// Lets a test hold a call of the checkpoint's thread back.
class Gate {
public:
    void wait() {
        arrived_ = true;
        while (!open_) std::this_thread::yield();
    }
    void await_arrival() const {
        while (!arrived_) std::this_thread::yield();
    }
    void open() { open_ = true; }
    ~Gate() { open(); }

private:
    std::atomic<bool> arrived_ = false, open_ = false;
};

class CheckpointTest : public ::testing::Test {
protected:
    /// Syncs of the data file wait at the gate.
    void hold_syncs(Gate& gate) {
        files_.hook = [&gate](Call call, const fs::path& path) {
            if (call == Call::sync && path.filename() == "data") gate.wait();
        };
    }

    TempDir dir_;
    TestFileSystem files_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(CheckpointTest, TellsWhenItStartsBeginsAndEnds) {
    std::vector<StoreOptions::Checkpoint> told;
    std::vector<std::thread::id> threads;
    StoreOptions options;
    options.on_checkpoint = [&](StoreOptions::Checkpoint what) {
        told.push_back(what);
        threads.push_back(std::this_thread::get_id());
    };
    auto engine = storage::Store::open(path_, options);
    RawList list(path_);
    list.append(as_bytes("x"));
    told.clear();
    threads.clear();
    list.checkpoint();
    list.close();
    storage::Store::release(engine);
    using enum StoreOptions::Checkpoint;
    EXPECT_EQ(told, (std::vector{starts, begins, ends}));
    EXPECT_EQ(threads[0], std::this_thread::get_id());
    EXPECT_NE(threads[1], threads[0]);
    EXPECT_EQ(threads[2], threads[1]);
}

/// Values in extents leave the log almost empty.
TEST_F(CheckpointTest, HappensWhenExtentsOutgrowTheWindow) {
    OpenStore<RawList> open(path_, nullptr, kMedium);
    open->append(as_bytes("x"));
    const std::uint64_t first = open->info().checkpoint;
    const std::string large = content(1, 100'000);
    for (int i = 0; i < 100; ++i) open->set(0, as_bytes(large));
    open->checkpoint();
    EXPECT_GT(open->info().checkpoint, first + 3);
    EXPECT_LT(open->info().pages, 1500u) << "10 MB written over 100 KB";
}

TEST_F(CheckpointTest, CallersGoOnBesideIt) {
    OpenStore<Store> open(path_, &files_, kMedium);
    Handles handles(*open);
    World world(1);
    for (int i = 0; i < 300; ++i) world.step(handles);
    Gate gate;
    hold_syncs(gate);
    std::thread checkpoint([&] { open->checkpoint(); });
    gate.await_arrival();
    for (int i = 0; i < 100; ++i) world.step(handles);
    ASSERT_EQ(world.difference(*open), "");
    const Store snapshot = open->snapshot();
    const World then = world;
    for (int i = 0; i < 50; ++i) world.step(handles);
    {
        const fs::path copy = dir_ / "killed beside it";
        copy_store(path_, copy);
        OpenStore<Store> killed(copy, nullptr, kMedium);
        killed->check();
        EXPECT_EQ(world.difference(*killed), "");
    }
    gate.open();
    checkpoint.join();
    files_.hook = nullptr;
    EXPECT_EQ(world.difference(*open), "");
    EXPECT_EQ(then.difference(snapshot), "");
    open->check();
}

TEST_F(CheckpointTest, AFailedOneIsReportedAndTriedAgain) {
    OpenStore<Store> open(path_, &files_, kMedium);
    Handles handles(*open);
    World world(2);
    for (int i = 0; i < 300; ++i) world.step(handles);
    const std::uint64_t before = open->info().checkpoint;
    for (const Call fails : {Call::write, Call::allocate, Call::map}) {
        std::atomic<bool> failed = false;
        files_.hook = [&](Call call, const fs::path&) {
            if (call != fails) return;
            failed = true;
            throw StorageError("test: disk full", ENOSPC);
        };
        try {
            open->checkpoint();
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), ENOSPC);
        }
        files_.hook = nullptr;
        EXPECT_TRUE(failed || fails == Call::allocate);
        ASSERT_EQ(world.difference(*open), "");
        for (int i = 0; i < 100; ++i) world.step(handles);
        open->check();
    }
    open->checkpoint();
    EXPECT_GT(open->info().checkpoint, before);
    EXPECT_EQ(open->info().log_bytes, 0u);
    copy_store(path_, dir_ / "copy");
    OpenStore<Store> killed(dir_ / "copy", nullptr, kMedium);
    EXPECT_EQ(world.difference(*killed), "");
}

/// A writer that had to try a failed checkpoint again went on while another one stood in the middle of a batch,
/// because both were woken by its end; the log then told of them in another order than they had happened in.
TEST_F(CheckpointTest, WritersAfterAFailedOneWaitForThreadsInTheMiddle) {
    PYRSISTENCE_TRACE_SEED;
    OpenStore<RawList> open(path_, &files_, kSmall);
    std::atomic<unsigned> syncs = 0;
    files_.hook = [&](Call call, const fs::path& path) {
        // The space map is written by the thread that starts a checkpoint, pages by the checkpoint's own.
        const bool hit = call == Call::write && path.filename() == "data";
        if (hit && ++syncs % 40 == 0) throw StorageError("test: disk full", ENOSPC);
    };
    constexpr std::size_t kBatch = 60, kThreads = 3;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            RawList list(path_);
            const std::string text = content(t, 1200);
            const std::vector<Bytes> items(kBatch, as_bytes(text));
            for (std::size_t i = 0; i < scaled(200); ++i) {
                try {
                    list.replace_slice(0, 0, items);
                    if (i % 4 == t) list.checkpoint();
                    if (list.size() > 30 * kBatch) list.erase_slice(10 * kBatch, 1, UINT32_MAX);
                } catch (const StorageError& error) {
                    ASSERT_EQ(error.code(), ENOSPC) << error.what();
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    files_.hook = nullptr;
    open->check();
    const auto expect_whole = [](const RawList& list) {
        ASSERT_EQ(list.size() % kBatch, 0u);
        Buffer first, item;
        for (std::uint64_t rank = 0; rank < list.size(); ++rank) {
            list.get(rank, item);
            if (rank % kBatch == 0) first.assign(item);
            ASSERT_EQ(as_text(item), as_text(first)) << "batches are mixed at " << rank;
        }
    };
    expect_whole(*open);
    copy_as_killed(*open, dir_ / "copy");
    RawList killed(dir_ / "copy");
    killed.check();
    expect_whole(killed);
    EXPECT_EQ(killed.size(), open->size());
}

TEST_F(CheckpointTest, OneThatIsHeldStaysReadable) {
    OpenStore<RawList> open(path_, nullptr, kSmall);
    for (int i = 0; i < 1000; ++i) open->append(as_bytes(content(1, 300)));
    int used = 0;
    open.store().with_checkpoint([&](os::File& data, const storage::Meta& meta) {
        ++used;
        // Others go on and make checkpoints of their own.
        std::thread([&] {
            for (int round = 0; round < 5; ++round) {
                for (std::uint64_t i = 0; i < 1000; ++i) open->set(i, as_bytes(content(2, 300)));
                open->checkpoint();
            }
        }).join();
        storage::Pager::Options options;
        options.access = storage::Pager::Access::replay;
        storage::Pager pager(data, meta.pages, options);
        storage::CatalogRoot root = meta.catalog;
        const std::byte* page = storage::Catalog(pager, root).read(0);
        const structures::Tree items(pager, page + storage::RootPage::kFields, structures::TreeOrder::rank);
        ASSERT_EQ(items.size(), 1000u);
        for (std::uint64_t i = 0; i < 1000; ++i) {
            ASSERT_EQ(as_text(items.resolve(items.at(i))), content(1, 300)) << i;
        }
    });
    EXPECT_EQ(used, 1);
    struct Stop {};
    EXPECT_THROW(open.store().with_checkpoint([](os::File&, const storage::Meta&) { throw Stop(); }), Stop);
    open->check();
    open->checkpoint();
    open->compact();
    EXPECT_LT(open->info().pages, open->info().live_pages + 200) << "nothing is held any more";
}

TEST_F(CheckpointTest, ClosingWaitsForIt) {
    Gate gate;
    OpenStore<RawList> open(path_, &files_, kSmall);
    open->append(as_bytes("x"));
    open->checkpoint();  // the first window is larger
    hold_syncs(gate);
    std::uint64_t count = 1;
    for (std::uint64_t last = 0; open->info().log_bytes >= last; ++count) {
        last = open->info().log_bytes;
        open->append(as_bytes(content(1, 1000)));
    }
    gate.await_arrival();
    std::thread opener([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        gate.open();
    });
    open.close();
    opener.join();
    files_.hook = nullptr;
    RawList list(path_);
    EXPECT_EQ(list.size(), count);
    list.check();
}

}  // namespace
}  // namespace pyrsistence::test
