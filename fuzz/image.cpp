#include "fuzz/image.hpp"

#include <algorithm>
#include <fstream>

#include "storage/log.hpp"
#include "storage/reader_table.hpp"

namespace pyrsistence::fuzz {

namespace {

using storage::Log;

constexpr std::size_t kMostData = std::size_t{2} << 20;
constexpr std::size_t kMostLog = std::size_t{256} << 10;  ///< of each part
constexpr std::uint64_t kLongestData = std::uint64_t{32} << 20;
constexpr std::uint64_t kLongestLog = Log::kHeaderSize + Log::kWindows * Log::kWindowCap;
constexpr std::size_t kChunkHeader = 7;  ///< u8 part, u32 offset, u16 length
constexpr std::size_t kLongestChunk = 0xffff;
constexpr std::size_t kShortestGap = 16;  ///< zeros that end a chunk

/// By number: the data file, the parts of the log, the lock file.
std::vector<std::byte>* part_of(Image& image, std::size_t number) {
    if (number == 0) return &image.data;
    if (number <= Image::kLogParts) return &image.log[number - 1];
    return number == Image::kLogParts + 1 ? &image.lock : nullptr;
}

std::size_t most_of(std::size_t number) {
    if (number == 0) return kMostData;
    return number <= Image::kLogParts ? kMostLog : storage::ReaderTable::kSize;
}

std::vector<std::byte> read_some(os::File& file, std::uint64_t offset, std::size_t most) {
    std::vector<std::byte> bytes(most);
    bytes.resize(file.read(bytes, offset));
    return bytes;
}

void append_chunk(std::vector<std::byte>& out, std::size_t part, std::size_t offset, Bytes bytes) {
    std::array<std::byte, kChunkHeader> header{};
    header[0] = std::byte(part);
    codec::store<std::uint32_t>(&header[1], static_cast<std::uint32_t>(offset));
    codec::store<std::uint16_t>(&header[5], static_cast<std::uint16_t>(bytes.size()));
    out.insert(out.end(), header.begin(), header.end());
    out.insert(out.end(), bytes.begin(), bytes.end());
}

/// What lies between long runs of zeros.
void append_part(std::vector<std::byte>& out, std::size_t part, Bytes bytes) {
    const auto zero = [](std::byte byte) { return byte == std::byte{}; };
    for (std::size_t at = 0;;) {
        const auto first = std::find_if_not(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), zero);
        if (first == bytes.end()) return;
        at = static_cast<std::size_t>(first - bytes.begin());
        std::size_t end = at, zeros = 0;
        while (end < bytes.size() && end - at < kLongestChunk && zeros < kShortestGap) {
            zeros = zero(bytes[end++]) ? zeros + 1 : 0;
        }
        append_chunk(out, part, at, bytes.subspan(at, end - at - zeros));
        at = end;
    }
}

void write_file(const fs::path& path, Bytes bytes, std::uint64_t size) {
    const auto file = os::FileSystem::posix().create(path);
    file->write(bytes.first(std::min<std::uint64_t>(bytes.size(), size)), 0);
    file->truncate(size);
}

}  // namespace

std::uint64_t Image::log_offset(std::size_t part) {
    return part == 0 ? 0 : Log::kHeaderSize + (part - 1) * Log::kWindowCap;
}

Image Image::read(const fs::path& store) {
    Image image;
    os::FileSystem& files = os::FileSystem::posix();
    const auto data = files.open(store / "data", os::Access::read_only);
    const auto log_file = files.open(store / "log", os::Access::read_only);
    image.data = read_some(*data, 0, kMostData);
    image.data_size = data->size();
    image.log_size = log_file->size();
    for (std::size_t part = 0; part < kLogParts; ++part) {
        image.log[part] = read_some(*log_file, log_offset(part), part == 0 ? Log::kHeaderSize : kMostLog);
    }
    return image;
}

void Image::write(const fs::path& store) const {
    fs::remove_all(store);
    fs::create_directories(store);
    write_file(store / "data", data, data_size);
    if (!lock.empty()) write_file(store / "lock", lock, lock.size());
    const auto log_file = os::FileSystem::posix().create(store / "log");
    for (std::size_t part = 0; part < kLogParts; ++part) {
        if (!log[part].empty() && log_offset(part) < log_size) log_file->write(Bytes(log[part]), log_offset(part));
    }
    log_file->truncate(log_size);
}

Image Image::unpack(Bytes packed) {
    Image image;
    if (packed.size() < 16) return image;
    image.data_size = std::min(codec::load<std::uint64_t>(packed.data()), kLongestData);
    image.log_size = std::min(codec::load<std::uint64_t>(packed.data() + 8), kLongestLog);
    for (packed = packed.subspan(16); packed.size() > kChunkHeader;) {
        const auto number = static_cast<std::size_t>(packed[0]);
        const std::size_t offset = codec::load<std::uint32_t>(packed.data() + 1);
        const std::size_t wanted = codec::load<std::uint16_t>(packed.data() + 5);
        packed = packed.subspan(kChunkHeader);
        const Bytes bytes = packed.first(std::min(wanted, packed.size()));
        packed = packed.subspan(bytes.size());
        auto* part = part_of(image, number);
        if (part == nullptr || offset + bytes.size() > most_of(number)) continue;
        if (part->size() < offset + bytes.size()) part->resize(offset + bytes.size());
        std::ranges::copy(bytes, part->begin() + static_cast<std::ptrdiff_t>(offset));
    }
    // Whoever changes pages expects whole ones.
    image.data.resize(std::min<std::size_t>(kMostData, (image.data.size() + 4095) / 4096 * 4096));
    return image;
}

std::vector<std::byte> Image::pack() const {
    std::vector<std::byte> out(16);
    codec::store<std::uint64_t>(out.data(), data_size);
    codec::store<std::uint64_t>(out.data() + 8, log_size);
    append_part(out, 0, data);
    for (std::size_t part = 0; part < kLogParts; ++part) append_part(out, part + 1, log[part]);
    append_part(out, kLogParts + 1, lock);
    return out;
}

std::vector<std::byte> read_bytes(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(in), {}};
    const Bytes bytes = as_bytes({text.data(), text.size()});
    return {bytes.begin(), bytes.end()};
}

void write_bytes(const fs::path& file, Bytes bytes) {
    const std::string_view text = as_text(bytes);
    std::ofstream(file, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

}  // namespace pyrsistence::fuzz
