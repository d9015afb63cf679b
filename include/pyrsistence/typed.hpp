// What the typed containers share: encoding into and decoding from the items of the raw ones, dict
// entries, and the stand-in that operator[] returns. Functions without state, safe from any thread; a
// stand-in is used by one thread and must not outlive its container.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "pyrsistence/codec.hpp"

namespace pyrsistence::detail {

/// A dict entry's parts; they point into the entry.
struct EntryView {
    Bytes identity;  ///< what is hashed and compared
    Bytes key;       ///< the item to decode as the key
    Bytes value;
};

/// Throws CorruptionError.
EntryView split_entry(Bytes entry);
[[noreturn]] void throw_bytes_behind_item(std::size_t position);
[[noreturn]] void throw_no_such_key(const char* operation, const std::string& path);
[[noreturn]] void throw_no_such_index(std::uint64_t index, std::uint64_t size, const std::string& path);

/// The T that the one item in `item` stands for. Throws FormatError and CorruptionError.
template <Storable T>
T decode_item(Bytes item) {
    Reader reader(item);
    T value = Codec<T>::decode(reader);
    if (!reader.at_end()) throw_bytes_behind_item(reader.position());
    return value;
}

/// How a T is passed to be encoded: what owns bytes, by a view of them.
template <class T>
struct Parameter {
    using Type = const T&;
    using Codec = pyrsistence::Codec<T>;
    using KeyCodec = pyrsistence::KeyCodec<T>;
};
template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
struct Parameter<T> {
    using Type = T;
    using Codec = pyrsistence::Codec<T>;
    using KeyCodec = pyrsistence::KeyCodec<T>;
};
template <>
struct Parameter<std::string> {
    using Type = std::string_view;
    using Codec = pyrsistence::Codec<std::string_view>;
    using KeyCodec = pyrsistence::KeyCodec<std::string_view>;
};
template <>
struct Parameter<std::vector<std::byte>> {
    using Type = Bytes;
    using Codec = pyrsistence::Codec<Bytes>;
    using KeyCodec = pyrsistence::KeyCodec<Bytes>;
};

/// The value that a parameter was made from, or its copy.
template <class T>
T owned(typename Parameter<T>::Type value) {
    if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
        return T(value.begin(), value.end());
    } else {
        return T(value);
    }
}

/// Stands for one element: assigning stores, converting reads. Place has get() and set().
template <class T, class Place>
class Reference {
public:
    explicit Reference(Place place) : place_(std::move(place)) {}
    Reference(const Reference&) = default;

    operator T() const { return place_.get(); }
    T get() const { return place_.get(); }

    const Reference& operator=(typename Parameter<T>::Type value) const {
        place_.set(value);
        return *this;
    }
    /// Copies the element that `other` stands for, as with a real reference.
    const Reference& operator=(const Reference& other) const { return *this = other.get(); }
    Reference& operator=(const Reference& other) {
        place_.set(other.get());
        return *this;
    }

    template <class U>
    const Reference& operator+=(const U& other) const {
        return change([&](T& value) { value += other; });
    }
    template <class U>
    const Reference& operator-=(const U& other) const {
        return change([&](T& value) { value -= other; });
    }
    // Casts undo the promotion of small integers to int, which -Wconversion would report here.
    template <class U>
    const Reference& operator|=(const U& other) const {
        return change([&](T& value) { value = static_cast<T>(value | other); });
    }
    template <class U>
    const Reference& operator&=(const U& other) const {
        return change([&](T& value) { value = static_cast<T>(value & other); });
    }
    template <class U>
    const Reference& operator^=(const U& other) const {
        return change([&](T& value) { value = static_cast<T>(value ^ other); });
    }
    template <class U>
    friend bool operator==(const Reference& a, const U& b) {
        return a.get() == b;
    }

private:
    template <class Change>
    const Reference& change(Change change) const {
        T value = place_.get();
        change(value);
        place_.set(value);
        return *this;
    }

    Place place_;
};

/// How many entries to read ahead: twice as many each time, as long as nothing changes in between.
class ReadAhead {
public:
    std::size_t next(bool undisturbed) noexcept {
        if (!undisturbed) count_ = 0;
        count_ = count_ == 0 ? 1 : std::min<std::size_t>(2 * count_, kMost);
        return count_;
    }

private:
    static constexpr std::size_t kMost = 1024;
    std::size_t count_ = 0;
};

}  // namespace pyrsistence::detail
