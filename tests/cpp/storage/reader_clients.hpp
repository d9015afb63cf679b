// What the tests of the reader table share: processes, which can be killed, stopped and stepped through, and
// tables with open files of their own, as each process has one. Each object belongs to one test.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <utility>

#include "codec/endian.hpp"
#include "storage/reader_table.hpp"
#include "support.hpp"

namespace pyrsistence::storage {

using pyrsistence::test::Random;
using pyrsistence::test::scaled;
using Role = ReaderTable::Role;
using Epochs = std::vector<std::uint64_t>;

/// A process of its own, killed at the latest when the test ends.
class Process {
public:
    template <class Body>
    explicit Process(Body&& body) : pid_(::fork()) {
        if (pid_ != 0) return;
        int code = 99;
        try {
            code = body();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "child: %s\n", error.what());
        }
        ::_exit(code);
    }
    ~Process() { kill(); }
    Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
    Process& operator=(Process&& other) noexcept {
        kill();
        pid_ = std::exchange(other.pid_, 0);
        return *this;
    }

    pid_t pid() const { return pid_; }
    void signal(int number) const { ::kill(pid_, number); }
    /// The exit code, or minus the signal that ended it.
    int wait() {
        int status = 0;
        if (pid_ <= 0) return 0;
        ::waitpid(std::exchange(pid_, 0), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    void kill() {
        if (pid_ > 0) signal(SIGKILL);
        wait();
    }
    /// Stands still when this returns.
    void stop() const {
        int status = 0;
        signal(SIGSTOP);
        ::waitpid(pid_, &status, WUNTRACED);
    }

private:
    pid_t pid_;
};

/// A process whose instructions can be done one by one.
class Traced : public Process {
public:
    template <class Body>
    explicit Traced(Body&& body)
        : Process([&] {
              if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 1;
              ::raise(SIGSTOP);
              body();
              ::raise(SIGSTOP);
              return 0;
          }) {}

    /// Up to the body. False if the system does not allow it.
    bool begin() const {
        return stops_with() == SIGSTOP && ::ptrace(PTRACE_SINGLESTEP, pid(), nullptr, nullptr) == 0 &&
               stops_with() == SIGTRAP;
    }
    /// One instruction. False at the next SIGSTOP.
    bool step() const {
        EXPECT_EQ(::ptrace(PTRACE_SINGLESTEP, pid(), nullptr, nullptr), 0);
        return stops_with() == SIGTRAP;
    }
    /// Up to the next SIGSTOP.
    void run() const {
        EXPECT_EQ(::ptrace(PTRACE_CONT, pid(), nullptr, nullptr), 0);
        EXPECT_EQ(stops_with(), SIGSTOP);
    }

private:
    int stops_with() const {
        int status = 0;
        ::waitpid(pid(), &status, 0);
        return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
    }
};

/// By which one process tells another to go on.
class Gate {
public:
    Gate() { EXPECT_EQ(::pipe(ends_), 0); }
    ~Gate() {
        for (const int end : ends_) ::close(end);
    }
    void open() const { EXPECT_EQ(::write(ends_[1], "x", 1), 1); }
    void pass() const {
        char byte;
        EXPECT_EQ(::read(ends_[0], &byte, 1), 1);
    }

private:
    int ends_[2];
};

/// A table with an open file of its own, as each process has one.
struct Client {
    Client(const os::fs::path& path, Role role)
        : file(os::FileSystem::posix().open(
              path, role == Role::observer ? os::Access::read_only : os::Access::read_write)),
          table(*file, role, path.string()) {}
    void abandon() {
        file->abandon();
        table.abandon();
    }

    std::unique_ptr<os::File> file;
    ReaderTable table;
};

/// Calls a function once, after a call for a lock has been made and before its caller goes on.
class HookedFile final : public os::File {
public:
    enum class Call { try_lock, unlock, locked_elsewhere };
    explicit HookedFile(const os::fs::path& path)
        : file_(os::FileSystem::posix().open(path, os::Access::read_write)) {}
    void after(std::vector<Call> calls, std::function<void()> hook) {
        calls_ = std::move(calls);
        hook_ = std::move(hook);
    }

    std::size_t read(MutableBytes buffer, std::uint64_t offset) override {
        return file_->read(buffer, offset);
    }
    void write(Bytes bytes, std::uint64_t offset) override { file_->write(bytes, offset); }
    void write(std::span<const Bytes> parts, std::uint64_t offset) override { file_->write(parts, offset); }
    void sync() override { file_->sync(); }
    void allocate(std::uint64_t offset, std::uint64_t length) override { file_->allocate(offset, length); }
    void truncate(std::uint64_t size) override { file_->truncate(size); }
    std::uint64_t size() const override { return file_->size(); }
    std::unique_ptr<os::Mapping> map(std::uint64_t offset, std::size_t length, os::Access access) override {
        return file_->map(offset, length, access);
    }
    bool try_lock(std::uint64_t offset, os::Lock lock) override {
        const bool locked = file_->try_lock(offset, lock);
        made(Call::try_lock);
        return locked;
    }
    void unlock(std::uint64_t offset) override {
        file_->unlock(offset);
        made(Call::unlock);
    }
    bool locked_elsewhere(std::uint64_t offset, os::Lock wanted) override {
        const bool locked = file_->locked_elsewhere(offset, wanted);
        made(Call::locked_elsewhere);
        return locked;
    }
    Identity identity() const override { return file_->identity(); }
    void abandon() noexcept override { file_->abandon(); }

private:
    void made(Call call) {
        if (hook_ && std::count(calls_.begin(), calls_.end(), call) != 0) std::exchange(hook_, nullptr)();
    }

    std::unique_ptr<os::File> file_;
    std::vector<Call> calls_;
    std::function<void()> hook_;
};

/// All fields follow from the epoch.
inline Published seal(std::uint64_t epoch) {
    const CatalogRoot catalog{2 + epoch % 90, unsigned(epoch % 4), ContainerId(epoch * 7)};
    return {epoch, 100 + epoch, catalog, epoch * 3, epoch / 2};
}

class ReaderTableFixture : public ::testing::Test {
protected:
    void SetUp() override {
        std::ofstream(path_) << "4711\n";
        writer_.emplace(path_, Role::writer);
    }
    std::unique_ptr<Client> client(Role role) const { return std::make_unique<Client>(path_, role); }
    std::uint64_t word(std::size_t offset) {
        std::byte bytes[8];
        EXPECT_EQ(writer_->file->read(bytes, offset), sizeof bytes);
        return codec::load<std::uint64_t>(bytes);
    }
    void set_word(std::size_t offset, std::uint64_t value) {
        std::byte bytes[8];
        codec::store<std::uint64_t>(bytes, value);
        writer_->file->write(bytes, offset);
    }

    test::TempDir dir_{true};
    const os::fs::path path_ = dir_ / "lock";
    std::optional<Client> writer_;
};

}  // namespace pyrsistence::storage
