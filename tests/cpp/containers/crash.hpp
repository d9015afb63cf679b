// What must hold for every container: a random workload equals its model in memory after reopening, in
// copies of the files taken at any moment, after kill -9, and after power failures.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "containers/models.hpp"

namespace pyrsistence::test {

/// Opens the store at `path` and compares; what is found is written back by closing.
template <class Raw, class Driver>
void expect_copy(const fs::path& path, const Driver& driver, std::uint64_t log_window) {
    OpenStore<Raw> copy(path, nullptr, log_window);
    copy->check();
    ASSERT_EQ(driver.difference(*copy), "");
    copy.close();
}

/// Reopens, copies and checks at random moments of one long run.
template <class Raw, class Driver>
void run_against_model(Driver driver, std::size_t operations, std::uint64_t log_window, Random& random) {
    TempDir dir;
    TestFileSystem files;
    const fs::path path = dir / "store";
    auto open = std::make_unique<OpenStore<Raw>>(path, &files, log_window);
    const std::size_t pause = std::max<std::size_t>(operations / 40, 100);
    for (std::size_t next = random.below(pause); driver.done() < operations && !::testing::Test::HasFatalFailure();) {
        driver.step(&**open);
        if (random.below(3000) == 0) (*open)->checkpoint();
        if (random.below(3000) == 0) (*open)->sync();
        if (driver.done() < next) continue;
        next = driver.done() + 1 + random.below(2 * pause);
        (*open)->check();
        ASSERT_EQ(driver.difference(**open), "");
        if (random.chance(70)) {
            const fs::path copy = dir.next();
            {
                const auto still = files.stand_still();
                copy_store(path, copy);
            }
            // A chain of recoveries: what the first one leaves is killed again.
            for (int i = 0; i < 2; ++i) ASSERT_NO_FATAL_FAILURE((expect_copy<Raw>(copy, driver, log_window)));
            fs::remove_all(copy);
        } else {
            open->close();
            open = std::make_unique<OpenStore<Raw>>(path, &files, log_window);
            (*open)->check();
            ASSERT_EQ(driver.difference(**open), "");
        }
    }
}

/// A child works until it is killed; its parent finds everything that had returned. The next child
/// goes on from there, so that recoveries are killed too.
template <class Raw, class Driver>
void run_and_kill(Driver driver, std::size_t kills, std::uint64_t log_window, Random& random) {
    TempDir dir;
    const fs::path path = dir / "store";
    void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto* returned = new (shared) std::atomic<std::uint64_t>(0);
    for (std::size_t i = 0; i < kills && !::testing::Test::HasFatalFailure(); ++i) {
        SCOPED_TRACE("kill " + std::to_string(i));
        *returned = driver.done();
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            try {
                OpenStore<Raw> open(path, nullptr, log_window);
                if (driver.difference(*open) != "") driver.step(nullptr);  // was under way at the last kill
                *returned = driver.done();
                for (;;) {
                    driver.step(&*open);
                    if (::testing::Test::HasFailure()) ::_exit(2);
                    *returned = driver.done();
                    if (driver.done() % 500 == 0) open->checkpoint();
                }
            } catch (const std::exception& error) {
                std::fprintf(stderr, "child: %s\n", error.what());
                ::_exit(1);
            }
        }
        std::this_thread::sleep_for(std::chrono::microseconds(random.below(60'000)));
        ::kill(child, SIGKILL);
        int status = 0;
        ::waitpid(child, &status, 0);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
        while (driver.done() < *returned) driver.step(nullptr);
        if (random.chance(30)) continue;  // the next child recovers, and may be killed while it does
        OpenStore<Raw> open(path, nullptr, log_window);
        open->check();
        if (driver.difference(*open) == "") continue;
        driver.step(nullptr);  // the operation under way may have been logged
        ASSERT_EQ(driver.difference(*open), "") << "after " << driver.done() << " operations";
    }
    ::munmap(shared, 4096);
}

/// After a power failure the store is an exact prefix of the operations, at least up to the last sync.
template <class Raw, class Driver>
void run_and_lose_power(Driver driver, std::size_t failures, std::uint64_t log_window, Random& random) {
    TempDir dir;
    TestFileSystem files;
    files.track_power = true;
    const fs::path path = dir / "store";
    OpenStore<Raw> open(path, &files, log_window);
    open->sync();
    Driver synced = driver;
    for (std::size_t i = 0; i < failures && !::testing::Test::HasFatalFailure(); ++i) {
        SCOPED_TRACE("failure " + std::to_string(i));
        for (std::size_t k = random.below(120); k > 0; --k) {
            driver.step(&*open);
            if (random.below(60) == 0) {
                if (random.chance(50)) open->sync();
                else open->checkpoint();
                synced = driver;
            }
        }
        const fs::path disk = dir.next();
        constexpr unsigned kKept[] = {0, 20, 50, 90, 100};
        files.lose_power(path, disk, random, kKept[random.below(5)]);
        {
            OpenStore<Raw> after(disk, nullptr, log_window);
            after->check();
            Driver expected = synced;
            while (expected.difference(*after) != "" && expected.done() < driver.done()) expected.step(nullptr);
            ASSERT_EQ(expected.difference(*after), "") << "synced " << synced.done() << ", done " << driver.done();
        }
        fs::remove_all(disk);
    }
}

}  // namespace pyrsistence::test
