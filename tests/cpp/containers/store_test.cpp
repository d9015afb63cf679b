// Store: containers by name, of several types, and what they do together.
#include "pyrsistence/store.hpp"

#include "containers/models.hpp"

namespace pyrsistence::test {
namespace {

class NamedContainersTest : public ::testing::Test {
protected:
    using Calls = Dict<std::uint64_t, std::uint64_t>;
    using Trace = List<std::uint64_t>;

    static std::string listing(const Store& store) {
        std::string all;
        for (const Store::Entry& one : store.containers()) all += one.name + ":" + one.type + " ";
        return all;
    }

    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

TEST_F(NamedContainersTest, AreMadeOnceAndFoundAgain) {
    {
        Store store(path_);
        auto calls = store.dict<std::uint64_t, std::uint64_t>("calls");
        auto trace = store.list<std::uint64_t>("trace");
        Transaction transaction(store);
        calls[0x401000] = 1;
        trace.push_back(0x401000);
        transaction.commit();
        store.dict<std::uint64_t, std::uint64_t>("calls")[0x402000] = 2;
        EXPECT_EQ(calls.size(), 2u);
        EXPECT_EQ(listing(store), "calls:dict trace:list ");
    }
    Store store(path_, {.mode = Mode::read});
    EXPECT_EQ(listing(store), "calls:dict trace:list ");
    EXPECT_EQ(Calls(store, "calls").at(0x402000), 2u);
    EXPECT_EQ(Trace(store, "trace").front(), 0x401000u);
    EXPECT_EQ(Calls(path_, {.mode = Mode::read, .name = "calls"}).size(), 2u);
    EXPECT_EQ(store.type_of("calls"), "dict");
    EXPECT_EQ(store.type_of("trace"), "list");
    EXPECT_FALSE(store.type_of("other"));
    EXPECT_TRUE(store.contains("trace"));
    EXPECT_FALSE(store.contains(""));
    EXPECT_EQ(store.size(), 2u);
    store.check();
}

TEST_F(NamedContainersTest, TheUnnamedOneIsWhatASingleContainerIsCalled) {
    {
        Calls calls(path_);
        calls[1] = 2;
    }
    Store store(path_);
    EXPECT_EQ(listing(store), ":dict ");
    EXPECT_EQ(Calls(store, "").at(1), 2u);
    Trace(store, "other").push_back(7);
    EXPECT_TRUE(store.rename("", "calls"));
    EXPECT_EQ(listing(store), "calls:dict other:list ");
    EXPECT_TRUE(store.rename("other", ""));
    EXPECT_EQ(Trace(path_).front(), 7u);
    EXPECT_THROW(Calls(path_, {.mode = Mode::append}), FormatError);
}

TEST_F(NamedContainersTest, AnotherTypeIsAFormatErrorThatNamesBoth) {
    Store store(path_);
    store.dict<std::uint64_t, std::uint64_t>("calls")[1] = 1;
    try {
        Trace(store, "calls");
        ADD_FAILURE() << "a dict was opened as a list";
    } catch (const FormatError& error) {
        EXPECT_NE(std::string(error.what()).find("holds under 'calls' a dict, not a list"), std::string::npos)
            << error.what();
    }
}

TEST_F(NamedContainersTest, RemovedOnesGiveTheirSpaceBack) {
    Store store(path_, {.memory_limit = 4 << 20});
    Calls calls(store, "calls");
    List<std::vector<std::byte>> large(store, "large");
    for (std::uint64_t i = 0; i < 50'000; ++i) calls[i] = i;
    for (int i = 0; i < 50; ++i) large.push_back(std::vector<std::byte>(100'000, std::byte(i)));
    store.checkpoint();
    const std::uint64_t full = store.info().live_pages;
    EXPECT_TRUE(store.remove("calls"));
    EXPECT_FALSE(store.remove("calls"));
    EXPECT_THROW((void)calls.size(), ClosedError);
    EXPECT_TRUE(store.remove("large"));
    store.checkpoint();
    store.check();
    EXPECT_GT(full, 1000u);
    EXPECT_LT(store.info().live_pages, 20u);
    EXPECT_EQ(store.size(), 0u);
    Calls again(store, "calls");
    EXPECT_TRUE(again.empty());
    EXPECT_THROW((void)calls.size(), ClosedError) << "the new one is another one";
    store.close();
    EXPECT_EQ(Store(path_).size(), 1u);
}

TEST_F(NamedContainersTest, RenamingKeepsHandlesAndContents) {
    Store store(path_);
    Calls a(store, "a"), b(store, "b");
    a[1] = 1;
    EXPECT_THROW(store.rename("a", "b"), ExistsError);
    EXPECT_FALSE(store.rename("c", "d"));
    EXPECT_TRUE(store.rename("a", "a"));
    EXPECT_THROW(store.rename("a", std::string(4000, 'x')), FormatError);
    const std::string longest(3840, 'x');
    EXPECT_TRUE(store.rename("a", longest));
    EXPECT_EQ(a.at(1), 1u);
    EXPECT_EQ(a.name(), longest);
    a[2] = 2;
    EXPECT_TRUE(store.rename(longest, "c"));
    EXPECT_EQ(listing(store), "c:dict b:dict ");
    EXPECT_EQ(Calls(store, "c").size(), 2u);
    store.check();
    copy_store(path_, dir_ / "copy");
    Store killed(dir_ / "copy");
    EXPECT_EQ(listing(killed), "c:dict b:dict ");
    EXPECT_EQ(Calls(killed, "c").size(), 2u);
}

TEST_F(NamedContainersTest, HandlesKnowTheNamesTheyHaveNow) {
    Store store(path_);
    Calls calls(store, "a");
    const auto before = calls.snapshot();
    {
        Transaction transaction = store.transaction();
        EXPECT_TRUE(store.rename("a", "b"));
        EXPECT_EQ(calls.name(), "b");
        std::thread([&] { EXPECT_EQ(calls.name(), "a") << "others see the state before the transaction"; }).join();
    }
    EXPECT_EQ(calls.name(), "a") << "the transaction was undone";
    EXPECT_TRUE(store.rename("a", "c"));
    EXPECT_EQ(calls.name(), "c");
    EXPECT_EQ(before.name(), "a");
    EXPECT_TRUE(store.remove("c"));
    EXPECT_EQ(calls.name(), "a") << "the name that it was opened with";
    calls.close();
    EXPECT_EQ(calls.name(), "a");
}

TEST_F(NamedContainersTest, ReadWriteMeansThatTheContainerExists) {
    EXPECT_THROW(Calls(path_, {.mode = Mode::read_write, .name = "calls"}), NotFoundError);
    Store store(path_);
    for (const char* name : {"", "calls"}) {
        EXPECT_THROW(Calls(path_, {.mode = Mode::read_write, .name = name}), NotFoundError);
        EXPECT_EQ(store.size(), 0u);
    }
    Calls(path_, {.mode = Mode::append, .name = "calls"})[1] = 2;
    Calls(path_, {.mode = Mode::read_write, .name = "calls"})[1] = 3;
    EXPECT_THROW(Calls(path_, {.mode = Mode::read_write, .name = "other"}), NotFoundError);
    EXPECT_THROW(Calls(path_, {.mode = Mode::read_write}), NotFoundError);
    store.close();
    Store again(path_, {.mode = Mode::read_write});
    EXPECT_EQ(Calls(again, "other").size(), 0u) << "the store exists, and is open for changes";
}

TEST_F(NamedContainersTest, ManyAreFoundWhateverWasRemovedBetweenThem) {
    PYRSISTENCE_TRACE_SEED;
    Random random(5);
    std::map<std::uint64_t, std::string> expected;  // in the order of their creation
    std::uint64_t made = 0;
    Store store(path_, {.memory_limit = 4 << 20});
    const std::size_t count = scaled(1500);
    for (std::size_t i = 0; i < count; ++i) {
        if (random.chance(30) && !expected.empty()) {
            auto at = expected.begin();
            std::advance(at, random.below(expected.size()));
            ASSERT_TRUE(store.remove(at->second));
            expected.erase(at);
        } else {
            const std::string name = "name " + std::to_string(++made);
            Calls(store, name)[made] = made;
            expected[made] = name;
        }
        if (random.below(300) == 0) store.checkpoint();
    }
    const auto check = [&](const Store& other) {
        const auto found = other.containers();
        ASSERT_EQ(found.size(), expected.size());
        auto it = found.begin();
        for (const auto& [number, name] : expected) {
            ASSERT_EQ((it++)->name, name);
            if (number % 20 == 0) {
                ASSERT_EQ(Calls(other, name).at(number), number);
            }
        }
        other.check();
    };
    check(store);
    copy_store(path_, dir_ / "copy");
    check(Store(dir_ / "copy"));
    store.close();
    check(Store(path_, {.mode = Mode::read}));
}

TEST_F(NamedContainersTest, ASnapshotHoldsAllOfThem) {
    Store store(path_);
    Calls calls(store, "calls");
    Trace trace(store, "trace");
    calls[1] = 1;
    trace.push_back(1);
    Store before = store.snapshot();
    store.remove("trace");
    calls[1] = 2;
    Trace(store, "new").push_back(5);
    EXPECT_EQ(listing(before), "calls:dict trace:list ");
    EXPECT_EQ((before.dict<std::uint64_t, std::uint64_t>("calls").at(1)), 1u);
    EXPECT_EQ(before.list<std::uint64_t>("trace").size(), 1u);
    EXPECT_THROW((void)before.list<std::uint64_t>("new"), NotFoundError);
    EXPECT_EQ(listing(store), "calls:dict new:list ");
}

}  // namespace
}  // namespace pyrsistence::test
