// Adapters for whatever has the interface of std::map or std::vector.
#pragma once

#include <string_view>

#include "../workloads.hpp"

namespace bench {

struct Hash {
    std::size_t operator()(std::uint64_t key) const { return std::hash<std::uint64_t>()(key); }
    template <std::size_t N>
    std::size_t operator()(const std::array<char, N>& key) const {
        return std::hash<std::string_view>()(as_view(key));
    }
};

template <class Items, class Map>
class InMemoryMap {
    using Key = typename Items::Key;
    using Value = typename Items::Value;

public:
    explicit InMemoryMap(const Settings& settings) {
        if constexpr (requires { map_.reserve(std::size_t{}); }) map_.reserve(settings.entries);
    }
    void set(const Key& key, const Value& value) { map_.insert_or_assign(key, value); }
    template <class Use>
    bool get(const Key& key, Use use) const {
        const auto found = map_.find(key);
        if (found == map_.end()) return false;
        use(found->second);
        return true;
    }
    bool erase(const Key& key) { return map_.erase(key) == 1; }
    template <class Use>
    void for_each(Use use) const {
        for (const auto& [key, value] : map_) use(key, value);
    }
    template <class Use>
    void range(const Key& key, std::uint64_t count, Use use) const
        requires requires(Map map) { map.lower_bound(Key{}); }
    {
        for (auto at = map_.lower_bound(key); at != map_.end() && count > 0; ++at, --count) use(at->first, at->second);
    }

private:
    Map map_;
};

template <class Set>
class InMemorySet {
    using Key = Members::Key;

public:
    explicit InMemorySet(const Settings& settings) {
        if constexpr (requires { set_.reserve(std::size_t{}); }) set_.reserve(settings.entries);
    }
    void set(Key key, Key) { set_.insert(key); }
    template <class Use>
    bool get(Key key, Use use) const {
        const bool found = set_.contains(key);
        if (found) use(key);
        return found;
    }
    bool erase(Key key) { return set_.erase(key) == 1; }
    template <class Use>
    void for_each(Use use) const {
        for (const Key key : set_) use(key, key);
    }

private:
    Set set_;
};

inline Side in_memory_side(std::string name, std::string version, std::string configuration) {
    return {.name = std::move(name),
            .version = std::move(version),
            .configuration = std::move(configuration),
            .after_kill = "nothing",
            .after_power_loss = "nothing"};
}

}  // namespace bench
