// Random operations on a RawList or RawDict beside a model that is only hashes: one digest per state, so that
// "equals the state after exactly k operations" is a comparison of two numbers. An operation follows
// from the history's salt and its index, so any state can be made again. Not thread-safe.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <optional>

#include "codec/item.hpp"
#include "pyrsistence/raw_dict.hpp"
#include "pyrsistence/raw_list.hpp"
#include "support.hpp"

namespace pyrsistence::test {

/// What a run is like: sizes of values, how many there are, how often the log is full.
struct Profile {
    const char* name;
    std::size_t entries;          ///< about so many at most
    std::size_t small;            ///< most values have up to so many bytes
    std::size_t large;            ///< the others up to this
    unsigned large_per_mille;
    bool equal_sizes;             ///< all values have exactly `small` bytes: records fit over dead ones
    std::size_t batch;            ///< values in the largest batches
    std::uint64_t log_window;
    unsigned operations;          ///< between two power failures, about
    double share;                 ///< of the images of a test
    std::size_t containers = 1;   ///< about so many at most
    std::size_t transaction = 0;  ///< operations in the largest ones
};

inline std::uint64_t digest_of(Bytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

inline std::string random_value(Random& random, const Profile& profile) {
    std::size_t size = profile.equal_sizes ? profile.small : random.below(profile.small + 1);
    if (random.below(1000) < profile.large_per_mille) size = random.below(profile.large + 1);
    return content(random(), size);
}

/// Calls visit(key, bytes) for all entries of a container.
template <class Raw, class Visit>
void for_each_entry(const Raw& raw, Visit&& visit) {
    Chunk chunk;
    std::uint64_t from = 0;
    do {
        raw.read(from, 1000, chunk);
        for (std::size_t i = 0; i < chunk.items.size(); ++i) visit(chunk.items[i].key, chunk.entry(i));
        from = chunk.next;
    } while (chunk.more);
}

class ListModel {
public:
    using Raw = RawList;
    static constexpr const char* kName = "list";
    explicit ListModel(const Profile& profile) : profile_(&profile) {}

    std::uint64_t digest() const { return digest_of(std::as_bytes(std::span(items_))); }
    static std::uint64_t digest(const RawList& list) {
        std::vector<std::uint64_t> items;
        for_each_entry(list, [&](std::uint64_t, Bytes item) { items.push_back(digest_of(item)); });
        return digest_of(std::as_bytes(std::span(items)));
    }
    /// True if it is durable when it has returned.
    bool step(RawList* list, Random& random) {
        const std::size_t size = items_.size(), rank = random.place(size, unsigned(random()));
        const std::uint64_t dice = random.below(1000);
        const bool many = size > profile_->entries;
        if (many || size < profile_->entries / 4) resize(list, random, many);
        else if (dice < 350) replace(list, rank, 0, values(random, 1));
        else if (dice < 600 && rank < size) set(list, rank, 1, values(random, 1));
        else if (dice < 800 && rank < size) erase(list, rank, 1, 1);
        else if (dice < 850) erase(list, rank, 1 + random.below(5), random.below(30));
        else if (dice < 930) replace(list, rank, random.below(20), values(random, random.below(20)));
        else if (dice < 940) replace(list, rank, random.below(profile_->batch), batch(random));
        else if (dice < 970) set(list, rank, 1 + random.below(4), values(random, random.below(20)));
        else if (dice < 973) reverse(list);
        else if (dice < 976) erase(list, 0, 3, size);
        else if (dice < 978) clear(list);
        return false;
    }

private:
    using Values = std::vector<std::string>;

    Values values(Random& random, std::size_t count) const {
        Values result;
        while (result.size() < count) result.push_back(random_value(random, *profile_) + "!");
        return result;
    }
    Values batch(Random& random) const { return values(random, 1 + random.below(profile_->batch)); }
    static std::vector<Bytes> views(const Values& values) {
        std::vector<Bytes> result;
        for (const auto& value : values) result.push_back(as_bytes(value));
        return result;
    }
    auto at(std::size_t rank) { return items_.begin() + static_cast<std::ptrdiff_t>(rank); }

    void resize(RawList* list, Random& random, bool smaller) {
        const std::size_t part = items_.size() / 3;
        if (smaller) erase(list, random.below(items_.size() - part), 1, part);
        else replace(list, random.below(items_.size() + 1), 0, batch(random));
    }
    void replace(RawList* list, std::size_t first, std::size_t removed, const Values& values) {
        removed = std::min(removed, items_.size() - first);
        if (list && removed == 0 && values.size() == 1) list->insert(first, as_bytes(values[0]));
        else if (list) list->replace_slice(first, removed, views(values));
        items_.erase(at(first), at(first + removed));
        std::vector<std::uint64_t> added;
        for (const auto& value : values) added.push_back(digest_of(as_bytes(value)));
        items_.insert(at(first), added.begin(), added.end());
    }
    void set(RawList* list, std::size_t first, std::size_t stride, Values values) {
        values.resize(std::min(values.size(), (items_.size() - first + stride - 1) / stride));
        if (list && values.size() == 1) list->set(first, as_bytes(values[0]));
        else if (list) list->set_slice(first, static_cast<std::int64_t>(stride), views(values));
        for (std::size_t i = 0; i < values.size(); ++i) {
            items_[first + i * stride] = digest_of(as_bytes(values[i]));
        }
    }
    void erase(RawList* list, std::size_t first, std::size_t stride, std::size_t count) {
        if (list && count == 1) list->erase(first);
        else if (list) list->erase_slice(first, stride, count);
        std::vector<std::uint64_t> kept;
        for (std::size_t rank = 0; rank < items_.size(); ++rank) {
            const std::size_t at = rank - first;
            const bool gone = rank >= first && at % stride == 0 && at / stride < count;
            if (!gone) kept.push_back(items_[rank]);
        }
        items_ = std::move(kept);
    }
    void reverse(RawList* list) {
        if (list) list->reverse();
        std::reverse(items_.begin(), items_.end());
    }
    void clear(RawList* list) {
        if (list) list->clear();
        items_.clear();
    }

    const Profile* profile_;
    std::vector<std::uint64_t> items_;  ///< digests of the items
};

class DictModel {
public:
    using Raw = RawDict;
    static constexpr const char* kName = "dict";
    explicit DictModel(const Profile& profile) : profile_(&profile) {}

    std::uint64_t digest() const { return digest(entries_, next_id_); }
    static std::uint64_t digest(const RawDict& dict) {
        std::vector<Entry> entries;
        for_each_entry(dict, [&](std::uint64_t id, Bytes entry) {
            const Bytes identity = codec::entry_identity(entry);
            entries.push_back({id, digest_of(identity), digest_of(entry)});
            if (dict.find(identity) == id) return;
            throw CorruptionError("entry " + std::to_string(id) + " is not found by its key");
        });
        return digest(entries, dict.next_id());
    }
    bool step(RawDict* dict, Random& random) {
        const std::uint64_t key = random.below(profile_->entries * 3 / 2), dice = random.below(1000);
        const bool shrink = entries_.size() > profile_->entries;
        if (dice < (shrink ? 100u : 700u)) set(dict, key, random_value(random, *profile_));
        else if (dice < 900) erase(dict, key);
        else if (dice < 998) pop_last(dict);
        else if (random.chance(30)) clear(dict);
        return false;
    }

private:
    struct Entry {
        EntryId id;
        std::uint64_t key, entry;  ///< digests
    };

    static std::uint64_t digest(const std::vector<Entry>& entries, EntryId next_id) {
        return digest_of(std::as_bytes(std::span(entries))) + next_id;
    }
    static void put_key(Buffer& out, std::uint64_t key) {
        if (key % 2 == 0) put_uint(out, key);
        else put_bytes(out, as_bytes(content(key, key % 7 == 0 ? 300 : 12)));
    }
    auto find(std::uint64_t key) {
        return std::ranges::find(entries_, key, &Entry::key);
    }
    void set(RawDict* dict, std::uint64_t key, const std::string& value) {
        Buffer entry;
        put_key(entry, key);
        const std::size_t identity = entry.size();
        put_bytes(entry, as_bytes(value));
        if (dict) dict->set({entry, identity, identity});
        const std::uint64_t digest = digest_of(entry.view().first(identity));
        const auto found = find(digest);
        if (found == entries_.end()) entries_.push_back({next_id_++, digest, digest_of(entry)});
        else found->entry = digest_of(entry);
    }
    void erase(RawDict* dict, std::uint64_t key) {
        Buffer identity;
        put_key(identity, key);
        if (dict) dict->erase(identity);
        const auto found = find(digest_of(identity));
        if (found != entries_.end()) entries_.erase(found);
    }
    void pop_last(RawDict* dict) {
        Buffer entry;
        if (dict) dict->pop_last(entry);
        if (!entries_.empty()) entries_.pop_back();
    }
    void clear(RawDict* dict) {
        if (dict) dict->clear();
        entries_.clear();
    }

    const Profile* profile_;
    std::vector<Entry> entries_;  ///< in order of insertion
    EntryId next_id_ = 1;
};

/// The operations of one timeline and a digest of each state since it began.
template <class Model>
class History {
public:
    History(Model begin, std::uint64_t salt)
        : salt_(salt), durable_(begin), now_(std::move(begin)), digests_{now_.digest()} {}

    std::uint64_t done() const { return digests_.size() - 1; }
    std::uint64_t durable() const { return durable_at_; }
    const Model& now() const { return now_; }
    /// The next operation; true if everything so far is durable when it has returned.
    bool step(typename Model::Raw& raw) {
        const bool durable = apply(now_, &raw, done());
        digests_.push_back(now_.digest());
        return durable;
    }
    /// Everything so far has become durable.
    void set_durable() {
        durable_ = now_;
        durable_at_ = done();
    }
    /// After how many operations, from `least` to `most`, the state was this one.
    std::optional<std::uint64_t> find(std::uint64_t digest, std::uint64_t least, std::uint64_t most) const {
        for (std::uint64_t k = std::min(most, done()) + 1; k-- > least;) {
            if (digests_[k] == digest) return k;
        }
        return std::nullopt;
    }
    /// The state after so many operations, at least durable().
    Model at(std::uint64_t done) const {
        Model model = durable_;
        for (std::uint64_t k = durable_at_; k < done; ++k) apply(model, nullptr, k);
        return model;
    }

private:
    bool apply(Model& model, typename Model::Raw* raw, std::uint64_t k) const {
        Random random(salt_ * 1'000'003 + k);
        return model.step(raw, random);
    }

    std::uint64_t salt_;
    Model durable_, now_;
    std::uint64_t durable_at_ = 0;
    std::vector<std::uint64_t> digests_;
};

}  // namespace pyrsistence::test
