// Readers in other processes: what the writer publishes for them, and how a store that is opened
// read-only finds a state to look at. The reader table in the lock file joins the two sides.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPause = std::chrono::microseconds(200);
/// A writer that lives answers within milliseconds; one that is stopped must not stop its readers.
constexpr auto kAnswer = std::chrono::milliseconds(100);
/// How long a writer may take from its lock to its first published state, which includes recovery.
constexpr auto kAttach = std::chrono::seconds(10);

}  // namespace

// --- the writer's side

/// A store that is written by this process. What a dead writer has published is withdrawn before the slots are
/// read: a reader that takes a slot later will look again and find nothing.
void Store::open_table() {
    table_ = std::make_unique<ReaderTable>(*lock_file_, ReaderTable::Role::writer, lock_path());
    if (const auto published = table_->published()) foreign_ = published->epoch;
    table_->retract();
    for (const std::uint64_t epoch : table_->epochs_in_use()) {
        hold(epoch);
        reader_states_.push_back(epoch);
    }
    foreign_end_ = table_->pages_in_use();
}

/// Readers may look at this state from now on. The last one announced stays readable in any case.
void Store::announce(const View& view) {
    if (!table_ || view.epoch <= published_epoch_) return;
    reader_states_.push_back(view.epoch);
    try {
        hold(view.epoch);
    } catch (...) {
        reader_states_.pop_back();
        throw;
    }
    published_epoch_ = view.epoch;
    table_->publish({view.epoch, pager_->page_count(), view.catalog, view.version, meta_.checkpoint});
    sweep_readers();
}

/// Lets go of states that no reader uses any more.
void Store::sweep_readers() noexcept {
    if (!table_ || reader_states_.empty()) return;
    std::vector<std::uint64_t> used;
    try {
        used = table_->epochs_in_use();
    } catch (...) {
        return;  // of a table that somebody destroyed, all states stay until the store is opened anew
    }
    std::erase_if(reader_states_, [&](std::uint64_t epoch) {
        const bool needed = epoch == published_epoch_ || std::binary_search(used.begin(), used.end(), epoch);
        if (!needed) let_go(epoch);
        return !needed;
    });
}

void Store::publish() {
    const std::scoped_lock alone(publishing_);
    Guard lock(mutex_);
    if (busy_) changed_.wait(lock, [this] { return !busy_; });
    if (closed_ || forked_ || poison_ || read_only() || !table_) return;
    const std::uint64_t request = table_->requests();
    const View view = hold_present();
    try {
        if (view.epoch > published_epoch_) {
            pager_->hand_over(view.epoch);
            const auto error = without_lock(lock, outside_, [this] { write_back(); });
            if (!error && !closed_ && holds_.contains(view.epoch)) announce(view);
        }
    } catch (...) {
        if (!closed_) let_go(view.epoch);
        throw;
    }
    if (!closed_) let_go(view.epoch);
    if (table_) table_->answer(request);
}

void Store::add_readers(Info& info) const {
    if (!table_ || read_only()) return;
    for (const ReaderTable::Reader& reader : table_->readers()) {
        ++info.readers;
        const bool oldest = info.oldest_reader == 0 || reader.since < info.oldest_reader;
        if (oldest) info.oldest_reader = reader.since;
    }
}

// --- the reader's side

bool Store::writer_lives() const { return lock_file_->locked_elsewhere(0, os::Lock::shared); }

void Store::open_reader() {
    const bool may_announce = open_lock_file();
    data_ = files_.open(path_ / "data", os::Access::read_only);
    hash_seed_ = Meta::read(*data_, path_.string()).hash_seed;
    log_file_ = files_.open(path_ / "log", os::Access::read_only);
    if (may_announce) {
        table_ = std::make_unique<ReaderTable>(*lock_file_, ReaderTable::Role::reader, lock_path());
        try {
            return attach();
        } catch (const StorageError& error) {
            if (!forbidden(error)) throw;
        }
        table_.reset();
    }
    attach_alone();
}

void Store::attach() {
    for (const auto end = Clock::now() + kAttach; Clock::now() < end; std::this_thread::sleep_for(kPause)) {
        if (writer_lives() ? attach_to_writer() : attach_to_files()) return;
    }
    throw LockedError(path_.string() + " is being opened or recovered by process " + holder() + "; try again later");
}

