// Copy-on-write pages over one data file.
//
// A page is read straight from a read-only mapping of the file, or, if it was written since the
// last seal, from its *frame* in private memory. A page that a seal can reach is never modified:
// the first write after a seal moves the page to a new id.
//
// Thread safety: every function is called under the store's lock, except write_sealed() and
// sync(), which the checkpoint thread calls without it.
// Page pointers stay valid until the next reserve(), write_extent(), seal(), retire() or
// restore; within one step of an operation nothing moves.
// Invariants: a frame exists for a page iff its newest content is not in the file; a page with
// epoch() in its header belongs to no seal; nothing durable refers to a page born after the last
// durable checkpoint.
#pragma once

#include <memory>
#include <vector>

#include "os/file.hpp"
#include "storage/format.hpp"
#include "storage/space_map.hpp"

namespace pyrsistence::storage {

/// What a meta page remembers of the pager.
struct PagerState {
    std::uint64_t epoch = 0;  ///< epoch of the seal; pages written later have a larger one
    PageId page_count = kMetaPages;
    ExtentRef space_map;  ///< directory of the space map; bytes == 0 for a new file
};

/// Checks one page of a kind so that code that reads it may trust every offset in it. `page_count`
/// bounds the page ids that it may name. Throws CorruptionError. Called once per page after it is read.
using PageValidator = void (*)(const std::byte* page, PageId id, PageId page_count);

class Pager {
public:
    struct Options {
        std::size_t frame_memory = std::size_t{64} << 20;  ///< bytes for frames
        bool read_only = false;  ///< frames are never written and may outgrow frame_memory
    };
    /// Frames that are free after reserve(): the pages that one step of an operation may write.
    static constexpr unsigned kStepFrames = 128;

    Pager(os::File& file, const PagerState& state, const Options&);
    ~Pager();

    /// Registers the validator for pages of a kind (process-wide; at static initialisation).
    static void set_validator(PageKind, PageValidator);

    // --- reading
    /// The page's bytes. Throws CorruptionError for a bad id, checksum or content.
    const std::byte* read(PageId id) {
        if (id < state_size_) [[likely]] {
            const std::uint32_t state = page_state_[id];
            if (state >= kFirstFrame) return frame(state);
            if (state == kVerified) [[likely]] return map_ + id * kPageSize;
        }
        return read_slowly(id);
    }
    /// Reads ahead without waiting.
    void prefetch(PageId id, std::uint64_t pages = 1);
    /// An extent's bytes, in the mapping. Throws CorruptionError if the checksum differs.
    Bytes read_extent(const ExtentRef&);

    // --- writing; every call below that changes pages REQUIRES reserve() since the step began
    /// Makes room for a step: kStepFrames frames and as many pages of file. May write out old
    /// frames, lengthen the file and replace the mapping. Throws StorageError; nothing has changed then.
    void reserve();
    /// A new zeroed page of the current epoch with its header set.
    std::byte* allocate(PageKind kind, unsigned level, PageId& id);
    /// The page for writing; `id` becomes the new id if the page had to be copied.
    std::byte* write(PageId& id) {
        if (id < state_size_) [[likely]] {
            const std::uint32_t state = page_state_[id];
            if (state >= kFirstFrame) [[likely]] {
                std::byte* page = frame(state);
                if (page_epoch(page) == epoch_) return page;
            }
        }
        return write_slowly(id);
    }
    /// Gives the page back: at once if no seal reaches it, else when the last such seal is dropped.
    void release(PageId id);

    /// Writes a new extent to the file (page cache) at once. May move pages; call before a step.
    ExtentRef write_extent(Bytes bytes);
    /// Extents always outlive the newest seal: a log record may refer to them.
    void release(const ExtentRef&);
    /// Recovery: takes the extent's pages, which a log record refers to. Throws CorruptionError if in use.
    void claim(const ExtentRef&);
    /// True if an extent was written since the last sync() of the data file.
    bool extents_outstanding() const noexcept;
    /// Bytes of extents written since the last seal; they count towards the next checkpoint.
    std::uint64_t extent_bytes_since_seal() const noexcept;

    // --- seals and checkpoints
    std::uint64_t epoch() const noexcept { return epoch_; }
    /// Ends the epoch: what has been written so far never changes any more. Writes the space map
    /// (so it may throw StorageError; the caller then restores the store). The seal is held until drop().
    PagerState seal();
    /// Nobody needs the seal of this epoch any more: its dead pages are handed on or become free.
    void drop(std::uint64_t epoch);
    /// Checkpoint thread, without the lock: writes the frames of all seals so far, in page order.
    void write_sealed();
    /// Checkpoint thread, without the lock: fdatasync of the data file.
    void sync();
    /// Under the lock: frees up to `limit` written frames; true when none is left.
    bool retire(std::size_t limit);
    /// Cuts a free tail off the file.
    void trim();

    // --- figures and checks
    PageId page_count() const noexcept { return space_.page_count(); }
    std::uint64_t live_pages() const noexcept { return space_.live_pages(); }
    std::size_t frames_in_use() const noexcept;
    /// True when a checkpoint would free frames that the next step may need.
    bool frames_scarce() const noexcept;
    const SpaceMap& space() const noexcept { return space_; }

private:
    static constexpr std::uint32_t kUnread = 0;     ///< page_state_: not yet verified
    static constexpr std::uint32_t kVerified = 1;   ///< in the mapping, checked
    static constexpr std::uint32_t kFirstFrame = 2; ///< else the index of its frame

    std::byte* frame(std::uint32_t index) const { return arena_ + std::size_t{index} * kPageSize; }
    const std::byte* read_slowly(PageId id);
    std::byte* write_slowly(PageId& id);

    os::File& file_;
    std::byte* arena_ = nullptr;
    std::uint32_t* page_state_ = nullptr;
    PageId state_size_ = 0;
    const std::byte* map_ = nullptr;
    std::uint64_t epoch_;
    SpaceMap space_;
    // ... implementation state
};

}  // namespace pyrsistence::storage
