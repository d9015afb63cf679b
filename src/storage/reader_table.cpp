#include "storage/reader_table.hpp"

#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>

#include "codec/endian.hpp"

namespace pyrsistence::storage {

namespace {

// Offsets in the file. Words that different processes write lie in different cache lines.
constexpr std::size_t kMagic = 64, kLayout = 72, kBell = 80;
constexpr std::size_t kNewest = 128, kRequests = 192, kAnswered = 256;
constexpr std::size_t kRecords = 320, kRecordSize = 64;
constexpr std::size_t kFirstSlot = 4096, kSlotSize = 64;
constexpr std::size_t kEpoch = 0, kPid = 8, kSince = 16, kPages = 24;  // in a slot

/// Locks on bytes from here on, far behind the end of the file, tell which slots have a living owner.
constexpr std::uint64_t kLiveness = std::uint64_t{1} << 40;

constexpr char kMagicText[] = "pyrslock";
constexpr std::uint64_t kLayoutVersion = 1;

/// Words of a record.
enum {
    kNumber,
    kSealEpoch,
    kPageCount,
    kCatalogPage,
    kCatalogShape,
    kVersion,
    kCheckpoint,
    kChecksum,
    kWords
};
static_assert(kWords * sizeof(std::uint64_t) == kRecordSize);

/// Copies or looks that are spoilt because others write meanwhile. Each needs a publication of the writer's
/// in just that moment; so many in a row mean that something else writes there.
constexpr unsigned kTries = 10'000;

std::uint64_t to_little_endian(std::uint64_t value) noexcept {
    std::byte bytes[sizeof value];
    codec::store<std::uint64_t>(bytes, value);
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

std::uint64_t magic() noexcept { return codec::load<std::uint64_t>(as_bytes(kMagicText).data()); }

std::uint64_t now_in_microseconds() {
    using namespace std::chrono;
    const auto time = system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(duration_cast<microseconds>(time).count());
}

std::uint64_t hash(const std::uint64_t* words, std::size_t count, std::uint64_t seed) noexcept {
    std::array<std::byte, kRecordSize> bytes;
    for (std::size_t i = 0; i < count; ++i) codec::store<std::uint64_t>(&bytes[8 * i], words[i]);
    return XXH3_64bits_withSeed(bytes.data(), 8 * count, seed);
}

bool possible(const Published& seal) noexcept {
    const CatalogRoot& catalog = seal.catalog;
    const bool empty = catalog.page == 0 && catalog.containers == 0;
    // The writer's own epochs go on above it, and have to remain possible, too.
    const bool counted = seal.epoch < kMostCounted / 2 && seal.checkpoint < kMostCounted;
    return counted && seal.page_count >= kMetaPages && seal.page_count <= kMaxPages && catalog.page < seal.page_count &&
           catalog.level <= kMaxCatalogLevel && (empty || catalog.page >= kMetaPages);
}

}  // namespace

/// A word of the file, which other processes read and write at the same time.
class ReaderTable::Word {
public:
    explicit Word(std::byte* place) noexcept : word_(*reinterpret_cast<std::uint64_t*>(place)) {}

