// Random operations on a store of several containers beside a model that is only hashes: transactions,
// savepoints, names that come and go, snapshots. To the history of a store a transaction is one operation,
// and so is keeping or deleting a named snapshot. Not thread-safe.
#pragma once

#include <map>
#include <set>
#include <variant>

#include "crash/workload.hpp"
#include "pyrsistence/store.hpp"

namespace pyrsistence::test {

inline std::uint64_t digest_of(const std::vector<std::uint64_t>& numbers) {
    return digest_of(std::as_bytes(std::span(numbers)));
}

template <class Model>
std::uint64_t digest_of(const std::string& name, std::uint64_t digest) {
    return digest_of({digest_of(as_bytes(name)), digest_of(as_bytes(Model::kName)), digest});
}

/// Of all containers in the order of their creation, with names and types; of a store or of a snapshot.
inline std::uint64_t contents(const Store& store) {
    std::vector<std::uint64_t> parts;
    for (const auto& [name, type] : store.containers()) {
        const bool list = type == "list";
        parts.push_back(list ? digest_of<ListModel>(name, ListModel::digest(RawList(store, name)))
                             : digest_of<DictModel>(name, DictModel::digest(RawDict(store, name))));
    }
    return digest_of(parts);
}

/// A store with a handle on each container, as programs have, and with snapshots.
class Workplace : public Store {
public:
    explicit Workplace(const fs::path& path, const Options& options = {}) : Store(path, options) {
        for (const auto& [name, type] : containers()) {
            if (type == "list") container<RawList>(name);
            else container<RawDict>(name);
        }
    }

    struct Handles {
        std::map<std::string, std::shared_ptr<Container>> open;
        std::vector<std::shared_ptr<Container>> lost;  ///< of containers that are gone
    };
    const Handles& handles() const { return handles_; }

    /// The container with this name, which is made if there is none.
    template <class Raw>
    Raw& container(const std::string& name) {
        auto& handle = handles_.open[name];
        if (!handle) handle = std::make_shared<Raw>(*this, name);
        return dynamic_cast<Raw&>(*handle);
    }
    void remove(const std::string& name) {
        Store::remove(name);
        const auto found = handles_.open.find(name);
        if (found == handles_.open.end()) return;
        if (found->second) handles_.lost.push_back(found->second);
        handles_.open.erase(found);
    }
    void rename(const std::string& from, const std::string& to) {
        Store::rename(from, to);
        auto handle = handles_.open.extract(from);
        if (handle.empty()) return;
        handle.key() = to;
        handles_.open.insert(std::move(handle));
    }
    /// What was done since has been undone.
    void go_back(const Handles& then) {
        std::set<std::shared_ptr<Container>> born;
        for (const auto& [name, handle] : handles_.open) {
            if (handle) born.insert(handle);
        }
        born.insert(handles_.lost.begin(), handles_.lost.end());
        for (const auto& [name, handle] : then.open) born.erase(handle);
        handles_ = then;
        handles_.lost.assign(born.begin(), born.end());
    }

    /// Within transactions, between their operations.
    std::function<void()> pause;
    void rest() const {
        if (pause) pause();
    }
    /// Handles of what is gone say so, snapshots are as they were. `now`: the contents as they should be.
    void look_around(Random& random, std::uint64_t now) {
        for (const auto& handle : handles_.lost) {
            EXPECT_THROW((void)handle->size(), ClosedError) << handle->name();
        }
        if (handles_.lost.size() > kMostLost) handles_.lost.clear();
        if (random.chance(20)) {
            EXPECT_EQ(contents(*this), now);
        }
        if (random.chance(30)) compare_snapshots();
        if (random.chance(40) && !snapshots_.empty()) {
            snapshots_.erase(snapshots_.begin() + long(random.below(snapshots_.size())));
        }
        if (random.chance(40) && snapshots_.size() < kMostSnapshots) {
            snapshots_.push_back({std::unique_ptr<Store>(new Store(snapshot())), now});
        }
    }
    void compare_snapshots() const {
        for (const auto& [store, then] : snapshots_) {
            EXPECT_EQ(contents(*store), then) << "a snapshot has changed";
        }
    }

private:
    struct Taken {
        std::unique_ptr<Store> store;
        std::uint64_t contents;
    };
    static constexpr std::size_t kMostLost = 50, kMostSnapshots = 3;

