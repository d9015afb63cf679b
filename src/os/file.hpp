// The one door to the operating system's files: every read, write, mapping, lock and sync of a
// store goes through File and FileSystem, so that tests can lose, tear, reorder and fail them.
//
// Thread safety: a File may be used by several threads at once, as its descriptor may.
// Errors: StorageError with errno, naming the path and the call. EINTR is retried, short writes go on.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pyrsistence/types.hpp"

namespace pyrsistence::os {

namespace fs = std::filesystem;

enum class Access { read_only, read_write };
enum class Lock { shared, exclusive };

/// A mapped range of a file; unmapped when destroyed.
class Mapping {
public:
    Mapping(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
    virtual ~Mapping() = default;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    /// Asks the kernel to read [offset, offset + length) ahead. Never fails.
    virtual void will_need(std::size_t offset, std::size_t length) const noexcept;
    /// Reads the byte at the offset in a way that the kernel counts as use of its page. It does not count reads of data(),
    /// because of the advice, so that what is needed always would be dropped like what was needed once. Not thread-safe.
    virtual void use([[maybe_unused]] std::size_t offset) noexcept {}
    /// How many times a page of it could not be read and was replaced by zeros, for good: once this is not 0,
    /// nothing read from here or written here counts. Always 0 for a mapping that is not guarded.
    virtual std::uint64_t faults() const noexcept { return 0; }

private:
    std::byte* data_;
    std::size_t size_;
};

/// Only the fault handler adds to it.
inline std::atomic<std::uint64_t> mapping_fault_count = 0;

/// The faults of all mappings of this process, ever. One load: after using a mapping, compare it with a value
/// from a time when one's own mappings were known to be sound, and only if it has changed ask each of these.
inline std::uint64_t mapping_faults() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // what was read from a mapping is read before
    return mapping_fault_count.load(std::memory_order_acquire);
}

class File {
public:
    virtual ~File() = default;

    /// Reads up to buffer.size() bytes; returns fewer only at the end of the file.
    virtual std::size_t read(MutableBytes buffer, std::uint64_t offset) = 0;
    /// Writes all bytes or throws.
    virtual void write(Bytes bytes, std::uint64_t offset) = 0;
    /// Writes the parts one after the other from offset on, by as few calls as the system allows.
    virtual void write(std::span<const Bytes> parts, std::uint64_t offset) = 0;
    /// Makes what was written durable (fdatasync).
    virtual void sync() = 0;
    /// Reserves disk space for [offset, offset + length) and lengthens the file to cover it.
    virtual void allocate(std::uint64_t offset, std::uint64_t length) = 0;
    virtual void truncate(std::uint64_t size) = 0;
    /// Asks the kernel to read the range ahead. Never fails.
    virtual void will_need([[maybe_unused]] std::uint64_t offset, [[maybe_unused]] std::uint64_t length) const noexcept {}
    virtual std::uint64_t size() const = 0;
    /// Maps the range shared and advised MADV_RANDOM (a written page then dirties 4 KiB, not a
    /// folio). The range may reach beyond the end of the file; touching it there is the caller's fault.
    virtual std::unique_ptr<Mapping> map(std::uint64_t offset, std::size_t length, Access) = 0;

    /// Open-file-description lock on one byte; false if another process (or File) holds it.
    virtual bool try_lock(std::uint64_t offset, Lock) = 0;
    virtual void unlock(std::uint64_t offset) = 0;
    /// Whether another process (or File) holds a lock on the byte that rules out one of this kind. REQUIRES: this
    /// File holds none.
    virtual bool locked_elsewhere(std::uint64_t offset, Lock wanted = Lock::exclusive) {
        if (!try_lock(offset, wanted)) return true;
        unlock(offset);
        return false;
    }
    /// Device and inode, which tell whether two paths are one file.
    struct Identity {
        std::uint64_t device, inode;
        auto operator<=>(const Identity&) const = default;
    };
    virtual Identity identity() const = 0;
    /// Gives up the descriptor without touching the file; for the child of a fork.
    virtual void abandon() noexcept = 0;
};

/// Calls a function after each write to a file, as long as it lives.
class Watch {
public:
    Watch() = default;
    /// Waits until a running call has ended, unless made from it; none follows.
    virtual ~Watch() = default;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
};

/// Where files come from. The default is the POSIX one; tests pass their own.
class FileSystem {
public:
    virtual ~FileSystem() = default;

    /// Opens an existing file, refusing symbolic links. Throws StorageError(ENOENT) if missing.
    virtual std::unique_ptr<File> open(const fs::path&, Access) = 0;
    /// Creates a new file with mode 0600; it must not exist.
    virtual std::unique_ptr<File> create(const fs::path&) = 0;
    /// Creates a file that has no name in the directory and is gone when it is closed, or when the process ends.
    virtual std::unique_ptr<File> create_temporary(const fs::path& directory);
    /// Creates a directory with mode 0700; false if it was there already.
    virtual bool create_directory(const fs::path&) = 0;
    virtual void rename(const fs::path& from, const fs::path& to) = 0;
    virtual void remove(const fs::path&) = 0;
    /// Names in a directory, sorted; throws StorageError if it cannot be read.
    virtual std::vector<std::string> list(const fs::path&) = 0;
    /// Makes creations, renames and removals in the directory durable.
    virtual void sync_directory(const fs::path&) = 0;
    /// Calls `on_write` soon after any process has written to an existing file (stores through mappings do
    /// not count), once for several writes if they come quickly. All calls of a process come from one thread,
    /// in which signals are blocked: they must be short and not throw. In the child of a fork nothing is
    /// watched. Null if the system cannot tell: then nobody is told.
    virtual std::unique_ptr<Watch> watch(const fs::path&, [[maybe_unused]] std::function<void()> on_write) {
        return nullptr;
    }

    static FileSystem& posix();
};

/// Bytes of memory that this process may use: the machine's, or its cgroup's (v1 or v2) if less.
std::uint64_t available_memory();

/// Tells the present run of the machine's kernel from every other one; 0 if unknown.
std::uint64_t boot_id();

/// FileSystem::watch() of the operating system.
std::unique_ptr<Watch> watch_file(const fs::path&, std::function<void()> on_write);

}  // namespace pyrsistence::os
