// The layout is in docs/format.md, "Sort keys".
#include "pyrsistence/sort_key.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "codec/endian.hpp"
#include "pyrsistence/error.hpp"

namespace pyrsistence {

namespace {

__extension__ typedef unsigned __int128 Wide;

/// First bytes. Each kind is comparable with itself only; kEnd, of a tuple, is before everything.
enum Kind : std::uint8_t {
    kEnd = 0x00,
    kNone = 0x10,
    kMinusInfinity = 0x20,
    kNegativeLong = 0x21,   ///< below -2^64: u32 length of the payload, payload, both inverted
    kNegative8 = 0x22,      ///< plus 8 - n: n bytes of payload, inverted; the floor is -1 - payload
    kNegative0 = 0x2A,
    kNegativePart = 0x2B,   ///< -1 < x < 0: the fraction of -x, inverted
    kZero = 0x2C,
    kPositivePart = 0x2D,   ///< 0 < x < 1: fraction
    kPositive1 = 0x2E,      ///< plus n - 1: n bytes, the floor
    kPositive8 = 0x35,
    kPositiveLong = 0x36,
    kPlusInfinity = 0x37,
    kByteString = 0x40,
    kText = 0x50,
    kFixed = 0x60,          ///< plus tag - Tag::kDate, up to Tag::kUuid: the payload, big-endian
    kTuple = 0x70,
    kFraction = 0xFE,       ///< behind a floor: a fraction follows
};

constexpr std::byte kEscaped{0xFF};  ///< behind a zero within a tuple: a zero of the text itself
constexpr unsigned kShortShifts = 240;
constexpr std::uint32_t kNoLimit = std::numeric_limits<std::uint32_t>::max();

/// The bytes of payloads behind tags kDate to kUuid.
constexpr std::size_t kFixedSizes[] = {6, 8, 8, 8, 8, 8, 16};
constexpr std::string_view kFixedNames[] = {"date",       "naive datetime", "aware datetime", "naive time",
                                            "aware time", "timedelta",      "UUID"};
constexpr bool is_fixed(std::uint8_t tag) { return tag >= Tag::kDate && tag <= Tag::kUuid; }
static_assert(Tag::kUuid - Tag::kDate + 1 == std::size(kFixedSizes));
static_assert(std::size(kFixedNames) == std::size(kFixedSizes));

/// Of a number it is that of any: see Parser::peek_class().
std::string_view kind_name(std::uint8_t kind) {
    if (kind >= kFixed && kind < kFixed + std::size(kFixedSizes)) return kFixedNames[kind - kFixed];
    switch (kind) {
        case kNone: return "None";
        case kZero: return "number";
        case kByteString: return "bytes";
        case kText: return "str";
        case kTuple: return "tuple";
        default: return "unknown";
    }
}

[[noreturn]] void malformed() { throw CorruptionError("a malformed sort key; restore a backup, or save what can be read by verify(repair=True)"); }

void put(Buffer& out, unsigned byte) { out.push_back(static_cast<std::byte>(byte)); }

void put_big_endian(Buffer& out, std::uint64_t value, unsigned size) {
    for (unsigned shift = 8 * size; shift > 0; shift -= 8) put(out, static_cast<unsigned>(value >> (shift - 8)) & 0xFF);
}

void invert(Buffer& out, std::size_t begin) {
    std::byte* bytes = out.data();
    for (std::size_t i = begin; i < out.size(); ++i) bytes[i] = ~bytes[i];
}

// --- fractions, between 0 and 1

/// The denominators of the continued fraction 1 / (a1 + 1 / (a2 + ...)) in turn: a greater a1 makes it smaller, a
/// greater a2 greater. What is not there counts as infinite.
void put_continued_fraction(Buffer& out, Wide numerator, Wide denominator) {
    bool inverted = true;
    for (; numerator != 0; inverted = !inverted) {
        const Wide quotient = denominator / numerator;
        const std::size_t begin = out.size();
        unsigned size = 16;
        while (size > 1 && static_cast<std::uint8_t>(quotient >> (8 * (size - 1))) == 0) --size;
        put(out, size);
        for (unsigned i = size; i > 0; --i) put(out, static_cast<std::uint8_t>(quotient >> (8 * (i - 1))));
        if (inverted) invert(out, begin);
        const Wide rest = denominator % numerator;
        denominator = numerator;
        numerator = rest;
    }
    put(out, inverted ? 0x00 : 0xFF);
}

/// How many leading zero bits, fewer first; then the 63 bits behind the first one, and a bit that tells whether there is
/// more.
void put_fraction_head(Buffer& out, unsigned zeros, std::uint64_t bits, bool more) {
    if (zeros < kShortShifts) {
        put(out, 0xFF - zeros);
    } else {
        put(out, 1);
        put_big_endian(out, kNoLimit - zeros, 4);
    }
    put_big_endian(out, bits << 1 | std::uint64_t{more}, 8);
}

void put_fraction(Buffer& out, Wide numerator, Wide denominator) {
    unsigned zeros = 0;
    for (numerator *= 2; numerator < denominator; numerator *= 2) ++zeros;
    numerator -= denominator;
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < 63; ++i) {
        numerator *= 2;
        const bool one = numerator >= denominator;
        if (one) numerator -= denominator;
        bits = bits << 1 | std::uint64_t{one};
    }
    put_fraction_head(out, zeros, bits, numerator != 0);
    if (numerator != 0) put_continued_fraction(out, numerator, denominator);
}

void put_fraction(Buffer& out, double value) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);  // from 0.5 on; exponent is not above 0
    const auto bits = static_cast<std::uint64_t>(std::ldexp(mantissa, 64)) << 1 >> 1;
    put_fraction_head(out, static_cast<unsigned>(-exponent), bits, false);
}

