#include "fuzz/walk.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "codec/item.hpp"
#include "pyrsistence/sort_key.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::fuzz {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunk = 100;       ///< entries
constexpr std::size_t kLookups = 300;     ///< of each container
constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 22;  ///< more entries than an image can hold
constexpr std::size_t kMostItem = 1 << 20;  ///< bytes of an array's item
constexpr std::size_t kPageful = 4096;      ///< bytes
constexpr std::size_t kRows = 10;           ///< pages of an array that are looked at in place
constexpr std::uint64_t kMemory = 4 << 20;

using Entry = std::pair<std::uint64_t, std::string>;

std::optional<DictType> dict_type(const Store::Entry& entry) {
    if (entry.type == "set") return DictType::set;
    return entry.type == "dict" ? std::optional(DictType::dict) : std::nullopt;
}
std::optional<ListType> list_type(const Store::Entry& entry) {
    if (entry.type == "deque") return ListType::deque;
    return entry.type == "list" ? std::optional(ListType::list) : std::nullopt;
}
std::optional<SortedType> sorted_type(const Store::Entry& entry) {
    if (entry.type == "sorted dict") return SortedType::dict;
    if (entry.type == "sorted set") return SortedType::set;
    if (entry.type == "priority queue") return SortedType::queue;
    return entry.type == "multi-dict" ? std::optional(SortedType::multi_dict) : std::nullopt;
}
bool repeats_keys(SortedType type) { return type == SortedType::queue || type == SortedType::multi_dict; }

class Walk {
public:
    Walk(const fs::path& store, const fs::path& scratch) : path_(store), scratch_(scratch) {}

    void run() {
        attempt("repairing", [this] { repair(); });
        attempt("reading", [this] { read(); });
        attempt("writing", [this] { write(); });
        attempt("reading again", [this] { read(); });
    }

private:
    /// An error is a violation if the store is sound.
    template <class Action>
    void attempt(const char* what, Action&& action) {
        try {
            action();
        } catch (const Error& error) {
            if (sound_) throw Violation(std::string("verify() found nothing, but ") + what + ": " + error.what());
        }
    }
    void require(bool holds, const char* what) const {
        if (sound_ && !holds) throw Violation(std::string("verify() found nothing, but: ") + what);
    }

    static Options options(Mode mode) { return {.mode = mode, .memory_limit = kMemory}; }
    void judge(Handle& store) {
        sound_ = false;
        const Report report = store.verify();
        if (report.fault_count > 0 && report.faults.empty()) throw Violation("faults without a text");
        sound_ = report.fault_count == 0;
    }

    void repair();
    void read();
    void write();
    void contents(const Store& store);
    void dict(const Store& store, const std::string& name, DictType type);
    void list(const Store& store, const std::string& name, ListType type);
    void sorted(const Store& store, const std::string& name, SortedType type);
    void array(const Store& store, const std::string& name);
    void pages(const RawArray& array, Bytes items);
    template <class Container>
    std::vector<Entry> forward(const Container& container);
    template <class Container>
    std::vector<Entry> backward(const Container& container);
    template <class Container>
    std::vector<Entry> both_ways(const Container& container);
    void change_dict(Store& store, const std::string& name, DictType type);
    void change_list(Store& store, const std::string& name, ListType type);
    void change_sorted(Store& store, const std::string& name, SortedType type);
    void change_array(Store& store, const std::string& name);
    void change_container(Store& store, const Store::Entry& entry);
    void clear_container(Store& store, const Store::Entry& entry);
    void change_store(Store& store);

    const fs::path path_, scratch_;
    bool sound_ = false;
};

/// What can be read, in a new store.
void Walk::repair() {
    fs::remove_all(scratch_);
    const Report report = verify(path_, {}, scratch_);
    if (report.repaired.empty()) return;
    const Report again = Store(report.repaired, options(Mode::read)).verify();
    if (again.fault_count > 0) throw Violation("the repaired store has faults: " + again.faults.at(0));
}

void Walk::read() {
    Store store(path_, options(Mode::read));
    judge(store);
    attempt("check()", [&] { store.check(); });
    attempt("its contents", [&] { contents(store); });
    attempt("its snapshots", [&] {
        for (const NamedSnapshot& one : store.snapshots()) {
            attempt("a named snapshot", [&] {
                Options then = options(Mode::read);
                then.at = one.name;
                contents(Store(path_, then));
            });
        }
    });
}