    Handles handles_;
    std::vector<Taken> snapshots_;
};

class StoreModel {
public:
    using Raw = Workplace;
    static constexpr const char* kName = "store";
    explicit StoreModel(const Profile& profile) : profile_(&profile) {}

    std::uint64_t digest() const { return digest(contents(), snapshots_); }
    static std::uint64_t digest(const Workplace& store) {
        Snapshots snapshots;
        for (const NamedSnapshot& one : store.snapshots()) {
            Options options;
            options.at = one.name;
            snapshots[one.name] = test::contents(Store(store.path(), options));
        }
        return digest(test::contents(store), snapshots);
    }
    std::uint64_t contents() const {
        std::vector<std::uint64_t> parts;
        for (const auto& one : containers_) parts.push_back(one.digest());
        return digest_of(parts);
    }
    std::size_t snapshots() const { return snapshots_.size(); }

    /// True if everything so far is durable when it has returned. If it throws, nothing has changed.
    bool step(Workplace* store, Random& random) {
        return undone_if_it_fails(store, [&] {
            const auto dice = random.below(1000);
            if (containers_.empty() || dice < catalog_changes()) change_catalog(store, random);
            else if (dice < 600) change_one(store, random);
            else if (dice < 940) return transaction(store, random, 0);
            else if (dice < 970 && snapshots_.size() < kMostSnapshots) return keep(store, random);
            else if (dice < 990) return delete_one(store, random);
            return false;
        });
    }

private:
    using Model = std::variant<ListModel, DictModel>;
    /// Shared between states; a change makes a copy.
    struct ContainerModel {
        std::string name;
        std::shared_ptr<const Model> model;
        std::uint64_t inner = 0;  ///< the model's digest

        std::uint64_t digest() const {
            const bool list = std::holds_alternative<ListModel>(*model);
            return list ? digest_of<ListModel>(name, inner) : digest_of<DictModel>(name, inner);
        }
    };
    static constexpr std::size_t kMostSnapshots = 3;
    static constexpr unsigned kDeepest = 3;

    using Snapshots = std::map<std::string, std::uint64_t>;

    static std::uint64_t digest(std::uint64_t contents, const Snapshots& snapshots) {
        std::vector<std::uint64_t> parts{contents};
        for (const auto& [name, then] : snapshots) {
            parts.insert(parts.end(), {digest_of(as_bytes(name)), then});
        }
        return digest_of(parts);
    }
    std::uint64_t catalog_changes() const { return profile_->containers > 10 ? 300 : 60; }

    template <class Call>
    bool undone_if_it_fails(Workplace* store, Call&& call) {
        const StoreModel before = *this;
        const auto handles = store ? store->handles() : Workplace::Handles{};
        try {
            return call();
        } catch (...) {
            *this = before;
            if (store) store->go_back(handles);
            throw;
        }
    }

    void change_one(Workplace* store, Random& random) {
        if (containers_.empty()) return create(store, random);
        ContainerModel& one = containers_[random.below(containers_.size())];
        Model changed = *one.model;
        std::visit([&](auto& model) { step(one, model, store, random); }, changed);
        one.model = std::make_shared<const Model>(std::move(changed));
    }
    template <class Inner>
    static void step(ContainerModel& one, Inner& model, Workplace* store, Random& random) {
        model.step(store ? &store->container<typename Inner::Raw>(one.name) : nullptr, random);
        one.inner = model.digest();
    }

