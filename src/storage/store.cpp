#include "storage/store.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace pyrsistence::storage {

namespace {

constexpr std::uint64_t kLeastWindow = 4 * kLogInlineLimit;  ///< if asked for

Store::WaitHooks wait_hooks;

std::size_t put_varint(std::byte* place, std::uint64_t value) {
    std::size_t n = 0;
    for (; value >= 0x80; value >>= 7) place[n++] = std::byte(value | 0x80);
    place[n++] = std::byte(value);
    return n;
}

}  // namespace

// --- steps

ReadStep::ReadStep(Store& store) : store_(store), lock_(store.enter()), pager_(store.pager_.get()) {}

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
    : store_(store), lock_(store.enter()), kind_(kind) {
    store.require_writable();
    oversize_ = kind == Kind::batch && log_bytes > store.window_capacity() / 2;
    store.make_room(lock_, oversize_ ? 0 : log_bytes + RecordHeader::kMaxSize);
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
        store_.require_writable();
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
    if (options_.log_window != 0) return std::clamp(options_.log_window, kLeastWindow, Log::kMaxCapacity);
    const std::uint64_t data = pager_->page_count() * kPageSize;
    return std::clamp(data, kSmallestWindow, Log::kMaxCapacity);
}

Store::Guard Store::enter() {
    if (forked_.load(std::memory_order_relaxed)) [[unlikely]] require_open();
    Guard lock(mutex_);
    if (busy_) [[unlikely]] wait(lock, [this] { return !busy_; });
    require_open();
    return lock;
}

/// Bytes of extents between checkpoints. Only those in use count: space that overwriting has left behind
/// must not delay the checkpoint that frees it.
std::uint64_t Store::extent_limit() const {
    if (options_.log_window != 0) return window_capacity();
    return std::clamp(pager_->live_pages() * kPageSize, kSmallestWindow, Log::kMaxCapacity);
}

/// Waits until a condition holds, without the lock and without the caller's interpreter lock. The
/// interpreter lock is not awaited while the registry is locked: its owner may be waiting for the registry.
void Store::wait(Guard& lock, const std::function<bool()>& until) {
    if (!wait_hooks.before || in_registry_) return changed_.wait(lock, until);
    while (!until()) {
        lock.unlock();
        void* const state = wait_hooks.before();
        lock.lock();
        changed_.wait(lock, until);
        lock.unlock();
        wait_hooks.after(state);
        lock.lock();
    }
}

/// Waits until nobody works on the store without the lock.
void Store::settle(Guard& lock) {
    wait(lock, [this] { return !checkpoint_running_ && outside_ == 0; });
}

/// Starts or awaits a checkpoint if the next operation could not be logged or find frames otherwise.
void Store::make_room(Guard& lock, std::size_t log_bytes) {
    for (;;) {
        require_writable();
        const bool full = !writing_ || !log_->reserve(log_bytes);
        const bool scarce = pager_->frames_scarce() || pager_->extent_bytes_since_seal() > extent_limit();
        if (checkpoint_running_) {
            if (!full && !scarce) break;
            wait(lock, [this] { return !checkpoint_running_ && !busy_; });
        } else if ((full || scarce) && checkpoint_error_) {
            checkpoint_and_wait(lock);  // the last one failed: this caller is told if it fails again
        } else if (full || scarce) {
            start_checkpoint(lock);
        } else {
            break;
        }
    }
    pager_->reserve();
}

/// Whether anything is not in the last durable checkpoint.
bool Store::dirty() const {
    if (!writing_) return sequence_ > meta_.log.sequence;
    return log_->used() > 0 || meta_.log.generation != generation_;
}

// --- checkpoints