void Walk::contents(const Store& store) {
    for (const Store::Entry& entry : store.containers()) {
        if (const auto type = dict_type(entry)) attempt("a dict", [&] { dict(store, entry.name, *type); });
        if (const auto type = list_type(entry)) attempt("a list", [&] { list(store, entry.name, *type); });
        if (const auto type = sorted_type(entry)) attempt("a sorted one", [&] { sorted(store, entry.name, *type); });
        if (entry.type == "array") attempt("an array", [&] { array(store, entry.name); });
    }
}

template <class Container>
std::vector<Entry> Walk::forward(const Container& container) {
    std::vector<Entry> all;
    Chunk chunk;
    chunk.more = true;
    for (std::uint64_t steps = 0; chunk.more; ++steps) {
        const std::uint64_t from = chunk.next;
        container.read(from, kChunk, chunk);
        if (chunk.more && chunk.next <= from) throw Violation("iteration stands still");
        if (steps > kMostSteps || all.size() > kMostSteps) throw Violation("iteration does not end");
        for (std::size_t i = 0; i < chunk.items.size(); ++i) {
            all.emplace_back(chunk.items[i].key, as_text(chunk.entry(i)));
        }
    }
    return all;
}

template <class Container>
std::vector<Entry> Walk::backward(const Container& container) {
    std::vector<Entry> all;
    Chunk chunk;
    chunk.more = true;
    chunk.next = UINT64_MAX;
    for (std::uint64_t steps = 0; chunk.more; ++steps) {
        const std::uint64_t from = chunk.next;
        container.read_back(from, kChunk, chunk);
        if (chunk.more && chunk.next >= from) throw Violation("backward iteration stands still");
        if (steps > kMostSteps || all.size() > kMostSteps) throw Violation("backward iteration does not end");
        for (std::size_t i = 0; i < chunk.items.size(); ++i) {
            all.emplace_back(chunk.items[i].key, as_text(chunk.entry(i)));
        }
    }
    return all;
}

template <class Container>
std::vector<Entry> Walk::both_ways(const Container& container) {
    std::vector<Entry> all, back;
    attempt("iteration", [&] { all = forward(container); });
    attempt("backward iteration", [&] { back = backward(container); });
    require(all.size() == container.size(), "iteration has not as many entries as size() says");
    std::reverse(back.begin(), back.end());
    require(all == back, "backward iteration differs");
    return all;
}

void Walk::array(const Store& store, const std::string& name) {
    const RawArray array(store, name);
    if (array.item_size() > kMostItem) return;
    const std::uint64_t size = array.size();
    std::vector<std::byte> items(std::min(size, kMostSteps / array.item_size()) * array.item_size());
    attempt("reading an array", [&] {
        require(array.read(0, items) * array.item_size() == items.size(), "an array has not as many items as size() says");
    });
    std::vector<std::byte> item(array.item_size());
    for (const std::uint64_t at : {std::uint64_t{0}, size / 2, size - 1}) {
        attempt("an item", [&] {
            require(array.get(at, item) == (at < size), "an item is not there");
            const Bytes expected = Bytes(items).subspan(std::min(at * item.size(), items.size()));
            if (at < size && expected.size() >= item.size()) {
                require(std::ranges::equal(item, expected.first(item.size())), "another item is found");
            }
            const std::uint64_t indices[] = {at};
            std::vector<std::byte> gathered(item.size());
            require(array.gather(indices, gathered) == (at < size), "an item is not gathered");
            require(at >= size || gathered == item, "another item is gathered");
        });
    }
    if (array.row_items() > 0) attempt("pages", [&] { pages(array, items); });
}

/// What is seen without copying is what was read.
void Walk::pages(const RawArray& array, Bytes items) {
    const RawArray snapshot = array.snapshot();
    const std::size_t row_bytes = array.row_items() * array.item_size();
    for (std::size_t at = 0, row = 0; at < items.size() && row < kRows; at += row_bytes, ++row) {
        const auto rows = snapshot.rows(at / array.item_size());
        if (!rows) continue;
        const std::size_t expected = std::min(row_bytes, items.size() - at);
        const std::size_t found = std::min(expected, rows->items * array.item_size());
        const bool equal = std::ranges::equal(Bytes(rows->bytes, found), items.subspan(at, found));
        require(found == expected && equal, "a page holds other items");
    }
}

