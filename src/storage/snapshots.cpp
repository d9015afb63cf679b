// Snapshots: seals that are held, in memory by a handle, or under a name by the store itself.

#include <algorithm>
#include <chrono>
#include <new>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

std::uint64_t microseconds_since_1970() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

auto find_name(SnapshotTable& table, std::string_view name) {
    return std::find_if(table.begin(), table.end(), [name](const NamedSnapshot& one) { return one.name == name; });
}

}  // namespace

Snapshot::Snapshot(std::shared_ptr<Store> store, const View& view, std::shared_ptr<const ReaderTable::Slot> slot)
    : store_(std::move(store)), view_(view), slot_(std::move(slot)) {}

Snapshot::~Snapshot() {
    slot_.reset();
    try {
        const auto lock = store_->enter_to_leave();
        if (!store_->read_only()) store_->let_go(view_.epoch);
    } catch (...) {
        // The store was closed or failed: nothing is held any more.
    }
    try {
        Store::release(store_);
    } catch (...) {
        // Whoever wants to know closes the store; the log keeps everything.
    }
}

/// A new seal with one holder.
std::uint64_t Store::mark_and_hold() {
    const std::uint64_t epoch = pager_->epoch();
    hold(epoch);
    try {
        return pager_->mark();
    } catch (...) {
        forget_hold(epoch);
        throw;
    }
}

/// One holder less; without any, pages that only this seal reaches become free.
void Store::let_go(std::uint64_t epoch) noexcept {
    const auto found = holds_.find(epoch);
    if (found == holds_.end() || found->second == 0 || --found->second > 0) return;
    if (!drop_if_unheld(epoch)) drops_wait_ = true;
    if (!drops_wait_) return;
    drops_wait_ = false;
    for (auto at = holds_.begin(); at != holds_.end();) {
        const auto [next, holders] = *at++;
        if (holders == 0 && !drop_if_unheld(next)) drops_wait_ = true;
    }
}

/// False if that must wait, for want of memory or because the disk does not deliver a part of the space map.
bool Store::drop_if_unheld(std::uint64_t epoch) noexcept {
    if (unrestored_) {  // the next pager will not know it
        holds_.erase(epoch);
        return true;
    }
    try {
        const bool foreign = foreign_seals_.contains(epoch);
        if (!foreign) pager_->drop(epoch);
        else if (foreign_seals_.size() == 1) pager_->drop(foreign_);
        foreign_seals_.erase(epoch);
        holds_.erase(epoch);
    } catch (const StorageError&) {
        return false;
    } catch (const std::bad_alloc&) {
        return false;
    } catch (...) {
        poison_ = std::current_exception();
    }
    return true;
}

/// The same for a seal that readers in other processes may be using: it stays until they have left it.
void Store::let_go_after_readers(std::uint64_t epoch) noexcept {
    if (!table_) return let_go(epoch);
    try {
        reader_states_.push_back(epoch);
    } catch (const std::bad_alloc&) {
        return;  // it stays until the store is opened anew
    }
    sweep_readers();
}

/// A seal of the state that everybody may see, held once more.
View Store::hold_present() {
    if (transaction_ && !transaction_->failure) {
        hold(transaction_->base.epoch);
        return transaction_->base;
    }
    const bool same = sealed_.epoch + 1 == pager_->epoch() && sealed_.catalog == catalog_ &&
                      holds_.contains(sealed_.epoch);
    if (same) hold(sealed_.epoch);
    else sealed_ = {mark_and_hold(), catalog_, version_};
    return sealed_;
}

/// Takes over one hold.
std::shared_ptr<const Snapshot> Store::snapshot_of(Guard& lock, const View& held) {
    try {
        lock.unlock();
        return std::make_shared<const Snapshot>(shared_from_this(), held, nullptr);
    } catch (...) {
        lock.lock();
        let_go(held.epoch);
        throw;
    }
}

std::shared_ptr<const Snapshot> Store::snapshot() {
    Guard lock = enter();
    if (read_only()) return reader_snapshot(lock);
    return snapshot_of(lock, hold_present());
}

