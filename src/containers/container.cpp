#include "pyrsistence/container.hpp"

#include "containers/layout.hpp"
#include "containers/payload.hpp"
#include "storage/store.hpp"

namespace pyrsistence {

namespace {

using containers::DictRoot;
using containers::ListRoot;
using storage::ContainerType;

constexpr unsigned kLeavesPerStep = 8;  // within Pager::kStepFrames, at any height

/// Copies extents of one leaf to lower places; ranks may have changed meanwhile, contents not.
void move_extents(storage::Store& store, ContainerId id, const std::vector<std::uint64_t>& ranks, PageId limit) {
    for (const std::uint64_t rank : ranks) {
        storage::WriteStep step(store);
        const bool by_id = storage::RootPage::type(step.root(id)) == ContainerType::dict;
        const auto key = by_id ? structures::Tree::Key::id : structures::Tree::Key::rank;
        const structures::Tree tree(step.pager(), step.root(id) + containers::kEntriesField, key);
        if (rank >= tree.size()) return;
        const structures::Record record = tree.at(rank);
        if (!record.external || !structures::Tree::beyond(record, limit)) continue;
        Buffer copy;
        copy.append(tree.resolve(record));
        const containers::Payload payload(step, copy);
        structures::Tree(step.pager(), step.change(id) + containers::kEntriesField, key).replace(rank, payload.record());
        step.commit_moved();
    }
}

void relocate_entries(storage::Store& store, ContainerId id, PageId limit) {
    for (std::uint64_t rank = 0;;) {
        std::vector<std::uint64_t> extents;
        {
            storage::WriteStep step(store);
            std::byte* root = step.change(id);
            const bool by_id = storage::RootPage::type(root) == ContainerType::dict;
            structures::Tree tree(step.pager(), root + containers::kEntriesField,
                                  by_id ? structures::Tree::Key::id : structures::Tree::Key::rank);
            for (unsigned i = 0; i < kLeavesPerStep && rank < tree.size(); ++i) {
                rank = tree.relocate(rank, limit, [&](std::uint64_t at, const structures::Record&) { extents.push_back(at); });
            }
            const bool end = rank >= tree.size();
            step.commit_moved();
            if (end && extents.empty()) return;
        }
        move_extents(store, id, extents, limit);
    }
}

void relocate_index(storage::Store& store, ContainerId id, PageId limit) {
    for (std::optional<std::uint64_t> tag = 0; tag;) {
        storage::WriteStep step(store);
        std::byte* root = step.change(id);
        for (unsigned i = 0; i < kLeavesPerStep && tag; ++i) tag = DictRoot::index(step.pager(), root).relocate(*tag, limit);
        step.commit_moved();
    }
}

void relocate_container(storage::Store& store, ContainerId id, PageId limit) {
    relocate_entries(store, id, limit);
    const bool dict = [&] {
        const storage::ReadStep step(store);
        return storage::RootPage::type(step.root(id)) == ContainerType::dict;
    }();
    if (dict) relocate_index(store, id, limit);
}

}  // namespace

Container::Container(std::uint8_t type, const std::filesystem::path& path, const Options& options) : path_(path) {
    storage::StoreOptions store_options;
    static_cast<Options&>(store_options) = options;
    store_ = storage::Store::open(path, store_options);
    read_only_ = options.mode == Mode::read;
    try {
        id_ = store_->open_container(static_cast<ContainerType>(type), "");
    } catch (...) {
        storage::Store::release(store_);
        throw;
    }
}

Container::~Container() {
    try {
        close();
    } catch (...) {
        // Whoever wants to know calls close(); the log keeps everything.
    }
}

void Container::close() { storage::Store::release(store_); }

storage::Store& Container::store() const {
    if (!store_) throw ClosedError(path_.string() + " is closed; open it again");
    return *store_;
}

storage::Store& Container::writable_store() const {
    storage::Store& open = store();
    if (read_only_) throw ReadOnlyError(path_.string() + " is open read-only; open it with mode 'a' to change it");
    return open;
}

std::uint64_t Container::size() const {
    const storage::ReadStep step(store());
    return structures::RootField::entries(step.root(id_) + containers::kEntriesField);
}

void Container::sync() { store().sync(); }
void Container::checkpoint() { writable_store().checkpoint(); }
void Container::check() const {
    storage::Store& open = store();
    open.check([&open](storage::Pager& pager, const std::byte* root, const storage::Store::Mark& mark) {
        if (storage::RootPage::type(root) == ContainerType::dict) DictRoot::check(pager, root, open.hash_seed(), mark);
        else ListRoot::check(pager, root, mark);
    });
}
void Container::compact() {
    storage::Store& open = writable_store();
    open.compact([&open](ContainerId id, PageId limit) { relocate_container(open, id, limit); });
}
std::uint64_t Container::version() const { return store().version(); }

Info Container::info() const {
    Info info = store().info();
    info.entries = size();
    return info;
}

}  // namespace pyrsistence
