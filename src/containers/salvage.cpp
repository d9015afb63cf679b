#include "containers/salvage.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "codec/hash.hpp"
#include "codec/item.hpp"
#include "containers/array_steps.hpp"
#include "containers/dict_steps.hpp"
#include "containers/records.hpp"
#include "containers/verify.hpp"
#include "pyrsistence/sort_key.hpp"
#include "structures/verify.hpp"

namespace pyrsistence::containers {

namespace {

using storage::CatalogRoot;
using storage::ContainerType;
using storage::FoundRoot;
using storage::LoggedOp;
using storage::Op;
using storage::Pager;
using storage::RootPage;
using storage::Verification;
using storage::WriteStep;
using structures::TreeOrder;
using structures::VisitEntry;

constexpr std::size_t kMostLateBytes = std::size_t{64} << 20;
constexpr std::size_t kMostVersions = 4;             ///< of a container that was found, to choose from
constexpr EntryId kMostId = EntryId{1} << 47;        ///< more are not kept as they are

bool known(ContainerType type) { return order_of(type) || type == ContainerType::array; }
bool is_list(ContainerType type) { return order_of(type) == TreeOrder::rank; }
bool is_sorted(ContainerType type) { return order_of(type) == TreeOrder::key; }

std::string called(std::string_view name) {
    return name.empty() ? "the container" : "container '" + std::string(name) + "'";
}

/// Finds the faults of a container without keeping what it holds.
void look_at(Pager& pager, const std::byte* root, std::uint64_t hash_seed, Verification& out) {
    if (RootPage::type(root) == ContainerType::array) return verify_container(pager, root, hash_seed, out);
    structures::verify_tree(pager, root + kEntriesField, *order_of(RootPage::type(root)), out, [](std::uint64_t, Bytes) {});
}

structures::Verified visit_entries(Pager& pager, const std::byte* root, Verification& out, const VisitEntry& visit) {
    return structures::verify_tree(pager, root + kEntriesField, *order_of(RootPage::type(root)), out, visit);
}

/// The value of an operation, whose fixed operands have been taken.
Bytes value_of(const LoggedOp& op, const Operands& operands, Pager& from) {
    return op.external ? from.read_extent(op.extent) : operands.rest();
}

/// Takes away a store that was not finished.
void remove_store(os::FileSystem& files, const std::filesystem::path& path) noexcept {
    for (const auto& file : {path / "data", path / "data.new", path / "log", path / "lock", path}) {
        try {
            files.remove(file);
        } catch (const StorageError&) {
            // It is not there, or stays: its name says that it is not finished.
        }
    }
}

}  // namespace

Salvage::Salvage(const Options& how)
    : to_(how.to), unfinished_(to_.string() + ".unfinished"), progress_(how.progress) {
    std::error_code ignored;
    if (std::filesystem::exists(to_, ignored) && !std::filesystem::is_empty(to_, ignored)) {
        throw ExistsError(to_.string() + " exists and is not empty; a repaired store needs a new directory");
    }
    storage::StoreOptions options;
    options.mode = Mode::truncate;
    options.memory_limit = how.memory_limit;
    options.hash_seed = how.hash_seed;
    engine_ = storage::Store::open(unfinished_, options);
    store_ = std::make_unique<Store>(unfinished_);
}

Salvage::~Salvage() {
    if (!store_) return;
    copied_.clear();
    try {
        store_.reset();
        storage::Store::release(engine_);
    } catch (...) {
        // Nobody needs it.
    }
    remove_store(os::FileSystem::posix(), unfinished_);
}

void Salvage::copy(Pager& from, const CatalogRoot& catalog) {
    std::vector<std::pair<ContainerId, const std::byte*>> roots;
    Verification reached(from.page_count(), {.most_faults = 10});
    const auto collect = [&](Pager&, const std::byte* root, Verification& out) {
        roots.emplace_back(*out.container(), root);
    };
    storage::verify_containers(from, catalog, collect, reached);
    Verification out(from.page_count(), {.most_faults = 0, .progress = progress_});
    for (const auto& [id, root] : roots) copy_container(from, id, root, out);
    if (reached.fault_count() == 0) return;
    find(from);
    for (const storage::Fault& fault : reached.faults()) {
        leave_out("containers to which only a damaged page leads (" + fault.text + "), unless they are named here");
    }
}

void Salvage::copy_container(Pager& from, ContainerId id, const std::byte* root, Verification& out) {
    const ContainerType type = RootPage::type(root);
    if (type == ContainerType::array) return copy_array(from, id, root);
    Copied* const target = begin(id, type, RootPage::name(root), is_list(type) ? ListRoot::limit(root) : std::nullopt);
    if (target == nullptr) return;
    std::uint64_t taken = 0;
    const auto take = [&](std::uint64_t key, Bytes bytes) {
        if (target->list) target->list->append(bytes);
        else if (target->sorted) add_sorted(*target, bytes);
        else add(target->id, key, bytes);
        ++taken;
    };
    const structures::Verified tree = visit_entries(from, root, out, take);
    target->complete = tree.complete() && taken == tree.entries;
    if (!target->complete) leave_out("entries of " + called(target->name) + " that cannot be read");
}

/// What cannot be read becomes zeros, so that all else keeps its place.
void Salvage::copy_array(Pager& from, ContainerId id, const std::byte* root) {
    const std::string_view name = RootPage::name(root);
    std::uint64_t lost = 0, size = 0;
    Copied* target = nullptr;
    try {
        target = begin_array(id, name, decode_item_type(ArrayRoot::type(root)));
        if (target == nullptr) return;
        const structures::ByteTree tree = ArrayRoot::items(from, root);
        size = tree.size();
        std::vector<std::byte> part;
        const std::uint64_t item = target->array->item_size();
        for (std::uint64_t at = 0; at + item <= size; at += part.size()) {
            part.resize(std::min<std::uint64_t>(std::max<std::uint64_t>(tree.leaf_bytes() / item, 1) * item, (size - at) / item * item));
            try {
                tree.read(at, part);
            } catch (const CorruptionError&) {
                std::ranges::fill(part, std::byte{0});
                lost += part.size() / item;
            }
            target->array->append(part);
            if (progress_) progress_(at / item, size / item);
        }
        if (lost > 0) leave_out(std::to_string(lost) + " items of " + called(name) + " that cannot be read; they are zero");
    } catch (const CorruptionError&) {
        leave_out(called(name) + ", of which the description is damaged");
    }
}

/// False if there is one of this name already.
bool Salvage::may_begin(std::string_view name) {
    if (!store_->contains(name)) return true;
    leave_out("another " + called(name));
    return false;
}

Salvage::Copied* Salvage::begin_array(ContainerId id, std::string_view name, const ItemType& type) {
    if (!may_begin(name)) return nullptr;
    Copied target{.name = std::string(name), .type = ContainerType::array};
    target.array = std::make_unique<RawArray>(*store_, name, type);
    target.id = engine_->open_container(ContainerType::array, name, storage::Store::Create::always);
    return &(copied_[id] = std::move(target));
}

/// Null if there is no such type. An array is made when its type is known.
Salvage::Copied* Salvage::begin(ContainerId id, ContainerType type, std::string_view name,
                                std::optional<std::uint64_t> limit) {
    if (!known(type)) {
        leave_out(called(name) + " of unknown type " + std::to_string(int(type)));
        return nullptr;
    }
    if (!may_begin(name)) return nullptr;
    Copied target{.name = std::string(name), .type = type};
    if (type == ContainerType::array) return &(copied_[id] = std::move(target));
    if (is_list(type)) target.list = std::make_unique<RawList>(*store_, name, static_cast<ListType>(type), limit);
    if (is_sorted(type)) target.sorted = std::make_unique<RawSorted>(*store_, name, static_cast<SortedType>(type));
    target.id = engine_->open_container(type, name, storage::Store::Create::always);
    return &(copied_[id] = std::move(target));
}

/// A key that is there twice keeps its last value. Ids are kept, since the log refers to entries by them.
void Salvage::add(ContainerId container, EntryId id, Bytes entry) {
    const Bytes identity = codec::split_entry(entry).identity;
    const std::uint64_t hash = codec::key_hash(identity, engine_->hash_seed());
    WriteStep step(*engine_);
    FoundEntry found = find_entry(step.pager(), step.root(container), hash, identity);
    if (found.id != 0) return commit_replace(step, container, found.id, entry);
    const EntryId next = DictRoot::next_id(step.root(container));
    const bool keep = id >= next && id < kMostId;
    commit_add(step, container, keep ? id : next, found, hash, entry);
}

/// Where it belongs, whatever has been lost. A key that is there twice keeps its last value, but in a queue.
void Salvage::add_sorted(Copied& target, Bytes bytes) {
    const SortedEntryView parts = split_sorted_entry(bytes);
    if (!has_own_sort_key(parts)) throw CorruptionError("a sort key that belongs to another key");
    const SortedEntry entry{bytes, parts.sort_key, bytes.size() - parts.value.size()};
    if (repeats_keys(target.type)) target.sorted->push(entry);
    else target.sorted->set(entry);
}

bool Salvage::has(ContainerId container, EntryId id) const {
    const storage::ReadStep step(*engine_);
    return !DictRoot::entries(step.pager(), step.root(container)).find(id).stored.empty();
}

// --- without a catalog

void Salvage::find(Pager& from) {
    const auto progress = [&](PageId page) {
        if (progress_) progress_(page, from.page_count());
    };
    std::map<std::pair<ContainerType, std::string>, std::vector<FoundRoot>> versions;
    storage::find_roots(from, progress, [&](FoundRoot root) {
        auto& newest = versions[{root.type, root.name}];
        const auto place = std::ranges::upper_bound(newest, root.epoch, std::ranges::greater{}, &FoundRoot::epoch);
        newest.insert(place, std::move(root));
        if (newest.size() > kMostVersions) newest.pop_back();
    });
    Verification out(from.page_count(), {.most_faults = 0, .progress = progress_});
    ContainerId id = UINT32_MAX;  // the log does not speak of these
    for (const auto& [which, roots] : versions) {
        if (!known(which.first) || store_->contains(which.second)) continue;
        copy_container(from, id--, best_version(from, roots), out);
        leave_out("what came after the version of " + called(which.second) + " that was found without the catalog");
    }
}

/// Of the newest ones, that with the fewest faults.
const std::byte* Salvage::best_version(Pager& from, std::span<const FoundRoot> versions) const {
    const std::byte* best = nullptr;
    std::uint64_t fewest = UINT64_MAX;
    for (const FoundRoot& version : versions) {
        const std::byte* root = from.read(version.page);
        Verification trial(from.page_count(), {.most_faults = 0, .progress = progress_});
        look_at(from, root, engine_->hash_seed(), trial);
        if (trial.fault_count() >= fewest) continue;
        best = root;
        fewest = trial.fault_count();
    }
    return best;
}

// --- the log

void Salvage::replay(const storage::Wreck& wreck, Pager& from) {
    Verification log(from.page_count(), {.most_faults = 1});
    wreck.read_log(from, log, [&](const LoggedOp& op) { replay(op, from); });
    if (log.fault_count() > 0) leave_out("what the log tells behind its damage: " + log.faults()[0].text);
    add_late();
    for (const auto& [id, target] : copied_) {
        if (target.skipped == 0) continue;
        leave_out(std::to_string(target.skipped) + " operations on " + called(target.name) + " since its checkpoint");
    }
}

void Salvage::replay(const LoggedOp& op, Pager& from) {
    if (op.op == Op::create) {
        if (op.operands.empty()) storage::bad_record();
        (void)begin(op.container, static_cast<ContainerType>(op.operands[0]), storage::name_in(op.operands.subspan(1)));
        return;
    }
    const auto found = copied_.find(op.container);
    if (found == copied_.end()) return;  // it could not be read
    Copied& target = found->second;
    if (op.op == Op::rename) return rename(target, storage::name_in(op.operands));
    if (op.op != Op::remove) {
        if (target.type == ContainerType::array) return replay_array(target, op);
        if (target.list) return replay_list(target, op, from);
        return target.sorted ? replay_sorted(target, op, from) : replay_dict(target, op, from);
    }
    forget_late(target);
    target.list.reset();
    target.sorted.reset();
    target.array.reset();
    engine_->remove_container(target.name);
    copied_.erase(found);
}

void Salvage::rename(Copied& target, std::string_view name) {
    if (store_->contains(name)) return leave_out("the new name of " + called(target.name));
    engine_->rename_container(target.name, name);
    target.name = name;
}

void Salvage::replay_dict(Copied& target, const LoggedOp& op, Pager& from) {
    Operands operands(op);
    if (static_cast<DictOp>(op.op) == DictOp::clear) {
        forget_late(target);
        WriteStep step(*engine_);
        clear_dict(step, target.id);
        return step.commit(record_header(DictOp::clear, target.id));
    }
    const EntryId id = operands.u48();
    if (static_cast<DictOp>(op.op) == DictOp::replace) {
        return replay_replacement(target, id, value_of(op, operands, from));
    }
    const std::uint64_t hash = operands.u64();
    if (static_cast<DictOp>(op.op) == DictOp::add) return add(target.id, id, value_of(op, operands, from));
    if (static_cast<DictOp>(op.op) != DictOp::erase) storage::bad_record();
    forget_late(target, id);
    if (!has(target.id, id)) return;
    WriteStep step(*engine_);
    commit_erase(step, target.id, id, hash);
}

void Salvage::replay_replacement(Copied& target, EntryId id, Bytes entry) {
    if (has(target.id, id)) {
        WriteStep step(*engine_);
        return commit_replace(step, target.id, id, entry);
    }
    forget_late(target, id);
    if (late_bytes_ + entry.size() > kMostLateBytes) {
        ++target.skipped;
        return;
    }
    late_[{target.id, id}].assign(entry.begin(), entry.end());
    late_bytes_ += entry.size();
}

void Salvage::forget_late(const Copied& target, std::optional<EntryId> id) {
    const auto end = late_.upper_bound({target.id, id.value_or(UINT64_MAX)});
    for (auto late = late_.lower_bound({target.id, id.value_or(0)}); late != end; late = late_.erase(late)) {
        late_bytes_ -= late->second.size();
    }
}

void Salvage::add_late() {
    for (const auto& [place, entry] : std::exchange(late_, {})) add(place.first, kMostId, entry);
}

void Salvage::replay_list(Copied& target, const LoggedOp& op, Pager& from) {
    if (static_cast<ListOp>(op.op) == ListOp::limit) return set_limit(target, Operands(op).u64());
    const bool anew = static_cast<ListOp>(op.op) == ListOp::clear;
    if (anew) target.list->clear();
    if (anew || !target.complete) {
        target.complete = target.complete || anew;
        target.skipped += !target.complete;
        return;
    }
    Operands operands(op);
    if (static_cast<ListOp>(op.op) == ListOp::reverse) return target.list->reverse();
    const std::uint64_t rank = operands.u48();
    if (static_cast<ListOp>(op.op) == ListOp::rotate) return target.list->rotate(static_cast<std::int64_t>(rank));
    if (static_cast<ListOp>(op.op) == ListOp::insert) return (void)target.list->insert(rank, value_of(op, operands, from));
    if (static_cast<ListOp>(op.op) == ListOp::set) return (void)target.list->set(rank, value_of(op, operands, from));
    if (static_cast<ListOp>(op.op) != ListOp::erase_slice) storage::bad_record();
    const std::uint64_t stride = operands.u48();
    target.list->erase_slice(rank, std::max<std::uint64_t>(stride, 1), operands.u48());
}

/// Ranks mean nothing where entries have been lost; keys do.
void Salvage::replay_sorted(Copied& target, const LoggedOp& op, Pager& from) {
    Operands operands(op);
    switch (static_cast<SortedOp>(op.op)) {
        case SortedOp::insert:
        case SortedOp::set: return add_sorted(target, value_of(op, operands, from));
        case SortedOp::erase: return (void)target.sorted->erase(operands.rest());
        case SortedOp::clear:
            target.complete = true;
            return target.sorted->clear();
        case SortedOp::erase_slice: break;
        default: storage::bad_record();
    }
    const std::uint64_t first = operands.u48(), count = operands.u48();
    if (target.complete) target.sorted->erase_slice(first, count);
    else ++target.skipped;
}

/// Places are as they were, whatever was lost. A new array has no type yet when its creation is replayed.
void Salvage::replay_array(Copied& target, const LoggedOp& op) {
    Operands operands(op);
    if (static_cast<ArrayOp>(op.op) == ArrayOp::type) {
        if (target.array) storage::bad_record();
        target.array = std::make_unique<RawArray>(*store_, target.name, decode_item_type(operands.rest()));
        target.id = engine_->open_container(ContainerType::array, target.name, storage::Store::Create::always);
        return;
    }
    if (!target.array) storage::bad_record();
    WriteStep step(*engine_, op.operands.size());
    LoggedOp here = op;
    here.container = target.id;
    apply_array_op(step, here);
    step.commit(record_header(static_cast<ArrayOp>(op.op), target.id), op.operands);
}

void Salvage::set_limit(Copied& target, std::uint64_t limit) {
    {
        WriteStep step(*engine_);
        ListRoot::set_limit(step.change(target.id), limit);
        step.commit(record_header(ListOp::limit, target.id).u64(limit));
    }
    target.list = std::make_unique<RawList>(*store_, target.name, static_cast<ListType>(target.type));
}

// --- the end

void Salvage::finish(Report& report) {
    for (const auto& [id, target] : copied_) {
        if (target.type == ContainerType::array && !target.array) continue;
        const storage::ReadStep step(*engine_);
        report.saved += entries_in(step.pager(), step.root(target.id));
    }
    os::FileSystem& files = os::FileSystem::posix();
    copied_.clear();
    store_->close();
    storage::Store::release(engine_);
    std::error_code ignored;
    if (std::filesystem::exists(to_, ignored)) files.remove(to_);
    files.rename(unfinished_, to_);
    files.sync_directory(std::filesystem::absolute(to_).parent_path());
    store_.reset();
    report.repaired = to_;
    report.left_out = std::move(left_out_);
}

}  // namespace pyrsistence::containers

