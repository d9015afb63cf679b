#include "codec/item.hpp"

#include <gtest/gtest.h>

#include "bytes.hpp"

namespace {

using namespace codec_test;

std::string entry(std::string_view identity, std::string_view key, std::string_view value) {
    return encoded([&](Buffer& out) { codec::put_entry(out, unhex(identity), unhex(key), unhex(value)); });
}

TEST(Entry, KeyIsTheIdentityUnlessItDiffers) {
    EXPECT_EQ(entry("81", "81", "4161"), "814161");
    EXPECT_EQ(entry("81", "03", "4161"), "8100034161");
}

TEST(Entry, SplitsBothForms) {
    for (const std::string& item : sample_items()) {
        for (const char* key : {"81", "03", "04000000000000f03f"}) {
            const auto bytes = unhex(entry("81", key, item));
            const codec::EntryView view = codec::split_entry(bytes);
            EXPECT_EQ(hex(view.identity), "81");
            EXPECT_EQ(hex(view.key), key);
            EXPECT_EQ(hex(view.value), item);
            EXPECT_EQ(hex(codec::entry_identity(bytes)), "81");
        }
    }
}

TEST(Entry, RefusesTruncationAndExcess) {
    for (const std::string item : {"814161", "8100034161", "0a028182000a0203820b0181"}) {
        for (std::size_t digits = 0; digits < item.size(); digits += 2) {
            const auto bytes = unhex(item.substr(0, digits));
            EXPECT_THROW(codec::split_entry(bytes), CorruptionError) << item << " cut to " << digits / 2;
        }
        const auto longer = unhex(item + "01");
        EXPECT_THROW(codec::split_entry(longer), CorruptionError) << item;
    }
    EXPECT_THROW(codec::split_entry(unhex("810000034161")), CorruptionError);
}

}  // namespace
