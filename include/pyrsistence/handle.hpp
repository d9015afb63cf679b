// A handle on a store: what a store of many containers and each container have in common, from opening
// and closing to transactions and snapshots.
//
// Thread safety: several threads may use one handle at once, for whatever they like: each operation happens at one
// moment, and changes wait for each other. Opening, closing, moving and destroying a handle exclude everything else
// on it. Different objects may be used freely, also on the same store, and opened and closed beside each other.
// What takes several operations (an iteration, edit(), a read before a write) is one only in a transaction, or when
// it reads a snapshot. refresh() is seen by every handle of the process on that store.
// Callbacks (Progress) run without any lock and may use the store; they must not close the handle.
// A transaction belongs to its thread: others read the state before it, and wait when they change something, so
// that a thread within one must not wait for them.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint(), close()
// and a durable transaction survive power loss.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pyrsistence/error.hpp"
#include "pyrsistence/types.hpp"

namespace pyrsistence {

namespace storage {
class Store;
class Snapshot;
struct StoreOptions;
}  // namespace storage

/// What opening does with what it finds, as in h5py and zarr.
enum class Mode {
    read,        ///< "r": read-only, must exist
    read_write,  ///< "r+": must exist; so must the container, unless a Store is opened
    append,      ///< "a": created if missing
    truncate,    ///< "w": emptied if it is a store, created if missing
    exclusive,   ///< "x": must not exist
};

/// What the items of an array are: elements of a NumPy dtype, one or a block of them.
struct ItemType {
    std::uint64_t size = 0;  ///< of an item, in bytes
    std::string dtype = {};  ///< of its elements: "<f8"; of a struct "[('x', '<f4'), ('n', '<u8')]", as in .npy files
    std::vector<std::uint64_t> shape = {};  ///< of a block; empty: an item is one element

    bool operator==(const ItemType&) const = default;
};

struct Options {
    Mode mode = Mode::append;
    std::uint64_t memory_limit = 0;  ///< bytes; 0: a quarter of the memory the process may use
    bool temporary = false;          ///< removed when closed, and never synced
    std::string name = {};           ///< of the container, in a store of several
    std::string at = {};             ///< a named snapshot to read; implies Mode::read
    std::optional<std::uint64_t> max_size = {};  ///< of a new deque, which keeps it; an older one must have the same
    std::optional<ItemType> item_type = {};      ///< likewise of an array; a new one needs it
};

struct Info {
    std::uint64_t entries;       ///< of this container
    std::uint64_t data_bytes;    ///< length of the data file
    std::uint64_t log_bytes;     ///< logged since the last checkpoint began
    std::uint64_t pages;         ///< 4 KiB each, in the data file
    std::uint64_t live_pages;    ///< of those, in use
    std::uint64_t checkpoint;    ///< number of the last durable one
    std::uint64_t frame_bytes;   ///< private memory that holds pages not yet written
    std::uint64_t memory_limit;  ///< bytes
    std::uint64_t snapshots;     ///< kept under a name
    std::uint64_t readers;       ///< states that other processes are reading now
    std::uint64_t oldest_reader; ///< when the longest of them began to, in microseconds since 1970; 0: nobody
    std::uint64_t pages_read;    ///< from the data file since the store was opened, each page counted at its first use
};

/// A state of the store that it keeps under a name.
struct NamedSnapshot {
    std::string name;
    std::uint64_t created;     ///< microseconds since 1970
    std::uint64_t checkpoint;  ///< number of the checkpoint that it is
};

/// Told how far a long operation has come, in pages if nothing else is said; may throw to end it.
using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// What verify() found.
struct Report {
    std::uint64_t pages = 0;          ///< read
    std::uint64_t entries = 0;        ///< of all containers
    std::uint64_t fault_count = 0;    ///< of which `faults` tells the first ones
    std::vector<std::string> faults = {};  ///< each names page, container and what is wrong
    std::filesystem::path repaired = {};   ///< the new store with what could be read; empty: none was made
    std::uint64_t saved = 0;               ///< entries in it
    std::vector<std::string> left_out = {};  ///< what is not in it
};

/// The same as Handle::verify() for a store that nobody writes, whether it can be opened or not. Its log is read, too.
/// If the meta pages or the catalog are damaged, a repair finds the newest readable version of each container.
/// Throws NotFoundError, LockedError, FormatError if it is no store, ExistsError, StorageError.
Report verify(const std::filesystem::path& store, const Progress& progress = {},
              const std::filesystem::path& repair_to = {});

class Transaction;

class Handle {
public:
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    virtual ~Handle();

