// The rows of each workload, the same for every side. A row times the calls of the library alone: keys and
// values are made before, in blocks that fit into the second-level cache, while the clock stands.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "data.hpp"
#include "side.hpp"

namespace bench {

class Stopwatch {
public:
    void add_to(Result& result) const {
        result.cpu_seconds += now(CLOCK_PROCESS_CPUTIME_ID) - cpu_start_;
        result.seconds += now(CLOCK_MONOTONIC) - start_;
    }

private:
    static double now(clockid_t clock) {
        timespec time;
        clock_gettime(clock, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    }

    double cpu_start_ = now(CLOCK_PROCESS_CPUTIME_ID);
    double start_ = now(CLOCK_MONOTONIC);
};

/// prepare(i) for each i of a block, then, timed, run(of those); until `count` or the seconds are reached.
template <class Prepare, class Run>
Result in_blocks(std::uint64_t count, double seconds, std::size_t block, Prepare prepare, Run run) {
    Result result;
    std::vector<decltype(prepare(std::uint64_t{}))> items;
    items.reserve(block);
    while (result.operations < count && result.seconds < seconds) {
        items.clear();
        const std::uint64_t size = std::min<std::uint64_t>(block, count - result.operations);
        for (std::uint64_t i = 0; i < size; ++i) items.push_back(prepare(result.operations + i));
        const Stopwatch watch;
        for (const auto& item : items) run(item);
        watch.add_to(result);
        result.operations += size;
    }
    return result;
}

inline Result judged(Result result, bool right) {
    result.right = right;
    return result;
}

inline constexpr std::size_t kBlock = 2048;
/// Where one operation may take milliseconds.
inline constexpr std::size_t kSmallBlock = 16;

/// Without the holes of sparse files.
inline std::uint64_t bytes_on_disk(const std::filesystem::path& directory) {
    constexpr std::uint64_t kStatBlock = 512;
    std::uint64_t sum = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
        struct stat status;
        if (lstat(entry.path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
            sum += static_cast<std::uint64_t>(status.st_blocks) * kStatBlock;
        }
    }
    return sum;
}

/// One container from its creation to the end of its last row.
template <class Container>
class Life {
public:
    explicit Life(const Settings& settings) : settings_(settings) {}

    /// Everything so far survives a power failure afterwards. Counted as one operation for each entry, so
    /// that it can be added to the row before.
    Result sync() {
        const Stopwatch watch;
        container_->sync();
        Result result{.operations = entries_};
        watch.add_to(result);
        result.on_disk = bytes_on_disk(settings_.directory);
        return result;
    }

protected:
    Settings settings_;
    std::optional<Container> container_;
    std::uint64_t entries_ = 0;  ///< inserted
    std::uint64_t sum_ = 0;      ///< digests of all values
};

template <class Items, MapSide<Items> Map>
class MapLife : public Life<Map> {
    using Key = typename Items::Key;
    using Value = typename Items::Value;
    using Pair = std::pair<Key, Value>;
    using Life<Map>::settings_, Life<Map>::container_, Life<Map>::entries_, Life<Map>::sum_;

public:
    using Life<Map>::Life;

    Result insert() {
        container_.emplace(settings_);
        const Result result = in_blocks(
            settings_.entries, settings_.seconds, kBlock,
            [&](std::uint64_t i) { return replaced(i, std::nullopt, kInserted); },
            [&](const Pair& pair) { container_->set(pair.first, pair.second); });
        entries_ = result.operations;
        return result;
    }

    Result get_hit() {
        std::uint64_t expected = 0;
        const auto [result, found, sum] = get([&, order = order(1)](std::uint64_t i) {
            const Key key = Items::key(order(i));
            expected += digest(Items::value(key, kInserted));
            return key;
        });
        return judged(result, found == result.operations && sum == expected);
    }

    Result get_miss() {
        const auto [result, found, sum] = get([&, order = order(2)](std::uint64_t i) {
            return Items::key(settings_.entries + order(i));
        });
        return judged(result, found == 0 && sum == 0);
    }

    Result overwrite() {
        return in_blocks(
            operations(), settings_.seconds, kBlock,
            [&, order = order(3)](std::uint64_t i) { return replaced(order(i), kInserted, kOverwritten); },
            [&](const Pair& pair) { container_->set(pair.first, pair.second); });
    }

    /// Reads each key and each value; so it also tells whether insert() and overwrite() did what they had to.
    Result iterate() {
        std::uint64_t sum = 0;
        const Result result = read_all(sum);
        return judged(result, result.operations == entries_ && sum == sum_);
    }

    Result erase() {
        std::uint64_t erased = 0;
        const Result result = in_blocks(
            operations(), settings_.seconds, kBlock,
            [&, order = order(4)](std::uint64_t i) { return Items::key(order(i)); },
            [&](const Key& key) { erased += container_->erase(key); });
        std::uint64_t sum = 0;
        return judged(result, erased == result.operations && read_all(sum).operations == entries_ - erased);
    }

private:
    static constexpr std::uint64_t kInserted = 0, kOverwritten = 1;

    std::uint64_t operations() const { return std::min(settings_.operations, entries_); }
    Shuffle order(std::uint64_t seed) const { return {entries_, seed}; }

    /// The pair to be set, with its value in the sum instead of the one before.
    Pair replaced(std::uint64_t i, std::optional<std::uint64_t> before, std::uint64_t version) {
        const Key key = Items::key(i);
        const Value value = Items::value(key, version);
        sum_ += digest(value);
        if (before) sum_ -= digest(Items::value(key, *before));
        return {key, value};
    }

