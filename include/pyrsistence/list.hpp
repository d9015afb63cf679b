// List<T>: a sequence in a directory on disk; what Python's EMList writes, this reads, and the reverse, as
// long as Codec<T> knows the type. Every operation at any place is O(log n).
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its List; others may
// change the list meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(),
// checkpoint() and close() survive power loss.
#pragma once

#include <compare>
#include <iterator>
#include <ranges>

#include "pyrsistence/external.hpp"
#include "pyrsistence/raw_list.hpp"

namespace pyrsistence {

namespace detail {

/// An item while its list is sorted: the value, which when encoded gives the item back.
template <Storable T>
struct SortedValue {
    using Element = T;

    /// Nothing if it does not, since Python has written it in another way: a set, or 1 where C++ has 1.0.
    static std::optional<T> make(Bytes item) {
        T value = decode_item<T>(item);
        Buffer again;
        Codec<T>::encode(again, value);
        if (as_text(again) != as_text(item)) return std::nullopt;
        return value;
    }
    static const T& value(const T& element) { return element; }
    static void put(Buffer& item, const T& element) { Codec<T>::encode(item, element); }
};

/// The value, and the item as it was.
template <Storable T>
struct SortedItem {
    using Element = std::pair<T, std::vector<std::byte>>;

    static std::optional<Element> make(Bytes item) { return Element(decode_item<T>(item), {item.begin(), item.end()}); }
    static const T& value(const Element& element) { return element.first; }
    static void put(Buffer& item, const Element& element) { item.append(element.second); }
};

/// Whether comparing values calls no function of the caller's.
template <class T, class Less, class Proj>
inline constexpr bool kOwnOrder =
    (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) && std::is_same_v<Proj, std::identity> &&
    (std::is_same_v<Less, std::ranges::less> || std::is_same_v<Less, std::ranges::greater>);

/// Orders what a projection makes of values.
template <class Less, class Proj, class T, class Key = std::invoke_result_t<Proj&, const T&>>
concept Orders = std::strict_weak_order<Less&, Key, Key>;

[[noreturn]] void throw_changed_while_sorting(const std::string& path);

}  // namespace detail

/// Places are counted from 0. Each read decodes a fresh copy; to change an item in place use edit().
/// Everything that decodes throws FormatError if the stored type is another, and CorruptionError;
/// every call throws ClosedError after close(), and what changes the list throws ReadOnlyError and
/// StorageError. A place that does not exist is std::out_of_range.
///
///     pyrsistence::List<std::uint8_t> shadow("0x400000-0x401000");
///     while (shadow.size() < 0x1000) shadow.push_back(0);
///     shadow[0x10] |= 4;
template <Storable T>
class List : protected RawList {
    using ItemParameter = typename detail::Parameter<T>::Type;

    struct Place {
        List* list;
        std::uint64_t index;
        T get() const { return list->at(index); }
        void set(ItemParameter value) const { list->set(index, value); }
    };

protected:
    List(const List& live, Handle::Time time) : RawList(live, time) {}
    List(const std::filesystem::path& path, const Options& options, ListType type) : RawList(path, options, type) {}
    List(const Handle& where, std::string_view name, ListType type, std::optional<std::uint64_t> max_size)
        : RawList(where, name, type, max_size) {}

public:
    using value_type = T;
    using size_type = std::uint64_t;
    using difference_type = std::int64_t;
    using reference = detail::Reference<T, Place>;
    class const_iterator;
    using iterator = const_iterator;

    /// Opens or creates the store in directory `path`.
    explicit List(const std::filesystem::path& path, const Options& options = {}) : RawList(path, options) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    List(const Handle& where, std::string_view name) : RawList(where, name) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    List snapshot() const { return List(*this, Time::now); }

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

    // ---- Access ----

    T at(size_type index) const {
        Buffer item;
        if (!RawList::get(index, item)) throw_no_item(index);
        return detail::decode_item<T>(item);
    }
    T get(size_type index) const { return at(index); }
    /// Stands for the item: assigning stores, converting reads.
    reference operator[](size_type index) { return reference(Place{this, index}); }
    T operator[](size_type index) const { return at(index); }
    T front() const { return at(0); }
    T back() const {
        Buffer item;
        if (!RawList::get(Rank::end_minus(1), item)) throw_no_item(0);
        return detail::decode_item<T>(item);
    }

