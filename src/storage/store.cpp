#include "storage/store.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace pyrsistence::storage {

namespace {

/// A name for a message: what a terminal would obey is escaped, what is long cut off.
std::string quoted(std::string_view name) {
    constexpr std::size_t kMost = 60;
    std::size_t end = std::min(name.size(), kMost);
    while (end < name.size() && end > 0 && (name[end] & 0xC0) == 0x80) --end;  // not within a character
    std::string text = "'";
    for (const char c : name.substr(0, end)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7F && c != '\'' && c != '\\') {
            text += c;
            continue;
        }
        constexpr const char* digits = "0123456789abcdef";
        text.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    }
    return text + (end < name.size() ? "...'" : "'");
}

Store::WaitHooks wait_hooks;

}  // namespace

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

StorageError Store::unreadable() const {
    return StorageError(path_.string() + ": the disk failed to deliver a mapped page, or a file was cut short by "
                        "another program; close the store and check the disk, then open it again", EIO);
}

/// A page that the disk could not deliver reads as zeroes: nothing that came of it may count.
void Store::look_for_faults() {
    const std::uint64_t faults = os::mapping_faults();
    if ((pager_ && pager_->faulted()) || (log_ && log_->faulted())) {
        poison_ = std::make_exception_ptr(unreadable());
        std::rethrow_exception(poison_);
    }
    faults_seen_.store(faults, std::memory_order_relaxed);
}

Store::Guard Store::enter() {
    if (forked_.load(std::memory_order_relaxed)) [[unlikely]] require_open();
    Guard lock(mutex_);
    if (busy_) [[unlikely]] wait(lock, [this] { return !busy_; });
    if (unrestored_ && !closed_) [[unlikely]] reload();
    require_open();
    require_sound();  // whoever ran into a lost page may have been told of a page that makes no sense
    return lock;
}

Store::Guard Store::enter_to_leave() {
    if (forked_.load(std::memory_order_relaxed)) [[unlikely]] require_open();
    Guard lock(mutex_);
    wait(lock, [this] { return !busy_; });
    if (!unrestored_ || closed_) require_open();
    return lock;
}

Store::Guard Store::enter_to_write() {
    Guard lock = enter();
    await_turn(lock);
    require_writable();
    return lock;
}

