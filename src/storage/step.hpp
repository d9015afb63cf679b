// Steps: how containers read and change a store under its lock, and log the changes.
//
// Thread safety: a step belongs to the thread that made it, and holds the store's lock from its
// construction to its destruction: keep it short and run no foreign code inside. At most one at a time.
#pragma once

#include <mutex>
#include <vector>

#include "storage/catalog.hpp"
#include "storage/logged_op.hpp"

namespace pyrsistence::storage {

class Store;
class Snapshot;

/// Holds the lock for reading one state of the store: a snapshot, or the current one; beside a transaction
/// of somebody else, the one before it. Throws ClosedError.
class ReadStep {
public:
    explicit ReadStep(Store& store, const Snapshot* at = nullptr);
    Pager& pager() const noexcept { return *pager_; }
    const CatalogRoot& catalog() const noexcept { return catalog_; }
    /// Throws ClosedError if there is no such container (any more).
    const std::byte* root(ContainerId id) const;
    std::uint64_t version() const noexcept { return version_; }
    /// Call when what was read has been copied. Throws StorageError if the disk failed to deliver some of it.
    void finish() const;

private:
    Store& store_;
    std::unique_lock<std::mutex> lock_;
    Pager* pager_;
    CatalogRoot catalog_;
    std::uint64_t version_;
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
    std::uint64_t version() const noexcept;
    const std::byte* root(ContainerId id) const;
    /// The container's root page for writing; from here on the step counts as changed.
    std::byte* change(ContainerId id);
    /// Makes room for further pages. Pointers into pages are void afterwards.
    void next();
    /// Writes a value to an extent; call before change().
    ExtentRef extent(Bytes value);
    ContainerId create(ContainerType type, std::string_view name);
    /// Removes a container that is empty from the catalog.
    void remove(ContainerId id);
    void rename(ContainerId id, std::string_view name);
    /// Logs the operation (in a batch: adds it to the batch). It is done when this returns.
    void commit(const RecordHeader& header, Bytes body = {});
    /// Ends a step that moved pages and changed nothing that the log would tell of.
    void commit_moved() noexcept { done_ = true; }
    /// Logs a batch. A batch too large for the log becomes a durable checkpoint instead.
    void commit_batch();
    /// Ends a change that no record tells of by a durable checkpoint.
    void commit_checkpoint();

private:
    friend class Store;
    struct Replay {};
    /// The lock is not taken, nothing is logged.
    WriteStep(Store& store, Replay);

    bool write_batch();

    Store& store_;
    std::unique_lock<std::mutex> lock_;
    Kind kind_ = Kind::single;
    bool changed_ = false;
    bool done_ = false;
    bool oversize_ = false;  ///< a batch that does not fit into the log
    std::vector<std::byte> batch_;
    std::vector<ExtentRef> extents_;  ///< written, not yet owned by a container
};

}  // namespace pyrsistence::storage
