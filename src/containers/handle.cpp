#include "pyrsistence/handle.hpp"

#include "containers/layout.hpp"
#include "containers/verify.hpp"
#include "storage/store.hpp"

namespace pyrsistence {

Handle::Handle(const std::filesystem::path& path, const Options& options) : path_(path) {
    storage::StoreOptions store_options;
    static_cast<Options&>(store_options) = options;
    if (!options.at.empty()) store_options.mode = Mode::read;
    store_ = storage::Store::open(path, store_options);
    read_only_ = store_options.mode == Mode::read;
    if (options.at.empty()) return;
    try {
        snapshot_ = store_->snapshot(options.at);
    } catch (...) {
        storage::Store::release(store_);
        throw;
    }
}

Handle::Handle(const Handle& where, Time time)
    : store_(where.store().shared_from_this()),
      snapshot_(where.snapshot_),
      read_only_(where.read_only_),
      path_(where.path_) {
    if (time == Time::same) return;
    if (!snapshot_) snapshot_ = store_->snapshot();
    read_only_ = true;
}

Handle::~Handle() {
    try {
        close();
    } catch (...) {
        // Whoever wants to know calls close(); the log keeps everything.
    }
}

void Handle::close() {
    snapshot_.reset();
    storage::Store::release(store_);
}

storage::Store& Handle::store() const {
    if (!store_) throw ClosedError(path_.string() + " is closed; open it again");
    return *store_;
}

storage::Store& Handle::writable_store() const {
    storage::Store& open = store();
    if (snapshot_) throw ReadOnlyError("this is a snapshot of " + path_.string() + ", which stays as it is; change the store itself");
    if (read_only_) throw ReadOnlyError(path_.string() + " is open read-only; open it with mode 'a' to change it");
    return open;
}

void Handle::sync() { store().sync(); }
void Handle::checkpoint() { writable_store().checkpoint(); }

void Handle::compact(const Progress& progress) {
    storage::Store& open = writable_store();
    open.compact([&](ContainerId id, PageId limit) { containers::relocate(open, id, limit, progress); });
}

void Handle::check() const {
    storage::Store& open = store();
    open.check([&open](storage::Pager& pager, const std::byte* root, const storage::Store::Mark& mark) {
        storage::Verification first(pager.page_count(), {.throw_first = true, .on_reach = mark});
        containers::verify_container(pager, root, open.hash_seed(), first);
    });
}

void Handle::backup(const std::filesystem::path& to, const Progress& progress) const {
    store().backup(to, progress);
}

Info Handle::info() const { return store().info(); }

std::uint64_t Handle::version() const { return snapshot_ ? snapshot_->view().version : store().version(); }

Transaction Handle::transaction(bool durable) { return Transaction(*this, durable); }

void Handle::refresh() { store().refresh(); }
void Handle::publish() { store().publish(); }

void Handle::keep_snapshot(std::string_view name) { writable_store().keep_snapshot(name); }
bool Handle::delete_snapshot(std::string_view name) { return writable_store().delete_snapshot(name); }

std::vector<NamedSnapshot> Handle::snapshots() const {
    std::vector<NamedSnapshot> all;
    for (const storage::NamedSnapshot& one : store().snapshots()) {
        all.push_back({one.name, one.created, one.checkpoint});
    }
    return all;
}

// --- Transaction

Transaction::Transaction(Handle& handle, bool durable)
    : store_(handle.writable_store().shared_from_this()), begun_(store_->begin()), durable_(durable) {}

Transaction::~Transaction() {
    try {
        roll_back();
    } catch (...) {
        // The store was closed or failed: what is not in its log is undone in any case.
    }
}

namespace {

/// The store of a transaction that ends. Its handles may have been closed meanwhile.
struct LastUse {
    std::shared_ptr<storage::Store> store;
    ~LastUse() {
        try {
            storage::Store::release(store);
        } catch (...) {
            // The log keeps everything.
        }
    }
};

}  // namespace

void Transaction::commit() {
    if (!store_) throw Error("the transaction has ended already");
    const bool outermost = store_->commit(begun_);
    const LastUse last{std::move(store_)};
    if (durable_ && outermost) last.store->sync();
}

void Transaction::roll_back() {
    if (!store_) return;
    const LastUse last{std::move(store_)};
    last.store->roll_back(begun_);
}

}  // namespace pyrsistence
