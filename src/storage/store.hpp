// A store: one directory with its data file, operation log and lock; opening, recovery, checkpoints,
// transactions, snapshots and readers in other processes.
//
// Thread safety: all functions may be called from any thread; steps hold the store's lock from
// construction to destruction, so keep them short and run no foreign code inside.
// Invariants: pages and log agree whenever the lock is free, but for the operations of a running
// transaction; an operation whose record is in the log is never lost; after a failure in the middle
// of a change the store returns to its last checkpoint and replays its log.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "pyrsistence/container.hpp"
#include "storage/log.hpp"
#include "storage/reader_table.hpp"
#include "storage/snapshot_table.hpp"
#include "storage/step.hpp"

namespace pyrsistence::storage {

struct StoreOptions : Options {
    os::FileSystem* files = nullptr;  ///< null: the operating system's
    std::uint64_t log_window = 0;     ///< bytes of log between checkpoints; 0: by the size of the store
    std::uint64_t hash_seed = 0;      ///< of a new store; 0: random
    PageId index_pages = 0;           ///< of an index that is changed in place; 0: by the memory limit
    std::uint64_t cache_memory = 0;   ///< bytes of a file that the page cache is likely to keep; 0: half of the memory
    /// Told by the thread that starts a checkpoint, then by the checkpoint's own when it begins and ends.
    enum class Checkpoint { starts, begins, ends };
    std::function<void(Checkpoint)> on_checkpoint;
};

/// A sealed state of the store.
struct View {
    std::uint64_t epoch = 0;    ///< of the seal
    CatalogRoot catalog;
    std::uint64_t version = 0;  ///< of the store then
};

/// Keeps a sealed state readable, in this process, while it exists. Safe to share between threads.
class Snapshot {
public:
    /// Takes over one hold on the seal of the view, or the slot that announces its use.
    Snapshot(std::shared_ptr<Store> store, const View& view, std::shared_ptr<const ReaderTable::Slot> slot);
    ~Snapshot();
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;

    const View& view() const noexcept { return view_; }
    Store& store() const noexcept { return *store_; }

private:
    std::shared_ptr<Store> store_;
    View view_;
    std::shared_ptr<const ReaderTable::Slot> slot_;
};

/// Who runs an operation: its thread, and in Python its task.
struct Caller {
    std::thread::id thread;
    std::uint64_t task = 0;

    bool operator==(const Caller&) const = default;
    static Caller current() noexcept;
    /// Of the present thread from now on; 0 is none.
    static void set_task(std::uint64_t task) noexcept;
};

/// One container as the catalog has it.
struct ContainerEntry {
    ContainerId id;
    ContainerType type;
    std::string name;
};

class Store : public std::enable_shared_from_this<Store> {
public:
    /// What recovery needs to know of a type of containers.
    struct Methods {
        /// Replays one record through the container's own methods.
        void (*apply)(WriteStep&, const LoggedOp&) = nullptr;
        /// Gives all pages back but the root page.
        void (*clear)(WriteStep&, ContainerId) = nullptr;
    };
    static void set_methods(ContainerType, Methods);
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

    // --- containers
    /// Gives a new container what it is to have from the beginning, and commits records that say so.
    using Prepare = std::function<void(WriteStep&, ContainerId)>;
    /// Whether a container that is missing is created; `first`: if the store has none.
    enum class Create { never, first, always };
    /// The container with this name and type. Throws FormatError if it is of another type, NotFoundError if there is none.
    ContainerId open_container(ContainerType type, std::string_view name, Create create,
                               const Snapshot* at = nullptr, const Prepare& prepare = {});
    std::optional<ContainerEntry> find_container(std::string_view name, const Snapshot* at = nullptr);
    std::vector<ContainerEntry> containers(const Snapshot* at = nullptr);
    /// False if there is none. Takes time in proportion to its pages.
    bool remove_container(std::string_view name);
    /// False if there is none. Throws ExistsError if the new name is taken.
    bool rename_container(std::string_view from, std::string_view to);

    // --- durability
    /// Everything done so far survives a power failure when this returns; of a transaction, what came before it.
    void sync();
    /// The same, and the log is empty afterwards. Not within a transaction.
    void checkpoint();
    /// Moves pages from the end of the data file to free places before it and cuts the end off.
    /// `relocate(container, limit)` does it for one container's pages from `limit` on, in steps of its own.
    void compact(const std::function<void(ContainerId, PageId limit)>& relocate);

