// Moving the pages of containers to the front of the data file, so that its tail can be cut off.
#include <algorithm>

#include "containers/layout.hpp"
#include "containers/payload.hpp"
#include "storage/store.hpp"

namespace pyrsistence::containers {

namespace {

constexpr unsigned kLeavesPerStep = 8;  // within Pager::kStepFrames, at any height

/// To where there is room.
void move_extent(storage::WriteStep& step, ContainerId id, std::uint64_t rank, Bytes value) {
    Buffer copy;
    copy.append(value);
    const auto replace = [&](const auto& payload) {
        with_entries(step.pager(), step.change(id), [&](auto tree) { tree.replace(rank, payload.record()); });
    };
    if (order_of(storage::RootPage::type(step.root(id))) == structures::TreeOrder::key) replace(KeyedPayload(step, copy));
    else replace(Payload(step, copy));
    step.commit_moved();
}

/// Copies extents of one leaf to lower places; ranks may have changed meanwhile, contents not.
void move_extents(storage::Store& store, ContainerId id, const std::vector<std::uint64_t>& ranks, PageId limit) {
    for (const std::uint64_t rank : ranks) {
        storage::WriteStep step(store);
        const bool there = with_entries(step.pager(), step.root(id), [&](const auto& tree) {
            if (rank >= tree.size()) return false;
            const structures::Record record = tree.at(rank);
            if (record.external && tree.beyond(record, limit)) move_extent(step, id, rank, tree.resolve(record));
            return true;
        });
        if (!there) return;
    }
}

void relocate_entries(storage::Store& store, ContainerId id, PageId limit, const Progress& progress) {
    for (std::uint64_t rank = 0;;) {
        std::vector<std::uint64_t> extents;
        std::uint64_t size = 0;
        {
            storage::WriteStep step(store);
            std::byte* root = step.change(id);
            with_entries(step.pager(), root, [&](auto tree) {
                for (unsigned i = 0; i < kLeavesPerStep && rank < tree.size(); ++i) {
                    rank = tree.relocate(rank, limit, [&](std::uint64_t at, const structures::Record&) { extents.push_back(at); });
                }
                size = tree.size();
            });
            step.commit_moved();
        }
        if (progress) progress(std::min(rank, size), size);
        if (rank >= size && extents.empty()) return;
        move_extents(store, id, extents, limit);
    }
}

void relocate_array(storage::Store& store, ContainerId id, PageId limit, const Progress& progress) {
    for (std::uint64_t at = 0, size = 1, item = 1; at < size;) {
        {
            storage::WriteStep step(store);
            std::byte* root = step.change(id);
            item = decode_item_size(ArrayRoot::type(root));
            structures::ByteTree tree = ArrayRoot::items(step.pager(), root);
            size = tree.size();
            for (unsigned i = 0; i < kLeavesPerStep && at < size; ++i) at = tree.relocate(at, limit);
            step.commit_moved();
        }
        if (progress) progress(std::min(at, size) / item, size / item);
    }
}

void relocate_index(storage::Store& store, ContainerId id, PageId limit) {
    for (std::optional<std::uint64_t> place = 0; place;) {
        storage::WriteStep step(store);
        std::byte* root = step.change(id);
        for (unsigned i = 0; i < kLeavesPerStep && place; ++i) {
            place = DictRoot::index(step.pager(), root).relocate(*place, limit);
        }
        step.commit_moved();
    }
}

}  // namespace

void relocate(storage::Store& store, ContainerId id, PageId limit, const Progress& progress) {
    try {
        const auto type = [&] {
            const storage::ReadStep step(store);
            return storage::RootPage::type(step.root(id));
        }();
        if (type == storage::ContainerType::array) return relocate_array(store, id, limit, progress);
        relocate_entries(store, id, limit, progress);
        if (order_of(type) == structures::TreeOrder::id) relocate_index(store, id, limit);
    } catch (const ClosedError&) {
        (void)storage::ReadStep(store);  // closed; else only the container was removed meanwhile
    }
}

}  // namespace pyrsistence::containers
