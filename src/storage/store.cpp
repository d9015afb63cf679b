#include "storage/store.hpp"

#include <algorithm>
#include <utility>

namespace pyrsistence::storage {

namespace {

Store::WaitHooks wait_hooks;

std::size_t put_varint(std::byte* place, std::uint64_t value) {
    std::size_t n = 0;
    for (; value >= 0x80; value >>= 7) place[n++] = std::byte(value | 0x80);
    place[n++] = std::byte(value);
    return n;
}

}  // namespace

// --- steps

ReadStep::ReadStep(Store& store) : store_(store), lock_(store.mutex_, std::defer_lock) {
    if (!store.forked_.load(std::memory_order_relaxed)) [[likely]] lock_.lock();
    if (store.busy_) store.wait(lock_, [&store] { return !store.busy_; });
    store.require_open();
    pager_ = store.pager_.get();
}

const std::byte* ReadStep::root(ContainerId id) const { return Catalog(*pager_, store_.catalog_).read(id); }

std::uint64_t ReadStep::version() const noexcept { return store_.version(); }

RecordHeader::RecordHeader(Op op, ContainerId container, const ExtentRef* extent) {
    bytes_[size_++] = std::byte(static_cast<std::uint8_t>(op) | (extent ? 0x80 : 0));
    size_ += put_varint(bytes_ + size_, container);
    if (extent) {
        extent->encode(bytes_ + size_);
        size_ += ExtentRef::kEncodedSize;
    }
}

WriteStep::WriteStep(Store& store, std::size_t log_bytes, Kind kind)
    : store_(store), lock_(store.mutex_, std::defer_lock), kind_(kind) {
    if (!store.forked_.load(std::memory_order_relaxed)) [[likely]] lock_.lock();
    if (store.busy_) store.wait(lock_, [&store] { return !store.busy_; });
    oversize_ = kind == Kind::batch && log_bytes > store.window_capacity() / 2;
    store.make_room(lock_, oversize_ ? 0 : log_bytes + RecordHeader::kMaxSize);
    if (oversize_) store.settle(lock_);
}

WriteStep::WriteStep(Store& store, Replay) : store_(store), done_(true) {}

WriteStep::~WriteStep() {
    if (done_) return;
    if (changed_) {
        store_.restore(lock_);
        return;
    }
    for (const ExtentRef& extent : extents_) store_.pager_->release(extent);
}

Pager& WriteStep::pager() const noexcept { return *store_.pager_; }

const std::byte* WriteStep::root(ContainerId id) const { return Catalog(pager(), store_.catalog_).read(id); }

std::byte* WriteStep::change(ContainerId id) {
    changed_ = true;
    return Catalog(pager(), store_.catalog_).write(id);
}

void WriteStep::next() {
    if (lock_.owns_lock() && pager().frames_scarce() && store_.checkpoint_running_) {
        store_.busy_ = true;
        store_.wait(lock_, [this] { return !store_.checkpoint_running_; });
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

void WriteStep::commit(const RecordHeader& header, Bytes body) {
    const Bytes head = header.view();
    if (kind_ == Kind::batch) {
        if (oversize_ || done_) return;
        std::byte length[10];
        const std::size_t n = put_varint(length, head.size() + body.size());
        batch_.insert(batch_.end(), length, length + n);
        batch_.insert(batch_.end(), head.begin(), head.end());
        batch_.insert(batch_.end(), body.begin(), body.end());
        return;
    }
    if (done_) return;  // replay
    const Bytes parts[] = {head, body};
    store_.log_->append(parts);
    store_.committed();
    done_ = true;
}

void WriteStep::commit_batch() {
    if (done_) return;
    if (!changed_) {
        done_ = true;
        return;
    }
    if (!oversize_ && store_.log_->reserve(batch_.size() + RecordHeader::kMaxSize)) {
        const RecordHeader header(Op::batch, 0);
        const Bytes parts[] = {header.view(), batch_};
        store_.log_->append(parts);
        store_.committed();
        done_ = true;
        return;
    }
    // One sequence number is skipped, so that a recovery that starts before the batch cannot run
    // on into records that were made after it.
    store_.busy_ = true;
    try {
        store_.settle(lock_);
        store_.checkpoint_and_wait(lock_, 1);
    } catch (...) {
        store_.busy_ = false;
        throw;
    }
    store_.busy_ = false;
    store_.committed();
    done_ = true;
    store_.changed_.notify_all();
}

// --- state

void Store::set_wait_hooks(WaitHooks hooks) { wait_hooks = hooks; }

void Store::require_open() const {
    if (forked_.load(std::memory_order_relaxed)) {
        throw ClosedError(path_.string() + " was opened by the parent process; open it again after the fork");
    }
    if (closed_) throw ClosedError(path_.string() + " is closed; open it again");
    if (poison_) std::rethrow_exception(poison_);
}

void Store::require_writable() const {
    require_open();
    if (read_only()) throw ReadOnlyError(path_.string() + " is open read-only; open it with mode 'a' to change it");
}

std::uint64_t Store::window_capacity() const {
    const std::uint64_t data = pager_->page_count() * kPageSize;
    return std::clamp(data, kSmallestWindow, Log::kMaxCapacity);
}

/// Waits until a condition holds, without the lock and without the caller's interpreter lock.
void Store::wait(Guard& lock, const std::function<bool()>& until) {
    if (until()) return;
    void* state = nullptr;
    if (wait_hooks.before) {
        lock.unlock();
        state = wait_hooks.before();
        lock.lock();
    }
    changed_.wait(lock, until);
    if (wait_hooks.after) {
        lock.unlock();
        wait_hooks.after(state);
        lock.lock();
    }
}

/// Waits until nobody works on the store without the lock.
void Store::settle(Guard& lock) {
    while (checkpoint_running_ || outside_ > 0) wait(lock, [this] { return !checkpoint_running_ && outside_ == 0; });
}

void Store::make_room(Guard& lock, std::size_t log_bytes) {
    require_writable();
    if (!writing_) [[unlikely]] checkpoint_and_wait(lock);
    for (;;) {
        require_writable();
        const bool full = !log_->reserve(log_bytes);
        const bool extents = pager_->extent_bytes_since_seal() > window_capacity();
        if (checkpoint_running_) {
            if (!full && !pager_->frames_scarce()) break;
            wait(lock, [this] { return !checkpoint_running_; });
        } else if (checkpoint_error_) {
            std::rethrow_exception(std::exchange(checkpoint_error_, nullptr));
        } else if (full || extents || pager_->frames_scarce()) {
            start_checkpoint();
        } else {
            break;
        }
    }
    pager_->reserve();
}

// --- checkpoints

/// Seals the store and writes the seal in the background. The new log generation continues the
/// present one unless sequence numbers are skipped between them.
void Store::start_checkpoint(std::uint64_t sequences_skipped) {
    const std::uint64_t sequence = (writing_ ? log_->next_sequence() : sequence_) + sequences_skipped;
    Meta next = meta_;
    next.checkpoint = meta_.checkpoint + 1;
    next.log = log_->start(generation_ + 1, sequence, window_capacity(), meta_.checkpoint);
    ++generation_;
    writing_ = true;
    next.pages = pager_->seal();
    next.catalog = catalog_;
    seals_.push_back(next.pages.epoch);
    if (checkpointer_) checkpointer_->join();
    checkpoint_error_ = nullptr;
    checkpoint_running_ = true;
    checkpointer_ = std::make_unique<std::thread>([this, next, sequence] { run_checkpoint(next, sequence); });
}

void Store::run_checkpoint(Meta next, std::uint64_t log_sequence) {
    constexpr std::size_t kSlice = 4096;  // frames freed under one hold of the lock
    std::exception_ptr error;
    bool syncing = false;
    try {
        pager_->write_sealed();
        for (bool all = false; !all;) {
            const Guard lock(mutex_);
            all = pager_->retire(kSlice);
        }
        syncing = true;
        if (!temporary()) {
            pager_->sync();
            log_->sync(log_sequence);
        }
        syncing = false;
        next.write(*data_);
        syncing = true;
        if (!temporary()) data_->sync();
    } catch (...) {
        error = std::current_exception();
    }
    const Guard lock(mutex_);
    if (error && syncing) poison_ = error;  // what a failed fsync leaves behind cannot be known
    end_checkpoint(next, error);
}

void Store::end_checkpoint(const Meta& next, std::exception_ptr error) {
    checkpoint_error_ = error;
    if (!error) {
        meta_ = next;
        while (seals_.front() != next.pages.epoch) {
            pager_->drop(seals_.front());
            seals_.erase(seals_.begin());
        }
        log_->confirm(next.checkpoint);
        try {
            pager_->trim();
        } catch (const StorageError&) {
            // The tail stays; the next checkpoint tries again.
        }
    }
    checkpoint_running_ = false;
    changed_.notify_all();
}

void Store::checkpoint_and_wait(Guard& lock, std::uint64_t sequences_skipped) {
    wait(lock, [this] { return !checkpoint_running_; });
    require_writable();
    start_checkpoint(sequences_skipped);
    wait(lock, [this] { return !checkpoint_running_; });
    if (checkpoint_error_) std::rethrow_exception(std::exchange(checkpoint_error_, nullptr));
}

void Store::checkpoint() {
    Guard lock(mutex_);
    wait(lock, [this] { return !busy_ && !checkpoint_running_; });
    require_writable();
    if (writing_ && log_->used() > 0) checkpoint_and_wait(lock);
}

void Store::compact(const std::function<void(ContainerId, PageId)>& relocate) {
    const auto durable = [this] {
        Guard lock(mutex_);
        wait(lock, [this] { return !busy_; });
        checkpoint_and_wait(lock);
        return pager_->live_pages();
    };
    // What the checkpoints in between write themselves needs room below the limit, too.
    constexpr PageId kSlack = 64;
    const PageId live = durable();
    const PageId limit = live + live / 64 + kSlack;
    for (ContainerId id = 0; id < containers(); ++id) relocate(id, limit);
    durable();  // frees the places that were left
    durable();  // moves the space map's own pages, and cuts the tail
    const Guard lock(mutex_);
    require_writable();
    pager_->trim(true);
}

void Store::sync() {
    Guard lock(mutex_);
    wait(lock, [this] { return !busy_; });
    require_open();
    if (!writing_ || temporary()) return;
    const std::uint64_t sequence = log_->next_sequence();
    const bool extents = pager_->extents_outstanding();
    ++outside_;
    lock.unlock();
    std::exception_ptr error;
    try {
        if (extents) pager_->sync();
        log_->sync(sequence);
    } catch (...) {
        error = std::current_exception();
    }
    lock.lock();
    --outside_;
    if (error) poison_ = error;
    changed_.notify_all();
    if (error) std::rethrow_exception(error);
}

// --- containers and figures

ContainerId Store::open_container(ContainerType type, std::string_view name) {
    if (name.size() > RootPage::kMaxName) {
        throw FormatError("a container name of " + std::to_string(name.size()) + " bytes; at most " +
                          std::to_string(RootPage::kMaxName) + " are possible");
    }
    {
        const ReadStep step(*this);
        for (ContainerId id = 0; id < catalog_.containers; ++id) {
            const std::byte* root = step.root(id);
            if (RootPage::name(root) != name) continue;
            if (RootPage::type(root) == type) return id;
            constexpr const char* kNames[] = {"nothing", "a dict", "a list"};
            const auto found = static_cast<std::size_t>(RootPage::type(root));
            throw FormatError(path_.string() + " holds " + (found < std::size(kNames) ? kNames[found] : "another type") +
                              ", not " + kNames[static_cast<std::size_t>(type)]);
        }
    }
    if (read_only()) throw NotFoundError(path_.string() + " holds no container '" + std::string(name) + "'");
    WriteStep step(*this, name.size() + 1);
    const ContainerId id = step.create(type, name);
    step.commit(RecordHeader(Op::create, id).u8(static_cast<std::uint8_t>(type)), as_bytes(name));
    return id;
}

ContainerId Store::containers() {
    const ReadStep step(*this);
    return catalog_.containers;
}

Info Store::info() {
    const ReadStep step(*this);
    Info info{};
    info.data_bytes = data_->size();
    info.log_bytes = writing_ ? log_->used() : 0;
    info.pages = pager_->page_count();
    info.live_pages = pager_->live_pages();
    info.checkpoint = meta_.checkpoint;
    info.frame_bytes = pager_->frames_in_use() * kPageSize;
    info.memory_limit = options_.memory_limit;
    return info;
}

bool Store::in_place() const {
    try {
        return files_.open(path_ / "data", os::Access::read_only)->identity() == data_->identity();
    } catch (const StorageError&) {
        return false;
    }
}

void Store::check(const std::function<void(Pager&, const std::byte*, const Mark&)>& walk) {
    const ReadStep step(*this);
    std::vector<bool> seen(pager_->page_count());
    std::uint64_t reached = 0;
    const Mark mark = [&](PageId first, std::uint64_t pages) {
        for (PageId id = first; id < first + pages; ++id, ++reached) {
            if (id < kMetaPages || id >= seen.size() || seen[id] || !pager_->space().live(id)) {
                throw CorruptionError("page " + std::to_string(id) + " of data: used twice, free or out of range");
            }
            seen[id] = true;
        }
    };
    const Catalog catalog(*pager_, catalog_);
    catalog.walk([&](PageId id) { mark(id, 1); });
    for (ContainerId id = 0; id < catalog_.containers; ++id) walk(*pager_, catalog.read(id), mark);
    pager_->space().own_pages(mark);
    if (reached + kMetaPages != pager_->live_pages()) {
        throw CorruptionError(std::to_string(pager_->live_pages()) + " pages of data are in use, but only " +
                              std::to_string(reached + kMetaPages) + " can be reached; run compact()");
    }
}

void Store::close() {
    Guard lock(mutex_, std::defer_lock);
    if (forked_) return;
    lock.lock();
    if (closed_) return;
    settle(lock);
    std::exception_ptr error = poison_;
    try {
        if (writing_ && !poison_ && !temporary()) {
            if (log_->used() > 0 || checkpoint_error_) checkpoint_and_wait(lock);
            log_->shrink();
            pager_->trim(true);
        }
    } catch (...) {
        error = std::current_exception();
    }
    closed_ = true;
    if (checkpointer_) checkpointer_->join();
    checkpointer_.reset();
    pager_.reset();
    log_.reset();
    if (temporary()) remove_files();
    data_.reset();
    log_file_.reset();
    lock_file_.reset();
    if (error) std::rethrow_exception(error);
}

}  // namespace pyrsistence::storage
