// Copy-on-write pages over one data file.
//
// A page is read straight from a read-only mapping of the file, or, if it was written since the
// last seal, from its *frame* in private memory. A page that a seal can reach is never modified:
// the first write after a seal moves the page to a new id.
//
// Thread safety: every function is called under the store's lock, except write_sealed() and
// sync(), which any thread may call without it.
// Page pointers stay valid until the next reserve(), write_extent(), claim(), mark(), seal(), drop(),
// rewind(), retire() or trim(); within one step of an operation nothing moves, but a page that has been
// released may be overwritten by the next allocate() or write().
// Invariants: a frame exists for a page iff its newest content is not in the file; a page with
// epoch() in its header belongs to no seal; nothing durable refers to a page born after the last
// durable checkpoint.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
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

/// Of the pages that a state speaks of, those that the file has: no page in use lies behind its end.
PageId existing_pages(const os::File& file, PageId page_count);

class Pager {
public:
    enum class Access {
        write,
        replay,  ///< the file is not written; changes stay in frames, which may outgrow frame_memory
        read,    ///< nothing is changed, and the space map is not looked at
    };
    struct Options {
        std::size_t frame_memory = std::size_t{64} << 20;  ///< bytes for frames
        Access access = Access::write;
        std::uint64_t cache_memory = UINT64_MAX;  ///< bytes of a file that the page cache is likely to keep
        PageId index_pages = 0;  ///< of an index that is changed in place, see HashIndex; 0: half of the frames
        std::vector<PagerState> held = {};  ///< older states whose pages must not be used, oldest first
    };
    /// Frames that are free after reserve(): the pages that one step of an operation may write.
    static constexpr unsigned kStepFrames = 128;

    Pager(os::File& file, const PagerState& state, const Options&);
    ~Pager();
    /// Access::read: goes on with another state of the same file. Those before can still be read; a writer that died
    /// may have made newer and longer ones than the checkpoint to which it falls back.
    void reopen(const PagerState& state);
    /// Access::read: pages of an older or newer state can be read, too.
    void grow(const PagerState& state);

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
    /// Where the page lies in the mapping; null if it is in a frame. It stays there as long as a seal reaches it and
    /// somebody has the mapping. REQUIRES: it has been read.
    const std::byte* mapped(PageId id) const {
        return id < state_size_ && page_state_[id] == kVerified ? map_ + id * kPageSize : nullptr;
    }
    std::shared_ptr<const os::Mapping> mapping() const noexcept { return mapping_; }
    /// The page if it is known to be in memory; else null, and it is read ahead without waiting.
    const std::byte* peek(PageId id) {
        if (in_memory(id)) [[likely]] return read(id);
        prefetch(id);
        return nullptr;
    }
    /// Whether the page was written since the last seal and has not been written out: changing it costs nothing.
    bool dirty(PageId id) const {
        if (id >= state_size_ || page_state_[id] < kFirstFrame) return false;
        return page_epoch(frame(page_state_[id])) == epoch_;
    }
    /// Reads ahead without waiting.
    void prefetch(PageId id, std::uint64_t pages = 1);
    /// Whether the pages are more than what the page cache is likely to keep.
    bool outgrows_memory() const noexcept { return space_.page_count() > cached_pages_; }
    /// Whether so many pages, all of them in use, are too many for the page cache to keep beside what passes through it.
    bool crowds_memory(std::uint64_t pages) const noexcept { return pages > cached_pages_ / 4; }
    /// Tells the kernel that the page is in use, if the file is larger than memory, by reading at the offset. Nothing
    /// happens if it was not read before.
    void touch(PageId id, std::size_t offset = 0) {
        if (outgrows_memory()) [[unlikely]] touch_slowly(id, offset);
    }
    /// An extent's bytes, in the mapping. Throws CorruptionError if the checksum differs.
    Bytes read_extent(const ExtentRef&);

    // --- writing; every call below that changes pages REQUIRES reserve() since the step began
    /// Makes room for a step: kStepFrames frames and as many pages of file. May write out old
    /// frames, lengthen the file and replace the mapping. Throws StorageError; nothing has changed then.
    void reserve() {
        const bool room = frames_free_ >= kStepFrames && space_.page_count() + kStepFrames <= page_limit_;
        if (!room) [[unlikely]] reserve_slowly();
    }
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
    /// Its place is not used again before a checkpoint sealed later is durable: a log record may refer to it.
    void release(const ExtentRef&);
    /// Recovery: takes the extent's pages, which a log record refers to. All extents of the log are
    /// claimed before the first page is allocated. Throws CorruptionError if a page is in use or
    /// lies behind the end of the file.
    void claim(const ExtentRef&);
    /// True if an extent was written since the last sync() of the data file.
    bool extents_outstanding() const noexcept { return extents_written_ != extents_synced_; }
    /// Bytes of extents written since the last seal; they count towards the next checkpoint.
    std::uint64_t extent_bytes_since_seal() const noexcept { return extent_bytes_; }

