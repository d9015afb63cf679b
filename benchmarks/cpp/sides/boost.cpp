// boost::unordered_flat_map, which is open addressing with SIMD probing.
#include <boost/unordered/unordered_flat_map.hpp>
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
    Side side = in_memory_side("boost::unordered_flat_map", std::move(version), "reserve(n)");
    add_map<FlatMap>(side);
    sides.push_back(std::move(side));
}

}  // namespace bench
