// Processes that open one store beside each other, moved by a test step by step. Each does one command after
// another; it may be stopped or killed at any moment, or stop by itself at a chosen call to the operating system.
// One that gives no answer is a failure that tells what its threads do. A puppet belongs to one thread, and to the
// process that made it, with which it dies.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "storage/ledger.hpp"
#include "storage/store.hpp"

namespace pyrsistence::test {

using namespace std::chrono_literals;

/// Counts calls and stops the process at one of them, before it is made, whichever thread makes it.
class StoppingFileSystem final : public os::FileSystem {
public:
    std::uint64_t calls() {
        const std::lock_guard guard(mutex_);
        return calls_;
    }
    void stop_in(std::uint64_t calls) {
        const std::lock_guard guard(mutex_);
        stop_at_ = calls_ + calls;
    }
    /// When this returns the process will not stop any more.
    void go_on() {
        const std::lock_guard guard(mutex_);
        stop_at_ = 0;
    }

    std::unique_ptr<os::File> open(const fs::path& path, os::Access access) override {
        return wrapped([&] { return system_.open(path, access); });
    }
    std::unique_ptr<os::File> create(const fs::path& path) override {
        return wrapped([&] { return system_.create(path); });
    }
    bool create_directory(const fs::path& path) override { return system_.create_directory(path); }
    void rename(const fs::path& from, const fs::path& to) override { count(), system_.rename(from, to); }
    void remove(const fs::path& path) override { count(), system_.remove(path); }
    std::vector<std::string> list(const fs::path& path) override { return count(), system_.list(path); }
    void sync_directory(const fs::path& path) override { system_.sync_directory(path); }
    std::unique_ptr<os::Watch> watch(const fs::path& path, std::function<void()> on_write) override {
        return count(), system_.watch(path, std::move(on_write));
    }

    void count() {
        const std::lock_guard guard(mutex_);
        if (++calls_ == stop_at_) ::raise(SIGSTOP);
    }

private:
    class File;
    template <class Open>
    std::unique_ptr<os::File> wrapped(Open&& open);

    os::FileSystem& system_ = os::FileSystem::posix();
    std::mutex mutex_;
    std::uint64_t calls_ = 0, stop_at_ = 0;
};

class StoppingFileSystem::File final : public os::File {
public:
    File(StoppingFileSystem& owner, std::unique_ptr<os::File> file) : owner_(owner), file_(std::move(file)) {}

    std::size_t read(MutableBytes buffer, std::uint64_t at) override { return counted()->read(buffer, at); }
    void write(Bytes bytes, std::uint64_t at) override { counted()->write(bytes, at); }
    void write(std::span<const Bytes> parts, std::uint64_t at) override { counted()->write(parts, at); }
    void sync() override { counted()->sync(); }
    void allocate(std::uint64_t at, std::uint64_t length) override { counted()->allocate(at, length); }
    void truncate(std::uint64_t size) override { counted()->truncate(size); }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t at, std::size_t length, os::Access access) override {
        return counted()->map(at, length, access);
    }
    bool try_lock(std::uint64_t at, os::Lock lock) override { return counted()->try_lock(at, lock); }
    void unlock(std::uint64_t at) override { counted()->unlock(at); }
    bool locked_elsewhere(std::uint64_t at, os::Lock wanted) override {
        return counted()->locked_elsewhere(at, wanted);
    }
    Identity identity() const override { return file_->identity(); }
    void abandon() noexcept override { file_->abandon(); }

private:
    os::File* counted() const {
        owner_.count();
        return file_.get();
    }

    StoppingFileSystem& owner_;
    std::unique_ptr<os::File> file_;
};

template <class Open>
std::unique_ptr<os::File> StoppingFileSystem::wrapped(Open&& open) {
    count();
    return std::make_unique<File>(*this, open());
}

/// What happens within the process of a puppet.
class Actor {
public:
    explicit Actor(fs::path path) : path_(std::move(path)) {}

