#include "pyrsistence/codec.hpp"

#include <cmath>

namespace pyrsistence::detail {

namespace {

/// Bytes of the largest finite double.
constexpr std::size_t kMaxFloatInt = 128;

/// The value as an int64, if it is one.
std::optional<std::int64_t> exact_int64(double value) {
    if (!(value >= -0x1p63 && value < 0x1p63) || value != std::trunc(value)) return std::nullopt;
    return static_cast<std::int64_t>(value);
}

Integer make_integer(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    return {value < 0 ? ~bits : bits, {}, value < 0};
}

std::string describe(const Integer& value) {
    if (!value.big.empty()) return "of " + std::to_string(value.big.size()) + " bytes";
    if (!value.negative) return std::to_string(value.low);
    return "-" + (~value.low == 0 ? "18446744073709551616" : std::to_string(value.low + 1));
}

/// The double nearest to `value`, and that very value if there is such a double: then every partial sum is
/// exact, being the leading digits of a number of at most 53 significant bits.
double approximate(const Integer& value) {
    std::byte magnitude[kMaxFloatInt + 1] = {};
    store_u64(magnitude, value.low);
    if (!value.big.empty()) std::memcpy(magnitude, value.big.data(), value.big.size());
    if (value.negative) {
        std::size_t i = 0;
        while (magnitude[i] == std::byte{0xFF}) magnitude[i++] = std::byte{0};
        magnitude[i] = static_cast<std::byte>(std::to_integer<unsigned>(magnitude[i]) + 1);
    }
    double sum = 0;
    for (std::size_t i = sizeof magnitude; i-- > 0;) {
        sum = sum * 256 + std::to_integer<unsigned>(magnitude[i]);
    }
    return value.negative ? -sum : sum;
}

std::optional<double> exact_double(const Integer& value, Bytes item) {
    if (value.big.size() > kMaxFloatInt) return std::nullopt;
    const double candidate = approximate(value);
    Buffer again;
    put_float_identity(again, candidate);
    return as_text(again) == as_text(item) ? std::optional(candidate) : std::nullopt;
}

}  // namespace

Integer read_integral(Reader& in) {
    const std::uint8_t tag = in.peek();
    if (tag == Tag::kFalse || tag == Tag::kTrue) return {in.read_bool(), {}, false};
    if (tag != Tag::kFloat) return in.read_integer();
    Reader ahead(in.rest());
    const auto value = exact_int64(ahead.read_float());
    if (!value) throw_unexpected("int", tag);
    in.skip();
    return make_integer(*value);
}

double read_real(Reader& in) {
    const std::uint8_t tag = in.peek();
    if (tag == Tag::kFloat) return in.read_float();
    if (tag == Tag::kFalse || tag == Tag::kTrue) return in.read_bool() ? 1 : 0;
    if (tag_name(tag) != std::string_view("int")) throw_unexpected("float", tag);
    const Bytes item = Reader(in).read_item();
    const Integer number = Reader(item).read_integer();
    const auto value = exact_double(number, item);
    if (!value) throw FormatError("int " + describe(number) + " is no exact float; read it as an integer");
    in.skip();
    return *value;
}

void put_utf8(Buffer& out, std::string_view text) {
    const TextKind kind = classify_text(text);
    if (kind == TextKind::invalid) {
        throw FormatError("text of " + std::to_string(text.size()) +
                          " bytes is not UTF-8; store it as std::vector<std::byte>");
    }
    put_text(out, text, kind == TextKind::surrogates);
}

std::string read_utf8(Reader& in) {
    const Text text = in.read_text();
    const TextKind wanted = text.has_surrogates ? TextKind::surrogates : TextKind::utf8;
    if (classify_text(text.utf8) != wanted) {
        throw_malformed(in.position(), "not the UTF-8 that its tag promises: the item that ends");
    }
    return std::string(text.utf8);
}

void throw_out_of_range(const Integer& value, bool is_signed, unsigned bits) {
    throw FormatError("int " + describe(value) + " does not fit into " + std::to_string(bits) + " bits, " +
                      (is_signed ? "signed" : "unsigned") + "; read it as a wider type");
}

void throw_float_overflow(double value) {
    throw FormatError("float " + std::to_string(value) + " does not fit into 32 bits; read it as double");
}

void throw_wrong_count(std::size_t wanted, std::size_t found) {
    throw FormatError("wanted a tuple of " + std::to_string(wanted) + ", found one of " +
                      std::to_string(found));
}

void EncodeLevel::throw_too_deep() {
    throw FormatError("more than " + std::to_string(kMaxNesting) +
                      " nested containers cannot be stored; flatten the value");
}

}  // namespace pyrsistence::detail
