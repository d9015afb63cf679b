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

/// How many of the `n` values get(0) <= get(1) <= ... are not above `key`. Expected O(log log n)
/// on even data, O(log n) at worst; reads about one cache line if the bounds are good.
/// Source: Perl, Itai, Avni, "Interpolation search", CACM 1978.
template <class Get>
inline unsigned count_not_above(unsigned n, std::uint64_t key, const Bounds& bounds, const Get& get) {
    if (n == 0) return 0;
    unsigned low = bounds.guess(key, n);  // the answer will be in (low, high]
    unsigned high = low;
    unsigned step = 1;
    if (get(low) <= key) {
        for (high = low + 1; high < n && get(high) <= key; step *= 2) {
            low = high;
            high += step;
        }
        high = std::min(high, n);
    } else {
        for (;; step *= 2) {
            if (high == 0) return 0;
            low = high > step ? high - step : 0;
            if (get(low) <= key) break;
            high = low;
        }
    }
    while (high - low > 1) {
        const unsigned middle = low + (high - low) / 2;
        (get(middle) <= key ? low : high) = middle;
    }
    return high;
}

}  // namespace pyrsistence::structures
