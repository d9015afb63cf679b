#include <algorithm>

#include "codec/hash.hpp"
#include "codec/item.hpp"
#include "containers/layout.hpp"
#include "containers/payload.hpp"
#include "pyrsistence/raw_dict.hpp"

namespace pyrsistence {

namespace {

using containers::DictRoot;
using containers::Payload;
using storage::ContainerType;
using storage::LoggedOp;
using storage::Op;
using storage::Pager;
using storage::ReadStep;
using storage::RecordHeader;
using storage::WriteStep;
using structures::Record;

/// Records of a dict; operands after the header.
enum class DictOp : std::uint8_t {
    add = 16,      ///< u48 id, u64 hash, entry
    replace = 17,  ///< u48 id, entry
    erase = 18,    ///< u48 id, u64 hash
    clear = 19,
};

/// Ids are given out until the next one would not fit into 48 bits.
constexpr EntryId kLastId = (EntryId{1} << 48) - 1;

RecordHeader header(DictOp op, ContainerId id, const storage::ExtentRef* extent = nullptr) {
    return RecordHeader(static_cast<Op>(op), id, extent);
}

struct Found {
    EntryId id = 0;
    Bytes entry;
    structures::HashIndex::Place place;  ///< in the index, if nothing was found
};

bool starts_with(Bytes entry, Bytes identity) {
    return entry.size() > identity.size() && std::memcmp(entry.data(), identity.data(), identity.size()) == 0;
}

/// Identities are self-delimiting, so that an entry which begins with one belongs to it.
Found find_entry(Pager& pager, const std::byte* root, std::uint64_t hash, Bytes identity) {
    const structures::Tree entries = DictRoot::entries(pager, root);
    Found found;
    const auto is_it = [&](EntryId id) {
        const Record record = entries.find(id);
        if (record.stored.empty()) {
            throw CorruptionError("the index names entry " + std::to_string(id) +
                                  ", which does not exist; copy its items into a new store; iterating needs no index");
        }
        const Bytes entry = entries.resolve(record);
        if (!starts_with(entry, identity)) return false;
        found.id = id;
        found.entry = entry;
        return true;
    };
    DictRoot::index(pager, root).find(hash, is_it, found.place);
    return found;
}

Bytes value_of(Bytes entry, std::size_t identity_size) {
    const Bytes rest = entry.subspan(identity_size);
    if (rest[0] != std::byte{0}) [[likely]] return rest;
    return codec::split_entry(entry).value;
}

void add(WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash, const Record& record) {
    std::byte* root = step.change(container);
    DictRoot::set_next_id(root, id + 1);
    DictRoot::entries(step.pager(), root).put(id, record);
    DictRoot::index(step.pager(), root).insert(hash, id);
}

void replace(WriteStep& step, ContainerId container, EntryId id, const Record& record) {
    DictRoot::entries(step.pager(), step.change(container)).put(id, record);
}

void erase(WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash) {
    std::byte* root = step.change(container);
    if (!DictRoot::entries(step.pager(), root).erase_id(id) || !DictRoot::index(step.pager(), root).erase(hash, id)) {
        throw CorruptionError("entry " + std::to_string(id) +
                              " and the index disagree; copy its items into a new store; iterating needs no index");
    }
}

void clear(WriteStep& step, ContainerId container) {
    std::byte* root = step.change(container);
    DictRoot::entries(step.pager(), root).clear();
    DictRoot::index(step.pager(), root).clear();
}

void commit_add(WriteStep& step, ContainerId container, Found& found, std::uint64_t hash, Bytes entry) {
    const Payload payload(step, entry);
    std::byte* root = step.change(container);
    const EntryId id = DictRoot::next_id(root);
    if (id == kLastId) throw CorruptionError("all ids of entries were given out, which takes longer than any store has existed");
    DictRoot::set_next_id(root, id + 1);
    DictRoot::entries(step.pager(), root).put(id, payload.record());
    DictRoot::index(step.pager(), root).insert(found.place, hash, id);
    step.commit(header(DictOp::add, container, payload.logged_extent()).u48(id).u64(hash), payload.logged_bytes());
}

void commit_erase(WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash) {
    erase(step, container, id, hash);
    step.commit(header(DictOp::erase, container).u48(id).u64(hash));
}

[[noreturn]] void bad_operand(const char* what, EntryId id) {
    throw CorruptionError(std::string("log: a record ") + what + " " + std::to_string(id) +
                          ", which it cannot; restore a backup");
}

void require_entry(const Payload& payload) {
    if (payload.record().stored.empty()) throw CorruptionError("log: an empty dict entry; restore a backup");
}

void apply(WriteStep& step, const LoggedOp& op) {
    const auto need = [&op](std::size_t size) {
        if (op.operands.size() < size) throw CorruptionError("log: a dict record that is too short");
    };
    switch (static_cast<DictOp>(op.op)) {
        case DictOp::add: {
            need(14);
            const EntryId id = codec::load48(op.operands.data());
            if (id < DictRoot::next_id(step.root(op.container)) || id == kLastId) bad_operand("gives out id", id);
            const Payload payload(step, op, op.operands.subspan(14));
            require_entry(payload);
            return add(step, op.container, id, codec::load<std::uint64_t>(op.operands.data() + 6), payload.record());
        }
        case DictOp::replace: {
            need(6);
            const EntryId id = codec::load48(op.operands.data());
            const Payload payload(step, op, op.operands.subspan(6));
            require_entry(payload);
            const bool exists = !DictRoot::entries(step.pager(), step.root(op.container)).find(id).stored.empty();
            if (!exists) bad_operand("replaces entry", id);
            return replace(step, op.container, id, payload.record());
        }
        case DictOp::erase:
            need(14);
            return erase(step, op.container, codec::load48(op.operands.data()),
                         codec::load<std::uint64_t>(op.operands.data() + 6));
        case DictOp::clear:
            return clear(step, op.container);
    }
    throw CorruptionError("log: a dict record of unknown kind " + std::to_string(int(op.op)));
}

[[maybe_unused]] const bool registered = [] {
    storage::Store::set_methods(ContainerType::dict, {&apply, &clear});
    return true;
}();

}  // namespace

RawDict::RawDict(const std::filesystem::path& path, const Options& options)
    : Container(static_cast<std::uint8_t>(ContainerType::dict), path, options) {}

RawDict::RawDict(const Handle& where, std::string_view name)
    : Container(static_cast<std::uint8_t>(ContainerType::dict), where, name) {}

RawDict::RawDict(const RawDict& live, Time time) : Container(live, time) {}

void RawDict::shorten_identity(Buffer& identity) {
    if (identity.size() <= codec::kMaxIdentity) return;
    Buffer digest;
    codec::digest_key(digest, identity);
    identity.assign(digest);
}

bool RawDict::get(Bytes identity, Buffer& value) const {
    storage::Store& open = store();
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    const ReadStep step = reading();
    const Found found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id == 0) {
        step.finish();
        return false;
    }
    value.assign(value_of(found.entry, identity.size()));
    step.finish();
    return true;
}

