#include "pyrsistence/encoding.hpp"

#include <cstdio>
#include <string>

namespace pyrsistence {

namespace detail {

void throw_truncated(std::size_t offset, std::uint64_t needed, std::size_t remaining) {
    throw CorruptionError("encoded value: needs " + std::to_string(needed) + " bytes at offset " +
                          std::to_string(offset) + ", but only " + std::to_string(remaining) + " remain");
}

void throw_malformed(std::size_t offset, const char* what) {
    throw CorruptionError("encoded value: " + std::string(what) + " at offset " + std::to_string(offset));
}

void throw_unexpected(const char* wanted, std::uint8_t tag) {
    char found[8];
    std::snprintf(found, sizeof found, "%02X", tag);
    if (kShapes[tag] == kInvalid) {
        throw CorruptionError("encoded value: tag " + std::string(found) + " begins no item; wanted " +
                              wanted);
    }
    throw FormatError("wanted " + std::string(wanted) + ", found " + tag_name(tag) + " (tag " + found +
                      "); open the container with the type it was written with");
}

void put_long_varint(Buffer& out, std::uint64_t value) {
    std::byte* place = out.extend(kMaxVarint);
    out.truncate(out.size() - kMaxVarint + store_varint(place, value));
}

namespace {

/// Passes over one tag and the payload that is not items; returns how many items follow.
std::uint64_t skip_head(Reader& reader) {
    const std::uint8_t tag = reader.peek();
    const std::uint8_t shape = kShapes[tag];
    if (shape == kInvalid) throw_unexpected("an item", tag);
    reader.take(shape < kVariable ? shape : 1);
    switch (shape) {
        case kCountedBytes: reader.take(reader.read_varint()); return 0;
        case kCountedItems: return reader.read_varint();
        case kCountedPairs: {
            const std::uint64_t count = reader.read_varint();
            if (count > reader.remaining() / 2) throw_truncated(reader.position(), count, reader.remaining());
            return 2 * count;
        }
        case kOneItem: return 1;
        case kTwoItems: return 2;
        case kNumpy:
            reader.take(std::to_integer<std::size_t>(reader.take(1)[0]));
            reader.take(std::to_integer<std::size_t>(reader.take(1)[0]));
            return 0;
        default: return 0;
    }
}

}  // namespace

std::size_t variable_item_size(Bytes bytes) {
    Reader reader(bytes);
    std::uint64_t pending = 1;
    while (pending > 0) {
        const std::uint64_t inner = skip_head(reader);
        --pending;
        // Every pending item takes a byte at least: this bounds the loop, and the sum below.
        if (inner > reader.remaining() || pending + inner > reader.remaining()) {
            throw_truncated(reader.position(), inner, reader.remaining());
        }
        pending += inner;
    }
    return reader.position();
}

}  // namespace detail

const char* tag_name(std::uint8_t tag) noexcept {
    if (tag >= Tag::kSmallInt0) return "int";
    if (tag >= Tag::kShortText0 && tag < Tag::kShortBytes0) return "str";
    if (tag >= Tag::kShortBytes0 && tag < Tag::kRational) return "bytes";
    if (tag >= Tag::kInt0 && tag <= Tag::kBigNegative && detail::kShapes[tag]) return "int";
    switch (tag) {
        case Tag::kNone: return "None";
        case Tag::kFalse:
        case Tag::kTrue: return "bool";
        case Tag::kFloat: return "float";
        case Tag::kComplex:
        case Tag::kComplexKey: return "complex";
        case Tag::kText:
        case Tag::kSurrogateText: return "str";
        case Tag::kBytes: return "bytes";
        case Tag::kByteArray: return "bytearray";
        case Tag::kTuple: return "tuple";
        case Tag::kList: return "list";
        case Tag::kDict: return "dict";
        case Tag::kSet: return "set";
        case Tag::kFrozenSet:
        case Tag::kFrozenSetKey: return "frozenset";
        case Tag::kPickle: return "a pickled object";
        case Tag::kNumpyScalar: return "a NumPy scalar";
        case Tag::kCustom: return "the output of a custom pickler";
        case Tag::kRational: return "a rational number";
        case Tag::kDate: return "date";
        case Tag::kNaiveDateTime:
        case Tag::kAwareDateTime: return "datetime";
        case Tag::kNaiveTime:
        case Tag::kAwareTime: return "time";
        case Tag::kTimeDelta: return "timedelta";
        case Tag::kUuid: return "UUID";
        case Tag::kPosixPath:
        case Tag::kWindowsPath: return "path";
        case Tag::kEnumMember: return "an Enum member";
        case Tag::kInstance: return "an instance of a class";
        case Tag::kGlobal: return "a class or function";
        case Tag::kDigest: return "the digest of a key";
        default: return "an unknown tag";
    }
}

void put_big_int(Buffer& out, bool negative, Bytes payload) {
    std::size_t n = payload.size();
    while (n > 0 && payload[n - 1] == std::byte{0}) --n;
    if (n > 8) {
        put_counted(out, negative ? Tag::kBigNegative : Tag::kBigInt, payload.first(n));
        return;
    }
    std::uint64_t low = 0;
    for (std::size_t i = 0; i < n; ++i) low |= std::to_integer<std::uint64_t>(payload[i]) << (8 * i);
    if (negative) {
        detail::put_short_payload(out, Tag::kNegative0, low);
    } else {
        put_uint(out, low);
    }
}

void put_numpy_scalar(Buffer& out, std::string_view dtype, Bytes little_endian) {
    out.push_back(std::byte{Tag::kNumpyScalar});
    out.push_back(static_cast<std::byte>(dtype.size()));
    out.append(as_bytes(dtype));
    out.push_back(static_cast<std::byte>(little_endian.size()));
    out.append(little_endian);
}

namespace {

/// The length of the UTF-8 sequence at `s`, surrogates included; 0 if there is none.
std::size_t sequence_length(const unsigned char* s, std::size_t available) noexcept {
    const unsigned lead = s[0];
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 0 || lead > 0xF4 || length > available) return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    const bool overlong = (lead == 0xE0 && s[1] < 0xA0) || (lead == 0xF0 && s[1] < 0x90);
    const bool too_large = lead == 0xF4 && s[1] > 0x8F;
    return overlong || too_large ? 0 : length;
}

}  // namespace

