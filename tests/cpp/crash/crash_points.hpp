// A file system in which the process dies before or after the n-th call of a kind, such as "sync data" or "write
// log header", and which counts the calls of each kind in memory that the test shares: what there is to die at is
// found by running, never listed. Any thread may make calls; the board is the test's.
#pragma once

#include <sys/mman.h>

#include <csignal>
#include <cstdio>

#include "storage/log.hpp"
#include "support.hpp"

namespace pyrsistence::test {

/// A T in memory that this process and its children share, all zeros at first.
template <class T>
class Shared {
public:
    Shared() {
        void* place = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED) throw StorageError("mmap", errno);
        value_ = new (place) T;
    }
    ~Shared() { ::munmap(value_, sizeof(T)); }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    T& operator*() const { return *value_; }
    T* operator->() const { return value_; }

private:
    T* value_;
};

/// How many calls of each kind a process has made.
class CallCounts {
public:
    static constexpr std::size_t kKinds = 128, kLength = 40;

    /// One process at a time, one thread at a time.
    std::uint64_t count(const std::string& kind) {
        std::size_t i = 0;
        while (i < used_ && kind != kinds_[i].name) ++i;
        if (i == kKinds) std::abort();
        if (i == used_) {
            std::snprintf(kinds_[i].name, kLength, "%s", kind.c_str());
            ++used_;
        }
        return ++kinds_[i].calls;
    }
    std::map<std::string, std::uint64_t> all() const {
        std::map<std::string, std::uint64_t> result;
        for (std::size_t i = 0; i < used_; ++i) result[kinds_[i].name] = kinds_[i].calls;
        return result;
    }
    void clear() {
        for (auto& kind : kinds_) kind.calls = 0;
    }

private:
    struct Kind {
        char name[kLength];
        std::atomic<std::uint64_t> calls;
    };
    std::atomic<std::size_t> used_;
    Kind kinds_[kKinds];
};

/// Where a process dies. Nowhere if `call` is 0.
struct CrashPoint {
    std::string kind;
    std::uint64_t call = 0;
    bool after = false;

    std::string text() const {
        return call == 0 ? "nowhere" : (after ? "after " : "before ") + kind + " no. " + std::to_string(call);
    }
};

class CrashPoints final : public os::FileSystem {
public:
    CrashPoints(CallCounts& counts, CrashPoint point) : counts_(counts), point_(std::move(point)) {}

    std::unique_ptr<os::File> open(const fs::path& path, os::Access access) override;
    std::unique_ptr<os::File> create(const fs::path& path) override;
    bool create_directory(const fs::path& path) override {
        return at("create directory", [&] { return system_.create_directory(path); });
    }
    void rename(const fs::path& from, const fs::path& to) override {
        at("rename " + name(from), [&] { system_.rename(from, to); });
    }
    void remove(const fs::path& path) override {
        at("remove " + name(path), [&] { system_.remove(path); });
    }
    std::vector<std::string> list(const fs::path& path) override {
        return at("list directory", [&] { return system_.list(path); });
    }
    void sync_directory(const fs::path& path) override {
        at("sync directory", [&] { system_.sync_directory(path); });
    }
    std::unique_ptr<os::Watch> watch(const fs::path& path, std::function<void()> on_write) override {
        return at("watch " + name(path), [&] { return system_.watch(path, std::move(on_write)); });
    }

    /// Makes a call of a kind, unless the process dies before it; perhaps it dies after it.
    template <class Call>
    auto at(const std::string& kind, Call&& call) -> decltype(call()) {
        struct Passage {
            CrashPoints& points;
            const bool last;
            explicit Passage(CrashPoints& points, const std::string& kind)
                : points(points), last(points.arrives(kind)) {
                if (last && !points.point_.after) ::raise(SIGKILL);
            }
            ~Passage() {
                if (last) ::raise(SIGKILL);
            }
        } const passage(*this, kind);
        return call();
    }

private:
    class File;

    static std::string name(const fs::path& path) { return path.filename().string(); }
    /// True if this is the call at which to die.
    bool arrives(const std::string& kind) {
        const std::lock_guard guard(mutex_);
        return counts_.count(kind) == point_.call && kind == point_.kind;
    }

    os::FileSystem& system_ = os::FileSystem::posix();
    CallCounts& counts_;
    const CrashPoint point_;
    std::mutex mutex_;
};

class CrashPoints::File final : public os::File {
public:
    File(CrashPoints& points, std::string name, std::unique_ptr<os::File> file)
        : points_(points), name_(std::move(name)), file_(std::move(file)) {}

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        return at("read", [&] { return file_->read(buffer, offset); });
    }
    void write(Bytes bytes, std::uint64_t offset) override {
        points_.at(kind_of_write(offset), [&] { file_->write(bytes, offset); });
    }
    void write(std::span<const Bytes> parts, std::uint64_t offset) override {
        at("write parts of", [&] { file_->write(parts, offset); });
    }
    void sync() override {
        at("sync", [&] { file_->sync(); });
    }
    void allocate(std::uint64_t offset, std::uint64_t length) override {
        at("allocate", [&] { file_->allocate(offset, length); });
    }
    void truncate(std::uint64_t size) override {
        at("truncate", [&] { file_->truncate(size); });
    }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        return at("map", [&] { return file_->map(offset, length, access); });
    }
    bool try_lock(std::uint64_t offset, os::Lock lock) override {
        return at(offset == 0 ? "take" : "take slot of", [&] { return file_->try_lock(offset, lock); });
    }
    void unlock(std::uint64_t offset) override {
        at(offset == 0 ? "give back" : "give back slot of", [&] { file_->unlock(offset); });
    }
    bool locked_elsewhere(std::uint64_t offset, os::Lock wanted) override {
        return at("ask for", [&] { return file_->locked_elsewhere(offset, wanted); });
    }
    Identity identity() const override { return file_->identity(); }
    void abandon() noexcept override { file_->abandon(); }

private:
    template <class Call>
    auto at(const char* call, Call&& make) -> decltype(make()) {
        return points_.at(std::string(call) + " " + name_, std::forward<Call>(make));
    }
    std::string kind_of_write(std::uint64_t offset) const {
        using storage::Log;
        if (name_ == "log") {
            if (offset == 0) return "write log file header";
            return (offset - Log::kHeaderSize) % Log::kWindowCap == 0 ? "write log header" : "write log zeros";
        }
        const bool meta = name_ != "lock" && offset < storage::kMetaPages * storage::kPageSize;
        return meta ? "write meta page of " + name_ : "write " + name_;
    }

    CrashPoints& points_;
    const std::string name_;
    const std::unique_ptr<os::File> file_;
};

inline std::unique_ptr<os::File> CrashPoints::open(const fs::path& path, os::Access access) {
    return at("open " + name(path), [&] {
        return std::make_unique<File>(*this, name(path), system_.open(path, access));
    });
}

inline std::unique_ptr<os::File> CrashPoints::create(const fs::path& path) {
    return at("create " + name(path), [&] { return std::make_unique<File>(*this, name(path), system_.create(path)); });
}

}  // namespace pyrsistence::test