    // --- the catalog
    auto find(const std::string& name) { return std::ranges::find(containers_, name, &ContainerModel::name); }
    std::string random_name(Random& random) const {
        const auto number = random.below(2 * profile_->containers);
        return std::string(number % 5 == 4 ? 1000 : number, static_cast<char>('a' + number % 26));
    }
    void change_catalog(Workplace* store, Random& random) {
        const auto dice = random.below(100);
        if (profile_->containers > 10 && dice < 10) return churn(store, random);
        const bool few = containers_.size() < profile_->containers;
        if (containers_.size() < 2 || (few && dice < 60)) create(store, random);
        else if (dice < 80) remove(store, random.below(containers_.size()));
        else rename(store, random);
    }
    void create(Workplace* store, Random& random) {
        const std::string name = random_name(random);
        const bool list = random.chance(50);
        if (find(name) == containers_.end()) create(store, name, list);
    }
    void create(Workplace* store, const std::string& name, bool list) {
        const Model model = list ? Model(ListModel(*profile_)) : Model(DictModel(*profile_));
        const auto digest = std::visit([](const auto& one) { return one.digest(); }, model);
        if (store && list) store->container<RawList>(name);
        else if (store) store->container<RawDict>(name);
        containers_.push_back({name, std::make_shared<const Model>(model), digest});
    }
    void remove(Workplace* store, std::size_t index) {
        if (store) store->remove(containers_[index].name);
        containers_.erase(containers_.begin() + static_cast<std::ptrdiff_t>(index));
    }
    void rename(Workplace* store, Random& random) {
        ContainerModel& one = containers_[random.below(containers_.size())];
        const std::string name = random_name(random);
        if (find(name) != containers_.end()) return;
        if (store) store->rename(one.name, name);
        one.name = name;
    }
    /// Container ids are never used again, so that the catalog grows another level in the end.
    void churn(Workplace* store, Random& random) {
        std::optional<Transaction> transaction;
        if (store) transaction.emplace(*store, false);
        for (auto left = random.below(80); left > 0; --left) {
            const std::string name = "passing " + std::to_string(left);
            create(store, name, left % 2 == 0);
            if (store && left % 3 == 0) add_something(*store, name, left % 2 == 0);
            remove(store, containers_.size() - 1);
        }
        if (store) transaction->commit();
    }
    static void add_something(Workplace& store, const std::string& name, bool list) {
        if (list) return store.container<RawList>(name).append(as_bytes("something"));
        Buffer entry;
        put_uint(entry, 1);
        const std::size_t identity = entry.size();
        put_bytes(entry, as_bytes("something"));
        store.container<RawDict>(name).set({entry, identity, identity});
    }

    // --- transactions
    std::size_t length(Random& random) const {
        const auto dice = random.below(100);
        const std::size_t most = dice < 70 ? 6 : dice < 92 ? 30 : profile_->transaction;
        return random.below(std::min(most, profile_->transaction));
    }
    bool transaction(Workplace* store, Random& random, unsigned depth) {
        const StoreModel before = *this;
        const auto handles = store ? store->handles() : Workplace::Handles{};
        const bool durable = random.chance(25), commits = random.chance(depth == 0 ? 80 : 60);
        const bool says_so = random.chance(50);
        std::optional<Transaction> transaction;
        if (store) transaction.emplace(*store, durable);
        for (auto left = length(random) >> depth; left > 0; --left) {
            const auto dice = random.below(100);
            if (dice < 10 && depth < kDeepest) this->transaction(store, random, depth + 1);
            else if (dice < 20) change_catalog(store, random);
            else change_one(store, random);
            if (store) store->rest();
        }
        if (commits) {
            if (store) transaction->commit();
            return durable && depth == 0;
        }
        if (says_so && store) transaction->roll_back();
        transaction.reset();
        *this = before;
        if (store) store->go_back(handles);
        return false;
    }

    // --- snapshots
    bool keep(Workplace* store, Random& random) {
        const std::string name = "snapshot " + std::to_string(random.below(100));
        if (snapshots_.contains(name)) return false;
        if (store) store->keep_snapshot(name);
        snapshots_[name] = contents();
        return true;
    }
    bool delete_one(Workplace* store, Random& random) {
        if (snapshots_.empty()) return false;
        const auto one = std::next(snapshots_.begin(), long(random.below(snapshots_.size())));
        if (store && !store->delete_snapshot(one->first)) throw Error("the snapshot was gone already");
        snapshots_.erase(one);
        return true;
    }

    const Profile* profile_;
    std::vector<ContainerModel> containers_;            ///< in the order of their creation
    Snapshots snapshots_;                               ///< by name, their contents
};

}  // namespace pyrsistence::test