void Walk::change_array(Store& store, const std::string& name) {
    RawArray array(store, name);
    if (array.item_size() > kMostItem) return;
    const std::vector<std::byte> item(array.item_size(), std::byte{7});
    attempt("appending", [&] { array.append(item); });
    attempt("replacing", [&] { (void)array.set(0, item); });
    attempt("scattering", [&] { (void)array.scatter(std::vector<std::uint64_t>{0}, item); });
    std::vector<std::byte> taken(item.size());
    attempt("popping", [&] { array.pop(taken); });
    // More than a page.
    const std::vector<std::byte> many((kPageful / item.size() + 2) * item.size(), std::byte{8});
    attempt("appending many", [&] { array.append(many); });
    attempt("replacing many", [&] { (void)array.write(array.size() / 3, many); });
    attempt("shortening", [&] { array.resize(array.size() / 2); });
    attempt("lengthening", [&] { array.resize(array.size() + 3); });
}

void Walk::dict(const Store& store, const std::string& name, DictType type) {
    const RawDict dict(store, name, type);
    std::size_t lookups = 0;
    for (const auto& [id, entry] : both_ways(dict)) {
        if (++lookups > kLookups) break;
        attempt("a lookup", [&, id = id, &entry = entry] {
            const codec::EntryView parts = codec::split_entry(as_bytes(entry));
            Buffer value;
            require(dict.find(parts.identity) == id, "a key does not lead to its entry");
            require(dict.get(parts.identity, value) && as_text(value) == as_text(parts.value), "another value is found");
            require(dict.read_entry(id, value) && as_text(value) == entry, "an id does not lead to its entry");
        });
    }
    attempt("a lookup in vain", [&] { (void)dict.contains(as_bytes("\x44none")); });
    attempt("the next id", [&] { (void)dict.next_id(); });
}

void Walk::list(const Store& store, const std::string& name, ListType type) {
    const RawList list(store, name, type);
    std::size_t lookups = 0;
    for (const auto& [rank, item] : both_ways(list)) {
        if (++lookups > kLookups) break;
        attempt("an item", [&, rank = rank, &item = item] {
            Buffer found;
            require(list.get(rank, found) && as_text(found) == item, "another item is found");
        });
    }
    attempt("the last item", [&] {
        Buffer found;
        if (const std::uint64_t size = list.size(); size > 0) list.get(size - 1, found);
    });
}

void Walk::sorted(const Store& store, const std::string& name, SortedType type) {
    const RawSorted sorted(store, name, type);
    const bool repeats = repeats_keys(type);
    std::size_t lookups = 0;
    std::string before;
    for (const auto& [rank, entry] : both_ways(sorted)) {
        attempt("an entry", [&, rank = rank, &entry = entry] {
            const SortedEntryView parts = split_sorted_entry(as_bytes(entry));
            const std::string key(as_text(parts.sort_key));
            require(before < key || rank == 0 || (repeats && before == key), "keys are out of order");
            before = key;
            if (++lookups > kLookups) return;
            Buffer found;
            const std::uint64_t first = sorted.lower_bound(parts.sort_key), end = sorted.upper_bound(parts.sort_key);
            require(first <= rank && rank < end && (repeats || end == first + 1), "a key has another rank");
            require(sorted.contains(parts.sort_key), "a key is not there");
            require(sorted.get(parts.sort_key, found), "a key does not lead to its entry");
            require(repeats || as_text(found) == entry, "another entry is found");
            sorted.require_comparable(parts.sort_key);
            if (parts.key.empty()) put_sort_key_identity(found, parts.sort_key);
        });
    }
    attempt("a lookup in vain", [&] { (void)sorted.contains(as_bytes("\x50none")); });
}

// --- changes

/// A key and a value that no image has by chance.
struct Fresh {
    Buffer bytes;
    std::size_t key;

    Fresh(unsigned number, std::size_t size) {
        put_text(bytes, "fuzz-key-" + std::to_string(number), false);
        key = bytes.size();
        put_bytes(bytes, as_bytes(std::string(size, 'v')));
    }
    DictEntry entry() const { return {bytes, key, key}; }
    Bytes identity() const { return bytes.view().first(key); }
    Bytes value() const { return bytes.view().subspan(key); }
};