    // ---- Changes ----

    void set(size_type index, ItemParameter value) {
        if (!RawList::set(index, Item(value))) throw_no_item(index);
    }
    void push_back(ItemParameter value) { RawList::append(Item(value)); }
    /// Removes and returns the last item.
    T pop_back() {
        Buffer item;
        if (!RawList::pop(Rank::end_minus(1), item)) throw_no_item(0);
        return detail::decode_item<T>(item);
    }
    /// Inserts before `index`; size() appends.
    void insert(size_type index, ItemParameter value) {
        if (index > size()) throw_no_item(index);
        RawList::insert(index, Item(value));
    }
    void erase(size_type index) {
        if (!RawList::erase(index)) throw_no_item(index);
    }
    /// Removes the items from `first` to before `last`. Atomic.
    void erase(size_type first, size_type last) {
        if (last > size() || first > last) throw_no_item(std::max(first, last));
        RawList::erase_slice(first, 1, last - first);
    }
    /// Appends the elements one after the other.
    template <std::ranges::input_range Range>
    void append_range(Range&& range) {
        for (auto&& value : range) push_back(value);
    }
    /// Atomic.
    void clear() { RawList::clear(); }
    /// Moves `steps` items one by one from the end to the front; if negative, from the front to the end. Atomic.
    /// O(min(|steps|, n) log n).
    void rotate(difference_type steps) { RawList::rotate(steps); }
    /// Atomic. O(n).
    void reverse() { RawList::reverse(); }
    /// Sorts by std::invoke(less, std::invoke(proj, a), std::invoke(proj, b)), stably, in bounded memory, by default in
    /// as much as the store may use; the rest goes to a temporary file in the list's directory. Atomic: an exception of
    /// less or proj leaves the list as it was. Throws Error, and sorts nothing, if the list is changed meanwhile.
    /// O(n log n) comparisons; moves the blocks of the items once or twice more than ExternalSorter.
    template <class Less = std::ranges::less, class Proj = std::identity>
        requires std::movable<T> && detail::Orders<Less, Proj, T>
    void sort(Less less = {}, Proj proj = {}, ExternalOptions options = {}) {
        (void)writable_store();
        if (options.directory.empty()) options.directory = path();
        if (options.memory_limit == 0) options.memory_limit = info().memory_limit;
        if (!sort_as<detail::SortedValue<T>>(less, proj, options)) sort_as<detail::SortedItem<T>>(less, proj, options);
    }
    /// Calls change(T&) with a copy of the item and stores it, unless change throws.
    template <std::invocable<T&> Change>
    void edit(size_type index, Change&& change) {
        T value = at(index);
        std::forward<Change>(change)(value);
        set(index, value);
    }

    // ---- Iteration ----
    // end() is the size when it is called; an iterator that points behind the list throws when it is read.

    const_iterator begin() const { return const_iterator(*this, 0); }
    const_iterator end() const { return const_iterator(*this, size()); }

protected:
    class Item {
    public:
        explicit Item(ItemParameter value) { detail::Parameter<T>::Codec::encode(bytes_, value); }
        operator Bytes() const { return bytes_; }

    private:
        Buffer bytes_;
    };

    [[noreturn]] void throw_no_item(size_type index) const {
        detail::throw_no_such_index(index, size(), path().string());
    }

private:
    /// False, and nothing has happened, if an item has not this form.
    template <class Form, class Less, class Proj>
    bool sort_as(Less& less, Proj& proj, const ExternalOptions& options) {
        using Element = typename Form::Element;
        constexpr std::size_t kTogether = 1024;
        const auto key = [&proj](const Element& element) -> decltype(auto) {
            return std::invoke(proj, Form::value(element));
        };
        ExternalSorter<Element, std::reference_wrapper<Less>, decltype(key)> sorter(options, std::ref(less), key);
        Fingerprint before(version());
        Chunk chunk;
        for (size_type left = size(), at = 0; left > 0; at += chunk.items.size(), left -= chunk.items.size()) {
            RawList::read(at, std::min(left, kTogether), chunk);
            if (chunk.items.empty()) break;
            for (std::size_t i = 0; i < chunk.items.size(); ++i) {
                before.add(chunk.entry(i));
                std::optional<Element> element = Form::make(chunk.entry(i));
                if (!element) return false;
                sorter.push(std::move(*element));
            }
        }
        // No function of the caller's runs under the store's lock.
        auto sorted = sorter.finish(detail::kOwnOrder<T, Less, Proj> ? Comparisons::lazily : Comparisons::at_once);
        Buffer item;
        const bool as_before = RawList::rearrange(before, [&](Bytes& next) {
            if (sorted.done()) return false;
            item.clear();
            Form::put(item, sorted.front());
            next = item;
            sorted.pop();
            return true;
        });
        if (!as_before) detail::throw_changed_while_sorting(path().string());
        return true;
    }
};

/// A random access iterator that returns values. It holds a rank and no page; read from front to back it
/// reads ahead in growing steps. A copy starts reading ahead anew.
template <Storable T>
class List<T>::const_iterator {
public:
    using iterator_concept = std::random_access_iterator_tag;
    using iterator_category = std::input_iterator_tag;  // operator* returns no reference
    using value_type = T;
    using difference_type = std::int64_t;
    using reference = T;
    using pointer = void;

