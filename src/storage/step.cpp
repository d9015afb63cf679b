#include "storage/step.hpp"

#include <cerrno>

#include "pyrsistence/encoding.hpp"
#include "storage/store.hpp"

namespace pyrsistence::storage {

ReadStep::ReadStep(Store& store, const Snapshot* at)
    : store_(store), lock_(store.enter()), pager_(store.pager_.get()) {
    const View view = at ? at->view() : store.current_view();
    catalog_ = view.catalog;
    version_ = view.version;
    if (at && view.epoch <= store.lost_ && store.foreign_seals_.contains(view.epoch)) [[unlikely]] {
        throw StorageError(store.path().string() + ": the snapshot was lost when the store went back to its last "
                           "checkpoint after a disk error; take a new one", EIO);
    }
}

const std::byte* ReadStep::root(ContainerId id) const {
    CatalogRoot root = catalog_;
    return Catalog(*pager_, root).read(id);
}

void ReadStep::finish() const { store_.require_sound(); }

RecordHeader::RecordHeader(Op op, ContainerId container, const ExtentRef* extent) {
    bytes_[size_++] = std::byte(static_cast<std::uint8_t>(op) | (extent ? 0x80 : 0));
    size_ += detail::store_varint(bytes_ + size_, container);
    if (extent) {
        extent->encode(bytes_ + size_);
        size_ += ExtentRef::kEncodedSize;
    }
}

WriteStep::WriteStep(Store& store, std::size_t log_bytes, Kind kind)
    : store_(store), lock_(store.enter_to_write()), kind_(kind) {
    oversize_ = kind == Kind::batch && log_bytes > store.window_capacity() / 2;
    store.make_room(lock_, oversize_ ? 0 : log_bytes + RecordHeader::kMaxSize);
}

WriteStep::WriteStep(Store& store, Replay) : store_(store), done_(true) {}

WriteStep::~WriteStep() {
    if (done_) return;
    try {
        if (!changed_) {
            for (const ExtentRef& extent : extents_) store_.pager_->release(extent);
            return;
        }
    } catch (...) {
        // The extents that are left stay in use until the store has been restored.
    }
    store_.restore(lock_);
}

Pager& WriteStep::pager() const noexcept { return *store_.pager_; }

std::uint64_t WriteStep::version() const noexcept { return store_.version_.load(std::memory_order_relaxed); }

const std::byte* WriteStep::root(ContainerId id) const { return Catalog(pager(), store_.catalog_).read(id); }

std::byte* WriteStep::change(ContainerId id) {
    if (!changed_) (void)root(id);  // a container that is gone is no reason to restore anything
    changed_ = true;
    return Catalog(pager(), store_.catalog_).write(id);
}

void WriteStep::next() {
    if (lock_.owns_lock() && pager().frames_scarce() && store_.checkpoint_running_) {
        store_.busy_ = true;
        store_.wait(lock_, [this] { return !store_.checkpoint_running_ || !pager().frames_scarce(); });
        store_.busy_ = false;
        store_.changed_.notify_all();
    }
    pager().reserve();
}

ExtentRef WriteStep::extent(Bytes value) {
    extents_.reserve(extents_.size() + 1);
    const ExtentRef ref = pager().write_extent(value);
    extents_.push_back(ref);
    next();
    return ref;
}

ContainerId WriteStep::create(ContainerType type, std::string_view name) {
    changed_ = true;
    return Catalog(pager(), store_.catalog_).add(type, name);
}

void WriteStep::remove(ContainerId id) {
    changed_ = true;
    Catalog(pager(), store_.catalog_).remove(id);
}

void WriteStep::rename(ContainerId id, std::string_view name) {
    RootPage::set_name(change(id), name);
}

void WriteStep::commit(const RecordHeader& header, Bytes body) {
    if (kind_ == Kind::single && done_) return;  // replay
    const Bytes head = header.view();
    if (kind_ == Kind::batch) {
        if (oversize_ || done_) return;
        std::byte length[detail::kMaxVarint];
        const std::size_t n = detail::store_varint(length, head.size() + body.size());
        batch_.insert(batch_.end(), length, length + n);
        batch_.insert(batch_.end(), head.begin(), head.end());
        batch_.insert(batch_.end(), body.begin(), body.end());
        return;
    }
    store_.require_sound();
    if (store_.transaction_) {
        std::byte length[detail::kMaxVarint];
        store_.add_to_batch({length, detail::store_varint(length, head.size() + body.size())}, head, body);
    } else {
        const Bytes parts[] = {head, body};
        store_.log_->append(parts);
        store_.require_sound();
    }
    store_.committed();
    done_ = true;
}

/// False if the batch does not fit into the log.
bool WriteStep::write_batch() {
    if (store_.transaction_) {
        store_.add_to_batch({}, {}, batch_);
        if (oversize_) store_.outgrow_batch();
        return true;
    }
    if (oversize_ || !store_.log_->reserve(batch_.size() + RecordHeader::kMaxSize)) return false;
    const RecordHeader header(Op::batch, 0);
    const Bytes parts[] = {header.view(), batch_};
    store_.log_->append(parts);
    return true;
}

void WriteStep::commit_batch() {
    if (done_) return;
    if (!changed_) {
        done_ = true;
        return;
    }
    store_.require_sound();
    if (!write_batch()) return commit_checkpoint();
    store_.require_sound();
    store_.committed();
    done_ = true;
}

/// One sequence number is skipped, so that a recovery that starts before the change cannot run on
/// into records that were made after it.
void WriteStep::commit_checkpoint() {
    store_.checkpoint_as_commit(lock_);
    done_ = true;
}

}  // namespace pyrsistence::storage
