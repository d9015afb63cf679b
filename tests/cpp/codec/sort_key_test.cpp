#include "pyrsistence/sort_key.hpp"

#include <cmath>
#include <limits>
#include <tuple>

#include "pyrsistence/codec.hpp"
#include "support.hpp"

namespace pyrsistence {
namespace {

using test::Random;

std::string identity_of(const auto& key) {
    Buffer identity;
    KeyCodec<std::remove_cvref_t<decltype(key)>>::encode(identity, key);
    return std::string(as_text(identity));
}
std::string sort_key_of(const auto& key) {
    Buffer out;
    put_sort_key(out, as_bytes(identity_of(key)));
    return std::string(as_text(out));
}
void expect_round_trip(const auto& key) {
    const std::string identity = identity_of(key);
    Buffer sort_key, back;
    put_sort_key(sort_key, as_bytes(identity));
    put_sort_key_identity(back, sort_key);
    ASSERT_EQ(as_text(back), identity);
}

std::int64_t some_integer(Random& random) {
    const auto value = static_cast<std::int64_t>(random());
    const std::int64_t cut = value >> random.below(64);
    return cut + static_cast<std::int64_t>(random.below(3)) - 1 + (cut < 0 ? 2 : -2);
}
double some_float(Random& random) {
    switch (random.below(5)) {
        case 0: return static_cast<double>(some_integer(random));
        case 1: return static_cast<double>(some_integer(random)) / 16;
        case 2: return std::ldexp(static_cast<double>(some_integer(random)), -static_cast<int>(random.below(1100)));
        case 3: return static_cast<double>(some_integer(random)) / static_cast<double>(1 + random.below(1000));
        default: {
            const double value = std::bit_cast<double>(random());
            return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
        }
    }
}
std::string some_text(Random& random) {
    std::string text;
    for (std::uint64_t left = random.below(6); left > 0; --left) text += "\0\1ab\x7f"[random.below(5)];
    if (random.chance(20)) text += "\xc3\xa9\xf0\x9f\x90\x8d";
    return text;
}

/// The order of sort keys is that of the keys, and each gives its identity back.
template <class Make>
void expect_order(Make make, std::size_t count) {
    Random random(77);
    for (std::size_t i = 0; i < count; ++i) {
        const auto a = make(random), b = random.chance(10) ? a : make(random);
        const std::string left = sort_key_of(a), right = sort_key_of(b);
        ASSERT_EQ(left < right, a < b) << i;
        ASSERT_EQ(left == right, a == b) << i;
        expect_round_trip(a);
        ASSERT_TRUE(comparable(as_bytes(left), as_bytes(right)));
    }
}

TEST(SortKeyTest, IntegersAreInOrder) { expect_order(some_integer, test::scaled(100'000)); }
TEST(SortKeyTest, FloatsAreInOrder) { expect_order(some_float, test::scaled(100'000)); }
TEST(SortKeyTest, TextIsInOrder) { expect_order(some_text, test::scaled(50'000)); }
TEST(SortKeyTest, TuplesAreInOrder) {
    expect_order([](Random& random) { return std::tuple(some_text(random), random.below(3), some_text(random)); }, test::scaled(50'000));
    expect_order([](Random& random) { return std::pair(some_float(random), std::tuple(some_text(random), some_float(random))); },
                 test::scaled(50'000));
}

TEST(SortKeyTest, NumbersOfAllTypesAreOneOrder) {
    Random random(78);
    for (std::size_t i = 0; i < test::scaled(100'000); ++i) {
        const double real = random.chance(50) ? some_float(random) : std::floor(some_float(random));
        const std::int64_t integer = random.chance(50) && std::fabs(real) < 1e15 ? static_cast<std::int64_t>(real) : some_integer(random);
        // A long double holds both exactly.
        const auto left = static_cast<long double>(integer), right = static_cast<long double>(real);
        ASSERT_EQ(sort_key_of(integer) < sort_key_of(real), left < right) << integer << ' ' << real;
        ASSERT_EQ(sort_key_of(integer) == sort_key_of(real), left == right) << integer << ' ' << real;
    }
    EXPECT_LT(sort_key_of(-std::numeric_limits<double>::infinity()), sort_key_of(-1e308));
    EXPECT_LT(sort_key_of(1e308), sort_key_of(std::numeric_limits<double>::infinity()));
    EXPECT_LT(sort_key_of(-5e-324), sort_key_of(0));
    EXPECT_LT(sort_key_of(0), sort_key_of(5e-324));
    EXPECT_EQ(sort_key_of(true), sort_key_of(1.0));
    EXPECT_EQ(sort_key_of(7).size(), 2u) << "small integers are short";
}

/// Numerators and denominators of any size, by identities as Python's Fractions have them.
TEST(SortKeyTest, FractionsLieBetweenTheirNeighbours) {
    const auto fraction = [](std::int64_t numerator, std::int64_t denominator) {
        Buffer identity, out;
        identity.push_back(std::byte{Tag::kRational});
        put_int(identity, numerator);
        put_int(identity, denominator);
        put_sort_key(out, identity);
        return std::string(as_text(out));
    };
    Random random(79);
    for (std::size_t i = 0; i < test::scaled(50'000); ++i) {
        const auto some = [&] {
            const auto denominator = static_cast<std::int64_t>(3 + random.below(random.chance(50) ? 10 : 100'000));
            const std::int64_t numerator = (some_integer(random) % 1'000'000) * denominator + 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(denominator) - 1));
            return std::pair(numerator, denominator);
        };
        const auto [n, d] = some();
        const auto [m, e] = some();
        __extension__ typedef __int128 Wide;
        const Wide left = static_cast<Wide>(n) * e, right = static_cast<Wide>(m) * d;
        ASSERT_EQ(fraction(n, d) < fraction(m, e), left < right) << n << '/' << d << ' ' << m << '/' << e;
        const std::int64_t floor = n / d - (n % d < 0);
        ASSERT_LT(sort_key_of(floor), fraction(n, d));
        ASSERT_LT(fraction(n, d), sort_key_of(floor + 1));
        ASSERT_TRUE(comparable(as_bytes(fraction(n, d)), as_bytes(sort_key_of(floor))));
    }
    EXPECT_LT(sort_key_of(1.0 / 3), fraction(1, 3)) << "the float is a little smaller";
    EXPECT_LT(fraction(1, 10), sort_key_of(0.1)) << "the float is a little greater";
    EXPECT_LT(sort_key_of(-0.1), fraction(-1, 10));
}

/// What the first 64 bits do not tell apart, the terms of a continued fraction do.
TEST(SortKeyTest, FractionsThatBeginAlikeAreInOrder) {
    __extension__ typedef unsigned __int128 Wide;
    const auto fraction = [](Wide numerator, Wide denominator) {
        Buffer identity, out;
        identity.push_back(std::byte{Tag::kRational});
        for (const Wide part : {numerator, denominator}) {
            std::byte bytes[16];
            for (unsigned i = 0; i < 16; ++i) bytes[i] = static_cast<std::byte>(static_cast<unsigned char>(part >> (8 * i)));
            put_big_int(identity, false, bytes);
        }
        put_sort_key(out, identity);
        return std::string(as_text(out));
    };
    Wide denominator = 1;
    for (int i = 0; i < 50; ++i) denominator *= 3;  // about 2^79
    Random random(81);
    for (std::size_t i = 0; i < test::scaled(5'000); ++i) {
        const Wide numerator = (static_cast<Wide>(random()) << 14 | 1) % denominator + 1;
        std::string before = fraction(numerator * 7, denominator * 7);
        for (unsigned k = 1; k < 12; ++k) {
            const std::string next = fraction(numerator * 7 + k, denominator * 7);
            ASSERT_LT(before, next) << i << ' ' << k;
            before = next;
        }
    }
}

TEST(SortKeyTest, TellsWhatCannotBeCompared) {
    const auto are = [](const auto& a, const auto& b) { return comparable(as_bytes(sort_key_of(a)), as_bytes(sort_key_of(b))); };
    const std::string text = "a", long_text(300, 'x');
    const std::vector<std::byte> bytes{std::byte{'a'}};
    EXPECT_FALSE(are(1, text));
    EXPECT_FALSE(are(text, bytes));
    EXPECT_FALSE(are(std::monostate{}, 1));
    EXPECT_TRUE(are(std::monostate{}, std::monostate{}));
    EXPECT_TRUE(are(text, long_text));
    EXPECT_TRUE(are(std::tuple(1, text), std::tuple(2, 2)));
    EXPECT_FALSE(are(std::tuple(1, text), std::tuple(1, 2)));
    EXPECT_TRUE(are(std::tuple(1, text), std::tuple(1)));
    EXPECT_FALSE(are(std::tuple(1, text), 1));
    EXPECT_FALSE(are(std::tuple(std::tuple(1), text), std::tuple(std::tuple(1), 1)));
    EXPECT_TRUE(are(std::tuple(std::tuple(1), text), std::tuple(std::tuple(1, 1), 1)));
}

TEST(SortKeyTest, NamesTheKindsThatCannotBeCompared) {
    const auto kinds = [](const auto& a, const auto& b) -> std::string {
        const auto found = incomparable_kinds(as_bytes(sort_key_of(a)), as_bytes(sort_key_of(b)));
        return found ? std::string(found->first) + " " + std::string(found->second) : "";
    };
    const std::string text = "a";
    const std::vector<std::byte> bytes{std::byte{'a'}};
    EXPECT_EQ(kinds(text, 1), "str number");
    EXPECT_EQ(kinds(-1.5, text), "number str");
    EXPECT_EQ(kinds(bytes, std::monostate{}), "bytes None");
    EXPECT_EQ(kinds(std::tuple(1, 2), 1), "tuple number");
    EXPECT_EQ(kinds(std::tuple(1, std::tuple(2, text)), std::tuple(1, std::tuple(2, 3))), "str number");
    EXPECT_EQ(kinds(std::tuple(1, text), std::tuple(2, 3)), "");
    const std::pair<std::uint8_t, const char*> fixed[] = {
        {Tag::kDate, "date"}, {Tag::kAwareDateTime, "aware datetime"}, {Tag::kTimeDelta, "timedelta"},
        {Tag::kUuid, "UUID"}};
    for (const auto& [tag, name] : fixed) {
        Buffer identity, sort_key;
        identity.push_back(std::byte{tag});
        for (std::size_t size = detail::kShapes[tag]; identity.size() < size;) identity.push_back(std::byte{1});
        put_sort_key(sort_key, identity);
        const auto found = incomparable_kinds(sort_key, as_bytes(sort_key_of(text)));
        ASSERT_TRUE(found) << name;
        EXPECT_EQ(found->first, name);
    }
}

TEST(SortKeyTest, RefusesWhatHasNoOrder) {
    EXPECT_THROW(sort_key_of(std::nan("")), OrderError);
    EXPECT_THROW(sort_key_of(std::complex<double>(1, 2)), OrderError);
    EXPECT_THROW(sort_key_of(std::tuple(1, std::nan(""))), OrderError);
    EXPECT_THROW(sort_key_of(std::string(1000, 'x')), OrderError) << "1001 bytes";
    EXPECT_NO_THROW(sort_key_of(std::string(999, 'x')));
}

TEST(SortKeyTest, DamageIsCorruption) {
    Random random(80);
    Buffer out;
    for (std::size_t i = 0; i < test::scaled(200'000); ++i) {
        std::string bytes = random.chance(50) ? sort_key_of(std::tuple(some_text(random), some_float(random), some_integer(random)))
                                              : test::content(random(), random.below(20));
        for (std::uint64_t left = random.below(4); left > 0 && !bytes.empty(); --left) bytes[random.below(bytes.size())] = static_cast<char>(random());
        if (random.chance(20)) bytes.resize(random.below(bytes.size() + 1));
        out.clear();
        try {
            put_sort_key_identity(out, as_bytes(bytes));
        } catch (const CorruptionError&) {
        }
        try {
            (void)comparable(as_bytes(bytes), as_bytes(sort_key_of(std::tuple(some_text(random), 1.5, 7))));
        } catch (const CorruptionError&) {
        }
    }
}

}  // namespace
}  // namespace pyrsistence
