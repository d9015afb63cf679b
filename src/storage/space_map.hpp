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
    /// find, else at the end of the file (page_count grows).
    PageId allocate(std::uint64_t pages);
    /// Takes exactly this run, which must not be in use; false if some page of it is.
    bool claim(PageId first, std::uint64_t pages);
    /// The pages are no longer live; they stay busy until `recycle`.
    void retire(PageId first, std::uint64_t pages);
    /// The pages may be handed out again. REQUIRES: not live.
    void recycle(PageId first, std::uint64_t pages);
    bool live(PageId) const;

    /// Writes what changed to new pages and returns the directory. The old directory's and the
    /// old bitmaps' pages are passed to `retired` (dead, but busy until the caller recycles them).
    ExtentRef save(const WritePages& write, const std::function<void(PageId, std::uint64_t)>& retired);

    /// Cuts page_count back to just after the last busy page; returns it.
    PageId trim();
    std::uint64_t live_pages() const noexcept { return live_; }

private:
    struct Bits;
    struct Group;
    // ... implementation state
};

}  // namespace pyrsistence::storage
