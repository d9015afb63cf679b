// RawDict, RawList and RawSorted beside models in memory. An operation follows from its number alone, so that a
// killed process's work can be done again by another one. Each driver belongs to one thread.
#pragma once

#include <map>
#include <numeric>
#include <unordered_map>

#include "codec/item.hpp"
#include "pyrsistence/raw_array.hpp"
#include "pyrsistence/raw_dict.hpp"
#include "pyrsistence/raw_list.hpp"
#include "pyrsistence/raw_sorted.hpp"
#include "pyrsistence/sort_key.hpp"
#include "storage/store.hpp"
#include "support.hpp"

namespace pyrsistence::test {

/// How large values are: mostly small, sometimes to extents, seldom up to `largest`.
struct Sizes {
    std::size_t largest = 2 << 20;
    unsigned large_per_mille = 2;
};

/// A number and a size; the bytes follow.
struct Value {
    std::uint64_t number = 0;
    std::size_t size = 0;

    static Value random(Random& random, const Sizes& sizes) {
        const std::uint64_t dice = random.below(1000);
        std::size_t size = random.below(40);
        if (dice < sizes.large_per_mille) size = random.below(sizes.largest + 1);
        else if (dice < 30) size = random.below(20'000);
        else if (dice < 150) size = random.below(1500);
        return {random(), size};
    }
    void put(Buffer& out) const { put_bytes(out, as_bytes(content(number, size))); }
};

class DictDriver {
public:
    explicit DictDriver(std::uint64_t salt, std::uint64_t keys, Sizes sizes = {}) : salt_(salt), keys_(keys), sizes_(sizes) {}

    std::size_t size() const { return order_.size(); }
    std::uint64_t done() const { return done_; }

    /// The next operation, on the model and, if there is one, on the dict. If the dict throws, the model
    /// is as before.
    void step(RawDict* dict) {
        Random random(salt_ * 1'000'003 + done_);
        const std::uint64_t wave = done_ / 4096 % 4;  // some phases shrink
        const std::uint64_t key = random.chance(30) ? random.below(std::min<std::uint64_t>(keys_, 50)) : random.below(keys_);
        const unsigned dice = static_cast<unsigned>(random.below(1000));
        const unsigned sets = wave == 3 ? 200 : 600;
        if (dice < 10) set_many(dict, random);
        else if (dice < sets) set(dict, random, key);
        else if (dice < 800) erase(dict, random, key);
        else if (dice < 830) pop_last(dict);
        else if (dice < 890) get(dict, key);
        else if (dice < 999) read(dict, random);
        else if (random.chance(4)) clear(dict);
        ++done_;
    }

    /// The difference between dict and model, or nothing.
    std::string difference(const RawDict& dict) const {
        if (dict.size() != order_.size()) {
            return "size " + std::to_string(dict.size()) + ", expected " + std::to_string(order_.size());
        }
        auto it = order_.begin();
        Chunk chunk;
        EntryId from = 0;
        do {
            dict.read(from, 500, chunk);
            for (std::size_t i = 0; i < chunk.items.size(); ++i, ++it) {
                if (it == order_.end()) return "more entries than expected";
                if (chunk.items[i].key != it->first) {
                    return "id " + std::to_string(chunk.items[i].key) + ", expected " + std::to_string(it->first);
                }
                if (as_text(chunk.entry(i)) != as_text(entry_of(it->second))) return "entry " + std::to_string(it->first);
            }
            from = chunk.next;
        } while (chunk.more);
        return it == order_.end() ? "" : "fewer entries than expected";
    }
    /// Every key by lookup, and the ids not given out again.
    void expect_lookups(const RawDict& dict) const {
        Buffer value, expected;
        Chunk identities, values;
        for (const auto& [key, entry] : entries_) {
            ASSERT_TRUE(dict.get(identity(key), value)) << key;
            expected.clear();
            entry.value.put(expected);
            ASSERT_EQ(as_text(value), as_text(expected));
            identities.add(entry.id, identity(key));
            identities.add(0, as_bytes("no key"));
        }
        dict.get_many(identities, values);
        ASSERT_EQ(values.items.size(), identities.items.size());
        for (std::size_t i = 0; i < values.items.size(); ++i) {
            ASSERT_EQ(values.items[i].key, identities.items[i].key);
            if (values.items[i].key == 0) continue;
            ASSERT_TRUE(dict.get(identities.entry(i), value));
            ASSERT_EQ(as_text(values.entry(i)), as_text(value));
        }
        ASSERT_GE(dict.next_id(), next_id_);
    }

private:
    struct Entry {
        EntryId id;
        bool spelled;  ///< the key is not what its identity gives back
        Value value;
    };

