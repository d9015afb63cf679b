// The catalog: from a container's id to its root page, a radix tree of pages with 680 ids each.
// A root page holds the container's type, its trees and its name.
//
// A view over the pager, used under the store's lock; writing REQUIRES Pager::reserve().
#pragma once

#include <string_view>

#include "storage/meta.hpp"

namespace pyrsistence::storage {

enum class ContainerType : std::uint8_t { dict = 1, list = 2 };

/// A container's root page: the type is the page's level; the containers' own fields lie in
/// bytes 16..239, the name behind them.
struct RootPage {
    static constexpr std::size_t kFields = sizeof(PageHeader);
    static constexpr std::size_t kNameSize = 240;  ///< u16, then the name in UTF-8
    static constexpr std::size_t kMaxName = 3840;
    static ContainerType type(const std::byte* page) { return static_cast<ContainerType>(page_level(page)); }
    static std::string_view name(const std::byte* page);
};

class Catalog {
public:
    Catalog(Pager& pager, CatalogRoot& root) : pager_(pager), root_(root) {}

    /// The container's root page. REQUIRES: id < containers. Throws CorruptionError.
    const std::byte* read(ContainerId id) const;
    /// The root page for writing; it and the pages above it are copied as needed.
    std::byte* write(ContainerId id);
    /// A new container. REQUIRES: name.size() <= RootPage::kMaxName.
    ContainerId add(ContainerType type, std::string_view name);

    /// Calls visit(page id) for the catalog's own pages and the root pages.
    template <class Visit>
    void walk(Visit&& visit) const {
        if (root_.page != 0) walk(root_.page, root_.level, visit);
    }

private:
    static constexpr std::size_t kIds = sizeof(PageHeader);
    static constexpr unsigned kFanout = (kPageSize - kIds) / 6;

    static void validate(const std::byte* page, PageId id, PageId page_count);
    static bool register_validator();
    static const bool registered_;
    static std::uint64_t span(unsigned level);
    const std::byte* expect(PageId id, PageKind kind, unsigned level) const;
    PageId child(const std::byte* page, ContainerId id, unsigned level) const;
    std::byte* write(PageId& page, unsigned level, ContainerId id);

    template <class Visit>
    void walk(PageId id, unsigned level, Visit& visit) const {
        visit(id);
        const std::byte* page = expect(id, PageKind::catalog, level);
        for (unsigned i = 0; i < page_count(page); ++i) {
            const PageId below = codec::load48(page + kIds + 6 * i);
            if (level > 0) walk(below, level - 1, visit);
            else visit(below);
        }
    }

    Pager& pager_;
    CatalogRoot& root_;
};

}  // namespace pyrsistence::storage
