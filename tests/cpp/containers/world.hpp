// A store of several containers beside a model in memory: random operations, containers made, renamed and
// removed, and savepoints. A World is a plain value, so that a copy of it is what a snapshot or the state before
// a transaction must equal; Handles are what operates on the store. Each object belongs to one thread.
#pragma once

#include <variant>

#include "containers/models.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {

/// Other errors pass through: a test may have planted them.
template <class E>
void expect_error(const std::function<void()>& call) {
    try {
        call();
        ADD_FAILURE() << "no error";
    } catch (const E&) {
    }
}

/// What a world is made of.
struct Population {
    std::size_t containers = 6;   ///< at most
    std::uint64_t entries = 200;  ///< in each, about
    Sizes sizes = {40'000, 4};
};

/// What a raw container of this type is opened as.
template <class Raw>
auto typed(storage::ContainerType type) {
    if constexpr (std::is_same_v<Raw, RawDict>) return static_cast<DictType>(type);
    else if constexpr (std::is_same_v<Raw, RawSorted>) return static_cast<SortedType>(type);
    else if constexpr (std::is_same_v<Raw, RawArray>) return ArrayDriver::type();
    else return static_cast<ListType>(type);
}

/// Open containers by the number of their model; those of containers that are gone stay open.
class Handles {
public:
    using Any = std::variant<std::unique_ptr<RawDict>, std::unique_ptr<RawList>, std::unique_ptr<RawSorted>, std::unique_ptr<RawArray>>;

    explicit Handles(Store& store) : store_(&store) {}
    Store& store() { return *store_; }

    template <class Raw>
    Raw& open(std::uint64_t number, const std::string& name, storage::ContainerType type) {
        Any& any = all_[number];
        if (!std::holds_alternative<std::unique_ptr<Raw>>(any) || !std::get<std::unique_ptr<Raw>>(any)) {
            any = std::make_unique<Raw>(*store_, name, typed<Raw>(type));
        }
        return *std::get<std::unique_ptr<Raw>>(any);
    }
    /// A handle that was opened, by chance; null if there is none.
    std::pair<std::uint64_t, Any*> any(Random& random) {
        if (all_.empty()) return {0, nullptr};
        auto at = all_.begin();
        std::advance(at, random.below(all_.size()));
        return {at->first, &at->second};
    }
    void forget(std::uint64_t number) { all_.erase(number); }
    std::size_t size() const { return all_.size(); }

private:
    Store* store_;
    std::map<std::uint64_t, Any> all_;
};

class World {
public:
    explicit World(std::uint64_t salt, Population population = {}) : salt_(salt), population_(population) {}

    /// The next operation, which follows from salt and number; if it throws, the model is as before.
    void step(Handles& handles) {
        Random random(salt_ * 7'368'787 + numbers().operations++);
        const unsigned dice = static_cast<unsigned>(random.below(1000));
        if (containers_.empty() || (dice < 10 && containers_.size() < population_.containers)) create(handles, random);
        else if (dice < 15) remove(handles, random);
        else if (dice < 25) rename(handles, random);
        else if (dice < 35) expect_gone(handles, random);
        else operate(handles, random);
    }

    /// The difference between a store, or a snapshot of one, and the model, or nothing.
    std::string difference(const Store& store) const {
        const std::vector<Store::Entry> found = store.containers();
        if (found.size() != containers_.size()) {
            return std::to_string(found.size()) + " containers, expected " + std::to_string(containers_.size());
        }
        auto it = found.begin();
        for (const auto& [number, one] : containers_) {
            const std::string expected = one.name + " " + storage::name_of(one.type);
            if (it->name + " " + it->type != expected) return it->name + " " + it->type + ", expected " + expected;
            const std::string difference = one.difference(store);
            if (!difference.empty()) return one.name + ": " + difference;
            ++it;
        }
        return "";
    }
    std::size_t containers() const { return containers_.size(); }
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& [number, one] : containers_) all.push_back(one.name);
        return all;
    }