    /// Keys of all lengths; some so long that they make an entry of an extent.
    static Buffer& identity(std::uint64_t key) {
        thread_local Buffer out;
        out.clear();
        if (key % 3 == 0) put_uint(out, key * 1'000'003);
        else put_bytes(out, as_bytes(content(key, key % 5 == 0 ? key % 1500 : 8 + key % 20)));
        return out;
    }
    static void spell(Buffer& out) { put_float(out, 1.5); }
    const Buffer& entry_of(std::uint64_t key) const {
        const Entry& entry = entries_.at(key);
        return compose(key, entry.spelled, entry.value).bytes;
    }
    struct Composed {
        Buffer& bytes;
        DictEntry entry;
    };
    static Composed compose(std::uint64_t key, bool spelled, const Value& value) {
        thread_local Buffer out;
        out.clear();
        const Buffer& id = identity(key);
        out.append(id);
        if (spelled) {
            out.push_back(std::byte{0});
            spell(out);
        }
        const std::size_t key_size = out.size();
        value.put(out);
        return {out, {out, id.size(), key_size}};
    }

    void set(RawDict* dict, Random& random, std::uint64_t key) {
        const bool spelled = random.chance(20), only_new = random.chance(15);
        const Value value = Value::random(random, sizes_);
        const auto found = entries_.find(key);
        const bool is_new = found == entries_.end();
        if (dict) {
            const Composed composed = compose(key, spelled, value);
            Buffer existing;
            const bool added = only_new ? dict->insert(composed.entry, existing) : dict->set(composed.entry);
            ASSERT_EQ(added, is_new);
            if (only_new && !is_new) expect_value(existing, found->second.value);
        }
        store(key, spelled, value, only_new);
    }
    /// Some keys more than once, neighbours and others.
    void set_many(RawDict* dict, Random& random) {
        struct Change {
            std::uint64_t key;
            bool spelled;
            Value value;
        };
        DictBatch batch;
        std::vector<Change> changes;
        const bool only_new = random.chance(30), neighbours = random.chance(50);
        const std::size_t most = random.below(DictBatch::kMost + 1);
        std::uint64_t key = random.below(keys_);
        while (changes.size() < most && !batch.full()) {
            const std::uint64_t at = random.chance(10) && !changes.empty() ? changes[random.below(changes.size())].key : key;
            changes.push_back({at, random.chance(20), Value::random(random, sizes_)});
            batch.add(compose(at, changes.back().spelled, changes.back().value).entry);
            key = neighbours ? (key + 1) % keys_ : random.below(keys_);
        }
        if (dict) dict->set_many(batch, only_new ? RawDict::Existing::keep : RawDict::Existing::replace);
        for (const Change& change : changes) store(change.key, change.spelled, change.value, only_new);
    }
    void store(std::uint64_t key, bool spelled, const Value& value, bool only_new) {
        const auto found = entries_.find(key);
        if (found == entries_.end()) {
            order_[next_id_] = key;
            entries_[key] = {next_id_++, spelled, value};
        } else if (!only_new) {
            found->second.value = value;
        }
    }
    void erase(RawDict* dict, Random& random, std::uint64_t key) {
        const auto found = entries_.find(key);
        const bool pop = random.chance(50);
        if (dict) {
            Buffer value;
            const bool erased = pop ? dict->pop(identity(key), value) : dict->erase(identity(key));
            ASSERT_EQ(erased, found != entries_.end());
            if (pop && erased) expect_value(value, found->second.value);
        }
        if (found == entries_.end()) return;
        order_.erase(found->second.id);
        entries_.erase(found);
    }
    void pop_last(RawDict* dict) {
        if (dict) {
            Buffer entry;
            ASSERT_EQ(dict->pop_last(entry), !order_.empty());
            if (!order_.empty()) {
                ASSERT_EQ(as_text(entry), as_text(entry_of(order_.rbegin()->second)));
            }
        }
        if (order_.empty()) return;
        entries_.erase(order_.rbegin()->second);
        order_.erase(std::prev(order_.end()));
    }
    void get(RawDict* dict, std::uint64_t key) const {
        if (!dict) return;
        const auto found = entries_.find(key);
        Buffer value;
        ASSERT_EQ(dict->get(identity(key), value), found != entries_.end());
        ASSERT_EQ(dict->find(identity(key)), found == entries_.end() ? 0 : found->second.id);
        if (found != entries_.end()) expect_value(value, found->second.value);
    }
    void read(RawDict* dict, Random& random) const {
        if (!dict) return;
        const EntryId at = random.below(next_id_ + 2);
        Chunk chunk;
        if (random.chance(50)) {
            dict->read(at, 3, chunk);
            auto it = order_.lower_bound(at);
            for (std::size_t i = 0; i < chunk.items.size(); ++i, ++it) ASSERT_EQ(chunk.items[i].key, it->first);
            if (chunk.items.size() < 3 && !chunk.more) {
                ASSERT_TRUE(it == order_.end());
            }
        } else {
            dict->read_back(at, 3, chunk);
            auto it = order_.lower_bound(at);
            for (std::size_t i = 0; i < chunk.items.size(); ++i) ASSERT_EQ(chunk.items[i].key, (--it)->first);
            if (chunk.items.size() < 3 && !chunk.more) {
                ASSERT_TRUE(it == order_.begin());
            }
        }
    }
    void clear(RawDict* dict) {
        if (dict) dict->clear();
        order_.clear();
        entries_.clear();
    }
    static void expect_value(const Buffer& value, const Value& expected) {
        Buffer bytes;
        expected.put(bytes);
        ASSERT_EQ(as_text(value), as_text(bytes));
    }

