#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "bytes.hpp"
#include "codec/hash.hpp"
#include "pyrsistence/codec.hpp"

namespace {

using namespace codec_test;

template <class K>
std::string identity(const K& key) {
    return encoded([&](Buffer& out) { KeyCodec<K>::encode(out, key); });
}
std::string identity_of_item(std::string_view item) {
    return encoded([&](Buffer& out) { put_identity(out, unhex(item)); });
}

TEST(KeyCodec, EqualNumbersHaveOneIdentity) {
    EXPECT_EQ(identity(1), "81");
    EXPECT_EQ(identity(true), "81");
    EXPECT_EQ(identity(false), "80");
    EXPECT_EQ(identity(1.0), "81");
    EXPECT_EQ(identity(1.0f), "81");
    EXPECT_EQ(identity(std::complex<double>(1, 0)), "81");
    EXPECT_EQ(identity(std::complex<double>(1, -0.0)), "81");
    EXPECT_EQ(identity(0.0), "80");
    EXPECT_EQ(identity(-0.0), "80");
    EXPECT_EQ(identity(-128.0), "217f");
    EXPECT_EQ(identity(std::complex<double>(1, 0.5)), "718104000000000000e03f");
}

TEST(KeyCodec, FloatsBeyondInt64AreInts) {
    EXPECT_EQ(identity(0x1p62), "180000000000000040");
    EXPECT_EQ(identity(0x1p63), "180000000000000080");
    EXPECT_EQ(identity(-0x1p63), "28ffffffffffffff7f");
    EXPECT_EQ(identity(0x1p64), "1909000000000000000001");
    EXPECT_EQ(identity(-0x1p64), "28ffffffffffffffff");
    EXPECT_EQ(identity(-0x1.0000000000001p64), "2909ff0f00000000000001");
    EXPECT_EQ(identity(1e30), "190d0000000000007546d09c2c9f0c");
    EXPECT_EQ(identity(-1e30), "290dffffffffffff7446d09c2c9f0c");
    EXPECT_EQ(identity(std::numeric_limits<double>::max()), "198001" + repeat("00", 121) + "f8ffffffffffff");
}

TEST(KeyCodec, FloatIdentitiesDecodeToTheirValue) {
    for (int exponent = -60; exponent < 1024; ++exponent) {
        for (const double mantissa : {1.0, -1.0, 1.7182818284590452, -0x1.fffffffffffffp0}) {
            const double value = std::ldexp(mantissa, exponent);
            const auto bytes = unhex(identity(value));
            Reader reader(bytes);
            EXPECT_EQ(Codec<double>::decode(reader), value) << hex(bytes);
        }
    }
}

TEST(KeyCodec, OtherFloats) {
    EXPECT_EQ(identity(0.5), "04000000000000e03f");
    EXPECT_EQ(identity(HUGE_VAL), "04000000000000f07f");
    EXPECT_EQ(identity(std::nan("")), "04000000000000f87f");
    EXPECT_EQ(identity(-std::nan("123")), "04000000000000f87f");
}

TEST(KeyCodec, StringsTuplesAndNone) {
    EXPECT_EQ(identity(std::string("abc")), "43616263");
    EXPECT_EQ(identity(std::string_view("abc")), "43616263");
    EXPECT_EQ(identity(unhex("ff")), "61ff");
    EXPECT_EQ(identity(std::tuple<int, double, bool>{1, 2.0, true}), "0a03818281");
    EXPECT_EQ(identity(std::pair<std::string, double>{"a", 0.5}), "0a02416104000000000000e03f");
    EXPECT_EQ(identity(std::array<double, 2>{1.0, -1.0}), "0a028120");
    EXPECT_EQ(identity(std::optional<bool>{}), "01");
    EXPECT_EQ(identity(std::optional<bool>{true}), "81");
    EXPECT_EQ(identity(std::monostate{}), "01");
}

template <class K>
constexpr bool kExact = KeyCodec<K>::kExact;

TEST(KeyCodec, ExactMeansTheBytesOfTheCodec) {
    static_assert(kExact<int> && kExact<std::string> && kExact<std::tuple<int, std::string>>);
    static_assert(kExact<std::optional<std::uint64_t>> && kExact<std::array<char, 4>>);
    static_assert(!kExact<bool> && !kExact<double> && !kExact<std::pair<int, bool>>);
    using Key = std::tuple<int, std::string>;
    const Key key{-7, "x"};
    EXPECT_EQ(identity(key), encoded([&](Buffer& out) { Codec<Key>::encode(out, key); }));
}

TEST(KeyCodec, ItemsBecomeIdentities) {
    EXPECT_EQ(identity_of_item("03"), "81");
    EXPECT_EQ(identity_of_item("0a020304000000000000f03f"), "0a028181");
    EXPECT_EQ(identity_of_item("0e0341620381"), "720341628181");
    EXPECT_EQ(identity_of_item("0e0320ff80"), "72032080ff");
    EXPECT_EQ(identity_of_item("0a010e0103"), "0a01720181");
    EXPECT_EQ(identity_of_item("79000102030405060708090a0b0c0d0e0f"), "79000102030405060708090a0b0c0d0e0f");
    for (const char* item : {"0b00", "0c00", "0d00", "0900", "0f0161", "310161", "0a010b00",
                             "30026934020100"}) {
        EXPECT_THROW(identity_of_item(item), FormatError) << item;
    }
    EXPECT_THROW(identity(std::vector<int>{1}), FormatError);
    EXPECT_THROW(identity_of_item("00"), CorruptionError);
    EXPECT_THROW(identity_of_item(repeat("0a01", 100'000) + "01"), CorruptionError);
}

TEST(Hash, IsFrozen) {
    const auto key = unhex("4568656c6c6f");
    EXPECT_EQ(codec::key_hash(key, 0x0123456789abcdef), 0x382c88382bf02e31u);
    EXPECT_NE(codec::key_hash(key, 0), codec::key_hash(key, 1));
}

TEST(KeyHash, NeighbouringIntegersAreNeighbours) {
    const auto tag = [](std::int64_t value) {
        Buffer key;
        KeyCodec<std::int64_t>::encode(key, value);
        return codec::key_hash(key, 42) >> 24;
    };
    for (std::int64_t run = -4096 * 20; run < 4096 * 20; run += 4096) {
        unsigned wraps = 0;
        for (std::int64_t i = run; i + 1 < run + 4096; ++i) wraps += tag(i + 1) != tag(i) + 1;
        EXPECT_LE(wraps, 1u) << run;
        EXPECT_NE(tag(run) >> 12, tag(run - 1) >> 12) << run;
    }
    // Keys that are multiples of a page differ in all 40 bits, not only in those of their runs.
    std::set<std::uint64_t> low;
    for (std::int64_t i = 0; i < 1000; ++i) low.insert(tag(i * 4096) & 4095);
    EXPECT_GT(low.size(), 800u);
}

TEST(KeyHash, IntegersAreFrozen) {
    const auto hash = [](auto value) {
        Buffer key;
        KeyCodec<decltype(value)>::encode(key, value);
        return codec::key_hash(key, 0x0123456789abcdef);
    };
    EXPECT_EQ(hash(std::int64_t{1}), 0x84c4077a79b5ba88u);
    EXPECT_EQ(hash(std::int64_t{-1}), 0x2c79684444617c4eu);
    EXPECT_EQ(hash(std::int64_t{5000}), 0x62da9b4844ecf9e9u);
    EXPECT_EQ(hash(~std::uint64_t{0}), 0x2c79684444617c4eu);
}

TEST(Hash, DigestIsFrozen) {
    EXPECT_EQ(encoded([](Buffer& out) { codec::digest_key(out, unhex("4568656c6c6f")); }),
              "7fe7266f9770126c9021568ddffcf0e71f");
}

TEST(Hash, OnlyLongIdentitiesAreDigested) {
    const std::vector<std::byte> longest(codec::kMaxIdentity);
    Buffer scratch;
    EXPECT_EQ(codec::stored_identity(longest, scratch).data(), longest.data());
    const std::vector<std::byte> longer(codec::kMaxIdentity + 1);
    const Bytes stored = codec::stored_identity(longer, scratch);
    EXPECT_EQ(stored.size(), 17u);
    EXPECT_EQ(stored[0], std::byte{Tag::kDigest});
    EXPECT_EQ(item_size(stored), 17u);
}

}  // namespace