    // --- transactions: of one caller; within one, begin() is a savepoint
    /// Waits for the transaction of another thread. Throws Error if another task of this thread has one.
    /// Returns a number that names it.
    std::uint64_t begin();
    /// Of this process. Only while there are any does it matter who the Caller is.
    static unsigned open_transactions() noexcept { return transactions_.load(std::memory_order_relaxed); }
    /// All operations since begin() happen, or none. Throws StorageError; they are undone then. True if it was
    /// the outermost one. Throws Error, and it goes on, unless it is the caller's innermost.
    bool commit(std::uint64_t begun);
    /// Undoes all operations since begin(), those of inner ones included; nothing if it has ended. Callable
    /// from any thread.
    void roll_back(std::uint64_t begun);

    // --- snapshots
    /// The state now, beside a transaction the one before it. O(1).
    std::shared_ptr<const Snapshot> snapshot();
    /// A named one. Throws NotFoundError.
    std::shared_ptr<const Snapshot> snapshot(std::string_view name);
    /// Keeps the present state under a name; durable when it returns. Throws ExistsError.
    void keep_snapshot(std::string_view name);
    /// False if there is none. Durable when it returns.
    bool delete_snapshot(std::string_view name);
    SnapshotTable snapshots();

    // --- readers in other processes
    /// Reader: goes on to the newest state that the writer has published, after asking for a fresh one.
    /// Nothing happens if this process writes the store.
    void refresh();
    /// Writer: lets readers see the state as it is now.
    void publish();

    // --- figures and checks
    /// Figures of the whole store; `entries` is left 0.
    Info info();
    /// Of the state that the caller sees: grows with each operation that changes it, and with the transaction of
    /// another that ends. Read before a state, it tells later whether that state may have changed.
    std::uint64_t version() const;
    /// Proves that every page is either reachable or free: `walk` is called once per container with
    /// functions to mark pages and extents. Throws CorruptionError.
    using Mark = std::function<void(PageId first, std::uint64_t pages)>;
    void check(const std::function<void(Pager&, const std::byte* root, const Mark&)>& walk);
    /// Copies a checkpoint of everything so far, named snapshots included, into a new or empty directory.
    void backup(const os::fs::path& to, const Progress& progress);
    /// Calls `use(file, meta)` with a durable checkpoint of everything so far that stays readable meanwhile, as do
    /// the named snapshots that it lists, without the lock; read-only, with the last one there is. Not within a transaction.
    void with_checkpoint(const std::function<void(os::File& data, const Meta& meta)>& use);

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
    friend class Snapshot;
    friend struct Registry;
    using Guard = std::unique_lock<std::mutex>;

    struct Level {
        std::uint64_t epoch;  ///< of the seal to which it would be rolled back
        CatalogRoot catalog;
        std::size_t logged;   ///< bytes of the batch then
    };
    struct Transaction {
        Caller owner;
        View base;
        std::vector<Level> levels;     ///< innermost last; none after a failure
        std::vector<std::uint64_t> open;  ///< what begin() returned for those that have not ended
        std::vector<std::byte> batch;  ///< records so far
        bool oversize = false;         ///< they outgrew the batch: a checkpoint will have to do
        std::exception_ptr failure;    ///< why it has been rolled back already
    };

    /// The lock, when no operation of another thread waits in the middle of a change. Throws ClosedError.
    Guard enter();
    /// The same for a caller that gives something up, which a store that waits to be restored allows.
    Guard enter_to_leave();
    /// The same for a caller that may change the store now. Throws ReadOnlyError.
    Guard enter_to_write();
    /// The same for what cannot be part of a transaction. Throws Error within one.
    Guard enter_alone();
    /// Runs `action` without the lock, while others may go on, and returns what it threw. `users` counts
    /// the threads that are doing so.
    template <class Action>
    std::exception_ptr without_lock(Guard& lock, unsigned& users, Action&& action);
    /// Throws if a mapped page could not be read: then nothing that was read or written counts.
    void require_sound() {
        if (os::mapping_faults() != faults_seen_.load(std::memory_order_relaxed)) [[unlikely]] look_for_faults();
    }
    void look_for_faults();
    StorageError unreadable() const;
    void committed() noexcept { version_.fetch_add(1, std::memory_order_relaxed); }

