// Everything of a B+tree above its leaves: descending, copying a path on write, splitting,
// removing and merging nodes. Tree, BucketTree and TagFilter share it and differ in their leaves only.
//
// Called under the store's lock. A Path is valid until the next change other than through it.
// Functions that change pages REQUIRE Pager::reserve() since the step began.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "storage/pager.hpp"
#include "structures/key_node.hpp"

namespace pyrsistence::structures {

/// The root of a tree as it lies in a container's root page:
/// u48 page, u8 height (inner levels), u8 zero, u64 entries, u64 records in extents.
struct RootField {
    static constexpr std::size_t kSize = 24;
    static PageId page(const std::byte* r) { return codec::load48(r); }
    static unsigned height(const std::byte* r) { return static_cast<unsigned>(r[6]); }
    static std::uint64_t entries(const std::byte* r) { return codec::load<std::uint64_t>(r + 8); }
    static std::uint64_t extents(const std::byte* r) { return codec::load<std::uint64_t>(r + 16); }
    static void set_page(std::byte* r, PageId id) { codec::store48(r, id); }
    static void set_height(std::byte* r, unsigned height) { r[6] = std::byte(height); }
    static void add_entries(std::byte* r, std::uint64_t d) { codec::store<std::uint64_t>(r + 8, entries(r) + d); }
    static void add_extents(std::byte* r, std::uint64_t d) { codec::store<std::uint64_t>(r + 16, extents(r) + d); }
};

inline constexpr unsigned kMaxHeight = 12;

/// The way from the root to a leaf: the page and the child taken at each inner level.
struct Path {
    struct Step {
        PageId page;
        unsigned index;
    };
    std::array<Step, kMaxHeight> steps;
    unsigned height = 0;
    PageId leaf = 0;
    Bounds bounds{};  ///< of the keys in the leaf, or of the ranks there
};

/// Called with a run of pages.
using VisitRun = std::function<void(PageId first, std::uint64_t pages)>;

std::string misplacement(const std::byte* page, storage::PageKind kind, unsigned level);
[[noreturn]] void misplaced(const std::byte* page, PageId id, storage::PageKind kind, unsigned level);
[[noreturn]] void too_high(unsigned height);
[[noreturn]] void too_many(PageId top, std::uint64_t entries);
[[noreturn]] void no_such_child(PageId top);
/// For walks that would not end.
[[noreturn]] void reached_again(PageId id);

/// `InnerNode_` is InnerNode or KeyNode.
template <class InnerNode_>
class Spine {
public:
    using Node = InnerNode_;
    using Key = typename Node::Key;
    using Pager = storage::Pager;
    static constexpr storage::PageKind kInnerKind = Node::kKind;

    /// `root` is the RootField; it is only written by the functions that change the tree.
    Spine(Pager& pager, std::byte* root, storage::PageKind leaf_kind)
        : pager_(pager), root_(root), leaf_kind_(leaf_kind) {}

    /// Number of entries. Throws CorruptionError if that is more than `most` in every page that there is.
    std::uint64_t entries(std::uint64_t most) const {
        const std::uint64_t count = RootField::entries(root_);
        if (count / most >= pager_.page_count()) [[unlikely]] too_many(RootField::page(root_), count);
        return count;
    }
    bool empty() const { return RootField::page(root_) == 0; }
    std::byte* root() const { return root_; }
    Pager& pager() const { return pager_; }

    /// The page as a leaf. Throws CorruptionError if it is something else.
    const std::byte* leaf(PageId id) const { return expect(id, leaf_kind_, 0); }

    /// Starts loading cache lines of a page, so that they do not wait for each other. Null: none.
    static void prefetch(const std::byte* page, std::initializer_list<std::size_t> offsets) {
        if (page == nullptr) return;
        for (const std::size_t offset : offsets) __builtin_prefetch(page + offset);
        // GCC takes a function that only prefetches for one without effect, and leaves calls of it out.
        asm volatile("" : : "r"(page));
    }

