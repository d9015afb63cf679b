#include "storage/pager.hpp"

#define XXH_INLINE_ALL
#include <sys/mman.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

namespace pyrsistence::storage {

namespace {

constexpr PageId kSmallestMap = (PageId{64} << 20) / kPageSize;
constexpr std::size_t kSmallArena = std::size_t{4} << 20;  ///< without huge pages, for small stores
constexpr std::size_t kReplayArena = std::size_t{64} << 30;
constexpr PageId kLargeFolio = 512;  ///< pages written by one call at most
constexpr PageId kSmallFolio = 16;   ///< the same in files larger than all frames
constexpr std::uint64_t kReadAheadBytes = 64 * 1024;

constinit std::array<PageValidator, 256> validators{};

[[noreturn]] void corrupt(PageId page, const std::string& what) {
    throw CorruptionError("page " + std::to_string(page) + " of data: " + what +
                          "; restore a backup, or save what can be read by verify(repair=True)");
}

std::string hex(std::uint32_t value) {
    char text[9];
    return {text, static_cast<std::size_t>(std::snprintf(text, sizeof text, "%x", value))};
}

std::uint32_t page_checksum(const std::byte* page, PageId id) {
    return static_cast<std::uint32_t>(XXH3_64bits_withSeed(page + 4, kPageSize - 4, id));
}

std::uint64_t extent_checksum(Bytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

void set_page_epoch(std::byte* page, std::uint64_t epoch) { codec::store<std::uint64_t>(page + 8, epoch); }

/// By how many pages a file of this many is lengthened.
PageId growth_step(PageId pages) { return std::clamp<PageId>(pages / 8, 256, 16384); }

void* map_memory(std::size_t bytes) {
    return ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

[[noreturn]] void out_of_memory(const std::string& what) { throw StorageError(what, ENOMEM); }

}  // namespace

void Pager::Unmap::operator()(void* place) const noexcept { ::munmap(place, bytes); }

void Pager::set_validator(PageKind kind, PageValidator validator) {
    validators[static_cast<std::size_t>(kind)] = validator;
}

// --- opening

/// How many pages a state can have: none in use lies behind the end of the file.
PageId existing_pages(const os::File& file, PageId page_count) {
    return std::max(kMetaPages, std::min(page_count, file.size() / kPageSize));
}

SpaceMap Pager::open_space(os::File& file, const PagerState& state, const Options& options) {
    auto read = [&file](PageId first, MutableBytes bytes) {
        if (file.read(bytes, first * kPageSize) == bytes.size()) return;
        corrupt(first, "it lies behind the end of the file");
    };
    if (options.access == Access::read) return SpaceMap(read, existing_pages(file, state.page_count));
    const auto checked = [&](const ExtentRef& directory) {
        const PageId file_pages = file.size() / kPageSize;
        if (directory.first < file_pages && directory.bytes <= file_pages * kPageSize) return directory;
        corrupt(directory.first, "the space map lies behind the end of the file");
    };
    if (state.page_count <= kMetaPages && state.space_map.bytes == 0) return SpaceMap(read, kMetaPages);
    SpaceMap space(read, checked(state.space_map), state.page_count);
    for (const PagerState& held : options.held) {
        space.pin_stored(held.epoch, checked(held.space_map), held.page_count);
    }
    return space;
}

Pager::Pager(os::File& file, const PagerState& state, const Options& options)
    : file_(file),
      epoch_(state.epoch + 1),
      space_(open_space(file, state, options)),
      access_(options.access),
      cached_pages_(options.cache_memory / kPageSize),
      index_pages_(options.index_pages),
      opened_epoch_(state.epoch),
      space_directory_(state.space_map),
      file_pages_(file.size() / kPageSize),
      sealed_pages_(space_.page_count()) {
    for (const PagerState& held : options.held) marks_.push_back(held.epoch);
    if (access_ != Access::read) {  // also of a new file: extents of the log outlive it
        space_.pin(state.epoch);
        marks_.push_back(state.epoch);
        checkpoints_.push_back(state.epoch);
    }
    // The tail may have been cut off after the state was made durable.
    const bool cut = access_ != Access::read && space_.page_count() > file_pages_;
    if (cut && space_.trim() > std::max(file_pages_, kMetaPages)) {
        corrupt(space_.page_count() - 1,
                "the file ends before it, at " + std::to_string(file_pages_) + " pages");
    }
    frame_capacity_ = std::max<std::size_t>(options.frame_memory / kPageSize, 4 * kStepFrames);
    if (index_pages_ == 0) index_pages_ = frame_capacity_ / 2;
    if (access_ != Access::read) open_arena();
    map_file(file_pages_);
}

/// Looks at the file as it is now: what was verified before may have been overwritten since.
void Pager::look_again() {
    file_pages_ = file_.size() / kPageSize;
    if (file_pages_ * kPageSize > mapping_->size()) map_file(file_pages_);
    ::madvise(states_.get(), states_.get_deleter().bytes, MADV_DONTNEED);
    update_limit();
}

void Pager::reopen(const PagerState& state) {
    grow(state);
    epoch_ = state.epoch + 1;
}

void Pager::grow(const PagerState& state) {
    if (access_ != Access::read) return;
    look_again();
    const PageId pages = existing_pages(file_, state.page_count);
    if (pages > space_.page_count()) space_ = SpaceMap({}, pages);
    opened_epoch_ = std::max(opened_epoch_, state.epoch);
}

Pager::~Pager() = default;

void Pager::open_arena() {
    std::size_t capacity = frame_capacity_;
    if (access_ == Access::replay) capacity = std::max(capacity, kReplayArena / kPageSize);
    void* place = MAP_FAILED;
    for (; capacity >= frame_capacity_; capacity /= 2) {
        place = map_memory((capacity + kFirstFrame) * kPageSize);
        if (place != MAP_FAILED) break;
    }
    if (place == MAP_FAILED) {
        out_of_memory("no address space for " + std::to_string(frame_capacity_) +
                      " frames; lower memory_limit");
    }
    frame_capacity_ = frames_free_ = capacity;
    const std::size_t bytes = (capacity + kFirstFrame) * kPageSize;
    arena_ = static_cast<std::byte*>(place);
    arena_region_ = Region<std::byte>(arena_, Unmap{bytes});
    if (bytes > kSmallArena) ::madvise(arena_ + kSmallArena, bytes - kSmallArena, MADV_HUGEPAGE);
}

/// Maps at least `pages` pages of the file, with room to grow as far as the address space allows.
void Pager::map_file(PageId pages) {
    faulted_ = mapping_ && faulted();
    for (const unsigned room : {4U, 2U, 1U}) {
        const PageId wanted = std::max(kSmallestMap, room * pages);
        try {
            resize_states(wanted);
            std::shared_ptr<os::Mapping> mapping =
                file_.map(0, (writes() ? wanted : std::max<PageId>(pages, 1)) * kPageSize, os::Access::read_only);
            const std::scoped_lock guard(hand_over_);
            old_mapping_ = std::exchange(mapping_, std::move(mapping));
            if (!writes()) old_mapping_.reset();
            break;
        } catch (const StorageError&) {
            if (room == 1) throw;
        }
    }
    map_ = mapping_->data();
    update_limit();
}

/// Makes page_state_ at least this long; new entries are kUnread.
void Pager::resize_states(PageId pages) {
    if (pages <= state_size_) return;
    const std::size_t bytes = pages * sizeof(std::uint32_t);
    void* place = states_ ? ::mremap(states_.get(), states_.get_deleter().bytes, bytes, MREMAP_MAYMOVE)
                          : map_memory(bytes);
    if (place == MAP_FAILED) {
        out_of_memory("no address space for " + std::to_string(pages) + " page states; raise RLIMIT_AS");
    }
    static_cast<void>(states_.release());  // moved
    states_ = Region<std::uint32_t>(static_cast<std::uint32_t*>(place), Unmap{bytes});
    page_state_ = states_.get();
    state_size_ = pages;
}

void Pager::update_limit() { page_limit_ = writes() ? std::min(file_pages_, state_size_) : state_size_; }

// --- room

/// Makes all pages below `pages` writable: room in the file, a state, and a place in the mapping.
void Pager::cover(PageId pages) {
    if (!writes()) {
        if (pages > state_size_) resize_states(std::max(pages, 2 * state_size_));
    } else {
        take_room();
        if (pages > file_pages_) lengthen(pages);
        if (file_pages_ * kPageSize > mapping_->size()) map_file(file_pages_);
    }
    update_limit();
}

void Pager::lengthen(PageId pages) {
    const std::scoped_lock alone(lengthening_);
    const PageId generous = std::max(pages, file_pages_ + growth_step(file_pages_));
    const auto extend = [&](PageId end) {
        file_.allocate(file_pages_ * kPageSize, (end - file_pages_) * kPageSize);
        file_pages_ = end;
    };
    try {
        extend(generous);
    } catch (const StorageError& error) {
        if (error.code() != ENOSPC || generous == pages) throw;
        extend(pages);
    }
}

/// How much of the file is kept ready behind so many pages: what was added from seal to seal, since about as much is
/// soon needed again, but never more than these.
PageId Pager::room(PageId pages) const { return std::max(growth_step(pages), std::min(growth_, pages)); }

/// While a checkpoint keeps the disk busy, lengthening the file may wait for it: who writes the checkpoint does it then.
/// REQUIRES: hand_over_ is held.
void Pager::ask_for_room() {
    if (!writes()) return;
    const PageId pages = space_.page_count();
    if (std::max(file_pages_, room_made_) < pages + room(pages) / 2) room_asked_ = pages + room(pages);
}

/// Without the store's lock.
void Pager::make_room_ahead() {
    const std::scoped_lock alone(lengthening_);
    PageId end;
    {
        const std::scoped_lock guard(hand_over_);
        end = std::exchange(room_asked_, 0);
    }
    if (end == 0) return;
    try {
        const std::uint64_t size = file_.size();
        if (end * kPageSize <= size) return;
        file_.allocate(size, end * kPageSize - size);
    } catch (const StorageError&) {
        return;  // who needs the room is told
    }
    const std::scoped_lock guard(hand_over_);
    room_made_ = end;
}

void Pager::take_room() {
    const std::scoped_lock guard(hand_over_);
    file_pages_ = std::max(file_pages_, std::exchange(room_made_, 0));
}

void Pager::reserve_slowly() {
    cover(space_.page_count() + kStepFrames);
    if (frames_free_ >= kStepFrames) return;
    const std::size_t batch = std::max<std::size_t>(frame_capacity_ / 8, kStepFrames);
    retire(batch);
    if (frames_free_ < kStepFrames && writes()) evict(batch);
    if (frames_free_ >= kStepFrames) return;
    out_of_memory("all " + std::to_string(frame_capacity_) + " frames of the store are in use; " +
                  (!writes() ? "the log is too long to be replayed in memory, open the store for writing"
                              : "wait for the checkpoint, or raise memory_limit"));
}

// --- frames

std::byte* Pager::take_frame(PageId id) {
    std::uint32_t index = 0;
    if (free_stack_.empty()) {
        index = static_cast<std::uint32_t>(frames_.size()) + kFirstFrame;
        frames_.emplace_back();
        free_stack_.reserve(frames_.capacity());  // giving a frame back cannot fail
    } else {
        index = free_stack_.back();
        free_stack_.pop_back();
    }
    frame_info(index) = {id, epoch_, static_cast<std::uint32_t>(fresh_.size()), 0, false};
    fresh_.push_back(index);
    page_state_[id] = index;
    --frames_free_;
    return frame(index);
}

void Pager::free_frame(std::uint32_t index) {
    frame_info(index) = {};
    free_stack_.push_back(index);
    ++frames_free_;
}

void Pager::forget_fresh(const Frame& info) {
    fresh_[info.position] = fresh_.back();
    frame_info(fresh_.back()).position = info.position;
    fresh_.pop_back();
}

/// Frees the frame of a page that nobody needs. False if the checkpoint thread may be writing it:
/// then the page id must not be used again before retire().
bool Pager::give_back_frame(std::uint32_t index) {
    Frame& info = frame_info(index);
    if (info.batch == 0) {
        forget_fresh(info);
    } else {
        const std::scoped_lock guard(hand_over_);
        if (info.batch != batch_) {
            info.orphan = true;
            return false;
        }
        sealed_[info.position].page = 0;
    }
    free_frame(index);
    return true;
}

/// Writes the oldest frames that were not handed over to the file and frees them.
void Pager::evict(std::size_t count) {
    count = std::min(count, fresh_.size());
    std::vector<Write> writes;
    for (std::size_t i = 0; i < count; ++i) writes.push_back({frame_info(fresh_[i]).page, frame(fresh_[i])});
    write_pages(writes);
    for (std::size_t i = 0; i < count; ++i) {
        page_state_[frame_info(fresh_[i]).page] = kVerified;
        free_frame(fresh_[i]);
    }
    fresh_.erase(fresh_.begin(), fresh_.begin() + static_cast<std::ptrdiff_t>(count));
    renumber_fresh();
}

void Pager::renumber_fresh() {
    for (std::uint32_t i = 0; i < fresh_.size(); ++i) frame_info(fresh_[i]).position = i;
}

/// Writes pages in order of their ids, adjacent ones by one call. The page cache keeps an aligned range that one call
/// wrote as one folio. One of kLargeFolio takes a single entry of the page table, which makes reading it faster; but the
/// larger a folio, the more a later write of one of its pages costs, and where frames are few there are many of these.
void Pager::write_pages(std::vector<Write>& writes) {
    if (writes.empty()) return;
    std::sort(writes.begin(), writes.end(), [](const Write& a, const Write& b) { return a.page < b.page; });
    const PageId folio = writes.back().page < frame_capacity_ ? kLargeFolio : kSmallFolio;
    std::array<Bytes, kLargeFolio> parts;
    for (std::size_t i = 0; i < writes.size();) {
        const PageId first = writes[i].page;
        const PageId end = (first / folio + 1) * folio;
        std::size_t count = 0;
        for (; i < writes.size() && writes[i].page == first + count && first + count < end; ++count, ++i) {
            codec::store<std::uint32_t>(writes[i].bytes, page_checksum(writes[i].bytes, writes[i].page));
            parts[count] = {writes[i].bytes, kPageSize};
        }
        file_.write(std::span<const Bytes>(parts.data(), count), first * kPageSize);
    }
}

// --- reading

const std::byte* Pager::read_slowly(PageId id) {
    if (id < kMetaPages || id >= space_.page_count()) {
        corrupt(id, "the store has " + std::to_string(space_.page_count()) + " pages");
    }
    if (id >= file_pages_) corrupt(id, "it lies behind the end of the file");
    if (page_state_[id] == kExtent) corrupt(id, "it belongs to an extent");
    const std::byte* page = map_ + id * kPageSize;
    try {
        verify(id, page);
    } catch (const CorruptionError&) {
        require_delivered(id);
        throw;
    }
    page_state_[id] = kVerified;
    ++pages_read_;
    return page;
}

/// What is wrong with a page may be that it was lost.
void Pager::require_delivered(PageId id) const {
    if (!faulted()) return;
    throw StorageError("page " + std::to_string(id) + " of data: the disk failed to deliver it, or the file "
                       "was cut short by another program; close the store and check the disk, then open it again", EIO);
}

void Pager::verify(PageId id, const std::byte* page) const {
    const auto stored = codec::load<std::uint32_t>(page);
    const std::uint32_t expected = page_checksum(page, id);
    if (stored != expected) corrupt(id, "checksum " + hex(stored) + ", expected " + hex(expected));
    if (page_kind(page) == PageKind::free) corrupt(id, "it is not in use");
    if (page_epoch(page) > opened_epoch_) {
        corrupt(id, "it is of epoch " + std::to_string(page_epoch(page)) + ", after the checkpoint's, " +
                        std::to_string(opened_epoch_));
    }
    if (const PageValidator validator = validators[static_cast<std::size_t>(page[4])]) {
        validator(page, id, space_.page_count());
    }
}

void Pager::touch_slowly(PageId id, std::size_t offset) {
    if (mapped(id) != nullptr) mapping_->use(id * kPageSize + offset);
}

void Pager::prefetch(PageId id, std::uint64_t pages) {
    if (id >= file_pages_) return;
    pages = std::min(pages, file_pages_ - id);
    if (in_memory(id) && in_memory(id + pages - 1)) return;  // of a run, what lies between is taken to be like its ends
    mapping_->will_need(id * kPageSize, pages * kPageSize);
}

Bytes Pager::read_extent(const ExtentRef& ref) {
    if (ref.bytes == 0) return {};
    const std::byte* place = extent_place(ref);
    std::uint32_t& state = page_state_[ref.first];
    if (state != kUnread && state != kExtent) corrupt(ref.first, "it is a page, not an extent");
    const bool in_file = private_.empty() || !private_.contains(ref.first);
    if (in_file && ref.bytes > (state == kUnread ? kPageSize : kReadAheadBytes)) {
        mapping_->will_need(ref.first * kPageSize, ref.pages() * kPageSize);
    }
    const Bytes bytes{place, ref.bytes};
    if (state == kUnread && extent_checksum(bytes) != ref.checksum) {
        require_delivered(ref.first);
        corrupt(ref.first, "the checksum of the extent of " + std::to_string(ref.bytes) + " bytes differs");
    }
    if (state == kUnread) pages_read_ += ref.pages();
    state = kExtent;
    return bytes;
}

/// Where the bytes of an extent are, if all of it exists.
const std::byte* Pager::extent_place(const ExtentRef& ref) const {
    const PageId count = space_.page_count();
    if (ref.first < kMetaPages || ref.first >= count || ref.pages() > count - ref.first) {
        corrupt(ref.first, "the store has " + std::to_string(count) + " pages, too few for an extent of " +
                               std::to_string(ref.bytes) + " bytes");
    }
    const auto found = private_.find(ref.first);
    if (found != private_.end()) return found->second.get();
    if (ref.first + ref.pages() > file_pages_) corrupt(ref.first, "the extent ends behind the file");
    return map_ + ref.first * kPageSize;
}

// --- writing

/// A free page id below page_limit_.
PageId Pager::new_page() {
    if (frames_free_ == 0) out_of_memory("a step wrote more than " + std::to_string(kStepFrames) + " pages");
    const PageId id = space_.allocate(1);
    if (id < page_limit_) {
        require_unused(id, 1);
        return id;
    }
    retire_run(id, 1);
    out_of_memory("a step allocated more than " + std::to_string(kStepFrames) + " pages");
}

/// A damaged space map may give away what is in use. Nothing is written over a page that was read, since
/// what was verified there is trusted from then on.
void Pager::require_unused(PageId first, std::uint64_t pages) const {
    for (PageId id = first; id < std::min(first + pages, state_size_); ++id) {
        if (page_state_[id] != kUnread) [[unlikely]] corrupt(id, "it is in use, but the space map has it as free");
    }
}

std::byte* Pager::allocate(PageKind kind, unsigned level, PageId& id) {
    id = new_page();
    std::byte* page = take_frame(id);
    std::memset(page, 0, kPageSize);
    page[4] = static_cast<std::byte>(kind);
    page[5] = static_cast<std::byte>(level);
    set_page_epoch(page, epoch_);
    return page;
}

std::byte* Pager::write_slowly(PageId& id) {
    const std::byte* old = read(id);
    const std::uint64_t birth = page_epoch(old);
    const bool copy = birth != epoch_;  // else it was written out early, and no seal can reach it
    if (frames_free_ == 0) out_of_memory("a step wrote more than " + std::to_string(kStepFrames) + " pages");
    const PageId target = copy ? new_page() : id;
    std::byte* page = take_frame(target);
    // The checkpoint thread may be storing the checksum of the old page.
    std::memcpy(page + 4, old + 4, kPageSize - 4);
    if (!copy) return page;
    set_page_epoch(page, epoch_);
    retire_run(id, 1);
    id = target;
    return page;
}

void Pager::release(PageId id) {
    (void)read(id);  // a page that is none is not given back
    retire_run(id, 1);
}

/// The pages are no longer in use; those that no seal reaches become free.
void Pager::retire_run(PageId first, std::uint64_t pages) {
    space_.retire(first, pages, [this](PageId page, std::uint64_t count) { recycle(page, count); });
}

/// Makes a dead run free, but for pages that the checkpoint thread may be writing.
void Pager::recycle(PageId first, std::uint64_t pages) {
    const PageId end = first + pages;
    private_.erase(private_.lower_bound(first), private_.lower_bound(end));
    for (PageId id = first; id < std::min(end, state_size_); ++id) {
        const std::uint32_t state = page_state_[id];
        if (state == kUnread) continue;
        if (state >= kFirstFrame && !give_back_frame(state)) {
            if (id > first) space_.recycle(first, id - first);
            first = id + 1;
        } else {
            page_state_[id] = kUnread;
        }
    }
    if (end > first) space_.recycle(first, end - first);
}

ExtentRef Pager::write_extent(Bytes bytes) {
    ExtentRef ref{0, bytes.size(), extent_checksum(bytes)};
    if (bytes.empty()) return ref;
    const std::shared_ptr<os::Mapping> keep = mapping_;
    ref.first = space_.allocate(ref.pages());
    try {
        cover(ref.first + ref.pages());
        require_unused(ref.first, ref.pages());
        place_extent(ref.first, bytes);
        keep_for_recovery(ref);
    } catch (...) {
        retire_run(ref.first, ref.pages());
        throw;
    }
    page_state_[ref.first] = kExtent;
    extent_bytes_ += bytes.size();
    return ref;
}

void Pager::place_extent(PageId first, Bytes bytes) {
    const std::size_t padding = (kPageSize - bytes.size() % kPageSize) % kPageSize;
    if (!writes()) {
        auto copy = std::make_unique<std::byte[]>(bytes.size() + padding);
        std::memcpy(copy.get(), bytes.data(), bytes.size());
        private_[first] = std::move(copy);
        return;
    }
    static constexpr std::array<std::byte, kPageSize> kZeros{};
    const std::array<Bytes, 2> parts{bytes, Bytes(kZeros).first(padding)};
    file_.write(std::span<const Bytes>(parts), first * kPageSize);
    ++extents_written_;
}

void Pager::release(const ExtentRef& ref) {
    if (ref.bytes != 0) retire_run(ref.first, ref.pages());
}

/// Every checkpoint from which a recovery may start reaches the extents that the log names.
void Pager::keep_for_recovery(const ExtentRef& ref) {
    for (const std::uint64_t epoch : checkpoints_) space_.keep(epoch, ref.first, ref.pages());
}

void Pager::claim(const ExtentRef& ref) {
    if (ref.bytes == 0) return;
    if (ref.first < kMetaPages || ref.first >= file_pages_ || ref.pages() > file_pages_ - ref.first) {
        corrupt(ref.first, "the log names an extent of " + std::to_string(ref.bytes) +
                               " bytes behind the end of the file of " + std::to_string(file_pages_) +
                               " pages");
    }
    if (space_.claim(ref.first, ref.pages())) return keep_for_recovery(ref);
    corrupt(ref.first, "the log names an extent of " + std::to_string(ref.pages()) + " pages, some in use");
}

// --- seals and checkpoints

std::uint64_t Pager::mark() {
    marks_.push_back(epoch_);
    try {
        space_.pin(epoch_);
    } catch (...) {
        marks_.pop_back();
        throw;
    }
    return epoch_++;
}

PagerState Pager::seal() {
    const auto write = [&](PageId first, Bytes bytes) {
        const std::uint64_t pages = (bytes.size() + kPageSize - 1) / kPageSize;
        cover(first + pages);
        require_unused(first, pages);
        file_.write(bytes, first * kPageSize);
    };
    if (writes()) space_directory_ = space_.save(write);
    checkpoints_.reserve(checkpoints_.size() + 1);
    const std::uint64_t epoch = mark();
    checkpoints_.push_back(epoch);
    const PageId pages = space_.page_count();
    growth_ = std::max(pages - std::min(pages, sealed_pages_), growth_ / 2);
    sealed_pages_ = pages;
    hand_over(epoch);
    extent_bytes_ = 0;
    return {epoch, pages, space_directory_};
}

void Pager::hand_over(std::uint64_t epoch) {
    const std::scoped_lock guard(hand_over_);
    sealed_.reserve(sealed_.size() + fresh_.size());
    std::erase_if(fresh_, [&](std::uint32_t index) {
        if (frame_info(index).epoch > epoch) return false;
        frame_info(index).batch = batch_;
        frame_info(index).position = static_cast<std::uint32_t>(sealed_.size());
        sealed_.push_back({index, frame_info(index).page});
        return true;
    });
    renumber_fresh();
    ask_for_room();
}

void Pager::drop(std::uint64_t epoch) {
    if (std::ranges::find(marks_, epoch) == marks_.end()) return;
    space_.unpin(epoch, [this](PageId first, std::uint64_t pages) { recycle(first, pages); });
    std::erase(marks_, epoch);
    std::erase(checkpoints_, epoch);
}

void Pager::rewind() {
    space_.rewind(marks_.back(), [this](PageId first, std::uint64_t pages) { recycle(first, pages); });
}

void Pager::protect(std::uint64_t epoch, PageId end) {
    space_.pin_all(epoch, end);
    marks_.push_back(epoch);
    opened_epoch_ = std::max(opened_epoch_, epoch);
    epoch_ = epoch + 1;
}

bool Pager::write_sealed(std::size_t most) {
    if (!writes()) return true;
    const std::scoped_lock alone(writing_back_);
    make_room_ahead();
    take_sealed();
    const std::size_t left = writing_.size() - std::min(most, writing_.size());
    std::vector<Write> writes;
    writes.reserve(writing_.size() - left);
    for (std::size_t i = left; i < writing_.size(); ++i) writes.push_back({writing_[i].page, frame(writing_[i].frame)});
    write_pages(writes);
    const std::scoped_lock guard(hand_over_);
    written_.insert(written_.end(), writing_.begin() + static_cast<std::ptrdiff_t>(left), writing_.end());
    writing_.resize(left);
    return left == 0;
}

/// What was handed over is to be written, the lowest pages first, which come last in the list.
void Pager::take_sealed() {
    std::shared_ptr<os::Mapping> unmapped;  // here: the more of it was read, the longer that takes
    {
        const std::scoped_lock guard(hand_over_);
        unmapped.swap(old_mapping_);
        if (sealed_.empty()) return;
        writing_.reserve(writing_.size() + sealed_.size());  // a frame that is in it twice would be freed twice
        for (const SealedFrame& item : sealed_) {
            if (item.page != 0) writing_.push_back(item);
        }
        sealed_.clear();
        if (++batch_ == 0) batch_ = 1;
    }
    std::ranges::sort(writing_, std::greater{}, &SealedFrame::page);
}

void Pager::write_all() {
    if (!writes()) return;
    write_sealed(SIZE_MAX);
    retire(SIZE_MAX);
    evict(fresh_.size());
}

void Pager::sync() {
    const std::uint64_t written = extents_written_;
    file_.sync();
    std::uint64_t synced = extents_synced_;
    while (synced < written && !extents_synced_.compare_exchange_weak(synced, written)) {
    }
}

bool Pager::retire(std::size_t limit) {
    const std::scoped_lock guard(hand_over_);
    for (; limit > 0 && !written_.empty(); --limit) {
        const auto [index, page] = written_.back();
        written_.pop_back();
        page_state_[page] = frame_info(index).orphan ? kUnread : kVerified;
        if (frame_info(index).orphan) space_.recycle(page, 1);
        free_frame(index);
    }
    ask_for_room();
    return written_.empty();
}

void Pager::trim(bool exact) {
    if (!writes()) return;
    const std::scoped_lock alone(lengthening_);
    cover(0);
    {
        const std::scoped_lock guard(hand_over_);
        room_asked_ = 0;
    }
    const PageId pages = space_.trim();
    const PageId slack = exact ? 0 : room(pages);
    if (file_pages_ <= pages + 2 * slack) return;
    require_unused(pages + slack, file_pages_ - pages - slack);
    file_.truncate((pages + slack) * kPageSize);
    file_pages_ = pages + slack;
    update_limit();
}

bool Pager::frames_scarce() const noexcept {
    const bool pending = frames_in_use() > fresh_.size();
    const std::size_t few = std::max<std::size_t>(2 * kStepFrames, frame_capacity_ / 8);
    return writes() && pending && frames_free_ < few;
}

}  // namespace pyrsistence::storage
