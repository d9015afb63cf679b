// Changes to a store that its checksums do not betray: a field of a page, a reference, a bit of the space map,
// a record of the log becomes something else, then all checksums are made anew. Pure functions of the bytes
// and of the random numbers.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "fuzz/image.hpp"

namespace pyrsistence::fuzz {

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t operator()() { return engine_(); }
    std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : engine_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }
    /// Numbers at which code goes wrong: small ones, powers of two and their neighbours, `near` and its neighbours.
    std::uint64_t number(std::uint64_t near);

private:
    std::mt19937_64 engine_;
};

/// Changes a packed store (image.hpp) in one to four places.
std::vector<std::byte> mutate_store(Bytes packed, Random& random);
/// Changes any bytes, which know nothing of checksums.
std::vector<std::byte> mutate_bytes(Bytes bytes, Random& random);

/// Makes the checksums of pages (those whose ids are given), extents, space maps, snapshots and meta pages, and
/// of everything in the log, fit what they cover.
void mend_checksums(Image& image, const std::vector<PageId>& pages);
/// Pages with a right checksum, but for meta pages.
std::vector<PageId> sound_pages(const Image& image);

}  // namespace pyrsistence::fuzz
