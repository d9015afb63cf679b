// absl::btree_map, a B-tree in memory.
#include <absl/base/config.h>
#include <absl/container/btree_map.h>

#include "in_memory.hpp"

namespace bench {
namespace {

template <class Items>
using BtreeMap = InMemoryMap<Items, absl::btree_map<typename Items::Key, typename Items::Value>>;

}  // namespace

void add_absl(Sides& sides) {
    Side side = in_memory_side("absl::btree_map", std::to_string(ABSL_LTS_RELEASE_VERSION), "defaults");
    add_map<BtreeMap>(side);
    add_sorted<BtreeMap>(side);
    sides.push_back(std::move(side));
}

}  // namespace bench
