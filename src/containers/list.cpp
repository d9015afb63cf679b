#include <algorithm>
#include <array>
#include <functional>

#include "codec/hash.hpp"
#include "containers/layout.hpp"
#include "containers/payload.hpp"
#include "containers/records.hpp"
#include "pyrsistence/raw_list.hpp"

namespace pyrsistence {

namespace {

using containers::ListOp;
using containers::ListRoot;
using containers::Payload;
using containers::record_header;
using storage::ContainerType;
using storage::LoggedOp;
using storage::ReadStep;
using storage::RecordHeader;
using storage::WriteStep;
using structures::Record;
using structures::RootField;
using structures::Tree;

static_assert(static_cast<int>(ListType::list) == static_cast<int>(ContainerType::list));
static_assert(static_cast<int>(ListType::deque) == static_cast<int>(ContainerType::deque));

constexpr std::size_t kMostAppended = 256;  ///< with one descent of the tree

Tree items(WriteStep& step, ContainerId container) { return ListRoot::items(step.pager(), step.change(container)); }

std::uint64_t size_of(const WriteStep& step, ContainerId container) {
    return ListRoot::items(step.pager(), step.root(container)).size();
}

void erase_slice(WriteStep& step, ContainerId container, std::uint64_t first, std::uint64_t stride, std::uint64_t count) {
    while (count > 0) {
        step.next();
        Tree tree = items(step, container);
        if (first >= tree.size()) return;
        count -= tree.erase_some(first, stride == 1 ? count : 1);
        first += stride - 1;
    }
}

/// Builds the reversed tree beside the old one, then gives the old pages back. Records that lie in
/// extents keep them: only references are copied.
void reverse(WriteStep& step, ContainerId container) {
    std::byte fresh[RootField::kSize]{};
    step.change(container);  // from here on a failure gives the new pages back
    std::uint64_t left = ListRoot::items(step.pager(), step.root(container)).size();
    for (std::uint64_t rank = 0; left > 0; ++rank) {
        step.next();
        const Record record = ListRoot::items(step.pager(), step.root(container)).at(--left);
        Tree(step.pager(), fresh, structures::TreeOrder::rank).insert(rank, record);
    }
    std::byte* root = step.change(container) + ListRoot::kItems;
    RootField::add_extents(root, 0 - RootField::extents(root));
    Tree(step.pager(), root, structures::TreeOrder::rank).clear();
    std::memcpy(root, fresh, sizeof fresh);
}

/// Records move with their extents. From the end to the front, or the other way round where that is shorter.
void rotate(WriteStep& step, ContainerId container, std::uint64_t count) {
    const std::uint64_t size = size_of(step, container);
    if (size < 2) return;
    count %= size;
    const bool backward = count > size / 2;
    for (std::uint64_t left = backward ? size - count : count; left > 0; --left) {
        step.next();
        Tree tree = items(step, container);
        const structures::TakenRecord taken = tree.take(backward ? 0 : size - 1);
        tree.insert(backward ? size - 1 : 0, taken.record());
    }
}

void apply(WriteStep& step, const LoggedOp& op) {
    containers::Operands operands(op);
    switch (static_cast<ListOp>(op.op)) {
        case ListOp::insert:
        case ListOp::set: {
            const std::uint64_t rank = operands.u48();
            const Payload payload(step, op, operands.rest());
            if (payload.record().stored.empty()) throw CorruptionError("log: an empty list item");
            Tree tree = items(step, op.container);
            if (static_cast<ListOp>(op.op) == ListOp::insert && rank <= tree.size()) return tree.insert(rank, payload.record());
            if (static_cast<ListOp>(op.op) == ListOp::set && rank < tree.size()) return tree.replace(rank, payload.record());
            throw CorruptionError("log: rank " + std::to_string(rank) + " in a list of " + std::to_string(tree.size()));
        }
        case ListOp::erase_slice: {
            const std::uint64_t first = operands.u48(), stride = operands.u48();
            if (stride == 0) throw CorruptionError("log: a slice of step 0");
            return erase_slice(step, op.container, first, stride, operands.u48());
        }
        case ListOp::reverse:
            return reverse(step, op.container);
        case ListOp::rotate:
            return rotate(step, op.container, operands.u48());
        case ListOp::limit:
            return ListRoot::set_limit(step.change(op.container), operands.u64());
        case ListOp::clear:
            return items(step, op.container).clear();
    }
    throw CorruptionError("log: a list record of unknown kind " + std::to_string(int(op.op)));
}

[[maybe_unused]] const bool registered = [] {
    for (const ContainerType type : {ContainerType::list, ContainerType::deque}) {
        storage::Store::set_methods(type, {&apply, [](WriteStep& step, ContainerId id) { items(step, id).clear(); }});
    }
    return true;
}();

void commit_insert(WriteStep& step, ContainerId container, std::uint64_t rank, Bytes item) {
    const Payload payload(step, item);
    items(step, container).insert(rank, payload.record());
    step.commit(record_header(ListOp::insert, container, payload.logged_extent()).u48(rank), payload.logged_bytes());
}

void commit_set(WriteStep& step, ContainerId container, std::uint64_t rank, Bytes item) {
    const Payload payload(step, item);
    items(step, container).replace(rank, payload.record());
    step.commit(record_header(ListOp::set, container, payload.logged_extent()).u48(rank), payload.logged_bytes());
}

void commit_erase(WriteStep& step, ContainerId container, std::uint64_t first, std::uint64_t stride, std::uint64_t count) {
    if (count == 0) return;
    erase_slice(step, container, first, stride, count);
    step.commit(record_header(ListOp::erase_slice, container).u48(first).u48(stride).u48(count));
}

/// Appends the first items, as many as are small and fit into one leaf; none if the first one is large.
std::size_t commit_append_some(WriteStep& step, ContainerId container, std::uint64_t rank, std::span<const Bytes> some) {
    std::array<Record, kMostAppended> records;
    std::size_t count = 0;
    for (; count < std::min(some.size(), records.size()) && some[count].size() <= structures::SlottedPage::kMaxRecord; ++count)
        records[count] = {some[count], false};
    if (count == 0) return 0;
    count = items(step, container).append_some(std::span(records).first(count));
    for (std::size_t i = 0; i < count; ++i) {
        step.commit(record_header(ListOp::insert, container).u48(rank + i), some[i]);
    }
    return count;
}

void commit_append(WriteStep& step, ContainerId container, std::uint64_t rank, std::span<const Bytes> items) {
    while (!items.empty()) {
        step.next();
        std::size_t done = commit_append_some(step, container, rank, items);
        if (done == 0) {
            commit_insert(step, container, rank, items[0]);
            done = 1;
        }
        rank += done;
        items = items.subspan(done);
    }
}

/// In a step of Kind::batch, which it ends. REQUIRES: the items to be removed exist.
void commit_replace(WriteStep& step, ContainerId container, std::uint64_t first, std::uint64_t removed,
                    std::span<const Bytes> items) {
    const std::size_t kept = std::min<std::uint64_t>(removed, items.size());
    for (std::size_t i = 0; i < kept; ++i) {
        step.next();
        commit_set(step, container, first + i, items[i]);
    }
    first += kept;
    items = items.subspan(kept);
    if (first == size_of(step, container)) {
        commit_append(step, container, first, items);
    } else {
        for (std::size_t i = 0; i < items.size(); ++i) {
            step.next();
            commit_insert(step, container, first + i, items[i]);
        }
    }
    commit_erase(step, container, first + items.size(), 1, removed - kept);
    step.commit_batch();
}

/// The items of a list that is written beside the one that there is.
class FreshItems {
public:
    FreshItems(WriteStep& step, ContainerId container) : step_(step), container_(container) {}

