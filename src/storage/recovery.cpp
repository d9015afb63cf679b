// Recovery: the last durable checkpoint, then every record of the log since, through the very
// functions that made them.

#include <algorithm>
#include <array>

#include "storage/store.hpp"

namespace pyrsistence::storage {

namespace {

std::array<Store::Methods, 16>& methods() {
    static std::array<Store::Methods, 16> table{};
    return table;
}

}  // namespace

void Store::set_methods(ContainerType type, Methods own) { methods()[static_cast<std::size_t>(type)] = own; }

namespace {

const Store::Methods& methods_of(const std::byte* root) {
    const auto type = static_cast<std::size_t>(RootPage::type(root));
    if (type >= methods().size() || !methods()[type].apply) bad_record();
    return methods()[type];
}

}  // namespace

std::uint64_t Store::cache_memory() const {
    static const std::uint64_t memory = os::available_memory();
    return options_.cache_memory > 0 ? options_.cache_memory : memory / 2;
}

void Store::load() {
    meta_ = Meta::read(*data_, path_.string());
    named_ = read_snapshots(*data_, meta_);
    Pager::Options options;
    // A quarter of the limit is left to page states, bitmaps and everything that is not a frame.
    options.frame_memory = options_.memory_limit / 4 * 3;
    options.cache_memory = cache_memory();
    options.index_pages = options_.index_pages;
    options.access = read_only() ? Pager::Access::replay : Pager::Access::write;
    for (const NamedSnapshot& snapshot : named_) options.held.push_back(snapshot.pages);
    pager_ = std::make_unique<Pager>(*data_, meta_.pages, options);
    log_ = std::make_unique<Log>(*log_file_, read_only());
    catalog_ = meta_.catalog;
    snapshot_table_ = meta_.snapshots;
    sealed_ = {};
    checkpoints_ = {meta_.pages.epoch};
    const std::uint64_t faults = os::mapping_faults();
    Log::Replay outcome;
    replay(outcome);
    // A log that cannot be read must not look like one that has ended.
    if (os::mapping_faults() != faults) throw unreadable();
    generation_ = std::max(meta_.log.generation, outcome.highest_generation);
    sequence_ = outcome.next_sequence;
    auto holds = holds_;
    for (const NamedSnapshot& snapshot : named_) ++holds[snapshot.pages.epoch];
    ++holds[meta_.pages.epoch];
    writing_ = !read_only() && sequence_ == meta_.log.sequence && log_->resume(meta_.log);
    holds_ = std::move(holds);
}

/// Where the pages are of seals that somebody needs, but of which the pager knows nothing, cannot be told: none
/// below their end is used before they have all been let go. (Not below the end of the file: each writer that dies
/// leaves it longer.) Epochs that earlier pagers used are not used again.
void Store::protect_older_states() {
    foreign_seals_.clear();
    const auto named = [this](std::uint64_t epoch) {
        return std::ranges::any_of(named_, [&](const NamedSnapshot& one) { return one.pages.epoch == epoch; });
    };
    for (const auto& [epoch, holders] : holds_) {
        const bool known = epoch == meta_.pages.epoch || named(epoch);
        if (!known) foreign_seals_.insert(epoch);
        foreign_ = std::max(foreign_, epoch);
    }
    if (foreign_seals_.empty() && foreign_ < pager_->epoch()) return;
    foreign_ = std::max(foreign_, pager_->epoch());
    pager_->protect(foreign_, foreign_seals_.empty() ? 0 : std::min(foreign_end_, data_->size() / kPageSize));
    if (foreign_seals_.empty()) pager_->drop(foreign_);
}

/// First claims every extent that the log refers to, so that replaying cannot overwrite one, then
/// applies the records. An extent that a power failure left unwritten ends the log like a torn
/// record does; if its record had been synced, that is corruption.
void Store::replay(Log::Replay& outcome) {
    const Log::Examined log = log_->examine(meta_.log, meta_.checkpoint, [&](Bytes record) {
        std::vector<ExtentRef> claimed;
        try {
            for_each_op(record, [&](const LoggedOp& op) {
                if (!op.external) return;
                pager_->claim(op.extent);
                claimed.push_back(op.extent);
                pager_->read_extent(op.extent);
            });
        } catch (const CorruptionError&) {
            for (const ExtentRef& extent : claimed) pager_->release(extent);
            throw;
        }
    });
    outcome = log.all;
    if (log.lost) std::rethrow_exception(log.lost);
    protect_older_states();
    WriteStep step(*this, WriteStep::Replay{});
    log_->replay(meta_.log, meta_.checkpoint, [&](std::uint64_t sequence, Bytes record) {
        if (sequence >= log.end) return false;
        apply(step, record);
        return true;
    });
}

void Store::apply(WriteStep& step, Bytes record) {
    for_each_op(record, [&](const LoggedOp& op) {
        step.next();
        if (op.op == Op::create) {
            if (op.operands.empty() || op.container < catalog_.containers) bad_record();
            const std::string_view name = new_name(op.operands.subspan(1));
            catalog_.containers = op.container;
            step.create(static_cast<ContainerType>(op.operands[0]), name);
            return;
        }
        if (!Catalog(*pager_, catalog_).contains(op.container)) bad_record();
        if (op.op == Op::rename) return step.rename(op.container, new_name(op.operands));
        const Methods& own = methods_of(step.root(op.container));
        if (op.op != Op::remove) return own.apply(step, op);
        own.clear(step, op.container);
        step.remove(op.container);
    });
}

std::string_view Store::new_name(Bytes operands) const {
    const std::string_view name = name_in(operands);
    if (find(name, catalog_)) bad_record();
    return name;
}

void Store::clear_container(WriteStep& step, ContainerId id) { methods_of(step.root(id)).clear(step, id); }

/// After a change that failed half way: back to the last checkpoint, and the log again. The next
/// operation that writes makes a checkpoint first. A running transaction is undone by this.
void Store::restore(Guard& lock) noexcept {
    try {
        busy_ = true;
        settle(lock);
        if (!poison_) require_sound();
        if (!poison_) {
            forget_changes();
            reload();
        }
    } catch (...) {
        poison_ = std::current_exception();
    }
    busy_ = false;
    changed_.notify_all();
}

/// Snapshots stay readable if what they reach can be written to the file first.
void Store::forget_changes() noexcept {
    for (const std::uint64_t epoch : checkpoints_) forget_hold(epoch);
    for (const NamedSnapshot& snapshot : named_) forget_hold(snapshot.pages.epoch);
    if (transaction_) {
        for (const Level& level : transaction_->levels) forget_hold(level.epoch);
        transaction_->levels.clear();
    }
    std::erase_if(holds_, [](const auto& hold) { return hold.second == 0; });
    foreign_ = pager_->epoch();
    foreign_end_ = pager_->page_count();
    least_id_ = catalog_.containers;  // never used again: handles may remember them
    if (holds_.empty()) return;
    try {
        pager_->write_all();
    } catch (...) {
        lost_ = foreign_;
    }
}

/// If it fails, because the disk is still full, say, nothing can be done with the store until it has been tried
/// again and has succeeded.
void Store::reload() noexcept {
    poison_ = nullptr;
    unrestored_ = false;
    try {
        load();
        catalog_.containers = std::max(least_id_, catalog_.containers);
        committed();
        fail_transaction();
    } catch (const CorruptionError&) {
        poison_ = std::current_exception();
    } catch (...) {
        poison_ = std::current_exception();
        unrestored_ = true;
    }
}

/// The transaction that was running is undone; its owner is told.
void Store::fail_transaction() {
    if (!transaction_) return;
    transaction_->base = {meta_.pages.epoch, catalog_, version_};
    transaction_->failure = std::make_exception_ptr(
        Error(path_.string() + ": the transaction was rolled back because an operation in it failed; leave it and "
              "begin again"));
}

void Store::forget_hold(std::uint64_t epoch) {
    const auto found = holds_.find(epoch);
    if (found != holds_.end() && --found->second == 0) holds_.erase(found);
}

}  // namespace pyrsistence::storage