    std::uint64_t salt_, keys_;
    Sizes sizes_;
    std::uint64_t done_ = 0;
    EntryId next_id_ = 1;
    std::map<EntryId, std::uint64_t> order_;
    std::unordered_map<std::uint64_t, Entry> entries_;
};

class ListDriver {
public:
    explicit ListDriver(std::uint64_t salt, std::size_t most, Sizes sizes = {}) : salt_(salt), most_(most), sizes_(sizes) {}

    std::size_t size() const { return items_.size(); }
    std::uint64_t done() const { return done_; }

    void step(RawList* list) {
        Random random(salt_ * 1'000'003 + done_);
        const unsigned skew = static_cast<unsigned>(done_ / 2048 % 5);
        const bool shrink = done_ / 4096 % 4 == 3 || items_.size() > most_;
        const std::size_t rank = random.place(items_.size(), skew);
        const unsigned dice = static_cast<unsigned>(random.below(1000));
        if (dice < (shrink ? 200u : 500u)) insert(list, random, rank);
        else if (dice < 700) erase(list, random, rank);
        else if (dice < 800) set(list, random, rank);
        else if (dice < 880) get(list, rank);
        else if (dice < 940) read(list, random, rank);
        else if (dice < 960) erase_slice(list, random, rank);
        else if (dice < 980) replace_slice(list, random, rank);
        else if (dice < 994) set_slice(list, random, rank);
        else if (dice < 996) rotate(list, random);
        else if (dice < 997) reverse(list);
        else if (dice < 998) rearrange(list, random);
        else if (random.chance(10)) clear(list);
        ++done_;
    }
    std::string difference(const RawList& list) const {
        if (list.size() != items_.size()) {
            return "size " + std::to_string(list.size()) + ", expected " + std::to_string(items_.size());
        }
        std::size_t rank = 0;
        Chunk chunk;
        std::uint64_t from = 0;
        do {
            list.read(from, 500, chunk);
            for (std::size_t i = 0; i < chunk.items.size(); ++i, ++rank) {
                if (rank >= items_.size() || chunk.items[i].key != rank) return "rank " + std::to_string(chunk.items[i].key);
                if (as_text(chunk.entry(i)) != as_text(bytes(items_[rank]))) return "item " + std::to_string(rank);
            }
            from = chunk.next;
        } while (chunk.more);
        return rank == items_.size() ? "" : "fewer items than expected";
    }

private:
    static const Buffer& bytes(const Value& value) {
        thread_local Buffer out;
        out.clear();
        value.put(out);
        return out;
    }
    auto place(std::size_t rank) { return items_.begin() + static_cast<std::ptrdiff_t>(rank); }

