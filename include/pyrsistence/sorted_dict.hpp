// SortedDict<K, V>: a map in a directory on disk, in the order of its keys; what Python's EMSortedDict writes, this
// reads, and the reverse, as long as Codec<K> and Codec<V> know the types.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its SortedDict; others may
// change the dict meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close()
// survive power loss.
#pragma once

#include <iterator>
#include <memory>
#include <optional>
#include <ranges>

#include "pyrsistence/raw_sorted.hpp"
#include "pyrsistence/sort_key.hpp"
#include "pyrsistence/typed.hpp"

namespace pyrsistence {

namespace detail {

/// The sort key of a key.
template <Storable K>
class SortKey {
public:
    explicit SortKey(typename Parameter<K>::Type key) {
        Buffer identity;
        Parameter<K>::KeyCodec::encode(identity, key);
        put_sort_key(bytes_, identity);
    }
    operator Bytes() const { return bytes_; }

private:
    Buffer bytes_;
};

/// An entry to be stored.
template <Storable K>
class NewSortedEntry {
public:
    explicit NewSortedEntry(typename Parameter<K>::Type key) {
        Buffer identity, item;
        Parameter<K>::KeyCodec::encode(identity, key);
        if constexpr (!Parameter<K>::KeyCodec::kExact) Parameter<K>::Codec::encode(item, key);
        if (as_text(item) == as_text(identity)) item.clear();
        sort_key_.assign(put_sorted_entry_key(bytes_, identity, item));
        key_size_ = bytes_.size();
    }
    template <Storable V>
    NewSortedEntry& with_value(typename Parameter<V>::Type value) {
        Parameter<V>::Codec::encode(bytes_, value);
        return *this;
    }
    operator SortedEntry() const { return {bytes_, sort_key_, key_size_}; }

private:
    Buffer bytes_, sort_key_;
    std::size_t key_size_;
};

template <Storable K>
K decode_sorted_key(const SortedEntryView& entry) {
    if (!entry.key.empty()) return decode_item<K>(entry.key);
    Buffer identity;
    put_sort_key_identity(identity, entry.sort_key);
    return decode_item<K>(identity);
}

/// Removes the entry at a rank and returns what `decode` makes of it, if there is one.
template <class Value, Value (*decode)(Bytes entry)>
std::optional<Value> take_entry(RawSorted& container, Rank rank) {
    for (Chunk chunk; container.read_at(rank, chunk);) {
        Value taken = decode(chunk.entry(0));
        // False if another thread was faster.
        if (container.erase_at(chunk.items[0].key, chunk.entry(0))) return taken;
    }
    return std::nullopt;
}

/// Removes the first entry with a key of which matches(entry) is true; false if there is none. `container()` points to
/// the container, and is called anew for each step: what it returns is not held while `matches` runs, which may do
/// anything. After others have come between twice all entries with the key are copied at once, which ends in any case.
template <class Access, class Matches>
bool erase_first_match(Access container, Bytes sort_key, Matches matches) {
    constexpr std::size_t kFew = 1024;
    Chunk chunk;
    std::uint64_t passed = 0, version = 0;
    for (unsigned disturbed = 0;;) {
        if (disturbed < 2) container()->read_equals(sort_key, passed, kFew, chunk);
        else container()->read_all(sort_key, chunk);
        if (passed == 0 || chunk.version == version) {  // else those that were passed may be others now
            version = chunk.version;
            std::size_t found = 0;
            while (found < chunk.items.size() && !matches(chunk.entry(found))) ++found;
            if (found == chunk.items.size()) {
                if (!chunk.more) return false;
                passed += found;
                continue;
            }
            if (container()->erase(sort_key, chunk.entry(found), passed + found)) return true;
        }
        passed = 0;
        ++disturbed;
    }
}

/// An input iterator over a sorted container: when it has been advanced, older copies of it must not be used any more,
/// since they share its position. It holds no page, and reads ahead in growing steps. When the container has changed it
/// finds its place again by the key it is at; of several equal keys it passes over as many as it has met. `decode`
/// makes a value of an entry.
template <class Value, Value (*decode)(Bytes entry)>
class SortedIterator {
public:
    using iterator_concept = std::input_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using reference = const Value&;
    using pointer = const Value*;

