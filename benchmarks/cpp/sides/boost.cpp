// boost::unordered_flat_map and its set, which are open addressing with SIMD probing.
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <boost/version.hpp>

#include "in_memory.hpp"

namespace bench {
namespace {

template <class Items>
using FlatMap =
    InMemoryMap<Items, boost::unordered_flat_map<typename Items::Key, typename Items::Value, Hash>>;

}  // namespace

void add_boost(Sides& sides) {
    std::string version = BOOST_LIB_VERSION;
    std::ranges::replace(version, '_', '.');
    Side map = in_memory_side("boost::unordered_flat_map", version, "reserve(n)");
    add_map<FlatMap>(map);
    sides.push_back(std::move(map));
    Side set = in_memory_side("boost::unordered_flat_set", version, "reserve(n)");
    add_set<InMemorySet<boost::unordered_flat_set<Members::Key, Hash>>>(set);
    sides.push_back(std::move(set));
}

}  // namespace bench
