// pyrsistence itself, as a user would call it: typed containers, defaults.
#include <optional>
#include <span>

#include "pyrsistence/pyrsistence.hpp"

#include "../workloads.hpp"

namespace bench {
namespace {

/// What Dict stores for a key or a value of Items.
template <class T>
struct Stored {
    using Type = std::vector<std::byte>;
    static pyrsistence::Bytes pass(const T& value) { return pyrsistence::as_bytes(as_view(value)); }
    static std::string_view read(const Type& bytes) { return pyrsistence::as_text(bytes); }
};
template <>
struct Stored<std::uint64_t> {
    using Type = std::uint64_t;
    static std::uint64_t pass(std::uint64_t value) { return value; }
    static std::uint64_t read(std::uint64_t value) { return value; }
};

/// Dict and SortedDict have the same calls.
template <class Items, template <class, class> class Container>
class Map {
    using Key = Stored<typename Items::Key>;
    using Value = Stored<typename Items::Value>;
    using Dict = Container<typename Key::Type, typename Value::Type>;

public:
    explicit Map(const Settings& settings) : dict_(settings.directory / "dict") {}

    void set(const typename Items::Key& key, const typename Items::Value& value) {
        dict_.insert_or_assign(Key::pass(key), Value::pass(value));
    }
    template <class Use>
    bool get(const typename Items::Key& key, Use use) const {
        const std::optional<typename Value::Type> value = dict_.get(Key::pass(key));
        if (value) use(Value::read(*value));
        return value.has_value();
    }
    bool erase(const typename Items::Key& key) { return dict_.erase(Key::pass(key)) == 1; }
    template <class Use>
    void for_each(Use use) const {
        for (const auto& [key, value] : dict_) use(Key::read(key), Value::read(value));
    }
    template <class Use>
    void range(const typename Items::Key& key, std::uint64_t count, Use use) const
        requires requires(Dict dict) { dict.lower_bound(key); }
    {
        for (auto at = dict_.lower_bound(key); at != dict_.end() && count > 0; ++at, --count) {
            use(Key::read(at->first), Value::read(at->second));
        }
    }
    void sync() { dict_.sync(); }

private:
    Dict dict_;
};

template <class Items>
using Dict = Map<Items, pyrsistence::Dict>;
template <class Items>
using SortedDict = Map<Items, pyrsistence::SortedDict>;

class Set {
    using Key = Members::Key;

public:
    explicit Set(const Settings& settings) : set_(settings.directory / "set") {}

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
    void sync() { set_.sync(); }

private:
    pyrsistence::Set<Key> set_;
};

/// List and Array have the same calls, but for insert() and read().
template <class Container>
class Sequence {
public:
    explicit Sequence(const Settings& settings) : list_(settings.directory / "list") {}

    void push_back(std::uint64_t value) { list_.push_back(value); }
    std::uint64_t get(std::uint64_t i) const { return list_.at(i); }
    void set(std::uint64_t i, std::uint64_t value) { list_.set(i, value); }
    void insert(std::uint64_t i, std::uint64_t value)
        requires requires(Container list) { list.insert(i, value); }
    {
        list_.insert(i, value);
    }
    template <class Use>
    void for_each(Use use) const {
        for (const std::uint64_t value : list_) use(value);
    }
    std::uint64_t read(std::uint64_t first, std::span<std::uint64_t> out) const
        requires requires(Container list) { list.read(first, out); }
    {
        return list_.read(first, out);
    }
    void sync() { list_.sync(); }

private:
    Container list_;
};

class Deque {
public:
    explicit Deque(const Settings& settings) : deque_(settings.directory / "deque") {}

    void push(std::uint64_t value) { deque_.push_back(value); }
    std::uint64_t pop() { return deque_.pop_front(); }
    void sync() { deque_.sync(); }

private:
    pyrsistence::Deque<std::uint64_t> deque_;
};

class PriorityQueue {
public:
    explicit PriorityQueue(const Settings& settings) : queue_(settings.directory / "queue") {}

    void push(std::uint64_t value) { queue_.push(value); }
    std::uint64_t pop() { return queue_.pop().value(); }
    void sync() { queue_.sync(); }

private:
    pyrsistence::PriorityQueue<std::uint64_t> queue_;
};

}  // namespace

void add_pyrsistence(Sides& sides) {
    Side side{.name = "pyrsistence",
              .version = PYRSISTENCE_VERSION,
              .configuration = "defaults",
              .after_kill = "every operation that returned",
              .after_power_loss = "an exact prefix of the operations, at least up to the last sync"};
    add_map<Dict>(side);
    add_sorted<SortedDict>(side);
    add_set<Set>(side);
    add_list<Sequence<pyrsistence::List<std::uint64_t>>>(side);
    add_array<Sequence<pyrsistence::Array<std::uint64_t>>>(side);
    add_deque<Deque>(side);
    add_priority_queue<PriorityQueue>(side);
    sides.push_back(std::move(side));
}

}  // namespace bench