    Result read_all(std::uint64_t& sum) {
        std::uint64_t count = 0, keys = 0;
        const Stopwatch watch;
        container_->for_each([&](const auto& key, const auto& value) {
            ++count;
            keys ^= digest(key);
            sum += digest(value);
        });
        Result result{.operations = count};
        watch.add_to(result);
        result.right = keys != 0;  // so that the keys are read at all
        return result;
    }

    struct Got {
        Result result;
        std::uint64_t found, sum;
    };
    template <class MakeKey>
    Got get(MakeKey make_key) {
        Got got{};
        got.result = in_blocks(operations(), settings_.seconds, kBlock, make_key, [&](const Key& key) {
            got.found += container_->get(key, [&](const auto& value) { got.sum += digest(value); });
        });
        return got;
    }
};

template <ListSide List>
class ListLife : public Life<List> {
    using Life<List>::settings_, Life<List>::container_, Life<List>::entries_, Life<List>::sum_;

public:
    using Life<List>::Life;

    Result push_back() {
        container_.emplace(settings_);
        const Result result = in_blocks(
            settings_.entries, settings_.seconds, kBlock, [&](std::uint64_t i) { return added(mix(i)); },
            [&](std::uint64_t value) { container_->push_back(value); });
        entries_ = result.operations;
        return result;
    }

    Result get() {
        std::uint64_t sum = 0, expected = 0;
        const Result result = in_blocks(
            operations(), settings_.seconds, kBlock,
            [&, order = Shuffle(entries_, 1)](std::uint64_t i) {
                expected += mix(order(i));
                return order(i);
            },
            [&](std::uint64_t place) { sum += container_->get(place); });
        return judged(result, sum == expected);
    }

    Result set() {
        return in_blocks(
            operations(), settings_.seconds, kBlock,
            [&, order = Shuffle(entries_, 2)](std::uint64_t i) {
                sum_ -= mix(order(i));
                return Change{order(i), added(mix(~i))};
            },
            [&](const Change& change) { container_->set(change.place, change.value); });
    }

    /// Also tells whether push_back() and set() did what they had to.
    Result iterate() {
        const Result result = read_all();
        return judged(result, result.operations == entries_ && read_ == sum_);
    }

    /// At random places.
    Result insert() {
        const std::uint64_t before = entries_;
        const Result result = in_blocks(
            operations(), settings_.seconds, kSmallBlock,
            [&](std::uint64_t i) { return Change{mix(i) % before, added(i)}; },
            [&](const Change& change) { container_->insert(change.place, change.value); });
        entries_ += result.operations;
        return judged(result, read_all().operations == entries_ && read_ == sum_);
    }

private:
    struct Change {
        std::uint64_t place, value;
    };

    std::uint64_t operations() const { return std::min(settings_.operations, entries_); }

    std::uint64_t added(std::uint64_t value) {
        sum_ += value;
        return value;
    }

    Result read_all() {
        std::uint64_t count = 0;
        read_ = 0;
        const Stopwatch watch;
        container_->for_each([&](std::uint64_t value) {
            ++count;
            read_ += value;
        });
        Result result{.operations = count};
        watch.add_to(result);
        return result;
    }

    std::uint64_t read_ = 0;  ///< the sum of what read_all() met
};

/// The rows of one life, which ends with the last of them.
template <class Life>
class Rows {
public:
    explicit Rows(const Settings& settings) : life_(std::make_shared<Life>(settings)) {}

    Rows& add(std::string name, Result (Life::*row)()) {
        rows_.push_back({std::move(name), [life = life_, row] { return ((*life).*row)(); }});
        return *this;
    }
    std::vector<Row> take() { return std::move(rows_); }

private:
    std::shared_ptr<Life> life_;
    std::vector<Row> rows_;
};

template <class Items, MapSide<Items> Map>
Rows<MapLife<Items, Map>> loaded(const Settings& settings) {
    using Life = MapLife<Items, Map>;
    Rows<Life> rows(settings);
    rows.add("insert", &Life::insert);
    if constexpr (Persistent<Map>) rows.add("sync", &Life::sync);
    return rows;
}

/// The workloads of a map: Map<Items> is the adapter for the types that Items names.
template <template <class> class Map>
void add_map(Side& side) {
    side.workloads["ascending"] = [](const Settings& settings) {
        using Life = MapLife<Ascending, Map<Ascending>>;
        return loaded<Ascending, Map<Ascending>>(settings).add("iterate", &Life::iterate).take();
    };
    side.workloads["random"] = [](const Settings& settings) {
        using Life = MapLife<Numbers, Map<Numbers>>;
        return loaded<Numbers, Map<Numbers>>(settings)
            .add("get", &Life::get_hit)
            .add("miss", &Life::get_miss)
            .add("overwrite", &Life::overwrite)
            .add("iterate", &Life::iterate)
            .add("erase", &Life::erase)
            .take();
    };
    side.workloads["blobs"] = [](const Settings& settings) {
        using Life = MapLife<Blobs, Map<Blobs>>;
        return loaded<Blobs, Map<Blobs>>(settings).add("get", &Life::get_hit).take();
    };
}

template <ListSide List>
void add_list(Side& side) {
    side.workloads["list"] = [](const Settings& settings) {
        using Life = ListLife<List>;
        Rows<Life> rows(settings);
        rows.add("push_back", &Life::push_back);
        if constexpr (Persistent<List>) rows.add("sync", &Life::sync);
        rows.add("get", &Life::get).add("set", &Life::set).add("iterate", &Life::iterate);
        if constexpr (requires(List list) { list.insert(std::uint64_t{}, std::uint64_t{}); }) {
            rows.add("insert", &Life::insert);
        }
        return rows.take();
    };
}

}  // namespace bench
