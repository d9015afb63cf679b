#include "pyrsistence/codec.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "bytes.hpp"

namespace codec_test {

struct Call {
    std::uint64_t site;
    std::uint64_t target;
    double weight;
    bool operator==(const Call&) const = default;
};
struct Tree {
    std::vector<Tree> children;
};

}  // namespace codec_test

template <>
struct pyrsistence::Codec<codec_test::Call> {
    using Fields = std::tuple<std::uint64_t, std::uint64_t, double>;
    static void encode(Buffer& out, const codec_test::Call& c) {
        Codec<Fields>::encode(out, {c.site, c.target, c.weight});
    }
    static codec_test::Call decode(Reader& in) {
        return std::make_from_tuple<codec_test::Call>(Codec<Fields>::decode(in));
    }
};
template <>
struct pyrsistence::Codec<codec_test::Tree> {
    static void encode(Buffer& out, const codec_test::Tree& tree) {
        Codec<std::vector<codec_test::Tree>>::encode(out, tree.children);
    }
    static codec_test::Tree decode(Reader& in) { return {Codec<std::vector<codec_test::Tree>>::decode(in)}; }
};

namespace {

using namespace codec_test;

template <class T>
std::string item_of(const T& value) {
    return encoded([&](Buffer& out) { Codec<T>::encode(out, value); });
}
template <class T>
T decoded(std::string_view item) {
    const auto bytes = unhex(item);
    Reader reader(bytes);
    T value = Codec<T>::decode(reader);
    EXPECT_TRUE(reader.at_end()) << item;
    return value;
}
/// The value comes back, no truncation of its item decodes, and the size of the item is known.
template <class T>
void round_trip(const T& value) {
    const std::string item = item_of(value);
    EXPECT_EQ(decoded<T>(item), value) << item;
    EXPECT_EQ(item_size(unhex(item)), item.size() / 2);
    for (std::size_t digits = 0; digits < item.size(); digits += 2) {
        const auto bytes = unhex(item.substr(0, digits));
        Reader reader(bytes);
        EXPECT_THROW(Codec<T>::decode(reader), CorruptionError) << item << " cut to " << digits / 2;
    }
}
template <class T>
void round_trip_limits() {
    round_trip(std::numeric_limits<T>::min());
    round_trip(std::numeric_limits<T>::max());
    round_trip(T(std::numeric_limits<T>::max() - 1));
    round_trip(T{0});
}

enum class Colour : std::int16_t { red = -5, blue = 300 };

TEST(Codec, IntegersAtTheirBoundaries) {
    round_trip_limits<std::int8_t>();
    round_trip_limits<std::uint8_t>();
    round_trip_limits<std::int16_t>();
    round_trip_limits<std::uint16_t>();
    round_trip_limits<std::int32_t>();
    round_trip_limits<std::uint32_t>();
    round_trip_limits<std::int64_t>();
    round_trip_limits<std::uint64_t>();
    for (const std::int64_t n : {0, 1, 127, 128, 255, 256, 65535, 65536, -1, -2, -128, -129, -256, -257}) {
        round_trip(n);
    }
    for (unsigned bit = 0; bit < 64; ++bit) {
        round_trip(std::uint64_t{1} << bit);
        round_trip((std::uint64_t{1} << bit) - 1);
        round_trip(static_cast<std::int64_t>(~(std::uint64_t{1} << bit)));
    }
}

TEST(Codec, IntegersOutOfRangeNameTheValue) {
    EXPECT_THROW(decoded<std::int8_t>("1180"), FormatError);     // 128
    EXPECT_THROW(decoded<std::int8_t>("2180"), FormatError);     // -129
    EXPECT_THROW(decoded<std::uint8_t>("120001"), FormatError);  // 256
    EXPECT_THROW(decoded<std::uint64_t>("20"), FormatError);     // -1
    EXPECT_THROW(decoded<std::int64_t>("180000000000000080"), FormatError);
    EXPECT_THROW(decoded<std::int64_t>("280000000000000080"), FormatError);
    EXPECT_THROW(decoded<std::uint64_t>("1909000000000000000001"), FormatError);
    try {
        decoded<std::int8_t>("28ffffffffffffffff");
        FAIL();
    } catch (const FormatError& error) {
        EXPECT_NE(std::string(error.what()).find("-18446744073709551616"), std::string::npos) << error.what();
    }
}

TEST(Codec, NumbersOfEqualValueAreInterchangeable) {
    EXPECT_EQ(decoded<int>("03"), 1);                   // True
    EXPECT_EQ(decoded<int>("0400000000000000c0"), -2);  // -2.0
    EXPECT_EQ(decoded<std::int64_t>("04000000000000e0c3"), std::numeric_limits<std::int64_t>::min());
    EXPECT_THROW(decoded<std::int64_t>("04000000000000e043"), FormatError);  // 2.0**63
    EXPECT_THROW(decoded<int>("04000000000000f83f"), FormatError);           // 1.5
    EXPECT_THROW(decoded<int>("04000000000000f87f"), FormatError);           // nan
    EXPECT_EQ(decoded<bool>("81"), true);
    EXPECT_EQ(decoded<bool>("04000000000000f03f"), true);
    EXPECT_THROW(decoded<bool>("82"), FormatError);
    EXPECT_EQ(decoded<double>("03"), 1.0);
    EXPECT_EQ(decoded<double>("2101"), -2.0);
    EXPECT_EQ(decoded<std::complex<double>>("82"), std::complex<double>(2.0));
}

TEST(Codec, FloatsTakeIntsOnlyIfExact) {
    EXPECT_EQ(decoded<double>("1700000000000020"), 0x1p53);
    EXPECT_THROW(decoded<double>("1701000000000020"), FormatError);  // 2^53 + 1
    EXPECT_EQ(decoded<double>("190d0000000000007546d09c2c9f0c"), 1e30);
    EXPECT_EQ(decoded<double>("290dffffffffffff7446d09c2c9f0c"), -1e30);
    EXPECT_THROW(decoded<double>("190d00000040eaed7446d09c2c9f0c"), FormatError);  // 10**30
    EXPECT_EQ(decoded<double>("28ffffffffffffffff"), -0x1p64);
    EXPECT_EQ(decoded<double>("290dffffffffffffffffffffffff0f"), -0x1p100);
    const std::string largest = "198001" + repeat("00", 121) + "f8ffffffffffff";
    EXPECT_EQ(decoded<double>(largest), std::numeric_limits<double>::max());
    EXPECT_THROW(decoded<double>("198101" + repeat("00", 128) + "01"), FormatError);  // 2**1024
    EXPECT_THROW(decoded<double>("298001" + repeat("ff", 128)), FormatError);         // -2**1024
}

TEST(Codec, Floats) {
    for (const double value : {0.0, -0.0, 1.5, -1e300, 5e-324, HUGE_VAL, -HUGE_VAL}) round_trip(value);
    EXPECT_TRUE(std::signbit(decoded<double>(item_of(-0.0))));
    EXPECT_TRUE(std::isnan(decoded<double>(item_of(std::nan("")))));
    round_trip(1.25f);
    round_trip(std::numeric_limits<float>::infinity());
    EXPECT_TRUE(std::isnan(decoded<float>(item_of(std::nan("")))));
    EXPECT_EQ(decoded<float>(item_of(0.1)), 0.1f);
    EXPECT_THROW(decoded<float>(item_of(1e300)), FormatError);
    round_trip(std::complex<double>(1, -2));
}

TEST(Codec, Text) {
    for (const std::size_t size : {0, 1, 7, 8, 31, 32, 127, 128, 300}) round_trip(std::string(size, 'x'));
    round_trip(std::string("h\xC3\xA9\0llo", 7));
    EXPECT_EQ(item_of(std::string("\xED\xA0\x80")), "0703eda080");
    round_trip(std::string("\xED\xA0\x80"));
    EXPECT_EQ(item_of(std::string_view("abc")), "43616263");
    EXPECT_THROW(item_of(std::string("\xFF")), FormatError);
    EXPECT_THROW(decoded<std::string>("41ff"), CorruptionError);
    EXPECT_THROW(decoded<std::string>("43eda080"), CorruptionError);  // surrogates under the tag of UTF-8
    EXPECT_THROW(decoded<std::string>("070161"), CorruptionError);    // and the reverse
}

TEST(Codec, ByteStrings) {
    for (const std::size_t size : {0, 1, 15, 16, 200}) {
        round_trip(std::vector<std::byte>(size, std::byte{0xFE}));
    }
    EXPECT_EQ(decoded<std::vector<std::byte>>("0902ffff"), unhex("ffff"));
    EXPECT_THROW(decoded<std::vector<std::byte>>("4161"), FormatError);
}

TEST(Codec, Containers) {
    round_trip(std::vector<int>{});
    round_trip(std::vector<std::string>{"a", "", "ccc"});
    round_trip(std::vector<bool>{true, false, true});
    round_trip(std::vector<std::int64_t>(100, -1));
    round_trip(std::pair<int, std::string>{1, "x"});
    round_trip(std::tuple<>{});
    round_trip(std::tuple<int, double, std::string>{7, 0.5, "t"});
    round_trip(std::array<std::uint16_t, 3>{1, 300, 65535});
    round_trip(std::map<std::string, std::vector<int>>{{"a", {1, 2}}, {"b", {}}});
    round_trip(std::unordered_map<int, double>{{1, 1.0}, {2, 2.5}});
    round_trip(std::set<int>{3, 1, 2});
    round_trip(std::unordered_set<std::string>{"p", "q"});
    round_trip(std::optional<int>{});
    round_trip(std::optional<int>{5});
    round_trip(std::monostate{});
    round_trip(Colour::red);
    round_trip(Colour::blue);
    round_trip(Call{1, 2, 0.25});
}

TEST(Codec, FrozenContainers) {
    EXPECT_EQ(item_of(std::vector<int>{1, 2}), "0b028182");
    EXPECT_EQ(item_of(std::pair<int, bool>{1, true}), "0a028103");
    EXPECT_EQ(item_of(std::array<int, 2>{1, -1}), "0a028120");
    EXPECT_EQ(item_of(std::map<std::string, int>{{"a", 1}}), "0c01416181");
    EXPECT_EQ(item_of(std::set<int>{2, 1}), "0d028182");
    EXPECT_EQ(item_of(std::optional<int>{}), "01");
}

TEST(Codec, RefusesOtherTypesAndShapes) {
    EXPECT_THROW((decoded<std::pair<int, int>>("0a0181")), FormatError);
    EXPECT_THROW((decoded<std::array<int, 2>>("0a03818283")), FormatError);
    EXPECT_THROW(decoded<std::vector<int>>("0a0181"), FormatError);
    EXPECT_THROW(decoded<std::vector<int>>("0b014161"), FormatError);
    EXPECT_THROW((decoded<std::map<int, int>>("0b00")), FormatError);
    EXPECT_THROW(decoded<std::monostate>("80"), FormatError);
    EXPECT_THROW(decoded<std::string>("0f0161"), FormatError);
    EXPECT_EQ(decoded<std::set<int>>("0e028182"), (std::set<int>{1, 2}));
}

TEST(Codec, NestingIsBoundedBothWays) {
    Tree tree;
    for (int i = 0; i < 199; ++i) {
        Tree parent;
        parent.children.push_back(std::move(tree));
        tree = std::move(parent);
    }
    EXPECT_EQ(item_of(tree), repeat("0b01", 199) + "0b00");
    EXPECT_NO_THROW(decoded<Tree>(item_of(tree)));
    Tree deeper;
    deeper.children.push_back(std::move(tree));
    EXPECT_THROW(item_of(deeper), FormatError);
    EXPECT_EQ(item_of(Tree{}), "0b00");  // the level was given back
    EXPECT_THROW(decoded<Tree>(repeat("0b01", 100'000) + "0b00"), CorruptionError);
}

TEST(Codec, HostileBytesOnlyThrow) {
    using Lists = std::map<std::string, std::vector<std::optional<int>>>;
    using Everything = std::tuple<Lists, std::set<double>, Tree>;
    std::mt19937_64 random(7);
    const std::string valid = item_of(Everything{{{"a", {1, {}}}, {"b", {-300}}}, {0.5, 3}, {{{}, {}}}});
    std::size_t survived = 0;
    for (int i = 0; i < 200'000; ++i) {
        auto bytes = unhex(valid);
        for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        }
        try {
            Reader reader(bytes);
            Codec<Everything>::decode(reader);
            ++survived;
        } catch (const Error&) {
        }
    }
    EXPECT_GT(survived, 1000u);
}

}  // namespace
