#include <algorithm>

#include "containers/payload.hpp"
#include "containers/layout.hpp"
#include "containers/records.hpp"
#include "pyrsistence/raw_sorted.hpp"
#include "pyrsistence/sort_key.hpp"

namespace pyrsistence {

namespace {

using containers::KeyedPayload;
using containers::record_header;
using containers::SortedOp;
using containers::SortedRoot;
using storage::ContainerType;
using storage::LoggedOp;
using storage::ReadStep;
using storage::WriteStep;
using structures::KeyedRecord;
using structures::KeyTree;
using structures::Record;

static_assert(kMaxSortKey == KeyedRecord::kMaxKey);
static_assert(static_cast<int>(SortedType::dict) == static_cast<int>(ContainerType::sorted_dict));
static_assert(static_cast<int>(SortedType::set) == static_cast<int>(ContainerType::sorted_set));
static_assert(static_cast<int>(SortedType::queue) == static_cast<int>(ContainerType::priority_queue));
static_assert(static_cast<int>(SortedType::multi_dict) == static_cast<int>(ContainerType::multi_dict));

KeyTree reading(const WriteStep& step, ContainerId container) { return SortedRoot::entries(step.pager(), step.root(container)); }
KeyTree changing(WriteStep& step, ContainerId container) { return SortedRoot::entries(step.pager(), step.change(container)); }

void erase_slice(WriteStep& step, ContainerId container, std::uint64_t first, std::uint64_t count) {
    while (count > 0) {
        step.next();
        KeyTree tree = changing(step, container);
        if (first >= tree.size()) return;
        count -= tree.erase_some(first, count);
    }
}

void apply(WriteStep& step, const LoggedOp& op) {
    containers::Operands operands(op);
    switch (static_cast<SortedOp>(op.op)) {
        case SortedOp::insert:
        case SortedOp::set: {
            const KeyedPayload payload(step, op, operands.rest());
            const Record record = payload.record();
            if (!KeyedRecord::sound(KeyedRecord::bytes_of(record))) storage::bad_record();
            KeyTree tree = changing(step, op.container);
            const bool replaces = static_cast<SortedOp>(op.op) == SortedOp::set;
            KeyTree::Place place = replaces ? tree.find(KeyedRecord::key_of(record)) : tree.behind(KeyedRecord::key_of(record));
            if (!replaces) return tree.insert(place, record);
            if (place.found) return tree.replace(place, record);
            throw CorruptionError("log: a record replaces a sorted entry that does not exist");
        }
        case SortedOp::erase: {
            KeyTree tree = changing(step, op.container);
            KeyTree::Place place = tree.find(operands.rest());
            if (place.found) return tree.erase(place);
            throw CorruptionError("log: a record erases a sorted entry that does not exist");
        }
        case SortedOp::erase_slice: {
            const std::uint64_t first = operands.u48();
            return erase_slice(step, op.container, first, operands.u48());
        }
        case SortedOp::clear:
            return changing(step, op.container).clear();
    }
    throw CorruptionError("log: a sorted record of unknown kind " + std::to_string(int(op.op)));
}

[[maybe_unused]] const bool registered = [] {
    for (const ContainerType type : {ContainerType::sorted_dict, ContainerType::sorted_set, ContainerType::priority_queue, ContainerType::multi_dict}) {
        storage::Store::set_methods(type, {&apply, [](WriteStep& step, ContainerId id) { changing(step, id).clear(); }});
    }
    return true;
}();

[[noreturn]] void not_comparable(std::string_view kind, std::string_view other) {
    throw OrderError("this key and those in the container cannot be compared ('" + std::string(kind) + "' with '" +
                     std::string(other) + "'): the keys of a sorted container are all numbers, all str, all bytes, "
                     "..., or tuples that agree in this; convert it, or store pairs that begin with a number for each "
                     "kind, as in (0, 4096), (1, 'main')");
}

void require_comparable(const KeyTree& tree, const KeyTree::Place& place, Bytes sort_key) {
    const auto [before, after] = tree.neighbours(place);
    for (const auto& neighbour : {before, after}) {
        if (!neighbour) continue;
        const auto kinds = incomparable_kinds(sort_key, KeyedRecord::key_of(*neighbour));
        if (kinds) not_comparable(kinds->first, kinds->second);
    }
}

void commit_insert(WriteStep& step, ContainerId container, const KeyTree& tree, KeyTree::Place& place, const SortedEntry& entry) {
    tree.prefetch_insert(place);
    require_comparable(tree, place, entry.sort_key);
    const KeyedPayload payload(step, entry.bytes);
    changing(step, container).insert(place, payload.record());
    step.commit(record_header(SortedOp::insert, container, payload.logged_extent()), payload.logged_bytes());
}

void commit_erase_slice(WriteStep& step, ContainerId container, std::uint64_t first, std::uint64_t count) {
    erase_slice(step, container, first, count);
    step.commit(record_header(SortedOp::erase_slice, container).u48(first).u48(count));
}

void read_entries(const ReadStep& step, const KeyTree& tree, std::uint64_t from, std::size_t count, Chunk& chunk) {
    containers::fill_chunk(chunk, from, count, tree, [&](std::uint64_t at, auto&& visit) {
        return tree.scan(at, visit, count > containers::kFewEntries);
    });
    chunk.version = step.version();
    step.finish();
}

/// Calls visit(rank, entry) for those from one rank to before another, until it returns false.
template <class Visit>
void scan_range(const KeyTree& tree, std::uint64_t first, std::uint64_t end, Visit&& visit) {
    bool on = true;
    for (std::optional<std::uint64_t> at = first; on && at && *at < end;) {
        at = tree.scan(*at, [&](std::uint64_t rank, const Record& record) {
            return on = rank < end && visit(rank, tree.resolve(record));
        });
    }
}

/// The rank behind the first so many of some entries with the same key, as far as there are.
std::uint64_t behind(const KeyTree::Equals& equals, std::uint64_t passed) {
    return equals.first.rank + std::min(passed, equals.end - equals.first.rank);
}

/// Whether the entry at a rank consists of these bytes.
bool holds(const KeyTree& tree, std::uint64_t rank, Bytes entry) {
    return rank < tree.size() && std::ranges::equal(tree.resolve(tree.at(rank)), entry);
}

}  // namespace

RawSorted::RawSorted(const std::filesystem::path& path, const Options& options, SortedType type)
    : Container(static_cast<std::uint8_t>(type), path, options) {}

RawSorted::RawSorted(const Handle& where, std::string_view name, SortedType type)
    : Container(static_cast<std::uint8_t>(type), where, name) {}

RawSorted::RawSorted(const RawSorted& live, Time time) : Container(live, time) {}

bool RawSorted::get(Bytes sort_key, Buffer& entry) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    const KeyTree::Place place = tree.find(sort_key);
    if (place.found) entry.assign(tree.resolve(tree.at(place)));
    step.finish();
    return place.found;
}

