// Dict<K, V> and List<T>: what they promise beyond the raw containers, which have tests of their own.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

#include "codec/item.hpp"
#include "pyrsistence/pyrsistence.hpp"
#include "scale.hpp"

namespace pyrsistence {
namespace {

namespace fs = std::filesystem;

struct Edge {
    std::uint64_t from;
    std::string label;
    bool operator==(const Edge&) const = default;
};

struct Unwilling {
    bool refuses = false;
};

}  // namespace

template <>
struct Codec<Edge> {
    using Fields = std::tuple<std::uint64_t, std::string>;
    static void encode(Buffer& out, const Edge& e) { Codec<Fields>::encode(out, {e.from, e.label}); }
    static Edge decode(Reader& in) {
        auto [from, label] = Codec<Fields>::decode(in);
        return {from, std::move(label)};
    }
};

template <>
struct Codec<Unwilling> {
    static void encode(Buffer& out, const Unwilling& value) {
        if (value.refuses) throw std::runtime_error("this one not");
        put_none(out);
    }
    static Unwilling decode(Reader& in) {
        Codec<std::monostate>::decode(in);
        return {};
    }
};

namespace {

using Calls = Dict<std::string, std::uint64_t>;
static_assert(std::input_iterator<Calls::iterator>);
static_assert(std::ranges::input_range<const Calls>);
static_assert(std::ranges::common_range<const Calls>);
using Numbers = List<std::int64_t>;
static_assert(std::random_access_iterator<Numbers::const_iterator>);
static_assert(std::ranges::random_access_range<const Numbers>);
static_assert(std::ranges::sized_range<const Numbers>);
static_assert(std::random_access_iterator<List<std::string>::const_iterator>);

class TypedTest : public ::testing::Test {
protected:
    TypedTest() {
        std::string pattern = (fs::temp_directory_path() / "pyrsistence-typed-XXXXXX").string();
        root_ = mkdtemp(pattern.data());
    }
    ~TypedTest() override { fs::remove_all(root_); }

