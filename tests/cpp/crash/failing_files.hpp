// A file system whose calls fail as a test wants: one of them, or all from one on until the test has been told.
// Errors look like those of the operating system. Safe to use from several threads, as an os::FileSystem is.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "support.hpp"

namespace pyrsistence::test {

/// The kinds of calls.
enum class FileCall {
    open, create, create_directory, rename, remove, list, sync_directory, watch, read, write, sync, allocate,
    truncate, map, lock
};
inline constexpr const char* kFileCalls[] = {
    "open", "create", "mkdir", "rename", "remove", "list", "fsync", "watch", "read", "write", "fdatasync",
    "fallocate", "truncate", "mmap", "lock"};

/// Which calls fail. The files of a store and those of its readers may share one.
class Faults {
public:
    struct Failed {
        FileCall call;
        fs::path path;
    };

    /// The call with this number, counted from 1, fails with `code`; if `lasting`, so do all that follow.
    void arm(std::uint64_t at, int code, bool lasting) {
        const std::lock_guard guard(mutex_);
        at_ = at, code_ = code, lasting_ = lasting;
    }
    /// Nothing fails from now on.
    void heal() {
        const std::lock_guard guard(mutex_);
        at_ = UINT64_MAX;
    }
    /// The test has been told of a failure: what lasts ends.
    void reported() {
        const std::lock_guard guard(mutex_);
        if (lasting_ && !failed_.empty()) at_ = UINT64_MAX;
    }

    std::uint64_t calls() const {
        const std::lock_guard guard(mutex_);
        return calls_;
    }
    /// By kind, how many there were.
    std::map<FileCall, std::uint64_t> kinds() const {
        const std::lock_guard guard(mutex_);
        return kinds_;
    }
    std::vector<Failed> failed() const {
        const std::lock_guard guard(mutex_);
        return failed_;
    }
    bool failed(std::initializer_list<FileCall> calls) const {
        const auto all = failed();
        return std::ranges::any_of(all, [&](const Failed& one) {
            return std::ranges::find(calls, one.call) != calls.end();
        });
    }
    /// Whether the sync of this file has failed, and it has not been opened anew.
    bool doubtful(const fs::path& path) const {
        const std::lock_guard guard(mutex_);
        return doubtful_.contains(path);
    }
    /// Whether a sync that had failed was tried again.
    bool retried() const {
        const std::lock_guard guard(mutex_);
        return retried_;
    }
    /// Whether an error is one of those that were made here: its code, the call and the path.
    bool made(const StorageError& error) const {
        const std::string text = error.what();
        const auto all = failed();
        return std::ranges::any_of(all, [&](const Failed& one) {
            const std::string begin = std::string(kFileCalls[std::size_t(one.call)]) + " " + one.path.string();
            return text.starts_with(begin) && error.code() == code_of(one.call);
        });
    }

    /// No call is made to a file while the result lives.
    std::unique_lock<std::shared_mutex> stand_still() { return std::unique_lock(gate_); }

    /// Counts a call, and throws if it is to fail.
    void pass(FileCall call, const fs::path& path) {
        if (const int code = next(call, path)) {
            throw StorageError(std::string(kFileCalls[std::size_t(call)]) + " " + path.string() + ": " +
                               std::strerror(code), code);
        }
    }
    /// Counts a call; 0, or the errno with which it is to fail.
    int next(FileCall call, const fs::path& path) {
        const std::lock_guard guard(mutex_);
        ++kinds_[call];
        if (call == FileCall::open || call == FileCall::create) doubtful_.erase(path);
        if (call == FileCall::sync && doubtful_.contains(path)) retried_ = true;
        const std::uint64_t now = ++calls_;
        if (now != at_ && !(lasting_ && now > at_)) return 0;
        failed_.push_back({call, path});
        if (call == FileCall::sync) doubtful_.insert(path);
        return code_of(call);
    }

private:
    friend class FailingFiles;

    int code_of(FileCall call) const { return call == FileCall::map ? ENOMEM : code_; }

    std::shared_mutex gate_;
    mutable std::mutex mutex_;  ///< guards what follows
    std::uint64_t at_ = UINT64_MAX, calls_ = 0;
    int code_ = EIO;
    bool lasting_ = false;
    std::vector<Failed> failed_;
    std::map<FileCall, std::uint64_t> kinds_;
    std::set<fs::path> doubtful_;  ///< files whose sync has failed since they were opened
    bool retried_ = false;
};

class FailingFiles final : public os::FileSystem {
public:
    /// `stranger`: the data files seem to be others, so that a store that this process has open can be opened by
    /// it as if it were another process.
    explicit FailingFiles(Faults& faults, bool stranger = false) : faults_(faults), stranger_(stranger) {}

