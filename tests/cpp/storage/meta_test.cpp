#include "storage/meta.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <gtest/gtest.h>

#include "codec/bytes.hpp"
#include "storage/memory_file.hpp"
#include "support.hpp"

namespace pyrsistence::storage {
namespace {

using pyrsistence::testing::MemoryFile;

Meta sample() {
    Meta meta;
    meta.checkpoint = 7;
    meta.pages = {8, 9, {10, 20, 0x1112131415161718}};
    meta.catalog = {11, 1, 2};
    meta.log = {12, 0x2122232425262728, 13};
    meta.hash_seed = 0x3132333435363738;
    for (std::size_t i = 0; i < meta.store_id.size(); ++i) meta.store_id[i] = std::byte(0x40 + i);
    return meta;
}

std::vector<std::byte> encoded(const Meta& meta) {
    std::vector<std::byte> page(kPageSize, std::byte{0xff});
    meta.encode(page);
    return page;
}

void expect_same(const Meta& a, const Meta& b) { EXPECT_EQ(encoded(a), encoded(b)); }

/// The bytes of version 1, as docs/format.md has them. If this fails, stores in the field do not open.
TEST(MetaTest, BytesAreGolden) {
    const std::vector<std::byte> page = encoded(sample());
    const std::string golden =
        "7079727364617461" "02000000" "00100000" "0700000000000000" "0800000000000000" "0900000000000000"
        "0a0000000000" "140000000000" "1817161514131211" "0b0000000000" "01" "00" "02000000"
        "0c00000000000000" "2827262524232221" "0d00000000000000" "3837363534333231"
        "404142434445464748494a4b4c4d4e4f";
    EXPECT_EQ(codec_test::hex(Bytes(page).first(120)), golden);
    EXPECT_EQ(codec_test::hex(Bytes(page).subspan(120, 32)), std::string(64, '0'));
    EXPECT_EQ(codec_test::hex(Bytes(page).subspan(152, 8)), "d79bb31c9e3b36d4");
    for (std::size_t i = Meta::kSize; i < kPageSize; ++i) ASSERT_EQ(page[i], std::byte{0});
    const auto back = Meta::decode(page);
    ASSERT_TRUE(back);
    expect_same(*back, sample());
}

TEST(MetaTest, EveryChangedByteIsSeen) {
    const auto page = encoded(sample());
    for (std::size_t at = 0; at < Meta::kSize; ++at) {
        auto bad = page;
        bad[at] ^= std::byte{0x10};
        bool valid = false;
        try {
            valid = Meta::decode(bad).has_value();
        } catch (const FormatError&) {
            EXPECT_TRUE(at >= 8 && at < 12) << at;
        }
        EXPECT_FALSE(valid) << at;
    }
    for (std::size_t size = 0; size < Meta::kSize; ++size) EXPECT_FALSE(Meta::decode(Bytes(page).first(size)));
}

TEST(MetaTest, ANewerVersionIsAFormatErrorThatNamesIt) {
    auto page = encoded(sample());
    codec::store<std::uint32_t>(page.data() + 8, kFormatVersion + 4);
    EXPECT_FALSE(Meta::decode(page)) << "a flipped bit is damage";
    codec::store<std::uint64_t>(page.data() + 152, XXH3_64bits(page.data(), 152));
    try {
        (void)Meta::decode(page);
        FAIL() << "accepted";
    } catch (const FormatError& error) {
        EXPECT_NE(std::string(error.what()).find(std::to_string(kFormatVersion + 4)), std::string::npos) << error.what();
    }
}

TEST(MetaTest, TheNewestValidPageWins) {
    MemoryFile file;
    Meta meta = sample();
    for (std::uint64_t checkpoint = 2; checkpoint < 8; ++checkpoint) {
        meta.checkpoint = checkpoint;
        meta.write(file);
        EXPECT_EQ(Meta::read(file, "x").checkpoint, checkpoint);
        EXPECT_LE(file.size(), kMetaPages * kPageSize);
    }
    file.damage(kPageSize + 30, std::byte{1});  // 7 is in page 1
    EXPECT_EQ(Meta::read(file, "x").checkpoint, 6u);
    file.damage(30, std::byte{1});
    EXPECT_THROW((void)Meta::read(file, "x"), CorruptionError);
    file.damage(0, std::byte{1});
    file.damage(kPageSize, std::byte{1});
    EXPECT_THROW((void)Meta::read(file, "x"), FormatError);
}

TEST(MetaTest, ShortFilesAreNoStores) {
    MemoryFile file;
    EXPECT_THROW((void)Meta::read(file, "x"), FormatError);
    file.write(as_bytes("pyrsdata"), 0);
    EXPECT_THROW((void)Meta::read(file, "x"), Error);
}

}  // namespace
}  // namespace pyrsistence::storage
