#include <algorithm>
#include <array>

#include "codec/hash.hpp"
#include "codec/item.hpp"
#include "containers/dict_steps.hpp"
#include "containers/records.hpp"
#include "pyrsistence/raw_dict.hpp"

namespace pyrsistence {

namespace {

using containers::DictOp;
using containers::DictRoot;
using containers::find_entry;
using containers::FoundEntry;
using containers::value_of;
using storage::ReadStep;
using storage::WriteStep;
using structures::Record;

constexpr std::size_t kTogether = RawDict::kTogether;
/// A store of fewer pages is expected in the processor's caches, where looking ahead only costs time.
constexpr PageId kCachedPages = 1024;

/// The hashes of some keys that are looked up side by side.
class Together {
public:
    /// Of as many as there are, but kTogether.
    template <class IdentityAt>
    Together(std::size_t count, IdentityAt&& identity_at, std::uint64_t seed) : count_(std::min(kTogether, count)) {
        for (std::size_t i = 0; i < count_; ++i) hashes_[i] = codec::key_hash(identity_at(i), seed);
    }
    std::span<const std::uint64_t> hashes() const { return std::span(hashes_).first(count_); }
    /// Whether most of them lie in buckets of their own: what an integer needs has been loaded by the one before it.
    bool apart() const {
        std::size_t far = 0;
        for (std::size_t i = 1; i < count_; ++i) far += codec::hash_run(hashes_[i]) != codec::hash_run(hashes_[i - 1]);
        return far >= kTogether / 4;
    }
    /// Unless it is not worth it.
    void prefetch(storage::Pager& pager, const std::byte* root) const {
        if (pager.page_count() <= kCachedPages) return;
        try {
            containers::prefetch_entries(pager, root, hashes());
        } catch (const CorruptionError&) {
            // Who needs what is damaged will be told.
        }
    }

private:
    std::array<std::uint64_t, kTogether> hashes_;
    std::size_t count_;
};

static_assert(static_cast<int>(DictType::dict) == static_cast<int>(storage::ContainerType::dict));
static_assert(static_cast<int>(DictType::set) == static_cast<int>(storage::ContainerType::set));

/// Under the next id.
void add_entry(WriteStep& step, ContainerId container, FoundEntry& found, std::uint64_t hash, Bytes entry) {
    containers::commit_add(step, container, DictRoot::next_id(step.root(container)), found, hash, entry);
}

/// The key first inserted stays.
void replace_value(WriteStep& step, ContainerId container, const FoundEntry& found, const DictEntry& entry) {
    const Bytes kept = found.entry.first(found.entry.size() - value_of(found.entry, entry.identity_size).size());
    if (std::ranges::equal(kept, entry.bytes.first(entry.key_size))) {
        return containers::commit_replace(step, container, found.id, entry.bytes);
    }
    Buffer composed;
    composed.append(kept);
    composed.append(entry.bytes.subspan(entry.key_size));
    containers::commit_replace(step, container, found.id, composed);
}

struct Cleared {
    DictBatch& batch;
    ~Cleared() { batch.clear(); }
};

/// New entries in a batch, none of them large: they are indexed and logged one by one, and put into their tree together.
class Additions {
public:
    Additions(WriteStep& step, ContainerId container) : step_(step), container_(container) {}

    /// Whether the index may offer, for this hash, an entry that waits: the tree does not have it yet.
    bool may_hold(std::uint64_t hash) const {
        const auto end = tags_.begin() + static_cast<std::ptrdiff_t>(count_);
        return std::find(tags_.begin(), end, structures::BucketTree::tag_of(hash)) != end;
    }
    /// REQUIRES: not may_hold(hash); `entry` stays where it is until flush().
    void add(FoundEntry& found, std::uint64_t hash, Bytes entry) {
        const EntryId id = DictRoot::next_id(step_.root(container_));
        if (count_ == 0) first_ = id;
        containers::index_new(step_, container_, id, found.place, hash);
        containers::log_new(step_, container_, id, hash, containers::Payload(step_, entry));
        tags_[count_] = structures::BucketTree::tag_of(hash);
        records_[count_++] = {entry, false};
    }
    void flush() {
        for (std::size_t done = 0; done < count_;) {
            step_.next();
            const auto waiting = std::span(records_).first(count_).subspan(done);
            done += DictRoot::entries(step_.pager(), step_.change(container_)).append_some(first_ + done, waiting);
        }
        count_ = 0;
    }

private:
    WriteStep& step_;
    const ContainerId container_;
    EntryId first_ = 0;  ///< of those that wait, whose ids are consecutive
    std::array<std::uint64_t, kTogether> tags_;
    std::array<Record, kTogether> records_;
    std::size_t count_ = 0;
};

}  // namespace

RawDict::RawDict(const std::filesystem::path& path, const Options& options, DictType type)
    : Container(static_cast<std::uint8_t>(type), path, options) {}

RawDict::RawDict(const Handle& where, std::string_view name, DictType type)
    : Container(static_cast<std::uint8_t>(type), where, name) {}

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
    const FoundEntry found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id == 0) {
        step.finish();
        return false;
    }
    value.assign(value_of(found.entry, identity.size()));
    step.finish();
    return true;
}

