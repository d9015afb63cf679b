// A store: one directory with its data file, operation log and lock; opening, recovery,
// checkpoints and the steps by which containers read and change it.
//
// Thread safety: all functions may be called from any thread; steps hold the store's lock from
// construction to destruction, so keep them short and run no foreign code inside.
// Invariants: pages and log agree whenever the lock is free; an operation whose record is in the log
// is never lost; after a failure in the middle of a change the store returns to its last
// checkpoint and replays its log.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "pyrsistence/container.hpp"
#include "storage/catalog.hpp"

namespace pyrsistence::storage {

struct StoreOptions : Options {
    os::FileSystem* files = nullptr;  ///< null: the operating system's
    std::uint64_t log_window = 0;     ///< bytes of log between checkpoints; 0: by the size of the store
    std::uint64_t hash_seed = 0;      ///< of a new store; 0: random
    /// Told by the thread that starts a checkpoint, then by the checkpoint's own when it begins and ends.
    enum class Checkpoint { starts, begins, ends };
    std::function<void(Checkpoint)> on_checkpoint;
};

/// Where an operation's record ends up when it is replayed.
enum class Op : std::uint8_t {
    create = 1,  ///< u8 type, name
    batch = 2,   ///< { varint length, record }...: all or nothing
    first_of_container = 16,
};

/// One record as its container sees it.
struct LoggedOp {
    Op op;
    ContainerId container;
    bool external;     ///< the value lies in `extent`
    ExtentRef extent;
    Bytes operands;
};

class Store;

/// Holds the lock for reading. Throws ClosedError.
class ReadStep {
public:
    explicit ReadStep(Store& store);
    Pager& pager() const noexcept { return *pager_; }
    const std::byte* root(ContainerId id) const;
    std::uint64_t version() const noexcept;

private:
    Store& store_;
    std::unique_lock<std::mutex> lock_;
    Pager* pager_;
};

/// The first bytes of a record, built on the stack.
class RecordHeader {
public:
    RecordHeader(Op op, ContainerId container, const ExtentRef* extent = nullptr);
    RecordHeader& u48(std::uint64_t value) {
        codec::store48(bytes_ + size_, value);
        size_ += 6;
        return *this;
    }
    RecordHeader& u64(std::uint64_t value) {
        codec::store<std::uint64_t>(bytes_ + size_, value);
        size_ += 8;
        return *this;
    }
    RecordHeader& u8(std::uint8_t value) {
        bytes_[size_++] = std::byte(value);
        return *this;
    }
    Bytes view() const { return {bytes_, size_}; }
    static constexpr std::size_t kMaxSize = 64;

private:
    std::byte bytes_[kMaxSize];
    std::size_t size_ = 0;
};

/// Holds the lock for one operation that changes the store. Everything that can fail for want of
/// space is obtained by the constructor and next(); if the step ends without commit() after
/// changes began, the store is restored to the state before it.
class WriteStep {
public:
    enum class Kind { single, batch };
    /// `log_bytes`: at least the size of all that commit() will be given, headers excepted.
    explicit WriteStep(Store& store, std::size_t log_bytes = kLogInlineLimit, Kind kind = Kind::single);
    ~WriteStep();
    WriteStep(const WriteStep&) = delete;
    WriteStep& operator=(const WriteStep&) = delete;

    Pager& pager() const noexcept;
    const std::byte* root(ContainerId id) const;
    /// The container's root page for writing; from here on the step counts as changed.
    std::byte* change(ContainerId id);
    /// Makes room for further pages. Pointers into pages are void afterwards.
    void next();
    /// Writes a value to an extent; call before change().
    ExtentRef extent(Bytes value);
    ContainerId create(ContainerType type, std::string_view name);
    /// Logs the operation (in a batch: adds it to the batch). It is done when this returns.
    void commit(const RecordHeader& header, Bytes body = {});
    /// Ends a step that moved pages and changed nothing that the log would tell of.
    void commit_moved() noexcept { done_ = true; }
    /// Logs a batch. A batch too large for the log becomes a durable checkpoint instead.
    void commit_batch();

private:
    friend class Store;
    struct Replay {};
    /// The lock is not taken, nothing is logged.
    WriteStep(Store& store, Replay);

    Store& store_;
    std::unique_lock<std::mutex> lock_;
    Kind kind_ = Kind::single;
    bool changed_ = false;
    bool done_ = false;
    bool oversize_ = false;  ///< a batch that does not fit into the log
    std::vector<std::byte> batch_;
    std::vector<ExtentRef> extents_;  ///< written, not yet owned by a container
};

class Store {
public:
    /// Replays one record of a container of the given type, through the container's own methods.
    using Apply = void (*)(WriteStep&, const LoggedOp&);
    static void set_apply(ContainerType, Apply);
    static constexpr std::uint64_t kSmallestWindow = std::uint64_t{16} << 20;  ///< of the log, in bytes