    void append(Bytes item) {
        if (item.size() > structures::SlottedPage::kMaxRecord) {
            flush();
            step_.next();
            const Payload payload(step_, item);
            tree().insert(size_, payload.record());
            step_.commit(record_header(ListOp::insert, container_, payload.logged_extent()).u48(size_++), payload.logged_bytes());
            return;
        }
        ends_[waiting_++] = (bytes_.append(item), bytes_.size());
        if (waiting_ == kMostAppended) flush();
    }
    /// Writes what waits.
    void flush() {
        std::array<Record, kMostAppended> records;
        for (std::size_t i = 0; i < waiting_; ++i) {
            const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
            records[i] = {bytes_.view().subspan(begin, ends_[i] - begin), false};
        }
        for (std::span<const Record> left = std::span(records).first(waiting_); !left.empty();) {
            step_.next();
            const std::size_t count = tree().append_some(left);
            for (const Record& record : left.first(count)) {
                step_.commit(record_header(ListOp::insert, container_).u48(size_++), record.stored);
            }
            left = left.subspan(count);
        }
        waiting_ = 0;
        bytes_.clear();
    }
    /// In the place of the container's items, which go.
    void take_over() {
        step_.next();
        std::byte* root = step_.change(container_) + ListRoot::kItems;
        Tree(step_.pager(), root, structures::TreeOrder::rank).clear();
        std::memcpy(root, root_, sizeof root_);
    }

private:
    Tree tree() { return Tree(step_.pager(), root_, structures::TreeOrder::rank); }

