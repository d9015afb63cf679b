// The operation log: every mutation is one record that is in the file when the operation returns.
//
// Each generation has a window of the file to itself; a checkpoint starts the next generation, and
// confirm() says that the checkpoint is durable, which frees the windows of all earlier ones. Two
// windows take turns; the third is there for a recovery, or a second attempt at a checkpoint, that
// still needs both. Appending is a memcpy into a mapping, so the kernel keeps the record if the
// process dies; sync() is one fdatasync. docs/format.md has the layout.
//
// Thread safety: callers hold the store's lock, except for sync().
// Invariants: sequence numbers are never reused; a record's checksum is chained to the record
// before it and seeded with its generation's salt, so that no record of a dead timeline can match;
// a window that the last durable checkpoint needs is never overwritten.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <limits>
#include <memory>

#include "os/file.hpp"
#include "storage/format.hpp"

namespace pyrsistence::storage {

/// Where replay starts; a meta page remembers it.
struct LogPosition {
    std::uint64_t generation = 0;
    std::uint64_t salt = 0;
    std::uint64_t sequence = 0;  ///< of the generation's first record

    bool operator==(const LogPosition&) const = default;
};

class Log {
public:
    static constexpr std::uint64_t kWindowCap = std::uint64_t{256} << 20;  ///< with its header
    static constexpr unsigned kWindows = 3;
    static constexpr std::uint64_t kHeaderSize = 4096;  ///< of the file and of each window
    static constexpr std::uint64_t kMaxCapacity = kWindowCap - kHeaderSize;
    static constexpr std::uint64_t kRecordHeader = 24;

    /// `read_only` logs can only be replayed. Throws FormatError or CorruptionError for a bad header.
    Log(os::File& file, bool read_only);
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    /// Writes the header of an empty log to a new file.
    static void format(os::File& file);
    /// True if the log is as a new store has it before its first operation.
    static bool unused(os::File& file);

    /// The newest checkpoint that a window header knows to be durable; 0 if there is none. Throws CorruptionError.
    static std::uint64_t newest_checkpoint(os::File& file);

    /// Begins a generation in a window that nothing needs. `capacity` bytes at most, record headers
    /// included, will be appended. `durable_checkpoint` is the newest checkpoint known to be durable.
    /// Throws StorageError; the current generation goes on then.
    /// The window's header is durable after the next sync() only: a meta page may name the position
    /// returned here only when such a sync() has ended.
    /// The window before stays mapped until unmap_last(): that takes milliseconds, for which nobody need wait.
    LogPosition start(std::uint64_t generation, std::uint64_t sequence, std::uint64_t capacity,
                      std::uint64_t durable_checkpoint);

    /// Goes on in the generation that a meta page names, if shrink() left it; false otherwise.
    bool resume(const LogPosition& from);

    /// Makes sure that a record of `bytes` payload can be appended without failing: zeroes are
    /// written ahead of use. False if the window is full, or if the generation took the last free
    /// window and waits for confirm(). Throws StorageError; nothing has changed then.
    bool reserve(std::size_t bytes) { return offset_ + bytes <= ready_ || reserve_slowly(bytes); }
    /// Appends one record. REQUIRES: reserve() for at least the sum of the parts, which is not 0.
    void append(std::span<const Bytes> parts) noexcept;
    /// Callable without the lock; between two calls of start().
    void unmap_last() noexcept { last_mapping_.reset(); }
    /// Makes everything appended so far durable (fdatasync). Callable without the lock: it covers
    /// the records below `sequence`, as returned by next_sequence() under the lock.
    void sync(std::uint64_t sequence);
    /// Remembers in the current window that a checkpoint is durable, and frees all other windows.
    /// REQUIRES: the checkpoint's meta page names the position that the last start() returned.
    void confirm(std::uint64_t checkpoint) noexcept;

    std::uint64_t next_sequence() const noexcept { return next_sequence_; }
    /// Bytes appended to the current window, and how many it may take.
    std::uint64_t used() const noexcept { return offset_ - kHeaderSize; }
    std::uint64_t capacity() const noexcept { return end_ - kHeaderSize; }

    /// True if a page of a window could not be read or written.
    bool faulted() const noexcept { return faulted_ || (mapping_ && mapping_->faults() > 0); }

    struct Replay {
        std::uint64_t next_sequence;       ///< after the last good record
        std::uint64_t highest_generation;  ///< seen in any valid window header
        std::uint64_t synced_sequence;     ///< records below this are known to have been synced
    };
    /// Calls `visit(sequence, payload)` for each record from `from` on, following into the next
    /// generation, and stops at the first torn record, or when `visit` returns false.
    /// Throws CorruptionError if a record that had been synced is missing, or if the log names a
    /// checkpoint newer than `checkpoint`. A reader beside a live writer may see the latter when a
    /// checkpoint ends meanwhile: it reads the meta pages again.
    /// The windows that were replayed stay until confirm(); the next generation, if it takes the last free
    /// window, accepts no record before that.
    Replay replay(const LogPosition& from, std::uint64_t checkpoint,
                  const std::function<bool(std::uint64_t sequence, Bytes payload)>& visit);

    struct Examined {
        Replay all;
        std::uint64_t end;        ///< the records below can be read with all that they refer to
        std::exception_ptr lost;  ///< what is wrong with record `end`, if it had been synced
    };
    /// As replay(), for records that refer to what lies elsewhere. `read(payload)` throws CorruptionError if that
    /// cannot be read: such a record ends the log as a torn one does.
    Examined examine(const LogPosition& from, std::uint64_t checkpoint, const std::function<void(Bytes payload)>& read);

    /// Shrinks the file to one empty window and ends the generation without forgetting it: replay()
    /// from its position finds no records. Only start() or resume() may follow. Does nothing if the generation
    /// has records or is not confirmed. Throws StorageError.
    void shrink();

private:
    static constexpr unsigned kNone = kWindows;
    struct WindowStart {
        std::uint64_t salt, chain, sequence;
    };

    void begin_window(unsigned window, const WindowStart& start);

    bool reserve_slowly(std::size_t bytes);
    void zero_ahead(std::uint64_t target);
    unsigned free_window() const;
    bool window_left() const noexcept;

    os::File& file_;
    const bool read_only_;
    unsigned window_ = kNone;      ///< of the current generation
    unsigned needed_ = 0;          ///< bit per window: earlier generations that recovery would replay
    std::byte* map_ = nullptr;     ///< the current window, from its header on; offsets count from here
    std::uint64_t offset_ = kHeaderSize;  ///< of the next record
    std::uint64_t ready_ = 0;             ///< a record fits if offset_ + payload <= ready_
    std::uint64_t zeroed_ = kHeaderSize;  ///< zeroes reach up to here
    std::uint64_t end_ = kHeaderSize;
    std::uint64_t salt_ = 0;
    std::uint64_t last_salt_ = 0;  ///< of the generation that the next one continues
    std::uint64_t chain_ = 0;      ///< checksum of the last record; at first, of the window header
    std::uint64_t next_sequence_ = 0;
    std::atomic<std::uint64_t> synced_{0};
    bool faulted_ = false;         ///< an earlier window's mapping had faults
    std::unique_ptr<os::Mapping> mapping_;
    std::unique_ptr<os::Mapping> last_mapping_;  ///< of the generation before
};

}  // namespace pyrsistence::storage
