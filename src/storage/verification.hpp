// Verification: what walks over catalog, trees and indexes find wrong is collected here, with the account
// of pages: each is reached at most once, and reached exactly if it is in use. A walk goes on behind damage.
//
// Promises: a walk ends, whatever the pages say, since no page is walked twice; memory is one bit per page of
// the store and the faults that are kept. An object belongs to one thread. What it is used on must not change
// meanwhile: the current state under the store's lock, or a sealed state through a pager of its own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "storage/catalog.hpp"
#include "storage/snapshot_table.hpp"

namespace pyrsistence::storage {

/// What a fault is about, which decides how it can be mended.
enum class Part {
    catalog,  ///< meta pages, catalog and root pages
    entries,  ///< the entries of a container
    index,    ///< derived from the entries
    space,    ///< which pages are in use
};

struct Fault {
    PageId page = 0;  ///< 0: of no page in particular
    std::optional<ContainerId> container;
    Part part = Part::catalog;
    std::string text;  ///< the whole finding, with page, and container if it has a name
};

class Verification {
public:
    struct Options {
        std::size_t most_faults = 1000;  ///< that are kept; all of them are counted
        bool throw_first = false;        ///< the first fault is thrown as CorruptionError: a check
        /// Told of pages reached so far and pages in use, every few hundred pages. May throw to end the walk.
        std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
        /// Told of every run that is reached.
        std::function<void(PageId first, std::uint64_t pages)> on_reach = {};
    };
    /// Pages from `page_count` on do not exist.
    explicit Verification(PageId page_count) : Verification(page_count, Options{}) {}
    Verification(PageId page_count, Options options);

    // --- told by walks
    /// What follows is about this part, of this container if there is one.
    void enter(Part part, std::optional<ContainerId> container, std::string_view name = {}) {
        part_ = part;
        container_ = container;
        name_ = name;
    }
    void enter(Part part) { part_ = part; }
    /// Page `from` (0: a root) refers to a run. False if it was reached before or does not exist, which is
    /// a fault: then it must not be walked or read.
    bool reach(PageId first, std::uint64_t pages, PageId from);
    /// The page is not what the one that refers to it expects, so it belongs to somebody else.
    void disown(PageId page);
    void fault(PageId page, const std::string& what);
    /// What reading the page threw; `owner` is what it is a part of.
    void fault(PageId page, const CorruptionError& error, const std::string& owner = {});
    /// Whatever lies below a page that cannot be walked remains unreached.
    void lose_pages() { lost_ = true; }
    /// Entries that can be read.
    void count_entries(std::uint64_t entries) { entries_ += entries; }
    /// To be called by long work that reaches no page. May throw to end it.
    void poll();
    /// Takes over what was found in another state of the store, but for what was found in this one, too.
    void add_findings(const Verification& other, std::string_view state);

    // --- the account of pages
    using Live = std::function<bool(PageId)>;
    /// Calls visit(first, pages, reached) for the runs of pages that were reached but are not in use, or the
    /// reverse. `live` may throw CorruptionError: that is a fault, and the group of that page agrees.
    void compare(const Live& live, const std::function<void(PageId, std::uint64_t, bool reached)>& visit);
    /// Ends the account: every page is reached exactly if it is in use. Pages that nothing reaches are no
    /// fault of their own where a damaged page may lead to them.
    void finish(const Live& live);

    // --- what was found
    const std::vector<Fault>& faults() const noexcept { return faults_; }
    std::uint64_t fault_count() const noexcept { return count_; }
    PageId page_count() const noexcept { return page_count_; }
    bool reached(PageId page) const { return page < reached_.size() && reached_[page]; }
    std::uint64_t pages_reached() const noexcept { return done_; }
    std::uint64_t entries() const noexcept { return entries_; }
    /// Pages in use that nothing reaches, after finish().
    std::uint64_t pages_unreached() const noexcept { return unreached_; }
    /// Everything could be walked, so that what was not reached belongs to nobody.
    bool complete() const noexcept { return !lost_; }
    std::optional<ContainerId> container() const noexcept { return container_; }
    const Options& options() const noexcept { return options_; }
    void expect_pages(std::uint64_t total) noexcept { total_ = total; }

private:
    void keep(PageId page, std::string text);
    void mark(PageId first, std::uint64_t pages, PageId from);
    void bad_reference(PageId from, const std::string& what);

    const PageId page_count_;
    const Options options_;
    std::vector<bool> reached_;
    std::vector<Fault> faults_;
    std::uint64_t count_ = 0;
    std::uint64_t done_ = 0, total_ = 0;
    std::uint64_t entries_ = 0;
    std::uint64_t repeats_ = 0;    ///< pages reached once more: bounds the work on overlapping extents
    std::uint64_t polls_ = 0;
    std::uint64_t unreached_ = 0;
    bool lost_ = false;
    Part part_ = Part::catalog;
    std::optional<ContainerId> container_;
    std::string name_;
};

/// Walks one container, whose root page can be read.
using ContainerWalk = std::function<void(Pager&, const std::byte* root, Verification&)>;
/// Walks the catalog and, by `walk`, every container whose root page can be read. No CorruptionError leaves it
/// unless the verification throws the first fault.
void verify_containers(Pager& pager, const CatalogRoot& catalog, const ContainerWalk& walk, Verification& out);

/// What is known of the pages of a state beside its containers.
struct SpaceAccount {
    Verification::Live live;  ///< which pages are in use; may throw CorruptionError
    /// Calls its argument for the pages that belong to no container.
    std::function<void(const std::function<void(PageId first, std::uint64_t pages)>&)> own_pages;
    std::uint64_t live_pages = 0;  ///< for progress
};
/// The account that a space map keeps, which must outlive the result.
SpaceAccount account_of(const SpaceMap& space);
/// All of a state: catalog, containers and the account of its pages.
void verify_state(Pager& pager, const CatalogRoot& catalog, const SpaceAccount& space, const ContainerWalk& walk,
                  Verification& out);

/// A pager that reads a state of a file whose space map may be damaged. It changes nothing.
std::unique_ptr<Pager> open_to_read(os::File& data, const PagerState& state);
/// The space map of a state. Throws CorruptionError.
SpaceMap open_space_map(os::File& data, const PagerState& state);
/// All of the state that a meta page describes and of the named snapshots, through pagers and space maps of its own:
/// without the store's lock, as long as somebody keeps these states readable.
void verify_checkpoint(os::File& data, const Meta& meta, const ContainerWalk& walk, Verification& out);
/// Both meta pages are valid, or were never written. REQUIRES: nobody writes them meanwhile.
void verify_meta_pages(os::File& data, Verification& out);

}  // namespace pyrsistence::storage
