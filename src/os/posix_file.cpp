// The POSIX implementation of File and FileSystem, and the memory limits of Linux control groups.
// Nothing here keeps state beyond a descriptor and the path that error messages name.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <fstream>
#include <new>
#include <random>

#include "os/file.hpp"
#include "os/mapping_guard.hpp"
#include "pyrsistence/error.hpp"

namespace pyrsistence::os {

namespace {

/// EFAULT is a mapped page, handed to the call, that cannot be read.
[[noreturn]] void fail(const char* call, const fs::path& path, int code) {
    if (code == EFAULT) code = EIO;
    throw StorageError(std::string(call) + " " + path.string() + ": " + std::strerror(code), code);
}

/// Repeats a system call while a signal interrupts it.
template <class Call>
auto retry(Call&& call) {
    decltype(call()) result;
    do {
        result = call();
    } while (result == -1 && errno == EINTR);
    return result;
}

off_t to_offset(std::uint64_t offset) { return static_cast<off_t>(offset); }

class PosixMapping final : public Mapping {
public:
    PosixMapping(std::byte* data, std::size_t size, Access access) noexcept
        : Mapping(data, size), guard_(data, size, access), access_(access) {}
    ~PosixMapping() override {
        guard_.release();
        ::munmap(data(), size());
    }
    void use(std::size_t offset) noexcept override {
        if (!twin_tried_) make_twin();
        if (!twin_) return;
        look_at(data() + offset);  // for a page that is not in memory, the twin would read 128 KiB around it
        look_at(twin_->data() + offset);
    }
    std::uint64_t faults() const noexcept override { return guard_.faults() + (twin_ ? twin_->faults() : 0); }

private:
    static void look_at(const std::byte* place) { static_cast<void>(*static_cast<const volatile std::byte*>(place)); }

    /// The same pages again, without the advice.
    void make_twin() noexcept {
        twin_tried_ = true;
        void* place = ::mremap(data(), 0, size(), MREMAP_MAYMOVE);
        if (place == MAP_FAILED) return;
        ::madvise(place, size(), MADV_NORMAL);
        twin_.reset(new (std::nothrow) PosixMapping(static_cast<std::byte*>(place), size(), access_));
        if (!twin_) ::munmap(place, size());
    }

    MappingGuard guard_;
    const Access access_;
    std::unique_ptr<PosixMapping> twin_;
    bool twin_tried_ = false;
};

class PosixFile final : public File {
public:
    explicit PosixFile(fs::path path) : path_(std::move(path)) {}
    ~PosixFile() override { abandon(); }

    void open(int flags);
    std::size_t read(MutableBytes buffer, std::uint64_t offset) override;
    void write(Bytes bytes, std::uint64_t offset) override;
    void write(std::span<const Bytes> parts, std::uint64_t offset) override;
    void sync() override;
    void allocate(std::uint64_t offset, std::uint64_t length) override;
    void truncate(std::uint64_t size) override;
    void will_need(std::uint64_t offset, std::uint64_t length) const noexcept override;
    std::uint64_t size() const override { return static_cast<std::uint64_t>(status().st_size); }
    std::unique_ptr<Mapping> map(std::uint64_t offset, std::size_t length, Access access) override;
    bool try_lock(std::uint64_t offset, Lock lock) override;
    void unlock(std::uint64_t offset) override;
    bool locked_elsewhere(std::uint64_t offset, Lock wanted) override;
    Identity identity() const override;
    void abandon() noexcept override;

private:
    struct stat status() const;
    static struct flock lock_of(std::uint64_t offset, short type);
    int set_lock(std::uint64_t offset, short type);

