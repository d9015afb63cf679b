#include <gtest/gtest.h>

#include <random>

#include "bytes.hpp"
#include "pyrsistence/encoding.hpp"

namespace {

using namespace codec_test;

/// Reads one item whole with the read function of each tag.
void walk(Reader& reader);

void walk_items(Reader& reader, std::uint8_t tag) {
    const std::size_t count = reader.read_count(tag) * (tag == Tag::kDict ? 2 : 1);
    const Reader::Level level(reader);
    for (std::size_t i = 0; i < count; ++i) walk(reader);
}

void walk(Reader& reader) {
    const std::uint8_t tag = reader.peek();
    const std::string_view name = tag_name(tag);
    if (name == "int") return void(reader.read_integer());
    if (name == "str") return void(reader.read_text());
    if (name == "bytes") return void(reader.read_bytes());
    if (name == "bool") return void(reader.read_bool());
    if (tag >= Tag::kTuple && tag <= Tag::kFrozenSet) return walk_items(reader, tag);
    switch (tag) {
        case Tag::kNone: return reader.read_none();
        case Tag::kFloat: return void(reader.read_float());
        case Tag::kComplex: return void(reader.read_complex());
        case Tag::kNumpyScalar: return void(reader.read_numpy_scalar());
        case Tag::kByteArray:
        case Tag::kPickle:
        case Tag::kCustom: return void(reader.read_counted(tag));
        case Tag::kFrozenSetKey: return walk_items(reader, tag);
        default: return reader.skip();
    }
}

Integer integer(std::string_view item) {
    static std::vector<std::byte> bytes;  // outlives the view returned
    bytes = unhex(item);
    return Reader(bytes).read_integer();
}

TEST(Reader, ReadsEveryTagToItsEnd) {
    for (const std::string& item : sample_items()) {
        const auto bytes = unhex(item);
        Reader reader(bytes);
        EXPECT_NO_THROW(walk(reader)) << item;
        EXPECT_TRUE(reader.at_end()) << item;
    }
}

TEST(Reader, RefusesEveryTruncation) {
    for (const std::string& item : sample_items()) {
        for (std::size_t digits = 0; digits < item.size(); digits += 2) {
            const auto bytes = unhex(item.substr(0, digits));
            Reader reader(bytes);
            EXPECT_THROW(walk(reader), CorruptionError) << item << " cut to " << digits / 2;
        }
    }
}

TEST(Reader, Integers) {
    EXPECT_EQ(integer("80").int64(), 0);
    EXPECT_EQ(integer("ff").int64(), 127);
    EXPECT_EQ(integer("1180").int64(), 128);
    EXPECT_EQ(integer("20").int64(), -1);
    EXPECT_EQ(integer("2180").int64(), -129);
    EXPECT_EQ(integer("28ffffffffffffff7f").int64(), std::numeric_limits<std::int64_t>::min());
    EXPECT_TRUE(integer("28ffffffffffffff7f").fits_int64());
    EXPECT_FALSE(integer("280000000000000080").fits_int64());
    EXPECT_FALSE(integer("180000000000000080").fits_int64());
    EXPECT_TRUE(integer("180000000000000080").fits_uint64());
    EXPECT_EQ(hex(integer("2909000000000000000001").big), "000000000000000001");
    EXPECT_TRUE(integer("2909000000000000000001").negative);
}

TEST(Reader, TheLoadOfEightBytesTakesOnlyThePayload) {
    const auto bytes = unhex("1334127fffffffffffffffffff");
    Reader reader(bytes);
    EXPECT_EQ(reader.read_integer().low, 0x7F1234u);
    EXPECT_EQ(reader.position(), 4u);
}

TEST(Reader, RefusesLongerForms) {
    for (const char* item :
         {"10", "1100", "117f", "12ff00", "18ffffffffffffff00", "190801020304050607ff",
          "1909010203040506070800",
          "2100", "22ff00", "290801020304050607ff", "06016100", "080100", "068000", "0a8000",
          "08ff8080808080808080808000"}) {
        for (const char* tail : {"", "ffffffffffffffffffff"}) {
            const auto bytes = unhex(std::string(item) + tail);
            Reader reader(bytes);
            EXPECT_THROW(walk(reader), CorruptionError) << item << tail;
        }
    }
}

TEST(Reader, WrongTypeNamesBothAndKeepsThePlace) {
    const auto bytes = unhex("4568656c6c6f");
    Reader reader(bytes);
    try {
        reader.read_integer();
        FAIL();
    } catch (const FormatError& error) {
        EXPECT_NE(std::string(error.what()).find("wanted int, found str (tag 45)"), std::string::npos)
            << error.what();
    }
    EXPECT_THROW(reader.read_none(), FormatError);
    EXPECT_THROW(reader.read_bool(), FormatError);
    EXPECT_THROW(reader.read_float(), FormatError);
    EXPECT_THROW(reader.read_complex(), FormatError);
    EXPECT_THROW(reader.read_bytes(), FormatError);
    EXPECT_THROW(reader.read_numpy_scalar(), FormatError);
    EXPECT_THROW(reader.read_count(Tag::kList), FormatError);
    EXPECT_EQ(reader.read_text().utf8, "hello");
}

TEST(Reader, MeaninglessTagsAreDamageToEveryRead) {
    const auto bytes = unhex("3f00");
    Reader reader(bytes);
    EXPECT_THROW(reader.read_integer(), CorruptionError);
    EXPECT_THROW(reader.read_text(), CorruptionError);
    EXPECT_THROW(reader.read_bytes(), CorruptionError);
}

TEST(Reader, CountsAreBoundedByWhatRemains) {
    EXPECT_THROW(Reader(Bytes{}).peek(), CorruptionError);
    const auto list = unhex("0b03818283");
    EXPECT_EQ(Reader(list).read_count(Tag::kList), 3u);
    const auto short_list = unhex("0b04818283");
    EXPECT_THROW(Reader(short_list).read_count(Tag::kList), CorruptionError);
    const auto short_dict = unhex("0c02818283");
    EXPECT_THROW(Reader(short_dict).read_count(Tag::kDict), CorruptionError);
}

TEST(Reader, NestingEndsAt200Levels) {
    const auto at_limit = unhex(repeat("0b01", 200) + "01");
    Reader fits(at_limit);
    EXPECT_NO_THROW(walk(fits));
    const auto beyond = unhex(repeat("0b01", 201) + "01");
    Reader deep(beyond);
    EXPECT_THROW(walk(deep), CorruptionError);
}

/// Random bytes that begin like items: half of the bytes are tags that lead far.
std::vector<std::byte> hostile_bytes(std::mt19937_64& random) {
    static constexpr std::uint8_t kFavourites[] = {0x0A, 0x0B, 0x0C, 0x72, 0x70, 0x7D, 0x06, 0x19,
                                                   0x30, 0x7A, 0x01, 0x02, 0x81, 0x41, 0x11, 0xFF};
    std::vector<std::byte> bytes(random() % 24);
    for (std::byte& b : bytes) {
        const std::uint64_t draw = random();
        b = static_cast<std::byte>(draw & 0x100 ? kFavourites[draw % 16] : draw);
    }
    bytes.shrink_to_fit();
    return bytes;
}

TEST(Reader, HostileBytesOnlyThrow) {
    std::mt19937_64 random(20240607);
    std::size_t valid = 0;
    for (int i = 0; i < 1'000'000; ++i) {
        const auto bytes = hostile_bytes(random);
        std::size_t size = 0;
        try {
            size = item_size(bytes);
        } catch (const CorruptionError&) {
        }
        ASSERT_LE(size, bytes.size());
        try {
            Reader reader(bytes);
            walk(reader);
            ASSERT_EQ(reader.position(), size) << hex(bytes);
            ++valid;
        } catch (const CorruptionError&) {
        }
    }
    EXPECT_GT(valid, 100'000u);
}

}  // namespace
