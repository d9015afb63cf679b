// What a library must offer to be measured, and what is known about it. An adapter is a small class with
// the calls that a user of the library would write; everything else is in workloads.hpp.
//
// An adapter opens a fresh store in Settings::directory and throws what the library reports as an error.
// One thread uses it.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

struct Settings {
    std::uint64_t entries;            ///< that will be stored, for libraries which want to know
    std::uint64_t operations;         ///< random ones in a row
    double seconds;                   ///< after which a row stops
    std::uint64_t cache_bytes;        ///< for libraries with a cache of their own
    std::filesystem::path directory;  ///< exists and is empty
};

/// Stands for any function that takes keys or values, of whatever type the library hands out.
struct AnyUse {
    template <class... Values>
    void operator()(const Values&...) const {}
};

/// set() inserts or replaces; get() passes the value to `use` and returns whether there is one, erase()
/// whether there was one, if the library knows; for_each() passes all keys and values. A side that persists has
/// sync(), too.
template <class Map, class Items>
concept MapSide = std::constructible_from<Map, const Settings&> &&
                  requires(Map map, const typename Items::Key& key, const typename Items::Value& value) {
                      map.set(key, value);
                      { map.get(key, AnyUse()) } -> std::same_as<bool>;
                      { map.erase(key) } -> std::same_as<bool>;
                      map.for_each(AnyUse());
                  };

/// range() passes the first `count` keys and values from a key on, in the order of the keys.
template <class Map, class Items>
concept SortedMapSide = MapSide<Map, Items> && requires(Map map, const typename Items::Key& key, std::uint64_t count) {
    map.range(key, count, AnyUse());
};

/// A sequence of numbers; insert(), before a place, only where the library has it.
template <class List>
concept ListSide = std::constructible_from<List, const Settings&> &&
                   requires(List list, std::uint64_t i, std::uint64_t value) {
                       list.push_back(value);
                       { list.get(i) } -> std::convertible_to<std::uint64_t>;
                       list.set(i, value);
                       list.for_each(AnyUse());
                   };

/// pop() takes and returns the number that comes next.
template <class Queue>
concept QueueSide = std::constructible_from<Queue, const Settings&> && requires(Queue queue, std::uint64_t value) {
    queue.push(value);
    { queue.pop() } -> std::same_as<std::uint64_t>;
};

template <class Side>
concept Persistent = requires(Side side) { side.sync(); };

/// What one row of a workload measured.
struct Result {
    std::uint64_t operations = 0;
    double seconds = 0;         ///< on the clock
    double cpu_seconds = 0;     ///< of all threads of the process
    bool right = true;          ///< the answers were what they had to be
    std::uint64_t on_disk = 0;  ///< bytes that the store occupies, where a row looks
};

struct Row {
    std::string name;
    std::function<Result()> run;
};

/// One library in one configuration.
struct Side {
    std::string name;
    std::string version;
    std::string configuration;
    std::string after_kill;        ///< what is left when the process is killed
    std::string after_power_loss;  ///< what is left after a power failure, without a further call
    /// Rows in the order in which they must run.
    std::map<std::string, std::function<std::vector<Row>(const Settings&)>> workloads = {};
};

using Sides = std::vector<Side>;

// One for each library; CMake leaves out what is not installed.
void add_pyrsistence(Sides& sides);
void add_memory(Sides& sides);
void add_boost(Sides& sides);
void add_absl(Sides& sides);
void add_lmdb(Sides& sides);
void add_tkrzw(Sides& sides);
void add_rocksdb(Sides& sides);
void add_stxxl(Sides& sides);

}  // namespace bench