    int descriptor_ = -1;
    fs::path path_;
};

/// Follows no link, and opens nothing but files: a FIFO would keep the caller waiting.
void PosixFile::open(int flags) {
    flags |= O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    descriptor_ = retry([&] { return ::open(path_.c_str(), flags, 0600); });
    if (descriptor_ < 0) fail("open", path_, errno);
    if (S_ISREG(status().st_mode)) return;
    throw StorageError("open " + path_.string() + ": this is no regular file; put the store's own back", EINVAL);
}

std::size_t PosixFile::read(MutableBytes buffer, std::uint64_t offset) {
    std::size_t done = 0;
    while (done < buffer.size()) {
        const ssize_t count = retry([&] {
            return ::pread(descriptor_, buffer.data() + done, buffer.size() - done, to_offset(offset + done));
        });
        if (count < 0) fail("read", path_, errno);
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

void PosixFile::write(Bytes bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
        const ssize_t count =
            retry([&] { return ::pwrite(descriptor_, bytes.data(), bytes.size(), to_offset(offset)); });
        if (count < 0) fail("write", path_, errno);
        if (count == 0) fail("write", path_, ENOSPC);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
}

void PosixFile::write(std::span<const Bytes> parts, std::uint64_t offset) {
    std::array<iovec, IOV_MAX> vector;
    while (!parts.empty()) {
        const std::size_t batch = std::min<std::size_t>(parts.size(), vector.size());
        std::size_t total = 0;
        for (std::size_t i = 0; i < batch; ++i) {
            vector[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
            total += parts[i].size();
        }
        const ssize_t count = total == 0 ? 0 : retry([&] {
            return ::pwritev(descriptor_, vector.data(), static_cast<int>(batch), to_offset(offset));
        });
        if (count < 0) fail("write", path_, errno);
        if (count == 0 && total > 0) fail("write", path_, ENOSPC);
        auto left = static_cast<std::size_t>(count);
        offset += left;
        while (!parts.empty() && parts.front().size() <= left) {
            left -= parts.front().size();
            parts = parts.subspan(1);
        }
        if (left > 0) {  // a short write ended inside this part
            const Bytes rest = parts.front().subspan(left);
            write(rest, offset);
            offset += rest.size();
            parts = parts.subspan(1);
        }
    }
}

void PosixFile::sync() {
    if (retry([&] { return ::fdatasync(descriptor_); }) != 0) fail("fdatasync", path_, errno);
}

void PosixFile::allocate(std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return;
    if (retry([&] { return ::fallocate(descriptor_, 0, to_offset(offset), to_offset(length)); }) == 0) return;
    if (errno != EOPNOTSUPP && errno != ENOSYS) fail("fallocate", path_, errno);
    if (size() < offset + length) truncate(offset + length);
}

void PosixFile::truncate(std::uint64_t size) {
    if (retry([&] { return ::ftruncate(descriptor_, to_offset(size)); }) != 0) fail("truncate", path_, errno);
}

void PosixFile::will_need(std::uint64_t offset, std::uint64_t length) const noexcept {
    ::posix_fadvise(descriptor_, to_offset(offset), to_offset(length), POSIX_FADV_WILLNEED);
}

std::unique_ptr<Mapping> PosixFile::map(std::uint64_t offset, std::size_t length, Access access) {
    const int protection = access == Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
    void* place = ::mmap(nullptr, length, protection, MAP_SHARED, descriptor_, to_offset(offset));
    if (place == MAP_FAILED) fail("mmap", path_, errno);
    ::madvise(place, length, MADV_RANDOM);
    try {
        return std::make_unique<PosixMapping>(static_cast<std::byte*>(place), length, access);
    } catch (const std::bad_alloc&) {
        ::munmap(place, length);
        throw;
    }
}

struct flock PosixFile::lock_of(std::uint64_t offset, short type) {
    struct flock request {};
    request.l_type = type;
    request.l_whence = SEEK_SET;
    request.l_start = to_offset(offset);
    request.l_len = 1;
    return request;
}

int PosixFile::set_lock(std::uint64_t offset, short type) {
    struct flock request = lock_of(offset, type);
    return retry([&] { return ::fcntl(descriptor_, F_OFD_SETLK, &request); });
}

bool PosixFile::try_lock(std::uint64_t offset, Lock lock) {
    if (set_lock(offset, lock == Lock::shared ? F_RDLCK : F_WRLCK) == 0) return true;
    if (errno != EAGAIN && errno != EACCES) fail("lock", path_, errno);
    return false;
}

void PosixFile::unlock(std::uint64_t offset) {
    if (set_lock(offset, F_UNLCK) != 0) fail("unlock", path_, errno);
}

bool PosixFile::locked_elsewhere(std::uint64_t offset, Lock wanted) {
    struct flock request = lock_of(offset, wanted == Lock::shared ? F_RDLCK : F_WRLCK);
    if (retry([&] { return ::fcntl(descriptor_, F_OFD_GETLK, &request); }) != 0) fail("lock", path_, errno);
    return request.l_type != F_UNLCK;
}

struct stat PosixFile::status() const {
    struct stat result {};
    if (::fstat(descriptor_, &result) != 0) fail("stat", path_, errno);
    return result;
}

File::Identity PosixFile::identity() const {
    const struct stat found = status();
    return {static_cast<std::uint64_t>(found.st_dev), static_cast<std::uint64_t>(found.st_ino)};
}

void PosixFile::abandon() noexcept {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
}

class PosixFileSystem final : public FileSystem {
public:
    std::unique_ptr<File> open(const fs::path& path, Access access) override {
        return open_file(path, access == Access::read_only ? O_RDONLY : O_RDWR);
    }
    std::unique_ptr<File> create(const fs::path& path) override {
        return open_file(path, O_RDWR | O_CREAT | O_EXCL);
    }
    std::unique_ptr<File> create_temporary(const fs::path& directory) override {
        try {
            return open_file(directory / ".", O_RDWR | O_TMPFILE | O_EXCL);  // the directory may be a link
        } catch (const StorageError& error) {
            // What file systems and kernels say that know no such files.
            if (error.code() != EOPNOTSUPP && error.code() != EISDIR && error.code() != EINVAL) throw;
            return FileSystem::create_temporary(directory);
        }
    }
    bool create_directory(const fs::path& path) override {
        if (::mkdir(path.c_str(), 0700) == 0) return true;
        const int code = errno;
        std::error_code ignored;
        if (code != EEXIST || !fs::is_directory(path, ignored)) fail("mkdir", path, code);
        return false;
    }
    void rename(const fs::path& from, const fs::path& to) override {
        if (::rename(from.c_str(), to.c_str()) != 0) fail("rename", from, errno);
    }
    void remove(const fs::path& path) override {
        if (::remove(path.c_str()) != 0) fail("remove", path, errno);
    }
    std::vector<std::string> list(const fs::path& path) override;
    void sync_directory(const fs::path& path) override;
    std::unique_ptr<Watch> watch(const fs::path& path, std::function<void()> on_write) override {
        return watch_file(path, std::move(on_write));
    }

private:
    static std::unique_ptr<File> open_file(const fs::path& path, int flags) {
        auto file = std::make_unique<PosixFile>(path);
        file->open(flags);
        return file;
    }
};

std::vector<std::string> PosixFileSystem::list(const fs::path& path) {
    // The standard library's iterators end the process if memory runs out.
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (!directory) fail("list", path, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* const entry = ::readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
        errno = 0;
    }
    if (errno != 0) fail("list", path, errno);
    std::sort(names.begin(), names.end());
    return names;
}

void PosixFileSystem::sync_directory(const fs::path& path) {
    const int descriptor = retry([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (descriptor < 0) fail("open", path, errno);
    const int result = retry([&] { return ::fsync(descriptor); });
    const int code = errno;
    ::close(descriptor);
    // Some file systems cannot sync a directory and say so with EINVAL; they need no sync either.
    if (result != 0 && code != EINVAL) fail("fsync", path, code);
}

/// The number in a control file, or "no limit" if there is none.
std::uint64_t read_limit(const fs::path& path) {
    std::ifstream file(path);
    std::string text;
    std::uint64_t value = 0;
    if (!(file >> text)) return UINT64_MAX;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    constexpr std::uint64_t kAbsurd = std::uint64_t{1} << 60;  // v1 writes LONG_MAX for "none"
    return error != std::errc() || value == 0 || value >= kAbsurd ? UINT64_MAX : value;
}

/// The smallest limit of a control group and of the groups around it.
std::uint64_t group_limit(const fs::path& root, fs::path group, const char* file) {
    std::uint64_t limit = read_limit(root / file);
    for (group = group.relative_path(); !group.empty(); group = group.parent_path()) {
        limit = std::min(limit, read_limit(root / group / file));
    }
    return limit;
}

std::uint64_t control_group_limit() {
    std::ifstream groups("/proc/self/cgroup");  // lines of "number:controllers:path"
    std::uint64_t limit = UINT64_MAX;
    for (std::string line; std::getline(groups, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const fs::path path = line.substr(second + 1);
        if (controllers == ",,") {
            limit = std::min(limit, group_limit("/sys/fs/cgroup", path, "memory.max"));
        } else if (controllers.find(",memory,") != std::string::npos) {
            limit = std::min(limit, group_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
        }
    }
    return limit;
}

}  // namespace

void Mapping::will_need(std::size_t offset, std::size_t length) const noexcept {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (offset >= size_) return;
    const std::size_t begin = offset / page * page;
    ::madvise(data_ + begin, std::min(length + (offset - begin), size_ - begin), MADV_WILLNEED);
}

/// Where the system has no files without a name: one that loses it at once.
std::unique_ptr<File> FileSystem::create_temporary(const fs::path& directory) {
    static std::atomic<std::uint64_t> made = 0;
    const std::string name = ".pyrsistence-" + std::to_string(::getpid()) + "-" + std::to_string(++made) + "-" +
                             std::to_string(std::random_device{}());
    std::unique_ptr<File> file = create(directory / name);
    remove(directory / name);
    return file;
}

FileSystem& FileSystem::posix() {
    static PosixFileSystem system;
    return system;
}

std::uint64_t available_memory() {
    const auto pages = static_cast<std::uint64_t>(std::max(::sysconf(_SC_PHYS_PAGES), 0L));
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return std::min(pages * page, control_group_limit());
}

std::uint64_t boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");  // hexadecimal digits in groups
    std::string text;
    std::uint64_t id = 0;
    file >> text;
    std::erase(text, '-');
    constexpr std::size_t kDigits = 16;
    std::from_chars(text.data(), text.data() + std::min(text.size(), kDigits), id, 16);
    return id;
}

}  // namespace pyrsistence::os
