// The bytes of values: an item is a tag and a payload whose length follows from the tag
// (docs/format.md, "Values" and "Keys"). The put functions append the one shortest form of a value, and
// Reader and item_size accept any bytes: they throw rather than look beyond the end, and allocate nothing.
// Free functions on the caller's objects: any thread, one thread at a time per Buffer and Reader.
#pragma once

#include <array>
#include <bit>
#include <complex>
#include <cstring>

#include "pyrsistence/buffer.hpp"
#include "pyrsistence/error.hpp"
#include "pyrsistence/types.hpp"

namespace pyrsistence {

/// The tags of docs/format.md. One whose name ends in "0" is the first of a range.
struct Tag {
    static constexpr std::uint8_t kSeparator = 0x00;  ///< in dict entries only, never in an item
    static constexpr std::uint8_t kNone = 0x01;
    static constexpr std::uint8_t kFalse = 0x02;
    static constexpr std::uint8_t kTrue = 0x03;
    static constexpr std::uint8_t kFloat = 0x04;
    static constexpr std::uint8_t kComplex = 0x05;
    static constexpr std::uint8_t kText = 0x06;
    static constexpr std::uint8_t kSurrogateText = 0x07;
    static constexpr std::uint8_t kBytes = 0x08;
    static constexpr std::uint8_t kByteArray = 0x09;
    static constexpr std::uint8_t kTuple = 0x0A;
    static constexpr std::uint8_t kList = 0x0B;
    static constexpr std::uint8_t kDict = 0x0C;
    static constexpr std::uint8_t kSet = 0x0D;
    static constexpr std::uint8_t kFrozenSet = 0x0E;
    static constexpr std::uint8_t kPickle = 0x0F;
    static constexpr std::uint8_t kInt0 = 0x10;  ///< plus the payload's bytes, 1 to 8
    static constexpr std::uint8_t kBigInt = 0x19;
    static constexpr std::uint8_t kNegative0 = 0x20;  ///< plus the payload's bytes, 0 to 8
    static constexpr std::uint8_t kBigNegative = 0x29;
    static constexpr std::uint8_t kNumpyScalar = 0x30;
    static constexpr std::uint8_t kCustom = 0x31;
    static constexpr std::uint8_t kShortText0 = 0x40;   ///< plus the length, 0 to 31
    static constexpr std::uint8_t kShortBytes0 = 0x60;  ///< plus the length, 0 to 15
    static constexpr std::uint8_t kRational = 0x70;
    static constexpr std::uint8_t kComplexKey = 0x71;
    static constexpr std::uint8_t kFrozenSetKey = 0x72;
    static constexpr std::uint8_t kDate = 0x73;
    static constexpr std::uint8_t kNaiveDateTime = 0x74;
    static constexpr std::uint8_t kAwareDateTime = 0x75;
    static constexpr std::uint8_t kNaiveTime = 0x76;
    static constexpr std::uint8_t kAwareTime = 0x77;
    static constexpr std::uint8_t kTimeDelta = 0x78;
    static constexpr std::uint8_t kUuid = 0x79;
    static constexpr std::uint8_t kPosixPath = 0x7A;
    static constexpr std::uint8_t kWindowsPath = 0x7B;
    static constexpr std::uint8_t kEnumMember = 0x7C;
    static constexpr std::uint8_t kInstance = 0x7D;
    static constexpr std::uint8_t kGlobal = 0x7E;
    static constexpr std::uint8_t kDigest = 0x7F;
    static constexpr std::uint8_t kSmallInt0 = 0x80;  ///< plus the value, 0 to 127
};

inline constexpr std::size_t kMaxShortText = 31;
inline constexpr std::size_t kMaxShortBytes = 15;
/// Containers within containers; a deeper value is not stored as items.
inline constexpr unsigned kMaxNesting = 200;
/// IEEE 754 bits of every NaN in a key.
inline constexpr std::uint64_t kCanonicalNan = 0x7FF8'0000'0000'0000;

namespace detail {

inline std::uint64_t load_u64(const std::byte* place) noexcept {
    std::uint64_t value;
    std::memcpy(&value, place, sizeof value);
    return std::endian::native == std::endian::little ? value : __builtin_bswap64(value);
}
inline void store_u64(std::byte* place, std::uint64_t value) noexcept {
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
    std::memcpy(place, &value, sizeof value);
}

inline constexpr std::size_t kMaxVarint = 10;  ///< bytes
/// Little-endian groups of 7 bits, each but the last with the high bit set; returns how many.
inline std::size_t store_varint(std::byte* place, std::uint64_t value) noexcept {
    std::size_t n = 0;
    for (; value >= 0x80; value >>= 7) place[n++] = static_cast<std::byte>(value | 0x80);
    place[n++] = static_cast<std::byte>(value);
    return n;
}

/// Appends `base` + n and the n significant bytes of `payload`: one store of eight, then cut to n.
inline void put_short_payload(Buffer& out, std::uint8_t base, std::uint64_t payload) {
    const std::size_t n = (static_cast<std::size_t>(std::bit_width(payload)) + 7) / 8;
    std::byte* place = out.extend(9);
    place[0] = static_cast<std::byte>(base + n);
    store_u64(place + 1, payload);
    out.truncate(out.size() - 8 + n);
}

// How the size of an item follows from its tag: a number below kVariable is the size itself.
inline constexpr std::uint8_t kInvalid = 0;
inline constexpr std::uint8_t kVariable = 0x80;
inline constexpr std::uint8_t kCountedBytes = 0x80;
inline constexpr std::uint8_t kCountedItems = 0x81;
inline constexpr std::uint8_t kCountedPairs = 0x82;
inline constexpr std::uint8_t kOneItem = 0x83;
inline constexpr std::uint8_t kTwoItems = 0x84;
inline constexpr std::uint8_t kNumpy = 0x85;

consteval std::array<std::uint8_t, 256> make_shapes() {
    std::array<std::uint8_t, 256> shapes{};
    const auto range = [&](std::size_t first, std::size_t last, std::size_t size, std::size_t step) {
        for (std::size_t tag = first; tag <= last; ++tag, size += step) {
            shapes[tag] = static_cast<std::uint8_t>(size);
        }
    };
    range(0x01, 0x03, 1, 0);
    range(0x04, 0x05, 9, 8);
    range(0x06, 0x09, kCountedBytes, 0);
    range(0x0A, 0x0E, kCountedItems, 0);
    shapes[Tag::kDict] = kCountedPairs;
    shapes[Tag::kPickle] = kCountedBytes;
    range(0x10, 0x18, 1, 1);
    range(0x20, 0x28, 1, 1);
    shapes[Tag::kBigInt] = shapes[Tag::kBigNegative] = shapes[Tag::kCustom] = kCountedBytes;
    shapes[Tag::kNumpyScalar] = kNumpy;
    range(0x40, 0x5F, 1, 1);
    range(0x60, 0x6F, 1, 1);
    range(0x70, 0x71, kTwoItems, 0);
    shapes[Tag::kFrozenSetKey] = kCountedItems;
    shapes[Tag::kDate] = 7;
    range(0x74, 0x78, 9, 0);
    shapes[Tag::kUuid] = 17;
    range(0x7A, 0x7B, kOneItem, 0);
    range(0x7C, 0x7E, kTwoItems, 0);
    shapes[Tag::kDigest] = 17;
    range(0x80, 0xFF, 1, 0);
    return shapes;
}
inline constexpr std::array<std::uint8_t, 256> kShapes = make_shapes();

void put_long_varint(Buffer& out, std::uint64_t value);
std::size_t variable_item_size(Bytes bytes);
[[noreturn]] void throw_truncated(std::size_t offset, std::uint64_t needed, std::size_t remaining);
[[noreturn]] void throw_malformed(std::size_t offset, const char* what);
/// CorruptionError if `tag` begins no item, else FormatError that names both types.
[[noreturn]] void throw_unexpected(const char* wanted, std::uint8_t tag);

}  // namespace detail

/// What a tag stands for, for messages: "str", "list", ...
const char* tag_name(std::uint8_t tag) noexcept;

inline void put_varint(Buffer& out, std::uint64_t value) {
    if (value < 0x80) {
        out.push_back(static_cast<std::byte>(value));
    } else {
        detail::put_long_varint(out, value);
    }
}

inline void put_none(Buffer& out) { out.push_back(std::byte{Tag::kNone}); }
inline void put_bool(Buffer& out, bool value) { out.push_back(std::byte{value ? Tag::kTrue : Tag::kFalse}); }

inline void put_uint(Buffer& out, std::uint64_t value) {
    if (value < 0x80) {
        out.push_back(static_cast<std::byte>(Tag::kSmallInt0 + value));
    } else {
        detail::put_short_payload(out, Tag::kInt0, value);
    }
}
inline void put_int(Buffer& out, std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    if (value >= 0) {
        put_uint(out, bits);
    } else {
        detail::put_short_payload(out, Tag::kNegative0, ~bits);
    }
}
/// An integer of any size: `payload` (little-endian, high zero bytes allowed), or -1 - payload if `negative`.
void put_big_int(Buffer& out, bool negative, Bytes payload);

inline void put_float(Buffer& out, double value) {
    std::byte* place = out.extend(9);
    place[0] = std::byte{Tag::kFloat};
    detail::store_u64(place + 1, std::bit_cast<std::uint64_t>(value));
}
inline void put_complex(Buffer& out, double real, double imaginary) {
    std::byte* place = out.extend(17);
    place[0] = std::byte{Tag::kComplex};
    detail::store_u64(place + 1, std::bit_cast<std::uint64_t>(real));
    detail::store_u64(place + 9, std::bit_cast<std::uint64_t>(imaginary));
}

/// A container's head: `count` items follow, or `count` pairs of items if `tag` is Tag::kDict.
inline void put_header(Buffer& out, std::uint8_t tag, std::uint64_t count) {
    out.push_back(std::byte{tag});
    put_varint(out, count);
}
inline void put_counted(Buffer& out, std::uint8_t tag, Bytes bytes) {
    put_header(out, tag, bytes.size());
    out.append(bytes);
}
inline void put_short(Buffer& out, std::uint8_t base, Bytes bytes) {
    std::byte* place = out.extend(1 + bytes.size());
    place[0] = static_cast<std::byte>(base + bytes.size());
    if (!bytes.empty()) std::memcpy(place + 1, bytes.data(), bytes.size());
}

/// REQUIRES: `utf8` is valid; `has_surrogates` tells whether it has any, each of three bytes.
inline void put_text(Buffer& out, std::string_view utf8, bool has_surrogates) {
    if (has_surrogates) {
        put_counted(out, Tag::kSurrogateText, as_bytes(utf8));
    } else if (utf8.size() <= kMaxShortText) {
        put_short(out, Tag::kShortText0, as_bytes(utf8));
    } else {
        put_counted(out, Tag::kText, as_bytes(utf8));
    }
}
inline void put_bytes(Buffer& out, Bytes bytes) {
    if (bytes.size() <= kMaxShortBytes) {
        put_short(out, Tag::kShortBytes0, bytes);
    } else {
        put_counted(out, Tag::kBytes, bytes);
    }
}
inline void put_bytearray(Buffer& out, Bytes bytes) { put_counted(out, Tag::kByteArray, bytes); }
inline void put_pickle(Buffer& out, Bytes pickle) { put_counted(out, Tag::kPickle, pickle); }
inline void put_custom(Buffer& out, Bytes bytes) { put_counted(out, Tag::kCustom, bytes); }
/// REQUIRES: both at most 255 bytes; `dtype` is ASCII and names no byte order.
void put_numpy_scalar(Buffer& out, std::string_view dtype, Bytes little_endian);

/// Appends the identity of a floating-point key: the int form if integral, one NaN, no negative zero.
void put_float_identity(Buffer& out, double value);
/// Appends the identity of the key that `item` encodes; FormatError if its type cannot be a key.
void put_identity(Buffer& out, Bytes item);

enum class TextKind { utf8, surrogates, invalid };
/// Tells valid UTF-8 from text that has surrogates (of three bytes each) too, and from any other bytes.
TextKind classify_text(std::string_view text) noexcept;

/// The length of the item at the start of `bytes`, which may go on behind it. Looks at tags and lengths
/// only; no recursion, no allocation. Throws CorruptionError.
inline std::size_t item_size(Bytes bytes) {
    if (bytes.empty()) detail::throw_truncated(0, 1, 0);
    const std::uint8_t shape = detail::kShapes[static_cast<std::uint8_t>(bytes[0])];
    if (shape == detail::kInvalid || shape >= detail::kVariable) return detail::variable_item_size(bytes);
    if (shape > bytes.size()) detail::throw_truncated(0, shape, bytes.size());
    return shape;
}

/// An integer as stored: `payload`, or -1 - payload if `negative`.
struct Integer {
    std::uint64_t low = 0;  ///< the payload if it is below 2^64, else 0
    Bytes big;              ///< the payload's bytes, little-endian, if it is 2^64 or more, else empty
    bool negative = false;

