#include "pyrsistence/container.hpp"

#include "containers/layout.hpp"
#include "storage/store.hpp"

namespace pyrsistence {

namespace {

using Create = storage::Store::Create;

storage::ContainerType type_of(std::uint8_t type) { return static_cast<storage::ContainerType>(type); }

}  // namespace

Container::Container(std::uint8_t type, const std::filesystem::path& path, const Options& options, const Prepare& prepare,
                     Missing missing)
    : Handle(path, options), name_(options.name) {
    // Who does not name a container of a store of several has not meant to add one.
    const Create create = name_.empty() ? Create::first : Create::always;
    const bool may_create = !read_only_ && options.mode != Mode::read_write && missing == Missing::create;
    id_ = store().open_container(type_of(type), name_, may_create ? create : Create::never, snapshot_.get(), prepare);
}

Container::Container(std::uint8_t type, const Handle& where, std::string_view name, const Prepare& prepare, Missing missing)
    : Handle(where, Time::same), name_(name) {
    const Create create = !read_only_ && missing == Missing::create ? Create::always : Create::never;
    id_ = store().open_container(type_of(type), name_, create, snapshot_.get(), prepare);
}

Container::Container(const Container& live, Time time) : Handle(live, time), id_(live.id_), name_(live.name_) {}

std::string Container::name() const {
    if (closed()) return name_;
    try {
        const storage::ReadStep step = reading();
        std::string name(storage::RootPage::name(step.root(id_)));
        step.finish();
        return name;
    } catch (const Error&) {
        return name_;  // what is wrong is for those to tell who need more than a name
    }
}

storage::ReadStep Container::reading() const { return storage::ReadStep(store(), snapshot_.get()); }

std::uint64_t Container::size() const {
    const storage::ReadStep step = reading();
    return containers::entries_in(step.pager(), step.root(id_));
}

Info Container::info() const {
    Info info = Handle::info();
    info.entries = size();
    return info;
}

}  // namespace pyrsistence
