#include "storage/wreck.hpp"

namespace pyrsistence::storage {

Wreck::Wreck(os::FileSystem& files, const os::fs::path& path) {
    std::error_code ignored;
    if (!os::fs::exists(path / "data", ignored)) {
        throw NotFoundError(path.string() + " holds no store: there is no file 'data' in it");
    }
    lock(files, path);
    data_ = files.open(path / "data", os::Access::read_only);
    try {
        log_file_ = files.open(path / "log", os::Access::read_only);
    } catch (const StorageError& error) {
        faults_.push_back(error.what());
    }
    read_meta(path);
}

/// Where writers look for readers that cannot announce themselves.
void Wreck::lock(os::FileSystem& files, const os::fs::path& path) {
    std::error_code ignored;
    const bool exists = os::fs::exists(path / "lock", ignored);
    lock_ = files.open(path / (exists ? "lock" : "data"), os::Access::read_only);
    if (lock_->try_lock(0, os::Lock::shared)) return;
    throw LockedError(path.string() + " is open for writing; close it first, or call verify() of the open store");
}

/// An older checkpoint than the log knows of is of no use: its pages may have been used again.
void Wreck::read_meta(const os::fs::path& path) {
    std::uint64_t newest = 0;
    try {
        newest = newest_checkpoint_in_log();
    } catch (const CorruptionError& error) {
        faults_.push_back(error.what());
    }
    try {
        meta_ = Meta::read(*data_, path.string());
    } catch (const CorruptionError& error) {
        faults_.push_back(error.what());
        return;
    } catch (const FormatError& error) {
        if (newest == 0) throw;  // else the log is that of a store
        faults_.push_back(error.what());
        return;
    }
    if (meta_->checkpoint >= newest) return;
    faults_.push_back("checkpoint " + std::to_string(newest) + " was durable, but the newest in data is " +
                      std::to_string(meta_->checkpoint));
    meta_.reset();
}

std::uint64_t Wreck::newest_checkpoint_in_log() const {
    return log_file_ ? Log::newest_checkpoint(*log_file_) : 0;
}

void Wreck::report(Verification& out) const {
    verify_meta_pages(*data_, out);
    for (const std::string& text : faults_) out.fault(0, CorruptionError(text));
}

void Wreck::read_log(Pager& pager, Verification& out, const std::function<void(const LoggedOp&)>& visit) const {
    if (!log_file_) return;
    const auto read = [&](Bytes record) {
        for_each_op(record, [&](const LoggedOp& op) {
            if (op.external) pager.read_extent(op.extent);
        });
        for_each_op(record, visit);
    };
    try {
        const Log::Examined found = Log(*log_file_, true).examine(meta_->log, meta_->checkpoint, read);
        if (found.lost) std::rethrow_exception(found.lost);
    } catch (const CorruptionError& error) {
        out.enter(Part::catalog, std::nullopt);
        out.fault(0, error);
    }
}

void find_roots(Pager& pager, const std::function<void(PageId)>& progress,
                const std::function<void(FoundRoot)>& visit) {
    constexpr PageId kReadAhead = 256;
    for (PageId id = kMetaPages; id < pager.page_count(); ++id) {
        if (id % kReadAhead == 0) {
            pager.prefetch(id, kReadAhead);
            if (progress) progress(id);
        }
        try {
            const std::byte* page = pager.read(id);
            if (page_kind(page) != PageKind::root) continue;
            visit({id, page_epoch(page), RootPage::type(page), std::string(RootPage::name(page))});
        } catch (const CorruptionError&) {
            // Damaged, or the inside of an extent.
        }
    }
}

}  // namespace pyrsistence::storage
