#include "containers/dict_steps.hpp"

#include <cstring>

#include "codec/item.hpp"
#include "containers/records.hpp"

namespace pyrsistence::containers {

namespace {

using storage::ContainerType;
using storage::LoggedOp;
using storage::WriteStep;
using structures::Record;

/// Ids are given out until the next one would not fit into 48 bits.
constexpr EntryId kLastId = (EntryId{1} << 48) - 1;
constexpr const char* kAdvice = "; verify(repair=True) makes a new store with a sound one";

bool starts_with(Bytes entry, Bytes identity) {
    return entry.size() > identity.size() && std::memcmp(entry.data(), identity.data(), identity.size()) == 0;
}

void put(WriteStep& step, ContainerId container, EntryId id, const Record& record) {
    DictRoot::entries(step.pager(), step.change(container)).put(id, record);
}

void erase(WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash) {
    std::byte* root = step.change(container);
    if (!DictRoot::entries(step.pager(), root).erase_id(id) || !DictRoot::index(step.pager(), root).erase(hash, id)) {
        throw CorruptionError("entry " + std::to_string(id) + " and the index disagree" + kAdvice);
    }
}

[[noreturn]] void bad_operand(const char* what, EntryId id) {
    throw CorruptionError(std::string("log: a record ") + what + " " + std::to_string(id) +
                          ", which it cannot; restore a backup, or save what can be read by verify(repair=True)");
}

void require_entry(const Payload& payload) {
    if (payload.record().stored.empty()) storage::bad_record();
}

void apply(WriteStep& step, const LoggedOp& op) {
    Operands operands(op);
    switch (static_cast<DictOp>(op.op)) {
        case DictOp::add: {
            const EntryId id = operands.u48();
            const std::uint64_t hash = operands.u64();
            if (id < DictRoot::next_id(step.root(op.container)) || id == kLastId) bad_operand("gives out id", id);
            const Payload payload(step, op, operands.rest());
            require_entry(payload);
            structures::HashIndex::Place unknown;
            index_new(step, op.container, id, unknown, hash);
            return put(step, op.container, id, payload.record());
        }
        case DictOp::replace: {
            const EntryId id = operands.u48();
            const Payload payload(step, op, operands.rest());
            require_entry(payload);
            const bool exists = !DictRoot::entries(step.pager(), step.root(op.container)).find(id).stored.empty();
            if (!exists) bad_operand("replaces entry", id);
            return put(step, op.container, id, payload.record());
        }
        case DictOp::erase: {
            const EntryId id = operands.u48();
            return erase(step, op.container, id, operands.u64());
        }
        case DictOp::clear:
            return clear_dict(step, op.container);
    }
    throw CorruptionError("log: a dict record of unknown kind " + std::to_string(int(op.op)));
}

[[maybe_unused]] const bool registered = [] {
    for (const ContainerType type : {ContainerType::dict, ContainerType::set}) {
        storage::Store::set_methods(type, {&apply, &clear_dict});
    }
    return true;
}();

}  // namespace

/// Identities are self-delimiting, so that an entry which begins with one belongs to it.
FoundEntry find_entry(storage::Pager& pager, const std::byte* root, std::uint64_t hash, Bytes identity) {
    const structures::Tree entries = DictRoot::entries(pager, root);
    FoundEntry found;
    const auto is_it = [&](EntryId id) {
        const Record record = entries.find(id);
        if (record.stored.empty()) {
            throw CorruptionError("the index names entry " + std::to_string(id) + ", which does not exist" + kAdvice);
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

void prefetch_entries(storage::Pager& pager, const std::byte* root, std::span<const std::uint64_t> hashes) {
    const structures::HashIndex index = DictRoot::index(pager, root);
    const structures::Tree entries = DictRoot::entries(pager, root);
    index.prefetch(hashes);
    for (const std::uint64_t hash : hashes) {
        if (const auto id = index.find(hash, [](EntryId) { return true; })) entries.prefetch(*id);
    }
}

Bytes value_of(Bytes entry, std::size_t identity_size) {
    const Bytes rest = entry.subspan(identity_size);
    if (rest[0] != std::byte{0}) [[likely]] return rest;
    return codec::split_entry(entry).value;
}

void index_new(WriteStep& step, ContainerId container, EntryId id, structures::HashIndex::Place& place,
               std::uint64_t hash) {
    if (id >= kLastId) throw CorruptionError("all ids of entries were given out, which takes longer than any store has existed");
    std::byte* root = step.change(container);
    DictRoot::set_next_id(root, id + 1);
    DictRoot::index(step.pager(), root).insert(place, hash, id);
}

void log_new(WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash, const Payload& payload) {
    step.commit(record_header(DictOp::add, container, payload.logged_extent()).u48(id).u64(hash), payload.logged_bytes());
}

void commit_add(WriteStep& step, ContainerId container, EntryId id, FoundEntry& found, std::uint64_t hash,
                Bytes entry) {
    const Payload payload(step, entry);
    index_new(step, container, id, found.place, hash);
    put(step, container, id, payload.record());
    log_new(step, container, id, hash, payload);
}

void commit_replace(WriteStep& step, ContainerId container, EntryId id, Bytes entry) {
    const Payload payload(step, entry);
    put(step, container, id, payload.record());
    step.commit(record_header(DictOp::replace, container, payload.logged_extent()).u48(id), payload.logged_bytes());
}

void commit_erase(WriteStep& step, ContainerId container, EntryId id, std::uint64_t hash) {
    erase(step, container, id, hash);
    step.commit(record_header(DictOp::erase, container).u48(id).u64(hash));
}

void clear_dict(WriteStep& step, ContainerId container) {
    std::byte* root = step.change(container);
    DictRoot::entries(step.pager(), root).clear();
    DictRoot::index(step.pager(), root).clear();
}

}  // namespace pyrsistence::containers