    fs::path path(const char* name = "store") const { return root_ / name; }

private:
    fs::path root_;
};

/// The one entry of a dict, as stored.
codec::EntryView only_entry(const fs::path& path, Buffer& bytes) {
    const RawDict raw(path);
    Chunk chunk;
    raw.read(1, 2, chunk);
    EXPECT_EQ(chunk.items.size(), 1u);
    bytes.assign(chunk.entry(0));
    return codec::split_entry(bytes);
}

TEST_F(TypedTest, DictStoresAndFindsAgainAfterReopening) {
    {
        Calls calls(path());
        EXPECT_TRUE(calls.empty());
        EXPECT_TRUE(calls.insert_or_assign("main", 1));
        EXPECT_FALSE(calls.insert_or_assign("main", 2));
        calls["exit"] = 7;
        calls["exit"] += 1;
    }
    Calls calls(path(), {.mode = Mode::read_write});
    EXPECT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls.at("main"), 2u);
    EXPECT_EQ(calls.get("exit"), std::optional<std::uint64_t>(8));
    EXPECT_EQ(calls.get("none"), std::nullopt);
    EXPECT_EQ(calls.value_or("none", 9), 9u);
    EXPECT_TRUE(calls.contains(std::string("main")));
    EXPECT_EQ(std::as_const(calls)["main"], 2u);
    calls.check();
}

TEST_F(TypedTest, DictSaysWhatIsMissing) {
    Calls calls(path());
    EXPECT_THROW(calls.at("x"), std::out_of_range);
    EXPECT_THROW((void)std::uint64_t{calls["x"]}, std::out_of_range);
    EXPECT_THROW(calls["x"] += 1, std::out_of_range);
    EXPECT_EQ(calls.erase("x"), 0u);
    EXPECT_EQ(calls.pop("x"), std::nullopt);
    EXPECT_EQ(calls.pop_last(), std::nullopt);
    EXPECT_TRUE(calls.find("x") == calls.end());
    EXPECT_TRUE(calls.empty());
}

TEST_F(TypedTest, DictInsertsOnlyWhatIsNew) {
    Calls calls(path());
    EXPECT_TRUE(calls.insert("a", 1));
    EXPECT_FALSE(calls.insert("a", 2));
    EXPECT_FALSE(calls.try_emplace("a", 3u));
    EXPECT_TRUE(calls.try_emplace("b", 4u));
    EXPECT_EQ(calls.at("a"), 1u);
    EXPECT_EQ(calls.pop("a"), std::optional<std::uint64_t>(1));
    EXPECT_EQ(calls.erase("b"), 1u);
    calls["c"] = 5;
    EXPECT_EQ(calls.pop_last(), std::make_optional(std::pair<std::string, std::uint64_t>("c", 5)));
    calls["d"] = 6;
    calls.clear();
    EXPECT_EQ(calls.size(), 0u);
}

TEST_F(TypedTest, EditStoresUnlessItThrows) {
    Dict<int, std::vector<int>> successors(path());
    successors[1] = std::vector<int>{2};
    successors.edit(1, [](std::vector<int>& v) { v.push_back(3); });
    EXPECT_EQ(successors.at(1), (std::vector<int>{2, 3}));
    const auto fail = [](std::vector<int>& v) {
        v.clear();
        throw std::runtime_error("no");
    };
    EXPECT_THROW(successors.edit(1, fail), std::runtime_error);
    EXPECT_EQ(successors.at(1), (std::vector<int>{2, 3}));
    EXPECT_THROW(successors.edit(9, fail), std::out_of_range);
}

TEST_F(TypedTest, EqualNumbersAreOneKey) {
    {
        Dict<int, int> ints(path());
        ints[1] = 10;
    }
    {
        Dict<double, int> floats(path());
        EXPECT_EQ(floats.at(1.0), 10);
        EXPECT_FALSE(floats.insert_or_assign(1.0, 11));
        EXPECT_TRUE(floats.insert_or_assign(2.0, 12));
        floats[0.5] = 13;
        EXPECT_EQ(floats.begin()->first, 1.0);
        EXPECT_EQ(floats.pop(0.5), 13);
    }
    Dict<std::uint8_t, int> small(path());  // 2.0 is stored beside its identity and decodes as 2
    EXPECT_EQ(small.find(2)->first, 2);
    EXPECT_EQ(small.at(1), 11);
}

TEST_F(TypedTest, ExactKeysAreStoredOnceAndOthersBesideTheirIdentity) {
    Buffer bytes;
    { Dict<std::string, int>(path("exact"))["k"] = 1; }
    const codec::EntryView exact = only_entry(path("exact"), bytes);
    EXPECT_EQ(exact.key.data(), exact.identity.data());

    { Dict<double, int>(path("integral"))[3.0] = 1; }
    const codec::EntryView integral = only_entry(path("integral"), bytes);
    EXPECT_EQ(integral.identity.size(), 1u);
    EXPECT_EQ(integral.key.size(), 9u);

    { Dict<double, int>(path("fraction"))[0.5] = 1; }
    const codec::EntryView fraction = only_entry(path("fraction"), bytes);
    EXPECT_EQ(fraction.key.data(), fraction.identity.data());
}

TEST_F(TypedTest, LongKeysAreFoundByTheirDigest) {
    const std::string a(100'000, 'a');
    const std::string b = a + "b";
    {
        Calls calls(path());
        calls[a] = 1;
        calls[b] = 2;
        EXPECT_FALSE(calls.insert_or_assign(a, 3));
    }
    const Calls calls(path());
    EXPECT_EQ(calls.at(a), 3u);
    EXPECT_EQ(calls.at(b), 2u);
    EXPECT_EQ(calls.begin()->first, a);
    EXPECT_EQ(calls.find(b)->first, b);
    Buffer bytes;
    Dict<std::vector<std::byte>, int> blobs(path("blobs"));
    const std::vector<std::byte> blob(70'000, std::byte{7});
    blobs[blob] = 5;
    EXPECT_EQ(blobs.begin()->first, blob);
    EXPECT_EQ(std::as_const(blobs)[blob], 5);
}

TEST_F(TypedTest, UserTypesAreKeysAndValues) {
    Dict<Edge, Edge> edges(path());
    const Edge edge{1, "calls"};
    edges[edge] = Edge{2, "jumps"};
    EXPECT_EQ(edges.at({1, "calls"}).label, "jumps");
    EXPECT_EQ(edges.begin()->first, edge);
    Dict<std::pair<int, int>, double> weights(path("weights"));
    weights[{1, 2}] = 0.5;
    EXPECT_EQ((weights.at({1, 2})), 0.5);
}

TEST_F(TypedTest, WrongTypesAreRefused) {
    { Dict<std::string, std::string>{path()}["k"] = "text"; }
    const Dict<std::string, int> wrong(path());
    EXPECT_THROW(wrong.at("k"), FormatError);
    EXPECT_THROW(List<int>(path(), {}), FormatError);
    const Dict<int, std::string> wrong_keys(path());
    EXPECT_THROW(wrong_keys.begin(), FormatError);
}

TEST_F(TypedTest, DictIteratesInInsertionOrder) {
    Dict<int, int> squares(path());
    for (int i = 0; i < 5000; ++i) squares[i] = i * i;
    int next = 0;
    for (const auto& [key, value] : squares) {
        ASSERT_EQ(key, next);
        ASSERT_EQ(value, next * next);
        ++next;
    }
    EXPECT_EQ(next, 5000);
    EXPECT_EQ(std::ranges::count_if(squares, [](const auto& e) { return e.first % 2 == 0; }), 2500);
    int sum = 0;
    for (const int key : squares | std::views::keys | std::views::take(3)) sum += key;
    EXPECT_EQ(sum, 3);
    const std::map<int, int> copy(squares.begin(), squares.end());
    EXPECT_EQ(copy.size(), 5000u);
    EXPECT_EQ(std::ranges::distance(squares.find(4998), squares.end()), 2);
}

TEST_F(TypedTest, DictMayChangeWhileItIsIterated) {
    Dict<int, int> dict(path());
    for (int i = 0; i < 1000; ++i) dict[i] = i;
    int seen = 0;
    for (const auto& [key, value] : dict) {
        EXPECT_EQ(key, 2 * seen);
        EXPECT_EQ(value, key == 0 ? 0 : -1);   // overwritten ahead
        ++seen;
        dict.erase(key);
        dict.erase(key + 1);                   // erased ahead: not visited
        if (key < 998) dict.insert_or_assign(key + 2, -1);
        dict.insert_or_assign(5000 + key, 0);  // new: not visited
    }
    EXPECT_EQ(seen, 500);
}

TEST_F(TypedTest, DictErasureDuringIterationSkipsNoSurvivor) {
    Dict<int, int> dict(path());
    for (int i = 0; i < 3000; ++i) dict[i] = i;
    std::vector<int> visited;
    for (const auto& [key, value] : dict) {
        visited.push_back(key);
        if (key % 7 == 0) dict.erase(key);
    }
    EXPECT_EQ(visited.size(), 3000u);
    EXPECT_TRUE(std::ranges::is_sorted(visited));
    EXPECT_EQ(dict.size(), 3000u - 429u);
}

TEST_F(TypedTest, ClosedDictThrows) {
    Calls calls(path());
    calls["a"] = 1;
    calls.close();
    calls.close();
    EXPECT_TRUE(calls.closed());
    EXPECT_THROW(calls.at("a"), ClosedError);
    EXPECT_THROW(calls["a"] = 2, ClosedError);
    EXPECT_THROW(calls.begin(), ClosedError);
    const Calls reader(path(), {.mode = Mode::read});
    EXPECT_EQ(reader.at("a"), 1u);
}

TEST_F(TypedTest, ReadOnlyDictRefusesChanges) {
    { Calls{path()}["a"] = 1; }
    Calls reader(path(), {.mode = Mode::read});
    EXPECT_THROW(reader["a"] = 2, ReadOnlyError);
    EXPECT_THROW(reader.clear(), ReadOnlyError);
    EXPECT_THROW(Calls(path("none"), {.mode = Mode::read}), NotFoundError);
}

TEST_F(TypedTest, DictDoesWhatAMapDoes) {
    std::mt19937 random(7);
    std::map<int, std::string> model;
    std::optional<Dict<int, std::string>> dict(std::in_place, path());
    for (std::size_t i = 0; i < test::scaled(20'000); ++i) {
        const int key = static_cast<int>(random() % 500);
        const std::string value(random() % 40, 'v');
        switch (random() % 5) {
            case 0:
                ASSERT_EQ(dict->insert_or_assign(key, value), model.insert_or_assign(key, value).second);
                break;
            case 1: ASSERT_EQ(dict->insert(key, value), model.insert({key, value}).second); break;
            case 2: ASSERT_EQ(dict->erase(key), model.erase(key)); break;
            case 3: ASSERT_EQ(dict->contains(key), model.contains(key)); break;
            default: ASSERT_EQ(dict->value_or(key, "-"), model.contains(key) ? model.at(key) : "-");
        }
        if (i % 5000 == 4999) dict.emplace(path());
    }
    std::map<int, std::string> stored;
    for (const auto& entry : *dict) stored.insert(entry);
    EXPECT_EQ(stored, model);
    std::vector<std::pair<int, std::string>> pairs;
    for (int i = 0; i < 1000; ++i) pairs.emplace_back((i * 7919) % 700, std::to_string(i));
    dict->update(pairs);
    for (const auto& [key, value] : pairs) model[key] = value;
    EXPECT_EQ(dict->size(), model.size());
    for (const auto& [key, value] : model) ASSERT_EQ(dict->at(key), value);
    const auto values = dict->get_many(std::views::iota(0, 500));
    ASSERT_EQ(values.size(), 500u);
    for (int key = 0; key < 500; ++key) {
        EXPECT_EQ(values[static_cast<std::size_t>(key)], dict->get(key));
    }
    dict->check();
}

TEST_F(TypedTest, ListStoresAndFindsAgainAfterReopening) {
    {
        List<std::string> list(path());
        list.push_back("a");
        list.append_range(std::vector<std::string>{"b", "c", "d"});
        list[1] = "B";
        list[2] += "!";
        list.insert(0, "first");
        list.insert(5, "last");
    }
    List<std::string> list(path());
    EXPECT_TRUE(std::ranges::equal(list, std::vector<std::string>{"first", "a", "B", "c!", "d", "last"}));
    EXPECT_EQ(list.front(), "first");
    EXPECT_EQ(list.back(), "last");
    EXPECT_EQ(list.pop_back(), "last");
    list.erase(0);
    list.erase(0, 2);
    list.reverse();
    EXPECT_TRUE(std::ranges::equal(list, std::vector<std::string>{"d", "c!"}));
    list.clear();
    EXPECT_TRUE(list.empty());
    list.check();
}

TEST_F(TypedTest, ListRefusesPlacesThatDoNotExist) {
    Numbers list(path());
    EXPECT_THROW(list.at(0), std::out_of_range);
    EXPECT_THROW(list.front(), std::out_of_range);
    EXPECT_THROW(list.back(), std::out_of_range);
    EXPECT_THROW(list.pop_back(), std::out_of_range);
    EXPECT_THROW(list.set(0, 1), std::out_of_range);
    EXPECT_THROW(list[0] = 1, std::out_of_range);
    EXPECT_THROW(list.insert(1, 1), std::out_of_range);
    EXPECT_THROW(list.erase(0), std::out_of_range);
    EXPECT_THROW(list.erase(0, 1), std::out_of_range);
    EXPECT_THROW(*list.begin(), std::out_of_range);
    EXPECT_NO_THROW(list.erase(0, 0));
    list.append_range(std::vector<std::int64_t>{1, 2, 3});
    EXPECT_THROW(list.erase(2, 1), std::out_of_range);
    try {
        list.at(7);
        FAIL();
    } catch (const std::out_of_range& error) {
        EXPECT_NE(std::string(error.what()).find("index 7 in the 3 items"), std::string::npos);
    }
}

TEST_F(TypedTest, ShadowMemoryOperators) {
    List<std::uint8_t> shadow(path());
    for (int i = 0; i < 16; ++i) shadow.push_back(0);
    shadow[3] |= 4;
    shadow[3] |= 1;
    shadow[3] &= 6;
    shadow[3] ^= 2;
    EXPECT_EQ(shadow.at(3), 6);
    shadow[4] = shadow[3];
    EXPECT_TRUE(shadow[4] == 6);
    shadow.edit(4, [](std::uint8_t& v) { v = 255; });
    EXPECT_EQ(shadow.get(4), 255);
}

TEST_F(TypedTest, ListIteratorsAreRandomAccess) {
    Numbers list(path());
    for (int i = 0; i < 5000; ++i) list.push_back(3 * i);
    EXPECT_EQ(std::ranges::lower_bound(list, 7500) - list.begin(), 2500);
    EXPECT_EQ(list.begin()[17], 51);
    EXPECT_EQ(*(list.end() - 1), 3 * 4999);
    EXPECT_EQ(list.end() - list.begin(), 5000);
    EXPECT_LT(list.begin(), list.end());
    std::int64_t expected = 0;
    for (const std::int64_t value : list) {
        ASSERT_EQ(value, expected);
        expected += 3;
    }
    EXPECT_EQ(expected, 15'000);
    std::vector<std::int64_t> backwards;
    for (const std::int64_t value : list | std::views::reverse) backwards.push_back(value);
    EXPECT_EQ(backwards.size(), 5000u);
    EXPECT_EQ(backwards.front(), 3 * 4999);
    EXPECT_TRUE(std::ranges::is_sorted(backwards, std::greater{}));
}

TEST_F(TypedTest, ListIteratorSeesChanges) {
    Numbers list(path());
    for (int i = 0; i < 1000; ++i) list.push_back(i);
    int index = 0;
    for (auto i = list.begin(), end = list.end(); i != end; ++i, ++index) {
        ASSERT_EQ(*i, index % 2 == 1 ? -index : index);
        if (index + 1 < 1000 && index % 2 == 0) list[static_cast<std::uint64_t>(index) + 1] = -(index + 1);
        list.push_back(0);  // not seen: the end is fixed
    }
    EXPECT_EQ(index, 1000);
    auto stale = list.begin();
    (void)*stale;
    (void)*++stale;
    (void)*++stale;
    list.clear();
    EXPECT_THROW(*++stale, std::out_of_range);
}

TEST_F(TypedTest, ListDoesWhatAVectorDoes) {
    std::mt19937 random(11);
    std::vector<std::int64_t> model;
    std::optional<Numbers> list(std::in_place, path());
    for (std::size_t i = 0; i < test::scaled(20'000); ++i) {
        const auto value = static_cast<std::int64_t>(random()) - (1LL << 31);
        const std::size_t at = model.empty() ? 0 : random() % model.size();
        const auto place = model.begin() + static_cast<std::ptrdiff_t>(at);
        switch (model.empty() ? 0 : random() % 7) {
            case 0:
            case 1:
                list->push_back(value);
                model.push_back(value);
                break;
            case 2:
                list->insert(at, value);
                model.insert(place, value);
                break;
            case 3:
                list->set(at, value);
                *place = value;
                break;
            case 4:
                list->erase(at);
                model.erase(place);
                break;
            case 5:
                ASSERT_EQ(list->pop_back(), model.back());
                model.pop_back();
                break;
            default: ASSERT_EQ(list->at(at), model[at]);
        }
        if (i % 5000 == 4999) list.emplace(path());
    }
    EXPECT_TRUE(std::ranges::equal(*list, model));
    list->check();
}

/// What a view makes may depend on what was stored just before.
TEST_F(TypedTest, UpdateFromAViewStoresEachPairBeforeTheNextIsMade) {
    Dict<std::string, std::uint64_t> counts(path("counts"));
    const std::vector<std::string> words(100, "word");
    counts.update(words | std::views::transform([&](const std::string& word) { return std::pair(word, counts.get(word).value_or(0) + 1); }));
    EXPECT_EQ(counts.at("word"), 100u);
    std::vector<std::pair<std::string, std::uint64_t>> pairs;
    for (std::uint64_t i = 0; i < 1000; ++i) pairs.emplace_back(std::to_string(i % 700), i);
    counts.update(pairs);
    EXPECT_EQ(counts.size(), 701u);
    EXPECT_EQ(counts.at("5"), 705u);
    counts.update(pairs | std::views::take(10));
    EXPECT_EQ(counts.at("5"), 5u);
    counts.check();
}

TEST_F(TypedTest, WhatComesBeforeAnErrorOfTheRangeStays) {
    Set<std::uint64_t> members(path("members"));
    const auto throwing = std::views::iota(std::uint64_t{0}) | std::views::transform([](std::uint64_t i) {
        if (i == 63) throw std::runtime_error("no more");
        return i;
    });
    EXPECT_THROW(members.insert_range(throwing), std::runtime_error);
    EXPECT_EQ(members.size(), 63u);
    Dict<std::uint64_t, Unwilling> dict(path("dict"));
    std::vector<std::pair<std::uint64_t, Unwilling>> pairs(40);
    pairs[30].second.refuses = true;
    for (std::uint64_t i = 0; i < 40; ++i) pairs[i].first = i;
    EXPECT_THROW(dict.update(pairs), std::runtime_error);
    EXPECT_EQ(dict.size(), 30u);
}

}  // namespace
}  // namespace pyrsistence