    /// The same for the lines from one offset to another.
    static void prefetch_range(const std::byte* page, std::size_t begin, std::size_t end) {
        constexpr std::size_t kLine = 64;
        for (; begin < std::min(end, storage::kPageSize); begin += kLine) prefetch(page, {begin});
    }

    /// Tells the kernel that the page above the leaf is in use, as Pager::touch().
    void touch_parent(const Path& path) const {
        if (path.height > 0) pager_.touch(path.steps[path.height - 1].page);
    }

    /// REQUIRES: !empty() for every descent. `bounds` is what is known of all keys in the tree.
    Path to_key(std::uint64_t key, Bounds bounds = {0, Node::kNoBound}) const {
        Path path = descend([key, &bounds](const std::byte* node, unsigned n) {
            return Node::find_key(node, n, key, bounds);
        });
        path.bounds = bounds;
        return path;
    }
    /// The way to the last leaf that may hold the key; without kLast, to the first one. `rank` becomes the number of
    /// entries before that leaf, and path.bounds those of ranks in it.
    template <bool kLast>
    Path to_key(SoughtKey& key, std::uint64_t& rank) const {
        Bounds ranks{0, RootField::entries(root_)};
        rank = 0;
        Path path = descend([&](const std::byte* node, unsigned n) {
            const unsigned i = Node::template find_key<kLast>(node, n, key);
            const std::uint64_t before = Node::before(node, i);
            rank += before;
            ranks.high = Node::total(node, i) - before;
            return i;
        });
        path.bounds = ranks;
        return path;
    }
    /// The way to the first leaf of all.
    Path to_first() const {
        return descend([](const std::byte*, unsigned) { return 0u; });
    }
    /// `rank` becomes the place within the leaf's entries.
    Path to_rank(std::uint64_t& rank) const {
        Bounds bounds{0, RootField::entries(root_)};
        Path path = descend([&rank, &bounds](const std::byte* node, unsigned n) {
            return Node::find_rank(node, n, rank, bounds);
        });
        path.bounds = bounds;
        return path;
    }
    /// The way to the leaf of this number, counted from 0, in a tree that only ever grew and shrank at its end: all nodes
    /// but the last of each level are full, so that no count is looked at. Throws CorruptionError if there is none.
    Path to_leaf(std::uint64_t number) const {
        std::array<unsigned, kMaxHeight> places;  // by level
        for (unsigned level = 1, height = checked_height(); level <= height; ++level) {
            places[level - 1] = static_cast<unsigned>(number % Node::kCapacity);
            number /= Node::kCapacity;
        }
        if (number > 0) [[unlikely]] no_such_child(RootField::page(root_));
        return descend([this, &places](const std::byte* node, unsigned n) {
            const unsigned index = places[storage::page_level(node) - 1];
            if (index >= n) [[unlikely]] no_such_child(RootField::page(root_));
            return index;
        });
    }
    /// Whether the path leads to the first leaf of all.
    static bool is_first(const Path& path) {
        return std::all_of(path.steps.begin(), path.steps.begin() + path.height, [](const Path::Step& step) { return step.index == 0; });
    }
    /// Moves to the next leaf; false at the end.
    bool next_leaf(Path& path) const {
        unsigned depth = path.height;
        do {
            if (depth-- == 0) return false;
        } while (path.steps[depth].index + 1 >= storage::page_count(node(path, depth)));
        ++path.steps[depth].index;
        PageId page = Node::child(node(path, depth), path.steps[depth].index);
        while (++depth < path.height) {
            path.steps[depth] = {page, 0};
            page = Node::child(node(path, depth), 0);
        }
        path.leaf = page;
        return true;
    }
    /// Entries before the leaf of the path. Only for counted trees.
    std::uint64_t entries_before(const Path& path) const {
        std::uint64_t count = 0;
        for (unsigned d = 0; d < path.height; ++d) count += Node::before(node(path, d), path.steps[d].index);
        return count;
    }
    /// Starts loading the beginning of the leaf that follows in the same parent: the processor does not guess it, as it does
    /// the next line of a page.
    void load_ahead(const Path& path) const {
        if (path.height == 0) return;
        const Path::Step& step = path.steps[path.height - 1];
        const std::byte* parent = node(path, path.height - 1);
        if (step.index + 1 >= storage::page_count(parent)) return;
        prefetch_range(pager_.peek(Node::child(parent, step.index + 1)), 0, kLoadAhead);
    }
    /// Reads ahead the leaves that follow in the same parent, once per 32 leaves.
    void read_ahead(const Path& path) const {
        if (path.height == 0) return;
        const Path::Step& step = path.steps[path.height - 1];
        if (step.index % kReadAhead == 0) prefetch_children(pager_, node(path, path.height - 1), step.index);
    }
    /// If `index` begins a batch of children, reads these ahead.
    static void prefetch_children(Pager& pager, const std::byte* parent, unsigned index) {
        if (index % kReadAhead != 0) return;
        const unsigned end = std::min(index + kReadAhead, storage::page_count(parent));
        for (unsigned i = index; i < end;) {
            const PageId first = Node::child(parent, i);
            std::uint64_t run = 1;
            while (++i < end && Node::child(parent, i) == first + run) ++run;
            pager.prefetch(first, run);
        }
    }