    void insert(RawList* list, Random& random, std::size_t rank) {
        const Value value = Value::random(random, sizes_);
        if (list) {
            if (rank == items_.size()) list->append(bytes(value));
            else if (rank == 0) list->prepend(bytes(value));
            else list->insert(rank, bytes(value));
        }
        items_.insert(place(rank), value);
    }
    void erase(RawList* list, Random& random, std::size_t rank) {
        const bool pop = random.chance(50), there = rank < items_.size();
        if (list) {
            Buffer item;
            ASSERT_EQ(pop ? list->pop(rank, item) : list->erase(rank), there);
            if (pop && there) {
                ASSERT_EQ(as_text(item), as_text(bytes(items_[rank])));
            }
        }
        if (there) items_.erase(place(rank));
    }
    void set(RawList* list, Random& random, std::size_t rank) {
        const Value value = Value::random(random, sizes_);
        if (list) {
            ASSERT_EQ(list->set(rank, bytes(value)), rank < items_.size());
        }
        if (rank < items_.size()) items_[rank] = value;
    }
    void get(RawList* list, std::size_t rank) const {
        if (!list) return;
        Buffer item;
        ASSERT_EQ(list->get(rank, item), rank < items_.size());
        if (rank < items_.size()) {
            ASSERT_EQ(as_text(item), as_text(bytes(items_[rank])));
        }
    }
    void read(RawList* list, Random& random, std::size_t rank) const {
        if (!list) return;
        Chunk chunk;
        const bool back = random.chance(50);
        if (back) list->read_back(rank, 3, chunk);
        else list->read(rank, 3, chunk);
        std::size_t expected = rank;
        for (std::size_t i = 0; i < chunk.items.size(); ++i) {
            ASSERT_EQ(chunk.items[i].key, back ? --expected : expected++);
            ASSERT_EQ(as_text(chunk.entry(i)), as_text(bytes(items_.at(chunk.items[i].key))));
        }
        if (chunk.items.size() < 3 && !chunk.more) {
            ASSERT_EQ(expected, back ? 0 : items_.size());
        }
    }
    /// In the order of the bytes, if it still is what it was.
    void rearrange(RawList* list, Random& random) {
        std::vector<std::string> before, after;
        for (const Value& value : items_) before.emplace_back(as_text(bytes(value)));
        std::vector<std::size_t> order(items_.size());
        std::iota(order.begin(), order.end(), 0);
        std::ranges::stable_sort(order, {}, [&](std::size_t i) { return std::string_view(before[i]); });
        const bool known = random.chance(50), other = !items_.empty() && random.chance(20);
        if (list) {
            Fingerprint fingerprint(known && !other ? list->version() : UINT64_MAX);
            for (const std::string& item : before) fingerprint.add(as_bytes(other && &item == &before.back() ? "x" : item));
            std::size_t next = 0;
            const bool done = list->rearrange(fingerprint, [&](Bytes& item) {
                if (next == order.size()) return false;
                item = as_bytes(before[order[next++]]);
                return true;
            });
            ASSERT_EQ(done, !other);
        }
        if (other) return;
        std::vector<Value> sorted;
        for (const std::size_t i : order) sorted.push_back(items_[i]);
        items_ = std::move(sorted);
    }
    void erase_slice(RawList* list, Random& random, std::size_t first) {
        const std::uint64_t stride = random.chance(50) ? 1 : 1 + random.below(7);
        const std::uint64_t count = random.below(random.chance(5) ? 2000 : 30);
        if (list) list->erase_slice(first, stride, count);
        std::vector<Value> kept;
        for (std::size_t rank = 0; rank < items_.size(); ++rank) {
            const bool gone = rank >= first && (rank - first) % stride == 0 && (rank - first) / stride < count;
            if (!gone) kept.push_back(items_[rank]);
        }
        items_ = std::move(kept);
    }
    std::vector<Value> some_values(Random& random, std::size_t count) const {
        std::vector<Value> values;
        for (std::size_t i = 0; i < count; ++i) values.push_back(Value::random(random, sizes_));
        return values;
    }
    struct Encoded {
        explicit Encoded(const std::vector<Value>& values) {
            for (const Value& value : values) texts.emplace_back(as_text(bytes(value)));
            for (const std::string& text : texts) views.push_back(as_bytes(text));
        }
        std::vector<std::string> texts;
        std::vector<Bytes> views;
    };
    void replace_slice(RawList* list, Random& random, std::size_t first) {
        const std::size_t removed = std::min<std::size_t>(random.below(40), items_.size() - first);
        const auto values = some_values(random, random.below(random.chance(5) ? 600 : 30));
        if (list) list->replace_slice(first, removed, Encoded(values).views);
        items_.erase(place(first), place(first + removed));
        items_.insert(place(first), values.begin(), values.end());
    }
    void rotate(RawList* list, Random& random) {
        const auto steps = static_cast<std::int64_t>(random.below(200)) - 100;
        if (list) list->rotate(steps);
        if (items_.empty()) return;
        const auto size = static_cast<std::int64_t>(items_.size());
        const auto last = (steps % size + size) % size;  // so many come to the front
        std::rotate(items_.begin(), items_.end() - last, items_.end());
    }
    void set_slice(RawList* list, Random& random, std::size_t first) {
        const bool back = random.chance(50);
        const std::size_t stride = 1 + random.below(4);
        const std::size_t room = back ? (first < items_.size() ? first / stride + 1 : 0)
                                      : (items_.size() - first + stride - 1) / stride;
        const auto values = some_values(random, std::min<std::size_t>(room, random.below(20)));
        const std::int64_t step = back ? -static_cast<std::int64_t>(stride) : static_cast<std::int64_t>(stride);
        if (list) list->set_slice(first, step, Encoded(values).views);
        for (std::size_t i = 0; i < values.size(); ++i) items_[back ? first - i * stride : first + i * stride] = values[i];
    }
    void reverse(RawList* list) {
        if (list) list->reverse();
        std::reverse(items_.begin(), items_.end());
    }
    void clear(RawList* list) {
        if (list) list->clear();
        items_.clear();
    }

