#include "os/file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "pyrsistence/error.hpp"

namespace pyrsistence::os {
namespace {

class PosixFileTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "pyrsistence-os-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
    }
    void TearDown() override { fs::remove_all(directory_); }

    fs::path path(const char* name = "file") const { return directory_ / name; }
    std::string content(File& file) {
        std::string text(file.size(), '?');
        EXPECT_EQ(file.read({reinterpret_cast<std::byte*>(text.data()), text.size()}, 0), text.size());
        return text;
    }

    FileSystem& system_ = FileSystem::posix();
    fs::path directory_;
};

template <class Call>
int error_of(Call&& call) {
    try {
        call();
    } catch (const StorageError& error) {
        return error.code();
    }
    return 0;
}

TEST_F(PosixFileTest, WritesAndReadsAtOffsets) {
    auto file = system_.create(path());
    file->write(as_bytes("world"), 6);
    file->write(as_bytes("hello "), 0);
    EXPECT_EQ(content(*file), "hello world");
    std::array<std::byte, 8> buffer;
    EXPECT_EQ(file->read(buffer, 6), 5U);  // fewer only at the end
    EXPECT_EQ(file->read(buffer, 11), 0U);
    EXPECT_EQ(file->read(buffer, 1000), 0U);
}

TEST_F(PosixFileTest, WritesMorePartsThanOneCallTakes) {
    auto file = system_.create(path());
    std::vector<std::string> texts;
    for (int i = 0; i < 5000; ++i) texts.push_back(i % 7 == 0 ? "" : std::to_string(i) + ",");
    std::vector<Bytes> parts;
    for (const std::string& text : texts) parts.push_back(as_bytes(text));
    file->write(std::span<const Bytes>(parts), 0);
    EXPECT_EQ(content(*file), std::accumulate(texts.begin(), texts.end(), std::string()));
    file->write(std::span<const Bytes>(), 0);
    file->write(std::span<const Bytes>(parts.data(), 1), 0);  // one empty part
    EXPECT_EQ(content(*file).substr(0, 4), "1,2,");
}