    /// Opens a store, or shares it if this process has it open. Throws LockedError, FormatError,
    /// CorruptionError, NotFoundError, ExistsError, StorageError.
    static std::shared_ptr<Store> open(const os::fs::path& path, const StoreOptions& options);
    /// Gives up a handle; the last one closes the store and may throw StorageError.
    static void release(std::shared_ptr<Store>& handle);
    ~Store();

    const os::fs::path& path() const noexcept { return path_; }
    bool read_only() const noexcept { return options_.mode == Mode::read; }
    std::uint64_t hash_seed() const noexcept { return hash_seed_; }

    /// The container with this name and type, created if missing and the store may be written.
    /// Throws FormatError if it is of another type, NotFoundError if it may not be created.
    ContainerId open_container(ContainerType type, std::string_view name);
    ContainerId containers();

    /// Everything done so far survives a power failure when this returns.
    void sync();
    /// The same, and the log is empty afterwards.
    void checkpoint();
    /// Figures of the whole store; `entries` is left 0.
    Info info();
    /// Counts the operations that changed the store since it was opened.
    std::uint64_t version() const noexcept { return version_.load(std::memory_order_relaxed); }
    /// Moves pages from the end of the data file to free places before it and cuts the end off.
    /// `relocate(container, limit)` does it for one container's pages from `limit` on, in steps of its own.
    void compact(const std::function<void(ContainerId, PageId limit)>& relocate);

    /// Proves that every page is either reachable or free: `walk` is called once per container with
    /// functions to mark pages and extents. Throws CorruptionError.
    using Mark = std::function<void(PageId first, std::uint64_t pages)>;
    void check(const std::function<void(Pager&, const std::byte* root, const Mark&)>& walk);

    /// Called around waiting for a checkpoint, without the store's lock: the Python binding
    /// releases and takes the interpreter lock there. Not called within open() and release().
    struct WaitHooks {
        void* (*before)() = nullptr;
        void (*after)(void*) = nullptr;
    };
    static void set_wait_hooks(WaitHooks hooks);

private:
    friend class ReadStep;
    friend class WriteStep;
    friend struct Registry;
    using Guard = std::unique_lock<std::mutex>;

    /// The lock, when no operation of another thread waits in the middle of a change. Throws ClosedError.
    Guard enter();
    void committed() noexcept { version_.fetch_add(1, std::memory_order_relaxed); }

    // store_files.cpp: the directory
    Store(os::fs::path path, const StoreOptions& options);
    void open_files();
    void require_new(const std::vector<std::string>& names) const;
    void create_files();
    void remove_files();
    void take_lock(bool exclusive);
    void forget_after_fork() noexcept;

    // recovery.cpp
    void load();
    void replay(Log::Replay& outcome);
    void apply(WriteStep& step, Bytes record);
    void restore(Guard& lock) noexcept;

    // store.cpp
    void close();
    void require_open() const;
    void require_writable() const;
    void make_room(Guard& lock, std::size_t log_bytes);
    void start_checkpoint(Guard& lock, std::uint64_t sequences_skipped = 0);
    void run_checkpoint(Meta next, std::uint64_t log_sequence);
    void tell(StoreOptions::Checkpoint what) const {
        if (options_.on_checkpoint) options_.on_checkpoint(what);
    }
    void drop_seals(std::uint64_t epoch);
    void end_checkpoint(const Meta& next, std::exception_ptr error);
    void checkpoint_and_wait(Guard& lock, std::uint64_t sequences_skipped = 0);
    void wait(Guard& lock, const std::function<bool()>& until);
    void settle(Guard& lock);
    std::uint64_t window_capacity() const;
    std::uint64_t extent_limit() const;
    bool dirty() const;
    ContainerId find_container(ContainerType type, std::string_view name) const;
    bool temporary() const noexcept { return options_.temporary; }

    os::fs::path path_;
    StoreOptions options_;
    os::FileSystem& files_;
    std::unique_ptr<os::File> lock_file_, data_, log_file_;
    std::unique_ptr<Pager> pager_;
    std::unique_ptr<Log> log_;
    Meta meta_;                         ///< the last durable checkpoint
    CatalogRoot catalog_;
    std::uint64_t hash_seed_ = 0;       ///< of meta_, which changes; read without the lock
    std::vector<std::uint64_t> seals_;  ///< epochs of the seals that are held, oldest first
    std::uint64_t generation_ = 0;      ///< of the log, the highest so far
    std::uint64_t sequence_ = 0;        ///< at least this for the next record, when no generation runs
    bool writing_ = false;              ///< a log generation of this process takes records
    bool busy_ = false;                 ///< a step waits in the middle of a change
    bool closed_ = false;
    bool in_registry_ = true;           ///< opening or closing: the registry's lock is held
    unsigned outside_ = 0;              ///< threads that sync without the lock
    std::atomic<bool> forked_ = false;
    std::atomic<std::uint64_t> version_ = 1;
    std::exception_ptr poison_;         ///< why the store cannot be used any more

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unique_ptr<std::thread> checkpointer_;
    bool checkpoint_running_ = false;
    std::exception_ptr checkpoint_error_;  ///< of the last checkpoint
};

}  // namespace pyrsistence::storage
