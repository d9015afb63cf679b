// FileSystem::watch() by inotify: one instance and one thread for all watches of the process, started with
// the first. Neither ever ends; a child of a fork leaves them behind and starts its own when it needs them.
//
// Thread safety: everything may be called from any thread. No lock is held while a watch's function runs.
#include <pthread.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "os/file.hpp"

namespace pyrsistence::os {

namespace {

/// The watches of one process. Never destroyed: the thread uses it until the process ends, and after a fork
/// the child cannot know what state the parent's other threads had left it in.
class Hub {
public:
    static Hub& current();
    bool is_current() const noexcept { return current_ == this; }
    /// The watch's number; 0 if the system refuses.
    std::uint64_t add(const fs::path& path, std::function<void()> on_write);
    void remove(std::uint64_t number) noexcept;
    /// In the child of a fork, which must neither wait for locks nor read the parent's events.
    static void forget() noexcept;

private:
    /// Several watches of one file have the same descriptor: inotify counts files, not watches.
    struct Entry {
        int watch;
        std::function<void()> on_write;
    };
    static constexpr int kNone = -1;  ///< inotify's word for lost events, which may concern any watch

    bool start();
    void run() noexcept;
    void tell(const inotify_event& event) noexcept;
    std::shared_ptr<const Entry> next(std::uint64_t& number, int watch) noexcept;
    bool call_next(std::uint64_t& number, int watch) noexcept;
    bool watched(int watch) const;

    static std::atomic<Hub*> current_;

    std::mutex mutex_;  ///< guards what follows; nothing else is locked or awaited while it is held
    std::condition_variable idle_;
    std::map<std::uint64_t, std::shared_ptr<Entry>> entries_;
    std::uint64_t last_ = 0;     ///< number given out
    std::uint64_t running_ = 0;  ///< number of the watch whose function runs; 0: none does
    std::thread::id thread_;
    std::atomic<int> inotify_ = kNone;
};

std::atomic<Hub*> Hub::current_ = nullptr;

/// Registered when the program or library is loaded: a lock that makes it happen once could be held by
/// another thread at the moment of a fork, and the child would wait for it for ever.
[[maybe_unused]] const int fork_handler = ::pthread_atfork(nullptr, nullptr, [] { Hub::forget(); });

Hub& Hub::current() {
    Hub* hub = current_;
    if (hub != nullptr) return *hub;
    auto fresh = std::make_unique<Hub>();
    return current_.compare_exchange_strong(hub, fresh.get()) ? *fresh.release() : *hub;
}

void Hub::forget() noexcept {
    Hub* const hub = current_.exchange(nullptr);
    if (hub != nullptr && hub->inotify_ != kNone) ::close(hub->inotify_);
}

/// A thread inherits the mask of its maker. Signals that a thread raises by its own faults stay: blocked ones
/// would kill the process where a handler can save it (mapping_guard.hpp).
class SignalsBlocked {
public:
    SignalsBlocked() noexcept {
        sigset_t blocked;
        ::sigfillset(&blocked);
        for (const int fault : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGSYS}) {
            ::sigdelset(&blocked, fault);
        }
        ::pthread_sigmask(SIG_SETMASK, &blocked, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    sigset_t before_;
};

bool Hub::start() {
    if (inotify_ != kNone) return true;
    const int descriptor = ::inotify_init1(IN_CLOEXEC);
    if (descriptor < 0) return false;
    inotify_ = descriptor;
    try {
        const SignalsBlocked guard;
        std::thread thread(&Hub::run, this);
        thread_ = thread.get_id();
        thread.detach();
        return true;
    } catch (const std::exception&) {  // no thread, or no memory for one
        inotify_ = kNone;
        ::close(descriptor);
        return false;
    }
}

std::uint64_t Hub::add(const fs::path& path, std::function<void()> on_write) {
    auto entry = std::make_shared<Entry>(Entry{kNone, std::move(on_write)});
    const std::lock_guard guard(mutex_);
    if (!start()) return 0;
    const auto place = entries_.emplace(last_ + 1, entry).first;
    entry->watch = ::inotify_add_watch(inotify_, path.c_str(), IN_MODIFY | IN_DONT_FOLLOW);
    if (entry->watch == kNone) {
        entries_.erase(place);
        return 0;
    }
    return ++last_;
}

void Hub::remove(std::uint64_t number) noexcept {
    if (!is_current()) return;
    std::unique_lock lock(mutex_);
    const auto found = entries_.find(number);
    if (found == entries_.end()) return;
    const std::shared_ptr<const Entry> entry = std::move(found->second);  // destroyed without the lock
    entries_.erase(found);
    if (!watched(entry->watch)) ::inotify_rm_watch(inotify_, entry->watch);
    if (std::this_thread::get_id() == thread_) return;
    idle_.wait(lock, [&] { return running_ != number; });
    lock.unlock();
}

bool Hub::watched(int watch) const {
    for (const auto& [number, entry] : entries_) {
        if (entry->watch == watch) return true;
    }
    return false;
}

/// The first watch after `number` that is concerned, which then counts as running.
std::shared_ptr<const Hub::Entry> Hub::next(std::uint64_t& number, int watch) noexcept {
    const std::lock_guard guard(mutex_);
    for (auto next = entries_.upper_bound(number); next != entries_.end(); ++next) {
        if (watch != kNone && next->second->watch != watch) continue;
        number = running_ = next->first;
        return next->second;
    }
    return nullptr;
}

/// Calls the function of the next watch, which may add and remove watches. False if there is none.
bool Hub::call_next(std::uint64_t& number, int watch) noexcept {
    auto entry = next(number, watch);
    if (!entry) return false;
    try {
        entry->on_write();
    } catch (...) {
        // There is nobody to tell.
    }
    if (!is_current()) return false;  // the function forked, and this is the child
    entry.reset();                    // whoever awaits the end of the call awaits this, too
    {
        const std::lock_guard guard(mutex_);
        running_ = 0;
    }
    idle_.notify_all();
    return true;
}

void Hub::tell(const inotify_event& event) noexcept {
    if ((event.mask & (IN_MODIFY | IN_Q_OVERFLOW)) == 0) return;  // a watch has ended, or its file is gone
    std::uint64_t number = 0;
    while (call_next(number, event.wd)) {
    }
}

void Hub::run() noexcept {
    alignas(inotify_event) std::array<char, 4096> buffer;
    while (is_current()) {
        const ssize_t count = ::read(inotify_, buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return;
        for (ssize_t at = 0; at < count && is_current();) {
            inotify_event event;
            std::memcpy(&event, buffer.data() + at, sizeof event);
            at += static_cast<ssize_t>(sizeof event + event.len);
            tell(event);
        }
    }
}

class InotifyWatch final : public Watch {
public:
    explicit InotifyWatch(Hub& hub) : hub_(hub) {}
    ~InotifyWatch() override { hub_.remove(number_); }
    bool start(const fs::path& path, std::function<void()> on_write) {
        number_ = hub_.add(path, std::move(on_write));
        return number_ != 0;
    }

private:
    Hub& hub_;
    std::uint64_t number_ = 0;
};

}  // namespace

std::unique_ptr<Watch> watch_file(const fs::path& path, std::function<void()> on_write) {
    auto watch = std::make_unique<InotifyWatch>(Hub::current());
    if (!watch->start(path, std::move(on_write))) return nullptr;
    return watch;
}

}  // namespace pyrsistence::os
