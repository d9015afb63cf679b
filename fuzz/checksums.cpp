// Everything that has a checksum is given the right one, from the inside out.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <optional>

#include "fuzz/mutate.hpp"
#include "storage/log.hpp"
#include "storage/meta.hpp"
#include "structures/slotted_page.hpp"

namespace pyrsistence::fuzz {

namespace {

using codec::load;
using codec::store;
using storage::ExtentRef;
using storage::kPageSize;
using storage::Log;
using storage::Meta;
using storage::PageKind;
using Leaf = structures::SlottedPage;

constexpr std::size_t kEntrySize = 20;       ///< of the space map's directory
constexpr std::size_t kSnapshotFields = 90;  ///< of an entry of the table, before the name
constexpr std::size_t kSnapshotSpace = 32, kSnapshotTable = 64, kSnapshotName = 88;
constexpr std::size_t kMetaSpace = 40, kMetaSnapshots = 120;
constexpr std::size_t kReferenceChecksum = 12;

std::uint64_t hash(Bytes bytes, std::uint64_t seed = 0) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

/// What a reference leads to, as far as it is there: behind the content the file is zero.
std::optional<Bytes> extent(const Image& image, const ExtentRef& ref) {
    if (ref.first >= image.data.size() / kPageSize) return std::nullopt;
    const Bytes rest = Bytes(image.data).subspan(ref.first * kPageSize);
    if (ref.bytes == 0 || ref.bytes > rest.size()) return std::nullopt;
    return rest.first(ref.bytes);
}

/// Gives the reference at this place the checksum of what it leads to.
void mend_reference(const Image& image, std::byte* place) {
    if (const auto bytes = extent(image, ExtentRef::decode(place))) {
        store(place + kReferenceChecksum, hash(*bytes));
    }
}

void mend_page(Image& image, PageId id) {
    std::byte* page = image.data.data() + id * kPageSize;
    if (storage::page_kind(page) == PageKind::leaf) {
        const unsigned slots = std::min<unsigned>(Leaf::slots(page), (kPageSize - Leaf::kEnds) / Leaf::kSlot);
        for (unsigned i = 0; i < slots; ++i) {
            const unsigned end = Leaf::end(page, i);
            const bool whole = Leaf::external(page, i) && end <= kPageSize - Leaf::kEnds && end >= ExtentRef::kEncodedSize;
            if (whole) mend_reference(image, page + kPageSize - end);
        }
    }
    store(page, static_cast<std::uint32_t>(hash({page + 4, kPageSize - 4}, id)));
}

/// The blocks of a space map, then its directory.
void mend_space_map(Image& image, std::byte* reference) {
    const ExtentRef ref = ExtentRef::decode(reference);
    if (!extent(image, ref)) return;
    for (std::size_t at = 0; at + kEntrySize <= ref.bytes; at += kEntrySize) {
        std::byte* entry = image.data.data() + ref.first * kPageSize + at;
        if (const auto block = extent(image, {codec::load48(entry), kPageSize, 0}); block && codec::load48(entry) != 0) {
            store(entry + kReferenceChecksum, hash(*block));
        }
    }
    mend_reference(image, reference);
}

void mend_snapshots(Image& image, std::byte* reference) {
    const ExtentRef ref = ExtentRef::decode(reference);
    if (!extent(image, ref)) return;
    for (std::size_t at = 0; at + kSnapshotFields <= ref.bytes;) {
        std::byte* entry = image.data.data() + ref.first * kPageSize + at;
        mend_space_map(image, entry + kSnapshotSpace);
        mend_reference(image, entry + kSnapshotTable);
        at += kSnapshotFields + load<std::uint16_t>(entry + kSnapshotName);
    }
    mend_reference(image, reference);
}

void mend_meta(Image& image, PageId id) {
    if ((id + 1) * kPageSize > image.data.size()) return;
    std::byte* page = image.data.data() + id * kPageSize;
    if (load<std::uint64_t>(page) == 0) return;
    mend_snapshots(image, page + kMetaSnapshots);
    mend_space_map(image, page + kMetaSpace);
    store(page + Meta::kSize - 8, hash({page, Meta::kSize - 8}));
}

void mend_window(std::vector<std::byte>& window) {
    if (window.size() < Log::kHeaderSize) return;
    std::byte* p = window.data();
    const auto salt = load<std::uint64_t>(p + 16);
    std::uint64_t chain = hash({p, 64});
    store(p + 64, chain);
    store(p + 80, hash({p + 72, 8}, salt));
    for (std::size_t at = Log::kHeaderSize; at + Log::kRecordHeader <= window.size();) {
        const std::uint64_t size = Log::kRecordHeader + load<std::uint32_t>(p + at + 8);
        if (size == Log::kRecordHeader || size > window.size() - at) return;
        chain = hash({p + at + 8, size - 8}, salt ^ chain);
        store(p + at, chain);
        at += size;
    }
}

}  // namespace

std::vector<PageId> sound_pages(const Image& image) {
    std::vector<PageId> pages;
    for (PageId id = storage::kMetaPages; id < image.data.size() / kPageSize; ++id) {
        const std::byte* page = image.data.data() + id * kPageSize;
        const auto expected = static_cast<std::uint32_t>(hash({page + 4, kPageSize - 4}, id));
        if (page[4] != std::byte{} && load<std::uint32_t>(page) == expected) pages.push_back(id);
    }
    return pages;
}

void mend_checksums(Image& image, const std::vector<PageId>& pages) {
    for (const PageId id : pages) {
        if ((id + 1) * kPageSize <= image.data.size()) mend_page(image, id);
    }
    for (PageId id = 0; id < storage::kMetaPages; ++id) mend_meta(image, id);
    if (image.log[0].size() >= 24) store(image.log[0].data() + 16, hash(Bytes(image.log[0]).first(16)));
    for (std::size_t part = 1; part < Image::kLogParts; ++part) mend_window(image.log[part]);
}

}  // namespace pyrsistence::fuzz