/// The newest state that the writer has published, after asking for a fresh one. False if there is none, or if
/// the writer died instead of answering: what it had done since then is in the log.
bool Store::attach_to_writer() {
    const std::uint64_t request = table_->request();
    const auto end = Clock::now() + kAnswer;
    while (table_->answered() < request && Clock::now() < end) {
        if (!writer_lives()) return false;
        std::this_thread::sleep_for(kPause);
    }
    auto found = table_->hold_published();
    if (!found) return false;
    auto& [published, slot] = *found;
    look_at(Meta::read(*data_, path_.string()), {published.epoch, published.catalog, 0},
            {published.epoch, published.page_count, {}}, std::move(slot));
    return true;
}

/// The last checkpoint, if the log tells of nothing newer; else the store is recovered first. False if that
/// was done, or if a writer came meanwhile, even if it has left again.
bool Store::attach_to_files() {
    auto [meta, slot] = hold_checkpoint();
    const auto undisturbed = [this, number = meta.checkpoint] {
        return !writer_lives() && Meta::read(*data_, path_.string()).checkpoint == number;
    };
    bool newer = false;
    try {
        newer = needs_recovery(meta);
    } catch (const CorruptionError&) {
        if (undisturbed()) throw;
        return false;
    }
    if (!undisturbed()) return false;
    if (newer) {
        recover_for_reader();
        return false;
    }
    look_at(meta, {meta.pages.epoch, meta.catalog, 0}, meta.pages, std::move(slot));
    return true;
}

/// Whether the log has records that the checkpoint does not contain.
bool Store::needs_recovery(const Meta& meta) const {
    bool records = false;
    Log(*log_file_, true).replay(meta.log, meta.checkpoint, [&](std::uint64_t, Bytes) {
        records = true;
        return false;
    });
    return records;
}

/// Opens the store for writing and closes it again. Throws StorageError with a code that forbidden() knows if
/// this process may not.
void Store::recover_for_reader() {
    StoreOptions options = options_;
    options.mode = Mode::read_write;
    try {
        Store writer(path_, options);
        writer.recovering_ = true;
        writer.open_files();
        writer.close();
    } catch (const LockedError& error) {
        const bool by_readers = !writer_lives() && lock_file_->locked_elsewhere(0);
        if (by_readers) throw StorageError(error.what(), EACCES);  // else somebody is at it
    }
}

/// Whether an error says that this process may only read.
bool Store::forbidden(const StorageError& error) noexcept {
    return error.code() == EACCES || error.code() == EPERM || error.code() == EROFS;
}

/// Without a slot that tells writers of it, a reader can only keep them away; what the log has is replayed
/// in its own memory.
void Store::attach_alone() {
    if (!lock_in_time(os::Lock::shared)) {
        throw LockedError(path_.string() + " is open for writing in process " + holder() + ", and reading beside "
                          "it needs write permission for its file 'lock'; close it there first");
    }
    const bool stands_in = lock_file_->identity() == data_->identity();
    if (stands_in && os::fs::exists(lock_path())) return open_reader();  // a writer came meanwhile
    load();
}

/// Throws if the store was emptied or removed, perhaps made anew: what is published now is of other files.
void Store::require_same_files() const {
    try {
        if (files_.open(path_ / "data", os::Access::read_only)->identity() == data_->identity()) return;
    } catch (const StorageError& error) {
        if (error.code() != ENOENT) throw;
    }
    throw NotFoundError(path_.string() + " was emptied or removed by another process since it was opened; open it "
                        "again");
}

void Store::look_at(const Meta& meta, const View& view, const PagerState& state,
                    std::optional<ReaderTable::Slot> slot) {
    require_same_files();
    const Guard lock(mutex_);
    meta_ = meta;
    slot_ = slot ? std::make_shared<const ReaderTable::Slot>(std::move(*slot)) : nullptr;
    if (pager_ && sealed_.epoch == view.epoch) return;
    if (pager_) pager_->reopen(state);
    else pager_ = std::make_unique<Pager>(*data_, state, Pager::Options{.frame_memory = 0, .access = Pager::Access::read,
                                                                        .cache_memory = cache_memory()});
    catalog_ = view.catalog;
    sealed_ = view;
    committed();
}

