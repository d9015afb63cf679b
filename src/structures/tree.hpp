// The counted B+tree that serves every container: records of any length by rank, and optionally by
// an ascending id or in the order of their keys. O(log n) select, insert and erase at any rank; appends fill leaves
// completely.
//
// A Tree is a view: the pager and the RootField in a container's root page. It is made anew for each
// step and used under the store's lock; functions that change it REQUIRE Pager::reserve() since the
// step began and a root in a writable page. Page bytes handed out live until the step ends.
// Invariants: every leaf but the root holds an entry; total counts add up on every level;
// ids or keys ascend. Sources: counted B+trees, Knuth TAOCP 3, 6.2.3-4; separators cut short, Bayer and Unterauer, "Prefix
// B-trees", TODS 1977.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "structures/slotted_page.hpp"
#include "structures/spine.hpp"

namespace pyrsistence::structures {

/// Called with an entry's id or rank, and its bytes.
using VisitEntry = std::function<void(std::uint64_t key, Bytes entry)>;

/// A record that belongs to no tree.
class TakenRecord {
public:
    explicit TakenRecord(const Record& record) : size_(record.stored.size()), external_(record.external) {
        std::memcpy(bytes_, record.stored.data(), size_);
    }
    Record record() const { return {{bytes_, size_}, external_}; }

private:
    std::byte bytes_[SlottedPage::kMaxRecord];
    std::size_t size_;
    bool external_;
};

/// How a tree is ordered.
enum class TreeOrder : std::uint8_t { rank, id, key };

template <class Node>
class BasicTree {
    using Leaf = SlottedPage;

public:
    using Key = TreeOrder;
    static constexpr bool kByKey = std::is_same_v<Node, KeyNode>;
    static constexpr std::size_t kRootSize = RootField::kSize;

    /// REQUIRES: Key::key with KeyNode, another with InnerNode.
    BasicTree(storage::Pager& pager, std::byte* root, Key key)
        : spine_(pager, root, storage::PageKind::leaf), key_(key) {}
    /// For reading only: the functions that change the tree must not be called.
    BasicTree(storage::Pager& pager, const std::byte* root, Key key) : BasicTree(pager, const_cast<std::byte*>(root), key) {}

    /// Throws CorruptionError if the pages that there are could not hold so many.
    std::uint64_t size() const { return spine_.entries(Leaf::kMostEntries); }

    /// The record at a rank. O(log n). REQUIRES: rank < size().
    Record at(std::uint64_t rank) const;
    /// The record with an id; empty if there is none. O(log n).
    Record find(EntryId id) const requires(!kByKey);
    /// Starts loading what find() will read, from memory or from the disk.
    void prefetch(EntryId id) const requires(!kByKey);
    /// The bytes of a record, wherever they lie.
    Bytes resolve(const Record& record) const {
        if (!record.external) [[likely]] return record.stored;
        return spine_.pager().read_extent(storage::ExtentRef::decode(record.stored.data()));
    }
    /// The id of the first or last entry. REQUIRES: size() > 0.
    EntryId first_id() const requires(!kByKey);
    EntryId last_id() const requires(!kByKey);
    /// Entries with a smaller id.
    std::uint64_t rank_of(EntryId id) const requires(!kByKey);

    // --- Trees by key: every record begins with its key (KeyedRecord).

    /// Where a key is, or would come. Valid until the tree changes other than through it.
    struct Place {
        Path path;
        unsigned slot = 0;
        std::uint64_t rank = 0;
        bool found = false;
    };
    /// Of several equal keys, any.
    Place find(Bytes key) const requires(kByKey);
    /// Behind all entries with the key.
    Place behind(Bytes key) const requires(kByKey);
    /// The number of entries with smaller keys.
    std::uint64_t lower_bound(Bytes key) const requires(kByKey);
    /// The number of entries whose keys are not greater.
    std::uint64_t upper_bound(Bytes key) const requires(kByKey) { return behind(key).rank; }
    struct Equals {
        Place first;        ///< of the entries with a key, or where one would come
        std::uint64_t end;  ///< the rank behind the last of them
    };
    /// A second descent only if the first leaf ends with the key.
    Equals equal_range(Bytes key) const requires(kByKey);
    /// REQUIRES: place.found.
    Record at(const Place& place) const { return Leaf::record(spine_.leaf(place.path.leaf), place.slot); }
    /// The entries on both sides of a place, if there are any.
    std::pair<std::optional<Record>, std::optional<Record>> neighbours(const Place& place) const;
    /// Starts loading what insert() will move.
    void prefetch_insert(const Place& place) const requires(kByKey);
    /// REQUIRES: !place.found, and the record belongs there.
    void insert(Place& place, const Record& record);
    /// REQUIRES: place.found, and the record has the same key.
    void replace(Place& place, const Record& record) { this->place(place.path, place.slot, record, false); }
    void erase(Place& place) { erase_slots(place.path, place.slot, 1); }

