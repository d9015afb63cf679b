// The containers of the standard library: what the same costs without a disk.
#include <deque>
#include <map>
#include <queue>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "in_memory.hpp"

namespace bench {
namespace {

template <class Items>
using OrderedMap = InMemoryMap<Items, std::map<typename Items::Key, typename Items::Value>>;
template <class Items>
using HashMap = InMemoryMap<Items, std::unordered_map<typename Items::Key, typename Items::Value, Hash>>;

template <class Sequence>
class InMemoryList {
public:
    explicit InMemoryList(const Settings& settings) {
        if constexpr (requires { items_.reserve(std::size_t{}); }) items_.reserve(settings.entries);
    }
    void push_back(std::uint64_t value) { items_.push_back(value); }
    std::uint64_t get(std::uint64_t i) const { return items_.at(i); }
    void set(std::uint64_t i, std::uint64_t value) { items_.at(i) = value; }
    void insert(std::uint64_t i, std::uint64_t value) {
        items_.insert(items_.begin() + static_cast<std::ptrdiff_t>(i), value);
    }
    template <class Use>
    void for_each(Use use) const {
        for (const std::uint64_t value : items_) use(value);
    }

private:
    Sequence items_;
};

class Heap {
public:
    explicit Heap(const Settings&) {}
    void push(std::uint64_t value) { queue_.push(value); }
    std::uint64_t pop() {
        const std::uint64_t value = queue_.top();
        queue_.pop();
        return value;
    }

private:
    std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> queue_;
};

class Deque {
public:
    explicit Deque(const Settings&) {}
    void push(std::uint64_t value) { items_.push_back(value); }
    std::uint64_t pop() {
        const std::uint64_t value = items_.front();
        items_.pop_front();
        return value;
    }

private:
    std::deque<std::uint64_t> items_;
};

/// `add` gives it its workloads.
Side standard_side(std::string name, std::string configuration, std::initializer_list<void (*)(Side&)> add) {
    Side side = in_memory_side(std::move(name), "g++ " __VERSION__, std::move(configuration));
    for (const auto function : add) function(side);
    return side;
}

}  // namespace

void add_memory(Sides& sides) {
    using Vector = InMemoryList<std::vector<std::uint64_t>>;
    using Blocks = InMemoryList<std::deque<std::uint64_t>>;
    using HashSet = InMemorySet<std::unordered_set<std::uint64_t, Hash>>;
    using OrderedSet = InMemorySet<std::set<std::uint64_t>>;
    sides.push_back(standard_side("std::unordered_map", "reserve(n)", {add_map<HashMap>}));
    sides.push_back(standard_side("std::map", "defaults", {add_map<OrderedMap>, add_sorted<OrderedMap>}));
    sides.push_back(standard_side("std::unordered_set", "reserve(n)", {add_set<HashSet>}));
    sides.push_back(standard_side("std::set", "defaults", {add_set<OrderedSet>}));
    sides.push_back(standard_side("std::vector", "reserve(n)", {add_list<Vector>, add_array<Vector>}));
    sides.push_back(standard_side("std::deque", "defaults", {add_list<Blocks>, add_deque<Deque>}));
    sides.push_back(standard_side("std::priority_queue", "defaults", {add_priority_queue<Heap>}));
}

}  // namespace bench
