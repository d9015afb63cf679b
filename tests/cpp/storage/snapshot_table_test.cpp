#include "storage/snapshot_table.hpp"

#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "codec/bytes.hpp"
#include "storage/memory_file.hpp"
#include "support.hpp"

namespace pyrsistence::storage {
namespace {

using pyrsistence::testing::MemoryFile;

NamedSnapshot sample(std::uint64_t epoch, const std::string& name) {
    NamedSnapshot one;
    one.name = name;
    one.created = 0x0102030405060708;
    one.checkpoint = 0x1112131415161718;
    one.pages = {epoch, 0x2122, {0x31, 0x32, 0x3334353637383940}};
    one.catalog = {0x41, 2, 0x42};
    one.table = {0x51, 0x52, 0x5354555657585960};
    return one;
}

/// The bytes of version 1, as docs/format.md has them. If this fails, stores in the field do not open.
TEST(SnapshotTableTest, BytesAreGolden) {
    const std::string golden =
        "0807060504030201" "1817161514131211" "0700000000000000" "2221000000000000"
        "310000000000" "320000000000" "4039383736353433" "410000000000" "02" "00" "42000000"
        "510000000000" "520000000000" "6059585756555453" "000000000300" "616263";
    const auto bytes = encode_snapshots({sample(7, "abc")});
    EXPECT_EQ(codec_test::hex(Bytes(bytes)), golden);
}

TEST(SnapshotTableTest, ComesBackAsItWas) {
    test::Random random(1);
    for (std::size_t count = 0; count < 40; ++count) {
        SnapshotTable table;
        for (std::size_t i = 0; i < count; ++i) {
            table.push_back(sample(3 * i + 1 + random.below(3), std::string(1 + random.below(1024), 'n')));
        }
        const auto bytes = encode_snapshots(table);
        const SnapshotTable back = decode_snapshots(bytes, 3 * count + 1);
        ASSERT_EQ(back.size(), count);
        EXPECT_EQ(encode_snapshots(back), bytes);
    }
}

TEST(SnapshotTableTest, WhatCannotBeIsCorruption) {
    const SnapshotTable good = {sample(7, "a"), sample(9, "bb")};
    const auto bytes = encode_snapshots(good);
    EXPECT_EQ(decode_snapshots(bytes, 10).size(), 2u);
    EXPECT_THROW(decode_snapshots(bytes, 9), CorruptionError) << "newer than the state that names the table";
    EXPECT_THROW(decode_snapshots(encode_snapshots({sample(7, "a"), sample(7, "b")}), 10), CorruptionError);
    EXPECT_THROW(decode_snapshots(encode_snapshots({sample(9, "a"), sample(7, "b")}), 10), CorruptionError);
    EXPECT_THROW(decode_snapshots(encode_snapshots({sample(7, "")}), 10), CorruptionError);
    std::size_t accepted = 0;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        try {
            accepted += decode_snapshots(Bytes(bytes).first(size), 10).size() + 1;
        } catch (const CorruptionError&) {
        }
    }
    EXPECT_EQ(accepted, 3u) << "nothing, and the first entry alone";
}

/// Random bytes behind a valid checksum, as a hostile file has them: an error or some table, nothing else.
TEST(SnapshotTableTest, RandomBytesDoNoHarm) {
    PYRSISTENCE_TRACE_SEED;
    test::Random random(2);
    const auto bytes = encode_snapshots({sample(7, "a"), sample(9, "a longer name"), sample(11, "c")});
    for (std::size_t i = 0; i < test::scaled(20'000); ++i) {
        auto bad = bytes;
        for (std::uint64_t k = 1 + random.below(4); k > 0; --k) bad[random.below(bad.size())] = std::byte(random());
        try {
            for (const NamedSnapshot& one : decode_snapshots(bad, 12)) ASSERT_LT(one.pages.epoch, 12u);
        } catch (const CorruptionError&) {
        }
    }
}

TEST(SnapshotTableTest, IsReadFromWhereTheMetaPageSays) {
    MemoryFile file;
    const auto bytes = encode_snapshots({sample(7, "a")});
    file.write(Bytes(bytes), 3 * kPageSize);
    file.truncate(4 * kPageSize);
    Meta meta;
    meta.pages.epoch = 8;
    EXPECT_TRUE(read_snapshots(file, meta).empty());
    meta.snapshots = {3, bytes.size(), XXH3_64bits(bytes.data(), bytes.size())};
    ASSERT_EQ(read_snapshots(file, meta).size(), 1u);
    EXPECT_EQ(read_snapshots(file, meta)[0].name, "a");
    for (const ExtentRef& bad : {ExtentRef{3, bytes.size(), 1}, ExtentRef{2, bytes.size(), meta.snapshots.checksum},
                                 ExtentRef{0, bytes.size(), meta.snapshots.checksum}, ExtentRef{4, bytes.size(), 1},
                                 ExtentRef{3, kPageSize + 1, 1}, ExtentRef{kMaxPages - 1, bytes.size(), 1},
                                 ExtentRef{3, kMaxPages - 1, 1}, ExtentRef{1, bytes.size(), 1}}) {
        meta.snapshots = bad;
        EXPECT_THROW(read_snapshots(file, meta), CorruptionError) << bad.first << ' ' << bad.bytes;
    }
}

}  // namespace
}  // namespace pyrsistence::storage
