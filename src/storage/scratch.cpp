#include "pyrsistence/scratch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "os/file.hpp"
#include "pyrsistence/encoding.hpp"
#include "pyrsistence/error.hpp"

namespace pyrsistence::detail {

namespace {

constexpr std::size_t kLeastBlock = 4096;
constexpr std::size_t kGoodBlock = std::size_t{1} << 20;  ///< seeking hardly counts from here on
constexpr std::size_t kMostBlock = std::size_t{4} << 20;
constexpr std::size_t kMostFan = 1024;

}  // namespace

// ---- MemoryPlan ----

MemoryPlan::MemoryPlan(const ExternalOptions& options, std::size_t record_size)
    : memory(options.memory_limit != 0 ? options.memory_limit : os::available_memory() / 4) {
    const std::uint64_t least = std::max<std::uint64_t>(std::min<std::uint64_t>(memory / 8, kGoodBlock), kLeastBlock);
    const auto wanted = static_cast<std::size_t>(std::clamp<std::uint64_t>(memory / 64, least, kMostBlock));
    block = std::max<std::size_t>(wanted / record_size, 1) * record_size;
    fan = static_cast<std::size_t>(std::clamp<std::uint64_t>(memory / block, 3, kMostFan + 1)) - 1;
}

// ---- Scratch ----

Scratch::Scratch(const ExternalOptions& options, std::size_t block_size)
    : options_(options), block_size_(block_size) {}

Scratch::~Scratch() = default;

std::uint64_t Scratch::write(Bytes bytes) {
    if (!file_) {
        os::FileSystem& files = options_.files ? *options_.files : os::FileSystem::posix();
        if (options_.directory.empty()) options_.directory = std::filesystem::temp_directory_path();
        file_ = files.create_temporary(options_.directory);
    }
    free_.reserve(blocks_ + 1);  // release() needs no memory
    const std::uint64_t block = free_.empty() ? blocks_ : free_.back();
    file_->write(bytes, block * block_size_);
    if (free_.empty()) ++blocks_;
    else free_.pop_back();
    return block;
}

void Scratch::read(std::uint64_t block, MutableBytes bytes) {
    if (file_->read(bytes, block * block_size_) == bytes.size()) return;
    throw StorageError("read a temporary file in " + options_.directory.string() + ": it ends before block " +
                       std::to_string(block) + "; somebody has cut it short", EIO);
}

void Scratch::will_need(std::uint64_t block) const noexcept { file_->will_need(block * block_size_, block_size_); }

void Scratch::release(std::uint64_t block) { free_.push_back(block); }

// ---- RunWriter ----

void RunWriter::append(Bytes bytes) {
    const std::size_t size = scratch_->block_size();
    while (!bytes.empty()) {
        if (used_ == 0 && bytes.size() >= size) {  // from where they lie
            run_.blocks.push_back(scratch_->write(bytes.first(size)));
            bytes = bytes.subspan(size);
            continue;
        }
        if (!block_) block_ = std::make_unique_for_overwrite<std::byte[]>(size);
        const std::size_t count = std::min(bytes.size(), size - used_);
        std::memcpy(block_.get() + used_, bytes.data(), count);
        bytes = bytes.subspan(count);
        if ((used_ += count) < size) continue;
        run_.blocks.push_back(scratch_->write({block_.get(), size}));
        used_ = 0;
    }
}

void RunWriter::put(Bytes record) {
    std::byte head[kMaxVarint];
    const std::size_t n = store_varint(head, record.size());
    append({head, n});
    append(record);
    run_.bytes += n + record.size();
    run_.largest = std::max(run_.largest, record.size());
    ++run_.records;
}

void RunWriter::put_fixed(Bytes records, std::size_t count) {
    append(records);
    run_.bytes += records.size();
    run_.records += count;
}

Run RunWriter::finish() {
    if (used_ > 0) run_.blocks.push_back(scratch_->write({block_.get(), used_}));
    used_ = 0;
    block_.reset();
    return std::exchange(run_, {});
}

// ---- RunReader ----

bool RunReader::refill() {
    const std::size_t size = scratch_->block_size();
    at_ = end_ = 0;
    if (next_block_ == run_.blocks.size()) {
        block_.reset();
        return false;
    }
    if (!block_) block_ = std::make_unique_for_overwrite<std::byte[]>(size);
    if (next_block_ + 1 < run_.blocks.size()) scratch_->will_need(run_.blocks[next_block_ + 1]);
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(size, run_.bytes - read_));
    scratch_->read(run_.blocks[next_block_], {block_.get(), count});
    scratch_->release(run_.blocks[next_block_++]);
    read_ += count;
    end_ = count;
    return true;
}

Bytes RunReader::next_block() {
    if (!refill()) return {};
    at_ = end_;
    return {block_.get(), end_};
}

