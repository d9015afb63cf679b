#include "storage/pager.hpp"

#define XXH_INLINE_ALL
#include <sys/mman.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace pyrsistence::storage {

namespace {

constexpr PageId kSmallestMap = (PageId{64} << 20) / kPageSize;
constexpr std::size_t kSmallArena = std::size_t{4} << 20;  ///< without huge pages, for small stores
constexpr std::size_t kReadOnlyArena = std::size_t{64} << 30;
constexpr std::size_t kWriteBatch = 256;  ///< pages in one vectored write
constexpr std::uint64_t kReadAheadBytes = 64 * 1024;

constinit std::array<PageValidator, 256> validators{};

[[noreturn]] void corrupt(PageId page, const std::string& what) {
    throw CorruptionError("page " + std::to_string(page) + " of data: " + what +
                          "; restore a backup, or copy what can be read into a new store");
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

SpaceMap Pager::open_space(os::File& file, const PagerState& state) {
    auto read = [&file](PageId first, MutableBytes bytes) {
        if (file.read(bytes, first * kPageSize) == bytes.size()) return;
        corrupt(first, "it lies behind the end of the file");
    };
    if (state.page_count <= kMetaPages && state.space_map.bytes == 0) return SpaceMap(read);
    const PageId file_pages = file.size() / kPageSize;
    if (state.space_map.first >= file_pages || state.space_map.bytes > file_pages * kPageSize) {
        corrupt(state.space_map.first, "the space map lies behind the end of the file");
    }
    return SpaceMap(read, state.space_map, state.page_count);
}

Pager::Pager(os::File& file, const PagerState& state, const Options& options)
    : file_(file),
      epoch_(state.epoch + 1),
      space_(open_space(file, state)),
      read_only_(options.read_only),
      opened_epoch_(state.epoch),
      space_directory_(state.space_map),
      file_pages_(file.size() / kPageSize) {
    seals_.push_back({state.epoch, {}});  // also of a new file: the log's extents outlive it
    // The tail may have been cut off after the state was made durable.
    if (space_.page_count() > file_pages_ && space_.trim() > std::max(file_pages_, kMetaPages)) {
        corrupt(space_.page_count() - 1,
                "the file ends before it, at " + std::to_string(file_pages_) + " pages");
    }
    frame_capacity_ = std::max<std::size_t>(options.frame_memory / kPageSize, 4 * kStepFrames);
    open_arena();
    map_file(file_pages_);
}

Pager::~Pager() = default;

void Pager::open_arena() {
    std::size_t capacity = frame_capacity_;
    if (read_only_) capacity = std::max(capacity, kReadOnlyArena / kPageSize);
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
    for (const unsigned room : {4U, 2U, 1U}) {
        const PageId wanted = std::max(kSmallestMap, room * pages);
        try {
            resize_states(wanted);
            mapping_ = file_.map(0, (read_only_ ? std::max<PageId>(pages, 1) : wanted) * kPageSize,
                                 os::Access::read_only);
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

void Pager::update_limit() { page_limit_ = read_only_ ? state_size_ : std::min(file_pages_, state_size_); }

// --- room

/// Makes all pages below `pages` writable: room in the file, a state, and a place in the mapping.
void Pager::cover(PageId pages) {
    if (read_only_) {
        if (pages > state_size_) resize_states(std::max(pages, 2 * state_size_));
    } else {
        if (pages > file_pages_) lengthen(pages);
        if (file_pages_ * kPageSize > mapping_->size()) map_file(file_pages_);
    }
    update_limit();
}

void Pager::lengthen(PageId pages) {
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

void Pager::reserve_slowly() {
    cover(space_.page_count() + kStepFrames);
    if (frames_free_ >= kStepFrames) return;
    const std::size_t batch = std::max<std::size_t>(frame_capacity_ / 8, kStepFrames);
    retire(batch);
    if (frames_free_ < kStepFrames && !read_only_) evict(batch);
    if (frames_free_ >= kStepFrames) return;
    out_of_memory("all " + std::to_string(frame_capacity_) + " frames of the store are in use; " +
                  (read_only_ ? "the log is too long to be replayed in memory, open the store for writing"
                              : "wait for the checkpoint, or raise memory_limit"));
}

// --- frames

std::byte* Pager::take_frame(PageId id) {
    std::uint32_t index = 0;
    if (free_stack_.empty()) {
        index = static_cast<std::uint32_t>(frames_.size()) + kFirstFrame;
        frames_.emplace_back();
    } else {
        index = free_stack_.back();
        free_stack_.pop_back();
    }
    frame_info(index) = {id, static_cast<std::uint32_t>(fresh_.size()), 0, false};
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

/// Writes the oldest frames of the current epoch to the file and frees them.
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
    for (std::uint32_t i = 0; i < fresh_.size(); ++i) frame_info(fresh_[i]).position = i;
}

/// Writes pages in order of their ids, adjacent ones by one call.
void Pager::write_pages(std::vector<Write>& writes) {
    std::sort(writes.begin(), writes.end(), [](const Write& a, const Write& b) { return a.page < b.page; });
    std::array<Bytes, kWriteBatch> parts;
    for (std::size_t i = 0; i < writes.size();) {
        const PageId first = writes[i].page;
        std::size_t count = 0;
        for (; count < kWriteBatch && i < writes.size() && writes[i].page == first + count; ++count, ++i) {
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
    verify(id, page);
    page_state_[id] = kVerified;
    return page;
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

void Pager::prefetch(PageId id, std::uint64_t pages) {
    if (id >= file_pages_ || (pages == 1 && page_state_[id] >= kFirstFrame)) return;
    mapping_->will_need(id * kPageSize, std::min(pages, file_pages_ - id) * kPageSize);
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
        corrupt(ref.first, "the checksum of the extent of " + std::to_string(ref.bytes) + " bytes differs");
    }
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
    if (id < page_limit_) return id;
    space_.retire(id, 1);
    space_.recycle(id, 1);
    out_of_memory("a step allocated more than " + std::to_string(kStepFrames) + " pages");
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
    space_.retire(id, 1);
    release_run({id, 1, birth});
    id = target;
    return page;
}

void Pager::release(PageId id) {
    const std::uint64_t birth = page_epoch(read(id));
    space_.retire(id, 1);
    release_run({id, 1, birth});
}

/// REQUIRES: the run is retired from the space map.
void Pager::release_run(const Dead& run) {
    if (seals_.empty() || run.birth > seals_.back().epoch) {
        recycle(run.first, run.pages);
    } else {
        seals_.back().dead.push_back(run);
    }
}

/// Makes a dead run free, but for pages that the checkpoint thread may be writing.
void Pager::recycle(PageId first, std::uint64_t pages) {
    const PageId end = first + pages;
    if (!private_.empty()) private_.erase(first);
    for (PageId id = first; id < end; ++id) {
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
        place_extent(ref.first, bytes);
    } catch (...) {
        space_.retire(ref.first, ref.pages());
        space_.recycle(ref.first, ref.pages());
        throw;
    }
    page_state_[ref.first] = kExtent;
    extent_bytes_ += bytes.size();
    return ref;
}

void Pager::place_extent(PageId first, Bytes bytes) {
    const std::size_t padding = (kPageSize - bytes.size() % kPageSize) % kPageSize;
    if (read_only_) {
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
    if (ref.bytes == 0) return;
    space_.retire(ref.first, ref.pages());
    release_run({ref.first, ref.pages(), kNoBirth});
}

void Pager::claim(const ExtentRef& ref) {
    if (ref.bytes == 0) return;
    if (ref.first < kMetaPages || ref.first >= file_pages_ || ref.pages() > file_pages_ - ref.first) {
        corrupt(ref.first, "the log names an extent of " + std::to_string(ref.bytes) +
                               " bytes behind the end of the file of " + std::to_string(file_pages_) +
                               " pages");
    }
    if (space_.claim(ref.first, ref.pages())) return;
    corrupt(ref.first, "the log names an extent of " + std::to_string(ref.pages()) + " pages, some in use");
}

// --- seals and checkpoints

PagerState Pager::seal() {
    std::vector<Dead> dead;
    const auto write = [&](PageId first, Bytes bytes) { write_map_pages(first, bytes); };
    const auto retired = [&](PageId first, std::uint64_t pages) {
        const auto known = map_births_.find(first);
        dead.push_back({first, pages, known == map_births_.end() ? kNoBirth : known->second});
        if (known != map_births_.end()) map_births_.erase(known);
    };
    if (!read_only_) space_directory_ = space_.save(write, retired);
    for (const Dead& run : dead) release_run(run);
    seal_frames();
    seals_.push_back({epoch_, {}});
    extent_bytes_ = 0;
    return {epoch_++, space_.page_count(), space_directory_};
}

void Pager::write_map_pages(PageId first, Bytes bytes) {
    const PageId pages = (bytes.size() + kPageSize - 1) / kPageSize;
    cover(first + pages);
    file_.write(bytes, first * kPageSize);
    for (PageId id = first; id < first + pages; ++id) map_births_[id] = epoch_;
}

void Pager::seal_frames() {
    const std::scoped_lock guard(hand_over_);
    if (sealed_.size() > 2 * frame_capacity_) compact_sealed();
    for (const std::uint32_t index : fresh_) {
        Frame& info = frame_info(index);
        info.batch = batch_;
        info.position = static_cast<std::uint32_t>(sealed_.size());
        sealed_.push_back({index, info.page});
    }
    fresh_.clear();
}

/// Many seals without a checkpoint leave entries of frames that were given back.
void Pager::compact_sealed() {
    std::erase_if(sealed_, [](const SealedFrame& item) { return item.page == 0; });
    for (std::size_t i = 0; i < sealed_.size(); ++i) {
        frame_info(sealed_[i].frame).position = static_cast<std::uint32_t>(i);
    }
}

void Pager::drop(std::uint64_t epoch) {
    const auto found =
        std::find_if(seals_.begin(), seals_.end(), [epoch](const Seal& seal) { return seal.epoch == epoch; });
    if (found == seals_.end()) return;
    const std::vector<Dead> dead = std::move(found->dead);
    Seal* const older = found == seals_.begin() ? nullptr : &*std::prev(found);
    for (const Dead& run : dead) {
        if (older != nullptr && run.birth <= older->epoch) {
            older->dead.push_back(run);
        } else {
            recycle(run.first, run.pages);
        }
    }
    seals_.erase(found);
}

void Pager::write_sealed() {
    if (read_only_) return;
    {
        const std::scoped_lock guard(hand_over_);
        for (const SealedFrame& item : sealed_) {
            if (item.page != 0) writing_.push_back(item);
        }
        sealed_.clear();
        if (++batch_ == 0) batch_ = 1;
    }
    std::vector<Write> writes;
    writes.reserve(writing_.size());
    for (const SealedFrame& item : writing_) writes.push_back({item.page, frame(item.frame)});
    write_pages(writes);
    const std::scoped_lock guard(hand_over_);
    written_.insert(written_.end(), writing_.begin(), writing_.end());
    writing_.clear();
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
    return written_.empty();
}

void Pager::trim(bool exact) {
    if (read_only_) return;
    const PageId pages = space_.trim();
    const PageId slack = exact ? 0 : growth_step(pages);
    if (file_pages_ <= pages + 2 * slack) return;
    file_.truncate((pages + slack) * kPageSize);
    file_pages_ = pages + slack;
    update_limit();
}

bool Pager::frames_scarce() const noexcept {
    const bool pending = frames_in_use() > fresh_.size();
    const std::size_t few = std::max<std::size_t>(2 * kStepFrames, frame_capacity_ / 8);
    return !read_only_ && pending && frames_free_ < few;
}

}  // namespace pyrsistence::storage
