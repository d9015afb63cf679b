// RawDict and RawList beside models in memory. An operation follows from its number alone, so that a
// killed process's work can be done again by another one. Each driver belongs to one thread.
#pragma once

#include <map>
#include <numeric>
#include <unordered_map>

#include "codec/item.hpp"
#include "pyrsistence/raw_dict.hpp"
#include "pyrsistence/raw_list.hpp"
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
        if (dice < sets) set(dict, random, key);
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
        if (is_new) {
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

/// A container on a store with a file system and a log window of the test's choice: the handle
/// shares the store that is opened first.
template <class Raw>
class OpenStore {
public:
    OpenStore(const fs::path& path, TestFileSystem* files, std::uint64_t log_window, Mode mode = Mode::append,
              PageId index_pages = 1) {
        storage::StoreOptions options;
        options.mode = mode;
        options.memory_limit = 4 << 20;
        options.index_pages = index_pages;  // a larger index has a delta
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