    // store_files.cpp: the directory
    Store(os::fs::path path, const StoreOptions& options);
    void open_files();
    void prepare_directory();
    void open_writer();
    void require_files(const std::vector<std::string>& names) const;
    void require_new(const std::vector<std::string>& names) const;
    void create_files();
    static void make_files(os::FileSystem& files, const os::fs::path& path, Meta meta, bool durable,
                           const std::function<void(os::File& data)>& fill);
    void remove_files();
    bool open_lock_file();
    std::string lock_text() const;
    std::string holder() const;
    bool lock_in_time(os::Lock kind);
    [[noreturn]] void refuse_for_readers() const;
    void take_lock();
    void forget_after_fork() noexcept;

    // recovery.cpp
    void load();
    void replay(Log::Replay& outcome);
    void apply(WriteStep& step, Bytes record);
    std::string_view new_name(Bytes operands) const;
    void clear_container(WriteStep& step, ContainerId id);
    void restore(Guard& lock) noexcept;
    void forget_changes() noexcept;
    void reload() noexcept;
    void fail_transaction();
    void protect_older_states();
    void forget_hold(std::uint64_t epoch);

    // store.cpp
    void close();
    void require_open() const;
    void require_writable() const;
    void wait(Guard& lock, const std::function<bool()>& until);
    void settle(Guard& lock);
    bool temporary() const noexcept { return options_.temporary; }
    void require_name(std::string_view name) const;
    std::string others(const Snapshot* at);
    ContainerId require_type(const ContainerEntry& found, ContainerType type) const;
    std::optional<ContainerEntry> find(std::string_view name, const CatalogRoot& root) const;

    // checkpoint.cpp
    void make_room(Guard& lock, std::size_t log_bytes);
    void free_frames(Guard& lock);
    void start_checkpoint(Guard& lock, std::uint64_t sequences_skipped = 0);
    void write_back();
    void require_pages();
    void run_checkpoint(Meta next, std::uint64_t log_sequence);
    void tell(StoreOptions::Checkpoint what) const {
        if (options_.on_checkpoint) options_.on_checkpoint(what);
    }
    void replace_checkpoint(std::uint64_t epoch);
    void end_checkpoint(const Meta& next, std::exception_ptr error);
    void checkpoint_and_wait(Guard& lock, std::uint64_t sequences_skipped = 0);
    void checkpoint_as_commit(Guard& lock);
    std::uint64_t window_capacity() const;
    std::uint64_t extent_limit() const;
    std::uint64_t cache_memory() const;
    bool dirty() const;

    // transaction.cpp
    bool free_for_caller() const;
    void await_turn(Guard& lock);
    void require_innermost(std::uint64_t begun) const;
    void begin_outermost(Guard& lock);
    void begin_savepoint();
    void commit_outermost(Guard& lock);
    void add_to_batch(Bytes length, Bytes head, Bytes body);
    void outgrow_batch() noexcept;
    void log_transaction(Guard& lock);
    void undo_level();
    void end_transaction() noexcept;
    void abandon_transaction() noexcept;
    View current_view() const noexcept;

    // snapshots.cpp
    void hold(std::uint64_t epoch) { ++holds_[epoch]; }
    std::uint64_t mark_and_hold();
    void let_go(std::uint64_t epoch) noexcept;
    bool drop_if_unheld(std::uint64_t epoch) noexcept;
    void let_go_after_readers(std::uint64_t epoch) noexcept;
    View hold_present();
    std::shared_ptr<const Snapshot> snapshot_of(Guard& lock, const View& held);
    void write_snapshot_table(WriteStep& step, const SnapshotTable& table);
    bool keep_checkpoint(std::string_view name);
    void change_snapshots(const std::function<void(SnapshotTable&)>& change);

    // readers.cpp
    void open_table();
    void announce(const View& view);
    void sweep_readers() noexcept;
    std::string lock_path() const { return (path_ / "lock").string(); }
    void add_readers(Info& info) const;
    bool writer_lives() const;
    void open_reader();
    void attach();
    bool attach_to_writer();
    bool attach_to_files();
    bool needs_recovery(const Meta& meta) const;
    void recover_for_reader();
    static bool forbidden(const StorageError& error) noexcept;
    void attach_alone();
    void require_same_files() const;
    void look_at(const Meta& meta, const View& view, const PagerState& state, std::optional<ReaderTable::Slot> slot);
    std::pair<Meta, std::optional<ReaderTable::Slot>> hold_checkpoint() const;
    std::pair<Meta, std::vector<ReaderTable::Slot>> hold_checkpoint_with_snapshots() const;
    void with_last_checkpoint(const std::function<void(os::File&, const Meta&)>& use);
    std::shared_ptr<const Snapshot> reader_snapshot(Guard& lock);
    std::shared_ptr<const Snapshot> named_for_reader(Guard& lock, std::string_view name);
    SnapshotTable read_named() const;

