// The containers of the standard library: what the same costs without a disk.
#include <deque>
#include <map>
#include <unordered_map>
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

template <ListSide List>
Side list_side(std::string name, std::string configuration) {
    Side side = in_memory_side(std::move(name), "g++ " __VERSION__, std::move(configuration));
    add_list<List>(side);
    return side;
}

template <template <class> class Map>
Side map_side(std::string name, std::string configuration) {
    Side side = in_memory_side(std::move(name), "g++ " __VERSION__, std::move(configuration));
    add_map<Map>(side);
    return side;
}

}  // namespace

void add_memory(Sides& sides) {
    sides.push_back(map_side<HashMap>("std::unordered_map", "reserve(n)"));
    sides.push_back(map_side<OrderedMap>("std::map", "defaults"));
    sides.push_back(list_side<InMemoryList<std::vector<std::uint64_t>>>("std::vector", "reserve(n)"));
    sides.push_back(list_side<InMemoryList<std::deque<std::uint64_t>>>("std::deque", "defaults"));
}

}  // namespace bench
