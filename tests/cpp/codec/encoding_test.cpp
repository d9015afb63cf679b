#include "pyrsistence/encoding.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "bytes.hpp"

namespace {

using namespace codec_test;

std::string int_item(std::int64_t value) {
    return encoded([=](Buffer& out) { put_int(out, value); });
}
std::string uint_item(std::uint64_t value) {
    return encoded([=](Buffer& out) { put_uint(out, value); });
}
std::string big_item(bool negative, std::string_view payload) {
    return encoded([=](Buffer& out) { put_big_int(out, negative, unhex(payload)); });
}
std::string text_item(std::string_view text, bool surrogates = false) {
    return encoded([=](Buffer& out) { put_text(out, text, surrogates); });
}

TEST(Encoding, FrozenIntegers) {
    constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
    EXPECT_EQ(int_item(0), "80");
    EXPECT_EQ(int_item(1), "81");
    EXPECT_EQ(int_item(127), "ff");
    EXPECT_EQ(int_item(128), "1180");
    EXPECT_EQ(int_item(255), "11ff");
    EXPECT_EQ(int_item(256), "120001");
    EXPECT_EQ(int_item(65536), "13000001");
    EXPECT_EQ(int_item(-1), "20");
    EXPECT_EQ(int_item(-2), "2101");
    EXPECT_EQ(int_item(-128), "217f");
    EXPECT_EQ(int_item(-129), "2180");
    EXPECT_EQ(int_item(-256), "21ff");
    EXPECT_EQ(int_item(-257), "220001");
    EXPECT_EQ(int_item(kMin), "28ffffffffffffff7f");
    EXPECT_EQ(uint_item(std::uint64_t{1} << 63), "180000000000000080");
    EXPECT_EQ(uint_item(~std::uint64_t{0}), "18ffffffffffffffff");
}

TEST(Encoding, BigIntegersTakeTheShortestForm) {
    EXPECT_EQ(big_item(false, ""), "80");
    EXPECT_EQ(big_item(false, "0000"), "80");
    EXPECT_EQ(big_item(false, "7f000000000000000000"), "ff");
    EXPECT_EQ(big_item(false, "ffffffffffffffff00"), "18ffffffffffffffff");
    EXPECT_EQ(big_item(false, "000000000000000001"), "1909000000000000000001");
    // 10^30
    EXPECT_EQ(big_item(false, "00000040eaed7446d09c2c9f0c000000"), "190d00000040eaed7446d09c2c9f0c");
    EXPECT_EQ(big_item(true, ""), "20");
    EXPECT_EQ(big_item(true, "ffffffffffffffff"), "28ffffffffffffffff");  // -2^64
    EXPECT_EQ(big_item(true, "000000000000000001"), "2909000000000000000001");
}

TEST(Encoding, FrozenScalars) {
    EXPECT_EQ(encoded([](Buffer& out) { put_none(out); }), "01");
    EXPECT_EQ(encoded([](Buffer& out) { put_bool(out, false); }), "02");
    EXPECT_EQ(encoded([](Buffer& out) { put_bool(out, true); }), "03");
    EXPECT_EQ(encoded([](Buffer& out) { put_float(out, 1.0); }), "04000000000000f03f");
    EXPECT_EQ(encoded([](Buffer& out) { put_complex(out, 1.0, -2.0); }),
              "05000000000000f03f00000000000000c0");
    EXPECT_EQ(encoded([](Buffer& out) { put_numpy_scalar(out, "i4", unhex("01000000")); }),
              "300269340401000000");
}

TEST(Encoding, FrozenStrings) {
    EXPECT_EQ(text_item(""), "40");
    EXPECT_EQ(text_item("h\xC3\xA9"), "4368c3a9");
    EXPECT_EQ(text_item(std::string(31, 'a')), "5f" + repeat("61", 31));
    EXPECT_EQ(text_item(std::string(32, 'a')), "0620" + repeat("61", 32));
    EXPECT_EQ(text_item(std::string(200, 'a')), "06c801" + repeat("61", 200));
    EXPECT_EQ(text_item("\xED\xA0\x80", true), "0703eda080");
    EXPECT_EQ(encoded([](Buffer& out) { put_bytes(out, {}); }), "60");
    EXPECT_EQ(encoded([](Buffer& out) { put_bytes(out, unhex(repeat("07", 15))); }), "6f" + repeat("07", 15));
    EXPECT_EQ(encoded([](Buffer& out) { put_bytes(out, unhex(repeat("07", 16))); }),
              "0810" + repeat("07", 16));
    EXPECT_EQ(encoded([](Buffer& out) { put_bytearray(out, {}); }), "0900");
    EXPECT_EQ(encoded([](Buffer& out) { put_pickle(out, unhex("8004")); }), "0f028004");
    EXPECT_EQ(encoded([](Buffer& out) { put_custom(out, unhex("61")); }), "310161");
}

TEST(Encoding, FrozenHeadersAndVarints) {
    EXPECT_EQ(encoded([](Buffer& out) { put_header(out, Tag::kTuple, 3); }), "0a03");
    EXPECT_EQ(encoded([](Buffer& out) { put_header(out, Tag::kDict, 300); }), "0cac02");
    EXPECT_EQ(encoded([](Buffer& out) { put_varint(out, 127); }), "7f");
    EXPECT_EQ(encoded([](Buffer& out) { put_varint(out, 128); }), "8001");
    EXPECT_EQ(encoded([](Buffer& out) { put_varint(out, 16383); }), "ff7f");
    EXPECT_EQ(encoded([](Buffer& out) { put_varint(out, 16384); }), "808001");
    EXPECT_EQ(encoded([](Buffer& out) { put_varint(out, ~std::uint64_t{0}); }), "ffffffffffffffffff01");
}

TEST(Encoding, ClassifiesText) {
    const auto kind = [](std::string_view text) { return classify_text(text); };
    EXPECT_EQ(kind(""), TextKind::utf8);
    EXPECT_EQ(kind("plain text, longer than eight bytes"), TextKind::utf8);
    EXPECT_EQ(kind("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xF4\x8F\xBF\xBF \xED\x9F\xBF"), TextKind::utf8);
    EXPECT_EQ(kind("12345678\xED\xA0\x80"), TextKind::surrogates);
    EXPECT_EQ(kind("\xED\xBF\xBF"), TextKind::surrogates);
    for (const char* text : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xE2\x82",
                             "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                             "12345678\xC3", "\xC3("}) {
        EXPECT_EQ(kind(text), TextKind::invalid) << hex(as_bytes(text));
    }
}

TEST(Encoding, ItemSizeOfEveryTag) {
    for (const std::string& item : sample_items()) {
        const auto bytes = unhex(item);
        EXPECT_EQ(item_size(bytes), bytes.size()) << item;
        const auto longer = unhex(item + "ffff");
        EXPECT_EQ(item_size(longer), bytes.size()) << item;
    }
}

TEST(Encoding, ItemSizeRefusesEveryTruncation) {
    for (const std::string& item : sample_items()) {
        for (std::size_t digits = 0; digits < item.size(); digits += 2) {
            const auto bytes = unhex(item.substr(0, digits));
            EXPECT_THROW(item_size(bytes), CorruptionError) << item << " cut to " << digits / 2;
        }
    }
}

TEST(Encoding, ItemSizeRefusesTagsWithoutMeaning) {
    for (const unsigned tag : {0x00u, 0x1Au, 0x1Fu, 0x2Au, 0x2Fu, 0x32u, 0x3Fu}) {
        std::vector<std::byte> bytes(32);
        bytes[0] = static_cast<std::byte>(tag);
        EXPECT_THROW(item_size(bytes), CorruptionError) << tag;
    }
}

TEST(Encoding, ItemSizeOfDeepNestingDoesNotRecurse) {
    std::vector<std::byte> deep(2'000'000, std::byte{1});
    for (std::size_t i = 0; i < deep.size(); i += 2) deep[i] = std::byte{Tag::kList};
    EXPECT_THROW(item_size(deep), CorruptionError);
    deep.push_back(std::byte{Tag::kNone});
    EXPECT_EQ(item_size(deep), deep.size());
}

TEST(Encoding, ItemSizeRefusesHostileCounts) {
    for (const char* item : {"0bffffffffffffffffff0101", "0cffffffffffffffffff010101",
                             "0c8080808080808080800101",
                             "08ffffffffffffffffff0101", "19ffffffffffffffffff0101", "0b03010b0301010b",
                             "0b808080808080808080010b81808080808080808001"}) {  // which together make 2^64
        EXPECT_THROW(item_size(unhex(item)), CorruptionError) << item;
    }
}

}  // namespace