void Walk::change_dict(Store& store, const std::string& name, DictType type) {
    RawDict dict(store, name, type);
    std::vector<Entry> some;
    attempt("iteration", [&] { some = forward(dict); });
    Buffer ignored;
    for (unsigned i = 0; i < 6; ++i) {
        const Fresh fresh(i % 4, i % 3 == 2 ? 20'000 : 600 * i);
        attempt("setting", [&] { dict.set(fresh.entry()); });
        attempt("inserting", [&] { dict.insert(fresh.entry(), ignored); });
    }
    for (std::size_t i = 0; i < std::min<std::size_t>(some.size(), 40); ++i) {
        const Bytes entry = as_bytes(some[i * some.size() / 40 % some.size()].second);
        attempt("changing an entry", [&] {
            const codec::EntryView parts = codec::split_entry(entry);
            const auto key = static_cast<std::size_t>(parts.value.data() - entry.data());
            if (i % 2 == 0) dict.erase(parts.identity);
            else dict.set({entry, parts.identity.size(), key});
        });
    }
    attempt("popping", [&] { dict.pop_last(ignored); });
    attempt("popping", [&] { dict.pop(Fresh(0, 1).identity(), ignored); });
}

void Walk::change_list(Store& store, const std::string& name, ListType type) {
    RawList list(store, name, type);
    const Fresh small(1, 30), large(2, 3000), huge(3, 20'000);
    const Bytes items[] = {small.value(), large.value(), huge.value(), small.identity()};
    attempt("appending", [&] { list.append(small.value()); });
    for (std::uint64_t i = 0; i < 8; ++i) {
        attempt("inserting", [&] { list.insert(i * list.size() / 8, items[i % 4]); });
        attempt("setting", [&] { list.set(i * list.size() / 7, items[(i + 1) % 4]); });
        attempt("erasing", [&] { list.erase(i * list.size() / 9); });
    }
    attempt("replacing a slice", [&] { list.replace_slice(list.size() / 3, 5, items); });
    attempt("setting a slice", [&] { list.set_slice(0, 1, std::span(items).first(1)); });
    attempt("erasing a slice", [&] { list.erase_slice(1, 3, 4); });
    attempt("erasing a run", [&] { list.erase_slice(list.size() / 2, 1, list.size() / 4); });
    attempt("prepending", [&] { list.prepend(small.value()); });
    attempt("rotating", [&] { list.rotate(7); });
    attempt("reversing", [&] { list.reverse(); });
}

/// An entry of a sorted container that no image has by chance.
class FreshSorted {
public:
    template <class Put>
    FreshSorted(Put&& put_identity, std::size_t size) {
        Buffer identity;
        put_identity(identity);
        sort_key_.assign(put_sorted_entry_key(bytes_, identity, {}));
        key_size_ = bytes_.size();
        put_bytes(bytes_, as_bytes(std::string(size, 'v')));
    }
    SortedEntry entry() const { return {bytes_, sort_key_, key_size_}; }

private:
    Buffer bytes_, sort_key_;
    std::size_t key_size_;
};

void Walk::change_sorted(Store& store, const std::string& name, SortedType type) {
    RawSorted sorted(store, name, type);
    const bool repeats = repeats_keys(type);
    std::vector<Entry> some;
    attempt("iteration", [&] { some = forward(sorted); });
    Buffer ignored;
    const auto add = [&](const FreshSorted& fresh) {
        try {
            sorted.require_comparable(fresh.entry().sort_key);
        } catch (const OrderError&) {  // of the two kinds of keys only one can fit
            return;
        }
        if (repeats) {
            sorted.push(fresh.entry());
            sorted.push(fresh.entry());
        } else {
            sorted.set(fresh.entry());
            sorted.insert(fresh.entry(), ignored);
        }
    };
    for (unsigned i = 0; i < 8; ++i) {
        const std::size_t size = i % 3 == 2 ? 20'000 : 600 * i;
        const std::string text = std::string(i % 2 * 800, '\0') + "fuzz-key-" + std::to_string(i % 5);
        const std::int64_t number = 1'000'003 * (i % 5);
        attempt("a new text", [&] { add(FreshSorted([&](Buffer& out) { put_text(out, text, false); }, size)); });
        attempt("a new number", [&] { add(FreshSorted([&](Buffer& out) { put_int(out, number); }, size)); });
    }
    for (std::size_t i = 0; i < std::min<std::size_t>(some.size(), 40); ++i) {
        const Bytes entry = as_bytes(some[i * some.size() / 40 % some.size()].second);
        attempt("changing an entry", [&] {
            const SortedEntryView parts = split_sorted_entry(entry);
            const auto key = static_cast<std::size_t>(parts.value.data() - entry.data());
            if (i % 5 == 0) sorted.erase(parts.sort_key);
            else if (i % 5 == 1) sorted.erase(parts.sort_key, entry);
            else if (i % 5 == 2) sorted.erase_at(sorted.lower_bound(parts.sort_key), entry);
            else if (i % 5 == 3) sorted.erase_all(parts.sort_key);
            else if (repeats) sorted.push({entry, parts.sort_key, key});
            else sorted.set({entry, parts.sort_key, key});
        });
    }
    attempt("replacing the first entry", [&] {
        Chunk first;
        sorted.read(0, 1, first);
        if (!repeats || first.items.empty()) return;
        const Bytes entry = first.entry(0);
        const SortedEntryView parts = split_sorted_entry(entry);
        const auto key = static_cast<std::size_t>(parts.value.data() - entry.data());
        sorted.replace_first({entry, parts.sort_key, key}, entry);
    });
    attempt("erasing some", [&] { sorted.erase_slice(sorted.size() / 3, 4); });
    attempt("erasing many", [&] { sorted.erase_slice(sorted.size() / 2, sorted.size() / 4); });
}

void Walk::clear_container(Store& store, const Store::Entry& entry) {
    if (const auto type = list_type(entry)) RawList(store, entry.name, *type).clear();
    if (const auto type = dict_type(entry)) RawDict(store, entry.name, *type).clear();
    if (const auto type = sorted_type(entry)) RawSorted(store, entry.name, *type).clear();
    if (entry.type == "array") RawArray(store, entry.name).clear();
}

void Walk::change_container(Store& store, const Store::Entry& entry) {
    if (const auto type = dict_type(entry)) change_dict(store, entry.name, *type);
    if (const auto type = list_type(entry)) change_list(store, entry.name, *type);
    if (const auto type = sorted_type(entry)) change_sorted(store, entry.name, *type);
    if (entry.type == "array") change_array(store, entry.name);
}

void Walk::change_store(Store& store) {
    attempt("rolling back", [&] {
        Transaction transaction(store, false);
        for (const Store::Entry& entry : store.containers()) {
            attempt("clearing", [&] { clear_container(store, entry); });
        }
        transaction.roll_back();
    });
    attempt("a snapshot", [&] { contents(store.snapshot()); });
    attempt("keeping a snapshot", [&] { store.keep_snapshot("fuzz-snapshot"); });
    attempt("new containers", [&] {
        if (store.contains("fuzz-dict")) return;
        RawDict(store, "fuzz-dict").set(Fresh(1, 10).entry());
        RawList(store, "fuzz-list").append(Fresh(1, 10).value());
        RawDict(store, "fuzz-set", DictType::set).set(Fresh(1, 10).entry());
        RawList(store, "fuzz-deque", ListType::deque, 3).append(Fresh(1, 10).value());
        RawArray(store, "fuzz-array", ItemType{8, "<f8", {}}).resize(1000);
        store.sorted_dict<std::string, std::string>("fuzz-sorted-dict").insert_or_assign("a", "b");
        store.sorted_set<double>("fuzz-sorted-set").insert(0.1);
        store.priority_queue<std::int64_t>("fuzz-queue").push(-5);
        RawSorted(store, "fuzz-multi-dict", SortedType::multi_dict).clear();
        store.rename("fuzz-list", "fuzz-list-2");
    });
    for (const Store::Entry& entry : store.containers()) {
        attempt("changing a container", [&] { change_container(store, entry); });
    }
    attempt("a transaction", [&] {
        Transaction transaction(store, false);
        for (const Store::Entry& entry : store.containers()) {
            if (const auto type = list_type(entry)) attempt("a list", [&] { RawList(store, entry.name, *type).append(Fresh(1, 100).value()); });
            attempt("a sorted one", [&] {
                if (const auto type = sorted_type(entry)) RawSorted(store, entry.name, *type).erase_slice(0, 2);
            });
            if (entry.type == "array") attempt("an array", [&] { RawArray(store, entry.name).resize(1); });
        }
        transaction.commit();
    });
}

void Walk::write() {
    sound_ = false;
    Store store(path_, options(Mode::read_write));
    judge(store);
    attempt("its contents", [&] { contents(store); });
    attempt("changes", [&] { change_store(store); });
    attempt("compacting", [&] { store.compact(); });
    attempt("the figures", [&] { (void)store.info(); });
    attempt("verifying again", [&] {
        const bool before = sound_;
        const Report report = store.verify();
        if (before && report.fault_count > 0) throw Violation("changes made faults: " + report.faults.at(0));
        store.check();
    });
    attempt("a backup", [&] {
        fs::remove_all(scratch_);
        store.backup(scratch_);
        const Report report = Store(scratch_, options(Mode::read)).verify();
        require(report.fault_count == 0, "the backup has faults");
    });
    attempt("deleting a snapshot", [&] { store.delete_snapshot("fuzz-snapshot"); });
    for (const Store::Entry& entry : store.containers()) {
        attempt("removing a container", [&] { store.remove(entry.name); });
    }
    attempt("closing", [&] { store.close(); });
}

}  // namespace

void walk_store(const std::filesystem::path& store, const std::filesystem::path& scratch) {
    Walk(store, scratch).run();
}

}  // namespace pyrsistence::fuzz
