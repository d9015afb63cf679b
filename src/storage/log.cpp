#include "storage/log.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <optional>
#include <random>
#include <string>
#include <utility>

namespace pyrsistence::storage {

namespace {

using codec::load;
using codec::store;

constexpr std::uint64_t kHeader = Log::kHeaderSize;
constexpr std::uint64_t kRecord = Log::kRecordHeader;
constexpr char kFileMagic[9] = "pyrslog\0";
constexpr char kWindowMagic[9] = "pyrswin\0";
constexpr std::size_t kConfirmed = 72;      ///< offset of the confirmed checkpoint in a window header
constexpr std::size_t kWindowFields = 88;   ///< bytes of a window header that are used
constexpr std::uint32_t kUnknown = 0xFFFFFFFF;  ///< `back` of a record that claims nothing
constexpr std::uint64_t kFirstZeroes = 64 << 10;
constexpr std::uint64_t kMostZeroes = 1 << 20;
constexpr std::uint64_t kReadAhead = 4 << 20;
/// How far behind a bad record others are looked for, and how much may be hashed for that.
constexpr std::uint64_t kResyncReach = 16 << 20;
constexpr std::uint64_t kResyncBudget = std::uint64_t{1} << 30;

/// Written one at a time: the page cache makes a folio as large as the write, and syncs whole folios.
/// Pieces of 4, 8, 64 KiB: 4.4, 8, 23 KiB reach the disk per 100-byte sync, 70, 45, 32 ns per append (ext4).
constexpr std::array<std::byte, 8192> kZeroes{};

std::uint64_t window_base(unsigned window) { return kHeader + window * Log::kWindowCap; }

std::uint64_t hash(const std::byte* data, std::uint64_t size, std::uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

[[noreturn]] void corrupt(std::uint64_t offset, const std::string& what) {
    throw CorruptionError("log, offset " + std::to_string(offset) + ": " + what +
                          "; restore a backup, or save what can be read by verify(repair=True)");
}

std::uint64_t random_salt() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

struct WindowHeader {
    std::uint64_t generation = 0;
    std::uint64_t salt = 0;
    std::uint64_t previous_salt = 0;
    std::uint64_t first_sequence = 0;
    std::uint64_t capacity = 0;
    std::uint64_t durable = 0;  ///< newest checkpoint known to be durable when the window began
    std::uint64_t synced = 0;   ///< records below this had been synced then
    std::uint64_t checksum = 0;
    std::uint64_t confirmed = 0;  ///< 0 if there is none, or if the pair does not verify
};

std::array<std::uint64_t*, 7> checked_fields(WindowHeader& header) {
    return {&header.generation, &header.salt,    &header.previous_salt, &header.first_sequence,
            &header.capacity,   &header.durable, &header.synced};
}

void store_confirmed(std::byte* block, std::uint64_t salt, std::uint64_t checkpoint) {
    store<std::uint64_t>(block + kConfirmed, checkpoint);
    store<std::uint64_t>(block + kConfirmed + 8, hash(block + kConfirmed, 8, salt));
}

/// Fills in the checksum as well.
std::array<std::byte, kHeader> encode(WindowHeader& header) {
    std::array<std::byte, kHeader> block{};
    std::memcpy(block.data(), kWindowMagic, 8);
    std::byte* place = block.data() + 8;
    for (const std::uint64_t* field : checked_fields(header)) {
        store<std::uint64_t>(place, *field);
        place += 8;
    }
    header.checksum = hash(block.data(), 64, 0);
    store<std::uint64_t>(place, header.checksum);
    store_confirmed(block.data(), header.salt, header.confirmed);
    return block;
}

bool all_zero(Bytes bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{}; });
}

/// Nothing for a window that was never used. A header lies in one sector, so a torn write leaves
/// the old one or the new one: anything else is damage.
std::optional<WindowHeader> decode(Bytes block, std::uint64_t base) {
    if (block.size() < kWindowFields || all_zero(block.first(kWindowFields))) return std::nullopt;
    WindowHeader header;
    const std::byte* place = block.data() + 8;
    for (std::uint64_t* field : checked_fields(header)) {
        *field = load<std::uint64_t>(place);
        place += 8;
    }
    header.checksum = load<std::uint64_t>(place);
    if (std::memcmp(block.data(), kWindowMagic, 8) != 0 || header.checksum != hash(block.data(), 64, 0)) {
        corrupt(base, "the header of a log window is damaged");
    }
    if (header.capacity > Log::kMaxCapacity) {
        corrupt(base, "a log window of " + std::to_string(header.capacity) + " bytes, the most is " +
                          std::to_string(Log::kMaxCapacity));
    }
    const std::byte* pair = block.data() + kConfirmed;
    if (load<std::uint64_t>(pair + 8) == hash(pair, 8, header.salt)) {
        header.confirmed = load<std::uint64_t>(pair);
    }
    return header;
}

std::uint64_t known_checkpoint(const WindowHeader& header) {
    return std::max(header.durable, header.confirmed);
}

/// The valid window headers of a file.
class Windows {
public:
    explicit Windows(os::File& file) {
        for (unsigned i = 0; i < Log::kWindows; ++i) {
            std::array<std::byte, kWindowFields> block;
            const std::size_t size = file.read(block, window_base(i));
            headers_[i] = decode(Bytes(block).first(size), window_base(i));
        }
    }

