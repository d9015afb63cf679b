// System calls that do less than they were asked, or are interrupted: nobody above PosixFile may notice. The
// linker puts the functions below in the place of the system's, in this program only (CMakeLists.txt).
#include <fcntl.h>
#include <sys/uio.h>

#include <cstdarg>

#include "containers/models.hpp"

namespace {

/// What the next calls do.
enum class How { all, half, one_byte, any_part, nothing };
std::atomic<How> transfers = How::all;
std::atomic<bool> interrupts = false;
std::atomic<std::uint64_t> shortened = 0, interrupted = 0;

std::size_t part_of(std::size_t size) {
    static std::atomic<std::uint64_t> state = 1;
    const How how = transfers;
    if (how == How::all || size == 0) return size;
    ++shortened;
    if (how == How::nothing) return 0;
    if (how == How::half) return (size + 1) / 2;
    if (how == How::one_byte) return 1;
    return 1 + (state += 0x9e3779b97f4a7c15) % size;
}

/// Every call fails once, twice or three times before it is made.
bool interrupt() {
    thread_local unsigned calls = 0, left = 0;
    if (!interrupts) return false;
    if (left == 0) left = 1 + ++calls % 3;
    else if (--left == 0) return false;
    ++interrupted;
    errno = EINTR;
    return true;
}

}  // namespace

extern "C" {
int __real_open(const char*, int, ...);
ssize_t __real_pread(int, void*, std::size_t, off_t);
ssize_t __real_pwrite(int, const void*, std::size_t, off_t);
ssize_t __real_pwritev(int, const iovec*, int, off_t);
int __real_fdatasync(int);
int __real_fsync(int);
int __real_fallocate(int, int, off_t, off_t);
int __real_ftruncate(int, off_t);
int __real_fcntl(int, int, ...);

int __wrap_open(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const auto mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : mode_t{0};
    va_end(rest);
    return interrupt() ? -1 : __real_open(path, flags, mode);
}
ssize_t __wrap_pread(int file, void* bytes, std::size_t size, off_t at) {
    return interrupt() ? -1 : __real_pread(file, bytes, transfers == How::nothing ? size : part_of(size), at);
}
ssize_t __wrap_pwrite(int file, const void* bytes, std::size_t size, off_t at) {
    const std::size_t part = part_of(size);
    return interrupt() ? -1 : part == 0 ? 0 : __real_pwrite(file, bytes, part, at);
}
ssize_t __wrap_pwritev(int file, const iovec* parts, int count, off_t at) {
    if (interrupt()) return -1;
    std::size_t total = 0;
    for (int i = 0; i < count; ++i) total += parts[i].iov_len;
    std::size_t left = part_of(total);
    if (left == total) return __real_pwritev(file, parts, count, at);
    std::vector<iovec> some;
    for (int i = 0; i < count && left > 0; ++i) {
        some.push_back({parts[i].iov_base, std::min(left, parts[i].iov_len)});
        left -= some.back().iov_len;
    }
    return some.empty() ? 0 : __real_pwritev(file, some.data(), static_cast<int>(some.size()), at);
}
int __wrap_fdatasync(int file) { return interrupt() ? -1 : __real_fdatasync(file); }
int __wrap_fsync(int file) { return interrupt() ? -1 : __real_fsync(file); }
int __wrap_fallocate(int file, int mode, off_t at, off_t size) {
    return interrupt() ? -1 : __real_fallocate(file, mode, at, size);
}
int __wrap_ftruncate(int file, off_t size) { return interrupt() ? -1 : __real_ftruncate(file, size); }
int __wrap_fcntl(int file, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void* const argument = va_arg(rest, void*);
    va_end(rest);
    return interrupt() ? -1 : __real_fcntl(file, command, argument);
}
}

namespace pyrsistence::test {
namespace {

class SystemCallsTest : public ::testing::Test {
protected:
    void TearDown() override { set(How::all, false); }
    static void set(How how, bool with_interrupts) {
        transfers = how;
        interrupts = with_interrupts;
    }
    /// Creation, operations, checkpoints, a backup, recovery, closing and opening.
    void live(How how, bool with_interrupts, int operations, Sizes sizes) {
        const fs::path path = dir_.next(), copy = dir_.next(), killed = dir_.next();
        shortened = interrupted = 0;
        set(how, with_interrupts);
        DictDriver driver(seed(), 100, sizes);
        {
            OpenStore<RawDict> open(path, nullptr, 64 << 10);
            for (int i = 0; i < operations; ++i) {
                driver.step(&*open);
                if (i % 100 == 40) open->sync();
                if (i % 100 == 80) open->checkpoint();
            }
            open->backup(copy);
            EXPECT_EQ(driver.difference(*open), "");
            open->compact();
            driver.step(&*open);
            set(How::all, false);
            copy_as_killed(*open, killed);
            set(how, with_interrupts);
            open.close();
        }
        for (const fs::path& one : {path, killed}) {
            OpenStore<RawDict> again(one, nullptr, 64 << 10);
            again->check();
            EXPECT_EQ(driver.difference(*again), "");
        }
        OpenStore<RawDict> saved(copy, nullptr, 64 << 10, Mode::read);
        saved->check();
        EXPECT_EQ(saved->verify().fault_count, 0u);
    }

    TempDir dir_{true};
};

TEST_F(SystemCallsTest, ShortReadsAndWritesGoOn) {
    PYRSISTENCE_TRACE_SEED;
    live(How::half, false, 600, {60'000, 20});
    EXPECT_GT(shortened, 1000u);
    live(How::any_part, false, 600, {60'000, 20});
    EXPECT_GT(shortened, 1000u);
}
TEST_F(SystemCallsTest, SoDoThoseOfOneByte) {
    PYRSISTENCE_TRACE_SEED;
    live(How::one_byte, false, 30, {500, 0});
    EXPECT_GT(shortened, 10'000u);
}
TEST_F(SystemCallsTest, InterruptedCallsAreMadeAgain) {
    PYRSISTENCE_TRACE_SEED;
    live(How::all, true, 600, {60'000, 20});
    EXPECT_GT(interrupted, 500u);
}
TEST_F(SystemCallsTest, BothAtOnce) {
    PYRSISTENCE_TRACE_SEED;
    live(How::any_part, true, 300, {60'000, 20});
    EXPECT_GT(interrupted, 500u);
    EXPECT_GT(shortened, 500u);
}

/// A write of nothing is no progress: it must neither be tried for ever nor pass for a success.
TEST_F(SystemCallsTest, AWriteOfNothingIsAFullDisk) {
    os::FileSystem& system = os::FileSystem::posix();
    const auto file = system.create(dir_ / "file");
    const Bytes text = as_bytes("some text");
    const std::array<Bytes, 2> parts{text, text};
    for (const bool vectored : {false, true}) {
        set(How::nothing, false);
        try {
            if (vectored) file->write(std::span<const Bytes>(parts), 0);
            else file->write(text, 0);
            ADD_FAILURE() << "no error";
        } catch (const StorageError& error) {
            EXPECT_EQ(error.code(), ENOSPC);
            EXPECT_NE(std::string(error.what()).find((dir_ / "file").string()), std::string::npos);
        }
    }
    set(How::all, false);
    EXPECT_EQ(file->size(), 0u);
}

}  // namespace
}  // namespace pyrsistence::test
