// The catalog: from a container's id to its root page, a radix tree of pages with 680 ids each.
// A root page holds the container's type, its trees and its name.
//
// A view over the pager, used under the store's lock; writing REQUIRES Pager::reserve().
#pragma once

#include <string>
#include <string_view>

#include "storage/meta.hpp"

namespace pyrsistence::storage {

enum class ContainerType : std::uint8_t { dict = 1, list = 2, set = 3, deque = 4, sorted_dict = 5, sorted_set = 6, priority_queue = 7, multi_dict = 8, array = 9 };

/// Its name in interfaces and messages: "dict"; "type 9" for one that is not known.
std::string name_of(ContainerType type);

/// A container's root page: the type is the page's level; the containers' own fields lie in
/// bytes 16..239, the name behind them.
struct RootPage {
    static constexpr std::size_t kFields = sizeof(PageHeader);
    static constexpr std::size_t kNameSize = 240;  ///< u16, then the name in UTF-8
    static constexpr std::size_t kMaxName = 3840;
    static ContainerType type(const std::byte* page) { return static_cast<ContainerType>(page_level(page)); }
    static std::string_view name(const std::byte* page);
    /// REQUIRES: name.size() <= kMaxName.
    static void set_name(std::byte* page, std::string_view name);
};

class Catalog {
public:
    Catalog(Pager& pager, CatalogRoot& root) : pager_(pager), root_(root) {}

    bool contains(ContainerId id) const { return find(id) != 0; }
    /// The container's root page. Throws ClosedError if there is no such container (any more), CorruptionError.
    const std::byte* read(ContainerId id) const;
    /// The root page for writing; it and the pages above it are copied as needed. REQUIRES: it exists.
    std::byte* write(ContainerId id);
    /// A new container. REQUIRES: name.size() <= RootPage::kMaxName.
    ContainerId add(ContainerType type, std::string_view name);
    /// Gives the root page back; the id is never used again.
    void remove(ContainerId id);

    /// Calls visit(page id) for the catalog's own pages and the root pages.
    template <class Visit>
    void walk(Visit&& visit) const {
        std::uint64_t left = pager_.page_count();
        if (root_.page != 0) walk(root_.page, root_.level, left, visit);
    }
    /// Calls visit(id, root page) in ascending order of ids until it returns false.
    template <class Visit>
    void for_each(Visit&& visit) const {
        std::uint64_t left = pager_.page_count();
        if (root_.page != 0) for_each(root_.page, root_.level, 0, left, visit);
    }

    static constexpr unsigned kMaxLevel = kMaxCatalogLevel;
    /// The page that entry `i` of a catalog page refers to; 0 if there is none.
    static PageId id_at(const std::byte* page, unsigned i) { return codec::load48(page + kIds + 6 * std::size_t{i}); }
    /// Container ids below one child of a page of this level.
    static std::uint64_t span(unsigned level);

private:
    static constexpr std::size_t kIds = sizeof(PageHeader);
    static constexpr unsigned kFanout = (kPageSize - kIds) / 6;

    static void validate(const std::byte* page, PageId id, PageId page_count);
    static bool register_validator();
    static const bool registered_;
    const std::byte* expect(PageId id, PageKind kind, unsigned level) const;
    [[noreturn]] static void reached_again(PageId id);
    PageId child(const std::byte* page, ContainerId id, unsigned level) const;
    PageId find(ContainerId id) const;
    PageId expect_container(ContainerId id) const;
    std::byte* write(PageId& page, unsigned level, ContainerId id);

    /// Visits no more pages than there are, so that it ends although pages may be reached again and again.
    template <class Visit>
    void walk(PageId id, unsigned level, std::uint64_t& left, Visit& visit) const {
        if (left-- == 0) reached_again(id);
        visit(id);
        const std::byte* page = expect(id, PageKind::catalog, level);
        for (unsigned i = 0; i < page_count(page); ++i) {
            const PageId below = codec::load48(page + kIds + 6 * i);
            if (below == 0) continue;
            if (level > 0) walk(below, level - 1, left, visit);
            else visit(below);
        }
    }

    template <class Visit>
    bool for_each(PageId page, unsigned level, std::uint64_t first, std::uint64_t& left, Visit& visit) const {
        if (left-- == 0) reached_again(page);
        const unsigned n = page_count(expect(page, PageKind::catalog, level));
        for (unsigned i = 0; i < n; ++i) {
            const PageId below = codec::load48(expect(page, PageKind::catalog, level) + kIds + 6 * i);
            if (below == 0) continue;
            const std::uint64_t id = first + i * span(level);
            const bool more = level > 0 ? for_each(below, level - 1, id, left, visit)
                                        : visit(static_cast<ContainerId>(id), expect(below, PageKind::root, 0));
            if (!more) return false;
        }
        return true;
    }

    Pager& pager_;
    CatalogRoot& root_;
};

}  // namespace pyrsistence::storage