/// REQUIRES: so many bytes are left of the run.
Bytes RunReader::take(std::size_t size) {
    if (size <= end_ - at_) [[likely]] {
        at_ += size;
        return {block_.get() + at_ - size, size};
    }
    joined_.clear();
    joined_.reserve(size);
    while (joined_.size() < size) {
        if (at_ == end_) refill();
        const std::size_t count = std::min(size - joined_.size(), end_ - at_);
        joined_.insert(joined_.end(), block_.get() + at_, block_.get() + at_ + count);
        at_ += count;
    }
    return joined_;
}

std::size_t RunReader::take_size() {
    std::size_t size = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (at_ == end_) refill();
        const auto byte = std::to_integer<std::size_t>(block_[at_++]);
        size |= (byte & 0x7f) << shift;
        if (byte < 0x80) return size;
    }
}

bool RunReader::next(Bytes& record) {
    if (run_.records == 0) {
        block_.reset();
        return false;
    }
    --run_.records;
    if (joined_.capacity() > scratch_->block_size()) joined_ = {};
    record = take(take_size());
    return true;
}

// ---- Shuffler ----

Shuffler::Shuffler(const ExternalOptions& options, std::uint64_t seed) : options_(options), plan_(options), random_(seed) {}

/// Source: Lemire, Fast random integer generation in an interval, 2019.
std::uint64_t Shuffler::below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    Wide product = Wide{random_()} * bound;
    if (static_cast<std::uint64_t>(product) < bound) {
        const std::uint64_t least = (0 - bound) % bound;
        while (static_cast<std::uint64_t>(product) < least) product = Wide{random_()} * bound;
    }
    return static_cast<std::uint64_t>(product >> 64);
}

/// Bytes of memory for a load and its order.
std::uint64_t Shuffler::footprint(std::uint64_t bytes, std::uint64_t records) const {
    return bytes + records * 2 * sizeof(std::uint64_t);
}

Bytes Shuffler::record(std::uint64_t i) const {
    const std::uint64_t begin = i == 0 ? 0 : load_.ends[i - 1];
    return Bytes(load_.bytes).subspan(begin, load_.ends[i] - begin);
}

void Shuffler::push(Bytes record) {
    ++size_;
    if (writers_.empty()) {
        // A third of the memory: a vector that grows is there twice, the second time with twice the room.
        if (load_.ends.empty() || footprint(load_.bytes.size() + record.size(), load_.ends.size()) <= plan_.memory / 3) {
            load_.bytes.insert(load_.bytes.end(), record.begin(), record.end());
            load_.ends.push_back(load_.bytes.size());
            return;
        }
        spill();
    }
    writers_[below(writers_.size())].put(record);
}

/// Makes as many buckets as leave memory for the load.
void Shuffler::open_buckets() {
    if (!scratch_) scratch_ = std::make_unique<Scratch>(options_, plan_.block);
    const std::size_t count = std::max<std::size_t>(plan_.fan / 3 * 2, 2);
    writers_.reserve(count);
    while (writers_.size() < count) writers_.emplace_back(*scratch_);
}

/// Distributes the load, and from here on whatever comes.
void Shuffler::spill() {
    open_buckets();
    const Load load = std::exchange(load_, {});
    std::uint64_t begin = 0;
    for (const std::uint64_t end : load.ends) {
        writers_[below(writers_.size())].put(Bytes(load.bytes).subspan(begin, end - begin));
        begin = end;
    }
}

void Shuffler::close_buckets() {
    for (RunWriter& writer : writers_) {
        Run bucket = writer.finish();
        if (bucket.records > 0) buckets_.push_back(std::move(bucket));
    }
    writers_.clear();
}

void Shuffler::finish() {
    if (writers_.empty()) shuffle_load();
    else close_buckets();
}

/// Puts the records of the next bucket into new ones.
void Shuffler::divide() {
    load_ = {};
    RunReader reader(*scratch_, std::move(buckets_.back()));
    buckets_.pop_back();
    open_buckets();
    for (Bytes record; reader.next(record);) writers_[below(writers_.size())].put(record);
    close_buckets();
}

void Shuffler::shuffle_load() {
    order_.resize(load_.ends.size());
    for (std::uint64_t i = 0; i < order_.size(); ++i) {
        const std::uint64_t j = below(i + 1);
        order_[i] = order_[j];
        order_[j] = i;
    }
}

bool Shuffler::next_bucket() {
    load_.bytes.clear();
    load_.ends.clear();
    if (buckets_.empty()) {
        load_ = {};
        return false;
    }
    while (buckets_.back().records > 1 && footprint(buckets_.back().bytes, buckets_.back().records) > plan_.memory / 4 * 3) divide();
    load_.bytes.reserve(buckets_.back().bytes);
    load_.ends.reserve(buckets_.back().records);
    RunReader reader(*scratch_, std::move(buckets_.back()));
    buckets_.pop_back();
    for (Bytes record; reader.next(record);) {
        load_.bytes.insert(load_.bytes.end(), record.begin(), record.end());
        load_.ends.push_back(load_.bytes.size());
    }
    shuffle_load();
    return true;
}

bool Shuffler::next(Bytes& record) {
    while (order_.empty()) {
        if (!next_bucket()) return false;
    }
    record = this->record(order_.back());
    order_.pop_back();
    return true;
}

}  // namespace pyrsistence::detail
