// What every container on disk has in common: where it lives, how it is opened, made durable and
// closed. Typed containers (Dict, List) build on the raw ones, which deal in bytes.
//
// Thread safety: several threads may read one container at once; a change excludes everything else on
// the same object. Different objects may be used freely, also on the same store.
// Durability: an operation that has returned survives the death of the process; sync(),
// checkpoint() and close() survive power loss.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "pyrsistence/buffer.hpp"
#include "pyrsistence/error.hpp"

namespace pyrsistence {

namespace storage {
class Store;
struct StoreOptions;
}  // namespace storage

/// What opening does with what it finds, as in h5py and zarr.
enum class Mode {
    read,        ///< "r": read-only, must exist
    read_write,  ///< "r+": must exist
    append,      ///< "a": created if missing
    truncate,    ///< "w": emptied if it is a store, created if missing
    exclusive,   ///< "x": must not exist
};

struct Options {
    Mode mode = Mode::append;
    std::uint64_t memory_limit = 0;  ///< bytes; 0: a quarter of the memory the process may use
    bool temporary = false;          ///< removed when closed, and never synced
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
};

/// A run of consecutive entries, copied out of the store.
struct Chunk {
    struct Item {
        std::uint64_t key;  ///< entry id (dict) or rank (list)
        std::size_t begin, size;
    };
    Buffer bytes;
    std::vector<Item> items;
    std::uint64_t next = 0;     ///< where the following chunk begins
    bool more = false;          ///< false: the end was reached
    std::uint64_t version = 0;  ///< of the store when it was read

    Bytes entry(std::size_t i) const { return bytes.view().subspan(items[i].begin, items[i].size); }
    void clear() {
        bytes.clear();
        items.clear();
    }
};

class Container {
public:
    Container(const Container&) = delete;
    Container& operator=(const Container&) = delete;
    virtual ~Container();

    /// Closes the handle; the last handle of a store in this process makes everything durable.
    /// Harmless when repeated. Throws StorageError; the log keeps everything then.
    void close();
    bool closed() const noexcept { return store_ == nullptr; }
    bool read_only() const noexcept { return read_only_; }
    /// Number of entries. O(1).
    std::uint64_t size() const;
    bool empty() const { return size() == 0; }
    /// Makes every operation so far survive a power failure: one fdatasync.
    void sync();
    /// The same, and empties the log.
    void checkpoint();
    /// Gives free space inside the data file back to the file system: moves what lies at its end to
    /// free places before. Others may go on reading and writing meanwhile. O(pages moved).
    void compact();
    Info info() const;
    const std::filesystem::path& path() const noexcept { return path_; }
    /// Throws CorruptionError unless every invariant of the whole store holds. O(n).
    void check() const;
    /// Counts the changes of the store since it was opened.
    std::uint64_t version() const;

protected:
    /// Opens or creates a store that holds this one container.
    Container(std::uint8_t type, const std::filesystem::path& path, const Options& options);

    /// Throws ClosedError.
    storage::Store& store() const;
    /// Throws ClosedError or ReadOnlyError.
    storage::Store& writable_store() const;

    std::shared_ptr<storage::Store> store_;
    std::uint32_t id_ = 0;
    bool read_only_ = false;
    std::filesystem::path path_;
};

}  // namespace pyrsistence
