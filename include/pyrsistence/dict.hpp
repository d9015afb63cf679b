// Dict<K, V>: a map in a directory on disk, in insertion order; what Python's EMDict writes, this reads, and
// the reverse, as long as Codec<K> and Codec<V> know the types.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its Dict; others may
// change the dict meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(),
// checkpoint() and close() survive power loss.
#pragma once

#include <iterator>
#include <optional>
#include <ranges>
#include <vector>

#include "pyrsistence/raw_dict.hpp"
#include "pyrsistence/typed.hpp"

namespace pyrsistence {

namespace detail {

/// A range of objects that lie somewhere: going through it runs nobody's code.
template <class Range>
concept Materialized = std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>> &&
                       (std::ranges::contiguous_range<Range> || !std::ranges::view<std::remove_cvref_t<Range>>);

}  // namespace detail

/// Keys that Python calls equal are one key: Dict<double, V> finds at 1.0 what was stored at the int 1.
/// Each read decodes a fresh copy; to change a value in place use edit(). Everything that decodes throws
/// FormatError if the stored type is another, and CorruptionError; every call throws ClosedError
/// after close(), and what changes the dict throws ReadOnlyError and StorageError.
///
///     pyrsistence::Dict<std::string, std::uint64_t> calls("calls.em");
///     calls["main"] = 1;
///     for (const auto& [name, count] : calls) std::cout << name << ' ' << count << '\n';
template <Storable K, Storable V>
class Dict : protected RawDict {
    using KeyParameter = typename detail::Parameter<K>::Type;
    using ValueParameter = typename detail::Parameter<V>::Type;
    using ParameterKeyCodec = typename detail::Parameter<K>::KeyCodec;

    struct Place {
        Dict* dict;
        K key;
        V get() const { return dict->at(key); }
        void set(ValueParameter value) const { dict->insert_or_assign(key, value); }
    };

protected:
    Dict(const Dict& live, Handle::Time time) : RawDict(live, time) {}
    Dict(const std::filesystem::path& path, const Options& options, DictType type) : RawDict(path, options, type) {}
    Dict(const Handle& where, std::string_view name, DictType type) : RawDict(where, name, type) {}

public:
    using key_type = K;
    using mapped_type = V;
    using value_type = std::pair<K, V>;
    using size_type = std::uint64_t;
    using reference = detail::Reference<V, Place>;
    class iterator;
    using const_iterator = iterator;

    /// Opens or creates the store in directory `path`.
    explicit Dict(const std::filesystem::path& path, const Options& options = {}) : RawDict(path, options) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    Dict(const Handle& where, std::string_view name) : RawDict(where, name) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    Dict snapshot() const { return Dict(*this, Time::now); }

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

    // ---- Lookup: O(1) expected page touches per level ----

    bool contains(KeyParameter key) const { return RawDict::contains(identity_of(key)); }
    std::optional<V> get(KeyParameter key) const {
        Buffer item;
        if (!RawDict::get(identity_of(key), item)) return std::nullopt;
        return detail::decode_item<V>(item);
    }
    /// The values of many keys, in their order: sooner than by get() if they are spread over millions of entries.
    template <std::ranges::input_range Keys>
    std::vector<std::optional<V>> get_many(Keys&& keys) const {
        std::vector<std::optional<V>> values;
        Chunk identities, found;
        const auto look_up = [&] {
            RawDict::get_many(identities, found);
            for (std::size_t i = 0; i < found.items.size(); ++i) {
                if (found.items[i].key == 0) values.emplace_back();
                else values.emplace_back(detail::decode_item<V>(found.entry(i)));
            }
            identities.clear();
        };
        for (auto&& key : keys) {
            identities.add(0, identity_of(key));
            if (identities.items.size() == kTogether) look_up();
        }
        look_up();
        return values;
    }
    /// The value, or `otherwise`.
    V value_or(KeyParameter key, V otherwise) const {
        std::optional<V> value = get(key);
        return value ? *std::move(value) : std::move(otherwise);
    }
    /// Throws std::out_of_range if there is no such key.
    V at(KeyParameter key) const {
        std::optional<V> value = get(key);
        if (!value) detail::throw_no_such_key("at", path().string());
        return *std::move(value);
    }
    /// Stands for the value: assigning inserts or replaces, reading throws std::out_of_range if missing.
    reference operator[](KeyParameter key) { return reference(Place{this, detail::owned<K>(key)}); }
    V operator[](KeyParameter key) const { return at(key); }

