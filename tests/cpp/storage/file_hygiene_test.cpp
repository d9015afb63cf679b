// What a store makes is its owner's alone, and what lies in the place of its files is never followed, waited for
// or written through.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <fstream>

#include "containers/world.hpp"

namespace pyrsistence::test {
namespace {

constexpr const char* kNames[] = {"data", "log", "lock", "data.new"};
constexpr Mode kModes[] = {Mode::read, Mode::read_write, Mode::append, Mode::truncate, Mode::exclusive};

class FileHygieneTest : public ::testing::Test {
protected:
    ~FileHygieneTest() override { ::umask(umask_); }

    static void make_store(const fs::path& path) {
        RawList list(path);
        list.append(as_bytes("something"));
    }
    static std::string text_of(const fs::path& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    static mode_t mode_of(const fs::path& path) {
        struct stat status {};
        EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
        return status.st_mode & 07777;
    }
    static void expect_private(const fs::path& directory) {
        EXPECT_EQ(mode_of(directory), 0700u);
        for (const auto& entry : fs::directory_iterator(directory)) {
            EXPECT_EQ(mode_of(entry), 0600u) << entry.path();
        }
    }
    /// Opening is refused by an error that names the file.
    static void expect_refused(const fs::path& path, const char* name, Mode mode, const std::string& what) {
        Options options;
        options.mode = mode;
        try {
            RawList list(path, options);
            ADD_FAILURE() << name << " was opened";
        } catch (const ExistsError&) {
            EXPECT_EQ(mode, Mode::exclusive);
        } catch (const Error& error) {
            const std::string text = error.what();
            EXPECT_NE(text.find((path / name).string()), std::string::npos) << text;
            EXPECT_NE(text.find(what), std::string::npos) << text;
        }
    }
    /// Puts something in the place of one file, and asks for a refusal in every mode.
    void refuse_each(const std::string& what, const std::function<void(const fs::path&)>& make) {
        for (const char* name : kNames) {
            SCOPED_TRACE(name);
            const fs::path path = dir_.next();
            make_store(path);
            fs::remove(path / name);
            make(path / name);
            for (const Mode mode : kModes) expect_refused(path, name, mode, what);
            EXPECT_TRUE(fs::exists(fs::symlink_status(path / name))) << "what was refused has been removed";
        }
    }

    TempDir dir_{true};
    const mode_t umask_ = ::umask(0);
};

TEST_F(FileHygieneTest, FilesAreTheOwnersWhateverTheUmask) {
    const fs::path path = dir_.next(), copy = dir_.next();
    Store store(path);
    RawDict(store, "dict");
    store.checkpoint();
    store.backup(copy);
    expect_private(path);
    expect_private(copy);
    Options temporary;
    temporary.temporary = true;
    const fs::path passing = dir_.next();
    {
        const Store gone(passing, temporary);
        expect_private(passing);
    }
    EXPECT_FALSE(fs::exists(passing));
    store.close();
    Options emptied;
    emptied.mode = Mode::truncate;
    Store(path, emptied).close();
    expect_private(path);
}

TEST_F(FileHygieneTest, LinksAreNotFollowed) {
    const fs::path victim = dir_ / "victim", missing = dir_ / "missing";
    std::ofstream(victim) << "precious";
    refuse_each("symbolic link", [&](const fs::path& place) { fs::create_symlink(victim, place); });
    refuse_each("symbolic link", [&](const fs::path& place) { fs::create_symlink(missing, place); });
    EXPECT_EQ(text_of(victim), "precious");
    EXPECT_FALSE(fs::exists(missing));
}

/// Not even to the store's own file, which somebody has moved.
TEST_F(FileHygieneTest, ALinkToTheRealFileIsALink) {
    for (const char* name : {"data", "log", "lock"}) {
        const fs::path path = dir_.next(), moved = dir_.next();
        make_store(path);
        fs::rename(path / name, moved);
        const std::string before = text_of(moved);
        fs::create_symlink(moved, path / name);
        for (const Mode mode : kModes) expect_refused(path, name, mode, "symbolic link");
        EXPECT_EQ(text_of(moved), before);
    }
}

/// Opening a FIFO for reading waited for somebody who opens it for writing.
TEST_F(FileHygieneTest, OtherKindsOfFilesAreRefusedWithoutWaiting) {
    refuse_each("is no file", [](const fs::path& place) { ASSERT_EQ(::mkfifo(place.c_str(), 0600), 0); });
    refuse_each("is no file", [](const fs::path& place) { fs::create_directory(place); });
    refuse_each("is no file", [](const fs::path& place) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        ASSERT_LT(place.string().size(), sizeof address.sun_path);
        place.string().copy(address.sun_path, sizeof address.sun_path - 1);
        const int file = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_EQ(::bind(file, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        ::close(file);
    });
    if (::geteuid() != 0) return;
    refuse_each("is no file", [](const fs::path& place) {
        if (::mknod(place.c_str(), S_IFCHR | 0600, 1 << 8 | 3) != 0) std::ofstream(place / "x");
    });
}

/// Two directories with one data file have two lock files, so that two processes could write it.
TEST_F(FileHygieneTest, AFileWithAnotherNameIsNotWritten) {
    for (const char* name : {"data", "log", "lock"}) {
        SCOPED_TRACE(name);
        const fs::path path = dir_.next(), other = dir_.next();
        make_store(path);
        fs::create_hard_link(path / name, other);
        const std::string before = text_of(other);
        for (const Mode mode : {Mode::read_write, Mode::append, Mode::truncate}) {
            expect_refused(path, name, mode, "2 names");
        }
        EXPECT_EQ(text_of(other), before);
        Options reading;
        reading.mode = Mode::read;
        EXPECT_EQ(RawList(path, reading).size(), 1u);
        fs::remove(other);
        EXPECT_EQ(RawList(path).size(), 1u);
    }
}

/// A store that is open goes on, but nobody opens it, and no reader refreshes from what lies there now.
TEST_F(FileHygieneTest, LinksBesideAWriterAreRefusedToo) {
    const fs::path victim = dir_ / "victim", path = dir_.next();
    std::ofstream(victim) << "precious";
    RawList writer(path);
    writer.append(as_bytes("something"));
    for (const char* name : {"data", "log", "lock"}) {
        const fs::path aside = dir_.next();
        fs::rename(path / name, aside);
        fs::create_symlink(victim, path / name);
        const pid_t child = ::fork();
        if (child == 0) {
            expect_refused(path, name, Mode::read, "symbolic link");
            expect_refused(path, name, Mode::append, "symbolic link");
            ::_exit(HasFailure() ? 1 : 0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        EXPECT_EQ(status, 0) << name;
        fs::remove(path / name);
        fs::rename(aside, path / name);
    }
    writer.append(as_bytes("more"));
    writer.check();
    EXPECT_EQ(text_of(victim), "precious");
}

TEST_F(FileHygieneTest, ABackupWritesThroughNothing) {
    const fs::path victim = dir_ / "victim", path = dir_.next();
    std::ofstream(victim) << "precious";
    const RawList list(path);
    for (const char* name : kNames) {
        const fs::path to = dir_.next();
        fs::create_directory(to);
        fs::create_symlink(victim, to / name);
        EXPECT_THROW(list.backup(to), ExistsError);
        EXPECT_TRUE(fs::is_symlink(to / name));
    }
    const fs::path link = dir_.next(), fifo = dir_.next();
    fs::create_symlink(victim, link);
    EXPECT_THROW(list.backup(link), ExistsError);
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_THROW(list.backup(fifo), ExistsError);
    EXPECT_EQ(text_of(victim), "precious");
}

/// The files of a temporary store whose creation failed half way stayed behind.
TEST_F(FileHygieneTest, ATemporaryStoreThatCannotBeMadeLeavesNothing) {
    for (unsigned at = 1;; ++at) {
        TestFileSystem files;
        std::atomic<unsigned> calls = 0;
        files.hook = [&](TestFileSystem::Call call, const fs::path& file) {
            if (call == TestFileSystem::Call::remove || ++calls != at) return;
            throw StorageError("test: " + file.string(), ENOSPC);
        };
        storage::StoreOptions options;
        options.temporary = true;
        options.files = &files;
        const fs::path path = dir_.next();
        fs::create_directory(path);
        std::shared_ptr<storage::Store> store;
        try {
            store = storage::Store::open(path, options);
        } catch (const StorageError&) {
            EXPECT_TRUE(!fs::exists(path) || fs::is_empty(path)) << "call " << at;
            continue;
        }
        const bool done = calls < at;
        storage::Store::release(store);
        EXPECT_FALSE(fs::exists(path));
        if (done) break;
    }
}

}  // namespace
}  // namespace pyrsistence::test
