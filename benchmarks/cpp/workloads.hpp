// The rows of each workload, the same for every side. A row times the calls of the library alone: keys and
// values are made before, in blocks that fit into the second-level cache, while the clock stands.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
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
/// Entries in a range.
inline constexpr std::uint64_t kRange = 100;

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

    /// Counted as one operation for each entry.
    Result range() {
        const std::uint64_t length = std::min(kRange, entries_);
        std::uint64_t count = 0, sum = 0;
        Key last{};
        Result result = in_blocks(
            (operations() + length - 1) / length, settings_.seconds, kSmallBlock,
            [&, order = order(5)](std::uint64_t i) { return last = Items::key(order(i)); },
            [&](const Key& key) {
                container_->range(key, length, [&](const auto&, const auto& value) {
                    ++count;
                    sum += digest(value);
                });
            });
        result.operations *= length;
        // From the last `length` keys on there are fewer, and no two ranges begin at the same key.
        const bool enough = count <= result.operations && result.operations - count < length * length;
        return judged(result, enough && sum != 0 && values_from(last, length) == expected_from(last, length));
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

    std::vector<std::uint64_t> values_from(const Key& key, std::uint64_t count) {
        std::vector<std::uint64_t> values;
        container_->range(key, count, [&](const auto&, const auto& value) { values.push_back(digest(value)); });
        return values;
    }
    /// What was inserted under the smallest keys that are not below this one.
    std::vector<std::uint64_t> expected_from(const Key& key, std::uint64_t count) const {
        std::set<Key> keys;
        for (std::uint64_t i = 0; i < entries_; ++i) {
            const Key one = Items::key(i);
            if (one < key || (keys.size() == count && one > *keys.rbegin())) continue;
            keys.insert(one);
            if (keys.size() > count) keys.erase(std::prev(keys.end()));
        }
        std::vector<std::uint64_t> values;
        for (const Key& one : keys) values.push_back(digest(Items::value(one, kInserted)));
        return values;
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

    /// The same by calls that copy many items each.
    Result read_blocks() {
        std::vector<std::uint64_t> block(kBlock);
        std::uint64_t sum = 0;
        Result result;
        const Stopwatch watch;
        while (const std::uint64_t count = container_->read(result.operations, block)) {
            for (std::uint64_t i = 0; i < count; ++i) sum += block[i];
            result.operations += count;
        }
        watch.add_to(result);
        return judged(result, result.operations == entries_ && sum == sum_);
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

/// The order in which a queue gives back what was put into it.
enum class Order { first_in, smallest };

template <QueueSide Queue, Order order>
class QueueLife : public Life<Queue> {
    using Life<Queue>::settings_, Life<Queue>::container_, Life<Queue>::entries_;

public:
    using Life<Queue>::Life;

    Result push() {
        container_.emplace(settings_);
        const Result result = in_blocks(
            settings_.entries, settings_.seconds, kBlock, mix,
            [&](std::uint64_t value) { container_->push(value); });
        entries_ = result.operations;
        return result;
    }

    /// Each push is followed by a pop, so that the length stays.
    Result turn() {
        Popped popped;
        const Result result = in_blocks(
            operations(), settings_.seconds, kBlock,
            [&](std::uint64_t i) { return mix(entries_ + i); },
            [&](std::uint64_t value) {
                container_->push(value);
                popped.add(container_->pop());
            });
        entries_ += result.operations;
        return judged(result, is_next(popped));
    }

    Result pop() {
        Popped popped;
        const Result result = in_blocks(
            std::min(operations(), entries_ - popped_), settings_.seconds, kBlock, [](std::uint64_t i) { return i; },
            [&](std::uint64_t) { popped.add(container_->pop()); });
        return judged(result, is_next(popped));
    }

private:
    struct Popped {
        std::uint64_t count = 0, sum = 0, last = 0;
        bool ascending = true;
        void add(std::uint64_t value) {
            ++count;
            sum += value;
            ascending = ascending && value >= last;
            last = value;
        }
    };

    std::uint64_t operations() const { return std::min(settings_.operations, entries_); }

    /// Of those that were put in and not popped before. REQUIRES: with Order::smallest, nothing was popped before
    bool is_next(const Popped& popped) {
        Popped expected;
        if constexpr (order == Order::first_in) {
            for (std::uint64_t i = popped_; i < popped_ + popped.count; ++i) expected.add(mix(i));
        } else {
            for (std::uint64_t i = 0; i < entries_; ++i) {
                if (mix(i) <= popped.last) expected.add(mix(i));
            }
            expected.last = popped.last;
        }
        popped_ += popped.count;
        return popped.count == expected.count && popped.sum == expected.sum && popped.last == expected.last &&
               (order == Order::first_in || popped.ascending);
    }

    std::uint64_t popped_ = 0;
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

template <template <class> class Map>
void add_sorted(Side& side) {
    static_assert(SortedMapSide<Map<Numbers>, Numbers>);
    side.workloads["sorted"] = [](const Settings& settings) {
        using Life = MapLife<Numbers, Map<Numbers>>;
        return loaded<Numbers, Map<Numbers>>(settings)
            .add("get", &Life::get_hit)
            .add("range", &Life::range)
            .add("iterate", &Life::iterate)
            .add("erase", &Life::erase)
            .take();
    };
}

/// A set is a map of Members to themselves.
template <MapSide<Members> Set>
void add_set(Side& side) {
    side.workloads["set"] = [](const Settings& settings) {
        using Life = MapLife<Members, Set>;
        return loaded<Members, Set>(settings)
            .add("get", &Life::get_hit)
            .add("miss", &Life::get_miss)
            .add("iterate", &Life::iterate)
            .add("erase", &Life::erase)
            .take();
    };
}

template <ListSide List>
Rows<ListLife<List>> appended(const Settings& settings) {
    using Life = ListLife<List>;
    Rows<Life> rows(settings);
    rows.add("push_back", &Life::push_back);
    if constexpr (Persistent<List>) rows.add("sync", &Life::sync);
    rows.add("get", &Life::get).add("set", &Life::set).add("iterate", &Life::iterate);
    return rows;
}

/// A list whose items all have the same size, and stay where they are.
template <ListSide Array>
void add_array(Side& side) {
    side.workloads["array"] = [](const Settings& settings) {
        Rows<ListLife<Array>> rows = appended<Array>(settings);
        if constexpr (requires(Array array, std::vector<std::uint64_t> block) { array.read(std::uint64_t{}, block); }) {
            rows.add("read", &ListLife<Array>::read_blocks);
        }
        return rows.take();
    };
}

template <ListSide List>
void add_list(Side& side) {
    side.workloads["list"] = [](const Settings& settings) {
        using Life = ListLife<List>;
        Rows<Life> rows = appended<List>(settings);
        if constexpr (requires(List list) { list.insert(std::uint64_t{}, std::uint64_t{}); }) {
            rows.add("insert", &Life::insert);
        }
        return rows.take();
    };
}

template <QueueSide Queue, Order order>
Rows<QueueLife<Queue, order>> pushed(const Settings& settings) {
    using Life = QueueLife<Queue, order>;
    Rows<Life> rows(settings);
    rows.add("push", &Life::push);
    if constexpr (Persistent<Queue>) rows.add("sync", &Life::sync);
    return rows;
}

template <QueueSide Queue>
void add_priority_queue(Side& side) {
    side.workloads["queue"] = [](const Settings& settings) {
        return pushed<Queue, Order::smallest>(settings).add("pop", &QueueLife<Queue, Order::smallest>::pop).take();
    };
}

template <QueueSide Queue>
void add_deque(Side& side) {
    side.workloads["deque"] = [](const Settings& settings) {
        using Life = QueueLife<Queue, Order::first_in>;
        return pushed<Queue, Order::first_in>(settings).add("turn", &Life::turn).add("pop", &Life::pop).take();
    };
}

}  // namespace bench