private:
    struct Container {
        std::string name;
        storage::ContainerType type;
        std::variant<DictDriver, ListDriver, SortedDriver, ArrayDriver> driver;

        /// Calls use.operator()<Raw>(driver) with the class of its handles.
        template <class Self, class Use>
        static auto with_driver(Self& self, Use&& use) {
            if (auto* dict = std::get_if<DictDriver>(&self.driver)) return use.template operator()<RawDict>(*dict);
            if (auto* list = std::get_if<ListDriver>(&self.driver)) return use.template operator()<RawList>(*list);
            if (auto* sorted = std::get_if<SortedDriver>(&self.driver)) return use.template operator()<RawSorted>(*sorted);
            return use.template operator()<RawArray>(std::get<ArrayDriver>(self.driver));
        }
        std::string difference(const Store& store) const {
            return with_driver(*this, [&]<class Raw>(const auto& model) { return model.difference(Raw(store, name, typed<Raw>(type))); });
        }
    };
    /// Of operations and of containers. They are not undone: no two containers have the same one.
    struct Numbers {
        std::uint64_t operations = 0, containers = 0, names = 0;
    };

    Numbers& numbers() { return *numbers_; }
    auto pick(Random& random) {
        auto at = containers_.begin();
        std::advance(at, random.below(containers_.size()));
        return at;
    }
    /// Never one that was used before; short, seldom long.
    std::string new_name(Random& random) {
        const std::uint64_t number = ++numbers().names;
        return std::to_string(number) + std::string(random.chance(5) ? random.below(3000) : random.below(20), 'n');
    }

    void create(Handles& handles, Random& random) {
        const std::uint64_t number = ++numbers().containers;
        const std::string name = new_name(random);
        const std::uint64_t salt = random();
        using storage::ContainerType;
        if (random.chance(30)) {
            constexpr ContainerType types[] = {ContainerType::sorted_dict, ContainerType::sorted_set, ContainerType::priority_queue,
                                               ContainerType::multi_dict};
            const ContainerType type = types[random.below(std::size(types))];
            handles.open<RawSorted>(number, name, type);
            containers_.insert({number, {name, type, SortedDriver(salt, population_.entries, typed<RawSorted>(type), population_.sizes)}});
        } else if (random.chance(20)) {
            handles.open<RawArray>(number, name, ContainerType::array);
            containers_.insert({number, {name, ContainerType::array, ArrayDriver(salt, population_.entries)}});
        } else if (random.chance(50)) {
            const ContainerType type = random.chance(70) ? ContainerType::dict : ContainerType::set;
            handles.open<RawDict>(number, name, type);
            containers_.insert({number, {name, type, DictDriver(salt, population_.entries, population_.sizes)}});
        } else {
            const ContainerType type = random.chance(70) ? ContainerType::list : ContainerType::deque;
            handles.open<RawList>(number, name, type);
            containers_.insert({number, {name, type, ListDriver(salt, population_.entries, population_.sizes)}});
        }
    }
    void remove(Handles& handles, Random& random) {
        const auto at = pick(random);
        ASSERT_FALSE(handles.store().remove("no such container"));
        ASSERT_TRUE(handles.store().remove(at->second.name));
        containers_.erase(at);
    }
    void rename(Handles& handles, Random& random) {
        const auto at = pick(random);
        const std::string taken = pick(random)->second.name;
        if (taken != at->second.name) {
            expect_error<ExistsError>([&] { handles.store().rename(at->second.name, taken); });
        }
        const std::string name = random.chance(10) ? at->second.name : new_name(random);
        ASSERT_TRUE(handles.store().rename(at->second.name, name));
        ASSERT_FALSE(handles.store().rename("no such container", "x"));
        at->second.name = name;
    }
    /// Handles on containers that were removed, or whose creation was undone, never reach another one.
    void expect_gone(Handles& handles, Random& random) {
        const auto [number, any] = handles.any(random);
        if (!any || containers_.contains(number)) return;
        Buffer out;
        if (const auto* dict = std::get_if<std::unique_ptr<RawDict>>(any)) {
            expect_error<ClosedError>([&] { (void)(*dict)->size(); });
            expect_error<ClosedError>([&] { (void)(*dict)->pop_last(out); });
            expect_error<ClosedError>([&] { (*dict)->clear(); });
        } else if (const auto* sorted = std::get_if<std::unique_ptr<RawSorted>>(any)) {
            expect_error<ClosedError>([&] { (void)(*sorted)->contains(as_bytes("x")); });
            expect_error<ClosedError>([&] { (*sorted)->erase_slice(0, 1); });
        } else if (const auto* array = std::get_if<std::unique_ptr<RawArray>>(any)) {
            std::vector<std::byte> item(ArrayDriver::kItem);
            expect_error<ClosedError>([&] { (void)(*array)->get(0, item); });
            expect_error<ClosedError>([&] { (*array)->append(item); });
            expect_error<ClosedError>([&] { (*array)->clear(); });
        } else {
            const auto& list = std::get<std::unique_ptr<RawList>>(*any);
            expect_error<ClosedError>([&] { (void)list->get(0, out); });
            expect_error<ClosedError>([&] { list->append(as_bytes("x")); });
            expect_error<ClosedError>([&] { list->reverse(); });
        }
        if (random.chance(50)) handles.forget(number);
    }
    void operate(Handles& handles, Random& random) {
        const auto at = pick(random);
        auto& [number, one] = *at;
        const std::size_t times = random.chance(20) ? 1 + random.below(30) : 1;
        for (std::size_t i = 0; i < times; ++i) {
            Container::with_driver(one, [&]<class Raw>(auto& driver) { driver.step(&handles.open<Raw>(number, one.name, one.type)); });
        }
    }

    std::uint64_t salt_;
    Population population_;
    std::shared_ptr<Numbers> numbers_ = std::make_shared<Numbers>();
    std::map<std::uint64_t, Container> containers_;  ///< in the order of their creation
};

}  // namespace pyrsistence::test