    /// What the command answers: nothing if all is well, or "Type: message" of an error. "stop-in n" stops the
    /// process at the n-th call that is made during the next command, and never after it: its threads go on
    /// making calls when others ask for something, and nobody would expect it to stop then.
    std::string act(const std::string& line) {
        std::istringstream words(line);
        std::string command;
        words >> command;
        if (command == "stop-in") return files_.stop_in(number(words)), "";
        const std::string answer = answer_to(command, words);
        files_.go_on();
        return answer;
    }

private:
    std::string answer_to(const std::string& command, std::istringstream& words) {
        try {
            return act(command, words);
        } catch (const LockedError& error) {
            return std::string("LockedError: ") + error.what();
        } catch (const CorruptionError& error) {
            return std::string("CorruptionError: ") + error.what();
        } catch (const NotFoundError& error) {
            return std::string("NotFoundError: ") + error.what();
        } catch (const ReadOnlyError& error) {
            return std::string("ReadOnlyError: ") + error.what();
        } catch (const StorageError& error) {
            return "StorageError " + std::to_string(error.code()) + ": " + error.what();
        } catch (const std::exception& error) {
            return std::string("Error: ") + error.what();
        }
    }
    std::string act(const std::string& command, std::istringstream& words) {
        if (command == "read" || command == "write" || command == "empty") return open(command, words);
        if (command == "close") return close(), "";
        if (command == "refresh") return store_->refresh(), "";
        if (command == "count") return std::to_string(Ledger(*store_).count());
        if (command == "check") return check(*store_);
        if (command == "step") return step(number(words)), "";
        if (command == "checkpoint") return store_->checkpoint(), "";
        if (command == "publish") return store_->publish(), "";
        if (command == "compact") return store_->compact(), "";
        if (command == "keep") return store_->keep_snapshot(word(words)), "";
        if (command == "forget") return std::string(store_->delete_snapshot(word(words)) ? "" : "there is none");
        if (command == "snapshot") return snapshots_.push_back(snapshot()), "";
        if (command == "named") return named(word(words)), "";
        if (command == "drop") return snapshots_.erase(snapshots_.begin()), "";
        if (command == "check-snapshots") return check_snapshots();
        if (command == "verify") return verify();
        if (command == "calls") return std::to_string(files_.calls());
        if (command == "info") return info();
        if (command == "user") return become(static_cast<uid_t>(number(words))), "";
        if (command == "at") return hook_ = {word(words), word(words), number(words)}, "";
        return "no command " + command;
    }
    static std::uint64_t number(std::istringstream& words) {
        std::uint64_t number = 1;
        words >> number;
        return number;
    }
    static std::string word(std::istringstream& words) {
        std::string word;
        words >> word;
        return word;
    }

    /// "write 65536": with a log window of so many bytes.
    std::string open(const std::string& how, std::istringstream& words) {
        storage::StoreOptions options;
        options.mode = how == "read" ? Mode::read : how == "write" ? Mode::append : Mode::truncate;
        options.memory_limit = 8 << 20;
        options.files = &files_;
        options.log_window = number(words);
        options.on_checkpoint = [this](storage::StoreOptions::Checkpoint what) { on_checkpoint(what); };
        engine_ = storage::Store::open(path_, options);
        store_.emplace(path_, Options{how == "read" ? Mode::read : Mode::append});
        if (how == "read") return "";
        if (store_->size() == 0) Ledger::create(*store_);
        Ledger(*store_).resume();
        return "";
    }
    void close() {
        snapshots_.clear();
        store_.reset();
        storage::Store::release(engine_);
    }
    void step(std::uint64_t count) {
        Ledger ledger(*store_);
        for (; count > 0; --count) {
            if (count % 7 == 3) ledger.step_back();
            ledger.step();
        }
    }
    static std::string check(pyrsistence::Store& store) {
        const std::string fault = Ledger(store).fault();
        if (fault.empty()) store.check();
        return fault;
    }
    std::string check_snapshots() {
        for (auto& [store, count] : snapshots_) {
            const std::string fault = check(*store);
            if (!fault.empty()) return "snapshot: " + fault;
            if (Ledger(*store).count() != count) return "a snapshot has changed from " + std::to_string(count);
        }
        return "";
    }
    std::string verify() {
        store_->verify();
        return "";
    }
    std::string info() {
        const Info info = store_->info();
        return std::to_string(info.readers) + " " + std::to_string(info.data_bytes) + " " +
               std::to_string(info.oldest_reader) + " " + std::to_string(info.checkpoint);
    }
    std::pair<std::unique_ptr<pyrsistence::Store>, std::uint64_t> snapshot() {
        std::unique_ptr<pyrsistence::Store> made(new pyrsistence::Store(store_->snapshot()));
        const std::uint64_t count = Ledger(*made).count();
        return {std::move(made), count};
    }
    void named(const std::string& name) {
        auto made = std::make_unique<pyrsistence::Store>(path_, Options{.mode = Mode::read, .at = name});
        const std::uint64_t count = Ledger(*made).count();
        snapshots_.emplace_back(std::move(made), count);
    }
    static void become(uid_t user) {
        if (::setgid(user) != 0 || ::setuid(user) != 0) throw StorageError("setuid", errno);
    }
    /// "at begins kill", "at ends stop", or "at begins wait 2", which is the second checkpoint from now on, and
    /// only its own thread that waits, for good; then there is a file "waits" beside the store.
    void on_checkpoint(storage::StoreOptions::Checkpoint what) {
        using enum storage::StoreOptions::Checkpoint;
        const char* name = what == starts ? "starts" : what == begins ? "begins" : "ends";
        if (hook_.at != name || --hook_.left > 0) return;
        if (hook_.does != "wait") return void(::raise(hook_.does == "kill" ? SIGKILL : SIGSTOP));
        std::ofstream(path_.parent_path() / "waits");
        for (;;) ::pause();
    }

