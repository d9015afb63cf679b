// Checkpoints: a seal is made durable in a thread of its own while callers go on.

#include <algorithm>
#include <new>
#include <system_error>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

constexpr std::uint64_t kLeastWindow = 4 * kLogInlineLimit;  ///< if asked for
constexpr std::size_t kSlice = 4096;  ///< frames written, or freed under one hold of the lock, at a time

}  // namespace

std::uint64_t Store::window_capacity() const {
    if (options_.log_window != 0) return std::clamp(options_.log_window, kLeastWindow, Log::kMaxCapacity);
    const std::uint64_t data = pager_->page_count() * kPageSize;
    return std::clamp(data, kSmallestWindow, Log::kMaxCapacity);
}

/// Bytes of extents between checkpoints. Only those in use count: space that overwriting has left behind
/// must not delay the checkpoint that frees it.
std::uint64_t Store::extent_limit() const {
    if (options_.log_window != 0) return window_capacity();
    return std::clamp(pager_->live_pages() * kPageSize, kSmallestWindow, Log::kMaxCapacity);
}

/// Starts or awaits a checkpoint if the next operation could not be logged or find frames otherwise.
/// Within a transaction no checkpoint starts: its pages can be written out early, and it is logged at its end.
void Store::make_room(Guard& lock, std::size_t log_bytes) {
    for (;;) {
        await_turn(lock);
        require_writable();
        if (transaction_) {
            if (!pager_->frames_scarce()) break;
            free_frames(lock);
            continue;
        }
        const bool full = !writing_ || !log_->reserve(log_bytes);
        const auto scarce = [this] {
            return pager_->frames_scarce() || pager_->extent_bytes_since_seal() > extent_limit();
        };
        if (!full && !scarce()) break;
        if (checkpoint_running_) {  // its frames are free long before it is durable
            wait(lock, [&] { return (!checkpoint_running_ || (!full && !scarce())) && !busy_; });
        } else if (checkpoint_error_) {
            checkpoint_and_wait(lock);  // the last one failed: this caller is told if it fails again
        } else {
            start_checkpoint(lock);
        }
    }
    pager_->reserve();
}

/// Waits until the frames that were handed over are free again.
void Store::free_frames(Guard& lock) {
    if (checkpoint_running_) {
        return wait(lock, [this] { return (!checkpoint_running_ || !pager_->frames_scarce()) && !busy_; });
    }
    const auto error = without_lock(lock, outside_, [this] { write_back(); });
    if (error) std::rethrow_exception(error);
}

/// Whether anything is not in the last durable checkpoint.
bool Store::dirty() const {
    if (!writing_) return sequence_ > meta_.log.sequence;
    return log_->used() > 0 || meta_.log.generation != generation_;
}

/// Seals the store and writes the seal in the background. The new log generation continues the
/// present one unless sequence numbers are skipped between them. After recovery the new one takes
/// records only when the checkpoint is durable, since it need not continue the last one.
/// REQUIRES: no checkpoint runs, and no other thread is in the middle of a change.
void Store::start_checkpoint(Guard& lock, std::uint64_t sequences_skipped) {
    require_sound();
    const std::uint64_t sequence = (writing_ ? log_->next_sequence() : sequence_) + sequences_skipped;
    Meta next = meta_;
    next.checkpoint = meta_.checkpoint + 1;
    next.catalog = catalog_;
    next.snapshots = snapshot_table_;
    checkpoints_.reserve(checkpoints_.size() + 1);
    const std::uint64_t epoch = pager_->epoch();
    hold(epoch);
    bool started = false;
    try {
        next.log = log_->start(generation_ + 1, sequence, window_capacity(), meta_.checkpoint);
        started = true;
        ++generation_;
        next.pages = pager_->seal();
    } catch (...) {
        forget_hold(epoch);
        if (started) restore(lock);
        throw;
    }
    checkpoints_.push_back(next.pages.epoch);
    checkpoint_view_ = {next.pages.epoch, catalog_, version_};
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
    } catch (...) {
        checkpoint_error_ = std::current_exception();
        throw;
    }
    checkpoint_running_ = true;
}

