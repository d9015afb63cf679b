#include "fuzz/samples.hpp"

#include "pyrsistence/store.hpp"
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

const Image& small_store() {
    static const Image image = [] {
        make_small_store(scratch_directory() / "small");
        return Image::read(scratch_directory() / "small");
    }();
    return image;
}

}  // namespace pyrsistence::fuzz