    fs::path path_;
    StoppingFileSystem files_;
    struct Hook {
        std::string at, does;
        std::uint64_t left = 1;
    } hook_;
    std::shared_ptr<storage::Store> engine_;
    std::optional<pyrsistence::Store> store_;
    std::vector<std::pair<std::unique_ptr<pyrsistence::Store>, std::uint64_t>> snapshots_;
};

/// What the threads of a process do, as far as the system tells.
inline std::string describe_threads(pid_t pid) {
    std::ostringstream text;
    std::error_code error;
    for (const auto& thread : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", error)) {
        text << "\n  thread " << thread.path().filename().string();
        for (const char* file : {"comm", "wchan", "syscall"}) {
            std::string line;
            std::getline(std::ifstream(thread.path() / file), line);
            text << ", " << file << " " << line;
        }
        std::ifstream status(thread.path() / "status");
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("State:")) text << ", " << line;
        }
    }
    return text.str();
}

/// As fork(), into new namespaces of these kinds (CLONE_NEWPID and the like). Minus one if that is not allowed.
/// A clone by itself would run no handlers of fork: a child of one who has opened stores would rely on threads that it
/// does not have. So one who was forked makes it, for its own parent.
inline pid_t fork_into(unsigned long namespaces) {
    if (namespaces == 0) return ::fork();
    int told[2];
    if (::pipe2(told, O_CLOEXEC) != 0) return -1;
    const pid_t between = ::fork();
    if (between == 0) {
        const auto made = static_cast<pid_t>(::syscall(SYS_clone, namespaces | CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
        if (made == 0) {
            for (const int end : told) ::close(end);
            return 0;
        }
        const pid_t answer = made > 0 ? made : -errno;
        ::_exit(::write(told[1], &answer, sizeof answer) == sizeof answer ? 0 : 1);
    }
    ::close(told[1]);
    pid_t answer = -EAGAIN;
    if (between > 0 && ::waitpid(between, nullptr, 0) == between) (void)!::read(told[0], &answer, sizeof answer);
    ::close(told[0]);
    if (answer < 0) errno = -answer;
    return std::max(answer, -1);
}

class Puppet {
public:
    /// What a command may take on a busy machine before the test gives up.
    static inline std::chrono::seconds patience{40};

    explicit Puppet(const fs::path& path, unsigned long namespaces = 0) {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw StorageError("socketpair", errno);
        const pid_t parent = ::getpid();
        pid_ = fork_into(namespaces);
        if (pid_ < 0) throw StorageError("fork", errno);
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            const bool orphan = namespaces == 0 && ::getppid() != parent;
            if (orphan) ::_exit(1);
            ::close(ends[0]);
            serve(path, ends[1]);
        }
        ::close(ends[1]);
        socket_ = ends[0];
    }
    ~Puppet() {
        kill();
        ::close(socket_);
    }
    Puppet(const Puppet&) = delete;
    Puppet& operator=(const Puppet&) = delete;

    /// Starts a command and returns its answer, "dead" or "stopped".
    std::string operator()(const std::string& command) {
        start(command);
        return answer();
    }
    void start(const std::string& command) {
        command_ = command;
        (void)!::send(socket_, command.data(), command.size(), MSG_NOSIGNAL);
    }
    std::string answer() {
        for (const auto end = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < end;) {
            if (pollfd one{socket_, POLLIN, 0}; ::poll(&one, 1, 1) > 0) return receive();
            int status = 0;
            if (alive_ && ::waitpid(pid_, &status, WNOHANG | WUNTRACED) == pid_) {
                if (WIFSTOPPED(status)) return "stopped";
                alive_ = false;
                status_ = status;
            }
        }
        give_up();
        return "no answer";
    }
    /// Whether the answer is there already.
    bool answered() const {
        pollfd one{socket_, POLLIN, 0};
        return ::poll(&one, 1, 0) > 0;
    }
    /// Of a command that answers with a number.
    std::uint64_t number(const std::string& command) { return std::stoull((*this)(command)); }

    void stop() {
        ::kill(pid_, SIGSTOP);
        int status = 0;
        if (::waitpid(pid_, &status, WUNTRACED) == pid_ && !WIFSTOPPED(status)) alive_ = false;
    }
    void go_on() { ::kill(pid_, SIGCONT); }
    void kill() {
        if (!std::exchange(alive_, false)) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &status_, 0);
    }
    pid_t pid() const { return pid_; }
    int status() const { return status_; }

private:
    /// A test waits for its first missing answer for long, the machine may be busy; then it shall end soon.
    void give_up() {
        ADD_FAILURE() << "no answer to '" << command_ << "' within " << patience.count() << " s from process " << pid_
                      << describe_threads(pid_);
        patience = 1s;
        kill();
    }
    std::string receive() {
        std::array<char, 4096> text;
        const ssize_t count = ::recv(socket_, text.data(), text.size(), 0);
        if (count > 0) return {text.data(), static_cast<std::size_t>(count) - 1};
        if (std::exchange(alive_, false)) ::waitpid(pid_, &status_, 0);
        return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL ? "dead" : "dead of status " + std::to_string(status_);
    }
    [[noreturn]] static void serve(const fs::path& path, int socket) {
        auto* actor = new Actor(path);  // dies with the process, as if it were killed
        std::array<char, 4096> text;
        for (ssize_t count; (count = ::recv(socket, text.data(), text.size(), 0)) > 0;) {
            std::string answer = actor->act({text.data(), static_cast<std::size_t>(count)});
            answer.push_back('\0');
            (void)!::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL);
        }
        ::_exit(0);
    }

    pid_t pid_;
    int socket_;
    bool alive_ = true;
    int status_ = 0;
    std::string command_;  ///< the last one
};