    const WindowHeader& operator[](unsigned window) const { return *headers_[window]; }

    /// Throws CorruptionError if one of them knows of a newer checkpoint.
    void refuse_newer(std::uint64_t checkpoint) const {
        for (unsigned i = 0; i < Log::kWindows; ++i) {
            if (!headers_[i] || known_checkpoint(*headers_[i]) <= checkpoint) continue;
            corrupt(window_base(i), "checkpoint " + std::to_string(known_checkpoint(*headers_[i])) +
                                        " was durable, but the newest in data is " +
                                        std::to_string(checkpoint));
        }
    }
    unsigned find(const LogPosition& from) const {
        for (unsigned i = 0; i < Log::kWindows; ++i) {
            if (!headers_[i] || headers_[i]->generation != from.generation) continue;
            if (headers_[i]->salt == from.salt && headers_[i]->first_sequence == from.sequence) return i;
        }
        corrupt(kHeader, "generation " + std::to_string(from.generation) + " from record " +
                             std::to_string(from.sequence) + ", which data names, is missing");
    }
    /// The window that was begun while `window` was in use.
    std::optional<unsigned> successor(unsigned window) const {
        const WindowHeader& header = *headers_[window];
        for (unsigned i = 0; i < Log::kWindows; ++i) {
            if (!headers_[i] || headers_[i]->generation != header.generation + 1) continue;
            if (headers_[i]->generation > header.generation && headers_[i]->previous_salt == header.salt) {
                return i;
            }
        }
        return std::nullopt;
    }
    std::uint64_t newest_checkpoint() const {
        std::uint64_t newest = 0;
        for (const auto& header : headers_) newest = std::max(newest, header ? known_checkpoint(*header) : 0);
        return newest;
    }
    std::uint64_t highest_generation() const {
        std::uint64_t highest = 0;
        for (const auto& header : headers_) highest = std::max(highest, header ? header->generation : 0);
        return highest;
    }

private:
    std::array<std::optional<WindowHeader>, Log::kWindows> headers_;
};

struct Record {
    std::uint64_t checksum = 0;
    std::uint64_t sequence = 0;
    std::uint64_t synced = 0;  ///< records below this were synced when this one was appended
    Bytes payload;
};

/// Walks the records of one window; every length is checked before it is used.
class Reader {
public:
    Reader(os::File& file, unsigned window, const WindowHeader& header)
        : base_(window_base(window)), salt_(header.salt), chain_(header.checksum),
          sequence_(header.first_sequence) {
        const std::uint64_t size = file.size();
        limit_ = std::min(kHeader + header.capacity, size > base_ ? size - base_ : 0);
        if (limit_ > kHeader) map_ = file.map(base_, limit_, os::Access::read_only);
    }

    /// False at the end of the records, or at a record that is torn or damaged.
    bool next(Record& record) {
        read_ahead(offset_);
        if (!parse(offset_, record) || record.sequence != sequence_) return false;
        if (!verifies(offset_, record, chain_)) return false;
        advance(record);
        return true;
    }

