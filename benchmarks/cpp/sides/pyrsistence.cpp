// pyrsistence itself, as a user would call it: typed containers, defaults.
#include <optional>

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

template <class Items>
class Dict {
    using Key = Stored<typename Items::Key>;
    using Value = Stored<typename Items::Value>;

public:
    explicit Dict(const Settings& settings) : dict_(settings.directory / "dict") {}

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
    void sync() { dict_.sync(); }

private:
    pyrsistence::Dict<typename Key::Type, typename Value::Type> dict_;
};

class List {
public:
    explicit List(const Settings& settings) : list_(settings.directory / "list") {}

    void push_back(std::uint64_t value) { list_.push_back(value); }
    std::uint64_t get(std::uint64_t i) const { return list_.at(i); }
    void set(std::uint64_t i, std::uint64_t value) { list_.set(i, value); }
    void insert(std::uint64_t i, std::uint64_t value) { list_.insert(i, value); }
    template <class Use>
    void for_each(Use use) const {
        for (const std::uint64_t value : list_) use(value);
    }
    void sync() { list_.sync(); }

private:
    pyrsistence::List<std::uint64_t> list_;
};

}  // namespace

void add_pyrsistence(Sides& sides) {
    Side side{.name = "pyrsistence",
              .version = PYRSISTENCE_VERSION,
              .configuration = "defaults",
              .after_kill = "every operation that returned",
              .after_power_loss = "an exact prefix of the operations, at least up to the last sync"};
    add_map<Dict>(side);
    add_list<List>(side);
    sides.push_back(std::move(side));
}

}  // namespace bench
