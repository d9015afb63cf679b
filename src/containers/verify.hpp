// Verification of containers: their trees, and that a dict's entries and its index agree.
//
// Called like any reading function of the containers. Reads a container's pages in the order of its trees, so
// that large stores are read mostly sequentially; memory is a few pages, and while an index is examined
// that does not fit its entries, one more bit per page of the store.
#pragma once

#include "storage/verification.hpp"

namespace pyrsistence::containers {

/// Reports every broken invariant of the container with this root page.
void verify_container(storage::Pager& pager, const std::byte* root, std::uint64_t hash_seed,
                      storage::Verification& out);
/// The same for every container, as the functions of storage/verification.hpp want it.
storage::ContainerWalk container_walk(std::uint64_t hash_seed);

}  // namespace pyrsistence::containers