/// Without the lock: frames that were handed over are in the file, and free again, when it returns. Who waits for
/// frames goes on when some are.
void Store::write_back() {
    for (bool written = false; !written;) {
        written = pager_->write_sealed(kSlice);
        for (bool free = false; !free;) {
            const Guard lock(mutex_);
            free = pager_->retire(kSlice);
        }
        changed_.notify_all();
    }
}

/// Zeros in place of a page that could not be read must not become durable under a fresh checksum.
void Store::require_pages() {
    const Guard lock(mutex_);
    require_sound();
}

void Store::run_checkpoint(Meta next, std::uint64_t log_sequence) {
    std::exception_ptr error;
    bool syncing = false;
    log_->unmap_last();
    try {
        write_back();
        syncing = true;
        if (!temporary()) {
            pager_->sync();
            log_->sync(log_sequence);
        }
        syncing = false;
        require_pages();
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

/// Nobody goes back behind the checkpoint of this epoch any more.
void Store::replace_checkpoint(std::uint64_t epoch) {
    while (checkpoints_.front() != epoch) {
        let_go_after_readers(checkpoints_.front());
        checkpoints_.erase(checkpoints_.begin());
    }
    try {
        announce(checkpoint_view_);
        pager_->trim();
    } catch (const StorageError&) {
        // The tail stays; the next checkpoint tries again.
    } catch (const std::bad_alloc&) {
        // So does the state that readers see.
    }
}

void Store::end_checkpoint(const Meta& next, std::exception_ptr error) {
    checkpoint_error_ = error;
    if (!error) {
        meta_ = next;
        writing_ = true;
        log_->confirm(next.checkpoint);
        try {
            replace_checkpoint(next.pages.epoch);
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

/// Makes a change durable of which no record tells.
void Store::checkpoint_as_commit(Guard& lock) {
    const struct Busy {
        Store& store;
        explicit Busy(Store& store) : store(store) { store.busy_ = true; }
        ~Busy() {
            store.busy_ = false;
            store.changed_.notify_all();
        }
    } busy(*this);
    wait(lock, [this] { return !checkpoint_running_; });
    require_writable();
    checkpoint_and_wait(lock, 1);
    committed();
}

void Store::checkpoint() {
    Guard lock = enter_alone();
    if (dirty()) checkpoint_and_wait(lock);
}

void Store::with_checkpoint(const std::function<void(os::File&, const Meta&)>& use) {
    if (read_only()) return with_last_checkpoint(use);
    Guard lock = enter_alone();
    if (dirty()) checkpoint_and_wait(lock);
    // Who makes a checkpoint in the middle of a change may not have set named_ yet, which that checkpoint lists.
    wait(lock, [this] { return !busy_; });
    require_open();
    const Meta meta = meta_;
    std::vector<std::uint64_t> epochs{meta.pages.epoch};
    for (const NamedSnapshot& one : named_) epochs.push_back(one.pages.epoch);
    for (const std::uint64_t epoch : epochs) hold(epoch);
    const auto error = without_lock(lock, copying_, [&] { use(*data_, meta); });
    for (const std::uint64_t epoch : epochs) let_go(epoch);
    if (error) std::rethrow_exception(error);
}

void Store::compact(const std::function<void(ContainerId, PageId)>& relocate) {
    const auto durable = [this] {
        Guard lock = enter_alone();
        checkpoint_and_wait(lock);
        return pager_->live_pages();
    };
    // What the checkpoints in between write themselves needs room below the limit, too.
    constexpr PageId kSlack = 64;
    constexpr int kPasses = 3;  // a long extent may have to make way for itself first
    PageId live = durable();
    for (int pass = 0; pass < kPasses; ++pass) {
        const PageId limit = live + live / 64 + kSlack;
        for (const ContainerEntry& container : containers()) relocate(container.id, limit);
        durable();         // frees the places that were left
        live = durable();  // moves the space map's own pages, and cuts the tail
        const Guard lock = enter();
        pager_->trim(true);
        if (pager_->page_count() <= limit) return;
    }
}

}  // namespace pyrsistence::storage