/// Seals the store and writes the seal in the background. The new log generation continues the
/// present one unless sequence numbers are skipped between them. After recovery the new one takes
/// records only when the checkpoint is durable, since it need not continue the last one.
/// REQUIRES: no checkpoint runs, and no other thread is in the middle of a change.
void Store::start_checkpoint(Guard& lock, std::uint64_t sequences_skipped) {
    const std::uint64_t sequence = (writing_ ? log_->next_sequence() : sequence_) + sequences_skipped;
    Meta next = meta_;
    next.checkpoint = meta_.checkpoint + 1;
    next.log = log_->start(generation_ + 1, sequence, window_capacity(), meta_.checkpoint);
    ++generation_;
    try {
        next.pages = pager_->seal();
    } catch (...) {
        restore(lock);
        throw;
    }
    next.catalog = catalog_;
    seals_.push_back(next.pages.epoch);
    if (checkpointer_) checkpointer_->join();
    checkpointer_.reset();
    tell(StoreOptions::Checkpoint::starts);
    const auto run = [this, next, sequence] {
        tell(StoreOptions::Checkpoint::begins);
        run_checkpoint(next, sequence);
        tell(StoreOptions::Checkpoint::ends);
    };
    try {
        checkpointer_ = std::make_unique<std::thread>(run);
    } catch (const std::system_error& error) {
        const StorageError failure(path_.string() + ": no thread for a checkpoint: " + error.what() +
                                       "; end other threads, or raise the limit", error.code().value());
        checkpoint_error_ = std::make_exception_ptr(failure);
        throw failure;
    }
    checkpoint_running_ = true;
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

/// Nobody goes back behind the seal of this epoch any more.
void Store::drop_seals(std::uint64_t epoch) {
    while (seals_.front() != epoch) {
        pager_->drop(seals_.front());
        seals_.erase(seals_.begin());
    }
    try {
        pager_->trim();
    } catch (const StorageError&) {
        // The tail stays; the next checkpoint tries again.
    }
}

void Store::end_checkpoint(const Meta& next, std::exception_ptr error) {
    checkpoint_error_ = error;
    if (!error) {
        meta_ = next;
        writing_ = true;
        log_->confirm(next.checkpoint);
        try {
            drop_seals(next.pages.epoch);
        } catch (...) {
            poison_ = std::current_exception();
        }
    }
    checkpoint_running_ = false;
    changed_.notify_all();
}

/// REQUIRES: as start_checkpoint().
void Store::checkpoint_and_wait(Guard& lock, std::uint64_t sequences_skipped) {
    const std::uint64_t number = meta_.checkpoint + 1;
    start_checkpoint(lock, sequences_skipped);
    wait(lock, [this, number] { return !checkpoint_running_ || meta_.checkpoint >= number; });
    if (meta_.checkpoint >= number) return;
    std::rethrow_exception(checkpoint_error_);
}

void Store::checkpoint() {
    Guard lock = enter();
    wait(lock, [this] { return !busy_ && !checkpoint_running_; });
    require_writable();
    if (dirty()) checkpoint_and_wait(lock);
}

void Store::compact(const std::function<void(ContainerId, PageId)>& relocate) {
    const auto durable = [this] {
        Guard lock = enter();
        wait(lock, [this] { return !busy_ && !checkpoint_running_; });
        require_writable();
        checkpoint_and_wait(lock);
        return pager_->live_pages();
    };
    // What the checkpoints in between write themselves needs room below the limit, too.
    constexpr PageId kSlack = 64;
    constexpr int kPasses = 3;  // a long extent may have to make way for itself first
    PageId live = durable();
    for (int pass = 0; pass < kPasses; ++pass) {
        const PageId limit = live + live / 64 + kSlack;
        for (ContainerId id = 0; id < containers(); ++id) relocate(id, limit);
        durable();         // frees the places that were left
        live = durable();  // moves the space map's own pages, and cuts the tail
        const Guard lock = enter();
        pager_->trim(true);
        if (pager_->page_count() <= limit) return;
    }
}

void Store::sync() {
    Guard lock = enter();
    if (read_only() || temporary() || !(writing_ || dirty())) return;
    const std::uint64_t sequence = log_->next_sequence();
    const bool extents = !writing_ || pager_->extents_outstanding();
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
        const ContainerId id = find_container(type, name);
        if (id < catalog_.containers) return id;
    }
    if (read_only()) throw NotFoundError(path_.string() + " holds no container '" + std::string(name) + "'");
    WriteStep step(*this, name.size() + 1);
    const ContainerId found = find_container(type, name);  // another thread may have been faster
    if (found < catalog_.containers) return found;
    const ContainerId id = step.create(type, name);
    step.commit(RecordHeader(Op::create, id).u8(static_cast<std::uint8_t>(type)), as_bytes(name));
    return id;
}

/// The number of containers if there is none of this name.
ContainerId Store::find_container(ContainerType type, std::string_view name) const {
    CatalogRoot root = catalog_;
    const Catalog catalog(*pager_, root);
    for (ContainerId id = 0; id < root.containers; ++id) {
        const std::byte* page = catalog.read(id);
        if (RootPage::name(page) != name) continue;
        if (RootPage::type(page) == type) return id;
        constexpr const char* kNames[] = {"nothing", "a dict", "a list"};
        const auto found = static_cast<std::size_t>(RootPage::type(page));
        throw FormatError(path_.string() + " holds " + (found < std::size(kNames) ? kNames[found] : "another type") +
                          ", not " + kNames[static_cast<std::size_t>(type)]);
    }
    return root.containers;
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
    in_registry_ = true;
    settle(lock);
    std::exception_ptr error = poison_;
    const bool opened = log_ != nullptr;
    try {
        if (opened && !poison_ && !temporary() && !read_only()) {
            if (dirty()) checkpoint_and_wait(lock);
            if (writing_) {
                log_->shrink();
                pager_->trim(true);
            }
        }
    } catch (...) {
        error = std::current_exception();
    }
    closed_ = true;
    if (checkpointer_) checkpointer_->join();
    checkpointer_.reset();
    pager_.reset();
    log_.reset();
    if (temporary() && opened) remove_files();
    data_.reset();
    log_file_.reset();
    lock_file_.reset();
    if (error) std::rethrow_exception(error);
}

}  // namespace pyrsistence::storage
