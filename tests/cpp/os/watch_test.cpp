#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "os/file.hpp"
#include "support.hpp"

namespace pyrsistence::os {
namespace {

using namespace std::chrono_literals;
using pyrsistence::test::Random;
using pyrsistence::test::scaled;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr auto kLong = 20s;    // for what must happen
constexpr auto kShort = 50ms;  // for what must not

/// A number that can be waited for.
class Count {
public:
    void add() {
        const std::lock_guard guard(mutex_);
        ++value_;
        changed_.notify_all();
    }
    int value() const {
        const std::lock_guard guard(mutex_);
        return value_;
    }
    bool reaches(int value, std::chrono::milliseconds time = kLong) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, time, [&] { return value_ >= value; });
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    int value_ = 0;
};

std::size_t entries(const char* directory) {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(directory)) ++count;
    return count;
}

/// Open inotify instances of this process.
std::vector<std::string> instances() {
    std::vector<std::string> descriptors;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
        std::error_code error;
        const std::string target = fs::read_symlink(entry.path(), error);
        if (target.find("inotify") != std::string::npos) descriptors.push_back(entry.path().filename());
    }
    return descriptors;
}

/// Files that the system watches for this process.
std::size_t watched_files() {
    std::size_t count = 0;
    for (const std::string& descriptor : instances()) {
        std::ifstream info("/proc/self/fdinfo/" + descriptor);
        for (std::string line; std::getline(info, line);) count += line.rfind("inotify wd:", 0) == 0;
    }
    return count;
}

/// Runs `body` in a child of a fork; its result is the exit code.
template <class Body>
int in_child(Body&& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);
        ::_exit(body());
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

class WatchTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (!watch(path_, [] {})) GTEST_SKIP() << "no inotify here";
    }
    /// Makes the file if it is missing.
    std::unique_ptr<Watch> watch(const fs::path& path, std::function<void()> on_write) {
        if (!fs::exists(path)) system_.create(path);
        return system_.watch(path, std::move(on_write));
    }
    std::unique_ptr<Watch> watch(const fs::path& path, Count& count) {
        return watch(path, [&count] { count.add(); });
    }
    void write(const fs::path& path) { system_.open(path, Access::read_write)->write(as_bytes("x"), 0); }

    FileSystem& system_ = FileSystem::posix();
    test::TempDir dir_{true};
    fs::path path_ = dir_ / "file";
};

TEST_F(WatchTest, TellsOfEachWrite) {
    Count count;
    const auto watching = watch(path_, count);
    for (int i = 1; i <= 10; ++i) {
        write(path_);
        EXPECT_TRUE(count.reaches(i));
    }
    EXPECT_EQ(in_child([&] {
                  write(path_);
                  return 0;
              }),
              0);
    EXPECT_TRUE(count.reaches(11));
}

TEST_F(WatchTest, SaysNothingOfReadsAndMappings) {
    Count count;
    write(path_);
    const auto watching = watch(path_, count);
    const auto file = system_.open(path_, Access::read_write);
    std::byte byte;
    file->read({&byte, 1}, 0);
    file->map(0, 1, Access::read_write)->data()[0] = std::byte{1};
    watch(dir_ / "other", [] {});
    write(dir_ / "other");
    EXPECT_FALSE(count.reaches(1, kShort));
}

TEST_F(WatchTest, MissingFilesAreNotWatched) {
    EXPECT_EQ(system_.watch(dir_ / "none", [] {}), nullptr);
    Count count;
    const auto watching = watch(path_, count);
    write(path_);
    EXPECT_TRUE(count.reaches(1));
}

TEST_F(WatchTest, OneInstanceAndOneThreadWatchHundredsOfFiles) {
    constexpr int kFiles = 500;
    std::vector<Count> counts(kFiles);
    std::vector<std::unique_ptr<Watch>> watches;
    std::vector<fs::path> paths;
    const std::size_t threads = entries("/proc/self/task");
    for (int i = 0; i < kFiles; ++i) {
        paths.push_back(dir_.next());
        watches.push_back(watch(paths.back(), counts[std::size_t(i)]));
        ASSERT_TRUE(watches.back());
    }
    EXPECT_EQ(instances().size(), 1u);
    EXPECT_EQ(watched_files(), std::size_t{kFiles});
    EXPECT_EQ(entries("/proc/self/task"), threads);
    for (int i = 0; i < kFiles; i += 7) write(paths[std::size_t(i)]);
    for (int i = 0; i < kFiles; i += 7) EXPECT_TRUE(counts[std::size_t(i)].reaches(1));
    for (int i = 0; i < kFiles; ++i) EXPECT_EQ(counts[std::size_t(i)].value(), i % 7 == 0 ? 1 : 0);
    watches.clear();
    EXPECT_EQ(watched_files(), 0u);
}

