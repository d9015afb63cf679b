#include "fuzz/samples.hpp"

#include "pyrsistence/store.hpp"
#include "storage/store.hpp"
#include "support.hpp"

namespace pyrsistence::fuzz {

const fs::path& scratch_directory() {
    static const test::TempDir directory;
    return directory.path();
}

void make_small_store(const fs::path& path) {
    fs::remove_all(path);
    pyrsistence::Store store(path, {.memory_limit = 4 << 20});
    auto dict = store.dict<std::string, std::string>("d");
    auto list = store.list<std::string>("l");
    for (int i = 0; i < 40; ++i) {
        const auto size = static_cast<std::size_t>(i % 13 == 0 ? 5000 : i % 7 == 0 ? 800 : 3 * i);
        dict.insert_or_assign("key" + std::to_string(i), std::string(size, '\0'));
        list.push_back(std::string(size, '\0') + std::to_string(i));
    }
    dict.erase("key3");
}

void make_divided_store(const fs::path& path) {
    fs::remove_all(path);
    storage::StoreOptions options;
    options.memory_limit = 4 << 20;
    options.index_pages = 1;
    auto store = storage::Store::open(path, options);
    {
        Dict<std::uint64_t, std::uint64_t> dict(path, {.memory_limit = 4 << 20});
        // What was written since the last checkpoint takes slots without the delta.
        for (std::uint64_t i = 0; i < 1000; ++i) {
            dict.insert_or_assign(i * 7919, i);
            if (i % 60 == 0) dict.checkpoint();
        }
        for (std::uint64_t i = 0; i < 1000; i += 7) dict.erase(i * 7919);
        dict.compact();
    }
    storage::Store::release(store);
}

const Image& small_store() {
    static const Image image = [] {
        make_small_store(scratch_directory() / "small");
        return Image::read(scratch_directory() / "small");
    }();
    return image;
}

}  // namespace pyrsistence::fuzz
