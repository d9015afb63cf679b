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
}

/// Readers may look at this state from now on. The last one announced stays readable in any case.
void Store::announce(const View& view) {
    if (!table_ || view.epoch <= published_epoch_) return;
    hold(view.epoch);
    reader_states_.push_back(view.epoch);
    published_epoch_ = view.epoch;
    table_->publish({view.epoch, pager_->page_count(), view.catalog, view.version, meta_.checkpoint});
    sweep_readers();
}

/// Lets go of states that no reader uses any more.
void Store::sweep_readers() {
    if (!table_ || reader_states_.empty()) return;
    std::vector<std::uint64_t> used;
    try {
        used = table_->epochs_in_use();
    } catch (const CorruptionError&) {
        return;  // somebody destroyed the table: all states stay until the store is opened anew
    }
    std::vector<std::uint64_t> left;
    for (const std::uint64_t epoch : std::exchange(reader_states_, {})) {
        const bool needed = epoch == published_epoch_ || std::binary_search(used.begin(), used.end(), epoch);
        if (needed) left.push_back(epoch);
        else let_go(epoch);
    }
    reader_states_ = std::move(left);
}

void Store::publish() {
    const std::scoped_lock alone(publishing_);
    Guard lock(mutex_);
    if (busy_) changed_.wait(lock, [this] { return !busy_; });
    if (closed_ || forked_ || poison_ || read_only() || !table_) return;
    const std::uint64_t request = table_->requests();
    const View view = hold_present();
    if (view.epoch > published_epoch_) {
        pager_->hand_over(view.epoch);
        const auto error = without_lock(lock, outside_, [this] { write_back(); });
        if (!error && !closed_ && holds_.contains(view.epoch)) announce(view);
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

bool Store::writer_lives() const { return lock_file_ && lock_file_->locked_elsewhere(0); }

void Store::open_reader() {
    const bool shared = open_lock_file();
    if (shared) table_ = std::make_unique<ReaderTable>(*lock_file_, ReaderTable::Role::reader, lock_path());
    data_ = files_.open(path_ / "data", os::Access::read_only);
    hash_seed_ = Meta::read(*data_, path_.string()).hash_seed;
    log_file_ = files_.open(path_ / "log", os::Access::read_only);
    if (!table_) return attach_alone();
    for (const auto end = Clock::now() + kAttach; Clock::now() < end; std::this_thread::sleep_for(kPause)) {
        if (attach(true)) return;
        if (!table_) return attach_alone();
    }
    throw LockedError(path_.string() + " is being opened or recovered by process " + holder() + "; try again later");
}

/// False if a writer came or went meanwhile.
bool Store::attach(bool wait_for_answer) {
    return writer_lives() ? attach_to_writer(wait_for_answer) : attach_to_files();
}

/// The newest state that the writer has published, after asking for a fresh one.
bool Store::attach_to_writer(bool wait_for_answer) {
    const std::uint64_t request = table_->request();
    const auto end = Clock::now() + kAnswer;
    while (wait_for_answer && table_->answered() < request && Clock::now() < end && writer_lives()) {
        std::this_thread::sleep_for(kPause);
    }
    auto found = table_->hold_published();
    if (!found) return false;
    auto& [published, slot] = *found;
    meta_ = Meta::read(*data_, path_.string());
    look_at({published.epoch, published.catalog, 0}, {published.epoch, published.page_count, {}}, std::move(slot));
    return true;
}

/// The last checkpoint, if the log tells of nothing newer; else the store is recovered first.
bool Store::attach_to_files() {
    auto [meta, slot] = hold_checkpoint();
    if (writer_lives()) return false;
    if (needs_recovery(meta)) {
        slot.reset();
        if (!recover_for_reader()) table_.reset();
        return false;
    }
    meta_ = meta;
    look_at({meta.pages.epoch, meta.catalog, 0}, meta.pages, std::move(slot));
    return true;
}

bool Store::needs_recovery(const Meta& meta) const {
    try {
        bool records = false;
        Log(*log_file_, true).replay(meta.log, meta.checkpoint, [&](std::uint64_t, Bytes) {
            records = true;
            return false;
        });
        return records;
    } catch (const CorruptionError&) {
        if (writer_lives()) return false;  // it is writing there
        throw;
    }
}

/// Opens the store for writing and closes it again. False if this process may not.
bool Store::recover_for_reader() {
    StoreOptions options = options_;
    options.mode = Mode::read_write;
    try {
        Store writer(path_, options);
        writer.open_files();
        writer.close();
    } catch (const LockedError&) {
        return true;  // somebody else is at it
    } catch (const StorageError& error) {
        if (error.code() == EACCES || error.code() == EPERM || error.code() == EROFS) return false;
        throw;
    }
    return true;
}

/// Without a slot that tells writers of it, a reader can only keep them away; what the log has is replayed
/// in its own memory.
void Store::attach_alone() {
    if (lock_file_ && !lock_in_time(os::Lock::shared)) {
        throw LockedError(path_.string() + " is open for writing in process " + holder() + ", and reading beside "
                          "it needs write permission for its file 'lock'; close it there first");
    }
    load();
}

void Store::look_at(const View& view, const PagerState& state, std::optional<ReaderTable::Slot> slot) {
    if (pager_ && sealed_.epoch == view.epoch) return;
    if (pager_) pager_->reopen(state);
    else pager_ = std::make_unique<Pager>(*data_, state, Pager::Options{0, Pager::Access::read, {}});
    catalog_ = view.catalog;
    sealed_ = view;
    slot_ = std::move(slot);
    committed();
}

void Store::refresh() {
    const std::scoped_lock alone(publishing_);
    {
        const Guard lock = enter();
        if (!read_only() || !table_) return;
    }
    for (const auto end = Clock::now() + kAttach; Clock::now() < end; std::this_thread::sleep_for(kPause)) {
        if (attach(true)) return;
    }
    throw LockedError(path_.string() + " is being opened or recovered by process " + holder() + "; try again later");
}

/// The newest durable checkpoint, kept readable.
std::pair<Meta, std::optional<ReaderTable::Slot>> Store::hold_checkpoint() const {
    for (;;) {
        const Meta meta = Meta::read(*data_, path_.string());
        // A store to which nothing was ever written has no pages to protect.
        if (!table_ || meta.pages.epoch == 0) return {meta, std::nullopt};
        auto slot = table_->hold(meta.pages.epoch);
        if (Meta::read(*data_, path_.string()).checkpoint == meta.checkpoint) return {meta, std::move(slot)};
    }
}

void Store::with_last_checkpoint(const std::function<void(os::File&, const Meta&)>& use) {
    Guard lock = enter();
    const auto held = hold_checkpoint();
    if (!table_ && needs_recovery(held.first)) {
        throw ReadOnlyError(path_.string() + ": its log is newer than its last checkpoint; open it for writing first");
    }
    const auto error = without_lock(lock, copying_, [&] { use(*data_, held.first); });
    if (error) std::rethrow_exception(error);
}

std::shared_ptr<const Snapshot> Store::reader_snapshot(Guard& lock) {
    std::optional<ReaderTable::Slot> slot;
    const View view{sealed_.epoch, catalog_, version()};
    if (table_ && view.epoch != 0) slot = table_->hold(view.epoch);
    lock.unlock();
    return std::make_shared<const Snapshot>(shared_from_this(), view, std::move(slot));
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
    std::optional<ReaderTable::Slot> slot;
    if (table_) {
        slot = table_->hold(found.pages.epoch);
        if (find().pages.epoch != found.pages.epoch) throw NotFoundError(path_.string() + ": the snapshot '" +
            std::string(name) + "' was replaced meanwhile; try again");
        pager_->grow(found.pages);
    }
    const View view{found.pages.epoch, found.catalog, found.pages.epoch};
    lock.unlock();
    return std::make_shared<const Snapshot>(shared_from_this(), view, std::move(slot));
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