    // --- seals and checkpoints
    std::uint64_t epoch() const noexcept { return epoch_; }
    /// A seal: ends the epoch, which is its name; what has been written so far never changes any more, and no
    /// page of it is used again until drop(). O(1).
    std::uint64_t mark();
    /// A seal that can be opened again: writes the space map (so it may throw StorageError; the caller
    /// then restores the store) and hands its frames to write_sealed(). Extents written from now on are
    /// kept until it is dropped. A pager that does not write repeats the space map that it was opened with.
    PagerState seal();
    /// Nobody needs the seal of this epoch any more: pages that only it can reach become free.
    void drop(std::uint64_t epoch);
    /// Goes back to the newest seal: its pages are in use again, those born since are free. The seal stays.
    /// Throws CorruptionError, and changes nothing, if seal() was called since and that seal is gone already.
    void rewind();
    /// No page below `end` that is free or dead is used before drop(epoch), since somebody may
    /// still read a state that this pager knows nothing of. Ends the epoch. REQUIRES: epoch >= epoch().
    void protect(std::uint64_t epoch, PageId end);
    /// Hands the frames of this and older epochs to write_sealed(). REQUIRES: epoch < epoch().
    void hand_over(std::uint64_t epoch);
    /// Without the lock: makes room in the file for what is written meanwhile, then writes up to `most` of the frames
    /// handed over so far; true when all of them are there. After StorageError it may be called again and goes on.
    bool write_sealed(std::size_t most = SIZE_MAX);
    /// Writes every frame to the file, so that it is complete without this pager, if it writes at all. Throws
    /// StorageError.
    void write_all();
    /// Without the lock: fdatasync of the data file.
    void sync();
    /// Under the lock: frees up to `limit` written frames; true when none is left.
    bool retire(std::size_t limit);
    /// Cuts a free tail off the file; some slack stays unless `exact`.
    void trim(bool exact = false);

    // --- figures and checks
    PageId page_count() const noexcept { return space_.page_count(); }
    std::uint64_t live_pages() const noexcept { return space_.live_pages(); }
    /// Pages of the file whose checksum was computed: each at its first use.
    std::uint64_t pages_read() const noexcept { return pages_read_; }
    std::size_t frames_in_use() const noexcept { return frames_.size() - free_stack_.size(); }
    std::size_t frame_capacity() const noexcept { return frame_capacity_; }
    PageId index_pages() const noexcept { return index_pages_; }
    /// True when few frames are free and a pending checkpoint (write_sealed, retire) would free some:
    /// the store should wait for it, since frames that belong to a seal cannot be written out early.
    bool frames_scarce() const noexcept;
    bool writes() const noexcept { return access_ == Access::write; }
    /// Whether space() tells which pages are in use.
    bool knows_space() const noexcept { return access_ != Access::read; }
    /// True if a page of the file could not be read.
    bool faulted() const noexcept { return faulted_ || mapping_->faults() > 0; }
    const SpaceMap& space() const noexcept { return space_; }

private:
    static constexpr std::uint32_t kUnread = 0;      ///< page_state_: not yet verified
    static constexpr std::uint32_t kVerified = 1;    ///< in the mapping, checked
    static constexpr std::uint32_t kExtent = 2;      ///< first page of an extent whose checksum was checked
    static constexpr std::uint32_t kFirstFrame = 3;  ///< else the index of its frame

    /// What the arena's page of the same index holds.
    struct Frame {
        PageId page = 0;             ///< 0: the frame is free
        std::uint64_t epoch = 0;     ///< of the page
        std::uint32_t position = 0;  ///< in fresh_, or in sealed_ if its batch is not being written
        std::uint32_t batch = 0;     ///< 0: not handed over
        bool orphan = false;         ///< nobody needs the page, but it may be about to be written
    };
    struct SealedFrame {
        std::uint32_t frame;
        PageId page;  ///< 0: given back before it was handed over
    };
    struct Unmap {
        std::size_t bytes;
        void operator()(void* place) const noexcept;
    };
    template <class T>
    using Region = std::unique_ptr<T, Unmap>;
    /// A page to be written and where its bytes are.
    struct Write {
        PageId page;
        std::byte* bytes;
    };

