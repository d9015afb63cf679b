#include "storage/wreck.hpp"

#include <fstream>

#include "damage.hpp"
#include "pyrsistence/raw_dict.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {
namespace {

using storage::Wreck;

class WreckTest : public ::testing::Test {
protected:
    WreckTest() {
        Store store(path_);
        for (int round = 0; round < 4; ++round) {
            for (std::int64_t i = 0; i < 300; ++i) store.list<std::int64_t>("a").push_back(i), store.list<std::int64_t>("b").push_back(i);
            store.checkpoint();
        }
    }
    Wreck wreck() const { return Wreck(os::FileSystem::posix(), path_); }
    static std::string faults(const Wreck& wreck) {
        Verification found(wreck.file_pages());
        wreck.report(found);
        return to_string(found);
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
};

TEST_F(WreckTest, ASoundStoreIsNone) {
    const Wreck sound = wreck();
    ASSERT_TRUE(sound.meta());
    EXPECT_EQ(sound.meta()->checkpoint, ClosedStore(path_).meta().checkpoint);
    EXPECT_EQ(faults(sound), "0 faults\n");
    Verification log(sound.file_pages());
    const auto pager = storage::open_to_read(sound.data(), sound.meta()->pages);
    sound.read_log(*pager, log, [](const storage::LoggedOp&) { FAIL() << "the log is empty"; });
    EXPECT_EQ(log.fault_count(), 0u);
}

TEST_F(WreckTest, AnOlderMetaPageDoesNotCount) {
    ClosedStore closed(path_);
    closed.flip(closed.meta().checkpoint % 2, 30);
    const Wreck damaged = wreck();
    EXPECT_FALSE(damaged.meta());
    EXPECT_NE(faults(damaged).find("was durable, but the newest in data is"), std::string::npos) << faults(damaged);
}

TEST_F(WreckTest, TheOlderMetaPageMayBeDamaged) {
    ClosedStore closed(path_);
    closed.flip((closed.meta().checkpoint + 1) % 2, 30);
    const Wreck damaged = wreck();
    EXPECT_TRUE(damaged.meta());
    EXPECT_EQ(faults(damaged).substr(0, 9), "1 faults\n");
}

TEST_F(WreckTest, AStoreIsKnownByItsLogOrByItsMetaPages) {
    ClosedStore(path_).data().write(std::vector<std::byte>(2 * kPageSize), 0);
    EXPECT_FALSE(wreck().meta());
    fs::resize_file(path_ / "log", 0);
    EXPECT_THROW(wreck(), FormatError) << "nothing tells that this is a store";
    fs::remove(path_ / "data");
    EXPECT_THROW(wreck(), NotFoundError);
}

TEST_F(WreckTest, ANewerMetaPageBesideOursIsAFault) {
    ClosedStore closed(path_);
    const PageId id = closed.meta().checkpoint % 2;
    ClosedStore::Page page = closed.read(id);
    const std::size_t end = storage::Meta::kSize - 8;
    codec::store<std::uint32_t>(&page[8], storage::kFormatVersion + 1);
    codec::store<std::uint64_t>(&page[end], XXH3_64bits(page.data(), end));
    closed.data().write(page, id * kPageSize);
    EXPECT_THROW(Store{path_}, FormatError);
    const Wreck newer = wreck();
    EXPECT_FALSE(newer.meta());
    EXPECT_NE(faults(newer).find("upgrade"), std::string::npos);
}

TEST_F(WreckTest, WritersAreKeptAway) {
    {
        const Store store(path_);
        EXPECT_THROW(wreck(), LockedError);
    }
    const Wreck held = wreck();
    EXPECT_THROW(Store{path_}, LockedError);
    EXPECT_NO_THROW(wreck()) << "one does not keep away another";
}

TEST_F(WreckTest, RootPagesAreFound) {
    const Wreck sound = wreck();
    const auto pager = storage::open_to_read(sound.data(), {UINT64_MAX / 2, sound.file_pages(), {}});
    std::map<std::string, storage::FoundRoot> newest;
    storage::find_roots(*pager, {}, [&](const storage::FoundRoot& root) {
        const auto known = newest.find(root.name);
        if (known == newest.end() || known->second.epoch < root.epoch) newest[root.name] = root;
    });
    for (const char* name : {"a", "b"}) {
        ASSERT_TRUE(newest.contains(name));
        EXPECT_EQ(newest[name].type, storage::ContainerType::list);
        const std::byte* page = pager->read(newest[name].page);
        EXPECT_EQ(structures::RootField::entries(page + containers::kEntriesField), 1200u);
    }
}

}  // namespace
}  // namespace pyrsistence::test
