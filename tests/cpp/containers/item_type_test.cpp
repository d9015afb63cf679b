#include "containers/item_type.hpp"

#include "support.hpp"

namespace pyrsistence::containers {
namespace {

TEST(ItemType, ComesBackAsItWas) {
    for (const ItemType& type : {ItemType{8, "<f8", {}}, ItemType{1, "|u1", {}}, ItemType{48, "<f8", {2, 3}},
                                 ItemType{kMostItemSize, "|V" + std::to_string(kMostItemSize), {}}}) {
        auto bytes = encode(type);
        EXPECT_EQ(decode_item_type(bytes), type);
        EXPECT_EQ(decode_item_size(bytes), type.size);
        bytes.resize(kMostTypeBytes);  // as in a root page
        EXPECT_EQ(decode_item_type(bytes), type);
    }
}

TEST(ItemType, RefusesWhatHasNoRoom) {
    EXPECT_THROW((void)encode({0, "<f8", {}}), FormatError);
    EXPECT_THROW((void)encode({kMostItemSize + 1, "<f8", {}}), FormatError);
    EXPECT_THROW((void)encode({8, "", {}}), FormatError);
    EXPECT_EQ(encode({8, std::string(192, 'x'), {}}).size(), kMostTypeBytes);
    EXPECT_THROW((void)encode({8, std::string(193, 'x'), {}}), FormatError);
    EXPECT_THROW((void)encode({8, "<f8", std::vector<std::uint64_t>(33, 1)}), FormatError);
}

TEST(ItemType, RefusesDamage) {
    const auto good = encode({48, "<f8", {2, 3}});
    for (std::size_t size = 0; size < good.size(); ++size) {
        EXPECT_THROW((void)decode_item_type(Bytes(good).first(size)), CorruptionError) << size;
    }
    const std::vector<std::byte> nothing(kMostTypeBytes);
    EXPECT_THROW((void)decode_item_size(nothing), CorruptionError);
    std::vector<std::byte> everything(kMostTypeBytes, std::byte{0xff});
    EXPECT_THROW((void)decode_item_type(everything), CorruptionError);
    everything.assign(good.begin(), good.end());
    everything[6] = std::byte{200};  // dimensions
    EXPECT_THROW((void)decode_item_type(everything), CorruptionError);
}

TEST(ItemType, IsDescribedAsInPython) {
    EXPECT_EQ(describe({8, "<f8", {}}), "<f8");
    EXPECT_EQ(describe({24, "<f8", {3}}), "<f8 of shape (3,)");
    EXPECT_EQ(describe({48, "<f8", {2, 3}}), "<f8 of shape (2, 3)");
}

}  // namespace
}  // namespace pyrsistence::containers
