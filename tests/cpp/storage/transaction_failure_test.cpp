// Transactions over a failing disk: whatever call to the operating system fails, the store holds the state before
// the transaction or, if its commit had returned, the one after it.
#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

using Call = TestFileSystem::Call;
constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;

/// Several transactions with savepoints over one store; of its calls one fails, or all from one on until
/// something has thrown.
class FaultyRun {
public:
    FaultyRun(std::uint64_t salt, int error, unsigned fail_at, bool lasting)
        : random_(salt), error_(error), fail_at_(fail_at), lasting_(lasting), now_(salt, {4, 60, {60'000, 30}}) {
        open_ = std::make_unique<OpenStore<Store>>(path_, &files_, kSmall);
        handles_ = std::make_unique<Handles>(**open_);
        for (int i = 0; i < 40; ++i) now_.step(*handles_);
    }

    /// How many calls there were.
    unsigned run() {
        files_.hook = [this](Call call, const fs::path&) { count(call); };
        for (int i = 0; i < 12 && !::testing::Test::HasFailure() && !poisoned(); ++i) transaction();
        files_.hook = nullptr;
        finish();
        return calls_;
    }

private:
    void count(Call call) {
        if (call == Call::read || call == Call::open || call == Call::list) return;
        const unsigned now = ++calls_;
        if (failing_ && (now == fail_at_ || (lasting_ && now > fail_at_))) {
            throw StorageError("test: call " + std::to_string(now), error_);
        }
    }
    bool attempt(const std::function<void()>& call) {
        try {
            call();
            return true;
        } catch (const Error&) {
            failing_ = !lasting_;  // there is room again
            return false;
        }
    }
    bool poisoned() {
        try {
            (*open_)->check();
            return false;
        } catch (const StorageError&) {
            return true;
        }
    }

    /// Whether the store holds this, as far as it can be read.
    bool holds(const World& world) {
        try {
            const std::string difference = world.difference(**open_);
            if (!difference.empty()) difference_ = difference;
            return difference.empty();
        } catch (const StorageError&) {
            return true;  // a checkpoint in the background has failed for good
        }
    }

    void transaction() {
        const World before = now_;
        perhaps_ = before;
        std::optional<Transaction> transaction;
        if (!attempt([&] { transaction.emplace(**open_, random_.chance(50)); })) return expect(before);
        if (!operate(before)) {
            now_ = before;
            if (random_.chance(50)) expect_error<Error>([&] { transaction->commit(); });
            transaction.reset();
            return expect(before);
        }
        perhaps_ = now_;
        if (random_.chance(20)) {
            transaction.reset();
            now_ = before;
        } else if (!attempt([&] { transaction->commit(); })) {
            now_ = before;
        }
        expect(now_);
    }
    /// False if an operation failed so that the transaction was undone.
    bool operate(const World& before) {
        std::vector<std::pair<std::unique_ptr<Transaction>, World>> savepoints;
        bool sound = true;
        for (std::size_t i = random_.below(random_.chance(30) ? 150 : 30); i > 0 && sound; --i) {
            if (random_.chance(5)) {
                savepoints.emplace_back(nullptr, now_);
                sound = attempt([&] { savepoints.back().first = std::make_unique<Transaction>(**open_); });
            } else if (random_.chance(5) && !savepoints.empty()) {
                if (random_.chance(50)) sound = attempt([&] { savepoints.back().first->commit(); });
                else now_ = savepoints.back().second;
                savepoints.pop_back();
            } else if (!attempt([&] { now_.step(*handles_); })) {
                sound = still_sound(before);
            }
        }
        while (!savepoints.empty()) {
            now_ = std::move(savepoints.back().second);
            savepoints.pop_back();
        }
        return sound;
    }
    /// After an operation that failed: before it changed anything, or in the middle.
    bool still_sound(const World& before) {
        if (poisoned()) return false;
        if (holds(now_)) return true;
        EXPECT_TRUE(holds(before)) << "after an operation that failed in the middle: " << difference_;
        const auto expect_refused = [&](const std::function<void()>& call) {
            try {
                call();
                ADD_FAILURE() << "a transaction that was undone goes on";
            } catch (const Error& error) {
                EXPECT_NE(std::string(error.what()).find("was rolled back"), std::string::npos) << error.what();
            }
        };
        if (poisoned()) return false;
        expect_refused([&] { RawDict(**open_, "another"); });
        expect_refused([&] { Transaction{**open_}; });
        expect_refused([&] { (*open_)->remove(before.names()[0]); });
        return false;
    }
    void expect(const World& expected) {
        EXPECT_TRUE(holds(expected)) << difference_;
        EXPECT_TRUE(poisoned() || storage::Store::open_transactions() == 0);
    }
    void finish() {
        attempt([&] { (*open_)->checkpoint(); });  // waits for one that is running
        const bool sound = !poisoned();
        if (sound) {
            for (int i = 0; i < 20; ++i) now_.step(*handles_);
            (*open_)->check();
        }
        handles_.reset();
        EXPECT_EQ(attempt([&] { open_->close(); }), sound);
        EXPECT_EQ(storage::Store::open_transactions(), 0u);
        OpenStore<Store> again(path_, nullptr, kSmall);
        again->check();
        if (!sound && perhaps_->difference(*again).empty()) return;  // the error came after it was logged
        EXPECT_EQ(now_.difference(*again), "");
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
    TestFileSystem files_;
    Random random_;
    const int error_;
    const unsigned fail_at_;
    const bool lasting_;
    std::atomic<unsigned> calls_ = 0;
    std::atomic<bool> failing_ = true;
    World now_;
    std::string difference_;
    std::optional<World> perhaps_;  ///< with the transaction that ran last
    std::unique_ptr<OpenStore<Store>> open_;
    std::unique_ptr<Handles> handles_;
};

class TransactionFailureTest : public ::testing::Test {
protected:
    static void fail_each(std::uint64_t salt, int error, bool lasting) {
        const unsigned calls = FaultyRun(salt, error, UINT32_MAX, false).run();
        ASSERT_GT(calls, 50u);
        const auto stride = std::max<unsigned>(1, calls / static_cast<unsigned>(scaled(300)));
        for (unsigned at = 1; at <= calls && !HasFailure(); at += stride) {
            SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(calls));
            FaultyRun(salt, error, at, lasting).run();
        }
    }
    void fail_writes(const char* file) {
        files_.hook = [file](Call call, const fs::path& path) {
            const bool hit = call == Call::write || call == Call::allocate;
            if (hit && path.filename() == file) throw StorageError("test: disk full", ENOSPC);
        };
    }
    void fail_syncs() {
        files_.hook = [](Call call, const fs::path&) {
            if (call == Call::sync) throw StorageError("test: lost page", EIO);
        };
    }

    TempDir dir_;
    TestFileSystem files_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(TransactionFailureTest, NothingIsHalfDoneAfterAFullDisk) {
    PYRSISTENCE_TRACE_SEED;
    fail_each(seed(), ENOSPC, false);
}
TEST_F(TransactionFailureTest, NothingIsHalfDoneWhileTheDiskIsFull) {
    PYRSISTENCE_TRACE_SEED;
    fail_each(seed() + 1, ENOSPC, true);
}
TEST_F(TransactionFailureTest, NothingIsHalfDoneAfterAnError) {
    PYRSISTENCE_TRACE_SEED;
    fail_each(seed() + 2, EIO, false);
}

TEST_F(TransactionFailureTest, ACommitWithoutRoomInTheLogUndoesEverything) {
    OpenStore<Store> open(path_, &files_, std::uint64_t{8} << 20);
    Handles handles(*open);
    World world(1);
    for (int i = 0; i < 100; ++i) world.step(handles);
    const World before = world;
    for (int round = 0; round < 3; ++round) {
        Transaction transaction(*open);
        for (int i = 0; i < 200; ++i) world.step(handles);
        fail_writes("log");
        try {
            RawList list(*open, "large");
            for (int i = 0; i < 400; ++i) list.append(as_bytes(content(1, 1000)));
            transaction.commit();
            ADD_FAILURE() << "committed";
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), ENOSPC);
        }
        files_.hook = nullptr;
        world = before;
        ASSERT_EQ(world.difference(*open), "");
        open->check();
    }
    Transaction transaction(*open);
    for (int i = 0; i < 200; ++i) world.step(handles);
    transaction.commit();
    open.close();
    OpenStore<Store> again(path_, nullptr, 0);
    again->check();
    EXPECT_EQ(world.difference(*again), "");
}

/// The commit of a transaction that had outgrown the log tried to go back to its seal, which the checkpoint had
/// passed, threw another error and left the transaction open for ever.
TEST_F(TransactionFailureTest, AFailedSyncInACommitIsReportedAsSuch) {
    for (const bool nested : {false, true}) {
        const fs::path path = dir_.next();
        auto open = std::make_unique<OpenStore<Store>>(path, &files_, kSmall);
        World world(2, {3, 100, {60'000, 20}}), before = world;
        {
            Handles handles(**open);
            for (int i = 0; i < 100; ++i) world.step(handles);
            before = world;
            Transaction transaction(**open);
            for (int i = 0; i < 500; ++i) world.step(handles);
            if (nested) {
                Transaction inner(**open);
                for (int i = 0; i < 100; ++i) world.step(handles);
                inner.commit();
            }
            fail_syncs();
            try {
                transaction.commit();
                ADD_FAILURE() << "committed";
            } catch (const StorageError& error) {
                EXPECT_EQ(error.code(), EIO) << error.what();
            }
        }
        EXPECT_EQ(storage::Store::open_transactions(), 0u);
        EXPECT_THROW((*open)->check(), StorageError);
        EXPECT_THROW(open->close(), StorageError);
        open.reset();
        files_.hook = nullptr;
        OpenStore<Store> again(path, nullptr, kSmall);
        again->check();
        EXPECT_TRUE(world.difference(*again).empty() || before.difference(*again).empty());
    }
}

/// A handle on a poisoned store cannot undo anything, but must not keep others waiting.
TEST_F(TransactionFailureTest, APoisonedStoreForgetsItsTransaction) {
    auto open = std::make_unique<OpenStore<Store>>(path_, &files_, kMedium);
    World world(3);
    {
        Handles handles(**open);
        for (int i = 0; i < 100; ++i) world.step(handles);
        World inside = world;
        Transaction transaction(**open);
        for (int i = 0; i < 100; ++i) inside.step(handles);
        fail_syncs();
        EXPECT_THROW((*open)->sync(), StorageError);
        files_.hook = nullptr;
        EXPECT_THROW(inside.step(handles), StorageError);
        EXPECT_THROW(transaction.commit(), StorageError);
    }
    EXPECT_THROW(open->close(), StorageError);
    open.reset();
    EXPECT_EQ(storage::Store::open_transactions(), 0u);
    OpenStore<Store> again(path_, nullptr, kMedium);
    again->check();
    EXPECT_EQ(world.difference(*again), "");
}

}  // namespace
}  // namespace pyrsistence::test
