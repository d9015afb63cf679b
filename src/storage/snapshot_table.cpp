#include "storage/snapshot_table.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

namespace pyrsistence::storage {

namespace {

using codec::load;
using codec::load48;
using codec::store;
using codec::store48;

constexpr std::size_t kFields = 90;  ///< before the name

[[noreturn]] void corrupt(PageId page, const std::string& what) {
    throw CorruptionError("page " + std::to_string(page) + " of data: the table of snapshots " + what +
                          "; restore a backup");
}

void encode_fields(const NamedSnapshot& snapshot, std::byte* p) {
    store<std::uint64_t>(p, snapshot.created);
    store<std::uint64_t>(p + 8, snapshot.checkpoint);
    store<std::uint64_t>(p + 16, snapshot.pages.epoch);
    store<std::uint64_t>(p + 24, snapshot.pages.page_count);
    snapshot.pages.space_map.encode(p + 32);
    store48(p + 52, snapshot.catalog.page);
    p[58] = std::byte(snapshot.catalog.level);
    store<std::uint32_t>(p + 60, snapshot.catalog.containers);
    snapshot.table.encode(p + 64);
    store<std::uint16_t>(p + 88, static_cast<std::uint16_t>(snapshot.name.size()));
}

NamedSnapshot decode_fields(const std::byte* p) {
    NamedSnapshot snapshot;
    snapshot.created = load<std::uint64_t>(p);
    snapshot.checkpoint = load<std::uint64_t>(p + 8);
    snapshot.pages = {load<std::uint64_t>(p + 16), load<std::uint64_t>(p + 24), ExtentRef::decode(p + 32)};
    snapshot.catalog = {load48(p + 52), static_cast<unsigned>(p[58]), load<std::uint32_t>(p + 60)};
    snapshot.table = ExtentRef::decode(p + 64);
    return snapshot;
}

}  // namespace

std::vector<std::byte> encode_snapshots(const SnapshotTable& table) {
    std::vector<std::byte> bytes;
    for (const NamedSnapshot& snapshot : table) {
        const std::size_t at = bytes.size();
        bytes.resize(at + kFields);
        encode_fields(snapshot, bytes.data() + at);
        const Bytes name = as_bytes(snapshot.name);
        bytes.insert(bytes.end(), name.begin(), name.end());
    }
    return bytes;
}

SnapshotTable decode_snapshots(Bytes bytes, std::uint64_t epoch) {
    SnapshotTable table;
    std::uint64_t last = 0;
    while (!bytes.empty()) {
        if (bytes.size() < kFields) corrupt(0, "ends within an entry");
        NamedSnapshot snapshot = decode_fields(bytes.data());
        const std::size_t length = load<std::uint16_t>(bytes.data() + 88);
        bytes = bytes.subspan(kFields);
        if (length == 0 || length > bytes.size()) corrupt(0, "has a name beyond its end");
        snapshot.name = as_text(bytes.first(length));
        bytes = bytes.subspan(length);
        if (snapshot.pages.epoch <= last || snapshot.pages.epoch >= epoch) {
            corrupt(0, "names epoch " + std::to_string(snapshot.pages.epoch) + " out of order");
        }
        last = snapshot.pages.epoch;
        table.push_back(std::move(snapshot));
    }
    return table;
}

SnapshotTable read_snapshots(os::File& data, const Meta& meta) {
    const ExtentRef& ref = meta.snapshots;
    if (ref.bytes == 0) return {};
    const std::uint64_t size = data.size();
    if (ref.first < kMetaPages || ref.first >= size / kPageSize || ref.bytes > size - ref.first * kPageSize) {
        corrupt(ref.first, "lies behind the end of the file");
    }
    std::vector<std::byte> bytes(ref.bytes);
    data.read(bytes, ref.first * kPageSize);
    if (XXH3_64bits(bytes.data(), bytes.size()) != ref.checksum) corrupt(ref.first, "has another checksum");
    return decode_snapshots(bytes, meta.pages.epoch);
}

}  // namespace pyrsistence::storage
