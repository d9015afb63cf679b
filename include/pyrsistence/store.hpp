// Store: many named containers in one directory, which change together in transactions.
//
//     pyrsistence::Store store("program.em");
//     auto calls = store.dict<std::uint64_t, std::uint64_t>("calls");
//     auto trace = store.list<std::uint64_t>("trace");
//     pyrsistence::Transaction transaction(store);
//     calls[0x401000] = 1;
//     trace.push_back(0x401000);
//     transaction.commit();
//
// Thread safety and durability: as of a Handle.
#pragma once

#include "pyrsistence/array.hpp"
#include "pyrsistence/deque.hpp"
#include "pyrsistence/multi_dict.hpp"
#include "pyrsistence/priority_queue.hpp"
#include "pyrsistence/set.hpp"
#include "pyrsistence/sorted_set.hpp"

namespace pyrsistence {

class Store : public Handle {
public:
    /// Opens or creates the store in directory `path`; Options::at opens a named snapshot of it.
    explicit Store(const std::filesystem::path& path, const Options& options = {}) : Handle(path, options) {}

    /// Opens or creates; throws FormatError if the name belongs to a container of another type.
    template <Storable K, Storable V>
    Dict<K, V> dict(std::string_view name) {
        return Dict<K, V>(*this, name);
    }
    template <Storable T>
    List<T> list(std::string_view name) {
        return List<T>(*this, name);
    }

    template <Storable K>
    Set<K> set(std::string_view name) {
        return Set<K>(*this, name);
    }
    /// A new one gets the limit; throws FormatError if one that exists has another.
    template <Storable T>
    Deque<T> deque(std::string_view name, std::optional<std::uint64_t> max_size = {}) {
        return Deque<T>(*this, name, max_size);
    }

    template <Storable K, Storable V>
    SortedDict<K, V> sorted_dict(std::string_view name) {
        return SortedDict<K, V>(*this, name);
    }
    template <Storable K>
    SortedSet<K> sorted_set(std::string_view name) {
        return SortedSet<K>(*this, name);
    }
    template <Storable T, Storable P = T>
    PriorityQueue<T, P> priority_queue(std::string_view name) {
        return PriorityQueue<T, P>(*this, name);
    }
    template <Storable K, Storable V>
    MultiDict<K, V> multi_dict(std::string_view name) {
        return MultiDict<K, V>(*this, name);
    }
    /// Throws FormatError if one that exists has items of another type.
    template <ArrayStorable T>
    Array<T> array(std::string_view name) {
        return Array<T>(*this, name);
    }

    struct Entry {
        std::string name;
        std::string type;  ///< "dict", "list", "set", "deque", "sorted dict", "sorted set", "priority queue", "multi-dict" or "array"
    };
    /// In the order of their creation. O(number of containers), as everything below.
    std::vector<Entry> containers() const;
    /// Its type, or nothing if there is no such container.
    std::optional<std::string> type_of(std::string_view name) const;
    bool contains(std::string_view name) const { return type_of(name).has_value(); }
    /// Handles on it throw ClosedError afterwards. False if there is none. Takes time in proportion to its pages.
    bool remove(std::string_view name);
    /// False if there is none. Throws ExistsError if the new name is taken.
    bool rename(std::string_view from, std::string_view to);
    std::uint64_t size() const { return containers().size(); }

    /// The whole store as it is now, for reading; it stays so whatever happens to the store. O(1).
    /// What was changed since takes space until the snapshot is closed.
    Store snapshot() const { return Store(*this, Time::now); }

private:
    Store(const Handle& where, Time time) : Handle(where, time) {}
};

}  // namespace pyrsistence
