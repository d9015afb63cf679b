#include "fuzz/mutate.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "containers/layout.hpp"
#include "storage/log.hpp"
#include "storage/meta.hpp"

namespace pyrsistence::fuzz {

namespace {

using codec::load;
using codec::store;
using codec::store48;
using storage::ExtentRef;
using storage::kPageSize;
using storage::Log;
using storage::Meta;
using storage::PageKind;
using Counted = structures::InnerNode<true>;
using HashInner = structures::InnerNode<false>;
using structures::KeyNode;
using Index = structures::BucketTree;
using Leaf = structures::SlottedPage;
using Root = storage::RootPage;

constexpr std::uint64_t kMost48 = (std::uint64_t{1} << 48) - 1;

void store16(std::byte* place, std::uint64_t value) { store(place, static_cast<std::uint16_t>(value)); }

/// One change after the other to one store.
class Surgeon {
public:
    Surgeon(Image& image, Random& random) : image_(image), random_(random), pages_(sound_pages(image)) {}

    void operate();
    const std::vector<PageId>& pages() const { return pages_; }

private:
    PageId count() const { return image_.data.size() / kPageSize; }
    std::byte* page(PageId id) { return image_.data.data() + id * kPageSize; }
    PageId some_page() { return pages_.empty() ? 0 : pages_[random_.below(pages_.size())]; }
    /// A page id: mostly one of those that exist.
    std::uint64_t some_id() { return random_.chance(70) ? some_page() : random_.number(count()) & kMost48; }
    std::uint64_t number(std::uint64_t near) { return random_.number(near); }
    PageId some_page_of(PageKind kind);

    void change_meta();
    void change_page(PageId id);
    void change_header(std::byte* p);
    void change_catalog(std::byte* p);
    void change_root(std::byte* p);
    void change_leaf(std::byte* p);
    void change_record(std::byte* p);
    template <class Node>
    void change_inner(std::byte* p);
    void change_key_inner(std::byte* p);
    void change_bytes(std::byte* p);
    void change_type(std::byte* root);
    void change_bucket(std::byte* p);
    void change_filter(std::byte* p);
    void copy_page();
    void change_reference(std::byte* place);
    static std::optional<Meta> decoded(const std::byte* page);
    std::byte* reference_of_meta(std::size_t offset);
    void change_space_map();
    void change_snapshots();
    void change_window();
    void change_log_record();
    void change_sizes();
    void change_anything();