    /// After next() was false: finds two neighbours behind, of which the second verifies by the
    /// checksum stored in the first, and stands before the second. A torn or damaged record may be
    /// that first one. `budget` limits the bytes hashed.
    bool resync(std::uint64_t& budget) {
        const std::uint64_t stop = std::min(limit_, offset_ + kResyncReach);
        const std::byte* const sequences = map_ ? bytes() + 16 : nullptr;
        const std::uint64_t expected = sequence_;
        Record first, second;
        for (std::uint64_t at = offset_; at + 2 * kRecord < stop; ++at) {
            if ((at - offset_) % kReadAhead == 0) read_ahead(at);
            if (load<std::uint64_t>(sequences + at) - expected > kResyncReach / kRecord) continue;
            if (!parse(at, first)) continue;
            const std::uint64_t behind = at + kRecord + first.payload.size();
            if (!parse(behind, second) || second.sequence != first.sequence + 1) continue;
            spend(budget, second.payload.size() + kRecord);
            if (!verifies(behind, second, first.checksum)) continue;
            offset_ = behind;
            chain_ = first.checksum;
            sequence_ = second.sequence;
            return true;
        }
        return false;
    }

    std::uint64_t file_offset() const { return base_ + offset_; }

private:
    const std::byte* bytes() const { return map_->data(); }

    bool parse(std::uint64_t at, Record& record) const {
        if (at + kRecord > limit_ || !map_) return false;
        const std::byte* place = bytes() + at;
        const std::uint32_t length = load<std::uint32_t>(place + 8);
        if (length == 0 || length > limit_ - at - kRecord) return false;
        const std::uint32_t back = load<std::uint32_t>(place + 12);
        record.checksum = load<std::uint64_t>(place);
        record.sequence = load<std::uint64_t>(place + 16);
        record.synced = back == kUnknown || back > record.sequence ? 0 : record.sequence - back;
        record.payload = {place + kRecord, length};
        return true;
    }
    bool verifies(std::uint64_t at, const Record& record, std::uint64_t chain) const {
        return record.checksum == hash(bytes() + at + 8, kRecord - 8 + record.payload.size(), salt_ ^ chain);
    }
    void advance(const Record& record) {
        offset_ += kRecord + record.payload.size();
        chain_ = record.checksum;
        ++sequence_;
    }
    void spend(std::uint64_t& budget, std::uint64_t bytes) const {
        if (bytes > budget) corrupt(file_offset(), "too many records that do not verify");
        budget -= bytes;
    }
    /// The mapping is advised random; without this each page would be a read of its own.
    void read_ahead(std::uint64_t at) {
        if (at < asked_ || !map_) return;
        const std::uint64_t to = std::min(limit_, at + 2 * kReadAhead);
        if (at < to) map_->will_need(at, to - at);
        asked_ = at + kReadAhead;
    }

    std::uint64_t base_;
    std::uint64_t salt_;
    std::uint64_t chain_;
    std::uint64_t sequence_;
    std::uint64_t limit_ = 0;
    std::uint64_t offset_ = kHeader;
    std::uint64_t asked_ = 0;
    std::unique_ptr<os::Mapping> map_;
};

/// The highest sequence below which records are said to be synced by any record from here on.
std::uint64_t claims_from(Reader& reader, std::uint64_t& budget) {
    std::uint64_t synced = 0;
    Record record;
    while (reader.resync(budget)) {
        while (reader.next(record)) synced = std::max(synced, record.synced);
    }
    return synced;
}

std::uint64_t claims_of(os::File& file, const Windows& windows, unsigned window, std::uint64_t& budget) {
    Reader reader(file, window, windows[window]);
    std::uint64_t synced = windows[window].synced;
    Record record;
    while (reader.next(record)) synced = std::max(synced, record.synced);
    return std::max(synced, claims_from(reader, budget));
}

/// Throws CorruptionError if anything behind the place where the records of `window` end tells that
/// record `missing` had been synced. REQUIRES: reader.next() was false.
void refuse_lost(os::File& file, const Windows& windows, unsigned window, Reader& reader,
                 std::uint64_t missing) {
    const std::uint64_t offset = reader.file_offset();
    std::uint64_t budget = kResyncBudget;
    std::uint64_t synced = claims_from(reader, budget);
    for (auto later = windows.successor(window); later; later = windows.successor(*later)) {
        synced = std::max(synced, claims_of(file, windows, *later, budget));
    }
    if (synced <= missing) return;
    corrupt(offset, "record " + std::to_string(missing) + " is damaged, though all below " +
                        std::to_string(synced) + " had been synced");
}

std::array<std::byte, 24> file_header() {
    std::array<std::byte, 24> header{};
    std::memcpy(header.data(), kFileMagic, 8);
    store<std::uint32_t>(header.data() + 8, kFormatVersion);
    store<std::uint64_t>(header.data() + 16, hash(header.data(), 16, 0));
    return header;
}

void check_file_header(os::File& file) {
    std::array<std::byte, 24> header;
    if (file.read(header, 0) < header.size() || std::memcmp(header.data(), kFileMagic, 8) != 0) {
        corrupt(0, "this is not the log of a store");
    }
    if (load<std::uint64_t>(header.data() + 16) != hash(header.data(), 16, 0)) {
        corrupt(0, "the file header is damaged");
    }
    const std::uint32_t version = load<std::uint32_t>(header.data() + 8);
    if (version == 0 || version > kFormatVersion) {
        throw FormatError("log: format version " + std::to_string(version) + ", this release reads up to version " +
                          std::to_string(kFormatVersion) + "; upgrade pyrsistence");
    }
}

}  // namespace