// --- numbers

/// The greatest integer that is not above a number: `payload` (little-endian), or -1 - payload if `negative`.
void put_floor(Buffer& out, bool negative, Bytes payload) {
    while (!payload.empty() && payload.back() == std::byte{0}) payload = payload.first(payload.size() - 1);
    const std::size_t size = payload.size();
    if (size <= 8) {
        const std::size_t kind = negative ? kNegative0 - size : size == 0 ? std::size_t{kZero} : kPositive1 + size - 1;
        put(out, static_cast<unsigned>(kind));
    } else {
        put(out, negative ? kNegativeLong : kPositiveLong);
    }
    const std::size_t begin = out.size();
    if (size > 8) put_big_endian(out, size, 4);
    std::byte* place = out.extend(size);
    std::reverse_copy(payload.begin(), payload.end(), place);
    if (negative) invert(out, begin);
}

void put_floor(Buffer& out, bool negative, std::uint64_t payload) {
    std::byte bytes[8];
    codec::store<std::uint64_t>(bytes, payload);
    put_floor(out, negative, bytes);
}

void put_integer(Buffer& out, const Integer& number) {
    if (number.big.empty()) put_floor(out, number.negative, number.low);
    else put_floor(out, number.negative, number.big);
}

/// REQUIRES: not an integer, which has an identity of its own.
void put_real(Buffer& out, double value) {
    if (std::isnan(value)) throw OrderError("NaN has no place in any order: it is neither below nor above another number");
    if (std::isinf(value)) return put(out, value < 0 ? kMinusInfinity : kPlusInfinity);
    if (std::fabs(value) < 1) {
        put(out, value < 0 ? kNegativePart : kPositivePart);
        const std::size_t begin = out.size();
        put_fraction(out, std::fabs(value));
        if (value < 0) invert(out, begin);
        return;
    }
    const double floor = std::floor(value);
    put_floor(out, value < 0, static_cast<std::uint64_t>(value < 0 ? -1 - floor : floor));
    put(out, kFraction);
    put_fraction(out, value - floor);
}

