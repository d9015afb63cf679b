// Transactions and readers in several threads and tasks.
#include <barrier>
#include <thread>

#include "containers/models.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {
namespace {

using storage::Caller;
using Account = std::uint64_t;
using Accounts = Dict<Account, std::int64_t>;
using Balances = List<std::int64_t>;

class TransactionThreadsTest : public ::testing::Test {
protected:
    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

/// Runs `call` in a thread of its own.
void elsewhere(const std::function<void()>& call) { std::thread(call).join(); }

TEST_F(TransactionThreadsTest, WritersWaitAndReadersSeeTheStateBefore) {
    Store store(path_);
    Accounts accounts = store.dict<Account, std::int64_t>("accounts");
    accounts[1] = 10;
    std::atomic<bool> waiting = false, ended = false;
    std::thread writer;
    {
        Transaction transaction(store);
        accounts[1] = 20;
        accounts[2] = 5;
        writer = std::thread([&] {
            Accounts mine(store, "accounts");
            EXPECT_EQ(mine.size(), 1u);
            EXPECT_EQ(mine.at(1), 10);
            EXPECT_EQ(store.containers().size(), 1u);
            waiting = true;
            mine[3] = mine.at(1);  // read before, written after
            EXPECT_TRUE(ended) << "wrote beside a transaction";
            EXPECT_EQ(mine.at(1), 20);
        });
        while (!waiting) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        elsewhere([&] {
            EXPECT_EQ(accounts.at(1), 10);
            EXPECT_FALSE(accounts.contains(2));
            EXPECT_EQ(accounts.size(), 1u);
            accounts.check();
        });
        EXPECT_EQ(accounts.at(1), 20);
        ended = true;
        transaction.commit();
    }
    writer.join();
    EXPECT_EQ(accounts.at(3), 10);
    EXPECT_EQ(accounts.size(), 3u);
}

TEST_F(TransactionThreadsTest, TransactionsWaitForEachOther) {
    Store store(path_);
    Accounts accounts = store.dict<Account, std::int64_t>("accounts");
    accounts[0] = 0;
    std::vector<std::thread> threads;
    std::atomic<int> inside = 0;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 50; ++i) {
                Transaction transaction(store, false);
                EXPECT_EQ(++inside, 1);
                accounts[0] = accounts.at(0) + 1;
                if (i % 10 == t) std::this_thread::yield();
                --inside;
                if (i % 5 != 0) transaction.commit();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(accounts.at(0), 4 * 40);
    store.check();
}

TEST_F(TransactionThreadsTest, AnotherTaskOfTheSameThreadIsRefused) {
    Store store(path_);
    Accounts accounts = store.dict<Account, std::int64_t>("accounts");
    accounts[1] = 1;
    Caller::set_task(7);
    Transaction transaction(store);
    accounts[1] = 2;
    Caller::set_task(8);
    EXPECT_EQ(accounts.at(1), 1) << "reads the state before";
    EXPECT_THROW(accounts[2] = 2, Error);
    EXPECT_THROW(Transaction{store}, Error);
    EXPECT_THROW(store.checkpoint(), Error);
    EXPECT_THROW(store.remove("accounts"), Error);
    EXPECT_THROW(transaction.commit(), Error);
    store.check();
    Caller::set_task(7);
    EXPECT_EQ(accounts.at(1), 2);
    transaction.commit();
    Caller::set_task(8);
    accounts[2] = 2;
    Caller::set_task(0);
    EXPECT_EQ(accounts.size(), 2u);
}

TEST_F(TransactionThreadsTest, AnotherThreadCanUndoButNotCommit) {
    Store store(path_);
    Accounts accounts = store.dict<Account, std::int64_t>("accounts");
    auto transaction = std::make_unique<Transaction>(store);
    accounts[1] = 1;
    elsewhere([&] { EXPECT_THROW(transaction->commit(), Error); });
    EXPECT_EQ(accounts.size(), 1u) << "it goes on";
    elsewhere([&] { transaction.reset(); });
    EXPECT_TRUE(accounts.empty());
    elsewhere([&] { accounts[2] = 2; });
    accounts[3] = 3;
    EXPECT_EQ(accounts.size(), 2u);
    store.check();
}

TEST_F(TransactionThreadsTest, ContainersMadeTwiceAreOne) {
    Store store(path_);
    std::thread other;
    std::atomic<bool> looked = false;
    {
        Transaction transaction(store);
        store.dict<Account, std::int64_t>("new")[1] = 1;
        other = std::thread([&] {
            EXPECT_FALSE(store.contains("new"));
            looked = true;
            store.dict<Account, std::int64_t>("new")[2] = 2;  // waits
        });
        while (!looked) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        transaction.commit();
    }
    other.join();
    EXPECT_EQ(store.size(), 1u);
    EXPECT_EQ((store.dict<Account, std::int64_t>("new").size()), 2u);
}

/// Money moves between three containers; no state that anybody reads has more or less of it.
class Bank {
public:
    static constexpr Account kAccounts = 200;
    static constexpr std::int64_t kEach = 1000, kTotal = 3 * kAccounts * kEach;

