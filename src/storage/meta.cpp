#include "storage/meta.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pyrsistence::storage {

namespace {

using codec::load;
using codec::load48;
using codec::store;
using codec::store48;

constexpr char kMagic[9] = "pyrsdata";
constexpr std::size_t kMagicSize = 8;
constexpr std::size_t kChecksum = Meta::kSize - 8;

bool has_magic(Bytes page) {
    return page.size() >= Meta::kSize && std::memcmp(page.data(), kMagic, kMagicSize) == 0;
}

}  // namespace

void Meta::encode(MutableBytes page) const {
    std::byte* p = page.data();
    std::memset(p, 0, page.size());
    std::memcpy(p, kMagic, kMagicSize);
    store<std::uint32_t>(p + 8, kFormatVersion);
    store<std::uint32_t>(p + 12, kPageSize);
    store<std::uint64_t>(p + 16, checkpoint);
    store<std::uint64_t>(p + 24, pages.epoch);
    store<std::uint64_t>(p + 32, pages.page_count);
    pages.space_map.encode(p + 40);
    store48(p + 60, catalog.page);
    p[66] = std::byte(catalog.level);
    store<std::uint32_t>(p + 68, catalog.containers);
    store<std::uint64_t>(p + 72, log.generation);
    store<std::uint64_t>(p + 80, log.salt);
    store<std::uint64_t>(p + 88, log.sequence);
    store<std::uint64_t>(p + 96, hash_seed);
    std::memcpy(p + 104, store_id.data(), store_id.size());
    snapshots.encode(p + 120);
    store<std::uint64_t>(p + kChecksum, XXH3_64bits(p, kChecksum));
}

std::optional<Meta> Meta::decode(Bytes page) {
    if (!has_magic(page)) return std::nullopt;
    const std::byte* p = page.data();
    if (load<std::uint64_t>(p + kChecksum) != XXH3_64bits(p, kChecksum)) return std::nullopt;
    const auto version = load<std::uint32_t>(p + 8);
    if (version > kFormatVersion) {
        throw FormatError("the store has format version " + std::to_string(version) + ", this pyrsistence reads up to " +
                          std::to_string(kFormatVersion) + "; upgrade pyrsistence");
    }
    if (version == 0 || load<std::uint32_t>(p + 12) != kPageSize) return std::nullopt;
    Meta meta;
    meta.checkpoint = load<std::uint64_t>(p + 16);
    meta.pages = {load<std::uint64_t>(p + 24), load<std::uint64_t>(p + 32), ExtentRef::decode(p + 40)};
    meta.catalog = {load48(p + 60), static_cast<unsigned>(p[66]), load<std::uint32_t>(p + 68)};
    meta.log = {load<std::uint64_t>(p + 72), load<std::uint64_t>(p + 80), load<std::uint64_t>(p + 88)};
    meta.hash_seed = load<std::uint64_t>(p + 96);
    std::memcpy(meta.store_id.data(), p + 104, meta.store_id.size());
    meta.snapshots = ExtentRef::decode(p + 120);
    return meta;
}

Meta Meta::read(os::File& data, const std::string& path) {
    std::array<std::byte, kMetaPages * kPageSize> pages{};
    const std::size_t size = data.read(pages, 0);
    const Bytes all = Bytes(pages).first(size);
    std::optional<Meta> best;
    bool magic = false;
    for (std::size_t at = 0; at + kSize <= all.size(); at += kPageSize) {
        const Bytes page = all.subspan(at, std::min(kPageSize, all.size() - at));
        magic = magic || has_magic(page);
        const auto meta = decode(page);
        if (meta && (!best || meta->checkpoint > best->checkpoint)) best = meta;
    }
    if (best) {
        best->require_possible(path);
        return *best;
    }
    if (magic) throw CorruptionError("pages 0 and 1 of " + path + "/data: both meta pages are damaged; restore a backup, or save what can be read by verify(repair=True)");
    throw FormatError(path + " is not a pyrsistence store: its file 'data' does not begin with a meta page; if there was one, pyrsistence.verify(path, repair=True) saves what can be read");
}

void Meta::require_possible(const std::string& path) const {
    // Numbers that are only ever counted up must not reach the end of their range.
    for (const std::uint64_t counted : {checkpoint, pages.epoch, log.generation, log.sequence}) {
        if (counted < kMostCounted) continue;
        throw CorruptionError("page " + std::to_string(checkpoint % kMetaPages) + " of " + path + "/data: " +
                              std::to_string(counted) + " is no number that a store can have counted to; restore a backup");
    }
    if (catalog.level > kMaxCatalogLevel) {
        throw CorruptionError("page " + std::to_string(checkpoint % kMetaPages) + " of " + path + "/data: a catalog of " +
                              std::to_string(catalog.level) + " levels; restore a backup");
    }
}

void Meta::write(os::File& data) const {
    std::array<std::byte, kPageSize> page;
    encode(page);
    data.write(page, (checkpoint % kMetaPages) * kPageSize);
}

}  // namespace pyrsistence::storage