Wide wide(const Integer& number) {
    if (number.big.empty()) return number.low;
    Wide value = 0;
    for (std::size_t i = number.big.size(); i-- > 0;) value = value << 8 | std::to_integer<unsigned>(number.big[i]);
    return value;
}

/// In lowest terms, and no integer.
void put_rational(Buffer& out, const Integer& numerator, const Integer& denominator) {
    if (denominator.big.size() > 16 || wide(denominator) >> 127 != 0) {
        throw OrderError("fractions whose denominator has more than 127 bits cannot be sorted by; round it first");
    }
    const Wide divisor = wide(denominator);
    // Long division, byte by byte, of the magnitude.
    std::vector<std::byte> magnitude(numerator.big.begin(), numerator.big.end());
    if (magnitude.empty()) {
        magnitude.resize(8);
        codec::store<std::uint64_t>(magnitude.data(), numerator.low);
    }
    magnitude.push_back(std::byte{0});
    if (numerator.negative) {  // stored as -1 - payload
        std::size_t i = 0;
        while (magnitude[i] == std::byte{0xFF}) magnitude[i++] = std::byte{0};
        magnitude[i] = static_cast<std::byte>(std::to_integer<unsigned>(magnitude[i]) + 1);
    }
    std::vector<std::byte> quotient(magnitude.size());
    Wide rest = 0;
    for (std::size_t i = magnitude.size(); i-- > 0;) {
        unsigned digit = 0;
        for (unsigned bit = 8; bit-- > 0;) {
            rest = rest << 1 | (std::to_integer<unsigned>(magnitude[i]) >> bit & 1);
            digit <<= 1;
            if (rest < divisor) continue;
            rest -= divisor;
            digit |= 1;
        }
        quotient[i] = static_cast<std::byte>(digit);
    }
    if (std::ranges::all_of(quotient, [](std::byte b) { return b == std::byte{0}; })) {
        put(out, numerator.negative ? kNegativePart : kPositivePart);
        const std::size_t begin = out.size();
        put_fraction(out, rest, divisor);
        if (numerator.negative) invert(out, begin);
        return;
    }
    put_floor(out, numerator.negative, quotient);
    put(out, kFraction);
    put_fraction(out, numerator.negative ? divisor - rest : rest, divisor);
}

// --- all keys

void put_string(Buffer& out, Kind kind, Bytes bytes, bool nested) {
    put(out, kind);
    if (!nested) return out.append(bytes);
    for (const std::byte byte : bytes) {
        out.push_back(byte);
        if (byte == std::byte{0}) out.push_back(kEscaped);
    }
    put(out, kEnd);
}

[[noreturn]] void no_order(std::uint8_t tag) {
    throw OrderError(std::string("keys of this kind (") + tag_name(tag) +
                     ") have no order here; there is one for numbers, str, bytes, None, dates, times, UUIDs, and tuples of these");
}

bool put_sort_key(Buffer& out, Reader& identity, bool nested);

bool put_tuple(Buffer& out, Reader& identity) {
    const std::size_t count = identity.read_count(Tag::kTuple);
    const Reader::Level level(identity);
    bool exact = true;
    put(out, kTuple);
    for (std::size_t i = 0; i < count; ++i) exact &= put_sort_key(out, identity, true);
    put(out, kEnd);
    return exact;
}