    explicit Bank(Store& store) : store_(store) {
        Transaction transaction(store);
        for (Account i = 0; i < kAccounts; ++i) {
            dict(store)[i] = kEach;
            list(store).push_back(kEach);
        }
        Dict<std::string, std::int64_t>(store, "rest")["all"] = kAccounts * kEach;
        transaction.commit();
    }
    static std::int64_t sum(const Handle& state) {
        std::int64_t total = Dict<std::string, std::int64_t>(state, "rest").at("all");
        const Accounts accounts(state, "accounts");
        for (const auto& [account, balance] : accounts) total += balance;
        const Balances balances(state, "balances");
        for (const std::int64_t balance : balances) total += balance;
        return total;
    }
    /// As a thread of its own: some transactions fail, some have savepoints that are undone, some are large.
    void move_money(std::uint64_t salt, std::size_t times) {
        Random random(salt);
        Store mine(store_.path());
        Accounts accounts = dict(mine);
        Balances balances = list(mine);
        Dict<std::string, std::int64_t> rest(mine, "rest");
        List<std::string> notes(mine, "notes");
        for (std::size_t i = 0; i < times; ++i) {
            Transaction transaction(mine, random.below(100) == 0);
            for (std::size_t k = random.below(20); k > 0; --k) {
                const Account from = random.below(kAccounts), to = random.below(kAccounts);
                const auto amount = static_cast<std::int64_t>(random.below(100));
                Transaction savepoint(mine);
                accounts[from] = accounts.at(from) - amount;
                balances[to] = balances.at(to) + amount;
                if (random.chance(30)) {
                    balances[to] = balances.at(to) - amount;
                    rest["all"] = rest.at("all") + amount;
                }
                if (random.chance(80)) savepoint.commit();
            }
            if (random.below(50) == 0) {
                for (int n = 0; n < 20; ++n) notes.push_back(std::string(random.below(8000), 'n'));
            }
            if (notes.size() > 200) notes.clear();
            if (random.chance(80)) transaction.commit();
        }
    }

private:
    static Accounts dict(const Handle& store) { return Accounts(store, "accounts"); }
    static Balances list(const Handle& store) { return Balances(store, "balances"); }

    Store& store_;
};

TEST_F(TransactionThreadsTest, EveryStateThatIsReadIsWhole) {
    PYRSISTENCE_TRACE_SEED;
    storage::StoreOptions options;
    options.memory_limit = 4 << 20;
    options.log_window = 64 << 10;
    auto engine = storage::Store::open(path_, options);
    {
        Store store(path_);
        Bank bank(store);
        std::atomic<bool> stop = false;
        std::vector<std::thread> writers, others;
        for (std::uint64_t t = 0; t < 3; ++t) {
            writers.emplace_back([&, t] { bank.move_money(41 + t, scaled(2000)); });
        }
        const auto until_stopped = [&](auto call) {
            others.emplace_back([&, call] {
                for (std::uint64_t i = 0; !stop; ++i) call(i);
            });
        };
        until_stopped([&](std::uint64_t) {
            const Store snapshot = store.snapshot();
            ASSERT_EQ(Bank::sum(snapshot), Bank::kTotal);
            ASSERT_EQ(Bank::sum(snapshot), Bank::kTotal) << "the second time";
        });
        until_stopped([&](std::uint64_t i) {
            const std::string name = "at " + std::to_string(i);
            if (i % 2 == 0) store.checkpoint();
            else if (i % 5 == 1) store.compact();
            else if (i % 5 == 3) store.sync();
            store.keep_snapshot(name);
            const Store snapshot(path_, {.at = name});
            ASSERT_EQ(Bank::sum(snapshot), Bank::kTotal);
            ASSERT_TRUE(store.delete_snapshot(name));
        });
        until_stopped([&](std::uint64_t i) {
            store.publish();
            if (i % 4 == 0) store.check();
            if (i % 16 == 0) (void)store.info();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
        for (std::thread& thread : writers) thread.join();
        stop = true;
        for (std::thread& thread : others) thread.join();
        EXPECT_EQ(Bank::sum(store), Bank::kTotal);
        store.check();
    }
    storage::Store::release(engine);
    const Store store(path_);
    store.check();
    EXPECT_EQ(Bank::sum(store), Bank::kTotal);
    EXPECT_EQ(storage::Store::open_transactions(), 0u);
}

/// What readers ask for hands the frames over to be written; a transaction that began before found none left and
/// failed with ENOMEM.
TEST_F(TransactionThreadsTest, PublishingTakesNoFramesFromATransaction) {
    PYRSISTENCE_TRACE_SEED;
    TestFileSystem files;
    OpenStore<Store> open(path_, &files, std::uint64_t{64} << 20);
    Dict<Account, std::string> dict(*open, "d");
    const std::uint64_t most = open->info().memory_limit / 4 * 3 / storage::kPageSize;
    for (Account i = 0; open->info().frame_bytes / storage::kPageSize + 150 < most; ++i) dict[i] = std::string(1000, 'x');
    std::atomic<bool> slow = true;
    files.hook = [&](TestFileSystem::Call call, const fs::path& path) {
        if (call != TestFileSystem::Call::write || path.filename() != "data") return;
        while (slow) std::this_thread::yield();
    };
    Transaction transaction(*open);
    std::thread reader([&] { open->publish(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        slow = false;
    });
    for (Account i = 0; i < 3000; ++i) dict[1'000'000 + i] = std::string(1000, 'x');
    later.join();
    reader.join();
    transaction.commit();
    open->check();
    EXPECT_GT(dict.size(), 3000u);
}

}  // namespace
}  // namespace pyrsistence::test