/// The command did what it should.
inline void fine(const std::string& answer) { EXPECT_EQ(answer, ""); }

inline void churn(Puppet& writer, int rounds = 3) {
    for (int i = 0; i < rounds; ++i) {
        fine(writer("step 15"));
        fine(writer("checkpoint"));
    }
}

/// Puppets that open one store.
class PuppetTest : public ::testing::Test {
protected:
    std::unique_ptr<Puppet> puppet(unsigned long namespaces = 0) {
        return std::make_unique<Puppet>(path_, namespaces);
    }
    std::unique_ptr<Puppet> writer(std::uint64_t steps = 100, unsigned long namespaces = 0) {
        auto made = puppet(namespaces);
        fine((*made)("write 65536"));
        fine((*made)("step " + std::to_string(steps)));
        return made;
    }
    std::unique_ptr<Puppet> reader(unsigned long namespaces = 0) {
        auto made = puppet(namespaces);
        fine((*made)("read"));
        return made;
    }
    /// Refreshes until the reader sees what the writer has done: on a busy machine an answer may come too late.
    static void catch_up(Puppet& reader, Puppet& writer) {
        const std::uint64_t wanted = writer.number("count");
        for (int tries = 0; tries < 100; ++tries) {
            fine(reader("refresh"));
            if (reader.number("count") == wanted) return;
        }
        ADD_FAILURE() << "the reader sees " << reader("count") << " of " << wanted;
    }
    struct Figures {
        std::uint64_t readers, data_bytes, oldest_reader, checkpoint;
    };
    static Figures figures(Puppet& of) {
        Figures result{};
        std::istringstream(of("info")) >> result.readers >> result.data_bytes >> result.oldest_reader >>
            result.checkpoint;
        return result;
    }

    TempDir dir_{true};
    fs::path path_ = dir_ / "store";
};

}  // namespace pyrsistence::test
