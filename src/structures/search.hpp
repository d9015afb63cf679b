// Interpolation search in a sorted array of integers, for keys that are spread evenly: hashes,
// dense ids, cumulated counts.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyrsistence::structures {

/// What is known of all values of an array before it is read: low <= value <= high, about.
/// They only steer the first guess; a wrong bound costs time, nothing else.
struct Bounds {
    std::uint64_t low = 0;
    std::uint64_t high = 0;

    unsigned guess(std::uint64_t key, unsigned n) const {
        if (key <= low || high <= low) return 0;
        if (key >= high) return n - 1;
        const double share = static_cast<double>(key - low) / static_cast<double>(high - low);
        return std::min(n - 1, static_cast<unsigned>(share * n));
    }
};

namespace detail {

/// Bisects: get(low) <= key, and high is n or get(high) > key.
template <class Get>
inline unsigned bisect(unsigned low, unsigned high, std::uint64_t key, const Get& get) {
    while (high - low > 1) {
        const unsigned middle = low + (high - low) / 2;
        (get(middle) <= key ? low : high) = middle;
    }
    return high;
}

/// How far a guess may be off before it is made anew from what was read.
inline constexpr unsigned kNear = 8;

/// A second guess, between two values that have been read: get(low) <= key < get(high).
template <class Get>
inline unsigned guess_again(unsigned low, unsigned high, std::uint64_t key, const Get& get) {
    const unsigned i = low + Bounds{get(low), get(high)}.guess(key, high - low);
    if (get(i) <= key) {
        const unsigned near = std::min(high, i + kNear);
        return get(near) > key ? bisect(i, near, key, get) : bisect(near, high, key, get);
    }
    const unsigned near = i - std::min(i - low, kNear);
    return get(near) <= key ? bisect(near, i, key, get) : bisect(low, near, key, get);
}

}  // namespace detail

/// How many of the `n` values get(0) <= get(1) <= ... are not above `key`. O(log n); reads about one
/// cache line if the values are even, and few more if they come in runs of neighbours.
/// Source: Perl, Itai, Avni, "Interpolation search", CACM 1978.
template <class Get>
inline unsigned count_not_above(unsigned n, std::uint64_t key, const Bounds& bounds, const Get& get) {
    if (n == 0) return 0;
    unsigned low = bounds.guess(key, n);
    if (get(low) <= key) {
        for (unsigned step = 1; step <= detail::kNear; step *= 2) {
            const unsigned high = std::min(n, low + step);
            if (high == n || get(high) > key) return detail::bisect(low, high, key, get);
            low = high;
        }
        return get(n - 1) <= key ? n : detail::guess_again(low, n - 1, key, get);
    }
    unsigned high = low;
    for (unsigned step = 1; step <= detail::kNear && high > 0; step *= 2) {
        low = high > step ? high - step : 0;
        if (get(low) <= key) return detail::bisect(low, high, key, get);
        high = low;
    }
    return high == 0 || get(0) > key ? 0 : detail::guess_again(0, high, key, get);
}

}  // namespace pyrsistence::structures