    // ---- Changes ----

    /// True if the key is new; a key that was there stays as it was first inserted.
    bool insert_or_assign(KeyParameter key, ValueParameter value) {
        Entry entry(key, value);
        return RawDict::set(entry.view());
    }
    /// insert_or_assign() of each pair, in their order; if one fails, those before it stay. Pairs in a container are stored
    /// up to 64 in one operation, in less time; what a view makes is stored before the next is made.
    template <std::ranges::input_range Pairs>
    void update(Pairs&& pairs) {
        store_all(pairs, Existing::replace, [](const auto& pair) {
            const auto& [key, value] = pair;
            return Entry(key, value);
        });
    }
    /// False, and nothing changes, if the key is there.
    bool insert(KeyParameter key, ValueParameter value) {
        Entry entry(key, value);
        Buffer existing;
        return RawDict::insert(entry.view(), existing);
    }
    /// The same; the value is made from `arguments` only if the key is new.
    template <class... Arguments>
    bool try_emplace(KeyParameter key, Arguments&&... arguments) {
        if (contains(key)) return false;
        return insert(key, V(std::forward<Arguments>(arguments)...));
    }
    /// The number of keys removed: 0 or 1.
    size_type erase(KeyParameter key) { return RawDict::erase(identity_of(key)) ? 1 : 0; }
    /// Removes the key and returns its value, if there is one.
    std::optional<V> pop(KeyParameter key) {
        Buffer item;
        if (!RawDict::pop(identity_of(key), item)) return std::nullopt;
        return detail::decode_item<V>(item);
    }
    /// Removes and returns the entry inserted last, if there is one.
    std::optional<value_type> pop_last() {
        Buffer entry;
        if (!RawDict::pop_last(entry)) return std::nullopt;
        return decode_entry(entry);
    }
    /// Atomic.
    void clear() { RawDict::clear(); }
    /// Calls change(V&) with a copy of the value and stores it, unless change throws. Throws
    /// std::out_of_range if there is no such key.
    template <std::invocable<V&> Change>
    void edit(KeyParameter key, Change&& change) {
        V value = at(key);
        std::forward<Change>(change)(value);
        insert_or_assign(key, value);
    }

    // ---- Iteration, in insertion order ----
    // Erasing and overwriting meanwhile is allowed; entries erased are not visited, new ones neither.

    iterator begin() const { return iterator(*this, 1); }
    iterator end() const { return iterator(); }
    /// Iterates from this key on; end() if there is no such key.
    iterator find(KeyParameter key) const {
        const EntryId id = RawDict::find(identity_of(key));
        return id == 0 ? end() : iterator(*this, id);
    }

private:
    class Identity {
    public:
        explicit Identity(KeyParameter key) {
            ParameterKeyCodec::encode(bytes_, key);
            shorten_identity(bytes_);
        }
        operator Bytes() const { return bytes_; }

    private:
        Buffer bytes_;
    };
    static Identity identity_of(KeyParameter key) { return Identity(key); }

protected:
    class Entry {
    public:
        Entry(KeyParameter key, ValueParameter value) {
            ParameterKeyCodec::encode(bytes_, key);
            const std::size_t full_size = bytes_.size();
            shorten_identity(bytes_);
            identity_size_ = bytes_.size();
            if (!ParameterKeyCodec::kExact || identity_size_ != full_size) put_key(key);
            key_size_ = bytes_.size();
            detail::Parameter<V>::Codec::encode(bytes_, value);
        }
        DictEntry view() const { return {bytes_, identity_size_, key_size_}; }