    /// Whether a page was read before and is probably still there.
    bool in_memory(PageId id) const noexcept {
        if (id >= state_size_) return false;
        const std::uint32_t state = page_state_[id];
        return state >= kFirstFrame || (state == kVerified && !outgrows_memory());
    }
    std::byte* frame(std::uint32_t index) const { return arena_ + std::size_t{index} * kPageSize; }
    Frame& frame_info(std::uint32_t index) { return frames_[index - kFirstFrame]; }
    const std::byte* read_slowly(PageId id);
    void touch_slowly(PageId id, std::size_t offset);
    std::byte* write_slowly(PageId& id);
    void require_delivered(PageId id) const;
    void verify(PageId id, const std::byte* page) const;
    static SpaceMap open_space(os::File&, const PagerState&, const Options&);
    void look_again();

    void open_arena();
    void reserve_slowly();
    void resize_states(PageId pages);
    void cover(PageId pages);
    void map_file(PageId pages);
    void update_limit();
    void lengthen(PageId pages);
    PageId room(PageId pages) const;
    void ask_for_room();
    void make_room_ahead();
    void take_room();

    std::byte* take_frame(PageId id);
    void free_frame(std::uint32_t index);
    void forget_fresh(const Frame&);
    void renumber_fresh();
    bool give_back_frame(std::uint32_t index);
    void evict(std::size_t count);
    void write_pages(std::vector<Write>&);
    void take_sealed();

    PageId new_page();
    void require_unused(PageId first, std::uint64_t pages) const;
    void retire_run(PageId first, std::uint64_t pages);
    void recycle(PageId first, std::uint64_t pages);
    void keep_for_recovery(const ExtentRef&);
    void place_extent(PageId first, Bytes bytes);
    const std::byte* extent_place(const ExtentRef&) const;

    os::File& file_;
    std::byte* arena_ = nullptr;
    std::uint32_t* page_state_ = nullptr;
    PageId state_size_ = 0;
    const std::byte* map_ = nullptr;
    std::uint64_t epoch_;
    SpaceMap space_;
    std::size_t frames_free_ = 0;
    PageId page_limit_ = 0;  ///< ids below this may be written: they have a state and room in the file

    const Access access_;
    const PageId cached_pages_;         ///< a file of more is not expected to stay in memory
    PageId index_pages_;
    std::uint64_t opened_epoch_;        ///< pages that were there before are of this epoch at most
    ExtentRef space_directory_;         ///< of the last seal
    PageId file_pages_ = 0;             ///< whole pages in the file
    PageId sealed_pages_ = 0;           ///< page_count() at the last seal
    PageId growth_ = 0;                 ///< what was added to them from seal to seal, of late
    std::uint64_t pages_read_ = 0;
    bool faulted_ = false;              ///< an earlier mapping had faults
    std::shared_ptr<os::Mapping> mapping_;  ///< shared with write_extent(), whose bytes may lie in it
    Region<std::uint32_t> states_;
    Region<std::byte> arena_region_;

    std::size_t frame_capacity_ = 0;
    std::vector<Frame> frames_;               ///< of every arena page used so far
    std::vector<std::uint32_t> free_stack_;
    std::vector<std::uint32_t> fresh_;        ///< frames not handed over, roughly oldest first

    std::vector<std::uint64_t> marks_;        ///< epochs of the seals that are held, ascending
    std::vector<std::uint64_t> checkpoints_;  ///< those of them from which a recovery may start
    std::map<PageId, std::unique_ptr<std::byte[]>> private_;  ///< extents of Access::replay
    std::uint64_t extent_bytes_ = 0;
    std::atomic<std::uint64_t> extents_written_ = 0;
    std::atomic<std::uint64_t> extents_synced_ = 0;

    std::mutex writing_back_;           ///< held by write_sealed()
    std::mutex lengthening_;            ///< held while the file becomes longer or shorter; taken before the next one
    std::mutex hand_over_;              ///< guards the next six, shared with write_sealed()
    PageId room_asked_ = 0;             ///< to which write_sealed() lengthens the file; 0: it need not
    PageId room_made_ = 0;              ///< where the file ends since; 0: that is known
    std::shared_ptr<os::Mapping> old_mapping_;  ///< the one before, too small by now
    std::uint32_t batch_ = 1;           ///< of sealed_; smaller ones have been handed over
    std::vector<SealedFrame> sealed_;   ///< written by the next write_sealed()
    std::vector<SealedFrame> written_;  ///< to be freed by retire()
    std::vector<SealedFrame> writing_;  ///< only write_sealed() touches it
};

}  // namespace pyrsistence::storage