    SortedIterator() = default;
    /// Over all entries.
    explicit SortedIterator(const RawSorted& container) : cursor_(std::make_shared<Cursor>(container)) { ++*this; }
    /// From a bound on.
    SortedIterator(const RawSorted& container, const KeyBound& from) : cursor_(std::make_shared<Cursor>(container)) {
        cursor_->last.assign(from.sort_key);
        cursor_->met = from.behind ? UINT64_MAX : 0;
        cursor_->placed = true;
        ++*this;
    }
    /// Over the entries with a key.
    SortedIterator(const RawSorted& container, Bytes sort_key) : cursor_(std::make_shared<Cursor>(container)) {
        cursor_->only.emplace(as_text(sort_key));
        ++*this;
    }
    /// From this key on; the end if it is not there.
    static SortedIterator find(const RawSorted& container, Bytes sort_key) {
        if (!container.contains(sort_key)) return {};  // the entry behind it may be one that cannot be decoded
        SortedIterator found(container, KeyBound{sort_key});
        const bool there = found.cursor_ && std::ranges::equal(found.cursor_->last.view(), sort_key);
        return there ? found : SortedIterator();
    }

    reference operator*() const { return *cursor_->value; }
    pointer operator->() const { return &*cursor_->value; }
    SortedIterator& operator++() {
        if (!cursor_->advance()) cursor_.reset();
        return *this;
    }
    void operator++(int) { ++*this; }
    /// Of one container: whether they are at the same entry.
    friend bool operator==(const SortedIterator& a, const SortedIterator& b) noexcept {
        if (!a.cursor_ || !b.cursor_) return a.cursor_ == b.cursor_;
        return a.cursor_->met == b.cursor_->met && std::ranges::equal(a.cursor_->last.view(), b.cursor_->last.view());
    }

private:
    struct Cursor {
        explicit Cursor(const RawSorted& of) : container(of) {}

        bool advance() {
            const bool changed = chunk.version != container.version();
            if (at == chunk.items.size() || changed) read(changed);
            if (at == chunk.items.size()) return false;
            const Bytes entry = chunk.entry(at++), sort_key = split_sorted_entry(entry).sort_key;
            met = value && std::ranges::equal(sort_key, last.view()) ? met + 1 : 1;
            last.assign(sort_key);
            placed = true;
            value.emplace(decode(entry));
            next = chunk.items[at - 1].key + 1;
            return true;
        }
        void read(bool changed) {
            const std::size_t count = ahead.next(!changed && at > 0);
            const std::uint64_t version = chunk.version;
            at = 0;
            if (only) return container.read_equals(as_bytes(*only), met, count, chunk);
            if (!changed || !placed) container.read(next, count, chunk);
            if (placed && (changed || chunk.version != version)) container.read_behind(last, met, count, chunk);
        }

        const RawSorted& container;
        std::uint64_t next = 0;  ///< rank, unless the container changes
        Chunk chunk;
        std::size_t at = 0;
        ReadAhead ahead;
        Buffer last;            ///< sort key of `value`, or where to begin
        std::uint64_t met = 0;  ///< entries with it
        bool placed = false;    ///< these two tell the place
        std::optional<std::string> only;  ///< sort key of all that is wanted
        std::optional<Value> value;
    };

    std::shared_ptr<Cursor> cursor_;
};

}  // namespace detail

/// Keys are in Python's order: numbers by their values, whatever their types, text by code points, tuples element by
/// element. Keys that Python calls equal are one key. Each read decodes a fresh copy; to change a value in place use
/// edit(). Everything that decodes throws FormatError if the stored type is another, and CorruptionError; a key that
/// has no order, such as NaN, or cannot be compared with those that are there, throws OrderError; every call throws
/// ClosedError after close(), and what changes the dict throws ReadOnlyError and StorageError.
///
///     pyrsistence::SortedDict<std::uint64_t, std::string> symbols("symbols.em");
///     symbols.insert_or_assign(0x401000, "main");
///     auto at = symbols.upper_bound(address);  // the first symbol behind an address
template <Storable K, Storable V>
class SortedDict : protected RawSorted {
    using KeyParameter = typename detail::Parameter<K>::Type;
    using ValueParameter = typename detail::Parameter<V>::Type;
    using SortKey = detail::SortKey<K>;

    static std::pair<K, V> decode(Bytes entry) {
        const SortedEntryView parts = split_sorted_entry(entry);
        return {detail::decode_sorted_key<K>(parts), detail::decode_item<V>(parts.value)};
    }

protected:
    SortedDict(const SortedDict& live, Handle::Time time) : RawSorted(live, time) {}
    SortedDict(const std::filesystem::path& path, const Options& options, SortedType type) : RawSorted(path, options, type) {}
    SortedDict(const Handle& where, std::string_view name, SortedType type) : RawSorted(where, name, type) {}

public:
    using key_type = K;
    using mapped_type = V;
    using value_type = std::pair<K, V>;
    using size_type = std::uint64_t;
    using iterator = detail::SortedIterator<value_type, &SortedDict::decode>;
    using const_iterator = iterator;

