#include "containers/salvage.hpp"

#include <fstream>

#include "containers/world.hpp"
#include "damage.hpp"

namespace pyrsistence::test {
namespace {

constexpr std::uint64_t kSmall = 64 << 10, kMedium = 1 << 20;
constexpr std::uint64_t kLarge = 64 << 20;  ///< no checkpoint but those that are asked for

class SalvageTest : public ::testing::Test {
protected:
    static void put_value(Buffer& out, std::uint64_t number, std::size_t size) {
        put_bytes(out, as_bytes(content(number, size)));
    }
    static void set(RawDict& dict, std::uint64_t key, std::uint64_t number, std::size_t size = 100) {
        Buffer out;
        put_uint(out, key);
        const std::size_t identity = out.size();
        put_value(out, number, size);
        dict.set({out, identity, identity});
    }
    static void erase(RawDict& dict, std::uint64_t key) {
        Buffer out;
        put_uint(out, key);
        dict.erase(out);
    }
    /// Key to the number that its value was made from; fails for a value that was not.
    static std::map<std::uint64_t, std::string> read(const RawDict& dict) {
        std::map<std::uint64_t, std::string> found;
        Chunk chunk;
        for (EntryId from = 0;; from = chunk.next) {
            dict.read(from, 1000, chunk);
            for (std::size_t i = 0; i < chunk.items.size(); ++i) {
                const codec::EntryView entry = codec::split_entry(chunk.entry(i));
                Reader key(entry.identity);
                found[key.read_integer().low] = as_text(entry.value);
            }
            if (!chunk.more) return found;
        }
    }
    static std::string value(std::uint64_t number, std::size_t size = 100) {
        Buffer out;
        put_value(out, number, size);
        return std::string(as_text(out));
    }
    static void append(RawList& list, std::uint64_t number, std::size_t size = 100) {
        list.append(as_bytes(value(number, size)));
    }
    static std::vector<std::string> read(const RawList& list) {
        std::vector<std::string> found;
        Chunk chunk;
        for (std::uint64_t from = 0;; from = chunk.next) {
            list.read(from, 1000, chunk);
            for (std::size_t i = 0; i < chunk.items.size(); ++i) found.emplace_back(as_text(chunk.entry(i)));
            if (!chunk.more) return found;
        }
    }
    /// The pages of a file that are not all zeros, by offset. (Reading a hole may fill it.)
    static std::map<off_t, std::string> written(const fs::path& path) {
        std::map<off_t, std::string> pages;
        const std::string zeros(kPageSize, '\0');
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        for (off_t at = 0; (at = ::lseek(file, at, SEEK_DATA)) >= 0; at += static_cast<off_t>(kPageSize)) {
            at -= at % static_cast<off_t>(kPageSize);
            std::string page = zeros;
            if (::pread(file, page.data(), page.size(), at) <= 0) break;
            if (page != zeros) pages[at] = std::move(page);
        }
        ::close(file);
        return pages;
    }
    static std::map<fs::path, std::map<off_t, std::string>> files_of(const fs::path& path) {
        std::map<fs::path, std::map<off_t, std::string>> all;
        for (const auto& entry : fs::directory_iterator(path)) all[entry.path().filename()] = written(entry.path());
        return all;
    }
    static std::uint64_t find(const fs::path& file, const std::string& text) {
        for (const auto& [offset, page] : written(file)) {
            const std::size_t at = page.find(text);
            if (at != std::string::npos) return static_cast<std::uint64_t>(offset) + at;
        }
        ADD_FAILURE() << "not in " << file;
        return 0;
    }
    static void flip(const fs::path& file, std::uint64_t offset) {
        const auto open = os::FileSystem::posix().open(file, os::Access::read_write);
        std::array<std::byte, 1> byte{};
        open->read(byte, offset);
        byte[0] ^= std::byte{0x40};
        open->write(Bytes(byte), offset);
    }
    /// Repairs the store at `path`, which is left as it is.
    Report repair(const fs::path& path) {
        const fs::path to = dir_.next();
        const auto before = files_of(path);
        Report report = verify(path, {}, to);
        EXPECT_GT(report.fault_count, 0u);
        EXPECT_EQ(report.repaired, to);
        EXPECT_TRUE(before == files_of(path)) << "the damaged store was changed";
        EXPECT_FALSE(fs::exists(to.string() + ".unfinished"));
        Store(to).check();
        return report;
    }
    static bool mentions(const Report& report, std::string_view what) {
        return std::ranges::any_of(report.left_out,
                                   [&](const std::string& text) { return text.find(what) != std::string::npos; });
    }
    template <class T>
    static const T& middle(const std::vector<T>& items) { return items.at(items.size() / 2); }

