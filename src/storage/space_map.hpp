// Which pages are in use: one bit per page, in groups of 32768 pages (128 MiB of data).
//
// Each group keeps two bitmaps: *live* (reachable from the current state; this one is stored at a
// checkpoint) and *busy* (live, or live in a state that a *pin* keeps; only pages that are not busy
// may be handed out). A pin remembers the live bits of the groups that changed since it was made, so
// that it costs nothing at first and the map can be rewound to it. Groups are loaded on first
// use; the directory of groups is one extent. Not thread-safe: callers hold the store's lock.
// Invariant: busy = live | all that any pin remembers, but for pages that the caller has not recycled yet.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
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
    using Visit = std::function<void(PageId first, std::uint64_t pages)>;

    /// A map in which only pages below kMetaPages are in use, as of a new file.
    explicit SpaceMap(ReadPages read, PageId page_count = kMetaPages);
    /// The map stored at `directory` for `page_count` pages. Throws CorruptionError.
    SpaceMap(ReadPages read, const ExtentRef& directory, PageId page_count);

    /// Pages ever handed out: every page in use is below this.
    PageId page_count() const noexcept { return page_count_; }

    /// Takes `pages` adjacent pages, the lowest free run that is long enough if that is cheap to
    /// find, else at the end of the file (page_count grows). REQUIRES: pages > 0.
    PageId allocate(std::uint64_t pages);
    /// Takes exactly this run, which must not be in use; false if some page of it is.
    bool claim(PageId first, std::uint64_t pages);
    /// The pages are no longer live. They stay busy until `recycle`; `unheld(first, pages)` is called for
    /// those that no pin keeps. Throws CorruptionError, and changes nothing, if one of them is not live.
    void retire(PageId first, std::uint64_t pages, const Visit& unheld);
    /// The pages may be handed out again. REQUIRES: neither live nor kept by a pin.
    void recycle(PageId first, std::uint64_t pages);

    /// Keeps every page that is live now busy until unpin(). REQUIRES: the key is above all used before.
    void pin(std::uint64_t key);
    /// The same for the state of a map stored earlier. Throws CorruptionError. REQUIRES: nothing has
    /// changed since the map was opened.
    void pin_stored(std::uint64_t key, const ExtentRef& directory, PageId page_count);
    /// The same for what is live now and every page below `end`, whoever owns it.
    void pin_all(std::uint64_t key, PageId end);
    /// Adds pages to what a pin keeps; they are not live after rewind(). REQUIRES: they are busy.
    void keep(std::uint64_t key, PageId first, std::uint64_t pages);
    /// Lets go of what only this pin kept: `unheld` is called for it, and for no page a second time. If it
    /// throws, for want of memory or because the disk does, and `unheld` did not, nothing has changed.
    void unpin(std::uint64_t key, const Visit& unheld);
    /// Makes live again what was live when the pin was made, and nothing else; `unheld` is called for
    /// pages that were born since. The pin stays. Throws CorruptionError, and changes nothing, if it is not
    /// the newest, or if the map was saved since: the pages of that save belong to the present state only.
    void rewind(std::uint64_t key, const Visit& unheld);

    bool live(PageId) const;
    bool busy(PageId) const;

    /// Writes what changed to new pages and returns the directory. If it throws, the map is of no more use.
    /// REQUIRES: the state as of the last save is pinned.
    ExtentRef save(const WritePages& write);

    /// Calls visit(first, pages) for the pages that hold the map as it was last saved.
    template <class Function>
    void own_pages(Function&& visit) const {
        for (const Group& group : groups_) {
            if (group.page != 0) visit(group.page, 1);
        }
        if (directory_.bytes != 0) visit(directory_.first, directory_.pages());
    }

    /// Calls visit(first, pages) for every run of pages that is live, or kept by a pin; groups are read and
    /// forgotten.
    void for_each_busy(const Visit& visit) const;

    /// Cuts page_count back to just after the last busy page; returns it. If the map's own pages lie
    /// at the end, the next save moves them.
    PageId trim();
    std::uint64_t live_pages() const noexcept { return live_; }

private:
    static constexpr std::size_t kWords = kGroupPages / 64;
    static constexpr std::size_t kEntrySize = 20;  ///< of the directory

    using Words = std::array<std::uint64_t, kWords>;
    struct Bits {
        Words live;
        Words busy;
    };
    using Copies = std::map<std::uint64_t, std::unique_ptr<Words>>;  ///< by index of the group
    struct Pin {
        std::uint64_t key;
        Copies live;  ///< for a group without, the next newer pin that has one tells, else the current state
        Copies kept;  ///< beside them
    };
    struct Group {
        PageId page = 0;  ///< of the stored bitmap; 0 if no page is live
        std::uint64_t checksum = 0;
        std::uint32_t live = 0;
        std::uint32_t busy = 0;
        std::uint32_t longest = kGroupPages;  ///< no free run is longer than this
        std::uint32_t first_word = 0;         ///< words of `busy` below this are full
        std::uint64_t preserved = 0;          ///< pins with smaller keys need no copy of this group any more
        bool dirty = false;                   ///< live bits changed since the last save
        bool moved = false;                   ///< during save: the old bitmap has been retired
        std::unique_ptr<Bits> bits;           ///< loaded on first use
    };
    struct RunSearch;

    static std::uint64_t groups_for(PageId pages) { return (pages + kGroupPages - 1) / kGroupPages; }
    std::vector<Group> read_directory(const ExtentRef& directory, PageId page_count) const;
    void cover(PageId end);
    Bits& load(std::uint64_t index) const;
    Words read_block(std::uint64_t index, const Group& group, PageId page_count) const;
    Bits& change(std::uint64_t index);
    void preserve(std::uint64_t index);
    template <class Visitor>
    void for_copies(std::uint64_t index, Visitor&& visit) const;
    void visit_unheld(std::uint64_t index, Words& gone, std::size_t from, std::size_t to, const Visit&) const;
    void hold_busy(std::uint64_t index, const Words& words);
    std::size_t find_pin(std::uint64_t key) const;
    void mark_dirty(std::uint64_t index);

    PageId allocate_page();
    PageId find_run(std::uint64_t pages) const;
    PageId find_long_run(std::uint64_t pages) const;
    bool scan(std::uint64_t index, RunSearch&) const;
    void prepare(PageId first, std::uint64_t pages);
    void take(PageId first, std::uint64_t pages);
    PageId end_of_busy() const;
    void loosen_tail();
    bool all(PageId first, std::uint64_t pages, Words Bits::*which, bool value) const;
    static std::uint32_t free_run_around(const Bits&, std::size_t begin, std::size_t end);

    void give_up(PageId first, std::uint64_t pages);
    void place_bitmaps();
    void write_bitmaps(const WritePages&);
    ExtentRef write_directory(PageId first, const WritePages&) const;

    ReadPages read_;
    ExtentRef directory_;
    PageId page_count_;
    std::uint64_t live_ = 0;
    std::uint64_t hint_ = 0;              ///< groups below this are full
    mutable std::vector<Group> groups_;   ///< loading is not a change
    std::vector<std::uint64_t> dirty_;    ///< indices of dirty groups
    std::deque<Pin> pins_;                ///< oldest first
    std::uint64_t saved_ = 0;             ///< pins with smaller keys were made before the last save
};

}  // namespace pyrsistence::storage