    std::unique_ptr<os::File> open(const fs::path& path, os::Access access) override {
        faults_.pass(FileCall::open, path);
        return wrap(path, system_.open(path, access));
    }
    std::unique_ptr<os::File> create(const fs::path& path) override {
        faults_.pass(FileCall::create, path);
        return wrap(path, system_.create(path));
    }
    bool create_directory(const fs::path& path) override {
        faults_.pass(FileCall::create_directory, path);
        return system_.create_directory(path);
    }
    void rename(const fs::path& from, const fs::path& to) override {
        faults_.pass(FileCall::rename, from);
        system_.rename(from, to);
    }
    void remove(const fs::path& path) override {
        faults_.pass(FileCall::remove, path);
        system_.remove(path);
    }
    std::vector<std::string> list(const fs::path& path) override {
        faults_.pass(FileCall::list, path);
        return system_.list(path);
    }
    void sync_directory(const fs::path& path) override {
        faults_.pass(FileCall::sync_directory, path);
        system_.sync_directory(path);
    }
    std::unique_ptr<os::Watch> watch(const fs::path& path, std::function<void()> on_write) override {
        if (faults_.next(FileCall::watch, path) != 0) return nullptr;
        return system_.watch(path, std::move(on_write));
    }

private:
    class File;
    std::unique_ptr<os::File> wrap(const fs::path& path, std::unique_ptr<os::File> file);

    os::FileSystem& system_ = os::FileSystem::posix();
    Faults& faults_;
    const bool stranger_;
};

class FailingFiles::File final : public os::File {
public:
    File(Faults& faults, fs::path path, std::unique_ptr<os::File> file, std::uint64_t device)
        : faults_(faults), path_(std::move(path)), file_(std::move(file)), device_(device) {}

    std::size_t read(MutableBytes buffer, std::uint64_t at) override {
        return asked(FileCall::read)->read(buffer, at);
    }
    void write(Bytes bytes, std::uint64_t at) override { asked(FileCall::write)->write(bytes, at); }
    void write(std::span<const Bytes> parts, std::uint64_t at) override {
        asked(FileCall::write)->write(parts, at);
    }
    void sync() override { asked(FileCall::sync)->sync(); }
    void allocate(std::uint64_t at, std::uint64_t length) override {
        asked(FileCall::allocate)->allocate(at, length);
    }
    void truncate(std::uint64_t size) override { asked(FileCall::truncate)->truncate(size); }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t at, std::size_t length, os::Access access) override {
        return asked(FileCall::map)->map(at, length, access);
    }
    bool try_lock(std::uint64_t at, os::Lock lock) override { return asked(FileCall::lock)->try_lock(at, lock); }
    void unlock(std::uint64_t at) override { file_->unlock(at); }
    bool locked_elsewhere(std::uint64_t at, os::Lock wanted) override {
        return asked(FileCall::lock)->locked_elsewhere(at, wanted);
    }
    Identity identity() const override {
        Identity own = file_->identity();
        own.device += device_;
        return own;
    }
    void abandon() noexcept override { file_->abandon(); }

private:
    struct Held {
        std::shared_lock<std::shared_mutex> gate;
        os::File* file;
        os::File* operator->() const { return file; }
    };
    Held asked(FileCall call) {
        faults_.pass(call, path_);
        return {std::shared_lock(faults_.gate_), file_.get()};
    }

    Faults& faults_;
    const fs::path path_;
    const std::unique_ptr<os::File> file_;
    const std::uint64_t device_;  ///< added to the real one
};

inline std::unique_ptr<os::File> FailingFiles::wrap(const fs::path& path, std::unique_ptr<os::File> file) {
    const std::uint64_t device = stranger_ && path.filename() == "data" ? 1'000'000 : 0;
    return std::make_unique<File>(faults_, path, std::move(file), device);
}

/// Entries of a directory of /proc/self: open descriptors ("fd"), threads ("task").
inline std::size_t own_entries(const char* what) {
    const fs::directory_iterator all(fs::path("/proc/self") / what);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace pyrsistence::test
