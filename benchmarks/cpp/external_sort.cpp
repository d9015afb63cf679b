// One external sort of a file of 16-byte records into another file, by one side, or the reads and writes alone that
// it cannot do without: external_sort SIDE INPUT OUTPUT MEMORY DIRECTORY. Prints the seconds it took, the output's sync
// included. `make` writes INPUT at random, as many bytes as MEMORY says; `check` proves that OUTPUT is INPUT in order.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "pyrsistence/external.hpp"

#ifdef BENCH_STXXL
#include <stxxl/sorter>
#endif

namespace {

struct Record {
    std::uint64_t key;
    std::uint64_t value;
};

constexpr std::size_t kBlock = std::size_t{4} << 20;
constexpr std::size_t kBlockRecords = kBlock / sizeof(Record);

void require(bool done, const char* what) {
    if (done) return;
    std::perror(what);
    std::exit(1);
}

class Reader {
public:
    explicit Reader(const std::string& path) : file_(::open(path.c_str(), O_RDONLY)) { require(file_ >= 0, path.c_str()); }
    ~Reader() { ::close(file_); }
    std::vector<Record>& next() {
        block_.resize(kBlockRecords);
        const ssize_t count = ::read(file_, block_.data(), kBlock);
        require(count >= 0, "read");
        block_.resize(static_cast<std::size_t>(count) / sizeof(Record));
        return block_;
    }

private:
    int file_;
    std::vector<Record> block_;
};

class Writer {
public:
    explicit Writer(const std::string& path) : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600)) {
        require(file_ >= 0, path.c_str());
        block_.reserve(kBlockRecords);
    }
    void put(const Record& record) {
        block_.push_back(record);
        if (block_.size() == kBlockRecords) flush();
    }
    void flush() {
        const auto* at = reinterpret_cast<const char*>(block_.data());
        for (std::size_t left = block_.size() * sizeof(Record); left > 0;) {
            const ssize_t count = ::write(file_, at, left);
            require(count > 0, "write");
            at += count, left -= static_cast<std::size_t>(count);
        }
        block_.clear();
    }
    ~Writer() {
        flush();
        require(::fdatasync(file_) == 0, "fdatasync");
        ::close(file_);
    }

private:
    int file_;
    std::vector<Record> block_;
};

void copy(const std::string& from, const std::string& to) {
    Reader in(from);
    Writer out(to);
    for (std::vector<Record>* block; !(block = &in.next())->empty();) {
        for (const Record& record : *block) out.put(record);
    }
}

struct ByKey {
    bool operator()(const Record& a, const Record& b) const { return a.key < b.key; }
    static Record min_value() { return {0, 0}; }
    static Record max_value() { return {UINT64_MAX, UINT64_MAX}; }
};

template <class Push>
void read_all(const std::string& input, Push push) {
    Reader in(input);
    for (std::vector<Record>* block; !(block = &in.next())->empty();) {
        for (const Record& record : *block) push(record);
    }
}

void sort(const std::string& input, const std::string& output, const pyrsistence::ExternalOptions& options) {
    pyrsistence::ExternalSorter<Record, ByKey> sorter(options);
    read_all(input, [&](const Record& record) { sorter.push(record); });
    Writer out(output);
    for (const Record& record : sorter.finish()) out.put(record);
}

void shuffle(const std::string& input, const std::string& output, const pyrsistence::ExternalOptions& options) {
    pyrsistence::ExternalShuffler<Record> shuffler(1, options);
    read_all(input, [&](const Record& record) { shuffler.push(record); });
    Writer out(output);
    for (const Record& record : shuffler) out.put(record);
}

#ifdef BENCH_STXXL
void sort_by_stxxl(const std::string& input, const std::string& output, const pyrsistence::ExternalOptions& options, std::uint64_t bytes) {
    setenv("STXXLLOGFILE", (options.directory / "stxxl.log").c_str(), 1);
    setenv("STXXLERRLOGFILE", (options.directory / "stxxl.errlog").c_str(), 1);
    const stxxl::disk_config disk(options.directory / "stxxl.disk", 2 * bytes + (64 << 20), "syscall unlink autogrow");
    stxxl::config::get_instance()->add_disk(disk);
    stxxl::sorter<Record, ByKey> sorter(ByKey(), options.memory_limit);
    read_all(input, [&](const Record& record) { sorter.push(record); });
    sorter.sort();
    Writer out(output);
    for (; !sorter.empty(); ++sorter) out.put(*sorter);
}
#endif

void make(const std::string& path, std::uint64_t bytes) {
    std::uint64_t state = 1;
    Writer out(path);
    for (std::uint64_t i = 0; i < bytes / sizeof(Record); ++i) {
        state = state * 6364136223846793005 + 1442695040888963407;
        out.put({state ^ state >> 29, i});
    }
}

/// The same number and sums of records, in order, equal keys in the order of their values.
void check(const std::string& input, const std::string& output) {
    std::uint64_t sums[3] = {}, found[3] = {};
    read_all(input, [&](const Record& record) { ++sums[0], sums[1] += record.key, sums[2] += record.key * record.value; });
    Record last{0, 0};
    bool ordered = true;
    read_all(output, [&](const Record& record) {
        ++found[0], found[1] += record.key, found[2] += record.key * record.value;
        ordered = ordered && (last.key < record.key || (last.key == record.key && last.value <= record.value));
        last = record;
    });
    if (ordered && std::memcmp(sums, found, sizeof sums) == 0) return;
    std::fprintf(stderr, "%s is not %s in order\n", output.c_str(), input.c_str());
    std::exit(1);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 6) {
        std::fprintf(stderr, "usage: external_sort make|check|copy|sort|shuffle|stxxl INPUT OUTPUT MEMORY DIRECTORY\n");
        return 2;
    }
    const std::string side = arguments[1], input = arguments[2], output = arguments[3];
    const pyrsistence::ExternalOptions options{.memory_limit = std::stoull(arguments[4]), .directory = arguments[5]};
    const auto started = std::chrono::steady_clock::now();
    if (side == "make") {
        make(input, options.memory_limit);
    } else if (side == "check") {
        check(input, output);
    } else if (side == "copy") {
        const std::string between = options.directory / "between";
        copy(input, between);
        copy(between, output);
        std::filesystem::remove(between);
    } else if (side == "sort") {
        sort(input, output, options);
    } else if (side == "shuffle") {
        shuffle(input, output, options);
#ifdef BENCH_STXXL
    } else if (side == "stxxl") {
        sort_by_stxxl(input, output, options, std::filesystem::file_size(input));
#endif
    } else {
        std::fprintf(stderr, "no side %s in this build\n", side.c_str());
        return 3;
    }
    std::printf("%.3f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
}
