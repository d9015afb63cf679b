#include "containers/verify.hpp"

#include <random>
#include <set>
#include <utility>

#include "codec/hash.hpp"
#include "codec/item.hpp"
#include "containers/layout.hpp"
#include "pyrsistence/sort_key.hpp"
#include "structures/verify.hpp"

namespace pyrsistence::containers {

namespace {

using storage::ContainerType;
using storage::Pager;
using storage::Part;
using storage::Verification;
using structures::BucketTree;
using structures::IndexPart;
using structures::Tree;
using structures::TreeOrder;
using structures::Verified;

/// A sum over pairs of tag and id. Two sums are equal only if the same pairs were added, but for a chance of
/// 2^-64, since nobody who made the file knows the secret.
class PairSum {
public:
    explicit PairSum(std::uint64_t secret) : secret_(secret) {}
    void add(std::uint64_t tag, EntryId id) {
        const std::uint64_t pair[] = {tag, id};
        sum_ += XXH3_64bits_withSeed(pair, sizeof pair, secret_);
        ++count_;
    }
    std::uint64_t count() const { return count_; }
    bool operator==(const PairSum&) const = default;

private:
    std::uint64_t secret_;
    std::uint64_t sum_ = 0;
    std::uint64_t count_ = 0;
};

std::uint64_t random64() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

/// The ids in a row of slots with equal tags. Of a very long row, which only a chosen set of keys can
/// make, the beginning is kept.
class EqualTags {
public:
    /// False if the row has this id already.
    bool add(std::uint64_t tag, EntryId id) {
        if (std::exchange(tag_, tag) != tag) ids_.clear();
        return full() ? !ids_.contains(id) : ids_.insert(id).second;
    }
    bool continues(std::uint64_t tag) const { return tag == tag_; }
    bool full() const { return ids_.size() == kMost; }
    const std::set<EntryId>& ids() const { return ids_; }

private:
    static constexpr std::size_t kMost = 4096;
    std::uint64_t tag_ = UINT64_MAX;
    std::set<EntryId> ids_;
};

/// Entries by their ids, as lookups find them.
class Entries {
public:
    Entries(Pager& pager, const std::byte* root)
        : tree_(DictRoot::entries(pager, root)), patience_(pager.page_count() * storage::kPageSize) {}

    enum class Found { yes, no, unreadable };
    /// The identity of the entry's key, if it can be read.
    Found find(EntryId id, Bytes& identity) {
        try {
            const structures::Record record = tree_.find(id);
            if (record.stored.empty()) return Found::no;
            if (record.external && patience_ == 0) return Found::unreadable;
            return read(record, identity);
        } catch (const CorruptionError&) {
            return Found::unreadable;
        }
    }

private:
    /// Damaged extents are read again and again, until all together have the size of the store.
    Found read(const structures::Record& record, Bytes& identity) {
        try {
            identity = codec::entry_identity(tree_.resolve(record));
            return Found::yes;
        } catch (const CorruptionError&) {
            if (record.external) {
                patience_ -= std::min(patience_, storage::ExtentRef::decode(record.stored.data()).bytes);
            }
            return Found::unreadable;
        }
    }

    Tree tree_;
    std::uint64_t patience_;  ///< bytes
};

class DictVerification {
public:
    DictVerification(Pager& pager, const std::byte* root, std::uint64_t hash_seed, Verification& out)
        : pager_(pager), root_(root), index_(DictRoot::index_roots(root)), hash_seed_(hash_seed), out_(out),
          found_(pager, root) {}

    void run();

private:
    void entry(EntryId id, Bytes bytes);
    void slot(IndexPart part, PageId bucket, std::uint64_t tag, EntryId id);
    void begin_row(IndexPart part, std::uint64_t tag);
    void compare_keys();
    void compare_index(const Verified& index);
    void judge(IndexPart part, PageId bucket, std::uint64_t tag, EntryId id);
    void bad_slot(PageId bucket, EntryId id, const char* what);
    std::uint64_t tag_of(Bytes identity) const { return BucketTree::tag_of(codec::key_hash(identity, hash_seed_)); }

    static constexpr std::uint64_t kMostNamed = 100;  ///< slots that get a fault of their own

