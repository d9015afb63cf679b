#include "structures/verify.hpp"

#include <algorithm>
#include <utility>

namespace pyrsistence::structures {

namespace {

using storage::PageKind;
using storage::Pager;
using storage::Verification;

/// What is known of the keys below a page.
template <class Node>
struct RangeOf {
    using Type = Bounds;
    static constexpr Bounds everything{0, Node::kNoBound};
    static Bounds child(const std::byte* node, unsigned i, unsigned n, const Bounds& all) {
        return {i == 0 ? all.low : Node::separator(node, i), i + 1 < n ? Node::separator(node, i + 1) : all.high};
    }
    static Bounds numbers(const Bounds& range) { return range; }
};
template <>
struct RangeOf<KeyNode> {
    using Type = KeyBounds;
    static constexpr KeyBounds everything{};
    static KeyBounds child(const std::byte* node, unsigned i, unsigned n, const KeyBounds& all) {
        const bool last = i + 1 == n;
        return {i == 0 ? all.low : KeyNode::separator(node, i), last ? all.high : KeyNode::separator(node, i + 1),
                last && all.unbounded};
    }
    static Bounds numbers(const KeyBounds&) { return RangeOf<InnerNode<true>>::everything; }
};

/// What separators say of the keys below a child.
enum class Keys {
    none,      ///< by rank: separators are 0
    distinct,  ///< ids: low <= key < high
    repeated,  ///< tags: low <= key <= high, since equal ones may span leaves
};

/// Everything above the leaves. `Leaf` is called with the page, its bytes and the bounds of its keys, and
/// returns the number of its entries.
template <class InnerNode_, class Leaf>
class SpineWalk {
public:
    using Node = InnerNode_;
    using Spine = structures::Spine<Node>;
    using Range = typename RangeOf<Node>::Type;

    SpineWalk(Pager& pager, PageKind leaf_kind, Keys keys, Verification& out, Leaf& leaf)
        : pager_(pager), leaf_kind_(leaf_kind), keys_(keys), out_(out), leaf_(leaf) {}

    Verified run(const std::byte* root);
    /// Leaves that cannot be read.
    std::uint64_t leaves_lost() const { return leaves_lost_; }

private:
    /// How many entries are below a page, as far as is known: if one of two numbers that differ is right,
    /// only the page where they differ is at fault.
    struct Count {
        std::optional<std::uint64_t> counted;  ///< in leaves
        std::optional<std::uint64_t> stated;   ///< by the page
        bool fits(std::uint64_t expected) const {
            return counted == expected || stated == expected || (!counted && !stated);
        }
    };

    const std::byte* read(PageId id, unsigned level, PageId from);
    Count descend(PageId id, unsigned level, PageId from, const Range& bounds);
    Count children(PageId id, const std::byte* node, unsigned level, const Range& bounds);
    void check_separators(PageId id, const std::byte* node, const Range& bounds);
    void lose(const Bounds& bounds);