bool RawDict::contains(Bytes identity) const { return find(identity) != 0; }

EntryId RawDict::find(Bytes identity) const {
    storage::Store& open = store();
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    const ReadStep step = reading();
    const EntryId id = find_entry(step.pager(), step.root(id_), hash, identity).id;
    step.finish();
    return id;
}

bool RawDict::read_entry(EntryId id, Buffer& entry) const {
    const ReadStep step = reading();
    const structures::Tree entries = DictRoot::entries(step.pager(), step.root(id_));
    const Record record = entries.find(id);
    if (record.stored.empty()) return false;
    entry.assign(entries.resolve(record));
    step.finish();
    return true;
}

bool RawDict::set(const DictEntry& entry) {
    storage::Store& open = writable_store();
    const Bytes identity = entry.bytes.first(entry.identity_size);
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    WriteStep step(open);
    Found found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id == 0) {
        commit_add(step, id_, found, hash, entry.bytes);
        return true;
    }
    Bytes bytes = entry.bytes;
    Buffer composed;  // the key first inserted stays
    const Bytes kept = found.entry.first(found.entry.size() - value_of(found.entry, identity.size()).size());
    if (!std::ranges::equal(kept, bytes.first(entry.key_size))) {
        composed.append(kept);
        composed.append(bytes.subspan(entry.key_size));
        bytes = composed;
    }
    const Payload payload(step, bytes);
    replace(step, id_, found.id, payload.record());
    step.commit(header(DictOp::replace, id_, payload.logged_extent()).u48(found.id), payload.logged_bytes());
    return false;
}

bool RawDict::insert(const DictEntry& entry, Buffer& existing) {
    storage::Store& open = writable_store();
    const Bytes identity = entry.bytes.first(entry.identity_size);
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    WriteStep step(open);
    Found found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id != 0) {
        existing.assign(value_of(found.entry, identity.size()));
        return false;
    }
    commit_add(step, id_, found, hash, entry.bytes);
    return true;
}

bool RawDict::erase(Bytes identity) {
    Buffer ignored;
    return pop(identity, ignored);
}

bool RawDict::pop(Bytes identity, Buffer& value) {
    storage::Store& open = writable_store();
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    WriteStep step(open);
    const Found found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id == 0) return false;
    value.assign(value_of(found.entry, identity.size()));
    commit_erase(step, id_, found.id, hash);
    return true;
}

bool RawDict::pop_last(Buffer& entry) {
    storage::Store& open = writable_store();
    WriteStep step(open);
    const structures::Tree entries = DictRoot::entries(step.pager(), step.root(id_));
    if (entries.size() == 0) return false;
    const EntryId last = entries.last_id();
    entry.assign(entries.resolve(entries.find(last)));
    const Bytes identity = codec::entry_identity(entry);
    commit_erase(step, id_, last, codec::key_hash(identity, open.hash_seed()));
    return true;
}

void RawDict::clear() {
    WriteStep step(writable_store());
    pyrsistence::clear(step, id_);
    step.commit(header(DictOp::clear, id_));
}

void RawDict::read(EntryId from, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const structures::Tree entries = DictRoot::entries(step.pager(), step.root(id_));
    containers::fill_chunk(chunk, from, count, entries,
                           [&](std::uint64_t at, auto&& visit) { return entries.scan(at, visit); });
    chunk.version = step.version();
    step.finish();
}

void RawDict::read_back(EntryId end, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const structures::Tree entries = DictRoot::entries(step.pager(), step.root(id_));
    containers::fill_chunk(chunk, end, count, entries,
                           [&](std::uint64_t at, auto&& visit) { return entries.scan_back(at, visit); });
    chunk.version = step.version();
    step.finish();
}

EntryId RawDict::next_id() const {
    const ReadStep step = reading();
    return DictRoot::next_id(step.root(id_));
}

}  // namespace pyrsistence