    std::uint64_t salt_;
    std::size_t most_;
    Sizes sizes_;
    std::uint64_t done_ = 0;
    std::vector<Value> items_;
};

/// Opened as what it is in its store.
template <SortedType type>
class RawSortedOf : public RawSorted {
public:
    static constexpr SortedType kType = type;
    explicit RawSortedOf(const fs::path& path, const Options& options = {}) : RawSorted(path, options, type) {}
};

class SortedDriver {
public:
    SortedDriver(std::uint64_t salt, std::uint64_t keys, SortedType type, Sizes sizes = {})
        : salt_(salt), keys_(keys), type_(type), sizes_(sizes) {}

    std::size_t size() const { return entries_.size(); }
    std::uint64_t done() const { return done_; }

    void step(RawSorted* sorted) {
        Random random(salt_ * 1'000'003 + done_);
        const bool shrink = done_ / 4096 % 4 == 3 || entries_.size() > 2 * keys_;
        const std::uint64_t key = random.chance(30) ? random.below(std::min<std::uint64_t>(keys_, 50)) : random.below(keys_);
        const unsigned dice = static_cast<unsigned>(random.below(1000));
        if (dice < (shrink ? 200u : 550u)) put(sorted, random, key);
        else if (dice < 750) erase(sorted, random, key);
        else if (dice < 790) erase_slice(sorted, random, random.below(entries_.size() + 1));
        else if (dice < 800) erase_places(sorted, random, key);
        else if (dice < 830) change_equals(sorted, random, key);
        else if (dice < 900) get(sorted, random, key);
        else if (dice < 999) read(sorted, random);
        else if (random.chance(4)) clear(sorted);
        ++done_;
    }
    std::string difference(const RawSorted& sorted) const {
        if (sorted.size() != entries_.size()) {
            return "size " + std::to_string(sorted.size()) + ", expected " + std::to_string(entries_.size());
        }
        auto it = entries_.begin();
        Chunk chunk;
        std::uint64_t rank = 0;
        do {
            sorted.read(rank, 500, chunk);
            for (std::size_t i = 0; i < chunk.items.size(); ++i, ++it, ++rank) {
                if (it == entries_.end() || chunk.items[i].key != rank) return "rank " + std::to_string(chunk.items[i].key);
                if (as_text(chunk.entry(i)) != it->second) return "entry " + std::to_string(rank);
            }
        } while (chunk.more);
        return it == entries_.end() ? "" : "fewer entries than expected";
    }

private:
    using Entries = std::multimap<std::string, std::string>;  ///< equal keys in the order of their coming

    bool repeats_keys() const { return type_ == SortedType::queue || type_ == SortedType::multi_dict; }
    /// Keys of one container are of one kind: integers, or byte strings of which some are long.
    bool numbers() const { return salt_ % 2 == 0; }
    std::string identity(std::uint64_t key) const {
        Buffer out;
        if (numbers()) put_int(out, static_cast<std::int64_t>(key * 1'000'003) - 5'000'000);
        else put_bytes(out, as_bytes(content(key, key % 5 == 0 ? key % 999 : 4 + key % 20)));
        return std::string(as_text(out));
    }
    std::string sort_key(std::uint64_t key) const {
        Buffer out;
        put_sort_key(out, as_bytes(identity(key)));
        return std::string(as_text(out));
    }
    struct Composed {
        std::string bytes, sort_key;
        std::size_t key_size;
        SortedEntry view() const { return {as_bytes(bytes), as_bytes(sort_key), key_size}; }
    };
    Composed compose(std::uint64_t key, bool spelled, const Value& value) const {
        Buffer out, spelling;
        if (spelled && numbers()) put_float(spelling, static_cast<double>(key) * 1'000'003 - 5'000'000);
        const std::string sort(as_text(put_sorted_entry_key(out, as_bytes(identity(key)), spelling)));
        const std::size_t key_size = out.size();
        if (type_ == SortedType::set) put_none(out);
        else value.put(out);
        return {std::string(as_text(out)), sort, key_size};
    }
    auto place(std::uint64_t rank) const { return std::next(entries_.begin(), static_cast<std::ptrdiff_t>(rank)); }
    std::uint64_t rank(Entries::const_iterator at) const {
        return static_cast<std::uint64_t>(std::distance(entries_.begin(), at));
    }
    static void expect_entries(const Chunk& chunk, Entries::const_iterator at) {
        for (std::size_t i = 0; i < chunk.items.size(); ++i, ++at) ASSERT_EQ(as_text(chunk.entry(i)), at->second);
    }

