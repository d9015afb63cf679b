// Array<T>: items of one size in a directory on disk; what Python's EMArray writes with the same dtype, this reads, and
// the reverse. Items lie side by side in full pages, so that reading a range is copying memory.
//
// Thread safety: as of a Handle. An iterator belongs to one thread and must not outlive its Array; others may change the
// array meanwhile.
// Durability: an operation that has returned survives the death of the process; sync(), checkpoint() and close() survive
// power loss.
#pragma once

#include <array>
#include <bit>
#include <complex>
#include <cstring>
#include <iterator>
#include <memory>
#include <ranges>
#include <vector>

#include "pyrsistence/raw_array.hpp"
#include "pyrsistence/typed.hpp"

namespace pyrsistence {

/// The NumPy dtype of a C++ type, as dtype_to_descr() gives it. A struct is raw bytes for NumPy ("|V12") unless this is
/// specialised, with what dtype_to_descr(dtype, align=True) says of the same fields:
///
///     template <> struct pyrsistence::ArrayItem<Edge> {
///         static std::string dtype() { return "[('from', '<u8'), ('to', '<u8')]"; }
///         static std::vector<std::uint64_t> shape() { return {}; }
///     };
template <class T>
struct ArrayItem {
    static std::string dtype() {
        const std::string size = std::to_string(sizeof(T));
        const std::string order = sizeof(T) == 1 ? "|" : "<";
        if constexpr (std::is_same_v<T, bool>) return "|b1";
        else if constexpr (std::is_floating_point_v<T>) return order + "f" + size;
        else if constexpr (std::is_integral_v<T>) return order + (std::is_signed_v<T> ? "i" : "u") + size;
        else return "|V" + size;
    }
    static std::vector<std::uint64_t> shape() { return {}; }
};
template <class T>
struct ArrayItem<std::complex<T>> {
    static std::string dtype() { return "<c" + std::to_string(sizeof(std::complex<T>)); }
    static std::vector<std::uint64_t> shape() { return {}; }
};
/// A block of elements.
template <class T, std::size_t n>
struct ArrayItem<std::array<T, n>> {
    static std::string dtype() { return ArrayItem<T>::dtype(); }
    static std::vector<std::uint64_t> shape() {
        std::vector<std::uint64_t> shape = ArrayItem<T>::shape();
        shape.insert(shape.begin(), n);
        return shape;
    }
};

/// What an Array holds: its bytes are all there is to it, in the order of a little-endian machine.
template <class T>
concept ArrayStorable = std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T> && !std::is_pointer_v<T> &&
                        (std::endian::native == std::endian::little || sizeof(T) == 1);

/// Places are counted from 0. operator[] gives a copy; what it returns from an Array that is not const also stores. Every
/// call throws ClosedError after close(), and what changes the array throws ReadOnlyError and StorageError. A place that
/// does not exist is std::out_of_range. An operation on more than RawArray::kAtOnce bytes is one of many steps: see there.
///
///     pyrsistence::Array<double> samples("samples.em");
///     samples.append(std::vector<double>(1'000'000, 0.5));
///     samples[0] += 1;
///     const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
template <ArrayStorable T>
class Array : private RawArray {
    struct Place {
        Array* array;
        std::uint64_t index;
        T get() const { return array->at(index); }
        void set(const T& value) const { array->set(index, value); }
    };

    Array(const Array& live, Handle::Time time) : RawArray(live, time) {}

public:
    using value_type = T;
    using size_type = std::uint64_t;
    using difference_type = std::int64_t;
    using reference = detail::Reference<T, Place>;
    class const_iterator;
    using iterator = const_iterator;

    /// Opens or creates the store in directory `path`. Throws FormatError if the array has items of another type.
    explicit Array(const std::filesystem::path& path, const Options& options = {}) : RawArray(path, with_type(options)) {}
    /// Opens or creates it in a store that is open; opens it in a snapshot.
    Array(const Handle& where, std::string_view name) : RawArray(where, name, item_type()) {}
    /// As it is now, for reading: whatever happens to the store, it stays so. O(1).
    Array snapshot() const { return Array(*this, Handle::Time::now); }

    using RawArray::backup;
    using RawArray::check;
    using RawArray::checkpoint;
    using RawArray::clear;
    using RawArray::close;
    using RawArray::closed;
    using RawArray::compact;
    using RawArray::delete_snapshot;
    using RawArray::empty;
    using RawArray::info;
    using RawArray::keep_snapshot;
    using RawArray::name;
    using RawArray::path;
    using RawArray::read_only;
    using RawArray::refresh;
    using RawArray::resize;
    using RawArray::size;
    using RawArray::snapshots;
    using RawArray::sync;
    using RawArray::transaction;
    using RawArray::usage;
    using RawArray::type;
    using RawArray::verify;

    // ---- Access ----