    private:
        /// Leaves the key's item out where it is the identity.
        void put_key(KeyParameter key) {
            Buffer item;
            detail::Parameter<K>::Codec::encode(item, key);
            if (as_text(item) == as_text(bytes_)) return;
            bytes_.push_back(std::byte{Tag::kSeparator});
            bytes_.append(item);
        }

        Buffer bytes_;
        std::size_t identity_size_;
        std::size_t key_size_;
    };

    /// Together, if going through the range runs no code that could look at the dict.
    template <class Range, class ToEntry>
    void store_all(Range& range, Existing existing, ToEntry to_entry) {
        DictBatch batch;
        Buffer ignored;
        try {
            for (auto&& element : range) {
                const Entry entry = to_entry(element);
                if (detail::Materialized<Range> && DictBatch::takes(entry.view())) {
                    batch.add(entry.view());
                    if (batch.full()) RawDict::set_many(batch, existing);
                    continue;
                }
                RawDict::set_many(batch, existing);
                if (existing == Existing::replace) RawDict::set(entry.view());
                else RawDict::insert(entry.view(), ignored);
            }
        } catch (...) {
            RawDict::set_many(batch, existing);  // what came before stays
            throw;
        }
        RawDict::set_many(batch, existing);
    }

private:
    static value_type decode_entry(Bytes entry) {
        const detail::EntryView parts = detail::split_entry(entry);
        return {detail::decode_item<K>(parts.key), detail::decode_item<V>(parts.value)};
    }
};

/// An input iterator: when it has been advanced, older copies of it must not be used any more, since they share its
/// position. It holds no page, and reads ahead in growing steps.
template <Storable K, Storable V>
class Dict<K, V>::iterator {
public:
    using iterator_concept = std::input_iterator_tag;
    using iterator_category = std::input_iterator_tag;
    using value_type = std::pair<K, V>;
    using difference_type = std::ptrdiff_t;
    using reference = const value_type&;
    using pointer = const value_type*;

    iterator() = default;
    iterator(const Dict& dict, EntryId from) : cursor_(std::make_shared<Cursor>(dict, from)) {
        if (!cursor_->advance()) cursor_.reset();
    }

    reference operator*() const { return *cursor_->entry; }
    pointer operator->() const { return &*cursor_->entry; }
    iterator& operator++() {
        if (!cursor_->advance()) cursor_.reset();
        return *this;
    }
    void operator++(int) { ++*this; }
    /// Of one dict: whether they are at the same entry.
    friend bool operator==(const iterator& a, const iterator& b) noexcept {
        if (!a.cursor_ || !b.cursor_) return a.cursor_ == b.cursor_;
        return a.cursor_->next == b.cursor_->next;
    }

private:
    struct Cursor {
        Cursor(const Dict& of, EntryId from) : dict(of), next(from), end(of.next_id()) {}

        bool advance() {
            if (at == chunk.items.size() || chunk.version != dict.version()) {
                if (next >= end) return false;
                // A chunk is re-read from `next` on: what was erased must not show up.
                const std::size_t count = ahead.next(at == chunk.items.size() && at > 0);
                dict.RawDict::read(next, count, chunk);
                at = 0;
            }
            if (at == chunk.items.size() || chunk.items[at].key >= end) return false;
            entry.emplace(decode_entry(chunk.entry(at)));
            next = chunk.items[at++].key + 1;
            return true;
        }

        const Dict& dict;
        EntryId next, end;
        Chunk chunk;
        std::size_t at = 0;
        detail::ReadAhead ahead;
        std::optional<value_type> entry;
    };

    std::shared_ptr<Cursor> cursor_;
};

}  // namespace pyrsistence