    Pager& pager_;
    const PageKind leaf_kind_;
    const Keys keys_;
    Verification& out_;
    Leaf& leaf_;
    Verified found_;
    std::uint64_t leaves_lost_ = 0;
};

template <class InnerNode_, class Leaf>
Verified SpineWalk<InnerNode_, Leaf>::run(const std::byte* root) {
    const PageId top = RootField::page(root);
    const unsigned height = RootField::height(root);
    const Range everything = RangeOf<Node>::everything;
    Count count{0, {}};
    if (height > kMaxHeight) {
        out_.lose_pages();
        out_.fault(top, "a tree of height " + std::to_string(height) + "; at most " + std::to_string(kMaxHeight) +
                            " are possible");
        lose(RangeOf<Node>::numbers(everything));
        count = {};
    } else if (top != 0) {
        count = descend(top, height, 0, everything);
    }
    if (!count.fits(RootField::entries(root))) {
        out_.fault(top, "the root of this tree counts " + std::to_string(RootField::entries(root)) +
                            " entries, but there are " +
                            std::to_string(count.counted ? *count.counted : *count.stated));
    }
    return std::move(found_);
}

/// A page that can be read and is what belongs there, else null.
template <class InnerNode_, class Leaf>
const std::byte* SpineWalk<InnerNode_, Leaf>::read(PageId id, unsigned level, PageId from) {
    const PageKind kind = level == 0 ? leaf_kind_ : Spine::kInnerKind;
    const std::byte* page = nullptr;
    if (!out_.reach(id, 1, from)) return nullptr;
    try {
        page = pager_.read(id);
    } catch (const CorruptionError& error) {
        if (level == 0) ++leaves_lost_;
        else out_.lose_pages();
        out_.fault(id, error);
        return nullptr;
    }
    if (storage::page_kind(page) == kind && storage::page_level(page) == level) return page;
    out_.disown(id);
    const std::string what = misplacement(page, kind, level);
    if (from == 0) out_.fault(id, what);
    else out_.fault(from, "its child, page " + std::to_string(id) + ": " + what);
    return nullptr;
}

template <class InnerNode_, class Leaf>
auto SpineWalk<InnerNode_, Leaf>::descend(PageId id, unsigned level, PageId from, const Range& bounds) -> Count {
    const std::byte* page = read(id, level, from);
    if (page == nullptr) {
        lose(RangeOf<Node>::numbers(bounds));
        return {};
    }
    if (level > 0) return children(id, page, level, bounds);
    const std::uint64_t entries = leaf_(id, page, bounds);
    found_.entries += entries;
    return {entries, {}};
}

template <class InnerNode_, class Leaf>
auto SpineWalk<InnerNode_, Leaf>::children(PageId id, const std::byte* node, unsigned level, const Range& bounds)
    -> Count {
    check_separators(id, node, bounds);
    const unsigned n = storage::page_count(node);
    Count sum{0, {}};
    unsigned miscounted = 0;
    for (unsigned i = 0; i < n; ++i) {
        if (level == 1) Spine::prefetch_children(pager_, node, i);
        const Count below = descend(Node::child(node, i), level - 1, id, RangeOf<Node>::child(node, i, n, bounds));
        if (Node::kCounted) miscounted += !below.fits(Node::total(node, i) - Node::before(node, i));
        if (sum.counted && below.counted) *sum.counted += *below.counted;
        else sum.counted.reset();
    }
    if (miscounted > 0) {
        out_.fault(id, "the entry counts of " + std::to_string(miscounted) + " of its " + std::to_string(n) +
                           " children do not add up");
    }
    if (Node::kCounted) sum.stated = Node::total(node, n - 1);
    return sum;
}

/// Of very many gaps the last ones become one, with what lies between.
template <class InnerNode_, class Leaf>
void SpineWalk<InnerNode_, Leaf>::lose(const Bounds& bounds) {
    constexpr std::size_t kMost = 4096;
    std::vector<Bounds>& lost = found_.lost;
    const bool extend = !lost.empty() && (bounds.low <= lost.back().high || lost.size() == kMost);
    if (extend) lost.back().high = std::max(lost.back().high, bounds.high);
    else lost.push_back(bounds);
}

template <class InnerNode_, class Leaf>
void SpineWalk<InnerNode_, Leaf>::check_separators(PageId id, const std::byte* node, const Range& bounds) {
    const unsigned n = storage::page_count(node);
    bool sound = true;
    if constexpr (std::is_same_v<Node, KeyNode>) {  // they ascend, but for the first, which says nothing
        sound = n == 1 || (!key_less(Node::separator(node, 1), bounds.low) &&
                           (bounds.unbounded || !key_less(bounds.high, Node::separator(node, n - 1))));
    } else {
        const std::uint64_t first = Node::separator(node, 0), last = Node::separator(node, n - 1);  // they ascend
        sound = keys_ == Keys::none ? last == 0
                                    : first >= bounds.low && last <= bounds.high &&
                                          (last < bounds.high || keys_ == Keys::repeated);
    }
    if (!sound) out_.fault(id, "separators beyond the bounds that its parent sets");
}

/// The leaves of a tree.
class Entries {
public:
    Entries(Pager& pager, TreeOrder order, Verification& out, const VisitEntry& visit)
        : pager_(pager), order_(order), out_(out), visit_(visit) {}

    template <class Range>
    std::uint64_t operator()(PageId id, const std::byte* leaf, const Range& bounds) {
        check_order(id, leaf, bounds);
        return read(id, leaf);
    }
    std::uint64_t extents() const { return extents_; }

private:
    using Leaf = SlottedPage;

    void check_order(PageId id, const std::byte* leaf, const Bounds& bounds);
    void check_order(PageId id, const std::byte* leaf, const KeyBounds& bounds);
    std::uint64_t read(PageId id, const std::byte* leaf);
    void read(PageId id, std::uint64_t key, const Record& record);
    void read_extent(PageId id, std::uint64_t key, Bytes head, const storage::ExtentRef& ref);
    void visit(PageId id, std::uint64_t key, Bytes bytes);
    std::string entry(std::uint64_t key) const {
        return (order_ == TreeOrder::id ? "entry " : "the entry of rank ") + std::to_string(key);
    }