bool RawSorted::contains(Bytes sort_key) const {
    const ReadStep step = reading();
    const bool found = SortedRoot::entries(step.pager(), step.root(id_)).find(sort_key).found;
    step.finish();
    return found;
}

std::uint64_t RawSorted::lower_bound(Bytes sort_key) const {
    const ReadStep step = reading();
    const std::uint64_t rank = SortedRoot::entries(step.pager(), step.root(id_)).lower_bound(sort_key);
    step.finish();
    return rank;
}

std::uint64_t RawSorted::upper_bound(Bytes sort_key) const {
    const ReadStep step = reading();
    const std::uint64_t rank = SortedRoot::entries(step.pager(), step.root(id_)).upper_bound(sort_key);
    step.finish();
    return rank;
}

RankRange RawSorted::equal_range(Bytes sort_key, Keys keys) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    const KeyTree::Equals equals = tree.equal_range(sort_key);
    if (keys == Keys::comparable) pyrsistence::require_comparable(tree, equals.first, sort_key);
    step.finish();
    return {equals.first.rank, equals.end};
}

void RawSorted::require_comparable(Bytes sort_key) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    pyrsistence::require_comparable(tree, tree.find(sort_key), sort_key);
    step.finish();
}

bool RawSorted::set(const SortedEntry& entry) {
    WriteStep step(writable_store());
    const KeyTree tree = pyrsistence::reading(step, id_);
    KeyTree::Place place = tree.find(entry.sort_key);
    if (!place.found) {
        commit_insert(step, id_, tree, place, entry);
        return true;
    }
    const Bytes old = tree.resolve(tree.at(place));
    Bytes bytes = entry.bytes;
    Buffer composed;  // the key first inserted stays
    const Bytes kept = old.first(old.size() - split_sorted_entry(old).value.size());
    if (!std::ranges::equal(kept, bytes.first(entry.key_size))) {
        composed.append(kept);
        composed.append(bytes.subspan(entry.key_size));
        bytes = composed;
    }
    const KeyedPayload payload(step, bytes);
    changing(step, id_).replace(place, payload.record());
    step.commit(record_header(SortedOp::set, id_, payload.logged_extent()), payload.logged_bytes());
    return false;
}

