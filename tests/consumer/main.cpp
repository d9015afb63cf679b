// What a first program against the installed library looks like: it fills a dict and a list in a new
// directory, closes them and finds everything again. Exits with 0 if that worked.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include <pyrsistence/pyrsistence.hpp>

namespace fs = std::filesystem;

namespace {

void fill(const fs::path& directory) {
    pyrsistence::Dict<std::string, std::int64_t> calls(directory / "calls");
    calls["main"] = 1;
    calls["memcpy"] = -42;
    pyrsistence::List<std::string> order(directory / "order");
    for (const auto& [name, count] : calls) order.push_back(name);
}

bool holds_everything(const fs::path& directory) {
    const pyrsistence::Options options{.mode = pyrsistence::Mode::read};
    const pyrsistence::Dict<std::string, std::int64_t> calls(directory / "calls", options);
    const pyrsistence::List<std::string> order(directory / "order");
    return calls.size() == 2 && calls.at("main") == 1 && calls["memcpy"] == -42 && !calls.contains("free") &&
           order.size() == 2 && order.front() == "main" && order.back() == "memcpy";
}

bool refuses_what_is_missing(const fs::path& directory) {
    try {
        pyrsistence::List<int> missing(directory / "missing", {.mode = pyrsistence::Mode::read});
    } catch (const pyrsistence::NotFoundError&) {
        return true;
    }
    return false;
}

}  // namespace

int main() try {
    std::string name = (fs::temp_directory_path() / "pyrsistence-consumer-XXXXXX").string();
    if (!mkdtemp(name.data())) return 1;
    fill(name);
    const bool works = holds_everything(name) && refuses_what_is_missing(name);
    fs::remove_all(name);
    std::puts(works ? "consumer: ok" : "consumer: the stores do not hold what was put in");
    return works ? 0 : 1;
} catch (const std::exception& error) {
    std::printf("consumer: %s\n", error.what());
    return 1;
}
