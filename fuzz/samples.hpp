// Sound stores that targets and corpus begin with: small, and with zeros for most of their bytes. For tests and
// fuzzers, one thread at a time.
#pragma once

#include "fuzz/image.hpp"

namespace pyrsistence::fuzz {

/// A place for stores, removed when the process ends.
const fs::path& scratch_directory();

/// A dict `d` and a list `l` with a few entries each, some of them in extents, closed.
void make_small_store(const fs::path& path);
/// A dict without a name whose index has a delta and a filter: i under i * 7919 for i < 1000, but for every seventh.
/// Closed.
void make_divided_store(const fs::path& path);
/// The bytes of the small one; made once.
const Image& small_store();

}  // namespace pyrsistence::fuzz