    const_iterator() = default;
    const_iterator(const List& list, size_type index) : list_(&list), index_(index) {}
    const_iterator(const const_iterator& other) noexcept : list_(other.list_), index_(other.index_) {}
    const_iterator(const_iterator&&) noexcept = default;
    const_iterator& operator=(const const_iterator& other) noexcept {
        list_ = other.list_;
        index_ = other.index_;
        return *this;
    }
    const_iterator& operator=(const_iterator&&) noexcept = default;

    T operator*() const {
        if (window_ && window_->holds(index_, list_->version())) {
            return detail::decode_item<T>(window_->entry(index_));
        }
        return read();
    }
    T operator[](difference_type n) const { return *(*this + n); }

    const_iterator& operator+=(difference_type n) noexcept {
        index_ += static_cast<size_type>(n);
        return *this;
    }
    const_iterator& operator-=(difference_type n) noexcept { return *this += -n; }
    const_iterator& operator++() noexcept { return *this += 1; }
    const_iterator& operator--() noexcept { return *this -= 1; }
    const_iterator operator++(int) noexcept {
        const_iterator before = *this;
        ++*this;
        return before;
    }
    const_iterator operator--(int) noexcept {
        const_iterator before = *this;
        --*this;
        return before;
    }
    friend const_iterator operator+(const_iterator i, difference_type n) noexcept {
        i += n;
        return i;
    }
    friend const_iterator operator+(difference_type n, const_iterator i) noexcept {
        i += n;
        return i;
    }
    friend const_iterator operator-(const_iterator i, difference_type n) noexcept {
        i -= n;
        return i;
    }
    friend difference_type operator-(const const_iterator& a, const const_iterator& b) noexcept {
        return static_cast<difference_type>(a.index_ - b.index_);
    }
    friend bool operator==(const const_iterator& a, const const_iterator& b) noexcept {
        return a.index_ == b.index_;
    }
    friend std::strong_ordering operator<=>(const const_iterator& a, const const_iterator& b) noexcept {
        return a.index_ <=> b.index_;
    }

private:
    /// Items read ahead, from rank `begin` on.
    struct Window {
        bool holds(size_type index, std::uint64_t version) const noexcept {
            return index - begin < chunk.items.size() && chunk.version == version;
        }
        Bytes entry(size_type index) const { return chunk.entry(static_cast<std::size_t>(index - begin)); }

        size_type begin = 0;
        Chunk chunk;
        detail::ReadAhead ahead;
    };

    /// Reads one item; more of them from the second in a row on.
    T read() const {
        const bool in_a_row = index_ > 0 && index_ == last_read_ + 1;
        last_read_ = index_;
        if (!in_a_row) {
            window_.reset();
            return list_->at(index_);
        }
        if (!window_) window_ = std::make_unique<Window>();
        const bool undisturbed = window_->chunk.version == list_->version();
        list_->RawList::read(index_, window_->ahead.next(undisturbed), window_->chunk);
        window_->begin = index_;
        if (window_->chunk.items.empty()) list_->throw_no_item(index_);
        last_read_ = index_ + window_->chunk.items.size() - 1;
        return detail::decode_item<T>(window_->entry(index_));
    }

    const List* list_ = nullptr;
    size_type index_ = 0;
    mutable size_type last_read_ = UINT64_MAX - 1;
    mutable std::unique_ptr<Window> window_;
};

}  // namespace pyrsistence
