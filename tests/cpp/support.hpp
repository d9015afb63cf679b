// What the tests of structures, containers and stores share: temporary directories, seeds, values
// made from numbers, copies of a store as a killed process leaves it, and a file system that can be
// told to fail, to stand still, or to lose power. Each object belongs to one test.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <vector>

#include "os/file.hpp"
#include "pyrsistence/error.hpp"
#include "scale.hpp"

namespace pyrsistence::test {

namespace fs = std::filesystem;

class TempDir {
public:
    /// `quick`: in memory if the system has such a place, for tests that open hundreds of stores.
    explicit TempDir(bool quick = false) {
        const fs::path memory = "/dev/shm";
        const bool in_memory = quick && ::access(memory.c_str(), W_OK) == 0;
        std::string pattern = ((in_memory ? memory : fs::temp_directory_path()) / "pyrsistence-test-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw StorageError("mkdtemp " + pattern, errno);
        path_ = pattern;
    }
    ~TempDir() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const fs::path& path() const { return path_; }
    fs::path operator/(const char* name) const { return path_ / name; }
    /// A name that was not given out before.
    fs::path next() { return path_ / std::to_string(++count_); }

private:
    fs::path path_;
    unsigned count_ = 0;
};

/// The same in each run unless PYRSISTENCE_TEST_SEED says otherwise; shown when a test fails.
inline std::uint64_t seed() {
    const char* text = std::getenv("PYRSISTENCE_TEST_SEED");
    return text ? std::strtoull(text, nullptr, 10) : 20240229;
}
#define PYRSISTENCE_TRACE_SEED SCOPED_TRACE("PYRSISTENCE_TEST_SEED=" + std::to_string(pyrsistence::test::seed()))

/// Random numbers with the few shapes that the tests need.
class Random {
public:
    explicit Random(std::uint64_t salt) : engine_(seed() * 0x9e3779b97f4a7c15 + salt) {}