    Pager& pager_;
    const std::byte* const root_;
    const structures::HashIndex::Roots index_;
    const std::uint64_t hash_seed_;
    Verification& out_;
    Entries found_;
    Verified tree_;
    const std::uint64_t secret_ = random64();
    PairSum entries_{secret_}, slots_{secret_};
    std::uint64_t beyond_ = 0;     ///< entries with impossible ids
    EntryId first_beyond_ = 0;
    EqualTags row_;
    PageId row_bucket_ = 0;        ///< where its last slot lies
    PageId polled_ = 0;            ///< the last bucket for which out_ was polled
    std::uint64_t good_ = 0;       ///< slots that lead to their entries, each entry counted once
    std::uint64_t bad_ = 0;        ///< the others, but for those whose entries cannot be read
};

void DictVerification::run() {
    out_.enter(Part::entries);
    tree_ = structures::verify_tree(pager_, root_ + DictRoot::kEntries, TreeOrder::id, out_,
                                    [this](EntryId id, Bytes bytes) { entry(id, bytes); });
    out_.count_entries(tree_.entries);
    if (beyond_ > 0) {
        out_.fault(0, std::to_string(beyond_) + " entries have ids that were not given out, the first of them " +
                          std::to_string(first_beyond_) + "; the next id is " +
                          std::to_string(DictRoot::next_id(root_)));
    }
    out_.enter(Part::index);
    const Verified index = structures::verify_index(
        pager_, index_, out_,
        [this](IndexPart part, PageId bucket, std::uint64_t tag, EntryId id) { slot(part, bucket, tag, id); });
    compare_keys();
    if (!(entries_ == slots_)) compare_index(index);
}

void DictVerification::entry(EntryId id, Bytes bytes) {
    if (id == 0 || id >= DictRoot::next_id(root_)) {
        if (beyond_++ == 0) first_beyond_ = id;
    }
    entries_.add(tag_of(codec::entry_identity(bytes)), id);
    (void)codec::split_entry(bytes);
}

void DictVerification::slot(IndexPart part, PageId bucket, std::uint64_t tag, EntryId id) {
    slots_.add(tag, id);
    if (!row_.continues(tag)) {
        compare_keys();
        begin_row(part, tag);
    }
    row_.add(tag, id);
    row_bucket_ = bucket;
}

/// A row of the delta begins with what the base has for the tag.
void DictVerification::begin_row(IndexPart part, std::uint64_t tag) {
    if (part == IndexPart::base) return;
    try {
        if (!structures::TagFilter(pager_, index_.filter).may_hold(tag)) return;
        BucketTree(pager_, index_.base).scan(tag, tag + 1, [&](std::uint64_t, EntryId id) {
            return row_.add(tag, id) && !row_.full();
        });
    } catch (const CorruptionError&) {
        // It has been reported.
    }
}

/// No two entries whose slots have equal tags have the same key.
void DictVerification::compare_keys() {
    if (row_.ids().size() < 2) return;
    std::set<std::string_view> keys;
    for (const EntryId id : row_.ids()) {
        Bytes identity;
        if (found_.find(id, identity) != Entries::Found::yes) continue;
        if (keys.insert(as_text(identity)).second) continue;
        out_.enter(Part::entries);
        out_.fault(0, "entry " + std::to_string(id) + " has a key that is there twice");
        out_.enter(Part::index);
    }
}

/// Follows every slot to its entry, which takes a random access each.
void DictVerification::compare_index(const Verified& index) {
    row_ = {};
    Verification walked(pager_.page_count(), {.most_faults = 0});
    structures::verify_index(
        pager_, index_, walked,
        [this](IndexPart part, PageId bucket, std::uint64_t tag, EntryId id) { judge(part, bucket, tag, id); });
    if (bad_ > kMostNamed) {
        out_.fault(0, std::to_string(bad_ - kMostNamed) + " more slots of the index do not lead to their entries");
    }
    if (!index.complete() || good_ >= entries_.count()) return;
    out_.fault(0, std::to_string(entries_.count() - good_) + " entries are in no slot of the index");
}

void DictVerification::judge(IndexPart part, PageId bucket, std::uint64_t tag, EntryId id) {
    if (std::exchange(polled_, bucket) != bucket) out_.poll();
    if (!row_.continues(tag)) begin_row(part, tag);
    if (!row_.add(tag, id)) return bad_slot(bucket, id, "a second time");
    if (tree_.may_have_lost(id)) return;
    Bytes identity;
    switch (found_.find(id, identity)) {
        case Entries::Found::no: return bad_slot(bucket, id, "which does not exist");
        case Entries::Found::unreadable: return;
        case Entries::Found::yes: break;
    }
    if (tag_of(identity) != tag) return bad_slot(bucket, id, "whose key has another hash");
    ++good_;
}

void DictVerification::bad_slot(PageId bucket, EntryId id, const char* what) {
    if (++bad_ > kMostNamed) return;
    out_.fault(bucket, "the index names entry " + std::to_string(id) + ", " + what);
}

void verify_list(Pager& pager, const std::byte* root, Verification& out) {
    out.enter(Part::entries);
    const auto ignore = [](std::uint64_t, Bytes) {};
    const std::uint64_t count = structures::verify_tree(pager, root + ListRoot::kItems, TreeOrder::rank, out, ignore).entries;
    out.count_entries(count);
    if (const auto limit = ListRoot::limit(root); limit && count > *limit) {
        out.fault(0, std::to_string(count) + " items in a deque of at most " + std::to_string(*limit));
    }
}

/// Whether its sort keys belong to keys, and are those of other keys than the ones before them.
void verify_sorted(Pager& pager, const std::byte* root, Verification& out) {
    out.enter(Part::entries);
    const ContainerType type = storage::RootPage::type(root);
    const bool repeated = repeats_keys(type);
    Buffer before;
    bool first = true;
    const auto entry = [&](std::uint64_t, Bytes bytes) {
        const SortedEntryView parts = split_sorted_entry(bytes);
        if (!has_own_sort_key(parts)) throw CorruptionError("its sort key belongs to another key");
        if (parts.value.empty() && type != ContainerType::priority_queue) throw CorruptionError("an entry without a value");
        if (!first && !repeated && std::ranges::equal(before.view(), parts.sort_key)) {
            throw CorruptionError("its key is there twice");
        }
        if (!first && !comparable(before, parts.sort_key)) throw CorruptionError("its key is of another kind than the one before");
        before.assign(parts.sort_key);
        first = false;
    };
    out.count_entries(structures::verify_tree(pager, root + kEntriesField, TreeOrder::key, out, entry).entries);
}

/// False, and a fault, if it cannot be decoded.
bool verify_type(const std::byte* root, Verification& out) {
    try {
        (void)decode_item_type(ArrayRoot::type(root));
        return true;
    } catch (const CorruptionError& error) {
        out.lose_pages();
        out.fault(0, error.what());
        return false;
    }
}

void verify_array(Pager& pager, const std::byte* root, Verification& out) {
    out.enter(Part::entries);
    if (!verify_type(root, out)) return;
    const std::uint64_t item = decode_item_size(ArrayRoot::type(root));
    const std::size_t leaf_bytes = structures::ByteTree::leaf_bytes(item);
    const std::uint64_t bytes = structures::verify_bytes(pager, root + ArrayRoot::kItems, leaf_bytes, out).entries;
    if (structures::RootField::entries(root + ArrayRoot::kItems) % item != 0) out.fault(0, "a part of an item at the end of an array");
    out.count_entries(bytes / item);
}

}  // namespace

void verify_container(Pager& pager, const std::byte* root, std::uint64_t hash_seed, Verification& out) {
    switch (storage::RootPage::type(root)) {
        case ContainerType::dict:
        case ContainerType::set: return DictVerification(pager, root, hash_seed, out).run();
        case ContainerType::list:
        case ContainerType::deque:
            out.enter(Part::entries);
            return verify_list(pager, root, out);
        case ContainerType::sorted_dict:
        case ContainerType::sorted_set:
        case ContainerType::priority_queue:
        case ContainerType::multi_dict: return verify_sorted(pager, root, out);
        case ContainerType::array: return verify_array(pager, root, out);
    }
    out.lose_pages();
    out.fault(0, "a container of unknown type " + std::to_string(storage::page_level(root)));
}

storage::ContainerWalk container_walk(std::uint64_t hash_seed) {
    return [hash_seed](Pager& pager, const std::byte* root, Verification& out) {
        verify_container(pager, root, hash_seed, out);
    };
}

}  // namespace pyrsistence::containers
