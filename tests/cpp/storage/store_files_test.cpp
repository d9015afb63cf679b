// Opening: what is a store, who may have it, and what stays of it.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <sys/wait.h>

#include <fstream>

#include "containers/crash.hpp"

namespace pyrsistence::test {
namespace {

class StoreFilesTest : public ::testing::Test {
protected:
    static void put(RawDict& dict, std::uint64_t key, std::string_view value = "value") {
        Buffer out;
        put_uint(out, key);
        const std::size_t size = out.size();
        put_bytes(out, as_bytes(value));
        dict.set({out, size, size});
    }
    static bool has(const RawDict& dict, std::uint64_t key) {
        Buffer out;
        put_uint(out, key);
        return dict.contains(out);
    }
    static void make_file(const fs::path& path, std::string_view text = "text") { std::ofstream(path) << text; }
    static std::string read_file(const fs::path& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    template <class E>
    static std::string message(const std::function<void()>& call) {
        try {
            call();
        } catch (const E& error) {
            return error.what();
        } catch (const std::exception& error) {
            ADD_FAILURE() << "another error: " << error.what();
            return "";
        }
        ADD_FAILURE() << "no error";
        return "";
    }
    /// Runs in a forked child; the result is its exit code. Nothing of gtest may fail there.
    static int in_child(const std::function<int()>& run) {
        const pid_t child = ::fork();
        if (child == 0) {
            int code = 99;
            try {
                code = run();
            } catch (...) {
            }
            ::_exit(code);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    TempDir dir_;
    const fs::path path_ = dir_ / "store";
};

Options mode(Mode mode) { return {mode, 4 << 20, false}; }

TEST_F(StoreFilesTest, ModesMeanWhatTheyMeanInH5py) {
    EXPECT_THROW(RawDict(path_, mode(Mode::read)), NotFoundError);
    EXPECT_THROW(RawDict(path_, mode(Mode::read_write)), NotFoundError);
    EXPECT_FALSE(fs::exists(path_));
    {
        RawDict dict(path_, mode(Mode::exclusive));
        put(dict, 1);
        EXPECT_THROW(RawDict(path_, mode(Mode::exclusive)), ExistsError);
        EXPECT_THROW(RawDict(path_, mode(Mode::truncate)), LockedError);
    }
    EXPECT_THROW(RawDict(path_, mode(Mode::exclusive)), ExistsError);
    EXPECT_TRUE(has(RawDict(path_, mode(Mode::read_write)), 1));
    {
        RawDict dict(path_, mode(Mode::read));
        EXPECT_TRUE(has(dict, 1));
        EXPECT_THROW(put(dict, 2), ReadOnlyError);
        EXPECT_THROW(dict.clear(), ReadOnlyError);
        EXPECT_THROW(RawDict(path_, mode(Mode::append)), LockedError);
    }
    RawDict dict(path_, mode(Mode::truncate));
    EXPECT_EQ(dict.size(), 0u);
    dict.check();
}

TEST_F(StoreFilesTest, EmptyAndHalfMadeDirectoriesAreCreatable) {
    fs::create_directory(path_);
    EXPECT_THROW(RawDict(path_, mode(Mode::read)), NotFoundError);
    EXPECT_TRUE(fs::is_empty(path_));
    for (const char* names : {"", "lock", "lock log", "lock log data.new", "log data.new"}) {
        for (const Mode how : {Mode::append, Mode::truncate, Mode::exclusive}) {
            fs::remove_all(path_);
            fs::create_directory(path_);
            std::istringstream words(names);
            for (std::string word; words >> word;) make_file(path_ / word, "torn");
            RawDict dict(path_, mode(how));
            put(dict, 1);
            dict.close();
            EXPECT_TRUE(has(RawDict(path_, mode(Mode::read)), 1)) << names;
        }
    }
}

TEST_F(StoreFilesTest, CreatingMayBeKilledAtAnyCall) {
    for (unsigned at = 1;; ++at) {
        fs::remove_all(path_);
        const int code = in_child([&] {
            TestFileSystem files;
            unsigned calls = 0;
            files.hook = [&](TestFileSystem::Call, const fs::path&) {
                if (++calls == at) ::_exit(1);
            };
            OpenStore<RawDict> open(path_, &files, 0);
            return 0;
        });
        RawDict dict(path_, mode(Mode::append));
        dict.check();
        put(dict, at);
        dict.close();
        ASSERT_TRUE(has(RawDict(path_, mode(Mode::read)), at));
        if (code == 0) break;
        ASSERT_EQ(code, 1);
        ASSERT_LT(at, 200u);
    }
}

TEST_F(StoreFilesTest, WhatIsNoStoreIsLeftAlone) {
    make_file(path_, "precious");
    for (const Mode how : {Mode::append, Mode::truncate, Mode::read, Mode::read_write}) {
        EXPECT_THROW(RawDict(path_, mode(how)), FormatError);
    }
    EXPECT_EQ(read_file(path_), "precious");
    fs::remove(path_);
    fs::create_directory(path_);
    make_file(path_ / "thesis.tex", "precious");
    for (const Mode how : {Mode::append, Mode::truncate, Mode::exclusive, Mode::read}) {
        const std::string text = message<FormatError>([&] { RawDict(path_, mode(how)); });
        EXPECT_NE(text.find("thesis.tex"), std::string::npos) << text;
    }
    make_file(path_ / "data", "not ours, but of the name; and long enough to hold a meta page" + std::string(9000, 'x'));
    for (const Mode how : {Mode::append, Mode::truncate, Mode::read}) EXPECT_THROW(RawDict(path_, mode(how)), FormatError);
    EXPECT_EQ(read_file(path_ / "data").size(), 9062u);
    EXPECT_EQ(read_file(path_ / "thesis.tex"), "precious");
}

TEST_F(StoreFilesTest, TheFilesOfTheOriginalAreNamed) {
    fs::create_directory(path_);
    make_file(path_ / "index.bin");
    for (const Mode how : {Mode::append, Mode::truncate, Mode::read}) {
        const std::string text = message<FormatError>([&] { RawDict(path_, mode(how)); });
        EXPECT_NE(text.find("index.bin"), std::string::npos) << text;
    }
}

TEST_F(StoreFilesTest, TruncateKeepsNothingAndNoForeignFiles) {
    { put(*std::make_unique<RawDict>(path_, mode(Mode::append)), 1); }
    make_file(path_ / "notes.txt", "mine");
    RawDict dict(path_, mode(Mode::truncate));
    EXPECT_FALSE(has(dict, 1));
    dict.close();
    EXPECT_EQ(read_file(path_ / "notes.txt"), "mine");
}

TEST_F(StoreFilesTest, ANewerFormatIsNotTouched) {
    RawDict(path_, mode(Mode::append)).close();
    const auto data = os::FileSystem::posix().open(path_ / "data", os::Access::read_write);
    for (const std::uint64_t page : {0, 4096}) {
        std::array<std::byte, 160> meta;
        data->read(meta, page);
        meta[8] = std::byte{9};
        codec::store<std::uint64_t>(meta.data() + 152, XXH3_64bits(meta.data(), 152));
        data->write(Bytes(meta), page);
    }
    const std::string before = read_file(path_ / "data");
    for (const Mode how : {Mode::append, Mode::read, Mode::read_write, Mode::truncate}) {
        const std::string text = message<FormatError>([&] { RawDict(path_, mode(how)); });
        EXPECT_NE(text.find("version 9"), std::string::npos) << text;
    }
    EXPECT_EQ(read_file(path_ / "data"), before);
}

TEST_F(StoreFilesTest, AnotherTypeIsAFormatError) {
    RawDict(path_, mode(Mode::append)).close();
    const std::string text = message<FormatError>([&] { RawList(path_, mode(Mode::append)); });
    EXPECT_NE(text.find("a dict, not a list"), std::string::npos) << text;
    RawDict(path_, mode(Mode::append)).check();
}

TEST_F(StoreFilesTest, AnotherProcessIsLockedOutAndToldByWhom) {
    RawDict dict(path_, mode(Mode::append));
    put(dict, 1);
    const std::string pid = std::to_string(::getpid());
    for (const Mode how : {Mode::append, Mode::read_write, Mode::truncate}) {
        const int code = in_child([&] {
            try {
                RawDict other(path_, mode(how));
            } catch (const LockedError& error) {
                return std::string(error.what()).find("process " + pid) != std::string::npos ? 7 : 8;
            }
            return 9;
        });
        EXPECT_EQ(code, 7);
    }
    dict.close();
    EXPECT_EQ(in_child([&] { return has(RawDict(path_, mode(Mode::append)), 1) ? 0 : 1; }), 0);
}

TEST_F(StoreFilesTest, ReadersAndAWriterDoNotLockEachOtherOut) {
    { put(*std::make_unique<RawDict>(path_, mode(Mode::append)), 1); }
    RawDict reader(path_, mode(Mode::read));
    EXPECT_EQ(in_child([&] {
                  RawDict writer(path_, mode(Mode::append));
                  put(writer, 2);
                  return has(writer, 1) && has(writer, 2) ? 0 : 1;
              }),
              0);
    EXPECT_TRUE(has(reader, 1));
    EXPECT_FALSE(has(reader, 2));
    reader.refresh();
    EXPECT_TRUE(has(reader, 2));
}

TEST_F(StoreFilesTest, HandlesOfOneProcessShareTheStore) {
    auto first = std::make_unique<RawDict>(path_, mode(Mode::append));
    fs::create_directory_symlink(path_, dir_ / "alias");
    RawDict second(dir_ / "alias", mode(Mode::append));
    RawDict reader(path_, mode(Mode::read));
    put(*first, 1);
    EXPECT_TRUE(has(second, 1));
    EXPECT_TRUE(has(reader, 1));
    EXPECT_THROW(put(reader, 2), ReadOnlyError);
    first.reset();
    put(second, 3);
    EXPECT_TRUE(has(reader, 3));
    second.close();
    second.close();
    EXPECT_TRUE(second.closed());
    EXPECT_THROW(put(second, 4), ClosedError);
    EXPECT_THROW((void)second.size(), ClosedError);
    reader.close();
    EXPECT_TRUE(has(RawDict(path_, mode(Mode::read)), 3));
}

TEST_F(StoreFilesTest, ADirectoryMadeAgainIsANewStore) {
    RawDict old(path_, mode(Mode::append));
    put(old, 1);
    fs::remove_all(path_);
    RawDict fresh(path_, mode(Mode::append));
    EXPECT_FALSE(has(fresh, 1));
    put(fresh, 2);
    put(old, 3);
    EXPECT_FALSE(has(old, 2));
    EXPECT_TRUE(has(old, 3));
    old.close();
    EXPECT_TRUE(has(fresh, 2));
    fresh.close();
    RawDict again(path_, mode(Mode::append));
    EXPECT_TRUE(has(again, 2));
    EXPECT_EQ(again.size(), 1u);
}

TEST_F(StoreFilesTest, ATemporaryStoreIsRemoved) {
    {
        RawDict dict(path_, {Mode::append, 4 << 20, true});
        for (std::uint64_t i = 0; i < 10'000; ++i) put(dict, i);
        dict.check();
    }
    EXPECT_FALSE(fs::exists(path_));
}

/// A temporary store that could not be opened removed the files of the one that was there.
TEST_F(StoreFilesTest, ATemporaryStoreThatCannotBeOpenedRemovesNothing) {
    RawDict dict(path_, mode(Mode::append));
    put(dict, 1);
    EXPECT_EQ(in_child([&] {
                  try {
                      RawDict other(path_, {Mode::append, 4 << 20, true});
                  } catch (const LockedError&) {
                      return 7;
                  }
                  return 8;
              }),
              7);
    EXPECT_TRUE(fs::exists(path_ / "data"));
}

TEST_F(StoreFilesTest, TheChildOfAForkTouchesNothing) {
    auto dict = std::make_unique<RawDict>(path_, mode(Mode::append));
    put(*dict, 1);
    EXPECT_EQ(in_child([&] {
                  int errors = 0;
                  const auto expect_closed = [&](const std::function<void()>& call) {
                      try {
                          call();
                      } catch (const ClosedError&) {
                          ++errors;
                      }
                  };
                  expect_closed([&] { put(*dict, 2); });
                  expect_closed([&] { has(*dict, 1); });
                  expect_closed([&] { dict->sync(); });
                  expect_closed([&] { dict->checkpoint(); });
                  expect_closed([&] { (void)dict->info(); });
                  expect_closed([&] { dict->check(); });
                  dict.reset();
                  return errors;
              }),
              6);
    put(*dict, 3);
    dict->checkpoint();
    dict->check();
    EXPECT_EQ(dict->size(), 2u);
    // A child that outlives its parent does not hold the lock.
    int pipe[2], started[2];
    ASSERT_EQ(::pipe(pipe), 0);
    ASSERT_EQ(::pipe(started), 0);
    const pid_t parent = ::fork();
    if (parent == 0) {
        auto* other = new RawDict(dir_ / "other", mode(Mode::append));
        put(*other, 1);
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(pipe[1]);
            (void)!::write(started[1], "s", 1);  // its fork handlers have run
            char end;
            (void)!::read(pipe[0], &end, 1);
            ::_exit(0);
        }
        ::_exit(0);  // without closing, as if killed
    }
    int status = 0;
    ::waitpid(parent, &status, 0);
    char start;
    EXPECT_EQ(::read(started[0], &start, 1), 1);
    EXPECT_TRUE(has(RawDict(dir_ / "other", mode(Mode::append)), 1));
    for (const int end : {pipe[0], pipe[1], started[0], started[1]}) ::close(end);
}

/// The child's copy of a condition variable still counted the parent's waiting threads, so that
/// destroying it never ended.
TEST_F(StoreFilesTest, AForkBesideBusyThreadsDoesNotHang) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "the sanitizer's own allocator can hang in a child forked beside busy threads";
#endif
    RawDict dict(path_, mode(Mode::append));
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = t; !stop; i += 2) {
                put(dict, i % 5000, std::string(2000, 'x'));
                if (i % 64 == t) dict.checkpoint();
            }
        });
    }
    threads.emplace_back([&] {  // a child must not inherit the lock that is held while a store is opened
        while (!stop) RawDict(dir_ / "other", mode(Mode::append)).close();
    });
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(in_child([&] {
                      ::alarm(20);
                      try {
                          put(dict, 1);
                      } catch (const ClosedError&) {
                          dict.close();
                          return RawDict(dir_ / "child", mode(Mode::append)).size() == 0 ? 7 : 8;
                      }
                      return 9;
                  }),
                  7);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    dict.check();
}

