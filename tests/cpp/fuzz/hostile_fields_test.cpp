// Fields that a hostile file can set to anything, behind right checksums, and what each of them once did.
#include <sys/stat.h>

#include "damage.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kMemory = 4 << 20;

class HostileFieldsTest : public testing::Test {
protected:
    /// A list of two levels of leaves and inner nodes, closed.
    HostileFieldsTest() : path_(dir_ / "store") {
        RawList list(path_, {.memory_limit = kMemory});
        for (int i = 0; i < 40; ++i) list.append(as_bytes(item_));
    }
    RawList open(Mode mode) { return RawList(path_, {.mode = mode, .memory_limit = kMemory}); }

    TempDir dir_{true};
    const fs::path path_;
    const std::string item_ = "\x08\xb0\x09" + std::string(1200, 'x');
};

/// A page count of 2^47 made verify() and check() of a reader allocate a bit for each of these pages.
TEST_F(HostileFieldsTest, APageCountBeyondTheFileTakesNoMemory) {
    {
        ClosedStore closed(path_);
        storage::Meta meta = closed.meta();
        meta.pages.page_count = storage::kMaxPages / 2;
        closed.write_meta(meta);
    }
    RawList list = open(Mode::read);
    EXPECT_GT(list.verify().fault_count, 0u);  // the space map is of another size
    EXPECT_NO_THROW(list.check());
}

/// An epoch or checkpoint at the end of its range made the numbers begin again at 0.
TEST_F(HostileFieldsTest, NumbersThatNobodyCanCountToAreRefused) {
    {
        ClosedStore closed(path_);
        storage::Meta meta = closed.meta();
        meta.pages.epoch = UINT64_MAX;
        meta.write(closed.data());
    }
    EXPECT_THROW(open(Mode::read), CorruptionError);
    EXPECT_THROW(open(Mode::read_write), CorruptionError);
}

/// An inner node with the same child everywhere made clear() visit exponentially many pages, and a count to fit
/// made iteration endless.
TEST_F(HostileFieldsTest, PagesThatAreReachedAgainEndNoLater) {
    {
        ClosedStore closed(path_);
        const auto map = closed.map();
        ASSERT_EQ(map.inner.size(), 1u);
        PageId below = map.inner[0];
        PageId last = below;
        for (std::size_t level = 2; level <= 6; ++level) {  // leaves become inner nodes of 203 equal children
            const PageId here = map.leaves[level];
            auto page = closed.read(map.inner[0]);
            page[5] = std::byte(level);
            storage::set_page_count(page.data(), 0);
            for (unsigned i = 0; i < ClosedStore::Inner::kCapacity; ++i) ClosedStore::Inner::insert(page.data(), i, below, 0, 40);
            closed.write(here, page);
            below = last = here;
        }
        closed.change(map.roots[0], [&](std::byte* page) {
            std::byte* root = page + containers::kEntriesField;
            structures::RootField::set_page(root, last);
            structures::RootField::set_height(root, 6);
            codec::store(root + 8, std::uint64_t{1} << 40);
        });
    }
    RawList list = open(Mode::read_write);
    EXPECT_THROW((void)list.size(), CorruptionError);
    EXPECT_THROW(list.clear(), CorruptionError);
    EXPECT_GT(list.verify().fault_count, 0u);
}

/// The way down a tree has room for so many levels: the next one would be written over what lies behind.
TEST_F(HostileFieldsTest, ATreeThatIsTooHighIsNotDescended) {
    constexpr unsigned kHeight = structures::kMaxHeight + 1;
    {
        ClosedStore closed(path_);
        const auto map = closed.map();
        ASSERT_GE(map.leaves.size(), kHeight);
        PageId top = map.inner[0];
        for (unsigned level = 2; level <= kHeight; ++level) {  // leaves become inner nodes of one child
            auto page = closed.read(map.inner[0]);
            page[5] = std::byte(level);
            storage::set_page_count(page.data(), 0);
            ClosedStore::Inner::insert(page.data(), 0, top, 0, 40);
            closed.write(top = map.leaves[level], page);
        }
        closed.change(map.roots[0], [&](std::byte* page) {
            structures::RootField::set_page(page + containers::kEntriesField, top);
            structures::RootField::set_height(page + containers::kEntriesField, kHeight);
        });
    }
    const RawList list = open(Mode::read);
    Buffer item;
    try {
        list.get(0, item);
        FAIL() << "it was descended";
    } catch (const CorruptionError& error) {
        EXPECT_NE(std::string(error.what()).find("a tree of height 13"), std::string::npos) << error.what();
    }
}

/// A pipe in the place of a file made opening wait for ever.
TEST_F(HostileFieldsTest, APipeIsNoFile) {
    for (const char* name : {"data", "log"}) {
        const fs::path other = dir_.next();
        copy_store(path_, other);
        fs::remove(other / name);
        ASSERT_EQ(::mkfifo((other / name).c_str(), 0600), 0);
        EXPECT_THROW(RawList(other, {.mode = Mode::read, .memory_limit = kMemory}), Error);
        EXPECT_THROW(RawList(other, {.mode = Mode::read_write, .memory_limit = kMemory}), Error);
    }
}

}  // namespace
}  // namespace pyrsistence::test