TextKind classify_text(std::string_view text) noexcept {
    const auto* s = reinterpret_cast<const unsigned char*>(text.data());
    TextKind kind = TextKind::utf8;
    for (std::size_t i = 0; i < text.size();) {
        if (text.size() - i >= 8) {
            std::uint64_t eight;
            std::memcpy(&eight, s + i, 8);
            if ((eight & 0x8080'8080'8080'8080) == 0) {
                i += 8;
                continue;
            }
        }
        const std::size_t length = sequence_length(s + i, text.size() - i);
        if (length == 0) return TextKind::invalid;
        if (s[i] == 0xED && s[i + 1] >= 0xA0) kind = TextKind::surrogates;
        i += length;
    }
    return kind;
}

void Reader::throw_not_shortest() const {
    detail::throw_malformed(position(), "not in its shortest form: the item that ends");
}

Integer Reader::read_big_integer(std::uint8_t tag) {
    if (tag != Tag::kBigInt && tag != Tag::kBigNegative) detail::throw_unexpected("int", tag);
    const Bytes payload = read_counted(tag);
    if (payload.size() <= 8 || payload.back() == std::byte{0}) throw_not_shortest();
    return {0, payload, tag == Tag::kBigNegative};
}

Text Reader::read_long_text(std::uint8_t tag) {
    if (tag != Tag::kText && tag != Tag::kSurrogateText) detail::throw_unexpected("str", tag);
    const Bytes utf8 = read_counted(tag);
    if (tag == Tag::kText && utf8.size() <= kMaxShortText) throw_not_shortest();
    return {as_text(utf8), tag == Tag::kSurrogateText};
}

Bytes Reader::read_long_bytes() {
    const Bytes bytes = read_counted(Tag::kBytes);
    if (bytes.size() <= kMaxShortBytes) throw_not_shortest();
    return bytes;
}

NumpyScalar Reader::read_numpy_scalar() {
    expect(Tag::kNumpyScalar, "a NumPy scalar");
    const Bytes dtype = take(std::to_integer<std::size_t>(take(1)[0]));
    const Bytes data = take(std::to_integer<std::size_t>(take(1)[0]));
    return {as_text(dtype), data};
}

std::uint64_t Reader::read_long_varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const auto group = std::to_integer<std::uint64_t>(take(1)[0]);
        if (shift == 63 && group > 1) break;
        value |= (group & 0x7F) << shift;
        if (group >= 0x80) continue;
        if (group == 0) throw_not_shortest();
        return value;
    }
    detail::throw_malformed(position(), "a varint beyond 64 bits");
}

}  // namespace pyrsistence