    Image& image_;
    Random& random_;
    const std::vector<PageId> pages_;  ///< to be given a checksum in the end
};

PageId Surgeon::some_page_of(PageKind kind) {
    std::vector<PageId> found;
    for (const PageId id : pages_) {
        if (storage::page_kind(page(id)) == kind) found.push_back(id);
    }
    return found.empty() ? some_page() : found[random_.below(found.size())];
}

void Surgeon::operate() {
    if (count() < storage::kMetaPages) return change_anything();
    constexpr PageKind kKinds[] = {PageKind::catalog, PageKind::root,       PageKind::leaf,   PageKind::inner,
                                   PageKind::bucket,  PageKind::hash_inner, PageKind::filter, PageKind::key_inner,
                                   PageKind::bytes};
    switch (random_.below(16)) {
        case 0:
        case 1: return change_meta();
        case 2: return copy_page();
        case 3: return change_space_map();
        case 4: return change_snapshots();
        case 5: return change_window();
        case 6:
        case 7: return change_log_record();
        case 8: return random_.chance(30) ? change_sizes() : change_anything();
        case 9: return change_page(some_page());
        default: return change_page(some_page_of(kKinds[random_.below(std::size(kKinds))]));
    }
}

void Surgeon::change_meta() {
    std::byte* p = page(random_.below(storage::kMetaPages));
    auto meta = decoded(p);
    if (!meta) return;
    switch (random_.below(14)) {
        case 0: meta->checkpoint = number(meta->checkpoint); break;
        case 1: meta->pages.epoch = number(meta->pages.epoch); break;
        case 2: meta->pages.page_count = number(meta->pages.page_count); break;
        case 3: meta->catalog.page = some_id(); break;
        case 4: meta->catalog.level = static_cast<unsigned>(number(meta->catalog.level) & 0xff); break;
        case 5: meta->catalog.containers = static_cast<ContainerId>(number(meta->catalog.containers)); break;
        case 6: meta->log.generation = number(meta->log.generation); break;
        case 7: meta->log.salt = random_(); break;
        case 8: meta->log.sequence = number(meta->log.sequence); break;
        case 9: meta->hash_seed = random_(); break;
        case 10: meta->pages.space_map.first = some_id(); break;
        case 11: meta->pages.space_map.bytes = number(meta->pages.space_map.bytes) & kMost48; break;
        case 12: meta->snapshots.first = some_id(); break;
        default: meta->snapshots.bytes = number(meta->snapshots.bytes) & kMost48; break;
    }
    meta->encode({p, kPageSize});
}

void Surgeon::change_page(PageId id) {
    if (id < storage::kMetaPages || id >= count()) return;
    std::byte* p = page(id);
    if (random_.chance(15)) return change_header(p);
    switch (storage::page_kind(p)) {
        case PageKind::catalog: return change_catalog(p);
        case PageKind::root: return change_root(p);
        case PageKind::leaf: return change_leaf(p);
        case PageKind::inner: return change_inner<Counted>(p);
        case PageKind::bucket: return change_bucket(p);
        case PageKind::hash_inner: return change_inner<HashInner>(p);
        case PageKind::filter: return change_filter(p);
        case PageKind::key_inner: return change_key_inner(p);
        case PageKind::bytes: return change_bytes(p);
        default: p[random_.below(kPageSize)] = std::byte(random_()); return;
    }
}

void Surgeon::change_header(std::byte* p) {
    switch (random_.below(4)) {
        case 0: p[4] = std::byte(random_.below(12)); break;
        case 1: p[5] = std::byte(number(storage::page_level(p))); break;
        case 2: storage::set_page_count(p, number(storage::page_count(p))); break;
        default: store(p + 8, number(storage::page_epoch(p))); break;
    }
}

void Surgeon::change_catalog(std::byte* p) {
    const std::uint64_t place = random_.below(random_.chance(80) ? storage::page_count(p) : 680);
    store48(p + sizeof(storage::PageHeader) + 6 * std::min<std::uint64_t>(place, 679), some_id());
}

void Surgeon::change_root(std::byte* p) {
    using containers::DictRoot;
    if (Root::type(p) == storage::ContainerType::array && random_.chance(40)) return change_type(p);
    constexpr std::size_t kTrees[] = {DictRoot::kEntries, DictRoot::kIndex, DictRoot::kDelta, DictRoot::kFilter};
    const bool one_tree = Root::type(p) > storage::ContainerType::set;  // nothing else is read there
    std::byte* tree = p + kTrees[random_.below(one_tree && random_.chance(90) ? 1 : std::size(kTrees))];
    std::byte* sweep = p + DictRoot::kFilter + structures::RootField::kSize;
    switch (random_.below(10)) {
        case 0: return store48(tree, some_id());
        case 1: tree[6] = std::byte(number(structures::RootField::height(tree))); return;
        case 2: return store(tree + 8, number(structures::RootField::entries(tree)));
        case 3: return store(tree + 16, number(structures::RootField::extents(tree)));
        case 4: return store48(p + DictRoot::kNextId, number(40) & kMost48);
        case 5: return store16(p + Root::kNameSize, number(load<std::uint16_t>(p + Root::kNameSize)));
        case 6: return store48(sweep, number(Index::kTags.high) & kMost48);
        case 7: return store16(sweep + 6, number(0));
        case 8: std::memset(tree, 0, structures::RootField::kSize); return;
        default: p[Root::kNameSize + 2 + random_.below(8)] = std::byte(random_()); return;
    }
}

/// Of the items of an array.
void Surgeon::change_type(std::byte* root) {
    using containers::ArrayRoot;
    constexpr std::size_t kDimensions = ArrayRoot::kType + 6;
    switch (random_.below(4)) {
        case 0: return store48(root + ArrayRoot::kType, number(codec::load48(root + ArrayRoot::kType)) & kMost48);
        case 1: return store48(root + ArrayRoot::kType, random_.below(5000));
        case 2: root[kDimensions] = std::byte(number(0)); return;
        default: root[kDimensions + random_.below(20)] = std::byte(random_()); return;
    }
}

void Surgeon::change_leaf(std::byte* p) {
    const std::uint64_t slots = std::max(1u, Leaf::slots(p));
    std::byte* end = p + Leaf::kEnds + Leaf::kSlot * std::min<std::uint64_t>(random_.below(slots), 2000);
    switch (random_.below(6)) {
        case 0: return Leaf::set_base(p, number(Leaf::base(p)) & kMost48);
        case 1: return Leaf::set_holes(p, number(Leaf::holes(p)));
        case 2: return store16(end, number(load<std::uint16_t>(end)));
        case 3: return store16(end, load<std::uint16_t>(end) ^ Leaf::kExternal);
        default: return change_record(p);
    }
}

/// Bytes of records: items, or references to extents.
void Surgeon::change_record(std::byte* p) {
    const unsigned slots = std::min(Leaf::slots(p), 2000u);
    if (slots == 0) return;
    const auto i = static_cast<unsigned>(random_.below(slots));
    const unsigned end = Leaf::end(p, i), begin = Leaf::begin(p, i);
    if (end <= begin || end > Leaf::kRoom) return;
    std::byte* record = p + kPageSize - end;
    if (Leaf::external(p, i) && end >= ExtentRef::kEncodedSize) {
        // In a tree by key, a copy of the key lies behind the reference.
        const bool head = end - begin > ExtentRef::kEncodedSize && random_.chance(50);
        if (!head) return change_reference(record);
        record[random_.chance(50) ? ExtentRef::kEncodedSize : random_.below(end - begin)] = std::byte(random_());
        return;
    }
    // The first two bytes are a length, or a tag and what it tells of what follows.
    const unsigned size = end - begin;
    record[random_.below(random_.chance(70) ? std::min(2u, size) : size)] = std::byte(random_());
}

template <class Node>
void Surgeon::change_inner(std::byte* p) {
    const auto n = std::clamp(storage::page_count(p), 1u, Node::kCapacity);
    const auto i = static_cast<unsigned>(random_.below(n)), other = static_cast<unsigned>(random_.below(n));
    switch (random_.below(5)) {
        case 0: return Node::set_child(p, i, some_id());
        case 1: return Node::set_child(p, i, Node::child(p, other));
        case 2: return Node::set_separator(p, i, number(Node::separator(p, i)) & kMost48);
        case 3:
            if (Node::kSeparators != Node::kTotals) store(p + Node::kTotals + 8 * i, number(Node::total(p, i)));
            return;
        default:
            // Everything below the first child, so often that whoever counts visits has much to do.
            for (unsigned k = 0; k < n; ++k) Node::set_child(p, k, Node::child(p, 0));
            return;
    }
}

void Surgeon::change_key_inner(std::byte* p) {
    const unsigned slots = std::clamp(Leaf::slots(p), 1u, 2000u);
    const auto i = static_cast<unsigned>(random_.below(slots)), other = static_cast<unsigned>(random_.below(slots));
    const unsigned end = Leaf::end(p, i), begin = Leaf::begin(p, i);
    const bool whole = end <= Leaf::kRoom && end >= begin + KeyNode::kSeparator;
    std::byte* slot = p + kPageSize - end;
    switch (random_.below(7)) {
        case 0: return whole ? store48(slot, some_id()) : change_leaf(p);
        case 1: {
            const bool sound = Leaf::end(p, other) <= Leaf::kRoom && Leaf::length(p, other) >= KeyNode::kSeparator;
            return whole && sound ? store48(slot, KeyNode::child(p, other)) : change_leaf(p);
        }
        case 2: return whole ? store48(slot + KeyNode::kTotal, number(KeyNode::total(p, i)) & kMost48) : change_leaf(p);
        case 3:
            // Everything below the first child: see change_inner().
            for (unsigned k = 0; k < slots; ++k) {
                if (Leaf::end(p, k) > Leaf::kRoom || Leaf::length(p, k) < KeyNode::kSeparator) return;
                store48(p + kPageSize - Leaf::end(p, k), KeyNode::child(p, 0));
            }
            return;
        case 4: return change_leaf(p);
        default:
            if (whole && end > begin + KeyNode::kSeparator) {
                slot[KeyNode::kSeparator + random_.below(end - begin - KeyNode::kSeparator)] = std::byte(random_());
            }
            return;
    }
}

void Surgeon::change_bytes(std::byte* p) {
    if (random_.chance(70)) return storage::set_page_count(p, number(storage::page_count(p)));
    p[sizeof(storage::PageHeader) + random_.below(kPageSize - sizeof(storage::PageHeader))] = std::byte(random_());
}

void Surgeon::change_bucket(std::byte* p) {
    const auto n = std::clamp(storage::page_count(p), 1u, Index::kCapacity);
    std::byte* slot = p + Index::kSlots + Index::kSlot * random_.below(n);
    if (random_.chance(50)) store48(slot + 5, number(codec::load48(slot + 5)) & kMost48);
    else slot[random_.below(5)] = std::byte(random_());
}

void Surgeon::change_filter(std::byte* p) {
    std::byte* bits = p + kPageSize / 64 * (1 + random_.below(63));
    switch (random_.below(4)) {
        case 0: return storage::set_page_count(p, number(storage::page_count(p)));
        case 1: std::memset(bits, 0, static_cast<std::size_t>(p + kPageSize - bits)); return;
        case 2: std::memset(bits, 0xff, static_cast<std::size_t>(p + kPageSize - bits)); return;
        default: bits[random_.below(64)] = std::byte(random_()); return;
    }
}

/// A page stands where another one belongs: with its checksum, or a reference to a sibling.
void Surgeon::copy_page() {
    const PageId from = some_page(), to = random_.chance(80) ? some_page() : random_.below(count());
    if (from != to) std::copy_n(page(from), kPageSize, page(to));
}

void Surgeon::change_reference(std::byte* place) {
    const ExtentRef ref = ExtentRef::decode(place);
    switch (random_.below(3)) {
        case 0: return store48(place, some_id());
        case 1: return store48(place + 6, number(ref.bytes) & kMost48);
        default: return store(place + 12, random_());
    }
}

/// Nothing of a meta page that an earlier mutation damaged, or gave a newer version.
std::optional<Meta> Surgeon::decoded(const std::byte* page) {
    try {
        return Meta::decode({page, kPageSize});
    } catch (const FormatError&) {
        return std::nullopt;
    }
}

/// Where a reference in the newest meta page leads, if that exists.
std::byte* Surgeon::reference_of_meta(std::size_t offset) {
    const auto first = decoded(page(0)), second = decoded(page(1));
    const PageId newest = second && (!first || second->checkpoint > first->checkpoint) ? 1 : 0;
    const ExtentRef ref = ExtentRef::decode(page(newest) + offset);
    return ref.bytes > 0 && ref.first < count() && ref.bytes <= (count() - ref.first) * kPageSize ? page(ref.first)
                                                                                                 : nullptr;
}

void Surgeon::change_space_map() {
    std::byte* entry = reference_of_meta(40);
    if (entry == nullptr) return;
    const PageId block = codec::load48(entry);
    switch (random_.below(5)) {
        case 0: return store48(entry, some_id());
        case 1: return store(entry + 8, static_cast<std::uint32_t>(number(load<std::uint32_t>(entry + 8))));
        default: break;
    }
    if (block >= count()) return;
    // Pages in use become free, or the reverse; the count fits in most cases.
    for (std::uint64_t flips = 1 + random_.below(8); flips > 0; --flips) {
        const std::uint64_t bit = random_.below(random_.chance(90) ? count() : 32768);
        std::byte& byte = page(block)[bit / 8];
        const std::byte mask = std::byte{1} << (bit % 8);
        if (random_.chance(80)) {
            const int change = (byte & mask) != std::byte{} ? -1 : 1;
            store(entry + 8, load<std::uint32_t>(entry + 8) + static_cast<std::uint32_t>(change));
        }
        byte ^= mask;
    }
}

void Surgeon::change_snapshots() {
    std::byte* entry = reference_of_meta(120);
    if (entry == nullptr) return;
    switch (random_.below(8)) {
        case 0: return store(entry + 8, number(load<std::uint64_t>(entry + 8)));
        case 1: return store(entry + 16, number(load<std::uint64_t>(entry + 16)));
        case 2: return store(entry + 24, number(load<std::uint64_t>(entry + 24)));
        case 3: return change_reference(entry + 32);
        case 4: return store48(entry + 52, some_id());
        case 5: entry[58] = std::byte(number(0)); return;
        case 6: return change_reference(entry + 64);
        default: return store16(entry + 88, number(load<std::uint16_t>(entry + 88)));
    }
}

void Surgeon::change_window() {
    std::vector<std::byte>& window = image_.log[1 + random_.below(Image::kLogParts - 1)];
    if (window.size() < Log::kHeaderSize) return;
    std::byte* field = window.data() + 8 * (1 + random_.below(9));
    store(field, number(load<std::uint64_t>(field)));
}

void Surgeon::change_log_record() {
    std::vector<std::byte>& window = image_.log[1 + random_.below(Image::kLogParts - 1)];
    std::vector<std::size_t> records;
    for (std::size_t at = Log::kHeaderSize; at + Log::kRecordHeader < window.size();) {
        const std::uint64_t length = load<std::uint32_t>(window.data() + at + 8);
        if (length == 0 || length > window.size() - at - Log::kRecordHeader) break;
        records.push_back(at);
        at += Log::kRecordHeader + length;
    }
    if (records.empty()) return;
    std::byte* record = window.data() + records[random_.below(records.size())];
    std::byte* payload = record + Log::kRecordHeader;
    const auto length = load<std::uint32_t>(record + 8);
    switch (random_.below(8)) {
        case 0: payload[0] = std::byte(random_.below(24) | (random_.chance(20) ? 0x80 : 0)); break;
        case 1:
            payload[std::min<std::uint64_t>(1 + random_.below(2), length - 1)] = std::byte(random_.below(10));
            break;
        case 2: store(record + 8, static_cast<std::uint32_t>(number(length))); break;
        case 3: store(record + 12, static_cast<std::uint32_t>(number(load<std::uint32_t>(record + 12)))); break;
        case 4: store(record + 16, number(load<std::uint64_t>(record + 16))); break;
        case 5:
            if (length >= 22) change_reference(payload + 2);
            break;
        case 6:
            if (length >= 8) store48(payload + 2, number(codec::load48(payload + 2)) & kMost48);
            break;
        default: payload[random_.below(length)] = std::byte(random_()); break;
    }
}

void Surgeon::change_sizes() {
    if (random_.chance(60)) image_.data_size = number(image_.data_size);
    else image_.log_size = number(image_.log_size);
}

void Surgeon::change_anything() {
    std::vector<std::byte>& part = random_.chance(70) ? image_.data : image_.log[random_.below(Image::kLogParts)];
    if (!part.empty()) part[random_.below(part.size())] = std::byte(random_());
}

}  // namespace

std::uint64_t Random::number(std::uint64_t near) {
    const std::uint64_t step = below(3);
    switch (below(6)) {
        case 0: return step;
        case 1: return near + step - 1;
        case 2: return (std::uint64_t{1} << below(64)) + step - 1;
        case 3: return 0 - step;
        case 4: return near / 2 + below(2 * near + 1);
        default: return (*this)() >> below(64);
    }
}

std::vector<std::byte> mutate_store(Bytes packed, Random& random) {
    Image image = Image::unpack(packed);
    Surgeon surgeon(image, random);
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) surgeon.operate();
    if (random.chance(95)) mend_checksums(image, surgeon.pages());
    return image.pack();
}

std::vector<std::byte> mutate_bytes(Bytes bytes, Random& random) {
    std::vector<std::byte> out(bytes.begin(), bytes.end());
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
        const auto place = out.begin() + static_cast<std::ptrdiff_t>(random.below(out.size() + 1));
        const auto length = static_cast<std::ptrdiff_t>(
            std::min<std::uint64_t>(1 + random.below(16), static_cast<std::uint64_t>(out.end() - place)));
        switch (random.below(5)) {
            case 0: out.insert(place, std::byte(random())); break;
            case 1: out.erase(place, place + length); break;
            case 2: {
                const std::vector<std::byte> again(place, place + length);
                out.insert(out.begin() + static_cast<std::ptrdiff_t>(random.below(out.size() + 1)), again.begin(), again.end());
                break;
            }
            case 3:
                if (place != out.end()) *place = std::byte(random.number(static_cast<std::uint64_t>(*place)));
                break;
            default:
                if (place != out.end()) *place ^= std::byte{1} << random.below(8);
                break;
        }
    }
    return out;
}

}  // namespace pyrsistence::fuzz