    /// Closes the handle; the last handle of a store in this process makes everything durable.
    /// Harmless when repeated. Throws StorageError; the log keeps everything then.
    void close();
    bool closed() const noexcept { return store_ == nullptr; }
    bool read_only() const noexcept { return read_only_; }
    const std::filesystem::path& path() const noexcept { return path_; }

    /// Makes every operation so far survive a power failure: one fdatasync.
    void sync();
    /// The same, and empties the log. Throws Error within a transaction.
    void checkpoint();
    /// Gives free space inside the data file back to the file system: moves what lies at its end to
    /// free places before. Others may go on reading and writing meanwhile. O(pages moved). Progress is told in
    /// entries looked at.
    void compact(const Progress& progress = {});
    /// A consistent copy in a new or empty directory, named snapshots included. Others may go on meanwhile.
    /// Bounded memory. Throws ExistsError, StorageError.
    void backup(const std::filesystem::path& to, const Progress& progress = {}) const;
    /// Reads the whole store and proves that it is sound: every page reachable or free, every checksum, every
    /// count, every index entry. All faults are reported. Others may go on meanwhile. O(n), bounded memory.
    /// If there are any, what can be read is saved in a new store at `repair_to`, unless that is empty: indexes,
    /// counts and free space are made anew there. This store stays as it is. Throws ExistsError.
    Report verify(const Progress& progress = {}, const std::filesystem::path& repair_to = {}) const;
    virtual Info info() const;
    /// Throws CorruptionError unless every invariant of the whole store holds. O(n).
    void check() const;
    /// Counts the changes of the store since it was opened; constant for a snapshot. Never goes back.
    std::uint64_t version() const;

    /// See Transaction: `auto transaction = store.transaction(); ...; transaction.commit();`
    [[nodiscard]] Transaction transaction(bool durable = true);

    /// Beside a writer in another process: goes on to its present state, or, if it is stopped, to the last one
    /// that it has published. Nothing happens if this process writes the store. Snapshots stay as they are.
    void refresh();
    /// Lets readers in other processes see what has been done so far. They may also ask for it themselves.
    void publish();

    /// Keeps the present state of the whole store under a name, to be opened with Options::at. Durable.
    /// Throws ExistsError.
    void keep_snapshot(std::string_view name);
    /// False if there is none. Durable.
    bool delete_snapshot(std::string_view name);
    std::vector<NamedSnapshot> snapshots() const;

protected:
    Handle(const std::filesystem::path& path, const Options& options);
    /// Another handle on the same store, or on a snapshot of its present state.
    enum class Time { same, now };
    Handle(const Handle& where, Time time);

    /// Throws ClosedError.
    storage::Store& store() const;
    /// Throws ClosedError or ReadOnlyError.
    storage::Store& writable_store() const;

    std::shared_ptr<storage::Store> store_;
    std::shared_ptr<const storage::Snapshot> snapshot_;  ///< null: the present state
    bool read_only_ = false;
    std::filesystem::path path_;

private:
    friend class Transaction;
};

/// All operations of this thread on a store from here to commit(), on whatever handles, happen or none does.
/// Destroyed without commit() it undoes them. Within another one it is a savepoint. Other threads go on reading
/// the state before it and wait when they write. Belongs to one thread.
class Transaction {
public:
    /// `durable`: commit() makes it survive power loss, not only the death of the process.
    explicit Transaction(Handle& handle, bool durable = true);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    /// Throws StorageError: everything has been undone then, unless it was the disk's sync that failed.
    void commit();
    void roll_back();

private:
    std::shared_ptr<storage::Store> store_;  ///< null when it has ended
    std::uint64_t begun_;
    bool durable_;
};

}  // namespace pyrsistence
