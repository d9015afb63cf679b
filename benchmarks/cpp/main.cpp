// Measures one side in one workload, in a process of its own: a fresh store, an allocator that nobody used
// before, and page-cache contents that are this side's alone. benchmarks/cpp_run.py lets the sides take turns.
//
//     cpp_benchmarks --list
//     cpp_benchmarks --side=LMDB --workload=random --n=1000000 [--ops=...] [--seconds=...] [--cache=BYTES]
//                    [--directory=DIR] [flags of Google Benchmark]
//
// Each row is a benchmark of one iteration whose time is that of its operations; the rows of a workload follow
// each other on one store. DIR, or the environment variable PYRSISTENCE_BENCH_DIR, should be on a disk.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include "side.hpp"

namespace fs = std::filesystem;

namespace bench {
namespace {

Sides all_sides() {
    Sides sides;
    add_pyrsistence(sides);
    add_memory(sides);
#ifdef BENCH_BOOST
    add_boost(sides);
#endif
#ifdef BENCH_ABSL
    add_absl(sides);
#endif
#ifdef BENCH_LMDB
    add_lmdb(sides);
#endif
#ifdef BENCH_TKRZW
    add_tkrzw(sides);
#endif
#ifdef BENCH_ROCKSDB
    add_rocksdb(sides);
#endif
#ifdef BENCH_STXXL
    add_stxxl(sides);
#endif
    return sides;
}

std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

void list(const Sides& sides) {
    const char* separator = "[";
    for (const Side& side : sides) {
        std::cout << separator << "{\"name\": " << json_string(side.name)
                  << ", \"version\": " << json_string(side.version)
                  << ", \"configuration\": " << json_string(side.configuration)
                  << ", \"after_kill\": " << json_string(side.after_kill)
                  << ", \"after_power_loss\": " << json_string(side.after_power_loss) << ", \"workloads\": ";
        const char* comma = "[";
        for (const auto& [name, rows] : side.workloads) {
            std::cout << std::exchange(comma, ", ") << json_string(name);
        }
        std::cout << "]}";
        separator = ",\n ";
    }
    std::cout << "]\n";
}

struct Arguments {
    bool list = false;
    std::string side, workload;
    Settings settings{
        .entries = 1'000'000, .operations = 0, .seconds = 60, .cache_bytes = 0, .directory = {}};
};

template <class Number>
Number number(std::string_view name, std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value <= 0) {
        throw std::invalid_argument(std::string(name) + "=" + std::string(text) + " is not a positive number");
    }
    return value;
}

void parse(Arguments& arguments, std::string_view argument) {
    const std::size_t equals = std::min(argument.find('='), argument.size());
    const std::string_view name = argument.substr(0, equals);
    const std::string_view value = argument.substr(std::min(equals + 1, argument.size()));
    Settings& settings = arguments.settings;
    if (name == "--list") {
        arguments.list = true;
    } else if (name == "--side") {
        arguments.side = value;
    } else if (name == "--workload") {
        arguments.workload = value;
    } else if (name == "--n") {
        settings.entries = number<std::uint64_t>(name, value);
    } else if (name == "--ops") {
        settings.operations = number<std::uint64_t>(name, value);
    } else if (name == "--seconds") {
        settings.seconds = number<double>(name, value);
    } else if (name == "--cache") {
        settings.cache_bytes = number<std::uint64_t>(name, value);
    } else if (name == "--directory") {
        settings.directory = value;
    } else {
        throw std::invalid_argument("unknown argument " + std::string(argument));
    }
}

/// What pyrsistence takes by default as well.
std::uint64_t quarter_of_memory() {
    const auto pages = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES));
    return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 4;
}

/// REQUIRES: Google Benchmark has taken its own flags.
Arguments parsed(int count, char** arguments) {
    constexpr std::uint64_t kMostOperations = 2'000'000;
    Arguments result;
    for (int i = 1; i < count; ++i) parse(result, arguments[i]);
    Settings& settings = result.settings;
    if (settings.operations == 0) settings.operations = std::min(settings.entries, kMostOperations);
    if (settings.cache_bytes == 0) settings.cache_bytes = quarter_of_memory();
    if (settings.directory.empty()) {
        const char* variable = std::getenv("PYRSISTENCE_BENCH_DIR");
        settings.directory = variable ? fs::path(variable) : fs::temp_directory_path();
    }
    return result;
}

const Side& named(const Sides& sides, const std::string& name) {
    for (const Side& side : sides) {
        if (side.name == name) return side;
    }
    throw std::invalid_argument("no side '" + name + "': see --list");
}

/// Removed with everything in it when it goes.
class FreshDirectory {
public:
    explicit FreshDirectory(const fs::path& parent) {
        std::string name = parent / "pyrsistence-bench-XXXXXX";
        if (!mkdtemp(name.data())) throw std::system_error(errno, std::generic_category(), name);
        path_ = name;
    }
    ~FreshDirectory() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    FreshDirectory(const FreshDirectory&) = delete;
    FreshDirectory& operator=(const FreshDirectory&) = delete;
    const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

void measure(benchmark::State& state, const Row& row, bool& all_right) {
    Result result;
    for (auto _ : state) {
        result = row.run();
        state.SetIterationTime(result.seconds);
    }
    const auto operations = static_cast<double>(result.operations);
    state.counters["operations"] = operations;
    state.counters["ns_per_operation"] = 1e9 * result.seconds / std::max(operations, 1.0);
    state.counters["cpu_ns_per_operation"] = 1e9 * result.cpu_seconds / std::max(operations, 1.0);
    state.counters["bytes_on_disk"] = static_cast<double>(result.on_disk);
    if (!result.right) {
        all_right = false;
        state.SkipWithError("wrong answers");
    }
}

bool run(const Arguments& arguments, const Side& side) {
    const auto workload = side.workloads.find(arguments.workload);
    if (workload == side.workloads.end()) {
        throw std::invalid_argument(side.name + " has no workload '" + arguments.workload + "': see --list");
    }
    const FreshDirectory directory(arguments.settings.directory);
    Settings settings = arguments.settings;
    settings.directory = directory.path();
    bool all_right = true;
    {
        const std::vector<Row> rows = workload->second(settings);
        for (const Row& row : rows) {
            const std::string name = side.name + "/" + workload->first + "/" + row.name;
            const auto function = [&](benchmark::State& state) { measure(state, row, all_right); };
            benchmark::RegisterBenchmark(name.c_str(), function)
                ->Iterations(1)
                ->Repetitions(1)
                ->UseManualTime()
                ->Unit(benchmark::kMillisecond);
        }
        benchmark::RunSpecifiedBenchmarks();
        benchmark::ClearRegisteredBenchmarks();
    }
    return all_right;
}

}  // namespace
}  // namespace bench

int main(int count, char** values) try {
    benchmark::Initialize(&count, values);
    const bench::Sides sides = bench::all_sides();
    const bench::Arguments arguments = bench::parsed(count, values);
    if (arguments.list) {
        bench::list(sides);
        return 0;
    }
    const bool all_right = bench::run(arguments, bench::named(sides, arguments.side));
    benchmark::Shutdown();
    return all_right ? 0 : 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "cpp_benchmarks: %s\n", error.what());
    return 1;
}