    std::uint64_t operator()() { return engine_(); }
    std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : engine_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }
    /// A place in 0..n, mostly at the front, at the end or anywhere, as `skew` says.
    std::uint64_t place(std::uint64_t n, unsigned skew) {
        const std::uint64_t near = std::min<std::uint64_t>(below(20), n);
        switch (skew % 4) {
            case 0: return near;
            case 1: return n - near;
            case 2: return std::min(n, n / 2 + near);
            default: return below(n + 1);
        }
    }

private:
    std::mt19937_64 engine_;
};

/// `size` bytes that follow from the number.
inline std::string content(std::uint64_t number, std::size_t size) {
    std::string text(size, '\0');
    std::uint64_t state = number * 0x9e3779b97f4a7c15 + size;
    for (std::size_t at = 0; at < size; at += 8) {
        state = (state ^ (state >> 29)) * 0xbf58476d1ce4e5b9 + 1;
        std::memcpy(text.data() + at, &state, std::min<std::size_t>(8, size - at));
    }
    return text;
}

/// Copies a file with its holes, as any other process sees it.
inline void copy_file_sparse(const fs::path& from, const fs::path& to) {
    const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
    const int out = ::open(to.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT_TRUE(in >= 0 && out >= 0) << from << " to " << to << ": " << std::strerror(errno);
    struct stat status {};
    ::fstat(in, &status);
    ASSERT_EQ(::ftruncate(out, status.st_size), 0);
    std::vector<char> block(1 << 16);
    for (off_t at = ::lseek(in, 0, SEEK_DATA); at >= 0 && at < status.st_size;) {
        const off_t hole = ::lseek(in, at, SEEK_HOLE);
        while (at < hole) {
            const auto count = std::min<std::size_t>(block.size(), static_cast<std::size_t>(hole - at));
            const ssize_t got = ::pread(in, block.data(), count, at);
            if (got <= 0) break;
            ASSERT_EQ(::pwrite(out, block.data(), static_cast<std::size_t>(got), at), got);
            at += got;
        }
        at = ::lseek(in, hole, SEEK_DATA);
    }
    ::close(in);
    ::close(out);
}

/// The store's files as the kernel has them: what a process finds if the present one is killed now.
inline void copy_store(const fs::path& from, const fs::path& to) {
    fs::create_directories(to);
    copy_file_sparse(from / "data", to / "data");
    copy_file_sparse(from / "log", to / "log");
}

/// The same of an open store or container, whose checkpoints may be running: one that ends meanwhile would mix two
/// moments. REQUIRES: nobody else changes the store.
template <class Opened>
void copy_as_killed(Opened& open, const fs::path& to) {
    std::uint64_t checkpoint;
    do {
        checkpoint = open.info().checkpoint;
        copy_store(open.path(), to);
    } while (open.info().checkpoint != checkpoint);
}

/// Passes every call on to the operating system's files after asking `hook`, which may throw.
/// Knows what is durable, so that a test can lose power.
class TestFileSystem final : public os::FileSystem {
public:
    enum class Call { open, create, rename, remove, list, sync_directory, read, write, sync, allocate, truncate, map };
    using Hook = std::function<void(Call, const fs::path&)>;

    /// May be set while other threads call.
    class HookSlot {
    public:
        void operator=(Hook hook) {
            auto replaced = std::make_shared<const Hook>(std::move(hook));
            const std::lock_guard guard(mutex_);
            hook_.swap(replaced);
        }
        void operator()(Call call, const fs::path& path) {
            const auto hook = [this] {
                const std::lock_guard guard(mutex_);
                return hook_;
            }();
            if (hook && *hook) (*hook)(call, path);
        }

    private:
        std::mutex mutex_;
        std::shared_ptr<const Hook> hook_;
    };

    HookSlot hook;
    bool track_power = false;  ///< remember what is durable; for small stores
    bool foreign = false;      ///< data files claim to be others: a store opened here is not shared with one elsewhere

    /// Nothing is written while the result lives, except through mappings.
    std::unique_lock<std::shared_mutex> stand_still() { return std::unique_lock(gate_); }

    /// What a disk holds after a power failure: everything that was synced, and each sector that
    /// changed since then or not, by chance. The store at `path` goes on.
    void lose_power(const fs::path& path, const fs::path& to, Random& random, unsigned percent_kept);

    std::unique_ptr<os::File> open(const fs::path& path, os::Access access) override;
    std::unique_ptr<os::File> create(const fs::path& path) override;
    bool create_directory(const fs::path& path) override { return system_.create_directory(path); }
    void rename(const fs::path& from, const fs::path& to) override;
    void remove(const fs::path& path) override {
        ask(Call::remove, path);
        system_.remove(path);
    }
    std::vector<std::string> list(const fs::path& path) override {
        ask(Call::list, path);
        return system_.list(path);
    }
    void sync_directory(const fs::path& path) override {
        ask(Call::sync_directory, path);
        system_.sync_directory(path);
    }

private:
    static constexpr std::size_t kSector = 512, kPage = 4096;
    using Page = std::array<std::byte, kPage>;
    /// What is durable of one file.
    struct Image {
        std::map<std::uint64_t, Page> pages;
        std::uint64_t size = 0;
    };
    class File;

    void ask(Call call, const fs::path& path) {
        hook(call, path);
    }
    static std::map<std::uint64_t, Page> pages_of(const fs::path& path);
    void synced(const fs::path& path) {
        if (!track_power) return;
        const std::lock_guard guard(images_mutex_);
        images_[path] = {pages_of(path), fs::file_size(path)};
    }

    os::FileSystem& system_ = os::FileSystem::posix();
    std::shared_mutex gate_;
    std::mutex images_mutex_;
    std::map<fs::path, Image> images_;
};

class TestFileSystem::File final : public os::File {
public:
    File(TestFileSystem& owner, fs::path path, std::unique_ptr<os::File> file)
        : owner_(owner), path_(std::move(path)), file_(std::move(file)) {}

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        owner_.ask(Call::read, path_);
        return file_->read(buffer, offset);
    }
    void write(Bytes bytes, std::uint64_t offset) override {
        const auto held = changing(Call::write);
        file_->write(bytes, offset);
    }
    void write(std::span<const Bytes> parts, std::uint64_t offset) override {
        const auto held = changing(Call::write);
        file_->write(parts, offset);
    }
    void sync() override {
        const auto held = changing(Call::sync);
        owner_.synced(path_);
        file_->sync();
    }
    void allocate(std::uint64_t offset, std::uint64_t length) override {
        const auto held = changing(Call::allocate);
        file_->allocate(offset, length);
    }
    void truncate(std::uint64_t size) override {
        const auto held = changing(Call::truncate);
        file_->truncate(size);
    }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        owner_.ask(Call::map, path_);
        return file_->map(offset, length, access);
    }
    bool try_lock(std::uint64_t offset, os::Lock lock) override { return file_->try_lock(offset, lock); }
    void unlock(std::uint64_t offset) override { file_->unlock(offset); }
    Identity identity() const override {
        Identity own = file_->identity();
        if (owner_.foreign && path_.filename() == "data") own.inode = ~own.inode;
        return own;
    }
    void abandon() noexcept override { file_->abandon(); }

private:
    std::shared_lock<std::shared_mutex> changing(Call call) {
        owner_.ask(call, path_);
        return std::shared_lock(owner_.gate_);
    }