    /// The leaf of the path for writing; the path follows it if it is copied.
    std::byte* writable_leaf(Path& path) { return writable(path, path.height); }
    /// Moves the pages of the path that lie at `limit` or above and belong to a seal to new ids.
    void relocate(Path& path, PageId limit) {
        for (unsigned d = 0; d <= path.height; ++d) {
            if ((d == path.height ? path.leaf : path.steps[d].page) >= limit) writable(path, d);
        }
    }
    /// Gives an empty tree its first leaf.
    std::byte* plant() {
        PageId id;
        std::byte* page = pager_.allocate(leaf_kind_, 0, id);
        RootField::set_page(root_, id);
        RootField::set_height(root_, 0);
        return page;
    }
    /// Adds to the number of entries in the leaf of the path, on every level.
    void add_entries(Path& path, std::uint64_t delta) {
        RootField::add_entries(root_, delta);
        if constexpr (Node::kCounted) {
            for (unsigned d = 0; d < path.height; ++d) Node::add(writable(path, d), path.steps[d].index, delta);
        }
    }
    /// Links a new leaf to the right of the path's leaf, which gave it `entries` of its entries.
    /// The path is spent afterwards. REQUIRES: the key is below the upper bound of the path's leaf, which may be
    /// lower than the next leaf's first key.
    void insert_leaf(Path& path, PageId right, Key key, std::uint64_t entries) {
        for (unsigned d = path.height; d-- > 0;) {
            std::byte* node = writable(path, d);
            const unsigned at = path.steps[d].index + 1;
            Node::add(node, at - 1, 0 - entries);
            if (Node::has_room(node, key)) return Node::insert(node, at, right, key, entries);
            PageId sibling_id;
            std::byte* sibling = split(node, at, sibling_id, right, key, entries);
            right = sibling_id;
            key = Node::separator(sibling, 0);
            entries = Node::total(sibling, storage::page_count(sibling) - 1);
        }
        grow(right, key, entries);
    }
    /// Unlinks the path's leaf, which the caller has released and emptied (or merged into its left
    /// neighbour). The path is spent afterwards.
    void remove_leaf(Path& path) {
        for (unsigned d = path.height; d-- > 0;) {
            std::byte* node = writable(path, d);
            if (storage::page_count(node) > 1) {
                Node::erase(node, path.steps[d].index);
                return merge_inner(path, d);
            }
            pager_.release(path.steps[d].page);
        }
        RootField::set_page(root_, 0);
        RootField::set_height(root_, 0);
    }
    /// Merges the path's leaf with a neighbour below the same parent if `fits(left, right)` allows it:
    /// `merge(left, right)` appends, then the right page goes. The path is spent afterwards.
    template <class Fits, class Merge>
    void merge_leaf(Path path, Fits fits, Merge merge) {
        if (path.height == 0) return;
        unsigned& index = path.steps[path.height - 1].index;
        const std::byte* parent = node(path, path.height - 1);
        const auto try_pair = [&](unsigned left) {
            const PageId left_id = Node::child(parent, left), right_id = Node::child(parent, left + 1);
            const std::byte* const pages[] = {neighbour(left_id, leaf_kind_, 0), neighbour(right_id, leaf_kind_, 0)};
            if (!pages[0] || !pages[1] || !fits(pages[0], pages[1])) return false;
            index = left;
            path.leaf = left_id;
            merge(writable_leaf(path), leaf(right_id));
            pager_.release(right_id);
            ++index;
            remove_leaf(path);
            return true;
        };
        const unsigned here = index, n = storage::page_count(parent);
        if (here + 1 < n && try_pair(here)) return;
        if (here > 0) try_pair(here - 1);
    }