namespace pyrsistence {

namespace {

using containers::Salvage;

Report report_of(const storage::Verification& found) {
    Report report{.pages = found.pages_reached(), .entries = found.entries(), .fault_count = found.fault_count()};
    for (const storage::Fault& fault : found.faults()) report.faults.push_back(fault.text);
    return report;
}

storage::Verification verification(PageId pages, const Progress& progress) {
    storage::Verification::Options options;
    options.progress = progress;
    return storage::Verification(pages, std::move(options));
}

void leave_out_snapshots(Salvage& salvage, os::File& data, const storage::Meta& meta) {
    try {
        for (const auto& one : storage::read_snapshots(data, meta)) salvage.leave_out("snapshot '" + one.name + "'");
    } catch (const CorruptionError&) {
        salvage.leave_out("the named snapshots");
    }
}

}  // namespace

Report Handle::verify(const Progress& progress, const std::filesystem::path& repair_to) const {
    Report report;
    const std::uint64_t memory_limit = store().info().memory_limit;
    store().with_checkpoint([&](os::File& data, const storage::Meta& meta) {
        storage::Verification found = verification(storage::existing_pages(data, meta.pages.page_count), progress);
        storage::verify_checkpoint(data, meta, containers::container_walk(meta.hash_seed), found);
        report = report_of(found);
        if (progress) progress(report.pages, report.pages);
        if (report.fault_count == 0 || repair_to.empty()) return;
        Salvage salvage({.to = repair_to, .memory_limit = memory_limit, .progress = progress});
        leave_out_snapshots(salvage, data, meta);
        salvage.copy(*storage::open_to_read(data, meta.pages), meta.catalog);
        salvage.finish(report);
    });
    return report;
}

Report verify(const std::filesystem::path& store, const Progress& progress, const std::filesystem::path& repair_to) {
    const storage::Wreck wreck(os::FileSystem::posix(), store);
    const auto& meta = wreck.meta();
    storage::PagerState whole{UINT64_MAX / 2, std::max(wreck.file_pages(), storage::kMetaPages), {}};
    const PageId pages = meta ? storage::existing_pages(wreck.data(), meta->pages.page_count) : whole.page_count;
    storage::Verification found = verification(pages, progress);
    wreck.report(found);
    if (meta) whole.epoch = meta->pages.epoch;
    const auto pager = storage::open_to_read(wreck.data(), whole);
    bool logged = false;
    if (meta) {
        storage::verify_checkpoint(wreck.data(), *meta, containers::container_walk(meta->hash_seed), found);
        wreck.read_log(*pager, found, [&](const storage::LoggedOp&) { logged = true; });
    }
    Report report = report_of(found);
    if (report.fault_count == 0 || repair_to.empty()) return report;
    Salvage salvage({.to = repair_to, .hash_seed = meta ? meta->hash_seed : 0, .progress = progress});
    if (!meta) {
        salvage.find(*pager);
    } else {
        leave_out_snapshots(salvage, wreck.data(), *meta);
        salvage.copy(*pager, meta->catalog);
        if (logged) salvage.replay(wreck, *pager);
    }
    salvage.finish(report);
    return report;
}

}  // namespace pyrsistence