    /// Sees everything that was written before the store that it reads.
    std::uint64_t load() const noexcept { return to_little_endian(word_.load(std::memory_order_acquire)); }
    void store(std::uint64_t value) const noexcept {
        word_.store(to_little_endian(value), std::memory_order_release);
    }
    std::uint64_t increment() const noexcept {
        std::uint64_t seen = word_.load(std::memory_order_relaxed), next;
        do {
            next = to_little_endian(seen) + 1;
        } while (!word_.compare_exchange_weak(seen, to_little_endian(next)));
        return next;
    }

private:
    static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free, "shared between processes");
    std::atomic_ref<std::uint64_t> word_;
};

ReaderTable::Word ReaderTable::word(std::size_t offset) const noexcept {
    return Word(mapping_->data() + offset);
}

ReaderTable::Word ReaderTable::slot(unsigned index, std::size_t field) const noexcept {
    return word(kFirstSlot + kSlotSize * index + field);
}

ReaderTable::ReaderTable(os::File& lock_file, Role role, std::string path)
    : file_(lock_file), role_(role), path_(std::move(path)) {
    const bool missing = file_.size() < kSize;
    if (missing && role == Role::observer) return;
    if (missing || role == Role::writer) file_.allocate(0, kSize);
    const auto access = role == Role::observer ? os::Access::read_only : os::Access::read_write;
    mapping_ = file_.map(0, kSize, access);
    if (role != Role::observer && !sound()) make(role);
    const os::File::Identity identity = file_.identity();
    const std::uint64_t origin[] = {os::boot_id(), identity.device, identity.inode};
    if (origin[0] != 0) seed_ = hash(origin, std::size(origin), 0);
}

/// Whether there is a table, and none of what was read from it before are zeros in the place of a lost page.
bool ReaderTable::sound() const noexcept {
    return mapping_ && word(kMagic).load() == magic() && word(kLayout).load() == kLayoutVersion &&
           mapping_->faults() == 0;
}

void ReaderTable::require_sound() const {
    if (sound()) return;
    throw CorruptionError(path_ + ": the table of readers is missing or damaged; close the store in all "
                          "processes, then open it for writing, which makes the table anew");
}

/// Whatever else the file contains is harmless: a record counts by its checksum, a slot by its lock, and
/// requests by the difference that they make. So nothing has to be cleared, and it does not matter who else
/// does the same.
void ReaderTable::make(Role role) {
    const bool blank = word(kMagic).load() == 0 && word(kLayout).load() == 0;
    if (role == Role::reader && !blank) return;
    for (unsigned i = 0; !blank && i < kSlots; ++i) {
        if (file_.locked_elsewhere(kLiveness + i)) {
            throw LockedError(path_ + " is used by readers of another version of pyrsistence; close them");
        }
    }
    word(kLayout).store(kLayoutVersion);
    word(kMagic).store(magic());
}

std::uint64_t ReaderTable::checksum(const std::uint64_t* words) const noexcept {
    return hash(words, kChecksum, seed_);
}

/// There are two records; the word `newest` counts what was published and so names the valid one. The other
/// is written first, hence a writer that dies on the way leaves the older record valid.
void ReaderTable::write_record(const Published& seal) noexcept {
    if (!mapping_) return;
    const std::uint64_t number = word(kNewest).load() + 1;
    std::uint64_t words[kWords] = {number,
                                   seal.epoch,
                                   seal.page_count,
                                   seal.catalog.page,
                                   seal.catalog.containers | std::uint64_t{seal.catalog.level} << 32,
                                   seal.version,
                                   seal.checkpoint};
    words[kChecksum] = checksum(words);
    const std::size_t place = kRecords + number % 2 * kRecordSize;
    for (std::size_t i = 0; i < kWords; ++i) word(place + 8 * i).store(words[i]);
    word(kNewest).store(number);
}

void ReaderTable::publish(const Published& seal) noexcept { write_record(seal); }

void ReaderTable::retract() noexcept { write_record({}); }

std::optional<Published> ReaderTable::decode(const std::uint64_t* words,
                                             std::uint64_t number) const noexcept {
    if (seed_ == 0 || words[kNumber] != number || words[kChecksum] != checksum(words)) return std::nullopt;
    Published seal;
    seal.epoch = words[kSealEpoch];
    seal.page_count = words[kPageCount];
    seal.catalog.page = words[kCatalogPage];
    seal.catalog.level = static_cast<unsigned>(words[kCatalogShape] >> 32);
    seal.catalog.containers = static_cast<ContainerId>(words[kCatalogShape]);
    seal.version = words[kVersion];
    seal.checkpoint = words[kCheckpoint];
    if (seal.epoch == 0 || !possible(seal)) return std::nullopt;
    return seal;
}

/// A record is written again only after `newest` has moved on to the other one. Each of its words was stored
/// after that; so if one of those was read, the last line of the loop finds that `newest` has changed.
std::optional<Published> ReaderTable::published() const noexcept {
    for (unsigned i = 0; i < kTries && sound(); ++i) {
        const std::uint64_t number = word(kNewest).load();
        const std::size_t place = kRecords + number % 2 * kRecordSize;
        std::uint64_t words[kWords];
        for (std::size_t field = 0; field < kWords; ++field) words[field] = word(place + 8 * field).load();
        if (word(kNewest).load() == number) return sound() ? decode(words, number) : std::nullopt;
    }
    return std::nullopt;
}

std::uint64_t ReaderTable::requests() const noexcept { return sound() ? word(kRequests).load() : 0; }

std::uint64_t ReaderTable::answered() const noexcept { return sound() ? word(kAnswered).load() : 0; }

void ReaderTable::answer(std::uint64_t request) noexcept {
    if (sound()) word(kAnswered).store(request);
}

std::uint64_t ReaderTable::request() noexcept {
    if (!sound() || role_ == Role::observer) return 0;
    const std::uint64_t number = word(kRequests).increment();
    try {
        const std::byte any{static_cast<unsigned char>(number)};
        file_.write(Bytes(&any, 1), kBell);  // stores through the mapping wake nobody
    } catch (const StorageError&) {
        // The writer finds the request when something else wakes it.
    }
    return number;
}

ReaderTable::Slot ReaderTable::hold(std::uint64_t epoch, PageId pages) {
    if (role_ == Role::observer) {
        throw StorageError(path_ + " is open read-only, but a reader must write there which state it uses",
                           EACCES);
    }
    require_sound();
    Slot result(*this, take_slot());
    slot(result.index_, kPid).store(static_cast<std::uint64_t>(::getpid()));
    slot(result.index_, kSince).store(now_in_microseconds());
    announce(result.index_, epoch, pages);
    require_sound();
    return result;
}

/// R1 and R2 of the header's argument.
void ReaderTable::announce(unsigned index, std::uint64_t epoch, PageId pages) noexcept {
    slot(index, kPages).store(pages);
    slot(index, kEpoch).store(epoch);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// A free slot, or one that a dead reader left.
unsigned ReaderTable::take_slot() {
    const std::lock_guard guard(mutex_);
    for (const bool left : {false, true}) {
        for (unsigned i = 0; i < kSlots; ++i) {
            if ((slot(i, kEpoch).load() != 0) == left && take_slot(i)) return i;
        }
    }
    throw StorageError(
        path_ + ": all " + std::to_string(kSlots) + " slots for readers are taken; close a reader", EUSERS);
}

bool ReaderTable::take_slot(unsigned index) {
    if (held_[index] || !file_.try_lock(kLiveness + index, os::Lock::exclusive)) return false;
    held_.set(index);
    slot(index, kEpoch).store(0);
    return true;
}

void ReaderTable::give_back(unsigned index) noexcept {
    if (!mapping_) return;
    const std::lock_guard guard(mutex_);
    slot(index, kEpoch).store(0);
    held_.reset(index);
    try {
        file_.unlock(kLiveness + index);
    } catch (const StorageError&) {
        // It stays locked by this file, which may use it again.
    }
}

std::optional<std::pair<Published, ReaderTable::Slot>> ReaderTable::hold_published() {
    Slot slot;
    std::optional<Published> seal = published();
    for (unsigned i = 0; i < kTries && seal; ++i) {
        if (slot) announce(slot.index_, seal->epoch, seal->page_count);
        else slot = hold(seal->epoch, seal->page_count);
        const std::uint64_t announced = seal->epoch;
        seal = published();
        // An epoch may have been used twice, if a writer died in between: the second copy counts.
        if (seal && seal->epoch == announced) return std::pair(*seal, std::move(slot));
    }
    return std::nullopt;
}

/// With the owner's lock in hand no new owner can come in between. In doubt, the owner lives.
bool ReaderTable::free_if_dead(unsigned index) noexcept {
    try {
        if (held_[index] || !file_.try_lock(kLiveness + index, os::Lock::exclusive)) return false;
        slot(index, kEpoch).store(0);
        file_.unlock(kLiveness + index);
        return true;
    } catch (const StorageError&) {
        return false;
    }
}

/// W2 and W3 of the header's argument.
std::vector<std::uint64_t> ReaderTable::epochs_in_use() {
    require_sound();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::vector<std::uint64_t> epochs;
    const std::lock_guard guard(mutex_);
    for (unsigned i = 0; i < kSlots; ++i) {
        const std::uint64_t epoch = slot(i, kEpoch).load();
        if (epoch != 0 && !free_if_dead(i)) epochs.push_back(epoch);
    }
    require_sound();
    std::sort(epochs.begin(), epochs.end());
    epochs.erase(std::unique(epochs.begin(), epochs.end()), epochs.end());
    return epochs;
}

PageId ReaderTable::pages_in_use() const {
    require_sound();
    PageId most = 0;
    for (unsigned i = 0; i < kSlots; ++i) {
        if (slot(i, kEpoch).load() == 0) continue;
        const std::uint64_t pages = slot(i, kPages).load();
        most = std::max(most, pages == 0 ? kMaxPages : pages);
    }
    return most;
}

std::vector<ReaderTable::Reader> ReaderTable::readers() {
    std::vector<Reader> result;
    if (!sound()) return result;
    const std::lock_guard guard(mutex_);
    for (unsigned i = 0; i < kSlots; ++i) {
        const Reader reader{slot(i, kEpoch).load(), slot(i, kPid).load(), slot(i, kSince).load()};
        if (reader.epoch == 0) continue;
        if (held_[i] || file_.locked_elsewhere(kLiveness + i)) result.push_back(reader);
    }
    return result;
}

/// The mapping keeps the parent's locks alive, as a descriptor does; hence the child must not keep it.
void ReaderTable::abandon() noexcept { mapping_.reset(); }

}  // namespace pyrsistence::storage