    /// Gives every page back. O(pages / fan-out) reads.
    void clear() {
        std::vector<PageId> pages;
        walk([&](PageId id, const std::byte*, unsigned) { pages.push_back(id); }, [&](PageId id) { pages.push_back(id); });
        for (const PageId id : pages) pager_.release(id);
        std::memset(root_, 0, RootField::kSize);
    }
    /// Calls visit(page id, page, level) for every inner node and `leaf_visit(id)` for every leaf,
    /// in order, without recursion deeper than the height. Throws CorruptionError when it has visited as many
    /// pages as there are and is not at the end.
    template <class Inner, class Leaf>
    void walk(Inner&& visit, Leaf&& leaf_visit) const {
        std::uint64_t left = pager_.page_count();
        if (!empty()) walk(RootField::page(root_), checked_height(), left, visit, leaf_visit);
    }

private:
    static constexpr unsigned kReadAhead = 32;  ///< leaves
    static constexpr std::size_t kLoadAhead = 1024;  ///< bytes

    const std::byte* expect(PageId id, storage::PageKind kind, unsigned level) const {
        const std::byte* page = pager_.read(id);
        if (storage::page_kind(page) != kind || storage::page_level(page) != level) [[unlikely]] {
            misplaced(page, id, kind, level);
        }
        return page;
    }
    /// Null if it is damaged: nothing is merged with it, and who needs it will be told.
    const std::byte* neighbour(PageId id, storage::PageKind kind, unsigned level) const {
        try {
            return expect(id, kind, level);
        } catch (const CorruptionError&) {
            return nullptr;
        }
    }
    unsigned checked_height() const {
        const unsigned height = RootField::height(root_);
        if (height > kMaxHeight) [[unlikely]] too_high(height);
        return height;
    }
    const std::byte* node(const Path& path, unsigned depth) const {
        return expect(path.steps[depth].page, kInnerKind, path.height - depth);
    }
    template <class Choose>
    Path descend(const Choose& choose) const {
        Path path;
        path.height = checked_height();
        PageId page = RootField::page(root_);
        for (unsigned d = 0; d < path.height; ++d) {
            const std::byte* inner = expect(page, kInnerKind, path.height - d);
            const unsigned index = choose(inner, storage::page_count(inner));
            path.steps[d] = {page, index};
            page = Node::child(inner, index);
        }
        path.leaf = page;
        return path;
    }
    template <class Inner, class Leaf>
    void walk(PageId id, unsigned level, std::uint64_t& left, Inner& visit, Leaf& leaf_visit) const {
        if (left-- == 0) reached_again(id);
        if (level == 0) return leaf_visit(id);
        const std::byte* inner = expect(id, kInnerKind, level);
        const unsigned n = storage::page_count(inner);
        for (unsigned i = 0; i < n; ++i) walk(Node::child(inner, i), level - 1, left, visit, leaf_visit);
        visit(id, inner, level);
    }

