// How C++ types become stored values and keys: Codec<T> and KeyCodec<K>, to be specialised for types of
// your own. A type and the Python type it stands for have the same bytes, so that each language reads what
// the other wrote; decoding accepts a number of another type if its value is the same. Pure functions of
// their arguments, safe from any thread.
#pragma once

#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "pyrsistence/encoding.hpp"

namespace pyrsistence {

/// Encodes a T as exactly one item, and decodes it. Types that the table below lacks are given a
/// specialisation, most simply by way of one that it has:
///
///     struct Call { std::uint64_t site; std::uint64_t target; double weight; };
///
///     template <> struct pyrsistence::Codec<Call> {
///         using Fields = std::tuple<std::uint64_t, std::uint64_t, double>;
///         static void encode(Buffer& out, const Call& c) {
///             Codec<Fields>::encode(out, {c.site, c.target, c.weight});
///         }
///         static Call decode(Reader& in) { return std::make_from_tuple<Call>(Codec<Fields>::decode(in)); }
///     };
///
///     C++                                          Python
///     bool, integers, enums                        bool, int
///     float, double, std::complex<double>          float, complex
///     std::string, string_view (UTF-8)             str
///     std::vector<std::byte>, Bytes                bytes
///     std::vector<T>                               list
///     std::pair, std::tuple, std::array            tuple
///     std::map, std::unordered_map                 dict
///     std::set, std::unordered_set                 set
///     std::optional<T>                             None or T
///     std::monostate                               None
///
/// Views can be encoded only. decode throws FormatError if the item is of another type or its value
/// does not fit, and CorruptionError if it is malformed.
template <class T>
struct Codec;

template <class T>
concept Encodable = requires(Buffer& out, const T& value) { Codec<T>::encode(out, value); };

template <class T>
concept Storable = Encodable<T> && requires(Reader& in) {
    { Codec<T>::decode(in) } -> std::same_as<T>;
};

namespace detail {

/// An int, or a bool or float that is equal to one; FormatError if there is none.
Integer read_integral(Reader& in);
/// A float, or a bool or int that is equal to one; FormatError if there is none.
double read_real(Reader& in);
std::string read_utf8(Reader& in);
void put_utf8(Buffer& out, std::string_view text);
[[noreturn]] void throw_out_of_range(const Integer& value, bool is_signed, unsigned bits);
[[noreturn]] void throw_float_overflow(double value);
[[noreturn]] void throw_wrong_count(std::size_t wanted, std::size_t found);

/// Held while a container is encoded, so that nothing is written that Reader::Level would refuse.
class EncodeLevel {
public:
    EncodeLevel() {
        if (depth_ == kMaxNesting) throw_too_deep();
        ++depth_;
    }
    ~EncodeLevel() { --depth_; }
    EncodeLevel(const EncodeLevel&) = delete;
    EncodeLevel& operator=(const EncodeLevel&) = delete;

private:
    [[noreturn]] static void throw_too_deep();
    static inline constinit thread_local unsigned depth_ = 0;
};

/// Elements for which room is made before the first of them has been decoded.
inline constexpr std::size_t kMaxReserve = 4096;

template <class Container>
void reserve(Container& container, std::size_t count) {
    if constexpr (requires { container.reserve(count); }) container.reserve(std::min(count, kMaxReserve));
}

inline void read_tuple_header(Reader& in, std::size_t wanted) {
    const std::size_t found = in.read_count(Tag::kTuple);
    if (found != wanted) throw_wrong_count(wanted, found);
}

template <class Range>
void put_items(Buffer& out, std::uint8_t tag, const Range& range) {
    const EncodeLevel level;
    put_header(out, tag, range.size());
    for (const typename Range::value_type& item : range) Codec<typename Range::value_type>::encode(out, item);
}

template <class Map>
struct MapCodec {
    using Key = typename Map::key_type;
    using Value = typename Map::mapped_type;