Log::Log(os::File& file, bool read_only) : file_(file), read_only_(read_only) { check_file_header(file); }

Log::~Log() = default;

void Log::format(os::File& file) {
    std::array<std::byte, kHeaderSize> block{};
    std::ranges::copy(file_header(), block.begin());
    file.allocate(0, block.size());
    file.write(Bytes(block), 0);
}

bool Log::unused(os::File& file) {
    if (file.size() > window_base(0) + kHeaderSize) return false;
    try {
        return Windows(file).highest_generation() <= 1;
    } catch (const CorruptionError&) {
        return true;
    }
}

std::uint64_t Log::newest_checkpoint(os::File& file) {
    check_file_header(file);
    return Windows(file).newest_checkpoint();
}

unsigned Log::free_window() const {
    for (unsigned i = 0; i < kWindows; ++i) {
        if (i != window_ && !(needed_ >> i & 1)) return i;
    }
    if (window_ != kNone && used() == 0 && !(needed_ >> window_ & 1)) return window_;
    throw StorageError("log: all windows hold records that no durable checkpoint covers; close the store "
                       "and open it again",
                       EBUSY);
}

/// False while the generation sits in the last window, where records would leave a recovery none.
bool Log::window_left() const noexcept {
    return std::popcount(needed_ & ~(1u << window_)) + 1 < static_cast<int>(kWindows);
}

LogPosition Log::start(std::uint64_t generation, std::uint64_t sequence, std::uint64_t capacity,
                       std::uint64_t durable_checkpoint) {
    if (read_only_) throw ReadOnlyError("log: opened read-only; open the store with mode 'a' or 'r+'");
    capacity = std::min(capacity, kMaxCapacity);
    const unsigned window = free_window();
    WindowHeader header{generation, random_salt(),      last_salt_, sequence, capacity,
                        durable_checkpoint, synced_.load(), 0,          0};
    const auto block = encode(header);
    auto mapping = file_.map(window_base(window), kHeaderSize + capacity, os::Access::read_write);
    file_.allocate(window_base(window), kHeaderSize);
    file_.write(Bytes(block), window_base(window));

    if (window_ != kNone && window_ != window) needed_ |= 1u << window_;
    faulted_ = faulted();
    last_mapping_ = std::exchange(mapping_, std::move(mapping));
    begin_window(window, {header.salt, header.checksum, sequence});
    return {generation, header.salt, sequence};
}

void Log::begin_window(unsigned window, const WindowStart& start) {
    window_ = window;
    map_ = mapping_->data();
    offset_ = zeroed_ = kHeaderSize;
    ready_ = 0;
    end_ = mapping_->size();
    salt_ = last_salt_ = start.salt;
    chain_ = start.chain;
    next_sequence_ = start.sequence;
}

/// Only a log that was shrunk has this length, and only in such a one no record of the generation,
/// torn or whole, can lie anywhere.
bool Log::resume(const LogPosition& from) {
    if (read_only_ || file_.size() != window_base(0) + kHeaderSize) return false;
    const Windows windows(file_);
    const WindowHeader& header = windows[windows.find(from)];
    mapping_ = file_.map(window_base(0), kHeaderSize + header.capacity, os::Access::read_write);
    needed_ = 1;
    begin_window(0, {header.salt, header.checksum, header.first_sequence});
    return true;
}

/// Blocks are allocated first, so that a full disk is an errno here and not a SIGBUS in append().
void Log::zero_ahead(std::uint64_t target) {
    const std::uint64_t base = window_base(window_);
    file_.allocate(base + zeroed_, target - zeroed_);
    for (std::uint64_t at = zeroed_; at < target; at += kZeroes.size()) {
        file_.write(Bytes(kZeroes).first(std::min(kZeroes.size(), target - at)), base + at);
    }
    zeroed_ = target;
    ready_ = target - 2 * kRecordHeader;
}