void RawDict::get_many(const Chunk& identities, Chunk& values) const {
    values.clear();
    const std::uint64_t seed = store().hash_seed();
    for (std::size_t first = 0; first < identities.items.size(); first += kTogether) {
        const Together together(identities.items.size() - first, [&](std::size_t i) { return identities.entry(first + i); }, seed);
        const ReadStep step = reading();
        const std::byte* root = step.root(id_);
        together.prefetch(step.pager(), root);
        for (std::size_t i = 0; i < together.hashes().size(); ++i) {
            const Bytes identity = identities.entry(first + i);
            const FoundEntry found = find_entry(step.pager(), root, together.hashes()[i], identity);
            values.add(found.id, found.id == 0 ? Bytes{} : value_of(found.entry, identity.size()));
        }
        step.finish();
    }
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
    const std::uint64_t hash = codec::key_hash(entry.identity(), open.hash_seed());
    WriteStep step(open);
    FoundEntry found = find_entry(step.pager(), step.root(id_), hash, entry.identity());
    if (found.id != 0) {
        replace_value(step, id_, found, entry);
        return false;
    }
    add_entry(step, id_, found, hash, entry.bytes);
    return true;
}

void RawDict::set_many(DictBatch& batch, Existing existing) {
    if (batch.size() == 0) return;
    const Cleared cleared{batch};
    storage::Store& open = writable_store();
    const Together together(batch.size(), [&](std::size_t i) { return batch[i].identity(); }, open.hash_seed());
    std::size_t logged = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        logged += storage::RecordHeader::kMaxSize + std::min(batch[i].bytes.size(), storage::kLogInlineLimit);
    }
    WriteStep step(open, logged, WriteStep::Kind::batch);
    if (step.pager().outgrows_memory() && together.apart()) together.prefetch(step.pager(), step.root(id_));
    Additions additions(step, id_);
    const auto finish = [&] {
        additions.flush();
        step.commit_batch();
    };
    for (std::size_t i = 0; i < batch.size(); ++i) {
        const DictEntry entry = batch[i];
        const std::uint64_t hash = together.hashes()[i];
        const bool large = entry.bytes.size() > structures::SlottedPage::kMaxRecord;
        if (large || additions.may_hold(hash)) additions.flush();
        step.next();
        FoundEntry found;
        try {
            found = find_entry(step.pager(), step.root(id_), hash, entry.identity());
        } catch (const CorruptionError&) {  // of a page that those before do not need
            finish();
            throw;
        }
        if (found.id == 0 && !large) additions.add(found, hash, entry.bytes);
        else if (found.id == 0) add_entry(step, id_, found, hash, entry.bytes);
        else if (existing == Existing::replace) replace_value(step, id_, found, entry);
    }
    finish();
}

bool RawDict::insert(const DictEntry& entry, Buffer& existing) {
    storage::Store& open = writable_store();
    const Bytes identity = entry.bytes.first(entry.identity_size);
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    WriteStep step(open);
    FoundEntry found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id != 0) {
        existing.assign(value_of(found.entry, identity.size()));
        return false;
    }
    add_entry(step, id_, found, hash, entry.bytes);
    return true;
}

bool RawDict::erase(Bytes identity) {
    Buffer ignored;
    return pop(identity, ignored);
}

bool RawDict::erase(Bytes identity, Bytes value) {
    storage::Store& open = writable_store();
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    WriteStep step(open);
    const FoundEntry found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id == 0 || !std::ranges::equal(value_of(found.entry, identity.size()), value)) return false;
    containers::commit_erase(step, id_, found.id, hash);
    return true;
}

bool RawDict::pop(Bytes identity, Buffer& value) {
    storage::Store& open = writable_store();
    const std::uint64_t hash = codec::key_hash(identity, open.hash_seed());
    WriteStep step(open);
    const FoundEntry found = find_entry(step.pager(), step.root(id_), hash, identity);
    if (found.id == 0) return false;
    value.assign(value_of(found.entry, identity.size()));
    containers::commit_erase(step, id_, found.id, hash);
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
    containers::commit_erase(step, id_, last, codec::key_hash(identity, open.hash_seed()));
    return true;
}

void RawDict::clear() {
    WriteStep step(writable_store());
    containers::clear_dict(step, id_);
    step.commit(containers::record_header(DictOp::clear, id_));
}

void RawDict::read(EntryId from, std::size_t count, Chunk& chunk) const {
    const ReadStep step = reading();
    const structures::Tree entries = DictRoot::entries(step.pager(), step.root(id_));
    containers::fill_chunk(chunk, from, count, entries,
                           [&](std::uint64_t at, auto&& visit) { return entries.scan(at, visit, count > containers::kFewEntries); });
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