void Store::refresh() {
    const std::scoped_lock alone(publishing_);
    Guard lock = enter();
    if (!read_only() || !table_) return;
    const auto error = without_lock(lock, outside_, [this] { attach(); });
    if (error) std::rethrow_exception(error);
}

/// The newest durable checkpoint, kept readable.
std::pair<Meta, std::optional<ReaderTable::Slot>> Store::hold_checkpoint() const {
    for (;;) {
        const Meta meta = Meta::read(*data_, path_.string());
        // A store to which nothing was ever written has no pages to protect.
        if (!table_ || meta.pages.epoch == 0) return {meta, std::nullopt};
        auto slot = table_->hold(meta.pages.epoch, meta.pages.page_count);
        if (Meta::read(*data_, path_.string()).checkpoint == meta.checkpoint) return {meta, std::move(slot)};
    }
}

/// The same with the named snapshots that it lists.
std::pair<Meta, std::vector<ReaderTable::Slot>> Store::hold_checkpoint_with_snapshots() const {
    for (;;) {
        auto [meta, slot] = hold_checkpoint();
        std::vector<ReaderTable::Slot> slots;
        if (!slot) return {meta, std::move(slots)};
        slots.push_back(std::move(*slot));
        try {
            for (const NamedSnapshot& one : read_snapshots(*data_, meta)) {
                slots.push_back(table_->hold(one.pages.epoch, one.pages.page_count));
            }
        } catch (const CorruptionError&) {
            // Whoever reads the table will say so, unless it only was replaced.
        }
        if (Meta::read(*data_, path_.string()).checkpoint == meta.checkpoint) return {meta, std::move(slots)};
    }
}

void Store::with_last_checkpoint(const std::function<void(os::File&, const Meta&)>& use) {
    Guard lock = enter();
    const auto held = hold_checkpoint_with_snapshots();
    if (!table_ && needs_recovery(held.first)) {
        throw ReadOnlyError(path_.string() + ": its log is newer than its last checkpoint; open it for writing first");
    }
    const auto error = without_lock(lock, copying_, [&] { use(*data_, held.first); });
    if (error) std::rethrow_exception(error);
}

/// It shares the slot: while a writer reads the table, no state may move from one slot to another.
std::shared_ptr<const Snapshot> Store::reader_snapshot(Guard& lock) {
    const View view{sealed_.epoch, catalog_, version_};
    const auto slot = slot_;
    lock.unlock();
    return std::make_shared<const Snapshot>(shared_from_this(), view, slot);
}

/// The writer may delete it meanwhile: after the slot is taken, it must still be there.
std::shared_ptr<const Snapshot> Store::named_for_reader(Guard& lock, std::string_view name) {
    const auto find = [&] {
        for (NamedSnapshot& one : read_named()) {
            if (one.name == name) return one;
        }
        throw NotFoundError(path_.string() + " holds no snapshot '" + std::string(name) + "'");
    };
    NamedSnapshot found = find();
    std::shared_ptr<const ReaderTable::Slot> slot;
    if (table_) {
        slot = std::make_shared<const ReaderTable::Slot>(table_->hold(found.pages.epoch, found.pages.page_count));
        if (find().pages.epoch != found.pages.epoch) throw NotFoundError(path_.string() + ": the snapshot '" +
            std::string(name) + "' was replaced meanwhile; try again");
        pager_->grow(found.pages);
    }
    const View view{found.pages.epoch, found.catalog, found.pages.epoch};
    lock.unlock();
    return std::make_shared<const Snapshot>(shared_from_this(), view, slot);
}

/// As of the last durable checkpoint, which may end while it is being read.
SnapshotTable Store::read_named() const {
    for (;;) {
        const Meta meta = Meta::read(*data_, path_.string());
        try {
            return read_snapshots(*data_, meta);
        } catch (const CorruptionError&) {
            if (Meta::read(*data_, path_.string()).checkpoint == meta.checkpoint) throw;
        }
    }
}

}  // namespace pyrsistence::storage
