// What the disk can do, past the page cache: disk_probe FILE SECONDS [--size=BYTES]
//
// Makes FILE, 2 GiB of random bytes if nothing else is said, removes it in the end, and prints one JSON
// object: random reads of 4 KiB per second, by one thread and by 32 at once, and bytes per second read and
// written in blocks of 1 MiB. Each of the four is measured for SECONDS. The written bytes are on the disk
// (fdatasync) when the clock stops. Exits with 1 if the file system has no O_DIRECT, or if FILE exists: it would
// be overwritten.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kPage = 4 << 10;
constexpr std::size_t kBlock = 1 << 20;
constexpr std::uint64_t kDefaultSize = std::uint64_t{2} << 30;
constexpr unsigned kDepth = 32;

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// As O_DIRECT needs it, filled with random bytes.
class Buffer {
public:
    explicit Buffer(std::size_t size)
        : size_(size), bytes_(static_cast<char*>(std::aligned_alloc(kPage, size))) {
        if (!bytes_) throw std::bad_alloc();
        std::mt19937_64 random(size);
        for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
            const std::uint64_t word = random();
            std::memcpy(bytes_.get() + at, &word, sizeof word);
        }
    }
    char* data() { return bytes_.get(); }
    std::size_t size() const { return size_; }
    /// Makes every page of the buffer unlike any that was written before.
    void stamp(std::uint64_t number) {
        for (std::size_t at = 0; at < size_; at += kPage) {
            const std::uint64_t page = number * (size_ / kPage) + at / kPage + 1;
            std::memcpy(bytes_.get() + at, &page, sizeof page);
        }
    }

private:
    struct Free {
        void operator()(char* bytes) const { std::free(bytes); }
    };
    std::size_t size_;
    std::unique_ptr<char, Free> bytes_;
};

/// A file that is made for this and removed with it.
class ProbeFile {
public:
    ProbeFile(std::string path, std::uint64_t size) : path_(std::move(path)), blocks_(size / kBlock) {
        constexpr mode_t kMode = 0600;
        descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, kMode);
        if (descriptor_ < 0) fail(path_);
    }
    ~ProbeFile() {
        close(descriptor_);
        unlink(path_.c_str());
    }
    ProbeFile(const ProbeFile&) = delete;
    ProbeFile& operator=(const ProbeFile&) = delete;

    std::uint64_t blocks() const { return blocks_; }
    std::uint64_t pages() const { return blocks_ * (kBlock / kPage); }

    void write(std::uint64_t block, Buffer& buffer) const {
        const auto offset = static_cast<off_t>(block % blocks_ * kBlock);
        const ssize_t done = pwrite(descriptor_, buffer.data(), kBlock, offset);
        if (done != static_cast<ssize_t>(kBlock)) fail("write " + path_);
    }
    void read(std::uint64_t place, Buffer& buffer) const {
        const auto offset = static_cast<off_t>(place * buffer.size());
        const ssize_t done = pread(descriptor_, buffer.data(), buffer.size(), offset);
        if (done != static_cast<ssize_t>(buffer.size())) fail("read " + path_);
    }
    void sync() const {
        if (fdatasync(descriptor_) != 0) fail("fdatasync " + path_);
    }

private:
    std::string path_;
    std::uint64_t blocks_;
    int descriptor_ = -1;
};

void fill(const ProbeFile& file) {
    Buffer buffer(kBlock);
    for (std::uint64_t block = 0; block < file.blocks(); ++block) {
        buffer.stamp(block);
        file.write(block, buffer);
    }
    file.sync();
}

/// Bytes per second, round and round the file.
double sequential_write(const ProbeFile& file, double seconds) {
    Buffer buffer(kBlock);
    const auto start = Clock::now();
    std::uint64_t written = 0;
    for (; since(start) < seconds; ++written) {
        buffer.stamp(file.blocks() + written);
        file.write(written, buffer);
    }
    file.sync();
    return static_cast<double>(written * kBlock) / since(start);
}

double sequential_read(const ProbeFile& file, double seconds) {
    Buffer buffer(kBlock);
    const auto start = Clock::now();
    std::uint64_t blocks = 0;
    for (; since(start) < seconds; ++blocks) file.read(blocks % file.blocks(), buffer);
    return static_cast<double>(blocks * kBlock) / since(start);
}

/// Reads per second of `depth` threads, each of which waits for its own.
double random_read(const ProbeFile& file, double seconds, unsigned depth) {
    std::atomic<std::uint64_t> reads = 0;
    std::atomic<bool> failed = false;
    const auto start = Clock::now();
    const auto work = [&](unsigned seed) {
        Buffer buffer(kPage);
        std::mt19937_64 random(seed);
        std::uniform_int_distribution<std::uint64_t> place(0, file.pages() - 1);
        std::uint64_t done = 0;
        try {
            for (; since(start) < seconds && !failed; ++done) file.read(place(random), buffer);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "disk_probe: %s\n", error.what());
            failed = true;
        }
        reads += done;
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < depth; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    if (failed) throw std::runtime_error("random reads failed");
    return static_cast<double>(reads) / since(start);
}

int usage() {
    std::fprintf(stderr, "usage: disk_probe FILE SECONDS [--size=BYTES, 1 MiB at least]\n");
    return 1;
}

}  // namespace

int main(int count, char** arguments) try {
    constexpr std::string_view kSize = "--size=";
    std::uint64_t size = kDefaultSize;
    if (count == 4 && std::string_view(arguments[3]).starts_with(kSize)) {
        size = std::strtoull(arguments[3] + kSize.size(), nullptr, 10);
    } else if (count != 3) {
        return usage();
    }
    const double seconds = std::strtod(arguments[2], nullptr);
    if (size < kBlock || !(seconds > 0)) return usage();
    const ProbeFile file(arguments[1], size);
    fill(file);
    const double alone = random_read(file, seconds, 1);
    const double deep = random_read(file, seconds, kDepth);
    const double read = sequential_read(file, seconds);
    const double written = sequential_write(file, seconds);
    std::printf("{\"random_read_depth_1\": %.0f, \"random_read_depth_32\": %.0f, \"sequential_read\": %.0f, "
                "\"sequential_write\": %.0f}\n",
                alone, deep, read, written);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "disk_probe: %s\n", error.what());
    return 1;
}