/// The child of a writer that died just after a fork has its lock until it has run its fork handlers.
TEST_F(StoreFilesTest, TheLockOfADeadWriterIsAwaited) {
    RawDict(path_, mode(Mode::append)).close();
    const auto file = os::FileSystem::posix().open(path_ / "lock", os::Access::read_write);
    const pid_t dead = ::fork();
    if (dead == 0) ::_exit(0);
    ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
    file->write(as_bytes(std::to_string(dead) + "\n"), 0);
    ASSERT_TRUE(file->try_lock(0, os::Lock::exclusive));
    std::thread child([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        file->unlock(0);
    });
    EXPECT_NO_THROW(RawDict(path_, mode(Mode::append)));
    child.join();
}

TEST_F(StoreFilesTest, AReaderRecoversAStoreAfterAKill) {
    DictDriver driver(1, 300, {100'000, 10});
    TestFileSystem files;
    OpenStore<RawDict> open(path_, &files, 64 << 10);
    for (int i = 0; i < 3000; ++i) driver.step(&*open);
    const fs::path copy = dir_ / "copy";
    {
        const auto still = files.stand_still();  // a checkpoint may be running
        copy_store(path_, copy);
    }
    for (const Mode how : {Mode::read, Mode::read, Mode::append}) {
        RawDict reader(copy, mode(how));
        reader.check();
        EXPECT_EQ(driver.difference(reader), "");
        EXPECT_EQ(reader.info().log_bytes, 0U);
    }
}

}  // namespace
}  // namespace pyrsistence::test