    WriteStep& step_;
    const ContainerId container_;
    std::byte root_[RootField::kSize]{};
    std::uint64_t size_ = 0;
    Buffer bytes_;
    std::array<std::size_t, kMostAppended> ends_;
    std::size_t waiting_ = 0;
};

/// For a new deque.
std::function<void(WriteStep&, ContainerId)> with_limit(ListType type, std::optional<std::uint64_t> max_size) {
    if (type != ListType::deque || !max_size) return {};
    return [limit = *max_size](WriteStep& step, ContainerId id) {
        ListRoot::set_limit(step.change(id), limit);
        step.commit(record_header(ListOp::limit, id).u64(limit));
    };
}

/// Upper bound of what logging the items takes.
std::size_t logged_size(std::span<const Bytes> items) {
    std::size_t size = 0;
    for (const Bytes item : items) size += RecordHeader::kMaxSize + std::min(item.size(), storage::kLogInlineLimit);
    return size;
}

}  // namespace

RawList::RawList(const std::filesystem::path& path, const Options& options, ListType type)
    : Container(static_cast<std::uint8_t>(type), path, options, with_limit(type, options.max_size)) {
    if (type == ListType::deque) find_limit(options.max_size);
}

RawList::RawList(const Handle& where, std::string_view name, ListType type, std::optional<std::uint64_t> max_size)
    : Container(static_cast<std::uint8_t>(type), where, name, with_limit(type, max_size)) {
    if (type == ListType::deque) find_limit(max_size);
}

RawList::RawList(const RawList& live, Time time) : Container(live, time), max_size_(live.max_size_) {}

void RawList::find_limit(std::optional<std::uint64_t> expected) {
    {
        const ReadStep step = reading();
        max_size_ = ListRoot::limit(step.root(id_));
        step.finish();
    }
    if (!expected || expected == max_size_) return;
    throw FormatError(path().string() + " holds a deque of " + (max_size_ ? "at most " + std::to_string(*max_size_) : "any number of") +
                      " items, not of at most " + std::to_string(*expected) + "; open it without saying how many");
}

bool RawList::get(Rank rank, Buffer& item) const {
    const ReadStep step = reading();
    const Tree tree = ListRoot::items(step.pager(), step.root(id_));
    const std::uint64_t at = rank.in(tree.size());
    if (at >= tree.size()) return false;
    item.assign(tree.resolve(tree.at(at)));
    step.finish();
    return true;
}

bool RawList::set(Rank rank, Bytes item) {
    WriteStep step(writable_store());
    const std::uint64_t size = size_of(step, id_), at = rank.in(size);
    if (at >= size) return false;
    commit_set(step, id_, at, item);
    return true;
}

void RawList::append(Bytes item) {
    if (max_size_) return push(false, item);
    insert(UINT64_MAX, item);
}

void RawList::prepend(Bytes item) {
    if (max_size_) return push(true, item);
    insert(0, item);
}

/// Where there is a limit.
void RawList::push(bool front, Bytes item) {
    if (max_size_ == 0) return (void)writable_store();
    WriteStep step(writable_store(), logged_size({&item, 1}) + RecordHeader::kMaxSize, WriteStep::Kind::batch);
    const std::uint64_t size = size_of(step, id_);
    if (size >= *max_size_) commit_erase(step, id_, front ? size - 1 : 0, 1, 1);
    step.next();
    commit_insert(step, id_, front ? 0 : size_of(step, id_), item);
    step.commit_batch();
}

bool RawList::insert(Rank rank, Bytes item) {
    WriteStep step(writable_store());
    const std::uint64_t size = size_of(step, id_);
    if (max_size_ && size >= *max_size_) return false;
    commit_insert(step, id_, std::min(rank.in(size, 0), size), item);
    return true;
}

bool RawList::erase(Rank rank) {
    Buffer ignored;
    return pop(rank, ignored);
}

bool RawList::erase(Rank rank, Bytes item) {
    WriteStep step(writable_store());
    const Tree tree = ListRoot::items(step.pager(), step.root(id_));
    const std::uint64_t at = rank.in(tree.size());
    if (at >= tree.size() || !std::ranges::equal(tree.resolve(tree.at(at)), item)) return false;
    commit_erase(step, id_, at, 1, 1);
    return true;
}

bool RawList::pop(Rank rank, Buffer& item) {
    WriteStep step(writable_store());
    const Tree tree = ListRoot::items(step.pager(), step.root(id_));
    const std::uint64_t at = rank.in(tree.size());
    if (at >= tree.size()) return false;
    item.assign(tree.resolve(tree.at(at)));
    commit_erase(step, id_, at, 1, 1);
    return true;
}

bool RawList::erase_slice(std::uint64_t first, std::uint64_t step_size, std::uint64_t count, Size expected) {
    WriteStep step(writable_store());
    const std::uint64_t size = size_of(step, id_);
    if (expected.value_or(size) != size) return false;
    if (first >= size || count == 0) return true;
    commit_erase(step, id_, first, step_size, std::min(count, (size - first - 1) / step_size + 1));
    return true;
}

bool RawList::replace_slice(std::uint64_t first, std::uint64_t removed, std::span<const Bytes> items, Size expected) {
    WriteStep step(writable_store(), logged_size(items) + RecordHeader::kMaxSize, WriteStep::Kind::batch);
    const std::uint64_t size = size_of(step, id_);
    if (expected.value_or(size) != size) return false;
    first = std::min(first, size);
    commit_replace(step, id_, first, std::min(removed, size - first), items);
    return true;
}

bool RawList::set_slice(std::uint64_t first, std::int64_t stride, std::span<const Bytes> items, Size expected) {
    if (items.empty()) return true;
    WriteStep step(writable_store(), logged_size(items), WriteStep::Kind::batch);
    const std::uint64_t size = size_of(step, id_);
    const std::uint64_t last = first + static_cast<std::uint64_t>(stride) * (items.size() - 1);
    if (first >= size || last >= size || expected.value_or(size) != size) return false;
    for (const Bytes item : items) {
        step.next();
        commit_set(step, id_, first, item);
        first += static_cast<std::uint64_t>(stride);
    }
    step.commit_batch();
    return true;
}

void Fingerprint::add(Bytes item) {
    hash_ = XXH3_64bits_withSeed(item.data(), item.size(), hash_);
    bytes_ += item.size();
    ++items_;
}

bool RawList::rearrange(const Fingerprint& before, const ItemSource& next) {
    // What is logged is in memory meanwhile.
    const std::uint64_t logged = before.bytes() + (before.items() + 1) * RecordHeader::kMaxSize;
    const bool small = logged <= info().memory_limit / 8;
    WriteStep step(writable_store(), small ? logged : SIZE_MAX, WriteStep::Kind::batch);
    if (step.version() != before.version_) {
        Fingerprint now(before.version_);
        const Tree tree = ListRoot::items(step.pager(), step.root(id_));
        for (std::optional<std::uint64_t> at = 0; at && now.items() < before.items();) {
            at = tree.scan(*at, [&](std::uint64_t, const Record& record) {
                now.add(tree.resolve(record));
                return true;
            });
        }
        if (tree.size() != before.items() || now.hash_ != before.hash_ || now.bytes() != before.bytes()) return false;
    }
    step.change(id_);  // from here on a failure gives the new pages back
    step.commit(record_header(ListOp::clear, id_));
    FreshItems fresh(step, id_);
    for (Bytes item; next(item);) fresh.append(item);
    fresh.flush();
    fresh.take_over();
    step.commit_batch();
    return true;
}

void RawList::rotate(std::int64_t steps) {
    WriteStep step(writable_store());
    const auto size = static_cast<std::int64_t>(size_of(step, id_));
    if (size < 2 || steps % size == 0) return;
    const auto count = static_cast<std::uint64_t>((steps % size + size) % size);
    pyrsistence::rotate(step, id_, count);
    step.commit(record_header(ListOp::rotate, id_).u48(count));
}

void RawList::reverse() {
    WriteStep step(writable_store());
    pyrsistence::reverse(step, id_);
    step.commit(record_header(ListOp::reverse, id_));
}

void RawList::clear() {
    WriteStep step(writable_store());
    items(step, id_).clear();
    step.commit(record_header(ListOp::clear, id_));
}

void RawList::read(std::uint64_t from, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const Tree tree = ListRoot::items(step.pager(), step.root(id_));
    containers::fill_chunk(chunk, from, count, tree, [&](std::uint64_t at, auto&& visit) { return tree.scan(at, visit, count > containers::kFewEntries); });
    chunk.version = step.version();
    step.finish();
}

void RawList::read_back(std::uint64_t end, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const Tree tree = ListRoot::items(step.pager(), step.root(id_));
    containers::fill_chunk(chunk, end, count, tree, [&](std::uint64_t at, auto&& visit) { return tree.scan_back(at, visit); });
    chunk.version = step.version();
    step.finish();
}

}  // namespace pyrsistence