    ClosedStore dict(std::uint64_t count) {
        RawDict dict(path_);
        for (std::uint64_t key = 0; key < count; ++key) set(dict, key, key, key % 100 == 7 ? 9000 : 100);
        dict.close();
        return ClosedStore(path_);
    }
    ClosedStore list(std::uint64_t count) {
        RawList list(path_);
        for (std::uint64_t i = 0; i < count; ++i) append(list, i, i % 100 == 7 ? 9000 : 100);
        list.close();
        return ClosedStore(path_);
    }

    TempDir dir_{true};
    const fs::path path_ = dir_ / "store";
};

/// What is derived is made anew, and the log of a process that was killed is not forgotten.
/// Of such a container nothing may be left that could be found, but nobody is to believe that all is there.
TEST_F(SalvageTest, SaysThatAContainerWithADamagedRootPageIsMissing) {
    ClosedStore store = dict(1000);
    const auto map = store.map();
    store.flip(map.roots[0]);
    const Report report = repair(path_);
    EXPECT_EQ(report.saved, 0u);
    EXPECT_TRUE(mentions(report, "to which only a damaged page leads (page " + std::to_string(map.roots[0])));
}

TEST_F(SalvageTest, NothingIsLostIfOnlyDerivedDataIsDamaged) {
    PYRSISTENCE_TRACE_SEED;
    using Damage = std::function<void(ClosedStore&, const ClosedStore::Map&)>;
    const std::vector<std::pair<const char*, Damage>> damages = {
        {"a bucket", [](ClosedStore& store, const auto& map) { store.flip(middle(map.buckets)); }},
        {"an index root", [](ClosedStore& store, const auto& map) { store.flip(middle(map.buckets), 4); }},
        {"the space map", [](ClosedStore& store, const auto& map) { store.flip(map.space.front()); }},
        {"the older meta page", [](ClosedStore& store, const auto&) { store.flip((store.meta().checkpoint + 1) % 2, 20); }},
        {"a count",
         [](ClosedStore& store, const auto& map) {
             store.change(middle(map.roots), [](std::byte* root) {
                 structures::RootField::add_entries(root + containers::kEntriesField, 1);
             });
         }},
    };
    for (std::uint64_t salt = 0; salt < 3; ++salt) {
        World world(seed() + salt, {6, 2000, {60'000, 3}});
        OpenStore<Store> open(dir_.next(), nullptr, salt == 0 ? kSmall : kMedium);
        Handles handles(*open);
        for (std::size_t i = 0; i < scaled(3000); ++i) world.step(handles);
        open->checkpoint();
        for (std::size_t i = 0; i < scaled(500); ++i) world.step(handles);  // of which the log tells
        for (const auto& [name, damage] : damages) {
            SCOPED_TRACE(name);
            const fs::path copy = dir_.next();
            copy_as_killed(*open, copy);
            ClosedStore store(copy);
            const auto map = store.map();
            if (map.buckets.empty() || map.roots.empty() || map.space.empty()) continue;  // before a first checkpoint
            damage(store, map);
            const Report report = repair(copy);
            EXPECT_EQ(world.difference(Store(report.repaired)), "");
            EXPECT_TRUE(report.left_out.empty()) << report.left_out.front();
        }
    }
}

TEST_F(SalvageTest, NothingIsLostIfADeltaOrAFilterIsDamaged) {
    constexpr std::uint64_t kCount = 5000, kLogged = 60;
    OpenStore<RawDict> open(path_, nullptr, kLarge);
    for (std::uint64_t key = 0; key < kCount; ++key) {
        set(*open, key * 7919, key);
        if (key % 100 == 0) open->checkpoint();
    }
    open->checkpoint();
    for (std::uint64_t key = kCount; key < kCount + kLogged; ++key) set(*open, key * 7919, key);
    erase(*open, 0);
    const auto expected = read(*open);
    for (const auto part : {&ClosedStore::Map::delta, &ClosedStore::Map::filter, &ClosedStore::Map::buckets}) {
        const fs::path copy = dir_.next();
        copy_as_killed(*open, copy);
        ClosedStore store(copy);
        const auto pages = store.map().*part;
        ASSERT_FALSE(pages.empty());
        for (const PageId page : pages) store.flip(page);
        const Report report = repair(copy);
        EXPECT_TRUE(report.left_out.empty()) << report.left_out.front();
        const RawDict saved(report.repaired);
        EXPECT_EQ(read(saved), expected);
        EXPECT_EQ(saved.verify().fault_count, 0u);
    }
}

TEST_F(SalvageTest, ALostLeafTakesItsEntriesOnly) {
    ClosedStore store = dict(5000);
    const PageId leaf = middle(store.map().leaves);
    const auto page = store.read(leaf);
    const std::uint64_t first = structures::SlottedPage::base(page.data()) - 1;
    const std::uint64_t end = first + structures::SlottedPage::slots(page.data());
    store.flip(leaf);
    const Report report = repair(path_);
    const RawDict saved(report.repaired);
    const auto found = read(saved);
    EXPECT_EQ(report.saved, 5000 - (end - first));
    EXPECT_EQ(found.size(), report.saved);
    for (std::uint64_t key = 0; key < 5000; ++key) {
        const bool lost = key >= first && key < end;
        ASSERT_NE(found.contains(key), lost) << key;
        if (!lost) {
            ASSERT_EQ(found.at(key), value(key, key % 100 == 7 ? 9000 : 100));
        }
    }
    EXPECT_TRUE(mentions(report, "entries of the container that cannot be read"));
}

TEST_F(SalvageTest, ALostExtentTakesItsEntryOnly) {
    ClosedStore store = list(3000);
    const auto extents = store.extents(store.map());
    store.flip(middle(extents).first);
    const Report report = repair(path_);
    const auto found = read(RawList(report.repaired));
    ASSERT_EQ(found.size(), 2999u);
    for (std::size_t i = 0, n = 0; i < 3000; ++i) {
        if (n < found.size() && found[n] == value(i, i % 100 == 7 ? 9000 : 100)) {
            ++n;
        } else {
            ASSERT_EQ(i % 100, 7u);
        }
    }
}

/// Without the catalog or the meta pages the root pages are looked for.
TEST_F(SalvageTest, ContainersAreFoundWithoutCatalogAndMetaPages) {
    for (const char* what : {"catalog", "meta"}) {
        SCOPED_TRACE(what);
        const fs::path path = dir_.next();
        {
            Store store(path);
            for (int i = 0; i < 20; ++i) {
                RawDict dict(store, "dict " + std::to_string(i));
                RawList list(store, "list " + std::to_string(i));
                for (std::uint64_t n = 0; n < 300; ++n) set(dict, n, n + static_cast<std::uint64_t>(i)), append(list, n);
                if (i % 5 == 0) store.checkpoint();
            }
        }
        ClosedStore closed(path);
        if (what == std::string_view("catalog")) closed.flip(closed.map().catalog.front());
        else closed.data().write(std::vector<std::byte>(2 * kPageSize), 0);
        const Report report = repair(path);
        Store saved(report.repaired);
        ASSERT_EQ(saved.size(), 40u);
        for (std::uint64_t i = 0; i < 20; ++i) {
            const auto found = read(RawDict(saved, "dict " + std::to_string(i)));
            ASSERT_EQ(found.size(), 300u);
            for (const auto& [key, text] : found) ASSERT_EQ(text, value(key + i));
            ASSERT_EQ(read(RawList(saved, "list " + std::to_string(i))).size(), 300u);
        }
    }
}

/// A version with faults is not saved if one that is a little older has none.
TEST_F(SalvageTest, OfSeveralVersionsASoundOneIsFound) {
    {
        Store store(path_);
        RawDict dict(store, "d");
        for (std::uint64_t key = 0; key < 2000; ++key) set(dict, key, key);
        store.keep_snapshot("before");  // and with it the pages of this version
        set(dict, 1000, 5);
    }
    ClosedStore closed(path_);
    const auto map = closed.map();
    const auto epoch = [&](PageId id) { return storage::page_epoch(closed.read(id).data()); };
    closed.flip(*std::ranges::max_element(map.leaves, {}, epoch));  // which holds the change
    closed.flip(map.catalog.front());
    const auto found = read(RawDict(Store(repair(path_).repaired), "d"));
    ASSERT_EQ(found.size(), 2000u);
    for (const auto& [key, text] : found) ASSERT_EQ(text, value(key));
}

/// The older checkpoint is not taken for the newest if the log knows better.
TEST_F(SalvageTest, ARottenMetaPageDoesNotBringBackTheCheckpointBefore) {
    {
        RawDict dict(path_);
        for (std::uint64_t round = 0; round < 6; ++round) {
            for (std::uint64_t key = 0; key < 2000; ++key) set(dict, key, key + round);
            dict.checkpoint();
        }
    }
    ClosedStore store(path_);
    store.flip(store.meta().checkpoint % 2, 20);
    EXPECT_THROW(RawDict{path_}, CorruptionError);
    const Report report = repair(path_);
    const auto found = read(RawDict(report.repaired));
    ASSERT_EQ(found.size(), 2000u);
    for (const auto& [key, text] : found) ASSERT_EQ(text, value(key + 5));
}

TEST_F(SalvageTest, ADamagedLogGivesItsRecordsUpToTheDamage) {
    OpenStore<RawList> open(path_, nullptr, kLarge);
    for (std::uint64_t i = 0; i < 1000; ++i) append(*open, i);
    open->checkpoint();
    for (std::uint64_t i = 1000; i < 2000; ++i) append(*open, i);
    open->sync();
    append(*open, 2000);
    const fs::path copy = dir_.next();
    copy_as_killed(*open, copy);
    flip(copy / "log", find(copy / "log", content(1500, 100).substr(0, 20)) + 5);
    EXPECT_THROW(RawList{copy}, CorruptionError);
    const Report report = repair(copy);
    const auto found = read(RawList(report.repaired));
    ASSERT_EQ(found.size(), 1500u);
    for (std::size_t i = 0; i < 1500; ++i) ASSERT_EQ(found[i], value(i));
    EXPECT_TRUE(mentions(report, "behind its damage"));
}

/// The log brings back what a damaged leaf has lost, as far as it speaks of it.
TEST_F(SalvageTest, TheLogIsReplayedOverADictThatLostEntries) {
    OpenStore<RawDict> open(path_, nullptr, kLarge);
    for (std::uint64_t key = 0; key < 3000; ++key) set(*open, key, key);
    open->checkpoint();
    for (std::uint64_t key = 0; key < 3000; key += 3) set(*open, key, key + 1);
    for (std::uint64_t key = 1; key < 3000; key += 3) erase(*open, key);
    for (std::uint64_t key = 3000; key < 4000; ++key) set(*open, key, key, key % 10 == 0 ? 20'000 : 50);
    const fs::path copy = dir_.next();
    copy_as_killed(*open, copy);
    ClosedStore store(copy);
    store.flip(middle(store.map().leaves));
    const Report report = repair(copy);
    ASSERT_EQ(report.left_out.size(), 1u) << report.left_out.back();
    EXPECT_TRUE(mentions(report, "entries of the container that cannot be read"));
    const auto found = read(RawDict(report.repaired));
    std::size_t lost = 0;
    for (std::uint64_t key = 0; key < 4000; ++key) {
        const bool erased = key < 3000 && key % 3 == 1, kept = key < 3000 && key % 3 == 2;
        if (erased || (kept && !found.contains(key))) {
            ASSERT_FALSE(found.contains(key)) << key;
            lost += kept;
            continue;
        }
        const std::uint64_t number = kept || key >= 3000 ? key : key + 1;
        ASSERT_EQ(found.at(key), value(number, key < 3000 ? 100 : key % 10 == 0 ? 20'000 : 50)) << key;
    }
    EXPECT_GT(lost, 0u);
    EXPECT_LT(lost, 50u);
}

/// Entries whose older version is lost wait until the log ends: what it takes away meanwhile must not come back.
TEST_F(SalvageTest, WhatWasErasedSinceItWasLostStaysAway) {
    OpenStore<RawDict> open(path_, nullptr, kLarge);
    for (std::uint64_t key = 0; key < 3000; ++key) set(*open, key, key);
    open->checkpoint();
    for (std::uint64_t key = 0; key < 3000; ++key) set(*open, key, key + 1);
    for (std::uint64_t key = 0; key < 3000; key += 2) erase(*open, key);
    const fs::path copy = dir_.next();
    copy_as_killed(*open, copy);
    ClosedStore store(copy);
    store.flip(middle(store.map().leaves));
    const auto found = read(RawDict(repair(copy).repaired));
    EXPECT_EQ(found.size(), 1500u);
    for (const auto& [key, text] : found) {
        ASSERT_EQ(key % 2, 1u) << key;
        ASSERT_EQ(text, value(key + 1)) << key;
    }
}

/// What the log changes in a lost leaf and then takes away with its container, or by clearing it, is forgotten.
TEST_F(SalvageTest, LostEntriesThatAreRemovedLaterStayRemoved) {
    for (const bool remove : {false, true}) {
        const fs::path path = dir_.next(), copy = dir_.next();
        OpenStore<Store> open(path, nullptr, kLarge);
        RawDict first(*open, "first"), second(*open, "second");
        for (std::uint64_t key = 0; key < 1000; ++key) set(first, key, key);
        set(second, 1, 1);
        open->checkpoint();
        for (std::uint64_t key = 0; key < 1000; ++key) set(first, key, key + 1);
        if (remove) {
            open->remove("first");
        } else {
            first.clear();
        }
        set(second, 2, 2);
        copy_as_killed(*open, copy);
        ClosedStore store(copy);
        store.flip(store.map().leaves.front());
        const Report report = repair(copy);
        const Store repaired(report.repaired);
        EXPECT_EQ(repaired.contains("first"), !remove);
        EXPECT_EQ(read(RawDict(repaired, "second")).size(), 2u);
        if (!remove) {
            EXPECT_EQ(RawDict(repaired, "first").size(), 0u);
        }
    }
}

/// The log may name an extent that is damaged: a fault, if opening refuses it, and not one if it had not been synced.
TEST_F(SalvageTest, ALostExtentThatOnlyTheLogNames) {
    OpenStore<RawList> open(path_, nullptr, kLarge);
    append(*open, 0);
    open->checkpoint();
    for (std::uint64_t i = 1; i < 4; ++i) append(*open, i, 20'000);
    for (const bool synced : {false, true}) {
        if (synced) {
            open->sync();
            append(*open, 4);
        }
        const fs::path copy = dir_.next();
        copy_as_killed(*open, copy);
        flip(copy / "data", find(copy / "data", content(2, 20'000).substr(5'000, 20)));
        if (!synced) {
            EXPECT_EQ(verify(copy).fault_count, 0u);
            EXPECT_EQ(RawList(copy).size(), 2u);
            continue;
        }
        EXPECT_THROW(RawList{copy}, CorruptionError);
        const Report report = repair(copy);
        EXPECT_EQ(RawList(report.repaired).size(), 2u);
        EXPECT_TRUE(mentions(report, "behind its damage"));
    }
}

/// Ranks in the log mean nothing for a list that has lost items, until it is cleared.
TEST_F(SalvageTest, TheLogIsNotReplayedOverAListThatLostItems) {
    for (const bool clear : {false, true}) {
        const fs::path path = dir_.next();
        OpenStore<RawList> open(path, nullptr, kLarge);
        for (std::uint64_t i = 0; i < 3000; ++i) append(*open, i);
        open->checkpoint();
        for (std::uint64_t i = 0; i < 10; ++i) open->erase(0);
        if (clear) {
            open->clear();
            append(*open, 77);
        }
        const fs::path copy = dir_.next();
        copy_as_killed(*open, copy);
        ClosedStore store(copy);
        store.flip(middle(store.map().leaves));
        const Report report = repair(copy);
        const auto found = read(RawList(report.repaired));
        if (clear) {
            ASSERT_EQ(found, std::vector<std::string>{value(77)});
        } else {
            EXPECT_EQ(found.front(), value(0));
            EXPECT_GT(found.size(), 2900u);
        }
        EXPECT_TRUE(mentions(report, "10 operations on the container since its checkpoint"));
    }
}

TEST_F(SalvageTest, AKeyThatIsThereTwiceKeepsItsLastValue) {
    ClosedStore store = dict(500);
    const PageId leaf = store.map().leaves.front();
    store.change(leaf, [](std::byte* page) {
        const Bytes one = structures::SlottedPage::record(page, 20).stored, two = structures::SlottedPage::record(page, 21).stored;
        ASSERT_EQ(one.size(), two.size());
        std::memcpy(const_cast<std::byte*>(two.data()), one.data(), 2);  // the key; the value stays
    });
    const Report report = repair(path_);
    const auto found = read(RawDict(report.repaired));
    EXPECT_EQ(found.size(), 499u);
    EXPECT_EQ(found.at(20), value(21));
}

TEST_F(SalvageTest, AFileThatWasCutShort) {
    (void)dict(5000);
    fs::resize_file(path_ / "data", fs::file_size(path_ / "data") / 2 / kPageSize * kPageSize);
    const Report report = repair(path_);
    for (const auto& [key, text] : read(RawDict(report.repaired))) {
        ASSERT_EQ(text, value(key, key % 100 == 7 ? 9000 : 100));
    }
}

TEST_F(SalvageTest, AnOpenStoreIsRepairedWhileOthersUseIt) {
    ClosedStore closed = list(3000);
    const PageId leaf = middle(closed.map().leaves);
    RawList list(path_);
    append(list, 3000);
    closed.flip(leaf);
    const fs::path to = dir_.next();
    const Report report = list.verify({}, to);
    EXPECT_EQ(report.repaired, to);
    EXPECT_GT(report.saved, 2900u);
    EXPECT_EQ(read(RawList(to)).back(), value(3000));
    append(list, 3001);
    EXPECT_THROW((void)verify(path_), LockedError);
}

TEST_F(SalvageTest, WhatIsInTheWayStaysAndWhatIsUnfinishedGoes) {
    EXPECT_THROW((void)verify(path_), NotFoundError);
    fs::create_directory(path_);
    EXPECT_THROW((void)verify(path_), NotFoundError);
    std::ofstream(path_ / "data") << "something else";
    EXPECT_THROW((void)verify(path_), Error);
    fs::remove_all(path_);

    ClosedStore store = dict(20'000);
    const fs::path to = dir_.next();
    EXPECT_EQ(verify(path_, {}, to).fault_count, 0u);
    EXPECT_FALSE(fs::exists(to)) << "there was nothing to repair";
    store.flip(middle(store.map().leaves));
    fs::create_directory(to);
    std::ofstream(to / "letter") << "text";
    EXPECT_THROW((void)verify(path_, {}, to), ExistsError);
    EXPECT_TRUE(fs::exists(to / "letter"));
    fs::remove(to / "letter");
    struct Enough {};
    int reports = 0;
    const auto count = [&](std::uint64_t, std::uint64_t) { ++reports; };
    EXPECT_EQ(verify(path_, count, to).repaired, to) << "an empty directory is no hindrance";
    int unfinished = 0;
    for (int at = 1; at <= reports; ++at) {
        int left = at;
        const fs::path next = dir_.next();
        const auto stop = [&](std::uint64_t, std::uint64_t) {
            if (--left > 0) return;
            unfinished += fs::exists(next.string() + ".unfinished");
            throw Enough{};
        };
        ASSERT_THROW((void)verify(path_, stop, next), Enough);
        ASSERT_FALSE(fs::exists(next));
        ASSERT_FALSE(fs::exists(next.string() + ".unfinished"));
    }
    EXPECT_GT(unfinished, 0) << "none was stopped within the repair";
}

/// Whatever is damaged: what a repair saves is sound, and each value is one that its key once had.
TEST_F(SalvageTest, RandomDamage) {
    PYRSISTENCE_TRACE_SEED;
    Random random(seed() + 77);
    OpenStore<RawDict> open(path_, nullptr, kMedium);
    constexpr std::uint64_t kKeys = 800, kRounds = 4;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
        for (std::uint64_t key = 0; key < kKeys; ++key) set(*open, key, key * kRounds + round, 10 + key % 7 * 400);
        if (round < kRounds - 1) open->checkpoint();
    }
    std::size_t repaired = 0;
    for (std::size_t i = 0; i < scaled(150) && !HasFailure(); ++i) {
        const fs::path copy = dir_.next(), to = dir_.next();
        copy_as_killed(*open, copy);
        const std::uint64_t pages = fs::file_size(copy / "data") / kPageSize;
        for (std::uint64_t n = 1 + random.below(8); n > 0; --n) {
            const std::uint64_t page = random.chance(20) ? random.below(4) : random.below(pages);
            flip(copy / "data", page * kPageSize + random.below(kPageSize));
        }
        if (random.chance(20)) flip(copy / "log", random.below(300'000));
        const Report report = verify(copy, {}, to);
        if (report.fault_count == 0) continue;
        ++repaired;
        Store saved(to);
        saved.check();
        if (saved.size() == 0) continue;
        for (const auto& [key, text] : read(RawDict(saved, ""))) {
            bool once = false;
            for (std::uint64_t round = 0; round < kRounds; ++round) {
                once = once || text == value(key * kRounds + round, 10 + key % 7 * 400);
            }
            ASSERT_TRUE(once) << key;
        }
        fs::remove_all(copy);
        fs::remove_all(to);
    }
    EXPECT_GT(repaired, scaled(50));
}

}  // namespace
}  // namespace pyrsistence::test
