#include "pyrsistence/container.hpp"

#include "containers/layout.hpp"
#include "storage/store.hpp"

namespace pyrsistence {

namespace {

using containers::DictRoot;
using containers::ListRoot;
using storage::ContainerType;

void check_container(storage::Pager& pager, const std::byte* root, const storage::Store::Mark& mark) {
    if (storage::RootPage::type(root) == ContainerType::dict) DictRoot::check(pager, root, mark);
    else ListRoot::check(pager, root, mark);
}

}  // namespace

Container::Container(std::uint8_t type, const std::filesystem::path& path, const Options& options) : path_(path) {
    storage::StoreOptions store_options{options, nullptr};
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
void Container::check() const { store().check(check_container); }
std::uint64_t Container::version() const { return store().version(); }

Info Container::info() const {
    Info info = store().info();
    info.entries = size();
    return info;
}

}  // namespace pyrsistence