    /// Opens or creates the store in directory `path`.
    explicit SortedDict(const std::filesystem::path& path, const Options& options = {}) : RawSorted(path, options) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    SortedDict(const Handle& where, std::string_view name) : RawSorted(where, name) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    SortedDict snapshot() const { return SortedDict(*this, Time::now); }

    using Container::backup;
    using Container::check;
    using Container::checkpoint;
    using Container::close;
    using Container::closed;
    using Container::compact;
    using Container::delete_snapshot;
    using Container::empty;
    using Container::info;
    using Container::keep_snapshot;
    using Container::name;
    using Container::path;
    using Container::read_only;
    using Container::refresh;
    using Container::size;
    using Container::snapshots;
    using Container::sync;
    using Container::transaction;
    using Container::usage;
    using Container::verify;

    // ---- Lookup: O(log n) page touches each ----

    bool contains(KeyParameter key) const { return RawSorted::contains(SortKey(key)); }
    std::optional<V> get(KeyParameter key) const {
        Buffer entry;
        if (!RawSorted::get(SortKey(key), entry)) return std::nullopt;
        return decode(entry).second;
    }
    /// Throws std::out_of_range if there is no such key.
    V at(KeyParameter key) const {
        std::optional<V> value = get(key);
        if (!value) detail::throw_no_such_key("at", path().string());
        return *std::move(value);
    }
    /// The number of smaller keys: the place of the key in the order, or where it would come.
    size_type rank(KeyParameter key) const { return RawSorted::lower_bound(SortKey(key)); }
    /// The entry at a place in the order. Throws std::out_of_range if there is none.
    value_type nth(size_type rank) const {
        Chunk chunk;
        RawSorted::read(rank, 1, chunk);
        if (chunk.items.empty()) detail::throw_no_such_index(rank, size(), path().string());
        return decode(chunk.entry(0));
    }

    // ---- Changes: O(log n) page touches each ----

    /// True if the key is new; a key that was there stays as it was first inserted.
    bool insert_or_assign(KeyParameter key, ValueParameter value) {
        detail::NewSortedEntry<K> entry(key);
        return RawSorted::set(entry.template with_value<V>(value));
    }
    /// False, and nothing changes, if the key is there.
    bool insert(KeyParameter key, ValueParameter value) {
        Buffer existing;
        detail::NewSortedEntry<K> entry(key);
        return RawSorted::insert(entry.template with_value<V>(value), existing);
    }
    /// The number of keys removed: 0 or 1.
    size_type erase(KeyParameter key) { return RawSorted::erase(SortKey(key)) ? 1 : 0; }
    /// Removes the keys from `low` on and below `high`, as one atomic operation; returns their number. Plus O(pages).
    size_type erase_range(KeyParameter low, KeyParameter high) {
        const SortKey first(low), end(high);
        return RawSorted::erase_between(KeyBound{first}, KeyBound{end});
    }
    /// Removes and returns the entry with the smallest key, if there is one.
    std::optional<value_type> pop_first() { return detail::take_entry<value_type, &SortedDict::decode>(*this, 0); }
    /// The same with the greatest key.
    std::optional<value_type> pop_last() { return detail::take_entry<value_type, &SortedDict::decode>(*this, Rank::end_minus(1)); }
    /// Atomic.
    void clear() { RawSorted::clear(); }
    /// Calls change(V&) with a copy of the value and stores it, unless change throws. Throws
    /// std::out_of_range if there is no such key.
    template <std::invocable<V&> Change>
    void edit(KeyParameter key, Change&& change) {
        V value = at(key);
        std::forward<Change>(change)(value);
        insert_or_assign(key, value);
    }

    // ---- Iteration, in the order of the keys ----
    // Changing the dict meanwhile is allowed: what comes behind the present key is as it is then.

    iterator begin() const { return iterator(*this); }
    iterator end() const { return iterator(); }
    /// From this key on; end() if it is not there.
    iterator find(KeyParameter key) const { return iterator::find(*this, SortKey(key)); }
    /// From the first key that is not below this one on.
    iterator lower_bound(KeyParameter key) const { return iterator(*this, KeyBound{SortKey(key)}); }
    /// From the first key above this one on.
    iterator upper_bound(KeyParameter key) const { return iterator(*this, KeyBound{SortKey(key), true}); }
};

}  // namespace pyrsistence
