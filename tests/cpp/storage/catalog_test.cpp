#include "storage/catalog.hpp"

#include <set>

#include "structures/pager_harness.hpp"

namespace pyrsistence::storage {
namespace {

using test::PagerHarness;

class CatalogTest : public ::testing::Test {
protected:
    Catalog catalog() { return {harness_.pager(), root_}; }
    ContainerId add(const std::string& name) {
        harness_.pager().reserve();
        return catalog().add(name.size() % 2 == 0 ? ContainerType::dict : ContainerType::list, name);
    }
    void check(ContainerId count) {
        PagerHarness::Account pages(harness_.pager());
        catalog().walk([&](PageId id) { pages.page(id); });
        pages.finish();
        ASSERT_EQ(root_.containers, count);
    }
    static std::string name(ContainerId id) { return "name " + std::to_string(id) + std::string(id % 50, 'x'); }

    PagerHarness harness_;
    CatalogRoot root_;
};

TEST_F(CatalogTest, FindsEveryContainerAtEveryLevel) {
    const ContainerId count = 3000;
    for (ContainerId id = 0; id < count; ++id) {
        ASSERT_EQ(add(name(id)), id);
        if (id % 97 == 0) harness_.seal(false);
        if (id % 500 == 0) check(id + 1);
    }
    EXPECT_EQ(root_.level, 1u);
    check(count);
    for (ContainerId id = 0; id < count; ++id) {
        const std::byte* page = catalog().read(id);
        ASSERT_EQ(RootPage::name(page), name(id));
        ASSERT_EQ(RootPage::type(page), name(id).size() % 2 == 0 ? ContainerType::dict : ContainerType::list);
    }
}

TEST_F(CatalogTest, AWriteMovesTheRootPageButNotWhatASealReaches) {
    for (ContainerId id = 0; id < 700; ++id) add(name(id));
    harness_.seal(false);
    const CatalogRoot sealed = root_;
    test::Random random(301);
    for (int i = 0; i < 3000; ++i) {
        const auto id = static_cast<ContainerId>(random.below(700));
        harness_.pager().reserve();
        codec::store<std::uint64_t>(catalog().write(id) + 100, id + 1);
        ASSERT_EQ(codec::load<std::uint64_t>(catalog().read(id) + 100), id + 1);
        if (i % 1000 == 999) harness_.seal(true);
    }
    check(700);
    CatalogRoot old = sealed;
    for (ContainerId id = 0; id < 700; ++id) {
        ASSERT_EQ(codec::load<std::uint64_t>(Catalog(harness_.pager(), old).read(id) + 100), 0u);
    }
}

TEST_F(CatalogTest, NamesMayFillTheirRoom) {
    const std::string longest(RootPage::kMaxName, 'n');
    add(longest);
    add("");
    EXPECT_EQ(RootPage::name(catalog().read(0)), longest);
    EXPECT_EQ(RootPage::name(catalog().read(1)), "");
    EXPECT_THROW((void)catalog().read(2), ClosedError);
}

}  // namespace
}  // namespace pyrsistence::storage