bool RawSorted::insert(const SortedEntry& entry, Buffer& existing) {
    WriteStep step(writable_store());
    const KeyTree tree = pyrsistence::reading(step, id_);
    KeyTree::Place place = tree.find(entry.sort_key);
    if (place.found) {
        existing.assign(tree.resolve(tree.at(place)));
        return false;
    }
    commit_insert(step, id_, tree, place, entry);
    return true;
}

void RawSorted::push(const SortedEntry& entry) {
    WriteStep step(writable_store());
    const KeyTree tree = pyrsistence::reading(step, id_);
    KeyTree::Place place = tree.behind(entry.sort_key);
    commit_insert(step, id_, tree, place, entry);
}

bool RawSorted::erase(Bytes sort_key) {
    WriteStep step(writable_store());
    KeyTree::Place place = pyrsistence::reading(step, id_).find(sort_key);
    if (!place.found) return false;
    changing(step, id_).erase(place);
    step.commit(record_header(SortedOp::erase, id_), sort_key);
    return true;
}

bool RawSorted::erase(Bytes sort_key, Bytes entry, std::uint64_t passed) {
    WriteStep step(writable_store());
    const KeyTree tree = pyrsistence::reading(step, id_);
    const std::uint64_t rank = behind(tree.equal_range(sort_key), passed);
    if (!holds(tree, rank, entry)) return false;
    commit_erase_slice(step, id_, rank, 1);
    return true;
}

bool RawSorted::erase_at(std::uint64_t rank, Bytes entry) {
    WriteStep step(writable_store());
    if (!holds(pyrsistence::reading(step, id_), rank, entry)) return false;
    commit_erase_slice(step, id_, rank, 1);
    return true;
}

bool RawSorted::erase_at(Rank rank) {
    WriteStep step(writable_store());
    const std::uint64_t size = pyrsistence::reading(step, id_).size(), at = rank.in(size);
    if (at >= size) return false;
    commit_erase_slice(step, id_, at, 1);
    return true;
}

std::uint64_t RawSorted::erase_between(const std::optional<KeyBound>& first, const std::optional<KeyBound>& end) {
    WriteStep step(writable_store());
    const KeyTree tree = pyrsistence::reading(step, id_);
    const auto rank_of = [&tree](const KeyBound& bound) {
        const KeyTree::Equals equals = tree.equal_range(bound.sort_key);
        pyrsistence::require_comparable(tree, equals.first, bound.sort_key);
        return bound.behind ? equals.end : equals.first.rank;
    };
    const std::uint64_t from = first ? rank_of(*first) : 0, to = end ? rank_of(*end) : tree.size();
    if (from >= to) return 0;
    commit_erase_slice(step, id_, from, to - from);
    return to - from;
}

