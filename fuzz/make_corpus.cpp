// Writes the inputs that fuzzing begins with, from real stores: make_corpus DIRECTORY. Keys and values are mostly
// zeros, so that the packed stores are small; salts and ids are random, so that no two runs write the same bytes.
#include <cstdio>
#include <functional>
#include <map>

#include "fuzz/samples.hpp"
#include "pyrsistence/sort_key.hpp"
#include "pyrsistence/store.hpp"
#include "storage/log.hpp"
#include "storage/store.hpp"
#include "support.hpp"

namespace pyrsistence::fuzz {

namespace {

constexpr std::uint64_t kMemory = 4 << 20;

class Corpus {
public:
    explicit Corpus(fs::path directory) : directory_(std::move(directory)) { fs::create_directories(directory_); }

    void add(const std::string& target, const std::string& name, Bytes bytes) {
        fs::create_directories(directory_ / target);
        write_bytes(directory_ / target / name, bytes);
        total_ += bytes.size();
    }
    void add_store(const std::string& name, const std::function<void(const fs::path&)>& make) {
        const fs::path path = directory_ / "store.tmp";
        fs::remove_all(path);
        make(path);
        add("store", name, Image::read(path).pack());
        fs::remove_all(path);
    }
    std::size_t total() const { return total_; }
    const fs::path& directory() const { return directory_; }

private:
    fs::path directory_;
    std::size_t total_ = 0;
};

std::string zeros(std::size_t size) { return std::string(size, '\0'); }

void make_kinds(const fs::path& path) {
    Store store(path, {.memory_limit = kMemory});
    auto calls = store.dict<std::uint64_t, std::uint64_t>("calls");
    auto names = store.dict<std::string, std::string>("names");
    auto trace = store.list<std::string>("trace");
    for (std::uint64_t i = 0; i < 300; ++i) calls[0x401000 + 4 * i] = i;
    for (int i = 0; i < 30; ++i) names.insert_or_assign("name" + std::to_string(i), zeros(static_cast<std::size_t>(i * 300)));
    store.keep_snapshot("first");
    for (int i = 0; i < 60; ++i) trace.push_back(zeros(static_cast<std::size_t>(i % 10 == 0 ? 9000 : 20 * i)));
    for (std::uint64_t i = 0; i < 300; i += 2) calls.erase(0x401000 + 4 * i);
    store.keep_snapshot("second");
    store.list<std::string>("gone").push_back(zeros(10));
    store.remove("gone");
    names.erase("name7");
}

/// Trees with two levels of inner nodes.
void make_deep_list(const fs::path& path) {
    pyrsistence::List<std::string> list(path, {.memory_limit = kMemory});
    for (int i = 0; i < 650; ++i) list.push_back(zeros(1300));
}

void make_dict(const fs::path& path) {
    Dict<std::uint64_t, std::string> dict(path, {.memory_limit = kMemory});
    for (std::uint64_t i = 0; i < 700; ++i) dict.insert_or_assign(i, i % 50 == 0 ? zeros(1300) : std::string());
    for (std::uint64_t i = 0; i < 700; i += 3) dict.erase(i);
}

/// Trees by key with two levels of inner nodes, equal keys over several leaves, keys in front of extents.
void make_sorted(const fs::path& path) {
    Store store(path, {.memory_limit = kMemory});
    auto names = store.sorted_dict<std::string, std::string>("names");
    auto marks = store.sorted_set<double>("marks");
    auto tasks = store.priority_queue<std::string, std::int64_t>("tasks");
    RawSorted calls(store, "calls", SortedType::multi_dict);
    // Separators end where the keys begin to differ.
    for (int i = 0; i < 60; ++i) {
        names.insert_or_assign(zeros(900) + std::to_string(i * 37 % 60), zeros(i % 20 == 0 ? 9000 : 0));
    }
    for (int i = 0; i < 400; ++i) marks.insert(i * 0.25);
    for (int i = 0; i < 60; ++i) tasks.push(zeros(i % 30 == 0 ? 2000 : 100), i % 3);
    store.keep_snapshot("then");
    for (int i = 0; i < 60; ++i) {
        Buffer identity, bytes, sort_key;
        put_int(identity, i % 7);
        sort_key.assign(put_sorted_entry_key(bytes, identity, {}));
        const std::size_t key = bytes.size();
        put_text(bytes, zeros(200), false);
        calls.push({bytes, sort_key, key});
    }
    for (int i = 0; i < 400; i += 9) marks.erase(i * 0.25);
    for (int i = 0; i < 20; ++i) (void)tasks.pop();
}

/// Two levels of inner nodes, items that divide a page, items that do not and items larger than one.
void make_arrays(const fs::path& path) {
    Store store(path, {.memory_limit = kMemory});
    auto numbers = store.array<std::uint64_t>("numbers");
    numbers.resize(210 * 510);
    for (std::uint64_t i = 0; i < numbers.size(); i += 7919) numbers.set(i, i);
    auto triples = store.array<std::array<float, 3>>("triples");
    triples.resize(2000);
    store.keep_snapshot("then");
    auto blocks = store.array<std::array<char, 5000>>("blocks");
    blocks.resize(3);
    numbers.resize(numbers.size() - 1000);
    triples.set(3, {1, 2, 3});
}

/// As a killed process leaves it: everything that a log can tell lies behind the last checkpoint.
void make_killed(const fs::path& path) {
    const fs::path living = fs::path(path) += ".living";
    {
        Store store(living, {.memory_limit = kMemory});
        auto d = store.dict<std::string, std::string>("d");
        auto l = store.list<std::string>("l");
        for (int i = 0; i < 20; ++i) d.insert_or_assign("k" + std::to_string(i), zeros(static_cast<std::size_t>(i)));
        for (int i = 0; i < 20; ++i) l.push_back(zeros(static_cast<std::size_t>(i)));
        store.checkpoint();
        d.insert_or_assign("k1", zeros(2000));
        d.insert_or_assign("new", zeros(20'000));
        d.erase("k2");
        l.push_back(zeros(30'000));
        RawList raw(store, "l");
        const std::byte item[] = {std::byte{0x81}};
        const Bytes items[] = {item, item};
        raw.replace_slice(3, 4, items);
        raw.erase_slice(2, 3, 3);
        raw.reverse();
        Transaction transaction(store, false);
        d.insert_or_assign("in", "transaction");
        store.list<std::string>("other").push_back("x");
        transaction.commit();
        store.rename("other", "another");
        store.dict<std::string, std::string>("short")["a"] = "b";
        store.dict<std::string, std::string>("short").clear();
        store.remove("short");
        RawList(store, "another").clear();
        test::copy_store(living, path);
    }
    fs::remove_all(living);
}

/// The same of sorted containers and arrays; the first two containers are those of the small store.
void make_killed_sorted(const fs::path& path) {
    const fs::path living = fs::path(path) += ".living";
    {
        Store store(living, {.memory_limit = kMemory});
        store.dict<std::string, std::string>("d");
        store.list<std::string>("l");
        store.checkpoint();
        auto names = store.sorted_dict<std::string, std::string>("names");
        auto tasks = store.priority_queue<std::int64_t>("tasks");
        auto numbers = store.array<std::uint32_t>("numbers");
        for (std::size_t i = 0; i < 20; ++i) names.insert_or_assign("k" + std::to_string(i * 7 % 20), zeros(i));
        names.insert_or_assign("k1", zeros(2000));
        names.insert_or_assign("k2", zeros(20'000));
        names.erase("k3");
        names.erase_range("k10", "k15");
        for (std::int64_t i = 0; i < 9; ++i) tasks.push(i % 4);
        (void)tasks.pop();
        for (std::uint32_t i = 0; i < 20; ++i) numbers.push_back(i);
        numbers.resize(1200);
        numbers.set(7, 8);
        numbers.write(1000, std::vector<std::uint32_t>(100, 1));
        (void)numbers.pop_back();
        store.sorted_set<std::string>("short").insert("a");
        store.sorted_set<std::string>("short").clear();
        store.remove("short");
        test::copy_store(living, path);
    }
    fs::remove_all(living);
}

void add_stores(Corpus& corpus) {
    corpus.add_store("empty", [](const fs::path& path) { Store(path, {.memory_limit = kMemory}).close(); });
    corpus.add_store("kinds", make_kinds);
    corpus.add_store("deep_list", make_deep_list);
    corpus.add_store("dict", make_dict);
    corpus.add_store("divided", make_divided_store);
    corpus.add_store("killed", make_killed);
    corpus.add_store("killed_sorted", make_killed_sorted);
    corpus.add_store("sorted", make_sorted);
    corpus.add_store("arrays", make_arrays);
    corpus.add_store("small", make_small_store);
}

/// The records of a killed store.
void add_records_of(Corpus& corpus, const std::string& name, const std::function<void(const fs::path&)>& make) {
    make(corpus.directory() / "killed.tmp");
    const Image image = Image::read(corpus.directory() / "killed.tmp");
    fs::remove_all(corpus.directory() / "killed.tmp");
    std::vector<std::byte> all;
    for (std::size_t part = 1; part < Image::kLogParts; ++part) {
        const auto& window = image.log[part];
        for (std::size_t at = storage::Log::kHeaderSize; at + storage::Log::kRecordHeader < window.size();) {
            const auto length = codec::load<std::uint32_t>(window.data() + at + 8);
            at += storage::Log::kRecordHeader;
            if (length == 0 || length > window.size() - at) break;
            std::byte head[2];
            codec::store(head, static_cast<std::uint16_t>(length));
            all.insert(all.end(), head, head + 2);
            all.insert(all.end(), window.begin() + static_cast<std::ptrdiff_t>(at),
                       window.begin() + static_cast<std::ptrdiff_t>(at + length));
            at += length;
        }
    }
    corpus.add("replay", name, all);
}

/// Some for the containers of the small store, too.
void add_records(Corpus& corpus) {
    add_records_of(corpus, "killed", make_killed);
    add_records_of(corpus, "killed_sorted", make_killed_sorted);
    const auto text = [&](const char* name, std::string_view bytes) { corpus.add("replay", name, as_bytes(bytes)); };
    using namespace std::string_view_literals;
    text("dict_add", "\x13\0\x10\0\x29\0\0\0\0\0\1\2\3\4\5\6\7\x08\x41k\x41v"sv);
    text("dict_clear", "\2\0\x13\0"sv);
    text("list_insert", "\x0a\0\x10\1\5\0\0\0\0\0\x41v"sv);
    text("list_slice", "\x14\0\x12\1\1\0\0\0\0\0\2\0\0\0\0\0\4\0\0\0\0\0"sv);
    text("list_reverse", "\2\0\x13\1"sv);
    text("create", "\4\0\1\2\1x\3\0\3\0\0"sv);
    text("batch", "\x12\0\2\0\x0a\x10\1\0\0\0\0\0\0\x41v\2\x13\1\1\x13"sv);
}

void add_items(Corpus& corpus) {
    const auto add = [&](const char* name, const auto& value) {
        Buffer out;
        Codec<std::remove_cvref_t<decltype(value)>>::encode(out, value);
        corpus.add("codec", name, out);
    };
    add("int", std::int64_t{-1'000'000});
    add("float", 1e300);
    add("text", std::string(40, 'x'));
    add("tuple", std::tuple<std::int64_t, std::string>{1, "a"});
    add("map", std::map<std::string, std::vector<double>>{{"a", {1, 2}}, {"b", {}}});
    add("set", std::set<std::int64_t>{1, 2, 300});
    Buffer big, scalar, entry;
    put_big_int(big, true, as_bytes(std::string(20, '\x7f')));
    corpus.add("codec", "big_int", big);
    put_numpy_scalar(scalar, "f8", as_bytes("12345678"));
    corpus.add("codec", "numpy_scalar", scalar);
    entry.append(as_bytes("\x81"));
    entry.push_back(std::byte{0});
    put_float(entry, 1.0);
    put_text(entry, "value", false);
    corpus.add("codec", "entry", entry);
    Buffer identity, sort_key, sorted_entry;
    Codec<std::tuple<std::string, double, std::int64_t>>::encode(identity, {std::string("a\0b", 3), -0.1, 1 << 20});
    put_sort_key(sort_key, identity);
    corpus.add("codec", "sort_key", sort_key);
    put_sorted_entry_key(sorted_entry, identity, {});
    put_text(sorted_entry, "value", false);
    corpus.add("codec", "sorted_entry", sorted_entry);
    for (const unsigned depth : {199u, 200u, 201u, 600u}) {
        std::string nested;
        for (unsigned i = 0; i < depth; ++i) nested += "\x0b\x01";
        corpus.add("codec", "nested_" + std::to_string(depth), as_bytes(nested + '\x0b' + '\0'));
    }
    corpus.add("codec", "frozenset", as_bytes("\x0e\x03\x81\x0a\x02\x82\x0e\x01\x83\x41k"));
}

/// The file as a writer leaves it, with the record that it has published last.
void add_locks(Corpus& corpus) {
    const fs::path path = corpus.directory() / "lock.tmp";
    make_small_store(path);
    pyrsistence::Store store(path, {.memory_limit = kMemory});
    RawList(store, "l").append(as_bytes("\x81"));
    store.publish();
    const auto lock = read_bytes(path / "lock");
    store.close();
    fs::remove_all(path);
    for (const char switches : {'\0', '\1', '\3'}) {
        std::vector<std::byte> input{std::byte(switches)};
        input.insert(input.end(), lock.begin(), lock.begin() + 448);
        corpus.add("lock", "published_" + std::to_string(int(switches)), input);
    }
    corpus.add("lock", "empty", as_bytes(std::string_view("\0", 1)));
}

}  // namespace

}  // namespace pyrsistence::fuzz

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    pyrsistence::fuzz::Corpus corpus(arguments[1]);
    pyrsistence::fuzz::add_stores(corpus);
    pyrsistence::fuzz::add_records(corpus);
    pyrsistence::fuzz::add_items(corpus);
    pyrsistence::fuzz::add_locks(corpus);
    std::printf("%zu bytes in %s\n", corpus.total(), arguments[1]);
    return 0;
}
