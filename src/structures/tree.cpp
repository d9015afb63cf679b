#include "structures/tree.hpp"

#include <vector>

namespace pyrsistence::structures {

namespace {

[[noreturn]] void bad_page(PageId id, const char* what) {
    throw CorruptionError("page " + std::to_string(id) + " of data: " + what + "; restore a backup, or save what can be read by verify(repair=True)");
}

void require_child(PageId child, PageId id, PageId page_count) {
    if (child < storage::kMetaPages || child >= page_count) bad_page(id, "a child out of range");
}

[[maybe_unused]] const bool registered = [] {
    storage::Pager::set_validator(storage::PageKind::leaf, &SlottedPage::validate);
    storage::Pager::set_validator(storage::PageKind::inner, &InnerNode<true>::validate);
    storage::Pager::set_validator(storage::PageKind::hash_inner, &InnerNode<false>::validate);
    storage::Pager::set_validator(storage::PageKind::key_inner, &KeyNode::validate);
    return true;
}();

}  // namespace

std::string misplacement(const std::byte* page, storage::PageKind kind, unsigned level) {
    return "kind " + std::to_string(int(storage::page_kind(page))) + " level " +
           std::to_string(storage::page_level(page)) + " where kind " + std::to_string(int(kind)) + " level " +
           std::to_string(level) + " belongs";
}

void misplaced(const std::byte* page, PageId id, storage::PageKind kind, unsigned level) {
    throw CorruptionError("page " + std::to_string(id) + " of data: " + misplacement(page, kind, level) +
                          "; restore a backup, or save what can be read by verify(repair=True)");
}

void too_high(unsigned height) {
    throw CorruptionError("a tree of height " + std::to_string(height) + " in data; at most " +
                          std::to_string(kMaxHeight) + " are possible; restore a backup");
}

void too_many(PageId top, std::uint64_t entries) {
    throw CorruptionError("page " + std::to_string(top) + " of data: the root of this tree counts " +
                          std::to_string(entries) + " entries, more than the store has room for; restore a backup");
}

void no_such_child(PageId top) {
    throw CorruptionError("page " + std::to_string(top) + " of data: the tree below it has fewer leaves than it counts; "
                          "restore a backup, or save what can be read by verify(repair=True)");
}

void reached_again(PageId id) { bad_page(id, "a tree reaches it more than once"); }

template <bool counted>
void InnerNode<counted>::validate(const std::byte* node, PageId id, PageId page_count) {
    const unsigned n = storage::page_count(node);
    if (storage::page_level(node) == 0 || n == 0 || n > kCapacity) bad_page(id, "an inner node of impossible size");
    for (unsigned i = 0; i < n; ++i) {
        require_child(child(node, i), id, page_count);
        if (i == 0) continue;
        if (total(node, i) < total(node, i - 1)) bad_page(id, "entry counts out of order");
        if (separator(node, i) < separator(node, i - 1)) bad_page(id, "separators out of order");
    }
}

template struct InnerNode<true>;
template struct InnerNode<false>;

void KeyNode::validate(const std::byte* node, PageId id, PageId page_count) {
    Slots::validate(node, id, page_count);
    const unsigned n = Slots::slots(node);
    if (storage::page_level(node) == 0 || n == 0) bad_page(id, "an inner node of impossible size");
    for (unsigned i = 0; i < n; ++i) {
        const std::size_t size = Slots::length(node, i);
        if (Slots::external(node, i) || size < kSeparator || size > kSeparator + KeyedRecord::kMaxKey) bad_page(id, "a separator of impossible size");
        require_child(child(node, i), id, page_count);
        if (i > 0 && total(node, i) < total(node, i - 1)) bad_page(id, "entry counts out of order");
        if (i > 1 && key_less(separator(node, i), separator(node, i - 1))) bad_page(id, "separators out of order");
    }
}

void SlottedPage::validate(const std::byte* leaf, PageId id, PageId) {
    const unsigned n = slots(leaf);
    if (kEnds + kSlot * n > storage::kPageSize) bad_page(id, "too many slots");
    unsigned empty = 0;
    for (unsigned i = 0; i < n; ++i) {
        if (end(leaf, i) < begin(leaf, i)) bad_page(id, "slots out of order");
        if (external(leaf, i) && length(leaf, i) < storage::ExtentRef::kEncodedSize) bad_page(id, "a bad extent reference");
        if (length(leaf, i) > kMaxRecord) bad_page(id, "a record that should lie in an extent");
        empty += hole(leaf, i);
    }
    if (used(leaf) > kRoom) bad_page(id, "records beyond the page");
    if (empty != holes(leaf)) bad_page(id, "a wrong number of holes");
}

template <class Node>
std::optional<unsigned> BasicTree<Node>::slot_of_id(const std::byte* leaf, EntryId id) {
    const std::uint64_t slot = id - Leaf::base(leaf);
    if (slot >= Leaf::slots(leaf)) return std::nullopt;
    return static_cast<unsigned>(slot);
}

template <class Node>
void BasicTree<Node>::bad_count(PageId page) { bad_page(page, "fewer entries than its parent counts"); }

template <class Node>
void BasicTree<Node>::bad_order(PageId page) { bad_page(page, "its ids are below those of the leaf before it"); }

template <class Node>
unsigned BasicTree<Node>::checked_slot(const std::byte* leaf, PageId page, std::uint64_t rank) {
    if (rank >= Leaf::entries(leaf)) bad_count(page);
    return Leaf::slot_of_rank(leaf, static_cast<unsigned>(rank));
}

/// Starts loading what is likely to be read of slot i of the leaf, all at once.
template <class Node>
void BasicTree<Node>::prefetch(const std::byte* leaf, const Bounds& bounds, std::uint64_t i) {
    const std::uint64_t n = bounds.high - bounds.low;
    if (i >= n || n > Leaf::kMostEntries) return;
    const std::size_t record = Leaf::likely_place(i, n);
    Spine<Node>::prefetch(leaf, {0, Leaf::kEnds + Leaf::kSlot * i, record - std::min<std::size_t>(record, 64), record});
}

template <class Node>
void BasicTree<Node>::prefetch(EntryId id) const
    requires(!kByKey)
{
    if (spine_.empty()) return;
    const Path path = spine_.to_key(id);
    prefetch(spine_.pager().peek(path.leaf), path.bounds, id - path.bounds.low);
}

template <class Node>
Record BasicTree<Node>::at(std::uint64_t rank) const {
    const Path path = spine_.to_rank(rank);
    prefetch(spine_.pager().read(path.leaf), path.bounds, rank);
    const std::byte* leaf = spine_.leaf(path.leaf);
    return Leaf::record(leaf, checked_slot(leaf, path.leaf, rank));
}

template <class Node>
Record BasicTree<Node>::find(EntryId id) const
    requires(!kByKey)
{
    if (spine_.empty()) return {};
    const Path path = spine_.to_key(id);
    spine_.touch_parent(path);
    prefetch(spine_.pager().read(path.leaf), path.bounds, id - path.bounds.low);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const auto slot = slot_of_id(leaf, id);
    return slot ? Leaf::record(leaf, *slot) : Record{};
}

template <class Node>
EntryId BasicTree<Node>::first_id() const
    requires(!kByKey)
{
    EntryId id = 0;
    for (std::optional<std::uint64_t> at = 0; at;) {
        bool found = false;
        at = scan(*at, [&](EntryId key, const Record&) {
            id = key;
            found = true;
            return false;
        });
        if (found) break;
    }
    return id;
}

template <class Node>
EntryId BasicTree<Node>::last_id() const
    requires(!kByKey)
{
    std::uint64_t rank = size() - 1;
    const Path path = spine_.to_rank(rank);
    const std::byte* leaf = spine_.leaf(path.leaf);
    return Leaf::base(leaf) + checked_slot(leaf, path.leaf, rank);
}

template <class Node>
std::uint64_t BasicTree<Node>::rank_of(EntryId id) const
    requires(!kByKey)
{
    if (spine_.empty()) return 0;
    const Path path = spine_.to_key(id);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const std::uint64_t slot = id < Leaf::base(leaf) ? 0 : id - Leaf::base(leaf);
    const auto clamped = static_cast<unsigned>(std::min<std::uint64_t>(slot, Leaf::slots(leaf)));
    return spine_.entries_before(path) + Leaf::entries_before(leaf, clamped);
}

template <class Node>
void BasicTree<Node>::insert(std::uint64_t rank, const Record& record) {
    if (spine_.empty()) spine_.plant();
    Path path = spine_.to_rank(rank);
    const std::byte* leaf = spine_.leaf(path.leaf);
    if (rank > Leaf::slots(leaf)) bad_count(path.leaf);
    place(path, static_cast<unsigned>(rank), record, true);
}

/// How many keys in the leaf of the path are below this one, or not above it. What is likely to be read is loaded side by
/// side: the slot where the key would be if all were spread evenly, then the records around it.
template <class Node>
template <bool kOrEqual>
unsigned BasicTree<Node>::slot_of(const Path& path, SoughtKey& key) const {
    const std::uint64_t entries = path.bounds.high - path.bounds.low;
    const bool guess = key.bounded() && entries > 0 && entries <= Leaf::kMostEntries;
    if (guess) {
        const unsigned likely = key.guess(static_cast<unsigned>(entries));
        Spine<Node>::prefetch(spine_.pager().read(path.leaf), {0, Leaf::kEnds + Leaf::kSlot * likely});
    }
    const std::byte* leaf = spine_.leaf(path.leaf);
    const unsigned n = Leaf::slots(leaf);
    if (guess && n > 0) {
        constexpr std::size_t kNear = 128;
        const std::size_t likely = storage::kPageSize - Leaf::end(leaf, key.guess(n));
        Spine<Node>::prefetch_range(leaf, likely - std::min(likely, kNear), likely + kNear + 1);
    }
    return key.count_below<kOrEqual>(n, [leaf](unsigned i) { return KeyedRecord::key_of(Leaf::record(leaf, i)); });
}

template <class Node>
typename BasicTree<Node>::Place BasicTree<Node>::find(Bytes key) const
    requires(kByKey)
{
    if (spine_.empty()) return {};
    SoughtKey sought(key);
    std::uint64_t before;
    const Path path = spine_.template to_key<true>(sought, before);
    const Place place = first_in_leaf(path, before, sought);
    // Of equal keys those in the last leaf may be gone, and others left in leaves before it.
    if (!place.found && place.slot == 0 && place.rank > 0) [[unlikely]] {
        SoughtKey again(key);
        const Place first = first_of(again);
        if (first.found) return first;
    }
    return place;
}

/// The place of the first entry whose key is not below this one.
template <class Node>
typename BasicTree<Node>::Place BasicTree<Node>::first_of(SoughtKey& key) const
    requires(kByKey)
{
    std::uint64_t before;
    Path path = spine_.template to_key<false>(key, before);
    const Place first = first_in_leaf(path, before, key);
    if (first.slot < Leaf::slots(spine_.leaf(path.leaf)) || !spine_.next_leaf(path)) return first;
    key = SoughtKey(key.key());
    return first_in_leaf(path, first.rank, key);
}

/// The place of the first entry in a leaf whose key is not below this one; `rank` is that of the leaf's first.
template <class Node>
typename BasicTree<Node>::Place BasicTree<Node>::first_in_leaf(const Path& path, std::uint64_t rank, SoughtKey& key) const {
    const unsigned slot = slot_of<false>(path, key);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const bool found = slot < Leaf::slots(leaf) && std::ranges::equal(KeyedRecord::key_of(Leaf::record(leaf, slot)), key.key());
    return {path, slot, rank + slot, found};
}

template <class Node>
typename BasicTree<Node>::Place BasicTree<Node>::behind(Bytes key) const
    requires(kByKey)
{
    if (spine_.empty()) return {};
    SoughtKey sought(key);
    std::uint64_t before;
    const Path path = spine_.template to_key<true>(sought, before);
    const unsigned slot = slot_of<true>(path, sought);
    return {path, slot, before + slot};
}

template <class Node>
std::uint64_t BasicTree<Node>::lower_bound(Bytes key) const
    requires(kByKey)
{
    if (spine_.empty()) return 0;
    SoughtKey sought(key);
    std::uint64_t before;
    const Path path = spine_.template to_key<false>(sought, before);
    return before + slot_of<false>(path, sought);
}

template <class Node>
typename BasicTree<Node>::Equals BasicTree<Node>::equal_range(Bytes key) const
    requires(kByKey)
{
    if (spine_.empty()) return {};
    SoughtKey sought(key);
    const Place first = first_of(sought);
    if (!first.found) return {first, first.rank};
    const Path& path = first.path;
    const unsigned slot = slot_of<true>(path, sought);
    const std::uint64_t end = slot < Leaf::slots(spine_.leaf(path.leaf)) ? first.rank + slot - first.slot : upper_bound(key);
    if (end <= first.rank) bad_count(path.leaf);
    return {first, end};
}

template <class Node>
std::pair<std::optional<Record>, std::optional<Record>> BasicTree<Node>::neighbours(const Place& place) const {
    std::pair<std::optional<Record>, std::optional<Record>> both;
    if (spine_.empty()) return both;
    const std::byte* leaf = spine_.leaf(place.path.leaf);
    if (place.slot > 0) both.first = Leaf::record(leaf, place.slot - 1);
    else if (place.rank > 0) both.first = at(place.rank - 1);
    if (place.slot < Leaf::slots(leaf)) both.second = Leaf::record(leaf, place.slot);
    else if (place.rank < size()) both.second = at(place.rank);
    return both;
}

template <class Node>
void BasicTree<Node>::prefetch_insert(const Place& place) const
    requires(kByKey)
{
    if (spine_.empty()) return;
    const std::byte* leaf = spine_.leaf(place.path.leaf);
    Spine<Node>::prefetch_range(leaf, storage::kPageSize - Leaf::begin(leaf, Leaf::slots(leaf)),
                                storage::kPageSize - Leaf::begin(leaf, place.slot));
}

template <class Node>
void BasicTree<Node>::insert(Place& place, const Record& record) {
    if (spine_.empty()) {
        spine_.plant();
        place.path = spine_.to_first();
    }
    this->place(place.path, place.slot, record, true);
}

template <class Node>
std::size_t BasicTree<Node>::append_some(std::span<const Record> records) {
    if (spine_.empty()) spine_.plant();
    std::uint64_t rank = size();
    Path path = spine_.to_rank(rank);
    if (rank != Leaf::slots(spine_.leaf(path.leaf))) bad_count(path.leaf);
    return fill_leaf(path, records);
}

template <class Node>
std::size_t BasicTree<Node>::append_some(EntryId first, std::span<const Record> records)
    requires(!kByKey)
{
    if (spine_.empty()) Leaf::set_base(spine_.plant(), first);
    Path path = spine_.to_key(first);
    const std::byte* leaf = spine_.leaf(path.leaf);
    if (first == Leaf::base(leaf) + Leaf::slots(leaf)) return fill_leaf(path, records);
    append_id(path, first, records[0]);
    return 1;
}

/// Appends to the leaf what it has room for, or one record that makes another leaf.
template <class Node>
std::size_t BasicTree<Node>::fill_leaf(Path& path, std::span<const Record> records) {
    std::byte* leaf = spine_.writable_leaf(path);
    std::size_t count = 0;
    for (; count < records.size() && Leaf::kSlot + records[count].stored.size() <= Leaf::room(leaf); ++count) {
        const unsigned slot = Leaf::slots(leaf);
        Leaf::open(leaf, slot);
        Leaf::fill(leaf, slot, records[count]);
    }
    if (count > 0) {
        spine_.add_entries(path, count);
        return count;
    }
    place(path, Leaf::slots(leaf), records[0], true);
    return 1;
}

template <class Node>
void BasicTree<Node>::replace(std::uint64_t rank, const Record& record) {
    Path path = spine_.to_rank(rank);
    const std::byte* leaf = spine_.leaf(path.leaf);
    place(path, checked_slot(leaf, path.leaf, rank), record, false);
}

template <class Node>
void BasicTree<Node>::put(EntryId id, const Record& record)
    requires(!kByKey)
{
    if (spine_.empty()) {
        Leaf::set_base(spine_.plant(), id);
        Path path = spine_.to_key(id);
        return place(path, 0, record, true);
    }
    Path path = spine_.to_key(id);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const auto slot = slot_of_id(leaf, id);
    if (slot && !Leaf::hole(leaf, *slot)) return place(path, *slot, record, false);
    append_id(path, id, record);
}

/// The path leads to the last leaf.
template <class Node>
void BasicTree<Node>::append_id(Path& path, EntryId id, const Record& record)
    requires(!kByKey)
{
    const std::byte* leaf = spine_.leaf(path.leaf);
    const std::uint64_t after = Leaf::base(leaf) + Leaf::slots(leaf);
    if (id < after) bad_page(path.leaf, "an id that is used a second time");
    if (id == after) return place(path, Leaf::slots(leaf), record, true);
    if ((id - after + 1) * Leaf::kSlot + record.stored.size() > Leaf::room(leaf)) {
        spine_.add_entries(path, 1);
        if (record.external) RootField::add_extents(spine_.root(), 1);
        return start_leaf(path, id, record);
    }
    std::byte* page = spine_.writable_leaf(path);
    for (std::uint64_t i = after; i < id; ++i) Leaf::open(page, Leaf::slots(page));
    place(path, Leaf::slots(page), record, true);
}

/// Puts the record at a slot: a new one before it, or in place of what it holds.
template <class Node>
void BasicTree<Node>::place(Path& path, unsigned slot, const Record& record, bool insert) {
    std::byte* leaf = spine_.writable_leaf(path);
    std::size_t need = record.stored.size();
    if (insert) {
        need += Leaf::kSlot;
        spine_.add_entries(path, 1);
    } else {
        const Record old = Leaf::record(leaf, slot);
        release_extent(old);
        need = need > old.stored.size() ? need - old.stored.size() : 0;
    }
    if (record.external) RootField::add_extents(spine_.root(), 1);
    if (need > Leaf::room(leaf)) return split(path, slot, record, insert);
    if (insert) Leaf::open(leaf, slot);
    Leaf::fill(leaf, slot, record);
    if (!insert) merge_if_small(path);
}

/// A new last leaf that begins with this record. REQUIRES: the record is counted already.
template <class Node>
void BasicTree<Node>::start_leaf(Path& path, EntryId base, const Record& record) {
    PageId right_id;
    std::byte* right = spine_.pager().allocate(storage::PageKind::leaf, 0, right_id);
    Leaf::set_base(right, base);
    Leaf::open(right, 0);
    Leaf::fill(right, 0, record);
    const std::byte* left = spine_.leaf(path.leaf);
    spine_.insert_leaf(path, right_id, separator(Leaf::record(left, Leaf::slots(left) - 1), record, base), 1);
}

template <class Node>
typename Node::Key BasicTree<Node>::separator(const Record& last, const Record& first, EntryId base) const {
    if constexpr (kByKey) return separator_between(KeyedRecord::key_of(last), KeyedRecord::key_of(first));
    else return base;
}

/// Splits the leaf around a record that does not fit. Appending to the tree, or inserting before all of it, leaves the
/// old records together; otherwise the bytes are halved. place() has counted the record already.
template <class Node>
void BasicTree<Node>::split(Path& path, unsigned slot, const Record& record, bool insert) {
    std::byte* left = spine_.writable_leaf(path);
    if (insert && slot == Leaf::slots(left)) {
        return start_leaf(path, key_ == Key::id ? Leaf::base(left) + slot : 0, record);
    }
    std::byte copy[storage::kPageSize];
    std::memcpy(copy, left, sizeof copy);
    const unsigned n = Leaf::slots(copy);
    const unsigned count = n + insert;
    const auto item = [&](unsigned i) {
        if (i == slot) return record;
        return Leaf::record(copy, i - (insert && i > slot));
    };
    unsigned keep = 0;
    std::size_t bytes = 0, total = 0;
    for (unsigned i = 0; i < count; ++i) total += Leaf::kSlot + item(i).stored.size();
    const bool before_all = insert && slot == 0 && spine_.is_first(path);
    if (before_all) keep = 1;
    while (!before_all && keep + 1 < count && bytes < total / 2) bytes += Leaf::kSlot + item(keep++).stored.size();
    PageId right_id;
    std::byte* right = spine_.pager().allocate(storage::PageKind::leaf, 0, right_id);
    const EntryId base = key_ == Key::id ? Leaf::base(copy) + keep : 0;
    Leaf::set_base(right, base);
    Leaf::truncate(left, 0);
    for (unsigned i = 0; i < count; ++i) {
        std::byte* target = i < keep ? left : right;
        Leaf::open(target, Leaf::slots(target));
        const Record next = item(i);
        if (!next.stored.empty()) Leaf::fill(target, Leaf::slots(target) - 1, next);
    }
    trim_holes(left);
    spine_.insert_leaf(path, right_id, separator(item(keep - 1), item(keep), base), Leaf::entries(right));
}

template <class Node>
bool BasicTree<Node>::erase_id(EntryId id)
    requires(!kByKey)
{
    if (spine_.empty()) return false;
    Path path = spine_.to_key(id);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const auto slot = slot_of_id(leaf, id);
    if (!slot || Leaf::hole(leaf, *slot)) return false;
    erase_slots(path, *slot, 1);
    return true;
}

template <class Node>
std::uint64_t BasicTree<Node>::erase_some(std::uint64_t rank, std::uint64_t count) {
    Path path = spine_.to_rank(rank);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const unsigned slot = checked_slot(leaf, path.leaf, rank);
    if (key_ == Key::id) count = 1;
    const auto some = static_cast<unsigned>(std::min<std::uint64_t>(count, Leaf::slots(leaf) - slot));
    erase_slots(path, slot, some);
    return some;
}

template <class Node>
TakenRecord BasicTree<Node>::take(std::uint64_t rank) {
    Path path = spine_.to_rank(rank);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const unsigned slot = checked_slot(leaf, path.leaf, rank);
    const TakenRecord taken(Leaf::record(leaf, slot));
    if (taken.record().external) RootField::add_extents(spine_.root(), std::uint64_t{0} - 1);
    erase_slots(path, slot, 1, false);
    return taken;
}

template <class Node>
void BasicTree<Node>::erase_slots(Path& path, unsigned slot, unsigned count, bool release_extents) {
    std::byte* leaf = spine_.writable_leaf(path);
    for (unsigned i = slot; release_extents && i < slot + count; ++i) release_extent(Leaf::record(leaf, i));
    spine_.add_entries(path, std::uint64_t{0} - count);
    if (key_ == Key::id) {
        Leaf::fill(leaf, slot, {});
        trim_holes(leaf);
    } else {
        Leaf::erase(leaf, slot, count);
    }
    if (Leaf::entries(leaf) > 0) return merge_if_small(path);
    spine_.pager().release(path.leaf);
    spine_.remove_leaf(path);
}

/// Removes the holes at both ends of a leaf, so that first and last slot are entries.
template <class Node>
void BasicTree<Node>::trim_holes(std::byte* leaf) {
    if (Leaf::holes(leaf) == 0) return;
    unsigned n = Leaf::slots(leaf);
    unsigned last = n;
    while (last > 0 && Leaf::hole(leaf, last - 1)) --last;
    if (last < n) Leaf::erase(leaf, last, n - last);
    unsigned first = 0;
    while (first < last && Leaf::hole(leaf, first)) ++first;
    if (first == 0) return;
    Leaf::erase(leaf, 0, first);
    Leaf::set_base(leaf, Leaf::base(leaf) + first);
}

template <class Node>
void BasicTree<Node>::merge_if_small(const Path& path) {
    if (Leaf::used(spine_.leaf(path.leaf)) >= Leaf::kRoom / 4) return;
    const auto gap = [this](const std::byte* left, const std::byte* right) -> std::uint64_t {
        return key_ == Key::id ? Leaf::base(right) - Leaf::base(left) - Leaf::slots(left) : 0;
    };
    const auto fits = [&](const std::byte* left, const std::byte* right) {
        const std::uint64_t holes = gap(left, right);
        return holes < Leaf::kRoom && Leaf::used(left) + Leaf::used(right) + Leaf::kSlot * holes <= Leaf::kRoom / 4 * 3;
    };
    const auto merge = [&](std::byte* left, const std::byte* right) {
        for (std::uint64_t holes = gap(left, right); holes > 0; --holes) Leaf::open(left, Leaf::slots(left));
        Leaf::copy_tail(right, 0, left);
    };
    spine_.merge_leaf(path, fits, merge);
}

template <class Node>
void BasicTree<Node>::release_extent(const Record& record) {
    if (!record.external) return;
    spine_.pager().release(storage::ExtentRef::decode(record.stored.data()));
    RootField::add_extents(spine_.root(), std::uint64_t{0} - 1);
}

template <class Node>
void BasicTree<Node>::clear() {
    const bool extents = RootField::extents(spine_.root()) != 0;
    std::vector<PageId> pages;
    const auto on_leaf = [&](PageId id) {
        pages.push_back(id);
        if (!extents) return;
        const std::byte* leaf = spine_.leaf(id);
        for (unsigned i = 0; i < Leaf::slots(leaf); ++i) release_extent(Leaf::record(leaf, i));
    };
    spine_.walk([&](PageId id, const std::byte*, unsigned) { pages.push_back(id); }, on_leaf);
    for (const PageId id : pages) spine_.pager().release(id);
    std::memset(spine_.root(), 0, RootField::kSize);
}

template class BasicTree<InnerNode<true>>;
template class BasicTree<KeyNode>;

}  // namespace pyrsistence::structures