    bool fits_int64() const noexcept { return big.empty() && low >> 63 == 0; }
    bool fits_uint64() const noexcept { return big.empty() && !negative; }
    /// REQUIRES: fits_int64().
    std::int64_t int64() const noexcept { return static_cast<std::int64_t>(negative ? ~low : low); }
};

struct Text {
    std::string_view utf8;  ///< not validated
    bool has_surrogates = false;
};

struct NumpyScalar {
    std::string_view dtype;
    Bytes data;
};

/// Reads items one after the other. What it returns points into the bytes it was given. A read of the wrong
/// type throws FormatError and leaves the item in place; bytes that no encoder writes throw
/// CorruptionError, after which the position is unspecified.
class Reader {
public:
    explicit Reader(Bytes bytes) noexcept
        : begin_(bytes.data()), next_(begin_), end_(begin_ + bytes.size()) {}

    bool at_end() const noexcept { return next_ == end_; }
    std::size_t position() const noexcept { return static_cast<std::size_t>(next_ - begin_); }
    std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - next_); }
    Bytes rest() const noexcept { return {next_, end_}; }

    /// The tag of the next item.
    std::uint8_t peek() const {
        if (at_end()) detail::throw_truncated(position(), 1, 0);
        return static_cast<std::uint8_t>(*next_);
    }
    /// The next item with its tag, unread.
    Bytes read_item() { return take(item_size(rest())); }
    void skip() { next_ += item_size(rest()); }

    void read_none() { expect(Tag::kNone, "None"); }
    bool read_bool() {
        const std::uint8_t tag = peek();
        if (tag != Tag::kFalse && tag != Tag::kTrue) detail::throw_unexpected("bool", tag);
        ++next_;
        return tag == Tag::kTrue;
    }
    Integer read_integer() {
        const std::uint8_t tag = peek();
        if (tag >= Tag::kSmallInt0) {
            ++next_;
            return {static_cast<std::uint64_t>(tag - Tag::kSmallInt0), {}, false};
        }
        if (const unsigned n = distance(Tag::kInt0, tag); n <= 8) return {read_payload(n, 0x80), {}, false};
        if (const unsigned n = distance(Tag::kNegative0, tag); n <= 8) return {read_payload(n, 0), {}, true};
        return read_big_integer(tag);
    }
    double read_float() {
        expect(Tag::kFloat, "float");
        return std::bit_cast<double>(detail::load_u64(take(8).data()));
    }
    std::complex<double> read_complex() {
        expect(Tag::kComplex, "complex");
        const std::byte* parts = take(16).data();
        return {std::bit_cast<double>(detail::load_u64(parts)),
                std::bit_cast<double>(detail::load_u64(parts + 8))};
    }
    Text read_text() {
        const std::uint8_t tag = peek();
        const unsigned n = distance(Tag::kShortText0, tag);
        if (n > kMaxShortText) return read_long_text(tag);
        ++next_;
        return {as_text(take(n)), false};
    }
    Bytes read_bytes() {
        const unsigned n = distance(Tag::kShortBytes0, peek());
        if (n > kMaxShortBytes) return read_long_bytes();
        ++next_;
        return take(n);
    }
    /// The content of a kByteArray, kPickle or kCustom item.
    Bytes read_counted(std::uint8_t tag) {
        expect(tag, tag_name(tag));
        return take(read_varint());
    }
    NumpyScalar read_numpy_scalar();

    /// The count of a container with this very tag, whose items (for kDict: pairs of items) follow. It is at
    /// most what the remaining bytes could hold.
    std::size_t read_count(std::uint8_t tag) {
        expect(tag, tag_name(tag));
        const std::uint64_t count = read_varint();
        const std::size_t most = tag == Tag::kDict ? remaining() / 2 : remaining();
        if (count > most) detail::throw_truncated(position(), count, remaining());
        return static_cast<std::size_t>(count);
    }

    std::uint64_t read_varint() {
        if (const std::uint8_t first = peek(); first < 0x80) {
            ++next_;
            return first;
        }
        return read_long_varint();
    }
    /// The next `count` bytes.
    Bytes take(std::uint64_t count) {
        if (count > remaining()) detail::throw_truncated(position(), count, remaining());
        const std::byte* place = next_;
        next_ += count;
        return {place, static_cast<std::size_t>(count)};
    }

    /// Held while the items of one container are read; throws CorruptionError if nested too deeply.
    class Level {
    public:
        explicit Level(Reader& reader) : reader_(reader) {
            if (reader.depth_ == kMaxNesting) {
                detail::throw_malformed(reader.position(), "more than 200 nested containers");
            }
            ++reader.depth_;
        }
        ~Level() { --reader_.depth_; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;

    private:
        Reader& reader_;
    };

private:
    /// Huge if `tag` lies before `first`.
    static constexpr unsigned distance(std::uint8_t first, std::uint8_t tag) noexcept {
        return static_cast<unsigned>(tag) - first;
    }
    void expect(std::uint8_t tag, const char* wanted) {
        if (const std::uint8_t found = peek(); found != tag) detail::throw_unexpected(wanted, found);
        ++next_;
    }
    /// Tag and `n` bytes; below `least`, or with a high zero byte, there would be a shorter form.
    std::uint64_t read_payload(unsigned n, std::uint64_t least) {
        std::uint64_t payload = 0;
        if (remaining() >= 9) {
            if (n > 0) payload = detail::load_u64(next_ + 1) & (~std::uint64_t{0} >> (64 - 8 * n));
            next_ += 1 + n;
        } else {
            const Bytes bytes = take(1 + n).subspan(1);
            for (unsigned i = 0; i < n; ++i) payload |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
        }
        if (payload < least || (n > 0 && payload >> (8 * (n - 1)) == 0)) throw_not_shortest();
        return payload;
    }
    [[noreturn]] void throw_not_shortest() const;
    Integer read_big_integer(std::uint8_t tag);
    Text read_long_text(std::uint8_t tag);
    Bytes read_long_bytes();
    std::uint64_t read_long_varint();

    const std::byte* begin_;
    const std::byte* next_;
    const std::byte* end_;
    unsigned depth_ = 0;
};

}  // namespace pyrsistence