    void put(RawSorted* sorted, Random& random, std::uint64_t key) {
        const bool only_new = random.chance(15);
        const Composed entry = compose(key, random.chance(20), Value::random(random, sizes_));
        const auto found = entries_.find(entry.sort_key);
        const bool is_new = found == entries_.end();
        if (repeats_keys()) {
            if (sorted) sorted->push(entry.view());
            entries_.emplace(entry.sort_key, entry.bytes);
            return;
        }
        if (sorted) {
            Buffer existing;
            ASSERT_EQ(only_new ? sorted->insert(entry.view(), existing) : sorted->set(entry.view()), is_new);
            if (only_new && !is_new) {
                ASSERT_EQ(as_text(existing), found->second);
            }
        }
        if (is_new) {
            entries_.emplace(entry.sort_key, entry.bytes);
        } else if (!only_new) {
            const std::size_t kept = found->second.size() - split_sorted_entry(as_bytes(found->second)).value.size();
            found->second = found->second.substr(0, kept) + entry.bytes.substr(entry.key_size);
        }
    }
    void erase(RawSorted* sorted, Random& random, std::uint64_t key) {
        if (type_ == SortedType::multi_dict) return discard(sorted, random, key);
        const std::string sort = sort_key(key);
        const auto found = entries_.lower_bound(sort);
        const bool there = found != entries_.end() && found->first == sort;
        const bool compares = repeats_keys() || random.chance(50), right = !compares || random.chance(80);
        if (sorted) {
            const std::string expected = there && right ? found->second : "x";
            ASSERT_EQ(compares ? sorted->erase(as_bytes(sort), as_bytes(expected)) : sorted->erase(as_bytes(sort)), there && right);
        }
        if (there && right) entries_.erase(found);
    }
    /// One of the values of a key.
    void discard(RawSorted* sorted, Random& random, std::uint64_t key) {
        const std::string sort = sort_key(key);
        const auto [first, last] = entries_.equal_range(sort);
        const std::uint64_t begin = rank(first), count = rank(last) - begin;
        const std::uint64_t passed = count > 0 ? random.below(count) : 0, at = begin + passed;
        const bool right = count > 0 && random.chance(80), by_rank = random.chance(50);
        if (sorted) {
            const std::string expected = right ? place(at)->second : "x";
            const Bytes entry = as_bytes(expected);
            ASSERT_EQ(by_rank ? sorted->erase_at(at, entry) : sorted->erase(as_bytes(sort), entry, passed), right);
        }
        if (right) entries_.erase(place(at));
    }
    /// Single ones by their places, or all between two keys.
    void erase_places(RawSorted* sorted, Random& random, std::uint64_t key) {
        if (random.chance(70)) {
            const std::uint64_t number = random.below(entries_.size() + 2);
            const Rank rank = random.chance(50) ? Rank(number) : Rank::end_minus(number);
            const std::uint64_t at = rank.in(entries_.size());
            if (sorted) {
                ASSERT_EQ(sorted->erase_at(rank), at < entries_.size());
            }
            if (at < entries_.size()) entries_.erase(place(at));
            return;
        }
        const std::string low = sort_key(key), high = sort_key(key + random.below(5));
        std::optional<KeyBound> first(KeyBound{as_bytes(low), random.chance(50)}), end(KeyBound{as_bytes(high), random.chance(50)});
        if (random.chance(3)) (random.chance(50) ? first : end).reset();
        auto from = !first ? entries_.begin() : first->behind ? entries_.upper_bound(low) : entries_.lower_bound(low);
        auto to = !end ? entries_.end() : end->behind ? entries_.upper_bound(high) : entries_.lower_bound(high);
        if (rank(from) > rank(to)) to = from;
        if (sorted) {
            ASSERT_EQ(sorted->erase_between(first, end), rank(to) - rank(from));
        }
        entries_.erase(from, to);
    }
    void erase_slice(RawSorted* sorted, Random& random, std::uint64_t first) {
        const std::uint64_t count = random.below(random.chance(5) ? 500 : 10);
        if (sorted) sorted->erase_slice(first, count);
        const std::uint64_t end = std::min<std::uint64_t>(first + count, entries_.size());
        if (first < end) entries_.erase(place(first), place(end));
    }
    /// What only those with equal keys have.
    void change_equals(RawSorted* sorted, Random& random, std::uint64_t key) {
        if (type_ == SortedType::queue) replace_first(sorted, random, key);
        else if (type_ == SortedType::multi_dict) erase_all(sorted, random, key);
    }
    void replace_first(RawSorted* sorted, Random& random, std::uint64_t key) {
        const Composed entry = compose(key, random.chance(20), Value::random(random, sizes_));
        if (sorted) {
            ASSERT_FALSE(sorted->replace_first(entry.view(), as_bytes("x")));
            ASSERT_EQ(sorted->replace_first(entry.view(), as_bytes(entries_.empty() ? "x" : entries_.begin()->second)), !entries_.empty());
        }
        if (entries_.empty()) return;
        entries_.erase(entries_.begin());
        entries_.emplace(entry.sort_key, entry.bytes);
    }
    /// With or without a look at them before.
    void erase_all(RawSorted* sorted, Random& random, std::uint64_t key) {
        const std::string sort = sort_key(key);
        const bool looks = random.chance(50);
        if (sorted && looks) {
            Chunk chunk;
            read_all(*sorted, sort, chunk);
            ASSERT_TRUE(sorted->erase_if_same(as_bytes(sort), chunk));
        } else if (sorted) {
            ASSERT_EQ(sorted->erase_all(as_bytes(sort)), entries_.count(sort));
        }
        entries_.erase(sort);
    }
    void get(RawSorted* sorted, Random& random, std::uint64_t key) const {
        if (!sorted) return;
        const std::string sort = sort_key(key);
        const auto [first, last] = entries_.equal_range(sort);
        Buffer entry;
        ASSERT_EQ(sorted->get(as_bytes(sort), entry), first != last);
        ASSERT_EQ(sorted->contains(as_bytes(sort)), first != last);
        ASSERT_EQ(sorted->lower_bound(as_bytes(sort)), rank(first));
        ASSERT_EQ(sorted->upper_bound(as_bytes(sort)), rank(last));
        const RankRange range = sorted->equal_range(as_bytes(sort), RawSorted::Keys::comparable);
        ASSERT_EQ(range.first, rank(first));
        ASSERT_EQ(range.end, rank(last));
        if (!repeats_keys() && first != last) {
            ASSERT_EQ(as_text(entry), first->second);
        }
        Chunk chunk;
        read_all(*sorted, sort, chunk);
        const std::uint64_t passed = random.below(range.size() + 2);
        sorted->read_behind(as_bytes(sort), passed, 3, chunk);
        const auto behind = std::next(first, static_cast<std::ptrdiff_t>(std::min(passed, range.size())));
        ASSERT_TRUE(!chunk.items.empty() || behind == entries_.end());
        expect_entries(chunk, behind);
        sorted->read_equals(as_bytes(sort), passed, 3, chunk);
        const auto left = static_cast<std::size_t>(std::distance(behind, last));
        ASSERT_EQ(chunk.items.empty(), left == 0);
        ASSERT_EQ(chunk.more, chunk.items.size() < left);
        expect_entries(chunk, behind);
    }
    /// All entries with a key, in the order of their coming.
    void read_all(const RawSorted& sorted, const std::string& sort, Chunk& chunk) const {
        sorted.read_all(as_bytes(sort), chunk);
        ASSERT_EQ(chunk.items.size(), entries_.count(sort));
        expect_entries(chunk, entries_.lower_bound(sort));
    }
    void read(RawSorted* sorted, Random& random) const {
        if (!sorted) return;
        const std::uint64_t at = random.below(entries_.size() + 2);
        Chunk chunk;
        const bool back = random.chance(50);
        if (back) sorted->read_back(at, 3, chunk);
        else sorted->read(at, 3, chunk);
        std::uint64_t expected = back ? std::min<std::uint64_t>(at, entries_.size()) : at;
        for (std::size_t i = 0; i < chunk.items.size(); ++i) {
            ASSERT_EQ(chunk.items[i].key, back ? --expected : expected++);
            ASSERT_EQ(as_text(chunk.entry(i)), place(chunk.items[i].key)->second);
        }
        if (chunk.items.size() < 3 && !chunk.more) {
            ASSERT_TRUE(back ? expected == 0 : expected >= entries_.size());
        }
    }
    void clear(RawSorted* sorted) {
        if (sorted) sorted->clear();
        entries_.clear();
    }

