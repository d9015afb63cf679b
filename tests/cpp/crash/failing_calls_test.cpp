// Whatever call to the operating system fails, nothing is lost: a life of a store, of which in each run another
// call fails, or all from one on until the error has been reported. The error is that of the call; afterwards the
// store holds what it should and goes on, or it has been given up, after a failed sync, and opening it anew
// finds everything that had returned.
#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include "crash/failing_files.hpp"
#include "crash/profiles.hpp"
#include "crash/store_workload.hpp"
#include "storage/store.hpp"

namespace pyrsistence::test {
namespace {

constexpr Profile kLife{"failing calls", 30, 60, 30'000, 50, false, 150, kSmall, 0, 0, 4, 20};

struct Plan {
    std::uint64_t at;  ///< number of the call
    int code;
    bool lasting;
};

/// A handle on a store that was opened by other means than its path.
class Opened : public Handle {
public:
    Opened(const Handle& any, std::shared_ptr<storage::Store> own) : Handle(any, Time::same) {
        storage::Store::release(store_);
        store_ = std::move(own);
    }
    std::uint64_t contents() const {
        std::vector<std::uint64_t> parts;
        for (const storage::ContainerEntry& one : store_->containers()) {
            const bool list = one.type == storage::ContainerType::list;
            parts.push_back(list ? digest_of<ListModel>(one.name, ListModel::digest(RawList(*this, one.name)))
                                 : digest_of<DictModel>(one.name, DictModel::digest(RawDict(*this, one.name))));
        }
        return digest_of(parts);
    }
};

class Life {
public:
    Life(std::uint64_t salt, const Plan& plan) : salt_(salt), now_(kLife) {
        faults_.arm(plan.at, plan.code, plan.lasting);
    }
    ~Life() { end(store_, raw_); }
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;

    void live() {
        open();
        steps(25);
        attempt([&] { store_->sync(); });
        back_up();
        read_beside();
        attempt([&] { store_->checkpoint(); });
        steps(25);
        attempt([&] { store_->compact(); });
        verify();
        keep_and_delete();
        recover_a_copy();
        reopen();
        steps(15);
        if (!end(store_, raw_)) open();
        end(store_, raw_);
        read_alone();
        EXPECT_FALSE(faults_.retried()) << "a sync that had failed was tried again";
        EXPECT_EQ(os::FileSystem::posix().list(path_), (std::vector<std::string>{"data", "lock", "log"}));
    }
    const Faults& faults() const { return faults_; }
    std::size_t snapshots() const { return now_.snapshots(); }

private:
    using Raw = std::shared_ptr<storage::Store>;
    using Work = std::unique_ptr<Workplace>;

    // --- opening and closing
    storage::StoreOptions options(Mode mode, FailingFiles& files) const {
        storage::StoreOptions options;
        options.mode = mode;
        options.memory_limit = 4 << 20;
        options.index_pages = 1;  // a larger index has a delta
        options.files = &files;
        options.log_window = kLife.log_window;
        options.hash_seed = 4711;
        return options;
    }
    /// What a second try finds cannot fail any more.
    void twice(const std::function<void()>& call) {
        try {
            call();
        } catch (const StorageError& error) {
            expect_made(error);
            faults_.reported();
            call();
        }
    }
    void begin(const fs::path& path, Mode mode, Work& store, Raw& raw) {
        twice([&] { raw = storage::Store::open(path, options(mode, files_)); });
        twice([&] {
            Options own;
            own.mode = mode == Mode::read ? mode : Mode::read_write;
            store = std::make_unique<Workplace>(path, own);
        });
    }
    /// False if closing failed.
    bool end(Work& store, Raw& raw) {
        store.reset();
        try {
            storage::Store::release(raw);
            return true;
        } catch (const StorageError& error) {
            expect_made(error);
            faults_.reported();
            return false;
        }
    }
    void open() { begin(path_, Mode::append, store_, raw_); }
    void reopen() {
        end(store_, raw_);
        open();
        expect_contents();
    }

    // --- what a failure leaves
    void expect_made(const StorageError& error) const {
        EXPECT_TRUE(faults_.made(error)) << "not the error of the call: " << error.what();
    }
    /// Nothing if the handle has been given up.
    std::optional<std::uint64_t> look() {
        for (int tries = 0; tries < 3; ++tries) {
            try {
                store_->check();
                return StoreModel::digest(*store_);
            } catch (const StorageError& error) {
                expect_made(error);
                faults_.reported();
            }
        }
        return std::nullopt;
    }
    /// False if the handle had been given up: then it is a new one.
    bool still_open() {
        const bool doubtful = faults_.doubtful(path_ / "data") || faults_.doubtful(path_ / "log");
        bool open = look().has_value();
        // A checkpoint in the background gives it up a moment after its sync has failed.
        for (int i = 0; i < 1000 && open && doubtful && !::testing::Test::HasFailure(); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            open = look().has_value();
        }
        EXPECT_FALSE(open && doubtful) << "a handle goes on after a failed sync";
        if (open) return true;
        EXPECT_TRUE(faults_.failed({FileCall::sync})) << "the handle was given up";
        EXPECT_FALSE(end(store_, raw_)) << "a handle that was given up says so when it is closed";
        this->open();
        return false;
    }
    /// After an error: the model or, if it had been given up, `perhaps`, with the operation that failed.
    void expect_contents(const StoreModel& perhaps) {
        if (still_open()) {
            EXPECT_EQ(look(), now_.digest()) << "after a failure";
            return;
        }
        const auto again = look();
        if (again == perhaps.digest()) now_ = perhaps;
        EXPECT_EQ(again, now_.digest()) << "after the handle had been given up";
        states_.insert(now_.contents());
    }
    void expect_contents() { expect_contents(StoreModel(now_)); }

    /// False if the call failed, of which nothing is left but the store as it was.
    bool attempt(const std::function<void()>& call) {
        try {
            call();
            return true;
        } catch (const StorageError& error) {
            expect_made(error);
            faults_.reported();
        }
        expect_contents();
        return false;
    }

    // --- what it does
    void steps(int count) {
        for (; count > 0 && !::testing::Test::HasFailure(); --count) step();
    }
    void step() {
        const std::uint64_t number = salt_ * 1'000'003 + ++steps_;
        StoreModel after = now_;
        Random random(number), same(number);
        after.step(nullptr, same);
        try {
            now_.step(store_.get(), random);
            states_.insert(now_.contents());
        } catch (const StorageError& error) {
            expect_made(error);
            faults_.reported();
            expect_contents(after);
        }
    }
    void back_up() {
        const fs::path to = dir_.next();
        if (attempt([&] { store_->backup(to); })) {
            const Workplace copy(to);
            copy.check();
            EXPECT_EQ(StoreModel::digest(copy), now_.digest());
        } else if (!faults_.failed({FileCall::remove})) {
            EXPECT_FALSE(fs::exists(to)) << "a backup that failed stays behind";
        }
    }
    void verify() {
        attempt([&] {
            for (const std::string& fault : store_->verify().faults) ADD_FAILURE() << fault;
        });
    }
    /// Beside the steps that do so by chance.
    void keep_and_delete() {
        const std::string name = "kept by the life";
        Options at;
        at.at = name;
        for (const auto& call : std::initializer_list<std::function<void()>>{
                 [&] { store_->keep_snapshot(name); },
                 [&] { EXPECT_EQ(contents(Store(path_, at)), now_.contents()); },
                 [&] { store_->delete_snapshot(name); }}) {
            try {
                call();
            } catch (const StorageError& error) {
                expect_made(error);
                faults_.reported();
                still_open();
                twice([&] { store_->delete_snapshot(name); });
                break;
            }
        }
        expect_contents();
    }
    /// A reader as in another process.
    void read_beside() {
        Raw reader;
        twice([&] { reader = storage::Store::open(path_, options(Mode::read, reader_files_)); });
        Opened handle(*store_, std::move(reader));
        const auto look = [&] {
            std::uint64_t found = 0;
            twice([&] { found = handle.contents(); });
            EXPECT_TRUE(states_.contains(found)) << "a reader sees what never was";
            twice([&] { (void)handle.snapshots(); });
        };
        look();
        for (int i = 0; i < 3; ++i) {
            steps(5);
            twice([&] { handle.refresh(); });
            look();
        }
        twice([&] { handle.close(); });
        expect_contents();
    }
    void recover_a_copy() {
        steps(5);
        const fs::path copy = dir_.next();
        {
            const auto still = faults_.stand_still();
            copy_store(path_, copy);
        }
        Work store;
        Raw raw;
        begin(copy, Mode::read_write, store, raw);
        twice([&] { store->check(); });
        std::uint64_t found = 0;
        twice([&] { found = StoreModel::digest(*store); });
        EXPECT_EQ(found, now_.digest()) << "after a kill";
        end(store, raw);
        begin(copy, Mode::truncate, store, raw);
        EXPECT_EQ(store->size(), 0u);
        end(store, raw);
    }
    void read_alone() {
        Work store;
        Raw raw;
        begin(path_, Mode::read, store, raw);
        std::uint64_t found = 0;
        twice([&] { found = StoreModel::digest(*store); });
        EXPECT_EQ(found, now_.digest()) << "in the end";
        twice([&] { store->check(); });
        EXPECT_TRUE(end(store, raw));
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
    Faults faults_;
    FailingFiles files_{faults_}, reader_files_{faults_, true};
    const std::uint64_t salt_;
    std::uint64_t steps_ = 0;
    StoreModel now_;
    std::set<std::uint64_t> states_{StoreModel(kLife).contents()};
    Raw raw_;
    Work store_;
};

class FailingCallsTest : public ::testing::TestWithParam<std::tuple<int, bool>> {
protected:
    /// How many calls there were of each kind.
    std::map<FileCall, std::uint64_t> live(std::uint64_t at) {
        const auto [code, lasting] = GetParam();
        const std::size_t threads = own_entries("task"), descriptors = own_entries("fd");
        std::map<FileCall, std::uint64_t> kinds;
        try {
            Life life(seed(), {at, code, lasting});
            life.live();
            kinds = life.faults().kinds();
        } catch (const std::exception& error) {
            ADD_FAILURE() << "passed on: " << error.what();
        }
        EXPECT_EQ(own_entries("fd"), descriptors) << "descriptors are left open";
        EXPECT_EQ(own_entries("task"), threads) << "threads are left";
        return kinds;
    }
};

/// A store that could not go back to its last checkpoint, because the disk was still full, was given up for good;
/// a backup whose directory could not be listed, locked or synced stayed behind.
TEST_P(FailingCallsTest, NothingIsLost) {
    PYRSISTENCE_TRACE_SEED;
    std::uint64_t calls = 0;
    {
        const TempDir dir(true);
        const Workplace starts_the_thread_that_watches(dir / "store");
    }
    const auto kinds = live(UINT64_MAX);
    EXPECT_EQ(kinds.size(), std::size(kFileCalls)) << "not every kind of call is made";
    for (const auto& [call, count] : kinds) calls += count;
    const std::uint64_t runs = std::min<std::uint64_t>(calls, scaled(150));
    for (std::uint64_t run = 0; run < runs && !HasFailure(); ++run) {
        const std::uint64_t at = 1 + run * calls / runs;
        SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(calls));
        live(at);
    }
}
INSTANTIATE_TEST_SUITE_P(Errors, FailingCallsTest,
                         ::testing::Combine(::testing::Values(ENOSPC, EIO), ::testing::Bool()),
                         [](const auto& test) {
                             const bool full = std::get<0>(test.param) == ENOSPC;
                             return std::string(full ? "FullDisk" : "BrokenDisk") +
                                    (std::get<1>(test.param) ? "UntilReported" : "Once");
                         });

}  // namespace
}  // namespace pyrsistence::test
