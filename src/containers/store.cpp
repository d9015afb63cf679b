#include "pyrsistence/store.hpp"

#include "storage/store.hpp"

namespace pyrsistence {

std::vector<Store::Entry> Store::containers() const {
    std::vector<Entry> all;
    for (const storage::ContainerEntry& one : store().containers(snapshot_.get())) {
        all.push_back({one.name, storage::name_of(one.type)});
    }
    return all;
}

std::optional<std::string> Store::type_of(std::string_view name) const {
    const auto found = store().find_container(name, snapshot_.get());
    if (!found) return std::nullopt;
    return storage::name_of(found->type);
}

bool Store::remove(std::string_view name) { return writable_store().remove_container(name); }
bool Store::rename(std::string_view from, std::string_view to) {
    return writable_store().rename_container(from, to);
}

}  // namespace pyrsistence