    std::uint64_t salt_, keys_;
    SortedType type_;
    Sizes sizes_;
    std::uint64_t done_ = 0;
    Entries entries_;
};

/// Every operation is one change: small enough for one part.
class ArrayDriver {
public:
    static constexpr std::size_t kItem = 100;  ///< bytes: some of each page stay free
    static ItemType type() { return {kItem, "|V100", {}}; }

    ArrayDriver(std::uint64_t salt, std::size_t most) : salt_(salt), most_(most) {}

    void step(RawArray* array) {
        Random random(salt_ * 1'000'003 + done_);
        const bool shrink = items_.size() > most_;
        const std::size_t place = random.below(items_.size() + 1);
        const unsigned dice = static_cast<unsigned>(random.below(1000));
        if (dice < (shrink ? 100u : 400u)) append(array, random);
        else if (dice < 550) write(array, random, place);
        else if (dice < 650) scatter(array, random);
        else if (dice < 750) resize(array, shrink ? place : random.below(most_ + 20));
        else if (dice < 800) pop(array);
        else if (dice < 900) get(array, place);
        else read(array, random, place);
        ++done_;
    }
    std::string difference(const RawArray& array) const {
        if (array.size() != items_.size()) {
            return "size " + std::to_string(array.size()) + ", expected " + std::to_string(items_.size());
        }
        std::vector<std::byte> found((items_.size() + 1) * kItem);
        if (array.read(0, found) != items_.size()) return "another number of items than its size says";
        const std::vector<std::byte> expected = bytes(items_);
        for (std::size_t i = 0; i < items_.size(); ++i) {
            if (std::memcmp(found.data() + i * kItem, expected.data() + i * kItem, kItem) != 0) return "item " + std::to_string(i);
        }
        return "";
    }

private:
    using Items = std::vector<std::uint64_t>;  ///< their contents follow from these; 0: zeros

