#include "storage/verification.hpp"

#include "containers/models.hpp"
#include "damage.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {
namespace {

TEST(VerificationTest, EveryPageIsReachedOnceAndExists) {
    Verification out(100);
    EXPECT_TRUE(out.reach(2, 1, 0));
    EXPECT_TRUE(out.reach(90, 10, 2));
    EXPECT_EQ(out.fault_count(), 0u);
    EXPECT_FALSE(out.reach(2, 1, 5));
    EXPECT_FALSE(out.reach(80, 11, 5)) << "its last page is taken";
    EXPECT_FALSE(out.reach(1, 1, 5));
    EXPECT_FALSE(out.reach(0, 1, 5));
    EXPECT_FALSE(out.reach(100, 1, 5));
    EXPECT_FALSE(out.reach(50, 51, 5));
    EXPECT_FALSE(out.reach(50, UINT64_MAX, 5));
    EXPECT_FALSE(out.reach(50, 0, 5));
    EXPECT_EQ(out.fault_count(), 8u);
    EXPECT_EQ(faults_of(out, 5), 8u);
    EXPECT_FALSE(out.complete());
    EXPECT_EQ(out.pages_reached(), 11u + 10u);
    EXPECT_TRUE(out.reached(80) && out.reached(90) && !out.reached(79) && !out.reached(1000));
    out.disown(2);
    EXPECT_TRUE(out.reach(2, 1, 7));
}

/// Records that all refer to the same long extent would take a walk over its pages each.
TEST(VerificationTest, OverlappingRunsTakeNoMoreTimeThanThereArePages) {
    constexpr PageId kPages = 2'000'000;
    Verification out(kPages);
    EXPECT_TRUE(out.reach(2, kPages - 2, 0));
    for (PageId first = 2; first < 200'000; ++first) out.reach(first, kPages - first, 1);
    EXPECT_EQ(out.fault_count(), 200'000u - 2);
    EXPECT_EQ(out.pages_reached(), kPages - 2);
}

TEST(VerificationTest, ThrowsTheFirstFaultIfToldTo) {
    Verification::Options options;
    options.throw_first = true;
    Verification out(10, options);
    try {
        out.reach(10, 1, 3);
        FAIL();
    } catch (const CorruptionError& error) {
        EXPECT_EQ(std::string(error.what()).find("page 3 of data: it refers to 1 pages from 10 on"), 0u) << error.what();
        EXPECT_NE(std::string(error.what()).find("; restore a backup"), std::string::npos);
    }
    EXPECT_THROW(out.fault(3, CorruptionError("page 4: so; do that")), CorruptionError);
}

TEST(VerificationTest, LeavesTheNextStepOutOfFindings) {
    Verification out(10);
    out.enter(Part::index, 7, "calls");
    out.fault(3, CorruptionError("page 4 of data: so; do this; or that"), "entry 5");
    ASSERT_EQ(out.faults().size(), 1u);
    EXPECT_EQ(out.faults()[0].text, "container 'calls', page 4 of data: so, in entry 5");
    EXPECT_EQ(out.faults()[0].page, 3u);
    EXPECT_EQ(out.faults()[0].container, ContainerId{7});
    EXPECT_EQ(out.faults()[0].part, Part::index);
}

TEST(VerificationTest, ComparesRunsAndForgivesGroupsThatCannotBeRead) {
    constexpr PageId kGroup = storage::SpaceMap::kGroupPages, kPages = 3 * kGroup;
    Verification out(kPages);
    std::set<PageId> live;
    const auto mark = [&](PageId first, PageId end, bool reached, bool used) {
        if (reached) out.reach(first, end - first, 0);
        for (PageId id = first; used && id < end; ++id) live.insert(id);
    };
    mark(2, 100, true, true);
    mark(100, 110, false, true);       // leaked
    mark(110, 115, true, false);       // given away
    mark(kGroup + 5, kGroup + 90, false, true);
    mark(2 * kGroup - 3, 2 * kGroup, true, false);
    mark(2 * kGroup, 2 * kGroup + 4, true, false);
    mark(kPages - 2, kPages, false, true);
    const auto answer = [&](PageId id) {
        if (id / kGroup == 1) throw CorruptionError("page 9 of data: the checksum of a block differs; restore a backup");
        return live.contains(id);
    };
    struct Run {
        PageId first;
        std::uint64_t pages;
        bool reached;
        bool operator==(const Run&) const = default;
    };
    std::vector<Run> runs;
    out.compare(answer, [&](PageId first, std::uint64_t pages, bool reached) { runs.push_back({first, pages, reached}); });
    EXPECT_EQ(runs, (std::vector<Run>{{100, 10, false}, {110, 5, true}, {2 * kGroup, 4, true}, {kPages - 2, 2, false}}));
    EXPECT_EQ(out.fault_count(), 1u) << "for the group";
    out.finish(answer);
    EXPECT_EQ(out.fault_count(), 1u + 1 + 4) << to_string(out);
    EXPECT_EQ(out.pages_unreached(), 12u);
    out.lose_pages();
    out.finish(answer);
    EXPECT_EQ(out.fault_count(), 6u + 1 + 2) << "pages that nothing reaches may lie below damage";
}

TEST(VerificationTest, FindingsOfAnotherStateAreTakenOverOnce) {
    Verification out(10, {.most_faults = 3}), other(10, {.most_faults = 3});
    for (const char* what : {"a", "b"}) out.fault(2, what);
    for (const char* what : {"b", "c", "d", "e"}) other.fault(2, what);
    out.add_findings(other, "snapshot 'x'");
    ASSERT_EQ(out.faults().size(), 3u);
    EXPECT_EQ(out.faults()[2].text, "snapshot 'x', page 2 of data: c");
    EXPECT_EQ(out.fault_count(), 5u);
}

/// A store of many containers, whose catalog has two levels.
class VerifyStoreTest : public ::testing::Test {
protected:
    static constexpr int kContainers = 1500;

    void SetUp() override {
        Store store(path_);
        for (int i = 0; i < kContainers; ++i) {
            const std::string name = "list " + std::to_string(i);
            store.list<std::int64_t>(name).push_back(i);
        }
        for (int i = 0; i < kContainers; i += 7) store.remove("list " + std::to_string(i));
        store.dict<std::int64_t, std::string>("dict")[5] = "five";
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
};

TEST_F(VerifyStoreTest, EveryContainerIsWalkedUnderItsName) {
    ClosedStore store(path_);
    EXPECT_EQ(store.meta().catalog.level, 1u);
    const Verification found = store.verify();
    EXPECT_EQ(found.fault_count(), 0u) << to_string(found);
    const auto map = store.map();
    EXPECT_EQ(found.entries(), map.roots.size());
    const PageId page = map.leaves[100];
    store.flip(page);
    const Verification damaged = store.verify();
    ASSERT_EQ(damaged.fault_count(), 1u) << to_string(damaged);
    EXPECT_NE(damaged.faults()[0].text.find("container 'list "), std::string::npos) << damaged.faults()[0].text;
    EXPECT_EQ(damaged.entries(), found.entries() - 1);
}

TEST_F(VerifyStoreTest, TwoContainersOfOneName) {
    ClosedStore store(path_);
    const auto& roots = store.map().roots;
    store.change(roots[3], [](std::byte* page) { storage::RootPage::set_name(page, "list 1"); });
    const Verification damaged = store.verify();
    ASSERT_EQ(damaged.fault_count(), 1u) << to_string(damaged);
    EXPECT_NE(damaged.faults()[0].text.find("another container has this name"), std::string::npos);
}

TEST_F(VerifyStoreTest, DamageToTheCatalogLosesOnlyWhatLiesBelow) {
    ClosedStore store(path_);
    const auto map = store.map();
    const std::uint64_t all = map.roots.size();
    ASSERT_EQ(map.catalog.size(), 4u);
    store.flip(map.roots[3]);
    store.flip(map.roots[700]);
    EXPECT_EQ(store.verify().entries(), all - 2);
    EXPECT_EQ(store.verify().fault_count(), 2u);
    store.flip(map.catalog[2]);
    const Verification found = store.verify();
    EXPECT_EQ(found.fault_count(), 2u) << "root 700 lies below: " << to_string(found);
    EXPECT_EQ(faults_of(found, map.catalog[2]), 1u);
    EXPECT_GT(found.entries(), all / 3);
    EXPECT_FALSE(found.complete());
    store.flip(map.catalog[2]);
    store.change(map.catalog[1], [&](std::byte* page) { codec::store48(page + 16 + 6, map.catalog[0]); });
    store.change(map.catalog[1], [&](std::byte* page) { codec::store48(page + 16 + 12, map.leaves[9]); });
    const Verification twice = store.verify();
    EXPECT_EQ(faults_of(twice, map.catalog[1]), 2u) << to_string(twice);
    EXPECT_EQ(faults_with(twice, "the catalog that belongs there"), 1u) << to_string(twice);
}

TEST_F(VerifyStoreTest, AbsurdCatalogs) {
    ClosedStore store(path_);
    const storage::Meta meta = store.meta();
    storage::Meta bad = meta;
    bad.catalog.level = 200;
    EXPECT_THROW(store.write_meta(bad), CorruptionError) << "read back";
    bad.catalog = {0, 0, 5};
    store.write_meta(bad);
    EXPECT_EQ(faults_with(store.verify(), "the catalog is missing"), 1u);
    bad.catalog = {meta.catalog.page, 1, 10};
    store.write_meta(bad);
    EXPECT_EQ(faults_with(store.verify(), "but 10 were made"), 1u);
    bad.catalog = {meta.catalog.page, 0, meta.catalog.containers};
    store.write_meta(bad);
    EXPECT_GE(store.verify().fault_count(), 1u);
    bad = meta;
    bad.pages.space_map.checksum ^= 1;
    store.write_meta(bad);
    const Verification found = store.verify();
    EXPECT_EQ(found.fault_count(), 1u) << to_string(found);
    EXPECT_EQ(found.faults()[0].part, Part::space);
}

TEST_F(VerifyStoreTest, NamedSnapshotsAreVerified) {
    {
        Store store(path_);
        store.keep_snapshot("before");
        store.list<std::int64_t>("list 5").push_back(9);
        store.remove("list 6");
    }
    ClosedStore store(path_);
    EXPECT_EQ(store.verify().fault_count(), 0u) << to_string(store.verify());
    const storage::SnapshotTable table = storage::read_snapshots(store.data(), store.meta());
    ASSERT_EQ(table.size(), 1u);
    // A page that only the snapshot reaches, and one that both do.
    std::vector<PageId> now, then;
    const auto leaves = [&](const storage::PagerState& state, storage::CatalogRoot catalog, std::vector<PageId>& found) {
        const auto pager = storage::open_to_read(store.data(), state);
        storage::Catalog(*pager, catalog).for_each([&](ContainerId, const std::byte* root) {
            found.push_back(structures::RootField::page(root + containers::kEntriesField));
            return true;
        });
    };
    leaves(store.meta().pages, store.meta().catalog, now);
    leaves(table[0].pages, table[0].catalog, then);
    const auto only = std::ranges::find_if(then, [&](PageId id) { return std::ranges::find(now, id) == now.end(); });
    ASSERT_TRUE(only != then.end());
    store.flip(*only);
    store.flip(now[50]);
    const Verification found = store.verify();
    EXPECT_EQ(found.fault_count(), 2u) << to_string(found);
    EXPECT_EQ(faults_with(found, "snapshot 'before', container 'list "), 1u) << to_string(found);
}

TEST_F(VerifyStoreTest, MetaPages) {
    ClosedStore store(path_);
    Verification sound(10);
    storage::verify_meta_pages(store.data(), sound);
    EXPECT_EQ(sound.fault_count(), 0u);
    const PageId older = 1 - store.meta().checkpoint % 2;
    store.flip(older, 30);
    Verification damaged(10);
    storage::verify_meta_pages(store.data(), damaged);
    EXPECT_EQ(damaged.fault_count(), 1u) << to_string(damaged);
    EXPECT_EQ(damaged.faults()[0].page, older);
}

/// The writer goes on while its last checkpoint is verified.
TEST_F(VerifyStoreTest, BesideAWriter) {
    PYRSISTENCE_TRACE_SEED;
    const fs::path path = dir_ / "busy";
    RawDict dict(path, {.memory_limit = 4 << 20});
    DictDriver driver(908, 20'000, {3000, 1});
    for (std::size_t i = 0; i < scaled(50'000); ++i) driver.step(&dict);
    std::atomic<bool> stop = false;
    std::atomic<unsigned> done = 0;
    std::thread verifier([&] {
        while (!stop) {
            const Report report = dict.verify();
            EXPECT_EQ(report.fault_count, 0u) << (report.faults.empty() ? "" : report.faults[0]);
            ++done;
        }
    });
    for (std::size_t i = 0; i < scaled(100'000) || done < 2; ++i) driver.step(&dict);
    stop = true;
    verifier.join();
    EXPECT_EQ(driver.difference(dict), "");
    EXPECT_EQ(dict.verify().entries, driver.size());
    dict.check();
}

}  // namespace
}  // namespace pyrsistence::test