/// Keys of a fixed size, text, byte strings and integers.
void put_simple(Buffer& out, Reader& identity, bool nested) {
    const std::uint8_t tag = identity.peek();
    if (tag == Tag::kNone) return identity.read_none(), put(out, kNone);
    if (tag == Tag::kFloat) return put_real(out, identity.read_float());
    if (is_fixed(tag)) {
        const std::size_t size = kFixedSizes[tag - Tag::kDate];
        const Bytes payload = identity.take(1 + size).subspan(1);
        put(out, kFixed + unsigned{tag} - Tag::kDate);
        std::byte* place = out.extend(size);
        if (tag == Tag::kUuid) std::ranges::copy(payload, place);
        else std::ranges::reverse_copy(payload, place);
        return;
    }
    const bool text = tag == Tag::kText || tag == Tag::kSurrogateText || (tag >= Tag::kShortText0 && tag <= Tag::kShortText0 + kMaxShortText);
    if (text) return put_string(out, kText, as_bytes(identity.read_text().utf8), nested);
    if (tag == Tag::kBytes || (tag >= Tag::kShortBytes0 && tag <= Tag::kShortBytes0 + kMaxShortBytes)) {
        return put_string(out, kByteString, identity.read_bytes(), nested);
    }
    if (tag == Tag::kBigInt || tag == Tag::kBigNegative || tag >= Tag::kSmallInt0 || (tag >= Tag::kInt0 && tag <= Tag::kNegative0 + 8)) {
        return put_integer(out, identity.read_integer());
    }
    no_order(tag);
}

bool put_sort_key(Buffer& out, Reader& identity, bool nested) {
    const std::uint8_t tag = identity.peek();
    if (tag == Tag::kTuple) return put_tuple(out, identity);
    if (tag != Tag::kRational) return put_simple(out, identity, nested), true;
    identity.take(1);
    const Integer numerator = identity.read_integer(), denominator = identity.read_integer();
    put_rational(out, numerator, denominator);
    return false;
}

/// Takes a sort key apart. Throws CorruptionError where it ends too early.
class Parser {
public:
    explicit Parser(Bytes bytes) : bytes_(bytes) {}

    bool at_end() const { return at_ == bytes_.size(); }
    /// The next kind, of a number always kZero: numbers are comparable; kEnd at the end.
    std::uint8_t peek_class() const {
        if (at_end()) return kEnd;
        const std::uint8_t kind = peek();
        return kind >= kMinusInfinity && kind <= kPlusInfinity ? std::uint8_t{kZero} : kind;
    }
    /// Appends the identity of the next key or element; a lone kEnd is malformed.
    void read(Buffer& identity);
    /// The next element without the elements of a tuple, whose beginning and end count as elements.
    Bytes token();

private:
    std::uint8_t peek() const {
        if (at_end()) malformed();
        return std::to_integer<std::uint8_t>(bytes_[at_]);
    }
    Bytes take(std::size_t size) {
        if (size > bytes_.size() - at_) malformed();
        at_ += size;
        return bytes_.subspan(at_ - size, size);
    }
    std::uint64_t big_endian(unsigned size, bool inverted) {
        std::uint64_t value = 0;
        for (const std::byte byte : take(size)) value = value << 8 | std::to_integer<std::uint64_t>(inverted ? ~byte : byte);
        return value;
    }
    bool nested() const { return depth_ > 0; }
    void skip_number(std::uint8_t kind);
    void skip_fraction(bool inverted);
    void read_number(Buffer& identity);
    double read_fraction(bool inverted);
    Bytes string();

    Bytes bytes_;
    std::size_t at_ = 0;
    unsigned depth_ = 0;
    std::vector<std::byte> text_;
};

/// The bytes of a text or byte string, whose kind has been taken.
Bytes Parser::string() {
    if (!nested()) return take(bytes_.size() - at_);
    text_.clear();
    for (;;) {
        const std::byte byte = take(1)[0];
        if (byte == std::byte{0}) {
            if (at_end() || bytes_[at_] != kEscaped) return text_;
            ++at_;
        }
        text_.push_back(byte);
    }
}

void Parser::skip_fraction(bool inverted) {
    const std::uint64_t zeros = big_endian(1, inverted);
    if (zeros == 1) take(4);
    const bool more = big_endian(8, inverted) & 1;
    for (bool odd = !inverted; more; odd = !odd) {
        const std::uint64_t size = big_endian(1, odd);
        if (size == 0xFF) return;
        take(size);
    }
}