std::shared_ptr<const Snapshot> Store::snapshot(std::string_view name) {
    Guard lock = enter();
    if (read_only()) return named_for_reader(lock, name);
    const auto found = find_name(named_, name);
    if (found == named_.end()) {
        throw NotFoundError(path_.string() + " holds no snapshot '" + std::string(name) + "'");
    }
    const View view{found->pages.epoch, found->catalog, found->pages.epoch};
    hold(view.epoch);
    return snapshot_of(lock, view);
}

SnapshotTable Store::snapshots() {
    const Guard lock = enter();
    return read_only() ? read_named() : named_;
}

/// REQUIRES: the step may still fail without harm.
void Store::write_snapshot_table(WriteStep& step, const SnapshotTable& table) {
    const ExtentRef old = snapshot_table_;
    const ExtentRef fresh = step.extent(encode_snapshots(table));
    step.changed_ = true;
    pager_->release(old);
    snapshot_table_ = fresh;
    step.commit_checkpoint();
}

/// A checkpoint makes the state one that can be opened again, a second one puts it into the table.
void Store::keep_snapshot(std::string_view name) {
    if (name.empty() || name.size() > NamedSnapshot::kMaxName) {
        throw FormatError("a snapshot name of " + std::to_string(name.size()) + " bytes; 1 to " +
                          std::to_string(NamedSnapshot::kMaxName) + " are possible");
    }
    while (!keep_checkpoint(name)) {
    }
}

/// False if another thread has meanwhile kept the same checkpoint or a later one: in the table they ascend.
bool Store::keep_checkpoint(std::string_view name) {
    NamedSnapshot fresh{std::string(name), microseconds_since_1970(), 0, {}, {}, {}};
    {
        Guard lock = enter_alone();
        if (find_name(named_, name) != named_.end()) {
            throw ExistsError(path_.string() + " holds a snapshot '" + fresh.name + "' already; delete it first");
        }
        checkpoint_and_wait(lock);
        fresh.checkpoint = meta_.checkpoint;
        fresh.pages = meta_.pages;
        fresh.catalog = meta_.catalog;
        fresh.table = meta_.snapshots;
        hold(fresh.pages.epoch);
    }
    bool kept = false;
    const auto give_up = [&] {
        const Guard lock(mutex_);
        if (!closed_ && (!poison_ || unrestored_)) let_go(fresh.pages.epoch);
    };
    try {
        change_snapshots([&](SnapshotTable& table) {
            if (find_name(table, name) != table.end()) throw ExistsError("two threads keep a snapshot '" + fresh.name + "'");
            kept = table.empty() || table.back().pages.epoch < fresh.pages.epoch;
            if (kept) table.push_back(fresh);
        });
    } catch (...) {
        give_up();
        throw;
    }
    if (!kept) give_up();
    return kept;
}

bool Store::delete_snapshot(std::string_view name) {
    std::uint64_t epoch = 0;
    change_snapshots([&](SnapshotTable& table) {
        const auto found = find_name(table, name);
        if (found == table.end()) return;
        epoch = found->pages.epoch;
        table.erase(found);
    });
    if (epoch == 0) return false;
    const Guard lock = enter();
    let_go_after_readers(epoch);
    return true;
}

/// Durable when it returns; if it throws, nothing has changed.
void Store::change_snapshots(const std::function<void(SnapshotTable&)>& change) {
    { const Guard lock = enter_alone(); }
    WriteStep step(*this);
    if (transaction_) throw Error(path_.string() + ": snapshots are named outside of transactions only");
    SnapshotTable table = named_;
    change(table);
    if (table.size() == named_.size()) return;
    std::sort(table.begin(), table.end(),
              [](const NamedSnapshot& a, const NamedSnapshot& b) { return a.pages.epoch < b.pages.epoch; });
    write_snapshot_table(step, table);
    named_ = std::move(table);
}

}  // namespace pyrsistence::storage
