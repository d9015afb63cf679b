#include "containers/verify.hpp"

#include "codec/hash.hpp"
#include "containers/models.hpp"
#include "damage.hpp"

namespace pyrsistence::test {
namespace {

using containers::DictRoot;
using containers::ListRoot;
using storage::ExtentRef;
using structures::BucketTree;
using structures::RootField;

constexpr std::uint64_t kSmall = 64 << 10;

/// A closed dict of `count` entries with trees of two levels or more, some of its values in extents.
class VerifyTest : public ::testing::Test {
protected:
    static void put(RawDict& dict, std::uint64_t key, std::size_t size) {
        Buffer out;
        put_uint(out, key);
        const std::size_t identity = out.size();
        put_bytes(out, as_bytes(content(key, size)));
        dict.set({out, identity, identity});
    }
    static void append(RawList& list, std::uint64_t number, std::size_t size) {
        Buffer out;
        put_bytes(out, as_bytes(content(number, size)));
        list.append(out);
    }
    static std::size_t size_of(std::uint64_t number) { return number % 500 == 7 ? 5000 + number % 9000 : 30; }

    ClosedStore dict(std::uint64_t count) {
        RawDict dict(path_);
        put(dict, 1, 100'000);  // leaves free pages
        for (std::uint64_t key = 0; key < count; ++key) put(dict, key * 7919, size_of(key));
        Buffer key;
        put_uint(key, 1);
        dict.erase(key);
        dict.check();
        dict.close();
        return ClosedStore(path_);
    }
    /// A dict whose index has a delta of several pages and a filter.
    struct DividedDict : OpenStore<RawDict> {
        DividedDict(const fs::path& path, std::uint64_t log_window) : OpenStore(path, nullptr, log_window, Mode::append, 16) {}
    };
    ClosedStore divided_dict(std::uint64_t count) {
        DividedDict open(path_, 0);
        for (std::uint64_t key = 0; key < count; ++key) {
            if (key % 2500 == 1000) open->checkpoint();  // slots for pages that are being written go to the base
            put(*open, key * 7919, 30);
        }
        open->check();
        open.close();
        return ClosedStore(path_);
    }
    static bool has(const RawDict& dict, std::uint64_t key) {
        Buffer identity;
        put_uint(identity, key);
        return dict.contains(identity);
    }
    ClosedStore list(std::uint64_t count) {
        RawList list(path_);
        for (std::uint64_t i = 0; i < count; ++i) append(list, i, size_of(i));
        list.check();
        list.close();
        return ClosedStore(path_);
    }
    /// Exactly these pages are named, each by one fault.
    static void expect_pages(const Verification& found, std::set<PageId> pages) {
        std::multiset<PageId> named;
        for (const Fault& fault : found.faults()) named.insert(fault.page);
        EXPECT_TRUE(std::ranges::equal(named, pages)) << to_string(found);
        EXPECT_EQ(found.fault_count(), pages.size());
    }
    template <class T>
    static const T& middle(const std::vector<T>& items) { return items.at(items.size() / 2); }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
};

/// No fault is invented, whatever has been done to a store.
template <class Raw, class Driver>
void expect_sound_under_churn(Driver driver, std::size_t operations, std::uint64_t log_window, Random& random) {
    TempDir dir(true);
    const fs::path path = dir / "store";
    while (driver.done() < operations && !::testing::Test::HasFailure()) {
        OpenStore<Raw> open(path, nullptr, log_window);
        for (std::size_t n = random.below(operations / 8 + 1); n > 0; --n) driver.step(&*open);
        if (random.chance(30)) open->compact();
        open.close();
        ClosedStore closed(path);
        const Verification found = closed.verify();
        ASSERT_EQ(found.fault_count(), 0u) << to_string(found) << " after " << driver.done();
        ASSERT_TRUE(found.complete());
        ASSERT_EQ(found.pages_unreached(), 0u);
    }
}

TEST_F(VerifyTest, FindsNothingInSoundDicts) {
    PYRSISTENCE_TRACE_SEED;
    Random random(901);
    expect_sound_under_churn<RawDict>(DictDriver(random(), 30'000, {2000, 0}), scaled(300'000), 1 << 20, random);
    expect_sound_under_churn<RawDict>(DictDriver(random(), 1500, {1 << 20, 10}), scaled(20'000), kSmall, random);
    expect_sound_under_churn<RawDict>(DictDriver(random(), 20, {40'000, 5}), scaled(20'000), kSmall, random);
}

TEST_F(VerifyTest, FindsNothingInSoundLists) {
    PYRSISTENCE_TRACE_SEED;
    Random random(902);
    expect_sound_under_churn<RawList>(ListDriver(random(), 20'000, {2000, 0}), scaled(200'000), 1 << 20, random);
    expect_sound_under_churn<RawList>(ListDriver(random(), 400, {1 << 20, 5}), scaled(10'000), kSmall, random);
}

TEST_F(VerifyTest, FindsNothingInSoundSortedContainers) {
    PYRSISTENCE_TRACE_SEED;
    Random random(905);
    expect_sound_under_churn<RawSorted>(SortedDriver(random(), 5'000, SortedType::dict, {2000, 0}), scaled(30'000), 1 << 20, random);
    constexpr SortedType kMulti = SortedType::multi_dict;
    expect_sound_under_churn<RawSortedOf<kMulti>>(SortedDriver(random(), 400, kMulti, {200'000, 5}), scaled(10'000), kSmall, random);
}

/// Integers in clusters empty whole buckets, so that inner nodes lose their first children.
TEST_F(VerifyTest, FindsNothingWhereKeysComeAndGoInRanges) {
    PYRSISTENCE_TRACE_SEED;
    Random random(903);
    std::set<std::uint64_t> model;
    {
        RawDict dict(path_);
        Buffer key;
        for (std::size_t round = 0; round < scaled(400); ++round) {
            const std::uint64_t begin = random.below(100) * 4096 + random.below(4096);
            const std::uint64_t end = begin + random.below(random.chance(20) ? 40'000 : 4096);
            const bool erase = round % 3 != 0;
            for (std::uint64_t number = begin; number < end; ++number) {
                if (!erase) {
                    put(dict, number, 1);
                    model.insert(number);
                } else if (model.erase(number) > 0) {
                    key.clear();
                    put_uint(key, number);
                    ASSERT_TRUE(dict.erase(key)) << number;
                }
            }
        }
        for (const std::uint64_t number : model) {
            key.clear();
            put_uint(key, number);
            ASSERT_TRUE(dict.contains(key)) << number;
        }
    }
    const Verification found = ClosedStore(path_).verify();
    EXPECT_EQ(found.fault_count(), 0u) << to_string(found);
}

TEST_F(VerifyTest, NamesThePageOfEveryKindWhoseChecksumIsWrong) {
    ClosedStore store = dict(60'000);
    const ClosedStore::Map map = store.map();
    ASSERT_GT(map.inner.size(), 1u);
    ASSERT_GT(map.buckets.size(), 100u);
    const std::vector<PageId> victims{map.roots[0], map.catalog[0],      middle(map.leaves), map.leaves.front(),
                                      map.inner[0], middle(map.buckets), map.hash_inner[0],  map.inner.back()};
    for (const PageId page : victims) {
        SCOPED_TRACE("page " + std::to_string(page));
        const ClosedStore::Page before = store.read(page);
        for (const std::size_t offset : {0u, 3u, 4u, 5u, 6u, 15u, 16u, 2000u, 4095u}) {
            store.flip(page, offset);
            expect_pages(store.verify(), {page});
            store.write(page, before);
        }
    }
    EXPECT_EQ(store.verify().fault_count(), 0u);
}

TEST_F(VerifyTest, NamesDamagedExtents) {
    ClosedStore store = dict(20'000);
    const auto extents = store.extents(store.map());
    ASSERT_GT(extents.size(), 20u);
    std::set<PageId> damaged;
    for (std::size_t i = 0; i < extents.size(); i += 5) {
        store.flip(extents[i].first + extents[i].pages() - 1, (extents[i].bytes - 1) % kPageSize);
        damaged.insert(extents[i].first);
    }
    const Verification found = store.verify();
    expect_pages(found, damaged);
    EXPECT_EQ(faults_with(found, ", in entry "), damaged.size());
    EXPECT_TRUE(found.complete());
}

TEST_F(VerifyTest, NamesDamagedPagesOfTheSpaceMap) {
    ClosedStore store = dict(20'000);
    const auto map = store.map();
    ASSERT_EQ(map.space.size(), 2u);
    for (const PageId page : map.space) {
        store.flip(page, 1);
        const Verification found = store.verify();
        EXPECT_EQ(found.fault_count(), 1u) << to_string(found);
        EXPECT_EQ(faults_with(found, "page " + std::to_string(page)), 1u) << to_string(found);
        EXPECT_EQ(found.faults()[0].part, Part::space);
        store.flip(page, 1);
    }
}

/// Bytes that mean something, changed so that the checksum fits: what they break is found.
TEST_F(VerifyTest, NamesWhatAValidPageGetsWrong) {
    using Leaf = ClosedStore::Leaf;
    using Inner = ClosedStore::Inner;
    using HashInner = ClosedStore::HashInner;
    using Index = ClosedStore::Index;
    ClosedStore store = dict(60'000);
    const auto map = store.map();
    const PageId root = map.roots[0], inner = map.inner[0], leaf = middle(map.leaves);
    const PageId bucket = middle(map.buckets), hash_inner = map.hash_inner[0];
    struct Case {
        const char* what;
        PageId page;
        std::function<void(std::byte*)> edit;
        std::string expected;  ///< in one fault at least
        std::size_t most = 1;  ///< faults
    };
    const auto root_field = [](std::size_t tree, auto edit) {
        return [=](std::byte* page) { edit(page + tree); };
    };
    const std::vector<Case> cases{
        {"entries of the root", root, root_field(DictRoot::kEntries, [](std::byte* r) { RootField::add_entries(r, 1); }),
         "counts 60001 entries, but there are 60000"},
        {"extents of the root", root, root_field(DictRoot::kEntries, [](std::byte* r) { RootField::add_extents(r, 5); }),
         "extents, but there are"},
        {"slots of the root", root,
         root_field(DictRoot::kIndex, [](std::byte* r) { RootField::add_entries(r, std::uint64_t{0} - 3); }),
         "counts 59997 entries"},
        {"height of the root", root,
         root_field(DictRoot::kEntries, [](std::byte* r) { RootField::set_height(r, RootField::height(r) + 1); }),
         "where kind 5", 2},
        {"absurd height", root, root_field(DictRoot::kIndex, [](std::byte* r) { RootField::set_height(r, 200); }),
         "a tree of height 200"},
        {"an empty tree that has entries", root,
         root_field(DictRoot::kIndex, [](std::byte* r) { RootField::set_page(r, 0); }), "60000 entries are in no slot", 500},
        {"a page behind the end", root,
         root_field(DictRoot::kIndex, [](std::byte* r) { RootField::set_page(r, PageId{1} << 40); }),
         "a root refers to 1 pages from"},
        {"ids not given out", root, [](std::byte* page) { DictRoot::set_next_id(page, 59'902); },
         "100 entries have ids that were not given out, the first of them 59902"},
        {"a second index that is none", root, root_field(DictRoot::kDelta, [](std::byte* r) { RootField::set_page(r, 77); }),
         "a root refers to page 77, which is reached from elsewhere"},
        {"a second index without a filter", root,
         [](std::byte* page) {
             std::memcpy(page + DictRoot::kDelta, page + DictRoot::kIndex, RootField::kSize);
             std::memset(page + DictRoot::kIndex, 0, RootField::kSize);
         },
         "a second index without a filter"},
        {"type", root, [](std::byte* page) { page[5] = std::byte{15}; }, "unknown type 15"},
        {"level of a leaf", leaf, [](std::byte* page) { page[5] = std::byte{1}; }, "kind 4 level 1 where kind 4 level 0"},
        {"kind of a leaf", leaf, [](std::byte* page) { page[4] = std::byte{2}; }, "a damaged catalog page"},
        {"epoch of a leaf", leaf, [](std::byte* page) { page[13] = std::byte{1}; }, "after the checkpoint's"},
        {"slots of a leaf", leaf, [](std::byte* page) { storage::set_page_count(page, Leaf::slots(page) - 1); },
         "do not add up", 2},
        {"holes of a leaf", leaf, [](std::byte* page) { Leaf::set_holes(page, 1); }, "a wrong number of holes"},
        {"first id of a leaf", leaf, [](std::byte* page) { Leaf::set_base(page, Leaf::base(page) + 5); },
         "ids out of order", 500},
        {"a record", leaf, [](std::byte* page) { page[kPageSize - 1 - Leaf::end(page, 3) + 1] ^= std::byte{0x80}; },
         "", 3},
        {"a child count", inner, [](std::byte* page) { Inner::add(page, storage::page_count(page) - 1, 9); },
         "the entry counts of 1 of its"},
        {"two child counts", inner,
         [](std::byte* page) {
             Inner::add(page, 3, 9);
             Inner::add(page, 4, std::uint64_t{0} - 9);
         },
         "the entry counts of 2 of its"},
        {"a separator", inner,
         [](std::byte* page) { Inner::set_separator(page, 4, Inner::separator(page, 5) - 1); }, "ids out of order", 500},
        {"a child behind the end", inner, [](std::byte* page) { Inner::set_child(page, 4, PageId{1} << 40); },
         "a child out of range"},
        {"a child of another kind", inner, [bucket](std::byte* page) { Inner::set_child(page, 4, bucket); },
         "its child, page " + std::to_string(bucket) + ": kind 6"},
        {"a child twice", inner, [](std::byte* page) { Inner::set_child(page, 4, Inner::child(page, 3)); },
         "which is reached from elsewhere, too"},
        {"order of hashes", bucket,
         [](std::byte* page) { std::swap_ranges(page + 16, page + 27, page + 16 + 11 * 100); }, "a bucket out of order"},
        {"hashes of another bucket", bucket, [](std::byte* page) { page[16] = page[17] = page[18] = page[19] = page[20] = std::byte{0}; },
         "hashes out of order", 4},
        {"an id in the index", bucket, [](std::byte* page) { codec::store48(page + 16 + 11 * 5 + 5, 1'000'000); },
         "the index names entry 1000000, which does not exist", 2},
        {"another id in the index", bucket,
         [](std::byte* page) { codec::store48(page + 16 + 11 * 5 + 5, Index::id_at(page, 6)); }, "whose key has another hash", 2},
        {"a slot too few", bucket, [](std::byte* page) { storage::set_page_count(page, storage::page_count(page) - 1); },
         "1 entries are in no slot of the index", 2},
        {"an empty bucket", bucket, [](std::byte* page) { storage::set_page_count(page, 0); }, "an empty bucket", 3},
        {"a separator of the index", hash_inner,
         [](std::byte* page) { HashInner::set_separator(page, 4, HashInner::separator(page, 5)); }, "hashes out of order"},
        {"two separators of the index", hash_inner,
         [](std::byte* page) { HashInner::set_separator(page, 4, HashInner::separator(page, 6)); }, "separators out of order"},
    };
    for (const Case& one : cases) {
        SCOPED_TRACE(one.what);
        const ClosedStore::Page before = store.read(one.page);
        store.change(one.page, one.edit);
        const Verification found = store.verify();
        EXPECT_GE(found.fault_count(), 1u);
        EXPECT_LE(found.fault_count(), one.most) << to_string(found);
        EXPECT_GE(faults_with(found, one.expected), 1u) << to_string(found);
        Verification::Options strict;
        strict.throw_first = true;
        EXPECT_THROW(store.verify(strict), CorruptionError);
        store.write(one.page, before);
    }
    EXPECT_EQ(store.verify().fault_count(), 0u);
}

TEST_F(VerifyTest, NamesDamagedPagesOfADividedIndex) {
    ClosedStore store = divided_dict(60'000);
    const auto map = store.map();
    ASSERT_GT(map.delta.size(), 1u);
    ASSERT_GT(map.filter.size(), 10u);
    for (const PageId page : {middle(map.buckets), middle(map.delta), middle(map.filter)}) {
        store.flip(page);
        expect_pages(store.verify(), {page});
        store.flip(page);
    }
}

TEST_F(VerifyTest, NamesWhatIsWrongInADividedIndex) {
    using Index = ClosedStore::Index;
    ClosedStore store = divided_dict(60'000);
    const auto map = store.map();
    const PageId fullest = *std::ranges::max_element(
        map.delta, {}, [&](PageId id) { return storage::page_count(store.read(id).data()); });
    const ClosedStore::Page delta = store.read(fullest);
    // A slot of the base whose tag lies between two of the delta.
    const unsigned place = storage::page_count(delta.data()) / 2;
    std::uint64_t tag = 0;
    EntryId id = 0;
    for (const PageId bucket : map.buckets) {
        const ClosedStore::Page page = store.read(bucket);
        for (unsigned i = 0; i < storage::page_count(page.data()); ++i) {
            const std::uint64_t other = Index::tag_at(page.data(), i);
            if (other <= Index::tag_at(delta.data(), place - 1) || other >= Index::tag_at(delta.data(), place + 1)) continue;
            tag = other;
            id = Index::id_at(page.data(), i);
        }
    }
    ASSERT_NE(id, 0u);
    const auto expect = [&](PageId page, const std::function<void(std::byte*)>& edit, std::string_view expected) {
        SCOPED_TRACE(expected);
        const ClosedStore::Page before = store.read(page);
        store.change(page, edit);
        const Verification found = store.verify();
        EXPECT_GE(faults_with(found, expected), 1u) << to_string(found);
        store.write(page, before);
    };
    expect(middle(map.filter), [](std::byte* page) { std::memset(page + 64, 0, kPageSize - 64); }, "the filter of the index denies");
    expect(map.roots[0], [](std::byte* page) { std::memset(page + DictRoot::kFilter, 0, RootField::kSize); },
           "a second index without a filter");
    const auto set_slot = [&](std::byte* page, EntryId of) {
        std::byte* slot = page + Index::kSlots + Index::kSlot * place;
        codec::store<std::uint32_t>(slot, static_cast<std::uint32_t>(tag));
        slot[4] = std::byte(tag >> 32);
        codec::store48(slot + 5, of);
    };
    expect(fullest, [&](std::byte* page) { set_slot(page, id); }, "a second time");
    expect(fullest, [&](std::byte* page) { set_slot(page, 999'999); }, "names entry 999999, which does not exist");
    EXPECT_EQ(store.verify().fault_count(), 0u);
}

/// A key in the base and, under another id, in the delta: whoever looks finds the first one only.
TEST_F(VerifyTest, FindsAKeyThatIsInBaseAndDelta) {
    ClosedStore store = divided_dict(60'000);
    const PageId filter = middle(store.map().filter);
    const ClosedStore::Page before = store.read(filter);
    store.change(filter, [](std::byte* page) { std::memset(page + 64, 0, kPageSize - 64); });
    {
        DividedDict open(path_, 0);
        for (std::uint64_t key = 0; open->size() < 60'020; ++key) put(*open, key * 7919, 30);  // some are denied
        open.close();
    }
    store.look_again();
    store.write(filter, before);
    EXPECT_GE(faults_with(store.verify(), "has a key that is there twice"), 1u);
}

/// What cannot be read of an index keeps out the keys that need it and no other; recovery works, and nothing is lost.
TEST_F(VerifyTest, ADamagedPageOfADividedIndexStopsOnlyItsKeys) {
    constexpr std::uint64_t kOld = 60'000, kNew = 4'000;
    ClosedStore store = divided_dict(kOld);
    const auto map = store.map();
    const auto tags_of = [&](PageId bucket) {
        const auto page = store.read(bucket);
        return std::pair(BucketTree::tag_at(page.data(), 0), BucketTree::tag_at(page.data(), storage::page_count(page.data()) - 1));
    };
    const std::size_t at = map.delta.size() / 2;
    ASSERT_GT(map.delta.size(), at + 1);
    const std::uint64_t low = tags_of(map.delta[at - 1]).second, high = tags_of(map.delta[at + 1]).first;
    for (const PageId page : {middle(map.buckets), map.delta[at], middle(map.filter)}) {
        TempDir dir(true);
        const fs::path path = dir / "store", copy = dir / "copy";
        copy_store(path_, path);
        ClosedStore damaged(path);
        damaged.flip(page);
        std::set<std::uint64_t> kept;
        {
            DividedDict open(path, kSmall);
            for (std::uint64_t key = kOld; key < kOld + kNew; ++key) {
                try {
                    put(*open, key * 7919, 30);
                    kept.insert(key);
                } catch (const CorruptionError& error) {
                    EXPECT_TRUE(std::string(error.what()).starts_with("page " + std::to_string(page) + " ")) << error.what();
                    Buffer identity;
                    put_uint(identity, key * 7919);
                    const std::uint64_t tag = BucketTree::tag_of(codec::key_hash(identity, store.meta().hash_seed));
                    EXPECT_TRUE(page != map.delta[at] || (low <= tag && tag <= high)) << "does not need it";
                }
            }
            copy_as_killed(*open, copy);
            open.close();
        }
        EXPECT_GT(kept.size(), kNew / 10) << "of other hashes each time";
        for (const fs::path& one : {path, copy}) {
            DividedDict open(one, kSmall);
            for (const std::uint64_t key : kept) ASSERT_TRUE(has(*open, key * 7919)) << key;
            open.close();
            ClosedStore(one).flip(page);
            DividedDict mended(one, kSmall);
            mended->check();
            EXPECT_EQ(mended->size(), kOld + kept.size());
        }
    }
}

TEST_F(VerifyTest, NamesWhatIsWrongInAList) {
    using Leaf = ClosedStore::Leaf;
    using Inner = ClosedStore::Inner;
    ClosedStore store = list(60'000);
    const auto map = store.map();
    ASSERT_TRUE(map.buckets.empty());
    const auto expect = [&](PageId page, const std::function<void(std::byte*)>& edit, std::string_view expected) {
        const ClosedStore::Page before = store.read(page);
        store.change(page, edit);
        const Verification found = store.verify();
        EXPECT_EQ(found.fault_count(), 1u) << to_string(found);
        EXPECT_EQ(faults_with(found, expected), 1u) << to_string(found);
        store.write(page, before);
    };
    expect(middle(map.leaves), [](std::byte* page) { Leaf::set_base(page, 1); }, "ids out of order");
    expect(map.inner[0], [](std::byte* page) { Inner::set_separator(page, storage::page_count(page) - 1, 1); }, "separators");
    expect(map.inner.back(), [](std::byte* page) { Inner::add(page, storage::page_count(page) - 1, 1); }, "do not add up");
    expect(map.roots[0], [](std::byte* page) { RootField::add_entries(page + ListRoot::kItems, 1); }, "counts 60001");
}

TEST_F(VerifyTest, ReportsEveryFaultOfAStore) {
    ClosedStore store = dict(60'000);
    const auto map = store.map();
    const auto extents = store.extents(map);
    std::set<PageId> damaged;
    const auto damage = [&](PageId page) {
        store.flip(page, 100 + damaged.size());
        damaged.insert(page);
    };
    for (std::size_t i = 3; i < map.leaves.size(); i += 40) damage(map.leaves[i]);
    for (std::size_t i = 3; i < map.buckets.size(); i += 40) damage(map.buckets[i]);
    std::set<PageId> lost;  // extents of leaves that are damaged themselves are out of reach
    for (const PageId id : damaged) lost.insert(id);
    const Verification before = store.verify();
    for (std::size_t i = 0; i < extents.size(); i += 10) {
        if (before.reached(extents[i].first)) damage(extents[i].first);
    }
    ASSERT_GT(damaged.size(), 20u);
    expect_pages(store.verify(), damaged);
    // Whole subtrees fall away: what lies below is not reported, what lies beside is.
    const auto level1 = map.inner_of_level(store, 1);
    ASSERT_GT(level1.size(), 1u);
    damage(level1[0]);
    const ClosedStore::Page node = store.read(level1[0]);
    for (unsigned i = 0; i < storage::page_count(node.data()); ++i) {
        const PageId leaf = ClosedStore::Inner::child(node.data(), i);
        damaged.erase(leaf);
    }
    const Verification found = store.verify();
    EXPECT_FALSE(found.complete());
    EXPECT_GT(found.pages_unreached(), 150u);
    for (const Fault& fault : found.faults()) EXPECT_TRUE(damaged.contains(fault.page)) << fault.text;
    EXPECT_EQ(faults_of(found, level1[0]), 1u);
    std::size_t extents_below = 0;
    for (const PageId page : damaged) extents_below += faults_of(found, page) == 0;
    EXPECT_LT(extents_below, 10u) << "only extents below the node may be missing";
}

TEST_F(VerifyTest, ReportsPagesThatNobodyReachesAndReachablePagesThatAreFree) {
    ClosedStore store = dict(20'000);
    const auto map = store.map();
    const storage::Meta& meta = store.meta();
    std::vector<PageId> unused;
    const storage::SpaceMap space = storage::open_space_map(store.data(), meta.pages);
    for (PageId id = 2; id < meta.pages.page_count; ++id) {
        if (!space.live(id)) unused.push_back(id);
    }
    ASSERT_GT(unused.size(), 8u);
    const std::vector<PageId> leaked{unused[0], unused[3], unused[4]};
    const std::set<PageId> given_away{map.leaves[5], map.buckets[7]};
    std::map<PageId, bool> changes;
    for (const PageId id : leaked) changes[id] = true;
    for (const PageId id : given_away) changes[id] = false;
    store.set_in_use(changes);

    const Verification found = store.verify();
    const bool adjacent = unused[4] == unused[3] + 1;
    EXPECT_EQ(found.fault_count(), leaked.size() - adjacent + given_away.size()) << to_string(found);
    EXPECT_EQ(found.pages_unreached(), leaked.size());
    for (const PageId id : given_away) EXPECT_EQ(faults_of(found, id), 1u);
    for (const Fault& fault : found.faults()) EXPECT_EQ(fault.part, Part::space);
    std::vector<PageId> differing;
    Verification again(meta.pages.page_count);
    const auto pager = storage::open_to_read(store.data(), meta.pages);
    const auto view = storage::open_space_map(store.data(), meta.pages);
    storage::verify_state(*pager, meta.catalog, storage::account_of(view), containers::container_walk(meta.hash_seed), again);
    again.compare([&](PageId id) { return view.live(id); }, [&](PageId first, std::uint64_t pages, bool reached) {
        for (PageId id = first; id < first + pages; ++id) {
            differing.push_back(id);
            EXPECT_EQ(reached, given_away.contains(id));
        }
    });
    std::set<PageId> expected(leaked.begin(), leaked.end());
    expected.insert(given_away.begin(), given_away.end());
    EXPECT_TRUE(std::ranges::equal(differing, expected));
}

/// Random bytes in random pages, with and without a checksum that fits, end in faults or nothing: no crash, no
/// hang, no exception. With a checksum that does not fit, every reachable page is named.
TEST_F(VerifyTest, SurvivesRandomDamage) {
    PYRSISTENCE_TRACE_SEED;
    Random random(904);
    ClosedStore store = dict(30'000);
    const auto map = store.map();
    std::vector<PageId> pages;
    for (const auto* some : {&map.catalog, &map.roots, &map.leaves, &map.inner, &map.buckets, &map.hash_inner}) {
        for (std::size_t i = 0; i < some->size(); i += 1 + some->size() / 12) pages.push_back((*some)[i]);
    }
    for (std::size_t round = 0; round < scaled(300) && !HasFailure(); ++round) {
        std::map<PageId, ClosedStore::Page> before;
        for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
            const PageId page = pages[random.below(pages.size())];
            before.try_emplace(page, store.read(page));
            store.change(page, [&](std::byte* bytes) {
                for (std::uint64_t k = 1 + random.below(4); k > 0; --k) {
                    const std::size_t at = random.chance(40) ? 4 + random.below(28) : 4 + random.below(kPageSize - 4);
                    bytes[at] = std::byte(random.chance(30) ? 0 : random.below(256));
                }
            });
        }
        ASSERT_NO_THROW((void)store.verify());
        for (const auto& [page, bytes] : before) store.write(page, bytes);
    }
    EXPECT_EQ(store.verify().fault_count(), 0u);
}

TEST_F(VerifyTest, TellsOfItsProgressAndCanBeEnded) {
    ClosedStore store = dict(60'000);
    std::uint64_t calls = 0, last = 0, total = 0;
    Verification::Options options;
    options.progress = [&](std::uint64_t done, std::uint64_t of) {
        EXPECT_GE(done, last);
        EXPECT_LE(done, of);
        ++calls;
        last = done;
        total = of;
    };
    const Verification found = store.verify(options);
    EXPECT_GE(calls, found.pages_reached() / 1000);
    EXPECT_LT(total - last, 1000u) << last << " of " << total;
    options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("enough"); };
    EXPECT_THROW(store.verify(options), std::runtime_error);
}

TEST_F(VerifyTest, KeepsSomeFaultsAndCountsAll) {
    ClosedStore store = dict(60'000);
    const auto map = store.map();
    for (const PageId leaf : map.leaves) store.flip(leaf);
    Verification::Options options;
    options.most_faults = 10;
    const Verification found = store.verify(options);
    EXPECT_EQ(found.faults().size(), 10u);
    EXPECT_EQ(found.fault_count(), map.leaves.size());
}

}  // namespace
}  // namespace pyrsistence::test