TEST_F(PosixFileTest, CreatesPrivateFilesOnce) {
    auto file = system_.create(path());
    struct stat status {};
    ASSERT_EQ(::stat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    EXPECT_EQ(error_of([&] { system_.create(path()); }), EEXIST);
}

TEST_F(PosixFileTest, OpenReportsWhatIsMissing) {
    EXPECT_EQ(error_of([&] { system_.open(path("none"), Access::read_only); }), ENOENT);
    try {
        system_.open(path("none"), Access::read_write);
        FAIL();
    } catch (const StorageError& error) {
        EXPECT_NE(std::string(error.what()).find(path("none").string()), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("open"), std::string::npos) << error.what();
    }
}

TEST_F(PosixFileTest, RefusesSymbolicLinks) {
    system_.create(path());
    fs::create_symlink(path(), path("link"));
    EXPECT_EQ(error_of([&] { system_.open(path("link"), Access::read_only); }), ELOOP);
    EXPECT_EQ(error_of([&] { system_.create(path("link")); }), EEXIST);
}

TEST_F(PosixFileTest, RefusesPipesWithoutWaiting) {
    ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
    for (const Access access : {Access::read_only, Access::read_write}) {
        EXPECT_EQ(error_of([&] { system_.open(path(), access); }), EINVAL);
    }
}

TEST_F(PosixFileTest, ReadOnlyFilesRefuseWrites) {
    system_.create(path())->write(as_bytes("x"), 0);
    auto file = system_.open(path(), Access::read_only);
    EXPECT_EQ(error_of([&] { file->write(as_bytes("y"), 0); }), EBADF);
    EXPECT_EQ(content(*file), "x");
}

TEST_F(PosixFileTest, AllocatesTruncatesAndSyncs) {
    auto file = system_.create(path());
    file->write(as_bytes("abc"), 0);
    file->allocate(0, 8192);
    EXPECT_EQ(file->size(), 8192U);
    EXPECT_EQ(content(*file).substr(0, 4), std::string("abc\0", 4));
    file->allocate(4096, 100);  // never shortens
    EXPECT_EQ(file->size(), 8192U);
    file->truncate(2);
    file->sync();
    EXPECT_EQ(content(*file), "ab");
}

TEST_F(PosixFileTest, MapsBeyondTheEnd) {
    auto file = system_.create(path());
    file->allocate(0, 4096);
    auto writable = file->map(0, 1 << 20, Access::read_write);
    auto readable = file->map(0, 1 << 20, Access::read_only);
    ASSERT_EQ(readable->size(), std::size_t{1} << 20);
    std::memcpy(writable->data(), "mapped", 6);
    EXPECT_EQ(as_text({readable->data(), 6}), "mapped");
    EXPECT_EQ(content(*file).substr(0, 6), "mapped");
    file->write(as_bytes("MAP"), 0);
    EXPECT_EQ(as_text({writable->data(), 6}), "MAPped");
    readable->will_need(100, 5000);
    readable->will_need(1 << 20, 1);
    readable->will_need(0, SIZE_MAX);
}

/// With a system call for it, and as it is done where there is none.
TEST_F(PosixFileTest, TemporaryFilesHaveNoName) {
    fs::create_directory(path("place"));
    fs::create_directory_symlink(path("place"), path("link"));
    for (const bool by_name : {false, true}) {
        const auto create = [&](const fs::path& place) {
            return by_name ? system_.FileSystem::create_temporary(place) : system_.create_temporary(place);
        };
        auto one = create(path("place")), other = create(path("link"));
        EXPECT_TRUE(fs::is_empty(path("place")));
        one->write(as_bytes("one"), 0);
        other->write(as_bytes("other"), 0);
        one->will_need(0, 4096);
        EXPECT_EQ(content(*one), "one");
        EXPECT_EQ(content(*other), "other");
        EXPECT_EQ(error_of([&] { create(path("none")); }), ENOENT);
    }
}

TEST_F(PosixFileTest, LocksExcludeOtherFiles) {
    auto first = system_.create(path());
    auto second = system_.open(path(), Access::read_write);
    EXPECT_TRUE(first->try_lock(0, Lock::exclusive));
    EXPECT_TRUE(first->try_lock(0, Lock::exclusive));  // one's own lock is no obstacle
    EXPECT_FALSE(second->try_lock(0, Lock::exclusive));
    EXPECT_FALSE(second->try_lock(0, Lock::shared));
    EXPECT_TRUE(second->try_lock(1, Lock::exclusive));  // one byte only
    first->unlock(0);
    EXPECT_TRUE(second->try_lock(0, Lock::shared));
    EXPECT_TRUE(first->try_lock(0, Lock::shared));
    EXPECT_FALSE(first->try_lock(0, Lock::exclusive));
    second.reset();
    EXPECT_TRUE(first->try_lock(0, Lock::exclusive));
}

TEST_F(PosixFileTest, ClosingAnotherDescriptorKeepsTheLock) {
    auto first = system_.create(path());
    ASSERT_TRUE(first->try_lock(0, Lock::exclusive));
    system_.open(path(), Access::read_write).reset();
    auto second = system_.open(path(), Access::read_write);
    EXPECT_FALSE(second->try_lock(0, Lock::exclusive));
}

TEST_F(PosixFileTest, IdentityTellsFilesApart) {
    auto first = system_.create(path());
    auto same = system_.open(path(), Access::read_only);
    auto other = system_.create(path("other"));
    EXPECT_EQ(first->identity(), same->identity());
    EXPECT_NE(first->identity(), other->identity());
}

TEST_F(PosixFileTest, AbandonedFilesFailAndTouchNothing) {
    auto file = system_.create(path());
    file->write(as_bytes("kept"), 0);
    file->abandon();
    file->abandon();
    EXPECT_EQ(error_of([&] { file->write(as_bytes("lost"), 0); }), EBADF);
    EXPECT_EQ(error_of([&] { file->sync(); }), EBADF);
    EXPECT_EQ(content(*system_.open(path(), Access::read_only)), "kept");
}

TEST_F(PosixFileTest, Directories) {
    EXPECT_TRUE(system_.create_directory(path("d")));
    EXPECT_FALSE(system_.create_directory(path("d")));
    system_.create(path("d/b"));
    system_.create(path("d/a"));
    system_.rename(path("d/b"), path("d/c"));
    system_.sync_directory(path("d"));
    EXPECT_EQ(system_.list(path("d")), (std::vector<std::string>{"a", "c"}));
    EXPECT_EQ(error_of([&] { system_.remove(path("d")); }), ENOTEMPTY);
    system_.remove(path("d/a"));
    system_.remove(path("d/c"));
    system_.remove(path("d"));
    EXPECT_EQ(error_of([&] { system_.list(path("d")); }), ENOENT);
    EXPECT_EQ(error_of([&] { system_.remove(path("d")); }), ENOENT);
    EXPECT_EQ(error_of([&] { system_.sync_directory(path("d")); }), ENOENT);
    system_.create(path());
    EXPECT_EQ(error_of([&] { system_.create_directory(path()); }), EEXIST);
}

TEST(AvailableMemory, IsPositiveAndNoMoreThanTheMachineHas) {
    const auto machine = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * 4096U;
    EXPECT_GT(available_memory(), 16U << 20);
    EXPECT_LE(available_memory(), machine);
}

}  // namespace
}  // namespace pyrsistence::os