    static void encode(Buffer& out, const Map& map) {
        const EncodeLevel level;
        put_header(out, Tag::kDict, map.size());
        for (const auto& [key, value] : map) {
            Codec<Key>::encode(out, key);
            Codec<Value>::encode(out, value);
        }
    }
    static Map decode(Reader& in) {
        const std::size_t count = in.read_count(Tag::kDict);
        const Reader::Level level(in);
        Map map;
        reserve(map, count);
        for (std::size_t i = 0; i < count; ++i) {
            Key key = Codec<Key>::decode(in);
            map.insert_or_assign(std::move(key), Codec<Value>::decode(in));
        }
        return map;
    }
};

template <class Set>
struct SetCodec {
    static void encode(Buffer& out, const Set& set) { put_items(out, Tag::kSet, set); }
    static Set decode(Reader& in) {
        const bool frozen = in.peek() == Tag::kFrozenSet;
        const std::size_t count = in.read_count(frozen ? Tag::kFrozenSet : Tag::kSet);
        const Reader::Level level(in);
        Set set;
        reserve(set, count);
        for (std::size_t i = 0; i < count; ++i) set.insert(Codec<typename Set::value_type>::decode(in));
        return set;
    }
};

template <template <class> class Part, class... Ts>
void put_tuple(Buffer& out, const Ts&... parts) {
    const EncodeLevel level;
    put_header(out, Tag::kTuple, sizeof...(Ts));
    (Part<Ts>::encode(out, parts), ...);
}

template <class T>
inline constexpr bool kMayBeNone = std::is_same_v<T, std::monostate>;
template <class T>
inline constexpr bool kMayBeNone<std::optional<T>> = true;

}  // namespace detail

template <>
struct Codec<bool> {
    static void encode(Buffer& out, bool value) { put_bool(out, value); }
    static bool decode(Reader& in) {
        const std::uint8_t tag = in.peek();
        if (tag == Tag::kFalse || tag == Tag::kTrue) return in.read_bool();
        const Integer number = detail::read_integral(in);
        if (!number.fits_uint64() || number.low > 1) detail::throw_out_of_range(number, false, 1);
        return number.low == 1;
    }
};

template <std::integral T>
struct Codec<T> {
    static void encode(Buffer& out, T value) {
        if constexpr (std::is_signed_v<T>) {
            put_int(out, static_cast<std::int64_t>(value));
        } else {
            put_uint(out, static_cast<std::uint64_t>(value));
        }
    }
    static T decode(Reader& in) {
        const Integer number = detail::read_integral(in);
        // -1 - payload lies in T for the same payloads as the payload itself.
        const bool fits = number.big.empty() && (std::is_signed_v<T> || !number.negative) &&
                          number.low <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
        if (!fits) detail::throw_out_of_range(number, std::is_signed_v<T>, 8 * sizeof(T));
        return static_cast<T>(number.negative ? ~number.low : number.low);
    }
};

template <class T>
    requires std::is_enum_v<T>
struct Codec<T> {
    using Underlying = Codec<std::underlying_type_t<T>>;
    static void encode(Buffer& out, T value) {
        Underlying::encode(out, static_cast<std::underlying_type_t<T>>(value));
    }
    static T decode(Reader& in) { return static_cast<T>(Underlying::decode(in)); }
};

template <>
struct Codec<double> {
    static void encode(Buffer& out, double value) { put_float(out, value); }
    static double decode(Reader& in) {
        return in.peek() == Tag::kFloat ? in.read_float() : detail::read_real(in);
    }
};

/// Decoding rounds to the nearest float.
template <>
struct Codec<float> {
    static void encode(Buffer& out, float value) { put_float(out, static_cast<double>(value)); }
    static float decode(Reader& in) {
        const double value = Codec<double>::decode(in);
        const double magnitude = value < 0 ? -value : value;
        const bool finite = magnitude <= std::numeric_limits<double>::max();
        if (finite && magnitude > static_cast<double>(std::numeric_limits<float>::max())) {
            detail::throw_float_overflow(value);
        }
        return static_cast<float>(value);
    }
};

template <>
struct Codec<std::complex<double>> {
    static void encode(Buffer& out, const std::complex<double>& value) {
        put_complex(out, value.real(), value.imag());
    }
    static std::complex<double> decode(Reader& in) {
        return in.peek() == Tag::kComplex ? in.read_complex() : Codec<double>::decode(in);
    }
};

template <>
struct Codec<std::string_view> {
    static void encode(Buffer& out, std::string_view text) { detail::put_utf8(out, text); }
};
/// UTF-8; FormatError for any other bytes. Python's lone surrogates appear as three bytes each.
template <>
struct Codec<std::string> {
    static void encode(Buffer& out, const std::string& text) { detail::put_utf8(out, text); }
    static std::string decode(Reader& in) { return detail::read_utf8(in); }
};

template <>
struct Codec<Bytes> {
    static void encode(Buffer& out, Bytes bytes) { put_bytes(out, bytes); }
};
template <>
struct Codec<std::vector<std::byte>> {
    static void encode(Buffer& out, const std::vector<std::byte>& bytes) { put_bytes(out, bytes); }
    static std::vector<std::byte> decode(Reader& in) {
        const bool mutable_bytes = in.peek() == Tag::kByteArray;
        const Bytes bytes = mutable_bytes ? in.read_counted(Tag::kByteArray) : in.read_bytes();
        return {bytes.begin(), bytes.end()};
    }
};

template <class T, class Allocator>
struct Codec<std::vector<T, Allocator>> {
    static void encode(Buffer& out, const std::vector<T, Allocator>& list) {
        detail::put_items(out, Tag::kList, list);
    }
    static std::vector<T, Allocator> decode(Reader& in) {
        const std::size_t count = in.read_count(Tag::kList);
        const Reader::Level level(in);
        std::vector<T, Allocator> list;
        detail::reserve(list, count);
        for (std::size_t i = 0; i < count; ++i) list.push_back(Codec<T>::decode(in));
        return list;
    }
};

template <class K, class V, class... Rest>
struct Codec<std::map<K, V, Rest...>> : detail::MapCodec<std::map<K, V, Rest...>> {};
template <class K, class V, class... Rest>
struct Codec<std::unordered_map<K, V, Rest...>> : detail::MapCodec<std::unordered_map<K, V, Rest...>> {};
template <class T, class... Rest>
struct Codec<std::set<T, Rest...>> : detail::SetCodec<std::set<T, Rest...>> {};
template <class T, class... Rest>
struct Codec<std::unordered_set<T, Rest...>> : detail::SetCodec<std::unordered_set<T, Rest...>> {};

template <class... Ts>
struct Codec<std::tuple<Ts...>> {
    static void encode(Buffer& out, const std::tuple<Ts...>& tuple) {
        std::apply([&](const Ts&... parts) { detail::put_tuple<Codec>(out, parts...); }, tuple);
    }
    static std::tuple<Ts...> decode(Reader& in) {
        detail::read_tuple_header(in, sizeof...(Ts));
        const Reader::Level level(in);
        return std::tuple<Ts...>{Codec<Ts>::decode(in)...};  // braces: from left to right
    }
};

template <class A, class B>
struct Codec<std::pair<A, B>> {
    static void encode(Buffer& out, const std::pair<A, B>& pair) {
        detail::put_tuple<Codec>(out, pair.first, pair.second);
    }
    static std::pair<A, B> decode(Reader& in) {
        detail::read_tuple_header(in, 2);
        const Reader::Level level(in);
        return std::pair<A, B>{Codec<A>::decode(in), Codec<B>::decode(in)};
    }
};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> {
    static void encode(Buffer& out, const std::array<T, N>& array) {
        detail::put_items(out, Tag::kTuple, array);
    }
    static std::array<T, N> decode(Reader& in) {
        detail::read_tuple_header(in, N);
        const Reader::Level level(in);
        std::array<T, N> array;
        for (T& item : array) item = Codec<T>::decode(in);
        return array;
    }
};

template <>
struct Codec<std::monostate> {
    static void encode(Buffer& out, std::monostate) { put_none(out); }
    static std::monostate decode(Reader& in) {
        in.read_none();
        return {};
    }
};

template <class T>
struct Codec<std::optional<T>> {
    static_assert(!detail::kMayBeNone<T>, "None could not tell an empty optional from what it holds");

