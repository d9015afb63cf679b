// Transactions: operations of one caller that happen all or not at all. Each begins with a seal;
// rolling back is returning to it; committing appends one record that holds all of theirs.

#include <algorithm>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

thread_local std::uint64_t present_task = 0;

constexpr std::size_t kSmallBatch = 64 * 1024;  ///< for which the log has room when a transaction begins

}  // namespace

Caller Caller::current() noexcept { return {std::this_thread::get_id(), present_task}; }

void Caller::set_task(std::uint64_t task) noexcept { present_task = task; }

/// Whether no transaction keeps the caller from changing the store.
bool Store::free_for_caller() const { return !transaction_ || transaction_->owner == Caller::current(); }

/// Waits for operations and the transaction of other threads. A task that waited for another one of its own
/// thread would wait for ever.
void Store::await_turn(Guard& lock) {
    while (busy_ || !free_for_caller()) {
        if (!free_for_caller() && transaction_->owner.thread == std::this_thread::get_id()) {
            throw Error(path_.string() + ": another task of this thread has a transaction open; await nothing "
                        "within one, or change the store from one task only");
        }
        wait(lock, [this] { return !busy_ && free_for_caller(); });
        require_open();
    }
    if (transaction_ && transaction_->failure) std::rethrow_exception(transaction_->failure);
}

std::uint64_t Store::version() const {
    if (open_transactions() == 0) [[likely]] return version_.load(std::memory_order_relaxed);
    if (forked_.load(std::memory_order_relaxed)) [[unlikely]] require_open();
    const Guard lock(mutex_);
    return current_view().version;
}

/// What the caller sees: beside a transaction of another, the state before it.
View Store::current_view() const noexcept {
    if (transaction_ && !free_for_caller()) [[unlikely]] return transaction_->base;
    return {0, catalog_, version_};
}

void Store::require_innermost(std::uint64_t begun) const {
    if (transaction_ && free_for_caller() && transaction_->open.back() == begun) return;
    throw Error(path_.string() + ": transactions end in the reverse order of their beginning, each once, in the "
                "thread and task that began it");
}

std::uint64_t Store::begin() {
    Guard lock = enter_to_write();
    if (transaction_) begin_savepoint();
    else begin_outermost(lock);
    transaction_->open.push_back(++begun_);
    return begun_;
}

void Store::begin_outermost(Guard& lock) {
    make_room(lock, std::min<std::uint64_t>(kSmallBatch, window_capacity() / 4));
    auto fresh = std::make_unique<Transaction>();
    fresh->owner = Caller::current();
    fresh->levels.reserve(1);
    fresh->open.reserve(1);
    fresh->base = hold_present();
    fresh->levels.push_back({fresh->base.epoch, catalog_, 0});
    transaction_ = std::move(fresh);
    ++transactions_;
}

void Store::begin_savepoint() {
    transaction_->levels.reserve(transaction_->levels.size() + 1);
    transaction_->open.reserve(transaction_->open.size() + 1);
    const std::uint64_t epoch = mark_and_hold();
    transaction_->levels.push_back({epoch, catalog_, transaction_->batch.size()});
}

/// A record of the running transaction.
void Store::add_to_batch(Bytes length, Bytes head, Bytes body) {
    std::vector<std::byte>& batch = transaction_->batch;
    if (transaction_->oversize) return;
    const std::uint64_t most = std::min<std::uint64_t>(window_capacity() / 2, options_.memory_limit / 8);
    if (batch.size() + length.size() + head.size() + body.size() > most) return outgrow_batch();
    for (const Bytes part : {length, head, body}) batch.insert(batch.end(), part.begin(), part.end());
}

void Store::outgrow_batch() noexcept {
    transaction_->oversize = true;
    transaction_->batch = {};
}

/// The innermost savepoint or the whole transaction is undone; its seal is given up.
void Store::undo_level() {
    const Level level = transaction_->levels.back();
    pager_->rewind();
    const ContainerId ids = catalog_.containers;  // never used again: handles may remember them
    catalog_ = level.catalog;
    catalog_.containers = ids;
    if (!transaction_->oversize) transaction_->batch.resize(level.logged);
    committed();  // who cached what was undone must see that something happened
    transaction_->levels.pop_back();
    let_go(level.epoch);
}

void Store::end_transaction() noexcept {
    transaction_.reset();
    --transactions_;
    changed_.notify_all();
}

void Store::roll_back(std::uint64_t begun) {
    Guard lock = enter_to_leave();
    std::vector<std::uint64_t> none;
    std::vector<std::uint64_t>& open = transaction_ ? transaction_->open : none;
    const auto found = std::find(open.begin(), open.end(), begun);
    if (found == open.end()) return;
    open.erase(found, open.end());
    try {
        while (transaction_->levels.size() > open.size()) undo_level();
    } catch (...) {
        restore(lock);  // pages could not be read: the checkpoint and the log give the same state
    }
    if (open.empty()) end_transaction();
}

bool Store::commit(std::uint64_t begun) {
    Guard lock = enter();
    require_innermost(begun);
    transaction_->open.pop_back();
    const bool outermost = transaction_->open.empty();
    if (const std::exception_ptr failure = transaction_->failure) {
        if (outermost) end_transaction();
        std::rethrow_exception(failure);
    }
    if (outermost) {
        commit_outermost(lock);
    } else {
        const std::uint64_t epoch = transaction_->levels.back().epoch;
        transaction_->levels.pop_back();
        let_go(epoch);
    }
    return outermost;
}

void Store::commit_outermost(Guard& lock) {
    try {
        log_transaction(lock);
    } catch (...) {
        abandon_transaction();
        throw;
    }
    let_go(transaction_->base.epoch);
    if (version_ != transaction_->base.version) committed();  // what others see changes only now
    end_transaction();
}

/// Throws if the transaction could not be made to last; it may have been undone then.
void Store::log_transaction(Guard& lock) {
    require_sound();
    const std::vector<std::byte>& batch = transaction_->batch;
    if (!transaction_->oversize) {
        if (batch.empty()) return;
        if (log_->reserve(batch.size() + RecordHeader::kMaxSize)) {
            const RecordHeader header(Op::batch, 0);
            const Bytes parts[] = {header.view(), batch};
            log_->append(parts);
            return require_sound();
        }
    }
    try {
        checkpoint_as_commit(lock);
    } catch (...) {
        restore(lock);
        throw;
    }
}

/// Undoes what is left of the transaction and ends it.
void Store::abandon_transaction() noexcept {
    if (!transaction_) return;
    try {
        while (!poison_ && !transaction_->levels.empty()) undo_level();
    } catch (...) {
        poison_ = std::current_exception();  // what is logged stays as it is
    }
    end_transaction();
}

}  // namespace pyrsistence::storage