/// They share what the system calls a watch.
TEST_F(WatchTest, SeveralWatchesOfOneFile) {
    Count first, second, third;
    auto a = watch(path_, first), b = watch(path_, second);
    fs::create_hard_link(path_, dir_ / "link");
    const auto c = watch(dir_ / "link", third);
    write(path_);
    for (Count* count : {&first, &second, &third}) EXPECT_TRUE(count->reaches(1));
    a.reset();
    write(path_);
    EXPECT_TRUE(second.reaches(2));
    EXPECT_TRUE(third.reaches(2));
    b.reset();
    write(path_);
    EXPECT_TRUE(third.reaches(3));
    EXPECT_EQ(first.value(), 1);
    EXPECT_EQ(second.value(), 2);
}

TEST_F(WatchTest, EndingAWatchWaitsForItsFunction) {
    Count begun, ended;
    std::atomic<bool> go_on = false;
    auto watching = watch(path_, [&] {
        begun.add();
        while (!go_on) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(20ms);
        ended.add();
    });
    write(path_);
    ASSERT_TRUE(begun.reaches(1));
    write(path_);
    std::thread other([&] {
        std::this_thread::sleep_for(20ms);
        go_on = true;
    });
    watching.reset();
    EXPECT_EQ(ended.value(), 1);
    other.join();
    write(path_);
    EXPECT_FALSE(begun.reaches(2, kShort));
}

/// Whatever the function holds is gone, too, when its watch has ended, and not destroyed by a thread of ours.
TEST_F(WatchTest, EndingAWatchDestroysItsFunction) {
    for (int i = 0; i < 300; ++i) {
        Count count;
        std::thread::id destroyed_by;
        std::shared_ptr<int> held(new int, [&](int* object) {
            destroyed_by = std::this_thread::get_id();
            delete object;
        });
        auto watching = watch(path_, [&count, held = std::move(held)] { count.add(); });
        write(path_);
        if (i % 3 != 0) count.reaches(1);
        watching.reset();
        ASSERT_EQ(destroyed_by, std::this_thread::get_id()) << i;
    }
}

TEST_F(WatchTest, AFunctionMayEndAndBeginWatches) {
    Count own, others, fresh;
    std::unique_ptr<Watch> self, other, next;
    std::mutex mutex;
    std::unique_lock setup(mutex);
    other = watch(path_, others);
    self = watch(path_, [&] {
        const std::lock_guard guard(mutex);
        other.reset();
        next = watch(dir_ / "next", fresh);
        self.reset();
        own.add();
    });
    const auto last = watch(path_, others);
    write(path_);
    setup.unlock();
    ASSERT_TRUE(own.reaches(1));
    EXPECT_TRUE(others.reaches(2));  // of the one that was ended, and the last
    const std::lock_guard guard(mutex);
    EXPECT_EQ(self, nullptr);
    ASSERT_NE(next, nullptr);
    write(path_);
    write(dir_ / "next");
    EXPECT_TRUE(fresh.reaches(1));
    EXPECT_EQ(own.value(), 1);
    EXPECT_EQ(others.value(), 3);
}

/// The function may wait for a lock whose holder ends another watch.
TEST_F(WatchTest, NoLockIsHeldWhileAFunctionRuns) {
    Count begun, ended;
    std::mutex mutex;
    auto other = watch(dir_ / "other", [] {});
    const auto watching = watch(path_, [&] {
        begun.add();
        const std::lock_guard guard(mutex);
        ended.add();
    });
    {
        const std::lock_guard guard(mutex);
        write(path_);
        ASSERT_TRUE(begun.reaches(1));
        other.reset();
        other = watch(dir_ / "other", [] {});
    }
    EXPECT_TRUE(ended.reaches(1));
}

TEST_F(WatchTest, WhatAFunctionThrowsIsDropped) {
    Count count;
    const auto watching = watch(path_, [&] {
        count.add();
        throw std::runtime_error("lost");
    });
    write(path_);
    EXPECT_TRUE(count.reaches(1));
    write(path_);
    EXPECT_TRUE(count.reaches(2));
}

TEST_F(WatchTest, SignalsAreHandledElsewhere) {
    Count count;
    sigset_t blocked, own;
    const auto watching = watch(path_, [&] {
        ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        count.add();
    });
    ::pthread_sigmask(SIG_SETMASK, nullptr, &own);
    for (const int signal : {SIGINT, SIGUSR1}) EXPECT_EQ(::sigismember(&own, signal), 0) << signal;
    write(path_);
    ASSERT_TRUE(count.reaches(1));
    for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGUSR1, SIGHUP, SIGPROF, SIGRTMIN + 1}) {
        EXPECT_EQ(::sigismember(&blocked, signal), 1) << signal;
    }
    // A blocked fault kills the process, whoever handles it.
    for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) EXPECT_EQ(::sigismember(&blocked, fault), 0);
}

TEST_F(WatchTest, ARemovedFileIsForgotten) {
    Count first, second;
    auto old = watch(path_, first), also_old = watch(path_, first);
    fs::remove(path_);
    auto watching = watch(path_, second);
    write(path_);
    EXPECT_TRUE(second.reaches(1));
    old.reset();
    also_old.reset();
    write(path_);
    EXPECT_TRUE(second.reaches(2));
    EXPECT_EQ(first.value(), 0);
}

