// Salvage: what can be read of a damaged store is copied into a new one, whose indexes, counts and space map are
// thereby made anew.
//
// Promises: the damaged files are not changed; the new store appears at its path when it is complete and durable, or
// not at all; memory is one bit per page of the damaged store, and what a store being written takes. Belongs to one
// thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "containers/layout.hpp"
#include "pyrsistence/raw_array.hpp"
#include "pyrsistence/raw_list.hpp"
#include "pyrsistence/raw_sorted.hpp"
#include "pyrsistence/store.hpp"
#include "storage/wreck.hpp"

namespace pyrsistence::containers {

class Salvage {
public:
    struct Options {
        std::filesystem::path to;        ///< must not exist, or be an empty directory
        std::uint64_t hash_seed = 0;     ///< of the damaged store, if its log is to be replayed
        std::uint64_t memory_limit = 0;  ///< bytes
        Progress progress = {};
    };
    /// Throws ExistsError, StorageError.
    explicit Salvage(const Options& how);
    ~Salvage();
    Salvage(const Salvage&) = delete;
    Salvage& operator=(const Salvage&) = delete;

    /// Every container that the catalog leads to, and, if parts of the catalog are lost, what find() finds.
    void copy(storage::Pager& from, const storage::CatalogRoot& catalog);
    /// The newest readable version of every container whose root page lies anywhere in the file, but for those
    /// that have been copied.
    void find(storage::Pager& from);
    /// What was done since the checkpoint that was copied. A list that has lost items is left as it was then.
    void replay(const storage::Wreck& wreck, storage::Pager& from);
    void leave_out(std::string what) { left_out_.push_back(std::move(what)); }
    /// Tells what became of it.
    void finish(Report& report);

private:
    struct Copied {
        std::string name;
        storage::ContainerType type;
        bool complete = true;
        std::uint64_t skipped = 0;  ///< operations that could not be replayed
        ContainerId id = 0;         ///< in the new store
        std::unique_ptr<RawList> list = {};      ///< a list or deque
        std::unique_ptr<RawSorted> sorted = {};  ///< a sorted container
        std::unique_ptr<RawArray> array = {};    ///< null until the type of its items is known
    };
    /// Changed entries whose older version was lost: they keep no place in the order.
    using Late = std::map<std::pair<ContainerId, EntryId>, std::vector<std::byte>>;

    void copy_container(storage::Pager& from, ContainerId id, const std::byte* root, storage::Verification& out);
    void copy_array(storage::Pager& from, ContainerId id, const std::byte* root);
    Copied* begin(ContainerId id, storage::ContainerType type, std::string_view name,
                  std::optional<std::uint64_t> limit = {});
    Copied* begin_array(ContainerId id, std::string_view name, const ItemType& type);
    bool may_begin(std::string_view name);
    const std::byte* best_version(storage::Pager& from, std::span<const storage::FoundRoot> versions) const;
    void add(ContainerId container, EntryId id, Bytes entry);
    void add_sorted(Copied& target, Bytes bytes);
    bool has(ContainerId container, EntryId id) const;

    void replay(const storage::LoggedOp& op, storage::Pager& from);
    void replay_dict(Copied& target, const storage::LoggedOp& op, storage::Pager& from);
    void replay_list(Copied& target, const storage::LoggedOp& op, storage::Pager& from);
    void replay_sorted(Copied& target, const storage::LoggedOp& op, storage::Pager& from);
    void replay_array(Copied& target, const storage::LoggedOp& op);
    void set_limit(Copied& target, std::uint64_t limit);
    void replay_replacement(Copied& target, EntryId id, Bytes entry);
    /// Of one entry, or of all.
    void forget_late(const Copied& target, std::optional<EntryId> id = {});
    void add_late();
    void rename(Copied& target, std::string_view name);

    const std::filesystem::path to_, unfinished_;
    const Progress progress_;
    std::shared_ptr<storage::Store> engine_;
    std::unique_ptr<Store> store_;
    std::map<ContainerId, Copied> copied_;  ///< by id in the damaged store
    Late late_;
    std::size_t late_bytes_ = 0;
    std::vector<std::string> left_out_;
};

}  // namespace pyrsistence::containers