    /// Calls visit(key, record) for the entries of one leaf, from the first whose rank (or id) is
    /// not below `start`, until it returns false. Returns where to go on, nothing at the end. `on`: many leaves will
    /// follow, and are read ahead.
    template <class Visit>
    std::optional<std::uint64_t> scan(std::uint64_t start, Visit&& visit, bool on = true) const;
    /// The same towards smaller keys, from the last whose rank (or id) is below `end`.
    template <class Visit>
    std::optional<std::uint64_t> scan_back(std::uint64_t end, Visit&& visit) const;

    /// Inserts before the entry at `rank`; rank == size() appends. Not for trees by key. REQUIRES: record not empty.
    void insert(std::uint64_t rank, const Record& record);
    /// Appends the first of some inline records, as many as the last leaf takes, at least one; returns how many. Only
    /// for trees by rank. O(log n). REQUIRES: there are some, none of them empty.
    std::size_t append_some(std::span<const Record> records);
    /// The same under consecutive ids, above all others.
    std::size_t append_some(EntryId first, std::span<const Record> records) requires(!kByKey);
    /// Appends under an id above all others, or replaces the record of an existing id.
    void put(EntryId id, const Record& record) requires(!kByKey);
    void replace(std::uint64_t rank, const Record& record);
    /// False if there is no such id.
    bool erase_id(EntryId id) requires(!kByKey);
    /// Erases up to `count` entries from `rank` on, as many as lie in one leaf, and returns how many
    /// those were; a longer range takes several steps. REQUIRES: rank < size(), count > 0.
    std::uint64_t erase_some(std::uint64_t rank, std::uint64_t count);
    /// Erases an entry and copies its record, which keeps its extent. REQUIRES: rank < size().
    TakenRecord take(std::uint64_t rank);
    /// Gives every page and extent back. O(pages / 200), or O(pages) if there are extents.
    void clear();

    /// Whether the extent of an external record reaches page `limit`.
    static bool beyond(const Record& record, PageId limit) {
        const auto extent = storage::ExtentRef::decode(record.stored.data());
        return extent.first + extent.pages() > limit;
    }
    /// Moves the pages on the way to the entry at `rank` that lie at `limit` or above. Extents in its
    /// leaf that reach it are passed to extent(rank, record). Returns the rank after the leaf.
    template <class Extent>
    std::uint64_t relocate(std::uint64_t rank, PageId limit, Extent&& extent);

    /// Throws CorruptionError unless every invariant holds; visits every entry in order and calls
    /// mark(first, pages) for every page and extent.
    void check(const VisitEntry& visit, const VisitRun& mark) const;

private:
    /// The slot of an id in its leaf, or nothing if it is a hole or beyond.
    static void prefetch(const std::byte* leaf, const Bounds& bounds, std::uint64_t i);
    static std::optional<unsigned> slot_of_id(const std::byte* leaf, EntryId id);
    static unsigned checked_slot(const std::byte* leaf, PageId page, std::uint64_t rank);
    [[noreturn]] static void bad_count(PageId page);
    [[noreturn]] static void bad_order(PageId page);
    void place(Path& path, unsigned slot, const Record& record, bool insert);
    std::size_t fill_leaf(Path& path, std::span<const Record> records);
    void split(Path& path, unsigned slot, const Record& record, bool insert);
    template <bool kOrEqual>
    unsigned slot_of(const Path& path, SoughtKey& key) const;
    Place first_in_leaf(const Path& path, std::uint64_t rank, SoughtKey& key) const;
    Place first_of(SoughtKey& key) const
        requires(kByKey);
    /// The way to the leaf of a rank, which becomes the place there, or of an id.
    Path to(std::uint64_t start, std::uint64_t& place) const {
        if constexpr (!kByKey) {
            if (key_ == Key::id) return spine_.to_key(start);
        }
        return spine_.to_rank(place);
    }
    void start_leaf(Path& path, EntryId base, const Record& record);
    /// Of a leaf that begins with `first` under `base`, behind one that ends with `last`.
    typename Node::Key separator(const Record& last, const Record& first, EntryId base) const;
    void append_id(Path& path, EntryId id, const Record& record) requires(!kByKey);
    void erase_slots(Path& path, unsigned slot, unsigned count, bool release_extents = true);
    void trim_holes(std::byte* leaf);
    void merge_if_small(const Path& path);
    void release_extent(const Record& record);