    static void encode(Buffer& out, const std::optional<T>& value) {
        if (value) {
            Codec<T>::encode(out, *value);
        } else {
            put_none(out);
        }
    }
    static std::optional<T> decode(Reader& in) {
        if (in.peek() != Tag::kNone) return Codec<T>::decode(in);
        in.read_none();
        return std::nullopt;
    }
};

/// Encodes the identity of a key: keys that Python calls equal, such as 1, 1.0 and True, have the same
/// bytes. kExact promises that these are the bytes of Codec<K>, so that nobody need encode a key twice. Any
/// K that has a Codec can be a key unless it is stored as a list, dict or set (FormatError): specialise
/// for speed only. Stored keys are decoded by Codec<K>.
template <class K>
struct KeyCodec {
    static constexpr bool kExact = false;
    static void encode(Buffer& out, const K& key) {
        Buffer item;
        Codec<K>::encode(item, key);
        put_identity(out, item);
    }
};

namespace detail {

template <class K>
struct ExactKeyCodec {
    static constexpr bool kExact = true;
    static void encode(Buffer& out, const K& key) { Codec<K>::encode(out, key); }
};

}  // namespace detail

template <std::integral K>
struct KeyCodec<K> : detail::ExactKeyCodec<K> {};
template <>
struct KeyCodec<std::string> : detail::ExactKeyCodec<std::string> {};
template <>
struct KeyCodec<std::string_view> : detail::ExactKeyCodec<std::string_view> {};
template <>
struct KeyCodec<std::vector<std::byte>> : detail::ExactKeyCodec<std::vector<std::byte>> {};
template <>
struct KeyCodec<Bytes> : detail::ExactKeyCodec<Bytes> {};
template <>
struct KeyCodec<std::monostate> : detail::ExactKeyCodec<std::monostate> {};

template <>
struct KeyCodec<bool> {
    static constexpr bool kExact = false;
    static void encode(Buffer& out, bool key) { put_uint(out, key ? 1 : 0); }
};

template <std::floating_point K>
struct KeyCodec<K> {
    static_assert(sizeof(K) <= sizeof(double), "long double has no stored form");
    static constexpr bool kExact = false;
    static void encode(Buffer& out, K key) { put_float_identity(out, static_cast<double>(key)); }
};

template <class K>
    requires std::is_enum_v<K>
struct KeyCodec<K> {
    using Underlying = KeyCodec<std::underlying_type_t<K>>;
    static constexpr bool kExact = Underlying::kExact;
    static void encode(Buffer& out, K key) {
        Underlying::encode(out, static_cast<std::underlying_type_t<K>>(key));
    }
};

template <class... Ks>
struct KeyCodec<std::tuple<Ks...>> {
    static constexpr bool kExact = (KeyCodec<Ks>::kExact && ...);
    static void encode(Buffer& out, const std::tuple<Ks...>& key) {
        std::apply([&](const Ks&... parts) { detail::put_tuple<KeyCodec>(out, parts...); }, key);
    }
};

template <class A, class B>
struct KeyCodec<std::pair<A, B>> {
    static constexpr bool kExact = KeyCodec<A>::kExact && KeyCodec<B>::kExact;
    static void encode(Buffer& out, const std::pair<A, B>& key) {
        detail::put_tuple<KeyCodec>(out, key.first, key.second);
    }
};

template <class T, std::size_t N>
struct KeyCodec<std::array<T, N>> {
    static constexpr bool kExact = KeyCodec<T>::kExact;
    static void encode(Buffer& out, const std::array<T, N>& key) {
        const detail::EncodeLevel level;
        put_header(out, Tag::kTuple, N);
        for (const T& part : key) KeyCodec<T>::encode(out, part);
    }
};

template <class K>
struct KeyCodec<std::optional<K>> {
    static constexpr bool kExact = KeyCodec<K>::kExact;
    static void encode(Buffer& out, const std::optional<K>& key) {
        if (key) {
            KeyCodec<K>::encode(out, *key);
        } else {
            put_none(out);
        }
    }
};

}  // namespace pyrsistence
