// One store over many lives: a process works on it and is killed, its successor recovers it, proves that it is what
// the model says, goes on and is killed too, while watchers in processes of their own read. Whoever works tells in
// shared memory what it is about to do and what has returned, so that after each death the store must be the state
// after all that returned, with the operation in flight whole or absent. No two lives store equal values: an
// operation of a dead timeline that comes back makes a state that no model explains.
// Everything here belongs to the one thread of the test, which never opens the store itself.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "crash/crash_points.hpp"
#include "crash/profiles.hpp"
#include "crash/store_workload.hpp"
#include "storage/store.hpp"

namespace pyrsistence::test {

/// What the processes of a test tell each other.
struct Board {
    static constexpr std::uint64_t kStates = 1 << 20;

    // --- of the one that works
    std::atomic<std::uint64_t> resolved;  ///< 1 + number of the candidate that the store was when it was opened
    std::atomic<std::uint64_t> started, returned;  ///< operations so far
    std::atomic<bool> idle;                        ///< it waits, with its store open
    std::atomic<std::uint64_t> states[kStates];  ///< digest of the contents after so many operations
    CallCounts calls;

    // --- of everybody
    std::atomic<bool> failed, finish;
    char message[2000];

    void fail(const std::string& text) {
        if (!failed.exchange(true)) std::snprintf(message, sizeof message, "%s", text.c_str());
    }
};

/// A process of the test; it dies with it. What `body` throws, or expects in vain, is put on the board.
class Child {
public:
    template <class Body>
    Child(Board& board, const char* who, Body&& body) {
        const pid_t parent = ::getpid();
        pid_ = ::fork();
        if (pid_ != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        try {
            body();
        } catch (const std::exception& error) {
            board.fail(std::string(who) + ": " + error.what());
        }
        if (::testing::Test::HasFailure()) board.fail(std::string(who) + " expected something else");
        ::_exit(0);
    }
    ~Child() { kill(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    void signal(int number) const {
        if (pid_ > 0) ::kill(pid_, number);
    }
    /// True if it was killed, false if it had ended by itself.
    bool kill() {
        signal(SIGKILL);
        return wait();
    }
    /// True if it died of SIGKILL. One that hangs is killed in the end, which is a failure.
    bool wait() {
        for (const auto end = Clock::now() + kPatience; pid_ > 0 && !ended();) {
            if (Clock::now() < end) continue;
            ADD_FAILURE() << "process " << pid_ << " hangs";
            signal(SIGKILL);
            ::waitpid(std::exchange(pid_, 0), &status_, 0);
        }
        return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL;
    }
    /// Looks whether it has ended, for a moment.
    bool ended() {
        if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
        if (pid_ > 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
        return pid_ <= 0;
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr auto kPatience = std::chrono::seconds(50);

    pid_t pid_;
    int status_ = 0;
};

/// What the store may be.
struct Candidate {
    StoreModel model;
    std::uint64_t done;  ///< operations so far
};

/// One process from its opening of the store to its end.
struct Life {
    std::uint64_t number = 0;        ///< generation of all values that it stores
    unsigned operations = 0;         ///< then it closes the store
    CrashPoint point = {};
    Mode mode = Mode::append;
    bool waits = false;              ///< until the board says finish, before it closes
};

inline Random random_of(std::uint64_t seed, std::uint64_t life, std::uint64_t operation) {
    return Random(seed + life * 0x9e3779b97f4a7c15 + operation * 0xbf58476d1ce4e5b9);
}

/// What goes on in the process of one life.
class Worker {
public:
    Worker(Board& board, fs::path path, const Profile& profile, std::uint64_t seed, Life life)
        : board_(board), path_(std::move(path)), profile_(profile), seed_(seed), life_(std::move(life)),
          files_(board.calls, life_.point), random_(random_of(seed, life_.number, ~std::uint64_t{0})) {}

    void run(const std::vector<Candidate>& candidates) {
        open(life_.mode);
        recognise(candidates);
        for (unsigned i = 0; i < life_.operations && !::testing::Test::HasFailure(); ++i) {
            operate();
            do_something_else(i);
        }
        board_.idle = true;
        while (life_.waits && !board_.finish) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        close();
    }

private:
    void open(Mode mode) {
        storage::StoreOptions options;
        options.mode = mode;
        options.memory_limit = 4 << 20;
        options.index_pages = 1;  // a larger index has a delta
        options.files = &files_;
        options.log_window = profile_.log_window;
        options.hash_seed = 4711;
        options.on_checkpoint = [this](storage::StoreOptions::Checkpoint what) {
            constexpr const char* kNames[] = {"checkpoint starts", "checkpoint begins", "checkpoint ends"};
            files_.at(kNames[static_cast<std::size_t>(what)], [] {});
        };
        engine_ = storage::Store::open(path_, options);
        store_.emplace(path_);
    }
    void close() {
        store_.reset();
        storage::Store::release(engine_);
    }
    void recognise(const std::vector<Candidate>& candidates) {
        store_->check();
        const std::uint64_t found = StoreModel::digest(*store_);
        const std::size_t first = life_.mode == Mode::truncate ? candidates.size() - 1 : 0;
        for (std::size_t i = first; i < candidates.size(); ++i) {
            if (candidates[i].model.digest() != found) continue;
            now_.emplace(candidates[i]);
            board_.started = board_.returned = now_->done;
            board_.resolved = i + 1;
            return;
        }
        throw Error(explain(candidates));
    }
    std::string explain(const std::vector<Candidate>& candidates) const {
        const std::uint64_t found = contents(*store_), last = candidates.back().done;
        for (std::uint64_t k = last + 1; k-- > 0;) {
            if (board_.states[k] != found) continue;
            return "the contents are those after " + std::to_string(k) + " operations, and the snapshots differ, or " +
                   std::to_string(candidates.front().done) + " had returned";
        }
        return "the store is no state that there ever was, after " + std::to_string(candidates.front().done) +
               " operations, " + std::to_string(candidates.size()) + " possible states";
    }

    /// The board has the result before the store has it.
    void operate() {
        const std::uint64_t number = now_->done;
        if (number + 1 >= Board::kStates) throw Error("the board is full");
        StoreModel after = now_->model;
        Random first = random_of(seed_, life_.number, number), second = first;
        after.step(nullptr, first);
        board_.states[number + 1] = after.contents();
        board_.started = number + 1;
        now_->model.step(&*store_, second);
        now_->done = number + 1;
        board_.returned = number + 1;
    }
    /// What leaves the contents as they are. Every life that is long enough does all of it.
    void do_something_else(unsigned i) {
        const auto dice = i % 40 == 10 ? 0 : i % 40 == 20 ? 30 : i % 40 == 30 ? 40 : random_.below(1000);
        if (dice < 10) store_->checkpoint();
        else if (dice < 30) store_->sync();
        else if (dice < 35) store_->compact();
        else if (dice < 45) reopen();
        else if (dice < 90) store_->look_around(random_, now_->model.contents());
    }
    void reopen() {
        close();
        open(Mode::append);
        if (StoreModel::digest(*store_) != now_->model.digest()) throw Error("closing has changed the store");
    }

    Board& board_;
    const fs::path path_;
    const Profile& profile_;
    const std::uint64_t seed_;
    const Life life_;
    CrashPoints files_;
    Random random_;
    std::shared_ptr<storage::Store> engine_;
    std::optional<Workplace> store_;
    std::optional<Candidate> now_;
};

/// What a watcher tells the test.
struct Sighting {
    std::atomic<std::uint64_t> state;  ///< operations that had been done in the view seen last
    std::atomic<std::uint64_t> looks, states, held, later;
    std::atomic<bool> stop;  ///< asks it to stop itself
};

/// Reads over and over in a process of its own. Every view must be a state that the store had, none older than one
/// seen before; views and snapshots never change.
class Watcher {
public:
    Watcher(Board& board, Sighting& told, fs::path path, std::uint64_t log_window)
        : board_(board), told_(told), path_(std::move(path)), log_window_(log_window) {}

    /// Opens the store if there is one.
    void run_once() {
        if (!open()) return;
        look();
        store_->check();
        store_.reset();
        storage::Store::release(engine_);
    }
    /// `rounds`: for so many a snapshot is held.
    void run(std::uint64_t rounds, std::chrono::microseconds pause) {
        while (!board_.finish && !open()) {
        }
        for (std::uint64_t i = 0; !board_.finish; ++i) {
            const std::uint64_t seen = look();
            if (i % rounds == 0) hold(seen);
            std::this_thread::sleep_for(pause);
            if (contents(*store_) != seen) throw Error("a view has changed by itself");
            if (i % 16 == 0) look_at_held();
            // Not at any moment: a reader that recovers the store is its writer meanwhile, and all wait for it.
            if (told_.stop.exchange(false)) ::raise(SIGSTOP);
            refresh();
        }
        look_at_held();
        held_.reset();
        store_.reset();
        storage::Store::release(engine_);
    }

private:
    /// False if there is nothing to read yet, or somebody else is at it.
    bool open() {
        storage::StoreOptions options;
        options.mode = Mode::read;
        options.memory_limit = 4 << 20;
        options.log_window = log_window_;
        try {
            engine_ = storage::Store::open(path_, options);
            store_.emplace(path_, Options{.mode = Mode::read});
            return true;
        } catch (const NotFoundError&) {
        } catch (const LockedError&) {
        }
        ++told_.later;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return false;
    }
    void refresh() {
        try {
            store_->refresh();
        } catch (const LockedError&) {
            ++told_.later;
        }
    }
    std::uint64_t look() {
        const std::uint64_t found = contents(*store_);
        ++told_.looks;
        std::uint64_t k = told_.state;
        while (k <= board_.started && board_.states[k] != found) ++k;
        if (k > board_.started) throw Error(explain(found));
        if (told_.state.exchange(k) == k) return found;
        if (++told_.states % 8 == 0) store_->check();
        return found;
    }
    std::string explain(std::uint64_t found) const {
        const std::string told = "after state " + std::to_string(told_.state) + " of " + std::to_string(board_.started);
        for (std::uint64_t k = told_.state; k-- > 0;) {
            if (board_.states[k] == found) return told + " the older state " + std::to_string(k) + " was seen";
        }
        return told + " a state was seen that there never was";
    }
    void hold(std::uint64_t contents) {
        held_.reset(new Store(store_->snapshot()));
        held_contents_ = contents;
        ++told_.held;
    }
    void look_at_held() {
        if (contents(*held_) != held_contents_) throw Error("a snapshot has changed");
        held_->check();
    }

    Board& board_;
    Sighting& told_;
    const fs::path path_;
    const std::uint64_t log_window_;
    std::shared_ptr<storage::Store> engine_;
    std::optional<Store> store_;
    std::unique_ptr<Store> held_;
    std::uint64_t held_contents_ = 0;
};

/// The store, its model, and the processes of one test.
class KilledStore {
public:
    KilledStore(fs::path path, const Profile& profile, std::uint64_t seed)
        : path_(std::move(path)), profile_(profile), seed_(seed) {
        candidates_.push_back({StoreModel(profile), 0});
        board_->states[0] = candidates_[0].model.contents();
    }

    Board& board() const { return *board_; }
    const fs::path& path() const { return path_; }
    std::uint64_t lives() const { return lives_; }
    /// Operations that had returned at the last death.
    std::uint64_t done() const { return candidates_.front().done; }

    /// Begins a life, of the next number.
    std::unique_ptr<Child> begin(Life life) {
        life.number = life_ = ++lives_;
        if (life.mode == Mode::truncate) may_be_emptied();
        board_->resolved = 0;
        board_->idle = false;
        board_->calls.clear();
        return std::make_unique<Child>(*board_, "writer", [&] {
            Worker(*board_, path_, profile_, seed_, life).run(candidates_);
        });
    }
    /// After its end: what the store may be now.
    void conclude() {
        const std::uint64_t resolved = board_->resolved;
        if (resolved == 0) {
            ++in_recovery;
            return;
        }
        Candidate now = candidates_.at(resolved - 1);
        while (now.done < board_->returned) step(now);
        candidates_ = {now};
        if (board_->started == now.done) return;
        step(now);
        candidates_.push_back(std::move(now));
        ++in_flight;
    }
    /// All of it went away; a new one begins.
    void begin_anew() {
        fs::remove_all(path_);
        candidates_ = {{StoreModel(profile_), 0}};
    }
    std::unique_ptr<Child> watch(Sighting& sighting, std::uint64_t rounds, std::chrono::microseconds pause) {
        return std::make_unique<Child>(*board_, "reader", [&] {
            Watcher(*board_, sighting, path_, profile_.log_window).run(rounds, pause);
        });
    }

    std::unique_ptr<Child> watch_once(Sighting& sighting) {
        return std::make_unique<Child>(*board_, "reader", [&] {
            Watcher(*board_, sighting, path_, profile_.log_window).run_once();
        });
    }

    std::uint64_t in_flight = 0;    ///< deaths in the middle of an operation
    std::uint64_t in_recovery = 0;  ///< or before the store was open

private:
    void step(Candidate& candidate) const {
        Random random = random_of(seed_, life_, candidate.done);
        candidate.model.step(nullptr, random);
        ++candidate.done;
    }
    void may_be_emptied() {
        candidates_.push_back({StoreModel(profile_), candidates_.back().done + 1});
        board_->states[candidates_.back().done] = candidates_.back().model.contents();
    }

    const fs::path path_;
    const Profile& profile_;
    const std::uint64_t seed_;
    Shared<Board> board_;
    std::vector<Candidate> candidates_;
    std::uint64_t lives_ = 0, life_ = 0;
};

}  // namespace pyrsistence::test
