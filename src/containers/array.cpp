#include <algorithm>
#include <functional>

#include "containers/array_steps.hpp"
#include "containers/layout.hpp"
#include "pyrsistence/raw_array.hpp"

namespace pyrsistence {

namespace {

using containers::ArrayOp;
using containers::ArrayRoot;
using containers::record_header;
using storage::ContainerType;
using storage::LoggedOp;
using storage::ReadStep;
using storage::RecordHeader;
using storage::WriteStep;
using structures::ByteTree;

constexpr std::uint8_t kType = static_cast<std::uint8_t>(ContainerType::array);
constexpr std::uint64_t kMostZeros = std::uint64_t{16} << 20;  ///< bytes that one step appends
constexpr std::size_t kMostScattered = 4096;                   ///< items that one step replaces

ByteTree items(WriteStep& step, ContainerId container) {
    return ArrayRoot::items(step.pager(), step.change(container));
}

std::uint64_t bytes_of(const WriteStep& step, ContainerId container) {
    return ArrayRoot::items(step.pager(), step.root(container)).size();
}

/// Calls use(part) for as many bytes as may be written between two calls of WriteStep::next().
template <class Use>
void in_parts(WriteStep& step, ContainerId container, std::uint64_t size, Use&& use) {
    const std::uint64_t most = ByteTree::kStepLeaves * ArrayRoot::items(step.pager(), step.root(container)).leaf_bytes();
    for (std::uint64_t at = 0; at < size; at += most) {
        step.next();
        use(at, std::min(most, size - at));
    }
}

void write(WriteStep& step, ContainerId container, std::uint64_t position, Bytes bytes) {
    in_parts(step, container, bytes.size(), [&](std::uint64_t at, std::uint64_t count) {
        items(step, container).write(position + at, bytes.subspan(at, count));
    });
}

void append(WriteStep& step, ContainerId container, Bytes bytes) {
    in_parts(step, container, bytes.size(), [&](std::uint64_t at, std::uint64_t count) {
        items(step, container).append(bytes.subspan(at, count));
    });
}

void resize(WriteStep& step, ContainerId container, std::uint64_t size) {
    const std::uint64_t old = bytes_of(step, container);
    if (size == 0) return items(step, container).clear();
    if (size > old) {
        return in_parts(step, container, size - old, [&](std::uint64_t, std::uint64_t count) {
            items(step, container).append_zeros(count);
        });
    }
    while (bytes_of(step, container) > size) {
        step.next();
        items(step, container).truncate_some(size);
    }
}

void set_type(WriteStep& step, ContainerId container, Bytes type) {
    (void)containers::decode_item_type(type);
    if (type.size() > containers::kMostTypeBytes) storage::bad_record();
    ArrayRoot::set_type(step.change(container), type);
}

}  // namespace

void containers::apply_array_op(WriteStep& step, const LoggedOp& op) {
    containers::Operands operands(op);
    if (op.external) storage::bad_record();
    if (static_cast<ArrayOp>(op.op) == ArrayOp::type) return set_type(step, op.container, operands.rest());
    const std::uint64_t size = bytes_of(step, op.container);
    switch (static_cast<ArrayOp>(op.op)) {
        case ArrayOp::write: {
            const std::uint64_t position = operands.u64();
            const Bytes bytes = operands.rest();
            if (position > size || bytes.size() > size - position) {
                throw CorruptionError("log: bytes from " + std::to_string(position) + " on in an array of " + std::to_string(size));
            }
            return write(step, op.container, position, bytes);
        }
        case ArrayOp::append:
            return append(step, op.container, operands.rest());
        case ArrayOp::resize: {
            const std::uint64_t target = operands.u64();
            const std::uint64_t item = containers::decode_item_size(ArrayRoot::type(step.root(op.container)));
            if (target > size && target - size > std::max(kMostZeros, item)) throw CorruptionError("log: an array grows by too much at once");
            return resize(step, op.container, target);
        }
        case ArrayOp::type: break;
    }
    throw CorruptionError("log: an array record of unknown kind " + std::to_string(int(op.op)));
}

namespace {

[[maybe_unused]] const bool registered = [] {
    storage::Store::set_methods(ContainerType::array, {&containers::apply_array_op, [](WriteStep& step, ContainerId id) { items(step, id).clear(); }});
    return true;
}();

/// A step for a change that is logged as so many bytes, of a single item or in one record.
WriteStep step_for(storage::Store& store, std::size_t bytes) {
    const std::size_t records = bytes / RawArray::kAtOnce + 1;
    return WriteStep(store, bytes + records * RecordHeader::kMaxSize,
                     bytes <= RawArray::kAtOnce ? WriteStep::Kind::single : WriteStep::Kind::batch);
}

/// For a new array.
std::function<void(WriteStep&, ContainerId)> with_type(const std::optional<ItemType>& type) {
    if (!type) return {};
    return [encoded = containers::encode(*type)](WriteStep& step, ContainerId id) {
        ArrayRoot::set_type(step.change(id), encoded);
        step.commit(record_header(ArrayOp::type, id), encoded);
    };
}

/// Without a type nothing is created, nor emptied.
Options checked(Options options) {
    if (options.item_type) return options;
    if (options.mode == Mode::append) options.mode = Mode::read_write;
    if (options.mode == Mode::truncate || options.mode == Mode::exclusive) {
        throw FormatError("a new array needs a dtype");
    }
    return options;
}

[[noreturn]] void not_made_without_type(const NotFoundError& error) {
    throw NotFoundError(std::string(error.what()) + "; a new array needs a dtype");
}

}  // namespace

RawArray::RawArray(const std::filesystem::path& path, const Options& options)
try : Container(kType, path, checked(options), with_type(options.item_type),
                options.item_type ? Missing::create : Missing::refuse) {
    find_type(options.item_type);
} catch (const NotFoundError& error) {
    if (!options.item_type) not_made_without_type(error);
}

RawArray::RawArray(const Handle& where, std::string_view name, const std::optional<ItemType>& type)
try : Container(kType, where, name, with_type(type), type ? Missing::create : Missing::refuse) {
    find_type(type);
} catch (const NotFoundError& error) {
    if (!type) not_made_without_type(error);
}

void RawArray::find_type(const std::optional<ItemType>& expected) {
    {
        const ReadStep step = reading();
        type_ = containers::decode_item_type(ArrayRoot::type(step.root(id_)));
        step.finish();
    }
    if (!expected || *expected == type_) return;
    throw FormatError(path().string() + " holds an array of " + containers::describe(type_) + ", not of " +
                      containers::describe(*expected) + "; open it without a dtype");
}

std::size_t RawArray::part_size() const noexcept {
    return std::max<std::size_t>(1, kAtOnce / item_size()) * item_size();
}

bool RawArray::get(Rank rank, MutableBytes out) const {
    const ReadStep step = reading();
    const ByteTree tree = ArrayRoot::items(step.pager(), step.root(id_));
    const std::uint64_t at = rank.in(tree.size() / type_.size);
    if (at >= tree.size() / type_.size) return false;
    tree.get(at * type_.size, out);
    step.finish();
    return true;
}

std::uint64_t RawArray::read(std::uint64_t first, MutableBytes out) const {
    std::uint64_t done = 0;
    while (out.size() >= type_.size) {
        const ReadStep step = reading();
        const ByteTree tree = ArrayRoot::items(step.pager(), step.root(id_));
        const std::uint64_t size = tree.size() / type_.size;
        if (first >= size) return done;
        const std::uint64_t count = std::min<std::uint64_t>(std::min(out.size(), part_size()) / type_.size, size - first);
        const auto bytes = static_cast<std::size_t>(count * type_.size);
        tree.read(first * type_.size, out.first(bytes));
        step.finish();
        first += count;
        done += count;
        out = out.subspan(bytes);
    }
    return done;
}

bool RawArray::gather(std::span<const std::uint64_t> indices, MutableBytes out) const {
    const std::size_t item = item_size(), at_once = std::max<std::size_t>(1, part_size() / item / 16);
    while (!indices.empty()) {
        const auto some = indices.first(std::min(indices.size(), at_once));
        const ReadStep step = reading();
        const ByteTree tree = ArrayRoot::items(step.pager(), step.root(id_));
        const std::uint64_t size = tree.size() / item;
        Bytes leaf;
        std::uint64_t begin = 0;
        for (const std::uint64_t index : some) {
            if (index >= size) return false;
            const std::uint64_t position = index * item;
            if (position < begin || position - begin + item > leaf.size()) {
                leaf = tree.at(position);
                begin = position;
            }
            if (leaf.size() < item) tree.read(position, out.first(item));
            else std::memcpy(out.data(), leaf.data() + (position - begin), item);
            out = out.subspan(item);
        }
        step.finish();
        indices = indices.subspan(some.size());
    }
    return true;
}

std::uint64_t RawArray::row_items() const noexcept {
    return type_.size > ByteTree::kMostBytes ? 0 : ByteTree::kMostBytes / type_.size;
}

std::optional<RawArray::Rows> RawArray::rows(std::uint64_t first) const {
    static_assert(kRowBytes == storage::kPageSize);
    constexpr std::size_t kMostRows = 4096;
    struct Pin {
        std::shared_ptr<const storage::Snapshot> snapshot;
        std::shared_ptr<const os::Mapping> mapping;
    };
    const ReadStep step = reading();
    const ByteTree tree = ArrayRoot::items(step.pager(), step.root(id_));
    if (!snapshot_ || first >= tree.size() / type_.size) return std::nullopt;
    Rows rows;
    std::size_t count = 0;
    tree.visit_leaves(first / row_items(), [&](PageId id, Bytes bytes) {
        const std::byte* page = step.pager().mapped(id);
        if (page == nullptr || (count > 0 && page + ByteTree::kData != rows.bytes + count * kRowBytes)) return false;
        if (count == 0) rows.bytes = page + ByteTree::kData;
        rows.items += bytes.size() / type_.size;
        return ++count < kMostRows && bytes.size() == tree.leaf_bytes();
    });
    step.finish();
    if (count == 0) return std::nullopt;
    rows.pin = std::make_shared<const Pin>(snapshot_, step.pager().mapping());
    return rows;
}

namespace {

/// In one record, or in those of a batch where a single item is too large for one.
void commit_bytes(WriteStep& step, ContainerId id, ArrayOp op, std::optional<std::uint64_t> position, Bytes bytes,
                  std::size_t most) {
    for (std::size_t at = 0; at < bytes.size(); at += most) {
        const Bytes part = bytes.subspan(at, std::min(most, bytes.size() - at));
        RecordHeader header = record_header(op, id);
        if (position) header.u64(*position + at);
        if (position) write(step, id, *position + at, part);
        else append(step, id, part);
        step.commit(header, part);
    }
    step.commit_batch();
}

}  // namespace

bool RawArray::set(Rank rank, Bytes item) {
    WriteStep step = step_for(writable_store(), item.size());
    const std::uint64_t size = bytes_of(step, id_) / type_.size, at = rank.in(size);
    if (at >= size) return false;
    commit_bytes(step, id_, ArrayOp::write, at * type_.size, item, kAtOnce);
    return true;
}

bool RawArray::write(std::uint64_t first, Bytes items) {
    (void)writable_store();
    while (!items.empty()) {
        const Bytes part = items.first(std::min(items.size(), part_size()));
        WriteStep step = step_for(writable_store(), part.size());
        const std::uint64_t size = bytes_of(step, id_) / type_.size;
        if (first >= size || part.size() / type_.size > size - first) return false;
        commit_bytes(step, id_, ArrayOp::write, first * type_.size, part, kAtOnce);
        first += part.size() / type_.size;
        items = items.subspan(part.size());
    }
    return true;
}

bool RawArray::scatter(std::span<const std::uint64_t> indices, Bytes items) {
    (void)writable_store();
    const std::size_t item = item_size(), most = std::min(kMostScattered, part_size() / item);
    while (!indices.empty()) {
        const auto some = indices.first(std::min(indices.size(), most));
        WriteStep step(writable_store(), some.size() * (item + RecordHeader::kMaxSize), WriteStep::Kind::batch);
        if (some.back() >= bytes_of(step, id_) / item) return false;
        for (std::size_t i = 0, next = 0; i < some.size(); i = next) {
            next = i + 1;
            while (next < some.size() && some[next] == some[next - 1] + 1) ++next;
            const Bytes run = items.subspan(i * item, (next - i) * item);
            pyrsistence::write(step, id_, some[i] * item, run);
            step.commit(record_header(ArrayOp::write, id_).u64(some[i] * item), run);
        }
        step.commit_batch();
        indices = indices.subspan(some.size());
        items = items.subspan(some.size() * item);
    }
    return true;
}

void RawArray::append(Bytes items) {
    (void)writable_store();
    while (!items.empty()) {
        const Bytes part = items.first(std::min(items.size(), part_size()));
        WriteStep step = step_for(writable_store(), part.size());
        commit_bytes(step, id_, ArrayOp::append, {}, part, kAtOnce);
        items = items.subspan(part.size());
    }
}

bool RawArray::pop(MutableBytes out) {
    WriteStep step(writable_store());
    const ByteTree tree = ArrayRoot::items(step.pager(), step.root(id_));
    if (tree.size() < type_.size) return false;
    const std::uint64_t rest = tree.size() - type_.size;
    tree.get(rest, out);
    pyrsistence::resize(step, id_, rest);
    step.commit(record_header(ArrayOp::resize, id_).u64(rest));
    return true;
}

void RawArray::resize(std::uint64_t size) {
    if (size > storage::kMaxPages * ByteTree::kMostBytes / type_.size) {
        throw Error(path().string() + ": " + std::to_string(size) + " items are more than a store can hold");
    }
    const std::uint64_t target = size * type_.size;
    const std::uint64_t most = std::max(kMostZeros / type_.size, std::uint64_t{1}) * type_.size;
    for (std::uint64_t next = UINT64_MAX; next != target;) {
        WriteStep step(writable_store());
        const std::uint64_t old = bytes_of(step, id_);
        next = target > old ? std::min(target, old + most) : target;
        if (next == old) return;
        pyrsistence::resize(step, id_, next);
        step.commit(record_header(ArrayOp::resize, id_).u64(next));
    }
}

}  // namespace pyrsistence