    Spine<Node> spine_;
    Key key_;
};

using Tree = BasicTree<InnerNode<true>>;
using KeyTree = BasicTree<KeyNode>;

template <class Node>
template <class Visit>
std::optional<std::uint64_t> BasicTree<Node>::scan(std::uint64_t start, Visit&& visit, bool on) const {
    if (spine_.empty() || size() == 0) return std::nullopt;
    if (key_ != Key::id && start >= size()) return std::nullopt;
    std::uint64_t place = start;
    Path path = to(start, place);
    if (on) spine_.read_ahead(path);
    for (bool second = false;; second = true) {
        const std::byte* leaf = spine_.leaf(path.leaf);
        const unsigned n = Leaf::slots(leaf);
        const std::uint64_t base = key_ != Key::id ? start - place : Leaf::base(leaf);
        const std::uint64_t first = start > base ? start - base : 0;
        for (std::uint64_t i = first; i < n; ++i) {
            const Record record = Leaf::record(leaf, static_cast<unsigned>(i));
            if (record.stored.empty()) continue;
            if (!visit(base + i, record)) return base + i + 1;
        }
        if (first < n) return base + n;
        if (key_ != Key::id) bad_count(path.leaf);
        if (second) bad_order(path.leaf);  // each leaf holds an entry, and they ascend
        if (!spine_.next_leaf(path)) return std::nullopt;
        if (on) spine_.read_ahead(path);
    }
}

template <class Node>
template <class Visit>
std::optional<std::uint64_t> BasicTree<Node>::scan_back(std::uint64_t end, Visit&& visit) const {
    if (spine_.empty() || size() == 0 || end == 0) return std::nullopt;
    std::uint64_t place = std::min(end, key_ != Key::id ? size() : end) - 1;
    const std::uint64_t from = place;
    Path path = to(from, place);
    const std::byte* leaf = spine_.leaf(path.leaf);
    std::uint64_t base = key_ != Key::id ? from - place : Leaf::base(leaf);
    if (from < base) {  // the leaf's first ids are gone, but its separator still covers them
        std::uint64_t before = spine_.entries_before(path);
        if (before-- == 0) return std::nullopt;
        path = spine_.to_rank(before);
        leaf = spine_.leaf(path.leaf);
        base = Leaf::base(leaf);
        if (from < base) bad_count(path.leaf);
    }
    for (std::uint64_t i = std::min<std::uint64_t>(from - base + 1, Leaf::slots(leaf)); i-- > 0;) {
        const Record record = Leaf::record(leaf, static_cast<unsigned>(i));
        if (!record.stored.empty() && !visit(base + i, record)) return base + i;
    }
    return base == 0 ? std::nullopt : std::optional<std::uint64_t>(base);
}

template <class Node>
template <class Extent>
std::uint64_t BasicTree<Node>::relocate(std::uint64_t rank, PageId limit, Extent&& extent) {
    std::uint64_t place = rank;
    Path path = spine_.to_rank(place);
    const std::uint64_t first = rank - place;
    spine_.relocate(path, limit);
    const std::byte* leaf = spine_.leaf(path.leaf);
    const unsigned n = Leaf::slots(leaf);
    std::uint64_t next = first;
    for (unsigned i = 0; i < n; ++i) {
        const Record record = Leaf::record(leaf, i);
        if (record.stored.empty()) continue;
        if (record.external && beyond(record, limit)) extent(next, record);
        ++next;
    }
    if (next <= rank) bad_count(path.leaf);
    return next;
}

}  // namespace pyrsistence::structures