    T at(size_type index) const { return get_at(index, index); }
    T operator[](size_type index) const { return at(index); }
    reference operator[](size_type index) { return reference(Place{this, index}); }
    T front() const { return at(0); }
    T back() const { return get_at(Rank::end_minus(1), 0); }
    /// Copies items from `first` on into `out`. Returns how many there were.
    size_type read(size_type first, std::span<T> out) const { return RawArray::read(first, std::as_writable_bytes(out)); }

    // ---- Changes ----

    void set(size_type index, const T& value) {
        if (!RawArray::set(index, bytes_of(value))) throw_no_item(index);
    }
    /// Replaces the items from `first` on. Throws std::out_of_range if one of them does not exist.
    void write(size_type first, std::span<const T> items) {
        if (!RawArray::write(first, std::as_bytes(items))) throw_no_item(first + items.size() - 1);
    }
    void push_back(const T& value) { RawArray::append(bytes_of(value)); }
    /// Removes and returns the last item.
    T pop_back() {
        T value;
        if (!RawArray::pop(std::as_writable_bytes(std::span(&value, 1)))) throw_no_item(0);
        return value;
    }
    void append(std::span<const T> items) { RawArray::append(std::as_bytes(items)); }
    /// Appends the elements of any range, a buffer of them at a time.
    template <std::ranges::input_range Range>
    void append_range(Range&& range) {
        std::unique_ptr<T[]> some(new T[kBuffered]);
        std::size_t count = 0;
        for (auto&& value : range) {
            some[count++] = static_cast<T>(value);
            if (count == kBuffered) append({some.get(), std::exchange(count, 0)});
        }
        append({some.get(), count});
    }

    // ---- Iteration ----
    // end() is the size when it is called; an iterator that points behind the array throws when it is read.

    const_iterator begin() const { return const_iterator(*this, 0); }
    const_iterator end() const { return const_iterator(*this, size()); }

private:
    static constexpr std::size_t kBuffered = std::max<std::size_t>(1, (std::size_t{32} << 10) / sizeof(T));

    static ItemType item_type() { return {sizeof(T), ArrayItem<T>::dtype(), ArrayItem<T>::shape()}; }
    static Options with_type(Options options) {
        options.item_type = item_type();
        return options;
    }
    static Bytes bytes_of(const T& value) { return std::as_bytes(std::span(&value, 1)); }
    T get_at(Rank rank, size_type index) const {
        T value;
        if (!RawArray::get(rank, std::as_writable_bytes(std::span(&value, 1)))) throw_no_item(index);
        return value;
    }
    [[noreturn]] void throw_no_item(size_type index) const { detail::throw_no_such_index(index, size(), path().string()); }
};

/// A random access iterator that returns values. It holds an index and no page; read in a row, from either end, it reads
/// blocks ahead, anew when the store has changed. Copies share nothing.
template <ArrayStorable T>
class Array<T>::const_iterator {
public:
    using iterator_concept = std::random_access_iterator_tag;
    using iterator_category = std::input_iterator_tag;  // operator* returns no reference
    using value_type = T;
    using difference_type = std::int64_t;
    using reference = T;
    using pointer = void;

    const_iterator() = default;
    const_iterator(const Array& array, size_type index) : array_(&array), index_(index) {}
    const_iterator(const const_iterator& other) noexcept : array_(other.array_), index_(other.index_) {}
    const_iterator(const_iterator&&) noexcept = default;
    const_iterator& operator=(const const_iterator& other) noexcept {
        array_ = other.array_;
        index_ = other.index_;
        return *this;
    }
    const_iterator& operator=(const_iterator&&) noexcept = default;

    T operator*() const {
        if (index_ - begin_ < count_ && version_ == array_->version()) return block_[index_ - begin_];
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
    friend bool operator==(const const_iterator& a, const const_iterator& b) noexcept { return a.index_ == b.index_; }
    friend std::strong_ordering operator<=>(const const_iterator& a, const const_iterator& b) noexcept {
        return a.index_ <=> b.index_;
    }

private:
    /// One item; a block of them from the second in a row on.
    T read() const {
        const bool forward = index_ == last_read_ + 1, backward = index_ + 1 == last_read_;
        last_read_ = index_;
        if (!forward && !backward) {
            count_ = 0;
            return array_->at(index_);
        }
        if (!block_) block_.reset(new T[kBuffered]);
        begin_ = forward || index_ < kBuffered ? index_ : index_ - kBuffered + 1;
        if (backward && index_ < kBuffered) begin_ = 0;
        version_ = array_->version();
        count_ = array_->read(begin_, {block_.get(), kBuffered});
        if (index_ - begin_ >= count_) array_->throw_no_item(index_);
        last_read_ = forward ? begin_ + count_ - 1 : begin_;
        return block_[index_ - begin_];
    }

    const Array* array_ = nullptr;
    size_type index_ = 0;
    mutable size_type last_read_ = UINT64_MAX - 1;
    mutable size_type begin_ = 0, count_ = 0;  ///< of the items in the block
    mutable std::uint64_t version_ = 0;
    mutable std::unique_ptr<T[]> block_;
};

}  // namespace pyrsistence
