// Fields that a hostile file can set to anything, behind right checksums, and what each of them once did.
#include <sys/resource.h>
#include <sys/stat.h>

#include "containers/records.hpp"
#include "damage.hpp"
#include "pyrsistence/sort_key.hpp"
#include "pyrsistence/store.hpp"
#include "storage/reader_table.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kMemory = 4 << 20;

/// The most that the process has ever had in memory, in MiB.
long peak_memory() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss >> 10;
}

class HostileFieldsTest : public testing::Test {
protected:
    /// A list of two levels of leaves and inner nodes, closed.
    HostileFieldsTest() : path_(dir_ / "store") {
        RawList list(path_, {.memory_limit = kMemory});
        for (int i = 0; i < 40; ++i) list.append(as_bytes(item_));
    }
    RawList open(Mode mode) { return RawList(path_, {.mode = mode, .memory_limit = kMemory}); }
    /// As if the last writer had logged this and then been killed.
    void append_to_log(const fs::path& path, std::initializer_list<std::pair<storage::RecordHeader, std::string>> records) {
        const auto file = os::FileSystem::posix().open(path / "log", os::Access::read_write);
        storage::Log log(*file, false);
        ASSERT_TRUE(log.resume(ClosedStore(path).meta().log));
        for (const auto& [header, body] : records) {
            ASSERT_TRUE(log.reserve(header.view().size() + body.size()));
            const Bytes parts[] = {header.view(), as_bytes(body)};
            log.append(parts);
        }
    }

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

/// Clearing gives back the pages of a tree: those that are none must not be among them.
TEST_F(HostileFieldsTest, APageThatIsNoneIsNotGivenBack) {
    {
        ClosedStore closed(path_);
        const auto map = closed.map();
        closed.change(map.inner[0], [&](std::byte* node) { ClosedStore::Inner::set_child(node, 3, map.space[0]); });
    }
    EXPECT_THROW(open(Mode::read_write).clear(), CorruptionError);
}

/// A space map that has a leaf as free: it is not written over, once it was read.
TEST_F(HostileFieldsTest, APageInUseIsNotGivenAway) {
    {
        ClosedStore closed(path_);
        closed.set_in_use({{closed.map().leaves[3], false}});
    }
    RawList list = open(Mode::read_write);
    Buffer item;
    for (std::uint64_t rank = 0; rank < 40; ++rank) list.get(rank, item);
    std::string refusal;
    for (int i = 0; i < 100 && refusal.empty(); ++i) {
        try {
            list.append(as_bytes(item_));
        } catch (const CorruptionError& error) {
            refusal = error.what();
        }
    }
    EXPECT_NE(refusal.find("it is in use, but the space map has it as free"), std::string::npos) << refusal;
}

TEST_F(HostileFieldsTest, AnExtentEndsWithinTheFile) {
    RawList list(dir_ / "extents");
    list.append(as_bytes("\x08\xa8\x46" + std::string(9000, 'x')));
    list.close();
    for (const std::uint64_t bytes : {std::uint64_t{1} << 40, (std::uint64_t{1} << 48) - 1}) {
        {
            ClosedStore closed(dir_ / "extents");
            closed.change(closed.map().leaves[0], [bytes](std::byte* leaf) {
                codec::store48(const_cast<std::byte*>(ClosedStore::Leaf::record(leaf, 0).stored.data()) + 6, bytes);
            });
        }
        Buffer item;
        EXPECT_THROW(RawList(dir_ / "extents", {.mode = Mode::read}).get(0, item), CorruptionError);
        EXPECT_THROW(RawList(dir_ / "extents").get(0, item), CorruptionError);
    }
}

TEST_F(HostileFieldsTest, ANameEndsWithinItsPage) {
    ClosedStore closed(path_);
    closed.change(closed.map().roots[0], [](std::byte* root) {
        codec::store<std::uint16_t>(root + storage::RootPage::kNameSize, storage::RootPage::kMaxName + 1);
    });
    EXPECT_THROW(open(Mode::read), CorruptionError);
    EXPECT_THROW((void)Store(path_, {.mode = Mode::read}).containers(), CorruptionError);
}

/// A catalog of so many levels that the ids below a page are more than a number can count: none was found, and
/// a new container was looked for a place without end.
TEST_F(HostileFieldsTest, ACatalogIsNoHigherThanItCanBe) {
    ClosedStore closed(path_);
    closed.change(closed.map().catalog[0], [](std::byte* page) {
        page[5] = std::byte{64};
        std::memset(page + sizeof(storage::PageHeader), 0, 6);
    });
    storage::Meta meta = closed.meta();
    meta.catalog.level = 64;
    meta.write(closed.data());
    EXPECT_THROW(open(Mode::read), CorruptionError);
    EXPECT_THROW(open(Mode::read_write), CorruptionError);
}

/// Records that no writer leaves, with right checksums.
TEST_F(HostileFieldsTest, TheLogIsNotBelieved) {
    using storage::Op;
    using storage::RecordHeader;
    const auto refuse = [&](const char* what, std::initializer_list<std::pair<RecordHeader, std::string>> records) {
        SCOPED_TRACE(what);
        const fs::path other = dir_.next();
        copy_store(path_, other);
        append_to_log(other, records);
        EXPECT_THROW(Store(other, {.memory_limit = kMemory}), CorruptionError);
    };
    refuse("a container that exists", {{RecordHeader(Op::create, 0).u8(2), "again"}});
    refuse("a name longer than a page", {{RecordHeader(Op::create, 1).u8(2), std::string(5000, 'n')}});
    refuse("a type that does not exist", {{RecordHeader(Op::create, 1).u8(9), "x"}, {RecordHeader(Op(16), 1).u48(0), item_}});
    refuse("a container that does not exist", {{RecordHeader(Op(16), 7).u48(0), item_}});
}

/// An entry of a sorted container which says that its sort key has `size` bytes. What follows are `bytes` times 'k',
/// then `end`.
std::string sorted_entry(std::size_t size, std::size_t bytes, const std::string& end) {
    const char length[] = {static_cast<char>(size | 0x80), static_cast<char>(size >> 7)};
    return std::string(length, 2) + std::string(bytes, 'k') + end;
}

/// Sort keys longer than they may be were copied to places that have no room for them: behind the reference to an
/// extent, into separators.
TEST_F(HostileFieldsTest, ASortKeyInTheLogIsNoLongerThanItMayBe) {
    using storage::RecordHeader;
    const fs::path sorted = dir_ / "sorted";
    RawSorted(sorted, {.memory_limit = kMemory}).close();
    const std::string unsound[] = {sorted_entry(1200, 1200, "\x02"), sorted_entry(1400, 2000, ""),
                                   sorted_entry(16'000, 17'000, ""), sorted_entry(900, 800, ""),
                                   sorted_entry(5, 5, "\x02"), ""};
    for (const std::string& entry : unsound) {
        SCOPED_TRACE(entry.size());
        const fs::path other = dir_.next();
        copy_store(sorted, other);
        append_to_log(other, {{RecordHeader(storage::Op(16), 0), entry}});
        EXPECT_THROW(RawSorted(other, {.memory_limit = kMemory}), CorruptionError);
    }
}

/// The same of those in pages, which are damage of that entry only.
TEST_F(HostileFieldsTest, ASortKeyInALeafIsNoLongerThanItMayBe) {
    const fs::path sorted = dir_ / "sorted";
    const auto entry_of = [](std::string key, std::size_t value) {
        Buffer identity, bytes;
        put_text(identity, key, false);
        put_sorted_entry_key(bytes, identity, {});
        put_text(bytes, std::string(value, 'v'), false);
        return std::string(as_text(bytes));
    };
    {
        SortedDict<std::string, std::string> dict(sorted, {.memory_limit = kMemory});
        dict.insert_or_assign("j", "");
        for (const char end : {'a', 'b', 'c'}) dict.insert_or_assign(std::string(990, 'k') + end, std::string(300, 'v'));
    }
    {
        ClosedStore closed(sorted);
        closed.change(closed.map().leaves[0], [](std::byte* leaf) {
            for (unsigned i = 1; i <= 3; ++i) {  // 1290 bytes in place of 992
                auto* record = const_cast<std::byte*>(ClosedStore::Leaf::record(leaf, i).stored.data());
                std::memcpy(record, sorted_entry(1290, 0, "").data(), 2);
                std::memset(record + 3, 'k', 1288);  // behind the kind of the key
                record[3 + 1288] = std::byte(i);
            }
        });
    }
    RawSorted dict(sorted, {.memory_limit = kMemory});
    EXPECT_GT(dict.verify().fault_count, 0u);
    for (int i = 0; i < 40; ++i) {
        const std::string entry = entry_of(std::string(900, 'j') + std::to_string(i), i % 2 == 0 ? 10 : 2000);
        const SortedEntryView parts = split_sorted_entry(as_bytes(entry));
        try {
            dict.set({as_bytes(entry), parts.sort_key, entry.size() - parts.value.size()});
        } catch (const Error&) {  // its neighbours make no sense
        }
    }
    EXPECT_NO_THROW(dict.erase_slice(0, dict.size() - 2));
}

/// The extent of a record that had not been synced may be missing, but not take memory for pages that do not exist.
TEST_F(HostileFieldsTest, AnExtentInTheLogTakesNoMemory) {
    const std::uint64_t pages = fs::file_size(path_ / "data") / kPageSize;
    fs::resize_file(path_ / "data", (pages + 1) * kPageSize);
    const storage::ExtentRef extent{pages, std::uint64_t{1} << 43, 1};
    append_to_log(path_, {{storage::RecordHeader(storage::Op(16), 0, &extent).u48(0), ""}});
    const long before = peak_memory();
    EXPECT_EQ(open(Mode::read_write).size(), 40u);
    EXPECT_LT(peak_memory() - before, 100);
}

/// A reader keeps pages from being used, of which it says itself how many there are.
TEST_F(HostileFieldsTest, AReadersPageCountTakesNoMemory) {
    open(Mode::read_write).close();  // makes the table
    const auto file = os::FileSystem::posix().open(path_ / "lock", os::Access::read_write);
    storage::ReaderTable table(*file, storage::ReaderTable::Role::reader, "lock");
    const auto slot = table.hold(1, PageId{1} << 36);
    const long before = peak_memory();
    RawList list = open(Mode::read_write);
    list.append(as_bytes(item_));
    list.check();
    EXPECT_LT(peak_memory() - before, 100);
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
