// A store that may be damaged, closed: what can still be found in its files, without recovering or changing it.
//
// Keeps writers away while it exists. An object belongs to one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/logged_op.hpp"
#include "storage/verification.hpp"

namespace pyrsistence::storage {

/// A root page that was found by looking at every page of the file.
struct FoundRoot {
    PageId page;
    std::uint64_t epoch;
    ContainerType type;
    std::string name;
};

class Wreck {
public:
    /// Throws NotFoundError, LockedError, FormatError if it is no store at all or a newer one, StorageError.
    Wreck(os::FileSystem& files, const os::fs::path& path);

    os::File& data() const noexcept { return *data_; }
    /// The last durable checkpoint; nothing if its meta page is damaged.
    const std::optional<Meta>& meta() const noexcept { return meta_; }
    PageId file_pages() const { return data_->size() / kPageSize; }
    /// What was found wrong with the meta pages and the head of the log.
    void report(Verification& out) const;

    /// Calls visit(op) for what the log tells since the checkpoint, until a record or an extent that it names cannot
    /// be read; that is a fault if it had been synced. REQUIRES: meta().
    void read_log(Pager& pager, Verification& out, const std::function<void(const LoggedOp&)>& visit) const;

private:
    void lock(os::FileSystem& files, const os::fs::path& path);
    void read_meta(const os::fs::path& path);
    std::uint64_t newest_checkpoint_in_log() const;

    std::unique_ptr<os::File> lock_, data_, log_file_;
    std::optional<Meta> meta_;
    std::vector<std::string> faults_;
};

/// Calls visit(root) for every root page that can be read. Pages that are free now may be among them, and so may
/// containers that were removed. Reads the whole file.
void find_roots(Pager& pager, const std::function<void(PageId)>& progress,
                const std::function<void(FoundRoot)>& visit);

}  // namespace pyrsistence::storage