    static std::vector<std::byte> bytes(std::span<const std::uint64_t> numbers) {
        std::vector<std::byte> all(numbers.size() * kItem);
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            const std::string text = content(numbers[i], kItem);
            if (numbers[i] != 0) std::memcpy(all.data() + i * kItem, text.data(), kItem);
        }
        return all;
    }
    static Items some(Random& random, std::size_t count) {
        Items numbers;
        for (std::size_t i = 0; i < count; ++i) numbers.push_back(1 + random.below(UINT32_MAX));
        return numbers;
    }
    void expect_items(std::span<const std::byte> found, std::size_t first) const {
        const auto expected = bytes(std::span(items_).subspan(first, found.size() / kItem));
        ASSERT_TRUE(std::ranges::equal(found, expected));
    }

    void append(RawArray* array, Random& random) {
        const Items numbers = some(random, random.chance(10) ? random.below(200) : random.below(4));
        if (array) array->append(bytes(numbers));
        items_.insert(items_.end(), numbers.begin(), numbers.end());
    }
    void write(RawArray* array, Random& random, std::size_t first) {
        const Items numbers = some(random, std::min<std::size_t>(items_.size() - first, random.below(random.chance(10) ? 200 : 4)));
        if (array) {
            ASSERT_TRUE(array->write(first, bytes(numbers)));
        }
        std::ranges::copy(numbers, items_.begin() + static_cast<std::ptrdiff_t>(first));
    }
    void scatter(RawArray* array, Random& random) {
        Items indices;
        for (std::size_t at = random.below(50); at < items_.size(); at += 1 + random.below(60)) indices.push_back(at);
        const Items numbers = some(random, indices.size());
        if (array) {
            ASSERT_TRUE(array->scatter(indices, bytes(numbers)));
        }
        for (std::size_t i = 0; i < indices.size(); ++i) items_[indices[i]] = numbers[i];
    }
    void resize(RawArray* array, std::size_t size) {
        if (array) array->resize(size);
        items_.resize(size);
    }
    void pop(RawArray* array) {
        if (array) {
            std::vector<std::byte> last(kItem);
            ASSERT_EQ(array->pop(last), !items_.empty());
            if (!items_.empty()) expect_items(last, items_.size() - 1);
        }
        if (!items_.empty()) items_.pop_back();
    }
    void get(RawArray* array, std::size_t place) const {
        if (!array) return;
        std::vector<std::byte> found(kItem);
        ASSERT_EQ(array->get(place, found), place < items_.size());
        if (place < items_.size()) expect_items(found, place);
    }
    void read(RawArray* array, Random& random, std::size_t first) const {
        if (!array) return;
        std::vector<std::byte> found(random.below(300) * kItem);
        const std::uint64_t count = array->read(first, found);
        ASSERT_EQ(count, std::min(found.size() / kItem, items_.size() - first));
        expect_items(std::span(found).first(count * kItem), first);
    }

    std::uint64_t salt_;
    std::size_t most_;
    std::uint64_t done_ = 0;
    Items items_;
};

/// A container on a store with a file system and a log window of the test's choice: the handle
/// shares the store that is opened first.
template <class Raw>
class OpenStore {
public:
    OpenStore(const fs::path& path, TestFileSystem* files, std::uint64_t log_window, Mode mode = Mode::append,
              PageId index_pages = 1, std::uint64_t cache_memory = 0) {
        storage::StoreOptions options;
        options.mode = mode;
        options.memory_limit = 4 << 20;
        options.index_pages = index_pages;  // a larger index has a delta
        options.cache_memory = cache_memory;
        options.files = files;
        options.log_window = log_window;
        store_ = storage::Store::open(path, options);
        try {
            container_ = std::make_unique<Raw>(path, Options{mode == Mode::read ? Mode::read : Mode::append, 0, false});
        } catch (...) {
            storage::Store::release(store_);
            throw;
        }
    }
    ~OpenStore() {
        try {
            close();
        } catch (const Error&) {
        }
    }
    OpenStore(const OpenStore&) = delete;
    OpenStore& operator=(const OpenStore&) = delete;

    void close() {
        container_.reset();
        storage::Store::release(store_);
    }
    Raw& operator*() { return *container_; }
    Raw* operator->() { return container_.get(); }
    storage::Store& store() { return *store_; }

private:
    std::shared_ptr<storage::Store> store_;
    std::unique_ptr<Raw> container_;
};

}  // namespace pyrsistence::test