    /// Depth path.height is the leaf. Pages that are copied are linked into their parents.
    std::byte* writable(Path& path, unsigned depth) {
        PageId& held = depth == path.height ? path.leaf : path.steps[depth].page;
        PageId id = held;
        std::byte* page = pager_.write(id);
        if (id != held) {
            held = id;
            if (depth == 0) RootField::set_page(root_, id);
            else Node::set_child(writable(path, depth - 1), path.steps[depth - 1].index, id);
        }
        return page;
    }
    /// Splits a full node and inserts the new child at place `at` of it.
    std::byte* split(std::byte* node, unsigned at, PageId& sibling_id, PageId right, Key key,
                     std::uint64_t entries) {
        std::byte* sibling = pager_.allocate(kInnerKind, storage::page_level(node), sibling_id);
        const unsigned n = storage::page_count(node);
        const unsigned keep = Node::split_place(node, at);
        Node::copy_tail(node, keep, sibling);
        Node::truncate(node, keep);
        if (at <= keep && keep < n) Node::insert(node, at, right, key, entries);
        else Node::insert(sibling, at - keep, right, key, entries);
        return sibling;
    }
    void grow(PageId right, Key key, std::uint64_t entries) {
        const unsigned height = RootField::height(root_) + 1;
        if (height > kMaxHeight) too_high(height);
        PageId id;
        std::byte* top = pager_.allocate(kInnerKind, height, id);
        Node::insert(top, 0, RootField::page(root_), Key{}, RootField::entries(root_) - entries);
        Node::insert(top, 1, right, key, entries);
        RootField::set_page(root_, id);
        RootField::set_height(root_, height);
    }
    void merge_inner(Path& path, unsigned depth) {
        if (depth == 0) return shrink();
        std::byte* here = writable(path, depth);
        if (!Node::is_small(here)) return;
        std::byte* parent = writable(path, depth - 1);
        const unsigned index = path.steps[depth - 1].index;
        const unsigned n = storage::page_count(parent);
        const auto try_pair = [&](unsigned left) {
            PageId left_id = Node::child(parent, left);
            const PageId right_id = Node::child(parent, left + 1);
            const unsigned level = path.height - depth;
            const std::byte* const nodes[] = {neighbour(left_id, kInnerKind, level), neighbour(right_id, kInnerKind, level)};
            if (!nodes[0] || !nodes[1]) return false;
            if (!Node::may_merge(nodes[0], nodes[1], Node::separator(parent, left + 1))) return false;
            path.steps[depth - 1].index = left;
            path.steps[depth].page = left_id;
            std::byte* target = writable(path, depth);
            const unsigned at = storage::page_count(target);
            Node::copy_tail(expect(right_id, kInnerKind, level), 0, target);
            Node::set_separator(target, at, Node::separator(parent, left + 1));
            pager_.release(right_id);
            Node::erase(parent, left + 1);
            merge_inner(path, depth - 1);
            return true;
        };
        if (index + 1 < n && try_pair(index)) return;
        if (index > 0) try_pair(index - 1);
    }
    /// While the root has a single child, that child becomes the root.
    void shrink() {
        while (RootField::height(root_) > 0) {
            const PageId id = RootField::page(root_);
            const std::byte* top = expect(id, kInnerKind, RootField::height(root_));
            if (storage::page_count(top) > 1) return;
            RootField::set_page(root_, Node::child(top, 0));
            RootField::set_height(root_, RootField::height(root_) - 1);
            pager_.release(id);
        }
    }

    Pager& pager_;
    std::byte* root_;
    storage::PageKind leaf_kind_;
};

}  // namespace pyrsistence::structures