/// The queue of the system has room for 16384 events by default; then events are lost, and it says so.
TEST_F(WatchTest, LostEventsConcernAll) {
    Count begun, other;
    std::atomic<bool> go_on = false;
    const auto blocking = watch(path_, [&] {
        begun.add();
        while (!go_on) std::this_thread::sleep_for(1ms);
    });
    const auto a = watch(dir_ / "a", [] {}), b = watch(dir_ / "b", [] {}), c = watch(dir_ / "c", other);
    write(path_);
    ASSERT_TRUE(begun.reaches(1));
    const auto first = system_.open(dir_ / "a", Access::read_write);
    const auto second = system_.open(dir_ / "b", Access::read_write);
    for (int i = 0; i < 40'000; ++i) (i % 2 == 0 ? first : second)->write(as_bytes("x"), 0);
    write(dir_ / "c");
    go_on = true;
    EXPECT_TRUE(other.reaches(1));
}

TEST_F(WatchTest, WithoutDescriptorsNobodyIsTold) {
    // Its allocator knows nothing of forks: the child waits for a lock that a thread of the parent held.
    if (kSanitized) GTEST_SKIP() << "a child that starts threads may hang in AddressSanitizer's own allocator";
    EXPECT_EQ(in_child([&] {
                  // A child has no instance of its own yet.
                  rlimit none{}, before{};
                  ::getrlimit(RLIMIT_NOFILE, &before);
                  none.rlim_max = before.rlim_max;
                  ::setrlimit(RLIMIT_NOFILE, &none);
                  if (system_.watch(path_, [] {})) return 1;
                  ::setrlimit(RLIMIT_NOFILE, &before);
                  Count count;
                  const auto watching = watch(path_, count);
                  if (!watching) return 2;
                  write(path_);
                  return count.reaches(1) ? 0 : 3;
              }),
              0);
}

TEST_F(WatchTest, AChildOfAForkStartsAfresh) {
    if (kSanitized) GTEST_SKIP() << "a child that starts threads may hang in AddressSanitizer's own allocator";
    Count count;
    auto watching = watch(path_, count), another = watch(path_, count);
    EXPECT_EQ(in_child([&] {
                  if (!instances().empty()) return 1;
                  watching.reset();
                  Count own;
                  const auto fresh = watch(path_, own);
                  if (!fresh || instances().size() != 1) return 2;
                  // The system counts from 1 again, so one of these has the number of the parent's.
                  std::vector<std::unique_ptr<Watch>> more;
                  while (more.size() < 9) more.push_back(watch(dir_.next(), own));
                  another.reset();
                  if (watched_files() != 10) return 3;
                  write(path_);
                  if (!own.reaches(1)) return 4;
                  return count.value() == 0 ? 0 : 5;
              }),
              0);
    EXPECT_TRUE(count.reaches(2));
    write(path_);
    EXPECT_TRUE(count.reaches(4));
}

/// Its only thread is the copy of the one that watches.
TEST_F(WatchTest, AFunctionMayFork) {
    if (kSanitized) GTEST_SKIP() << "sanitizers complain about how the child ends";
    Count count;
    std::atomic<pid_t> child = 0;
    const auto watching = watch(path_, [&] {
        child = ::fork();
        if (child != 0) count.add();
    });
    write(path_);
    ASSERT_TRUE(count.reaches(1));
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status));
}

TEST_F(WatchTest, ForksAtAnyMoment) {
    if (kSanitized) GTEST_SKIP() << "sanitizers cannot go on in a child forked beside busy threads";
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        const fs::path path = dir_.next();
        threads.emplace_back([&, path] {
            while (!stop) {
                Count count;
                const auto one = watch(path, count), two = watch(path, count);
                write(path);
                count.reaches(2);
            }
        });
    }
    for (std::size_t i = 0; i < scaled(50); ++i) {
        ASSERT_EQ(in_child([&] {
                      Count count;
                      const auto watching = watch(path_, count);
                      if (!watching) return 1;
                      write(path_);
                      return count.reaches(1) ? 0 : 2;
                  }),
                  0);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
}

TEST_F(WatchTest, ManyThreadsWatchAndWrite) {
    PYRSISTENCE_TRACE_SEED;
    constexpr std::size_t kFiles = 4;
    std::vector<fs::path> paths;
    for (std::size_t i = 0; i < kFiles; ++i) paths.push_back(dir_.next());
    for (const fs::path& path : paths) system_.create(path);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            Random random(t);
            for (std::size_t i = 0; i < scaled(500); ++i) {
                const fs::path& path = paths[random.below(kFiles)];
                auto alive = std::make_unique<std::atomic<bool>>(true);
                Count count;
                auto watching = system_.watch(path, [&wrong, &count, alive = alive.get()] {
                    if (!*alive) ++wrong;
                    count.add();
                });
                write(path);
                if (random.chance(50) && !count.reaches(1)) ++wrong;
                watching.reset();
                *alive = false;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
}

TEST(FileSystemTest, WatchesNothingByDefault) {
    test::TestFileSystem files;
    FileSystem& base = files;
    EXPECT_EQ(base.FileSystem::watch("anything", [] {}), nullptr);
}

}  // namespace
}  // namespace pyrsistence::os
