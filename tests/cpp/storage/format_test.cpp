// Layouts that are on disk: most of this file is tested by being compiled.
#include "storage/format.hpp"

#include <gtest/gtest.h>

#include "codec/bytes.hpp"
#include "containers/layout.hpp"
#include "storage/log.hpp"
#include "storage/meta.hpp"

namespace pyrsistence::storage {
namespace {

using containers::DictRoot;
using containers::ListRoot;
using structures::BucketTree;
using structures::RootField;
using structures::SlottedPage;
using Counted = structures::InnerNode<true>;
using Uncounted = structures::InnerNode<false>;

static_assert(kFormatVersion == 2);
static_assert(kPageSize == 4096 && kMetaPages == 2 && kMaxPages == PageId{1} << 48);
static_assert(int(PageKind::catalog) == 2 && int(PageKind::root) == 3 && int(PageKind::leaf) == 4);
static_assert(int(PageKind::inner) == 5 && int(PageKind::bucket) == 6 && int(PageKind::hash_inner) == 7);
static_assert(int(PageKind::filter) == 8 && structures::TagFilter::kUnknown == 65535);
static_assert(sizeof(PageHeader) == 16 && offsetof(PageHeader, kind) == 4 && offsetof(PageHeader, level) == 5);
static_assert(offsetof(PageHeader, count) == 6 && offsetof(PageHeader, epoch) == 8);
static_assert(ExtentRef::kEncodedSize == 20 && Meta::kSize == 160);
static_assert(Log::kHeaderSize == 4096 && Log::kWindowCap == 1u << 28 && Log::kWindows == 3 && Log::kRecordHeader == 24);
static_assert(SpaceMap::kGroupPages == 32768);

static_assert(int(ContainerType::dict) == 1 && int(ContainerType::list) == 2);
static_assert(int(Op::create) == 1 && int(Op::batch) == 2 && int(Op::first_of_container) == 16);
static_assert(RootPage::kFields == 16 && RootPage::kNameSize == 240 && RootPage::kMaxName == 3840);
static_assert(RootField::kSize == 24);
static_assert(DictRoot::kEntries == 16 && DictRoot::kIndex == 40 && DictRoot::kDelta == 64 && DictRoot::kNextId == 88);
static_assert(DictRoot::kFilter == 96 && structures::HashIndex::kFilterSize == 32);
static_assert(ListRoot::kItems == 16);

static_assert(Counted::kCapacity == 203 && Counted::kTotals == 16 && Counted::kSeparators == 1640);
static_assert(Counted::kChildren == 2858);
static_assert(Uncounted::kCapacity == 339 && Uncounted::kSeparators == 16 && Uncounted::kChildren == 2050);
static_assert(SlottedPage::kBase == 16 && SlottedPage::kHoles == 22 && SlottedPage::kEnds == 24);
static_assert(SlottedPage::kSlot == 2 && SlottedPage::kExternal == 0x8000 && SlottedPage::kMaxRecord == 1352);
static_assert(BucketTree::kSlots == 16 && BucketTree::kSlot == 11 && BucketTree::kCapacity == 370);

std::string hex(Bytes bytes) { return codec_test::hex(bytes); }

TEST(FormatTest, ExtentReferencesAreGolden) {
    std::array<std::byte, ExtentRef::kEncodedSize> bytes{};
    const ExtentRef ref{0x0102030405060, 0x0a0b0c0d0e0, 0x1122334455667788};
    ref.encode(bytes.data());
    EXPECT_EQ(hex(bytes), "605040302010" "e0d0c0b0a000" "8877665544332211");
    EXPECT_EQ(ExtentRef::decode(bytes.data()), ref);
}

TEST(FormatTest, RecordHeadersAreGolden) {
    EXPECT_EQ(hex(RecordHeader(Op::create, 0).u8(2).view()), "010002");
    EXPECT_EQ(hex(RecordHeader(Op(17), 300).u48(0x010203040506).u64(7).view()), "11ac02" "060504030201" "0700000000000000");
    const ExtentRef ref{5, 20'000, 9};
    EXPECT_EQ(hex(RecordHeader(Op(16), 1, &ref).view()), "9001" "050000000000" "204e00000000" "0900000000000000");
}

TEST(FormatTest, PageHeadersAreGolden) {
    std::array<std::byte, kPageSize> page{};
    page[4] = std::byte(PageKind::leaf);
    page[5] = std::byte{3};
    set_page_count(page.data(), 0x0102);
    codec::store<std::uint64_t>(page.data() + 8, 0x1122334455667788);
    EXPECT_EQ(hex(Bytes(page).first(16)), "00000000" "04" "03" "0201" "8877665544332211");
    EXPECT_EQ(page_kind(page.data()), PageKind::leaf);
    EXPECT_EQ(page_level(page.data()), 3u);
    EXPECT_EQ(page_count(page.data()), 0x0102u);
    EXPECT_EQ(page_epoch(page.data()), 0x1122334455667788u);
}

}  // namespace
}  // namespace pyrsistence::storage