std::uint64_t RawSorted::erase_all(Bytes sort_key) {
    WriteStep step(writable_store());
    const KeyTree::Equals equals = pyrsistence::reading(step, id_).equal_range(sort_key);
    const std::uint64_t first = equals.first.rank, count = equals.end - first;
    if (count > 0) commit_erase_slice(step, id_, first, count);
    return count;
}

bool RawSorted::erase_if_same(Bytes sort_key, const Chunk& expected) {
    WriteStep step(writable_store());
    const KeyTree tree = pyrsistence::reading(step, id_);
    const KeyTree::Equals equals = tree.equal_range(sort_key);
    const std::uint64_t first = equals.first.rank, count = equals.end - first;
    if (step.version() != expected.version) {
        if (count != expected.items.size()) return false;
        std::size_t same = 0;
        scan_range(tree, first, equals.end, [&](std::uint64_t, Bytes entry) {
            return std::ranges::equal(entry, expected.entry(same)) && ++same > 0;
        });
        if (same != count) return false;
    }
    if (count > 0) commit_erase_slice(step, id_, first, count);
    return true;
}

void RawSorted::erase_slice(std::uint64_t first, std::uint64_t count) {
    WriteStep step(writable_store());
    const std::uint64_t size = pyrsistence::reading(step, id_).size();
    if (first >= size || count == 0) return;
    commit_erase_slice(step, id_, first, std::min(count, size - first));
}

bool RawSorted::replace_first(const SortedEntry& entry, Bytes expected) {
    const std::size_t logged = 2 * storage::RecordHeader::kMaxSize + std::min(entry.bytes.size(), storage::kLogInlineLimit);
    WriteStep step(writable_store(), logged, WriteStep::Kind::batch);
    const KeyTree tree = pyrsistence::reading(step, id_);
    if (!holds(tree, 0, expected)) return false;
    pyrsistence::require_comparable(tree, tree.behind(entry.sort_key), entry.sort_key);
    commit_erase_slice(step, id_, 0, 1);
    step.next();
    const KeyTree rest = pyrsistence::reading(step, id_);
    KeyTree::Place place = rest.behind(entry.sort_key);
    commit_insert(step, id_, rest, place, entry);
    step.commit_batch();
    return true;
}

void RawSorted::clear() {
    WriteStep step(writable_store());
    changing(step, id_).clear();
    step.commit(record_header(SortedOp::clear, id_));
}

bool RawSorted::read_at(Rank rank, Chunk& chunk) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    chunk.clear();
    const std::uint64_t at = rank.in(tree.size());
    const bool found = at < tree.size();
    if (found) chunk.add(at, tree.resolve(tree.at(at)));
    step.finish();
    return found;
}

void RawSorted::read(std::uint64_t from, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    read_entries(step, SortedRoot::entries(step.pager(), step.root(id_)), from, count, chunk);
}

void RawSorted::read_behind(Bytes sort_key, std::uint64_t passed, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    read_entries(step, tree, behind(tree.equal_range(sort_key), passed), count, chunk);
}

void RawSorted::read_equals(Bytes sort_key, std::uint64_t passed, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    const KeyTree::Equals equals = tree.equal_range(sort_key);
    const std::uint64_t first = behind(equals, passed), left = equals.end - first;
    read_entries(step, tree, first, static_cast<std::size_t>(std::min<std::uint64_t>(count, left)), chunk);
    chunk.more = chunk.items.size() < left;
}

void RawSorted::read_all(Bytes sort_key, Chunk& chunk) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    const KeyTree::Equals equals = tree.equal_range(sort_key);
    chunk.clear();
    scan_range(tree, equals.first.rank, equals.end, [&](std::uint64_t rank, Bytes entry) {
        chunk.add(rank, entry);
        return true;
    });
    chunk.more = false;
    chunk.version = step.version();
    step.finish();
}

void RawSorted::read_back(std::uint64_t end, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const KeyTree tree = SortedRoot::entries(step.pager(), step.root(id_));
    containers::fill_chunk(chunk, end, count, tree, [&](std::uint64_t at, auto&& visit) { return tree.scan_back(at, visit); });
    chunk.version = step.version();
    step.finish();
}

}  // namespace pyrsistence