    static inline std::atomic<unsigned> transactions_ = 0;

    os::fs::path path_;
    StoreOptions options_;
    os::FileSystem& files_;
    std::unique_ptr<os::File> lock_file_, data_, log_file_;
    std::unique_ptr<Pager> pager_;
    std::unique_ptr<Log> log_;
    Meta meta_;                         ///< the last durable checkpoint
    CatalogRoot catalog_;
    SnapshotTable named_;
    ExtentRef snapshot_table_;          ///< where named_ is stored
    std::uint64_t hash_seed_ = 0;       ///< of meta_, which changes; read without the lock
    std::vector<std::uint64_t> checkpoints_;  ///< epochs of the durable checkpoint and of later attempts
    /// By epoch of a seal, how many need it; 0: nobody, but it could not be dropped yet.
    std::map<std::uint64_t, unsigned> holds_;
    bool drops_wait_ = false;           ///< there may be such seals
    std::uint64_t foreign_ = 0;         ///< epochs up to this one were used by earlier pagers
    PageId foreign_end_ = 0;            ///< the pages of their seals lie below
    std::set<std::uint64_t> foreign_seals_;  ///< of those, held ones of which this pager knows nothing
    std::uint64_t lost_ = 0;            ///< of those, the ones up to this epoch cannot be read
    View checkpoint_view_;              ///< of the checkpoint that was started last
    View sealed_;                       ///< the newest seal that hold_present() made
    std::unique_ptr<Transaction> transaction_;
    std::uint64_t begun_ = 0;           ///< transactions and savepoints so far
    std::uint64_t generation_ = 0;      ///< of the log, the highest so far
    std::uint64_t sequence_ = 0;        ///< at least this for the next record, when no generation runs
    bool writing_ = false;              ///< a log generation of this process takes records
    bool busy_ = false;                 ///< a step waits in the middle of a change
    bool closed_ = false;
    bool in_registry_ = true;           ///< opening or closing: the registry's lock is held
    bool recovering_ = false;           ///< open for a moment, on behalf of a reader
    bool created_ = false;              ///< the files in the directory are this store's own
    unsigned outside_ = 0;              ///< threads that use pager or log without the lock
    unsigned copying_ = 0;              ///< threads that read the data file without it, and run foreign code
    std::atomic<std::uint64_t> faults_seen_ = 0;  ///< os::mapping_faults() that were not ours
    std::atomic<bool> forked_ = false;
    std::atomic<std::uint64_t> version_ = 1;
    std::exception_ptr poison_;         ///< why the store cannot be used any more
    bool unrestored_ = false;           ///< poison_ is why restoring failed; whoever comes next tries again
    ContainerId least_id_ = 0;          ///< of containers to be made after restoring

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unique_ptr<std::thread> checkpointer_;
    bool checkpoint_running_ = false;
    std::exception_ptr checkpoint_error_;  ///< of the last checkpoint

    std::mutex publishing_;                    ///< held by publish(); before mutex_
    std::unique_ptr<ReaderTable> table_;       ///< null: the lock file cannot be written
    std::unique_ptr<os::Watch> watch_;         ///< tells of readers' requests
    std::uint64_t published_epoch_ = 0;        ///< of the state that readers are to take
    std::vector<std::uint64_t> reader_states_; ///< epochs held for readers; may hold one twice
    std::shared_ptr<const ReaderTable::Slot> slot_;  ///< of a reader: the state that it sees
};

template <class Action>
std::exception_ptr Store::without_lock(Guard& lock, unsigned& users, Action&& action) {
    std::exception_ptr error;
    ++users;
    lock.unlock();
    try {
        action();
    } catch (...) {
        error = std::current_exception();
    }
    lock.lock();
    --users;
    changed_.notify_all();
    return error;
}

}  // namespace pyrsistence::storage