void Parser::skip_number(std::uint8_t kind) {
    if (kind == kNegativePart || kind == kPositivePart) return skip_fraction(kind == kNegativePart);
    if (kind == kNegativeLong || kind == kPositiveLong) take(big_endian(4, kind == kNegativeLong));
    else if (kind >= kNegative8 && kind <= kNegative0) take(std::size_t{kNegative0} - kind);
    else if (kind >= kPositive1 && kind <= kPositive8) take(std::size_t{kind} - kPositive1 + 1);
    else return;
    if (at_end() || peek() != kFraction) return;
    take(1);
    skip_fraction(false);
}

Bytes Parser::token() {
    const std::size_t begin = at_;
    const std::uint8_t kind = std::to_integer<std::uint8_t>(take(1)[0]);
    if (kind == kTuple) ++depth_;
    else if (kind == kEnd && depth_ > 0) --depth_;
    else if (kind == kText || kind == kByteString) (void)string();
    else if (kind >= kMinusInfinity && kind <= kPlusInfinity) skip_number(kind);
    else if (kind >= kFixed && kind < kFixed + std::size(kFixedSizes)) take(kFixedSizes[kind - kFixed]);
    else if (kind != kNone) malformed();
    return bytes_.subspan(begin, at_ - begin);
}

double Parser::read_fraction(bool inverted) {
    std::uint64_t zeros = big_endian(1, inverted);
    if (zeros == 1) zeros = kNoLimit - big_endian(4, inverted);
    else zeros = 0xFF - zeros;
    const std::uint64_t bits = big_endian(8, inverted);
    if ((bits & 1) != 0 || zeros > 1100) malformed();  // an entry with such a key holds the key itself
    const double mantissa = std::ldexp(static_cast<double>(bits >> 1 | std::uint64_t{1} << 63), -64);
    return std::ldexp(mantissa, -static_cast<int>(zeros));
}

void Parser::read_number(Buffer& identity) {
    const std::uint8_t kind = std::to_integer<std::uint8_t>(take(1)[0]);
    if (kind == kMinusInfinity || kind == kPlusInfinity) {
        const double infinity = std::numeric_limits<double>::infinity();
        return put_float(identity, kind == kMinusInfinity ? -infinity : infinity);
    }
    if (kind == kNegativePart) return put_float(identity, -read_fraction(true));
    if (kind == kPositivePart) return put_float(identity, read_fraction(false));
    const bool negative = kind <= kNegative0;
    std::size_t size = negative ? std::size_t{kNegative0} - kind : kind == kZero ? 0 : std::size_t{kind} - kPositive1 + 1;
    if (kind == kNegativeLong || kind == kPositiveLong) size = big_endian(4, negative);
    const Bytes digits = take(size);
    std::vector<std::byte> payload(digits.rbegin(), digits.rend());
    if (negative) std::ranges::transform(payload, payload.begin(), [](std::byte b) { return ~b; });
    if (at_end() || peek() != kFraction) return put_big_int(identity, negative, payload);
    if (size > 8) malformed();
    take(1);
    payload.resize(8);
    const auto floor = static_cast<double>(codec::load<std::uint64_t>(payload.data()));
    put_float(identity, (negative ? -1 - floor : floor) + read_fraction(false));
}

void Parser::read(Buffer& identity) {
    if (depth_ > kMaxNesting) malformed();
    const std::uint8_t kind = peek();
    if (kind >= kMinusInfinity && kind <= kPlusInfinity) return read_number(identity);
    take(1);
    if (kind == kNone) return put_none(identity);
    if (kind == kByteString) return put_bytes(identity, string());
    if (kind == kText) {
        const std::string_view text = as_text(string());
        const TextKind classified = classify_text(text);
        if (classified == TextKind::invalid) malformed();
        return put_text(identity, text, classified == TextKind::surrogates);
    }
    if (kind >= kFixed && kind < kFixed + std::size(kFixedSizes)) {
        const Bytes payload = take(kFixedSizes[kind - kFixed]);
        const std::uint8_t tag = static_cast<std::uint8_t>(kind - kFixed + Tag::kDate);
        put(identity, tag);
        std::byte* place = identity.extend(payload.size());
        if (tag == Tag::kUuid) std::ranges::copy(payload, place);
        else std::ranges::reverse_copy(payload, place);
        return;
    }
    if (kind != kTuple) malformed();
    ++depth_;
    Buffer elements;
    std::uint64_t count = 0;
    for (; peek() != kEnd; ++count) read(elements);
    take(1);
    --depth_;
    put_header(identity, Tag::kTuple, count);
    identity.append(elements);
}

}  // namespace

