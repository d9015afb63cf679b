// What the tests of the guard share: files that are cut short while they are mapped, by a test in the role of
// somebody else, memory that no guard knows, and checks that run in a child, because they change the handlers
// of the process or are to kill it. Each object belongs to one test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

#include "os/mapping_guard.hpp"
#include "support.hpp"

namespace pyrsistence::os {

inline const auto kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

/// A read that the compiler neither leaves out nor moves.
inline char peek(const std::byte* at) {
    return static_cast<char>(*reinterpret_cast<const volatile std::byte*>(at));
}

/// A file full of 'x', and a mapping of all of it.
struct Victim {
    Victim(const fs::path& path, std::size_t pages, Access access = Access::read_only) : path(path) {
        std::ofstream(path) << std::string(pages * kPage, 'x');
        file = FileSystem::posix().open(path, Access::read_write);
        mapping = file->map(0, pages * kPage, access);
    }
    void cut(std::size_t pages) const { fs::resize_file(path, pages * kPage); }
    char at(std::size_t page) const { return peek(mapping->data() + page * kPage); }

    fs::path path;
    std::unique_ptr<File> file;
    std::unique_ptr<Mapping> mapping;
};

/// Memory of an empty file that no guard knows; every touch is a fault.
inline std::byte* foreign_memory(const test::TempDir& directory, void* place = nullptr,
                                 std::size_t pages = 1) {
    const int file = ::open((directory / "foreign").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const int flags = MAP_SHARED | (place != nullptr ? MAP_FIXED_NOREPLACE : 0);
    void* memory = ::mmap(place, pages * kPage, PROT_READ | PROT_WRITE, flags, file, 0);
    ::close(file);
    return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

class MappingGuardTest : public ::testing::Test {
protected:
    Victim victim(std::size_t pages, Access access = Access::read_only) {
        return Victim(directory_.next(), pages, access);
    }

    test::TempDir directory_{true};
};

/// What a child runs. One that faults for ever is not to stay behind.
template <class Body>
auto limited(Body&& body) {
    ::alarm(60);
    return body();
}
// The child says whether all is well, or is to die of the signal.
#define EXPECT_LIVES(...) \
    EXPECT_EXIT(::_exit(limited([&]() -> bool __VA_ARGS__) ? 0 : 1), ::testing::ExitedWithCode(0), "")
#define EXPECT_KILLED(...) EXPECT_EXIT(limited([&] __VA_ARGS__), ::testing::KilledBySignal(SIGBUS), "")

}  // namespace pyrsistence::os