    Pager& pager_;
    const TreeOrder order_;
    Verification& out_;
    const VisitEntry& visit_;
    std::uint64_t rank_ = 0;  ///< entries before the present one
    std::uint64_t extents_ = 0;
};

std::uint64_t Entries::read(PageId id, const std::byte* leaf) {
    const bool by_id = order_ == TreeOrder::id;
    if (Leaf::entries(leaf) == 0) out_.fault(id, "a leaf without entries");
    if (!by_id && Leaf::holes(leaf) > 0) out_.fault(id, "an empty record");
    for (unsigned i = 0; i < Leaf::slots(leaf); ++i) {
        const Record record = Leaf::record(leaf, i);
        if (record.stored.empty()) continue;
        read(id, by_id ? Leaf::base(leaf) + i : rank_, record);
        ++rank_;
    }
    return Leaf::entries(leaf);
}

/// Equal keys are in order here: whether there may be any is the container's affair.
void Entries::check_order(PageId id, const std::byte* leaf, const KeyBounds& bounds) {
    Bytes before = bounds.low;
    bool sound = Leaf::base(leaf) == 0;
    for (unsigned i = 0; i < Leaf::slots(leaf); ++i) {
        const Record record = Leaf::record(leaf, i);
        if (!KeyedRecord::sound(KeyedRecord::bytes_of(record))) out_.fault(id, "a key of impossible length");
        const Bytes key = KeyedRecord::key_of(record);
        sound &= !key_less(key, before);
        before = key;
    }
    if (!bounds.unbounded && key_less(bounds.high, before)) sound = false;
    if (!sound) out_.fault(id, "keys out of order");
}

void Entries::check_order(PageId id, const std::byte* leaf, const Bounds& bounds) {
    const EntryId first = Leaf::base(leaf), end = first + Leaf::slots(leaf);
    const bool sound = order_ == TreeOrder::rank ? first == 0 : first >= bounds.low && end <= bounds.high;
    if (!sound) out_.fault(id, "ids out of order");
}

void Entries::read(PageId id, std::uint64_t key, const Record& record) {
    if (!record.external) return visit(id, key, record.stored);
    ++extents_;
    const Bytes head = record.stored.subspan(storage::ExtentRef::kEncodedSize);
    if (order_ != TreeOrder::key && !head.empty()) out_.fault(id, "a bad extent reference");
    read_extent(id, key, head, storage::ExtentRef::decode(record.stored.data()));
}

void Entries::read_extent(PageId id, std::uint64_t key, Bytes head, const storage::ExtentRef& ref) {
    if (!out_.reach(ref.first, ref.pages(), id)) return;
    Bytes bytes;
    try {
        bytes = pager_.read_extent(ref);
    } catch (const CorruptionError& error) {
        return out_.fault(ref.first, error, entry(key));
    }
    if (!std::ranges::equal(bytes.first(std::min(bytes.size(), head.size())), head)) {
        out_.fault(id, entry(key) + ": its extent begins with another key");
    }
    visit(id, key, bytes);
}

void Entries::visit(PageId id, std::uint64_t key, Bytes bytes) {
    try {
        visit_(key, bytes);
    } catch (const CorruptionError& error) {
        out_.fault(id, error, entry(key));
    }
}

}  // namespace

bool Verified::may_have_lost(std::uint64_t key) const {
    const auto next = std::ranges::upper_bound(lost, key, {}, &Bounds::low);
    return next != lost.begin() && key < std::prev(next)->high;
}

namespace {

template <class Node>
Verified verify_leaves(Pager& pager, const std::byte* root, TreeOrder order, Verification& out, const VisitEntry& visit) {
    Entries entries(pager, order, out, visit);
    SpineWalk<Node, Entries> walk(pager, PageKind::leaf, order == TreeOrder::id ? Keys::distinct : Keys::none, out, entries);
    const Verified found = walk.run(root);
    const bool all = entries.extents() == RootField::extents(root);
    if (found.complete() && !all) {
        out.fault(RootField::page(root), "the root of this tree counts " + std::to_string(RootField::extents(root)) +
                                             " extents, but there are " + std::to_string(entries.extents()));
    }
    if (walk.leaves_lost() > 0 && !all) out.lose_pages();
    return found;
}

}  // namespace

Verified verify_tree(Pager& pager, const std::byte* root, TreeOrder order, Verification& out, const VisitEntry& visit) {
    return order == TreeOrder::key ? verify_leaves<KeyNode>(pager, root, order, out, visit)
                                   : verify_leaves<InnerNode<true>>(pager, root, order, out, visit);
}

namespace {

/// Whether reading finds the leaf of this number there.
bool lies_at(const ByteTree& tree, std::uint64_t number, PageId page) {
    try {
        return tree.leaf_page(number) == page;
    } catch (const CorruptionError&) {
        return false;
    }
}

}  // namespace

Verified verify_bytes(Pager& pager, const std::byte* root, std::size_t leaf_bytes, Verification& out) {
    const ByteTree tree(pager, root, leaf_bytes);
    std::size_t before = leaf_bytes;  // in the leaf before
    std::uint64_t number = 0, misplaced = 0;
    const auto leaf = [&](PageId id, const std::byte* page, const Bounds&) -> std::uint64_t {
        const std::size_t n = storage::page_count(page);
        if (before != leaf_bytes) out.fault(id, "a leaf of bytes behind one that is not full");
        if (n > leaf_bytes) out.fault(id, "a leaf of bytes with more than its items take");
        if (!lies_at(tree, number++, id)) ++misplaced;
        before = n;
        return n;
    };
    const Verified found = SpineWalk<InnerNode<true>, decltype(leaf)>(pager, PageKind::bytes, Keys::none, out, leaf).run(root);
    if (found.complete() && misplaced > 0) {
        out.fault(RootField::page(root), std::to_string(misplaced) + " leaves of bytes are not where their numbers lead");
    }
    return found;
}

namespace {

Verified verify_buckets(Pager& pager, const std::byte* root, Verification& out,
                        const std::function<void(PageId bucket, std::uint64_t tag, EntryId id)>& visit) {
    const auto bucket = [&](PageId id, const std::byte* page, const Bounds& bounds) -> std::uint64_t {
        const unsigned n = storage::page_count(page);
        if (n == 0) {
            out.fault(id, "an empty bucket");
        } else if (BucketTree::tag_at(page, 0) < bounds.low || BucketTree::tag_at(page, n - 1) > bounds.high) {
            out.fault(id, "hashes out of order");
        }
        for (unsigned i = 0; i < n; ++i) visit(id, BucketTree::tag_at(page, i), BucketTree::id_at(page, i));
        return n;
    };
    return SpineWalk<InnerNode<false>, decltype(bucket)>(pager, PageKind::bucket, Keys::repeated, out, bucket).run(root);
}

bool verify_filter(Pager& pager, const std::byte* root, Verification& out) {
    const auto page = [](PageId, const std::byte*, const Bounds&) -> std::uint64_t { return 1; };
    return SpineWalk<InnerNode<false>, decltype(page)>(pager, PageKind::filter, Keys::distinct, out, page).run(root).complete();
}

}  // namespace

Verified verify_index(Pager& pager, const HashIndex::Roots& roots, Verification& out, const VisitSlot& visit) {
    const TagFilter filter(pager, roots.filter);
    if (!HashIndex::sweep_is_possible(roots)) out.fault(0, "the next sweep of the index begins behind all hashes");
    const bool readable = verify_filter(pager, roots.filter, out);
    std::uint64_t unknown = 0;
    Verified found = verify_buckets(pager, roots.base, out, [&](PageId bucket, std::uint64_t tag, EntryId id) {
        if (readable && !filter.may_hold(tag)) ++unknown;
        visit(IndexPart::base, bucket, tag, id);
    });
    if (unknown > 0) out.fault(0, "the filter of the index denies " + std::to_string(unknown) + " of its hashes");
    const Verified delta = verify_buckets(pager, roots.delta, out, [&](PageId bucket, std::uint64_t tag, EntryId id) {
        visit(IndexPart::delta, bucket, tag, id);
    });
    if (delta.entries > 0 && !filter.started()) out.fault(0, "a second index without a filter");
    found.entries += delta.entries;
    found.lost.insert(found.lost.end(), delta.lost.begin(), delta.lost.end());
    return found;
}

namespace {

Verification checking(Pager& pager, const VisitRun& mark) {
    Verification::Options options;
    options.throw_first = true;
    options.on_reach = mark;
    return Verification(pager.page_count(), std::move(options));
}

}  // namespace

template <class Node>
void BasicTree<Node>::check(const VisitEntry& visit, const VisitRun& mark) const {
    Verification out = checking(spine_.pager(), mark);
    verify_tree(spine_.pager(), spine_.root(), key_, out, visit);
}

template void BasicTree<InnerNode<true>>::check(const VisitEntry&, const VisitRun&) const;
template void BasicTree<KeyNode>::check(const VisitEntry&, const VisitRun&) const;

void BucketTree::check(const std::function<void(std::uint64_t, EntryId)>& visit, const VisitRun& mark) const {
    Verification out = checking(spine_.pager(), mark);
    verify_buckets(spine_.pager(), spine_.root(), out, [&](PageId, std::uint64_t tag, EntryId id) { visit(tag, id); });
}

void HashIndex::check(const std::function<void(std::uint64_t, EntryId)>& visit, const VisitRun& mark) const {
    Verification out = checking(pager_, mark);
    verify_index(pager_, roots_, out, [&](IndexPart, PageId, std::uint64_t tag, EntryId id) { visit(tag, id); });
}

}  // namespace pyrsistence::structures
