// Which pages are in use: one bit per page, in groups of 32768 pages (128 MiB of data).
//
// Each group keeps two bitmaps: *live* (reachable from the current state; this one is stored at a
// seal) and *busy* (live, or dead but still reachable from a seal that someone holds; only pages
// that are not busy may be handed out). Groups are loaded on first use; the directory of groups is
// one extent. Not thread-safe: callers hold the store's lock.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "storage/format.hpp"

namespace pyrsistence::storage {

class SpaceMap {
public:
    static constexpr std::uint64_t kGroupPages = kPageSize * 8;

    /// Reads or writes one run of bytes at a page of the data file.
    using ReadPages = std::function<void(PageId first, MutableBytes)>;
    using WritePages = std::function<void(PageId first, Bytes)>;

    /// A map for a new file: pages below kMetaPages are in use, nothing else.
    explicit SpaceMap(ReadPages read);
    /// The map stored at `directory` for `page_count` pages. Throws CorruptionError.
    SpaceMap(ReadPages read, const ExtentRef& directory, PageId page_count);

    /// Pages ever handed out: every page in use is below this.
    PageId page_count() const noexcept { return page_count_; }

    /// Takes `pages` adjacent pages, the lowest free run that is long enough if that is cheap to
    /// find, else at the end of the file (page_count grows). REQUIRES: pages > 0.
    PageId allocate(std::uint64_t pages);
    /// Takes exactly this run, which must not be in use; false if some page of it is.
    bool claim(PageId first, std::uint64_t pages);
    /// The pages are no longer live; they stay busy until `recycle`. Throws CorruptionError, and
    /// changes nothing, if one of them is not live.
    void retire(PageId first, std::uint64_t pages);
    /// The pages may be handed out again. REQUIRES: not live.
    void recycle(PageId first, std::uint64_t pages);
    bool live(PageId) const;
    bool busy(PageId) const;

    /// Writes what changed to new pages and returns the directory. The old directory's and the
    /// old bitmaps' pages are passed to `retired` (dead, but busy until the caller recycles them,
    /// which it must not do before save() returns). If it throws, the map is of no more use.
    ExtentRef save(const WritePages& write, const std::function<void(PageId, std::uint64_t)>& retired);

    /// Calls visit(first, pages) for the pages that hold the map as it was last saved.
    template <class Visit>
    void own_pages(Visit&& visit) const {
        for (const Group& group : groups_) {
            if (group.page != 0) visit(group.page, 1);
        }
        if (directory_.bytes != 0) visit(directory_.first, directory_.pages());
    }

    /// Cuts page_count back to just after the last busy page; returns it. If the map's own pages lie
    /// at the end, the next save moves them.
    PageId trim();
    std::uint64_t live_pages() const noexcept { return live_; }

private:
    static constexpr std::size_t kWords = kGroupPages / 64;
    static constexpr std::size_t kEntrySize = 20;  ///< of the directory

    struct Bits {
        std::uint64_t live[kWords];
        std::uint64_t busy[kWords];
    };
    struct Group {
        PageId page = 0;  ///< of the stored bitmap; 0 if no page is live
        std::uint64_t checksum = 0;
        std::uint32_t live = 0;
        std::uint32_t busy = 0;
        std::uint32_t longest = kGroupPages;  ///< no free run is longer than this
        std::uint32_t first_word = 0;         ///< words of `busy` below this are full
        bool dirty = false;                   ///< live bits changed since the last save
        bool moved = false;                   ///< during save: the old bitmap has been retired
        std::unique_ptr<Bits> bits;           ///< loaded on first use
    };
    struct RunSearch;

    static std::uint64_t groups_for(PageId pages) { return (pages + kGroupPages - 1) / kGroupPages; }
    void read_directory();
    void cover(PageId end);
    Bits& load(std::uint64_t index) const;
    void check_block(std::uint64_t index, const Bits&) const;
    void mark_dirty(std::uint64_t index);

    PageId allocate_page();
    PageId find_run(std::uint64_t pages) const;
    PageId find_long_run(std::uint64_t pages) const;
    bool scan(std::uint64_t index, RunSearch&) const;
    void take(PageId first, std::uint64_t pages);
    PageId end_of_busy() const;
    void loosen_tail();
    bool all(PageId first, std::uint64_t pages, std::uint64_t (Bits::*which)[kWords], bool value) const;
    static std::uint32_t free_run_around(const Bits&, std::size_t begin, std::size_t end);

    using Retired = std::function<void(PageId, std::uint64_t)>;
    void place_bitmaps(const Retired&);
    void write_bitmaps(const WritePages&);
    ExtentRef write_directory(PageId first, const WritePages&) const;

    ReadPages read_;
    ExtentRef directory_;
    PageId page_count_;
    std::uint64_t live_ = 0;
    std::uint64_t hint_ = 0;              ///< groups below this are full
    mutable std::vector<Group> groups_;   ///< loading is not a change
    std::vector<std::uint64_t> dirty_;    ///< indices of dirty groups
};

}  // namespace pyrsistence::storage
