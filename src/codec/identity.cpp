// Identities of keys that are encoded as values: see "Keys" in docs/format.md.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pyrsistence/encoding.hpp"

namespace pyrsistence {

namespace {

/// REQUIRES: `value` is integral and its magnitude at least 2^63.
void put_huge_float(Buffer& out, double value) {
    int exponent = 0;
    const double fraction = std::frexp(std::fabs(value), &exponent);
    const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 53));
    const auto shift = static_cast<unsigned>(exponent - 53);  // 11 to 971
    std::byte payload[136] = {};
    detail::store_u64(payload + shift / 8, mantissa << (shift % 8));
    if (value < 0) {  // stored as -1 - payload: one less than the magnitude
        std::size_t i = 0;
        while (payload[i] == std::byte{0}) payload[i++] = std::byte{0xFF};
        payload[i] = static_cast<std::byte>(std::to_integer<unsigned>(payload[i]) - 1);
    }
    put_big_int(out, value < 0, payload);
}

void append_identity(Buffer& out, Reader& item);

void put_complex_identity(Buffer& out, std::complex<double> value) {
    if (value.imag() != 0) out.push_back(std::byte{Tag::kComplexKey});
    put_float_identity(out, value.real());
    if (value.imag() != 0) put_float_identity(out, value.imag());
}

void put_tuple_identity(Buffer& out, Reader& item) {
    const std::size_t count = item.read_count(Tag::kTuple);
    const Reader::Level level(item);
    put_header(out, Tag::kTuple, count);
    for (std::size_t i = 0; i < count; ++i) append_identity(out, item);
}

void put_frozenset_identity(Buffer& out, Reader& item) {
    const std::size_t count = item.read_count(Tag::kFrozenSet);
    const Reader::Level level(item);
    std::vector<std::string> members;
    for (std::size_t i = 0; i < count; ++i) {
        Buffer member;
        append_identity(member, item);
        members.emplace_back(as_text(member));
    }
    std::sort(members.begin(), members.end());  // std::string compares bytes as unsigned char
    put_header(out, Tag::kFrozenSetKey, count);
    for (const std::string& member : members) out.append(as_bytes(member));
}

void append_identity(Buffer& out, Reader& item) {
    switch (const std::uint8_t tag = item.peek()) {
        case Tag::kFalse:
        case Tag::kTrue: return put_uint(out, item.read_bool());
        case Tag::kFloat: return put_float_identity(out, item.read_float());
        case Tag::kComplex: return put_complex_identity(out, item.read_complex());
        case Tag::kTuple: return put_tuple_identity(out, item);
        case Tag::kFrozenSet: return put_frozenset_identity(out, item);
        case Tag::kByteArray:
        case Tag::kList:
        case Tag::kDict:
        case Tag::kSet:
        case Tag::kPickle:
        case Tag::kNumpyScalar:
        case Tag::kCustom: detail::throw_unexpected("a type that can be a key", tag);
        default: return out.append(item.read_item());
    }
}

}  // namespace

void put_float_identity(Buffer& out, double value) {
    if (std::isnan(value)) return put_float(out, std::bit_cast<double>(kCanonicalNan));
    if (std::isinf(value) || value != std::trunc(value)) return put_float(out, value);
    if (std::fabs(value) < 0x1p63) return put_int(out, static_cast<std::int64_t>(value));
    put_huge_float(out, value);
}

void put_identity(Buffer& out, Bytes item) {
    Reader reader(item);
    append_identity(out, reader);
}

}  // namespace pyrsistence