bool put_sort_key(Buffer& out, Bytes identity) {
    const std::size_t begin = out.size();
    Reader reader(identity);
    const bool exact = put_sort_key(out, reader, false);
    if (out.size() - begin > kMaxSortKey) {
        throw OrderError("a key of a sorted container takes at most " + std::to_string(kMaxSortKey) + " bytes, this one " +
                         std::to_string(out.size() - begin) + "; store it in the value, under a shorter key");
    }
    return exact;
}

void put_sort_key_identity(Buffer& out, Bytes sort_key) {
    Parser parser(sort_key);
    parser.read(out);
    if (!parser.at_end()) malformed();
}

SortedEntryView split_sorted_entry(Bytes entry) {
    Reader reader(entry);
    SortedEntryView view;
    view.sort_key = reader.take(reader.read_varint());
    if (view.sort_key.size() > kMaxSortKey) malformed();
    if (!reader.at_end() && reader.peek() == Tag::kSeparator) {
        reader.take(1);
        view.key_is_identity = reader.peek() == Tag::kSeparator;
        if (view.key_is_identity) reader.take(1);
        view.key = reader.read_item();
    }
    if (!reader.at_end()) view.value = reader.read_item();
    if (!reader.at_end()) malformed();
    return view;
}

bool has_own_sort_key(const SortedEntryView& entry) {
    Buffer identity, sort_key;
    try {
        if (entry.key.empty()) put_sort_key_identity(identity, entry.sort_key);
        else if (entry.key_is_identity) identity.append(entry.key);
        else put_identity(identity, entry.key);
        put_sort_key(sort_key, identity);
    } catch (const FormatError&) {  // a pickle: no more than its form can be examined
        for (Parser parser(entry.sort_key); !parser.at_end();) (void)parser.token();
        return true;
    } catch (const OrderError&) {
        return false;
    }
    return std::ranges::equal(sort_key.view(), entry.sort_key);
}

Bytes put_sorted_entry_key(Buffer& out, Bytes identity, Bytes key) {
    Buffer sort_key;
    const bool exact = put_sort_key(sort_key, identity);
    put_varint(out, sort_key.size());
    const std::size_t begin = out.size();
    out.append(sort_key);
    if (!exact || !key.empty()) put(out, Tag::kSeparator);
    if (!exact && key.empty()) put(out, Tag::kSeparator);
    out.append(key.empty() && !exact ? identity : key);
    return out.view().subspan(begin, sort_key.size());
}

bool comparable(Bytes sort_key, Bytes other) { return !incomparable_kinds(sort_key, other); }

std::optional<std::pair<std::string_view, std::string_view>> incomparable_kinds(Bytes sort_key, Bytes other) {
    Parser a(sort_key), b(other);
    for (bool within = false;; within = true) {
        const std::uint8_t kind = a.peek_class(), other_kind = b.peek_class();
        if (within && (kind == kEnd || other_kind == kEnd)) {
            if (kind != other_kind || a.at_end() || b.at_end()) return std::nullopt;
        } else if (kind != other_kind) {
            return std::pair(kind_name(kind), kind_name(other_kind));
        } else if (!within && kind != kTuple) {
            return std::nullopt;
        }
        if (!std::ranges::equal(a.token(), b.token())) return std::nullopt;
    }
}

}  // namespace pyrsistence