Store::Guard Store::enter_alone() {
    Guard lock = enter();
    for (;;) {
        await_turn(lock);
        require_writable();
        if (transaction_) {
            throw Error(path_.string() + ": not possible within a transaction; let it end first");
        }
        if (!checkpoint_running_) return lock;
        wait(lock, [this] { return !busy_ && !checkpoint_running_; });
    }
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

/// Waits until nobody uses pager or log without the lock.
void Store::settle(Guard& lock) {
    wait(lock, [this] { return !checkpoint_running_ && outside_ == 0; });
}

void Store::sync() {
    Guard lock = enter();
    if (read_only() || temporary() || !(writing_ || dirty())) return;
    const std::uint64_t sequence = log_->next_sequence();
    const bool extents = !writing_ || pager_->extents_outstanding();
    const auto error = without_lock(lock, outside_, [&] {
        if (extents) pager_->sync();
        log_->sync(sequence);
    });
    if (error) poison_ = error;
    if (error) std::rethrow_exception(error);
    require_sound();
}

// --- containers and figures

ContainerId Store::open_container(ContainerType type, std::string_view name, Create create,
                                  const Snapshot* at, const Prepare& prepare) {
    require_name(name);
    if (const auto found = find_container(name, at)) return require_type(*found, type);
    if (create != Create::always || at) {
        const std::string there = others(at);
        if (create == Create::never || at || !there.empty()) {
            throw NotFoundError(path_.string() + " holds no container '" + std::string(name) + "'" + there);
        }
    }
    WriteStep step(*this, name.size() + kLogInlineLimit, prepare ? WriteStep::Kind::batch : WriteStep::Kind::single);
    // Another thread may have been faster.
    if (const auto found = find(name, catalog_)) return require_type(*found, type);
    const ContainerId id = step.create(type, name);
    step.commit(RecordHeader(Op::create, id).u8(static_cast<std::uint8_t>(type)), as_bytes(name));
    if (prepare) prepare(step, id);
    step.commit_batch();
    return id;
}

/// What there is instead of a container that is not there, for the message.
std::string Store::others(const Snapshot* at) {
    constexpr std::size_t kShown = 8;
    const ReadStep step(*this, at);
    CatalogRoot root = step.catalog();
    const Catalog catalog(*pager_, root);
    std::string text;
    std::size_t count = 0;
    catalog.for_each([&](ContainerId, const std::byte* page) {
        if (count++ < kShown) text.append(count == 1 ? "" : ", ").append(quoted(RootPage::name(page)));
        return count <= kShown;
    });
    if (count == 0) return {};
    return " but " + text + (count > kShown ? ", ..." : "") + "; open one of them by its name";
}

void Store::require_name(std::string_view name) const {
    if (name.size() <= RootPage::kMaxName) return;
    throw FormatError("a container name of " + std::to_string(name.size()) + " bytes; at most " +
                      std::to_string(RootPage::kMaxName) + " are possible");
}

ContainerId Store::require_type(const ContainerEntry& found, ContainerType type) const {
    if (found.type == type) return found.id;
    const std::string what = found.name.empty() ? " holds " : " holds under '" + found.name + "' ";
    const auto named = [](ContainerType one) { return (one == ContainerType::array ? "an " : "a ") + name_of(one); };
    throw FormatError(path_.string() + what + named(found.type) + ", not " + named(type));
}

std::optional<ContainerEntry> Store::find(std::string_view name, const CatalogRoot& root) const {
    CatalogRoot copy = root;
    const Catalog catalog(*pager_, copy);
    std::optional<ContainerEntry> found;
    catalog.for_each([&](ContainerId id, const std::byte* page) {
        if (RootPage::name(page) != name) return true;
        found = {id, RootPage::type(page), std::string(name)};
        return false;
    });
    return found;
}

std::optional<ContainerEntry> Store::find_container(std::string_view name, const Snapshot* at) {
    const ReadStep step(*this, at);
    return find(name, step.catalog());
}

std::vector<ContainerEntry> Store::containers(const Snapshot* at) {
    const ReadStep step(*this, at);
    CatalogRoot root = step.catalog();
    std::vector<ContainerEntry> all;
    Catalog(step.pager(), root).for_each([&](ContainerId id, const std::byte* page) {
        all.push_back({id, RootPage::type(page), std::string(RootPage::name(page))});
        return true;
    });
    return all;
}

bool Store::remove_container(std::string_view name) {
    WriteStep step(*this);
    const auto found = find(name, catalog_);
    if (!found) return false;
    clear_container(step, found->id);
    step.remove(found->id);
    step.commit(RecordHeader(Op::remove, found->id));
    return true;
}

bool Store::rename_container(std::string_view from, std::string_view to) {
    require_name(to);
    WriteStep step(*this, to.size());
    const auto found = find(from, catalog_);
    if (!found) return false;
    if (from == to) return true;
    if (find(to, catalog_)) throw ExistsError(path_.string() + " holds a container '" + std::string(to) + "' already");
    step.rename(found->id, to);
    step.commit(RecordHeader(Op::rename, found->id), as_bytes(to));
    return true;
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
    info.snapshots = named_.size();
    info.pages_read = pager_->pages_read();
    add_readers(info);
    return info;
}

void Store::check(const std::function<void(Pager&, const std::byte*, const Mark&)>& walk) {
    const ReadStep step(*this);
    const bool whole = pager_->knows_space() && step.catalog() == catalog_;
    std::vector<bool> seen(pager_->page_count());
    std::uint64_t reached = 0;
    const Mark mark = [&](PageId first, std::uint64_t pages) {
        for (PageId id = first; id < first + pages; ++id, ++reached) {
            if (id < kMetaPages || id >= seen.size() || seen[id] || (whole && !pager_->space().live(id))) {
                throw CorruptionError("page " + std::to_string(id) + " of data: used twice, free or out of range");
            }
            seen[id] = true;
        }
    };
    CatalogRoot root = step.catalog();
    const Catalog catalog(*pager_, root);
    catalog.walk([&](PageId id) { mark(id, 1); });
    catalog.for_each([&](ContainerId, const std::byte* page) {
        walk(*pager_, page, mark);
        return true;
    });
    if (!whole) return;
    if (snapshot_table_.bytes > 0) mark(snapshot_table_.first, snapshot_table_.pages());
    pager_->space().own_pages(mark);
    if (reached + kMetaPages != pager_->live_pages()) {
        throw CorruptionError(std::to_string(pager_->live_pages()) + " pages of data are in use, but only " +
                              std::to_string(reached + kMetaPages) + " can be reached; run compact()");
    }
}

void Store::close() {
    Guard lock(mutex_, std::defer_lock);
    if (forked_) return;
    watch_.reset();  // waits for a request that is being answered
    lock.lock();
    if (closed_) return;
    in_registry_ = true;
    wait(lock, [this] { return copying_ == 0; });
    settle(lock);
    if (unrestored_) reload();
    abandon_transaction();
    std::exception_ptr error = poison_;
    const bool opened = pager_ != nullptr;
    try {
        if (opened && !poison_ && !temporary() && !read_only()) {
            if (dirty()) checkpoint_and_wait(lock);
            if (writing_) {
                log_->shrink();
                sweep_readers();
                pager_->trim(true);
            }
        }
    } catch (...) {
        error = std::current_exception();
    }
    if (table_ && !read_only()) table_->retract();
    closed_ = true;
    if (checkpointer_) checkpointer_->join();
    checkpointer_.reset();
    slot_.reset();
    table_.reset();
    pager_.reset();
    log_.reset();
    if (temporary() && (opened || created_)) remove_files();
    data_.reset();
    log_file_.reset();
    // Closing it is not enough: a child that is just being forked may share it.
    if (lock_file_) lock_file_->unlock(0);
    lock_file_.reset();
    if (error) std::rethrow_exception(error);
}

}  // namespace pyrsistence::storage
