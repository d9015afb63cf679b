// The operation log: every mutation is one record that is in the file when the operation returns.
//
// The file has two windows that are used in turn, one per generation; a checkpoint starts the next
// generation, and the window of the previous one is free again once that checkpoint is durable.
// Appending is a memcpy into a mapping, so the kernel keeps the record if the process dies;
// sync() is one fdatasync. docs/format.md has the layout.
//
// Thread safety: callers hold the store's lock, except for sync().
// Invariants: sequence numbers are never reused; a record's checksum is chained to the record
// before it and seeded with its generation's salt, so that no record of a dead timeline can match.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "os/file.hpp"
#include "storage/format.hpp"

namespace pyrsistence::storage {

/// Where replay starts; a meta page remembers it.
struct LogPosition {
    std::uint64_t generation = 0;
    std::uint64_t salt = 0;
    std::uint64_t sequence = 0;  ///< of the generation's first record
};

class Log {
public:
    static constexpr std::uint64_t kWindowCap = std::uint64_t{256} << 20;

    /// `read_only` logs can only be replayed.
    Log(os::File& file, bool read_only);
    ~Log();

    /// Writes the header of an empty log to a new file.
    static void format(os::File& file);

    /// Begins a generation in the other window. `capacity` bytes at most will be appended.
    /// `durable_checkpoint` is the newest checkpoint known to be durable. Throws StorageError.
    LogPosition start(std::uint64_t generation, std::uint64_t sequence, std::uint64_t capacity,
                      std::uint64_t durable_checkpoint);

    /// Makes sure that a record of `bytes` payload can be appended without failing: zeroes are
    /// written ahead of use. False if the window is full. Throws StorageError.
    bool reserve(std::size_t bytes);
    /// Appends one record. REQUIRES: reserve() for at least the sum of the parts.
    void append(std::span<const Bytes> parts) noexcept;
    /// Makes everything appended so far durable (fdatasync). Callable without the lock: it covers
    /// the records up to `sequence`, as returned by next_sequence() under the lock.
    void sync(std::uint64_t sequence);
    /// Remembers in the current window that a checkpoint is durable.
    void confirm(std::uint64_t checkpoint) noexcept;

    std::uint64_t next_sequence() const noexcept;
    /// Bytes appended to the current window, and how many it may take.
    std::uint64_t used() const noexcept;
    std::uint64_t capacity() const noexcept;

    struct Replay {
        std::uint64_t next_sequence;       ///< after the last good record
        std::uint64_t highest_generation;  ///< seen in any valid window header
        std::uint64_t synced_sequence;     ///< records below this are known to have been synced
    };
    /// Calls `visit(sequence, payload)` for each record from `from` on, following into the next
    /// generation, and stops at the first torn record, or when `visit` returns false.
    /// Throws CorruptionError if a record that had been synced is missing, or if the log names a
    /// checkpoint newer than `checkpoint`.
    Replay replay(const LogPosition& from, std::uint64_t checkpoint,
                  const std::function<bool(std::uint64_t sequence, Bytes payload)>& visit);

    /// Shrinks the file to one empty window; called at close, after a durable checkpoint.
    void shrink();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace pyrsistence::storage