    TestFileSystem& owner_;
    fs::path path_;
    std::unique_ptr<os::File> file_;
};

inline std::unique_ptr<os::File> TestFileSystem::open(const fs::path& path, os::Access access) {
    ask(Call::open, path);
    auto file = system_.open(path, access);
    const bool known = [&] {
        const std::lock_guard guard(images_mutex_);
        return images_.contains(path);
    }();
    if (!known) synced(path);
    return std::make_unique<File>(*this, path, std::move(file));
}

inline std::unique_ptr<os::File> TestFileSystem::create(const fs::path& path) {
    ask(Call::create, path);
    return std::make_unique<File>(*this, path, system_.create(path));
}

inline void TestFileSystem::rename(const fs::path& from, const fs::path& to) {
    ask(Call::rename, from);
    system_.rename(from, to);
    const std::lock_guard guard(images_mutex_);
    if (images_.contains(from)) images_[to] = images_[from];
}

inline std::map<std::uint64_t, TestFileSystem::Page> TestFileSystem::pages_of(const fs::path& path) {
    std::map<std::uint64_t, Page> pages;
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const off_t end = ::lseek(file, 0, SEEK_END);
    for (off_t at = ::lseek(file, 0, SEEK_DATA); at >= 0 && at < end;) {
        const off_t hole = ::lseek(file, at, SEEK_HOLE);
        for (; at < hole; at += off_t(kPage)) {
            Page& page = pages[std::uint64_t(at) / kPage];
            page.fill(std::byte{0});
            if (::pread(file, page.data(), kPage, at) < 0) break;
        }
        at = ::lseek(file, hole, SEEK_DATA);
    }
    ::close(file);
    return pages;
}

inline void TestFileSystem::lose_power(const fs::path& path, const fs::path& to, Random& random, unsigned percent_kept) {
    const auto held = stand_still();
    const std::lock_guard guard(images_mutex_);
    fs::create_directories(to);
    for (const char* name : {"data", "log"}) {
        const Image& durable = images_[path / name];
        auto disk = durable.pages;
        for (const auto& [id, now] : pages_of(path / name)) {
            Page& page = disk.try_emplace(id, Page{}).first->second;
            for (std::size_t at = 0; at < kPage; at += kSector) {
                if (random.chance(percent_kept)) std::memcpy(page.data() + at, now.data() + at, kSector);
            }
        }
        const std::uint64_t size = std::max(durable.size, random.chance(percent_kept) ? fs::file_size(path / name) : 0);
        const int out = ::open((to / name).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        for (const auto& [id, page] : disk) {
            ASSERT_EQ(::pwrite(out, page.data(), kPage, off_t(id * kPage)), ssize_t(kPage));
        }
        ASSERT_EQ(::ftruncate(out, off_t(size)), 0);
        ::close(out);
    }
}

}  // namespace pyrsistence::test