bool Log::reserve_slowly(std::size_t bytes) {
    const std::uint64_t wanted = offset_ + bytes + 2 * kRecordHeader;
    if (window_ == kNone || bytes > kMaxCapacity || wanted > end_ || !window_left()) return false;
    const std::uint64_t chunk = std::clamp(used(), kFirstZeroes, kMostZeroes);
    const std::uint64_t target = std::max(wanted, zeroed_ + chunk);
    zero_ahead(std::min((target + kPageSize - 1) / kPageSize * kPageSize, end_));
    return true;
}

void Log::append(std::span<const Bytes> parts) noexcept {
    std::byte* const place = map_ + offset_;
    std::byte* end = place + kRecordHeader;
    for (const Bytes part : parts) {
        if (part.empty()) continue;
        std::memcpy(end, part.data(), part.size());
        end += part.size();
    }
    const auto size = static_cast<std::uint64_t>(end - place);
    const std::uint64_t back = next_sequence_ - synced_.load(std::memory_order_relaxed);
    store(place + 8, static_cast<std::uint32_t>(size - kRecordHeader));
    store(place + 12, static_cast<std::uint32_t>(std::min<std::uint64_t>(back, kUnknown)));
    store(place + 16, next_sequence_);
    chain_ = hash(place + 8, size - 8, salt_ ^ chain_);
    store(place, chain_);
    offset_ += size;
    ++next_sequence_;
}

void Log::sync(std::uint64_t sequence) {
    file_.sync();
    std::uint64_t synced = synced_.load(std::memory_order_relaxed);
    while (synced < sequence && !synced_.compare_exchange_weak(synced, sequence, std::memory_order_relaxed)) {
    }
}

void Log::confirm(std::uint64_t checkpoint) noexcept {
    if (window_ == kNone) return;
    store_confirmed(map_, salt_, checkpoint);
    needed_ = 1u << window_;
}

Log::Replay Log::replay(const LogPosition& from, std::uint64_t checkpoint,
                        const std::function<bool(std::uint64_t sequence, Bytes payload)>& visit) {
    const Windows windows(file_);
    windows.refuse_newer(checkpoint);
    Replay result{from.sequence, windows.highest_generation(), from.sequence};
    unsigned window = windows.find(from);
    unsigned replayed = 1u << window;
    for (;;) {
        Reader reader(file_, window, windows[window]);
        Record record;
        while (reader.next(record)) {
            if (!visit(record.sequence, record.payload)) return result;
            replayed |= 1u << window;
            result.next_sequence = record.sequence + 1;
            result.synced_sequence = std::max(result.synced_sequence, record.synced);
        }
        const auto next = windows.successor(window);
        if (!next || windows[*next].first_sequence != result.next_sequence) {
            refuse_lost(file_, windows, window, reader, result.next_sequence);
            break;
        }
        window = *next;
        result.synced_sequence = std::max(result.synced_sequence, windows[window].synced);
    }
    needed_ = replayed;
    last_salt_ = windows[window].salt;
    return result;
}

Log::Examined Log::examine(const LogPosition& from, std::uint64_t checkpoint,
                           const std::function<void(Bytes payload)>& read) {
    Examined result{{}, UINT64_MAX, nullptr};
    result.all = replay(from, checkpoint, [&](std::uint64_t sequence, Bytes payload) {
        if (result.lost) return true;
        try {
            read(payload);
        } catch (const CorruptionError&) {
            result.lost = std::current_exception();
            result.end = sequence;
        }
        return true;
    });
    if (result.end >= result.all.synced_sequence) result.lost = nullptr;
    return result;
}

void Log::shrink() {
    if (window_ == kNone || used() != 0 || (needed_ & ~(1u << window_)) != 0) return;
    if (window_ != 0) {
        file_.write(Bytes(map_, kHeaderSize), window_base(0));
        file_.sync();
    }
    file_.truncate(window_base(0) + kHeaderSize);
    faulted_ = faulted();
    mapping_.reset();
    map_ = nullptr;
    window_ = kNone;
    needed_ = 1;
    ready_ = 0;
    end_ = kHeaderSize;
}

}  // namespace pyrsistence::storage
