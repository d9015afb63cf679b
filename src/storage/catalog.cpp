#include "storage/catalog.hpp"

#include <algorithm>
#include <string>

namespace pyrsistence::storage {

const bool Catalog::registered_ = Catalog::register_validator();

bool Catalog::register_validator() {
    Pager::set_validator(PageKind::catalog, &Catalog::validate);
    Pager::set_validator(PageKind::root, [](const std::byte* page, PageId id, PageId) {
        if (codec::load<std::uint16_t>(page + RootPage::kNameSize) > RootPage::kMaxName) {
            throw CorruptionError("page " + std::to_string(id) + " of data: a container name beyond its page");
        }
    });
    return true;
}

void Catalog::validate(const std::byte* page, PageId id, PageId page_count) {
    const unsigned n = storage::page_count(page);
    bool good = n > 0 && n <= kFanout;
    for (unsigned i = 0; good && i < n; ++i) {
        const PageId child = codec::load48(page + kIds + 6 * i);
        good = child == 0 || (child >= kMetaPages && child < page_count);  // 0: a container that was removed
    }
    if (!good) throw CorruptionError("page " + std::to_string(id) + " of data: a damaged catalog page");
}

std::string name_of(ContainerType type) {
    switch (type) {
        case ContainerType::dict: return "dict";
        case ContainerType::list: return "list";
        case ContainerType::set: return "set";
        case ContainerType::deque: return "deque";
        case ContainerType::sorted_dict: return "sorted dict";
        case ContainerType::sorted_set: return "sorted set";
        case ContainerType::priority_queue: return "priority queue";
        case ContainerType::multi_dict: return "multi-dict";
        case ContainerType::array: return "array";
    }
    return "type " + std::to_string(int(type));
}

std::string_view RootPage::name(const std::byte* page) {
    return as_text({page + kNameSize + 2, codec::load<std::uint16_t>(page + kNameSize)});
}

void RootPage::set_name(std::byte* page, std::string_view name) {
    std::memset(page + kNameSize, 0, kPageSize - kNameSize);
    codec::store<std::uint16_t>(page + kNameSize, static_cast<std::uint16_t>(name.size()));
    if (!name.empty()) std::memcpy(page + kNameSize + 2, name.data(), name.size());
}

std::uint64_t Catalog::span(unsigned level) {
    std::uint64_t ids = 1;
    while (level-- > 0) ids *= kFanout;
    return ids;
}

const std::byte* Catalog::expect(PageId id, PageKind kind, unsigned level) const {
    const std::byte* page = pager_.read(id);
    if (page_kind(page) != kind || (kind == PageKind::catalog && page_level(page) != level)) {
        throw CorruptionError("page " + std::to_string(id) + " of data: not the catalog page that belongs here");
    }
    return page;
}

void Catalog::reached_again(PageId id) {
    throw CorruptionError("page " + std::to_string(id) + " of data: the catalog reaches it more than once");
}

/// 0 if there is none.
PageId Catalog::child(const std::byte* page, ContainerId id, unsigned level) const {
    const std::uint64_t index = id / span(level) % kFanout;
    return index < page_count(page) ? codec::load48(page + kIds + 6 * index) : 0;
}

/// The container's root page, or 0.
PageId Catalog::find(ContainerId id) const {
    PageId page = id < span(root_.level + 1) ? root_.page : 0;
    for (unsigned level = root_.level + 1; level-- > 0 && page != 0;) {
        page = child(expect(page, PageKind::catalog, level), id, level);
    }
    return page;
}

PageId Catalog::expect_container(ContainerId id) const {
    if (const PageId page = find(id)) return page;
    throw ClosedError("the container was removed, or its creation was rolled back; open it again");
}

const std::byte* Catalog::read(ContainerId id) const {
    return expect(expect_container(id), PageKind::root, 0);
}

std::byte* Catalog::write(ContainerId id) { return write(root_.page, root_.level, id); }

void Catalog::remove(ContainerId id) {
    (void)expect_container(id);
    std::byte* page = pager_.write(root_.page);
    for (unsigned level = root_.level; level > 0; --level) {
        const std::uint64_t at = kIds + 6 * (id / span(level) % kFanout);
        PageId below = codec::load48(page + at);
        std::byte* lower = pager_.write(below);
        codec::store48(page + at, below);
        page = lower;
    }
    const std::uint64_t at = kIds + 6 * (id % kFanout);
    pager_.release(codec::load48(page + at));
    codec::store48(page + at, 0);
}

/// The root page for writing below a catalog page, which is copied only if the root page moves.
std::byte* Catalog::write(PageId& page, unsigned level, ContainerId id) {
    const PageId below = child(expect(page, PageKind::catalog, level), id, level);
    PageId moved = below;
    std::byte* root = level > 0 ? write(moved, level - 1, id) : pager_.write(moved);
    if (moved != below) {
        codec::store48(pager_.write(page) + kIds + 6 * (id / span(level) % kFanout), moved);
    }
    return root;
}

ContainerId Catalog::add(ContainerType type, std::string_view name) {
    if (root_.containers == UINT32_MAX) throw CorruptionError("the catalog: all container ids were given out");
    const ContainerId id = root_.containers++;
    PageId below;
    std::byte* root = pager_.allocate(PageKind::root, static_cast<unsigned>(type), below);
    RootPage::set_name(root, name);
    if (root_.page == 0) {  // ids that were given up may lie before the first container
        for (root_.level = 0; id >= span(root_.level + 1);) ++root_.level;
        pager_.allocate(PageKind::catalog, root_.level, root_.page);
    }
    while (id >= span(root_.level + 1)) {
        const PageId old = root_.page;
        std::byte* top = pager_.allocate(PageKind::catalog, ++root_.level, root_.page);
        codec::store48(top + kIds, old);
        set_page_count(top, 1);
    }
    (void)expect(root_.page, PageKind::catalog, root_.level);
    std::byte* page = pager_.write(root_.page);
    for (unsigned level = root_.level; level > 0; --level) {
        const std::uint64_t index = id / span(level) % kFanout;
        PageId next;
        std::byte* lower;
        if (child(page, id, level) != 0) {
            next = codec::load48(page + kIds + 6 * index);
            (void)expect(next, PageKind::catalog, level - 1);
            lower = pager_.write(next);
        } else {
            lower = pager_.allocate(PageKind::catalog, level - 1, next);
            set_page_count(page, std::max<std::uint64_t>(index + 1, page_count(page)));
        }
        codec::store48(page + kIds + 6 * index, next);
        page = lower;
    }
    const std::uint64_t index = id % kFanout;
    codec::store48(page + kIds + 6 * index, below);
    set_page_count(page, index + 1);
    return id;
}

}  // namespace pyrsistence::storage
